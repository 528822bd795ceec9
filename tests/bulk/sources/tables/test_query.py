"""What a database answers: its rows as orders, its errors as faults, its password nowhere."""

import sqlite3
import sys
from pathlib import Path

import pytest

from gotsurge_async.bulk.sources import Query, SourceOptions, open_source
from gotsurge_async.errors import ConfigError
from tests.bulk.sources.kit import Read
from tests.support.order_forms import CELLS, NOW, good_order


def database(folder: Path, *changes: dict[str, object]) -> str:
    """A SQLite database with a table of orders; its URL."""
    path = folder / "orders of: ours.db"
    with sqlite3.connect(path) as made:
        columns = ", ".join(f'"{name}"' for name in CELLS)
        made.execute(f"CREATE TABLE orders ({columns})")
        marks = ", ".join("?" * len(CELLS))
        for row in changes:
            made.execute(f"INSERT INTO orders VALUES ({marks})", [*{**CELLS, **row}.values()])  # noqa: S608
    made.close()
    return f"sqlite:///{path}"


def asked(sql: str, url: str) -> Read:
    """All rows of an answer."""
    with open_source("db", options=SourceOptions(now=NOW, query=Query(sql=sql, url=url))) as source:
        rows = list(source.rows())
        return Read(rows, source.report, source.columns, source.form)


def test_each_row_is_an_order(tmp_path: Path) -> None:
    """Numbers of the database are read as such, and what looks like a name to fill in is text."""
    url = database(tmp_path, {"price": 48.5, "cargo_net_quantity": 4}, {"tracking_id": "B:x"})
    found = asked("SELECT * FROM orders WHERE tracking_id <> 'B:x' AND '10%' LIKE '10%';", url)
    assert found.order == good_order()
    assert (found.rows[0].line, found.form.format) == (1, "sql")


def test_faults_name_the_row_of_the_answer(tmp_path: Path) -> None:
    """And the column."""
    url = database(tmp_path, {}, {"tracking_id": "B", "price": "x"}, {"tracking_id": "C", "price": b"48.50"})
    assert asked("SELECT * FROM orders", url).places == [(2, "price"), (3, "price")]


def test_nothing_is_written(tmp_path: Path) -> None:
    """A statement that writes is refused by the database, and one that is not there is not made."""
    url = database(tmp_path, {})
    assert "the database says" in asked("DELETE FROM orders", url).faults[0]
    assert len(asked("SELECT * FROM orders", url).rows) == 1
    assert "the database says" in asked("SELECT 1", f"sqlite:///{tmp_path}/no.db").faults[0]
    assert not (tmp_path / "no.db").exists()


def test_the_same_answer_has_the_same_digest(tmp_path: Path) -> None:
    """So that a plan holds a push to the orders that it was made of."""
    url = database(tmp_path, {}, {"tracking_id": "B"})

    def digest(sql: str) -> str | None:
        with open_source("db", options=SourceOptions(now=NOW, query=Query(sql=sql, url=url))) as source:
            list(source.rows())
            return source.sha256

    assert digest("SELECT * FROM orders") == digest("SELECT * FROM orders ORDER BY tracking_id DESC") != None  # noqa: E711
    assert digest("SELECT * FROM orders") != digest("SELECT * FROM orders LIMIT 1")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("orders.db", "is a URL such as"),
        ("nosuch://h/db", "knows no database"),
        ("mysql+pymysql://u:s3cret@h/db", "pip install pymysql"),
    ],
)
def test_a_url_that_cannot_be_right(url: str, words: str) -> None:
    """It is refused before anything is asked, without its password."""
    with pytest.raises(ConfigError, match=words) as raised:
        asked("SELECT 1", url)
    assert "s3cret" not in str(raised.value)


def test_the_password_is_nowhere() -> None:
    """Neither in the name of the source, nor in what is said when the database does not answer."""
    query = Query(sql="SELECT 1", url="postgresql+psycopg://me:s3cret@127.0.0.1:9/db?sslkey=s3cret")
    assert query.name == "postgresql://127.0.0.1:9/db"
    assert "s3cret" not in repr(query)
    found = asked(query.sql, query.url)
    assert "the database says" in found.faults[0]
    assert "s3cret" not in found.faults[0]


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that brings it."""
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(ConfigError, match=r'pip install "gotsurge-async\[sql\]"'):
        asked("SELECT 1", "sqlite://")
