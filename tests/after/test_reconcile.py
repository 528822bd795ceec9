"""What became of orders in doubt, by what the simulator shows, over real HTTP."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async.after.lookup import note_unused_drafts
from gotsurge_async.bulk import Ledger, Mode, OrderState, Push, Reconciler, Undo
from gotsurge_async.ledger import NoSuchRun, OrderOutcome, Remark, RunHeld, RunState
from gotsurge_async.ledger.upkeep.older_copy import LOST
from gotsurge_async.simulator import Fault
from gotsurge_async.transports.base import Request, Response
from tests.support.orders import order, orders
from tests.support.pushes import Place, place

RESCAN_AFTER = 30.0


async def keep_lost_draft(here: Place, **options: Any) -> tuple[str, str]:
    """A two-phase run whose one order was broadcasting when its process ended; its recorded task."""
    push = Push(here.gs, here.ledger, mode=Mode.TWO_PHASE, **options)
    async with (await push.load_orders([order("T-0")]))[0] as run:
        here.simulator.order_fault(Fault(operation="platform.drafts.broadcast", when="before", kind="status"))
        await push.send(run)
        ids = [row.id async for row in run.rows((OrderState.DRAFTED,))]
        await run.claim_broadcast(ids)
    here.simulator.clear_faults()
    return run.id, (await here.tasks(run.id))["T-0"]


@pytest.mark.parametrize("dates", ["z", "offset", "fraction", "naive"])
async def test_created_orders_are_matched_by_tracking_id(tmp_path: Path, dates: str) -> None:
    """Orders whose answers were lost after the effect end created, each with its own task, in every form of dates."""
    async with place(tmp_path, dates=dates) as here:
        run_id = await here.lose(orders(45))
        result = await Reconciler(here.gs, here.ledger).reconcile(run_id)
        assert (len(result.created), result.in_doubt, result.troubles) == (45, (), ())
        assert set((await here.states(run_id)).values()) == {OrderState.CREATED}
        for key, task_id in (await here.tasks(run_id)).items():
            assert (await here.gs.platform.tasks.get(task_id)).tracking_id == key
        assert (await here.ledger.run(run_id)).state is RunState.DONE
        # Found in one scan: nobody waited for a second one.
        assert RESCAN_AFTER not in here.clock.slept


async def test_every_page_is_read(tmp_path: Path) -> None:
    """Orders on later pages are found too."""
    async with place(tmp_path, per_page_limit=3) as here:
        await here.push(orders(10, "OLD-"))
        run_id = await here.lose(orders(10))
        assert len((await Reconciler(here.gs, here.ledger).reconcile(run_id)).created) == 10


@pytest.mark.parametrize("account", ["platform", "plain"])
async def test_absence_proves_nothing(tmp_path: Path, account: str) -> None:
    """What is not found stays in doubt, after a second scan with the settle time before it."""
    async with place(tmp_path, account) as here:
        run_id = await here.lose(orders(3), when="before")
        result = await Reconciler(here.gs, here.ledger).reconcile(run_id)
        assert {each.key for each in result.in_doubt} == {"T-0", "T-1", "T-2"}
        assert set((await here.states(run_id)).values()) == {OrderState.IN_DOUBT}
        assert (RESCAN_AFTER in here.clock.slept) == (account == "platform")
        said = "".join(result.troubles)  # without a Task List they name webhooks, and a person's word
        assert ("webhook" in said, "gotsurge resolve" in said) == ((account == "plain"),) * 2
        assert await here.absent(run_id) == ({"T-0", "T-1", "T-2"} if account == "platform" else set())
        assert here.simulator.audit()["tasks"] == 0


@pytest.mark.parametrize("trouble", ["status", "reset"])
async def test_a_scan_that_broke_off_gives_up_nothing(tmp_path: Path, trouble: Any) -> None:
    """When the list cannot be read to its end, no order counts as absent."""
    async with place(tmp_path, per_page_limit=3) as here:
        await here.push(orders(5, "OTHER-"))
        run_id = await here.lose(orders(2), when="before")
        here.simulator.order_fault(
            Fault(operation="platform.tasks.list", when="before", kind=trouble, status=500, rate=0.5, seed=4)
        )
        here.simulator.order_fault(Fault(operation="platform.tasks.list", when="before", kind=trouble, status=500))
        result = await Reconciler(here.gs, here.ledger).reconcile(run_id)
        assert "could not be read" in result.troubles[0]
        assert len(result.in_doubt) == 2
        assert await here.absent(run_id) == set()


async def test_another_orders_task_is_never_taken(tmp_path: Path) -> None:
    """A task that the ledger has under another order proves nothing, whatever names it shares."""
    async with place(tmp_path, tracking_id_echo="reads") as here:
        await here.push([order("A", invoice_number="INV-1")])
        twin = order("A", invoice_number="INV-1")
        push = Push(here.gs, here.ledger)
        here.simulator.order_fault(Fault(operation="tasks.create", when="before", kind="reset"))
        async with (await push.load_orders([twin], key=lambda _: "another key"))[0] as run:
            await push.send(run)
        here.simulator.clear_faults()
        result = await Reconciler(here.gs, here.ledger).reconcile(run.id)
        assert [each.key for each in result.in_doubt] == ["another key"]


async def test_an_expired_task_is_no_proof_where_another_may_be(tmp_path: Path) -> None:
    """An order whose task has expired stays in doubt if an older copy of the ledger was accepted."""
    async with place(tmp_path) as here:
        run_id = await here.lose(orders(1))
        (found,) = [task async for task in here.gs.platform.tasks.list()]
        here.simulator.move(found.id, "expired")
        async with await here.ledger.hold(run_id) as run:
            (row,) = [row async for row in run.rows()]
            await run.remark([Remark(row.id, OrderState.IN_DOUBT, error=LOST)])
        result = await Reconciler(here.gs, here.ledger).reconcile(run_id)
        assert [each.key for each in result.in_doubt] == ["T-0"]
        assert not result.created


@pytest.mark.parametrize("status", ["cancelled", "expired", "complete"])
async def test_a_task_that_was_over_before_the_run_proves_nothing(tmp_path: Path, status: str) -> None:
    """It has the order's name, and existed before the run: the order is neither created nor cancelled by it."""
    async with place(tmp_path) as here:
        (earlier,) = (await here.gs.tasks.create(orders(1))).tasks
        here.simulator.move(earlier.id, status, through=True)
        await here.push([order("T-9")])  # the ledger is not new: nothing is looked up before it sends
        here.clock.ahead += timedelta(days=2)
        run_id = await here.lose(orders(1), when="before")
        (doubt,) = (await Reconciler(here.gs, here.ledger).reconcile(run_id)).in_doubt
        assert "older than the last attempt to send" in doubt.reason
        assert doubt.task_ids == (earlier.id,)


