"""Settings and arguments of a client: a number where people write one, and everything else is refused in words."""

from datetime import timedelta
from typing import Any

import pytest

from gotsurge_async import ConfigError, Credentials, GotSurge, Limits, RetryPolicy, Timeouts, UsageError
from gotsurge_async.codec import encode
from gotsurge_async.codec.text import decode_plain
from gotsurge_async.options import AllOptions
from gotsurge_async.testing import ManualClock
from gotsurge_async.transports.aiohttp import AiohttpTransport
from gotsurge_async.transports.memory import MemoryTransport
from tests.support.clients import make, serve
from tests.support.orders import order
from tests.support.public import hints_of

NO_NUMBERS: list[Any] = [float("nan"), float("inf"), -1, True, "5", timedelta(seconds=5), [5], b"5"]


WAITS = ("base", "cap", "deadline", "longest_retry_after")


def client(**options: Any) -> GotSurge:
    """A client that is made, and not opened."""
    return GotSurge("sandbox", **({"transport": MemoryTransport(serve)} | options))


@pytest.mark.parametrize("timeouts", [10, 10.0, Timeouts(total=10)])
def test_a_number_of_seconds_is_that_of_a_try(timeouts: Any) -> None:
    """``timeouts=10`` ends a try after 10 s, and waits half of that for a connection: then certainly nothing left."""
    transport = AiohttpTransport(timeouts)
    assert transport._timeouts == Timeouts(total=10, pool=5)
    assert GotSurge("sandbox", timeouts=timeouts).transport._timeouts == Timeouts(total=10)  # type: ignore[attr-defined]
    assert Timeouts() == Timeouts(pool=30, total=300)


def test_a_number_of_calls_and_of_tries_is_taken() -> None:
    """``limits=8`` is 8 calls at most, ``retry=3`` 3 tries in all."""
    gs = client(limits=8, retry=3)
    assert gs.limits == Limits(concurrency=8)
    assert gs.session.policy == RetryPolicy(attempts=3)
    assert client(limits=None, retry=None, timeouts=None).limits == Limits()


@pytest.mark.parametrize("name", ["timeouts", "retry", "limits"])
@pytest.mark.parametrize("value", [*NO_NUMBERS, 0, {}, object(), Credentials(client_key="key")])
def test_what_is_no_setting_is_refused_when_the_client_is_made(name: str, value: Any) -> None:
    """Zero, what is negative, NaN, infinity, true, a text, a span of time: ConfigError, which says what to write."""
    with pytest.raises(ConfigError, match=r"Timeouts|RetryPolicy|Limits") as caught:
        client(**{name: value})
    assert caught.value.explain_code == "E903"


SECONDS, WHOLE = "a number of seconds above 0", "a whole number of 1 or more"


@pytest.mark.parametrize(
    ("cls", "field", "more", "words"),
    [
        *((Timeouts, name, [0, None], SECONDS) for name in ("pool", "connect", "read", "total", "keepalive")),
        *((RetryPolicy, name, [None], "a number of seconds, 0 or more") for name in WAITS),
        (RetryPolicy, "attempts", [0, 1.5, None], WHOLE),
        (Limits, "concurrency", [0, 1.5, None], WHOLE),
        (Limits, "rate", [0], "a number above 0, or None for no limit"),
    ],
)
def test_a_setting_is_a_number(cls: Any, field: str, more: list[Any], words: str) -> None:
    """A try without an end would hold its order in doubt, so a time-out is never None; a wait may be 0."""
    for value in (*NO_NUMBERS, *more):
        with pytest.raises(ConfigError, match=rf"{cls.__name__}\.{field} must be {words}, not "):
            cls(**{field: value})
    assert (Limits(rate=0.5).rate, RetryPolicy(**dict.fromkeys(WAITS, 0)).cap) == (0.5, 0)


