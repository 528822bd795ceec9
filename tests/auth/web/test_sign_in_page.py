"""The applications of docs/sign-in.md, as they are printed: each of their addresses is opened."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async.simulator import Simulator
from gotsurge_async.testing import simulated
from tests.auth.web.test_many_merchants import BASE, browser
from tests.support.browser import consent
from tests.support.serving import on_aiohttp_web, on_uvicorn
from tests.test_docs import blocks

PAGE = Path(__file__).parents[3] / "docs" / "sign-in.md"


@asynccontextmanager
async def in_aiohttp(names: dict[str, Any], listener: socket.socket) -> AsyncIterator[None]:
    """The application of aiohttp.web."""
    async with on_aiohttp_web(names["app"], listener):
        yield


@asynccontextmanager
async def in_starlette(names: dict[str, Any], listener: socket.socket) -> AsyncIterator[None]:
    """The ASGI application."""
    async with on_uvicorn(names["asgi"], listener):
        yield


@pytest.mark.parametrize("served", [in_aiohttp, in_starlette])
async def test_each_page_is_there(served: Callable[..., Any]) -> None:
    """A consent signs the page's account in, and the page that waits for a session id is shown."""
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with Simulator() as simulator, simulated(simulator=simulator) as gs:
            names: dict[str, Any] = {"gs": gs}
            for block in blocks(PAGE, {BASE: base}):
                if {"sign_in_routes", "SignInApp"} & {*block.co_names}:
                    exec(block, names)  # noqa: S102 - our own page
            async with served(names, listener), browser({}) as pages:
                back = await consent(pages, f"{base}/gotsurge/start")
                assert back.startswith(f"{base}/gotsurge/callback?")
                await pages.go(back, follow=False)
                assert (pages.status, pages.location) == (303, "/")
                await pages.go(f"{base}/gotsurge/receive-session")
                assert (pages.status, "Signing you in" in pages.text) == (200, True)
            assert await gs.as_account("acme").tokens.current()
