"""Taking a run back, over real HTTP."""

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from gotsurge_async import Money, Refused, Unprocessed
from gotsurge_async.bulk import Desk, Mode, OrderState, Push, Undo
from gotsurge_async.errors import OutcomeUnknown, Unauthorized, UsageError
from gotsurge_async.ledger import OrderOutcome, RunHeld, RunState, TaskCancelling
from gotsurge_async.simulator import Fault
from tests.support.orders import order, orders
from tests.support.pushes import Place, place


@pytest.mark.parametrize(("account", "mode"), [("plain", Mode.DIRECT), ("platform", Mode.TWO_PHASE)])
async def test_what_is_broadcasting_is_cancelled(tmp_path: Path, account: str, mode: Mode) -> None:
    """Each order is cancelled, already cancelled, or too late, and is told so; again, all that can be is cancelled."""
    async with place(tmp_path, account) as here:
        run_id = await here.push(orders(30), mode=mode)
        tasks = await here.tasks(run_id)
        here.simulator.move(tasks["T-3"], "accepted")
        here.simulator.move(tasks["T-4"], "cancelled")
        here.simulator.move(tasks["T-5"], "expired")
        undone = await Undo(here.gs, here.ledger).undo(run_id, reason="wrong file")
        assert len(undone.cancelled) == 27
        assert [each.key for each in undone.already_cancelled] == ["T-4"]
        assert {each.key: each.status for each in undone.too_late} == {"T-3": "accepted", "T-5": "expired"}
        assert (undone.failed, undone.in_doubt, undone.unprocessed, undone.stopped_by) == ((), 0, 0, None)
        again = await Undo(here.gs, here.ledger).undo(run_id)
        assert (len(again.cancelled), len(again.already_cancelled), len(again.too_late)) == (0, 28, 2)
        rows = {row.key: row.status async for row in here.ledger.rows(run_id)}
    assert {key for key, status in rows.items() if status == "cancelled"} == set(tasks) - {"T-3", "T-5"}


async def test_an_undone_order_frees_its_key(tmp_path: Path) -> None:
    """What was taken back is cancelled in the ledger, and the mended order of the same key is pushed."""
    async with place(tmp_path) as here:
        run_id = await here.push(orders(2))
        await Undo(here.gs, here.ledger).undo(run_id)
        assert set((await here.states(run_id)).values()) == {OrderState.CANCELLED}
        again = await here.push(orders(2))
        assert set((await here.states(again)).values()) == {OrderState.CREATED}
        assert set(here.simulator.audit()["by_tracking_id"].values()) <= {1, 2}


async def test_what_is_on_its_way_is_read_and_taken_back(tmp_path: Path) -> None:
    """A broadcast whose answer was lost is not said to be unsent: its task is read, and cancelled."""
    async with place(tmp_path) as here:
        here.simulator.order_fault(Fault(operation="platform.drafts.broadcast", when="after", kind="reset"))
        here.simulator.order_fault(Fault(operation="platform.tasks.get", kind="status", status=503))
        run_id = await here.push(orders(3), mode=Mode.TWO_PHASE)
        assert set((await here.states(run_id)).values()) == {OrderState.BROADCASTING}
        here.simulator.clear_faults()
        undone = await Undo(here.gs, here.ledger).undo(run_id)
        assert (len(undone.cancelled), undone.in_doubt, undone.unprocessed) == (3, 0, 0)


async def test_drafts_are_left_unless_they_are_wanted_too(tmp_path: Path) -> None:
    """Drafts that were never broadcast, recorded or lost, are cancelled when that is asked for."""
    async with place(tmp_path) as here:
        here.simulator.order_fault(Fault(operation="platform.drafts.create", when="after", kind="reset", times=1))
        here.simulator.order_fault(Fault(operation="platform.drafts.broadcast", kind="status", status=429))
        run_id = await here.push(orders(3), mode=Mode.TWO_PHASE)
        assert set((await here.states(run_id)).values()) == {OrderState.DRAFTED}
        here.simulator.clear_faults()
        undone = await Undo(here.gs, here.ledger).undo(run_id)
        assert (undone.cancelled, undone.drafts, undone.unprocessed) == ((), (), 3)
        undone = await Undo(here.gs, here.ledger).undo(run_id, drafts=True)
        assert (undone.cancelled, len(undone.drafts), undone.unprocessed, undone.unused_drafts) == ((), 6, 0, 0)
        assert all(draft.cancelled for draft in await here.ledger.unused_drafts(run_id))
        assert [task.current_status async for task in here.gs.platform.tasks.list()] == ["cancelled"] * 6


