"""`gs.platform.organizations`: the merchants whom a platform partner manages."""

from typing import Any, cast

import attrs

from gotsurge_async.api.endpoints import (
    ORGANIZATIONS_CREATE,
    ORGANIZATIONS_GET,
    ORGANIZATIONS_LIST,
    ORGANIZATIONS_ROLES,
    Endpoint,
)
from gotsurge_async.calls.session import Session
from gotsurge_async.codec import Codec, unreadable
from gotsurge_async.errors import GotSurgeError, InvalidData, OutcomeUnknown, Problem, UnreadableAnswer
from gotsurge_async.models.platform import (
    Organization,
    OrganizationAnswer,
    OrganizationPage,
    OrganizationRequest,
    Role,
    RoleList,
)
from gotsurge_async.resources.listing import Listing, listing
from gotsurge_async.resources.reading import reader
from gotsurge_async.transports.base import Response

__all__ = ["Organizations"]

_RESERVED = frozenset(("root", "sysadmin", "admin", "sys", "system", "freelancedriver"))
_PROTECTED = ("versafleet", "gotsurge")


@attrs.frozen
class Organizations:
    """Create and read organizations."""

    _session: Session

    async def create(self, business_name: str, *, timeout: float | None = None) -> Organization:
        """Create an organization (section "Create Associated Organization").

        Never repeated. When the answer was lost, the organization is looked for by its name, which no two can have:
        found in the list, it is returned.

        Args:
            business_name: letters, digits, space, dash and underscore; no reserved word; unique.
            timeout: seconds for the whole of it, see `GotSurge.with_options`.

        Raises:
            InvalidData: the name breaks a rule; nothing was sent.
            Rejected: the service refuses it; a name that is taken, for instance.
            OutcomeUnknown: the answer was lost, and the list does not show the organization, which proves nothing.
        """
        _check_name(business_name)
        session = self._session.within(timeout)
        try:
            body = OrganizationRequest(business_name=business_name)
            return await _organization(session, ORGANIZATIONS_CREATE, body=body)
        except OutcomeUnknown as error:
            found = await _find(session, business_name)
            if found is None:
                raise error from None
            return found

    async def get(self, org_id: str, *, timeout: float | None = None) -> Organization:
        """Read an organization (section "Associated Organization Detail"). Safe to repeat.

        Args:
            timeout: seconds for the whole of it, see `GotSurge.with_options`.

        Raises:
            NotFound: no such organization, or not one of the partner's.
        """
        return await _organization(self._session.within(timeout), ORGANIZATIONS_GET, path={"org_id": org_id})

    def list(self, *, per_page: int = 200) -> Listing[OrganizationPage, Organization]:
        """List the partner's organizations (section "Associated Organization List"). Safe to repeat.

        ``async for organization in gs.platform.organizations.list()`` reads all pages; see `Listing`.
        """
        return _listing(self._session, per_page)

    async def roles(self, org_id: str, *, timeout: float | None = None) -> tuple[Role, ...]:
        """List what a user can be in an organization (section "List Roles"). Safe to repeat.

        Args:
            timeout: seconds for the whole of it, see `GotSurge.with_options`.

        Raises:
            NotFound: no such organization, or not one of the partner's.
        """
        session = self._session.within(timeout)
        answer = await session.call(ORGANIZATIONS_ROLES, path={"org_id": org_id}, read=reader(RoleList))
        return answer.roles


def _listing(session: Session, per_page: int = 200) -> Listing[OrganizationPage, Organization]:
    return listing(session, ORGANIZATIONS_LIST, "organizations", per_page=per_page, read=reader(OrganizationPage))


async def _organization(session: Session, endpoint: Endpoint[OrganizationAnswer], **call: Any) -> Organization:
    return cast("Organization", await session.call(endpoint, read=_read_organization, **call))


async def _find(session: Session, business_name: str) -> Organization | None:
    try:
        async for organization in _listing(session):
            if organization.business_name == business_name:
                return organization
    except GotSurgeError:  # then it is as unknown as before
        return None
    return None


def _read_organization(codec: Codec, answer: Response) -> Organization:
    found = codec.decode(answer.body, OrganizationAnswer)
    if found.organization is None:
        problems = [Problem(path, why) for path, why in unreadable(found).items()]
        raise UnreadableAnswer("the answer names no organization", problems)
    return found.organization


def _check_name(name: str) -> None:
    problems = _name_problems("business_name", name)
    if problems:
        raise InvalidData("", problems)


def _name_problems(path: str, name: str) -> "list[Problem]":
    if not isinstance(name, str):
        return [Problem(path, f"expected text, not {name!r:.40}", name)]
    lower = name.strip().lower()
    found = []
    if not lower:
        found.append(Problem(path, "must not be blank", name))
    # Which letters the service takes is not said: those of other scripts are left for it to judge.
    odd = sorted({character for character in name if not (character.isalnum() or character in " -_")})
    if odd:
        why = f"consists of letters, digits, space, dash and underscore, not {' '.join(map(repr, odd))}"
        found.append(Problem(path, why, name))
    if lower in _RESERVED:
        found.append(Problem(path, "is a reserved word", name))
    found += [Problem(path, f"must not contain {word!r}", name) for word in _PROTECTED if word in lower]
    return found
