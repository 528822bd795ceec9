"""`gotsurge_async.auth.tokens`: tokens that renew themselves, one refresh at a time."""

import asyncio
from datetime import timedelta

import attrs
import pytest

from gotsurge_async.auth.tokens import JITTER, REFRESH_AT
from gotsurge_async.errors import (
    BadRequest,
    ConfigError,
    Forbidden,
    Rejected,
    SignInNeeded,
)
from gotsurge_async.hooks import SignInRequired, TokenRefreshed
from gotsurge_async.secrets import Secret
from tests.auth.kit import DAY, FIRST, Rig, pair, rig

# --- for months -------------------------------------------------------------------------------------------------------


async def test_a_year_goes_by() -> None:
    """In the background each token is renewed at 75 to 80 % of its life, and every day there is one that works."""
    async with rig(started=True) as made:
        for day in range(365):
            await made.clock.advance(DAY)
            tokens = await made.manager.current()
            assert tokens is not None
            assert tokens.expires_at > made.clock.now() + timedelta(days=5), f"day {day}"
            assert await made.manager.bearer() == tokens.bearer
        steps = [later - earlier for earlier, later in zip([0.0, *made.service.at], made.service.at, strict=False)]
        assert all(30 * DAY * (REFRESH_AT - JITTER) <= step <= 30 * DAY * REFRESH_AT + 1 for step in steps)
        assert len(steps) == len([e for e in made.events if isinstance(e, TokenRefreshed)]) == len(set(steps)) == 15


async def test_managers_do_not_come_all_at_once() -> None:
    """The moments at which a fleet renews are spread."""
    moments = set()
    for seed in range(8):
        made = Rig()
        manager = made.another(seed)
        await manager.adopt(pair(0, made.clock.now()))
        manager.start()
        await made.clock.advance(25 * DAY)
        await manager.close()
        moments.add(made.service.at[0])
    assert len(moments) == 8


async def test_new_refresh_tokens_replace_the_old() -> None:
    """A service that gives a new refresh token each time is asked with the newest."""
    async with rig(started=True) as made:
        made.service.rotates = True
        await made.clock.advance(75 * DAY)
        assert made.service.calls == ["planted-refresh-0", "planted-refresh-1", "planted-refresh-2"]


async def test_a_token_alone_is_used_to_its_end() -> None:
    """Without a refresh token nothing is renewed, and after the end a person must sign in."""
    async with rig(started=True) as made:
        await made.manager.adopt(pair(1, made.clock.now(), refresh=None))
        await made.clock.advance(29.9 * DAY)
        assert (await made.manager.bearer()).reveal() == "planted-bearer-1"
        await made.clock.advance(0.1 * DAY)
        with pytest.raises(SignInNeeded, match="there is no refresh token"):
            await made.manager.bearer()
        assert made.service.calls == []


@pytest.mark.parametrize("started", [True, False])
async def test_an_aged_token_is_renewed_while_it_is_used(started: bool) -> None:
    """Past 80 % of its life a token is given out at once, and its renewal does not hold up anybody."""
    async with rig() as made:
        await made.clock.advance(25 * DAY)
        made.service.open.clear()
        if started:
            made.manager.start()
        assert await made.manager.bearer() == FIRST
        await made.clock.settle()
        assert len(made.service.calls) == 1
        assert await made.manager.bearer() == FIRST
        made.service.open.set()
        await made.clock.settle()
        assert (await made.manager.bearer()).reveal() == "planted-bearer-1"


# --- many who wait ----------------------------------------------------------------------------------------------------


async def test_a_thousand_waiters_are_one_refresh() -> None:
    """However many find the token ended, one call is made, and all get its token."""
    async with rig() as made:
        await made.end_of_life()
        got = await asyncio.gather(*(made.manager.bearer() for _ in range(1000)))
        assert {bearer.reveal() for bearer in got} == {"planted-bearer-1"}
        assert len(made.service.calls) == 1


