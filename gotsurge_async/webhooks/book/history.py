"""The history of a task, from the ``statuses[]`` of its reads (section "Order Statuses").

Every function here is pure. The entries of a task may come doubled, in any order, without their times, or not at all,
so that only ``current_status`` shows a status. Read again and again, they give the same history, each step once.

An entry without a time that is repeated may be a step back or not: it is one when ``current_status`` shows it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from types import MappingProxyType
from typing import NamedTuple

from attrs import evolve, field, frozen
from msgspec import Struct

from gotsurge_async.models.answers import StatusEntry, Task
from gotsurge_async.models.tasks import TaskStatus

RANK: Mapping[str, int] = MappingProxyType(
    {
        TaskStatus.DRAFT: 0,
        TaskStatus.PENDING_BROADCAST: 0,
        TaskStatus.BROADCASTING: 1,
        TaskStatus.ACCEPTED: 2,
        TaskStatus.PENDING_PICKUP: 3,
        TaskStatus.PICKUP_ARRIVING: 4,
        TaskStatus.PENDING_DELIVERY: 5,
        TaskStatus.DELIVERY_ARRIVING: 6,
        **{status: 7 for status in TaskStatus if status.is_terminal},
    }
)
"""The position of each known status on a task's way."""

AHEAD = timedelta(minutes=5)
"""The most by which a time of the service may be ahead of our clock."""
_NEVER = datetime.max.replace(tzinfo=UTC)


@frozen
class Step:
    """One entry of a task's history.

    Attributes:
        status: the status.
        at: its time at the service; None if the service names none.
        entry: the entry as it came; None for a status that was only in ``current_status``: its time is then that of
            the task's last change, if that was the last step.
        came_last: whether no known step followed it when it was discovered. Without a time, it stays behind those.
    """

    status: TaskStatus
    at: datetime | None = None
    entry: StatusEntry | None = field(default=None, eq=False)
    came_last: bool = field(default=False, eq=False)


class NewStep(Struct, frozen=True):
    """A step that was not known; ``previous`` is None for the first, and ``late``: a later step was known before it."""

    step: Step
    previous: TaskStatus | None
    late: bool


class Reading(Struct, frozen=True, kw_only=True):
    """The news from a read of a task: new steps, and the whole history, in their order.

    Attributes:
        dated: known steps that now have a time, or another one, by their place among the known ones, in their new
            form.
        current: the status of the task; None if nothing shows it.
        stale: whether the read is older than the known data.
    """

    new: tuple[NewStep, ...]
    dated: Mapping[int, Step]
    steps: tuple[Step, ...]
    current: TaskStatus | None
    stale: bool


class Times(NamedTuple):
    """The times by which a read is newer or older than another one."""

    updated_at: datetime | None = None
    server_time: datetime | None = None

    def latest(self, other: "Times") -> "Times":
        """The later ones of the times of two reads."""
        both = zip(self, other, strict=True)
        return Times(*(max((at for at in each if at is not None), default=None) for each in both))


class Kept(Struct, frozen=True, kw_only=True):
    """The known data of a task before a read: its history as it was discovered, its status, its newest times."""

    steps: Sequence[Step] = ()
    current: TaskStatus | None = None
    times: Times = Times()


def comparable(kept: Times, seen_at: datetime, shown: Times, read_at: datetime, now: datetime) -> tuple[Times, Times]:
    """The times of the last read and of a new one, without those ahead of our clock: else they make later reads stale.

    If a ``server_time`` is, both become our times of the reads. The right ``updated_at`` is not known: None.
    """
    both = zip(kept, shown, strict=True)
    updated, served = ([None if at is None or at - now > AHEAD else at for at in each] for each in both)
    if served != [kept.server_time, shown.server_time]:
        if seen_at > now:  # our clock has gone back since
            read_at = max(read_at, seen_at + timedelta.resolution)
        ours = (kept.server_time, seen_at), (shown.server_time, read_at)
        served = [None if at is None else min(at, known) for at, known in ours]
    return Times(updated[0], served[0]), Times(updated[1], served[1])


