"""Chunks that are refused, cut short, or answered with another one's answer; in both modes."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import attrs
import msgspec
import pytest

from gotsurge_async.bulk import Mode, OrderState, Push, Run
from gotsurge_async.calls.create import Refused
from gotsurge_async.database.writer import Writer
from gotsurge_async.errors import BadRequest
from gotsurge_async.ledger import LedgerBusy, OrderOutcome, PendingOrder
from gotsurge_async.ledger.sql import marks
from gotsurge_async.push.chunks import OnRefusedChunk, Results, _after_refusal
from gotsurge_async.simulator import SimulatorOptions
from gotsurge_async.testing import ManualClock
from gotsurge_async.transports.base import Request, Response
from tests.push.test_push import created
from tests.push.test_push import pushing as pushing_in_memory
from tests.push.test_two_phase import exactly_once, pushing, states
from tests.support.orders import answer, order, orders
from tests.support.threads import Threads


async def test_a_bad_order_is_found_and_the_rest_goes(tmp_path: Path) -> None:
    """A chunk of drafts that is refused is split until the bad order is alone; all others are created."""
    good = orders(39)
    bad = order("BAD", vehicle_preference="hovercraft")
    for names_rows in (True, False):
        options = SimulatorOptions.from_mapping({"refusal_names_rows": names_rows})
        folder = tmp_path / str(names_rows)
        async with pushing(folder, options=options) as (push, simulator):
            async with (await push.load_orders([*good[:7], bad, *good[7:]]))[0] as run:
                await push.send(run)
                rejected = [row async for row in run.rows((OrderState.REFUSED,))]
                assert await states(run) == {OrderState.CREATED: 39, OrderState.REFUSED: 1}
            exactly_once(simulator, good)
        assert [row.key for row in rejected] == ["BAD"]
        assert "422" in (rejected[0].error or "")


async def test_direct_mode_holds_a_refused_chunk(tmp_path: Path) -> None:
    """In direct mode nothing of a refused chunk is sent again, and the error of each order says why."""
    bad = order("BAD", vehicle_preference="hovercraft")
    async with pushing(tmp_path, mode=Mode.DIRECT, account="plain") as (push, simulator):
        async with (await push.load_orders([*orders(4), bad]))[0] as run:
            await push.send(run)
            rows = {row.key: row.error or "" async for row in run.rows()}
        assert simulator.audit()["calls"]["tasks.create"] == 1
        assert simulator.audit()["tasks"] == 0
    assert all("refused-with-chunk" in rows[f"T-{number}"] for number in range(4))
    assert "refused-with-chunk" not in rows["BAD"]


async def test_direct_mode_splits_when_asked(tmp_path: Path) -> None:
    """With on_refused_chunk="split" the good orders of a refused chunk are created, in direct mode too."""
    bad = order("BAD", vehicle_preference="hovercraft")
    async with pushing(tmp_path, mode=Mode.DIRECT, account="plain", on_refused_chunk="split") as (push, simulator):
        async with (await push.load_orders([*orders(9), bad]))[0] as run:
            await push.send(run)
            assert await states(run) == {OrderState.CREATED: 9, OrderState.REFUSED: 1}
        exactly_once(simulator, orders(9))


@pytest.mark.parametrize(
    ("rows", "refused", "again"),
    [
        ((), "", ["CDE", "AB"]),
        ((1,), "B", ["ACDE"]),
        ((0, 4), "AE", ["BCD"]),
        ((0, 1, 2, 3, 4), "", ["CDE", "AB"]),
        ((1, 5), "", ["CDE", "AB"]),
        ((-1,), "", ["CDE", "AB"]),
    ],
)
def test_what_is_sent_again_of_a_refused_chunk(rows: tuple[int, ...], refused: str, again: list[str]) -> None:
    """What was not blamed goes together; or in halves, where nobody is blamed, all are, or one that is not there."""
    error = BadRequest("no", rows=rows)
    results: Results = [
        Refused(order=PendingOrder(line, line, key, b"{}"), error=error) for line, key in enumerate("ABCDE")
    ]
    kept, parts = _after_refusal(results, OnRefusedChunk.SPLIT)
    assert ("".join(each.order.key for each in kept), ["".join(order.key for order in part) for part in parts]) == (
        refused,
        again,
    )
    held, parts = _after_refusal(results, OnRefusedChunk.HOLD)
    assert parts == []
    assert ("did not say which order" in str(held[-1].error)) is (refused == "")
    assert "".join(each.order.key for each in held if "refused-with-chunk" not in str(each.error)) == refused


@pytest.mark.parametrize("choice", OnRefusedChunk)
async def test_a_redirected_chunk_is_not_divided(choice: OnRefusedChunk, tmp_path: Path) -> None:
    """A redirect blames no order: the chunk is sent once, and each order's error says where to and what to correct."""
    requests: list[Request] = []

    def respond(request: Request) -> Response:
        requests.append(request)
        return answer({}, 307, location="https://elsewhere.example/v2/tasks?token=planted")

    async with pushing_in_memory(tmp_path, respond, on_refused_chunk=choice) as (push, _):
        run, _ = await push.load_orders(orders(4))
        async with run:
            await push.send(run)
            errors = {row.error or "" async for row in run.rows((OrderState.REFUSED,))}
    assert len(requests) == len(errors) == 1
    assert "HTTP 307: redirected to https://elsewhere.example: correct the API base" in errors.pop()


