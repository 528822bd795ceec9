import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gotsurge_async.api.openapi import document

from .kit import Client, FakeTime, order


async def test_the_audit_counts_tasks_by_tracking_id(plain: Client) -> None:
    """The audit counts tasks, those of each tracking id, what was doubled, and the calls, over HTTP as in process."""
    await plain.create(order("A"), order("B"))
    await plain.create(order("A"), order(...))
    await plain.create(order("C", price=1))
    answer = await plain.call("GET", "/_simulator/audit")
    assert answer.json == plain.simulator.audit()
    assert answer.json == {
        "tasks": 4,
        "by_tracking_id": {"A": 2, "B": 1},
        "doubled": {"A": 2},
        "drafts": 0,
        "drafts_by_tracking_id": {},
        "calls": {"auth.exchange": 1, "tasks.create": 3},
    }


async def test_the_tasks_are_listed_with_what_became_of_each(platform: Client) -> None:
    """Drafts, broadcast and cancelled tasks are listed by tracking id, each with its statuses and their times."""
    drafts = (await platform.call("POST", "/platform/tasks/drafts", {"tasks": [order("K-1"), order("K-2")]})).json
    first, second = (task["id"] for task in drafts["tasks"])
    await platform.call("POST", "/platform/tasks/drafts/broadcast", {"task_ids": [first]})
    await platform.call("POST", f"/tasks/{first}/cancel", {"reason": "gone"})
    await platform.create(order("L-1"))
    tasks = (await platform.call("GET", "/_simulator/tasks?prefix=K-")).json["tasks"]
    assert tasks == platform.simulator.tasks("K-")
    assert [(task["id"], task["tracking_id"], task["draft"]) for task in tasks] == [
        (first, "K-1", False),
        (second, "K-2", True),
    ]
    assert [[status for status, _ in task["history"]] for task in tasks] == [
        ["pending_broadcast", "broadcasting", "cancelled"],
        ["pending_broadcast"],
    ]
    assert len(platform.simulator.tasks()) == 3


async def test_the_audit_suffers_no_faults(plain: Client) -> None:
    """Faults of every operation leave all this alone."""
    await plain.call("POST", "/_simulator/faults", {"operation": "*", "kind": "reset"})
    with pytest.raises(aiohttp.ClientOSError):
        await plain.create(order())
    assert (await plain.call("GET", "/_simulator/audit")).json["tasks"] == 0
    await plain.call("DELETE", "/_simulator/faults")
    assert (await plain.create(order())).status == 200


async def test_the_clock_turns_over_http(plain: Client) -> None:
    """The clock can be turned over HTTP."""
    answer = await plain.call("POST", "/_simulator/clock", {"advance_seconds": 31 * 86400})
    assert answer.json == {"now": "2026-02-01T00:00:00Z"}
    assert (await plain.create(order())).status == 401


async def test_what_signs_in_can_be_had_and_revoked_over_http(platform: Client) -> None:
    """A code with the keys to exchange it, an SSO session of a person; the tokens of an account become worthless."""
    answer = await platform.call("POST", "/_simulator/code", {"account": "platform"})
    assert set(answer.json) == {"code", "client_key", "secret_key"}
    assert (await platform.call("POST", "/oauth2/token", answer.json)).status == 200
    wanted = {"account": "platform", "email": "platform@example.com"}
    answer = await platform.call("POST", "/_simulator/session", wanted)
    assert (await platform.call("POST", "/platform/sso/token", answer.json)).status == 200
    assert (await platform.call("POST", "/_simulator/revoke", {"account": "platform"})).status == 200
    assert (await platform.create(order())).status == 401


async def test_a_task_can_be_moved_over_http(plain: Client) -> None:
    """A task can be taken to another status over HTTP, by the document's transitions or by force."""
    task_id = (await plain.create(order())).json["tasks"][0]["id"]
    path = f"/_simulator/tasks/{task_id}/status"
    assert (await plain.call("POST", path, {"status": "accepted"})).status == 200
    assert await plain.status(task_id) == "accepted"
    assert (await plain.call("POST", path, {"status": "complete"})).status == 422
    assert (await plain.call("POST", path, {"status": "complete", "force": True})).status == 200
    assert await plain.status(task_id) == "complete"
    answer = await plain.call("POST", "/_simulator/tasks/none/status", {"status": "accepted"})
    assert (answer.status, answer.json) == (404, {"message": "there is no task 'none'"})


async def test_a_task_can_be_made_to_vanish(platform: Client) -> None:
    """A draft that vanished is in no list and cannot be read or broadcast; a task that drivers saw stays counted."""
    (draft,) = await platform.draft(order("A"))
    task = (await platform.create(order("B"))).json["tasks"][0]["id"]
    assert (await platform.call("DELETE", f"/_simulator/tasks/{draft}")).status == 200
    platform.simulator.remove(task)
    assert (await platform.get("/platform/tasks"))["tasks"] == []
    assert (await platform.call("GET", f"/platform/tasks/{draft}")).status == 404
    assert (await platform.call("POST", "/platform/tasks/drafts/broadcast", {"task_ids": [draft]})).status == 404
    audit = platform.simulator.audit()
    assert (audit["by_tracking_id"], audit["drafts"], audit["drafts_by_tracking_id"]) == ({"B": 1}, 0, {})
    answer = await platform.call("DELETE", f"/_simulator/tasks/{draft}")
    assert (answer.status, answer.json) == (404, {"message": f"there is no task {draft!r}"})


