"""Which process may renew an account now: a lease that its holder must keep alive.

A lock of the operating system or of a database is free again when its holder dies, but not when its holder is frozen
(SIGSTOP, a suspended laptop, a stalled virtual machine). A lease is: its holder shows a sign of life every second, and
a waiter that sees the same sign for `LIFE` seconds takes the lease over. No two clocks are compared, each waits by its
own.

A frozen holder that wakes may believe for a moment that it still holds the lease. So new tokens are stored only in
place of those that they were made from (`TokenStore.replace`).
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any, Protocol

from gotsurge_async.cancellation import uninterrupted
from gotsurge_async.clock import Clock
from gotsurge_async.errors import ConfigError

LIFE = 5.0
"""Seconds without a sign of life after which a lease is taken over."""
BEAT = 1.0
"""Seconds between two signs of life."""
POLL = 0.05
"""Seconds between two tries while another holds the lease; each is drawn between this and twice as much."""

LONGEST_SHOWN = 128
"""Characters of a name in hex in a file's name, which has 255 at most; of a longer name the file shows the SHA-256."""


class Board(Protocol):
    """Where leases are recorded. A sign is text that changes whenever the holder shows that it lives."""

    async def sign(self, name: str) -> str | None:
        """The sign of the present holder, None without one."""
        ...

    async def take(self, name: str, me: str, over: str | None) -> bool:
        """Become the holder if there is none, or if the sign is still ``over``; whether that succeeded."""
        ...

    async def beat(self, name: str, me: str) -> bool:
        """Show that the holder lives; False when it is the holder no more."""
        ...

    async def give_back(self, name: str, me: str) -> None:
        """Be the holder no more."""
        ...


@asynccontextmanager
async def leased(board: Board, name: str, clock: Clock) -> AsyncIterator[None]:
    """Hold the lease ``name`` inside the block; waits until it is free, or its holder seems dead."""
    me = os.urandom(8).hex()  # as `secrets` does it, which loads much
    await _take(board, name, me, clock)
    beating = asyncio.create_task(_beat(board, name, me, clock), name=f"gotsurge lease of {name}")
    try:
        yield
    finally:
        beating.cancel()
        # Whole, because a lease left behind makes everybody wait until it is taken over.
        await uninterrupted(_end(board, name, me, beating))


async def _take(board: Board, name: str, me: str, clock: Clock) -> None:
    random = Random()  # noqa: S311 - spreads tries in time, guards nothing
    seen, since = None, 0.0
    while True:
        sign, now = await board.sign(name), clock.monotonic()
        if sign != seen:
            seen, since = sign, now
        if seen is None or now - since >= LIFE:
            taking = asyncio.ensure_future(board.take(name, me, seen))
            try:
                if await uninterrupted(taking):
                    return
            except asyncio.CancelledError:
                if not taking.cancelled() and taking.exception() is None and taking.result():
                    await board.give_back(name, me)
                raise
        await clock.sleep(POLL * (1 + random.random()))


async def _beat(board: Board, name: str, me: str, clock: Clock) -> None:
    while True:
        await clock.sleep(BEAT)
        try:
            if not await board.beat(name, me):
                return
        except Exception:  # noqa: S112 - a sign that could not be shown is tried again; too many missing ones end the lease
            continue


async def _end(board: Board, name: str, me: str, beating: asyncio.Task[None]) -> None:
    await asyncio.wait([beating])
    # A lease that cannot be given back (a full disk, a lost database) runs out; what was done under it counts.
    with suppress(Exception):
        await board.give_back(name, me)


