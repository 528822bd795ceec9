"""Checks whether the contents of a ledger are valid, when it is opened and for ``ledger check``.

A file lives for years, on disks that flip bits. A database finds broken pages, but not a state that does not exist, or
a text that is not JSON. A task that two orders have is not damage: the later order, or both, are put in doubt.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import cache
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from gotsurge_async.api.endpoints import CHUNK
from gotsurge_async.database import Database, Kind, Row, statements
from gotsurge_async.database.errors import NO_RIGHT
from gotsurge_async.ledger.errors import RESCUE, Flaw, LedgerError, LedgerUnusable, unsound
from gotsurge_async.ledger.locks import RunLocks
from gotsurge_async.ledger.sql.chunks import PAGE, PLACES, Chunk, chunks_of, load
from gotsurge_async.ledger.sql.databases import ARCHIVE_OF, TEXT
from gotsurge_async.ledger.sql.recorded import recorded
from gotsurge_async.ledger.sql.runs import MANY, by_number, describe_order, info_of
from gotsurge_async.ledger.states import (
    CLAIMED,
    LETTERS,
    LIVE,
    OWNED_ELSEWHERE,
    WAITING,
    Mode,
    OrderState,
    RunInfo,
    RunState,
)

ALWAYS = 20_000
"""A ledger of at most this many orders is checked whenever it is opened for writing, which takes some 0.4 s."""
OFTEN = 24 * 60 * 60 * 1_000_000
"""A larger ledger is checked once in this time, in microseconds."""
CHECKED_AT = "checked_at"
FEW = 3
"""The number of flaws of a table that are listed when a ledger is only refused."""


# --- what a column may hold -------------------------------------------------------------------------------------------

_TYPES = {"INTEGER": int, "TEXT": str, "BLOB": bytes}
_SIGNED = range(-(2**63), 2**63)
_NUMBERS = {
    "place": range(CHUNK),
    "created": range(2),
    "stopped": range(4),
    "packed": range(3),
    "fingerprint": _SIGNED,
    "cancel_until": _SIGNED,
}
_TIMES = range(253_402_300_800_000_000)  # to the end of the year 9999


class Column(NamedTuple):
    """The values that a column of a table may hold, by the schema; ``is_name``: it identifies a row for people."""

    name: str
    type: type
    numbers: range
    may_be_empty: bool
    is_name: bool


@cache
def columns() -> Mapping[str, Sequence[Column]]:
    """The columns of each table, first those that identify its rows."""
    tables: dict[str, list[Column]] = {}
    with closing(sqlite3.connect(":memory:")) as empty:
        empty.executescript(statements(TEXT, Kind.SQLITE)["schema"])
        for table, name, kind, required, key in empty.execute(
            'SELECT tables.name, columns.name, columns.type, "notnull", pk FROM sqlite_master AS tables, '
            "pragma_table_info(tables.name) AS columns WHERE tables.name NOT LIKE 'sqlite_%' AND tables.type = 'table'"
        ):
            numbers = _TIMES if name.endswith(("_at", "_since", "_until")) else range(2**63)
            is_name = name == "id" if table == "runs" else bool(key)
            column = Column(name, _TYPES[kind], _NUMBERS.get(name, numbers), not required and not key, is_name)
            tables.setdefault(table, []).append(column)
    return {table: sorted(some, key=lambda column: not column.is_name) for table, some in tables.items()}


_PRIVATE = ("bodies", "proposals")
"""Tables whose values are not shown, because they hold orders."""
_OF_WORKERS = ("distributions", "segments")
_PARENTS = (
    *((table, "chunk", "chunks", "id") for table in ("bodies", "results", "notes", "keys", "decisions")),
    *((table, "run", "runs", "number") for table in ("chunks", "unused_drafts", "decisions", *_OF_WORKERS)),
)
"""The row that a row belongs to, which must exist."""


class _NoText(bytes):
    """Text of SQLite that is not UTF-8."""

    __slots__ = ()


def _text(value: bytes) -> str | _NoText:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return _NoText(value)


def _fits(value: Any, column: Column) -> bool:
    if value is None:
        return column.may_be_empty
    if column.type is int:
        return isinstance(value, int) and value in column.numbers
    return isinstance(value, column.type) and not isinstance(value, _NoText)


def _shown(value: Any, *, private: bool = False) -> str:
    """A value, short, on one line; for a private one, such as an order with its addresses, only its type."""
    if value is None:
        return "empty"
    if private:
        return "bytes" if isinstance(value, bytes) else "text" if isinstance(value, str) else "a number"
    if isinstance(value, bytes):
        value = bytes(value).decode("utf-8", "backslashreplace")
    return repr(value[:40]) + ("…" if len(value) > 40 else "") if isinstance(value, str) else str(value)


def _rows(db: Database, table: str) -> Iterator[Flaw]:
    """Rows with a value that their column cannot hold."""
    rules = list(enumerate(columns()[table]))
    # Of an order, and of the row that it was read from, the type is enough.
    short = "CASE WHEN length({0}) = 0 THEN {0} ELSE substr({0}, 1, 0) END"
    asked = ", ".join(short.format(column.name) if column.type is bytes else column.name for _, column in rules)
    for row in db.stream(f"SELECT {asked} FROM {table}"):  # noqa: S608 - only names of ours
        for at, column in rules:
            if not _fits(row[at], column):
                what = f"{column.name} cannot be {_shown(row[at], private=table in _PRIVATE)}"
                yield Flaw(table, _named(table, row), what)
                break


def _keys(table: str) -> list[str]:
    return [column.name for column in columns()[table] if column.is_name]


def _named(table: str, row: Row) -> str:
    names = ["chunk" if table == "chunks" else "row"] if _keys(table) == ["id"] else _keys(table)
    return ", ".join(f"{name} {_shown(value)}" for name, value in zip(names, row, strict=False))


# --- what must agree --------------------------------------------------------------------------------------------------

_WITH_TASK = frozenset({OrderState.DRAFTED, OrderState.BROADCASTING, OrderState.CANCELLING})
_WITHOUT_TASK = frozenset({OrderState.PENDING, OrderState.DRAFTING, OrderState.SENDING})
_TEXTS: Mapping[str, Callable[[bytes], Any]] = {
    "payload": msgspec.json.Decoder(dict[str, msgspec.Raw]).decode,
    "source": msgspec.json.Decoder(list[str] | dict[str, msgspec.Raw]).decode,
}


def _runs(db: Database, known: dict[int, RunInfo]) -> Iterator[Flaw]:
    for row in db.rows("newest_runs", most=MANY):
        try:
            known[row[0]] = info_of(row)
        except LedgerUnusable as error:
            yield from error.flaws
        if (row[10] is None) != (row[12] is None):
            yield Flaw("runs", _named("runs", row[1:]), "the record of its holder is incomplete")


def _chunks(db: Database, known: Mapping[int, RunInfo], *, decoding: bool) -> Iterator[Flaw]:
    has_keys = not _is_archive(db)
    rows = db.stream("SELECT id, run, epoch, claimed_at, updated_at, states, open_until FROM chunks ORDER BY id")
    while page := list(islice(rows, PAGE)):
        chunks, flaws = _read(db, page)
        if flaws:  # one by one
            parts = [_read(db, [row]) for row in page]
            chunks = [chunk for some, _ in parts for chunk in some]
            yield from (flaw for _, some in parts for flaw in some)
        chunks = [chunk for chunk in chunks if chunk.run in known]
        keys: dict[str, list[str]] = {}
        for chunk in chunks:
            keys.setdefault(known[chunk.run].environment, []).extend(meta.key for meta in chunk.metas)
        owners = {
            (environment, key): (number, place)
            for environment, some in keys.items()
            for key, number, place in db.rows("keys", environment=environment, keys=db.listed(some))
        }
        for chunk in chunks:
            yield from _states(chunk, known[chunk.run])
            yield from _orders(chunk, known[chunk.run], owners if has_keys else None, decoding=decoding)


def _read(db: Database, rows: Sequence[Row]) -> tuple[list[Chunk], tuple[Flaw, ...]]:
    try:
        return list(chunks_of(db, rows, bodies=True).values()), ()
    except LedgerUnusable as error:
        return [], error.flaws
    except (TypeError, ValueError, OverflowError):
        return [], (Flaw("chunks", _named("chunks", rows[0]), "its data cannot be read"),)


def _states(chunk: Chunk, run: RunInfo) -> Iterator[Flaw]:
    """States that orders cannot have in their run, or with the task that they have or lack."""
    for place in range(len(chunk.states)):
        state, has_task = chunk.state(place), place in chunk.tasks
        if run.state is RunState.LOADING and state is not OrderState.PENDING:
            what = "in a run that is being loaded"
        elif state in (_WITHOUT_TASK if has_task else _WITH_TASK):
            what = f"{'with' if has_task else 'without'} a task"
        else:
            continue
        yield Flaw(
            "chunks", f"chunk {chunk.id}, place {place}", f"the order has the impossible state {state.value} {what}"
        )


def _orders(
    chunk: Chunk, run: RunInfo, owners: Mapping[tuple[str, str], tuple[int, int]] | None, *, decoding: bool
) -> Iterator[Flaw]:
    """Orders with damaged names, with keys that lead elsewhere, or with a text that is not JSON."""
    for place, meta, payload, row in chunk.orders():
        which = f"chunk {chunk.id}, line {meta.line}, key {meta.key}"
        state = chunk.state(place)
        leads_here = None if owners is None else owners.get((run.environment, meta.key)) == (chunk.id, place)
        if min(meta.line, meta.size, meta.source_size or 0) < 0 or (meta.fingerprint or 0) not in _SIGNED:
            yield Flaw("bodies", which, "its line, size or fingerprint is invalid")
        elif run.state is not RunState.LOADING and state in LIVE and leads_here is False:
            yield Flaw("keys", which, "the order is live, but cannot be found by its key")
        elif state in OWNED_ELSEWHERE and leads_here:
            yield Flaw("chunks", which, f"the state of the order is {state.value}, but no other order has its key")
        for (what, decode), text in zip(_TEXTS.items(), (payload, row), strict=True) if decoding else ():
            try:
                decode((b"{}" if text is None else text).decode().encode())
            except ValueError as error:
                yield Flaw("bodies", which, f"{what} cannot be decoded: {error}")


def _belonging(db: Database) -> Iterator[Flaw]:
    """Rows that belong to a row that does not exist."""
    for table, column, parent, number in _PARENTS:
        # A task that no order has, and that a person cancels, has the run 0.
        gone = f"{column} <> 0 AND NOT EXISTS (SELECT 1 FROM {parent} WHERE {parent}.{number} = {table}.{column})"  # noqa: S608
        for row in db.stream(f"SELECT {', '.join(_keys(table))} FROM {table} WHERE {gone}"):  # noqa: S608
            yield Flaw(table, _named(table, row), f"its {column} is missing")


def _astray(db: Database) -> Iterator[Flaw]:
    """Keys that lead to no order."""
    for row in db.rows("keys_astray"):
        yield Flaw("keys", _named("keys", row), "the key's order is missing")


def _is_archive(db: Database) -> bool:
    """Whether the database has runs of another ledger, which still has their keys."""
    return ARCHIVE_OF in dict(db.rows("meta"))


def _counting(db: Database) -> Iterator[Flaw]:
    """A counter that would give two chunks the same number."""
    ((last, highest),) = db.rows("last_chunk")
    if not _is_archive(db) and isinstance(last, int | None) and (last or 0) < (highest or 0):
        number = "missing" if last is None else f"{last}, but there is a chunk {highest}"
        yield Flaw("ledger_meta", "name 'last_chunk'", f"the number of the last chunk is {number}")


def _structure(db: Database, table: str) -> Iterator[Flaw]:
    """SQLite's own findings about the pages and indexes of a table."""
    for (message,) in db.stream(f"PRAGMA integrity_check({table})") if db.kind is Kind.SQLITE else ():
        if message != "ok":
            yield Flaw(table, "", str(message))


