"""What a user says about a file of orders: its format, how it is written, its columns, its times."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import attrs
from attrs.converters import optional

from gotsurge_async.bulk.sources.fields import ITEM_KEY, ItemRow, columns_of, did_you_mean
from gotsurge_async.errors import ConfigError
from gotsurge_async.models.base import utc
from gotsurge_async.models.tasks import Order
from gotsurge_async.money import Money

NOW = "now"
"""The constant that stands for the time of the push, in a field that is a time."""

ALL = "*"
"""Stands for all fields that a rule of a map can be for, and for all columns that are not known."""

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
"""The format of a file by its ending; ``.gz`` may stand behind those of text."""

# --- how a file is written -------------------------------------------------------------------------------------------


def _delimiter_character(text: str) -> str:
    character = "\t" if text in ("tab", "\\t") else text
    if len(character) != 1 or character in '"\r\n\0 ':  # which a CSV needs for itself
        raise ConfigError(f"delimiter {text!r}: give one character such as ; or the word tab")
    return character


def _encoding_name(name: str) -> str:
    if name.lower() in ("utf-8", "utf8"):
        return "utf-8"
    from gotsurge_async.bulk.sources.tables.packed import check_encoding  # nearly every file is UTF-8

    return check_encoding(name)


def zone_named(name: str | None) -> ZoneInfo | None:
    """A time zone by its IANA name.

    Raises:
        ConfigError: the name is not known.
    """
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = available_timezones()
        if not known:
            raise ConfigError(f'no time zone is known here, nor "{name}": pip install tzdata') from None
        hint = did_you_mean(name, known)
        raise ConfigError(f'time zone "{name}" is not known{hint}') from None


@attrs.frozen(kw_only=True)
class Dialect:
    """How a file is written; what is None is found out, or as usual.

    Attributes:
        delimiter: what stands between two cells of a CSV, one character; "tab" or ``\\t`` for a tab. What a first line
            such as ``sep=;`` says if None, else a comma, or a tab in a file that ends with ``.tsv``.
        encoding: of a text, by its name in Python; UTF-8 if None. A byte order mark is believed before it.
        sheet: the name of a workbook's sheet; the first one that is visible if None.
        header_row: the line, or the row of the sheet, that names the columns; what stands above it is not read.
    """

    delimiter: str | None = attrs.field(default=None, converter=optional(_delimiter_character))
    encoding: str | None = attrs.field(default=None, converter=optional(_encoding_name))
    sheet: str | None = None
    header_row: int | None = None

    def __attrs_post_init__(self) -> None:
        if self.header_row is not None and self.header_row < 1:
            raise ConfigError("the header row is counted from 1")

    def over(self, other: "Dialect") -> "Dialect":
        """The same, with what another one says where this one is silent."""
        return Dialect(**{**attrs.asdict(other), **attrs.asdict(self, filter=lambda _, value: value is not None)})


# --- how its columns are read ----------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Join:
    """Several columns as one text: what is not empty of them, with ``between`` between two.

    One column alone may give several fields so.
    """

    columns: tuple[str, ...]
    between: str = " "


@attrs.frozen(kw_only=True)
class Dates:
    """How times are written.

    Attributes:
        like: 31 December 2030, 23:59:58, as they write it, such as "31/12/2030 23:59"; several are tried in turn.
        zone: the IANA name of the zone of those that tell none; that of the whole file if None.
        time: the time of day that a date without one stands for, such as "09:00"; it is a fault if None.
        minutes_later: is added: a window may end so long after the time that the file tells.
    """

    like: tuple[str, ...] = ()
    zone: str | None = None
    time: str | None = None
    minutes_later: int = 0


@attrs.frozen(kw_only=True)
class ColumnMap:
    """How the columns of somebody's own table are to be read.

    A field is named as in a table without a map, such as ``to_address.street_address``. In ``dates``, ``numbers``,
    ``phones`` and ``clean`` ``*`` stands for all fields that the rule can be for, and have none of their own.

    Attributes:
        columns: a column of the file -> the field that it gives.
        join: a field -> the columns that it is put together of.
        constants: a field -> the value that it has in every row, written as in a cell. "now" in a field that is a
            time stands for the time of the push.
        defaults: the same, where a row gives nothing.
        ignore: columns of the file that are not read; "*" for all that are not known.
        only_rows_with: a column; rows in which it is empty are not read, such as the further items of an order.
        dates: a field -> how its times are written.
        numbers: a field -> 1234.56 as its numbers, or amounts, are written: "S$1,234.56".
        phones: a field -> a number as people in its country write it, the country apart: "+65 61234567".
        values: a field -> what stands there -> what is meant by it; "*" for all else.
        clean: a field -> what is done to its text first: spaces, unquote, upper, lower.
        dialect: how the file is written, where the user does not say it.
        where: what faults call it.

    A file that lacks one of ``columns``, or one that is joined, has a fault: nothing is left out without a word.
    """

    columns: Mapping[str, str] = attrs.field(factory=dict)
    join: Mapping[str, Join] = attrs.field(factory=dict)
    constants: Mapping[str, str] = attrs.field(factory=dict)
    defaults: Mapping[str, str] = attrs.field(factory=dict)
    ignore: frozenset[str] = frozenset()
    only_rows_with: str | None = None
    dates: Mapping[str, Dates] = attrs.field(factory=dict)
    numbers: Mapping[str, str] = attrs.field(factory=dict)
    phones: Mapping[str, str] = attrs.field(factory=dict)
    values: Mapping[str, Mapping[str, str]] = attrs.field(factory=dict)
    clean: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    dialect: Dialect = Dialect()
    where: str = attrs.field(default="the map", eq=False)

    @property
    def has_rules(self) -> bool:
        """Whether it says anything of how values are written."""
        return any((self.dates, self.numbers, self.phones, self.values, self.clean))

    @property
    def misreads_digits(self) -> bool:
        """Whether a number in plain digits, such as 1.234, is another one by some of ``numbers``."""
        if not self.numbers:
            return False
        from gotsurge_async.bulk.sources.maps.samples import misreads_digits  # few pushes have a map

        return any(map(misreads_digits, self.numbers.values()))

    def names(self) -> set[str]:
        """The columns that it names."""
        return {*self.columns, *(name for join in self.join.values() for name in join.columns)}

    def check(self, known: Iterable[str], where: str) -> None:
        """See that every field is one of ``known``, and given once.

        Raises:
            ConfigError: names the entry, and the nearest known field.
        """
        known = tuple(known)
        taken: dict[str, str] = {}
        given = [
            *self.columns.items(),
            *((f"join {name}", name) for name in self.join),
            *((f"constant {name}", name) for name in self.constants),
        ]
        rules = {"dates": self.dates, "numbers": self.numbers, "phones": self.phones, "clean": self.clean}
        others = [(f"{rule} {name}", name) for rule, fields in rules.items() for name in fields if name != ALL]
        others += [(f"default {name}", name) for name in self.defaults]
        others += [(f"values {name}", name) for name in self.values]
        for entry, field in (*given, *others):
            if field not in known:
                raise ConfigError(f'{where}: "{entry}": there is no field "{field}"{did_you_mean(field, known)}')
        for entry, field in given:
            if field in taken:
                raise ConfigError(f'{where}: "{entry}" and "{taken[field]}" both give {field}')
            taken[field] = entry


@attrs.frozen(kw_only=True)
class FileMap:
    """A map (``--map``): how to read somebody's own tables of orders, and of their items.

    Attributes:
        timezone: the IANA name of the zone of times without one, unless the user says another.
    """

    orders: ColumnMap = ColumnMap()
    items: ColumnMap = ColumnMap()
    timezone: str | None = None

    @classmethod
    def load(cls, path: Path | str) -> "FileMap":
        """Read a map file, which is TOML; docs/tables.md shows all that may stand in it.

        Raises:
            ConfigError: it cannot be read, is no TOML, or says something that cannot be.
        """
        from gotsurge_async.bulk.sources.maps.reading import load_map  # few pushes have a map

        return load_map(Path(path))


# --- all of it -------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Query:
    """A question to a database instead of a file.

    Attributes:
        sql: a SELECT; each row of the answer is one of a table.
        url: of SQLAlchemy, such as ``postgresql://USER@HOST/NAME`` or ``sqlite:///PATH``; its password is not shown.
    """

    sql: str
    url: str = attrs.field(repr=False)

    @property
    def name(self) -> str:
        """The database, as faults show it: without whose it is, and without what else its URL says."""
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
        allow_unknown: JSON Lines only: whether fields that the document does not name are sent as they are.
    """

    now: datetime = attrs.field(converter=utc)
    format: str | None = None
    delimiter: str | None = attrs.field(default=None, converter=optional(_delimiter_character))
    encoding: str | None = attrs.field(default=None, converter=optional(_encoding_name))
    sheet: str | None = None
    header_row: int | None = None
    timezone: str | None = None
    query: Query | None = None
    key: str = ITEM_KEY
    items: Path | None = attrs.field(default=None, converter=optional(Path))
    items_sheet: str | None = None
    file_map: FileMap = FileMap()
    max_price: Money | None = None
    allow_unknown: bool = False

    def __attrs_post_init__(self) -> None:
        if self.format is not None and self.format not in FORMATS:
            raise ConfigError(f'format "{self.format}" is not known: say one of {", ".join(FORMATS)}')
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
        said = self.file_map.items.dialect
        return (
            Dialect(sheet=self.items_sheet).over(said).over(Dialect(delimiter=self.delimiter, encoding=self.encoding))
        )
