"""`gotsurge_async.auth.oauth`: the consent page, and the calls that give tokens."""

import base64
import json
import logging
import traceback
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gotsurge_async.api.profile import Profile
from gotsurge_async.auth.oauth import tokens_from
from gotsurge_async.config import Credentials
from gotsurge_async.errors import BadRequest, CallError, ConfigError, NotSent, OutcomeUnknown, RateLimited, Unauthorized
from gotsurge_async.hooks import CallDone, CallStarted, Event, RequestDone
from gotsurge_async.secrets import Secret
from gotsurge_async.testing import ManualClock
from gotsurge_async.transports.base import MaybeSent, NothingSent
from gotsurge_async.transports.memory import Handler, MemoryTransport, Scripted
from tests.auth.kit import KEYS, oauth
from tests.support.orders import NOW, answer
from tests.support.strategies import json_values

CODE = "planted-code"
REFRESH = Secret("planted-refresh")
GIVEN = {"bearer_token": "planted-bearer", "refresh_token": "planted-refresh-2", "server_time": "2026-02-01T00:00:00Z"}


class Rig:
    """A sign-in on a scripted transport."""

    def __init__(
        self, answers: Handler | Iterable[Scripted], credentials: Credentials | None = KEYS, **options: Any
    ) -> None:
        self.transport = MemoryTransport(answers)
        self.events: list[Event] = []
        self.oauth = oauth(
            self.transport, ManualClock(), credentials=credentials, listener=self.events.append, **options
        )

    @property
    def bodies(self) -> list[Any]:
        """What was sent."""
        return [msgspec.json.decode(request.body or b"null") for request in self.transport.sent]


def test_the_consent_page_is_named_whole() -> None:
    """The URL stands on the consent host and carries key, redirect and state, encoded."""
    rig = Rig([])
    url = rig.oauth.authorization_url("https://me.example/back?a=1&b=2", state="s t&u")
    parts = urlsplit(url)
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == "https://staging.gotsurge.co/oauth2/auth"
    assert parse_qs(parts.query) == {
        "client_key": ["the-client-key"],
        "redirect_url": ["https://me.example/back?a=1&b=2"],
        "state": ["s t&u"],
    }
    assert "state" not in rig.oauth.authorization_url("https://me.example/back")
    assert "planted" not in url


async def test_a_code_is_exchanged() -> None:
    """Client key, secret key and code go out once, without a bearer token, and tokens come back."""
    rig = Rig([answer(GIVEN)])
    tokens = await rig.oauth.exchange(CODE)
    assert tokens.bearer.reveal() == "planted-bearer"
    assert tokens.refresh == Secret("planted-refresh-2")
    assert tokens.issued_at == datetime(2026, 2, 1, tzinfo=UTC)
    assert tokens.expires_at == tokens.issued_at + timedelta(days=30)
    (request,) = rig.transport.sent
    assert (request.method, request.url) == ("POST", "https://staging.gotsurge.co/api/partnership/v1/oauth2/token")
    assert "Authorization" not in request.headers
    assert rig.bodies == [{"client_key": "the-client-key", "secret_key": "planted-secret-key", "code": CODE}]


@pytest.mark.parametrize(
    ("given", "refresh", "issued_at"),
    [
        ({"bearer_token": "b"}, "planted-refresh", NOW),
        ({"bearer_token": "b", "refresh_token": None, "server_time": None}, "planted-refresh", NOW),
        ({"bearer_token": "b", "refresh_token": "new"}, "new", NOW),
        ({"bearer_token": "b", "server_time": "2026-01-05T08:00:00+08:00"}, "planted-refresh", NOW + timedelta(days=4)),
        ({"bearer_token": "b", "server_time": "9999-12-31T23:59:59Z"}, "planted-refresh", NOW),
        ({"bearer_token": "b", "server_time": "0001-01-01T00:00:00Z"}, "planted-refresh", NOW),
    ],
)
async def test_a_token_is_renewed(given: dict[str, Any], refresh: str, issued_at: datetime) -> None:
    """A renewal keeps the refresh token unless a new one comes, and counts from the server's time if that can be."""
    rig = Rig([answer(given)])
    tokens = await rig.oauth.refresh(REFRESH)
    assert rig.bodies == [{"client_key": "the-client-key", "refresh_token": "planted-refresh"}]
    assert rig.transport.sent[0].url.endswith("/oauth2/refresh")
    assert (tokens.bearer, tokens.refresh) == (Secret("b"), Secret(refresh))
    assert (tokens.issued_at, tokens.expires_at) == (issued_at, issued_at + timedelta(days=30))


