"""A CSV file with a header: its rows as values, and everything that is wrong with them at its place."""

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from gotsurge_async.bulk.checks.rules import Severity
from gotsurge_async.bulk.sources.base import IN_DOUBT
from gotsurge_async.bulk.sources.layout import Layout, Reading, make_layout
from gotsurge_async.bulk.sources.lines import NOT_UTF8, Digest, line_blocks
from gotsurge_async.bulk.sources.quick import Quick, quick_reader
from gotsurge_async.bulk.sources.records import Record, Records
from gotsurge_async.bulk.sources.report import Fault, SourceReport

_DELIMITERS = ",;\t|"
_NUL = "holds a NUL byte: save the file as CSV UTF-8"


class Table:
    """Reads one CSV file; the row that was given last is the current one, of which `quick`, `values` and `wrong` speak.

    Attributes:
        layout: what the header says, once the first row was asked for; None if there is no header to use.
        bad: the fields of the current row that are wrong.
        read_to_end: whether the whole file was read.
    """

    def __init__(
        self, name: str, stream: BinaryIO, digest: Digest, delimiter: str, reading: Reading, report: SourceReport
    ) -> None:
        self.name = name
        self.layout: Layout | None = None
        self.bad: set[str] = set()
        self._delimiter = delimiter
        self._reading = reading
        self._report = report
        self._records = Records(line_blocks(stream, digest), delimiter, self._unreadable)
        self._quick: Quick | None = None
        self._narrow = 0
        self.read_to_end: bool = False
        self._line = 1
        self._cells: list[str] = []

    @property
    def lost(self) -> int:
        """How many rows could not be cut into cells, so that nothing is known of them."""
        return self._records.lost + self._narrow

    def rows(self) -> Iterator[Record]:
        """The rows that can be cut into cells, as many as the header has, in the order of the file."""
        records = iter(self._records)
        layout = self._header(records)
        if layout is None:
            return
        self.layout = layout
        self._quick = quick_reader(layout, self._reading.shape.model, IN_DOUBT)
        width = len(layout.names)
        any_row = False
        for record in records:
            any_row = True
            self._line, cells = record.line, record.cells
            self._cells = cells
            if self.bad:
                self.bad = set()
            if len(cells) != width and not self._fits(record, width):
                self._narrow += 1
                continue
            if record.damaged:
                self._tell_damage(layout)
            for index in layout.unnamed:
                if cells[index].strip():
                    self.wrong_cell(index, "stands in a column without a name: name the column in the header")
            yield record
        self.read_to_end = not self._records.stopped
        if not any_row and not self._records.lost:
            self.tell(self._line, None, None, "there is no row below the header", Severity.WARNING)

    def values(self) -> dict[str, Any]:
        """What is right of the fields of the current row; the rest is in ``bad``."""
        return {} if self.layout is None else self.layout.read(self._cells, self.wrong)

    def quick(self) -> tuple[str, Any] | None:
        """The key of the current row, and a struct of what it gives; None for one that is not plainly right."""
        if self._quick is None or self.bad:
            return None
        try:
            return self._quick(self._cells)
        except ValueError:
            return None

    # --- what is wrong ---

    def wrong(self, field: str, rule: str, severity: Severity = Severity.FAULT, value: Any = None) -> None:
        """Say what is wrong with a field of the current row; of several faults of one field the first is told."""
        if field in self.bad or any(each.startswith(f"{field}.") for each in self.bad):
            return
        index = self.layout.index.get(field) if self.layout else None
        if index is None:
            self.tell(self._line, field, None if value is None else str(value), rule, severity)
        else:
            self.wrong_cell(index, rule, severity)
        if severity is Severity.FAULT:
            self.bad.add(field)

    def wrong_cell(self, index: int, rule: str, severity: Severity = Severity.FAULT) -> None:
        """Say what is wrong with a cell of the current row."""
        name = (self.layout.names[index] if self.layout else "") or f"column {index + 1}"
        if name not in self.bad:
            self.tell(self._line, name, self._cells[index] or None, rule, severity)
        if severity is Severity.FAULT:
            self.bad.add(name)

    def tell(
        self, line: int | None, column: str | None, value: str | None, rule: str, severity: Severity = Severity.FAULT
    ) -> None:
        """Say what is wrong anywhere in this file."""
        self._report.add(Fault(file=self.name, line=line, column=column, value=value, rule=rule, severity=severity))

    def _unreadable(self, line: int, rule: str) -> None:
        self.tell(line, None, None, rule)

    def _fits(self, record: Record, width: int) -> bool:
        """Whether a row has as many cells as the header, not counting empty ones at its end."""
        cells = record.cells
        while len(cells) > width and not cells[-1]:
            cells.pop()
        if len(cells) == width:
            return True
        until = "" if record.last_line == record.line else f" (the row goes on to line {record.last_line})"
        self.tell(record.line, None, None, f"{_count(len(cells))}, but the header has {width}{until}: {self._advice()}")
        return False

    def _advice(self) -> str:
        return f"a value that holds a {_shown(self._delimiter)} or a line break stands in quotes"

    def _tell_damage(self, layout: Layout) -> None:
        fields: Mapping[int, str] = {index: field for field, index in layout.index.items()}
        for index, cell in enumerate(self._cells):
            if "\ufffd" in cell or "\0" in cell:
                rule = _NUL if "\0" in cell else NOT_UTF8
                if index in fields:
                    self.wrong(fields[index], rule)
                else:
                    self.wrong_cell(index, rule)
                # What is left of the value is not worth a second fault.
                self._cells[index] = ""

    # --- the header ---

    def _header(self, records: Iterator[Record]) -> Layout | None:
        header = next(records, None)
        if header is None:
            if not self._records.lost:
                self.tell(1, None, None, "the file is empty: the first line names the columns")
            return None
        self._line, self._cells = header.line, header.cells
        if header.damaged:
            nul = any("\0" in cell for cell in header.cells)
            self.tell(header.line, None, None, f"the header {_NUL if nul else NOT_UTF8}")
            return None
        if header.cells[0].startswith("{"):
            self.tell(header.line, None, None, "this looks like JSON Lines: say --format jsonl")
            return None
        if self._other_delimiter(header):
            return None
        layout = make_layout(header.cells, self._reading, self._wrong_header)
        return layout if layout.index else None

    def _wrong_header(self, column: str, rule: str) -> None:
        self.tell(self._line, column, None, rule)

    def _other_delimiter(self, header: Record) -> bool:
        """Whether the header makes sense only with another delimiter; then that is told, and nothing else."""
        known = self._reading.shape.columns.keys() | self._reading.column_map.columns.keys()
        if not known.isdisjoint(name.strip() for name in header.cells):
            return False
        text = self._delimiter.join(header.cells)
        for other in _DELIMITERS:
            if other != self._delimiter and not known.isdisjoint(name.strip() for name in text.split(other)):
                shown = _shown(other)
                rule = f"the columns seem to be separated by {shown}: say --delimiter {shown}"
                self.tell(header.line, None, None, rule)
                return True
        return False


def _shown(delimiter: str) -> str:
    return "tab" if delimiter == "\t" else f'"{delimiter}"'


def _count(cells: int) -> str:
    return "1 cell" if cells == 1 else f"{cells} cells"
