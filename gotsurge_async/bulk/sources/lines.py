"""The lines of a text and the records of a CSV, in flat memory, each with the physical line on which it starts."""

import abc
import codecs
import csv
import itertools
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from importlib.util import find_spec
from typing import Any, BinaryIO, NamedTuple, Protocol

import attrs

MAX_LINE = 1 << 20
"""The longest line or record that is read, in bytes."""
MOST_ROWS = 1_000_000
"""The most rows that are written into a workbook's sheet; it has room for a few more."""
START = 8
"""The number of first bytes that tell what a file is."""

_BLOCK = 1 << 16
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
"""Byte order marks and their encodings; of two that begin alike the longer one comes first."""
_WITHOUT_MARK = {"utf-16": "utf-16-le", "utf-32": "utf-32-le"}
"""What these names mean where no mark gives the order of the bytes: that of nearly every machine."""
_SEPARATOR = re.compile(rb'"?sep=([\t!#-~])"?[\r\n]*', re.IGNORECASE)
_WRAPPED = re.compile(r'\A\s*="([^"]*)"\s*\Z')

TOO_LONG = f"the line is longer than {MAX_LINE} bytes"


@attrs.frozen(kw_only=True)
class Form:
    """How a file is written, so that files written next to it can be alike.

    Attributes:
        format: csv, jsonl, xlsx, xls, ods, parquet or sql.
        delimiter: the character between two cells of a CSV.
        encoding: of a text, as Python names it.
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
        """Whether all its values are text: a number of another table is written as one only in a workbook."""
        return self.format in ("csv", "jsonl")

    @staticmethod
    def of_types(rows: int, sheet: str | None = None) -> "Form":
        """How a table with types is written: as a workbook, or where that is not possible, as a CSV in UTF-8."""
        fits = find_spec("xlsxwriter") is not None and rows <= MOST_ROWS
        return Form(format="xlsx", sheet=sheet) if fits else Form()


class BadFile(Exception):
    """Nothing more of a file can be read; the text says what the file is, and what to do."""


# --- the lines of a text ---------------------------------------------------------------------------------------------


def not_in(encoding: str) -> str:
    """The message for bytes that are not text in an encoding."""
    if encoding != "utf-8":
        return f"is not in the encoding {encoding}: say which one it is (--encoding)"
    return (
        "is not UTF-8: say which encoding the file has (--encoding cp1252 for Excel's plain CSV in Western Europe), "
        "or save it as CSV UTF-8"
    )


def unwrapped(cell: str) -> str:
    """``018956`` of the cell ``="018956"``, which keeps Excel from reading a number; any other cell as it is."""
    return _WRAPPED.sub(r"\1", cell)


class Readable(Protocol):
    """A stream of bytes: at most ``size`` at a time, none at its end."""

    def read(self, size: int, /) -> bytes: ...


class Digested:
    """A stream that keeps the digest of what was read; its first bytes can be seen before.

    Attributes:
        digest: the SHA-256 of what was read.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.digest: Any = sha256()
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

    def read(self, size: int, /) -> bytes:
        """Some bytes; none at the end."""
        block, self._ahead = self._ahead or self._stream.read(size), b""
        self.digest.update(block)
        return block


class Text:
    """A file as lines of UTF-8 text, whatever its encoding, packed by gzip or not.

    Args:
        encoding: of the file, unless it starts with a byte order mark, which counts more; UTF-8 if None.

    Attributes:
        form: how the file is written.
    """

    def __init__(self, stream: Digested, encoding: str | None = None) -> None:
        readable: Readable = stream
        start = stream.start()
        packed = start.startswith(_PACKED)
        if packed:
            from gotsurge_async.bulk.sources.tables.packed import Unpacked  # few files are packed

            readable = unpacked = Unpacked(stream)
            start = unpacked.start()
        marked = next((name[:-3] if "-" in name[4:] else name for mark, name in MARKS if start.startswith(mark)), None)
        own = marked or _WITHOUT_MARK.get(encoding or "", encoding) or "utf-8"
        if own != "utf-8":
            from gotsurge_async.bulk.sources.tables.packed import Transcoded

            readable = Transcoded(readable, own)
        self.form: Form = Form(encoding=own, bom=marked is not None, packed=packed)
        self._start = start
        self._stream = readable

    def refusal(self) -> str | None:
        """What the file is, if it is a kind that is often taken for text."""
        return next((rule for signature, rule in _SIGNATURES if self._start.startswith(signature)), None)

    def lines(self) -> Iterator[bytes | None]:
        """The lines with their ends (LF, CRLF or CR), without a byte order mark.

        A line of more than `MAX_LINE` bytes is None, and never held whole.
        """
        return itertools.chain.from_iterable(self.blocks())

    def blocks(self) -> Iterator[list[bytes | None]]:
        """The lines, in lists of those that were read together."""
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


# --- the records of a table ------------------------------------------------------------------------------------------


class Record(NamedTuple):
    """One record: its first line, its cells, whether some cells hold bytes that are not text, and its last line."""

    line: int
    cells: list[str]
    damaged: bool
    last_line: int


Unreadable = Callable[[int, str], None]
"""Called with the line of a record that cannot be read, and the rule that it breaks."""


