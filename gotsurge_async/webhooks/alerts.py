"""Alerts about orders that need a person before the ship sails, by the document's rules (section "Order Statuses").

`alerts` is a pure function of a task, the present and some limits; `alerts_in` applies it to the orders of a book;
`Lasting` reports each alert once while it lasts.
"""

import logging
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Any

from attrs import evolve, field, frozen
from msgspec import Struct, structs

from gotsurge_async.clock import moved_by
from gotsurge_async.ledger import OrderRow
from gotsurge_async.models.answers import Task
from gotsurge_async.models.tasks import BroadcastPreference, TaskStatus
from gotsurge_async.models.times import written, written_span
from gotsurge_async.models.words import in_words
from gotsurge_async.webhooks.book.book import Book
from gotsurge_async.webhooks.book.history import RANK, in_order, steps_of
from gotsurge_async.webhooks.book.records import BookOrder, Only, berth_of, late_windows_of, vessel_of

__all__ = ["Alert", "AlertKind", "Lasting", "Limits", "alerts", "alerts_in"]

SQUAD_MARGIN = timedelta(minutes=30)
"""The time between the expiry of a task for the squad and the end of its pickup window (section "Order Statuses")."""

_log: logging.Logger = logging.getLogger(__name__)
_NOT_ACCEPTED = frozenset(status for status, rank in RANK.items() if rank < RANK[TaskStatus.ACCEPTED])
FAILED: frozenset[TaskStatus] = frozenset(
    {TaskStatus.EXPIRED, TaskStatus.UNSUCCESSFUL_PICKUP, TaskStatus.UNSUCCESSFUL_DELIVERY}
)
"""The statuses of tasks that ended without a delivery, against the sender's wish."""


class AlertKind(StrEnum):
    """The kind of an alert."""

    EXPIRING = "expiring"
    """Its broadcast ends within 30 minutes: with the pickup window, for the squad 30 minutes before that."""
    NOT_ACCEPTED = "not_accepted"
    """No driver has taken it, and its pickup window begins within 60 minutes."""
    LATE_PICKUP = "late_pickup"
    """Its pickup window is over, and no driver has the goods."""
    LATE_DELIVERY = "late_delivery"
    """Its delivery window is over, and it is not at its end."""
    FAILED = "failed"
    """It expired, or its pickup or delivery failed; for a day."""
    IN_DOUBT = "in_doubt"
    """It was sent 10 minutes ago, and it is not known whether GotSurge has it."""
    UNJUDGED = "unjudged"
    """Its data is so odd that no rule can be applied: a person should read it."""
    DOUBLE = "double"
    """Two or more live tasks have its name: as many drivers may be on their way."""

    @property
    def in_words(self) -> str:
        """The kind as a sentence names it."""
        return self.replace("_", " ")


class Limits(Struct, frozen=True, kw_only=True):
    """The times at which an order causes an alert.

    Attributes:
        expiring: the time before a broadcast expires.
        not_accepted: the time before the pickup window begins, while no driver has accepted it.
        late: the time after the end of a window.
        in_doubt: the time after it was sent.
        failed_for: the time after a failure, or after a book discovered it, during which it is reported.
    """

    expiring: timedelta = timedelta(minutes=30)
    not_accepted: timedelta = timedelta(minutes=60)
    late: timedelta = timedelta(0)
    in_doubt: timedelta = timedelta(minutes=10)
    failed_for: timedelta = timedelta(hours=24)


