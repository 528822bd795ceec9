"""One order: what may happen to it next, when it is due, what it contains, and all calls and events about it."""

import json
from collections.abc import Iterator, Mapping
from math import ceil, floor
from typing import Any

from attrs import frozen

from gotsurge_async.simulator.board.orders import HOUR, Axis, Facts, due_of, local, moment
from gotsurge_async.simulator.operations.views import task_view
from gotsurge_async.simulator.state.accounts import ACCOUNTS
from gotsurge_async.simulator.state.service import Service
from gotsurge_async.simulator.state.tasks import TRANSITIONS, TaskRecord

ENDS_OF: Mapping[str, tuple[str, ...]] = {
    "pending_broadcast": (),
    "broadcasting": ("cancelled", "expired"),
    "accepted": (),
    "pending_pickup": (),
    "pickup_arriving": ("unsuccessful_pickup",),
    "pending_delivery": (),
    "delivery_arriving": ("unsuccessful_delivery",),
    "complete": (),
}
"""The statuses of an order on which all goes well, each with the ends that may come instead of the next one."""
ACTIONS = {
    "broadcasting": "Broadcast",
    "accepted": "Accept",
    "pending_pickup": "Set off",
    "pickup_arriving": "Arrive",
    "pending_delivery": "Picked up",
    "delivery_arriving": "Arrive",
    "complete": "Delivered",
    "cancelled": "Cancel",
    "expired": "Expire",
    "unsuccessful_pickup": "Fail pickup",
    "unsuccessful_delivery": "Fail delivery",
}
"""The label of the button that takes an order to a status."""
MOST_LINES = 20
"""Events, and calls, that are listed at most."""
MOST_TEXT = 200_000
"""Characters of an order's JSON that are shown at most."""


@frozen
class Step:
    """A status of the way: whether the order was or is there, the status to show in its place, and its buttons."""

    status: str
    state: str
    shown: str
    at: float | None
    buttons: tuple[str, ...]


def order_page(service: Service, record: TaskRecord, facts: Facts, api_base: str) -> dict[str, Any]:
    """The values of the macro ``order``: all about an order, at this moment."""
    now = service.clock.now()
    view = task_view(service, record, ACCOUNTS[record.owner], service.instant(now))
    return {
        "record": record,
        "facts": facts,
        "now": now,
        "view": view,
        "name": short(record.tracking_id, 200) or record.id,
        "curl": f'curl "{api_base}/tasks/{record.id}" -H "Authorization: Bearer $GOTSURGE_BEARER_TOKEN"',
        "due": due_of(record, facts, now),
        "steps": list(_steps(record)),
        "following": sorted(TRANSITIONS[record.status]),
        "has_webhook": bool(service.webhook_urls[record.owner]),
        "axis": _axis(record, facts, now),
        "lines": [item for item in view.get("items") or () if isinstance(item, dict)],
        "events": service.events.about(record.id)[:MOST_LINES],
        "calls": service.requests.about(record.id)[:MOST_LINES],
        "json": short(json.dumps(view, indent=2, ensure_ascii=False).encode("utf-8", "replace").decode(), MOST_TEXT),
    }


def _steps(record: TaskRecord) -> Iterator[Step]:
    entered = dict(record.history)
    for status, ends in ENDS_OF.items():
        is_here = record.status == status or record.status in ends
        shown = record.status if is_here else status
        state = "is" if is_here else "was" if status in entered else ""
        yield Step(status, state, shown, entered.get(shown), (*((status,) if status in ACTIONS else ()), *ends))


def _axis(record: TaskRecord, facts: Facts, now: float) -> Axis:
    """Whole hours around both windows, the history, and the present; after an order's end only if it is near."""
    moments = [*facts.pickup, *(facts.delivery or ()), *(at for _, at in record.history)]
    first, last = min(moments), max(moments)
    if TRANSITIONS[record.status] or first - 6 * HOUR < now < last + 6 * HOUR:
        first, last = min(first, now), max(last, now)
    first, last = floor(first / HOUR) * HOUR, ceil(last / HOUR) * HOUR
    return Axis(first, max(last, first + HOUR))


def short(text: str, most: int = 80) -> str:
    """A text cut to a number of characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def brief(value: Any) -> str:
    """A value of JSON as one line: a text as it is, nothing for None, anything else as JSON."""
    if value is None:
        return ""
    return short(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 200)


def plain_number(value: Any) -> str:
    """A number without needless zeros; empty for anything else."""
    return f"{value:g}" if isinstance(value, int | float) else ""


def precise(at: float, now: float) -> str:
    """A time of Singapore with its seconds, or with its day where that is not today."""
    return f"{local(at):%H:%M:%S}" if local(at).date() == local(now).date() else moment(at, now)


def imo(text: str) -> str:
    """An IMO number, and whether its check digit is the right one."""
    if len(text) != 7 or not text.isdigit():
        return text
    check = sum(int(digit) * factor for digit, factor in zip(text, range(7, 1, -1), strict=False)) % 10
    return f"{text} (check digit {'right' if check == int(text[6]) else 'wrong'})"


def money(amount: Any, currency: str) -> str:
    """Thousandths of a cent as an amount; empty without a currency."""
    if not isinstance(amount, int) or not currency:
        return ""
    return f"{currency} {amount // 100_000:,}.{amount % 100_000 // 1000:02d}"
