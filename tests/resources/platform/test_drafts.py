from collections.abc import AsyncIterator
from typing import Any

import pytest

from gotsurge_async import (
    Created,
    InvalidData,
    NotFound,
    NotUpdated,
    OutcomeUnknown,
    Rejected,
    TaskStatus,
    Updated,
    UsageError,
)
from gotsurge_async.errors import PartlyDone, TooManyInOneCall
from gotsurge_async.simulator import Fault
from gotsurge_async.transports.base import Response
from gotsurge_async.transports.memory import Handler
from tests.support.clients import client
from tests.support.orders import answer, orders
from tests.support.world import World, sent, world

BROADCAST = "platform.drafts.broadcast"
NOBODY = "00000000-0000-4000-8000-0000000000ff"


async def drafts(place: World, count: int = 3) -> list[str]:
    """The ids of some drafts, in order of their tracking ids."""
    created = await place.gs.platform.drafts.create(orders(count, "D-"))
    return [task.id for task in created.tasks]


@pytest.mark.parametrize("kind", ["reset", "status", "half", "garbage"])
@pytest.mark.parametrize("rebroadcast", ["refused", "skipped", "passes"])
async def test_a_lost_broadcast_is_repeated_and_doubles_nothing(kind: Any, rebroadcast: Any) -> None:
    """When the answer is lost after the effect, the repeat finds every task broadcast, whatever it makes of them."""
    async with world(rebroadcast=rebroadcast) as place:
        ids = await drafts(place)
        place.simulator.order_fault(Fault(operation=BROADCAST, when="after", kind=kind, times=1))
        updated = (await place.gs.platform.drafts.broadcast(ids)).updated_tasks
        assert sorted(task.id for task in updated) == sorted(ids)
        assert {task.current_status for task in updated} == {TaskStatus.BROADCASTING}
        assert place.simulator.audit()["by_tracking_id"] == {"D-0": 1, "D-1": 1, "D-2": 1}


async def test_one_that_is_no_draft_does_not_hold_up_the_others() -> None:
    """After a refusal, those that are still drafts are broadcast, and only they."""
    async with world(rebroadcast="refused") as place:
        first, second, third = await drafts(place)
        await place.gs.platform.drafts.broadcast([first])
        place.simulator.move(second, "cancelled")
        place.spy.requests.clear()
        updated = {
            task.id: task for task in (await place.gs.platform.drafts.broadcast([first, second, third])).updated_tasks
        }
        assert updated[first].current_status == "broadcasting"
        assert updated[second].current_status == "cancelled"
        assert updated[third].current_status == "broadcasting"
        assert sent(place.spy.requests[-1]) == {"task_ids": [third]}


async def test_an_id_named_twice() -> None:
    """An id that is named twice is one task."""
    async with world() as place:
        ids = await drafts(place, 1)
        assert len((await place.gs.platform.drafts.broadcast(ids * 2)).updated_tasks) == 1


async def test_an_unknown_id_is_what_the_refusal_is_about() -> None:
    """A refusal that names no task of ours stays what the service said, and nothing is broadcast."""
    async with world() as place:
        ids = await drafts(place)
        with pytest.raises(NotFound, match=NOBODY):
            await place.gs.platform.drafts.broadcast([*ids, NOBODY])
        assert place.simulator.audit()["tasks"] == 0


async def test_a_refusal_of_what_is_still_a_draft() -> None:
    """When all are drafts and the service refuses them, its refusal is raised and nothing is sent again."""
    async with world() as place:
        ids = await drafts(place)
        place.simulator.order_fault(Fault(operation=BROADCAST, when="before", kind="status", status=422))
        with pytest.raises(Rejected) as caught:
            await place.gs.platform.drafts.broadcast(ids)
        assert caught.value.status == 422
        assert place.simulator.audit()["calls"][BROADCAST] == 1


