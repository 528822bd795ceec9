"""The writes that move orders from state to state; each is conditional on the state they are in, and on the claim.

The writer runs these functions: it may undo one and run it again. A write is refused when another process
has taken the run over, and one about claimed orders when the claim is no longer the one that this run made.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from functools import partial

from msgspec import Struct

from gotsurge_async.clock import from_microseconds
from gotsurge_async.database import Database
from gotsurge_async.ledger.errors import IllegalTransition, NoSuchRun, StillOpen, TaskTaken, open_words
from gotsurge_async.ledger.sql.chunks import PLACES, Chunk, by_chunk, clean, each_page, load, number_of, save_all
from gotsurge_async.ledger.sql.pages import refuse_cancelling
from gotsurge_async.ledger.sql.recorded import DOUBT, FRESH, is_doubted, recorded
from gotsurge_async.ledger.sql.runs import Held, describe_order, fence
from gotsurge_async.ledger.states import (
    CLAIMED,
    DOUBTFUL,
    LETTERS,
    LIVE,
    OrderOutcome,
    OrderState,
    Taken,
    in_words,
    sources,
)

RECORDED = {
    OrderState.CREATED: sources(OrderState.CREATED),
    # Only what was being drafted, or a draft whose cancel was refused: one that is on its way to be broadcast, or was,
    # keeps the draft it has.
    OrderState.DRAFTED: frozenset({OrderState.DRAFTING, OrderState.CANCELLING}),
    # Its recorded draft was seen to be one still: it is broadcast again, by the same id.
    OrderState.BROADCASTING: frozenset({OrderState.IN_DOUBT, OrderState.CANCELLING}),
    OrderState.REFUSED: sources(OrderState.REFUSED),
    OrderState.IN_DOUBT: sources(OrderState.IN_DOUBT),
    OrderState.CANCELLED: sources(OrderState.CANCELLED),
    # Durable before a cancel leaves. A cancel that is sent again finds the order so. An answer may name a task of which
    # a person's cancel has begun.
    OrderState.CANCELLING: sources(OrderState.CANCELLING) | {OrderState.CANCELLING, OrderState.SENDING},
}
"""The states that an outcome may have, each with the states that the order must have."""

_RECORDED = {state: frozenset(LETTERS[source] for source in RECORDED[state]) for state in RECORDED}
_CLAIMED = frozenset(LETTERS[state] for state in CLAIMED)

CRASHED = "the process ended before the answer was recorded"
"""The ``error`` of an order that is in doubt after a crash."""


def count(db: Database, slot: int) -> None:
    """Raise the counter that distinguishes an older copy of the ledger from a newer one, once in a transaction."""
    if db.counted is None:
        ((own, counter),) = db.rows("count", slot=slot, n=1)
        db.counted = own, counter


class Claim(Struct, frozen=True):
    """A request to move those of some orders that are in ``source`` to ``target``."""

    run: Held
    ids: Sequence[int]
    source: OrderState
    target: OrderState
    now: int
    slot: int


_TAKEN_BACK = frozenset({OrderState.CANCELLING, OrderState.CANCELLED})


def claim(db: Database, wishes: Sequence[Claim]) -> list[list[int]]:
    """Grant claims; returns for each the ids that it has now, and no other claim has, in the order of its request."""
    _fence_all(db, wishes)
    wanted = [by_chunk(wish.ids) for wish in wishes]
    chunks = _seen_or_read(
        db, [(wish.run, at, frozenset(LETTERS[wish.source])) for wish, at in zip(wishes, wanted, strict=True)]
    )
    granted: list[list[int]] = []
    taken: dict[int, Chunk] = {}
    for wish, places in zip(wishes, wanted, strict=True):
        claimed: set[int] = set()
        source, target = LETTERS[wish.source], LETTERS[wish.target]
        for number, at in places.items():
            chunk = chunks.get(number)
            if chunk is None or not wish.run.has(chunk):
                continue
            free = [place for place in at if place < len(chunk.states) and chunk.states[place] == source]
            if wish.source is OrderState.IN_DOUBT:
                free = [place for place in free if place in chunk.tasks]
            if wish.source is OrderState.CANCELLING:
                free = [place for place in free if not chunk.cancel_may_act(place, wish.now)]
            if free:
                for place in free:
                    chunk.states[place] = target
                    if wish.source is OrderState.DRAFTED:
                        chunk.note(place, error=None)
                begin_claim(db, wish.run, chunk, wish.now)
                # Of an order with an error the calls have ended, and it is only read: the time of those counts on.
                if wish.source is not OrderState.BROADCASTING or not all(map(chunk.error, free)):
                    keep_open(wish.run, chunk, wish.now)
                db.committed.append(partial(wish.run.seen.__setitem__, number, chunk))
                taken[number] = chunk
                claimed.update([number * PLACES + place for place in free])
        granted.append([order for order in wish.ids if order in claimed])
    if taken:
        save_all(db, taken.values(), max(wish.now for wish in wishes))
        count(db, wishes[0].slot)
    return granted


def _seen_or_read(
    db: Database, wanted: Iterable[tuple[Held, Mapping[int, Sequence[int]], frozenset[str]]]
) -> dict[int, Chunk]:
    """The chunks that requests need, as last seen or read anew; each request names the states that its orders may have.

    A chunk as last seen is used only if the requested orders have these states, so that no request is refused wrongly.
    It is then forgotten, so that a job that is tried again because a chunk has changed reads it.
    """
    known: dict[int, Chunk] = {}
    missing: set[int] = set()
    for run, places, letters in wanted:
        for number, at in places.items():
            seen = run.seen.pop(number, None)
            if seen is None or (letters is _CLAIMED and run.claims.get(number) != seen.epoch):
                missing.add(number)
            elif letters.issuperset([seen.states[place] for place in at if place < len(seen.states)]):
                known.setdefault(number, seen)
            else:
                missing.add(number)
    return known | load(db, missing - known.keys())


def begin_claim(db: Database, run: Held, chunk: Chunk, now: int) -> None:
    """Begin a new claim of a chunk. It is the holder's when it is durable: before, another may get the same epoch."""
    chunk.epoch += 1
    chunk.claimed_at = now
    db.committed.append(partial(run.claims.__setitem__, chunk.id, chunk.epoch))


