"""The push with a ledger, over the memory transport."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gotsurge_async import GotSurge, RetryPolicy
from gotsurge_async.after.replace import replace_changed
from gotsurge_async.bulk import Ledger, Mode, OrderState, Push, Reconciler, Run, Undo, UnusableSource
from gotsurge_async.errors import EndpointsAssumed, NotSent, RateLimited, SignInNeeded
from gotsurge_async.hooks import RetryPlanned
from gotsurge_async.ledger import Counts, LedgerError, LedgerMoved, RunState
from gotsurge_async.simulator import Fault
from gotsurge_async.testing import ManualClock
from gotsurge_async.transports.base import MaybeSent, NothingSent, Request, Response
from gotsurge_async.transports.memory import MemoryTransport
from tests.support.orders import answer, order, orders
from tests.support.pushes import place
from tests.support.threads import Threads

Answer = Callable[[list[dict[str, Any]]], Response]


def created(tasks: list[dict[str, Any]]) -> Response:
    """The answer of a service that takes everything."""
    named = [{"id": f"id-{task['tracking_id']}", "tracking_id": task["tracking_id"]} for task in tasks]
    return answer({"tasks": named})


class Service:
    """Answers creates, and remembers the tracking ids of each."""

    def __init__(self, respond: Answer = created) -> None:
        self.respond = respond
        self.creates: list[list[str]] = []

    def __call__(self, request: Request) -> Response:
        tasks = msgspec.json.decode(request.body or b"{}")["tasks"]
        self.creates.append([task["tracking_id"] for task in tasks])
        return self.respond(tasks)


@asynccontextmanager
async def pushing(
    tmp_path: Path, service: Any, *, attempts: int = 1, clock: ManualClock | None = None, **options: Any
) -> AsyncIterator[tuple[Push, Ledger]]:
    """A push through a ledger on disk."""
    clock = clock or ManualClock()
    client = {key: options.pop(key) for key in ("profile", "assumed_endpoints") if key in options}
    environment = options.pop("environment", "sandbox")
    async with (
        GotSurge(
            environment,
            bearer_token="token",
            transport=MemoryTransport(service),
            retry=RetryPolicy(attempts=attempts, longest_retry_after=1000, deadline=10_000),
            clock=clock,
            **client,
        ) as gs,
        await Ledger.open(tmp_path / "ledger.db", clock=clock.now) as ledger,
    ):
        yield Push(gs, ledger, **options), ledger


async def states(run: Run) -> dict[str, OrderState]:
    """Each key's state."""
    return {row.key: row.state async for row in run.rows()}


def counted(**counts: int) -> Counts:
    """Counts of a run."""
    return Counts(**counts)


async def test_every_order_is_sent_once_and_recorded(tmp_path: Path) -> None:
    """A push of 45 orders is three calls, and each order ends created with its task's id."""
    service = Service()
    async with pushing(tmp_path, service) as (push, ledger):
        run, admission = await push.load_orders(orders(45))
        async with run:
            sent = await push.send(run)
            rows = [row async for row in run.rows()]
        info = await ledger.run(run.id)
    assert (admission.pending, sent.stopped_by, sent.interrupted) == (45, None, False)
    assert sorted(map(len, service.creates)) == [5, 20, 20]
    assert {row.key: row.task_id for row in rows} == {f"T-{n}": f"id-T-{n}" for n in range(45)}
    assert {row.state for row in rows} == {OrderState.CREATED}
    assert info.state is RunState.DONE


