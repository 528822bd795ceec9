"""What can be known of an order in doubt: its recorded task, the platform's Task List, or whatever else tells.

An `Evidence` looks; it decides nothing, and changes nothing. `Reconciler` draws the conclusions.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol, Self

import attrs

from gotsurge_async import codec
from gotsurge_async.bulk.ledger import Ledger, Mode, OrderRow, RunInfo
from gotsurge_async.bulk.ledger.payloads import reading_payload
from gotsurge_async.calls.batcher import Batcher
from gotsurge_async.calls.create import stops_all
from gotsurge_async.client import GotSurge
from gotsurge_async.errors import CallError, Forbidden, NotFound
from gotsurge_async.models.base import Model
from gotsurge_async.models.places import TimeWindow
from gotsurge_async.models.tasks import Task, TaskStatus

SETTLE = 30.0
"""Seconds between two scans of a list: what was on its way at the first one has arrived at the second."""

_SHOWN = 5


@attrs.frozen(kw_only=True)
class Doubt:
    """An order of which nobody knows whether it was created, and the names that its task would carry."""

    id: int
    """Of the order in the ledger."""
    key: str
    tracking_id: str | None = None
    invoice_number: str | None = None
    pickup: TimeWindow | None = None
    task_id: str | None = None
    """The recorded task, if there is one."""

    @classmethod
    def of(cls, row: OrderRow, path: str = "") -> Self:
        """The doubt about an order of the ledger at a path; LedgerUnusable if it is damaged."""
        with reading_payload(path, row):
            names = codec.decode(row.payload, _Names)
        return cls(
            id=row.id,
            key=row.key,
            tracking_id=names.tracking_id,
            invoice_number=names.invoice_number,
            pickup=names.from_time_window,
            task_id=row.task_id,
        )


@attrs.frozen(kw_only=True)
class _Names(Model):
    tracking_id: str | None = None
    invoice_number: str | None = None
    from_time_window: TimeWindow | None = None


@attrs.frozen(kw_only=True)
class Sighting:
    """A task that is an order's; ``status`` is None where the service does not tell it."""

    task_id: str
    status: TaskStatus | None = None


@attrs.frozen(kw_only=True)
class Findings:
    """What an evidence knows.

    Attributes:
        seen: for each doubt (by its ``id``) that is known to be at the service, its tasks; more than one is a double.
        unclear: for each doubt of which something was seen that proves nothing, why not.
        absent: doubts of which nothing was seen, by an evidence that had everything before it, twice.
        trouble: why it could not look, or not to the end; "" if it could.
    """

    seen: Mapping[int, Sequence[Sighting]] = attrs.field(factory=dict)
    unclear: Mapping[int, str] = attrs.field(factory=dict)
    absent: frozenset[int] = frozenset()
    trouble: str = ""


class Evidence(Protocol):
    """Something that may know what became of orders."""

    async def look(self, run: RunInfo, doubts: Sequence[Doubt]) -> Findings:
        """Tell what is known of some orders of a run; one that it knows nothing of is left out."""
        ...


class RecordedTasks:
    """Reads the tasks whose ids the ledger has: in two-phase mode every order in doubt has one."""

    def __init__(self, gs: GotSurge) -> None:
        self._gs = gs

    async def look(self, run: RunInfo, doubts: Sequence[Doubt]) -> Findings:
        """See `Evidence.look`.

        Raises:
            CallError: the account may no longer read anything.
        """
        read = self._gs.platform.tasks.get if run.mode is Mode.TWO_PHASE else self._gs.tasks.get
        seen: dict[int, list[Sighting]] = {}
        troubles: list[CallError] = []

        async def look_up(chunk: Sequence[Doubt]) -> None:
            for doubt in chunk:
                try:
                    task = await read(doubt.task_id or "")
                except NotFound:
                    continue
                except CallError as error:
                    if stops_all(error):
                        raise
                    troubles.append(error)
                    continue
                seen[doubt.id] = [Sighting(task_id=task.id, status=task.current_status)]

        known = [doubt for doubt in doubts if doubt.task_id]
        async with Batcher(known, look_up, size=1, concurrency=self._gs.limits.concurrency) as looks:
            async for _ in looks:
                pass
        trouble = f"{len(troubles)} recorded tasks could not be read: {troubles[0]}" if troubles else ""
        return Findings(seen=seen, trouble=trouble)


