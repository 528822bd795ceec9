"""What is read first while forged events wait: real orders that the book does not know yet."""

from collections.abc import Collection
from pathlib import Path

import pytest

from gotsurge_async.webhooks import lanes as lanes_module
from gotsurge_async.webhooks.event import EventState
from gotsurge_async.webhooks.lanes import MOST_OF_A_NAME, Lanes
from tests.webhooks.kit import event, put_all
from tests.webhooks.test_replicas import Reading, reading

REAL = 20
FEW, MANY = 500, 5000
"""How many unknown tasks are known of: as many as the package has, or few, so that a flood is soon there."""


@pytest.fixture(autouse=True)
def most_unknown(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The most unknown tasks of the test."""
    most = getattr(request, "param", FEW)
    monkeypatch.setattr(lanes_module, "MOST_UNKNOWN", most)
    return most


def forged(number: int) -> bytes:
    """An event of a task that does not exist, and of an order that nobody pushed."""
    return event(f"99999999-0000-4000-8000-{number:012}", tracking_id=f"F-{number}")


async def ours(_: str, names: Collection[str]) -> Collection[str]:
    """The orders of a ledger."""
    return [name for name in names if name.startswith("T-")]


async def flooded(here: Reading, number: int) -> None:
    """Forged events in the inbox, and among them one of each real order."""
    for task in range(REAL):
        here.service.moves[f"task-{task}"] = [0.0, 0.0]
    for start in range(0, number, number // REAL):
        await put_all(here.inbox, *map(forged, range(start, start + number // REAL)))
        task = start * REAL // number
        await here.inbox.put("default", event(f"task-{task}", "accepted", tracking_id=f"T-{task}"))


@pytest.mark.parametrize(
    ("number", "most_unknown"),
    [(600, FEW), pytest.param(100_000, MANY, marks=pytest.mark.slow)],
    ids=["few", "many"],
    indirect=["most_unknown"],
)
async def test_orders_that_are_known_by_name_go_first(tmp_path: Path, number: int, most_unknown: int) -> None:
    """Beside forged ids, each task of an order of the ledger is read within a minute: its event has the name."""
    async with reading(tmp_path, running=False) as here:
        here.inbox.is_ours = ours
        await flooded(here, number)
        async with here.running():
            await here.turn(55)
        real = [at for at, task_id in here.service.read_at if task_id.startswith("task-")]
        assert len(real) == REAL
        assert max(real) < 30
        assert len(here.service.read_at) > 2 * REAL  # the forged ones have their share, and no more
        assert len(here.service.read_at) <= 2 * 55 + 1
        assert (await here.inbox.counts())[EventState.DONE] >= REAL
        assert len(here.reads._held) <= most_unknown + REAL + 1000


async def test_the_newest_unknown_event_is_read_first(tmp_path: Path, most_unknown: int) -> None:
    """A real order that nobody knows, made by hand for instance, is read soon although more events wait than fit."""
    async with reading(tmp_path, running=False) as here:
        await put_all(here.inbox, *map(forged, range(most_unknown + 500)))
        async with here.running():
            await here.turn(5)
            here.service.moves["task-0"] = [0.0, 0.0]
            await here.inbox.put("default", event("task-0"))
            await here.turn(5)
            assert "task-0" in [task_id for _, task_id in here.service.read_at]
            assert len(here.reads._lanes.unknown) <= most_unknown


async def test_unknown_events_are_read_address_by_address(tmp_path: Path) -> None:
    """While one address floods, a real order that nobody knows is read soon if its event comes from another one."""
    async with reading(tmp_path, running=False) as here:
        here.service.moves["task-0"] = [0.0, 0.0]
        async with here.running():
            for number in range(20):
                first = number * 30
                await put_all(here.inbox, *map(forged, range(first, first + 15)), sender="198.51.100.1")
                await put_all(here.inbox, event("task-0"), sender="203.0.113.7")
                await put_all(here.inbox, *map(forged, range(first + 15, first + 30)), sender="198.51.100.1")
                await here.turn(0.5)
        assert "task-0" in [task_id for _, task_id in here.service.read_at]


def test_the_crowd_makes_room(most_unknown: int) -> None:
    """Where unknown tasks have no room in memory, one of the address that has most of them is removed."""
    lanes = Lanes()
    assert lanes.add_unknown(("default", "real"), 0, "203.0.113.7", newest=True) == []
    for number in range(1, most_unknown):
        assert lanes.add_unknown(("default", f"forged-{number}"), number, "198.51.100.1", newest=True) == []
    for number in range(1, 400):
        added = lanes.add_unknown(("default", f"more-{number}"), 9000 + number, "198.51.100.1", newest=True)
        assert added == [number]
    assert lanes.add_unknown(("default", "old"), 7, "198.51.100.2", newest=False) is None
    read = [lanes.take(0.0, 0) for _ in range(2)]
    assert [each and each.key[1] for each in read] == ["more-399", "real"]


async def test_a_name_puts_few_tasks_first(tmp_path: Path) -> None:
    """Who knows a tracking id cannot put any number of forged ids before the others."""
    async with reading(tmp_path, running=False, rate=0.001) as here:
        here.inbox.is_ours = ours
        for number in range(50):
            await here.inbox.put("default", event(f"99999999-0000-4000-8000-{number:012}", tracking_id="T-1"))
        async with here.running():
            await here.turn(3)
            assert len(here.reads._lanes.named) + len(here.reads._first_reads) <= MOST_OF_A_NAME + len(here.parts)
            assert len(here.reads._lanes.unknown) >= 50 - MOST_OF_A_NAME - len(here.parts)


def test_every_lane_has_turns() -> None:
    """However much waits in the other lanes, in sixteen turns each one is read."""
    lanes = Lanes()
    names = ("known", "named", "swept", "unknown", "again")
    for name in names:
        for number in range(100):
            lanes.add(("default", f"{name}-{number}"), getattr(lanes, name))
    read = [lanes.take(0.0, turn) for turn in range(16)]
    counts = [sum(each is not None and each.key[1].startswith(name) for each in read) for name in names]
    assert counts == [8, 4, 2, 1, 1]