async def test_a_cancelled_leader_does_not_take_the_others_along() -> None:
    """Who began the renewal may be cancelled: it goes on, once, for those who wait."""
    async with rig() as made:
        await made.end_of_life()
        made.service.open.clear()
        leader, *others = [asyncio.create_task(made.manager.bearer()) for _ in range(50)]
        await made.clock.settle()
        leader.cancel()
        for waiter in others[::2]:
            waiter.cancel()
        await made.clock.settle()
        assert leader.cancelled()
        made.service.open.set()
        got = await asyncio.gather(*others[1::2])
        assert {bearer.reveal() for bearer in got} == {"planted-bearer-1"}
        assert len(made.service.calls) == 1


async def test_nobody_waits_for_a_renewal_that_all_left() -> None:
    """When all who waited are gone the renewal is finished all the same, and its token kept."""
    async with rig() as made:
        await made.end_of_life()
        made.service.open.clear()
        waiter = asyncio.create_task(made.manager.bearer())
        await made.clock.settle()
        waiter.cancel()
        await made.clock.settle()
        made.service.open.set()
        await made.clock.settle()
        stored = await made.store.load("default")
        assert stored is not None
        assert stored.bearer.reveal() == "planted-bearer-1"


# --- refused tokens ---------------------------------------------------------------------------------------------------


async def test_a_refused_token_is_renewed() -> None:
    """After `invalidate` the next caller gets a new token, although the old one seemed good for weeks."""
    async with rig() as made:
        made.manager.invalidate(FIRST)
        assert (await made.manager.bearer()).reveal() == "planted-bearer-1"


async def test_a_late_refusal_spares_the_new_token() -> None:
    """A refusal of a token that was replaced meanwhile changes nothing."""
    async with rig() as made:
        made.manager.invalidate(FIRST)
        second = await made.manager.bearer()
        made.manager.invalidate(FIRST)
        assert await made.manager.bearer() == second
        assert len(made.service.calls) == 1


@pytest.mark.parametrize("code", ["invalid_grant", "invalid_token"])
async def test_a_refresh_token_that_is_refused_needs_a_person(code: str) -> None:
    """The token at hand is used to its end, then a call is SignInNeeded; it is reported once; a sign-in mends it."""
    async with rig(started=True) as made:
        made.service.failure = BadRequest("", operation="auth.refresh", status=400, code=code)
        await made.clock.advance(29 * DAY)
        assert await made.manager.bearer() == FIRST
        reports = [event for event in made.events if isinstance(event, SignInRequired)]
        assert [(each.account, each.works_until) for each in reports] == [
            ("default", made.clock.now() + timedelta(days=1))
        ]
        await made.clock.advance(2 * DAY)
        for _ in range(3):
            with pytest.raises(SignInNeeded, match="does not accept the refresh token: sign in again"):
                await made.manager.bearer()
        assert len(made.service.calls) <= 31 * 24
        made.service.failure = None
        await made.manager.adopt(pair(100, made.clock.now()))
        assert (await made.manager.bearer()).reveal() == "planted-bearer-100"
        calls = len(made.service.calls)
        await made.clock.advance(25 * DAY)
        assert len(made.service.calls) == calls + 1
        assert len([event for event in made.events if isinstance(event, SignInRequired)]) == 1


async def test_many_calls_do_not_ask_again_and_again_with_a_refused_token() -> None:
    """While a refused refresh token is all there is, a thousand calls are not a thousand refreshes."""
    async with rig() as made:
        made.service.failure = BadRequest("", operation="auth.refresh", status=401, code="invalid_grant")
        await made.clock.advance(25 * DAY)
        for _ in range(1000):
            assert await made.manager.bearer() == FIRST
            await asyncio.sleep(0)
        await made.clock.settle()
        assert len(made.service.calls) == 1


@pytest.mark.parametrize("refusal", [Forbidden("", status=403), BadRequest("", status=401, code="invalid_client")])
async def test_a_refusal_that_is_not_about_the_refresh_token_locks_nobody_out(refusal: Rejected) -> None:
    """A firewall's 403, or a client key that is not known, is an outage: nobody need sign in, and it is tried again."""
    async with rig(started=True) as made:
        made.service.failure = refusal
        await made.clock.advance(29 * DAY)
        assert await made.manager.bearer() == FIRST
        assert not [event for event in made.events if isinstance(event, SignInRequired)]
        made.service.failure = None
        await made.clock.advance(DAY / 2)
        assert await made.manager.bearer() != FIRST


