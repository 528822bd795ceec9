"""Time windows that are too narrow for drivers: rules of thumb, and all of them warnings."""

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


class Planned(msgspec.Struct):
    """The fields of an order that a plan reads; amounts in thousandths of a cent."""

    from_address: msgspec.Raw
    to_address: msgspec.Raw
    from_time_window: Window
    to_time_window: Window | None = None
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


class _Place(msgspec.Struct):
    latitude: float | None = None
    longitude: float | None = None


_planned = msgspec.json.Decoder(Planned)
_place = msgspec.json.Decoder(_Place)


def planned(payload: bytes) -> Planned:
    """Read the fields of an order from its JSON text."""
    return _planned.decode(payload)


def _point_of(address: msgspec.Raw) -> tuple[float, float] | None:
    """Latitude and longitude of an address in degrees, if it has both."""
    place = _place.decode(address)
    return None if place.latitude is None or place.longitude is None else (place.latitude, place.longitude)


def broken_rules(order: Planned) -> list[str]:
    """The rules that an order breaks. The distance counts only if both addresses have coordinates."""
    broken: list[str] = []
    pickup, delivery = order.from_time_window, order.to_time_window
    length = _minutes(pickup.end_time_utc - pickup.start_time_utc)
    if length < _SHORTEST_PICKUP:
        broken.append(f"the pickup window lasts {number_of(round(length), 'minute')}")
    start, end = _point_of(order.from_address), _point_of(order.to_address)
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
