"""Submitted orders: durable at once, sent later, and never lost or doubled on the way."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async import Created, InDoubt, InvalidData, Money, Refused, Unprocessed, UsageError, codec
from gotsurge_async.api.endpoints import CHUNK
from gotsurge_async.bulk import Changed, Desk, Ledger, Mode, OrderChanged, OrderState, Push
from gotsurge_async.clock import to_microseconds
from gotsurge_async.errors import ClientClosed, OutcomeUnknown, what_is_known
from gotsurge_async.ledger import OTHER_CONTENT, NewOrder, OrderOutcome
from gotsurge_async.ledger.submitted import LEASE
from gotsurge_async.models.tasks import Order
from gotsurge_async.push.desk import submitting
from gotsurge_async.testing import ManualClock
from gotsurge_async.transports.base import MaybeSent, NothingSent, Response
from tests.support.desks import Gate, Service, client, created, desk_of, once_so, states, waiting
from tests.support.orders import order, orders
from tests.support.threads import Threads

OTHER = Money.of("6.00", "SGD")


# --- in one process ---------------------------------------------------------------------------------------------------


async def test_a_submitted_order_is_sent_once(tmp_path: Path) -> None:
    """`submit` returns before it is sent; `outcome` waits for its task; nothing waits any more."""
    service = Gate()
    async with desk_of(tmp_path, service) as desk:
        await desk.submit(order())
        await service.came.wait()
        asking = asyncio.create_task(desk.outcome("T-1"))
        await asyncio.sleep(0)
        assert not asking.done()
        service.open.set()
        outcome = await asking
        assert isinstance(outcome, Created)
        assert outcome.receipt.id == "id-T-1"
    assert service.sent == ["T-1"]
    assert await waiting(tmp_path) == (0, 0)


async def test_submitted_orders_share_calls(tmp_path: Path) -> None:
    """Many of them are sent in calls of several, each once, however often they are submitted."""
    service = Service()
    async with desk_of(tmp_path, service) as desk:
        for _ in range(2):
            await asyncio.gather(*(desk.submit(each) for each in orders(150)))
        for each in orders(150):
            assert isinstance(await desk.outcome(str(each.tracking_id)), Created)
    assert sorted(service.sent) == sorted(str(each.tracking_id) for each in orders(150))
    assert len(service.creates) < 75


async def test_submitting_again_changes_nothing(tmp_path: Path) -> None:
    """The same key and content is no second order; other content is an error that says what differs."""
    service = Service()
    async with desk_of(tmp_path, service) as desk:
        await desk.submit(order())
        await desk.outcome("T-1")
        await desk.submit(order())
        with pytest.raises(
            OrderChanged, match="T-1 was sent, or may have been sent, with different content: price"
        ) as caught:
            await desk.submit(order(price=OTHER))
        assert caught.value.fields == ("price",)
        assert isinstance(caught.value.outcome, Created)
        assert caught.value.sent == "nothing"
    assert service.sent == ["T-1"]


async def test_another_content_of_one_that_waits_is_an_error(tmp_path: Path) -> None:
    """The first one stays, and is the one that is sent."""
    service = Service(lambda _: (_ for _ in ()).throw(NothingSent("no connection")))
    async with desk_of(tmp_path, service) as desk:
        await desk.submit(order())
        with pytest.raises(OrderChanged, match="T-1 already waits to be sent, with different content: price") as caught:
            await desk.submit(order(price=OTHER))
        assert caught.value.outcome is None
    assert (await waiting(tmp_path)) == (1, 0)


async def test_a_faulty_order_is_not_submitted(tmp_path: Path) -> None:
    """Its faults are raised, and nothing waits."""
    async with desk_of(tmp_path, Service()) as desk:
        with pytest.raises(InvalidData):
            await desk.submit({"tracking_id": "T-1"})
        with pytest.raises(UsageError, match="no order has the key T-1"):
            await desk.outcome("T-1")
    with pytest.raises(ClientClosed):
        await desk.submit(order())


async def test_a_cancelled_submission_may_be_sent(tmp_path: Path) -> None:
    """Its write may be durable: the error's cause says so, and to submit it again changes nothing."""
    clock, service = ManualClock(), Service()
    async with desk_of(tmp_path, service, clock=clock) as desk:
        await desk.submit(order("T-1"))
        asking = asyncio.create_task(desk.submit(order("T-2")))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await asking
        known = what_is_known(cancelled.value)
        assert isinstance(known, OutcomeUnknown)
        assert known.sent == "perhaps"
        await desk.submit(order("T-2"))
        await once_so(clock, lambda: len(service.sent) == 2)
    assert sorted(service.sent) == ["T-1", "T-2"]