async def test_a_list_that_cannot_be_read_does_not_hide_what_was_cancelled(tmp_path: Path) -> None:
    """Drafts whose ids nobody knows are looked for on the list; when that fails, the rest is cancelled and told."""
    async with place(tmp_path) as here:
        here.simulator.order_fault(Fault(operation="platform.drafts.create", when="after", kind="reset", times=1))
        run_id = await here.push(orders(3), mode=Mode.TWO_PHASE)
        here.simulator.order_fault(Fault(operation="platform.tasks.list", kind="status", status=500))
        undone = await Undo(here.gs, here.ledger).undo(run_id, drafts=True)
        assert (len(undone.cancelled), undone.drafts) == (3, ())
        assert isinstance(undone.stopped_by, OutcomeUnknown)


async def test_lost_answers_of_cancels_converge(tmp_path: Path) -> None:
    """A cancel whose answer was lost counts as cancelled, once the task shows it."""
    async with place(tmp_path) as here:
        run_id = await here.push(orders(10))
        here.simulator.order_fault(Fault(operation="tasks.cancel", when="after", kind="reset"))
        undone = await Undo(here.gs, here.ledger).undo(run_id)
        assert len(undone.cancelled) == 10


async def test_one_failure_does_not_stop_the_others(tmp_path: Path) -> None:
    """An order that cannot be read has failed, with its error; the others are cancelled."""
    async with place(tmp_path) as here:
        run_id = await here.push(orders(5))
        here.simulator.order_fault(Fault(operation="tasks.get", when="before", kind="status", status=400, times=1))
        undone = await Undo(here.gs, here.ledger, concurrency=1).undo(run_id)
        assert (len(undone.cancelled), len(undone.failed)) == (4, 1)
        assert "400" in undone.failed[0].error


async def test_it_stops_where_every_call_would_fail(tmp_path: Path) -> None:
    """Without a token that works nothing more is tried."""
    async with place(tmp_path) as here:
        run_id = await here.push(orders(50))
        here.simulator.order_fault(Fault(operation="tasks.get", when="before", kind="status", status=401))
        undone = await Undo(here.gs, here.ledger, concurrency=1).undo(run_id)
        assert isinstance(undone.stopped_by, Unauthorized)
        assert len(undone.failed) == 1


async def test_what_cannot_be_taken_back_is_counted(tmp_path: Path) -> None:
    """Orders in doubt have no task to cancel, and are counted."""
    async with place(tmp_path, "plain") as here:
        run_id = await here.lose([order("LOST")])
        undone = await Undo(here.gs, here.ledger).undo(run_id)
        assert (undone.cancelled, undone.in_doubt) == ((), 1)


async def test_a_reason_is_needed_and_the_run_is_held(tmp_path: Path) -> None:
    """The service wants a reason, and a run in other hands is left alone."""
    async with place(tmp_path, "plain") as here:
        run_id = await here.push(orders(1))
        with pytest.raises(UsageError):
            await Undo(here.gs, here.ledger).undo(run_id, reason=" ")
        async with await here.ledger.hold(run_id):
            with pytest.raises(RunHeld):
                await Undo(here.gs, here.ledger).undo(run_id)


