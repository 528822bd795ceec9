"""What an audit notes of tasks, and compares."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from gotsurge_async import codec
from gotsurge_async.after.audit_notes import MISSING, Notes, Seen, facts_of, other_pickup, seen_of
from gotsurge_async.models.answers import Task
from gotsurge_async.models.tasks import TaskFields

SENT: dict[str, Any] = {
    "tracking_id": "T-1",
    "invoice_number": "INV-1",
    "price": 500_000,
    "currency": "SGD",
    "from_time_window": {"start_time_utc": "2026-01-02T00:00:00Z", "end_time_utc": "2026-01-02T02:00:00Z"},
    "from_address": {"street_address": "1 Pioneer  Rd", "zip_code": "628498", "latitude": 1.3},
}
LIKE_IT: dict[str, Any] = {
    "price": "500000",
    "from_time_window": {"start_time_utc": "2026-01-02T08:00:00.250+08:00", "end_time_utc": "2026-01-02T02:00:00Z"},
    "from_address": {"street_address": "1 PIONEER RD ", "zip_code": 628498, "latitude": 1.31},
    "to_address": {"street_address": "elsewhere"},
}


def task(**changes: object) -> Task:
    """A task as the service shows it."""
    return codec.decode(msgspec.json.encode({"id": "1", "current_status": "accepted", **SENT, **changes}), Task)


def differing(seen: Task) -> set[str]:
    """In what a task differs from what was sent."""
    sent, shown = facts_of(codec.parse(msgspec.json.encode(SENT), TaskFields)), facts_of(seen)
    return {name for name, value in sent.items() if shown.get(name, value) != value}


def test_another_way_of_writing_is_no_difference() -> None:
    """Zones, fractions of seconds, capitals and spaces, and what is not shown or was not sent."""
    assert differing(task(**LIKE_IT)) == set()
    assert differing(task(**dict.fromkeys(SENT, None))) == set()
    assert differing(task(price=500_000, currency="")) == set()


@pytest.mark.parametrize(
    ("name", "value", "fact"),
    [
        ("tracking_id", "T-2", "tracking_id"),
        ("invoice_number", "INV-2", "invoice_number"),
        ("price", 500_001, "price"),
        ("currency", "USD", "currency"),
        ("from_address", {"street_address": "2 Pioneer Rd"}, "from_address.street_address"),
        ("from_address", {"zip_code": "1"}, "from_address.zip_code"),
        ("from_time_window", dict(SENT["from_time_window"], end_time_utc="2026-01-02T03:00:00Z"), "from_time_window"),
    ],
)
def test_what_is_another_thing_differs(name: str, value: object, fact: str) -> None:
    """Each field that is compared."""
    assert differing(task(**{name: value})) == {fact}


@pytest.mark.parametrize(
    ("status", "live"),
    [("draft", False), ("Cancelled", False), ("expired", False), ("complete", True), ("new word", True), (None, False)],
)
def test_which_tasks_are_live(status: str | None, live: bool) -> None:
    """Those that drivers see, have, or had; a status that nobody knows may be one of these."""
    assert seen_of(task(current_status=status)).live == live


def test_a_tracking_id_may_have_been_used_before() -> None:
    """Two tasks with different pickups are two orders; one that does not show its pickup may be either."""
    other = dict(SENT["from_time_window"], start_time_utc="2026-01-01T00:00:00Z")
    assert other_pickup(seen_of(task()), seen_of(task(from_time_window=other)))
    assert not other_pickup(seen_of(task()), seen_of(task(from_time_window=None)))


def test_reads_are_counted(tmp_path: Path) -> None:
    """Over several audits; a page of the list changes nothing of a task that was read by its id."""
    notes = Notes(tmp_path / "a" / "notes.db", 60)
    assert notes.keep({"1": Seen(problem=MISSING)})["1"].reads == 1
    notes.close(ended=False)
    notes = Notes(tmp_path / "a" / "notes.db", 60)
    notes.keep_page("me", 7, {"1": seen_of(task(), listed=True), "2": seen_of(task(), listed=True)}, whole=False)
    assert notes.page_reached("me") == (7, False)
    assert notes.page_reached("you") == (1, False)
    assert notes.keep({"1": seen_of(task())})["1"].reads == 2
    assert {task_id: each.reads for task_id, each in notes.seen(["1", "2", "3"]).items()} == {"1": 2, "2": 0}
    notes.close(ended=True)
    assert not list((tmp_path / "a").iterdir())
