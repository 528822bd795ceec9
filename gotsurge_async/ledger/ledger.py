"""The ledger: a durable record of every order that was to be pushed, with its outcome."""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence, Set
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from functools import cached_property, partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from gotsurge_async.api.endpoints import CHUNK
from gotsurge_async.clock import from_microseconds, to_microseconds, uninterrupted
from gotsurge_async.database import Database
from gotsurge_async.ledger.errors import LedgerError, NoSuchRun, RunLost
from gotsurge_async.ledger.locks import RunLock, this_process
from gotsurge_async.ledger.run import Run, discard
from gotsurge_async.ledger.segments import Segments, Workers
from gotsurge_async.ledger.sql import drafts as drafts_of
from gotsurge_async.ledger.sql import joining, marks, pages, runs
from gotsurge_async.ledger.sql.admission import accepted_at, first_pushed
from gotsurge_async.ledger.sql.chunks import LAST, PLACES, each_page, load
from gotsurge_async.ledger.sql.joining import Recorded
from gotsurge_async.ledger.sql.pages import ACCEPTED_AT
from gotsurge_async.ledger.sql.recorded import recorded as recorded_tasks
from gotsurge_async.ledger.sql.store import Store, reads
from gotsurge_async.ledger.states import (
    LETTERS,
    LIVE,
    Counts,
    Decision,
    Mode,
    OrderRow,
    OrderState,
    RunInfo,
    RunState,
    UnusedDraft,
)
from gotsurge_async.ledger.submitted import SubmittedOrders
from gotsurge_async.ledger.upkeep.check import Size, size
from gotsurge_async.ledger.upkeep.counter import Identity, identity_of, refuse_older
from gotsurge_async.models.tasks import TaskStatus

if TYPE_CHECKING:
    from gotsurge_async.ledger.proposals import Proposals

T = TypeVar("T")

_SUFFIX = "abcdefghijkmnpqrstuvwxyz23456789"  # no l, o, 0, 1: people read it to each other
_PROBES, _PROBE_SECONDS = 10, 0.05


