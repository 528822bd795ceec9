"""What the two-phase push makes of an answer to a draft create that says no to some of its orders."""

from pathlib import Path
from typing import Any

import pytest

from gotsurge_async.transports.base import Response
from tests.push.test_push import counted
from tests.push.test_two_phase_answers import Platform, drafts, loaded, send
from tests.support.orders import answer

NO = {"status": 422, "error": "price too low"}


@pytest.mark.parametrize(
    ("first", "ids"),
    [("T-0", ("x", "y")), ("T-3", (0, 0)), ("T-0", (None, None)), ("T-3", (None, "")), ("T-3", ("y", {}))],
)
async def test_an_order_whose_draft_is_denied_is_refused(tmp_path: Path, first: str, ids: tuple[Any, Any]) -> None:
    """The answer gives the reason, and names the order, with a task or without: the push sends all others, once."""
    platform = Platform()
    created: list[int] = []
    denied = {first: ids[0], "T-25": ids[1]}

    def create(tasks: list[dict[str, Any]]) -> Response:
        created.append(len(tasks))
        names = [task["tracking_id"] for task in tasks]
        items = [{"id": denied[name], **NO} if name in denied else {"id": f"id-{name}"} for name in names]
        return answer({"tasks": [item | {"tracking_id": name} for item, name in zip(items, names, strict=True)]}, 207)

    platform.create = create
    async with loaded(tmp_path, platform, 50, attempts=3) as (push, run):
        sent = await send(push, run)
        assert (sent.stopped_by, sent.lost_drafts) == (None, frozenset())
        assert await run.counts() == counted(created=48, refused=2)
        refused = [row async for row in run.rows() if row.key in denied]
        assert all("HTTP 207: the answer says no: price too low" in (row.error or "") for row in refused)
    assert created == [20, 20, 10]


@pytest.mark.parametrize("task", [{"id": None}, {"id": ""}, {}, {"id": "x"}])
@pytest.mark.parametrize("name", [{}, {"tracking_id": "T-0"}])
async def test_a_lone_order_that_is_denied_is_refused(
    tmp_path: Path, task: dict[str, Any], name: dict[str, str]
) -> None:
    """An item that names no other order is of the only one in the call; the push continues with the next orders."""
    platform = Platform()
    platform.create = lambda tasks: (
        answer({"tasks": [{**task, **name, **NO}]}, 207) if tasks[0]["tracking_id"] == "T-0" else drafts(tasks)
    )
    async with loaded(tmp_path, platform, 3, attempts=3, chunk=1) as (push, run):
        assert (await send(push, run)).stopped_by is None
        assert await run.counts() == counted(created=2, refused=1)


async def test_a_denial_without_a_task_or_a_name_is_no_refusal(tmp_path: Path) -> None:
    """The order is drafted again, alone: then the denial is plainly of it, or there is none any more."""
    platform = Platform()
    created: list[int] = []

    def create(tasks: list[dict[str, Any]]) -> Response:
        created.append(len(tasks))
        names = [task["tracking_id"] for task in tasks]
        items = [{"id": f"id-{name}", "tracking_id": name} for name in names if name not in ("T-0", "T-1")]
        denied = [{"id": None, **NO} for name in names if name == "T-0" or (name == "T-1" and len(created) == 1)]
        return answer({"tasks": [*denied, *items]}, 207) if denied else drafts(tasks)

    platform.create = create
    async with loaded(tmp_path, platform, 4, attempts=3) as (push, run):
        assert (await send(push, run)).stopped_by is None
        assert await run.counts() == counted(created=3, refused=1)


@pytest.mark.parametrize("named", [({"tracking_id": "T-0"}, {"tracking_id": "T-0"}), ({}, {"tracking_id": "T-1"})])
async def test_a_denial_that_is_not_plainly_of_one_order_is_no_refusal(
    tmp_path: Path, named: tuple[dict[str, str], dict[str, str]]
) -> None:
    """The answer names another task for the order, too, or no order: the order is drafted again, in another call."""
    platform = Platform()
    answers = iter([answer({"tasks": [{"id": "x", **NO, **named[0]}, {"id": "y", **named[1]}]})])
    platform.create = lambda tasks: next(answers, None) or drafts(tasks)
    async with loaded(tmp_path, platform, 2, attempts=3) as (push, run):
        assert (await send(push, run)).stopped_by is None
        assert await run.counts() == counted(created=2)
