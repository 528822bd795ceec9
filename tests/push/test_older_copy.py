"""Going on with an older copy of a ledger, over real HTTP."""

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async import Money
from gotsurge_async.bulk import Ledger, Mode, OrderState, Push, Reconciler, Undo
from gotsurge_async.ledger.upkeep.older_copy import accept_older
from gotsurge_async.simulator import Fault
from tests.after.test_odd_lists import list_tells
from tests.support.orders import order, orders
from tests.support.pushes import place

MENDED = order("T-0", price=Money.of("6.00", "SGD"))


@pytest.mark.parametrize("since", ["mended", "undone", "nothing"])
async def test_a_draft_in_an_older_copy_is_not_broadcast(tmp_path: Path, since: str) -> None:
    """An order that was drafted in the copy, and created by another draft since, is found, and not created again."""
    async with place(tmp_path) as here:
        here.simulator.order_fault(Fault(operation="platform.drafts.broadcast", kind="status", status=429))
        run_id = await here.push(orders(1), mode=Mode.TWO_PHASE)
        await here.ledger.close()
        shutil.copy(tmp_path / "ledger.db", tmp_path / "older.db")
        here.simulator.clear_faults()
        async with await Ledger.open(tmp_path / "ledger.db", clock=here.clock.now) as newer:
            if since == "undone":
                await Undo(here.gs, newer).undo(run_id, drafts=True)
            if since != "nothing":
                push = Push(here.gs, newer, mode=Mode.TWO_PHASE)
                run, _ = await push.load_orders([MENDED] if since == "mended" else orders(1))
                async with run:
                    await push.send(run)
            identity = await newer.identity()
        assert identity is not None
        await accept_older(tmp_path / "older.db", newest=identity.counter + 1, clock=here.clock.now)
        async with await Ledger.open(tmp_path / "older.db", clock=here.clock.now) as older:
            await Reconciler(here.gs, older).reconcile(run_id)
            push = Push(here.gs, older, mode=Mode.TWO_PHASE)
            async with await older.hold(run_id) as run:
                await push.send(run)
                (row,) = [row async for row in run.rows()]
            again, _ = await push.load_orders(orders(1))
            async with again:
                await push.send(again)
        assert here.simulator.audit()["doubled"] == {}
        assert row.state is (OrderState.CREATED if since == "undone" else OrderState.IN_DOUBT)
        assert ("price is 6, not " in (row.error or "")) is (since == "mended")


@pytest.mark.parametrize("switches", [{}, {"per_page_limit": 3, "meta": "absent"}])
@pytest.mark.parametrize("mode", list(Mode))
async def test_an_order_that_the_list_shows_otherwise_is_not_sent(
    tmp_path: Path, mode: Mode, switches: dict[str, Any]
) -> None:
    """The copy lacks a run, whose tasks are on later pages, or have their tracking ids in small letters."""

    def rename(page: dict[str, Any]) -> dict[str, Any]:
        return page | {"tasks": [task | {"tracking_id": task["tracking_id"].lower()} for task in page["tasks"]]}

    async with place(tmp_path, settle=0, **switches) as here:
        await here.push(orders(5, "OLD-"), mode=mode)
        await here.ledger.close()
        shutil.copy(tmp_path / "ledger.db", tmp_path / "older.db")
        async with await Ledger.open(tmp_path / "ledger.db", clock=here.clock.now) as newer:
            async with (await Push(here.gs, newer, mode=mode).load_orders(orders(6)))[0] as run:
                await Push(here.gs, newer, mode=mode).send(run)
            identity = await newer.identity()
        assert identity is not None
        await accept_older(tmp_path / "older.db", newest=identity.counter + 1, clock=here.clock.now)
        async with await Ledger.open(tmp_path / "older.db", clock=here.clock.now) as older:
            push = Push(here.gs, older, mode=mode)
            with list_tells(here.gs, rename):
                run, _ = await push.load_orders(orders(6))
            async with run:
                await push.send(run)
                assert {row.state async for row in run.rows()} == {OrderState.IN_DOUBT}
        assert here.simulator.audit()["doubled"] == {}


