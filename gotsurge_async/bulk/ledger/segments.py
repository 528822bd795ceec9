"""A run in the hands of many workers: it is put up in segments, each of which one worker takes, sends and gives back.

What decides is here, and in the database: a queue only tells workers where to look. A segment is a range of a run's
chunks. A worker takes one as a process takes a run: by a lease, by the database's clock, under an epoch that only
grows. Whoever takes the run as a whole raises its epoch and those of all segments, and is refused while a worker that
lives has one. A worker that is frozen, or cut off, and wakes after another one has taken over, changes nothing and
sends nothing.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from attrs import evolve, frozen

from gotsurge_async.bulk.ledger.errors import LedgerError, RunLost
from gotsurge_async.bulk.ledger.locks import Leases, SegmentLease
from gotsurge_async.bulk.ledger.run import Run
from gotsurge_async.bulk.ledger.sql import marks, runs
from gotsurge_async.bulk.ledger.sql.chunks import PLACES
from gotsurge_async.bulk.ledger.sql.runs import Held
from gotsurge_async.bulk.ledger.sql.store import Store
from gotsurge_async.bulk.ledger.states import (
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
from gotsurge_async.clock import from_microseconds
from gotsurge_async.database import Database, Kind

CHUNKS = 25
"""Of a segment: 500 orders, which one worker sends in a second or two."""

_LEFT = UNFINISHED | CLAIMED
"""What a worker that takes up a segment has something to do for."""


@frozen
class Waiting:
    """A segment that some worker should take.

    Attributes:
        epoch: of the run when it was put up, so that segments of two distributions of a run are told apart.
        lost: a worker had it, and has not been heard of for a lease.
    """

    run_id: str
    number: int
    epoch: int
    lost: bool


@frozen
class Tally:
    """What limits of a run count: orders refused, and in doubt, and the sum of prices in thousandths of a cent."""

    refused: int = 0
    in_doubt: int = 0
    spend: int = 0


@frozen(kw_only=True)
class Prices:
    """Sums of prices by chunk: of orders that are yet to be sent, and of those that are created or in doubt."""

    limit: int
    waiting: Mapping[int, int]
    spent: Mapping[int, int]


@frozen(kw_only=True)
class Distribution:
    """How a run was put up for workers, and whether they were stopped.

    Attributes:
        stopped_as: the kind of what stopped them, see `Segments.stop`.
        stopped_by: why, for people.
        segments: those that are not done yet; of these ``leased`` are in the hands of workers that live.
    """

    put_up_at: datetime
    brakes: Mapping[str, Any]
    stopped_at: datetime | None
    stopped_as: str | None
    stopped_by: str | None
    segments: int
    leased: int

    @property
    def goes_on(self) -> bool:
        """Whether workers may still do something of it. Those that were stopped give back what they have; if they died
        instead, nobody does, and the run is for whoever takes it up."""
        return self.stopped_at is None or self.leased > 0


def chunk_of_order(order_id: int) -> int:
    """The chunk that an order is in."""
    return order_id // PLACES


class SegmentRun(Run):
    """A segment of a run in this worker's hands, from `Segments.take` until ``close``; else as a `Run`.

    ``finish`` gives the segment back, and says of the run that it is over when there is nothing left of it.
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
        self._held = evolve(held, segment=segment)
        self._segment = segment
        self._left = 0
        self.tries = tries
        """How often it was taken since anything of it came to its end; this time included."""
        self.elsewhere = elsewhere
        """What limits count of the rest of the run, as it was when this was taken. Of the spend, with what workers may
        yet spend that have other segments: together they never go beyond the limit."""

    @property
    def number(self) -> int:
        """Which segment of the run it is, from 0."""
        return self._segment[0]

    async def start(self) -> None:
        """It was begun when it was taken."""
        self._check_admitted()
        await self._store.read_tasks(self.info.environment)
        if self._sending:
            raise LedgerError(f"segment {self.number} of run {self.id} is being sent already", path=self._store.path)
        self._sending = True

    async def recover(self) -> Counts:
        """Clear up what an earlier worker left in the middle of it, as `Run.recover`."""
        counts = await super().recover()
        self._left = counts.of(_LEFT)
        return counts

    async def finish(self, *, withdraw: bool = False) -> RunState:
        """Give it back: done, or with orders left for the next worker. Returns where the run stands then."""
        self._check_admitted()
        self._sending = False
        now = self._store.now()

        def job(db: Database) -> RunState:
            self._give_back(db)
            return runs.settled(db, self._held, now)

        return await self._write(job, after=self._lock.release)

    def _give_back(self, db: Database) -> None:
        held, (number, epoch) = self._held, self._segment
        counts = runs.counts(db, held.number, first=held.first, last=held.last)
        left = counts.of(_LEFT)
        db.change(
            "leave_segment",
            run=held.number,
            number=number,
            epoch=epoch,
            state="open" if left else "done",
            refused=counts.refused,
            in_doubt=counts.of(DOUBTFUL),  # also those whose broadcast may have acted: no read has settled them
            moved=int(left < self._left),
        )

    def _leave(self, db: Database) -> object:
        """Give it back, where that was not done: it could not be sent at all."""
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
        """Put a held run up for workers, and close it; returns how many segments it has.

        Args:
            brakes: what stops the workers before the end, as JSON.
            enqueue: puts a job up for each segment, in the same transaction.
            prices: of its orders, where their sum is limited.
            size: chunks of a segment.

        Raises:
            LedgerError: the ledger is a file.
        """
        self._refuse_file()
        now = self._store.now()
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
        run.info = evolve(info, options=options)
        return number

    def _refuse_file(self) -> None:
        if self._store.place.kind is not Kind.POSTGRESQL:
            raise LedgerError(
                "is a file, which many machines cannot share: give --ledger postgresql://USER@HOST/NAME",
                path=self._store.path,
            )

    async def take(self, run_id: str, number: int, *, worker: str, lease: float) -> SegmentRun | None:
        """Take a segment; None if there is nothing to take: another has it, it is done, or the run is not put up.

        Args:
            worker: by whose name.
            lease: seconds that it stays this worker's when that does not say that it lives.
        """
        store, locks = self._store, self._store.locks
        if not isinstance(locks, Leases):
            return None

        def job(db: Database) -> Callable[[], SegmentRun] | None:  # it needs the event loop's thread
            found = db.rows("run_of_segments", id=run_id)
            if not found:
                return None
            run = found[0][0]
            taken = db.rows("take_segment", run=run, number=number, worker=worker, lease=int(lease * 1e6))
            if not taken:
                return None
            epoch, first, last, tries, price = taken[0]
            elsewhere = _elsewhere(db, run, number, price)
            info = runs.one(db, run_id)
            lock = SegmentLease(run_id, run, number, locks, lease)
            lock.take(epoch)
            held = evolve(runs.held_as(info, store.tasks), first=first, last=last)
            return partial(
                SegmentRun, store, info, lock, held, segment=(number, epoch), tries=tries, elsewhere=elsewhere
            )

        taken = await store.write(job)
        return None if taken is None else taken()

    async def spent(self, run_id: str, number: int, spend: int) -> None:
        """Say what the orders of a segment that was given back cost; until then it counts as what it could have."""

        def job(db: Database) -> None:
            db.change("spent", run=runs.one(db, run_id).number, number=number, spend=spend)

        await self._store.write(job)

    async def waiting(self, environment: str, most: int) -> list[Waiting]:
        """Segments of an environment that somebody should take; first those whose workers were lost."""
        return await self._store.read(_waiting, environment, most)

    async def stop(self, run_id: str, kind: str, why: str) -> bool:
        """Have no worker take anything of a run any more; what is in their hands they bring to its end, and give back.

        Args:
            kind: of what stopped them, such as the name of an error's class; kept with the run.
            why: for people.

        Returns:
            Whether it was put up, and nobody had stopped it before.
        """
        now = self._store.now()

        def job(db: Database) -> bool:
            info = runs.one(db, run_id)
            stopped = db.change("stop_distribution", run=info.number, now=now, kind=kind, why=marks.clean(why))
            if stopped:
                runs.settled(db, runs.held_as(info), now)
            return stopped == 1

        return await self._store.write(job)

    async def stopped(self, numbers: Collection[int]) -> set[int]:
        """Which of some runs, given by their numbers, were stopped, or withdrawn."""
        return await self._store.read(_stopped, numbers) if numbers else set()

    async def finish_runs(self, environment: str) -> None:
        """Say that runs are over whose last worker ended without a word."""
        for number in await self._store.read(_to_finish, environment):
            await self._store.write(partial(_settle, number=number, now=self._store.now()))

    async def distribution(self, run_id: str) -> Distribution | None:
        """How a run was put up, and where that stands; None if it is not."""
        return await self._store.read(_distribution, run_id)

    async def counts(self, run_id: str) -> Counts:
        """How many orders of a run are in each state, as they are kept: what its progress is shown by."""
        return await self._store.read(_counts, run_id)


