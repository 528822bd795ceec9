"""The writes that move orders from state to state; each is conditional on the state they are in.

A function here is run by the writer: it may be undone and run again. ``claim`` and ``record`` serve many callers at
once, with one statement for all of them. Every write of a run's holder carries the epoch under which it has the run,
and is refused when another one has raised it since: those two call `runs.fence`, and `Run` does before all others. The
writer's transaction excludes all others, so what was looked at still holds when it is written.
"""

from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen
from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, func, insert, or_, select, update

from gotsurge_async.bulk.ledger.errors import IllegalTransition, NoSuchRun
from gotsurge_async.bulk.ledger.sql.admission import CRASHED
from gotsurge_async.bulk.ledger.sql.fast_path import ROWS, Execute, among, bundle, named, number, prepared
from gotsurge_async.bulk.ledger.sql.runs import count, fence
from gotsurge_async.bulk.ledger.sql.schema import (
    decisions,
    in_states,
    is_live,
    orders,
    payloads,
    runs,
    unused_drafts,
)
from gotsurge_async.bulk.ledger.states import (
    CLAIMED,
    LIVE,
    TRANSITIONS,
    OrderOutcome,
    OrderState,
    Remark,
    in_words,
    sources,
)

RECORDED = {
    OrderState.CREATED: sources(OrderState.CREATED),
    # Only what was being drafted: one that is on its way to be broadcast, or was, keeps the draft it has.
    OrderState.DRAFTED: frozenset({OrderState.DRAFTING}),
    # Its recorded draft was seen to be one still: it is broadcast again, by the same id.
    OrderState.BROADCASTING: frozenset({OrderState.IN_DOUBT}),
    OrderState.REFUSED: sources(OrderState.REFUSED),
    OrderState.IN_DOUBT: sources(OrderState.IN_DOUBT),
    OrderState.CANCELLED: sources(OrderState.CANCELLED),
}
"""The states that an outcome may have, and those in which the order must be found."""


def _ids() -> ColumnElement[bool]:
    # The run is only a guard. Named bare, SQLite would look for the orders through the index over runs, and
    # read the whole run to find twenty rows.
    return and_(among(orders.c.id), func.coalesce(orders.c.run_id, "") == bindparam("of_run"))


def _which(run_id: str, ids: Iterable[int], **more: object) -> dict[str, object]:
    return {ROWS: bundle(ids), "of_run": run_id, **more}


def _claiming(source: OrderState, target: OrderState) -> tuple[Execute, Execute, Execute]:
    """What counts how many of some orders are free, what claims those, and what claims and names them."""
    free = and_(_ids(), in_states(orders.c.state, (source,)))
    if source is OrderState.IN_DOUBT:
        free = and_(free, orders.c.task_id.is_not(None))
    claim = (
        update(orders)
        .where(free)
        .values(
            state=target.value, claimed_at=bindparam("now"), updated_at=bindparam("now"), epoch=bindparam("of_epoch")
        )
    )
    count_free = select(func.count()).select_from(orders).where(free)
    return prepared(count_free), prepared(claim), prepared(claim.returning(orders.c.id))


_CLAIM = {
    (source, target): _claiming(source, target)
    for source, target in (
        (OrderState.PENDING, OrderState.SENDING),
        (OrderState.PENDING, OrderState.DRAFTING),
        (OrderState.DRAFTED, OrderState.BROADCASTING),
        (OrderState.IN_DOUBT, OrderState.BROADCASTING),
        # By whoever goes on with it: from now on it is this holder's, and an earlier one's no longer.
        (OrderState.BROADCASTING, OrderState.BROADCASTING),
    )
}

_OF_THE_HOLDER = (_ids(), in_states(orders.c.state, CLAIMED), orders.c.epoch == bindparam("of_epoch"))
_RELEASE = (
    update(orders)
    .where(*_OF_THE_HOLDER)
    .values(
        state=case(
            (orders.c.state == OrderState.BROADCASTING.value, OrderState.DRAFTED.value), else_=OrderState.PENDING.value
        ),
        claimed_at=None,
        updated_at=bindparam("now"),
    )
)
_RENEW = prepared(
    update(orders).where(*_OF_THE_HOLDER).values(claimed_at=bindparam("now"), updated_at=bindparam("now"))
)