# --- signing in, and the end ------------------------------------------------------------------------------------------


async def test_without_a_sign_in_there_is_no_token() -> None:
    """An account that never signed in is SignInNeeded by name, until it does; the background waits for that."""
    made = Rig()
    made.manager.start()
    await made.clock.advance(3 * DAY)
    with pytest.raises(SignInNeeded) as caught:
        await made.manager.bearer()
    assert caught.value.account == "default"
    assert await made.manager.current() is None
    await made.manager.adopt(pair(0, made.clock.now()))
    assert await made.manager.bearer() == FIRST
    await made.clock.advance(25 * DAY)
    assert len(made.service.calls) == 1
    await made.manager.close()


async def test_a_refresh_token_alone_is_enough() -> None:
    """Tokens whose bearer has ended at once, as a refresh token alone makes them, are renewed by the first call."""
    made = Rig()
    await made.manager.adopt(attrs.evolve(pair(0, made.clock.now(), timedelta(0)), bearer=Secret("")))
    assert (await made.manager.bearer()).reveal() == "planted-bearer-1"
    await made.manager.close()


@pytest.mark.parametrize(
    "odd", [" ", "a b", "a\r\nX-Header: 1", "\x00", "\N{LATIN SMALL LETTER E WITH ACUTE}", "a" * 20_000]
)
@pytest.mark.parametrize("field", ["bearer", "refresh"])
async def test_a_sign_in_with_no_token_is_refused(field: str, odd: str) -> None:
    """Texts that cannot be tokens are refused before they take the place of good ones, and not quoted."""
    async with rig() as made:
        with pytest.raises(ConfigError, match="visible ASCII") as caught:
            await made.manager.adopt(attrs.evolve(pair(1, made.clock.now()), **{field: Secret(odd)}))
        assert odd.strip() == "" or odd not in str(caught.value)
        assert await made.manager.bearer() == FIRST
        assert await made.store.load("default") == pair(0, made.clock.now())


async def test_tokens_are_renewed_on_demand() -> None:
    """`renew` renews whatever the age."""
    async with rig() as made:
        renewed = await made.manager.renew()
        assert renewed.bearer.reveal() == "planted-bearer-1"
        assert await made.manager.bearer() == renewed.bearer


async def test_closing_finishes_the_call_under_way() -> None:
    """A renewal whose call is on its way is waited for and stored: its token may be the only one that works."""
    made = Rig()
    made.service.rotates = True
    await made.manager.adopt(pair(0, made.clock.now()))
    await made.end_of_life()
    made.service.open.clear()
    waiter = asyncio.create_task(made.manager.bearer())
    await made.clock.settle()
    closing = asyncio.create_task(made.manager.close())
    await made.clock.settle()
    assert not closing.done()
    made.service.open.set()
    await closing
    assert (await waiter).reveal() == "planted-bearer-1"
    stored = await made.store.load("default")
    assert stored is not None
    assert stored.refresh == Secret("planted-refresh-1")
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_nothing_shows_a_token() -> None:
    """Neither the repr of tokens nor the events hold a secret."""
    async with rig(started=True) as made:
        await made.clock.advance(60 * DAY)
        assert "planted" not in f"{made.events} {await made.manager.current()!r}"


async def test_a_cancelled_renew_does_not_end_the_renewal() -> None:
    """The renewal is shared: another caller gets the tokens of the same request, though the first one gave up."""
    async with rig() as made:
        made.service.open.clear()
        first, second = (asyncio.create_task(made.manager.renew()) for _ in range(2))
        await made.clock.settle()
        first.cancel()
        await made.clock.settle()
        made.service.open.set()
        assert (await second).bearer.reveal() == "planted-bearer-1"
        assert first.cancelled()
        assert len(made.service.calls) == 1
