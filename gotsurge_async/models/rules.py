"""The rules for an order before it is sent (sections "Create & Broadcast Tasks" and "Update Task").

Pure functions over an `Order`. The service refuses an order with a fault, or sends a driver to the wrong place or at
the wrong price; an order with a warning may be right.

The document also says that a pickup must end "before or equal to today's date-time", with the error text of another
rule. Taken literally only past pickups would be allowed: a pickup that is already over is only a warning here.
"""

import difflib
import functools
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from math import inf
from operator import attrgetter, le
from typing import Any, NamedTuple

from gotsurge_async.errors import Coded
from gotsurge_async.models.tasks import BroadcastPreference, Item, Order, ServiceType, VehiclePreference
from gotsurge_async.models.times import written
from gotsurge_async.money import MILLICENTS_PER_UNIT, Money
from gotsurge_async.starting import pattern

MIN_PRICE = 200_000
"""The least price of a create, in thousandths of a cent (SGD 2.00)."""

DEFAULT_MAX_PRICE = 1_000 * MILLICENTS_PER_UNIT
"""The greatest amount without a limit of the user, in thousandths of a cent: 1000 units of any currency."""

NO_CURRENCY = Coded("has no currency: give the currency too, such as SGD", "E228")
"""The fault of an amount without a currency: the service would set it to 0."""

SQUAD_CUT_OFF = timedelta(minutes=30)
"""The time between the end of a broadcast to the squad and the end of the pickup (section "Order Statuses")."""

FARTHEST = timedelta(days=400)
"""Windows that are further away than this are probably mistakes: an order is made days or weeks before."""

SOON = timedelta(hours=1)
"""A broadcast that ends within this time is a warning: there is hardly time to find a driver."""


class Severity(StrEnum):
    """Whether an order may be sent in spite of a finding."""

    FAULT = "fault"
    WARNING = "warning"


class Finding(NamedTuple):
    """A fault, or a probable mistake, in an order."""

    path: str
    """Dotted field names and indices, such as ``items[2].quantity``."""
    message: str
    """The fault, and what would be right."""
    severity: Severity = Severity.FAULT
    value: Any = None
    """The value of the order."""
    proposal: str | None = None
    """The value that was certainly meant, if that is clear."""


Report = Callable[[Finding], None]
Columns = Mapping[str, Mapping[str, Sequence[Any]]]
"""The values of some orders by object ("" is the order itself) and field; None where an order has none."""

_SINGAPORE = ("sg", "sgp", "singapore", "republic of singapore", "singapura", "s'pore", "新加坡")
_WRITTEN_CODE = pattern(r"\s*'?(?:Singapore|S)?\s*\(?(\d[\d ]*)\)?(?:\.0+)?\s*", re.ASCII | re.IGNORECASE)
"""A postal code of Singapore as people and spreadsheets write it: S(018956), Singapore 018956, '018956, 18956.0."""
_CURRENCY = pattern(r"[A-Z]{3}")
_PLAIN_PHONE = pattern(r"\+65[3689][0-9]{7}")
"""A good number of Singapore in E.164, as nearly all are: the numbering plans of the world are not needed for it."""
_PICKUP_START, _PICKUP_END = "from_time_window.start_time_utc", "from_time_window.end_time_utc"
_DELIVERY_START, _DELIVERY_END = "to_time_window.start_time_utc", "to_time_window.end_time_utc"
_TIMES = (_PICKUP_START, _PICKUP_END, _DELIVERY_START, _DELIVERY_END)
_WHERE = ("street_address", "zip_code", "latitude", "building_name")
_CONTACTS = ("from_contact", "to_contact", "officer_contact")
_MOST = 1e300
_ITEM_MEASURES = ("quantity", "weight", "volume", "length", "width", "height")
_LONGEST_NAME = 100
_PREFERENCES = dict.fromkeys(map(str, BroadcastPreference))
_VEHICLES = dict.fromkeys(map(str, VehiclePreference))
_SERVICES = dict.fromkeys(map(str, ServiceType))
_ENUMS = {"broadcast_preference": _PREFERENCES, "vehicle_preference": _VEHICLES, "service_type": _SERVICES}
_TOTALS = ("total_item_weight", "total_item_volume", "total_item_quantity")
_totals_of = attrgetter(*_TOTALS)
_measures_of = attrgetter(*_ITEM_MEASURES)
_NO_TOTALS = (None, None, None)