@frozen(kw_only=True)
class Alert:
    """A situation that needs a person's attention.

    Attributes:
        kind: the kind of the alert.
        name: the task's id; for an order in doubt its run and key.
        tracking_id: the user's own name of the order, or its key.
        status: the task's status; "" if it is not known.
        at: the time of the cause, in UTC: when the broadcast ends, the window begins or ended, it failed or was sent.
            None for a failure whose time is unknown.
        vessel, imo, berth: the ship that it is for.
        account: as the book names it.
        tasks: all tasks of a double.
        detail: further details, in words.
        seen_at: when the order was last read, if it is from a book.
    """

    kind: AlertKind
    name: str
    tracking_id: str | None = None
    status: str = ""
    at: datetime | None = None
    vessel: str | None = None
    imo: int | None = None
    berth: str | None = None
    account: str = ""
    tasks: tuple[str, ...] = ()
    detail: str = ""
    seen_at: datetime | None = field(default=None, eq=False)

    @property
    def key(self) -> tuple[str, ...]:
        """The values that identify an alert while it lasts."""
        return (self.kind, self.account, self.name, *self.tasks)

    def text(self, now: datetime, zone: tzinfo | None = None) -> str:
        """The alert for people, on one line, with times of a zone; without one in UTC, or in that of the command."""
        order = self.tracking_id or self.name
        vessel = " ".join(part for part in (self.vessel, f"(IMO {self.imo})" if self.imo is not None else None) if part)
        whom = ", ".join(part for part in (vessel, f"berth {self.berth}" if self.berth else "") if part)
        return f"{order}{f' for {whom}' if whom else ''}: {self._description(now, zone)}"

    def _description(self, now: datetime, zone: tzinfo | None) -> str:
        if self.kind is AlertKind.DOUBLE:
            return self.detail
        status = in_words(self.status) or "status unknown"
        if self.kind is AlertKind.UNJUDGED:
            return f"{status}; the task could not be checked for alerts: look at it yourself"
        if self.at is None:
            return status
        when = f"on {written(self.at, zone)}"
        if span := written_span(abs(self.at - now)):
            when = f"{f'in {span}' if self.at > now else f'{span} ago'} ({written(self.at, zone)})"
        match self.kind:
            case AlertKind.EXPIRING if self.at > now:
                return f"no driver yet, and the broadcast ends {when}"
            case AlertKind.EXPIRING:
                return f"no driver yet, and the broadcast should have ended {when}"
            case AlertKind.NOT_ACCEPTED:
                begins = "begins" if self.at > now else "began"
                return f"{status}, no driver yet; the pickup window {begins} {when}"
            case AlertKind.LATE_PICKUP:
                return f"{status}, and the pickup window ended {when}"
            case AlertKind.LATE_DELIVERY:
                return f"{status}, and the delivery window ended {when}"
            case AlertKind.FAILED:
                return f"{status} {when}"
            case AlertKind.IN_DOUBT:
                return f"in doubt, sent {when}: nobody knows whether GotSurge has the order"

    def document(self, now: datetime, zone: tzinfo | None = None) -> dict[str, Any]:
        """The alert for programs, as plain values."""
        return {
            "kind": self.kind,
            "order": self.name,
            "tracking_id": self.tracking_id,
            "status": self.status or None,
            "at": self.at,
            "vessel": self.vessel,
            "imo": self.imo,
            "berth": self.berth,
            "account": self.account or None,
            "tasks": self.tasks,
            "seen_at": self.seen_at,
            "text": self.text(now, zone),
        }


def expires_at(task: Task) -> datetime | None:
    """The time at which a task's broadcast expires, by the document; None for never, or if it has no window.

    Squad: 30 minutes before the end of the pickup window. Marine: never, for now. Otherwise: the end of the pickup
    window (or the longest time of a broadcast, for which the document has no number).
    """
    window = task.from_time_window
    if window is None or task.broadcast_preference == BroadcastPreference.MARINE:
        return None
    squad = task.broadcast_preference == BroadcastPreference.SQUAD
    return moved_by(window.end_time_utc, -SQUAD_MARGIN if squad else timedelta(0))


def alerts(task: Task, now: datetime, limits: Limits | None = None, *, account: str = "") -> list[Alert]:
    """The alerts of a task at a time: none, or several.

    Args:
        task: as it was last read.
        now: the present, aware.
        account: its name in the book.
    """
    limits = limits or Limits()
    status = task.current_status
    if status is None:
        steps = in_order(steps_of(task))
        status = steps[-1].status if steps else None
    found: list[tuple[AlertKind, datetime | None]] = []
    # Only differences are compared, for a time may be the first or the last that there is.
    pickup = task.from_time_window
    ends = expires_at(task)
    if status == TaskStatus.BROADCASTING and ends is not None and ends - now <= limits.expiring:
        found.append((AlertKind.EXPIRING, ends))
    if status in _NOT_ACCEPTED and pickup is not None and pickup.start_time_utc - now <= limits.not_accepted:
        found.append((AlertKind.NOT_ACCEPTED, pickup.start_time_utc))
    late = late_windows_of(task, status, moved_by(now, -limits.late))
    for kind, end in zip((AlertKind.LATE_PICKUP, AlertKind.LATE_DELIVERY), late, strict=True):
        if end is not None:
            found.append((kind, end))
    if status in FAILED:
        failed = _failed_at(task, status)
        if failed is None or now - failed < limits.failed_for:
            found.append((AlertKind.FAILED, failed))
    return [
        Alert(
            kind=kind,
            name=task.id,
            tracking_id=task.tracking_id,
            status=status or "",
            at=at,
            account=account,
            **_ship_of(task),
        )
        for kind, at in found
    ]


