"""Map files: TOML, in which everything must be known."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import attrs

from gotsurge_async.bulk.sources.fields import ItemRow, columns_of, did_you_mean
from gotsurge_async.bulk.sources.maps import samples
from gotsurge_async.bulk.sources.options import ColumnMap, Dates, Dialect, FileMap, Join, zone_named
from gotsurge_async.errors import ConfigError
from gotsurge_async.models.tasks import Order

CLEANING = ("spaces", "unquote", "upper", "lower")
"""What can be done to a text before it is read."""

_DIALECT = ("sheet", "header_row", "delimiter", "encoding")
_MOST = 1 << 20


def load_map(path: Path) -> FileMap:
    """See `FileMap.load`."""
    try:
        with path.open("rb") as file:
            text = file.read(_MOST + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if len(text) > _MOST:
        raise ConfigError(f"{path}: is larger than any map")
    return read_map(text, str(path))


def read_map(text: bytes, where: str) -> FileMap:
    """A map from its TOML; ``where`` is what messages call it.

    Raises:
        ConfigError: it is no TOML, or says something that cannot be.
    """
    try:
        table = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{where}: is not TOML: {error}") from None
    items = table.pop("items", {})
    if not isinstance(items, dict):
        raise ConfigError(f"{where}: items is a table with columns, constants and so on")
    file = table.get("file")
    timezone = file.pop("timezone", None) if isinstance(file, dict) else None
    try:
        found = FileMap(
            orders=_Section(table, where, columns_of(Order)).column_map(),
            items=_Section(items, f"{where}: items", columns_of(ItemRow)).column_map(),
            timezone=None if timezone is None else _text(timezone, f"{where}: file: timezone"),
        )
        zone_named(found.timezone)
    except ConfigError as error:
        text_of = str(error)
        raise ConfigError(text_of if text_of.startswith(where) else f"{where}: {text_of}") from None
    return found


class _Section:
    """What a map says of one file."""

    def __init__(self, table: Mapping[str, Any], where: str, known: Iterable[str]) -> None:
        self._table = table
        self._where = where
        self._known = frozenset(known)

    def column_map(self) -> ColumnMap:
        """All of it, checked."""
        names = [field.name for field in attrs.fields(ColumnMap) if field.name not in ("dialect", "where")]
        self._only(self._table, ["file", *names], self._where)
        columns, only = self._section("columns"), self._table.get("only_rows_with")
        if not all(isinstance(field, str) for field in columns.values()):
            raise ConfigError(f'{self._where}: columns is a table of texts: "their column" = "field"')
        found = ColumnMap(
            columns=columns,
            join=dict(self._each("join", self._join)),
            constants=dict(self._each("constants", _cell)),
            defaults=dict(self._each("defaults", _cell)),
            ignore=frozenset(self._ignore()),
            only_rows_with=None if only is None else _text(only, f"{self._where}: only_rows_with"),
            dates=dict(self._each("dates", self._dates)),
            numbers=dict(self._each("numbers", _text)),
            phones=dict(self._each("phones", _text)),
            values=dict(self._each("values", self._values)),
            clean=dict(self._each("clean", self._clean)),
            dialect=self._dialect(),
            where=f"the map {self._where}",
        )
        found.check(self._known, self._where)
        self._try_samples(found)
        return found

    def _try_samples(self, found: ColumnMap) -> None:
        for make, given in ((samples.number_style, found.numbers), (samples.phone_style, found.phones)):
            for field, sample in given.items():
                with _at(f"{self._where}: {'numbers' if make is samples.number_style else 'phones'}: {field}"):
                    make(sample)
        for field, dates in found.dates.items():
            with _at(f"{self._where}: dates: {field}"):
                samples.check_dates(dates)

    def _section(self, name: str) -> Mapping[str, Any]:
        section = self._table.get(name, {})
        if not isinstance(section, dict):
            raise ConfigError(f"{self._where}: {name} is a table: field = value")
        return section

    def _each(self, name: str, read: Any) -> Iterator[tuple[str, Any]]:
        """The entries of a section by their fields. A dotted name without quotes is a table in TOML."""
        for field, value in self._flat(self._section(name), ""):
            yield field, read(value, f"{self._where}: {name}: {field}")

    def _flat(self, table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for name, value in table.items():
            field = prefix + name
            if isinstance(value, dict) and any(each.startswith(f"{field}.") for each in self._known):
                yield from self._flat(value, f"{field}.")
            else:
                yield field, value

    def _ignore(self) -> list[str]:
        ignore = self._table.get("ignore", [])
        if not isinstance(ignore, list) or not all(isinstance(name, str) for name in ignore):
            raise ConfigError(f'{self._where}: ignore is a list of column names, such as ["Remark"]')
        return ignore

    def _dialect(self) -> Dialect:
        file = self._section("file")
        more = [] if "items" in self._where else ["timezone"]
        self._only(file, [*_DIALECT, *more], f"{self._where}: file")
        row = file.get("header_row")
        if row is not None and type(row) is not int:
            raise ConfigError(f"{self._where}: file: header_row is a number, counted from 1")
        texts = {
            name: _text(file[name], f"{self._where}: file: {name}")
            for name in _DIALECT
            if name in file and name != "header_row"
        }
        return Dialect(header_row=row, **texts)

    def _join(self, value: Any, where: str) -> Join:
        table = value if isinstance(value, dict) else {"columns": value}
        self._only(table, ["columns", "with"], where)
        return Join(
            columns=_texts(table.get("columns"), f"{where}: columns", least=1),
            between=_text(table.get("with", " "), where),
        )

    def _dates(self, value: Any, where: str) -> Dates:
        table = value if isinstance(value, dict) else {"like": value}
        self._only(table, ["like", "zone", "time", "minutes_later"], where)
        later = table.get("minutes_later", 0)
        if type(later) is not int:
            raise ConfigError(f"{where}: minutes_later is a whole number")
        like = table.get("like", [])
        texts = {name: _text(table[name], f"{where}: {name}") for name in ("zone", "time") if name in table}
        written = _texts([like] if isinstance(like, str) else like, where, least=0)
        return Dates(like=written, minutes_later=later, **texts)

    def _values(self, value: Any, where: str) -> Mapping[str, str]:
        if not isinstance(value, dict) or not value:
            raise ConfigError(f'{where}: is a table: "what stands there" = "what is meant"')
        return {name: _cell(meant, f"{where}: {name}") for name, meant in value.items()}

    def _clean(self, value: Any, where: str) -> tuple[str, ...]:
        steps = _texts([value] if isinstance(value, str) else value, where, least=1)
        for step in steps:
            if step not in CLEANING:
                raise ConfigError(f'{where}: "{step}" is none of {", ".join(CLEANING)}{did_you_mean(step, CLEANING)}')
        return steps

    @staticmethod
    def _only(table: Mapping[str, Any], names: list[str], where: str) -> None:
        for name in table:
            if name not in names:
                raise ConfigError(f'{where}: "{name}" is none of {", ".join(names)}{did_you_mean(name, names)}')


class _at:  # noqa: N801 - reads as what it is: a place
    """Puts the place before what a block raises."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, ValueError | ConfigError):
            raise ConfigError(f"{self._where}: {error}") from None


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{where}: give a text in quotes, not {value!r}")
    return value


def _texts(value: Any, where: str, *, least: int) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value) or len(value) < least:
        raise ConfigError(f'{where}: give a list of texts, such as ["A", "B"]')
    return tuple(value)


def _cell(value: Any, where: str) -> str:
    """A value of TOML as it would stand in a cell."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str | int | float) and not isinstance(value, date | time):
        return str(value)
    raise ConfigError(f"{where}: give text, a number, or a time, not {value!r}")