async def test_more_than_twenty() -> None:
    """21 of anything are refused, and each message names the method for many."""
    async with world() as place:
        resource, many = place.gs.platform.drafts, [str(number) for number in range(21)]
        with pytest.raises(TooManyInOneCall, match="broadcast_all\\(task_ids\\)"):
            await resource.broadcast(many)
        with pytest.raises(TooManyInOneCall, match="broadcast_all_with_tracking\\(pairs\\)"):
            await resource.broadcast_with_tracking(dict.fromkeys(many, "T"))
        with pytest.raises(TooManyInOneCall, match="patch_all_tracking_ids\\(pairs\\)"):
            await place.gs.platform.tasks.patch_tracking_ids(dict.fromkeys(many, "T"))
        assert place.spy.requests == []


def service(post: Response, **reads: Response) -> Handler:
    """Answers every broadcast the same, and each read by the task's id."""
    return lambda request: reads[request.url.rpartition("/")[2]] if request.method == "GET" else post


T2_IS_OUT = answer({"updated_tasks": [{"id": "t2", "tracking_id": "B", "current_status": "broadcasting"}]}, 207)


@pytest.mark.parametrize(
    ("read", "error"),
    [
        (answer({"message": "no such"}, 404), NotFound),
        (answer({"message": "no"}, 403), OutcomeUnknown),
        (answer({"id": "t1"}), OutcomeUnknown),
        (answer({"id": "t1", "current_status": "draft"}), OutcomeUnknown),
    ],
)
async def test_what_the_answer_names_is_done_whatever_the_others_are(read: Response, error: type[Exception]) -> None:
    """A task that the answer names is returned as broadcast, and only the others' fates are open or failed."""
    for tracked in (False, True):
        async with client(service(T2_IS_OUT, t1=read)) as (gs, _):
            drafts, pairs = gs.platform.drafts, {"t1": "A", "t2": "B"}
            with pytest.raises(PartlyDone, match="the call succeeded for 1 of 2 tasks; t1: ") as caught:
                await (drafts.broadcast_with_tracking(pairs) if tracked else drafts.broadcast(["t1", "t2"]))
            stream: Any = drafts.broadcast_all_with_tracking(pairs) if tracked else drafts.broadcast_all(["t1", "t2"])
            first, second = [result async for result in stream]
        assert [task.id for task in caught.value.done.updated_tasks] == ["t2"]
        failed = caught.value.failed["t1"]
        assert isinstance(failed, error)
        assert getattr(failed, "status", None) == (207 if error is OutcomeUnknown else 404)
        assert isinstance(first, NotUpdated)
        assert isinstance(first.error, error)
        assert isinstance(second, Updated)
        assert second.task.current_status == "broadcasting"


async def test_a_broadcast_whose_tracking_id_fails_is_still_one() -> None:
    """When the tracking id cannot be given afterwards, the error carries the task that is broadcast."""
    post = answer({"updated_tasks": ["t1"]})
    refuse = answer({"message": "taken"}, 409)
    async with client(lambda request: refuse if request.method == "PATCH" else post) as (gs, _):
        with pytest.raises(PartlyDone, match="was broadcast, but its tracking id may not have been set") as caught:
            await gs.platform.drafts.broadcast_with_tracking({"t1": "A"})
    assert [task.id for task in caught.value.done.updated_tasks] == ["t1"]


@pytest.mark.parametrize("status", [None, "", ["broadcasting"], 5])
async def test_a_refusal_of_tasks_that_tell_no_status_stays_one(status: Any) -> None:
    """After a refusal, a task that is read without a status is not returned as broadcast."""
    refusal = answer({"message": "not a draft"}, 409)
    async with client(service(refusal, t1=answer({"id": "t1", "current_status": status}))) as (gs, _):
        with pytest.raises(Rejected, match="not a draft"):
            await gs.platform.drafts.broadcast(["t1"])
        (result,) = [result async for result in gs.platform.drafts.broadcast_all(["t1"])]
    assert isinstance(result, NotUpdated)


