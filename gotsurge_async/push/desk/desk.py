"""A desk creates single orders of a program.

The ledger records each under its key, so it is sent once, however often a program creates it. One write adds an order
to a run and claims it. Orders that arrive while calls are in progress share a call, up to 20 of them.
"""

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable
from contextlib import suppress
from copy import copy
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

import attrs
import msgspec

from gotsurge_async import codec
from gotsurge_async.api.endpoints import CHUNK
from gotsurge_async.calls.create import Created, InDoubt
from gotsurge_async.clock import Deadline, uninterrupted
from gotsurge_async.codec.given import OrderLike, check_limit
from gotsurge_async.config import check_timeout, is_count
from gotsurge_async.database import Place
from gotsurge_async.errors import ClientClosed, GotSurgeError, NotSent, UsageError, WrongLoop
from gotsurge_async.ledger import Ledger, LedgerError, Mode, Submitted
from gotsurge_async.models.tasks import Order
from gotsurge_async.money import Money
from gotsurge_async.push.changes import differing
from gotsurge_async.push.chunks import OnRefusedChunk
from gotsurge_async.push.desk.opening import DeskOptions, SharedLedger
from gotsurge_async.push.desk.outcomes import OPERATION, Changed, Entry, Outcome, replayed, written
from gotsurge_async.push.desk.runs import DeskRuns
from gotsurge_async.push.desk.stream import DeskStream
from gotsurge_async.push.desk.submitting import LAST_POLL, OUTCOME_POLL, Sender
from gotsurge_async.push.push import Push

if TYPE_CHECKING:
    from gotsurge_async.client import GotSurge

log: logging.Logger = logging.getLogger(__name__)

MOST_WAITING = 1000
"""The most orders that may wait for a call. The desk refuses one more, and records nothing of it."""
LINGER = 0.05
"""Seconds that an order waits for others while calls are under way."""
TURNS = 3
"""Turns of the event loop in which callers that were just answered may bring their next orders: these share a call."""
DRAIN = 10.0
"""Seconds that `close` waits for queued orders and for calls in progress."""
RECORDING = 2.0
"""Seconds that the ledger has after that to record outcomes, before `close` returns."""