async def test_an_earlier_cancelled_task_does_not_show_that_an_order_is_new(tmp_path: Path) -> None:
    """An order of a lost run acts late: a cancelled task of its name does not free it before the second reading."""
    async with place(tmp_path, settle=50) as here:
        (task,) = (await here.gs.tasks.create(orders(1))).tasks
        await here.gs.tasks.cancel(task.id, reason="a mistake")
        await here.push([order("T-9")])
        await here.ledger.close()
        shutil.copy(tmp_path / "ledger.db", tmp_path / "older.db")
        here.simulator.order_fault(Fault(operation="tasks.create", when="late", kind="reset", seconds=20, times=1))
        async with await Ledger.open(tmp_path / "ledger.db", clock=here.clock.now) as newer:
            async with (await Push(here.gs, newer).load_orders(orders(1)))[0] as run:
                await Push(here.gs, newer).send(run)
            identity = await newer.identity()
        assert identity is not None
        await accept_older(tmp_path / "older.db", newest=identity.counter + 1, clock=here.clock.now)
        sleep = here.clock.sleep

        async def sleep_and_act(seconds: float) -> None:
            await sleep(seconds)
            here.simulator.advance(seconds)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(here.clock, "sleep", sleep_and_act)
            async with (
                await Ledger.open(tmp_path / "older.db", clock=here.clock.now) as older,
                (await Push(here.gs, older).load_orders(orders(1)))[0] as run,
            ):
                await Push(here.gs, older).send(run)
                (row,) = [row async for row in run.rows()]
        here.simulator.advance(20)
        assert row.state is OrderState.CREATED
        live = [task["tracking_id"] for task in here.simulator.tasks() if task["history"][-1][0] == "broadcasting"]
        assert sorted(live) == ["T-0", "T-9"]


async def test_a_clock_that_was_behind_shows_no_order_to_be_new(tmp_path: Path) -> None:
    """Which runs are later than the copy is known by their order: an order that the copy has refused is looked up."""
    async with place(tmp_path, settle=0) as here:
        here.simulator.order_fault(Fault(operation="platform.drafts.create", kind="status", status=422))
        await here.push(orders(2), mode=Mode.TWO_PHASE)
        here.simulator.clear_faults()
        await here.ledger.close()
        shutil.copy(tmp_path / "ledger.db", tmp_path / "older.db")
        async with await Ledger.open(tmp_path / "ledger.db", clock=here.clock.now) as newer:
            async with (await Push(here.gs, newer, mode=Mode.TWO_PHASE).load_orders(orders(2)))[0] as run:
                await Push(here.gs, newer, mode=Mode.TWO_PHASE).send(run)
            identity = await newer.identity()
        assert identity is not None

        def behind() -> datetime:
            return here.clock.now() - timedelta(days=2)

        await accept_older(tmp_path / "older.db", newest=identity.counter + 1, clock=behind)
        async with await Ledger.open(tmp_path / "older.db", clock=here.clock.now) as older:
            push = Push(here.gs, older, mode=Mode.TWO_PHASE)
            async with (await push.load_orders(orders(2)))[0] as run:
                await push.send(run)
                assert {row.state async for row in run.rows()} == {OrderState.CREATED}
        assert here.simulator.audit()["doubled"] == {}


@pytest.mark.parametrize("by", ["push", "reconcile"])
@pytest.mark.parametrize(("price", "readable"), [("6.00", True), ("5.00", True), ("5.00", False)])
async def test_a_list_without_prices_does_not_show_that_an_order_was_sent_as_it_is(
    tmp_path: Path, by: str, price: str, readable: bool
) -> None:
    """A lost run sent the order at 5.00: its task is read by its id, and without that the order stays in doubt."""

    def short(page: dict[str, Any]) -> dict[str, Any]:
        left_out = dict.fromkeys(("price", "from_address", "to_address", "to_time_window"))
        return page | {"tasks": [task | left_out for task in page["tasks"]]}

    def unreadable() -> None:
        here.simulator.order_fault(Fault(operation="platform.tasks.get", kind="status", status=503))

    sent, now = (order("T-0", price=Money.of(amount, "SGD")) for amount in ("5.00", price))
    async with place(tmp_path, settle=0) as here:
        await here.push([order("T-9")])
        await here.ledger.close()
        shutil.copy(tmp_path / "ledger.db", tmp_path / "older.db")
        async with await Ledger.open(tmp_path / "ledger.db", clock=here.clock.now) as newer:
            async with (await Push(here.gs, newer).load_orders([sent]))[0] as run:
                await Push(here.gs, newer).send(run)
            identity = await newer.identity()
        assert identity is not None
        await accept_older(tmp_path / "older.db", newest=identity.counter + 1, clock=here.clock.now)
        async with await Ledger.open(tmp_path / "older.db", clock=here.clock.now) as older:
            with list_tells(here.gs, short):
                if by == "reconcile" or not readable:
                    unreadable()
                async with (await Push(here.gs, older).load_orders([now]))[0] as run:
                    await Push(here.gs, older).send(run)
                if by == "reconcile":
                    if readable:
                        here.simulator.clear_faults()
                    await Reconciler(here.gs, older, rescan_after=0).reconcile(run.id)
            (row,) = [row async for row in older.rows(run.id)]
        proven = readable and price == "5.00"
        assert row.state is (OrderState.CREATED if proven else OrderState.IN_DOUBT)
        assert ("price is 5, not 6" in (row.error or "")) is (price == "6.00")
        assert here.simulator.audit()["doubled"] == {}
