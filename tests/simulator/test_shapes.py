"""Switches whose every value shows in one conversation: a table of what the answers hold; and those of shapes."""

from typing import Any

import pytest

from gotsurge_async.simulator import SWITCHES
from gotsurge_async.simulator.shapes import UNKNOWN_STATUS

from .kit import DRAFTS, Client, order, reading

MISSING = "missing"
START_TEXT = "2026-01-01T00:00:00Z"
TIMES = (
    *("created.server_time", "task.server_time", "task.updated_at", "task.client_time_utc"),
    "task.statuses.0.updated_at",
)
UNNAMED = ("task.org_transporter", "task.vehicle_emissions", "task.client", "task.epod")
OBJECTS = ("task.from_address", "task.from_time_window", "task.items.0", "task.statuses.0", "organizations.meta")
METAS = ("list.meta", "organizations.meta")


def all_of(names: tuple[str, ...], expected: Any, below: str = "") -> dict[str, Any]:
    """The same expectation for several places."""
    return {f"{name}{below}": expected for name in names}


TABLE: dict[str, dict[Any, dict[str, Any]]] = {
    "created_status": {value: {"statuses": [value] * 4} for value in (200, 201)},
    "draft_status": {
        value: {"draft.current_status": value, "updated.current_status": "broadcasting", "updated.statuses": [dict] * 2}
        | {"updated.statuses.0.status": value, "updated.statuses.1.status": "broadcasting"}
        for value in ("pending_broadcast", "draft")
    },
    "tracking_id_echo": {
        "always": {"task.tracking_id": "A", "draft.tracking_id": "A", "read.tracking_id": "A"},
        "reads": {"task.tracking_id": MISSING, "draft.tracking_id": MISSING, "read.tracking_id": "A"},
        "never": all_of(("task", "draft", "read"), MISSING, ".tracking_id") | {"read.invoice_number": "INV-1"},
    },
    "dates": {
        style: all_of(TIMES, text) | {"task.from_time_window.start_time_utc": start}
        for style, text, start in (
            ("z", START_TEXT, "2026-01-02T02:00:00Z"),
            ("offset", "2026-01-01T08:00:00+08:00", "2026-01-02T10:00:00+08:00"),
            ("fraction", "2026-01-01T00:00:00.000000Z", "2026-01-02T02:00:00.000000Z"),
            ("naive", "2026-01-01T00:00:00", "2026-01-02T02:00:00"),
        )
    },
    "misfits": {
        "none": {"task.is_urgent": False, "task.updated_at": START_TEXT},
        "numbers": {"task.platform_id": 17},
        "texts": {"task.is_urgent": "some"},
        "lists": {"task.epod": [{"id": 1}]},
        "objects": {"task.attachments": {"first": {"name": "Rope"}}},
        "windows": {"task.to_time_window": {"start_time_utc": None, "end_time_utc": ""}},
        "times": {"task.updated_at": 1_767_225_600},
    },
    "envelope": {
        value: all_of(("drafts", "draft", "broadcast"), time, ".server_time")
        | {"drafts.total_tasks": total, "draft.updated_at": START_TEXT}
        for value, time, total in (("told", START_TEXT, 1), ("null", None, None), ("absent", MISSING, MISSING))
    },
    "status_history": {
        "steps": {"task.statuses": [{"status": "broadcasting", "updated_at": START_TEXT}]},
        "bare": {"task.statuses": [{"status": "broadcasting", "updated_at": None}]},
        "empty": {"task.statuses": []},
        "null": {"task.statuses": None},
        "absent": {"task.statuses": MISSING},
    },
    "unknown_statuses": {
        value: {"task.current_status": status, "draft.current_status": "pending_broadcast", "steps": steps}
        for value, status, steps in (
            (False, "broadcasting", ["broadcasting"]),
            (True, UNKNOWN_STATUS, ["received", "broadcasting"]),
        )
    },
    "unnamed_objects": {
        "empty": all_of(UNNAMED, {}) | {"kept.epod": {"required": True}},
        "filled": all_of(UNNAMED, dict) | {"task.client.id": 4, "kept.epod": {"required": True}},
        "lists": all_of(UNNAMED, [dict]) | {"kept.epod": {"required": True}},
    },
    "references": {
        value: all_of(("accepted.org_id", "accepted.task_creation_group", "accepted.driver.id"), kind)
        for value, kind in (("texts", str), ("numbers", int))
    },
    "attachments": {
        value: {"task.attachments": kinds}
        for value, kinds in (
            *(("empty", []), ("objects", [dict, dict]), ("links", [str]), ("ids", [int, int])),
            ("null", None),
        )
    },
    "measures": {
        value: {"task.total_item_weight": kind(12), "task.items.0.quantity": kind(2), "task.distance_in_meters": kind}
        | {"task.price": int, "task.cargo_net_quantity": int}
        for value, kind in (("given", int), ("decimal", float), ("text", str))
    },
    "more_fields": {
        "none": all_of(("task", "draft", *OBJECTS), MISSING, ".x_object"),
        "tasks": all_of(OBJECTS, MISSING, ".x_object") | all_of(("task", "draft"), dict, ".x_object"),
        "everywhere": all_of(("task", "draft", *OBJECTS), dict, ".x_object"),
    },
    "quote_fields": {
        "all": {"quote.code": "success", "quote.average_fee": int, "quote.distance": dict},
        "null": {"quote.code": "Success", "quote.average_fee": None, "quote.distance": None},
        "list": {"quote.code": "Success", "quote.average_fee": [1], "quote.distance": [1]},
        "absent": {"priced": ["total_fee", "total_fee_currency"]},
    },
    "sso_user": {
        "names": {"sso.user.email": "platform@example.com", "sso.user.roles": ["OrgAdmin"]},
        "objects": {"sso.user.email": "platform@example.com", "sso.user.roles": [{"id": 1, "name": "OrgAdmin"}]},
        "empty": {"sso.user": {}},
        "list": {"sso.user": [1]},
        "null": {"sso.user": None},
        "absent": {"sso.user": MISSING},
    },
    "meta": {
        "told": {"list.meta": {"page": 1, "per_page": 1000, "total": 4}, "organizations.meta.total": 1},
        "empty": all_of(METAS, {}),
        "list": all_of(METAS, [1]),
        "null": all_of(METAS, None),
        "absent": all_of(METAS, MISSING),
    },
    "meta_total": {
        True: {"list.meta.total": 4, "organizations.meta.total": 1},
        False: {"list.meta": {"page": 1, "per_page": 1000}, "organizations.meta": {"page": 1, "per_page": 200}},
    },
    "per_page_limit": {
        1000: {"list.meta.per_page": 1000, "list.tasks": [dict] * 4},
        3: {"list.meta.per_page": 3, "list.tasks": [dict] * 3},
    },
}
"""What each value of a switch shows: places in a conversation, each with its value, or the type of it."""


