"""What reads show when the service lags, and what becomes of tasks when it is restored from its backup."""

from typing import Any

import pytest

from gotsurge_async.simulator import Fault, Life, SimulatorOptions

from .kit import DRAFTS, START, Client, FakeTime, order, reading, signed_in

CREATES = {"tasks.create": "/tasks", "platform.tasks.create": "/platform/tasks", "platform.drafts.create": DRAFTS}
DETAILS = ("/tasks", "/platform/tasks")


async def listed(client: Client) -> list[str]:
    page = await client.get("/platform/tasks")
    assert page["meta"]["total"] == len(page["tasks"])
    return [f"{task['tracking_id']} {task['current_status']}" for task in page["tasks"]]


async def detail(client: Client, task_id: str) -> list[Any]:
    """The status by each Task Detail, or the refusal's HTTP status."""
    answers = [await client.call("GET", f"{path}/{task_id}") for path in DETAILS]
    return [answer.json["current_status"] if answer.status == 200 else answer.status for answer in answers]


# --- hidden -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", CREATES)
async def test_new_tasks_are_hidden(platform: Client, time: FakeTime, operation: str) -> None:
    """No read shows the tasks of a create for the seconds of the fault, though the audit counts them."""
    await platform.create(order("OLD"))
    platform.simulator.order_fault(Fault(operation=operation, kind="hidden", seconds=5, times=1))
    answer = await platform.create(order("NEW"), path=CREATES[operation])
    task = answer.json["tasks"][0]
    time.seconds += 4.9
    assert (await detail(platform, task["id"]), await listed(platform)) == ([404, 404], ["OLD broadcasting"])
    assert len(platform.simulator.tasks()) == 2
    time.seconds += 0.1
    status = task["current_status"]
    assert (await detail(platform, task["id"]), len(await listed(platform))) == ([status, status], 2)


async def test_a_hidden_task_can_be_written(platform: Client) -> None:
    """Only reads are late: a broadcast and a cancel by the id take effect."""
    platform.simulator.order_fault(Fault(kind="hidden", seconds=3600))
    (draft,) = await platform.draft(order("A"))
    assert (await platform.call("POST", f"{DRAFTS}/broadcast", {"task_ids": [draft]})).status == 200
    assert (await platform.call("POST", f"/tasks/{draft}/cancel", {"reason": "x"})).status == 200
    assert (await detail(platform, draft), await listed(platform)) == ([404, 404], [])


async def test_what_a_late_create_makes_is_hidden_from_then_on(platform: Client) -> None:
    """The seconds of both faults add up: created after five, to be seen after another three."""
    platform.simulator.order_fault(Fault(operation="tasks.create", when="late", kind="status", seconds=5))
    platform.simulator.order_fault(Fault(operation="tasks.create", kind="hidden", seconds=3))
    assert (await platform.create(order("A"))).status == 500
    platform.simulator.advance(7)
    assert (platform.simulator.audit()["tasks"], await listed(platform)) == (1, [])
    platform.simulator.advance(1)
    assert await listed(platform) == ["A broadcasting"]


# --- outdated ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["tasks.get", "platform.tasks.get", "platform.tasks.list"])
async def test_a_read_shows_an_older_state(platform: Client, time: FakeTime, operation: str) -> None:
    """Whatever has changed in the seconds of the fault is not seen: statuses, content, names, new tasks."""
    (draft,) = await platform.draft(order("A", group_tag="OLD"))

    async def seen() -> tuple[str, str, str, str, int] | None:
        if operation == "platform.tasks.list":
            tasks = (await platform.get("/platform/tasks"))["tasks"]
            if not tasks:
                return None
            (task,) = tasks
        else:
            path = "/tasks" if operation == "tasks.get" else "/platform/tasks"
            answer = await platform.call("GET", f"{path}/{draft}")
            if answer.status == 404:
                return None
            task = answer.json
        names = ("tracking_id", "group_tag", "current_status", "version_rev")
        return (*(task[name] for name in names), len(task["statuses"]))

    states = [None, await seen()]
    time.seconds += 10
    body = {"tasks": [{"id": draft, "tracking_id": "B"}]}
    await platform.call("POST", f"{DRAFTS}/broadcast-with-tracking", body)
    states.append(await seen())
    time.seconds += 10
    assert states[-1] is not None
    update = {"version_rev": states[-1][3], "group_tag": "NEW"}
    assert (await platform.call("PATCH", f"/platform/tasks/{draft}", update)).status == 200
    states.append(await seen())
    time.seconds += 10
    await platform.call("POST", f"/tasks/{draft}/cancel", {"reason": "x"})
    states.append(await seen())
    assert [state and state[:3] for state in states] == [
        None, ("A", "OLD", "pending_broadcast"), ("B", "OLD", "broadcasting"), ("B", "NEW", "broadcasting"),
        ("B", "NEW", "cancelled"),
    ]  # fmt: skip
    for ago, state in ((31, 0), (30, 1), (21, 1), (20, 2), (11, 2), (10, 3), (1, 3), (0, 4)):
        platform.simulator.order_fault(Fault(operation=operation, kind="outdated", seconds=ago, times=1))
        assert await seen() == states[state], ago
    assert await seen() == states[-1]


