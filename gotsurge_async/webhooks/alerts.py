"""What a person should know of an order before the ship sails, by the document's rules (section "Order Statuses").

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
from gotsurge_async.models.tasks import BroadcastPreference, Task, TaskStatus
from gotsurge_async.models.times import written, written_span
from gotsurge_async.models.words import in_words
from gotsurge_async.webhooks.book.book import Book
from gotsurge_async.webhooks.book.history import RANK, in_order, steps_of
from gotsurge_async.webhooks.book.records import BookOrder, Only, berth_of, late_windows_of, vessel_of

__all__ = ["Alert", "AlertKind", "Lasting", "Limits", "alerts", "alerts_in"]

SQUAD_MARGIN = timedelta(minutes=30)
"""A task for the squad expires so long before its pickup window ends (section "Order Statuses")."""

_log: logging.Logger = logging.getLogger(__name__)
_NOT_ACCEPTED = frozenset(status for status, rank in RANK.items() if rank < RANK[TaskStatus.ACCEPTED])
FAILED: frozenset[TaskStatus] = frozenset(
    {TaskStatus.EXPIRED, TaskStatus.UNSUCCESSFUL_PICKUP, TaskStatus.UNSUCCESSFUL_DELIVERY}
)
"""The ends that nobody wanted."""


class AlertKind(StrEnum):
    """What is wrong."""

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
    """It was sent 10 minutes ago, and nobody knows whether GotSurge has it."""
    UNJUDGED = "unjudged"
    """What was read of it is so odd that no rule can be applied: a person should read it."""
    DOUBLE = "double"
    """Two living tasks, or more, have its name: as many drivers may be on their way."""

    @property
    def in_words(self) -> str:
        """As a sentence says it."""
        return self.replace("_", " ")


class Limits(Struct, frozen=True, kw_only=True):
    """From when on an order is worth an alert.

    Attributes:
        expiring: so long before a broadcast expires.
        not_accepted: so long before the pickup window begins, while no driver has taken it.
        late: so long after the end of a window.
        in_doubt: so long after it was sent.
        failed_for: for so long after it failed, that a failure of last week is no news.
    """

    expiring: timedelta = timedelta(minutes=30)
    not_accepted: timedelta = timedelta(minutes=60)
    late: timedelta = timedelta(0)
    in_doubt: timedelta = timedelta(minutes=10)
    failed_for: timedelta = timedelta(hours=24)


@frozen(kw_only=True)
class Alert:
    """Something that needs a person's attention.

    Attributes:
        kind: what is wrong.
        name: the task's id; of an order in doubt its run and key.
        tracking_id: the user's own name of the order, or its key.
        status: where it stands; "" if that is not known.
        at: what it is about, in UTC: when the broadcast ends, the window begins or ended, it failed or was sent. None
            for a failure whose time is unknown.
        vessel, imo, berth: whom it is for.
        account: as the book names it.
        tasks: of a double all of its tasks.
        detail: what else is to be said of it, in words.
        seen_at: when the order was last read, if it is of a book.
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
        """What makes two of them the same one, while it lasts."""
        return (self.kind, self.account, self.name, *self.tasks)

    def text(self, now: datetime, zone: tzinfo | None = None) -> str:
        """The alert for people, on one line, with times of a zone; without one in UTC, or in that of the command."""
        order = self.tracking_id or self.name
        vessel = " ".join(part for part in (self.vessel, f"(IMO {self.imo})" if self.imo is not None else None) if part)
        whom = ", ".join(part for part in (vessel, f"berth {self.berth}" if self.berth else "") if part)
        return f"{order}{f' for {whom}' if whom else ''}: {self._what(now, zone)}"

    def _what(self, now: datetime, zone: tzinfo | None) -> str:
        if self.kind is AlertKind.DOUBLE:
            return self.detail
        status = in_words(self.status) or "status unknown"
        if self.kind is AlertKind.UNJUDGED:
            return f"{status}; what was read of it cannot be judged: look at its task"
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
                return f"in doubt, sent {when}: nobody knows whether GotSurge has it"

    def document(self, now: datetime, zone: tzinfo | None = None) -> dict[str, Any]:
        """The alert for programs."""
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
    """When the broadcast of a task expires, as the document says; None for never, or where no window says it.

    Squad: 30 minutes before the end of the pickup window. Marine: never, for now. Otherwise: the end of the pickup
    window (or the longest time of a broadcast, of which the document names no figure).
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
        account: as the book names it.
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
            **_whom(task),
        )
        for kind, at in found
    ]


async def alerts_in(
    book: Book, now: datetime, limits: Limits | None = None, *, only: Only | None = None
) -> AsyncIterator[Alert]:
    """The alerts of the orders of a book at a time; an order that no rule can judge has an alert that says so.

    Args:
        only: of these; whether they are open, and when they moved, is decided here.
    """
    only, limits = only or Only(), limits or Limits()
    failed = structs.replace(only, statuses=tuple(FAILED), moved_since=moved_by(now, -limits.failed_for))
    for some in (structs.replace(only, open=True), failed):
        async for order in book.orders(some):
            for alert in _alerts_of(order, now, limits):
                yield evolve(alert, tracking_id=alert.tracking_id or order.key, seen_at=order.seen_at)
    async for alert in doubles_in(book, only):
        yield alert


async def doubles_in(book: Book, only: Only | None = None) -> AsyncIterator[Alert]:
    """The doubles of a book of which one order is among those that are asked for: one alert each."""
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
            **_whom(first.task),
        )


def _whom(task: Task) -> dict[str, Any]:
    """Whom a task is for, as an `Alert` has it."""
    contact = vessel_of(task)
    return {"vessel": contact.vessel_name, "imo": contact.vessel_imo, "berth": berth_of(task)}


def _alerts_of(order: BookOrder, now: datetime, limits: Limits) -> list[Alert]:
    try:
        task = order.task
        if order.status != task.current_status:
            task = evolve(task, current_status=order.status)
        return alerts(task, now, limits, account=order.account)
    except Exception:  # whatever one task holds, the others are judged
        _log.exception("task %s cannot be judged", order.task_id)
        return [
            Alert(kind=AlertKind.UNJUDGED, name=order.task_id, status=order.status or "", account=order.account),
        ]


def _failed_at(task: Task, status: TaskStatus | None) -> datetime | None:
    times = [step.at for step in steps_of(task) if step.status == status and step.at is not None]
    return max(times, default=task.updated_at)


def doubt(row: OrderRow, run_id: str, now: datetime, limits: Limits | None = None, *, account: str = "") -> list[Alert]:
    """The alert of an order of the ledger that is in doubt; none while it is young."""
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