async def test_the_intent_is_durable_before_the_bytes_leave(tmp_path: Path) -> None:
    """While a call is on its way, another reader of the ledger sees its orders as being sent."""
    seen: list[dict[str, OrderState]] = []
    holder: dict[str, Run] = {}

    async def respond(request: Request) -> Response:
        async with await Ledger.open(tmp_path / "ledger.db", clock=ManualClock().now) as other:
            seen.append({row.key: row.state async for row in other.rows(holder["run"].id)})
        return created(msgspec.json.decode(request.body or b"")["tasks"])

    async with pushing(tmp_path, respond, chunk=2) as (push, _):
        holder["run"], _ = await push.load_orders(orders(2))
        async with holder["run"] as run:
            await push.send(run)
    assert seen == [{"T-0": OrderState.SENDING, "T-1": OrderState.SENDING}]


async def test_a_key_is_pushed_once_over_all_runs(tmp_path: Path) -> None:
    """A second run with the same keys sends nothing of them."""
    service = Service()
    async with pushing(tmp_path, service) as (push, _):
        for expected in (3, 0):
            run, admission = await push.load_orders(orders(3))
            async with run:
                await push.send(run)
            assert admission.pending == expected
    assert service.creates == [["T-0", "T-1", "T-2"]]


@pytest.mark.parametrize(
    ("failure", "state"),
    [
        (MaybeSent("the connection broke"), OrderState.IN_DOUBT),
        (answer({"message": "boom"}, 500), OrderState.IN_DOUBT),
        (answer(b"<html>", 200), OrderState.IN_DOUBT),
        (answer({"tasks": []}, 200), OrderState.IN_DOUBT),
        (answer({"message": "no"}, 422), OrderState.REFUSED),
        (answer({"message": "no"}, 409), OrderState.REFUSED),
        (NothingSent("refused"), OrderState.PENDING),
        (answer({"message": "later"}, 429), OrderState.PENDING),
        (answer({"message": "who?"}, 401), OrderState.PENDING),
        (answer({"message": "not you"}, 403), OrderState.PENDING),
    ],
)
async def test_what_an_answer_means_is_recorded(tmp_path: Path, failure: Any, state: OrderState) -> None:
    """Each outcome of a create becomes the one state that is true of its orders."""

    def respond(_: Request) -> Response:
        if isinstance(failure, Exception):
            raise failure
        return failure

    async with pushing(tmp_path, respond) as (push, ledger):
        async with (await push.load_orders([order("A")]))[0] as run:
            await push.send(run)
            assert await states(run) == {"A": state}
        info = await ledger.run(run.id)
    assert info.state is (RunState.STOPPED if state is OrderState.PENDING else RunState.DONE)


async def test_an_order_whose_task_is_answered_as_cancelled_is_in_doubt(tmp_path: Path) -> None:
    """The answer to its create names it: a read of the task settles it, and then its key is free."""

    def respond(request: Request) -> Response:
        if request.method == "GET":
            return answer({"id": "id-T-1", "tracking_id": "T-1", "current_status": "cancelled"})
        named = [{"id": f"id-{key}", "tracking_id": key, "current_status": "broadcasting"} for key in ("T-0", "T-1")]
        return answer({"tasks": [named[0], named[1] | {"current_status": "Cancelled"}]}, 207)

    async with pushing(tmp_path, respond) as (push, ledger):
        async with (await push.load_orders(orders(2)))[0] as run:
            await push.send(run)
            rows = {row.key: row async for row in run.rows()}
        assert (rows["T-0"].state, rows["T-1"].state) == (OrderState.CREATED, OrderState.IN_DOUBT)
        assert (rows["T-1"].task_id, rows["T-1"].status) == ("id-T-1", "cancelled")
        assert "the answer shows this order's task, id-T-1, as cancelled" in str(rows["T-1"].error)
        (settled,) = (await Reconciler(push._gs, ledger).reconcile(run.id)).cancelled
        assert settled.key == "T-1"


