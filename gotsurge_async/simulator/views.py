"""A task as an answer shows it (sections "Task Detail" and "Create & Broadcast Tasks")."""

from datetime import datetime
from typing import Any

import msgspec

from gotsurge_async.simulator.accounts import Account
from gotsurge_async.simulator.book import TaskRecord
from gotsurge_async.simulator.clock import write_datetime
from gotsurge_async.simulator.life import PENDING_BROADCAST, WITH_DRIVER
from gotsurge_async.simulator.service import Service

OWN_FIELDS = frozenset(
    (
        "id",
        "server_time",
        "distance_in_meters",
        "is_urgent",
        "task_creation_group",
        "current_status",
        "statuses",
        "platform_id",
        "vehicle_emissions_type",
        "vehicle_emissions",
        "client",
        "updated_at",
    )
)
"""What the service decides: it may stand in an order, but it is not taken from there."""

_WINDOWS = ("from_time_window", "to_time_window")


def task_view(
    service: Service,
    record: TaskRecord,
    account: Account,
    server_time: str,
    *,
    new: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """All fields of a task; ``new`` is its content when this is the answer of a create."""
    options = service.options
    view: dict[str, Any] = {
        "price": 0,
        "currency": "",
        "items": [],
        "epod": {},
        "org_id": account.org_id,
        # What was written may hold any further field, but none of those below.
        **(record.content() if new is None else new),
        "id": record.id,
        "attachments": [],
        "org_transporter": {},
        "driver": _driver(record) if record.status in WITH_DRIVER else None,
        "vehicle_emissions_type": "",
        "vehicle_emissions": {},
        "client": {},
        "server_time": server_time,
        "distance_in_meters": record.distance,
        "is_urgent": False,
        "task_creation_group": record.group,
        "current_status": _shown_status(service, record.status),
        "statuses": [
            {"status": _shown_status(service, status), "updated_at": service.instant(at)}
            for status, at in record.history
        ],
        "platform_id": account.org_id if account.platform else "",
        "updated_at": service.instant(record.updated_at),
    }
    _apply_tracking(view, record, shown=_shows_tracking(options.tracking_id_echo, created=new is not None))
    if options.version_rev in ("version_rev", "_rev", "rev"):
        view[options.version_rev] = record.version_rev
    if options.dates != "z":
        _restyle(view, options.dates)
    return view


def _shown_status(service: Service, status: str) -> str:
    # Only drafts are ever pending.
    return service.options.draft_status if status == PENDING_BROADCAST else status


def _shows_tracking(echo: str, *, created: bool) -> bool:
    return echo == "always" or (echo == "reads" and not created)


def _apply_tracking(view: dict[str, Any], record: TaskRecord, *, shown: bool) -> None:
    if shown and record.tracking_id:
        view["tracking_id"] = record.tracking_id
    else:
        view.pop("tracking_id", None)


def _driver(record: TaskRecord) -> dict[str, Any]:
    number = int(record.id[-4:], 16)
    return {
        "id": f"00000000-0000-4000-8000-00000001{number:04x}",
        "name": f"Driver {number}",
        "phone": f"+6580{number:06d}",
        "vehicle_name": f"GBA {number % 10000:04d} X",
    }


def _restyle(view: dict[str, Any], style: str) -> None:
    """Write the times that came with the order as the service's own style has them."""
    for name in _WINDOWS:
        if name in view:
            view[name] = {**view[name]}
            for edge in ("start_time_utc", "end_time_utc"):
                view[name][edge] = _restyled(view[name][edge], style)
    view["client_time_utc"] = _restyled(view["client_time_utc"], style)


def _restyled(text: str, style: str) -> str:
    # Read by what has checked it: other readers of RFC 3339 draw its limits elsewhere.
    return write_datetime(msgspec.convert(text, datetime), style)
