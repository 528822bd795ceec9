"""The options of a user about a file, and map files: what they may contain, and that nothing else passes."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from gotsurge_async.errors import ConfigError
from gotsurge_async.tables import ColumnMap, FileMap, SourceOptions
from gotsurge_async.tables.maps.column_map import Dates, Dialect, Join, zone_named
from gotsurge_async.tables.options import read_map
from tests.support.order_forms import NOW


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"format": "docx"}, "use one of csv"),
        ({"delimiter": ";;"}, "one character"),
        ({"delimiter": '"'}, "one character"),
        ({"delimiter": ""}, "one character"),
        ({"timezone": "Asia/Singapor"}, 'did you mean "Asia/Singapore"'),
        ({"timezone": "/etc/passwd"}, "is not known"),
        ({"file_map": FileMap(orders=ColumnMap(columns={"x": "nope"}))}, "there is no field"),
        ({"file_map": FileMap(items=ColumnMap(constants={"quantaty": "1"}))}, 'did you mean "quantity"'),
    ],
)
def test_what_cannot_be_right_is_refused_at_once(options: dict[str, Any], words: str) -> None:
    """Before any file is opened."""
    with pytest.raises(ConfigError, match=words):
        SourceOptions(**{"now": NOW, **options})


def test_now_is_an_instant() -> None:
    """A naive time is none."""
    with pytest.raises(ValueError, match="no time zone"):
        SourceOptions(now=datetime(2030, 1, 1))  # noqa: DTZ001 - the point of the test


@pytest.mark.parametrize("text", ["tab", "\\t", "\t"])
def test_a_tab_can_be_written_in_three_ways(text: str) -> None:
    """One of them works in every shell."""
    assert SourceOptions(now=NOW, delimiter=text).delimiter == "\t"


def test_a_system_without_time_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has none unless they were installed."""
    monkeypatch.setattr("zoneinfo.available_timezones", set)
    with pytest.raises(ConfigError, match="pip install tzdata"):
        zone_named("Asia/Nowhere")


# --- map files ---

WHOLE = b"""
ignore = ["Remark"]
[file]
sheet = "March"
header_row = 3
delimiter = "tab"
encoding = "cp1252"
timezone = "Asia/Singapore"
[columns]
"Order No" = "tracking_id"
[join]
to_address.street_address = { columns = ["Block", "Street"], with = ", " }
"to_time_window.end_time_utc" = ["Day"]
[constants]
currency = "SGD"
cargo_net_quantity = 4
client_time_utc = 2030-03-04T01:00:00Z
[defaults]
to_address.country = "SG"
[dates]
"*" = "31/12/2030 23:59"
client_time_utc = { like = ["31.12.30"], zone = "UTC", time = "09:00", minutes_later = 30 }
[numbers]
price = "S$1,234.56"
[phones]
"*" = "+65 61234567"
[values.broadcast_preference]
Marine = "marine"
"*" = "all"
[values]
to_contact.company_name = { 1 = "One" }
[clean]
"*" = "spaces"
tracking_id = ["unquote", "upper"]
[items.columns]
Qty = "quantity"
[items.file]
sheet = "Items"
"""


def test_all_that_may_stand_in_one() -> None:
    """Dotted names may stand in quotes or not."""
    assert read_map(WHOLE, "m.toml") == FileMap(
        orders=ColumnMap(
            ignore=frozenset({"Remark"}),
            columns={"Order No": "tracking_id"},
            join={
                "to_address.street_address": Join(columns=("Block", "Street"), between=", "),
                "to_time_window.end_time_utc": Join(columns=("Day",)),
            },
            constants={
                "currency": "SGD",
                "cargo_net_quantity": "4",
                "client_time_utc": "2030-03-04T01:00:00+00:00",
            },
            defaults={"to_address.country": "SG"},
            dates={
                "*": Dates(like=("31/12/2030 23:59",)),
                "client_time_utc": Dates(like=("31.12.30",), zone="UTC", time="09:00", minutes_later=30),
            },
            numbers={"price": "S$1,234.56"},
            phones={"*": "+65 61234567"},
            values={
                "broadcast_preference": {"Marine": "marine", "*": "all"},
                "to_contact.company_name": {"1": "One"},
            },
            clean={"*": ("spaces",), "tracking_id": ("unquote", "upper")},
            dialect=Dialect(sheet="March", header_row=3, delimiter="\t", encoding="cp1252"),
        ),
        items=ColumnMap(columns={"Qty": "quantity"}, dialect=Dialect(sheet="Items")),
        timezone="Asia/Singapore",
    )


