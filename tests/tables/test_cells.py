"""One cell as a value, or the way to write it."""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gotsurge_async.models.tasks import ServiceType
from gotsurge_async.money import Money
from gotsurge_async.tables.cells import (
    Parse,
    parse_bool,
    parse_int,
    parse_money,
    parse_number,
    parser,
    shortened_by_spreadsheet,
    time_parser,
)


def refusal(parse: Parse, text: str) -> str:
    """What is said of a cell that cannot be read, and behind an arrow the value that is proposed."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the caller looks at its text
        parse(text)
    proposal = getattr(caught.value, "proposal", None)
    return str(caught.value) if proposal is None else f"{caught.value} -> {proposal}"


@given(st.integers(1 - 10**17, 10**17 - 1), st.floats(allow_nan=False, allow_infinity=False))
@settings(deadline=None)
def test_numbers_as_python_writes_them(whole: int, number: float) -> None:
    """Whole ones, those with a point, and amounts to the thousandth of a cent are read back."""
    assert parse_int(str(whole)) == whole
    assert parse_number(str(number)) == number
    assert parse_money(f"{Money(millicents=whole, currency='').amount:f}") == whole


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("5.0", "without decimals -> 5$"),
        ("1.000", "without decimals$"),
        ("1e3", "digits only"),
        ("1,000", "digits only"),
        ("1_0", "digits"),
        ("٣", "digits"),
    ],
)
def test_what_is_no_integer(text: str, words: str) -> None:
    """Nothing is rounded or guessed."""
    assert re.search(words, refusal(parse_int, text))


def test_a_whole_number_stays_whole() -> None:
    """It is sent as it stands in the file: 2, not 2.0."""
    assert [repr(parse_number(text)) for text in ("2", "2.0", "-0", "1e3")] == ["2", "2.0", "0", "1000.0"]


@pytest.mark.parametrize("text", ["nan", "inf", "-Infinity", "1e999", "1,5", "1_0", "12 kg", "", "+", ".", "0x1"])
def test_what_is_no_number(text: str) -> None:
    """Only finite numbers in plain digits pass."""
    with pytest.raises(ValueError, match=r"number"):
        parse_number(text)


def test_booleans_are_two_words() -> None:
    """Nothing else is taken for one."""
    assert parse_bool("true") is True
    assert parse_bool("false") is False
    with pytest.raises(ValueError, match="true or false"):
        parse_bool("TRUE")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,50", "a decimal number, such as 48.50"),
        ("1,234.50", "without thousands separators -> 1234.50$"),
        ("1'234", "without thousands separators -> 1234$"),
        ("S$48.50", "without its currency.*: 48.50"),
        ("$ 48.50", "without its currency.*: 48.50"),
        ("SGD 48.50", "without its currency.*: 48.50"),
        ("48.50 €", "without its currency.*: 48.50"),
        ("0.123456", "at most five decimals"),
        ("1e3", "a decimal number, such as"),
        ("nan", "a decimal number, such as"),
        ("48.", "a decimal number, such as"),
        ("٤٨", "a decimal number, such as"),
        ("1" * 40, "a decimal number, such as"),
    ],
)
def test_what_is_no_money(text: str, words: str) -> None:
    """The fault says how to write it."""
    assert re.search(words, refusal(parse_money, text))


@pytest.mark.parametrize(
    "text",
    [
        "2030-03-04T09:00:00+08:00",
        "2030-03-04T01:00:00Z",
        "2030-03-04t01:00:00z",
        "2030-03-04 01:00:00.000Z",
        "2030-03-04 09:00+0800",
        "2030-03-03T20:00:00-05:00",
    ],
)
def test_one_instant_in_many_forms(text: str) -> None:
    """RFC 3339, with the seconds left out if there are none, is one time in UTC."""
    moment = time_parser(None)(text)
    assert moment == datetime(2030, 3, 4, 1, tzinfo=UTC)
    assert moment.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "04/03/2030 09:00",
        "2030-03-04",
        "20300304T090000Z",
        "2030-02-30T09:00:00Z",
        "2030-03-04T24:00:00Z",
        "2030-03-04T09:00:00+99:00",
        "2030-W10-1T09:00:00Z",
        "1893456000",
        "0001-01-01T00:00:00+08:00",
        "٢٠٣٠-03-04T01:00:00Z",
    ],
)
def test_what_is_no_time(text: str) -> None:
    """Dates of other countries and other standards are not guessed; of a day alone it says what a map can do."""
    words = r'^has no time of day: .*time = "00:00"' if text == "2030-03-04" else "time"
    with pytest.raises(ValueError, match=words):
        time_parser(ZoneInfo("Asia/Singapore"))(text)


def test_a_time_without_zone_needs_the_zone_of_the_file() -> None:
    """Without one it names no instant."""
    assert time_parser(ZoneInfo("Asia/Singapore"))("2030-03-04T09:00:00") == datetime(2030, 3, 4, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match="--timezone"):
        time_parser(None)("2030-03-04T09:00:00")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2030-03-31 02:30", "never happens"),
        ("2030-10-27 02:30", r"twice: write 2030-10-27T02:30:00\+02:00 or 2030-10-27T02:30:00\+01:00"),
    ],
)
def test_times_that_the_clocks_skip_or_repeat(text: str, words: str) -> None:
    """They name no instant, or two: the fault says which."""
    parse = time_parser(ZoneInfo("Europe/Berlin"))
    with pytest.raises(ValueError, match=words):
        parse(text)
    assert parse(f"{text}+01:00").tzinfo is UTC


_naive = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1))  # noqa: DTZ001 - the zone comes with the offset


@given(_naive, st.integers(-14 * 60, 14 * 60))
@settings(deadline=None)
def test_times_with_an_offset_name_their_instant(naive: datetime, minutes: int) -> None:
    """Whatever the offset, the instant is kept."""
    moment = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    assert time_parser(None)(moment.isoformat()) == moment


@given(st.text(max_size=30), st.sampled_from((int, float, bool, datetime, Money)))
@settings(deadline=None)
def test_any_text_is_a_value_or_a_value_error(text: str, kind: Any) -> None:
    """No cell raises anything else."""
    parse = parser(kind, ZoneInfo("Europe/Berlin"))
    assert parse is not None
    try:
        value = parse(text)
    except ValueError:
        return
    assert isinstance(value, {float: int | float, Money: int}.get(kind, kind))


def test_text_and_enumerations_are_their_text() -> None:
    """There is nothing to read in them."""
    assert parser(str, None) is None
    assert parser(ServiceType, None) is None


@pytest.mark.parametrize(
    ("text", "shortened"), [("1.23E+12", True), ("1,23E+12", True), ("1E+5", True), ("A1E+5", False), ("12E3", False)]
)
def test_numbers_that_a_spreadsheet_has_shortened(text: str, shortened: bool) -> None:
    """Only what a spreadsheet writes is taken for one."""
    assert shortened_by_spreadsheet(text) is shortened
