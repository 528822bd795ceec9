"""Many rows in one parameter and in one result."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Connection, Integer, MetaData, Table, create_engine, select

from gotsurge_async.bulk.ledger.bundles import (
    BYTES,
    ROWS,
    Bytes,
    bundle,
    bytes_at,
    ids_in,
    incoming,
    outgoing,
    place,
    unbundle,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
ROW = st.tuples(st.integers(-(2**63), 2**63 - 1), st.none() | TEXT, st.binary(), st.none() | st.binary())
NUMBERS = Table("t", MetaData(), Column("id", Integer, primary_key=True))


@contextmanager
def database_in_memory() -> Iterator[Connection]:
    """A connection to an empty database."""
    engine = create_engine("sqlite://")
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


@given(st.lists(ROW, max_size=30))
def test_rows_go_in_and_come_out_unchanged(rows: list[tuple[Any, ...]]) -> None:
    """Numbers, text, bytes of any kind, and what is absent pass through SQLite in one parameter and one row."""
    content = Bytes()
    given_rows = bundle([(n, text, *content.put(some), *content.put(more)) for n, text, some, more in rows])
    into = incoming()
    page = select(
        place(into, 0).label("number"),
        place(into, 1).label("text"),
        bytes_at(into, 2).label("some"),
        bytes_at(into, 4).label("more"),
    )
    statement = outgoing(page, ("number", "text"), ("some", "more"))
    with database_in_memory() as database:
        found = database.execute(statement, {ROWS: given_rows, BYTES: content.whole()}).one()
    assert unbundle(found, 2) == [list(row) for row in rows]


@given(st.sets(st.integers(0, 50)), st.sets(st.integers(0, 50), min_size=1))
def test_ids_select_exactly_those_rows(wanted: set[int], there: set[int]) -> None:
    """`ids_in` is true for the numbers that the parameter carries, and for no other."""
    with database_in_memory() as database:
        database.exec_driver_sql("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        database.exec_driver_sql("INSERT INTO t VALUES (?)", [(n,) for n in there])
        statement = select(NUMBERS.c.id).where(ids_in(NUMBERS.c.id))
        found = set(database.scalars(statement, {ROWS: bundle(sorted(wanted))}))
    assert found == wanted & there
