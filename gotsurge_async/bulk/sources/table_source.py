"""Orders in a table: one row, one order; the columns are the dotted names of the order's fields, or a map's."""

from collections.abc import Iterator
from typing import Any

from gotsurge_async.bulk.checks.faults import SourceReport
from gotsurge_async.bulk.checks.words import number_of
from gotsurge_async.bulk.sources.cells import encode_row, shortened_by_spreadsheet
from gotsurge_async.bulk.sources.fields import INCOMPLETE, ITEM_KEY, candidate_of, columns_of
from gotsurge_async.bulk.sources.header import Header, Reading
from gotsurge_async.bulk.sources.lines import Grid, Record
from gotsurge_async.bulk.sources.options import SourceOptions
from gotsurge_async.bulk.sources.source import (
    IN_DOUBT,
    MAY_EXIST,
    MOST_ROWS,
    NOT_MENDED,
    SHORTENED,
    UNSEEN,
    Form,
    Source,
    SourceRow,
    encode,
    fingerprint_of,
    unseen_in,
)
from gotsurge_async.bulk.sources.table import Table
from gotsurge_async.models.rules import check_order
from gotsurge_async.models.tasks import Order

WITHOUT_BOOKS = (
    "the result files would be CSV, in which the map reads a number such as 1.234 as another one: "
    'pip install "gotsurge-async[excel]" makes them workbooks'
)
TOO_MANY = (
    "a workbook has no room for the result files, and in a CSV the map reads a number such as 1.234 as another one: "
    f"divide the table into parts of at most {number_of(MOST_ROWS, 'row')}"
)


class TableSource(Source):
    """Reads a table of orders, and the items of a second one."""

    def __init__(
        self,
        name: str,
        grid: Grid,
        options: SourceOptions,
        report: SourceReport,
        items: Grid | None = None,
    ) -> None:
        super().__init__(name, options, report)
        column_map = options.file_map.orders
        self._table = Table(name, grid, Reading(Order, column_map, options.dialect(), options.key, options), report)
        self._digest = grid.digest
        self._misread = column_map.misreads_digits
        self._items = None
        self._joined_by_key = options.key == ITEM_KEY
        column = columns_of(Order).get(options.key)
        # A key that is a text of the order itself; "" where it is anything else.
        self._key_field = options.key if column and column.kind is str and not column.parent else ""
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
        table, encode_cells = self._table, encode
        last = 0
        for record in table.rows():
            header = table.header
            if header is None:
                return
            if self.columns is None:
                self._begin(header)
                encode_cells = encode if self.form.format == "csv" else encode_row
            last = record.line
            order = self._order(record, header)
            key = self._key(record, header, order)
            if order is not None and key and not table.bad:
                cells = record.cells
                if header.written_by_a_push:
                    cells = [cells[place] for place in header.original]
                yield SourceRow(record.line, key, encode(order), encode_cells(cells), fingerprint_of(order))
            elif key and self.faulty is not None:
                self.faulty(record.line, key)
        self.form = table.grid.form
        self._exhausted = table.read_to_end
        if self._misread and not self.form.is_text and Form.of_types(last).is_text:
            table.tell(None, None, None, TOO_MANY if last > MOST_ROWS else WITHOUT_BOOKS)
        self._tell_orphans()

    def close(self) -> None:
        """Give back what the source holds."""
        if self._items is not None:
            self._items.close()
        super().close()

    def _begin(self, header: Header) -> None:
        self.form: Form = self._table.grid.form
        self.columns: tuple[str, ...] | None = tuple(header.names[place] for place in header.original)
        if self._items is not None and ITEM_KEY not in header.places:
            self._table.tell(1, ITEM_KEY, None, "there is no such column, and the items are joined by it")

    def _order(self, record: Record, header: Header) -> Any:
        """The candidate of a row's order, or None if something required is missing; what is wrong with it is told."""
        missing: list[str] = []
        try:
            order = header.make(record.cells)
        except ValueError:
            # Something is missing or wrong: what it is, and what else is, is told now.
            order = candidate_of(Order)(**self._table.values())
            missing, findings = self._check(order)
        else:
            findings = check_order(order, now=self._now, max_price=self._max_price, zone=self._zone)
        for finding in findings:
            self._table.found(finding)
        if order.tracking_id is None:
            self._nameless |= ITEM_KEY in self._table.bad or self._joined_by_key
        elif self._items is not None:
            order.items = self._items.take(order.tracking_id)
            if self.faulty is not None and (where := self._items.fault_of(order.tracking_id)):
                self._table.wrong(ITEM_KEY, f"an item of this order has faults: {where}")
        return None if missing else order

    def _key(self, record: Record, header: Header, order: Any) -> str | None:
        place, table = header.key_place, self._table
        if header.status is not None:
            self._check_status(header.status, record.cells[header.status].strip())
        if header.key is None:
            return None
        # Of a field the text that the map made of it, which is what is sent.
        own = order is not None and self._key_field
        key = (getattr(order, self._key_field) or "") if own else header.key(record.cells).strip()
        rule = ""
        if not key:
            rule = "is empty, but tells this order from every other"
        elif shortened_by_spreadsheet(key):
            rule = SHORTENED
        elif unseen_in(key):
            rule = UNSEEN
        if rule and place is None:
            table.wrong(self._key_field, rule)
        elif rule and place is not None:
            table.wrong_cell(place, rule)
        return str(key)

    def _check_status(self, place: int, status: str) -> None:
        """Refuse what must not be sent, by what an earlier push has said of it."""
        if status == IN_DOUBT:
            self._table.wrong_cell(place, MAY_EXIST)
        elif status == INCOMPLETE:
            self._table.partial = True
            self._table.wrong_cell(place, NOT_MENDED)

    def _tell_orphans(self) -> None:
        """Report items without an order, where it can be told: not when an order's name could not be read.

        Where rows are left out they are reported then, too: perhaps they belong to an order that would be sent. A file
        that an earlier push wrote holds only some of the orders of its items file.
        """
        header = self._table.header
        if self._items is None or header is None or ITEM_KEY not in header.places:
            return
        leaving = self.faulty is not None
        if not header.written_by_a_push and (leaving or not (self._table.lost or self._nameless)):
            self._items.tell_orphans(self.name, also_faulty=leaving)
