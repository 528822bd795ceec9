"""Finds columns in which a spreadsheet may have exchanged days and months.

An American Excel that opens 03/04/2030 and 13/04/2030, written in Singapore, makes the first one 4 March. The second
one cannot be a date for it, and stays text, which the map reads. So a column of both kinds cannot be trusted.
"""

from collections.abc import Iterable
from datetime import datetime

from gotsurge_async.models.tasks import Order
from gotsurge_async.starting import pattern
from gotsurge_async.tables.cells import Exact
from gotsurge_async.tables.fields import columns_of
from gotsurge_async.tables.formats.grid import Record
from gotsurge_async.tables.header import Header
from gotsurge_async.tables.maps.column_map import ALL, ColumnMap

_TYPED = pattern(r"\d{4}-\d\d-(?:0\d|1[0-2])")
"""A date that may have been another one; a day above 12 was never a month."""
_WRITTEN = pattern(r"(?<!\d)\d{1,2}([/.-])\d{1,2}\1(?:\d{4}|\d{2})(?!\d)")


class Days:
    """The kinds of dates in columns whose samples write day and month as numbers, before the year."""

    def __init__(self, header: Header, column_map: ColumnMap) -> None:
        self._lines: dict[int, tuple[dict[bool, int], str]] = {}
        for field, places in header.places.items():
            dates = column_map.dates.get(field, column_map.dates.get(ALL))
            if dates and columns_of(Order)[field].kind is datetime and any(map(_WRITTEN.search, dates.like)):
                self._lines |= {place: ({}, header.names[place]) for place in places}

    def note(self, records: Iterable[Record]) -> None:
        """Note the first line of each kind."""
        for record in records:
            for place, (lines, _) in self._lines.items():
                cell = record.cells[place]
                is_typed = type(cell) is Exact
                if is_typed not in lines and (_TYPED if is_typed else _WRITTEN).search(cell):
                    lines[is_typed] = record.line

    def mixed(self) -> list[tuple[int, str]]:
        """The line of the first date that is text, and the column, of each column that has both kinds."""
        return [(lines[False], name) for lines, name in self._lines.values() if len(lines) > 1]
