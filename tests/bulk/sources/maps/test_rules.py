"""What a map makes of cells, and where its faults are told."""

from typing import Any

import pytest

from gotsurge_async.bulk.sources.options import read_map
from gotsurge_async.models.places import Contact
from gotsurge_async.money import Money
from tests.bulk.sources.kit import Read, read, table
from tests.support.order_forms import CELLS


def mapped(text: str, cells: dict[str, str] | None = None, *, without: tuple[str, ...] = (), **options: Any) -> Read:
    """The good order with some cells changed, read by a map."""
    columns = [name for name in {**CELLS, **(cells or {})} if name not in without]
    return read(table(cells or {}, columns=columns), file_map=read_map(text.encode(), "m.toml"), **options)


def test_several_columns_become_one() -> None:
    """What is empty of them is left out; a fault names them all."""
    text = '[join]\nto_address.street_address = { columns = ["Block", "Street", "Unit"], with = ", " }'
    found = mapped(text, {"Block": "7 ", "Street": "Loyang Way", "Unit": ""})
    assert found.order.to_address.street_address == "7, Loyang Way"
    text = '[join]\nclient_time_utc = ["Day", "Hour"]\n[dates]\n"*" = "31/12/2030 23:59"\n[file]\ntimezone = "UTC"'
    cells = {"Day": "04/03/2030", "Hour": "01:00"}
    assert (
        mapped(text, cells, without=("client_time_utc",)).order.client_time_utc.isoformat().startswith("2030-03-04T01")
    )
    (fault,) = mapped(text, {**cells, "Hour": "25:00"}, without=("client_time_utc",)).report.faults
    assert (fault.line, fault.column, fault.field) == (2, "Day + Hour", "client_time_utc")
    assert (fault.value, fault.rule) == ("04/03/2030 25:00", "there is no such date or time")


def test_one_column_becomes_two_fields() -> None:
    """As the start of a window and its end."""
    ends = ("to_time_window.start_time_utc", "to_time_window.end_time_utc")
    text = (
        f'[columns]\nDue = "{ends[0]}"\n[join]\n"{ends[1]}" = ["Due"]\n[dates]\n'
        f'"{ends[0]}" = "31/12/2030 23:59"\n"{ends[1]}" = {{ like = "31/12/2030 23:59", minutes_later = 120 }}\n'
    )
    window = mapped(text, {"Due": "05/03/2030 04:00"}, without=ends, timezone="UTC").order.to_time_window
    assert window is not None
    assert (window.start_time_utc.hour, window.end_time_utc.hour) == (4, 6)


def test_defaults_fill_what_is_empty() -> None:
    """And nothing else; also where the file has no such column."""
    text = '[defaults]\nvehicle_preference = "car"\nto_address.country = "SG"\nto_contact.vessel_imo = 1234567\n'
    order = mapped(text, {"vehicle_preference": ""}).order
    assert (order.vehicle_preference, order.to_address.country) == ("car", "SG")
    assert order.to_contact == Contact(vessel_imo=9074729)
    assert mapped(text).order.vehicle_preference == "van_1.7m"


def test_values_are_looked_up() -> None:
    """Whatever their case; what is meant already passes, and the rest is a fault unless the table has a *."""
    text = '[values.broadcast_preference]\nMarine = "marine"\n"Whole squad" = "squad"\n'
    for cell, meant in (("MARINE", "marine"), ("whole  squad", "squad"), ("squad", "squad")):
        assert mapped(text, {"broadcast_preference": cell}).order.broadcast_preference == meant
    (fault,) = mapped(text, {"broadcast_preference": "Squads"}).report.faults
    assert fault.rule.startswith("is none of the values that the map knows")
    assert fault.value == "Squads"
    assert mapped(text + '"*" = "all"', {"broadcast_preference": "x"}).order.broadcast_preference == "all"


def test_money_phones_and_cleaning() -> None:
    """A column can be given all of it."""
    text = (
        '[numbers]\n"*" = "S$1,234.56"\n[phones]\n"*" = "+65 61234567"\n'
        '[clean]\n"to_address.zip_code" = "unquote"\ntracking_id = ["spaces", "upper"]\n'
    )
    cells = {
        "price": "S$148.50",
        "from_contact.phone": "9175 5010",
        "to_address.zip_code": "'018956",
        "tracking_id": "a  b",
        "cargo_net_quantity": "4.00",
    }
    found = mapped(text, cells)
    order = found.order
    assert order.price == Money.of("148.50", "SGD")
    assert order.from_contact == Contact(phone="+6591755010")
    assert (order.to_address.zip_code, order.tracking_id, order.cargo_net_quantity) == ("018956", "A B", 4)
    assert found.rows[0].key == "A B"


def test_what_cleaning_leaves_empty_is_empty() -> None:
    """It gives nothing, as an empty cell."""
    found = mapped('[clean]\n"*" = "unquote"', {"invoice_number": "'", "tracking_id": "'"})
    assert found.places == [(2, "tracking_id")]
    assert mapped('[clean]\n"*" = "unquote"', {"invoice_number": "'"}).order.invoice_number is None


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ('[columns]\nfare = "price"', "fare", 'did you mean "Fare"'),
        ('[join]\nto_address.city = ["Town", "Area"]', "Town", "takes to_address.city from this column"),
    ],
)
def test_a_column_that_is_not_there(text: str, column: str, words: str) -> None:
    """Nothing is left out without a word."""
    found = mapped(text, {"Fare": "1"}, without=("price",))
    fault = next(each for each in found.report.faults if each.column == column)
    assert words in fault.rule


def test_a_field_that_two_give() -> None:
    """One of them must go."""
    (fault,) = mapped('[join]\ntracking_id = ["A", "B"]', {"A": "1", "B": "2"}).report.faults
    assert (fault.line, fault.column) == (1, "tracking_id")
    assert "which the map puts together" in fault.rule


def test_result_files_are_read_with_the_same_map() -> None:
    """What a push has written has its header in the first line, whatever the map says of the first file."""
    text = '[file]\nheader_row = 4\ndelimiter = ";"\n[columns]\nOrder = "tracking_id"'
    file_map = read_map(text.encode(), "m.toml")
    cells = {"Order": "A", "gs_task_id": "", "gs_status": "unprocessed", "gs_error": ""}
    columns = [name for name in {**CELLS, **cells} if name != "tracking_id"]
    written = table(cells, columns=columns, delimiter=";")
    assert read(written, file_map=file_map).order.tracking_id == "A"


@pytest.mark.parametrize(
    ("text", "cell", "proposal"),
    [
        ("", "+44 (0)20 7946 0958", "+442079460958"),
        ('[phones]\n"*" = "+44 7911123456"\n', "+44 (0)20 7946 0958", "+442079460958"),
        ('[phones]\n"*" = "+44 7911123456"\n', "+4402079460958", "+442079460958"),
        ('[phones]\n"*" = "+49 30123456789"\n', "4901711234567", "+491711234567"),
        ('[phones]\n"*" = "+65 61234567"\n', "+65 0091755010", None),
        ("", "+65 0091755010", None),
    ],
)
def test_a_phone_number_with_a_zero_too_many(text: str, cell: str, proposal: str | None) -> None:
    """It is a fault with or without a map, and what is proposed is a number that can be."""
    (fault,) = mapped(text, {"from_contact.phone": cell}).report.faults
    assert (fault.column, fault.value, fault.proposal) == ("from_contact.phone", cell, proposal)