ODD = ["", " ", "a b", "a\n", "a\x00", "a\x7f", "\N{LATIN SMALL LETTER E WITH ACUTE}", "a" * 20_000]


@pytest.mark.parametrize(
    "given",
    [{"bearer_token": odd} for odd in ODD] + [{"bearer_token": "b", "refresh_token": odd} for odd in ODD[1:]],
)
async def test_an_answer_without_tokens_is_refused(given: dict[str, Any]) -> None:
    """An answer with an empty or odd token gives no tokens, and the error does not quote it."""
    rig = Rig([answer(given)] * 3)
    for attempt in (
        rig.oauth.refresh(REFRESH),
        rig.oauth.exchange(CODE),
        rig.oauth.exchange_session("planted-session"),
    ):
        with pytest.raises(OutcomeUnknown, match="not a valid token") as caught:
            await attempt
        assert caught.value.operation
        assert "aaaa" not in str(caught.value)


async def test_a_single_sign_on_gives_tokens_and_their_user() -> None:
    """The session id goes out, and tokens and the user come back."""
    rig = Rig([answer({**GIVEN, "user": {"id": "u", "email": "ng@example.com"}})])
    signed_in = await rig.oauth.exchange_session("planted-session")
    assert rig.bodies == [{"session_id": "planted-session"}]
    assert signed_in.tokens.bearer == Secret("planted-bearer")
    assert signed_in.user is not None
    assert signed_in.user.email == "ng@example.com"


async def test_a_profile_says_where_to_sign_in() -> None:
    """The calls for tokens go where the profile says."""
    profile = Profile.from_mapping({"endpoints": {"auth.refresh": {"path": "/v2/renew", "verb": "PUT"}}})
    rig = Rig([answer(GIVEN)], profile=profile)
    await rig.oauth.refresh(REFRESH)
    assert (rig.transport.sent[0].method, rig.transport.sent[0].url.rpartition("/v1")[2]) == ("PUT", "/v2/renew")


async def test_what_is_missing_is_named() -> None:
    """Without keys a sign-in says which variable to set, and nothing is sent."""
    rig = Rig([], credentials=None)
    with pytest.raises(ConfigError, match="set GOTSURGE_CLIENT_KEY"):
        await rig.oauth.refresh(REFRESH)
    with pytest.raises(ConfigError, match="set GOTSURGE_CLIENT_KEY"):
        rig.oauth.authorization_url("https://me.example")
    rig = Rig([], credentials=Credentials(client_key="k"))
    with pytest.raises(ConfigError, match="set GOTSURGE_SECRET_KEY"):
        await rig.oauth.exchange(CODE)
    assert rig.transport.sent == []


def quotes(status: int) -> Handler:
    """A service that repeats in its refusal whatever it was sent."""
    return lambda request: answer({"message": f"no: {(request.body or b'').decode()}"}, status)


