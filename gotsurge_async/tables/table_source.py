"""Orders in a table: one row, one order; the columns are the dotted names of the order's fields, or a map's.

The items of a second table are joined by tracking id. They are stored in a temporary SQLite database, which SQLite
makes readable only by its owner, and without a name in the file system, so that no trace of it remains.
"""

import itertools
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import msgspec

from gotsurge_async.errors import Coded
from gotsurge_async.models.rules import Columns, check_item
from gotsurge_async.models.tasks import Item, Order
from gotsurge_async.tables.cells import Misread, encode, encode_row, shortened_by_spreadsheet
from gotsurge_async.tables.checks.faults import SourceReport
from gotsurge_async.tables.checks.words import number_of
from gotsurge_async.tables.fields import INCOMPLETE, ITEM_KEY, ItemRow, candidate_of, columns_of
from gotsurge_async.tables.formats.grid import Grid, Record
from gotsurge_async.tables.formats.lines import MOST_ROWS, Form
from gotsurge_async.tables.header import Header, Reading
from gotsurge_async.tables.options import SourceOptions
from gotsurge_async.tables.source import (
    IN_DOUBT,
    INVOICE,
    MAY_EXIST,
    NOT_MENDED,
    SHORTENED,
    Source,
    SourceRow,
    check_key,
    fingerprint_of,
    waiting_aside,
)
from gotsurge_async.tables.table import Table

if TYPE_CHECKING:
    from gotsurge_async.tables.checks.exchanged import Days

