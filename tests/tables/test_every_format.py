"""Any table in any format and dialect: read back equal, or faults at the right places; never anything else."""

import csv
import random
import re
import sqlite3
import tempfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gotsurge_async import codec
from gotsurge_async.models.tasks import Order
from gotsurge_async.tables import Query, SourceOptions, open_source
from gotsurge_async.tables.fields import columns_of
from gotsurge_async.tables.options import read_map
from gotsurge_async.tables.source import fingerprint_of
from tests.support.order_forms import CELLS, NOW, orders
from tests.support.sheets import csv_bytes, ods_bytes, write_parquet, xls_bytes, xlsx_bytes

from .kit import Read, cells_of, read

Rows = list[list[Any]]
Reader = Callable[..., tuple[Read, int]]
"""Writes rows in a format, and reads that: what was read, and the line of the first row below the header."""


def _csv(**dialect: Any) -> Reader:
    above, encoding = dialect.get("above", ""), dialect.get("encoding", "utf-8")
    said = {"delimiter": dialect.get("delimiter") if not above else None}
    if "utf" not in encoding:
        said["encoding"] = encoding

    def reader(rows: Rows) -> tuple[Read, int]:
        return read(csv_bytes(rows, **dialect), **said), 2 + above.count("\n")

    return reader


def _book(make: Callable[..., bytes], name: str) -> Reader:
    def reader(rows: Rows, **options: Any) -> tuple[Read, int]:
        return read(make([[cell or None for cell in row] for row in rows]), name=name, **options), 2

    return reader


def _parquet(rows: Rows, **options: Any) -> tuple[Read, int]:
    with tempfile.TemporaryDirectory() as folder:
        data = write_parquet(Path(folder) / "t.parquet", rows).read_bytes()
    return read(data, name="t.parquet", **options), 1


def _query(rows: Rows, **options: Any) -> tuple[Read, int]:
    with tempfile.TemporaryDirectory() as folder:
        with sqlite3.connect(f"{folder}/t.db") as made:
            columns = ", ".join(f'"{name}"' for name in rows[0])
            made.execute(f"CREATE TABLE t ({columns})")
            made.executemany(f"INSERT INTO t VALUES ({', '.join('?' * len(rows[0]))})", rows[1:])  # noqa: S608
        made.close()
        query = Query(sql="SELECT * FROM t", url=f"sqlite:///{folder}/t.db")
        with open_source("t", options=SourceOptions(now=NOW, query=query, **options)) as source:
            return Read(list(source.rows()), source.report, source.columns, source.form), 1


READERS: dict[str, Reader] = {
    "csv": _csv(),
    "semicolons, mark, unix": _csv(delimiter=";", encoding="utf-8-sig", end="\n", quoting=csv.QUOTE_ALL),
    "tabs in utf-16": _csv(delimiter="\t", encoding="utf-16", end="\r\n"),
    "all quoted, packed": _csv(quoting=csv.QUOTE_ALL, packed=True, end="\n"),
    "sep= in utf-32": _csv(delimiter="|", encoding="utf-32", above="sep=|\r\n"),
    "old macintosh in cp1252": _csv(encoding="cp1252", end="\r", quoting=csv.QUOTE_ALL),
    "chinese": _csv(encoding="gb18030", delimiter=";"),
    "xlsx": _book(xlsx_bytes, "t.xlsx"),
    "xls": _book(xls_bytes, "t.xls"),
    "ods": _book(ods_bytes, "t.ods"),
    "parquet": _parquet,
    "query": _query,
}