async def test_waiting_does_not_end_a_split(tmp_path: Path) -> None:
    """A chunk whose parts take longer than its claim is good for goes on: the claim is renewed before each part."""
    clock, sizes = ManualClock(), list[int]()

    async def respond(request: Request) -> Response:
        await clock.sleep(6)
        tasks = msgspec.json.decode(request.body or b"")["tasks"]
        sizes.append(len(tasks))
        if len(sizes) == 2:
            return answer({}, 429, retry_after="0")
        return answer({}, 422) if "T-9" in [task["tracking_id"] for task in tasks] else created(tasks)

    renewed: list[int] = []
    renew = Run.renew_claim

    async def noted(run: Run, ids: Sequence[int]) -> None:
        renewed.append(len(ids))
        await renew(run, ids)

    options: dict[str, Any] = {"attempts": 3, "claim_life": 10, "on_refused_chunk": "split"}
    async with pushing_in_memory(tmp_path, respond, clock=clock, **options) as (push, _):
        run, _ = await push.load_orders(orders(10))
        async with run:
            with patch.object(Run, "renew_claim", noted):
                sending = asyncio.create_task(push.send(run))
                await Threads().pass_time(clock, sending, 1)
                assert (await sending).stopped_by is None
            assert await states(run) == {OrderState.CREATED: 9, OrderState.REFUSED: 1}
    assert sizes[:3] == [10, 5, 5]
    assert renewed == sorted(renewed, reverse=True)  # of all that is still to be settled: the others have their results
    assert renewed[-1] > 0


async def test_cancelling_between_the_parts_of_a_chunk_is_reported_by_part(tmp_path: Path) -> None:
    """What was answered is recorded, what was on its way is in doubt, and what was still to be sent is pending."""
    on_its_way = asyncio.Event()
    answers = iter([answer({}, 422), answer({}, 422), None])

    async def respond(request: Request) -> Response:
        given = next(answers, request)
        if given is request:
            on_its_way.set()
            await asyncio.Event().wait()
        return given or created(msgspec.json.decode(request.body or b"")["tasks"])

    async with pushing_in_memory(tmp_path, respond, concurrency=1, on_refused_chunk="split") as (push, _):
        run, _ = await push.load_orders(orders(4))
        async with run:
            sending = asyncio.create_task(push.send(run))
            await on_its_way.wait()
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            assert [row.state async for row in run.rows()] == [
                OrderState.CREATED,
                OrderState.IN_DOUBT,
                OrderState.PENDING,
                OrderState.PENDING,
            ]


@pytest.mark.parametrize("mode", list(Mode))
async def test_an_answer_that_comes_twice_gives_no_order_anothers_task(tmp_path: Path, mode: Mode) -> None:
    """When the answer of one create is repeated for the next, nameless, its orders are in doubt."""
    options = SimulatorOptions.from_mapping({"tracking_id_echo": "never"})
    account = "platform" if mode is Mode.TWO_PHASE else "plain"
    async with pushing(tmp_path, mode=mode, account=account, options=options, chunk=2, concurrency=1) as (
        push,
        _,
    ):
        async with (await push.load_orders(orders(4)))[0] as run:
            with repeated_create(push):
                await push.send(run)
            rows = [row async for row in run.rows()]
        assert [row.state for row in rows] == [OrderState.CREATED] * 2 + [OrderState.IN_DOUBT] * 2
        assert "HTTP 207: the answer names a task that already belongs" in (rows[2].error or "")
        tasks = [row.task_id for row in rows if row.task_id]
        assert len(tasks) == len(set(tasks))


