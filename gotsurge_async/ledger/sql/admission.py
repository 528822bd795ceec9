"""The orders of a run are added by blocks, and admitted all at once, or none; a run that is not admitted is discarded.

A key leads to one order. It is inserted with its block, if no other order has it; so nearly always a run is admitted by
one write, however many orders it has. An order whose key was taken is contested. The admission decides which order has
the key from then on. The runs whose orders it takes over are locked meanwhile, so none of them can wake up in between:
a process that holds a lock is alive, and keeps its orders.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from operator import itemgetter

from msgspec import Struct, field

from gotsurge_async.database import Database, Moved
from gotsurge_async.ledger.errors import ELSEWHERE, LedgerError
from gotsurge_async.ledger.sql import runs
from gotsurge_async.ledger.sql.chunks import Chunk, body_row, chunks_of, each_page, load, number_of
from gotsurge_async.ledger.sql.drafts import drafts_left
from gotsurge_async.ledger.sql.marks import CRASHED
from gotsurge_async.ledger.sql.pages import ACCEPTED_AT, Owner, Since, other_row, take_key
from gotsurge_async.ledger.sql.recorded import DOUBT, recorded, state_of
from gotsurge_async.ledger.sql.runs import Held
from gotsurge_async.ledger.states import (
    CLAIMED,
    DOUBTFUL,
    LETTERS,
    READABLE,
    UNFINISHED,
    WAITING,
    WITH_DRAFT,
    Admission,
    Doubled,
    Mode,
    NewOrder,
    OrderOutcome,
    OrderState,
    RunState,
)

DOUBLED_LIMIT = 1000
"""The most repeated keys that one admission lists."""

DISCARDED_AT_ONCE = 1000
"""The most chunks that one transaction removes, so that other writers have their turn."""

SPARE = 20
"""The numbers of chunks that a claim of single orders allots for the next claims, which need no statement for it."""

_AT_ONCE = 500
"""Contested orders that are read at a time."""

LOST = "an older copy of the ledger was accepted, and the order may have been sent since"
"""The ``error`` of an order that is in doubt after `accept_older`."""

HELD_BACK = (
    f"{LOST}, by a run that the copy lacks. The order was not sent now: look it up, and record what you found "
    "(gotsurge resolve), or push it again with --not-sent-before"
)
"""The ``error`` of an order that is pushed first after `accept_older`, and that no evidence shows to be new."""

_UNDECIDED = UNFINISHED | CLAIMED
"""States that only the holder of the run can interpret: it may be sending at this moment."""


def check_keys(rows: Sequence[NewOrder]) -> None:
    """Raise ValueError for keys that a database would cut off or refuse."""
    keys = [row.key for row in rows]
    if all(keys) and (text := "".join(keys)).isascii() and "\0" not in text:  # as nearly always
        return
    for row in rows:
        if not row.key or "\0" in row.key or not (row.key.isascii() or _is_text(row.key)):
            raise ValueError(
                f"line {row.line}: {row.key!r} cannot be a key: give text without NUL characters and surrogates"
            )


def _is_text(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


def add(
    db: Database,
    run: Held,
    parts: Sequence[Sequence[NewOrder]],
    now: int,
    *,
    compact: bool,
    claimed: OrderState | None = None,
    after: int | None = None,
) -> list[Chunk]:
    """Insert orders, as they will be when the run is admitted; each part makes a chunk. Returns the chunks.

    ``claimed`` is the state of orders that are claimed by the same write, of a run that is being sent; Moved if the key
    of one is taken. Epochs begin ``after`` an epoch, if that is known: see `runs.first_epoch`.
    """
    numbers = _numbers(db, run, len(parts), spare=0 if claimed is None else SPARE)
    first = runs.first_epoch(db) if after is None else after
    letter, epoch = LETTERS[claimed or OrderState.PENDING], first + (claimed is not None)
    at, until = (None, None) if claimed is None else (now, now + run.settle)
    chunks = [
        Chunk(number, run.number, epoch, at, now, [letter] * len(part), until, _was=(epoch, letter * len(part)))
        for number, part in zip(numbers, parts, strict=True)
    ]
    bodies = [body_row(number, part, compact=compact) for number, part in zip(numbers, parts, strict=True)]
    run.sums.update(zip(numbers, [known for _, _, known in bodies], strict=True))
    keys = [
        (run.environment, meta[1], number, place, meta[4])
        for number, (_, metas, _) in zip(numbers, bodies, strict=True)
        for place, meta in enumerate(metas)
    ]
    rows = {
        "add_chunks": [(each.id, run.number, epoch, now, "".join(each.states), at, until) for each in chunks],
        "add_bodies": [row for row, _, _ in bodies],
        # In the order of the keys: two who load the same ones wait for each other, and not in a circle.
        "add_keys": sorted(keys, key=itemgetter(1)),
    }
    inserted = db.insert_all(rows) if claimed else [db.load(name, some) for name, some in rows.items()][-1]
    if inserted == len(keys):
        return chunks
    if claimed is not None:
        raise Moved
    owners = db.rows("keys", environment=run.environment, keys=db.listed([key[1] for key in keys]))
    owned = {key: (number, place) for key, number, place in owners}
    taken = [(run.number, number, place, key) for _, key, number, place, _ in keys if owned.get(key) != (number, place)]
    db.insert("add_contested", taken)
    return chunks


def _numbers(db: Database, run: Held, count: int, *, spare: int) -> Sequence[int]:
    """Numbers for new chunks, greater than those of the run's other chunks; ``spare`` more are allotted with them."""
    if spare and len(run.spare) >= count:
        numbers, run.spare[:count] = run.spare[:count], []  # not given back if the transaction is undone
        return numbers
    run.spare.clear()
    number = count + spare
    allotted = sorted(each for (each,) in db.rows("allot", n=number))
    # One number is the last of a row of them; several are themselves, with others' between them.
    numbers = allotted if len(allotted) == number else [*range(allotted[-1] - number + 1, allotted[-1] + 1)]
    # In place of the spares of an earlier claim in this transaction, which are less than these numbers.
    db.committed.append(partial(run.spare.__setitem__, slice(None), numbers[count:]))
    return numbers[:count]


