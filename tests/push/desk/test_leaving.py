"""Callers of a desk that leave before they have an outcome: cancelled, out of time, or because the desk is closed."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest

from gotsurge_async import Created, InDoubt, Money, OutcomeUnknown, Unprocessed, what_is_known
from gotsurge_async.bulk import Changed, Ledger
from gotsurge_async.errors import NotSent
from gotsurge_async.ledger import LedgerError, Recorded
from gotsurge_async.testing import ManualClock
from gotsurge_async.transports.base import Request, Response
from tests.support.desks import Gate, Service, desk_of
from tests.support.orders import order


async def given_up(asking: "asyncio.Task[Any]", how: str, clock: ManualClock) -> BaseException | None:
    """What a caller hears who is cancelled, or whose five seconds are over."""
    if how == "cancelled":
        asking.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await asking
        return what_is_known(cancelled.value)
    await clock.advance(5)
    outcome = await asking
    assert isinstance(outcome, InDoubt | Unprocessed)
    return outcome.error


@pytest.mark.parametrize("how", ["cancelled", "out of time"])
async def test_a_caller_that_gives_up_leaves_the_order_to_the_desk(tmp_path: Path, how: str) -> None:
    """It hears that the order may be sent, and the desk goes on: no other caller, nor the next one, loses its task."""
    service, clock = Gate(), ManualClock()
    async with desk_of(tmp_path, service, clock=clock) as desk:
        asking, other = (asyncio.create_task(desk.create(order(), timeout=each)) for each in (5, None))
        await service.came.wait()
        known = await given_up(asking, how, clock)
        assert isinstance(known, OutcomeUnknown)
        assert how == "cancelled" or "the desk may still send the order" in str(known)
        service.open.set()
        assert [type(await each) for each in (other, desk.create(order()))] == [Created] * 2
    assert service.creates == [["T-1"]]


@pytest.mark.parametrize("how", ["cancelled", "out of time"])
async def test_a_caller_that_gives_up_takes_along_what_was_not_begun(tmp_path: Path, how: str) -> None:
    """Nothing is sent; a caller that is cancelled cannot wait for the ledger, which may know an earlier call."""
    service, clock = Gate(), ManualClock()
    async with desk_of(tmp_path, service, clock=clock) as desk:
        first = asyncio.create_task(desk.create(order("T-1")))
        await service.came.wait()
        second = asyncio.create_task(desk.create(order("T-2"), timeout=5))
        await asyncio.sleep(0)
        known = await given_up(second, how, clock)
        assert isinstance(known, OutcomeUnknown if how == "cancelled" else NotSent)
        assert how != "cancelled" or "this call did not send the order, but an earlier one may have" in str(known)
        service.open.set()
        await first
    assert service.creates == [["T-1"]]


@pytest.mark.parametrize("how", ["out of time", "changed", "unreadable", "cancelled", "closed"])
async def test_a_caller_whose_order_an_earlier_call_sent_never_hears_that_it_was_not_sent(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves before the desk compares the order with the ledger: that is read then, or the order is in doubt."""
    service, clock = Gate(), ManualClock()
    service.open.set()
    async with desk_of(tmp_path, service, clock=clock) as desk:
        await desk.create(order("T-1"))
        service.open.clear()
        service.came.clear()
        other = asyncio.create_task(desk.create(order("T-2")))
        await service.came.wait()
        same = order("T-1", price=Money.of("6.00", "SGD")) if how == "changed" else order("T-1")
        again = asyncio.create_task(desk.create(same, timeout=5))
        await asyncio.sleep(0)
        if how == "unreadable":
            unreadable = LedgerError("the disk is gone")
            monkeypatch.setattr(Ledger, "known", AsyncMock(side_effect=unreadable))
        if how == "cancelled":
            known = await given_up(again, how, clock)
            assert isinstance(known, OutcomeUnknown)
        else:
            if how == "closed":
                await desk.close(timeout=0)
            else:
                await clock.advance(5)
            outcome = await again
            expected = {"changed": Changed, "unreadable": InDoubt}.get(how, Created)
            assert isinstance(outcome, expected)
            if isinstance(outcome, Created):
                assert (outcome.receipt.id, outcome.replayed) == ("id-T-1", True)
            if isinstance(outcome, InDoubt):
                assert "this call did not send the order, but an earlier one may have" in str(outcome.error)
        service.open.set()
        await other
    assert [key for keys in service.creates for key in keys] == ["T-1", "T-2"]


