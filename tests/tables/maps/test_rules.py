"""The rules of a map: samples of times, numbers and phone numbers, and what the rules make of cells."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneNumber, PhoneNumberFormat

from gotsurge_async.errors import ConfigError, code_of
from gotsurge_async.models.places import Contact
from gotsurge_async.money import Money
from gotsurge_async.tables.cells import Exact, parse_int, parse_money
from gotsurge_async.tables.maps.column_map import Dates
from gotsurge_async.tables.maps.rules import check_dates, dates_parser, number_parser, number_style, phone_style
from gotsurge_async.tables.options import read_map
from tests.models.test_phones import EXAMPLES
from tests.support.order_forms import CELLS
from tests.tables.kit import Read, read, table

SINGAPORE = ZoneInfo("Asia/Singapore")
SINGAPORES = '[phones]\n"*" = "+65 61234567"\n'
MOMENT = datetime(2030, 4, 3, 6, 5, tzinfo=UTC)  # 14:05 in Singapore


@pytest.mark.parametrize(
    ("sample", "text"),
    [
        ("31/12/2030 23:59", "03/04/2030 14:05"),
        ("31/12/2030 23:59", "3/4/2030 14:05"),
        ("12/31/2030 11:59 PM", "4/3/2030 2:05 pm"),
        ("2030/12/31 11:59:58 PM GMT+8", "2030/04/03 2:05:00 PM GMT+8"),  # as Google Forms writes it
        ("2030/12/31 11:59:58 PM UTC-05:00", "2030/04/02 10:05:00 PM UTC-8"),
        ("2030/12/31 11:59:58 PM GMT+5:30", "2030/04/03 11:35:00 AM GMT+5:30"),
        ("Tue Dec 31 2030 23:59:58 GMT+0800 …", "Wed Apr 3 2030 14:05:00 GMT+0800 (Singapore Standard Time)"),
        ("… 31.12.2030 23:59", "Mi., 03.04.2030 14:05"),
        ("31/12/2030 23:59 - …", "03/04/2030 14:05 - 16:00"),
        ("31/12/2030 2359-…", "03/04/2030 1405-1600"),
        ("31/12/2030 …23:59", "03/04/2030 10:00-14:05"),
        ("…31/12/2030 23:59", "Wed03/04/2030 14:05"),
        ("31/12/2030 … to 11:59pm", "03/04/2030 9:00am to 2:05pm"),
        ("12/31/2030, 11:59:58 PM", "4/3/2030,\u00a02:05:00\u202fPM"),  # as JavaScript writes it
        ("31.12.30, 23.59", "03.04.30, 14.05"),
        ("2030-12-31 23:59:58 +0800", "2030-04-03 14:05:00 +0800"),
        ("2030-12-31 23:59:58 +0800", "2030-04-03 06:05:00 Z"),
        ("2030-12-31T23:59+08:00", "2030-04-03T14:05GMT+08:00"),
        ("31 Dec 2030 23:59", "3  april 2030 14:05"),
        ("Tue, 31 Dec 2030 23:59", "Wed, 3 Apr 2030 14:05"),
        ("20301231235958", "20300403140500"),
        ("December 31, 2030 11:59PM", "Apr 3, 2030 2:05PM"),
        ("31/12/2030 23:59", "2030-04-03T14:05:00+08:00"),
        ("31/12/2030 23:59", "2030-04-03 14:05:00"),
    ],
)
def test_times_as_they_are_written(sample: str, text: str) -> None:
    """And besides always as RFC 3339 has them."""
    check_dates(Dates(like=(sample,)))
    assert dates_parser(Dates(like=(sample,)), SINGAPORE)(text) == MOMENT


@pytest.mark.parametrize("rest", [" PM - 4:00 PM", "pm", " Z", "Z - 16:00Z", " UTC", "+02:00", " -0500"])
@pytest.mark.parametrize("sample", ["31/12/2030 23:59 …", "31/12/2030 23:59…"])
def test_what_a_sample_leaves_out_is_no_part_of_the_time(sample: str, rest: str) -> None:
    """A half of the day, or an offset, behind a time is never taken for what need not be read."""
    with pytest.raises(ValueError, match="does not have the"):
        dates_parser(Dates(like=(sample,)), SINGAPORE)(f"03/04/2030 2:05{rest}")


_FORMATS = {
    "31/12/2030 23:59": "%d/%m/%Y %H:%M",
    "12/31/30 11:59:58 PM": "%m/%d/%y %I:%M:%S %p",
    "2030-12-31T23:59:58": "%Y-%m-%dT%H:%M:%S",
    "Tue 31 December 2030 23.59": "%a %d %B %Y %H.%M",
    "20301231 2359": "%Y%m%d %H%M",
    "31-Dec-2030 23:59 +0800": "%d-%b-%Y %H:%M %z",
}


@given(
    st.datetimes(datetime(2001, 1, 1), datetime(2099, 12, 31)),  # noqa: DTZ001 - hypothesis wants them so
    st.sampled_from(sorted(_FORMATS)),
    st.integers(-12 * 60, 14 * 60),
)
@settings(max_examples=80, deadline=None)
def test_what_python_writes_is_read_back(naive: datetime, sample: str, offset: int) -> None:
    """Any time in any of these ways, to what the way tells of it."""
    zone = timezone(timedelta(minutes=offset))
    form = _FORMATS[sample]
    naive = naive.replace(microsecond=0, second=naive.second if "%S" in form else 0)
    wanted = naive.replace(tzinfo=zone if "%z" in form else UTC).astimezone(UTC)
    assert dates_parser(Dates(like=(sample,)), ZoneInfo("UTC"))(naive.replace(tzinfo=zone).strftime(form)) == wanted


@pytest.mark.parametrize(
    ("sample", "text", "wanted"),
    [
        ("47848.99998", "47576.586805555556", MOMENT),
        ("47848.99998", Exact("47576.58680555556"), MOMENT),  # a cell of a workbook without a form of dates
        ("47848.99998", "47576", MOMENT.replace(day=2, hour=16, minute=0)),
        ("46386.99998", "46114.586805555556", MOMENT),  # from 1904
        ("47848", "47576", MOMENT.replace(day=3, hour=1, minute=0)),
    ],
)
def test_days_that_are_counted(sample: str, text: str, wanted: datetime) -> None:
    """A spreadsheet counts days from 1900, or from 1904; which of them the sample shows."""
    dates = Dates(like=(sample,), time="09:00" if "." not in sample else None)
    check_dates(dates)
    assert dates_parser(dates, SINGAPORE)(text) == wanted


@pytest.mark.parametrize(
    ("dates", "text", "words"),
    [
        (
            Dates(like=("31/12/2030 23:59 - …",)),
            "03/04/2030 14:05",
            '31 December 2030 is "31/12/2030 23:59 - …"',
        ),
        (Dates(like=("31/12/30…",), time="09:00"), "03/04/2030 x", '31 December 2030 is "31/12/30…"'),
        (Dates(like=("2030-12-31 23:59 GMT+8",)), "2030-04-03 14:05 GMT+25", "no such date"),
        (
            Dates(like=("2030-12-31 23:59 GMT+8",)),
            "2030-04-03 14:05 GMT+800",
            "does not have the date format of the map file",
        ),
        (Dates(like=("2030-12-31 23:59 UTC",)), "2030-04-03 14:05 +8", "does not have the date format of the map file"),
        (Dates(like=("47848.99998",)), "47576,5", '31 December 2030 is "47848.99998"'),
        (Dates(like=("47848.99998",)), "9175501", '31 December 2030 is "47848.99998"'),
        (Dates(like=("47848",), time="09:00"), "47576.5", '31 December 2030 is "47848"'),
        (Dates(like=("31/12/2030 23:59",)), "04/13/2030 14:00", "no such date"),
        (Dates(like=("31/12/2030 23:59",)), "3.4.2030 14:00", '31 December 2030 is "31/12/2030 23:59"'),
        (Dates(like=("31/12/2030 23:59",)), "03/04/2030 14:61", "no such date"),
        (Dates(like=("12/31/2030 11:59 PM",)), "04/03/2030 14:00 PM", "no such date"),
        (Dates(like=("31 Dec 2030 23:59",)), "3 Foo 2030 14:00", "no such date"),
        (Dates(like=("31/12/2030 23:59",), zone="Europe/Berlin"), "31/03/2030 02:30", "never happens"),
        (Dates(like=("31/12/2030 23:59 +0800",)), "01/01/0001 00:00 +0800", "out of range"),
        (Dates(like=("31/12/2030 23:59",), minutes_later=9**9), "31/12/9999 23:59", "out of range"),
    ],
)
def test_a_time_that_is_none(dates: Dates, text: str, words: str) -> None:
    """The message says what is wrong with it."""
    with pytest.raises(ValueError, match=words):
        dates_parser(dates, ZoneInfo("UTC"))(text)


def test_without_any_zone() -> None:
    """A time without a zone is a fault."""
    with pytest.raises(ValueError, match="has no time zone"):
        dates_parser(Dates(like=("31/12/2030 23:59",)), None)("03/04/2030 14:00")


def test_a_time_of_day_for_dates() -> None:
    """It holds where there is none, for text and for a date of a workbook; and a window can end later."""
    dates = Dates(like=("31/12/2030", "31/12/2030 23:59"), time="12:00", zone="Asia/Singapore", minutes_later=125)
    read = dates_parser(dates, None)
    assert read("03/04/2030") == read(Exact("2030-04-03")) == read("03/04/2030 12:00") == MOMENT


@pytest.mark.parametrize(
    "sample",
    [
        *("", "31/12", "dd/mm/yyyy", "31/12/2030 31", "31/12/2030 11:59", "31/12/2030 PM", "01/02/2030"),
        *("31/12/2030 59", "… 31/12/2030 …"),
    ],
)
def test_what_is_no_sample_of_a_time(sample: str) -> None:
    """The message says what to write."""
    with pytest.raises(ValueError, match="write the time 31 December 2030"):
        check_dates(Dates(like=(sample,)))


def test_a_sample_without_a_time_of_day() -> None:
    """It needs one."""
    with pytest.raises(ValueError, match='such as time = "09:00"'):
        check_dates(Dates(like=("31/12/2030",)))
    with pytest.raises(ValueError, match="write a time of day"):
        check_dates(Dates(like=("31/12/2030",), time="nine"))
    with pytest.raises(ConfigError, match="Asia/Singapore"):
        check_dates(Dates(zone="Asia/Singapor"))


@pytest.mark.parametrize(
    ("sample", "text", "plain"),
    [
        ("S$1,234.56", "S$48.50", "48.50"),
        ("S$1,234.56", "1,200.00", "1200.00"),
        ("S$1,234.56", "s$ 12", "12"),
        ("1.234,56 €", "1.234.567,8 €", "1234567.8"),
        ("1 234,56", "12\u00a0345,60", "12345.60"),
        ("1'234.56", "-1'234", "-1234"),
        ("SGD 1234.56", "SGD -48.50", "-48.50"),
        ("1,234 kg", "2,500 kg", "2500"),
        ("1 234,56 €", "12\u202f345,60\u00a0€", "12345.60"),
        ("S$1,234.56", "S$\u00a048.50", "48.50"),
        ("1,234.56", ".5", "0.5"),
        ("1.234,56", "-,25", "-0.25"),
    ],
)
def test_numbers_as_they_are_written(sample: str, text: str, plain: str) -> None:
    """With their signs of currency and thousands."""
    assert number_style(sample)(text) == plain


@pytest.mark.parametrize(
    ("sample", "text"),
    [
        ("S$1,234.56", "US$48.50"),
        ("S$1,234.56", "48,50"),
        ("S$1,234.56", "1,23,456.00"),
        ("1.234,56", "48.50"),
        ("1234.56", "1,200.00"),
        ("1,234", "1.5"),
        ("1,234.56", ""),
        ("1,234.56", "--5"),
        ("1,234.56", "٣"),
        ("1.234,56", ".5"),
        ("1,234.56", "."),
        ("1,234.56", "-"),
        ("1,234 kg", ".5 kg"),
    ],
)
def test_a_number_that_is_written_otherwise(sample: str, text: str) -> None:
    """It is a fault: nobody knows what it means."""
    with pytest.raises(ValueError, match="does not have the"):
        number_style(sample)(text)


@given(st.decimals(0, 10**9, places=2), st.sampled_from([(",", "."), (".", ","), (" ", ","), ("'", ".")]))
@settings(max_examples=50, deadline=None)
def test_any_amount_comes_back(amount: Decimal, signs: tuple[str, str]) -> None:
    """Written in any way, and read by a sample of it."""
    group, point = signs

    def written(number: Decimal) -> str:
        return f"{number:,.2f}".translate(str.maketrans({",": group, ".": point}))

    read = number_parser(written(Decimal("1234.56")), parse_money, whole=False)
    assert read(written(amount)) == int(amount * 100_000)


def test_numbers_of_a_workbook_are_known() -> None:
    """What a map says about how people write is not for them; and a whole number loses its zeros."""
    read = number_parser("1.234,56", parse_int, whole=True)
    assert (read("1.234"), read("1.234,00"), read(Exact("1234"))) == (1234, 1234, 1234)
    assert number_parser("1.234,56", parse_money, whole=False)(Exact("1.234")) == 123_400
    with pytest.raises(ValueError, match="digits only"):
        read("1,5")


@pytest.mark.parametrize("sample", ["", "1", "12.34", "1.234.56", "1234,567", "abc"])
def test_what_is_no_sample_of_a_number(sample: str) -> None:
    """The message says what to write."""
    with pytest.raises(ValueError, match=r"write the number 1234\.56"):
        number_style(sample)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("+65 9175 5010", "+6591755010"),
        ("9175-5010", "+6591755010"),
        ("6591755010", "+6591755010"),
        ("65123456", "+6565123456"),
        ("0065 91755010", "+6591755010"),
        ("+442079460958", "+442079460958"),
        ("091755010", "091755010"),  # Singapore has no zero that people dial
        ("+1 (212) 555.0100", "+12125550100"),
        ("12", "12"),
        ("call Mei", "call Mei"),
        ("2125550100", "2125550100"),
    ],
)
def test_phone_numbers_as_they_are_written(text: str, wanted: str) -> None:
    """What is not surely a number of that country, or international, stays: the checks tell it."""
    assert phone_style("+65 61234567")(text) == wanted


@pytest.mark.parametrize(
    ("sample", "text", "wanted"),
    [
        ("+44 7911123456", "+44 (0)20 7946 0958", "+442079460958"),
        ("+65 61234567", "+44 (0)20 7946 0958", "+442079460958"),
        ("+44 7911123456", "0044 (0) 20 7946 0958", "+442079460958"),
        ("+49 30123456789", "+49 0171 1234567", "+491711234567"),
        ("+44 7911123456", "(0)20 7946 0958", "+442079460958"),
        ("+44 7911123456", "(020) 7946 0958", "+442079460958"),
        ("+39 3123456789", "02 1234 56789", "+3902123456789"),  # one of Milan keeps its zero, and may have 11 digits
        ("+39 3123456789", "06 1234 5678", "+390612345678"),
    ],
)
def test_a_zero_that_people_dial(sample: str, text: str, wanted: str) -> None:
    """It is dropped in countries that drop it, and kept in those that keep it."""
    assert phone_style(sample)(text) == wanted


@pytest.mark.parametrize("sample", ["", "61234567", "+6561234567", "65 61234567", "+65 x", "+999 1234567"])
def test_what_is_no_sample_of_a_phone_number(sample: str) -> None:
    """The message says what to write."""
    with pytest.raises(ValueError, match="with a country code and a space"):
        phone_style(sample)


# --- in a table ---


def mapped(text: str, cells: dict[str, str] | None = None, *, without: tuple[str, ...] = (), **options: Any) -> Read:
    """The good order with some cells changed, read by a map."""
    columns = [name for name in {**CELLS, **(cells or {})} if name not in without]
    return read(table(cells or {}, columns=columns), file_map=read_map(text.encode(), "m.toml"), **options)


def test_several_columns_become_one() -> None:
    """What is empty of them is left out; a fault names them all."""
    text = '[join]\nto_address.street_address = { columns = ["Block", "Street", "Unit"], with = ", " }'
    result = mapped(text, {"Block": "7 ", "Street": "Loyang Way", "Unit": ""})
    assert result.order.to_address.street_address == "7, Loyang Way"
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
    assert fault.rule.startswith("is not one of the values in the map")
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
    result = mapped(text, cells)
    order = result.order
    assert order.price == Money.of("148.50", "SGD")
    assert order.from_contact == Contact(phone="+6591755010")
    assert (order.to_address.zip_code, order.tracking_id, order.cargo_net_quantity) == ("018956", "A B", 4)
    assert result.rows[0].key == "A B"


@pytest.mark.parametrize(("cell", "code"), [("18956", "018956"), ("018956", "018956"), ("SW1A 1AA", "SW1A 1AA")])
def test_a_postal_code_gets_its_lost_zeros_back(cell: str, code: str) -> None:
    """Digits are filled up to six; another code stays as it is."""
    rules = '[clean]\nto_address.zip_code = "pad6"\n[constants]\nto_address.country = "GB"'
    assert mapped(rules, {"to_address.zip_code": cell}).order.to_address.zip_code == code


def test_what_cleaning_leaves_empty_is_empty() -> None:
    """It gives nothing, as an empty cell."""
    result = mapped('[clean]\n"*" = "unquote"', {"invoice_number": "'", "tracking_id": "'"})
    assert result.places == [(2, "tracking_id")]
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
    result = mapped(text, {"Fare": "1"}, without=("price",))
    fault = next(each for each in result.report.faults if each.column == column)
    assert words in fault.rule


def test_a_field_that_two_give() -> None:
    """One of them must go."""
    (fault,) = mapped('[join]\ntracking_id = ["A", "B"]', {"A": "1", "B": "2"}).report.faults
    assert (fault.line, fault.column) == (1, "tracking_id")
    assert "which the map fills by joining" in fault.rule


def test_result_files_are_read_with_the_same_map() -> None:
    """What a push has written has its header in the first line, whatever the map says of the first file."""
    text = '[file]\nheader_row = 4\ndelimiter = ";"\n[columns]\nOrder = "tracking_id"'
    file_map = read_map(text.encode(), "m.toml")
    cells = {"Order": "A", "gs_task_id": "", "gs_status": "unprocessed", "gs_error": ""}
    columns = [name for name in {**CELLS, **cells} if name != "tracking_id"]
    written = table(cells, columns=columns, delimiter=";")
    assert read(written, file_map=file_map).order.tracking_id == "A"


@pytest.mark.parametrize(
    ("text", "cell", "problem", "proposal"),
    [
        ("", "+44 (0)20 7946 0958", "has a zero in brackets", "+442079460958"),
        ("", "+4901711234567", "has a zero after the country code", "+491711234567"),
        ("", "+65 0091755010", "has a zero after the country code", None),
        ("", "+650091755010", "has a zero after the country code", None),
        ("", "6.59E+09", "a spreadsheet has rounded this number to 3 digits", None),
        (SINGAPORES, "+65 0091755010", "has a zero after the country code", None),
        (SINGAPORES, "+650091755010", "has a zero after the country code", None),
        (SINGAPORES, "6123456", "is too short for Singapore: 7 digits instead of 8", None),
        (SINGAPORES, "6.59E+09", "a spreadsheet has rounded this number to 3 digits", None),
    ],
)
def test_what_is_no_phone_number_is_a_fault(text: str, cell: str, problem: str, proposal: str | None) -> None:
    """With a map and without one, with the reason; what is proposed is a number that can be."""
    (fault,) = mapped(text, {"from_contact.phone": cell}).report.faults
    assert (fault.column, fault.value, fault.proposal) == ("from_contact.phone", cell, proposal)
    assert fault.rule.startswith(problem)
    assert code_of(fault.rule) == "E222"


@given(st.sampled_from(EXAMPLES))
@settings(deadline=None)
def test_a_rule_for_phones_reads_what_the_check_of_an_order_takes(example: tuple[str, PhoneNumber]) -> None:
    """A number in its country's own form passes a table whose map names the country, and becomes E.164."""
    region, number = example
    read_phone = phone_style(f"+{number.country_code} 12345678")
    e164 = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    assert read_phone(e164) == read_phone(phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL)) == e164
    if region == phonenumbers.region_code_for_country_code(number.country_code):
        assert read_phone(phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)) == e164
