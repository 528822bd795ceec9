"""How far it is, and what it costs (section "Get price recommendation")."""

from collections.abc import Sequence
from itertools import pairwise
from math import asin, cos, radians, sin, sqrt

from attrs import frozen

Point = tuple[float, float]

EARTH_RADIUS = 6_371_008.8
ROAD_FACTOR = 1.3
"""Roads are longer than the line through the air; the document names no figure."""


def distance(start: Point, end: Point) -> float:
    """Metres on the road between two points, given as latitude and longitude in degrees."""
    latitude, other_latitude = radians(start[0]), radians(end[0])
    across = sin((other_latitude - latitude) / 2) ** 2
    along = cos(latitude) * cos(other_latitude) * sin(radians(end[1] - start[1]) / 2) ** 2
    return ROAD_FACTOR * 2 * EARTH_RADIUS * asin(min(1.0, sqrt(across + along)))


PRICED_DELIVERIES = 10
LONGEST_ROUTE = 500_000.0
"""Metres; nobody drives farther from Singapore on an order."""

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
    """A price: metres of the whole route, fee in thousandths of a cent, deliveries that were looked at."""

    metres: int
    fee: int
    deliveries: int


def quote(vehicle: str | None, pickup: Point, deliveries: Sequence[Point]) -> Quote | None:
    """Price a route from the pickup through the deliveries as given; None where it is too long, or goes nowhere.

    Of more than ten deliveries only the ten farthest from the pickup are looked at. Without a vehicle the fee is the
    plain one, which no vehicle raises or lowers.
    """
    chosen = _farthest(pickup, deliveries)
    route = [pickup, *chosen]
    metres = sum(distance(*leg) for leg in pairwise(route))
    if not 0 < metres <= LONGEST_ROUTE:
        return None
    percent = 100 if vehicle is None else _PERCENT[vehicle]
    fee = (_BASE_FEE + round(metres) * _FEE_PER_KILOMETRE // 1000) * percent // 100
    return Quote(round(metres), fee, len(chosen))


def _farthest(pickup: Point, deliveries: Sequence[Point]) -> list[Point]:
    if len(deliveries) <= PRICED_DELIVERIES:
        return list(deliveries)
    by_distance = sorted(range(len(deliveries)), key=lambda index: distance(pickup, deliveries[index]))
    kept = sorted(by_distance[-PRICED_DELIVERIES:])
    return [deliveries[index] for index in kept]
