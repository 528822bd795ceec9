"""`gotsurge_async.client`: puts the parts together, and closes them."""

import asyncio
import gc
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gotsurge_async import (
    Address,
    ConfigError,
    Environment,
    GotSurge,
    Limits,
    MemoryStore,
    NotSent,
    OutcomeUnknown,
    SignInNeeded,
    Tokens,
    UsageError,
)
from gotsurge_async.errors import ClientClosed, EndpointsAssumed
from gotsurge_async.testing import ManualClock
from gotsurge_async.transports.base import NothingSent, Request, Response
from gotsurge_async.transports.memory import MemoryTransport
from tests.support.clients import BASE, KEYS, make, others, serve
from tests.support.orders import order

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gotsurge_async.hooks import Event

# --- open and close ---------------------------------------------------------------------------------------------------


async def test_a_client_is_open_inside_its_block() -> None:
    """Calls work inside the block and nowhere else; then the transport is closed, and no task is left."""
    transport = MemoryTransport(serve)
    gs = make(transport)
    assert repr(gs) == "<GotSurge local, new>"
    with pytest.raises(ClientClosed):
        await gs.tasks.get("t")
    async with gs as same:
        assert same is gs
        assert repr(gs) == "<GotSurge local, open>"
        assert (await gs.tasks.get("t")).id == "t"
    assert repr(gs) == "<GotSurge local, closed>"
    assert transport.closed
    assert not others()
    with pytest.raises(ClientClosed):
        await gs.tasks.get("t")


async def test_what_a_client_has_is_listed() -> None:
    """Completion sees the groups of calls, although each is made when it is first used."""
    assert {"tasks", "prices", "partner", "platform", "request", "sso"} <= {
        *dir(GotSurge("sandbox", bearer_token="a-token"))
    }


async def test_it_is_opened_once_and_closed_any_number_of_times() -> None:
    """A second opening is refused, also after closing; a second closing does nothing."""
    gs = make()
    await gs.open()
    with pytest.raises(UsageError, match="opened only once"):
        await gs.open()
    await gs.close()
    await gs.close()
    with pytest.raises(UsageError, match="opened only once"):
        await gs.open()
    assert not others()


async def test_closing_one_that_was_never_opened_closes_its_transport() -> None:
    """A client that was made and not used leaves nothing behind when it is closed."""
    transport = MemoryTransport(serve)
    await make(transport).close()
    assert transport.closed


async def test_an_error_inside_the_block_closes_it() -> None:
    """Whatever ends the block, the client is closed, and the error passes through."""
    transport = MemoryTransport(serve)
    with pytest.raises(KeyError):
        async with make(transport):
            raise KeyError("x")
    assert transport.closed
    assert not others()


async def test_a_cancelled_block_closes_it() -> None:
    """Cancelled in the middle of a call, the client is closed before the cancellation passes on."""
    arrived = asyncio.Event()

    async def hang(_: Request) -> Response:
        arrived.set()
        await asyncio.Event().wait()
        raise AssertionError("never")

    transport = MemoryTransport(hang)

    async def work() -> None:
        async with make(transport) as gs:
            await gs.tasks.get("t")

    working = asyncio.create_task(work())
    await arrived.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert transport.closed
    assert not others()


class FullStore(MemoryStore):
    """A store that cannot write."""

    async def save(self, account: str, tokens: Tokens) -> None:
        raise ConfigError("cannot write the token file: No space left on device")


async def test_an_error_while_opening_leaves_nothing_behind() -> None:
    """When opening fails the transport is closed, no task is left, and no warning comes."""
    transport = MemoryTransport(serve)
    with pytest.raises(ConfigError, match="No space left"):
        async with make(transport, token_store=FullStore()):
            raise AssertionError("never opened")
    assert transport.closed
    assert not others()
    gc.collect()


async def test_a_client_that_is_forgotten_warns() -> None:
    """Dropping an open client is a ResourceWarning that names it, and nothing worse."""
    kept = [await make().open()]
    tokens = kept[0].tokens

    def forget() -> None:
        kept.clear()
        gc.collect()

    with pytest.warns(ResourceWarning, match="<GotSurge local, open> was never closed"):
        forget()
    await tokens.close()


