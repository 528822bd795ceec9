"""Parquet files and queries: text as text, every other type as in a CSV, faults with their rows."""

import datetime as dt
import hashlib
import io
import sqlite3
import struct
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.pretty import pretty_repr

from gotsurge_async.errors import ConfigError
from gotsurge_async.tables import Query, SourceOptions, open_source
from gotsurge_async.tables.formats import typed
from gotsurge_async.tables.formats.typed import _shortest, record_of
from gotsurge_async.tables.options import read_map
from tests.support.order_forms import CELLS, NOW, good_order
from tests.support.sheets import write_parquet
from tests.tables.kit import Read, read

HEADER = list(CELLS)


def file_of(folder: Path, *changes: dict[str, object], name: str = "orders.parquet") -> Path:
    """A file of the good order, with some cells changed in each row."""
    rows = [[{**CELLS, **row}[name] for name in HEADER] for row in changes]
    return write_parquet(folder / name, [HEADER, *rows])


@pytest.mark.parametrize("descriptors", ["/dev/fd", "/where/windows/has/none"])
@pytest.mark.parametrize("name", ["orders.parquet", "orders[1]*?.pq"])
def test_values_of_every_type_are_read(
    tmp_path: Path, name: str, descriptors: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the file is called, for its name is no pattern; also where an open file has no name."""
    monkeypatch.setattr("gotsurge_async.tables.formats.typed._DESCRIPTORS", Path(descriptors))
    typed = {
        "price": Decimal("48.50000"),
        "from_address.latitude": 1.3697,
        "to_contact.vessel_imo": 9074729,
        "cargo_net_quantity": 4.0,
        "from_time_window.start_time_utc": dt.datetime(2030, 3, 5, 1, tzinfo=dt.UTC),
        "from_time_window.end_time_utc": dt.datetime(2030, 3, 5, 3),  # noqa: DTZ001 - a column may have no zone
        "to_address.zip_code": "619110",
    }
    path = file_of(tmp_path, typed, name=name)
    with open_source(path, options=SourceOptions(now=NOW, timezone="UTC", format="parquet")) as source:
        (row,) = source.rows()
        assert row.order == good_order()
        assert row.line == 1
        assert source.form.format == "parquet"
    with path.open("rb") as file:
        assert source.sha256 == hashlib.file_digest(file, "sha256").hexdigest()


def test_text_stays_text(tmp_path: Path) -> None:
    """Zeros in front are nobody's to take away."""
    result = read(file_of(tmp_path, {"to_address.zip_code": "018956"}).read_bytes(), name="orders.parquet")
    assert result.order.to_address.zip_code == "018956"


def test_faults_name_the_row(tmp_path: Path) -> None:
    """The first row is row 1; the header has none."""
    data = file_of(tmp_path, {}, {"tracking_id": "B", "price": "x"}).read_bytes()
    assert read(data, name="orders.parquet").places == [(2, "price")]
    data = write_parquet(tmp_path / "odd.parquet", [["tracking_id", "prise"], ["A", "1"]]).read_bytes()
    assert read(data, name="orders.parquet").places[0] == (None, "prise")


@given(st.floats(width=32))
@example(2908.89990234375)
def test_a_number_of_single_precision_keeps_its_shortest_form(number: float) -> None:
    """It is the same number at its width, and no longer than nine digits."""
    shortest = _shortest(number)
    assert struct.pack("f", shortest) == struct.pack("f", number)
    assert shortest == float(f"{shortest:.9g}") or not abs(number) < 1e38


def test_a_weight_of_single_precision_goes_out_as_it_was_written(tmp_path: Path) -> None:
    """A column of floats of four bytes has no more digits than it was given."""
    path = tmp_path / "orders.parquet"
    columns = ", ".join(f"'{text}' AS \"{name}\"" for name, text in CELLS.items() if name != "from_address.altitude")
    with duckdb.connect(":memory:") as database:
        made = f'SELECT {columns}, 2908.9::FLOAT AS "from_address.altitude"'
        database.execute(f"COPY ({made}) TO '{path}' (FORMAT parquet)")
    assert read(path.read_bytes(), name="orders.parquet").order.from_address.altitude == 2908.9


def test_a_whole_number_in_a_float_is_the_key_without_a_point(tmp_path: Path) -> None:
    """A column of ids of which some are missing is often made one of floats; it is a fault once digits are lost."""
    rows = [{"tracking_id": key, "invoice_number": f"{key:.0f}"} for key in (2.0**53 - 1, 2.0**53, 1e16, 1e15)]
    result = read(file_of(tmp_path, *rows).read_bytes(), name="orders.parquet")
    assert [row.key for row in result.rows] == ["9007199254740991", "1000000000000000"]
    assert result.places == [(2, "tracking_id"), (3, "tracking_id")]


def test_an_amount_may_have_zeros_without_a_meaning(tmp_path: Path) -> None:
    """Some programs write every number with eighteen decimals."""
    result = read(file_of(tmp_path, {"price": "48.500000000000000000"}).read_bytes(), name="orders.parquet")
    assert result.order == good_order()


def test_a_number_that_is_none_is_no_text(tmp_path: Path) -> None:
    """Some programs write NaN for a missing value: a fault of a field, and nothing in a column that is not read."""
    row = {name: float("nan") for name in ("invoice_number", "from_address.latitude", "client_time_utc")}
    result = read(file_of(tmp_path, row).read_bytes(), name="orders.parquet")
    assert result.places == [(1, "invoice_number"), (1, "from_address.latitude"), (1, "client_time_utc")]
    assert "is NaN or infinite" in result.faults[0]
    rows = [[*CELLS, "score"], [*CELLS.values(), float("inf")]]
    data = write_parquet(tmp_path / "more.parquet", rows).read_bytes()
    assert read(data, name="o.parquet", file_map=read_map(b'ignore = ["score"]', "m.toml")).order == good_order()


@pytest.mark.parametrize("number", [*map(Decimal, ("NaN", "sNaN", "-Infinity")), float("inf")])
def test_a_number_that_is_not_finite_is_marked_in_any_type(number: Any) -> None:
    """A decimal, as a numeric of PostgreSQL, is like a float; a finite one may be greater than any float."""
    record = record_of(1, ["a", number, Decimal("1e400")], lambda *_: None)
    assert record is not None
    assert list(record.shown or ()) == [1]
    assert not record.damaged


def test_a_list_is_no_cell(tmp_path: Path) -> None:
    """It is a fault of its cell."""
    path = tmp_path / "orders.parquet"
    columns = ", ".join(f"'{text}' AS \"{name}\"" for name, text in CELLS.items() if name != "price")
    with duckdb.connect(":memory:") as database:
        database.execute(f"COPY (SELECT {columns}, [1, 2] AS price) TO '{path}' (FORMAT parquet)")
    result = read(path.read_bytes(), name="orders.parquet")
    assert result.places == [(1, "price")]
    assert "holds a list" in result.faults[0]


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" + b"x" * 200 + b"PAR1", b"a,b\n"])
def test_what_is_no_parquet_is_one_fault(data: bytes) -> None:
    """No other error comes out."""
    (fault,) = read(data, name="orders.parquet").faults
    assert "not a Parquet file" in fault


def test_a_parquet_file_with_too_many_rows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It states how many it has."""
    data = file_of(tmp_path, {}, {}, {}).read_bytes()
    monkeypatch.setattr(typed, "MOST_LINES", 2)
    (fault,) = read(data, name="orders.parquet").faults
    assert fault.startswith("orders.parquet: has 3 rows, but at most ")


# --- queries ---


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


def read_query(sql: str, url: str) -> Read:
    """All rows of an answer."""
    with open_source("db", options=SourceOptions(now=NOW, query=Query(sql=sql, url=url))) as source:
        rows = list(source.rows())
        return Read(rows, source.report, source.columns, source.form)


def test_each_row_is_an_order(tmp_path: Path) -> None:
    """Numbers of the database are read as such, and what looks like a name to fill in is text."""
    url = database(tmp_path, {"price": 48.5, "cargo_net_quantity": 4}, {"tracking_id": "B:x"})
    result = read_query("SELECT * FROM orders WHERE tracking_id <> 'B:x' AND '10%' LIKE '10%';", url)
    assert result.order == good_order()
    assert (result.rows[0].line, result.form.format) == (1, "sql")


def test_faults_name_the_row_of_the_answer(tmp_path: Path) -> None:
    """And the column."""
    url = database(tmp_path, {}, {"tracking_id": "B", "price": "x"}, {"tracking_id": "C", "price": b"48.50"})
    assert read_query("SELECT * FROM orders", url).places == [(2, "price"), (3, "price")]


def test_an_answer_with_too_many_rows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are counted, as no answer states their number."""
    url = database(tmp_path, {}, {"tracking_id": "B"}, {"tracking_id": "C"})
    monkeypatch.setattr(typed, "MOST_LINES", 2)
    assert read_query("SELECT * FROM orders", url).faults[0].endswith(": split it, and push the parts")


def test_nothing_is_written(tmp_path: Path) -> None:
    """A statement that writes is refused by the database, and one that is not there is not made."""
    url = database(tmp_path, {})
    assert "the database says" in read_query("DELETE FROM orders", url).faults[0]
    assert len(read_query("SELECT * FROM orders", url).rows) == 1
    assert "the database says" in read_query("SELECT 1", f"sqlite:///{tmp_path}/no.db").faults[0]
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
        ("orders.db", "must be a URL such as"),
        ("nosuch://h/db", "does not know this kind of database"),
        ("mysql+pymysql://u:s3cret@h/db", "pip install pymysql"),
    ],
)
def test_a_url_that_cannot_be_right(url: str, words: str) -> None:
    """It is refused before anything is asked, without its password."""
    with pytest.raises(ConfigError, match=words) as raised:
        read_query("SELECT 1", url)
    assert "s3cret" not in str(raised.value)


def test_the_password_is_nowhere() -> None:
    """Neither in the name of the source, nor in what is said when the database does not answer."""
    query = Query(sql="SELECT 1", url="postgresql+psycopg://me:s3cret@127.0.0.1:9/db?sslkey=s3cret")
    assert query.name == "postgresql://127.0.0.1:9/db"
    assert "s3cret" not in repr(query)
    assert "s3cret" not in pretty_repr(query)
    result = read_query(query.sql, query.url)
    assert "the database says" in result.faults[0]
    assert "s3cret" not in result.faults[0]


@pytest.mark.parametrize(
    ("library", "extra", "options"),
    [
        ("duckdb", "parquet", {"format": "parquet"}),
        ("sqlalchemy", "sql", {"query": Query(sql="SELECT 1", url="sqlite://")}),
    ],
)
def test_a_missing_library_is_named(
    library: str, extra: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=rf'pip install "gotsurge-async\[{extra}\]"'):
        open_source(io.BytesIO(), options=SourceOptions(now=NOW, **options))
