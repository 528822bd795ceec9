"""The size of an inbox, and which events have room in it.

Its size is bounded, and no flood keeps a real event out. Events that are done make room for new ones, the oldest first.
Unknown events, of tasks and orders that neither the order book nor the ledger knows, fill at most a part of the inbox.
The rest is for known events. Of a large unknown event only the names are kept.
"""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from functools import partial

from gotsurge_async.clock import Clock
from gotsurge_async.database import Database, Place, Row
from gotsurge_async.webhooks.event import EventState, read_event
from gotsurge_async.webhooks.store import StoreError

MOST_BYTES = 1024**3
"""The most bytes of events that wait or are done, so that no flood fills the disk under the ledger."""
UNKNOWN_SHARE = 4
"""While unknown events fill a quarter of that, no more of them are accepted."""
UNKNOWN_BYTES = 4096
"""The most bytes of an unknown event's body; of a longer one only the names are kept."""
DEAD_SHARE = 10
"""Dead letters have a tenth of that, besides; of more, the oldest are removed, so that they keep no event out."""
ROW_BYTES = 256
"""The bytes of an event on the disk besides its body, with its index entries: small bodies fill a disk, too."""
MEASURE_EVERY = 1.0
"""The least seconds between two measurements of an inbox that seems full: other processes may have made room."""
_MEASURING = 20
"""A measurement reads all events, so the next one waits this many times as long as the last one lasted."""


class InboxFull(StoreError):
    """The inbox has the most bytes that may wait; the event was not accepted."""


class UnknownFull(InboxFull):
    """The inbox accepts no more unknown events, but still those of known tasks and orders."""


class Room:
    """Counts the bytes of an inbox, as far as this process knows them, and measures them if room seems short.

    All changes run in the writer's thread, and count when they are durable.
    """

    def __init__(self, most: int, clock: Clock) -> None:
        self.most = most
        self.sizes: Counter[EventState] = Counter()
        self._clock = clock
        self._unmeasured = most  # bytes that may have been put in since the last measurement
        self._measure_at = 0.0

    def put_known(self, db: Database, coming: Sequence[Row]) -> list[type[InboxFull] | None]:
        """Insert events of orders that the ledger knows as `put` does, whatever the order book knows of them."""
        return self.put(db, coming, known={row[0] for row in coming})

    def put(self, db: Database, coming: Sequence[Row], known: Set[bytes] = frozenset()) -> list[type[InboxFull] | None]:
        """Insert events, and make room if it is short; returns for each event the error class if it was refused."""
        rows = _shortened(db, _once(coming), known)
        added = Counter(dict.fromkeys(EventState, 0))
        for row in rows:
            added[row[2]] += _weight(row)
        counted, began = Counter(self.sizes), self._clock.monotonic()
        self._unmeasured += added.total()
        is_measured = began >= self._measure_at and (
            _is_short(counted + added, self.most)
            or self._unmeasured > self.most // UNKNOWN_SHARE  # each other process may have put in as much
        )
        sizes = measure(db) if is_measured else Counter(counted)
        refused = _refused(db, rows, sizes[EventState.WAITING], added[EventState.WAITING], self.most, known)
        taken = [row for row in rows if row[0] not in refused] if refused else rows
        db.insert("put", taken)
        for row in taken:
            sizes[row[2]] += _weight(row)
        make_room(db, sizes, self.most)
        if is_measured:
            db.committed.append(partial(self._measured, sizes, began))
        else:  # what else the transaction changes counts besides
            sizes.subtract(counted)
            db.committed.append(lambda: self.sizes.update(sizes))  # a measurement before it replaces them
        return [refused.get(row[0]) for row in coming] if refused else [None] * len(coming)

    def move(self, db: Database, state: EventState, ids: Sequence[int], *, keep_bodies: bool) -> None:
        """Count those of some events that wait as events of another state, without their bodies unless kept."""
        ((size, number),) = db.rows("size_of_waiting", ids=db.listed(ids))
        before = size + number * ROW_BYTES
        after = before if keep_bodies else number * ROW_BYTES

        def count() -> None:
            self.sizes[EventState.WAITING] -= before
            self.sizes[state] += after

        db.committed.append(count)

    def measure(self, db: Database) -> None:
        """Measure the events, and count from there."""
        began = self._clock.monotonic()
        db.committed.append(partial(self._measured, measure(db), began))

    @property
    def is_uncertain(self) -> bool:
        """Whether a measurement would precede the next event."""
        return self._clock.monotonic() >= self._measure_at and (
            _is_short(self.sizes, self.most) or self._unmeasured > self.most // UNKNOWN_SHARE
        )

    def make(self, db: Database) -> None:
        """Remove the oldest events that are done or dead, if they take too much room."""
        sizes = measure(db)
        make_room(db, sizes, self.most)
        db.committed.append(partial(self._measured, sizes))

    def _measured(self, sizes: Counter[EventState], began: float | None = None) -> None:
        self.sizes, self._unmeasured = sizes, 0
        if began is not None:
            ended = self._clock.monotonic()
            self._measure_at = ended + max(MEASURE_EVERY, (ended - began) * _MEASURING)

    def has(self, size: int, *, known: bool = True) -> bool:
        """Whether there is room for an event with a body of ``size`` bytes, or for an unknown one."""
        if not known:
            return self.sizes[EventState.WAITING] + UNKNOWN_BYTES + ROW_BYTES <= self.most // UNKNOWN_SHARE
        return self.sizes[EventState.WAITING] + size + ROW_BYTES <= self.most

    def error(self, kind: type[InboxFull], place: Place) -> InboxFull:
        """The error for a refused event."""
        waiting = (
            f"{place}: {self.sizes[EventState.WAITING]:,} bytes of events wait, because their tasks have not been read"
        )
        if kind is UnknownFull:
            return UnknownFull(f"{waiting}; until then, only events of known tasks and orders are accepted")
        return InboxFull(f"{waiting}; no more events are accepted until some of these tasks have been read")


