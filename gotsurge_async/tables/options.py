"""How a user wants a file of orders to be read: its format, its columns, its times; and map files."""

import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import attrs
from attrs.converters import optional

from gotsurge_async.errors import ConfigError, code_of
from gotsurge_async.models.base import utc
from gotsurge_async.models.tasks import Order
from gotsurge_async.money import Money
from gotsurge_async.tables.fields import ITEM_KEY, ItemRow, columns_of, did_you_mean
from gotsurge_async.tables.maps.column_map import (
    ColumnMap,
    Dates,
    Dialect,
    Join,
    delimiter_character,
    encoding_named,
    zone_named,
)

FORMATS = ("csv", "tsv", "jsonl", "xlsx", "xls", "ods", "parquet")
"""What a file can be."""

ENDINGS = {
    ".csv": "csv",
    ".txt": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".xls": "xls",
    ".xlsb": "xls",
    ".ods": "ods",
    ".parquet": "parquet",
    ".pq": "parquet",
}
"""The format of a file by its ending; ``.gz`` may follow those of text."""

CLEANING = ("spaces", "unquote", "pad6", "upper", "lower")
"""What can be done to a text before it is read."""

_MOST = 1 << 20


@attrs.frozen(kw_only=True)
class FileMap:
    """A map (``--map``): how to read a user's own tables of orders, and of their items.

    Attributes:
        timezone: the IANA name of the zone of times without one, unless the user says another.
        name: what the user calls it; empty where there is no map.
    """

    orders: ColumnMap = ColumnMap()
    items: ColumnMap = ColumnMap()
    timezone: str | None = None
    name: str = attrs.field(default="", eq=False)

    @classmethod
    def load(cls, path: Path | str) -> "FileMap":
        """Read a map file, which is TOML; docs/tables.md lists everything that it may contain.

        Raises:
            ConfigError: it cannot be read, is not TOML, or contains an error.
        """
        try:
            with Path(path).open("rb") as file:
                text = file.read(_MOST + 1)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}", "E201") from None
        if len(text) > _MOST:
            raise ConfigError(f"{path}: is larger than any map", "E231")
        return read_map(text, str(path))


@attrs.frozen(kw_only=True)
class Query:
    """A query to a database, in place of a file.

    Attributes:
        sql: a SELECT; each row of the answer is one row of a table.
        url: of SQLAlchemy, such as ``postgresql://USER@HOST/NAME`` or ``sqlite:///PATH``; its password is not shown.
    """

    sql: str
    url: str = attrs.field(repr=False)

    @property
    def name(self) -> str:
        """The database, as faults show it: without the user, the password and the options of its URL."""
        parts = urlsplit(self.url)
        where = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme.partition('+')[0]}://{where}{parts.path}" if parts.scheme else "--from"


@attrs.frozen(kw_only=True)
class SourceOptions:
    """How to read a file of orders.

    Attributes:
        now: the present, an aware datetime: for the warning about pickups that are over, and the constant "now".
        format: one of `FORMATS`; by the file's ending if None, and CSV for standard input.
        delimiter, encoding, sheet, header_row: see `Dialect`; the first two also of the items file.
        timezone: the IANA name of the zone of times that are written without one; that of the map if None, and without
            one they are a fault.
        query: asked instead of reading a file.
        key: the column that tells one order from another, by the field's name or by the column's own.
        items: the file of the items, joined to the orders by tracking_id.
        items_sheet: the name of its sheet, if it is a workbook.
        file_map: how to read the columns of another table.
        max_price: the greatest amount that passes. It holds for its own currency, or for every currency if it has
            none; 1000 units of the order's currency if None.
        any_date: whether times that are further than 400 days from now pass.
        allow_unknown: JSON Lines only: whether fields that the document does not name are sent as they are.
    """

    now: datetime = attrs.field(converter=utc)
    format: str | None = None
    delimiter: str | None = attrs.field(default=None, converter=optional(delimiter_character))
    encoding: str | None = attrs.field(default=None, converter=optional(encoding_named))
    sheet: str | None = None
    header_row: int | None = None
    timezone: str | None = None
    query: Query | None = None
    key: str = ITEM_KEY
    items: Path | None = attrs.field(default=None, converter=optional(Path))
    items_sheet: str | None = None
    file_map: FileMap = FileMap()
    max_price: Money | None = None
    any_date: bool = True
    allow_unknown: bool = False

    def __attrs_post_init__(self) -> None:
        if self.format is not None and self.format not in FORMATS:
            raise ConfigError(f'format "{self.format}" is not known: say one of {", ".join(FORMATS)}', "E102")
        self.zone()
        self.dialect()
        if self.file_map != FileMap():
            self.file_map.orders.check(columns_of(Order), "the map of the orders")
            self.file_map.items.check(columns_of(ItemRow), "the map of the items")

    def zone(self) -> ZoneInfo | None:
        """The zone of times without one.

        Raises:
            ConfigError: the name is not known.
        """
        return zone_named(self.timezone or self.file_map.timezone)

    def dialect(self) -> Dialect:
        """How the file of orders is written."""
        own = Dialect(delimiter=self.delimiter, encoding=self.encoding, sheet=self.sheet, header_row=self.header_row)
        return own.over(self.file_map.orders.dialect)

    def items_dialect(self) -> Dialect:
        """How the file of items is written."""
        of_the_map = Dialect(sheet=self.items_sheet).over(self.file_map.items.dialect)
        return of_the_map.over(Dialect(delimiter=self.delimiter, encoding=self.encoding))


