"""Segments of a run in the hands of workers, on a real PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import psycopg
import pytest

from gotsurge_async.database import Database
from gotsurge_async.ledger import (
    IllegalTransition,
    Ledger,
    LedgerError,
    Mode,
    NoSuchRun,
    OrderOutcome,
    OrderState,
    Run,
    RunHeld,
    RunLost,
    RunState,
)
from gotsurge_async.ledger.segments import Prices, SegmentRun, Tally, Waiting
from tests.ledger.kit import TidyLedger, TurnedClock, leases_end, loaded, orders, states

pytestmark = pytest.mark.slow

SIZE = 2
"""Chunks of a segment: 40 orders."""


@pytest.fixture
def where(url: str) -> str:
    """Workers share a server."""
    return url


def nowhere(_: Database, __: Sequence[Waiting]) -> None:
    """Wake nobody up."""


async def put_up(ledger: Ledger, count: int = 100, *, mode: Mode = Mode.DIRECT, prices: Prices | None = None) -> str:
    """Put a run up, in segments of 40 orders; its id."""
    run = await loaded(ledger, orders(count), mode=mode)
    await ledger.segments.put_up(run, brakes={}, enqueue=nowhere, size=SIZE, prices=prices)
    return run.id


async def taken(ledger: Ledger, run_id: str, number: int = 0, worker: str = "one") -> SegmentRun:
    """Take a segment that is to be had."""
    run = await ledger.segments.take(run_id, number, worker=worker, lease=60)
    assert run is not None
    await run.start()
    await run.recover()
    return run


async def keys(run: Run) -> list[str]:
    """The keys of its pending orders."""
    return [order.key async for page in run.pending() for order in page]


async def ids(run: Run) -> list[int]:
    """The numbers of its pending orders."""
    return [order.id async for page in run.pending() for order in page]


async def create(run: Run) -> None:
    """Create all that is pending, as a direct push would."""
    claimed = await run.claim(await ids(run))
    await run.record([OrderOutcome(order, OrderState.CREATED, f"task-{order}") for order in claimed])


def ends(where: str) -> None:
    """As if a lease's time had passed, of every worker."""
    leases_end(where)
    with psycopg.connect(where) as database:
        database.execute("UPDATE segments SET lease_until = 0")


async def test_the_segments_of_a_run_are_all_of_it(ledger: Ledger) -> None:
    """Each order waits in one segment, and no segment shows, counts or reads another's."""
    run_id = await put_up(ledger)
    parts = [await taken(ledger, run_id, number) for number in range(3)]
    assert [len(await keys(part)) for part in parts] == [40, 40, 20]
    assert [(await part.counts()).pending for part in parts] == [40, 40, 20]
    seen = [row.key for part in parts for row in [row async for row in part.rows()]]
    assert seen == [f"TRK-{line}" for line in range(1, 101)]
    assert await ledger.segments.take(run_id, 3, worker="two", lease=60) is None


async def test_jobs_are_put_up_with_the_segments_or_neither(ledger: Ledger) -> None:
    """When the queue refuses, the run is as it was, still held, and no worker finds anything."""
    run = await loaded(ledger, orders(3))

    def full(_: Database, waiting: Sequence[Waiting]) -> None:
        assert [each.number for each in waiting] == [0]
        raise LedgerError("the queue is full")

    with pytest.raises(LedgerError, match="full"):
        await ledger.segments.put_up(run, brakes={}, enqueue=full)
    assert await ledger.segments.waiting("simulator", 9) == []
    assert (await ledger.run(run.id)).state is RunState.READY
    assert await ledger.is_held(run.id)


async def test_two_workers_never_have_one_segment(ledger: Ledger, where: str) -> None:
    """Of many who take one at once, one gets it; the others get none, and it is not offered while it is leased."""
    run_id = await put_up(ledger, 10)
    async with await Ledger.open(where) as other:
        found = await asyncio.gather(
            *(
                each.segments.take(run_id, 0, worker=f"{number}", lease=60)
                for number in range(5)
                for each in (ledger, other)
            )
        )
    assert len([each for each in found if each is not None]) == 1
    assert await ledger.segments.waiting("simulator", 9) == []