@pytest.mark.parametrize(
    ("failure", "kind"),
    [(NothingSent("refused"), NotSent), (answer({}, 429), RateLimited), (answer({}, 401), SignInNeeded)],
)
async def test_a_push_stops_where_the_next_chunk_would_fail_too(tmp_path: Path, failure: Any, kind: type) -> None:
    """A service that is gone, overrun, or knows us no more stops the push; the rest stays pending, unprocessed."""
    calls = 0

    def respond(_: Request) -> Response:
        nonlocal calls
        calls += 1
        if isinstance(failure, Exception):
            raise failure
        return failure

    async with pushing(tmp_path, respond, concurrency=1, chunk=1) as (push, _):
        run, _ = await push.load_orders(orders(50))
        async with run:
            sent = await push.send(run)
            assert await run.counts() == counted(pending=50)
    assert isinstance(sent.stopped_by, kind)
    assert calls == 1


async def test_stopping_drains(tmp_path: Path) -> None:
    """After stop() what is in flight is recorded, and the rest stays pending; sending again finishes the run."""
    service = Service()
    async with pushing(tmp_path, service, concurrency=1, chunk=10) as (push, _):

        def respond(tasks: list[dict[str, Any]]) -> Response:
            push.stop()
            return created(tasks)

        service.respond = respond
        async with (await push.load_orders(orders(50)))[0] as run:
            sent = await push.send(run)
            assert sent.interrupted
            assert await run.counts() == counted(created=10, pending=40)


@pytest.mark.parametrize("operation", ["tasks.create", "platform.drafts.create", "platform.drafts.broadcast"])
async def test_stopping_does_not_wait_for_what_was_put_off(tmp_path: Path, operation: str) -> None:
    """What a 429 put off for minutes is pending at once, or a draft still; sending again sends each order once."""
    mode, account = (Mode.DIRECT, "plain") if operation == "tasks.create" else (Mode.TWO_PHASE, "platform")
    async with place(tmp_path, account) as at:
        later = Fault(operation=operation, kind="status", status=429, headers={"Retry-After": "100"})
        at.simulator.order_fault(later)
        waits = asyncio.Event()
        at.gs.hooks.add(lambda event: waits.set() if isinstance(event, RetryPlanned) else None)
        push = Push(at.gs, at.ledger, mode=mode)
        run, _ = await push.load_orders(orders(70))
        async with run, asyncio.timeout(30):
            sending = asyncio.create_task(push.send(run))
            await waits.wait()
            push.stop()
            sent = await sending
            counts = await run.counts()
        assert (sent.interrupted, sent.stopped_by) == (True, None)
        assert counts.of([OrderState.PENDING, OrderState.DRAFTED]) == 70
        at.simulator.clear_faults()
        async with await at.ledger.hold(run.id) as again:
            await Push(at.gs, at.ledger, mode=mode).send(again)
            assert (await again.counts()).created == 70
        audit = at.simulator.audit()
        assert (set(audit["by_tracking_id"].values()), audit["tasks"], audit["drafts"]) == ({1}, 70, 0)


async def test_cancelling_marks_what_is_in_flight_as_in_doubt(tmp_path: Path) -> None:
    """A push that is cancelled while a call is on its way has its orders in doubt, the others pending, no task left."""
    on_its_way = asyncio.Event()

    async def respond(_: Request) -> Response:
        on_its_way.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with pushing(tmp_path, respond, concurrency=1, chunk=10) as (push, _):
        run, _ = await push.load_orders(orders(30))
        async with run:
            sending = asyncio.create_task(push.send(run))
            await on_its_way.wait()
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            assert await run.counts() == counted(in_doubt=10, pending=20)


async def test_cancelling_between_two_tries_leaves_orders_pending(tmp_path: Path) -> None:
    """While a 429 is waited out nothing is on its way: a cancellation then says so."""
    clock = ManualClock()
    async with (
        pushing(tmp_path, lambda _: answer({}, 429, retry_after="30"), attempts=5, clock=clock, concurrency=1) as (
            push,
            _,
        ),
        (await push.load_orders(orders(3)))[0] as run,
    ):
        sending = asyncio.create_task(push.send(run))
        await Threads().rest(clock)
        assert 30.0 in [round(seconds) for seconds in clock.sleepers]
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert await run.counts() == counted(pending=3)


