"""Checks whether the values of a column can be those of the field that its name suggests."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from gotsurge_async.errors import ConfigError
from gotsurge_async.models.base import OpenEnum
from gotsurge_async.models.tasks import Order
from gotsurge_async.models.words import printable
from gotsurge_async.money import Money
from gotsurge_async.tables.cells import shortened_by_spreadsheet
from gotsurge_async.tables.fields import columns_of
from gotsurge_async.tables.maps.column_map import zone_named
from gotsurge_async.tables.maps.guessing import CURRENCIES, WINDOW
from gotsurge_async.tables.maps.ways import LONGEST, is_clock, is_mixed, time_kind, ways

_MOST_WORDS = 20
"""The most texts that a table of [values] would explain."""

_SEARCHED = 20
"""The number of cells that are searched for one that is not a time."""

_PHONE = re.compile(r"\(?\+?[\d\s().\-/]+", re.ASCII)
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_ZIP = re.compile(
    r"'?(?:[A-Z]{1,2}[\s-]?)?(?:S\s?\()?\d{3,7}\)?|\d{5}-\d{3,4}|\d{3}-\d{4}|\d{3} \d{2}|\d{4} ?[A-Z]{2}|"
    r"[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}|[A-Z]\d[A-Z] ?\d[A-Z]\d",
    re.ASCII | re.IGNORECASE,
)
_NUMBER = re.compile(r"[-+]?[\d.,'\s\u00a0]*\d[\d.,'\s\u00a0]*%?")
_CURRENCY = "|".join(map(re.escape, sorted((*CURRENCIES, "$", "¥"), key=len, reverse=True)))
_AMOUNT = re.compile(rf"(?:{_CURRENCY})\s*[-+]?\d[\d.,' ]*|[-+]?\d[\d.,' ]*\s*(?:{_CURRENCY})", re.IGNORECASE)
_MEASURE = re.compile(r"\d[\d.,]*\s*(?:kgs?|g|lbs?|t|m3|m³|cbm|pcs?|公斤|件)|\d+(?:\s*[x×*]\s*\d+)+", re.IGNORECASE)
_DAY = re.compile(
    r"(?:\d{1,4}\s*[-/.年]\s*\d{1,2}\s*[-/.月]\s*\d{1,4}日?|"
    r"(?:\w+,? )?\d{1,2}\.?[ -](?:jan|feb|mar|mär|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez|"
    r"janv|févr|mars|avr|juin|juil|août|déc|ene|abr|ago|dic)\w*\.?,?[ -]\d{2,4}|"
    r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)\w* \d{1,2}, \d{4})(?!\d).*",
    re.IGNORECASE,
)
_WEEK = re.compile(r"(?:kw|week|wk|semaine|semana|第)\s?\d{1,2}周?", re.IGNORECASE)
_ERROR = re.compile(r"#[A-Z/\d]+[!?]?")
_REFERENCE = re.compile(r"#?[A-Z]{1,6}[-/_#]?\d[\dA-Z/_-]*", re.ASCII)
"""One word of capitals and digits, such as the number of an invoice."""
_LETTER = re.compile(r"[^\W\d_]")
_STREET = re.compile(
    r"\d+[a-z]?,? (?!seas\b)\w.*|.*(?:stra(?:ß|ss)e|\bstr\.).*\d|.*\b(?:street|road|avenue|lane|drive|crescent|blk|"
    r"block|rue|calle|avenida|jalan)\b.*|.*\d\s*[号號].*",
    re.IGNORECASE,
)
_NOTHING = frozenset(
    (
        *("n/a", "na", "nil", "none", "null", "tbd", "tba", "tbc", "x"),
        *("yes", "no", "true", "false", "ja", "nein", "oui", "non", "si", "sí"),
    )
)
"""Words for no value, or for yes and no."""


def kind_of(text: str) -> str | None:
    """The kind of a text that is neither a name nor a place: a time, an amount, …; None if it may be one."""
    if len(text) > LONGEST:
        return None
    if _EMAIL.fullmatch(text):
        return "an email address"
    if is_clock(text) or _DAY.fullmatch(text) or _WEEK.fullmatch(text):
        return "a time"
    if _NUMBER.fullmatch(text) or shortened_by_spreadsheet(text):
        return "a number"
    if _AMOUNT.fullmatch(text):
        return "an amount"
    if _MEASURE.fullmatch(text):
        return "a measure"
    if _is_phone(text):
        return "a phone number"
    if "://" in text:
        return "a web address"
    if text.casefold() in _NOTHING or _ERROR.fullmatch(text):
        return "no value"
    if _plain(text) in _PREFERENCES:
        return "a preference"
    return None if _LETTER.search(text) else "without a letter"


def _is_phone(text: str) -> bool:
    digits = re.sub(r"\D", "", text)
    return 7 <= len(digits) <= 15 and _PHONE.fullmatch(text) is not None and not _DAY.fullmatch(text)


def _is_words(text: str) -> bool:
    return kind_of(text) is None


def _is_name(text: str) -> bool:
    return _is_place(text) and len(text) <= 80 and not _STREET.fullmatch(text)


def _is_place(text: str) -> bool:
    return _is_words(text) and not _REFERENCE.fullmatch(text)


def _is_second_line(text: str) -> bool:
    """Whether a text may be the second line of an address, such as #01-04, 12B or a building's name."""
    return _is_place(text) or kind_of(text) == "without a letter" or re.fullmatch(r"\d{1,4}", text) is not None


