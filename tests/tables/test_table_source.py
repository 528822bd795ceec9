"""Orders in a CSV file: every value, and every fault at its place."""

import csv
import hashlib
import io
import json
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gotsurge_async import codec
from gotsurge_async.models.rules import check_order
from gotsurge_async.models.tasks import Order
from gotsurge_async.money import Money
from gotsurge_async.tables import SourceOptions, SourceReport, open_source
from gotsurge_async.tables import table as table_module
from gotsurge_async.tables.fields import candidate_of, columns_of, required_of
from gotsurge_async.tables.header import Header
from gotsurge_async.tables.options import read_map
from gotsurge_async.tables.source import STAND_INS
from tests.support.order_forms import CELLS, NOW, good_order

from .kit import read, table

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_a_row_is_an_order() -> None:
    """Text, numbers, money, times and nested objects are read; the row carries all that a push needs."""
    result = read(table({}))
    assert result.order == good_order()
    (row,) = result.rows
    assert (row.line, row.key) == (2, "SHS-1")
    assert row.payload == codec.encode(good_order())
    assert result.columns == tuple(CELLS)
    assert json.loads(row.original) == list(CELLS.values())
    assert len(row.fingerprint) == 16


def test_the_examples_have_no_fault() -> None:
    """The files that the README pushes are read whole, without a fault or a warning."""
    options = SourceOptions(now=NOW, items=EXAMPLES / "items.csv")
    with open_source(EXAMPLES / "orders.csv", options=options) as source:
        rows = list(source.rows())
        assert source.report == SourceReport()
    assert len(rows) == 500
    assert all(row.order.items for row in rows)
    assert len({row.fingerprint for row in rows}) == 500


_bytes = st.binary(max_size=400) | st.lists(
    st.sampled_from(
        [*(name.encode() for name in CELLS), b",", b'"', b"\n", b"\r", b"\0", b"\xff", b"2030-03-05T01:00:00Z"]
    )
).map(b"".join)


@given(_bytes)
@example(b'"')
@example(b"\xef\xbb")
@example(b"tracking_id\n\r\n\r")
@settings(max_examples=200, deadline=None)
def test_any_bytes_give_rows_or_faults(data: bytes) -> None:
    """Nothing that a file can hold raises; without a row there is something to tell."""
    result = read(data)
    assert result.rows or result.report.fault_count or result.report.warning_count


_cells = st.sampled_from(
    ("", " ", "0", "-1", "1e400", "91", "7.5", "0.00001", "SGD", "x", "2030-03-05T01:00Z", "1E+12")
)


@given(st.lists(st.tuples(st.sampled_from(list(columns_of(Order))), _cells | st.text(max_size=12)), max_size=4))
@example([("price", ""), ("currency", "")])
@example([("to_time_window.start_time_utc", "")])
@settings(max_examples=200, deadline=None)
def test_any_cells_give_a_row_or_faults(changes: list[tuple[str, str]]) -> None:
    """Whatever is written into the cells of a good row, it is an order or it has a fault."""
    result = read(table(dict(changes)))
    if result.rows:
        assert result.rows[0].payload == codec.encode(result.order)
    assert bool(result.rows) is result.report.ok


_odd = st.tuples(st.sampled_from(list(columns_of(Order))), _cells)
_lines = st.lists(
    st.lists(_odd, max_size=1).map(dict) | st.sampled_from(('"x"y', "a,b", "", "\udcff")), min_size=1, max_size=9
)


@given(lines=_lines, block=st.integers(1, 4), any_date=st.booleans(), limit=st.sampled_from((None, "0.00", "48.50")))
@settings(max_examples=75, deadline=None)
def test_rows_by_columns_are_rows_one_by_one(
    lines: list[dict[str, str] | str], block: int, any_date: bool, limit: str | None
) -> None:
    """Where a block of rows is taken as good, the careful way takes each; faults are the same, in the same order."""
    changes = [line if isinstance(line, dict) else {} for line in lines]
    header, *texts = table(*[{"tracking_id": f"A-{n}", **each} for n, each in enumerate(changes)]).splitlines()
    whole = [text if isinstance(line, dict) else line for line, text in zip(lines, texts, strict=True)]
    data = "\n".join([header, *whole]).encode(errors="surrogateescape")
    options = {"any_date": any_date, "max_price": None if limit is None else Money.of(limit, "SGD")}
    with patch.object(table_module, "BLOCK", block):
        quick = read(data, **options)
        with patch.object(Header, "make", side_effect=ValueError):
            careful = read(data, **options)
    assert (quick.rows, quick.faults) == (careful.rows, careful.faults)
    assert list(map(str, quick.report.warnings)) == list(map(str, careful.report.warnings))


