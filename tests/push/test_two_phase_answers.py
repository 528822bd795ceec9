"""What the two-phase push makes of single answers, and of being cancelled between two; over the memory transport."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gotsurge_async.bulk import Mode, Push, Run
from gotsurge_async.errors import SignInNeeded
from gotsurge_async.ledger import Counts, LedgerBusy, LedgerError, OrderOutcome
from gotsurge_async.push.brakes import BrakeWatch
from gotsurge_async.push.push import Sent
from gotsurge_async.testing import ManualClock
from gotsurge_async.transports.base import MaybeSent, NothingSent, Request, Response
from tests.push.test_push import counted, pushing
from tests.support.orders import answer, orders
from tests.support.threads import Threads

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


async def test_a_task_without_a_status_is_not_a_draft(tmp_path: Path) -> None:
    """A refused broadcast and a read that does not say where the task stands leave an order in doubt, not refused."""
    platform = Platform()
    platform.broadcast = lambda _: answer({}, 409)
    platform.read = lambda task_id: answer({"id": task_id})
    async with loaded(tmp_path, platform, 2, attempts=2) as (push, run):
        assert (await send(push, run)).stopped_by is not None
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
        await waiting(clock, 30)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert await run.counts() == counted(drafted=2, pending=2)
        assert await run.lost_drafts() == []


async def test_cancelling_while_a_broadcast_waits_leaves_drafts(tmp_path: Path) -> None:
    """A push that is cancelled while its broadcast was told to wait ends as cancelled, and nothing is in doubt."""
    platform = Platform()
    platform.broadcast = lambda _: answer({}, 429, retry_after="30")
    clock = ManualClock()
    async with loaded(tmp_path, platform, 2, attempts=2, clock=clock) as (push, run):
        sending = asyncio.create_task(push.send(run))
        await waiting(clock, 30)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert await run.counts() == counted(drafted=2)


async def test_what_became_of_a_broadcast_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A push whose ledger fails after a broadcast ends with the ledger's error, and the orders are in doubt."""
    record = Run.record

    async def fail(run: Run, results: Sequence[OrderOutcome], *, broadcast: bool = False) -> None:
        if not broadcast:
            raise LedgerError("the disk is full")
        await record(run, results, broadcast=broadcast)

    monkeypatch.setattr(Run, "record", fail)
    async with loaded(tmp_path, Platform(), 2) as (push, run):
        with pytest.raises(LedgerError, match="the disk is full"):
            await push.send(run)
        assert await run.counts() == counted(broadcasting=2)


async def test_a_busy_ledger_is_asked_again_for_what_became_of_a_broadcast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was written then, and the answer is known: the orders are not left in doubt for it."""
    record, busy = Run.record, [1, 1]

    async def fail_twice(run: Run, results: Sequence[OrderOutcome], *, broadcast: bool = False) -> None:
        if busy and not broadcast and busy.pop():
            raise LedgerBusy("is locked")
        await record(run, results, broadcast=broadcast)

    monkeypatch.setattr(Run, "record", fail_twice)
    async with loaded(tmp_path, Platform(), 2) as (push, run):
        await push.send(run)
        assert await run.counts() == counted(created=2)
    assert not busy


async def test_an_old_claim_is_renewed_for_the_drafts_that_are_broadcast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broadcast that waited for longer than its claim is young leaves when the claim of its orders is renewed."""
    platform = Platform()
    answers = iter([answer({}, 429, retry_after="40"), DONE])
    platform.broadcast = lambda _: next(answers)
    renewed: list[int] = []
    renew = Run.renew_claim

    async def noted(run: Run, ids: Sequence[int]) -> None:
        renewed.append(len(ids))
        await renew(run, ids)

    monkeypatch.setattr(Run, "renew_claim", noted)
    clock = ManualClock()
    async with loaded(tmp_path, platform, 2, attempts=2, clock=clock) as (push, run):
        sending = asyncio.create_task(push.send(run))
        await waiting(clock, 40)
        await clock.advance(41)
        await sending
        assert await run.counts() == counted(created=2)
    assert renewed == [2]


@pytest.mark.parametrize(
    ("name", "status", "reads"), [("T-0", "accepted", 0), ("T-0", "draft", 1), ("T-9", "accepted", 1)]
)
async def test_only_an_answer_that_shows_a_task_past_draft_needs_no_read(
    tmp_path: Path, name: str, status: str, reads: int
) -> None:
    """What a broadcast's answer says of a task counts where it is past draft, and names no other order."""
    platform = Platform()
    asked: list[str] = []
    told = platform.read

    def read(task_id: str) -> Response:
        asked.append(task_id)
        return told(task_id)

    platform.read = read
    platform.broadcast = lambda ids: answer(
        {"updated_tasks": [{"id": ids[0], "tracking_id": name, "current_status": status}]}
    )
    async with loaded(tmp_path, platform, 1) as (push, run):
        assert (await push.send(run)).stopped_by is None
        assert await run.counts() == counted(created=1)
    assert len(asked) == reads


