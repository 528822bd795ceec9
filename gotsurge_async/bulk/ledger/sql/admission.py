"""The orders of a run come in by blocks, and are let in all at once, or none; a run that was not goes out again.

A key leads to one order. It is put in with its block, if no other order has it; so nearly always a run is let in by one
write, however many orders it has. What found its key taken is contested, and decided when the run is let in: then it is
looked at who has the key, and whether he keeps it. The runs whose orders are taken over or given up are locked
meanwhile, so none of them can wake up in between: whoever holds a lock is alive, and keeps its orders.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from attrs import define, frozen

from gotsurge_async.bulk.ledger.errors import LedgerError
from gotsurge_async.bulk.ledger.sql import runs
from gotsurge_async.bulk.ledger.sql.chunks import Chunk, body_row, chunks_of, load, number_of_print
from gotsurge_async.bulk.ledger.sql.marks import CRASHED
from gotsurge_async.bulk.ledger.sql.pages import Owner, take_key
from gotsurge_async.bulk.ledger.sql.runs import Held
from gotsurge_async.bulk.ledger.states import (
    CLAIMED,
    DOUBTFUL,
    LETTERS,
    LIVE,
    READABLE,
    UNFINISHED,
    WAITING,
    WITH_DRAFT,
    Admission,
    Doubled,
    Mode,
    NewOrder,
    OrderState,
    RunInfo,
    RunState,
)
from gotsurge_async.database import Database, Moved

DOUBLED_LIMIT = 1000
"""How many repeated keys one admission lists."""

DISCARDED_AT_ONCE = 1000
"""Chunks that one transaction removes, so that other writers have their turn."""

_AT_ONCE = 500
"""Contested orders that are looked at at a time."""

_UNDECIDED = UNFINISHED | CLAIMED
"""Only the holder of their run may know what these mean: it may be sending at this moment."""


def check_keys(rows: Sequence[NewOrder]) -> None:
    """Refuse keys that a database would cut off or not take."""
    for row in rows:
        if not row.key or "\0" in row.key or not (row.key.isascii() or _is_text(row.key)):
            raise ValueError(f"line {row.line}: {row.key!r} cannot be a key: give text, without NUL characters")


def _is_text(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


def add(db: Database, run: Held, rows: Sequence[NewOrder], size: int, now: int, *, compact: bool) -> None:
    """Put orders in, as they will be when the run is admitted; ``size`` of them make a chunk."""
    parts = [rows[start : start + size] for start in range(0, len(rows), size)]
    allotted = sorted(number for (number,) in db.rows("allot", n=len(parts)))
    # One number is the last of a row of them; several are themselves, with others' between them.
    numbers = allotted if len(allotted) == len(parts) else range(allotted[-1] - len(parts) + 1, allotted[-1] + 1)
    pending = LETTERS[OrderState.PENDING]
    chunks = list(zip(numbers, parts, strict=True))
    epoch = runs.first_epoch(db)
    db.load("add_chunks", [(number, run.number, epoch, now, pending * len(part)) for number, part in chunks])
    db.load("add_bodies", [body_row(number, part, compact=compact) for number, part in chunks])
    keys = [
        (run.environment, row.key, number, place, number_of_print(row.fingerprint))
        for number, part in chunks
        for place, row in enumerate(part)
    ]
    # In the order of the keys: two who load the same ones wait for each other, and not in a circle.
    if db.insert("add_keys", sorted(keys, key=lambda each: each[1])) == len(keys):
        return
    found = db.rows("keys", environment=run.environment, keys=db.listed([row.key for row in rows]))
    owned = {key: (number, place) for key, number, place in found}
    taken = [(run.number, number, place, key) for _, key, number, place, _ in keys if owned.get(key) != (number, place)]
    db.insert("add_contested", taken)


def discard_some(db: Database, run: Held) -> bool:
    """Remove some orders of a loading run, and in the end the run; returns whether there is more to remove."""
    runs.fence(db, run)
    state = runs.one(db, run.id).state
    if state is not RunState.LOADING:
        raise LedgerError(f"run {run.id} is {state}: only a run that was not admitted is discarded")
    found = db.rows("chunks_of_run", run=run.number, after=0, last=run.last, most=DISCARDED_AT_ONCE)
    chunks = chunks_of(db, found, said=False, bodies=True)
    if not chunks:
        db.change("forget_contested", run=run.number)
        db.change("delete_run", number=run.number)
        return False
    ids = db.listed(chunks)
    keys = [meta.key for chunk in chunks.values() for meta in chunk.metas]
    db.change("release_keys", environment=run.environment, keys=db.listed(keys), chunks=ids)
    for statement in ("delete_bodies", "delete_chunks"):
        db.change(statement, chunks=ids)
    return True


def admit(db: Database, run: Held, source_sha256: str | None, now: int, take: Callable[[str], None]) -> Admission:
    """Admit the loading orders of a run, and note the digest of its source unless it is None.

    ``take`` locks another run until the transaction is over, and fences whoever had it; or raises RunHeld.
    """
    db.script("admitting")  # one after the other: what one decides, the next one must see
    if doubled := _doubled(db, run):
        return Admission(doubled=doubled)
    decided = _Decided()
    for block in _contested(db, run):
        _decide(db, run, block, now, take, decided)
    db.change("forget_contested", run=run.number)
    db.change("admit_run", number=run.number, state=RunState.READY.value, source_sha256=source_sha256)
    return Admission(
        pending=runs.counts(db, run.number).total - decided.already_pushed,
        already_pushed=decided.already_pushed,
        in_doubt=decided.in_doubt,
        superseded=decided.superseded,
    )


@define
class _Decided:
    already_pushed: int = 0
    in_doubt: int = 0
    superseded: int = 0


def _doubled(db: Database, run: Held) -> tuple[Doubled, ...]:
    """Keys that stand more than once in a run, each with the line that has it first."""
    twice = db.rows("contested_twice", run=run.number, environment=run.environment, most=2 * DOUBLED_LIMIT)
    if not twice:
        return ()
    owners = db.rows("keys", environment=run.environment, keys=db.listed({key for key, _, _ in twice}))
    chunks = load(db, {number for _, number, _ in [*twice, *owners]}, bodies=True)
    places: dict[str, set[tuple[int, int]]] = {}
    for key, number, place in [*twice, *owners]:
        if number in chunks and chunks[number].run == run.number:
            places.setdefault(key, set()).add((number, place))
    found = []
    for key, at in places.items():
        first, *others = sorted(at)
        line = chunks[first[0]].metas[first[1]].line
        found += [Doubled(key, line, chunks[number].metas[place].line) for number, place in others]
    return tuple(sorted(found, key=lambda each: each.line)[:DOUBLED_LIMIT])


@frozen
class _Contest:
    """An order whose key another order had, when it was put in, and the one that has it now, if its state is live."""

    chunk: Chunk
    place: int
    key: str
    owner: Owner | None
    counts_on_it: tuple[int, int, int] | None
    """Run, chunk and place of the order that the key leads to, if its run is still being loaded."""
    found: tuple[int, int]
    """Chunk and place that the key leads to; no chunk has the number 0."""

    @property
    def state(self) -> OrderState | None:
        """Where the other order stands, if there is one that has the key."""
        return None if self.owner is None else self.owner.state

    @property
    def can_be_read(self) -> bool:
        """Whether the other one's task is known, so that a read can tell what became of it."""
        return self.owner is not None and self.owner.task_id is not None

    @property
    def same(self) -> bool:
        """Whether both say the same, byte for byte; taken for granted where the other one is archived."""
        return self.owner is not None and self.owner.payload in (None, self.chunk.payload(self.place))


