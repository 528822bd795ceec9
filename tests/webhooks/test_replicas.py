"""Reads from replicas that are behind: an event is not done before its status was seen, or a minute has passed."""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
import pytest

from gotsurge_async.errors import NotFound
from gotsurge_async.models.answers import Task
from gotsurge_async.testing import ManualClock
from gotsurge_async.webhooks import reads as reads_module
from gotsurge_async.webhooks.book import Book
from gotsurge_async.webhooks.book.book import OTHER
from gotsurge_async.webhooks.event import EventState
from gotsurge_async.webhooks.inbox import Inbox
from gotsurge_async.webhooks.reads import Reads
from tests.support.threads import Threads
from tests.webhooks.book.kit import WAY, task
from tests.webhooks.kit import event


@attrs.define
class Service:
    """A service whose tasks move, and that answers from a replica which is some seconds behind."""

    clock: ManualClock
    lag: Callable[[], float] = lambda: 0.0
    moves: dict[str, list[float]] = attrs.field(factory=dict)
    read_at: list[tuple[float, str]] = attrs.field(factory=list)
    seconds: float = 0.0

    @property
    def session(self) -> "Service":
        """It is its own session."""
        return self

    async def call(self, endpoint: Any, *, path: Any = None, before_send: Any = None, **_: Any) -> Task:
        """Answer a read; there is no Task List."""
        await before_send()
        if path is None:
            raise NotFound("", status=404)
        if self.seconds:
            await self.clock.sleep(self.seconds)
        now, task_id = self.clock.monotonic(), path["task_id"]
        self.read_at.append((now, task_id))
        moves = self.moves.get(task_id)
        if moves is None:
            raise NotFound("", status=404)
        steps = max(1, sum(at <= now - self.lag() for at in moves))
        start = self.clock.now() - timedelta(seconds=now)
        entries = [
            {"status": status, "updated_at": (start + timedelta(seconds=at)).isoformat()}
            for status, at in zip(WAY[:steps], moves, strict=False)
        ]
        return task(task_id, entries, WAY[steps - 1])


