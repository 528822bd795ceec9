"""Each switch does what it says: `test_NAME` shows every value of the switch NAME, or a table in test_shapes.py."""

import base64
import re
from typing import Any

import msgspec
import pytest

from gotsurge_async.simulator import SWITCHES, Fault, SimulatorOptions

from . import test_shapes
from .kit import DRAFTS, START, Answer, Client, order, reading
from .receiver import receiving


def tracking_ids(answer: Answer) -> list[Any]:
    return [task.get("tracking_id") for task in answer.json["tasks"]]


async def patch(client: Client, task_id: str, tracking_id: str) -> Answer:
    body = {"tasks": [{"id": task_id, "tracking_id": tracking_id}]}
    return await client.call("PATCH", "/platform/tasks/tracking-ids", body)


async def broadcast(client: Client, *ids: str) -> Answer:
    return await client.call("POST", f"{DRAFTS}/broadcast", {"task_ids": list(ids)})


def test_every_switch_has_a_test() -> None:
    """No switch is without a test of its name, here or among the shapes."""
    tests = {**globals(), **vars(test_shapes)}
    assert [name for name in SWITCHES if f"test_{name}" not in tests and name not in test_shapes.TABLE] == []


def test_the_defaults_are_the_first_values() -> None:
    """The options as they come are the first value of every switch, and every value is taken."""
    options = SimulatorOptions()
    for name, switch in SWITCHES.items():
        assert getattr(options, name) == switch.default
        assert switch.meaning
        for value in switch.values:
            assert getattr(SimulatorOptions.from_mapping({name: value}), name) == value


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dates": "julian"}, "'julian' is not one of 'z', 'offset', 'fraction', 'naive'"),
        ({"drafts_listed": 1}, "1 is not one of True, False"),
        ({"created_status": True}, "True is not one of 200, 201"),
        ({"date": "z"}, "unknown option 'date'; the options are: create_rule,"),
        ({"body_limit": 0}, "'body_limit' must be >= 1"),
        ({"body_limit": "1"}, "'body_limit' must be"),
    ],
)
def test_a_wrong_value_is_refused(values: dict[str, Any], message: str) -> None:
    """An unknown switch or value is refused, and the allowed ones are named."""
    with pytest.raises(ValueError, match=re.escape(message)):
        SimulatorOptions.from_mapping(values)


@pytest.mark.parametrize(
    ("value", "status", "created"),
    [("all-or-nothing", 422, {}), ("partial", 200, {"A": 1, "C": 1}), ("partial-refused", 422, {"A": 1, "C": 1})],
)
async def test_create_rule(value: str, status: int, created: dict[str, int]) -> None:
    """A create with one bad row creates nothing, or the good rows, and its answer names the bad one."""
    async with reading(create_rule=value) as client:
        answer = await client.create(order("A"), order("B", price=1), order("C"))
        assert (answer.status, client.simulator.audit()["by_tracking_id"]) == (status, created)
        assert [error["index"] for error in answer.json["errors"]] == [1]
        if value == "partial":
            assert tracking_ids(answer) == ["A", "C"]


@pytest.mark.parametrize(("value", "names"), [("names", 4), ("task", 30), ("id", 1)])
async def test_webhook_data(value: str, names: int) -> None:
    """An event's `data` holds the names and the status of its task, the whole task as an answer shows it, or its id."""
    async with receiving() as receiver, reading(webhook_data=value, webhook_url=receiver.url) as client:
        (task,) = (await client.create(order("A"))).json["tasks"]
        await client.simulator.webhooks_settled()
        (event,) = receiver.got
        assert event["data"].items() <= {**task, "server_time": event["timestamp"]}.items()
        assert (event["data"]["id"], len(event["data"]) >= names) == (task["id"], True)


async def test_a_create_without_a_good_row_is_refused() -> None:
    """A partial create in which every row is bad is refused as any other."""
    async with reading(create_rule="partial") as client:
        assert (await client.create(order(price=1))).status == 422


