"""Reads one cell of a table as a value, strictly: a text with two possible meanings is refused."""

import functools
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, Any

import msgspec

from gotsurge_async.errors import Coded
from gotsurge_async.models.base import OpenEnum
from gotsurge_async.money import MILLICENTS_PER_UNIT, Money
from gotsurge_async.starting import pattern

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

Parse = Callable[[str], Any]
"""Converts text without white space around it to a value. A ValueError has the fault, and what would be right."""


class Misread(ValueError):
    """A cell breaks a rule: the rule, its code, and the value that was certainly meant, if there is one."""

    def __init__(self, rule: str, explain_code: str, proposal: str | None = None) -> None:
        super().__init__(Coded(rule, explain_code))
        self.proposal = proposal


class Exact(str):
    """A number, a time or a truth value from a cell with a type, as text in our own form.

    A map's rules about how people write numbers do not apply to such text.
    """

    __slots__ = ()

    def strip(self, _: str | None = None, /) -> "Exact":
        """Return the text itself: there is no white space around it."""
        return self


def _plain(value: Any) -> str:
    """A text of a subclass of str as plain text."""
    if isinstance(value, str):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


encode: Callable[[Any], bytes] = msgspec.json.Encoder(enc_hook=_plain).encode
"""The JSON text of candidates and plain values."""
_plain_row = msgspec.json.Decoder(list[str]).decode
_typed_row = msgspec.json.Decoder(list[str | list[str]]).decode


def encode_row(cells: Sequence[str]) -> bytes:
    """A row as JSON text, in which each `Exact` cell is a list of one text."""
    return encode([[str(cell)] if type(cell) is Exact else cell for cell in cells])


def decode_row(text: bytes) -> list[str]:
    """A row from the JSON text of `encode_row`, or of plain cells; ValueError if the text is neither."""
    try:
        return _plain_row(text)
    except msgspec.ValidationError:
        return [Exact(cell[0]) if isinstance(cell, list) else cell for cell in _typed_row(text)]


class Broken(Coded):
    """A cell without a valid value; the text is the rule that it breaks."""

    __slots__ = ()


