"""Names that are given while others look, what is forced to the disk, and locks: by the system, or by filelock."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import platformdirs
import pytest

from gotsurge_async.system import files
from gotsurge_async.system.files import FileLock


def held(number: int) -> OSError:
    """What Windows says of a file that another process has open."""
    error = PermissionError(13, "The process cannot access the file")
    error.winerror = number  # type: ignore[attr-defined]
    return error


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What was waited."""
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    return waited


def refusing(monkeypatch: pytest.MonkeyPatch, *errors: OSError) -> None:
    """Let the first tries to replace a file fail."""
    real, left = Path.replace, list(errors)

    def replace(self: Path, target: Path) -> Path:
        if left:
            raise left.pop(0)
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_a_new_name_replaces_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    """Also on a file system without links; a symbolic link that leads nowhere is a file, too."""
    if not links:
        monkeypatch.setattr(Path, "hardlink_to", refused)
    made, taken, nowhere = (tmp_path / name for name in ("made", "taken", "nowhere"))
    made.write_text("new")
    taken.write_text("old")
    nowhere.symlink_to(tmp_path / "gone")
    for name in (taken, nowhere):
        with pytest.raises(FileExistsError):
            files.put_new(made, name)
    assert taken.read_text() == "old"
    files.put_new(made, tmp_path / "free")
    assert (tmp_path / "free").read_text() == "new"


def refused(_: Path, __: Path) -> None:
    """As a file system without links answers."""
    raise PermissionError(1, "Operation not permitted")


def test_a_file_that_a_scanner_holds_is_replaced_a_moment_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    """Each pause is longer than the last, and nobody is told."""
    source, target = tmp_path / "new", tmp_path / "old"
    source.write_text("new", encoding="utf-8")
    target.write_text("old", encoding="utf-8")
    refusing(monkeypatch, held(32), held(5))
    files.replace(source, target)
    assert target.read_text(encoding="utf-8") == "new"
    assert pauses == list(files.PAUSES[:2])


def test_who_holds_a_file_for_good_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    """After all pauses, with the system's own words."""
    refusing(monkeypatch, *(held(32) for _ in range(99)))
    with pytest.raises(PermissionError, match="cannot access"):
        files.replace(tmp_path / "new", tmp_path / "old")
    assert pauses == list(files.PAUSES)


def test_where_we_may_not_write_nothing_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    """A folder of somebody else stays one."""
    refusing(monkeypatch, PermissionError(13, "Permission denied"))
    with pytest.raises(PermissionError):
        files.replace(tmp_path / "new", tmp_path / "old")
    assert pauses == []


def test_on_macos_the_disk_itself_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the ordinary way is taken where a file system does not do it."""
    asked: list[str] = []
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(os, "fsync", lambda _: asked.append("fsync"))
    monkeypatch.setattr(fcntl, "fcntl", lambda _, what: asked.append(f"fcntl {what}"))
    files.sync(1)
    assert asked == ["fcntl 51"]

    def refuse(*_: int) -> None:
        raise OSError(45, "Operation not supported")

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    files.sync(1)
    assert asked == ["fcntl 51", "fsync"]


def test_windows_has_no_such_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """There `os.fsync` does all of it."""
    asked: list[int] = []
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setattr(os, "fsync", asked.append)
    files.sync(1)
    assert asked == [1]


def test_a_folder_that_cannot_be_opened_is_left(tmp_path: Path) -> None:
    """As on Windows, where folders are no files."""
    files.sync_folder(tmp_path / "absent")


@pytest.fixture(params=["flock", "no flock", "a file system without flock"])
def file(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a lock, in each way to lock it."""
    if request.param == "no flock":
        monkeypatch.setattr(files, "fcntl", None)
    elif request.param != "flock":
        monkeypatch.setattr(files, "fcntl", _Unsupported(errno.ENOSYS))
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
        "import os, sys; from pathlib import Path; from gotsurge_async.system.files import FileLock; "
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
    monkeypatch.setattr(files, "fcntl", _Unsupported(errno.ENOLCK))
    with pytest.raises(OSError, match="No locks available"):
        FileLock(tmp_path / "file.lock").acquire()


def test_a_missing_library_names_the_extra_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no flock, a lock says what to type."""
    monkeypatch.setattr(files, "fcntl", None)
    monkeypatch.setitem(sys.modules, "filelock", None)
    with pytest.raises(ModuleNotFoundError, match=r'a ledger needs filelock: pip install "gotsurge-async\[cli\]"'):
        FileLock(tmp_path / "file.lock").acquire()


@pytest.mark.parametrize("values", [{}, {"XDG_CONFIG_HOME": "/c", "XDG_DATA_HOME": "/d"}, {"HOME": "/h"}, {"HOME": ""}])
def test_the_users_folders_are_those_of_platformdirs(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> None:
    """With and without the variables that name them, relative values included."""
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    assert files.user_folder("config") == platformdirs.user_config_path("gotsurge")
    assert files.user_folder("data") == platformdirs.user_data_path("gotsurge")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert files.user_folder("config") == platformdirs.user_config_path("gotsurge")
