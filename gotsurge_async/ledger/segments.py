"""A run that many workers send: it is released in segments, each of which one worker takes, sends and returns.

The database decides; a queue only tells workers which segments to try. A segment is a range of a run's chunks. A worker
takes one as a process takes a run: by a lease, by the database's clock, under an epoch that only grows. Taking
the run as a whole raises its epoch and those of all segments, and is refused while a living worker has one. A worker
that was frozen, or cut off, and wakes after another one has taken over, changes nothing and sends nothing.
"""

import os
import secrets
import socket
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import msgspec
from msgspec import Struct, structs

from gotsurge_async.clock import from_microseconds
from gotsurge_async.database import Database, Kind
from gotsurge_async.errors import Coded, code_of
from gotsurge_async.ledger.errors import LedgerError, RunLost
from gotsurge_async.ledger.locks import Leases, SegmentLease
from gotsurge_async.ledger.run import Run
from gotsurge_async.ledger.sql import marks, runs
from gotsurge_async.ledger.sql.chunks import clean
from gotsurge_async.ledger.sql.recorded import record_doubts
from gotsurge_async.ledger.sql.runs import Held
from gotsurge_async.ledger.sql.store import Store, reads
from gotsurge_async.ledger.states import (
    CLAIMED,
    DOUBTFUL,
    LETTERS,
    READABLE,
    UNFINISHED,
    Counts,
    Mode,
    OrderState,
    RunInfo,
    RunState,
)
from gotsurge_async.version import __version__

T = TypeVar("T")

CHUNKS = 25
"""The chunks of a segment: 500 orders, which one worker sends in a second or two."""

_LEFT = UNFINISHED | CLAIMED
"""The states of orders that a worker must still handle when it takes a segment."""


class Waiting(Struct, frozen=True):
    """A segment that some worker should take."""

    run_id: str
    number: int
    epoch: int
    """The run's epoch when it was released, which distinguishes segments of two distributions of the run."""
    lost: bool
    """Whether a worker had the segment, and has shown no sign of life for a lease."""


class Tally(Struct, frozen=True):
    """The values that a run's limits apply to: orders refused and in doubt, and the prices in thousandths of a cent."""

    refused: int = 0
    in_doubt: int = 0
    spend: int = 0


class Prices(Struct, frozen=True, kw_only=True):
    """Sums of prices by chunk: of orders that are yet to be sent, and of those that are created or in doubt."""

    limit: int
    waiting: Mapping[int, int]
    spent: Mapping[int, int]


class Distribution(Struct, frozen=True, kw_only=True):
    """The release of a run to workers, and whether they were stopped."""

    put_up_at: datetime
    brakes: Mapping[str, Any]
    stopped_at: datetime | None
    stopped_as: str | None
    """The kind of cause that stopped the workers, see `Segments.stop`."""
    stopped_by: str | None
    """The reason, for people."""
    segments: int
    """The number of segments that are not done yet."""
    leased: int
    """The number of these segments that living workers hold."""

    @property
    def goes_on(self) -> bool:
        """Whether workers are not stopped, or living workers still have segments to return."""
        return self.stopped_at is None or self.leased > 0


