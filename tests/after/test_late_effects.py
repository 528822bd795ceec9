"""Rule 8: a request that was sent and not answered may act late, and no earlier read settles its order."""

import asyncio
import shutil
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import pytest

from gotsurge_async import Limits
from gotsurge_async.after.resolve import Resolution, resolve
from gotsurge_async.bulk import Ledger, Mode, OrderState, Push, Reconciler, Undo
from gotsurge_async.ledger import OrderOutcome, StillOpen
from gotsurge_async.ledger.upkeep.check import backup
from gotsurge_async.ledger.upkeep.older_copy import accept_older
from gotsurge_async.push.load import UnusableSource
from gotsurge_async.simulator import Fault
from tests.support.orders import orders
from tests.support.pushes import Place, place

SETTLE = timedelta(seconds=Limits().settle)
BOTH = pytest.mark.parametrize(("account", "mode"), [("plain", Mode.DIRECT), ("platform", Mode.TWO_PHASE)])
LOST = Fault(operation="tasks.cancel", when="before", kind="reset")


async def undone_without_answers(here: Place, mode: Mode, count: int = 3) -> str:
    """A run of orders that were created; then an undo lost the answer of every cancel, and none has acted yet."""
    run_id = await here.push(orders(count), mode=mode)
    here.simulator.order_fault(LOST)
    undone = await Undo(here.gs, here.ledger).undo(run_id)
    here.simulator.clear_faults()
    assert (undone.cancelled, undone.in_doubt, undone.cancelling) == ((), count, count)
    assert undone.open_until is not None
    return run_id


async def resume(here: Place, run_id: str) -> None:
    push = Push(here.gs, here.ledger)
    async with await here.ledger.hold(run_id) as run:
        await push.send(run)


async def act_late(here: Place, run_id: str, *keys: str) -> None:
    """Have the service act on cancels whose connections ended long ago."""
    tasks = await here.tasks(run_id)
    for key in keys:
        here.simulator.move(tasks[key], "cancelled")


@BOTH
async def test_no_read_settles_an_order_whose_cancel_may_still_act(tmp_path: Path, account: str, mode: Mode) -> None:
    """Neither reconcile, nor the same push again, nor resume calls it created; the words say until when."""
    async with place(tmp_path, account) as here:
        run_id = await undone_without_answers(here, mode)
        result = await Reconciler(here.gs, here.ledger).reconcile(run_id)
        assert (result.created, len(result.in_doubt)) == ((), 3)
        assert (
            "a request to cancel this order's task was not answered, and may still take effect until 20"
            in result.in_doubt[0].reason
        )
        again = await here.push(orders(3), mode=mode)
        assert set((await here.states(again)).values()) == {OrderState.ALREADY_PUSHED}
        await resume(here, run_id)
        assert set((await here.states(run_id)).values()) == {OrderState.CANCELLING}
        assert set((await here.states(again)).values()) == {OrderState.ALREADY_PUSHED}


@BOTH
@pytest.mark.parametrize("way", ["reconcile", "push again", "resume", "undo"])
async def test_after_the_time_a_read_settles_it(tmp_path: Path, account: str, mode: Mode, way: str) -> None:
    """What the late cancels took back is free and pushed anew, the rest is created: each order is there once."""
    async with place(tmp_path, account) as here:
        run_id = await undone_without_answers(here, mode)
        await act_late(here, run_id, "T-1")
        here.clock.ahead += SETTLE
        if way == "reconcile" or (way == "resume" and mode is Mode.DIRECT):
            await Reconciler(here.gs, here.ledger).reconcile(run_id)
        elif way == "resume":
            await resume(here, run_id)
        elif way == "undo":
            undone = await Undo(here.gs, here.ledger).undo(run_id)
            assert [each.key for each in undone.already_cancelled] == ["T-1"]
            assert len(undone.cancelled) == 2
        again = await here.push(orders(3), mode=mode)
        known = {key: state for run in (run_id, again) for key, state in (await here.states(run)).items()}
        assert known["T-1"] is OrderState.CREATED
        live = [task["tracking_id"] for task in here.simulator.tasks() if task["history"][-1][0] == "broadcasting"]
        assert sorted(live) == ["T-0", "T-1", "T-2"]


