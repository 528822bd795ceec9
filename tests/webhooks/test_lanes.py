"""What is read first while forged events wait: real orders that the book does not know yet."""

import asyncio
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async.errors import Forbidden, GotSurgeError, OutcomeUnknown, Unauthorized
from gotsurge_async.models.answers import Task
from gotsurge_async.webhooks import lanes as lanes_module
from gotsurge_async.webhooks.event import EventState
from gotsurge_async.webhooks.lanes import MOST_OF_A_NAME, Lanes
from tests.webhooks.book.kit import task
from tests.webhooks.kit import event, put_all
from tests.webhooks.test_replicas import Reading, Service, reading

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
    for real in range(REAL):
        here.service.moves[f"task-{real}"] = [0.0, 0.0]
    for start in range(0, number, number // REAL):
        await put_all(here.inbox, *map(forged, range(start, start + number // REAL)))
        real = start * REAL // number
        await here.inbox.put("default", event(f"task-{real}", "accepted", tracking_id=f"T-{real}"))


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


def test_accounts_have_turns() -> None:
    """However many tasks of one account wait, those of another one are read in turn with them."""
    lanes = Lanes()
    for number in range(100):
        lanes.add(("many", f"T-{number}"), lanes.known)
    for number in range(3):
        lanes.add(("few", f"T-{number}"), lanes.known)
    read = [wanted.key for turn in range(6) if (wanted := lanes.take(0.0, turn * 2)) is not None]
    assert read == [(account, f"T-{number}") for number in range(3) for account in ("many", "few")]


def test_an_account_that_was_set_aside() -> None:
    """It is not read before its time, then one task at a time, and as the others once it was readmitted."""
    lanes = Lanes(most_of_account=3)
    for number in range(9):
        lanes.add(("default", f"T-{number}"), lanes.known)
    lanes.set_aside("default", 5.0)
    assert lanes.take(4.0, 0) is None
    assert not lanes.ready.is_set()
    assert lanes.next_due(4.0) == 1.0
    first = lanes.take(5.0, 0)
    assert first is not None
    assert lanes.take(5.0, 0) is None
    lanes.readmit("default")
    assert lanes.ready.is_set()
    assert [lanes.take(5.0, 0) is not None for _ in range(3)] == [True, True, False]
    lanes.done(first)
    assert lanes.take(5.0, 0) is not None


class SignedOut(Service):
    """A service to which the sign-in has ended."""

    async def call(self, endpoint: Any, *, before_send: Any = None, **_: Any) -> Task:
        """Refuse a call after a while."""
        await before_send()
        await self.clock.sleep(0.2)
        raise Unauthorized("sign in again", status=401)


async def test_an_account_that_cannot_be_read_holds_up_no_other(tmp_path: Path) -> None:
    """Its events and its tasks for the sweep take few turns, and the change of another account is known soon."""
    async with reading(tmp_path, running=False, others={"bad": SignedOut}) as here:
        here.service.moves["task-0"] = [0.0]
        await here.book.observe("default", task("task-0", None, "draft"))
        for number in range(200):
            await here.book.observe("bad", task(f"bad-{number}", None, "broadcasting"))
            await here.inbox.put("bad", event(f"bad-{number}", "accepted"))
        async with here.running():
            await here.turn(10)
            assert list(here.reads.troubles) == ["bad"]
            await here.inbox.put("default", event("task-0", "broadcasting"))
            await here.turn(2)
        assert [task_id for _, task_id in here.service.read_at] == ["task-0"]


async def test_the_sweep_reads_the_accounts_that_can_be_read(tmp_path: Path) -> None:
    """Thousands of older tasks of an account that cannot be read leave it room for the others."""
    async with reading(tmp_path, rate=20.0, running=False, others={"bad": SignedOut}) as here:
        here.service.moves["task-0"] = [0.0]
        long_ago = here.clock.now() - timedelta(days=9)
        for number in range(1200):
            await here.book.observe("bad", task(f"bad-{number}", None, "broadcasting"), at=long_ago)
        await here.book.observe("default", task("task-0", None, "draft"), at=long_ago + timedelta(days=1))
        sweep = asyncio.create_task(here.reads.sweep())
        async with here.running():
            await here.turn(70, step=1.0)
        sweep.cancel()
        assert [task_id for _, task_id in here.service.read_at] == ["task-0"]


class Refusing(Service):
    """A service that shows none of some tasks."""

    async def call(self, endpoint: Any, *, path: Any = None, before_send: Any = None, **more: Any) -> Task:
        """Answer a read, or refuse it."""
        refusals: dict[str, GotSurgeError] = {
            "broken": OutcomeUnknown("internal error", status=500),
            "hidden": Forbidden("not yours", status=403),
        }
        kind = path["task_id"].split("-")[0] if path else ""
        if kind in refusals:
            await before_send()
            raise refusals[kind]
        return await super().call(endpoint, path=path, before_send=before_send, **more)


@pytest.mark.parametrize(("kind", "number"), [("broken", 1), ("broken", 3), ("hidden", 300)])
async def test_tasks_that_are_never_shown_hold_up_no_sweep(tmp_path: Path, kind: str, number: int) -> None:
    """However overdue they are, and whatever has failed before, the account's other tasks are read at once."""
    async with reading(tmp_path, rate=20.0, running=False, others={"bad": Refusing}) as here:
        service = here.reads._accounts["bad"]
        assert isinstance(service, Refusing)
        long_ago = here.clock.now() - timedelta(days=9)
        for each in range(number):
            await here.book.observe("bad", task(f"{kind}-{each}", None, "broadcasting"), at=long_ago)
        for each in range(40):
            service.moves[f"task-{each}"] = [0.0, 0.0]
            await here.book.observe("bad", task(f"task-{each}", None, "broadcasting"), at=long_ago + timedelta(days=1))
        here.reads.troubles["bad"] = "no answer came"
        sweep = asyncio.create_task(here.reads.sweep())
        async with here.running():
            await here.turn(150, step=1.0)
        sweep.cancel()
        assert len({task_id for _, task_id in service.read_at}) == 40


async def test_one_task_that_fails_again_and_again_sets_no_account_aside(tmp_path: Path) -> None:
    """Its failures say nothing of the others: an event of another task is read at once."""
    async with reading(tmp_path, rate=20.0, running=False, others={"bad": Refusing}) as here:
        for name in ("broken-1", "hidden-1"):
            await here.book.observe("bad", task(name, None, "broadcasting"))
        here.reads.want("bad", ["broken-1"])
        async with here.running():
            await here.turn(120, step=1.0)
            assert not here.reads._lanes._aside
            assert list(here.reads.troubles) == ["bad"]
            here.reads.want("bad", ["hidden-1"])
            await here.turn(1)
            assert not here.reads.troubles  # that is an answer of the service
