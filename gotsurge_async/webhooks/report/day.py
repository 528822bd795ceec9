"""The sums of a day, by vessel. Money stays exact, and amounts of two currencies are never added."""

import re
from collections import deque
from collections.abc import AsyncIterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from itertools import islice
from typing import Any, TypeAlias

import msgspec
from attrs import define, field
from msgspec import Struct, structs

from gotsurge_async.clock import moved_by
from gotsurge_async.models.tasks import TaskStatus
from gotsurge_async.money import Money, as_given
from gotsurge_async.webhooks.book.history import steps_of
from gotsurge_async.webhooks.book.records import BookOrder, berth_of, environment_of, late_windows_of, vessel_of

NO_VESSEL = "(no vessel)"
"""The heading for orders without a vessel."""
_URL = re.compile(r"https?://[!-~]{1,2000}", re.IGNORECASE)
MOST_LINKS = 20
"""The most links of one proof."""
_Age: TypeAlias = tuple[bool, datetime, datetime]
"""Whether an order has ended, when its status changed, and when it was last read."""
_NEVER = datetime.min.replace(tzinfo=UTC)


class Outcome(StrEnum):
    """The outcome of an order."""

    DELIVERED = "delivered"
    FAILED = "failed"
    """It expired, or its pickup or delivery was unsuccessful."""
    CANCELLED = "cancelled"
    OPEN = "open"
    """It has not ended."""

    @property
    def is_done(self) -> bool:
        """Whether no person has to act on it: it was delivered, or cancelled."""
        return self in (Outcome.DELIVERED, Outcome.CANCELLED)


_OUTCOMES: Mapping[str, Outcome] = {
    TaskStatus.COMPLETE: Outcome.DELIVERED,
    TaskStatus.CANCELLED: Outcome.CANCELLED,
    TaskStatus.EXPIRED: Outcome.FAILED,
    TaskStatus.UNSUCCESSFUL_PICKUP: Outcome.FAILED,
    TaskStatus.UNSUCCESSFUL_DELIVERY: Outcome.FAILED,
}


class Line(Struct, frozen=True, kw_only=True):
    """An order of a day.

    Attributes:
        number, task_id, account, run: their values in the book.
        name: the sender's name of the order: its tracking id, or its key, or the task's id.
        invoice_number, group_tag, imo, vessel, berth: those of the task as it was last read.
        status: its status; "" if it is unknown.
        outcome: its outcome.
        late: whether it was certainly delivered after its delivery window, or is open and late by the alerts' rules.
        due_at: when it should be delivered.
        delivered_at: when it was delivered; None if the task does not say.
        planned: the price in the order.
        final: the price as it is now.
        proof: ``epod`` as it came, as JSON; "" for none.
        links: the URLs in it.
    """

    number: int
    task_id: str
    account: str
    run: str | None
    name: str
    invoice_number: str | None
    group_tag: str | None
    imo: int | None
    vessel: str | None
    berth: str | None
    status: str
    outcome: Outcome
    late: bool
    due_at: datetime | None
    delivered_at: datetime | None
    planned: Money | None
    final: Money | None
    proof: str = ""
    links: tuple[str, ...] = ()


@define
class Sums:
    """Numbers of orders, and their prices, by currency.

    Attributes:
        ordered: the number of orders.
        delivered, late, failed, cancelled, open: how many of them are; a late order counts twice, also by its outcome.
        planned: the prices in all orders.
        planned_delivered: the prices in delivered orders.
        final: the prices paid for delivered orders.
        incomparable: delivered orders without a difference.
    """

    ordered: int = 0
    delivered: int = 0
    late: int = 0
    failed: int = 0
    cancelled: int = 0
    open: int = 0
    planned: dict[str, Money] = field(factory=dict)
    planned_delivered: dict[str, Money] = field(factory=dict)
    final: dict[str, Money] = field(factory=dict)
    incomparable: int = 0
    _difference: dict[str, Money] = field(factory=dict, init=False)

    def add(self, line: Line) -> None:
        """Add an order to the totals."""
        self.ordered += 1
        self.late += line.late
        setattr(self, line.outcome, getattr(self, line.outcome) + 1)
        _put(self.planned, line.planned)
        if line.outcome is Outcome.DELIVERED:
            _put(self.planned_delivered, line.planned)
            _put(self.final, line.final)
            if line.planned is None or line.final is None or line.planned.currency != line.final.currency:
                self.incomparable += 1
            else:
                _put(self._difference, _less(line.final, line.planned))

    @property
    def currencies(self) -> list[str]:
        """The currencies of the amounts, sorted; "" for amounts without a currency."""
        return sorted({*self.planned, *self.planned_delivered, *self.final})

    def difference(self, currency: str) -> Money:
        """The price paid minus the planned price, over delivered orders that have both in a currency."""
        return self._difference.get(currency, as_given(0, currency))


@define
class VesselDay:
    """The orders and sums of a vessel in a day."""

    name: str
    imo: int | None
    sums: Sums = field(factory=Sums)
    lines: list[Line] = field(factory=list)

    @property
    def berths(self) -> list[str]:
        """The berths of its orders, sorted."""
        return sorted({line.berth for line in self.lines if line.berth})


