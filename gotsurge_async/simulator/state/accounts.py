"""The accounts of the simulator: two partners, their people and organizations, and the sign-ins."""

import base64
import hmac
import re
import secrets
import uuid
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, TypeVar

import msgspec
from attrs import define, field, frozen

from gotsurge_async.simulator.replies import RefusedError

T = TypeVar("T")

ORG_ADMIN = "OrgAdmin"
ROLES = (ORG_ADMIN, "Dispatcher", "Viewer")


@frozen(kw_only=True)
class Account:
    """A partner account. ``platform``: whether it may use the operations of the section "Platform Partners"."""

    name: str
    client_key: str
    secret_key: str = field(repr=False)
    org_id: str
    platform: bool
    business_name: str


@frozen(kw_only=True)
class User:
    """A person with a GotSurge login, who works for an organization of an account."""

    id: str
    account: str
    org_id: str
    email: str
    name: str
    password: str = field(repr=False)
    roles: tuple[str, ...]


@frozen
class Caller:
    """The caller of an operation: the account of the bearer token, and the person who consented."""

    account: Account
    user: User


def _account(name: str, org_id: str) -> Account:
    return Account(
        name=name,
        client_key=f"{name}-client-key",
        secret_key=f"{name}-secret-key",
        org_id=org_id,
        platform=name == "platform",
        business_name=f"{name.title()} Partner",
    )


ACCOUNTS: Mapping[str, Account] = MappingProxyType(
    {
        "plain": _account("plain", "00000000-0000-4000-8000-00000000000a"),
        "platform": _account("platform", "00000000-0000-4000-8000-00000000000b"),
    }
)
"""The two accounts of every simulator by name, with fixed credentials."""


def account_with(client_key: str) -> Account | None:
    """The account that a client key belongs to."""
    return next((account for account in ACCOUNTS.values() if account.client_key == client_key), None)


def first_users() -> dict[str, User]:
    """The OrgAdmin of each account, by email."""
    people = [
        User(
            id=f"00000000-0000-4000-8000-0000000001{number:02d}",
            account=account.name,
            org_id=account.org_id,
            email=f"{account.name}@example.com",
            name=f"{account.name.title()} Admin",
            password=f"{account.name}-password",
            roles=(ORG_ADMIN,),
        )
        for number, account in enumerate(ACCOUNTS.values(), start=1)
    ]
    return {user.email: user for user in people}


_ALLOWED = re.compile(r"[A-Za-z0-9 _-]+")
_RESERVED = frozenset({"root", "sysadmin", "admin", "sys", "system", "freelancedriver"})
_PROTECTED = ("versafleet", "gotsurge")


@frozen
class Organization:
    """A merchant whom an account manages, or the account's own organization."""

    id: str
    owner: str
    business_name: str
    created_at: float
    own: bool = False

    @property
    def roles(self) -> dict[str, str]:
        """The names of its roles by id. Roles of the same name in two organizations have two ids."""
        return {str(uuid.uuid5(uuid.UUID(self.id), name)): name for name in ROLES}

    def shown(self, created_at: str) -> dict[str, Any]:
        """The organization in the form of answers, with its creation time in their format."""
        return {
            "id": self.id,
            "business_name": self.business_name,
            "squad_price": 0,
            "min_price": 200_000,
            "max_price": 100_000_000,
            "price_table": [{"code": "standard", "time_delta": 0, "price": 500_000}],
            "squad_code": "",
            "fleet_types": [],
            "is_qa": False,
            "created_at": created_at,
            "updated_at": created_at,
            "version_seq": 1,
            "version_rev": f"1-{self.id[:8]}",
        }


