"""The tasks that a ledger has recorded, in memory."""

import json
from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import pytest

from gotsurge_async.ledger.sql.recorded import RecordedTasks

if TYPE_CHECKING:
    from gotsurge_async.database import Database

    Numbers = array[int]
else:  # Python 3.11 knows no array of something
    Numbers = array


class Bucket(Numbers):
    """An array that is not to be walked."""

    def __iter__(self) -> Iterator[int]:
        raise AssertionError("the whole bucket was walked")


class Changed:
    """A database whose only chunk has some tasks that changed lately."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def rows(self, name: str, **_: Any) -> list[tuple[Any, ...]]:
        return [(0, 1)] if name == "last_chunk" else [(1, json.dumps(self.ids))]


@pytest.mark.parametrize("number", [0, 1, 20])
def test_reading_again_walks_none_of_the_tasks_that_are_known(number: int) -> None:
    """It costs what is new, however many the ledger has: it is done inside the transaction that records an answer."""
    tasks, changed = RecordedTasks(), Changed()
    db = cast("Database", changed)
    old, new = [f"old-{each}" for each in range(5_000)], [f"new-{each}" for each in range(number)]
    changed.ids = old
    tasks.read(db, "local", 1)
    tasks._of["local"] = [Bucket("q", bucket.tobytes()) for bucket in tasks._of["local"]]
    changed.ids = old[:50] + new
    tasks.read(db, "local", 2)
    assert all(tasks.has("local", task) for task in old + new)
    assert tasks.are_new("local", [f"other-{each}" for each in range(100)])
    assert sum(map(len, tasks._of["local"])) == len(old) + number


def test_many_new_tasks_of_one_reading_are_all_known() -> None:
    """Whether they are put into their places one by one, or their bucket is made anew."""
    tasks, changed = RecordedTasks(), Changed()
    for first in range(0, 100_000, 50_000):
        changed.ids = [f"task-{each}" for each in range(first, first + 50_000)]
        tasks.read(cast("Database", changed), "local", 1)
    assert all(tasks.has("local", f"task-{each}") for each in range(100_000))