async def alerts_in(
    book: Book, now: datetime, limits: Limits | None = None, *, only: Only | None = None
) -> AsyncIterator[Alert]:
    """The alerts of a book's orders at a time; an order to which no rule can be applied has an `UNJUDGED` alert.

    Args:
        only: selects orders; its ``open`` and ``moved_since`` are set by this function.
    """
    only, limits = only or Only(), limits or Limits()
    failed = structs.replace(only, statuses=tuple(FAILED), moved_since=moved_by(now, -limits.failed_for))
    async for order in book.orders(structs.replace(only, open=True)):
        for alert in _alerts_of(order, now, limits):
            yield alert
    orders = [order async for order in book.orders(failed)]
    steps = await book.steps(orders)
    for order in orders:
        # A failure that the book discovered late was never reported.
        found = [seen for step, seen in steps[order.number] if step.status == order.status and seen <= now]
        is_new = bool(found) and now - max(found) < limits.failed_for
        for alert in _alerts_of(order, now, structs.replace(limits, failed_for=timedelta.max) if is_new else limits):
            yield alert
    async for alert in doubles_in(book, only):
        yield alert


async def doubles_in(book: Book, only: Only | None = None) -> AsyncIterator[Alert]:
    """An alert for each double of a book that includes a selected order."""
    for double in await book.doubles():
        first = double.orders[0]
        asked = [structs.replace(only or Only(), name=each.task_id) for each in double.orders]
        if not [order.number for some in asked async for order in book.orders(some)]:
            continue
        yield Alert(
            kind=AlertKind.DOUBLE,
            name=first.task_id,
            tracking_id=double.name or first.key,
            status=first.status or "",
            account=first.account,
            tasks=double.task_ids,
            detail=double.text(),
            seen_at=min(each.seen_at for each in double.orders),
            **_ship_of(first.task),
        )


def _ship_of(task: Task) -> dict[str, Any]:
    """The ship of a task, as the fields of an `Alert`."""
    contact = vessel_of(task)
    return {"vessel": contact.vessel_name, "imo": contact.vessel_imo, "berth": berth_of(task)}


def _alerts_of(order: BookOrder, now: datetime, limits: Limits) -> list[Alert]:
    try:
        task = order.task
        if order.status != task.current_status:
            task = evolve(task, current_status=order.status)
        found = alerts(task, now, limits, account=order.account)
    except Exception:  # whatever one task holds, the others are judged
        _log.exception("task %s could not be checked for alerts", order.task_id)
        found = [Alert(kind=AlertKind.UNJUDGED, name=order.task_id, status=order.status or "", account=order.account)]
    return [evolve(alert, tracking_id=alert.tracking_id or order.key, seen_at=order.seen_at) for alert in found]


def _failed_at(task: Task, status: TaskStatus | None) -> datetime | None:
    times = [step.at for step in steps_of(task) if step.status == status and step.at is not None]
    return max(times, default=task.updated_at)


def doubt(row: OrderRow, run_id: str, now: datetime, limits: Limits | None = None, *, account: str = "") -> list[Alert]:
    """The alert for a ledger's order that is in doubt; no alert while the order is young."""
    since = row.claimed_at or row.updated_at
    if now - since < (limits or Limits()).in_doubt:
        return []
    return [
        Alert(
            kind=AlertKind.IN_DOUBT,
            name=f"{run_id}/{row.key}",
            tracking_id=row.key,
            at=since.astimezone(UTC),
            account=account,
        )
    ]


@frozen
class Lasting:
    """Returns each alert once while it lasts, and again when it comes back."""

    _present: dict[tuple[str, ...], Alert] = field(factory=dict)

    def news(self, present: Iterable[Alert]) -> list[Alert]:
        """Alerts that were absent at the last call."""
        now = {alert.key: alert for alert in present}
        new = [alert for key, alert in now.items() if key not in self._present]
        self._present.clear()
        self._present.update(now)
        return new
