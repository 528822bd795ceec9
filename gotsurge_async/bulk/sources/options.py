"""What a user may say about a file of orders: its format, its columns, its times."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import attrs

from gotsurge_async.bulk.checks.rules import nearest
from gotsurge_async.bulk.sources.fields import ITEM_KEY, ItemRow, columns_of
from gotsurge_async.errors import ConfigError
from gotsurge_async.models.base import utc
from gotsurge_async.models.tasks import Order
from gotsurge_async.money import Money

NOW = "now"
"""The constant that stands for the time of the push, in a field that is a time."""


@attrs.frozen(kw_only=True)
class ColumnMap:
    """How the columns of somebody's own table are to be read.

    Attributes:
        columns: a column of the file -> the field that it gives, such as ``"Ship to": "to_address.street_address"``.
        constants: a field -> the value that it has in every row, written as in a cell. "now" in a field that is a
            time stands for the time of the push.
        ignore: columns of the file that are not read; "*" for all that are not known.
        where: what faults call it.

    A file that lacks one of ``columns`` has a fault: nothing is left out without a word.
    """

    columns: Mapping[str, str] = attrs.field(factory=dict)
    constants: Mapping[str, str] = attrs.field(factory=dict)
    ignore: frozenset[str] = frozenset()
    where: str = attrs.field(default="the map", eq=False)

    def check(self, known: Iterable[str], where: str) -> None:
        """See that every field is one of ``known``, and given once.

        Raises:
            ConfigError: names the entry, and the nearest known field.
        """
        known = tuple(known)
        taken: dict[str, str] = {}
        for column, field in (*self.columns.items(), *((f"constant {name}", name) for name in self.constants)):
            if field not in known:
                raise ConfigError(f'{where}: "{column}": there is no field "{field}"{did_you_mean(field, known)}')
            if field in taken:
                raise ConfigError(f'{where}: "{column}" and "{taken[field]}" both give {field}')
            taken[field] = column


@attrs.frozen(kw_only=True)
class FileMap:
    """A map file (``--map``): how to read the columns of the orders, and of the items.

    The file is TOML::

        ignore = ["Remark"]

        [columns]
        "Ship to" = "to_address.street_address"

        [constants]
        service_type = "ftl"

        [items.columns]
        "Qty" = "quantity"
    """

    orders: ColumnMap = ColumnMap()
    items: ColumnMap = ColumnMap()

    @classmethod
    def load(cls, path: Path | str) -> "FileMap":
        """Read a map file.

        Raises:
            ConfigError: it cannot be read, is no TOML, or names a field that does not exist.
        """
        import tomllib  # few pushes have a map

        try:
            with Path(path).open("rb") as file:
                table = tomllib.load(file)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: is not TOML: {error}") from None
        items = table.pop("items", {})
        if not isinstance(items, dict):
            raise ConfigError(f"{path}: items is a table with columns, constants and ignore")
        found = cls(orders=_column_map(table, str(path)), items=_column_map(items, f"{path}: items"))
        found.orders.check(columns_of(Order), str(path))
        found.items.check(columns_of(ItemRow), f"{path}: items")
        return found


def _delimiter_character(text: str) -> str:
    character = "\t" if text in ("tab", "\\t") else text
    if len(character) != 1 or character in '"\r\n\0 ':  # which a CSV needs for itself
        raise ConfigError(f"delimiter {text!r}: give one character such as ; or the word tab")
    return character


@attrs.frozen(kw_only=True)
class SourceOptions:
    """How to read a file of orders.

    Attributes:
        now: the present, an aware datetime: for the warning about pickups that are over, and the constant "now".
        format: "csv" or "jsonl"; by the file's ending if None, and CSV for standard input.
        delimiter: what stands between two cells of a CSV, one character; "tab" or ``\\t`` for a tab; a comma if None
            (a tab in a file that ends with ``.tsv``).
        timezone: the IANA name of the zone of times that are written without one; without it they are a fault.
        key: the column that tells one order from another, by the field's name or by the column's own.
        items: the CSV file of the items, joined to the orders by tracking_id.
        file_map: how to read the columns of another table.
        max_price: the greatest amount that passes. It holds for its own currency, or for every currency if it has
            none; 1000 units of the order's currency if None.
        allow_unknown: JSON Lines only: whether fields that the document does not name are sent as they are.
    """

    now: datetime = attrs.field(converter=utc)
    format: str | None = None
    delimiter: str | None = attrs.field(default=None, converter=attrs.converters.optional(_delimiter_character))
    timezone: str | None = None
    key: str = ITEM_KEY
    items: Path | None = attrs.field(default=None, converter=attrs.converters.optional(Path))
    file_map: FileMap = FileMap()
    max_price: Money | None = None
    allow_unknown: bool = False

    def __attrs_post_init__(self) -> None:
        if self.format is not None and self.format not in ("csv", "jsonl"):
            raise ConfigError(f'format "{self.format}" is not known: say csv or jsonl')
        self.zone()
        self.file_map.orders.check(columns_of(Order), "the map of the orders")
        self.file_map.items.check(columns_of(ItemRow), "the map of the items")

    def zone(self) -> ZoneInfo | None:
        """The zone of times without one.

        Raises:
            ConfigError: the name is not known.
        """
        if self.timezone is None:
            return None
        try:
            return ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            hint = did_you_mean(self.timezone, available_timezones())
            raise ConfigError(f'time zone "{self.timezone}" is not known{hint}') from None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name."""
    near = nearest(name, known)
    return f'; did you mean "{near}"?' if near else ""


def _column_map(table: Mapping[str, Any], where: str) -> ColumnMap:
    names = ["columns", "constants", "ignore"]
    for name in table:
        if name not in names:
            raise ConfigError(f'{where}: "{name}" is none of {", ".join(names)}{did_you_mean(name, names)}')
    columns, constants, ignore = table.get("columns", {}), table.get("constants", {}), table.get("ignore", [])
    if not isinstance(columns, dict) or not all(isinstance(field, str) for field in columns.values()):
        raise ConfigError(f'{where}: columns is a table of texts: "their column" = "field"')
    if not isinstance(constants, dict):
        raise ConfigError(f"{where}: constants is a table: field = value")
    if not isinstance(ignore, list) or not all(isinstance(name, str) for name in ignore):
        raise ConfigError(f'{where}: ignore is a list of column names, such as ["Remark"]')
    flat = {name: _cell(value, f"{where}: constants: {name}") for name, value in _flattened(constants)}
    return ColumnMap(columns=columns, constants=flat, ignore=frozenset(ignore), where=f"the map {where}")


def _flattened(table: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """A dotted name without quotes is a table in TOML: ``from_address.country = "SG"``."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flattened(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _cell(value: Any, where: str) -> str:
    """A value of TOML as it would stand in a cell."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str | int | float) and not isinstance(value, date | time):
        return str(value)
    raise ConfigError(f"{where}: give text, a number, or a time, not {value!r}")
