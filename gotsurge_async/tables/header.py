"""The header of a table, compiled into a reader of the rows below."""

from collections import Counter
from collections.abc import Callable, Collection, KeysView, Mapping, Sequence
from datetime import datetime
from itertools import chain, repeat
from typing import Any, NamedTuple, Protocol

from gotsurge_async.errors import Coded, ConfigError, code_of
from gotsurge_async.models.base import fields_of, is_model
from gotsurge_async.models.rules import Columns
from gotsurge_async.tables.cells import Exact, Parse, parser
from gotsurge_async.tables.fields import FEEDBACK, ITEM_KEY, candidate_of, columns_of, did_you_mean, required_of
from gotsurge_async.tables.formats.grid import Strip
from gotsurge_async.tables.maps.column_map import ALL, NOW, ColumnMap, Dialect
from gotsurge_async.tables.options import SourceOptions

Wrong = Callable[[str, str], None]
"""Called with a column of the header, by its own name, and the rule that it breaks."""


class WrongCell(Protocol):
    """Called with a field of a row, by its dotted name, the rule that it breaks, and the value that was meant."""

    def __call__(self, field: str, rule: str, proposal: str | None = None, /) -> None: ...


class Reading(NamedTuple):
    """The options for reading a table; a row is a ``model``: `Order` or `ItemRow`, identified by its ``key``."""

    model: Any
    column_map: ColumnMap
    dialect: Dialect
    key: str
    options: SourceOptions

    def parser(self, field: str) -> Parse | None:
        """The function that reads the cells of a field; None if the text is the value."""
        column, zone = columns_of(self.model)[field], self.options.zone()
        if self.column_map.has_rules:
            from gotsurge_async.tables.maps.rules import reader  # few maps have any

            return reader(column, self.column_map, zone)
        return parser(column.kind, zone)

    def fixed(self, texts: Mapping[str, str], kind: str) -> dict[str, Any]:
        """The values of the map's constants or defaults, by the fields' dotted names."""
        values: dict[str, Any] = {}
        for field, text in texts.items():
            column = columns_of(self.model)[field]
            if text == NOW and column.kind is datetime:
                values[field] = self.options.now
                continue
            parse = parser(column.kind, self.options.zone())
            try:
                values[field] = text if parse is None else parse(text)
            except ValueError as error:
                raise ConfigError(f'the map\'s {kind} {field} = "{text}": {error}', code_of(error) or "E231") from None
        return values

    def knows(self, name: str) -> bool:
        """Whether a column of this name is read."""
        return name in columns_of(self.model) or name in self.column_map.names() or name in FEEDBACK


class _Object(NamedTuple):
    """An object in an order, such as ``from_address``: its class, its required fields, and whether rows have one."""

    make: Callable[..., Any]
    needs: KeysView[str]
    complete: bool


class _Cell(NamedTuple):
    """A field of a row: the getter of its text, and the parser of the text; None if the text is the value."""

    name: str
    parent: str
    field: str
    text: Callable[[Sequence[str]], str]
    parse: Parse | None


