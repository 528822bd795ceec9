"""Real processes on one ledger: they crash, they race, and none loses or doubles an order."""

import asyncio

import pytest

from gotsurge_async.ledger import Counts, Ledger, RunHeld
from tests.ledger.kit import TidyLedger, added, leases_end, loaded, orders, states
from tests.ledger.processes import heard, start, tell

CRASH_WHILE_CLAIMING = """
    run = await loaded(ledger, orders(1000))
    everything = await ids(run)
    say(run.id)
    done = [asyncio.ensure_future(run.claim(everything[at : at + 20])) for at in range(0, 1000, 20)]
    await done[0]
    os._exit(9)
"""

CRASH_WHILE_LOADING = """
    run = await added(ledger, orders(100))
    say(run.id)
    os._exit(9)
"""

HOLD = """
    run = await loaded(ledger, orders(3))
    say(run.id)
    hear()
    os._exit(9)
"""

RACE = """
    run = await added(ledger, orders(300))
    say("loaded")
    hear()
    try:
        admission = await run.admit()
    except RunHeld as held:
        say(f"held by {held.holder.pid if held.holder else None}")
        await run.discard()
    else:
        say(f"admitted {admission.pending} {os.getpid()}")
        hear()
        await run.close()
    await ledger.close()
"""


async def test_a_crash_between_claims_leaves_whole_chunks(where: str) -> None:
    """A process that dies while claims are on their way leaves each chunk claimed as a whole, or not at all."""
    process = await start(where, CRASH_WHILE_CLAIMING)
    run_id = await heard(process)
    assert await process.wait() == 9
    leases_end(where)
    async with await TidyLedger.open(where) as ledger:
        run = await ledger.hold(run_id)
        counts = await run.recover()
        assert counts.in_doubt + counts.pending == 1000
        assert counts.in_doubt >= 20
        assert counts.in_doubt % 20 == 0


async def test_a_crash_while_loading_leaves_nothing_behind(where: str) -> None:
    """What a process had read in when it died is never sent, and the next push of the same orders begins anew."""
    process = await start(where, CRASH_WHILE_LOADING)
    dead = await heard(process)
    assert await process.wait() == 9
    leases_end(where)
    async with await TidyLedger.open(where) as ledger:
        run = await loaded(ledger, orders(100))
        assert (await run.counts()).pending == 100
        assert [info.id for info in await ledger.runs()] == [run.id]
        assert (await ledger.counts(dead)).total == 0


@pytest.mark.slow
async def test_another_process_is_named_and_its_lock_dies_with_it(where: str) -> None:
    """A run held elsewhere names that process; once that is killed, its run can be taken up and its keys taken over."""
    process = await start(where, HOLD)
    run_id = await heard(process)
    async with await TidyLedger.open(where) as ledger:
        for attempt in (ledger.hold(run_id), loaded(ledger, orders(3))):
            with pytest.raises(RunHeld) as caught:
                await attempt
            assert (caught.value.run_id, caught.value.holder and caught.value.holder.pid) == (run_id, process.pid)
        process.kill()
        await process.wait()
        leases_end(where)
        run = await ledger.hold(run_id)
        await run.close()
        again = await added(ledger, orders(3))
        assert (await again.admit()).superseded == 3
        assert set((await states(ledger, run)).values()) == {"superseded"}


@pytest.mark.slow
async def test_of_processes_that_race_for_the_same_keys_one_wins(where: str) -> None:
    """Processes that admit the same orders at the same moment: one gets all of them, and each other one names it."""
    processes = await asyncio.gather(*(start(where, RACE) for _ in range(3)))
    assert await asyncio.gather(*map(heard, processes)) == ["loaded"] * 3
    for process in processes:
        tell(process)
    said = await asyncio.gather(*map(heard, processes))
    winners = [process for process, words in zip(processes, said, strict=True) if words.startswith("admitted")]
    assert len(winners) == 1
    assert sorted(said) == [f"admitted 300 {winners[0].pid}", *[f"held by {winners[0].pid}"] * 2]
    for process in winners:
        tell(process)
    assert await asyncio.gather(*(process.wait() for process in processes)) == [0] * 3
    async with await Ledger.open(where) as ledger:
        (info,) = await ledger.runs()
        assert await ledger.counts(info.id) == Counts(pending=300)
