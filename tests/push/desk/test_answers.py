"""Answers that come while the ledger cannot be written: they are recorded when it can be, or named."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async import Created, InDoubt, Refused, Unprocessed
from gotsurge_async.bulk import Desk, Ledger, OrderState
from gotsurge_async.ledger import LedgerBusy, LedgerUnusable
from gotsurge_async.ledger.locks import LEASE_SECONDS
from gotsurge_async.ledger.sql import marks
from gotsurge_async.push import chunks
from gotsurge_async.push.desk.answers import Answers
from gotsurge_async.push.desk.opening import SharedLedger
from gotsurge_async.testing import ManualClock
from gotsurge_async.transports.base import Request, Response
from tests.support.desks import Gate, Service, client, created, desk_of, fail_once, lose_commit, once_so, states
from tests.support.orders import answer, order, orders
from tests.support.postgres import server


def busy(*_: Any) -> Any:
    """A write of a ledger that another process has locked."""
    raise LedgerBusy("is locked")


async def test_an_answer_that_could_not_be_recorded_is_recorded_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its caller hears of the task; the ledger that is opened again has it, and the lock of its run is free."""
    async with desk_of(tmp_path, Service()) as desk:
        await desk.create(order("T-1"))
        fail_once(monkeypatch, name="record", where=marks)
        assert isinstance(await desk.create(order("T-2")), Created)
        assert isinstance(await desk.create(order("T-3")), Created)
        oldest = (await desk.ledger.runs())[-1]
        async with asyncio.timeout(20):
            while await desk.ledger.is_held(oldest.id):  # noqa: ASYNC110 - a thread gives it back
                await asyncio.sleep(0)
        again = await desk.create(order("T-2"))
        assert isinstance(again, Created)
        assert (again.receipt.id, again.replayed) == ("id-T-2", True)
        rows = {row.key: (row.state, row.task_id) async for row in desk.ledger.rows(oldest.id)}
        assert rows["T-2"] == (OrderState.CREATED, "id-T-2")


@pytest.mark.parametrize("status", [422, 429])
async def test_a_refusal_that_could_not_be_recorded_is_recorded_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """Its caller hears of it, and its key is free, as in a ledger that did not fail."""
    service = Service(lambda _: Response(status=status, body=b"{}"))
    async with desk_of(tmp_path, service) as desk:
        fail_once(monkeypatch, name="record" if status == 422 else "release", where=marks)
        refused = await desk.create(order("T-1"))
        assert isinstance(refused, Refused if status == 422 else Unprocessed)
        assert refused.error.sent == "refused"
        service.respond = created
        again = await desk.create(order("T-1"))
        assert isinstance(again, Created)
        assert not again.replayed
        first = OrderState.REFUSED if status == 422 else OrderState.WITHDRAWN
        assert await states(desk) == {"T-1": [first, OrderState.CREATED]}
    assert service.sent == ["T-1", "T-1"]


@pytest.mark.parametrize("status", [200, 422, 429])
async def test_an_answer_whose_record_took_effect_is_the_last_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    """The commit was durable, and its result was lost: nothing is sent of an order whose caller heard otherwise."""
    states_of = {200: OrderState.CREATED, 422: OrderState.REFUSED, 429: OrderState.WITHDRAWN}
    service = Service(created if status == 200 else lambda _: Response(status=status, body=b"{}"))
    clock = ManualClock()
    async with desk_of(tmp_path, service, clock=clock) as desk:
        lose_commit(monkeypatch, name="release" if status == 429 else "record")
        outcome = await desk.create(order("T-1"))
        assert isinstance(outcome, {200: Created, 422: Refused, 429: Unprocessed}[status])
        service.respond = created
        await once_so(clock, lambda: not desk._runs.answers and not desk._runs._is_recording)
        assert await states(desk) == {"T-1": [states_of[status]]}
    async with desk_of(tmp_path, service) as desk:
        await desk._runs._resume_left()
        assert await states(desk) == {"T-1": [states_of[status]]}
    assert service.sent == ["T-1"]
    assert "not recorded" not in caplog.text