def discard_some(db: Database, run: Held) -> bool:
    """Remove some orders of a loading run, and in the end the run; returns whether there is more to remove."""
    runs.fence(db, run)
    state = runs.one(db, run.id).state
    if state is not RunState.LOADING:
        raise LedgerError(f"run {run.id} cannot be discarded, because it was admitted: its state is {state}", "E523")
    rows = db.rows("chunks_of_run", run=run.number, after=0, last=run.last, most=DISCARDED_AT_ONCE)
    chunks = chunks_of(db, rows, tasks=False, bodies=True)
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


class Evidence(Struct, frozen=True, kw_only=True):
    """Evidence about the orders of a run that are pushed for the first time since an older copy was accepted.

    Attributes:
        not_sent_before: whether a person states that no run missing from the copy sent any of these orders.
        outcomes: by order id: created, with its task; in doubt, with the reason; or pending, if a whole list shows
            no task of it. An order that is missing here is in doubt.
    """

    not_sent_before: bool = False
    outcomes: Mapping[int, OrderOutcome] = field(default_factory=dict)


NO_EVIDENCE = Evidence()


def accepted_at(db: Database) -> int | None:
    """The stored time when an older copy of the ledger was accepted, until its lost runs are known; else None."""
    meta: dict[str, int] = dict(db.rows("meta"))
    return meta.get(ACCEPTED_AT) or None


def first_pushed(db: Database, run: Held) -> set[int]:
    """The orders of a loading run that are pushed for the first time since an older copy was accepted, by their ids."""
    if accepted_at(db) is None:
        return set()
    since = Since.read(db, run)
    known = {
        number_of(each.chunk.id, each.place)
        for block in contested(db, run)
        for each in block
        if since.knows(each.other)
    }
    orders = {
        number_of(chunk.id, place)
        for page in each_page(db, run.number, tasks=False)
        for chunk in page.values()
        for place in range(len(chunk.states))
    }
    return orders - known


