"""The base for SQL: where a database is, one text for two databases, and what a connection does with it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gotsurge_async.database import Database, Kind, Place, connect, driver_of, place_of, statements
from gotsurge_async.errors import ConfigError

TEXT = """
-- name: make
CREATE TABLE t (n {big} PRIMARY KEY, word TEXT);
CREATE TABLE u (n {big} PRIMARY KEY);
-- name: put
INSERT INTO t (n, word) VALUES {rows} ON CONFLICT (n) DO NOTHING;
-- name: some
SELECT n, word FROM t WHERE n {among:numbers} ORDER BY n;
-- name: worded
SELECT n FROM t WHERE word {like} :letters ORDER BY n;
-- name: name
UPDATE t SET word = :name WHERE n = :n;
-- name: own@sqlite
SELECT 'sqlite';
-- name: own@postgresql
SELECT 'per cent: %' || :name;
"""


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A file of statements."""
    file = tmp_path / "text.sql"
    file.write_text(TEXT)
    return file


@pytest.fixture
def db(tmp_path: Path, text: Path) -> Iterator[Database]:
    """A connection to a new file, with a table."""
    with closing(connect(Place(Kind.SQLITE, tmp_path / "d.db"), text)) as opened:
        opened.script("make")
        yield opened


@pytest.mark.parametrize(
    ("where", "place"),
    [
        ("orders.db", Place(Kind.SQLITE, Path.cwd() / "orders.db")),
        (Path("/x/y.db"), Place(Kind.SQLITE, Path("/x/y.db"))),
        ("sqlite:///rel.db", Place(Kind.SQLITE, Path.cwd() / "rel.db")),
        ("sqlite+aiosqlite:////x/a%20b.db", Place(Kind.SQLITE, Path("/x/a b.db"))),
        ("postgres://h/d", Place(Kind.POSTGRESQL, url="postgresql://h/d")),
        ("postgresql+psycopg://u@h:5433/d", Place(Kind.POSTGRESQL, url="postgresql://u@h:5433/d")),
    ],
)
def test_a_path_or_a_url_leads_to_a_database(where: str | Path, place: Place) -> None:
    """A path is a file of SQLite, absolute; a URL names its database, whatever driver it names besides."""
    assert place_of(where) == place


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("sqlite://", "a database in memory is not kept"),
        ("sqlite:///:memory:", "a database in memory is not kept"),
        ("postgresql:/u:hush@h/db", "neither a path nor a full URL"),
        ("postgresql:u:hush@h/db", "neither a path nor a full URL"),
        ("host=127.0.0.1 password=hush", "neither a path nor a full URL"),
        ("sqlite:rel.db", "neither a path nor a full URL"),
        ("file:x.db?mode=memory", "neither a path nor a full URL"),
        (":memory:", "neither a path nor a full URL"),
        (" ", "neither a path nor a full URL"),
        ("~/q.db", "neither a path nor a full URL"),
        ("mysql://h/d", "mysql is not supported"),
        ("://", "cannot be read"),
        ("postgresql://u:hush@h:port/d", "cannot be read"),
        ("postgresql://u:hu@sh@h/d", "cannot be read"),
        ("postgresql://u:hush#1@h/d", "cannot be read"),
        ("postgresql://u:1?hush@h/d", "cannot be read"),
        ("postgresql://u:hush%00@h/d", "cannot be read"),
        ("sqlite:///a%00b", "a NUL character, or bytes that are not UTF-8"),
        ("a\x00b", "a NUL character, or bytes that are not UTF-8"),
        (Path("\udcff.db"), "a NUL character, or bytes that are not UTF-8"),
    ],
)
def test_what_is_no_database_is_refused(where: str | Path, told: str) -> None:
    """It is told why, and nothing of a password is."""
    with pytest.raises(ConfigError, match=told) as caught:
        place_of(where)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:hush@h:5432/d?password=hush&sslmode=require", "postgresql://u@h:5432/d?sslmode=require"),
        ("postgresql://h/d", "postgresql://h/d"),
    ],
)
def test_a_password_is_never_shown(url: str, shown: str) -> None:
    """Neither the text of a place nor its repr has one, nor the settings behind it."""
    place = place_of(url)
    assert str(place) == shown
    assert "hush" not in repr(place)


def test_one_text_serves_both_databases(text: Path) -> None:
    """Words, lists and values are written as each database takes them; a statement of the other one is left out."""
    lite, post = statements(text, Kind.SQLITE), statements(text, Kind.POSTGRESQL)
    assert "n INTEGER PRIMARY KEY" in lite["make"]
    assert "n BIGINT PRIMARY KEY" in post["make"]
    assert lite["some"] == "SELECT n, word FROM t WHERE n IN (SELECT value FROM json_each(:numbers)) ORDER BY n;"
    assert post["some"] == "SELECT n, word FROM t WHERE n = ANY(%(numbers)s) ORDER BY n;"
    assert (lite["own"], post["own"]) == ("SELECT 'sqlite';", "SELECT 'per cent: %%' || %(name)s;")


@pytest.mark.parametrize("kind", Kind)
def test_a_text_has_the_statements_of_its_leases(tmp_path: Path, kind: Kind) -> None:
    """They name its own table, and leave its last statement as it is."""
    text = tmp_path / "text.sql"
    text.write_text("-- Text.\n-- leases: our_leases\n\n-- name: last\nSELECT 1;\n")
    known = statements(text, kind)
    assert sorted(known) == ["beat", "give_back", "last", "sign", "take"]
    assert known["last"] == "SELECT 1;"
    assert all("our_leases" in known[name] for name in known if name != "last")


def test_many_rows_go_in_by_one_statement(db: Database) -> None:
    """How many were put in is told, however many there are; none is none."""
    assert db.insert("put", [(n, f"w{n}") for n in range(40_000)]) == 40_000
    assert db.insert("put", [(1, "again"), (40_001, "new")]) == 1
    assert db.insert("put", []) == 0
    assert db.rows("some", numbers=db.listed([1, 40_001, 7_000_000])) == [(1, "w1"), (40_001, "new")]


def test_text_is_found_by_its_letters(db: Database) -> None:
    """Text that has one of some letters, of which case matters."""
    db.insert("put", [(1, "aab"), (2, "aAa"), (3, "ccc"), (4, "")])
    assert db.rows("worded", letters=db.having("bA")) == [(1,), (2,)]


def test_a_transaction_is_whole(db: Database) -> None:
    """What was not committed is undone; undoing without a transaction does nothing."""
    db.begin()
    db.insert("put", [(1, "x")])
    assert db.change("name", n=1, name="y") == 1
    db.rollback()
    db.rollback()
    assert db.rows("some", numbers=db.listed([1])) == []
    db.begin(writing=False)
    db.commit()
    assert db.rows("own") == [("sqlite",)]


def test_the_driver_is_python_s_own(tmp_path: Path) -> None:
    """SQLite needs nothing that Python has not."""
    assert driver_of(Place(Kind.SQLITE, tmp_path / "x")) is sqlite3
