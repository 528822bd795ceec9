"""The values that the book returns, orders and changes, and the rows in which it stores them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from attrs import field, frozen
from msgspec import Struct

from gotsurge_async import codec
from gotsurge_async.clock import from_microseconds, to_microseconds
from gotsurge_async.database import Database, Row
from gotsurge_async.ledger import OrderRow, OrderState, RunInfo
from gotsurge_async.models.answers import StatusEntry, Task
from gotsurge_async.models.places import Contact
from gotsurge_async.models.tasks import TaskStatus, late_windows
from gotsurge_async.money import Money, as_given
from gotsurge_async.webhooks.book.history import RANK, Step

_NO_VESSEL = Contact()


@frozen(kw_only=True)
class Change:
    """A newly discovered step of a task.

    Attributes:
        number: its number in the book.
        account, task_id: the account and the id of the task.
        status: the new status of the task.
        at: its time at the service, in UTC; None if the service names none.
        seen_at: when the book discovered it.
        previous: the status before; None for the first.
        late: a later step of the task was known before this one.
        source: the source of the step.
        entry: the entry of ``statuses[]`` as it came; None for a status that was only in ``current_status``.
        task: the task as it was last read; it may be past this step.
        attempts: the number of failed attempts to hand it on.
        failing_since: when the first of them failed; None if there is none.
        why: the error of the last of them.
    """

    number: int
    account: str
    task_id: str
    status: TaskStatus
    at: datetime | None
    seen_at: datetime
    previous: TaskStatus | None
    late: bool
    source: str
    entry: StatusEntry | None = field(repr=False)
    task: Task = field(repr=False)
    attempts: int = 0
    failing_since: datetime | None = None
    why: str | None = None


@frozen(kw_only=True)
class BookOrder:
    """An order in the book.

    Attributes:
        number: its number in the book.
        account, task_id: the account and the id of the task.
        run, key: those of the push that made it; None for a task that no ledger knows.
        status: its status; None while it is unknown.
        seen_at: when it was last read, or pushed.
        changed_at: when its status last changed.
        due_at: when its delivery window ends, or its pickup window if it has no other.
        planned: the price in the order, or the first one that was read.
        body: its JSON as it was last read.
    """

    number: int
    account: str
    task_id: str
    run: str | None
    key: str | None
    status: TaskStatus | None
    seen_at: datetime
    changed_at: datetime | None
    due_at: datetime | None
    planned: Money | None
    body: bytes = field(repr=False)

    @property
    def task(self) -> Task:
        """The task as it was last read, or as it was sent if it was never read."""
        return codec.decode(self.body, Task)


class Only(Struct, frozen=True, kw_only=True):
    """A selection of orders; None selects all.

    Attributes:
        vessel: a part of its name, in any case, or its IMO number.
        name: its task id, its tracking id, or its key.
        environment: that of its account.
        since, until: the time in which they are due: from the first, before the second.
        open: only orders that have not ended.
        moved_since: only orders with a step that was discovered since then.
    """

    run: str | None = None
    statuses: Sequence[str] | None = None
    vessel: str | None = None
    berth: str | None = None
    group_tag: str | None = None
    account: str | None = None
    environment: str | None = None
    name: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    open: bool = False
    moved_since: datetime | None = None

    @property
    def statement(self) -> str:
        """The name of the statement that selects the orders fastest."""
        if self.name is not None:
            return "orders_named"
        if self.run is not None:
            return "orders_of_run"
        if self.since is not None and self.until is not None:
            return "orders_by_day"
        if self.moved_since is not None:
            return "orders_moved"
        return "orders_open" if self.open else "orders"

    def values(self, db: Database) -> dict[str, Any]:
        """The values of that statement; None for criteria that are not set."""
        name = None if self.vessel is None else self.vessel.casefold().strip()
        days = self.since is not None and self.until is not None
        return {
            "run": self.run,
            "no_status": int(self.statuses is None),
            "statuses": db.listed(self.statuses or ()),
            "vessel": None if name is None else f"%{_literal(name)}%",
            "imo": int(name) if name is not None and name.isdecimal() and len(name) < 19 else -1,
            "berth": None if self.berth is None else self.berth.casefold().strip(),
            "tag": self.group_tag,
            "account": self.account,
            "environment": self.environment,
            "of_environment": f"{_literal(self.environment or '')}/%",
            "name": self.name,
            "no_days": int(not days),
            "since": to_microseconds(self.since) if days and self.since else 0,
            "until": to_microseconds(self.until) if days and self.until else 0,
            "open": int(self.open),
            "moved_since": micros(self.moved_since) or 0,
        }


def _literal(text: str) -> str:
    """A text with its wildcards escaped for a comparison in the database."""
    return "".join(f"!{sign}" if sign in "!%_" else sign for sign in text)


def account_named(environment: str, account: str | None = None, *, two_phase: bool = False) -> str:
    """The name of an account in the book: accounts of two environments have different names.

    A simulator has the accounts ``plain`` and ``platform``: a push in two-phase mode uses the second.
    """
    if account is None and environment in ("local", "simulator"):
        account = "platform" if two_phase else "plain"
    return f"{environment}/{account}" if account else environment


def environment_of(account: str) -> str:
    """The environment of an account, by its name in the book."""
    return account.partition("/")[0]


def account_of(run: RunInfo) -> str:
    """The account with which a run was made, by its name in the book."""
    given = run.options.get("account")
    return account_named(run.environment, given if isinstance(given, str) else None, two_phase=run.mode == "two-phase")


def due_of(task: Task) -> datetime | None:
    """The time when a task should be done: the end of its delivery window, or else of its pickup window."""
    window = task.to_time_window or task.from_time_window
    return None if window is None else window.end_time_utc


def vessel_of(task: Task) -> Contact:
    """The contact of a task that has a vessel: the one at the delivery, or else at the pickup; else an empty one."""
    for contact in (task.to_contact, task.from_contact):
        if contact is not None and (contact.vessel_name or contact.vessel_imo is not None):
            return contact
    return _NO_VESSEL


def late_windows_of(task: Task, status: TaskStatus | None, now: datetime) -> tuple[datetime | None, datetime | None]:
    """The ends of the windows for which a task in a status is late, as `late_windows` returns them."""
    pickup, delivery = (
        None if window is None else window.end_time_utc for window in (task.from_time_window, task.to_time_window)
    )
    return late_windows(status, pickup, delivery, now)


def berth_of(task: Task) -> str | None:
    """The berth of a task's vessel, or else of its delivery, or its pickup."""
    contacts = (vessel_of(task), task.to_contact, task.from_contact)
    return next((contact.berth_no for contact in contacts if contact is not None and contact.berth_no), None)


