"""`gs.platform.organizations` and `gs.platform.users`: a platform partner's merchants, and their people."""

from collections.abc import Sequence
from typing import Any, cast

from msgspec import Struct

from gotsurge_async.api.endpoints import (
    ORGANIZATIONS_CREATE,
    ORGANIZATIONS_GET,
    ORGANIZATIONS_LIST,
    ORGANIZATIONS_ROLES,
    USERS_INVITE,
    Endpoint,
)
from gotsurge_async.calls.session import Session
from gotsurge_async.codec import Codec, unreadable
from gotsurge_async.errors import Coded, GotSurgeError, InvalidData, OutcomeUnknown, Problem, UnreadableAnswer
from gotsurge_async.models.platform import (
    Invitation,
    InvitationRequest,
    Organization,
    OrganizationAnswer,
    OrganizationPage,
    OrganizationRequest,
    Role,
    RoleList,
)
from gotsurge_async.models.tasks import Message
from gotsurge_async.resources.listing import Listing, listing
from gotsurge_async.resources.reading import reader
from gotsurge_async.transports.base import Response

__all__ = ["Organizations", "Users"]

_RESERVED = frozenset(("root", "sysadmin", "admin", "sys", "system", "freelancedriver"))
_PROTECTED = ("versafleet", "gotsurge")


class Organizations(Struct, frozen=True):
    """Create and read organizations."""

    _session: Session

    async def create(self, business_name: str, *, timeout: float | None = None) -> Organization:
        """Create an organization (section "Create Associated Organization").

        Never repeated. When the answer was lost, the list is searched for the name, which is unique; an organization
        with it is returned.

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
            organization = await _find(session, business_name)
            if organization is None:
                raise error from None
            return organization

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
        """List the roles of users in an organization (section "List Roles"). Safe to repeat.

        Args:
            timeout: seconds for the whole of it, see `GotSurge.with_options`.

        Raises:
            NotFound: no such organization, or not one of the partner's.
        """
        session = self._session.within(timeout)
        answer = await session.call(ORGANIZATIONS_ROLES, path={"org_id": org_id}, read=reader(RoleList))
        return answer.roles


def _listing(session: Session, per_page: int = 200) -> Listing[OrganizationPage, Organization]:
    return listing(session, ORGANIZATIONS_LIST, reader(OrganizationPage), "organizations", per_page=per_page)


async def _organization(session: Session, endpoint: Endpoint[OrganizationAnswer], **call: Any) -> Organization:
    return cast("Organization", await session.call(endpoint, read=_read_organization, **call))


async def _find(session: Session, business_name: str) -> Organization | None:
    try:
        async for organization in _listing(session):
            if organization.business_name == business_name:
                return organization
    except GotSurgeError:  # then the outcome stays unknown
        pass
    return None


def _read_organization(codec: Codec, answer: Response) -> Organization:
    content = codec.decode(answer.body, OrganizationAnswer)
    if content.organization is None:
        problems = [Problem(path, why) for path, why in unreadable(content).items()]
        raise UnreadableAnswer("the answer names no organization", problems)
    return content.organization


def _check_name(name: str) -> None:
    if not isinstance(name, str):
        raise InvalidData("", [Problem("business_name", Coded(f"expected text, not {name!r:.40}", "E237"), name)])
    lower = name.strip().lower()
    problems = [] if lower else [Problem("business_name", Coded("must not be blank", "E417"), name)]
    # The document does not say which letters the service takes: those of other scripts are left for it to judge.
    odd = sorted({character for character in name if not (character.isalnum() or character in " -_")})
    if odd:
        allowed = f"may contain only letters, digits, spaces, dashes and underscores, not {' '.join(map(repr, odd))}"
        problems.append(Problem("business_name", Coded(allowed, "E417"), name))
    if lower in _RESERVED:
        problems.append(Problem("business_name", Coded("is a reserved word", "E417"), name))
    contained = [word for word in _PROTECTED if word in lower]
    problems += [Problem("business_name", Coded(f"must not contain {word!r}", "E417"), name) for word in contained]
    if problems:
        raise InvalidData("", problems)


class Users(Struct, frozen=True):
    """Invite people into organizations."""

    _session: Session

    async def invite(
        self, emails: str | Sequence[str], *, org_id: str, role_id: str, timeout: float | None = None
    ) -> Message:
        """Invite people into an organization (section "Invite User"). Only the platform partner's OrgAdmin may.

        Never repeated when the answer was lost: all of them might be invited twice.

        Args:
            emails: one address, or several.
            org_id: an organization of the partner.
            role_id: one of ``gs.platform.organizations.roles(org_id)``.
            timeout: seconds for the whole of it, see `GotSurge.with_options`.

        Raises:
            InvalidData: no address, or text that is not one.
            Rejected: the service invites no one.
            OutcomeUnknown: it is not known whether they were invited.
        """
        addresses = (emails,) if isinstance(emails, str) else tuple(emails)
        problems = [
            Problem(f"emails[{number}]", Coded("is not an email address", "E237"), address)
            for number, address in enumerate(addresses)
            if not _may_be_email(address)
        ]
        if problems or not addresses:
            raise InvalidData("", problems or [Problem("emails", Coded("name at least one address", "E237"))])
        invitation = Invitation(emails=addresses, org_id=org_id, role_id=role_id)
        return await self._session.within(timeout).call(USERS_INVITE, body=InvitationRequest(user=invitation))


def _may_be_email(text: str) -> bool:
    name, _, host = text.rpartition("@")
    return bool(name and host) and not any(character.isspace() for character in text)