async def test_a_client_that_was_never_opened_does_not_warn() -> None:
    """Making a client takes nothing that would have to be given back."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gs: GotSurge | None = make()
        del gs
        gc.collect()


def test_a_client_is_made_outside_of_any_loop() -> None:
    """A client may be made before the event loop runs, with the real transport too."""
    gs = GotSurge("sandbox", bearer_token="planted-bearer", limits=Limits(concurrency=2, rate=5.0))

    async def use() -> None:
        async with gs:
            pass

    asyncio.run(use())


# --- what it is made of -----------------------------------------------------------------------------------------------


async def test_two_clients_do_not_see_each_other() -> None:
    """Tokens, hooks, recordings and closings of one client are nothing to another."""
    events: list[Event] = []
    first, second = MemoryTransport(serve), MemoryTransport(serve)
    async with make(second, bearer_token="planted-two") as two:
        async with make(first, bearer_token="planted-one", hooks=[events.append]) as one:
            with one.raw() as answers:
                await asyncio.gather(one.tasks.get("a"), two.tasks.get("b"))
            assert [each.body for each in answers] == [b'{"id":"a"}']
        count = len(events)
        await two.tasks.get("c")
        assert len(events) == count
    assert {request.headers["Authorization"] for request in first.sent} == {"Bearer planted-one"}
    assert {request.headers["Authorization"] for request in second.sent} == {"Bearer planted-two"}


async def test_nothing_of_a_client_shows_a_secret() -> None:
    """Neither the client nor its parts show a key or a token."""
    async with make(credentials=KEYS, refresh_token="planted-refresh") as gs:
        await gs.tasks.get("t")
        for part in (gs, gs.oauth, gs.environment, gs.tasks, gs.platform, gs.partner, gs.sso, gs.profile, gs.limits):
            assert "planted" not in repr(part)


async def test_the_environment_variables_make_a_client() -> None:
    """What the variables say holds, and options go before them."""
    variables = {
        "GOTSURGE_ENV": "local",
        "GOTSURGE_API_BASE": "http://127.0.0.1:1/one",
        "GOTSURGE_CLIENT_KEY": "key",
        "GOTSURGE_BEARER_TOKEN": "planted-bearer\n",
    }
    transport = MemoryTransport(serve)
    async with GotSurge.from_env(variables, transport=transport, clock=ManualClock()) as gs:
        await gs.tasks.get("t")
    assert transport.sent[0].url == "http://127.0.0.1:1/one/tasks/t"
    assert transport.sent[0].headers["Authorization"] == "Bearer planted-bearer"
    other = GotSurge.from_env(variables, api_base="http://127.0.0.1:1/two", transport=transport)
    assert other.environment.api_base == "http://127.0.0.1:1/two"


@pytest.mark.parametrize(
    ("options", "base"),
    [
        ({"environment": "sandbox"}, "https://staging.gotsurge.co/api/partnership/v1"),
        ({"environment": "sandbox", "api_base": "https://a.example/"}, "https://a.example"),
        ({"environment": "sandbox", "profile": {"api_base": "https://p.example"}}, "https://p.example"),
        (
            {"environment": "sandbox", "profile": {"api_base": "https://p.example"}, "api_base": "https://a.example"},
            "https://a.example",
        ),
        ({"environment": Environment.named("sandbox"), "api_base": "https://a.example"}, "https://a.example"),
        (
            {
                "environment": Environment.named("sandbox", api_base="https://e.example"),
                "profile": {"api_base": "https://p.example"},
            },
            "https://e.example",
        ),
    ],
)
def test_the_api_base_is_the_nearest_word(options: dict[str, Any], base: str) -> None:
    """An argument goes before an environment object, that before the profile, and that before an environment's name."""
    assert GotSurge(transport=MemoryTransport(serve), **options).environment.api_base == base


def test_another_base_for_a_local_environment_moves_its_consent_page() -> None:
    """The local consent page stands on the host of the API."""
    environment = Environment.named("local", api_base="http://127.0.0.1:1/x")
    gs = GotSurge(environment, api_base="http://127.0.0.1:2/x", transport=MemoryTransport(serve))
    assert gs.environment.consent_base == "http://127.0.0.1:2"


async def test_a_profile_is_taken_in_every_form(tmp_path: Path) -> None:
    """A mapping, the path of a TOML file and a `Profile` say where a call goes."""
    mapping = {"endpoints": {"tasks.get": {"path": "/orders/{task_id}"}}}
    path = tmp_path / "profile.toml"
    path.write_text('[endpoints."tasks.get"]\npath = "/orders/{task_id}"')
    for profile in (mapping, path, str(path), make(profile=mapping).profile):
        transport = MemoryTransport(serve)
        async with make(transport, profile=profile) as gs:
            await gs.tasks.get("t")
        assert transport.sent[0].url == f"{BASE}/orders/t"