class Header:
    """The columns of a table, and the conversion of their cells to fields. A place is the index of a cell, from 0.

    Attributes:
        names: the columns' own names, in the order of the file; of equal ones that a map numbers, the second is
            ``Address#2``.
        places: the field's dotted name -> the places of its cells.
        key: gets the text of the key from the cells, None if there is no key; key_place: its place, if it is one cell.
        status: the place of ``gs_status``, None if there is none.
        texts: the places of the key, and of fields that are texts, unless another field has the same cell;
            identities: those of the key, the tracking id and the invoice number.
        needed: the place of the column of the map's ``only_rows_with``, None if there is none.
        unnamed: the places of columns without a name, whose cells must be empty.
        used: the places of the columns that are read, or should have a name; not_read: the names of the others.
        original: the places of the columns that no push added; written_by_a_push: whether a push added some.
        complete: whether every required field has a column or a constant.
    """

    def __init__(self, cells: Sequence[str], reading: Reading, wrong: Wrong) -> None:
        """Read the header; ``wrong`` is called for each fault, and rows can be read with the other columns.

        Raises:
            ConfigError: a constant or a default of the map does not fit its field.
        """
        names = _numbered([str(cell).strip() for cell in cells], reading.column_map)
        places = _fields_of(names, reading, wrong)
        self.names: tuple[str, ...] = names
        self.places: Mapping[str, tuple[int, ...]] = places
        constants = reading.fixed(reading.column_map.constants, "constant")
        for name, (place, *_) in places.items():
            if name in constants:
                wrong(
                    names[place],
                    Coded(f"the map also sets {name} as a constant: remove the column or the constant", "E232"),
                )
        columns = columns_of(reading.model)
        self._cells = [
            _Cell(name, columns[name].parent, columns[name].field, _text_at(where, reading, name), reading.parser(name))
            for name, where in places.items()
        ]
        # The constants of each object ("" is the order itself).
        self._constants: dict[str, dict[str, Any]] = {"": {}}
        defaults = reading.fixed(reading.column_map.defaults, "default")
        for name in (*places, *constants, *defaults):
            fixed = self._constants.setdefault(columns[name].parent, {})
            if name in constants:
                fixed[columns[name].field] = constants[name]
        self._defaults = [(columns[name].parent, columns[name].field, value) for name, value in defaults.items()]
        self._objects: dict[str, _Object] = {}
        self._model = reading.model
        self._required = required_of(reading.model)
        missing = self._report_missing_columns({*places, *constants, *defaults}, reading, wrong)
        key = places.get(reading.key) or ((names.index(reading.key),) if reading.key in names else ())
        self.key_place: int | None = key[0] if len(key) == 1 else None
        self.key: Callable[[Sequence[str]], str] | None = _text_at(key, reading, reading.key) if key else None
        if not key:
            another = "" if reading.key != ITEM_KEY else "; another column can be named (--key invoice_number)"
            wrong(reading.key, Coded(f"there is no such column, but the rows need it as their key{another}", "E211"))
        self.texts: set[int] = {*key}
        self.texts.update(*(where for name, where in places.items() if columns[name].kind is str))
        self.texts.difference_update(*(where for name, where in places.items() if columns[name].kind is not str))
        self.identities: set[int] = {*key, *places.get(ITEM_KEY, ()), *places.get("invoice_number", ())}
        self.status: int | None = names.index("gs_status") if "gs_status" in names else None
        only = reading.column_map.only_rows_with
        self.needed: int | None = names.index(only) if only in names else None
        if only is not None and self.needed is None:
            where = reading.column_map.where
            wrong(
                only,
                Coded(f"{where} reads only rows with a value in this column, but the file has no such column", "E232"),
            )
        self.unnamed: list[int] = [place for place, name in enumerate(names) if not name]
        self.original: list[int] = [place for place, name in enumerate(names) if name not in FEEDBACK]
        self.written_by_a_push: bool = len(self.original) < len(names)
        self.used: set[int | None] = {*chain.from_iterable(places.values()), *key, self.needed, *self.unnamed}
        self.not_read: tuple[str, ...] = tuple(
            names[place] for place in self.original if names[place] and place not in self.used
        )
        self.complete: bool = bool(key) and not missing

    def column_of(self, field: str) -> str:
        """The names of the column, or the columns, that a field is read from."""
        places = self.places.get(field, ())
        return " + ".join(self.names[place] or f"column {place + 1}" for place in places) or field

    def value_of(self, field: str, cells: Sequence[str]) -> str | None:
        """The text of a field in a row."""
        return " ".join(cells[place] for place in self.places.get(field, ()) if cells[place]) or None

    def _report_missing_columns(self, present: set[str], reading: Reading, wrong: Wrong) -> bool:
        """Report each missing required column; returns whether one is required in every row."""
        missing = False
        for field in fields_of(reading.model):
            name = field.name
            if name in self._constants:
                needs = required_of(field.inner)
                lacking = [need for need in needs if f"{name}.{need}" not in present]
                for need in lacking:
                    wrong(f"{name}.{need}", Coded(f"there is no such column, but {name} needs it", "E211"))
                self._objects[name] = _Object(candidate_of(field.inner), needs, not lacking)
                missing = missing or bool(lacking and field.required)
            elif field.required and name not in present and name != reading.key:
                missing = True
                rule = "is required, but there is no such column (a map can set a constant: --map)"
                if is_model(field.inner):
                    first = max(fields_of(field.inner), key=lambda inner: inner.required).name
                    rule = f"is required: add a column for it, such as {name}.{first}"
                wrong(name, Coded(rule, "E211"))
        return missing

    # --- a row, whatever is wrong with it ---

    def read(self, cells: Sequence[str], wrong: WrongCell) -> dict[str, Any]:
        """Read the fields of a row: values of the right types, and whole objects. An empty cell gives no field.

        Faults are reported, and empty required fields, unless the header lacks them already.
        """
        objects = {parent: {**constants} for parent, constants in self._constants.items()}
        for name, parent, field, text, parse in self._cells:
            cell = text(cells).strip()
            if cell:
                try:
                    value = cell if parse is None else parse(cell)
                except ValueError as error:
                    wrong(name, Coded(error), getattr(error, "proposal", None))
                else:
                    if value is not None:
                        objects[parent][field] = value
        for parent, field, value in self._defaults:
            objects[parent].setdefault(field, value)
        values = objects.pop("")
        for parent, (make, needs, complete) in self._objects.items():
            inside = objects[parent]
            if inside and needs <= inside.keys():
                values[parent] = make(**inside)
            elif inside and complete:
                missing = next(need for need in needs if need not in inside)
                wrong(f"{parent}.{missing}", Coded(f"is missing: {parent} needs it", "E211"))
        if self.complete and not self._required <= values.keys():
            self._report_missing(values, cells, wrong)
        return values

    def _report_missing(self, values: Mapping[str, Any], cells: Sequence[str], wrong: WrongCell) -> None:
        """Report each required field that a row lacks; `read` has reported objects that lack a part."""
        for name in sorted(self._required - values.keys()):
            if name not in self._objects:
                wrong(name, Coded("is required, but empty here", "E211"))
            elif not any(cell.text(cells).strip() for cell in self._cells if cell.parent == name):
                needs = self._objects[name].needs
                for need in needs:
                    wrong(f"{name}.{need}", Coded("is required, but empty here", "E211"))
                if not needs:
                    wrong(name, Coded(f"is required, but empty here: give at least one of {name}.*", "E211"))

    # --- rows in which nothing is wrong ---

    def make(self, rows: Sequence[Sequence[str]], strip: Strip = str.strip) -> tuple[list[Any], Columns]:
        """The orders of rows, and their columns. A column at a time takes a tenth of the work of `read`.

        Raises ValueError if something is wrong with one of the rows, or perhaps with all: `read` reports it.
        """
        if not self.complete:
            raise ValueError
        cells = [*zip(*rows, strict=True)]
        inside: dict[str, dict[str, Sequence[Any]]] = {parent: {} for parent in self._constants}
        for name, parent, field, text, parse in self._cells:
            first, *others = self.places[name]
            column: list[Any] = [*map(strip, map(text, rows) if others else cells[first])]
            if not all(column):
                column = [None if not cell else cell if parse is None else parse(cell) for cell in column]
            elif parse is not None:
                column = [*map(parse, column)]
            inside[parent][field] = column
        fixed = [(parent, *constant) for parent, constants in self._constants.items() for constant in constants.items()]
        for parent, field, value in [*fixed, *self._defaults]:
            before = inside[parent].get(field) or [None] * len(rows)
            inside[parent][field] = [value if own is None else own for own in before]
        for parent, (kind, needs, complete) in self._objects.items():
            columns = inside[parent]
            if not complete:
                columns.clear()  # that was reported with the header
                continue
            objects = _made(kind, columns)
            if not any(map(all, columns.values())):  # perhaps some rows have nothing of it
                parts = zip(*columns.values(), strict=True)
                pairs = zip(objects, parts, strict=True)
                objects = [None if part.count(None) == len(part) else made for made, part in pairs]
            for need in needs:
                pairs = zip(objects, columns[need], strict=True)
                if not all(columns[need]) and any(made and not own for made, own in pairs):
                    raise ValueError
            inside[""][parent] = objects
        if not all(all(inside[""].get(name, (None,))) for name in self._required):
            raise ValueError
        return _made(candidate_of(self._model), inside[""]), inside


