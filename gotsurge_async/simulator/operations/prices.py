"""Prices (section "Price")."""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from gotsurge_async.simulator.checks import Address, Latitude, Longitude, read_body
from gotsurge_async.simulator.pricing import Point, quote
from gotsurge_async.simulator.replies import Call, Caller, Problem, RefusedError, Reply, invalid, json_reply
from gotsurge_async.simulator.service import Service


class Stop(msgspec.Struct):
    """A place on the way: by its own coordinates, or by its address's."""

    latitude: Latitude = UNSET
    longitude: Longitude = UNSET
    address: Address | UnsetType = UNSET

    @property
    def point(self) -> Point | None:
        """Latitude and longitude in degrees; None where nobody knows them."""
        if self.latitude is not UNSET and self.longitude is not UNSET:
            return self.latitude, self.longitude
        return None if self.address is UNSET else self.address.point


class PriceBody(msgspec.Struct):
    """The body of Get price recommendation."""

    stops: list[Stop]
    service_type: (
        Literal[
            "motorcycle", "car", "mpv", "van_1.7m", "van_2.4m", "lorry_10ft", "lorry_14ft", "lorry_24ft", "lorry_40ft"
        ]
        | UnsetType
    ) = UNSET


def recommend(service: Service, call: Call, _: Caller) -> Reply:
    """Get price recommendation: the first stop is the pickup."""
    body: PriceBody = read_body(call.body, PriceBody)
    if len(body.stops) < 2:
        raise invalid(Problem(None, "stops", "Send the pickup location and at least one delivery location"))
    points = [stop.point for stop in body.stops]
    known = [point for point in points if point is not None]
    vehicle = None if body.service_type is UNSET else body.service_type
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