@pytest.mark.parametrize(
    ("environment", "options", "creates"),
    [
        ("sandbox", {}, True),
        ("production", {}, False),
        ("production", {"assumed_endpoints": "accept"}, True),
        ("production", {"profile": {"endpoints": {"tasks.create": {"path": "/tasks"}}}}, True),
        ("sandbox", {"assumed_endpoints": "refuse"}, False),
        (Environment(name="mine", consent_base="", api_base="https://app.gotsurge.co/v1"), {}, False),
    ],
)
async def test_production_changes_nothing_on_a_guess(environment: Any, options: dict[str, Any], creates: bool) -> None:
    """Against production a create on an assumed path is refused, unless it was confirmed or accepted; reads are not."""
    transport = MemoryTransport(serve)
    async with GotSurge(environment, bearer_token="bearer", transport=transport, clock=ManualClock(), **options) as gs:
        await gs.tasks.get("t")
        if creates:
            assert (await gs.tasks.create([order()])).tasks
        else:
            with pytest.raises(EndpointsAssumed):
                await gs.tasks.create([order()])
    assert len(transport.sent) == 1 + creates


async def test_tracking_ids_are_checked_before_a_broadcast() -> None:
    """A broadcast with tracking ids may need Patch Tracking IDs after drivers were asked: both are checked first."""
    profile = {"endpoints": {"platform.drafts.broadcast_with_tracking": {"verb": "POST"}}}
    transport = MemoryTransport(serve)
    async with make(transport, profile=profile, assumed_endpoints="refuse") as gs:
        with pytest.raises(EndpointsAssumed, match=r"guess: platform\.tasks\.patch_tracking_ids: PATCH"):
            await gs.platform.drafts.broadcast_with_tracking({"d-1": "T-1"})
    assert transport.sent == []


# --- the kinds of calls -----------------------------------------------------------------------------------------------


async def test_options_make_another_kind_of_calls() -> None:
    """A client with options shares all with its own, adds what is given, and is closed with it."""
    transport, clock = MemoryTransport([NothingSent("down"), NothingSent("down"), NothingSent("down")]), ManualClock()
    async with make(transport, clock=clock) as gs:
        once = gs.with_options(retries=0)
        with pytest.raises(NotSent) as caught:
            await once.tasks.get("t")
        assert caught.value.attempts == 1
        with pytest.raises(NotSent) as caught:
            await gs.with_options(timeout=5).tasks.get("t")
        assert caught.value.attempts == 2
        again = once.with_options(timeout=7)
        assert (again.session.policy.attempts, again.session.timeout) == (1, 7)
        assert (once.session.timeout, gs.session.timeout, gs.session.policy.attempts) == (None, None, 2)
        acme = again.with_options(account="acme")
        assert (acme.tokens, acme.session.timeout) == (gs.as_account("acme").tokens, 7)
        assert acme.session.policy.attempts == 1
        with pytest.raises(SignInNeeded):
            await acme.tasks.get("t")
        with pytest.raises(UsageError, match="retries"):
            gs.with_options(retries=-1)
        with pytest.raises(UsageError, match="the client that made it opens and closes it"):
            await once.open()
        await once.close()  # does nothing
        assert not transport.closed
    with pytest.raises(ClientClosed):
        await once.tasks.get("t")
    with pytest.raises(ClientClosed):
        await once.sign_in("planted-code")


async def test_every_operation_takes_a_time() -> None:
    """Each call of one operation ends in time, also where it would read and send again."""

    async def silent(_: Request) -> Response:
        await asyncio.Event().wait()
        raise AssertionError("nothing comes for ever")

    clock = ManualClock()
    async with make(MemoryTransport(silent), clock=clock, credentials=KEYS) as gs:
        a_task, an_order, stops = (
            "00000000-0000-4000-8000-000000000001",
            order(),
            [Address(latitude=1.0, longitude=2.0)] * 2,
        )
        platform = gs.platform
        calls: list[Callable[..., Awaitable[object]]] = [
            partial(gs.tasks.create, [an_order]),
            partial(gs.tasks.get, a_task),
            partial(gs.tasks.cancel, a_task, reason="test"),
            partial(gs.prices.recommend, stops=stops),
            partial(gs.partner.detail),
            partial(platform.organizations.create, "Shop"),
            partial(platform.organizations.get, a_task),
            partial(platform.organizations.roles, a_task),
            partial(platform.users.invite, "a@example.com", org_id="o", role_id="r"),
            partial(platform.tasks.create, [an_order]),
            partial(platform.tasks.get, a_task),
            partial(platform.tasks.update, a_task, version_rev="1", group_tag="x"),
            partial(platform.tasks.patch_tracking_ids, {a_task: "T-1"}),
            partial(platform.drafts.create, [an_order]),
            partial(platform.drafts.broadcast, [a_task]),
            partial(platform.drafts.broadcast_with_tracking, {a_task: "T-1"}),
        ]
        for call in calls:
            calling = asyncio.ensure_future(call(timeout=9))
            await clock.settle()
            await clock.advance(9)
            assert calling.done(), call
            assert isinstance(calling.exception(), OutcomeUnknown), call
    assert not others()
