"""Parquet files: text as text, and every other type as a CSV would have it."""

import datetime as dt
import io
import sys
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from gotsurge_async.bulk.sources import SourceOptions, open_source
from gotsurge_async.errors import ConfigError
from tests.bulk.sources.kit import read
from tests.support.order_forms import CELLS, NOW, good_order
from tests.support.sheets import write_parquet

HEADER = list(CELLS)


def file_of(folder: Path, *changes: dict[str, object], name: str = "orders.parquet") -> Path:
    """A file of the good order, with some cells changed in each row."""
    rows = [[{**CELLS, **row}[name] for name in HEADER] for row in changes]
    return write_parquet(folder / name, [HEADER, *rows])


@pytest.mark.parametrize("name", ["orders.parquet", "orders[1]*?.pq"])
def test_values_of_every_type_are_read(tmp_path: Path, name: str) -> None:
    """Whatever the file is called, for its name is no pattern."""
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
        import hashlib

        assert source.sha256 == hashlib.file_digest(file, "sha256").hexdigest()


def test_text_stays_text(tmp_path: Path) -> None:
    """Zeros in front are nobody's to take away."""
    found = read(file_of(tmp_path, {"to_address.zip_code": "018956"}).read_bytes(), name="orders.parquet")
    assert found.order.to_address.zip_code == "018956"


def test_faults_name_the_row(tmp_path: Path) -> None:
    """The first row is row 1; the header has none."""
    data = file_of(tmp_path, {}, {"tracking_id": "B", "price": "x"}).read_bytes()
    assert read(data, name="orders.parquet").places == [(2, "price")]
    data = write_parquet(tmp_path / "odd.parquet", [["tracking_id", "prise"], ["A", "1"]]).read_bytes()
    assert read(data, name="orders.parquet").places[0] == (None, "prise")


def test_a_list_is_no_cell(tmp_path: Path) -> None:
    """It is a fault of its cell."""
    path = tmp_path / "orders.parquet"
    columns = ", ".join(f"'{text}' AS \"{name}\"" for name, text in CELLS.items() if name != "price")
    with duckdb.connect(":memory:") as database:
        database.execute(f"COPY (SELECT {columns}, [1, 2] AS price) TO '{path}' (FORMAT parquet)")
    found = read(path.read_bytes(), name="orders.parquet")
    assert found.places == [(1, "price")]
    assert "holds a list" in found.faults[0]


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" + b"x" * 200 + b"PAR1", b"a,b\n"])
def test_what_is_no_parquet_is_one_fault(data: bytes) -> None:
    """And never anything else."""
    (fault,) = read(data, name="orders.parquet").faults
    assert "no Parquet file" in fault


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that brings it."""
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(ConfigError, match=r'pip install "gotsurge-async\[parquet\]"'):
        open_source(io.BytesIO(), options=SourceOptions(now=NOW, format="parquet"))
