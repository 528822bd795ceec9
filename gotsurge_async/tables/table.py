"""A table with a header: its rows as values, and each fault at its place."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from msgspec import structs

from gotsurge_async.errors import Coded, code_of
from gotsurge_async.models.rules import Finding, Severity
from gotsurge_async.tables.cells import Broken
from gotsurge_async.tables.checks.faults import Fault, Original, SourceReport, quoted
from gotsurge_async.tables.checks.words import number_of
from gotsurge_async.tables.fields import FEEDBACK
from gotsurge_async.tables.formats.grid import Grid, Record
from gotsurge_async.tables.formats.lines import BadFile, not_in
from gotsurge_async.tables.header import Header, Reading

_DELIMITERS = ",;\t|"
BLOCK = 200
"""The most rows that are checked together."""
_CHARACTERS = 500_000
"""About as many characters as these rows have at most."""
_MOST_ABOVE = 20
"""The number of rows that are searched for the header, if the first one is not one."""


class Table:
    """Reads one table. `values` and `wrong` concern the current row, the last one of `rows` or of `turn_to`.

    Attributes:
        header: the header, from the first row on; None if it cannot be used.
        bad: the fields of the current row that are wrong.
        partial: whether the current row has a fault that its cells do not show.
        lost: the number of rows that could not be split into cells, so that nothing is known of them.
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
        self._record: Record | None = None
        self._block: list[Record] = []
        self._below: list[tuple[int, str]] = []  # what is not a row, below the block

    def rows(self) -> Iterator[Record]:
        """The rows that have as many cells as the header, in the order of the file."""
        for block in self.blocks():
            for record in block:
                self.turn_to(record)
                yield record

    def blocks(self) -> Iterator[list[Record]]:
        """The rows as lists of some that follow each other, of which the first is the current one.

        Turn to a row before you report a fault of it. One that has a fault already is alone, so that all are reported
        in the order of the file.
        """
        try:
            yield from self._blocks()
        except BadFile as error:
            yield from self._rest()
            self.lost += 1
            self.add_fault(Coded(error))

    def turn_to(self, record: Record) -> None:
        """Make a row the current one."""
        if record is not self._record:
            self._record, self._line, self._cells = record, record.line, record.cells
            self.bad, self.partial = set(), False

    def _blocks(self) -> Iterator[list[Record]]:
        records = self.grid.records(self._unreadable_below)
        self.header = header = self._read_header(records)
        if header is None:
            return
        for remark in self.grid.remarks:
            self.add_fault(remark, Severity.WARNING)
        any_row, most = False, BLOCK
        width, needed, unnamed = len(header.names), header.needed, header.unnamed
        for record in records:
            any_row = True
            if record.shown:
                record = _as_shown(record, record.shown, header)
                if not any(map(str.strip, record.cells)):  # it has errors, in columns that are not read
                    continue
            cells = record.cells
            is_odd = self._below or record.damaged or len(cells) != width
            if is_odd or (unnamed and any(cells[place].strip() for place in unnamed)):
                yield from self._rest()
                self.turn_to(record)
                if not self._is_usable(record, header):
                    continue
            elif needed is not None and not cells[needed].strip():
                continue
            if not self._block:  # its first row shows how long the rows of this table are
                most = min(BLOCK, 1 + _CHARACTERS // (1 + sum(map(len, cells))))
            self._block.append(record)
            if len(self._block) == most or self._record is record:
                yield from self._rest()
        yield from self._rest()
        self.read_to_end = not self.grid.stopped
        if not any_row and not self.lost:
            self.add_fault(Coded("there is no row below the header", "E210"), Severity.WARNING, line=self._line or None)

    def _is_usable(self, record: Record, header: Header) -> bool:
        """Whether a row is one of the table's; what is wrong with how it is written is reported."""
        if len(record.cells) != len(header.names) and not self._fits(record, len(header.names)):
            return False
        if header.needed is not None and not record.cells[header.needed].strip():
            return False
        if record.damaged:
            self._report_damage(header)
        for index in header.unnamed:
            if record.cells[index].strip():
                self.wrong_cell(index, Coded("is in a column without a name: name the column in the header", "E213"))
        return True

    def _unreadable_below(self, line: int, rule: str) -> None:
        """Report text that is not a row when the rows above it have been used."""
        if self._block:
            self._below.append((line, rule))
        else:
            self._unreadable(line, rule)

    def _rest(self) -> Iterator[list[Record]]:
        """The block so far; then what was below it is reported."""
        if self._block:
            self.turn_to(self._block[0])
            yield self._block
        self._block = []
        for line, rule in self._below:
            self._unreadable(line, rule)
        self._below.clear()

    def values(self) -> dict[str, Any]:
        """The correct fields of the current row; the others are in ``bad``."""
        return {} if self.header is None else self.header.read(self._cells, self.wrong)

    # --- faults ---

    def add(self, finding: Finding) -> None:
        """Report a finding of the checks in the current row."""
        self.wrong(finding.path, finding.message, finding.proposal, finding.severity, finding.value)

    def wrong(
        self,
        field: str,
        rule: str,
        proposal: str | None = None,
        severity: Severity = Severity.FAULT,
        value: Any = None,
    ) -> None:
        """Report a field's first fault in the current row; ``proposal`` is the value that was certainly meant."""
        if field in self.bad or any(bad.startswith(f"{field}.") for bad in self.bad):
            return
        header = self.header
        places = header.places.get(field, ()) if header else ()
        if len(places) == 1:
            self.wrong_cell(places[0], rule, severity, field, proposal)
        else:
            column, shown = field, None if value is None else str(value)
            if header and places:
                column, shown = header.column_of(field), header.value_of(field, self._cells)
            self._add(rule, severity, proposal, column=column, field=field, value=shown)
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
        """Report a fault of a cell of the current row, whose field is ``field``, if it has one."""
        name = (self.header.names[index] if self.header else "") or f"column {index + 1}"
        if name not in self.bad:
            value = self._cells[index] or None
            self._add(rule, severity, proposal, column=name, field=field, value=value, place=index)
        if severity is Severity.FAULT:
            self.bad.add(name)

    def add_fault(self, rule: str, severity: Severity = Severity.FAULT, **where: Any) -> None:
        """Report a fault of the whole file, or of a place; ``where`` has the other attributes of the `Fault`."""
        self._report.add(Fault(file=self.name, rule=rule, severity=severity, **where))

    def _add(self, rule: str, severity: Severity, proposal: str | None, **where: Any) -> None:
        """Report a fault of the current row; ``where`` has the other attributes of the `Fault`."""
        original = None if self.header is None else Original(self._cells, self.header.names, self.partial)
        fault = Fault(file=self.name, line=self._line, rule=rule, severity=severity, proposal=proposal, **where)
        self._report.add(fault, original)

    def _unreadable(self, line: int, rule: str, cells: Sequence[str] = (), *, whole: bool = True) -> None:
        """Report text that is not a row; ``whole`` unless its end is certain, so that it can be left out alone."""
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
        rule = Coded(f"{count}, but the header has {width}{until}: {advice}", "E213")
        self._unreadable(record.line, rule, cells, whole=record.last_line != record.line)
        return False

    def _report_damage(self, header: Header) -> None:
        fields = {places[0]: field for field, places in header.places.items() if len(places) == 1}
        for place, cell in enumerate(self._cells):
            if rule := self._damage(cell):
                # A wrong encoding is wrong in all rows, also where it does not show.
                self._report.whole = self._report.whole or not isinstance(cell, Broken)
                self.partial = self.partial or isinstance(cell, Broken)
                # The rest of the value gets no second fault, and a broken cell has no value to show.
                self._cells[place] = "" if isinstance(cell, Broken) else cell
                if place in fields:
                    self.wrong(fields[place], rule)
                else:
                    self.wrong_cell(place, rule)
                self._cells[place] = ""

    def _damage(self, text: str) -> str | None:
        if isinstance(text, Broken):
            return text
        if "\0" in text:
            return "holds a NUL byte: save the file as CSV UTF-8, or say its encoding (--encoding utf-16)"
        return not_in(self.grid.form.encoding) if "\ufffd" in text else None

    # --- the header ---

    def _read_header(self, records: Iterator[Record]) -> Header | None:
        row = self._reading.dialect.header_row
        record = next(records, None)
        if record is not None and {*FEEDBACK} <= {*record.cells}:
            row = None  # a push writes the header first, wherever the map has it in the file before
        while record is not None and row is not None and record.line < row:
            record = next(records, None)
        if record is None or (row is not None and record.line > row):
            if row is not None:
                rule = Coded("is empty or missing, but --header-row makes this line the header", "E210")
                self.add_fault(rule, line=row)
            elif not self.lost:
                self.add_fault(Coded("the file is empty: its first line must name the columns", "E210"), line=1)
            return None
        line, cells = record.line or None, record.cells
        self._line = record.line
        if damage := next(
            filter(None, map(self._damage, [*(record.shown or {}).values(), *(cells if record.damaged else ())])), None
        ):
            rule = Coded(f"the header {damage}", code_of(damage) or "E210")
        elif cells[0].startswith("{"):
            rule = Coded("this looks like JSON Lines: pass --format jsonl", "E202")
        elif other := self._other_delimiter(cells):
            rule = Coded(f"the columns seem to be separated by {other}: pass --delimiter {other}", "E210")
        elif row is None and (later := self._later_header(cells, records)):
            rule = Coded(
                f"this is not the header; line {later} looks like the header: pass --header-row {later}", "E210"
            )
        else:
            header = Header(cells, self._reading, lambda column, rule: self.add_fault(rule, line=line, column=column))
            if header.places:
                return header
            self._report_sheets(line)
            return None
        self.add_fault(rule, line=line)
        return None

    def _report_sheets(self, line: int | None) -> None:
        """Report the names of all sheets, if the header of the one that was read has no known column."""
        if len(self.grid.sheets) > 1:
            name, names = self.grid.form.sheet, ", ".join(self.grid.sheets)
            self.add_fault(
                Coded(f'the sheet "{name}" was read; the workbook has {names}: --sheet chooses another', "E206"),
                line=line,
            )

    def _other_delimiter(self, cells: Sequence[str]) -> str | None:
        """Another delimiter with which the header would have known columns, if it has none with the present one."""
        if self.grid.form.format != "csv" or self._known(cells):
            return None
        text = self.grid.form.delimiter.join(cells)
        others = (delimiter for delimiter in _DELIMITERS if self._known(text.split(delimiter)))
        return next(map(_shown, others), None)

    def _later_header(self, cells: Sequence[str], records: Iterator[Record]) -> int | None:
        """The line with the most known columns, if the first line has none, and so may be a title."""
        if self._known(cells):
            return None
        counts = ((self._known(record.cells), record.line) for record in islice(records, _MOST_ABOVE))
        count, line = max(counts, key=lambda pair: pair[0], default=(0, 0))
        return line if count > 1 else None

    def _known(self, cells: Sequence[str]) -> int:
        """The number of cells with names of columns that are read."""
        return sum(self._reading.knows(cell.strip()) for cell in cells)


def _as_shown(record: Record, shown: Mapping[int, str], header: Header) -> Record:
    """A record whose text fields have the texts that the sheet shows; a key with such a text is a fault.

    Its value and its text are two keys, either of which an earlier push may have used.
    """
    cells, damaged = record.cells, record.damaged
    for place, text in shown.items():
        if isinstance(text, Broken):
            cells[place] = text if place in header.used else cells[place]
        elif place in header.identities and text != cells[place]:
            form = f"as {quoted(text)}" if text else "in another form"
            rule = (
                f"shows {form}, but its value is {quoted(cells[place])}: format the column as text, and write what is "
                "meant; if the order was pushed before, keep the key that it had"
            )
            cells[place] = Broken(Coded(rule, "E229"))
        elif text and place in header.texts:
            cells[place] = text
        damaged = damaged or isinstance(cells[place], Broken)
    return structs.replace(record, damaged=damaged)


def _shown(delimiter: str) -> str:
    return "tab" if delimiter == "\t" else f'"{delimiter}"'
