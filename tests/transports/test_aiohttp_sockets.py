"""`gotsurge_async.transports.aiohttp` over real sockets, with peers that misbehave: what each failure proves."""

import asyncio
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress

import pytest
import trustme
from yarl import URL

from gotsurge_async.config import Timeouts
from gotsurge_async.errors import ConfigError
from gotsurge_async.testing.peers import OK, Behaviour, Connection, Peer, peer
from gotsurge_async.testing.transport_suite import BODY, TOKEN, failure, request, says
from gotsurge_async.transports import aiohttp as module
from gotsurge_async.transports.aiohttp import AiohttpTransport, proxy_of_environment
from gotsurge_async.transports.base import MaybeSent, NothingSent, TransportError

REPEATED_BY_AIOHTTP = ("GET", "PUT", "DELETE")


@asynccontextmanager
async def a_transport(timeouts: Timeouts | None = None) -> AsyncIterator[AiohttpTransport]:
    """A transport that is closed in the end."""
    transport = AiohttpTransport(timeouts)
    try:
        yield transport
    finally:
        await transport.close()


async def fails(
    behaviour: Behaviour, timeouts: Timeouts | None = None, verb: str = "POST"
) -> tuple[Peer, TransportError]:
    """What the peer saw, and how a request to it failed."""
    async with peer(behaviour) as serving, a_transport(timeouts) as transport:
        return serving, await failure(transport, request(serving.url, verb))


# --- no connection: certainly not sent --------------------------------------------------------------------------------


async def test_an_unknown_host_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that the resolver does not know ends before anything was sent."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    async with a_transport() as transport:
        error = await failure(transport, request("http://nowhere.invalid"))
    assert isinstance(error, NothingSent)
    assert "Name or service not known" in error.reason


async def test_a_bad_certificate_sends_nothing() -> None:
    """A server with a certificate that the system does not trust gets no byte of the request."""

    async def answers(serving: Peer, connection: Connection) -> None:
        await serving.whole(connection)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    loop_errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, problem: loop_errors.append(problem))
    async with peer(answers, ssl=context) as serving, a_transport() as transport:
        error = await failure(transport, request(serving.url.replace("http", "https")))
        assert isinstance(error, NothingSent)
        assert "certificate" in error.reason
        assert serving.requests == []


@pytest.fixture
def deaf_url() -> Iterator[str]:
    """A port on which connecting hangs: its queue is full, and nobody accepts."""
    with ExitStack() as stack:
        deaf = stack.enter_context(socket.socket())
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(deaf.getsockname())
        yield f"http://127.0.0.1:{deaf.getsockname()[1]}"


@pytest.mark.parametrize("timeouts", [Timeouts(connect=0.1), Timeouts(pool=0.1)], ids=["connect", "pool"])
async def test_a_connection_that_hangs_sends_nothing(deaf_url: str, timeouts: Timeouts) -> None:
    """When connecting takes too long, by either limit, nothing was sent."""
    async with a_transport(timeouts) as transport:
        error = await failure(transport, request(deaf_url))
    assert isinstance(error, NothingSent)
    assert "in time" in error.reason


# --- a connection that breaks: maybe sent -----------------------------------------------------------------------------


PACKED = gzip.compress(b'{"tasks":[]}')
ODD: list[bytes] = [
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 25\r\n\r\n" + PACKED[:15] + b"\x00" * 10,
    b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    b"HTTP/1.1 999999 What\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 20_000 + b"\r\n\r\n",
]


@pytest.mark.parametrize("verb", ["POST", "PATCH", *REPEATED_BY_AIOHTTP])
@pytest.mark.parametrize("answer", ODD, ids=lambda answer: repr(answer[:40]))
async def test_an_odd_answer_may_have_been_given_after_all_was_done(answer: bytes, verb: str) -> None:
    """What aiohttp cannot read proves nothing, and no verb is sent a second time."""
    serving, error = await fails(says(answer), verb=verb)
    assert isinstance(error, MaybeSent)
    assert (serving.connections, len(serving.requests)) == (1, 1)


@pytest.mark.slow
async def test_an_answer_that_trickles_is_not_read_for_ever() -> None:
    """A byte at a time keeps every limit between two reads; the limit on the whole try ends it."""

    async def trickles(serving: Peer, connection: Connection) -> None:
        await serving.whole(connection)
        await connection.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            await connection.say(b" ")
            await asyncio.sleep(0.02)  # the pace of the server

    serving, error = await fails(trickles, Timeouts(total=1.5))
    assert isinstance(error, MaybeSent)
    assert len(serving.requests) == 1


async def test_an_answer_without_a_length_may_be_cut() -> None:
    """Without Content-Length a cut answer looks whole: it comes back as it is, for the reader of its JSON to refuse."""
    async with peer(says(b'HTTP/1.1 200 OK\r\n\r\n{"tasks":[')) as serving, a_transport() as transport:
        response = await transport.send(request(serving.url))
    assert (response.status, response.body) == (200, b'{"tasks":[')


