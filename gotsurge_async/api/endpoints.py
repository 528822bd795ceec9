"""The table of every operation: verb, path, what goes out, what comes back, and whether a repeat is safe.

The published document shows no path and no verb: all that this table holds of them is assumed, in this one
place, until a `Profile` says otherwise.
"""

from collections.abc import Mapping
from enum import StrEnum
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from urllib.parse import quote

import attrs

from gotsurge_async.errors import UsageError
from gotsurge_async.models.tasks import Cancellation, Message, TaskBatch, TaskChanges

if TYPE_CHECKING:
    from gotsurge_async.models.answers import CreatedTasks, Task
    from gotsurge_async.models.auth import PartnerDetail, SsoAnswer, TokenAnswer
    from gotsurge_async.models.platform import OrganizationAnswer, OrganizationPage, RoleList, TaskPage, UpdatedTasks
    from gotsurge_async.models.prices import Quote

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
        replay: whether the call may be repeated when its answer was lost.
        response, request: the class of the answer, and that of the body, None without one. A class by its name in
            `models` is imported when it is first asked for.
        writes: whether the call changes anything at the service; False if it only reads.
        assumed: whether verb and path are our guess; False once a profile has named them.
    """

    name: str
    verb: str
    path: str
    section: str
    replay: Replay
    _response: type[T] | str = attrs.field(alias="response")
    _request: type[Any] | str | None = attrs.field(default=None, alias="request")
    bearer: bool = True
    writes: bool = True
    assumed: bool = True

    @property
    def response(self) -> type[T]:  # documented in the class, with the other attributes
        return cast("type[T]", _class(self._response))

    @property
    def request(self) -> type[Any] | None:
        return _class(self._request)

    def url_path(self, values: Mapping[str, str] = {}) -> str:
        """The path with its names filled in, each percent-encoded whole (a slash in a value is not a separator).

        Raises UsageError for a value that is not text, or would lead to another path: "", "." and "..".
        """
        quoted = {}
        for name, value in values.items():
            if not isinstance(value, str) or value in ("", ".", ".."):
                raise UsageError(f'{self.name}: {name} must be text, but not "", "." or ".."; it is {value!r}', "E903")
            quoted[name] = quote(value, safe="")
        return self.path.format_map(quoted)


def _class(named: type[Any] | str | None) -> type[Any] | None:
    if not isinstance(named, str):
        return named
    module, _, name = named.partition(".")
    return cast("type[Any]", getattr(import_module(f"gotsurge_async.models.{module}"), name))


# Of each operation first where it is, then what it is.
# fmt: off
PARTNER_DETAIL: "Endpoint[PartnerDetail]" = Endpoint(
    "partner.detail", "GET", "/partners/{signature}",
    section="Partner Detail", response="auth.PartnerDetail", replay=Replay.SAFE, writes=False, bearer=False,
)
AUTH_EXCHANGE: "Endpoint[TokenAnswer]" = Endpoint(
    "auth.exchange", "POST", "/oauth2/token",
    section="Exchange Token",
    request="auth.ExchangeRequest", response="auth.TokenAnswer", replay=Replay.NEVER, bearer=False,
)
AUTH_REFRESH: "Endpoint[TokenAnswer]" = Endpoint(
    "auth.refresh", "POST", "/oauth2/refresh",
    section="Refresh Token",
    request="auth.RefreshRequest", response="auth.TokenAnswer", replay=Replay.SAFE, bearer=False,
)
TASKS_CREATE: "Endpoint[CreatedTasks]" = Endpoint(
    "tasks.create", "POST", "/tasks",
    section="Create & Broadcast Tasks", request=TaskBatch, response="answers.CreatedTasks", replay=Replay.NEVER,
)
TASKS_GET: "Endpoint[Task]" = Endpoint(
    "tasks.get", "GET", "/tasks/{task_id}",
    section="Task Detail", response="answers.Task", replay=Replay.SAFE, writes=False,
)
TASKS_CANCEL = Endpoint(
    "tasks.cancel", "POST", "/tasks/{task_id}/cancel",
    section="Cancel Task", request=Cancellation, response=Message, replay=Replay.CONVERGE,
)
PRICES_RECOMMEND: "Endpoint[Quote]" = Endpoint(
    "prices.recommend", "POST", "/prices/recommendation",
    section="Get price recommendation",
    request="prices.PriceRequest", response="prices.Quote", replay=Replay.SAFE, writes=False,
)
SSO_EXCHANGE: "Endpoint[SsoAnswer]" = Endpoint(
    "platform.sso.exchange", "POST", "/platform/sso/token",
    section="SSO Exchange Token",
    request="auth.SsoRequest", response="auth.SsoAnswer", replay=Replay.NEVER, bearer=False,
)
ORGANIZATIONS_CREATE: "Endpoint[OrganizationAnswer]" = Endpoint(
    "platform.organizations.create", "POST", "/platform/organizations",
    section="Create Associated Organization",
    request="platform.OrganizationRequest", response="platform.OrganizationAnswer", replay=Replay.NEVER,
)
ORGANIZATIONS_LIST: "Endpoint[OrganizationPage]" = Endpoint(
    "platform.organizations.list", "GET", "/platform/organizations",
    section="Associated Organization List", response="platform.OrganizationPage", replay=Replay.SAFE, writes=False,
)
ORGANIZATIONS_GET: "Endpoint[OrganizationAnswer]" = Endpoint(
    "platform.organizations.get", "GET", "/platform/organizations/{org_id}",
    section="Associated Organization Detail", response="platform.OrganizationAnswer", replay=Replay.SAFE, writes=False,
)
ORGANIZATIONS_ROLES: "Endpoint[RoleList]" = Endpoint(
    "platform.organizations.roles", "GET", "/platform/organizations/{org_id}/roles",
    section="List Roles", response="platform.RoleList", replay=Replay.SAFE, writes=False,
)
USERS_INVITE = Endpoint(
    "platform.users.invite", "POST", "/platform/users/invite",
    section="Invite User", request="platform.InvitationRequest", response=Message, replay=Replay.NEVER,
)
PLATFORM_TASKS_CREATE: "Endpoint[CreatedTasks]" = Endpoint(
    "platform.tasks.create", "POST", "/platform/tasks",
    section="Platform Partners: Create Tasks", request=TaskBatch, response="answers.CreatedTasks", replay=Replay.NEVER,
)
PLATFORM_TASKS_LIST: "Endpoint[TaskPage]" = Endpoint(
    "platform.tasks.list", "GET", "/platform/tasks",
    section="Platform Partners: Task List", response="platform.TaskPage", replay=Replay.SAFE, writes=False,
)
PLATFORM_TASKS_GET: "Endpoint[Task]" = Endpoint(
    "platform.tasks.get", "GET", "/platform/tasks/{task_id}",
    section="Platform Partners: Task Detail", response="answers.Task", replay=Replay.SAFE, writes=False,
)
PLATFORM_TASKS_UPDATE: "Endpoint[Task]" = Endpoint(
    "platform.tasks.update", "PATCH", "/platform/tasks/{task_id}",
    section="Update Task", request=TaskChanges, response="answers.Task", replay=Replay.CONVERGE,
)
DRAFTS_CREATE: "Endpoint[CreatedTasks]" = Endpoint(
    "platform.drafts.create", "POST", "/platform/tasks/drafts",
    section="Create Draft Tasks", request=TaskBatch, response="answers.CreatedTasks", replay=Replay.HARMLESS,
)
DRAFTS_BROADCAST: "Endpoint[UpdatedTasks]" = Endpoint(
    "platform.drafts.broadcast", "POST", "/platform/tasks/drafts/broadcast",
    section="Broadcast Draft Tasks",
    request="platform.BroadcastRequest", response="platform.UpdatedTasks", replay=Replay.SAFE,
)
DRAFTS_BROADCAST_WITH_TRACKING: "Endpoint[UpdatedTasks]" = Endpoint(
    "platform.drafts.broadcast_with_tracking", "POST", "/platform/tasks/drafts/broadcast-with-tracking",
    section="Broadcast with Tracking",
    request="platform.TrackingRequest", response="platform.UpdatedTasks", replay=Replay.SAFE,
)
PATCH_TRACKING_IDS: "Endpoint[UpdatedTasks]" = Endpoint(
    "platform.tasks.patch_tracking_ids", "PATCH", "/platform/tasks/tracking-ids",
    section="Patch Tracking IDs",
    request="platform.TrackingRequest", response="platform.UpdatedTasks", replay=Replay.SAFE,
)
# fmt: on

ENDPOINTS: dict[str, Endpoint[Any]] = {
    endpoint.name: endpoint for endpoint in list(globals().values()) if isinstance(endpoint, Endpoint)
}
"""Every operation by its name, in the order of the document."""