async def test_an_order_that_was_released_when_its_desk_closed_is_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its caller heard that it was not sent: the write that ended its claim was under way, and took effect."""
    service = Service(lambda _: Response(status=429, body=b"{}"))
    whole, closing = marks.release, list[asyncio.Task[None]]()
    async with desk_of(tmp_path, service) as desk:
        loop = asyncio.get_running_loop()

        def release(*words: Any) -> None:
            whole(*words)
            if not closing:
                asking.get_loop().call_soon_threadsafe(lambda: closing.append(loop.create_task(desk.close(0))))
                asyncio.run_coroutine_threadsafe(desk._runs._push._stopping.wait(), loop).result()

        monkeypatch.setattr(marks, "release", release)
        asking = asyncio.create_task(desk.create(order("T-1")))
        assert isinstance(await asking, Unprocessed)
        await closing[0]
    service.respond = created
    async with desk_of(tmp_path, service) as desk:
        await desk._runs._resume_left()
        assert await states(desk) == {"T-1": [OrderState.WITHDRAWN]}
    assert service.sent == ["T-1"]
    assert "not recorded" not in caplog.text


async def test_a_refusal_is_not_recorded_over_another_process_s_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It has the order in doubt, and may have settled it: the late refusal is logged, and changes nothing."""

    async def wait(*_: Any) -> None: ...

    async with desk_of(tmp_path, Service(lambda _: Response(status=422, body=b"{}"))) as desk:
        with monkeypatch.context() as failing:
            failing.setattr(Answers, "record", wait)
            failing.setattr(marks, "record", busy)
            assert isinstance(await desk.create(order("T-1")), Refused)
            await desk._runs._keep_up()  # which leaves the run
            (info,) = await desk.ledger.runs()
            async with await desk.ledger.hold(info.id) as run:
                await run.recover()
        await desk.close(timeout=0)
    async with await Ledger.look(tmp_path / "ledger.db") as ledger:
        assert [row.state async for row in ledger.rows(info.id)] == [OrderState.IN_DOUBT]
    assert "the order T-1 was refused; this was not recorded" in caplog.text


async def test_an_answer_that_a_busy_ledger_did_not_take_is_recorded_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is left, so that it can be held to record the task, at the latest when the desk is closed."""
    left = [busy] * (chunks.BUSY_TRIES + 1)
    whole = marks.record

    def record(*words: Any) -> Any:
        return left.pop()() if left else whole(*words)

    async with desk_of(tmp_path, Service()) as desk:
        await desk.create(order("T-1"))
        monkeypatch.setattr(marks, "record", record)
        assert isinstance(await desk.create(order("T-2")), Created)
        assert not left
    async with desk_of(tmp_path, Service()) as desk:
        again = await desk.create(order("T-2"))
        assert isinstance(again, Created)
        assert again.replayed


async def test_a_refusal_that_comes_after_a_failed_write_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger is opened again while another call of the run is under way, which is refused then."""
    service, go_on = Gate(), asyncio.Event()

    async def respond(tasks: list[dict[str, Any]]) -> Response:
        if tasks[0]["tracking_id"] != "T-1":
            return created(tasks)
        service.came.set()
        await go_on.wait()
        return Response(status=422, body=b"{}")

    service.respond = respond
    clock = ManualClock()
    async with desk_of(tmp_path, service, clock=clock) as desk:
        asking = asyncio.create_task(desk.create(order("T-1")))
        await service.came.wait()
        fail_once(monkeypatch, name="record", where=marks)
        assert isinstance(await desk.create(order("T-2")), Created)
        go_on.set()
        assert isinstance(await asking, Refused)
        await once_so(clock, lambda: not desk._runs.answers)
        assert await states(desk) == {"T-1": [OrderState.REFUSED], "T-2": [OrderState.CREATED]}


@pytest.mark.slow
async def test_answers_are_recorded_as_soon_as_a_server_is_back() -> None:
    """PostgreSQL restarts during a call: the desk takes its run again before the lease of the old connection ends."""
    service, clock = Gate(), ManualClock()
    with server() as running:
        async with (
            client(service, clock=clock) as gs,
            await Desk.open(gs, running.url, mode="direct", register=False) as desk,
        ):
            asking = asyncio.create_task(desk.create(order("T-1")))
            await service.came.wait()
            await asyncio.to_thread(running.stop)
            service.open.set()
            assert isinstance(await asking, Created)
            assert desk.unrecorded == {"T-1": "id-T-1"}
            await asyncio.to_thread(running.start)
            async with asyncio.timeout(LEASE_SECONDS / 2):  # which the server's clock measures
                await once_so(clock, lambda: not desk.unrecorded)
            assert await states(desk) == {"T-1": [OrderState.CREATED]}
            again = await desk.create(order("T-1"))
            assert isinstance(again, Created)
            assert again.replayed
    assert service.sent == ["T-1"]


class Platform(Gate):
    """Makes drafts, whose broadcast waits until it may be answered."""

    async def __call__(self, request: Request) -> Response:
        if request.method == "GET":
            return answer({"id": request.url.rpartition("/")[2], "current_status": "broadcasting"})
        if request.url.endswith("/drafts"):
            return await super().__call__(request)
        self.came.set()
        await self.open.wait()
        return answer({"updated_tasks": []})

    async def _wait(self, tasks: list[dict[str, Any]]) -> Response:
        return created(tasks)


