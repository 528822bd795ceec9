"""One task of the service that two orders of the ledger name: the second is in doubt, and nothing is damaged."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import attrs
import msgspec
import pytest

from gotsurge_async import GotSurge, Limits, Money
from gotsurge_async.after.resolve import Resolution, resolve
from gotsurge_async.bulk import Ledger, Mode, OrderState, Reconciler, Undo
from gotsurge_async.ledger import OrderOutcome, TaskTaken
from gotsurge_async.ledger.states import utc_now
from gotsurge_async.ledger.upkeep.check import check
from gotsurge_async.simulator import Fault
from gotsurge_async.transports.base import Request, Response
from tests.ledger.kit import TidyLedger, bring, loaded, only
from tests.ledger.kit import order as ledger_order
from tests.ledger.upkeep.test_check import change, json_orders
from tests.support.orders import order
from tests.support.pushes import place


@contextmanager
def creates_tell(gs: GotSurge, task_id: str, *, times: int = 1_000) -> Iterator[None]:
    """Have the answer of a create name another task's id, under the names of its own order."""
    transport = gs.session._transport
    send = transport.send
    left = times

    async def changed(request: Request) -> Response:
        nonlocal left
        answer = await send(request)
        if request.method != "POST" or b'"from_address"' not in (request.body or b"") or not left:
            return answer
        left -= 1
        body = msgspec.json.decode(answer.body)
        for task in body["tasks"]:
            task["id"] = task_id
        return attrs.evolve(answer, body=msgspec.json.encode(body))

    with patch.object(transport, "send", changed):
        yield


async def test_an_answer_with_a_task_of_an_earlier_run_leaves_the_order_in_doubt(tmp_path: Path) -> None:
    """Also in another process, the order is in doubt, and the words name the task, the order and the run."""
    async with place(tmp_path) as here:
        first = await here.push([order("T-1")])
        task_id = (await here.tasks(first))["T-1"]
        await here.ledger.close()
        async with await Ledger.open(tmp_path / "ledger.db", clock=here.clock.now) as ledger:
            later = attrs.evolve(here, ledger=ledger)
            with creates_tell(here.gs, task_id):
                second = await later.push([order("T-2")])
            assert await later.states(second) == {"T-2": OrderState.IN_DOUBT}
            (row,) = [row async for row in ledger.rows(second)]
            assert row.task_id is None
            assert f"task {task_id} is already recorded for order T-1 of run {first}" in (row.error or "")
        assert check(tmp_path / "ledger.db").flaws == ()
        async with await Ledger.open(tmp_path / "ledger.db", clock=here.clock.now) as ledger:
            await Reconciler(here.gs, ledger, rescan_after=0).reconcile(second)
            assert await attrs.evolve(here, ledger=ledger).states(second) == {"T-2": OrderState.CREATED}
        assert here.simulator.audit()["doubled"] == {}


async def test_a_draft_with_a_task_of_an_earlier_run_is_never_broadcast_for_the_order(tmp_path: Path) -> None:
    """In two-phase mode the order is in doubt, too: it is never broadcast, however often it is pushed or resumed."""
    async with place(tmp_path) as here:
        first = await here.push([order("T-1")], mode=Mode.TWO_PHASE)
        task_id = (await here.tasks(first))["T-1"]
        with creates_tell(here.gs, task_id, times=1):
            second = await here.push([order("T-2"), order("T-3")], mode=Mode.TWO_PHASE, chunk=1)
        assert await here.states(second) == {"T-2": OrderState.IN_DOUBT, "T-3": OrderState.CREATED}
        await here.push([order("T-2")], mode=Mode.TWO_PHASE)
        await Reconciler(here.gs, here.ledger, rescan_after=0).reconcile(second)
        assert (await here.states(second))["T-2"] is OrderState.IN_DOUBT
        assert here.simulator.audit()["by_tracking_id"] == {"T-1": 1, "T-3": 1}


