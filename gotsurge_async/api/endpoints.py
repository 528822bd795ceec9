"""The table of every operation: verb, path, what goes out, what comes back, and whether a repeat is safe.

The published document shows no path and no verb: all that this table holds of them is assumed, in this one
place, until a `Profile` says otherwise.
"""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Generic, Self, TypeVar, cast
from urllib.parse import quote

import attrs

from gotsurge_async.errors import ConfigError, UsageError
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

VERBS = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE"))
CHUNK = 20
"""The most tasks, or ids, that one call may carry (section "Create & Broadcast Tasks")."""
# Names in braces, and otherwise only what a URL's path holds as it is.
_PATH = re.compile(r"/([\w\-.~%!$&'()*+,;=:@/]|\{\w+\})*", re.ASCII)


class Replay(StrEnum):
    """What may be done when the answer was lost."""

    SAFE = "safe"
    """Repeat freely: the operation changes nothing, or changes it to the same again."""
    NEVER = "never"
    """A repeat may act twice."""
    CONVERGE = "converge"
    """Read the state first; repeat only what is still needed. The request loop does not repeat it."""
    HARMLESS = "harmless"
    """A repeat leaves something unused behind, and nothing worse. The request loop does not repeat it."""


@attrs.frozen(kw_only=True)
class Endpoint(Generic[T]):
    """One operation as a value.

    Attributes:
        name: our name for it, such as ``tasks.create``.
        verb, path: relative to the API base; ``{names}`` in the path are filled by `url_path`.
        section: the section of the document.
        request: the class of the body, None without one.
        response: the class of the answer.
        bearer: whether the call carries the bearer token.
        replay: what may be done when the answer was lost.
        assumed: whether verb and path are our guess; False once a profile has named them.
    """

    name: str
    verb: str
    path: str
    section: str
    request: type[Any] | None = None
    response: type[T]
    bearer: bool = True
    replay: Replay
    assumed: bool = True

    def url_path(self, values: Mapping[str, str] = {}) -> str:
        """The path with its names filled in, each percent-encoded whole (a slash in a value is not a separator).

        Raises:
            UsageError: a value that is no text, or would lead to another path: "", "." and "..".
        """
        quoted = {}
        for name, value in values.items():
            if not isinstance(value, str) or value in ("", ".", ".."):
                raise UsageError(f"{self.name}: {name} is text that names one thing, not {value!r}")
            quoted[name] = quote(value, safe="")
        return self.path.format_map(quoted)


PARTNER_DETAIL = Endpoint(
    name="partner.detail",
    verb="GET",
    path="/partners/{signature}",
    section="Partner Detail",
    response=PartnerDetail,
    bearer=False,
    replay=Replay.SAFE,
)
AUTH_EXCHANGE = Endpoint(
    name="auth.exchange",
    verb="POST",
    path="/oauth2/token",
    section="Exchange Token",
    request=ExchangeRequest,
    response=TokenAnswer,
    bearer=False,
    replay=Replay.NEVER,
)
AUTH_REFRESH = Endpoint(
    name="auth.refresh",
    verb="POST",
    path="/oauth2/refresh",
    section="Refresh Token",
    request=RefreshRequest,
    response=TokenAnswer,
    bearer=False,
    replay=Replay.SAFE,
)
TASKS_CREATE = Endpoint(
    name="tasks.create",
    verb="POST",
    path="/tasks",
    section="Create & Broadcast Tasks",
    request=TaskBatch,
    response=CreatedTasks,
    replay=Replay.NEVER,
)
TASKS_GET = Endpoint(
    name="tasks.get",
    verb="GET",
    path="/tasks/{task_id}",
    section="Task Detail",
    response=Task,
    replay=Replay.SAFE,
)
TASKS_CANCEL = Endpoint(
    name="tasks.cancel",
    verb="POST",
    path="/tasks/{task_id}/cancel",
    section="Cancel Task",
    request=Cancellation,
    response=Message,
    replay=Replay.CONVERGE,
)
PRICES_RECOMMEND = Endpoint(
    name="prices.recommend",
    verb="POST",
    path="/prices/recommendation",
    section="Get price recommendation",
    request=PriceRequest,
    response=Quote,
    replay=Replay.SAFE,
)
SSO_EXCHANGE = Endpoint(
    name="platform.sso.exchange",
    verb="POST",
    path="/platform/sso/token",
    section="SSO Exchange Token",
    request=SsoRequest,
    response=SsoAnswer,
    bearer=False,
    replay=Replay.NEVER,
)
ORGANIZATIONS_CREATE = Endpoint(
    name="platform.organizations.create",
    verb="POST",
    path="/platform/organizations",
    section="Create Associated Organization",
    request=OrganizationRequest,
    response=OrganizationAnswer,
    replay=Replay.NEVER,
)
ORGANIZATIONS_LIST = Endpoint(
    name="platform.organizations.list",
    verb="GET",
    path="/platform/organizations",
    section="Associated Organization List",
    response=OrganizationPage,
    replay=Replay.SAFE,
)
ORGANIZATIONS_GET = Endpoint(
    name="platform.organizations.get",
    verb="GET",
    path="/platform/organizations/{org_id}",
    section="Associated Organization Detail",
    response=OrganizationAnswer,
    replay=Replay.SAFE,
)
ORGANIZATIONS_ROLES = Endpoint(
    name="platform.organizations.roles",
    verb="GET",
    path="/platform/organizations/{org_id}/roles",
    section="List Roles",
    response=RoleList,
    replay=Replay.SAFE,
)
USERS_INVITE = Endpoint(
    name="platform.users.invite",
    verb="POST",
    path="/platform/users/invite",
    section="Invite User",
    request=InvitationRequest,
    response=Message,
    replay=Replay.NEVER,
)
PLATFORM_TASKS_CREATE = Endpoint(
    name="platform.tasks.create",
    verb="POST",
    path="/platform/tasks",
    section="Platform Partners: Create Tasks",
    request=TaskBatch,
    response=CreatedTasks,
    replay=Replay.NEVER,
)
PLATFORM_TASKS_LIST = Endpoint(
    name="platform.tasks.list",
    verb="GET",
    path="/platform/tasks",
    section="Platform Partners: Task List",
    response=TaskPage,
    replay=Replay.SAFE,
)
PLATFORM_TASKS_GET = Endpoint(
    name="platform.tasks.get",
    verb="GET",
    path="/platform/tasks/{task_id}",
    section="Platform Partners: Task Detail",
    response=Task,
    replay=Replay.SAFE,
)
PLATFORM_TASKS_UPDATE = Endpoint(
    name="platform.tasks.update",
    verb="PATCH",
    path="/platform/tasks/{task_id}",
    section="Update Task",
    request=TaskChanges,
    response=Task,
    replay=Replay.CONVERGE,
)
DRAFTS_CREATE = Endpoint(
    name="platform.drafts.create",
    verb="POST",
    path="/platform/tasks/drafts",
    section="Create Draft Tasks",
    request=TaskBatch,
    response=CreatedTasks,
    replay=Replay.HARMLESS,
)
DRAFTS_BROADCAST = Endpoint(
    name="platform.drafts.broadcast",
    verb="POST",
    path="/platform/tasks/drafts/broadcast",
    section="Broadcast Draft Tasks",
    request=BroadcastRequest,
    response=UpdatedTasks,
    replay=Replay.SAFE,
)
DRAFTS_BROADCAST_WITH_TRACKING = Endpoint(
    name="platform.drafts.broadcast_with_tracking",
    verb="POST",
    path="/platform/tasks/drafts/broadcast-with-tracking",
    section="Broadcast with Tracking",
    request=TrackingRequest,
    response=UpdatedTasks,
    replay=Replay.SAFE,
)
PATCH_TRACKING_IDS = Endpoint(
    name="platform.tasks.patch_tracking_ids",
    verb="PATCH",
    path="/platform/tasks/tracking-ids",
    section="Patch Tracking IDs",
    request=TrackingRequest,
    response=UpdatedTasks,
    replay=Replay.SAFE,
)

