"""One rate and one pace for many processes, by a row in PostgreSQL and its clock.

A process takes turns for its waiting calls, a few at a time. Turns are moments on one line of time, evenly spaced, so
that no second has a burst, whatever process they belong to. A call that is too late for its turn takes another: else
the calls that were delayed in a busy process would all begin at once. Turns that are not used are lost.

When answers lower the pace of one process, all the others lower theirs, and a Retry-After holds for all. The pace rises
in each process by its own answers.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from copy import copy
from pathlib import Path

from msgspec import Struct

from gotsurge_async.calls.limiter import COOL_DOWN, Limiter
from gotsurge_async.calls.session import Session
from gotsurge_async.clock import Clock, SystemClock, sleep_or
from gotsurge_async.database import Database, Kind, Place
from gotsurge_async.database.thread import DatabaseFailed, InThread
from gotsurge_async.errors import ConfigError, NotSent

log: logging.Logger = logging.getLogger(__name__)

MARGIN = 0.02
"""The share by which turns are further apart than the rate says: a late call must not make a second too full."""
LATE = 0.02
"""Seconds after its turn at which a call is too late for it."""
TRIES = 3
"""A call that is late this many times begins all the same: a process may be too busy ever to be in time."""
BLOCK = 0.25
"""The most seconds of turns that are taken together."""
LOOK = 0.5
"""Seconds between two reads of the row while no turns are taken."""
PATIENCE = 10.0
"""Seconds that a call waits for a database that is away, before it fails: its claimed orders wait with it."""
SOON = 1.0
"""After this many seconds a waiting call is notified when no call may begin any more."""
_AGAIN = 1.0
"""Seconds until a database that did not answer is asked again."""

_OVER = "the call was stopped while it waited for its turn under the shared rate"

_TEXTS = Path(__file__).with_name("rates.sql")


class Seen(Struct, frozen=True):
    """The row, as it was read at a time of this process's clock. ``halvings``: how often the pace was ever halved.

    ``start`` and ``held`` are seconds after that: the first of the turns begins then, or at 0 if none were taken; and
    no call may begin before.
    """

    at: float
    start: float
    held: float
    halvings: float


class Row:
    """The shared row of a ``name`` in a ledger's database. Every method may raise DatabaseFailed."""

    def __init__(self, place: Place, name: str, clock: Clock) -> None:
        if place.kind is not Kind.POSTGRESQL:
            raise ConfigError(
                "only a ledger in PostgreSQL can share a rate: a ledger in a file serves one machine", "E416"
            )
        self._name = name
        self._clock = clock
        self._connection = InThread(place, _TEXTS, name="gotsurge-rate")

    async def take(self, span: float) -> Seen:
        """Take the next ``span`` seconds of turns."""
        (seen,) = await self._ask("take", span=math.ceil(span * 1e6))
        return seen

    async def look(self) -> Seen | None:
        """Read the row; None if no process has written it yet."""
        return next(iter(await self._ask("look")), None)

    async def slow(self, halvings: float, hold: float) -> Seen:
        """Lower the pace of all by some halvings, and let no call begin for ``hold`` seconds."""
        cool_down = math.ceil(COOL_DOWN * 1e6)
        (seen,) = await self._ask("slow", halvings=halvings, hold=math.ceil(hold * 1e6), cool_down=cool_down)
        return seen

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    async def _ask(self, statement: str, **values: float) -> list[Seen]:
        def ask(db: Database) -> list[Seen]:
            rows = db.rows(statement, name=self._name, **values)
            at = self._clock.monotonic()  # here: in the event loop it may be much later
            return [Seen(at, start / 1e6, held / 1e6, halvings) for start, held, halvings in rows]

        return await self._connection.do(ask)


