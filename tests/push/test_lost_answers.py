"""Everything that can go wrong with an answer, at once, over real HTTP; judged by what the simulator has."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async import Contact, Created, Limits, Money, Refused, RetryPolicy, Timeouts, Unprocessed
from gotsurge_async.bulk import Desk, Ledger, Mode, OrderState, Push
from gotsurge_async.clock import SystemClock
from gotsurge_async.ledger.submitted import SubmittedOrders
from gotsurge_async.push.desk import submitting
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


LOST = [
    Fault(operation="platform.drafts.create", when="after", kind="reset", times=1),
    Fault(operation="platform.drafts.create", kind="status", status=503, after_calls=1),
]
LEFT = [Fault(operation="platform.drafts.broadcast", kind="status", status=429)]


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("later", [0, 1])
@pytest.mark.parametrize("faults", [LOST, LEFT])
async def test_a_desk_goes_on_with_the_draft_of_its_order(
    tmp_path: Path, faults: list[Fault], later: int, restarts: bool
) -> None:
    """It was not broadcast, so its caller creates the order again, as told, perhaps with another time of its making."""
    async with place(tmp_path, tracking_id_unique="drafts-too") as here:
        again = order(client_time_utc=order().client_time_utc + timedelta(seconds=later))
        async with Desk(here.gs, here.ledger, mode=Mode.TWO_PHASE) as desk:
            for fault in faults:
                here.simulator.order_fault(fault)
            for _ in range(2):
                assert isinstance(await desk.create(order()), Unprocessed)
            here.simulator.clear_faults()
            if not restarts:
                assert isinstance(await desk.create(again), Created)
        async with Desk(here.gs, here.ledger, mode=Mode.TWO_PHASE) as desk:
            outcome = await desk.create(again)
            assert isinstance(outcome, Created)
            assert outcome.replayed is not restarts
        (task,) = here.simulator.tasks()
        assert not task["draft"]


async def test_a_submitted_order_goes_on_with_its_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its broadcast found the service busy; the next try of the desk does not fail because of the draft."""
    heard: list[type] = []
    is_put_off = asyncio.Event()
    put_off = SubmittedOrders.put_off

    async def put_off_now(orders: SubmittedOrders, *which: Any, **more: Any) -> None:
        await put_off(orders, *which, **more)
        is_put_off.set()

    monkeypatch.setattr(submitting, "pause_after", lambda _: 0.0)
    monkeypatch.setattr(SubmittedOrders, "put_off", put_off_now)
    async with place(tmp_path, tracking_id_unique="drafts-too") as here:
        here.simulator.order_fault(LEFT[0])

        def note(_: str, outcome: object) -> None:
            heard.append(type(outcome))

        async with Desk(here.gs, here.ledger, mode=Mode.TWO_PHASE, on_outcome=note) as desk:
            await desk.submit(order())
            await is_put_off.wait()
            here.simulator.clear_faults()
            assert isinstance(await desk.outcome("T-1"), Created)
        assert heard == [Created]
        (task,) = here.simulator.tasks()
        assert not task["draft"]


async def test_a_desk_takes_no_other_order_s_draft(tmp_path: Path) -> None:
    """The draft has the tracking id and the content, and is that of an order with another key: this one is refused."""
    async with (
        place(tmp_path, tracking_id_unique="drafts-too") as here,
        Desk(here.gs, here.ledger, mode=Mode.TWO_PHASE) as desk,
    ):
        here.simulator.order_fault(LEFT[0])
        for key in ("A", "B"):
            assert isinstance(await desk.create(order(), key=key), Unprocessed if key == "A" else Refused)
        here.simulator.clear_faults()
        assert isinstance(await desk.create(order(), key="B"), Refused)
        assert isinstance(await desk.create(order(), key="A"), Created)
