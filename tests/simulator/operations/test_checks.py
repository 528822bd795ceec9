from typing import Any

import pytest

from ..kit import Client, order

WINDOW = {"start_time_utc": "2026-01-02T02:00:00Z", "end_time_utc": "2026-01-02T04:00:00Z"}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("cargo_net_quantity", "4", "Expected `int`, got `str`"),
        ("cargo_net_quantity", 4.0, "Expected `int`, got `float`"),
        ("cargo_net_quantity", True, "Expected `int`, got `bool`"),
        ("cargo_net_quantity", -1, "Expected `int` >= 0"),
        ("tracking_id", 7, "Expected `str`, got `int`"),
        ("tracking_id", None, "Expected `str`, got `null`"),
        ("price", "500000", "Expected `int`, got `str`"),
        ("price", 500000.0, "Expected `int`, got `float`"),
        ("currency", "sgd", "Expected `str` matching regex '^([A-Z]{3})?$'"),
        ("items", {"name": "Rope"}, "Expected `array`, got `object`"),
        ("total_item_weight", "12", "Expected `float`, got `str`"),
        ("service_type", "FTL", "Invalid enum value 'FTL'"),
        ("vehicle_preference", "bicycle", "Invalid enum value 'bicycle'"),
        ("broadcast_preference", "everyone", "Invalid enum value 'everyone'"),
        ("client_time_utc", "2026-01-01T00:00:00", "Expected `datetime` with a timezone component"),
        ("client_time_utc", 1767225600, "Expected `datetime`, got `int`"),
        ("from_address", "1 Pioneer Rd", "Expected `object`, got `str`"),
    ],
)
async def test_a_wrong_value_is_refused(plain: Client, field: str, value: Any, message: str) -> None:
    """A value of the wrong type or out of its range is refused with row, field and message."""
    answer = await plain.create(order("A"), order(**{field: value}))
    assert answer.status == 422
    assert answer.json["errors"] == [{"index": 1, "field": field, "message": message}]
    assert plain.simulator.audit()["tasks"] == 0


@pytest.mark.parametrize(
    ("field", "value", "path"),
    [
        ("from_address", {"latitude": "1.3"}, "from_address.latitude"),
        ("to_address", {"longitude": 181}, "to_address.longitude"),
        ("from_time_window", {"start_time_utc": "2026-01-02T02:00:00Z"}, "from_time_window"),
        ("to_time_window", {**WINDOW, "end_time_utc": "soon"}, "to_time_window.end_time_utc"),
        ("to_contact", {"vessel_imo": "9074729"}, "to_contact.vessel_imo"),
        ("to_contact", {"vessel_imo": 907472}, "to_contact.vessel_imo"),
        ("items", [{"name": "Rope"}, {"name": 5}], "items[1].name"),
    ],
)
async def test_a_wrong_value_inside_is_named_by_its_path(plain: Client, field: str, value: Any, path: str) -> None:
    """A wrong value inside an object is named by its path from the task."""
    answer = await plain.create(order(**{field: value}))
    assert [error["field"] for error in answer.json["errors"]] == [path]


@pytest.mark.parametrize(
    "field",
    [
        "from_address",
        "from_time_window",
        "to_address",
        "broadcast_preference",
        "client_time_utc",
        "vehicle_preference",
        "service_type",
    ],
)
async def test_a_required_field_cannot_be_missing(plain: Client, field: str) -> None:
    """A task without a required field is refused."""
    answer = await plain.create(order(**{field: ...}))
    assert answer.status == 422
    assert answer.json["errors"] == [{"index": 0, "field": field, "message": "is required"}]


async def test_every_wrong_field_is_named(plain: Client) -> None:
    """A refusal names every field that is wrong, of every task."""
    answer = await plain.create(order(price="1", currency=5), order(), order(service_type="x"))
    named = [(error["index"], error["field"]) for error in answer.json["errors"]]
    assert named == [(0, "price"), (0, "currency"), (2, "service_type")]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"price": 199_999}, "price"),
        ({"currency": ...}, "currency"),
        ({"price": 199_999, "currency": ""}, "price"),
        ({"from_time_window": {**WINDOW, "end_time_utc": "2026-01-02T01:00:00Z"}}, "from_time_window.start_time_utc"),
        (
            {"from_time_window": {**WINDOW, "end_time_utc": "2026-01-02T13:00:00+06:00"}},
            "from_time_window.end_time_utc",
        ),
        (
            {"to_time_window": {"start_time_utc": "2026-01-02T08:00:00Z", "end_time_utc": "2026-01-02T07:00:00Z"}},
            "to_time_window.start_time_utc",
        ),
    ],
)
async def test_fields_must_agree(plain: Client, changes: dict[str, Any], path: str) -> None:
    """Money below the minimum or without a currency, and windows out of order, are refused."""
    answer = await plain.create(order(**changes))
    assert answer.status == 422
    assert [error["field"] for error in answer.json["errors"]] == [path]


@pytest.mark.parametrize(
    "changes",
    [
        {"price": 200_000},
        {"price": ..., "currency": ...},
        {"to_time_window": ...},
        {"from_time_window": {**WINDOW, "start_time_utc": "2026-01-02T04:00:00Z"}},
        {"from_time_window": {**WINDOW, "end_time_utc": "2026-01-02T05:00:00Z"}},
        {"a_field_of_tomorrow": {"x": [1]}},
        {"total_item_weight": 12},
    ],
)
async def test_what_the_document_allows_is_taken(plain: Client, changes: dict[str, Any]) -> None:
    """The edges of what is allowed, and fields that nobody knows, are taken."""
    answer = await plain.create(order(**changes))
    assert answer.status == 200


@pytest.mark.parametrize("path", ["/tasks", "/platform/tasks", "/platform/tasks/drafts"])
async def test_an_empty_currency_sets_the_price_to_0(platform: Client, path: str) -> None:
    """A create whose currency is "" is taken, at a price of 0, in its answer and whenever it is read."""
    answer = await platform.create(order(currency="", min_price=300_000), order(), path=path)
    assert answer.status == 200
    task, other = answer.json["tasks"]
    assert (task["price"], task["currency"], task["min_price"]) == (0, "", 300_000)
    assert (other["price"], other["currency"]) == (500_000, "SGD")
    read = await platform.get(f"/tasks/{task['id']}")
    assert (read["price"], read["items"]) == (0, order()["items"])


@pytest.mark.parametrize("count", [0, 21])
async def test_a_batch_has_one_to_twenty_tasks(plain: Client, count: int) -> None:
    """A batch of no tasks or of more than 20 is refused."""
    answer = await plain.create(*[order(str(number)) for number in range(count)])
    assert answer.status == 422
    assert answer.json["errors"][0]["field"] == "tasks"
    assert plain.simulator.audit()["tasks"] == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"tasks=1", 400),
        (b"[]", 422),
        (b'{"tasks": {}}', 422),
        (b"{}", 422),
        (b'{"tasks": [1]}', 422),
        (b'{"tasks": [{"tracking_id": "\xff"}]}', 422),
    ],
)
async def test_a_body_that_is_no_batch_is_refused(plain: Client, body: bytes, status: int) -> None:
    """A body that is no JSON, or JSON of another shape, is refused."""
    answer = await plain.call("POST", "/tasks", body)
    assert answer.status == status
    assert answer.json["message"]
