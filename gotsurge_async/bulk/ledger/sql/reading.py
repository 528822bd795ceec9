"""Single questions to the ledger. Each function reads, on a connection of its own, and sees one moment."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
from attrs import frozen

from gotsurge_async.bulk.ledger.errors import NoSuchRun
from gotsurge_async.bulk.ledger.sql import runs
from gotsurge_async.bulk.ledger.sql.chunks import LAST, PAGE, PLACES, chunks_of, each_page, load, number_of
from gotsurge_async.bulk.ledger.sql.pages import LOST, owners_of, owners_of_keys, rows_of
from gotsurge_async.bulk.ledger.sql.runs import Held
from gotsurge_async.bulk.ledger.states import (
    LETTERS,
    LIVE,
    Counts,
    Decision,
    OrderState,
    RunState,
    Similar,
    UnusedDraft,
)
from gotsurge_async.clock import from_microseconds
from gotsurge_async.database import Database

SIMILAR_LIMIT = 1000
"""How many similar orders one look lists."""
FEW_CHUNKS = 2_500
"""Up to so many a run is small: what all orders of the ledger have is then compared with what its own have."""
RIVALS_AT_ONCE = 500


def standing(db: Database, run_id: str) -> Counts:
    """How many orders of a run are in each state; one whose key another order has counts as what became of it there."""
    try:
        info = runs.one(db, run_id)
    except NoSuchRun:
        return Counts()
    if info.archived_at is not None:
        return runs.counts(db, info.number)
    lost = {LETTERS[state] for state in LOST}
    letters: Counter[str] = Counter()
    for states, times in db.rows("states_of_run", run=info.number, first=0, last=LAST):
        if lost.isdisjoint(states):
            for letter in states:
                letters[letter] += times
    for chunks in each_page(db, info.number, LOST, bodies=True):
        owners = owners_of(db, info.environment, chunks.values())
        letters.update(LETTERS[row.state] for chunk in chunks.values() for row in rows_of(chunk, owners, standing=True))
    return runs.counts_of(letters, loading=info.state is RunState.LOADING)


# --- more -------------------------------------------------------------------------------------------------------------


class _Like(NamedTuple):
    """An order whose fingerprint another one carries."""

    number: int
    line: int
    key: str
    run: int
    state: OrderState
    invoice: bool


class _Trip(msgspec.Struct):
    """What is looked at of an order that is like another one."""

    invoice_number: str | None = None


_trip = msgspec.json.Decoder(_Trip)


def _has_invoice(payload: bytes) -> bool:
    try:
        return bool(_trip.decode(payload).invoice_number)
    except ValueError:  # a damaged order is told where it is to be sent
        return False


def similar(db: Database, run: Held) -> list[Similar]:
    """Waiting orders of a run whose fingerprint a live order with another key carries, in another run or before it.

    Each is there once, however many it is like.
    """
    first, last = db.rows("span_of_run", run=run.number)[0]
    loading = runs.one(db, run.id).state is RunState.LOADING
    # Any group, and any number of groups with so many rows, has as many orders as are listed.
    limits = {"most": SIMILAR_LIMIT, "each": SIMILAR_LIMIT, "rows": 4 * SIMILAR_LIMIT}
    found = db.rows(
        "alike",
        environment=run.environment,
        run=run.number,
        first=first or 0,
        last=last or 0,
        few=int((last or 0) - (first or 0) < FEW_CHUNKS),
        pending=LETTERS[OrderState.PENDING],
        live=db.having(LETTERS[state] for state in LIVE),
        alone=int(not loading),
        **limits,
    )
    alike: dict[int, list[_Like]] = {}
    names: dict[int, str] = {}
    for start in range(0, len(found), PAGE):
        some = found[start : start + PAGE]
        chunks = load(db, {number for _, number, _ in some}, said=False, bodies=True)
        names |= {number: info.id for number, info in runs.by_number(db, {c.run for c in chunks.values()}).items()}
        for fingerprint, number, place in some:
            chunk = chunks[number]
            meta, order = chunk.metas[place], number_of(number, place)
            invoice = _has_invoice(chunk.payload(place))
            like = _Like(order, meta.line, meta.key, chunk.run, chunk.state(place), invoice)
            alike.setdefault(fingerprint, []).append(like)
    told: list[Similar] = []
    for group in alike.values():
        others = [like for like in group if like.run != run.number]
        for mine in sorted(like for like in group if like.run == run.number):
            if others and mine.state is OrderState.PENDING:
                known = others[0]
                told.append(
                    Similar(
                        mine.key,
                        mine.line,
                        known.key,
                        names[known.run],
                        known.line,
                        known.state,
                        len(others),
                        mine.invoice,
                    )
                )
            # Of two orders of this run, the later one names the earlier one; before it is admitted none does.
            if not loading:
                others.append(mine)
    return sorted(told, key=lambda each: each.line)[:SIMILAR_LIMIT]


@frozen
class Rival:
    """An order of a run, and the order that its key was pushed with, by whatever run."""

    id: int
    line: int
    key: str
    payload: bytes
    other_id: int
    other_run: str
    other_state: OrderState
    other_payload: bytes
    task_id: str | None


def rivals(db: Database, run: Held, states: Iterable[OrderState], after: int) -> list[Rival]:
    """Orders of a run in some states, by id, whose key another order has that was sent with another text."""
    wanted = frozenset(states)
    found: list[Rival] = []
    start = max(0, after // PLACES - 1)
    for chunks in each_page(db, run.number, wanted, after=start, most=PAGE // 8, said=False, bodies=True):
        owners = owners_of(db, run.environment, chunks.values())
        for chunk in chunks.values():
            for place, meta, payload, _ in chunk.orders():
                owner, order = owners.get(meta.key), number_of(chunk.id, place)
                if order <= after or chunk.state(place) not in wanted or owner is None or not owner.live:
                    continue
                theirs = owner.payload
                if theirs is not None and theirs != payload:
                    other = number_of(owner.chunk.id, owner.place), owner.run.id, owner.state
                    found.append(Rival(order, meta.line, meta.key, payload, *other, theirs, owner.task_id))
        if len(found) >= RIVALS_AT_ONCE:
            break
    return found


def pushed(db: Database, environment: str, keys: Sequence[str]) -> dict[str, tuple[str, OrderState, bytes]]:
    """The orders that some keys were pushed with: the run, the state there, and the text that was or will be sent."""
    return {
        key: (owner.run.id, owner.state, owner.payload or b"")
        for key, owner in owners_of_keys(db, environment, keys, unless={}).items()
        if owner.live
    }


def adoptable(db: Database, run: Held, drafts: Mapping[str, str]) -> dict[str, str]:
    """See `Run.adoptable`."""
    texts: dict[str, set[bytes]] = {key: set() for key in drafts}
    # Every order that ever had one of the keys: those of all runs of the environment.
    quoted = db.listed(msgspec.json.encode(key).decode() for key in drafts)
    rows = db.rows("chunks_that_name", environment=run.environment, quoted=quoted)
    for chunk in chunks_of(db, rows, said=False, bodies=True).values():
        for _, meta, payload, _ in chunk.orders():
            if meta.key in texts:
                texts[meta.key].add(payload)
    ids = list(drafts.values())
    taken = {task_id for (task_id,) in db.rows("known_unused", ids=db.listed(ids))}
    taken |= {task_id for _, _, task_id in db.rows("recorded", environment=run.environment, ids=db.listed(ids))}
    return {key: drafts[key] for key, said in texts.items() if len(said) == 1 and drafts[key] not in taken}


def lost_drafts(db: Database, run: Held) -> list[str]:
    """The keys of orders of which more drafts may exist than are known; those that went over to another run are its."""
    rows = db.rows("lost_of_run", run=run.number, first=run.first, last=run.last)
    chunks = load(db, {number for number, _, _ in rows}, bodies=True)
    lost = {
        chunks[number].metas[place].key: times
        for number, place, times in rows
        if chunks[number].metas and chunks[number].state(place) is not OrderState.SUPERSEDED
    }
    noted: dict[str, int] = dict(db.rows("unused_by_key", run=run.number, keys=db.listed(lost))) if lost else {}
    return [key for key, times in lost.items() if times > noted.get(key, 0)]


def unused(db: Database, run_id: str) -> list[UnusedDraft]:
    """The drafts of a run that no order will be broadcast by: those that were noted, and those of refused orders."""
    number = runs.one(db, run_id).number
    noted = db.rows("unused_drafts", run=number)
    known = {task_id for task_id, *_ in noted}
    found = [UnusedDraft(key, task_id, cancelled_at is not None) for task_id, key, _, cancelled_at in noted]
    for page in each_page(db, number, (OrderState.REFUSED,), bodies=True):
        found += [
            UnusedDraft(chunk.metas[place].key, chunk.tasks[place][0], cancelled=False)
            for chunk in page.values()
            for place in chunk.places((OrderState.REFUSED,))
            if chunk.metas and place in chunk.tasks and chunk.tasks[place][0] not in known
        ]
    return found


@frozen(kw_only=True)
class Size:
    """How large a ledger is.

    Attributes:
        bytes: of the database, with its indexes and with what is free in it; without the log of what was written last.
        orders: of all its runs.
    """

    bytes: int
    orders: int

    @property
    def per_order(self) -> float | None:
        """Bytes of the ledger for each of its orders; None if it has none."""
        return self.bytes / self.orders if self.orders else None


def size(db: Database) -> Size:
    """How large the ledger is, all runs together."""
    ((bytes_, orders),) = db.rows("size")
    return Size(bytes=bytes_, orders=orders)


def decided(db: Database, run_id: str) -> list[Decision]:
    """The operators' words about a run, oldest first."""
    number = runs.one(db, run_id).number
    return [
        Decision(run_id, key, bool(created), task_id, by, from_microseconds(at))
        for _, _, key, created, task_id, by, at in db.rows("decisions", run=number)
    ]
