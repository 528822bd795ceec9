"""`gotsurge_async.client`: how a client signs in, and the accounts that share it."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from gotsurge_async import (
    MemoryStore,
    NotSent,
    RetryPolicy,
    Secret,
    SignInNeeded,
    Tokens,
    UsageError,
)
from gotsurge_async.errors import ClientClosed
from gotsurge_async.testing import ManualClock
from gotsurge_async.transports.memory import MemoryTransport
from tests.support.clients import KEYS, make, others, serve
from tests.support.orders import NOW, answer


async def test_a_code_signs_in() -> None:
    """The code is exchanged, the tokens are stored under the account, and used."""
    transport, store = MemoryTransport(serve), MemoryStore()
    options = {"bearer_token": None, "credentials": KEYS, "token_store": store, "account": "shop"}
    async with make(transport, **options) as gs:
        with pytest.raises(SignInNeeded):
            await gs.tasks.get("t")
        await gs.sign_in("planted-code")
        await gs.tasks.get("t")
    assert transport.sent[1].headers["Authorization"] == "Bearer planted-new"
    stored = await store.load("shop")
    assert stored is not None
    assert stored.refresh == Secret("planted-refresh")
    async with make(transport, **options) as again:
        await again.tasks.get("u")
    assert transport.sent[2].headers["Authorization"] == "Bearer planted-new"


async def test_signing_in_needs_an_open_client() -> None:
    """Before opening and after closing a sign-in is refused, and its code not used up."""
    transport = MemoryTransport(serve)
    gs = make(transport, credentials=KEYS)
    with pytest.raises(ClientClosed):
        await gs.sign_in("planted-code")
    async with gs:
        pass
    with pytest.raises(ClientClosed):
        await gs.sign_in("planted-code")
    assert transport.sent == []


async def test_a_refresh_token_alone_is_enough() -> None:
    """Without a bearer token the first call fetches one."""
    transport = MemoryTransport(serve)
    async with make(transport, bearer_token=None, refresh_token="planted-old", credentials=KEYS) as gs:
        await gs.tasks.get("t")
    assert [request.url.rpartition("/v1")[2] for request in transport.sent] == ["/oauth2/refresh", "/tasks/t"]
    assert transport.sent[1].headers["Authorization"] == "Bearer planted-new"


async def test_the_token_renews_itself_in_the_background() -> None:
    """An open client renews its token at about 80 % of its life, without a call."""
    transport, clock = MemoryTransport(serve), ManualClock()
    async with make(transport, refresh_token="planted-refresh", credentials=KEYS, clock=clock):
        await clock.advance(25 * 86_400)
        assert [request.url.rpartition("/v1")[2] for request in transport.sent] == ["/oauth2/refresh"]


async def test_closing_does_not_wait_for_the_next_try_of_a_renewal() -> None:
    """A renewal that waits for its next try is given up at once when the client is closed, and so is who needs it."""
    transport, clock = MemoryTransport(lambda _: answer({}, 503)), ManualClock()
    options: dict[str, Any] = {"refresh_token": "planted-old", "credentials": KEYS, "retry": RetryPolicy()}
    async with make(transport, bearer_token=None, clock=clock, **options) as gs:
        calling = asyncio.create_task(gs.tasks.get("t"))
        await clock.settle()
        assert clock.sleepers
        await gs.close()
        with pytest.raises(NotSent, match=r"no token could be fetched for the request: auth\.refresh: HTTP 503"):
            await calling
    assert clock.monotonic() == 0
    assert [request.url.rpartition("/v1")[2] for request in transport.sent] == ["/oauth2/refresh"]
    assert not others()


async def test_an_account_can_be_released() -> None:
    """Nothing of it stays in memory, its stored tokens do; asked for again it begins anew, and is renewed again."""
    store, clock = MemoryStore(), ManualClock()
    async with make(token_store=store, clock=clock) as gs:
        await clock.settle()
        before = others()
        names = [f"shop-{number}" for number in range(300)]
        for name in names:
            await gs.adopt(name, Tokens(bearer=Secret(name), issued_at=NOW, expires_at=NOW + timedelta(days=30)))
        await clock.settle()
        assert len(others()) == len(before)
        acme = gs.as_account("shop-7")
        for name in names:
            await gs.release(name)
        with pytest.raises(ClientClosed):
            await acme.tasks.get("t")
        assert gs.as_account("shop-7") is not acme
        await gs.as_account("shop-7").tasks.get("t")
        assert set(await store.accounts()) == {"default", *names}
        await gs.release("default")  # stays
        await gs.release("nobody")
        await gs.tasks.get("t")
    assert not others()


async def test_accounts_share_a_client() -> None:
    """Another account has tokens of its own, and the connections, limits and end of the client."""
    transport, store = MemoryTransport(serve), MemoryStore()
    async with make(transport, token_store=store) as gs:
        acme = gs.as_account("acme")
        assert gs.as_account("acme") is acme
        assert acme.as_account("default") is gs
        with pytest.raises(SignInNeeded) as caught:
            await acme.tasks.get("t")
        assert caught.value.account == "acme"
        await gs.adopt("acme", Tokens(bearer=Secret("b-acme"), issued_at=NOW, expires_at=NOW + timedelta(days=30)))
        await acme.tasks.get("t")
        await gs.tasks.get("t")
        assert [request.headers["Authorization"] for request in transport.sent] == [
            "Bearer b-acme",
            "Bearer planted-bearer",
        ]
        with pytest.raises(UsageError, match="the client that made it opens and closes it"):
            await acme.open()
        await acme.close()
        await acme.tasks.get("u")
    with pytest.raises(ClientClosed):
        await acme.tasks.get("t")
    assert not others()
