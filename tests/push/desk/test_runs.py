"""A desk's runs: how they begin and end, and what a platform partner's orders go through."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gotsurge_async import (
    Created,
    InDoubt,
    Unprocessed,
    UsageError,
    codec,
)
from gotsurge_async.bulk import Desk, Ledger, Mode, OrderState, Push, Run, Undo
from gotsurge_async.errors import ClientClosed, EndpointsAssumed, NotSent, SignInNeeded
from gotsurge_async.ledger import LedgerUnsure, LedgerUnusable, NewOrder, OrdersThere, RunInfo, RunState, SecondLedger
from gotsurge_async.push.desk import runs as desk_runs
from gotsurge_async.push.desk.run import LONGEST, MOST_ORDERS, REFUSED_FOR, WITH_DOUBTS
from gotsurge_async.push.entering import Entering
from gotsurge_async.simulator import Fault
from gotsurge_async.testing import ManualClock
from gotsurge_async.transports.base import MaybeSent, NothingSent, Request, Response
from tests.support.desks import Service, client, created, desk_of, fail_once, once_so, states
from tests.support.orders import answer, order, orders
from tests.support.pushes import place
from tests.support.threads import Threads

# --- opening and closing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", ["30", -1, float("nan"), True])
async def test_a_time_of_closing_that_is_none_closes_nothing(tmp_path: Path, timeout: Any) -> None:
    """It is an error, and the desk goes on; None is no limit."""
    async with desk_of(tmp_path, Service()) as desk:
        with pytest.raises(UsageError):
            await desk.close(timeout)
        assert isinstance(await desk.create(order()), Created)
        await desk.close(None)


async def test_a_desk_is_entered_first(tmp_path: Path) -> None:
    """Without `async with` nothing would take up what an earlier process left."""
    async with client(Service()) as gs:
        desk = await Desk.open(gs, tmp_path / "ledger.db", mode="direct")
        with pytest.raises(ClientClosed):
            await desk.create(order())
        await desk.close()


async def test_a_service_that_cannot_be_asked_for_the_mode_sends_nothing(tmp_path: Path) -> None:
    """The caller gets the error, and the next call asks again."""
    answers = iter([NothingSent("no connection")])

    def respond(request: Request) -> Response:
        if request.method == "GET":
            if (error := next(answers, None)) is not None:
                raise error
            return Response(status=403, body=b"{}")
        return created(msgspec.json.decode(request.body or b"{}")["tasks"])

    async with desk_of(tmp_path, respond, mode=None) as desk:
        with pytest.raises(NotSent):
            await desk.create(order())
        assert isinstance(await desk.create(order()), Created)


async def test_production_sends_nothing_to_a_guess(tmp_path: Path) -> None:
    """The endpoints are checked before anything is in the ledger."""
    service = Service()
    async with (
        client(service, environment="production") as gs,
        await Desk.open(gs, tmp_path / "ledger.db", mode="direct") as desk,
    ):
        with pytest.raises(EndpointsAssumed):
            await desk.create(order())
    assert service.creates == []


async def test_without_a_sign_in_the_key_stays_free(tmp_path: Path) -> None:
    """The order was certainly not sent, and the outcome says why."""
    async with (
        client(Service(), bearer_token=None) as gs,
        await Desk.open(gs, tmp_path / "ledger.db", mode="direct") as desk,
    ):
        outcome = await desk.create(order())
        assert isinstance(outcome, Unprocessed)
        assert isinstance(outcome.error, SignInNeeded)
        assert await states(desk) == {"T-1": [OrderState.WITHDRAWN]}


# --- runs -------------------------------------------------------------------------------------------------------------


async def test_a_run_with_doubts_is_left_to_what_settles_them(tmp_path: Path) -> None:
    """After a minute the next order begins another run, so that the first one can be reconciled."""
    answers = iter([MaybeSent("reset")])

    def respond(tasks: list[dict[str, Any]]) -> Response:
        if (error := next(answers, None)) is not None:
            raise error
        return created(tasks)

    clock = ManualClock()
    async with desk_of(tmp_path, Service(respond), clock=clock) as desk:
        await desk.create(order("T-1"))
        await desk.create(order("T-2"))
        await clock.advance(WITH_DOUBTS)
        await desk.create(order("T-3"))
        newest, oldest = await desk.ledger.runs()
        assert (newest.state, oldest.state) == (RunState.SENDING, RunState.DONE)
        await (await desk.ledger.hold(oldest.id)).close()


async def test_a_run_with_doubts_is_left_at_the_next_look(tmp_path: Path) -> None:
    """Though it began after the last one, and no other order comes: what settles its doubts has it within a minute."""

    def respond(_: list[dict[str, Any]]) -> Response:
        raise MaybeSent("reset")

    clock, threads = ManualClock(), Threads()
    async with desk_of(tmp_path, Service(respond), clock=clock) as desk:
        await threads.rest(clock)
        await clock.advance(desk_runs.LOOK / 4)
        await desk.create(order("T-1"))
        await clock.advance(desk_runs.LOOK * 3 / 4 - 1)
        assert [info.state for info in await desk.ledger.runs()] == [RunState.SENDING]
        while [info.state for info in await desk.ledger.runs()] != [RunState.DONE]:
            await clock.advance(1)
            await threads.rest(clock)
        assert clock.monotonic() < desk_runs.LOOK * 1.5


async def test_a_run_ends_after_a_day(tmp_path: Path) -> None:
    """Also when no order comes: then it can be archived."""
    clock = ManualClock()
    async with desk_of(tmp_path, Service(), clock=clock) as desk:
        await desk.create(order())
        await clock.advance(LONGEST)
        while [info.state for info in await desk.ledger.runs()] != [RunState.DONE]:
            await clock.advance(1)


# --- platform partners ------------------------------------------------------------------------------------------------


async def test_a_platform_partner_s_order_is_drafted_and_broadcast(tmp_path: Path) -> None:
    """Exactly once, though every first answer is lost."""
    async with place(tmp_path) as at:
        for operation in ("platform.drafts.create", "platform.drafts.broadcast"):
            at.simulator.order_fault(Fault(operation=operation, when="after", kind="reset", times=1))
        async with Desk(at.gs, at.ledger) as desk:
            outcomes = await asyncio.gather(*[desk.create(each) for each in orders(3)])
            again = await asyncio.gather(*[desk.create(each) for each in orders(3)])
        assert all(isinstance(each, Created) for each in outcomes), outcomes
        assert all(isinstance(each, Created) and each.replayed for each in again)
        live = [task["tracking_id"] for task in at.simulator.tasks() if not task["draft"]]
    assert sorted(live) == sorted(str(each.tracking_id) for each in orders(3))


async def test_an_open_broadcast_is_settled_by_the_next_call(tmp_path: Path) -> None:
    """Its task cannot be read at first; the same key asked again reads it, and sends nothing."""
    async with place(tmp_path) as at:
        at.simulator.order_fault(Fault(operation="platform.drafts.broadcast", when="after", kind="reset"))
        at.simulator.order_fault(Fault(operation="platform.tasks.get", when="before", kind="reset"))
        async with Desk(at.gs, at.ledger) as desk:
            first = await desk.create(order())
            assert isinstance(first, InDoubt)
            at.simulator.clear_faults()
            second = await desk.create(order())
            assert isinstance(second, Created)


async def test_a_ledger_that_failed_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order that met the failure joins a run of the opened ledger, whether it was in it by then or not."""
    service = Service()
    async with desk_of(tmp_path, service) as desk:
        assert isinstance(await desk.create(order("T-1")), Created)
        failed = desk.ledger
        fail_once(monkeypatch)
        assert isinstance(await desk.create(order("T-2")), Created)
        assert desk.ledger is not failed
        assert not [info.id for info in await desk.ledger.runs() if await desk.ledger.is_held(info.id)][1:]
    assert service.creates == [["T-1"], ["T-2"]]