WRITES: dict[str, Callable[[Run, list[int]], Awaitable[object]]] = {
    "claim": lambda run, ids: run.claim(ids),
    "renew_claim": lambda run, ids: run.renew_claim(ids),
    "release_claim": lambda run, ids: run.release_claim(ids),
    "record": lambda run, ids: run.record([OrderOutcome(order, OrderState.CREATED, f"T{order}") for order in ids]),
    "recover": lambda run, _: run.recover(),
    "finish": lambda run, _: run.finish(),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("by", ["worker", "whole"])
async def test_who_was_taken_over_writes_nothing(ledger: Ledger, where: str, write: str, by: str) -> None:
    """A worker that wakes after its lease changes nothing, whether a worker or a whole run's holder has its segment."""
    run_id = await put_up(ledger, 20)
    frozen = await taken(ledger, run_id)
    claimed = await frozen.claim(await ids(frozen))
    ends(where)
    async with await TidyLedger.open(where) as other:
        new = await (taken(other, run_id, worker="two") if by == "worker" else other.hold(run_id))
        if by == "whole":
            await new.recover()
        before = await states(other, new)
        with pytest.raises(RunLost, match="segment 0 of run"):
            await WRITES[write](frozen, claimed)
        assert await states(other, new) == before == {f"TRK-{line}": "in_doubt" for line in range(1, 21)}
        await frozen.close()  # which gives nothing back that is another's
        assert await other.is_held(run_id)


async def test_a_worker_writes_nothing_outside_its_segment(ledger: Ledger) -> None:
    """Another segment's orders are neither claimed nor recorded by it."""
    run_id = await put_up(ledger)
    mine, others = await taken(ledger, run_id), await taken(ledger, run_id, 1, "two")
    claimed = await others.claim((await ids(others))[:20])
    assert await mine.claim(await ids(others)) == []
    with pytest.raises(IllegalTransition):
        await mine.record([OrderOutcome(claimed[0], OrderState.CREATED, "T")])
    await mine.recover()
    assert (await others.counts()).sending == 20


@pytest.mark.parametrize(
    ("mode", "becomes"), [(Mode.DIRECT, OrderState.IN_DOUBT), (Mode.TWO_PHASE, OrderState.PENDING)]
)
async def test_what_a_dead_worker_had_claimed_is_cleared_up_by_the_rules(
    ledger: Ledger, where: str, mode: Mode, becomes: OrderState
) -> None:
    """Who takes a lost segment finds in doubt what was being sent, and anew what was being drafted; nothing else."""
    run_id = await put_up(ledger, mode=mode)
    dead = await taken(ledger, run_id)
    await dead.claim((await ids(dead))[:20])
    ends(where)
    lost = await ledger.segments.waiting("simulator", 9)
    assert [(each.number, each.lost) for each in lost] == [(0, True), (1, False), (2, False)]
    async with await Ledger.open(where) as other:
        new = await taken(other, run_id, worker="two")
        assert (await new.counts())[becomes] == (20 if mode is Mode.DIRECT else 40)
        assert new.tries == 2


async def test_a_run_is_not_taken_whole_while_a_worker_lives(ledger: Ledger, where: str) -> None:
    """It is refused, naming the workers; also to a push that wants one of its orders."""
    run_id = await put_up(ledger)
    first, second = await taken(ledger, run_id, 0, "host-1"), await taken(ledger, run_id, 1, "host-2")
    assert await ledger.is_held(run_id)
    async with await Ledger.open(where) as other:
        with pytest.raises(RunHeld, match="is held by 2 workers host-1, host-2"):
            await other.hold(run_id)
        rival = await other.begin(environment="simulator", mode="direct", source="again.csv")
        await rival.add(orders(1))
        with pytest.raises(RunHeld, match="host-1"):
            await rival.admit()
        await rival.discard()
        await first.finish()
        with pytest.raises(RunHeld, match="the worker host-2"):
            await other.hold(run_id)
        await second.finish()
        async with await other.hold(run_id) as whole:
            assert len(await keys(whole)) == 100


async def test_who_sends_the_whole_run_takes_it_from_the_workers(ledger: Ledger) -> None:
    """After `Run.start` nothing of it is offered, and nobody takes a segment; it may be put up again."""
    run_id = await put_up(ledger)
    async with await ledger.hold(run_id) as run:
        assert await ledger.segments.take(run_id, 0, worker="one", lease=60) is None  # while it is held
        await run.start()
        assert await run.finish() is RunState.STOPPED
    assert await ledger.segments.waiting("simulator", 9) == []
    assert await ledger.segments.take(run_id, 0, worker="one", lease=60) is None
    await ledger.segments.put_up(await ledger.hold(run_id), brakes={}, enqueue=nowhere, size=SIZE)
    assert len(await keys(await taken(ledger, run_id))) == 40


async def test_who_only_looks_into_the_run_leaves_it_to_the_workers(ledger: Ledger) -> None:
    """A reconciliation takes the run, clears up, and says where it stands: workers go on; an undo ends that."""
    run_id = await put_up(ledger)
    async with await ledger.hold(run_id) as run:
        await run.recover()
        assert await run.finish() is RunState.SENDING
    assert len(await ledger.segments.waiting("simulator", 9)) == 3
    async with await ledger.hold(run_id) as run:
        assert await run.finish(withdraw=True) is RunState.STOPPED
    assert await ledger.segments.waiting("simulator", 9) == []
    assert await ledger.segments.distribution(run_id) is None


async def test_a_run_is_over_with_its_last_segment(ledger: Ledger) -> None:
    """Who gives the last one back says that the run is done; one with orders left is offered again."""
    run_id = await put_up(ledger, 60)
    first, second = await taken(ledger, run_id, 0), await taken(ledger, run_id, 1, "two")
    await create(first)
    assert await first.finish() is RunState.SENDING
    assert await second.finish() is RunState.SENDING
    (again,) = await ledger.segments.waiting("simulator", 9)
    assert (again.number, again.lost) == (1, False)
    second = await taken(ledger, run_id, 1, "two")
    assert second.tries == 2
    await create(second)
    assert await second.finish() is RunState.DONE
    info = await ledger.run(run_id)
    assert (info.state, info.finished_at is not None) == (RunState.DONE, True)
    assert await ledger.segments.waiting("simulator", 9) == []
    assert (await ledger.counts(run_id)).created == 60


async def test_tries_count_what_moves_nothing(ledger: Ledger) -> None:
    """A segment of which something came to its end begins to count anew."""
    run_id = await put_up(ledger, 40)
    for tries in (1, 2, 3):
        part = await taken(ledger, run_id)
        assert part.tries == tries
        await part.finish()
    part = await taken(ledger, run_id)
    claimed = await part.claim((await ids(part))[:20])
    await part.record([OrderOutcome(order, OrderState.REFUSED, error="no") for order in claimed])
    await part.finish()
    assert (await taken(ledger, run_id)).tries == 1


async def test_the_sweeper_ends_what_nobody_ended(ledger: Ledger, where: str) -> None:
    """Of two who finish at once neither may see the other; a run without a segment left is then over all the same."""
    run_id = await put_up(ledger, 20)
    part = await taken(ledger, run_id)
    await create(part)
    with psycopg.connect(where) as database:
        database.execute("UPDATE segments SET state = 'done', lease_until = 0")
    await ledger.segments.finish_runs("another")
    assert (await ledger.run(run_id)).state is RunState.SENDING
    await ledger.segments.finish_runs("simulator")
    assert (await ledger.run(run_id)).state is RunState.DONE


async def test_a_run_whose_orders_went_into_another_is_over(ledger: Ledger) -> None:
    """No worker comes for it any more, and whoever watches it sees that it is over."""
    run_id = await put_up(ledger)
    await loaded(ledger, orders(100))
    assert (await ledger.counts(run_id)).superseded == 100
    assert (await ledger.run(run_id)).state is RunState.DONE
    assert await ledger.segments.waiting("simulator", 9) == []


async def test_a_run_of_which_some_orders_went_into_another_goes_on(ledger: Ledger) -> None:
    """A segment that lost all it had is closed, the others are sent."""
    run_id = await put_up(ledger)
    await loaded(ledger, orders(50))
    assert (await ledger.run(run_id)).state is RunState.SENDING
    assert [each.number for each in await ledger.segments.waiting("simulator", 9)] == [1, 2]


async def test_a_segment_in_doubt_is_read_after_the_rest_went_into_another(ledger: Ledger) -> None:
    """In two-phase mode a worker still reads what became of it."""
    run = await loaded(ledger, orders(40), mode=Mode.TWO_PHASE)
    await run.start()
    claimed = await run.claim((await ids(run))[:1])
    await run.record([OrderOutcome(order, OrderState.DRAFTED, "task-1") for order in claimed])
    await run.claim_broadcast(claimed)
    await run.record([OrderOutcome(order, OrderState.IN_DOUBT, error="lost") for order in claimed])
    await run.finish()
    await ledger.segments.put_up(run, brakes={}, enqueue=nowhere, size=SIZE)
    await loaded(ledger, orders(40)[1:], mode=Mode.TWO_PHASE)
    assert (await ledger.run(run.id)).state is RunState.SENDING
    assert [each.number for each in await ledger.segments.waiting("simulator", 9)] == [0]


async def test_a_stopped_run_is_sent_by_nobody(ledger: Ledger) -> None:
    """What is in hand is given back, nothing more is taken, and the reason is kept with the run."""
    run_id = await put_up(ledger)
    part = await taken(ledger, run_id)
    assert await ledger.segments.stopped([part.info.number]) == set()
    assert await ledger.segments.stop(run_id, "LimitReached", "3 orders are refused\0")
    assert not await ledger.segments.stop(run_id, "SignInNeeded", "later")
    assert await ledger.segments.stopped([part.info.number]) == {part.info.number}
    assert await ledger.segments.waiting("simulator", 9) == []
    assert await ledger.segments.take(run_id, 1, worker="two", lease=60) is None
    assert (await ledger.run(run_id)).state is RunState.SENDING
    assert await part.finish() is RunState.STOPPED
    distribution = await ledger.segments.distribution(run_id)
    assert distribution is not None
    assert (distribution.stopped_as, distribution.stopped_by) == ("LimitReached", "3 orders are refused\ufffd")
    with pytest.raises(NoSuchRun):
        await ledger.segments.stop("20200101T000000-none", "interrupted", "")


async def test_a_run_that_has_ended_is_not_stopped(ledger: Ledger) -> None:
    """It is said that nothing was stopped, and a later look does not show a stop."""
    run_id = await put_up(ledger, 20)
    part = await taken(ledger, run_id)
    claimed = await part.claim((await ids(part))[:20])
    await part.record([OrderOutcome(order, OrderState.REFUSED, error="no") for order in claimed])
    assert await part.finish() is RunState.DONE
    assert not await ledger.segments.stop(run_id, "interrupted", "interrupted")
    distribution = await ledger.segments.distribution(run_id)
    assert distribution is not None
    assert distribution.stopped_at is None


async def test_a_stopped_run_whose_worker_died_ends_with_its_lease(ledger: Ledger, where: str) -> None:
    """The sweeper says that it is over, not before."""
    run_id = await put_up(ledger, 20)
    await taken(ledger, run_id)
    await ledger.segments.stop(run_id, "interrupted", "interrupted")
    await ledger.segments.finish_runs("simulator")
    assert (await ledger.run(run_id)).state is RunState.SENDING
    ends(where)
    await ledger.segments.finish_runs("simulator")
    assert (await ledger.run(run_id)).state is RunState.STOPPED


async def test_a_segment_that_cannot_be_sent_is_given_back(ledger: Ledger) -> None:
    """Closed without a finish it is free at once."""
    run_id = await put_up(ledger, 20)
    run = await ledger.segments.take(run_id, 0, worker="one", lease=60)
    assert run is not None
    await run.close()
    assert [each.lost for each in await ledger.segments.waiting("simulator", 9)] == [False]


async def test_what_limits_count_is_that_of_the_whole_run(ledger: Ledger) -> None:
    """A segment knows what was refused, and is in doubt, in all others, and before the run was released."""
    run = await loaded(ledger, orders(100))
    await run.start()
    first = await run.claim((await ids(run))[:20])
    await run.record([OrderOutcome(order, OrderState.REFUSED, error="no") for order in first])
    await run.finish()
    await ledger.segments.put_up(run, brakes={}, enqueue=nowhere, size=SIZE)
    part = await taken(ledger, run.id)
    assert part.elsewhere == Tally(20, 0)
    claimed = await part.claim((await ids(part))[:20])
    await part.record([OrderOutcome(order, OrderState.IN_DOUBT, error="lost") for order in claimed])
    await part.finish()
    assert (await taken(ledger, run.id, 1)).elsewhere == Tally(20, 20)
    assert (await taken(ledger, run.id, 0)).elsewhere == Tally(20, 0)


async def test_workers_together_never_reserve_more_than_the_limit(ledger: Ledger, where: str) -> None:
    """Each reserves what its orders may cost, as far as the limit allows, until it says what they did cost."""
    run = await loaded(ledger, orders(120))
    chunks = sorted({order // 32 for order in await ids(run)})
    prices = Prices(limit=500, waiting=dict.fromkeys(chunks, 100), spent={})
    await ledger.segments.put_up(run, brakes={}, enqueue=nowhere, size=SIZE, prices=prices)
    async with await Ledger.open(where) as other:
        parts = await asyncio.gather(taken(ledger, run.id, 0), taken(other, run.id, 1), taken(ledger, run.id, 2))
        with psycopg.connect(where) as database:
            rows = database.execute("SELECT sum(spend), max(spend), min(spend) FROM segments").fetchall()
        assert rows == [(500, 200, 100)]
        assert sorted(part.elsewhere.spend for part in parts) == [0, 200, 400]
        await parts[0].finish()
        await ledger.segments.spent(parts[0], 60)
        again = await taken(ledger, run.id, 0)
        assert again.elsewhere.spend == sum(300 if part is parts[0] else 0 for part in parts)
        # The next worker of the segment counts all that was spent: a late word of the one before changes nothing.
        await again.finish()
        await ledger.segments.spent(again, 160)
        await ledger.segments.spent(parts[0], 60)
        with psycopg.connect(where) as database:
            assert database.execute("SELECT spend FROM segments WHERE number = 0").fetchall() == [(160,)]


async def test_a_lease_is_renewed_while_its_worker_lives(ledger: Ledger, where: str) -> None:
    """It moves on by itself, by the server's clock."""
    run_id = await put_up(ledger, 20)
    run = await ledger.segments.take(run_id, 0, worker="one", lease=1)
    assert run is not None
    with psycopg.connect(where, autocommit=True) as database:
        first = database.execute("SELECT lease_until FROM segments").fetchall()
        async with asyncio.timeout(60):
            while database.execute("SELECT lease_until FROM segments").fetchall() == first:  # noqa: ASYNC110
                await asyncio.sleep(0.02)  # a server has no events


async def test_a_file_is_not_shared(path: Path, clock: TurnedClock) -> None:
    """A run of a ledger in a file is not put up, and keeps its holder."""
    async with await TidyLedger.open(path, clock=clock) as ledger:
        run = await loaded(ledger, orders(1))
        with pytest.raises(LedgerError, match="many machines cannot share"):
            await ledger.segments.put_up(run, brakes={}, enqueue=nowhere)
        assert await ledger.segments.take(run.id, 0, worker="one", lease=60) is None
