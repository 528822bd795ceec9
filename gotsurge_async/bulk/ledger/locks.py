"""Who has a run: a lock on a file beside the ledger, which the system frees when its process dies, however it dies."""

import os
import socket
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from gotsurge_async.bulk.ledger.sql.sqlite import translated
from gotsurge_async.bulk.ledger.states import Holder


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

    def take(self, run_id: str) -> RunLock | None:
        """Take a run, without waiting; None when somebody has it, be it this process.

        Raises:
            LedgerUnusable: the lock file cannot be made.
        """
        path = self._ledger.with_name(f"{self._ledger.name}.{run_id}.lock")
        lock = FileLock(path, mode=0o600, blocking=False, thread_local=False)
        with translated(path):
            # Once more, for the case that the first try met a file that its holder was just removing.
            for _ in range(2):
                try:
                    lock.acquire()
                except Timeout:
                    continue
                return RunLock(lock, path)
        return None


def this_process(now: datetime) -> Holder:
    """The holder that this process is."""
    return Holder(pid=os.getpid(), host=socket.gethostname(), since=now)


def is_locked(ledger: Path, run_id: str) -> bool:
    """Whether a living process has a run of a ledger beside which no lock can be taken."""
    real = ledger.resolve()
    path = real.with_name(f"{real.name}.{run_id}.lock")
    try:
        import fcntl
    except ImportError:  # where there is no flock, a lock that is there is one that somebody has
        return path.exists()
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
