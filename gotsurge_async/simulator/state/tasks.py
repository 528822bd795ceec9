"""The tasks: their life (section "Order Statuses"), the set of all, and the counts that show whether a push was right.

A task's own JSON is kept as it came, undecoded: a load test has a hundred thousand of them. The service's additions are
computed when a task is read.
"""

import os
from binascii import crc32
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from math import inf
from typing import Any

import msgspec
from attrs import define, evolve, field, fields_dict

from gotsurge_async.simulator.state.written import TaskShape

PENDING_BROADCAST = "pending_broadcast"
BROADCASTING = "broadcasting"
CANCELLED = "cancelled"
EXPIRED = "expired"

TRANSITIONS: Mapping[str, frozenset[str]] = {
    PENDING_BROADCAST: frozenset({BROADCASTING, CANCELLED}),
    BROADCASTING: frozenset({"accepted", CANCELLED, EXPIRED}),
    "accepted": frozenset({"pending_pickup"}),
    "pending_pickup": frozenset({"pickup_arriving"}),
    "pickup_arriving": frozenset({"pending_delivery", "unsuccessful_pickup"}),
    "pending_delivery": frozenset({"delivery_arriving"}),
    "delivery_arriving": frozenset({"complete", "unsuccessful_delivery"}),
    "complete": frozenset(),
    CANCELLED: frozenset(),
    EXPIRED: frozenset(),
    "unsuccessful_pickup": frozenset(),
    "unsuccessful_delivery": frozenset(),
}
"""The statuses that may follow each status."""

CANCELLABLE = frozenset(status for status, following in TRANSITIONS.items() if CANCELLED in following)
WITH_DRIVER = frozenset(TRANSITIONS) - {PENDING_BROADCAST, BROADCASTING, CANCELLED, EXPIRED}


def way(start: str, end: str) -> Sequence[str]:
    """The statuses on the shortest way from one to another, without the first; ValueError if there is no way."""
    ways: dict[str, tuple[str, ...]] = {start: ()}
    ahead = deque((start,))
    while ahead:
        status = ahead.popleft()
        for following in sorted(TRANSITIONS[status]):
            if following not in ways:
                ways[following] = (*ways[status], following)
                ahead.append(following)
    if end not in ways:
        raise ValueError(f"a task with the status {start} can never get the status {end}")
    return ways[end]


SQUAD_MARGIN = 30 * 60.0
"""A task for the squad expires this many seconds before its pickup window ends."""
LONGEST_BROADCAST = 14 * 86400.0
"""The most seconds for which a standard task is broadcast. The document has no number."""
LATE_BROADCAST = 30 * 60.0
"""Seconds for which a task is broadcast whose time was over before: otherwise no read would show the broadcast."""


def expires_at(preference: str, pickup_end: float, broadcast_at: float) -> float:
    """The time at which a broadcast expires: seconds since the epoch, infinity for never."""
    if preference == "marine":
        return inf
    standard = min(pickup_end, broadcast_at + LONGEST_BROADCAST)
    end = pickup_end - SQUAD_MARGIN if preference == "squad" else standard
    return end if end > broadcast_at else broadcast_at + LATE_BROADCAST


_written = msgspec.json.Decoder(TaskShape).decode

History = tuple[tuple[str, float], ...]


@define(eq=False)
class Course:
    """The facts of a task's life besides its statuses: notes on some of them, by their place in the history."""

    notes: dict[int, str] = field(factory=dict)
    price: int | None = None
    epod: dict[str, Any] | None = None