@pytest.mark.parametrize(
    ("first", "left"),
    [
        (answer({}, 308), counted(drafted=2)),
        (answer({}, 409), counted(broadcasting=2)),
        (MaybeSent("lost"), counted(broadcasting=2)),
    ],
)
async def test_a_broadcast_that_left_a_draft_is_no_doubt_if_it_was_sent_elsewhere(
    tmp_path: Path, first: Any, left: Counts
) -> None:
    """Where the next ones did not leave, what was read as a draft is one; but a lost or refused one may act yet."""
    platform = Platform()

    def fail(_: list[str]) -> Response:
        if len(platform.broadcasts) > 1:
            raise NothingSent("no way")
        if isinstance(first, MaybeSent):
            raise first
        return first

    platform.broadcast = fail
    platform.read = lambda task_id: answer({"id": task_id, "current_status": "draft"})
    async with loaded(tmp_path, platform, 2, attempts=2) as (push, run):
        for _ in range(2):
            assert (await send(push, run)).stopped_by is not None
            assert await run.counts() == left


async def test_drafts_are_created_as_often_as_one_call_may_be_tried(tmp_path: Path) -> None:
    """Orders whose answers are lost in all tries wait, with their lost drafts noted, and nothing is broadcast."""
    platform = Platform()
    created: list[int] = []

    def lose(tasks: list[dict[str, Any]]) -> Response:
        created.append(len(tasks))
        if len(created) <= 3:
            raise MaybeSent("lost")
        return drafts(tasks)

    platform.create = lose
    async with loaded(tmp_path, platform, 2, attempts=3) as (push, run):
        await send(push, run)
        assert await run.counts() == counted(pending=2)
        assert await run.lost_drafts() == ["T-0", "T-1"]
    assert (created, platform.broadcasts) == ([2, 2, 2], [])


async def test_a_sign_in_that_ends_while_a_lost_draft_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the draft is not found: the order is refused as the service said, and what was drafted beside it goes on."""
    platform = Platform()
    asked: list[set[str]] = []
    answers = iter([MaybeSent("lost"), answer({"errors": {"tasks": {"1": ["exists"]}}}, 422), None, answer({}, 422)])

    def create(tasks: list[dict[str, Any]]) -> Response:
        given = next(answers)
        if isinstance(given, MaybeSent):
            raise given
        return given or drafts(tasks)

    async def find(_push: Push, _run: Run, keys: Collection[str]) -> dict[str, str]:
        asked.append(set(keys))
        raise SignInNeeded("the sign-in has ended")

    platform.create = create
    monkeypatch.setattr(Push, "_find_drafts", find)
    async with loaded(tmp_path, platform, 2, attempts=2) as (push, run):
        assert (await send(push, run)).stopped_by is None
        assert await run.counts() == counted(created=1, refused=1)
    assert asked == [{"T-1"}]  # not for what was not refused


@pytest.mark.parametrize("trouble", [MaybeSent("lost"), NothingSent("no way")])
async def test_an_outage_is_met_as_often_as_one_call_may_be_tried(
    tmp_path: Path, trouble: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broadcast that fails in all its tries is not begun anew, nor is the read that should tell what became of it."""
    platform = Platform()
    results: list[str] = []
    monkeypatch.setattr(
        BrakeWatch, "leave", lambda _self, _place, ended: results.extend(type(e).__name__ for e in ended)
    )
    reads: list[str] = []

    def fail(_: Any) -> Response:
        raise trouble

    def read(task_id: str) -> Response:
        reads.append(task_id)
        raise trouble

    platform.broadcast, platform.read = fail, read
    async with loaded(tmp_path, platform, 2, attempts=3) as (push, run):
        assert (await send(push, run)).stopped_by is not None
        acted = isinstance(trouble, MaybeSent)
        assert await run.counts() == (counted(broadcasting=2) if acted else counted(drafted=2))
        assert results == ["InDoubt" if acted else "Unprocessed"] * 2
        assert (len(platform.broadcasts), len(reads)) == (3, 6 if acted else 0)
        platform.broadcasts.clear()
        await send(push, run)
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
        assert (await send(push, run)).stopped_by is None
        assert await run.counts() == counted(created=2)


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("draft", "still a draft"),
        ("DRAFT", "still a draft"),
        ("queued", "the task has the status queued, which this version does not know"),
        (None, "the answer does not show the task's status"),
    ],
)
async def test_a_task_that_stays_where_it_is_is_broadcast_as_often_as_one_call_may_be_tried(
    tmp_path: Path, status: str | None, told: str
) -> None:
    """Then its order is in doubt, for broadcasts were answered, and may act yet; and why is told."""
    platform = Platform()
    platform.read = lambda task_id: answer({"id": task_id, "current_status": status})
    async with loaded(tmp_path, platform, 2, attempts=3) as (push, run):
        stopped_by = (await send(push, run)).stopped_by
        assert (stopped_by is None) == (status == "queued")  # which says nothing of other orders
        assert all(told in str(row.error) for row in [row async for row in run.rows()])
        assert await run.counts() == counted(broadcasting=2)
    assert platform.broadcasts == [["id-T-0", "id-T-1"]] * 3