class SegmentRun(Run):
    """A segment that this worker holds, from `Segments.take` until ``close``; otherwise like a `Run`.

    ``finish`` returns the segment, and ends the run when nothing of it is left.
    """

    def __init__(
        self,
        store: Store,
        info: RunInfo,
        lock: SegmentLease,
        held: Held,
        *,
        segment: tuple[int, int],
        tries: int,
        elsewhere: Tally,
    ) -> None:
        super().__init__(store, info, lock)
        self._held = structs.replace(held, segment=segment)
        self._segment = segment
        self._left = 0
        self.tries = tries
        """How often it was taken since the last of its orders was finished; this time included."""
        self.elsewhere = elsewhere
        """What the limits count of the rest of the run when this segment was taken. The spend includes what workers
        with other segments may still spend, so that together they never exceed the limit."""

    @property
    def number(self) -> int:
        """The number of the segment in the run, from 0."""
        return self._segment[0]

    async def start(self) -> None:
        """Begin to send the segment; its state and its epoch were set when it was taken."""
        self._check_admitted()
        await self._store.read_tasks(self.info.environment)
        if self._sending:
            why = f"segment {self.number} of run {self.id} is already being sent"
            raise LedgerError(why, "E521", path=self._store.path)
        self._sending = True

    async def recover(self) -> Counts:
        """Settle what an earlier worker left unfinished, as `Run.recover`."""
        counts = await super().recover()
        self._left = counts.of(_LEFT)
        return counts

    async def finish(self, *, withdraw: bool = False) -> RunState:
        """Return the segment, done or with orders left for the next worker; returns the run's state then."""
        self._check_admitted()
        self._sending = False
        now = self._store.stamp()

        def job(db: Database) -> RunState:
            self._give_back(db)
            return runs.settled(db, self._held, now)

        return await self._write(job, after=self._lock.release)

    def _give_back(self, db: Database) -> None:
        held, (number, epoch) = self._held, self._segment
        record_doubts(db, held, self._store.stamp())
        counts = runs.counts(db, held.number, first=held.first, last=held.last)
        left = counts.of(_LEFT)
        db.change(
            "leave_segment",
            run=held.number,
            number=number,
            epoch=epoch,
            state="open" if left else "done",
            refused=counts.refused,
            in_doubt=counts.of(DOUBTFUL),  # also broadcasts that may have acted: no read has settled them
            moved=int(left < self._left),
        )

    def _leave(self, db: Database) -> object:
        """Return the segment if ``finish`` did not, because it could not be sent at all."""
        with suppress(RunLost):
            runs.fence(db, self._held)
            self._give_back(db)
        return None


