"""Doubles: two live tasks with the same name, so that two drivers may be on their way for one order.

`doubles` is a pure function of orders in the book; `find` applies it to a book's database.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import combinations, product

from msgspec import Struct

from gotsurge_async.database import Database
from gotsurge_async.models.answers import Task
from gotsurge_async.models.places import TimeWindow
from gotsurge_async.models.tasks import TaskStatus
from gotsurge_async.webhooks.book.records import BookOrder, environment_of, keepable, micros, order_of

LIVING: frozenset[TaskStatus] = frozenset(
    status for status in TaskStatus if status.is_past_draft and status not in (TaskStatus.CANCELLED, TaskStatus.EXPIRED)
)
"""The statuses of tasks that were broadcast, and neither cancelled nor expired; delivered ones are included."""
REPORTED_FOR = timedelta(days=1)
"""The time that a double is reported after all of its tasks have ended."""
_MOST = 1000
"""The most tasks with some names that are read."""
_MOST_OF_ONE = 100
"""The most tasks with one name that are compared with each other, or with all of that name."""


class Double(Struct, frozen=True, kw_only=True):
    """Live tasks with the same name.

    Attributes:
        orders: the orders in the book, two or more; those from a push come first.
    """

    orders: tuple[BookOrder, ...]

    @property
    def task_ids(self) -> tuple[str, ...]:
        """The ids of the tasks."""
        return tuple(order.task_id for order in self.orders)

    @property
    def name(self) -> str:
        """The tracking id, or else the invoice number, that the tasks share."""
        tasks = [order.task for order in self.orders]
        return next((task.tracking_id for task in tasks if task.tracking_id), None) or tasks[0].invoice_number or ""

    def text(self) -> str:
        """The double for people, on one line."""
        tasks = (f"task {each.task_id} ({_origin_of(each)}, {each.status})" for each in self.orders)
        return f"{len(self.orders)} living tasks with the same name: {', '.join(tasks)}; cancel all but one"


def doubles(orders: Iterable[BookOrder], since: datetime | None = None) -> list[Double]:
    """The doubles among some orders of a book, of which only live ones count.

    Two tasks are a double if they are of one environment, and have the same tracking id, or, where one of them has
    none, the same invoice number and pickup window. Not doubles are two orders pushed under two keys, tasks of two
    accounts that no push made, and tasks with different pickup windows if one has ended: it may be an older order.

    Args:
        since: of doubles that have ended, return only those of which a task ended since then.
    """
    buckets: dict[tuple[str, str, object], list[BookOrder]] = {}
    for order in orders:
        if order.status not in LIVING:
            continue
        task, environment = order.task, environment_of(order.account)
        if task.tracking_id:
            buckets.setdefault((environment, "tracking_id", task.tracking_id), []).append(order)
        if task.invoice_number and task.from_time_window is not None:
            name = (task.invoice_number, _seconds(task.from_time_window))
            buckets.setdefault((environment, "invoice_number", name), []).append(order)
    found: list[set[str]] = []
    by_id: dict[str, BookOrder] = {}
    for (_, kind, _), some in buckets.items():
        for one, other in _pairs(some, kind):
            if _is_double(one, other, kind, since):
                by_id |= {one.task_id: one, other.task_id: other}
                joined = {one.task_id, other.task_id}
                for group in [group for group in found if group & joined]:
                    joined |= group
                    found.remove(group)
                found.append(joined)
    groups = [
        sorted((by_id[each] for each in group), key=lambda each: (each.run is None, each.number)) for group in found
    ]
    return [Double(orders=tuple(group)) for group in sorted(groups, key=lambda group: group[0].number)]


def names_of(tasks: Iterable[Task]) -> tuple[set[str], set[str]]:
    """The tracking ids and the invoice numbers of some tasks, as the book stores them."""
    given = list(tasks)
    tracking = {keepable(task.tracking_id) for task in given}
    invoices = {keepable(task.invoice_number) for task in given}
    return {name for name in tracking if name}, {name for name in invoices if name}


def find(db: Database, since: datetime, *, after: int = 0, tasks: Collection[Task] | None = None) -> list[Double]:
    """The doubles of a book: of a number above ``after``, with a name of ``tasks``; ``since`` as in `doubles`."""
    living = db.listed(sorted(LIVING))
    all_invoices = tasks is None or any(not task.tracking_id for task in tasks)
    if tasks is None:
        values = {"after": after, "since": micros(since), "living": living, "most": _MOST}
        tracking = {name for (name,) in db.rows("doubled_tracking_ids", **values)}
        invoices = {name for (name,) in db.rows("doubled_invoice_numbers", **values)}
    else:
        tracking, invoices = names_of(tasks)
    if not tracking and not invoices:
        return []
    names = {"tracking_ids": db.listed(sorted(tracking)), "invoice_numbers": db.listed(sorted(invoices))}
    names["all_invoices"] = int(all_invoices)
    rows = db.rows("living_of_names", **names, living=living, most=10 * _MOST)
    return doubles((order_of(row) for row in rows), since)


def _pairs(some: Sequence[BookOrder], kind: str) -> Iterable[tuple[BookOrder, BookOrder]]:
    """Possible doubles under one name. Orders that share only an invoice number count if one has no tracking id."""
    if kind == "tracking_id":
        return combinations(some[:_MOST_OF_ONE], 2)
    nameless = [order for order in some if not order.task.tracking_id]
    return product(nameless[:_MOST_OF_ONE], some)


def _is_double(one: BookOrder, other: BookOrder, kind: str, since: datetime | None) -> bool:
    if one.task_id == other.task_id:  # read by two accounts
        return False
    if one.key is not None and other.key is not None and one.key != other.key:
        return False
    if one.account != other.account and one.run is None and other.run is None:
        return False
    tasks = (one.task, other.task)
    if kind == "invoice_number" and all(task.tracking_id for task in tasks):
        return False  # the tracking ids decide: the same, or two orders of one invoice
    ended = [each for each in (one, other) if each.status is not None and each.status.is_terminal]
    if ended and _windows_differ(tasks):
        return False
    return len(ended) < 2 or since is None or any(each.changed_at is None or each.changed_at >= since for each in ended)


def _windows_differ(tasks: Sequence[Task]) -> bool:
    windows = {_seconds(task.from_time_window) for task in tasks if task.from_time_window is not None}
    return len(windows) > 1


def _seconds(window: TimeWindow) -> tuple[datetime, datetime]:
    """A window in whole seconds, since the service may drop fractions."""
    return (window.start_time_utc.replace(microsecond=0), window.end_time_utc.replace(microsecond=0))


def _origin_of(order: BookOrder) -> str:
    return f"run {order.run}, key {order.key}" if order.run is not None else "of no push"
