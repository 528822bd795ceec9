"""A preview of a push for people: the first orders, and sums and counts over all of them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any

import msgspec
from msgspec import Struct

from gotsurge_async.models.tasks import Order
from gotsurge_async.models.times import written, zone_of_people
from gotsurge_async.models.words import one_line, printable
from gotsurge_async.money import Money
from gotsurge_async.tables.checks.windows import planned
from gotsurge_async.tables.checks.words import number_of
from gotsurge_async.tables.columns import order_columns
from gotsurge_async.tables.fields import columns_of

FIRST = 3
"""The number of orders that a preview shows whole."""
MOST_DAYS = 1000
"""The most days that a preview names: the first and the last ones, if there are more."""
MOST_ITEMS = 10
"""The most items of an order that are shown."""
MOST_OF_A_TEXT = 300
"""The most letters of a text that are shown when an order is on one line."""
MOST_LETTERS = 1000
"""The most letters of a line in a preview."""


class PriceRange(Struct, frozen=True, kw_only=True):
    """The prices in one currency, as decimals: the least, the greatest, and their sum; and the number of orders."""

    least: str
    greatest: str
    sum: str
    orders: int


class Preview(Struct, frozen=True, kw_only=True):
    """The orders that a push would send, summarized.

    Attributes:
        zone: the time zone of the days; that of the system if it is empty.
        first: the first orders, as GotSurge would get them.
        pickups: the day on which a pickup starts, such as 2030-03-05 -> the number of orders.
        days_left_out: the number of days between the first and the last ones of ``pickups``, if there are too many.
        phones: the country's part of a phone, such as +65 -> the number of phones.
        zip_codes: the length of a postal code -> the number of addresses; 0 stands for those without one.
        preferences: the drivers that are asked -> the number of orders.
        differs: the differences from the last file that was pushed with the same map.
    """

    zone: str
    first: tuple[dict[str, Any], ...]
    pickups: dict[str, int]
    days_left_out: int
    prices: dict[str, PriceRange]
    phones: dict[str, int]
    zip_codes: dict[str, int]
    vehicles: dict[str, int]
    preferences: dict[str, int]
    not_read: tuple[str, ...]
    differs: tuple[str, ...]

    def lines(self, zone: tzinfo | None) -> Iterator[str]:
        """The preview for people, safe for a terminal; times are in ``zone``, or in that of people."""
        for line in self._lines(zone):
            plain = printable(line[: MOST_LETTERS + 1])
            yield plain if len(plain) <= MOST_LETTERS else f"{plain[:MOST_LETTERS]}…"

    def _lines(self, zone: tzinfo | None) -> Iterator[str]:
        for order in self.first:
            yield f"  {order.get('tracking_id', 'an order without a tracking_id')}, as it would be sent:"
            yield from (f"    {name}: {text}" for name, text in _cells_of(order, zone))
        days = [*self.pickups.items()]
        shown = [f"{day}: {number:,}" for day, number in (days if len(days) <= 10 else [*days[:5], *days[-4:]])]
        if len(days) > len(shown):
            shown.insert(5, f"… {len(days) - len(shown) + self.days_left_out:,} more days …")
        prices = [
            f"{number_of(some.orders, 'order')} of {currency} {some.least} to {some.greatest}, together {some.sum}"
            for currency, some in self.prices.items()
        ]
        lengths = {("none" if length == "0" else f"{length} characters"): n for length, n in self.zip_codes.items()}
        for name, texts in {
            f"pickups by day{f' ({self.zone})' if self.zone else ''}": shown,
            "prices": prices or ["none"],
            "phones by country": _counted(self.phones),
            "postal codes": _counted(lengths),
            "vehicles": _counted(self.vehicles),
            "drivers": _counted(self.preferences),
            "columns that are not read": self.not_read,
        }.items():
            if texts:
                yield f"  {name}: {', '.join(texts)}"
        for difference in self.differs:
            yield f"  {difference}"


def on_one_line(order: Mapping[str, Any]) -> str:
    """An order with all its fields, for people, safe for a terminal; long texts are cut."""
    cells = (
        f"{name} {text[:MOST_OF_A_TEXT]}{'…' * (len(text) > MOST_OF_A_TEXT)}" for name, text in _cells_of(order, None)
    )
    return one_line("; ".join(cells))


class Previewing:
    """Makes a preview of orders, one after another, in constant memory."""

    def __init__(self, zone: tzinfo | None) -> None:
        self._zone = zone or zone_of_people()
        self._first: list[dict[str, Any]] = []
        self._days: Counter[str] = Counter()
        self._prices: dict[str, list[int]] = {}
        self._phones: Counter[str] = Counter()
        self._zip_codes: Counter[str] = Counter()
        self._vehicles: Counter[str] = Counter()
        self._preferences: Counter[str] = Counter()

    def add(self, payload: bytes) -> None:
        """Count an order, given as its JSON text."""
        from gotsurge_async.models.phones import calling_code  # 17 ms, once

        if len(self._first) < FIRST:
            self._first.append(msgspec.json.decode(payload))
        order = planned(payload)
        self._days[written(order.from_time_window.start_time_utc, self._zone)[: len("2030-03-05")]] += 1
        self._vehicles[order.vehicle_preference] += 1
        self._preferences[order.broadcast_preference] += 1
        for address in (order.from_address, order.to_address):
            self._zip_codes[str(len(address.zip_code or ""))] += 1
        for contact in (order.from_contact, order.to_contact, order.officer_contact):
            if contact.phone:
                self._phones[calling_code(contact.phone) or "without a country"] += 1
        if order.price is not None:
            prices = self._prices.setdefault(order.currency or "", [order.price, order.price, 0, 0])
            prices[0], prices[1] = min(prices[0], order.price), max(prices[1], order.price)
            prices[2] += order.price
            prices[3] += 1

    def done(self, not_read: Iterable[str] = (), differs: Iterable[str] = ()) -> Preview:
        """The preview of the orders so far."""
        days = sorted(self._days.items())
        left_out = max(0, len(days) - MOST_DAYS)
        if left_out:
            days = days[: MOST_DAYS // 2] + days[-MOST_DAYS // 2 :]
        return Preview(
            zone=getattr(self._zone, "key", "") or ("" if self._zone is None else str(self._zone)),
            first=tuple(self._first),
            pickups=dict(days),
            days_left_out=left_out,
            prices={
                currency: PriceRange(least=decimal(least), greatest=decimal(most), sum=decimal(total), orders=number)
                for currency, (least, most, total, number) in sorted(self._prices.items())
            },
            phones=dict(self._phones.most_common(MOST_DAYS)),
            zip_codes=dict(self._zip_codes.most_common(MOST_DAYS)),
            vehicles=dict(self._vehicles.most_common()),
            preferences=dict(self._preferences.most_common()),
            not_read=tuple(not_read),
            differs=tuple(differs),
        )


def _counted(numbers: Mapping[str, int]) -> Sequence[str]:
    return [f"{name}: {number:,}" for name, number in numbers.items()]


def decimal(millicents: int) -> str:
    """Thousandths of a cent as a decimal with at least two places."""
    return str(Money(millicents=millicents, currency="")).removeprefix("? ")


def _cells_of(order: Mapping[str, Any], zone: tzinfo | None) -> Iterator[tuple[str, str]]:
    """The fields of an order as a person writes them: amounts as decimals, times in the zone."""
    columns = columns_of(Order)
    for column in (columns[about.name] for about in order_columns()):
        inside = order.get(column.parent) or {} if column.parent else order
        value = inside.get(column.field)
        if value is None:
            continue
        if column.kind is Money:
            value = decimal(value)
        elif column.kind is datetime:
            value = written(datetime.fromisoformat(value), zone)
        yield column.name, str(value)
    items: Sequence[Mapping[str, Any]] = order.get("items") or []
    for number, item in enumerate(items[:MOST_ITEMS]):
        yield f"items[{number}]", ", ".join(f"{name} {value}" for name, value in item.items())
    if len(items) > MOST_ITEMS:
        yield "items", f"{len(items) - MOST_ITEMS:,} more"
