"""What is particular to SQLite: a ledger has one name."""

import os
from pathlib import Path

import pytest

from gotsurge_async.bulk.ledger import Ledger, LedgerUnusable, RunHeld
from gotsurge_async.bulk.ledger.sql.sqlite import is_mount_point
from tests.bulk.ledger.kit import TurnedClock, loaded, order


async def test_a_hard_link_is_refused(path: Path, clock: TurnedClock) -> None:
    """A file with two names is refused under both, since each name would have a write-ahead log of its own."""
    await (await Ledger.open(path, clock=clock)).close()
    other = path.with_name("other.db")
    os.link(path, other)
    for name in (path, other):
        with pytest.raises(LedgerUnusable, match="2 names"):
            await Ledger.open(name, clock=clock)
    other.unlink()
    await (await Ledger.open(path, clock=clock)).close()


async def test_another_name_leads_to_the_same_locks(
    path: Path, clock: TurnedClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a symbolic link, of the file or of its folder, and by a relative path a run that is held stays held."""
    (tmp_path / "link.db").symlink_to(path)
    (tmp_path / "folder").symlink_to(path.parent)
    monkeypatch.chdir(tmp_path)
    async with await Ledger.open(path, clock=clock) as ledger, await loaded(ledger, [order(1)]) as run:
        for name in (Path("link.db"), Path("folder") / path.name, Path("folder") / "link.db", Path(path.name)):
            async with await Ledger.open(name, clock=clock) as same:
                assert await same.is_held(run.id)
                with pytest.raises(RunHeld):
                    await same.hold(run.id)


def test_a_file_that_is_mounted_is_known() -> None:
    """A mount point is found in what Linux says of its mounts, also with a blank in its name, and no other path is."""
    mounts = (
        "22 27 0:20 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n"
        "42 27 254:0 /data/ledger.db /srv/my\\040books/ledger.db rw,relatime - ext4 /dev/vda rw\n"
    )
    assert is_mount_point(Path("/srv/my books/ledger.db"), mounts)
    assert not is_mount_point(Path("/data/ledger.db"), mounts)
    assert not is_mount_point(Path("/srv/my books"), mounts)