async def test_a_cancelled_request_may_be_read_later() -> None:
    """A request that was given up in flight reaches the server all the same."""
    arrived, go_on, read = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def reads_late(serving: Peer, connection: Connection) -> None:
        await connection.head()
        arrived.set()
        await go_on.wait()
        await connection.reader.readexactly(len(BODY))
        read.set()

    async with peer(reads_late) as serving, a_transport() as transport:
        sending = asyncio.create_task(transport.send(request(serving.url)))
        await arrived.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        go_on.set()
        await read.wait()


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [503, 413])
async def test_an_answer_before_the_body_was_read_is_an_answer(status: int) -> None:
    """A server that answers after the headers and hangs up has said what it has to say."""

    async def refuses(serving: Peer, connection: Connection) -> None:
        await connection.head()
        await connection.say(f"HTTP/1.1 {status} No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno".encode())
        # Hanging up with unread data would reset the connection, and with it the answer.
        await connection.reader.readexactly(len(BODY))

    async with peer(refuses) as serving, a_transport() as transport:
        response = await transport.send(request(serving.url))
    assert (response.status, response.body) == (status, b"no")


# --- proxies ----------------------------------------------------------------------------------------------------------


async def test_what_goes_to_this_machine_goes_through_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without https a proxy could read the token: it gets none, whatever the environment or the program says."""
    async with peer(says(OK)) as proxy, peer(says(OK)) as serving:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        for given in ("environment", proxy.url):
            transport = AiohttpTransport(proxy=given)
            await transport.send(request(serving.url))
            await transport.close()
        assert (proxy.connections, serving.connections) == (0, 2)


async def tunnels(serving: Peer, connection: Connection) -> None:
    """A proxy: note what it is asked, and carry bytes to there and back."""
    asked = await connection.head()
    serving.requests.append(asked)
    host, port = asked.split()[1].decode().split(":")
    reader, writer = await asyncio.open_connection("127.0.0.1" if host == "api.example" else host, int(port))
    await connection.say(b"HTTP/1.1 200 Connection established\r\n\r\n")

    async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)
            serving.requests.append(data)

    try:
        await asyncio.wait(
            [
                asyncio.ensure_future(carry(connection.reader, writer)),
                asyncio.ensure_future(carry(reader, connection.writer)),
            ],
            return_when=asyncio.FIRST_COMPLETED,
        )
    finally:
        writer.close()


@pytest.mark.parametrize("how", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "given"])
async def test_a_proxy_carries_the_encrypted_connection(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """It is asked for the host with its own password, and sees nothing of the request or the answer."""
    authority = trustme.CA()
    ours, theirs = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.configure_trust(ours)
    authority.issue_cert("api.example").configure_cert(theirs)
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", ours)
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    async with peer(says(OK), ssl=theirs) as serving, peer(tunnels) as proxy:
        named = proxy.url.replace("://", "://user:planted-password@")
        if how != "given":
            monkeypatch.setenv(how, named)
        transport = AiohttpTransport(proxy=named if how == "given" else "environment")
        response = await transport.send(request(serving.url.replace("http://127.0.0.1", "https://api.example")))
        await transport.close()
    assert (response.status, response.body) == (200, b"{}")
    assert proxy.requests[0].startswith(b"CONNECT api.example:")
    assert b"Proxy-Authorization: Basic" in proxy.requests[0]
    assert TOKEN.encode() not in b"".join(proxy.requests)


PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy")


@pytest.mark.parametrize("answer", [b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n", b""], ids=["407", "gone"])
async def test_a_proxy_that_refuses(answer: bytes) -> None:
    """Its no proves that nothing was sent; where it just goes away that is not claimed; its password is not shown."""

    async def refuses(serving: Peer, connection: Connection) -> None:
        serving.requests.append(await connection.head())
        await connection.say(answer)

    async with peer(refuses) as proxy:
        transport = AiohttpTransport(proxy=proxy.url.replace("://", "://user:planted-password@"))
        error = await failure(transport, request("https://api.example"))
        await transport.close()
    assert TOKEN.encode() not in b"".join(proxy.requests)
    assert "planted-password" not in error.reason
    if answer:
        assert isinstance(error, NothingSent)
        assert error.reason == "the proxy refused the connection: HTTP 407"


async def test_a_proxy_that_is_down_sends_nothing() -> None:
    """No connection to the proxy is no connection."""
    transport = AiohttpTransport(proxy="http://127.0.0.1:1")
    assert isinstance(await failure(transport, request("https://api.example")), NothingSent)
    await transport.close()


@pytest.mark.parametrize("url", ["socks5://user:planted-secret@h:1", "h:1:2", "http://", "", "http://h:x"])
def test_what_is_no_proxy_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """When the transport is made, whether it is given or the environment names it; its password is not shown."""
    with pytest.raises(ConfigError, match="give a proxy as http") as caught:
        AiohttpTransport(proxy=url)
    assert "planted" not in str(caught.value)
    if "://" in url:
        for name in PROXY_VARIABLES:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTPS_PROXY", url)
        with pytest.raises(ConfigError, match="HTTPS_PROXY or ALL_PROXY: give a proxy as http") as caught:
            AiohttpTransport()
        assert "planted" not in str(caught.value)


def test_no_proxy_names_hosts_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that NO_PROXY names is reached directly."""
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "internal.example,.corp.example")
    assert proxy_of_environment("api.example") == URL("http://127.0.0.1:1")
    assert proxy_of_environment("internal.example") is None
    assert proxy_of_environment("a.corp.example") is None
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")  # as curl takes it
    assert proxy_of_environment("api.example") == URL("http://proxy.example:3128")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1001,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"x" * 1_000_000),
    ],
    ids=["length", "chunked", "gzip"],
)
async def test_an_endless_answer_is_not_read(monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    """An answer over the limit, also one that only unpacks to more, is given up; it may have been processed."""
    monkeypatch.setattr(module, "MAX_ANSWER", 1000)
    _, error = await fails(says(answer))
    assert isinstance(error, MaybeSent)
    assert error.reason == "the answer is larger than 1000 bytes"


@pytest.mark.parametrize(
    ("answer", "rest"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok", b""),
        (b"HTTP/1.1 200 OK\r\n\r\nok", b""),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok", b""),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\nok", b""),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 4096),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x" * 4096),
    ],
    ids=["unfinished", "no-length", "gzip", "br", "endless", "extension"],
)
async def test_where_only_the_status_counts(monkeypatch: pytest.MonkeyPatch, answer: bytes, rest: bytes) -> None:
    """An answer counts whatever becomes of its body, of which little is read."""
    monkeypatch.setattr(module, "BODY_SECONDS", 0.2 if not rest else 30.0)
    async with _cut(answer, rest) as (transport, serving):
        assert (await transport.send(request(serving.url))).status == 200


