"""A chunk: read, changed in memory, and written by one compare-and-swap."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gotsurge_async.database import Database, Kind, Moved, Sqlite, files, statements
from gotsurge_async.ledger import IllegalTransition, LedgerUnusable, OrderState
from gotsurge_async.ledger.sql.chunks import ZLIB, Chunk, body_row, by_chunk, load, number_of, number_of_print
from gotsurge_async.ledger.sql.databases import TEXT, prepare
from gotsurge_async.ledger.states import LETTERS, TRANSITIONS, NewOrder
from tests.ledger.kit import order, orders

NOW = 1_000_000


@pytest.fixture
def db(path: Path) -> Iterator[Database]:
    """The tables of a ledger, in a new file."""
    made = files.writing(path, statements(TEXT, Kind.SQLITE), patience=60.0)
    prepare(made, "ledger")
    yield made
    made.close()


def put(db: Database, states: str, *, compact: bool = False, rows: list[NewOrder] | None = None) -> None:
    """Put a chunk in whose orders are in some states, each given by its letter."""
    db.insert("add_chunks", [(1, 1, 0, NOW, states, None, None)])
    db.insert("add_bodies", [body_row(1, rows or orders(len(states)), compact=compact)[0]])


def read(db: Database) -> Chunk:
    """A chunk as the ledger has it."""
    return load(db, [1], bodies=True)[1]


def said(chunk: Chunk) -> list[tuple[str, str | None, str | None, str | None, int]]:
    """What a chunk says of each of its orders."""
    return [
        (letter, chunk.tasks.get(at, (None,))[0], chunk.status(at), chunk.error(at), chunk.lost_drafts(at))
        for at, letter in enumerate(chunk.states)
    ]


def test_numbers_are_of_chunks_and_places() -> None:
    """An order's number leads to its chunk and place and back, and chunks come sorted."""
    numbers = [number_of(chunk, place) for chunk in (7, 2) for place in (19, 0)]
    assert by_chunk(numbers) == {2: [0, 19], 7: [0, 19]}
    assert list(by_chunk(numbers)) == [2, 7]


def test_whoever_saves_second_changes_nothing(db: Database) -> None:
    """Of two writers that have read one chunk, the second to save gets an error, and changes no state, task or note."""
    put(db, "ss")
    first, second = read(db), read(db)
    first.move(0, OrderState.CREATED)
    first.record(0, "task-1", "broadcasting")
    first.save(db, NOW)
    second.move(0, OrderState.IN_DOUBT)
    second.record(0, "task-2", "other")
    second.note(1, error="mine")
    before = said(read(db))
    with pytest.raises(Moved):
        second.save(db, NOW + 1)
    assert said(read(db)) == before == [("c", "task-1", "broadcasting", None, 0), ("s", None, None, None, 0)]
    assert read(db).updated_at == NOW


def test_an_epoch_alone_keeps_others_from_saving(db: Database) -> None:
    """A claim that came in between is noticed also where the states are the same again."""
    put(db, "p")
    sleeper, claimer = read(db), read(db)
    claimer.epoch += 1
    claimer.save(db, NOW)
    sleeper.note(0, error="late")
    with pytest.raises(Moved):
        sleeper.save(db, NOW)
    claimer.note(0, error="in time")
    claimer.save(db, NOW)
    assert read(db).error(0) == "in time"
    assert read(db).epoch == 1


def test_a_chunk_that_is_gone_cannot_be_saved(db: Database) -> None:
    """What was removed meanwhile does not come back."""
    put(db, "p")
    chunk = read(db)
    db.change("delete_chunks", chunks=db.listed([1]))
    with pytest.raises(Moved):
        chunk.save(db, NOW)
    assert load(db, [1]) == {}


def test_a_recorded_task_is_never_replaced(db: Database) -> None:
    """Neither before nor after it is saved does another task take its place; the same one may be said again."""
    put(db, "g")
    chunk = read(db)
    chunk.record(0, "task-1", "draft")
    for _ in range(2):
        with pytest.raises(IllegalTransition, match="never replaced"):
            chunk.record(0, "task-2", "draft")
        chunk.record(0, "task-1", None)
        chunk.record(0, None, None)
        chunk.save(db, NOW)
        chunk = read(db)
        assert said(chunk)[0][1:3] == ("task-1", "draft")
    assert len(db.rows("results_of_chunk", chunk=1)) == 1


