"""`gs.platform.users`: people of the partner's organizations (section "Invite User")."""

from collections.abc import Sequence

import attrs

from gotsurge_async.api.endpoints import USERS_INVITE
from gotsurge_async.calls.session import Session
from gotsurge_async.errors import InvalidData, Problem
from gotsurge_async.models.platform import Invitation, InvitationRequest
from gotsurge_async.models.tasks import Message

__all__ = ["Users"]


@attrs.frozen
class Users:
    """Invite people."""

    _session: Session

    async def invite(
        self, emails: str | Sequence[str], *, org_id: str, role_id: str, timeout: float | None = None
    ) -> Message:
        """Invite people into an organization (section "Invite User"). Only the platform partner's OrgAdmin may.

        Never repeated when the answer was lost: everybody might be invited twice.

        Args:
            emails: one address, or several.
            org_id: an organization of the partner.
            role_id: one of ``gs.platform.organizations.roles(org_id)``.
            timeout: seconds for the whole of it, see `GotSurge.with_options`.

        Raises:
            InvalidData: no address, or what is none.
            Rejected: the service invites nobody.
            OutcomeUnknown: nobody can say whether they were invited.
        """
        addresses = (emails,) if isinstance(emails, str) else tuple(emails)
        problems = [
            Problem(f"emails[{number}]", "is not an email address", each)
            for number, each in enumerate(addresses)
            if not _may_be_email(each)
        ]
        if problems or not addresses:
            raise InvalidData("", problems or [Problem("emails", "name at least one address")])
        invitation = Invitation(emails=addresses, org_id=org_id, role_id=role_id)
        return await self._session.within(timeout).call(USERS_INVITE, body=InvitationRequest(user=invitation))


def _may_be_email(text: str) -> bool:
    name, _, host = text.rpartition("@")
    return bool(name and host) and not any(character.isspace() for character in text)