async def test_drafts_of_a_later_run_are_not_those_of_an_earlier_one(tmp_path: Path) -> None:
    """Undoing the drafts of a run whose orders another run has taken over leaves that run's drafts to it."""
    async with place(tmp_path) as here:
        here.simulator.order_fault(Fault(operation="platform.drafts.create", when="after", kind="reset", times=1))
        here.simulator.order_fault(Fault(operation="platform.drafts.broadcast", kind="status", status=429))
        earlier = await here.push(orders(2), mode=Mode.TWO_PHASE)
        mended = [order(f"T-{number}", price=Money.of("6.00", "SGD")) for number in range(2)]
        later = await here.push(mended, mode=Mode.TWO_PHASE)
        drafts = await here.tasks(later)
        undone = await Undo(here.gs, here.ledger).undo(earlier, drafts=True)
        assert undone.drafts == ()
        assert set((await here.states(later)).values()) == {OrderState.DRAFTED}
        for task_id in drafts.values():
            assert (await here.gs.platform.tasks.get(task_id)).current_status == "pending_broadcast"
        # Those of both runs that nobody uses are the later one's to cancel: one lost and one taken over, each.
        here.simulator.clear_faults()
        async with await here.ledger.hold(later) as run:
            await Push(here.gs, here.ledger, mode=Mode.TWO_PHASE).send(run)
        undone = await Undo(here.gs, here.ledger).undo(later, drafts=True)
        assert (len(undone.drafts), len(undone.cancelled), undone.unused_drafts) == (4, 2, 0)


@pytest.mark.parametrize("noted", [False, True])
async def test_no_recorded_draft_of_another_key_is_cancelled(tmp_path: Path, noted: bool) -> None:
    """A draft with the tracking id of a lost one may be recorded for another key, also after it was noted as unused."""
    async with place(tmp_path) as here:
        here.simulator.order_fault(Fault(operation="platform.drafts.create", when="before", kind="reset", times=1))
        earlier = await here.push([order("T")], mode=Mode.TWO_PHASE)
        push = Push(here.gs, here.ledger, mode=Mode.TWO_PHASE)
        async with (await push.load_orders([order("T")], key=lambda _: "B"))[0] as later:
            await later.start()
            (mine,) = await later.claim([each.id async for page in later.pending() for each in page])
            (draft,) = (await here.gs.platform.drafts.create([order("T")])).tasks
            if noted:
                async with await here.ledger.hold(earlier) as run:
                    await run.note_unused([("T", draft.id)])
            await later.record([OrderOutcome(mine, OrderState.DRAFTED, draft.id)])
        undone = await Undo(here.gs, here.ledger).undo(earlier, drafts=True)
        assert ([each.key for each in undone.cancelled], undone.drafts) == (["T"], ())
        assert (await here.gs.platform.tasks.get(draft.id)).current_status == "pending_broadcast"
        async with await here.ledger.hold(later.id) as later:
            await push.send(later)
        assert await here.states(later.id) == {"B": OrderState.CREATED}


async def test_no_draft_whose_answer_is_on_its_way_is_cancelled(tmp_path: Path) -> None:
    """A draft with the tracking id of a lost one may be that of another key, which has not recorded it yet."""
    async with place(tmp_path) as here:
        here.simulator.order_fault(Fault(operation="platform.drafts.create", when="before", kind="reset", times=1))
        earlier = await here.push([order("T")], mode=Mode.TWO_PHASE)
        push = Push(here.gs, here.ledger, mode=Mode.TWO_PHASE)
        async with (await push.load_orders([order("T")], key=lambda _: "B"))[0] as later:
            await later.start()
            (mine,) = await later.claim([each.id async for page in later.pending() for each in page])
            (draft,) = (await here.gs.platform.drafts.create([order("T")])).tasks
            undone = await Undo(here.gs, here.ledger).undo(earlier, drafts=True)
            assert ([each.key for each in undone.cancelled], undone.drafts) == (["T"], ())
            ((key, task_id, why),) = [(each.key, each.task_id, each.error) for each in undone.failed]
            assert (key, task_id, undone.ended) == ("T", draft.id, False)
            assert later.id in why
            await later.record([OrderOutcome(mine, OrderState.DRAFTED, draft.id)])
        async with await here.ledger.hold(later.id) as later:
            await push.send(later)
        assert await here.states(later.id) == {"B": OrderState.CREATED}
        undone = await Undo(here.gs, here.ledger).undo(earlier, drafts=True)
        assert (undone.drafts, undone.failed, undone.ended) == ((), (), True)