async def test_a_known_key_writes_nothing(tmp_path: Path) -> None:
    """The ledger counts the claims of new orders, and nothing for orders that it only answers."""
    async with desk_of(tmp_path, Service()) as desk:
        await desk.create(order())
        before = await desk.ledger.identity()
        await desk.create(order())
        now = await desk.ledger.identity()
        assert before is not None
        assert now is not None
        assert msgspec.structs.asdict(before) == msgspec.structs.asdict(now)


async def test_a_ledger_of_its_owner_s_is_not_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner opens another one, and another desk."""
    async with (
        client(Service()) as gs,
        await Ledger.open(tmp_path / "ledger.db", clock=gs.session.clock.now) as ledger,
        Desk(gs, ledger, mode="direct") as desk,
    ):
        await desk.create(order("T-1"))
        fail_once(monkeypatch)
        for number in (2, 3):
            with pytest.raises(LedgerUnusable) as failed:
                await desk.create(order(f"T-{number}"))
            assert failed.value.sent == "nothing"
        assert desk.ledger is ledger


async def test_a_commit_that_failed_leaves_its_order_in_doubt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its caller owns the ledger, so nobody opens it again and sees whether the order is in it; the next is certain."""
    async with (
        client(Service()) as gs,
        await Ledger.open(tmp_path / "ledger.db", clock=gs.session.clock.now) as ledger,
        Desk(gs, ledger, mode="direct") as desk,
    ):
        await desk.create(order("T-1"))
        fail_once(monkeypatch, kind=LedgerUnsure)
        assert isinstance(await desk.create(order("T-2")), InDoubt)
        with pytest.raises(LedgerUnusable) as failed:
            await desk.create(order("T-3"))
        assert failed.value.sent == "nothing"


