"""Organizations, roles and invitations of platform partners (section "Platform Partners"), and lists in pages."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

import attrs
from attrs.converters import optional

from gotsurge_async.models.answers import Task
from gotsurge_async.models.base import NOT_GIVEN, Model, optional_utc
from gotsurge_async.models.tasks import TaskStatus
from gotsurge_async.money import Money

__all__ = [
    "Organization",
    "OrganizationPage",
    "PageMeta",
    "PriceStep",
    "Role",
    "TaskPage",
    "TrackingAssignment",
    "UpdatedTask",
    "UpdatedTasks",
]


@attrs.frozen(kw_only=True, eq=False, repr=False)
class PriceStep(Model):
    """One line of an organization's price table.

    Attributes:
        time_delta: a time as the service returns it, in a unit that is not documented.
        price: `Money` without a currency.
    """

    code: str | None = None
    time_delta: float | None = None
    price: Money | None = None


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Organization(Model):
    """A merchant that a platform partner manages. Its amounts come without a currency."""

    IDENTITY: ClassVar[frozenset[str]] = frozenset({"id"})
    OTHER_NAMES: ClassVar[Mapping[str, tuple[str, ...]]] = {"version_rev": ("_rev", "rev")}

    id: str
    business_name: str | None = None
    squad_price: Money | None = None
    min_price: Money | None = None
    max_price: Money | None = None
    price_table: tuple[PriceStep, ...] = NOT_GIVEN
    squad_code: str | None = None
    fleet_types: tuple[str, ...] = NOT_GIVEN
    is_qa: bool | None = None
    created_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    updated_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    version_seq: int | None = None
    version_rev: str | None = None


@attrs.frozen(kw_only=True, eq=False, repr=False)
class OrganizationRequest(Model):
    """Body of Create Associated Organization."""

    business_name: str


@attrs.frozen(kw_only=True, eq=False, repr=False)
class OrganizationAnswer(Model):
    """Answer of Create Associated Organization and of Associated Organization Detail."""

    organization: Organization | None = None


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Role(Model):
    """A role of users in an organization."""

    IDENTITY: ClassVar[frozenset[str]] = frozenset({"id"})

    id: str
    name: str | None = None


@attrs.frozen(kw_only=True, eq=False, repr=False)
class RoleList(Model):
    """Answer of List Roles."""

    roles: tuple[Role, ...] = NOT_GIVEN


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Invitation(Model):
    """The people to invite, their organization, and their role."""

    emails: tuple[str, ...]
    org_id: str
    role_id: str


@attrs.frozen(kw_only=True, eq=False, repr=False)
class InvitationRequest(Model):
    """Body of Invite User."""

    user: Invitation | None = None


@attrs.frozen(kw_only=True, eq=False, repr=False)
class PageMeta(Model):
    """The position of a page.

    Attributes:
        page: its number, from 1.
        per_page: the most items of a page.
        total: the number of items in all, if the service returns it.
    """

    page: int | None = None
    per_page: int | None = None
    total: int | None = None


@attrs.frozen(kw_only=True, eq=False, repr=False)
class OrganizationPage(Model):
    """Answer of Associated Organization List."""

    meta: PageMeta | None = None
    organizations: tuple[Organization, ...] = NOT_GIVEN


@attrs.frozen(kw_only=True, eq=False, repr=False)
class TaskPage(Model):
    """Answer of Task List."""

    meta: PageMeta | None = None
    tasks: tuple[Task, ...] = NOT_GIVEN


@attrs.frozen(kw_only=True, eq=False, repr=False)
class BroadcastRequest(Model):
    """Body of Broadcast Draft Tasks: 1 to 20 ids."""

    task_ids: tuple[str, ...]


@attrs.frozen(kw_only=True, eq=False, repr=False)
class TrackingAssignment(Model):
    """The tracking id that a task gets."""

    IDENTITY: ClassVar[frozenset[str]] = frozenset({"id", "tracking_id"})

    id: str
    tracking_id: str


@attrs.frozen(kw_only=True, eq=False, repr=False)
class TrackingRequest(Model):
    """Body of Broadcast with Tracking and of Patch Tracking IDs: 1 to 20 assignments."""

    tasks: tuple[TrackingAssignment, ...]


@attrs.frozen(kw_only=True, eq=False, repr=False)
class UpdatedTask(Model):
    """A task that a batch call has changed: at least its id."""

    IDENTITY: ClassVar[frozenset[str]] = frozenset({"id", "tracking_id"})

    id: str
    tracking_id: str | None = None
    current_status: TaskStatus | None = attrs.field(default=None, converter=optional(TaskStatus))


@attrs.frozen(kw_only=True, eq=False, repr=False)
class UpdatedTasks(Model):
    """Answer of the broadcasts and of Patch Tracking IDs; ids alone are read as tasks without other fields."""

    updated_tasks: tuple[UpdatedTask, ...] = NOT_GIVEN
    server_time: datetime | None = attrs.field(default=None, converter=optional_utc)


@attrs.frozen(kw_only=True, eq=False, repr=False)
class TaskEvent(Model):
    """A webhook of the type Task Status Updated: ``data`` is the task, ``updates`` its changes, as they came."""

    type: str | None = None
    model_name: str | None = None
    data: dict[str, Any] | None = None
    updates: dict[str, Any] | None = None
    timestamp: datetime | None = attrs.field(default=None, converter=optional_utc)
