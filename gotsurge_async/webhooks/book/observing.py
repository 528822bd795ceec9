"""What a read of a task, or a page of a ledger, changes in the order book, in one transaction."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

from gotsurge_async import codec
from gotsurge_async.clock import to_microseconds
from gotsurge_async.database import Database, Row
from gotsurge_async.ledger import OrderRow, RunInfo
from gotsurge_async.models.tasks import StatusEntry, Task, TaskStatus
from gotsurge_async.webhooks.book.history import Kept, Step, read
from gotsurge_async.webhooks.book.records import (
    Change,
    changes_of,
    columns,
    countable,
    due_of,
    encoded,
    further,
    later,
    micros,
    moment_of,
    over,
    pushed,
)

Source: TypeAlias = Literal["ledger", "read", "sweep", "create"]
"""What showed a task: a ledger, a read that an event caused, a read of the sweep, the answer of a create."""

_COLUMNS = (
    "status", "changed_at", "due_at", "planned", "currency", "tracking_id", "invoice_number", "group_tag", "vessel",
    "imo", "berth",
)  # fmt: skip
"""The columns of an order as ``lock_order`` returns them: most reads change none of them."""
_ENTRY = StatusEntry(status=TaskStatus.DRAFT)
"""Stands for an entry that nobody looks at."""


def observe(db: Database, account: str, task: Task, moment: int, source: Source, now: int) -> list[Change]:
    """Take in a task as it was read: what is new of it is a change, and stands in its history.

    Args:
        moment: when it was read.
        source: what showed it.
        now: the present.
    """
    body = codec.encode(task)
    whose = {"account": account, "task_id": task.id}
    found = db.rows("lock_order", **whose)
    new = not found
    if new:
        db.change("begin_order", **whose, at=moment, body=body)
        db.change("present", **whose)
        found = db.rows("lock_order", **whose)
    ((order, seen, updated, served, known, *kept_columns),) = found
    was = dict(zip(_COLUMNS, kept_columns, strict=True))
    rows = db.rows("steps", orders=db.listed([order]))
    kept = Kept(
        steps=[_known_step(row) for row in rows],
        current=None if was["status"] is None else TaskStatus(was["status"]),
        updated_at=moment_of(updated),
        server_time=moment_of(served),
    )
    reading = read(kept, task)
    if reading.stale and not new:
        body, task = known, codec.decode(known, Task)
    elif source == "ledger" and not new:  # it knows a part of the task
        task = codec.decode(body := over(known, body), Task)
    for place, step in reading.dated.items():
        db.change("date_step", order=order, place=place, at=micros(step.at), entry=encoded(step.entry))
    numbers: list[int] = []
    for place, each in enumerate(reading.new, len(rows)):
        step = each.step
        ((number,),) = db.rows("add_change", order=order, place=place)
        numbers.append(number)
        whole = (order, place, str(step.status), micros(step.at), encoded(step.entry), source, moment)
        db.insert("add_steps", [(*whole, number, each.previous, int(each.late))])
    now_is = {**was, **columns(task), "status": reading.current}
    if was["planned"] is None and task.price is not None:
        now_is |= {"planned": countable(task.price.millicents), "currency": task.price.currency}
    times = [at for at in map(micros, (step.at for step in reading.steps)) if at is not None]
    if reading.current != was["status"] or was["changed_at"] is None:
        now_is["changed_at"] = times[-1] if times else moment
    now_is["due_at"] = micros(due_of(task)) or was["due_at"] or (times[0] if times else moment)
    values = {
        "number": order,
        "seen_at": max(seen, moment),
        "updated_at": later(updated, task.updated_at),
        "server_time": later(served, task.server_time),
        "body": body,
    }
    if now_is == was and not numbers:
        db.change("reread", **values)
    else:
        terminal = int(reading.current is not None and reading.current.is_terminal)
        db.change("set_order", **values, **now_is, terminal=terminal, moved_at=now if numbers else None)
    return changes_of(db, numbers)


def _known_step(row: Row) -> Step:
    """A step of a row of the statement ``steps``; of its entry only whether there is one."""
    _, _, status, at, entry, _, _ = row
    return Step(TaskStatus(status), moment_of(at), None if entry is None else _ENTRY)


def take_page(db: Database, account: str, info: RunInfo, page: Sequence[OrderRow], now: int) -> int:
    """Add some orders of a ledger's run that have a task, and what it knows of them; returns the number of new ones."""
    ids = db.listed(row.task_id for row in page)
    known = {task_id for (task_id,) in db.rows("of_run", account=account, run=info.id, ids=ids)}
    new = [row for row in page if row.task_id not in known]
    db.insert("take_in", [pushed(account, info, row) for row in new])
    db.change("all_present", account=account, ids=ids)
    stands = {task_id: status for task_id, whose, status, _ in db.rows("standings", ids=ids) if whose == account}
    for row in sorted(page, key=lambda row: row.task_id or ""):
        shown = further(row, stands[row.task_id])
        if shown is not None:
            observe(db, account, shown, to_microseconds(row.updated_at), "ledger", now)
    return len(new)
