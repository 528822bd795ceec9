"""The writes that move orders from state to state; each is conditional on the state they are in.

A function here is run by the writer: it may be undone and run again. ``claim`` and ``record`` serve many callers at
once, with one statement for all of them. Every write carries the epoch under which its run is held, and is refused
when another holder has raised it since (see `fence`): the writer's transaction excludes all others, so what was
looked at still holds when it is written.
"""

from collections.abc import Iterable, Sequence

from attrs import frozen
from sqlalchemy import (
    ColumnElement,
    Connection,
    Update,
    and_,
    bindparam,
    case,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from gotsurge_async.bulk.ledger.errors import IllegalTransition, RunLost
from gotsurge_async.bulk.ledger.records import Outcome, Remark
from gotsurge_async.bulk.ledger.sql.admission import CRASHED
from gotsurge_async.bulk.ledger.sql.bundles import ROWS, among, bundle, incoming, named, number, place
from gotsurge_async.bulk.ledger.sql.prepared import Prepared
from gotsurge_async.bulk.ledger.sql.schema import in_states, is_live, meta, orders, payloads, runs, unused_drafts
from gotsurge_async.bulk.ledger.states import CLAIMED, LIVE, TRANSITIONS, OrderState, sources

RECORDED = {
    OrderState.CREATED: sources(OrderState.CREATED),
    # Only what was being drafted: one that is on its way to be broadcast, or was, keeps the draft it has.
    OrderState.DRAFTED: frozenset({OrderState.DRAFTING}),
    # Its recorded draft was seen to be one still: it is broadcast again, by the same id.
    OrderState.BROADCASTING: frozenset({OrderState.IN_DOUBT}),
    OrderState.REJECTED: sources(OrderState.REJECTED),
    OrderState.IN_DOUBT: sources(OrderState.IN_DOUBT),
    OrderState.CANCELLED: sources(OrderState.CANCELLED),
}
"""The states that an outcome may have, and those in which the order must be found."""

_EPOCH = Prepared(select(runs.c.epoch).where(runs.c.id == bindparam("of_run")))
_COUNT = Prepared(update(meta).where(meta.c.name == "counter").values(value=meta.c.value + 1))


def fence(connection: Connection, run_id: str, epoch: int) -> None:
    """Let only the present holder of a run write.

    Raises:
        RunLost: another one has taken the run over since.
    """
    if _EPOCH.run(connection, {"of_run": run_id}).fetchone() != (epoch,):
        raise RunLost(f"run {run_id} was taken over by another process: nothing more of it is sent by this one")


def take_over(connection: Connection, run_id: str) -> int:
    """Raise a run's epoch, and return it: from now on whoever had the run before is refused."""
    raised = update(runs).where(runs.c.id == run_id).values(epoch=runs.c.epoch + 1).returning(runs.c.epoch)
    return int(connection.execute(raised).scalar_one())


def count(connection: Connection) -> None:
    """Raise the counter by which an older copy of the ledger is told from a newer one."""
    _COUNT.run(connection, {})


def _ids() -> ColumnElement[bool]:
    # The run is only a guard. Named bare, SQLite would look for the orders through the index over runs, and
    # read the whole run to find twenty rows.
    return and_(among(orders.c.id), func.coalesce(orders.c.run_id, "") == bindparam("of_run"))


def _which(run_id: str, ids: Sequence[int]) -> dict[str, object]:
    return {ROWS: bundle(ids), "of_run": run_id}


_OF_THE_EPOCH = orders.c.epoch == bindparam("of_epoch")


@frozen
class _Claiming:
    """How many of some orders are free, the statement that claims those, and the one that also names them."""

    count: Prepared
    claim: Prepared
    claim_and_name: Prepared


def _claiming(source: OrderState, target: OrderState) -> _Claiming:
    free = and_(_ids(), in_states(orders.c.state, (source,)))
    if source is OrderState.IN_DOUBT:
        free = and_(free, orders.c.task_id.is_not(None))
    claim = (
        update(orders)
        .where(free)
        .values(
            state=target.value,
            claimed_at=bindparam("now"),
            updated_at=bindparam("now"),
            epoch=bindparam("of_epoch"),
        )
    )
    return _Claiming(
        Prepared(select(func.count()).select_from(orders).where(free)),
        Prepared(claim),
        Prepared(claim.returning(orders.c.id)),
    )


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

_RELEASE = (
    update(orders)
    .where(_ids(), in_states(orders.c.state, CLAIMED), _OF_THE_EPOCH)
    .values(
        state=case(
            (orders.c.state == OrderState.BROADCASTING.value, OrderState.DRAFTED.value), else_=OrderState.PENDING.value
        ),
        claimed_at=None,
        updated_at=bindparam("now"),
    )
)

_RENEW = Prepared(
    update(orders)
    .where(_ids(), in_states(orders.c.state, CLAIMED), _OF_THE_EPOCH)
    .values(claimed_at=bindparam("now"), updated_at=bindparam("now"))
)


def _recording(target: OrderState) -> Prepared:
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
    return Prepared(
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
        parameters = {**_which(run_id, ids), "of_epoch": epoch, "now": now}
        free = _claim(connection, _CLAIM[source, target], parameters, set(ids))
        for wish in wishes:
            granted[id(wish)] = free.intersection(wish.ids)
            free -= granted[id(wish)]
    count(connection)
    return [granted[id(wish)] for wish in claims]


def _claim(connection: Connection, claiming: _Claiming, parameters: dict[str, object], ids: set[int]) -> set[int]:
    # Almost always all are free, and then counting spares us to have each of them returned (see `bundles`).
    if claiming.count.run(connection, parameters).fetchone() == (len(ids),):
        claiming.claim.run(connection, parameters)
        return ids
    return {order_id for (order_id,) in claiming.claim_and_name.run(connection, parameters)}


def release(connection: Connection, run_id: str, epoch: int, ids: Sequence[int], now: int) -> None:
    """Undo claims."""
    fence(connection, run_id, epoch)
    _complain_of(connection, run_id, ids, TRANSITIONS.keys() - CLAIMED, "be released")
    parameters = {**_which(run_id, ids), "of_epoch": epoch, "now": now}
    if connection.execute(_RELEASE, parameters).rowcount != len(ids):
        raise _puzzling(run_id, "be released")


def renew(connection: Connection, run_id: str, epoch: int, ids: Sequence[int], now: int) -> None:
    """Make claims young again, if they still are the holder's."""
    fence(connection, run_id, epoch)
    if _RENEW.run(connection, {**_which(run_id, ids), "of_epoch": epoch, "now": now}).rowcount != len(ids):
        raise _puzzling(run_id, "be claimed on")


@frozen
class Results:
    """Outcomes to record, all or none."""

    run_id: str
    epoch: int
    outcomes: Sequence[Outcome]
    now: int


def record(connection: Connection, many: Sequence[Results]) -> list[None]:
    """Record outcomes."""
    # What is the same for many orders is given once: taking it out of each row costs more than the update of the row.
    kinds: dict[tuple[str, OrderState, str | None, str | None], list[Outcome]] = {}
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
        if _RECORD[state].run(connection, parameters).rowcount != len(outcomes):
            # The writer undoes all and asks again for each alone; then the one that is to blame is `many[0]`.
            ids = [outcome.id for outcome in many[0].outcomes if outcome.state is state]
            _complain_of(connection, many[0].run_id, ids, TRANSITIONS.keys() - {state}, f"become {state}")
            raise _puzzling(many[0].run_id, f"become {state}")
    return [None] * len(many)


def _remarking() -> Update:
    rows = incoming()
    return (
        update(orders)
        .where(
            orders.c.id == place(rows, 0),
            func.coalesce(orders.c.run_id, "") == place(rows, 1),
            orders.c.state == place(rows, 2),
        )
        .values(
            status=func.coalesce(place(rows, 3), orders.c.status),
            error=func.coalesce(place(rows, 4), orders.c.error),
            updated_at=place(rows, 5),
        )
    )


_REMARK = _remarking()


def remark(connection: Connection, run_id: str, epoch: int, remarks: Sequence[Remark], now: int) -> None:
    """Note what was learnt about orders that stay in their states."""
    fence(connection, run_id, epoch)
    rows = [(each.id, run_id, each.state.value, _clean(each.status), _clean(each.error), now) for each in remarks]
    connection.execute(_REMARK, {ROWS: bundle(rows)})


def _clean(text: str | None) -> str | None:
    """What a service said may be garbage, and must not keep the rest of an outcome from being recorded."""
    if text is None or (text.isascii() and "\0" not in text):
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def recover(connection: Connection, run_id: str, epoch: int, now: int) -> None:
    """Settle what earlier holders of a run left claimed; what was claimed under this epoch is left alone."""
    fence(connection, run_id, epoch)
    for source, target, changes in (
        (OrderState.SENDING, OrderState.IN_DOUBT, {"error": CRASHED}),
        (OrderState.DRAFTING, OrderState.PENDING, {"error": None, "lost_drafts": orders.c.lost_drafts + 1}),
    ):
        connection.execute(
            update(orders)
            .where(orders.c.run_id == run_id, in_states(orders.c.state, (source,)), orders.c.epoch < epoch)
            .values(state=target.value, updated_at=now, **changes)
        )


def change(connection: Connection, run_id: str, epoch: int, changed: Sequence[tuple[int, str]], now: int) -> None:
    """Note that orders, given by id, differ from what their keys were pushed with; the text says in what."""
    fence(connection, run_id, epoch)
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


def same(connection: Connection, run_id: str, epoch: int, ids: Sequence[int], now: int) -> None:
    """Note that orders do not differ from what their keys were pushed with."""
    fence(connection, run_id, epoch)
    connection.execute(
        update(orders)
        .where(_ids(), in_states(orders.c.state, (OrderState.CHANGED,)))
        .values(state=OrderState.ALREADY_PUSHED.value, updated_at=now),
        _which(run_id, ids),
    )


def unsettle(
    connection: Connection, run_id: str, epoch: int, other_id: int, payload: bytes, told: str, now: int
) -> None:
    """Give an order that was pushed the text that its task may have: right before it is changed, or when it was not."""
    fence(connection, run_id, epoch)
    connection.execute(update(payloads).where(payloads.c.order_id == other_id).values(payload=payload))
    connection.execute(update(orders).where(orders.c.id == other_id).values(error=_clean(told) or None, updated_at=now))


def replace(
    connection: Connection, run_id: str, epoch: int, order_id: int, other_id: int, status: str | None, now: int
) -> None:
    """Note that the order that was pushed under a key was changed at the service into the one of this run."""
    fence(connection, run_id, epoch)
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


def lose_drafts(connection: Connection, run_id: str, epoch: int, ids: Sequence[int], now: int) -> None:
    """Note that a draft may exist of each, whose id nobody knows."""
    fence(connection, run_id, epoch)
    lost = orders.c.lost_drafts + literal_column("1")
    connection.execute(update(orders).where(_ids()).values(lost_drafts=lost, updated_at=now), _which(run_id, ids))


def note_unused(connection: Connection, run_id: str, epoch: int, drafts: Sequence[tuple[str, str]], now: int) -> None:
    """Note drafts, given as key and task id, that no order will be broadcast by; one that is noted stays as it is.

    Left out is what may be the draft of another run that has the key now: the one that is recorded there, or any while
    none is.
    """
    fence(connection, run_id, epoch)
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


def unused_cancelled(connection: Connection, run_id: str, epoch: int, task_ids: Sequence[str], now: int) -> None:
    """Note that unused drafts were cancelled."""
    fence(connection, run_id, epoch)
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
        raise IllegalTransition(f"order {odd.key} (line {odd.line}) of run {run_id} is {odd.state} and cannot {wish}")


def _puzzling(run_id: str, wish: str) -> IllegalTransition:
    return IllegalTransition(
        f"an order of run {run_id} is named twice, does not exist, has another task id, or did {wish} before"
    )