_NO_XML = re.compile(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|_x[0-9A-F]{4}_")


def held(form: str, cell: str) -> str:
    """What of a text this format can hold."""
    if form == "old macintosh in cp1252":
        cell = cell.encode("cp1252", errors="replace").decode("cp1252")
    elif form in ("xlsx", "xls", "ods"):
        cell = " ".join(_NO_XML.sub("?", cell).split()).lstrip("=") or "?" if cell else ""
    return cell


_drawn = st.lists(orders(), min_size=1, max_size=3, unique_by=lambda order: order.tracking_id)


def come_back(form: str, drawn: list[Order]) -> None:
    """Orders to a table to orders is the identity, as far as the format can hold their texts."""
    names = list(columns_of(Order))
    rows = [[held(form, cells_of(order)[name]) for name in names] for order in drawn]
    result, first = READERS[form]([names, *rows])
    plain = read(csv_bytes([names, *rows]))
    assert result.faults == plain.faults == []
    assert [row.payload for row in result.rows] == [row.payload for row in plain.rows]
    if form == "csv":
        assert [row.payload for row in result.rows] == [codec.encode(order) for order in drawn]
        assert [row.fingerprint for row in result.rows] == [fingerprint_of(codec.unstructure(order)) for order in drawn]
    if form in ("csv", "parquet", "query", "tabs in utf-16", "chinese"):
        assert [row.order for row in result.rows] == drawn
    if form in ("xlsx", "xls", "ods", "parquet", "query"):
        assert [row.line for row in result.rows] == list(range(first, first + len(drawn)))


@pytest.mark.parametrize("form", READERS)
@given(drawn=_drawn)
@settings(max_examples=3, deadline=None)
def test_orders_come_back(form: str, drawn: list[Order]) -> None:
    """What is written in any format is read back."""
    come_back(form, drawn)


@pytest.mark.slow
@pytest.mark.parametrize("form", READERS)
@given(drawn=_drawn)
@settings(max_examples=30, deadline=None)
def test_many_orders_come_back(form: str, drawn: list[Order]) -> None:
    """What is written in any format is read back, whatever it is."""
    come_back(form, drawn)


_odd = st.text(max_size=8) | st.sampled_from(
    ("", " ", "x", "1,5", "S$5", "1e400", "2030-03-05", "=1+1", "#N/A", "9.10", "nan", "true", '"', "a\nb", "\ufeff")
)


@pytest.mark.parametrize("form", READERS)
@given(place=st.sampled_from(sorted(CELLS)), cell=_odd, row=st.integers(0, 2))
@settings(max_examples=5, deadline=None)
def test_a_fault_stands_in_its_cell(form: str, place: str, cell: str, row: int) -> None:
    """Whatever one cell contains: its faults name its row, and the other rows are read."""
    rows = [
        list({**CELLS, "tracking_id": f"T-{number}", "invoice_number": f"I-{number}"}.values()) for number in range(3)
    ]
    rows[row][list(CELLS).index(place)] = held(form, cell)
    result, first = READERS[form]([list(CELLS), *rows])
    lines = {fault.line for fault in result.report.faults}
    if form in ("xlsx", "xls", "ods", "parquet", "query"):
        assert lines <= {first + row}
    assert len(result.rows) >= 2 or result.report.fault_count


_EUROPEAN = '[numbers]\ntotal_item_weight = "1.234,56"\n'


@pytest.mark.parametrize("form", ["xlsx", "xls", "ods", "parquet", "query"])
@pytest.mark.parametrize(
    ("rules", "column"),
    [
        ('[clean]\n"*" = ["spaces", "unquote"]\n', "total_item_weight"),
        ('[clean]\ntotal_item_weight = ["upper", "pad6"]\n', "total_item_weight"),
        ('[join]\ntotal_item_weight = ["Net", "Tare"]\n', "Net"),
    ],
)
def test_a_typed_number_stays_one(rules: str, column: str, form: str) -> None:
    """A number that a map cleans or joins is not read as people in its country write numbers."""
    file_map = read_map(f"{_EUROPEAN}{rules}".encode(), "m.toml")
    cells = {**CELLS, "total_weight_unit": "kg", "Tare": None, column: 2.125}
    rows: Rows = [[name for name in cells if name != "Tare" or "join" in rules]]
    rows.append([cells[name] for name in rows[0]])
    assert READERS[form](rows, file_map=file_map)[0].order.total_item_weight == 2.125


def test_a_typed_number_joined_with_text_is_a_fault() -> None:
    """The decimals of the number would become thousands. A number that is text is read by its sample."""
    rules = '[join]\ntotal_item_weight = ["Net", "Unit"]\n'
    file_map = read_map(f"{_EUROPEAN.replace('56', '56 kg')}{rules}".encode(), "m.toml")
    cells = {**CELLS, "total_weight_unit": "kg", "Net": 2.125, "Unit": "kg"}
    rows: Rows = [[*cells], [*cells.values()], [*{**cells, "tracking_id": "B", "Net": "2,125"}.values()]]
    result, _ = READERS["xlsx"](rows, file_map=file_map)
    assert result.places == [(2, "Net + Unit")]
    assert [row.order.total_item_weight for row in result.rows] == [2.125]


@pytest.mark.parametrize("form", ["xlsx", "xls", "ods", "parquet", "query"])
@pytest.mark.parametrize(("sample", "number"), [("S$1,234.56", 2.125), ("S$1,234.56", 120), ("S$1.234,56", 120)])
def test_a_typed_number_joined_with_its_currency_is_read_by_a_sample(sample: str, number: float, form: str) -> None:
    """The sample has the currency, and the decimals of the number are no thousands for it."""
    rules = f'[join]\nprice = {{ columns = ["Cur", "Fare"], with = "" }}\n[numbers]\nprice = "{sample}"\n'
    cells = {name: cell for name, cell in CELLS.items() if name != "price"} | {"Cur": "S$", "Fare": number}
    rows: Rows = [[*cells], [*cells.values()]]
    order = READERS[form](rows, file_map=read_map(rules.encode(), "m.toml"))[0].order
    assert order.price is not None
    assert order.price.amount == Decimal(str(number))


@pytest.mark.parametrize("ending", ["xlsx", "xls", "ods", "parquet", "csv", "csv.gz", "jsonl"])
@given(st.binary(max_size=300))
@example(b"PK\x05\x06" + bytes(18))
@settings(max_examples=5, deadline=None)
def test_any_bytes_are_rows_or_faults(ending: str, data: bytes) -> None:
    """Nothing that a file can hold raises."""
    result = read(data, name=f"t.{ending}")
    assert result.rows or result.report.fault_count or result.report.warning_count


@pytest.mark.parametrize("ending", ["xlsx", "xls", "ods", "csv.gz"])
@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_file_is_rows_or_faults(ending: str, seed: int) -> None:
    """Some bytes of a good file are others."""
    chance = random.Random(seed)
    rows = [list(CELLS), list(CELLS.values())]
    make: dict[str, Callable[[Any], bytes]] = {
        "xlsx": xlsx_bytes,
        "xls": xls_bytes,
        "ods": ods_bytes,
        "csv.gz": lambda rows: csv_bytes(rows, packed=True),
    }
    data = bytearray(make[ending](rows))
    for _ in range(chance.randint(1, 8)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    if chance.random() < 0.3:
        del data[chance.randrange(len(data)) :]
    result = read(bytes(data), name=f"t.{ending}")
    assert result.rows or result.report.fault_count or result.report.warning_count
