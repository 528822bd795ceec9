"""Connections that send nothing: real events are answered all along."""

import asyncio
import os
import resource
import socket
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import aiohttp
import attrs
import pytest
from aiohttp import web

from gotsurge_async.simulator import Simulator
from gotsurge_async.testing import ManualClock
from gotsurge_async.webhooks.web import connections as connections_module
from gotsurge_async.webhooks.web.connections import Connections, most_connections
from tests.cli.afterwards.receiving import TOKEN, receiving
from tests.support.threads import eventually
from tests.webhooks.kit import event

HALF = b"POST /webhooks/wrong HTTP/1.1\r\nHost: x\r\nX-Endless: "
WHOLE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@attrs.frozen
class Served:
    """A small server."""

    connections: Connections
    clock: ManualClock
    port: int
    arrived: asyncio.Event
    go_on: asyncio.Event
    writers: list[asyncio.StreamWriter] = attrs.field(factory=list)

    async def connect(self, data: bytes, host: str = "127.0.0.1") -> asyncio.StreamReader:
        """Open a connection, and send something; returns when the server has it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(host, 0))
        self.writers.append(writer)
        writer.write(data)
        mine = writer.get_extra_info("sockname")
        await eventually(lambda: self.has(mine))
        return reader

    async def has(self, peer: Any) -> bool:
        """Whether the server has a connection of an address and port."""
        return peer in {each.transport.get_extra_info("peername") for each in self.connections._by_handler.values()}


@asynccontextmanager
async def served(most: int) -> AsyncIterator[Served]:
    """A server whose one page is answered when the test says so."""
    clock, arrived, go_on = ManualClock(), asyncio.Event(), asyncio.Event()
    connections = Connections(most, clock=clock)

    async def page(_: web.Request) -> web.Response:
        arrived.set()
        await go_on.wait()
        return web.Response(text="ok")

    app = web.Application(middlewares=[connections.middleware])
    app.router.add_get("/", page)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    async with connections.serving(runner, "127.0.0.1", 0) as port:
        here = Served(connections, clock, port, arrived, go_on)
        try:
            yield here
        finally:
            go_on.set()
            for writer in here.writers:
                writer.transport.abort()


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Wait for a connection's next byte, or its end."""
    try:
        async with asyncio.timeout(10):
            return await reader.read(1) == b""
    except ConnectionError:
        return True


async def test_headers_have_a_time() -> None:
    """A connection whose headers do not come is closed after ten seconds; one that has a request is not."""
    async with served(8) as here:
        slow = await here.connect(HALF)
        good = await here.connect(WHOLE)
        await here.arrived.wait()
        await here.clock.advance(9)
        assert len(here.connections) == 2
        await here.clock.advance(2)
        assert await is_closed(slow)
        here.go_on.set()
        assert (await good.readline()) == b"HTTP/1.1 200 OK\r\n"
        await here.clock.advance(60)
        assert len(here.connections) == 1
        await here.clock.advance(60)
        assert len(here.connections) == 0


async def test_the_oldest_idle_connection_makes_room(caplog: pytest.LogCaptureFixture) -> None:
    """Where there are too many, the address that has most loses the one that is idle for longest; one line says so."""
    async with served(8) as here:
        busy = await here.connect(WHOLE)
        await here.arrived.wait()
        other = await here.connect(HALF, "127.0.0.2")
        idle = [await here.connect(HALF) for _ in range(6)]
        for number, each in enumerate(idle[:4], start=3):
            await here.connect(HALF, f"127.0.0.{number}")
            assert await is_closed(each)
            assert len(here.connections) == 8
        assert len(caplog.records) == 1
        assert "many from 127.0.0.1" in caplog.text
        here.go_on.set()
        assert (await busy.readline()) == b"HTTP/1.1 200 OK\r\n"
        assert not other.at_eof()


async def busy(here: Served, number: int) -> list[asyncio.StreamReader]:
    """Connections that have a request."""
    readers = [await here.connect(WHOLE) for _ in range(number)]

    async def all_are_busy() -> bool:
        return len(here.connections) - len(here.connections._idle) == number

    await eventually(all_are_busy)
    return readers


async def connect_together(here: Served, hosts: list[str]) -> list[asyncio.StreamReader]:
    """Connections that have sent a whole request before the server accepts the first of them."""
    sockets = [socket.create_connection(("127.0.0.1", here.port), source_address=(host, 0)) for host in hosts]
    for each in sockets:
        each.sendall(WHOLE)
    pairs = [await asyncio.open_connection(sock=each) for each in sockets]
    here.writers.extend(writer for _, writer in pairs)
    return [reader for reader, _ in pairs]


async def test_a_connection_that_finds_no_room_is_closed_itself(caplog: pytest.LogCaptureFixture) -> None:
    """Where every connection has a request, none of them is cut: its sender would only come again."""
    async with served(8) as here:
        working = await busy(here, 8)
        (late,) = await connect_together(here, ["127.0.0.1"])
        assert await is_closed(late)
        assert len(here.connections) == 8
        assert "new ones are closed" in caplog.text
        here.go_on.set()
        assert [await each.readline() for each in working] == [b"HTTP/1.1 200 OK\r\n"] * 8


async def test_a_connection_that_was_just_accepted_is_read_first() -> None:
    """Of many that come together the first ones stay until they are read, and are answered; the others are closed."""
    async with served(8) as here:
        working = await busy(here, 6)
        together = await connect_together(here, ["127.0.0.1"] * 20)
        assert [await is_closed(each) for each in together[2:]] == [True] * 18
        here.go_on.set()
        assert [await each.readline() for each in (*working, *together[:2])] == [b"HTTP/1.1 200 OK\r\n"] * 8