def test_a_connection_is_awaited_for_less_than_the_try() -> None:
    """If the whole ended first, an order that never left would be in doubt."""
    with pytest.raises(ConfigError, match=r"Timeouts\.pool \(30 s\) must be less than Timeouts\.total \(20 s\)"):
        Timeouts(pool=30, total=20)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hooks": print}, r"hooks: give a list, such as hooks=\[f\]"),
        ({"hooks": "f"}, r"hooks: give a list, such as hooks=\[f\]"),
        ({"hooks": 5}, r"hooks: give a list, such as hooks=\[f\]"),
        ({"hooks": ["f"]}, "hooks: each must be a function that takes an event, not 'f'"),
        ({"token_store": "tokens.json"}, r'token_store: give an object such as FileStore\("tokens.json"\), not str'),
        ({"token_store": MemoryTransport(serve)}, "token_store: give an object"),
        ({"credentials": ("key", "planted-secret")}, r"credentials: give Credentials\(client_key=…, secret_key=…\)"),
        ({"credentials": "planted-secret"}, "credentials: give Credentials"),
        ({"bearer_token": 5}, "bearer_token must be text, not int"),
        ({"refresh_token": b"planted-secret"}, "refresh_token must be text, not bytes"),
        ({"account": ""}, "account must be a name of 1 to 200 printable characters; it is ''"),
        ({"account": 5}, "account must be a name of 1 to 200 printable characters; it is 5"),
        ({"transport": "x"}, "transport: give an object such as AiohttpTransport"),
        ({"clock": 5}, "clock: give an object such as SystemClock"),
        ({"profile": 5}, "profile: give a Profile, a mapping, or the path of a TOML file, not int"),
        ({"api_base": 5}, "the API base must be a URL"),
        ({"assumed_endpoints": "acept"}, 'assumed_endpoints must be "accept" or "refuse", not \'acept\''),
        ({"assumed_endpoints": True}, 'assumed_endpoints must be "accept" or "refuse", not True'),
        ({"transport": None, "proxy": 5}, "give a proxy as http://HOST:PORT"),
    ],
)
def test_what_cannot_be_used_is_refused_when_the_client_is_made(options: dict[str, Any], said: str) -> None:
    """Each says what to write; none shows a secret."""
    with pytest.raises(ConfigError, match=said) as caught:
        client(**options)
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize("environment", [5, ["sandbox"], None, b"sandbox"])
def test_an_environment_is_a_name(environment: Any) -> None:
    """What is no text is no environment."""
    with pytest.raises(ConfigError, match="no environment"):
        GotSurge(environment, transport=MemoryTransport(serve))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        *(
            ({"client_key": each}, r"client_key must be non-empty text, not ")
            for each in (None, "", " ", 5, ("a", "b"))
        ),
        *(
            ({"client_key": "key", "secret_key": each}, r"secret_key must be text, not (int|bytes|list)")
            for each in (5, b"planted", ["planted"])
        ),
    ],
)
def test_credentials_are_text(options: Any, said: str) -> None:
    """The client key is no secret, and is shown; the secret key is not."""
    with pytest.raises(ConfigError, match=said) as caught:
        Credentials(**options)
    assert "planted" not in str(caught.value)


# --- arguments of calls -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [*NO_NUMBERS, 0])
async def test_a_time_is_seconds(value: Any) -> None:
    """A call and a kind of calls take seconds; anything else ends before a byte leaves."""
    transport = MemoryTransport(serve)
    async with make(transport) as gs:
        for call in (
            lambda: gs.tasks.create([order()], timeout=value),
            lambda: gs.platform.drafts.create([order()], timeout=value),
            lambda: gs.tasks.get("t", timeout=value),
            lambda: gs.tasks.wait("t", timeout=value),
            lambda: gs.platform.drafts.broadcast(["t"], timeout=value),
        ):
            with pytest.raises(UsageError, match="timeout must be a number of seconds above 0, not "):
                await call()
        with pytest.raises(UsageError, match="timeout must be a number of seconds above 0, not "):
            gs.with_options(timeout=value)
    assert transport.sent == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, True, "2", 1.5, timedelta(seconds=2)])
async def test_retries_are_counted(value: Any) -> None:
    """0 is no retry; what is no whole number is refused when the options are given."""
    async with make() as gs:
        assert gs.with_options(retries=0).session.policy.attempts == 1
        with pytest.raises(UsageError, match="retries must be 0 or more, not "):
            gs.with_options(retries=value)