class SharedRate:
    """Gives the calls of this process their turns among those of all; a `limiter.Shared`.

    Args:
        rate: calls a second that all processes together begin, None for no limit. With different rates each process has
            its turns at its own distance, and all together never exceed the greatest.
        longest_hold: when the service asks for more seconds than this, the call gives up, and no other is held.

    Attributes:
        lost: the number of turns for which calls were too late.
    """

    def __init__(self, row: Row, limiter: Limiter, clock: Clock, rate: float | None, longest_hold: float) -> None:
        self.lost: int = 0
        self._row = row
        self._limiter = limiter
        self._clock = clock
        self._interval = (1.0 + MARGIN) / rate if rate else 0.0
        self._longest_hold = longest_hold
        self._held_until = 0.0
        self._halvings: float | None = None
        self._waiting: deque[asyncio.Future[float]] = deque()
        self._wanted = asyncio.Event()
        self._over = asyncio.Event()
        self._ask_at = 0.0
        self._writing: set[asyncio.Task[None]] = set()
        self._unheard_since: float | None = None

    @property
    def places(self) -> int:
        """The number of calls of this process that may be in flight now."""
        return self._limiter.places

    async def take_turn(self) -> None:
        """Wait until a call may begin; NotSent if the database was away for too long, or nothing may begin now."""
        late = 0
        while True:
            self._refuse_if_over()
            turn = await self._next_turn() if self._interval else self._clock.monotonic()
            while (wait := turn - self._clock.monotonic()) > 0:
                await self._sleep(wait)
            now = self._clock.monotonic()
            if self._held_until > now:  # since the turn was taken; at its end turns begin again
                await self._sleep(self._held_until - now)
                continue
            if now - turn <= LATE or late + 1 == TRIES:
                return
            late += 1
            self.lost += 1

    def slowed(self, factor: float, retry_after: float | None) -> None:
        """Lower the pace of the others as it was lowered here; in a task of its own."""
        hold = retry_after if retry_after is not None and retry_after <= self._longest_hold else 0.0
        self._hold(self._clock.monotonic(), hold)
        task = asyncio.create_task(self._write(-math.log2(factor), hold), name="gotsurge shared pace")
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    def give_up(self) -> None:
        """Refuse the calls that have no turn yet, or one more than a second away, and let no later call begin."""
        self._over.set()
        self._refuse(NotSent(_OVER, "E416"))

    async def run(self) -> None:
        """Take turns, and read what the other processes wrote, until cancelled."""
        while True:
            # The first read only shows the present state.
            await sleep_or(self._wanted, self._clock, 0.0 if self._halvings is None else LOOK)
            self._wanted.clear()
            if (early := self._ask_at - self._clock.monotonic()) > 0:
                await self._clock.sleep(min(early, LOOK))
            while self._waiting and self._waiting[0].done():  # cancelled
                self._waiting.popleft()
            try:
                if self._waiting and self._clock.monotonic() >= self._ask_at:
                    await self._give_turns()
                else:
                    await self._look()
            except DatabaseFailed as error:
                self._unheard(str(error))
                await self._clock.sleep(_AGAIN)
            else:
                self._unheard_since = None
            if self._waiting:
                self._wanted.set()

    async def end(self) -> None:
        """Wait for writes under way."""
        while self._writing:
            await asyncio.wait(self._writing)

    async def _sleep(self, seconds: float) -> None:
        if seconds <= SOON:
            await self._clock.sleep(seconds)
        else:
            await sleep_or(self._over, self._clock, seconds)
            self._refuse_if_over()

    def _refuse_if_over(self) -> None:
        if self._over.is_set():
            raise NotSent(_OVER, "E416")

    def _refuse(self, error: NotSent) -> None:
        for call in self._waiting:
            if not call.done():
                call.set_exception(copy(error))  # one each: a shared one would gather the tracebacks of all
        self._waiting.clear()

    def _next_turn(self) -> "asyncio.Future[float]":
        turn: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._wanted.set()
        return turn

    async def _give_turns(self) -> None:
        """Give turns to the waiting calls."""
        count = min(len(self._waiting), max(1, int(BLOCK / self._interval)))
        seen = await self._row.take(count * self._interval)
        self._take_in(seen)
        turn = seen.at + max(seen.start, 0.0)
        while count and self._waiting:
            call = self._waiting.popleft()
            if not call.done():
                call.set_result(turn)
                turn += self._interval
                count -= 1
        # Until the last of them begins there is time to gather others, and to ask fewer times.
        now = self._clock.monotonic()
        self._ask_at = now + max(turn - self._interval - now, 0.0) / 2

    async def _look(self) -> None:
        seen = await self._row.look()
        if seen is not None:
            self._take_in(seen)
        elif self._halvings is None:
            self._halvings = 0.0

    def _take_in(self, seen: Seen) -> None:
        """Apply what the other processes wrote."""
        self._hold(seen.at, seen.held)
        fallen = 0.0 if self._halvings is None else seen.halvings - self._halvings
        self._halvings = seen.halvings
        if fallen > 0:
            self._limiter.slow_down(2.0**-fallen)

    def _hold(self, at: float, seconds: float) -> None:
        self._held_until = max(self._held_until, at + seconds) if seconds > 0 else self._held_until

    async def _write(self, halvings: float, hold: float) -> None:
        # A failure costs the others their warning, and is no reason to stop anything.
        with suppress(DatabaseFailed):
            seen = await self._row.slow(halvings, hold)
            self._hold(seen.at, seen.held)
            self._halvings = seen.halvings  # others wrote at the same moment for the same reason

    def _unheard(self, why: str) -> None:
        now = self._clock.monotonic()
        if self._unheard_since is None:
            self._unheard_since = now
            log.warning("the shared rate cannot be used: %s", why)
        if now - self._unheard_since >= PATIENCE:
            self._refuse(NotSent(f"the shared rate cannot be used: {why}", "E416"))


@asynccontextmanager
async def shared_rate(place: Place, name: str, session: Session, rate: float | None) -> AsyncIterator[SharedRate]:
    """Share rate and pace inside the block with all processes that give the same place and name.

    Calls of the session take their turns in this PostgreSQL database, at ``rate`` calls a second of all together, and
    wait while it is away. Raises ConfigError if it is a file, or its driver is not installed.
    """
    row = Row(place, name, session.clock)
    shared = SharedRate(row, session.limiter, session.clock, rate, session.policy.longest_retry_after)
    running = asyncio.create_task(shared.run(), name="gotsurge shared rate")
    try:
        with session.limiter.shared(shared):
            yield shared
        await shared.end()
    finally:
        running.cancel()
        await asyncio.wait([running])
        await row.close()


async def make_tables(place: Place) -> None:
    """Make the table in a database, if it is missing; ConfigError if it is a file, or cannot be used."""
    row = Row(place, "", SystemClock())
    try:
        await row.look()
    except DatabaseFailed as error:
        raise ConfigError(f"the rate cannot be shared through {place}: {error}", "E416") from None
    finally:
        await row.close()
