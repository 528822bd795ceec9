"""Makes functions that read the cells of a field, from a map's rules about the form of values.

A map has one sample of a time, a number or a phone number: a known value in the file's form, which is
31 December 2030, 23:59:58, the number 1234.56, or a phone number after its country's calling code.
"""

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, time, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

from gotsurge_async.money import Money
from gotsurge_async.tables.cells import Exact, Misread, Parse, in_zone, parser, time_parser
from gotsurge_async.tables.fields import Column, did_you_mean
from gotsurge_async.tables.maps.column_map import ALL, ColumnMap, Dates, zone_named

_NUMBERS = (int, float, Money)
_REMEMBERED = 4096
_SHOWN = 6

Step = Callable[[str], str]

_CLEAN: Mapping[str, Step] = {
    "spaces": lambda text: " ".join(text.split()),
    "unquote": lambda text: text.removeprefix("'").strip(),  # some shops write '018956, to keep the zero
    "pad6": lambda text: re.sub(
        r"\A([0-9]+)(?:\.0)?\Z", lambda code: code[1].zfill(6), text
    ),  # it was kept as a number
    "upper": str.upper,
    "lower": str.lower,
}


def reader(column: Column, column_map: ColumnMap, zone: ZoneInfo | None) -> Parse | None:
    """Return a function that reads the cells of a field; None if the text is the value.

    The function returns None if the rules leave nothing of a text.
    """

    def rule(rules: Mapping[str, Any], applies: bool) -> Any:
        return rules.get(column.name, rules.get(ALL) if applies else None)

    kind = column.kind
    steps: list[Step] = [_keeping_exact(_CLEAN[step]) for step in rule(column_map.clean, applies=True) or ()]
    if table := column_map.values.get(column.name):
        steps.append(_translation(table))
    if phone := rule(column_map.phones, column.field == "phone"):
        steps.append(_phone_reader(phone))
    parse = parser(kind, zone)
    dates, number = rule(column_map.dates, kind is datetime), rule(column_map.numbers, kind in _NUMBERS)
    if dates and kind is datetime:
        parse = dates_parser(dates, zone)
    elif number and kind in _NUMBERS and parse is not None:
        parse = number_parser(number, parse, whole=kind is int)
    elif not steps:
        return parse

    def read(text: str) -> Any:
        for step in steps:
            text = step(text)
        if not text:
            return None
        return text if parse is None else parse(text)

    # By the type too: a number of a workbook is not read as one that people wrote.
    return functools.lru_cache(maxsize=_REMEMBERED, typed=True)(read)


def _keeping_exact(clean: Step) -> Step:
    """Return a step after which a number of a workbook is still not read as one that people wrote."""
    return lambda text: Exact(clean(text)) if type(text) is Exact else clean(text)


def _translation(table: Mapping[str, str]) -> Step:
    """Return a function that replaces a text by its meaning in a table, whatever the case of its letters."""
    folded = {_folded(name): meaning for name, meaning in table.items() if name != ALL}
    meanings = {*table.values()}
    other = table.get(ALL)

    def translate(text: str) -> str:
        meaning = folded.get(_folded(text), other)
        if meaning is not None:
            return meaning
        if text in meanings:
            return text
        names = [name for name in table if name != ALL]
        shown = f"{', '.join(names[:_SHOWN])}{' …' if len(names) > _SHOWN else ''}"
        why = f"is not one of the values in the map{did_you_mean(text, names) or f': it knows {shown}'}"
        raise Misread(why, "E224")

    return translate


def _folded(text: str) -> str:
    return re.sub(r"\s+", " ", text.strip()).casefold()