@pytest.mark.parametrize("value", ["same", "shuffled"])
async def test_answer_order(value: str) -> None:
    """The answer has the order of the call, or the same tasks in another one."""
    names = [str(number) for number in range(20)]
    async with reading(answer_order=value) as client:
        for sent in (names, names[:2]):
            answered = tracking_ids(await client.create(*map(order, sent)))
            assert sorted(answered) == sorted(sent)
            assert (answered == sent) == (value == "same")


@pytest.mark.parametrize("value", ["no", "tasks", "drafts-too"])
async def test_tracking_id_unique(value: str) -> None:
    """A tracking id in use by a task, or by a draft as well, is refused wherever one is written."""
    taken, drafts_taken = value != "no", value == "drafts-too"
    async with reading(tracking_id_unique=value) as client:
        await client.create(order("A"))
        await client.draft(order("D"))
        (other,) = await client.draft(order("E"))
        assert (await client.create(order("B"), order("A"))).status == (422 if taken else 200)
        assert (await client.create(order("C"), order("C"))).status == (422 if taken else 200)
        assert (await client.create(order(...), order(...))).status == 200
        assert (await client.create(order("D"), path=DRAFTS)).status == (422 if drafts_taken else 200)
        assert (await patch(client, other, "A")).status == (422 if taken else 200)
        assert (await patch(client, other, "D")).status == (422 if drafts_taken else 200)


@pytest.mark.parametrize("value", ["list", "map", "single"])
async def test_draft_tasks(value: str) -> None:
    """The tasks of a draft create are a list, an object keyed by id, or the task itself where it is one."""
    async with reading(draft_tasks=value) as client:
        one = (await client.create(order("A"), path=DRAFTS)).json
        two = (await client.create(order("A"), order("B"), path=DRAFTS)).json
        assert (one["total_tasks"], two["total_tasks"]) == (1, 2)
        if value == "map":
            assert [task["id"] for task in one["tasks"].values()] == list(one["tasks"])
            assert [task["tracking_id"] for task in two["tasks"].values()] == ["A", "B"]
        else:
            assert [task["tracking_id"] for task in two["tasks"]] == ["A", "B"]
            assert (one["tasks"] if value == "single" else one["tasks"][0])["tracking_id"] == "A"


@pytest.mark.parametrize("value", [True, False])
async def test_drafts_listed(value: bool) -> None:
    """Task List shows drafts, or a task from its broadcast on."""
    async with reading(drafts_listed=value) as client:
        (draft,) = await client.draft(order("A"))
        await client.create(order("B"), path="/platform/tasks")
        listed = await client.call("GET", "/platform/tasks")
        assert tracking_ids(listed) == (["A", "B"] if value else ["B"])
        await broadcast(client, draft)
        listed = await client.call("GET", "/platform/tasks")
        assert sorted(tracking_ids(listed)) == ["A", "B"]


@pytest.mark.parametrize(
    ("value", "status", "updated"), [("refused", 409, None), ("skipped", 200, 1), ("passes", 200, 2)]
)
async def test_rebroadcast(value: str, status: int, updated: int | None) -> None:
    """A broadcast that names a task which is no draft is refused, leaves it out, or lists it; it never acts twice."""
    async with reading(rebroadcast=value) as client:
        done, draft = await client.draft(order("A"), order("B"))
        await broadcast(client, done)
        answer = await broadcast(client, done, draft)
        assert answer.status == status
        if updated is None:
            assert (answer.json["error"], answer.json["errors"][0]["index"]) == ("not_a_draft", 0)
            assert await client.status(draft) == "pending_broadcast"
        else:
            assert len(answer.json["updated_tasks"]) == updated
        pairs = [{"id": done, "tracking_id": "X"}]
        again = await client.call("POST", f"{DRAFTS}/broadcast-with-tracking", {"tasks": pairs})
        assert again.status == status
        assert client.simulator.audit()["by_tracking_id"] == {"A": 1, **({"B": 1} if status == 200 else {})}