async def test_a_draft_that_a_later_run_replaced_is_no_other_orders(tmp_path: Path) -> None:
    """The answer for A names a draft of B that was never broadcast: A is in doubt, and the draft stays one."""
    async with place(tmp_path) as here:
        here.simulator.order_fault(Fault(operation="platform.drafts.broadcast", kind="status", status=429))
        first = await here.push([order("B")], mode=Mode.TWO_PHASE)
        replaced = (await here.tasks(first))["B"]
        here.simulator.clear_faults()
        await here.push([order("B", price=Money.of("6.00", "SGD"))], mode=Mode.TWO_PHASE)
        with creates_tell(here.gs, replaced, times=1):
            run_id = await here.push([order("A")], mode=Mode.TWO_PHASE)
        assert await here.states(run_id) == {"A": OrderState.IN_DOUBT}
        assert here.simulator.audit()["doubled"] == {}


async def test_a_person_may_end_a_doubt_whose_recorded_task_is_another_orders(tmp_path: Path) -> None:
    """The ledger knows whose that task is: the order may be called not created, and is then pushed again."""
    async with place(tmp_path) as here:
        await here.lose([order("SHOP-9")])
        here.simulator.order_fault(Fault(operation="platform.drafts.create", kind="reused", times=1))
        run_id = await here.push([order("Y")], mode=Mode.TWO_PHASE)
        assert await here.states(run_id) == {"Y": OrderState.IN_DOUBT}
        here.clock.ahead += timedelta(days=1)

        async def connect() -> GotSurge:
            return here.gs

        await resolve(here.ledger, run_id, [Resolution(key="Y")], by="mei", connect=connect)
        again = await here.push([order("Y")], mode=Mode.TWO_PHASE)
        assert await here.states(again) == {"Y": OrderState.CREATED}
        assert here.simulator.audit()["doubled"] == {}


async def test_answers_that_lag_by_one_double_no_order(tmp_path: Path) -> None:
    """The answer for B names the draft of A, and that for C the draft of B, without names: B and C are in doubt."""
    async with place(tmp_path) as here:
        transport = here.gs.session._transport
        send = transport.send
        made: list[str] = []
        of_b = asyncio.Event()

        async def late(request: Request) -> Response:
            answer = await send(request)
            if request.method != "POST" or b'"from_address"' not in (request.body or b""):
                return answer
            key = msgspec.json.decode(request.body or b"")["tasks"][0]["tracking_id"]
            if key == "C":
                await of_b.wait()
            made.append(msgspec.json.decode(answer.body)["tasks"][0]["id"])
            if key == "B":
                of_b.set()
            named = made[-1] if len(made) == 1 else made[-2]
            return attrs.evolve(answer, body=msgspec.json.encode({"tasks": [{"id": named}]}))

        with patch.object(transport, "send", late):
            await here.push([order("A")], mode=Mode.TWO_PHASE)
            run_id = await here.push([order("B"), order("C")], mode=Mode.TWO_PHASE, chunk=1)
        await here.push([order("B"), order("C")], mode=Mode.TWO_PHASE)
        states = await here.states(run_id)
        assert (states["B"], here.simulator.audit()["doubled"]) == (OrderState.IN_DOUBT, {})


async def test_an_order_whose_draft_another_order_broadcast_is_not_drafted_again(tmp_path: Path) -> None:
    """The answer for B names the draft of A before A's own answer comes: A has one driver, and both are in doubt."""
    async with place(tmp_path) as here:
        transport = here.gs.session._transport
        send = transport.send
        made, broadcast = asyncio.get_running_loop().create_future(), asyncio.Event()

        async def crossed(request: Request) -> Response:
            answer = await send(request)
            if b'"task_ids"' in (request.body or b""):
                broadcast.set()
            elif b'"tracking_id":"A"' in (request.body or b""):
                if not made.done():
                    made.set_result(msgspec.json.decode(answer.body)["tasks"][0]["id"])
                await broadcast.wait()
            elif b'"tracking_id":"B"' in (request.body or b""):
                body = msgspec.json.decode(answer.body)
                body["tasks"][0]["id"] = await made
                answer = attrs.evolve(answer, body=msgspec.json.encode(body))
            return answer

        with patch.object(transport, "send", crossed):
            run_id = await here.push([order("A"), order("B")], mode=Mode.TWO_PHASE, chunk=1)
        assert await here.states(run_id) == {"A": OrderState.IN_DOUBT, "B": OrderState.IN_DOUBT}
        audit = here.simulator.audit()
        assert (audit["by_tracking_id"], audit["doubled"]) == ({"A": 1}, {})