def keep_open(run: Held, chunk: Chunk, now: int) -> None:
    """Note, with the intent to send orders of a chunk, until when the request may act."""
    chunk.open_until = max(chunk.open_until or 0, now + run.settle)


def _fence_all(db: Database, requests: Sequence["Claim | Results"]) -> None:
    # An older holder of a run, in this same process, may be among them; it is refused.
    for run in {(each.run.number, each.run.epoch, each.run.segment): each.run for each in requests}.values():
        fence(db, run)


def chunks_in(db: Database, run: Held, ids: Iterable[int]) -> list[tuple[Chunk, list[int]]]:
    """The chunks of some orders of a run, and the places of these in them; orders of other runs are left out."""
    places = by_chunk(ids)
    for number in places:
        run.seen.pop(number, None)
        # Another mark of this transaction may remember the chunk without what is noted here.
        db.committed.append(partial(run.seen.pop, number, None))
    return [(chunk, places[chunk.id]) for chunk in load(db, places).values() if run.has(chunk)]


def _claimed(db: Database, run: Held, ids: Sequence[int], wish: str) -> list[tuple[Chunk, list[int]]]:
    """The chunks of some orders; IllegalTransition unless this holder has claimed all of them."""
    chunks = chunks_in(db, run, ids)
    for chunk, places in chunks:
        for place in places:
            if chunk.state(place) not in CLAIMED or run.claims.get(chunk.id) != chunk.epoch:
                raise _complaint(db, run, chunk, place, wish)
    if sum(len(places) for _, places in chunks) != len(ids) or len(set(ids)) != len(ids):
        raise _puzzling(run)
    return chunks


