"""The differences that an audit finds, and how an order in the ledger and its task are compared."""

import re
from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from gotsurge_async import codec
from gotsurge_async.after.audit.notes import MISSING, WINDOWS, Seen, facts_of
from gotsurge_async.ledger import Mode, OrderRow, OrderState, RunInfo
from gotsurge_async.ledger.errors import open_words, reading_payload
from gotsurge_async.models.tasks import TaskFields, TaskStatus
from gotsurge_async.models.times import written
from gotsurge_async.push.changes import uncertain_fields

_TIME = re.compile(r"\b[1-9]\d{3}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


class Kind(StrEnum):
    """The kind of a difference."""

    VANISHED = "vanished"
    """The ledger has the order created, and GotSurge answered twice that there is no such task."""
    CANCELLED = "cancelled"
    """The ledger has the order created, and its task was cancelled."""
    CHANGED = "changed"
    """The task differs from what was sent."""
    DRAFT = "draft"
    """The ledger has the order created, and its task is a draft, which no driver sees."""
    ALIVE = "alive"
    """The ledger has the order cancelled, and its task is live."""
    TWICE = "twice"
    """Two tasks may be live for one order, and one of them is not to be."""
    SHARED = "shared"
    """One task is recorded for two orders."""
    IN_DOUBT = "in_doubt"
    """No answer proves whether the order was created, or an effect of it is still open."""
    CHANGING = "changing"
    """An update of its task was not answered: nobody knows which fields it has changed."""
    UNREADABLE = "unreadable"
    """The task cannot be read by this account: that proves nothing."""
    FILE = "file"
    """A result file contradicts the ledger."""


WRITTEN_OFF = frozenset((Kind.VANISHED, Kind.CANCELLED))
"""The kinds by which `Audit.repair` writes an order off: it becomes cancelled, and its key is free."""
REPAIRABLE = WRITTEN_OFF | {Kind.ALIVE}
"""The kinds that `Audit.repair` settles. An order of a live task becomes created, if no other order has its key."""


class Finding(Struct, frozen=True, kw_only=True):
    """One difference.

    Attributes:
        order: the number of the order in the ledger; None if there is none.
        details: a description for people.
    """

    kind: Kind
    run: str
    key: str
    details: str
    task_ids: tuple[str, ...] = ()
    order: int | None = None


def finding_of(kind: Kind, run: RunInfo, row: OrderRow, details: str) -> Finding:
    """A difference of an order and its task."""
    tasks = (row.task_id,) if row.task_id else ()
    return Finding(kind=kind, run=run.id, key=row.key, details=details, task_ids=tasks, order=row.id)


def why_in_doubt(row: OrderRow, now: datetime) -> str:
    """Why an order is in doubt, and until when something may still act."""
    if row.is_open(now):
        words = open_words(row.open_until, cancelling=row.state is OrderState.CANCELLING)
        return f"{row.error}; {words}" if row.error else words
    return row.error or "its answer was lost"


def verdict_of(row: OrderRow, run: RunInfo, seen: Seen, path: str) -> tuple[Kind, str] | None:
    """The difference between a task and its order in the ledger; None if there is none."""
    if row.state is OrderState.CANCELLED:
        if seen.problem or not seen.live or "tracking_id" in _differing(row, seen, path):
            return None
        return Kind.ALIVE, f"its task is {seen.status}, and the ledger has the order cancelled"
    if seen.problem == MISSING:
        return Kind.VANISHED, "GotSurge does not have its task any more"
    if seen.problem:
        return Kind.UNREADABLE, f"its task cannot be read by this account: {seen.problem}"
    status = TaskStatus(seen.status or "")
    if status.casefold() == TaskStatus.CANCELLED:
        return Kind.CANCELLED, "its task was cancelled at GotSurge"
    if run.mode is Mode.TWO_PHASE and status.is_draft:
        return Kind.DRAFT, f"its task is a draft ({status}), which no driver sees"
    differing = _differing(row, seen, path)
    words = [
        f"{name} was sent as {_shown(name, mine)}, and is {_shown(name, theirs)}"
        for name, (mine, theirs) in differing.items()
    ]
    if fields := uncertain_fields(row.payload):
        return Kind.CHANGING, "; ".join([f"an update of {', '.join(fields)} was not answered", *words])
    return (Kind.CHANGED, "; ".join(words)) if words else None


def _shown(name: str, fact: str) -> str:
    """A fact for people: the times of a window in their zone."""
    if name not in WINDOWS:
        return fact
    return _TIME.sub(lambda time: written(datetime.fromisoformat(time[0]), seconds=True), fact)


def _differing(row: OrderRow, seen: Seen, path: str) -> dict[str, tuple[str, str]]:
    """The fields of a task that differ from what was sent, each with both values."""
    with reading_payload(path, row):
        sent = facts_of(codec.parse(row.payload, TaskFields))
    return {
        name: (value, seen.facts[name])
        for name, value in sent.items()
        if name in seen.facts and seen.facts[name] != value
    }
