"""The good rows of a file with faults; faulty rows are left out."""

import sqlite3
from collections.abc import Callable, Iterator
from itertools import islice

from msgspec import structs

from gotsurge_async.errors import Coded
from gotsurge_async.tables.cells import decode_row
from gotsurge_async.tables.checks.faults import Fault, Original, SourceReport
from gotsurge_async.tables.source import Around, Left, Source, SourceRow, waiting_aside

_BLOCK = 1_000
_CREATE = """
CREATE TABLE rows (line INTEGER, key TEXT, payload BLOB, original BLOB, fingerprint BLOB);
CREATE TABLE faulty (line INTEGER, key TEXT);
"""
_DOUBLED = """
CREATE INDEX rows_by_key ON rows (key);
CREATE INDEX faulty_by_key ON faulty (key);
CREATE TABLE doubled AS SELECT rowid AS id, (
    SELECT min(line) FROM (
        SELECT line FROM rows AS other WHERE other.key = rows.key AND other.rowid != rows.rowid
        UNION ALL SELECT line FROM faulty WHERE faulty.key = rows.key
    )
) AS other FROM rows WHERE other IS NOT NULL;
"""


class Leaving(Around):
    """The good rows of another source.

    The other source is read to its end first, since a fault of the whole file may be in its last line: such a file is
    refused, and so is one without a good row. Rows that have the same key are all left out, since only the user knows
    which one is right. The good rows wait in a temporary database, so that memory stays flat.

    Args:
        keep: stores the rows that are left out; called with their number before the first good row is returned, so
            that they are on the disk before anything is sent.
    """

    def __init__(self, source: Source, keep: Callable[[int], Left]) -> None:
        super().__init__(source)
        self._keep = keep
        self._rows_left = 0
        self._line: int | None = None
        self._listener = source.report.on_fault
        source.report.on_fault = self._count
        source.faulty = self._note
        # Blocks of rows may be read on different threads, but never at the same time.
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.executescript(_CREATE)

    def rows(self) -> Iterator[SourceRow]:
        """Yield the rows, see `Source.rows`."""
        rows = self._source.rows()
        with waiting_aside():
            self._db.execute("BEGIN")
            while block := list(islice(rows, _BLOCK)):
                self._db.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?)", map(structs.astuple, block))
            self._db.execute("COMMIT")
            if not self._source.report.whole:
                self._leave_doubled()
        if self.report.fault_count:
            (good,) = self._db.execute("SELECT count(*) FROM rows").fetchone()
            if self.report.whole or not good:
                return
            self.left: Left | None = self._keep(self._rows_left)
            self.report: SourceReport = self.report.without_faults()
        for row in self._db.execute("SELECT line, key, payload, original, fingerprint FROM rows ORDER BY rowid"):
            yield SourceRow(*row)

    def close(self) -> None:
        """Close both sources, see `Source.close`."""
        self._db.close()
        super().close()

    def _note(self, line: int, key: str) -> None:
        self._db.execute("INSERT INTO faulty VALUES (?, ?)", (line, key))

    def _count(self, fault: Fault, original: Original | None) -> None:
        if original is not None and fault.file == self.name and fault.line != self._line:
            self._line = fault.line
            self._rows_left += 1
        if self._listener is not None:
            self._listener(fault, original)

    def _leave_doubled(self) -> None:
        self._db.executescript(_DOUBLED)
        source, columns = self._source, self._source.columns
        doubled = "SELECT line, key, original, other FROM rows JOIN doubled ON rows.rowid = id ORDER BY id"
        for line, key, original, other in self._db.execute(doubled):
            row = Original(original) if columns is None else Original(decode_row(original), columns)
            rule = Coded(f"this key is also in line {other}: each order needs its own key", "E229")
            source.report.add(Fault(file=self.name, line=line, value=key, rule=rule), row)
        self._db.execute("DELETE FROM rows WHERE rowid IN (SELECT id FROM doubled)")
