"""The tasks that the simulator holds, and the count by which a push is judged.

A task's own JSON is kept as it came, undecoded: a hundred thousand of them are a matter of load tests. What the
service adds is worked out when somebody reads the task.
"""

import os
from binascii import crc32
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from attrs import define, field

from gotsurge_async.simulator.life import BROADCASTING, CANCELLED, EXPIRED, PENDING_BROADCAST, expires_at

History = tuple[tuple[str, float], ...]


@define(eq=False)
class TaskRecord:
    """One task: what was written, and what became of it. ``history`` is never empty; its last entry is now."""

    id: str
    owner: str
    source: bytes | msgspec.Raw = field(repr=False)
    tracking_id: str
    history: History
    group: str
    preference: str
    pickup_end: float
    distance: int
    updated_at: float
    draft: bool = False
    listed: bool = False
    revision: int = 0

    @property
    def status(self) -> str:
        """The current status, without what the clock may have done since it was last looked at."""
        return self.history[-1][0]

    @property
    def can_broadcast(self) -> bool:
        """Whether it is a draft that was neither broadcast nor cancelled."""
        return self.draft and self.status == PENDING_BROADCAST

    @property
    def version_rev(self) -> str:
        """The revision as the service writes it, another one after every change."""
        return f"{self.revision}-{crc32(f'{self.id}{self.revision}'.encode()):08x}"

    def content(self) -> dict[str, Any]:
        """What was written, as a new dict."""
        content: dict[str, Any] = msgspec.json.decode(self.source)
        return content

    def enter(self, status: str, at: float) -> None:
        """Take on a status, whatever the one before."""
        self.history = (*self.history, (status, at))
        self.touch(at)

    def touch(self, at: float) -> None:
        """Become another revision."""
        self.updated_at = at
        self.revision += 1

    def settle(self, now: float) -> None:
        """Let the broadcast end if its time is over."""
        if self.status != BROADCASTING:
            return
        end = expires_at(self.preference, self.pickup_end, self.history[-1][1])
        if now >= end:
            self.enter(EXPIRED, end)


class TaskBook:
    """All tasks by id, each owner's in the order in which they became visible, and their count."""

    def __init__(self) -> None:
        self._tasks: dict[str, TaskRecord] = {}
        self._added = 0
        self._listed: dict[str, list[TaskRecord]] = {}
        self._broadcast: Counter[str] = Counter()
        self._drafts: Counter[str] = Counter()
        self._broadcast_count = 0
        self._draft_count = 0
        self._doubled: dict[str, int] = {}
        # Two simulators, or one before and after a reset, never give out the same id.
        self._prefix = os.urandom(4).hex()

    def new_id(self) -> str:
        """An id for the next task."""
        return f"{self._prefix}-0000-4000-8000-{self._added + 1:012x}"

    def new_group(self) -> str:
        """An id for the tasks that are created together from here on."""
        return f"{self._prefix}-0001-4000-8000-{self._added + 1:012x}"

    def add(self, record: TaskRecord, *, listed: bool) -> None:
        """Take a task in; ``listed`` says whether Task List shows it from now on."""
        self._tasks[record.id] = record
        self._added += 1  # and never lowered: an id is given out once
        if listed:
            self.show(record)
        if record.draft:
            self._draft_count += 1
            self._drafts[record.tracking_id] += 1
        else:
            self._broadcast_count += 1
            self._count_broadcast(record.tracking_id, 1)

    def remove(self, record: TaskRecord) -> None:
        """Have no such task any more. What drivers were shown stays in the count."""
        del self._tasks[record.id]
        if record.listed:
            self._listed[record.owner].remove(record)
        if record.draft:
            self._draft_count -= 1
            _lower(self._drafts, record.tracking_id)

    def show(self, record: TaskRecord) -> None:
        """Show a task in its owner's list from now on."""
        record.listed = True
        self._listed.setdefault(record.owner, []).append(record)

    def move(self, record: TaskRecord, status: str, at: float) -> None:
        """Take a task to another status, whatever the one before."""
        if record.draft and status != CANCELLED:
            self.broadcast(record, at)
            if status == BROADCASTING:
                return
        record.enter(status, at)

    def broadcast(self, record: TaskRecord, at: float) -> None:
        """Turn a draft into a task that drivers see; Task List shows it from now on, if not before."""
        record.enter(BROADCASTING, at)
        record.draft = False
        if not record.listed:
            self.show(record)
        self._draft_count -= 1
        self._broadcast_count += 1
        _lower(self._drafts, record.tracking_id)
        self._count_broadcast(record.tracking_id, 1)

    def retrack(self, record: TaskRecord, tracking_id: str) -> None:
        """Give a task another tracking id."""
        if record.draft:
            _lower(self._drafts, record.tracking_id)
            self._drafts[tracking_id] += 1
        else:
            self._count_broadcast(record.tracking_id, -1)
            self._count_broadcast(tracking_id, 1)
        record.tracking_id = tracking_id

    def get(self, owner: str, task_id: str, now: float) -> TaskRecord | None:
        """A task of an owner, as it stands now; None for a stranger's or an unknown one."""
        record = self._tasks.get(task_id)
        if record is None or record.owner != owner:
            return None
        record.settle(now)
        return record

    def find(self, task_id: str) -> TaskRecord | None:
        """A task by its id, whoever owns it."""
        return self._tasks.get(task_id)

    def listed(self, owner: str) -> Sequence[TaskRecord]:
        """An owner's tasks, the oldest first."""
        return self._listed.get(owner, ())

    def __iter__(self) -> Iterator[TaskRecord]:
        return iter(self._tasks.values())

    def in_use(self, tracking_id: str, *, drafts_too: bool) -> bool:
        """Whether a broadcast task (or a draft as well) carries the tracking id."""
        return bool(tracking_id) and (
            self._broadcast[tracking_id] > 0 or (drafts_too and self._drafts[tracking_id] > 0)
        )

    def audit(self) -> dict[str, Any]:
        """How many tasks there are: broadcast ones, those of each tracking id, drafts. Cancelled ones count too."""
        return {
            "tasks": self._broadcast_count,
            "by_tracking_id": {name: count for name, count in self._broadcast.items() if name},
            "doubled": dict(self._doubled),
            "drafts": self._draft_count,
            "drafts_by_tracking_id": {name: count for name, count in self._drafts.items() if name},
        }

    def histories(self, prefix: str = "") -> list[dict[str, Any]]:
        """Every task whose tracking id begins so: its ids, whether it is a draft, each status with its time."""
        return [
            {
                "id": record.id,
                "tracking_id": record.tracking_id,
                "draft": record.draft,
                "history": [list(entry) for entry in record.history],
            }
            for record in self._tasks.values()
            if record.tracking_id.startswith(prefix)
        ]

    def _count_broadcast(self, tracking_id: str, change: int) -> None:
        counts = self._broadcast
        count = counts[tracking_id] = counts[tracking_id] + change
        if not tracking_id:
            return
        if count > 1:
            self._doubled[tracking_id] = count
        else:
            self._doubled.pop(tracking_id, None)
            if count == 0:
                del counts[tracking_id]


def _lower(counts: Counter[str], name: str) -> None:
    counts[name] -= 1
    if not counts[name]:
        del counts[name]
