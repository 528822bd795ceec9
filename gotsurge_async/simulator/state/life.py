"""The effects of drivers and time on tasks (section "Order Statuses"), as the simulator's clock advances.

Every draw depends on the seed, on the task and on its status, and on nothing else: the same orders live the same
day, however the clock was turned and whatever was called in between.
"""

from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from math import inf
from typing import Any

from attrs import field, frozen, validators
from msgspec import UNSET

from gotsurge_async.simulator.state.clock import Action
from gotsurge_async.simulator.state.tasks import (
    BROADCASTING,
    CANCELLED,
    EXPIRED,
    PENDING_BROADCAST,
    TRANSITIONS,
    TaskRecord,
    Tasks,
)

_MINUTE = 60.0
_HOUR = 3600.0


def _share(default: float) -> Any:
    return field(default=default, validator=[validators.ge(0), validators.le(1)])


@frozen(kw_only=True)
class Life:
    """The behaviour of drivers: shares of the tasks, from 0 to 1.

    Attributes:
        accepting: the share that a driver accepts; the others expire.
        cancelling: the share that an operator cancels first.
        late: the share for which a driver comes after the window, at the pickup and at the delivery.
        failing: the share whose pickup fails, and the share of the others whose delivery fails.
    """

    accepting: float = _share(0.94)
    cancelling: float = _share(0.01)
    late: float = _share(0.08)
    failing: float = _share(0.03)


Step = tuple[float, str, str]
"""The time at which a task enters a status, the status, and the note on it."""


class Lives:
    """Plans the next step of each task, and performs it when it is due. It does nothing before `wake`.

    Without a ``life`` nobody drives: broadcasts end as the document says, and nothing else happens.
    """

    def __init__(self, tasks: Tasks, plan: Callable[[float, Action], None], life: Life | None, seed: int) -> None:
        self._tasks = tasks
        self._plan = plan
        self._life = life
        self._seed = seed
        self._awake = False

    @property
    def drives(self) -> bool:
        """Whether there are drivers."""
        return self._life is not None

    def wake(self) -> None:
        """Plan the steps of all tasks from now on, so that each is performed when it is due."""
        if not self._awake:
            self._awake = True
            for record in self._tasks.all():
                self.plan(record)

    def plan(self, record: TaskRecord) -> None:
        """Plan the next step of a task, which has a new status or was changed."""
        if self._awake:
            moment, _, _ = self.next_step(record)
            self._plan(moment, partial(self._take, record, len(record.history)))

    def _take(self, record: TaskRecord, steps: int, moment: float) -> None:
        if len(record.history) != steps or not self._tasks.holds(record):
            return
        # Planned anew: the order may have been changed since, and then another step is planned as well.
        at, status, note = self.next_step(record)
        if at <= moment:
            self._tasks.enter(record, status, max(at, record.history[-1][1]), note)

    def next_step(self, record: TaskRecord, life: Life | None = None) -> Step:
        """The next step of a task by drivers or time; its time is infinity if there is none."""
        status, since = record.history[-1]
        life = life or self._life
        if status == BROADCASTING:
            return self._ending(record, since, life)
        if life is None or status == PENDING_BROADCAST or not TRANSITIONS[status]:
            return inf, status, ""
        written = record.written()
        first, last = written.from_time_window.edges
        if status == "accepted":
            travel = self._between(record, "travel", 25 * _MINUTE, 75 * _MINUTE)
            at = max(since + self._between(record, "setting off", _MINUTE, 8 * _MINUTE), first - travel)
            return at, "pending_pickup", "the driver has set off"
        if status == "pending_pickup":
            return self._arrival(record, since, first, last, life, "pickup_arriving", "the pickup")
        if status == "pickup_arriving":
            at = since + self._between(record, "loading", 3 * _MINUTE, 20 * _MINUTE)
            if self._draw(record, "failing") < life.failing:
                return at, "unsuccessful_pickup", "the sender handed nothing over"
            return at, "pending_delivery", "picked up"
        if status == "pending_delivery":
            if written.to_time_window is UNSET:
                start, end = max(since, last) + _HOUR, max(since, last) + 3 * _HOUR
            else:
                start, end = written.to_time_window.edges
            return self._arrival(record, since, start, end, life, "delivery_arriving", "the delivery")
        at = since + self._between(record, "unloading", 3 * _MINUTE, 20 * _MINUTE)
        if self._draw(record, "failing") < life.failing:
            return at, "unsuccessful_delivery", "nobody took it over"
        return at, "complete", "handed over"

    def _ending(self, record: TaskRecord, since: float, life: Life | None) -> Step:
        """The step that ends a broadcast."""
        ends = record.ends_at
        expiry = (ends, EXPIRED, "no driver accepted it in time")
        if life is None:
            return expiry
        if self._draw(record, "cancelling") < life.cancelling:
            step = (since + self._between(record, "cancel", 2 * _MINUTE, _HOUR), CANCELLED, "cancelled by an operator")
        elif self._draw(record, "accepting") < life.accepting:
            # Soon after the broadcast as a rule, and now and then only after a long time.
            wait = _MINUTE + 2 * _HOUR * self._draw(record, "wait") ** 3
            step = (since + wait, "accepted", "a driver has accepted")
        else:
            return expiry
        return step if step[0] < ends else expiry

    def _arrival(
        self, record: TaskRecord, since: float, start: float, end: float, life: Life, status: str, what: str
    ) -> Step:
        earliest = since + self._between(record, "way", 8 * _MINUTE, 25 * _MINUTE)
        if self._draw(record, "late") < life.late:
            at = max(earliest, end + self._between(record, "delay", 2 * _MINUTE, 50 * _MINUTE))
            return at, status, f"late at {what}"
        at = max(earliest, start + (end - start) * 0.9 * self._draw(record, "moment"))
        return at, status, f"at {what}"

    def final_price(self, record: TaskRecord) -> int | None:
        """The price that a driver accepts, raised by increments up to the highest; None if it stays as it was."""
        written = record.written()
        price, most, increment = written.price or 0, written.max_price, written.increment
        if not most or not increment or most <= price:
            return None
        return price + int(self._draw(record, "price") * ((most - price) // increment + 1)) * increment

    def _between(self, record: TaskRecord, what: str, least: float, most: float) -> float:
        return round(least + (most - least) * self._draw(record, what))

    def _draw(self, record: TaskRecord, what: str) -> float:
        """A number from 0 to 1, always the same for a task in a status, and for a purpose."""
        key = record.tracking_id or str(record.number)
        digest = blake2b(f"{self._seed}|{what}|{record.status}|{key}".encode(), digest_size=6).digest()
        return int.from_bytes(digest) / 2**48
