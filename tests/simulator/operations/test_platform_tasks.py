from typing import Any

import pytest

from ..kit import Answer, Client, order

OTHER_ID = "00000000-0000-4000-8000-000000000000"


async def create(client: Client, *orders: Any) -> list[Any]:
    answer = await client.create(*orders, path="/platform/tasks")
    assert answer.status == 200, answer.body
    tasks: list[Any] = answer.json["tasks"]
    return tasks


async def update(client: Client, task: Any, **changes: Any) -> Answer:
    body = {"version_rev": task["version_rev"], **changes}
    return await client.call("PATCH", f"/platform/tasks/{task['id']}", body)


async def test_tasks_come_in_pages_in_either_order(platform: Client) -> None:
    """Pages hold the oldest first, or the newest first when asked."""
    await create(platform, *[order(str(number)) for number in range(7)])

    async def page(query: str) -> list[str]:
        return [task["tracking_id"] for task in (await platform.get(f"/platform/tasks?{query}"))["tasks"]]

    assert await page("page=1&per_page=3") == ["0", "1", "2"]
    assert await page("page=3&per_page=3&order=asc") == ["6"]
    assert await page("page=1&per_page=3&order=desc") == ["6", "5", "4"]
    assert await page("page=3&per_page=3&order=desc") == ["0"]
    assert await page("page=4&per_page=3&order=desc") == []
    assert await page("") == ["0", "1", "2", "3", "4", "5", "6"]


@pytest.mark.parametrize("query", ["page=0", "page=-1", "page=x", "page=1.5", "per_page=0", "per_page=", "order=up"])
async def test_a_page_that_cannot_be_is_refused(platform: Client, query: str) -> None:
    """Pages count from 1, and order is asc or desc."""
    answer = await platform.call("GET", f"/platform/tasks?{query}")
    assert answer.status == 422
    assert answer.json["errors"][0]["field"] == query.split("=")[0]


async def test_a_list_shows_tasks_as_a_read_does(platform: Client) -> None:
    """A task in a list is the task as its detail shows it, and a stranger's tasks are not in it."""
    stranger = await Client(platform.session, platform.simulator).sign_in("plain")
    await stranger.create(order())
    (task,) = await create(platform, order())
    listed = await platform.get("/platform/tasks")
    assert task["platform_id"] == platform.simulator.accounts["platform"].org_id
    assert listed["tasks"] == [await platform.get(f"/platform/tasks/{task['id']}")]
    assert listed["meta"] == {"page": 1, "per_page": 200, "total": 1}


async def test_an_update_changes_what_is_given(platform: Client) -> None:
    """What is given is changed, null clears, the rest stays, and the revision is another one."""
    (task,) = await create(platform, order(note_of_tomorrow="x"))
    platform.simulator.advance(60)
    address = {"street_address": "Elsewhere", "latitude": 1.31, "longitude": 103.71}
    answer = await update(platform, task, to_address=address, group_tag="G", invoice_number=None)
    assert answer.status == 200
    changed = answer.json
    assert changed == await platform.get(f"/platform/tasks/{task['id']}")
    assert changed["to_address"] == address
    assert changed["group_tag"] == "G"
    assert "invoice_number" not in changed
    assert changed["note_of_tomorrow"] == "x"
    assert changed["distance_in_meters"] < task["distance_in_meters"]
    assert changed["version_rev"] != task["version_rev"]
    assert changed["updated_at"] == "2026-01-01T00:01:00Z"


async def test_a_stale_revision_is_refused(platform: Client) -> None:
    """Every change makes the revisions before it stale, be it an update or another status."""
    (task,) = await create(platform, order())
    second = (await update(platform, task, group_tag="1")).json
    stale = await update(platform, task, group_tag="2")
    assert (stale.status, stale.json["error"]) == (409, "version_conflict")
    platform.simulator.move(task["id"], "accepted")
    assert (await update(platform, second, group_tag="2")).status == 409
    newest = await platform.get(f"/platform/tasks/{task['id']}")
    assert newest["group_tag"] == "1"
    assert (await update(platform, newest, group_tag="2")).status == 200


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"items": []}, "items"),
        ({"attachments": []}, "attachments"),
        ({"driver": {}}, "driver"),
        ({"current_status": "complete"}, "current_status"),
        ({"id": OTHER_ID}, "id"),
        ({"from_address": None}, "from_address"),
        ({"price": -1}, "price"),
        ({"currency": None}, "currency"),
        ({"price": "500000"}, "price"),
        (
            {"to_time_window": {"start_time_utc": "2026-01-02T03:00:00Z", "end_time_utc": "2026-01-02T07:00:00Z"}},
            "from_time_window.end_time_utc",
        ),
        ({"org_id": OTHER_ID}, "org_id"),
    ],
)
async def test_an_update_that_must_not_be_is_refused(platform: Client, changes: dict[str, Any], field: str) -> None:
    """What the document disallows, and what would make the task a wrong one, is refused, and nothing is changed."""
    (task,) = await create(platform, order())
    answer = await update(platform, task, group_tag="G", **changes)
    assert answer.status == 422
    assert [error["field"] for error in answer.json["errors"]] == [field]
    assert await platform.get(f"/platform/tasks/{task['id']}") == task


