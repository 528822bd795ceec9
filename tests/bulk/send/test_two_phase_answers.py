"""What the two-phase push makes of single answers, and of being cancelled between two; over the memory transport."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gotsurge_async.bulk import Mode, Push, Run
from gotsurge_async.bulk.ledger import OrderOutcome
from gotsurge_async.errors import SignInNeeded
from gotsurge_async.testing import ManualClock
from gotsurge_async.transports.base import MaybeSent, NothingSent, Request, Response
from tests.bulk.test_push import counted, pushing
from tests.support.orders import answer, orders

DONE = answer({"updated_tasks": []})


def drafts(tasks: Sequence[dict[str, Any]]) -> Response:
    """The answer of a service that makes a draft of each order."""
    named = [{"id": f"id-{task['tracking_id']}", "tracking_id": task["tracking_id"]} for task in tasks]
    return answer({"tasks": named})


class Platform:
    """Answers a platform partner; notes what was broadcast."""

    def __init__(self) -> None:
        self.create: Callable[[list[dict[str, Any]]], Response] = drafts
        self.broadcast: Callable[[list[str]], Response] = lambda _: DONE
        self.read: Callable[[str], Response] = lambda task_id: answer({"id": task_id, "current_status": "broadcasting"})
        self.broadcasts: list[list[str]] = []

    def __call__(self, request: Request) -> Response:
        body = msgspec.json.decode(request.body or b"{}")
        if request.url.endswith("/drafts"):
            return self.create(body["tasks"])
        if request.method != "GET":
            self.broadcasts.append(body["task_ids"])
            return self.broadcast(body["task_ids"])
        return self.read(request.url.rpartition("/")[2])


@asynccontextmanager
async def loaded(tmp_path: Path, platform: Platform, number: int, **options: Any) -> AsyncIterator[tuple[Push, Run]]:
    """A run of so many orders, to be sent in two phases, one chunk at a time."""
    async with pushing(tmp_path, platform, mode=Mode.TWO_PHASE, concurrency=1, **options) as (push, _):
        run, _ = await push.load_orders(orders(number))
        async with run:
            yield push, run


async def test_a_task_whose_status_is_not_told_is_no_draft(tmp_path: Path) -> None:
    """A refused broadcast and a read that does not say where the task stands leave an order in doubt, not refused."""
    platform = Platform()
    platform.broadcast = lambda _: answer({}, 409)
    platform.read = lambda task_id: answer({"id": task_id})
    async with loaded(tmp_path, platform, 2, attempts=2) as (push, run):
        sending = asyncio.create_task(push.send(run))
        await passing(push, sending)
        assert (await sending).stopped_by is not None
        assert await run.counts() == counted(broadcasting=2)


async def test_a_single_try_is_enough_to_go_on_with_a_draft(tmp_path: Path) -> None:
    """What may have been broadcast is read and then broadcast, also where each call is tried but once."""
    platform = Platform()

    def lose(_: list[str]) -> Response:
        raise MaybeSent("lost")

    status = "draft"
    platform.broadcast = lose
    platform.read = lambda task_id: answer({"id": task_id, "current_status": status})
    async with loaded(tmp_path, platform, 2, attempts=1) as (push, run):
        await push.send(run)
        assert await run.counts() == counted(broadcasting=2)

        def act(_: list[str]) -> Response:
            nonlocal status
            status = "broadcasting"
            return DONE

        platform.broadcast = act
        assert (await push.send(run)).stopped_by is None
        assert await run.counts() == counted(created=2)
    assert platform.broadcasts == [["id-T-0", "id-T-1"]] * 2


async def test_cancelling_right_after_the_claim_to_broadcast_leaves_drafts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orders whose drafts were recorded, and claimed for a broadcast that never left, are drafts, and not in doubt."""
    platform = Platform()
    claimed, go_on = asyncio.Event(), asyncio.Event()
    record = Run.record

    async def slowly(run: Run, results: Sequence[OrderOutcome], *, broadcast: bool = False) -> None:
        await record(run, results, broadcast=broadcast)
        if not claimed.is_set():
            claimed.set()
            await go_on.wait()

    monkeypatch.setattr(Run, "record", slowly)
    async with loaded(tmp_path, platform, 2) as (push, run):
        sending = asyncio.create_task(push.send(run))
        await claimed.wait()
        sending.cancel()
        asyncio.get_running_loop().call_soon(go_on.set)
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert await run.counts() == counted(drafted=2)
    assert platform.broadcasts == []