# --- rows -------------------------------------------------------------------------------------------------------------


def columns(task: Task) -> dict[str, Any]:
    """The values of the columns by which orders are selected."""
    vessel = vessel_of(task)
    name = vessel.vessel_name.casefold().strip() if vessel.vessel_name else None
    berth = berth_of(task)
    return {
        "due_at": micros(due_of(task)),
        "tracking_id": keepable(task.tracking_id),
        "invoice_number": keepable(task.invoice_number),
        "group_tag": keepable(task.group_tag),
        "vessel": keepable(name),
        "imo": countable(vessel.vessel_imo),
        "berth": None if berth is None else keepable(berth.casefold().strip()),
    }


def pushed(account: str, info: RunInfo, row: OrderRow) -> Row:
    """The row for an order of a ledger that was never read: with the values that were sent.

    The row has no final status: `further` returns that status, and it becomes a change.
    """
    sent = msgspec.json.decode(row.payload)
    status = status_in(row)
    status = None if status is not None and TaskStatus(status).is_terminal else status
    body = msgspec.json.encode({**sent, "id": row.task_id, "current_status": status})
    task = codec.decode(body, Task)
    moment = to_microseconds(row.updated_at)
    found = columns(task)
    price = task.price
    return (
        account,
        row.task_id,
        info.id,
        row.key,
        status,
        0,
        moment,
        moment,
        found["due_at"] or moment,
        *(found[name] for name in ("tracking_id", "invoice_number", "group_tag", "vessel", "imo", "berth")),
        None if price is None else countable(price.millicents),
        None if price is None else price.currency,
        body,
    )


