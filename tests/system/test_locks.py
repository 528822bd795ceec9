"""Locks on files: by the system, and by filelock where the system has no flock."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

from gotsurge_async.system import locks
from gotsurge_async.system.locks import FileLock


@pytest.fixture(params=["flock", "no flock", "a file system without flock"])
def file(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a lock, in each way to lock it."""
    if request.param == "no flock":
        monkeypatch.setattr(locks, "fcntl", None)
    elif request.param != "flock":
        monkeypatch.setattr(locks, "fcntl", _Unsupported(errno.ENOSYS))
    return tmp_path / "file.lock"


class _Unsupported:
    LOCK_EX = LOCK_NB = LOCK_UN = 0

    def __init__(self, number: int) -> None:
        self._number = number

    def flock(self, *_: Any) -> NoReturn:
        raise OSError(self._number, os.strerror(self._number))


def test_a_lock_has_one_holder_until_it_is_released(file: Path) -> None:
    """Another lock on the file is refused, also in this process; the file is private, and stays."""
    one, other = FileLock(file), FileLock(file)
    assert one.acquire()
    assert not other.acquire()
    assert not other.acquire(0.001)
    assert file.stat().st_mode & 0o777 == 0o600
    one.release()
    one.release()
    assert other.acquire()
    other.release()


def test_the_death_of_a_holder_frees_its_lock(file: Path) -> None:
    """The system frees the file of a process that was killed."""
    code = (
        "import os, sys; from pathlib import Path; from gotsurge_async.system.locks import FileLock; "
        "lock = FileLock(Path(sys.argv[1])); print(lock.acquire(), flush=True); sys.stdin.read(); os._exit(1)"
    )
    command = [sys.executable, "-c", code, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"True\n"
        mine = FileLock(file)
        assert not mine.acquire()
        holder.kill()
        holder.wait()
        assert mine.acquire()
    mine.release()


def test_a_lock_that_nothing_refers_to_is_free(tmp_path: Path) -> None:
    """A holder that was cancelled keeps no file locked."""
    holders = [FileLock(tmp_path / "file.lock")]
    assert holders[0].acquire()
    holders.clear()
    other = FileLock(tmp_path / "file.lock")
    assert other.acquire()
    other.release()


def test_a_file_that_its_holder_removed_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock on a file without a name would exclude no other process."""
    path = tmp_path / "file.lock"
    real, removed = os.open, list[int]()

    def open_(*arguments: Any) -> int:
        descriptor = real(*arguments)
        if not removed:
            removed.append(descriptor)
            path.unlink()
        return descriptor

    monkeypatch.setattr(os, "open", open_)
    lock = FileLock(path)
    assert lock.acquire()
    assert removed
    assert not FileLock(path).acquire()
    lock.release()


def test_errors_of_the_system_are_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be made, a symbolic link in its place, and a lock that fails for another reason."""
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for path in (tmp_path / "none" / "file.lock", tmp_path / "link"):
        with pytest.raises(OSError, match=path.name):
            FileLock(path).acquire()
    assert not (tmp_path / "elsewhere").exists()
    monkeypatch.setattr(locks, "fcntl", _Unsupported(errno.ENOLCK))
    with pytest.raises(OSError, match="No locks available"):
        FileLock(tmp_path / "file.lock").acquire()


def test_a_missing_library_names_the_extra_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no flock, a lock says what to type."""
    monkeypatch.setattr(locks, "fcntl", None)
    monkeypatch.setitem(sys.modules, "filelock", None)
    with pytest.raises(ModuleNotFoundError, match=r'a ledger needs filelock: pip install "gotsurge-async\[cli\]"'):
        FileLock(tmp_path / "file.lock").acquire()
