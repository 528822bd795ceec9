"""Operations of several calls: what ends a later one takes nothing of what the first one did."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gotsurge_async import GotSurge, NotUpdated, OutcomeUnknown, RetryPolicy, SignInNeeded, what_is_known
from gotsurge_async.errors import ClientClosed, GotSurgeError, NotSent
from gotsurge_async.transports.base import MaybeSent, Request, Response
from gotsurge_async.transports.memory import MemoryTransport
from tests.support.clients import client, make
from tests.support.orders import answer

LOST = MaybeSent("reset")
OPERATIONS: dict[str, Callable[[GotSurge], Awaitable[Any]]] = {
    "cancel": lambda gs: gs.tasks.cancel("t", reason="x"),
    "update": lambda gs: gs.platform.tasks.update("t", version_rev="0-a", pickup_note_to_driver="x"),
    "broadcast": lambda gs: gs.platform.drafts.broadcast(["t", "u"]),
    "broadcast with tracking ids": lambda gs: gs.platform.drafts.broadcast_with_tracking({"t": "T-1", "u": "T-2"}),
}


class Held(MemoryTransport):
    """Holds its first request until it is released; what comes after that is answered as a task."""

    def __init__(self, first: Response | Exception) -> None:
        super().__init__(self.answer)
        self.first = first
        self.arrived, self.released = asyncio.Event(), asyncio.Event()

    async def answer(self, _: Request) -> Response:
        if len(self.sent) > 1:
            return answer({"id": "t", "current_status": "broadcasting"})
        self.arrived.set()
        await self.released.wait()
        if isinstance(self.first, Exception):
            raise self.first
        return self.first


@pytest.mark.parametrize(
    ("operation", "first", "sent"),
    [
        ("cancel", LOST, "perhaps"),
        ("cancel", answer({}, 503), "perhaps"),
        ("cancel", answer({}, 409), "refused"),
        ("update", LOST, "perhaps"),
        ("update", answer({}), "perhaps"),
        ("update", answer({}, 409), "refused"),
        ("broadcast", answer({}), "perhaps"),
        ("broadcast", answer({}, 409), "refused"),
        ("broadcast with tracking ids", answer({}), "perhaps"),
    ],
)
async def test_a_closing_client_hides_no_effect(operation: str, first: Response | Exception, sent: str) -> None:
    """The read that would show the effect is refused while the client closes; the outcome is that of the first call."""
    transport = Held(first)
    gs = await make(transport, retry=1).open()
    working = asyncio.ensure_future(OPERATIONS[operation](gs))
    await transport.arrived.wait()
    closing = asyncio.create_task(gs.close())
    await asyncio.sleep(0)
    transport.released.set()
    await closing
    with pytest.raises(GotSurgeError) as caught:
        await working
    assert caught.value.sent == sent, caught.value
    assert len(transport.sent) == 1


async def test_a_closing_client_gives_each_broadcast_its_result() -> None:
    """Any number of ids: those that were sent, and those that were not, have a result each, then the error comes."""
    transport = Held(answer({}))
    gs = await make(transport, retry=1).open()
    results: list[str] = []

    async def work() -> None:
        ids = [f"t-{number}" for number in range(60)]
        async for result in gs.platform.drafts.broadcast_all(ids, concurrency=1):
            assert isinstance(result, NotUpdated)
            results.append(result.error.sent)

    working = asyncio.create_task(work())
    await transport.arrived.wait()
    closing = asyncio.create_task(gs.close())
    await asyncio.sleep(0)
    transport.released.set()
    await closing
    with pytest.raises(ClientClosed):
        await working
    assert results == ["perhaps"] * 20 + ["nothing"] * 20
    assert len(transport.sent) == 1


@pytest.mark.parametrize(
    ("token", "sent"), [(SignInNeeded(), SignInNeeded), (OSError("the disk is gone"), NotSent)], ids=["person", "disk"]
)
async def test_a_token_that_is_gone_hides_no_effect(
    token: Exception, sent: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broadcast that was lost, and cannot be signed any more when it is tried again, is unknown."""
    again = RetryPolicy(attempts=4, base=0.0, cap=0.0)
    async with client([answer({}, 503), answer({}, 401)], retry=again) as (gs, _):
        bearers = iter([await gs.tokens.bearer()] * 2)

        async def bearer() -> Any:
            for each in bearers:
                return each
            raise token

        monkeypatch.setattr(gs.tokens, "bearer", bearer)
        with pytest.raises(OutcomeUnknown):
            await gs.request("POST", "/broadcasts", repeat=True)
        with pytest.raises(sent):  # what was never sent is not unknown
            await gs.request("POST", "/broadcasts", repeat=True)


@pytest.mark.parametrize("operation", ["broadcast", "broadcast with tracking ids"])
async def test_a_cancellation_hides_no_effect(operation: str) -> None:
    """Cancelled in a call that follows, it is known that the first one may have acted."""
    arrived = asyncio.Event()

    async def serve(request: Request) -> Response:
        if request.method == "POST":
            return answer({"updated_tasks": [{"id": "t", "current_status": "broadcasting", "tracking_id": "T-1"}]})
        arrived.set()
        await asyncio.Event().wait()
        raise AssertionError("never")

    async with client(serve) as (gs, _):
        working = asyncio.ensure_future(OPERATIONS[operation](gs))
        await arrived.wait()
        working.cancel()
        await asyncio.wait([working])
        with pytest.raises(asyncio.CancelledError) as caught:
            working.result()
    assert isinstance(what_is_known(caught.value), OutcomeUnknown)
