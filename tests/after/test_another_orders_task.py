"""What is made of a task whose read names another order: it proves nothing, and nothing is done to it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from unittest.mock import patch

import attrs
import msgspec
import pytest

from gotsurge_async import GotSurge, codec
from gotsurge_async.after.audit_notes import Kind
from gotsurge_async.after.lookup import Names, listed, not_its_own
from gotsurge_async.after.replace import replace_changed
from gotsurge_async.after.resolve import Resolution, resolve
from gotsurge_async.bulk import Mode, OrderState, Push, Reconciler, Undo
from gotsurge_async.models.answers import Task
from gotsurge_async.push.load import UnusableSource
from gotsurge_async.simulator import Fault
from gotsurge_async.transports.base import Request, Response
from tests.after.test_audit import Auditor
from tests.ledger.test_shared_tasks import creates_tell
from tests.push.test_changes import again
from tests.support.orders import order, orders
from tests.support.pushes import Place, place

MODES = [("plain", Mode.DIRECT), ("platform", Mode.TWO_PHASE)]
CHANGED = "I-0 (corrected)"


@contextmanager
def reads_tell(gs: GotSurge, *, once: str = "GET", **fields: str) -> Iterator[None]:
    """Have the read of every task tell some fields otherwise, once a request with this method was answered."""
    transport = gs.session._transport
    send = transport.send
    seen = {"GET"}

    async def changed(request: Request) -> Response:
        answer = await send(request)
        seen.add(request.method)
        if request.method != "GET" or once not in seen or "?" in request.url:
            return answer
        return attrs.evolve(answer, body=msgspec.json.encode(msgspec.json.decode(answer.body) | fields))

    with patch.object(transport, "send", changed):
        yield


@pytest.mark.parametrize(("account", "mode"), MODES)
async def test_it_is_not_taken_back(tmp_path: Path, account: str, mode: Mode) -> None:
    """Undo cancels nothing, nor calls it cancelled: the order stays what it was, and is told with the reason."""
    async with place(tmp_path, account) as here:
        run_id = await here.push([order("T-0", invoice_number="I-0")], mode=mode)
        tasks = await here.tasks(run_id)
        for status in ("broadcasting", "cancelled"):
            with reads_tell(here.gs, current_status=status, tracking_id="T-9"):
                undone = await Undo(here.gs, here.ledger).undo(run_id)
            assert (undone.cancelled, undone.already_cancelled, undone.too_late) == ((), (), ())
            (failed,) = undone.failed
            assert f"task {tasks['T-0']} belongs to another order" in failed.error
        assert await here.states(run_id) == {"T-0": OrderState.CREATED}
        assert (await here.gs.tasks.get(tasks["T-0"])).current_status == "broadcasting"
        assert len((await Undo(here.gs, here.ledger).undo(run_id)).cancelled) == 1


@pytest.mark.parametrize("status", ["cancelled", "accepted"])
async def test_after_a_cancel_it_proves_nothing(tmp_path: Path, status: str) -> None:
    """A read that names another order after the cancel leaves the order in doubt, and its key is not free."""
    async with place(tmp_path) as here:
        run_id = await here.push(orders(1))
        if status == "accepted":
            here.simulator.order_fault(Fault(operation="tasks.cancel", kind="status", status=409))
        with reads_tell(here.gs, once="POST", tracking_id="T-9", current_status=status):
            undone = await Undo(here.gs, here.ledger).undo(run_id)
        assert (undone.cancelled, undone.too_late, undone.in_doubt) == ((), (), 1)
        assert await here.states(run_id) == {"T-0": OrderState.CANCELLING}


async def test_an_unused_draft_that_became_another_orders_is_left(tmp_path: Path) -> None:
    """A noted draft whose read names another order is not cancelled."""
    async with place(tmp_path) as here:
        here.simulator.order_fault(Fault(operation="platform.drafts.create", when="after", kind="reset", times=1))
        run_id = await here.push(orders(1), mode=Mode.TWO_PHASE)
        with reads_tell(here.gs, tracking_id="T-9"):
            undone = await Undo(here.gs, here.ledger).undo(run_id, drafts=True)
        assert (undone.cancelled, undone.drafts, len(undone.failed), undone.unused_drafts) == ((), (), 2, 1)


async def test_it_does_not_make_an_order_created(tmp_path: Path) -> None:
    """In two-phase mode a read that names another order leaves this one in doubt with the reason; reconcile, too."""
    async with place(tmp_path) as here:
        here.simulator.order_fault(Fault(operation="platform.drafts.broadcast", kind="status", status=500))
        with reads_tell(here.gs, current_status="broadcasting", tracking_id="T-9"):
            run_id = await here.push([order("T-0", invoice_number="I-0")], mode=Mode.TWO_PHASE)
            (row,) = [row async for row in here.ledger.rows(run_id)]
            assert (row.state, "another order" in (row.error or "")) == (OrderState.IN_DOUBT, True)
            result = await Reconciler(here.gs, here.ledger).reconcile(run_id)
        assert (result.created, len(result.in_doubt)) == ((), 1)
        assert "another order" in result.in_doubt[0].reason


async def test_an_answer_of_a_broadcast_that_names_another_order_proves_nothing(tmp_path: Path) -> None:
    """What a broadcast's answer says of a task counts for its order only where it does not name another one."""
    async with place(tmp_path) as here:
        transport = here.gs.session._transport
        send = transport.send

        async def renamed(request: Request) -> Response:
            answer = await send(request)
            told = msgspec.json.decode(answer.body)
            if request.method != "GET" and "updated_tasks" in told:
                told["updated_tasks"] = [{**task, "tracking_id": "T-9"} for task in told["updated_tasks"]]
            return attrs.evolve(answer, body=msgspec.json.encode(told))

        here.simulator.order_fault(Fault(operation="platform.tasks.get", kind="status", status=503))
        with patch.object(transport, "send", renamed):
            run_id = await here.push([order("N-0")], mode=Mode.TWO_PHASE)
        assert await here.states(run_id) == {"N-0": OrderState.BROADCASTING}