_INTEGER = pattern(r"[+-]?[0-9]{1,18}")
_WHOLE_WITH_DECIMALS = pattern(r"([+-]?[0-9]{1,18})\.0*")
_NUMBER = pattern(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_MONEY = pattern(r"([+-]?)([0-9]{1,12})(?:\.([0-9]{1,5})0*)?")
_TOO_FINE = pattern(r"[+-]?[0-9]{1,12}\.[0-9]{6,}")
_GROUPED = pattern(r"[0-9]{1,3}(?:[,' \u00a0][0-9]{3}){1,4}(?:\.[0-9]{1,5})?")
_WITH_CURRENCY = pattern(r"(?:[A-Za-z]{1,3}\$?|\$|€|£|¥)\s*(-?[0-9.,]+)|(-?[0-9.,]+)\s*(?:[A-Za-z]{1,3}\$?|\$|€|£|¥)")
_TIME = pattern(r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d)(:\d\d(?:\.\d{1,9})?)?([Zz]|[+-]\d\d:?\d\d)?", re.ASCII)
_SHORTENED = pattern(r"[0-9](?:[.,][0-9]+)?[eE]\+?[0-9]{1,3}")

_FRACTION_DIGITS = 5


def parser(kind: type, zone: "ZoneInfo | None") -> Parse | None:
    """Return a function that reads the cells of a field of type ``kind``; None if the text is the value.

    The value of an enumeration stays text: the checks of an order report unknown values.
    """
    if kind is datetime:
        return time_parser(zone)
    parse = None if issubclass(kind, OpenEnum) else _PARSERS[kind]
    return None if parse is None else _cached(parse)


_cached = functools.lru_cache(maxsize=4096)  # the same few values fill most files


def shortened_by_spreadsheet(text: str) -> bool:
    """Whether a spreadsheet may have shortened a long number to this text, such as 1.23E+12, which fits many others."""
    return "+" in text and _SHORTENED.fullmatch(text) is not None


def parse_int(text: str) -> int:
    """Parse a whole number, in digits."""
    if _INTEGER.fullmatch(text):
        return int(text)
    decimals = _WHOLE_WITH_DECIMALS.fullmatch(text)
    if decimals:
        # 1.000 is a thousand where a point stands between thousands.
        one_meaning = len(text) - len(decimals[1]) != len(".000")
        raise Misread("write a whole number without decimals", "E217", decimals[1] if one_meaning else None)
    raise Misread("write a whole number with digits only, such as 4", "E217")


def parse_number(text: str) -> float:
    """Parse a finite number with a decimal point, or a whole number, which stays whole."""
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        number = float(text)
        if isfinite(number):
            return number
        raise Misread("this number is too large", "E217")
    if "," in text:
        raise Misread("write a number with a decimal point and without other separators, such as 1234.5", "E217")
    raise Misread("write a number with digits and a decimal point, without its unit, such as 12.5", "E217")


def parse_bool(text: str) -> bool:
    """Parse ``true`` or ``false``."""
    if text == "true":
        return True
    if text == "false":
        return False
    raise Misread("must be true or false", "E218")


def parse_money(text: str) -> int:
    """Parse a decimal number of units of the currency as an amount in thousandths of a cent."""
    match = _MONEY.fullmatch(text)
    if match is None:
        raise _no_money(text)
    sign, whole, fraction = match.groups("")
    millicents = int(whole) * MILLICENTS_PER_UNIT + int(fraction.ljust(_FRACTION_DIGITS, "0"))
    return -millicents if sign == "-" else millicents


def _no_money(text: str) -> Misread:
    if _TOO_FINE.fullmatch(text):
        return Misread("an amount has at most five decimals, usually two, such as 48.50", "E219")
    if _GROUPED.fullmatch(text) and not re.fullmatch(r"[0-9]+,[0-9]{2}", text):
        return Misread("write an amount without thousands separators", "E219", re.sub(r"[,' \u00a0]", "", text))
    amount = _WITH_CURRENCY.fullmatch(text)
    if amount:
        plain = amount[1] or amount[2]
        if _MONEY.fullmatch(plain):
            rule = f"write an amount without its currency, which belongs in the currency column: {plain}"
            return Misread(rule, "E219")
    return Misread("write an amount as a decimal number, such as 48.50", "E219")


_DAY = pattern(r"\d{4}-\d\d-\d\d")
_NO_TIME_OF_DAY = (
    "has no time of day: write it in full, such as 2030-03-04T09:00:00+08:00 "
    '(if a date alone means midnight, add time = "00:00" to [dates] in a map)'
)


def time_parser(zone: "ZoneInfo | None") -> Parse:
    """Return a function that reads RFC 3339 times as UTC. A time without an offset is in ``zone``; a fault if None.

    A time that a change of the clocks skips or repeats is a fault, too.
    """

    def parse_time(text: str) -> datetime:
        match = _TIME.fullmatch(text)
        if match is None:
            if _DAY.fullmatch(text):
                raise Misread(_NO_TIME_OF_DAY, "E220")
            raise Misread("write a time as 2030-03-04T09:00:00+08:00", "E220")
        minute, second, offset = match.groups("")
        try:
            moment = msgspec.convert(f"{minute}{second or ':00'}{offset}", datetime)
        except msgspec.ValidationError:
            why = "there is no such date or time; write a time as 2030-03-04T09:00:00+08:00"
            raise Misread(why, "E220") from None
        if moment.tzinfo is None:
            moment = in_zone(moment, zone)
        try:
            return moment.astimezone(UTC)
        except OverflowError:
            raise Misread("this time is out of range", "E220") from None

    return _cached(parse_time)


def in_zone(naive: datetime, zone: "ZoneInfo | None") -> datetime:
    """A time in a zone; ValueError if the zone is None, or its clocks skip or repeat the time."""
    if zone is None:
        raise Misread(
            f"this time has no time zone: write it with one, such as {naive.isoformat()}+08:00, "
            "or name the zone of the whole file (--timezone Asia/Singapore)",
            "E221",
        )
    try:
        first, second = naive.replace(tzinfo=zone, fold=0), naive.replace(tzinfo=zone, fold=1)
        if first.utcoffset() == second.utcoffset():
            return first
        happens = first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == naive
    except OverflowError:
        raise Misread("this time is out of range", "E220") from None
    if happens:
        one, other = first.isoformat(), second.isoformat()
        rule = f"the clocks in {zone.key} go back, so this time happens twice: write {one} or {other}"
        raise Misread(rule, "E220")
    raise Misread(f"the clocks in {zone.key} go forward, so this time never happens", "E220")


_PARSERS: dict[type, Parse | None] = {
    str: None,
    int: parse_int,
    float: parse_number,
    bool: parse_bool,
    Money: parse_money,
}
