"""A CSV file with a header: its rows as values, and everything that is wrong with them at its place."""

from collections.abc import Callable, Iterator, KeysView, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, BinaryIO, NamedTuple, Protocol

from gotsurge_async.bulk.checks.faults import Fault, Original, SourceReport
from gotsurge_async.bulk.checks.rules import Finding, Severity
from gotsurge_async.bulk.sources.cells import Parse, parser
from gotsurge_async.bulk.sources.fields import FEEDBACK, ITEM_KEY, candidate_of, columns_of, required_of
from gotsurge_async.bulk.sources.lines import NOT_UTF8, Record, Records, physical_lines
from gotsurge_async.bulk.sources.options import NOW, ColumnMap, SourceOptions, did_you_mean
from gotsurge_async.bulk.sources.source import Form
from gotsurge_async.errors import ConfigError
from gotsurge_async.models.base import fields_of, is_model

_DELIMITERS = ",;\t|"

Wrong = Callable[[str, str], None]
"""Told a column of the header by its own name, and the rule that it breaks."""


class WrongCell(Protocol):
    """Told a field of a row by its dotted name, the rule that it breaks, and what it was certainly meant to be."""

    def __call__(self, field: str, rule: str, proposal: str | None = None, /) -> None: ...


class Reading(NamedTuple):
    """How a table is to be read.

    Attributes:
        model: what a row gives: `Order` or `ItemRow`.
        column_map: the user's names for the fields.
        key: the field or column that tells one row from another.
        options: what else the user said.
    """

    model: Any
    column_map: ColumnMap
    key: str
    options: SourceOptions

    def parser(self, field: str) -> Parse | None:
        """What reads the cells of a field; None where the text is the value."""
        return parser(columns_of(self.model)[field].kind, self.options.zone())

    def constants(self) -> dict[str, Any]:
        """What the map gives to every row, by the field's dotted name."""
        found: dict[str, Any] = {}
        for field, text in self.column_map.constants.items():
            if text == NOW and columns_of(self.model)[field].kind is datetime:
                found[field] = self.options.now
                continue
            parse = self.parser(field)
            try:
                found[field] = text if parse is None else parse(text)
            except ValueError as error:
                raise ConfigError(f'the map\'s constant {field} = "{text}": {error}') from None
        return found


# --- the header ------------------------------------------------------------------------------------------------------


class _Object(NamedTuple):
    """An object inside an order, such as ``from_address``: what makes it, what it needs, if a row can give that."""

    make: Callable[..., Any]
    needs: KeysView[str]
    complete: bool


