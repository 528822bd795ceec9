"""Each switch of shapes does what it says: `test_NAME` shows every value of the switch NAME."""

from typing import Any

import pytest

from gotsurge_async.simulator import SWITCHES
from gotsurge_async.simulator.shapes import UNKNOWN_STATUS

from .kit import DRAFTS, Client, order, reading


async def shown(client: Client, **changes: Any) -> Any:
    """A task that was created, as every answer shows it: they agree, whatever the shape."""
    created = (await client.create(order(**changes))).json["tasks"][0]
    task = await client.get(f"/tasks/{created['id']}")
    listed = (await client.get("/platform/tasks"))["tasks"]
    assert task in listed
    assert created == task
    return task


def holds(holder: Any, name: str, *, missing: Any = "missing") -> Any:
    """What stands under a name, or that nothing does."""
    return holder.get(name, missing)


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


@pytest.mark.parametrize(
    ("value", "name", "odd"),
    [
        ("none", "platform_id", "another"),
        ("numbers", "platform_id", 17),
        ("texts", "is_urgent", "some"),
        ("lists", "epod", [{"id": 1}]),
        ("objects", "attachments", {"first": {"name": "Rope"}}),
        ("windows", "to_time_window", {"start_time_utc": None, "end_time_utc": ""}),
        ("times", "updated_at", 1_767_225_600),
    ],
)
async def test_misfits(value: str, name: str, odd: Any) -> None:
    """Some fields of a task are of another type than the document's, in every answer."""
    async with reading(misfits=value) as client:
        task = await shown(client)
        assert (task[name] == odd) is (value != "none")
        assert isinstance(task["id"], str)


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
        assert tuple(holds(task, name) for name in names) == BLANK[value]
        assert (task["price"], task["is_urgent"]) == (0, False)
        city = {"usual": "missing", "null": None, "empty": "", "absent": "missing"}[value]
        assert holds(task["from_address"], "city") == city
        assert task["from_address"]["latitude"] == 1.30
        full = await shown(client, group_tag="G")
        assert (full["group_tag"], full["items"]) == ("G", order()["items"])
        organization = (await client.call("POST", "/platform/organizations", {"business_name": "ABC"})).json
        code = {"usual": "", "null": None, "empty": "", "absent": "missing"}[value]
        assert holds(organization["organization"], "squad_code") == code


@pytest.mark.parametrize(
    ("value", "time", "total"),
    [("told", "2026-01-01T00:00:00Z", 1), ("null", None, None), ("absent", "missing", "missing")],
)
async def test_envelope(value: str, time: Any, total: Any) -> None:
    """The service's time and the number of tasks are there, null, or not there."""
    async with reading(envelope=value) as client:
        answer = (await client.create(order(), path=DRAFTS)).json
        (task,) = answer["tasks"]
        assert [holds(each, "server_time") for each in (answer, task)] == [time, time]
        assert holds(answer, "total_tasks") == total
        ids = {"task_ids": [task["id"]]}
        assert holds((await client.call("POST", f"{DRAFTS}/broadcast", ids)).json, "server_time") == time
        assert task["updated_at"] == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("value", "steps"),
    [
        ("steps", [{"status": "broadcasting", "updated_at": "2026-01-01T00:00:00Z"}]),
        ("bare", [{"status": "broadcasting", "updated_at": None}]),
        ("empty", []),
        ("null", None),
        ("absent", "missing"),
    ],
)
async def test_status_history(value: str, steps: Any) -> None:
    """A task's steps are shown with their times or without, are none, null, or not there."""
    async with reading(status_history=value) as client:
        assert holds(await shown(client), "statuses") == steps


@pytest.mark.parametrize("value", [False, True])
async def test_unknown_statuses(value: bool) -> None:
    """A task that is broadcast shows a status that nobody knows, and a step before its first; a draft stays one."""
    async with reading(unknown_statuses=value) as client:
        task = await shown(client)
        assert task["current_status"] == (UNKNOWN_STATUS if value else "broadcasting")
        assert [step["status"] for step in task["statuses"]] == [*(["received"] if value else []), "broadcasting"]
        (draft,) = await client.draft(order())
        assert await client.status(draft) == "pending_broadcast"


@pytest.mark.parametrize("value", ["empty", "filled", "lists"])
async def test_unnamed_objects(value: str) -> None:
    """Objects that the document does not describe hold nothing, something, or are lists; what was written is kept."""
    async with reading(unnamed_objects=value) as client:
        task = await shown(client)
        for name in ("org_transporter", "vehicle_emissions", "client", "epod"):
            assert bool(task[name]) == (value != "empty")
            assert isinstance(task[name], list) == (value == "lists")
        if value == "filled":
            assert task["client"]["id"] == 4
        assert (await shown(client, epod={"required": True}))["epod"] == {"required": True}