def _contested(db: Database, run: Held) -> Iterator[list[_Contest]]:
    """The contested orders of a loading run, block by block, each with who has its key at that moment."""
    number, place = 0, -1
    while rows := db.rows("contested", run=run.number, chunk=number, place=place, most=_AT_ONCE):
        number, place, _ = rows[-1]
        keys = db.rows("keys", environment=run.environment, keys=db.listed({key for _, _, key in rows}))
        owners = {key: (chunk, at) for key, chunk, at in keys}
        chunks = load(db, {chunk for chunk, _, _ in rows} | {chunk for chunk, _ in owners.values()}, bodies=True)
        known = runs.by_number(db, {chunk.run for chunk in chunks.values()})
        yield [_contest(run, chunks, known, owners, *row) for row in rows]


def _contest(
    run: Held,
    chunks: Mapping[int, Chunk],
    known: Mapping[int, RunInfo],
    owners: Mapping[str, tuple[int, int]],
    number: int,
    place: int,
    key: str,
) -> _Contest:
    found = owners.get(key, (0, 0))
    theirs, at = chunks.get(found[0]), found[1]
    owner = counts_on_it = None
    if theirs is not None and theirs.run != run.number:
        if known[theirs.run].state is RunState.LOADING:
            counts_on_it = (theirs.run, theirs.id, at)
        elif theirs.state(at) in LIVE:
            owner = Owner(known[theirs.run], theirs, at)
    return _Contest(chunks[number], place, key, owner, counts_on_it, found)


