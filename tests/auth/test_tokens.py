"""`gotsurge_async.auth.tokens`: tokens that renew themselves, one refresh at a time."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from random import Random

import attrs
import pytest

from gotsurge_async.auth.stores import MemoryStore, Tokens
from gotsurge_async.auth.tokens import JITTER, LONGEST_CALL, LONGEST_CLOSE, LONGEST_WAIT, REFRESH_AT, TokenManager
from gotsurge_async.errors import (
    BadRequest,
    CallError,
    ConfigError,
    Forbidden,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    SignInNeeded,
)
from gotsurge_async.hooks import Event, Hooks, SignInRequired, TokenRefreshed
from gotsurge_async.secrets import Secret
from gotsurge_async.testing import ManualClock

DAY = 86_400.0
LIFE = timedelta(days=30)
FIRST = Secret("planted-bearer-0")


def pair(number: int, issued_at: datetime, life: timedelta = LIFE, refresh: str | None = "planted-refresh-0") -> Tokens:
    """The tokens of a renewal."""
    return Tokens(
        bearer=Secret(f"planted-bearer-{number}"), refresh=refresh, issued_at=issued_at, expires_at=issued_at + life
    )


class Service:
    """What gives new tokens: counts, can be slow, and can fail."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.calls: list[str] = []
        self.at: list[float] = []
        self.failure: CallError | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.life = LIFE
        self.rotates = False

    async def refresh(self, token: Secret) -> Tokens:
        """Give the next token."""
        self.calls.append(token.reveal())
        self.at.append(self.clock.monotonic())
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        number = len(self.calls)
        refresh = f"planted-refresh-{number}" if self.rotates else token.reveal()
        return pair(number, self.clock.now(), self.life, refresh)


