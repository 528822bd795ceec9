"""Locks of runs: at most one process holds a run.

Next to a file: a lock on a file of its own, which the system frees when its process dies, however it dies. In
PostgreSQL: a lease in the run's row, by the server's clock, which its holder renews; another machine's process may be
dead, or only slow. The safety of an order rests on
neither: what a holder writes after it has lost its run is refused by the epoch of the run, and by those of its claims.
"""

import asyncio
import os
import socket
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

try:
    from filelock import FileLock, Timeout
except ModuleNotFoundError:
    raise ModuleNotFoundError('a ledger needs filelock: pip install "gotsurge-async[cli]"', name="filelock") from None

from gotsurge_async.database import Database
from gotsurge_async.ledger.errors import LedgerBusy, LedgerError, LedgerUnusable
from gotsurge_async.ledger.sql.databases import translated
from gotsurge_async.ledger.states import Holder

if TYPE_CHECKING:
    from gotsurge_async.database.writer import Writer

POLL_SECONDS = 0.02
"""Seconds between two tries to get a lock."""

LEASE_SECONDS = 60.0
"""Seconds that a run in PostgreSQL stays with a holder that shows no sign of life.

The lease is renewed after a fifth of that time; the rest is longer than a claim may be sent after it was made, see
`push.chunks`. So a holder that stood still may send nothing any more when another one has its run.
"""


# --- beside a file ----------------------------------------------------------------------------------------------------


class FileRunLock:
    """A run that this process holds by a lock on a file."""

    def __init__(self, lock: FileLock, path: Path) -> None:
        self._lock = lock
        self._path = path
        self.held: bool = True
        """Whether it is still held."""

    def hold(self, db: Database, epoch: int) -> None:
        """Write nothing, because the lock is on a file."""

    def keep(self) -> None:
        """Renew nothing, because the system keeps the lock."""

    def release(self) -> None:
        """Release the run; does nothing when it was released before."""
        if not self.held:
            return
        self.held = False
        # Removed while it is held: whoever opened the file meanwhile locks one without a name, notices, and
        # opens anew. Where a held file cannot be removed (Windows) it stays.
        with suppress(OSError):
            self._path.unlink()
        self._lock.release()


class FileRunLocks:
    """The locks of a ledger's runs: ``<ledger path>.<run id>.lock``, next to the file itself.

    Symbolic links and relative paths lead to the same locks. A file with two names that are both its own is refused
    when a ledger is opened.
    """

    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger.resolve()

    def take(self, db: Database, run_id: str, *, wait: float = 0.0, epoch: int | None = None) -> FileRunLock | None:
        """Take a run, in a transaction; None if it has a holder, even this process, after ``wait`` seconds.

        The lock of a file is released with the run, so that no ``epoch`` is needed, see `Leases.take`. LedgerUnusable
        if it cannot be made.
        """
        path = self._file(run_id)
        lock = FileLock(path, mode=0o600, thread_local=False)
        with translated(path):
            # Once more, for the case that the first try met a file that its holder was just removing.
            for _ in range(2):
                with suppress(Timeout):
                    lock.acquire(timeout=wait, poll_interval=POLL_SECONDS)
                    return FileRunLock(lock, path)
        return None

    def is_held(self, db: Database, run_id: str) -> bool:
        """Whether a living process, this one included, holds a run. Nothing is written, so many may ask."""
        path = self._file(run_id)
        try:
            import fcntl
        except ImportError:  # where there is no flock, a lock is seen only by trying to take it
            try:
                lock = self.take(db, run_id)
            except LedgerUnusable:
                return path.exists()
            if lock is not None:
                lock.release()
            return lock is None
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        except OSError:  # it exists, and this process may not read it
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _file(self, run_id: str) -> Path:
        return self._ledger.with_name(f"{self._ledger.name}.{run_id}.lock")


# --- in PostgreSQL ----------------------------------------------------------------------------------------------------