async def test_a_task_that_was_over_before_an_order_of_an_old_run_was_sent_proves_nothing(tmp_path: Path) -> None:
    """The run waited for days before it was resumed; a person's task of the order's name was over by then."""
    async with place(tmp_path) as here:
        push = Push(here.gs, here.ledger, mode=Mode.DIRECT)
        async with (await push.load_orders(orders(1)))[0]:
            pass
        (info,) = await here.ledger.runs()
        (earlier,) = (await here.gs.tasks.create(orders(1))).tasks
        here.simulator.move(earlier.id, "expired")
        here.clock.ahead += timedelta(days=2)
        here.simulator.order_fault(Fault(operation="tasks.create", when="before", kind="reset"))
        async with await here.ledger.hold(info.id) as run:
            await push.send(run)
        (doubt,) = (await Reconciler(here.gs, here.ledger).reconcile(info.id)).in_doubt
        assert "older than the last attempt to send" in doubt.reason


async def test_an_order_of_a_crash_was_sent_before_the_crash(tmp_path: Path) -> None:
    """Its task ended while no process ran: a recovery days later does not make the task older than the order."""
    async with place(tmp_path) as here:
        async with (await Push(here.gs, here.ledger, mode=Mode.DIRECT).load_orders(orders(1)))[0] as run:
            await run.claim([row.id async for row in run.rows()])
        (own,) = (await here.gs.tasks.create(orders(1))).tasks
        here.simulator.move(own.id, "complete", through=True)
        here.clock.ahead += timedelta(days=2)
        assert len((await Reconciler(here.gs, here.ledger).reconcile(run.id)).created) == 1