def release(db: Database, run: Held, ids: Sequence[int], now: int) -> None:
    """Undo claims."""
    for chunk, places in _claimed(db, run, ids, "be released"):
        for place in places:
            is_out = chunk.state(place) is OrderState.BROADCASTING
            chunk.move(place, OrderState.DRAFTED if is_out else OrderState.PENDING)
        chunk.save(db, now)


def renew(db: Database, run: Held, ids: Sequence[int], now: int) -> None:
    """Make claims young again, if the holder still has them; the error of an earlier broadcast counts no more."""
    for chunk, places in _claimed(db, run, ids, "be claimed on"):
        for place in places:
            if chunk.state(place) is OrderState.BROADCASTING:
                chunk.note(place, error=None)
        chunk.claimed_at = now
        keep_open(run, chunk, now)
        chunk.save(db, now)


class Results(Struct, frozen=True):
    """Outcomes to record, all or none.

    Attributes:
        now: the time of the write.
        read_at: when the reading began that the outcomes come from, if they come from one.
        broadcast: those that are drafted are claimed for their broadcast by the same write.
    """

    run: Held
    outcomes: Sequence[OrderOutcome] | Taken
    now: int
    broadcast: bool = False
    slot: int = 0
    read_at: int | None = None

    @property
    def ids(self) -> Sequence[int]:
        """The ids of the orders."""
        return self.outcomes.ids if isinstance(self.outcomes, Taken) else [outcome.id for outcome in self.outcomes]

    @property
    def takes_back(self) -> bool:
        """Whether an order is being cancelled, or was cancelled."""
        return not isinstance(self.outcomes, Taken) and any(each.state in _TAKEN_BACK for each in self.outcomes)


def record(db: Database, many: Sequence[Results]) -> list[None]:
    """Record outcomes."""
    _fence_all(db, many)
    wanted = [by_chunk(results.ids) for results in many]
    chunks = _seen_or_read(db, [(each.run, at, _CLAIMED) for each, at in zip(many, wanted, strict=True)])
    all_named: dict[str, dict[str, int]] = {}  # by all answers that are recorded together, by environment
    # By environment, the tasks that answers name for orders that are created or drafted now, and those that are read
    # as the tasks of orders that were in doubt.
    made, read = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for results, places in zip(many, wanted, strict=True):
        run = results.run
        named = all_named.setdefault(run.environment, {})
        if _take(db, results, places, chunks, named):
            made[run.environment] += [outcome.task_id for outcome in results.outcomes if outcome.task_id]
            continue
        by_id = {outcome.id: outcome for outcome in results.outcomes}
        exist = all(number in chunks and run.has(chunks[number]) for number in places)
        if not exist or len(by_id) != len(results.outcomes):
            raise _puzzling(run)
        tasks = {outcome.task_id: outcome.id for outcome in results.outcomes if outcome.task_id is not None}
        twice = any(named.setdefault(task, order) != order for task, order in tasks.items())
        if twice or len(tasks) != sum(each.task_id is not None for each in results.outcomes):
            raise TaskTaken("two orders got the same task, in one answer or in two simultaneous answers")
        answered: list[tuple[str, int]] = []
        doubtful: list[tuple[str, int]] = []  # of orders that no process is sending
        for number, at in places.items():
            outcomes = {place: by_id[number_of(number, place)] for place in at}
            _record(db, results, chunks[number], outcomes, answered, doubtful)
        if answered and not run.tasks.has_read(run.environment, results.now):
            run.tasks.read(db, run.environment, results.now, overlap=FRESH)
        # To look a task up the database reads all of them: of answers only tasks that are known here are looked up.
        known = [(task_id, order) for task_id, order in answered if run.tasks.has(run.environment, task_id)]
        _refuse_taken(db, run.environment, known, answered=True)
        _refuse_taken(db, run.environment, doubtful)
        made[run.environment] += [task_id for task_id, order in answered if by_id[order].state in _TAKEN_FROM]
        read[run.environment] += [task for task, order in doubtful if by_id[order].state is OrderState.CREATED]
        db.committed.append(partial(run.tasks.keep, run.environment, tasks))
    save_all(db, chunks.values(), max(results.now for results in many))
    for environment in all_named:
        refuse_cancelling(db, environment, made[environment], read[environment], many[0].now)
    # An older copy knows nothing of the claim of a broadcast, nor of a cancel: it would call the order created.
    if any(results.broadcast or results.takes_back for results in many):
        count(db, many[0].slot)
    for results, places in zip(many, wanted, strict=True):
        for number in places:
            if _CLAIMED.isdisjoint(chunks[number].states):
                db.committed.append(partial(results.run.claims.pop, number, None))
            else:
                db.committed.append(partial(results.run.seen.__setitem__, number, chunks[number]))
    return [None] * len(many)