class Lease:
    """A run that this process holds by a lease of ``seconds``, renewed until released or taken by another process."""

    def __init__(self, run_id: str, leases: "Leases", seconds: float | None = None) -> None:
        self.seconds: float = LEASE_SECONDS if seconds is None else seconds
        self._run_id = run_id
        self._leases = leases
        self._epoch = 0
        self._held = True
        self._renewing: asyncio.Task[None] | None = None

    @property
    def held(self) -> bool:
        """Whether this process still holds the lease."""
        return self._held

    def hold(self, db: Database, epoch: int) -> None:
        """Write the lease in the transaction that takes the run under an epoch."""
        self._epoch = epoch
        if self._held:  # else the caller was cancelled meanwhile
            self._renew(db)

    def keep(self) -> None:
        """Renew the lease in the event loop."""
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._keep_on(), name=f"gotsurge-ledger-lease-{self._run_id}")
            self._leases.renewing.add(self._renewing)
            self._renewing.add_done_callback(self._leases.renewing.discard)

    def release(self) -> None:
        """Stop renewing: the run is free when the lease ends, or when the holder's last write leaves the run."""
        self._held = False
        if self._renewing is not None:
            self._renewing.cancel()

    def _renew(self, db: Database) -> int:
        return db.change("lease_run", id=self._run_id, epoch=self._epoch, lease=int(self.seconds * 1e6))

    async def _keep_on(self) -> None:
        while self._held:
            await asyncio.sleep(self.seconds / 5)
            writer = self._leases.writer
            try:
                if writer is None or not await writer.run(self._renew):
                    return  # another process has it now
            except LedgerBusy:
                continue
            except LedgerError:  # the holder of the run writes too, and gets the error
                return


class SegmentLease(Lease):
    """A segment of a run that this worker holds; it stays with a worker without a sign of life for ``seconds``."""

    def __init__(self, run_id: str, run: int, segment: int, leases: "Leases", seconds: float) -> None:
        super().__init__(f"{run_id}-{segment}", leases, seconds)
        self._run = run
        self._segment = segment

    def take(self, epoch: int) -> None:
        """Remember the epoch under which the segment was taken, by the write that also leased it."""
        self._epoch = epoch

    def _renew(self, db: Database) -> int:
        lease = int(self.seconds * 1e6)
        return db.change("lease_segment", run=self._run, number=self._segment, epoch=self._epoch, lease=lease)


class Leases:
    """The leases of a ledger's runs."""

    def __init__(self) -> None:
        self.writer: Writer | None = None
        self.renewing: set[asyncio.Task[None]] = set()

    def end(self) -> None:
        """Stop renewing all leases."""
        for task in self.renewing:
            task.cancel()

    def take(self, db: Database, run_id: str, *, wait: float = 0.0, epoch: int | None = None) -> Lease | None:
        """Take a run, in a transaction; None if it has a holder, even this process.

        Args:
            epoch: under which this process held it before, over a connection that is lost. While it is the run's epoch
                the lease is this process's own, and what may still be written over that connection is refused
                from now on.
        """
        # The row stays locked until the transaction ends: no other process can take it meanwhile, nor its holder write.
        # A locked row is being written to, and so has a holder; waiting for it could deadlock. No segment of it can be
        # taken meanwhile either, so whether one is leased is asked after the lock.
        mine = -1 if epoch is None else epoch
        values = {"id": run_id, "mine": mine}
        free = db.rows("take_free_run", **values) == [(True,)] and db.rows("is_free", **values) == [(True,)]
        return Lease(run_id, self) if free else None

    def is_held(self, db: Database, run_id: str) -> bool:
        """Whether a living process, this one included, holds a run, or a process that died less than a lease ago."""
        return db.rows("is_free", id=run_id, mine=-1) == [(False,)]


RunLock: TypeAlias = FileRunLock | Lease
RunLocks: TypeAlias = FileRunLocks | Leases
"""The locks of one ledger's runs."""


def this_process(now: datetime) -> Holder:
    """A holder that describes this process."""
    return Holder(pid=os.getpid(), host=socket.gethostname(), since=now)