def _recording(target: OrderState) -> Execute:
    tasks = named()
    changes: dict[str, object] = {
        "state": target.value,
        "task_id": func.coalesce(tasks.c.value, orders.c.task_id),
        "status": func.coalesce(bindparam("status"), orders.c.status),
        "error": bindparam("error"),
        "updated_at": bindparam("now"),
    }
    if target not in LIVE:
        # Only where it changes: to set it at all, even to what it is, rewrites both indexes over live orders, and
        # that costs four times what all else of the mark does.
        changes["live"] = 0
    return prepared(
        update(orders)
        .where(
            orders.c.id == number(tasks),
            func.coalesce(orders.c.run_id, "") == bindparam("of_run"),
            in_states(orders.c.state, RECORDED[target]),
            # A task id that was recorded is never replaced.
            or_(orders.c.task_id.is_(None), tasks.c.value.is_(None), orders.c.task_id == tasks.c.value),
        )
        .values(**changes)
    )


_RECORD = {target: _recording(target) for target in RECORDED}


@frozen
class Claim:
    """A wish to move those of some orders that are in ``source`` to ``target``."""

    run_id: str
    epoch: int
    ids: Sequence[int]
    source: OrderState
    target: OrderState
    now: int


def claim(connection: Connection, claims: Sequence[Claim]) -> list[set[int]]:
    """Grant claims: to each the ids that it has now, and that no other has."""
    kinds: dict[tuple[str, int, OrderState, OrderState], list[Claim]] = {}
    for wish in claims:
        kinds.setdefault((wish.run_id, wish.epoch, wish.source, wish.target), []).append(wish)
    granted: dict[int, set[int]] = {}
    for (run_id, epoch, source, target), wishes in kinds.items():
        fence(connection, run_id, epoch)
        ids = [order_id for wish in wishes for order_id in wish.ids]
        # The earliest of their times: a claim must not look younger than it is.
        now = min(wish.now for wish in wishes)
        free, parameters = set(ids), _which(run_id, ids, of_epoch=epoch, now=now)
        # Almost always all are free, and then counting spares us to have each of them returned (see `fast_path`).
        count_free, claim_all, claim_and_name = _CLAIM[source, target]
        if count_free(connection, parameters).fetchone() == (len(free),):
            claim_all(connection, parameters)
        else:
            free = {order_id for (order_id,) in claim_and_name(connection, parameters)}
        for wish in wishes:
            granted[id(wish)] = free.intersection(wish.ids)
            free -= granted[id(wish)]
    count(connection)
    return [granted[id(wish)] for wish in claims]


def release(connection: Connection, run_id: str, now: int, epoch: int, ids: Sequence[int]) -> None:
    """Undo claims."""
    _complain_of(connection, run_id, ids, TRANSITIONS.keys() - CLAIMED, "be released")
    if connection.execute(_RELEASE, _which(run_id, ids, of_epoch=epoch, now=now)).rowcount != len(ids):
        raise _puzzling(run_id, "be released")


def renew(connection: Connection, run_id: str, now: int, epoch: int, ids: Sequence[int]) -> None:
    """Make claims young again, if they still are the holder's."""
    if _RENEW(connection, _which(run_id, ids, of_epoch=epoch, now=now)).rowcount != len(ids):
        raise _puzzling(run_id, "be claimed on")


@frozen
class Results:
    """Outcomes to record, all or none."""

    run_id: str
    epoch: int
    outcomes: Sequence[OrderOutcome]
    now: int


def record(connection: Connection, many: Sequence[Results]) -> list[None]:
    """Record outcomes."""
    # What is the same for many orders is given once: taking it out of each row costs more than the update of the row.
    kinds: dict[tuple[str, OrderState, str | None, str | None], list[OrderOutcome]] = {}
    for run_id, epoch in {(results.run_id, results.epoch) for results in many}:
        fence(connection, run_id, epoch)
    for results in many:
        for new in results.outcomes:
            kinds.setdefault((results.run_id, new.state, new.status, new.error), []).append(new)
    now = max((results.now for results in many), default=0)
    for (run_id, state, status, error), outcomes in kinds.items():
        parameters = {
            ROWS: bundle({new.id: _clean(new.task_id) for new in outcomes}),
            "of_run": run_id,
            "status": _clean(status),
            "error": _clean(error),
            "now": now,
        }
        if _RECORD[state](connection, parameters).rowcount != len(outcomes):
            # The writer undoes all and asks again for each alone; then the one that is to blame is `many[0]`.
            ids = [outcome.id for outcome in many[0].outcomes if outcome.state is state]
            _complain_of(connection, many[0].run_id, ids, TRANSITIONS.keys() - {state}, f"become {state.word}")
            raise _puzzling(many[0].run_id, f"become {state.word}")
    return [None] * len(many)