@BOTH
async def test_a_late_cancel_is_seen_at_any_time(tmp_path: Path, account: str, mode: Mode) -> None:
    """A read that shows the task as cancelled is the cancel's result: it settles the order also before the time."""
    async with place(tmp_path, account) as here:
        run_id = await undone_without_answers(here, mode)
        await act_late(here, run_id, "T-0")
        await Reconciler(here.gs, here.ledger).reconcile(run_id)
        assert (await here.states(run_id))["T-0"] is OrderState.CANCELLED
        assert (await here.states(run_id))["T-1"] is OrderState.CANCELLING


async def test_a_draft_whose_cancel_may_still_act_is_not_broadcast(tmp_path: Path) -> None:
    """Not by resume, and not by another push that would take the draft over; after the time its read decides."""
    async with place(tmp_path) as here:
        here.simulator.order_fault(Fault(operation="platform.drafts.broadcast", kind="status", status=429))
        run_id = await here.push(orders(3), mode=Mode.TWO_PHASE)
        here.simulator.clear_faults()
        here.simulator.order_fault(LOST)
        undone = await Undo(here.gs, here.ledger).undo(run_id, drafts=True)
        here.simulator.clear_faults()
        assert (undone.drafts, undone.in_doubt, undone.unprocessed) == ((), 3, 0)
        await resume(here, run_id)
        again = await here.push(orders(3), mode=Mode.TWO_PHASE)
        assert set((await here.states(again)).values()) == {OrderState.ALREADY_PUSHED}
        assert all(task["draft"] for task in here.simulator.tasks())
        await act_late(here, run_id, "T-2")
        here.clock.ahead += SETTLE
        await resume(here, run_id)
        assert list((await here.states(run_id)).values()) == [
            OrderState.CREATED,
            OrderState.CREATED,
            OrderState.CANCELLED,
        ]


@BOTH
async def test_an_undo_that_ends_in_the_middle_leaves_its_intent(tmp_path: Path, account: str, mode: Mode) -> None:
    """The intent to cancel is durable before the cancel leaves: a process that ends then leaves the order in doubt."""
    async with place(tmp_path, account) as here:
        run_id = await here.push(orders(1), mode=mode)
        here.simulator.order_fault(Fault(operation="tasks.cancel", when="before", kind="delay", seconds=60))
        undo = asyncio.create_task(Undo(here.gs, here.ledger).undo(run_id))
        while (await here.states(run_id))["T-0"] is not OrderState.CANCELLING:
            assert not undo.done()
            await asyncio.sleep(0)
        undo.cancel()
        with pytest.raises(asyncio.CancelledError):
            await undo
        (row,) = [row async for row in here.ledger.rows(run_id)]
        assert (row.state, row.open_until) == (OrderState.CANCELLING, None)  # its call may end at any time
        here.clock.ahead += timedelta(hours=1)
        assert row.is_open(here.ledger.now())
        here.simulator.clear_faults()
        (left,) = (await Reconciler(here.gs, here.ledger).reconcile(run_id)).in_doubt
        assert "may still take effect until" in left.reason  # from when its sender is known to have ended
        here.clock.ahead += SETTLE
        assert len((await Reconciler(here.gs, here.ledger).reconcile(run_id)).created) == 1


