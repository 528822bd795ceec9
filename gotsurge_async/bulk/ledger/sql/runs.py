"""The rows of runs: what each is, who has it, under which epoch, and where it stands."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, literal_column, select, update

from gotsurge_async.bulk.ledger.errors import LedgerError, NoSuchRun, RunHeld, RunLost
from gotsurge_async.bulk.ledger.sql.fast_path import prepared
from gotsurge_async.bulk.ledger.sql.schema import meta, orders, runs
from gotsurge_async.bulk.ledger.states import (
    UNFINISHED,
    Counts,
    Holder,
    Mode,
    OrderState,
    RunInfo,
    RunState,
    from_microseconds,
    to_microseconds,
)
from gotsurge_async.bulk.ledger.upkeep.integrity import readable, text, whole_number

_EPOCH = prepared(select(runs.c.epoch).where(runs.c.id == bindparam("of_run")))
_COUNT = prepared(update(meta).where(meta.c.name == "counter").values(value=meta.c.value + 1))


# --- reading ----------------------------------------------------------------------------------------------------------


def one(connection: Connection, run_id: str, path: str) -> RunInfo:
    """One run; raises NoSuchRun."""
    with readable():
        row = connection.execute(select(runs).where(runs.c.id == run_id)).one_or_none()
        if row is not None:
            return _info(row)
    raise NoSuchRun(f"has no run {run_id}", path=path)


def newest(connection: Connection, limit: int | None) -> list[RunInfo]:
    """The runs, newest first: as they came into the ledger, whatever the clock said then."""
    newest_first = select(runs).order_by(literal_column("runs.rowid").desc()).limit(limit)
    return [_info(row) for row in connection.execute(newest_first)]


def in_state(connection: Connection, *states: RunState) -> list[str]:
    """The ids of the runs in some states."""
    return list(connection.scalars(select(runs.c.id).where(runs.c.state.in_([state.value for state in states]))))


def held(connection: Connection, run_id: str, path: str) -> RunHeld:
    """The error that names who has a run."""
    holder = one(connection, run_id, path).holder
    if holder is None:
        return RunHeld(run_id, path=path)
    return RunHeld(run_id, pid=holder.pid, host=holder.host, since=holder.since, path=path)


def counts(connection: Connection, run_id: str) -> Counts:
    """How many orders of a run are in each state."""
    number = select(orders.c.state, func.count()).where(orders.c.run_id == run_id).group_by(orders.c.state)
    return counts_of(connection.execute(number))


def counts_of(found: Iterable[Any]) -> Counts:
    """Counts, from pairs of a state and a number."""
    return Counts(**{OrderState(state).word: int(n) for state, n in found})


def _info(row: Row[Any]) -> RunInfo:
    holder = None
    if row.holder_pid is not None:
        holder = Holder(whole_number(row.holder_pid), text(row.holder_host), from_microseconds(row.holder_since))
    columns, options = row.columns, row.options or {}
    if not isinstance(options, dict):
        raise TypeError("the options of a run are an object")
    return RunInfo(
        id=text(row.id),
        created_at=from_microseconds(row.created_at),
        state=RunState(row.state),
        environment=text(row.environment),
        mode=Mode(row.mode),
        source=text(row.source),
        source_sha256=None if row.source_sha256 is None else text(row.source_sha256),
        columns=None if columns is None else tuple(map(text, columns)),
        options=options,
        holder=holder,
        finished_at=None if row.finished_at is None else from_microseconds(row.finished_at),
    )


# --- writing ----------------------------------------------------------------------------------------------------------


def begin(connection: Connection, run: RunInfo, path: str) -> RunInfo | None:
    """Put a run in, under epoch 1; returns it as it will be read, None if there is one of its id already."""
    if connection.scalar(select(runs.c.id).where(runs.c.id == run.id)) is not None:
        return None
    row = {
        "id": run.id,
        "created_at": to_microseconds(run.created_at),
        "state": run.state.value,
        "environment": run.environment,
        "mode": run.mode.value,
        "source": run.source,
        "source_sha256": run.source_sha256,
        "columns": None if run.columns is None else list(run.columns),
        "options": dict(run.options) or None,
        "epoch": 1,
    }
    connection.execute(insert(runs), {**row, **_holding(run.holder)})
    return one(connection, run.id, path)


def hold(connection: Connection, run_id: str, holder: Holder, path: str) -> tuple[RunInfo, int]:
    """Write down who takes a run up; returns the run and its new epoch.

    Raises:
        NoSuchRun: there is none of that id.
        LedgerError: it was never admitted.
    """
    if one(connection, run_id, path).state is RunState.LOADING:
        raise LedgerError(f"run {run_id} ended while it was read in; push its source again", path=path)
    connection.execute(update(runs).where(runs.c.id == run_id).values(_holding(holder)))
    return one(connection, run_id, path), take_over(connection, run_id)


def _holding(holder: Holder | None) -> Mapping[str, object]:
    if holder is None:
        return {"holder_pid": None, "holder_host": None, "holder_since": None}
    return {"holder_pid": holder.pid, "holder_host": holder.host, "holder_since": to_microseconds(holder.since)}


def leave(connection: Connection, run_id: str, epoch: int) -> None:
    """Write down that nobody has a run, if it still is this epoch's."""
    connection.execute(update(runs).where(runs.c.id == run_id, runs.c.epoch == epoch).values(_holding(None)))


def fence(connection: Connection, run_id: str, epoch: int) -> None:
    """Let only the present holder of a run write.

    Raises:
        RunLost: another one has taken the run over since.
    """
    if _EPOCH(connection, {"of_run": run_id}).fetchone() != (epoch,):
        raise RunLost(f"run {run_id} was taken over by another process: nothing more of it is sent by this one")


def take_over(connection: Connection, run_id: str) -> int:
    """Raise a run's epoch, and return it: from now on whoever had the run before is refused."""
    raised = update(runs).where(runs.c.id == run_id).values(epoch=runs.c.epoch + 1).returning(runs.c.epoch)
    return int(connection.execute(raised).scalar_one())


def count(connection: Connection) -> None:
    """Raise the counter by which an older copy of the ledger is told from a newer one."""
    _COUNT(connection, {})


def start(connection: Connection, run_id: str) -> int:
    """Say that a run is being sent; returns its new epoch."""
    sending = {"state": RunState.SENDING.value, "finished_at": None}
    connection.execute(update(runs).where(runs.c.id == run_id).values(sending))
    return take_over(connection, run_id)


def finish(connection: Connection, run_id: str, now: int) -> RunState:
    """Say that the sending is over; returns whether the run is done, or stopped with orders left."""
    state = RunState.STOPPED if counts(connection, run_id).of(UNFINISHED) else RunState.DONE
    connection.execute(update(runs).where(runs.c.id == run_id).values(state=state.value, finished_at=now))
    return state
