"""Many rows in one parameter, and many rows in one result.

Python's SQLite driver lets go of the interpreter before every step and takes it back after, and each row of an
executemany or of a result is a step. While the event loop is busy in its own thread, each taking back may wait for
5 ms: reading a page of 1000 orders then takes seconds. Bundled, a thousand rows are one step.

This is SQLite's way (JSON for plain values, one long value for bytes; `prepared` for rows that are put in). PostgreSQL
would have unnest() here, and its rows as they come.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Integer,
    LargeBinary,
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


def incoming() -> TableValuedAlias:
    """The rows that the parameter ``ROWS`` carries, as a table to select from; see `place` and `bundle`."""
    return func.json_each(bindparam(ROWS, type_=Text)).table_valued("value", name="incoming")


def place(rows: TableValuedAlias, index: int) -> ColumnElement[Any]:
    """The value at a place of each row: text, a whole number or NULL."""
    return func.json_extract(rows.c.value, literal_column(f"'$[{index}]'"))


def named() -> TableValuedAlias:
    """The members of the object that the parameter ``ROWS`` carries: a number (see `number`) and a ``value`` each.

    Where a row is no more than that, it is three times cheaper than `incoming`.
    """
    return func.json_each(bindparam(ROWS, type_=Text)).table_valued("key", "value", name="named")


def number(members: TableValuedAlias) -> ColumnElement[int]:
    """The number that names each member."""
    return cast(members.c.key, Integer)


def among(column: ColumnElement[Any]) -> ColumnElement[bool]:
    """``column`` is one of the values, numbers or text, that the parameter ``ROWS`` carries (see `bundle`)."""
    return column.in_(select(func.json_each(bindparam(ROWS, type_=Text)).table_valued("value").c.value))


def bundle(rows: Iterable[Any]) -> str:
    """What to give as ``ROWS``: a tuple of plain values for each row, or one value for each, or a dict for `named`."""
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
