"""Time windows that are too narrow for drivers: rules of thumb, and all of them warnings."""

from collections.abc import Callable
from datetime import datetime, timedelta
from math import asin, cos, radians, sin, sqrt

import msgspec

from gotsurge_async.tables.checks.words import number_of

_EARTH_RADIUS = 6371.0088
"""The radius of the earth in kilometres."""
_SHORTEST_PICKUP = 15.0
"""Minutes of the shortest pickup window that is easy to meet."""
_SPEED = 40.0
"""The speed of a driver on the road in kilometres an hour."""
_DETOUR = 1.3
"""The length of the road, divided by that of the straight line."""


class Window(msgspec.Struct):
    """The start and the end of a pickup or a delivery."""

    start_time_utc: datetime
    end_time_utc: datetime


class Place(msgspec.Struct, frozen=True):
    """An address, as far as a plan reads it."""

    zip_code: str | None = None
    latitude: float | None = None
    longitude: float | None = None

    @property
    def point(self) -> tuple[float, float] | None:
        """Latitude and longitude in degrees, if it has both."""
        return None if self.latitude is None or self.longitude is None else (self.latitude, self.longitude)


class Person(msgspec.Struct, frozen=True):
    """A contact, as far as a plan reads it."""

    phone: str | None = None


class Planned(msgspec.Struct):
    """The fields of an order that a plan or a preview reads; amounts in thousandths of a cent."""

    from_address: Place
    to_address: Place
    from_time_window: Window
    to_time_window: Window | None = None
    from_contact: Person = Person()
    to_contact: Person = Person()
    officer_contact: Person = Person()
    vehicle_preference: str = ""
    broadcast_preference: str = ""
    price: int | None = None
    min_price: int | None = None
    max_price: int | None = None
    increment: int | None = None
    admin_fee: int | None = None
    currency: str | None = None

    @property
    def most(self) -> int:
        """The greatest of its prices plus the fee: the most that it may cost, unless it `has_no_end`."""
        return max(each or 0 for each in (self.price, self.min_price, self.max_price)) + (self.admin_fee or 0)

    @property
    def has_no_end(self) -> bool:
        """Whether its cost has no limit: it has no price, or a rising one without a greatest price."""
        return self.price is None or bool(self.increment and not self.max_price)


planned: Callable[[bytes], Planned] = msgspec.json.Decoder(Planned).decode
"""Reads the fields of an order from its JSON text."""


def broken_rules(order: Planned) -> list[str]:
    """The rules that an order breaks. The distance counts only if both addresses have coordinates."""
    broken: list[str] = []
    pickup, delivery = order.from_time_window, order.to_time_window
    length = _minutes(pickup.end_time_utc - pickup.start_time_utc)
    if length < _SHORTEST_PICKUP:
        broken.append(f"the pickup window lasts {number_of(round(length), 'minute')}")
    start, end = order.from_address.point, order.to_address.point
    if delivery is not None and start is not None and end is not None:
        kilometres = _DETOUR * _kilometres(start, end)
        way = 60 * kilometres / _SPEED
        time = _minutes(delivery.end_time_utc - pickup.start_time_utc)
        if time < way:
            broken.append(
                f"{kilometres:.0f} km take {number_of(round(way), 'minute')} at {_SPEED:.0f} km/h, and from "
                f"the start of the pickup to the end of the delivery there are {time:.0f}"
            )
    return broken


def _minutes(span: timedelta) -> float:
    return span.total_seconds() / 60


def _kilometres(start: tuple[float, float], end: tuple[float, float]) -> float:
    """The length of the straight line."""
    latitude, other = radians(start[0]), radians(end[0])
    across = sin((other - latitude) / 2) ** 2
    along = cos(latitude) * cos(other) * sin(radians(end[1] - start[1]) / 2) ** 2
    return 2 * _EARTH_RADIUS * asin(min(1.0, sqrt(across + along)))