_TAKEN_FROM = {OrderState.CREATED: LETTERS[OrderState.SENDING], OrderState.DRAFTED: LETTERS[OrderState.DRAFTING]}


def _take(
    db: Database, results: Results, at: Mapping[int, Sequence[int]], chunks: Mapping[int, Chunk], named: dict[str, int]
) -> bool:
    """Record a whole chunk that was just claimed, with new tasks, in one step; returns False for any other chunk."""
    run, taken = results.run, results.outcomes
    number = min(at, default=0)
    chunk = chunks.get(number)
    if not isinstance(taken, Taken) or chunk is None or not run.has(chunk) or run.claims.get(number) != chunk.epoch:
        return False
    tasks = [(task.id, task.current_status) for task in taken.tasks]
    ids = dict(zip([task_id for task_id, _ in tasks], taken.ids, strict=True))
    drafted = results.broadcast and taken.state is OrderState.DRAFTED
    target = LETTERS[OrderState.BROADCASTING if drafted else taken.state]
    if (
        [*taken.ids] != chunk.numbers
        or len(ids) != len(tasks)
        or not (run.tasks.has_read(run.environment, results.now) and run.tasks.are_new(run.environment, ids))
        or not named.keys().isdisjoint(ids)
        or not chunk.take(tasks, _TAKEN_FROM.get(taken.state, ""), target)
    ):
        return False
    named.update(ids)
    if drafted:
        keep_open(run, chunk, results.now)
    db.committed.append(partial(run.tasks.keep, run.environment, ids))
    return True


def _record(
    db: Database,
    results: Results,
    chunk: Chunk,
    outcomes: Mapping[int, OrderOutcome],
    answered: list[tuple[str, int]],
    doubtful: list[tuple[str, int]],
) -> None:
    """Move the orders of a chunk to their outcomes; each new task is added, with its order, to one of the two lists.

    Args:
        answered: tasks that the answer to a claimed order named.
        doubtful: tasks of orders that no process was sending.
    """
    run = results.run
    mine = run.claims.get(chunk.id) == chunk.epoch
    as_of = results.now if results.read_at is None else results.read_at
    for place, new in outcomes.items():  # runs for every order that is sent: few calls
        if place >= len(chunk.states):
            raise _puzzling(run)
        letter = chunk.states[place]
        if letter not in _RECORDED[new.state] or (letter in _CLAIMED and not mine):
            raise _complaint(db, run, chunk, place, f"become {new.state.value}")
        if letter not in _CLAIMED and not new.ended:
            refuse_open(run, chunk, place, new.state, as_of)
        if new.state is OrderState.CANCELLING:
            chunk.note(place, cancel_until=results.now + run.settle if new.ended else -max(1, run.settle))
        elif new.state is OrderState.IN_DOUBT and letter in _CLAIMED:
            keep_open(run, chunk, results.now)  # from when the call ended, not from when it began
        chunk.states[place] = LETTERS[new.state]
        if new.task_id is not None or new.status is not None:
            if new.task_id is not None and place not in chunk.tasks:
                (answered if letter in _CLAIMED else doubtful).append((new.task_id, new.id))
            chunk.record(place, clean(new.task_id), clean(new.status))
        if new.error is not None or place in chunk.notes:
            chunk.note(place, error=clean(new.error))
        if results.broadcast and new.state is OrderState.DRAFTED:
            chunk.move(place, OrderState.BROADCASTING)
            keep_open(run, chunk, results.now)