async def test_endless_answers_before_the_answer_are_not_read() -> None:
    """A server that answers 100 Continue without end is given up at the limit; the request may have been processed."""
    async with _cut(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100) as (transport, serving):
        error = await failure(transport, request(serving.url))
    assert isinstance(error, MaybeSent)
    assert error.reason == "the answer is larger than 65536 bytes"


async def test_a_cut_connection_is_kept() -> None:
    """Where only the status counts, whole answers leave the connection open, however many they are."""
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n\r\n" + b"x" * 30_000

    async def answers(serving: Peer, connection: Connection) -> None:
        while True:
            await serving.whole(connection)
            await connection.say(whole)

    async with peer(answers) as serving:
        transport = AiohttpTransport(cut_at=65536)
        statuses = [(await transport.send(request(serving.url))).status for _ in range(4)]
        await transport.close()
        assert (statuses, serving.connections) == ([200] * 4, 1)


@asynccontextmanager
async def _cut(answer: bytes, rest: bytes) -> AsyncIterator[tuple[AiohttpTransport, Peer]]:
    """A transport that needs only the status, and a peer that says ``answer``, and then ``rest`` without end."""
    ended = asyncio.Event()

    async def answers(serving: Peer, connection: Connection) -> None:
        await serving.whole(connection)
        await connection.say(answer)
        with suppress(ConnectionError):
            while rest:
                await connection.say(rest)
        await ended.wait()

    async with peer(answers) as serving:
        transport = AiohttpTransport(20.0, cut_at=65536)
        try:
            yield transport, serving
        finally:
            ended.set()
            await transport.close()


# --- kept connections -------------------------------------------------------------------------------------------------


def kept(transport: AiohttpTransport) -> bool:
    """Whether the transport holds a connection that it takes for open."""
    assert transport._session is not None
    assert transport._session.connector is not None
    return any(
        connection.is_connected() for each in transport._session.connector._conns.values() for connection, _ in each
    )


async def test_an_idle_connection_seen_closing_is_replaced() -> None:
    """When the loop has seen the server close, the next request takes a new connection."""
    closed = asyncio.Event()

    async def answers_once(serving: Peer, connection: Connection) -> None:
        await serving.whole(connection)
        await connection.say(OK)
        connection.writer.close()
        await connection.writer.wait_closed()
        closed.set()

    async with peer(answers_once) as serving, a_transport() as transport:
        await transport.send(request(serving.url))
        await closed.wait()
        while kept(transport):  # noqa: ASYNC110 - the end of the connection is on its way through the loop
            await asyncio.sleep(0)
        response = await transport.send(request(serving.url))
        assert response.status == 200
        assert serving.connections == 2