async def test_a_new_ledger_does_not_send_what_another_one_sent(tmp_path: Path) -> None:
    """A platform partner's Task List shows the order: it is refused, and orders that are new are sent."""
    async with place(tmp_path) as at:
        await at.push([order("T-1")], mode=Mode.TWO_PHASE)
        async with await Desk.open(at.gs, tmp_path / "other.db", mode="two-phase", new_ledger=True) as desk:
            with pytest.raises(OrdersThere, match="T-1"):
                await desk.create(order("T-1"))
            assert isinstance(await desk.create(order("T-2")), Created)
        async with await Desk.open(at.gs, tmp_path / "other.db", mode="two-phase") as later:  # a service that restarts
            with pytest.raises(OrdersThere, match="T-1"):
                await later.create(order("T-1"))
        assert at.simulator.audit()["by_tracking_id"] == {"T-1": 1, "T-2": 1}


async def test_an_order_of_another_ledger_is_sent_once_it_is_cancelled(tmp_path: Path) -> None:
    """The desk that refused it reads its task again; one that cannot be read, or is gone, is refused as before."""
    async with place(tmp_path) as at:
        await at.push([order("T-1")], mode=Mode.TWO_PHASE)
        async with await Desk.open(at.gs, tmp_path / "other.db", mode="two-phase", new_ledger=True) as desk:
            for status in (503, 404):
                at.simulator.order_fault(Fault(operation="platform.tasks.get", kind="status", status=status))
                with pytest.raises(OrdersThere, match="T-1"):
                    await desk.create(order("T-1"))
            at.simulator.clear_faults()
            await at.gs.tasks.cancel(at.simulator.tasks()[0]["id"], reason="the ship sailed")
            assert isinstance(await desk.create(order("T-1")), Created)


@pytest.mark.parametrize("mode", Mode)
async def test_a_cancelled_order_of_a_new_ledger_is_not_another_ledger_s(tmp_path: Path, mode: Mode) -> None:
    """The Task List was read before the order was cancelled; its key is free, and another key may have its name."""
    async with place(tmp_path) as at:
        async with Desk(at.gs, at.ledger, mode=mode) as desk:
            await desk.create(order("T-1"))
        async with Desk(at.gs, at.ledger, mode=mode) as later:  # a service that restarts
            await later.create(order("T-2"))
            for run in await at.ledger.runs():
                if "T-1" in [row.key async for row in at.ledger.rows(run.id)]:
                    await Undo(at.gs, at.ledger).undo(run.id)
            assert isinstance(await later.create(order("T-1")), Created)
            assert isinstance(await later.create(order("T-1"), key="another"), Created)