async def test_a_claim_that_is_too_old_is_not_sent_on(tmp_path: Path) -> None:
    """When waiting outlasted the claim, the chunk is claimed anew before it is sent, and sent once."""
    clock = ManualClock()
    service = Service()
    answers = iter([answer({}, 429, retry_after="100")])
    service.respond = lambda tasks: next(answers, None) or created(tasks)
    async with pushing(tmp_path, service, attempts=5, clock=clock, claim_life=60) as (push, _):
        run, _ = await push.load_orders(orders(3))
        async with run:
            sending = asyncio.create_task(push.send(run))
            threads = Threads()
            await threads.rest(clock)
            assert any(seconds > 90 for seconds in clock.sleepers)
            await threads.pass_time(clock, sending, 101)
            assert (await sending).stopped_by is None
            assert await run.counts() == counted(created=3)
    assert len(service.creates) == 2


async def test_a_usage_error_gives_the_claim_back(tmp_path: Path) -> None:
    """A client that may not create on assumed paths sends nothing, and leaves the orders pending."""
    service = Service()
    async with pushing(tmp_path, service, environment="production") as (push, _):
        run, _ = await push.load_orders(orders(3))
        async with run:
            with pytest.raises(EndpointsAssumed):
                await push.send(run)
            assert await run.counts() == counted(pending=3)
    assert service.creates == []


async def test_a_push_checks_all_its_endpoints_before_the_first_draft(tmp_path: Path) -> None:
    """Two-phase mode with confirmed drafts and a guessed broadcast drafts nothing; the error names the broadcast."""
    service = Service()
    profile = {"endpoints": {"platform.drafts.create": {"verb": "POST"}}}
    options: dict[str, Any] = {"mode": "two-phase", "profile": profile, "assumed_endpoints": "refuse"}
    async with pushing(tmp_path, service, **options) as (push, _):
        async with (await push.load_orders(orders(3)))[0] as run:
            with pytest.raises(EndpointsAssumed, match=r"guess: platform\.drafts\.broadcast: POST [^;]*$"):
                await push.send(run)
            assert await run.counts() == counted(pending=3)
        with pytest.raises(EndpointsAssumed, match=r"guess: platform\.drafts\.broadcast"):
            push.check_endpoints()
        with pytest.raises(EndpointsAssumed, match=r"guess: tasks\.create"):
            push.check_endpoints(*Mode)
    assert service.creates == []


async def test_one_mode_that_is_confirmed_is_enough_to_ask_the_service(tmp_path: Path) -> None:
    """Whoever has confirmed the endpoints of two-phase mode need not confirm those of direct mode."""
    names = ("platform.drafts.create", "platform.drafts.broadcast")
    profile = {"endpoints": {name: {"verb": "POST"} for name in names}}
    async with pushing(tmp_path, Service(), profile=profile, assumed_endpoints="refuse") as (push, _):
        push.check_endpoints(*Mode)
        push.check_endpoints(Mode.TWO_PHASE)
        with pytest.raises(EndpointsAssumed, match=r"guess: tasks\.create"):
            push.check_endpoints()


async def test_an_undo_on_a_guessed_path_leaves_the_ledger_alone(tmp_path: Path) -> None:
    """A cancel that may not leave puts no order in doubt."""
    profile = {"endpoints": {"tasks.create": {"verb": "POST"}}}
    async with pushing(tmp_path, Service(), profile=profile, assumed_endpoints="refuse") as (push, ledger):
        async with (await push.load_orders(orders(3)))[0] as run:
            await push.send(run)
            created = await run.counts()
        with pytest.raises(EndpointsAssumed, match=r"guess: tasks\.cancel"):
            await Undo(push._gs, ledger).undo(run.id)
        async with await ledger.hold(run.id) as held:
            with pytest.raises(EndpointsAssumed, match=r"guess: platform\.tasks\.update"):
                await replace_changed(push._gs, held, concurrency=1)
            assert await held.counts() == created == counted(created=3)


