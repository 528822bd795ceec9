"""`gotsurge_async.codec.shapes`: what the document leaves open, and what it does not name."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from gotsurge_async import codec
from gotsurge_async.models.auth import PartnerDetail
from gotsurge_async.models.places import TimeWindow
from gotsurge_async.models.platform import UpdatedTasks
from gotsurge_async.models.tasks import (
    CreatedTasks,
    Task,
    TaskStatus,
)
from gotsurge_async.money import Money
from tests.kit import NOW


@pytest.mark.parametrize(
    ("tasks", "ids"),
    [
        ([{"id": "a"}, {"id": "b"}], ["a", "b"]),
        ({"a": {"tracking_id": "A"}, "b": {"id": "b"}}, ["a", "b"]),
        ({"id": "a", "tracking_id": "A"}, ["a"]),
        ({"id": {"tracking_id": "A"}}, ["id"]),
        ({}, []),
        ([], []),
        (None, []),
    ],
)
def test_created_tasks_come_as_list_map_or_one(tasks: Any, ids: list[str]) -> None:
    """`tasks` is read from a list, an object keyed by id, or one task, in full and as receipts."""
    body = msgspec.json.encode({"tasks": tasks, "server_time": "2026-01-01T00:00:00Z"})
    assert [task.id for task in codec.decode(body, CreatedTasks).tasks] == ids
    if tasks is not None:
        assert [receipt.id for receipt in codec.decode_receipts(body)] == ids


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-01T08:00:00+08:00", NOW),
        ("2026-01-01T00:00:00Z", NOW),
        ("2026-01-01T00:00:00.000000Z", NOW),
        ("2026-01-01T00:00:00", NOW),
        ("2026-01-01 00:00:00Z", NOW),
        ("2025-12-31T14:30:00.25-09:30", NOW.replace(microsecond=250_000)),
        ("2026-01-01T00:00:00.123456789Z", NOW.replace(microsecond=123_457)),
    ],
)
def test_times_are_read_in_any_zone_and_kept_in_utc(text: str, moment: datetime) -> None:
    """An offset is applied, a fraction kept to the microsecond, and a time without a zone taken for UTC."""
    body = msgspec.json.encode({"id": "a", "server_time": text, "statuses": [{"status": "x", "updated_at": text}]})
    task = codec.decode(body, Task)
    window = codec.decode(msgspec.json.encode({"start_time_utc": text, "end_time_utc": text}), TimeWindow)
    times = [task.server_time, task.statuses[0].updated_at, window.start_time_utc, window.end_time_utc]
    assert times == [moment] * 4
    assert all(time is not None and time.tzinfo is UTC for time in times)


@pytest.mark.parametrize(
    ("fields", "revision"),
    [
        ({"version_rev": "0-a"}, "0-a"),
        ({"_rev": "0-b"}, "0-b"),
        ({"rev": "0-c"}, "0-c"),
        ({"version_rev": "0-a", "_rev": "0-b"}, "0-a"),
        ({"version_rev": None, "_rev": "0-b"}, "0-b"),
        ({"_rev": 5}, None),
        ({}, None),
    ],
)
def test_a_revision_is_read_under_any_of_its_names(fields: dict[str, Any], revision: str | None) -> None:
    """`version_rev`, `_rev` and `rev` are one field, in this order; what is no text is kept as an unknown field."""
    task = codec.decode(msgspec.json.encode({"id": "a", **fields}), Task)
    assert task.version_rev == revision
    assert ("_rev" in task.extra) == (fields.get("_rev") not in (None, revision))


def test_updated_tasks_may_be_ids() -> None:
    """`updated_tasks` is read from ids and from objects, mixed too."""
    updated = codec.decode(b'{"updated_tasks":["a",{"id":"b","tracking_id":"B"}]}', UpdatedTasks).updated_tasks
    assert [(task.id, task.tracking_id) for task in updated] == [("a", None), ("b", "B")]


def test_null_lists_are_read_as_none() -> None:
    """A list that comes as null is an empty one."""
    task = codec.decode(b'{"id":"a","items":null,"statuses":null,"attachments":null}', Task)
    assert (task.items, task.statuses, task.attachments) == ((), (), ())


def test_an_unknown_status_is_kept_as_text() -> None:
    """A value that the document does not list is kept, equals its text, and is written back."""
    task = codec.decode(b'{"id":"a","current_status":"lost_at_sea"}', Task)
    assert task.current_status == "lost_at_sea"
    assert isinstance(task.current_status, TaskStatus)
    assert not task.current_status.known
    assert not task.current_status.is_terminal
    assert codec.encode(task) == b'{"id":"a","current_status":"lost_at_sea"}'


def test_unknown_fields_are_kept_and_written_back() -> None:
    """What a class does not name stays where it was, also under the name of the place where it is kept."""
    body = b'{"id":"a","extra":{"id":1},"new":[1,null],"driver":{"name":"Ng","extra":null,"rank":2}}'
    task = codec.decode(body, Task)
    assert task.extra == {"extra": {"id": 1}, "new": [1, None]}
    assert task.driver is not None
    assert task.driver.extra == {"extra": None, "rank": 2}
    assert json.loads(codec.encode(task)) == json.loads(body)


@pytest.mark.parametrize("tree", [{"id": "a"}, {"id": "a", "driver": {"rank": 1}}], ids=["fast", "general"])
def test_unknown_fields_stand_in_one_order(tree: dict[str, Any]) -> None:
    """However they came, and whatever the hashes of this process, they are kept in the order of their names."""
    names = [f"new_{number}" for number in range(8)]
    for given in (names, names[::-1]):
        body = msgspec.json.encode(tree | dict.fromkeys(given, 1))
        for _ in range(2):
            assert list(codec.decode(body, Task).extra) == names


def test_money_takes_the_currency_beside_it() -> None:
    """Amounts are read in the task's currency; without one they keep none."""
    task = codec.decode(b'{"id":"a","price":200000,"min_price":150000,"currency":"SGD"}', Task)
    assert (task.price, task.min_price) == (Money.of(2, "SGD"), Money.of("1.50", "SGD"))
    bare = codec.decode(b'{"id":"a","price":200000,"currency":""}', Task)
    assert bare.price == Money(millicents=200_000, currency="")
    odd = codec.decode(b'{"id":"a","price":200000,"currency":"s$"}', Task)
    assert odd.price is not None
    assert odd.price.currency == "s$"


def test_secrets_are_in_no_repr() -> None:
    """An answer's secret key is read and written, and shows in no repr."""
    detail = codec.decode(b'{"id":"p","secret_key":"planted"}', PartnerDetail)
    assert detail.secret_key == "planted"
    assert "planted" not in repr(detail)
