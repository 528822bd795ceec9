"""Numbers with their nouns, for sentences."""


def number_of(count: int, one: str, several: str | None = None) -> str:
    """A number with its noun: ``1 order``, ``1,200 orders``. ``several`` is the plural, ``one`` with an s if None."""
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"


def verb(count: int, one: str, several: str) -> str:
    """The form of a verb that goes with a number: ``verb(count, "is", "are")``."""
    return one if count == 1 else several
