"""Exclusive locks on files, which the system frees when their holder dies, however it dies.

Linux and macOS lock files by ``flock``. Elsewhere the library filelock does so: its import takes 30 million
instructions, a thirtieth of the start of a command.
"""

import errno
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import finalize

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_POLL_SECONDS = 0.02
_HELD = (errno.EACCES, errno.EAGAIN)


class FileLock:
    """A lock on a file, which is made if it does not exist, for its owner only.

    It excludes other processes and other locks of this process.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._close: finalize[Any, Any] | None = None  # also frees a lock that nothing refers to any more
        self._library: Any = None

    def acquire(self, wait: float = 0.0) -> bool:
        """Try to lock the file, for at most ``wait`` seconds; returns whether it is locked.

        Raises:
            OSError: the file cannot be made or locked.
            ModuleNotFoundError: this system has no flock, and filelock is not installed.
        """
        end = time.monotonic() + wait
        while not self._lock():
            if time.monotonic() >= end:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def release(self) -> None:
        """Free the file. The file itself stays."""
        if self._close is not None and self._close.alive:
            with suppress(OSError):
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)  # a process that was forked has the descriptor, too
            self._close()
        elif self._library is not None:
            self._library.release()

    def _lock(self) -> bool:
        if fcntl is None:
            return self._lock_by_library()
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            close = finalize(self, os.close, descriptor)
            close.atexit = False
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                close()
                if error.errno in _HELD:
                    return False
                if error.errno != errno.ENOSYS:
                    raise
                return self._lock_by_library()  # a file system without flock
            if os.fstat(descriptor).st_nlink:
                self._descriptor, self._close = descriptor, close
                return True
            close()  # its holder removed it meanwhile

    def _lock_by_library(self) -> bool:
        try:
            from filelock import FileLock as LibraryLock
            from filelock import Timeout
        except ModuleNotFoundError:
            why = 'a ledger needs filelock: pip install "gotsurge-async[cli]"'
            raise ModuleNotFoundError(why, name="filelock") from None
        self._library = self._library or LibraryLock(self._path, mode=0o600, thread_local=False)
        with suppress(Timeout):
            self._library.acquire(blocking=False)
            return True
        return False