def _made(kind: Any, columns: Mapping[str, Sequence[Any]]) -> list[Any]:
    """Objects of their columns, by the names of the fields; a field without a column has no value."""
    return [*map(kind, *[columns.get(name) or repeat(None) for name in kind.__struct_fields__])]


def _text_at(places: Collection[int], reading: Reading, field: str) -> Callable[[Sequence[str]], str]:
    """Return a function that gets the text of a field from one or several cells."""
    (first, *others) = places
    if not others:
        return lambda cells: cells[first]
    between, numbers = reading.column_map.join[field].between, reading.column_map.numbers
    sample, misreads = numbers.get(field, numbers.get(ALL)), False
    if sample is not None:
        from gotsurge_async.tables.maps.rules import misreads_digits  # few maps have any

        misreads = misreads_digits([sample])

    def joined(cells: Sequence[str]) -> str:
        parts = [text for place in places if (text := cells[place].strip())]
        if len(parts) == 1:
            return parts[0]
        # With other text, the decimals of a workbook's number are a fault if the sample has another point.
        is_exact = misreads and any(type(part) is Exact and "." in part for part in parts)
        return Exact(between.join(parts)) if is_exact else between.join(parts)

    return joined


def _fields_of(names: Sequence[str], reading: Reading, wrong: Wrong) -> dict[str, tuple[int, ...]]:
    """The places of each field. A column that the map names must exist, or each order would lack its field."""
    columns, column_map = columns_of(reading.model), reading.column_map
    joined = {name for join in column_map.join.values() for name in join.columns}
    index: dict[str, int] = {}
    for place, name in enumerate(names):
        field = column_map.columns.get(name, name)
        if not name or name in FEEDBACK or name in column_map.ignore:
            continue
        if field not in columns:
            if name == column_map.only_rows_with:
                continue
            if name != reading.key and name not in joined and "*" not in column_map.ignore:
                hint = did_you_mean(name, [*columns, *column_map.columns])
                hint = hint or "; in a map (--map), name the field of this column, or ignore the column"
                wrong(name, Coded(f"no field has this name{hint}", "E212"))
        elif field in index:
            first, where = names[index[field]], f"(columns {index[field] + 1} and {place + 1})"
            if first == name:
                wrong(name, _repeated(name, where, in_map=name in column_map.columns))
            else:
                wrong(name, Coded(f'is read as {field}, but so is "{first}" {where}: remove one of them', "E210"))
        else:
            index[field] = place
    used = {*joined, reading.key, column_map.only_rows_with} - {names[place] for place in index.values()}
    _report_repeated(names, used, wrong)
    lacking = {name: field for name, field in column_map.columns.items() if name not in names}
    lacking |= {name: field for field, join in column_map.join.items() for name in join.columns if name not in names}
    for name, field in lacking.items():
        hint = did_you_mean(name, [own for own in names if own and own not in column_map.columns])
        rule = f"{column_map.where} takes {field} from this column, which the file does not have{hint}"
        wrong(name, Coded(rule, "E232"))
    places: dict[str, tuple[int, ...]] = {field: (place,) for field, place in index.items()}
    for field, join in column_map.join.items():
        if field in index:
            rule = (
                f"is read as {field}, which the map fills by joining other columns: ignore this column, or remove the "
                "join"
            )
            wrong(names[index[field]], Coded(rule, "E232"))
        elif all(name in names for name in join.columns):
            places[field] = tuple(names.index(name) for name in join.columns)
    return places


