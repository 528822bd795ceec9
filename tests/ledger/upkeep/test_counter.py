"""An older copy of a ledger is known for what it is, before anything is sent."""

import asyncio
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from gotsurge_async.database import Kind, place_of
from gotsurge_async.ledger import Identity, Ledger, LedgerError, LedgerOlder, LedgerUnusable, OrderState, RunHeld
from gotsurge_async.ledger.sql.store import Backend
from gotsurge_async.ledger.upkeep.check import check, refuse_unfit
from gotsurge_async.ledger.upkeep.counter import Keeper, identity_of
from gotsurge_async.ledger.upkeep.older_copy import accept_older, refuse_newest
from tests.ledger.kit import TidyLedger, bring, loaded, order, orders, pushed, states


def snapshot(path: Path, copy: Path) -> None:
    """Copy the ledger as it is."""
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)


async def counter(path: Path | str) -> int:
    """What the ledger counts."""
    async with await Ledger.look(path) as ledger:
        identity = await ledger.identity()
    assert identity is not None
    return identity.counter


async def test_it_counts_admissions_and_claims(ledger: Ledger, where: str) -> None:
    """Each admission and each claim raises the counter, and the file beside says the same when it is closed."""
    seen = [await counter(where)]
    run = await loaded(ledger, orders(3))
    seen.append(await counter(where))
    await bring(run, OrderState.CREATED)
    seen.append(await counter(where))
    await run.close()
    assert seen == [0, 1, 2]
    keeper = Keeper(place_of(where))
    kept = keeper.kept()
    assert kept is not None
    assert (kept.counter, kept) == (2, await ledger.identity())
    assert stat.S_IMODE(keeper.path.stat().st_mode) == 0o600


async def test_a_copy_that_was_pushed_on_is_known_to_who_knew_more(ledger: Ledger, where: str) -> None:
    """However far it counts by now: the last of what this machine counted is not in it, until that is accepted."""
    first = await loaded(ledger, [order(1)])
    await bring(first, OrderState.CREATED)
    await first.close()
    await ledger.close()
    place = place_of(where)
    beside = Keeper(place).path.read_bytes()
    async with await Ledger.open(where) as again:  # as it was before, in a copy: nothing of the last opening is in it
        await again.write(lambda db: db.driver.execute("DELETE FROM counters"))
        for line in range(2, 7):
            run = await loaded(again, [order(line)])
            await bring(run, OrderState.CREATED)
            await run.close()
    assert await counter(where) > 2
    Keeper(place).path.write_bytes(beside)
    with pytest.raises(LedgerOlder, match="is an older copy that was used again"):
        await Ledger.open(where)
    accepted = await accept_older(where)
    assert accepted.counter > 2
    async with await Ledger.open(where) as opened:
        assert len(await opened.runs()) == 6