@define(eq=False)
class TaskRecord:
    """One task: its written content, and its history, which is never empty; the last entry is the present status."""

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
    course: Course | None = None
    hidden_until: float = 0.0
    """No read shows the task before this time."""
    past: "TaskRecord | None" = field(default=None, repr=False)
    """The state before this one, with its own past; None while nothing has changed."""
    ended_at: float = inf
    """When an earlier state ended, in seconds since the epoch; infinity for the present one."""

    @property
    def created_at(self) -> float:
        """The time at which the task was created, in seconds since the epoch."""
        return self.history[0][1]

    @property
    def status(self) -> str:
        """The current status; a broadcast whose time is over may not have expired yet, see `Tasks.expire`."""
        return self.history[-1][0]

    @property
    def can_broadcast(self) -> bool:
        """Whether the task is a draft that was neither broadcast nor cancelled."""
        return self.draft and self.status == PENDING_BROADCAST

    @property
    def version_rev(self) -> str:
        """The revision in the service's form, which changes with every change."""
        return f"{self.revision}-{crc32(f'{self.id}{self.revision}'.encode()):08x}"

    def written(self) -> TaskShape:
        """The written fields, which were checked before."""
        return _written(self.source)

    def content(self) -> dict[str, Any]:
        """All written fields, as a new dict."""
        content: dict[str, Any] = msgspec.json.decode(self.source)
        return content

    @property
    def number(self) -> int:
        """The number of the task in its simulator, from 1."""
        return int(self.id[-12:], 16)

    @property
    def ends_at(self) -> float:
        """The time at which its broadcast expires; infinity if it is not broadcast, or never expires."""
        status, since = self.history[-1]
        return expires_at(self.preference, self.pickup_end, since) if status == BROADCASTING else inf

    def new_course(self) -> Course:
        """The task's course, made when it is first needed: a load test has a hundred thousand tasks without one."""
        if self.course is None:
            self.course = Course()
        return self.course

    def touch(self, at: float) -> None:
        """Give the task a new revision."""
        self.updated_at = at
        self.revision += 1

    def keep(self, at: float) -> None:
        """Store the present state, which ends now; call this before any change."""
        if self.past is None or self.past.ended_at < at:  # else the change belongs to one of the same time
            course = self.course and evolve(self.course, notes=dict(self.course.notes))
            self.past = evolve(self, course=course, ended_at=at)

    def as_of(self, moment: float) -> "TaskRecord | None":
        """The task at an earlier time, in seconds since the epoch; None if it did not exist yet."""
        if moment < self.created_at:
            return None
        state = self
        while state.past is not None and state.past.ended_at > moment:
            state = state.past
        return state

    def put_back(self, moment: float) -> None:
        """Restore the task's state at an earlier time, at which it existed; forget later ones."""
        state = self.as_of(moment)
        if state is not None:
            for name in fields_dict(TaskRecord):
                if name not in ("ended_at", "hidden_until"):
                    setattr(self, name, getattr(state, name))


Watch = Callable[[TaskRecord], None]


def _ignore(_: TaskRecord) -> None:
    """Do nothing."""