@pytest.mark.parametrize("value", SWITCHES["updated_tasks"].values)
async def test_updated_tasks(value: str) -> None:
    """A broadcast and a patch answer whole tasks, ids, objects that name one, or nothing; they act all the same."""
    async with reading(updated_tasks=value) as client:
        (task_id,) = await client.draft(order())
        for answer in (await broadcast(client, task_id), await patch(client, task_id, "X")):
            updated = answer.json["updated_tasks"]
            if value == "tasks":
                assert updated[0]["current_status"] == "broadcasting"
            else:
                assert updated == {"ids": [task_id], "objects": [{"id": task_id}], "nothing": []}[value]
        assert client.simulator.audit()["by_tracking_id"] == {"X": 1}


ROW = {"index": 1, "field": "price", "message": "Enter a minimum price from SGD 2.00 (Format: 200000)"}
TEXT = f"tasks[1].price: {ROW['message']}"
SHAPES: dict[str, Any] = {
    "errors": {"error": "invalid", "message": ROW["message"], "errors": [ROW]},
    "message": {"message": TEXT},
    "error-string": {"error": TEXT},
    "error-object": {"error": {"code": "invalid", "message": ROW["message"], "details": [ROW]}},
    "problem": {"type": "about:blank", "title": "invalid", "status": 422, "detail": TEXT},
    "list": [ROW],
}


@pytest.mark.parametrize("value", SWITCHES["error_shape"].values)
async def test_error_shape(value: str) -> None:
    """A refusal says the same in each of its shapes, except in the empty one."""
    async with reading(error_shape=value) as client:
        answer = await client.create(order(), order(price=1))
        assert answer.status == 422
        if value in SHAPES:
            assert answer.json == SHAPES[value]
            problem = value == "problem"
            assert answer.headers["Content-Type"] == ("application/problem+json" if problem else "application/json")
        else:
            text = answer.body.decode()
            assert text == {"text": TEXT, "html": text, "empty": ""}[value]
            assert (TEXT in text) == (value != "empty")
            assert ("text/html" in answer.headers.get("Content-Type", "")) == (value == "html")
        client.simulator.order_fault(Fault(kind="status", status=503))
        assert (await client.create(order())).status == 503


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("shape", SWITCHES["error_shape"].values)
async def test_refusal_names_rows(value: bool, shape: str) -> None:
    """A refusal names the rows and fields it is about, or does not."""
    async with reading(refusal_names_rows=value, error_shape=shape) as client:
        answer = await client.create(order(), order(price=1))
        assert answer.status == 422
        named = b"tasks[1].price" in answer.body or b'"index":1' in answer.body
        assert named == (value and shape != "empty")


@pytest.mark.parametrize(("value", "header"), [("seconds", "90"), ("date", "Thu, 01 Jan 2026 00:01:30 GMT")])
async def test_retry_after(value: str, header: str) -> None:
    """A Retry-After that is ordered in seconds is sent so, or as a date by the simulator's clock."""
    async with reading(retry_after=value) as client:
        client.simulator.order_fault(Fault(kind="status", status=429, headers={"retry-after": "90"}))
        answer = await client.create(order())
        assert answer.headers["Retry-After"] == header
        if value == "date":
            assert answer.headers["Date"] == "Thu, 01 Jan 2026 00:00:00 GMT"


TODAY = START + 86_400
"""The midnight of the day on which `kit.order()` is picked up, from 2 to 4 o'clock."""


@pytest.mark.parametrize(
    ("value", "refused", "taken"),
    [
        ("any", [], [TODAY - 1, TODAY, TODAY + 4 * 3600]),
        ("today", [TODAY - 1], [TODAY, TODAY + 4 * 3600]),
        ("past", [TODAY - 1, TODAY, TODAY + 4 * 3600 - 1], [TODAY + 4 * 3600, TODAY + 5 * 3600]),
    ],
)
async def test_pickup_end(value: str, refused: list[float], taken: list[float]) -> None:
    """A pickup may end at any time, on the day of the create and before, or at its moment and before."""
    for moment in (*refused, *taken):
        async with reading(pickup_end=value) as client:
            client.simulator.advance(moment - START)
            answer = await client.create(order())
            assert answer.status == (422 if moment in refused else 200)
            if moment in refused:
                (problem,) = answer.json["errors"]
                assert problem["field"] == "from_time_window.end_time_utc"
                assert problem["message"] == "The pickup start time must be earlier than the end time"


