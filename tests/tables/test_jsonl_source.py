"""Orders in JSON Lines: the API's own shape, and every fault with its line and path."""

import io
import json
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gotsurge_async import codec
from gotsurge_async.models.tasks import Order
from gotsurge_async.money import Money
from gotsurge_async.tables import SourceOptions, open_source
from gotsurge_async.tables.source import fingerprint_of
from tests.support.order_forms import NOW, items, orders
from tests.support.strategies import models, texts

from .kit import Read, good_json
from .kit import read as read_any


def read(*lines: Any, **options: Any) -> Read:
    """Read lines: bytes as they are, anything else as JSON."""
    encoded = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    return read_any(b"\n".join(encoded), name="orders.jsonl", **options)


def test_a_line_is_an_order() -> None:
    """Money is in thousandths of a cent; the line is kept as it came."""
    line = json.dumps(good_json(items=[{"name": "Rope", "quantity": 2}])).encode()
    (row,) = read(b" " + line + b" \r").rows
    assert (row.line, row.key, row.original) == (1, "SHS-1", line)
    assert row.order.price == Money.of("48.50", "SGD")
    assert row.order.items[0].name == "Rope"
    assert row.payload == codec.encode(codec.decode(line, Order))


@given(orders(), st.lists(items(), max_size=2))
@settings(max_examples=30, deadline=None)
def test_any_order_comes_back_from_a_line(order: Order, its_items: list[Any]) -> None:
    """Order to JSON to order is the identity."""
    tree = {**codec.unstructure(order), "items": [codec.unstructure(item) for item in its_items]}
    result = read(codec.encode(tree))
    assert result.order == codec.structure(json.loads(codec.encode(tree)), Order)
    (row,) = result.rows
    assert row.payload == codec.encode(result.order)
    assert row.fingerprint == fingerprint_of(tree)


def test_a_line_is_sent_as_it_stands() -> None:
    """A whole number stays whole, and an empty list is not left out; what is null is not sent."""
    address = {"city": None, "zip_code": "619110", "latitude": 1, "longitude": 2.0}
    (row,) = read(good_json(to_address=address, items=[], epod={"a": None}, price=None)).rows
    assert b'{"zip_code":"619110","latitude":1,"longitude":2.0}' in row.payload
    assert b'"items":[]' in row.payload
    assert b'"epod":{"a":null}' in row.payload
    assert b"price" not in row.payload


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from((" A ", "1E+12", 200_000, 7.0, 2**64, 10**30, "2030-03-05T01:00Z", "2030-03-05T09:00:00+08:00")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*good_json(), "items", "x"]), inner),
    max_leaves=8,
)


@given(st.binary(max_size=200) | _json.map(lambda value: json.dumps(value).encode()))
@example(b"[" * 100_000)
@example(b'{"a":' * 980 + b"1" + b"}" * 980)
@example(b'{"price":' + b"[" * 960 + b"]" * 960 + b"}")
@example(b'"\\ud800"')
@settings(max_examples=200, deadline=None)
def test_any_bytes_give_rows_or_faults(data: bytes) -> None:
    """Nothing that a file can hold raises; without a row there is something to tell."""
    result = read(data)
    assert result.rows or result.report.fault_count


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from([*good_json(), "items", "epod", "to_contact"]), _json, max_size=3))
@settings(max_examples=200, deadline=None)
def test_any_values_give_a_row_or_faults(changes: dict[str, Any]) -> None:
    """Whatever stands in the fields of a good order, it is an order or it has a fault, and a row can be encoded."""
    result = read(good_json(**changes))
    assert bool(result.rows) is result.report.ok


@given(models(Order), texts)
@settings(max_examples=50, deadline=None)
def test_any_model_gives_a_row_or_faults(order: Order, key: str) -> None:
    """Also with fields that the document does not name; a row is the order that the codec reads from the line."""
    tree = {**codec.unstructure(order), "tracking_id": key}
    result = read(codec.encode(tree))
    assert bool(result.rows) is result.report.ok
    if result.rows:
        assert result.order == codec.decode(codec.encode(tree), Order)
        assert result.rows[0].payload == codec.encode(result.order)


def test_unknown_fields_are_reported_in_their_order() -> None:
    """The same file gives the same report, each time."""
    names = [f"unknown_{number}" for number in range(9)]
    result = read(good_json(**dict.fromkeys(names, 1)))
    assert [column for _, column in result.places] == names