async def test_it_is_not_changed(tmp_path: Path) -> None:
    """A changed order's task is left as it is where its read names another order."""
    async with place(tmp_path) as here:
        await here.push([order("T-0", invoice_number="I-0")], mode=Mode.TWO_PHASE)
        run, _ = await again(here, order("T-0", invoice_number="I-0", group_tag="x"))
        async with run:
            with reads_tell(here.gs, tracking_id="T-9"):
                done = await replace_changed(here.gs, run, concurrency=1)
            assert (done.replaced, done.left, done.unknown) == (0, 1, 0)


# --- its invoice number was changed on GotSurge's web page: it is the order's own ------------------------------------


async def change_invoice_numbers(here: Place) -> str:
    """Change that of every task, as a person does; returns the last task."""
    async for task in here.gs.platform.tasks.list():
        await here.gs.platform.tasks.update(await here.gs.platform.tasks.get(task.id), invoice_number=CHANGED)
    return task.id


async def pushed(here: Place, tracking_id: str | None, key: str = "K-0") -> str:
    """Push an order in two-phase mode; returns the run."""
    push = Push(here.gs, here.ledger, mode=Mode.TWO_PHASE)
    async with (await push.load_orders([order(tracking_id, invoice_number="I-0")], key=lambda _: key))[0] as run:
        await push.send(run)
    return run.id


@asynccontextmanager
async def lost_broadcast(folder: Path, *, tracking_id: str | None = "T-0") -> AsyncIterator[tuple[Place, str]]:
    """A push whose broadcast acted, was not answered, and left no trace that could be read."""
    async with place(folder, settle=0) as here:
        here.simulator.order_fault(Fault(operation="platform.drafts.broadcast", when="after", kind="reset"))
        here.simulator.order_fault(Fault(operation="platform.tasks.get", kind="status", status=503))
        run_id = await pushed(here, tracking_id)
        here.simulator.clear_faults()
        yield here, run_id


