"""`GotSurge.close`: bounded, whatever is under way, and honest about what it cut."""

import asyncio
import gc
from collections.abc import Awaitable
from typing import Any

import pytest

from gotsurge_async import GotSurge, Limits, MemoryStore, NotSent, OutcomeUnknown, UsageError
from gotsurge_async.calls import parts
from gotsurge_async.client import CLOSE
from gotsurge_async.errors import CallError
from gotsurge_async.hooks import CallDone, CallStarted, Event
from gotsurge_async.testing import ManualClock
from gotsurge_async.testing.peers import Connection, Peer, peer
from gotsurge_async.transports.base import MaybeSent, Request, Response
from gotsurge_async.transports.memory import MemoryTransport
from tests.support.clients import KEYS, make, others, serve
from tests.support.orders import answer, order


class Silent(MemoryTransport):
    """Never answers, and sets an event when a request is there."""

    def __init__(self) -> None:
        super().__init__(self.answer)
        self.arrived = asyncio.Event()

    async def answer(self, _: Request) -> Response:
        self.arrived.set()
        await asyncio.Event().wait()
        raise AssertionError("never")


class Stubborn(Silent):
    """Turns a cancellation into a failure."""

    async def send(self, request: Request) -> Response:
        try:
            return await super().send(request)
        except asyncio.CancelledError:
            raise MaybeSent("cut") from None


async def failure(call: Awaitable[Any]) -> CallError:
    with pytest.raises(CallError) as caught:
        await call
    return caught.value


async def test_calls_under_way_are_cut_and_say_what_is_known() -> None:
    """After the time, a call that was sent is unknown, one that waits for a place was not sent, and both say why."""
    clock, transport = ManualClock(), Silent()
    gs = await make(transport, clock=clock, limits=Limits(concurrency=1)).open()
    sent = asyncio.create_task(failure(gs.tasks.create([order()])))
    await transport.arrived.wait()
    waiting = asyncio.create_task(failure(gs.tasks.create([order()])))
    await clock.settle()
    closing = asyncio.create_task(gs.close())
    await clock.advance(CLOSE - 1)
    assert not any(task.done() for task in (closing, sent, waiting))
    await clock.advance(1)
    await closing
    assert isinstance(await sent, OutcomeUnknown)
    assert str(await sent) == "tasks.create: the client was closed; the call may have been processed"
    assert isinstance(await waiting, NotSent)
    assert str(await waiting) == "tasks.create: the client was closed; nothing was processed"
    assert len(transport.sent) == 1
    assert transport.closed
    assert not others()


async def test_what_is_cut_over_a_real_connection_says_so() -> None:
    """It is this client that closed the connection, and not the server."""
    arrived = asyncio.Event()

    async def silent(serving: Peer, connection: Connection) -> None:
        await serving.whole(connection)
        arrived.set()
        await connection.reader.read()

    async with peer(silent) as serving:
        gs = await GotSurge("local", api_base=serving.url, bearer_token="any").open()
        call = asyncio.create_task(failure(gs.tasks.create([order()])))
        await arrived.wait()
        await gs.close(timeout=0)
        assert str(await call) == "tasks.create: the client was closed; the call may have been processed"


async def test_a_renewal_under_way_is_cut_too() -> None:
    """A renewal has a second at least, because a lost token costs a sign-in; then it is cut as a call is."""
    clock, transport = ManualClock(), Silent()
    gs = await make(transport, clock=clock, refresh_token="planted-refresh", credentials=KEYS).open()
    renewing = asyncio.create_task(failure(gs.tokens.renew()))
    await transport.arrived.wait()
    closing = asyncio.create_task(gs.close(timeout=0))
    await clock.advance(1)
    await closing
    assert str(await renewing) == "auth.refresh: the client was closed; the call may have been processed"
    assert not others()


class StuckStore(MemoryStore):
    """Never stores anew."""

    async def replace(self, *_: Any) -> bool:
        await asyncio.Event().wait()
        raise AssertionError("never")


async def test_a_store_that_hangs_does_not_hold_the_end_up() -> None:
    """A renewed token that cannot be stored is given up a second after the time that closing has."""
    clock = ManualClock()
    gs = make(MemoryTransport(serve), clock=clock, token_store=StuckStore(), refresh_token="planted-refresh")
    await gs.open()
    renewing = asyncio.create_task(gs.tokens.renew())
    await clock.settle()
    closing = asyncio.create_task(gs.close(timeout=3))
    await clock.advance(3 + 1)
    await closing
    await asyncio.wait([renewing])
    assert not others()


async def test_a_closing_that_is_cancelled_goes_on() -> None:
    """Whoever waited for it is free at once; the calls are cut in their time, and a second close waits for that."""
    clock, transport = ManualClock(), Silent()
    gs = await make(transport, clock=clock).open()
    call = asyncio.create_task(failure(gs.tasks.get("t")))
    await transport.arrived.wait()
    closing = asyncio.create_task(gs.close(timeout=5))
    await clock.settle()
    closing.cancel()
    await asyncio.wait([closing])
    assert closing.cancelled()
    again = asyncio.create_task(gs.close())
    await clock.advance(5)
    await again
    assert "the client was closed" in str(await call)
    assert transport.closed
    assert not others()


