"""Submitted orders beside callers, other desks, dead processes and failing ledgers: none is lost, none doubled."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async import Created, InDoubt, Money, Refused, Unprocessed, UsageError, codec
from gotsurge_async.bulk import Changed, Desk, Ledger, Mode, OrderChanged, OrderState, Push, Run
from gotsurge_async.errors import ClientClosed
from gotsurge_async.ledger import OLDER_COPY, LedgerOlder, LedgerUnusable, NewOrder, OrderOutcome
from gotsurge_async.ledger.sql import joining
from gotsurge_async.ledger.submitted import SubmittedOrders
from gotsurge_async.ledger.upkeep.older_copy import accept_older
from gotsurge_async.push.desk import submitting
from gotsurge_async.push.desk.outcomes import TakenByAnother
from gotsurge_async.testing import START, ManualClock
from gotsurge_async.transports.base import NothingSent, Response
from tests.support.desks import Gate, Service, client, created, desk_of, once_so, waiting
from tests.support.orders import order, orders
from tests.support.pushes import place
from tests.support.threads import Threads

OTHER = Money.of("6.00", "SGD")


class Stumbling(Gate):
    """A gate whose first call finds no connection, when it is opened."""

    async def _wait(self, tasks: list[dict[str, Any]]) -> Response:
        if self.came.is_set():
            return created(tasks)
        self.came.set()
        await self.open.wait()
        raise NothingSent("no connection")


async def claimed(ledger: Ledger) -> tuple[Run, int]:
    """A desk's run that has claimed a submitted order, T-1, and the number of that."""
    payload, _ = codec.encode_order(order())
    await ledger.submitted("sandbox").add("", "T-1", payload)
    (taken,) = await ledger.submitted("sandbox").take("")
    run = await ledger.begin(environment="sandbox", mode=Mode.DIRECT, source="desk", options={"desk": True})
    await run.admit()
    await run.start()
    (number,) = await run.join([NewOrder(1, "T-1", payload)], {"T-1": taken.number})
    assert isinstance(number, int)
    return run, number


async def test_an_outcome_is_reported_before_it_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that cannot note it reports it once; it leaves the order to another one, which reports it again."""
    heard: list[tuple[str, type]] = []
    tried: list[object] = []
    clock, service = ManualClock(), Service()

    def note(key: str, outcome: object) -> None:
        heard.append((key, type(outcome)))

    async def killed(orders: SubmittedOrders, order: object) -> None:
        tried.append(order)
        raise LedgerUnusable("killed here")

    with monkeypatch.context() as patch:
        patch.setattr(SubmittedOrders, "forget", killed)
        async with desk_of(tmp_path, service, clock=clock, on_outcome=note) as desk:
            await desk.submit(order())
            await once_so(clock, lambda: len(tried) > 2)
    assert heard == [("T-1", Created)]
    async with desk_of(tmp_path, service, clock=clock, on_outcome=note):
        await once_so(clock, lambda: len(heard) == 2)
    assert (heard, service.sent) == ([("T-1", Created)] * 2, ["T-1"])
    assert await waiting(tmp_path) == (0, 0)


async def test_another_content_while_the_first_is_on_its_way_is_an_error(tmp_path: Path) -> None:
    """It does not replace the first one, which waits again when it could not be sent."""
    clock, service = ManualClock(), Stumbling()
    async with desk_of(tmp_path, service, clock=clock) as desk:
        await desk.submit(order())
        await service.came.wait()
        with pytest.raises(OrderChanged, match="waits to be sent"):
            await desk.submit(order(price=OTHER))
        service.open.set()
        asking = asyncio.create_task(desk.outcome("T-1"))
        await once_so(clock, asking.done)
        outcome = await asking
        assert isinstance(outcome, Created)
        assert outcome.order.price == order().price
    assert service.sent == ["T-1"] * 2


async def test_an_order_that_was_locked_for_a_moment_is_tried_again_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another desk that takes orders locks this one, too, and passes it over: it does not wait for the lease to end."""
    whole, skipped = joining.join, [1]

    def join(db: Any, run: Any, rows: Any, *rest: Any, **more: Any) -> Any:
        return [None for _ in rows] if skipped and skipped.pop() else whole(db, run, rows, *rest, **more)

    monkeypatch.setattr(joining, "join", join)
    clock, service, threads = ManualClock(), Service(), Threads()
    async with desk_of(tmp_path, service, clock=clock) as desk:
        await desk.submit(order())
        while not service.sent:
            await clock.advance(1)
            await threads.rest(clock)
        assert clock.monotonic() < 20
    assert not skipped


