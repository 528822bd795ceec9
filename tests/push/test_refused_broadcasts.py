"""What a broadcast proves that was refused, alone or with others, or answered oddly, even when reads are old."""

from pathlib import Path
from typing import Any

import pytest

from gotsurge_async.bulk import Mode, OrderState, Reconciler
from gotsurge_async.testing import ManualClock
from gotsurge_async.transports.base import MaybeSent, Response
from tests.push.test_push import counted, pushing
from tests.push.test_two_phase_answers import Platform, loaded, send
from tests.support.orders import answer, orders

DRAFT = {"current_status": "draft"}
WHY = {"message": "the pickup is over"}


class Lagging(Platform):
    """Broadcasts all but the bad drafts of a call that it refuses; its reads may be old.

    ``live`` are tasks that drivers see: as no drafts, they are refused with the status ``live_refusal``.
    """

    def __init__(self, bad: str = "", refusal: int = 422, reason: Any = None, live_refusal: int = 409) -> None:
        super().__init__()
        self.bad = bad
        self.refusal = refusal
        self.reason = {"errors": {"price": ["too low"]}} if reason is None else reason
        self.live_refusal = live_refusal
        self.live: list[str] = []
        self.lags = True
        self.broadcast = self.act
        self.read = self.show

    def act(self, task_ids: list[str]) -> Response:
        """Broadcast what is a good draft."""
        good = [task_id for task_id in task_ids if task_id not in (*self.live, self.bad)]
        self.live += good
        if self.bad in task_ids:
            return answer(self.reason, self.refusal)
        refused = answer({"message": "not a draft"}, self.live_refusal)
        return refused if len(good) < len(task_ids) else answer({"updated_tasks": good})

    def show(self, task_id: str) -> Response:
        """Show a task."""
        live = task_id in self.live and not self.lags
        return answer({"id": task_id, "current_status": "broadcasting" if live else "draft"})


async def errors_of(run: Any) -> dict[str, str]:
    """Each key's error."""
    return {row.key: row.error or "" async for row in run.rows()}


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (422, {"message": "invalid", "errors": {"price": ["too low"]}}),
        (400, [{"field": "tasks[0].to_address.zip_code", "message": "is unknown"}]),
        (402, {"message": "no credit"}),
        (415, {}),
    ],
)
async def test_the_plain_refusal_of_the_only_broadcast_of_a_draft_is_final(
    tmp_path: Path, status: int, reason: Any
) -> None:
    """A draft is refused at once if its content, the call or the account is to blame, and a read shows a draft."""
    platform = Lagging("id-T-0", status, reason)
    async with loaded(tmp_path, platform, 1, attempts=3) as (push, run):
        assert (await send(push, run)).stopped_by is None
        assert await run.counts() == counted(refused=1)
        assert "draft of the order stays unused" in (await errors_of(run))["T-0"]
    assert platform.broadcasts == [["id-T-0"]]


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("status", [400, 404, 409, 410, 422])
async def test_a_draft_that_a_person_broadcast_is_never_made_anew(tmp_path: Path, status: int, number: int) -> None:
    """GotSurge refuses its broadcast, and a read is older than what the person did: a later read shows the task."""
    platform, clock = Lagging(live_refusal=status), ManualClock()
    platform.live = ["id-T-0"]
    async with pushing(tmp_path, platform, mode=Mode.TWO_PHASE, attempts=3, clock=clock) as (push, _):
        for lags, state in ((True, "broadcasting"), (True, "broadcasting"), (False, "created")):
            platform.lags = lags
            run, _ = await push.load_orders(orders(number))
            async with run:
                assert (await send(push, run)).stopped_by is None
                assert await run.counts() == counted(**{state: number})
    assert sorted(platform.live) == [f"id-T-{place}" for place in range(number)]


async def test_a_person_may_broadcast_a_draft_right_before_its_doubt_ends(tmp_path: Path) -> None:
    """The broadcast after the set time is refused, too, and its read is old: that ends no doubt."""
    platform, clock = Lagging(live_refusal=422), ManualClock()

    def lose(_: list[str]) -> Response:
        raise MaybeSent("lost")

    platform.broadcast = lose
    async with loaded(tmp_path, platform, 1, attempts=1, clock=clock) as (push, run):
        await send(push, run)
        await clock.advance(610)
        platform.live, platform.broadcast = ["id-T-0"], platform.act
        await send(push, run)
        assert await run.counts() == counted(broadcasting=1)
        await clock.advance(610)
        platform.lags = False
        await send(push, run)
        assert await run.counts() == counted(created=1)


