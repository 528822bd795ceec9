"""Files for people: whole or not at all, in the form of their source, and safe to open in a spreadsheet."""

import codecs
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import IO, Any

from gotsurge_async.errors import ConfigError
from gotsurge_async.starting import pattern
from gotsurge_async.system import files
from gotsurge_async.tables import Form
from gotsurge_async.tables.cells import Exact


class WholeFile:
    """A file that is written next to its place, and moved there when it is whole; its mode is 0600."""

    def __init__(self, path: Path, at_end: ExitStack) -> None:
        self.path = path
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
        self.temporary: Path = Path(temporary)
        at_end.callback(self.temporary.unlink, missing_ok=True)
        self.stream: IO[bytes] = os.fdopen(descriptor, "wb")
        at_end.callback(self.stream.close)

    def put_in_place(self, *, new: bool = False) -> None:
        """Close the file, and rename it to its final name; if ``new``, only if no file has that name."""
        self.stream.close()
        if new:
            files.put_new(self.temporary, self.path)
        else:
            files.replace(self.temporary, self.path)


_QUOTE, _TWO_QUOTES = '"', '""'


def csv_text(rows: Sequence[Sequence[str]], delimiter: str) -> str:
    """Rows of one width, at least two, as `csv.writer` writes them: a column at a time, in a tenth of its work."""
    return "\r\n".join([*csv_lines(rows, delimiter), ""])


def csv_lines(rows: Sequence[Sequence[str]], delimiter: str) -> Iterator[str]:
    """The lines of `csv_text`, without their ends."""
    columns = [_quoted(column, delimiter) for column in zip(*rows, strict=True)]
    return map(delimiter.join, zip(*columns, strict=True))


def _quoted(cells: Sequence[str], delimiter: str) -> Sequence[str]:
    """Cells of a column, in quotes where they need them; most columns have none that does."""
    text = "".join(cells)
    if delimiter not in text and '"' not in text and "\n" not in text and "\r" not in text:
        return cells
    return [
        f'"{cell.replace(_QUOTE, _TWO_QUOTES)}"'
        if delimiter in cell or '"' in cell or "\n" in cell or "\r" in cell
        else cell
        for cell in cells
    ]


def defused(text: str | None) -> str:
    """A text of the service for a cell, in a form that no spreadsheet reads as a formula."""
    if not text:
        return ""
    return f" {text}" if text[0] in "=+-@\t\r" else text


# --- rows -----------------------------------------------------------------------------------------------------------


def ending_of(form: Form) -> str:
    """The ending of a file in this form, by which readers recognize the form."""
    return "tsv" if form.format == "csv" and form.delimiter == "\t" else form.format


class _CsvRows:
    """A CSV in any encoding. A character of the service's text that the encoding lacks becomes a question mark."""

    def __init__(self, form: Form, stream: IO[bytes]) -> None:
        self._stream = stream
        self._delimiter = form.delimiter
        self._encoder = None
        if form.encoding != "utf-8":
            self._encoder = codecs.getincrementalencoder(form.encoding)(errors="replace")
        elif form.bom:
            stream.write(codecs.BOM_UTF8)

    def put(self, rows: Iterable[Sequence[str]]) -> None:
        """Write rows."""
        for _, alike in groupby(rows, len):  # one width, but for rows of a ledger that this version did not write
            if self._encoder is not None:
                self._stream.write(self._encoder.encode(csv_text([*alike], self._delimiter)))
                continue
            # Each line alone: most are ASCII, and a text with one letter of another kind is slow as a whole.
            self._stream.write(b"\r\n".join([*map(str.encode, csv_lines([*alike], self._delimiter)), b""]))

    def end(self) -> None:
        """Do nothing: every row is written already."""


LONGEST_CELL = 32_767
"""The most characters of a cell in a workbook."""
MOST_DIGITS = 15
"""The digits of a number that a spreadsheet keeps."""
FIRST_YEAR = 1901
"""The first year that is written as a date: a spreadsheet counts days from 1900, with one too many in that year."""
_SHEET = "Orders"
_LONGEST_SHEET = 31
_NO_SHEET = pattern(r"[\[\]:*?/\\]")
_DAY = pattern(r"\d{4}-\d\d-\d\d")
_MOMENT = pattern(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
_NUMBER = pattern(r"-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?")


@contextmanager
def workbook(stream: IO[bytes], **options: bool) -> Iterator[Any]:
    """A workbook of xlsxwriter, which is written to the stream when the block ends.

    Raises:
        ConfigError: the library is not installed.
        OSError: the stream cannot be written.
    """
    try:
        import xlsxwriter
        from xlsxwriter.exceptions import XlsxWriterException
    except ImportError:
        raise ConfigError('a workbook needs an extra: pip install "gotsurge-async[excel]"', "E108") from None
    try:
        with xlsxwriter.Workbook(stream, options) as book:
            yield book
    except XlsxWriterException as error:  # the error of the disk, in a class of xlsxwriter
        cause = error.__context__
        raise (cause if isinstance(cause, OSError) else OSError(str(error))) from None


class _BookRows:
    """A workbook: text stays text, even if it looks like a number; numbers and dates keep their types."""

    def __init__(self, form: Form, stream: IO[bytes]) -> None:
        self._open = ExitStack()
        book = self._open.enter_context(workbook(stream, constant_memory=True, strings_to_formulas=False))
        name = form.sheet or _SHEET
        fits = len(name) <= _LONGEST_SHEET and not _NO_SHEET.search(name) and name.strip("'") == name
        self._sheet = book.add_worksheet(name if fits else _SHEET)
        self._day = book.add_format({"num_format": "yyyy-mm-dd"})
        self._moment = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        self._row = 0

    def put(self, rows: Iterable[Sequence[str]]) -> None:
        """Write rows."""
        for cells in rows:
            for place, cell in enumerate(cells):
                if cell:
                    self._write(place, cell)
            self._row += 1

    def _write(self, place: int, cell: str) -> None:
        number, moment = (_number(cell), _moment(cell)) if type(cell) is Exact else (None, None)
        if number is not None:
            self._sheet.write_number(self._row, place, number)
        elif moment is not None:
            form = self._day if _DAY.fullmatch(cell) else self._moment
            self._sheet.write_datetime(self._row, place, moment, form)
        else:
            self._sheet.write_string(self._row, place, cell[:LONGEST_CELL])

    def end(self) -> None:
        """Write the end of the file; a second call does nothing."""
        self._open.close()


Rows = _CsvRows | _BookRows
"""Writes rows of cells to a stream, in a form."""


def rows_of(form: Form, stream: IO[bytes]) -> Rows:
    """A writer of rows of cells to a stream, in a form."""
    return _BookRows(form, stream) if form.format == "xlsx" else _CsvRows(form, stream)


def _number(text: str) -> float | None:
    """The number in a text, if a spreadsheet keeps it exactly."""
    exact = _NUMBER.fullmatch(text) and sum(map(str.isdigit, text)) <= MOST_DIGITS
    return float(text) if exact else None


def _moment(text: str) -> datetime | None:
    """The day, or the time without a zone, in a text."""
    if not (_DAY.fullmatch(text) or _MOMENT.fullmatch(text)):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.year >= FIRST_YEAR else None
