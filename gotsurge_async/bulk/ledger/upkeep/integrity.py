"""What a sound row is, said once for every column, and asked whenever the ledger is looked through for damage.

A file lives for years, on disks that flip bits. SQLite finds broken pages, not a state that is no state any more, a
text that is no text, or a time that no clock can show. The rules follow from the tables of `schema`; more are here.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from attrs import field, frozen
from sqlalchemy import JSON, Column, Connection, Integer, LargeBinary, Table
from sqlalchemy.exc import SQLAlchemyError

from gotsurge_async.bulk.ledger.errors import RESCUE, LedgerError, LedgerUnusable
from gotsurge_async.bulk.ledger.sql.schema import (
    LIVE_FOLLOWS_STATE,
    decisions,
    meta,
    orders,
    payloads,
    quoted,
    runs,
    unused_drafts,
)
from gotsurge_async.bulk.ledger.sql.sqlite import BROKEN, translate
from gotsurge_async.bulk.ledger.states import Mode, OrderState, RunState

TABLES: Sequence[Table] = (meta, runs, orders, payloads, unused_drafts, decisions)

ALWAYS = 20_000
"""Orders of a ledger that is looked through whenever it is opened for writing: some 0.1 s."""
OFTEN = 24 * 60 * 60 * 1_000_000
"""How often a larger one is, in microseconds. A million orders take some 6 s."""
CHECKED_AT = "checked_at"
SAID = 3
"""How many flaws an error names; ``gotsurge ledger check`` lists all."""

_LATEST = 253_402_300_799_999_999  # the last microsecond of the year 9999
_MOST = 2**62  # numbers that are counted up stay far below what SQLite can count

_WORDS: dict[Column[Any], Iterable[str]] = {
    orders.c.state: OrderState,
    runs.c.state: RunState,
    runs.c.mode: Mode,
}
_FLAGS: frozenset[Column[Any]] = frozenset({orders.c.live, decisions.c.created})
_SHAPES: dict[Column[Any], str] = {runs.c["columns"]: "array", runs.c.options: "object"}


_BETWEEN_COLUMNS: dict[Table, Sequence[tuple[str, str]]] = {
    orders: (
        ("live", LIVE_FOLLOWS_STATE),
        ("task_id", f"state NOT IN ({quoted((OrderState.DRAFTED, OrderState.BROADCASTING))}) OR task_id IS NOT NULL"),
    ),
    runs: (("holder_pid", "(holder_pid IS NULL) = (holder_since IS NULL)"),),
}

_PLACES: dict[Table, Sequence[str]] = {
    meta: ("name",),
    runs: ("id",),
    orders: ("id", "run_id", "line", "key"),
    payloads: ("order_id",),
    unused_drafts: ("task_id", "run_id", "key"),
    decisions: ("id", "run_id", "order_id", "key"),
}
"""The columns that tell people which row it is."""


@frozen
class Flaw:
    """Something that is wrong in the ledger.

    Attributes:
        table: where; "" if it is of no table.
        row: which row, in words; "" if it is of no single row.
        what: what is wrong with it.
    """

    table: str = field(converter=str)  # the name of a table is text of a kind of its own, which is not written as JSON
    row: str
    what: str

    def __str__(self) -> str:
        where = ", ".join(part for part in (f"table {self.table}" if self.table else "", self.row) if part)
        return f"{where}: {self.what}" if where else self.what


def condition(column: Column[Any]) -> str:
    """SQL that is 1 where a value of the column can be one, and 0 where it cannot."""
    name = f'"{column.name}"'
    if isinstance(column.type, LargeBinary):
        rule = f"typeof({name}) = 'blob'"
    elif isinstance(column.type, Integer):
        most = 1 if column in _FLAGS else _LATEST if _is_time(column) else _MOST * 2 - 1
        rule = f"typeof({name}) = 'integer' AND {name} BETWEEN 0 AND {most}"
    elif isinstance(column.type, JSON):
        rule = (
            f"CASE WHEN typeof({name}) = 'text' AND json_valid({name}) THEN json_type({name}) = '{_SHAPES[column]}' END"
        )
    else:
        rule = f"typeof({name}) = 'text'"
        if column in _WORDS:
            rule += f" AND {name} IN ({quoted(_WORDS[column])})"
    if column.nullable:
        rule = f"{name} IS NULL OR ({rule})"
    return f"coalesce({rule}, 0)"


def _is_time(column: Column[Any]) -> bool:
    return column.name.endswith(("_at", "_since"))


def _rules(table: Table) -> list[tuple[str, str]]:
    return [(column.name, condition(column)) for column in table.columns] + [
        (name, f"coalesce({rule}, 0)") for name, rule in _BETWEEN_COLUMNS.get(table, ())
    ]


@contextmanager
def bytes_for_text(driver: sqlite3.Connection) -> Iterator[None]:
    """Let text come as bytes meanwhile: what is no text any more would else be an error of the driver."""
    before = driver.text_factory
    driver.text_factory = bytes
    try:
        yield
    finally:
        driver.text_factory = before


def unsound(driver: sqlite3.Connection, tables: Sequence[Table] = TABLES, limit: int = 100) -> list[Flaw]:
    """The first rows of each table that break a rule, or hold text that is none; [] in a sound ledger.

    Damage that SQLite itself meets on its way is a flaw as well.
    """
    flaws: list[Flaw] = []
    for table in tables:
        try:
            with bytes_for_text(driver):
                flaws += _against_rules(driver, table, limit)
                flaws += _no_text(driver, table, limit)
                if table is runs:
                    flaws += _columns_that_are_none(driver)
        except BROKEN as error:
            flaws.append(Flaw(table.name, "", str(error)))
    return flaws


def structure(driver: sqlite3.Connection, table: Table | None = None, limit: int = 100) -> list[Flaw]:
    """What SQLite finds wrong with the pages and indexes of a table, or of the whole file."""
    name = "" if table is None else table.name
    try:
        asked = f"({name})" if name else f"({limit})"
        found = [str(message) for (message,) in driver.execute(f"PRAGMA integrity_check{asked}")]
    except BROKEN as error:
        found = [str(error)]
    return [Flaw(name, "", message) for message in found[:limit] if message != "ok"]


def counting(driver: sqlite3.Connection) -> list[Flaw]:
    """What is wrong between the tables: orders without a payload, and numbers that would be given twice."""
    flaws = []
    try:
        last = driver.execute("SELECT value FROM ledger_meta WHERE name = 'last_order_id'").fetchone()
        highest = driver.execute("SELECT max(id) FROM orders").fetchone()[0] or 0
        if last is None or not isinstance(last[0], int) or last[0] < highest:
            told = "missing" if last is None else f"{last[0]}, but there is an order {highest}"
            flaws.append(Flaw(meta.name, "row last_order_id", f"the number of the last order is {told}"))
        bare = driver.execute(
            "SELECT id, run_id, line, key FROM orders "
            "WHERE NOT EXISTS (SELECT 1 FROM payloads WHERE order_id = id) LIMIT 3"
        )
        flaws += [Flaw(orders.name, _row(_PLACES[orders], row), "it has no payload") for row in bare]
    except BROKEN as error:
        flaws.append(Flaw("", "", str(error)))
    return flaws


def look_over(driver: sqlite3.Connection, path: str, now: int) -> bool:
    """Look for damage before anything is written, and so before anything is sent.

    A ledger of up to `ALWAYS` orders is looked through every time it is opened for writing, a larger one once a day.

    Args:
        now: the time, as it is stored.

    Returns:
        Whether it is to be remembered, as ``checked_at``, that it was looked through now.

    Raises:
        LedgerUnusable: it is damaged; the table and the row are named.
    """
    flaws = unsound(driver, (meta,))
    known = {} if flaws else dict(driver.execute("SELECT name, value FROM ledger_meta").fetchall())
    large = known.get("last_order_id", 0) > ALWAYS
    due = not large or abs(now - known.get(CHECKED_AT, 0)) > OFTEN
    if not flaws and due:
        # What names rows comes first: SQLite tells of a part of it without them.
        flaws = unsound(driver) + counting(driver)
        flaws += [flaw for table in (meta, runs, orders, unused_drafts, decisions) for flaw in structure(driver, table)]
    if flaws:
        raise LedgerUnusable(f"is damaged ({'; '.join(map(str, flaws[:SAID]))}). {RESCUE}", path=path)
    return large and due


def _against_rules(driver: sqlite3.Connection, table: Table, limit: int) -> Iterator[Flaw]:
    rules, places = _rules(table), _PLACES[table]
    whole = " AND ".join(rule for _, rule in rules)
    asked = [*(f'"{name}"' for name in places), *(rule for _, rule in rules), *(f'"{name}"' for name, _ in rules)]
    found = driver.execute(f"SELECT {', '.join(asked)} FROM {table.name} WHERE NOT ({whole}) LIMIT {limit}")  # noqa: S608 - only names of ours
    for row in found:
        kept = row[len(places) : len(places) + len(rules)]
        broken = next(number for number, good in enumerate(kept) if not good)
        value = _shown(row[len(places) + len(rules) + broken], private=table is payloads)
        yield Flaw(table.name, _row(places, row), f"{rules[broken][0]} cannot be {value}")


def _no_text(driver: sqlite3.Connection, table: Table, limit: int) -> Iterator[Flaw]:
    """Rows with text that is not UTF-8, which no rule in SQL can tell; a thousand rows at a time."""
    names = [column.name for column in table.columns if not isinstance(column.type, Integer | LargeBinary)]
    if not names:
        return
    together = " || ".join(f"coalesce(\"{name}\", '')" for name in names)
    block = "rowid / 1000"
    found = 0
    blocks = driver.execute(
        f"SELECT {block}, CAST(group_concat({together}, '') AS BLOB) FROM {table.name} GROUP BY {block}"  # noqa: S608
    ).fetchall()
    for number, data in blocks:
        if _is_text(data or b""):
            continue
        asked = ", ".join(f'"{name}"' for name in (*_PLACES[table], *names))
        rows = driver.execute(f"SELECT {asked} FROM {table.name} WHERE {block} = ?", (number,))  # noqa: S608
        for row in rows:
            for name, value in zip(names, row[len(_PLACES[table]) :], strict=True):
                if isinstance(value, bytes) and not _is_text(value):
                    yield Flaw(table.name, _row(_PLACES[table], row), f"{name} is no text: {_shown(value)}")
                    found += 1
        if found >= limit:
            return


def _columns_that_are_none(driver: sqlite3.Connection) -> Iterator[Flaw]:
    for run_id, value in driver.execute('SELECT id, "columns" FROM runs WHERE "columns" IS NOT NULL'):
        if isinstance(value, bytes) and not _decodes(msgspec.json.Decoder(list[str]).decode, value):
            yield Flaw(runs.name, _row(("id",), (run_id,)), f"columns are not names: {_shown(value)}")


def _decodes(decode: Callable[[bytes], Any], value: bytes) -> bool:
    try:
        decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return True


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _shown(value: Any, *, private: bool = False) -> str:
    """A value, short, on one line; of a private one, such as an order with its addresses, only what kind it is."""
    if value is None:
        return "empty"
    if private:
        return "text" if isinstance(value, bytes) else "a number"
    if isinstance(value, bytes):
        text = value[:40].decode("utf-8", "backslashreplace")
        return repr(text) + ("…" if len(value) > 40 else "")
    return str(value)


def _row(places: Sequence[str], values: Sequence[Any]) -> str:
    words = {"id": "", "run_id": "run ", "order_id": "order "}
    return ", ".join(
        f"{words.get(name, name + ' ')}{text_of(value)}" if number else f"row {text_of(value)}"
        for number, (name, value) in enumerate(zip(places, values, strict=False))
    )


def text_of(value: Any) -> str:
    """A value that came as bytes, as text for people; what is no text is escaped."""
    return value[:200].decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


# --- damage that is met on the way ------------------------------------------------------------------------------------

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


def text(value: Any) -> str:
    """A value that must be text."""
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where text belongs")
    return value


def whole_number(value: Any) -> int:
    """A value that must be a whole number."""
    if not isinstance(value, int):
        raise TypeError(f"{type(value).__name__} where a number belongs")
    return value