class Header:
    """What the first line of a table says, made once into what reads the rows below.

    Attributes:
        names: the columns' own names, in the order of the file.
        index: the field's dotted name -> where its cell is.
        key: where the cell of the key is, None if there is none; status: the same for ``gs_status``.
        unnamed: where columns without a name are, whose cells must be empty.
        original: where the columns are that no earlier push added; written_by_a_push: whether one did.
        complete: whether there is a column or a constant for all that is required.
    """

    def __init__(self, cells: Sequence[str], reading: Reading, wrong: Wrong) -> None:
        """What is wrong with the header is told, and the rows can be read with what is right.

        Raises:
            ConfigError: a constant of the map is not written as its field needs it.
        """
        names = tuple(map(str.strip, cells))
        index = _fields_of(names, reading, wrong)
        self.names: tuple[str, ...] = names
        self.index: Mapping[str, int] = index
        constants = reading.constants()
        for name, place in index.items():
            if name in constants:
                wrong(names[place], f"the map gives {name} as a constant too: remove one of them")
        columns = columns_of(reading.model)
        self._cells = [
            (place, columns[name].parent, columns[name].field, name, reading.parser(name))
            for name, place in index.items()
        ]
        # What a row gives fields of ("" is the order itself), and what the map gives of each to every row.
        self._constants: dict[str, dict[str, Any]] = {"": {}}
        for name in (*index, *constants):
            fixed = self._constants.setdefault(columns[name].parent, {})
            if name in constants:
                fixed[columns[name].field] = constants[name]
        self._objects: dict[str, _Object] = {}
        self._required = required_of(reading.model)
        missing = self._tell_missing_columns({*index, *constants}, reading, wrong)
        self.key: int | None = index.get(reading.key, names.index(reading.key) if reading.key in names else None)
        if self.key is None:
            another = "" if reading.key != ITEM_KEY else "; another column can be named (--key invoice_number)"
            wrong(reading.key, f"there is no such column, and it tells one row from another{another}")
        self.status: int | None = names.index("gs_status") if "gs_status" in names else None
        self.unnamed: list[int] = [place for place, name in enumerate(names) if not name]
        self.original: list[int] = [place for place, name in enumerate(names) if name not in FEEDBACK]
        self.written_by_a_push: bool = len(self.original) < len(names)
        self.complete: bool = self.key is not None and not missing

    def _tell_missing_columns(self, given: set[str], reading: Reading, wrong: Wrong) -> bool:
        """Tell each column that must be there and is not; whether one is required in every row."""
        missing = False
        for field in fields_of(reading.model):
            name = field.name
            if name in self._constants:
                needs = required_of(field.inner)
                lacking = [need for need in needs if f"{name}.{need}" not in given]
                for need in lacking:
                    wrong(f"{name}.{need}", f"there is no such column, but {name} needs it")
                self._objects[name] = _Object(candidate_of(field.inner), needs, not lacking)
                missing = missing or bool(lacking and field.required)
            elif field.required and name not in given and name != reading.key:
                missing = True
                rule = "is required, and there is no such column (a map can give a constant: --map)"
                if is_model(field.inner):
                    first = max(fields_of(field.inner), key=lambda each: each.required).name
                    rule = f"is required: there is no column for it, such as {name}.{first}"
                wrong(name, rule)
        return missing

    def read(self, cells: Sequence[str], wrong: WrongCell) -> dict[str, Any]:
        """The fields that a row gives: values of the right types, and whole objects. An empty cell gives nothing.

        What is required and missing is told, unless the header lacks it already.
        """
        given = {parent: {**constants} for parent, constants in self._constants.items()}
        for place, parent, field, name, parse in self._cells:
            cell = cells[place].strip()
            if cell:
                try:
                    given[parent][field] = cell if parse is None else parse(cell)
                except ValueError as error:
                    wrong(name, str(error), getattr(error, "proposal", None))
        values = given.pop("")
        for parent, (make, needs, complete) in self._objects.items():
            inside = given[parent]
            if inside and needs <= inside.keys():
                values[parent] = make(**inside)
            elif inside and complete:
                missing = next(need for need in needs if need not in inside)
                wrong(f"{parent}.{missing}", f"is missing: {parent} needs it")
        if self.complete and not self._required <= values.keys():
            self._tell_missing(values, cells, wrong)
        return values

    def _tell_missing(self, values: Mapping[str, Any], cells: Sequence[str], wrong: WrongCell) -> None:
        """Tell each required field that a row does not give; of an object given in part `read` has told."""
        for name in sorted(self._required - values.keys()):
            if name not in self._objects:
                wrong(name, "is required, and empty here")
            elif not any(cells[place].strip() for place, parent, *_ in self._cells if parent == name):
                needs = self._objects[name].needs
                for need in needs:
                    wrong(f"{name}.{need}", "is required, and empty here")
                if not needs:
                    wrong(name, f"is required, and empty here: give at least one of {name}.*")


def _fields_of(names: Sequence[str], reading: Reading, wrong: Wrong) -> dict[str, int]:
    """The place of each field that the header gives.

    A column that the map names must be there: else its field would be left out of every order without a word.
    """
    columns, (_, column_map, key, _) = columns_of(reading.model), reading
    index: dict[str, int] = {}
    for place, name in enumerate(names):
        field = column_map.columns.get(name, name)
        if not name or name in FEEDBACK or name in column_map.ignore:
            continue
        if field not in columns:
            if name != key and "*" not in column_map.ignore:
                hint = did_you_mean(name, [*columns, *column_map.columns])
                wrong(name, f"there is no such column{hint or '; name its field in a map, or ignore it there (--map)'}")
        elif field in index:
            first = names[index[field]]
            same = "stands twice" if first == name else f'gives {field}, as "{first}" does'
            wrong(name, f"{same} (columns {index[field] + 1} and {place + 1}): remove one of them")
        else:
            index[field] = place
    for name, field in column_map.columns.items():
        if name not in names:
            hint = did_you_mean(name, [each for each in names if each and each not in column_map.columns])
            wrong(name, f"{column_map.where} takes {field} from this column, and the file has none of that name{hint}")
    return index


# --- the rows --------------------------------------------------------------------------------------------------------