def _count(db: Database, run: int, prices: Prices | None) -> tuple[Tally, list[int]]:
    """Count what limits count of each segment of a run; the same of what lies in none, and the segments' numbers."""
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
    """What limits count of the rest of a run; what this segment may cost is reserved, as far as the limit allows."""
    ((refused, in_doubt, spend, limit),) = db.rows("elsewhere", run=run)
    if limit is not None:
        db.rows("lock_distribution", run=run)  # of two who reserve at once, the second one sees what the first did
    of_others = [int(each) for each in db.rows("tally", run=run, unless=number)[0]]
    found = Tally(refused + of_others[0], in_doubt + of_others[1], spend + of_others[2])
    if limit is not None:
        db.change("reserve_spend", run=run, number=number, spend=max(0, min(price, limit - found.spend)))
    return found


def _settle(db: Database, number: int, now: int) -> None:
    runs.settled(db, runs.held_as(runs.by_number(db, [number])[number]), now)


def _waiting(db: Database, environment: str, most: int) -> list[Waiting]:
    return [Waiting(*row) for row in db.rows("segments_to_send", environment=environment, most=most)]


def _to_finish(db: Database, environment: str) -> list[int]:
    return [number for (number,) in db.rows("runs_to_finish", environment=environment)]


def _stopped(db: Database, numbers: Collection[int]) -> set[int]:
    return {number for number in numbers if not db.rows("is_put_up", run=number)}


def _counts(db: Database, run_id: str) -> Counts:
    return runs.counts(db, runs.one(db, run_id).number)


def _distribution(db: Database, run_id: str) -> Distribution | None:
    number = runs.one(db, run_id).number
    found = db.rows("distribution", run=number)
    if not found:
        return None
    put_up_at, brakes, stopped_at, kind, why = found[0]
    ((left, leased),) = db.rows("open_segments", run=number)
    return Distribution(
        put_up_at=from_microseconds(put_up_at),
        brakes=msgspec.json.decode(brakes, type=dict[str, Any]),
        stopped_at=None if stopped_at is None else from_microseconds(stopped_at),
        stopped_as=kind,
        stopped_by=why,
        segments=left,
        leased=leased,
    )