# --- times -----------------------------------------------------------------------------------------------------------

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_NUMBER = {
    "2030": r"(?P<year>\d{4})",
    "30": r"(?P<short>\d{2})",
    "31": r"(?P<day>\d{1,2})",
    "12": r"(?P<month>\d{1,2})",
    "23": r"(?P<hour>\d{1,2})",
    "11": r"(?P<half>\d{1,2})",
    "59": r"(?P<minute>\d{2})",
    "58": r"(?P<second>\d{2}(?:\.\d{1,6})?)",
}
_HOURS = r"(?:UTC|GMT)[+-]\d{1,2}(?::\d\d)?(?!\d)"
"""A pattern of offsets whose hours may have one digit."""
_PIECE = re.compile(
    rf"(?P<offset>(?:UTC|GMT)?[+-](?!2030|1231|3112)\d\d:?\d\d|{_HOURS}|UTC|GMT|\bZ\b|(?<=\d)Z\b)"
    r"|(?P<number>2030|30|31|12|23|11|59|58)|(?P<name>December|Dec)|(?P<weekday>Tuesday|Tue)"
    r"|(?P<noon>[Pp]\.?[Mm]\.?)|(?P<space>\s+)|(?P<rest>…)",
    re.IGNORECASE,
)
_SPACES = " \u00a0\u202f"
"""Spaces between the thousands of a number; an ASCII pattern does not count the non-breaking ones as spaces."""
_SPACE = rf"[\s{_SPACES}]"
_OTHERS = {
    "offset": rf"(?P<offset>(?:UTC|GMT)?[+-]\d\d:?\d\d|{_HOURS}|UTC|GMT|Z)",
    "name": r"(?P<name>[A-Za-z]{3,9})\.?",
    "weekday": r"[A-Za-z]+\.?",
    "noon": r"(?P<noon>[AaPp])\.?[Mm]\.?",
    "space": f"{_SPACE}+",
    # Not read, such as the end of a window that stands with its start in one cell; never a part of the time before it.
    "rest": rf"(?!{_SPACE}*(?:[AP]\.?M\b|Z\b|UTC|GMT|[+-]\d\d:?\d\d\b))(?P<rest>.+)",
}
_FIRST_DAYS = {"47848": ("from1900", datetime(1899, 12, 30)), "46386": ("from1904", datetime(1904, 1, 1))}  # noqa: DTZ001
"""31 December 2030 as a number of days, in both ways of counting them: the name of a group, and the first day."""
_COUNTED = re.compile(r"(47848|46386)(\.9999\d*)?")
_TYPED_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_SAMPLE = "write the time 31 December 2030, 23:59 or 23:59:58, in your file's format, such as 31/12/2030 23:59"


def _time_pattern(sample: str) -> re.Pattern[str]:
    """Make a pattern for times in the form of a sample; ValueError if the text is not such a sample."""
    if counted := _COUNTED.fullmatch(sample):
        fraction = r"(?P<fraction>\.\d{1,15})?" if counted[2] else ""
        return re.compile(rf"(?P<{_FIRST_DAYS[counted[1]][0]}>\d{{5}}){fraction}", re.ASCII)
    parts: list[str] = []
    at, after_number = 0, False
    while at < len(sample):
        piece = _PIECE.match(sample, at)
        if piece is None:
            if sample[at].isdigit():
                raise Misread(f'"{sample}" is not a valid sample of a time: {_SAMPLE}', "E231")
            parts.append(re.escape(sample[at]))
            at, after_number = at + 1, False
            continue
        kind = str(piece.lastgroup)
        at = piece.end()
        if kind == "number":
            part = _NUMBER[piece[0]]
            if after_number or sample[at : at + 1].isdigit():  # in 20301231 only the length shows where one ends
                part = part.replace("{1,2}", "{2}")
            parts.append(part)
        elif kind == "rest":  # it takes no digit of a number next to it
            before, behind = r"(?!\d)" * after_number, r"(?<!\d)" * sample[at : at + 1].isdigit()
            parts.append(f"{before}{_OTHERS[kind]}{behind}")
        else:
            parts.append(_OTHERS[kind])
        after_number = kind == "number"
    try:
        pattern = re.compile("".join(parts), re.IGNORECASE | re.ASCII)
    except re.error:  # a group has a name that another one has
        raise Misread(f'"{sample}" contains a part of the date twice: {_SAMPLE}', "E231") from None
    has = pattern.groupindex.keys()
    has_day = {"year", "short"} & has and {"month", "name"} & has and "day" in has
    has_clock = {"hour", "half"} & has or "minute" not in has
    if not has_day or not has_clock or ("half" in has) != ("noon" in has):
        raise Misread(f'"{sample}" is not a valid sample of a time: {_SAMPLE}', "E231")
    return pattern


