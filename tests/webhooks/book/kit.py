"""What the tests of the order book share: tasks as they are read."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from gotsurge_async import codec
from gotsurge_async.models.answers import Task

START = datetime(2026, 1, 2, tzinfo=UTC)
ACCOUNT = "local/plain"
WAY = (
    "broadcasting",
    "accepted",
    "pending_pickup",
    "pickup_arriving",
    "pending_delivery",
    "delivery_arriving",
    "complete",
)


def at(minutes: float) -> datetime:
    """So many minutes after the start."""
    return START + timedelta(minutes=minutes)


def written(moment: datetime) -> str:
    """A time as the service writes it."""
    return moment.isoformat().replace("+00:00", "Z")


def entries(*statuses: str) -> list[dict[str, Any]]:
    """Entries of a history, ten minutes apart."""
    return [{"status": status, "updated_at": written(at(10 * n))} for n, status in enumerate(statuses)]


def task(task_id: str = "T-1", statuses: Iterable[Any] | None = (), current: str | None = None, **more: Any) -> Task:
    """A task as it is read; a value of None is null."""
    shown = None if statuses is None else list(statuses)
    given = {"id": task_id, "current_status": current, "statuses": shown, **more}
    return codec.decode(msgspec.json.encode(given), Task)


def after(steps: int, task_id: str = "T-1", **more: Any) -> Task:
    """A task that has gone so many steps of the usual way."""
    shown = entries(*WAY[:steps])
    updated = written(at(10 * (steps - 1)))
    return task(task_id, shown, WAY[steps - 1], **{"updated_at": updated, **more})
