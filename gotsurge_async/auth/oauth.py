"""The consent page, and the two calls that give tokens (section "Basic Oauth2 steps")."""

import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import urlencode

import attrs
import msgspec

from gotsurge_async import codec
from gotsurge_async.api.endpoints import AUTH_EXCHANGE, AUTH_REFRESH, SSO_EXCHANGE, Endpoint
from gotsurge_async.api.profile import Profile
from gotsurge_async.auth.records import Tokens
from gotsurge_async.calls.attempt import Attempt, attempt, build_request, error_of, hidden_values
from gotsurge_async.calls.retry import Outcome
from gotsurge_async.clock import Clock
from gotsurge_async.config import Credentials, Environment
from gotsurge_async.errors import ConfigError, InvalidData, OutcomeUnknown
from gotsurge_async.hooks import Hooks, RequestDone
from gotsurge_async.models.auth import ExchangeRequest, RefreshRequest, SsoAnswer, SsoRequest, TokenAnswer, User
from gotsurge_async.secrets import Secret, url_for_log
from gotsurge_async.transports.base import Request, Transport

A = TypeVar("A", TokenAnswer, SsoAnswer)

LIFE = timedelta(days=30)
"""How long a bearer token lasts when it does not say so itself (section "Demo Oauth2")."""


@attrs.frozen(kw_only=True)
class SignedIn:
    """What a single sign-on gave: tokens, and whose they are."""

    tokens: Tokens
    user: User | None = None


@attrs.frozen(kw_only=True)
class OAuth:
    """Signs a partner in at one environment. Calls go through the transport, once each: a code is good for one use."""

    environment: Environment
    credentials: Credentials | None
    transport: Transport
    clock: Clock
    profile: Profile = attrs.field(factory=Profile)
    hooks: Hooks = attrs.field(factory=Hooks)

    def authorization_url(self, redirect_url: str, *, state: str = "") -> str:
        """Where to send the user's browser; it comes back to ``redirect_url`` with ``code`` and ``state``."""
        query = {"client_key": self._credentials().client_key, "redirect_url": redirect_url}
        return f"{self.environment.consent_base}/oauth2/auth?{urlencode(query | ({'state': state} if state else {}))}"

    async def exchange(self, code: str) -> Tokens:
        """Exchange Token: tokens for the code of a consent.

        Raises:
            ConfigError: no secret key is known.
            Rejected: the code is wrong, used or too old.
            NotSent, OutcomeUnknown: no answer; the code may be used up.
        """
        credentials = self._credentials()
        if credentials.secret_key is None:
            raise ConfigError("exchanging a code needs the secret key: set GOTSURGE_SECRET_KEY")
        request = ExchangeRequest(
            client_key=credentials.client_key, secret_key=credentials.secret_key.reveal(), code=code
        )
        return self._tokens(await self._call(AUTH_EXCHANGE, request), None)

    async def refresh(self, refresh_token: Secret) -> Tokens:
        """Refresh Token: a new bearer token. The refresh token stays the same unless the service gives a new one.

        Raises:
            Rejected: the service does not take the refresh token.
            NotSent, OutcomeUnknown: no answer; a repeat is safe.
        """
        request = RefreshRequest(client_key=self._credentials().client_key, refresh_token=refresh_token.reveal())
        return self._tokens(await self._call(AUTH_REFRESH, request), refresh_token)

    async def exchange_session(self, session_id: str) -> SignedIn:
        """SSO Exchange Token: tokens for the session id that the browser brought, and the user (platform partners).

        Raises:
            Rejected: the session id is wrong, used or too old.
            NotSent, OutcomeUnknown: no answer; the session id may be used up.
        """
        answer = await self._call(SSO_EXCHANGE, SsoRequest(session_id=session_id))
        tokens = tokens_from(answer.bearer_token, refresh=answer.refresh_token, issued_at=self.clock.now())
        return SignedIn(tokens=tokens, user=answer.user)

    def _credentials(self) -> Credentials:
        if self.credentials is None:
            raise ConfigError("signing in needs the client key: set GOTSURGE_CLIENT_KEY")
        return self.credentials

    def _tokens(self, answer: TokenAnswer, refresh_token: Secret | None) -> Tokens:
        return tokens_from(
            answer.bearer_token,
            refresh=Secret(answer.refresh_token) if answer.refresh_token else refresh_token,
            issued_at=answer.server_time or self.clock.now(),
        )

    async def _call(self, endpoint: Endpoint[A], body: ExchangeRequest | RefreshRequest | SsoRequest) -> A:
        resolved = self.profile.resolve(endpoint)
        request = build_request(
            resolved, self.environment.api_base, path={}, query="", body=codec.encode(body), bearer=None
        )
        with self.hooks.call(
            operation=resolved.name,
            method=resolved.verb,
            path=resolved.path,
            server=url_for_log(self.environment.api_base),
            monotonic=self.clock.monotonic,
        ) as number:
            return await self._answer(resolved, request, hidden_values(body), number)

    async def _answer(self, resolved: Endpoint[A], request: Request, secrets: list[str], number: int) -> A:
        done = await self._try(resolved, request, number)
        if done.outcome is not Outcome.ANSWERED or done.response is None:
            # What was sent holds secrets: the error does not carry it.
            raise error_of(resolved, done, attempts=1, sent=None, now=self.clock.now(), secrets=secrets)
        try:
            return codec.decode(done.response.body, resolved.response)
        except InvalidData as error:
            paths = ", ".join(problem.path for problem in error.problems)
            raise OutcomeUnknown(
                f"the answer holds no token that can be read{f' ({paths})' if paths else ''}",
                operation=resolved.name,
                status=done.status,
                request_id=done.request_id,
            ) from None

    async def _try(self, resolved: Endpoint[Any], request: Request, number: int) -> Attempt:
        started = self.clock.monotonic()
        done = await attempt(self.transport, request)
        self.hooks.request_done(
            RequestDone(
                call=number,
                operation=resolved.name,
                method=request.method,
                status=done.status,
                seconds=self.clock.monotonic() - started,
                attempt=1,
                request_id=done.request_id,
                reason=done.reason,
            )
        )
        return done


def tokens_from(bearer: str, *, refresh: Secret | str | None = None, issued_at: datetime) -> Tokens:
    """Tokens with their end: the JWT's own ``exp`` if it carries one, else 30 days from ``issued_at``."""
    return Tokens(
        bearer=Secret(bearer),
        refresh=refresh,
        issued_at=issued_at,
        expires_at=_jwt_expiry(bearer) or issued_at + LIFE,
    )


def _jwt_expiry(token: str) -> datetime | None:
    """When a JWT ends. Nothing is verified: the service does that, we only want to be in time."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims: Any = msgspec.json.decode(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        ends = claims["exp"]
        return datetime.fromtimestamp(ends, UTC) if type(ends) in (int, float) else None
    except (
        binascii.Error,
        msgspec.DecodeError,
        KeyError,
        TypeError,
        ValueError,
        OverflowError,
        OSError,
        RecursionError,
    ):
        return None