async def test_what_is_submitted_while_a_caller_sends_it_is_sent_if_that_fails(tmp_path: Path) -> None:
    """`submit` has returned, so it is durable, whatever becomes of the call that was on its way."""
    clock, service = ManualClock(), Stumbling()
    async with desk_of(tmp_path, service, clock=clock) as desk:
        creating = asyncio.create_task(desk.create(order()))
        await service.came.wait()
        await desk.submit(order())
        service.open.set()
        assert isinstance(await creating, Unprocessed)
        asking = asyncio.create_task(desk.outcome("T-1"))
        await once_so(clock, asking.done)
        assert isinstance(await asking, Created)


async def test_a_caller_who_takes_it_over_and_fails_does_not_lose_it(tmp_path: Path) -> None:
    """A process died with the order pending in its run; a caller creates it in vain; it is sent later all the same."""
    async with await Ledger.open(tmp_path / "ledger.db") as ledger:
        run, number = await claimed(ledger)
        await run.release_claim([number])
        await run.close()
    down = Service(lambda _: (_ for _ in ()).throw(NothingSent("no connection")))
    async with desk_of(tmp_path, down) as desk:
        assert isinstance(await desk.create(order()), Unprocessed)
    service, clock = Service(), ManualClock()
    async with desk_of(tmp_path, service, clock=clock) as desk:
        asking = asyncio.create_task(desk.outcome("T-1"))
        await once_so(clock, asking.done)
        assert isinstance(await asking, Created)
    assert service.sent == ["T-1"]


async def test_an_outage_in_which_each_call_hangs_is_probed_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No connection is made in ten seconds: no other order is sent meanwhile, and all are in the end."""
    monkeypatch.setattr("gotsurge_async.push.desk.desk.LINGER", 0.0)  # which no test's clock measures
    clock, at_once, down = ManualClock(), [0, 0], True

    async def respond(tasks: list[dict[str, Any]]) -> Response:
        if not down:
            return created(tasks)
        at_once[0] += 1
        at_once[1] = max(at_once)
        await clock.sleep(10)
        at_once[0] -= 1
        raise NothingSent("no connection in time")

    service, threads = Service(respond), Threads()
    async with desk_of(tmp_path, service, clock=clock) as desk:
        await desk.submit(order("T-0"))
        await threads.pass_time(clock, clock.sleep(12), step=1)
        for each in orders(30)[1:]:
            await desk.submit(each)
        await threads.pass_time(clock, clock.sleep(60), step=1)
        down = False
        await threads.pass_time(clock, desk.outcome("T-29"), step=1)
    assert at_once == [0, 1]
    assert len(service.creates[-1]) > 1


async def test_an_order_that_hangs_keeps_no_other_one_from_probing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was sent before the outage, and may wait for hours; the others are sent when the outage is over."""
    monkeypatch.setattr("gotsurge_async.push.desk.desk.LINGER", 0.0)  # which no test's clock measures
    came, down = asyncio.Event(), True

    async def respond(tasks: list[dict[str, Any]]) -> Response:
        if tasks[0]["tracking_id"] == "T-0":
            came.set()
            await asyncio.Event().wait()
        if down:
            raise NothingSent("no connection")
        return created(tasks)

    clock, threads, service = ManualClock(), Threads(), Service(respond)
    async with desk_of(tmp_path, service, clock=clock) as desk:
        await desk.submit(order("T-0"))
        await came.wait()
        await desk.submit(order("T-1"))
        await threads.pass_time(clock, clock.sleep(5), step=1)
        down = False
        await threads.pass_time(clock, desk.outcome("T-1"), step=1)
        await desk.close(0)
    assert 3 <= len(service.creates) <= 5


async def test_a_desk_sends_nothing_that_another_one_has_sent_meanwhile(tmp_path: Path) -> None:
    """Its lease ended while it stood still: what it has in hand waits no more, and is not sent."""
    service, late = Service(), Service()
    payload, _ = codec.encode_order(order())
    async with await Ledger.open(tmp_path / "ledger.db", clock=ManualClock().now) as ledger:
        await ledger.submitted("sandbox").add("", "T-1", payload)
        (taken,) = await ledger.submitted("sandbox").take("")
    async with desk_of(tmp_path, late) as desk:
        clock = ManualClock(START + timedelta(seconds=120))
        async with desk_of(tmp_path, service, clock=clock) as other:
            asking = asyncio.create_task(other.outcome("T-1"))
            await once_so(clock, asking.done)
            assert isinstance(await asking, Created)
        with pytest.raises(TakenByAnother):
            raise (await desk._create_submitted(taken)).error  # type: ignore[union-attr]
    assert (service.sent, late.sent) == (["T-1"], [])


