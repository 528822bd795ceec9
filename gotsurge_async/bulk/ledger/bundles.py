"""Many rows in one parameter, and many rows in one result.

Python's SQLite driver lets go of the interpreter before every step and takes it back after, and each row of an
executemany or of a result is a step. While the event loop is busy in its own thread, each taking back may wait for
5 ms: reading a page of 1000 orders then takes seconds. Bundled, a thousand rows are one step.

This is SQLite's way (JSON for plain values, one long value for bytes). PostgreSQL would have unnest() here, and its
rows as they come.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Integer,
    LargeBinary,
    Row,
    Select,
    TableValuedAlias,
    Text,
    bindparam,
    cast,
    func,
    literal_column,
    select,
)

ROWS = "rows"
"""The parameter with the plain values of the rows of `incoming`."""
BYTES = "bytes"
"""The parameter with the bytes that `bytes_at` cuts up."""


def incoming() -> TableValuedAlias:
    """The rows that the parameter ``ROWS`` carries, as a table to select from; see `place` and `bundle`."""
    return func.json_each(bindparam(ROWS, type_=Text)).table_valued("value", name="incoming")


def place(rows: TableValuedAlias, index: int) -> ColumnElement[Any]:
    """The value at a place of each row: text, a whole number or NULL."""
    return func.json_extract(rows.c.value, literal_column(f"'$[{index}]'"))


def bytes_at(rows: TableValuedAlias, index: int) -> ColumnElement[Any]:
    """The bytes whose first place in the parameter ``BYTES`` and length stand at ``index`` and after it, or NULL."""
    return func.substr(bindparam(BYTES, type_=LargeBinary), place(rows, index), place(rows, index + 1))


def named() -> TableValuedAlias:
    """The members of the object that the parameter ``ROWS`` carries: a number (see `number`) and a ``value`` each.

    Where a row is no more than that, it is three times cheaper than `incoming`.
    """
    return func.json_each(bindparam(ROWS, type_=Text)).table_valued("key", "value", name="named")


def number(members: TableValuedAlias) -> ColumnElement[int]:
    """The number that names each member."""
    return cast(members.c.key, Integer)


def ids_in(column: ColumnElement[int]) -> ColumnElement[bool]:
    """``column`` is one of the numbers that the parameter ``ROWS`` carries (see `bundle`)."""
    return column.in_(select(func.json_each(bindparam(ROWS, type_=Text)).table_valued("value").c.value))


def bundle(rows: Iterable[Any]) -> str:
    """What to give as ``ROWS``: a tuple of plain values for each row, or a number for each, or a dict for `named`."""
    return msgspec.json.encode(rows if isinstance(rows, list | dict) else list(rows)).decode()


class Bytes:
    """What to give as ``BYTES``, put together value by value."""

    def __init__(self) -> None:
        # Never empty as a whole: SQLite takes an empty one for NULL, and every part of it too.
        self._parts = [b"\0"]
        self._length = 1

    def put(self, value: bytes | None) -> tuple[int, int | None]:
        """Put a value in; returns what `bytes_at` wants to know of it."""
        if value is None:
            return (1, None)
        first = self._length + 1
        self._parts.append(value)
        self._length += len(value)
        return (first, len(value))

    def whole(self) -> bytes:
        """All of it."""
        return b"".join(self._parts)


def outgoing(rows: Select[*tuple[Any, ...]], plain: Sequence[str], binary: Sequence[str]) -> Select[*tuple[Any, ...]]:
    """A statement that gives all ``rows`` as a single one, for `unbundle`: their plain columns, and those of bytes."""
    each = rows.subquery()
    values = [each.c[name] for name in plain] + [func.length(each.c[name]) for name in binary]
    # Concatenation takes bytes as they are, also those that are no text.
    joined = [cast(func.group_concat(each.c[name], ""), LargeBinary) for name in binary]
    return select(func.json_group_array(func.json_array(*values)), *joined)


def unbundle(row: Row[*tuple[Any, ...]], binary: int) -> list[list[Any]]:
    """The rows of `outgoing`, the ``binary`` columns of bytes last."""
    found: list[list[Any]] = msgspec.json.decode(row[0])
    for back in range(binary, 0, -1):
        whole: bytes = row[1 + binary - back] or b""
        start = 0
        for values in found:
            length = values[-back]
            if length is not None:
                values[-back] = whole[start : start + length]
                start += length
    return found
