"""A sheet of a workbook, .xlsx, .xls or .ods, by python-calamine."""

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import IO, TYPE_CHECKING, Any

from gotsurge_async.bulk.checks.words import number_of
from gotsurge_async.bulk.sources.cells import Broken, Exact
from gotsurge_async.bulk.sources.fields import did_you_mean
from gotsurge_async.bulk.sources.lines import BadFile, Digested, Record, Unreadable
from gotsurge_async.bulk.sources.source import Form
from gotsurge_async.bulk.sources.tables.marks import Mark, Parts
from gotsurge_async.bulk.sources.tables.packed import on_disk
from gotsurge_async.bulk.sources.tables.typed import Typed, rounded_text
from gotsurge_async.errors import ConfigError

if TYPE_CHECKING:
    from python_calamine import CalamineSheet, CalamineWorkbook

_ERROR_OF_ODS = (
    "a cell shows an error such as #N/A or #REF!, and would be read as an empty one: "
    "mend its formula, or clear the cell"
)
_MERGED = "is merged with the cell above, and has no value of its own: take the cells apart, and fill in each"
_LOCKED = "is locked by a password: save it without one"
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
"""The name under which an old kind of container, which .xls has too, holds an .xlsx with a password."""
_DIRECTORY = 64 << 20
"""As far as that name is looked for."""
_NO_MARK = Mark(1 << 30, 0, 0, "")


class WorkbookGrid:
    """A sheet, the first one that is visible unless another is named. It is held whole while it is read.

    Attributes:
        sheets: the names of all its sheets of cells.
        remarks: what somebody who looks at the workbook may not know of it: which sheet is read, and which rows.

    Raises:
        ConfigError: python-calamine is not there.
    """

    def __init__(self, stream: Digested, format_: str, sheet: str | None) -> None:
        try:
            import python_calamine
        except ImportError:
            raise ConfigError(
                f'a workbook (.{format_}) needs python-calamine: pip install "gotsurge-async[excel]"'
            ) from None
        self.stopped: bool = False
        self.sheets: list[str] = []
        self.remarks: list[str] = []
        self._calamine = python_calamine
        self._stream = stream
        self._format = format_
        self._sheet = sheet
        self._typed = Typed({float: rounded_text})

    @property
    def form(self) -> Form:
        """See `Grid`."""
        return Form(format=self._format, sheet=self._sheet)

    @property
    def digest(self) -> Any:
        """See `Grid`."""
        return self._stream.digest

    def records(self, unreadable: Unreadable) -> Iterator[Record]:
        """See `Grid`. The line is the row of the sheet."""
        with on_disk(self._stream) as file:
            parts = Parts(file) if file.read(2) == b"PK" else None
            file.seek(0)
            if _ENCRYPTED in file.read(_DIRECTORY):
                raise BadFile(_LOCKED)
            file.seek(0)
            sheet = self._open(file)
            if parts and parts.has_errors:
                raise BadFile(_ERROR_OF_ODS)
            if parts and (hidden := parts.hidden_rows(sheet.name)):
                self._remark(
                    f"{number_of(len(hidden), 'row')} of the sheet, first {hidden[0]}, cannot be seen: "
                    "what is hidden, or filtered out, is sent like all other rows"
                )
            left = sheet.start[1] if sheet.start else 0
            marks = chain(parts.marks(sheet.name), [_NO_MARK]) if parts else iter([_NO_MARK])
            mark = next(marks)
            with panics_told():
                rows = enumerate(sheet.iter_rows(), start=1)
            below = _Merged(sheet.merged_cell_ranges or (), left)
            for line, row in rows:
                record = self._typed.record(line, row, unreadable)
                for cell in below.covered(line, row):
                    record = record and _marked(record, cell, left)
                while mark.row <= line:
                    if mark.row == line and record is not None:
                        record = _marked(record, mark, left)
                    mark = next(marks)
                if record is not None:
                    yield record

    def _remark(self, rule: str) -> None:
        self.remarks.append(rule)

    def _open(self, file: IO[bytes]) -> "CalamineSheet":
        with panics_told(self._calamine.CalamineError):
            book = self._calamine.load_workbook(file)
            name = self._choose(book)
            return book.get_sheet_by_name(name)

    def _choose(self, book: "CalamineWorkbook") -> str:
        kinds = self._calamine.SheetTypeEnum, self._calamine.SheetVisibleEnum
        tables = [each for each in book.sheets_metadata if each.typ == kinds[0].WorkSheet]
        self.sheets = [each.name for each in tables]
        if self._sheet is None:
            visible = [each.name for each in tables if each.visible == kinds[1].Visible]
            if not visible:
                raise BadFile("has no visible sheet of cells: name one (--sheet)")
            self._sheet = visible[0]
            if before := self.sheets[: self.sheets.index(self._sheet)]:
                self._remark(
                    f'the sheet "{self._sheet}" is read, the first that can be seen; hidden, and not read: '
                    f"{', '.join(before)}"
                )
        elif self._sheet not in self.sheets:
            hint = did_you_mean(self._sheet, self.sheets)
            raise BadFile(f'has no sheet "{self._sheet}"{hint}; it has {", ".join(self.sheets)}')
        elif any(each.name == self._sheet and each.visible != kinds[1].Visible for each in tables):
            self._remark(f'the sheet "{self._sheet}" is hidden, and is read because it was named')
        return self._sheet


class _Merged:
    """Cells that are merged with one above: they show its value, and have none.

    Args:
        ranges: first and last cell of each, as row and column from 0.
        left: the column in which rows begin.
    """

    def __init__(self, ranges: Iterable[tuple[tuple[int, int], tuple[int, int]]], left: int) -> None:
        self._ranges = deque(sorted(each for each in ranges if each[1][0] > each[0][0]))
        self._left = left
        self._open: list[tuple[int, int]] = []  # the last line, and the column

    def covered(self, line: int, row: Sequence[Any]) -> list[Mark]:
        """Those of a row that a value above covers; the rows come one after the other."""
        if self._open:
            self._open = [each for each in self._open if each[0] >= line]
        marks = [Mark(line, column, 0, _MERGED) for _, column in self._open]
        while self._ranges and self._ranges[0][0][0] < line:
            (first, column), (last, _) = self._ranges.popleft()
            place = column - self._left
            if first == line - 1 and 0 <= place < len(row) and row[place] not in ("", None):
                self._open.append((last + 1, column))
        return marks


def _marked(record: Record, mark: Mark, left: int) -> Record:
    """A record with what a mark says of one of its cells."""
    place = mark.column - left
    if not 0 <= place < len(record.cells):
        return record
    cells = list(record.cells)
    if mark.rule:
        cells[place] = Broken(mark.rule)
    elif cells[place].isdecimal():
        cells[place] = Exact(cells[place].zfill(mark.zeros))
    return record._replace(cells=cells, damaged=record.damaged or bool(mark.rule))


@contextlib.contextmanager
def panics_told(*errors: type[Exception]) -> Iterator[None]:
    """Turn what the reader says of a broken workbook into a `BadFile`, also where it gives up in its own way."""
    try:
        yield
    except errors as error:
        if type(error).__name__ == "PasswordError":
            raise BadFile(_LOCKED) from None
        raise BadFile(f"is damaged, or no workbook: {error}") from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of Rust; it is no Exception
            raise
        raise BadFile("is damaged: it cannot be read") from None