def test_five_faults_give_five_lines() -> None:
    """Every fault of the file is reported, with file, line, column, value and rule, also two in one row."""
    result = read(
        table(
            {"tracking_id": "A", "price": "1,50"},
            {"tracking_id": "B", "to_contact.vessel_imo": "9074728", "from_contact.phone": "69411942"},
            {"tracking_id": "C"},
            {"tracking_id": "D", "from_time_window.end_time_utc": "2030-03-05 03:00"},
            {"tracking_id": "E", "vehicle_preference": "lory_10ft"},
        )
    )
    assert result.faults[0] == 'orders.csv:2: price: "1,50": write an amount as a decimal number, such as 48.50'
    assert sorted(result.places) == [
        (2, "price"),
        (3, "from_contact.phone"),
        (3, "to_contact.vessel_imo"),
        (5, "from_time_window.end_time_utc"),
        (6, "vehicle_preference"),
    ]
    assert [row.key for row in result.rows] == ["C"]


WINDOW, DELIVERY = "from_time_window.{}_time_utc".format, "to_time_window.{}_time_utc".format
WRONG: list[tuple[str, dict[str, str], list[str], str]] = [
    ("the object of which nothing is given", {"to_address.zip_code": ""}, ["to_address"], ""),
    ("half a window", {WINDOW("start"): ""}, [WINDOW("start")], ""),
    ("half an optional window", {DELIVERY("end"): " "}, [DELIVERY("end")], ""),
    ("nothing required", {"service_type": ""}, ["service_type"], ""),
    ("no key", {"tracking_id": ""}, ["tracking_id"], ""),
    ("an amount without a currency", {"currency": ""}, ["price"], ""),
    ("a wrong cell is not missing as well", {WINDOW("start"): "soon", WINDOW("end"): "late"}, ["start", "end"], ""),
    ("amounts beside a wrong currency are not wrong as well", {"currency": "sgd"}, ["currency"], ""),
    (
        "a wrong optional value hides no check of the order",
        {"cargo_net_quantity": "4.0", DELIVERY("end"): "2030-03-05T01:00:00Z"},
        ["cargo_net_quantity", DELIVERY("end")],
        "",
    ),
    (
        "a wrong required value hides none",
        {WINDOW("start"): "yesterday", "to_address.zip_code": "", "service_type": "ftll", "price": "0.50"}
        | {DELIVERY("start"): "2030-03-05T07:00:00Z"},
        [WINDOW("start"), "price", "service_type", "to_address", DELIVERY("end")],
        "",
    ),
    ("a NUL would reach the service", {"from_contact.phone": "+65\0"}, ["from_contact.phone"], ""),
    ("a spreadsheet has made one of many keys", {"tracking_id": "1.23E+12"}, ["tracking_id"], "spreadsheet"),
    *(
        (f"an error of a spreadsheet, {error}", {"group_tag": error}, ["group_tag"], "an error of the spreadsheet")
        for error in (
            "#N/A",
            " #REF!",
            "#DIV/0!",
            "#NAME?",
            "#NV",
            "#BEZUG!",
            "#¡REF!",
            "#GETTING_DATA",
            "Err:502",
            "#####",
        )
    ),
    ("and of invoice numbers", {"invoice_number": "1.23E+12"}, ["invoice_number"], "spreadsheet"),
    *(
        (f"keys that look the same, by {mark!r}", {"tracking_id": f"A{mark}1"}, ["tracking_id"], "invisible")
        for mark in ("\u200b", "\u00a0", "\u202c", "\n", "\ufe0f", "\u034f", "\u2800", "\u3164")
    ),
    ("an accent apart from its letter", {"tracking_id": "CAFE\u0301"}, ["tracking_id"], "normal form"),
]


