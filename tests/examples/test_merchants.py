"""The service of examples/merchants.py: every one of its addresses is opened."""

import asyncio
import base64
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gotsurge_async.auth.sealing import new_key
from gotsurge_async.simulator import Fault, Simulator
from tests.support.browser import Pages, consent
from tests.support.commands import EXAMPLES
from tests.support.serving import Program, a_free_url

PROGRAM = EXAMPLES / "merchants.py"
TOKEN = "a-secret-that-nobody-guesses"
ORDER = {
    "tracking_id": "CALL-7-ROPE",
    "from_address": {"street_address": "7 Loyang Way"},
    "from_time_window": {"start_time_utc": "2030-03-04T04:00:00Z", "end_time_utc": "2030-03-04T06:00:00Z"},
    "to_address": {"street_address": "Marina South Pier"},
    "broadcast_preference": "marine",
    "vehicle_preference": "van_1.7m",
    "service_type": "ftl",
    "price": 4850000,
    "currency": "SGD",
    "client_time_utc": "2030-03-01T04:00:00Z",
}


@pytest.fixture
async def service(simulator: Simulator, tmp_path: Path) -> AsyncIterator[Program]:
    text = PROGRAM.read_text(encoding="utf-8")
    (tmp_path / "merchants.py").write_text(text, encoding="utf-8")
    url = a_free_url()
    keys = simulator.accounts["plain"]
    variables = {
        "GOTSURGE_ENV": "local",
        "GOTSURGE_API_BASE": simulator.api_base,
        "GOTSURGE_CLIENT_KEY": keys.client_key,
        "GOTSURGE_SECRET_KEY": keys.secret_key,
        "GOTSURGE_TOKEN_KEYS": new_key(),
        "PUBLIC_URL": url,
        "HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    for name in ("ACME", "BORNEO"):
        variables |= {f"{name}_PASSWORD": f"password-of-{name}", f"{name}_WEBHOOK_TOKEN": f"{TOKEN}-{name}"}
    options = ("--timeout-graceful-shutdown", "5")
    service = Program("merchants:app", tmp_path, os.environ | variables, url, options)
    await service.start("/")
    try:
        yield service
    finally:
        await service.strike()


@asynccontextmanager
async def logged_in(name: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A merchant's browser."""
    login = base64.b64encode(f"{name}:password-of-{name.upper()}".encode()).decode()
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar, headers={"Authorization": f"Basic {login}"}) as session:
        yield session


async def sign_in(service: Program, name: str) -> None:
    """Consent by the pages, as a merchant does from the page that shows the link."""
    async with logged_in(name) as session:
        pages = Pages(session)
        await pages.go(service.url)
        assert (pages.status, "/gotsurge/start" in pages.text) == (200, True)
        await pages.go(await consent(pages, f"{service.url}/gotsurge/start"))
        assert (pages.status, pages.url) == (200, f"{service.url}/")


async def post(service: Program, name: str, **changes: Any) -> tuple[int, str]:
    """Post an order for a merchant."""
    async with logged_in(name) as session, session.post(f"{service.url}/orders", json=ORDER | changes) as answer:
        return answer.status, await answer.text()


async def where(service: Program, name: str) -> tuple[int, Any]:
    """Ask where the order is."""
    url = f"{service.url}/orders/{ORDER['tracking_id']}"
    async with logged_in(name) as session, session.get(url) as answer:
        return answer.status, await answer.json()


@pytest.mark.slow
async def test_two_merchants_use_every_page(simulator: Simulator, service: Program) -> None:
    """Each consents, sends and asks for their own; an order of the same name of the other is another order."""
    status, text = await post(service, "acme")
    assert (status, "sign in to GotSurge first" in text) == (503, True), text
    for name in ("acme", "borneo"):
        await sign_in(service, name)
    tasks = {}
    for name in ("acme", "borneo"):
        status, text = await post(service, name)
        assert status == 201, text
        assert (await post(service, name)) == (201, text)
        tasks[name] = (await where(service, name))[1]["task_id"]
    assert len(set(tasks.values())) == len(simulator.tasks()) == 2
    assert (await post(service, "acme", price="cheap"))[0] == 422
    assert (await post(service, "acme", price=5000000))[0] == 409
    async with aiohttp.ClientSession() as stranger:
        for path, refused in {
            "/": 401,
            "/orders/CALL-7-ROPE": 401,
            "/gotsurge/start": 403,
            "/gotsurge/callback?code=x": 400,
            "/gotsurge/else": 404,
        }.items():
            async with stranger.get(service.url + path) as answer:
                assert answer.status == refused, path
        async with stranger.post(f"{service.url}/webhooks/acme/{TOKEN}-BORNEO", json={}) as answer:
            assert answer.status == 404
    simulator.set_webhook(f"{service.url}/webhooks/borneo/{TOKEN}-BORNEO")
    simulator.move(tasks["borneo"], "accepted")
    async with asyncio.timeout(20):
        while (await where(service, "borneo"))[1]["status"] != "accepted":  # noqa: ASYNC110 - another process is asked
            await asyncio.sleep(0.05)
    assert (await where(service, "acme"))[1]["status"] == "broadcasting"
    assert await service.strike() == -signal.SIGTERM  # uvicorn ends by the signal that it has taken


@pytest.mark.slow
async def test_it_ends_within_its_grace_time(simulator: Simulator, service: Program) -> None:
    """A call that gets no answer holds the end up for a bounded time, and its order is in doubt from then on."""
    await sign_in(service, "acme")
    simulator.order_fault(Fault(operation="tasks.create", when="after", kind="silent", times=1))
    posting = asyncio.create_task(post(service, "acme"))
    await simulator.called("tasks.create", times=1)
    async with asyncio.timeout(30):  # what a container has, commonly
        await service.strike()
    with suppress(aiohttp.ClientError):
        assert (await posting)[0] != 201
    await service.start("/")
    status, text = await post(service, "acme")
    assert (status, "not sent again" in text) == (202, True), text
    assert len(simulator.tasks()) == 1
