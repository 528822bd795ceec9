"""One run in this process's hands: its orders go in, are claimed, and their outcomes are recorded."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self, TypeVar

from sqlalchemy import Connection, update

from . import loading, marks, queries
from .admission import admit
from .errors import LedgerClosed, LedgerError, RunHeld
from .holder import RunLock
from .records import Admission, Counts, NewOrder, OrderRow, Outcome, PendingOrder, Remark, RunInfo, Similar
from .schema import runs
from .states import Mode, OrderState, RunState
from .store import Store

T = TypeVar("T")


class Run:
    """A run, from ``Ledger.begin`` or ``Ledger.hold`` until ``close``; no other process can have it meanwhile.

    All that it writes is durable when the call returns. A call that is cancelled may still come to pass, as a whole
    or not at all: read before acting on it again.

    Every method raises LedgerClosed after ``close``, and LedgerUnusable once the file or its disk failed.
    """

    def __init__(self, store: Store, info: RunInfo, lock: RunLock) -> None:
        self.info = info
        """The run as it was when it was begun or taken up."""
        self._store = store
        self._lock = lock
        self._loading = info.state is RunState.LOADING

    @property
    def id(self) -> str:
        """Its name: the UTC time of its beginning and four characters, such as ``20261124T233800-k3f9``."""
        return self.info.id

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let another process have the run. What was still to be written is written first."""
        if not self._lock.held:
            return

        def job(connection: Connection) -> None:
            nobody = {"holder_pid": None, "holder_host": None, "holder_since": None}
            connection.execute(update(runs).where(runs.c.id == self.id).values(nobody))

        try:
            await self._store.write(job, after=self._lock.release)
        except LedgerError:
            # The names are for people; the lock is what counts, and it is free.
            return

    # Loading

    async def add(self, rows: Sequence[NewOrder]) -> None:
        """Put orders in, some thousand at a time. Nothing of them may be sent before ``admit``.

        Raises:
            ValueError: a key is empty, or holds what databases do not take: a NUL or half a surrogate pair.
        """
        self._check_loading()
        loading.check_keys(rows)
        if not rows:
            return
        now = self._store.now()
        await self._write(lambda connection: loading.add(connection, self.id, self.info.environment, rows, now))

    async def admit(self, *, source_sha256: str | None = None) -> Admission:
        """Let the orders in, all or none: each becomes ``pending``, or ``already_pushed`` if its key is taken.

        A key that is created or in doubt in another run is already pushed. One that only waits, or only has a draft,
        in a run that nobody holds is taken over from it (that row is ``superseded``); one that such a run was sending
        when it ended is in doubt from now on. With a key twice in the run nothing is admitted: see
        ``Admission.doubled``, and ``discard``.

        Args:
            source_sha256: the digest of the source, if it is known only now.

        Raises:
            RunHeld: a key is waiting, or on its way, in a run that a living process holds. Nothing was admitted.
        """
        self._check_loading()
        now = self._store.now()
        rivals = ExitStack()

        def job(connection: Connection) -> Admission:
            rivals.close()  # those of an attempt that was undone

            def take(rival: str) -> None:
                lock = self._store.locks.take(rival)
                if lock is None:
                    raise held(connection, rival, self._store.path)
                rivals.callback(lock.release)

            if source_sha256 is not None:
                connection.execute(update(runs).where(runs.c.id == self.id).values(source_sha256=source_sha256))
            return admit(connection, self.id, self.info.environment, now, take)

        # Until it is known that nothing was admitted: a call that is cancelled here may still come to pass.
        self._loading = False
        try:
            admission = await self._write(job, after=rivals.close)
        except Exception:
            self._loading = True
            raise
        self._loading = bool(admission.doubled)
        return admission

    async def discard(self) -> None:
        """Remove the run and all its orders, and close it; only before it was admitted."""
        self._check()
        await discard(self._store, self.id)
        self._lock.release()

    # Sending

    async def start(self) -> None:
        """Say that the run is being sent."""
        self._check_admitted()
        await self._set_state(RunState.SENDING, finished_at=None)

    async def finish(self, state: RunState) -> None:
        """Say that the run is ``done``, or ``stopped`` with orders left."""
        if state not in (RunState.DONE, RunState.STOPPED):
            raise ValueError(f"a run finishes as done or stopped, not as {state}")
        self._check_admitted()
        await self._set_state(state, finished_at=self._store.now())

    def pending(self, batch: int = 1000) -> AsyncIterator[list[PendingOrder]]:
        """The orders that wait, by line, ``batch`` at a time; memory stays flat.

        An order released behind the place that was reached is not seen again: it waits for the next iteration.
        """
        self._check()
        return queries.pending_pages(self._store, self.id, batch)

    async def claim(self, ids: Sequence[int]) -> list[int]:
        """Claim pending orders: ``sending``, or ``drafting`` in two-phase mode. Only what is claimed may be sent.

        Returns:
            The ids that are claimed now, in the order given; the others were no longer pending.
        """
        target = OrderState.DRAFTING if self.info.mode is Mode.TWO_PHASE else OrderState.SENDING
        return await self._claim(ids, OrderState.PENDING, target)

    async def claim_broadcast(self, ids: Sequence[int]) -> list[int]:
        """Claim drafted orders for their broadcast: ``broadcasting``. Returns the ids that are claimed now."""
        return await self._claim(ids, OrderState.DRAFTED, OrderState.BROADCASTING)

    async def release_claim(self, ids: Sequence[int]) -> None:
        """Give claimed orders back that were certainly never sent, or only as a draft whose answer was lost.

        ``sending`` and ``drafting`` become ``pending`` again, ``broadcasting`` becomes ``drafted``.

        Raises:
            IllegalTransition: one of them is not claimed; none was released.
        """
        now = self._store.now()
        await self._write(lambda connection: marks.release(connection, self.id, ids, now))

    async def record(self, results: Sequence[Outcome]) -> None:
        """Record what became of claimed orders, a chunk at a time; also what was found out about orders in doubt.

        Raises:
            IllegalTransition: one of them is not in a state that leads to its outcome; nothing was recorded.
        """
        for result in results:
            if result.state not in marks.RECORDED:
                raise ValueError(f"an outcome is one of {', '.join(marks.RECORDED)}, not {result.state}")
        now = self._store.now()
        self._check()
        await self._store.request(marks.record, marks.Results(self.id, results, now))

    async def remark(self, remarks: Sequence[Remark]) -> None:
        """Note what was learnt about orders that stay in their states; one that is in another state is left alone."""
        now = self._store.now()
        if remarks:
            await self._write(lambda connection: marks.remark(connection, self.id, remarks, now))

    async def recover(self) -> Counts:
        """Settle what a process that ended without a word left behind; call it first on a run that was taken up.

        ``sending`` becomes ``in_doubt``, ``drafting`` becomes ``pending``; ``broadcasting`` stays, to be read by its
        task id. Returns the counts after it.
        """
        now = self._store.now()
        await self._write(lambda connection: marks.recover(connection, self.id, now))
        return await self.counts()

    # Looking

    async def counts(self) -> Counts:
        """How many orders are in each state."""
        self._check()
        return await self._store.read(lambda connection: queries.counts(connection, self.id))

    def rows(self, states: Iterable[OrderState] | None = None, *, batch: int = 1000) -> AsyncIterator[OrderRow]:
        """The orders in some states (None: in all), by line; ``batch`` are read at a time, so memory stays flat."""
        self._check()
        return queries.whole_rows(self._store, self.id, states, batch)

    async def similar(self) -> list[Similar]:
        """Waiting orders of this run whose fingerprint a live order with another key carries; the first 1000.

        Before ``admit`` it compares with other runs, after it also within this one.
        """
        self._check()
        return await self._store.read(lambda connection: queries.similar(connection, self.id))

    async def _claim(self, ids: Sequence[int], source: OrderState, target: OrderState) -> list[int]:
        now = self._store.now()
        self._check()
        claimed = await self._store.request(marks.claim, marks.Claim(self.id, ids, source, target, now))
        return [order_id for order_id in ids if order_id in claimed]

    async def _set_state(self, state: RunState, *, finished_at: int | None) -> None:
        def job(connection: Connection) -> None:
            connection.execute(
                update(runs).where(runs.c.id == self.id).values(state=state.value, finished_at=finished_at)
            )

        await self._write(job)

    async def _write(self, job: Callable[[Connection], T], *, after: Callable[[], None] | None = None) -> T:
        self._check()
        return await self._store.write(job, after=after)

    def _check_loading(self) -> None:
        self._check()
        if not self._loading:
            raise LedgerError(f"run {self.id} was admitted: begin another one for more orders", path=self._store.path)

    def _check_admitted(self) -> None:
        self._check()
        if self._loading:
            raise LedgerError(f"run {self.id} was not admitted yet", path=self._store.path)

    def _check(self) -> None:
        if not self._lock.held:
            raise LedgerClosed(f"run {self.id} was closed", path=self._store.path)


def held(connection: Connection, run_id: str, path: str) -> RunHeld:
    """The error that names who has a run."""
    holder = queries.run_info(connection, run_id, path).holder
    if holder is None:
        return RunHeld(run_id, path=path)
    return RunHeld(run_id, pid=holder.pid, host=holder.host, since=holder.since, path=path)


async def discard(store: Store, run_id: str) -> None:
    """Remove a loading run, whose lock the caller holds; by blocks, so that other writers have their turn."""

    while await store.write(lambda connection: loading.discard_some(connection, run_id, store.path)):
        pass
