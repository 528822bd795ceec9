"""`gs.platform`: operations for platform partners only (section "Platform Partners")."""

from msgspec import Struct

from gotsurge_async.calls.session import Session
from gotsurge_async.resources.platform.organizations import Organizations, Users
from gotsurge_async.resources.platform.tasks import Drafts, PlatformTasks

__all__ = ["Platform"]


class Platform(Struct, frozen=True):
    """The resources of a platform partner.

    Attributes:
        organizations: the merchants whom the partner manages.
        users: invitations.
        tasks: tasks of the partner and its organizations.
        drafts: tasks that no driver sees until they are broadcast.
    """

    organizations: Organizations
    users: Users
    tasks: PlatformTasks
    drafts: Drafts

    @classmethod
    def of(cls, session: Session) -> "Platform":
        """The resources over one session (section "Platform Partners")."""
        return cls(Organizations(session), Users(session), PlatformTasks(session), Drafts(session))
