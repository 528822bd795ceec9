import asyncio

import aiohttp
import pytest

from gotsurge_async.simulator import Simulator

API, CONTROL, PAGE = "/api/partnership/v1/tasks/x", "/_simulator/audit", "/oauth2/auth"
BOARD = ("/", "/orders/x", "/board/parts?names=orders", "/board/board.js")


async def status(simulator: Simulator, path: str, verb: str = "GET", **headers: str) -> int:
    """What a request with these headers is answered."""
    async with (
        aiohttp.ClientSession() as session,
        session.request(verb, simulator.origin + path, headers=headers) as answer,
    ):
        return answer.status


@pytest.mark.parametrize("path", [API, CONTROL, PAGE, *BOARD])
@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:80",
        "127.0.0.1@evil.example",
        "[::1",
        "",
        "127.0.0.1/evil.example",
        "127.0.0.1#@evil.example",
        "localhost.",
        "2130706433",
    ],
)
async def test_a_foreign_host_is_refused(simulator: Simulator, path: str, host: str) -> None:
    """A name that somebody else pointed at this machine gets nothing: neither the API, nor the control, nor a page."""
    assert await status(simulator, path, Host=host) == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:1", "localhost", "LOCALHOST:8080", "[::1]:5"])
async def test_every_port_of_this_machine_is_served(simulator: Simulator, host: str) -> None:
    """The machine's own names are served with any port, so that a proxy on it may stand between."""
    assert await status(simulator, CONTROL, Host=host) == 200
    assert await status(simulator, API, Host=host) == 401


@pytest.mark.parametrize("origin", ["null", "", "https://evil.example", "http://127.0.0.1.evil.example", "file://"])
async def test_a_foreign_origin_is_refused(simulator: Simulator, origin: str) -> None:
    """A page of another site can neither turn the clock nor call the API, and is not counted."""
    simulator.advance(5)
    now = simulator.now()
    assert await status(simulator, "/_simulator/reset", "POST", Origin=origin) == 403
    for path in (API, *BOARD):
        assert await status(simulator, path, Origin=origin) == 403
    assert simulator.now() >= now
    assert simulator.audit()["calls"] == {}


@pytest.mark.parametrize(("address", "answered"), [("http://evil.example", b"403"), ("http://localhost:1", b"200")])
async def test_an_address_is_looked_at_as_well(simulator: Simulator, address: str, answered: bytes) -> None:
    """A request that names the whole address, as one to a proxy does, is refused where that is a foreign one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(simulator.origin.rpartition(":")[2]))
    writer.write(f"GET {address}{CONTROL} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    assert (await reader.readline()).split()[1] == answered
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("mode", ["no-cors", "cors"])
async def test_what_another_page_has_fetched_is_refused(simulator: Simulator, mode: str) -> None:
    """An image or a script of another site's page gets nothing; a link to a page is followed."""
    fetched = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode}
    for path in (CONTROL, "/_simulator/changes", API, *BOARD):
        assert await status(simulator, path, **fetched) == 403
    assert await status(simulator, CONTROL, **{**fetched, "Sec-Fetch-Site": "same-origin"}) == 200
    assert await status(simulator, PAGE, **{**fetched, "Sec-Fetch-Mode": "navigate"}) == 400
    assert await status(simulator, CONTROL, **fetched, Origin="http://localhost:3000") == 200


async def test_pages_of_this_machine_may_call(simulator: Simulator) -> None:
    """What is developed on this machine may call the simulator from its own pages."""
    for origin in ("http://localhost:3000", "https://127.0.0.1"):
        assert await status(simulator, "/_simulator/reset", "POST", Origin=origin) == 200
