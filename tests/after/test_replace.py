"""The tasks of orders that were changed after they had been pushed."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import AsyncMock, patch

import pytest

from gotsurge_async import Item, Money, Order
from gotsurge_async.after.replace import replace_changed
from gotsurge_async.bulk import Mode, OrderState, Undo
from gotsurge_async.ledger import IllegalTransition
from gotsurge_async.simulator import Fault
from gotsurge_async.transports.base import Request, Response
from tests.push.test_changes import ELSEWHERE, again, told
from tests.support.orders import order, orders
from tests.support.pushes import Place, place


async def test_a_task_is_changed_into_what_the_order_says(tmp_path: Path) -> None:
    """An open task is updated, and the same file pushed again has nothing more to change."""
    changed = order("T-0", to_address=ELSEWHERE, price=Money.of("7", "SGD"), group_tag="MV EXAMPLE")
    async with place(tmp_path) as here:
        first = await here.push(orders(1), mode=Mode.TWO_PHASE)
        run, _ = await again(here, changed)
        async with run:
            done = await replace_changed(here.gs, run, concurrency=2)
            assert (done.replaced, done.left, done.stopped_by) == (1, 0, None)
            assert (await told(run))["T-0"][0] is OrderState.ALREADY_PUSHED
        task = await here.gs.platform.tasks.get((await here.tasks(first))["T-0"])
        assert (task.to_address, task.price, task.group_tag) == (ELSEWHERE, Money.of("7", "SGD"), "MV EXAMPLE")
        run, _ = await again(here, changed)
        async with run:
            assert (await told(run))["T-0"][0] is OrderState.ALREADY_PUSHED
        assert here.simulator.audit()["by_tracking_id"] == {"T-0": 1}


async def test_an_order_that_was_taken_back_meanwhile_stays_so(tmp_path: Path) -> None:
    """What is cancelled by the time its task was changed is not called changed, nor broadcasting."""
    async with place(tmp_path) as here:
        first = await here.push(orders(1), mode=Mode.TWO_PHASE)
        run, _ = await again(here, order("T-0", group_tag="x"))
        async with run:
            (rival,) = await run.rivals((OrderState.CHANGED,), -1)
            await Undo(here.gs, here.ledger).undo(first)
            with pytest.raises(IllegalTransition, match='no longer has the state "created"'):
                await run.replace(rival, "broadcasting", doubt=bytes)
            assert (await told(run))["T-0"][0] is OrderState.CHANGED
        (row,) = [row async for row in here.ledger.rows(first)]
        assert (row.state, row.status, row.error) == (OrderState.CANCELLED, "cancelled", "taken back")


async def test_what_cannot_be_changed_says_what_to_do(tmp_path: Path) -> None:
    """Items, ended tasks and updates that are refused or lost leave the order changed, each with its reason."""
    async with place(tmp_path) as here:
        first = await here.push(orders(4), mode=Mode.TWO_PHASE)
        tasks = await here.tasks(first)
        here.simulator.move(tasks["T-1"], "expired")
        run, _ = await again(
            here,
            order("T-0", items=[Item(name="Anchor")]),
            order("T-1", group_tag="x"),
            order("T-2", group_tag="x"),
        )
        here.simulator.order_fault(Fault(operation="platform.tasks.update", kind="status", status=403))
        async with run:
            done = await replace_changed(here.gs, run, concurrency=1)
            rows = await told(run)
        assert done.left == 3
        assert "items cannot be changed in a task: run gotsurge undo" in rows["T-0"][1]
        assert "the order's task is expired" in rows["T-1"][1]
        assert "not changed: " in rows["T-2"][1]
        assert {state for state, _ in rows.values()} == {OrderState.CHANGED}


async def test_a_change_of_which_nothing_is_known_is_not_forgotten(tmp_path: Path) -> None:
    """When an update's answer is lost and no read tells, neither the old text nor the new one is called sent."""
    old, new = order("T-0"), order("T-0", group_tag="MV EXAMPLE")
    async with place(tmp_path) as here:
        await here.push([old], mode=Mode.TWO_PHASE)
        run, _ = await again(here, new)
        here.simulator.order_fault(Fault(operation="platform.tasks.update", when="after", kind="reset", times=1))
        here.simulator.order_fault(Fault(operation="platform.tasks.get", kind="status", status=503, after_calls=1))
        async with run:
            done = await replace_changed(here.gs, run, concurrency=1)
            assert (done.replaced, done.left, done.unknown) == (0, 0, 1)
            assert "it is unknown whether the update changed the task" in (await told(run))["T-0"][1]
        here.simulator.clear_faults()
        for text in (old, new):
            run, _ = await again(here, text)
            async with run:
                assert (await told(run))["T-0"][0] is OrderState.CHANGED
        run, _ = await again(here, old)
        async with run:
            assert (await replace_changed(here.gs, run, concurrency=1)).replaced == 1
        run, _ = await again(here, old)
        async with run:
            assert (await told(run))["T-0"][0] is OrderState.ALREADY_PUSHED
        (task,) = [task async for task in here.gs.platform.tasks.list()]
        assert not task.group_tag


