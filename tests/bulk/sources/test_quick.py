"""Rows that are right, read the fast way: the same bytes as the careful way, and the same faults."""

import hashlib
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gotsurge_async.bulk.sources import ColumnMap, FileMap, item_columns, order_columns
from gotsurge_async.bulk.sources.csv_source import CsvSource
from gotsurge_async.bulk.sources.items import ItemStore
from gotsurge_async.bulk.sources.lines import line_blocks
from gotsurge_async.bulk.sources.records import Record, Records
from gotsurge_async.models.tasks import Order
from gotsurge_async.money import Money

from ..kit import CELLS, orders
from .kit import Read, cells_of, plain_table, read, table, write
from .test_lines import Dribble

CONSTANTS = FileMap(orders=ColumnMap(constants={"price": "7.50", "to_address.country": "SG"}))


def read_with_care(data: str, **options: Any) -> Read:
    """Read a file without the fast way."""
    with patch("gotsurge_async.bulk.sources.table.quick_reader", return_value=None):
        return read(data, **options)


@given(orders())
@settings(max_examples=60, deadline=None)
def test_any_order_gives_the_same_bytes(order: Order) -> None:
    """Payload, fingerprint and row are what the models and the codec make of the same cells."""
    text = table(cells_of(order), columns=order_columns())
    assert read(text) == read_with_care(text)


_cells = st.sampled_from(
    ("", " ", "0", "-1", "1e400", "91", "7.5", "0.00001", "SGD", "x", "2030-03-05T01:00Z", "1E+12")
)


@given(
    st.lists(st.tuples(st.sampled_from(list(order_columns())), _cells | st.text(max_size=12)), max_size=4),
    st.sampled_from(({}, {"max_price": Money.of("40", "SGD")}, {"timezone": "Asia/Singapore"})),
)
@example([("currency", "")], {})
@example([("price", ""), ("currency", "")], {})
@example([("to_time_window.start_time_utc", "")], {})
@settings(max_examples=200, deadline=None)
def test_any_cells_give_the_same_rows_and_faults(changes: list[tuple[str, str]], options: dict[str, Any]) -> None:
    """What is wrong is told as if there were no fast way."""
    text = table(dict(changes), {})
    assert read(text, **options) == read_with_care(text, **options)


def test_constants_are_the_same() -> None:
    """What a map gives to every row goes the fast way too."""
    text = table({}, columns=[name for name in CELLS if name != "price"])
    found = read(text, file_map=CONSTANTS)
    assert found.order.to_address.country == "SG"
    assert found == read_with_care(text, file_map=CONSTANTS)


@pytest.mark.parametrize("field", ["price", "from_address.latitude"])
def test_a_column_that_is_a_constant_too_hides_no_fault(field: str) -> None:
    """The cells of a field that the map gives as well are looked at, as without the fast way."""
    options: dict[str, Any] = {"file_map": FileMap(orders=ColumnMap(constants={field: "7.50"}))}
    text = table({field: "seven"})
    found = read(text, **options)
    assert found.places == [(1, field), (2, field)]
    assert found == read_with_care(text, **options)


def test_items_are_the_same(tmp_path: Path) -> None:
    """Also those that stand apart in their file, and of an order that has none."""
    rows = ("tracking_id", "name", "quantity"), ("A", "a1", "2"), ("B", "b1", "2.5"), ("A", "a2", "")
    items = write(tmp_path / "items.csv", plain_table(*rows))
    text = table({"tracking_id": "A"}, {"tracking_id": "B"}, {"tracking_id": "C"})
    with patch.object(ItemStore, "_careful_item", side_effect=AssertionError):
        found = read(text, items=items)
    assert [len(row.order.items) for row in found.rows] == [2, 1, 0]
    assert found == read_with_care(text, items=items)


@given(st.lists(st.tuples(st.sampled_from(list(item_columns())), _cells | st.text(max_size=12)), max_size=4))
@settings(max_examples=100, deadline=None)
def test_any_cells_of_items_give_the_same_rows_and_faults(changes: list[tuple[str, str]]) -> None:
    """An item that says nothing, or something wrong, is told as if there were no fast way."""
    good = {**dict.fromkeys(item_columns(), ""), "tracking_id": "SHS-1", "name": "Rope", "quantity": "2"}
    with tempfile.TemporaryDirectory() as folder:
        rows = good.values(), {**good, **dict(changes)}.values()
        items = write(Path(folder, "items.csv"), plain_table(good, *rows))
        assert read(table({}), items=items) == read_with_care(table({}), items=items)


@pytest.mark.parametrize("file_map", [FileMap(), CONSTANTS])
def test_a_right_row_goes_the_fast_way(file_map: FileMap) -> None:
    """No order is made as a model of it."""
    text = table({}, columns=[name for name in CELLS if name != "price" or file_map != CONSTANTS])
    with patch.object(CsvSource, "_careful_row", side_effect=AssertionError):
        assert read(text, file_map=file_map).faults == []


_pieces = st.sampled_from(
    (b"a", b",", b'"', b'""', b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xc3\xa9", b'"b\nc"', b"PK")
)


@given(st.lists(_pieces, max_size=30).map(b"".join), st.integers(1, 8))
@settings(max_examples=300, deadline=None)
def test_any_bytes_give_the_same_records(data: bytes, few: int) -> None:
    """Records, their lines and their faults do not hang on what was read by blocks, and what with care."""

    def records(*, fast: bool) -> tuple[list[Record], list[tuple[int, str]], int, bool]:
        told: list[tuple[int, str]] = []
        blocks = line_blocks(Dribble(data, few), hashlib.sha256())
        found = Records(blocks, ",", lambda line, rule: told.append((line, rule)))
        with patch.object(Records, "_fast", Records._fast if fast else lambda *_: ()):
            return list(found), told, found.lost, found.stopped

    assert records(fast=True) == records(fast=False)