@pytest.mark.parametrize("state", [OrderState.CREATED, OrderState.DRAFTED])
async def test_tasks_of_other_runs_and_processes_are_compared(where: str, state: OrderState) -> None:
    """Of an earlier run, of a run of another process that was recorded since, and of this very process."""
    mode = "two-phase" if state is OrderState.DRAFTED else "direct"
    async with await Ledger.open(where) as ledger, await Ledger.open(where) as other:
        await bring(await loaded(other, [ledger_order(1)], mode=mode), state)
        first = await loaded(ledger, [ledger_order(2), ledger_order(3)], mode=mode)
        await first.start()
        two, three = await first.claim([row.id async for row in first.rows()])
        with pytest.raises(TaskTaken, match="task task-1 is already recorded for order TRK-1 of run"):
            await first.record([OrderOutcome(two, state, "task-1")])
        await first.record([OrderOutcome(two, state, "task-2")])
        with pytest.raises(TaskTaken, match="task task-2 is already recorded for order TRK-2 of run"):
            await first.record([OrderOutcome(three, state, "task-2")])
        await first.record([OrderOutcome(three, state, "task-3")])
        await bring(await loaded(other, [ledger_order(4)], mode=mode), state)
        second = await loaded(ledger, [ledger_order(5)], mode=mode)
        await second.start()
        (five,) = await second.claim([(await only(second)).id])
        with pytest.raises(TaskTaken, match="task task-4 is already recorded for order TRK-4"):
            await second.record([OrderOutcome(five, state, "task-4")])


@pytest.mark.parametrize("state", [OrderState.CREATED, OrderState.DRAFTED])
async def test_a_run_that_lasts_sees_what_other_processes_record(where: str, state: OrderState) -> None:
    """A run that began before refuses for its orders a task that another process recorded more than a minute ago."""
    mode, ahead = "two-phase" if state is OrderState.DRAFTED else "direct", timedelta(0)

    def clock() -> datetime:
        return utc_now() + ahead

    async with await Ledger.open(where, clock=clock) as ledger, await Ledger.open(where, clock=clock) as other:
        run = await loaded(ledger, [ledger_order(1), ledger_order(2)], mode=mode)
        await run.start()
        one, two = [row.id async for row in run.rows()]
        await run.claim([one])
        await run.record([OrderOutcome(one, state, "task-1")])
        await bring(await loaded(other, [ledger_order(3)], mode=mode), state)
        ahead = timedelta(seconds=61)
        await run.claim([two])
        with pytest.raises(TaskTaken, match="task task-3 is already recorded for order TRK-3 of run"):
            await run.record([OrderOutcome(two, state, "task-3")])
        await run.record([OrderOutcome(two, state, "task-2")])


def give(path: Path, wrong: str, right: str) -> None:
    """Have an order of a ledger name another order's task."""
    change(path, f"UPDATE results SET ids = replace(ids, '{right}', '{wrong}')")  # noqa: S608 - a test's own text


async def some_with_one_task(path: Path, orders: int = 2, seconds: int = 60) -> list[str]:
    """A ledger in which some orders have one task, recorded some seconds apart; the runs."""
    ahead = timedelta(0)
    async with await Ledger.open(path, clock=lambda: utc_now() + ahead) as ledger:
        ids = []
        for number in range(1, orders + 1):
            run = await loaded(ledger, json_orders(number * 10, number * 10))
            await bring(run, OrderState.CREATED)
            await run.close()
            ids.append(run.id)
            ahead += timedelta(seconds=seconds)
    for number in range(2, orders + 1):
        change(path, f"UPDATE results SET ids = replace(ids, 'task-{number}0', 'task-10')")  # noqa: S608 - a test's own
    return ids


