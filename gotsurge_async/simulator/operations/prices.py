"""Prices and distances (section "Price")."""

from collections.abc import Sequence
from itertools import pairwise
from math import asin, cos, radians, sin, sqrt

import msgspec
from attrs import frozen
from msgspec import UNSET, UnsetType

from gotsurge_async.simulator.operations.checks import read_body
from gotsurge_async.simulator.replies import Call, Problem, RefusedError, Reply, invalid, json_reply
from gotsurge_async.simulator.state.accounts import Caller
from gotsurge_async.simulator.state.service import Service
from gotsurge_async.simulator.state.written import Address, Latitude, Longitude

Point = tuple[float, float]
"""Latitude and longitude in degrees."""

EARTH_RADIUS = 6_371_008.8
ROAD_FACTOR = 1.3
"""The length of a road divided by that of the straight line; the document has no number."""
PRICED_DELIVERIES = 10
LONGEST_ROUTE = 500_000.0
"""Metres of the longest route that has a price."""

_BASE_FEE = 400_000
_FEE_PER_KILOMETRE = 60_000
_PERCENT = {
    "motorcycle": 60,
    "car": 80,
    "mpv": 100,
    "van_1.7m": 120,
    "van_2.4m": 140,
    "lorry_10ft": 180,
    "lorry_14ft": 220,
    "lorry_24ft": 320,
    "lorry_40ft": 450,
}
VEHICLES = frozenset(_PERCENT)


@frozen
class Quote:
    """A price: metres of the whole route, fee in thousandths of a cent, and the number of deliveries that count."""

    metres: int
    fee: int
    deliveries: int


def distance(start: Point, end: Point) -> float:
    """Metres by road between two points."""
    latitude, other_latitude = radians(start[0]), radians(end[0])
    across = sin((other_latitude - latitude) / 2) ** 2
    along = cos(latitude) * cos(other_latitude) * sin(radians(end[1] - start[1]) / 2) ** 2
    return ROAD_FACTOR * 2 * EARTH_RADIUS * asin(min(1.0, sqrt(across + along)))


def quote(vehicle: str | None, pickup: Point, deliveries: Sequence[Point]) -> Quote | None:
    """Price a route from the pickup through the deliveries in order; None if it is too long, or has no length.

    Of more than ten deliveries only the ten farthest from the pickup count. Without a vehicle the fee is the
    plain one, which no vehicle raises or lowers.
    """
    by_distance = sorted(range(len(deliveries)), key=lambda index: distance(pickup, deliveries[index]))
    chosen = [deliveries[index] for index in sorted(by_distance[-PRICED_DELIVERIES:])]
    metres = sum(distance(*leg) for leg in pairwise([pickup, *chosen]))
    if not 0 < metres <= LONGEST_ROUTE:
        return None
    percent = 100 if vehicle is None else _PERCENT[vehicle]
    fee = (_BASE_FEE + round(metres) * _FEE_PER_KILOMETRE // 1000) * percent // 100
    return Quote(round(metres), fee, len(chosen))


class Stop(msgspec.Struct):
    """A place on the route, with its own coordinates or those of its address."""

    latitude: Latitude = UNSET
    longitude: Longitude = UNSET
    address: Address | UnsetType = UNSET

    @property
    def point(self) -> Point | None:
        """The coordinates; None if there are none."""
        if self.latitude is not UNSET and self.longitude is not UNSET:
            return self.latitude, self.longitude
        return None if self.address is UNSET else self.address.point


class PriceBody(msgspec.Struct):
    """The body of Get price recommendation."""

    stops: list[Stop]
    service_type: str | UnsetType = UNSET


def recommend(service: Service, call: Call, _: Caller) -> Reply:
    """Get price recommendation: the first stop is the pickup."""
    body = read_body(call.body, PriceBody)
    vehicle = None if body.service_type is UNSET else body.service_type
    if vehicle not in (None, *VEHICLES):
        raise invalid(Problem(None, "service_type", f"is none of {', '.join(_PERCENT)}"))
    if len(body.stops) < 2:
        raise invalid(Problem(None, "stops", "Send the pickup location and at least one delivery location"))
    points = [stop.point for stop in body.stops]
    known = [point for point in points if point is not None]
    priced = quote(vehicle, known[0], known[1:]) if len(known) == len(points) else None
    if priced is None:
        return _failure(service, len(points) - 1)
    return json_reply(
        {
            "average_fee": priced.fee // priced.deliveries,
            "code": "success",
            "distance": {"value": priced.metres, "unit": "m"},
            "total_fee": priced.fee,
            "total_fee_currency": "SGD",
            "total_waypoint": priced.deliveries,
        }
    )


def _failure(service: Service, deliveries: int) -> Reply:
    message = "There is no price for this route"
    if service.options.price_failure == "status":
        raise RefusedError(422, "no_price", message)
    answer = {"average_fee": 0, "code": "error", "message": message, "distance": {}, "total_fee": 0}
    return json_reply({**answer, "total_fee_currency": "SGD", "total_waypoint": deliveries})
