"""The push with a ledger: never an order twice, never one lost, and what is not known is named."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from types import TracebackType
from typing import Any, TypeVar

import attrs

from gotsurge_async import codec
from gotsurge_async.batcher import Batcher, chunks_of
from gotsurge_async.bulk.ledger import (
    Admission,
    Ledger,
    Mode,
    NewOrder,
    OrderState,
    Outcome,
    PendingOrder,
    Run,
    RunState,
)
from gotsurge_async.bulk.sources import Fault, Source
from gotsurge_async.client import GotSurge
from gotsurge_async.clock import Clock
from gotsurge_async.creates import (
    Created,
    Identity,
    InDoubt,
    OrderResult,
    Refused,
    Unsent,
    chunk_done,
    create_chunk,
    stops_all,
)
from gotsurge_async.endpoints import CHUNK, TASKS_CREATE
from gotsurge_async.errors import GotSurgeError, InvalidData, NotSent, OutcomeUnknown, Problem
from gotsurge_async.models.tasks import Order

T = TypeVar("T")

BLOCK = 500
"""Orders that are read, and put into the ledger, at a time."""
CLAIM_LIFE = 60.0
"""Seconds after which a claim is too old to be sent on: the process may have been frozen, and another taken over."""


class ClaimTooOld(GotSurgeError):
    """Too long passed between the claim of a chunk and its sending; nothing was sent."""


class UnusableSource(InvalidData):
    """A source with faults: nothing of it is in the ledger, and nothing was sent.

    Attributes:
        faults: the first thousand, each with its place.
        count: how many there are.
    """

    def __init__(self, message: str = "", faults: Sequence[Fault] = (), count: int = 0) -> None:
        super().__init__(message, [Problem("", str(fault)) for fault in faults])
        self.faults = tuple(faults)
        self.count = count

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.args[0], self.faults, self.count))


@attrs.frozen(kw_only=True)
class Sent:
    """How the sending of a run ended.

    Attributes:
        stopped_by: the error that a person must act on before the rest can go; None if there was none.
        interrupted: `Push.stop` was called.
    """

    stopped_by: GotSurgeError | None = None
    interrupted: bool = False


class Push:
    """Sends orders through a ledger::

        async with GotSurge(...) as gs, await Ledger.open(path) as ledger:
            push = Push(gs, ledger)
            run, admission = await push.load_orders(orders)
            async with run:
                await push.send(run)

    Every order is in the ledger before anything is sent; the intent to send a chunk is durable before its bytes
    leave, and the result after. So whatever happens, an order is sent at most once, and one whose answer was lost is
    in doubt: looked up, or decided by a person, never blindly sent again. A key (the tracking id, unless a source says
    otherwise) is pushed once in an environment, over all runs and files.

    Args:
        concurrency: chunks in flight, the client's limit unless given.
        chunk: orders in a call, 1 to 20.
        environment: the name under which keys are unique, the client's environment unless given.
        claim_life: seconds, see `CLAIM_LIFE`.
    """

    def __init__(
        self,
        gs: GotSurge,
        ledger: Ledger,
        *,
        concurrency: int | None = None,
        chunk: int = CHUNK,
        environment: str | None = None,
        claim_life: float = CLAIM_LIFE,
    ) -> None:
        self._session = gs.session
        self._ledger = ledger
        self._concurrency = concurrency or gs.limits.concurrency
        self._chunk = chunk
        self._environment = environment or gs.environment.name
        self._claim_life = claim_life
        self._batcher: Batcher[PendingOrder, list[OrderResult[PendingOrder]]] | None = None
        self._stopper: GotSurgeError | None = None
        self._interrupted = False

    # --- loading ----------------------------------------------------------------------------------------------------

    async def load_source(self, source: Source, *, options: Mapping[str, Any] | None = None) -> tuple[Run, Admission]:
        """Read a file of orders into the ledger, whole or not at all. The run that is returned is held: close it.

        Args:
            options: what else the run should remember, as JSON.

        Raises:
            UnusableSource: it has faults, or a key twice; it says every one.
            RunHeld: some of its orders wait in a run that another process is sending.
            LedgerError: the ledger cannot be written.
        """
        rows = source.rows()
        first = await asyncio.to_thread(_block, rows)  # the header is read with the first row
        run = await self._ledger.begin(
            environment=self._environment,
            mode=Mode.DIRECT,
            source=source.name,
            columns=source.columns,
            options=options,
        )
        async with _DiscardOnError(run):
            block = first
            while block:
                await run.add(
                    [NewOrder(row.line, row.key, row.payload, row.original, row.fingerprint) for row in block]
                )
                block = await asyncio.to_thread(_block, rows)
            if not source.report.ok:
                raise UnusableSource(f"{source.name} has faults", source.report.faults, source.report.fault_count)
            return run, await self._admit(run, source.name, source.sha256)

    async def load_orders(
        self,
        orders: Iterable[Order] | AsyncIterable[Order],
        *,
        key: Callable[[Order], str | None] = lambda order: order.tracking_id,
        name: str = "orders",
    ) -> tuple[Run, Admission]:
        """Put orders of a program into the ledger, all or none; the run that is returned is held: close it.

        Args:
            key: what makes an order one and the same in every run.
            name: what the run's source is called.

        Raises:
            UnusableSource: an order without a key, or a key twice.
            RunHeld, LedgerError: as `load_source`.
        """
        run = await self._ledger.begin(environment=self._environment, mode=Mode.DIRECT, source=name)
        async with _DiscardOnError(run):
            number = 0
            async for block in chunks_of(orders, BLOCK):
                rows = []
                for order in block:
                    number += 1
                    order_key = key(order)
                    if not order_key:
                        fault = Fault(file=name, line=number, rule="the order has no key: give it a tracking_id")
                        raise UnusableSource(f"{name} has faults", [fault], 1)
                    rows.append(NewOrder(number, order_key, codec.encode(order)))
                await run.add(rows)
            return run, await self._admit(run, name, None)

    async def _admit(self, run: Run, name: str, sha256: str | None) -> Admission:
        admission = await run.admit(source_sha256=sha256)
        if admission.doubled:
            faults = [
                Fault(
                    file=name,
                    line=doubled.line,
                    value=doubled.key,
                    rule=f"this key stands in line {doubled.first_line} already: one order, one key",
                )
                for doubled in admission.doubled
            ]
            raise UnusableSource(f"{name} has faults", faults, len(faults))
        return admission

    # --- sending ----------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Claim no more orders; what is in flight is waited for and recorded. The rest stays pending."""
        self._interrupted = True
        if self._batcher is not None:
            self._batcher.stop()

    async def send(self, run: Run) -> Sent:
        """Send what is pending in the run, and record what becomes of it.

        Cancelling it records what is in flight as in doubt.

        Raises:
            LedgerError: the ledger cannot be written; nothing is sent that is not recorded.
        """
        self._stopper = None
        await run.start()
        self._batcher = Batcher(
            _flat(run.pending()),
            lambda orders: self._send_chunk(run, orders),
            size=self._chunk,
            concurrency=self._concurrency,
        )
        if self._interrupted:
            self._batcher.stop()
        try:
            async with self._batcher as batches:
                async for _ in batches:
                    pass
        finally:
            await _whole(self._finish(run))
        return Sent(stopped_by=self._stopper, interrupted=self._interrupted)

    @staticmethod
    async def _finish(run: Run) -> None:
        left = (await run.counts())[OrderState.PENDING]
        await run.finish(RunState.STOPPED if left else RunState.DONE)

    async def _send_chunk(self, run: Run, orders: Sequence[PendingOrder]) -> list[OrderResult[PendingOrder]]:
        started = self._session.clock.monotonic()
        results: list[OrderResult[PendingOrder]] = []
        for left in reversed(range(_CLAIMS)):
            claimed = set(await self._claim(run, orders))
            orders = [order for order in orders if order.id in claimed]  # the others were taken over meanwhile
            if not orders:
                break
            results = await self._create(run, orders)
            await _whole(self._record(run, results))
            too_old = isinstance(results[0], Unsent) and isinstance(results[0].error, ClaimTooOld)
            if not (too_old and left) or self._interrupted:
                break
        if results:
            self._note_stopper(results[0])
            self._session.hooks.emit(chunk_done(results, self._session.clock.monotonic() - started))
        return results

    async def _claim(self, run: Run, orders: Sequence[PendingOrder]) -> list[int]:
        claiming = asyncio.ensure_future(run.claim([order.id for order in orders]))
        try:
            return await _whole(claiming)
        except asyncio.CancelledError:
            if not claiming.cancelled() and claiming.exception() is None:
                await _whole(run.release_claim(claiming.result()))  # nothing of them was sent
            raise

    async def _create(self, run: Run, orders: Sequence[PendingOrder]) -> list[OrderResult[PendingOrder]]:
        """Send one claimed chunk."""
        claim = _Claim(self._session.clock, self._claim_life)
        try:
            return await create_chunk(
                self._session,
                TASKS_CREATE,
                orders,
                [order.payload for order in orders],
                [Identity.of(order.payload) for order in orders],
                before_send=claim.leave,
                after_send=claim.land,
            )
        except ClaimTooOld as error:  # whatever was tried before on this claim was answered: not now
            return [Unsent(order=order, error=error) for order in orders]
        except (asyncio.CancelledError, GotSurgeError):  # a usage error, for instance, which says nothing of orders
            await _whole(self._record(run, claim.cancelled(orders)))
            raise

    async def _record(self, run: Run, results: Sequence[OrderResult[PendingOrder]]) -> None:
        unsent = [result.order.id for result in results if isinstance(result, Unsent)]
        outcomes = [_outcome(result) for result in results if not isinstance(result, Unsent)]
        if outcomes:
            await run.record(outcomes)
        if unsent:
            await run.release_claim(unsent)

    def _note_stopper(self, result: OrderResult[PendingOrder]) -> None:
        """When a chunk could not be sent after all attempts, the next ones could not either: stop, and say why."""
        if isinstance(result, Unsent) and not (self._stopper is not None and stops_all(self._stopper)):
            self._stopper = result.error
            if self._batcher is not None:
                self._batcher.stop()