class TaskList:
    """Reads the Task List of a platform partner, whole, and finds orders by tracking id, else by invoice number.

    A list proves presence, not absence: pages shift while they are read, and what was sent last may not be on it yet.
    So unless every order was found it is read once more after ``settle`` seconds, from its other end. A scan is always
    read to its end: an order that was created twice shows only then.

    A tracking id that belongs to one order in doubt proves that the task is this order's, unless invoice number or
    pickup window are others: an older order may have had the same tracking id. An invoice number proves it only where
    the task tells no tracking id, no other order in doubt has the number, and the pickup window is the same. A task
    that the ledger has under another order proves nothing.

    Args:
        settle: seconds between the two scans.
    """

    def __init__(self, gs: GotSurge, ledger: Ledger, *, settle: float = SETTLE) -> None:
        self._gs = gs
        self._ledger = ledger
        self._settle = settle

    async def look(self, run: RunInfo, doubts: Sequence[Doubt]) -> Findings:
        """See `Evidence.look`.

        Raises:
            CallError: the account's token is no longer taken.
        """
        suspects = _Suspects(doubts)
        findings = Findings()
        orders: tuple[Literal["asc", "desc"], ...] = ("asc", "desc")
        for number, order in enumerate(orders):
            if number:
                await self._gs.session.clock.sleep(self._settle)
            trouble = await self._scan(suspects, order)
            recorded = await self._ledger.recorded(run.environment, list(suspects.tasks))
            findings = suspects.judge(recorded, complete=bool(number) and not trouble)
            if trouble:
                return attrs.evolve(findings, trouble=trouble)
            if findings.seen.keys() >= {doubt.id for doubt in doubts}:
                break
        return findings

    async def _scan(self, suspects: "_Suspects", order: Literal["asc", "desc"]) -> str:
        """Read the list to its end; what kept it from that is returned."""
        try:
            async for task in self._gs.platform.tasks.list(order=order):
                suspects.meet(task)
        except (Forbidden, NotFound) as error:
            return (
                "this account has no Task List, as plain partners have none: its orders in doubt need a webhook, or a "
                f"person who looks and says so with `gotsurge resolve` ({error})"
            )
        except CallError as error:
            if stops_all(error):
                raise
            return f"the Task List could not be read to its end: {error}"
        return ""


