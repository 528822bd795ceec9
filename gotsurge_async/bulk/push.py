"""The push with a ledger: never an order twice, never one lost, and what is not known is named."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import attrs

from gotsurge_async import codec
from gotsurge_async.api.endpoints import CHUNK, PLATFORM_TASKS_GET, PLATFORM_TASKS_LIST, TASKS_GET, Endpoint
from gotsurge_async.bulk.after.first_pushed import look_up_first_pushed
from gotsurge_async.bulk.after.lookup import find_unused_drafts
from gotsurge_async.bulk.after.reconcile import Reconciler
from gotsurge_async.bulk.ledger import (
    UNDO,
    WITH_DRAFT,
    Admission,
    Ledger,
    Mode,
    OrderRow,
    OrderState,
    PendingOrder,
    Run,
    RunHeld,
)
from gotsurge_async.bulk.ledger.locks import LEASE_SECONDS
from gotsurge_async.bulk.ledger.sql.admission import NO_EVIDENCE, Evidence
from gotsurge_async.bulk.send.brakes import Brakes, BrakeWatch, LimitReached
from gotsurge_async.bulk.send.chunks import ChunkSender, OnRefusedChunk, Results
from gotsurge_async.bulk.send.claims import CLAIM_LIFE
from gotsurge_async.bulk.send.direct import DirectSender
from gotsurge_async.bulk.send.entering import Entering
from gotsurge_async.bulk.send.load import Loader
from gotsurge_async.bulk.send.two_phase import TwoPhaseSender
from gotsurge_async.bulk.sources import Source
from gotsurge_async.calls.create import (
    Created,
    Identity,
    InDoubt,
    Unprocessed,
    chunk_done,
    named_by,
    other_name,
    stops_all,
)
from gotsurge_async.calls.retry import backoff
from gotsurge_async.calls.stream import Batcher, Pages
from gotsurge_async.cancellation import uninterrupted
from gotsurge_async.client import GotSurge
from gotsurge_async.codec.given import OrderLike
from gotsurge_async.database import Kind
from gotsurge_async.errors import (
    CallError,
    EndpointsAssumed,
    Forbidden,
    GotSurgeError,
    NotFound,
    NotSent,
    RateLimited,
    UsageError,
)
from gotsurge_async.models.tasks import Order, Task, TaskStatus
from gotsurge_async.resources.reading import task_of

T = TypeVar("T")

_CONFIRM_TRIES = 5


@attrs.frozen(kw_only=True)
class Sent:
    """How the sending of a run ended.

    Attributes:
        stopped_by: the error that a person must act on before the rest can go; None if there was none.
        interrupted: `Push.stop` was called.
        lost_drafts: keys of orders for which an unused draft may exist that the ledger does not name (two-phase).
        spent: the prices of what is created or in doubt, in thousandths of a cent; 0 where nothing limits them.
    """

    stopped_by: GotSurgeError | None = None
    interrupted: bool = False
    lost_drafts: frozenset[str] = frozenset()
    spent: int = 0


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

    A run that an earlier process left is taken up with ``await ledger.hold(run_id)`` and sent with the same `send`.

    Args:
        mode: two-phase (platform partners; exactly once) or direct (at most once); see `choose_mode`. It is kept with
            the run, and a run that is taken up goes on in its own.
        concurrency: the most chunks in flight, the client's limit unless given.
        chunk: orders in a call, 1 to 20.
        compact: have the ledger keep the orders of new runs compressed: a fraction of the size, for some time.
        environment: the name under which keys are unique, the client's environment unless given.
        on_refused_chunk: hold or split; unless given, hold in direct mode and split in two-phase mode.
        brakes: what stops the push before its end.
        claim_life: seconds, see `claims.CLAIM_LIFE`.
        new_ledger: begin another ledger for an account to which another ledger of this machine has pushed. Both send
            what both have; the register remembers the decision.
        register: whether the push enters its runs into the register of this machine's ledgers; not for a service that
            ends with this process.
        not_sent_before: after an older copy of the ledger was accepted, send also orders that nothing shows to be new:
            a person says that no run that the copy does not know sent them.

    Raises:
        UsageError: claims live too long for the lease of a run in PostgreSQL.
    """

    def __init__(
        self,
        gs: GotSurge,
        ledger: Ledger,
        *,
        mode: Mode | str = Mode.DIRECT,
        concurrency: int | None = None,
        chunk: int = CHUNK,
        compact: bool = False,
        environment: str | None = None,
        on_refused_chunk: OnRefusedChunk | str | None = None,
        brakes: Brakes | None = None,
        claim_life: float = CLAIM_LIFE,
        new_ledger: bool = False,
        register: bool = True,
        not_sent_before: bool = False,
    ) -> None:
        self.mode: Mode = Mode(mode)
        self._gs = gs
        self._session = gs.session
        self._ledger = ledger
        self._concurrency = gs.session.limiter.at_most(concurrency)
        self._chunk = chunk
        self._compact = compact
        self._environment = environment or gs.environment.name
        self._on_refused_chunk = None if on_refused_chunk is None else OnRefusedChunk(on_refused_chunk)
        self._brakes = brakes or Brakes()
        self._claim_life = claim_life
        self._not_sent_before = not_sent_before
        if ledger.place.kind is not Kind.SQLITE and claim_life / 2 >= LEASE_SECONDS * 4 / 5:
            raise UsageError(f"claims of {claim_life:g} s are too old for a run that is leased for {LEASE_SECONDS:g} s")
        self._entering = Entering(gs, ledger, new_ledger) if register else None
        self._batcher: Batcher[Any, Results] | None = None
        self._stopper: GotSurgeError | None = None
        self._stopping = asyncio.Event()

    # --- loading ----------------------------------------------------------------------------------------------------

    async def load_source(self, source: Source, *, options: Mapping[str, Any] | None = None) -> tuple[Run, Admission]:
        """Read a file of orders into the ledger, whole or not at all. The run that is returned is held: close it.

        Args:
            options: what else the run should remember, as JSON.

        Raises:
            UnusableSource: it has faults, or a key twice; it says every one.
            RunHeld: some of its orders wait in a run that another process is sending.
            SecondLedger: another ledger of this machine has pushed to the account, or has these very orders.
            LedgerError: the ledger cannot be written.
        """
        return await self._loader().source(source, options)

    async def load_orders(
        self,
        orders: Iterable[OrderLike] | AsyncIterable[OrderLike],
        *,
        key: Callable[[Order], str | None] = lambda order: order.tracking_id,
        name: str = "orders",
    ) -> tuple[Run, Admission]:
        """Put orders of a program into the ledger, all or none; the run that is returned is held: close it.

        Args:
            orders: each an `Order`, or a dict of its fields as the API writes them.
            key: what makes an order one and the same in every run.
            name: what the run's source is called.

        Raises:
            UnusableSource: an order without a key, a key twice, or a tracking id or invoice number that is no text.
            InvalidData: what is no order; every fault with its path, such as ``orders[1].to_address``.
            RunHeld, SecondLedger, LedgerError: as `load_source`.
        """
        return await self._loader().orders(orders, key, name)

    def _loader(self) -> Loader:
        return Loader(
            self._ledger,
            self._environment,
            self.mode,
            look_up=self._look_up,
            chunk=self._chunk,
            compact=self._compact,
            enter=None if self._entering is None else self._entering.enter,
            forget=None if self._entering is None else self._entering.forget,
        )

    async def enter(self, run: Run) -> None:
        """Enter a run of an earlier process into the register of this machine's ledgers; `send` does it, too.

        Raises:
            SecondLedger: another ledger of this machine has pushed to the account, and this one has not.
            RegisterUnusable: the register cannot be read, or is damaged.
        """
        if self._entering is not None:
            await self._entering.enter(run)

    async def _look_up(self, run: Run) -> Evidence:
        """Read the tasks of orders in doubt elsewhere whose keys stand in the run, so that it is known whose they are.

        What cannot be read now stays in doubt, and so does not go out by this run either. What is pushed for the first
        time since an older copy of the ledger was accepted is looked up, too.
        """
        for rival in await run.doubtful_rivals():
            with suppress(RunHeld, CallError):
                await Reconciler(self._gs, self._ledger).reconcile(rival, task_list=False)
        if self._not_sent_before:
            return Evidence(not_sent_before=True)
        first = await self._ledger.first_pushed(run)
        return await look_up_first_pushed(self._gs, self._ledger, run, first) if first else NO_EVIDENCE

    async def choose_mode(self) -> Mode:
        """Ask the service what the account may do: two-phase for a platform partner, direct for a plain one.

        Raises:
            CallError: the service does not say; nothing is assumed then.
        """
        try:
            await self._session.call(PLATFORM_TASKS_LIST, query={"page": 1, "per_page": 1})
            self.mode = Mode.TWO_PHASE
        except (Forbidden, NotFound):
            self.mode = Mode.DIRECT
        return self.mode

    def check_endpoints(self, *modes: Mode) -> None:
        """Check that this client may call all endpoints that a run needs: `send` does it again before anything leaves.

        Args:
            modes: at least one of them must be possible; the push's own unless given.

        Raises:
            EndpointsAssumed: this client changes nothing on paths that are a guess.
        """
        guesses = []
        for mode in modes or (self.mode,):
            sender = DirectSender if mode is Mode.DIRECT else TwoPhaseSender
            try:
                return self._session.require(*sender.needs)
            except EndpointsAssumed as error:
                guesses.append(error)
        raise guesses[0]

    # --- sending ----------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Claim no more orders; what is in flight is waited for and recorded. The rest stays pending.

        What was not processed yet and waits for another try, as a 429 asked for, is not sent, and is pending, too.
        """
        self._stopping.set()
        if self._batcher is not None:
            self._batcher.stop()

    async def send(self, run: Run, *, canary_only: bool = False) -> Sent:
        """Bring the run to its end: what an earlier process left in the middle first, then what is pending.

        Cancelling it records what is in flight: as in doubt, or in two-phase mode as what a later `send` takes up.

        Args:
            canary_only: leave what follows the canary to others.

        Raises:
            EndpointsAssumed: this client changes nothing on paths that are a guess; nothing was sent.
            SecondLedger: another ledger of this machine has pushed to the account, and this one has not.
            LedgerError: the ledger cannot be written; nothing is sent that is not recorded.
        """
        sender = self._sender(run)
        self._session.require(*sender.needs)
        await self.enter(run)
        self._stopper = None
        watch = BrakeWatch(self._brakes)

        async def send(orders: Sequence[PendingOrder]) -> Results:
            started = self._session.clock.monotonic()
            try:
                place = watch.enter(orders)
            except LimitReached as error:
                self._halt(error)
                return []
            results = await sender.send(orders)
            self._halt(watch.leave(place, results))
            return self._told(results, started)

        run.settle_after(self._gs.limits.settle)
        await run.start()
        try:
            if UNDO in run.info.options:
                await run.keep_undo(None)
            await run.recover()
            sender.lost_drafts.update(await run.lost_drafts())
            await watch.begin(run)
            if isinstance(sender, TwoPhaseSender):
                await self._finish(run, sender, watch)
            if self._brakes.canary:
                await self._send_canary(run, send)
            if not canary_only:
                await self._batches(Pages(run.pending()), send)
        finally:
            await uninterrupted(run.finish())
        return Sent(
            stopped_by=self._stopper,
            interrupted=self._stopping.is_set(),
            lost_drafts=frozenset(sender.lost_drafts),
            spent=watch.spent,
        )

    def _sender(self, run: Run) -> ChunkSender:
        if run.info.mode is Mode.DIRECT:
            choice = self._on_refused_chunk or OnRefusedChunk.HOLD
            return DirectSender(
                self._session,
                run,
                claim_life=self._claim_life,
                on_refused_chunk=choice,
                stopping=self._stopping,
            )
        return TwoPhaseSender(
            self._session,
            run,
            claim_life=self._claim_life,
            on_refused_chunk=self._on_refused_chunk or OnRefusedChunk.SPLIT,
            find_drafts=self._find_drafts,
            stop=self._halt,
            stopping=self._stopping,
        )

    async def _find_drafts(self, run: Run, keys: Collection[str]) -> dict[str, str]:
        found = {draft.key: draft.task_id for draft in await find_unused_drafts(self._gs, run, keys)}
        return await run.adoptable(found)

    async def _finish(self, run: Run, sender: TwoPhaseSender, watch: BrakeWatch) -> None:
        """Bring to its end what an earlier process left drafted, or broadcast."""

        async def finish(rows: Sequence[OrderRow]) -> Results:
            started = self._session.clock.monotonic()
            results = await sender.finish(rows)
            counted = {row.id for row in rows if row.state is OrderState.IN_DOUBT}  # when the watch began
            new = [each for each in results if not (isinstance(each, InDoubt) and each.order.id in counted)]
            self._halt(watch.count(new))
            return self._told(results, started)

        await self._batches(run.rows(WITH_DRAFT | {OrderState.CANCELLING}), finish)

    async def _batches(
        self,
        items: AsyncIterable[T] | Pages[T],
        send: Callable[[Sequence[T]], Awaitable[Results]],
        keep: Results | None = None,
    ) -> None:
        """Give items to ``send`` in chunks, unless the push was stopped; the results go to ``keep``, if it is given."""
        batcher = self._batcher = Batcher(items, send, size=self._chunk, concurrency=self._concurrency)
        if self._stopping.is_set() or self._stopper is not None:
            batcher.stop()
        async with batcher as batches:
            async for results in batches:
                if keep is not None:
                    keep += results

    def _told(self, results: Results, started: float) -> Results:
        """Tell of a chunk, and stop the push where the next ones would fail too, even after all tries."""
        self._halt(next((result.error for result in results if isinstance(result, Unprocessed)), None))
        if results:
            self._session.hooks.emit(chunk_done(results, self._session.clock.monotonic() - started))
        return results

    def _halt(self, error: GotSurgeError | None) -> None:
        """Take no more chunks, if there is a reason. Of several, one that a person must mend is reported, then a limit.

        What was not sent because the push was stopped has no other reason.
        """
        if error is None or (self._stopping.is_set() and isinstance(error, NotSent | RateLimited)):
            return
        # A limit holds for all workers of a run; that a service could not be reached only makes one of them rest.
        stopper = self._stopper
        if stopper is None or stops_all(error) or (isinstance(error, LimitReached) and not stops_all(stopper)):
            self._stopper = error
        if self._batcher is not None:
            self._batcher.stop()

    async def _send_canary(self, run: Run, send: Callable[[Sequence[PendingOrder]], Awaitable[Results]]) -> None:
        """Send a few orders, and see by reading that they are there, before the rest may go."""
        results: Results = []
        await self._batches(Pages(_first(run, self._brakes.canary)), send, results)
        endpoint = PLATFORM_TASKS_GET if run.info.mode is Mode.TWO_PHASE else TASKS_GET
        for result in results:
            if not isinstance(result, Created):
                self._halt(LimitReached(f"the canary: order {result.order.key} was not created"))
            elif not await self._is_there(endpoint, result.receipt.id, codec.decode_names(result.order.payload)):
                self._halt(LimitReached(f"the canary: order {result.order.key} was created, and cannot be read"))

    async def _is_there(self, endpoint: Endpoint[Task], task_id: str, identity: Identity) -> bool:
        for tries in range(_CONFIRM_TRIES):
            if tries:  # what was just created may take a moment to be seen
                await self._session.clock.sleep(backoff(self._session.policy, tries, 1.0))
            with suppress(CallError):
                task = await self._session.call(endpoint, path={"task_id": task_id}, read=task_of(task_id))
                gone = task.current_status in (TaskStatus.CANCELLED, TaskStatus.EXPIRED)
                return not gone and not other_name(identity, named_by(task))
        return False


async def _first(run: Run, count: int) -> AsyncIterator[Sequence[PendingOrder]]:
    async for page in run.pending(count):
        yield page[:count]
        count -= len(page)
        if count <= 0:
            return
