"""The desk: single orders, each remembered by its key."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from gotsurge_async import (
    Created,
    InDoubt,
    InvalidData,
    Money,
    Refused,
    Unprocessed,
    UsageError,
)
from gotsurge_async.bulk import Changed, Desk, Ledger, OrderState, Push
from gotsurge_async.errors import NotSent
from gotsurge_async.ledger import RunState
from gotsurge_async.push.desk.opening import DeskOptions
from gotsurge_async.push.desk.outcomes import Outcome
from gotsurge_async.testing import ManualClock
from gotsurge_async.transports.base import MaybeSent, NothingSent, Response
from tests.support.desks import Gate, Service, client, created, desk_of, states
from tests.support.orders import answer, order, orders
from tests.support.public import hints_of


async def settled(asking: "asyncio.Task[Outcome]", clock: ManualClock) -> Outcome:
    """The outcome of a call, for which time passes."""
    while not asking.done():
        await clock.advance(1)
    return await asking


# --- one key, one outcome ---------------------------------------------------------------------------------------------


async def test_a_key_gives_its_outcome_for_ever(tmp_path: Path) -> None:
    """The second call, and one of a later process, sends nothing, and has the same task."""
    service = Service()
    async with desk_of(tmp_path, service) as desk:
        first, second = await desk.create(order()), await desk.create(order())
    async with desk_of(tmp_path, service) as desk:
        third = await desk.create(order())
    assert [type(each) for each in (first, second, third)] == [Created] * 3
    assert [each.receipt.id for each in (first, second, third) if isinstance(each, Created)] == ["id-T-1"] * 3
    assert [each.replayed for each in (first, second, third) if isinstance(each, Created)] == [False, True, True]
    assert service.creates == [["T-1"]]


async def test_callers_at_the_same_moment_share_one_call(tmp_path: Path) -> None:
    """Ten callers with one order are one task, which only the first one created."""
    service = Service()
    async with desk_of(tmp_path, service) as desk:
        outcomes = await asyncio.gather(*[desk.create(order()) for _ in range(10)])
    assert service.creates == [["T-1"]]
    assert [each.replayed for each in outcomes if isinstance(each, Created)] == [False] + [True] * 9


async def test_callers_on_two_machines_share_one_call(database: str) -> None:
    """Over PostgreSQL, the desk that is asked second waits for the first one's call, and returns its task."""
    service, clock = Gate(), ManualClock()
    async with (
        client(service, clock=clock) as here,
        client(service, clock=clock) as there,
        await Desk.open(here, database, mode="direct") as first,
        await Desk.open(there, database, mode="direct") as second,
    ):
        creating = asyncio.create_task(first.create(order()))
        await service.came.wait()
        again = asyncio.create_task(second.create(order()))
        other = asyncio.create_task(second.create(order("T-2")))
        await service.came_again.wait()  # so the second desk has read what the ledger knows of both
        assert not again.done()
        service.open.set()
        outcome, repeated, _ = await creating, await settled(again, clock), await settled(other, clock)
        assert isinstance(outcome, Created)
        assert isinstance(repeated, Created)
        assert (repeated.receipt.id, repeated.replayed) == (outcome.receipt.id, True)
    assert service.creates == [["T-1"], ["T-2"]]


async def test_another_content_under_a_key_is_changed(tmp_path: Path) -> None:
    """It is not sent, what differs is named, and the outcome of the order that has the key comes with it."""
    service = Service()
    async with desk_of(tmp_path, service) as desk:
        await desk.create(order())
        other = await desk.create(order(price=Money.of("6.00", "SGD")))
    assert isinstance(other, Changed)
    assert other.fields == ("price",)
    assert isinstance(other.outcome, Created)
    assert (other.outcome.receipt.id, other.outcome.replayed) == ("id-T-1", True)
    assert service.creates == [["T-1"]]


async def test_another_content_at_the_same_moment_is_changed(tmp_path: Path) -> None:
    """Of two callers with one key and two orders the first one is sent."""
    service = Gate()
    async with desk_of(tmp_path, service) as desk:
        first = asyncio.create_task(desk.create(order()))
        await service.came.wait()
        second = asyncio.create_task(desk.create(order(price=Money.of("6.00", "SGD"))))
        await asyncio.sleep(0)
        service.open.set()
        assert isinstance(await first, Created)
        assert isinstance(await second, Changed)
    assert service.sent == ["T-1"]


async def test_the_time_of_an_order_may_differ(tmp_path: Path) -> None:
    """A program that makes its order anew for a second try gives it another `client_time_utc`: that is no change."""
    service = Service()
    async with desk_of(tmp_path, service) as desk:
        made = order()
        await desk.create(made)
        again = await desk.create(attrs.evolve(made, client_time_utc=made.client_time_utc + timedelta(minutes=5)))
    assert isinstance(again, Created)
    assert again.replayed
    assert service.sent == ["T-1"]