@pytest.mark.parametrize("tracking_id", ["T-0", None])
@pytest.mark.parametrize("by", ["push", "reconcile", "undo", "created"])
async def test_a_changed_invoice_number_hides_no_task(tmp_path: Path, by: str, tracking_id: str | None) -> None:
    """Another push, reconcile, undo and a person settle the order by its recorded task."""
    async with lost_broadcast(tmp_path, tracking_id=tracking_id) as (here, run_id):
        task_id = await change_invoice_numbers(here)

        async def connect() -> GotSurge:
            return here.gs

        if by == "push":
            run_id = await pushed(here, tracking_id)
        elif by == "reconcile":
            await Reconciler(here.gs, here.ledger, rescan_after=0).reconcile(run_id)
        elif by == "undo":
            await Undo(here.gs, here.ledger).undo(run_id)
        else:
            await resolve(here.ledger, run_id, [Resolution(key="K-0", task_id=task_id)], by="Mei", connect=connect)
        expected = OrderState.CANCELLED if by == "undo" else OrderState.CREATED
        assert await here.states(run_id) == {"K-0": expected}
        assert await here.tasks(run_id) == {"K-0": task_id}


@pytest.mark.parametrize("tracking_id", ["T-0", None])
async def test_an_order_whose_task_has_another_invoice_number_is_created(
    tmp_path: Path, tracking_id: str | None
) -> None:
    """So a person's decision "not created" is refused, and no push doubles the order."""
    async with lost_broadcast(tmp_path, tracking_id=tracking_id) as (here, run_id):
        task_id = await change_invoice_numbers(here)

        async def connect() -> GotSurge:
            return here.gs

        with pytest.raises(UnusableSource, match=f"the order's task {task_id} exists, and is broadcasting"):
            await resolve(here.ledger, run_id, [Resolution(key="K-0")], by="Mei", connect=connect)


@pytest.mark.parametrize("known", ["", "key", "name"])
async def test_a_task_with_another_tracking_id_is_the_orders_unless_the_ledger_knows_that(
    tmp_path: Path, known: str
) -> None:
    """A person may have changed it: "not created" is refused, and "created" taken; else the other way about."""
    async with lost_broadcast(tmp_path) as (here, run_id):
        if known == "key":
            await here.push([order("T-9")])
        elif known:  # another key, and in doubt
            here.simulator.order_fault(Fault(operation="platform.drafts.broadcast", when="after", kind="reset"))
            here.simulator.order_fault(Fault(operation="platform.tasks.get", kind="status", status=503))
            await pushed(here, "T-9", key="K-9")
            here.simulator.clear_faults()
        task_id = (await here.tasks(run_id))["K-0"]

        async def connect() -> GotSurge:
            return here.gs

        async def say(task: str | None) -> None:
            await resolve(here.ledger, run_id, [Resolution(key="K-0", task_id=task)], by="Mei", connect=connect)

        wrong, right = (task_id, None) if known else (None, task_id)
        why = "its tracking_id is T-9" if known else f"with another tracking_id: .* pass --created {task_id}"
        with reads_tell(here.gs, tracking_id="T-9"):
            with pytest.raises(UnusableSource, match=why):
                await say(wrong)
            await say(right)
        assert await here.states(run_id) == {"K-0": OrderState.REFUSED if known else OrderState.CREATED}


async def test_a_person_may_name_a_task_by_its_tracking_id_alone(tmp_path: Path) -> None:
    """A task that no answer named is the order's if it has its tracking id, whatever its invoice number is."""
    async with place(tmp_path, settle=0) as here:
        run_id = await here.lose([order("T-0", invoice_number="I-0")])
        task_id = await change_invoice_numbers(here)

        async def connect() -> GotSurge:
            return here.gs

        await Reconciler(here.gs, here.ledger, rescan_after=0).reconcile(run_id)
        assert await here.states(run_id) == {"T-0": OrderState.IN_DOUBT}
        await resolve(here.ledger, run_id, [Resolution(key="T-0", task_id=task_id)], by="Mei", connect=connect)
        assert await here.states(run_id) == {"T-0": OrderState.CREATED}


