"""Any number of orders through a desk, as a stream."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async import Created, InvalidData, Money, Order, Refused, Unprocessed
from gotsurge_async.bulk import Changed, Desk
from gotsurge_async.errors import SignInNeeded
from gotsurge_async.testing import ManualClock
from gotsurge_async.transports.base import NothingSent, Response
from tests.support.desks import Gate, Service, client, created, desk_of, once_so
from tests.support.orders import order, orders


async def test_each_order_is_created_once(tmp_path: Path) -> None:
    """In calls of 20; pushed again, each has the recorded outcome, and nothing is sent."""
    service = Service()
    async with desk_of(tmp_path, service) as desk:
        first = [each async for each in desk.push(orders(90))]
        assert len(service.creates) == 5
        again = [each async for each in desk.push(orders(90))]
    assert [type(each) for each in first + again] == [Created] * 180
    assert Counter(each.replayed for each in first + again if isinstance(each, Created)) == {False: 90, True: 90}
    assert len(service.sent) == 90


async def test_an_async_source_is_read_as_there_are_places(tmp_path: Path) -> None:
    """Memory stays flat: no more is read than can be under way."""
    read = 0

    async def source() -> AsyncIterator[Order]:
        nonlocal read
        for each in orders(200):
            read += 1
            yield each

    service = Gate()
    async with desk_of(tmp_path, service) as desk:
        async with desk.push(source(), concurrency=2) as outcomes:
            reading = aiter(outcomes)
            service.open.set()
            assert isinstance(await anext(reading), Created)
            assert read <= 100
        assert len([each async for each in desk.push(orders(200))]) == 200
    assert Counter(service.sent) == Counter(str(each.tracking_id) for each in orders(200))


@pytest.mark.parametrize("with_ledger", [False, True])
async def test_an_order_of_a_slow_source_leaves_soon(tmp_path: Path, with_ledger: bool) -> None:
    """It does not wait until twenty have come."""
    clock, service, ends = ManualClock(), Service(), asyncio.Event()

    async def source() -> AsyncIterator[Order]:
        yield order("T-0")
        await ends.wait()
        yield order("T-1")

    ledger = tmp_path / "ledger.db" if with_ledger else None
    async with client(service, clock=clock, ledger=ledger) as gs:
        results: Any = gs.push(source())
        reading = aiter(results)
        first: asyncio.Future[Any] = asyncio.ensure_future(anext(reading))
        await once_so(clock, first.done)
        assert service.sent == ["T-0"]
        ends.set()
        assert isinstance(await anext(reading), Created)
    assert isinstance(await first, Created)
    assert service.sent == ["T-0", "T-1"]


async def test_a_faulty_order_keeps_no_other_from_being_sent(tmp_path: Path) -> None:
    """Its outcome is unprocessed, with its faults; two contents under one key are changed."""
    given: list[Any] = [order("T-1"), {"tracking_id": "T-2"}, order("T-3"), order("T-3", price=Money.of("9.00", "SGD"))]
    async with desk_of(tmp_path, Service()) as desk:
        outcomes = [each async for each in desk.push(given)]
    assert [type(each) for each in outcomes] == [Created, Unprocessed, Created, Changed]
    assert isinstance(outcomes[1], Unprocessed)
    assert isinstance(outcomes[1].error, InvalidData)
    assert outcomes[1].order == given[1]


async def test_keys_may_be_chosen(tmp_path: Path) -> None:
    """A function gives the key of each order."""
    service = Service()
    async with desk_of(tmp_path, service) as desk:
        keyed = desk.push(orders(2), key=lambda each: f"K-{each.tracking_id}" if isinstance(each, Order) else None)
        assert [type(each) async for each in keyed] == [Created] * 2
        assert await desk._runs.known("K-T-0") is not None


async def test_without_a_sign_in_nothing_more_is_read(tmp_path: Path) -> None:
    """Those that met it are unprocessed, and the error is raised at the end."""
    seen: list[Any] = []
    async with (
        client(Service(), bearer_token=None) as gs,
        await Desk.open(gs, tmp_path / "ledger.db", mode="direct") as desk,
    ):

        async def read() -> None:
            async for each in desk.push(orders(500), concurrency=1):
                seen.append(each)  # noqa: PERF401 - it raises

        with pytest.raises(SignInNeeded):
            await read()
    assert 0 < len(seen) < 500
    assert all(isinstance(each, Unprocessed) for each in seen)


async def test_what_an_outage_left_is_sent_by_the_next_push(tmp_path: Path) -> None:
    """The same orders again: what was refused or not sent is tried, what was created is not."""
    answers = iter([created, Response(status=422, body=b"{}"), NothingSent("no connection")])

    def respond(tasks: list[dict[str, Any]]) -> Response:
        now = next(answers, created)
        if isinstance(now, NothingSent):
            raise now
        return now if isinstance(now, Response) else now(tasks)

    service = Service(respond)
    async with desk_of(tmp_path, service) as desk:
        first = Counter([type(each) async for each in desk.push(orders(60), concurrency=1)])
        assert first == {Created: 20, Refused: 20, Unprocessed: 20}
        second = [each async for each in desk.push(orders(60), concurrency=1)]
    assert Counter(type(each) for each in second) == {Created: 60}
    assert Counter(service.sent) == Counter(
        {str(each.tracking_id): 1 if n < 20 else 2 for n, each in enumerate(orders(60))}
    )


async def test_a_stream_is_not_limited_by_the_callers_that_may_wait(tmp_path: Path) -> None:
    """It brings no more than there are places for: none of its orders is one too many."""
    service = Service()
    async with desk_of(tmp_path, service, most_waiting=5) as desk:
        assert Counter([type(each) async for each in desk.push(orders(120))]) == {Created: 120}
    assert len(service.sent) == 120


async def test_callers_that_come_back_share_the_next_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was answered by one call and asks again goes out together again, with whoever came between."""
    monkeypatch.setattr("gotsurge_async.push.desk.desk.LINGER", 60.0)  # however long the first call takes
    service = Gate()
    async with desk_of(tmp_path, service) as desk:

        async def ask(name: str) -> None:
            for number in range(3):
                await desk.create(order(f"{name}-{number}"))

        asking = [asyncio.create_task(ask(name)) for name in "AB"]
        await service.came.wait()
        asking.append(asyncio.create_task(ask("C")))
        await asyncio.sleep(0)
        service.open.set()
        await asyncio.gather(*asking)
    assert [len(names) for names in service.creates] == [2, 3, 3, 1]