def status_in(row: OrderRow) -> str | None:
    """The status of an order's task in the ledger."""
    return TaskStatus.CANCELLED if row.state is OrderState.CANCELLED else row.status


def further(row: OrderRow, status: str | None) -> Task | None:
    """The task as the ledger knows it, if its status there is later than a known one; else None."""
    shown = status_in(row)
    is_over = status is not None and TaskStatus(status).is_terminal
    if shown is None or shown not in RANK or is_over or RANK[shown] <= RANK.get(status or "", -1):
        return None
    return Task(id=row.task_id or "", current_status=TaskStatus(shown))


def order_of(row: Row) -> BookOrder:
    """An order from a row of the statement ``orders``."""
    number, account, task_id, run, key, status, seen, changed, due, planned, currency, body = row
    return BookOrder(
        number=number,
        account=account,
        task_id=task_id,
        run=run,
        key=key,
        status=None if status is None else TaskStatus(status),
        seen_at=from_microseconds(seen),
        changed_at=moment_of(changed),
        due_at=moment_of(due),
        planned=None if planned is None else as_given(planned, currency or ""),
        body=bytes(body),
    )


def step_of(row: Row) -> Step:
    """A step from a row of the statement ``steps``."""
    _, _, status, at, entry, late, _ = row
    shown = None if entry is None else codec.decode(bytes(entry), StatusEntry)
    return Step(TaskStatus(status), moment_of(at), shown, not late)


def changes_of(db: Database, numbers: Sequence[int]) -> list[Change]:
    """The changes with some numbers, in their order."""
    return [_change_of(row) for row in db.rows("changes", numbers=db.listed(numbers))] if numbers else []


def _change_of(row: Row) -> Change:
    number, account, task_id, status, at, entry, source, seen, previous, late, attempts, failing, why, body = row
    return Change(
        number=number,
        account=account,
        task_id=task_id,
        status=TaskStatus(status),
        at=moment_of(at),
        seen_at=from_microseconds(seen),
        previous=None if previous is None else TaskStatus(previous),
        late=bool(late),
        source=source,
        entry=None if entry is None else codec.decode(bytes(entry), StatusEntry),
        task=codec.decode(bytes(body), Task),
        attempts=attempts,
        failing_since=moment_of(failing),
        why=why,
    )


def over(known: bytes, part: bytes) -> bytes:
    """A known task, updated by a part of it; both have the same id."""
    said = {name: value for name, value in msgspec.json.decode(part).items() if value not in (None, "", [], {})}
    return msgspec.json.encode({**msgspec.json.decode(known), **said})


def keepable(text: str | None) -> str | None:
    """A text in a form that a column stores: PostgreSQL has no character 0."""
    return None if text is None else text.replace("\0", "")


def countable(number: int | None) -> int | None:
    """A number in a form that a column stores; None if it is too large."""
    return None if number is None or abs(number) >= 2**63 else number


def micros(moment: datetime | None) -> int | None:
    """A time in the form in which it is stored."""
    return None if moment is None else to_microseconds(moment)


def moment_of(kept: int | None) -> datetime | None:
    """A stored time as a datetime."""
    return None if kept is None else from_microseconds(kept)


def encoded(entry: StatusEntry | None) -> bytes | None:
    """An entry in the form in which it is stored."""
    return None if entry is None else codec.encode(entry)