# --- map files -------------------------------------------------------------------------------------------------------


def read_map(text: bytes, where: str) -> FileMap:
    """A map from its TOML; ``where`` is its name in messages.

    Raises:
        ConfigError: it is not TOML, or contains an error.
    """
    try:
        table = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{where}: is not TOML: {error}", "E107") from None
    items = table.pop("items", {})
    if not isinstance(items, dict):
        raise ConfigError(f"{where}: items must be a table, with sections such as columns and constants", "E231")
    file = table.get("file")
    timezone = file.pop("timezone", None) if isinstance(file, dict) else None
    try:
        file_map = FileMap(
            orders=_Section(table, where, columns_of(Order)).column_map(["timezone"]),
            items=_Section(items, f"{where}: items", columns_of(ItemRow)).column_map([]),
            timezone=None if timezone is None else _text(timezone, f"{where}: file: timezone"),
        )
        zone_named(file_map.timezone)
    except ConfigError as error:
        message = str(error)
        raise ConfigError(message if message.startswith(where) else f"{where}: {message}", error.explain_code) from None
    return file_map


class _Section:
    """The part of a map that is about one file; ``known`` are the fields that it can have."""

    def __init__(self, table: Mapping[str, Any], where: str, known: Iterable[str]) -> None:
        self._table = table
        self._where = where
        self._known = frozenset(known)

    def column_map(self, more_of_file: list[str]) -> ColumnMap:
        """All of it, checked; ``more_of_file`` are names that [file] may have besides those of a `Dialect`."""
        names = [field.name for field in attrs.fields(ColumnMap) if field.name not in ("dialect", "where")]
        _refuse_others(self._table, ["file", *names], self._where)
        columns, only = self._section("columns"), self._table.get("only_rows_with")
        if not all(isinstance(field, str) for field in columns.values()):
            raise ConfigError(f'{self._where}: columns is a table of texts: "their column" = "field"', "E231")
        column_map = ColumnMap(
            columns=columns,
            join=self._fields("join", _join),
            constants=self._fields("constants", _cell),
            defaults=self._fields("defaults", _cell),
            ignore=frozenset(self._ignore()),
            only_rows_with=None if only is None else _text(only, f"{self._where}: only_rows_with"),
            dates=self._fields("dates", _dates),
            numbers=self._fields("numbers", _text),
            phones=self._fields("phones", _text),
            values=self._fields("values", _values),
            clean=self._fields("clean", _clean),
            dialect=self._dialect(more_of_file),
            where=f"the map {self._where}",
        )
        column_map.check(self._known, self._where)
        self._check_samples(column_map)
        return column_map

    def _check_samples(self, column_map: ColumnMap) -> None:
        from gotsurge_async.tables.maps.rules import check_dates, number_style, phone_style  # few have a map

        checks: list[tuple[str, Callable[[Any], object], Mapping[str, Any]]] = [
            ("numbers", number_style, column_map.numbers),
            ("phones", phone_style, column_map.phones),
            ("dates", check_dates, column_map.dates),
        ]
        for section, check, samples in checks:
            for field, sample in samples.items():
                try:
                    check(sample)
                except (ValueError, ConfigError) as error:
                    raise ConfigError(f"{self._where}: {section}: {field}: {error}", code_of(error)) from None

    def _section(self, name: str) -> dict[str, Any]:
        section = self._table.get(name, {})
        if not isinstance(section, dict):
            raise ConfigError(f"{self._where}: {name} is a table: field = value", "E231")
        return section

    def _fields(self, name: str, read: Callable[[Any, str], Any]) -> dict[str, Any]:
        """The entries of a section by their fields. A dotted name without quotes is a table in TOML."""
        return {
            field: read(value, f"{self._where}: {name}: {field}") for field, value in self._flat(self._section(name))
        }

    def _flat(self, table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
        for name, value in table.items():
            field = prefix + name
            if isinstance(value, dict) and any(known.startswith(f"{field}.") for known in self._known):
                yield from self._flat(value, f"{field}.")
            else:
                yield field, value

    def _ignore(self) -> list[str]:
        ignore = self._table.get("ignore", [])
        if not isinstance(ignore, list) or not all(isinstance(name, str) for name in ignore):
            raise ConfigError(f'{self._where}: ignore is a list of column names, such as ["Remark"]', "E231")
        return ignore

    def _dialect(self, more: list[str]) -> Dialect:
        file = self._section("file")
        texts = ["sheet", "delimiter", "encoding"]
        _refuse_others(file, ["sheet", "header_row", "delimiter", "encoding", *more], f"{self._where}: file")
        row = file.get("header_row")
        if row is not None and type(row) is not int:
            raise ConfigError(f"{self._where}: file: header_row must be a line number, starting at 1", "E231")
        return Dialect(
            header_row=row,
            **{name: _text(file[name], f"{self._where}: file: {name}") for name in texts if name in file},
        )


def _join(value: Any, where: str) -> Join:
    table = value if isinstance(value, dict) else {"columns": value}
    _refuse_others(table, ["columns", "with"], where)
    columns = _texts(table.get("columns"), f"{where}: columns", least=1)
    return Join(columns=columns, between=_text(table.get("with", " "), where))


def _dates(value: Any, where: str) -> Dates:
    table = value if isinstance(value, dict) else {"like": value}
    _refuse_others(table, ["like", "zone", "time", "minutes_later"], where)
    later = table.get("minutes_later", 0)
    if type(later) is not int:
        raise ConfigError(f"{where}: minutes_later is a whole number", "E231")
    texts = {name: _text(table[name], f"{where}: {name}") for name in ("zone", "time") if name in table}
    like = table.get("like", [])
    samples = _texts([like] if isinstance(like, str) else like, where, least=0)
    return Dates(like=samples, minutes_later=later, **texts)


def _values(value: Any, where: str) -> Mapping[str, str]:
    if not isinstance(value, dict) or not value:
        raise ConfigError(f'{where}: is a table: "what stands there" = "what is meant"', "E231")
    return {name: _cell(meaning, f"{where}: {name}") for name, meaning in value.items()}


def _clean(value: Any, where: str) -> tuple[str, ...]:
    steps = _texts([value] if isinstance(value, str) else value, where, least=1)
    for step in steps:
        if step not in CLEANING:
            why = f'{where}: "{step}" is none of {", ".join(CLEANING)}{did_you_mean(step, CLEANING)}'
            raise ConfigError(why, "E231")
    return steps


def _refuse_others(table: Mapping[str, Any], names: list[str], where: str) -> None:
    for name in table:
        if name not in names:
            raise ConfigError(f'{where}: "{name}" is none of {", ".join(names)}{did_you_mean(name, names)}', "E231")


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{where}: give a text in quotes, not {value!r}", "E231")
    return value


def _texts(value: Any, where: str, *, least: int) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value) or len(value) < least:
        raise ConfigError(f'{where}: give a list of texts, such as ["A", "B"]', "E231")
    return tuple(value)


def _cell(value: Any, where: str) -> str:
    """A value of TOML as it would be written in a cell."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str | int | float) and not isinstance(value, date | time):
        return str(value)
    raise ConfigError(f"{where}: give text, a number, or a time, not {value!r}", "E231")