class Grid(abc.ABC):
    """A table in any format.

    Attributes:
        form: how it is written; what its first lines say is known with the first record.
        digest: the SHA-256 of what was read.
        stopped: whether the end was not read.
        sheets: the names of all sheets of cells of a workbook.
        remarks: warnings about the whole table.
    """

    def __init__(self, form: Form, digest: Any) -> None:
        self.form = form
        self.digest = digest
        self.stopped: bool = False
        self.sheets: Sequence[str] = ()
        self.remarks: list[str] = []

    @abc.abstractmethod
    def records(self, unreadable: Unreadable) -> Iterator[Record]:
        """The records, without those that have only empty cells; ``unreadable`` is called for the broken ones.

        Raises:
            BadFile: nothing more can be read.
        """


class CsvGrid(Grid):
    """A CSV. A quote that is never closed ends it: where the next row starts after that is not certain.

    Args:
        delimiter: the character between two cells; if None, that of a first line such as ``sep=;``, else ``usual``.
    """

    def __init__(self, stream: Digested, encoding: str | None, delimiter: str | None, usual: str = ",") -> None:
        super().__init__(Form(delimiter=delimiter or usual), stream.digest)
        self._stream = stream
        self._encoding = encoding
        self._takes_separator = delimiter is None
        self._start = 1  # the first line of the current record
        self._damaged: set[int] = set()  # the lines that are not text
        self._wrapped = False  # whether a cell so far may be one that `unwrapped` changes

    def records(self, unreadable: Unreadable) -> Iterator[Record]:
        """See `Grid.records`."""
        text = Text(self._stream, self._encoding)
        self.form: Form = attrs.evolve(text.form, delimiter=self.form.delimiter)
        if refusal := text.refusal():
            self.stopped = True
            unreadable(1, refusal)
            return
        blocks = self._without_separator(text.blocks())
        reader = csv.reader(self._texts(blocks), delimiter=self.form.delimiter, strict=True)
        damaged = self._damaged
        while True:
            start = self._start
            try:
                cells = next(reader)
            except StopIteration:
                return
            except (csv.Error, _TooLong) as error:
                last = reader.line_num
                self.stopped = isinstance(error, _TooLong) or last > start
                unreadable(start, _rule(error, start, last))
                if self.stopped:
                    return
            else:
                last = reader.line_num
                if self._wrapped:
                    cells = [unwrapped(cell) for cell in cells]
                # A spreadsheet leaves rows of empty cells below its table.
                if any(map(str.strip, cells)):
                    is_damaged = bool(damaged) and not damaged.isdisjoint(range(start, last + 1))
                    yield Record(start, cells, is_damaged, last)
            self._start = last + 1

    def _without_separator(self, blocks: Iterator[list[bytes | None]]) -> Iterator[list[bytes | None]]:
        """The lines; a first one that only names the delimiter to Excel is taken, and is empty."""
        first: list[bytes | None] = next(filter(None, blocks), [])
        if first and first[0] and (separator := _SEPARATOR.fullmatch(first[0])):
            if self._takes_separator:
                self.form = attrs.evolve(self.form, delimiter=separator[1].decode())
            first[0] = b"\n"
        return itertools.chain((first,), blocks)

    def _texts(self, blocks: Iterator[list[bytes | None]]) -> Iterator[str]:
        """The lines as text.

        Raises:
            _TooLong: a line, or the current record, has more than `MAX_LINE` bytes.
        """
        line, start, size = 1, 1, 0
        for lines in blocks:
            if self._start != start:
                start, size = self._start, 0
            if size > MAX_LINE:
                raise _TooLong
            joined = b"".join(filter(None, lines))
            size += len(joined)
            self._wrapped = self._wrapped or b'="' in joined
            texts = None if None in lines or b"\0" in joined else _decoded(lines)
            yield from self._odd(line, lines) if texts is None else texts
            line += len(lines)

    def _odd(self, line: int, lines: list[bytes | None]) -> Iterator[str]:
        """The texts of lines of which some are not text."""
        for number, raw in enumerate(lines, start=line):
            if raw is None:
                raise _TooLong(TOO_LONG)
            text = raw.decode(errors="replace")
            if "\0" in text or "\ufffd" in text:
                self._damaged.add(number)
            yield text


class _TooLong(Exception):
    """A line or a record is longer than any order."""


def _decoded(lines: list[bytes | None]) -> list[str] | None:
    try:
        return [*map(bytes.decode, lines)]  # type: ignore[arg-type]
    except UnicodeDecodeError:
        return None


def _rule(error: csv.Error | _TooLong, start: int, last: int) -> str:
    """The message for a record that breaks the rules; one that ends on its first line does not end the file."""
    if isinstance(error, _TooLong) and error.args:
        return f"the line is longer than {MAX_LINE} bytes; the rest of the file was not read"
    if isinstance(error, csv.Error) and "expected after" in str(error):
        if last == start:
            return 'a quote (") is out of place: quotes enclose a whole value, and one inside it is written twice ("")'
        return (
            f'a quote (") that opens a value here is not closed before line {last}: '
            'close it, and write a quote inside a quoted value twice: ""; the rest of the file was not read'
        )
    if last > start:
        return 'a quote (") that opens a value here is never closed; the rest of the file was not read'
    if "field limit" in str(error):
        return f"a value is longer than {csv.field_size_limit()} characters"
    return 'a quote (") that opens a value here is never closed'
