"""Files that must survive a power failure, renames while a process has the file open, and the user's folders."""

import errno
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Literal

PAUSES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds between the tries to give a file its name. Virus scanners hold a new one for less."""
_HELD = (5, 32, 33)  # Windows: access is denied; another process has the file, or a part of it


def replace(source: Path, target: Path) -> None:
    """Rename a file that this process does not have open; a file of that name is replaced. Raises OSError if it cannot.

    Windows refuses that while another process has either of them open, as scanners have for a moment: then it is tried
    again, for a second and a half at most.
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

    Raises FileExistsError if there is such a file by now; OSError if it cannot be done.
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
    """Force written data to the disk, or raise OSError. On macOS `os.fsync` leaves it in the disk's own memory."""
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
