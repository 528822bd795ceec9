"""HTML from template files: whatever is filled in is escaped, unless it is HTML that was made here."""

import re
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from string import Template
from types import MappingProxyType

STATIC = Path(__file__).parent / "static"
_PIECE = re.compile(r"^<!-- piece ([\w-]+) -->\n", re.MULTILINE)


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def _pieces() -> Mapping[str, Template]:
    _, *found = _PIECE.split((STATIC / "pieces.html").read_text(encoding="utf-8"))
    return MappingProxyType(
        {name: Template(text.strip()) for name, text in zip(found[::2], found[1::2], strict=True)},
    )


PIECES = _pieces()
"""Every piece of ``pieces.html`` by its name."""


def fill(piece: str, **values: object) -> Html:
    """A piece with its values; raises KeyError when one is missing, so that no placeholder is ever shown."""
    return Html(PIECES[piece].substitute({name: safe(value) for name, value in values.items()}))


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