async def test_an_account_is_a_name() -> None:
    """An empty name, or one that is no text, is refused when the account is asked for."""
    bad: Any
    async with make() as gs:
        for bad in ("", 5, b"acme"):
            with pytest.raises(UsageError, match="account must be a name of 1 to 200 printable characters; it is "):
                gs.as_account(bad)
            with pytest.raises(UsageError, match="account must be a name of 1 to 200 printable characters; it is "):
                gs.with_options(account=bad)


@pytest.mark.parametrize(
    ("one", "other"), [("default", "local"), ("acme", "local/acme"), ("local/acme", "acme"), ("local :1/acme", "acme")]
)
async def test_two_accounts_of_a_client_are_two_in_a_ledger(one: str, other: str) -> None:
    """Else orders of one are sent through the other: the command's names have an environment, programs' have none."""
    why = f'account "{other}" and account "{one}" are the same one in a ledger'
    async with make(account=one) as gs:
        for client in (gs, gs.as_account("zeta")):
            with pytest.raises(ConfigError, match=why):
                client.as_account(other)
        assert gs.as_account("sandbox") is not gs.as_account("sandbox/acme")  # those of another environment


async def test_only_simulators_have_accounts_of_their_own_place() -> None:
    """Elsewhere a name that begins with "local" is a name like any other, and a released one is free again."""
    names = ("local shop", "local depot", "local shop/acme", "acme")
    async with GotSurge("sandbox", transport=MemoryTransport(serve), bearer_token="token") as gs:
        assert len({id(gs.as_account(name)) for name in names}) == 4
        await gs.release("sandbox/acme")
        with pytest.raises(ConfigError, match='account "sandbox/acme" and account "acme" are the same one in a ledger'):
            gs.as_account("sandbox/acme")
        await gs.release("acme")
        assert gs.as_account("sandbox/acme") is gs.as_account("sandbox/acme")


@pytest.mark.parametrize("orders", [order(), decode_plain(encode(order())), "order", b"order", 5, None])
async def test_a_push_takes_several(orders: Any) -> None:
    """One order, or one dict, is refused before anything is sent; a dict is not pushed name by name."""
    transport = MemoryTransport(serve)
    async with make(transport) as gs:
        for push in (gs.push, gs.platform.tasks.create_all, gs.platform.drafts.create_all):
            with pytest.raises(UsageError, match="orders: give a list or another iterable, not "):
                push(orders)
    assert transport.sent == []


@pytest.mark.parametrize("value", [*NO_NUMBERS, 0, 1.5])
async def test_a_push_has_whole_numbers(value: Any) -> None:
    """Chunks and places in flight are whole numbers."""
    async with make() as gs:
        for push in (gs.push, gs.platform.drafts.create_all):
            with pytest.raises(UsageError, match="the number of chunks in flight must be 1 or more, not "):
                push([order()], concurrency=value)
            with pytest.raises(UsageError, match="a chunk must have 1 to 20 items, not "):
                push([order()], chunk=value)
        with pytest.raises(UsageError, match="the number of chunks in flight must be 1 or more, not "):
            gs.platform.drafts.broadcast_all(["t"], concurrency=value)


async def test_a_clock_of_a_test_is_a_clock() -> None:
    """What stands in for time and transport in tests passes."""
    async with make(clock=ManualClock()) as gs:
        assert (await gs.tasks.get("t")).id == "t"


@pytest.mark.parametrize(
    ("total", "limits", "settle"),
    [(300, None, 600), (10, None, 600), (1500, None, 3000), (1500, 8, 3000), (1500, Limits(settle=20), 20)],
)
def test_a_request_may_act_longer_where_its_answer_is_awaited_longer(total: float, limits: Any, settle: float) -> None:
    """The usual time is at least twice what a client waits for an answer; one that is said stays."""
    assert make(timeouts=Timeouts(total=total), limits=limits).limits.settle == settle


def test_the_options_by_name_are_those_of_the_client() -> None:
    """What `GotSurge.from_env` and `simulated` take is named and typed as the client's own arguments."""
    hints = hints_of(GotSurge.__init__)
    assert hints_of(AllOptions) == {name: hint for name, hint in hints.items() if name != "return"}
