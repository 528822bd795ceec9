import json
from typing import Any

import pytest

from gotsurge_async import Address, BadRequest, InvalidData, Money, OutcomeUnknown, PriceVehicle, Stop, UsageError
from tests.support.clients import client
from tests.support.orders import answer

QUOTE = {
    "average_fee": 2_000_000,
    "code": "success",
    "distance": {"value": 7357},
    "total_fee": 2_000_000,
    "total_fee_currency": "SGD",
    "total_waypoint": 1,
    "surge": 2,
}
HERE = Stop(latitude=1.3, longitude=103.7)
THERE = Address(latitude=1.31, longitude=103.8)


async def test_a_quote_is_money() -> None:
    """Fees are amounts of the quote's currency, and what the document does not name is kept."""
    async with client([answer(QUOTE)]) as (gs, _):
        quote = await gs.prices.recommend(stops=[HERE, THERE], service_type=PriceVehicle.VAN_1_7M)
    assert quote.total_fee == quote.average_fee == Money.of("20", "SGD")
    assert quote.extra == {"surge": 2}
    assert not quote.partial


@pytest.mark.parametrize("deliveries", [1, 10])
@pytest.mark.filterwarnings("error")
async def test_up_to_ten_deliveries(deliveries: int) -> None:
    """One pickup and 1 to 10 deliveries are priced whole, without a warning."""
    async with client([answer(QUOTE)]) as (gs, _):
        assert not (await gs.prices.recommend(stops=[HERE] + [THERE] * deliveries)).partial


async def test_more_than_ten_deliveries() -> None:
    """With 11 deliveries all are sent, a warning says what the service does, and the quote is partial."""
    async with client([answer(QUOTE)]) as (gs, transport):
        with pytest.warns(UserWarning, match="11 deliveries: the service prices only the 10 farthest") as caught:
            quote = await gs.prices.recommend(stops=[HERE] * 12)
        assert quote.partial
        assert (transport.sent[0].body or b"").count(b"latitude") == 12
    assert caught[0].filename == __file__


@pytest.mark.parametrize("stops", [[], [HERE]])
async def test_no_delivery(stops: list[Stop]) -> None:
    """Fewer than two stops are no route: refused, and nothing is sent."""
    async with client([]) as (gs, transport):
        with pytest.raises(UsageError, match="at least two stops"):
            await gs.prices.recommend(stops=stops)
        assert transport.sent == []


@pytest.mark.parametrize(
    "failed",
    [
        {"code": "error", "message": "no price for this route"},
        {"code": "error", "message": "no price for this route", "total_fee": "", "distance": None, "stops": 7},
        {**QUOTE, "code": "failed", "message": "no price for this route"},
    ],
)
async def test_a_failure_with_status_200(failed: dict[str, object]) -> None:
    """Another code than success is an error that says what the service said, whatever stands beside the code."""
    async with client([answer(failed, x_request_id="r-1")]) as (gs, _):
        with pytest.raises(BadRequest) as caught:
            await gs.prices.recommend(stops=[HERE, THERE])
    error = caught.value
    assert (error.operation, error.status, error.request_id) == ("prices.recommend", 200, "r-1")
    assert error.service_message == "no price for this route"


async def test_success_in_any_case_and_no_code() -> None:
    """A code that says success in capitals is one, and a quote without any code counts."""
    without = {name: value for name, value in QUOTE.items() if name != "code"}
    async with client([answer({**QUOTE, "code": "SUCCESS"}), answer(without)]) as (gs, _):
        for _ in range(2):
            assert (await gs.prices.recommend(stops=[HERE, THERE])).total_fee == Money.of("20", "SGD")


async def test_a_quote_without_a_fee() -> None:
    """A success that names no fee is no quote."""
    async with client([answer({"code": "success"})]) as (gs, _):
        with pytest.raises(OutcomeUnknown, match="names no fee"):
            await gs.prices.recommend(stops=[HERE, THERE])


@pytest.mark.parametrize("code", [["error"], {"is": "error"}, 5, False])
async def test_a_code_that_is_no_text_is_no_success(code: object) -> None:
    """Whatever stands beside a code that is not "success" is no quote."""
    async with client([answer(QUOTE | {"code": code})]) as (gs, _):
        with pytest.raises(BadRequest):
            await gs.prices.recommend(stops=[HERE, THERE])


async def test_a_stop_may_be_a_dict() -> None:
    """A dict of the fields of a stop or of an address is taken, by itself and in a stop; all are written alike."""
    stops: Any = [
        {"latitude": 1.3, "longitude": 103.7},
        {"address": {"zip_code": "619110"}},
        {"zip_code": "619110", "latitude": 1.3},
        Stop(address={"zip_code": "619110"}),  # type: ignore[arg-type]
        {"latitude": 1, "extra": {"floor": 2}},
    ]
    async with client([answer(QUOTE)]) as (gs, transport):
        await gs.prices.recommend(stops=iter(stops), service_type="car")
    assert json.loads(transport.sent[0].body or b"") == {
        "service_type": "car",
        "stops": [
            {"latitude": 1.3, "longitude": 103.7},
            {"address": {"zip_code": "619110"}},
            {"address": {"zip_code": "619110", "latitude": 1.3}},
            {"address": {"zip_code": "619110"}},
            {"latitude": 1, "floor": 2},
        ],
    }


@pytest.mark.parametrize(
    ("stops", "path", "said"),
    [
        ({"latitude": 1.3, "longitude": 103.7}, "stops", "give a list or another iterable, not dict"),
        (None, "stops", "give a list"),
        ([HERE, {"latitude": "1.3"}], "stops[1].latitude", "expected a number, not '1.3'"),
        ([HERE, {"latitud": 1.3}], "stops[1].latitud", 'an Address has no such field; did you mean "latitude"?'),
        ([HERE, {"zip": "1"}], "stops[1].zip", "no such field"),
        ([HERE, {"address": {"city": 5}}], "stops[1].address.city", "expected text, not 5"),
        ([HERE, {"address": {}, "city": "x"}], "stops[1].city", "a Stop has no such field"),
        ([HERE, "7 Loyang Way"], "stops[1]", "expected a Stop, not str"),
        ([HERE, Address(latitude="x")], "stops[1].latitude", "expected a number, not str 'x'"),  # type: ignore[arg-type]
    ],
)
async def test_a_faulty_stop_is_reported_with_its_path(stops: Any, path: str, said: str) -> None:
    """Each fault has its place in what was given, and nothing is sent."""
    async with client([]) as (gs, transport):
        with pytest.raises(InvalidData) as caught:
            await gs.prices.recommend(stops=stops)
    assert [problem.path for problem in caught.value.problems] == [path]
    assert said in caught.value.problems[0].message
    assert transport.sent == []


async def test_all_faults_of_a_route_are_reported_together() -> None:
    """Those of every stop."""
    wrong: Any = [{"latitude": "x"}, HERE, None, Stop(longitude="y")]  # type: ignore[arg-type]
    async with client([]) as (gs, _):
        with pytest.raises(InvalidData) as caught:
            await gs.prices.recommend(stops=wrong)
        assert [each.path for each in caught.value.problems] == ["stops[0].latitude", "stops[2]", "stops[3].longitude"]
        with pytest.raises(InvalidData, match="service_type: expected text, not 5"):
            await gs.prices.recommend(stops=[HERE, HERE], service_type=5)  # type: ignore[arg-type]
