"""What is read when the service does not know a task, or does not show it."""

from pathlib import Path

import pytest

from gotsurge_async.simulator import Fault
from gotsurge_async.webhooks import lanes as lanes_module
from gotsurge_async.webhooks import reads
from gotsurge_async.webhooks.inbox import EventState
from tests.support.orders import order
from tests.support.threads import eventually
from tests.webhooks.follow_kit import followed, follower
from tests.webhooks.test_follow import all_done


async def test_a_task_that_is_not_found_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its event waits, and it is asked for again by itself, less and less often, until it is there."""
    monkeypatch.setattr(reads, "PAUSES", (0.05, 0.1))
    async with followed(tmp_path) as kit:
        (task_id,) = await kit.create(order("T-0"))
        kit.here.simulator.order_fault(Fault(operation="tasks.get", when="before", kind="status", status=404, times=2))
        await kit.event(task_id)
        await kit.until(lambda: kit.statuses(task_id) == ["broadcasting"])
        assert kit.reads() == 3


async def test_an_event_of_a_task_that_was_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often an id was not found, forged or early, a new event makes us ask for it again after a pause."""
    monkeypatch.setattr(reads, "PAUSES", (0.05,))
    async with followed(tmp_path) as kit:
        (task_id,) = await kit.create(order("T-0"))
        kit.here.simulator.order_fault(Fault(operation="tasks.get", when="before", kind="status", status=404))
        await kit.event(task_id)
        await all_done(kit)
        assert kit.reads() == 2
        kit.here.simulator.clear_faults()
        await kit.event(task_id)
        await kit.until(lambda: kit.statuses(task_id) == ["broadcasting"])


async def test_ids_that_are_asked_for_again_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forged ids neither fill memory nor hold up what the book does not know yet."""
    monkeypatch.setattr(reads, "PAUSES", (3600.0,))
    monkeypatch.setattr(reads, "MOST_ABSENT", 3)
    async with followed(tmp_path, following=False) as kit, follower(kit) as following:
        for number in range(10):
            for _ in range(30):
                await kit.event(f"99999999-0000-4000-8000-{number:012}")

        (task_id,) = await kit.create(order("T-0"))
        await kit.event(task_id)
        await kit.until(lambda: kit.statuses(task_id) == ["broadcasting"])

        async def few_are_held() -> bool:
            return len(following.reads._held) <= 3 * lanes_module.MOST_EVENTS

        await eventually(few_are_held)
        assert kit.reads() <= 20


def test_what_comes_while_it_is_read_is_bounded_too() -> None:
    """Of an id that was not found no more events are kept while it is being asked for again."""
    lanes, key = lanes_module.Lanes(), ("platform", "99999999-0000-4000-8000-000000000000")
    assert lanes.add_absent(key, 0, until=5.0)
    reading = lanes.take(5.0, turn=0)
    assert reading is not None
    kept = [lanes.add_absent(key, number, until=9.0) for number in range(30)]
    assert kept == [True] * lanes_module.MOST_EVENTS + [False] * 10
    lanes.put_off(reading, 9.0)
    assert len(reading.events) == 1 + lanes_module.MOST_EVENTS


@pytest.mark.slow
@pytest.mark.parametrize(("status", "times", "dead"), [(403, 1, 1), (422, 2, 0), (410, 3, 1)])
async def test_a_task_that_may_not_be_read(tmp_path: Path, status: int, times: int, dead: int) -> None:
    """An event whose task GotSurge refuses to show is dead, and kept; what may pass is tried again before."""
    async with followed(tmp_path) as kit:
        (task_id,) = await kit.create(order("T-0"))
        kit.here.simulator.order_fault(
            Fault(operation="tasks.get", when="before", kind="status", status=status, times=times)
        )
        await kit.event(task_id)
        await all_done(kit)
        assert (await kit.inbox.counts())[EventState.DEAD] == dead
        assert kit.reads() == times + (not dead)
