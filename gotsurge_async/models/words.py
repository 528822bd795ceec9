"""Texts for people: nothing in them moves a cursor or reorders what is written."""


def printable(text: str) -> str:
    """A text with a space for each character that cannot be printed: controls, line breaks, marks of direction."""
    return text if text.isprintable() else "".join(letter if letter.isprintable() else " " for letter in text)


def one_line(text: str) -> str:
    """A text on one line, safe for a terminal, a cell and a page, with single spaces."""
    return " ".join(printable(text).split())


def printable_lines(text: str) -> str:
    """The same as `printable`, with the line feeds kept."""
    return "\n".join(map(printable, text.split("\n")))


def folded(name: str | None) -> str:
    """A name without capitals and outer spaces, which a service may change; "" for None."""
    return (name or "").strip().casefold()


def in_words(status: str) -> str:
    """The name of a status as people read it: ``Pending pickup`` for ``pending_pickup``."""
    words = status.replace("_", " ")
    return words[:1].upper() + words[1:]
