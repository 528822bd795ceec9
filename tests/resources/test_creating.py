"""One create of 1 to 20 orders: its tasks are those of the orders that were sent, or it is no success."""

import pickle
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from gotsurge_async import GotSurge, Order, OutcomeUnknown
from gotsurge_async.models.answers import CreatedTasks
from tests.support.clients import client
from tests.support.orders import answer, order

Create = Callable[[Sequence[Order]], Awaitable[CreatedTasks]]
CREATES: dict[str, Callable[[GotSurge], Create]] = {
    "tasks": lambda gs: gs.tasks.create,
    "platform.tasks": lambda gs: gs.platform.tasks.create,
    "platform.drafts": lambda gs: gs.platform.drafts.create,
}
every_create = pytest.mark.parametrize("create", CREATES.values(), ids=CREATES.keys())
ORDERS = [order("A", invoice_number="I-A"), order("B", invoice_number="I-B")]
A, B = {"id": "t-A", "tracking_id": "A"}, {"id": "t-B", "tracking_id": "B"}
FOREIGN, NAMELESS = {"id": "t-X", "tracking_id": "X"}, {"id": "t-1"}


@every_create
@pytest.mark.parametrize(
    ("tasks", "ids"),
    [
        ([A, B], ["t-A", "t-B"]),
        ([B, A], ["t-A", "t-B"]),
        ([{"id": "t-B", "invoice_number": "I-B"}, A], ["t-A", "t-B"]),
        ([{"id": "t-1"}, {"id": "t-2"}], ["t-1", "t-2"]),
        ({"t-B": B, "t-A": A}, ["t-A", "t-B"]),
        ([B | {"new": 1}, A], ["t-A", "t-B"]),
    ],
)
async def test_each_order_has_its_task(create: Callable[[GotSurge], Create], tasks: Any, ids: list[str]) -> None:
    """Whatever the order of the answer, the tasks stand as the orders do; what else the answer holds is kept."""
    async with client([answer({"tasks": tasks, "total_tasks": 2, "note": "ok"})]) as (gs, _):
        created = await create(gs)(ORDERS)
    assert [task.id for task in created.tasks] == ids
    assert (created.total_tasks, created.extra) == (2, {"note": "ok"})


@every_create
@pytest.mark.parametrize(
    ("tasks", "done", "rows", "said"),
    [
        ([A], ["t-A"], (1,), "(B), no task in the answer is certainly for this order"),
        ([A, FOREIGN], ["t-A"], (1,), "task t-X is left over"),
        ([FOREIGN, NAMELESS], [], (0, 1), "tasks t-X, t-1 are left over"),
        ([NAMELESS], [], (0, 1), "task t-1 is left over"),
        ([A, B, FOREIGN], ["t-A", "t-B"], (), "task t-X is left over"),
        ([A, B, NAMELESS], ["t-A", "t-B"], (), "task t-1 is left over"),
        ([A, B, B], ["t-A", "t-B"], (), "t-B appears twice"),
        ([A, A], ["t-A"], (1,), "t-A appears twice"),
        ([NAMELESS, NAMELESS], [], (0, 1), "t-1 appears twice"),
        ([A, B, {"id": "t-C", "tracking_id": "B"}], ["t-A"], (1,), "more than one task for this order: t-B, t-C"),
        ([A, {"tracking_id": "B"}], ["t-A"], (1,), "1 task cannot be read"),
        ([A, B | {"success": False, "error": "no truck"}], ["t-A"], (1,), "(B), the answer says no: no truck"),
        ([A, B, "?"], ["t-A", "t-B"], (), "1 task cannot be read"),
        ([{"id": "t-Y", "tracking_id": "A", "invoice_number": "I-B"}, B], ["t-B"], (0,), "task t-Y is left over"),
    ],
)
async def test_an_answer_that_does_not_fit_is_no_success(
    create: Callable[[GotSurge], Create], tasks: Any, done: list[str], rows: tuple[int, ...], said: str
) -> None:
    """A foreign, short, long or doubled answer is OutcomeUnknown, with the tasks that are certain; nothing is sent
    again."""
    async with client([answer({"tasks": tasks}, x_request_id="r-1")]) as (gs, transport):
        with pytest.raises(OutcomeUnknown) as caught:
            await create(gs)(ORDERS)
    error = caught.value
    assert error.done is not None
    assert ([task.id for task in error.done.tasks], error.rows) == (done, rows)
    assert said in str(error)
    assert error.response is not None
    assert (error.status, error.request_id, error.body) == (200, "r-1", transport.sent[0].body)
    assert len(transport.sent) == 1
    assert pickle.loads(pickle.dumps(error)).done == error.done  # noqa: S301


async def test_a_single_order_never_gets_the_task_of_another() -> None:
    """One order, one task, another name: the order is in doubt. An order without names takes what came."""
    async with client([answer({"tasks": [FOREIGN]})] * 2) as (gs, _):
        with pytest.raises(OutcomeUnknown, match=r"task t-X is left over; for orders\[0\] \(A\), ") as caught:
            await gs.tasks.create([order("A")])
        assert caught.value.explain_code == "E404"
        assert (await gs.tasks.create([order(None)])).tasks[0].id == "t-X"


async def test_of_many_faults_the_first_are_shown() -> None:
    """The message stays short; ``rows`` has all."""
    async with client([answer({"tasks": [FOREIGN | {"id": f"t-{number}"} for number in range(20)]})]) as (gs, _):
        with pytest.raises(OutcomeUnknown, match=r"t-4 and 15 more are left over; .*; and 16 more") as caught:
            await gs.tasks.create([order(f"T-{number}") for number in range(20)])
    assert caught.value.rows == tuple(range(20))
    assert len(str(caught.value)) < 1000