async def _refused(here: Place) -> tuple[str, str]:
    """A run whose order was refused after its draft was recorded; and that draft."""
    here.simulator.order_fault(Fault(operation="platform.drafts.broadcast", kind="status", status=402))
    run_id = await here.push(orders(1), mode=Mode.TWO_PHASE)
    here.simulator.clear_faults()
    assert await here.states(run_id) == {"T-0": OrderState.REFUSED}
    return run_id, (await here.tasks(run_id))["T-0"]


async def test_the_draft_of_a_refused_order_is_cancelled(tmp_path: Path) -> None:
    """It is counted until then, and not afterwards; the order stays refused, and its key is free."""
    async with place(tmp_path) as here:
        run_id, draft = await _refused(here)
        undone = await Undo(here.gs, here.ledger).undo(run_id)
        assert (undone.drafts, undone.unused_drafts) == ((), 1)
        undone = await Undo(here.gs, here.ledger).undo(run_id, drafts=True)
        assert ([each.task_id for each in undone.drafts], undone.unused_drafts) == ([draft], 0)
        assert (await here.gs.platform.tasks.get(draft)).current_status == "cancelled"
        assert [each.cancelled for each in await here.ledger.unused_drafts(run_id)] == [True]
        assert await here.states(run_id) == {"T-0": OrderState.REFUSED}
        again = await Undo(here.gs, here.ledger).undo(run_id, drafts=True)
        assert (again.drafts, again.failed, again.unused_drafts) == ((), (), 0)
        later = await here.push(orders(1), mode=Mode.TWO_PHASE)
        assert await here.states(later) == {"T-0": OrderState.CREATED}


@pytest.mark.parametrize("is_refused", [False, True])
async def test_no_answer_names_a_draft_that_a_late_cancel_may_end(tmp_path: Path, is_refused: bool) -> None:
    """Of a refused order, or noted: its cancel was not answered. After a refused cancel an order may go on with it."""
    async with place(tmp_path) as here:
        run_id, draft = await _refused(here)
        async with await here.ledger.hold(run_id) as run:
            await run.note_unused([("T-0", "noted")])
        late = Fault(operation="tasks.cancel", when="late", kind="reset", seconds=60)
        refused = Fault(operation="tasks.cancel", kind="status", status=403)
        here.simulator.order_fault(refused if is_refused else late)
        undone = await Undo(here.gs, here.ledger).undo(run_id, drafts=True)
        assert {each.task_id for each in undone.failed} == {draft, "noted"}
        push = Push(here.gs, here.ledger, mode=Mode.TWO_PHASE)
        async with (await push.load_orders(orders(1)))[0] as later:
            await later.start()
            (mine,) = await later.claim([each.id async for page in later.pending() for each in page])
            for task_id in ("noted", draft):
                is_free = is_refused and task_id == draft
                with nullcontext() if is_free else pytest.raises(TaskCancelling):
                    await later.record([OrderOutcome(mine, OrderState.DRAFTED, task_id)])


async def test_the_drafts_of_a_key_that_a_desk_refused_twice_are_cancelled(tmp_path: Path) -> None:
    """Both orders are in the desk's run, under the same key, and each has its own draft."""
    async with place(tmp_path) as here, Desk(here.gs, here.ledger, mode=Mode.TWO_PHASE) as desk:
        here.simulator.order_fault(Fault(operation="platform.drafts.broadcast", kind="status", status=402))
        for price in ("5.00", "6.00"):
            assert isinstance(await desk.create(order(price=Money.of(price, "SGD"))), Refused)
        here.simulator.clear_faults()
        await desk.close()
        (run,) = await here.ledger.runs()
        drafts = {task["id"] for task in here.simulator.tasks()}
        undone = await Undo(here.gs, here.ledger).undo(run.id, drafts=True)
        assert ({each.task_id for each in undone.drafts}, undone.failed, undone.unused_drafts) == (drafts, (), 0)
        assert len(drafts) == 2


