"""The lines of a text and the records of a CSV, in flat memory, each with the physical line on which it starts."""

import codecs
import csv
import itertools
import os
import re
import stat
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any, BinaryIO, NamedTuple, Protocol

import attrs

from gotsurge_async.bulk.sources.source import Form

MAX_LINE = 1 << 20
"""The longest line or record that is read, in bytes: what is longer is no order."""

_BLOCK = 1 << 16
_MAX_RESTARTS = 200
_WORKBOOK = "is a workbook, not text: give it its own ending (.xlsx, .xls, .ods), or say --format xlsx"
_SIGNATURES = (
    (b"PK\x03\x04", _WORKBOOK),
    (b"\xd0\xcf\x11\xe0", _WORKBOOK),
    (b"PAR1", "is a Parquet file, not text: say --format parquet"),
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
"""Byte order marks, and what follows each; of two that begin alike the longer one comes first."""
_WITHOUT_MARK = {"utf-16": "utf-16-le", "utf-32": "utf-32-le"}
"""What these names mean where no mark says the order of the bytes: that of nearly every machine."""
_SEPARATOR = re.compile(rb'"?sep=([\t!#-~])"?[\r\n]*', re.IGNORECASE)
_WRAPPED = re.compile(r'\A\s*="([^"]*)"\s*\Z')
"""``="018956"``: so programs keep Excel from taking text for a number. It is the text between the quotes."""

TOO_LONG = f"the line is longer than {MAX_LINE} bytes"


def not_in(encoding: str) -> str:
    """What is said of bytes that are no text in an encoding."""
    if encoding != "utf-8":
        return f"is not in the encoding {encoding}: say which one it is (--encoding)"
    return (
        "is not UTF-8: say which encoding the file has (--encoding cp1252 for Excel's plain CSV in Western Europe), "
        "or save it as CSV UTF-8"
    )


def unwrapped(cell: str) -> str:
    """The text of a cell, see `_WRAPPED`."""
    return _WRAPPED.sub(r"\1", cell)


class BadFile(Exception):
    """A file of which nothing more can be read; says what it is, and what to do."""


class Readable(Protocol):
    """What gives bytes, at most as many as it is asked for, none at its end."""

    def read(self, size: int, /) -> bytes: ...


class Digested:
    """A stream whose bytes are taken into a digest as they are read; its first ones can be looked at before.

    Attributes:
        digest: the SHA-256 of what was read.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.digest: Any = sha256()
        self._stream = stream
        self._ahead = b""

    def start(self) -> bytes:
        """The first bytes, which are read later all the same."""
        while len(self._ahead) < START and (block := self._stream.read(START - len(self._ahead))):
            self._ahead += block
        return self._ahead

    def file(self) -> BinaryIO | None:
        """The stream itself, if it is a file on a disk, which can be read at any place."""
        try:
            return self._stream if stat.S_ISREG(os.fstat(self._stream.fileno()).st_mode) else None
        except (OSError, AttributeError, ValueError):
            return None

    def read(self, size: int, /) -> bytes:
        """Some bytes."""
        block, self._ahead = self._ahead or self._stream.read(size), b""
        self.digest.update(block)
        return block


START = 8
"""How many first bytes tell what a file is."""


class Text:
    """A file as lines of UTF-8 text, whatever its encoding, packed by gzip or not.

    Args:
        encoding: what it is written in, unless it starts with a byte order mark, which is believed; UTF-8 if None.

    Attributes:
        encoding: what it is written in; bom: whether it starts with a byte order mark; packed: whether by gzip.
    """

    def __init__(self, stream: Digested, encoding: str | None = None) -> None:
        found: Readable = stream
        start = stream.start()
        self.packed: bool = start.startswith(_PACKED)
        if self.packed:
            from gotsurge_async.bulk.sources.tables.packed import Unpacked  # few files are packed

            found = unpacked = Unpacked(stream)
            start = unpacked.start()
        marked = next((name[:-3] if "-" in name[4:] else name for mark, name in MARKS if start.startswith(mark)), None)
        self._start = start
        self.bom: bool = marked is not None
        self.encoding: str = marked or _WITHOUT_MARK.get(encoding or "", encoding) or "utf-8"
        if self.encoding != "utf-8":
            from gotsurge_async.bulk.sources.tables.packed import Transcoded

            found = Transcoded(found, self.encoding)
        self._stream = found

    @property
    def form(self) -> Form:
        """How it is written."""
        return Form(encoding=self.encoding, bom=self.bom, packed=self.packed)

    def refusal(self) -> str | None:
        """What the file is, if it is a kind that is often taken for text."""
        return next((what for signature, what in _SIGNATURES if self._start.startswith(signature)), None)

    def lines(self) -> Iterator[bytes | None]:
        """Its lines with their ends (LF, CRLF or CR), without a byte order mark.

        A line of more than `MAX_LINE` bytes is given as None, and never held whole.
        """
        return itertools.chain.from_iterable(self.blocks())

    def blocks(self) -> Iterator[list[bytes | None]]:
        """The lines, as many at a time as were read at once."""
        rest = b""
        too_long = False
        first = True
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
            if len(rest) > MAX_LINE:
                rest, too_long = rest[-1:], True
        if too_long:
            yield [None]
        elif rest:
            yield [rest]


# --- records of a CSV ------------------------------------------------------------------------------------------------


class Record(NamedTuple):
    """One record: the line on which it starts, its cells, and whether some of them hold bytes that are no text."""

    line: int
    cells: list[str]
    damaged: bool
    last_line: int


Unreadable = Callable[[int, str], None]
"""Told the line of a record that cannot be read, and the rule."""


class Grid(Protocol):
    """A table in any format.

    Attributes:
        stopped: whether its end was given up.
    """

    stopped: bool

    @property
    def form(self) -> Form:
        """How it is written; what only its first lines say is known with the first record."""
        ...

    @property
    def digest(self) -> Any:
        """The SHA-256 of what was read."""
        ...

    def records(self, unreadable: Unreadable) -> Iterator[Record]:
        """Its records, those with empty cells only left out; those that cannot be read are told.

        Raises:
            BadFile: nothing more can be read.
        """
        ...


class _Unreadable(Exception):
    """A line or a record that is no text, or longer than any order."""


class CsvGrid:
    """A CSV.

    A quote that is never closed would take the whole rest of the file into one value. So the lines after the one with
    the quote are read again as records of their own, and one such fault does not hide all others.

    Args:
        delimiter: what stands between two cells; if None, what a first line such as ``sep=;`` says, else ``usual``.
    """

    def __init__(self, stream: Digested, encoding: str | None, delimiter: str | None, usual: str = ",") -> None:
        self.stopped: bool = False
        self.delimiter: str = delimiter or usual
        self._stream = stream
        self._encoding = encoding
        self._text: Text | None = None
        self._open = delimiter is None

    @property
    def form(self) -> Form:
        """See `Grid`."""
        form = Form() if self._text is None else self._text.form
        return attrs.evolve(form, delimiter=self.delimiter)

    @property
    def digest(self) -> Any:
        """See `Grid`."""
        return self._stream.digest

    def records(self, unreadable: Unreadable) -> Iterator[Record]:
        """See `Grid`."""
        self._text = text = Text(self._stream, self._encoding)
        if refusal := text.refusal():
            self.stopped = True
            unreadable(1, refusal)
            return
        lines = _Lines(self._without_separator(text.blocks()))
        reader, before, restarts = self._reader(lines), 0, 0
        while not self.stopped:
            start = lines.start
            try:
                cells = next(reader)
            except StopIteration:
                return
            except (csv.Error, _Unreadable) as error:
                last = before + reader.line_num
                unreadable(start, _rule(error, start, last))
                lines.start = start + 1
                if last > start or isinstance(error, _Unreadable):
                    reader, before = self._reader(lines), start
                    restarts += last > start
                if restarts > _MAX_RESTARTS:
                    self.stopped = True
                    unreadable(start, "too many faults of this kind: the rest of the file was not read")
            else:
                last = before + reader.line_num
                lines.start = last + 1
                # A spreadsheet leaves rows of empty cells below its table.
                if lines.wrapped:
                    cells = [unwrapped(cell) for cell in cells]
                if any(map(str.strip, cells)):
                    damaged = bool(lines.damaged) and not lines.damaged.isdisjoint(range(start, last + 1))
                    yield Record(start, cells, damaged, last)

    def _reader(self, lines: "_Lines") -> Any:
        return csv.reader(lines.texts(), delimiter=self.delimiter, strict=True)

    def _without_separator(self, blocks: Iterator[list[bytes | None]]) -> Iterator[list[bytes | None]]:
        """The lines; the first one is empty instead if it only tells Excel the delimiter, which is taken from it."""
        first: list[bytes | None] = []
        while not first and (block := next(blocks, None)) is not None:
            first = block
        if first and first[0] and (said := _SEPARATOR.fullmatch(first[0])):
            if self._open:
                self.delimiter = said[1].decode()
            first[0] = b"\n"
        return itertools.chain((first,), blocks)


class _Lines:
    """Gives the CSV reader text line after line, and keeps the lines of the current record: they may come again.

    Attributes:
        start: the first line of the current record.
        damaged: the lines that are no text.
        wrapped: some cell so far may be text that a formula keeps from Excel, see `_WRAPPED`.
    """

    def __init__(self, blocks: Iterator[list[bytes | None]]) -> None:
        self.start: int = 1
        self.damaged: set[int] = set()
        self.wrapped: bool = False
        self._blocks = blocks
        self._kept: list[bytes | None] = []
        self._first = 1  # the number of the first line that is kept

    def texts(self) -> Iterator[str]:
        """The lines from ``start`` on."""
        line = self.start
        lines = self._kept[line - self._first :]
        while True:
            joined = b"".join(filter(None, lines))
            self.wrapped = self.wrapped or b'="' in joined
            if None in lines or b"\0" in joined:
                yield from self._odd(line, lines)
            else:
                try:
                    texts = [*map(bytes.decode, lines)]  # type: ignore[arg-type]
                except UnicodeDecodeError:
                    yield from self._odd(line, lines)
                else:
                    yield from texts
            line += len(lines)
            block = next(self._blocks, None)
            if block is None:
                return
            self._keep(block)
            lines = block

    def _keep(self, block: list[bytes | None]) -> None:
        over = self.start - self._first
        del self._kept[:over]
        self._first += over
        size = sum(len(line or b"") for line in self._kept)
        self._kept += block
        if size > MAX_LINE:
            raise _Unreadable

    def _odd(self, line: int, lines: list[bytes | None]) -> Iterator[str]:
        """The same of lines of which some are no text."""
        for number, raw in enumerate(lines, start=line):
            if raw is None:
                raise _Unreadable(TOO_LONG)
            text = raw.decode(errors="replace")
            if "\0" in text or "\ufffd" in text:
                self.damaged.add(number)
            yield text


def _rule(error: Exception, start: int, last: int) -> str:
    if isinstance(error, _Unreadable) and error.args:
        return str(error)
    if isinstance(error, csv.Error) and "expected after" in str(error):
        if last == start:
            return 'a quote (") is out of place: quotes enclose a whole value, and one inside it is written twice ("")'
        return (
            f'a quote (") that opens a value here is not closed before line {last}: '
            'close it, and write a quote inside a quoted value twice: ""'
        )
    if isinstance(error, csv.Error) and "field limit" in str(error) and last == start:
        return f"a value is longer than {csv.field_size_limit()} characters"
    return 'a quote (") that opens a value here is never closed'