async def test_a_key_may_be_given(tmp_path: Path) -> None:
    """An order without a tracking id has the key that its caller gives."""
    async with desk_of(tmp_path, Service(lambda _: answer({"tasks": [{"id": "id-1"}]}))) as desk:
        await desk.create(order(None, invoice_number="I-1"), key="C-1")
        assert list(await states(desk)) == ["C-1"]


async def test_a_refused_key_is_free_again(tmp_path: Path) -> None:
    """The caller gets the refusal; the next call with the key sends its order."""
    answers = iter([Response(status=422, body=b'{"message": "no such street"}')])
    service = Service(lambda tasks: next(answers, None) or created(tasks))
    async with desk_of(tmp_path, service) as desk:
        refused = await desk.create(order())
        assert isinstance(refused, Refused)
        assert "no such street" in str(refused.error)
        mended = await desk.create(order(price=Money.of("6.00", "SGD")))
        assert isinstance(mended, Created)
        assert not mended.replayed
        assert (await states(desk))["T-1"] == [OrderState.REFUSED, OrderState.CREATED]


async def test_a_lost_answer_is_in_doubt_for_every_later_call(tmp_path: Path) -> None:
    """Nothing is sent a second time, from this process or another one."""

    def lose(_: list[dict[str, Any]]) -> Response:
        raise MaybeSent("reset by peer")

    service = Service(lose)
    async with desk_of(tmp_path, service) as desk:
        first, second = await desk.create(order()), await desk.create(order())
    async with desk_of(tmp_path, service) as desk:
        third = await desk.create(order())
    assert [type(each) for each in (first, second, third)] == [InDoubt] * 3
    assert [each.replayed for each in (first, second, third) if isinstance(each, InDoubt)] == [False, True, True]
    assert isinstance(third, InDoubt)
    assert "reset by peer" in str(third.error)
    assert service.creates == [["T-1"]]


async def test_an_order_that_was_not_sent_frees_its_key(tmp_path: Path) -> None:
    """Nothing of it is left to be sent by another process, whatever its next caller does."""

    def refuse(_: list[dict[str, Any]]) -> Response:
        raise NothingSent("no connection")

    async with desk_of(tmp_path, Service(refuse)) as desk:
        outcome = await desk.create(order())
        assert isinstance(outcome, Unprocessed)
        assert isinstance(outcome.error, NotSent)
        assert await states(desk) == {"T-1": [OrderState.WITHDRAWN]}
        assert [info.state for info in await desk.ledger.unfinished()] == [RunState.SENDING]
    service = Service()
    async with desk_of(tmp_path, service) as desk:
        assert isinstance(await desk.create(order()), Created)


_NOT_THERE = [NothingSent("refused"), *(Response(status=status) for status in (307, 400, 403, 404, 409, 413, 422, 429))]
_PERHAPS = [MaybeSent("reset"), *(Response(status=status) for status in (200, 207, 302, 408, 500, 502, 503, 504))]


@pytest.mark.parametrize(
    ("met", "is_certain"), [*((each, True) for each in _NOT_THERE), *((each, False) for each in _PERHAPS)], ids=repr
)
async def test_an_order_is_sent_again_exactly_if_it_certainly_is_not_there(
    tmp_path: Path, met: Response | Exception, is_certain: bool
) -> None:
    """Whatever the first call met: its error says so by ``sent``, and the next call with the key sends it, or not."""

    def meet(_: object) -> Response:
        if isinstance(met, Exception):
            raise met
        return met

    service = Service(meet)
    async with desk_of(tmp_path, service) as desk:
        first = await desk.create(order())
        service.respond = created
        second = await desk.create(order())
    assert isinstance(first, Refused | Unprocessed if is_certain else InDoubt)
    assert (first.error.sent != "perhaps") is is_certain
    assert isinstance(second, Created if is_certain else InDoubt)
    assert service.creates == [["T-1"]] * (1 + is_certain)


async def test_files_and_the_desk_share_their_keys(tmp_path: Path) -> None:
    """What a push has sent is not sent by the desk, nor the other way round."""
    service = Service()
    async with client(service) as gs, await Ledger.open(tmp_path / "ledger.db", clock=gs.session.clock.now) as ledger:
        push = Push(gs, ledger)
        run, _ = await push.load_orders([order("T-1")])
        async with run:
            await push.send(run)
        async with Desk(gs, ledger, mode="direct") as desk:
            assert [type(await desk.create(order(key))) for key in ("T-1", "T-2")] == [Created] * 2
        run, admission = await push.load_orders([order("T-1"), order("T-2")])
        await run.close()
    assert admission.already_pushed == 2
    assert service.creates == [["T-1"], ["T-2"]]