async def releasing_acme(
    transport: Silent, clock: ManualClock
) -> tuple[GotSurge, "asyncio.Task[CallError]", "asyncio.Task[None]"]:
    """A client, a call of an account of it, and the release of this account, which waits for the call."""
    gs = await make(transport, clock=clock).open()
    acme = gs.as_account("acme")
    await acme.tokens.adopt(await gs.tokens.current() or pytest.fail("there are no tokens"))
    call = asyncio.create_task(failure(acme.tasks.get("t")))
    await transport.arrived.wait()
    return gs, call, asyncio.create_task(gs.release("acme"))


async def test_an_account_that_is_released_twice_is_there_until_its_calls_have_ended() -> None:
    """The second release leaves it to the first; then the name begins again, and is closed with the client."""
    clock, transport = ManualClock(), Silent()
    gs, call, releasing = await releasing_acme(transport, clock)
    await clock.settle()
    old = gs.as_account("acme")
    await gs.release("acme")
    assert gs.as_account("acme") is old
    await clock.advance(CLOSE)
    await releasing
    assert "the client was closed" in str(await call)
    assert gs.as_account("acme") is not old
    await gs.close()
    assert not others()


async def test_an_account_that_is_released_is_closed_with_its_client() -> None:
    """Releasing an account has the time of a closing, and ends with its client if that is sooner."""
    clock, transport = ManualClock(), Silent()
    gs, call, releasing = await releasing_acme(transport, clock)
    await clock.settle()
    await gs.close(timeout=0)
    await releasing
    assert "the client was closed" in str(await call)
    assert not others()


class Deaf(Silent):
    """Takes no notice of a cancellation until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.released = asyncio.Event()

    async def send(self, request: Request) -> Response:
        sending = asyncio.ensure_future(super().send(request))
        while not self.released.is_set():
            try:
                await self.released.wait()
            except asyncio.CancelledError:
                continue
        sending.cancel()
        raise MaybeSent("released")


async def test_a_call_that_cannot_be_cut_is_left() -> None:
    """A transport that ignores its cancellation holds the end up for a second, also where an account was released."""
    clock, transport = ManualClock(), Deaf()
    gs, call, releasing = await releasing_acme(transport, clock)
    await clock.advance(CLOSE + 0.5)
    closing = asyncio.create_task(gs.close(timeout=0))
    await clock.advance(2)
    await closing
    await releasing
    assert not call.done()
    transport.released.set()
    assert isinstance(await call, OutcomeUnknown)


async def test_a_call_with_a_time_of_its_own_is_cut_too() -> None:
    """Nothing that its transport raises then is left unheard."""
    heard: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
    transport = Stubborn()
    gs = await make(transport).open()
    call = asyncio.create_task(failure(gs.with_options(timeout=60).tasks.get("t")))
    await transport.arrived.wait()
    await gs.close(timeout=0)
    assert isinstance(await call, OutcomeUnknown)
    del call
    gc.collect()
    assert not heard


class Endless(MemoryTransport):
    """Never finishes closing."""

    async def close(self) -> None:
        await asyncio.Event().wait()


async def test_a_transport_that_does_not_close_is_left(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transport has a second to close; then it is left, and the log says so."""
    monkeypatch.setattr(parts, "_GIVE_BACK", 0.01)
    await (await make(Endless([])).open()).close()
    assert "the transport did not close" in caplog.text
    assert not others()


async def test_a_transport_that_fails_to_close_is_heard() -> None:
    """Its own error passes through."""

    class Broken(MemoryTransport):
        async def close(self) -> None:
            raise OSError("the pool is broken")

    with pytest.raises(OSError, match="the pool is broken"):
        await (await make(Broken([])).open()).close()


async def test_a_transport_that_turns_the_cut_into_a_failure_is_believed() -> None:
    """A transport may say itself what became of a request that is cut."""
    transport = Stubborn()
    gs = await make(transport).open()
    call = asyncio.create_task(failure(gs.tasks.create([order()])))
    await transport.arrived.wait()
    await gs.close(timeout=0)
    assert isinstance(await call, OutcomeUnknown)
    assert not others()


@pytest.mark.parametrize("timeout", [-1, None, True, "5", float("nan")])
async def test_the_time_is_a_number_of_seconds(timeout: Any) -> None:
    """What is no number of seconds is refused, and the client stays open."""
    async with make(MemoryTransport([answer({"id": "t"})])) as gs:
        with pytest.raises(UsageError, match="timeout must be a number of seconds"):
            await gs.close(timeout)
        await gs.tasks.get("t")


@pytest.mark.parametrize("kind", [CallStarted, CallDone])
async def test_a_hook_that_ends_the_program_holds_nothing_up(kind: type[Event]) -> None:
    """Whatever a hook raises, the call counts as ended, and the client closes."""

    def leaves(event: Event) -> None:
        if isinstance(event, kind):
            raise SystemExit(3)

    gs = await make(MemoryTransport([answer({"id": "t"})]), hooks=[leaves]).open()
    with pytest.raises(SystemExit):
        await gs.tasks.get("t")
    async with asyncio.timeout(5):
        await gs.close()


async def test_a_call_may_last_no_longer_than_its_total_whatever_the_transport() -> None:
    """`Timeouts.total` ends a try of any transport: it may have been processed."""
    async with make(Silent(), timeouts=0.05) as gs:
        error = await failure(gs.tasks.create([order()]))
    assert isinstance(error, OutcomeUnknown)
    assert str(error) == "tasks.create: no answer in time"
