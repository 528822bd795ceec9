"""From rows of the database to our classes; a row that cannot be one is damage, and is told with its place.

Everything that is read comes through here, or is decoded with the types that stand here.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row
from sqlalchemy.exc import SQLAlchemyError

from gotsurge_async.bulk.ledger.errors import RESCUE, LedgerError, LedgerUnusable
from gotsurge_async.bulk.ledger.records import Counts, Decision, Holder, OrderRow, RunInfo
from gotsurge_async.bulk.ledger.sql.dialect import translate
from gotsurge_async.bulk.ledger.states import Mode, OrderState, RunState
from gotsurge_async.bulk.ledger.times import from_microseconds
from gotsurge_async.bulk.ledger.upkeep.soundness import SAID, counting, unsound

_WRONG = (ValueError, TypeError, OverflowError, AttributeError, KeyError)
"""What comes of a value that is not of its kind, wherever it is met. msgspec's errors are ValueErrors."""


class Unreadable(LedgerUnusable):
    """A row that cannot be what it is meant to be. `naming_rows` tells which."""


@contextmanager
def readable() -> Iterator[None]:
    """Around the reading of rows: what is wrong with one is `Unreadable`."""
    try:
        yield
    except _WRONG as error:
        raise Unreadable(str(error)) from error


@contextmanager
def naming_rows(connection: Connection, path: str) -> Iterator[None]:
    """Around what only reads: damage leaves as LedgerUnusable that names the table and the row."""
    try:
        yield
    except (*_WRONG, Unreadable, SQLAlchemyError, sqlite3.Error) as error:
        told = damage(connection, error, path)
        if told is None:
            raise
        raise told from error


def damage(connection: Connection, error: Exception, path: str) -> LedgerError | None:
    """The error to tell instead of one that a damaged row may have caused; None if it did not."""
    if isinstance(error, SQLAlchemyError | sqlite3.Error) and RESCUE not in str(translate(error, path).args[0]):
        return None
    driver: Any = connection.connection.driver_connection
    flaws = (unsound(driver, limit=SAID) + counting(driver))[:SAID]
    places = "; ".join(map(str, flaws)) or f"a row cannot be read: {error}"
    return LedgerUnusable(f"is damaged ({places}). {RESCUE}", path=path)


# --- rows -----------------------------------------------------------------------------------------------------------

_Number = Annotated[int, Meta(ge=0)]
_Time = Annotated[int, Meta(ge=0, le=253_402_300_799_999_999)]
_Text = str | None

pending_rows: Callable[[Any], Any] = msgspec.json.Decoder(list[tuple[_Number, _Number, str, int]]).decode
"""Line, id, key, and the length of the payload."""
result_rows: Callable[[Any], Any] = msgspec.json.Decoder(
    list[tuple[_Number, _Number, OrderState, _Text, _Text, _Text, int]]
).decode
"""Line, id, state, task id, status, error, and the length of the source's row."""
whole_order_rows: Callable[[Any], Any] = msgspec.json.Decoder(
    list[tuple[_Number, _Number, str, OrderState, _Text, _Text, _Text, _Time | None, _Time, int, int | None]]
).decode
"""What `order_of` takes, with the lengths of payload and source row."""


def order_of(row: Sequence[Any]) -> OrderRow:
    """An order, from a row of `whole_order_rows`."""
    line, order_id, key, state, task_id, status, error, claimed_at, updated_at, payload, source_row = row
    return OrderRow(
        id=order_id,
        line=line,
        key=key,
        state=state,
        payload=payload,
        source_row=source_row,
        task_id=task_id,
        status=status,
        error=error,
        claimed_at=None if claimed_at is None else from_microseconds(claimed_at),
        updated_at=from_microseconds(updated_at),
    )


def run_of(row: Row[Any]) -> RunInfo:
    """A run, from a row of its table."""
    holder = None
    if row.holder_pid is not None:
        holder = Holder(_whole(row.holder_pid), _text(row.holder_host), from_microseconds(row.holder_since))
    columns, options = row.columns, row.options or {}
    if not isinstance(options, dict):
        raise TypeError("the options of a run are an object")
    return RunInfo(
        id=_text(row.id),
        created_at=from_microseconds(row.created_at),
        state=RunState(row.state),
        environment=_text(row.environment),
        mode=Mode(row.mode),
        source=_text(row.source),
        source_sha256=None if row.source_sha256 is None else _text(row.source_sha256),
        columns=None if columns is None else tuple(map(_text, columns)),
        options=options,
        holder=holder,
        finished_at=None if row.finished_at is None else from_microseconds(row.finished_at),
    )


def counts_of(found: Iterable[Any]) -> Counts:
    """Counts, from pairs of a state and a number."""
    return Counts(**{OrderState(state).value: int(n) for state, n in found})


def decision_of(row: Row[Any]) -> Decision:
    """An operator's word, from a row of its table."""
    return Decision(
        _text(row.run_id),
        _text(row.key),
        bool(row.created),
        None if row.task_id is None else _text(row.task_id),
        _text(row.decided_by),
        from_microseconds(row.decided_at),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where text belongs")
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{type(value).__name__} where a number belongs")
    return value