async def test_a_refusal_with_others_says_so(tmp_path: Path) -> None:
    """Also when it is read from the ledger: look whether the order is there before it is created again."""
    service = Service(lambda _: Response(status=422, body=b'{"message": "no such street"}'))
    async with desk_of(tmp_path, service) as desk:
        await asyncio.gather(*(desk.submit(each) for each in orders(2)))
        refused = [await desk.outcome(f"T-{number}") for number in range(2)]
    assert [each.error.with_others for each in refused if isinstance(each, Refused)] == [  # type: ignore[attr-defined]
        len(service.creates) == 1
    ] * 2


async def test_a_desk_that_is_closed_answers_nobody(tmp_path: Path) -> None:
    """Whoever waits for an outcome gets ClientClosed, also over a ledger that stays open."""
    async with client(Service()) as gs, await Ledger.open(tmp_path / "ledger.db") as ledger:
        async with Desk(gs, ledger, mode=Mode.DIRECT) as desk:
            await ledger.submitted("sandbox").add("other", "T-1", codec.encode_order(order())[0])
        with pytest.raises(ClientClosed):
            await desk.outcome("T-1")


async def test_a_coroutine_is_no_hook(tmp_path: Path) -> None:
    """It would never run."""

    async def heard(key: str, outcome: object) -> None: ...

    async with client(Service()) as gs:
        with pytest.raises(UsageError, match="plain function"):
            await Desk.open(gs, tmp_path / "ledger.db", on_outcome=heard)


async def test_the_outcome_of_a_process_that_died_is_reported_by_the_next_one(tmp_path: Path) -> None:
    """Its order was created, and its run had not ended: the next desk reports it, and removes it."""
    async with await Ledger.open(tmp_path / "ledger.db") as ledger:
        run, number = await claimed(ledger)
        await run.record([OrderOutcome(number, OrderState.CREATED, "task-1")])
        await run.close()
    heard: list[tuple[str, type]] = []
    service, clock = Service(), ManualClock(datetime.now(UTC) + timedelta(minutes=5))
    async with desk_of(
        tmp_path, service, clock=clock, on_outcome=lambda key, outcome: heard.append((key, type(outcome)))
    ) as desk:
        await once_so(clock, lambda: heard)
        assert isinstance(await desk.outcome("T-1"), Created)
    assert (heard, service.sent) == ([("T-1", Created)], [])
    assert await waiting(tmp_path) == (0, 0)


async def test_an_older_copy_has_not_all_that_was_submitted(tmp_path: Path) -> None:
    """What is submitted counts, so the copy is noticed; what waited in it may have been sent since."""
    path = tmp_path / "ledger.db"
    async with await Ledger.open(path) as ledger:
        await ledger.submitted("sandbox").add("", "T-1", codec.encode_order(order())[0])
    copy = path.read_bytes()
    async with await Ledger.open(path) as ledger:
        await ledger.submitted("sandbox").add("", "T-2", codec.encode_order(order("T-2"))[0])
    path.write_bytes(copy)
    with pytest.raises(LedgerOlder):
        await Ledger.open(path)
    assert (await accept_older(path)).in_doubt == 1
    service = Service()
    async with desk_of(tmp_path, service) as desk:
        await desk.ledger.all_known()
        outcome = await desk.outcome("T-1")
        assert isinstance(outcome, InDoubt)
        assert "may have been sent" in str(outcome.error)
    assert service.sent == []


