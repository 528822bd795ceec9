from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotsurge_async.simulator.operations.prices import ROAD_FACTOR, Point, distance

from ..kit import Client

points = st.tuples(st.floats(-90, 90), st.floats(-180, 180))
DEPOT = {"latitude": 1.30, "longitude": 103.70}
PIER = {"latitude": 1.27, "longitude": 103.86}


async def price(client: Client, *stops: Any, service_type: Any = "car") -> Any:
    content = {"service_type": service_type, "stops": list(stops)}
    body = {name: value for name, value in content.items() if value is not ...}
    return await client.call("POST", "/prices/recommendation", body)


async def test_a_route_has_a_price(plain: Client) -> None:
    """One pickup and one delivery have a fee in Singapore dollars and a distance in metres."""
    answer = (await price(plain, DEPOT, PIER)).json
    assert answer["code"] == "success"
    assert answer["total_fee_currency"] == "SGD"
    assert answer["total_waypoint"] == 1
    assert answer["average_fee"] == answer["total_fee"] > 200_000
    assert 22_000 < answer["distance"]["value"] < 25_000


async def test_a_route_may_be_said_in_other_ways(plain: Client) -> None:
    """Coordinates may stand in an address; without a vehicle the price is one that no vehicle raises or lowers."""
    inside = await price(plain, {"address": {**DEPOT, "city": "Singapore"}}, PIER)
    assert inside.json == (await price(plain, DEPOT, PIER)).json
    answer = await price(plain, DEPOT, PIER, service_type=...)
    assert (answer.status, answer.json["code"]) == (200, "success")
    assert answer.json == (await price(plain, DEPOT, PIER, service_type="mpv")).json


async def test_a_bigger_vehicle_costs_more(plain: Client) -> None:
    """The fee grows with the vehicle."""
    fees = [
        (await price(plain, DEPOT, PIER, service_type=vehicle)).json["total_fee"]
        for vehicle in ("motorcycle", "car", "mpv", "van_1.7m", "lorry_40ft")
    ]
    assert fees == sorted(set(fees))


async def test_only_the_ten_farthest_deliveries_are_priced(plain: Client) -> None:
    """An eleventh delivery that is nearest to the pickup changes nothing."""
    far = [{"latitude": 1.30, "longitude": 103.80 + step / 100} for step in range(10)]
    ten = (await price(plain, DEPOT, *far)).json
    eleven = (await price(plain, DEPOT, {"latitude": 1.30, "longitude": 103.71}, *far)).json
    assert eleven == ten
    assert ten["total_waypoint"] == 10
    assert ten["average_fee"] == ten["total_fee"] // 10


@pytest.mark.parametrize(
    ("stops", "service_type"),
    [
        ([], "car"),
        ([DEPOT], "car"),
        ([DEPOT, PIER], "ltl"),
        ([DEPOT, PIER], "lorry_20ft"),
        ([DEPOT, {"latitude": "1.27", "longitude": 103.86}], "car"),
        ([DEPOT, {"latitude": 91, "longitude": 103.86}], "car"),
        ([DEPOT, "the pier"], "car"),
        ([DEPOT, PIER], None),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused(plain: Client, stops: list[Any], service_type: Any) -> None:
    """Too few stops, a vehicle that prices do not know, and wrong types are refused."""
    assert (await price(plain, *stops, service_type=service_type)).status == 422


@pytest.mark.parametrize("stop", [{}, {"address": {"city": "Oslo"}}, DEPOT, {"latitude": 59.9, "longitude": 10.7}])
async def test_some_routes_have_no_price(plain: Client, stop: Any) -> None:
    """A stop that nobody can place, one that is the pickup itself and one far away have no price."""
    answer = await price(plain, DEPOT, stop)
    assert (answer.status, answer.json["error"]) == (422, "no_price")


def test_a_known_distance() -> None:
    """From Singapore to Jakarta it is some 900 kilometres through the air."""
    metres = distance((1.3521, 103.8198), (-6.2088, 106.8456)) / ROAD_FACTOR
    assert metres == pytest.approx(904_000, rel=0.02)


@given(points, points)
def test_a_distance_is_the_same_both_ways(start: Point, end: Point) -> None:
    """There and back are as far, and no way is longer than half around the world."""
    assert distance(start, end) == pytest.approx(distance(end, start))
    assert 0 <= distance(start, end) <= ROAD_FACTOR * 20_015_200
