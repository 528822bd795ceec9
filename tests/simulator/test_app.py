import aiohttp
import pytest

from gotsurge_async.api.endpoints import ENDPOINTS
from gotsurge_async.simulator import Fault, SimulatorOptions

from .kit import Client, order, signed_in


async def create_one(client: Client) -> int:
    return (await client.create(order())).status


def tasks(client: Client) -> int:
    count: int = client.simulator.audit()["tasks"]
    return count


@pytest.mark.parametrize(("when", "effect"), [("before", 0), ("after", 1)])
@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("reset", aiohttp.ClientOSError),
        ("garbage", aiohttp.ClientResponseError),
        ("half", aiohttp.ClientPayloadError),
    ],
)
async def test_a_fault_loses_the_answer(
    plain: Client, kind: str, error: type[Exception], when: str, effect: int
) -> None:
    """A fault before the effect keeps it from happening, one after it only loses the answer."""
    plain.simulator.order_fault(Fault(operation="tasks.create", when=when, kind=kind, times=1))  # type: ignore[arg-type]
    with pytest.raises(error) as caught:
        await create_one(plain)
    assert getattr(caught.value, "errno", None) == (104 if kind == "reset" else None)  # not the end of a stream
    assert tasks(plain) == effect
    assert await create_one(plain) == 200
    assert plain.simulator.audit()["calls"]["tasks.create"] == 2


@pytest.mark.parametrize(("when", "effect"), [("before", 0), ("after", 1)])
async def test_a_status_fault_answers_its_status(plain: Client, when: str, effect: int) -> None:
    """A status fault answers its status and headers, whatever happened."""
    fault = Fault(when=when, kind="status", status=429, headers={"Retry-After": "3"}, times=1)  # type: ignore[arg-type]
    plain.simulator.order_fault(fault)
    answer = await plain.create(order())
    assert (answer.status, answer.headers["Retry-After"], tasks(plain)) == (429, "3", effect)


async def test_a_delayed_call_has_its_effect_although_the_client_left(plain: Client) -> None:
    """A delay before the effect lets it happen after the client gave up."""
    plain.simulator.order_fault(Fault(operation="tasks.create", kind="delay", seconds=0.2, times=1))
    with pytest.raises(TimeoutError):
        await plain.call("POST", "/tasks", {"tasks": [order()]}, timeout=aiohttp.ClientTimeout(total=0.05))
    assert tasks(plain) == 0
    # The next delay is longer: once it is over, the first call has been served as well.
    plain.simulator.order_fault(Fault(operation="tasks.get", kind="delay", seconds=0.3, times=1))
    await plain.call("GET", "/tasks/none")
    assert tasks(plain) == 1


async def test_a_body_beyond_the_limit_is_refused() -> None:
    """A body longer than the limit is refused with 413 and has no effect."""
    async with signed_in(options=SimulatorOptions(body_limit=2000)) as client:
        answer = await client.create(order(), order(), order())
        assert answer.status == 413
        assert "2000 bytes" in answer.json["message"]
        assert tasks(client) == 0


@pytest.mark.parametrize("operation", ENDPOINTS)
async def test_an_operation_needs_a_token_where_the_table_says_so(plain: Client, operation: str) -> None:
    """Without a token exactly the operations that carry one are refused with 401, in every shape a refusal has."""
    endpoint = ENDPOINTS[operation]
    path = endpoint.url_path({"signature": "x", "task_id": "x", "org_id": "x"})
    plain.token = ""
    answer = await plain.call(endpoint.verb, path, b"{}")
    assert ("WWW-Authenticate" in answer.headers and "bearer" in answer.json["message"]) == endpoint.bearer


async def test_every_operation_is_served(plain: Client) -> None:
    """Every verb and path of the endpoint table is there."""
    for endpoint in ENDPOINTS.values():
        path = endpoint.url_path({"signature": "x", "task_id": "x", "org_id": "x"})
        await plain.call(endpoint.verb, path, b"{}")
    assert plain.simulator.audit()["calls"] == {name: 2 if name == "auth.exchange" else 1 for name in ENDPOINTS}
