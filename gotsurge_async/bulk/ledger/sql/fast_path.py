"""The one place of speed tricks: what thousands of chunks do goes past the layers between a statement and SQLite.

`prepared` and `prepared_insert`: a statement is written in SQLAlchemy like all others, compiled once, and given to the
driver itself. That saves the look-up of the compiled text, the processing of parameters and the result object: some
40 µs for each execution, as much as SQLite needs itself.

`bundle`, `unbundle`: many rows in one parameter, and many rows in one result. Python's driver lets go of the
interpreter before every step and takes it back after, and each row of an executemany or of a result is a step. While
the event loop is busy in its own thread, each taking back may wait for 5 ms: reading a page of 1000 orders then takes
seconds. Bundled, a thousand rows are one step. This is SQLite's way (JSON for plain values, one long value for bytes);
PostgreSQL would have unnest() here, and its rows as they come.

Both are seen by ``python -m benchmarks ledger``.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Insert,
    Integer,
    LargeBinary,
    Select,
    TableValuedAlias,
    Text,
    bindparam,
    cast,
    func,
    select,
)
from sqlalchemy.dialects import sqlite

ROWS = "rows"
"""The parameter that carries many values, made by `bundle`."""

AT_ONCE = 500
"""Rows that one statement puts in. SQLite takes 32,766 parameters."""

Execute = Callable[[Connection, Mapping[str, Any]], sqlite3.Cursor]
PutIn = Callable[[Connection, Sequence[Sequence[Any]]], None]


def prepared(statement: Executable) -> Execute:
    """A function that executes a statement, in the transaction of the connection that it is given.

    Its parameters and results are plain: text, whole numbers, bytes, NULL.
    """

    @cache
    def compiled() -> tuple[str, Mapping[str, Any]]:
        found: Any = statement.compile(dialect=sqlite.dialect(paramstyle="named"))  # type: ignore[attr-defined]
        return str(found), {name: value for name, value in found.params.items() if value is not None}

    def execute(connection: Connection, parameters: Mapping[str, Any]) -> sqlite3.Cursor:
        text, constants = compiled()
        return _driver(connection).execute(text, {**constants, **parameters})

    return execute


def prepared_insert(statement: Insert, columns: Sequence[str]) -> PutIn:
    """A function that inserts any number of rows, hundreds in a statement: one step for all of them.

    Args:
        statement: the insert of one row; each of its values is a parameter.
        columns: their names, in the order in which the values of a row are given, which is that of the table.
    """

    @cache
    def compiled() -> tuple[str, str]:
        found: Any = statement.compile(dialect=sqlite.dialect(paramstyle="qmark"), column_keys=list(columns))
        if found.positiontup != list(columns):
            raise ValueError(f"the columns stand in another order: {found.positiontup}")
        head, _, row = str(found).partition(" VALUES ")
        return head, row

    def put_in(connection: Connection, rows: Sequence[Sequence[Any]]) -> None:
        head, row = compiled()
        for start in range(0, len(rows), AT_ONCE):
            some = rows[start : start + AT_ONCE]
            values = tuple(chain.from_iterable(some))
            _driver(connection).execute(f"{head} VALUES {', '.join([row] * len(some))}", values)

    return put_in


def _driver(connection: Connection) -> sqlite3.Connection:
    driver: Any = connection.connection.driver_connection
    return driver  # type: ignore[no-any-return]


def among(column: ColumnElement[Any]) -> ColumnElement[bool]:
    """``column`` is one of the values, numbers or text, that the parameter ``ROWS`` carries."""
    return column.in_(select(func.json_each(bindparam(ROWS, type_=Text)).table_valued("value").c.value))


def named() -> TableValuedAlias:
    """The members of the object that the parameter ``ROWS`` carries, as a table: a `number` and a ``value``."""
    return func.json_each(bindparam(ROWS, type_=Text)).table_valued("key", "value", name="named")


def number(members: TableValuedAlias) -> ColumnElement[int]:
    """The number that names each member of `named`."""
    return cast(members.c.key, Integer)


def bundle(rows: Iterable[Any]) -> str:
    """What to give as ``ROWS``: values for `among`, or a dict for `named`."""
    return msgspec.json.encode(rows if isinstance(rows, list | dict) else list(rows)).decode()


def outgoing(rows: Select[*tuple[Any, ...]], plain: Sequence[str], binary: Sequence[str]) -> Select[*tuple[Any, ...]]:
    """A statement that gives all ``rows`` as a single one, for `unbundle`: their plain columns, and those of bytes."""
    each = rows.subquery()
    values = [each.c[name] for name in plain] + [func.length(each.c[name]) for name in binary]
    # Concatenation takes bytes as they are, also those that are no text.
    joined = [cast(func.group_concat(each.c[name], ""), LargeBinary) for name in binary]
    return select(func.json_group_array(func.json_array(*values)), *joined)


def unbundle(row: Sequence[Any], binary: int, decode: Callable[[Any], Any] = msgspec.json.decode) -> list[list[Any]]:
    """The rows of `outgoing`, the ``binary`` columns of bytes last.

    Args:
        decode: reads the plain columns, and the lengths, from a JSON array of arrays.

    Raises:
        ValueError: a value is not of its type (msgspec's errors are such too).
    """
    found = [list(values) for values in decode(row[0])]
    for back in range(binary, 0, -1):
        whole: bytes = row[1 + binary - back] or b""
        start = 0
        for values in found:
            length = values[-back]
            if length is not None:
                values[-back] = whole[start : start + length]
                start += length
        if start != len(whole):
            raise ValueError(f"{len(whole)} bytes where {start} were told")
    return found
