"""The user's options for reading a file of orders: its format, its columns, its times; and map files."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import attrs
import msgspec
from attrs.converters import optional
from msgspec import Meta, Struct, structs

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

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

FORMATS = ("csv", "tsv", "jsonl", "xlsx", "xls", "ods", "parquet")
"""The possible formats of a file."""

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

_MOST = 1 << 20


class FileMap(Struct, frozen=True, kw_only=True, eq=False):
    """A map (``--map``): how to read a user's own tables of orders, and of their items.

    Attributes:
        timezone: the IANA name of the zone of times without one, unless the user says another.
        name: the user's name for it; empty if there is no map.
        sha256: the SHA-256 of the bytes of its file in hex; None if there is no map.
    """

    orders: ColumnMap = ColumnMap()
    items: ColumnMap = ColumnMap()
    timezone: str | None = None
    name: str = ""
    sha256: str | None = None

    def __eq__(self, other: object) -> bool:
        """Whether the rules are the same, of whatever file."""
        return isinstance(other, FileMap) and structs.astuple(self)[:3] == structs.astuple(other)[:3]

    def __ne__(self, other: object) -> bool:  # a struct's own compares identities
        return not self == other

    @classmethod
    def load(cls, path: Path | str) -> "FileMap":
        """Read a map file, which is TOML; docs/tables.md lists everything that it may contain.

        Raises:
            ConfigError: the file cannot be read, is not TOML, or contains an error.
        """
        try:
            with Path(path).open("rb") as file:
                text = file.read(_MOST + 1)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}", "E201") from None
        if len(text) > _MOST:
            raise ConfigError(f"{path}: is too large for a map", "E231")
        return structs.replace(read_map(text, str(path)), sha256=hashlib.sha256(text).hexdigest())


class Query(Struct, frozen=True, kw_only=True):
    """A query to a database, in place of a file.

    Attributes:
        sql: a SELECT; each row of the answer is one row of a table.
        url: of SQLAlchemy, such as ``postgresql://USER@HOST/NAME`` or ``sqlite:///PATH``; its password is not shown.
    """

    sql: str
    url: str

    def __repr__(self) -> str:
        return f"Query(sql={self.sql!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("sql", self.sql)]

    @property
    def name(self) -> str:
        """The database, as faults show it: without the user, the password and the options of its URL."""
        parts = urlsplit(self.url)
        where = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme.partition('+')[0]}://{where}{parts.path}" if parts.scheme else "--from"


@attrs.frozen(kw_only=True)
class SourceOptions:
    """Options for reading a file of orders.

    Attributes:
        now: the present, an aware datetime: for the warning about pickups that are over, and the constant "now".
        format: one of `FORMATS`; by the file's ending if None, and CSV for standard input.
        delimiter, encoding, sheet, header_row: see `Dialect`; the first two also of the items file.
        timezone: the IANA name of the zone of times that are written without one; that of the map if None, and without
            one they are a fault.
        query: the query to read instead of a file.
        key: the column that identifies an order, by the field's name or by the column's own.
        items: the file of the items, joined to the orders by tracking_id.
        items_sheet: the name of its sheet, if it is a workbook.
        file_map: how to read the columns of another table.
        max_price: the greatest amount that passes. It holds for its own currency, or for every currency if it has
            none; 1000 units of the order's currency if None.
        any_date: whether times that are further than 400 days from now pass.
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

    def __attrs_post_init__(self) -> None:
        if self.format is not None and self.format not in FORMATS:
            raise ConfigError(f'unknown format "{self.format}": use one of {", ".join(FORMATS)}', "E102")
        self.zone()
        self.dialect()
        if self.file_map != FileMap():
            self.file_map.orders.check(columns_of(Order), "the map of the orders")
            self.file_map.items.check(columns_of(ItemRow), "the map of the items")

    def zone(self) -> "ZoneInfo | None":
        """The zone of times without one.

        Raises:
            ConfigError: the name is not known.
        """
        return zone_named(self.timezone or self.file_map.timezone)

    def dialect(self) -> Dialect:
        """The dialect of the file of orders."""
        own = Dialect(delimiter=self.delimiter, encoding=self.encoding, sheet=self.sheet, header_row=self.header_row)
        return own.over(self.file_map.orders.dialect)

    def items_dialect(self) -> Dialect:
        """The dialect of the file of items."""
        of_the_map = Dialect(sheet=self.items_sheet).over(self.file_map.items.dialect)
        return of_the_map.over(Dialect(delimiter=self.delimiter, encoding=self.encoding))


# --- map files -------------------------------------------------------------------------------------------------------


def read_map(text: bytes, where: str) -> FileMap:
    """Read a map from its TOML; ConfigError if that is not valid. ``where`` is its name in messages."""
    import tomllib  # few pushes have a map

    try:
        table = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{where}: is not TOML: {error}", "E107") from None
    items, file = table.pop("items", {}), table.get("file")
    if not isinstance(items, dict):
        raise ConfigError(f"{where}: items must be a table, with sections such as columns and constants", "E231")
    timezone = file.pop("timezone", None) if isinstance(file, dict) else None
    try:
        file_map = FileMap(
            orders=_column_map(table, where, columns_of(Order)),
            items=_column_map(items, f"{where}: items", columns_of(ItemRow)),
            timezone=_converted(timezone, str | None, f"{where}: file: timezone", _FILE_FORMS["timezone"]),
        )
        zone_named(file_map.timezone)
    except ConfigError as error:
        message = str(error)
        raise ConfigError(message if message.startswith(where) else f"{where}: {message}", error.explain_code) from None
    return file_map


