"""The lines of a file and the records of a CSV, in flat memory, each with the physical line on which it starts."""

import codecs
import csv
from collections import deque
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

MAX_LINE = 1 << 20
"""The longest line or record that is read, in bytes: what is longer is no order."""

_BLOCK = 1 << 16
_MAX_RESTARTS = 200
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


def physical_lines(stream: BinaryIO, digest: Callable[[bytes], object]) -> Iterator[bytes | None]:
    """The lines of a file with their ends (LF, CRLF or CR), without a byte order mark.

    A line of more than `MAX_LINE` bytes is given as None, and never held whole. ``digest`` is told every byte.
    """
    rest = b""
    too_long = False
    first = True
    while block := stream.read(_BLOCK):
        digest(block)
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
        yield from lines
        if len(rest) > MAX_LINE:
            rest, too_long = rest[-1:], True
    if too_long:
        yield None
    elif rest:
        yield rest


def not_text(start: bytes) -> str | None:
    """What a file is that starts with these bytes, if it is a kind that is often taken for text."""
    return next((what for signature, what in _SIGNATURES if start.startswith(signature)), None)


# --- records of a CSV ------------------------------------------------------------------------------------------------


class Record(NamedTuple):
    """One record: the line on which it starts, its cells, and whether some of them hold bytes that are no text."""

    line: int
    cells: list[str]
    damaged: bool
    last_line: int


class _Unreadable(Exception):
    """A line or a record that is no text, or longer than any order."""


class Records:
    """Reads records; those that cannot be read are told to ``wrong`` (the line, and the rule) and left out.

    A quote that is never closed would take the whole rest of the file into one value. So the lines after the one with
    the quote are read again as records of their own, and one such fault does not hide all others.

    Attributes:
        stopped: whether the end of the file was given up.
    """

    def __init__(self, lines: Iterator[bytes | None], delimiter: str, wrong: Callable[[int, str], None]) -> None:
        self.stopped: bool = False
        self._lines = _Lines(lines)
        self._delimiter = delimiter
        self._wrong = wrong

    def __iter__(self) -> Iterator[Record]:
        lines = self._lines
        reader = csv.reader(lines, delimiter=self._delimiter, strict=True)
        restarts = 0
        while not self.stopped:
            lines.begin_record()
            try:
                cells = next(reader)
            except StopIteration:
                return
            except (csv.Error, _Unreadable) as error:
                self._wrong(lines.start, _rule(error, lines))
                restarts += lines.push_back()
                self.stopped = lines.refused
                if restarts > _MAX_RESTARTS:
                    self.stopped = True
                    self._wrong(lines.start, "too many faults of this kind: the rest of the file was not read")
            else:
                # A spreadsheet leaves rows of empty cells below its table.
                if any(map(str.strip, cells)):
                    yield Record(lines.start, cells, lines.damaged, lines.number)


class _Lines:
    """Gives the CSV reader line after line, and remembers those of the current record.

    Attributes:
        number: of the line that was given last; start: of the first one of the record.
        damaged: whether one of the record's lines is no text.
        refused: whether the whole file is none.
    """

    def __init__(self, lines: Iterator[bytes | None]) -> None:
        self.number = 0
        self.start = 1
        self.damaged = False
        self.refused = False
        self._lines = lines
        self._again: deque[bytes | None] = deque()
        self._record: list[bytes | None] = []
        self._size = 0

    def begin_record(self) -> None:
        """The next line starts a record."""
        self.start = self.number + 1
        self.damaged = False
        self._record.clear()
        self._size = 0

    def push_back(self) -> bool:
        """Take the current record for its first line only; the other lines come again. Whether there were any."""
        rest = self._record[1:]
        self._again.extendleft(reversed(rest))
        self.number -= len(rest)
        return bool(rest)

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        raw = self._again.popleft() if self._again else next(self._lines)
        self.number += 1
        self._record.append(raw)
        if self.number == 1 and (kind := not_text(raw or b"")):
            self.refused = True
            raise _Unreadable(kind)
        if raw is None:
            raise _Unreadable(TOO_LONG)
        self._size += len(raw)
        if self._size > MAX_LINE:
            raise _Unreadable
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            self.damaged = True
            return raw.decode(errors="replace")
        if "\0" in text:
            self.damaged = True
        return text


def _rule(error: Exception, lines: _Lines) -> str:
    if isinstance(error, _Unreadable) and error.args:
        return str(error)
    if isinstance(error, csv.Error) and "expected after" in str(error):
        if lines.number == lines.start:
            return 'a quote (") is out of place: quotes enclose a whole value, and one inside it is written twice ("")'
        return (
            f'a quote (") that opens a value here is not closed before line {lines.number}: '
            'close it, and write a quote inside a quoted value twice: ""'
        )
    if isinstance(error, csv.Error) and "field limit" in str(error) and lines.number == lines.start:
        return f"a value is longer than {csv.field_size_limit()} characters"
    return 'a quote (") that opens a value here is never closed'