async def test_a_refused_broadcast_of_a_vanished_draft_is_in_doubt(tmp_path: Path) -> None:
    """Drafts that are gone after it are not broadcast one by one."""
    platform = Platform()
    platform.broadcast = lambda _: answer({}, 422)
    platform.read = lambda _: answer({}, 404)
    async with loaded(tmp_path, platform, 2, attempts=3) as (push, run):
        assert (await send(push, run)).stopped_by is None
        assert await run.counts() == counted(in_doubt=2)
        assert all("draft of the order is gone" in error for error in (await errors_of(run)).values())
    assert platform.broadcasts == [["id-T-0", "id-T-1"]]


async def test_the_refusal_of_a_broadcast_of_several_drafts_may_have_acted_on_one(tmp_path: Path) -> None:
    """A good draft that was broadcast, and is read as a draft still, is in doubt until a read shows it, never refused.

    The push continues, and a later one creates nothing anew.
    """
    platform = Lagging("id-T-1")
    async with loaded(tmp_path, platform, 3, attempts=3) as (push, run):
        assert (await send(push, run)).stopped_by is None
        assert await run.counts() == counted(broadcasting=2, refused=1)
        errors = await errors_of(run)
        assert "not a draft" in errors["T-0"]
        assert "too low" in errors["T-1"]
        platform.lags = False
        await send(push, run)
        assert await run.counts() == counted(created=2, refused=1)
    assert sorted(platform.live) == ["id-T-0", "id-T-2"]


async def test_a_draft_that_is_refused_as_no_draft_is_in_doubt(tmp_path: Path) -> None:
    """Somebody broadcast it, as the only call for it says; a read that shows a draft is older than that."""
    platform = Lagging()
    platform.live = ["id-T-0"]
    async with loaded(tmp_path, platform, 1, attempts=2) as (push, run):
        assert (await send(push, run)).stopped_by is None
        assert await run.counts() == counted(broadcasting=1)


@pytest.mark.parametrize(
    ("status", "reason", "state"),
    [
        (422, {"errors": {"tasks[0].price": "too low"}}, "refused"),
        (422, {"message": "the pickup is over"}, "broadcasting"),
        (409, {"errors": {"tasks[0].price": "too low"}}, "broadcasting"),
        (415, {}, "broadcasting"),
    ],
)
@pytest.mark.parametrize("chunk", [404, 409, 422])
async def test_a_fault_in_the_content_is_a_refusal_whatever_the_chunk_met(
    tmp_path: Path, chunk: int, status: int, reason: Any, state: str
) -> None:
    """After any other refusal an order is in doubt: the refused call of its chunk may have acted on it."""
    platform = Platform()
    platform.broadcast = lambda ids: answer(reason, status) if len(ids) == 1 else answer(WHY, chunk)
    platform.read = lambda task_id: answer({"id": task_id, **DRAFT})
    async with loaded(tmp_path, platform, 2, attempts=2) as (push, run):
        assert (await send(push, run)).stopped_by is None
        assert await run.counts() == counted(**{state: 2})


@pytest.mark.parametrize("refusal", [400, 404, 409, 422])
async def test_a_refused_draft_is_settled_when_no_broadcast_can_act_any_more(tmp_path: Path, refusal: int) -> None:
    """It is only read, however often, and that renews no time; then a read that shows a draft refuses the order."""
    platform, clock = Lagging("id-T-1", refusal, WHY), ManualClock()
    async with loaded(tmp_path, platform, 2, attempts=2, clock=clock) as (push, run):
        await send(push, run)
        platform.lags = False
        platform.broadcasts.clear()
        until = {row.open_until async for row in run.rows((OrderState.BROADCASTING,))}
        for _ in range(8):
            assert (await send(push, run)).stopped_by is None
            assert await run.counts() == counted(created=1, broadcasting=1)
            assert {row.open_until async for row in run.rows((OrderState.BROADCASTING,))} == until
            await clock.advance(5)
        await clock.advance(600)
        assert (await send(push, run)).stopped_by is None
        assert await run.counts() == counted(created=1, refused=1)
        assert f"stays unused: platform.drafts.broadcast: HTTP {refusal}: the pickup" in (await errors_of(run))["T-1"]
    assert platform.broadcasts == []


async def test_a_chunk_that_is_never_divided_is_settled_in_the_end(tmp_path: Path) -> None:
    """Where each call is tried but once, its drafts are read until no broadcast can act, and then broadcast singly."""
    platform, clock = Lagging("id-T-1"), ManualClock()
    platform.broadcast = lambda task_ids: answer({}, 422) if len(task_ids) > 1 else platform.act(task_ids)
    platform.lags = False
    async with loaded(tmp_path, platform, 2, attempts=1, clock=clock) as (push, run):
        for _ in range(3):
            assert (await send(push, run)).stopped_by is None
            assert await run.counts() == counted(broadcasting=2)
        await clock.advance(600)
        await send(push, run)
        assert await run.counts() == counted(created=1, refused=1)
    assert platform.broadcasts == [["id-T-0", "id-T-1"], ["id-T-0"], ["id-T-1"]]