_KINDS: Mapping[str, Any] = {
    "columns": str,
    "join": Join,
    "constants": str,
    "defaults": str,
    "dates": Dates,
    "numbers": str,
    "phones": str,
    "values": Annotated[dict[str, str], Meta(min_length=1)],
    "clean": tuple[str, ...],
}
"""The type of an entry for a field in each section, after `_in_full`."""
_NAMES: Mapping[str, Sequence[str]] = {
    "join": ("columns", "with"),
    "dates": ("like", "zone", "time", "minutes_later"),
    "clean": ("spaces", "unquote", "pad6", "upper", "lower"),
}
"""The names that an entry of a section can contain."""
_FILE_FORMS: Mapping[str, str] = {
    "sheet": 'sheet = "March"',
    "header_row": "header_row = 3",
    "delimiter": 'delimiter = ";"',
    "encoding": 'encoding = "cp1252"',
    "timezone": 'timezone = "Asia/Singapore"',
}
"""The form of each entry of the section ``file``, for messages."""
_FORMS: Mapping[str, str] = {
    "columns": '"column of the file" = "field"',
    "join": 'field = ["A", "B"], or field = { columns = ["A", "B"], with = ", " }',
    "constants": "field = a text, a number, true, false, or a time",
    "defaults": "field = a text, a number, true, false, or a time",
    "dates": (
        'field = "31/12/2030 23:59", or '
        'field = { like = "31/12/2030", zone = "Asia/Singapore", time = "09:00", minutes_later = 60 }'
    ),
    "numbers": 'field = "S$1,234.56"',
    "phones": 'field = "+65 61234567"',
    "values": 'field = { "text in the file" = "value of the field" }',
    "clean": 'field = ["spaces", "upper"], a list of the words spaces, unquote, pad6, upper and lower',
    "ignore": 'ignore = ["Remark"], a list of column names',
    "only_rows_with": 'only_rows_with = "Created at"',
    "file": ", ".join(_FILE_FORMS.values()),
}
"""The form of the entries in each section, for messages."""
_FILE = {"sheet": str, "header_row": int, "delimiter": str, "encoding": str}


def _column_map(table: Mapping[str, Any], where: str, known: Iterable[str]) -> ColumnMap:
    """The part of a map for one file, checked; ``known`` are the fields that it can have."""
    known = tuple(known)
    _refuse_others(table, ["file", *_KINDS, "ignore", "only_rows_with"], where)
    sections = {name: _converted(table.get(name, {}), dict, f"{where}: {name}", _FORMS[name]) for name in _KINDS}
    fields = {
        name: {
            field: _converted(value, kind, f"{where}: {name}: {field}", _FORMS[name], section=name)
            for field, value in _flat(sections[name], known)
        }
        for name, kind in _KINDS.items()
    }
    ignore, only = table.get("ignore", []), table.get("only_rows_with")
    column_map = ColumnMap(
        **fields,
        ignore=_converted(ignore, frozenset[str], where, _FORMS["ignore"]),
        only_rows_with=_converted(only, str | None, where, _FORMS["only_rows_with"]),
        dialect=_dialect(table.get("file", {}), f"{where}: file"),
        where=f"the map {where}",
    )
    column_map.check(known, where)
    _check_samples(column_map, where)
    return column_map


def _converted(value: Any, kind: Any, where: str, form: str, *, section: str = "") -> Any:
    """A value as a kind; ``form`` shows how it is written, and an entry of a section may be written short."""
    full = _in_full(section, value)
    if section in _NAMES and isinstance(full, dict | list):
        _refuse_others(full, _NAMES[section], where)
    try:
        return msgspec.convert(full, kind)
    except msgspec.ValidationError:
        text = str(value) if isinstance(value, date | time) else json.dumps(value, ensure_ascii=False, default=str)
        given = text if len(text) <= 60 else f"{text[:57]}..."
        raise ConfigError(f"{where}: {given} is not valid; use the form: {form}", "E231") from None


def _flat(table: Mapping[str, Any], known: Iterable[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The entries of a section by their fields. A dotted name without quotes is a table in TOML."""
    for name, value in table.items():
        field = prefix + name
        if isinstance(value, dict) and any(other.startswith(f"{field}.") for other in known):
            yield from _flat(value, known, f"{field}.")
        else:
            yield field, value


def _in_full(section: str, value: Any) -> Any:
    """The entry of a section in its long form, which a text or a list may abbreviate; a value as in a cell."""
    listed = [value] if isinstance(value, str) else value
    if section in ("constants", "defaults"):
        return _cell(value)
    if section == "values" and isinstance(value, dict):
        return {name: _cell(meaning) for name, meaning in value.items()}
    if section == "join" and isinstance(value, list):
        return {"columns": value}
    if section == "dates":
        own = value if isinstance(value, dict) else {"like": value}
        return {**own, "like": [own["like"]]} if isinstance(own.get("like"), str) else own
    return listed if section == "clean" else value


def _cell(value: Any) -> Any:
    """A value of TOML in the form of a cell; unchanged if it has none."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, int | float) else value


def _dialect(file: Any, where: str) -> Dialect:
    own = _converted(file, dict[str, Any], where, _FORMS["file"])
    _refuse_others(own, [*_FILE, *(() if where.endswith("items: file") else ("timezone",))], where)
    return Dialect(
        **{name: _converted(value, _FILE[name], f"{where}: {name}", _FILE_FORMS[name]) for name, value in own.items()}
    )


def _check_samples(column_map: ColumnMap, where: str) -> None:
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
                raise ConfigError(f"{where}: {section}: {field}: {error}", code_of(error)) from None


def _refuse_others(used: Iterable[Any], names: Sequence[str], where: str) -> None:
    for name in used:
        if name not in names:
            hint = did_you_mean(str(name), names)
            raise ConfigError(f'{where}: "{name}" is not one of: {", ".join(names)}{hint}', "E231")