def measure(db: Database) -> Counter[EventState]:
    """The bytes that the events of each state take."""
    return Counter({EventState(state): int(size) + number * ROW_BYTES for state, number, size in db.rows("counts")})


def make_room(db: Database, sizes: Counter[EventState], most: int) -> None:
    """Remove the oldest events that are done, and the oldest dead letters, if they take too much; updates ``sizes``.

    A tenth more than needed is removed, because each search takes time.
    """
    waiting, done, dead = (sizes[state] for state in EventState)
    for state, size, may in (
        (EventState.DONE, done, max(0, most - waiting)),
        (EventState.DEAD, dead, most // DEAD_SHARE),
    ):
        left = size
        while size > may and left > may * 9 // 10:
            gone = db.rows("evict", state=state.value, most=left - may * 9 // 10, row=ROW_BYTES)
            left -= sum(int(each) + ROW_BYTES for (each,) in gone)
            if not gone:
                left = 0  # there are none: what was counted has gone
        sizes[state] = left


def _weight(row: Row) -> int:
    size: int = row[-2]
    return size + ROW_BYTES


def _is_short(sizes: Counter[EventState], most: int) -> bool:
    """Whether the events of any state take more than their room."""
    waiting, done, dead = (sizes[state] for state in EventState)
    return waiting > most // UNKNOWN_SHARE or waiting + done > most or dead > most // DEAD_SHARE


def _once(rows: Sequence[Row]) -> Sequence[Row]:
    """The rows with each digest once, and counted: a statement may not meet the same row twice."""
    unique: dict[bytes, Row] = {row[0]: row for row in rows}
    if len(unique) == len(rows):
        return rows
    times = Counter(row[0] for row in rows)
    return [(*row[:5], times[digest], *row[6:]) for digest, row in unique.items()]


def _shortened(db: Database, rows: Sequence[Row], known: Set[bytes]) -> Sequence[Row]:
    """The events, with large unknown ones reduced to their names."""
    large = [row for row in rows if row[2] is EventState.WAITING and row[-2] > UNKNOWN_BYTES and row[0] not in known]
    if not large:
        return rows
    unknown = {row[0] for row in large} - _known(db, large)
    return [_short(row) if row[0] in unknown else row for row in rows]


def _short(row: Row) -> Row:
    *_, size, body = row
    short = read_event(body).shortened()
    return *row[:6], f"only the names of this event ({size:,} bytes) are kept: its task is not known", len(short), short


def _known(db: Database, rows: Sequence[Row]) -> Set[bytes]:
    """The digests of those events whose task, or the order that they name, the order book knows."""
    if not db.rows("has_book"):  # without one no event is unknown
        return {row[0] for row in rows}
    tasks = set(db.rows("known", ids=db.listed({row[3] for row in rows})))
    known = {row[0] for row in rows if (row[1], row[3]) in tasks}
    named = {row[0]: [(row[1], name) for name in read_event(row[-1]).names] for row in rows if row[0] not in known}
    names = {name for each in named.values() for _, name in each}
    orders = set(db.rows("known_names", names=db.listed(names))) if names else set()
    return known | {digest for digest, each in named.items() if not orders.isdisjoint(each)}


def _refused(
    db: Database, rows: Sequence[Row], waiting: int, coming: int, most: int, known: Set[bytes]
) -> Mapping[bytes, type[InboxFull]]:
    """The events for which there is no room besides those that wait, by their digests."""
    if waiting + coming <= most // UNKNOWN_SHARE:
        return {}
    new = [row for row in rows if row[2] is EventState.WAITING]
    known = known | _known(db, [row for row in new if row[0] not in known])
    refused: dict[bytes, type[InboxFull]] = {}
    for row in new:
        if waiting + _weight(row) > most:
            refused[row[0]] = InboxFull
        elif waiting + _weight(row) > most // UNKNOWN_SHARE and row[0] not in known:
            refused[row[0]] = UnknownFull
        else:
            waiting += _weight(row)
    return refused