async def test_the_time_of_a_create_counts_from_when_its_sender_is_known_to_have_ended(tmp_path: Path) -> None:
    """A process may have waited for the answer for an hour before it ended; the setting is the one of that process."""
    async with place(tmp_path, "plain") as here:
        push = Push(here.gs, here.ledger)
        async with (await push.load_orders(orders(3)))[0] as run:
            run.settle_after(30)
            await run.claim([row.id async for row in run.rows()])
        here.clock.ahead += timedelta(hours=1)
        for _ in range(2):  # it counts once
            with pytest.raises(UnusableSource, match="has faults"):
                await resolve(here.ledger, run.id, [Resolution(key="T-0")], by="Mei")
            (row, *_) = [row async for row in here.ledger.rows(run.id)]
            assert row.open_until is not None
            assert timedelta(seconds=10) < row.open_until - here.ledger.now() <= timedelta(seconds=30)
        here.clock.ahead += timedelta(seconds=30)
        await resolve(here.ledger, run.id, [Resolution(key="T-0")], by="Mei")
        assert (await here.states(run.id))["T-0"] is OrderState.REFUSED


@pytest.mark.parametrize("drafts", [False, True])
async def test_a_cancel_that_never_left_changes_nothing(tmp_path: Path, drafts: bool) -> None:
    """An order keeps its state where the service refused the cancel, or could not be reached for it."""
    async with place(tmp_path) as here:
        if drafts:
            here.simulator.order_fault(Fault(operation="platform.drafts.broadcast", kind="status", status=429))
        run_id = await here.push(orders(1), mode=Mode.TWO_PHASE)
        before = await here.states(run_id)
        assert before == {"T-0": OrderState.DRAFTED if drafts else OrderState.CREATED}
        here.simulator.clear_faults()
        here.simulator.order_fault(Fault(operation="tasks.cancel", kind="status", status=400))
        undone = await Undo(here.gs, here.ledger).undo(run_id, drafts=drafts)
        assert (len(undone.failed), undone.in_doubt, undone.open_until) == (1, 0, None)
        assert await here.states(run_id) == before


async def test_a_driver_who_took_the_order_ends_the_doubt(tmp_path: Path) -> None:
    """No cancel acts on a task that a driver has accepted: the answer to a later cancel says so, and it is created."""
    async with place(tmp_path, "plain") as here:
        run_id = await undone_without_answers(here, Mode.DIRECT, 1)
        here.simulator.move((await here.tasks(run_id))["T-0"], "accepted")
        undone = await Undo(here.gs, here.ledger).undo(run_id)
        assert (len(undone.too_late), undone.in_doubt) == (1, 0)
        assert await here.states(run_id) == {"T-0": OrderState.CREATED}


async def test_a_refusal_does_not_end_an_earlier_cancel(tmp_path: Path) -> None:
    """That the service refused the second cancel says nothing of the first one, whose answer was lost."""
    async with place(tmp_path, "plain") as here:
        run_id = await undone_without_answers(here, Mode.DIRECT, 1)
        here.simulator.order_fault(Fault(operation="tasks.cancel", kind="status", status=400))
        undone = await Undo(here.gs, here.ledger).undo(run_id)
        assert undone.in_doubt == 1
        assert await here.states(run_id) == {"T-0": OrderState.CANCELLING}


async def test_a_person_cannot_say_too_early_that_an_order_was_not_created(tmp_path: Path) -> None:
    """The create may act until the time has passed; the fault says from when on the decision is taken."""
    async with place(tmp_path, "plain") as here:
        run_id = await here.lose(orders(1), when="before")
        no = [Resolution(key="T-0")]
        for holding in (False, True):
            async with await here.ledger.hold(run_id) if holding else nullcontext():
                with pytest.raises(UnusableSource) as caught:
                    await resolve(here.ledger, run_id, no, by="Mei")
            assert "sent for this order was not answered, and may still take effect until" in str(
                caught.value.faults[0]
            )
        with pytest.raises(StillOpen):
            await here.ledger.resolve(run_id, {"T-0": None}, by="Mei")
        here.clock.ahead += SETTLE
        await resolve(here.ledger, run_id, no, by="Mei")
        assert await here.states(run_id) == {"T-0": OrderState.REFUSED}


