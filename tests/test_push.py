"""`GotSurge.push`: any number of orders, without a ledger; and what came raw."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import timedelta
from typing import Any

import attrs
import pytest

from gotsurge_async import (
    Created,
    GotSurge,
    InDoubt,
    InvalidData,
    Limits,
    Money,
    Order,
    Refused,
    SignInNeeded,
    Unprocessed,
    UsageError,
    codec,
)
from gotsurge_async.calls.stream import KeysSeen
from gotsurge_async.errors import RepeatedKey
from gotsurge_async.hooks import ChunkDone, Event
from gotsurge_async.transports.base import MaybeSent, NothingSent, Request, Response
from gotsurge_async.transports.memory import MemoryTransport
from tests.support.clients import created, make, sent, serve
from tests.support.orders import answer, order, orders, window


async def source(count: int) -> AsyncIterator[Order]:
    """Orders one by one, asynchronously."""
    for each in orders(count):
        yield each


async def test_any_number_is_pushed() -> None:
    """A plain or an async iterable goes out in chunks of twenty, and each order has its result."""
    for given in (orders(45), iter(orders(45)), source(45)):
        events: list[Event] = []
        transport = MemoryTransport(serve)
        async with make(transport, hooks=[events.append]) as gs:
            results = [result async for result in gs.push(given)]
        assert all(isinstance(each, Created) and each.receipt.id == f"id-{each.order.tracking_id}" for each in results)
        assert sorted(len(sent(request)) for request in transport.sent) == [5, 20, 20]
        assert sum(event.created for event in events if isinstance(event, ChunkDone)) == len(results) == 45


async def test_each_order_has_a_result() -> None:
    """Created, refused, in doubt and unprocessed come as they are, chunk by chunk, and the push goes on."""

    def handle(request: Request) -> Response:
        name = sent(request)[0]["tracking_id"]
        if name == "T-1":
            return answer({"message": "price is too low"}, 422)
        if name == "T-2":
            raise MaybeSent("the connection broke")
        if name == "T-3":
            raise NothingSent("refused")
        if name == "T-4":
            return answer({"tasks": []})
        return answer(created(request))

    async with make(MemoryTransport(handle)) as gs:
        results = {each.order.tracking_id: each async for each in gs.push(orders(6), chunk=1)}
    assert {name: type(result) for name, result in results.items()} == {
        "T-0": Created,
        "T-1": Refused,
        "T-2": InDoubt,
        "T-3": Unprocessed,
        "T-4": InDoubt,
        "T-5": Created,
    }


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"chunk": 0}, {"chunk": 21}])
async def test_a_push_has_a_size(options: dict[str, int]) -> None:
    """No chunk in flight, none in a chunk, or more than twenty, is refused."""
    async with make() as gs:
        with pytest.raises(UsageError):
            gs.push(orders(1), **options)


async def test_no_more_is_in_flight_than_asked() -> None:
    """The push keeps to its own number of chunks in flight, and to the client's limit."""
    now = most = 0

    async def handle(request: Request) -> Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        for _ in range(3):
            await asyncio.sleep(0)
        now -= 1
        return answer(created(request))

    for push, limit, expected in ((2, 16, 2), (8, 3, 3), (None, 4, 4)):
        most = 0
        async with make(MemoryTransport(handle), limits=Limits(concurrency=limit)) as gs:
            assert len([each async for each in gs.push(orders(40), chunk=2, concurrency=push)]) == 40
        assert most == expected


async def test_a_push_ends_when_the_account_is_no_longer_taken() -> None:
    """After a 401 that cannot be mended no chunk is sent, its orders are unprocessed, and the error comes last."""
    seen: list[str] = []

    def handle(request: Request) -> Response:
        names = [each["tracking_id"] for each in sent(request)]
        return answer({}, 401) if names[0] == "T-10" else answer(created(request))

    async def read(gs: GotSurge) -> None:
        async for result in gs.push(source(1000), chunk=5, concurrency=1):
            seen.append(type(result).__name__)  # noqa: PERF401 - a comprehension would lose what comes before the error

    async with make(MemoryTransport(handle)) as gs:
        with pytest.raises(SignInNeeded):
            await read(gs)
    assert seen == ["Created"] * 10 + ["Unprocessed"] * 5


async def test_raw_shows_what_came() -> None:
    """Inside the block every answer is noted with status, headers and body."""
    script: Sequence[Response] = [answer({}, 429), answer({"id": "t"}, etag="x")]
    async with make(MemoryTransport(script)) as gs:
        with gs.raw() as answers:
            await gs.tasks.get("t")
        assert [each.status for each in answers] == [429, 200]
        assert answers[-1].headers["etag"] == "x"