@pytest.mark.slow
async def test_a_broadcast_is_read_as_soon_as_a_server_is_back() -> None:
    """PostgreSQL restarts during a broadcast: the desk resumes its own run, and does not wait for the lease to end."""
    service, clock = Platform(), ManualClock()
    with server() as running:
        async with (
            client(service, clock=clock) as gs,
            await Desk.open(gs, running.url, mode="two-phase", register=False) as desk,
        ):
            asking = asyncio.create_task(desk.create(order("T-1")))
            await service.came.wait()
            await asyncio.to_thread(running.stop)
            service.open.set()
            assert isinstance(await asking, InDoubt)
            await asyncio.to_thread(running.start)
            async with asyncio.timeout(LEASE_SECONDS / 2):
                again = asyncio.create_task(desk.create(order("T-1")))
                await once_so(clock, again.done)
            outcome = await again
            assert isinstance(outcome, Created)
            assert outcome.receipt.id == "id-T-1"
    assert service.sent == ["T-1"]


@pytest.mark.parametrize(("status", "state"), [(200, OrderState.CREATED), (429, OrderState.WITHDRAWN)])
async def test_a_desk_that_closes_opens_its_ledger_again_for_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, state: OrderState
) -> None:
    """It is back since the last try: what is certain of an order stays certain, though no time is left to wait."""
    respond = created if status == 200 else lambda _: Response(status=status, body=b"{}")
    whole, tried = SharedLedger.open_again, asyncio.Event()

    async def gone(*_: Any) -> Any:
        tried.set()
        raise LedgerUnusable("is gone")

    async with desk_of(tmp_path, Service(respond)) as desk:
        monkeypatch.setattr(SharedLedger, "open_again", gone)
        fail_once(monkeypatch, name="record" if status == 200 else "release", where=marks)
        outcome = await desk.create(order("T-1"))
        assert isinstance(outcome, Created if status == 200 else Unprocessed)
        await tried.wait()
        monkeypatch.setattr(SharedLedger, "open_again", whole)
        await desk.close(timeout=0)
        assert not desk._runs.answers
    async with desk_of(tmp_path, Service()) as desk:
        assert await states(desk) == {"T-1": [state]}


async def test_a_desk_that_closes_says_what_is_not_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The ledger stays away for longer than the desk may wait: its order is in doubt there, and its task is named."""

    async def gone(*_: Any) -> Any:
        raise LedgerUnusable("is gone")

    async with desk_of(tmp_path, Service()) as desk:
        await desk.create(order("T-1"))
        fail_once(monkeypatch, name="record", where=marks)
        monkeypatch.setattr(SharedLedger, "open_again", gone)
        assert isinstance(await desk.create(order("T-2")), Created)
        await desk.close(timeout=0)
        assert desk.unrecorded == {"T-2": "id-T-2"}
    assert "GotSurge has the order T-2 as task id-T-2" in caplog.text
    async with desk_of(tmp_path, Service()) as desk:
        assert isinstance(await desk.create(order("T-2")), InDoubt)


async def test_an_order_that_was_settled_meanwhile_drops_no_other_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of two orders of one run a person recorded another task for one: the answer to the other one is recorded."""

    async def wait(*_: Any) -> None: ...

    async with desk_of(tmp_path, Service()) as desk:
        with monkeypatch.context() as failing:
            failing.setattr(Answers, "record", wait)
            failing.setattr(marks, "record", busy)
            await asyncio.gather(*(desk.create(each) for each in orders(2)))
            assert desk.unrecorded == {"T-0": "id-T-0", "T-1": "id-T-1"}
            await desk._runs._keep_up()  # which leaves the run
            (info,) = await desk.ledger.runs()
            async with await desk.ledger.hold(info.id) as run:
                await run.recover()
                await run.resolve({"T-0": "id-other"}, by="mei")
        await desk.close(timeout=0)
        assert not desk.unrecorded
    async with await Ledger.look(tmp_path / "ledger.db") as ledger:
        assert [row.state async for row in ledger.rows(info.id)] == [OrderState.CREATED] * 2
    assert "the order T-0 as task id-T-0; this was not recorded" in caplog.text
    assert "the order T-1" not in caplog.text


async def test_answers_that_a_caller_s_own_ledger_cannot_take_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Only its owner opens it again, so that nothing is tried for ever, and a desk without a limit closes."""
    async with await Ledger.open(tmp_path / "ledger.db") as ledger, client(Service()) as gs:
        async with Desk(gs, ledger, mode="direct") as desk:
            await desk.create(order("T-1"))
            fail_once(monkeypatch, name="record", where=marks)
            assert isinstance(await desk.create(order("T-2")), Created)
            async with asyncio.timeout(20):
                await desk.close(timeout=None)
        assert desk.unrecorded == {"T-2": "id-T-2"}
    assert "GotSurge has the order T-2 as task id-T-2" in caplog.text
