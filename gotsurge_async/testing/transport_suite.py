"""Cases that every transport must pass, over real sockets of this machine.

For the tests of a transport of your own, with pytest and pytest-asyncio::

    import pytest
    from gotsurge_async.testing.transport_suite import CASES, Case

    @pytest.mark.parametrize("case", CASES, ids=str)
    async def test_it_keeps_the_protocol(case: Case) -> None:
        await case.check(lambda: MyTransport(timeout=0.5))

Give the transport short time-outs, half a second or so: some of the servers say nothing. A requirement that
is not met is an AssertionError with the expectation.
"""

import asyncio
import gzip
import socket
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Literal, TypeAlias

import attrs

from gotsurge_async.testing.peers import OK, Behaviour, Connection, Peer, peer
from gotsurge_async.transports.base import (
    MAX_ANSWER,
    MaybeSent,
    NothingSent,
    Request,
    Response,
    Transport,
    TransportError,
)

__all__ = ["CASES", "Case"]

Make: TypeAlias = Callable[[], Transport]
"""Makes a new transport; called inside a running event loop. The case closes it."""

TOKEN = "planted-token"  # noqa: S105 - it is to be found where it must not be
PATH = "planted-path"
BODY: bytes = b'{"tasks":[' + b" " * 32_000 + b"]}"
_LONGEST = 30.0
"""Seconds that a transport may take for what should end by its own time-outs."""
_ANSWER = b'{"tasks":[]}'


@attrs.frozen
class Case:
    """One requirement of every transport.

    Attributes:
        name: the requirement, in a few words.
    """

    name: str
    _run: Callable[[Make], Awaitable[None]] = attrs.field(repr=False)

    def __str__(self) -> str:
        return self.name

    async def check(self, make: Make) -> None:
        """Check a transport.

        Raises:
            AssertionError: the transport does not fulfil the requirement.
        """
        try:
            await self._run(make)
        except TransportError as error:
            raise AssertionError(f"it failed where a whole answer came: {type(error).__name__}: {error}") from error


def request(url: str, verb: str = "POST") -> Request:
    """Make a request with a secret in its path and its headers, and 32 KB of body if its verb has one."""
    return Request(
        method=verb,
        url=f"{url}/{PATH}",
        headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
        body=None if verb == "GET" else BODY,
    )


@asynccontextmanager
async def _open(make: Make) -> AsyncIterator[Transport]:
    transport = make()
    try:
        yield transport
    finally:
        await transport.close()
        await transport.close()  # twice does nothing


async def failure(transport: Transport, sent: Request) -> TransportError:
    """Send a request that must fail with an error of the protocol; neither it nor its causes may show a secret."""
    try:
        async with asyncio.timeout(_LONGEST):
            answer = await transport.send(sent)
    except TransportError as error:
        failed = error
    except TimeoutError:
        raise AssertionError(f"the call did not end within {_LONGEST:g} s: give it shorter time-outs") from None
    except Exception as error:
        raise AssertionError(f"it raised {type(error).__name__}, which the protocol does not know") from error
    else:
        raise AssertionError(f"it answered {answer.status} where there was no whole answer")
    assert type(failed) is not TransportError, "it says neither NothingSent nor MaybeSent"
    shown = "".join(traceback.format_exception(failed))
    assert TOKEN not in shown, "its error, or one that hangs on it, shows the token"
    assert PATH not in shown, "its error, or one that hangs on it, shows the path"
    return failed


# --- no connection: certainly not sent --------------------------------------------------------------------------------


async def _refused(make: Make) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with _open(make) as transport:
            error = await failure(transport, request(f"http://127.0.0.1:{unused.getsockname()[1]}"))
    assert isinstance(error, NothingSent), "nobody listens there: nothing was sent"


async def _plain_port(make: Make) -> None:
    async def answers(_: Peer, connection: Connection) -> None:
        await connection.reader.read(1)
        await connection.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with peer(answers) as serving, _open(make) as transport:
        error = await failure(transport, request(serving.url.replace("http", "https")))
    assert isinstance(error, NothingSent), "TLS failed before anything of the request was sent"


async def _closed(make: Make) -> None:
    async with peer(says(OK)) as serving:
        async with _open(make) as transport:
            await transport.send(request(serving.url))
        error = await failure(transport, request(serving.url))
        assert isinstance(error, NothingSent), "a transport that is closed sends nothing"
        assert len(serving.requests) == 1


# --- a connection that breaks: maybe sent -----------------------------------------------------------------------------


Read = Literal["nothing", "head", "part", "all"]
End = Literal["close", "reset", "wait"]


def does(read: Read, say: bytes = b"", end: End = "close") -> Behaviour:
    """Return a behaviour that reads some of a request, answers, and closes, resets, or waits for the other end."""

    async def behaviour(serving: Peer, connection: Connection) -> None:
        if read == "all":
            await serving.whole(connection)
        elif read != "nothing":
            head = await connection.head()
            if read == "part" and not head.startswith(b"GET"):
                await connection.reader.readexactly(1000)
        if say:
            await connection.say(say)
        if end == "reset":
            connection.reset()
        elif end == "wait":
            await asyncio.Event().wait()

    return behaviour