async def test_a_pending_order_of_a_dead_run_is_taken_over(tmp_path: Path) -> None:
    """What a file's run did not send before it ended is sent by the desk, and not by a resume of the run."""
    service = Service()
    async with client(service) as gs, await Ledger.open(tmp_path / "ledger.db", clock=gs.session.clock.now) as ledger:
        run, _ = await Push(gs, ledger).load_orders([order()])
        await run.close()
        async with Desk(gs, ledger, mode="direct") as desk:
            assert isinstance(await desk.create(order()), Created)
            assert (await states(desk))["T-1"] == [OrderState.SUPERSEDED, OrderState.CREATED]
        async with await ledger.hold(run.id) as again:
            await Push(gs, ledger).send(again)
    assert service.creates == [["T-1"]]


async def test_an_order_that_another_run_has_in_hand_is_waited_for(tmp_path: Path) -> None:
    """A living push has it: the desk sends nothing, and gives what becomes of it there."""
    service, clock = Gate(), ManualClock()
    async with (
        client(service, clock=clock) as gs,
        await Ledger.open(tmp_path / "ledger.db", clock=clock.now) as ledger,
        Desk(gs, ledger, mode="direct") as desk,
    ):
        push = Push(gs, ledger)
        run, _ = await push.load_orders([order()])
        async with run:
            sending = asyncio.create_task(push.send(run))
            await service.came.wait()
            asking = asyncio.create_task(desk.create(order()))
            await clock.advance(1)
            service.open.set()
            await sending
            outcome = await settled(asking, clock)
    assert isinstance(outcome, Created)
    assert outcome.replayed
    assert service.creates == [["T-1"]]


# --- calls ------------------------------------------------------------------------------------------------------------


async def test_what_waits_goes_out_together(tmp_path: Path) -> None:
    """Orders that come while calls are under way share calls of up to 20."""
    service = Service()
    async with desk_of(tmp_path, service) as desk:
        outcomes = await asyncio.gather(*[desk.create(each) for each in orders(45)])
    assert all(isinstance(each, Created) for each in outcomes)
    assert sorted(service.sent) == sorted(str(each.tracking_id) for each in orders(45))
    assert len(service.creates) == 3


async def test_a_slow_call_keeps_nobody_waiting_for_long(tmp_path: Path) -> None:
    """An order that came while another one's call is under way gets a call of its own a moment later."""
    service = Gate()
    async with desk_of(tmp_path, service) as desk:
        slow = asyncio.create_task(desk.create(order("T-1")))
        await service.came.wait()
        quick = asyncio.create_task(desk.create(order("T-2")))
        await service.came_again.wait()
        service.open.set()
        await asyncio.gather(slow, quick)
    assert service.creates == [["T-1"], ["T-2"]]


async def test_too_many_that_wait_are_refused(tmp_path: Path) -> None:
    """One more than may wait is an error, and nothing of it is kept; the others go out."""
    service = Gate()
    async with desk_of(tmp_path, service, most_waiting=2) as desk:
        first = asyncio.create_task(desk.create(order("T-0")))
        await service.came.wait()
        waiting = [asyncio.create_task(desk.create(order(f"T-{number}"))) for number in (1, 2)]
        await asyncio.sleep(0)
        with pytest.raises(NotSent, match="2 orders wait to be sent"):
            await desk.create(order("T-3"))
        service.open.set()
        await asyncio.gather(first, *waiting)
        assert sorted(await states(desk)) == ["T-0", "T-1", "T-2"]


async def test_each_of_several_gets_its_own_outcome(tmp_path: Path) -> None:
    """An answer that names not all orders of a call leaves only the others in doubt."""

    def first_only(tasks: list[dict[str, Any]]) -> Response:
        return created(tasks[:1])

    async with desk_of(tmp_path, Service(first_only)) as desk:
        outcomes = await asyncio.gather(*[desk.create(each) for each in orders(3)])
    assert [type(each) for each in outcomes] == [Created, InDoubt, InDoubt]


async def test_a_faulty_order_is_an_error(tmp_path: Path) -> None:
    """Nothing of it is sent, or remembered: no key, a value that is no order, a price below nothing."""
    service = Service()
    async with desk_of(tmp_path, service) as desk:
        for faulty in (order(None), order(""), {"tracking_id": "T-1"}, order(price=Money.of("-5.00", "SGD"))):
            with pytest.raises(InvalidData):
                await desk.create(faulty)
        assert await desk.ledger.runs() == []
    assert service.creates == []