class _Suspects:
    """The tasks of a list that may be those of some orders in doubt."""

    def __init__(self, doubts: Sequence[Doubt]) -> None:
        self.tasks: dict[str, Task] = {}
        self._doubts = doubts
        self._by_task = {doubt.task_id: doubt for doubt in doubts if doubt.task_id}
        self._by_tracking = _grouped((doubt.tracking_id, doubt) for doubt in doubts)
        self._by_invoice = _grouped((doubt.invoice_number, doubt) for doubt in doubts)

    def meet(self, task: Task) -> None:
        """Keep a task if it may be one of theirs; one that was met before is replaced by what it is now."""
        if task.id in self._by_task or task.tracking_id in self._by_tracking or self._may_be_theirs(task):
            self.tasks[task.id] = task

    def _may_be_theirs(self, task: Task) -> bool:
        return not task.tracking_id and (not task.invoice_number or task.invoice_number in self._by_invoice)

    def judge(self, recorded: Mapping[str, int], *, complete: bool) -> Findings:
        """Say which task is whose.

        Args:
            recorded: tasks that the ledger has already, each with the id of its order.
            complete: everything was read, twice.
        """
        seen: dict[int, list[Sighting]] = {}
        unclear: dict[int, list[str]] = {}
        nameless = _Pickups()
        ours = {doubt.id for doubt in self._doubts}
        for task in self.tasks.values():
            owner = recorded.get(task.id)
            if owner is not None:
                if owner in ours:
                    seen.setdefault(owner, []).append(_sighting(task))
                continue
            if not task.tracking_id and not task.invoice_number:
                nameless.add(task)
                continue
            named, proven = self._whose(task)
            for doubt in named:
                if proven:
                    seen.setdefault(doubt.id, []).append(_sighting(task))
                else:
                    unclear.setdefault(doubt.id, []).append(task.id)
        absent: frozenset[int] = frozenset()
        if complete:
            absent = frozenset(
                doubt.id
                for doubt in self._doubts
                if doubt.id not in seen
                and doubt.id not in unclear
                and (doubt.tracking_id or doubt.invoice_number)
                and doubt.pickup not in nameless
            )
        return Findings(
            seen=seen,
            unclear={order: _unclear(ids) for order, ids in unclear.items() if order not in seen},
            absent=absent,
        )

    def _whose(self, task: Task) -> tuple[Sequence[Doubt], bool]:
        """The orders that a task may be, and whether it certainly is the first and only one of them."""
        if task.tracking_id:
            named = self._by_tracking.get(task.tracking_id, ())
            only = named[0] if len(named) == 1 else None
            return named, only is not None and _agree(only, task)
        named = self._by_invoice.get(task.invoice_number or "", ())
        return named, len(named) == 1 and _same_pickup(named[0], task)


def _grouped(pairs: Iterable[tuple[str | None, Doubt]]) -> dict[str | None, list[Doubt]]:
    groups: dict[str | None, list[Doubt]] = {}
    for name, doubt in pairs:
        if name:
            groups.setdefault(name, []).append(doubt)
    return groups


def _agree(doubt: Doubt, task: Task) -> bool:
    """Whether the task tells nothing that the order has otherwise: an older order may have had its tracking id."""
    numbers = doubt.invoice_number, task.invoice_number
    return (not all(numbers) or numbers[0] == numbers[1]) and (
        task.from_time_window is None or _same_pickup(doubt, task)
    )


def _same_pickup(doubt: Doubt, task: Task) -> bool:
    mine, theirs = doubt.pickup, task.from_time_window
    return mine is not None and theirs is not None and _span(mine) == _span(theirs)


class _Pickups:
    """The pickup windows of some tasks; one that is not told may be any."""

    def __init__(self) -> None:
        self._told: set[tuple[datetime, datetime]] = set()
        self._some = self._untold = False

    def add(self, task: Task) -> None:
        self._some = True
        if task.from_time_window is None:
            self._untold = True
        else:
            self._told.add(_span(task.from_time_window))

    def __contains__(self, pickup: TimeWindow | None) -> bool:
        return self._some and (self._untold or pickup is None or _span(pickup) in self._told)


def _span(window: TimeWindow) -> tuple[datetime, datetime]:
    """Its start and end in whole seconds: fractions of them may get lost on the way."""
    return (window.start_time_utc.replace(microsecond=0), window.end_time_utc.replace(microsecond=0))


def _sighting(task: Task) -> Sighting:
    return Sighting(task_id=task.id, status=task.current_status)


def _unclear(task_ids: Sequence[str]) -> str:
    return f"{listed(task_ids)} may be its task, and may be another order's"


def listed(task_ids: Sequence[str]) -> str:
    """Some tasks, for people."""
    more = f" and {len(task_ids) - _SHOWN} more" if len(task_ids) > _SHOWN else ""
    return f"{'task' if len(task_ids) == 1 else 'tasks'} {', '.join(task_ids[:_SHOWN])}{more}"
