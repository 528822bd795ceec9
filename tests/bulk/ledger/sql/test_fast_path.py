"""Many rows in one parameter and in one result."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Connection, Integer, LargeBinary, MetaData, Table, Text, create_engine, insert, select

from gotsurge_async.bulk.ledger.sql.fast_path import (
    AT_ONCE,
    ROWS,
    among,
    bundle,
    named,
    number,
    outgoing,
    prepared_insert,
    unbundle,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
ROW = st.tuples(st.integers(-(2**63), 2**63 - 1), st.none() | TEXT, st.binary(), st.none() | st.binary())
NUMBERS = Table("t", MetaData(), Column("id", Integer, primary_key=True))
NAMES = ("id", "number", "text", "some", "more")
THINGS = Table(
    "things",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("number", Integer),
    Column("text", Text),
    Column("some", LargeBinary),
    Column("more", LargeBinary),
)


def put_in(database: Connection, rows: list[tuple[Any, ...]]) -> None:
    """Make the table of things, of these."""
    THINGS.create(database)
    prepared_insert(insert(THINGS), NAMES)(database, rows)


@contextmanager
def database_in_memory() -> Iterator[Connection]:
    """A connection to an empty database."""
    engine = create_engine("sqlite://")
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


@settings(deadline=None)  # a busy machine is no fault of SQLite
@given(st.lists(ROW, max_size=30))
def test_rows_go_in_and_come_out_unchanged(rows: list[tuple[Any, ...]]) -> None:
    """Numbers, text, bytes of any kind, and what is absent pass through SQLite, in and out in one step."""
    with database_in_memory() as database:
        put_in(database, [(place, *row) for place, row in enumerate(rows)])
        found = database.execute(outgoing(select(THINGS).order_by("id"), NAMES[:3], NAMES[3:])).one()
    assert unbundle(found, 2) == [[place, *row] for place, row in enumerate(rows)]


@pytest.mark.parametrize("count", [1, AT_ONCE, AT_ONCE + 1, 3 * AT_ONCE])
def test_any_number_of_rows_go_in(count: int) -> None:
    """More rows than a statement takes are put in by several."""
    with database_in_memory() as database:
        put_in(database, [(place, place, None, b"", None) for place in range(count)])
        assert database.scalars(select(THINGS.c.number).order_by("id")).all() == list(range(count))


@settings(deadline=None)  # a busy machine is no fault of SQLite
@given(st.dictionaries(st.integers(0, 2**53), st.none() | TEXT, max_size=30))
def test_the_members_of_an_object_are_numbers_and_values(members: dict[int, str | None]) -> None:
    """`named` gives each number with its text."""
    into = named()
    statement = select(number(into), into.c.value)
    with database_in_memory() as database:
        found = database.execute(statement, {ROWS: bundle(members)}).all()
    assert {row[0]: row[1] for row in found} == members


@settings(deadline=None)  # a busy machine is no fault of SQLite
@given(st.sets(st.integers(0, 50)), st.sets(st.integers(0, 50), min_size=1))
def test_ids_select_exactly_those_rows(wanted: set[int], there: set[int]) -> None:
    """`among` is true for the numbers that the parameter carries, and for no other."""
    with database_in_memory() as database:
        database.exec_driver_sql("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        database.exec_driver_sql("INSERT INTO t VALUES (?)", [(n,) for n in there])
        statement = select(NUMBERS.c.id).where(among(NUMBERS.c.id))
        found = set(database.scalars(statement, {ROWS: bundle(sorted(wanted))}))
    assert found == wanted & there