def _asks_holder(run: Held, each: _Contest) -> bool:
    """Whether only the holder of the other order's run may know what it means, or its draft may come along."""
    if each.state in _UNDECIDED:
        return True
    both = each.owner is not None and run.mode is each.owner.run.mode is Mode.TWO_PHASE
    return both and each.state is OrderState.IN_DOUBT and each.can_be_read


def _decide(
    db: Database, run: Held, block: Sequence[_Contest], now: int, take: Callable[[str], None], decided: _Decided
) -> None:
    """Decide for each of some contested orders who has its key from now on."""
    for rival in sorted({each.owner.run.id for each in block if each.owner is not None and _asks_holder(run, each)}):
        take(rival)
    unused = _unused_by_key(db, block)
    changed: dict[int, Chunk] = {}
    drafts: list[tuple[str, int, str, int, None]] = []
    for each in block:
        mine, place, state = each.chunk, each.place, each.state
        if each.owner is None:
            _take_key(db, run, each)
            continue
        their_run, theirs, at = each.owner
        lost = max(0, theirs.lost_drafts(at) - unused.get((theirs.run, each.key), 0))
        changed[mine.id] = mine
        both = run.mode is their_run.mode is Mode.TWO_PHASE
        if both and state in WITH_DRAFT and each.can_be_read and each.same:
            # The very order: it goes on with its draft. One that differs in anything is another one.
            goes_on = OrderState.DRAFTED if state is OrderState.DRAFTED else OrderState.BROADCASTING
            mine.move(place, goes_on, source=OrderState.LOADING)
            mine.record(place, theirs.tasks[at][0], theirs.status(at))
            mine.note(place, lost_drafts=lost)
            mine.claimed_at = theirs.claimed_at
            mine.open_until = max(mine.open_until or 0, theirs.open_until or 0) or None
        elif state in WAITING:
            with_draft = state is not OrderState.PENDING
            mine.note(place, lost_drafts=lost + with_draft)
            if state is OrderState.DRAFTED and at in theirs.tasks:
                drafts.append((theirs.tasks[at][0], run.number, each.key, now, None))
        else:
            if state is OrderState.SENDING:
                changed[theirs.id] = theirs
                theirs.move(at, OrderState.IN_DOUBT)
                theirs.note(at, error=CRASHED)
            mine.move(place, OrderState.ALREADY_PUSHED if each.same else OrderState.CHANGED, source=OrderState.LOADING)
            decided.already_pushed += 1
            decided.in_doubt += state in DOUBTFUL
            continue
        changed[theirs.id] = theirs
        theirs.move(at, OrderState.SUPERSEDED)
        theirs.epoch += 1  # whoever had it in mind changes nothing more
        decided.superseded += 1
        _take_key(db, run, each)
    for chunk in changed.values():
        chunk.save(db, now)
    db.insert("add_unused", drafts)


def _take_key(db: Database, run: Held, each: _Contest) -> None:
    """Have a key lead to our order; another loading run that counted on it is told.

    Raises:
        Moved: the key leads elsewhere by now: a run that is being loaded has put it in, and would not be told.
    """
    if not take_key(db, run.environment, each.chunk, each.place, each.found):
        raise Moved
    if each.counts_on_it is not None:
        db.insert("add_contested", [(*each.counts_on_it, each.key)])


def _unused_by_key(db: Database, block: Sequence[_Contest]) -> dict[tuple[int, str], int]:
    """How many drafts of a key a run has noted as unused."""
    by_run: dict[int, set[str]] = {}
    for each in block:
        if each.owner is not None:
            by_run.setdefault(each.owner.chunk.run, set()).add(each.key)
    return {
        (number, key): times
        for number, keys in by_run.items()
        for key, times in db.rows("unused_by_key", run=number, keys=db.listed(keys))
    }


def doubtful_rivals(db: Database, run: Held) -> list[str]:
    """The runs that hold a key of our loading orders in doubt, with a task that can be read.

    Of the same order in two-phase mode the draft is inherited, and read when this run is sent; these are the others.
    """
    found: set[str] = set()
    for block in _contested(db, run):
        for each in block:
            inherited = run.mode is Mode.TWO_PHASE and each.same and each.state is not OrderState.CANCELLING
            if each.owner is not None and each.state in READABLE and each.can_be_read and not inherited:
                found.add(each.owner.run.id)
    return sorted(found)
