"""Drafts that may exist of orders besides the recorded ones, and which of them an order may go on with."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gotsurge_async.database import Database
from gotsurge_async.ledger.sql.chunks import PLACES, Chunk, by_chunk, chunks_of, load
from gotsurge_async.ledger.sql.pages import owners_of_keys
from gotsurge_async.ledger.sql.recorded import recorded
from gotsurge_async.ledger.sql.runs import Held, by_number, is_ours
from gotsurge_async.ledger.states import FREE, LIVE, Mode, OrderState, RunInfo


def adoptable(db: Database, run: Held, drafts: Mapping[str, str]) -> dict[str, str]:
    """Those of some drafts, passed as key and task id, that can only be of the orders of a run: see `Run.adoptable`."""
    texts: dict[str, set[bytes]] = {key: set() for key in drafts}
    states: dict[str, dict[tuple[int, int], OrderState]] = {key: {} for key in drafts}
    # Every order that ever had one of the keys: those of all runs of the environment.
    quoted = db.listed(msgspec.json.encode(key).decode() for key in drafts)
    rows = db.rows("chunks_that_name", environment=run.environment, quoted=quoted)
    for chunk in chunks_of(db, rows, tasks=False, bodies=True).values():
        for place, meta, payload, _ in chunk.orders():
            if meta.key in texts:
                texts[meta.key].add(_without_its_time(payload))
                states[meta.key][chunk.id, place] = chunk.state(place)
    ids = db.listed(drafts.values())
    noted = {task_id for (task_id,) in db.rows("known_unused", ids=ids)}
    cancelling = {task_id for (task_id,) in db.rows("being_cancelled", ids=ids, environment=run.environment)}
    recorded_at: dict[str, set[tuple[int, int]]] = {task_id: set() for task_id in drafts.values()}
    for number, place, task_id in db.rows("recorded", environment=run.environment, ids=ids):
        recorded_at[task_id].add((number, place))
    # A superseded order keeps the draft that its successor inherited. If that did not, an undo may be cancelling it.
    may_have = {OrderState.WITHDRAWN, OrderState.SUPERSEDED}
    fit: dict[str, str] = {}
    for key, task_id in drafts.items():
        holders = {states[key].get(at) for at in recorded_at[task_id]}
        is_withdrawn = OrderState.WITHDRAWN in holders and holders <= may_have
        is_free = is_withdrawn or not (holders or task_id in noted)
        if len(texts[key]) == 1 and is_free and task_id not in cancelling:
            fit[key] = task_id
    return fit


_KEPT = 30 * 86_400_000_000
"""Microseconds after which the note of a cancel that can no longer act is removed: an answer may be read late."""


def begin_cancel(
    db: Database, environment: str, task_ids: Sequence[str], now: int, until: int | None = None, by: int = 0
) -> dict[str, str]:
    """Note that cancels of those of some drafts leave now that are not `in_use`; returns the others, with their runs.

    A cancel that has begun is stored as the time 0: `adoptable` leaves out its draft from now on, and no answer to a
    create makes it the task of an order. With ``until``, tasks that are not noted are noted, too, without a run, and
    with the time until which the cancel may act.
    """
    used = in_use(db, environment, task_ids)
    free = sorted(set(task_ids) - used.keys())
    if until is not None:
        db.change("forget_old_cancels", before=now - _KEPT)
        db.insert("cancel_of_unknown", [(task_id, 0, environment, until, by) for task_id in free])
    db.change("cancel_begins", ids=db.listed(free))
    return used


def recording(db: Database) -> set[str]:
    """The transactions that may be recording answers at this moment, and have perhaps not seen a note that is durable.

    In SQLite there is none: no other process writes while one writes.
    """
    return {transaction for (transaction,) in db.rows("recording")}


def in_use(db: Database, environment: str, task_ids: Sequence[str]) -> dict[str, str]:
    """Those of some unused drafts that a live order has, or may be going on with, each with the run of that order."""
    keys: dict[str, str] = dict(db.rows("keys_of_unused", ids=db.listed(task_ids)))
    # Before the recorded ones: an order is being drafted until its draft is recorded.
    owners = owners_of_keys(db, environment, set(keys.values()), unless={}) if keys else {}
    drafting = {key: owner.run.id for key, owner in owners.items() if owner.state is OrderState.DRAFTING}
    used = {task_id: drafting[key] for task_id, key in keys.items() if key in drafting}
    for task_id, numbers in recorded(db, environment, task_ids).items():
        number, place = divmod(numbers[0], PLACES)
        chunk = load(db, [number])[number]
        if chunk.state(place) in LIVE:
            used[task_id] = by_number(db, [chunk.run])[chunk.run].id
    return used


def lost_of(db: Database, ids: Sequence[int]) -> set[str]:
    """The keys of those of some orders of which a draft may exist that is not recorded for them."""
    places = by_chunk(ids)
    return {
        chunk.metas[place].key
        for chunk in load(db, places, bodies=True).values()
        for place in places[chunk.id]
        if chunk.metas and chunk.lost_drafts(place)
    }


def drafts_left(run: Held, known: Mapping[int, RunInfo], chunk: Chunk, place: int) -> int:
    """The number of drafts that may exist of an order of a ``known`` run, which has ended, and that a run may use.

    No driver knows of these. A run in direct mode, or of another account or server, can neither use nor cancel them.
    """
    if run.mode is not Mode.TWO_PHASE or not is_ours(run, known[chunk.run]):
        return 0
    state = chunk.state(place)
    is_withdrawn = state is OrderState.WITHDRAWN and place in chunk.tasks
    return max(chunk.lost_drafts(place), int(is_withdrawn)) if state in FREE else 0


def _without_its_time(payload: bytes) -> bytes:
    """The content of an order without the time at which it was made, which a desk does not compare either."""
    try:
        order: dict[str, Any] = msgspec.json.decode(payload, type=dict)
    except ValueError:  # a damaged order differs from all others
        return payload
    order.pop("client_time_utc", None)
    return msgspec.json.encode(order, order="sorted")