class Desk:
    """Creates single orders, and remembers each by its key. `GotSurge.orders` is one; open your own for other options::

        async with GotSurge(...) as gs, await Desk.open(gs, "orders.db", mode="direct") as desk:
            match await desk.create(order):
                case Created(receipt=receipt): ...  # GotSurge has it
                case Refused(error=error): ...  # GotSurge said no: the key is free again
                case InDoubt(error=error): ...  # it was sent, the outcome is unknown: never send it again blindly
                case Unprocessed(error=error): ...  # certainly not sent: the key is free again
                case Changed(fields=fields): ...  # the key was used for an order with another content

    The ledger is that of `Push` and of ``gotsurge push``, and all of them share the keys: an order that a file push
    sent is not sent again by a desk, and the reverse, in any process. ``gotsurge status`` and ``results`` show the
    orders of a desk as they show those of a file. Any number of processes may have a desk over one ledger.

    A process that ends in the middle leaves its orders in the ledger, and the next desk over it resumes their run. It
    finishes orders of platform partners. Orders of plain partners that were being sent stay in doubt.

    Args:
        ledger: an open ledger, which stays open; `open` opens one.
        mode: two-phase (platform partners; exactly once) or direct (at most once). Unless given, the desk asks the
            service, see `Push.choose_mode`, and asks again while that refuses to list tasks, or if it refuses a call.
        environment: the name under which keys are unique, the client's environment unless given.
        validate: refuse orders that `gotsurge push` would refuse, see `check_order`.
        max_price: the greatest amount that an order may have, see `check_order`.
        most_waiting: the most orders of callers that may wait for a call.
        on_refused_chunk: the treatment of the other orders of a refused call, see `Push`.
        on_outcome: a plain function, called in the event loop with the key and the outcome of each submitted order that
            this desk sends (another may) or `accept_older` stopped; after a crash perhaps twice, or by another process.
        new_ledger, register: see `Push`.

    Raises:
        UsageError: an argument that cannot be right.
    """

    def __init__(
        self,
        gs: "GotSurge",
        ledger: Ledger,
        *,
        mode: Mode | str | None = None,
        environment: str | None = None,
        validate: bool = True,
        max_price: Money | None = None,
        most_waiting: int = MOST_WAITING,
        on_refused_chunk: OnRefusedChunk | str | None = None,
        on_outcome: Callable[[str, Outcome], object] | None = None,
        new_ledger: bool = False,
        register: bool = True,
        _shared: SharedLedger | None = None,
    ) -> None:
        check_limit(validate, max_price)
        if inspect.iscoroutinefunction(on_outcome):
            raise UsageError("on_outcome: give a plain function, not an `async def`, which is never awaited", "E903")
        if mode is not None and mode not in list(Mode):
            raise UsageError(f'mode must be "two-phase" or "direct", not {mode!r:.60}', "E903")
        if not is_count(most_waiting, 1):
            raise UsageError(f"most_waiting must be 1 or more, not {most_waiting!r:.60}", "E903")

        def new_push(ledger: Ledger, mode: Mode) -> Push:
            return Push(
                gs,
                ledger,
                mode=mode,
                environment=environment,
                on_refused_chunk=on_refused_chunk,
                new_ledger=new_ledger,
                register=register,
            )

        self._clock = gs.session.clock
        self._validate = validate
        self._max_price = max_price
        self._most_waiting = most_waiting
        self._limiter = gs.session.limiter
        self._places = self._limiter.at_most(None)
        self._runs = DeskRuns(
            gs,
            _shared or SharedLedger(ledger),
            environment or gs.environment.name,
            None if mode is None else Mode(mode),
            new_push,
            again=self._wait,
            spawn=self._spawn,
        )
        self._entries: dict[str, Entry] = {}
        self._waiting: deque[Entry] = deque()
        self._busy = self._turning = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._sender = Sender(self._runs, self._create_submitted, self._clock, on_outcome, self._spawn)
        self._timer: asyncio.TimerHandle | None = None
        self._looking: list[asyncio.Task[None]] = []
        self._closing: asyncio.Task[None] | None = None
        self._deadline = Deadline(self._clock)
        self._stopped = asyncio.Event()  # no more calls are begun, and those under way are cut
        self._own: SharedLedger | None = None

    @classmethod
    async def open(cls, gs: "GotSurge", ledger: str | Path | Place, **options: Unpack[DeskOptions]) -> Self:
        """Open a ledger and a desk over it, which closes it; ``options`` are those of the class.

        When the ledger's file or server has failed, the next order has it opened again.

        Args:
            ledger: the path of a file, or a URL, see `Ledger.open`, whose errors are raised.
        """
        own = await SharedLedger.open(gs, ledger)
        try:
            desk = cls(gs, own.ledger, _shared=own, **options)
        except BaseException:
            await uninterrupted(own.close())
            raise
        desk._own = own
        return desk

    def _start(self) -> None:
        if not self._looking:
            works = (self._runs.look(), self._sender.run())
            self._looking = [asyncio.create_task(work, name="gotsurge-desk") for work in works]

    async def __aenter__(self) -> Self:
        self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def ledger(self) -> Ledger:
        """The ledger."""
        return self._runs.ledger

    @property
    def unrecorded(self) -> dict[str, str]:
        """By key, the tasks that GotSurge has created and that the ledger, which failed, does not contain yet."""
        return self._runs.answers.tasks

    async def create(self, order: OrderLike, *, key: str | None = None, timeout: float | None = None) -> Outcome:
        """Create and broadcast an order once (sections "Create & Broadcast Tasks", "Platform Partners").

        The same key with the same content always gives the recorded outcome, with ``replayed``, in any process that has
        the ledger. Only ``client_time_utc``, the time at which the order was made, may differ. Callers at the same
        moment share one call. A key whose order was refused, cancelled or not processed is free again.

        If a caller is cancelled, the desk finishes an order that it had begun. Pass the error to `what_is_known` to
        learn whether the order may have been sent. To get its outcome, create it again with the same key.

        Args:
            order: an `Order`, or a dict of its fields as the API writes them.
            key: identifies the order, its tracking id unless given.
            timeout: seconds after which this caller stops waiting. If the desk has begun the order, or another caller
                waits for it, it is `InDoubt` then, and the desk finishes it. Else it has the outcome of an earlier
                call, or is `Unprocessed` if there is none, or `InDoubt` if the ledger cannot be read in a second.

        Raises:
            InvalidData: the order is faulty, or has no key; every fault with its path. Nothing of it is remembered.
            NotSent: too many orders wait already. Nothing of it is remembered.
            ClientClosed, WrongLoop: the desk is closed, was never entered, or belongs to another event loop.
            SignInNeeded, CallError, EndpointsAssumed, SecondLedger, OtherServer, LedgerError: the mode cannot be
                chosen, the ledger cannot be used for this account, or the order is at another server. Nothing was sent.
        """
        if timeout is not None:
            check_timeout(timeout)
        ends = None if timeout is None else self._clock.monotonic() + timeout
        return await self._create(*self._written(order, key), ends)

    def push(
        self,
        orders: Iterable[OrderLike] | AsyncIterable[OrderLike],
        *,
        key: Callable[[OrderLike], str | None] = lambda _: None,
        concurrency: int | None = None,
    ) -> DeskStream:
        """Create any number of orders, each once, as `create` does; the outcomes as they arrive, see `DeskStream`.

        If the orders are pushed again, as after a crash, each has its recorded outcome, and those not sent are sent.
        Memory stays flat. Of two orders with the same key and content in the stream the second has the outcome of the
        first, unless that was refused or not sent: then it is sent.

        Args:
            orders: read once, as there are places.
            key: returns the key of an order, or None for its tracking id.
            concurrency: the most calls in flight, 1 or more, by default the client's own limit.

        Raises:
            UsageError: an argument that cannot be right. The stream raises what `create` raises, except InvalidData.
        """
        places, clock = self._limiter.at_most(concurrency), self._clock
        return DeskStream(orders, lambda one: self._create(*self._written(one, key(one)), limited=False), places, clock)

    async def submit(self, order: OrderLike, *, key: str | None = None, connection: Any = None) -> None:
        """Record an order that will be sent later, and return when it is durable.

        A desk over the same ledger sends it, in this process or another one, and tries until GotSurge has answered.
        `outcome` waits for its outcome. Submitting an order again, with the same content, changes nothing.

        Args:
            order, key: as of `create`.
            connection: a connection to the ledger's PostgreSQL database, of psycopg (``AsyncConnection``) or SQLAlchemy
                (``AsyncConnection``, ``AsyncSession``). The order is part of its transaction: it is sent if that is
                committed. Errors of the connection itself pass as they are.

        Raises:
            InvalidData: the order is faulty, or has no key; every fault with its path.
            OrderChanged: an order with the key and other content was sent, may have been, or waits.
            ClientClosed, WrongLoop: the desk is closed, was never entered, or belongs to another event loop.
            UsageError: the connection is to another database than the ledger's.
            LedgerError: the ledger cannot be used.
        """
        self._refuse_closed()
        await self._sender.submit(*self._written(order, key)[:3], connection)

    async def outcome(self, key: str) -> Outcome:
        """Wait until the outcome of an order is known; the order may also have come from `create` or a file push.

        It has no timeout: use `asyncio.timeout`. A refused or cancelled order has an outcome until another has its key.

        Raises:
            UsageError: no order has the key, or can have it, the ledger no longer has its content, or it is elsewhere.
            ClientClosed, WrongLoop: the desk is closed, was never entered, or belongs to another event loop.
            LedgerError: the ledger cannot be read.
        """
        pause = OUTCOME_POLL
        while True:
            self._refuse_closed()
            if isinstance(key, str) and (entry := self._entries.get(key)) is not None:
                await entry.known()
            if (outcome := await self._sender.outcome(key, pause)) is not None:
                return outcome
            pause = min(LAST_POLL, pause * 1.5)

    async def _create(
        self,
        made: Order,
        key: str,
        payload: bytes,
        plain: dict[str, Any],
        ends: float | None = None,
        submitted: Submitted | None = None,
        *,
        limited: bool = True,  # else whoever brings them limits their number
    ) -> Outcome:
        self._refuse_other_loop()
        while (entry := self._entries.get(key)) is not None:
            fields = () if payload == entry.payload else tuple(differing(payload, entry.payload, f"key {key}"))
            outcome = await self._result(entry, ends, retries=submitted is not None)
            if isinstance(outcome, Created | InDoubt):
                same = attrs.evolve(outcome, replayed=True)
                return Changed(order=made, fields=fields, outcome=same) if fields else same
            if not fields:
                return attrs.evolve(outcome, order=made)
            # The other order did not get the key, so this one is tried.
        self._refuse_closed()
        entry = Entry(made, key, payload, plain, self._forget, submitted)
        if limited and len(self._waiting) >= self._most_waiting:
            if (known := await self._runs.known(key)) is not None:
                return replayed(entry, known)
            why = f"{self._most_waiting} orders wait to be sent: try again later"
            raise NotSent(why, "E906", operation=OPERATION)
        self._entries[key] = entry
        self._wait(entry)
        return await self._result(entry, ends, retries=submitted is not None)

    async def close(self, timeout: float | None = DRAIN) -> None:
        """Accept no more orders, finish those that wait or are under way, and end the run. The client stays open.

        Args:
            timeout: seconds for that, None for no limit; a later call can shorten it. Then orders that were not begun
                are `Unprocessed`, and calls under way are cut: what they may have sent is in doubt. The ledger has two
                seconds more. If it is locked for longer, the desk logs the answers that the ledger lacks.

        Raises:
            UsageError: it is not a number of seconds, or this is another event loop (WrongLoop); nothing is closed.
        """
        if timeout is not None and timeout != 0:
            check_timeout(timeout)
        self._refuse_other_loop()
        self._deadline.within(timeout)
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="gotsurge-desk-close")
        if await self._deadline.awaits(self._closing, RECORDING):
            return self._closing.result()
        log.warning("the ledger %s could not be written in time: unrecorded orders are in doubt", self.ledger.path)
        self._runs.answers.report()
        return self._end_in_doubt()

    def _end_in_doubt(self) -> None:
        for entry in [*self._entries.values()]:
            entry.end_in_doubt("the desk was closed before the order's outcome was recorded")

    # --- callers ----------------------------------------------------------------------------------------------------

    def _written(self, order: OrderLike, key: str | None) -> tuple[Order, str, bytes, dict[str, Any]]:
        return written(order, key, self._clock.now() if self._validate else None, self._max_price)

    async def _create_submitted(self, order: Submitted) -> Outcome:
        made, plain = codec.decode(order.payload, Order), msgspec.json.decode(order.payload)
        return await self._create(made, order.key, order.payload, plain, submitted=order, limited=False)

    def _refuse_other_loop(self) -> None:
        is_closed = self._closing is not None and self._closing.done()
        if self._looking and not is_closed and self._looking[0].get_loop() is not asyncio.get_running_loop():
            raise WrongLoop("this desk was opened in another event loop: one client belongs to one loop")

    def _refuse_closed(self) -> None:
        self._refuse_other_loop()
        if not self._looking or self._closing is not None:
            raise ClientClosed("use a desk inside its `async with`: this one is not open yet, or already closed")

    def _forget(self, entry: Entry) -> None:
        del self._entries[entry.key]

    async def _result(self, entry: Entry, ends: float | None, *, retries: bool = False) -> Outcome:
        """The result of an entry, or what is certain about it when its caller has waited long enough."""
        entry.waiters, entry.retriers = entry.waiters + 1, entry.retriers + retries
        events: list[asyncio.Future[None]] = []
        try:
            if ends is None:
                await entry.known()
            else:
                late = self._clock.sleep(max(0.0, ends - self._clock.monotonic()))
                events = [asyncio.ensure_future(each) for each in (entry.known(), late)]
                await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
            if entry.result is None:
                why = "the desk did not answer in time"
                if self._withdraw(entry):
                    return entry.not_begun(await self._runs.leaving.known([entry.key]), why)
                entry.promised = True
                return InDoubt(order=entry.order, error=entry.what_is_known(why))
        except asyncio.CancelledError as cancelled:
            entry.promised = not self._withdraw(entry)
            raise cancelled from entry.what_is_known("the caller was cancelled")
        finally:
            entry.waiters, entry.retriers = entry.waiters - 1, entry.retriers - retries
            for event in events:
                event.cancel()
        if isinstance(entry.result, GotSurgeError):
            raise copy(entry.result)  # one that all callers share would gather the tracebacks of all
        return entry.result

    def _withdraw(self, entry: Entry) -> bool:
        """Withdraw an order that was not begun when its last caller leaves; returns whether it did."""
        if (withdrawn := entry.withdraw()) and entry in self._waiting:  # else it is taken out to be sent
            self._waiting.remove(entry)
        return withdrawn

    # --- what waits -------------------------------------------------------------------------------------------------

    def _wait(self, entry: Entry) -> None:
        """Have an entry sent: immediately if no call is under way, else together with others or a little later."""
        entry.begun = False
        if self._closing is not None and self._closing.done():
            entry.end_unprocessed(NotSent("the desk is closed", "E906", operation=OPERATION))
            return
        self._waiting.append(entry)
        if self._busy == 0 or len(self._waiting) >= CHUNK:
            self._work_more()
        elif self._timer is None and not self._turning:
            self._timer = asyncio.get_running_loop().call_later(LINGER, self._after_a_while)

    def _after_a_while(self) -> None:
        self._timer = None
        self._work_more()

    def _work_more(self) -> None:
        if self._waiting and self._busy < self._places():
            self._busy += 1
            self._spawn(self._work())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("unexpected error in a desk: %r", error)

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._runs.send([self._waiting.popleft() for _ in range(min(CHUNK, len(self._waiting)))])
                self._turning += 1  # what comes now needs no timer
                for _ in range(TURNS):
                    await asyncio.sleep(0)
                    if self._waiting:
                        break
                self._turning -= 1
        finally:
            self._busy -= 1

    async def _close(self) -> None:
        try:
            for task in self._looking[1:]:  # nothing more is taken
                task.cancel()
            late = asyncio.ensure_future(self._deadline.passed())
            while self._tasks and not late.done():
                await asyncio.wait([*self._tasks, late], return_when=asyncio.FIRST_COMPLETED)
            late.cancel()
            self._runs.stop()
            self._waiting.clear()
            for task in [*self._tasks, *self._looking[:1]]:
                task.cancel()
            self._stopped.set()
            await asyncio.gather(*self._tasks, *self._looking, return_exceptions=True)
            left = [entry for entry in self._entries.values() if not (entry.begun or entry.tried)]
            known = await self._runs.leaving.known([entry.key for entry in left]) if left else {}
            for entry in left:
                entry.end(entry.not_begun(known, "the desk was closed"))
            await self._runs.close()
            await asyncio.gather(*self._tasks, return_exceptions=True)  # which close a ledger that failed
            self._end_in_doubt()  # those of tasks that were cancelled before they began
            with suppress(LedgerError):  # then others take them in a minute
                await self._sender.release()
        finally:
            self._stopped.set()
            if self._timer is not None:
                self._timer.cancel()
            if self._own is not None:
                await self._own.close()
