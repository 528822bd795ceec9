"""A run that this process holds: orders are added to it, claimed, and their outcomes recorded."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence, Set
from contextlib import ExitStack, suppress
from datetime import datetime
from typing import Any

from msgspec import structs

from gotsurge_async import codec
from gotsurge_async.api.endpoints import CHUNK
from gotsurge_async.clock import Lasting, to_microseconds, uninterrupted
from gotsurge_async.database import Database
from gotsurge_async.ledger.errors import LedgerError, names_in
from gotsurge_async.ledger.locks import RunLock
from gotsurge_async.ledger.sql import admission, joining, marks, pages, runs
from gotsurge_async.ledger.sql.admission import NO_EVIDENCE, Evidence
from gotsurge_async.ledger.sql.chunks import PLACES, Chunk
from gotsurge_async.ledger.sql.joining import Recorded
from gotsurge_async.ledger.sql.notes import Notes
from gotsurge_async.ledger.sql.recorded import keep_doubts, record_doubts
from gotsurge_async.ledger.sql.runs import Held
from gotsurge_async.ledger.sql.store import Store, writes
from gotsurge_async.ledger.states import (
    DOUBTFUL,
    Admission,
    Counts,
    Mode,
    NewOrder,
    OrderOutcome,
    OrderState,
    PendingOrder,
    RunInfo,
    RunState,
    Taken,
)
from gotsurge_async.models.words import folded

LOOKED_AT_SECONDS = 0.1
"""Seconds that an admission waits for another run's lock: a process may only be checking whether it is held."""

_SOME_KEYS = 10_000


