"""Tasks in the form of answers (sections "Task Detail" and "Create & Broadcast Tasks"), and lists in pages."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from gotsurge_async.simulator.options import SimulatorOptions
from gotsurge_async.simulator.replies import Call, Problem, invalid
from gotsurge_async.simulator.state.accounts import Account
from gotsurge_async.simulator.state.clock import write_instant
from gotsurge_async.simulator.state.service import Service
from gotsurge_async.simulator.state.tasks import PENDING_BROADCAST, WITH_DRIVER, Course, TaskRecord

T = TypeVar("T")
DEFAULT_PER_PAGE = 200

OWN_FIELDS = frozenset((
    "id", "server_time", "distance_in_meters", "is_urgent", "task_creation_group", "current_status", "statuses",
    "platform_id", "vehicle_emissions_type", "vehicle_emissions", "client", "updated_at",
))  # fmt: skip
"""The fields that the service decides: an order may contain them, but its values are not used."""


def task_view(
    service: Service,
    record: TaskRecord,
    account: Account,
    server_time: str,
    *,
    new: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """All fields of a task; ``new`` is its content in the answer of a create."""
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
    if record.course is not None:
        _add_course(view, record.course)
    echo = options.tracking_id_echo
    if record.tracking_id and (echo == "always" or (echo == "reads" and new is None)):
        view["tracking_id"] = record.tracking_id
    else:
        view.pop("tracking_id", None)
    if options.version_rev in ("version_rev", "_rev", "rev"):
        view[options.version_rev] = record.version_rev
    if options.dates != "z":
        _restyle(view, options.dates)
    return view


def _add_course(view: dict[str, Any], course: Course) -> None:
    for place, note in course.notes.items():
        view["statuses"][place]["note"] = note
    if course.price is not None:
        view["price"] = course.price
    if course.epod is not None:
        view["epod"] = course.epod


def _shown_status(service: Service, status: str) -> str:
    # Only drafts are ever pending.
    return service.options.draft_status if status == PENDING_BROADCAST else status


def _driver(record: TaskRecord) -> dict[str, Any]:
    number = int(record.id[-4:], 16)
    return {
        "id": f"00000000-0000-4000-8000-00000001{number:04x}",
        "name": f"Driver {number}",
        "phone": f"+6580{number:06d}",
        "vehicle_name": f"GBA {number % 10000:04d} X",
    }


def _restyle(view: dict[str, Any], style: str) -> None:
    """Write the times that came with the order in the service's own style."""
    for name in ("from_time_window", "to_time_window"):
        if name in view:
            view[name] = {**view[name]}
            for edge in ("start_time_utc", "end_time_utc"):
                view[name][edge] = _restyled(view[name][edge], style)
    view["client_time_utc"] = _restyled(view["client_time_utc"], style)


def _restyled(text: str, style: str) -> str:
    # Read by what has checked it: other readers of RFC 3339 draw its limits elsewhere.
    return write_instant(msgspec.convert(text, datetime), style)


def page_of(
    rows: Sequence[T], call: Call, options: SimulatorOptions, *, ordered: bool = False
) -> tuple[Sequence[T], dict[str, Any]]:
    """The rows of the page that a call names, and its ``meta``; ``ordered``: whether the call may name a sort order."""
    page = _positive(call, "page", 1)
    per_page = min(_positive(call, "per_page", DEFAULT_PER_PAGE), options.per_page_limit)
    order = call.query.get("order", "asc") if ordered else "asc"
    if order not in ("asc", "desc"):
        raise invalid(Problem(None, "order", "is asc or desc"))
    start, stop = (page - 1) * per_page, page * per_page
    if order == "desc":
        # Slices of the end: a page must not cost a copy of a hundred thousand rows.
        count = len(rows)
        shown = rows[max(count - stop, 0) : max(count - start, 0)][::-1]
    else:
        shown = rows[start:stop]
    meta = {"page": page, "per_page": per_page}
    if options.meta_total:
        meta["total"] = len(rows)
    return shown, meta


def _positive(call: Call, name: str, default: int) -> int:
    text = call.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) >= 1):
        raise invalid(Problem(None, name, "is a whole number from 1"))
    return int(text)