@pytest.mark.parametrize(("value", "kind"), [("texts", str), ("numbers", int)])
async def test_references(value: str, kind: type) -> None:
    """The ids of organization, group and driver are texts or whole numbers; a task's own id is a text."""
    async with reading(references=value) as client:
        task_id = (await shown(client))["id"]
        client.simulator.move(task_id, "accepted")
        task = await client.get(f"/tasks/{task_id}")
        ids = (task["org_id"], task["task_creation_group"], task["driver"]["id"])
        assert [type(each) for each in ids] == [kind] * 3
        assert task["id"] == task_id


@pytest.mark.parametrize(
    ("value", "kinds"),
    [("empty", []), ("objects", [dict, dict]), ("links", [str]), ("ids", [int, int]), ("null", None)],
)
async def test_attachments(value: str, kinds: list[type] | None) -> None:
    """Attachments are none, objects, texts or numbers, or null."""
    async with reading(attachments=value) as client:
        found = (await shown(client))["attachments"]
        assert (found if found is None else [type(each) for each in found]) == kinds


@pytest.mark.parametrize(("value", "kind"), [("given", int), ("decimal", float), ("text", str)])
async def test_measures(value: str, kind: type) -> None:
    """Whole measures are written as they came, with a decimal point or as text; money and counts never are."""
    async with reading(measures=value) as client:
        task = await shown(client, total_item_weight=12)
        assert [float(each) for each in (task["total_item_weight"], task["items"][0]["quantity"])] == [12, 2]
        measured = (task["distance_in_meters"], task["total_item_weight"], task["items"][0]["quantity"])
        assert [type(each) for each in measured] == [kind] * 3
        assert [type(task[name]) for name in ("price", "cargo_net_quantity")] == [int, int]


@pytest.mark.parametrize("value", ["none", "tasks", "everywhere"])
async def test_more_fields(value: str) -> None:
    """Fields that nobody knows stand nowhere, in tasks alone, or in every object; no task is added by them."""
    async with reading(more_fields=value, draft_tasks="map") as client:
        task = await shown(client)
        places = [task, task["from_address"], task["from_time_window"], task["items"][0], task["statuses"][0]]
        places += [(await client.get("/platform/organizations"))["meta"]]
        assert ["x_object" in place for place in places] == [value != "none", *[value == "everywhere"] * 5]
        (draft,) = (await client.create(order(), path=DRAFTS)).json["tasks"].values()
        assert ("x_object" in draft) == (value != "none")


@pytest.mark.parametrize("value", SWITCHES["quote_fields"].values)
async def test_quote_fields(value: str) -> None:
    """A price has all its fields, null or a list for most, or nothing but the fee and its currency."""
    stops = [{"latitude": 1.3, "longitude": 103.7}, {"latitude": 1.31, "longitude": 103.8}]
    async with reading(quote_fields=value) as client:
        quote = (await client.call("POST", "/prices/recommendation", {"stops": stops})).json
        assert quote["total_fee"] > 0
        if value == "absent":
            assert set(quote) == {"total_fee", "total_fee_currency"}
        else:
            odd = {"null": None, "list": [1]}.get(value, ...)
            assert [quote[name] == odd for name in ("average_fee", "distance")] == [value != "all"] * 2
            assert quote["code"].lower() == "success"


@pytest.mark.parametrize("value", SWITCHES["sso_user"].values)
async def test_sso_user(value: str) -> None:
    """Who signed in is named, with roles as texts or as objects, or is empty, a list, null, or not there."""
    async with reading(sso_user=value) as client:
        body = {"session_id": client.simulator.new_session("platform")}
        user = holds((await client.call("POST", "/platform/sso/token", body)).json, "user")
        if value in ("names", "objects"):
            assert user["email"] == "platform@example.com"
            assert user["roles"] == (["OrgAdmin"] if value == "names" else [{"id": 1, "name": "OrgAdmin"}])
        else:
            assert user == {"empty": {}, "list": [1], "null": None, "absent": "missing"}[value]


@pytest.mark.parametrize(
    ("value", "meta"),
    [
        ("told", {"page": 1, "per_page": 200, "total": 0}),
        ("empty", {}),
        ("list", [1]),
        ("null", None),
        ("absent", "missing"),
    ],
)
async def test_meta(value: str, meta: Any) -> None:
    """A list says which page it is, nothing of it, what nobody reads, null, or has no meta."""
    async with reading(meta=value) as client:
        for path in ("/platform/tasks", "/platform/organizations"):
            assert holds(await client.get(path), "meta") == meta


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