REFUSED, NAMELESS = answer({"message": "not a draft"}, 409), answer({})
KNOWN = answer({"updated_tasks": [{"id": "id-T-0"}]})


@pytest.mark.parametrize(
    ("status", "broadcast", "state"),
    [
        ("CANCELLED", REFUSED, "cancelled"),
        ("Cancelled", NAMELESS, "cancelled"),
        ("expired", REFUSED, "cancelled"),
        ("Expired", KNOWN, "cancelled"),
        ("expired", MaybeSent("lost"), "cancelled"),
        ("BROADCASTING", REFUSED, "created"),
        ("canceled", REFUSED, "broadcasting"),
        ("deleted", NAMELESS, "broadcasting"),
        ("broadcast_failed", MaybeSent("lost"), "broadcasting"),
        ("hovering", KNOWN, "created"),
        ("rejected", KNOWN, "broadcasting"),
    ],
)
@pytest.mark.parametrize("draft", ["draft", "PENDING_BROADCAST"])
async def test_an_unknown_status_proves_nothing_unless_a_broadcast_was_answered(
    tmp_path: Path, draft: str, status: str, broadcast: Response | MaybeSent, state: str
) -> None:
    """The draft of the order may have been cancelled. Known statuses count in any capitals. The push continues."""
    platform = Platform()

    def act(_: list[str]) -> Response:
        if isinstance(broadcast, MaybeSent):
            raise broadcast
        return broadcast

    platform.create = lambda _: answer({"tasks": [{"id": "id-T-0", "tracking_id": "T-0", "current_status": draft}]})
    platform.broadcast = act
    platform.read = lambda task_id: answer({"id": task_id, "current_status": status})
    async with loaded(tmp_path, platform, 1, attempts=2) as (push, run):
        assert (await send(push, run)).stopped_by is None
        assert await run.counts() == counted(**{state: 1})


async def test_what_was_answered_before_a_refused_sign_in_counts(tmp_path: Path) -> None:
    """Of two drafts that are broadcast separately, one is answered, and then the token is refused."""
    platform = Platform()
    updated = answer({"updated_tasks": [{"id": "id-T-0", "current_status": "broadcasting"}]})
    answers = iter([answer({}, 409), updated, answer({}, 403)])
    platform.broadcast = lambda _: next(answers)
    platform.read = lambda task_id: answer({"id": task_id, "current_status": "draft"})
    async with loaded(tmp_path, platform, 2, attempts=3) as (push, run):
        assert (await send(push, run)).stopped_by is not None
        assert await run.counts() == counted(created=1, broadcasting=1)


async def test_a_task_that_is_another_orders_is_not_broadcast_again(tmp_path: Path) -> None:
    """An order whose task names another one is in doubt, with the reason, and the push goes on."""
    platform = Platform()
    platform.read = lambda task_id: answer({"id": task_id, "tracking_id": "T-9", "current_status": "draft"})
    async with loaded(tmp_path, platform, 1, attempts=3) as (push, run):
        assert (await send(push, run)).stopped_by is None
        assert await run.counts() == counted(in_doubt=1)
        assert "another order" in str([row.error async for row in run.rows()])
    assert platform.broadcasts == [["id-T-0"]]


async def test_a_read_of_another_task_proves_nothing(tmp_path: Path) -> None:
    """An answer that is of another task than was asked for does not make an order created."""
    platform = Platform()
    platform.read = lambda _: answer({"id": "another", "current_status": "accepted"})
    async with loaded(tmp_path, platform, 1, attempts=2) as (push, run):
        assert (await send(push, run)).stopped_by is not None
        assert await run.counts() == counted(broadcasting=1)


async def waiting(clock: ManualClock, seconds: float) -> None:
    """Wait until the sending does so for some seconds of its clock."""
    await Threads().rest(clock)
    assert [each for each in clock.sleepers if seconds - 1 < each < seconds + 1]


async def send(push: Push, run: Run) -> Sent:
    """Send a run, and let time pass until the sending is over."""
    clock: Any = push._session.clock
    sending = asyncio.create_task(push.send(run))
    await Threads().pass_time(clock, sending, 60)
    return await sending