async def test_a_refused_chunk_with_a_task_that_is_out() -> None:
    """After a refusal, tasks past draft are returned as such, and the drafts that are refused again are not updated."""
    refusal = answer({"message": "no"}, 409)
    reads = {f"t{number}": answer({"id": f"t{number}", "current_status": "draft"}) for number in (1, 3)}
    reads["t2"] = answer({"id": "t2", "current_status": "accepted"})
    async with client(service(refusal, **reads)) as (gs, _):
        results = [result async for result in gs.platform.drafts.broadcast_all(["t1", "t2", "t3"])]
    assert [isinstance(result, Updated) for result in results] == [False, True, False]


@pytest.mark.parametrize("ids", [["t1", ""], ["t1", None], ["t1", 5], ["t1", ".."], ["t1", ["x"]], "t1", None, 5])
async def test_what_names_no_task_is_refused_before_anything_leaves(ids: Any) -> None:
    """Ids that cannot name a task, and one text instead of a list of them, are usage errors; nothing is sent."""
    async with client([]) as (gs, transport):
        with pytest.raises(UsageError, match="task_ids"):
            await gs.platform.drafts.broadcast(ids)
        if not isinstance(ids, list):
            with pytest.raises(UsageError, match="task_ids"):
                gs.platform.drafts.broadcast_all(ids)
    assert transport.sent == []


@pytest.mark.parametrize(
    "pairs", [{"t1": "T", "": "x"}, {"t1": "T", 5: "x"}, {"t1": None}, {"t1": 5}, {"t1": ""}, "t1"]
)
async def test_what_gives_no_tracking_id_is_refused_before_anything_leaves(pairs: Any) -> None:
    """An id that cannot name a task, and a tracking id that is no text or empty, are refused; nothing is sent."""
    async with client([]) as (gs, transport):
        for call in (gs.platform.drafts.broadcast_with_tracking, gs.platform.tasks.patch_tracking_ids):
            with pytest.raises((UsageError, InvalidData)):
                await call(pairs)
    assert transport.sent == []


async def test_of_any_number_only_what_names_no_task_is_left_out() -> None:
    """Items that cannot be sent are not updated, each with its reason, and the others of their chunk go out."""
    items: Any = ["t1", "", None, "t2"]
    pairs: Any = [("t1", "A"), ("t2", None), ("", "B"), 5, ("t3", "C")]
    async with client([answer({"updated_tasks": ["t1", "t2"]})]) as (gs, transport):
        results = [result async for result in gs.platform.drafts.broadcast_all(items)]
    assert [result.item for result in results if isinstance(result, Updated)] == ["t1", "t2"]
    assert [result.item for result in results if isinstance(result, NotUpdated)] == ["", None]
    assert sent(transport.sent[0]) == {"task_ids": ["t1", "t2"]}
    async with client([answer({"updated_tasks": ["t1", "t3"]})]) as (gs, transport):
        results_of_pairs = [result async for result in gs.platform.tasks.patch_all_tracking_ids(pairs)]
    assert [isinstance(result, Updated) for result in results_of_pairs] == [True, False, False, False, True]
    assert len(transport.sent) == 1


async def test_any_number() -> None:
    """Drafts, broadcasts and tracking ids go through in chunks of 20, a result for each."""
    async with world() as place:
        made = [result async for result in place.gs.platform.drafts.create_all(orders(45, "M-"))]
        receipts = [result.receipt for result in made if isinstance(result, Created)]
        assert len(receipts) == 45
        ids = [receipt.id for receipt in receipts]
        sent = [result async for result in place.gs.platform.drafts.broadcast_all(ids)]
        assert {result.item for result in sent if isinstance(result, Updated)} == set(ids)
        pairs = {task_id: f"NEW-{number}" for number, task_id in enumerate(ids)}
        patched = [result async for result in place.gs.platform.tasks.patch_all_tracking_ids(pairs, concurrency=2)]
        assert {result.task.tracking_id for result in patched if isinstance(result, Updated)} == set(pairs.values())
        calls = place.simulator.audit()["calls"]
        assert (calls["platform.drafts.create"], calls[BROADCAST], calls["platform.tasks.patch_tracking_ids"]) == (
            3,
            3,
            3,
        )