def read(kept: Kept, task: Task, times: Times) -> Reading:
    """The news from a read of a task. The task as read is the truth, unless newer data is known by these times."""
    now = None if task.current_status is None else _named(task.current_status) or None
    listed = steps_of(task)
    log = _as_logged(listed, now)
    shown = in_order(_distinct(listed)) if log is None else log
    stale = _is_stale(kept, times, now)
    dated: dict[int, Step] = {}
    known = _Known(kept.steps)
    old: set[int] = set()
    seen: set[int] = set()
    for step in sorted(shown, key=lambda step: step.at is None):  # a time decides which of several entries it is
        place = known.place(step, () if log is None else seen)
        if place is None:
            continue
        old.add(id(step))
        seen.add(place)
        if step.at is not None and known.is_vague(place):
            dated[place] = known.date(place, step)
    last_known = max((number for number, step in enumerate(shown) if id(step) in old), default=-1)
    is_whole = log is not None and shown[-1].status == now  # else its newest entries may be missing
    new = [
        evolve(step, came_last=is_whole and number > last_known)
        for number, step in enumerate(shown)
        if id(step) not in old
    ]
    if not stale and len(shown) >= len(kept.steps):
        for place, step in _corrected(known.steps, seen, new):
            new.remove(step)
            dated[place] = known.date(place, step)
    whole = in_order([*known.steps, *new])
    new_steps = _placed(whole, new, known.steps)
    current = kept.current if stale else now or (whole[-1].status if whole else None)
    last = max((step.at for step in whole if step.at is not None), default=None)
    is_last = task.updated_at is not None and (last is None or task.updated_at > last)
    before = None if new else kept.current
    if not stale and now is not None and _is_unlisted(now, whole, before, is_later=is_last):
        step = Step(now, task.updated_at if is_last else None, came_last=True)
        new_steps.append(NewStep(step, whole[-1].status if whole else kept.current, late=False))
        whole.append(step)
    return Reading(new=tuple(new_steps), dated=dated, steps=tuple(whole), current=current, stale=stale)


def _placed(whole: Sequence[Step], new: Sequence[Step], known: Sequence[Step]) -> list[NewStep]:
    """The new steps, each with the status before it in the whole history, and whether a known step follows it."""
    old = {id(step) for step in known}
    last = max((place for place, step in enumerate(whole) if id(step) in old), default=-1)
    placed = {
        id(step): (whole[place - 1].status if place else None, place < last)
        for place, step in enumerate(whole)
        if id(step) not in old
    }
    each = [(step, *placed[id(step)]) for step in new]
    return [NewStep(evolve(step, came_last=not late), previous, late) for step, previous, late in each]


def _as_logged(listed: Sequence[Step], current: TaskStatus | None) -> list[Step] | None:
    """The entries of a log that is sorted by time, oldest first, which is kept where times are equal.

    None for a log that is unsorted or lacks times, in which a repeated entry counts once.
    """
    times = [step.at for step in listed if step.at is not None]
    if len(times) < len(listed) or not times:
        return None
    steps = list(listed)
    if times == sorted(times, reverse=True) and (times[0] != times[-1] or steps[0].status == current):
        if times[0] != times[-1] or steps[-1].status != current:
            steps.reverse()
    elif times != sorted(times) or (times[0] == times[-1] and steps[-1].status != current):
        return None
    return [step for place, step in enumerate(steps) if not place or step != steps[place - 1]]


def _corrected(known: Sequence[Step], seen: Iterable[int], new: Iterable[Step]) -> list[tuple[int, Step]]:
    """New steps that replace known ones of the same status, which the log does not contain any more."""
    gone: dict[TaskStatus, list[int]] = {}
    for place in sorted(set(range(len(known))) - set(seen)):
        if known[place].at is not None and known[place].entry is not None:
            gone.setdefault(known[place].status, []).append(place)
    return [(gone[step.status].pop(0), step) for step in new if step.at is not None and gone.get(step.status)]


def steps_of(task: Task) -> list[Step]:
    """The entries of a task as they came, including those that are only names instead of objects."""
    odd = task.extra.get("statuses")
    bare = (
        [StatusEntry(status=TaskStatus(name)) for name in odd if isinstance(name, str)] if isinstance(odd, list) else []
    )
    steps = [Step(_named(entry.status), entry.updated_at, entry) for entry in (*task.statuses, *bare)]
    return [step for step in steps if step.status]


def _named(status: TaskStatus) -> TaskStatus:
    """A status in a form that can be stored: PostgreSQL has no character 0."""
    return TaskStatus(status.replace("\0", "").strip())


def in_order(steps: Iterable[Step]) -> list[Step]:
    """Steps by their times, stable for equal times; those without a time by the order of their statuses.

    A step without a time that ``came_last`` also stays behind the steps before it in the list, and before later ones
    that came last.
    """
    listed = list(steps)
    ranks = _ranks(listed)
    timed = sorted(
        (place for place, step in enumerate(listed) if step.at is not None),
        key=lambda place: (listed[place].at or _NEVER, place),
    )
    follow = [place for place, step in enumerate(listed) if step.at is None and step.came_last]
    numbers = {place: number for number, place in enumerate(timed)}
    bounds = [
        numbers[place] if step.at is not None and step.came_last else len(timed) for place, step in enumerate(listed)
    ]
    bounds = list(accumulate(reversed(bounds), min, initial=len(timed)))[::-1]
    first = _first_further(timed, ranks)
    reached = 0
    behind: dict[int, int] = {}
    for place, step in enumerate(listed):
        if step.at is not None:
            reached = max(reached, numbers[place] + 1)
        elif step.came_last:
            reached = behind[place] = max(reached, min(first[ranks[place]], bounds[place]))
    placed = _merged(timed, follow, behind)
    rest = sorted(
        (place for place, step in enumerate(listed) if step.at is None and not step.came_last),
        key=lambda place: (ranks[place], place),
    )
    first = _first_further(placed, ranks)
    return [listed[place] for place in _merged(placed, rest, {place: first[ranks[place]] for place in rest})]