def test_results_come_in_parts(db: Database) -> None:
    """Each answer to a part of a chunk is a row of its own, which is put in and never changed."""
    put(db, "gggg")
    for part, places in enumerate(([2], [0, 3], [1])):
        chunk = read(db)
        for place in places:
            chunk.record(place, f"task-{place}", f"status-{part}")
        chunk.save(db, NOW)
        chunk.save(db, NOW)  # nothing more to put in
    rows = db.rows("results_of_chunk", chunk=1)
    assert [row[1:] for row in rows] == [
        (0, "status-0", '[null,null,"task-2",null]'),
        (1, "status-1", '["task-0",null,null,"task-3"]'),
        (2, "status-2", '[null,"task-1",null,null]'),
    ]
    assert [line[1:3] for line in said(read(db))] == [
        ("task-0", "status-1"),
        ("task-1", "status-2"),
        ("task-2", "status-0"),
        ("task-3", "status-1"),
    ]


def test_a_forgotten_draft_leaves_the_others_as_they_are(db: Database) -> None:
    """Where an older copy is accepted, one order's task is forgotten and named; the others keep task and status."""
    put(db, "bbbb")
    chunk = read(db)
    for place, status in enumerate(("w", "x", "y", None)):
        chunk.record(place, f"task-{place}", status)
    chunk.save(db, NOW)
    chunk = read(db)
    chunk.record(2, None, "later")
    chunk.save(db, NOW)
    chunk = read(db)
    chunk.forget_draft(db, 0, "lost")
    chunk.save(db, NOW)
    assert [line[1:] for line in said(read(db))] == [
        (None, None, "lost; its draft was task-0", 1),
        ("task-1", "x", None, 0),
        ("task-2", "later", None, 0),
        ("task-3", None, None, 0),
    ]


@pytest.mark.parametrize("source", list(OrderState))
def test_an_order_moves_only_where_it_may(source: OrderState) -> None:
    """A move follows the table of transitions, or stays; else it is refused, and nothing moves."""
    for target in LETTERS:
        chunk = Chunk(1, 1, 0, None, NOW, [LETTERS.get(source, "p")])
        if target is source or target in TRANSITIONS[source]:
            chunk.move(0, target, source=source)
            assert chunk.state(0) is target
        else:
            with pytest.raises(IllegalTransition, match=f"in state {source.value} cannot become {target.value}"):
                chunk.move(0, target, source=source)
            assert chunk.states == [LETTERS.get(source, "p")]


@pytest.mark.parametrize("compact", [False, True])
def test_orders_come_back_byte_for_byte(db: Database, compact: bool) -> None:
    """Whatever bytes an order and its row are, with rows and without, packed or not, they come back as they were."""
    rows = [
        order(1),
        NewOrder(2, "naïve ✓", b"", None),
        NewOrder(3, 'quoted "', b",,", b""),
        order(4, None, b"\xff" * 16),
    ]
    put(db, "pppp", rows=rows, compact=compact)
    chunk = read(db)
    assert (chunk.packed == ZLIB) is compact
    assert [(meta.line, meta.key, payload, row, meta.fingerprint) for _, meta, payload, row in chunk.orders()] == [
        (each.line, each.key, each.payload, each.source_row, number_of_print(each.fingerprint)) for each in rows
    ]
    assert [chunk.payload(place) for place in range(4)] == [each.payload for each in rows]


@pytest.mark.parametrize("compact", [False, True])
def test_a_text_is_rewritten_alone(db: Database, compact: bool) -> None:
    """An order that is given another text has it, with its fingerprint; the others and all rows are as they were."""
    put(db, "ccc", compact=compact)
    chunk = read(db)
    chunk.rewrite(db, 1, b'{"longer": "than before, and other"}', 171)
    again = read(db)
    assert again.body == chunk.body
    assert [each[2] for each in again.orders()] == [
        order(1).payload,
        b'{"longer": "than before, and other"}',
        order(3).payload,
    ]
    assert [each[3] for each in again.orders()] == [order(line).source_row for line in (1, 2, 3)]
    assert [meta.fingerprint for meta in again.metas] == [None, 171, None]
    assert again.packed == (ZLIB if compact else 0)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        ("UPDATE chunks SET states = 'pq'", "table chunks, chunk 1: its states are invalid: 'pq'"),
        ("UPDATE chunks SET states = ''", "table chunks, chunk 1: its states are invalid: ''"),
        ("UPDATE chunks SET states = 'ppp'", "table bodies, chunk 1: the number or the sizes of its orders differ"),
        ("UPDATE chunks SET updated_at = 'noon'", "table chunks, chunk 1: a number or a time is invalid"),
        ("UPDATE results SET ids = '[1]'", "table results, chunk 1, part 0: its task ids are not a list of text"),
        ("UPDATE results SET ids = 'TRK-1'", "table results, chunk 1, part 0: its task ids are not a list of text"),
        ('UPDATE results SET ids = \'["a","b","c"]\'', "table results, chunk 1, part 0: "),
        ("UPDATE notes SET place = 9", "table notes, chunk 1"),
        ("UPDATE notes SET lost_drafts = 'many'", "table notes, chunk 1"),
        ("UPDATE notes SET error = x'ff'", "table notes, chunk 1"),
        ("UPDATE bodies SET meta = '{}'", "table bodies, chunk 1: its orders cannot be read"),
        (
            "UPDATE bodies SET meta = replace(meta, '1', 'x')",
            "table bodies, chunk 1: its orders cannot be read",
        ),
        (
            "UPDATE bodies SET body = CAST(body || x'00' AS BLOB)",
            "table bodies, chunk 1: the number or the sizes of its orders differ from the record",
        ),
        (
            "UPDATE bodies SET source = substr(source, 2)",
            "table bodies, chunk 1: the number or the sizes of its orders differ from the record",
        ),
        ("UPDATE bodies SET packed = 1", "table bodies, chunk 1: its orders cannot be read"),
        ("DELETE FROM bodies", "table bodies, chunk 1: its orders are missing"),
    ],
)
def test_a_damaged_row_is_named_without_what_it_says(db: Any, damage: str, expected: str) -> None:
    """Damage is reported by table and chunk, and nothing of anybody's order, which may be private, is shown."""
    put(db, "sp")
    chunk = read(db)
    chunk.record(0, "task-1", None)
    chunk.note(0, error="Private Street 7")
    chunk.save(db, NOW)
    db.driver.execute(damage)
    with pytest.raises(LedgerUnusable) as caught:
        read(db)
    assert expected in str(caught.value)
    assert "TRK" not in str(caught.value)
    assert "Private" not in str(caught.value)


