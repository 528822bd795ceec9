"""The transport over aiohttp: bytes out, bytes in, and for each failure the certain conclusion.

Only a connection that was never made proves that nothing was processed. A failure on a connection does not: a server
may have read the whole request before it closed, reset, stalled or answered with garbage, and may read a request later
that the client gave up. So the narrow classes are tested first, and everything unforeseen counts as "maybe sent". A
kept connection that has ended before a byte was written to it is no failure: another one takes the request.
"""

import asyncio
import os
import select
import sys
from contextlib import suppress
from functools import partial
from typing import Any
from weakref import WeakSet

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from gotsurge_async.config import Timeouts, settings_of
from gotsurge_async.errors import ConfigError
from gotsurge_async.starting import pattern
from gotsurge_async.transports.base import MAX_ANSWER, MaybeSent, NothingSent, Request, Response, TransportError

__all__ = ["AiohttpTransport"]

ENVIRONMENT = "environment"
"""The setting for the proxy that the environment variables name."""

BODY_SECONDS = 1.0
"""Seconds that a body may take if only the status counts: its connection can be kept only when it has ended."""

_HEADER = pattern(r"[\t -~]*")

_USED: WeakSet[object] = WeakSet()
"""The protocols of connections that have carried a request."""


class AiohttpTransport:
    """Sends requests with one `aiohttp.ClientSession`, made at the first request and owned by the transport.

    TLS is checked with the system's certificates. Redirects are not followed, and cookies not kept: a token goes to the
    API base and nowhere else. A proxy only carries the encrypted connection (CONNECT); plain http goes to this
    machine alone, and never through one.

    Args:
        timeouts: see `Timeouts`; a number is the ``total`` of a try in seconds. An idle connection is dropped after
            ``timeouts.keepalive`` seconds, well before the server would: a request that meets a connection just closed
            looks exactly like one that was lost. A kept connection is also checked just before each request is written.
        proxy: its URL, ``http://[USER:PASSWORD@]HOST:PORT``; ``environment``: the one that HTTPS_PROXY or ALL_PROXY
            name, unless NO_PROXY names the host; None for no proxy.
        cut_at: for callers that need only the status. An answer counts as soon as its head has arrived, and its body
            is empty. After this many bytes of the answer, or `BODY_SECONDS` after its head, the connection is closed.
            Unless given, an answer of more than 64 MiB is a failure.

    Raises:
        ConfigError: ``proxy``, or the environment's, is not a proxy's URL; or a time-out is not a number of seconds.
    """

    def __init__(
        self,
        timeouts: Timeouts | float | None = None,
        *,
        proxy: str | None = ENVIRONMENT,
        cut_at: int | None = None,
    ) -> None:
        self._timeouts: Timeouts = settings_of(Timeouts, timeouts, "timeouts", "total")
        if proxy == ENVIRONMENT:
            proxy_of_environment("")  # so that a fault of it is reported now
        self._cut_at = cut_at
        self._proxy = proxy if proxy in (None, ENVIRONMENT) else checked_proxy(proxy)
        self._proxies: dict[str, URL | None] = {}
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def send(self, request: Request) -> Response:
        """Send one request and read its answer to the end.

        Raises:
            NothingSent: no connection could be made.
            MaybeSent: anything later.
        """
        url = _checked_url(request)
        while True:
            session = self._open()
            try:
                async with session.request(
                    request.method,
                    url,
                    data=request.body,
                    headers=request.headers,
                    allow_redirects=False,
                    proxy=self._proxy_for(url),
                ) as answer:
                    body = await (_read(answer) if self._cut_at is None else _pass_over(answer))
                    return Response(status=answer.status, headers=answer.headers, body=body)
            except _StaleConnectionError:
                continue  # with another connection: nothing was written, and this one is closed
            except TransportError:
                raise
            except (aiohttp.ClientError, OSError, ValueError) as error:
                failure = _classify(error)
                break
        # Out here, so that it has no context: the library's exceptions carry the request, and so the token.
        raise failure

    def _proxy_for(self, url: URL) -> URL | None:
        if self._proxy is None or url.scheme != "https" or not url.host:
            return None
        if not isinstance(self._proxy, str):
            return self._proxy
        if url.host not in self._proxies:
            self._proxies[url.host] = proxy_of_environment(url.host)
        return self._proxies[url.host]

    async def close(self) -> None:
        """Close the session. Requests in flight end as "maybe sent": drain first."""
        self._closed = True
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._closed:
            raise NothingSent("the transport is closed")
        if self._session is None:
            _keep_read_buffers()
            limits = self._timeouts
            # The limiter limits the connections; a second queue here would only hide waiting.
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=limits.keepalive)
            if self._cut_at is not None:
                # There is no public way to count what comes outside of bodies; tests over real sockets check this one.
                protocol: Any = _Cut
                connector._factory = partial(protocol, asyncio.get_running_loop(), self._cut_at)
            self._session = aiohttp.ClientSession(
                connector=connector,
                auto_decompress=self._cut_at is None,
                timeout=aiohttp.ClientTimeout(
                    total=limits.total, connect=limits.pool, sock_connect=limits.connect, sock_read=limits.read
                ),
                request_class=_Request,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
            # aiohttp repeats GET, PUT and DELETE when a connection breaks, and the server may act twice. There is no
            # public switch; tests over real sockets check this one.
            self._session._retry_connection = False
        return self._session


class _StaleConnectionError(aiohttp.ClientError):
    """A kept connection ended before a byte of the request was written."""


class _Request(aiohttp.ClientRequest):
    """A request that checks a kept connection immediately before it writes."""

    _is_stale = False

    async def send(self, conn: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        """Write the request, or raise `_StaleConnectionError` without having written a byte."""
        protocol = conn.protocol  # a connection that breaks meanwhile has none
        if isinstance(protocol, _Cut):
            protocol.size = 0
        if not self.body and _is_stale(conn):  # with a body, `write_bytes` checks
            raise _StaleConnectionError
        answer = await super().send(conn)
        if sys.version_info < (3, 12):
            await asyncio.sleep(0)  # here `write_bytes` begins in the next turn of the loop, elsewhere it has begun
        if self._is_stale:
            raise _StaleConnectionError
        _USED.add(protocol)
        return answer

    async def write_bytes(
        self, writer: Any, conn: aiohttp.connector.Connection, content_length: int | None = None
    ) -> None:
        """Write headers and body, which aiohttp has held back until now."""
        self._is_stale = _is_stale(conn)
        if self._is_stale:
            conn.close()
        else:
            await super().write_bytes(writer, conn, content_length)


def _is_stale(conn: aiohttp.connector.Connection) -> bool:
    """Whether a kept connection has ended, or holds bytes that are not an answer to the next request."""
    protocol, transport = conn.protocol, conn.transport
    if protocol not in _USED:
        return False
    if protocol is None or transport is None or protocol.should_close or transport.is_closing():
        return True
    if not hasattr(select, "poll"):  # Windows
        return False
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0))


