"""The header of a table, made once into what reads its rows."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import attrs

from gotsurge_async.bulk.sources.cells import Parse, parser
from gotsurge_async.bulk.sources.fields import FEEDBACK, ITEM_KEY, Column, Shape
from gotsurge_async.bulk.sources.options import NOW, ColumnMap, did_you_mean
from gotsurge_async.errors import ConfigError

Wrong = Callable[[str, str], None]
"""Told a column (in a header its own name, in a row the field's dotted name) and the rule that it breaks."""


@attrs.frozen
class Slots:
    """The columns of one object: those whose text is the value, and those that are read.

    Attributes:
        texts: where the cell is, and the name of the field.
        parsed: the same, what reads it, and the field's dotted name.
        constants: what the map gives to every row.
    """

    texts: tuple[tuple[int, str], ...]
    parsed: tuple[tuple[int, str, Parse, str], ...]
    constants: Mapping[str, Any]

    @property
    def places(self) -> list[int]:
        """Where the cells are."""
        return [slot[0] for slot in self.texts] + [slot[0] for slot in self.parsed]

    @property
    def given(self) -> frozenset[str]:
        """The fields that a row can give."""
        return frozenset((*(slot[1] for slot in self.texts), *(slot[1] for slot in self.parsed), *self.constants))

    @property
    def doubled(self) -> bool:
        """Whether a field has both a column and a constant: a fault of the header, and its cells may hold more."""
        return any(slot[1] in self.constants for slot in (*self.texts, *self.parsed))

    def read(self, cells: Sequence[str], wrong: Wrong) -> dict[str, Any]:
        """The fields that a row gives; an empty cell gives nothing."""
        values = {field: cell for index, field in self.texts if (cell := cells[index])}
        for index, field, parse, name in self.parsed:
            cell = cells[index]
            if cell:
                try:
                    values[field] = parse(cell)
                except ValueError as error:
                    wrong(name, str(error))
        if self.constants:
            values.update(self.constants)
        return values


@attrs.frozen
class Group:
    """The columns of one object inside an order, such as ``from_address``."""

    field: str
    make: Callable[..., Any]
    slots: Slots
    needs: tuple[str, ...]  # what the object cannot be made without
    required: bool
    complete: bool  # whether a column or a constant is there for all that it needs


@attrs.frozen
class Layout:
    """What a header says.

    Attributes:
        names: the columns' own names, in the order of the file.
        index: the field's dotted name -> where its cell is.
        slots: the fields of the order itself; groups: those of the objects inside it.
        required: what a row must give.
        key: where the cell of the key is, None if there is none; status: the same for ``gs_status``.
        unnamed: columns without a name, whose cells must be empty.
        own: the columns that no earlier push added; fed_back: whether one did.
        complete: whether there is a column or a constant for all that is required.
    """

    names: tuple[str, ...]
    index: Mapping[str, int]
    slots: Slots
    groups: tuple[Group, ...]
    required: frozenset[str]
    key: int | None
    status: int | None
    unnamed: tuple[int, ...]
    own: tuple[int, ...]
    complete: bool

    @property
    def fed_back(self) -> bool:
        """Whether an earlier push wrote the file."""
        return len(self.own) < len(self.names)

    def read(self, cells: Sequence[str], wrong: Wrong) -> dict[str, Any]:
        """The fields that a row gives: values of the right types, and whole objects. An empty cell gives nothing."""
        cells = [cell.strip() for cell in cells]
        values = self.slots.read(cells, wrong)
        for group in self.groups:
            part = group.slots.read(cells, wrong)
            if not part:
                continue
            for need in group.needs:
                if need not in part:
                    if group.complete:
                        wrong(f"{group.field}.{need}", f"is missing: {group.field} needs it")
                    break
            else:
                values[group.field] = group.make(**part)
        return values

    def tell_missing(self, values: Mapping[str, Any], cells: Sequence[str], wrong: Wrong) -> None:
        """Tell ``wrong`` each required field that a row does not give; of an object given in part `read` has told."""
        groups = {group.field: group for group in self.groups}
        for field in sorted(self.required - values.keys()):
            group = groups.get(field)
            if group is None:
                wrong(field, "is required, and empty here")
            elif any(cells[index].strip() for index in group.slots.places):
                continue
            elif group.needs:
                for need in group.needs:
                    wrong(f"{field}.{need}", "is required, and empty here")
            else:
                wrong(field, f"is required, and empty here: give at least one of {field}.*")


# --- from the header -------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Reading:
    """How a header is to be read: the fields there are, and what the user said.

    Attributes:
        shape: the fields.
        column_map: the user's names for them.
        key: the field or column that tells one row from another.
        zone, now: for times.
    """

    shape: Shape
    column_map: ColumnMap
    key: str
    zone: ZoneInfo | None
    now: datetime


def make_layout(header: Sequence[str], reading: Reading, wrong: Wrong) -> Layout:
    """Read a header; whatever is wrong with it is told, and the rows can be read with what is right.

    Raises:
        ConfigError: a constant of the map is not written as its field needs it.
    """
    names = tuple(name.strip() for name in header)
    index = _fields_of(names, reading, wrong)
    _tell_unmapped(names, reading, wrong)
    constants = _constants(reading)
    for field, place in index.items():
        if field in constants:
            wrong(names[place], f"the map gives {field} as a constant too: remove one of them")
    groups = _groups(index, constants, reading)
    missing = _tell_missing_columns(index, constants, groups, reading, wrong)
    key = index.get(reading.key, names.index(reading.key) if reading.key in names else None)
    if key is None:
        another = "" if reading.key != ITEM_KEY else "; another column can be named (--key invoice_number)"
        wrong(reading.key, f"there is no such column, and it tells one row from another{another}")
    return Layout(
        names=names,
        index=index,
        slots=_slots(None, index, constants, reading),
        groups=groups,
        required=frozenset(reading.shape.required),
        key=key,
        status=names.index("gs_status") if "gs_status" in names else None,
        unnamed=tuple(place for place, name in enumerate(names) if not name),
        own=tuple(place for place, name in enumerate(names) if name not in FEEDBACK),
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
                wrong(name, _unknown(name, reading))
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


def _unknown(name: str, reading: Reading) -> str:
    hint = did_you_mean(name, [*reading.shape.columns, *reading.column_map.columns])
    return f"there is no such column{hint or '; name its field in a map, or ignore it there (--map)'}"


def _parser(reading: Reading, field: str) -> Parse | None:
    return parser(reading.shape.columns[field].kind, reading.zone)


def _constants(reading: Reading) -> dict[str, Any]:
    constants: dict[str, Any] = {}
    for field, text in reading.column_map.constants.items():
        if text == NOW and reading.shape.columns[field].kind is datetime:
            constants[field] = reading.now
            continue
        parse = _parser(reading, field)
        try:
            constants[field] = text if parse is None else parse(text)
        except ValueError as error:
            raise ConfigError(f'the map\'s constant {field} = "{text}": {error}') from None
    return constants


def _slots(parent: str | None, index: Mapping[str, int], constants: Mapping[str, Any], reading: Reading) -> Slots:
    """The columns of the object ``parent``, or of the order itself."""
    texts: list[tuple[int, str]] = []
    parsed: list[tuple[int, str, Parse, str]] = []
    columns = reading.shape.columns
    for name, place in index.items():
        column = columns[name]
        if column.parent == parent:
            parse = _parser(reading, name)
            if parse is None:
                texts.append((place, column.field))
            else:
                parsed.append((place, column.field, parse, name))
    fixed = {columns[name].field: value for name, value in constants.items() if columns[name].parent == parent}
    return Slots(tuple(texts), tuple(parsed), fixed)


def _groups(index: Mapping[str, int], constants: Mapping[str, Any], reading: Reading) -> tuple[Group, ...]:
    groups: list[Group] = []
    for parent, (cls, required) in reading.shape.objects.items():
        slots = _slots(parent, index, constants, reading)
        if slots.given:
            mine = [column for column in reading.shape.columns.values() if column.parent == parent]
            needs = tuple(column.field for column in mine if column.required)
            groups.append(Group(parent, cls, slots, needs, required, complete=slots.given >= set(needs)))
    return tuple(groups)


def _tell_missing_columns(
    index: Mapping[str, int],
    constants: Mapping[str, Any],
    groups: Sequence[Group],
    reading: Reading,
    wrong: Wrong,
) -> bool:
    """Tell each column that must be there and is not; whether one is required in every row."""
    by_field = {group.field: group for group in groups}
    missing = False
    for field in reading.shape.required:
        if field in reading.shape.objects:
            if field in by_field:
                continue
            wrong(field, f"is required: there is no column for it, such as {_first_column(field, reading.shape)}")
        elif field in index or field in constants or field == reading.key:
            continue
        else:
            wrong(field, "is required, and there is no such column (a map can give a constant: --map)")
        missing = True
    for group in groups:
        if not group.complete:
            for need in group.needs:
                if need not in group.slots.given:
                    wrong(f"{group.field}.{need}", f"there is no such column, but {group.field} needs it")
            missing = missing or group.required
    return missing


def _first_column(parent: str, shape: Shape) -> str:
    mine = [column for column in shape.columns.values() if column.parent == parent]
    needed: list[Column] = [column for column in mine if column.required]
    return (needed or mine)[0].name