@pytest.mark.parametrize(("error", "fast_by"), [(LOST, timedelta(days=2)), (None, timedelta(hours=12))])
async def test_an_older_task_proves_that_an_order_was_created(
    tmp_path: Path, error: str | None, fast_by: timedelta
) -> None:
    """An older copy of the ledger may have lacked it; and this machine's clock may be fast."""
    async with place(tmp_path) as here:
        (own,) = (await here.gs.tasks.create(orders(1))).tasks
        here.simulator.move(own.id, "complete", through=True)
        await here.push([order("T-9")])
        here.clock.ahead += fast_by
        run_id = await here.lose(orders(1), when="before")
        if error is not None:
            async with await here.ledger.hold(run_id) as run:
                (row,) = [row async for row in run.rows()]
                await run.remark([Remark(row.id, OrderState.IN_DOUBT, error=error)])
        (created,) = (await Reconciler(here.gs, here.ledger).reconcile(run_id)).created
        assert created.task_id == own.id


async def test_an_unused_draft_proves_nothing(tmp_path: Path) -> None:
    """A person broadcast the noted draft of an earlier push: it does not show that a later order was created."""
    async with place(tmp_path) as here:
        here.simulator.order_fault(Fault(operation="platform.drafts.create", when="after", kind="reset", times=1))
        first = await here.push(orders(1), mode=Mode.TWO_PHASE)
        (unused,) = [task["id"] for task in here.simulator.tasks() if task["draft"]]
        async with await here.ledger.hold(first) as run:
            await note_unused_drafts(here.gs, here.ledger, run, ["T-0"])
        await Undo(here.gs, here.ledger).undo(first)
        assert await here.states(first) == {"T-0": OrderState.CANCELLED}
        await here.gs.platform.drafts.broadcast([unused])
        run_id = await here.lose(orders(1), when="before")
        (doubt,) = (await Reconciler(here.gs, here.ledger).reconcile(run_id)).in_doubt
        assert "or another order's" in doubt.reason


async def test_a_double_is_named_and_stays_in_doubt(tmp_path: Path) -> None:
    """Two tasks of one order are told with both ids, in the ledger too; with one of them cancelled it is settled."""
    async with place(tmp_path) as here:
        run_id = await here.lose(orders(1))
        await here.gs.tasks.create(orders(1))
        reconciler = Reconciler(here.gs, here.ledger)
        result = await reconciler.reconcile(run_id)
        (double,) = result.doubled
        assert double in result.in_doubt
        assert len(double.task_ids) == 2
        (row,) = [row async for row in here.ledger.rows(run_id)]
        assert row.state is OrderState.IN_DOUBT
        assert all(task_id in (row.error or "") for task_id in double.task_ids)
        await here.gs.tasks.cancel(double.task_ids[1], reason="a double")
        result = await reconciler.reconcile(run_id)
        assert [each.task_id for each in result.created] == [double.task_ids[0]]


@pytest.mark.parametrize("drafts_listed", [True, False])
async def test_a_recorded_draft_is_broadcast_again_by_a_resume(tmp_path: Path, drafts_listed: bool) -> None:
    """A two-phase order whose recorded task is still a draft is named, and a resume broadcasts that one, once."""
    async with place(tmp_path, drafts_listed=drafts_listed) as here:
        run_id, task_id = await keep_lost_draft(here)
        result = await Reconciler(here.gs, here.ledger).reconcile(run_id)
        assert [(each.key, each.task_id) for each in result.still_draft] == [("T-0", task_id)]
        assert (await here.ledger.run(run_id)).state is RunState.STOPPED
        async with await here.ledger.hold(run_id) as run:
            await Push(here.gs, here.ledger).send(run)
        assert await here.states(run_id) == {"T-0": OrderState.CREATED}
        assert here.simulator.audit()["by_tracking_id"] == {"T-0": 1}