@attrs.frozen
class Reading:
    """An inbox, a book, and the reads between them, by a clock that the test turns."""

    service: Service
    clock: ManualClock
    threads: Threads
    inbox: Inbox
    book: Book
    reads: Reads

    async def turn(self, seconds: float, step: float = 0.5) -> None:
        """Let time pass."""
        await self.threads.pass_time(self.clock, self.clock.sleep(seconds), step)

    @property
    def parts(self) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        """What reads."""
        return [self.reads.take_events, *[self.reads.read] * self.reads.readers]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Read, inside the block."""
        parts = [asyncio.create_task(part()) for part in self.parts]
        try:
            yield
        finally:
            for part in parts:
                part.cancel()
            await asyncio.wait(parts)


@asynccontextmanager
async def reading(
    folder: Path,
    rate: float = 2.0,
    *,
    running: bool = True,
    others: Mapping[str, Callable[[ManualClock], Service]] = MappingProxyType({}),
) -> AsyncIterator[Reading]:
    """Reads that run, unless told otherwise; ``others`` are more accounts, each with its service."""
    threads, clock = Threads(), ManualClock()
    service = Service(clock)

    async def nothing(*_: Any) -> None:
        pass

    async with AsyncExitStack() as stack:
        inbox = await stack.enter_async_context(Inbox.open(folder / "inbox.db", clock=clock, keep=None))
        book = await stack.enter_async_context(Book.open(folder / "inbox.db", clock=clock))
        reads = Reads(
            inbox,
            book,
            {"default": service, **{name: make(clock) for name, make in others.items()}},  # type: ignore[dict-item]
            rate=rate,
            ages={OTHER: timedelta(days=1)},
            clock=clock,
            changed=lambda: None,
            task_read=nothing,
            refresh=nothing,
        )
        here = Reading(service, clock, threads, inbox, book, reads)
        if running:
            await stack.enter_async_context(here.running())
        yield here


async def test_changes_are_known_within_a_minute(tmp_path: Path) -> None:
    """With replicas 0 to 30 s behind, 99 of 100 changes are in the book a minute after their events, in the budget.

    ``LAG_TASKS=500`` is the whole size.
    """
    chance, tasks = random.Random(4), int(os.environ.get("LAG_TASKS", "20"))
    step = max(0.1, 20 / tasks)  # a reader reads once in each
    async with reading(tmp_path, tasks / 10) as here:
        here.service.lag = lambda: chance.uniform(0, 30)
        for number in range(tasks):
            here.service.moves[f"task-{number}"] = [0.0, *sorted(chance.uniform(1, 240) for _ in WAY[1:])]
        moves = sorted(
            (at, task_id, place) for task_id, times in here.service.moves.items() for place, at in enumerate(times)
        )
        for at, task_id, place in moves:
            await here.turn(max(0.0, at - here.clock.monotonic()), step)
            await here.inbox.put("default", event(task_id, WAY[place], at=f"2026-01-01T00:00:{place:02}Z"))
        await here.turn(120, step / 2)
        orders = [order async for order in here.book.orders()]
        known = {
            (order.task_id, str(step.status)): when
            for order in orders
            for step, when in (await here.book.steps([order]))[order.number]
        }
        start = here.clock.now() - timedelta(seconds=here.clock.monotonic())
        late = [
            (task_id, WAY[place])
            for at, task_id, place in moves
            if (task_id, WAY[place]) not in known
            or known[task_id, WAY[place]] > start + timedelta(seconds=max(at, 1) + 60)
        ]
        print(f"{len(moves)} changes, {len(late)} late, {len(here.service.read_at)} reads")
        assert len(late) <= len(moves) / 100
        assert (await here.inbox.counts())[EventState.WAITING] == 0
        assert len(here.service.read_at) <= tasks / 10 * here.clock.monotonic() + 1


@pytest.mark.slow
async def test_slow_answers_do_not_slow_the_reads(tmp_path: Path) -> None:
    """Where each answer takes a quarter of a second, 250 reads a second are 250 reads a second."""
    async with reading(tmp_path, rate=250.0) as here:
        here.service.seconds = 0.25
        for number in range(1000):
            here.service.moves[f"task-{number}"] = [0.0]
        await asyncio.gather(
            *(here.inbox.put("default", event(task_id, "broadcasting")) for task_id in here.service.moves)
        )
        await here.turn(4, 0.004)
        assert 600 <= len(here.service.read_at) <= 1000


async def test_a_claim_that_never_comes_true(tmp_path: Path) -> None:
    """A status that no read shows costs six reads in a minute; then its event is done, however many claim it."""
    async with reading(tmp_path, rate=50.0) as here:
        here.service.moves["task-1"] = [0.0]
        for number in range(3):
            await here.inbox.put("default", event("task-1", "complete", at=f"2026-01-01T00:00:0{number}Z"))
        await here.turn(1)
        assert (await here.inbox.counts())[EventState.WAITING] == 3
        await here.turn(65)
        assert len(here.service.read_at) == 1 + len(reads_module.LAGS)
        assert (await here.inbox.counts())[EventState.DONE] == 3


async def test_an_event_is_read_while_another_one_waits_for_its_status(tmp_path: Path) -> None:
    """The next event of a task is read immediately, also while the task is to be read again later."""
    async with reading(tmp_path, rate=50.0) as here:
        here.service.moves["task-1"] = [0.0, 20.0]
        here.service.lag = lambda: 5.0
        await here.turn(20)
        await here.inbox.put("default", event("task-1", "accepted"))
        await here.turn(3)
        assert len(here.service.read_at) == 2
        await here.inbox.put("default", event("task-1", "broadcasting", at="2026-01-01T00:00:01Z"))
        await here.turn(1)
        assert len(here.service.read_at) == 3
        await here.turn(60)
        assert (await here.inbox.counts())[EventState.WAITING] == 0


@pytest.mark.parametrize("status", ["broadcasting", "moored", "draft"])
async def test_what_a_read_shows_or_has_passed_is_not_waited_for(tmp_path: Path, status: str) -> None:
    """One read is enough where the status is there, is an earlier one, or is none."""
    async with reading(tmp_path, rate=50.0) as here:
        here.service.moves["task-1"] = [0.0, 0.0]
        await here.inbox.put("default", event("task-1", status))
        await here.turn(60)
        assert len(here.service.read_at) == 1
        assert (await here.inbox.counts())[EventState.DONE] == 1
