"""`gotsurge_async.transports.memory`: a transport without a network."""

import asyncio

import pytest

from gotsurge_async.transports.base import MaybeSent, NothingSent, Request, Response, Transport
from gotsurge_async.transports.memory import MemoryTransport

REQUEST = Request(method="GET", url="https://a.example/x")


async def test_a_script_is_played_in_order() -> None:
    """Answers are returned and exceptions raised one after the other, and each request is noted."""
    transport = MemoryTransport([Response(status=200), NothingSent("refused"), Response(status=404)])
    assert (await transport.send(REQUEST)).status == 200
    with pytest.raises(NothingSent, match="refused"):
        await transport.send(REQUEST)
    assert (await transport.send(REQUEST)).status == 404
    assert transport.sent == [REQUEST] * 3


async def test_a_script_that_has_run_out_says_so() -> None:
    """One request too many fails the test that sent it."""
    with pytest.raises(AssertionError, match="no scripted answer is left for Request"):
        await MemoryTransport([]).send(REQUEST)


async def test_a_plain_handler_answers() -> None:
    """A function of the request gives the answer, or raises."""

    def handle(request: Request) -> Response:
        if request.method == "GET":
            return Response(status=200, body=request.url.encode())
        raise MaybeSent("lost")

    transport = MemoryTransport(handle)
    assert (await transport.send(REQUEST)).body == b"https://a.example/x"
    with pytest.raises(MaybeSent, match="lost"):
        await transport.send(Request(method="POST", url="https://a.example/x"))


async def test_an_async_handler_answers() -> None:
    """A coroutine function may wait before it answers."""

    async def handle(_: Request) -> Response:
        await asyncio.sleep(0)
        return Response(status=202)

    assert (await MemoryTransport(handle).send(REQUEST)).status == 202


async def test_closing_is_noted() -> None:
    """It is a transport, and remembers that it was closed."""
    transport = MemoryTransport([])
    assert isinstance(transport, Transport)
    assert not transport.closed
    await transport.close()
    assert transport.closed


def test_header_names_of_an_answer_are_in_lower_case() -> None:
    """However a test writes a header's name, the answer has it in lower case; of a name that comes twice, the last."""
    response = Response(status=429, headers={"Retry-After": "3", "X-A": "1", "x-a": "2"})
    assert response.headers == {"retry-after": "3", "x-a": "2"}
