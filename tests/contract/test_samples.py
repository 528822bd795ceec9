"""Every JSON sample of the document: read as the class of its operation, typed, and written back equal.

``samples.json`` holds the samples as the page shows them: it folds nearly every nested object and list to an empty one,
also those that cannot be empty. They are read as they are, and filled: `FOLDED` says with what.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gotsurge_async import Address, Contact, Money, Order, Task, codec
from gotsurge_async.api.endpoints import ENDPOINTS
from gotsurge_async.models.base import OpenEnum
from gotsurge_async.models.platform import TaskEvent
from gotsurge_async.models.tasks import TaskChanges, TaskFields

from .test_operations import at

SAMPLES: dict[tuple[str, str], Any] = {
    (each["operation"], each["part"]): each["sample"]
    for each in msgspec.json.decode(Path(__file__).with_name("samples.json").read_bytes())
}
WEBHOOK = "webhook"
DRAFTS = ("platform.drafts.create", "answer")

MOMENT = "2019-08-24T14:15:22Z"
THEN = datetime(2019, 8, 24, 14, 15, 22, tzinfo=UTC)
ID = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
WINDOW = {"start_time_utc": MOMENT, "end_time_utc": MOMENT}
ASSIGNMENT = {"id": ID, "tracking_id": "TRACK01XXX56789"}
ORGANIZATION = {"id": ID, "business_name": "ABC Merchant"}
FOLDED: dict[str, Any] = {
    "from_time_window": WINDOW,
    "to_time_window": WINDOW,
    "items": [{"name": "string", "quantity": 1}],
    "cargo_details": [{"name": "string", "weight": 12.5, "weight_unit": "kg"}],
    "attachments": [{"url": "string"}, "string"],
    "statuses": [{"status": "pending_broadcast", "updated_at": MOMENT}],
    "stops": [{"latitude": 1.3, "longitude": 103.7}, {"address": {"city": "Singapore"}}],
    "organization": ORGANIZATION,
    "organizations": [ORGANIZATION],
    "roles": [{"id": ID, "name": "OrgAdmin"}],
    "task_ids": [ID],
}
"""What stands in the place of what the page folds, by the name of the field; all else stays as it is shown."""


def filled(sample: dict[str, Any]) -> dict[str, Any]:
    """A sample of fields, with what is folded in it filled."""
    return {name: FOLDED[name] if not value and name in FOLDED else value for name, value in sample.items()}


DETAIL = filled(SAMPLES["tasks.get", "answer"])
CHANGES = filled(SAMPLES["platform.tasks.update", "request"])
ORDER = {name: value for name, value in CHANGES.items() if name != "version_rev"}
"""A task as it is written: the document shows its fields only in the section "Update Task"."""
TASKS: dict[tuple[str, str], Any] = {
    ("tasks.create", "request"): [ORDER, ORDER],
    ("tasks.create", "answer"): [DETAIL, DETAIL],
    ("platform.tasks.create", "request"): [ORDER],
    ("platform.tasks.create", "answer"): [DETAIL],
    ("platform.tasks.list", "answer"): [DETAIL],
    ("platform.drafts.create", "request"): [ORDER],
    DRAFTS: {ID: DETAIL},
    ("platform.drafts.broadcast_with_tracking", "request"): [ASSIGNMENT],
    ("platform.tasks.patch_tracking_ids", "request"): [ASSIGNMENT],
}
"""What ``tasks`` holds where the page folds it."""


def content_of(key: tuple[str, str]) -> dict[str, Any]:
    """A sample as it is read here."""
    content = filled(SAMPLES[key])
    if "tasks" in content:
        content["tasks"] = TASKS[key]
    if "updated_tasks" in content:
        content["updated_tasks"] = [DETAIL]
    if key == ("platform.users.invite", "request"):
        content["user"] = {"emails": ["string"], "org_id": ID, "role_id": ID}
    return content


def class_of(operation: str, part: str) -> Any:
    """The class that stands for a sample in this package."""
    if operation == WEBHOOK:
        return TaskEvent
    endpoint = ENDPOINTS[operation]
    cls: Any = endpoint.request if part == "request" else endpoint.response
    return TaskFields if cls is TaskChanges else cls


SGD_1_20 = Money.of("1.20", "SGD")
TASK = {
    "id": ID,
    "server_time": THEN,
    "tracking_id": "TRACK01XXX56789",
    "group_tag": "GTRACK0123XXXX89",
    "invoice_number": "INV0012XXXXX01",
    "from_address": Address(),
    "from_time_window.end_time_utc": THEN,
    "to_contact": Contact(),
    "distance_in_meters": 7357,
    "pickup_note_to_driver": "Please pickup at 2pm",
    "is_urgent": True,
    "price": SGD_1_20,
    "currency": "SGD",
    "items.0.quantity": 1,
    "cargo_net_quantity": 4,
    "broadcast_preference": "squad",
    "client_timezone": "Asia/Singapore",
    "attachments.1": "string",
    "org_transporter": {},
    "driver.name": None,
    "current_status": "pending_broadcast",
    "statuses.0.updated_at": THEN,
    "vehicle_preference": "ltl",
    "vehicle_emissions_type": "ev",
    "client": {},
    "updated_at": THEN,
    "epod": {},
    "version_rev": None,
    "extra": {},
}
WRITTEN = {
    "from_contact": Contact(),
    "officer_contact": Contact(),
    "broadcast_preference": "marine",
    "price": SGD_1_20,
    "min_price": Money.of("5.00", "SGD"),
    "max_price": Money.of("15.00", "SGD"),
    "increment": Money.of("1.00", "SGD"),
    "admin_fee": Money.of("0.20", "SGD"),
    "cargo_details.0.weight_unit": "kg",
    "total_item_weight": 0,
    "total_item_quantity": 1,
    "total_quantity_unit": "lift",
    "client_time_utc": THEN,
    "service_type": "ftl",
    "epod": {},
}


def below(place: str, expected: dict[str, Any]) -> dict[str, Any]:
    """What is expected of an object that stands in another."""
    return {f"{place}.{path}": value for path, value in expected.items()}


UPDATED = {"updated_tasks.0.id": ID, "updated_tasks.0.current_status": "pending_broadcast", "server_time": THEN}
TYPED: dict[tuple[str, str], dict[str, Any]] = {
    ("partner.detail", "answer"): {"id": "string", "secret_key": "string", "created_at": THEN, "updated_at": THEN},
    ("auth.exchange", "request"): {"client_key": "string", "secret_key": "string", "code": "string"},
    ("auth.exchange", "answer"): {"bearer_token": "string", "refresh_token": "string", "server_time": THEN},
    ("auth.refresh", "request"): {"client_key": "string", "refresh_token": "string"},
    ("auth.refresh", "answer"): {"bearer_token": "string", "refresh_token": None, "server_time": None},
    ("tasks.create", "request"): below("tasks.1", WRITTEN),
    ("tasks.create", "answer"): {**below("tasks.1", TASK), "server_time": THEN, "total_tasks": None},
    ("tasks.get", "answer"): TASK,
    ("tasks.cancel", "request"): {"reason": "Wrong information"},
    ("tasks.cancel", "answer"): {"message": "Successfully cancel the task"},
    ("prices.recommend", "request"): {"service_type": "car", "stops.0.latitude": 1.3},
    ("prices.recommend", "answer"): {
        "average_fee": Money.of("20.00", "SGD"),
        "code": "success",
        "distance": {},
        "total_fee": Money.of("20.00", "SGD"),
        "total_waypoint": 1,
        "partial": False,
    },
    (WEBHOOK, "request"): {"type": "update", "model_name": "Task", "data": {}, "updates": {}, "timestamp": THEN},
    ("platform.sso.exchange", "request"): {"session_id": ID},
    ("platform.sso.exchange", "answer"): {"bearer_token": "string", "refresh_token": "string", "user.email": None},
    ("platform.organizations.create", "request"): {"business_name": "ABC Merchant"},
    ("platform.organizations.create", "answer"): below("organization", ORGANIZATION),
    ("platform.organizations.list", "answer"): {**below("organizations.0", ORGANIZATION), "meta.total": None},
    ("platform.organizations.get", "answer"): below("organization", ORGANIZATION),
    ("platform.organizations.roles", "answer"): {"roles.0.id": ID, "roles.0.name": "OrgAdmin"},
    ("platform.users.invite", "request"): {"user.emails": ("string",), "user.org_id": ID, "user.role_id": ID},
    ("platform.users.invite", "answer"): {"message": "string"},
    ("platform.tasks.create", "request"): below("tasks.0", WRITTEN),
    ("platform.tasks.create", "answer"): {**below("tasks.0", TASK), "server_time": THEN, "total_tasks": 1},
    ("platform.tasks.list", "answer"): {**below("tasks.0", TASK), "meta.page": None},
    ("platform.tasks.get", "answer"): TASK,
    ("platform.tasks.update", "request"): {**WRITTEN, "extra": {"version_rev": "0-xxxxxxxx"}},
    ("platform.tasks.update", "answer"): TASK,
    ("platform.drafts.create", "request"): below("tasks.0", WRITTEN),
    DRAFTS: {**below("tasks.0", TASK), "server_time": THEN, "total_tasks": 1},
    ("platform.drafts.broadcast", "request"): {"task_ids": (ID,)},
    ("platform.drafts.broadcast", "answer"): UPDATED,
    ("platform.drafts.broadcast_with_tracking", "request"): below("tasks.0", ASSIGNMENT),
    ("platform.drafts.broadcast_with_tracking", "answer"): UPDATED,
    ("platform.tasks.patch_tracking_ids", "request"): below("tasks.0", ASSIGNMENT),
    ("platform.tasks.patch_tracking_ids", "answer"): UPDATED,
}
"""What stands where in each sample, once it is read."""
EVERY_SAMPLE = pytest.mark.parametrize("key", TYPED, ids="-".join)


def test_no_sample_is_missing() -> None:
    """Every sample has its row; every operation has one, or is a read without a body whose answer has."""
    assert sorted(TYPED) == sorted(SAMPLES)
    assert {operation for operation, _ in SAMPLES} == {*ENDPOINTS, WEBHOOK}
    shown = {operation for operation, part in SAMPLES if part == "request"}
    assert shown == {WEBHOOK, *(name for name, endpoint in ENDPOINTS.items() if endpoint.request is not None)}
    assert {operation for operation, part in SAMPLES if part == "answer"} == set(ENDPOINTS)


@EVERY_SAMPLE
def test_a_sample_is_read_and_typed(key: tuple[str, str]) -> None:
    """Each field is found under its name, in its type."""
    read = codec.decode(msgspec.json.encode(content_of(key)), class_of(*key))
    assert {path: at(read, path) for path in TYPED[key]} == TYPED[key]


@EVERY_SAMPLE
def test_a_sample_is_written_back_equal(key: tuple[str, str]) -> None:
    """What is written of it holds every field as it came, and no other; filled, and with unknown fields, as well."""
    unknown: dict[str, Any] = {"a_field_of_tomorrow": {"x": [1, None, {}]}, "another": None}
    reader = codec.Codec()
    for sample in (SAMPLES[key], content_of(key)):
        for more in ({}, unknown):
            content = {**sample, **more}
            read = reader.decode(msgspec.json.encode(content), class_of(*key))
            if key == DRAFTS and content["tasks"]:  # an object here, a list in every other answer: read as a list
                content["tasks"] = list(content["tasks"].values())
            assert json.dumps(msgspec.json.decode(codec.encode(read)), sort_keys=True) == json.dumps(
                content, sort_keys=True
            )
            assert not codec.unreadable(read)


def test_the_enumerations_of_a_sample_are_known() -> None:
    """No value of the samples is one that the enumerations do not list."""
    task = codec.decode(msgspec.json.encode(DETAIL), Task)
    order = codec.decode(msgspec.json.encode(ORDER), Order)
    values = [getattr(task, name) for name in ("broadcast_preference", "vehicle_preference", "current_status")]
    values += [getattr(order, name) for name in ("broadcast_preference", "vehicle_preference", "service_type")]
    values += [task.statuses[0].status]
    assert all(isinstance(value, OpenEnum) and value.known for value in values)
