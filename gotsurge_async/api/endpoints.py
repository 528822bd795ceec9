"""The table of every operation: verb, path, what goes out, what comes back, and whether a repeat is safe.

The published document shows no path and no verb: all that this table holds of them is assumed, in this one
place, until a `Profile` says otherwise.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import attrs

from gotsurge_async.errors import UsageError
from gotsurge_async.models.auth import (
    ExchangeRequest,
    PartnerDetail,
    RefreshRequest,
    SsoAnswer,
    SsoRequest,
    TokenAnswer,
)
from gotsurge_async.models.platform import (
    BroadcastRequest,
    InvitationRequest,
    OrganizationAnswer,
    OrganizationPage,
    OrganizationRequest,
    RoleList,
    TaskPage,
    TrackingRequest,
    UpdatedTasks,
)
from gotsurge_async.models.prices import PriceRequest, Quote
from gotsurge_async.models.tasks import Cancellation, CreatedTasks, Message, Task, TaskBatch, TaskChanges

T = TypeVar("T")

CHUNK = 20
"""The most tasks, or ids, that one call may carry (section "Create & Broadcast Tasks")."""


class Replay(StrEnum):
    """Whether a call may be repeated when its answer was lost."""

    SAFE = "safe"
    """Repeat freely: the operation changes nothing, or changes it to the same again."""
    NEVER = "never"
    """A repeat may act twice."""
    CONVERGE = "converge"
    """Read the state first; repeat only the part that is still needed. The request loop does not repeat it."""
    HARMLESS = "harmless"
    """A repeat leaves something unused behind, and nothing worse. The request loop does not repeat it."""


@attrs.frozen
class Endpoint(Generic[T]):
    """One operation as a value.

    Attributes:
        name: our name for it, such as ``tasks.create``.
        verb, path: relative to the API base; ``{names}`` in the path are filled by `url_path`.
        section: the section of the document.
        replay: whether the call may be repeated when its answer was lost.
        response: the class of the answer.
        request: the class of the body, None without one.
        bearer: whether the call carries the bearer token.
        writes: whether the call changes anything at the service; False if it only reads.
        assumed: whether verb and path are our guess; False once a profile has named them.
    """

    name: str
    verb: str
    path: str
    section: str
    replay: Replay
    response: type[T]
    request: type[Any] | None = None
    bearer: bool = True
    writes: bool = True
    assumed: bool = True

    def url_path(self, values: Mapping[str, str] = {}) -> str:
        """The path with its names filled in, each percent-encoded whole (a slash in a value is not a separator).

        Raises:
            UsageError: a value that is no text, or would lead to another path: "", "." and "..".
        """
        quoted = {}
        for name, value in values.items():
            if not isinstance(value, str) or value in ("", ".", ".."):
                raise UsageError(f"{self.name}: {name} must be text that names one thing, not {value!r}", "E903")
            quoted[name] = quote(value, safe="")
        return self.path.format_map(quoted)


# Each operation has two lines: where it is, and what it is.
# fmt: off
PARTNER_DETAIL = Endpoint(
    "partner.detail", "GET", "/partners/{signature}",
    section="Partner Detail", response=PartnerDetail, replay=Replay.SAFE, writes=False, bearer=False,
)
AUTH_EXCHANGE = Endpoint(
    "auth.exchange", "POST", "/oauth2/token",
    section="Exchange Token", request=ExchangeRequest, response=TokenAnswer, replay=Replay.NEVER, bearer=False,
)
AUTH_REFRESH = Endpoint(
    "auth.refresh", "POST", "/oauth2/refresh",
    section="Refresh Token", request=RefreshRequest, response=TokenAnswer, replay=Replay.SAFE, bearer=False,
)
TASKS_CREATE = Endpoint(
    "tasks.create", "POST", "/tasks",
    section="Create & Broadcast Tasks", request=TaskBatch, response=CreatedTasks, replay=Replay.NEVER,
)
TASKS_GET = Endpoint(
    "tasks.get", "GET", "/tasks/{task_id}",
    section="Task Detail", response=Task, replay=Replay.SAFE, writes=False,
)
TASKS_CANCEL = Endpoint(
    "tasks.cancel", "POST", "/tasks/{task_id}/cancel",
    section="Cancel Task", request=Cancellation, response=Message, replay=Replay.CONVERGE,
)
PRICES_RECOMMEND = Endpoint(
    "prices.recommend", "POST", "/prices/recommendation",
    section="Get price recommendation", request=PriceRequest, response=Quote, replay=Replay.SAFE, writes=False,
)
SSO_EXCHANGE = Endpoint(
    "platform.sso.exchange", "POST", "/platform/sso/token",
    section="SSO Exchange Token", request=SsoRequest, response=SsoAnswer, replay=Replay.NEVER, bearer=False,
)
ORGANIZATIONS_CREATE = Endpoint(
    "platform.organizations.create", "POST", "/platform/organizations",
    section="Create Associated Organization",
    request=OrganizationRequest, response=OrganizationAnswer, replay=Replay.NEVER,
)
ORGANIZATIONS_LIST = Endpoint(
    "platform.organizations.list", "GET", "/platform/organizations",
    section="Associated Organization List", response=OrganizationPage, replay=Replay.SAFE, writes=False,
)
ORGANIZATIONS_GET = Endpoint(
    "platform.organizations.get", "GET", "/platform/organizations/{org_id}",
    section="Associated Organization Detail", response=OrganizationAnswer, replay=Replay.SAFE, writes=False,
)
ORGANIZATIONS_ROLES = Endpoint(
    "platform.organizations.roles", "GET", "/platform/organizations/{org_id}/roles",
    section="List Roles", response=RoleList, replay=Replay.SAFE, writes=False,
)
USERS_INVITE = Endpoint(
    "platform.users.invite", "POST", "/platform/users/invite",
    section="Invite User", request=InvitationRequest, response=Message, replay=Replay.NEVER,
)
PLATFORM_TASKS_CREATE = Endpoint(
    "platform.tasks.create", "POST", "/platform/tasks",
    section="Platform Partners: Create Tasks", request=TaskBatch, response=CreatedTasks, replay=Replay.NEVER,
)
PLATFORM_TASKS_LIST = Endpoint(
    "platform.tasks.list", "GET", "/platform/tasks",
    section="Platform Partners: Task List", response=TaskPage, replay=Replay.SAFE, writes=False,
)
PLATFORM_TASKS_GET = Endpoint(
    "platform.tasks.get", "GET", "/platform/tasks/{task_id}",
    section="Platform Partners: Task Detail", response=Task, replay=Replay.SAFE, writes=False,
)
PLATFORM_TASKS_UPDATE = Endpoint(
    "platform.tasks.update", "PATCH", "/platform/tasks/{task_id}",
    section="Update Task", request=TaskChanges, response=Task, replay=Replay.CONVERGE,
)
DRAFTS_CREATE = Endpoint(
    "platform.drafts.create", "POST", "/platform/tasks/drafts",
    section="Create Draft Tasks", request=TaskBatch, response=CreatedTasks, replay=Replay.HARMLESS,
)
DRAFTS_BROADCAST = Endpoint(
    "platform.drafts.broadcast", "POST", "/platform/tasks/drafts/broadcast",
    section="Broadcast Draft Tasks", request=BroadcastRequest, response=UpdatedTasks, replay=Replay.SAFE,
)
DRAFTS_BROADCAST_WITH_TRACKING = Endpoint(
    "platform.drafts.broadcast_with_tracking", "POST", "/platform/tasks/drafts/broadcast-with-tracking",
    section="Broadcast with Tracking", request=TrackingRequest, response=UpdatedTasks, replay=Replay.SAFE,
)
PATCH_TRACKING_IDS = Endpoint(
    "platform.tasks.patch_tracking_ids", "PATCH", "/platform/tasks/tracking-ids",
    section="Patch Tracking IDs", request=TrackingRequest, response=UpdatedTasks, replay=Replay.SAFE,
)
# fmt: on

ENDPOINTS: dict[str, Endpoint[Any]] = {
    endpoint.name: endpoint for endpoint in list(globals().values()) if isinstance(endpoint, Endpoint)
}
"""Every operation by its name, in the order of the document."""
