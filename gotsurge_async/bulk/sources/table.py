"""A table with a header: its rows as values, and everything that is wrong with them at its place."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from gotsurge_async.bulk.checks.faults import Fault, Original, SourceReport
from gotsurge_async.bulk.checks.words import number_of
from gotsurge_async.bulk.sources.cells import Broken
from gotsurge_async.bulk.sources.fields import FEEDBACK
from gotsurge_async.bulk.sources.header import Header, Reading
from gotsurge_async.bulk.sources.lines import BadFile, Grid, Record, not_in
from gotsurge_async.models.rules import Finding, Severity

_DELIMITERS = ",;\t|"
_LOOKED_FOR_A_HEADER = 20
"""How many rows are looked through for the header, where the first one is none."""


class Table:
    """Reads one table; the row that was given last is the current one, of which `values` and `wrong` speak.

    Attributes:
        grid: the table as rows of cells.
        header: what the header says, once the first row was asked for; None if there is none to use.
        bad: the fields of the current row that are wrong.
        partial: whether its cells do not show all that is wrong with it.
        lost: how many rows could not be cut into cells, so that nothing is known of them.
        read_to_end: whether the whole file was read.
    """

    def __init__(self, name: str, grid: Grid, reading: Reading, report: SourceReport) -> None:
        self.name = name
        self.grid = grid
        self.header: Header | None = None
        self.bad: set[str] = set()
        self.partial: bool = False
        self.lost: int = 0
        self.read_to_end: bool = False
        self._reading = reading
        self._report = report
        self._line = 1
        self._cells: list[str] = []

    def rows(self) -> Iterator[Record]:
        """The rows that can be cut into cells, as many as the header has, in the order of the file."""
        try:
            yield from self._rows()
        except BadFile as error:
            self.lost += 1
            self.tell(None, None, None, str(error))

    def _rows(self) -> Iterator[Record]:
        records = self.grid.records(self._unreadable)
        self.header = header = self._read_header(records)
        if header is None:
            return
        for remark in getattr(self.grid, "remarks", ()):
            self.tell(None, None, None, remark, Severity.WARNING)
        any_row = False
        for record in records:
            any_row = True
            self._line, self._cells = record.line, record.cells
            if self.bad:
                self.bad, self.partial = set(), False
            if len(record.cells) != len(header.names) and not self._fits(record, len(header.names)):
                continue
            if header.needed is not None and not record.cells[header.needed].strip():
                continue
            if record.damaged:
                self._tell_damage(header)
            for index in header.unnamed:
                if record.cells[index].strip():
                    self.wrong_cell(index, "stands in a column without a name: name the column in the header")
            yield record
        self.read_to_end = not self.grid.stopped
        if not any_row and not self.lost:
            self.tell(self._line or None, None, None, "there is no row below the header", Severity.WARNING)

    def values(self) -> dict[str, Any]:
        """What is right of the fields of the current row; the rest is in ``bad``."""
        return {} if self.header is None else self.header.read(self._cells, self.wrong)

    # --- what is wrong ---

    def found(self, finding: Finding) -> None:
        """Tell what the checks have found in the current row."""
        self.wrong(finding.path, finding.message, finding.proposal, finding.severity, finding.value)

    def wrong(
        self,
        field: str,
        rule: str,
        proposal: str | None = None,
        severity: Severity = Severity.FAULT,
        value: Any = None,
    ) -> None:
        """Say what is wrong with a field of the current row; of several faults of one field the first is told.

        Args:
            proposal: what the value was certainly meant to be.
        """
        if field in self.bad or any(each.startswith(f"{field}.") for each in self.bad):
            return
        header = self.header
        places = header.places.get(field, ()) if header else ()
        if len(places) == 1:
            self.wrong_cell(places[0], rule, severity, field, proposal)
        else:
            column, shown = field, None if value is None else str(value)
            if header and places:
                column, shown = header.column_of(field), header.value_of(field, self._cells)
            fault = Fault(
                file=self.name,
                line=self._line,
                column=column,
                field=field,
                value=shown,
                rule=rule,
                severity=severity,
                proposal=proposal,
            )
            self._report.add(fault, self._original())
        if severity is Severity.FAULT:
            self.bad.add(field)

    def wrong_cell(
        self,
        index: int,
        rule: str,
        severity: Severity = Severity.FAULT,
        field: str | None = None,
        proposal: str | None = None,
    ) -> None:
        """Say what is wrong with a cell of the current row, which gives ``field``, if it gives one."""
        name = (self.header.names[index] if self.header else "") or f"column {index + 1}"
        if name not in self.bad:
            fault = Fault(
                file=self.name,
                line=self._line,
                column=name,
                field=field,
                value=self._cells[index] or None,
                rule=rule,
                severity=severity,
                proposal=proposal,
                place=index,
            )
            self._report.add(fault, self._original())
        if severity is Severity.FAULT:
            self.bad.add(name)

    def tell(
        self, line: int | None, column: str | None, value: str | None, rule: str, severity: Severity = Severity.FAULT
    ) -> None:
        """Say what is wrong anywhere in this file."""
        self._report.add(Fault(file=self.name, line=line, column=column, value=value, rule=rule, severity=severity))

    def _original(self) -> Original | None:
        """The current row, as it was read."""
        return None if self.header is None else Original(self._cells, self.header.names, self.partial)

    def _unreadable(self, line: int, rule: str, cells: Sequence[str] = (), *, whole: bool = True) -> None:
        """Tell of what is no row; where even its end is not certain, it says something of the whole file."""
        self.lost += 1
        self._report.whole = self._report.whole or whole
        original = None if self.header is None else Original(cells, self.header.names, partial=True)
        self._report.add(Fault(file=self.name, line=line, rule=rule), original)

    def _fits(self, record: Record, width: int) -> bool:
        """Whether a row has as many cells as the header, not counting empty ones at its end."""
        cells = record.cells
        while len(cells) > width and not cells[-1]:
            cells.pop()
        if len(cells) == width:
            return True
        count = number_of(len(cells), "cell")
        until = "" if record.last_line == record.line else f" (the row goes on to line {record.last_line})"
        advice = f"a value that holds a {_shown(self.grid.form.delimiter)} or a line break stands in quotes"
        rule = f"{count}, but the header has {width}{until}: {advice}"
        self._unreadable(record.line, rule, cells, whole=record.last_line != record.line)
        return False

    def _tell_damage(self, header: Header) -> None:
        fields = {places[0]: field for field, places in header.places.items() if len(places) == 1}
        for place, cell in enumerate(self._cells):
            if rule := self._damage(cell):
                # Text in another encoding than was said is so in all rows, also where it does not show.
                self._report.whole = self._report.whole or not isinstance(cell, Broken)
                self.partial = self.partial or isinstance(cell, Broken)
                # What is left of the value is not worth a second fault, nor to be shown where it is none.
                self._cells[place] = "" if isinstance(cell, Broken) else cell
                if place in fields:
                    self.wrong(fields[place], rule)
                else:
                    self.wrong_cell(place, rule)
                self._cells[place] = ""

    def _damage(self, text: str) -> str | None:
        if isinstance(text, Broken):
            return str(text)
        if "\0" in text:
            return "holds a NUL byte: save the file as CSV UTF-8, or say its encoding (--encoding utf-16)"
        return not_in(self.grid.form.encoding) if "\ufffd" in text else None

    # --- the header ---

    def _read_header(self, records: Iterator[Record]) -> Header | None:
        wanted = self._reading.dialect.header_row
        record = next(records, None)
        if record is not None and {*FEEDBACK} <= {*record.cells}:
            wanted = None  # a push has written it, and its header first, whatever a map says of the file before
        while record is not None and wanted is not None and record.line < wanted:
            record = next(records, None)
        if record is None or (wanted is not None and record.line > wanted):
            if wanted is not None:
                self.tell(wanted, None, None, "is empty, or not there, and was said to name the columns (--header-row)")
            elif not self.lost:
                self.tell(1, None, None, "the file is empty: the first line names the columns")
            return None
        line, cells = record.line or None, record.cells
        self._line = record.line
        if record.damaged:
            self.tell(line, None, None, f"the header {next(filter(None, map(self._damage, cells)))}")
        elif cells[0].startswith("{"):
            self.tell(line, None, None, "this looks like JSON Lines: say --format jsonl")
        elif other := self._other_delimiter(cells):
            self.tell(line, None, None, f"the columns seem to be separated by {other}: say --delimiter {other}")
        elif wanted is None and (later := self._later_header(cells, records)):
            self.tell(line, None, None, f"this is no header; line {later} looks like it: say --header-row {later}")
        else:
            header = Header(cells, self._reading, lambda column, rule: self.tell(line, column, None, rule))
            if header.places:
                return header
            self._tell_sheets(line)
        return None

    def _tell_sheets(self, line: int | None) -> None:
        """Tell which other sheets there are, where the header of one fits nothing."""
        sheets = getattr(self.grid, "sheets", ())
        if len(sheets) > 1:
            shown = ", ".join(sheets)
            self.tell(line, None, None, f'the sheet "{self.grid.form.sheet}" was read, of {shown}: another is --sheet')

    def _other_delimiter(self, cells: Sequence[str]) -> str | None:
        """The delimiter with which alone the header makes sense, if it is another one than was said."""
        if self.grid.form.format != "csv" or self._known(cells):
            return None
        text = self.grid.form.delimiter.join(cells)
        others = (each for each in _DELIMITERS if self._known(text.split(each)))
        return next(map(_shown, others), None)

    def _later_header(self, cells: Sequence[str], records: Iterator[Record]) -> int | None:
        """The line that has more of the names than the first one, which has none of them: that is a title then."""
        if self._known(cells):
            return None
        seen = ((self._known(record.cells), record.line) for record in islice(records, _LOOKED_FOR_A_HEADER))
        count, line = max(seen, key=lambda each: each[0], default=(0, 0))
        return line if count > 1 else None

    def _known(self, cells: Sequence[str]) -> int:
        """How many of the cells are names of columns that are read."""
        return sum(self._reading.knows(cell.strip()) for cell in cells)


def _shown(delimiter: str) -> str:
    return "tab" if delimiter == "\t" else f'"{delimiter}"'