async def conversation(client: Client) -> dict[str, Any]:
    """An answer of each kind, by name."""
    created = await client.create(order("A", total_item_weight=12), path="/tasks")
    platform = await client.create(order("A", epod={"required": True}), order("A"), path="/platform/tasks")
    drafts = await client.create(order("A"), path=DRAFTS)
    organization = await client.call("POST", "/platform/organizations", {"business_name": "ABC"})
    said: dict[str, Any] = {"created": created.json, "task": created.json["tasks"][0], "drafts": drafts.json}
    said["kept"] = platform.json["tasks"][0]
    said["statuses"] = [answer.status for answer in (created, platform, drafts, organization)]
    tasks = said["drafts"]["tasks"]
    (said["draft"],) = tasks.values() if isinstance(tasks, dict) else tasks
    task_id = said["task"]["id"]
    said["read"] = await client.get(f"/tasks/{task_id}")
    said["list"] = await client.get("/platform/tasks?per_page=5000")
    said["organizations"] = await client.get("/platform/organizations")
    said["steps"] = [step["status"] for step in said["task"].get("statuses") or ()]
    stops = [{"latitude": 1.3, "longitude": 103.7}, {"latitude": 1.31, "longitude": 103.8}]
    said["quote"] = (await client.call("POST", "/prices/recommendation", {"stops": stops})).json
    said["priced"] = sorted(said["quote"])
    session = {"session_id": client.simulator.new_session("platform")}
    said["sso"] = (await client.call("POST", "/platform/sso/token", session)).json
    ids = {"task_ids": [said["draft"]["id"]]}
    said["broadcast"] = (await client.call("POST", f"{DRAFTS}/broadcast", ids)).json
    (said["updated"],) = said["broadcast"]["updated_tasks"]
    client.simulator.move(task_id, "accepted")
    said["accepted"] = await client.get(f"/tasks/{task_id}")
    return said


def at(said: Any, path: str) -> Any:
    """What stands at a place of a conversation, or that nothing does."""
    for name in path.split("."):
        if isinstance(said, list):
            said = said[int(name)]
        elif name not in said:
            return MISSING
        else:
            said = said[name]
    return said