# --- any sequence of changes, against a model that is always in memory ------------------------------------------------

PLACES = st.integers(0, 4)
TEXTS = st.none() | st.sampled_from(["open", "draft", "x"])
STEPS = st.lists(
    st.tuples(st.just("move"), PLACES, st.sampled_from(list(LETTERS)))
    | st.tuples(st.just("record"), PLACES, st.none() | st.sampled_from(["task-1", "task-2"]), TEXTS)
    | st.tuples(
        st.just("note"), PLACES, st.fixed_dictionaries({}, optional={"error": TEXTS, "lost_drafts": st.integers(0, 3)})
    )
    | st.tuples(st.just("claim"), st.integers(0, 100))
    | st.tuples(st.just("save")),
    max_size=30,
)


SAVE = ("save",)


@given(steps=STEPS)
@example(steps=[("record", 0, "task-1", "a"), ("record", 1, "task-2", "b"), ("record", 3, "task-3", "a"), SAVE])
@example(steps=[("record", 0, "task-1", "a"), ("record", 1, "task-2", None), ("record", 3, "task-3", None), SAVE])
@example(steps=[("record", 4, None, "open"), SAVE, ("record", 4, None, None), SAVE, ("record", 4, "task-1", "x"), SAVE])
@example(steps=[("record", 4, "task-1", "x"), SAVE, ("record", 4, "task-1", None), SAVE, ("record", 4, None, "draft")])
@example(steps=[("record", 4, None, "open"), SAVE, ("record", 3, "task-1", None), ("record", 4, "task-2", None), SAVE])
def test_whatever_is_changed_is_read_back(steps: list[tuple[Any, ...]]) -> None:
    """After any sequence of moves, records and notes, saved here and there, the ledger says what the chunk said."""
    db = chunk_database()
    try:
        put(db, "psgbi")
        chunk = read(db)
        for step in steps:
            if step[0] == "move":
                try:
                    chunk.move(step[1], step[2])
                except IllegalTransition:
                    assert step[2] not in TRANSITIONS[chunk.state(step[1])]
            elif step[0] == "record":
                known = chunk.tasks.get(step[1], (None,))[0]
                before = chunk.status(step[1])
                try:
                    chunk.record(step[1], step[2], step[3])
                except IllegalTransition:
                    assert known not in (None, step[2])
                else:
                    assert chunk.tasks.get(step[1], (None,))[0] == (known or step[2])
                    assert chunk.status(step[1]) == (before if step[3] is None else step[3])
            elif step[0] == "note":
                chunk.note(step[1], **step[2])
            elif step[0] == "claim":
                chunk.epoch, chunk.claimed_at = chunk.epoch + 1, step[1]
            else:
                expected = said(chunk)
                chunk.save(db, NOW)
                assert said(chunk) == expected
                chunk = read(db)
                assert said(chunk) == expected
        expected = said(chunk), chunk.epoch, chunk.claimed_at
        chunk.save(db, NOW + 5)
        again = read(db)
        assert (said(again), again.epoch, again.claimed_at) == expected
        assert again.updated_at == NOW + 5
        assert [each[2] for each in again.orders()] == [each.payload for each in orders(5)]
    finally:
        db.close()


def chunk_database() -> Database:
    """The tables of a ledger, in memory."""
    made = Sqlite(sqlite3.connect(":memory:", isolation_level=None), statements(TEXT, Kind.SQLITE))
    prepare(made, "ledger")
    return made
