"""What a read of a task changes in the order book, in one transaction."""

from typing import Literal, TypeAlias

from gotsurge_async import codec
from gotsurge_async.clock import from_microseconds
from gotsurge_async.database import Database
from gotsurge_async.models.tasks import Task, TaskStatus
from gotsurge_async.webhooks.book.history import Kept, read
from gotsurge_async.webhooks.book.records import (
    Change,
    columns,
    countable,
    due_of,
    encoded,
    later,
    micros,
    moment_of,
    over,
    step_of,
)

Source: TypeAlias = Literal["event", "read", "sweep", "create"]
"""What showed a task: an event's own body, a read that an event caused, a read of the sweep, the answer of a create."""


def observe(db: Database, account: str, task: Task, moment: int, source: Source, now: int) -> list[Change]:
    """Take in a task as it was read: what is new of it is a change, and stands in its history.

    Args:
        moment: when it was read.
        source: what showed it.
        now: the present.
    """
    body = codec.encode(task)
    new = db.change("begin_order", account=account, task_id=task.id, at=moment, body=body)
    if new:
        db.change("present", account=account, task_id=task.id)
    ((order, status, seen, changed, updated, served, due, planned, currency, known),) = db.rows(
        "lock_order", account=account, task_id=task.id
    )
    rows = db.rows("steps", orders=db.listed([order]))
    kept = Kept(
        steps=[step_of(row) for row in rows],
        current=None if status is None else TaskStatus(status),
        updated_at=moment_of(updated),
        server_time=moment_of(served),
    )
    reading = read(kept, task)
    if reading.stale and not new:
        body, task = known, codec.decode(known, Task)
    elif source == "event" and not new:
        task = codec.decode(body := over(known, body), Task)
    for place, step in reading.dated.items():
        db.change("date_step", order=order, place=place, at=micros(step.at), entry=encoded(step.entry))
    changes: list[Change] = []
    for place, each in enumerate(reading.new, len(rows)):
        step = each.step
        db.insert(
            "add_steps",
            [(order, place, str(step.status), micros(step.at), encoded(step.entry), source, moment)],
        )
        ((number,),) = db.rows("add_change", order=order, place=place, previous=each.previous, late=int(each.late))
        changes.append(
            Change(
                number=number,
                account=account,
                task_id=task.id,
                status=step.status,
                at=step.at,
                seen_at=from_microseconds(moment),
                previous=each.previous,
                late=each.late,
                source=source,
                entry=step.entry,
                task=task,
            )
        )
    if planned is None and task.price is not None:
        planned, currency = countable(task.price.millicents), task.price.currency
    times = [at for at in map(micros, (step.at for step in reading.steps)) if at is not None]
    if reading.current != status or changed is None:
        changed = times[-1] if times else moment
    db.change(
        "set_order",
        number=order,
        status=reading.current,
        terminal=int(reading.current is not None and reading.current.is_terminal),
        seen_at=max(seen, moment),
        moved_at=now if changes else None,
        changed_at=changed,
        updated_at=later(updated, task.updated_at),
        server_time=later(served, task.server_time),
        planned=planned,
        currency=currency,
        body=body,
        **{**columns(task), "due_at": micros(due_of(task)) or due or (times[0] if times else moment)},
    )
    return changes
