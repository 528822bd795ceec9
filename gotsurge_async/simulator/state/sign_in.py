"""Who is signed in: the codes, sessions and tokens of programs, and the browsers that visit the pages."""

import base64
import hmac
import secrets
from typing import Literal, TypeVar

import msgspec
from attrs import define, field, frozen

from gotsurge_async.simulator.replies import RefusedError
from gotsurge_async.simulator.state.partners import Account, Caller, User

T = TypeVar("T")

BEARER_LIFE = 30 * 86400.0
"""Section "Demo Oauth2": a bearer token lasts 30 days."""
CODE_LIFE = 10 * 60.0
SESSION_LIFE = 5 * 60.0
FORM_LIFE = 10 * 60.0


@frozen
class _Grant:
    caller: Caller
    ends: float


class SignIn:
    """What was handed out so far. All times are seconds since the epoch by the simulator's clock."""

    def __init__(self, *, jwt: bool, rotation: bool) -> None:
        self._jwt = jwt
        self._rotation = rotation
        self._key = secrets.token_bytes(32)
        self._codes: dict[str, _Grant] = {}
        self._sessions: dict[str, _Grant] = {}
        self._bearers: dict[str, _Grant] = {}
        self._refreshers: dict[str, Caller] = {}

    def new_code(self, caller: Caller, now: float) -> str:
        """An authorization code, good once and for ten minutes."""
        return _issue(self._codes, _Grant(caller, now + CODE_LIFE))

    def new_session(self, caller: Caller, now: float) -> str:
        """An SSO session id, good once and for five minutes."""
        return _issue(self._sessions, _Grant(caller, now + SESSION_LIFE))

    def exchange_code(self, client_key: str, code: str, now: float) -> dict[str, str]:
        """Turn a code of that partner into ``bearer_token`` and ``refresh_token``."""
        grant = self._codes.pop(code, None)
        if grant is None or now >= grant.ends or grant.caller.account.client_key != client_key:
            raise RefusedError(400, "invalid_grant", "The code is unknown, used already or expired")
        return self._new_pair(grant.caller, now)

    def exchange_session(self, session_id: str, now: float) -> tuple[dict[str, str], Caller]:
        """Turn an SSO session id into tokens; also tells whose they are."""
        grant = self._sessions.pop(session_id, None)
        if grant is None or now >= grant.ends:
            raise RefusedError(400, "invalid_grant", "The session_id is unknown, used already or expired")
        return self._new_pair(grant.caller, now), grant.caller

    def refresh(self, client_key: str, refresh_token: str, now: float) -> dict[str, str]:
        """A new ``bearer_token``, and with rotation a new ``refresh_token`` in place of the old one."""
        caller = self._refreshers.get(refresh_token)
        if caller is None or caller.account.client_key != client_key:
            raise RefusedError(400, "invalid_grant", "The refresh_token is unknown or used already")
        if not self._rotation:
            return {"bearer_token": self._new_bearer(caller, now)}
        del self._refreshers[refresh_token]
        return self._new_pair(caller, now)

    def caller(self, authorization: str, now: float) -> Caller:
        """Who sent an Authorization header; raises a 401 refusal when it does not hold a living bearer token."""
        scheme, _, token = authorization.partition(" ")
        grant = self._bearers.get(token.strip()) if scheme.lower() == "bearer" else None
        if grant is None:
            raise RefusedError(401, "unauthorized", "A bearer token is required")
        if now >= grant.ends:
            raise RefusedError(401, "token_expired", "The bearer token has expired")
        return grant.caller

    def account_of(self, authorization: str) -> str:
        """Whose bearer token an Authorization header holds, also of one that has expired; empty for none."""
        grant = self._bearers.get(authorization.partition(" ")[2].strip())
        return grant.caller.account.name if grant is not None else ""

    def revoke(self, account: str) -> None:
        """Make every token of an account worthless, as when a user withdraws consent."""
        self._bearers = {name: grant for name, grant in self._bearers.items() if grant.caller.account.name != account}
        self._refreshers = {name: who for name, who in self._refreshers.items() if who.account.name != account}

    def _new_pair(self, caller: Caller, now: float) -> dict[str, str]:
        return {
            "bearer_token": self._new_bearer(caller, now),
            "refresh_token": _issue(self._refreshers, caller),
        }

    def _new_bearer(self, caller: Caller, now: float) -> str:
        ends = now + BEARER_LIFE
        token = self._sign(caller, now, ends) if self._jwt else secrets.token_urlsafe(32)
        self._bearers[token] = _Grant(caller, ends)
        return token

    def _sign(self, caller: Caller, now: float, ends: float) -> str:
        claims = {"sub": caller.user.id, "iat": int(now), "exp": int(ends), "jti": secrets.token_hex(8)}
        parts = [_base64url(msgspec.json.encode(part)) for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
        signature = hmac.digest(self._key, ".".join(parts).encode(), "sha256")
        return ".".join((*parts, _base64url(signature)))


def _issue(issued: dict[str, T], what: T) -> str:
    name = secrets.token_urlsafe(24)
    issued[name] = what
    return name


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@frozen(kw_only=True)
class Visit:
    """Why somebody is at a page: which partner sent them, and where they are to go afterwards."""

    kind: Literal["consent", "sso"]
    account: Account
    target: str
    state: str | None = None


Purpose = Literal["sign-in", "decision"]


@frozen
class _Form:
    purpose: Purpose
    visit: Visit
    ends: float


@define
class Browser:
    """One browser, known by its cookie: who signed in there, and the forms that it got.

    A form carries nothing but a token, good once, in the browser that got it, for ten minutes. What the form is about
    stays here: neither another site nor the user can change it.
    """

    user: User | None = None
    cookie: str = field(factory=lambda: secrets.token_urlsafe(24), repr=False)
    _forms: dict[str, _Form] = field(factory=dict, repr=False)

    def new_form(self, purpose: Purpose, visit: Visit, now: float) -> str:
        """The token of a new form for a visit."""
        self._forms = {token: form for token, form in self._forms.items() if now < form.ends}
        return _issue(self._forms, _Form(purpose, visit, now + FORM_LIFE))

    def take_form(self, purpose: Purpose, token: str, now: float) -> Visit | None:
        """What a form that comes back is about.

        None for one that was not given to this browser for this purpose, or that is used or old.
        """
        form = self._forms.pop(token, None)
        if form is None or form.purpose != purpose or now >= form.ends:
            return None
        return form.visit