class Rig:
    """A manager with its clock, its store and its service."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.clock = ManualClock()
        self.service = Service(self.clock)
        self.store = store or MemoryStore()
        self.events: list[Event] = []
        self.manager = self.another()

    def another(self, seed: int = 7) -> TokenManager:
        """Another manager on the same store, as another process has it."""
        return TokenManager(
            self.store,
            self.service.refresh,
            clock=self.clock,
            hooks=Hooks(self.events.append),
            random=Random(seed),
        )

    async def end_of_life(self) -> None:
        """Let so much time pass that the first token has ended."""
        await self.clock.advance(30 * DAY)


@asynccontextmanager
async def rig(started: bool = False) -> AsyncIterator[Rig]:
    """A manager whose account has signed in just now; in the end it leaves no task."""
    made = Rig()
    await made.manager.adopt(pair(0, made.clock.now()))
    if started:
        made.manager.start()
    yield made
    await made.manager.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


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
    """The token at hand is used to its end, then a call is SignInNeeded; it is told once; a sign-in mends it."""
    async with rig(started=True) as made:
        made.service.failure = BadRequest("", operation="auth.refresh", status=400, code=code)
        await made.clock.advance(29 * DAY)
        assert await made.manager.bearer() == FIRST
        told = [event for event in made.events if isinstance(event, SignInRequired)]
        assert [(each.account, each.works_until) for each in told] == [
            ("default", made.clock.now() + timedelta(days=1))
        ]
        await made.clock.advance(2 * DAY)
        for _ in range(3):
            with pytest.raises(SignInNeeded, match="does not take the refresh token: sign in again"):
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


# --- a service that fails ---------------------------------------------------------------------------------------------

FAILURES = [
    NotSent("refused", operation="auth.refresh"),
    OutcomeUnknown("lost", operation="auth.refresh"),
    RateLimited("", operation="auth.refresh", status=429),
    BadRequest("", operation="auth.refresh", status=404),
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda error: type(error).__name__)
async def test_an_outage_of_days_does_no_harm(failure: CallError) -> None:
    """Renewals that fail in the background are tried again, patiently, and no caller notices while the token lasts."""
    async with rig(started=True) as made:
        made.service.failure = failure
        for _ in range(28):
            await made.clock.advance(DAY)
            assert await made.manager.bearer() == FIRST
        tried = len(made.service.calls)
        assert 4 < tried < 1500
        made.service.failure = None
        await made.clock.advance(DAY)
        assert (await made.manager.bearer()).reveal() == f"planted-bearer-{tried + 1}"


@pytest.mark.parametrize("failure", FAILURES, ids=lambda error: type(error).__name__)
async def test_a_token_that_ended_in_an_outage_says_what_failed(failure: CallError) -> None:
    """A caller whose token has ended gets the failure of the renewal, and a little later one tries anew."""
    async with rig() as made:
        await made.end_of_life()
        made.service.failure = failure
        waiter = asyncio.create_task(made.manager.bearer())
        await made.clock.advance(100)
        with pytest.raises(type(failure)):
            await waiter
        made.service.failure = None
        await made.clock.advance(1)
        assert (await made.manager.bearer()).reveal().startswith("planted-bearer-")


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("failure", FAILURES, ids=lambda error: type(error).__name__)
async def test_calls_do_not_renew_again_and_again(failure: CallError, ended: bool) -> None:
    """Thousands of calls within an outage are a renewal a minute once the token has ended, and one an hour before."""
    async with rig() as made:
        made.service.failure = failure
        await made.clock.advance(31 * DAY if ended else 25 * DAY)
        for _ in range(6 * 60):
            for _ in range(10):
                if ended:
                    with pytest.raises(type(failure)):
                        await made.manager.bearer()
                else:
                    assert await made.manager.bearer() == FIRST
            await made.clock.advance(60)
        assert len(made.service.calls) <= (6 * 60 * 2 if ended else 20)
        made.service.failure = None
        await made.manager.adopt(pair(500, made.clock.now()))
        assert (await made.manager.bearer()).reveal() == "planted-bearer-500"


async def test_a_failure_gets_louder_as_the_end_nears(caplog: pytest.LogCaptureFixture) -> None:
    """The log of a failed renewal is information at first, and an error in the last day, without a secret."""
    caplog.set_level(logging.DEBUG)
    async with rig(started=True) as made:
        made.service.failure = NotSent("refused", operation="auth.refresh")
        await made.clock.advance(29.9 * DAY)
    levels = [record.levelno for record in caplog.records if "was not renewed" in record.message]
    assert levels == sorted(levels)
    assert {logging.INFO, logging.WARNING, logging.ERROR} == set(levels)
    assert "planted" not in caplog.text


class FaultyStore(MemoryStore):
    """A store that fails while it is told to."""

    fails = False

    async def load(self, account: str) -> Tokens | None:
        if self.fails:
            raise OSError("the disk is gone")
        return await super().load(account)


async def test_the_background_outlives_a_store_that_fails() -> None:
    """Whatever the store raises, the background renewal goes on when it is over."""
    made = Rig(FaultyStore())
    assert isinstance(made.store, FaultyStore)
    await made.manager.adopt(pair(0, made.clock.now()))
    made.manager.start()
    made.store.fails = True
    await made.clock.advance(26 * DAY)
    made.store.fails = False
    assert made.service.calls == []
    await made.clock.advance(DAY)
    assert len(made.service.calls) == 1
    await made.manager.close()


@pytest.mark.slow
@pytest.mark.parametrize("started", [True, False])
async def test_a_clock_that_is_wrong_does_not_hammer(started: bool) -> None:
    """New tokens that seem to have ended already are used all the same, and renewed no more than once a minute."""
    async with rig(started=started) as made:
        made.service.life = timedelta(days=-400)
        await made.end_of_life()
        before = len(made.service.calls)
        for _ in range(60):
            for _ in range(10):
                assert (await made.manager.bearer()).reveal().startswith("planted-bearer-")
            await made.clock.advance(60)
        assert len(made.service.calls) - before <= 62


# --- other processes --------------------------------------------------------------------------------------------------


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
    """New tokens are used although the store does not take them, this is told, and they are stored when it does."""
    async with full_rig(started) as (made, store):
        (told,) = [each for each in caplog.records if "kept in memory" in each.message][:1]
        assert (told.levelno, "the disk is full" in told.message) == (logging.ERROR, True)
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


# --- a renewal without an end -----------------------------------------------------------------------------------------


async def test_a_caller_does_not_wait_for_ever() -> None:
    """After a minute without a new token a call fails; the renewal goes on, and its token is used."""
    async with rig() as made:
        await made.end_of_life()
        made.service.open.clear()
        waiter = asyncio.create_task(made.manager.bearer())
        await made.clock.advance(LONGEST_WAIT - 1)
        assert not waiter.done()
        await made.clock.advance(1)
        with pytest.raises(NotSent, match="no new one came in 60 s"):
            await waiter
        made.service.open.set()
        await made.clock.settle()
        assert (await made.manager.bearer()).reveal() == "planted-bearer-1"
        assert len(made.service.calls) == 1


async def test_a_renewal_that_trickles_is_ended() -> None:
    """The call of a renewal is given up after two minutes, and another one is made after a pause."""
    async with rig() as made:
        await made.end_of_life()
        made.service.open.clear()
        waiters = [asyncio.create_task(made.manager.bearer())]
        await made.clock.advance(LONGEST_CALL - 1)
        waiters.append(asyncio.create_task(made.manager.bearer()))
        await made.clock.advance(1)
        with pytest.raises(NotSent):
            await waiters[0]
        with pytest.raises(OutcomeUnknown, match="no whole answer in 120 s"):
            await waiters[1]
        assert len(made.service.calls) == 1
        made.service.open.set()
        await made.clock.advance(1)
        assert (await made.manager.bearer()).reveal() == "planted-bearer-2"


async def test_closing_does_not_wait_for_ever() -> None:
    """`close` gives a renewal ten seconds; who waited for it gets an error, and no task is left."""
    async with rig() as made:
        await made.end_of_life()
        made.service.open.clear()
        waiter = asyncio.create_task(made.manager.bearer())
        await made.clock.settle()
        closing = asyncio.create_task(made.manager.close())
        await made.clock.advance(LONGEST_CLOSE - 1)
        assert not closing.done()
        await made.clock.advance(1)
        await closing
        with pytest.raises(NotSent, match="closed"):
            await waiter


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