# --- looking --------------------------------------------------------------------------------------------------------


def look_over(db: Database, path: str, now: int) -> bool:
    """Raise LedgerUnusable for damage, with its table and row, before anything is written or sent.

    A ledger of up to `ALWAYS` orders is checked every time it is opened for writing, a larger one once a day: returns
    whether the caller must store ``now`` as ``checked_at``.
    """
    flaws = _flaws(db, [("ledger_meta", lambda: _rows(db, "ledger_meta")), ("ledger_meta", lambda: _counting(db))], FEW)
    large = due = False
    if not flaws:
        meta: dict[str, int] = dict(db.rows("meta"))
        large = is_large(db)
        due = not large or abs(now - meta.get(CHECKED_AT, 0)) > OFTEN
        flaws = look_through(db, FEW) if due else []
    if flaws:
        raise unsound(flaws, path)
    return large and due


def is_large(db: Database) -> bool:
    """Whether a ledger has too many orders to be checked each time it is opened."""
    return int(db.rows("last_chunk")[0][1] or 0) * CHUNK > ALWAYS


def look_through(db: Database, most: int, *, whole: bool = False) -> list[Flaw]:
    """The flaws of a ledger, at most ``most`` for each table; ``whole``: also those of pages and of orders' JSON."""
    known: dict[int, RunInfo] = {}
    # Single values come first: the other checks, and a database's own errors, may not name the row.
    return _flaws(
        db,
        [
            *((table, lambda table=table: _rows(db, table)) for table in columns()),
            ("runs", lambda: _runs(db, known)),
            ("", lambda: _belonging(db)),
            ("chunks", lambda: _chunks(db, known, decoding=whole)),
            ("", lambda: _astray(db)),
            ("ledger_meta", lambda: _counting(db)),
            *((table, lambda table=table: _structure(db, table)) for table in columns() if whole or table != "bodies"),
        ],
        most,
    )


