"""Calls that take effect later than their clients believe: every write, however its connection ended."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from gotsurge_async.simulator import Fault, Simulator
from gotsurge_async.testing import ManualClock, simulated
from tests.support.orders import order as an_order
from tests.support.threads import until

from .kit import DRAFTS, START, Client, FakeTime, order, signed_in
from .receiver import receiving

NEW: dict[str, Any] = {"tasks": [order("NEW")]}


def tracked(task: Any) -> dict[str, Any]:
    """A new tracking id for a task."""
    return {"tasks": [{"id": task["id"], "tracking_id": "NEW"}]}


WRITES: dict[str, tuple[str, str, Callable[[Any], dict[str, Any]]]] = {
    "tasks.create": ("POST", "/tasks", lambda _: NEW),
    "platform.tasks.create": ("POST", "/platform/tasks", lambda _: NEW),
    "platform.drafts.create": ("POST", DRAFTS, lambda _: NEW),
    "platform.drafts.broadcast": ("POST", f"{DRAFTS}/broadcast", lambda task: {"task_ids": [task["id"]]}),
    "platform.drafts.broadcast_with_tracking": ("POST", f"{DRAFTS}/broadcast-with-tracking", tracked),
    "platform.tasks.patch_tracking_ids": ("PATCH", "/platform/tasks/tracking-ids", tracked),
    "tasks.cancel": ("POST", "/tasks/{id}/cancel", lambda _: {"reason": "x"}),
    "platform.tasks.update": (
        *("PATCH", "/platform/tasks/{id}"),
        lambda task: {"version_rev": task["version_rev"], "tracking_id": "NEW"},
    ),
}
"""Each write: its verb, its path, and its body for a task or a draft that is there."""


async def prepared(client: Client, operation: str) -> tuple[str, str, dict[str, Any]]:
    """The verb, path and body of a write, for which a task or a draft was created if it needs one."""
    verb, path, body = WRITES[operation]
    task: Any = {}
    if not operation.endswith("create"):
        place = "/tasks" if "{id}" in path else DRAFTS
        task = (await client.create(order("OLD"), path=place)).json["tasks"][0]
    return verb, path.format(**task), body(task)


def standing(simulator: Simulator) -> list[tuple[str, bool, list[str]]]:
    """The tracking id of every task, whether it is a draft, and its statuses."""
    return [
        (task["tracking_id"], task["draft"], [status for status, _ in task["history"]]) for task in simulator.tasks()
    ]


async def lost(client: Client, verb: str, path: str, body: Any, **options: Any) -> None:
    """Make a call whose answer never comes."""
    with pytest.raises((aiohttp.ClientError, TimeoutError)):
        await client.call(verb, path, body, **options)


async def received(simulator: Simulator) -> None:
    """Wait until a call was read as a whole."""
    await until(simulator._service.late.described)


async def put_off(simulator: Simulator) -> None:
    """Wait until it is known when the effect of a call comes."""
    await received(simulator)
    await until(lambda: simulator._service.late.described()[0]["acts_at"] is not None)


@pytest.mark.parametrize("kind", ["reset", "garbage", "half", "status", "silent", "delay"])
@pytest.mark.parametrize("operation", WRITES)
async def test_a_write_takes_effect_late(platform: Client, time: FakeTime, operation: str, kind: Any) -> None:
    """Nothing changes for the seconds of the fault; then the same has happened as without it, at that moment."""
    simulator = platform.simulator
    async with signed_in("platform") as twin:
        verb, path, body = await prepared(twin, operation)
        assert (await twin.call(verb, path, body)).status == 200
        wanted = standing(twin.simulator)
    verb, path, body = await prepared(platform, operation)
    before = standing(simulator)
    simulator.order_fault(Fault(operation=operation, when="late", kind=kind, seconds=5, times=1))
    if kind == "status":
        assert (await platform.call(verb, path, body)).status == 500
    elif kind in ("silent", "delay"):
        await lost(platform, verb, path, body, timeout=aiohttp.ClientTimeout(total=0.05))
        await put_off(simulator)
    else:
        await lost(platform, verb, path, body)
    time.seconds += 4.9
    assert (standing(simulator), simulator.late_calls()[0]["acts_at"]) == (before, START + 5)
    time.seconds += 60
    assert (standing(simulator), simulator.late_calls()) == (wanted, [])
    assert max(at for task in simulator.tasks() for _, at in task["history"]) in (START, START + 5)
    assert simulator.audit()["calls"][operation] == 1 + (operation == "platform.drafts.create" and bool(before))


async def test_a_late_cancel_of_an_accepted_order_does_nothing(platform: Client) -> None:
    """The late call meets the state of its moment: a driver has accepted, so it is refused."""
    verb, path, body = await prepared(platform, "tasks.cancel")
    platform.simulator.order_fault(Fault(operation="tasks.cancel", when="late", seconds=5))
    await lost(platform, verb, path, body)
    platform.simulator.move(platform.simulator.tasks()[0]["id"], "accepted")
    platform.simulator.advance(10)
    assert standing(platform.simulator) == [("OLD", False, ["broadcasting", "accepted"])]
    logged = (await platform.call("GET", "/_simulator/requests")).json["requests"][0]
    assert (logged["status"], logged["acted_status"], logged["acted_at"]) == (0, 409, START + 5)
    part = f"{platform.simulator.origin}/board/parts?names=request&number={logged['number']}"
    async with platform.session.get(part) as shown:
        assert "No whole answer went out; refused at 08:00:05 with 409" in (await shown.json())["parts"]["request"]


async def test_a_late_broadcast_of_a_cancelled_draft_does_nothing(platform: Client) -> None:
    """A draft that was cancelled in between stays cancelled, and no driver sees it."""
    verb, path, body = await prepared(platform, "platform.drafts.broadcast")
    platform.simulator.order_fault(Fault(operation="platform.drafts.broadcast", when="late", seconds=5))
    await lost(platform, verb, path, body)
    assert (await platform.call("POST", f"/tasks/{body['task_ids'][0]}/cancel", {"reason": "x"})).status == 200
    platform.simulator.advance(10)
    assert standing(platform.simulator) == [("OLD", True, ["pending_broadcast", "cancelled"])]
    assert platform.simulator.audit()["tasks"] == 0


async def test_a_late_create_doubles_what_was_sent_again(plain: Client) -> None:
    """Who sends an order again before the first create has acted has it twice, and the audit says so."""
    plain.simulator.order_fault(Fault(operation="tasks.create", when="late", seconds=5, times=1))
    await lost(plain, "POST", "/tasks", {"tasks": [order("A")]})
    assert (await plain.create(order("A"))).status == 200
    assert plain.simulator.audit()["doubled"] == {}
    plain.simulator.advance(5)
    assert plain.simulator.audit()["doubled"] == {"A": 2}


CLIENT = """
import sys, urllib.request
headers = {"Authorization": "Bearer " + sys.argv[2], "Content-Type": "application/json"}
urllib.request.urlopen(urllib.request.Request(sys.argv[1], sys.stdin.buffer.read(), headers))
"""


@pytest.mark.parametrize("kind", ["silent", "delay"])
async def test_a_killed_client_stops_nothing(plain: Client, kind: Any) -> None:
    """The process that sent a create is killed by SIGKILL while it waits; the create takes effect all the same."""
    simulator = plain.simulator
    simulator.order_fault(Fault(operation="tasks.create", when="late", kind=kind, seconds=5))
    words = (sys.executable, "-c", CLIENT, f"{simulator.api_base}/tasks", plain.token)
    process = await asyncio.create_subprocess_exec(*words, stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(json.dumps({"tasks": [order("A")]}).encode())
    process.stdin.close()
    await received(simulator)
    if kind == "silent":
        assert simulator.late_calls()[0]["acts_at"] is None  # its seconds count from the end of its connection
    process.kill()
    await process.wait()
    await put_off(simulator)
    assert simulator.audit()["tasks"] == 0
    simulator.advance(5)
    assert simulator.audit()["by_tracking_id"] == {"A": 1}


async def test_a_slow_service_answers_who_still_waits() -> None:
    """With a clock that the test turns, a slow call is answered when the clock gets there, without any waiting."""
    clock = ManualClock()
    slow = Fault(operation="tasks.get", when="late", kind="delay", seconds=4)
    async with Simulator(clock=clock) as simulator, simulated(simulator=simulator, clock=clock, faults=[slow]) as gs:
        answer = (await gs.tasks.create([an_order()])).tasks[0].id
        reading = asyncio.create_task(gs.tasks.get(answer))
        await received(simulator)
        await clock.advance(3.999)
        assert not reading.done()
        await clock.advance(0.001)
        assert (await reading).id == answer
    assert clock.sleepers == ()


async def test_the_clock_alone_brings_the_effect() -> None:
    """In real time nobody has to look: the effect comes by itself."""
    async with Simulator() as simulator, aiohttp.ClientSession() as session:
        client = await Client(session, simulator).sign_in()
        simulator.order_fault(Fault(operation="tasks.create", when="late", seconds=0.05))
        await lost(client, "POST", "/tasks", {"tasks": [order("A")]})
        await until(simulator._service.tasks.all)
    assert simulator.audit()["by_tracking_id"] == {"A": 1}


@pytest.mark.parametrize("kind", ["reset", "silent", "delay"])
async def test_nothing_is_left_when_the_simulator_stops(kind: Any) -> None:
    """Calls whose effect is still to come leave no task and no sleeper of the clock behind."""
    clock = ManualClock()
    before = asyncio.all_tasks()
    async with aiohttp.ClientSession() as session:
        async with Simulator(clock=clock) as simulator:
            client = await Client(session, simulator).sign_in()
            simulator.order_fault(Fault(operation="tasks.create", when="late", kind=kind, seconds=3600))
            call = asyncio.create_task(client.create(order("A")))
            await received(simulator)
        with pytest.raises(aiohttp.ClientError):
            await call
    assert asyncio.all_tasks() == before
    assert clock.sleepers == ()
    simulator.advance(3600)  # what the service has received, it still does


async def test_the_event_of_a_late_call_comes_with_its_effect() -> None:
    """A partner's webhook learns of a late create when it takes effect, not before."""
    async with receiving() as receiver, signed_in("plain") as client:
        client.simulator.set_webhook(receiver.url)
        client.simulator.order_fault(Fault(operation="tasks.create", when="late", kind="status", seconds=5))
        assert (await client.create(order("A"))).status == 500
        await client.simulator.webhooks_settled()
        assert receiver.got == []
        client.simulator.advance(5)
        await client.simulator.webhooks_settled()
        assert [(event["data"]["tracking_id"], event["timestamp"]) for event in receiver.got] == [
            ("A", "2026-01-01T00:00:05Z")
        ]


