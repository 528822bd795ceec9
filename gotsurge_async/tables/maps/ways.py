"""The ways in which the texts of a field can be read: times, numbers, phone numbers, each with its rule of a map."""

import functools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import product
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from gotsurge_async.models.phones import is_international, meant_by, names_country
from gotsurge_async.models.rules import imo_check_digit
from gotsurge_async.models.tasks import Order
from gotsurge_async.money import Money
from gotsurge_async.tables.cells import Exact, Parse, parse_int, parse_money, parse_number, shortened_by_spreadsheet
from gotsurge_async.tables.fields import columns_of
from gotsurge_async.tables.maps.column_map import Dates
from gotsurge_async.tables.maps.guessing import CURRENCIES, UNITS
from gotsurge_async.tables.maps.rules import dates_parser, number_parser, number_style, phone_style

PLAIN = '"1234.56"'
"""The rule that reads a number in the same way as no rule."""

LONGEST = 300
"""The greatest length of a text that is examined; only notes are longer."""

_NUMBER_PARSERS: Mapping[type, Parse] = {int: parse_int, float: parse_number, Money: parse_money}


class Ways(NamedTuple):
    """The ways in which all texts of a field can be read.

    Attributes:
        readings: a rule, as TOML, -> its reading of ``sample``; the rule None is no rule.
        sample: a text, if possible one that the ways read differently.
        certain: whether there is one way, and the texts leave nothing open.
    """

    readings: Mapping[str | None, str]
    sample: str = ""
    certain: bool = True


_NO_RULE = Ways({None: ""})


def ways(field: str, cells: Sequence[str]) -> Ways | None:
    """The ways to read the cells of a field, none of which is empty; None if the text is the value."""
    kind = columns_of(Order)[field].kind
    if any(len(cell) > LONGEST for cell in cells):
        return Ways({}, cells[0], certain=False) if kind is datetime or kind in _NUMBER_PARSERS else None
    if kind is datetime:
        return _dates(cells)
    if kind in _NUMBER_PARSERS:
        return _numbers(field, kind, cells)
    return _phones(cells) if field.endswith(".phone") else None