def _flaws(db: Database, looks: Iterable[tuple[str, Callable[[], Iterator[Flaw]]]], most: int) -> list[Flaw]:
    """The flaws that some checks find: one for each row, and at most ``most`` for each table, in one snapshot."""
    flaws: dict[tuple[str, str], Flaw] = {}
    numbers: Counter[str] = Counter()
    with _moment(db):
        for table, look in looks:
            try:
                for flaw in look():
                    where = flaw.table, flaw.row or flaw.what
                    if where not in flaws:
                        flaws[where] = flaw
                        numbers[flaw.table] += 1
                    if numbers[flaw.table] >= most:
                        break
            except (db.driver.Error, UnicodeDecodeError) as error:
                if getattr(error, "sqlstate", None) == NO_RIGHT:
                    raise
                flaws.setdefault((table, ""), Flaw(table, "", str(error).partition("\n")[0]))
                db.rollback()
                db.begin(writing=False)
                db.take_time()
    return list(flaws.values())


@contextmanager
def _moment(db: Database) -> Iterator[None]:
    """A transaction that only reads, in which text of SQLite that is not UTF-8 becomes bytes, not an error."""
    if db.kind is Kind.SQLITE:
        db.driver.text_factory = _text
    try:
        db.begin(writing=False)
        db.take_time()
        yield
    finally:
        db.rollback()
        if db.kind is Kind.SQLITE:
            db.driver.text_factory = str


