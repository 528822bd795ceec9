"""A worker: takes a segment of a run, sends it as a push of its own, and releases it."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack, nullcontext, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import attrs

from gotsurge_async.clock import Clock, SystemClock, sleep_or, uninterrupted
from gotsurge_async.config import Timeouts
from gotsurge_async.errors import (
    Coded,
    ConfigError,
    GotSurgeError,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    SignInNeeded,
    Unauthorized,
    UsageError,
)
from gotsurge_async.hooks import ChunkDone, Event
from gotsurge_async.ledger import Ledger, LedgerError, LedgerUnusable, RegisterUnusable, RunInfo
from gotsurge_async.ledger.segments import BEAT_SECONDS, SILENT_SECONDS, Beat, SegmentRun, worker_name
from gotsurge_async.ledger.sql.runs import API_BASE, is_at
from gotsurge_async.push.brakes import Brakes, LimitReached
from gotsurge_async.push.entering import Entering
from gotsurge_async.push.push import Push, Sent

if TYPE_CHECKING:
    from gotsurge_async.client import GotSurge

log: logging.Logger = logging.getLogger(__name__)

LEASE_SECONDS = 60.0
"""Seconds that a segment stays with its worker without a renewal."""
SEGMENTS = 3
"""The segments that a worker sends at a time, so that one that ends leaves no place in flight empty."""
TRIES = 10
"""The number of times that a segment is taken without any order ending, before its run is stopped."""
LONGEST_REST = 30.0
DRIFT = 0.1
"""The part of a lease by which the clocks of a worker and of the database may differ."""


def timeouts_for(lease: float) -> Timeouts:
    """The time-outs of a client that sends segments with a lease in seconds."""
    usual = Timeouts()
    return attrs.evolve(usual, pool=min(usual.pool, lease / 5), connect=min(usual.connect, lease / 10))


def refuse_short_lease(lease: float, claim_life: float, timeouts: Timeouts) -> None:
    """Refuse a lease that could end while its holder still sends claimed orders.

    A lease is renewed after a fifth of it. A claim is sent until half its life is over; then the call may wait for a
    connection; and the clocks may differ. The message of the UsageError names the shortest possible lease.
    """
    needed = claim_life / 2 + timeouts.pool + timeouts.connect + lease * DRIFT
    if lease * 4 / 5 <= needed:
        raise UsageError(
            f"a lease of {lease:g} s is too short; give at least "
            f"{(claim_life / 2 + timeouts.pool + timeouts.connect) / (4 / 5 - DRIFT) + 1:.0f} s: up to "
            f"{claim_life / 2:g} s from the claim of an order until it is sent, up to "
            f"{timeouts.pool + timeouts.connect:g} s of waiting for a connection, and a reserve",
            "E704",
        )


class Worker:
    """Sends segments of runs through clients of its own, as an async context.

    Args:
        connect: makes a client for a run, as an async context; runs of one mode, account, server and rate share it.
        environment: the environment whose runs are sent.
        concurrency: the most calls in flight, of all segments together.
        lease: seconds, see `LEASE_SECONDS`.
        serves: returns whether a run is for this worker, which leaves others to other workers.
        claim_life: seconds, see `chunks.CLAIM_LIFE`; a quarter of the lease unless given.
        timeouts: the time-outs of the clients that ``connect`` makes.
        name: the worker's name in the ledger; a new one unless given.
        around: makes a context for sending a segment, from its run and number: a span of a trace.

    Attributes:
        stopping: set when it takes no more segments.
        broken: set when it cannot continue with the open ledger or, with an ``error``, at all.
    """

    def __init__(
        self,
        connect: "Callable[[RunInfo], AbstractAsyncContextManager[GotSurge]]",
        *,
        environment: str,
        concurrency: int = 16,
        lease: float = LEASE_SECONDS,
        serves: Callable[[RunInfo], bool] = lambda _: True,
        claim_life: float | None = None,
        timeouts: Timeouts | None = None,
        name: str | None = None,
        clock: Clock | None = None,
        around: Callable[[RunInfo, int], AbstractContextManager[object]] = lambda *_: nullcontext(),
    ) -> None:
        self.name: str = name or worker_name()
        self.environment = environment
        self.segments: int = min(SEGMENTS, concurrency)
        self.clock: Clock = clock or SystemClock()
        self.stopping: asyncio.Event = asyncio.Event()
        self.broken: asyncio.Event = asyncio.Event()
        self.error: Exception | None = None
        self._connect = connect
        self._around = around
        self._serves = serves
        self._known: dict[str, RunInfo] = {}
        self._entered: set[str] = set()
        self._elsewhere: set[str] = set()
        self._concurrency = -(-concurrency // self.segments)
        self._lease = lease
        self._claim_life = lease / 4 if claim_life is None else claim_life
        refuse_short_lease(lease, self._claim_life, timeouts or timeouts_for(lease))
        self._sending: dict[int, tuple[SegmentRun, Push]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._clients: dict[tuple[object, ...], GotSurge] = {}
        self._connecting = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._orders = 0
        self._trouble: str | None = None
        self._rests = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def in_hand(self) -> int:
        """The number of segments that it is sending now."""
        return len(self._sending)

    def stop(self) -> None:
        """Take no more segments; calls in flight end, and the segments are released."""
        self.stopping.set()
        self.drain()

    def drain(self) -> None:
        """Release the segments after the calls in flight."""
        for _, push in self._sending.values():
            push.stop()

    async def abort(self) -> None:
        """Cancel the calls in flight: their orders are recorded as in doubt, or to be read."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    async def work(self, ledger: Ledger, serve: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Work with a ledger until this worker is stopped, or the ledger fails; nothing is in flight then.

        ``serve`` calls `send` for waiting segments; when it is cancelled it waits for those that it began. Raises
        LedgerError if the open ledger cannot be used, and a GotSurgeError if this worker cannot continue at all, see
        ``broken``.
        """
        self.broken.clear()
        await ledger.workers.register(self.name, self.environment)
        serving, beating = asyncio.create_task(serve()), asyncio.create_task(self._beat(ledger))
        events = [asyncio.create_task(event.wait()) for event in (self.stopping, self.broken)]
        tasks = [serving, beating, *events]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            self.drain()
            serving.cancel()
            await asyncio.wait([serving])
        finally:
            await uninterrupted(self._end(tasks))
        if self.error is not None or self.stopping.is_set():
            with suppress(LedgerError):
                await ledger.workers.leave(self.name)
        if self.error is not None:
            raise self.error
        if self.stopping.is_set():
            return
        for task in (beating, serving):
            if not task.cancelled():
                task.result()

    async def _end(self, tasks: Sequence[asyncio.Task[Any]]) -> None:
        """End all tasks that need the ledger, which is closed next."""
        await self.abort()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def send(self, ledger: Ledger, run_id: str, number: int) -> None:
        """Take a segment, if it is free, and send it. Its errors are not raised: see ``broken``."""
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            run = None
            if await self._is_served(ledger, run_id):
                run = await ledger.segments.take(run_id, number, worker=self.name, lease=self._lease)
            if run is not None:
                async with run:
                    with self._around(run.info, number):
                        error = await self._send(ledger, run)
                await self._handle_error(ledger, run, error)
        except LedgerUnusable:
            self.broken.set()
        except LedgerError as error:  # another worker has it by now, or will have
            log.warning("%s: segment %d of run %s: %s", self.name, number, run_id, error)
        except Exception as error:  # a problem of this worker: no sign-in, wrong settings, or a mistake in the program
            self.error = error
            self.broken.set()

    async def _is_served(self, ledger: Ledger, run_id: str) -> bool:
        if run_id not in self._known:
            self._known = {run_id: await ledger.run(run_id)}  # mostly the next segment is of the same run
        info = self._known[run_id]
        if not self._serves(info):
            return False
        api_base = (await self._client(info)).environment.api_base
        if is_at(info, api_base):
            return True
        if run_id not in self._elsewhere:
            self._elsewhere.add(run_id)
            own = info.options[API_BASE]
            log.warning("%s skips run %s, which belongs to the server %s, not to %s", self.name, run_id, own, api_base)
        return False

    async def _send(self, ledger: Ledger, run: SegmentRun) -> GotSurgeError | None:
        """Send a segment that was taken; returns the error that ended it early."""
        gs = await self._client(run.info)
        distribution = await ledger.segments.distribution(run.id)
        options = run.info.options
        try:  # the push that began the run has chosen the ledger
            if run.id not in self._entered:
                self._entered.add(run.id)
                await Entering(gs, ledger, new_ledger=True).enter(run)
        except RegisterUnusable as error:
            log.warning("%s: %s", self.name, error)
        brakes = Brakes.of_worker({} if distribution is None else distribution.brakes, run.elsewhere)
        push = Push(
            gs,
            ledger,
            mode=run.info.mode,
            environment=run.info.environment,
            concurrency=self._concurrency,
            on_refused_chunk=options.get("on_refused_chunk"),
            claim_life=self._claim_life,
            brakes=brakes,
            register=False,
            **({"chunk": options["batch_size"]} if options.get("batch_size") else {}),
        )
        if self.stopping.is_set() or distribution is None or distribution.stopped_at is not None:
            push.stop()
        self._sending[id(run)] = run, push
        try:
            sent = await push.send(run)
        except (LedgerError, ConfigError, UsageError):
            raise
        except GotSurgeError as error:  # a sign-in that ended in the middle of a chunk, for instance
            sent = Sent(stopped_by=error)
        finally:
            del self._sending[id(run)]
        if brakes.max_spend is not None:
            await ledger.segments.spent(run, sent.spent)
        return sent.stopped_by

    async def _handle_error(self, ledger: Ledger, run: SegmentRun, error: GotSurgeError | None) -> None:
        """Pause or end this worker if perhaps only it cannot continue; else stop the run for all workers."""
        if error is None:
            self._rests, self._trouble = 0, None
        elif self.stopping.is_set() and isinstance(error, NotSent):
            pass  # it waited for its turn, and is released
        elif isinstance(error, NotSent | RateLimited | OutcomeUnknown) and run.tries < TRIES:
            self._trouble = str(error)
            self._rests += 1
            await sleep_or(self.stopping, self.clock, min(2.0**self._rests, LONGEST_REST))
        elif isinstance(error, SignInNeeded | Unauthorized) and await self._has_others(ledger):
            raise error  # the sign-in of this machine may be another one than theirs
        else:
            # It may be a problem of one machine all the same: name the worker. A limit belongs to the run.
            why = str(error) if isinstance(error, LimitReached) else f"worker {self.name}: {error}"
            await ledger.segments.stop(run.id, type(error).__name__, Coded(why, error.explain_code))

    async def _has_others(self, ledger: Ledger) -> bool:
        """Whether another living worker of the environment takes segments."""
        return any(
            other.id != self.name
            and other.environment == self.environment
            and other.state == "working"
            and other.silent <= SILENT_SECONDS
            for other in await ledger.workers.all()
        )

    async def _client(self, info: RunInfo) -> "GotSurge":
        which = (info.mode, *(info.options.get(name) for name in ("account", "api_base", "rate")))
        async with self._connecting:
            if which not in self._clients:
                gs = await self._stack.enter_async_context(self._connect(info))
                gs.hooks.add(self._count)
                self._clients[which] = gs
        return self._clients[which]

    def _count(self, event: Event) -> None:
        if isinstance(event, ChunkDone):
            self._orders += event.created + event.refused + event.in_doubt

    async def _beat(self, ledger: Ledger) -> None:
        """Report regularly that this worker lives, and stop pushes whose run was stopped, until cancelled."""
        beats: deque[tuple[float, int]] = deque(maxlen=6)
        while True:
            beats.append((self.clock.monotonic(), self._orders))
            seconds, orders = (last - first for first, last in zip(beats[0], beats[-1], strict=True))
            beat = Beat(
                state="draining" if self.stopping.is_set() else "working",
                segments=self.in_hand,
                orders=self._orders,
                orders_per_minute=round(orders * 60 / seconds) if seconds else 0,
                trouble=self._trouble,
            )
            if not await ledger.workers.beat(self.name, beat):
                await ledger.workers.register(self.name, self.environment)
            await ledger.keep_count()
            stopped = await ledger.segments.stopped({run.info.number for run, _ in self._sending.values()})
            for run, push in self._sending.values():
                if run.info.number in stopped:
                    push.stop()
            await self.clock.sleep(BEAT_SECONDS)
