import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotsurge_async.simulator.pricing import ROAD_FACTOR, VEHICLES, Point, distance, quote

points = st.tuples(st.floats(-90, 90), st.floats(-180, 180))


def test_a_known_distance() -> None:
    """From Singapore to Jakarta it is some 900 kilometres through the air."""
    metres = distance((1.3521, 103.8198), (-6.2088, 106.8456)) / ROAD_FACTOR
    assert metres == pytest.approx(904_000, rel=0.02)


@given(points, points)
def test_a_distance_is_the_same_both_ways(start: Point, end: Point) -> None:
    """There and back are as far, and no way is longer than half around the world."""
    assert distance(start, end) == pytest.approx(distance(end, start))
    assert 0 <= distance(start, end) <= ROAD_FACTOR * 20_015_200


@given(st.sampled_from(sorted(VEHICLES)), st.lists(st.integers(1, 400), min_size=11, max_size=20, unique=True))
def test_only_the_ten_farthest_are_priced(vehicle: str, steps: list[int]) -> None:
    """A quote for many deliveries is that for the ten farthest alone, in the order given."""
    farthest = set(sorted(steps)[-10:])
    stops, kept = (
        [(1.3, 103.6 + step / 1000) for step in chosen]
        for chosen in (steps, [step for step in steps if step in farthest])
    )
    priced = quote(vehicle, (1.3, 103.6), stops)
    assert priced is not None
    assert priced.deliveries == 10
    assert priced == quote(vehicle, (1.3, 103.6), kept)


@pytest.mark.parametrize("end", [(1.3, 103.8), (59.9, 10.7)])
def test_some_routes_have_no_price(end: Point) -> None:
    """A route that goes nowhere, or too far, has no price."""
    assert quote("car", (1.3, 103.8), [end]) is None