def _numbered(names: Sequence[str], column_map: ColumnMap) -> tuple[str, ...]:
    """The names; equal ones are numbered from the second on, if the map names one of them by its number."""
    named = {*column_map.names(), *column_map.ignore, column_map.only_rows_with}
    totals, counts = Counter(names), Counter[str]()
    numbers_of = {
        name: [f"{name}#{number}" for number in range(2, total + 1)] for name, total in totals.items() if name
    }
    numbered = {name for name, numbers in numbers_of.items() if not named.isdisjoint(numbers)}
    result: list[str] = []
    for name in names:
        counts[name] += 1
        result.append(f"{name}#{counts[name]}" if name in numbered and counts[name] > 1 else name)
    return tuple(result)


def _report_repeated(names: Sequence[str], used: Collection[str | None], wrong: Wrong) -> None:
    """Report each column that is read and occurs more than once, because it is not known which one is meant."""
    for name in dict.fromkeys(names):
        if name and name in used and names.count(name) > 1:
            first, second, *_ = (place for place, other in enumerate(names, start=1) if other == name)
            wrong(name, _repeated(name, f"(columns {first} and {second})", in_map=True))


def _repeated(name: str, where: str, *, in_map: bool) -> Coded:
    """The fault for a name that appears twice; ``in_map``: whether a map, or an option, names the column."""
    if in_map:
        return Coded(
            f'appears twice {where}: in a map, write "{name}" for the first and "{name}#2" for the second', "E210"
        )
    return Coded(f"appears twice {where}: remove one of them", "E210")
