"""The history of a task, from whatever its reads show of ``statuses[]`` (section "Order Statuses").

Every function here is pure. The entries of a task may come doubled, in any order, without their times, or not at all,
so that a status stands in ``current_status`` alone. Read again and again, they give the same history, each step once.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

from attrs import field, frozen

from gotsurge_async.models.tasks import StatusEntry, Task, TaskStatus

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
"""How far each known status is on a task's way."""


@frozen
class Step:
    """One entry of a task's history.

    Attributes:
        status: the status.
        at: when, as the service says; None where it does not.
        entry: as it came; None for a status that stood in ``current_status`` alone: its time is then that of the
            task's last change, if that was the last step.
    """

    status: TaskStatus
    at: datetime | None = None
    entry: StatusEntry | None = field(default=None, eq=False)


@frozen
class NewStep:
    """A step that was not known.

    Attributes:
        previous: the status before it; None for the first.
        late: a later step was known before it.
    """

    step: Step
    previous: TaskStatus | None
    late: bool


@frozen(kw_only=True)
class Reading:
    """What a read of a task adds to what was known of it.

    Attributes:
        new: what was not known, in its order.
        dated: steps that were known without their time, by their place among the known ones, as they are now.
        steps: the whole history, in its order.
        current: where the task stands; None if nothing says so.
        stale: the read is older than what was known.
    """

    new: tuple[NewStep, ...]
    dated: Mapping[int, Step]
    steps: tuple[Step, ...]
    current: TaskStatus | None
    stale: bool


@frozen(kw_only=True)
class Kept:
    """What is known of a task before a read.

    Attributes:
        steps: its history, as it came to be known.
        current: where it stands.
        updated_at, server_time: of the newest read.
    """

    steps: Sequence[Step] = ()
    current: TaskStatus | None = None
    updated_at: datetime | None = None
    server_time: datetime | None = None


def read(kept: Kept, task: Task) -> Reading:
    """What a read of a task adds. The task as read is the truth, unless something newer is known."""
    shown = in_order(_distinct(steps_of(task)))
    now = None if task.current_status is None else _named(task.current_status) or None
    stale = _is_stale(kept, task, now)
    new: list[Step] = []
    dated: dict[int, Step] = {}
    for step in shown:
        place = _known_as(step, kept.steps, dated)
        if place is None:
            new.append(step)
        elif step.at is not None and _is_vague(kept.steps[place]):
            dated[place] = step
    known = [dated.get(place, step) for place, step in enumerate(kept.steps)]
    whole = in_order([*known, *new])
    told = [_told(step, whole, known) for step in new]
    current = kept.current if stale else now or (whole[-1].status if whole else None)
    if not stale and now is not None and _is_unlisted(now, whole):
        last = max((step.at for step in whole if step.at is not None), default=None)
        is_last = task.updated_at is not None and (last is None or task.updated_at > last)
        step = Step(now, task.updated_at if is_last else None)
        told.append(NewStep(step, whole[-1].status if whole else kept.current, late=False))
        whole.append(step)
    return Reading(new=tuple(told), dated=dated, steps=tuple(whole), current=current, stale=stale)


def _told(step: Step, whole: Sequence[Step], known: Sequence[Step]) -> NewStep:
    place = next(number for number, each in enumerate(whole) if each is step)
    late = any(each is after for each in known for after in whole[place + 1 :])
    return NewStep(step, whole[place - 1].status if place else None, late)


def steps_of(task: Task) -> list[Step]:
    """The entries of a task as they came, also those that are no objects but bare names."""
    odd = task.extra.get("statuses")
    bare = (
        [StatusEntry(status=TaskStatus(name)) for name in odd if isinstance(name, str)] if isinstance(odd, list) else []
    )
    steps = [Step(_named(entry.status), entry.updated_at, entry) for entry in (*task.statuses, *bare)]
    return [step for step in steps if step.status]


def _named(status: TaskStatus) -> TaskStatus:
    """A status as it can be kept: PostgreSQL has no character 0."""
    return TaskStatus(status.replace("\0", "").strip())


def in_order(steps: Iterable[Step]) -> list[Step]:
    """Steps by their times; one without a time stands where its status stands on a task's way."""
    given = list(steps)
    ranks = _ranks(given)
    numbered = list(enumerate(given))
    timed = [each for each in numbered if each[1].at is not None]
    ordered = sorted(timed, key=lambda each: (each[1].at, ranks[each[0]], each[0]))
    for number, step in sorted((each for each in numbered if each[1].at is None), key=lambda each: ranks[each[0]]):
        place = next((at for at, each in enumerate(ordered) if ranks[each[0]] > ranks[number]), len(ordered))
        ordered.insert(place, (number, step))
    return [step for _, step in ordered]


def _ranks(steps: Sequence[Step]) -> list[int]:
    """How far each step is; one whose status nobody knows is as far as the one before it in the list."""
    ranks: list[int] = []
    for step in steps:
        ranks.append(RANK.get(step.status, ranks[-1] if ranks else 0))
    return ranks


def _distinct(steps: Iterable[Step]) -> list[Step]:
    """Each step once; one without a time says nothing beside one of the same status that has it."""
    distinct: list[Step] = []
    for step in sorted(steps, key=lambda step: step.at is None):
        if _known_as(step, distinct, {}) is None:
            distinct.append(step)
    return distinct


def _known_as(step: Step, known: Sequence[Step], dated: Mapping[int, Step]) -> int | None:
    """The place of a step among the known ones; one that is known without its time may have got it just now."""
    same = [place for place, each in enumerate(known) if each.status == step.status]
    if step.at is None:
        return same[0] if same else None
    exact = [place for place in same if _same_time(known[place].at, step.at)]
    return next(iter(exact or [place for place in same if _is_vague(known[place]) and place not in dated]), None)


def _is_vague(step: Step) -> bool:
    """Whether the time of a step is not known, or not surely."""
    return step.at is None or step.entry is None


def _same_time(one: datetime | None, other: datetime) -> bool:
    """Whether two times are one: an event, or another operation, may write it without the part of a second."""
    if one is None:
        return False
    same_second = one.replace(microsecond=0) == other.replace(microsecond=0)
    return one == other or (same_second and 0 in (one.microsecond, other.microsecond))


def _is_unlisted(current: TaskStatus, steps: Sequence[Step]) -> bool:
    """Whether the history lacks the step to where the task stands now."""
    if not steps or steps[-1].status == current:
        return not steps
    if all(step.status != current for step in steps):
        return True
    # It was there before. A step back is one that is not listed; else the times are not in the order of the steps.
    furthest = max(RANK.get(step.status, 0) for step in steps)
    return RANK.get(current, furthest) < furthest


def _is_stale(kept: Kept, task: Task, now: TaskStatus | None) -> bool:
    """Whether a read is older than what is known."""
    for known, shown in ((kept.updated_at, task.updated_at), (kept.server_time, task.server_time)):
        if known is not None and shown is not None and known != shown:
            return shown < known
    if kept.current is None or now is None or kept.current not in RANK or now not in RANK:
        return False
    return RANK[now] < RANK[kept.current]  # nothing tells which is the newer one, and a task goes forward
