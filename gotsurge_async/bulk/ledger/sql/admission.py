"""The orders of a run come in by blocks, and are let in all at once, or none; a run that was not goes out again.

Letting in is one transaction, which excludes every other writer, and decides for each key of the run who owns it. The
runs whose rows are taken over or given up are locked meanwhile, so none of them can wake up in between: whoever holds a
lock is alive, and keeps its orders.
"""

from collections.abc import Callable, Collection, Iterable, Sequence

from sqlalchemy import (
    ColumnElement,
    Connection,
    Update,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)

from gotsurge_async.bulk.ledger.errors import LedgerError
from gotsurge_async.bulk.ledger.sql.fast_path import prepared_insert
from gotsurge_async.bulk.ledger.sql.schema import (
    in_states,
    is_live,
    lost_drafts,
    meta,
    orders,
    payloads,
    runs,
    unused_drafts,
)
from gotsurge_async.bulk.ledger.states import (
    CLAIMED,
    DOUBTFUL,
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
from gotsurge_async.bulk.ledger.upkeep.integrity import readable

DOUBLED_LIMIT = 1000
"""How many repeated keys one admission lists."""

CRASHED = "the process ended before the answer was recorded"
"""What an order in doubt after a crash says in its ``error``."""

_ours = orders.alias("ours")
_theirs = orders.alias("theirs")
_our_payload = payloads.alias("our_payload")
_their_payload = payloads.alias("their_payload")
_their_run = runs.alias("their_run")

_UNDECIDED = UNFINISHED | CLAIMED
"""Only the holder of their run may know what these mean: it may be sending at this moment."""

DISCARDED_AT_ONCE = 20_000
"""Orders that one transaction removes, so that other writers have their turn."""

_TAKE_IDS = (
    update(meta)
    .where(meta.c.name == "last_order_id")
    .values(value=meta.c.value + bindparam("n"))
    .returning(meta.c.value)
)

_INSERT_ORDERS = prepared_insert(
    insert(orders),
    ("id", "run_id", "line", "environment", "key", "state", "live", "fingerprint", "updated_at"),
)
_INSERT_PAYLOADS = prepared_insert(insert(payloads), ("order_id", "payload", "source_row"))
_LOADING = OrderState.LOADING.value


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


def add(connection: Connection, run_id: str, now: int, environment: str, rows: Sequence[NewOrder]) -> None:
    """Put orders in as ``loading``."""
    # Numbered by us and not by the database: both tables need the number, and no database returns a
    # million of them as fast as one counts by one.
    last: int = connection.execute(_TAKE_IDS, {"n": len(rows)}).scalar_one()
    ids = range(last - len(rows) + 1, last + 1)
    _INSERT_ORDERS(
        connection,
        [
            (order_id, run_id, row.line, environment, row.key, _LOADING, 0, row.fingerprint, now)
            for order_id, row in zip(ids, rows, strict=True)
        ],
    )
    _INSERT_PAYLOADS(
        connection, [(order_id, row.payload, row.source_row) for order_id, row in zip(ids, rows, strict=True)]
    )


def discard_some(connection: Connection, run_id: str, path: str) -> bool:
    """Remove some orders of a loading run, and in the end the run; returns whether there is more to remove."""
    state = connection.scalar(select(runs.c.state).where(runs.c.id == run_id))
    if state is None:
        return False
    if state != RunState.LOADING:
        raise LedgerError(f"run {run_id} is {state}: only a run that was not admitted is discarded", path=path)
    some = select(orders.c.id).where(orders.c.run_id == run_id).order_by(orders.c.line, orders.c.id)
    removed = connection.execute(delete(orders).where(orders.c.id.in_(some.limit(DISCARDED_AT_ONCE)))).rowcount
    if removed == 0:
        connection.execute(delete(runs).where(runs.c.id == run_id))
    return removed > 0


def admit(
    connection: Connection, run: RunInfo, source_sha256: str | None, now: int, take: Callable[[str], None]
) -> Admission:
    """Admit the loading orders of a run, and note the digest of its source unless it is None.

    ``take`` locks another run until the transaction is over, and fences whoever had it; or raises RunHeld.
    """
    run_id, environment = run.id, run.environment
    doubled = _doubled(connection, run_id)
    if doubled:
        return Admission(doubled=doubled)
    inherited = superseded = already = in_doubt = 0
    rivals = _rivals(connection, run_id, environment)
    states = {state for _, state, _ in rivals}
    can_inherit = run.mode is Mode.TWO_PHASE
    for rival in sorted({run for run, state, read in rivals if state in _UNDECIDED or (read and can_inherit)}):
        take(rival)
    if can_inherit and not states.isdisjoint(WITH_DRAFT):
        inherited = _inherit_drafts(connection, run_id, environment, now)
    if not states.isdisjoint(WAITING):
        superseded = _take_over(connection, run_id, environment, now)
    if OrderState.SENDING in states:
        _give_up_crashed(connection, run_id, environment, now)
    if not states.isdisjoint(DOUBTFUL):
        in_doubt = _stand_back(connection, run_id, environment, now, DOUBTFUL)
    if OrderState.CREATED in states:
        already = _stand_back(connection, run_id, environment, now, (OrderState.CREATED,))
    pending = connection.execute(
        update(orders)
        .where(orders.c.run_id == run_id, in_states(orders.c.state, (OrderState.LOADING,)))
        .values(state=OrderState.PENDING.value, live=1, updated_at=now)
    ).rowcount
    digest = run.source_sha256 if source_sha256 is None else source_sha256
    connection.execute(update(runs).where(runs.c.id == run_id).values(state=RunState.READY.value, source_sha256=digest))
    return Admission(
        pending=pending + inherited,
        already_pushed=already + in_doubt,
        in_doubt=in_doubt,
        superseded=superseded + inherited,
    )


def _doubled(connection: Connection, run_id: str) -> tuple[Doubled, ...]:
    loading = and_(orders.c.run_id == run_id, in_states(orders.c.state, (OrderState.LOADING,)))
    repeated = (
        select(
            orders.c.key,
            func.min(orders.c.id).label("first_id"),
            func.min(orders.c.line).label("first_line"),
        )
        .where(loading)
        .group_by(orders.c.key)
        .having(func.count() > 1)
        .cte("repeated")
    )
    found = connection.execute(
        select(orders.c.key, repeated.c.first_line, orders.c.line)
        .join(repeated, repeated.c.key == orders.c.key)
        .where(loading, orders.c.id > repeated.c.first_id)
        .order_by(orders.c.line, orders.c.id)
        .limit(DOUBLED_LIMIT)
    )
    return tuple(Doubled(key=row.key, first_line=row.first_line, line=row.line) for row in found)


def _rivals(connection: Connection, run_id: str, environment: str) -> set[tuple[str, OrderState, bool]]:
    """The runs that own a key of ours, each with the states of these orders, and whether their doubts can be read."""
    live_at_all = select(literal(1)).where(orders.c.environment == environment, is_live(orders.c.live)).limit(1)
    if connection.scalar(live_at_all) is None:  # the first run of a ledger: spare it a million look-ups
        return set()
    can_be_read = and_(_theirs.c.state == OrderState.IN_DOUBT.value, _theirs.c.task_id.is_not(None))
    found = connection.execute(
        select(_theirs.c.run_id, _theirs.c.state, can_be_read.label("can_be_read"))
        .select_from(_ours)
        .join(_theirs, _same_key(environment))
        .where(_ours.c.run_id == run_id, in_states(_ours.c.state, (OrderState.LOADING,)))
        .distinct()
    )
    with readable():
        return {(row.run_id, OrderState(row.state), bool(row.can_be_read)) for row in found}


def _same_key(environment: str) -> ColumnElement[bool]:
    return and_(_theirs.c.environment == environment, _theirs.c.key == _ours.c.key, is_live(_theirs.c.live))


def _rows_in_our_way(run_id: str, environment: str, states: Iterable[OrderState]) -> Update:
    """An update of the live rows of other runs that own a key of ours, in one of ``states``."""
    return update(orders).where(
        orders.c.environment == environment,
        orders.c.key == _ours.c.key,
        is_live(orders.c.live),
        in_states(orders.c.state, states),
        _ours.c.run_id == run_id,
        in_states(_ours.c.state, (OrderState.LOADING,)),
    )


def _owned_in(run_id: str, environment: str, states: Iterable[OrderState]) -> tuple[ColumnElement[bool], ...]:
    """Which of our orders an update is about: those whose keys other runs own in one of ``states``."""
    return (
        orders.c.run_id == run_id,
        in_states(orders.c.state, (OrderState.LOADING,)),
        _theirs.c.environment == environment,
        _theirs.c.key == orders.c.key,
        is_live(_theirs.c.live),
        in_states(_theirs.c.state, states),
    )


def _give_up_crashed(connection: Connection, run_id: str, environment: str, now: int) -> None:
    connection.execute(
        _rows_in_our_way(run_id, environment, (OrderState.SENDING,)).values(
            state=OrderState.IN_DOUBT.value, error=CRASHED, updated_at=now
        )
    )


def _inherit_drafts(connection: Connection, run_id: str, environment: str, now: int) -> int:
    """Go on with the recorded drafts of the same orders; returns how many there are.

    An order of which anything else has changed is not the same: its draft would bring the old one to a driver.
    """
    may_have_acted = _theirs.c.state != OrderState.DRAFTED.value
    connection.execute(
        update(orders)
        .where(
            *_owned_in(run_id, environment, WITH_DRAFT),
            _theirs.c.task_id.is_not(None),
            _their_run.c.id == _theirs.c.run_id,
            _their_run.c.mode == Mode.TWO_PHASE.value,
            _our_payload.c.order_id == orders.c.id,
            _their_payload.c.order_id == _theirs.c.id,
            _our_payload.c.payload == _their_payload.c.payload,
        )
        .values(
            task_id=_theirs.c.task_id,
            status=_theirs.c.status,
            # When its broadcast was claimed, if it was: what it becomes below.
            claimed_at=case((may_have_acted, func.coalesce(_theirs.c.claimed_at, now)), else_=None),
            lost_drafts=lost_drafts(_theirs),
            updated_at=now,
        )
    )
    with_draft = (
        orders.c.run_id == run_id,
        in_states(orders.c.state, (OrderState.LOADING,)),
        orders.c.task_id.is_not(None),
    )
    # The other row lets go of the key first: a key is live once.
    connection.execute(
        _rows_in_our_way(run_id, environment, WITH_DRAFT)
        .where(_ours.c.task_id.is_not(None))
        .values(state=OrderState.SUPERSEDED.value, live=0, error=f"taken over by run {run_id}", updated_at=now)
    )
    return connection.execute(
        update(orders)
        .where(*with_draft)
        .values(
            state=case((orders.c.claimed_at.is_(None), OrderState.DRAFTED.value), else_=OrderState.BROADCASTING.value),
            live=1,
        )
    ).rowcount


def _take_over(connection: Connection, run_id: str, environment: str, now: int) -> int:
    """Take orders over of which nothing was broadcast; what drafts there are of them stay unused."""
    with_one_more = in_states(_theirs.c.state, (OrderState.DRAFTING, OrderState.DRAFTED))
    lost = lost_drafts(_theirs) + case((with_one_more, 1), else_=0)
    connection.execute(
        update(orders)
        .where(
            *_owned_in(run_id, environment, WAITING),
            lost > 0,
        )
        .values(lost_drafts=lost)
    )
    drafts = select(_theirs.c.task_id, literal(run_id), _theirs.c.key, literal(now)).where(
        _ours.c.run_id == run_id,
        in_states(_ours.c.state, (OrderState.LOADING,)),
        _same_key(environment),
        in_states(_theirs.c.state, (OrderState.DRAFTED,)),
        _theirs.c.task_id.is_not(None),
    )
    connection.execute(insert(unused_drafts).from_select(["task_id", "run_id", "key", "noted_at"], drafts))
    return connection.execute(
        _rows_in_our_way(run_id, environment, WAITING).values(
            state=OrderState.SUPERSEDED.value, live=0, error=f"taken over by run {run_id}", updated_at=now
        )
    ).rowcount


def _stand_back(connection: Connection, run_id: str, environment: str, now: int, owned: Collection[OrderState]) -> int:
    """Leave those of our orders alone whose key another run owns in one of the states ``owned``."""
    said = "created by run " if OrderState.CREATED in owned else "in doubt in run "
    return connection.execute(
        update(orders)
        .where(
            *_owned_in(run_id, environment, owned),
            _our_payload.c.order_id == orders.c.id,
            _their_payload.c.order_id == _theirs.c.id,
        )
        .values(
            # Byte for byte, at first: `changes` looks at what it says.
            state=case(
                (_our_payload.c.payload == _their_payload.c.payload, OrderState.ALREADY_PUSHED.value),
                else_=OrderState.CHANGED.value,
            ),
            task_id=_theirs.c.task_id,
            status=_theirs.c.status,
            error=literal(said).concat(_theirs.c.run_id),
            updated_at=now,
        )
    ).rowcount


def doubtful_rivals(connection: Connection, run_id: str, environment: str, mode: Mode) -> list[str]:
    """The runs that hold a key of our loading orders in doubt, with a task that can be read.

    Of the same order in two-phase mode the draft is inherited, and read when this run is sent; these are the others.
    """
    found = connection.scalars(
        select(_theirs.c.run_id)
        .select_from(_ours)
        .join(_theirs, _same_key(environment))
        .join(_our_payload, _our_payload.c.order_id == _ours.c.id)
        .join(_their_payload, _their_payload.c.order_id == _theirs.c.id)
        .where(
            _ours.c.run_id == run_id,
            in_states(_ours.c.state, (OrderState.LOADING,)),
            in_states(_theirs.c.state, (OrderState.BROADCASTING, OrderState.IN_DOUBT)),
            _theirs.c.task_id.is_not(None),
            *(() if mode is Mode.DIRECT else (_our_payload.c.payload != _their_payload.c.payload,)),
        )
        .distinct()
    )
    return sorted(found)