async def _texts(here: Place, *texts: Order) -> list[OrderState]:
    """What a push of each text says of it."""
    states = []
    for text in texts:
        run, _ = await again(here, text)
        async with run:
            states += [state for state, _ in (await told(run)).values()]
    return states


@contextmanager
def _meanwhile(here: Place, do: Callable[[], Awaitable[object]], *, first: bool) -> Iterator[None]:
    """Do something just before the next update leaves, or just after it acted and before its answer is read."""
    transport = here.gs.session._transport
    send = transport.send
    waiting = [do]

    async def sent(request: Request) -> Response:
        if request.method != "PATCH" or not waiting:
            return await send(request)
        waiting.clear()
        if first:
            await do()
        answer = await send(request)
        if not first:
            await do()
        return answer

    with patch.object(transport, "send", sent):
        yield


@pytest.mark.parametrize("acts_first", [True, False])
async def test_two_pushes_that_change_one_order_leave_no_wrong_text(tmp_path: Path, *, acts_first: bool) -> None:
    """A refused update does not put an old text back, and one of two that both acted does not overrule the other."""
    old, mine, other = order("T-0"), order("T-0", group_tag="mine"), order("T-0", group_tag="other")
    async with place(tmp_path) as here:
        await here.push([old], mode=Mode.TWO_PHASE)
        run, _ = await again(here, mine)

        async def change() -> None:
            another, _ = await again(here, other)
            async with another:
                assert (await replace_changed(here.gs, another, concurrency=1)).replaced == 1

        with _meanwhile(here, change, first=acts_first):
            async with run:
                done = await replace_changed(here.gs, run, concurrency=1)
                ((_, why),) = (await told(run)).values()
        (task,) = [task async for task in here.gs.platform.tasks.list()]
        assert task.group_tag == "other"
        created, changed = OrderState.ALREADY_PUSHED, OrderState.CHANGED
        if acts_first:
            assert (done.replaced, done.left, done.unknown) == (0, 1, 0)
            assert await _texts(here, old, mine, other) == [changed, changed, created]
        else:  # which of the two was the last is not known here
            assert (done.replaced, done.left, done.unknown) == (0, 0, 1)
            assert "another push changed the task in the meantime" in why
            assert await _texts(here, old, mine, other) == [changed] * 3
            await change()
            assert await _texts(here, old, mine, other) == [changed, changed, created]


async def test_a_task_that_another_push_is_changing_is_left_alone(tmp_path: Path) -> None:
    """Of two pushes that read the same text only one sends an update; the other says that it may be pushed again."""
    async with place(tmp_path) as here:
        await here.push(orders(1), mode=Mode.TWO_PHASE)
        run, _ = await again(here, order("T-0", group_tag="mine"))
        other, _ = await again(here, order("T-0", group_tag="other"))
        async with run, other:
            (rival,) = await run.rivals((OrderState.CHANGED,), -1)
            (late,) = await other.rivals((OrderState.CHANGED,), -1)
            assert await run.note_text(rival, b"{}", "") is not None
            assert await other.note_text(late, b'{"group_tag":"other"}', "") is None
            here.simulator.order_fault(Fault(operation="platform.tasks.update", kind="status", status=403))
            with patch.object(type(other), "rivals", AsyncMock(side_effect=[[late], []])):
                done = await replace_changed(here.gs, other, concurrency=1)
            assert (done.left, done.unknown, done.stopped_by) == (1, 0, None)
            assert "another push is changing the order's task, or has changed it" in (await told(other))["T-0"][1]


@pytest.mark.parametrize("status", [401, 429, 503])
async def test_a_change_that_was_not_made_changes_nothing(tmp_path: Path, status: int) -> None:
    """Where the update was refused, or its task could not even be read, the old text is still what was sent."""
    async with place(tmp_path) as here:
        await here.push(orders(2), mode=Mode.TWO_PHASE)
        run, _ = await again(here, order("T-0", group_tag="x"), order("T-1", group_tag="x"))
        operation = "platform.tasks.get" if status == 503 else "platform.tasks.update"
        here.simulator.order_fault(Fault(operation=operation, kind="status", status=status))
        async with run:
            done = await replace_changed(here.gs, run, concurrency=1)
        assert (done.replaced, done.unknown, done.stopped_by is None) == (0, 0, status == 503)
        here.simulator.clear_faults()
        run, _ = await again(here, *orders(2))
        async with run:
            assert {state for state, _ in (await told(run)).values()} == {OrderState.ALREADY_PUSHED}


async def test_a_task_without_a_revision_is_left_with_its_reason(tmp_path: Path) -> None:
    """Where the service names no revision no update can be made: each order says so, and the push goes on."""
    async with place(tmp_path, version_rev="absent") as here:
        await here.push(orders(2), mode=Mode.TWO_PHASE)
        run, _ = await again(here, order("T-0", group_tag="x"), order("T-1", group_tag="x"))
        async with run:
            done = await replace_changed(here.gs, run, concurrency=1)
            assert (done.replaced, done.left, done.unknown, done.stopped_by) == (0, 2, 0, None)
            assert all("this update needs version_rev" in said for _, said in (await told(run)).values())
        run, _ = await again(here, *orders(2))
        async with run:
            assert {state for state, _ in (await told(run)).values()} == {OrderState.ALREADY_PUSHED}
