import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from gotsurge_async.auth.sql import SqlStore
from gotsurge_async.auth.stores import FolderBoard
from gotsurge_async.database.leases import BEAT, LIFE, POLL, Board, SqlBoard, leased
from gotsurge_async.testing import ManualClock

T = TypeVar("T")

NAME = "acme / ü"


class Watched:
    """A board that knows whether anybody is at it: time does not pass meanwhile."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._busy = 0

    async def sign(self, name: str) -> str | None:
        return await self._at(self._board.sign(name))

    async def take(self, name: str, me: str, over: str | None) -> bool:
        return await self._at(self._board.take(name, me, over))

    async def beat(self, name: str, me: str) -> bool:
        return await self._at(self._board.beat(name, me))

    async def give_back(self, name: str, me: str) -> None:
        await self._at(self._board.give_back(name, me))

    async def _at(self, work: Awaitable[T]) -> T:
        self._busy += 1
        try:
            return await work
        finally:
            self._busy -= 1

    async def pass_time(self, clock: ManualClock, seconds: float) -> None:
        """Let time pass in small steps, each after everybody has come to rest."""
        until = clock.monotonic() + seconds
        while clock.monotonic() < until:
            await clock.advance(POLL / 2)
            while self._busy:  # noqa: ASYNC110 - a thread is at it, or a database
                await asyncio.sleep(0.001)


@asynccontextmanager
async def passing(board: Watched, clock: ManualClock) -> AsyncIterator[None]:
    """Time passes in the background."""
    task = asyncio.create_task(board.pass_time(clock, 1e9))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture(params=["folder", "sqlite"])
async def board(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Watched]:
    if request.param == "folder":
        yield Watched(FolderBoard(tmp_path / "tokens.json"))
        return
    store = SqlStore(f"sqlite:///{tmp_path / 'tokens.db'}", None)
    yield Watched(SqlBoard(store))
    await store.close()


async def test_one_holder_at_a_time(board: Watched) -> None:
    """Who takes a lease is its only holder until it gives it back."""
    assert await board.take(NAME, "one", None)
    assert not await board.take(NAME, "two", None)
    await board.give_back(NAME, "one")
    assert await board.sign(NAME) is None
    assert await board.take(NAME, "two", None)


async def test_leases_of_other_names_are_free(board: Watched) -> None:
    """A lease holds one name."""
    assert await board.take(NAME, "one", None)
    assert await board.take("acme", "two", None)


async def test_a_sign_of_life_changes_the_sign(board: Watched) -> None:
    """A holder that lives shows another sign, and its lease cannot be taken over by who saw the old one."""
    await board.take(NAME, "one", None)
    old = await board.sign(NAME)
    assert await board.beat(NAME, "one")
    assert await board.sign(NAME) != old
    assert not await board.take(NAME, "two", old)
    assert await board.beat(NAME, "one")


async def test_a_dead_lease_is_taken_over_once(board: Watched) -> None:
    """Of two that saw the same dead sign one takes over; the holder that was dead notices at its next beat."""
    await board.take(NAME, "one", None)
    sign = await board.sign(NAME)
    assert [await board.take(NAME, "two", sign), await board.take(NAME, "three", sign)] == [True, False]
    assert not await board.beat(NAME, "one")
    assert await board.beat(NAME, "two")


async def test_giving_back_what_was_lost_harms_nobody(board: Watched) -> None:
    """A holder that lost its lease and gives it back leaves the new holder's alone."""
    await board.take(NAME, "one", None)
    await board.take(NAME, "two", await board.sign(NAME))
    await board.give_back(NAME, "one")
    assert await board.beat(NAME, "two")


async def test_a_holder_without_a_sign_is_taken_over(board: Watched) -> None:
    """After `LIFE` seconds without a sign of life, and not before, somebody else has the lease."""
    clock = ManualClock()
    await board.take(NAME, "dead", None)
    async with passing(board, clock), leased(board, NAME, clock):
        assert LIFE <= clock.monotonic() < LIFE + 1
    assert await board.sign(NAME) is None


async def test_a_holder_learns_that_its_lease_was_taken_over(board: Watched) -> None:
    """At its next beat, and not before: the event that it was given is set."""
    clock = ManualClock()
    async with leased(board, NAME, clock) as lost:
        await board.pass_time(clock, 2 * BEAT)
        assert not lost.is_set()
        assert await board.take(NAME, "other", await board.sign(NAME))
        assert not lost.is_set()
        await board.pass_time(clock, 2 * BEAT)
        assert lost.is_set()
    assert await board.beat(NAME, "other")


async def test_a_holder_that_lives_is_waited_for(board: Watched) -> None:
    """Who waits gets the lease when it is given back, however long that takes."""
    clock = ManualClock()
    entered = asyncio.Event()

    async def wait() -> None:
        async with leased(board, NAME, clock):
            entered.set()

    async with leased(board, NAME, clock):
        waiting = asyncio.create_task(wait())
        await board.pass_time(clock, 3 * LIFE + BEAT)
        assert not entered.is_set()
    async with passing(board, clock):
        await waiting


async def test_many_take_turns(board: Watched) -> None:
    """Of many at once each has the lease alone, and all of them get it."""
    clock, inside, turns = ManualClock(), 0, 0

    async def turn() -> None:
        nonlocal inside, turns
        async with leased(board, NAME, clock):
            inside += 1
            assert inside == 1
            await asyncio.sleep(0)
            inside -= 1
            turns += 1

    async with passing(board, clock):
        await asyncio.gather(*(turn() for _ in range(8)))
    assert turns == 8


async def test_who_is_cancelled_leaves_no_lease(board: Watched) -> None:
    """A waiter and a holder that are cancelled leave no lease behind."""
    clock = ManualClock()

    async def hold() -> None:
        async with leased(board, NAME, clock):
            await asyncio.Event().wait()

    for moments in range(12):
        tasks = [asyncio.create_task(hold()) for _ in range(2)]
        for _ in range(moments):
            await board.pass_time(clock, POLL)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert await board.sign(NAME) is None


async def test_lease_files_are_private(tmp_path: Path) -> None:
    """A lease file is empty, and for its owner alone."""
    board = FolderBoard(tmp_path / "tokens.json")
    await board.take(NAME, "one", None)
    (file,) = tmp_path.iterdir()
    assert (file.stat().st_size, file.stat().st_mode & 0o777) == (0, 0o600)
    assert "acme" not in file.name