class Table:
    """Reads one CSV file; the row that was given last is the current one, of which `values` and `wrong` speak.

    Attributes:
        header: what the header says, once the first row was asked for; None if there is none to use.
        digest: the SHA-256 of what was read.
        bad: the fields of the current row that are wrong.
        lost: how many rows could not be cut into cells, so that nothing is known of them.
        read_to_end: whether the whole file was read.
    """

    def __init__(self, name: str, stream: BinaryIO, reading: Reading, report: SourceReport) -> None:
        self.name = name
        self.header: Header | None = None
        self.digest: Any = sha256()
        self.bad: set[str] = set()
        self.lost: int = 0
        self.read_to_end: bool = False
        self._reading = reading
        self._report = report
        self._delimiter = reading.options.delimiter or ("\t" if name.lower().endswith(".tsv") else ",")
        self._records = Records(physical_lines(stream, self.digest.update), self._delimiter, self._unreadable)
        self._line = 1
        self._cells: list[str] = []

    @property
    def form(self) -> Form:
        """How the file is written."""
        return Form(delimiter=self._delimiter)

    def rows(self) -> Iterator[Record]:
        """The rows that can be cut into cells, as many as the header has, in the order of the file."""
        records = iter(self._records)
        self.header = header = self._read_header(records)
        if header is None:
            return
        any_row = False
        for record in records:
            any_row = True
            self._line, self._cells = record.line, record.cells
            if self.bad:
                self.bad = set()
            if len(record.cells) != len(header.names) and not self._fits(record, len(header.names)):
                continue
            if record.damaged:
                self._tell_damage(header)
            for index in header.unnamed:
                if record.cells[index].strip():
                    self.wrong_cell(index, "stands in a column without a name: name the column in the header")
            yield record
        self.read_to_end = not self._records.stopped
        if not any_row and not self.lost:
            self.tell(self._line, None, None, "there is no row below the header", Severity.WARNING)

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
        """Say what is wrong with a field of the current row; of several faults of one field the first is told."""
        if field in self.bad or any(each.startswith(f"{field}.") for each in self.bad):
            return
        index = self.header.index.get(field) if self.header else None
        if index is None:
            shown = None if value is None else str(value)
            fault = Fault(
                file=self.name,
                line=self._line,
                column=field,
                field=field,
                value=shown,
                rule=rule,
                severity=severity,
                proposal=proposal,
            )
            self._report.add(fault, self._original())
        else:
            self.wrong_cell(index, rule, severity, field, proposal)
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
        """Say what is wrong with a cell of the current row, which gives ``field``, if it gives one.

        Args:
            proposal: what the value was certainly meant to be.
        """
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
        return None if self.header is None else Original(self._cells, self.header.names)

    def _unreadable(self, line: int, rule: str, cells: Sequence[str] = ()) -> None:
        self.lost += 1
        original = None if self.header is None else Original(cells, self.header.names)
        self._report.add(Fault(file=self.name, line=line, rule=rule), original)

    def _fits(self, record: Record, width: int) -> bool:
        """Whether a row has as many cells as the header, not counting empty ones at its end."""
        cells = record.cells
        while len(cells) > width and not cells[-1]:
            cells.pop()
        if len(cells) == width:
            return True
        count = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
        until = "" if record.last_line == record.line else f" (the row goes on to line {record.last_line})"
        advice = f"a value that holds a {_shown(self._delimiter)} or a line break stands in quotes"
        self._unreadable(record.line, f"{count}, but the header has {width}{until}: {advice}", cells)
        return False

    def _tell_damage(self, header: Header) -> None:
        fields = {index: field for field, index in header.index.items()}
        for index, cell in enumerate(self._cells):
            if "\ufffd" in cell or "\0" in cell:
                if index in fields:
                    self.wrong(fields[index], _damage(cell))
                else:
                    self.wrong_cell(index, _damage(cell))
                # What is left of the value is not worth a second fault.
                self._cells[index] = ""

    # --- the header ---

    def _read_header(self, records: Iterator[Record]) -> Header | None:
        record = next(records, None)
        if record is None:
            if not self.lost:
                self.tell(1, None, None, "the file is empty: the first line names the columns")
            return None
        line, cells = record.line, record.cells
        self._line = line
        if record.damaged:
            self.tell(line, None, None, f"the header {_damage(''.join(cells))}")
        elif cells[0].startswith("{"):
            self.tell(line, None, None, "this looks like JSON Lines: say --format jsonl")
        elif other := self._other_delimiter(cells):
            self.tell(line, None, None, f"the columns seem to be separated by {other}: say --delimiter {other}")
        else:
            header = Header(cells, self._reading, lambda column, rule: self.tell(line, column, None, rule))
            return header if header.index else None
        return None

    def _other_delimiter(self, cells: Sequence[str]) -> str | None:
        """The delimiter with which alone the header makes sense, if it is another one than was said."""
        known = columns_of(self._reading.model).keys() | self._reading.column_map.columns.keys()
        if not known.isdisjoint(map(str.strip, cells)):
            return None
        text = self._delimiter.join(cells)
        others = (each for each in _DELIMITERS if not known.isdisjoint(map(str.strip, text.split(each))))
        return next(map(_shown, others), None)


def _damage(text: str) -> str:
    return "holds a NUL byte: save the file as CSV UTF-8" if "\0" in text else NOT_UTF8


def _shown(delimiter: str) -> str:
    return "tab" if delimiter == "\t" else f'"{delimiter}"'