async def test_what_another_desk_over_the_ledger_sent_is_not_another_ledger_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One desk sends before another one, which has begun, reads the Task List: the other one has the same task."""
    async with (
        place(tmp_path) as at,
        await Ledger.open(tmp_path / "ledger.db", clock=at.clock.now) as second,
        Desk(at.gs, at.ledger) as first,
        Desk(at.gs, second) as other,
    ):

        async def late(entering: Entering, _: Run, __: timedelta) -> dict[str, set[str]]:
            monkeypatch.undo()
            assert isinstance(await first.create(order()), Created)
            return (await entering._listed(Mode.TWO_PHASE))[0]

        monkeypatch.setattr(Entering, "there_before", late)
        again = await other.create(order())
    assert isinstance(again, Created)
    assert again.replayed


async def test_a_second_ledger_of_an_account_is_refused(tmp_path: Path) -> None:
    """Nothing is sent before a person has decided that there may be two."""
    async with place(tmp_path) as at:
        await at.push([order("T-1")], mode=Mode.TWO_PHASE)
        async with await Desk.open(at.gs, tmp_path / "other.db", mode="two-phase") as desk:
            with pytest.raises(SecondLedger):
                await desk.create(order("T-2"))
        assert at.simulator.audit()["by_tracking_id"] == {"T-1": 1}


async def test_a_desk_resumes_the_runs_of_its_own_account(tmp_path: Path) -> None:
    """What a desk of one account left is not sent with the token of another one."""
    async with place(tmp_path) as at:
        async with Desk(at.gs, at.ledger, mode="two-phase") as desk:
            await desk.create(order("T-1"))
        mine, other = at.gs, at.gs.as_account("acme")
        left = await at.ledger.begin(environment="local", mode="two-phase", source="desk", options={"desk": True})
        await left.add([NewOrder(1, "T-2", codec.encode(order("T-2")))])
        await left.admit()
        await left.close()
        for gs, state in ((other, OrderState.PENDING), (mine, OrderState.CREATED)):
            await Desk(gs, at.ledger, mode="two-phase")._runs._resume_left()  # not entered: it looks once
            assert await at.states(left.id) == {"T-2": state}


async def test_the_mode_is_chosen_for_each_run(tmp_path: Path) -> None:
    """One wrong answer, of a proxy for instance, decides it for a run, and not for the life of a service."""
    async with place(tmp_path) as at, Desk(at.gs, at.ledger) as desk:
        at.simulator.order_fault(
            Fault(operation="platform.tasks.list", when="before", kind="status", status=404, times=1)
        )
        await desk.create(order("T-1"))
        desk._runs._now.orders = MOST_ORDERS  # type: ignore[union-attr]
        await desk.create(order("T-2"))
        assert [info.mode for info in await at.ledger.runs()] == [Mode.TWO_PHASE, Mode.DIRECT]


async def test_a_passing_refusal_makes_no_platform_partner_a_plain_one(tmp_path: Path) -> None:
    """The mode is asked for again after minutes, once for all orders since; a refusal leaves the run as it is."""
    asked: list[int] = []
    clock = ManualClock()

    def respond(request: Request) -> Response:
        if request.method == "GET":
            asked.append(403 if len(asked) < 2 else 200)
            return answer({"tasks": []}, asked[-1])
        body = msgspec.json.decode(request.body or b"")
        if "tasks" in body:
            return created(body["tasks"])
        return answer({"updated_tasks": [{"id": task, "current_status": "broadcasting"} for task in body["task_ids"]]})

    async with desk_of(tmp_path, respond, clock=clock, mode=None) as desk:
        for number in range(3):
            await desk.create(order(f"T-{number}"))
        await once_so(clock, lambda: len(asked) > 1)
        assert clock.monotonic() >= REFUSED_FOR
        await clock.advance(3 * REFUSED_FOR)
        await clock.settle()
        assert asked == [403, 403]  # nothing had joined the run, so it was not asked for again
        await desk.create(order("T-3"))
        await once_so(clock, lambda: len(asked) > 2)
        await clock.settle()
        await desk.create(order("T-4"))
        assert asked == [403, 403, 200, 200]
        assert [info.mode for info in await desk.ledger.runs()] == [Mode.TWO_PHASE, Mode.DIRECT]
        assert {row.state for info in await desk.ledger.runs() async for row in desk.ledger.rows(info.id)} == {
            OrderState.CREATED
        }


# --- what others have in hand -----------------------------------------------------------------------------------------


async def test_what_another_desk_gave_up_is_not_waited_for(tmp_path: Path) -> None:
    """Its broadcast was lost, and its task could not be read: it is in doubt for every desk, and for nobody in hand."""
    async with (
        place(tmp_path) as at,
        await Ledger.open(tmp_path / "ledger.db", clock=at.clock.now) as second,
        Desk(at.gs, at.ledger) as first,
        Desk(at.gs, second) as other,
    ):
        at.simulator.order_fault(Fault(operation="platform.drafts.broadcast", when="after", kind="reset"))
        at.simulator.order_fault(Fault(operation="platform.tasks.get", when="before", kind="reset"))
        assert isinstance(await first.create(order()), InDoubt)
        at.simulator.clear_faults()
        async with asyncio.timeout(5):
            outcome = await other.create(order())
        assert isinstance(outcome, InDoubt)
        assert "may have been broadcast" in str(outcome.error)
        assert isinstance(await first.create(order()), Created)


async def test_a_run_that_is_taken_back_meanwhile_is_not_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator undoes a dead desk's run after it was listed, and before it is held: nothing of it is sent."""
    async with place(tmp_path) as at:
        options = {"desk": True, "undo": {"drafts": True, "ended": True}}
        left = await at.ledger.begin(environment="local", mode="two-phase", source="desk", options=options)
        await left.add([NewOrder(1, "T-2", codec.encode(order("T-2")))])
        await left.admit()
        await left.close()
        listed = [msgspec.structs.replace(info, options={"desk": True}) for info in await at.ledger.unfinished()]

        async def as_before(_: Ledger) -> list[RunInfo]:
            return listed

        monkeypatch.setattr(Ledger, "unfinished", as_before)
        await Desk(at.gs, at.ledger, mode="two-phase")._runs._resume_left()
        assert await at.states(left.id) == {"T-2": OrderState.PENDING}


