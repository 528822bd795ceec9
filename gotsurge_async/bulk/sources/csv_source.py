"""Orders in a CSV file: one row, one order; the columns are the dotted names of the order's fields."""

from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from gotsurge_async.bulk.sources.base import (
    IN_DOUBT,
    MAY_EXIST,
    SHORTENED,
    Source,
    SourceRow,
    encode_plain,
    fingerprint_of,
)
from gotsurge_async.bulk.sources.cells import shortened_by_spreadsheet
from gotsurge_async.bulk.sources.fields import ITEM_KEY, item_shape, order_shape
from gotsurge_async.bulk.sources.items import NO_ITEMS, ItemStore
from gotsurge_async.bulk.sources.layout import Layout, Reading
from gotsurge_async.bulk.sources.options import SourceOptions, delimiter_character
from gotsurge_async.bulk.sources.records import Record
from gotsurge_async.bulk.sources.report import SourceReport
from gotsurge_async.bulk.sources.table import Table
from gotsurge_async.models.tasks import Order


class CsvSource(Source):
    """Reads a CSV file of orders, and the items of a second one."""

    def __init__(
        self,
        name: str,
        stream: BinaryIO,
        options: SourceOptions,
        report: SourceReport,
        items: BinaryIO | None = None,
        *,
        owned: bool = False,
    ) -> None:
        super().__init__(name, stream, options, report, owned=owned)
        zone, now = options.zone(), options.now
        reading = Reading(shape=order_shape(), column_map=options.file_map.orders, key=options.key, zone=zone, now=now)
        self._table = Table(name, stream, self._digest, _delimiter(options, name), reading, report)
        self._items: ItemStore | None = None
        self._key_name = options.key
        self._nameless = False  # whether the tracking id of a row is there, but cannot be read
        if items is not None and options.items is not None:
            reading = Reading(shape=item_shape(), column_map=options.file_map.items, key=ITEM_KEY, zone=zone, now=now)
            delimiter = _delimiter(options, str(options.items))
            self._items = ItemStore(options.items, items, delimiter, reading, report)

    @property
    def items_sha256(self) -> str | None:
        """The SHA-256 of the items file's bytes, in hex; None until it was read, or if there is none."""
        return None if self._items is None else self._items.sha256

    def rows(self) -> Iterator[SourceRow]:
        """The good orders, as they come."""
        if self._items is not None:
            self._items.load()
        table = self._table
        for record in table.rows():
            layout = table.layout
            if layout is None:
                return
            if self.columns is None:
                self._begin(layout)
            row = self._quick_row(record, layout) or self._careful_row(record, layout)
            if row is not None:
                yield row
        self._exhausted = table.read_to_end
        self._tell_orphans()

    def close(self) -> None:
        """Give back what the source holds."""
        if self._items is not None:
            self._items.close()
        super().close()

    def _begin(self, layout: Layout) -> None:
        self.columns: tuple[str, ...] | None = tuple(layout.names[place] for place in layout.own)
        if self._items is not None and ITEM_KEY not in layout.index:
            self._table.tell(1, ITEM_KEY, None, "there is no such column, and the items are joined by it")

    def _quick_row(self, row: Record, layout: Layout) -> SourceRow | None:
        """The row in the fast way; None if it is not plainly right."""
        found = self._table.quick()
        if found is None:
            return None
        key, order = found
        if self._check(order):
            return None
        if self._items is not None and order.tracking_id:
            items = self._items.take_text(order.tracking_id)
            order.items = msgspec.Raw(items) if items != NO_ITEMS else None
        return SourceRow(row.line, key, encode_plain(order), _original(row, layout), fingerprint_of(order))

    def _careful_row(self, row: Record, layout: Layout) -> SourceRow | None:
        """The row, or None if something is wrong with it; that is told."""
        order = self._order(row, layout)
        key = self._key(row, layout)
        if order is None or not key or self._table.bad:
            return None
        return self._row(row.line, key, order, _original(row, layout))

    def _order(self, row: Record, layout: Layout) -> Order | None:
        """The order of a row, or None if it cannot be made; what is wrong with it is told."""
        table = self._table
        values = table.values()
        tracking_id = values.get(ITEM_KEY)
        if tracking_id is None:
            self._nameless |= ITEM_KEY in table.bad or self._key_name == ITEM_KEY
        elif self._items is not None:
            items = self._items.take(tracking_id)
            if items:
                values["items"] = items
        order = None
        if layout.required <= values.keys():
            order = Order(**values)
            findings = self._check(order)
        else:
            if layout.complete:
                layout.tell_missing(values, row.cells, table.wrong)
            findings = self._check_the_rest(values)
        for finding in findings:
            table.wrong(finding.path, finding.message, finding.severity, finding.value)
        return order if layout.complete else None

    def _key(self, row: Record, layout: Layout) -> str | None:
        place, table = layout.key, self._table
        if layout.status is not None and row.cells[layout.status].strip() == IN_DOUBT:
            table.wrong_cell(layout.status, MAY_EXIST)
        if place is None:
            return None
        key = row.cells[place].strip()
        if not key:
            table.wrong_cell(place, "is empty, but tells this order from every other")
        elif shortened_by_spreadsheet(key):
            table.wrong_cell(place, SHORTENED)
        return key

    def _tell_orphans(self) -> None:
        """Report items without an order, where it can be told: not when an order's name could not be read.

        A file that an earlier push wrote holds only some of the orders of its items file.
        """
        layout = self._table.layout
        if self._items is None or layout is None or ITEM_KEY not in layout.index:
            return
        if not (layout.fed_back or self._table.lost or self._nameless):
            self._items.tell_orphans(self.name)


def _original(row: Record, layout: Layout) -> bytes:
    return encode_plain([row.cells[place] for place in layout.own] if layout.fed_back else row.cells)


def _delimiter(options: SourceOptions, name: str) -> str:
    if options.delimiter is not None:
        return delimiter_character(options.delimiter)
    return "\t" if name.lower().endswith(".tsv") else ","