async def test_a_doubt_of_which_no_read_succeeds_stops_the_push(tmp_path: Path) -> None:
    """The order stays in doubt as it is, with its reason."""
    platform = Lagging("id-T-0", 409)
    async with loaded(tmp_path, platform, 1, attempts=1) as (push, run):
        await send(push, run)
        errors = await errors_of(run)
        for failure in (answer({}, 503), answer({}, 403)):
            platform.read = dict.fromkeys(["id-T-0"], failure).__getitem__
            assert (await send(push, run)).stopped_by is not None
            assert await run.counts() == counted(broadcasting=1)
            assert await errors_of(run) == errors


async def test_a_broadcast_of_a_process_that_ended_may_act_for_the_whole_time(tmp_path: Path) -> None:
    """It counts from when another one takes the order over, though an earlier broadcast had been refused."""
    platform, clock = Lagging("id-T-0", 409), ManualClock()
    async with loaded(tmp_path, platform, 1, attempts=1, clock=clock) as (push, run):
        await send(push, run)
        ids = [row.id async for row in run.rows()]
        await clock.advance(610)
        assert await run.claim_to_read(ids) == ids
        await run.renew_claim(ids)  # right before the broadcast
        await clock.advance(610)
        for _ in range(2):
            await send(push, run)
            assert await run.counts() == counted(broadcasting=1)
        await clock.advance(610)
        await send(push, run)
        assert await run.counts() == counted(refused=1)


async def test_a_draft_that_may_be_broadcast_anew_keeps_no_error(tmp_path: Path) -> None:
    """Its next broadcast is a first one: what a process left of it, when it ended, says nothing of its end."""
    platform, clock = Lagging(), ManualClock()
    platform.broadcast = lambda _: answer({}, 503)
    async with loaded(tmp_path, platform, 1, attempts=1, clock=clock) as (push, run):
        await send(push, run)
        await clock.advance(610)
        platform.broadcast = lambda _: answer({}, 429)
        await send(push, run)
        assert await run.counts() == counted(drafted=1)
        await run.claim_broadcast([row.id async for row in run.rows()])
        assert await errors_of(run) == {"T-0": ""}


async def test_the_same_orders_pushed_again_continue_a_doubt(tmp_path: Path) -> None:
    """It ends when it would have ended in the first run, and is only read before."""
    platform, clock = Lagging("id-T-0", 409), ManualClock()
    async with pushing(tmp_path, platform, mode=Mode.TWO_PHASE, attempts=1, clock=clock) as (push, _):
        for wait, state in ((0, "broadcasting"), (300, "broadcasting"), (310, "refused")):
            await clock.advance(wait)
            run, _ = await push.load_orders(orders(1))
            async with run:
                await send(push, run)
                assert await run.counts() == counted(**{state: 1})
    assert platform.broadcasts == [["id-T-0"]]


async def test_each_order_in_doubt_has_its_own_reason(tmp_path: Path) -> None:
    """One is refused, one stays a draft, and one has no answer."""
    platform = Platform()

    def act(task_ids: list[str]) -> Response:
        if "id-T-0" in task_ids:
            return answer({"message": "T-0 is bad"}, 409)
        return answer({}, 503) if "id-T-2" in task_ids else answer({"updated_tasks": []})

    platform.broadcast = act
    platform.read = lambda task_id: answer({"id": task_id, **DRAFT})
    async with loaded(tmp_path, platform, 3, attempts=3) as (push, run):
        assert (await send(push, run)).stopped_by is not None
        assert await run.counts() == counted(broadcasting=3)
        errors = await errors_of(run)
        assert ["T-0 is bad" in error for error in errors.values()] == [True, False, False]
        assert "still a draft" in errors["T-1"]
        assert "503" in errors["T-2"]


async def test_what_may_have_been_broadcast_by_a_process_that_ended_is_never_refused(tmp_path: Path) -> None:
    """Nobody knows when its last call left, however long ago the claim was made."""
    platform, clock = Platform(), ManualClock()
    platform.read = lambda task_id: answer({"id": task_id, **DRAFT})
    platform.broadcast = lambda _: answer({}, 429)
    async with loaded(tmp_path, platform, 1, attempts=2, clock=clock) as (push, run):
        await send(push, run)
        await run.claim_broadcast([row.id async for row in run.rows()])
        await clock.advance(10_000)
        platform.broadcast = lambda _: answer({}, 422)
        await send(push, run)
        assert await run.counts() == counted(broadcasting=1)