def refuse_open(run: Held, chunk: Chunk, place: int, target: OrderState, now: int) -> None:
    """Raise StillOpen if a read or a decision would settle an order while a request for it may still act.

    A cancel may act on a task that was just read as live; so only its result ends ``cancelling``. A create or a
    broadcast may act after a reading that did not find the order; so it does not become ``refused``.
    """
    cancelling = target not in (OrderState.CANCELLED, OrderState.CANCELLING) and chunk.cancel_may_act(place, now)
    until = chunk.notes[place].cancel_until or 0 if cancelling else chunk.open_until or 0
    if cancelling or (chunk.state(place) in DOUBTFUL and target is OrderState.REFUSED and now < until):
        why = open_words(from_microseconds(until) if until > 0 else None, cancelling=cancelling)
        raise StillOpen(f"an order of run {run.id} stays in doubt: {why}")


def _refuse_taken(db: Database, environment: str, tasks: Sequence[tuple[str, int]], *, answered: bool = False) -> None:
    """Raise TaskTaken if a task, passed with the order that it is for, is recorded for another order.

    With ``answered`` the answer to a create named them: it may name the task of an earlier order of the same key,
    which is refused or cancelled by now.
    """
    ids = [task_id for task_id, _ in tasks]
    # An answer may name a draft that a later run of its own order replaced: no other order may broadcast it.
    owners = recorded(db, environment, ids, every=answered)
    for task_id, order in tasks:
        if ids.count(task_id) > 1:
            raise TaskTaken(f"task {task_id} is given for two orders")
        for other in owners.get(task_id, ()):
            if other != order and not (answered and _is_earlier(db, other, order)):
                raise TaskTaken(f"task {task_id} is already recorded for {describe_order(db, other)}")


def _is_earlier(db: Database, other: int, order: int) -> bool:
    """Whether an order is refused or cancelled, and has the key of another one (an archived order: any key)."""
    (number, place), (mine, at) = divmod(other, PLACES), divmod(order, PLACES)
    chunks = load(db, [number, mine], bodies=True)
    earlier = chunks[number]
    same = not earlier.metas or earlier.metas[place].key == chunks[mine].metas[at].key
    return same and earlier.state(place) not in LIVE


def recover(db: Database, run: Held, now: int) -> None:
    """Take over the claims of earlier holders of a run; the claims of this holder stay as they are.

    Their calls have ended by now, at an unknown time: how long they may still act counts from now. A chunk of which
    nothing is claimed any more keeps the time of its claim: its orders were sent then.
    """
    for page in each_page(db, run.number, CLAIMED | {OrderState.CANCELLING}, after=run.first - 1, last=run.last):
        for chunk in page.values():
            if run.claims.get(chunk.id) == chunk.epoch:
                continue
            cancels = [place for place in chunk.places((OrderState.CANCELLING,)) if chunk.cancel_settles_after(place)]
            for place in cancels:
                chunk.note(place, cancel_until=chunk.cancel_ends(place, now))
            if not chunk.places(CLAIMED):
                if cancels:
                    chunk.save(db, now)
                continue
            for place in chunk.places((OrderState.SENDING,)):
                chunk.put_in_doubt(place, CRASHED, now)
            for place in chunk.places((OrderState.DRAFTING,)):
                if is_doubted(run.id, chunk, place):
                    chunk.put_in_doubt(place, DOUBT, now)
                    continue
                chunk.move(place, OrderState.PENDING)
                chunk.note(place, error=None, lost_drafts=chunk.lost_drafts(place) + 1)
            begin_claim(db, run, chunk, now if chunk.places(CLAIMED) else chunk.claimed_at or now)
            chunk.save(db, now)


