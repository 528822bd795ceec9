"""Statements that run thousands of times in a push, past SQLAlchemy's layers between a statement and the driver.

They are written in SQLAlchemy like all others, and compiled once. What they save is the look-up of the compiled text,
the processing of parameters and the result object: some 40 µs for each execution, as much as SQLite needs itself.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Executable, Insert
from sqlalchemy.dialects import sqlite

AT_ONCE = 500
"""Rows that one statement puts in. SQLite takes 32,766 parameters."""


class Prepared:
    """A statement whose parameters and results are plain: text, whole numbers, bytes, NULL."""

    def __init__(self, statement: Executable) -> None:
        self._statement: Any = statement

    @cached_property
    def _compiled(self) -> tuple[str, Mapping[str, Any]]:
        compiled = self._statement.compile(dialect=sqlite.dialect(paramstyle="named"))
        return str(compiled), {name: value for name, value in compiled.params.items() if value is not None}

    def run(self, connection: Connection, parameters: Mapping[str, Any]) -> sqlite3.Cursor:
        """Execute it in the connection's transaction."""
        text, constants = self._compiled
        driver: Any = connection.connection.driver_connection
        cursor: sqlite3.Cursor = driver.execute(text, {**constants, **parameters})
        return cursor


class PreparedInsert:
    """An insert of any number of rows, hundreds in a statement: one step for all of them (see `bundles`).

    Args:
        statement: the insert of one row; each of its values is a parameter.
        columns: their names, in the order in which `run` gets them, which is that of the table.
    """

    def __init__(self, statement: Insert, columns: Sequence[str]) -> None:
        self._statement = statement
        self._columns = columns

    @cached_property
    def _parts(self) -> tuple[str, str]:
        dialect = sqlite.dialect(paramstyle="qmark")
        compiled: Any = self._statement.compile(dialect=dialect, column_keys=list(self._columns))
        if compiled.positiontup != list(self._columns):
            raise ValueError(f"the columns stand in another order: {compiled.positiontup}")
        head, _, row = str(compiled).partition(" VALUES ")
        return head, row

    def run(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> None:
        """Put rows in, in the connection's transaction."""
        head, row = self._parts
        driver: Any = connection.connection.driver_connection
        for start in range(0, len(rows), AT_ONCE):
            some = rows[start : start + AT_ONCE]
            driver.execute(f"{head} VALUES {', '.join([row] * len(some))}", tuple(chain.from_iterable(some)))
