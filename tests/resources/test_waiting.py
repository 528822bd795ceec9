"""`gs.tasks.wait`: until a task is where it should be, by the clock that is passed in."""

import asyncio
from itertools import pairwise

import pytest

from gotsurge_async import Task, TaskStatus, UsageError
from gotsurge_async.models.answers import StatusEntry
from gotsurge_async.resources.tasks import Until, wait_for
from gotsurge_async.testing import ManualClock, simulated
from tests.support.orders import order


class Life:
    """A task that goes a step with each read."""

    def __init__(self, clock: ManualClock, *statuses: str, before: tuple[str, ...] = ()) -> None:
        self.clock = clock
        self.at: list[float] = []
        self._statuses = statuses
        self._before = tuple(StatusEntry(status=TaskStatus(status)) for status in before)

    async def read(self, task_id: str) -> Task:
        status = self._statuses[min(len(self.at), len(self._statuses) - 1)]
        self.at.append(self.clock.monotonic())
        return Task(id=task_id, current_status=TaskStatus(status), statuses=self._before)


async def waited(life: Life, until: Until = None, timeout: float | None = None) -> Task:
    waiting = asyncio.create_task(wait_for(life.read, "T", until, timeout, life.clock))
    await life.clock.advance(3600)
    return await waiting


@pytest.mark.parametrize(
    ("until", "ends"),
    [
        (None, "complete"),
        ("accepted", "accepted"),
        (TaskStatus.ACCEPTED, "accepted"),
        ("ACCEPTED", "accepted"),
        (("pending_pickup", "accepted"), "accepted"),
        (lambda task: task.current_status == "pending_pickup", "pending_pickup"),
        ("expired", "complete"),
    ],
)
async def test_until_it_is_there(until: Until, ends: str) -> None:
    """A status, one of several, what a function says, or the end, which ends every wait."""
    life = Life(ManualClock(), "broadcasting", "accepted", "pending_pickup", "complete")
    assert (await waited(life, until)).current_status == ends


async def test_a_status_that_was_passed_through_counts() -> None:
    """It stands in the history alone, since before the wait or since the last read."""
    life = Life(ManualClock(), "pending_pickup", before=("broadcasting", "accepted"))
    assert (await waited(life, "accepted")).current_status == "pending_pickup"
    assert life.at == [0.0]


async def test_an_unknown_status_is_refused_at_once() -> None:
    """With the one that was meant, after one read; but not where the task itself is in it."""
    life = Life(ManualClock(), "broadcasting")
    with pytest.raises(UsageError, match="'acepted' is not one of GotSurge's statuses; did you mean accepted"):
        await wait_for(life.read, "T", ("acepted", "complete"), None, life.clock)
    with pytest.raises(UsageError, match="statuses: draft, pending_broadcast, "):
        await wait_for(life.read, "T", "zzz", None, life.clock)
    assert life.at == [0.0, 0.0]
    assert (await waited(Life(ManualClock(), "moored"), "moored")).current_status == "moored"


async def test_it_is_read_less_and_less_often() -> None:
    """The pauses grow, to half a minute."""
    life = Life(ManualClock(), *["broadcasting"] * 20, "complete")
    await waited(life)
    pauses = [later - sooner for sooner, later in pairwise(life.at)]
    assert pauses[:3] == [1.0, 1.5, 2.25]
    assert max(pauses) == 30.0


async def test_time_is_up() -> None:
    """After the time it is read once more, and the error shows its status."""
    life = Life(ManualClock(), "broadcasting")
    with pytest.raises(TimeoutError, match="task T is broadcasting after 2 seconds"):
        await waited(life, timeout=2.0)
    assert life.at == [0.0, 1.0, 2.0]


async def test_no_time_is_none() -> None:
    """Nothing is read for less than nothing."""
    life = Life(ManualClock(), "broadcasting")
    with pytest.raises(UsageError):
        await wait_for(life.read, "T", None, 0, life.clock)
    assert life.at == []


@pytest.mark.parametrize("account", ["plain", "platform"])
async def test_both_accounts_wait(account: str) -> None:
    """It is a method of both kinds of tasks."""
    async with simulated(account) as gs:
        (task,) = (await gs.tasks.create([order("T-0")])).tasks
        tasks = gs.tasks if account == "plain" else gs.platform.tasks
        assert (await tasks.wait(task.id, until="broadcasting")).id == task.id