@contextmanager
def repeated_create(push: Push) -> Iterator[None]:
    """Have the second create answered with the answer of the first one, as a cache would."""
    transport = push._session._transport
    send = transport.send
    answers: list[Response] = []

    async def cached(request: Request) -> Response:
        answer = await send(request)
        if not request.url.endswith(("/tasks", "/drafts")) or request.method != "POST":
            return answer
        answers.append(answer)
        return attrs.evolve(answers[0], status=207) if len(answers) == 2 else answer

    with patch.object(transport, "send", cached):
        yield


async def test_an_answer_is_recorded_while_the_ledger_is_busy(tmp_path: Path) -> None:
    """Where another process writes for longer than a write waits, what an answer said is recorded all the same."""
    record, busy = Run.record, 3

    async def refused_at_first(run: Run, results: Sequence[OrderOutcome], *, broadcast: bool = False) -> None:
        nonlocal busy
        busy -= 1
        if busy >= 0:
            raise LedgerBusy("another process kept the ledger locked")
        await record(run, results, broadcast=broadcast)

    async with pushing(tmp_path, mode=Mode.DIRECT, account="plain") as (push, simulator):
        async with (await push.load_orders(orders(3)))[0] as run:
            with patch.object(Run, "record", refused_at_first):
                await push.send(run)
            assert await states(run) == {OrderState.CREATED: 3}
        exactly_once(simulator, orders(3))
    assert busy == -1


@pytest.mark.parametrize("kind", [marks.claim, marks.record], ids=["claim", "record"])
async def test_a_push_ends_that_is_cancelled_twice_within_one_write(kind: Any, tmp_path: Path) -> None:
    """A second cancellation while a claim or an answer is being written leaves nothing that is waited for in vain."""
    begun, may_end = asyncio.Event(), threading.Event()
    loop, do = asyncio.get_running_loop(), Writer._do

    def slow(self: Writer, batch: Any, writing: bool = True) -> Any:
        if any(ticket.kind is kind for ticket in batch):
            loop.call_soon_threadsafe(begun.set)
            may_end.wait(30)
        return do(self, batch, writing)

    async def respond(request: Request) -> Response:
        return created(msgspec.json.decode(request.body or b"{}")["tasks"])

    async with pushing_in_memory(tmp_path, respond) as (push, _):
        run, _ = await push.load_orders(orders(25))
        with patch.object(Writer, "_do", slow):
            sending = asyncio.create_task(push.send(run))
            await begun.wait()
            for _ in range(2):
                sending.cancel()
                for _ in range(3):
                    await asyncio.sleep(0)
            may_end.set()
            done, _ = await asyncio.wait([sending], timeout=30)
        assert done == {sending}
        assert sending.cancelled()


async def test_a_cancellation_is_not_lost_in_an_error_of_the_ledger(tmp_path: Path) -> None:
    """A chunk that is cancelled while a busy ledger does not take its answer ends as cancelled."""
    cancelling: list[asyncio.Task[Any]] = []

    async def respond(request: Request) -> Response:
        return created(msgspec.json.decode(request.body or b"{}")["tasks"])

    def busy(*_: Any) -> Any:
        loop.call_soon_threadsafe(cancelling[0].cancel)
        raise LedgerBusy("is busy", path=tmp_path)

    loop = asyncio.get_running_loop()
    async with pushing_in_memory(tmp_path, respond) as (push, _):
        run, _ = await push.load_orders(orders(5))
        sender = push.sender(run)
        await run.start()
        rows = [row async for page in run.pending() for row in page]
        with patch.object(marks, "record", busy):
            cancelling.append(asyncio.create_task(sender.send(rows)))
            await asyncio.wait(cancelling)
        assert cancelling[0].cancelled()
        assert len(sender.unrecorded) == 5
        await run.close()