def check_dates(dates: Dates) -> None:
    """Check the sample dates, the zone and the time of day; ConfigError for the zone, ValueError for the others."""
    zone_named(dates.zone)
    clock = _time_of_day(dates.time)
    for sample in dates.like:
        if clock is None and not {"hour", "half", "fraction"} & _time_pattern(sample).groupindex.keys():
            raise Misread(f'"{sample}" has no time of day: add one, such as time = "09:00"', "E231")


def _time_of_day(text: str | None) -> time | None:
    try:
        return None if text is None else time.fromisoformat(text)
    except ValueError:
        raise Misread(f'time = "{text}": write a time of day such as "09:00"', "E231") from None


def dates_parser(dates: Dates, file_zone: ZoneInfo | None) -> Parse:
    """Return a function that reads times in the form of the samples, or of RFC 3339, as UTC."""
    zone = zone_named(dates.zone) or file_zone
    clock = _time_of_day(dates.time)
    patterns = [_time_pattern(sample) for sample in dates.like]
    otherwise = time_parser(zone)
    later = timedelta(minutes=dates.minutes_later)
    written = " or ".join(dates.like)

    def moment_of(text: str) -> datetime:
        for pattern in patterns:
            if match := pattern.fullmatch(text):
                return _moment(match.groupdict(), clock, zone)
        if _TYPED_DATE.fullmatch(text) and clock is not None:
            return in_zone(datetime.combine(datetime.fromisoformat(text), clock), zone).astimezone(UTC)
        try:
            moment: datetime = otherwise(text)
        except ValueError as error:
            if patterns and str(error).startswith("write a time"):
                rule = f'does not have the date format of the map file, in which 31 December 2030 is "{written}"'
                raise Misread(rule, "E220") from None
            raise
        return moment

    def parse(text: str) -> datetime:
        moment = moment_of(text)
        try:
            return moment + later
        except OverflowError:
            raise Misread("this time is out of range", "E220") from None

    return parse


def _moment(parts: Mapping[str, str | None], clock: time | None, zone: ZoneInfo | None) -> datetime:
    """The time in UTC from the parts of a text, which have the names of the groups in `_NUMBER` and `_OTHERS`."""
    offset = parts.get("offset")
    naive = _counted_from(parts, clock) or _written(parts, clock)
    try:
        moment = in_zone(naive, zone) if offset is None else naive.replace(tzinfo=_offset(offset))
        return moment.astimezone(UTC)
    except OverflowError:
        raise Misread("this time is out of range", "E220") from None


def _counted_from(parts: Mapping[str, str | None], clock: time | None) -> datetime | None:
    """The time for a number of days, to the second; None if the parts are not a number of days."""
    for name, first in _FIRST_DAYS.values():
        if days := parts.get(name):
            day, fraction = first + timedelta(days=int(days)), parts.get("fraction")
            seconds = round(float(fraction or 0) * 86_400)
            return datetime.combine(day, clock) if clock and not fraction else day + timedelta(seconds=seconds)
    return None


def _written(parts: Mapping[str, str | None], clock: time | None) -> datetime:
    half = parts.get("half")
    try:
        hour = int(parts.get("hour") or 0)
        if half:
            if not 1 <= int(half) <= 12:
                raise ValueError
            hour = int(half) % 12 + (12 if (parts["noon"] or "").lower() == "p" else 0)
        second, _, fraction = (parts.get("second") or "0").partition(".")
        at = time(hour, int(parts.get("minute") or 0), int(second), int(fraction.ljust(6, "0") or 0))
        if not (parts.get("hour") or half) and clock is not None:
            at = clock
        year = int(parts.get("year") or 2000 + int(parts.get("short") or 0))
        month = int(parts.get("month") or 0) or _MONTHS.index((parts.get("name") or "")[:3].lower()) + 1
        return datetime.combine(datetime(year, month, int(parts["day"] or 0)), at)  # noqa: DTZ001 - `_moment` adds it
    except ValueError:
        raise Misread("there is no such date or time", "E220") from None


def _offset(text: str) -> timezone:
    parts = re.search(r"([+-])(\d{1,2}):?(\d\d)?", text)
    sign, hours, minutes = parts.groups("0") if parts else ("", "0", "0")
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    try:
        return timezone(-offset if sign == "-" else offset)
    except ValueError:
        raise Misread("there is no such date or time", "E220") from None


