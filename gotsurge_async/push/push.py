"""The push with a ledger: no order is sent twice or lost, and those of unknown outcome are listed."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

from msgspec import Struct

from gotsurge_async import codec
from gotsurge_async.after.lookup import find_own_drafts
from gotsurge_async.api.endpoints import CHUNK, PLATFORM_TASKS_LIST
from gotsurge_async.calls.create import (
    Created,
    Identity,
    InDoubt,
    Unprocessed,
    named_by,
    other_name,
    report_chunk,
    stops_all,
)
from gotsurge_async.calls.stream import Batcher, Pages
from gotsurge_async.calls.tries import backoff
from gotsurge_async.clock import uninterrupted
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
from gotsurge_async.ledger import (
    UNDO,
    WITH_DRAFT,
    Admission,
    Ledger,
    Mode,
    OrderRow,
    OrderState,
    OtherServer,
    PendingOrder,
    Run,
    RunHeld,
)
from gotsurge_async.ledger.locks import LEASE_SECONDS
from gotsurge_async.ledger.sql.admission import NO_EVIDENCE, Evidence
from gotsurge_async.ledger.sql.runs import refuse_other_server
from gotsurge_async.models.tasks import ENDED_EARLY, Order
from gotsurge_async.push.brakes import Brakes, BrakeWatch, LimitReached
from gotsurge_async.push.chunks import CLAIM_LIFE, ChunkSender, DirectSender, OnRefusedChunk, Results
from gotsurge_async.push.entering import Entering, place_of, warn_of_other_servers
from gotsurge_async.push.load import Loader, discarded_on_error
from gotsurge_async.tables import Source

if TYPE_CHECKING:
    from gotsurge_async.client import GotSurge
    from gotsurge_async.push.two_phase import TwoPhaseSender

T = TypeVar("T")

_CONFIRM_TRIES = 5


class Sent(Struct, frozen=True, kw_only=True):
    """The result of sending a run.

    Attributes:
        stopped_by: the error that a person must act on before the rest can be sent; None if there was none.
        interrupted: whether `Push.stop` was called.
        lost_drafts: keys of orders for which an unused draft may exist that the ledger does not name (two-phase).
        spent: the prices of orders created or in doubt, in thousandths of a cent; 0 where nothing limits them.
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
    in doubt: looked up, or decided by a person, never blindly sent again. A key (the tracking id, unless a source has
    another) is pushed once in an environment, over all runs and files.

    A run that an earlier process left is resumed with ``await ledger.hold(run_id)`` and sent with the same `send`.

    Args:
        mode: two-phase (platform partners; exactly once) or direct (at most once); see `choose_mode`. The run keeps
            it, and is resumed in its own mode.
        concurrency: the most chunks in flight, the client's limit unless given.
        chunk: orders in a call, 1 to 20.
        compact: have the ledger compress the orders of new runs: a fraction of the size, for some more time.
        environment: the name under which keys are unique, the client's environment unless given.
        on_refused_chunk: hold or split; unless given, hold in direct mode and split in two-phase mode.
        brakes: the limits that stop the push before its end.
        claim_life: seconds, see `chunks.CLAIM_LIFE`.
        new_ledger: begin another ledger for an account to which another ledger of this machine has pushed. Both send
            what both have; the register remembers the decision.
        register: whether the push enters its runs into the register of this machine's ledgers; not for a service that
            ends with this process.
        not_sent_before: after an older copy of the ledger was accepted, send also orders that nothing shows to be new:
            a person knows that no run that is not in the copy sent them.

    Raises:
        UsageError: claims live too long for the lease of a run in PostgreSQL.
    """

    def __init__(
        self,
        gs: "GotSurge",
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
        self.brakes: Brakes = brakes or Brakes()
        self._claim_life = claim_life
        self._not_sent_before = not_sent_before
        if ledger.place.kind is not Kind.SQLITE and claim_life / 2 >= LEASE_SECONDS * 4 / 5:
            why = f"a claim life of {claim_life:g} s is too long for a run with a lease of {LEASE_SECONDS:g} s"
            raise UsageError(why, "E704")
        self.entering: Entering | None = Entering(gs, ledger, new_ledger) if register else None
        self._batcher: Batcher[Any, Results] | None = None
        self._stopper: GotSurgeError | None = None
        self._stopping = asyncio.Event()

    # --- loading ----------------------------------------------------------------------------------------------------

    async def load_source(self, source: Source, *, options: Mapping[str, Any] | None = None) -> tuple[Run, Admission]:
        """Load a file of orders into the ledger, whole or not at all. The returned run is held: close it.

        Args:
            options: other values that the run should store, as JSON.

        Raises:
            UnusableSource: the file has faults, or a key twice; the error lists all.
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
        """Load orders of a program into the ledger, all or none; the returned run is held: close it.

        Args:
            orders: each an `Order`, or a dict of its fields as the API writes them.
            key: returns the key that identifies an order in every run.
            name: the name of the run's source.

        Raises:
            UnusableSource: an order without a key, a key twice, or a tracking id or invoice number that is not text.
            InvalidData: a value is not an order; every fault with its path, such as ``orders[1].to_address``.
            RunHeld, SecondLedger, LedgerError: as `load_source`.
        """
        run, admission = await self._loader().orders(orders, key, name)
        if admission.already_pushed:
            how, where = "count as already pushed", self._gs.environment.api_base
            async with discarded_on_error(run):
                await warn_of_other_servers(self._ledger, self._environment, where, how)
        return run, admission

    def _loader(self) -> Loader:
        return Loader(
            self._ledger,
            self._environment,
            self.mode,
            look_up=self._look_up,
            chunk=self._chunk,
            compact=self._compact,
            entering=self.entering,
            options=place_of(self._gs),
        )

    async def enter(self, run: Run) -> None:
        """Enter a run of an earlier process into the register of this machine's ledgers, as `send` does, too.

        Raises:
            SecondLedger: another ledger of this machine has pushed to the account, and this one has not.
            RegisterUnusable: the register cannot be read, or is damaged.
        """
        if self.entering is not None:
            await self.entering.enter(run)

    async def _look_up(self, run: Run) -> Evidence:
        """Reconcile orders in doubt of other runs with this run's keys, and look up orders that are pushed first.

        An order that cannot be read now stays in doubt, and so this run does not send it either.
        """
        for rival in await run.doubtful_rivals():
            from gotsurge_async.after.reconcile import Reconciler  # few pushes have one

            with suppress(RunHeld, CallError, OtherServer):
                await Reconciler(self._gs, self._ledger).reconcile(rival, task_list=False)
        if self._not_sent_before:
            return Evidence(not_sent_before=True)
        first = await self._ledger.first_pushed(run)
        if not first:
            return NO_EVIDENCE
        from gotsurge_async.after.lost_runs import look_up_first_pushed

        return await look_up_first_pushed(self._gs, self._ledger, run, first)

    async def choose_mode(self) -> Mode:
        """Choose two-phase for a platform partner, direct for a plain one, by a call to the service.

        Raises:
            CallError: the answer does not decide it; nothing is assumed then.
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
            try:
                return self._session.require(*(DirectSender if mode is Mode.DIRECT else _two_phase()).needs)
            except EndpointsAssumed as error:
                guesses.append(error)
        raise guesses[0]

    # --- sending ----------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Claim no more orders; those in flight end and are recorded, and the others stay pending.

        An order that was not processed yet and waits for another try, as after a 429, stays pending, too.
        """
        self._stopping.set()
        if self._batcher is not None:
            self._batcher.stop()

    async def send(self, run: Run, *, canary_only: bool = False) -> Sent:
        """Send a run to its end: first the orders that an earlier process had begun, then the pending ones.

        If it is cancelled, orders in flight are recorded: as in doubt, or in two-phase mode for a later `send`.

        Args:
            canary_only: send only the canary.

        Raises:
            EndpointsAssumed: this client changes nothing on paths that are a guess; nothing was sent.
            OtherServer: the run belongs to another server than the client's; nothing was sent.
            SecondLedger: another ledger of this machine has pushed to the account, and this one has not.
            LedgerError: the ledger cannot be written; nothing is sent that is not recorded.
        """
        refuse_other_server(run.info, self._gs.environment.api_base)
        sender = self.sender(run)
        self._session.require(*sender.needs)
        await self.enter(run)
        self._stopper = None
        watch = BrakeWatch(self.brakes)

        async def send(orders: Sequence[PendingOrder]) -> Results:
            started = self._session.clock.monotonic()
            try:
                place = watch.enter(orders)
            except LimitReached as error:
                self._halt(error)
                return []
            results = await sender.send(orders)
            self._halt(watch.leave(place, results))
            return self._ended(results, started)

        run.settle_after(self._gs.limits.settle)
        await run.start()
        try:
            if UNDO in run.info.options:
                await run.keep_undo(None)
            await run.recover()
            sender.lost_drafts.update(await run.lost_drafts())
            await watch.begin(run)
            if not isinstance(sender, DirectSender):
                await self._finish(run, cast("TwoPhaseSender", sender), watch)
            if self.brakes.canary:
                await self._send_canary(run, sender, send)
            if not canary_only:
                await self._batches(Pages(run.pending()), send)
        finally:
            run.doubt(order for order, result in sender.unrecorded.items() if sender.names_known_task(result))
            await uninterrupted(run.finish())
        return Sent(
            stopped_by=self._stopper,
            interrupted=self._stopping.is_set(),
            lost_drafts=frozenset(sender.lost_drafts),
            spent=watch.spent,
        )

    def sender(self, run: Run) -> ChunkSender:
        """The sender of chunks for a run, in the run's own mode."""
        if run.info.mode is Mode.DIRECT:
            return DirectSender(
                session=self._session,
                run=run,
                claim_life=self._claim_life,
                on_refused_chunk=self._on_refused_chunk or OnRefusedChunk.HOLD,
                stopping=self._stopping,
            )
        return _two_phase()(
            session=self._session,
            run=run,
            claim_life=self._claim_life,
            on_refused_chunk=self._on_refused_chunk or OnRefusedChunk.SPLIT,
            stopping=self._stopping,
            find_drafts=self._find_drafts,
            stop=self._halt,
        )

    async def _find_drafts(self, run: Run, keys: Collection[str]) -> dict[str, str]:
        return await run.adoptable(await find_own_drafts(self._gs, run, keys))

    async def _finish(self, run: Run, sender: "TwoPhaseSender", watch: BrakeWatch) -> None:
        """Finish orders that an earlier process left drafted, or broadcast."""

        async def finish(rows: Sequence[OrderRow]) -> Results:
            started = self._session.clock.monotonic()
            results = await sender.finish(rows)
            counted = {row.id for row in rows if row.state is OrderState.IN_DOUBT}  # when the watch began
            new = [result for result in results if not (isinstance(result, InDoubt) and result.order.id in counted)]
            self._halt(watch.count(new))
            return self._ended(results, started)

        await self._batches(run.rows(WITH_DRAFT | {OrderState.CANCELLING}), finish)

    async def _batches(
        self,
        items: AsyncIterable[T] | Pages[T],
        send: Callable[[Sequence[T]], Awaitable[Results]],
        keep: Results | None = None,
    ) -> None:
        """Pass items to ``send`` in chunks, unless the push was stopped; add the results to ``keep``, if any."""
        batcher = self._batcher = Batcher(items, send, size=self._chunk, concurrency=self._concurrency)
        if self._stopping.is_set() or self._stopper is not None:
            batcher.stop()
        async with batcher as batches:
            async for results in batches:
                if keep is not None:
                    keep += results

    def _ended(self, results: Results, started: float) -> Results:
        """Report a chunk, and stop the push if the next ones would fail too, even after all tries."""
        self._halt(next((result.error for result in results if isinstance(result, Unprocessed)), None))
        if results:
            report_chunk(self._session, map(type, results), started)
        return results

    def _halt(self, error: GotSurgeError | None) -> None:
        """Begin no more chunks if there is an error. Of several errors, one that needs a person is kept, then a limit.

        Orders that were not sent because the push was stopped are not an error.
        """
        if error is None or (self._stopping.is_set() and isinstance(error, NotSent | RateLimited)):
            return
        # A limit holds for all workers of a run; a service that cannot be reached only makes one of them rest.
        stopper = self._stopper
        if stopper is None or stops_all(error) or (isinstance(error, LimitReached) and not stops_all(stopper)):
            self._stopper = error
        if self._batcher is not None:
            self._batcher.stop()

    async def _send_canary(
        self, run: Run, sender: ChunkSender, send: Callable[[Sequence[PendingOrder]], Awaitable[Results]]
    ) -> None:
        """Send a few orders, and check by reading that they exist, before the rest may be sent."""
        results: Results = []
        await self._batches(Pages(_first(run, self.brakes.canary)), send, results)
        for result in results:
            if not isinstance(result, Created):
                self._halt(LimitReached(f"the canary (the first order, {result.order.key}) was not created", "E603"))
            elif not await self._is_there(sender, result.receipt.id, codec.decode_names(result.order.payload)):
                why = f"the canary (the first order, {result.order.key}) was created, but its task cannot be read"
                self._halt(LimitReached(why, "E603"))

    async def _is_there(self, sender: ChunkSender, task_id: str, identity: Identity) -> bool:
        for tries in range(_CONFIRM_TRIES):
            if tries:  # what was just created may take a moment to be seen
                await self._session.clock.sleep(backoff(self._session.policy, tries, 1.0))
            with suppress(CallError):
                task = await sender.read(task_id)
                return task.current_status not in ENDED_EARLY and not other_name(identity, named_by(task))
        return False


async def _first(run: Run, count: int) -> AsyncIterator[Sequence[PendingOrder]]:
    async for page in run.pending(count):
        yield page[:count]
        count -= len(page)
        if count <= 0:
            return


def _two_phase() -> "type[TwoPhaseSender]":
    from gotsurge_async.push.two_phase import TwoPhaseSender  # only for platform partners

    return TwoPhaseSender