class Segments:
    """The segments of a ledger's runs; see `Ledger.segments`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def put_up(
        self,
        run: Run,
        *,
        brakes: Mapping[str, Any],
        enqueue: Callable[[Database, Sequence[Waiting]], None],
        prices: Prices | None = None,
        size: int = CHUNKS,
    ) -> int:
        """Release a held run to workers, and close it; returns the number of its segments.

        Args:
            brakes: the limits that stop the workers before the end, as JSON.
            enqueue: called in the same transaction, to enqueue a job for each segment.
            prices: of its orders, where their sum is limited.
            size: chunks of a segment.

        Raises LedgerError if the ledger is a file.
        """
        if self._store.place.kind is not Kind.POSTGRESQL:
            why = "is a file, which many machines cannot share: give --ledger postgresql://USER@HOST/NAME"
            raise LedgerError(why, "E701", path=self._store.path)
        now = self._store.stamp()
        held, info = run._held, run.info
        work = UNFINISHED | (READABLE if info.mode is Mode.TWO_PHASE else frozenset())

        def job(db: Database) -> tuple[int, dict[str, Any]]:
            runs.fence(db, held)
            marks.recover(db, held, now)
            runs.withdraw(db, held)
            options = runs.keep_undo(db, held, None)
            epoch = runs.raise_epoch(db, info.id)
            db.change("start_run", number=held.number)
            letters = db.having([LETTERS[state] for state in work])
            db.change("make_segments", run=held.number, size=size, letters=letters)
            elsewhere, numbers = _count(db, held.number, prices)
            db.change(
                "put_up",
                run=held.number,
                now=now,
                epoch=epoch,
                brakes=msgspec.json.encode(dict(brakes)).decode(),
                refused=elsewhere.refused,
                in_doubt=elsewhere.in_doubt,
                spend=elsewhere.spend,
                spend_limit=None if prices is None else prices.limit,
            )
            enqueue(db, [Waiting(info.id, number, epoch, lost=False) for number in numbers])
            db.change("leave_run", id=info.id, epoch=epoch)
            if not numbers:
                runs.settled(db, held, now)
            return len(numbers), options

        number, options = await self._store.write(job, after=run._lock.release)
        run.info = structs.replace(info, options=options)
        return number

    async def take(self, run_id: str, number: int, *, worker: str, lease: float) -> SegmentRun | None:
        """Take a segment; None if another worker has it, it is done, or the run is not released.

        It stays the worker's for ``lease`` seconds without a sign of life.
        """
        store, locks = self._store, self._store.locks
        if not isinstance(locks, Leases):
            return None

        def job(db: Database) -> Callable[[], SegmentRun] | None:  # it needs the event loop's thread
            rows = db.rows("run_of_segments", id=run_id)
            if not rows:
                return None
            run = rows[0][0]
            taken = db.rows("take_segment", run=run, number=number, worker=worker, lease=int(lease * 1e6))
            if not taken:
                return None
            epoch, first, last, tries, price = taken[0]
            elsewhere = _elsewhere(db, run, number, price)
            info = runs.one(db, run_id)
            lock = SegmentLease(run_id, run, number, locks, lease)
            lock.take(epoch)
            held = structs.replace(runs.held_as(info, store.tasks), first=first, last=last)
            return partial(
                SegmentRun, store, info, lock, held, segment=(number, epoch), tries=tries, elsewhere=elsewhere
            )

        taken = await store.write(job)
        return None if taken is None else taken()

    async def spent(self, run: SegmentRun, spend: int) -> None:
        """Record the cost of a returned segment's orders; until then it counts with the most that it could cost.

        Nothing is recorded if another worker has taken the segment since: that one counts all of its orders.
        """

        def job(db: Database) -> None:
            with suppress(RunLost):
                runs.fence(db, run._held)
                db.change("spent", run=run._held.number, number=run.number, spend=spend)

        await self._store.write(job)

    @reads
    def waiting(self, db: Database, environment: str, most: int) -> list[Waiting]:
        """Segments of an environment that a worker should take; first those whose workers were lost."""
        return [Waiting(*row) for row in db.rows("segments_to_send", environment=environment, most=most)]

    async def stop(self, run_id: str, kind: str, why: str) -> bool:
        """Let no worker take a segment of a run any more; returns whether it was being sent, and not stopped before.

        Workers finish and return those that they have. ``kind`` is the cause, such as the name of an error's class, and
        ``why`` is for people; both are kept with the run, and the code of ``why``.
        """
        now, kind = self._store.stamp(), " ".join(filter(None, (kind, code_of(why))))

        def job(db: Database) -> bool:
            info = runs.one(db, run_id)
            if info.state is not RunState.SENDING:
                return False
            stopped = db.change("stop_distribution", run=info.number, now=now, kind=kind, why=clean(why))
            if stopped:
                runs.settled(db, runs.held_as(info), now)
            return stopped == 1

        return await self._store.write(job)

    async def stopped(self, numbers: Collection[int]) -> set[int]:
        """The numbers of those runs, among ``numbers``, that were stopped or withdrawn."""
        if not numbers:
            return set()
        return await self._store.read(lambda db: {each for each in numbers if not db.rows("is_put_up", run=each)})

    async def finish_runs(self, environment: str) -> None:
        """End runs whose last worker ended without returning its segment."""

        def job(db: Database, number: int, now: int) -> None:
            runs.settled(db, runs.held_as(runs.by_number(db, [number])[number]), now)

        for (number,) in await self._store.read(lambda db: db.rows("runs_to_finish", environment=environment)):
            await self._store.write(partial(job, number=number, now=self._store.stamp()))

    @reads
    def distribution(self, db: Database, run_id: str) -> Distribution | None:
        """The way a run was released to workers, and its progress; None if it was not released."""
        number = runs.one(db, run_id).number
        rows = db.rows("distribution", run=number)
        if not rows:
            return None
        put_up_at, brakes, stopped_at, stopped_as, why = rows[0]
        kind, _, code = (stopped_as or "").partition(" ")
        ((left, leased),) = db.rows("open_segments", run=number)
        return Distribution(
            put_up_at=from_microseconds(put_up_at),
            brakes=msgspec.json.decode(brakes, type=dict[str, Any]),
            stopped_at=None if stopped_at is None else from_microseconds(stopped_at),
            stopped_as=kind or None,
            stopped_by=None if why is None else Coded(why, code),
            segments=left,
            leased=leased,
        )

    @reads
    def counts(self, db: Database, run_id: str) -> Counts:
        """The number of orders of a run in each state, as stored now: its progress."""
        return runs.counts(db, runs.one(db, run_id).number)

    async def _read(self, question: Callable[[Database], T]) -> T:
        return await self._store.read(question)


def _count(db: Database, run: int, prices: Prices | None) -> tuple[Tally, list[int]]:
    """Store the tally of each segment of a run; returns that of the other orders, and the segments' numbers."""
    refused, in_doubt = LETTERS[OrderState.REFUSED], LETTERS[OrderState.IN_DOUBT]
    db.change("count_segments", run=run, refused=refused, in_doubt=in_doubt)
    ranges = db.rows("segment_ranges", run=run)
    outside = 0
    if prices is not None:
        ends = [last for _, _, last in ranges]
        rows = [[run, number, 0, 0] for number, _, _ in ranges]
        for sums, columns in ((prices.waiting, (2,)), (prices.spent, (2, 3))):
            for chunk, price in sums.items():
                at = bisect_left(ends, chunk)
                if at < len(ranges) and ranges[at][1] <= chunk:
                    for column in columns:
                        rows[at][column] += price
                else:
                    outside += price
        db.insert("price_segments", [tuple(row) for row in rows])
    counts = runs.counts(db, run)
    ((inside_refused, inside_doubt, _),) = db.rows("tally", run=run, unless=-1)
    elsewhere = Tally(counts.refused - int(inside_refused), counts.in_doubt - int(inside_doubt), outside)
    return elsewhere, [number for number, _, _ in ranges]


