"""A worker without a queue: what it takes, when it rests, what it stops for all, and what its lease must outlast."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import attrs
import pytest
from msgspec import structs

from gotsurge_async import GotSurge, RetryPolicy, SignInNeeded, Timeouts, UsageError
from gotsurge_async.api.endpoints import DRAFTS_BROADCAST, PLATFORM_TASKS_GET
from gotsurge_async.bulk import Brakes, Ledger, Mode, Push
from gotsurge_async.database import Database
from gotsurge_async.errors import code_of
from gotsurge_async.ledger import RunInfo, RunState
from gotsurge_async.ledger.segments import Beat, Distribution, Waiting
from gotsurge_async.money import Money
from gotsurge_async.push.brakes import prices_of
from gotsurge_async.push.worker import TRIES, Worker, refuse_short_lease, timeouts_for
from gotsurge_async.simulator import Fault, Simulator
from gotsurge_async.testing import simulated
from gotsurge_async.transports.base import NothingSent
from gotsurge_async.transports.memory import MemoryTransport
from tests.support.orders import orders as make_orders
from tests.support.pushes import QUICK, HastyClock


@pytest.mark.parametrize(
    ("lease", "claim_life", "pool", "told"),
    [
        (60, 60, 30, "give at least 101 s"),
        (60, 90, 10, "up to 20 s of waiting"),
        (10, 4, 5, "too short"),
        (1, 8, 0.1, "too short"),
    ],
)
def test_a_lease_outlasts_what_may_still_be_sent(lease: float, claim_life: float, pool: float, told: str) -> None:
    """One that ends before a claim is old, a connection was waited for and clocks went wrong is refused, with words."""
    with pytest.raises(UsageError, match=told):
        refuse_short_lease(lease, claim_life, Timeouts(pool=pool))
    with pytest.raises(UsageError, match="too short"):
        Worker(
            lambda _: nullcontext(),
            environment="local",
            lease=lease,
            claim_life=claim_life,
            timeouts=Timeouts(pool=pool),
        )


@pytest.mark.parametrize("lease", [2, 3, 10, 60, 600, 86_400])
def test_what_fits_a_lease_is_chosen(lease: float) -> None:
    """Unless they are given, the life of a claim and the time-outs are such that the lease is long enough."""
    refuse_short_lease(lease, lease / 4, timeouts_for(lease))
    Worker(lambda _: nullcontext(), environment="local", lease=lease)


# --- with a ledger ----------------------------------------------------------------------------------------------------


@attrs.define
class Crew:
    """A worker's ledger, a simulator, and a client that is signed in to it."""

    ledger: Ledger
    simulator: Simulator
    gs: GotSurge
    clock: HastyClock

    def worker(self, gs: GotSurge | None = None, **options: Any) -> Worker:
        """A worker that uses a client, ours unless given."""

        def connect(_: RunInfo) -> AbstractAsyncContextManager[GotSurge]:
            return nullcontext(gs or self.gs)

        return Worker(connect, environment="local", clock=self.clock, concurrency=2, **options)

    async def put_up(self, count: int = 60, *, brakes: Brakes | None = None, mode: Mode = Mode.DIRECT) -> str:
        """Put orders up, in segments of 20; the run."""
        push = Push(self.gs, self.ledger, mode=mode)
        run, _ = await push.load_orders(make_orders(count))
        brakes = brakes or Brakes()
        prices = None if brakes.max_spend is None else await prices_of(run, brakes.max_spend)
        await self.ledger.segments.put_up(run, brakes=brakes.for_workers(), enqueue=_nowhere, size=1, prices=prices)
        return run.id

    async def work(self, worker: Worker, run_id: str, *numbers: int) -> None:
        """Have a worker send some segments, one after another."""
        async with worker:
            for number in numbers:
                await worker.send(self.ledger, run_id, number)

    async def state(self, run_id: str) -> RunState:
        """Where a run stands."""
        return (await self.ledger.run(run_id)).state

    async def distribution(self, run_id: str) -> Distribution:
        """How it was put up."""
        found = await self.ledger.segments.distribution(run_id)
        assert found is not None
        return found


def _nowhere(_: Database, __: Sequence[Waiting]) -> None:
    """Wake nobody up."""