async def test_the_same_push_again_settles_what_was_broadcasting(tmp_path: Path) -> None:
    """An order whose broadcast was interrupted goes on in the next push of it, by its recorded draft."""
    async with place(tmp_path) as here:
        run_id, task_id = await keep_lost_draft(here)
        again = await here.push([order("T-0")], mode=Mode.TWO_PHASE)
        assert await here.states(again) == {"T-0": OrderState.CREATED}
        assert await here.tasks(again) == {"T-0": task_id}
        assert await here.states(run_id) == {"T-0": OrderState.SUPERSEDED}
        assert here.simulator.audit()["by_tracking_id"] == {"T-0": 1}


@pytest.mark.parametrize("acted", [True, False])
async def test_a_changed_order_in_doubt_is_read_before_it_is_pushed(tmp_path: Path, acted: bool) -> None:
    """A changed order whose old draft may be out is not sent: the old one is read, and is known or in doubt."""
    async with place(tmp_path) as here:
        run_id, task_id = await keep_lost_draft(here)
        if acted:
            await here.gs.platform.drafts.broadcast([task_id])
        again = await here.push([order("T-0", invoice_number="changed")], mode=Mode.TWO_PHASE)
        assert await here.states(run_id) == {"T-0": OrderState.CREATED if acted else OrderState.BROADCASTING}
        assert (await here.ledger.counts(again)).in_doubt == (0 if acted else 1)
        assert here.simulator.audit()["by_tracking_id"] == ({"T-0": 1} if acted else {})


async def test_a_recorded_task_past_draft_is_created(tmp_path: Path) -> None:
    """A broadcast that a crash interrupted is settled by its recorded task, without any scan."""
    async with place(tmp_path) as here:
        run_id, task_id = await keep_lost_draft(here)
        await here.gs.platform.drafts.broadcast([task_id])
        scans = here.simulator.audit()["calls"]["platform.tasks.list"]
        result = await Reconciler(here.gs, here.ledger).reconcile(run_id)
        assert [(each.key, each.task_id) for each in result.created] == [("T-0", task_id)]
        assert here.simulator.audit()["calls"]["platform.tasks.list"] == scans


async def test_a_recorded_task_that_has_expired_is_not_created(tmp_path: Path) -> None:
    """It may have expired as a draft: no driver has the order, so its key is free, and a push makes a new task."""
    async with place(tmp_path) as here:
        run_id, task_id = await keep_lost_draft(here)
        here.simulator.move(task_id, "expired", force=True)
        result = await Reconciler(here.gs, here.ledger).reconcile(run_id)
        assert [(each.key, each.status) for each in result.cancelled] == [("T-0", "expired")]
        again = await here.push([order("T-0")], mode=Mode.TWO_PHASE)
        assert await here.states(again) == {"T-0": OrderState.CREATED}
        assert (await here.tasks(again))["T-0"] != task_id


async def test_what_a_crash_left_sending_is_in_doubt_first(tmp_path: Path) -> None:
    """Orders that were being sent when their process ended are looked up like any other in doubt."""
    async with place(tmp_path) as here:
        async with (await Push(here.gs, here.ledger).load_orders(orders(2)))[0] as run:
            await run.claim([row.id async for row in run.rows()])
        await here.gs.tasks.create(orders(1))
        result = await Reconciler(here.gs, here.ledger).reconcile(run.id)
        assert await here.states(run.id) == {"T-0": OrderState.CREATED, "T-1": OrderState.IN_DOUBT}
        assert len(result.created) == 1