def _elsewhere(db: Database, run: int, number: int, price: int) -> Tally:
    """The tally of a run without one segment; reserves what this segment may cost, as far as the limit allows."""
    ((refused, in_doubt, spend, limit),) = db.rows("elsewhere", run=run)
    if limit is not None:
        db.rows("lock_distribution", run=run)  # of two who reserve at once, the second one sees what the first did
    of_others = [int(total) for total in db.rows("tally", run=run, unless=number)[0]]
    rest = Tally(refused + of_others[0], in_doubt + of_others[1], spend + of_others[2])
    if limit is not None:
        db.change("reserve_spend", run=run, number=number, spend=max(0, min(price, limit - rest.spend)))
    return rest


# --- workers ----------------------------------------------------------------------------------------------------------

BEAT_SECONDS = 2.0
"""Seconds between two reports of a worker that it lives, when it also checks whether its run was stopped."""
SILENT_SECONDS = 5 * BEAT_SECONDS
"""A worker that has not reported for longer is shown as silent."""
FORGOTTEN_SECONDS = 3600.0
"""Seconds that a worker is listed after its last report."""


class Beat(Struct, frozen=True, kw_only=True):
    """A worker's report of itself: ``working`` or ``draining``, and the reason for a rest, for people."""

    state: str = "working"
    segments: int = 0
    """The number of segments that it holds."""
    orders: int = 0
    """The number of orders that it has finished."""
    orders_per_minute: int = 0
    trouble: str | None = None


class Worker(Beat, frozen=True, kw_only=True):
    """A worker, with its last beat."""

    id: str
    """The worker's name, such as ``host-4711-k3f9``."""
    host: str
    pid: int
    version: str
    environment: str
    started_at: datetime
    beat_at: datetime
    silent: float
    """Seconds since its last beat."""


def worker_name() -> str:
    """A name for this process as a worker."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"


class Workers:
    """The workers of a ledger; see `Ledger.workers`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def register(self, name: str, environment: str) -> None:
        """List a worker, and remove those that have not reported for long."""
        values = {"host": socket.gethostname(), "pid": os.getpid(), "version": __version__, "environment": environment}

        def job(db: Database) -> None:
            db.change("forget_workers", silent=int(FORGOTTEN_SECONDS * 1e6))
            db.change("register_worker", id=name, **values)

        await self._store.write(job)

    async def beat(self, name: str, beat: Beat) -> bool:
        """Record that a worker lives; returns False if it is not listed any more."""
        return await self._store.write(lambda db: db.change("beat", id=name, **structs.asdict(beat))) == 1

    async def leave(self, name: str) -> None:
        """Remove a worker from the list."""
        await self._store.write(lambda db: db.change("leave_work", id=name))

    @reads
    def all(self, db: Database) -> list[Worker]:
        """All listed workers; one that ended without `leave` is listed for an hour."""
        workers = []
        for row in db.rows("workers"):
            fields: dict[str, Any] = dict(zip(Worker.__struct_fields__, row, strict=True))
            fields |= {name: from_microseconds(fields[name]) for name in ("started_at", "beat_at")}
            workers.append(Worker(**fields))
        return workers

    async def _read(self, question: Callable[[Database], T]) -> T:
        return await self._store.read(question)
