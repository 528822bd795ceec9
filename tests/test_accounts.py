"""Many accounts in one client, and a year in its life, over real HTTP."""

import asyncio
import logging
import pickle
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from gotsurge_async import Credentials, Environment, GotSurge, Limits, MemoryStore, NotFound, SignInNeeded, UsageError
from gotsurge_async.errors import ClientClosed
from gotsurge_async.hooks import ChunkDone, Event, RequestDone, SignInRequired, TokenRefreshed
from gotsurge_async.simulator import Simulator, SimulatorOptions
from gotsurge_async.testing import ManualClock
from tests.support.orders import order

DAY = 86_400.0
NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["opaque", "jwt"])
async def simulator(request: pytest.FixtureRequest, clock: ManualClock) -> AsyncIterator[Simulator]:
    async with Simulator(options=SimulatorOptions(tokens=request.param), clock=clock) as simulator:
        yield simulator


def client(simulator: Simulator, clock: ManualClock, events: list[Event], store: MemoryStore | None = None) -> GotSurge:
    """A client of the simulator's plain partner."""
    keys = simulator.accounts["plain"]
    return GotSurge(
        Environment.named("local", api_base=simulator.api_base),
        credentials=Credentials(client_key=keys.client_key, secret_key=keys.secret_key),
        token_store=store,
        limits=Limits(concurrency=2),
        hooks=[events.append],
        clock=clock,
    )


async def call(gs: GotSurge) -> None:
    """A call that works."""
    with pytest.raises(NotFound):
        await gs.tasks.get(NOBODY)


async def test_accounts_have_tokens_of_their_own(simulator: Simulator, clock: ManualClock) -> None:
    """Two accounts of one client send with different tokens, and share transport, limits and hooks."""
    events: list[Event] = []
    async with client(simulator, clock, events) as gs:
        acme = gs.as_account("acme")
        assert gs.as_account("acme") is acme is acme.as_account("acme")
        assert acme.as_account("default") is gs is gs.as_account("default")
        await gs.sign_in(simulator.new_code("plain"))
        with pytest.raises(SignInNeeded):
            await acme.tasks.get(NOBODY)
        await gs.adopt("acme", await gs.oauth.exchange(simulator.new_code("plain")))
        await call(gs)
        await call(acme)
        assert await gs.tokens.bearer() != await acme.tokens.bearer()
        assert acme.limits is gs.limits
        assert acme.hooks is gs.hooks
    assert len([event for event in events if isinstance(event, RequestDone)]) == 4


async def test_the_account_is_in_all_that_is_said_of_a_call(
    simulator: Simulator, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Events, errors and lines of the log say whose call it was; a sign-in belongs to no account."""
    caplog.set_level(logging.DEBUG, "gotsurge_async")
    events: list[Event] = []
    async with client(simulator, clock, events) as gs:
        acme = gs.as_account("acme")
        await acme.sign_in(simulator.new_code("plain"))
        with pytest.raises(NotFound, match=r"account acme\)") as caught:
            await acme.with_options(retries=0).tasks.get(NOBODY)
        assert caught.value.account == pickle.loads(pickle.dumps(caught.value)).account == "acme"  # noqa: S301
        await acme.tasks.create([order()])
        assert [each async for each in acme.push([order("T-2")])]
    of_calls = [event for event in events if hasattr(event, "operation")]
    assert {event.account for event in of_calls if "tasks" in event.operation} == {"acme"}
    assert {event.account for event in of_calls if "auth" in event.operation} == {""}
    assert [event.account for event in events if isinstance(event, ChunkDone)] == ["acme", "acme"]
    assert "tasks.get for acme 404 in" in caplog.text


async def test_accounts_open_and_close_with_their_client(simulator: Simulator, clock: ManualClock) -> None:
    """An account's client works while the client is open, also when it was made before, and cannot be opened itself."""
    gs = client(simulator, clock, [])
    early = gs.as_account("early")
    with pytest.raises(ClientClosed):
        await early.tasks.get(NOBODY)
    with pytest.raises(UsageError, match="the client that made it opens and closes it"):
        await early.open()
    async with gs:
        await early.sign_in(simulator.new_code("plain"))
        await early.close()
        await call(early)
    with pytest.raises(ClientClosed):
        await early.tasks.get(NOBODY)
    assert asyncio.all_tasks() - {asyncio.current_task()} == {
        task for task in asyncio.all_tasks() if "gotsurge" not in task.get_name()
    } - {asyncio.current_task()}


async def test_the_background_renews_all_accounts(simulator: Simulator, clock: ManualClock) -> None:
    """Every account's token is renewed in the background, without a call of that account."""
    events: list[Event] = []
    async with client(simulator, clock, events) as gs:
        for account in ("a", "b", "c"):
            await gs.adopt(account, await gs.oauth.exchange(simulator.new_code("plain")))
        await clock.advance(23 * DAY)
        # In steps that are shorter than a renewal may take: the clock does not wait for sockets.
        for _ in range(2_000):
            await clock.advance(100)
        assert {event.account for event in events if isinstance(event, TokenRefreshed)} == {"a", "b", "c"}
        await clock.advance(10 * DAY)
        for account in ("a", "b", "c"):
            await call(gs.as_account(account))


@pytest.mark.slow
async def test_a_year_goes_by(simulator: Simulator, clock: ManualClock) -> None:
    """Over a year of one call a day no caller sees a 401, and the token is renewed 12 to 16 times."""
    events: list[Event] = []
    async with client(simulator, clock, events) as gs:
        await gs.sign_in(simulator.new_code("plain"))
        for _ in range(365):
            await clock.advance(DAY)
            await call(gs)
    statuses = {event.status for event in events if isinstance(event, RequestDone)}
    assert statuses == {200, 404}
    assert 12 <= simulator.audit()["calls"]["auth.refresh"] <= 16
    assert not [task for task in asyncio.all_tasks() if "gotsurge" in task.get_name()]


async def test_a_laptop_sleeps(simulator: Simulator, clock: ManualClock) -> None:
    """A machine that was asleep for longer than a token's life renews it at the next call, before it sends."""
    events: list[Event] = []
    async with client(simulator, clock, events) as gs:
        await gs.sign_in(simulator.new_code("plain"))
        clock._start += timedelta(days=45)  # the wall clock jumps, nobody wakes
        await call(gs)
    assert 401 not in [event.status for event in events if isinstance(event, RequestDone)]


async def test_a_withdrawn_consent_is_an_event(simulator: Simulator, clock: ManualClock) -> None:
    """When the consent is withdrawn the user's hook is called once, and callers get `SignInNeeded` until a sign-in."""
    events: list[Event] = []
    async with client(simulator, clock, events) as gs:
        await gs.sign_in(simulator.new_code("plain"))
        simulator.revoke("plain")
        for _ in range(3):
            with pytest.raises(SignInNeeded):
                await gs.tasks.get(NOBODY)
        required = [event for event in events if isinstance(event, SignInRequired)]
        assert [event.account for event in required] == ["default"]
        assert simulator.audit()["calls"]["auth.refresh"] == 1
        await gs.sign_in(simulator.new_code("plain"))
        await call(gs)
