"""JSON lines that are right, read the fast way: the same bytes as the careful way, and the same faults."""

import json
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gotsurge_async import codec
from gotsurge_async.bulk.sources.jsonl_source import JsonlSource
from gotsurge_async.models.tasks import Order

from ...strategies import json_values, models, texts
from ..kit import items, orders
from .kit import Read, good_json, read


def read_both(*trees: Any, **options: Any) -> tuple[Read, Read]:
    """Read lines with the fast way, and without it."""
    data = b"\n".join(tree if isinstance(tree, bytes) else json.dumps(tree).encode() for tree in trees)
    found = read(data, name="orders.jsonl", **options)
    with patch.object(JsonlSource, "_quick_row", return_value=None):
        return found, read(data, name="orders.jsonl", **options)


@given(orders(), st.lists(items(), max_size=2))
@settings(max_examples=60, deadline=None)
def test_any_order_gives_the_same_bytes(order: Order, its_items: list[Any]) -> None:
    """Payload, fingerprint and row are what the models and the codec make of the same line."""
    tree = {**codec.unstructure(order), "items": [codec.unstructure(item) for item in its_items]}
    found, careful = read_both(codec.encode(tree))
    assert found == careful


_values = json_values | st.sampled_from(
    ("", " A ", "1E+12", 0, 200_000, -1, 7.0, 2**64, 10**30, "2030-03-05T01:00Z", "2030-03-05T09:00:00+08:00", [], {})
)
_changes = st.dictionaries(st.sampled_from([*good_json(), "items", "cargo_details", "epod", "to_contact"]), _values)


@given(_changes, st.sampled_from(({}, {"key": "invoice_number"}, {"key": "to_address.zip_code"}, {"key": "x"})))
@example({"items": None, "cargo_details": [], "price": None, "currency": ""}, {})
@example({"to_address": {"zip_code": "619110", "latitude": 1, "longitude": None}}, {})
@example({"from_time_window": {"start_time_utc": None, "end_time_utc": "2030-03-05T03:00:00Z"}}, {})
@settings(max_examples=200, deadline=None)
def test_any_values_give_the_same_rows_and_faults(changes: dict[str, Any], options: dict[str, Any]) -> None:
    """What is wrong is told as if there were no fast way."""
    found, careful = read_both(good_json(**changes), good_json(), **options)
    assert found == careful


@given(models(Order), texts, st.booleans())
@settings(max_examples=100, deadline=None)
def test_any_model_gives_the_same_rows_and_faults(order: Order, key: str, unknown: bool) -> None:
    """Also with fields that the document does not name, and values that no check takes."""
    found, careful = read_both(codec.encode({**codec.unstructure(order), "tracking_id": key}), allow_unknown=unknown)
    assert found == careful


@pytest.mark.parametrize("options", [{}, {"key": "invoice_number"}])
def test_a_right_line_goes_the_fast_way(options: dict[str, Any]) -> None:
    """No order is made as a model of it."""
    line = json.dumps(good_json(invoice_number="INV-1", items=[{"name": "Rope", "quantity": 2}])).encode()
    with patch.object(JsonlSource, "_careful_row", side_effect=AssertionError):
        assert read(line, name="orders.jsonl", **options).faults == []