def _first_further(places: Sequence[int], ranks: Sequence[int]) -> dict[int, int]:
    """For each rank, the number of the first of some places whose rank is higher; their count if there is none."""
    return {rank: next((n for n, each in enumerate(places) if ranks[each] > rank), len(places)) for rank in set(ranks)}


def _merged(places: Sequence[int], others: Iterable[int], before: Mapping[int, int]) -> list[int]:
    """Some places, with the others each before the one whose number ``before`` has, and in their sequence there."""
    inserted: dict[int, list[int]] = {}
    for other in others:
        inserted.setdefault(before[other], []).append(other)
    merged: list[int] = []
    for number in range(len(places) + 1):
        merged += inserted.get(number, ())
        merged += places[number : number + 1]
    return merged


def _ranks(steps: Sequence[Step]) -> list[int]:
    """The position of each step; a step with an unknown status has that of the one before it in the list."""
    ranks: list[int] = []
    for step in steps:
        ranks.append(RANK.get(step.status, ranks[-1] if ranks else 0))
    return ranks


def _distinct(steps: Iterable[Step]) -> list[Step]:
    """Each step once; a step without a time is dropped if one of the same status has a time."""
    distinct = _Known(())
    given = list(steps)
    ranks = {id(step): rank for step, rank in zip(given, _ranks(given), strict=True)}
    for step in sorted(given, key=lambda step: (step.at or _NEVER, step.at is None, step.at and ranks[id(step)])):
        if distinct.place(step) is None:
            distinct.add(step)
    return distinct.steps


class _Known:
    """Steps by status and time; ``steps`` has them as they are now."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self.steps: list[Step] = []
        self._first: dict[TaskStatus, int] = {}
        self._vague: dict[TaskStatus, list[int]] = {}
        self._timed: dict[tuple[TaskStatus, datetime], list[int]] = {}
        for step in steps:
            self.add(step)

    def add(self, step: Step) -> None:
        """Add a step."""
        place = len(self.steps)
        self.steps.append(step)
        self._first.setdefault(step.status, place)
        if _is_vague(step):
            self._vague.setdefault(step.status, []).append(place)
        self._note_time(place, step)

    def is_vague(self, place: int) -> bool:
        """Whether the time of the step at a place is unknown, or uncertain."""
        return _is_vague(self.steps[place])

    def date(self, place: int, step: Step) -> Step:
        """Give a step the time and the entry of another one."""
        before = self.steps[place]
        if _is_vague(before):
            self._vague[step.status].remove(place)
        if before.at is not None:
            self._timed[step.status, before.at.replace(microsecond=0)].remove(place)
        self.steps[place] = step = evolve(step, came_last=before.came_last)
        self._note_time(place, step)
        return step

    def place(self, step: Step, but: Collection[int] = ()) -> int | None:
        """The place, not in ``but``, of the known step with a step's time, or with an unknown time; None for none.

        For a step without a time, the first place of its status.
        """
        if step.at is None:
            return self._first.get(step.status)
        for place in self._timed.get((step.status, step.at.replace(microsecond=0)), ()):
            at = self.steps[place].at
            # An event, or another operation, may write it without the part of a second.
            if place not in but and at is not None and (at == step.at or 0 in (at.microsecond, step.at.microsecond)):
                return place
        return next((place for place in self._vague.get(step.status, ()) if place not in but), None)

    def _note_time(self, place: int, step: Step) -> None:
        if step.at is not None:
            self._timed.setdefault((step.status, step.at.replace(microsecond=0)), []).append(place)


def _is_vague(step: Step) -> bool:
    """Whether the time of a step is unknown, or uncertain."""
    return step.at is None or step.entry is None


def _is_unlisted(current: TaskStatus, steps: Sequence[Step], before: TaskStatus | None, *, is_later: bool) -> bool:
    """Whether the history lacks the step to the present status.

    ``before``: the status until now, if the read has no new entries; ``is_later``: the step is after all known times.
    """
    if not steps or steps[-1].status == current:
        return not steps
    if all(step.status != current for step in steps):
        return True
    if before is not None:
        return current != before  # else nothing has happened since the last read
    if is_later and steps[-1].entry is None and not steps[-1].status.is_terminal:
        return True  # the last one stood alone as well: this log does not list what happens
    # It was there before. A step back is one that is not listed; else the times are not in the order of the steps.
    furthest = max(RANK.get(step.status, 0) for step in steps)
    return RANK.get(current, furthest) < furthest


def _is_stale(kept: Kept, times: Times, now: TaskStatus | None) -> bool:
    """Whether a read is older than the known data."""
    for known, shown in zip(kept.times, times, strict=True):
        if known is not None and shown is not None and known != shown:
            return shown < known
    if kept.current is None or now is None or kept.current not in RANK or now not in RANK:
        return False
    return RANK[now] < RANK[kept.current]  # which one is newer is unknown, and a task goes forward