async def test_an_expiry_that_is_not_seen_yet(platform: Client, time: FakeTime) -> None:
    """A broadcast that has ended by the clock is still shown by a read that lags."""
    task = (await platform.create(order("A"))).json["tasks"][0]
    time.seconds += 86_400 + 4 * 3600 + 2
    platform.simulator.order_fault(Fault(operation="*", kind="outdated", seconds=5, times=3))
    assert await listed(platform) == ["A broadcasting"]
    assert await detail(platform, task["id"]) == ["broadcasting", "broadcasting"]
    assert await listed(platform) == ["A expired"]


async def test_drafts_that_are_not_listed_stay_so_in_an_older_state() -> None:
    """A draft that Task List does not show is not in its older state either."""
    async with reading(drafts_listed=False) as client:
        (draft,) = await client.draft(order("A"))
        client.simulator.advance(5)
        await client.call("POST", f"{DRAFTS}/broadcast", {"task_ids": [draft]})
        client.simulator.order_fault(Fault(kind="outdated", seconds=1, times=1))
        assert await listed(client) == []
        assert await listed(client) == ["A broadcasting"]


# --- reused -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", CREATES)
async def test_a_create_answers_ids_of_earlier_orders(platform: Client, operation: str) -> None:
    """The answer has the new names and the old ids; the tasks have ids of their own, and the audit is true."""
    path = CREATES[operation]
    old = (await platform.create(order("A"), order("B"), order("C"), path=path)).json["tasks"]
    platform.simulator.order_fault(Fault(operation=operation, kind="reused", times=2))
    new = (await platform.create(order("D"), order("E"), path=path)).json["tasks"]
    assert [task["tracking_id"] for task in new] == ["D", "E"]
    assert [task["id"] for task in new] == [old[0]["id"], old[1]["id"]]
    own = {task["tracking_id"]: task["id"] for task in platform.simulator.tasks()}
    again = (await platform.create(order("A"), order("G"), path=path)).json["tasks"]
    assert [task["id"] for task in again] == [own["D"], own["E"]]  # not that of A, which is no other order's
    audit = platform.simulator.audit()
    kind = "drafts_by_tracking_id" if operation == "platform.drafts.create" else "by_tracking_id"
    assert audit[kind] == {"A": 2, "B": 1, "C": 1, "D": 1, "E": 1, "G": 1}
    assert len({task["id"] for task in platform.simulator.tasks()}) == 7
    assert (await platform.get(f"/tasks/{old[0]['id']}"))["tracking_id"] == "A"


async def test_a_first_create_has_no_earlier_ids(plain: Client) -> None:
    """Where there are no earlier orders, or too few, the answer has the tasks' own ids."""
    plain.simulator.order_fault(Fault(kind="reused"))
    first = (await plain.create(order("A"))).json["tasks"]
    second = (await plain.create(order("B"), order("C"))).json["tasks"]
    own = [task["id"] for task in plain.simulator.tasks()]
    assert [task["id"] for task in first] == own[:1]
    assert [task["id"] for task in second] == [own[0], own[2]]


# --- restored ---------------------------------------------------------------------------------------------------------