def says(data: bytes) -> Behaviour:
    """Return a behaviour that reads everything, answers and closes."""
    return does("all", data)


_PACKED = gzip.compress(_ANSWER)
_BREAKING: Sequence[tuple[str, Read, bytes, End]] = (
    ("closes at once", "nothing", b"", "close"),
    ("resets at once", "nothing", b"", "reset"),
    ("closes after the headers", "head", b"", "close"),
    ("resets in the middle of the body", "part", b"", "reset"),
    ("closes after the whole request", "all", b"", "close"),
    ("resets after the whole request", "all", b"", "reset"),
    ("says nothing", "all", b"", "wait"),
    ("stops in the middle of the answer", "all", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{", "wait"),
    ("closes in the answer's headers", "all", b"HTTP/1.1 200 OK\r\nContent-Le", "close"),
    ("closes in the answer's body", "all", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "close"),
    ("closes in a chunk", "all", b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a"', "close"),
    ("sends no chunk", "all", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot a length\r\n", "close"),
    (
        "packs nothing",
        "all",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 7\r\n\r\nnothing",
        "close",
    ),
    ("talks no HTTP", "all", b"GARBAGE instead of HTTP\r\n\r\n", "close"),
)
VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def _breaking(read: Read, say: bytes, end: End, verb: str) -> Callable[[Make], Awaitable[None]]:
    async def run(make: Make) -> None:
        async with peer(does(read, say, end)) as serving, _open(make) as transport:
            error = await failure(transport, request(serving.url, verb))
            assert isinstance(error, MaybeSent), "there was a connection: the request may have been processed"
            assert serving.connections == 1, "it sent the request again by itself"
            assert len(serving.requests) == (read == "all")

    return run


async def _kept_connection_breaks(make: Make) -> None:
    async def breaks_at_the_second(serving: Peer, connection: Connection) -> None:
        await serving.whole(connection)
        await connection.say(OK)
        await serving.whole(connection)

    for verb in VERBS:
        async with peer(breaks_at_the_second) as serving, _open(make) as transport:
            await transport.send(request(serving.url, verb))
            error = await failure(transport, request(serving.url, verb))
            assert isinstance(error, MaybeSent), f"{verb}: it may have been processed"
            assert len(serving.requests) == 2, f"{verb}: it was sent again by itself when a kept connection broke"


def _arriving() -> tuple[asyncio.Event, Behaviour]:
    """An event that is set when a request was read, and the behaviour of a server that never answers it."""
    arrived = asyncio.Event()

    async def behaviour(serving: Peer, connection: Connection) -> None:
        await serving.whole(connection)
        arrived.set()
        await asyncio.Event().wait()

    return arrived, behaviour


async def _closed_in_flight(make: Make) -> None:
    arrived, behaviour = _arriving()
    async with peer(behaviour) as serving, _open(make) as transport:
        sending = asyncio.create_task(failure(transport, request(serving.url)))
        await arrived.wait()
        await transport.close()
        assert isinstance(await sending, MaybeSent), "what was in flight when it was closed may be processed"


async def _cancelled(make: Make) -> None:
    arrived, behaviour = _arriving()
    async with peer(behaviour) as serving, _open(make) as transport:
        sending = asyncio.ensure_future(transport.send(request(serving.url)))
        await arrived.wait()
        sending.cancel()
        await asyncio.wait([sending])
        assert sending.cancelled(), "a cancellation passes through"


# --- answers ----------------------------------------------------------------------------------------------------------


async def _statuses(make: Make) -> None:
    for status in (200, 204, 302, 400, 401, 404, 408, 429, 500, 503):
        body = b"" if status == 204 else b"so"
        answer = b"HTTP/1.1 %d Said\r\nContent-Length: %d\r\nX-Said: Yes\r\n\r\n%b" % (status, len(body), body)
        async with peer(says(answer)) as serving, _open(make) as transport:
            response = await transport.send(request(serving.url))
            assert (response.status, response.body) == (status, body), f"{status} is an answer like any other"
            assert response.headers["x-said"] == "Yes"
            assert serving.connections == 1, f"{status} was not the end of it"


async def _forms(make: Make) -> None:
    for answer in (
        b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n" + _ANSWER,
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"tas\r\n7\r\nks":[]}\r\n0\r\n\r\n',
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(_PACKED), _PACKED),
        b"HTTP/1.0 200 OK\r\n\r\n" + _ANSWER,
    ):
        async with peer(says(answer)) as serving, _open(make) as transport:
            assert (await transport.send(request(serving.url))).body == _ANSWER, f"read as {answer[:60]!r}…"


async def _bytes(make: Make) -> None:
    sent = b'{"a":"\xc3\xa9"}'
    async with peer(says(OK)) as serving, _open(make) as transport:
        url = f"{serving.url}/a%2Fb%20c?x=%26"
        await transport.send(Request(method="PATCH", url=url, headers={"X-A": "1"}, body=sent))
    (seen,) = serving.requests
    assert seen.startswith(b"PATCH /a%2Fb%20c?x=%26 HTTP/1.1\r\n"), "verb and path go out as they are written"
    assert b"\r\nx-a: 1\r\n" in seen.lower()
    assert seen.endswith(b"\r\n\r\n" + sent), "the body goes out as it is, and once"


async def _redirects(make: Make) -> None:
    async with peer(says(OK)) as other:
        for status in (301, 302, 303, 307, 308):
            answer = f"HTTP/1.1 {status} Moved\r\nLocation: {other.url}/\r\nContent-Length: 0\r\n\r\n".encode()
            async with peer(says(answer)) as serving, _open(make) as transport:
                response = await transport.send(request(serving.url))
            assert response.status == status
        assert not other.connections, "a redirect was followed: the token went elsewhere"


async def _too_large(make: Make) -> None:
    unpacked = bytes(MAX_ANSWER + 1)
    packed = gzip.compress(unpacked)
    for encoding, body in ((b"identity", unpacked), (b"gzip", packed)):
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (encoding, len(body))
        async with peer(says(head + body)) as serving, _open(make) as transport:
            error = await failure(transport, request(serving.url))
            assert isinstance(error, MaybeSent), f"it was processed: the answer is only too large ({encoding!r})"


async def _drips(make: Make) -> None:
    dripping = asyncio.Event()

    async def drips(serving: Peer, connection: Connection) -> None:
        await serving.whole(connection)
        await connection.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            await connection.say(b" ")
            dripping.set()
            await asyncio.sleep(0.01)

    async with peer(drips) as serving:
        transport = make()
        sending = asyncio.ensure_future(transport.send(request(serving.url)))
        try:
            async with asyncio.timeout(_LONGEST):
                await dripping.wait()
                sending.cancel()
                await asyncio.wait([sending])
                await transport.close()
        except TimeoutError:
            raise AssertionError("an answer that never ends holds up a cancellation, or the closing") from None
        assert sending.cancelled(), "a cancellation passes through, also while an answer comes"


async def _cookies(make: Make) -> None:
    async def answers_with_a_cookie(serving: Peer, connection: Connection) -> None:
        while True:
            await serving.whole(connection)
            await connection.say(OK.replace(b"\r\n", b"\r\nSet-Cookie: planted-cookie=1\r\n", 1))

    async with peer(answers_with_a_cookie) as serving, _open(make) as transport:
        for _ in range(2):
            await transport.send(request(serving.url))
    assert b"planted-cookie" not in serving.requests[1], "a cookie was kept and sent back"


async def _at_once(make: Make) -> None:
    """Check that sixteen requests can be in flight together: the limiter, not the transport, decides how many are."""
    together, count = asyncio.Event(), 16

    async def waits_for_all(serving: Peer, connection: Connection) -> None:
        await serving.whole(connection)
        if len(serving.requests) == count:
            together.set()
        await together.wait()
        await connection.say(OK)

    async with peer(waits_for_all) as serving, _open(make) as transport:
        try:
            async with asyncio.timeout(_LONGEST):
                answers = await asyncio.gather(*(transport.send(request(serving.url)) for _ in range(count)))
        except (TransportError, TimeoutError):
            raise AssertionError(f"it does not carry {count} requests at once") from None
    assert [answer.status for answer in answers] == [200] * count


async def _kind(make: Make) -> None:
    async with _open(make) as transport:
        assert isinstance(transport, Transport), "it has no async send and close"
    async with peer(says(OK)) as serving, _open(make) as transport:
        assert isinstance(await transport.send(request(serving.url)), Response), "it answers with a Response"


CASES: tuple[Case, ...] = (
    Case("it is a transport", _kind),
    Case("a refused connection sends nothing", _refused),
    Case("TLS that fails sends nothing", _plain_port),
    Case("a closed transport sends nothing", _closed),
    *(
        Case(f"a server that {name} may have got a {verb}", _breaking(read, say, end, verb))
        for name, read, say, end in _BREAKING
        for verb in (("GET", "POST") if end == "wait" else VERBS)
    ),
    Case("a kept connection that breaks is not used twice", _kept_connection_breaks),
    Case("what is in flight when it is closed may have been sent", _closed_in_flight),
    Case("a cancellation passes through", _cancelled),
    Case("every status is an answer", _statuses),
    Case("an answer is read whole in every form", _forms),
    Case("what is given is sent as it is", _bytes),
    Case("an answer that is too large is not read", _too_large),
    Case("an answer that never ends holds nothing up", _drips),
    Case("redirects are not followed", _redirects),
    Case("cookies are not kept", _cookies),
    Case("many requests are in flight at once", _at_once),
)
"""All requirements."""