@pytest.mark.parametrize(
    ("scripted", "cls", "tries"),
    [
        (quotes(400), BadRequest, (1, 1)),
        (quotes(401), Unauthorized, (1, 1)),
        (quotes(429), RateLimited, (2, 2)),
        (quotes(500), OutcomeUnknown, (1, 2)),
        ([NothingSent("refused")] * 2, NotSent, (2, 2)),
        ([MaybeSent("the connection broke")] * 2, OutcomeUnknown, (1, 2)),
        ([answer(b"<html>planted-page</html>")] * 2, OutcomeUnknown, (1, 2)),
        ([answer({"bearer_token": 5, "refresh_token": "planted-other"})], OutcomeUnknown, (1, 1)),
        ([answer({"token": "planted-other"})], OutcomeUnknown, (1, 1)),
        ([answer([])], OutcomeUnknown, (1, 1)),
    ],
)
async def test_a_failure_is_tried_again_as_its_endpoint_allows_and_shows_no_secret(
    scripted: Handler | list[Scripted],
    cls: type[CallError],
    tries: tuple[int, int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A code that may be used up is not sent again, a refresh token is; error, events and logs hold no secret."""
    caplog.set_level(logging.DEBUG)
    for call, expected in zip(("exchange", "refresh"), tries, strict=True):
        rig = Rig(scripted)
        with pytest.raises(CallError) as caught:
            await (rig.oauth.exchange(CODE) if call == "exchange" else rig.oauth.refresh(REFRESH))
        assert type(caught.value) is cls
        assert caught.value.operation == f"auth.{call}"
        assert len(rig.transport.sent) == caught.value.attempts == expected
        text = "".join(traceback.format_exception(caught.value))
        assert "planted" not in f"{text} {vars(caught.value)} {rig.events} {rig.oauth!r} {caplog.text}"


async def test_a_sign_in_has_events_like_any_call() -> None:
    """Listeners hear of its start, its one try and its end."""
    rig = Rig([answer(GIVEN, x_request_id="r-1")])
    await rig.oauth.exchange(CODE)
    started, tried, done = rig.events
    assert isinstance(started, CallStarted)
    assert isinstance(tried, RequestDone)
    assert isinstance(done, CallDone)
    assert (started.operation, tried.status, tried.request_id, done.error) == ("auth.exchange", 200, "r-1", "")


# --- how long a token lasts -------------------------------------------------------------------------------------------


def jwt(claims: Any) -> str:
    """A token that carries claims, unsigned."""
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJub25lIn0.{body}.c2ln"


def test_a_jwt_says_when_it_ends() -> None:
    """The token's own `exp` goes before the thirty days."""
    ends = NOW + timedelta(days=7)
    assert tokens_from(jwt({"exp": ends.timestamp()}), issued_at=NOW).expires_at == ends
    assert tokens_from(jwt({"exp": int(ends.timestamp()), "é": "ü"}), issued_at=NOW).expires_at == ends


@pytest.mark.parametrize(
    "token",
    [
        "opaque",
        "a.b",
        "a.b.c",
        "a.!!!.c",
        "a.é.c",
        "a..c",
        jwt([1]),
        jwt(5),
        jwt({}),
        jwt({"exp": None}),
        jwt({"exp": "tomorrow"}),
        jwt({"exp": True}),
        jwt({"exp": 1e300}),
        jwt({"exp": -(10**18)}),
        jwt({"exp": {}}),
        f"a.{base64.urlsafe_b64encode(b'[' * 50_000).decode()}.c",
    ],
)
def test_any_other_token_lasts_thirty_days(token: str) -> None:
    """A token that does not say when it ends, or says it in no way that can be read, lasts thirty days."""
    assert tokens_from(token, issued_at=NOW).expires_at == NOW + timedelta(days=30)


@settings(max_examples=20)  # values of any depth take long to draw
@given(st.one_of(st.text(), json_values.map(jwt), st.fixed_dictionaries({"exp": json_values}).map(jwt)))
def test_any_token_has_an_end(token: str) -> None:
    """Whatever a token looks like, when it ends is known, and it shows nowhere."""
    tokens = tokens_from(token, issued_at=NOW)
    assert tokens.expires_at.tzinfo is not None
    assert repr(tokens) == repr(attrs.evolve(tokens, bearer=Secret("another")))