async def test_a_task_that_is_recorded_for_another_order_meanwhile_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger itself refuses a task that got an owner since it was looked for; only that order stays in doubt."""

    async def nothing(*_: Any) -> dict[str, int]:
        return {}

    async with place(tmp_path) as here:
        await here.push([order("A")])
        taken = (await here.tasks((await here.ledger.runs())[0].id))["A"]
        push = Push(here.gs, here.ledger)
        here.simulator.order_fault(Fault(operation="tasks.create", when="before", kind="reset"))
        both = [order("A"), order("B")]
        async with (await push.load_orders(both, key=lambda order: f"another key {order.tracking_id}"))[0] as run:
            await push.send(run)
        here.simulator.clear_faults()
        await here.gs.tasks.create([order("B")])
        monkeypatch.setattr(Ledger, "owners", nothing)
        result = await Reconciler(here.gs, here.ledger).reconcile(run.id)
        (left,) = result.in_doubt
        assert (left.key, left.reason) == ("another key A", f"task {taken} is recorded for another order")
        states = {"another key A": OrderState.IN_DOUBT, "another key B": OrderState.CREATED}
        assert await here.states(run.id) == states


@pytest.mark.parametrize("when", ["in doubt", "in flight"])
async def test_the_task_of_another_runs_order_is_not_taken(tmp_path: Path, when: str) -> None:
    """Of two orders of one invoice and pickup the task is not taken for the lost one, which is not called absent."""
    async with place(tmp_path, tracking_id_echo="never") as here:
        first = await here.lose([order("A", invoice_number="INV")], when="before")
        async with (await Push(here.gs, here.ledger).load_orders([order("B", invoice_number="INV")]))[0] as run:
            await run.start()
            (theirs,) = [each.id async for page in run.pending() for each in page]
            await run.claim([theirs])
            await here.gs.tasks.create([order("B", invoice_number="INV")])
            if when == "in doubt":
                await run.record([OrderOutcome(theirs, OrderState.IN_DOUBT, error="the answer was lost")])
            result = await Reconciler(here.gs, here.ledger).reconcile(first)
            assert await here.absent(first) == set()
        assert [(each.key, "or another order's" in each.reason) for each in result.in_doubt] == [("A", True)]
        assert await here.states(first) == {"A": OrderState.IN_DOUBT}


async def test_an_order_that_is_sent_while_the_list_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in flight is seen after the list was read: an order that left meanwhile may be on it."""
    async with place(tmp_path, tracking_id_echo="never") as here:
        first = await here.lose([order("A", invoice_number="INV")], when="before")
        async with (await Push(here.gs, here.ledger).load_orders([order("B", invoice_number="INV")]))[0] as run:
            await run.start()
            (theirs,) = [each.id async for page in run.pending() for each in page]
            transport = here.gs.session._transport
            send = transport.send

            async def send_first(request: Request) -> Response:
                if request.method == "GET" and await run.claim([theirs]):
                    await here.gs.tasks.create([order("B", invoice_number="INV")])
                return await send(request)

            monkeypatch.setattr(transport, "send", send_first)
            await Reconciler(here.gs, here.ledger).reconcile(first)
        assert await here.states(first) == {"A": OrderState.IN_DOUBT}


async def test_a_run_in_other_hands_is_left_alone(tmp_path: Path) -> None:
    """A run that is held, or does not exist, is an error that says so."""
    async with place(tmp_path) as here:
        async with (await Push(here.gs, here.ledger).load_orders(orders(1)))[0] as run:
            with pytest.raises(RunHeld):
                await Reconciler(here.gs, here.ledger).reconcile(run.id)
        with pytest.raises(NoSuchRun):
            await Reconciler(here.gs, here.ledger).reconcile("nothing")


async def test_unused_drafts_are_found(tmp_path: Path) -> None:
    """Drafts of lost answers are found by their tracking ids; the recorded drafts are not among them."""
    async with place(tmp_path) as here:
        here.simulator.order_fault(Fault(operation="platform.drafts.create", when="after", kind="reset", times=1))
        push = Push(here.gs, here.ledger, mode=Mode.TWO_PHASE)
        async with (await push.load_orders(orders(3)))[0] as run:
            sent = await push.send(run)
            assert await note_unused_drafts(here.gs, here.ledger, run, ()) == []
            assert await here.ledger.unused_drafts(run.id) == []
            assert await note_unused_drafts(here.gs, here.ledger, run, sent.lost_drafts) == []
        unused = await here.ledger.unused_drafts(run.id)
        assert {each.key for each in unused} == {"T-0", "T-1", "T-2"}
        assert not {each.task_id for each in unused} & set((await here.tasks(run.id)).values())
        assert here.simulator.audit()["drafts"] == 3