async def test_two_orders_with_one_task_are_no_damage(path: Path) -> None:
    """`check` names both, with their runs; opened, the later one is in doubt, without the task."""
    first, second = await some_with_one_task(path)
    health = check(path)
    assert (health.flaws, health.damaged) == ((), False)
    (problem,) = health.to_look_at
    assert f"task task-10 is recorded for order TRK-10 of run {first} and order TRK-20 of run {second}" in problem
    async with await Ledger.open(path) as ledger:
        (kept,) = [row async for row in ledger.rows(first)]
        assert (kept.state, kept.task_id) == (OrderState.CREATED, "task-10")
        (row,) = [row async for row in ledger.rows(second)]
        assert (row.state, row.task_id) == (OrderState.IN_DOUBT, None)
        assert row.error == f"task task-10 is also recorded for order TRK-10 of run {first}"
        await (await loaded(ledger, json_orders(3, 3))).close()
        await ledger.resolve(second, {"TRK-20": "task-20"}, by="mei")
    assert check(path).to_look_at == ()
    async with await Ledger.open(path) as ledger:
        (row,) = [row async for row in ledger.rows(second)]
        assert (row.state, row.task_id) == (OrderState.CREATED, "task-20")


async def test_three_orders_with_one_task_are_settled_together(path: Path) -> None:
    """Only the first keeps it."""
    runs = await some_with_one_task(path, 3)
    async with await Ledger.open(path) as ledger:
        states = [row.state for run in runs async for row in ledger.rows(run)]
    assert states == [OrderState.CREATED, OrderState.IN_DOUBT, OrderState.IN_DOUBT]
    assert check(path).to_look_at == ()


@pytest.mark.parametrize("seconds", [1, -60])
async def test_the_times_decide_which_order_keeps_the_task(path: Path, seconds: int) -> None:
    """Where they differ by no more than two clocks may, both orders are in doubt; else the later one, of any run."""
    runs = await some_with_one_task(path, 2, seconds)
    async with await Ledger.open(path) as ledger:
        rows = [row for run in runs for row in [each async for each in ledger.rows(run)]]
    errors = [
        f"task task-10 is also recorded for order {key} of run {run}"
        for key, run in zip(("TRK-20", "TRK-10"), reversed(runs), strict=True)
    ]
    doubtful: list[tuple[OrderState, str | None, str | None]] = [(OrderState.IN_DOUBT, None, error) for error in errors]
    if seconds < 0:
        doubtful[1] = (OrderState.CREATED, "task-10", None)
    assert [(row.state, row.task_id, row.error) for row in rows] == doubtful
    assert check(path).to_look_at == ()


async def test_a_chunk_that_was_recorded_in_parts_may_have_been_the_first(path: Path) -> None:
    """The time of its last claim does not tell when its task was recorded: both orders are in doubt."""
    ahead = timedelta(0)
    async with await Ledger.open(path, clock=lambda: utc_now() + ahead) as ledger:
        parts = await loaded(ledger, json_orders(1, 2))
        one, two = await parts.claim([row.id async for row in parts.rows()])
        await parts.record([OrderOutcome(one, OrderState.CREATED, "task-1")])
        other = await loaded(ledger, json_orders(10, 10))
        await bring(other, OrderState.CREATED)
        ahead = timedelta(seconds=60)
        await parts.renew_claim([two])
        await parts.record([OrderOutcome(two, OrderState.CREATED, "task-2")])
        for run in (parts, other):
            await run.close()
    give(path, "task-1", "task-10")
    async with await Ledger.open(path) as ledger:
        states = [row.state for run in (parts, other) for row in [each async for each in ledger.rows(run.id)]]
    assert states == [OrderState.IN_DOUBT, OrderState.CREATED, OrderState.IN_DOUBT]