WITHOUT_BOOKS = (
    "the result files would be CSV files, in which the map would misread numbers such as 1.234: "
    'to get workbooks instead, pip install "gotsurge-async[excel]"'
)
TOO_MANY = (
    "the result files are too large for a workbook, and the map would misread numbers such as 1.234 in a CSV file: "
    f"divide the table into parts of at most {number_of(MOST_ROWS, 'row')}"
)
EXCHANGED = (
    "some of its dates are text, so a spreadsheet may have exchanged days and months of the others: "
    "make all of them text, or all of them dates"
)
TAKEN = "an order above has the same tracking_id, so each of its items would be in both: give each order its own"
"""The rule for orders with another key, whose items are joined by tracking id all the same."""
_FEW = 8
"""The number of rows of which each is read alone if a cell of one of them may be wrong."""
_Good = tuple[Sequence[Record], Sequence[str], Sequence[Any]]
"""Rows without faults, their keys, and their candidates."""


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
        self._map = options.file_map.orders
        self._table = Table(name, grid, Reading(Order, self._map, options.dialect(), options.key, options), report)
        self._items = None if items is None else _Items(items, options, report)
        self._joined_by_key = options.key == ITEM_KEY
        column = columns_of(Order).get(options.key)
        # A key that is a text of the order itself; "" if it is anything else.
        self._key_field = options.key if column and column.kind is str and not column.parent else ""
        self._days: Days | None = None
        self._nameless = False  # whether a row has a tracking id that cannot be read

    def rows(self) -> Iterator[SourceRow]:
        """Yield the rows, see `Source.rows`."""
        if self._items is not None:
            self.items_sha256: str | None = self._items.load()
            self.items_columns: tuple[str, ...] = self._items.columns
        table, encode_cells = self._table, encode
        for block in table.blocks():
            header = table.header
            if header is None:
                return
            if self.columns is None:
                self._begin(header)
                encode_cells = encode if self.form.format == "csv" else encode_row
            if self._days:
                self._days.note(block)
            for records, keys, orders in self._orders(block, header):
                lines, rows = [record.line for record in records], [record.cells for record in records]
                if header.written_by_a_push:
                    rows = [[cells[place] for place in header.original] for cells in rows]
                prints = map(fingerprint_of, orders)
                yield from map(SourceRow, lines, keys, map(encode, orders), map(encode_cells, rows), prints)
        self.form = table.grid.form
        if table.read_to_end:
            self.sha256: str | None = table.grid.digest.hexdigest()
        for line, column in self._days.mixed() if self._days else ():
            table.add_fault(Coded(EXCHANGED, "E220"), line=line, column=column)
        self._check_result_files(self.line)
        self._report_orphans()

    def close(self) -> None:
        """Close the tables, see `Source.close`."""
        self._table.grid.close()
        if self._items is not None:
            self._items.close()
        super().close()

    def _begin(self, header: Header) -> None:
        self.form: Form = self._table.grid.form
        self.columns: tuple[str, ...] | None = tuple(header.names[place] for place in header.original)
        self.not_read: tuple[str, ...] = header.not_read
        if self._map.dates and not self.form.is_text:
            from gotsurge_async.tables.checks.exchanged import Days  # few maps have any

            self._days = Days(header, self._map)
        if self._items is not None and ITEM_KEY not in header.places:
            rule = Coded("this column is missing: it must show which order each item belongs to", "E230")
            self._table.add_fault(rule, line=1, column=ITEM_KEY)

    def _orders(self, block: Sequence[Record], header: Header) -> Iterator[_Good]:
        """The good ones of rows. Many rows with a wrong cell are read by halves."""
        self._table.turn_to(block[0])
        orders: list[Any] = []
        columns: Columns = {}
        try:
            orders, columns = header.make([record.cells for record in block], self._table.grid.strip)
        except ValueError:
            if header.complete and len(block) > _FEW:
                middle = len(block) // 2
                yield from self._orders(block[:middle], header)
                yield from self._orders(block[middle:], header)
                return
        self.line: int = block[-1].line
        keys = self._good_keys(block, header, columns) if orders else []
        yield from [(block, keys, orders)] if keys else self._checked(block, header, orders)

    def _good_keys(self, block: Sequence[Record], header: Header, columns: Columns) -> list[str]:
        """The keys of rows; none if something may be wrong with a row."""
        keys: list[str] = []
        if self._key_field:
            keys = [str(key or "") for key in columns[""].get(self._key_field, ())]
        elif header.key is not None:
            keys = [str(header.key(record.cells).strip()) for record in block]
        text = "".join(keys)
        is_plain = all(keys) and text.isascii() and text.isprintable() and "+" not in text
        is_plain = is_plain and "+" not in "".join(filter(None, columns[""].get(INVOICE, ())))
        is_plain = is_plain and self._items is None and header.status is None and not self._table.bad
        return keys if is_plain and self._are_good(columns) else []

    def _checked(self, block: Sequence[Record], header: Header, orders: Sequence[Any]) -> Iterator[_Good]:
        """The good ones of rows, one by one; what is wrong with the others is reported."""
        table = self._table
        for record, made in zip(block, orders or repeat(None), strict=False):
            self.line = record.line
            table.turn_to(record)
            order = self._order(record, header, made)
            key = self._key(record, header, order)
            if order is not None and key and not table.bad:
                yield [record], [key], [order]
            elif key and self.faulty is not None:
                self.faulty(record.line, key)

    def _order(self, record: Record, header: Header, order: Any) -> Any:
        """The candidate of a row's order, or ``order`` if it has all fields; None, with faults, if one is missing."""
        missing: list[str] = []
        try:
            order = order or header.make([record.cells], self._table.grid.strip)[0][0]
        except ValueError:  # a field is missing or wrong: this way finds all of them
            order = candidate_of(Order)(**self._table.values())
            missing, findings = self._check(order)
        else:
            findings = self._findings(order)
        for finding in findings:
            self._table.add(finding)
        if order.invoice_number and self._key_field != INVOICE and shortened_by_spreadsheet(order.invoice_number):
            self._table.wrong(INVOICE, Coded(SHORTENED, "E607"))
        if order.tracking_id is None:
            self._nameless |= ITEM_KEY in self._table.bad or self._joined_by_key
        elif self._items is not None:
            if not self._joined_by_key and self._items.has_taken(order.tracking_id):
                self._table.wrong(ITEM_KEY, Coded(TAKEN, "E230"))
                self.report.whole = True  # without this row, the first order would have the items of both
            order.items = self._items.take(order.tracking_id)
            if self.faulty is not None and (where := self._items.fault_of(order.tracking_id)):
                self._table.wrong(ITEM_KEY, Coded(f"an item of this order has faults: {where}", "E236"))
        return None if missing else order

    def _key(self, record: Record, header: Header, order: Any) -> str | None:
        place, table = header.key_place, self._table
        if header.status is not None:
            self._check_status(header.status, record.cells[header.status].strip())
        if header.key is None:
            return None
        # The text of a field after the rules of the map, which is the text that is sent.
        own = order is not None and self._key_field
        key = (getattr(order, self._key_field) or "") if own else header.key(record.cells).strip()
        try:
            if not key:
                raise Misread("is empty, but it is the order's key", "E229")
            check_key(key)
        except ValueError as error:
            if place is None:
                table.wrong(self._key_field, Coded(error))
            else:
                table.wrong_cell(place, Coded(error))
        return str(key)

    def _check_status(self, place: int, status: str) -> None:
        """Refuse an order that an earlier push has left in doubt, or with a fault that its cells do not show."""
        if status == IN_DOUBT:
            self._table.wrong_cell(place, Coded(MAY_EXIST, "E606"))
        elif status == INCOMPLETE:
            self._table.partial = True
            self._table.wrong_cell(place, Coded(NOT_MENDED, "E239"))

    def _check_result_files(self, rows: int) -> None:
        """Report a map that would misread the numbers of the result files, if these cannot have types."""
        if not self._map.numbers or self.form.is_text or not Form.of_types(rows).is_text:
            return
        from gotsurge_async.tables.maps.rules import misreads_digits  # few maps have any

        if misreads_digits(self._map.numbers.values()):
            self._table.add_fault(Coded(TOO_MANY if rows > MOST_ROWS else WITHOUT_BOOKS, "E241"))

    def _report_orphans(self) -> None:
        """Report items without an order, unless the tracking id of an order could not be read.

        If rows are left out, the items are reported even then, because they may belong to an order that would be sent.
        A file that an earlier push wrote has only some of the orders of its items file, but not none of them.
        """
        header = self._table.header
        if self._items is None or header is None or ITEM_KEY not in header.places:
            return
        leaving = self.faulty is not None
        if header.written_by_a_push:
            if (leaving or self.report.ok) and self.line and self._items.are_unused():
                rule = (
                    f"{self.name} has no order with a tracking_id of this file: correct them, or push without the items"
                )
                self._items.add_fault(Coded(rule, "E230"))
                self.report.whole = True
        elif leaving or not (self._table.lost or self._nameless):
            self._items.report_orphans(self.name, also_faulty=leaving)


