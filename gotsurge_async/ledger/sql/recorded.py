"""The tasks that a ledger has recorded: an answer that names one of them names another order's task."""

from array import array
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Sequence
from threading import Lock
from typing import TYPE_CHECKING

from gotsurge_async.database import Database
from gotsurge_async.ledger.sql.chunks import Chunk, by_chunk, load, number_of, task_ids_of
from gotsurge_async.ledger.states import LIVE, OWNED_ELSEWHERE, OrderState

if TYPE_CHECKING:
    from gotsurge_async.ledger.sql.runs import Held

_BUCKETS = 1024
_CHUNKS = 2_000
"""The number of chunks whose tasks are read at a time."""
_OVERLAP = 10 * 60 * 1_000_000
"""Microseconds before the last reading that are read again: the clocks of other writers may differ."""
FRESH = 60 * 1_000_000
"""Microseconds for which a reading counts; to read more often would cost more than what is recorded."""
_FEW = 32
"""So many new numbers are put into their places one by one: each moves half a bucket, which is fast."""


def _no_numbers() -> "list[array[int]]":
    return [array("q") for _ in range(_BUCKETS)]


def _has(numbers: "array[int]", number: int) -> bool:
    place = bisect_left(numbers, number)
    return place < len(numbers) and numbers[place] == number


class RecordedTasks:
    """The hashes of all task ids that a ledger has recorded, by environment. Any thread may use it.

    Every answer is compared with them: it may come from a cache, and name another order's task. An index in the
    database would cost a page of the disk for every order that is sent, since task ids come in no order; here a task
    takes eight bytes. What another process has recorded within a minute is missing here: see upkeep/integrity.py.
    """

    def __init__(self) -> None:
        self._of: dict[str, list[array[int]]] = defaultdict(_no_numbers)
        self._read_at: dict[str, int] = {}
        self._lock = Lock()

    def read(self, db: Database, environment: str, now: int, *, overlap: int = _OVERLAP) -> None:
        """Read the tasks of an environment: all of them the first time, then those that have changed since."""
        since = min(now, self._read_at.get(environment, 0)) - overlap
        new = _no_numbers()
        last = db.rows("last_chunk")[0][1] or 0
        for first in range(1, last + 1, _CHUNKS):
            rows = db.rows("task_ids", environment=environment, since=since, first=first, last=first + _CHUNKS - 1)
            for chunk, ids in rows:
                for task_id in task_ids_of(chunk, None, ids):
                    if task_id is not None:
                        number = hash(task_id)
                        new[number % _BUCKETS].append(number)
        with self._lock:
            known = self._of[environment]
            for bucket, numbers in enumerate(new):
                if fresh := {number for number in {*numbers} if not _has(known[bucket], number)}:
                    if len(fresh) > _FEW:
                        known[bucket] = array("q", sorted([*known[bucket], *fresh]))
                    else:
                        for number in fresh:
                            insort(known[bucket], number)
            self._read_at[environment] = now

    def has_read(self, environment: str, now: int) -> bool:
        """Whether the tasks of an environment were read, not long before ``now``."""
        read_at = self._read_at.get(environment)
        return read_at is not None and abs(now - read_at) < FRESH

    def has(self, environment: str, task_id: str) -> bool:
        """Whether a task of an environment that was read is recorded; very rarely True for one that is not."""
        return not self.are_new(environment, (task_id,))

    def are_new(self, environment: str, task_ids: Iterable[str]) -> bool:
        """Whether none of some tasks of an environment that was read is recorded; very rarely False if none is."""
        with self._lock:
            known = self._of[environment]
            for number in map(hash, task_ids):
                if _has(known[number % _BUCKETS], number):
                    return False
        return True

    def keep(self, environment: str, task_ids: Iterable[str]) -> None:
        """Add tasks that this process has recorded."""
        with self._lock:
            known = self._of[environment]
            for number in map(hash, task_ids):
                insort(known[number % _BUCKETS], number)


def recorded(db: Database, environment: str, task_ids: Sequence[str], *, every: bool = False) -> dict[str, list[int]]:
    """The orders of tasks: the live ones, else those that no run has since; with ``every`` also superseded ones."""
    rows = db.rows("recorded", environment=environment, ids=db.listed(task_ids)) if task_ids else []
    chunks = load(db, {row[0] for row in rows})
    orders: dict[str, list[int]] = {}
    live: dict[str, list[int]] = {}
    for number, place, task_id in rows:
        state = chunks[number].state(place)
        if state not in OWNED_ELSEWHERE or (every and state is OrderState.SUPERSEDED):
            orders.setdefault(task_id, []).append(number_of(number, place))
        if state in LIVE:
            live.setdefault(task_id, []).append(number_of(number, place))
    return orders | live


# --- answers that could not be recorded -------------------------------------------------------------------------------


DOUBT = "the answer could not be recorded: it names a task that was recorded before, perhaps for another order"
"""The ``error`` of an order that is put in doubt by `record_doubts`."""

_doubted: set[tuple[str, int]] = set()


def keep_doubts(run: "Held", ids: Iterable[int]) -> None:
    """Remember orders whose answer named a recorded task, and was not recorded: they are not drafted again."""
    _doubted.update((run.id, order) for order in ids)


def is_doubted(run: str, chunk: Chunk, place: int) -> bool:
    """Whether an order of a run is remembered, and still waits for its draft to be recorded."""
    return chunk.state(place) is OrderState.DRAFTING and (run, number_of(chunk.id, place)) in _doubted


def state_of(run: str, chunk: Chunk, place: int) -> OrderState:
    """The state of an order of a run that has ended; ``sending`` if it is remembered, as it must not be sent again."""
    return OrderState.SENDING if is_doubted(run, chunk, place) else chunk.state(place)


def record_doubts(db: Database, run: "Held", now: int) -> None:
    """Put those orders in doubt that the holder of a run has claimed."""
    places = by_chunk(order for run_id, order in [*_doubted] if run_id == run.id)
    for chunk in load(db, places).values():
        doubted = [place for place in places[chunk.id] if is_doubted(run.id, chunk, place)]
        if doubted and run.has(chunk) and run.claims.get(chunk.id) == chunk.epoch:
            for place in doubted:
                chunk.put_in_doubt(place, DOUBT, now)
            run.seen.pop(chunk.id, None)
            chunk.save(db, now)