async def test_what_went_out_is_not_cancelled_as_an_unused_draft(tmp_path: Path) -> None:
    """A task that is noted as an unused draft, and is none any more, is left alone and told."""
    async with place(tmp_path) as here:
        run_id = await here.push(orders(1), mode=Mode.TWO_PHASE)
        (other,) = (await here.gs.platform.drafts.create([order("T-0")])).tasks
        async with await here.ledger.hold(run_id) as run:
            await run.note_unused([("T-0", other.id)])
        here.simulator.move(other.id, "broadcasting")
        undone = await Undo(here.gs, here.ledger).undo(run_id, drafts=True)
        assert [(each.task_id, each.status) for each in undone.too_late] == [(other.id, "broadcasting")]
        assert (undone.drafts, undone.unused_drafts) == ((), 1)
        assert (await here.gs.platform.tasks.get(other.id)).current_status == "broadcasting"


@pytest.mark.parametrize(("account", "mode"), [("plain", Mode.DIRECT), ("platform", Mode.TWO_PHASE)])
async def test_a_cancel_of_which_nothing_is_known_leaves_a_doubt(tmp_path: Path, account: str, mode: Mode) -> None:
    """When a cancel's answer is lost and no read tells, the order is in doubt; a later undo settles it."""
    async with place(tmp_path, account) as here:
        run_id = await here.push(orders(2), mode=mode)
        here.simulator.order_fault(Fault(operation="tasks.cancel", when="after", kind="reset", times=1))
        here.simulator.order_fault(
            Fault(operation="tasks.get", kind="status", status=503, after_calls=1 - (mode is Mode.TWO_PHASE))
        )
        undone = await Undo(here.gs, here.ledger, concurrency=1).undo(run_id, keys=["T-0"])
        assert (undone.cancelled, undone.failed, undone.in_doubt) == ((), (), 1)
        assert await here.states(run_id) == {"T-0": OrderState.CANCELLING, "T-1": OrderState.CREATED}
        here.simulator.clear_faults()
        undone = await Undo(here.gs, here.ledger).undo(run_id, keys=["T-0"])
        assert ([each.key for each in undone.already_cancelled], undone.in_doubt) == (["T-0"], 0)
        assert await here.states(run_id) == {"T-0": OrderState.CANCELLED, "T-1": OrderState.CREATED}


async def test_a_cancel_that_was_refused_leaves_the_order_created(tmp_path: Path) -> None:
    """Nothing is in doubt when the service says no, or that it is too late."""
    async with place(tmp_path, "plain") as here:
        run_id = await here.push(orders(2))
        here.simulator.move((await here.tasks(run_id))["T-1"], "accepted")
        here.simulator.order_fault(Fault(operation="tasks.cancel", kind="status", status=400, times=1))
        undone = await Undo(here.gs, here.ledger, concurrency=1).undo(run_id)
        assert (len(undone.failed), len(undone.too_late), undone.in_doubt) == (1, 1, 0)
        assert set((await here.states(run_id)).values()) == {OrderState.CREATED}


async def test_one_order_can_be_taken_back(tmp_path: Path) -> None:
    """Keys name the orders that are meant; one that the run does not have is told, and nothing is cancelled."""
    async with place(tmp_path, "plain") as here:
        run_id = await here.push(orders(3))
        with pytest.raises(UsageError, match="has no order NONE"):
            await Undo(here.gs, here.ledger).undo(run_id, keys=["T-1", "NONE"])
        undone = await Undo(here.gs, here.ledger).undo(run_id, keys=["T-1"])
        assert [each.key for each in undone.cancelled] == ["T-1"]
        again = await here.push([order("T-1", group_tag="mended")])
        assert await here.states(again) == {"T-1": OrderState.CREATED}


