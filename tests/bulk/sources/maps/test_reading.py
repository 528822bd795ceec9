"""Map files: all that may stand in one, and that nothing else may."""

from pathlib import Path

import pytest

from gotsurge_async.bulk.sources import ColumnMap, FileMap
from gotsurge_async.bulk.sources.maps.column_map import Dates, Dialect, Join
from gotsurge_async.bulk.sources.options import read_map
from gotsurge_async.errors import ConfigError

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
            constants={"currency": "SGD"},
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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[colums]\nA = "price"', 'm.toml: "colums" is none of file, columns, .*; did you mean "columns"'),
        ('[file]\nsheets = "A"', 'm.toml: file: "sheets" is none of .*did you mean "sheet"'),
        ('[file]\nheader_row = "3"', "header_row is a number"),
        ("[file]\nheader_row = 0", "m.toml: the header row is counted from 1"),
        ('[file]\nencoding = "utf9"', 'm.toml: encoding "utf9" is not known'),
        ('[file]\ntimezone = "Asia/Singapor"', 'm.toml: time zone .* did you mean "Asia/Singapore"'),
        ("file = 1", "file is a table"),
        ('[join]\ntracking_id = "A"', "join: tracking_id: columns: give a list of texts"),
        ('[join]\ntracking_id = { columns = ["A"], by = " " }', '"by" is none of columns, with'),
        ('[join]\nnope = ["A"]', 'join nope": there is no field "nope"'),
        ('[columns]\nA = "price"\n[join]\nprice = ["B"]', '"join price" and "A" both give price'),
        ('[defaults]\nprise = "1"', 'default prise": there is no field "prise"; did you mean "price"'),
        ('[dates]\nprise = "31/12/2030 23:59"', 'there is no field "prise"'),
        ('[dates]\n"*" = "dd/mm/yyyy"', "m.toml: dates: .*no sample of a time: write 31 December 2030"),
        ('[dates]\n"*" = { like = "31/12/2030", at = "9" }', '"at" is none of like, zone, time'),
        ('[dates]\n"*" = { like = "31/12/2030 23:59", zone = "SGT" }', 'time zone "SGT" is not known'),
        ('[dates]\n"*" = { minutes_later = "1" }', "minutes_later is a whole number"),
        ('[numbers]\nprice = "12"', "m.toml: numbers: price: .*write 1234.56"),
        ('[phones]\n"*" = "61234567"', "m.toml: phones: .*with its country apart"),
        ('[values]\nservice_type = "ftl"', "values: service_type: is a table"),
        ('[values.nope]\nA = "b"', 'values nope": there is no field "nope"'),
        ('[clean]\n"*" = "trimm"', '"trimm" is none of spaces, unquote, upper, lower'),
        ('[items.file]\ntimezone = "UTC"', 'items: file: "timezone" is none of'),
        ("[[[", "is not TOML"),
    ],
)
def test_what_cannot_be_right_is_told_with_its_place(text: str, words: str) -> None:
    """Whatever is not known is a fault, with what was meant."""
    with pytest.raises(ConfigError, match=words):
        read_map(text.encode(), "m.toml")


def test_a_file_that_is_no_map(tmp_path: Path) -> None:
    """One that is not there, and one that is far too large."""
    with pytest.raises(ConfigError, match="cannot be read"):
        FileMap.load(tmp_path / "none.toml")
    (tmp_path / "large.toml").write_bytes(b"#" * (1 << 21))
    with pytest.raises(ConfigError, match="larger than any map"):
        FileMap.load(tmp_path / "large.toml")
