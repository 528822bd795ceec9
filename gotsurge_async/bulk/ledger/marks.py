"""The writes that move orders from state to state; each is conditional on the state they are in.

A function here is run by the writer: it may be undone and run again. ``claim`` and ``record`` serve many callers at
once, with one statement for all of them.
"""

from collections.abc import Iterable, Sequence

from attrs import frozen
from sqlalchemy import ColumnElement, Connection, Update, and_, bindparam, case, func, select, update

from .admission import CRASHED
from .bundles import ROWS, bundle, ids_in, incoming, named, number, place
from .errors import IllegalTransition
from .prepared import Prepared
from .records import Outcome, Remark
from .schema import in_states, orders
from .states import CLAIMED, LIVE, TRANSITIONS, OrderState, sources

RECORDED = (OrderState.CREATED, OrderState.DRAFTED, OrderState.REJECTED, OrderState.IN_DOUBT)
"""The states that an outcome may have."""


def _ids() -> ColumnElement[bool]:
    # The run is only a guard. Named bare, SQLite would look for the orders through the index over runs, and
    # read the whole run to find twenty rows.
    return and_(ids_in(orders.c.id), func.coalesce(orders.c.run_id, "") == bindparam("of_run"))


def _which(run_id: str, ids: Sequence[int]) -> dict[str, object]:
    return {ROWS: bundle(ids), "of_run": run_id}


@frozen
class _Claiming:
    """How many of some orders are free, the statement that claims those, and the one that also names them."""

    count: Prepared
    claim: Prepared
    claim_and_name: Prepared


def _claiming(source: OrderState, target: OrderState) -> _Claiming:
    free = and_(_ids(), in_states(orders.c.state, (source,)))
    claim = (
        update(orders).where(free).values(state=target.value, claimed_at=bindparam("now"), updated_at=bindparam("now"))
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
    )
}

_RELEASE = (
    update(orders)
    .where(_ids(), in_states(orders.c.state, CLAIMED))
    .values(
        state=case(
            (orders.c.state == OrderState.BROADCASTING.value, OrderState.DRAFTED.value), else_=OrderState.PENDING.value
        ),
        claimed_at=None,
        updated_at=bindparam("now"),
    )
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
            in_states(orders.c.state, sources(target)),
        )
        .values(**changes)
    )


_RECORD = {target: _recording(target) for target in RECORDED}


@frozen
class Claim:
    """A wish to move those of some orders that are in ``source`` to ``target``."""

    run_id: str
    ids: Sequence[int]
    source: OrderState
    target: OrderState
    now: int


def claim(connection: Connection, claims: Sequence[Claim]) -> list[set[int]]:
    """Grant claims: to each the ids that it has now, and that no other has."""
    kinds: dict[tuple[str, OrderState, OrderState], list[Claim]] = {}
    for wish in claims:
        kinds.setdefault((wish.run_id, wish.source, wish.target), []).append(wish)
    granted: dict[int, set[int]] = {}
    for (run_id, source, target), wishes in kinds.items():
        ids = [order_id for wish in wishes for order_id in wish.ids]
        # The earliest of their times: a claim must not look younger than it is.
        now = min(wish.now for wish in wishes)
        free = _claim(connection, _CLAIM[source, target], {**_which(run_id, ids), "now": now}, set(ids))
        for wish in wishes:
            granted[id(wish)] = free.intersection(wish.ids)
            free -= granted[id(wish)]
    return [granted[id(wish)] for wish in claims]


def _claim(connection: Connection, claiming: _Claiming, parameters: dict[str, object], ids: set[int]) -> set[int]:
    # Almost always all are free, and then counting spares us to have each of them returned (see `bundles`).
    if claiming.count.run(connection, parameters).fetchone() == (len(ids),):
        claiming.claim.run(connection, parameters)
        return ids
    return {order_id for (order_id,) in claiming.claim_and_name.run(connection, parameters)}


def release(connection: Connection, run_id: str, ids: Sequence[int], now: int) -> None:
    """Undo claims."""
    _complain_of(connection, run_id, ids, TRANSITIONS.keys() - CLAIMED, "be released")
    if connection.execute(_RELEASE, {**_which(run_id, ids), "now": now}).rowcount != len(ids):
        raise _puzzling(run_id, "be released")


@frozen
class Results:
    """Outcomes to record, all or none."""

    run_id: str
    outcomes: Sequence[Outcome]
    now: int


def record(connection: Connection, many: Sequence[Results]) -> list[None]:
    """Record outcomes."""
    # What is the same for many orders is given once: taking it out of each row costs more than the update of the row.
    kinds: dict[tuple[str, OrderState, str | None, str | None], list[Outcome]] = {}
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


def remark(connection: Connection, run_id: str, remarks: Sequence[Remark], now: int) -> None:
    """Note what was learnt about orders that stay in their states."""
    rows = [(each.id, run_id, each.state.value, _clean(each.status), _clean(each.error), now) for each in remarks]
    connection.execute(_REMARK, {ROWS: bundle(rows)})


def _clean(text: str | None) -> str | None:
    """What a service said may be garbage, and must not keep the rest of an outcome from being recorded."""
    if text is None or (text.isascii() and "\0" not in text):
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def recover(connection: Connection, run_id: str, now: int) -> None:
    """Settle what a process that ended without a word left behind."""
    for source, target, error in (
        (OrderState.SENDING, OrderState.IN_DOUBT, CRASHED),
        (OrderState.DRAFTING, OrderState.PENDING, None),
    ):
        connection.execute(
            update(orders)
            .where(orders.c.run_id == run_id, in_states(orders.c.state, (source,)))
            .values(state=target.value, error=error, updated_at=now)
        )


def _are(run_id: str, ids: Sequence[int]) -> ColumnElement[bool]:
    # The run is only a guard. Named bare, SQLite would look for the orders through the index over runs, and
    # read the whole run to find twenty rows.
    return and_(orders.c.id.in_(ids), func.coalesce(orders.c.run_id, "") == run_id)


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
    return IllegalTransition(f"an order of run {run_id} is named twice, does not exist, or did {wish} before")