@pytest.mark.parametrize("timeout", [0, -1, "5"])
async def test_a_time_that_is_none_is_an_error(tmp_path: Path, timeout: Any) -> None:
    """Nothing is sent."""
    service = Service()
    async with desk_of(tmp_path, service) as desk:
        with pytest.raises(UsageError):
            await desk.create(order(), timeout=timeout)
    assert service.creates == []


async def test_each_of_several_contents_of_a_known_key_gets_its_own_answer(tmp_path: Path) -> None:
    """Callers at the same moment, of whom one asks for the order that the ledger has."""
    async with desk_of(tmp_path, Service()) as desk:
        await desk.create(order())
        dear, same, far = await asyncio.gather(
            desk.create(order(price=Money.of("6.00", "SGD"))),
            desk.create(order()),
            desk.create(order(client_timezone="Asia/Tokyo")),
        )
    assert isinstance(dear, Changed)
    assert isinstance(same, Created)
    assert isinstance(far, Changed)
    assert (dear.fields, far.fields) == (("price",), ("client_timezone",))


async def test_an_error_of_a_transport_s_own_hangs_nobody(tmp_path: Path) -> None:
    """Its orders are in doubt, and what waits is sent."""

    def break_once(tasks: list[dict[str, Any]]) -> Response:
        if len(service.creates) == 1:
            raise RuntimeError("a bug")
        return created(tasks)

    service = Service(break_once)
    async with desk_of(tmp_path, service) as desk:
        outcomes = await asyncio.gather(*[desk.create(each) for each in orders(45)])
        assert [type(each) for each in outcomes].count(InDoubt) == 20
        assert [type(each) for each in outcomes].count(Created) == 25
        again = await desk.create(orders(1)[0])
        assert isinstance(again, InDoubt)


@pytest.mark.parametrize("key", ["a\0b", "\ud800x", "x" * 1001, "\n", " ", "", "\u202eK"])
async def test_a_key_that_no_database_takes_is_an_error(tmp_path: Path, key: str) -> None:
    """It concerns nobody else's order."""
    async with desk_of(tmp_path, Service()) as desk:
        bad, good = await asyncio.gather(
            desk.create(order(None, invoice_number="I-1"), key=key),
            desk.create(order()),
            return_exceptions=True,
        )
        assert isinstance(bad, InvalidData)
        assert isinstance(good, Created)


async def test_a_known_key_is_answered_though_too_many_wait(tmp_path: Path) -> None:
    """The order is created: a retry of its caller does not hear that it was not sent."""
    service = Gate()
    async with desk_of(tmp_path, service, most_waiting=1) as desk:
        service.open.set()
        await desk.create(order("T-0"))
        service.open.clear()
        service.came.clear()
        busy = asyncio.create_task(desk.create(order("T-1")))
        await service.came.wait()
        waiting = asyncio.create_task(desk.create(order("T-2")))
        await asyncio.sleep(0)
        again = await desk.create(order("T-0"))
        assert isinstance(again, Created)
        assert again.replayed
        service.open.set()
        await asyncio.gather(busy, waiting)


async def test_what_one_caller_was_promised_no_other_one_takes_along(tmp_path: Path) -> None:
    """Two callers of an order that was not begun give up: the first one heard that it may still be sent, so it is."""
    service, clock = Gate(), ManualClock()
    async with desk_of(tmp_path, service, clock=clock) as desk:
        busy = asyncio.create_task(desk.create(order("T-0")))
        await service.came.wait()
        first, second = (asyncio.create_task(desk.create(order("T-1"), timeout=5)) for _ in range(2))
        await asyncio.sleep(0)
        await clock.advance(5)
        assert [type(outcome) for outcome in await asyncio.gather(first, second)] == [InDoubt, InDoubt]
        service.open.set()
        await busy
    assert sorted(service.sent) == ["T-0", "T-1"]


@pytest.mark.parametrize("options", [{"mode": "twophase"}, {"max_price": "5"}, {"most_waiting": 0}])
async def test_an_option_that_cannot_be_right_is_an_error(tmp_path: Path, options: dict[str, Any]) -> None:
    """When the desk is made, not when an order comes."""
    async with client(Service()) as gs:
        with pytest.raises(UsageError):
            await Desk.open(gs, tmp_path / "ledger.db", **options)


def test_the_options_by_name_are_those_of_the_desk() -> None:
    """What `Desk.open` takes is named and typed as the desk's own arguments."""
    hints = hints_of(Desk.__init__)
    own = {name: hint for name, hint in hints.items() if name not in ("gs", "ledger", "_shared", "return")}
    assert hints_of(DeskOptions) == own
