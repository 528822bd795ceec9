"""A file with faults of which the good rows are taken all the same: those with faults are left out, and kept apart."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice

from gotsurge_async.bulk.checks.faults import Fault, Original, SourceReport
from gotsurge_async.bulk.sources.cells import decode_row
from gotsurge_async.bulk.sources.source import Around, Left, Source, SourceRow
from gotsurge_async.errors import ConfigError

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


@contextmanager
def waiting_aside() -> Iterator[None]:
    """Around what fills a temporary database of SQLite: where there is no room for it, that is told.

    Raises:
        ConfigError: the folder of temporary files is full, or cannot be written.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        raise ConfigError(
            f"the rows have no room in the folder of temporary files: free some, or name another by TMPDIR ({error})"
        ) from None


class Leaving(Around):
    """The good rows of another source.

    That is read to its end first, for a fault in the last line may be of the whole file: then it is refused as it is.
    So it is where no row is good. Of rows with one key none is taken: which of them is meant, nobody knows. The good
    rows wait in a temporary database (as those of `items`), so that memory stays flat.

    Args:
        keep: puts the rows that are left out where they stay, before the first good one is given: nothing may be sent
            that would let them be forgotten. It is told how many there are.
    """

    def __init__(self, source: Source, keep: Callable[[int], Left]) -> None:
        super().__init__(source)
        self._keep = keep
        self._rows_left = 0
        self._line: int | None = None
        self._told = source.report.told
        source.report.told = self._count
        source.faulty = self._note
        # Blocks of rows may be read on one thread after another, never on two at once.
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.executescript(_CREATE)

    def rows(self) -> Iterator[SourceRow]:
        """See `Source.rows`."""
        rows = self._source.rows()
        with waiting_aside():
            self._db.execute("BEGIN")
            while block := list(islice(rows, _BLOCK)):
                self._db.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?)", block)
            self._db.execute("COMMIT")
            if not self._source.report.whole:
                self._leave_doubled()
        self._follow()
        if self.report.fault_count:
            (good,) = self._db.execute("SELECT count(*) FROM rows").fetchone()
            if self.report.whole or not good:
                return
            self.left: Left | None = self._keep(self._rows_left)
            self.report: SourceReport = self.report.without_faults()
        for row in self._db.execute("SELECT line, key, payload, original, fingerprint FROM rows ORDER BY rowid"):
            yield SourceRow(*row)

    def close(self) -> None:
        """See `Source.close`."""
        self._db.close()
        super().close()

    def _note(self, line: int, key: str) -> None:
        self._db.execute("INSERT INTO faulty VALUES (?, ?)", (line, key))

    def _count(self, fault: Fault, original: Original | None) -> None:
        if original is not None and fault.file == self.name and fault.line != self._line:
            self._line = fault.line
            self._rows_left += 1
        if self._told is not None:
            self._told(fault, original)

    def _leave_doubled(self) -> None:
        self._db.executescript(_DOUBLED)
        source, columns = self._source, self._source.columns
        found = "SELECT line, key, original, other FROM rows JOIN doubled ON rows.rowid = id ORDER BY id"
        for line, key, original, other in self._db.execute(found):
            row = Original(original) if columns is None else Original(decode_row(original), columns)
            rule = f"this key stands in line {other} too: one order, one key"
            source.report.add(Fault(file=self.name, line=line, value=key, rule=rule), row)
        self._db.execute("DELETE FROM rows WHERE rowid IN (SELECT id FROM doubled)")
