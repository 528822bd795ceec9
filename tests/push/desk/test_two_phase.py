"""Desks in two-phase mode whose ledger cannot be written just when an answer comes, or whose account changes."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gotsurge_async import Created, InDoubt, Refused, Unprocessed
from gotsurge_async.bulk import Mode, OrderState
from gotsurge_async.ledger import LedgerBusy, LedgerError, LedgerUnusable
from gotsurge_async.ledger.sql import joining, marks
from gotsurge_async.push.chunks import BUSY_TRIES
from gotsurge_async.push.desk.run import LONGEST
from gotsurge_async.testing import ManualClock
from gotsurge_async.transports.base import NothingSent, Request, Response
from tests.support.desks import desk_of, once_so, states, waiting
from tests.support.orders import answer, order


class Platform:
    """Creates drafts, broadcasts them, and lets them be read.

    ``repeats``: a task that its answers name falsely; ``is_plain``: the account is a plain partner's by now.
    """

    def __init__(self) -> None:
        self.tasks: dict[str, dict[str, Any]] = {}
        self.is_down = False
        self.is_plain = False
        self.lists = 0
        self.repeats = ""

    @property
    def live(self) -> list[str]:
        """The tracking ids of tasks that drivers see, in the order in which they were created."""
        return [task["tracking_id"] for task in self.tasks.values() if task["current_status"] == "broadcasting"]

    def create(self, orders: list[dict[str, Any]], status: str = "draft") -> list[dict[str, Any]]:
        """Create tasks, drafts unless said, and return the tasks that the answer names."""
        if self.repeats:
            return [{"id": self.repeats, "tracking_id": order["tracking_id"]} for order in orders]
        names = [f"task-{len(self.tasks) + number}" for number, _ in enumerate(orders, 1)]
        new = [
            {"id": name, "tracking_id": order["tracking_id"], "current_status": status}
            for name, order in zip(names, orders, strict=True)
        ]
        self.tasks.update(zip(names, new, strict=True))
        return new

    def __call__(self, request: Request) -> Response:
        if self.is_down:
            raise NothingSent("no connection")
        body = msgspec.json.decode(request.body or b"{}")
        if "/platform/tasks?" in request.url:
            self.lists += 1
        if self.is_plain and "/platform/" in request.url:
            return answer({"message": "Only platform partners may do this"}, 403)
        if "/platform/tasks?" in request.url:
            return answer({"tasks": []})
        if self.is_plain:
            return answer({"tasks": self.create(body["tasks"], "broadcasting")})
        if request.method == "GET":
            return answer(self.tasks[request.url.rpartition("/")[2]])
        if request.url.endswith("/drafts"):
            return answer({"tasks": self.create(body["tasks"])})
        for name in body["task_ids"]:
            self.tasks[name]["current_status"] = "broadcasting"
        return answer({"updated_tasks": [self.tasks[name] for name in body["task_ids"]]})


def be_busy(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Have the ledger refuse to record answers and to release claims, until an order is withdrawn; that sets the event.

    The order is not withdrawn, because its claim was not released.
    """
    free, record, release, withdraw = asyncio.Event(), marks.record, marks.release, joining.withdraw
    loop = asyncio.get_running_loop()

    def refused(whole: Any) -> Any:
        def write(*words: Any) -> Any:
            if not free.is_set():
                raise LedgerBusy("is locked")
            return whole(*words)

        return write

    def free_at_last(*words: Any) -> Any:
        asyncio.run_coroutine_threadsafe(_set(free), loop).result()
        return withdraw(*words)

    monkeypatch.setattr(marks, "record", refused(record))
    monkeypatch.setattr(marks, "release", refused(release))
    monkeypatch.setattr(joining, "withdraw", free_at_last)
    return free


def fail_from(monkeypatch: pytest.MonkeyPatch, number: int, kind: type[LedgerError]) -> None:
    """Have the ledger fail at a record of an answer, by its number; if it is busy, at all the tries of it."""
    whole, count = marks.record, [0]

    def record(*words: Any) -> Any:
        count[0] += 1
        if count[0] == number or (kind is LedgerBusy and number < count[0] <= number + BUSY_TRIES + 1):
            raise kind("fails")
        return whole(*words)

    monkeypatch.setattr(marks, "record", record)


async def _set(event: asyncio.Event) -> None:
    event.set()