async def test_an_error_of_a_store_s_own_does_not_end_the_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next look resumes what the failed one could not."""
    looks: list[int] = []
    whole = desk_runs.DeskRuns._resume_left

    async def fails_first(runs: desk_runs.DeskRuns) -> None:
        looks.append(1)
        if len(looks) == 1:
            raise OSError("no space left on device")
        await whole(runs)

    monkeypatch.setattr(desk_runs.DeskRuns, "_resume_left", fails_first)
    clock = ManualClock()
    async with desk_of(tmp_path, Service(), clock=clock):
        while len(looks) < 2:
            await clock.advance(desk_runs.LOOK)


async def test_a_run_that_cannot_be_resumed_keeps_no_other_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its error is a warning, and the next one is resumed."""
    async with place(tmp_path) as at:
        left = []
        for key in ("T-1", "T-2"):
            run = await at.ledger.begin(environment="local", mode="two-phase", source="desk", options={"desk": True})
            await run.add([NewOrder(1, key, codec.encode(order(key)))])
            await run.admit()
            await run.close()
            left.append(run.id)
        whole = Push.send

        async def send(push: Push, run: Run) -> Any:
            if run.id == left[0]:
                raise OSError("no space left on device")
            return await whole(push, run)

        monkeypatch.setattr(Push, "send", send)
        await Desk(at.gs, at.ledger, mode="two-phase")._runs._resume_left()
        assert await at.states(left[1]) == {"T-2": OrderState.CREATED}


async def test_what_was_not_processed_is_certainly_not_sent(tmp_path: Path) -> None:
    """Every draft of a platform partner's order was lost: no driver was called, and the outcome's error says so."""
    async with place(tmp_path) as at, Desk(at.gs, at.ledger) as desk:
        at.simulator.order_fault(Fault(operation="platform.drafts.create", when="after", kind="reset"))
        outcome = await desk.create(order())
    assert isinstance(outcome, Unprocessed)
    assert outcome.error.sent == "nothing"