async def test_an_order_that_an_older_copy_stopped_is_reported_once(tmp_path: Path) -> None:
    """It is in doubt, and stays stopped; a desk that opens the ledger later does not report it again."""
    path = tmp_path / "ledger.db"
    async with await Ledger.open(path) as ledger:
        for name in ("T-1", "T-2"):
            await ledger.submitted("sandbox").add("", name, codec.encode_order(order(name))[0])
    copy = path.read_bytes()
    async with await Ledger.open(path) as ledger:
        await ledger.submitted("sandbox").add("", "T-3", codec.encode_order(order("T-3"))[0])
    path.write_bytes(copy)
    await accept_older(path)
    service, clock = Service(), ManualClock(datetime.now(UTC))
    heard: list[tuple[str, type]] = []
    for name in ("T-8", "T-9"):
        async with desk_of(
            tmp_path, service, clock=clock, on_outcome=lambda key, outcome: heard.append((key, type(outcome)))
        ) as desk:
            await desk.ledger.all_known()
            await desk.submit(order(name))
            await once_so(clock, lambda: heard.count((name, Created)) and len(heard) > 2)  # noqa: B023
            for key in ("T-1", "T-2"):
                assert isinstance(await desk.outcome(key), InDoubt)
    assert sorted(heard, key=str) == [("T-1", InDoubt), ("T-2", InDoubt), ("T-8", Created), ("T-9", Created)]
    assert (service.sent, await waiting(tmp_path)) == (["T-8", "T-9"], (0, 2))


async def test_orders_that_an_older_copy_stopped_do_not_end_an_outage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are reported, and those that wait to be sent still probe it one by one."""
    monkeypatch.setattr("gotsurge_async.push.desk.desk.LINGER", 0.0)  # which no test's clock measures
    service, clock = Service(lambda _: (_ for _ in ()).throw(NothingSent("no connection"))), ManualClock()
    threads, heard = Threads(), list[str]()
    async with desk_of(tmp_path, service, clock=clock, on_outcome=lambda key, _: heard.append(key)) as desk:
        await desk.submit(order("T-0"))
        await threads.pass_time(clock, clock.sleep(1), step=1)
        assert desk._sender._failures
        there = desk.ledger.submitted("sandbox")
        for each in orders(30)[1:]:
            waits, _ = await there.add("", each.tracking_id, codec.encode_order(each)[0])
            assert waits is not None
            if each.tracking_id in ("T-1", "T-2"):
                await there.stop(waits, OLDER_COPY)
        await threads.pass_time(clock, clock.sleep(60), step=1)
    assert heard == ["T-1", "T-2"]
    assert len(service.creates) > 3
    assert {len(names) for names in service.creates} == {1}


@pytest.mark.parametrize("price", [None, OTHER])
async def test_a_refusal_that_a_process_did_not_report_is_reported_when_it_is_replaced(
    tmp_path: Path, price: Money | None
) -> None:
    """A process died after the refusal, and the order is submitted again: both outcomes are reported, in this order."""
    async with await Ledger.open(tmp_path / "ledger.db") as ledger:
        run, number = await claimed(ledger)
        await run.record([OrderOutcome(number, OrderState.REFUSED, error="no such street")])
        await run.close()
    heard: list[tuple[str, type]] = []
    service = Service()
    async with desk_of(tmp_path, service, on_outcome=lambda key, outcome: heard.append((key, type(outcome)))) as desk:
        await desk.submit(order() if price is None else order(price=price))
        assert heard == [("T-1", Refused)]
        assert isinstance(await desk.outcome("T-1"), Created)
        await desk.close()
        assert desk._sender._reported == set()
    assert (heard, service.sent) == ([("T-1", Refused), ("T-1", Created)], ["T-1"])


async def test_a_refusal_whose_key_another_order_got_is_reported_once(tmp_path: Path) -> None:
    """A process died after the refusal, and another content was created: the next desk notes that it reported it."""
    async with await Ledger.open(tmp_path / "ledger.db") as ledger:
        run, number = await claimed(ledger)
        await run.record([OrderOutcome(number, OrderState.REFUSED, error="no such street")])
        await run.close()
    heard: list[tuple[str, type]] = []
    service, clock = Service(), ManualClock(datetime.now(UTC))
    async with desk_of(
        tmp_path, service, clock=clock, on_outcome=lambda key, outcome: heard.append((key, type(outcome)))
    ) as desk:
        assert isinstance(await desk.create(order(price=OTHER)), Created)
        await once_so(clock, lambda: heard)
    async with await Ledger.look(tmp_path / "ledger.db") as ledger:
        waits, _ = await ledger.submitted("sandbox").standing("T-1")
    assert (heard, waits) == ([("T-1", Changed)], None)


async def test_a_refused_order_is_not_sent_when_another_one_was_not(tmp_path: Path) -> None:
    """A process died after the refusal; a mended order with the key finds no connection, and its caller hears that."""
    async with await Ledger.open(tmp_path / "ledger.db") as ledger:
        run, number = await claimed(ledger)
        await run.record([OrderOutcome(number, OrderState.REFUSED, error="no such street")])
        await run.close()
    heard: list[tuple[str, type]] = []
    service = Service(lambda _: (_ for _ in ()).throw(NothingSent("no connection")))
    clock = ManualClock(datetime.now(UTC))  # the lease of the process that died has not ended
    async with desk_of(
        tmp_path, service, clock=clock, on_outcome=lambda key, outcome: heard.append((key, type(outcome)))
    ) as desk:
        assert isinstance(await desk.create(order(price=OTHER)), Unprocessed)
        service.respond = created
        await once_so(clock, lambda: heard)
        await clock.advance(120)
    assert (heard, service.sent) == ([("T-1", Refused)], ["T-1"])
    assert await waiting(tmp_path) == (0, 0)


async def test_a_ledger_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    """Its volume vanished under a living desk: nothing is called durable that is in an empty ledger in its place."""
    async with desk_of(tmp_path, Service()) as desk:
        assert isinstance(await desk.create(order()), Created)
        (tmp_path / "ledger.db").rename(tmp_path / "away.db")
        desk._runs.failed(LedgerUnusable("its disk failed"))
        with pytest.raises(LedgerUnusable, match="is gone"):
            await desk.submit(order("T-2"))
        (tmp_path / "away.db").rename(tmp_path / "ledger.db")
        await desk.submit(order("T-2"))
        assert isinstance(await desk.outcome("T-2"), Created)


async def test_the_sender_outlives_an_error_that_nobody_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and what waits is sent when the cause is gone."""
    whole, errors = SubmittedOrders.take, [OSError("too many open files")]

    async def take(orders_: SubmittedOrders, *words: Any) -> list[Any]:
        if errors:
            raise errors.pop()
        return await whole(orders_, *words)

    monkeypatch.setattr(SubmittedOrders, "take", take)
    clock = ManualClock()
    async with desk_of(tmp_path, Service(), clock=clock) as desk:
        await desk.submit(order())
        asking = asyncio.create_task(desk.outcome("T-1"))
        await once_so(clock, asking.done)
        assert isinstance(await asking, Created)
    assert "too many open files" in caplog.text


