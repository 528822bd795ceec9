"""The items of a second file, found by tracking id, in flat memory.

They wait in a temporary SQLite database: one that SQLite makes itself, readable only by us (mode 0600), on disk once
it outgrows a small cache, and without a name in the file system from the start, so that nothing stays behind.
"""

import itertools
import sqlite3
from collections.abc import Iterator
from operator import itemgetter

import msgspec

from gotsurge_async.bulk.checks.faults import SourceReport
from gotsurge_async.bulk.sources.fields import ITEM_KEY, ItemRow, candidate_of
from gotsurge_async.bulk.sources.header import Reading
from gotsurge_async.bulk.sources.leaving import waiting_aside
from gotsurge_async.bulk.sources.lines import Grid
from gotsurge_async.bulk.sources.options import SourceOptions
from gotsurge_async.bulk.sources.source import encode
from gotsurge_async.bulk.sources.table import Table
from gotsurge_async.models.rules import check_item
from gotsurge_async.models.tasks import Item

_BLOCK = 1_000
_CREATE = "CREATE TABLE items (id INTEGER PRIMARY KEY, tracking_id TEXT, line INTEGER, count INTEGER, items BLOB)"
_INSERT = "INSERT INTO items (tracking_id, line, count, items) VALUES (?, ?, ?, ?)"
_CREATE_FAULTY = "CREATE TABLE faulty (tracking_id TEXT PRIMARY KEY, line INTEGER, taken INTEGER) WITHOUT ROWID"
_INSERT_FAULTY = "INSERT OR IGNORE INTO faulty VALUES (?, ?, 0)"
_TAKE_FAULTY = "UPDATE faulty SET taken = 1 WHERE tracking_id = ? RETURNING line"
_FIND = "SELECT id, items FROM items WHERE tracking_id = ? ORDER BY id"


class ItemStore:
    """Holds the items of a file; `load` them, `take` those of each order, and `tell_orphans` at the end."""

    def __init__(self, grid: Grid, options: SourceOptions, report: SourceReport) -> None:
        self._loaded = False
        reading = Reading(ItemRow, options.file_map.items, options.items_dialect(), ITEM_KEY, options)
        self._table = Table(str(options.items), grid, reading, report)
        # Blocks of rows may be read on one thread after another, never on two at once.
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.execute(_CREATE)
        self._db.execute(_CREATE_FAULTY)
        self._report = report
        self._any_faulty = False
        self._taken = bytearray()

    @property
    def sha256(self) -> str | None:
        """The SHA-256 of the file's bytes, in hex; None until it is loaded."""
        return self._table.grid.digest.hexdigest() if self._loaded else None

    def load(self) -> None:
        """Read the whole file; what is wrong with it goes to the report."""
        with waiting_aside():
            self._db.execute("BEGIN")
            self._db.executemany(_INSERT, self._runs())
            self._db.execute("CREATE INDEX by_tracking_id ON items (tracking_id)")
            self._db.execute("COMMIT")
        # Of a row that cannot be read nobody knows which order it belongs to.
        self._report.whole = self._report.whole or self._table.lost > 0
        count = self._db.execute("SELECT count(*) FROM items").fetchone()[0]
        # One byte for each order that has items: small beside everything else, and far faster than a table.
        self._taken = bytearray(count + 1)
        self._loaded = True

    def take(self, tracking_id: str) -> msgspec.Raw | None:
        """The items of an order as JSON text, in the order of the file; None if there are none."""
        rows = self._db.execute(_FIND, (tracking_id,)).fetchall()
        for number, _ in rows:
            self._taken[number] = 1
        return msgspec.Raw(b"[" + b",".join(items for _, items in rows) + b"]") if rows else None

    def fault_of(self, tracking_id: str) -> str | None:
        """Where an item with faults of an order stands, which `take` does not give; None where it has none."""
        if not self._any_faulty:
            return None
        found = self._db.execute(_TAKE_FAULTY, (tracking_id,)).fetchall()
        return f"{self._table.name}:{found[0][0]}" if found else None

    def tell_orphans(self, orders: str, *, also_faulty: bool = False) -> None:
        """Report the items that no order of the file ``orders`` has taken, ``also_faulty`` ones if that is wanted.

        When rows of the items file were unreadable that changes nothing; but when orders were, do not ask.
        """
        header = self._table.header
        column = header.column_of(ITEM_KEY) if header else ITEM_KEY
        found = self._db.execute("SELECT id, tracking_id, line, count FROM items")
        orphans = (rest for number, *rest in found if not self._taken[number])
        faulty = self._db.execute("SELECT tracking_id, line, 1 FROM faulty WHERE NOT taken") if also_faulty else ()
        for tracking_id, line, count in itertools.chain(orphans, faulty):
            more = "" if count == 1 else f" ({count} items from this line on)"
            self._table.tell(line, column, tracking_id, f"{orders} has no order with this tracking_id{more}")

    def close(self) -> None:
        """Forget the items."""
        self._db.close()

    def _runs(self) -> Iterator[tuple[str, int, int, bytes]]:
        """The items, those that follow each other for one order taken together: one look-up then finds them.

        Each with its tracking id, its first line, how many items it has, and these as JSON text between commas.
        """
        for tracking_id, run in itertools.groupby(self._items(), key=itemgetter(0)):
            while some := list(itertools.islice(run, _BLOCK)):
                yield tracking_id, some[0][1], len(some), b",".join(item for _, _, item in some)

    def _items(self) -> Iterator[tuple[str, int, bytes]]:
        """The tracking id, the line and the JSON text of each item; what is wrong with one is told."""
        table, make = self._table, candidate_of(Item)
        for row in table.rows():
            if table.header is None or not table.header.complete:
                continue
            values = table.values()
            tracking_id = values.pop(ITEM_KEY, None)
            if not values and not table.bad:
                table.wrong(ITEM_KEY, "this row says nothing of the item")
            item = make(**values)
            check_item(item, table.found)
            if not table.bad:
                yield tracking_id, row.line, encode(item)
            elif tracking_id is None:
                self._report.whole = True
            else:
                self._any_faulty = True
                self._db.execute(_INSERT_FAULTY, (tracking_id, row.line))