class Run(Notes):
    """A run, from ``Ledger.begin`` or ``Ledger.hold`` until ``close``; no other process can have it meanwhile.

    All that it writes is durable when the call returns. A call that is cancelled may still take effect, as a whole or
    not at all: read before acting on it again.

    Every method raises LedgerClosed after ``close``, and LedgerUnusable once the file or its disk failed. Every write
    carries the epoch under which the run is held, and raises RunLost when another process has taken the run over since:
    a lock can be lost, by a careless clean-up or on a network file system. ``chunk`` is the number of orders of a call.
    """

    def __init__(
        self, store: Store, info: RunInfo, lock: RunLock, *, chunk: int = CHUNK, compact: bool = False
    ) -> None:
        super().__init__(store, info, lock)
        self._chunk = chunk
        self._compact = compact
        self._sending = False

    async def add(self, rows: Sequence[NewOrder]) -> None:
        """Add orders, some thousand at a time. Nothing of them may be sent before ``admit``.

        Raises:
            ValueError: a key is empty, or has a NUL or half a surrogate pair, which databases refuse.
        """
        self._check_loading()
        admission.check_keys(rows)
        if not rows:
            return
        now = self._store.stamp()
        parts = [rows[start : start + self._chunk] for start in range(0, len(rows), self._chunk)]
        await self._write(lambda db: admission.add(db, self._held, parts, now, compact=self._compact))

    async def admit(self, *, source_sha256: str | None = None, evidence: Evidence = NO_EVIDENCE) -> Admission:
        """Admit the orders, all or none: each becomes ``pending``, or ``already_pushed`` if its key is taken.

        A key that is created or in doubt in another run is already pushed. One that only waits, or only has a draft,
        in a run that no process holds is taken over from it (that row is ``superseded``). If it is the same order, in
        two-phase mode, a draft that this account recorded comes along, also if it may have been broadcast: this run
        then reads and broadcasts that draft, by the same id. What such a run was sending in direct mode when it ended
        is in doubt from now on. With a key twice in the run nothing is admitted: see ``Admission.doubled``, and
        ``discard``.

        Args:
            source_sha256: the digest of the source, if it is known only now.
            evidence: for orders that are pushed for the first time since an older copy was accepted.

        Raises:
            RunHeld: a key is waiting, or on its way, in a run that a living process holds. Nothing was admitted.
        """
        self._check_loading()
        now = self._store.stamp()
        rivals = ExitStack()

        def job(db: Database) -> Admission:
            taken = _Rivals(self._store, db, rivals, wait=LOOKED_AT_SECONDS)
            admitted = admission.admit(db, self._held, source_sha256, now, taken.take_or_raise, evidence)
            taken.end(now)
            return admitted

        # Until it is known that nothing was admitted: a call that is cancelled here may still take effect.
        self._loading = False
        try:
            admitted = await self._write(job, after=rivals.close)
        except Exception:
            self._loading = True
            raise
        self._loading = bool(admitted.doubled)
        return admitted

    async def join(
        self,
        rows: Sequence[NewOrder],
        submitted: Mapping[str, int] | None = None,
        fingerprint: Callable[[str], bytes] | None = None,
    ) -> list[int | Recorded | None]:
        """Add up to a chunk of orders to a run that is being sent, and claim those that may be sent: one write.

        A call that is cancelled withdraws the orders that it claimed.

        Args:
            rows: with keys that differ.
            submitted: by key, the numbers of those that were submitted.
            fingerprint: returns that of an order, by its key, where ``rows`` do not have it; called in the writer's
                thread.

        Returns:
            For each order its id, if it is claimed now. Otherwise the order that has its key: nothing of the new one
            is in the ledger then. None for a submitted order that no longer waits: another desk has it.
        """
        self._check_admitted()
        admission.check_keys(rows)
        now, numbers = self._store.stamp(), submitted or {}
        rivals = ExitStack()

        def do(db: Database) -> list[int | Recorded | None]:
            taken = _Rivals(self._store, db, rivals, wait=0)
            answers = joining.join(
                db, self._held, rows, now, taken.take, compact=self._compact, submitted=numbers, fingerprint=fingerprint
            )
            # Else nothing was claimed: an older copy, from before this write, gives the same answers and sends nothing.
            if taken.any or any(isinstance(answer, int) for answer in answers):
                taken.end(now)
            return answers

        wish = joining.Join(self._held, rows, now, self._store.slot, self._compact, bool(numbers), fingerprint, do)
        adding = self._store.request(joining.join_all, wish, after=rivals.close)
        try:
            return await uninterrupted(adding)
        except asyncio.CancelledError:
            if adding.done() and not adding.cancelled() and adding.exception() is None:
                claimed = [answer for answer in adding.result() if isinstance(answer, int)]
                with suppress(LedgerError):  # then another process recovers them
                    await uninterrupted(self.withdraw_claimed(claimed, "not sent: the caller was cancelled"))
            raise

    def knows_task(self, task_id: str) -> bool:
        """Whether a task is recorded in the ledger, as far as this process knows."""
        return self._held.tasks.has(self.info.environment, task_id)

    @writes
    def withdraw(self, db: Database, now: int, ids: Sequence[int], why: str) -> set[int]:
        """Withdraw those orders that are pending or have an unsent draft, and free their keys.

        No run sends them. Submitted orders with their keys wait again. The other orders stay as they are. Returns the
        ids of those that are withdrawn now, or were before.
        """
        return joining.withdraw(db, self._held, ids, why, now)

    async def doubtful_rivals(self) -> list[str]:
        """The runs that have keys of this one in doubt, with a task that can be read; before ``admit``."""
        self._check_loading()
        return await self._store.read(admission.doubtful_rivals, self._held)

    async def discard(self) -> None:
        """Remove the run and all its orders, and close it; only before it was admitted."""
        self._check()
        await discard(self._store, self._held)
        self._lock.release()

    async def start(self) -> None:
        """Begin the sending, under a new epoch; ``recover`` settles orders that were claimed before.

        No worker sends a segment of it from now on, unless it is released to workers again.

        Raises:
            LedgerError: it is being sent already, by another task of this process.
        """
        self._check_admitted()
        await self._store.read_tasks(self.info.environment)
        if self._sending:
            raise LedgerError(f"this process is already sending run {self.id}", "E521", path=self._store.path)
        self._sending = True

        def job(db: Database) -> int:
            if not db.change("start_run", number=self._held.number):
                # Its admission was cancelled, and then refused.
                raise LedgerError(
                    f"run {self.id} was not completely recorded, so none of its orders were sent; push them again",
                    "E523",
                    path=self._store.path,
                )
            runs.withdraw(db, self._held)
            epoch = runs.raise_epoch(db, self.id)
            self._lock.hold(db, epoch)
            return epoch

        starting = asyncio.ensure_future(self._write(job))
        try:
            self._held = structs.replace(self._held, epoch=await asyncio.shield(starting), claims={}, seen={})
        except BaseException:
            # A cancelled call may still take effect, and its epoch is this holder's then.
            await asyncio.wait([starting])
            if not starting.cancelled() and starting.exception() is None:
                self._held = structs.replace(self._held, epoch=starting.result(), claims={}, seen={})
            self._sending = False
            raise

    async def finish(self, *, withdraw: bool = False) -> RunState:
        """End the sending, and return the run's state: ``done``, or ``stopped`` with orders left.

        Args:
            withdraw: workers stop sending it, too; otherwise a run that was released to them is still being sent.
        """
        self._check_admitted()
        self._sending = False
        now = self._store.stamp()

        def job(db: Database) -> RunState:
            record_doubts(db, self._held, now)
            return runs.finish(db, self._held, now, withdrawn=withdraw)

        return await self._write(job)

    def _leave(self, db: Database) -> object:
        record_doubts(db, self._held, self._store.stamp())
        return super()._leave(db)

    def pending(self, batch: int = 1000) -> AsyncIterator[list[PendingOrder]]:
        """The orders that wait, in their order, about ``batch`` at a time; memory stays flat.

        An order whose claim is released behind the place that was reached waits for the next iteration.
        """
        self._check()
        return pages.pending_pages(self._store, self._held, () if self._loading else (OrderState.PENDING,), batch)

    async def keys_of(self, tracking_ids: Set[str], *, are_keys: bool = False) -> list[str]:
        """The keys of its orders that have one of some `folded` tracking ids.

        Args:
            are_keys: whether the key of each order is its tracking id: then nearly always no order is read.
        """

        def is_contested(db: Database) -> bool:
            return bool(db.rows("contested", run=held.number, chunk=0, place=0, most=1))

        def some_keys(db: Database, after: str) -> list[str]:
            rows = db.rows("some_keys", environment=held.environment, after=after, most=_SOME_KEYS)
            return [key for (key,) in rows]

        async def may_have() -> bool:
            if await self._store.read(is_contested):
                return True
            known = await self._store.read(some_keys, "")
            while known and tracking_ids.isdisjoint(map(folded, known)):
                known = await self._store.read(some_keys, known[-1])
            return bool(known)

        def read(_: Database, chunks: dict[int, Chunk]) -> list[str]:
            orders = [order for chunk in chunks.values() for order in chunk.orders()]
            names = ((meta.key, codec.decode_names(payload)[0]) for _, meta, payload, _ in orders)
            return [key for key, tracking_id in names if tracking_id and folded(tracking_id) in tracking_ids]

        self._check()
        held = self._held
        if are_keys and not await may_have():
            return []
        found = pages.pages(self._store, held.number, None, 1000, read, first=held.first, last=held.last)
        return [key async for keys in found for key in keys]

    def names_in(self, orders: Sequence[PendingOrder], body: bytes) -> list[tuple[str | None, str | None]]:
        """The names of some orders, read from the body that holds them all; before they are claimed.

        Raises:
            LedgerUnusable: the JSON of an order is damaged: the service would refuse the whole chunk.
        """
        known = self._held.sums.pop(orders[0].id // PLACES, None)
        if known is not None and known == hash(codec.joined_in(body)):  # as it was written, so it is JSON
            return [codec.decode_names(order.payload) for order in orders]
        return names_in(self.path, orders, body)

    def claim(self, ids: Sequence[int]) -> Lasting[list[int]]:
        """Claim pending orders: ``sending``, or ``drafting`` in two-phase mode. Only claimed orders may be sent.

        Returns:
            A future for the ids that are claimed now, in the order of ``ids``; the others were no longer pending.
        """
        target = OrderState.DRAFTING if self.info.mode is Mode.TWO_PHASE else OrderState.SENDING
        return self._claim(ids, OrderState.PENDING, target)

    def claim_broadcast(self, ids: Sequence[int]) -> Lasting[list[int]]:
        """Claim drafted orders for their broadcast: ``broadcasting``. Returns the ids that are claimed now."""
        return self._claim(ids, OrderState.DRAFTED, OrderState.BROADCASTING)

    async def claim_to_read(self, ids: Sequence[int]) -> list[int]:
        """Claim orders that may have been broadcast, or are in doubt and have a recorded task: ``broadcasting``.

        Their tasks must be read before anything is sent. An order whose cancel may still act is not claimed. Returns
        the ids that are claimed now.
        """
        # In this order each is claimed once: the first is the target of all.
        sources = (OrderState.BROADCASTING, OrderState.IN_DOUBT, OrderState.CANCELLING)
        return [order_id for source in sources for order_id in await self._claim(ids, source, OrderState.BROADCASTING)]

    @writes
    def renew_claim(self, db: Database, now: int, ids: Sequence[int]) -> None:
        """Make the claim of some orders young again, right before they are sent; if it raises, nothing may be sent.

        Raises:
            IllegalTransition: one of them is not claimed any more.
            RunLost: another process has the run now.
        """
        marks.renew(db, self._held, ids, now)

    @writes
    def release_claim(self, db: Database, now: int, ids: Sequence[int]) -> None:
        """Release claimed orders of which certainly nothing was processed.

        ``sending`` and ``drafting`` become ``pending`` again, ``broadcasting`` becomes ``drafted``: that only if no
        broadcast of them left.

        Raises:
            IllegalTransition: one of them is not claimed; none was released.
        """
        marks.release(db, self._held, ids, now)

    @writes
    def withdraw_claimed(self, db: Database, now: int, ids: Sequence[int], why: str) -> None:
        """Release claimed orders as `release_claim` does, and withdraw them as `withdraw` does: one write."""
        marks.release(db, self._held, ids, now)
        joining.withdraw(db, self._held, ids, why, now)

    def doubt(self, ids: Iterable[int]) -> None:
        """Have claimed orders that are still ``drafting`` be in doubt as soon as the ledger can be written.

        They are not drafted again: the answer named another order's task, or may have, and could not be recorded.
        ``finish`` and ``close`` record it, and `recover`, too, if this process resumes the run.
        """
        keep_doubts(self._held, ids)

    def record(
        self, results: Sequence[OrderOutcome] | Taken, *, broadcast: bool = False, read_at: datetime | None = None
    ) -> Lasting[None]:
        """Record the outcomes of claimed orders, a chunk at a time, or of orders in doubt; returns a future.

        Args:
            broadcast: claim those that are drafted for their broadcast, by the same write: ``broadcasting``.
            read_at: when the reading began that the outcomes are from, if they are: what may act after it stays open.

        Raises:
            IllegalTransition: one of them is not in a state that leads to its outcome; nothing was recorded.
            StillOpen: a request for one of them may still act; nothing was recorded.
        """
        for result in [results] if isinstance(results, Taken) else results:
            if result.state not in marks.RECORDED:
                known = ", ".join(state.value for state in marks.RECORDED)
                raise ValueError(f"an outcome must be one of {known}, not {result.state.value}")

        self._check()
        began = None if read_at is None else to_microseconds(read_at)
        request = marks.Results(self._held, results, self._store.stamp(), broadcast, self._store.slot, began)
        return self._store.request(marks.record, request)

    @writes
    def settle_claimed(self, db: Database, now: int, earlier: "Run", outcome: OrderOutcome) -> None:
        """Record an outcome that is known of an order which this process claimed under an earlier epoch of the run.

        Args:
            earlier: the run as it was then. While the claim is that one, no other process has decided the outcome of
                the order. Afterwards the order is in doubt, and only ``created`` can be recorded.
            outcome: ``created``, ``refused``, or ``withdrawn`` of an order that was not sent.

        Nothing changes if the outcome is recorded: the write that failed before may have taken effect.

        Raises:
            IllegalTransition: the order was settled meanwhile, or another process has it in doubt.
            TaskTaken: its task is recorded for another order.
        """
        joining.settle(db, structs.replace(self._held, claims=dict(earlier._held.claims), seen={}), outcome, now)

    @writes
    def resolve(
        self, db: Database, now: int, words: Mapping[str, str | None], *, by: str, cancelled: Set[str] = frozenset()
    ) -> None:
        """Record an operator's decisions about orders in doubt, as `Ledger.resolve`.

        Orders that an earlier holder was sending or broadcasting are in doubt, too: call ``recover`` first.

        Raises:
            NoSuchRun: the run has no such order.
            IllegalTransition: one is not in doubt, or another task is recorded for it.
        """
        marks.resolve(db, self._held, words, cancelled, DOUBTFUL, by, now)

    async def recover(self) -> Counts:
        """Settle what earlier holders left unfinished; call it first on a resumed run. Returns the counts after it.

        Of their claims, ``sending`` becomes ``in_doubt``, ``drafting`` becomes ``pending``; ``broadcasting``
        stays, to be read by its task id. Claims of this holder stay as they are.
        """
        now = self._store.stamp()
        await self._write(lambda db: marks.recover(db, self._held, now))
        return await self.counts()

    async def keep_undo(self, undo: Mapping[str, Any] | None) -> None:
        """Store the progress of the run's undo, as its option ``undo``; None if there is none, or the run continues."""
        options = await self._write(lambda db: runs.keep_undo(db, self._held, undo))
        self.info: RunInfo = structs.replace(self.info, options=options)

    def _claim(self, ids: Sequence[int], source: OrderState, target: OrderState) -> Lasting[list[int]]:
        self._check_admitted()
        wish = marks.Claim(self._held, ids, source, target, self._store.stamp(), self._store.slot)
        return self._store.request(marks.claim, wish)


class _Rivals:
    """Other runs that are locked until a transaction is over, each in ``wait`` seconds: no other process can write."""

    def __init__(self, store: Store, db: Database, locks: ExitStack, *, wait: float) -> None:
        locks.close()  # those of an attempt that was undone
        self._store, self._db, self._locks, self._wait = store, db, locks, wait
        self._taken: set[str] = set()
        self._held: set[str] = set()

    @property
    def any(self) -> bool:
        """Whether a run was locked."""
        return bool(self._taken)

    def take(self, rival: str) -> bool:
        """Lock a run, and fence its last holder; returns False if a living process has it."""
        if rival in self._taken | self._held:
            return rival in self._taken
        lock = self._store.locks.take(self._db, rival, wait=self._wait)
        if lock is None:
            self._held.add(rival)
            return False
        self._locks.callback(lock.release)
        self._taken.add(rival)
        runs.raise_epoch(self._db, rival)
        return True

    def take_or_raise(self, rival: str) -> None:
        """Lock a run; RunHeld if a living process has it."""
        if not self.take(rival):
            raise runs.held(self._db, rival)

    def end(self, now: int) -> None:
        """End runs that lost their last orders. This write is counted last, because other writers wait for that row."""
        for rival in self._taken:
            runs.settle_emptied(self._db, rival, now)
        marks.count(self._db, self._store.slot)


async def discard(store: Store, run: Held) -> None:
    """Remove a held loading run, by blocks, so that other writers have their turn; RunLost if it was taken over."""
    while await store.write(lambda db: admission.discard_some(db, run)):
        pass
