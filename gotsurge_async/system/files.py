"""Files that must be there after a power failure, names that change while a process has the file open, the user's
folders, and locks.

Linux and macOS lock files by ``flock``. Elsewhere the library filelock does so: its import takes 30 million
instructions, a thirtieth of the start of a command.
"""

import errno
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal
from weakref import finalize

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PAUSES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds between the tries to give a file its name. Virus scanners hold a new one for less."""
_HELD = (5, 32, 33)  # Windows: access is denied; another process has the file, or a part of it
_LOCKED = (errno.EACCES, errno.EAGAIN)
_POLL_SECONDS = 0.02
"""Seconds between two tries to get a lock."""


def replace(source: Path, target: Path) -> None:
    """Rename a file that this process does not have open; a file of that name is replaced.

    Windows refuses that while another process has either of them open, as scanners have for a moment: then it is tried
    again, for a second and a half at most.

    Raises:
        OSError: it cannot be done.
    """
    for pause in (*PAUSES, None):
        try:
            source.replace(target)
        except PermissionError as error:
            if pause is None or getattr(error, "winerror", None) not in _HELD:
                raise
            time.sleep(pause)
        else:
            return


def put_new(source: Path, target: Path) -> None:
    """Give a file a new name, which no file may have; its old name may stay, too.

    Raises:
        FileExistsError: there is such a file by now.
        OSError: it cannot be done.
    """
    try:
        target.hardlink_to(source)  # and not a rename, which would replace what came meanwhile
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        replace(source, target)


def user_folder(kind: Literal["config", "data"]) -> Path:
    """The user's folder for the configuration or the data of this program, as the library platformdirs names it.

    On Linux it is usually known without that library, whose import takes 8 million instructions.
    """
    variable, usual = ("XDG_CONFIG_HOME", ".config") if kind == "config" else ("XDG_DATA_HOME", ".local/share")
    folder = os.environ.get(variable) or os.path.join(os.environ.get("HOME", ""), usual)  # noqa: PTH118
    if sys.platform == "linux" and folder.startswith("/") and folder == folder.strip():
        return Path(folder) / "gotsurge"
    import platformdirs

    named = platformdirs.user_config_path if kind == "config" else platformdirs.user_data_path
    return named("gotsurge")


def sync(descriptor: int) -> None:
    """Force written data to the disk. On macOS `os.fsync` leaves it in the disk's own memory.

    Raises:
        OSError: it cannot be done.
    """
    with suppress(ImportError, AttributeError, OSError):  # Windows; Linux; a file system that cannot
        import fcntl

        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # type: ignore[attr-defined,unused-ignore]
        return
    os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: until then a power failure may bring back an old file.

    This has no effect if the system opens no folders, as Windows, or the file system does not support it.
    """
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            sync(descriptor)
        finally:
            os.close(descriptor)


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
        if fcntl is not None and self._close is not None and self._close.alive:
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
                if error.errno in _LOCKED:
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