async def test_a_faulty_order_is_reported_and_keeps_no_other_from_being_sent() -> None:
    """Dicts go out as orders; one that is none is unprocessed with its fault, the others of its chunk are created."""
    plain = json.loads(codec.encode(order("T-1")))
    given: list[Any] = [order("T-0"), plain, plain | {"tracking_id": "T-2", "price": 5.0}, "T-3", order("T-4")]
    transport = MemoryTransport(serve)
    async with make(transport) as gs:
        results = [result async for result in gs.push(given)]
    assert [type(result) for result in results] == [Created, Created, Unprocessed, Unprocessed, Created]
    assert [result.order.tracking_id for result in results if isinstance(result, Created)] == ["T-0", "T-1", "T-4"]
    errors = [result.error for result in results if isinstance(result, Unprocessed)]
    assert [[each.path for each in error.problems] for error in errors if isinstance(error, InvalidData)] == [
        ["price"],
        [""],
    ]
    assert [[each["tracking_id"] for each in sent(request)] for request in transport.sent] == [["T-0", "T-1", "T-4"]]


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("chunk", [1, 2, 20])
async def test_a_tracking_id_is_sent_once_in_a_stream(asynchronous: bool, chunk: int) -> None:
    """The second order with a tracking id is not sent, however far behind, as an object or a dict; it says so."""
    again = json.loads(codec.encode(order("T-1", price=Money.of(7, "SGD"))))
    number = order(None, extra={"tracking_id": 7})
    given: list[Any] = [*orders(45), again, order("T-2"), number, attrs.evolve(number, extra={"tracking_id": "7"})]

    async def one_by_one() -> AsyncIterator[Any]:
        for each in given:
            yield each

    transport = MemoryTransport(serve)
    async with make(transport) as gs:
        for push in (gs.push, gs.platform.tasks.create_all, gs.platform.drafts.create_all):
            transport.sent.clear()
            stream = push(one_by_one() if asynchronous else given, chunk=chunk)
            results = [result async for result in stream]
            names = [each["tracking_id"] for request in transport.sent for each in sent(request)]
            assert sorted(map(str, names)) == sorted([*(f"T-{number}" for number in range(45)), "7"])
            refused = [result for result in results if isinstance(result, Unprocessed)]
            assert len(results) == 49
            assert [type(result.error) for result in refused] == [RepeatedKey] * 3
            messages = {str(result.error) for result in refused}
            assert "tracking_id: T-1 was already in this stream, so this order was not sent" in messages
            assert {result.error.explain_code for result in refused} == {"E229"}
            assert stream.in_flight == []
        # what another stream sent is not remembered
        assert [type(result) async for result in gs.push([order("T-1")])] == [Created]


async def test_orders_without_a_tracking_id_cannot_be_compared() -> None:
    """Without a tracking id, or with an empty one, each order is sent, also with the same invoice number."""
    given = [order(name, invoice_number="I-1") for name in (None, None, "", "")]
    transport = MemoryTransport([answer({"tasks": [{"id": f"t-{number}"} for number in range(4)]})])
    async with make(transport) as gs:
        assert [type(result) async for result in gs.push(given)] == [Created] * 4


def test_keys_are_remembered_in_little() -> None:
    """A hundred thousand keys take less than 110 bytes each, and the next hundred thousand less than 40 more each."""
    keys, size = KeysSeen(), [0, 0]
    for part in range(2):
        assert all(keys.add(f"T-{part}-{number}") for number in range(100_000))
        size[part] = sum(map(sys.getsizeof, [keys._shards, *keys._shards.values()]))
    assert size[0] < 110 * 100_000
    assert size[1] - size[0] < 40 * 100_000
    assert not any(keys.add(f"T-1-{number}") for number in range(1000))


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("inside", [False, True])
async def test_a_dict_is_the_order_that_it_was_when_it_was_passed(asynchronous: bool, inside: bool) -> None:
    """A program may change it, and give it again, while its chunk is not full."""
    plain = json.loads(codec.encode(order("T")))

    def given() -> Iterator[Any]:
        for number in range(45):
            plain["tracking_id"] = plain["to_address"]["street_address"] = f"T-{number}"
            yield attrs.evolve(order(f"T-{number}"), to_address=plain["to_address"]) if inside else plain

    async def one_by_one() -> AsyncIterator[Any]:
        for each in given():
            yield each

    transport = MemoryTransport(serve)
    async with make(transport) as gs:
        results = [result async for result in gs.push(one_by_one() if asynchronous else given())]
    assert {type(result) for result in results} == {Created}
    went = [
        (each["tracking_id"], each["to_address"]["street_address"])
        for request in transport.sent
        for each in sent(request)
    ]
    assert sorted(went) == sorted((f"T-{number}", f"T-{number}") for number in range(45))


@pytest.mark.parametrize("validate", [False, True])
async def test_orders_are_held_to_the_rules_if_that_is_wanted(validate: bool) -> None:
    """With ``validate`` what `gotsurge push` would refuse is not sent, and the warnings of the command are none."""
    cheap = order("T-1", price=Money.of("0.50", "SGD"))
    over = order("T-2", from_time_window=window(timedelta(days=-2)), to_time_window=None)
    transport = MemoryTransport(serve)
    async with make(transport) as gs:
        results = [result async for result in gs.push([order("T-0"), cheap, over], validate=validate)]
        alone = [result async for result in gs.push([cheap], validate=validate)]
    expected = [Created, Unprocessed if validate else Created, Created]
    assert [type(result) for result in [*results, *alone]] == [*expected, expected[1]]
    assert len(transport.sent) == (1 if validate else 2)
    for result in (results[1], alone[0]):
        if isinstance(result, Unprocessed):
            assert "price: SGD 0.50 is below the lowest price" in str(result.error)