class Tasks:
    """All tasks by id, those of each owner in the order in which they became visible, and their count.

    ``entered`` is called when a task has a new status, even its first; ``changed`` when another part has changed, or
    the task was removed.
    """

    def __init__(self, entered: Watch = _ignore, changed: Watch = _ignore) -> None:
        self._entered = entered
        self._changed = changed
        self._by_id: dict[str, TaskRecord] = {}
        self._added = 0
        self._hidden_until = 0.0
        self._listed: dict[str, list[TaskRecord]] = {}
        # By tracking id, those without one under "". What drivers were shown stays counted.
        self._broadcast: Counter[str] = Counter()
        self._drafts: Counter[str] = Counter()
        # Two simulators, or one before and after a reset, never give out the same id.
        self._prefix = os.urandom(4).hex()

    def new_id(self) -> str:
        """An id for the next task."""
        return f"{self._prefix}-0000-4000-8000-{self._added + 1:012x}"

    def new_group(self) -> str:
        """An id for the tasks that are created together from here on."""
        return f"{self._prefix}-0001-4000-8000-{self._added + 1:012x}"

    def add(self, record: TaskRecord, *, listed: bool) -> None:
        """Add a task; ``listed`` says whether Task List shows it from now on."""
        self._by_id[record.id] = record
        self._added += 1  # and never lowered: an id is given out once
        self._count(record)[record.tracking_id] += 1
        self._hidden_until = max(self._hidden_until, record.hidden_until)
        if listed:
            self._show(record)
        self._entered(record)

    def enter(self, record: TaskRecord, status: str, at: float, note: str = "") -> None:
        """Give a task a status, whatever the one before."""
        record.keep(at)
        if note:
            record.new_course().notes[len(record.history)] = note
        record.history = (*record.history, (status, at))
        record.touch(at)
        self._entered(record)

    def expire(self, record: TaskRecord, now: float) -> None:
        """End a broadcast if its time is over."""
        if record.status == BROADCASTING and now >= (end := record.ends_at):
            self.enter(record, EXPIRED, end)

    def touch(self, record: TaskRecord, at: float) -> None:
        """Give a task a new revision, after a change since `TaskRecord.keep`."""
        record.touch(at)
        self._changed(record)

    def remove(self, task_id: str) -> None:
        """Remove a task as if it had never existed; raises LookupError for an unknown one."""
        record = self.find(task_id)
        del self._by_id[task_id]
        if record.listed:
            self._listed[record.owner].remove(record)
        if record.draft:
            self._drafts[record.tracking_id] -= 1
        self._changed(record)

    def move(self, task_id: str, status: str, now: float, *, force: bool = False, note: str = "") -> None:
        """Move a task to a status, as drivers or the service do.

        Raises LookupError for an unknown task, ValueError for an unknown status, and for one that the document
        does not let follow, unless ``force``.
        """
        record = self.find(task_id)
        self.expire(record, now)
        if status not in TRANSITIONS:
            raise ValueError(f"there is no status {status!r}; the statuses are: {', '.join(TRANSITIONS)}")
        following = TRANSITIONS[record.status]
        if not force and status not in following:
            allowed = ", ".join(sorted(following)) or "none"
            raise ValueError(f"a task cannot change from {record.status} to {status}; possible statuses: {allowed}")
        if record.draft and status != CANCELLED:
            self.broadcast(record, now, note if status == BROADCASTING else "")
            if status == BROADCASTING:
                return
        self.enter(record, status, now, note)

    def broadcast(self, record: TaskRecord, at: float, note: str = "") -> None:
        """Turn a draft into a task that drivers see; Task List shows it from now on, if not before."""
        record.keep(at)
        self._drafts[record.tracking_id] -= 1
        self._broadcast[record.tracking_id] += 1
        record.draft = False
        if not record.listed:
            self._show(record)
        self.enter(record, BROADCASTING, at, note)

    def set_tracking_id(self, record: TaskRecord, tracking_id: str, at: float) -> None:
        """Give a task another tracking id."""
        record.keep(at)
        count = self._count(record)
        count[record.tracking_id] -= 1
        count[tracking_id] += 1
        record.tracking_id = tracking_id

    def restore(self, moment: float) -> None:
        """Put all tasks back to what they were at an earlier time, in seconds since the epoch.

        Tasks that were created since do not exist any more, and the audit does not count them. Tasks that vanished by
        `remove` do not come back.
        """
        changed = [record for record in self._by_id.values() if record.as_of(moment) is not record]
        for record in changed:
            self._count(record)[record.tracking_id] -= 1
            if record.created_at > moment:
                del self._by_id[record.id]
            else:
                record.put_back(moment)
                self._count(record)[record.tracking_id] += 1
        for owner, records in self._listed.items():
            self._listed[owner] = [record for record in records if record.listed and self.holds(record)]
        for record in changed:
            self._changed(record)

    def find(self, task_id: str) -> TaskRecord:
        """A task of any owner by its id; raises LookupError for an unknown one."""
        try:
            return self._by_id[task_id]
        except KeyError:
            raise LookupError(f"there is no task {task_id!r}") from None

    def named(self, name: str) -> TaskRecord:
        """A task by its id, or by a tracking id that no other task has; raises LookupError for any other name."""
        if name in self._by_id:
            return self._by_id[name]
        matches = [record for record in self._by_id.values() if name and record.tracking_id == name]
        if len(matches) > 1:
            raise LookupError(f"{len(matches)} tasks have the tracking id {name!r}: name one of them by its id")
        return matches[0] if matches else self.find(name)

    def owned(self, owner: str, task_id: str, now: float) -> TaskRecord | None:
        """A task of an owner in its present state; None for a stranger's or an unknown one."""
        record = self._by_id.get(task_id)
        if record is None or record.owner != owner:
            return None
        self.expire(record, now)
        return record

    def seen(self, owner: str, task_id: str, now: float, lag: float = 0.0) -> TaskRecord | None:
        """A task of an owner as Task Detail shows it, ``lag`` seconds late; None if no read shows it yet."""
        record = self.owned(owner, task_id, now)
        if record is None or record.hidden_until > now:
            return None
        return record.as_of(now - lag) if lag else record

    def knows(self, task_id: str) -> bool:
        """Whether there is a task of an id."""
        return task_id in self._by_id

    def holds(self, record: TaskRecord) -> bool:
        """Whether a task has not vanished."""
        return self._by_id.get(record.id) is record

    def all(self) -> Collection[TaskRecord]:
        """All tasks, in the order in which they were created."""
        return self._by_id.values()

    def listed(self, owner: str, now: float = 0.0, lag: float = 0.0) -> Sequence[TaskRecord]:
        """An owner's tasks as Task List shows them, ``lag`` seconds late, the oldest first."""
        records = self._listed.get(owner, [])
        if not lag and self._hidden_until <= now:
            return records
        shown = []
        for record in records:
            self.expire(record, now)
            state = record.as_of(now - lag) if lag else record
            if state is not None and state.listed and record.hidden_until <= now:
                shown.append(state)
        return shown

    def earlier(self, owner: str, made: Collection[TaskRecord]) -> list[str]:
        """The ids of an owner's other orders, the oldest first, without those that share a tracking id with these."""
        ids = {record.id for record in made}
        names = {record.tracking_id for record in made if record.tracking_id}
        return [
            record.id
            for record in self._by_id.values()
            if record.owner == owner and record.id not in ids and record.tracking_id not in names
        ]

    def in_use(self, tracking_id: str, *, drafts_too: bool) -> bool:
        """Whether a broadcast task (or a draft as well) has the tracking id."""
        shown = self._broadcast[tracking_id] + (self._drafts[tracking_id] if drafts_too else 0)
        return bool(tracking_id) and shown > 0

    def audit(self) -> dict[str, Any]:
        """The numbers of broadcast tasks, in all and by tracking id, and of drafts. Cancelled ones count too."""
        by_tracking_id = _tracked(self._broadcast)
        return {
            "tasks": self._broadcast.total(),
            "by_tracking_id": by_tracking_id,
            "doubled": {name: count for name, count in by_tracking_id.items() if count > 1},
            "drafts": self._drafts.total(),
            "drafts_by_tracking_id": _tracked(self._drafts),
        }

    def histories(self, prefix: str = "") -> list[dict[str, Any]]:
        """Every task whose tracking id has this prefix: its ids, whether it is a draft, each status with its time."""
        return [
            {
                "id": record.id,
                "tracking_id": record.tracking_id,
                "draft": record.draft,
                "history": [list(entry) for entry in record.history],
            }
            for record in self._by_id.values()
            if record.tracking_id.startswith(prefix)
        ]

    def _show(self, record: TaskRecord) -> None:
        record.listed = True
        self._listed.setdefault(record.owner, []).append(record)

    def _count(self, record: TaskRecord) -> Counter[str]:
        return self._drafts if record.draft else self._broadcast


def _tracked(counts: Counter[str]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if name and count}