async def test_any_number_with_tracking() -> None:
    """Pairs from an async source are broadcast with their tracking ids, chunk by chunk."""
    async with world() as place:
        ids = await drafts(place, 5)

        async def pairs() -> AsyncIterator[tuple[str, str]]:
            for number, task_id in enumerate(ids):
                yield task_id, f"P-{number}"

        stream = place.gs.platform.drafts.broadcast_all_with_tracking(pairs(), chunk=2)
        results = [result async for result in stream]
        assert {(result.item[0], result.task.tracking_id) for result in results if isinstance(result, Updated)} == {
            (task_id, f"P-{number}") for number, task_id in enumerate(ids)
        }
        assert place.simulator.audit()["doubled"] == {}


@pytest.mark.parametrize("echo", ["always", "never"])
@pytest.mark.parametrize("rebroadcast", ["refused", "skipped", "passes"])
async def test_a_lost_broadcast_with_tracking_brings_the_tracking_ids(rebroadcast: Any, echo: Any) -> None:
    """When the answer is lost, each task still ends broadcast once and under its tracking id, shown or not."""
    async with world(rebroadcast=rebroadcast, tracking_id_echo=echo) as place:
        ids = await drafts(place)
        operation = "platform.drafts.broadcast_with_tracking"
        place.simulator.order_fault(Fault(operation=operation, when="after", kind="reset", times=1))
        wanted = {task_id: f"T-{number}" for number, task_id in enumerate(ids)}
        updated = (await place.gs.platform.drafts.broadcast_with_tracking(wanted)).updated_tasks
        assert {task.id: task.tracking_id for task in updated} == wanted
        assert place.simulator.audit()["by_tracking_id"] == {"T-0": 1, "T-1": 1, "T-2": 1}


async def test_a_cancelled_draft_keeps_its_tracking_id() -> None:
    """A draft that was cancelled is neither broadcast nor given the tracking id."""
    async with world(rebroadcast="skipped") as place:
        first, second = await drafts(place, 2)
        place.simulator.move(first, "cancelled")
        await place.gs.platform.drafts.broadcast_with_tracking({first: "T-0", second: "T-1"})
        assert place.simulator.audit()["by_tracking_id"] == {"T-1": 1}
        assert "platform.tasks.patch_tracking_ids" not in place.simulator.audit()["calls"]


async def test_a_lost_draft_create_is_not_repeated() -> None:
    """A draft create whose answer is lost is in doubt after one try: nobody knows the ids."""
    async with world() as place:
        place.simulator.order_fault(Fault(operation="platform.drafts.create", when="after", kind="reset", times=1))
        with pytest.raises(OutcomeUnknown):
            await place.gs.platform.drafts.create(orders(2))
        assert place.simulator.audit()["calls"]["platform.drafts.create"] == 1


@pytest.mark.parametrize("status", ["draft", "pending_broadcast"])
async def test_a_task_that_the_answer_leaves_out_is_not_done_while_it_is_a_draft(status: str) -> None:
    """Whatever the service calls a draft: the other tasks are broadcast, and this one is not known to be."""
    read = answer({"id": "t-B", "current_status": status})
    async with client([answer({"updated_tasks": [{"id": "t-A"}]}), read]) as (gs, _):
        with pytest.raises(PartlyDone) as caught:
            await gs.platform.drafts.broadcast(["t-A", "t-B"])
    assert [task.id for task in caught.value.done.updated_tasks] == ["t-A"]
    assert isinstance(caught.value.failed["t-B"], OutcomeUnknown)


async def test_a_task_to_which_the_answer_says_no_is_not_done() -> None:
    """An item of a 207 may be an error, which is the reason."""
    denied = {"id": "t-B", "success": False, "error": "the pickup is over"}
    async with client([answer({"updated_tasks": [{"id": "t-A"}, denied]}, 207)]) as (gs, _):
        with pytest.raises(PartlyDone, match="the pickup is over") as caught:
            await gs.platform.drafts.broadcast(["t-A", "t-B"])
    assert [task.id for task in caught.value.done.updated_tasks] == ["t-A"]
    assert isinstance(caught.value.failed["t-B"], OutcomeUnknown)