@pytest.mark.parametrize("look", ["check", "plan", "accept", "open"])
async def test_a_ledger_that_others_count_on_is_no_older_copy(
    ledger: Ledger, where: str, look: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may count at any moment, also between two looks: at the file beside, and at the ledger."""
    run = await loaded(ledger, orders(1))
    await run.close()
    place, kept = place_of(where), Keeper.kept

    def others_count(keeper: Keeper) -> Identity | None:
        with closing(Backend(place).writing()) as db:
            db.begin()
            db.change("count", slot=1, n=1)
            identity, ((own,),) = identity_of(db), db.rows("counted_by", slot=1)
            db.commit()
        assert identity is not None
        beside = Keeper(place)
        beside._known = Identity(identity.id, 0)
        beside.keep(identity.counter, (1, own))
        beside.close()
        return kept(keeper)

    monkeypatch.setattr(Keeper, "kept", others_count)
    if look == "check":
        assert not (await asyncio.to_thread(check, where)).older
    elif look == "plan":
        await asyncio.to_thread(refuse_unfit, where)
    elif look == "accept":
        with pytest.raises(LedgerError, match="is not an older copy"):
            await refuse_newest(where)
    elif place.kind is Kind.POSTGRESQL:  # who opens a file for writing is alone with it
        await (await Ledger.open(where)).close()


async def test_an_older_copy_is_refused(path: Path, tmp_path: Path) -> None:
    """A backup that is put back is refused for writing, with both numbers and the way out; it can be looked at."""
    await pushed(path, orders(1))
    snapshot(path, tmp_path / "copy.db")
    await pushed(path, orders(2))
    shutil.copy(tmp_path / "copy.db", path)
    with pytest.raises(LedgerOlder, match=r"its counter is 2, .*records 4") as caught:
        await Ledger.open(path)
    assert "accept-older" in str(caught.value)
    async with await Ledger.look(path) as ledger:
        assert len(await ledger.runs()) == 1
        with pytest.raises(LedgerUnusable, match="open for reading only"):
            await ledger.begin(environment="simulator", mode="direct", source="x")


async def test_a_ledger_that_is_gone_is_missed(path: Path) -> None:
    """Where a ledger was, no new one is begun, unless it had sent nothing or a person says so."""
    await (await Ledger.open(path)).close()
    path.unlink()
    await pushed(path, orders(1))
    for gone in (path.unlink, lambda: path.write_bytes(b"")):
        gone()
        with pytest.raises(LedgerOlder, match=r"is gone: .* shows that there was a ledger, with the counter 2"):
            await Ledger.open(path)
    assert (await accept_older(path)).counter == 3
    async with await Ledger.open(path) as ledger:
        await ledger.all_known()
    await pushed(path, orders(1))


async def test_another_name_of_the_ledger_is_no_way_around(path: Path, tmp_path: Path) -> None:
    """The counter stands beside the file itself, also when it is opened by a link."""
    await pushed(path, orders(1))
    shutil.copy(path, tmp_path / "copy.db")
    (tmp_path / "other").mkdir()
    link = tmp_path / "other" / "link.db"
    link.symlink_to(path)
    await pushed(link, orders(2))
    shutil.copy(tmp_path / "copy.db", path)
    for name in (path, link):
        with pytest.raises(LedgerOlder):
            await Ledger.open(name)


async def test_what_waited_in_an_older_copy_is_in_doubt(path: Path, tmp_path: Path) -> None:
    """After a person accepted it, nothing that may have been sent is sent again, and it is the newest there is."""
    async with await TidyLedger.open(path) as ledger:
        done = await loaded(ledger, [order(1)])
        await bring(done, OrderState.CREATED)
        await done.close()
        waiting = await loaded(ledger, [order(2), order(3)])
        drafted = await loaded(ledger, [order(4)], mode="two-phase")
        await bring(drafted, OrderState.DRAFTED)
        loading = await ledger.begin(environment="simulator", mode="direct", source="x")
        await loading.add([order(3), order(5), order(6), order(6)])
        snapshot(path, tmp_path / "copy.db")
        await loading.discard()
        await bring(waiting, OrderState.CREATED)
    newest = await counter(path)
    shutil.copy(tmp_path / "copy.db", path)
    accepted = await accept_older(path)
    assert (accepted.in_doubt, accepted.counter) == (5, newest + 1)
    async with await TidyLedger.open(path) as ledger:
        assert {info.epoch >> 32 for info in await ledger.runs()} == {
            1
        }  # whoever is frozen with one writes nothing more
        assert await states(ledger, done) == {"TRK-1": "created"}
        assert await states(ledger, waiting) == {"TRK-2": "in_doubt", "TRK-3": "in_doubt"}
        (row,) = [row async for row in ledger.rows(drafted.id)]
        assert (row.state, row.task_id) == (OrderState.IN_DOUBT, None)  # its draft may not be the last one
        again = await loaded(ledger, orders(6))
        assert (await again.counts()).already_pushed == 6


async def test_a_free_key_that_was_being_loaded_is_taken(path: Path, tmp_path: Path) -> None:
    """What was loaded again after it was refused is in doubt, and so keeps its key, also one that stands twice."""
    async with await Ledger.open(path) as ledger:
        refused = await loaded(ledger, orders(2))
        await bring(refused, OrderState.REFUSED)
        await refused.close()
        loading = await ledger.begin(environment="simulator", mode="direct", source="x")
        await loading.add([*orders(2), order(1)])
        snapshot(path, tmp_path / "copy.db")
        await loading.discard()
    await pushed(path, orders(2))
    shutil.copy(tmp_path / "copy.db", path)
    assert (await accept_older(path)).in_doubt == 2
    async with await TidyLedger.open(path) as ledger:
        again = await loaded(ledger, orders(2))
        assert (await again.counts()).already_pushed == 2


async def test_what_is_not_older_is_not_accepted(path: Path) -> None:
    """There is nothing to accept of the newest copy, nor where no ledger was; a run that is held is not touched."""
    with pytest.raises(LedgerError, match="there is no record that it ever did"):
        await accept_older(path)
    await pushed(path, orders(1))
    for ask in (accept_older, refuse_newest):
        with pytest.raises(LedgerError, match="not an older copy"):
            await ask(path)
    await refuse_newest(path, newest=99)
    async with await TidyLedger.open(path) as ledger:
        await loaded(ledger, [order(7)])
        with pytest.raises(RunHeld):
            await accept_older(path, newest=99)
    assert (await accept_older(path, newest=99)).counter == 100


async def test_the_count_of_another_ledger_says_nothing(path: Path, tmp_path: Path) -> None:
    """A file with the count of another ledger, which lies beside one, makes that one no older copy."""
    await pushed(path, orders(1))
    other = tmp_path / "other.db"
    await pushed(other, orders(9))
    await pushed(other, orders(1), OrderState.PENDING)
    shutil.copy(Keeper(place_of(other)).path, Keeper(place_of(path)).path)
    with pytest.raises(LedgerError, match="not an older copy"):
        await refuse_newest(path)


async def test_a_summary_tells_of_a_newer_copy(ledger: Ledger) -> None:
    """What was seen of this ledger elsewhere counts; what was seen of another one does not."""
    identity = await ledger.identity()
    assert identity is not None
    await ledger.refuse_older(Identity(identity.id, 0), "x-summary.json")
    await ledger.refuse_older(Identity(identity.id + 1, 9), "x-summary.json")
    with pytest.raises(LedgerOlder, match=r"x-summary\.json records 9"):
        await ledger.refuse_older(Identity(identity.id, 9), "x-summary.json")


@pytest.mark.parametrize(
    "content", [b"", b"gotsurge-ledger", b"\xff" * 80, b"gotsurge-ledger 1 counter 9 12345678\n"], ids=range(4)
)
async def test_a_counter_that_is_not_whole_is_written_anew(path: Path, content: bytes) -> None:
    """A file beside that a crash left half written is none; the ledger, which is whole, writes it again."""
    await pushed(path, orders(1))
    keeper = Keeper(place_of(path))
    before = keeper.kept()
    keeper.path.write_bytes(content)
    await (await Ledger.open(path)).close()
    assert keeper.kept() == before is not None


async def test_an_older_copy_without_an_id_is_refused(path: Path) -> None:
    """A copy from before ledgers had an id is older than one that has it."""
    await pushed(path, orders(1))
    database = sqlite3.connect(path)
    database.execute("DELETE FROM ledger_meta WHERE name = 'ledger_id'")
    database.execute("DELETE FROM counters")
    database.commit()
    database.close()
    with pytest.raises(LedgerOlder, match="its counter is 0"):
        await Ledger.open(path)
    assert (await accept_older(path)).counter == 3
    await pushed(path, orders(2))