async def test_a_ledger_that_fails_stops_the_sending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When an intent cannot be written, nothing is sent."""
    service = Service()
    async with pushing(tmp_path, service) as (push, _):
        run, _ = await push.load_orders(orders(3))

        async def failing(*_: Any) -> list[int]:
            raise LedgerError("the disk is full")

        async with run:
            with monkeypatch.context() as patch:
                patch.setattr(run, "claim", failing)
                with pytest.raises(LedgerError, match="disk is full"):
                    await push.send(run)
    assert service.creates == []


@pytest.mark.parametrize("changes", [{"tracking_id": 5}, {"invoice_number": 2030}])
async def test_names_of_orders_are_text(tmp_path: Path, changes: dict[str, Any]) -> None:
    """A number in the place of a name refuses all orders before one is claimed: none is in doubt for it."""
    service = Service()
    async with pushing(tmp_path, service) as (push, ledger):
        orders = [order("A"), order(**{"tracking_id": "B", **changes})]
        with pytest.raises(UnusableSource, match="is int, but must be text"):
            await push.load_orders(orders)
        with pytest.raises(UnusableSource, match="is int, but must be text"):
            await push.load_orders(orders, key=lambda order: str(order.tracking_id))
        assert await ledger.runs() == []
    assert service.creates == []


async def test_orders_need_a_key_of_their_own(tmp_path: Path) -> None:
    """An order without a key, or with one that stands twice, is refused, and nothing is in the ledger."""
    async with pushing(tmp_path, Service()) as (push, ledger):
        with pytest.raises(UnusableSource, match="no key"):
            await push.load_orders([order("A"), order(None)])
        with pytest.raises(UnusableSource, match="also in line 1"):
            await push.load_orders([order("A"), order("A")])
        assert await ledger.runs() == []


async def test_an_async_source_is_loaded_like_any_other(tmp_path: Path) -> None:
    """Orders can come from an async iterable, with a key of the caller's choice."""

    async def source() -> AsyncIterator[Any]:
        for number in range(1200):
            yield order(None, invoice_number=f"I-{number}")

    numbers = count()
    service = Service(lambda tasks: answer({"tasks": [{"id": f"id-{next(numbers)}"} for _ in tasks]}))
    service_calls: list[int] = []

    def respond(request: Request) -> Response:
        if request.method == "GET":  # no read says whose a task is, either
            return answer({}, 404)
        tasks = msgspec.json.decode(request.body or b"")["tasks"]
        service_calls.append(len(tasks))
        return service.respond(tasks)

    async with pushing(tmp_path, respond) as (push, _):
        run, admission = await push.load_orders(source(), key=lambda each: each.invoice_number)
        async with run:
            await push.send(run)
            assert await run.counts() == counted(created=1200)
    assert admission.pending == sum(service_calls) == 1200


async def test_a_push_whose_ledger_is_moved_away_ends_with_what_is_under_way(tmp_path: Path) -> None:
    """No other order is claimed, which another process could claim by the path; answers are still recorded."""

    def respond(tasks: list[dict[str, Any]]) -> Response:
        if len(service.creates) == 2:
            (tmp_path / "ledger.db").rename(tmp_path / "away.db")
        return created(tasks)

    service = Service(respond)
    async with pushing(tmp_path, service, mode=Mode.DIRECT) as (push, _):
        run, _ = await push.load_orders(orders(400))
        async with run:
            with pytest.raises(LedgerMoved, match=r"put the original file back"):
                await push.send(run)
            counts = await run.counts()
    assert 2 <= len(service.creates) < 20
    assert (counts.created, counts.in_doubt, counts.sending) == (20 * len(service.creates), 0, 0)