async def test_an_update_is_not_held_to_the_pickup_end() -> None:
    """When the pickup may end is a rule of the create: what was taken once can be updated on the day before."""
    async with reading(pickup_end="today") as client:
        client.simulator.advance(TODAY - START)
        task = (await client.create(order())).json["tasks"][0]
        later = {"start_time_utc": "2026-01-03T02:00:00Z", "end_time_utc": "2026-01-03T04:00:00Z"}
        body = {"version_rev": task["version_rev"], "from_time_window": later, "to_time_window": None}
        assert (await client.call("PATCH", f"/platform/tasks/{task['id']}", body)).status == 200


@pytest.mark.parametrize(("value", "status"), [("message", 200), ("empty", 204), ("object", 200), ("null", 200)])
async def test_cancel_answer(value: str, status: int) -> None:
    """A cancel answers a message, nothing at all, an object without one, or one that is null."""
    async with reading(cancel_answer=value) as client:
        task = (await client.create(order())).json["tasks"][0]
        answer = await client.call("POST", f"/tasks/{task['id']}/cancel", {"reason": "x"})
        assert answer.status == status
        bodies = {"message": b'{"message":"Successfully cancel the task"}', "empty": b"", "object": b"{}"}
        assert answer.body == bodies.get(value, b'{"message":null}')
        assert await client.status(task["id"]) == "cancelled"


@pytest.mark.parametrize(("value", "status"), [("status", 422), ("code", 200)])
async def test_price_failure(value: str, status: int) -> None:
    """A route without a price is refused, or answered with the code "error"."""
    async with reading(price_failure=value) as client:
        answer = await client.call("POST", "/prices/recommendation", {"service_type": "car", "stops": [{}, {}]})
        assert answer.status == status
        if value == "code":
            assert answer.json["code"] == "error"
            assert answer.json["total_fee"] == 0


async def test_a_fraction_is_that_of_the_clock() -> None:
    """The fraction of a second is the clock's."""
    async with reading(dates="fraction") as client:
        client.simulator.advance(0.5)
        assert (await client.create(order())).json["server_time"] == "2026-01-01T00:00:00.500000Z"


@pytest.mark.parametrize("value", SWITCHES["version_rev"].values)
async def test_version_rev(value: str) -> None:
    """The revision stands in a field of one of three names, in the ETag, or nowhere; an update takes it."""
    async with reading(version_rev=value) as client:
        task = (await client.create(order())).json["tasks"][0]
        read = await client.call("GET", f"/tasks/{task['id']}")
        shown = {name: read.json[name] for name in ("version_rev", "_rev", "rev") if name in read.json}
        if value == "etag":
            shown = {"etag": read.headers["ETag"].strip('"')}
        assert set(shown) == ({value} if value != "absent" else set())
        assert ("ETag" in read.headers) == (value == "etag")
        if shown:
            assert re.fullmatch(r"\d+-[0-9a-f]{8}", shown[value])
            body = {"version_rev": shown[value], "group_tag": "G"}
            assert (await client.call("PATCH", f"/platform/tasks/{task['id']}", body)).status == 200


@pytest.mark.parametrize("value", ["opaque", "jwt"])
async def test_tokens(value: str) -> None:
    """A bearer token tells nothing, or is a JWT that tells its end."""
    async with reading(tokens=value) as client:
        assert client.token.count(".") == (2 if value == "jwt" else 0)
        if value == "jwt":
            payload = client.token.split(".")[1]
            claims = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            assert claims["exp"] == START + 30 * 86400
        assert (await client.create(order())).status == 200


@pytest.mark.parametrize("value", [False, True])
async def test_refresh_rotation(value: bool) -> None:
    """A refresh token works again and again, or once, and then its successor does."""
    async with reading(refresh_rotation=value) as client:
        body = {"client_key": "platform-client-key", "refresh_token": client.refresh_token}
        first = (await client.call("POST", "/oauth2/refresh", body)).json
        assert ("refresh_token" in first) == value
        assert (await client.call("POST", "/oauth2/refresh", body)).status == (400 if value else 200)
        if value:
            body["refresh_token"] = first["refresh_token"]
            assert (await client.call("POST", "/oauth2/refresh", body)).status == 200