def admit(
    db: Database,
    run: Held,
    source_sha256: str | None,
    now: int,
    take: Callable[[str], None],
    evidence: Evidence = NO_EVIDENCE,
) -> Admission:
    """Admit the loading orders of a run, and note the digest of its source unless it is None.

    ``take`` locks another run until the transaction is over, and fences its last holder; or raises RunHeld.
    """
    db.script("admitting")  # one after the other: what one decides, the next one must see
    if doubled := _doubled(db, run):
        return Admission(doubled=doubled)
    decided = Decided(not_sent_before=evidence.not_sent_before)
    first = set() if evidence.not_sent_before else first_pushed(db, run)
    for block in contested(db, run):
        decide(db, run, block, now, take, decided)
    created, held_back = _hold_back(db, run, first, evidence.outcomes, now)
    db.change("forget_contested", run=run.number)
    db.change("admit_run", number=run.number, state=RunState.READY.value, source_sha256=source_sha256)
    return Admission(
        pending=runs.counts(db, run.number).total - decided.already_pushed - created - held_back,
        already_pushed=decided.already_pushed,
        in_doubt=decided.in_doubt,
        archived=decided.archived,
        superseded=decided.superseded,
        created=created,
        held_back=held_back,
    )


def _hold_back(
    db: Database, run: Held, first: Collection[int], outcomes: Mapping[int, OrderOutcome], now: int
) -> tuple[int, int]:
    """Settle those of the ``first`` orders that are not known to be new; returns the numbers created and in doubt.

    An outcome whose task is recorded for another order proves nothing.
    """
    created = held_back = 0
    if not first:
        return created, held_back
    named = [outcome.task_id for outcome in outcomes.values() if outcome.task_id is not None]
    taken = recorded(db, run.environment, named)
    for page in each_page(db, run.number, (OrderState.PENDING,)):
        for chunk in page.values():
            for place in chunk.places((OrderState.PENDING,)):
                order = number_of(chunk.id, place)
                outcome = outcomes.get(order)
                if order not in first or (outcome is not None and outcome.state is OrderState.PENDING):
                    continue
                if outcome is not None and outcome.state is OrderState.CREATED and outcome.task_id not in taken:
                    chunk.states[place] = LETTERS[OrderState.CREATED]
                    chunk.record(place, outcome.task_id, outcome.status)
                    created += 1
                    continue
                chunk.states[place] = LETTERS[OrderState.IN_DOUBT]
                chunk.note(place, error=HELD_BACK if outcome is None or outcome.error is None else outcome.error)
                held_back += 1
            chunk.save(db, now)
    return created, held_back


class Decided(Struct):
    """The numbers of orders that an admission decided, by result, and whether a person vouched for some."""

    not_sent_before: bool = False
    already_pushed: int = 0
    in_doubt: int = 0
    archived: int = 0
    superseded: int = 0


def _doubled(db: Database, run: Held) -> tuple[Doubled, ...]:
    """Keys that a run has more than once, each with the line that has it first."""
    twice = db.rows("contested_twice", run=run.number, environment=run.environment, most=2 * DOUBLED_LIMIT)
    if not twice:
        return ()
    owners = db.rows("keys", environment=run.environment, keys=db.listed({key for key, _, _ in twice}))
    chunks = load(db, {number for _, number, _ in [*twice, *owners]}, bodies=True)
    places: dict[str, set[tuple[int, int]]] = {}
    for key, number, place in [*twice, *owners]:
        if number in chunks and chunks[number].run == run.number:
            places.setdefault(key, set()).add((number, place))
    doubled = []
    for key, at in places.items():
        first, *others = sorted(at)
        line = chunks[first[0]].metas[first[1]].line
        doubled += [Doubled(key, line, chunks[number].metas[place].line) for number, place in others]
    return tuple(sorted(doubled, key=lambda pair: pair.line)[:DOUBLED_LIMIT])