@define
class Day:
    """A day, in a zone.

    Attributes:
        at: when the book was read.
        oldest_read: the earliest time at which one of its open orders was last read, or pushed.
        vessels: by name; orders without a vessel come last.
        sums: the sums of all orders.
    """

    date: date
    zone: tzinfo
    at: datetime
    oldest_read: datetime | None = None
    vessels: list[VesselDay] = field(factory=list)
    sums: Sums = field(factory=Sums)

    @property
    def environments(self) -> list[str]:
        """The environments of the orders, sorted."""
        return sorted({environment_of(line.account) for line in self.lines})

    @property
    def lines(self) -> Iterator[Line]:
        """All orders, vessel by vessel."""
        for vessel in self.vessels:
            yield from vessel.lines


def bounds(day: date, zone: tzinfo) -> tuple[datetime, datetime]:
    """The start of a day in a zone, and that of the next day, also if clocks change on the day."""
    begins = datetime(day.year, day.month, day.day, tzinfo=zone)
    return begins, moved_by(begins, timedelta(days=1))  # by the clocks of the zone, however many hours that is


def line_of(order: BookOrder, now: datetime) -> Line:
    """The report's line for an order."""
    task = order.task
    outcome = _OUTCOMES.get(order.status or "", Outcome.OPEN)
    delivered = not_before = None
    if outcome is Outcome.DELIVERED:
        timed = [(step.status, step.at) for step in steps_of(task) if step.at is not None]
        delivered = max((at for status, at in timed if status == TaskStatus.COMPLETE), default=None)
        # Without its time it is late only where another step shows that it was still on its way.
        not_before = max((at for status, at in timed if not status.is_terminal), default=None)
    window = task.to_time_window
    by = delivered or not_before
    was_late = window is not None and by is not None and by > window.end_time_utc
    proof = task.epod if task.epod is not None else task.extra.get("epod")
    contact = vessel_of(task)
    return Line(
        number=order.number,
        task_id=order.task_id,
        account=order.account,
        run=order.run,
        name=task.tracking_id or order.key or order.task_id,
        invoice_number=task.invoice_number,
        group_tag=task.group_tag,
        imo=contact.vessel_imo,
        vessel=contact.vessel_name,
        berth=berth_of(task),
        status=order.status or "",
        outcome=outcome,
        late=was_late or any(late_windows_of(task, order.status, now)),
        due_at=order.due_at,
        delivered_at=delivered,
        planned=order.planned,
        final=task.price,
        proof=msgspec.json.encode(proof).decode() if proof else "",
        links=tuple(islice(_links(proof), MOST_LINKS)),
    )


async def day_of(orders: AsyncIterable[BookOrder], day: date, zone: tzinfo, now: datetime) -> Day:
    """The sums of a day. A task that two accounts have read counts once, as it was last shown.

    Args:
        orders: the orders that are due on the day: see `bounds`.
    """
    found = Day(day, zone, now)
    read: dict[tuple[str, str], tuple[Line, _Age]] = {}
    async for order in orders:
        key, line = (environment_of(order.account), order.task_id), line_of(order, now)
        latest = line, (line.outcome is not Outcome.OPEN, order.changed_at or _NEVER, order.seen_at)
        read[key] = _latest(read[key], latest) if key in read else latest
    lines = [line for line, _ in read.values()]
    found.oldest_read = min((seen for _, (has_ended, _, seen) in read.values() if not has_ended), default=None)
    vessels: dict[tuple[int | None, str], VesselDay] = {}
    imos = _imos(lines)
    for line in lines:
        imo, name = line.imo, line.vessel
        folded = (name or "").casefold().strip()
        imo = imos.get(folded) if imo is None else imo
        ship = (imo, "" if imo is not None else folded)
        vessel = vessels.get(ship)
        if vessel is None:
            shown = name or ("" if imo is not None else NO_VESSEL)
            vessel = vessels[ship] = VesselDay(name=shown, imo=imo)
        vessel.name = vessel.name or name or ""
        vessel.lines.append(line)
        vessel.sums.add(line)
        found.sums.add(line)
    found.vessels = sorted(
        vessels.values(), key=lambda each: (each.name == NO_VESSEL, each.name.casefold(), each.imo or 0)
    )
    return found


def _latest(one: tuple[Line, _Age], other: tuple[Line, _Age]) -> tuple[Line, _Age]:
    """The later of two reads of a task, with the run and the price of the account that pushed its order.

    The time of the last read decides last: it says nothing of an account to which the task is not shown any more.
    """
    (older, _), (line, age) = sorted((one, other), key=lambda each: each[1])
    if line.run is None and older.run is not None:
        line = structs.replace(line, run=older.run, name=older.name, account=older.account, planned=older.planned)
    return line, age


def _imos(lines: Sequence[Line]) -> dict[str, int]:
    """The IMO number of each vessel's name that has exactly one."""
    found: dict[str, set[int]] = {}
    for line in lines:
        if line.imo is not None and line.vessel:
            found.setdefault(line.vessel.casefold().strip(), set()).add(line.imo)
    return {name: min(imos) for name, imos in found.items() if len(imos) == 1}


def _put(amounts: dict[str, Money], money: Money | None) -> None:
    if money is not None:
        kept = amounts.get(money.currency)
        total = money.millicents + (0 if kept is None else kept.millicents)
        amounts[money.currency] = as_given(total, money.currency)


def _less(one: Money, other: Money) -> Money:
    return as_given(one.millicents - other.millicents, one.currency)


def _links(value: Any) -> Iterator[str]:
    """The URLs anywhere in a value."""
    pending = deque([value])
    while pending:
        each = pending.popleft()
        if isinstance(each, dict):
            pending.extend(each.values())
        elif isinstance(each, list):
            pending.extend(each)
        elif isinstance(each, str) and _URL.fullmatch(each):
            yield each