@pytest.mark.parametrize("key", ["a\x00b", "\ud800", 5, ["T-1"]], ids=["NUL", "surrogate", "number", "list"])
async def test_what_no_database_can_hold_is_not_a_key(tmp_path: Path, key: Any) -> None:
    """The caller hears that, and no error of the database or of Python."""
    async with desk_of(tmp_path, Service()) as desk:
        with pytest.raises(UsageError, match="key: give text"):
            await desk.outcome(key)


async def test_an_order_is_sent_when_there_is_a_connection_again(tmp_path: Path) -> None:
    """It waits in the ledger, and is tried after a second, after two, and so on."""
    clock, down = ManualClock(), [NothingSent("no connection")] * 3

    def respond(tasks: list[dict[str, Any]]) -> Response:
        if down:
            raise down.pop()
        return created(tasks)

    service = Service(respond)
    async with desk_of(tmp_path, service, clock=clock) as desk:
        await desk.submit(order())
        asking = asyncio.create_task(desk.outcome("T-1"))
        await once_so(clock, asking.done)
        assert isinstance(await asking, Created)
        assert (await states(desk))["T-1"] == [OrderState.WITHDRAWN] * 3 + [OrderState.CREATED]
    assert service.sent == ["T-1"] * 4
    assert await waiting(tmp_path) == (0, 0)


async def test_an_outage_is_probed_by_few_orders(tmp_path: Path) -> None:
    """While nothing can be sent, the others stay where they are."""
    clock = ManualClock()
    service = Service(lambda _: (_ for _ in ()).throw(NothingSent("no connection")))
    async with desk_of(tmp_path, service, clock=clock) as desk:
        await asyncio.gather(*(desk.submit(each) for each in orders(200)))
        for _ in range(120):
            await clock.advance(1)
            assert len(desk._sender._in_hand) <= submitting.IN_HAND
        assert len(service.creates) <= 20
        await once_so(clock, lambda: {1} == {len(names) for names in service.creates[-2:]})  # each leaves a row
    assert await waiting(tmp_path) == (200, 0)


async def test_a_refused_order_has_its_outcome(tmp_path: Path) -> None:
    """The hook hears it, and its key is free: a mended order under it is sent."""
    answers = iter([Response(status=422, body=b'{"message": "no such street"}')])
    service = Service(lambda tasks: next(answers, None) or created(tasks))
    heard: list[tuple[str, type]] = []
    async with desk_of(tmp_path, service, on_outcome=lambda key, outcome: heard.append((key, type(outcome)))) as desk:
        await desk.submit(order())
        refused = await desk.outcome("T-1")
        assert isinstance(refused, Refused)
        assert "no such street" in str(refused.error)
        await desk.submit(order(price=OTHER))
        assert isinstance(await desk.outcome("T-1"), Created)
    assert heard == [("T-1", Refused), ("T-1", Created)]


async def test_a_lost_answer_is_in_doubt_and_not_sent_again(tmp_path: Path) -> None:
    """Submitting it again, or waiting, sends nothing."""
    clock = ManualClock()
    service = Service(lambda _: (_ for _ in ()).throw(MaybeSent("reset by peer")))
    async with desk_of(tmp_path, service, clock=clock) as desk:
        await desk.submit(order())
        assert isinstance(await desk.outcome("T-1"), InDoubt)
        await desk.submit(order())
        for _ in range(100):
            await clock.advance(1)
        assert isinstance(await desk.outcome("T-1"), InDoubt)
    assert service.sent == ["T-1"]
    assert await waiting(tmp_path) == (0, 0)


