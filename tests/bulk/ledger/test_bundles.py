"""Many rows in one parameter and in one result."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Connection, Integer, MetaData, Table, create_engine, select

from gotsurge_async.bulk.ledger.bundles import (
    ROWS,
    bundle,
    bytes_at,
    bytes_column,
    ids_in,
    incoming,
    listed,
    named,
    number,
    number_at,
    numbers,
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
    whole, texts, some, more = zip(*rows, strict=True) if rows else ((), (), (), ())
    into, beside = incoming(), listed()
    plain = select(place(into, 0).label("number"), place(into, 1).label("text"))
    columns = {**bytes_column("some", some), **bytes_column("more", more)}
    cut = select(
        number_at(beside, "places").label("number"),
        beside.c.value.label("text"),
        bytes_at(beside, "some").label("some"),
        bytes_at(beside, "more").label("more"),
    )
    with database_in_memory() as database:
        given_rows: dict[str, Any] = {ROWS: bundle(list(zip(whole, texts, strict=True)))}
        found = database.execute(outgoing(plain, ("number", "text"), ()), given_rows).one()
        assert unbundle(found, 0) == [[number, text] for number, text, _, _ in rows]
        given_rows = {ROWS: bundle(list(texts)), "places": numbers(range(len(rows))), **columns}
        found = database.execute(outgoing(cut, ("number", "text"), ("some", "more")), given_rows).one()
    assert unbundle(found, 2) == [[place, *row[1:]] for place, row in enumerate(rows)]


@given(st.dictionaries(st.integers(0, 2**53), st.none() | TEXT, max_size=30))
def test_the_members_of_an_object_are_numbers_and_values(members: dict[int, str | None]) -> None:
    """`named` gives each number with its text."""
    into = named()
    statement = select(number(into), into.c.value)
    with database_in_memory() as database:
        found = database.execute(statement, {ROWS: bundle(members)}).all()
    assert {row[0]: row[1] for row in found} == members


@given(st.sets(st.integers(0, 50)), st.sets(st.integers(0, 50), min_size=1))
def test_ids_select_exactly_those_rows(wanted: set[int], there: set[int]) -> None:
    """`ids_in` is true for the numbers that the parameter carries, and for no other."""
    with database_in_memory() as database:
        database.exec_driver_sql("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        database.exec_driver_sql("INSERT INTO t VALUES (?)", [(n,) for n in there])
        statement = select(NUMBERS.c.id).where(ids_in(NUMBERS.c.id))
        found = set(database.scalars(statement, {ROWS: bundle(sorted(wanted))}))
    assert found == wanted & there