class Organizations:
    """All organizations by id, the oldest first."""

    def __init__(self, accounts: Iterable[Account]) -> None:
        self._by_id = {
            account.org_id: Organization(account.org_id, account.name, account.business_name, 0.0, own=True)
            for account in accounts
        }

    def create(self, owner: str, business_name: str, now: float) -> Organization:
        """Add a new organization, whose name must have passed :meth:`name_problem`."""
        created = Organization(str(uuid.uuid4()), owner, business_name, now)
        self._by_id[created.id] = created
        return created

    def restore(self, moment: float) -> None:
        """Remove the organizations that were created after a time, in seconds since the epoch."""
        self._by_id = {org_id: known for org_id, known in self._by_id.items() if known.created_at <= moment}

    def managed(self, owner: str, org_id: str) -> Organization | None:
        """An organization that the account manages, its own included; None for any other."""
        organization = self._by_id.get(org_id)
        return organization if organization is not None and organization.owner == owner else None

    def created_by(self, owner: str) -> Sequence[Organization]:
        """The organizations that an account created."""
        return [known for known in self._by_id.values() if known.owner == owner and not known.own]

    def name_problem(self, business_name: str) -> str | None:
        """The reason why a name is refused; None for a good one."""
        lower = business_name.lower()
        if not business_name.strip() or not _ALLOWED.fullmatch(business_name):
            return "consists of letters, digits, space, dash and underscore"
        if lower in _RESERVED:
            return "is reserved"
        if any(word in lower for word in _PROTECTED):
            return f"must not contain {' or '.join(_PROTECTED)}"
        if any(known.business_name.lower() == lower for known in self._by_id.values()):
            return "is taken already"
        return None


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
    """The codes, sessions and tokens that were issued. Times are seconds since the epoch by the simulator's clock."""

    def __init__(self, *, jwt: bool, rotation: bool) -> None:
        self._jwt = jwt
        self._rotation = rotation
        self._key = secrets.token_bytes(32)
        self._codes: dict[str, _Grant] = {}
        self._sessions: dict[str, _Grant] = {}
        self._bearers: dict[str, _Grant] = {}
        self._refreshers: dict[str, Caller] = {}

    def new_code(self, caller: Caller, now: float) -> str:
        """An authorization code, which works once, within ten minutes."""
        return _issue(self._codes, _Grant(caller, now + CODE_LIFE))

    def new_session(self, caller: Caller, now: float) -> str:
        """An SSO session id, which works once, within five minutes."""
        return _issue(self._sessions, _Grant(caller, now + SESSION_LIFE))

    def exchange_code(self, client_key: str, code: str, now: float) -> dict[str, str]:
        """Exchange a code of that partner for ``bearer_token`` and ``refresh_token``."""
        grant = self._codes.pop(code, None)
        if grant is None or now >= grant.ends or grant.caller.account.client_key != client_key:
            raise RefusedError(400, "invalid_grant", "The code is unknown, used already or expired")
        return self._new_pair(grant.caller, now)

    def exchange_session(self, session_id: str, now: float) -> tuple[dict[str, str], Caller]:
        """Exchange an SSO session id for tokens; returns them with their owner."""
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
        """The sender of an Authorization header; raises a 401 refusal without a bearer token that is valid now."""
        scheme, _, token = authorization.partition(" ")
        grant = self._bearers.get(token.strip()) if scheme.lower() == "bearer" else None
        if grant is None:
            raise RefusedError(401, "unauthorized", "A bearer token is required")
        if now >= grant.ends:
            raise RefusedError(401, "token_expired", "The bearer token has expired")
        return grant.caller

    def account_of(self, authorization: str) -> str:
        """The account of a bearer token in an Authorization header, even an expired one; empty without one."""
        grant = self._bearers.get(authorization.partition(" ")[2].strip())
        return grant.caller.account.name if grant is not None else ""

    def revoke(self, account: str) -> None:
        """Make every token of an account invalid, as when a user withdraws consent."""
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
    """The context of a person at a page: the partner who sent them, and the address to which they return."""

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
    """One browser, identified by its cookie: the person who signed in there, and the forms that it got.

    A form contains only a token, valid once, in the browser that got it, for ten minutes. The visit stays here, where
    neither another site nor the user can change it.
    """

    user: User | None = None
    cookie: str = field(factory=lambda: secrets.token_urlsafe(24), repr=False)
    _forms: dict[str, _Form] = field(factory=dict, repr=False)

    def new_form(self, purpose: Purpose, visit: Visit, now: float) -> str:
        """The token of a new form for a visit."""
        self._forms = {token: form for token, form in self._forms.items() if now < form.ends}
        return _issue(self._forms, _Form(purpose, visit, now + FORM_LIFE))

    def take_form(self, purpose: Purpose, token: str, now: float) -> Visit | None:
        """The visit of a returned form; None if this browser did not get it for this purpose, or it is used or old."""
        form = self._forms.pop(token, None)
        if form is None or form.purpose != purpose or now >= form.ends:
            return None
        return form.visit
