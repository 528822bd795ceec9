"""Whole flows of the client against a simulator over real HTTP."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Literal

import pytest

from gotsurge_async import (
    Created,
    GotSurge,
    InDoubt,
    NotFound,
    Order,
    OrderResult,
    Refused,
    RetryPolicy,
    SignInNeeded,
    TaskStatus,
    Timeouts,
    TooLateToCancel,
    Unprocessed,
)
from gotsurge_async.clock import SystemClock
from gotsurge_async.hooks import Event, TokenRefreshed
from gotsurge_async.simulator import Fault, Simulator, SimulatorOptions
from gotsurge_async.testing import simulated
from tests.support.orders import NOW, order, orders

When = Literal["before", "after"]
Kind = Literal["reset", "status", "garbage", "half"]
WHEN: tuple[When, ...] = ("before", "after")
KINDS: tuple[Kind, ...] = ("reset", "status", "garbage", "half")
QUICK = RetryPolicy(attempts=12, base=0.005, cap=0.05)


class January(SystemClock):
    """The machine's time, but that it is always the same day; the orders of the tests are for the next one."""

    def now(self) -> datetime:
        return NOW


class World:
    """A simulator, a client signed in to it, and its events."""

    def __init__(self, sim: Simulator, gs: GotSurge, events: list[Event]) -> None:
        self.sim = sim
        self.gs = gs
        self.events = events

    async def push(self, given: list[Order], **options: Any) -> list[OrderResult[Order]]:
        """Push, and take all results."""
        return [result async for result in self.gs.push(given, **options)]

    def check_results(self, results: list[OrderResult[Order]], count: int) -> Counter[str]:
        """Each order has one result, and what the simulator has of it is what its result says."""
        audit = self.sim.audit()
        assert audit["doubled"] == {}
        assert Counter(result.order.tracking_id for result in results) == Counter(f"T-{n}" for n in range(count))
        for result in results:
            there = audit["by_tracking_id"].get(result.order.tracking_id, 0)
            if isinstance(result, Created):
                assert there == 1
                assert result.receipt.tracking_id == result.order.tracking_id
            elif not isinstance(result, InDoubt):
                assert there == 0
        return Counter(type(result).__name__ for result in results)


@asynccontextmanager
async def world(options: SimulatorOptions | None = None, **client: Any) -> AsyncIterator[World]:
    """A simulator whose time is `NOW` and a client that has signed in to it with a code."""
    events: list[Event] = []
    async with Simulator(options=options or SimulatorOptions(), clock=January()) as sim:
        options: dict[str, Any] = {"hooks": [events.append], "retry": QUICK, "timeouts": Timeouts(read=5.0)}
        async with simulated(simulator=sim, clock=January(), **options, **client) as gs:
            yield World(sim, gs, events)


async def test_an_order_s_life() -> None:
    """An order is created, read, cancelled, and cancelled again without an error."""
    async with world() as w:
        made = await w.gs.tasks.create([order("T-0")])
        task_id = made.tasks[0].id
        read = await w.gs.tasks.get(task_id)
        assert (read.id, read.tracking_id, read.current_status) == (task_id, "T-0", TaskStatus.BROADCASTING)
        assert read.price == order().price
        assert read.from_time_window == order().from_time_window
        assert read.to_contact == order().to_contact
        await w.gs.tasks.cancel(task_id, reason="the vessel sails tomorrow")
        assert (await w.gs.tasks.get(task_id)).current_status == TaskStatus.CANCELLED
        assert (await w.gs.tasks.cancel(task_id, reason="again")).message == "the task is cancelled"
        with pytest.raises(NotFound):
            await w.gs.tasks.get("00000000-0000-0000-0000-000000000000")


async def test_a_task_that_a_driver_has_is_too_late_to_cancel() -> None:
    """Once a driver has accepted, a cancel is TooLateToCancel and carries the task."""
    async with world() as w:
        task_id = (await w.gs.tasks.create([order("T-0")])).tasks[0].id
        w.sim.move(task_id, "accepted")
        with pytest.raises(TooLateToCancel, match="the task is accepted") as caught:
            await w.gs.tasks.cancel(task_id, reason="too late")
        assert caught.value.task.id == task_id
        assert caught.value.task.current_status == TaskStatus.ACCEPTED


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_cancel_whose_answer_is_lost_converges(when: When, kind: Kind) -> None:
    """Whether or not the lost cancel was carried out, the task is cancelled in the end."""
    async with world() as w:
        task_id = (await w.gs.tasks.create([order("T-0")])).tasks[0].id
        w.sim.order_fault(Fault(operation="tasks.cancel", when=when, kind=kind, times=1))
        await w.gs.tasks.cancel(task_id, reason="the vessel sails tomorrow")
        assert (await w.gs.tasks.get(task_id)).current_status == TaskStatus.CANCELLED