@pytest.mark.parametrize("turns", range(0, 60, 3))
async def test_a_caller_may_be_cancelled_at_any_moment(tmp_path: Path, turns: int) -> None:
    """What is known of it then is true, and the next caller gets the one task of it."""
    service = Service()
    async with desk_of(tmp_path, service) as desk:
        asking = asyncio.create_task(desk.create(order()))
        for _ in range(turns):
            await asyncio.sleep(0.0005 if turns % 2 else 0)
        asking.cancel()
        await asyncio.wait([asking])
        if asking.cancelled():
            try:
                await asking
            except asyncio.CancelledError as error:
                known = what_is_known(error)
            assert turns == 0 or isinstance(known, NotSent | OutcomeUnknown)
            if isinstance(known, NotSent):
                assert service.creates == []
        again = await desk.create(order())
        assert isinstance(again, Created)
    assert service.creates == [["T-1"]]


async def test_a_caller_that_is_cancelled_when_its_outcome_comes_knows_that_it_may_be_there(tmp_path: Path) -> None:
    """The outcome is set, and its caller did not run yet: what is known of the cancellation says so."""
    service = Service()
    async with desk_of(tmp_path, service) as desk:
        second = asyncio.create_task(desk.create(order("T-2")))

        async def first() -> None:
            await desk.create(order("T-1"))
            second.cancel()

        await first()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await second
        assert isinstance(what_is_known(cancelled.value), OutcomeUnknown)
    assert sorted(service.sent) == ["T-1", "T-2"]


@pytest.mark.parametrize("known", [True, False])
async def test_closing_while_the_mode_is_chosen_denies_no_earlier_call(tmp_path: Path, known: bool) -> None:
    """The order has its recorded outcome if there is one; else it was certainly not sent."""
    asked = asyncio.Event()

    async def respond(_: Request) -> Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    if known:
        async with desk_of(tmp_path, Service()) as desk:
            await desk.create(order())
    async with desk_of(tmp_path, respond, mode=None) as desk:
        asking = asyncio.create_task(desk.create(order()))
        await asked.wait()
        await desk.close(0)
        assert isinstance(await asking, Created if known else Unprocessed)


@pytest.mark.parametrize("how", ["closed", "out of time"])
async def test_callers_that_leave_together_are_answered_by_one_reading(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One reading for each would take longer than the ledger has, and orders that were never sent be in doubt."""
    service, clock, read, one_at_a_time = Gate(), ManualClock(), Ledger.known, asyncio.Lock()

    async def slow(self: Ledger, environment: str, keys: Sequence[str]) -> dict[str, Recorded]:
        async with one_at_a_time:
            await asyncio.sleep(0.3)
            return await read(self, environment, keys)

    async with desk_of(tmp_path, service, clock=clock) as desk:
        first = asyncio.create_task(desk.create(order("T-0")))
        await service.came.wait()
        others = [asyncio.create_task(desk.create(order(f"T-{each}"), timeout=5)) for each in range(1, 9)]
        await asyncio.sleep(0)
        monkeypatch.setattr(Ledger, "known", slow)
        if how == "closed":
            await desk.close(timeout=0)
        else:
            await clock.advance(5)
        outcomes = [type(await each) for each in others]
        service.open.set()
        await first
    assert (outcomes, service.creates) == ([Unprocessed] * 8, [["T-0"]])
