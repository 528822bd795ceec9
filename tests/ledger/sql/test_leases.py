"""Leases of runs in PostgreSQL, where no lock of a file tells that a holder has died."""

import os
import signal

import pytest

from gotsurge_async.ledger import (
    Counts,
    Ledger,
    OrderState,
    Run,
    RunHeld,
)
from gotsurge_async.ledger.locks import LEASE_SECONDS
from gotsurge_async.push.chunks import CLAIM_LIFE
from tests.ledger.kit import TidyLedger, ask, ids, loaded, orders, states, until
from tests.ledger.processes import heard, start, tell


def test_a_lease_is_longer_than_a_claim_is_sent_after_it_was_made() -> None:
    """Nobody who has lost a lease has anything to send that was claimed under it; 15 seconds more for what is out."""
    assert LEASE_SECONDS * 4 / 5 > CLAIM_LIFE / 2 + 15


async def test_a_lease_is_renewed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has a run, and does nothing, keeps it; whoever lets it go has none."""
    monkeypatch.setattr("gotsurge_async.ledger.locks.LEASE_SECONDS", 1.0)
    async with await Ledger.open(url) as ledger:
        run = await loaded(ledger, orders(1))

        def lease() -> int:
            ((until_when,),) = ask(url, "SELECT lease_until FROM runs")
            return int(until_when)

        first = lease()
        second = await until(lambda: (now := lease()) > first and now)
        await until(lambda: lease() > second)
        await run.close()
        assert lease() == 0


HOLD = """
    run = await loaded(ledger, orders(40))
    await run.start()
    claimed = await run.claim((await ids(run))[:20])
    say(run.id)
    hear()
    created = [OrderOutcome(each, OrderState.CREATED, f"task-{each}") for each in claimed]
    rest = await ids(run)
    writes = run.renew_claim(claimed), run.record(created), run.claim(rest), run.release_claim(claimed), run.finish()
    for write in writes:
        try:
            await write
        except RunLost:
            say("lost")
    await ledger.close()
"""


async def taken(ledger: Ledger, url: str, run_id: str) -> Run:
    """A run, as soon as its holder's lease is over; most of it has passed."""
    with pytest.raises(RunHeld) as caught:
        await ledger.hold(run_id)
    assert caught.value.holder is not None
    assert "if it has died, the run is free a minute later" in str(caught.value)
    ask(url, "UPDATE runs SET lease_until = (extract(epoch FROM clock_timestamp()) + 0.3) * 1000000")
    while True:
        try:
            return await ledger.hold(run_id)
        except RunHeld:
            continue


@pytest.mark.slow
async def test_a_frozen_holder_writes_nothing_when_it_wakes(url: str) -> None:
    """Its run is another's after its lease; nothing that it still writes goes through."""
    process = await start(url, HOLD)
    run_id = await heard(process)
    process.send_signal(signal.SIGSTOP)
    async with await TidyLedger.open(url) as ledger:
        run = await taken(ledger, url, run_id)
        assert await run.recover() == Counts(pending=20, in_doubt=20)
        assert len(await run.claim(await ids(run, OrderState.PENDING))) == 20
        before = await states(ledger, run)
        process.send_signal(signal.SIGCONT)
        tell(process)
        assert [await heard(process) for _ in range(5)] == ["lost"] * 5
        assert await process.wait() == 0
        assert await states(ledger, run) == before
        holder = (await ledger.run(run_id)).holder
        assert holder is not None
        assert holder.pid == os.getpid()