@pytest.mark.parametrize("state", [OrderState.DRAFTED, OrderState.BROADCASTING])
async def test_what_a_living_process_sends_is_left_to_it(path: Path, state: OrderState) -> None:
    """A draft that a living process has in its hands is not taken from it."""
    async with await TidyLedger.open(path) as ledger:
        for number in (1, 2):
            run = await loaded(ledger, json_orders(number, number), mode="two-phase")
            await bring(run, state)
        change(path, "UPDATE results SET ids = replace(ids, 'task-2', 'task-1')")
        async with await Ledger.open(path):
            assert (await only(run)).state is state
        assert len(check(path).to_look_at) == 1
    async with await Ledger.open(path) as ledger:
        (row,) = [row async for row in ledger.rows(run.id)]
        assert (row.state, row.task_id) == (OrderState.IN_DOUBT, None)


@pytest.mark.parametrize("by", ["reconcile", "task", "not created", "undo"])
async def test_each_way_to_settle_it(tmp_path: Path, by: str) -> None:
    """The commands that the program names end it; the order is live once, or gone, and the other one is untouched."""
    async with place(tmp_path) as here:
        first = await here.push([order("T-1")])
        here.clock.ahead += timedelta(minutes=1)
        second = await here.push([order("T-2")])
        kept, lost = (await here.tasks(first))["T-1"], (await here.tasks(second))["T-2"]
        await here.ledger.close()
        give(tmp_path / "ledger.db", kept, lost)
        async with await Ledger.open(tmp_path / "ledger.db", clock=here.clock.now) as ledger:
            now = attrs.evolve(here, ledger=ledger)

            async def connect() -> GotSurge:
                return here.gs

            assert await now.states(second) == {"T-2": OrderState.IN_DOUBT}
            if by == "reconcile":
                await Reconciler(here.gs, ledger, rescan_after=0).reconcile(second)
            elif by == "task":
                said = [Resolution(key="T-2", task_id=lost)]
                await resolve(ledger, second, said, by="mei", connect=connect)
            elif by == "not created":
                await here.gs.tasks.cancel(lost, reason="not ours")
                here.clock.ahead += timedelta(seconds=Limits().settle)
                await resolve(ledger, second, [Resolution(key="T-2")], by="mei", connect=connect)
                assert await now.push([order("T-2")]) != second
            else:
                await Reconciler(here.gs, ledger, rescan_after=0).reconcile(second)
                await Undo(here.gs, ledger).undo(second)
            assert await now.states(first) == {"T-1": OrderState.CREATED}
        live = [task.tracking_id async for task in here.gs.platform.tasks.list() if task.current_status != "cancelled"]
        assert sorted(map(str, live)) == (["T-1"] if by == "undo" else ["T-1", "T-2"])


async def test_a_task_that_names_the_order_and_is_recorded_for_another_is_no_absence(tmp_path: Path) -> None:
    """Where the list shows the order's name under the recorded id, the order does not count as absent."""
    async with place(tmp_path) as here:
        first = await here.push([order("T-1")])
        task_id = (await here.tasks(first))["T-1"]
        with creates_tell(here.gs, task_id):
            second = await here.push([order("T-2")])
        (task,) = [task async for task in here.gs.platform.tasks.list() if task.tracking_id == "T-2"]
        await here.ledger.close()
        give(tmp_path / "ledger.db", task.id, task_id)
        async with await Ledger.open(tmp_path / "ledger.db", clock=here.clock.now) as ledger:
            found = await Reconciler(here.gs, ledger, rescan_after=0).reconcile(second)
            assert [each.task_ids or each.reason for each in found.in_doubt] == [
                f"task {task.id} may be this order's, or another order's"
            ]
            now = attrs.evolve(here, ledger=ledger)
            assert (await now.states(second), await now.absent(second)) == ({"T-2": OrderState.IN_DOUBT}, set())
