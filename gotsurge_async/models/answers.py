"""Tasks as they are read, and the answer of a create. A push of a file needs receipts only, unless it reads a task."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

import attrs
from attrs.converters import optional

from gotsurge_async.models.base import NOT_GIVEN, Model, optional_utc
from gotsurge_async.models.tasks import TaskFields, TaskStatus

__all__ = ["CreatedTasks", "Driver", "StatusEntry", "Task"]


@attrs.frozen(kw_only=True, eq=False, repr=False)
class StatusEntry(Model):
    """A status in a task's history."""

    status: TaskStatus = attrs.field(converter=TaskStatus)
    updated_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    note: str | None = None


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Driver(Model):
    """The driver of a task."""

    id: str | None = None
    name: str | None = None
    phone: str | None = None
    vehicle_name: str | None = None


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Task(TaskFields):
    """A task as it is read (section "Task Detail"). ``distance_in_meters`` is in metres.

    ``version_rev`` is what an update needs; the document's sample lacks it, so it may be None.
    """

    IDENTITY: ClassVar[frozenset[str]] = frozenset({"id", "tracking_id", "invoice_number"})
    OTHER_NAMES: ClassVar[Mapping[str, tuple[str, ...]]] = {"version_rev": ("_rev", "rev")}

    id: str
    server_time: datetime | None = attrs.field(default=None, converter=optional_utc)
    updated_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    current_status: TaskStatus | None = attrs.field(default=None, converter=optional(TaskStatus))
    statuses: tuple[StatusEntry, ...] = NOT_GIVEN
    driver: Driver | None = None
    distance_in_meters: float | None = None
    is_urgent: bool | None = None
    task_creation_group: str | None = None
    attachments: tuple[Any, ...] = NOT_GIVEN
    org_transporter: dict[str, Any] | None = None
    platform_id: str | None = None
    vehicle_emissions_type: str | None = None
    vehicle_emissions: dict[str, Any] | None = None
    client: dict[str, Any] | None = None
    version_rev: str | None = None


@attrs.frozen(kw_only=True, eq=False, repr=False)
class CreatedTasks(Model):
    """Answer of every create. ``tasks`` comes as a list, as an object keyed by id, or as one task: here a tuple."""

    tasks: tuple[Task, ...] = NOT_GIVEN
    server_time: datetime | None = attrs.field(default=None, converter=optional_utc)
    total_tasks: int | None = None