async def test_the_service_is_put_back(platform: Client, time: FakeTime) -> None:
    """Later tasks do not exist any more, statuses and contents go back, and the audit counts what there is."""
    (draft,) = await platform.draft(order("DRAFT"))
    task = (await platform.create(order("TASK", group_tag="OLD"))).json["tasks"][0]
    then, audit, tasks = platform.simulator.now(), platform.simulator.audit(), platform.simulator.tasks()
    time.seconds += 10
    await platform.call("POST", "/platform/organizations", {"business_name": "ABC"})
    new = (await platform.create(order("NEW"), order("TASK"))).json["tasks"][0]
    body = {"tasks": [{"id": draft, "tracking_id": "OTHER"}]}
    await platform.call("POST", f"{DRAFTS}/broadcast-with-tracking", body)
    update = {"version_rev": task["version_rev"], "group_tag": "NEW"}
    assert (await platform.call("PATCH", f"/platform/tasks/{task['id']}", update)).status == 200
    await platform.call("POST", f"/tasks/{task['id']}/cancel", {"reason": "x"})
    time.seconds += 10
    platform.simulator.restore(then)
    restored = platform.simulator.audit()
    assert {**restored, "calls": None} == {**audit, "calls": None}
    assert (platform.simulator.tasks(), platform.simulator.now()) == (tasks, START + 20)
    assert await detail(platform, new["id"]) == [404, 404]
    assert await listed(platform) == ["DRAFT pending_broadcast", "TASK broadcasting"]
    assert {**await platform.get(f"/tasks/{task['id']}"), "server_time": task["server_time"]} == task
    assert (await platform.get("/platform/organizations"))["organizations"] == []
    # The service goes on from there, and gives out no id a second time.
    assert (await platform.call("PATCH", f"/platform/tasks/{task['id']}", update)).status == 200
    again = (await platform.create(order("NEW"))).json["tasks"][0]
    assert again["id"] != new["id"]
    assert platform.simulator.audit()["by_tracking_id"] == {"TASK": 1, "NEW": 1}
    platform.simulator.restore(then - 1)
    assert (platform.simulator.tasks(), platform.simulator.audit()["tasks"], await listed(platform)) == ([], 0, [])


async def test_a_service_is_put_back_over_http(platform: Client, time: FakeTime) -> None:
    """The time is a moment, or so many seconds ago; one that is to come, both, or neither is refused."""
    for name in ("A", "B", "C"):
        time.seconds += 10
        await platform.create(order(name))
    restore = "/_simulator/restore"
    answer = await platform.call("POST", restore, {"seconds_ago": 5})
    assert (answer.status, answer.json) == (200, {"at": START + 25})
    assert await listed(platform) == ["A broadcasting", "B broadcasting"]
    assert (await platform.call("POST", restore, {"at": START + 10})).status == 200
    assert await listed(platform) == ["A broadcasting"]
    for wrong, message in (
        ({"at": START + 31}, "cannot be restored"),
        ({}, "send at"),
        ({"at": 1, "seconds_ago": 1}, "send at"),
    ):
        answer = await platform.call("POST", restore, wrong)
        assert (answer.status, message in answer.json["message"]) == (422, True)


async def test_a_call_meets_a_service_that_was_just_put_back(platform: Client, time: FakeTime) -> None:
    """As a fault: before the struck call acts, everything is put back by so many seconds."""
    await platform.create(order("A"))
    time.seconds += 10
    task = (await platform.create(order("B"))).json["tasks"][0]
    platform.simulator.order_fault(Fault(operation="tasks.get", kind="restored", seconds=5, after_calls=1, times=1))
    assert await platform.status(task["id"]) == "broadcasting"
    assert (await platform.call("GET", f"/tasks/{task['id']}")).status == 404
    assert platform.simulator.audit()["by_tracking_id"] == {"A": 1}


async def test_late_calls_outlive_a_restore(platform: Client, time: FakeTime) -> None:
    """A call that is still to take effect does so in the service as it was put back."""
    time.seconds += 1
    platform.simulator.order_fault(Fault(operation="tasks.create", when="late", kind="status", seconds=5, times=1))
    await platform.create(order("A"))
    platform.simulator.restore(START)
    time.seconds += 5
    assert platform.simulator.audit()["by_tracking_id"] == {"A": 1}


async def test_drivers_go_on_from_where_the_service_was_put_back(time: FakeTime) -> None:
    """With a life the order comes to its end once more."""
    async with signed_in("plain", SimulatorOptions(life=Life(accepting=1, cancelling=0, failing=0)), time) as client:
        await client.create(order("A"))
        client.simulator.advance(30 * 86_400)
        (before,) = client.simulator.tasks()
        assert before["history"][-1][0] == "complete"
        client.simulator.restore(START + 1)
        (record,) = client.simulator._service.tasks.all()
        assert record.status == "broadcasting"
        assert client.simulator.tasks() == [before]
