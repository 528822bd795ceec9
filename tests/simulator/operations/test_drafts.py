from typing import Any

import pytest

from ..kit import Answer, Client, order

NOBODYS = "00000000-0000-4000-8000-000000000000"
BROADCAST = "/platform/tasks/drafts/broadcast"
WITH_TRACKING = "/platform/tasks/drafts/broadcast-with-tracking"
TRACKING = "/platform/tasks/tracking-ids"


async def broadcast(client: Client, *ids: Any) -> Answer:
    return await client.call("POST", BROADCAST, {"task_ids": list(ids)})


def pairs(*wanted: tuple[Any, Any]) -> dict[str, Any]:
    return {"tasks": [{"id": task_id, "tracking_id": tracking_id} for task_id, tracking_id in wanted]}


def audit(client: Client, *names: str) -> list[Any]:
    found = client.simulator.audit()
    return [found[name] for name in names]


async def test_a_draft_is_no_task_yet(platform: Client) -> None:
    """Drafts are answered and counted, but drivers do not see them: they are no tasks of the audit."""
    answer = await platform.create(order("A"), order("A"), path="/platform/tasks/drafts")
    assert answer.json["total_tasks"] == 2
    assert {task["current_status"] for task in answer.json["tasks"]} == {"pending_broadcast"}
    assert audit(platform, "tasks", "by_tracking_id", "doubled", "drafts", "drafts_by_tracking_id") == [
        0, {}, {}, 2, {"A": 2},
    ]  # fmt: skip


async def test_drafts_are_checked_as_orders_are(platform: Client) -> None:
    """A bad row refuses a draft create, and 21 rows do."""
    assert (await platform.create(order(price=1), path="/platform/tasks/drafts")).status == 422
    assert (await platform.create(*[order()] * 21, path="/platform/tasks/drafts")).status == 422
    assert audit(platform, "drafts") == [0]


async def test_a_broadcast_shows_drafts_to_drivers(platform: Client) -> None:
    """Broadcast drafts are tasks, and the others stay drafts."""
    first, second = await platform.draft(order("A"), order("B"))
    answer = await broadcast(platform, first)
    assert answer.json["updated_tasks"] == [await platform.get(f"/platform/tasks/{first}")]
    assert answer.json["server_time"] == "2026-01-01T00:00:00Z"
    assert [await platform.status(task_id) for task_id in (first, second)] == ["broadcasting", "pending_broadcast"]
    assert audit(platform, "tasks", "by_tracking_id", "drafts") == [1, {"A": 1}, 1]


async def test_an_id_that_is_named_twice_is_broadcast_once(platform: Client) -> None:
    """The same id twice in one call is one task."""
    (task_id,) = await platform.draft(order("A"))
    answer = await broadcast(platform, task_id, task_id.upper())
    assert len(answer.json["updated_tasks"]) == 1
    assert audit(platform, "tasks", "by_tracking_id") == [1, {"A": 1}]


async def test_a_cancelled_draft_is_no_draft(platform: Client) -> None:
    """A draft can be cancelled once, and is then not broadcast."""
    (task_id,) = await platform.draft(order())
    assert (await platform.call("POST", f"/tasks/{task_id}/cancel", {"reason": "x"})).status == 200
    assert (await platform.call("POST", f"/tasks/{task_id}/cancel", {"reason": "x"})).status == 409
    assert (await broadcast(platform, task_id)).status == 409
    assert audit(platform, "tasks", "drafts") == [0, 1]


@pytest.mark.parametrize(
    ("ids", "status"),
    [([], 422), ([NOBODYS] * 21, 422), (["no uuid"], 422), ([7], 422), ([NOBODYS], 404)],
)
async def test_a_broadcast_needs_ids(platform: Client, ids: list[Any], status: int) -> None:
    """One to twenty ids of one's own tasks are broadcast, and nothing else."""
    assert (await broadcast(platform, *ids)).status == status


async def test_one_unknown_id_refuses_the_broadcast(platform: Client) -> None:
    """When one id is unknown nothing is broadcast."""
    (task_id,) = await platform.draft(order())
    assert (await broadcast(platform, task_id, NOBODYS)).status == 404
    assert audit(platform, "tasks") == [0]


async def test_a_broadcast_can_give_tracking_ids(platform: Client) -> None:
    """Broadcast with Tracking broadcasts drafts and gives them their tracking ids."""
    first, second = await platform.draft(order("A"), order(...))
    answer = await platform.call("POST", WITH_TRACKING, pairs((first, "X"), (second, "Y")))
    assert [task["tracking_id"] for task in answer.json["updated_tasks"]] == ["X", "Y"]
    assert audit(platform, "tasks", "by_tracking_id", "drafts") == [2, {"X": 1, "Y": 1}, 0]
    again = await platform.call("POST", WITH_TRACKING, pairs((first, "Z")))
    assert again.status == 409
    assert audit(platform, "by_tracking_id") == [{"X": 1, "Y": 1}]


async def test_tracking_ids_can_be_patched(platform: Client) -> None:
    """Tracking ids of drafts and of tasks can be changed, which makes another revision."""
    (draft,) = await platform.draft(order("A"))
    (task,) = (await platform.create(order("B"), path="/platform/tasks")).json["tasks"]
    answer = await platform.call("PATCH", TRACKING, pairs((draft, "C"), (task["id"], "D")))
    assert [found["tracking_id"] for found in answer.json["updated_tasks"]] == ["C", "D"]
    assert answer.json["updated_tasks"][1]["version_rev"] != task["version_rev"]
    assert audit(platform, "by_tracking_id", "drafts_by_tracking_id") == [{"D": 1}, {"C": 1}]


@pytest.mark.parametrize(("verb", "path"), [("POST", WITH_TRACKING), ("PATCH", TRACKING)])
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"tasks": []}, 422),
        (pairs(*[(NOBODYS, "X")] * 21), 422),
        (pairs((NOBODYS, "")), 422),
        (pairs((NOBODYS, 5)), 422),
        (pairs(("no uuid", "X")), 422),
        ({"tasks": [{"id": NOBODYS}]}, 422),
        ({"task_ids": [NOBODYS]}, 422),
        (pairs((NOBODYS, "X")), 404),
    ],
)
async def test_tracking_ids_that_make_no_sense_are_refused(
    platform: Client, verb: str, path: str, body: Any, status: int
) -> None:
    """One to twenty pairs of an own task and a tracking id are taken, and nothing else."""
    assert (await platform.call(verb, path, body)).status == status