async def test_a_hook_that_fails_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the next order is sent."""

    def fail(key: str, outcome: object) -> None:
        raise RuntimeError(key) if key == "T-1" else asyncio.CancelledError

    async with desk_of(tmp_path, Service(), on_outcome=fail) as desk:
        for each in orders(3):
            await desk.submit(each)
        for each in orders(3):
            assert isinstance(await desk.outcome(str(each.tracking_id)), Created)
    assert "on_outcome failed for the key" in caplog.text


# --- several processes ------------------------------------------------------------------------------------------------


async def test_what_waits_outlives_its_process(tmp_path: Path) -> None:
    """A desk that is closed before it could send leaves its orders to the next one, which sends them at once."""
    offline = Service(lambda _: (_ for _ in ()).throw(NothingSent("no connection")))
    async with desk_of(tmp_path, offline) as desk:
        await asyncio.gather(*(desk.submit(each) for each in orders(30)))
    service, clock = Service(), ManualClock()
    async with desk_of(tmp_path, service, clock=clock) as desk:
        asking = asyncio.gather(*(desk.outcome(str(each.tracking_id)) for each in orders(30)))
        await once_so(clock, asking.done)
        assert [type(each) for each in await asking] == [Created] * 30
    assert sorted(service.sent) == sorted(str(each.tracking_id) for each in orders(30))


async def test_two_desks_send_each_order_once(tmp_path: Path) -> None:
    """Orders that one desk has taken are not taken by the other; both hear the outcome."""
    service, clock = Service(), ManualClock()
    async with desk_of(tmp_path, service, clock=clock) as one, desk_of(tmp_path, service, clock=clock) as other:
        await asyncio.gather(*(desk.submit(each) for each in orders(60) for desk in (one, other)))
        keys = [str(each.tracking_id) for each in orders(60)]
        asking = asyncio.gather(*(desk.outcome(key) for key in keys for desk in (one, other)))
        await once_so(clock, asking.done)
        assert [type(each) for each in await asking] == [Created] * 120
    assert sorted(service.sent) == sorted(str(each.tracking_id) for each in orders(60))


async def test_only_desks_of_its_account_send_it(tmp_path: Path) -> None:
    """A ledger may have orders of several merchants."""
    ours, others = Service(), Service()
    async with (
        client(ours, account="ours") as gs,
        client(others, account="others") as other,
        await Desk.open(gs, tmp_path / "ledger.db", mode="direct") as desk,
        await Desk.open(other, tmp_path / "ledger.db", mode="direct") as other_desk,
    ):
        await other_desk.submit(order("T-2"))
        await desk.submit(order("T-1"))
        await desk.outcome("T-1")
        await other_desk.outcome("T-2")
    assert (ours.sent, others.sent) == (["T-1"], ["T-2"])


async def test_an_order_that_a_file_pushed_meanwhile_is_not_sent(tmp_path: Path) -> None:
    """The key is the file's; the same content has the file's outcome, and another one is changed, and stays unsent."""
    down = Service(lambda _: (_ for _ in ()).throw(NothingSent("no connection")))
    async with desk_of(tmp_path, down) as desk:
        await desk.submit(order("T-1"))
        await desk.submit(order("T-2", price=OTHER))
    service, clock = Service(), ManualClock()
    async with client(service, clock=clock) as gs, await Ledger.open(tmp_path / "ledger.db") as ledger:
        push = Push(gs, ledger, mode=Mode.DIRECT)
        run, _ = await push.load_orders([order("T-1"), order("T-2")])
        async with run:
            await push.send(run)
        async with Desk(gs, ledger, mode=Mode.DIRECT) as desk:
            asking = asyncio.gather(desk.outcome("T-1"), desk.outcome("T-2"))
            await once_so(clock, asking.done)
            same, other = await asking
            assert isinstance(same, Created)
            assert isinstance(other, Changed)
            assert other.fields == ("price",)
            assert isinstance(other.outcome, Created)
    assert service.creates == [["T-1", "T-2"]]
    assert await waiting(tmp_path) == (0, 1)


async def test_orders_that_another_process_has_in_hand_hold_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file push stands still with their keys: the next one is sent, and they have their outcomes when it ends."""
    monkeypatch.setattr(submitting, "IN_HAND", CHUNK + 2)
    clock, service, threads = ManualClock(), Service(), Threads()
    async with await Ledger.open(tmp_path / "ledger.db", clock=clock.now) as other:
        run = await other.begin(environment="sandbox", mode=Mode.DIRECT, source="orders.csv")
        await run.add([NewOrder(at, each.tracking_id or "", codec.encode_order(each)[0]) for at, each in numbered(9)])
        await run.admit()
        await run.start()
        async with desk_of(tmp_path, service, clock=clock) as desk:
            for _, each in numbered(9):
                await desk.submit(each)
            await threads.pass_time(clock, clock.sleep(10), step=1)
            await desk.submit(order("NEW"))
            await threads.pass_time(clock, desk.outcome("NEW"), step=1)
            asking = asyncio.create_task(desk.create(order("T-1")))  # callers wait for the other process
            leaving = asyncio.create_task(desk.create(order("T-2"), timeout=10))
            await threads.pass_time(clock, clock.sleep(20), step=1)
            assert not asking.done()
            assert isinstance(await leaving, InDoubt)
            assert {each.key for each in desk._sender._in_hand.values()} <= {"T-1"}
            claimed = await run.claim([row.id async for row in run.rows()])
            await run.record([OrderOutcome(number, OrderState.CREATED, f"task-{number}") for number in claimed])
            await run.close()
            outcomes = asyncio.gather(asking, *(desk.outcome(str(each.tracking_id)) for _, each in numbered(9)))
            await threads.pass_time(clock, outcomes, step=1)
            assert {type(outcome) for outcome in await outcomes} == {Created}
    assert service.sent == ["NEW"]