async def test_a_named_order_that_waits_is_cancelled_with_its_draft(tmp_path: Path) -> None:
    """Its draft is cancelled, and its key is free. One without a draft is left, with the reason."""
    async with place(tmp_path) as here:
        here.simulator.order_fault(Fault(operation="platform.drafts.broadcast", kind="status", status=403))
        drafted = await here.push(orders(1), mode=Mode.TWO_PHASE)
        here.simulator.clear_faults()
        undone = await Undo(here.gs, here.ledger).undo(drafted, keys=["T-0"])
        assert ([each.key for each in undone.drafts], undone.failed, undone.unprocessed) == (["T-0"], (), 0)
        assert await here.states(drafted) == {"T-0": OrderState.CANCELLED}
        here.simulator.order_fault(Fault(operation="platform.drafts.create", kind="status", status=403))
        pending = await here.push(orders(2), mode=Mode.TWO_PHASE)
        undone = await Undo(here.gs, here.ledger).undo(pending, keys=["T-0"])
        (left,) = undone.failed
        assert (left.key, "resuming the run would send it" in left.error) == ("T-0", True)


async def test_a_cancel_that_only_says_so_frees_no_key(tmp_path: Path) -> None:
    """An answer to the cancel is not believed: the task is read, and the order is in doubt unless it is cancelled."""
    async with place(tmp_path, "plain") as here:
        run_id = await here.push(orders(1))
        here.simulator.order_fault(Fault(operation="tasks.cancel", kind="status", status=202))
        undone = await Undo(here.gs, here.ledger).undo(run_id)
        assert (undone.cancelled, undone.in_doubt) == ((), 1)
        assert await here.states(run_id) == {"T-0": OrderState.CANCELLING}
        here.simulator.clear_faults()
        assert len((await Undo(here.gs, here.ledger).undo(run_id)).cancelled) == 1


@pytest.mark.parametrize("status", [403, 404, 429])
async def test_a_cancel_that_was_answered_and_cannot_be_seen_leaves_a_doubt(tmp_path: Path, status: int) -> None:
    """When only the read after the cancel is refused, nobody may say that the order is created still."""
    async with place(tmp_path, "plain") as here:
        run_id = await here.push(orders(1))
        here.simulator.order_fault(Fault(operation="tasks.get", kind="status", status=status, after_calls=1))
        undone = await Undo(here.gs, here.ledger).undo(run_id)
        assert (undone.cancelled, undone.failed, undone.in_doubt) == ((), (), 1)
        assert await here.states(run_id) == {"T-0": OrderState.CANCELLING}
        here.simulator.clear_faults()
        assert len((await Undo(here.gs, here.ledger).undo(run_id)).already_cancelled) == 1


async def test_a_run_that_was_taken_back_whole_is_done(tmp_path: Path) -> None:
    """A run that was stopped with drafts is done when they are cancelled, and is stopped still while some are left."""
    async with place(tmp_path) as here:
        here.simulator.order_fault(Fault(operation="platform.drafts.broadcast", kind="status", status=429))
        run_id = await here.push(orders(2), mode=Mode.TWO_PHASE)
        here.simulator.clear_faults()
        await Undo(here.gs, here.ledger).undo(run_id, drafts=True, keys=["T-0"])
        assert (await here.ledger.run(run_id)).state is RunState.STOPPED
        await Undo(here.gs, here.ledger).undo(run_id, drafts=True)
        assert (await here.ledger.run(run_id)).state is RunState.DONE


async def test_an_order_that_another_run_has_is_named_with_that_run(tmp_path: Path) -> None:
    """It was pushed before, refused here and retried there, or cancelled here and pushed again: it is not cancelled."""
    async with place(tmp_path, "plain") as here:
        undo = Undo(here.gs, here.ledger).undo
        old = await here.push(orders(1))
        here.simulator.order_fault(Fault(operation="tasks.create", kind="status", status=422, after_calls=1))
        run_id = await here.push(orders(3), chunk=1, concurrency=1)  # T-0 is old, T-1 created, T-2 refused
        here.simulator.clear_faults()
        assert (await undo(run_id, keys=["T-1"])).elsewhere == ()
        new = await here.push(orders(3))
        undone = await undo(run_id)
        owners = {order.key: (order.run, order.state) for order in undone.elsewhere}
        created = OrderState.CREATED
        assert owners == {"T-0": (old, created), "T-1": (new, created), "T-2": (new, created)}
        assert ([order.key for order in undone.already_cancelled], undone.ended) == (["T-1"], True)
        (one,) = (await undo(run_id, keys=["T-2"])).elsewhere
        assert one.task_id == (await here.tasks(new))["T-2"]
        assert here.simulator.audit()["calls"]["tasks.cancel"] == 1


