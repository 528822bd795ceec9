"""`gotsurge_async.transports.aiohttp` and its kept connections: which of them carries the next request."""

import asyncio
import importlib
import select
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import pytest
import trustme

from gotsurge_async.config import Timeouts
from gotsurge_async.testing.peers import OK, Behaviour, Connection, Peer, peer
from gotsurge_async.testing.transport_suite import request
from gotsurge_async.transports.aiohttp import AiohttpTransport
from gotsurge_async.transports.base import Response

UNASKED = OK.replace(b"{}", b"[]")
LOOPS = ["asyncio", pytest.param("uvloop", marks=pytest.mark.slow)]  # uvloop comes with the group `dev`


@contextmanager
def another_thread(behaviour: Behaviour, **options: Any) -> Iterator[Peer]:
    """A peer on a loop of its own, which runs while the transport's loop is blocked."""
    ready, done = threading.Event(), threading.Event()
    peers: list[Peer] = []

    async def serve() -> None:
        async with peer(behaviour, **options) as serving:
            peers.append(serving)
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait()
    try:
        yield peers[0]
    finally:
        done.set()
        thread.join()


class Idle:
    """Answers; `act` has the first connections, after one answer each, say ``then`` or end.

    Attributes:
        extra: the bytes that arrived on them afterwards.
    """

    def __init__(self, then: bytes, first: int = 1) -> None:
        self.then = then
        self.extra = b""
        self._first = first
        self._are_all_here = asyncio.Event()
        self._may_act = threading.Event()

    async def __call__(self, serving: Peer, connection: Connection) -> None:
        """Handle a connection: close it, or say what nobody asked for and wait for the client to close it."""
        is_first = serving.connections <= self._first
        while True:
            await serving.whole(connection)
            if len(serving.requests) == self._first:
                self._are_all_here.set()
            await self._are_all_here.wait()
            await connection.say(OK)
            if is_first:
                await asyncio.to_thread(self._may_act.wait)
                if self.then:
                    await connection.say(self.then)
                    self.extra += await connection.reader.read()
                return

    def act(self, *connections: Any) -> None:
        """Have it act, and block the transport's loop until the kernel has what was sent."""
        self._may_act.set()
        for connection in connections:
            poll = select.poll()
            poll.register(connection.transport.get_extra_info("socket").fileno(), select.POLLIN)
            assert poll.poll(60_000)


def kept(transport: AiohttpTransport) -> list[Any]:
    """The connections in the pool."""
    assert transport._session is not None
    assert transport._session.connector is not None
    ((*pairs,),) = transport._session.connector._conns.values()
    return [protocol for protocol, _ in pairs]


def run(loop: str, exchange: Callable[[AiohttpTransport], Any]) -> Any:
    """Run a coroutine function with a new transport on a loop of that kind."""

    async def opened() -> Any:
        transport = AiohttpTransport(Timeouts(keepalive=60, read=10))
        try:
            return await exchange(transport)
        finally:
            await transport.close()

    with asyncio.Runner(loop_factory=importlib.import_module(loop).new_event_loop) as runner:
        return runner.run(opened())


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's context that the transport trusts."""
    authority, context, verified = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(verified)
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", verified)
    return context


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("verb", ["POST", "PUT", "DELETE", "GET"])
@pytest.mark.parametrize("then", [b"", UNASKED], ids=["end", "answer"])
def test_a_kept_connection_with_news_that_the_loop_has_not_seen_is_replaced(
    then: bytes, verb: str, scheme: str, loop: str, trusted: ssl.SSLContext
) -> None:
    """When kept connections have ended or hold an answer, a new one takes the request, and keeps the next one."""
    idle = Idle(then, first=2)

    with another_thread(idle, **({"ssl": trusted} if scheme == "https" else {})) as serving:
        sent = request(serving.url.replace("http", scheme), verb)

        async def exchange(transport: AiohttpTransport) -> list[Response]:
            await asyncio.gather(transport.send(sent), transport.send(sent))
            idle.act(*kept(transport))
            return [await transport.send(sent) for _ in range(3)]

        assert [answer.body for answer in run(loop, exchange)] == [b"{}"] * 3
    assert (serving.connections, len(serving.requests)) == (3, 5)
    assert idle.extra == b""


@pytest.mark.parametrize("loop", LOOPS)
def test_an_answer_that_nobody_asked_for_answers_nothing(loop: str) -> None:
    """When the loop has read an answer on a kept connection, a new connection takes the next request."""
    idle = Idle(UNASKED)

    with another_thread(idle) as serving:

        async def exchange(transport: AiohttpTransport) -> Response:
            await transport.send(request(serving.url))
            idle.act(*kept(transport))
            while not kept(transport)[0].should_close:  # noqa: ASYNC110 - it is on its way through the loop
                await asyncio.sleep(0)
            return await transport.send(request(serving.url))

        assert run(loop, exchange).body == b"{}"
    assert (serving.connections, len(serving.requests)) == (2, 2)
    assert idle.extra == b""


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("then", [b"", UNASKED], ids=["end", "answer"])
def test_a_kept_connection_is_checked_when_the_body_is_written(
    monkeypatch: pytest.MonkeyPatch, then: bytes, loop: str
) -> None:
    """When a kept connection ends or gets an answer after a request has its headers, a new one takes the request."""
    idle, chosen = Idle(then), list[Any]()
    write_headers = aiohttp.http_writer.StreamWriter.write_headers

    async def act_first(*arguments: Any) -> None:
        if chosen:
            idle.act(chosen.pop())
        await write_headers(*arguments)

    monkeypatch.setattr(aiohttp.http_writer.StreamWriter, "write_headers", act_first)
    with another_thread(idle) as serving:

        async def exchange(transport: AiohttpTransport) -> Response:
            await transport.send(request(serving.url))
            chosen.extend(kept(transport))
            return await transport.send(request(serving.url))

        assert run(loop, exchange).body == b"{}"
    assert (serving.connections, len(serving.requests)) == (2, 2)
    assert idle.extra == b""