def quoted(text: str | Sequence[str]) -> str:
    """A text, or a list of texts, as TOML."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")  # as TOML requires


def reads_all(parse: Callable[[str], object], texts: Iterable[str]) -> bool:
    """Whether a function can read all of some texts."""
    try:
        for text in texts:
            parse(text)
    except ValueError:
        return False
    return True


def _different(readings: Mapping[Any, Sequence[object]]) -> int:
    """The place of the first text that is read in several ways; 0 if there is none."""
    columns = enumerate(zip(*readings.values(), strict=True))
    return next((place for place, values in columns if len({*values}) > 1), 0)


# --- times -----------------------------------------------------------------------------------------------------------

_CLOCK = re.compile(r"\d{1,2}(?:[:h]\d\d(?::\d\d)?|)\s*(?:[ap]\.?m\.?)?(?:\s*uhr)?", re.IGNORECASE | re.ASCII)
_BARE = re.compile(r"\d{1,2}")
_DAYS = (
    *("2030-12-31", "31/12/2030", "12/31/2030", "31-12-2030", "12-31-2030", "31.12.2030", "2030/12/31", "2030.12.31"),
    *("20301231", "2030年12月31日", "31 Dec 2030", "31-Dec-2030", "31-Dec-30", "Dec 31, 2030", "December 31, 2030"),
    *("31/12/30", "12/31/30", "30/12/31", "31-12-30", "12-31-30", "30-12-31", "31.12.30"),
)
_CLOCKS = ("", "23:59", "23:59:58", "11:59 PM", "11:59PM", "11:59:58 PM", "23h59", "23:59 Uhr")
_OFFSETS = ("", " +0800", "+08:00", " UTC", "Z")


def is_clock(text: str) -> bool:
    """Whether a text is a time of day without a day."""
    return _CLOCK.fullmatch(text) is not None and _BARE.fullmatch(text) is None


def time_kind(cells: Sequence[str]) -> str | None:
    """The kind of all cells of a column: "moment", "day", or "clock" for a time of day; None for anything else."""
    if all(map(is_clock, cells)):
        return "clock"
    found = _dates(cells)
    if not found.readings:
        return None
    return "day" if any(rule and "time =" in rule for rule in found.readings) else "moment"


def _samples() -> Iterator[str]:
    for clock, offset, day in product(_CLOCKS, _OFFSETS, _DAYS):
        if clock or not offset:
            for between in (" ", ", ", "T", "") if clock else ("",):
                if between or not clock or day.endswith("日"):
                    yield f"{day}{between}{clock}{offset}"


def _signs(text: str) -> list[bool]:
    """The signs that a text contains, which each of its forms has, too: so most samples need not be tried."""
    return [sign in text for sign in "/:年"]


def is_mixed(cells: Sequence[str]) -> bool:
    """Whether some cells are dates of a workbook, and others text: a program may have exchanged days and months."""
    return len({type(cell) is Exact for cell in cells}) > 1


def _dates(cells: Sequence[str]) -> Ways:
    if is_mixed(cells):
        return Ways({}, cells[0], certain=False)
    if reads_all(_date_parser(None), cells):
        return _NO_RULE
    samples: dict[tuple[str, ...], str] = {}
    for sample in _samples():
        if _signs(sample) == _signs(cells[0]) and reads_all(_date_parser(sample), cells):
            # Samples that differ in the order of day, month and year read one text as different days.
            samples.setdefault(tuple(re.findall("31|12|Dec|30", sample.replace("2030", "30"))), sample)
    moments = {sample: [_date_parser(sample)(cell) for cell in cells] for sample in samples.values()}
    if not moments:
        return Ways({}, cells[0], certain=False)
    place = _different(moments)
    has_clock = re.search(r"23|11", next(iter(moments)).replace("2030", "")) is not None
    readings: dict[str | None, str] = {}
    for sample, values in moments.items():
        if has_clock:
            readings[quoted(sample)] = f"{values[place].date()}"
        else:
            readings[f'{{ like = {quoted(sample)}, time = "09:00" }}'] = f"{values[place].date()} at 09:00"
    return Ways(readings, cells[place], certain=len(readings) == 1 and has_clock)


@functools.cache
def _date_parser(sample: str | None) -> Parse:
    """A function that reads times in the form of a sample; with None, in the form that needs no map."""
    dates = Dates() if sample is None else Dates(like=(sample,), time="09:00")
    return dates_parser(dates, ZoneInfo("UTC"))


# --- numbers ---------------------------------------------------------------------------------------------------------

_STYLES = ("1,234.56", "1.234,56", "1 234,56", "1'234.56")
_MARKS = frozenset(word.casefold() for word in (*CURRENCIES, "$", "¥", "元", "円"))
_UNITS = {
    "total_item_weight": frozenset(UNITS["weight"]),
    "total_item_volume": frozenset(UNITS["volume"]),
    "cargo_net_quantity": frozenset(("pcs", "pc", "stk", "件")),
    "to_contact.vessel_imo": frozenset(("imo",)),
    "from_contact.vessel_imo": frozenset(("imo",)),
}
_SMALL_GROUP = re.compile(r"(?<![\d.,'])0[.,'  ]\d")
"""A zero before a separator, with which no number in thousands begins."""


def marks_of(text: str) -> tuple[str, str]:
    """The text before a number, and after it, such as a currency or a unit."""
    before, after = re.match(r"[^\d+-]*", text), re.search(r"[^\d]*$", text)
    return before[0].strip() if before else "", after[0].strip() if after else ""


def _numbers(field: str, kind: type, cells: Sequence[str]) -> Ways:
    parse = _NUMBER_PARSERS[kind]
    texts = [cell for cell in cells if type(cell) is not Exact]
    if not all(_is_possible(field, cell) for cell in cells if type(cell) is Exact and reads_all(parse, [cell])):
        return Ways({}, cells[0], certain=False)
    if any(map(shortened_by_spreadsheet, texts)):
        return Ways({}, texts[0], certain=False)
    if not texts:
        return _NO_RULE if reads_all(parse, cells) else Ways({}, cells[0], certain=False)
    before, after = (next(filter(None, marks), "") for marks in zip(*map(marks_of, texts), strict=True))
    allowed = _MARKS if kind is Money else _UNITS.get(field, frozenset())
    if not {before.casefold(), after.casefold()} <= {*allowed, ""}:
        return Ways({}, texts[0], certain=False)
    after = f" {after}" if after else ""
    styles = _styles(field, kind, texts, (before, after))
    if not styles:
        return Ways({}, texts[0], certain=False)
    if len(styles) == 1:
        (rule,) = styles
        if rule is not None and not any(re.search(r"\d\D+\d", text) for text in texts):
            rule = f"{before}1234{after}"  # nothing shows which sign would stand before decimals
        return Ways({None if rule is None else quoted(rule): styles.popitem()[1][0]}, texts[0])
    place = _different(styles)
    readings: dict[str | None, str] = {}
    for rule, values in styles.items():
        readings[PLAIN if rule is None else quoted(rule)] = values[place]
    return Ways(readings, texts[place], certain=False)


def _styles(field: str, kind: type, texts: Sequence[str], marks: tuple[str, str]) -> dict[str | None, list[str]]:
    """The samples whose form all texts have, each with its readings of the texts; None for no sample."""
    parse, (before, after) = _NUMBER_PARSERS[kind], marks
    styles: dict[str | None, list[str]] = {}
    for style in (None, *_STYLES):
        rule = None if style is None else f"{before}{style}{after}"
        read = parse if rule is None else number_parser(rule, parse, whole=kind is int)
        plain = str if rule is None else number_style(rule)
        if not reads_all(read, texts):
            continue
        numbers = [plain(text) for text in texts]
        if all(map(functools.partial(_is_possible, field), numbers)) and not (
            style and style[1] in ".,'" and any(_SMALL_GROUP.search(text) and style[1] in text for text in texts)
        ):
            values = [f"{Decimal(number).normalize():f}" for number in numbers]
            if values not in styles.values():
                styles[rule] = values
    return styles


def _is_possible(field: str, number: str) -> bool:
    """Whether a number, in plain digits, can be the value of a field."""
    value = float(number)
    if field.endswith("latitude"):
        return abs(value) <= 90
    if field.endswith("longitude"):
        return abs(value) <= 180
    if field.endswith("vessel_imo"):
        return re.fullmatch("[1-9][0-9]{6}", number) is not None and int(number) % 10 == imo_check_digit(int(number))
    return value >= 0 or field.endswith("altitude")


# --- phone numbers ---------------------------------------------------------------------------------------------------

INTERNATIONAL = "+"
"""The rule for phone numbers that all begin with + and a country code."""

_COUNTRIES = (
    *("+65 61234567", "+852 21234567", "+60 312345678", "+61 212345678", "+62 81234567890", "+886 212345678"),
    *("+86 13812345678", "+91 9812345678", "+81 312345678", "+1 2125550123", "+44 2079460958", "+49 3012345678"),
    *("+33 142345678", "+34 912345678"),
)


def _phones(cells: Sequence[str]) -> Ways:
    if all(map(is_international, cells)):
        return _NO_RULE
    if all(names_country(cell) for cell in cells):
        fits = all(map(is_international, map(phone_style(INTERNATIONAL), cells)))
        return Ways({quoted(INTERNATIONAL): ""} if fits else {}, cells[0], certain=fits)
    sample = next(cell for cell in cells if not names_country(cell))
    readings: dict[str | None, str] = {}
    for country in _COUNTRIES:
        read = phone_style(country)
        if all(meant_by(read(cell)) == read(cell) for cell in cells):
            readings[quoted(country)] = read(sample)
    return Ways(readings, sample, certain=False)