@given(st.integers(850, 1010), st.sampled_from(("price", "epod", "nonsense", "items")))
@settings(max_examples=60, deadline=None)
def test_any_depth_gives_a_row_or_a_fault(depth: int, field: str) -> None:
    """JSON that is nested as deep as can just be read is a fault at worst."""
    deep = b'{"a":' * depth + b"1" + b"}" * depth
    result = read(
        json.dumps(good_json(**{field: 0})).encode().replace(f'"{field}": 0'.encode(), f'"{field}": '.encode() + deep)
    )
    assert bool(result.rows) is result.report.ok


def test_every_fault_is_reported_with_line_and_path() -> None:
    """Blank lines count, several faults of one line are all found, and good lines are rows."""
    result = read(
        good_json(price=48.5, from_contact={"phone": "69411942"}),
        b"",
        good_json(tracking_id="B"),
        good_json(tracking_id="C", items=[{"quantity": 1}, {"quantity": "2"}]),
        b'{"tracking_id": "D"',
        [1],
    )
    assert result.places == [
        (1, "price"),
        (1, "from_contact.phone"),
        (4, "items[1].quantity"),
        (5, None),
        (6, None),
    ]
    assert result.faults[0].startswith(
        'orders.jsonl:1: price: "48.5": expected a whole number of thousandths of a cent'
    )
    assert [(row.line, row.key) for row in result.rows] == [(3, "B")]


SOON = {"start_time_utc": "soon", "end_time_utc": "2030-03-05T04:00:00Z"}
WRONG: list[tuple[dict[str, Any], list[str], str]] = [
    *(({"service_type": none, "from_address": none}, ["from_address", "service_type"], "") for none in (..., None)),
    # A price in dollars is far under the least, and one without a currency is none.
    ({"price": 48}, ["price"], "below the lowest price"),
    ({"price": 100_000_001}, ["price"], "above the limit"),
    ({"currency": ...}, ["price"], "has no currency"),
    ({"price": "48.50"}, ["price"], "thousandths of a cent"),
    # What is right of the line is checked as if the rest were right too.
    (
        {"from_address": {"latitude": "1"}, "service_type": ..., "vehicle_preference": "lory_10ft", "price": 1},
        ["from_address.latitude", "price", "service_type", "vehicle_preference"],
        "",
    ),
    ({"to_time_window": SOON, "to_contact": {"phone": "1"}}, ["to_contact.phone", "to_time_window.start_time_utc"], ""),
    ({"client_time_utc": 1_900_000_000}, ["client_time_utc"], ""),
    # A field that the document does not name, at every level: a misspelt street is as lost as a misspelt price.
    ({"vehicle_pref": 1}, ["vehicle_pref"], 'did you mean "vehicle_preference"'),
    ({"to_address": {"zip_code": "1", "zipcode": "2"}}, ["to_address.zipcode"], 'did you mean "zip_code"'),
    ({"items": [{"qantity": 1}]}, ["items[0].qantity"], 'did you mean "quantity"'),
    ({"extra": 1}, ["extra"], ""),
    ({"x" * 500_000: 1}, ["x" * 199 + "…"], ""),
    # A key is text, as the ledger will know it.
    *(({"tracking_id": key}, ["tracking_id"], "") for key in (..., None, "", "  ", 7, " A", "1.2E+11")),
    ({"invoice_number": "1.23E+12"}, ["invoice_number"], "spreadsheet"),
]