async def test_a_request_that_was_just_read_stays() -> None:
    """A connection that was idle for long is not closed while its next request is on its way to the page."""
    async with served(8) as here:
        here.go_on.set()
        first = await here.connect(WHOLE)
        assert (await first.readuntil(b"ok")).startswith(b"HTTP/1.1 200 OK")
        here.go_on.clear()
        await busy(here, 7)
        here.writers[0].write(WHOLE)
        together = await connect_together(here, ["127.0.0.1"] * 3)
        assert [await is_closed(each) for each in together] == [True] * 3
        here.go_on.set()
        assert await first.readline() == b"HTTP/1.1 200 OK\r\n"


async def test_one_address_does_not_close_the_connection_of_another() -> None:
    """While all connections of an address have a request, its next one closes no other, whose request is on its way."""
    async with served(8) as here:
        working = await busy(here, 7)
        other = await here.connect(b"", "127.0.0.2")
        (waiting,) = here.connections._idle
        await eventually(lambda: is_settled(here, waiting))
        (late,) = await connect_together(here, ["127.0.0.1"])
        assert await is_closed(late)
        here.writers[7].write(WHOLE)
        here.go_on.set()
        assert [await each.readline() for each in (*working, other)] == [b"HTTP/1.1 200 OK\r\n"] * 8


async def is_settled(here: Served, connection: Any) -> bool:
    """Whether a connection was accepted some turns ago."""
    return bool(connection.spared_until <= here.connections._turn)


async def test_the_addresses_of_an_ipv6_network_count_as_one() -> None:
    """Somebody who connects from many addresses of one network of 64 bits loses a connection, not somebody else."""
    connections = Connections(3)

    def connect(address: str) -> Mock:
        transport = Mock(spec=asyncio.Transport)
        transport.get_extra_info.return_value = (address, 50000, 0, 0)
        connections_module._Connection(connections, asyncio.Protocol()).connection_made(transport)
        return transport

    many = [connect(f"2001:db8::{host}") for host in range(1, 4)]
    other = connect("2001:db8:0:1::1")
    assert [each.abort.called for each in many].count(True) == 1
    assert not other.abort.called


async def test_many_new_connections_do_not_keep_others_out() -> None:
    """The address that has most new ones loses its newest, where there is no older one."""
    async with served(8) as here:
        *_, other = await connect_together(here, ["127.0.0.2"] * 8 + ["127.0.0.1"])
        here.go_on.set()
        assert await other.readline() == b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nabc",
    ],
    ids=["version", "long", "length", "chunk", "short"],
)
async def test_requests_that_cannot_be_read(garbage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Any number of them is a few lines of the log in a minute, without the lines of code."""
    async with served(8) as here:
        here.go_on.set()
        for _ in range(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
            writer.write(garbage)
            writer.write_eof()
            with suppress(OSError):
                await reader.read()
            writer.transport.abort()
    assert len(caplog.records) <= 1
    assert len(caplog.text) < 1000


def test_a_third_of_the_files_may_be_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process with fewer files has fewer connections."""
    for files, most in ((1024, 341), (100_000, 512), (resource.RLIM_INFINITY, 512), (12, 8)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (files, files))
        assert most_connections() == most


async def attack(port: int, number: int, over: threading.Event) -> None:
    """Keep many connections open whose headers never end; what is closed is opened again."""

    async def one() -> None:
        while not over.is_set():
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.write(HALF)
            with suppress(OSError):
                while not over.is_set() and not reader.at_eof():
                    with suppress(TimeoutError):
                        await asyncio.wait_for(reader.read(1), 1.0)
            writer.transport.abort()
            await asyncio.sleep(0.2)

    await asyncio.gather(*(one() for _ in range(number)))


async def test_connections_whose_headers_never_end(tmp_path: Path) -> None:
    """While a stranger holds more connections than the receiver has files, every real event is answered in a second.

    Real events come from an address of their own. In `tests.webhooks.test_attack`, which does this for longer, they
    share the stranger's.
    """
    limits, processors = resource.getrlimit(resource.RLIMIT_NOFILE), os.sched_getaffinity(0)
    async with Simulator() as simulator:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
        os.sched_setaffinity(0, range(os.cpu_count() or 1))  # the receiver need not share the attackers' processor
        try:
            starting = receiving(simulator, tmp_path)
            receiver = await starting.__aenter__()
        finally:
            os.sched_setaffinity(0, processors)
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        over = threading.Event()
        try:
            port = int(receiver.url.rpartition(":")[2])
            attacking = asyncio.create_task(asyncio.to_thread(asyncio.run, attack(port, 300, over)))
            until, sent = time.monotonic() + 1.0, 0
            while time.monotonic() < until:
                began = receiver.moment()
                connector = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
                async with aiohttp.ClientSession(connector=connector) as session:
                    body = event(at=f"2026-01-01T{sent // 3600:02}:{sent // 60 % 60:02}:{sent % 60:02}Z")
                    async with session.post(f"{receiver.url}/webhooks/{TOKEN}", data=body) as answer:
                        assert answer.status == 200
                assert began.seconds_until(receiver.moment()) < 1.0
                sent += 1
                await asyncio.sleep(0.1)
            over.set()
            await attacking
            assert await receiver.end() == 0
            assert sum(map(len, receiver.said)) < 10_000
        finally:
            over.set()
            await starting.__aexit__(None, None, None)


def test_limits_are_those_of_the_page() -> None:
    """The page of webhooks names the limits."""
    page = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text()
    assert f"{connections_module.MOST} connections" in page
    assert f"{connections_module.HEADER_SECONDS:g} s" in page
