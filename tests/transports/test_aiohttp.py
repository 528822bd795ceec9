"""`gotsurge_async.transports.aiohttp`: what each failure of aiohttp proves."""

import platform
import ssl
import subprocess
import sys
import traceback
from unittest.mock import Mock

import aiohttp
import pytest
from aioresponses import aioresponses
from yarl import URL

from gotsurge_async.transports.aiohttp import AiohttpTransport
from gotsurge_async.transports.base import MaybeSent, NothingSent, Request, Response, Transport, TransportError

TOKEN = "planted-token"
PATH = "planted-path"
READS_AFTER_A_REQUEST = """
import asyncio, resource, socket
from contextlib import suppress
from gotsurge_async.transports.aiohttp import AiohttpTransport
from gotsurge_async.transports.base import NothingSent, Request

async def request() -> None:
    transport = AiohttpTransport()
    with suppress(NothingSent):  # nobody listens there
        await transport.send(Request(method="GET", url="http://127.0.0.1:9/"))
    await transport.close()

asyncio.run(request())
left, right = socket.socketpair()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(1000):
    left.send(b"{}")
    right.recv(256 * 1024)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
URL_TEXT = f"https://api.example/{PATH}"
POST = Request(method="POST", url=URL_TEXT, headers={"Authorization": f"Bearer {TOKEN}"}, body=b"{}")
KEY = Mock(host="api.example", port=443, is_ssl=True, ssl=True)
INFO = aiohttp.RequestInfo(URL(URL_TEXT), "POST", Mock(__repr__=lambda _: TOKEN), URL(URL_TEXT))
REFUSED = ConnectionRefusedError(111, "Connection refused")
UNVERIFIED = ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed certificate")

FAILURES = [
    (aiohttp.ClientConnectorError(KEY, REFUSED), NothingSent, "no connection: Connection refused"),
    (
        aiohttp.ClientConnectorDNSError(KEY, OSError(None, "Name or service not known")),
        NothingSent,
        "no connection: Name or service not known",
    ),
    (aiohttp.ClientConnectorSSLError(KEY, OSError(1, "wrong version number")), NothingSent, "wrong version number"),
    (aiohttp.ClientConnectorCertificateError(KEY, UNVERIFIED), NothingSent, "self-signed certificate"),
    (aiohttp.ClientProxyConnectionError(KEY, REFUSED), NothingSent, "Connection refused"),
    (aiohttp.ConnectionTimeoutError("Connection timeout to host"), NothingSent, "no connection in time"),
    (aiohttp.InvalidURL(URL_TEXT), NothingSent, "the URL cannot be used"),
    (aiohttp.ServerDisconnectedError(), MaybeSent, "closed the connection before it answered"),
    (aiohttp.ClientOSError(104, "Connection reset by peer"), MaybeSent, "broke: Connection reset by peer"),
    (aiohttp.ClientConnectionResetError("Cannot write to closing transport"), MaybeSent, "the connection broke"),
    (aiohttp.SocketTimeoutError("Timeout on reading data"), MaybeSent, "no answer in time"),
    (aiohttp.ServerTimeoutError(), MaybeSent, "no answer in time"),
    (TimeoutError(), MaybeSent, "no answer in time"),
    (aiohttp.ClientPayloadError("not enough data"), MaybeSent, "the answer was cut off"),
    (aiohttp.ClientResponseError(INFO, (), status=400, message="bad"), MaybeSent, "the answer is not HTTP"),
    (aiohttp.ClientConnectionError("Connector is closed"), MaybeSent, "broke: ClientConnectionError"),
    (BrokenPipeError(32, "Broken pipe"), MaybeSent, "broke: Broken pipe"),
    (ValueError("something new"), MaybeSent, "broke: something new"),
]


async def send(request: Request) -> Response:
    """Send one request with a transport of its own."""
    transport: Transport = AiohttpTransport()
    try:
        return await transport.send(request)
    finally:
        await transport.close()


@pytest.mark.parametrize(("failure", "verdict", "reason"), FAILURES, ids=lambda value: type(value).__name__)
async def test_a_failure_is_raised_as_what_it_proves(
    http: aioresponses, failure: Exception, verdict: type[TransportError], reason: str
) -> None:
    """Only a connection that was never made is "nothing sent"; all else is "maybe sent", in words without a secret."""
    http.post(URL_TEXT, exception=failure)
    with pytest.raises(TransportError) as caught:
        await send(POST)
    assert type(caught.value) is verdict
    assert reason in caught.value.reason
    assert caught.value.reason == str(caught.value)
    text = "".join(traceback.format_exception(caught.value))
    assert TOKEN not in text
    assert PATH not in text
    assert caught.value.__cause__ is caught.value.__context__ is None


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\x00b", "tok\u2028en", "naïve\u20ac", "\udcff"])
async def test_a_header_that_http_has_no_place_for_is_never_sent(value: str) -> None:
    """A token with a line break, a control character or anything beyond ASCII is "nothing sent", and is not shown."""
    with pytest.raises(NothingSent, match="a header contains a character") as caught:
        await send(Request(method="POST", url="http://127.0.0.1:9/", headers={"Authorization": value}))
    assert value not in str(caught.value)


@pytest.mark.parametrize("url", ["http://", "https://host:port/x", "https://[::1/x", "ftp://127.0.0.1/x", "/x", ""])
async def test_a_url_that_cannot_be_used_is_never_sent(url: str) -> None:
    """What is no URL of HTTP is "nothing sent"."""
    with pytest.raises(NothingSent, match="the URL cannot be used"):
        await send(Request(method="POST", url=url, body=b"{}"))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="how glibc gives memory back")
def test_reading_does_not_map_memory_anew_for_each_answer() -> None:
    """After the first request, blocks of the size that asyncio reads into are used again: no page faults for each."""
    command = [sys.executable, "-c", READS_AFTER_A_REQUEST]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert int(ran.stdout) < 500  # else 2 for each read
