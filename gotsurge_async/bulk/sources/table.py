"""A CSV file with a header: its rows as values, and everything that is wrong with them at its place."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, BinaryIO
from zoneinfo import ZoneInfo

import attrs

from gotsurge_async.bulk.checks.rules import Finding, Severity
from gotsurge_async.bulk.sources.cells import Parse, parser
from gotsurge_async.bulk.sources.fields import FEEDBACK, ITEM_KEY, Column, Shape, draft_of
from gotsurge_async.bulk.sources.lines import NOT_UTF8, Digest, Record, Records, physical_lines
from gotsurge_async.bulk.sources.options import NOW, ColumnMap, did_you_mean
from gotsurge_async.bulk.sources.source import Fault, SourceReport
from gotsurge_async.errors import ConfigError

_DELIMITERS = ",;\t|"

Wrong = Callable[[str, str], None]
"""Told a column (in a header its own name, in a row the field's dotted name) and the rule that it breaks."""


@attrs.frozen(kw_only=True)
class Reading:
    """How a table is to be read: the fields there are, and what the user said.

    Attributes:
        shape: the fields.
        column_map: the user's names for them.
        key: the field or column that tells one row from another.
        delimiter: what stands between two cells.
        zone, now: for times.
    """

    shape: Shape
    column_map: ColumnMap
    key: str
    delimiter: str
    zone: ZoneInfo | None
    now: datetime

    def parser(self, field: str) -> Parse | None:
        """What reads the cells of a field; None where the text is the value."""
        return parser(self.shape.columns[field].kind, self.zone)

    def constants(self) -> dict[str, Any]:
        """What the map gives to every row, by dotted name.

        Raises:
            ConfigError: a constant is not written as its field needs it.
        """
        found: dict[str, Any] = {}
        for field, text in self.column_map.constants.items():
            if text == NOW and self.shape.columns[field].kind is datetime:
                found[field] = self.now
                continue
            parse = self.parser(field)
            try:
                found[field] = text if parse is None else parse(text)
            except ValueError as error:
                raise ConfigError(f'the map\'s constant {field} = "{text}": {error}') from None
        return found


# --- the header ------------------------------------------------------------------------------------------------------


@attrs.frozen
class Part:
    """An object of which a row gives fields: one inside the order, such as ``from_address``, or the order itself.

    Attributes:
        field: its name; "" for the order itself.
        make: makes the object of its fields.
        cells: where each cell is, the name of its field, what reads it (None: the text is the value), its dotted name.
        constants: what the map gives to every row.
        needs: what the object cannot be made without.
        complete: whether a column or a constant is there for all that it needs.
    """

    field: str
    make: Callable[..., Any]
    cells: Sequence[tuple[int, str, Parse | None, str]]
    constants: Mapping[str, Any]
    needs: Sequence[str]
    complete: bool

    def read(self, cells: Sequence[str], wrong: Wrong) -> dict[str, Any]:
        """The fields that a row gives; an empty cell gives nothing."""
        values: dict[str, Any] = {}
        for index, field, parse, name in self.cells:
            cell = cells[index]
            if cell:
                try:
                    values[field] = cell if parse is None else parse(cell)
                except ValueError as error:
                    wrong(name, str(error))
        if self.constants:
            values.update(self.constants)
        return values


@attrs.frozen
class Header:
    """What a header says.

    Attributes:
        names: the columns' own names, in the order of the file.
        index: the field's dotted name -> where its cell is.
        own: the fields of the order itself; parts: those of the objects inside it.
        required: what a row must give.
        key: where the cell of the key is, None if there is none; status: the same for ``gs_status``.
        unnamed: columns without a name, whose cells must be empty.
        original: the columns that no earlier push added.
        complete: whether there is a column or a constant for all that is required.
    """

    names: tuple[str, ...]
    index: Mapping[str, int]
    own: Part
    parts: Sequence[Part]
    required: frozenset[str]
    key: int | None
    status: int | None
    unnamed: tuple[int, ...]
    original: tuple[int, ...]
    complete: bool

    @property
    def written_by_a_push(self) -> bool:
        """Whether an earlier push wrote the file."""
        return len(self.original) < len(self.names)

    def read(self, cells: Sequence[str], wrong: Wrong) -> dict[str, Any]:
        """The fields that a row gives: values of the right types, and whole objects. An empty cell gives nothing."""
        cells = list(map(str.strip, cells))
        values = self.own.read(cells, wrong)
        for part in self.parts:
            inner = part.read(cells, wrong)
            if not inner:
                continue
            for need in part.needs:
                if need not in inner:
                    if part.complete:
                        wrong(f"{part.field}.{need}", f"is missing: {part.field} needs it")
                    break
            else:
                values[part.field] = part.make(**inner)
        return values

    def tell_missing(self, values: Mapping[str, Any], cells: Sequence[str], wrong: Wrong) -> None:
        """Tell ``wrong`` each required field that a row does not give; of an object given in part `read` has told."""
        parts = {part.field: part for part in self.parts}
        for field in sorted(self.required - values.keys()):
            part = parts.get(field)
            if part is None:
                wrong(field, "is required, and empty here")
            elif any(cells[index].strip() for index, *_ in part.cells):
                continue
            elif part.needs:
                for need in part.needs:
                    wrong(f"{field}.{need}", "is required, and empty here")
            else:
                wrong(field, f"is required, and empty here: give at least one of {field}.*")


def read_header(cells: Sequence[str], reading: Reading, wrong: Wrong) -> Header:
    """Read a header; whatever is wrong with it is told, and the rows can be read with what is right.

    Raises:
        ConfigError: a constant of the map is not written as its field needs it.
    """
    names = tuple(name.strip() for name in cells)
    index = _fields_of(names, reading, wrong)
    _tell_unmapped(names, reading, wrong)
    constants = reading.constants()
    for field, place in index.items():
        if field in constants:
            wrong(names[place], f"the map gives {field} as a constant too: remove one of them")
    own = _part("", dict, index, constants, reading)
    parts = [_part(field, draft_of(cls), index, constants, reading) for field, cls in reading.shape.objects.items()]
    parts = [part for part in parts if part.cells or part.constants]
    missing = _tell_missing_columns({*index, *constants}, parts, reading, wrong)
    key = index.get(reading.key, names.index(reading.key) if reading.key in names else None)
    if key is None:
        another = "" if reading.key != ITEM_KEY else "; another column can be named (--key invoice_number)"
        wrong(reading.key, f"there is no such column, and it tells one row from another{another}")
    return Header(
        names=names,
        index=index,
        own=own,
        parts=parts,
        required=frozenset(reading.shape.required),
        key=key,
        status=names.index("gs_status") if "gs_status" in names else None,
        unnamed=tuple(place for place, name in enumerate(names) if not name),
        original=tuple(place for place, name in enumerate(names) if name not in FEEDBACK),
        complete=key is not None and not missing,
    )


def _fields_of(names: Sequence[str], reading: Reading, wrong: Wrong) -> dict[str, int]:
    """The place of each field that the header gives."""
    columns, column_map = reading.shape.columns, reading.column_map
    index: dict[str, int] = {}
    for place, name in enumerate(names):
        field = column_map.columns.get(name, name)
        if not name or name in FEEDBACK or name in column_map.ignore:
            continue
        if field not in columns:
            if name != reading.key and "*" not in column_map.ignore:
                hint = did_you_mean(name, [*columns, *column_map.columns])
                wrong(name, f"there is no such column{hint or '; name its field in a map, or ignore it there (--map)'}")
        elif field in index:
            first = names[index[field]]
            same = "stands twice" if first == name else f'gives {field}, as "{first}" does'
            wrong(name, f"{same} (columns {index[field] + 1} and {place + 1}): remove one of them")
        else:
            index[field] = place
    return index


def _tell_unmapped(names: Sequence[str], reading: Reading, wrong: Wrong) -> None:
    """Tell each column that the map names and the file lacks: else its field would be left out of every order."""
    column_map = reading.column_map
    for name, field in column_map.columns.items():
        if name not in names:
            hint = did_you_mean(name, [each for each in names if each and each not in column_map.columns])
            wrong(name, f"{column_map.where} takes {field} from this column, and the file has none of that name{hint}")


def _columns_of(part: str, shape: Shape) -> list[Column]:
    return [column for column in shape.columns.values() if (column.parent or "") == part]


def _part(
    field: str, make: Callable[..., Any], index: Mapping[str, int], constants: Mapping[str, Any], reading: Reading
) -> Part:
    columns = _columns_of(field, reading.shape)
    cells = [
        (index[each.name], each.field, reading.parser(each.name), each.name) for each in columns if each.name in index
    ]
    fixed = {each.field: constants[each.name] for each in columns if each.name in constants}
    needs = [each.field for each in columns if each.required]
    complete = {*(cell[1] for cell in cells), *fixed}.issuperset(needs)
    return Part(field, make, sorted(cells, key=lambda cell: cell[0]), fixed, needs, complete)


def _tell_missing_columns(given: set[str], parts: Sequence[Part], reading: Reading, wrong: Wrong) -> bool:
    """Tell each column that must be there and is not; whether one is required in every row."""
    shape = reading.shape
    missing = False
    for field in shape.required:
        if field in shape.objects:
            if any(part.field == field for part in parts):
                continue
            columns = _columns_of(field, shape)
            first = next((column for column in columns if column.required), columns[0])
            wrong(field, f"is required: there is no column for it, such as {first.name}")
        elif field in given or field == reading.key:
            continue
        else:
            wrong(field, "is required, and there is no such column (a map can give a constant: --map)")
        missing = True
    for part in parts:
        if not part.complete:
            for need in part.needs:
                if f"{part.field}.{need}" not in given:
                    wrong(f"{part.field}.{need}", f"there is no such column, but {part.field} needs it")
            missing = missing or part.field in shape.required
    return missing


# --- the rows --------------------------------------------------------------------------------------------------------


class Table:
    """Reads one CSV file; the row that was given last is the current one, of which `values` and `wrong` speak.

    Attributes:
        header: what the header says, once the first row was asked for; None if there is none to use.
        bad: the fields of the current row that are wrong.
        read_to_end: whether the whole file was read.
    """

    def __init__(self, name: str, stream: BinaryIO, digest: Digest, reading: Reading, report: SourceReport) -> None:
        self.name = name
        self.header: Header | None = None
        self.bad: set[str] = set()
        self.read_to_end: bool = False
        self._reading = reading
        self._report = report
        lines = physical_lines(stream, digest)
        self._records = Records(lines, reading.delimiter, lambda line, rule: self.tell(line, None, None, rule))
        self._narrow = 0
        self._line = 1
        self._cells: list[str] = []

    @property
    def lost(self) -> int:
        """How many rows could not be cut into cells, so that nothing is known of them."""
        return self._records.lost + self._narrow

    def rows(self) -> Iterator[Record]:
        """The rows that can be cut into cells, as many as the header has, in the order of the file."""
        records = iter(self._records)
        header = self._read_header(records)
        if header is None:
            return
        self.header = header
        width = len(header.names)
        any_row = False
        for record in records:
            any_row = True
            self._line, self._cells = record.line, record.cells
            if self.bad:
                self.bad = set()
            if len(record.cells) != width and not self._fits(record, width):
                self._narrow += 1
                continue
            if record.damaged:
                self._tell_damage(header)
            for index in header.unnamed:
                if record.cells[index].strip():
                    self.wrong_cell(index, "stands in a column without a name: name the column in the header")
            yield record
        self.read_to_end = not self._records.stopped
        if not any_row and not self._records.lost:
            self.tell(self._line, None, None, "there is no row below the header", Severity.WARNING)

    def values(self) -> dict[str, Any]:
        """What is right of the fields of the current row; the rest is in ``bad``."""
        return {} if self.header is None else self.header.read(self._cells, self.wrong)

    # --- what is wrong ---

    def found(self, finding: Finding) -> None:
        """Tell what the checks have found in the current row."""
        self.wrong(finding.path, finding.message, finding.severity, finding.value)

    def wrong(self, field: str, rule: str, severity: Severity = Severity.FAULT, value: Any = None) -> None:
        """Say what is wrong with a field of the current row; of several faults of one field the first is told."""
        if field in self.bad or any(each.startswith(f"{field}.") for each in self.bad):
            return
        index = self.header.index.get(field) if self.header else None
        if index is None:
            self.tell(self._line, field, None if value is None else str(value), rule, severity)
        else:
            self.wrong_cell(index, rule, severity)
        if severity is Severity.FAULT:
            self.bad.add(field)

    def wrong_cell(self, index: int, rule: str, severity: Severity = Severity.FAULT) -> None:
        """Say what is wrong with a cell of the current row."""
        name = (self.header.names[index] if self.header else "") or f"column {index + 1}"
        if name not in self.bad:
            self.tell(self._line, name, self._cells[index] or None, rule, severity)
        if severity is Severity.FAULT:
            self.bad.add(name)

    def tell(
        self, line: int | None, column: str | None, value: str | None, rule: str, severity: Severity = Severity.FAULT
    ) -> None:
        """Say what is wrong anywhere in this file."""
        self._report.add(Fault(file=self.name, line=line, column=column, value=value, rule=rule, severity=severity))

    def _fits(self, record: Record, width: int) -> bool:
        """Whether a row has as many cells as the header, not counting empty ones at its end."""
        cells = record.cells
        while len(cells) > width and not cells[-1]:
            cells.pop()
        if len(cells) == width:
            return True
        count = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
        until = "" if record.last_line == record.line else f" (the row goes on to line {record.last_line})"
        advice = f"a value that holds a {_shown(self._reading.delimiter)} or a line break stands in quotes"
        self.tell(record.line, None, None, f"{count}, but the header has {width}{until}: {advice}")
        return False

    def _tell_damage(self, header: Header) -> None:
        fields = {index: field for field, index in header.index.items()}
        for index, cell in enumerate(self._cells):
            if "\ufffd" in cell or "\0" in cell:
                rule = _what_is_damaged(cell)
                if index in fields:
                    self.wrong(fields[index], rule)
                else:
                    self.wrong_cell(index, rule)
                # What is left of the value is not worth a second fault.
                self._cells[index] = ""

    # --- the header ---

    def _read_header(self, records: Iterator[Record]) -> Header | None:
        record = next(records, None)
        if record is None:
            if not self._records.lost:
                self.tell(1, None, None, "the file is empty: the first line names the columns")
            return None
        self._line, self._cells = record.line, record.cells
        rule = None
        if record.damaged:
            rule = f"the header {_what_is_damaged(''.join(record.cells))}"
        elif record.cells[0].startswith("{"):
            rule = "this looks like JSON Lines: say --format jsonl"
        elif other := self._other_delimiter(record.cells):
            rule = f"the columns seem to be separated by {other}: say --delimiter {other}"
        if rule is not None:
            self.tell(record.line, None, None, rule)
            return None
        header = read_header(
            record.cells, self._reading, lambda column, rule: self.tell(record.line, column, None, rule)
        )
        return header if header.index else None

    def _other_delimiter(self, cells: Sequence[str]) -> str | None:
        """The delimiter with which alone the header makes sense, if it is another one than was said."""
        known = self._reading.shape.columns.keys() | self._reading.column_map.columns.keys()
        if not known.isdisjoint(map(str.strip, cells)):
            return None
        text = self._reading.delimiter.join(cells)
        others = (each for each in _DELIMITERS if not known.isdisjoint(map(str.strip, text.split(each))))
        return next(map(_shown, others), None)


def _what_is_damaged(text: str) -> str:
    return "holds a NUL byte: save the file as CSV UTF-8" if "\0" in text else NOT_UTF8


def _shown(delimiter: str) -> str:
    return "tab" if delimiter == "\t" else f'"{delimiter}"'