class Ledger(Store):
    """An open ledger: ``async with await Ledger.open(path) as ledger: …``.

    It belongs to one event loop; many processes may open one file. Every method raises a LedgerError when the file or
    its disk fails, and no error of the database itself.
    """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def now(self) -> datetime:
        """The ledger's time, which decides until when a request that was not answered may act."""
        return self.clock()

    @cached_property
    def segments(self) -> Segments:
        """Runs that workers on many machines send; in PostgreSQL only."""
        return Segments(self)

    @cached_property
    def workers(self) -> Workers:
        """The workers that send the ledger's runs."""
        return Workers(self)

    @cached_property
    def proposals(self) -> "Proposals":
        """The proposals of programs to send orders, and the decisions of people about them."""
        from gotsurge_async.ledger.proposals import Proposals  # few ledgers have any

        return Proposals(self)

    def submitted(self, environment: str) -> SubmittedOrders:
        """The submitted orders of an environment, which a desk sends later."""
        return SubmittedOrders(self, environment)

    @reads
    def waiting(self, db: Database) -> dict[str, tuple[int, int]]:
        """By environment, the numbers of submitted orders that wait and that are stopped, where there are any."""
        return {environment: (int(waits), int(stopped)) for environment, waits, stopped in db.rows("count_submitted")}

    async def begin(
        self,
        *,
        environment: str,
        mode: Mode | str,
        source: str,
        source_sha256: str | None = None,
        columns: Sequence[str] | None = None,
        options: Mapping[str, Any] | None = None,
        chunk: int = CHUNK,
        compact: bool = False,
    ) -> Run:
        """Begin a run: it is ``loading``, and held by this process.

        Args:
            environment: the name of the environment; a key is unique within one.
            mode: ``direct`` or ``two-phase``.
            source: the name of the orders' source, such as a file.
            source_sha256: its digest in hex, if it is known already; otherwise pass it to ``Run.admit``.
            columns: the columns of the source, for result files.
            options: what a resumed run needs to know, as JSON.
            chunk: orders of a call, 1 to 20.
            compact: store the orders compressed: a third of the size or less, but slower.
        """
        if not 1 <= chunk <= CHUNK:
            raise ValueError(f"a chunk must have 1 to {CHUNK} orders, not {chunk}")
        while True:
            moment = self.clock()
            run_id = f"{moment.astimezone(UTC):%Y%m%dT%H%M%S}-{''.join(secrets.choice(_SUFFIX) for _ in range(4))}"
            new = RunInfo(
                id=run_id,
                created_at=moment,
                state=RunState.LOADING,
                environment=environment,
                mode=Mode(mode),
                source=source,
                source_sha256=source_sha256,
                columns=None if columns is None else tuple(columns),
                options=options or {},
                holder=this_process(moment),
                finished_at=None,
            )
            begun = await self._take(run_id, partial(runs.begin, run=new), partial(runs.one, run_id=run_id))
            if begun is not None:
                run = Run(self, *begun, chunk=chunk, compact=compact)
                try:
                    await self._sweep()
                except BaseException:
                    begun[1].release()
                    raise
                return run

    async def hold(self, run_id: str, *, epoch: int | None = None) -> Run:
        """Resume a run of an earlier process; call ``recover`` on it before sending.

        Args:
            epoch: the number of times that the run had been taken when this process lost its connection to PostgreSQL.
                If no other process has taken it since, it is taken without waiting for the lease of that connection.

        Raises:
            NoSuchRun: there is no run of that id.
            RunHeld: a living process holds it.
            LedgerError: it was never admitted, so nothing of it was sent: begin it anew; or it is archived.
        """
        holder = this_process(self.clock())
        for tries in range(_PROBES):
            if tries:  # perhaps another process only checks whether it is held, or takes orders over from it
                await asyncio.sleep(_PROBE_SECONDS)
            held = await self._take(
                run_id, partial(runs.one, run_id=run_id), partial(runs.hold, run_id=run_id, holder=holder), epoch
            )
            if held is not None:
                return Run(self, *held)
        error = await self.read(runs.held, run_id)
        error.path = self.path
        raise error

    async def _take(
        self,
        run_id: str,
        see: Callable[[Database], object],
        take_up: Callable[[Database], RunInfo | None],
        epoch: int | None = None,
    ) -> tuple[RunInfo, RunLock] | None:
        """Take a run, and its lock, in one transaction; None if another process has it, or a callback returns nothing.

        ``see`` is called first, and what it writes stays; ``take_up``, which returns the run as it is then, when no
        other process has it. `hold` explains ``epoch``.
        """
        locks = ExitStack()

        def job(db: Database) -> tuple[RunInfo, RunLock] | None:
            locks.close()  # that of an attempt that was undone
            lock = self.locks.take(db, run_id, epoch=epoch) if see(db) else None
            if lock is None:
                return None
            locks.callback(lock.release)
            info = take_up(db)
            if info is None:
                return None
            lock.hold(db, info.epoch)
            return info, lock

        with locks:
            taken = await uninterrupted(self.write(job))
            if taken is not None:
                locks.pop_all()
        return taken

    async def _read(self, question: Callable[[Database], T]) -> T:
        return await self.read(question)

    async def _sweep(self) -> None:
        """Remove runs that were never admitted and whose process is gone: nothing of them was sent."""
        for run_id in await self.read(runs.in_state, RunState.LOADING):
            with suppress(NoSuchRun, RunLost):  # another one sweeps it away
                taken = await self._take(run_id, partial(runs.one, run_id=run_id), partial(_fenced_off, run_id=run_id))
                if taken is not None:
                    info, lock = taken
                    try:
                        await discard(self, runs.held_as(info))
                    finally:
                        lock.release()

    async def is_held(self, run_id: str) -> bool:
        """Whether a living process, this one included, holds a run."""
        return await self.read(self.locks.is_held, run_id)

    async def identity(self) -> Identity | None:
        """The ledger's id, and its count of admissions and claims; None for a ledger from before these existed."""
        return await self.read(identity_of)

    async def accepted_at(self) -> datetime | None:
        """The time when an older copy was accepted, until all runs that it lacks are known; else None."""
        moment = await self.read(accepted_at)
        return None if moment is None else from_microseconds(moment)

    async def first_pushed(self, run: Run) -> set[int]:
        """The ids of a loading run's orders that are pushed for the first time since an older copy was accepted."""
        return await self.read(first_pushed, run._held)

    async def all_known(self) -> None:
        """Note that all orders that an older copy lacked are known, so that new ones are sent without a search."""
        await self.write(lambda db: db.change("remember", name=ACCEPTED_AT, value=0))

    async def refuse_older(self, newest: Identity, where: str) -> None:
        """Raise LedgerOlder if ``newest``, the count in ``where``, is of this ledger and greater than its own."""
        identity = await self.identity()
        if identity is not None:
            refuse_older(identity, newest, where, self.path)

    async def recorded(self, environment: str, task_ids: Sequence[str]) -> dict[str, int]:
        """The tasks that are recorded in any run of an environment, each with the id of its order.

        The query reads all orders: pass many tasks at once.
        """
        orders = await self.read(recorded_tasks, environment, task_ids)
        return {task_id: some[0] for task_id, some in orders.items()}

    @reads
    def owners(self, db: Database, environment: str, task_ids: Sequence[str]) -> dict[str, int]:
        """As `recorded`, with the drafts that are noted as unused: 0 stands for their order."""
        unused = db.rows("known_unused", ids=db.listed(task_ids)) if task_ids else ()
        recorded = recorded_tasks(db, environment, task_ids)
        return {task_id: 0 for (task_id,) in unused} | {task_id: some[0] for task_id, some in recorded.items()}

    @reads
    def order_with(self, db: Database, environment: str, task_id: str) -> tuple[str, str] | None:
        """The run and the key of the live order that has a task; None if there is none, or its run is archived.

        The query reads all orders.
        """
        for number in recorded_tasks(db, environment, [task_id]).get(task_id, ()):
            chunk, place = load(db, [number // PLACES], bodies=True)[number // PLACES], number % PLACES
            if chunk.metas and chunk.state(place) in LIVE:
                return runs.by_number(db, [chunk.run])[chunk.run].id, chunk.metas[place].key
        return None

    @reads
    def draft_or_archived(self, db: Database, environment: str, task_id: str) -> RunInfo | None:
        """The run of an unused draft, or of an archived order that has its key; the query reads all orders."""
        numbers = [number for (number,) in db.rows("runs_of_unused", ids=db.listed([task_id]))]
        for number in recorded_tasks(db, environment, [task_id]).get(task_id, ()):
            chunk, place = load(db, [number // PLACES], bodies=True)[number // PLACES], number % PLACES
            if chunk.state(place) in ({OrderState.REFUSED} if chunk.metas else LIVE):
                numbers.append(chunk.run)
        infos = runs.by_number(db, numbers).values()
        return next((info for info in infos if info.environment == environment), None)

    async def begin_cancel(
        self, environment: str, task_ids: Sequence[str], *, until: datetime | None = None, by: int = 0
    ) -> dict[str, str]:
        """Note that cancels of unused drafts are about to leave: no order adopts such a draft any more. Reads all.

        Args:
            until: note also tasks that the ledger does not know: their cancel may act until this time.
            by: a number of the command that cancels, for `forget_cancels`.

        Returns:
            The drafts that a live order has, or may be going on with at this moment, each with the run of that order.
            They must not be cancelled.
        """

        def begin(db: Database) -> dict[str, str]:
            ends = None if until is None else to_microseconds(until)
            used = drafts_of.begin_cancel(db, environment, task_ids, self.stamp(), ends, by)
            marks.count(db, self.slot)  # an older copy would let an order go on with such a draft
            return used

        used = await self.write(begin)
        await self.until_recorded(drafts_of.recording)
        # An order that began to be drafted before the note is seen now; one that begins later sees the note.
        return used | await self.read(drafts_of.in_use, environment, task_ids)

    async def forget_cancels(self, task_ids: Sequence[str], by: int) -> None:
        """Forget cancels that do not act; ``by`` is the number of their command. Those of others, too, stay noted."""
        await self.write(lambda db: db.change("forget_cancels", ids=db.listed(task_ids), command=by))

    async def runs(self, limit: int | None = None) -> list[RunInfo]:
        """The runs, at most ``limit``, newest first: in the order in which they were begun, whatever the clock was."""
        return await self.read(runs.newest, limit)

    async def run(self, run_id: str) -> RunInfo:
        """One run, without holding it; raises NoSuchRun."""
        return await self.read(runs.one, run_id)

    @reads
    def counts(self, db: Database, run_id: str) -> Counts:
        """The number of orders of a run in each state, whoever holds it; 0 each if there is no such run.

        An order whose key another run owns counts by its outcome there: ``already_pushed`` (created), ``in_doubt``, or
        ``superseded`` (it waits there, or is free again).
        """
        try:
            info = runs.one(db, run_id)
        except NoSuchRun:
            return Counts()
        if info.archived_at is not None:
            return runs.counts(db, info.number)
        lost = {LETTERS[state] for state in pages.LOST}
        letters: Counter[str] = Counter()
        for states, times in db.rows("states_of_run", run=info.number, first=0, last=LAST):
            if lost.isdisjoint(states):
                for letter in states:
                    letters[letter] += times
        for chunks in each_page(db, info.number, pages.LOST, bodies=True):
            owners = pages.owners_of(db, info.environment, chunks.values())
            for chunk in chunks.values():
                letters.update(LETTERS[row.state] for row in pages.rows_of(chunk, owners, standing=True))
        return runs.counts_of(letters, loading=info.state is RunState.LOADING)

    async def size(self) -> Size:
        """The size of the ledger, with all its runs."""
        return await self.read(size)

    def rows(
        self,
        run_id: str,
        states: Iterable[OrderState] | None = None,
        *,
        batch: int = 1000,
        since: datetime | None = None,
    ) -> AsyncIterator[OrderRow]:
        """The orders of a run in some states (None: in all), in their order, whoever holds it.

        Args:
            batch: about how many are read at a time.
            since: only those of chunks that were changed since then, by the clocks of the processes that changed them.
        """
        return pages.whole_rows(self, run_id, states, batch, since)

    async def results(self, run_id: str, *, batch: int = 1000) -> AsyncIterator[list[OrderRow]]:
        """The orders of a run, in their order, about ``batch`` at a time, for its result files.

        An order whose key another run has is shown with its outcome there.

        Raises:
            NoSuchRun: there is no such run.
            LedgerError: the run was not admitted, so nothing of it was sent.
        """
        info = await self.read(runs.one, run_id)
        if info.state is RunState.LOADING:
            raise LedgerError(
                f"run {run_id} was not completely recorded, so none of its orders were sent; push them again",
                "E523",
                path=self.path,
            )
        async for page in pages.row_pages(self, info, None, batch, standing=True):
            yield page

    @reads
    def known(self, db: Database, environment: str, keys: Sequence[str]) -> dict[str, Recorded]:
        """The orders that have some keys, by key, whoever holds their runs; a free key has none."""
        return joining.known(db, environment, keys, partial(self.locks.is_held, db))

    @reads
    def last(self, db: Database, environment: str, key: str) -> Recorded | None:
        """The order that has a key, or had it last, whoever holds its run."""
        return joining.last(db, environment, key, partial(self.locks.is_held, db))

    @reads
    def unfinished(self, db: Database) -> list[RunInfo]:
        """The runs that have orders to send, or had when their process ended; in the order in which they were begun."""
        wanted = (RunState.READY, RunState.SENDING, RunState.STOPPED)
        return [runs.one(db, run_id) for run_id in runs.in_state(db, *wanted)]

    @reads
    def unused_drafts(self, db: Database, run_id: str) -> list[UnusedDraft]:
        """The drafts of a run that will never be broadcast: noted ones, and those of refused orders.

        Left out are drafts with which a later order of their key went on.
        """
        info = runs.one(db, run_id)
        noted = db.rows("unused_drafts", run=info.number)
        known = {task_id for task_id, *_ in noted}
        listed = [UnusedDraft(key, task_id, bool(cancelled_at)) for task_id, key, _, cancelled_at in noted]
        drafts: list[UnusedDraft] = _unused(db, info.environment, listed)
        for page in each_page(db, info.number, (OrderState.REFUSED,), bodies=True):
            refused = [
                UnusedDraft(
                    chunk.metas[place].key,
                    chunk.tasks[place][0],
                    cancelled=chunk.status(place) == TaskStatus.CANCELLED,
                )
                for chunk in page.values()
                for place in chunk.places((OrderState.REFUSED,))
                if chunk.metas and place in chunk.tasks and chunk.tasks[place][0] not in known
            ]
            drafts += _unused(db, info.environment, refused)
        return drafts

    @reads
    def decisions(self, db: Database, run_id: str) -> list[Decision]:
        """The operators' decisions about orders of a run, oldest first."""
        return [
            Decision(run_id, key, bool(created), task_id, by, from_microseconds(at))
            for _, _, key, created, task_id, by, at in db.rows("decisions", run=runs.one(db, run_id).number)
        ]

    async def resolve(
        self, run_id: str, words: Mapping[str, str | None], *, by: str, cancelled: Set[str] = frozenset()
    ) -> None:
        """Record an operator's decisions about orders in doubt, with name and time; all of them, or none.

        For the holder of the run more orders are in doubt: see `Run.resolve`.

        Args:
            words: for each key the id of the task that exists, or None if there is none.
            by: the operator.
            cancelled: those keys whose task was cancelled; their keys are free.

        Raises:
            NoSuchRun: the run does not exist, or has no such order.
            IllegalTransition: an order is not in doubt, or another task is recorded for it.
        """
        now = self.stamp()

        def job(db: Database) -> None:
            info = runs.one(db, run_id)
            runs.refuse_archived(info)
            states = {OrderState.IN_DOUBT, OrderState.CANCELLING}
            marks.resolve(db, runs.held_as(info), words, cancelled, states, by, now)

        await self.write(job)


def _fenced_off(db: Database, run_id: str) -> RunInfo | None:
    """Raise the epoch of a run if it is still loading, so that its last holder can no longer write; returns the run."""
    if runs.one(db, run_id).state is not RunState.LOADING:
        return None
    runs.raise_epoch(db, run_id)
    return runs.one(db, run_id)


def _unused(db: Database, environment: str, drafts: Sequence[UnusedDraft]) -> list[UnusedDraft]:
    """Those of some drafts that the last order of their key does not have, or has and was never broadcast with."""
    keys = [draft.key for draft in drafts]
    owners = pages.owners_of_keys(db, environment, keys, unless={}) if keys else {}
    never_sent = (OrderState.REFUSED, OrderState.WITHDRAWN)
    used = {(key, owner.task_id) for key, owner in owners.items() if owner.state not in never_sent}
    return [draft for draft in drafts if (draft.key, draft.task_id) not in used]
