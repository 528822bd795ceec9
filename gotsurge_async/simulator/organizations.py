"""Organizations of a platform partner, their roles, and what they may be called."""

import re
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from attrs import frozen

from gotsurge_async.simulator.accounts import ORG_ADMIN, Account

ROLES = (ORG_ADMIN, "Dispatcher", "Viewer")
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


class OrganizationBook:
    """All organizations by id, the oldest first."""

    def __init__(self, accounts: Iterable[Account]) -> None:
        self._organizations = {
            account.org_id: Organization(account.org_id, account.name, account.business_name, 0.0, own=True)
            for account in accounts
        }

    def create(self, owner: str, business_name: str, now: float) -> Organization:
        """Take a new one in; the name must have passed :meth:`name_problem`."""
        created = Organization(str(uuid.uuid4()), owner, business_name, now)
        self._organizations[created.id] = created
        return created

    def managed(self, owner: str, org_id: str) -> Organization | None:
        """An organization that the account manages, its own included; None for any other."""
        found = self._organizations.get(org_id)
        return found if found is not None and found.owner == owner else None

    def created_by(self, owner: str) -> Sequence[Organization]:
        """The organizations that an account created."""
        return [found for found in self._organizations.values() if found.owner == owner and not found.own]

    def name_problem(self, business_name: str) -> str | None:
        """Why nobody may be called that; None for a good name."""
        lower = business_name.lower()
        if not business_name.strip() or not _ALLOWED.fullmatch(business_name):
            return "consists of letters, digits, space, dash and underscore"
        if lower in _RESERVED:
            return "is reserved"
        if any(word in lower for word in _PROTECTED):
            return f"must not contain {' or '.join(_PROTECTED)}"
        if any(found.business_name.lower() == lower for found in self._organizations.values()):
            return "is taken already"
        return None


def organization_view(organization: Organization, instant: str) -> dict[str, Any]:
    """An organization as answers show it; ``instant`` is when it was created, as answers write it."""
    return {
        "id": organization.id,
        "business_name": organization.business_name,
        "squad_price": 0,
        "min_price": 200_000,
        "max_price": 100_000_000,
        "price_table": [{"code": "standard", "time_delta": 0, "price": 500_000}],
        "squad_code": "",
        "fleet_types": [],
        "is_qa": False,
        "created_at": instant,
        "updated_at": instant,
        "version_seq": 1,
        "version_rev": f"1-{organization.id[:8]}",
    }
