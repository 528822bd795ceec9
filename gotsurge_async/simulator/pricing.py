"""How far it is, and what it costs (section "Get price recommendation")."""

from math import asin, cos, radians, sin, sqrt

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
