"""How people write times, numbers and phone numbers, told by one sample of each.

A sample is a known thing as their file would write it: 31 December 2030, 23:59:58; the number 1234.56; a phone number
with its country apart. No letters stand for anything, so nobody needs to learn which.
"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

from gotsurge_async.bulk.sources.cells import Exact, Parse, in_zone, time_parser
from gotsurge_async.bulk.sources.options import Dates, zone_named
from gotsurge_async.models import phones

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
_PIECE = re.compile(
    r"(?P<offset>(?:UTC|GMT)?[+-](?!2030|1231|3112)\d\d:?\d\d|UTC|GMT|\bZ\b|(?<=\d)Z\b)"
    r"|(?P<number>2030|30|31|12|23|11|59|58)|(?P<name>December|Dec)|(?P<weekday>Tuesday|Tue)"
    r"|(?P<noon>[Pp]\.?[Mm]\.?)|(?P<space>\s+)",
    re.IGNORECASE,
)
_OTHERS = {
    "offset": r"(?P<offset>(?:UTC|GMT)?[+-]\d\d:?\d\d|UTC|GMT|Z)",
    "name": r"(?P<name>[A-Za-z]{3,9})\.?",
    "weekday": r"[A-Za-z]+\.?",
    "noon": r"(?P<noon>[AaPp])\.?[Mm]\.?",
    "space": r"\s+",
}
_TYPED_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_SAMPLE = "write 31 December 2030, 23:59:58, as the file would, such as 31/12/2030 23:59"


def _time_pattern(sample: str) -> re.Pattern[str]:
    """What reads times that are written as a sample.

    Raises:
        ValueError: it is no such sample.
    """
    parts: list[str] = []
    at, after_number = 0, False
    while at < len(sample):
        found = _PIECE.match(sample, at)
        if found is None:
            if sample[at].isdigit():
                raise ValueError(f'"{sample}" is no sample of a time: {_SAMPLE}')
            parts.append(re.escape(sample[at]))
            at, after_number = at + 1, False
            continue
        kind = str(found.lastgroup)
        at = found.end()
        if kind == "number":
            part = _NUMBER[found[0]]
            if after_number or sample[at : at + 1].isdigit():  # 20301231: nothing tells where one ends but its length
                part = part.replace("{1,2}", "{2}")
            parts.append(part)
        else:
            parts.append(_OTHERS[kind])
        after_number = kind == "number"
    try:
        pattern = re.compile("".join(parts), re.IGNORECASE | re.ASCII)
    except re.error:  # a group of a name that stands there already
        raise ValueError(f'"{sample}" says something twice: {_SAMPLE}') from None
    has = pattern.groupindex.keys()
    if not ({"year", "short"} & has and {"month", "name"} & has and "day" in has) or ("half" in has) != ("noon" in has):
        raise ValueError(f'"{sample}" is no sample of a time: {_SAMPLE}')
    if "minute" in has and not {"hour", "half"} & has:
        raise ValueError(f'"{sample}" is no sample of a time: {_SAMPLE}')
    return pattern


def check_dates(dates: Dates) -> None:
    """See that samples, zone and time of day can be right.

    Raises:
        ValueError, ConfigError: what is wrong.
    """
    zone_named(dates.zone)
    clock = _time_of_day(dates.time)
    for sample in dates.like:
        if clock is None and not {"hour", "half"} & _time_pattern(sample).groupindex.keys():
            raise ValueError(f'"{sample}" has no time of day: say which one is meant, such as time = "09:00"')


def _time_of_day(text: str | None) -> time | None:
    if text is None:
        return None
    try:
        return time.fromisoformat(text)
    except ValueError:
        raise ValueError(f'time = "{text}": write a time of day such as "09:00"') from None


def dates_parser(dates: Dates, file_zone: ZoneInfo | None) -> Parse:
    """What reads times that are written as samples say, or as RFC 3339 does. Gives UTC."""
    zone = zone_named(dates.zone) or file_zone
    clock = _time_of_day(dates.time)
    patterns = [_time_pattern(sample) for sample in dates.like]
    otherwise = time_parser(zone)
    later = timedelta(minutes=dates.minutes_later)
    written = " or ".join(dates.like)

    def parse(text: str) -> datetime:
        for pattern in patterns:
            if found := pattern.fullmatch(text):
                return shifted(_moment(found.groupdict(), clock, zone))
        if _TYPED_DATE.fullmatch(text) and clock is not None:
            return shifted(in_zone(datetime.combine(datetime.fromisoformat(text), clock), zone).astimezone(UTC))
        try:
            return shifted(otherwise(text))
        except ValueError as error:
            if patterns and str(error).startswith("a time is written"):
                raise ValueError(f'is not written as "{written}", which the map says of 31 December 2030') from None
            raise

    def shifted(moment: datetime) -> datetime:
        try:
            return moment + later
        except OverflowError:
            raise ValueError("this time is out of range") from None

    return parse


def _moment(found: dict[str, str | None], clock: time | None, zone: ZoneInfo | None) -> datetime:
    def number(name: str) -> int:
        return int(found.get(name) or 0)

    try:
        hour = number("hour")
        if half := found.get("half"):
            if not 1 <= int(half) <= 12:
                raise ValueError
            hour = int(half) % 12 + (12 if (found["noon"] or "").lower() == "p" else 0)
        second, _, fraction = (found.get("second") or "0").partition(".")
        at = time(hour, number("minute"), int(second), int(fraction.ljust(6, "0") or 0))
        if not (found.get("hour") or half) and clock is not None:
            at = clock
        naive = datetime.combine(datetime(_year(found), _month(found), number("day")), at)  # noqa: DTZ001 - see below
        offset = found.get("offset")
        moment = in_zone(naive, zone) if offset is None else naive.replace(tzinfo=_offset(offset))
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("this time is out of range") from None
    except ValueError as error:
        if "clocks" in str(error) or "zone" in str(error) or "out of range" in str(error):
            raise
        raise ValueError("there is no such date or time") from None


def _year(found: dict[str, str | None]) -> int:
    return int(found.get("year") or 2000 + int(found.get("short") or 0))


def _month(found: dict[str, str | None]) -> int:
    if found.get("month"):
        return int(found["month"] or 0)
    return _MONTHS.index((found["name"] or "")[:3].lower()) + 1


def _offset(text: str) -> timezone:
    digits = re.sub(r"[^\d]", "", text)
    if not digits:
        return timezone.utc  # noqa: UP017 - its type is that of the others
    minutes = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-minutes if "-" in text else minutes)


# --- numbers ---------------------------------------------------------------------------------------------------------

_NUMBER_SAMPLE = re.compile(r"(?P<before>\D*?)\s*1(?P<group>\D?)234(?:(?P<point>[.,])56)?\s*(?P<after>\D*)")
_SPACES = " \u00a0\u202f"


def number_style(sample: str) -> Callable[[str], str]:
    """What turns a number as people write it into plain digits with a decimal point, from 1234.56 in their way.

    Raises:
        ValueError: it is no such sample; of what it returns, that a number is not written so.
    """
    found = _NUMBER_SAMPLE.fullmatch(sample)
    if found is None or (found["group"] and found["group"] == found["point"]):
        raise ValueError(f'"{sample}" is no sample of a number: write 1234.56 as the file would, such as S$1,234.56')
    before, group, point, after = found["before"].strip(), found["group"], found["point"], found["after"].strip()
    between = f"[{_SPACES}]" if group and group in _SPACES else re.escape(group)
    grouped = rf"\d{{1,3}}(?:{between}\d{{3}})+|" if group else ""
    decimals = rf"(?:{re.escape(point)}(?P<decimals>\d+))?" if point else ""
    pattern = re.compile(
        rf"(?P<sign>[+-]?)\s*(?:{re.escape(before)})?\s*(?P<inner>[+-]?)(?P<whole>{grouped}\d+){decimals}"
        rf"\s*(?:{re.escape(after)})?",
        re.IGNORECASE | re.ASCII,
    )

    def plain(text: str) -> str:
        match = pattern.fullmatch(text)
        if match is None or (match["sign"] and match["inner"]):
            raise ValueError(f'is not written as "{sample}", which the map says of the number 1234.56')
        digits = re.sub(r"\D", "", match["whole"])
        rest = match["decimals"] if point else None
        return f"{match['sign'] or match['inner']}{digits}" + (f".{rest}" if rest else "")

    return plain


def misreads_digits(sample: str) -> bool:
    """Whether the text 1.234 is another number where numbers are written as a sample."""
    try:
        return number_style(sample)("1.234") != "1.234"
    except ValueError:  # then it is refused
        return False


def number_parser(sample: str, parse: Parse, *, whole: bool) -> Parse:
    """What reads numbers that are written as a sample; those of a table that has such cells are known as they are.

    Args:
        parse: reads plain digits.
        whole: whether it takes no decimals; zeros are dropped then.
    """
    plain = number_style(sample)

    def read(text: str) -> object:
        if type(text) is Exact:
            return parse(text)
        digits = plain(text)
        return parse(re.sub(r"\.0+$", "", digits) if whole else digits)

    return read


# --- phone numbers ---------------------------------------------------------------------------------------------------

_PHONE_SAMPLE = re.compile(r"\+(?P<country>[1-9]\d{0,2})[ -](?P<own>\d[\d \-()]{3,20})")


def phone_style(sample: str) -> Callable[[str], str]:
    """What writes phone numbers in the international way, from one of the country with that apart: +65 61234567.

    A number that is not surely one of that country, or international, is left as it is.

    Raises:
        ValueError: it is no such sample.
    """
    found = _PHONE_SAMPLE.fullmatch(sample)
    if found is None:
        raise ValueError(f'"{sample}" is no sample of a phone number: write one with its country apart: +65 61234567')
    country, length = found["country"], len(re.sub(r"\D", "", found["own"]))

    def international(text: str) -> str:
        plain = phones.digits_of(text)
        digits = plain.removeprefix("+")
        if phones.has_bracketed_zero(text) or not (digits.isascii() and digits.isdecimal()):
            return text
        return next(_readings(plain, country, length), text)

    return international


def _readings(plain: str, country: str, length: int) -> Iterator[str]:
    """What a number can only be, if it is clear."""
    if plain.startswith("+"):
        yield plain
    elif plain.startswith("00"):
        yield f"+{plain[2:]}"
    elif len(plain) == length:
        yield f"+{country}{plain}"
    elif plain.startswith(country) and len(plain) == len(country) + length:
        yield f"+{plain}"
    elif plain.startswith("0") and len(plain) == length + 1 and not phones.keeps_zero(country):
        yield f"+{country}{plain[1:]}"