async def test_a_person_cannot_say_that_an_order_is_created_while_its_cancel_may_act(tmp_path: Path) -> None:
    """The task is there, and may be cancelled a second later."""
    async with place(tmp_path, "plain") as here:
        run_id = await undone_without_answers(here, Mode.DIRECT, 1)
        yes = [Resolution(key="T-0", task_id=(await here.tasks(run_id))["T-0"])]
        with pytest.raises(UnusableSource):
            await resolve(here.ledger, run_id, yes, by="Mei")
        here.clock.ahead += SETTLE
        await resolve(here.ledger, run_id, yes, by="Mei")
        assert await here.states(run_id) == {"T-0": OrderState.CREATED}


async def test_what_was_read_before_the_time_settles_nothing_after_it(tmp_path: Path) -> None:
    """A reading counts from its beginning: one that began while the cancel could act is too old."""
    async with place(tmp_path, "plain") as here:
        run_id = await undone_without_answers(here, Mode.DIRECT, 1)
        read_at = here.ledger.now()
        tasks = [await here.gs.tasks.get(task_id) for task_id in (await here.tasks(run_id)).values()]
        here.clock.ahead += SETTLE
        await Reconciler(here.gs, here.ledger).settle_by(run_id, tasks, read_at=read_at)
        assert await here.states(run_id) == {"T-0": OrderState.CANCELLING}
        async with await here.ledger.hold(run_id) as run:
            (row,) = [row async for row in run.rows()]
            with pytest.raises(StillOpen):
                await run.record([OrderOutcome(row.id, OrderState.CREATED)], read_at=read_at)
        await Reconciler(here.gs, here.ledger).settle_by(run_id, tasks, read_at=here.ledger.now())
        assert await here.states(run_id) == {"T-0": OrderState.CREATED}


async def test_the_time_is_a_setting_that_is_kept_with_the_intent(tmp_path: Path) -> None:
    """Each ledger row says until when: whoever reads it later need not know the setting of the sender."""
    async with place(tmp_path, "plain", settle=20) as here:
        run_id = await undone_without_answers(here, Mode.DIRECT, 1)
        (row,) = [row async for row in here.ledger.rows(run_id)]
        assert row.open_until is not None
        assert timedelta(seconds=10) < row.open_until - here.clock.now() <= timedelta(seconds=20)
        here.clock.ahead += timedelta(seconds=21)
        await Reconciler(here.gs, here.ledger).reconcile(run_id)
        assert await here.states(run_id) == {"T-0": OrderState.CREATED}


@BOTH
async def test_a_cancel_stays_open_when_an_older_copy_is_accepted(tmp_path: Path, account: str, mode: Mode) -> None:
    """The copy was made while cancels were open: however often they are read, no order is created before the time."""
    path, copy = tmp_path / "ledger.db", tmp_path / "copy.db"
    async with place(tmp_path, account) as here:
        run_id = await undone_without_answers(here, mode)
        backup(path, copy)
        await here.push(orders(4), mode=mode)
        await here.ledger.close()
        shutil.copy(copy, path)
        await accept_older(path, clock=here.clock.now)
        async with await Ledger.open(path, clock=here.clock.now) as ledger:
            reconciler = Reconciler(here.gs, ledger, rescan_after=0)
            for _ in range(2):
                result = await reconciler.reconcile(run_id)
                assert (result.created, len(result.in_doubt)) == ((), 3)
            here.clock.ahead += SETTLE
            assert len((await reconciler.reconcile(run_id)).created) == 3


@BOTH
async def test_what_a_dead_process_sent_stays_open(tmp_path: Path, account: str, mode: Mode) -> None:
    """The time is durable with the claim: whoever finds the orders of a dead process cannot call them not created."""
    async with place(tmp_path, account) as here:
        async with (await Push(here.gs, here.ledger, mode=mode).load_orders(orders(1)))[0] as run:
            run.settle_after(SETTLE.total_seconds())
            await run.start()
            (waiting,) = [each for page in [page async for page in run.pending()] for each in page]
            (order_id,) = await run.claim([waiting.id])
            if mode is Mode.TWO_PHASE:
                here.clock.ahead += timedelta(seconds=40)  # the broadcast leaves later than the drafts
                drafted = OrderOutcome(order_id, OrderState.DRAFTED, task_id="task-1")
                await run.record([drafted], broadcast=True)
        async with await here.ledger.hold(run.id) as found:
            await found.recover()
            (row,) = [row async for row in found.rows()]
            assert row.is_open(here.clock.now() + SETTLE - timedelta(seconds=10))
            with pytest.raises(StillOpen):
                await found.resolve({row.key: None}, by="Mei")
            here.clock.ahead += SETTLE
            await found.resolve({row.key: None}, by="Mei")