def remark(connection: Connection, run_id: str, now: int, remarks: Sequence[Remark]) -> None:
    """Note what was learnt about orders that stay in their states."""
    kinds: dict[tuple[OrderState, str | None, str | None], list[int]] = {}
    for each in remarks:
        kinds.setdefault((each.state, each.status, each.error), []).append(each.id)
    for (state, status, error), ids in kinds.items():
        said = {"status": _clean(status), "error": _clean(error)}
        connection.execute(
            update(orders)
            .where(_ids(), in_states(orders.c.state, (state,)))
            .values(updated_at=now, **{name: text for name, text in said.items() if text is not None}),
            _which(run_id, ids),
        )


def _clean(text: str | None) -> str | None:
    """What a service said may be garbage, and must not keep the rest of an outcome from being recorded."""
    if text is None or (text.isascii() and "\0" not in text):
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def recover(connection: Connection, run_id: str, now: int, epoch: int) -> None:
    """Clear up what earlier holders of a run left claimed; what was claimed under this epoch is left alone."""
    for source, target, changes in (
        (OrderState.SENDING, OrderState.IN_DOUBT, {"error": CRASHED}),
        (OrderState.DRAFTING, OrderState.PENDING, {"error": None, "lost_drafts": orders.c.lost_drafts + 1}),
    ):
        connection.execute(
            update(orders)
            .where(orders.c.run_id == run_id, in_states(orders.c.state, (source,)), orders.c.epoch < epoch)
            .values(state=target.value, updated_at=now, **changes)
        )


def resolve(
    connection: Connection,
    run_id: str,
    now: int,
    words: Mapping[str, str | None],
    states: Iterable[OrderState],
    by: str,
    path: str,
) -> None:
    """Record words: the order of a key is this task, or with None it does not exist, and its key is free.

    Raises:
        NoSuchRun: the run has no such order.
        IllegalTransition: one is in none of ``states``, or has another task recorded, which is never replaced.
    """
    states = frozenset(states)
    of_run = select(orders.c.key, orders.c.id, orders.c.state, orders.c.task_id).where(
        orders.c.run_id == run_id, among(orders.c.key)
    )
    found = {row.key: row for row in connection.execute(of_run, {ROWS: bundle(words.keys())})}
    for key, task_id in words.items():
        if key not in found:
            raise NoSuchRun(f"run {run_id} has no order {key}", path=path)
        row = found[key]
        if row.state not in states:
            said = in_words(OrderState(row.state), held=True)  # what is being sent is in flight
            raise IllegalTransition(f"order {key} of run {run_id} is {said}, not in doubt", path=path)
        if None not in (task_id, row.task_id) and task_id != row.task_id:
            raise IllegalTransition(f"task {row.task_id} is recorded for order {key} of run {run_id}", path=path)
    here = update(orders).where(orders.c.id == bindparam("order"), in_states(orders.c.state, states))
    created = here.values(state=OrderState.CREATED.value, task_id=bindparam("task"), error=None, updated_at=now)
    said = f"not created, says {by}"
    not_created = here.values(state=OrderState.REFUSED.value, live=0, error=said, updated_at=now)
    for key, task_id in words.items():
        order = found[key].id
        if task_id is not None:
            connection.execute(created, {"order": order, "task": task_id})
        else:
            connection.execute(not_created, {"order": order})
        word = {"run_id": run_id, "order_id": order, "key": key, "created": int(task_id is not None)}
        connection.execute(insert(decisions), {**word, "task_id": task_id, "decided_by": by, "decided_at": now})


def note_changed(connection: Connection, run_id: str, now: int, changed: Sequence[tuple[int, str]]) -> None:
    """Note that orders, given by id, differ from what their keys were pushed with; the text says in what."""
    for order_id, told in changed:
        connection.execute(
            update(orders)
            .where(
                orders.c.id == order_id,
                orders.c.run_id == run_id,
                in_states(orders.c.state, (OrderState.CHANGED,)),
            )
            .values(error=_clean(told), updated_at=now)
        )


def note_unchanged(connection: Connection, run_id: str, now: int, ids: Sequence[int]) -> None:
    """Note that orders do not differ from what their keys were pushed with."""
    connection.execute(
        update(orders)
        .where(_ids(), in_states(orders.c.state, (OrderState.CHANGED,)))
        .values(state=OrderState.ALREADY_PUSHED.value, updated_at=now),
        _which(run_id, ids),
    )


