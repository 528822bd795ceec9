"""The physical lines of a file, in flat memory, and what a file is when it is no text."""

import codecs
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO, Protocol

MAX_LINE = 1 << 20
"""The longest line that is read, in bytes: what is longer is no order."""

_BLOCK = 1 << 16
_WORKBOOK = "is a spreadsheet file, not text: save it as CSV UTF-8 from the spreadsheet program"
_SIGNATURES = (
    (b"PK\x03\x04", _WORKBOOK),
    (b"\xd0\xcf\x11\xe0", _WORKBOOK),
    (b"\x1f\x8b", "is compressed: unpack it first"),
    (b"%PDF", "is a PDF, not text: export the table as CSV UTF-8"),
    (codecs.BOM_UTF32_LE, "is in UTF-32, not UTF-8: save it as CSV UTF-8"),
    (codecs.BOM_UTF16_LE, "is in UTF-16, not UTF-8: save it as CSV UTF-8"),
    (codecs.BOM_UTF16_BE, "is in UTF-16, not UTF-8: save it as CSV UTF-8"),
)

NOT_UTF8 = "is not UTF-8: save the file with the encoding UTF-8 (in Excel: CSV UTF-8)"
TOO_LONG = f"the line is longer than {MAX_LINE} bytes"


class Digest(Protocol):
    """What the bytes are told to while they are read."""

    def update(self, data: bytes, /) -> None:
        """Take the next bytes in."""


def physical_lines(stream: BinaryIO, digest: Digest) -> Iterator[bytes | None]:
    """The lines of a file with their ends (LF, CRLF or CR), without a byte order mark.

    A line of more than `MAX_LINE` bytes is given as None, and never held whole.
    """
    return chain.from_iterable(line_blocks(stream, digest))


def line_blocks(stream: BinaryIO, digest: Digest) -> Iterator[list[bytes | None]]:
    """The same lines as `physical_lines`, as many together as came in one reading of the file."""
    rest = b""
    too_long = False
    first = True
    while block := stream.read(_BLOCK):
        digest.update(block)
        text = rest + block
        if first and len(text) < len(codecs.BOM_UTF8) and codecs.BOM_UTF8.startswith(text):
            rest = text
            continue
        if first:
            text, first = text.removeprefix(codecs.BOM_UTF8), False
        lines = text.splitlines(keepends=True)
        # A CR at the end may be the half of a CRLF.
        rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        given: list[bytes | None] = [*lines]
        if len(text) > MAX_LINE:
            given = [line if len(line) <= MAX_LINE else None for line in lines]
        if too_long and given:
            given[0], too_long = None, False
        if given:
            yield given
        if len(rest) > MAX_LINE:
            rest, too_long = rest[-1:], True
    if too_long:
        yield [None]
    elif rest:
        yield [rest]


def not_text(start: bytes) -> str | None:
    """What a file is that starts with these bytes, if it is a kind that is often taken for text."""
    return next((what for signature, what in _SIGNATURES if start.startswith(signature)), None)