ENDPOINTS: dict[str, Endpoint[Any]] = {
    endpoint.name: endpoint for endpoint in list(globals().values()) if isinstance(endpoint, Endpoint)
}
"""Every operation by its name, in the order of the document."""


@attrs.frozen(kw_only=True)
class Profile:
    """What is known better than the table: verbs, paths and the API base, by the name of the operation.

    As TOML::

        api_base = "https://app.gotsurge.co/api/v2"

        [endpoints."tasks.create"]
        verb = "POST"
        path = "/orders"

    Raises:
        ConfigError: for an operation, a key, a verb or a path that cannot be right; it says which.
    """

    api_base: str | None = None
    endpoints: Mapping[str, Endpoint[Any]] = attrs.field(factory=dict)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a profile from a TOML file."""
        import tomllib  # here: few have a profile in a file

        try:
            mapping = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"cannot read the profile {path}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not TOML: {error}") from None
        return cls.from_mapping(mapping)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Read a profile from a mapping of the same shape as the TOML file."""
        unknown = sorted(set(mapping) - {"api_base", "endpoints"})
        if unknown:
            raise ConfigError(f"profile: unknown key {unknown[0]!r}; it knows api_base and endpoints")
        api_base = mapping.get("api_base")
        if api_base is not None and not isinstance(api_base, str):
            raise ConfigError(f"profile: api_base is a URL, not {api_base!r}")
        overrides = mapping.get("endpoints", {})
        if not isinstance(overrides, Mapping):
            raise ConfigError("profile: endpoints is a table of operations")
        return cls(api_base=api_base, endpoints={name: _override(name, value) for name, value in overrides.items()})

    def resolve(self, endpoint: Endpoint[T]) -> Endpoint[T]:
        """The endpoint as this profile has it."""
        return cast("Endpoint[T]", self.endpoints.get(endpoint.name, endpoint))

    def __iter__(self) -> Iterator[Endpoint[Any]]:
        return (self.resolve(endpoint) for endpoint in ENDPOINTS.values())


def _override(name: str, value: Any) -> Endpoint[Any]:
    where = f"profile: endpoints.{name}"
    known = ENDPOINTS.get(name)
    if known is None:
        raise ConfigError(f"{where}: no such operation; the operations are {', '.join(ENDPOINTS)}")
    if not isinstance(value, Mapping) or not set(value) <= {"verb", "path"}:
        raise ConfigError(f"{where}: give verb, path or both, and nothing else")
    verb = value.get("verb", known.verb)
    path = value.get("path", known.path)
    if not isinstance(verb, str) or verb not in VERBS:
        raise ConfigError(f"{where}: verb is one of {', '.join(sorted(VERBS))}, not {verb!r}")
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        raise ConfigError(f"{where}: path starts with a slash and is relative to the API base, not {path!r}")
    if _names(path) != _names(known.path):
        raise ConfigError(f"{where}: path must name {_names(known.path) or 'nothing'} in braces, as {known.path} does")
    return attrs.evolve(known, verb=verb, path=path, assumed=False)


def _names(path: str) -> list[str]:
    return sorted(re.findall(r"\{(\w+)\}", path))
