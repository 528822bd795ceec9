"""The items of a second file, found by tracking id, in flat memory.

They wait in a temporary SQLite database: one that SQLite makes itself, readable only by us (mode 0600), on disk once
it outgrows a small cache, and without a name in the file system from the start, so that nothing stays behind.
"""

import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import msgspec

from gotsurge_async import codec
from gotsurge_async.bulk.checks.rules import Finding, check_item
from gotsurge_async.bulk.sources.base import encode_plain
from gotsurge_async.bulk.sources.fields import ITEM_KEY
from gotsurge_async.bulk.sources.layout import Reading
from gotsurge_async.bulk.sources.report import SourceReport
from gotsurge_async.bulk.sources.table import Table
from gotsurge_async.models.tasks import Item

_BLOCK = 1_000
_TABLE = "CREATE TABLE items (id INTEGER PRIMARY KEY, tracking_id TEXT, line INTEGER, count INTEGER, items BLOB)"
_FIND = "SELECT id, items FROM items WHERE tracking_id = ? ORDER BY id"

_NOTHING = b"{}"
NO_ITEMS = b"[]"
"""What `ItemStore.take_text` gives for an order without items."""

_items = msgspec.json.Decoder(tuple[Item, ...])


class _Run(NamedTuple):
    """Items of one order that follow each other in the file."""

    tracking_id: str
    line: int
    many: int
    items: bytes


class ItemStore:
    """Holds the items of a file; `load` them, `take` those of each order, and `tell_orphans` at the end."""

    def __init__(self, path: Path, stream: BinaryIO, delimiter: str, reading: Reading, report: SourceReport) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self._loaded = False
        self._table = Table(str(path), stream, self._digest, delimiter, reading, report)
        # Blocks of rows may be read on one thread after another, never on two at once.
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.execute(_TABLE)
        self._taken = bytearray()

    @property
    def sha256(self) -> str | None:
        """The SHA-256 of the file's bytes, in hex; None until it is loaded."""
        return self._digest.hexdigest() if self._loaded else None

    def load(self) -> None:
        """Read the whole file; what is wrong with it goes to the report."""
        self._db.execute("BEGIN")
        block: list[_Run] = []
        for run in self._runs():
            block.append(run)
            if len(block) == _BLOCK:
                self._insert(block)
                block.clear()
        self._insert(block)
        self._db.execute("CREATE INDEX by_tracking_id ON items (tracking_id)")
        self._db.execute("COMMIT")
        count = self._db.execute("SELECT count(*) FROM items").fetchone()[0]
        # One byte for each order that has items: small beside everything else, and far faster than a table.
        self._taken = bytearray(count + 1)
        self._loaded = True

    def take(self, tracking_id: str) -> tuple[Item, ...]:
        """The items of an order, in the order of the file."""
        return _items.decode(self.take_text(tracking_id))

    def take_text(self, tracking_id: str) -> bytes:
        """The same as JSON text."""
        rows = self._db.execute(_FIND, (tracking_id,)).fetchall()
        for number, _ in rows:
            self._taken[number] = 1
        if len(rows) == 1:
            return cast("bytes", rows[0][1])
        return b"[" + b",".join(items[1:-1] for _, items in rows) + b"]"

    def tell_orphans(self, orders: str) -> None:
        """Report the items that no order of the file ``orders`` has taken.

        When rows of the items file were unreadable that changes nothing; but when orders were, do not ask.
        """
        layout = self._table.layout
        column = layout.names[layout.index[ITEM_KEY]] if layout and ITEM_KEY in layout.index else ITEM_KEY
        for number, tracking_id, line, count in self._db.execute("SELECT id, tracking_id, line, count FROM items"):
            if not self._taken[number]:
                more = "" if count == 1 else f" ({count} items from this line on)"
                self._table.tell(line, column, tracking_id, f"{orders} has no order with this tracking_id{more}")

    def close(self) -> None:
        """Forget the items, and close the file."""
        self._db.close()
        self._stream.close()

    def _insert(self, runs: list[_Run]) -> None:
        self._db.executemany("INSERT INTO items (tracking_id, line, count, items) VALUES (?, ?, ?, ?)", runs)

    def _runs(self) -> Iterator[_Run]:
        """The items, those that follow each other for one order taken together: one look-up then finds them."""
        tracking_id, line = "", 0
        items: list[bytes] = []
        for row in self._table.rows():
            found = self._quick_item() or self._careful_item()
            if found is None:
                continue
            its_order, item = found
            if items and (its_order != tracking_id or len(items) == _BLOCK):
                yield _run(tracking_id, line, items)
                items.clear()
            if not items:
                tracking_id, line = its_order, row.line
            items.append(item)
        if items:
            yield _run(tracking_id, line, items)

    def _quick_item(self) -> tuple[str, bytes] | None:
        """The tracking id and the item of the current row in the fast way; None if it is not plainly right."""
        found = self._table.quick()
        if found is None:
            return None
        wrong: list[Finding] = []
        check_item(found[1], wrong.append)
        item = encode_plain(found[1])
        return None if wrong or item == _NOTHING else (found[0], item)

    def _careful_item(self) -> tuple[str, bytes] | None:
        table, layout = self._table, self._table.layout
        if layout is None or not layout.complete:
            return None
        values = table.values()
        tracking_id = values.pop(ITEM_KEY, None)
        if tracking_id is None:
            table.wrong(ITEM_KEY, "is required: it says whose item this is")
        elif not values and not table.bad:
            table.wrong(ITEM_KEY, "this row says nothing of the item")
        item = Item(**values)
        check_item(item, lambda finding: table.wrong(finding.path, finding.message, finding.severity, finding.value))
        return None if table.bad or tracking_id is None else (tracking_id, codec.encode(item))


def _run(tracking_id: str, line: int, items: list[bytes]) -> _Run:
    return _Run(tracking_id, line, len(items), b"[" + b",".join(items) + b"]")