async def test_cancelling_between_the_parts_of_a_chunk_forgets_no_draft(tmp_path: Path) -> None:
    """Drafts of a part that was answered are recorded at once, though the push ends before the next part is."""
    platform = Platform()
    answers = iter([answer({}, 422), None, answer({}, 429, retry_after="30")])
    platform.create = lambda tasks: next(answers) or drafts(tasks)
    clock = ManualClock()
    async with loaded(tmp_path, platform, 4, attempts=2, clock=clock) as (push, run):
        sending = asyncio.create_task(push.send(run))
        while not any(29 < seconds < 31 for seconds in clock.sleepers):
            await asyncio.wait([sending], timeout=0.01)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert await run.counts() == counted(drafted=2, pending=2)
        assert await run.lost_drafts() == []


async def test_a_sign_in_that_ends_while_a_lost_draft_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the draft is not found: the order is refused as the service said, and what was drafted beside it goes on."""
    platform = Platform()
    answers = iter([MaybeSent("lost"), answer({"errors": {"tasks": {"1": ["exists"]}}}, 422), None, answer({}, 422)])

    def create(tasks: list[dict[str, Any]]) -> Response:
        given = next(answers)
        if isinstance(given, MaybeSent):
            raise given
        return given or drafts(tasks)

    async def find(*_: Any) -> dict[str, str]:
        raise SignInNeeded("the sign-in has ended")

    platform.create = create
    monkeypatch.setattr(Push, "_find_drafts", find)
    async with loaded(tmp_path, platform, 2, attempts=2) as (push, run):
        sending = asyncio.create_task(push.send(run))
        await passing(push, sending)
        assert (await sending).stopped_by is None
        assert await run.counts() == counted(created=1, refused=1)


@pytest.mark.parametrize("trouble", [MaybeSent("lost"), NothingSent("no way")])
async def test_an_outage_is_met_as_often_as_one_call_may_be_tried(tmp_path: Path, trouble: Exception) -> None:
    """A broadcast that fails in all its tries is not begun anew, nor is the read that should tell what became of it."""
    platform = Platform()
    reads: list[str] = []

    def fail(_: Any) -> Response:
        raise trouble

    def read(task_id: str) -> Response:
        reads.append(task_id)
        raise trouble

    platform.broadcast, platform.read = fail, read
    async with loaded(tmp_path, platform, 2, attempts=3) as (push, run):
        sending = asyncio.create_task(push.send(run))
        await passing(push, sending)
        assert (await sending).stopped_by is not None
        acted = isinstance(trouble, MaybeSent)
        assert await run.counts() == (counted(broadcasting=2) if acted else counted(drafted=2))
        assert (len(platform.broadcasts), len(reads)) == (3, 6 if acted else 0)
        platform.broadcasts.clear()
        sending = asyncio.create_task(push.send(run))
        await passing(push, sending)
        assert (len(platform.broadcasts), len(reads)) == ((0, 12) if acted else (3, 0))


async def test_a_read_that_is_refused_is_tried_again_and_stops_no_push(tmp_path: Path) -> None:
    """What a task is, is asked again where the service refused to say, and its order is created when it says so."""
    platform = Platform()
    answers = iter([answer({"message": "not now"}, 422)] * 2)
    told = platform.read

    def read(task_id: str) -> Response:
        return next(answers, None) or told(task_id)

    platform.read = read
    platform.broadcast = lambda task_ids: answer({})
    async with loaded(tmp_path, platform, 2, attempts=4) as (push, run):
        sending = asyncio.create_task(push.send(run))
        await passing(push, sending)
        assert (await sending).stopped_by is None
        assert await run.counts() == counted(created=2)


async def passing(push: Push, sending: "asyncio.Task[Any]") -> None:
    """Let time pass until the sending is over."""
    clock: Any = push._session.clock
    while not sending.done():
        await asyncio.wait([sending], timeout=0.01)
        await clock.advance(60)
