"""HTML from template files: whatever is filled in is escaped, unless it is HTML that was made here."""

import re
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from types import MappingProxyType

STATIC = Path(__file__).parent / "static"
_PIECE = re.compile(r"^<!-- piece ([\w-]+) -->\n", re.MULTILINE)
_NAME = re.compile(r"\$(\w+)")


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


class Piece:
    """HTML with names of values in it, taken apart once: a page is filled from hundreds of pieces."""

    def __init__(self, text: str) -> None:
        self.text = text
        first, *rest = _NAME.split(text)
        self._first = first
        self._rest = list(zip(rest[::2], rest[1::2], strict=True))

    def fill(self, values: Mapping[str, object]) -> Html:
        """It with its values, escaped unless they are HTML; raises KeyError when one is missing."""
        parts = [self._first]
        for name, text in self._rest:
            value = values[name]
            if type(value) is not Html:
                value = "" if value is None else escape(str(value))
            parts += (value, text)
        return Html("".join(parts))


def _pieces() -> Mapping[str, Piece]:
    _, *found = _PIECE.split((STATIC / "pieces.html").read_text(encoding="utf-8"))
    return MappingProxyType({name: Piece(text.strip()) for name, text in zip(found[::2], found[1::2], strict=True)})


PIECES: Mapping[str, Piece] = _pieces()
"""Every piece of ``pieces.html`` by its name."""


def fill(piece: str, **values: object) -> Html:
    """A piece with its values; raises KeyError when one is missing, so that no placeholder is ever shown."""
    return PIECES[piece].fill(values)


def safe(value: object) -> Html:
    """A value as HTML: escaped, with nothing for None."""
    if isinstance(value, Html):
        return value
    return Html("" if value is None else escape(str(value)))


def short(text: str, most: int = 80) -> str:
    """A text that has room in a line, however long it is."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def joined(parts: Iterable[object]) -> Html:
    """HTML one after the other."""
    return Html("".join(map(safe, parts)))