# --- items of a second table -----------------------------------------------------------------------------------------

_BLOCK = 1_000
_CREATE = """
CREATE TABLE items (id INTEGER PRIMARY KEY, tracking_id TEXT, line INTEGER, count INTEGER, items BLOB);
CREATE TABLE faulty (tracking_id TEXT PRIMARY KEY, line INTEGER, taken INTEGER) WITHOUT ROWID;
"""
_INSERT = "INSERT INTO items (tracking_id, line, count, items) VALUES (?, ?, ?, ?)"
_INSERT_FAULTY = "INSERT OR IGNORE INTO faulty VALUES (?, ?, 0)"
_TAKE_FAULTY = "UPDATE faulty SET taken = 1 WHERE tracking_id = ? RETURNING line"
_FIND = "SELECT id, items FROM items WHERE tracking_id = ? ORDER BY id"


class _Items:
    """The items of a file: `load` them, `take` those of each order, and `report_orphans` at the end."""

    def __init__(self, grid: Grid, options: SourceOptions, report: SourceReport) -> None:
        reading = Reading(ItemRow, options.file_map.items, options.items_dialect(), ITEM_KEY, options)
        self._table = Table(str(options.items), grid, reading, report)
        # Blocks of rows may be read on different threads, but never at the same time.
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.executescript(_CREATE)
        self._report = report
        self._any_faulty = False
        self._taken = bytearray()

    @property
    def columns(self) -> tuple[str, ...]:
        """The header, after the file was read."""
        return () if self._table.header is None else self._table.header.names

    def load(self) -> str:
        """Read the whole file, whose faults go to the report; returns the SHA-256 of its bytes, in hex."""
        with waiting_aside():
            self._db.execute("BEGIN")
            self._db.executemany(_INSERT, self._runs())
            self._db.execute("CREATE INDEX by_tracking_id ON items (tracking_id)")
            self._db.execute("COMMIT")
        # The order of a row that cannot be read is not known.
        self._report.whole = self._report.whole or self._table.lost > 0
        count = self._db.execute("SELECT count(*) FROM items").fetchone()[0]
        # One byte for each order that has items: little memory, and far faster than a table.
        self._taken = bytearray(count + 1)
        sha256: str = self._table.grid.digest.hexdigest()
        return sha256

    def take(self, tracking_id: str) -> msgspec.Raw | None:
        """The items of an order as JSON text, in the order of the file; None if there are none."""
        rows = self._db.execute(_FIND, (tracking_id,)).fetchall()
        for number, _ in rows:
            self._taken[number] = 1
        return msgspec.Raw(b"[" + b",".join(items for _, items in rows) + b"]") if rows else None

    def has_taken(self, tracking_id: str) -> bool:
        """Whether an order with this tracking id has taken its items."""
        return any(self._taken[number] for number, _ in self._db.execute(_FIND, (tracking_id,)))

    def fault_of(self, tracking_id: str) -> str | None:
        """File and line of an order's faulty item, which `take` leaves out; None if there is none."""
        if not self._any_faulty:
            return None
        rows = self._db.execute(_TAKE_FAULTY, (tracking_id,)).fetchall()
        return f"{self._table.name}:{rows[0][0]}" if rows else None

    def are_unused(self) -> bool:
        """Whether there are items, but no order has taken one."""
        (faulty,) = self._db.execute("SELECT count(*) FROM faulty WHERE taken").fetchone()
        return len(self._taken) > 1 and not faulty and not any(self._taken)

    def add_fault(self, rule: str) -> None:
        """Report a fault of all tracking ids."""
        self._table.add_fault(rule, column=self._column())

    def report_orphans(self, orders: str, *, also_faulty: bool) -> None:
        """Report the items that no order of the file ``orders`` has taken."""
        column = self._column()
        rows = self._db.execute("SELECT id, tracking_id, line, count FROM items")
        orphans = (rest for number, *rest in rows if not self._taken[number])
        faulty = self._db.execute("SELECT tracking_id, line, 1 FROM faulty WHERE NOT taken") if also_faulty else ()
        for tracking_id, line, count in itertools.chain(orphans, faulty):
            more = "" if count == 1 else f" ({count} items from this line on)"
            rule = Coded(f"{orders} has no order with this tracking_id{more}", "E230")
            self._table.add_fault(rule, line=line, column=column, value=tracking_id)

    def close(self) -> None:
        """Delete the items."""
        self._table.grid.close()
        self._db.close()

    def _column(self) -> str:
        header = self._table.header
        return header.column_of(ITEM_KEY) if header else ITEM_KEY

    def _runs(self) -> Iterator[tuple[str, int, int, bytes]]:
        """Successive items of one order as one row, so that one query finds them.

        Each row has the tracking id, the first line, the number of items, and their JSON text between commas.
        """
        for tracking_id, run in itertools.groupby(self._items(), key=itemgetter(0)):
            while some := list(itertools.islice(run, _BLOCK)):
                yield tracking_id, some[0][1], len(some), b",".join(item for _, _, item in some)

    def _items(self) -> Iterator[tuple[str, int, bytes]]:
        """The tracking id, the line and the JSON text of each item without a fault."""
        table, make = self._table, candidate_of(Item)
        for row in table.rows():
            if table.header is None or not table.header.complete:
                continue
            values = table.values()
            tracking_id = values.pop(ITEM_KEY, None)
            if not values and not table.bad:
                table.wrong(ITEM_KEY, Coded("this row has no details of the item", "E230"))
            item = make(**values)
            check_item(item, table.add)
            if not table.bad:
                yield tracking_id, row.line, encode(item)
            elif tracking_id is None:
                self._report.whole = True
            else:
                self._any_faulty = True
                self._db.execute(_INSERT_FAULTY, (tracking_id, row.line))
