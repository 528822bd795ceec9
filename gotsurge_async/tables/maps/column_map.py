"""The content of a map, which converts the columns of any table to the fields of an order or of an item."""

import codecs
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta, Struct, structs

from gotsurge_async.errors import ConfigError
from gotsurge_async.models.rules import nearest
from gotsurge_async.tables.fields import did_you_mean

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

NOW = "now"
"""The constant that stands for the time of the push, in a field that is a time."""

ALL = "*"
"""All fields to which a rule of a map can apply, or all columns that are not known."""


_NOT_OF_FILES = {"idna", "punycode", "unicode-escape", "raw-unicode-escape"}
"""Encodings of host names, and of Python's own texts."""
_USUAL = ("utf-8", "utf-16", "cp1252", "latin-1", "gb18030", "big5", "shift_jis", "cp1251", "cp1250", "cp874")


def delimiter_character(text: str) -> str:
    """The delimiter that a user names; ConfigError if it is not one character, or a CSV needs that for itself."""
    character = "\t" if text in ("tab", "\\t") else text
    if len(character) != 1 or character in '"\r\n\0 ':
        raise ConfigError(f"delimiter {text!r}: give one character (such as ;) or the word tab", "E102")
    return character


def encoding_named(name: str) -> str:
    """An encoding of text by the name that Python uses, such as ``cp1252``; ConfigError if the name is not known."""
    try:
        own_name = codecs.lookup(name).name
        "a".encode(name)  # codecs that are not of text refuse it
        if own_name in _NOT_OF_FILES:
            raise LookupError
    except (LookupError, UnicodeError, ValueError, TypeError):
        near = nearest(name, _USUAL)
        hint = f'; did you mean "{near}"?' if near else f": use, for example, {', '.join(_USUAL[:4])}"
        raise ConfigError(f'encoding "{name}" is not known{hint}', "E203") from None
    return "utf-8" if own_name == "utf-8-sig" else own_name


def zone_named(name: str | None) -> "ZoneInfo | None":
    """The time zone with this IANA name; ConfigError if the name is not known."""
    if name is None:
        return None
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = available_timezones()
        if not known:
            raise ConfigError(
                f'no time zones are installed, so "{name}" is unknown: pip install tzdata', "E108"
            ) from None
        raise ConfigError(f'time zone "{name}" is not known{did_you_mean(name, known)}', "E102") from None


class Dialect(Struct, frozen=True, kw_only=True):
    """The way a file is written. A value of None is detected, or has a default.

    Attributes:
        delimiter: the character between two cells of a CSV; "tab" or ``\\t`` for a tab. If None, that of a first line
            such as ``sep=;``, else a comma, or a tab in a file that ends with ``.tsv``.
        encoding: of a text, by its name in Python; UTF-8 if None. A byte order mark takes precedence.
        sheet: the name of a workbook's sheet; the first visible one if None.
        header_row: the line, or the row of the sheet, that names the columns; the rows above are not read.
    """

    delimiter: str | None = None
    encoding: str | None = None
    sheet: str | None = None
    header_row: int | None = None

    def __post_init__(self) -> None:
        if self.delimiter is not None:
            structs.force_setattr(self, "delimiter", delimiter_character(self.delimiter))
        if self.encoding is not None:
            structs.force_setattr(self, "encoding", encoding_named(self.encoding))
        if self.header_row is not None and self.header_row < 1:
            raise ConfigError("the header row must be 1 or more", "E102")

    def over(self, other: "Dialect") -> "Dialect":
        """This dialect, with the values of another one for those that are None here."""
        return structs.replace(other, **{name: it for name, it in structs.asdict(self).items() if it is not None})