def checked_proxy(proxy: str | None) -> URL:
    """The URL of a proxy. The message of the ConfigError for another text does not show it: it may hold a password."""
    with suppress(ValueError, TypeError):
        url = URL(proxy or "")
        if url.scheme in ("http", "https") and url.host and url.port is not None:
            return url
    raise ConfigError("give a proxy as http://HOST:PORT or https://HOST:PORT (a SOCKS proxy cannot be used)", "E113")


def proxy_of_environment(host: str) -> URL | None:
    """The proxy that the environment names for https to a host: of HTTPS_PROXY or ALL_PROXY, in any case of letters.

    Raises ConfigError if the variable does not hold a proxy's URL.
    """
    if not any(name.lower() in ("https_proxy", "all_proxy") and value for name, value in os.environ.items()):
        return None
    # Imported here: it loads half of the standard library's HTTP, and few have a proxy.
    from urllib.request import getproxies, proxy_bypass

    proxies = getproxies()
    named = proxies.get("https") or proxies.get("all")
    if not named or proxy_bypass(host):
        return None
    try:
        return checked_proxy(named if "://" in named else f"http://{named}")
    except ConfigError as error:
        raise ConfigError(f"HTTPS_PROXY or ALL_PROXY: {error}", "E113") from None


def _keep_read_buffers() -> None:
    """Make the C library keep the blocks that asyncio reads into, 256 KiB for each read however small the answer.

    glibc gives a block of that size back to the system at once, and maps and clears a new one for the next read, until
    a larger one has been freed. Most processes never free one, and pay some 20 us a call. Elsewhere this does nothing.
    """
    bytes(2048 * 1024)


