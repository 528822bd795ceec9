"""Who has a run: a lock on a file beside the ledger, which the system frees when its process dies, however it dies."""

import os
import socket
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from gotsurge_async.bulk.ledger.errors import LedgerUnusable
from gotsurge_async.bulk.ledger.sql.sqlite import translated
from gotsurge_async.bulk.ledger.states import Holder

POLL_SECONDS = 0.02
"""How often a lock that is waited for is tried."""


class RunLock:
    """A run in this process's hands, until ``release``."""

    def __init__(self, lock: FileLock, path: Path) -> None:
        self._lock = lock
        self._path = path

    @property
    def held(self) -> bool:
        """Whether it is still held."""
        return self._lock.is_locked

    def release(self) -> None:
        """Let another have the run; does nothing when it was released before."""
        if not self._lock.is_locked:
            return
        # Removed while it is held: whoever opened the file meanwhile locks one without a name, notices, and
        # opens anew. Where a held file cannot be removed (Windows) it stays.
        with suppress(OSError):
            self._path.unlink()
        self._lock.release()


class RunLocks:
    """The locks of one ledger's runs: ``<ledger path>.<run id>.lock``, beside the file itself.

    Args:
        ledger: resolved, so that symbolic links and relative paths lead to the same locks. A file with two names that
            are both its own is refused when a ledger is opened (`sqlite.refuse_second_name`).
    """

    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger

    def take(self, run_id: str, *, wait: float = 0.0) -> RunLock | None:
        """Take a run; None when somebody has it for more than ``wait`` seconds, be it this process.

        Raises:
            LedgerUnusable: the lock file cannot be made.
        """
        path = self._file(run_id)
        lock = FileLock(path, mode=0o600, thread_local=False)
        with translated(path):
            # Once more, for the case that the first try met a file that its holder was just removing.
            for _ in range(2):
                with suppress(Timeout):
                    lock.acquire(timeout=wait, poll_interval=POLL_SECONDS)
                    return RunLock(lock, path)
        return None

    def is_held(self, run_id: str) -> bool:
        """Whether a living process, this one included, has a run. Nothing is made, and all may look at once."""
        path = self._file(run_id)
        try:
            import fcntl
        except ImportError:  # where there is no flock, a lock is seen only by trying to take it
            try:
                lock = self.take(run_id)
            except LedgerUnusable:
                return path.exists()
            if lock is not None:
                lock.release()
            return lock is None
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        except OSError:  # it is there, and not for us to look into
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


def this_process(now: datetime) -> Holder:
    """The holder that this process is."""
    return Holder(pid=os.getpid(), host=socket.gethostname(), since=now)