@pytest.mark.parametrize(("cells", "columns", "words"), [each[1:] for each in WRONG], ids=[each[0] for each in WRONG])
def test_what_is_wrong_stands_at_its_columns(cells: dict[str, str], columns: list[str], words: str) -> None:
    """Each fault of a row once, and every one."""
    result = read(table(cells))
    names = [WINDOW(name) if name in ("start", "end") else name for name in columns]
    assert sorted(result.places, key=str) == sorted(((2, name) for name in names), key=str)
    assert words in result.faults[0]


def test_what_only_looks_like_an_error_of_a_spreadsheet_is_text() -> None:
    """People write number signs, also in keys and before units; and a column that is not read may have errors."""
    texts = ["#URGENT!", "#VIP?", "#NA", "####", "#1!", "#N/A?", "Err:50"]
    rows = [{"tracking_id": f"#NV{number}", "group_tag": text, "more": "#N/A"} for number, text in enumerate(texts)]
    rows[0]["to_address.street_address"] = "#04-12"
    result = read(table(*rows), file_map=read_map(b'ignore = ["more"]', "m.toml"))
    assert result.faults == []
    assert [row.order.group_tag for row in result.rows] == texts


def test_a_byte_order_mark_is_not_part_of_the_first_column() -> None:
    """Excel writes one before UTF-8."""
    assert read(b"\xef\xbb\xbf" + table({}).encode()).columns == tuple(CELLS)


@pytest.mark.parametrize(("delimiter", "option"), [(";", ";"), ("\t", "tab"), ("\t", "\\t"), ("|", "|")])
def test_other_delimiters(delimiter: str, option: str) -> None:
    """The delimiter is the user's; the wrong one is reported from the header alone."""
    text = table({}, delimiter=delimiter)
    assert read(text, delimiter=option).order == good_order()
    (fault,) = read(text).faults
    assert "--delimiter" in fault
    assert fault.startswith("orders.csv:1: ")


def test_a_tsv_file_is_separated_by_tabs() -> None:
    """Its ending says so."""
    assert read(table({}, delimiter="\t"), name="orders.tsv").order == good_order()


def test_white_space_around_a_cell_is_not_part_of_it() -> None:
    """A blank that nobody sees makes no other key and no fault."""
    assert (
        read(table({"tracking_id": " SHS-1\u00a0", "price": " 48.50 ", "pickup_note_to_driver": "  "})).order
        == good_order()
    )


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b"\n\n  \n", "the file is empty"),
        (b"PK\x03\x04rest\nmore", "is a workbook"),
        (b"\xd0\xcf\x11\xe0rest", "is a workbook"),
        (b"\x1f\x8b\x08", "incomplete"),
        ("tracking_id,price\n".encode("utf-16-le"), "NUL"),
        ("tracking_id,Größe\n".encode("latin-1"), "UTF-8"),
        (b'{"tracking_id": "A"}', "--format jsonl"),
        (b"x" * (1 << 20) + b"y\n", "longer than"),
    ],
)
def test_what_is_no_table_is_reported_in_one_fault(data: bytes, words: str) -> None:
    """The first line of a file that is something else says what to do, and no more."""
    result = read(data)
    (fault,) = result.faults
    assert words in fault
    assert result.rows == []


def test_a_header_alone_is_a_warning() -> None:
    """No order is no fault, but hardly meant."""
    result = read(table(columns=CELLS))
    assert result.faults == []
    assert [str(warning) for warning in result.report.warnings] == ["orders.csv:1: there is no row below the header"]


def test_bytes_of_another_encoding_are_reported_with_line_and_column() -> None:
    """The reader goes on behind them, and finds the next fault."""
    rows = table({"from_address.street_address": "Rue Orfèvres"}, {"tracking_id": "B", "price": "x"})
    result = read(rows.encode("latin-1"))
    assert result.places == [(2, "from_address.street_address"), (3, "price")]
    assert "UTF-8" in result.faults[0]