def note_text(connection: Connection, run_id: str, now: int, other_id: int, payload: bytes, told: str) -> None:
    """Give an order that was pushed the text that its task may have: right before it is changed, or when it was not."""
    connection.execute(update(payloads).where(payloads.c.order_id == other_id).values(payload=payload))
    connection.execute(update(orders).where(orders.c.id == other_id).values(error=_clean(told) or None, updated_at=now))


def replace(connection: Connection, run_id: str, now: int, order_id: int, other_id: int, status: str | None) -> None:
    """Note that the order that was pushed under a key was changed at the service into the one of this run."""
    # It is another run's, which may have been taken back since it was read.
    if connection.scalar(select(orders.c.state).where(orders.c.id == other_id)) != OrderState.CREATED:
        raise IllegalTransition("the order that was pushed under the key is not created any more")
    new = select(payloads.c.payload).where(payloads.c.order_id == order_id).scalar_subquery()
    print_ = select(orders.c.fingerprint).where(orders.c.id == order_id).scalar_subquery()
    connection.execute(update(payloads).where(payloads.c.order_id == other_id).values(payload=new))
    updated = f"changed by run {run_id}"
    connection.execute(
        update(orders)
        .where(orders.c.id == other_id)
        .values(status=_clean(status), error=updated, fingerprint=print_, updated_at=now)
    )
    connection.execute(
        update(orders)
        .where(orders.c.id == order_id, in_states(orders.c.state, (OrderState.CHANGED,)))
        .values(state=OrderState.ALREADY_PUSHED.value, error="its task was changed into this", updated_at=now)
    )


def lose_drafts(connection: Connection, run_id: str, now: int, ids: Sequence[int]) -> None:
    """Note that a draft may exist of each, whose id nobody knows."""
    one_more = update(orders).where(_ids()).values(lost_drafts=orders.c.lost_drafts + 1, updated_at=now)
    connection.execute(one_more, _which(run_id, ids))


def note_unused(connection: Connection, run_id: str, now: int, drafts: Sequence[tuple[str, str]]) -> None:
    """Note drafts, given as key and task id, that no order will be broadcast by; one that is noted stays as it is.

    Left out is what may be the draft of another run that has the key now: the one that is recorded there, or any while
    none is.
    """
    known = set(connection.scalars(select(unused_drafts.c.task_id)))
    environment = select(runs.c.environment).where(runs.c.id == run_id).scalar_subquery()
    elsewhere = connection.execute(
        select(orders.c.key, orders.c.task_id).where(
            orders.c.environment == environment,
            among(orders.c.key),
            is_live(orders.c.live),
            orders.c.run_id != run_id,
        ),
        {ROWS: bundle([key for key, _ in drafts])},
    )
    owned: dict[str, str | None] = {row.key: row.task_id for row in elsewhere}
    rows = {
        task_id: {"task_id": task_id, "run_id": run_id, "key": key, "noted_at": now}
        for key, task_id in drafts
        if task_id not in known and (key not in owned or owned[key] not in (None, task_id))
    }
    if rows:
        connection.execute(insert(unused_drafts), list(rows.values()))


def unused_cancelled(connection: Connection, run_id: str, now: int, task_ids: Sequence[str]) -> None:
    """Note that unused drafts were cancelled."""
    connection.execute(
        update(unused_drafts)
        .where(unused_drafts.c.run_id == run_id, unused_drafts.c.task_id.in_(task_ids))
        .values(cancelled_at=now)
    )


def _complain_of(
    connection: Connection, run_id: str, ids: Sequence[int], wrong: Iterable[OrderState], wish: str
) -> None:
    """Raise for the first of some orders that is in a ``wrong`` state, if any is."""
    odd = connection.execute(
        select(orders.c.line, orders.c.key, orders.c.state)
        .where(_ids(), in_states(orders.c.state, wrong))
        .order_by(orders.c.line)
        .limit(1),
        _which(run_id, ids),
    ).first()
    if odd is not None:
        state = OrderState(odd.state).word
        raise IllegalTransition(f"order {odd.key} (line {odd.line}) of run {run_id} is {state} and cannot {wish}")


def _puzzling(run_id: str, wish: str) -> IllegalTransition:
    return IllegalTransition(
        f"an order of run {run_id} is named twice, does not exist, has another task id, or did {wish} before"
    )