async def test_a_push_through_limits_and_a_lost_token_creates_each_order_once() -> None:
    """Of 500 orders pushed through 429s and a 401, each is created exactly once."""
    async with world() as w:
        w.sim.order_fault(
            Fault(operation="tasks.create", kind="status", status=429, headers={"Retry-After": "0"}, rate=0.3, seed=3)
        )
        w.sim.order_fault(Fault(operation="tasks.create", kind="status", status=401, times=1))
        results = await w.push(orders(500), concurrency=8)
        assert w.check_results(results, 500) == {"Created": 500}
        calls = w.sim.audit()["calls"]
        assert calls["tasks.create"] > 30
        assert calls["auth.refresh"] == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_lost_answers_are_in_doubt_and_nothing_is_doubled(kind: Kind) -> None:
    """With answers lost before and after the effect the rest is created once, and the lost are in doubt by name."""
    async with world() as w:
        for seed, when in enumerate(WHEN, 1):
            w.sim.order_fault(Fault(operation="tasks.create", when=when, kind=kind, rate=0.2, seed=seed))
        results = await w.push(orders(400), chunk=10, concurrency=8)
        counts = w.check_results(results, 400)
        assert set(counts) == {"Created", "InDoubt"}
        assert counts["InDoubt"] >= 40
        in_doubt = {result.order.tracking_id for result in results if isinstance(result, InDoubt)}
        assert 0 < sum(name in in_doubt for name in w.sim.audit()["by_tracking_id"]) < len(in_doubt)
        assert w.sim.audit()["calls"]["tasks.create"] == 40


async def test_a_token_that_expires_in_the_middle_is_renewed_once() -> None:
    """When the clock of the service runs past the token's end, one refresh follows and no order is lost."""
    async with world() as w:

        async def source() -> AsyncIterator[Order]:
            for number, each in enumerate(orders(400)):
                if number == 200:
                    w.sim.advance(31 * 86_400)
                yield each

        results = [result async for result in w.gs.push(source(), chunk=10, concurrency=6)]
        refused = [result.error.service_message for result in results if isinstance(result, Refused)]
        assert all("from_time_window" in message or "past" in message for message in refused)
        assert {type(result) for result in results} <= {Created, Refused}
        assert w.check_results(results, 400)["Created"] >= 200
        assert w.sim.audit()["calls"]["auth.refresh"] == 1
        assert len([event for event in w.events if isinstance(event, TokenRefreshed)]) == 1


async def test_a_revoked_account_stops_the_push() -> None:
    """When token and refresh token are taken away the push ends with SignInNeeded, and a new sign-in mends it."""
    async with world() as w:
        seen: list[OrderResult[Order]] = []

        async def source() -> AsyncIterator[Order]:
            for number, each in enumerate(orders(400)):
                if number == 100:
                    w.sim.revoke("plain")
                yield each

        async def read() -> None:
            async for result in w.gs.push(source(), chunk=10, concurrency=2):
                seen.append(result)  # noqa: PERF401 - a comprehension would lose what comes before the error

        with pytest.raises(SignInNeeded):
            await read()
        kinds = {type(result) for result in seen}
        assert kinds == {Created, Unprocessed}
        assert len(seen) < 200
        created = [result.order.tracking_id for result in seen if isinstance(result, Created)]
        assert w.sim.audit()["by_tracking_id"] == dict.fromkeys(created, 1)
        await w.gs.sign_in(w.sim.new_code("plain"))
        again = await w.push([result.order for result in seen if isinstance(result, Unprocessed)])
        assert {type(result) for result in again} == {Created}


async def test_a_shuffled_and_silent_service_is_matched_as_far_as_it_can_be() -> None:
    """With answers out of order each order has its own task, and where nothing is echoed it stands by its place."""
    async with world(SimulatorOptions(answer_order="shuffled")) as w:
        results = await w.push(orders(60))
        assert w.check_results(results, 60) == {"Created": 60}
        for result in results[:5]:
            assert isinstance(result, Created)
            assert (await w.gs.tasks.get(result.receipt.id)).tracking_id == result.order.tracking_id
    async with world(SimulatorOptions(tracking_id_echo="reads")) as w:
        results = await w.push([order(f"T-{number}", invoice_number=None) for number in range(40)])
        for result in results:
            assert isinstance(result, Created)
            assert (await w.gs.tasks.get(result.receipt.id)).tracking_id == result.order.tracking_id


async def test_a_push_that_is_cancelled_leaves_nothing_running() -> None:
    """Cancelled in the middle, push and client leave no task, and every order sent was yielded or is in flight."""
    async with world() as w:
        w.sim.order_fault(Fault(operation="tasks.create", kind="delay", seconds=30.0, rate=0.5, seed=4))
        stream = w.gs.push(orders(200), chunk=5, concurrency=4)
        seen: list[OrderResult[Order]] = []

        async def read() -> None:
            async for result in stream:
                seen.append(result)  # noqa: PERF401

        reading = asyncio.create_task(read())
        await w.sim.called("tasks.create", times=4)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        known = {each.order.tracking_id for each in seen} | {each.tracking_id for each in stream.in_flight}
        assert set(w.sim.audit()["by_tracking_id"]) <= known
        assert w.sim.audit()["doubled"] == {}
    assert not [task for task in asyncio.all_tasks() if "gotsurge_async" in task.get_stack()[0].f_code.co_filename]