@pytest.mark.parametrize(("changes", "paths", "words"), WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_stands_at_its_path(changes: dict[str, Any], paths: list[str], words: str) -> None:
    """Each fault of a line once, and every one; a field that is null is a field that is not there."""
    result = read(good_json(**changes))
    assert sorted(result.places) == [(1, path) for path in paths]
    assert words in result.faults[0]


@pytest.mark.parametrize(("at", "name"), [("price", "price"), ("street_address", "street_address"), ("x", None)])
def test_a_field_that_a_line_contains_twice_is_a_fault(at: str, name: str | None) -> None:
    """Only the last one would be read, and nobody knows which one is meant; text that repeats a name is no field."""
    line = json.dumps(good_json(delivery_note_to_driver='"price": 1, "price": 2', price=10**6))
    twice = line.replace(f'"{at}": ', f'"{at}": "Pier", "{at}": ' if at != "price" else '"price": 1, "price" : ', 1)
    result = read(twice.encode(), good_json(tracking_id="B"))
    assert result.places == ([(1, None)] if name else [])
    assert name is None or f'contains the field "{name}" twice' in result.faults[0]
    assert [row.key for row in result.rows] == (["B"] if name else ["SHS-1", "B"])


@pytest.mark.parametrize("options", [{}, {"key": "to_address.zip_code"}])
def test_a_key_that_no_ledger_keeps_is_a_fault_like_others(options: dict[str, str]) -> None:
    """Its fault has its line, and later faults are reported, too."""
    result = read(good_json(tracking_id="A\0", to_address={"zip_code": "B\0"}), good_json(price=1), **options)
    assert result.places == [(1, options.get("key", "tracking_id")), (2, "price")]


class TestTimes:
    """Times of JSON Lines."""

    def test_one_without_a_zone_is_read_in_the_zone_of_the_file(self) -> None:
        """It is never taken for UTC."""
        naive = good_json(client_time_utc="2030-03-04T09:00:00")
        assert read(naive, timezone="Asia/Singapore").order.client_time_utc == datetime(2030, 3, 4, 1, tzinfo=UTC)
        result = read(naive)
        assert result.places == [(1, "client_time_utc")]
        assert "--timezone" in result.faults[0]


class TestKey:
    """What tells one order from another."""

    def test_another_field(self) -> None:
        """Also one inside, and one that is not sent."""
        tree = good_json(row="7", to_contact={"berth_no": "J07"})
        (row,) = read(tree, key="row").rows
        assert row.key == "7"
        assert "row" not in json.loads(row.payload)
        (row,) = read(good_json(to_contact={"berth_no": "J07"}), key="to_contact.berth_no").rows
        assert row.key == "J07"


class TestFedBack:
    """Lines that an earlier push wrote."""

    def test_what_was_added_is_taken_off(self) -> None:
        """The order and what is kept of the line are the user's again."""
        (row,) = read({**good_json(), "gs_status": "rejected", "gs_error": "no", "gs_task_id": None}).rows
        assert json.loads(row.original) == good_json()
        assert row.order.extra == {}

    def test_an_order_in_doubt_refuses_the_file(self) -> None:
        """It may exist already."""
        assert read({**good_json(), "gs_status": "in_doubt"}).places == [(1, "gs_status")]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b"\n \n", "the file is empty"),
        (b"tracking_id,price", "--format csv"),
        (b"PK\x03\x04", "workbook"),
        ('{"tracking_id": "é"}'.encode("latin-1"), "UTF-8"),
        (b'{"a": "' + b"x" * (1 << 20) + b'"}', "longer than"),
        (b"null", "is not an order"),
        (b'{"a": NaN}', "is not one JSON object"),
    ],
)
def test_what_is_no_order_is_reported_in_one_fault(data: bytes, words: str) -> None:
    """The fault says what to do."""
    (fault,) = read(data).faults
    assert fault.startswith("orders.jsonl:1: ")
    assert words in fault


def test_a_byte_order_mark_is_skipped() -> None:
    """Some editors write one."""
    assert read(b"\xef\xbb\xbf" + json.dumps(good_json()).encode()).order.tracking_id == "SHS-1"


def test_the_reader_goes_on_after_a_line_that_is_too_long() -> None:
    """Its line counts."""
    result = read(b"x" * (3 << 20), good_json())
    assert result.places == [(1, None)]
    assert [row.line for row in result.rows] == [2]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Ten times the lines need no more memory."""
    peaks = []
    for count in (500, 1_000, 10_000):
        path = tmp_path / f"{count}.jsonl"
        with path.open("w") as file:
            file.writelines(f"{json.dumps(good_json(tracking_id=f'A{number}'))}\n" for number in range(count))
        tracemalloc.start()
        with path.open("rb") as stream, open_source(stream, options=SourceOptions(now=NOW)) as source:
            assert sum(1 for _ in source.rows()) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # The first run also pays for what is made once.
    assert peaks[2] < 1.2 * peaks[1]


def test_a_stream_that_was_given_open_stays_open() -> None:
    """It is not the source's to close."""
    stream = io.BytesIO(json.dumps(good_json()).encode())
    with open_source(stream, options=SourceOptions(now=NOW, format="jsonl")) as source:
        assert len(list(source.rows())) == 1
    assert not stream.closed