_CLAIMS = 6
"""How often a chunk is claimed anew when waiting, for a 429 say, outlasted its claim."""


class _Claim:
    """Guards the sending of a claimed chunk, and knows whether a try is on its way."""

    def __init__(self, clock: Clock, life: float) -> None:
        self._clock = clock
        self._ends = clock.monotonic() + life
        self._life = life
        self._on_its_way = False

    def leave(self) -> None:
        if self._clock.monotonic() > self._ends:
            raise ClaimTooOld(f"more than {self._life:.0f} s passed between the claim and the sending")
        self._on_its_way = True

    def land(self) -> None:
        self._on_its_way = False

    def cancelled(self, orders: Sequence[PendingOrder]) -> list[OrderResult[PendingOrder]]:
        """What a cancellation means for the chunk."""
        if self._on_its_way:
            error = OutcomeUnknown("interrupted before the answer came", operation=TASKS_CREATE.name)
            return [InDoubt(order=order, error=error) for order in orders]
        return [Unsent(order=order, error=NotSent("interrupted", operation=TASKS_CREATE.name)) for order in orders]


def _outcome(result: OrderResult[PendingOrder]) -> Outcome:
    match result:
        case Created(order=order, receipt=receipt):
            return Outcome(order.id, OrderState.CREATED, task_id=receipt.id, status=receipt.current_status)
        case Refused(order=order, error=error):
            return Outcome(order.id, OrderState.REJECTED, error=str(error))
        case InDoubt(order=order, error=error):
            return Outcome(order.id, OrderState.IN_DOUBT, error=str(error))
        case Unsent():
            raise AssertionError("what was not sent has no outcome: its claim is released")


class _DiscardOnError:
    """Removes a run that could not be loaded whole, also when loading was cancelled."""

    def __init__(self, run: Run) -> None:
        self._run = run

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            # Best effort: a run that stays behind in the state "loading" is never sent, and is swept away later.
            with suppress(GotSurgeError):
                await _whole(self._run.discard())


async def _whole(work: Awaitable[T]) -> T:
    """Await something that must not be left half done: a cancellation waits for its end, and is raised then."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _block(rows: Iterator[T]) -> list[T]:
    return list(islice(rows, BLOCK))


async def _flat(pages: AsyncIterator[list[PendingOrder]]) -> AsyncIterator[PendingOrder]:
    async for page in pages:
        for order in page:
            yield order
