"""The consent page, and the calls that return tokens (section "Basic Oauth2 steps")."""

import base64
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import urlencode

import attrs
import msgspec

from gotsurge_async.api.endpoints import AUTH_EXCHANGE, AUTH_REFRESH, SSO_EXCHANGE, Endpoint
from gotsurge_async.auth.stores import Tokens, is_token
from gotsurge_async.clock import Clock
from gotsurge_async.config import Credentials, Environment
from gotsurge_async.errors import ConfigError, OutcomeUnknown
from gotsurge_async.secrets import Secret

if TYPE_CHECKING:
    from gotsurge_async.auth.sign_on import SignedIn
    from gotsurge_async.models.auth import SsoAnswer, TokenAnswer

T = TypeVar("T")

LIFE = timedelta(days=30)
"""The life of a bearer token that does not contain its end (section "Demo Oauth2")."""
_CLOCKS = timedelta(days=365)
"""A server time that differs more from this machine's is an error: it may leave no room for the life of a token."""


class Call(Protocol):
    """Makes a call without a token, as `calls.session.Session.call`: again only where its endpoint allows it."""

    async def __call__(self, endpoint: Endpoint[T], *, body: object) -> T:
        """Send ``body``, and read the answer."""
        ...


@attrs.frozen(kw_only=True)
class OAuth:
    """Signs a partner in at one environment; a client has one, ``gs.oauth``."""

    environment: Environment
    credentials: Credentials | None
    clock: Clock
    call: Call = attrs.field(repr=False)

    def authorization_url(self, redirect_url: str, *, state: str = "") -> str:
        """The URL for the user's browser, which comes back to ``redirect_url`` with ``code`` and ``state``."""
        query = {"client_key": self._credentials().client_key, "redirect_url": redirect_url}
        return f"{self.environment.consent_base}/oauth2/auth?{urlencode(query | ({'state': state} if state else {}))}"

    async def exchange(self, code: str) -> Tokens:
        """Exchange the code of a consent for tokens (section "Exchange Token").

        Raises:
            ConfigError: no secret key is known.
            Rejected: the code is wrong, used or too old.
            NotSent, OutcomeUnknown: no answer; the code may be used up.
        """
        from gotsurge_async.models.auth import ExchangeRequest  # few commands sign in

        credentials = self._credentials()
        if credentials.secret_key is None:
            raise ConfigError("exchanging a code needs the secret key: set GOTSURGE_SECRET_KEY", "E303")
        request = ExchangeRequest(
            client_key=credentials.client_key, secret_key=credentials.secret_key.reveal(), code=code
        )
        answer = await self.call(AUTH_EXCHANGE, body=request)
        return self._tokens(AUTH_EXCHANGE, answer)

    async def refresh(self, refresh_token: Secret) -> Tokens:
        """Get a new bearer token (section "Refresh Token").

        The refresh token stays the same unless the service gives a new one.

        Raises:
            Rejected: the service does not take the refresh token.
            NotSent, OutcomeUnknown: no answer, or one without valid tokens; a repeat is safe.
        """
        from gotsurge_async.models.auth import RefreshRequest

        request = RefreshRequest(client_key=self._credentials().client_key, refresh_token=refresh_token.reveal())
        answer = await self.call(AUTH_REFRESH, body=request)
        return self._tokens(AUTH_REFRESH, answer, refresh_token)

    async def exchange_session(self, session_id: str) -> "SignedIn":
        """Exchange the session id that the browser brought for tokens, and the user (section "SSO Exchange Token").

        Raises:
            Rejected: the session id is wrong, used or too old.
            NotSent, OutcomeUnknown: no answer; the session id may be used up.
        """
        from gotsurge_async.auth.sign_on import SignedIn
        from gotsurge_async.models.auth import SsoRequest

        answer = await self.call(SSO_EXCHANGE, body=SsoRequest(session_id=session_id))
        return SignedIn(tokens=self._tokens(SSO_EXCHANGE, answer), user=answer.user)

    def _credentials(self) -> Credentials:
        if self.credentials is None:
            raise ConfigError("signing in needs the client key: set GOTSURGE_CLIENT_KEY", "E303")
        return self.credentials

    def _tokens(
        self, endpoint: Endpoint[Any], answer: "TokenAnswer | SsoAnswer", refresh_token: Secret | None = None
    ) -> Tokens:
        """The tokens of an answer; ``refresh_token`` stays if it names no other. Invalid ones replace no good ones."""
        for name in ("bearer_token", "refresh_token"):
            if not is_token(getattr(answer, name) or "") and (name == "bearer_token" or answer.refresh_token):
                why = f"the answer's {name} is empty, or not a valid token"
                raise OutcomeUnknown(why, "E304", operation=endpoint.name)
        now = self.clock.now()
        issued_at = getattr(answer, "server_time", None) or now
        if abs(issued_at - now) > _CLOCKS:
            issued_at = now
        return tokens_from(answer.bearer_token, refresh=answer.refresh_token or refresh_token, issued_at=issued_at)


def tokens_from(bearer: str, *, refresh: Secret | str | None = None, issued_at: datetime) -> Tokens:
    """Tokens with their end: the ``exp`` of the JWT if it has one, else 30 days after ``issued_at``."""
    return Tokens(
        bearer=Secret(bearer),
        refresh=refresh,
        issued_at=issued_at,
        expires_at=_jwt_expiry(bearer) or issued_at + LIFE,
    )


def _jwt_expiry(token: str) -> datetime | None:
    """The end of a JWT. Its signature is not verified: the end only decides when to renew."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims: Any = msgspec.json.decode(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        ends = claims["exp"]
        return datetime.fromtimestamp(ends, UTC) if type(ends) in (int, float) else None
    except (ValueError, KeyError, TypeError, OverflowError, OSError, RecursionError):  # also of base64 and of JSON
        return None