class Join(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Several columns as one text: the non-empty ones, with ``between`` between two.

    A join of one column allows that column to give several fields.
    """

    columns: Annotated[tuple[str, ...], Meta(min_length=1)]
    between: str = msgspec.field(default=" ", name="with")


class Dates(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The way times are written.

    Attributes:
        like: 31 December 2030, 23:59:58, in the file's form, such as "31/12/2030 23:59"; several are tried in turn.
        zone: the IANA name of the zone of times without one; that of the whole file if None.
        time: the time of day for dates without one, such as "09:00"; such a date is a fault if None.
        minutes_later: minutes that are added to each time, such as the length of a window.
    """

    like: tuple[str, ...] = ()
    zone: str | None = None
    time: str | None = None
    minutes_later: int = 0


class ColumnMap(Struct, frozen=True, kw_only=True, eq=False):
    """The rules for reading the columns of a user's own table.

    A field has its name as in a table without a map, such as ``to_address.street_address``. In ``dates``, ``numbers``,
    ``phones`` and ``clean`` ``*`` stands for all fields that the rule can apply to and that have no rule of their own.

    Attributes:
        columns: a column of the file -> its field.
        join: a field -> the columns that form it together.
        constants: a field -> its value in every row, written as in a cell. "now" in a field that is a time stands for
            the time of the push.
        defaults: a field -> its value in rows that have none.
        ignore: columns of the file that are not read; "*" for all that are not known.
        only_rows_with: a column; rows in which it is empty are not read, such as the further items of an order.
        dates: a field -> how its times are written.
        numbers: a field -> 1234.56 as its numbers, or amounts, are written: "S$1,234.56".
        phones: a field -> the calling code and a number in the country's usual form: "+65 61234567".
        values: a field -> the text of a cell -> its meaning; "*" for all other texts.
        clean: a field -> the clean-up of its text: spaces, unquote, pad6, upper, lower.
        dialect: how the file is written, unless the user's options override it.
        where: the name of the map in faults.

    A file that lacks one of ``columns``, or a column of a join, has a fault: no field is left out silently.
    """

    columns: Mapping[str, str] = {}
    join: Mapping[str, Join] = {}
    constants: Mapping[str, str] = {}
    defaults: Mapping[str, str] = {}
    ignore: frozenset[str] = frozenset()
    only_rows_with: str | None = None
    dates: Mapping[str, Dates] = {}
    numbers: Mapping[str, str] = {}
    phones: Mapping[str, str] = {}
    values: Mapping[str, Mapping[str, str]] = {}
    clean: Mapping[str, tuple[str, ...]] = {}
    dialect: Dialect = Dialect()
    where: str = "the map"

    def __eq__(self, other: object) -> bool:
        """Whether the rules are the same, under whatever name."""
        return isinstance(other, ColumnMap) and structs.astuple(self)[:-1] == structs.astuple(other)[:-1]

    def __ne__(self, other: object) -> bool:  # a struct's own compares identities
        return not self == other

    @property
    def has_rules(self) -> bool:
        """Whether the map has any rule for the form of values."""
        return any((self.dates, self.numbers, self.phones, self.values, self.clean))

    def names(self) -> set[str]:
        """The columns that the map names."""
        return {*self.columns, *(name for join in self.join.values() for name in join.columns)}

    def check(self, known: Iterable[str], where: str) -> None:
        """Check that every field is one of ``known``, and has one origin.

        Raises:
            ConfigError: an unknown field, or a second origin; the message names the entry, and the nearest known field.
        """
        known = tuple(known)
        origins = [
            *self.columns.items(),
            *((f"join {name}", name) for name in self.join),
            *((f"constant {name}", name) for name in self.constants),
        ]
        rules = {"dates": self.dates, "numbers": self.numbers, "phones": self.phones, "clean": self.clean}
        others = [(f"{rule} {name}", name) for rule, fields in rules.items() for name in fields if name != ALL]
        others += [(f"default {name}", name) for name in self.defaults]
        others += [(f"values {name}", name) for name in self.values]
        for entry, field in (*origins, *others):
            if field not in known:
                why = f'{where}: "{entry}": there is no field "{field}"{did_you_mean(field, known)}'
                raise ConfigError(why, "E231")
        taken: dict[str, str] = {}
        for entry, field in origins:
            if field in taken:
                raise ConfigError(f'{where}: "{entry}" and "{taken[field]}" both set {field}', "E231")
            taken[field] = entry
