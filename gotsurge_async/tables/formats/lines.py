"""The lines of a text in constant memory, whatever its encoding, packed by gzip or not."""

import codecs
import gzip
import itertools
import os
import stat
import zlib
from collections.abc import Iterator
from hashlib import sha256
from importlib.util import find_spec
from typing import Any, BinaryIO, Protocol

from msgspec import Struct

from gotsurge_async.errors import Coded
from gotsurge_async.starting import pattern
from gotsurge_async.tables.formats.sheet_reader.messages import FREE

MAX_LINE = 1 << 20
"""The longest line or record that is read, in bytes."""
MOST_ROWS = 1_000_000
"""The most rows that are written into a workbook's sheet; it has room for a few more."""
MOST_LINES = 10_000_000
"""The most lines of a text, or rows of another table, that are read."""
START = 8
"""The number of first bytes that identify the kind of a file."""

MOST_UNPACKED = 16 << 30
"""The most bytes that a packed file may expand to."""
MOST_RATIO = 250
"""The most times its size that a packed file may expand to; tables reach about fifty."""

_BLOCK = 1 << 16
_SAMPLE = 10_000  # the number of lines that show how many the whole file has
_MARGIN = 1.5  # others may be shorter or longer
_DAMAGE = "\ufffd".encode()
_WORKBOOK = "is a workbook, not text: give the file the right ending (.xlsx, .xls, .ods), or pass --format xlsx"
_SIGNATURES = (
    (b"PK\x03\x04", _WORKBOOK),
    (b"\xd0\xcf\x11\xe0", _WORKBOOK),
    (b"PAR1", "is a Parquet file, not text: pass --format parquet"),
    (b"%PDF", "is a PDF, not text: export the table as CSV UTF-8"),
)
_PACKED = b"\x1f\x8b"
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order marks and their encodings; of two that begin alike the longer one comes first."""
_WITHOUT_MARK = {"utf-16": "utf-16-le", "utf-32": "utf-32-le"}
"""The encodings for these names if no mark gives the order of the bytes: that of nearly every machine."""
_WRAPPED = pattern(r'\A\s*="([^"]*)"\s*\Z')

TOO_LONG = Coded(f"the line is longer than {MAX_LINE} bytes", "E215")
TOO_LONG_ROW = Coded(f"the row is longer than {MAX_LINE} characters", "E215")


class Form(Struct, frozen=True, kw_only=True):
    """The form of a file, so that files written next to it can have the same.

    Attributes:
        format: csv, jsonl, xlsx, xls, ods, parquet or sql.
        delimiter: the character between two cells of a CSV.
        encoding: that of a text, by its name in Python.
        bom: whether a text starts with a byte order mark.
        packed: whether a text is packed by gzip.
        sheet: the name of a workbook's sheet.
    """

    format: str = "csv"
    delimiter: str = ","
    encoding: str = "utf-8"
    bom: bool = False
    packed: bool = False
    sheet: str | None = None

    @property
    def is_text(self) -> bool:
        """Whether all its values are text: a number of another table stays a number only in a workbook."""
        return self.format in ("csv", "jsonl")

    @staticmethod
    def of_types(rows: int, sheet: str | None = None) -> "Form":
        """The form for a table with types: a workbook or, if that is not possible, a CSV in UTF-8."""
        fits = find_spec("xlsxwriter") is not None and rows <= MOST_ROWS
        return Form(format="xlsx", sheet=sheet) if fits else Form()


class BadFile(Exception):
    """Nothing more of a file can be read; the text names the reason, and what to do."""

    def __init__(self, message: str, explain_code: str = "E205") -> None:
        super().__init__(Coded(message, explain_code))


def too_many(count: str) -> BadFile:
    """The error for a table that is too long; ``count`` is the number of its lines or rows, with its noun."""
    return BadFile(f"has {count}, but at most {MOST_LINES:,} are read: split it, and push the parts", "E245")


# --- the lines of a text ---------------------------------------------------------------------------------------------


def not_in(encoding: str) -> str:
    """The message for bytes that are not text in an encoding."""
    if encoding != "utf-8":
        return Coded(f"is not in the encoding {encoding}: name the right one (--encoding)", "E203")
    return Coded(
        "is not UTF-8: name the encoding of the file (--encoding cp1252 for Excel's plain CSV in Western Europe), "
        "or save it as CSV UTF-8",
        "E203",
    )


def unwrapped(cell: str) -> str:
    """``018956`` for the cell ``="018956"``, which keeps Excel from reading a number; any other cell unchanged."""
    return _WRAPPED.sub(r"\1", cell)


class Readable(Protocol):
    """A stream of bytes: at most ``size`` at a time, none at its end."""

    def read(self, size: int, /) -> bytes: ...


class Digested:
    """A stream that computes the digest of the bytes read, and counts them; its first bytes can be read in advance."""

    def __init__(self, stream: BinaryIO) -> None:
        self.digest: Any = sha256()
        self.count: int = 0
        self._stream = stream
        self._ahead = b""

    def start(self) -> bytes:
        """The first bytes, which `read` returns again."""
        while len(self._ahead) < START and (block := self._stream.read(START - len(self._ahead))):
            self._ahead += block
        return self._ahead

    def file(self) -> BinaryIO | None:
        """The stream itself, if it is a file on a disk, which can be read at any place."""
        try:
            return self._stream if stat.S_ISREG(os.fstat(self._stream.fileno()).st_mode) else None
        except (OSError, AttributeError, ValueError):
            return None

    def size(self) -> int:
        """The number of bytes of a file on a disk; 0 for another stream."""
        file = self.file()
        return 0 if file is None else os.fstat(file.fileno()).st_size

    def read(self, size: int, /) -> bytes:
        """Some bytes; none at the end."""
        block, self._ahead = self._ahead or self._stream.read(size), b""
        self.digest.update(block)
        self.count += len(block)
        return block


class _Counted:
    """A stream whose bytes are counted, and which returns no more than ``size`` of them at a time."""

    def __init__(self, stream: Readable) -> None:
        self.count: int = 0
        self._stream = stream
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        if not self._rest:
            self._rest = self._stream.read(_BLOCK)
            self.count += len(self._rest)
        block, self._rest = self._rest[:size], self._rest[size:]
        return block


class Unpacked:
    """The content of a gzip file, which may have several parts, each packed alone.

    `start` and `read` raise BadFile if the file is damaged, cut short, or expands to more than any table.
    """

    def __init__(self, stream: Readable) -> None:
        self._packed = _Counted(stream)
        file: Any = self._packed  # which is only read
        self._file = gzip.GzipFile(fileobj=file, mode="rb")
        self._expanded = 0
        self._ahead = b""

    def start(self) -> bytes:
        """The first bytes, which `read` returns again."""
        while len(self._ahead) < START and (block := self._next(_BLOCK)):
            self._ahead += block
        return self._ahead

    def read(self, size: int, /) -> bytes:
        """Some bytes; at least one before the end."""
        block, self._ahead = self._ahead or self._next(size), b""
        return block

    def _next(self, size: int) -> bytes:
        try:
            block: bytes = self._file.read1(size)
        except EOFError:
            raise BadFile("the compressed file is incomplete: its end is missing", "E204") from None
        except (gzip.BadGzipFile, zlib.error):
            raise BadFile("the compressed file is damaged: it cannot be decompressed", "E204") from None
        self._expanded += len(block)
        if self._expanded > MOST_UNPACKED or self._expanded > max(FREE, self._packed.count * MOST_RATIO):
            raise BadFile(
                f"the compressed file expands to more than {self._expanded:,} bytes: decompress it first", "E204"
            )
        return block


class Transcoded:
    """A text in any encoding as UTF-8. Bytes that are not text become bytes that are not UTF-8 either."""

    def __init__(self, stream: Readable, encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        self._ended = False

    def read(self, size: int, /) -> bytes:
        """Some bytes; at least one before the end."""
        while not self._ended:
            block = self._stream.read(size)
            self._ended = not block
            text = self._decoder.decode(block, final=self._ended)
            if text:
                return text.encode(errors="replace").replace(_DAMAGE, b"\xff")
        return b""


class Text:
    """A file as lines of UTF-8 text, packed by gzip or not. A byte order mark takes precedence over ``encoding``."""

    def __init__(self, stream: Digested, encoding: str | None = None) -> None:
        readable: Readable = stream
        start = stream.start()
        packed = start.startswith(_PACKED)
        if packed:
            readable = unpacked = Unpacked(stream)
            start = unpacked.start()
        marked = next((name[:-3] if "-" in name[4:] else name for mark, name in MARKS if start.startswith(mark)), None)
        own = marked or _WITHOUT_MARK.get(encoding or "", encoding) or "utf-8"
        if own != "utf-8":
            readable = Transcoded(readable, own)
        self.form: Form = Form(encoding=own, bom=marked is not None, packed=packed)
        self._start = start
        self._stream = readable
        self._file = stream

    def refusal(self) -> Coded | None:
        """A message with the kind of the file, if it is one that is often mistaken for text."""
        return next((Coded(rule, "E202") for signature, rule in _SIGNATURES if self._start.startswith(signature)), None)

    def lines(self) -> Iterator[bytes | None]:
        """The lines with their ends (LF, CRLF or CR), without a byte order mark.

        A line of more than `MAX_LINE` bytes is None, and never held whole.
        """
        return itertools.chain.from_iterable(self.blocks())

    def blocks(self) -> Iterator[list[bytes | None]]:
        """The lines, in lists of those that were read together; BadFile if the file has, or must have, too many."""
        rest = b""
        too_long = False
        count, size = 0, self._file.size()
        first, before = True, 0
        while block := self._stream.read(_BLOCK):
            text = rest + block
            if first and len(text) < len(codecs.BOM_UTF8) and codecs.BOM_UTF8.startswith(text):
                rest = text
                continue
            if first:
                text, first = text.removeprefix(codecs.BOM_UTF8), False
            lines: list[bytes | None] = [*text.splitlines(keepends=True)]
            # A CR at the end may be the half of a CRLF.
            rest = lines.pop() or b"" if lines and not text.endswith(b"\n") else b""
            if len(text) > MAX_LINE:
                lines = [line if line and len(line) <= MAX_LINE else None for line in lines]
            if too_long and lines:
                lines[0], too_long = None, False
            yield lines
            count += len(lines)
            if count > MOST_LINES:
                raise too_many(f"more than {MOST_LINES:,} lines")
            whole = count * size / self._file.count
            # As many as all lines so far show, and as the last ones alone: the first may be short.
            ahead = count + (size - self._file.count) * len(lines) / max(1, self._file.count - before)
            before = self._file.count
            if count > _SAMPLE and min(whole, ahead) > MOST_LINES * _MARGIN:
                raise too_many(f"about {float(f'{min(whole, ahead):.2g}'):,.0f} lines")
            if len(rest) > MAX_LINE:
                rest, too_long = rest[-1:], True
        if too_long:
            yield [None]
        elif rest:
            yield [rest]
