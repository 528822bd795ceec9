"""`gotsurge_async.testing.transport_suite`: whether a transport keeps the protocol."""

import asyncio
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import aiohttp
import pytest

from gotsurge_async.config import Timeouts
from gotsurge_async.testing import transport_suite
from gotsurge_async.testing.transport_suite import CASES, Case
from gotsurge_async.transports.aiohttp import AiohttpTransport
from gotsurge_async.transports.base import MaybeSent, NothingSent, Request, Response, Transport, TransportError
from tests.test_docs import ROOT, blocks

BY_NAME = {case.name: case for case in CASES}


def ours() -> AiohttpTransport:
    """The transport of this package, with short time-outs."""
    return AiohttpTransport(Timeouts(pool=5.0, connect=5.0, read=0.3))


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_the_transport_of_this_package_keeps_the_protocol(case: Case) -> None:
    """Every case holds for the transport over aiohttp."""
    await case.check(ours)


@pytest.fixture(scope="module")
def documented() -> Callable[[], Transport]:
    """The transport over httpx that docs/transports.md shows."""
    names: dict[str, Any] = {}
    for code in blocks(ROOT / "docs" / "transports.md"):
        if not code.co_flags & inspect.CO_COROUTINE:
            exec(code, names)  # noqa: S102 - our own page
    return partial(names["HttpxTransport"], timeout=0.5)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
async def test_the_transport_of_the_documents_keeps_the_protocol(
    case: Case, documented: Callable[[], Transport]
) -> None:
    """Every case holds for the transport that the documents show."""
    await case.check(documented)


class Wrapped:
    """The transport of this package with a fault of its own."""

    def __init__(self) -> None:
        self.inner = ours()

    async def send(self, request: Request) -> Response:
        return await self.inner.send(request)

    async def close(self) -> None:
        await self.inner.close()


class Failing(Wrapped):
    """Fails with another error, which may hang on one of a library below."""

    def __init__(self, error_of: Callable[[Request, TransportError], Exception], below: bool = False) -> None:
        super().__init__()
        self.error_of = error_of
        self.below = below

    async def send(self, request: Request) -> Response:
        try:
            return await self.inner.send(request)
        except TransportError as error:
            cause = ValueError(dict(request.headers)) if self.below else None
            raise self.error_of(request, error) from cause


class Eager(Wrapped):
    """Sends again by itself."""

    async def send(self, request: Request) -> Response:
        try:
            return await self.inner.send(request)
        except MaybeSent:
            return await self.inner.send(request)


class Strict(Wrapped):
    """Takes an answer of the service that says no for a failure."""

    async def send(self, request: Request) -> Response:
        answer = await self.inner.send(request)
        if answer.status >= 400:
            raise MaybeSent(f"HTTP {answer.status}")
        return answer


class Forgetful(Wrapped):
    """Loses the body of an answer."""

    async def send(self, request: Request) -> Response:
        answer = await self.inner.send(request)
        return Response(status=answer.status, headers=answer.headers)


class Follower(Wrapped):
    """Follows redirects."""

    async def send(self, request: Request) -> Response:
        answer = await self.inner.send(request)
        if 300 <= answer.status < 400 and (elsewhere := answer.headers.get("location")):
            return await self.inner.send(Request(method="GET", url=elsewhere, headers=request.headers))
        return answer


class Keeper(Wrapped):
    """Keeps cookies."""

    def __init__(self) -> None:
        super().__init__()
        self.cookie = ""

    async def send(self, request: Request) -> Response:
        headers = {**request.headers, **({"Cookie": self.cookie} if self.cookie else {})}
        answer = await self.inner.send(
            Request(method=request.method, url=request.url, headers=headers, body=request.body)
        )
        self.cookie = answer.headers.get("set-cookie", "")
        return answer


class Single(Wrapped):
    """Sends one request after the other, and gives up when it has to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = asyncio.Lock()

    async def send(self, request: Request) -> Response:
        if self.lock.locked():
            raise NothingSent("busy")
        async with self.lock:
            return await self.inner.send(request)


class Stubborn(Wrapped):
    """Takes a cancellation for a failure."""

    async def send(self, request: Request) -> Response:
        try:
            return await self.inner.send(request)
        except asyncio.CancelledError:
            raise MaybeSent("cancelled") from None


class Decoding(Wrapped):
    """Writes the path anew."""

    async def send(self, request: Request) -> Response:
        url = request.url.replace("%2F", "/")
        return await self.inner.send(
            Request(method=request.method, url=url, headers=request.headers, body=request.body)
        )


class Whole(Wrapped):
    """Reads an answer to its end, whatever its size."""

    async def send(self, request: Request) -> Response:
        async with aiohttp.ClientSession() as session, session.post(request.url, data=request.body) as answer:
            return Response(status=answer.status, headers=answer.headers, body=await answer.read())


class Patient(Wrapped):
    """Ends its requests before it closes."""

    def __init__(self) -> None:
        super().__init__()
        self.sending: set[asyncio.Future[Response]] = set()

    async def send(self, request: Request) -> Response:
        sending = asyncio.ensure_future(self.inner.send(request))
        self.sending.add(sending)
        return await asyncio.shield(sending)

    async def close(self) -> None:
        try:
            for sending in self.sending:
                await asyncio.wait([sending])
        finally:
            for sending in self.sending:
                sending.cancel()
            await self.inner.close()


class Undead(Wrapped):
    """Goes on sending after it was closed."""

    closed = False

    async def send(self, request: Request) -> Response:
        if not self.closed:
            return await self.inner.send(request)
        another = ours()
        try:
            return await another.send(request)
        finally:
            await another.close()

    async def close(self) -> None:
        self.closed = True
        await self.inner.close()


LOST = "a server that closes after the whole request may have got a POST"


@pytest.mark.parametrize(
    ("make", "found_by"),
    [
        pytest.param(partial(Failing, lambda _, error: NothingSent(error.reason)), LOST, id="Optimist"),
        pytest.param(
            partial(Failing, lambda _, error: MaybeSent(error.reason)),
            "a refused connection sends nothing",
            id="Pessimist",
        ),
        (Eager, LOST),
        pytest.param(
            partial(Failing, lambda request, error: type(error)(f"{request.url} {dict(request.headers)}")),
            LOST,
            id="Talkative",
        ),
        pytest.param(partial(Failing, lambda _, error: type(error)("broken"), below=True), LOST, id="Chained"),
        pytest.param(partial(Failing, lambda *_: ConnectionError("broken")), LOST, id="Vague"),
        pytest.param(partial(Failing, lambda *_: TransportError("broken")), LOST, id="Undecided"),
        (Strict, "every status is an answer"),
        (Forgetful, "an answer is read whole in every form"),
        (Follower, "redirects are not followed"),
        (Keeper, "cookies are not kept"),
        (Single, "many requests are in flight at once"),
        (Stubborn, "a cancellation passes through"),
        (Decoding, "what is given is sent as it is"),
        (Whole, "an answer that is too large is not read"),
        (Patient, "an answer that never ends holds nothing up"),
        (Undead, "a closed transport sends nothing"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_wrong_transport_is_found(
    make: Callable[[], Transport], found_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each way of breaking the protocol fails the case that is about it."""
    monkeypatch.setattr(transport_suite, "_LONGEST", 0.5)
    with pytest.raises(AssertionError):
        await BY_NAME[found_by].check(make)


def test_every_case_has_a_name_of_its_own() -> None:
    """By its name a case is found."""
    assert len(BY_NAME) == len(CASES)