async def _withdrawn(here: Place) -> tuple[str, str]:
    """A run whose order was withdrawn after its draft was recorded; and that draft."""
    here.simulator.order_fault(Fault(operation="platform.drafts.broadcast", kind="status", status=429))
    async with Desk(here.gs, here.ledger, mode=Mode.TWO_PHASE) as desk:
        assert isinstance(await desk.create(order("T-0")), Unprocessed)
    here.simulator.clear_faults()
    (run,) = await here.ledger.runs()
    return run.id, (await here.tasks(run.id))["T-0"]


async def test_the_draft_of_a_withdrawn_order_is_cancelled(tmp_path: Path) -> None:
    """It is counted until then, and not afterwards; the key is free, and its next order has a draft of its own."""
    async with place(tmp_path) as here:
        run_id, draft = await _withdrawn(here)
        undone = await Undo(here.gs, here.ledger).undo(run_id, drafts=True)
        assert ([each.task_id for each in undone.drafts], undone.failed, undone.unused_drafts) == ([draft], (), 0)
        assert (await here.gs.platform.tasks.get(draft)).current_status == "cancelled"
        later = await here.push(orders(1), mode=Mode.TWO_PHASE)
        assert await here.states(later) == {"T-0": OrderState.CREATED}


@pytest.mark.parametrize(("leave", "is_adoptable"), [(_refused, False), (_withdrawn, True)])
async def test_an_unused_draft_is_left_to_an_order_in_flight(
    tmp_path: Path, leave: Callable[[Place], Awaitable[tuple[str, str]]], is_adoptable: bool
) -> None:
    """The key is free, and the answer to the create of its next order may name the draft: it is not cancelled."""
    async with place(tmp_path) as here:
        earlier, draft = await leave(here)
        push = Push(here.gs, here.ledger, mode=Mode.TWO_PHASE)
        async with (await push.load_orders(orders(1)))[0] as later:
            await later.start()
            (mine,) = await later.claim([each.id async for page in later.pending() for each in page])
            undone = await Undo(here.gs, here.ledger).undo(earlier, drafts=True)
            ((key, task_id, why),) = [(each.key, each.task_id, each.error) for each in undone.failed]
            assert (key, task_id, later.id in why, undone.drafts) == ("T-0", draft, True, ())
            assert await later.adoptable({"T-0": draft}) == ({"T-0": draft} if is_adoptable else {})
            await later.record([OrderOutcome(mine, OrderState.DRAFTED, draft)])
            undone = await Undo(here.gs, here.ledger).undo(earlier, drafts=True)
            assert (undone.failed, undone.drafts, undone.unused_drafts) == ((), (), 0)
        async with await here.ledger.hold(later.id) as held:
            await push.send(held)
        assert await here.states(later.id) == {"T-0": OrderState.CREATED}
        undone = await Undo(here.gs, here.ledger).undo(earlier, drafts=True)
        assert (undone.failed, undone.drafts, undone.too_late) == ((), (), ())
        assert (await here.gs.platform.tasks.get(draft)).current_status == "broadcasting"


async def test_no_order_adopts_a_draft_that_a_late_cancel_may_end(tmp_path: Path) -> None:
    """Its cancel was not answered: the next order of the key is refused for its draft, and is not lost."""
    async with place(tmp_path, tracking_id_unique="drafts-too") as here:
        run_id, draft = await _withdrawn(here)
        here.simulator.order_fault(Fault(operation="tasks.cancel", when="late", kind="reset", seconds=60))
        undone = await Undo(here.gs, here.ledger).undo(run_id, drafts=True)
        assert ([each.task_id for each in undone.failed], undone.unused_drafts) == ([draft], 1)
        here.simulator.clear_faults()
        later = await here.push(orders(1), mode=Mode.TWO_PHASE)
        assert await here.states(later) == {"T-0": OrderState.REFUSED}
        assert [task["draft"] for task in here.simulator.tasks()] == [True]
