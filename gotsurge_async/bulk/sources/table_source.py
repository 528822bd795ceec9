"""Orders in a table: one row, one order; the columns are the dotted names of the order's fields, or a map's."""

from collections.abc import Iterator
from typing import Any, BinaryIO

from gotsurge_async.bulk.checks.faults import SourceReport
from gotsurge_async.bulk.sources.cells import shortened_by_spreadsheet
from gotsurge_async.bulk.sources.fields import ITEM_KEY, candidate_of
from gotsurge_async.bulk.sources.lines import Record
from gotsurge_async.bulk.sources.options import SourceOptions
from gotsurge_async.bulk.sources.source import (
    IN_DOUBT,
    MAY_EXIST,
    SHORTENED,
    Source,
    SourceRow,
    encode,
    fingerprint_of,
)
from gotsurge_async.bulk.sources.table import Header, Reading, Table
from gotsurge_async.models.tasks import Order


class TableSource(Source):
    """Reads a table of orders, and the items of a second one."""

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
        self._table = Table(name, stream, Reading(Order, options.file_map.orders, options.key, options), report)
        self._digest = self._table.digest
        self._items = None
        self._joined_by_key = options.key == ITEM_KEY
        self._nameless = False  # whether the tracking id of a row is there, but cannot be read
        if items is not None:
            from gotsurge_async.bulk.sources.items import ItemStore  # few files of orders have a second one

            self._items = ItemStore(items, options, report)

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
            header = table.header
            if header is None:
                return
            if self.columns is None:
                self._begin(header)
            order = self._order(record, header)
            key = self._key(record, header)
            if order is not None and key and not table.bad:
                cells = record.cells
                if header.written_by_a_push:
                    cells = [cells[place] for place in header.original]
                yield SourceRow(record.line, key, encode(order), encode(cells), fingerprint_of(order))
        self._exhausted = table.read_to_end
        self._tell_orphans()

    def close(self) -> None:
        """Give back what the source holds."""
        if self._items is not None:
            self._items.close()
        super().close()

    def _begin(self, header: Header) -> None:
        self.form = self._table.form
        self.columns: tuple[str, ...] | None = tuple(header.names[place] for place in header.original)
        if self._items is not None and ITEM_KEY not in header.index:
            self._table.tell(1, ITEM_KEY, None, "there is no such column, and the items are joined by it")

    def _order(self, record: Record, header: Header) -> Any:
        """The candidate of a row's order, or None if something required is missing; what is wrong with it is told."""
        order = candidate_of(Order)(**self._table.values())
        missing, findings = self._check(order)
        for finding in findings:
            self._table.found(finding)
        if order.tracking_id is None:
            self._nameless |= ITEM_KEY in self._table.bad or self._joined_by_key
        elif self._items is not None:
            order.items = self._items.take(order.tracking_id)
        return None if missing else order

    def _key(self, record: Record, header: Header) -> str | None:
        place, table = header.key, self._table
        if header.status is not None and record.cells[header.status].strip() == IN_DOUBT:
            table.wrong_cell(header.status, MAY_EXIST)
        if place is None:
            return None
        key = record.cells[place].strip()
        if not key:
            table.wrong_cell(place, "is empty, but tells this order from every other")
        elif shortened_by_spreadsheet(key):
            table.wrong_cell(place, SHORTENED)
        return key

    def _tell_orphans(self) -> None:
        """Report items without an order, where it can be told: not when an order's name could not be read.

        A file that an earlier push wrote holds only some of the orders of its items file.
        """
        header = self._table.header
        if self._items is None or header is None or ITEM_KEY not in header.index:
            return
        if not (header.written_by_a_push or self._table.lost or self._nameless):
            self._items.tell_orphans(self.name)