def check_order(
    order: Order, *, now: datetime, max_price: Money | None = None, zone: tzinfo | None = None, any_date: bool = True
) -> list[Finding]:
    """Check an order; returns all faults and probable mistakes, an empty list for a good order.

    Args:
        order: the order; or anything that has its attributes, times in UTC, and amounts as `Money` or as whole
            numbers of thousandths of a cent.
        now: the present, an aware datetime: a pickup that ended before it, or for which drivers can be found for less
            than an hour from it, is a warning.
        max_price: the greatest amount that any of the order's amounts may have. It holds for its own currency, or
            for every currency if it has none. Without it, or for another currency, 1000 units of the order's currency.
        zone: the time zone in which messages show times; without it UTC, or that of the command.
        any_date: False makes a window that is further than 400 days from the present a fault.
    """
    findings: list[Finding] = []
    report = findings.append
    _check_enums(order, report)
    _check_address("from_address", order.from_address, report)
    _check_address("to_address", order.to_address, report)
    for name in _CONTACTS:
        if (contact := getattr(order, name)) is not None:
            _check_contact(name, contact, report)
    _check_windows(order, now, zone, report)
    if not any_date:
        _check_dates(order, now, zone, report)
    _check_money(order, max_price, report)
    _check_counts(order, report)
    return findings