async def test_what_a_stopped_push_took_over_is_sent_by_the_desk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file with the same order was pushed after the desk had died, and ended before it sent it: then it is due."""
    async with await Ledger.open(tmp_path / "ledger.db") as ledger:
        run, number = await claimed(ledger)
        await run.release_claim([number])
        await run.close()
        async with client(Service()) as gs:
            taking, _ = await Push(gs, ledger, mode=Mode.DIRECT).load_orders([order()])
            assert (await taking.counts())[OrderState.PENDING] == 1
            await taking.close()
    put_off: list[object] = []
    monkeypatch.setattr(SubmittedOrders, "put_off", lambda *call: _noted(put_off, call))
    service, clock = Service(), ManualClock(datetime.now(UTC) + timedelta(minutes=5))
    async with desk_of(tmp_path, service, clock=clock) as desk:
        asking = asyncio.create_task(desk.outcome("T-1"))
        await Threads().pass_time(clock, asking, step=1)
        assert (service.sent, put_off) == (["T-1"], [])
        assert isinstance(await asking, Created)
    assert await waiting(tmp_path) == (0, 0)


async def _noted(calls: list[object], call: object) -> None:
    calls.append(call)


async def test_orders_that_another_ledger_sent_hold_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each waits for a person to decide; an order that was submitted after them is sent."""
    monkeypatch.setattr(submitting, "pause_after", lambda _: 1000.0)
    numbers = range(1, 13)
    async with place(tmp_path) as at:
        await at.push([order(f"T-{number}") for number in numbers], mode=Mode.TWO_PHASE)
        async with await Desk.open(at.gs, tmp_path / "other.db", mode="two-phase", new_ledger=True) as desk:
            for number in numbers:
                await desk.submit(order(f"T-{number}"))
            waits = desk.ledger.submitted("local")
            async with asyncio.timeout(20):
                while not ((await waits.standing("T-12"))[0] or pytest.fail("it was forgotten")).tries:  # noqa: ASYNC110
                    await asyncio.sleep(0)
                await desk.submit(order("T-0"))
                assert isinstance(await desk.outcome("T-0"), Created)
        assert set(at.simulator.audit()["by_tracking_id"].values()) == {1}