def _checked_url(request: Request) -> URL:
    """The URL, if it and the headers can be sent at all: later the failure would count as "maybe sent"."""
    texts = "".join(request.headers.values())
    if not (texts.isascii() and texts.isprintable()) and not _HEADER.fullmatch(texts):
        raise NothingSent("a header contains a character that HTTP does not allow: check the token", "E304")
    url = None
    try:
        # The path is percent-encoded already; yarl must not decode "%2F" in it.
        url = URL(request.url, encoded=True)
        port = url.port  # parsed when it is asked for
    except ValueError:
        port = None
    if url is None or port is None:
        raise NothingSent("the URL cannot be used")
    return url


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    if (answer.content_length or 0) <= MAX_ANSWER:
        content, blocks, size = answer.content, [], 0
        while not content.at_eof() and size <= MAX_ANSWER:
            block = await content.readany()
            blocks.append(block)
            size += len(block)
        if size <= MAX_ANSWER:
            return blocks[0] if len(blocks) == 1 else b"".join(blocks)
    answer.close()
    raise MaybeSent(f"the answer is larger than {MAX_ANSWER} bytes")


async def _pass_over(answer: aiohttp.ClientResponse) -> bytes:
    """Read the body and drop it; close the connection if the body does not end well."""
    with suppress(Exception):
        async with asyncio.timeout(BODY_SECONDS):
            while not answer.content.at_eof():
                await answer.content.readany()
            return b""
    answer.close()
    return b""


class _Cut(ResponseHandler):
    """A connection that is closed when an answer, with its headers, has more bytes than allowed."""

    def __init__(self, loop: asyncio.AbstractEventLoop, most: int) -> None:
        super().__init__(loop=loop)
        self._most = most
        self.size = 0
        """Bytes of the present answer."""

    def data_received(self, data: bytes) -> None:
        """Receive bytes, and close the connection when the answer is too large."""
        super().data_received(data)
        self.size += len(data)
        if self.size > self._most and self.transport is not None:
            transport = self.transport
            self.set_exception(MaybeSent(f"the answer is larger than {self._most} bytes"))
            transport.abort()


def _classify(error: Exception) -> TransportError:
    reason = _reason(error)
    match error:
        case aiohttp.ClientHttpProxyError():  # it answers CONNECT, before anything of the request
            return NothingSent(f"the proxy refused the connection: HTTP {error.status}", "E113")
        case aiohttp.ConnectionTimeoutError():
            return NothingSent(f"no connection in time: {reason}")
        case aiohttp.ClientConnectorError():  # refused, DNS, TLS; a child of ClientOSError, which proves nothing
            return NothingSent(f"no connection: {reason}")
        case aiohttp.InvalidURL() | aiohttp.InvalidUrlClientError() | aiohttp.NonHttpUrlClientError():
            return NothingSent("the URL cannot be used")
        case aiohttp.ServerDisconnectedError():
            return MaybeSent("the server closed the connection before it answered")
        case aiohttp.ClientPayloadError():
            return MaybeSent("the answer was cut off")
        case aiohttp.ClientResponseError():  # carries a status of aiohttp's own making: it is not the server's
            return MaybeSent("the answer is not HTTP")
        case asyncio.TimeoutError():
            return MaybeSent("no answer in time")
        case _:
            return MaybeSent(f"the connection broke: {reason}")


def _reason(error: Exception) -> str:
    """The message of the operating system or TLS, without the library's rendering of host, URL and headers."""
    inner = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
    if isinstance(inner, OSError) and inner.strerror:
        return str(inner.strerror)
    return type(inner).__name__ if isinstance(inner, aiohttp.ClientError) else str(inner)[:200]
