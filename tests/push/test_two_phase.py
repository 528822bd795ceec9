"""The two-phase push over real HTTP, judged by what the simulator has."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async import Created, Limits, Order, RetryPolicy, Timeouts
from gotsurge_async.bulk import Brakes, Desk, Ledger, LimitReached, Mode, OrderState, Push, Run, Undo
from gotsurge_async.clock import SystemClock
from gotsurge_async.errors import Forbidden
from gotsurge_async.simulator import Fault, Simulator, SimulatorOptions
from gotsurge_async.testing import simulated
from tests.support.orders import order, orders

QUICK = RetryPolicy(attempts=8, base=0.001, cap=0.005)


@asynccontextmanager
async def pushing(
    tmp_path: Path, *, account: str = "platform", options: SimulatorOptions | None = None, **push: Any
) -> AsyncIterator[tuple[Push, Simulator]]:
    """A two-phase push to a simulator."""
    push.setdefault("mode", Mode.TWO_PHASE)
    async with (
        Simulator(options=options or SimulatorOptions()) as simulator,
        simulated(
            account, simulator=simulator, retry=QUICK, timeouts=Timeouts(read=1.0), limits=Limits(concurrency=4)
        ) as gs,
        await Ledger.open(tmp_path / "ledger.db", clock=SystemClock().now) as ledger,
    ):
        yield Push(gs, ledger, **push), simulator


def exactly_once(simulator: Simulator, wanted: list[Order]) -> None:
    """Every order is a task, once."""
    audit = simulator.audit()
    assert audit["doubled"] == {}
    assert set(audit["by_tracking_id"]) == {each.tracking_id for each in wanted}


async def states(run: Run) -> dict[OrderState, int]:
    """How many orders are in each state."""
    counts = await run.counts()
    return {state: counts[state] for state in OrderState if counts[state]}


@pytest.mark.parametrize(("shape", "updated"), [("list", "tasks"), ("map", "ids"), ("single", "ids")])
async def test_drafts_are_recorded_broadcast_and_read(tmp_path: Path, shape: str, updated: str) -> None:
    """In every shape of the answers orders end as tasks past draft, each recorded with its id."""
    options = SimulatorOptions.from_mapping({"draft_tasks": shape, "updated_tasks": updated})
    wanted = orders(3 if shape == "single" else 50)
    async with pushing(tmp_path, options=options, chunk=1 if shape == "single" else 20) as (push, simulator):
        async with (await push.load_orders(wanted))[0] as run:
            assert (await push.send(run)).stopped_by is None
            assert await states(run) == {OrderState.CREATED: len(wanted)}
            rows = [row async for row in run.rows()]
        exactly_once(simulator, wanted)
    assert all(row.task_id and row.status == "broadcasting" for row in rows)


@pytest.mark.parametrize(("account", "mode"), [("platform", Mode.TWO_PHASE), ("plain", Mode.DIRECT)])
async def test_the_service_is_asked_what_the_account_may(tmp_path: Path, account: str, mode: Mode) -> None:
    """auto is two-phase for a platform partner, and direct for a plain one."""
    async with pushing(tmp_path, account=account) as (push, _):
        assert await push.choose_mode() is mode


async def test_a_plain_partner_is_not_silently_sent_direct(tmp_path: Path) -> None:
    """A two-phase push that the account may not make sends nothing, and says so."""
    async with pushing(tmp_path, account="plain") as (push, simulator):
        async with (await push.load_orders(orders(3)))[0] as run:
            sent = await push.send(run)
            assert isinstance(sent.stopped_by, Forbidden)
            assert await states(run) == {OrderState.PENDING: 3}
        assert simulator.audit()["tasks"] == 0


@pytest.mark.parametrize("mode", list(Mode))
async def test_the_canary_goes_first(tmp_path: Path, mode: Mode) -> None:
    """With a canary of 3 whose read fails, 3 orders are there and the rest was not sent."""
    read = "platform.tasks.get" if mode is Mode.TWO_PHASE else "tasks.get"
    options = SimulatorOptions.from_mapping({"updated_tasks": "tasks"})
    async with pushing(tmp_path, mode=mode, options=options, brakes=Brakes(canary=3)) as (push, simulator):
        fault = Fault(operation=read, when="before", kind="status", status=404)
        simulator.order_fault(fault)
        async with (await push.load_orders(orders(50)))[0] as run:
            sent = await push.send(run)
            assert isinstance(sent.stopped_by, LimitReached)
            assert simulator.audit()["tasks"] == 3
            simulator.clear_faults()
            assert (await push.send(run)).stopped_by is None
        exactly_once(simulator, orders(50))


# --- two faults in a row ----------------------------------------------------------------------------------------------

BLIND = {
    "401": Fault(operation="platform.tasks.get", kind="status", status=401),
    "503": Fault(operation="platform.tasks.get", kind="status", status=503),
    "reset": Fault(operation="platform.tasks.get", kind="reset"),
}


@pytest.mark.parametrize("blind", BLIND)
async def test_a_broadcast_that_may_have_acted_stays_so(tmp_path: Path, blind: str) -> None:
    """When its answer is lost and the read fails too, an order is in doubt and stays broadcasting until it is read."""
    async with pushing(tmp_path) as (push, simulator):
        simulator.order_fault(Fault(operation="platform.drafts.broadcast", when="after", kind="reset"))
        simulator.order_fault(BLIND[blind])
        async with (await push.load_orders(orders(3)))[0] as run:
            assert (await push.send(run)).stopped_by is not None
            assert await states(run) == {OrderState.BROADCASTING: 3}
            assert all("may have been broadcast" in (row.error or "") for row in [row async for row in run.rows()])
            simulator.clear_faults()
            assert (await push.send(run)).stopped_by is None
            assert await states(run) == {OrderState.CREATED: 3}
        exactly_once(simulator, orders(3))


@pytest.mark.parametrize("status", [401, 429])
async def test_a_broadcast_that_certainly_never_left_is_a_draft(tmp_path: Path, status: int) -> None:
    """Drafts whose broadcast was refused before anything was done wait for it, and are not in doubt."""
    async with pushing(tmp_path) as (push, simulator):
        simulator.order_fault(Fault(operation="platform.drafts.broadcast", kind="status", status=status))
        async with (await push.load_orders(orders(3)))[0] as run:
            await push.send(run)
            assert await states(run) == {OrderState.DRAFTED: 3}


async def test_a_lost_broadcast_is_no_draft_for_a_429_that_follows(tmp_path: Path) -> None:
    """What may have acted at the first try may have acted, though every later try was certainly not processed."""
    async with pushing(tmp_path) as (push, simulator):
        simulator.order_fault(Fault(operation="platform.drafts.broadcast", when="after", kind="reset", times=1))
        simulator.order_fault(Fault(operation="platform.drafts.broadcast", kind="status", status=429, after_calls=1))
        simulator.order_fault(BLIND["503"])
        async with (await push.load_orders(orders(3)))[0] as run:
            await push.send(run)
            assert await states(run) == {OrderState.BROADCASTING: 3}


@pytest.mark.parametrize("ended", ["cancelled", "expired"])
async def test_a_draft_that_ended_at_the_service_is_never_called_created(tmp_path: Path, ended: str) -> None:
    """An order whose draft was cancelled, or expired, before the broadcast is cancelled: its key is free."""
    async with pushing(tmp_path) as (push, simulator):
        simulator.order_fault(Fault(operation="platform.drafts.broadcast", kind="status", status=429))
        async with (await push.load_orders(orders(2)))[0] as run:
            await push.send(run)
            tasks = {row.key: row.task_id or "" async for row in run.rows()}
            simulator.move(tasks["T-0"], ended, force=True)
            simulator.clear_faults()
            await push.send(run)
            assert await states(run) == {OrderState.CREATED: 1, OrderState.CANCELLED: 1}
        again, admission = await push.load_orders(orders(2))
        assert (admission.pending, admission.already_pushed) == (1, 1)
        async with again:
            await push.send(again)
        live = [task for task in simulator.tasks() if task["history"][-1][0] != ended]
        assert sorted(task["tracking_id"] for task in live) == ["T-0", "T-1"]


@pytest.mark.parametrize("by_desk", [False, True])
async def test_only_the_account_that_made_a_draft_broadcasts_it(tmp_path: Path, by_desk: bool) -> None:
    """The same order of another account is drafted anew; the first draft stays an unused one of its own run."""
    async with (
        Simulator() as simulator,
        simulated("platform", simulator=simulator, accounts=["acme", "bert"], retry=QUICK) as gs,
        await Ledger.open(tmp_path / "ledger.db") as ledger,
    ):
        simulator.order_fault(Fault(operation="platform.drafts.broadcast", kind="status", status=429))
        acme, bert = (Push(gs.as_account(name), ledger, mode=Mode.TWO_PHASE) for name in ("acme", "bert"))
        async with (await acme.load_orders([order("T-1")]))[0] as run:
            await acme.send(run)
            (drafted,) = [row.task_id async for row in run.rows((OrderState.DRAFTED,))]
        simulator.clear_faults()
        if by_desk:
            async with await Desk.open(gs.as_account("bert"), tmp_path / "ledger.db", mode=Mode.TWO_PHASE) as desk:
                assert isinstance(await desk.create(order("T-1")), Created)
        else:
            async with (await bert.load_orders([order("T-1")]))[0] as theirs:
                await bert.send(theirs)
        (still,) = [task["id"] for task in simulator.tasks() if task["draft"]]
        assert [draft.task_id for draft in await ledger.unused_drafts(run.id)] == [still] == [drafted]
        assert len((await Undo(gs.as_account("acme"), ledger).undo(run.id, drafts=True)).drafts) == 1