def to_blame(db: Database, error: BaseException, known: LedgerError | None, path: str) -> LedgerError | None:
    """The error for a damaged row that may have caused another error; ``known`` if there is no such row."""
    if isinstance(error, LedgerUnusable):
        is_vague = any(not flaw.row for flaw in error.flaws)
    elif known is None:
        is_vague = isinstance(error, TypeError | ValueError | OverflowError | LookupError)
    else:
        is_vague = not isinstance(error, LedgerError) and RESCUE in known.args[0]
    if not is_vague:
        return known
    db.rollback()
    flaws = look_through(db, FEW)
    return unsound(flaws, path) if flaws else known


# --- two orders with one task -----------------------------------------------------------------------------------------

# An answer gave both the same id, in processes that did not see each other. One of the two has a task that is not its
# own: that is not damage. The later one, or both, are put in doubt without the task, when the ledger is opened for
# writing: from then on they are settled like any order in doubt.

_LIVE_LETTERS = "".join(LETTERS[state] for state in LIVE)
_CLOCKS = 10 * 1_000_000
"""Microseconds: more than the clocks of machines that share a ledger differ."""
_IN_HAND = CLAIMED | WAITING
"""States of orders that a living process which has the run may be about to broadcast."""


def find_shared(db: Database) -> list[tuple[str, int, int]]:
    """Tasks that several live orders have, each with the first and the last of these orders."""
    return [(task_id, first, last) for task_id, first, last in db.rows("tasks_twice", live=_LIVE_LETTERS)]