async def test_an_update_may_name_the_items_as_they_are(platform: Client) -> None:
    """The document's own sample of an update names items: as they stand they are no change, otherwise refused."""
    (task,) = await create(platform, order())
    same = await update(platform, task, items=task["items"], group_tag="G")
    assert (same.status, same.json["items"], same.json["group_tag"]) == (200, task["items"], "G")
    other = await update(platform, same.json, items=[{**task["items"][0], "quantity": 3}])
    assert [error["field"] for error in other.json["errors"]] == ["items"]
    (bare,) = await create(platform, order(items=...))
    assert (await update(platform, bare, items=[])).status == 200


@pytest.mark.parametrize("amount", [0, 120_000, 199_999])
async def test_an_update_takes_any_price_from_0(platform: Client, amount: int) -> None:
    """The least price is a rule of the create: an update takes less, such as the 120000 of the document's sample."""
    (task,) = await create(platform, order())
    changed = await update(platform, task, price=amount, currency="SGD")
    assert (changed.status, changed.json["price"]) == (200, amount)
    again = await update(platform, changed.json, group_tag="G")
    assert (again.status, again.json["price"]) == (200, amount)


@pytest.mark.parametrize("changes", [{"currency": ""}, {"currency": "", "price": 700_000}])
async def test_an_update_without_a_currency_sets_the_price_to_0(platform: Client, changes: dict[str, Any]) -> None:
    """An empty currency makes the price 0, be it the task's own or one that the update names, and there it stays."""
    (task,) = await create(platform, order())
    answer = await update(platform, task, **changes)
    assert (answer.status, answer.json["price"], answer.json["currency"]) == (200, 0, "")
    assert (await platform.get(f"/platform/tasks/{task['id']}"))["price"] == 0
    again = await update(platform, answer.json, group_tag="G", currency="SGD")
    assert (again.json["price"], again.json["currency"]) == (0, "SGD")


async def test_an_update_changes_the_proof_of_delivery(platform: Client) -> None:
    """epod is a field of an update: it is kept as it is given, null clears it, and the task is not completed by it."""
    (task,) = await create(platform, order())
    changed = await update(platform, task, epod={"photos": ["1.jpg"], "required": True})
    assert (changed.status, changed.json["epod"]) == (200, {"photos": ["1.jpg"], "required": True})
    assert changed.json["current_status"] == task["current_status"]
    cleared = await update(platform, changed.json, epod=None)
    assert (cleared.status, cleared.json["epod"]) == (200, {})


@pytest.mark.parametrize("body", [{}, {"version_rev": 1}, {"version_rev": None}, []])
async def test_an_update_needs_a_revision(platform: Client, body: Any) -> None:
    """An update without version_rev is refused."""
    (task,) = await create(platform, order())
    assert (await platform.call("PATCH", f"/platform/tasks/{task['id']}", body)).status == 422


async def test_what_has_ended_is_not_updated(platform: Client) -> None:
    """A cancelled task is not updated any more."""
    (task,) = await create(platform, order())
    platform.simulator.move(task["id"], "cancelled")
    newest = await platform.get(f"/platform/tasks/{task['id']}")
    answer = await update(platform, newest, group_tag="G")
    assert (answer.status, answer.json["error"]) == (422, "not_updatable")


async def test_a_strangers_task_is_not_found(platform: Client) -> None:
    """Another account's task can be neither read nor updated."""
    stranger = await Client(platform.session, platform.simulator).sign_in("plain")
    task = (await stranger.create(order())).json["tasks"][0]
    assert (await platform.call("GET", f"/platform/tasks/{task['id']}")).status == 404
    assert (await update(platform, task, group_tag="G")).status == 404