async def test_a_reset_forgets_everything(plain: Client) -> None:
    """After a reset there are no tasks, faults, counts or tokens, and the clock is not turned."""
    await plain.create(order())
    plain.simulator.advance(5)
    await plain.call("POST", "/_simulator/faults", {"kind": "reset"})
    await plain.call("POST", "/_simulator/reset")
    assert plain.simulator.audit()["tasks"] == 0
    assert plain.simulator.audit()["calls"] == {}
    assert plain.simulator.now() == 1_767_225_600
    assert (await plain.create(order())).status == 401
    await plain.sign_in()


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("faults", {"operation": "tasks.make"}, "there is no operation 'tasks.make'"),
        ("faults", {"kind": "flood"}, "Invalid enum value 'flood'"),
        ("clock", {"advance_seconds": -1}, "turned forward"),
        ("clock", {"advance_seconds": "1"}, "Expected `float`, got `str`"),
        ("clock", {"seconds": 1}, "unknown field"),
        ("code", {"account": "nobody"}, "the accounts are: plain, platform"),
        ("code", {}, "missing required field"),
        ("code", {"account": "plain", "email": "x@example.com"}, "nobody of plain; there are: plain@example.com"),
        ("session", {"account": "nobody"}, "the accounts are: plain, platform"),
        ("revoke", {"account": "nobody"}, "the accounts are: plain, platform"),
        ("tasks/none/status", {"state": "accepted"}, "unknown field"),
    ],
)
async def test_a_wrong_order_is_refused(plain: Client, path: str, body: dict[str, Any], message: str) -> None:
    """What cannot be done is refused with the reason."""
    answer = await plain.call("POST", f"/_simulator/{path}", body)
    assert answer.status == 422
    assert message in answer.json["message"]


async def test_the_simulator_describes_itself(plain: Client) -> None:
    """It serves the document of the endpoint table without a token, with its own address as the server."""
    plain.token = ""
    answer = await plain.call("GET", "/_simulator/openapi.json")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("application/json")
    assert [server["url"] for server in answer.json["servers"]] == [plain.simulator.api_base]
    assert answer.json | {"servers": []} == document() | {"servers": []}


async def test_every_call_of_its_own_is_documented(plain: Client) -> None:
    """The reference describes each call under /_simulator, and no other."""
    page = (Path(__file__).parents[2] / "docs" / "reference" / "simulator.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `(GET|POST|DELETE) (/_simulator/[^`?]*)", page, re.MULTILINE))
    assert plain.simulator._runner is not None
    served = {
        (route.method, route.resource.canonical)
        for route in plain.simulator._runner.app.router.routes()
        if route.resource is not None and route.resource.canonical.startswith("/_simulator/") and route.method != "HEAD"
    }
    assert documented == served


async def test_a_reset_makes_another_world(plain: Client) -> None:
    """The register of ledgers sees by this that what was pushed is gone."""
    before = (await plain.call("GET", "/_simulator/world")).json
    await plain.call("POST", "/_simulator/reset")
    assert (await plain.call("GET", "/_simulator/world")).json != before


async def test_the_clock_runs_at_any_speed_over_http(plain: Client, time: FakeTime) -> None:
    """The clock can be made to run faster, and to stand still; a speed that is none is refused."""
    assert (await plain.call("POST", "/_simulator/clock", {"speed": 60})).status == 200
    time.seconds += 10
    assert (await plain.call("GET", "/_simulator/clock")).json == {"now": "2026-01-01T00:10:00Z", "speed": 60}
    await plain.call("POST", "/_simulator/clock", {"speed": 0, "advance_seconds": 60})
    time.seconds += 10
    assert (await plain.call("GET", "/_simulator/clock")).json == {"now": "2026-01-01T00:11:00Z", "speed": 0}
    assert (await plain.call("POST", "/_simulator/clock", {"speed": -1})).status == 422


async def test_one_fault_of_several_can_be_taken_back(plain: Client) -> None:
    """Faults are listed with their numbers and strikes; one can be removed, an unknown one is not there."""
    await plain.call("POST", "/_simulator/faults", {"kind": "status", "status": 503, "times": 2})
    await plain.call("POST", "/_simulator/faults", {"kind": "delay", "seconds": 0})
    assert (await plain.create(order())).status == 503
    first, second = (await plain.call("GET", "/_simulator/faults")).json["faults"]
    assert (first["number"], first["struck"], first["times"], second["kind"]) == (1, 1, 2, "delay")
    assert (await plain.call("DELETE", "/_simulator/faults/1")).status == 200
    assert (await plain.create(order())).status == 200
    assert (await plain.call("DELETE", "/_simulator/faults/1")).status == 404
    assert (await plain.call("DELETE", "/_simulator/faults/x")).status == 404


async def test_what_has_changed_is_counted(plain: Client) -> None:
    """A page that asks again learns which parts are another: orders, requests, faults, the clock, webhooks, or all."""

    async def changed(verb: str, path: str, body: object = None) -> set[str]:
        before = (await plain.call("GET", "/_simulator/changes")).json
        await plain.call(verb, path, body)
        after = (await plain.call("GET", "/_simulator/changes")).json
        return {part for part in after if after[part] != before.get(part)}

    assert await changed("POST", "/tasks", {"tasks": [order()]}) == {"orders", "requests"}
    assert await changed("POST", "/_simulator/faults", {"kind": "delay", "seconds": 0}) == {"faults"}
    assert await changed("GET", "/tasks/x") == {"faults", "requests"}  # it is struck, and the page shows how often
    assert await changed("POST", "/_simulator/clock", {"speed": 2}) == {"clock"}
    assert await changed("POST", "/_simulator/webhooks", {"url": ""}) == {"webhooks"}
    assert {"world", "orders"} <= await changed("POST", "/_simulator/reset")
    assert await changed("GET", "/_simulator/audit") == set()