class _Contest(Struct, frozen=True):
    """An order whose key another order had, when it was inserted, and the order that the key leads to now."""

    chunk: Chunk
    place: int
    key: str
    former: tuple[int, int]
    """Chunk and place that the key leads to; no chunk has the number 0."""
    other: Owner | None
    """The order that the key leads to, if it is of another run, which was admitted."""
    owner: Owner | None
    """The same order, if it was live when this was read: then it has the key."""
    counts_on_it: tuple[int, int, int] | None
    """Run, chunk and place of the order that the key leads to, if its run is still being loaded."""
    drafts: int
    """The number of drafts that may exist of the order that had the key last, if the key is free."""

    @property
    def was_held_back(self) -> bool:
        """Whether the owner was not sent, because an older copy of the ledger was accepted."""
        owner = self.owner
        return owner is not None and owner.task_id is None and owner.chunk.error(owner.place) == HELD_BACK

    @property
    def state(self) -> OrderState | None:
        """The owner's state."""
        return None if self.owner is None else self.owner.state

    @property
    def same(self) -> bool:
        """Whether both orders have the same text, byte for byte; assumed if the owner's text is not known."""
        return self.owner is not None and self.owner.payload in (None, self.chunk.payload(self.place))

    @property
    def surely_same(self) -> bool:
        """Whether both orders have the same text, and the ledger has both: an order from a result file has none."""
        return self.same and self.owner is not None and self.owner.payload is not None


def contested(db: Database, run: Held) -> Iterator[list[_Contest]]:
    """The contested orders of a loading run, block by block, each with the present owner of its key."""
    number, place = 0, -1
    while rows := db.rows("contested", run=run.number, chunk=number, place=place, most=_AT_ONCE):
        number, place, _ = rows[-1]
        keys = db.rows("keys", environment=run.environment, keys=db.listed({key for _, _, key in rows}))
        owners = {key: (chunk, at) for key, chunk, at in keys}
        chunks = load(db, {chunk for chunk, _, _ in rows} | {chunk for chunk, _ in owners.values()}, bodies=True)
        known = runs.by_number(db, {chunk.run for chunk in chunks.values()})
        block = []
        for mine, at, key in rows:
            former = owners.get(key, (0, 0))
            theirs = chunks.get(former[0])
            other = counts_on_it = None
            if theirs is not None and theirs.run != run.number:
                if known[theirs.run].state is RunState.LOADING:
                    counts_on_it = (theirs.run, *former)
                else:
                    other = Owner(known[theirs.run], theirs, former[1])
            owner = other if other is not None and other.live else None
            drafts = 0 if theirs is None or counts_on_it is not None else drafts_left(run, known, theirs, former[1])
            block.append(_Contest(chunks[mine], at, key, former, other, owner, counts_on_it, drafts))
        yield block


def _asks_holder(run: Held, each: _Contest) -> bool:
    """Whether the other order's run must be locked: only its holder knows the state, or its draft may be inherited."""
    if each.state in _UNDECIDED:
        return True
    owner = each.owner
    if owner is None or owner.state is not OrderState.IN_DOUBT or owner.task_id is None:
        return False
    return run.mode is owner.run.mode is Mode.TWO_PHASE


