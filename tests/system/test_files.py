"""Names that are given while others look, what is forced to the disk, and the user's folders."""

import fcntl
import os
import sys
from pathlib import Path

import platformdirs
import pytest

from gotsurge_async.system import files


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
