"""Who may use the simulator: two partner accounts, the people who work for them, and their organizations."""

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from attrs import field, frozen

ORG_ADMIN = "OrgAdmin"
ROLES = (ORG_ADMIN, "Dispatcher", "Viewer")


def _masked(_: str) -> str:
    return "'***'"


@frozen(kw_only=True)
class Account:
    """A partner account: what GotSurge hands to a partner, and what it knows about it.

    ``platform`` tells a platform partner, which may use the operations of the section "Platform Partners".
    """

    name: str
    client_key: str
    secret_key: str = field(repr=_masked)
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
    password: str = field(repr=_masked)
    roles: tuple[str, ...]


@frozen
class Caller:
    """Who calls: the account whose bearer token it is, and the person who consented."""

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
"""The two accounts of every simulator by name. Their credentials are fixed, and printed at its start."""


def account_with(client_key: str) -> Account | None:
    """The account that a client key belongs to."""
    return next((account for account in ACCOUNTS.values() if account.client_key == client_key), None)


def first_users() -> dict[str, User]:
    """One person for each account, its OrgAdmin, by email."""
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
        """The names of its roles by id. Another organization's role of the same name has another id."""
        return {str(uuid.uuid5(uuid.UUID(self.id), name)): name for name in ROLES}

    def shown(self, created_at: str) -> dict[str, Any]:
        """It as answers show it, with the time at which it was created as they write it."""
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
        """Take a new one in; the name must have passed :meth:`name_problem`."""
        created = Organization(str(uuid.uuid4()), owner, business_name, now)
        self._by_id[created.id] = created
        return created

    def restore(self, moment: float) -> None:
        """Forget the organizations that were created after a time, in seconds since the epoch."""
        self._by_id = {org_id: known for org_id, known in self._by_id.items() if known.created_at <= moment}

    def managed(self, owner: str, org_id: str) -> Organization | None:
        """An organization that the account manages, its own included; None for any other."""
        found = self._by_id.get(org_id)
        return found if found is not None and found.owner == owner else None

    def created_by(self, owner: str) -> Sequence[Organization]:
        """The organizations that an account created."""
        return [found for found in self._by_id.values() if found.owner == owner and not found.own]

    def name_problem(self, business_name: str) -> str | None:
        """Why nobody may be called that; None for a good name."""
        lower = business_name.lower()
        if not business_name.strip() or not _ALLOWED.fullmatch(business_name):
            return "consists of letters, digits, space, dash and underscore"
        if lower in _RESERVED:
            return "is reserved"
        if any(word in lower for word in _PROTECTED):
            return f"must not contain {' or '.join(_PROTECTED)}"
        if any(found.business_name.lower() == lower for found in self._by_id.values()):
            return "is taken already"
        return None