def fits(shown: Any, expected: Any) -> bool:
    """Whether a value is the expected one, to its type, or is of the expected type."""
    if isinstance(expected, type):
        return type(shown) is expected
    if isinstance(expected, list) and isinstance(shown, list):
        return len(shown) == len(expected) and all(map(fits, shown, expected))
    return type(shown) is type(expected) and bool(shown == expected)


def test_the_table_has_every_value() -> None:
    """No value of a switch in the table is without a row."""
    assert {name: tuple(rows) for name, rows in TABLE.items()} == {name: SWITCHES[name].values for name in TABLE}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, rows in TABLE.items() for value in rows])
async def test_a_value_of_a_switch(name: str, value: Any) -> None:
    """Its row holds; reads and lists agree with the create unless the switch is about that; the audit is as ever."""
    also = {"draft_tasks": "map"} if name == "more_fields" else {}
    async with reading(**{name: value}, **also) as client:
        said = await conversation(client)
        assert client.simulator.audit()["by_tracking_id"] == {"A": 4}
    shown = {path: at(said, path) for path in TABLE[name][value]}
    assert {path: each for path, each in shown.items() if not fits(each, TABLE[name][value][path])} == {}
    assert (type(said["task"]["id"]), said["quote"]["total_fee"] > 0) == (str, True)
    assert said["read"] in said["list"]["tasks"]
    assert (said["read"] == said["task"]) is ((name, value) != ("tracking_id_echo", "reads"))


async def shown(client: Client, **changes: Any) -> Any:
    """A task that was created, as every answer shows it: they agree, whatever the shape."""
    created = (await client.create(order(**changes))).json["tasks"][0]
    task = await client.get(f"/tasks/{created['id']}")
    assert created == task
    return task


@pytest.mark.parametrize("value", ["all", "few"])
async def test_created_fields(value: str) -> None:
    """A create answers whole tasks, or a few fields of each; a read shows all of them anyway."""
    few = {"id", "tracking_id", "invoice_number", "current_status", "version_rev"}
    async with reading(created_fields=value) as client:
        for path in ("/tasks", "/platform/tasks", DRAFTS):
            (task,) = (await client.create(order("A"), path=path)).json["tasks"]
            assert (set(task) == few) == (value == "few")
            assert few <= set(task)
            assert "from_address" in await client.get(f"/tasks/{task['id']}")


BLANK: dict[str, Any] = {
    # contact, items, driver, note, number, window
    "usual": ("missing", [], None, "missing", "missing", "missing"),
    "null": (None, None, None, None, None, None),
    "empty": ({}, [], {}, "", "missing", "missing"),
    "absent": ("missing", "missing", "missing", "missing", "missing", "missing"),
}


@pytest.mark.parametrize("value", SWITCHES["blanks"].values)
async def test_blanks(value: str) -> None:
    """What has no value is null, empty or not there, also inside an address; a value stays, be it 0 or false."""
    names = ("from_contact", "items", "driver", "group_tag", "cargo_net_quantity", "to_time_window")
    written = {name: ... for name in names if name != "driver"}
    async with reading(blanks=value) as client:
        task = await shown(client, price=..., currency=..., **written)
        assert tuple(task.get(name, MISSING) for name in names) == BLANK[value]
        assert (task["price"], task["is_urgent"]) == (0, False)
        city = {"usual": "missing", "null": None, "empty": "", "absent": "missing"}[value]
        assert task["from_address"].get("city", MISSING) == city
        assert task["from_address"]["latitude"] == 1.30
        full = await shown(client, group_tag="G")
        assert (full["group_tag"], full["items"]) == ("G", order()["items"])
        organization = (await client.call("POST", "/platform/organizations", {"business_name": "ABC"})).json
        code = {"usual": "", "null": None, "empty": "", "absent": "missing"}[value]
        assert organization["organization"].get("squad_code", MISSING) == code


async def test_shapes_do_not_mix_answers_up() -> None:
    """All shapes at once, again and again, make the same of the same answer: none leaves anything behind."""
    every = {
        name: SWITCHES[name].values[1]
        for name in ("blanks", "unnamed_objects", "attachments", "measures", "unknown_statuses")
    }
    async with reading(**every, more_fields="everywhere") as client:
        task = (await client.create(order())).json["tasks"][0]
        first = await client.get(f"/tasks/{task['id']}")
        assert first == await client.get(f"/tasks/{task['id']}")
        assert set(first["client"]["x_object"]) == {"id", "list"}


async def test_a_refusal_is_not_reshaped() -> None:
    """What a refusal looks like is set by its own switch alone."""
    async with reading(more_fields="everywhere") as client:
        answer = await client.create(order(price=1))
        assert set(answer.json) == {"error", "message", "errors"}
