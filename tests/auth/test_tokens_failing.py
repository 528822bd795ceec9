"""Renewals that fail: nobody is locked out, and nothing is asked again and again."""

import asyncio
import logging
from datetime import timedelta

import pytest

from gotsurge_async.auth.stores import MemoryStore, Tokens
from gotsurge_async.auth.tokens import LONGEST_CALL, LONGEST_CLOSE, LONGEST_WAIT
from gotsurge_async.errors import (
    BadRequest,
    CallError,
    NotSent,
    OutcomeUnknown,
    RateLimited,
)
from tests.auth.kit import DAY, FIRST, Rig, pair, rig

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
    """A store that fails on demand."""

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


async def test_a_caller_does_not_wait_for_ever() -> None:
    """After a minute without a new token a call fails; the renewal goes on, and its token is used."""
    async with rig() as made:
        await made.end_of_life()
        made.service.open.clear()
        waiter = asyncio.create_task(made.manager.bearer())
        await made.clock.advance(LONGEST_WAIT - 1)
        assert not waiter.done()
        await made.clock.advance(1)
        with pytest.raises(NotSent, match="no new one arrived within 60 s"):
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
        with pytest.raises(OutcomeUnknown, match="no complete answer within 120 s"):
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