class TestKey:
    """What tells one order from another."""

    def test_another_field(self) -> None:
        """A field of the order can be the key."""
        (row,) = read(table({}), key="invoice_number").rows
        assert row.key == "INV-1"

    def test_a_column_that_is_no_field(self) -> None:
        """A column of the user's own can be the key; it is not sent."""
        (row,) = read(table({"Order No": "77", "tracking_id": ""}), key="Order No").rows
        assert row.key == "77"
        assert row.order.tracking_id is None
        assert b"77" not in row.payload

    def test_a_key_column_that_is_not_there(self) -> None:
        """Without a key no order can be reported from another."""
        result = read(table({}, columns=[name for name in CELLS if name != "tracking_id"]))
        assert result.places == [(1, "tracking_id")]
        assert "--key" in result.faults[0]


class TestFedBack:
    """Files that an earlier push wrote."""

    def test_the_added_columns_are_not_the_users(self) -> None:
        """They are taken, and left out of what is kept."""
        result = read(table({"gs_task_id": "", "gs_status": "rejected", "gs_error": "HTTP 422"}))
        assert result.order == good_order()
        assert result.columns == tuple(CELLS)
        assert json.loads(result.rows[0].original) == list(CELLS.values())

    def test_an_order_in_doubt_refuses_the_file(self) -> None:
        """It may exist already: sent again it would be a second driver."""
        result = read(table({"gs_status": "in_doubt"}, {"tracking_id": "B", "gs_status": "unprocessed"}))
        assert result.places == [(2, "gs_status")]
        assert "resolve" in result.faults[0]


def test_naive_times_are_read_in_the_zone_of_the_file() -> None:
    """09:00 in Singapore is 01:00 in UTC; without a zone such a time is a fault."""
    cells = {"from_time_window.start_time_utc": "2030-03-05 09:00"}
    assert read(table(cells), timezone="Asia/Singapore").order.from_time_window.start_time_utc == datetime(
        2030, 3, 5, 1, tzinfo=UTC
    )
    (fault,) = read(table(cells)).faults
    assert "--timezone" in fault


def test_the_limit_of_the_price_can_be_raised() -> None:
    """A price above 1000 needs the user's word."""
    (fault,) = read(table({"price": "1500"})).faults
    assert 'price: "1500": SGD 1500.00 is above the limit of SGD 1000.00' in fault
    assert read(table({"price": "1500"}), max_price=Money.of("2000", "SGD")).order.price == Money.of("1500", "SGD")


def test_every_required_field_has_a_stand_in_that_is_right() -> None:
    """An order of stand-ins alone has no fault."""
    assert STAND_INS.keys() == required_of(Order)
    assert [each.path for each in check_order(candidate_of(Order)(**STAND_INS), now=NOW)] == [
        "from_time_window.end_time_utc"
    ]


def test_a_pickup_that_is_over_is_a_warning_and_the_order_a_row() -> None:
    """A warning does not stop anything."""
    result = read(table({}), now=datetime(2031, 1, 1, tzinfo=UTC))
    assert len(result.rows) == result.report.warning_count == 1


def test_the_fingerprint_tells_the_same_trip_under_another_key() -> None:
    """It hangs on places, windows and invoice, and on nothing else."""
    first, same, other = read(
        table({}, {"tracking_id": "B", "price": "50"}, {"tracking_id": "C", "to_address.zip_code": "619111"})
    ).rows
    assert first.fingerprint == same.fingerprint != other.fingerprint


def test_the_hash_is_there_when_the_file_was_read_to_its_end() -> None:
    """It is that of the bytes, with marks and line ends."""
    data = b"\xef\xbb\xbf" + table({}, end="\r\n").encode()
    with open_source(io.BytesIO(data), options=SourceOptions(now=NOW)) as source:
        rows = source.rows()
        next(rows)
        assert source.sha256 is None
        assert list(rows) == []
        assert source.sha256 == hashlib.sha256(data).hexdigest()


def _peak(path: Path) -> int:
    tracemalloc.start()
    try:
        with open_source(path, options=SourceOptions(now=NOW)) as source:
            assert sum(1 for _ in source.rows()) > 0
            assert source.report.ok
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Ten times the rows need no more memory."""
    peaks = []
    for count in (1_000, 2_000, 20_000):
        path = tmp_path / f"{count}.csv"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, CELLS)
            writer.writeheader()
            writer.writerows({**CELLS, "tracking_id": f"A{number}"} for number in range(count))
        peaks.append(_peak(path))
    # The first run also pays for what is made once.
    assert peaks[2] < 1.2 * peaks[1]
