"""Drafts that may exist of orders besides the recorded ones, and which of them an order may go on with."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gotsurge_async.database import Database
from gotsurge_async.ledger.sql.chunks import Chunk, by_chunk, chunks_of, load
from gotsurge_async.ledger.sql.runs import Held
from gotsurge_async.ledger.states import FREE, OrderState


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
    recorded: dict[str, set[tuple[int, int]]] = {task_id: set() for task_id in drafts.values()}
    for number, place, task_id in db.rows("recorded", environment=run.environment, ids=ids):
        recorded[task_id].add((number, place))
    # A superseded order keeps the draft that its successor inherited. If that did not, an undo may be cancelling it.
    may_have = {OrderState.WITHDRAWN, OrderState.SUPERSEDED}
    fit: dict[str, str] = {}
    for key, task_id in drafts.items():
        holders = {states[key].get(at) for at in recorded[task_id]}
        is_withdrawn = OrderState.WITHDRAWN in holders and holders <= may_have
        if len(texts[key]) == 1 and (is_withdrawn or not (holders or task_id in noted)):
            fit[key] = task_id
    return fit


def lost_of(db: Database, ids: Sequence[int]) -> set[str]:
    """The keys of those of some orders of which a draft may exist that is not recorded for them."""
    places = by_chunk(ids)
    return {
        chunk.metas[place].key
        for chunk in load(db, places, bodies=True).values()
        for place in places[chunk.id]
        if chunk.metas and chunk.lost_drafts(place)
    }


def drafts_left(chunk: Chunk, place: int) -> int:
    """The number of drafts that may exist of an order that has ended, and that no driver knows."""
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