def are_good(columns: Columns, *, now: datetime, max_price: Money | None = None, any_date: bool = True) -> bool:
    """Whether `check_order` certainly has nothing to report about any of some orders, in a tenth of its work.

    The orders have every required field, times in UTC, and amounts in thousandths of a cent.
    """
    count = len(columns[""]["service_type"])

    def values(path: str) -> Sequence[Any]:
        parent, _, field = path.rpartition(".")
        column = columns.get(parent, {}).get(field, ())
        return column if all(column) else [value for value in column if value is not None]

    def within(path: str, least: Any, most: Any) -> bool:
        column = values(path)
        return not column or (least <= min(column) and max(column) <= most)

    def is_whole(*paths: str) -> bool:
        return {*map(len, map(values, paths))} in ({0}, {count})

    def is_somewhere(place: str) -> bool:
        codes = values(f"{place}.zip_code")
        return (
            within(f"{place}.latitude", -90, 90)
            and within(f"{place}.longitude", -180, 180)
            and within(f"{place}.altitude", -_MOST, _MOST)
            and is_whole(f"{place}.latitude", f"{place}.longitude")
            and any(len(values(f"{place}.{part}")) == count for part in _WHERE)
            and {6}.issuperset(map(len, codes))
            and (not codes or ("".join(codes).isascii() and "".join(codes).isdecimal()))
        )

    starts, ends = values(_PICKUP_START), values(_PICKUP_END)
    later_starts, later_ends = values(_DELIVERY_START), values(_DELIVERY_END)
    currencies = {*values("currency")}
    limit = min([_limit(max_price, currency) for currency in currencies], default=-1)
    return (
        all(known.keys() >= {*values(name)} for name, known in _ENUMS.items())
        and is_somewhere("from_address")
        and is_somewhere("to_address")
        and all(all(map(_PLAIN_PHONE.fullmatch, values(f"{contact}.phone"))) for contact in _CONTACTS)
        and all(all(map(_is_imo, values(f"{contact}.vessel_imo"))) for contact in _CONTACTS)
        and min(ends) >= now + SOON + SQUAD_CUT_OFF
        and all(map(le, starts, ends))
        and is_whole(_DELIVERY_START, _DELIVERY_END)
        and all(map(le, ends, later_starts))
        and all(map(le, later_starts, later_ends))
        and (any_date or all(within(path, now - FARTHEST, now + FARTHEST) for path in _TIMES))
        and is_whole("currency")
        and all(map(_is_currency, currencies))
        and all(within(path, MIN_PRICE if path == "price" else 0, limit) for path in Order.MONEY)
        and not (values("min_price") and values("max_price"))
        and all(within(path, 0, _MOST) for path in ("cargo_net_quantity", *_TOTALS))
    )


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that ``name`` was most likely meant to be, if any is near."""
    # Comparing takes milliseconds for a name, and minutes for a megabyte in its place.
    return _nearest(name, tuple(known)) if len(name) <= _LONGEST_NAME else None


@functools.lru_cache(maxsize=256)
def _nearest(name: str, known: tuple[str, ...]) -> str | None:
    by_shape: dict[str, str] = {}
    for field in known:
        by_shape.setdefault(field.lower(), field)
        # "street_address" or "start_time_utc" alone lacks the object that has it.
        by_shape.setdefault(field.lower().rpartition(".")[2], field)
    shape = _shape(name)
    near = difflib.get_close_matches(shape, by_shape, n=1, cutoff=0.6)
    return by_shape[near[0]] if near else None


def _shape(name: str) -> str:
    """A name in the form in which the document writes names."""
    return re.sub(r"[\s\-]+", "_", name.strip().lower())


def imo_check_digit(number: int) -> int:
    """The last digit that an IMO number starting with the same six digits must have."""
    return sum(int(digit) * weight for digit, weight in zip(str(number)[:6], range(7, 1, -1), strict=True)) % 10


@functools.lru_cache(maxsize=1024)
def _is_imo(number: int) -> bool:
    return _has_seven_digits(number) and number % 10 == imo_check_digit(number)


def _has_seven_digits(number: int) -> bool:
    return 1_000_000 <= number <= 9_999_999


# --- the rules, one function each; nearly every order is good, so good orders are the quick case ----------------------


def _check_enums(order: Any, report: Report) -> None:
    for name, known in _ENUMS.items():
        if (value := getattr(order, name)) not in known:
            report(_unknown(name, value, known))


def _unknown(path: str, value: str, known: Collection[str]) -> Finding:
    shape = _shape(value)
    near = None if shape in known else nearest(value, known)
    listed = ", ".join(known)
    rule = f'is unknown; did you mean "{near}"? Use one of {listed}' if near else f"is unknown: use one of {listed}"
    meant = shape if shape in known else None
    return Finding(path, Coded(rule, "E224"), value=str(value), proposal=meant)


def _check_address(path: str, address: Any, report: Report) -> None:
    latitude, longitude, altitude = address.latitude, address.longitude, address.altitude
    if latitude is not None and not -90 <= latitude <= 90:
        report(
            Finding(f"{path}.latitude", Coded("latitude must be in degrees, from -90 to 90", "E225"), value=latitude)
        )
    if longitude is not None and not -180 <= longitude <= 180:
        message = "longitude must be in degrees, from -180 to 180"
        report(Finding(f"{path}.longitude", Coded(message, "E225"), value=longitude))
    if (latitude is None) != (longitude is None):
        present, missing = ("longitude", "latitude") if latitude is None else ("latitude", "longitude")
        message = f"is missing, but {path}.{present} is given: give both or neither"
        report(Finding(f"{path}.{missing}", Coded(message, "E211")))
    if altitude is not None and not -inf < altitude < inf:
        report(Finding(f"{path}.altitude", Coded("altitude must be a number of metres", "E225"), value=altitude))
    if latitude is None and not (address.street_address or address.building_name or address.zip_code):
        message = "has no location: give at least a street_address, a zip_code, or latitude and longitude"
        report(Finding(path, Coded(message, "E211")))
    code = address.zip_code
    if code and not (len(code) == 6 and code.isascii() and code.isdecimal()):
        _check_zip_code(f"{path}.zip_code", code, address.country, report)


def _check_zip_code(path: str, code: str, country: str | None, report: Report) -> None:
    """Report a code that is not six digits, unless the country is given and is not Singapore."""
    if country and country.strip().casefold() not in _SINGAPORE:
        return
    written = _WRITTEN_CODE.fullmatch(code)
    digits = written[1].replace(" ", "") if written else ""
    has_lost_zero = len(digits) == 5 and digits[0] != "0"
    meant = digits.zfill(6) if has_lost_zero or len(digits) == 6 else None
    message = "is not a Singapore postal code: write six digits and nothing else"
    if has_lost_zero:
        message = "has five digits, but a Singapore postal code has six: a spreadsheet may have dropped the first zero"
    if not country:
        message = f"{message}; if the address is in another country, name that country"
    severity = Severity.FAULT if country or meant else Severity.WARNING
    report(Finding(path, Coded(message, "E242"), severity, code, meant))


def _check_contact(path: str, contact: Any, report: Report) -> None:
    phone, imo = contact.phone, contact.vessel_imo
    if phone and not _PLAIN_PHONE.fullmatch(phone):
        _check_phone(f"{path}.phone", phone, report)
    if imo is not None and not _is_imo(imo):
        message = "an IMO number has seven digits"
        if _has_seven_digits(imo):
            message = "is not an IMO number: its last digit does not fit the first six, so one digit is mistyped"
        report(Finding(f"{path}.vessel_imo", Coded(message, "E223"), value=imo))


def _check_phone(path: str, phone: str, report: Report) -> None:
    from gotsurge_async.models.phones import is_international, meant_by, problem_of  # 17 ms, which few need

    if not is_international(phone):
        report(Finding(path, Coded(problem_of(phone), "E222"), value=phone, proposal=meant_by(phone)))


def _check_windows(order: Any, now: datetime, zone: tzinfo | None, report: Report) -> None:
    pickup, delivery = order.from_time_window, order.to_time_window
    pickup_start, pickup_end = pickup.start_time_utc, pickup.end_time_utc

    def wrong(first: datetime, first_path: str, second: datetime, second_path: str, message: str) -> None:
        detail = f"{message} ({first_path} is {_shown(first, zone)})"
        report(Finding(second_path, Coded(detail, "E226"), value=_shown(second, zone)))

    if pickup_end < pickup_start:
        wrong(pickup_start, _PICKUP_START, pickup_end, _PICKUP_END, "the pickup ends before it starts")
    if delivery is not None:
        start, end = delivery.start_time_utc, delivery.end_time_utc
        if start < pickup_end:
            wrong(pickup_end, _PICKUP_END, start, _DELIVERY_START, "the delivery starts before the pickup has ended")
        if end < start:
            wrong(start, _DELIVERY_START, end, _DELIVERY_END, "the delivery ends before it starts")
    if pickup_end < now + SOON + SQUAD_CUT_OFF:
        message = _cut_off(order.broadcast_preference, pickup_end, now, zone)
        if message is not None:
            report(Finding(_PICKUP_END, Coded(message, "E227"), Severity.WARNING, _shown(pickup_end, zone)))


def _check_dates(order: Any, now: datetime, zone: tzinfo | None, report: Report) -> None:
    """Check that every window is near the present: in a far one the year is probably mistyped."""
    for path, window in (("from_time_window", order.from_time_window), ("to_time_window", order.to_time_window)):
        for name in ("start_time_utc", "end_time_utc") if window is not None else ():
            moment = getattr(window, name)
            if abs(moment - now) > FARTHEST:
                rule = "is more than 400 days away: is the year right? If it is, push with --any-date"
                report(Finding(f"{path}.{name}", Coded(rule, "E244"), value=_shown(moment, zone)))


def _cut_off(preference: str, pickup_end: datetime, now: datetime, zone: tzinfo | None) -> str | None:
    """The warning for a pickup that ends soon: the time that is left to find a driver."""
    if pickup_end < now:
        return f"the pickup has already ended (the time is now {_shown(now, zone)})"
    squad = preference == BroadcastPreference.SQUAD
    until = pickup_end - SQUAD_CUT_OFF if squad else pickup_end
    why = "the squad is asked until 30 minutes before the pickup ends" if squad else "the pickup ends soon"
    left = int((until - now).total_seconds() // 60)
    if left < 0:
        return f"{why}: drivers could take it only until {_shown(until, zone)} (the time is now {_shown(now, zone)})"
    return f"{why}: drivers have {left} minutes to take it" if until - now < SOON else None


def _shown(moment: datetime, zone: tzinfo | None) -> str:
    return written(moment, zone, seconds=moment.second != 0)


def _check_money(order: Any, max_price: Money | None, report: Report) -> None:
    currency: str = order.currency or ""
    if currency and not _is_currency(currency):
        meant = currency.strip().upper()
        proposal = meant if _CURRENCY.fullmatch(meant) else None
        message = "a currency must be three capital letters (ISO 4217), such as SGD"
        report(Finding("currency", Coded(message, "E228"), value=currency, proposal=proposal))
    limit = _limit(max_price, currency)
    for path, price in zip(Order.MONEY, _amounts_of(order), strict=True):
        if price is None:
            continue
        amount = _millicents(price)
        if not currency:
            report(Finding(path, NO_CURRENCY, value=amount))
        if amount < 0:
            report(Finding(path, Coded(f"{_money(amount, currency)} is negative", "E228"), value=amount))
        elif path == "price" and amount < MIN_PRICE:
            message = f"{_money(amount, currency)} is below the lowest price, {_money(MIN_PRICE, currency)}"
            report(Finding(path, Coded(message, "E228"), value=amount))
        elif amount > limit:
            above = f"{_money(amount, currency)} is above the limit of {_money(limit, currency)}"
            message = f"{above}; if the amount is right, raise the limit (--max-price, max_price)"
            report(Finding(path, Coded(message, "E228"), value=amount))
    least, most = order.min_price, order.max_price
    if least is not None and most is not None and most < least:
        low, high = _money(_millicents(least), currency), _money(_millicents(most), currency)
        report(Finding("max_price", Coded(f"{high} is below min_price, {low}", "E228"), value=high.millicents))


_amounts_of = attrgetter(*Order.MONEY)


def _limit(max_price: Money | None, currency: str) -> int:
    if max_price is not None and max_price.currency in ("", currency):
        return max_price.millicents
    return DEFAULT_MAX_PRICE


@functools.lru_cache(maxsize=64)
def _is_currency(text: str) -> bool:
    return _CURRENCY.fullmatch(text) is not None


def _millicents(amount: Money | int) -> int:
    return amount.millicents if isinstance(amount, Money) else amount


def _money(millicents: int, currency: str) -> Money:
    return Money(millicents=millicents, currency="").in_currency(currency)


def _check_counts(order: Any, report: Report) -> None:
    count = order.cargo_net_quantity
    if count is not None and count < 0:
        report(Finding("cargo_net_quantity", Coded("must be a number of pieces, 0 or more", "E217"), value=count))
    totals = _totals_of(order)
    if totals != _NO_TOTALS:
        for path, total in zip(_TOTALS, totals, strict=True):
            _check_measure(path, total, report)
    for index, item in enumerate(order.items or ()):
        if not _has_good_measures(item):
            check_item(item, report, prefix=f"items[{index}].")
    for index, detail in enumerate(order.cargo_details or ()):
        if not _has_good_measures(detail):
            check_item(detail, report, prefix=f"cargo_details[{index}].")


def _has_good_measures(item: Item) -> bool:
    return not [value for value in _measures_of(item) if value is not None and not 0 <= value < inf]


def check_item(item: Item, report: Report, *, prefix: str = "") -> None:
    """Report everything that is wrong with one item; ``prefix`` comes before its field names."""
    for name, value in zip(_ITEM_MEASURES, _measures_of(item), strict=True):
        _check_measure(prefix + name, value, report)


def _check_measure(path: str, value: float | None, report: Report) -> None:
    # Written as one comparison because "not a number" fails every comparison.
    if value is not None and not 0 <= value < inf:
        report(Finding(path, Coded("must be a number, 0 or more", "E217"), value=value))
