"""Everything that can go wrong with an answer, at once, over real HTTP; judged by what the simulator has."""

from pathlib import Path
from typing import Any

import pytest

from gotsurge_async import Contact, Limits, Money, RetryPolicy, Timeouts
from gotsurge_async.bulk import Ledger, Mode, OrderState, Push
from gotsurge_async.clock import SystemClock
from gotsurge_async.simulator import Fault, Simulator, SimulatorOptions
from gotsurge_async.testing import simulated
from tests.support.orders import order, orders
from tests.support.pushes import place

PATIENT = RetryPolicy(attempts=12, base=0.001, cap=0.01)


def break_answers(simulator: Simulator, rate: float) -> None:
    """Order every fault there is, before and after the effect; together about ``rate`` of all calls are struck."""
    kinds = ("reset", "garbage", "half", "status", "delay")
    share = rate / (2 * len(kinds) + 1)
    seed = 0
    for when in ("before", "after"):
        for kind in kinds:
            seed += 1
            simulator.order_fault(Fault(when=when, kind=kind, status=500, seconds=30.0, rate=share, seed=seed))
    headers = {"Retry-After": "0"}
    simulator.order_fault(Fault(when="before", kind="status", status=429, headers=headers, rate=share, seed=99))


async def push_through(
    tmp_path: Path, mode: Mode, count: int, rate: float, **switches: str
) -> tuple[dict[str, OrderState], Simulator]:
    """Push orders through a service that breaks its answers; taken up again until nothing is left pending."""
    async with (
        Simulator(options=SimulatorOptions.from_mapping(switches)) as simulator,
        simulated(
            "platform",
            simulator=simulator,
            retry=PATIENT,
            timeouts=Timeouts(read=0.5),
            limits=Limits(concurrency=16),
        ) as gs,
        await Ledger.open(tmp_path / "ledger.db", clock=SystemClock().now) as ledger,
    ):
        push = Push(gs, ledger, mode=mode)
        run, _ = await push.load_orders(orders(count))
        break_answers(simulator, rate)
        async with run:
            while (await push.send(run)).stopped_by is not None:
                pass
            states = {row.key: row.state async for row in run.rows()}
    return states, simulator


def judge(states: dict[str, OrderState], simulator: Simulator, count: int) -> set[str]:
    """None lost, none doubled; the keys that are in doubt."""
    audit = simulator.audit()
    assert audit["doubled"] == {}
    created = {key for key, state in states.items() if state is OrderState.CREATED}
    in_doubt = {key for key, state in states.items() if state is OrderState.IN_DOUBT}
    assert len(created | in_doubt) == count
    assert created <= set(audit["by_tracking_id"]) <= created | in_doubt
    return in_doubt


LONG = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.mark.parametrize(
    ("count", "rebroadcast"),
    [(200, "skipped"), (200, "passes"), (400, "refused"), pytest.param(20_000, "refused", marks=LONG)],
)
async def test_two_phase_ends_with_every_order_created_once(tmp_path: Path, count: int, rebroadcast: str) -> None:
    """Whatever a second broadcast of a task is answered, every order is created once in the end, and none in doubt."""
    rate = 0.3 if count == 200 else 0.1
    states, simulator = await push_through(tmp_path, Mode.TWO_PHASE, count, rate, rebroadcast=rebroadcast)
    assert judge(states, simulator, count) == set()
    assert simulator.audit()["drafts"] > 0  # those that nobody broadcast


@pytest.mark.parametrize("count", [400, pytest.param(20_000, marks=LONG)])
async def test_direct_names_what_it_does_not_know(tmp_path: Path, count: int) -> None:
    """With a tenth of all answers broken, a direct push doubles nothing, and every order is created or in doubt."""
    states, simulator = await push_through(tmp_path, Mode.DIRECT, count, 0.1)
    in_doubt = judge(states, simulator, count)
    assert 0 < len(in_doubt) < count / 2


@pytest.mark.parametrize("dates", ["z", "fraction"])
@pytest.mark.parametrize(
    ("cents", "key", "adopted"), [(500, "K", True), (500, "B", True), (900, "K", False), (900, "B", False)]
)
async def test_only_a_draft_with_the_order_s_content_is_adopted(
    tmp_path: Path, dates: str, cents: int, key: str, adopted: bool
) -> None:
    """A second draft is refused: the first one is the order's, or that of a cheaper order with its tracking id."""
    create = "platform.drafts.create"
    async with place(tmp_path, tracking_id_unique="drafts-too", dates=dates) as here:
        here.simulator.order_fault(Fault(operation=create, when="after", kind="reset", times=1))
        here.simulator.order_fault(Fault(operation=create, kind="status", status=503, after_calls=1))
        here.simulator.order_fault(Fault(operation="platform.tasks.list", kind="status", status=503))
        first = await here.push([order("K")], mode=Mode.TWO_PHASE)
        assert await here.states(first) == {"K": OrderState.PENDING}
        here.simulator.clear_faults()
        here.simulator.order_fault(Fault(operation=create, when="before", kind="reset", times=1))
        push = Push(here.gs, here.ledger, mode=Mode.TWO_PHASE)
        changed = order("K", price=Money.of(cents // 100, "SGD"))
        run, _ = await push.load_orders([changed], key=lambda _: key)
        async with run:
            await push.send(run)
        (task,) = here.simulator.tasks()
        assert await here.states(run.id) == {key: OrderState.CREATED if adopted else OrderState.REFUSED}
        assert await here.tasks(run.id) == {key: task["id"] if adopted else ""}
        assert task["draft"] is not adopted


NOTES: dict[str, Any] = {"pickup_note_to_driver": "ask at gate 9", "officer_contact": Contact(name="Officer")}


@pytest.mark.parametrize(
    ("lost", "own", "adopted"),
    [
        (NOTES, {}, False),
        ({}, NOTES, False),
        (NOTES, NOTES, True),
        ({"extra": {"gate": 9}}, {}, False),
        ({"client_timezone": "Asia/Singapore"}, {}, True),
        ({"officer_contact": Contact(name="Officer", phone="+6581234567")}, NOTES, False),
    ],
)
@pytest.mark.parametrize("blanks", ["absent", "null", "empty"])
async def test_no_draft_with_more_or_less_than_the_order_is_adopted(
    tmp_path: Path, blanks: str, lost: dict[str, Any], own: dict[str, Any], adopted: bool
) -> None:
    """The lost draft is that of another order with the same tracking id, which has notes for the driver."""
    create = "platform.drafts.create"
    async with place(tmp_path, tracking_id_unique="drafts-too", blanks=blanks) as here:
        await here.gs.platform.drafts.create([order("T", **lost)])
        here.simulator.order_fault(Fault(operation=create, when="before", kind="reset", times=1))
        push = Push(here.gs, here.ledger, mode=Mode.TWO_PHASE)
        run, _ = await push.load_orders([order("T", **own)], key=lambda _: "B")
        async with run:
            await push.send(run)
        assert await here.states(run.id) == {"B": OrderState.CREATED if adopted else OrderState.REFUSED}