def test_maps_are_equal_if_their_rules_are() -> None:
    """The name and the file of a map do not count."""
    rules = ColumnMap(ignore=frozenset({"A"}))
    named = FileMap(orders=structs.replace(rules, where="m.toml"), name="m", sha256="0")
    same, other = FileMap(orders=rules), FileMap()
    assert (named == same, named != same, named == other, named != other) == (True, False, False, True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[colums]\nA = "price"', 'm.toml: "colums" is not one of: file, columns, .*; did you mean "columns"'),
        ('[file]\nsheets = "A"', 'm.toml: file: "sheets" is not one of: .*did you mean "sheet"'),
        ('[file]\nheader_row = "3"', 'm.toml: file: header_row: "3" is not valid; use the form: header_row = 3$'),
        ("[file]\nheader_row = 0", "m.toml: the header row must be 1 or more"),
        ('[file]\nencoding = "utf9"', 'm.toml: encoding "utf9" is not known'),
        ('[file]\ntimezone = "Asia/Singapor"', 'm.toml: time zone .* did you mean "Asia/Singapore"'),
        ("file = 1", "m.toml: file: 1 is not valid; use the form: sheet = .*, header_row = 3, "),
        ('[join]\ntracking_id = "A"', 'join: tracking_id: "A" is not valid; use the form: field = ..A"'),
        (
            '[join]\ntracking_id = { columns = ["A"], by = " " }',
            'join: tracking_id: "by" is not one of: columns, with$',
        ),
        ('[join]\nnope = ["A"]', 'join nope": there is no field "nope"'),
        ('[columns]\nA = "price"\n[join]\nprice = ["B"]', '"join price" and "A" both set price'),
        ('[defaults]\nprise = "1"', 'default prise": there is no field "prise"; did you mean "price"'),
        ('[dates]\nprise = "31/12/2030 23:59"', 'there is no field "prise"'),
        (
            '[dates]\n"*" = "dd/mm/yyyy"',
            "m.toml: dates: .*not a valid sample of a time: write the time 31 December 2030",
        ),
        ('[dates]\n"*" = { like = "31/12/2030", at = "9" }', '"at" is not one of: like, zone, time, minutes_later$'),
        ('[dates]\n"*" = { like = "31/12/2030", zones = "UTC" }', '"zones" is not one of: .*; did you mean "zone"'),
        ('[dates]\n"*" = { like = "31/12/2030 23:59", zone = "SGT" }', 'time zone "SGT" is not known'),
        ('[dates]\n"*" = { minutes_later = "1" }', '{.*"1"} is not valid; use the form: .*minutes_later = 60 }$'),
        ('[numbers]\nprice = "12"', "m.toml: numbers: price: .*write the number 1234.56"),
        ('[phones]\n"*" = "61234567"', "m.toml: phones: .*with a country code and a space"),
        (
            '[values]\nservice_type = "ftl"',
            'values: service_type: "ftl" is not valid; use the form: .*value of the field" }$',
        ),
        ('[values.nope]\nA = "b"', 'values nope": there is no field "nope"'),
        ('[clean]\n"*" = "trimm"', 'clean: .*: "trimm" is not one of: spaces, unquote, pad6, upper, lower$'),
        (
            '[clean]\ntracking_id = ["spaces", "lowe"]',
            'clean: tracking_id: "lowe" is not one of: .*; did you mean "lower"',
        ),
        ("[clean]\ntracking_id = [1]", '"1" is not one of: spaces'),
        ("[clean]\ntracking_id = 1", "clean: tracking_id: 1 is not valid; use the form: field = .*, a list of "),
        ('[items.file]\ntimezone = "UTC"', 'items: file: "timezone" is not one of'),
        ("[[[", "is not TOML"),
        ('[columns]\nA = "to_adress.city"', 'did you mean "to_address.city"'),
        ('[columns]\nA = "price"\nB = "price"', '"B" and "A" both set price'),
        ('[columns]\nA = "price"\n[constants]\nprice = 5', "both set price"),
        ('[column]\nA = "price"', 'did you mean "columns"'),
        ("[columns]\nA = 1", 'columns: A: 1 is not valid; use the form: "column of the file" = "field"$'),
        ("constants = 1", "m.toml: constants: 1 is not valid; use the form: field = a text"),
        ('ignore = "A"', 'm.toml: "A" is not valid; use the form: ignore = .*, a list of column names$'),
        ("only_rows_with = 1", "m.toml: 1 is not valid; use the form: only_rows_with = "),
        ("items = 1", "items must be a table"),
        ("[constants]\nservice_type = [1]", ".1. is not valid; use the form: .* true, false, or a time$"),
        (
            "[constants]\nclient_time_utc = 2030-03-04",
            "2030-03-04 is not valid; use the form: .* true, false, or a time$",
        ),
        ('[items.columns]\nA = "price"', "there is no field"),
    ],
)
def test_an_error_in_a_map_is_reported_with_its_place(text: str, words: str) -> None:
    """Whatever is not known is a fault, with the name that was probably meant."""
    with pytest.raises(ConfigError, match=words) as caught:
        read_map(text.encode(), "m.toml")
    assert "m.toml" in str(caught.value)


def test_a_file_that_is_not_a_map(tmp_path: Path) -> None:
    """One that is not there, one that is not UTF-8, and one that is far too large."""
    path = tmp_path / "map.toml"
    with pytest.raises(ConfigError, match=r"map\.toml: cannot be read"):
        FileMap.load(path)
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"map\.toml: is not TOML"):
        FileMap.load(path)
    path.write_bytes(b"#" * (1 << 21))
    with pytest.raises(ConfigError, match="too large for a map"):
        FileMap.load(path)