def describe_shared(db: Database) -> list[str]:
    """Descriptions for people of the tasks that several live orders have, with orders and runs."""
    return [
        f"task {task_id} is recorded for {describe_order(db, first)} and {describe_order(db, last)}: one of the two is "
        "wrong"
        for task_id, first, last in find_shared(db)
    ]


def settle_shared(db: Database, locks: RunLocks, now: int) -> None:
    """Put live orders with one task in doubt, without the task; in the caller's transaction.

    The order that certainly recorded the task first keeps it. Where that is unknown, no order keeps it.

    Orders that a living process may be sending are settled at a later opening. Raises Moved as `Chunk.save`.
    """
    for task_id, some, _ in find_shared(db):
        (run,) = by_number(db, [load(db, [some // PLACES])[some // PLACES].run]).values()
        orders = recorded(db, run.environment, [task_id])[task_id]
        chunks = load(db, [order // PLACES for order in orders])
        runs = by_number(db, {chunk.run for chunk in chunks.values()})
        first = _recorded_first(db, orders, chunks, runs)
        wrong = [order for order in orders if order != first]
        if any(
            chunks[order // PLACES].state(order % PLACES) in _IN_HAND
            and locks.is_held(db, runs[chunks[order // PLACES].run].id)
            for order in wrong
        ):
            continue
        for order in wrong:
            chunk, place = chunks[order // PLACES], order % PLACES
            other = next(each for each in orders if each != order)
            chunk.forget_task(db, place)
            chunk.states[place] = LETTERS[OrderState.IN_DOUBT]
            chunk.note(place, error=f"task {task_id} is also recorded for {describe_order(db, other)}")
        for number in {order // PLACES for order in wrong}:
            chunks[number].save(db, now)


def _recorded_first(
    db: Database, orders: Sequence[int], chunks: Mapping[int, Chunk], runs: Mapping[int, RunInfo]
) -> int | None:
    """The order with a shared task that had recorded it before each other one was sent; None if that is unknown."""

    def is_later(order: int, moment: int) -> bool:
        chunk = chunks[order // PLACES]
        return (
            runs[chunk.run].mode is Mode.DIRECT
            # Then the last claim sent all its orders, and one write recorded them after that.
            and {*chunk.states} == {LETTERS[OrderState.CREATED]}
            and len(db.rows("results_of_chunk", chunk=chunk.id)) == 1
            and (chunk.claimed_at or 0) > moment + _CLOCKS
        )

    for order in orders:
        recorded_by = chunks[order // PLACES].updated_at
        if all(is_later(other, recorded_by) for other in orders if other != order):
            return order
    return None