class FolderBoard:
    """Leases as files: ``<base>.<name in hex>.<holder>.lease``, empty, mode 0600; the sign of life is the file's time.

    The holder is the process that has put its file there and then sees no other: of two that do so at once at least one
    sees both, and removes its own. This needs nothing but a folder, so it works wherever files do.
    """

    def __init__(self, base: Path) -> None:
        self._base = base

    async def sign(self, name: str) -> str | None:
        return await asyncio.to_thread(self._sign, name, None)

    async def take(self, name: str, me: str, over: str | None) -> bool:
        return await asyncio.to_thread(self._take, name, me, over)

    async def beat(self, name: str, me: str) -> bool:
        try:
            await asyncio.to_thread(os.utime, self._path(name, me))
        except FileNotFoundError:
            return False
        return True

    async def give_back(self, name: str, me: str) -> None:
        await asyncio.to_thread(self._path(name, me).unlink, missing_ok=True)

    def _take(self, name: str, me: str, over: str | None) -> bool:
        if over is not None:
            if self._sign(name, None) != over:
                return False
            self._base.with_name(over.partition("/")[0]).unlink(missing_ok=True)
        mine = self._path(name, me)
        os.close(os.open(mine, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        if self._sign(name, me) is None:
            return True
        mine.unlink(missing_ok=True)
        return False

    def _sign(self, name: str, me: str | None) -> str | None:
        """The first lease file of ``name`` that is not ours, with its time; a name and a number, "/" between them."""
        mine = self._path(name, me).name if me else None
        prefix = self._prefix(name)
        for path in sorted(self._base.parent.iterdir()):
            if path.name.startswith(prefix) and path.name.endswith(".lease") and path.name != mine:
                with suppress(FileNotFoundError):
                    return f"{path.name}/{path.stat().st_mtime_ns}"
        return None

    def _path(self, name: str, me: str) -> Path:
        return self._base.with_name(f"{self._prefix(name)}{me}.lease")

    def _prefix(self, name: str) -> str:
        shown = name.encode().hex()
        if len(shown) > LONGEST_SHOWN:
            import hashlib  # here: it loads OpenSSL's digests, and few names are so long

            shown = hashlib.sha256(name.encode()).hexdigest()
        return f"{self._base.name}.{shown}."


class Statements(Protocol):
    """A database with the statements ``sign``, ``take``, ``beat`` and ``give_back``, each a transaction of its own."""

    def rows(self, name: str, /, **values: str | int) -> Awaitable[list[tuple[Any, ...]]]:
        """The rows that a statement returns."""
        ...

    def change(self, name: str, /, **values: str | int) -> Awaitable[int]:
        """The number of rows that a statement changed."""
        ...


class SqlBoard:
    """Leases as rows; the sign of life is a count."""

    def __init__(self, database: Statements) -> None:
        self._database = database

    async def sign(self, name: str) -> str | None:
        rows = await self._database.rows("sign", name=name)
        return f"{rows[0][0]}/{rows[0][1]}" if rows else None

    async def take(self, name: str, me: str, over: str | None) -> bool:
        holder, _, beat = (over or "/-1").partition("/")
        return bool(await self._database.change("take", name=name, me=me, holder=holder, beat=int(beat)))

    async def beat(self, name: str, me: str) -> bool:
        return bool(await self._database.change("beat", name=name, me=me))

    async def give_back(self, name: str, me: str) -> None:
        await self._database.change("give_back", name=name, me=me)


@asynccontextmanager
async def folder_lease(base: Path, name: str, clock: Clock, what: str) -> AsyncIterator[None]:
    """Hold a lease next to the file ``base``, whose folder is made (mode 0700) when it is missing.

    A symbolic link is followed first: a process that uses the link meets those that use the file's own name.

    Raises:
        ConfigError: the folder cannot be used; ``what`` names the file.
    """
    async with AsyncExitStack() as stack:
        try:
            base = Path(await asyncio.to_thread(os.path.realpath, base))
            await asyncio.to_thread(base.parent.mkdir, mode=0o700, parents=True, exist_ok=True)
            await stack.enter_async_context(leased(FolderBoard(base), name, clock))
        except OSError as error:
            raise ConfigError(f"cannot lock {what} {base}: {error.strerror or error}") from None
        yield
