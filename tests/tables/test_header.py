"""The two ways of reading a row: the straight one gives what the careful one gives, or nothing."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gotsurge_async.models.tasks import Order
from gotsurge_async.tables.fields import ITEM_KEY, candidate_of
from gotsurge_async.tables.header import Header, Reading, _numbered
from gotsurge_async.tables.options import Dialect, SourceOptions, read_map
from tests.support.order_forms import CELLS, NOW
from tests.tables.kit import plain_table, read

MAPS = (
    "",
    '[constants]\nto_contact.berth_no = "J07"\nclient_timezone = "UTC"\n',
    '[defaults]\nvehicle_preference = "car"\nto_contact.vessel_imo = 9321483\nfrom_contact.name = "Mei"\n',
    '[join]\nto_address.street_address = ["a", "b"]\n[clean]\n"*" = "unquote"\n[numbers]\n"*" = "S$1,234.56"\n',
)
_cells = st.sampled_from(("", " ", "x", "'", "'x", "S$5", "1,200", "91", "2030-03-05T01:00Z", "1e400"))


@given(
    text=st.sampled_from(MAPS),
    left_out=st.sets(st.sampled_from(sorted(CELLS)), max_size=3),
    odd=st.dictionaries(st.sampled_from([*CELLS, "a", "b"]), _cells, max_size=4),
)
@settings(max_examples=60, deadline=None)
def test_both_ways_give_the_same(text: str, left_out: set[str], odd: dict[str, str]) -> None:
    """Where nothing is wrong the straight way gives the very order; where anything is, or is missing, none."""
    column_map = read_map(text.encode(), "m").orders
    names = [name for name in [*CELLS, "a", "b"] if name not in left_out]
    messages: list[Any] = []
    options = SourceOptions(now=NOW)
    reading = Reading(Order, column_map, Dialect(), ITEM_KEY, options)
    header = Header(names, reading, lambda *_: None)
    cells = [{**CELLS, "a": "7", "b": "Way", **odd}[name] for name in names]
    careful = header.read(cells, lambda *wrong: messages.append(wrong))
    try:
        (straight,), _ = header.make([cells])
    except ValueError:
        assert messages or not header.complete
    else:
        assert messages == []
        assert straight == candidate_of(Order)(**careful)


@pytest.mark.parametrize(
    ("text", "key", "name"),
    [
        ('[join]\ndelivery_note_to_driver = ["Date"]\n', ITEM_KEY, "Date"),
        ('ignore = ["*"]\n[join]\ndelivery_note_to_driver = ["Date"]\n', ITEM_KEY, "Date"),
        ('[columns]\nDate = "delivery_note_to_driver"\n', ITEM_KEY, "Date"),
        ('only_rows_with = "Date"\n', ITEM_KEY, "Date"),
        ('ignore = ["Date"]\nonly_rows_with = "Date"\n', ITEM_KEY, "Date"),
        ("", "Date", "Date"),
    ],
)
def test_a_column_that_is_named_and_stands_twice(text: str, key: str, name: str) -> None:
    """It is a fault of the header, with the places of both: the first one is never taken without a word."""
    header = ["Date", *CELLS, "Date"]
    cells = ["01/02/2030", *CELLS.values(), "03/04/2030"]
    result = read(plain_table(header, cells), file_map=read_map(text.encode(), "m.toml"), key=key)
    rules = [fault.rule for fault in result.report.faults if (fault.line, fault.column) == (1, name)]
    assert any(rule.startswith(f"appears twice (columns 1 and {len(header)})") for rule in rules), result.faults


@pytest.mark.parametrize(
    "text",
    [
        '[columns]\nAddress = "to_address.street_address"\n',
        '[join]\nto_address.street_address = ["Address"]\n',
        '[columns]\nAddress = "to_address.street_address"\n[join]\nfrom_address.street_address = ["Address"]\n',
        'ignore = ["*"]\n[join]\nto_address.street_address = ["Address"]\n',
    ],
)
def test_what_to_write_for_a_column_that_stands_twice(text: str) -> None:
    """An entry without a number, in columns or in a join, is a fault that says both names."""
    result = read(
        plain_table(["Address", *CELLS, "Address"], ["a", *CELLS.values(), "b"]),
        file_map=read_map(text.encode(), "m.toml"),
    )
    assert any(
        'in a map, write "Address" for the first and "Address#2" for the second' in fault for fault in result.faults
    ), result.faults


def test_columns_of_one_name_have_numbers_in_a_map() -> None:
    """Pickup and delivery may have equal headers: the second is named with its number, in columns and joins alike."""
    cells = {name: text for name, text in CELLS.items() if not name.endswith("_address.street_address")}
    header = ["Address", *cells, "Address", "Address", "Remark", "Remark"]
    rows = ["1 Pioneer Rd", *cells.values(), "Marina", "South Pier", "x", "y"]
    text = """
        ignore = ["Remark", "Remark#2"]
        [columns]
        "Address" = "from_address.street_address"
        [join]
        to_address.street_address = { columns = ["Address#2", "Address#3"], with = " " }
    """
    order = read(plain_table(header, rows), file_map=read_map(text.encode(), "m.toml")).order
    assert order.from_address.street_address == "1 Pioneer Rd"
    assert order.to_address.street_address == "Marina South Pier"


def test_a_wide_header_is_numbered_in_one_pass() -> None:
    """Thousands of columns of one name are read as fast as they are many."""
    names = ["Address"] * 20_000
    result = _numbered(names, read_map(b'[columns]\n"Address#2" = "tracking_id"', "m.toml").orders)
    assert (result[0], result[1], result[-1]) == ("Address", "Address#2", "Address#20000")


def test_each_of_them_is_named_or_ignored() -> None:
    """A third column of the name that the map does not mention is a fault, and a number that is not there, too."""
    cells = {name: text for name, text in CELLS.items() if name != "to_address.street_address"}
    header, rows = ["Address", *cells, "Address", "Address"], ["a", *cells.values(), "b", "c"]
    text = b'ignore = ["Address"]\n[columns]\n"Address#2" = "to_address.street_address"\n'
    result = read(plain_table(header, rows), file_map=read_map(text, "m.toml"))
    assert any("Address#3: no field has this name" in fault for fault in result.faults), result.faults
    result = read(plain_table(header[:-1], rows[:-1]), file_map=read_map(text.replace(b"#2", b"#3"), "m.toml"))
    assert any("Address#3: the map m.toml takes to_address" in fault for fault in result.faults), result.faults


def test_a_column_that_is_not_read_may_stand_twice() -> None:
    """Nothing of it goes into an order."""
    text = plain_table(["Remark", *CELLS, "Remark"], ["a", *CELLS.values(), "b"])
    assert read(text, file_map=read_map(b'ignore = ["Remark"]', "m.toml")).order


def test_a_column_of_the_items_that_stands_twice(tmp_path: Any) -> None:
    """The file of the items is read as strictly."""
    items = tmp_path / "items.csv"
    items.write_text(plain_table(["tracking_id", "Qty", "Name", "Qty"], ["SHS-1", "1", "a", "2"]), encoding="utf-8")
    text = b'[items]\nignore = ["Name"]\n[items.join]\nquantity = ["Qty"]\n'
    result = read(plain_table(CELLS, CELLS.values()), file_map=read_map(text, "m.toml"), items=items)
    assert any("Qty: appears twice (columns 2 and 4)" in fault for fault in result.faults), result.faults