def _is_zone(text: str) -> bool:
    try:
        return zone_named(text) is not None
    except ConfigError:
        return False


def _is_id(text: str) -> bool:
    return len(text) <= 100 and (kind_of(text) in (None, "without a letter") or text.isdigit())


def _plain(text: str) -> str:
    return "_".join(text.casefold().replace("-", " ").replace("_", " ").split())


_PREFERENCES = frozenset(
    _plain(str(value))
    for column in columns_of(Order).values()
    if issubclass(column.kind, OpenEnum)
    for value in column.kind
)
_TESTS: Mapping[str, tuple[Callable[[str], bool], str]] = {
    "street_address": (_is_place, "words"),
    "phone": (_is_phone, "a phone number"),
    "email": (lambda text: _EMAIL.fullmatch(text) is not None, "an email address"),
    "zip_code": (lambda text: _ZIP.fullmatch(text) is not None, "a postal code"),
    "currency": (lambda text: re.fullmatch("[A-Z]{3}", text) is not None, "a code such as SGD"),
    "client_timezone": (_is_zone, "a time zone such as Asia/Singapore"),
    "city": (lambda text: _is_name(text) and not re.search(r"\d", text), "a place"),
    "state": (lambda text: _is_name(text) and not re.search(r"\d", text), "a place"),
    "country": (lambda text: _is_name(text) and not re.search(r"\d", text), "a country"),
    "name": (_is_name, "a name"),
    "vessel_name": (_is_name, "a vessel's name"),
    "lighter_boat_name": (_is_name, "a boat's name"),
    "berth_no": (lambda text: _is_words(text) and len(text) <= 40, "a berth"),
    "tracking_id": (_is_id, "the name of an order"),
    "invoice_number": (_is_id, "the number of an invoice"),
    "group_tag": (_is_id, "a tag"),
}
"""The test of a value by the last part of its field, and the word for values that pass; all other texts are words."""


def allowed_value(field: str, text: str) -> str | None:
    """The allowed value of a field that equals a text, whatever the text's case, spaces and hyphens."""
    kind = columns_of(Order)[field].kind
    values = [str(value) for value in kind] if issubclass(kind, OpenEnum) else []
    return next((value for value in values if _plain(value) == _plain(text)), None)


def contradiction(field: str, cells: Sequence[str], part: str = "") -> str | None:
    """Why the values of a column, none empty, cannot be those of a field, or its ``part``; None if they can."""
    if not field.endswith("_note_to_driver") and (long := next((cell for cell in cells if len(cell) > LONGEST), None)):
        return f"{brief(long)}… is too long for it"
    if field.endswith(WINDOW) or columns_of(Order)[field].kind is datetime:
        if is_mixed(cells):
            return "some of its times are text, and a spreadsheet may have exchanged days and months of the others"
        if time_kind(cells) is not None:
            return None
        other = next((cell for cell in cells[:_SEARCHED] if time_kind([cell]) is None), cells[0])
        return _why(other, "a time" if time_kind([other]) is None else "written as the others")
    kind = columns_of(Order)[field].kind
    if kind in (int, float, Money):
        found = ways(field, cells)
        of_imo = "an IMO number" if field.endswith("vessel_imo") else "a number of this field"
        return None if found and found.readings else _why(found.sample if found else cells[0], of_imo)
    if issubclass(kind, OpenEnum):
        words = all(len(cell) <= 40 and (_is_words(cell) or allowed_value(field, cell)) for cell in cells)
        return None if words and len({*cells}) <= _MOST_WORDS else _why(cells[0], f"one of {', '.join(map(str, kind))}")
    test, what = _TESTS.get(field.rpartition(".")[2], (_is_words, "words"))
    if part == "2" and field.endswith("street_address"):
        test = _is_second_line
    odd = next((cell for cell in cells if not test(cell)), None)
    return None if odd is None else _why(odd, what)


def _why(cell: str, what: str) -> str:
    return f"{brief(cell)} is not {what}"


def brief(text: str) -> str:
    """The beginning of a text, without characters that are not allowed in a comment of TOML."""
    return re.sub(r"\s+", " ", printable(text[:LONGEST]))[:30]
