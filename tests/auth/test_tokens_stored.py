"""Tokens and their store: what other processes put there, and a pair that it does not take."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from gotsurge_async.auth.stores import MemoryStore, Tokens
from gotsurge_async.errors import (
    BadRequest,
    SignInNeeded,
)
from gotsurge_async.secrets import Secret
from tests.auth.kit import DAY, FIRST, LIFE, Rig, pair, rig


async def test_what_another_process_renewed_is_taken_over() -> None:
    """Of two processes that find the token ended one renews, and the other reads what that one stored."""
    async with rig() as made:
        other = made.another()
        assert await other.bearer() == FIRST
        await made.end_of_life()
        one, two = await asyncio.gather(made.manager.bearer(), other.bearer())
        assert one == two == Secret("planted-bearer-1")
        assert len(made.service.calls) == 1
        await other.close()


async def test_the_background_takes_over_as_well() -> None:
    """Two processes with background renewals make one call a round."""
    async with rig(started=True) as made:
        other = made.another(seed=8)
        other.start()
        await made.clock.advance(60 * DAY)
        assert len(made.service.calls) == 2
        await other.close()


async def test_a_sign_in_elsewhere_is_noticed() -> None:
    """When the account was refused here and signed in by another process, the next call has the new token."""
    async with rig() as made:
        made.service.failure = BadRequest("", operation="auth.refresh", status=401, code="invalid_grant")
        await made.end_of_life()
        with pytest.raises(SignInNeeded):
            await made.manager.bearer()
        other = made.another()
        await other.adopt(pair(50, made.clock.now()))
        assert (await made.manager.bearer()).reveal() == "planted-bearer-50"


class SlowStore(MemoryStore):
    """A store whose writes wait to be let through."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.open.set()

    async def replace(self, account: str, old: Tokens, new: Tokens) -> bool:
        await self.open.wait()
        return await super().replace(account, old, new)


async def test_tokens_are_stored_before_they_are_used() -> None:
    """Nobody gets a new token before it is stored: a crash never loses one that the service has seen."""
    store = SlowStore()
    made = Rig(store)
    await made.manager.adopt(pair(0, made.clock.now()))
    await made.end_of_life()
    store.open.clear()
    waiter = asyncio.create_task(made.manager.bearer())
    await made.clock.settle()
    assert len(made.service.calls) == 1
    assert not waiter.done()
    assert await made.manager.current() == pair(0, made.clock.now() - LIFE)
    store.open.set()
    assert (await waiter).reveal() == "planted-bearer-1"
    assert await store.load("default") == await made.manager.current()
    await made.manager.close()


class FullStore(MemoryStore):
    """A store that takes no new tokens while its disk is full."""

    full = False

    async def replace(self, account: str, old: Tokens, new: Tokens) -> bool:
        if self.full:
            raise OSError("the disk is full")
        return await super().replace(account, old, new)


@asynccontextmanager
async def full_rig(started: bool = False) -> AsyncIterator[tuple[Rig, FullStore]]:
    """A manager with a new pair that its store did not take; the service knows the old refresh token no more."""
    store = FullStore()
    made = Rig(store)
    made.service.rotates = True
    await made.manager.adopt(pair(0, made.clock.now()))
    if started:
        made.manager.start()
    store.full = True
    if started:
        await made.clock.advance(25 * DAY)
    else:
        await made.end_of_life()
    assert (await made.manager.bearer()).reveal() == "planted-bearer-1"
    assert await store.load("default") == pair(0, made.clock.now() - (timedelta(days=25) if started else LIFE))
    yield made, store
    await made.manager.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("started", [True, False])
async def test_a_pair_that_cannot_be_stored_is_kept_and_stored_later(
    started: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """New tokens are used although the store does not take them, this is logged, and they are stored when it does."""
    async with full_rig(started) as (made, store):
        (record,) = [each for each in caplog.records if "kept in memory" in each.message][:1]
        assert (record.levelno, "the disk is full" in record.message) == (logging.ERROR, True)
        caplog.clear()
        for _ in range(10):
            await made.clock.advance(3600)
            assert (await made.manager.bearer()).reveal() == "planted-bearer-1"
        assert 1 < len(caplog.records) <= 20
        store.full = False
        await made.clock.advance(3600)
        await made.manager.bearer()
        await made.clock.settle()
        stored = await store.load("default")
        assert stored is not None
        assert (stored.bearer, stored.refresh) == (Secret("planted-bearer-1"), Secret("planted-refresh-1"))
        assert made.service.calls == ["planted-refresh-0"]
        assert "are stored now" in caplog.text
        assert "planted" not in caplog.text


async def test_a_pair_that_is_only_kept_is_renewed_as_well() -> None:
    """While the store fails for months the newest refresh token is used, and the newest pair is stored in the end."""
    async with full_rig() as (made, store):
        await made.end_of_life()
        assert (await made.manager.bearer()).reveal() == "planted-bearer-2"
        assert made.service.calls == ["planted-refresh-0", "planted-refresh-1"]
        store.full = False
    stored = await store.load("default")
    assert stored is not None
    assert stored.refresh == Secret("planted-refresh-2")


async def test_closing_tries_to_store_what_is_only_kept(caplog: pytest.LogCaptureFixture) -> None:
    """`close` stores a kept pair; if that fails too, it says that a person must sign in again."""
    async with full_rig() as (_, store):
        store.full = False
    stored = await store.load("default")
    assert stored is not None
    assert stored.bearer == Secret("planted-bearer-1")
    assert "are lost" not in caplog.text
    async with full_rig() as (_, store):
        pass
    assert "could not be stored, and are lost: sign in again" in caplog.text


async def test_a_sign_in_elsewhere_goes_before_a_kept_pair() -> None:
    """Tokens that somebody else stored meanwhile stay, and are used when ours are stale."""
    async with full_rig() as (made, store):
        await made.another().adopt(pair(50, made.clock.now()))
        store.full = False
        await made.clock.advance(60)
        await made.manager.bearer()
        await made.clock.settle()
        assert await made.manager.bearer() == Secret("planted-bearer-50")
        assert await store.load("default") == await made.manager.current()


async def test_a_refusal_is_kept_like_a_pair() -> None:
    """A refresh token that the service refuses is SignInNeeded, also when the store cannot take this down."""
    async with full_rig() as (made, _):
        made.service.failure = BadRequest("", operation="auth.refresh", status=400, code="invalid_grant")
        await made.end_of_life()
        for _ in range(3):
            with pytest.raises(SignInNeeded):
                await made.manager.bearer()
        assert len(made.service.calls) == 2