# --- numbers ---------------------------------------------------------------------------------------------------------

_NUMBER_SAMPLE = re.compile(r"(?P<before>\D*?)\s*1(?P<group>\D?)234(?:(?P<point>[.,])56)?\s*(?P<after>\D*)")


def number_style(sample: str) -> Callable[[str], str]:
    """Return a function that converts a number in the form of a sample to plain digits with a decimal point.

    Raises ValueError if the text is not such a sample; the function does, if a number has another form.
    """
    parts = _NUMBER_SAMPLE.fullmatch(sample)
    if parts is None or (parts["group"] and parts["group"] == parts["point"]):
        why = f'"{sample}" is not a valid sample: write the number 1234.56 in the form of the file, such as S$1,234.56'
        raise Misread(why, "E231")
    before, group, point, after = parts["before"].strip(), parts["group"], parts["point"], parts["after"].strip()
    between = f"[{_SPACES}]" if group and group in _SPACES else re.escape(group)
    grouped = rf"\d{{1,3}}(?:{between}\d{{3}})+|" if group else ""
    decimals = rf"(?:{re.escape(point)}(?P<decimals>\d+))?" if point else ""
    none = rf"|(?={re.escape(point)}\d)" if point else ""  # .5 is 0.5
    pattern = re.compile(
        rf"(?P<sign>[+-]?){_SPACE}*(?:{re.escape(before)})?{_SPACE}*(?P<inner>[+-]?)(?P<whole>{grouped}\d+{none})"
        rf"{decimals}{_SPACE}*(?:{re.escape(after)})?",
        re.IGNORECASE | re.ASCII,
    )

    def plain(text: str) -> str:
        match = pattern.fullmatch(text)
        if match is None or (match["sign"] and match["inner"]):
            rule = f'does not have the number format of the map file, in which 1234.56 is "{sample}"'
            raise Misread(rule, "E217")
        digits = re.sub(r"\D", "", match["whole"]) or "0"
        rest = match["decimals"] if point else None
        return f"{match['sign'] or match['inner']}{digits}" + (f".{rest}" if rest else "")

    return plain


def misreads_digits(samples: Iterable[str]) -> bool:
    """Whether one of some samples of numbers reads plain digits, such as 1.234, as another number."""
    for sample in samples:
        try:
            if number_style(sample)("1.234") != "1.234":
                return True
        except ValueError:  # such digits are a fault, not another number
            continue
    return False


def number_parser(sample: str, parse: Parse, *, whole: bool) -> Parse:
    """Return a function that reads numbers in the form of a sample; cells that are numbers need no sample.

    ``parse`` reads plain digits. If ``whole``, decimals are a fault, and zeros after the point are dropped.
    """
    plain = number_style(sample)

    def read(text: str) -> object:
        if type(text) is Exact:
            return parse(text)
        digits = plain(text)
        return parse(re.sub(r"\.0+$", "", digits) if whole else digits)

    return read


# --- phone numbers ---------------------------------------------------------------------------------------------------

_PHONE_SAMPLE = re.compile(r"\+[1-9]\d{0,2}[ -]\d[\d \-()]{3,20}", re.ASCII)


def phone_style(sample: str) -> Callable[[str], str]:
    """Return a function that converts phone numbers of the sample's country to the international form.

    A number that is not certainly one of that country, or international, is left as it is. The sample "+" has no
    country: only numbers that begin with + are international. Raises ValueError for a text that is not such a sample.
    """
    read = _phone_reader(sample)

    def international(text: str) -> str:
        try:
            return read(text)
        except Misread:
            return text

    return international


def _phone_reader(sample: str) -> Step:
    """Convert as `phone_style`, but report a number that is not certain as a fault, with the reason."""
    from gotsurge_async.models import phones  # 17 ms, for few maps

    region = phones.region_of(sample) if _PHONE_SAMPLE.fullmatch(sample) else None
    if region is None and sample != "+":
        why = f'"{sample}" is not a phone number with a country code and a space, such as +65 61234567'
        raise Misread(why, "E231")

    def international(text: str) -> str:
        if not text or phones.is_international(text):
            return text
        number = phones.meant_by(text, region) if region or phones.names_country(text) else None
        if number is None:
            raise Misread(phones.problem_of(text, region), "E222")
        return number

    return international
