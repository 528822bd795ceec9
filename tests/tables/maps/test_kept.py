"""Maps by their names: kept in a folder of the user's, found, and never replaced without a word."""

from pathlib import Path

import platformdirs
import pytest

from gotsurge_async.errors import ConfigError
from gotsurge_async.tables.maps.kept import find_map, keep_map, kept_maps, maps_folder


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where maps are kept."""
    monkeypatch.setenv("GOTSURGE_MAPS", str(tmp_path / "maps"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "maps"


def test_one_that_is_kept_is_found(folder: Path) -> None:
    """By its name, for its owner alone; a file of that name in the present folder counts more."""
    assert kept_maps() == []
    path = keep_map("agent", b"#")
    assert path == folder / "agent.toml" == find_map("agent")
    assert path.stat().st_mode & 0o777 == 0o600
    assert kept_maps() == ["agent"]
    Path("agent").write_text("#", encoding="utf-8")
    assert find_map("agent") == Path("agent")


def test_one_that_is_there_is_not_replaced() -> None:
    """Unless that is said."""
    keep_map("agent", b"# 1")
    with pytest.raises(ConfigError, match="--force"):
        keep_map("agent", b"# 2")
    assert keep_map("agent", b"# 3", replace=True).read_bytes() == b"# 3"


@pytest.mark.parametrize("name", ["", "../agent", "a/b", ".hidden", "a" * 65, "a b"])
def test_a_name_that_is_none(name: str) -> None:
    """It leads to no file elsewhere."""
    with pytest.raises(ConfigError, match="is not a valid name"):
        keep_map(name, b"")


def test_one_that_is_nowhere() -> None:
    """The message names the map that was probably meant."""
    with pytest.raises(ConfigError, match=r"gotsurge map list"):
        find_map("agent")
    keep_map("agent", b"")
    with pytest.raises(ConfigError, match='did you mean "agent"'):
        find_map("agnt")
    with pytest.raises(ConfigError, match="no such file"):
        find_map("agent.toml")


def test_without_a_folder_it_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the system has them."""
    monkeypatch.delenv("GOTSURGE_MAPS")
    assert maps_folder() == platformdirs.user_config_path("gotsurge") / "maps"