@pytest.fixture(params=[pytest.param("postgresql", marks=pytest.mark.slow)])
async def crew(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Crew]:
    """All that a worker needs; what needs it is slow."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    clock = HastyClock()
    async with (
        Simulator() as simulator,
        simulated("plain", simulator=simulator, retry=QUICK, clock=clock) as gs,
        await Ledger.open(database) as ledger,
    ):
        yield Crew(ledger, simulator, gs, clock)


async def test_each_segment_is_sent_once(crew: Crew) -> None:
    """Whoever names a segment again, or one or a run that is not there, has nothing sent; the last ends the run."""
    run_id = await crew.put_up()
    unknown = crew.worker()
    await crew.work(unknown, "20200101T000000-none", 0)
    assert (unknown.error, unknown.broken.is_set()) == (None, False)
    await crew.work(crew.worker(), run_id, 0, 0, 1, 7, 2, 2)
    assert await crew.state(run_id) is RunState.DONE
    assert (await crew.ledger.counts(run_id)).created == 60
    assert set(crew.simulator.audit()["by_tracking_id"].values()) == {1}


async def test_a_service_that_cannot_be_reached_makes_it_rest(crew: Crew) -> None:
    """It gives back and rests, longer each time; after ten tries in which nothing moved the run is stopped for all."""
    run_id = await crew.put_up(20)
    where, nobody = {"api_base": crew.simulator.api_base}, MemoryTransport([NothingSent("refused")] * 100)
    usual: dict[str, Any] = {"bearer_token": "none", "retry": RetryPolicy(attempts=1), "clock": crew.clock}
    async with GotSurge("local", **where, transport=nobody, **usual) as gs:
        worker = crew.worker(gs)
        async with worker:
            for _ in range(TRIES - 1):
                await worker.send(crew.ledger, run_id, 0)
                assert await crew.state(run_id) is RunState.SENDING
                assert len(await crew.ledger.segments.waiting("local", 9)) == 1
            rests = [seconds for seconds in crew.clock.slept if 2 <= seconds <= 30]
            assert rests == [2, 4, 8, 16, 30, 30, 30, 30, 30]
            await worker.send(crew.ledger, run_id, 0)
    assert await crew.state(run_id) is RunState.STOPPED
    distribution = await crew.distribution(run_id)
    assert distribution.stopped_as == "NotSent"
    assert (distribution.stopped_by or "").startswith(f"worker {worker.name}: ")  # perhaps only it cannot
    assert (await crew.ledger.counts(run_id)).pending == 20


async def test_a_limit_stops_the_run_for_all(crew: Crew) -> None:
    """Nobody takes a segment after it, and the reason is kept."""
    run_id = await crew.put_up(brakes=Brakes(max_errors=0))
    crew.simulator.order_fault(Fault(operation="tasks.create", kind="status", status=422, times=1))
    await crew.work(crew.worker(), run_id, 0, 1, 2)
    assert await crew.state(run_id) is RunState.STOPPED
    distribution = await crew.distribution(run_id)
    assert (distribution.stopped_as, distribution.stopped_by) == (
        "LimitReached",
        "20 orders are refused, more than the limit of 0",
    )
    assert code_of(distribution.stopped_by) == "E601"  # for the push that waits, on another machine
    counts = await crew.ledger.counts(run_id)
    assert (counts.refused, counts.pending) == (20, 40)


async def test_limits_count_what_others_did(crew: Crew) -> None:
    """What was refused in other segments counts, also that of a worker that has ended."""
    run_id = await crew.put_up(brakes=Brakes(max_errors=20))
    crew.simulator.order_fault(Fault(operation="tasks.create", kind="status", status=422, times=2))
    await crew.work(crew.worker(), run_id, 0)
    assert await crew.state(run_id) is RunState.SENDING
    await crew.work(crew.worker(), run_id, 1, 2)
    assert (await crew.distribution(run_id)).stopped_by == "40 orders are refused, more than the limit of 20"


@pytest.mark.parametrize(("limit", "segments"), [(0, 1), (20, 2)])
async def test_a_limit_of_doubts_ends_a_two_phase_run(crew: Crew, limit: int, segments: int) -> None:
    """Orders whose broadcast may have acted are in doubt, and count in every segment that was given back."""
    async with simulated("platform", simulator=crew.simulator, retry=QUICK, clock=crew.clock) as gs:
        crew = attrs.evolve(crew, gs=gs)
        brakes = Brakes(max_in_doubt=limit, doubts_in_a_row=None)
        run_id = await crew.put_up(80, mode=Mode.TWO_PHASE, brakes=brakes)
        crew.simulator.order_fault(Fault(operation=DRAFTS_BROADCAST.name, kind="reset"))
        crew.simulator.order_fault(Fault(operation=PLATFORM_TASKS_GET.name, kind="status", status=500))
        await crew.work(crew.worker(), run_id, *range(segments - 1))
        assert await crew.state(run_id) is RunState.SENDING
        await crew.work(crew.worker(), run_id, segments - 1, segments)
    assert await crew.state(run_id) is RunState.STOPPED
    distribution = await crew.distribution(run_id)
    in_doubt = segments * 20
    assert (distribution.stopped_as, distribution.stopped_by) == (
        "LimitReached",
        f"{in_doubt} orders are in doubt, more than the limit of {limit}",
    )
    counts = await crew.ledger.counts(run_id)
    assert (counts.broadcasting, counts.pending) == (in_doubt, 80 - in_doubt)


async def test_workers_never_spend_more_than_the_limit(crew: Crew) -> None:
    """The next orders that would go beyond it are not sent, by whomever."""
    price = make_orders(1)[0].price
    limit = Money(millicents=price.millicents * 45, currency=price.currency)
    run_id = await crew.put_up(brakes=Brakes(max_spend=limit))
    await asyncio.gather(*(crew.work(crew.worker(), run_id, number) for number in range(3)))
    distribution = await crew.distribution(run_id)
    assert (distribution.stopped_as, await crew.state(run_id)) == ("LimitReached", RunState.STOPPED)
    assert "would bring the spend above" in (distribution.stopped_by or "")
    counts = await crew.ledger.counts(run_id)  # whoever meets the limit first stops the others, wherever they are
    assert counts.created <= 40
    assert counts.created + counts.pending == 60


async def test_what_was_reserved_and_not_spent_is_free_again(crew: Crew) -> None:
    """Refused orders cost nothing: others may spend it."""
    price = make_orders(1)[0].price
    run_id = await crew.put_up(
        brakes=Brakes(max_spend=Money(millicents=price.millicents * 40, currency=price.currency))
    )
    crew.simulator.order_fault(Fault(operation="tasks.create", kind="status", status=422, times=1))
    await crew.work(crew.worker(), run_id, 0, 1, 2)
    counts = await crew.ledger.counts(run_id)
    assert (counts.refused, counts.created, await crew.state(run_id)) == (20, 40, RunState.DONE)


async def test_each_account_and_server_has_a_client(crew: Crew) -> None:
    """Runs of one share it; an account that is named as a mode is not taken for the usual one of that mode."""
    connected: list[RunInfo] = []

    def connect(info: RunInfo) -> AbstractAsyncContextManager[GotSurge]:
        connected.append(info)
        return nullcontext(crew.gs)

    info = await crew.ledger.run(await crew.put_up(1))
    places: list[dict[str, Any]] = [{}, {"account": "direct"}, {"api_base": "http://127.0.0.1:1/a"}, {"account": None}]
    async with Worker(connect, environment="local", clock=crew.clock) as worker:
        for options in places:
            await worker._client(structs.replace(info, options=options))
    assert [each.options for each in connected] == places[:3]


async def test_one_that_cannot_sign_in_leaves_the_run_to_others(crew: Crew) -> None:
    """It is this worker's own trouble: the segment is given back at once, and the worker says why it cannot go on."""

    @asynccontextmanager
    async def connect(_: RunInfo) -> AsyncIterator[GotSurge]:
        raise SignInNeeded("sign in first")
        yield crew.gs

    run_id = await crew.put_up(20)
    worker = Worker(connect, environment="local", clock=crew.clock)
    await crew.work(worker, run_id, 0)
    assert isinstance(worker.error, SignInNeeded)
    assert worker.broken.is_set()
    assert [each.lost for each in await crew.ledger.segments.waiting("local", 9)] == [False]
    await crew.work(crew.worker(), run_id, 0)
    assert await crew.state(run_id) is RunState.DONE