@pytest.mark.parametrize("status", ["rejected", "failed", "draft"])
async def test_a_draft_to_which_the_answer_says_no_is_not_created(tmp_path: Path, status: str) -> None:
    """An item of a 207 is an error: its order is in doubt, whatever its task is called, and the push continues.

    Further broadcasts, also of a later push, change nothing if their answers show what the task is called.
    """
    platform = Platform()
    denied = {"id": "id-T-1", "success": False, "error": "the pickup is over"}

    def act(task_ids: list[str]) -> Response:
        if len(platform.broadcasts) > 1:
            return answer({"updated_tasks": [{"id": "id-T-1", "current_status": status}]})
        return answer({"updated_tasks": [{"id": task_ids[0], "current_status": "broadcasting"}, denied]}, 207)

    platform.create = lambda tasks: answer({"tasks": [{"id": f"id-{each['tracking_id']}", **DRAFT} for each in tasks]})
    platform.broadcast = act
    platform.read = lambda task_id: answer({"id": task_id, "current_status": status})
    async with loaded(tmp_path, platform, 2, attempts=2) as (push, run):
        assert ((await send(push, run)).stopped_by is None) is (status != "draft")
        assert await run.counts() == counted(created=1, broadcasting=1)
        assert ("still a draft" if status == "draft" else status) in (await errors_of(run))["T-1"]
        await send(push, run)
        assert await run.counts() == counted(created=1, broadcasting=1)


@pytest.mark.parametrize("number", [1, 2])
async def test_a_draft_that_every_answer_denies_is_refused_in_the_end(tmp_path: Path, number: int) -> None:
    """Its doubt ends after the set time, by a read that shows a draft; neither reads nor reconcile renew the time."""
    platform, clock = Platform(), ManualClock()

    def act(task_ids: list[str]) -> Response:
        denied = {"id": "id-T-0", "status": 422, "error": "the pickup is over"}
        done = [{"id": name, "current_status": "broadcasting"} for name in task_ids if name != "id-T-0"]
        return answer({"updated_tasks": [*done, denied][: len(task_ids)]}, 207)

    platform.broadcast = act
    platform.read = lambda task_id: answer({"id": task_id, **DRAFT})
    async with pushing(tmp_path, platform, mode=Mode.TWO_PHASE, attempts=2, clock=clock) as (push, ledger):
        for wait, state in ((0, "broadcasting"), (300, "broadcasting"), (310, "refused")):
            await clock.advance(wait)
            run, _ = await push.load_orders(orders(number))
            async with run:
                assert (await send(push, run)).stopped_by is None
                states = [row.state async for row in run.rows() if row.key == "T-0"]
                assert states == [state]
            await Reconciler(push._gs, ledger).reconcile(run.id, task_list=False)
        assert "stays unused: platform.drafts.broadcast: the answer says no: the pickup is over" in str(
            [row.error async for row in ledger.rows(run.id)]
        )


@pytest.mark.parametrize("blind", [False, True])
async def test_no_broadcast_is_repeated_that_made_another_task(tmp_path: Path, blind: bool) -> None:
    """The answer names another task for the order, which is in doubt while its own one is a draft, or cannot be read.

    Neither a resumed run, nor reconcile, nor a push of the same order broadcasts the draft again.
    """
    platform = Platform()
    other = {"id": "new", "tracking_id": "T-0", "current_status": "broadcasting"}
    platform.broadcast = lambda _: answer({"updated_tasks": [other]})
    platform.read = lambda task_id: answer({}, 503) if blind else answer({"id": task_id, **DRAFT})
    run_id = ""
    async with pushing(tmp_path, platform, mode=Mode.TWO_PHASE) as (push, ledger):
        for _ in range(2):
            run, _ = await push.load_orders(orders(1))
            async with run:
                for _ in range(2):
                    await send(push, run)
                    assert await run.counts() == counted(in_doubt=1)
            run_id = run.id
            (doubt,) = (await Reconciler(push._gs, ledger).reconcile(run_id, task_list=False)).in_doubt
            assert "names another task for this order: new" in doubt.reason
        platform.read = lambda task_id: answer({"id": task_id, "current_status": "accepted"})
        assert len((await Reconciler(push._gs, ledger).reconcile(run_id, task_list=False)).created) == 1
    assert platform.broadcasts == [["id-T-0"]]


async def test_another_task_in_the_answer_does_not_matter_if_its_own_is_broadcast(tmp_path: Path) -> None:
    """An answer may list more tasks than those that were broadcast."""
    platform = Platform()
    other = {"id": "new", "tracking_id": "T-0", "current_status": "broadcasting"}
    platform.broadcast = lambda _: answer({"updated_tasks": [other]})
    async with loaded(tmp_path, platform, 1) as (push, run):
        await send(push, run)
        assert await run.counts() == counted(created=1)