@pytest.mark.parametrize("ended", [False, True])
async def test_what_leaves_or_ends_later_stays_open_longer(tmp_path: Path, ended: bool) -> None:
    """A try that leaves later may act later, and the time of one without an answer counts from its end."""
    async with place(tmp_path, "plain") as here:
        async with (await Push(here.gs, here.ledger).load_orders(orders(1)))[0] as run:
            await run.start()
            (waiting,) = [each for page in [page async for page in run.pending()] for each in page]
            await run.claim([waiting.id])
            here.clock.ahead += timedelta(seconds=40)
            if ended:
                await run.record([OrderOutcome(waiting.id, OrderState.IN_DOUBT)])
            else:
                await run.renew_claim([waiting.id])
        (row,) = [row async for row in here.ledger.rows(run.id)]
        assert row.is_open(here.clock.now() + SETTLE - timedelta(seconds=10))


async def test_a_draft_that_another_run_takes_over_brings_its_time_along(tmp_path: Path) -> None:
    """The broadcast of the earlier run may act for as long in the run that has the key now."""
    async with place(tmp_path) as here:
        here.simulator.order_fault(Fault(operation="platform.drafts.broadcast", kind="reset", when="before"))
        earlier = await here.push(orders(1), mode=Mode.TWO_PHASE)
        assert await here.states(earlier) == {"T-0": OrderState.BROADCASTING}
        (before,) = [row async for row in here.ledger.rows(earlier)]
        async with (await Push(here.gs, here.ledger, mode=Mode.TWO_PHASE).load_orders(orders(1)))[0] as run:
            (row,) = [row async for row in run.rows()]
            assert (row.state, row.open_until) == (OrderState.BROADCASTING, before.open_until)
            assert row.open_until is not None


@pytest.mark.parametrize("earlier", ["an unused draft", "a person's"])
async def test_an_earlier_cancelled_task_frees_no_key(tmp_path: Path, earlier: str) -> None:
    """A create that acts late is not believed to be cancelled because an earlier task of its name is."""
    async with place(tmp_path) as here:
        if earlier == "an unused draft":
            here.simulator.order_fault(Fault(operation="platform.drafts.create", when="after", kind="reset", times=1))
            first = await here.push(orders(1), mode=Mode.TWO_PHASE)
            undone = await Undo(here.gs, here.ledger).undo(first, drafts=True)
            assert (len(undone.cancelled), len(undone.drafts)) == (1, 1)
        else:
            (task,) = (await here.gs.tasks.create(orders(1))).tasks
            await here.gs.tasks.cancel(task.id, reason="a mistake")
        here.simulator.order_fault(Fault(operation="tasks.create", when="late", kind="reset", seconds=100, times=1))
        run_id = await here.push(orders(1))
        reconciler = Reconciler(here.gs, here.ledger)
        for ahead in (timedelta(0), SETTLE):  # what a name proves does not depend on the time
            here.clock.ahead += ahead
            (doubt,) = (await reconciler.reconcile(run_id)).in_doubt
            assert ("does not prove that this order was" in doubt.reason) == (earlier == "a person's")
            again = await here.push(orders(1))
            assert await here.states(again) == {"T-0": OrderState.ALREADY_PUSHED}
        here.simulator.advance(100)
        assert [order.key for order in (await reconciler.reconcile(run_id)).created] == ["T-0"]
        live = [task["tracking_id"] for task in here.simulator.tasks() if task["history"][-1][0] == "broadcasting"]
        assert live == ["T-0"]