@pytest.mark.parametrize(
    ("state", "environment", "ends"),
    [("working", "local", True), ("draining", "local", False), ("working", "x", False)],
)
async def test_one_whose_token_no_longer_works_leaves_the_run_to_others(
    crew: Crew, state: str, environment: str, ends: bool
) -> None:
    """Where others of its environment work, whose sign-in may be another one, only it ends, else the run does."""
    await crew.ledger.workers.register("other", environment)
    await crew.ledger.workers.beat("other", Beat(state=state))
    run_id = await crew.put_up(20)
    async with GotSurge(
        "local", api_base=crew.simulator.api_base, bearer_token="ended", retry=QUICK, clock=crew.clock
    ) as gs:
        worker = crew.worker(gs)
        await crew.work(worker, run_id, 0)
    assert (worker.error is not None) is ends
    assert await crew.state(run_id) is (RunState.SENDING if ends else RunState.STOPPED)
    assert (await crew.distribution(run_id)).stopped_as in ((None,) if ends else ("SignInNeeded", "Unauthorized"))
    assert (await crew.ledger.counts(run_id)).pending == 20


async def test_a_mistake_in_the_program_ends_it(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not hidden by the queue, and the segment is given back."""

    async def send(*_: object) -> None:
        raise ZeroDivisionError

    run_id = await crew.put_up(20)
    monkeypatch.setattr(Push, "send", send)
    worker = crew.worker()
    await crew.work(worker, run_id, 0)
    assert isinstance(worker.error, ZeroDivisionError)
    assert [each.lost for each in await crew.ledger.segments.waiting("local", 9)] == [False]


async def test_runs_that_it_does_not_serve_are_left_to_others(crew: Crew) -> None:
    """Nothing of them is taken."""
    run_id = await crew.put_up(20)
    await crew.work(crew.worker(serves=lambda info: info.id != run_id), run_id, 0)
    assert [each.number for each in await crew.ledger.segments.waiting("local", 9)] == [0]


async def test_a_worker_that_is_stopped_releases_what_it_has(crew: Crew) -> None:
    """What is in flight is recorded, and the rest waits; nothing more is begun."""
    run = Push(crew.gs, crew.ledger)
    loaded, _ = await run.load_orders(make_orders(200))
    await crew.ledger.segments.put_up(loaded, brakes={}, enqueue=_nowhere, size=10)
    worker = crew.worker()
    async with worker:
        leave = crew.gs.hooks.add(lambda _: worker.stop())
        await worker.send(crew.ledger, loaded.id, 0)
        leave()
    counts = await crew.ledger.counts(loaded.id)
    assert (counts.created + counts.pending, counts.created < 200) == (200, True)
    assert [each.lost for each in await crew.ledger.segments.waiting("local", 9)] == [False]


async def test_one_that_is_aborted_says_in_doubt(crew: Crew) -> None:
    """What was in flight is in doubt, and its segment is given back: others need not wait for the lease."""
    run_id = await crew.put_up(20)
    crew.simulator.order_fault(Fault(operation="tasks.create", when="after", kind="delay", seconds=60))
    worker = crew.worker()
    async with worker:
        sending = asyncio.create_task(worker.send(crew.ledger, run_id, 0))
        async with asyncio.timeout(60):
            while crew.simulator.audit()["tasks"] < 20:  # noqa: ASYNC110 - the simulator tells no other way
                await asyncio.sleep(0.01)
        await worker.abort()
        assert sending.cancelled()
    assert (await crew.ledger.counts(run_id)).in_doubt == 20
    assert await crew.state(run_id) is RunState.DONE


async def test_it_says_that_it_lives_and_stops_what_was_stopped(crew: Crew) -> None:
    """Its beat tells how much it did; one that was forgotten registers again; a stopped run is drained."""
    run_id = await crew.put_up(20)
    crew.simulator.order_fault(Fault(operation="tasks.create", kind="delay", seconds=0.5))
    worker = crew.worker(name="here")

    async def serve() -> None:
        await worker.send(crew.ledger, run_id, 0)
        await asyncio.Event().wait()

    async with worker:
        working = asyncio.create_task(worker.work(crew.ledger, serve))
        async with asyncio.timeout(60):
            while not crew.simulator.audit()["calls"].get("tasks.create"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await crew.ledger.workers.leave("here")
        assert await crew.ledger.segments.stop(run_id, "interrupted", "interrupted")
        async with asyncio.timeout(60):
            while not (found := await crew.ledger.workers.all()) or found[0].orders < 20:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert [(each.id, each.state, each.environment) for each in found] == [("here", "working", "local")]
        assert found[0].silent < 60
        worker.stop()
        await working
    assert await crew.ledger.workers.all() == []


async def test_a_run_of_another_server_is_left_to_others(crew: Crew, caplog: pytest.LogCaptureFixture) -> None:
    """The worker skips it, reports that once, and continues; the run is not entered for the wrong account."""
    there = await crew.put_up(20)
    async with Simulator() as other, simulated("plain", simulator=other, clock=crew.clock) as gs:
        worker = crew.worker(gs)
        await crew.work(worker, there, 0, 0)
        assert (worker.broken.is_set(), worker.error, worker._entered) == (False, None, set())
    assert [text for text in caplog.messages if "belongs to the server" in text] == caplog.messages
    assert len(caplog.messages) == 1
    assert (await crew.ledger.counts(there)).pending == 20
    await crew.work(crew.worker(), there, 0)
    assert (await crew.ledger.counts(there)).created == 20