async def test_a_reset_forgets_late_calls(plain: Client) -> None:
    """After a reset no late call takes effect, and who waits for a slow one loses its connection."""
    plain.simulator.order_fault(Fault(operation="tasks.create", when="late", kind="delay", seconds=5))
    call = asyncio.create_task(plain.create(order("A")))
    await received(plain.simulator)
    plain.simulator.reset()
    with pytest.raises(aiohttp.ClientError):
        await call
    plain.simulator.advance(5)
    assert (plain.simulator.audit()["tasks"], plain.simulator.late_calls()) == (0, [])


async def test_late_calls_are_listed_over_http(platform: Client) -> None:
    """Each call that is to take effect is listed, the next one first, with its operation, task and times."""
    verb, path, body = await prepared(platform, "tasks.cancel")
    for seconds in (9, 5):
        fault = {"operation": "tasks.cancel", "when": "late", "kind": "reset", "seconds": seconds, "times": 1}
        await platform.call("POST", "/_simulator/faults", fault)
        await lost(platform, verb, path, body)
    task_id = platform.simulator.tasks()[0]["id"]
    listed = (await platform.call("GET", "/_simulator/late")).json["late"]
    assert listed == platform.simulator.late_calls()
    assert [(call["number"], call["acts_at"] - START) for call in listed] == [(2, 5), (1, 9)]
    assert listed[0] | {"number": 0} == {
        "number": 0, "operation": "tasks.cancel", "task_id": task_id, "received_at": START, "acts_at": START + 5,
    }  # fmt: skip


@pytest.mark.parametrize(("when", "tasks"), [("before", 0), ("after", 1)])
async def test_a_silent_service_never_answers(plain: Client, when: Any, tasks: int) -> None:
    """Silence before the effect means that there is none, silence after it that nobody learns of it."""
    plain.simulator.order_fault(Fault(operation="tasks.create", when=when, kind="silent", times=1))
    await lost(plain, "POST", "/tasks", {"tasks": [order("A")]}, timeout=aiohttp.ClientTimeout(total=0.05))
    assert plain.simulator.audit()["tasks"] == tasks
    assert (await plain.create(order("B"))).status == 200