def resolve(
    db: Database, run: Held, words: Mapping[str, str | None], over: Set[str], states: Set[OrderState], by: str, now: int
) -> None:
    """Record decisions: the order of a key is this task, which was cancelled if ``over``; with None there is none.

    Raises:
        NoSuchRun: the run has no such order.
        IllegalTransition: an order is in none of ``states``, or has another task recorded, which is never replaced.
    """
    orders = _orders_of_keys(db, run, words)
    chunks = load(db, {number for number, _ in orders.values()})
    for key, task_id in words.items():
        chunk, place = chunks[orders[key][0]], orders[key][1]
        known = chunk.tasks.get(place, (None,))[0]
        if chunk.state(place) not in states:
            state = in_words(chunk.state(place), held=True)  # what is being sent is in flight
            raise IllegalTransition(f"order {key} of run {run.id} is {state}, not in doubt")
        if None not in (task_id, known) and task_id != known:
            raise IllegalTransition(f"task {known} is already recorded for order {key} of run {run.id}")
        target = OrderState.REFUSED if task_id is None else OrderState.CANCELLED if key in over else OrderState.CREATED
        refuse_open(run, chunk, place, target if target is OrderState.CREATED else OrderState.REFUSED, now)
        # By a person, who may know it of an order in any of these states.
        chunk.states[place] = LETTERS[target]
        chunk.record(place, task_id, "cancelled" if key in over else None)
        error = {OrderState.REFUSED: f"not created, says {by}", OrderState.CANCELLED: "cancelled at GotSurge"}
        chunk.note(place, error=error.get(target))
        decision = {"key": key, "created": int(task_id is not None), "task_id": task_id, "by": by, "at": now}
        db.change("decide", run=run.number, chunk=chunk.id, place=place, **decision)
    named = [(task_id, number_of(*orders[key])) for key, task_id in words.items() if task_id is not None]
    ended = {words[key] for key in over}
    _refuse_taken(db, run.environment, named)
    for chunk in chunks.values():
        chunk.save(db, now)
    refuse_cancelling(db, run.environment, [], [task for task, _ in named if task not in ended], now)


def _orders_of_keys(db: Database, run: Held, keys: Iterable[str]) -> dict[str, tuple[int, int]]:
    """The chunk and place of each key in a run."""
    wanted = set(keys)
    owners = db.rows("keys", environment=run.environment, keys=db.listed(wanted))
    chunks = load(db, {number for _, number, _ in owners}).values()
    mine = {chunk.id for chunk in chunks if chunk.run == run.number}
    orders = {key: (number, place) for key, number, place in owners if number in mine}
    if missing := wanted - orders.keys():  # other runs' by now, or of no order
        for page in each_page(db, run.number, tasks=False, bodies=True):
            for chunk in page.values():
                orders |= {meta.key: (chunk.id, place) for place, meta in enumerate(chunk.metas) if meta.key in missing}
    for key in wanted:
        if key not in orders:
            raise NoSuchRun(f"run {run.id} has no order {key}")
    return orders


def _complaint(db: Database, run: Held, chunk: Chunk, place: int, wish: str) -> IllegalTransition:
    """The error for an order whose state does not allow a request; it names the order."""
    meta = load(db, [chunk.id], bodies=True)[chunk.id].metas[place]
    state = chunk.state(place).value
    return IllegalTransition(f"order {meta.key} (line {meta.line}) of run {run.id} is {state}, so it cannot {wish}")


def _puzzling(run: Held) -> IllegalTransition:
    return IllegalTransition(f"an order of run {run.id} is listed twice, is unknown, or has changed in the meantime")
