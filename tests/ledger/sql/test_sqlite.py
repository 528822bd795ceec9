"""What is particular to SQLite: a ledger has one name, and can be read where it cannot be written."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gotsurge_async.database.files import is_mount_point, reading
from gotsurge_async.ledger import Ledger, LedgerError, LedgerUnusable, OrderState, RunHeld
from gotsurge_async.ledger.upkeep.check import backup
from tests.ledger.kit import TidyLedger, TurnedClock, bring, loaded, order, orders, pushed
from tests.support.powerless import lock_up, locked_away, powerless


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


@pytest.mark.slow
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


async def created(path: Path) -> int:
    """How many orders are created, as somebody sees it who may write nothing."""
    with powerless():
        async with await Ledger.look(path) as ledger:
            return sum([(await ledger.counts(info.id)).created for info in await ledger.runs()])


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that others may enter."""
    with locked_away(Path(__file__)) as inside:
        inside.parent.chmod(0o755)
        yield inside.parent


async def test_a_locked_ledger_is_read_and_not_written(path: Path) -> None:
    """What a closed ledger holds is shown to whoever may read it; to open it for writing is refused in plain words."""
    run_id = await pushed(path, orders(3))
    with locked_away(path) as locked:
        assert await created(locked) == 3
        with powerless():
            with pytest.raises(LedgerUnusable, match="cannot be written to; check the permissions"):
                await Ledger.open(locked)
            async with await Ledger.look(locked) as ledger:
                assert not await ledger.is_held(run_id)
                assert [len(page) async for page in ledger.results(run_id)] == [3]
        assert [file.name for file in locked.parent.iterdir()] == ["ledger.db"]


async def test_a_live_writer_is_seen(folder: Path) -> None:
    """What another process has committed and not yet moved into the file is seen, and that it has the run."""
    path = folder / "ledger.db"
    async with await TidyLedger.open(path) as ledger:
        run = await loaded(ledger, orders(5))
        await bring(run, OrderState.CREATED)
        lock_up(folder)
        assert path.with_name("ledger.db-wal").stat().st_size > 0
        assert await created(path) == 5
        with powerless():
            async with await Ledger.look(path) as looking:
                assert await looking.is_held(run.id)
        folder.chmod(0o755)


async def test_what_a_crash_left_in_the_log_is_seen(folder: Path, path: Path) -> None:
    """A log with its index is read; one without is refused, for what it holds could not be seen."""
    async with await TidyLedger.open(path) as ledger:
        run = await loaded(ledger, orders(5))
        await bring(run, OrderState.CREATED)
        for end in ("", "-wal", "-shm"):
            shutil.copy(path.with_name(path.name + end), folder)
    lock_up(folder)
    assert await created(folder / path.name) == 5
    folder.chmod(0o755)
    (folder / "ledger.db-shm").unlink()
    lock_up(folder)
    with pytest.raises(LedgerUnusable, match=r"needs its file .*-shm, which.*copy"):
        await created(folder / path.name)
    with (
        powerless(),
        tempfile.TemporaryDirectory() as ours,
        pytest.raises(LedgerUnusable, match=r"needs its file .*-shm, which.*copy"),
    ):
        backup(folder / path.name, Path(ours, "copy.db"))


async def test_whoever_looks_leaves_nothing_and_changes_nothing(path: Path) -> None:
    """Looking where all may be written leaves one file, and cannot write; a ledger that does not exist is not made."""
    await pushed(path, orders(3))
    before = sorted(file.name for file in path.parent.iterdir())
    async with await Ledger.look(path) as ledger:
        assert len(await ledger.runs()) == 1
    with (
        closing(reading(path, {}, patience=1.0).driver) as connection,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        connection.execute("DELETE FROM chunks")
    assert sorted(file.name for file in path.parent.iterdir()) == before
    with pytest.raises(LedgerError, match="does not exist"):
        await Ledger.look(path.with_name("none.db"))
    assert not path.with_name("none.db").exists()


async def test_a_damaged_row_is_told_by_whatever_reads_it(path: Path) -> None:
    """A damaged ledger opens to look at it; what is whole is shown, and the row that is not is named."""
    run_id = await pushed(path, orders(30))
    whole = await pushed(path, orders(0))
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE chunks SET states = 'cccccgcccZ' WHERE id = 2")
    async with await Ledger.look(path) as ledger:
        assert len(await ledger.runs()) == 2
        assert (await ledger.counts(whole)).total == 0
        with pytest.raises(LedgerUnusable, match=r"table chunks, chunk 2: its states are invalid"):
            await ledger.counts(run_id)
        with pytest.raises(LedgerUnusable, match=r"table chunks, chunk 2: its states are invalid: 'cccccgcccZ'"):
            [page async for page in ledger.results(run_id)]


async def test_text_that_is_none_is_not_quoted(path: Path) -> None:
    """Where the driver meets bytes that are no text it quotes what it could read; the error that is told does not."""
    run_id = await pushed(path, orders(3))
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE bodies SET body = CAST(body AS TEXT)")
    async with await Ledger.look(path) as ledger:
        assert (await ledger.counts(run_id)).created == 3
        with pytest.raises(LedgerUnusable, match=r"is damaged.*table bodies, chunk 1: body cannot be text") as caught:
            [page async for page in ledger.results(run_id)]
        assert "line" not in str(caught.value)


async def test_a_damaged_name_in_the_schema_is_damage_too(path: Path) -> None:
    """A name that is no text any more, which the driver cannot even tell of, is damage and not an error of Python's."""
    await pushed(path, orders(3))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"CREATE TABLE runs", b"CRE\xa1TE TABLE runs", 1))
    for opening in (Ledger.look, Ledger.open):
        with pytest.raises(LedgerUnusable, match="is damaged"):
            await opening(path)