def numbered(count: int) -> list[tuple[int, Order]]:
    """Orders with their lines in a file."""
    return [*enumerate(orders(count), 1)]


async def test_an_order_of_a_stopped_file_push_is_unprocessed(tmp_path: Path) -> None:
    """It waits in a run that an operator has to resume; submitted to a desk, it is sent."""
    service, clock = Service(), ManualClock()
    async with client(service, clock=clock) as gs, await Ledger.open(tmp_path / "ledger.db") as ledger:
        run, _ = await Push(gs, ledger, mode=Mode.DIRECT).load_orders([order("T-1")])
        await run.close()
        async with Desk(gs, ledger, mode=Mode.DIRECT) as desk:
            waits = await desk.outcome("T-1")
            assert isinstance(waits, Unprocessed)
            assert f"the order waits in run {run.id}, which no process is sending" in str(waits.error)
            await desk.submit(order("T-1"))
            assert isinstance(await desk.outcome("T-1"), Created)
    assert service.sent == ["T-1"]


async def test_a_stopped_order_gives_way_to_another_one(tmp_path: Path) -> None:
    """Its key had another content; once the key is free, it says that it was not sent, and may be submitted again."""
    clock = ManualClock()
    answers = iter([Response(status=422, body=b"{}")])
    service = Service(lambda tasks: next(answers, None) or created(tasks))
    async with await Ledger.open(tmp_path / "ledger.db", clock=clock.now) as ledger:
        payload, _ = codec.encode_order(order(price=OTHER))
        await ledger.submitted("sandbox").add("", "T-1", payload)
        (taken,) = await ledger.submitted("sandbox").take("")
        await ledger.submitted("sandbox").stop(taken, OTHER_CONTENT)
    async with desk_of(tmp_path, service, clock=clock) as desk:
        assert isinstance(await desk.create(order()), Refused)
        outcome = await desk.outcome("T-1")
        assert isinstance(outcome, Unprocessed)
        assert "submit the order again" in str(outcome.error)
        await desk.submit(order())
        assert isinstance(await desk.outcome("T-1"), Created)


async def test_closing_hands_over_what_is_in_hand(tmp_path: Path) -> None:
    """What was taken and not sent is due at once for the next desk, not after a minute."""
    service, clock = Gate(), ManualClock()
    async with client(service, clock=clock, limits=1) as gs:
        desk = await Desk.open(gs, tmp_path / "ledger.db", mode="direct")
        async with desk:
            asking = asyncio.create_task(desk.create(order("X-1")))
            await service.came.wait()
            for each in orders(3):
                await desk.submit(each)
            await desk.ledger.runs()  # a turn of the reader's thread
            closing = asyncio.create_task(desk.close(timeout=3))
            await asyncio.sleep(0)
            await clock.advance(3)
            await closing
        assert isinstance(await asking, InDoubt)
    async with await Ledger.look(tmp_path / "ledger.db") as ledger:
        ((waits, _),) = (await ledger.waiting()).values()
        now = to_microseconds(clock.now())
        which = {"environment": "sandbox", "account": "", "now": now, "latest": now + LEASE}
        due = await ledger.read(lambda db: db.rows("is_submitted", **which))
    assert waits == 3
    assert due