async def test_a_changed_invoice_number_hides_no_second_task(tmp_path: Path) -> None:
    """An audit names an order that is live twice, although its recorded task has another invoice number by now."""
    async with place(tmp_path) as here:
        await here.push([order("T-0", invoice_number="I-0")], mode=Mode.TWO_PHASE)
        await change_invoice_numbers(here)
        await here.gs.tasks.create([order("T-0", invoice_number="I-0")])
        kinds = [each.kind for each in await Auditor(here, tmp_path).find(rescan_after=0)]
        assert sorted(kinds) == [Kind.CHANGED, Kind.TWICE]


# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cancelled", [False, True])
async def test_an_order_that_is_live_twice_is_named(tmp_path: Path, cancelled: bool) -> None:
    """Its second task is recorded for an order in doubt: an audit and an undo name it, and its key is not free."""
    async with place(tmp_path, settle=0) as here:
        lost = Fault(operation="platform.drafts.create", kind="reset", when="after", times=1)
        reused = Fault(operation="platform.drafts.create", kind="reused", after_calls=2, times=1)
        here.simulator.order_fault(lost)
        here.simulator.order_fault(reused)
        run_id = await here.push([order("X"), order("Y")], mode=Mode.TWO_PHASE, chunk=1, concurrency=1)
        assert here.simulator.audit()["doubled"] == {"X": 2}
        assert await here.states(run_id) == {"X": OrderState.CREATED, "Y": OrderState.IN_DOUBT}
        tasks = await here.tasks(run_id)
        if cancelled:
            await here.gs.tasks.cancel(tasks["X"], reason="on a page")
        found = {each.key: each for each in await Auditor(here, tmp_path).find(rescan_after=0)}
        if cancelled:
            assert (found["X"].kind, found["X"].task_ids) == (Kind.CHANGED, (tasks["Y"],))
        else:
            assert (found["X"].kind, found["X"].task_ids) == (Kind.TWICE, (tasks["X"], tasks["Y"]))
        undone = await Undo(here.gs, here.ledger).undo(run_id)
        assert undone.in_doubt == 1
        (doubtful,) = undone.doubtful
        assert (doubtful.key, doubtful.task_id, doubtful.status) == ("Y", tasks["Y"], "broadcasting")
        assert f"task {tasks['Y']} belongs to another order: its tracking_id is X" in doubtful.error


async def test_a_person_is_told_what_to_do_with_an_order_that_has_another_orders_task(tmp_path: Path) -> None:
    """Its own task cannot be recorded any more; once this is cancelled, the order may be said not to be created."""
    async with place(tmp_path, settle=0) as here:
        await here.lose([order("SHOP-9")])
        (theirs,) = here.simulator.tasks()
        with creates_tell(here.gs, theirs["id"], times=1):
            run_id = await here.push([order("Y")], mode=Mode.TWO_PHASE)
        (own,) = (await here.gs.tasks.create([order("Y")])).tasks
        assert await here.states(run_id) == {"Y": OrderState.IN_DOUBT}
        assert await here.tasks(run_id) == {"Y": theirs["id"]}

        async def connect() -> GotSurge:
            return here.gs

        why = f"if task {own.id} is this order's and must be delivered, leave the order in doubt"
        with pytest.raises(UnusableSource, match=why):
            await resolve(here.ledger, run_id, [Resolution(key="Y", task_id=own.id)], by="Mei", connect=connect)
        await here.gs.tasks.cancel(own.id, reason="sent twice")
        done = await resolve(here.ledger, run_id, [Resolution(key="Y")], by="Mei", connect=connect)
        assert [one.key for one in done.not_created] == ["Y"]


def test_an_id_with_a_line_break_breaks_no_line() -> None:
    """In the messages that name a task."""
    task = codec.decode(b'{"id": "a\\nb", "tracking_id": "T-1"}', Task)
    assert (not_its_own(Names(tracking_id="T-0"), task) + listed([task])).isprintable()
