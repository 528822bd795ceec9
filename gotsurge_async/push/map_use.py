"""The use of a map from push to push: new maps and new columns must be accepted, and changes are named."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain, islice
from typing import Any

import msgspec
from msgspec import Struct, structs

from gotsurge_async.errors import UsageError
from gotsurge_async.models.tasks import Order
from gotsurge_async.models.words import printable
from gotsurge_async.money import Money
from gotsurge_async.starting import pattern
from gotsurge_async.tables.cells import decode_row
from gotsurge_async.tables.checks.windows import planned
from gotsurge_async.tables.fields import columns_of
from gotsurge_async.tables.maps.column_map import ColumnMap
from gotsurge_async.tables.options import SourceOptions
from gotsurge_async.tables.source import Around, Source, SourceRow

MAP = "map"
"""The option of a run that holds the use of its map (`MapUse`)."""

_SAMPLE = 200
"""The rows whose times and prices are compared with those of the last push."""
_TIMES_AS_HIGH = 10
_LONGEST = 60
_MOST_SHAPES = 20

_DIGITS, _LETTERS = pattern(r"\d+"), pattern(r"[^\W\d_]+")


class MapNotAccepted(UsageError):
    """A map is new, was changed, or reads other columns: a person must read a preview and accept it."""


class MapUse(Struct, frozen=True, kw_only=True):
    """A map, and how it read one file.

    Attributes:
        name: the user's name for the map.
        digest: the SHA-256 of all that affects how cells are read: the map, the options about the file, its zone, and
            the columns of the orders and of the items.
        columns: the file's columns.
        shapes: a column of times -> how its first texts are written, such as 99/99/9999.
        prices: a currency -> the middle one of the first prices, in thousandths of a cent.
    """

    name: str
    digest: str
    columns: tuple[str, ...]
    shapes: Mapping[str, Sequence[str]]
    prices: Mapping[str, int]

    @classmethod
    def of(cls, options: SourceOptions, source: Source, rows: Sequence[SourceRow]) -> "MapUse":
        """The use of a map for a table with these first rows."""
        columns = source.columns or ()
        shapes = {column: set[str]() for column in _columns_of_times(options) if column in columns}
        prices: dict[str, list[int]] = {}
        for row in rows:
            cells = decode_row(row.original)
            for column, some in shapes.items():
                if len(some) < _MOST_SHAPES:
                    some.add(_shape(cells[columns.index(column)]))
            order = planned(row.payload)
            if order.price is not None:
                prices.setdefault(order.currency or "", []).append(order.price)
        return cls(
            name=options.file_map.name,
            digest=_digest(options, [*columns, *source.items_columns]),
            columns=columns,
            shapes={column: sorted(some) for column, some in shapes.items() if len(some) < _MOST_SHAPES},
            prices={currency: sorted(some)[(len(some) - 1) // 2] for currency, some in prices.items()},
        )

    @classmethod
    def remembered(cls, options: Mapping[str, Any]) -> "MapUse | None":
        """The use that a run has in its options; None if it had no map."""
        return msgspec.convert(options[MAP], cls) if MAP in options else None

    def is_of(self, options: Mapping[str, Any]) -> bool:
        """Whether a run with these options had the same use."""
        return MAP in options and options[MAP]["digest"] == self.digest

    def unlike(self, last: "MapUse") -> list[str]:
        """The differences of this use from the last one, a sentence for each."""
        differences = [f'the column "{plain(name)}" is new' for name in self.columns if name not in last.columns]
        differences += [f'the column "{plain(name)}" is gone' for name in last.columns if name not in self.columns]
        for column, shapes in self.shapes.items():
            before = last.shapes.get(column)
            if before and (new := [shape for shape in shapes if shape and shape not in before]):
                differences.append(
                    f'the column "{plain(column)}" has values like {_listed(new)}; the last push with this map had '
                    f"{_listed(before)}"
                )
        for currency, price in self.prices.items():
            was = last.prices.get(currency)
            if was and price and not was / _TIMES_AS_HIGH < price < was * _TIMES_AS_HIGH:
                now, then = (str(Money(millicents=some, currency=currency)) for some in (price, was))
                differences.append(
                    f"the prices are about {now} each, but were about {then} in the last push with this map"
                )
        return differences


def _accept(_: MapUse) -> None:
    """Accept any map."""


def watched(source: Source, options: SourceOptions, check: Callable[[MapUse], None] = _accept) -> Source:
    """A source that a map reads: it calls ``check`` after the first rows are read, and stores the use in ``kept``.

    If ``check`` raises `MapNotAccepted`, nothing more is read.
    """
    return _Watched(source, options, check) if options.file_map.name else source


class _Watched(Around):
    """Reads another source, and records how its map reads the first rows."""

    def __init__(self, source: Source, options: SourceOptions, check: Callable[[MapUse], None]) -> None:
        super().__init__(source)
        self._options = options
        self._look = check

    def rows(self) -> Iterator[SourceRow]:
        """Yield the rows, see `Source.rows`."""
        rows = self._source.rows()
        first = list(islice(rows, _SAMPLE))
        if first and self.columns is not None:
            use = MapUse.of(self._options, self, first)
            self._look(use)
            self.kept: Mapping[str, Any] = {**self.kept, MAP: structs.asdict(use)}
        yield from chain(first, rows)


def _digest(options: SourceOptions, columns: Sequence[str]) -> str:
    own = options.file_map
    maps = {"orders": _plain(own.orders), "items": _plain(own.items), "timezone": own.timezone}
    zone = options.timezone or own.timezone
    dialects = structs.asdict(options.dialect()), structs.asdict(options.items_dialect())
    text = msgspec.json.encode([maps, zone, dialects, options.key, list(columns)], order="deterministic")
    return hashlib.sha256(text).hexdigest()


def _plain(column_map: ColumnMap) -> dict[str, Any]:
    rules = structs.asdict(column_map) | {"dialect": structs.asdict(column_map.dialect)}
    del rules["where"]
    return rules


def _columns_of_times(options: SourceOptions) -> list[str]:
    """The columns that a map reads as times, or that have the names of such fields."""
    column_map, fields = options.file_map.orders, columns_of(Order)
    times = [name for name, column in fields.items() if column.kind is datetime]
    mapped = [name for name, field in column_map.columns.items() if field in times]
    joined = [name for field, join in column_map.join.items() if field in times for name in join.columns]
    return list(dict.fromkeys([*times, *mapped, *joined]))


def _shape(text: str) -> str:
    """A text with its digits as 9 and its words as a: 99/99/9999 for 5/3/2030 and 15/03/2030."""
    digits = _DIGITS.sub(lambda number: "9999" if len(number[0]) > 2 else "99", text.strip()[:_LONGEST])
    return plain(_LETTERS.sub("a", digits))


def plain(text: str) -> str:
    """A text without characters that move a terminal's cursor, and not longer than a line."""
    return printable(text[:_LONGEST])


def _listed(shapes: Sequence[str]) -> str:
    return " or ".join(shape or "nothing" for shape in shapes[:3])
