import pytest

from ..kit import Client, order

READ_FIELDS = {
    "server_time", "id", "tracking_id", "invoice_number", "from_address", "from_time_window", "from_contact",
    "to_address", "to_time_window", "to_contact", "distance_in_meters", "is_urgent", "price", "currency", "items",
    "cargo_net_quantity", "task_creation_group", "broadcast_preference", "client_time_utc", "client_timezone",
    "attachments", "org_transporter", "driver", "current_status", "statuses", "org_id", "platform_id",
    "vehicle_preference", "vehicle_emissions_type", "vehicle_emissions", "client", "updated_at", "epod",
}  # fmt: skip


async def test_a_create_answers_the_tasks_in_order(plain: Client) -> None:
    """A create answers every task with its id, broadcasting, in the order sent, and the server's time."""
    answer = await plain.create(order("A"), order("B"), order("A"))
    tasks = answer.json["tasks"]
    assert answer.json["server_time"] == "2026-01-01T00:00:00Z"
    assert [task["tracking_id"] for task in tasks] == ["A", "B", "A"]
    assert {task["current_status"] for task in tasks} == {"broadcasting"}
    assert len({task["id"] for task in tasks}) == 3
    assert len({task["task_creation_group"] for task in tasks}) == 1


async def test_a_read_shows_all_fields_of_the_document(plain: Client) -> None:
    """A task as read has every field of the document's sample, what was written, and what nobody knows."""
    sent = order(a_field_of_tomorrow={"x": [1, None]})
    created = (await plain.create(sent)).json["tasks"][0]
    read = (await plain.call("GET", f"/tasks/{created['id']}")).json
    assert set(read) >= READ_FIELDS
    assert {name: read[name] for name in sent} == sent
    assert read == created


async def test_what_the_service_decides_cannot_be_written(plain: Client) -> None:
    """Fields that are the service's own are not taken from the order."""
    sent = order(id="mine", current_status="complete", statuses=[], server_time="x")
    created = (await plain.create(sent)).json["tasks"][0]
    assert created["id"] != "mine"
    assert created["current_status"] == "broadcasting"
    assert [entry["status"] for entry in created["statuses"]] == ["broadcasting"]


async def test_the_distance_is_measured_where_it_can_be(plain: Client) -> None:
    """The distance is in metres on the road, and 0 where a place has no coordinates."""
    answer = await plain.create(order(), order(to_address={"street_address": "Pier"}))
    measured, unknown = (task["distance_in_meters"] for task in answer.json["tasks"])
    assert 22_000 < measured < 25_000
    assert unknown == 0


async def test_a_stranger_does_not_see_a_task(plain: Client) -> None:
    """A task is not found by another account, nor cancelled by it."""
    task_id = (await plain.create(order())).json["tasks"][0]["id"]
    stranger = await Client(plain.session, plain.simulator).sign_in("platform")
    assert (await stranger.call("GET", f"/tasks/{task_id}")).status == 404
    assert (await stranger.call("POST", f"/tasks/{task_id}/cancel", {"reason": "x"})).status == 404
    assert (await plain.call("GET", f"/tasks/{task_id}")).json["current_status"] == "broadcasting"


async def test_a_cancel_cancels_once(plain: Client) -> None:
    """A broadcasting task can be cancelled, and a cancelled one cannot."""
    task_id = (await plain.create(order())).json["tasks"][0]["id"]
    answer = await plain.call("POST", f"/tasks/{task_id}/cancel", {"reason": "Wrong information"})
    assert (answer.status, answer.json) == (200, {"message": "Successfully cancel the task"})
    read = (await plain.call("GET", f"/tasks/{task_id}")).json
    assert read["current_status"] == "cancelled"
    assert [entry["status"] for entry in read["statuses"]] == ["broadcasting", "cancelled"]
    again = await plain.call("POST", f"/tasks/{task_id}/cancel", {"reason": "Wrong information"})
    assert again.status == 409
    assert "cancelled" in again.json["message"]


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": 5}, {"reason": None}, {"reason": "  "}])
async def test_a_cancel_needs_a_reason(plain: Client, body: dict[str, object]) -> None:
    """A cancel without a reason is refused and leaves the task alone."""
    task_id = (await plain.create(order())).json["tasks"][0]["id"]
    assert (await plain.call("POST", f"/tasks/{task_id}/cancel", body)).status == 422
    assert (await plain.call("GET", f"/tasks/{task_id}")).json["current_status"] == "broadcasting"