async def test_a_submitted_order_whose_draft_a_busy_ledger_did_not_record_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no outcome yet, so it is neither reported nor forgotten: also when a caller then creates it in vain."""
    clock, service, heard = ManualClock(), Platform(), list[type]()
    async with desk_of(
        tmp_path, service, clock=clock, mode=Mode.TWO_PHASE, on_outcome=lambda _, outcome: heard.append(type(outcome))
    ) as desk:
        free = be_busy(monkeypatch)
        await desk.submit(order())
        await free.wait()
        await asyncio.gather(*(entry.known() for entry in [*desk._entries.values()]))
        service.is_down = True
        assert isinstance(await desk.create(order()), Unprocessed)
        service.is_down = False
        asking = asyncio.create_task(desk.outcome("T-1"))
        await once_so(clock, asking.done)
        assert isinstance(await asking, Created)
        await once_so(clock, lambda: heard)
    assert (heard, service.live) == ([Created], ["T-1"])
    assert await waiting(tmp_path) == (0, 0)


@pytest.mark.parametrize("writes", [1, 2, 3], ids=["at the answer", "at the answer alone", "at the doubt"])
@pytest.mark.parametrize("kind", [LedgerUnusable, LedgerBusy])
async def test_an_order_whose_answer_names_another_s_task_is_not_drafted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[LedgerError], writes: int
) -> None:
    """The ledger fails when it is to record the answer, or the doubt: the order is in doubt all the same."""
    clock, service = ManualClock(), Platform()
    async with desk_of(tmp_path, service, clock=clock, mode=Mode.TWO_PHASE) as desk:
        assert isinstance(await desk.create(order("T-1")), Created)
        service.repeats = "task-1"
        fail_from(monkeypatch, writes, kind)
        outcome = await desk.create(order("T-2"))
        assert isinstance(outcome, InDoubt)
        service.repeats = ""
        asking = asyncio.create_task(desk.outcome("T-2"))
        await once_so(clock, asking.done)
        assert isinstance(await asking, InDoubt)
        assert isinstance(await desk.create(order("T-2")), InDoubt)
        assert (await states(desk))["T-2"] == [OrderState.IN_DOUBT]
    assert service.live == ["T-1"]


async def test_an_account_that_becomes_a_plain_partner_s_is_noticed(tmp_path: Path) -> None:
    """A refused call makes the desk ask for the mode again, so that its next run is in direct mode."""
    clock, service = ManualClock(), Platform()
    async with desk_of(tmp_path, service, clock=clock, mode=None) as desk:
        assert isinstance(await desk.create(order("T-1")), Created)
        service.is_plain = True
        assert isinstance(await desk.create(order("T-2")), Unprocessed)
        await desk.submit(order("T-3"))
        asking = asyncio.create_task(desk.outcome("T-3"))
        await once_so(clock, asking.done)
        assert clock.monotonic() < LONGEST  # when the run would have ended
        assert isinstance(await desk.create(order("T-2")), Created)
        assert [info.mode for info in await desk.ledger.runs()] == [Mode.DIRECT, Mode.TWO_PHASE]
    assert service.live == ["T-1", "T-3", "T-2"]


async def test_a_passing_refusal_leaves_the_run_in_two_phase_mode(tmp_path: Path) -> None:
    """The service lets the account list tasks again, so it is a platform partner's, and is asked no more."""
    clock, service = ManualClock(), Platform()
    async with desk_of(tmp_path, service, clock=clock, mode=None) as desk:
        await desk.create(order("T-1"))
        service.is_plain = True
        assert isinstance(await desk.create(order("T-2")), Unprocessed)
        service.is_plain = False
        await once_so(clock, lambda: service.lists > 1)
        await clock.advance(600)
        await clock.settle()
        assert service.lists == 2
        assert isinstance(await desk.create(order("T-2")), Created)
        assert [info.mode for info in await desk.ledger.runs()] == [Mode.TWO_PHASE]
    assert service.live == ["T-1", "T-2"]


class Refusing(Platform):
    """Refuses broadcasts, as of tasks that a person broadcast; its reads show drafts while they are old."""

    reads_are_old = True

    def __call__(self, request: Request) -> Response:
        name = request.url.rpartition("/")[2]
        if name == "broadcast":
            return answer({"message": "this task cannot be broadcast"}, 422)
        if name in self.tasks:
            status = "draft" if self.reads_are_old else "broadcasting"
            return answer({**self.tasks[name], "current_status": status})
        return super().__call__(request)


@pytest.mark.parametrize("wait", [0, 300, 610])
async def test_an_order_whose_draft_a_person_broadcast_is_created_by_no_second_task(tmp_path: Path, wait: int) -> None:
    """GotSurge refuses the desk's broadcast of it: the order is in doubt until a read shows its task."""
    clock, service = ManualClock(), Refusing()
    async with desk_of(tmp_path, service, clock=clock, mode=Mode.TWO_PHASE) as desk:
        for _ in range(2):
            assert isinstance(await desk.create(order("T-1")), InDoubt)
        await clock.advance(wait)
        service.reads_are_old = False
        assert isinstance(await desk.create(order("T-1")), Created)
    assert list(service.tasks) == ["task-1"]


async def test_an_order_whose_draft_stays_one_after_its_refusal_is_refused(tmp_path: Path) -> None:
    """A read after the set time shows that, and nothing was broadcast again."""
    clock, service = ManualClock(), Refusing()
    async with desk_of(tmp_path, service, clock=clock, mode=Mode.TWO_PHASE) as desk:
        for wait in (0, 590):
            await clock.advance(wait)
            assert isinstance(await desk.create(order("T-1")), InDoubt)
            assert (await states(desk))["T-1"] == [OrderState.BROADCASTING]
        await clock.advance(11)
        assert isinstance(await desk.create(order("T-1")), Refused)
        assert (await states(desk))["T-1"] == [OrderState.SUPERSEDED, OrderState.REFUSED]
    assert list(service.tasks) == ["task-1"]


async def test_an_order_whose_draft_is_denied_is_refused_alone(tmp_path: Path) -> None:
    """The answer names the order, and no task: the orders of the same call are created."""
    clock, service = ManualClock(), Platform()
    create = service.create

    def deny_one(orders: list[dict[str, Any]], status: str = "draft") -> list[dict[str, Any]]:
        denied = {"id": None, "tracking_id": "T-1", "error": "price too low"}
        return [denied if task["tracking_id"] == "T-1" else task for task in create(orders, status)]

    service.create = deny_one  # type: ignore[method-assign]
    async with desk_of(tmp_path, service, clock=clock, mode=Mode.TWO_PHASE) as desk:
        outcomes = await asyncio.gather(*[desk.create(order(f"T-{number}")) for number in range(3)])
        assert [type(outcome) for outcome in outcomes] == [Created, Refused, Created]
        assert "price too low" in str(outcomes[1].error)  # type: ignore[union-attr]
    assert service.live == ["T-0", "T-2"]