def decide(
    db: Database, run: Held, block: Sequence[_Contest], now: int, take: Callable[[str], None], decided: Decided
) -> None:
    """Decide for some contested orders which order has each key from now on."""
    for rival in sorted({each.owner.run.id for each in block if each.owner is not None and _asks_holder(run, each)}):
        take(rival)
    unused = _unused_by_key(db, block)
    changed: dict[int, Chunk] = {}
    drafts: list[tuple[str, int, str, int, None]] = []
    superseded: dict[str, int] = {}
    for each in block:
        mine, place, owner = each.chunk, each.place, each.owner
        if owner is None:
            if each.drafts:
                mine.note(place, lost_drafts=each.drafts)
                changed[mine.id] = mine
            take_contested(db, run, each)
            continue
        (their_run, theirs, at), state = owner, state_of(owner.run.id, owner.chunk, owner.place)
        lost = max(0, theirs.lost_drafts(at) - unused.get((theirs.run, each.key), 0))
        changed[mine.id] = mine
        both, is_ours = run.mode is their_run.mode is Mode.TWO_PHASE, runs.is_ours(run, their_run)
        if both and is_ours and state in WITH_DRAFT and owner.task_id is not None and each.surely_same:
            # The very same order: it continues with its draft. One that differs in anything is another one.
            goes_on = OrderState.DRAFTED if state is OrderState.DRAFTED else OrderState.BROADCASTING
            mine.move(place, goes_on, source=OrderState.LOADING)
            mine.record(place, theirs.tasks[at][0], theirs.status(at))
            why = theirs.error(at) or ""
            goes_on_with = why if state is OrderState.BROADCASTING or why.startswith(ELSEWHERE) else None
            mine.note(place, lost_drafts=lost, error=goes_on_with)
            mine.claimed_at = theirs.claimed_at
            mine.open_until = max(mine.open_until or 0, theirs.open_until or 0) or None
        elif state in WAITING or (decided.not_sent_before and state is OrderState.IN_DOUBT and each.was_held_back):
            # The draft of another account or server stays an unused one of its own run, which alone can cancel it.
            with_draft = state is OrderState.DRAFTING or (state is OrderState.DRAFTED and is_ours)
            mine.note(place, lost_drafts=lost + with_draft)
            if state is OrderState.DRAFTED and at in theirs.tasks:
                whose = run.number if is_ours else theirs.run
                drafts.append((theirs.tasks[at][0], whose, each.key, now, None))
        else:
            if state is OrderState.SENDING:
                changed[theirs.id] = theirs
                theirs.put_in_doubt(at, CRASHED if theirs.state(at) is state else DOUBT, now)
            why = other_row(db, run, mine, place, owner) if owner.is_read_in else ""
            is_same = each.same and not why
            mine.move(place, OrderState.ALREADY_PUSHED if is_same else OrderState.CHANGED, source=OrderState.LOADING)
            mine.note(place, error=why or None)
            decided.already_pushed += 1
            decided.in_doubt += state in DOUBTFUL
            decided.archived += their_run.archived_in is not None
            continue
        changed[theirs.id] = theirs
        theirs.move(at, OrderState.SUPERSEDED)
        theirs.epoch += 1  # a write of a process that read it before is refused
        decided.superseded += 1
        superseded[each.key] = number_of(theirs.id, at)
        take_contested(db, run, each)
    if superseded:  # what was submitted has its outcome here from now on
        which = {"keys": db.listed(superseded), "orders": db.listed(superseded.values())}
        db.change("hand_over_submitted", environment=run.environment, **which)
    for chunk in changed.values():
        chunk.save(db, now)
    db.insert("add_unused", drafts)


def take_contested(db: Database, run: Held, each: _Contest) -> None:
    """Make our order the owner of its key; the order of another loading run that counted on it becomes contested.

    Raises Moved if the key leads elsewhere by now: a run that is being loaded has inserted it, and counts on it.
    """
    if not take_key(db, run.environment, each.chunk, each.place, each.former):
        raise Moved
    if each.counts_on_it is not None:
        db.insert("add_contested", [(*each.counts_on_it, each.key)])


def _unused_by_key(db: Database, block: Sequence[_Contest]) -> dict[tuple[int, str], int]:
    """The number of drafts of a key that a run has noted as unused, by run and key."""
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

    Left out are keys of the same order in two-phase mode: a run of the same account inherits the draft, and reads it.
    """
    rivals: set[str] = set()
    for block in contested(db, run):
        for each in block:
            owner = each.owner
            if owner is None or owner.state not in READABLE or owner.task_id is None:
                continue
            if run.mode is Mode.DIRECT or owner.state is OrderState.CANCELLING or not each.surely_same:
                rivals.add(owner.run.id)
    return sorted(rivals)
