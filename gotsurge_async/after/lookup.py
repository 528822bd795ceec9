"""Finds the tasks of orders at GotSurge: by their recorded ids, or on the Task List.

Nothing is decided here, and nothing is changed at the service.
"""

from collections.abc import AsyncIterable, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TypeVar

import attrs
from msgspec import Struct, field, structs

from gotsurge_async import codec
from gotsurge_async.after.content import has_content_of
from gotsurge_async.calls.create import Identity, named_by, other_name, stops_all
from gotsurge_async.calls.stream import Batcher
from gotsurge_async.clock import uninterrupted
from gotsurge_async.errors import CallError, Coded, Forbidden, NotFound
from gotsurge_async.ledger import UNSETTLED, Ledger, Mode, OrderRow, OrderState, Run, RunInfo, RunState, UnusedDraft
from gotsurge_async.ledger.errors import reading_payload
from gotsurge_async.models.base import Model
from gotsurge_async.models.places import TimeWindow
from gotsurge_async.models.tasks import ENDED_EARLY, TaskStatus
from gotsurge_async.models.words import folded, one_line

if TYPE_CHECKING:
    from gotsurge_async.client import GotSurge
    from gotsurge_async.models.answers import Task

T = TypeVar("T")
R = TypeVar("R")

RESCAN_AFTER = 30.0
"""Seconds between two reads of a list: requests that were on their way at the first have arrived by the second."""
NO_TASK_LIST = "this account has no Task List (a plain partner has none)"
_SHOWN = 5
_Span = tuple[datetime, datetime]


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Names(Model):
    """The fields by which the task of an order is recognized."""

    tracking_id: str | None = None
    invoice_number: str | None = None
    group_tag: str | None = None
    from_time_window: TimeWindow | None = None

    @property
    def identity(self) -> Identity:
        """The names by which an answer may identify the order."""
        return self.tracking_id, self.invoice_number


def names_of(row: OrderRow, path: str = "") -> Names:
    """The names of an order in the ledger at a path; LedgerUnusable if it is damaged."""
    with reading_payload(path, row):
        return codec.parse(row.payload, Names)


def identifiers(named: "Names | Task", task_id: str | None) -> list[tuple[str, str]]:
    """The values that an order and its task may share, each with its kind; the strongest proof first."""
    pairs = (
        ("task_id", task_id),
        ("tracking_id", named.tracking_id),
        ("invoice_number", named.invoice_number),
        ("group_tag", named.group_tag),
    )
    return [(kind, name) for kind, name in pairs if name]


def deciding_identifiers(task: "Task") -> list[tuple[str, str]]:
    """The identifiers that decide which order a task is of: its id, and its strongest name; see `search_task_list`."""
    return identifiers(task, task.id)[:2]


async def candidates(ledger: Ledger, environment: str, tasks: "Collection[Task]") -> list[OrderRow]:
    """The orders of an environment that some tasks may be of, without tasks that the ledger knows already.

    Runs of other processes count too: an order in flight may be at the service as well as one in doubt. Read this after
    the tasks, and only then which tasks the ledger knows: an order is in flight before its task exists, so it is in
    one of the two.
    """
    return [
        row
        for run in await ledger.runs()
        if run.environment == environment and run.state is not RunState.LOADING and run.archived_in is None
        for row in await named_by_some(ledger.rows(run.id, UNSETTLED), tasks, ledger.path)
    ]


async def named_by_some(rows: AsyncIterable[OrderRow], tasks: "Iterable[Task]", path: str) -> list[OrderRow]:
    """The orders that some tasks may be of."""
    known = {identifier for task in tasks for identifier in deciding_identifiers(task)}
    return [row async for row in rows if not known.isdisjoint(identifiers(names_of(row, path), row.task_id))]


def not_its_own(names: Names, task: "Task", *, recorded: bool = True) -> str:
    """The reason why a task that was read proves nothing for an order: it names another one; "" if it does not.

    If it is ``recorded`` for the order, its invoice number proves nothing: people change that on GotSurge's web page.
    """
    other = other_name((names.tracking_id, None if recorded else names.invoice_number), named_by(task))
    return Coded(f"task {one_line(task.id)} belongs to another order: {other}", "E608") if other else ""


def listed(tasks: "Sequence[Task]") -> str:
    """A text that lists tasks, for people."""
    more = f" and {len(tasks) - _SHOWN} more" if len(tasks) > _SHOWN else ""
    return f"{'task' if len(tasks) == 1 else 'tasks'} {', '.join(one_line(task.id) for task in tasks[:_SHOWN])}{more}"


def call_each(
    gs: "GotSurge",
    items: Iterable[T] | AsyncIterable[T],
    call: Callable[[T], Awaitable[R]],
    concurrency: int | None = None,
) -> Batcher[T, R]:
    """Make a call for each item, at most ``concurrency``, or the client's limit, at a time; yields results."""

    async def call_one(chunk: Sequence[T]) -> R:
        return await call(chunk[0])

    return Batcher(items, call_one, size=1, concurrency=gs.session.limiter.at_most(concurrency))


def task_reader(gs: "GotSurge", mode: Mode) -> "Callable[[str], Awaitable[Task]]":
    """The call that reads a task of a run by its id: a platform partner sees its drafts too."""
    return gs.platform.tasks.get if mode is Mode.TWO_PHASE else gs.tasks.get


async def read_tasks(
    gs: "GotSurge", mode: Mode, task_ids: Iterable[str], *, unless: type[CallError]
) -> "dict[str, Task | CallError]":
    """Read tasks, several at a time; returns each task by id, or the error of its read if that is an ``unless``."""
    get = task_reader(gs, mode)

    async def read(task_id: str) -> "tuple[str, Task | CallError]":
        try:
            return task_id, await get(task_id)
        except unless as error:
            if stops_all(error):
                raise
            return task_id, error

    async with call_each(gs, task_ids, read) as results:
        return {task_id: result async for task_id, result in results}


# --- among tasks that were read --------------------------------------------------------------------------------------


class Findings(Struct, frozen=True, kw_only=True):
    """The conclusions from some tasks about orders, by the ids of the orders in the ledger.

    Attributes:
        tasks: the tasks of each order that is known to be at the service; more than one is a double.
        unclear: for each order with a possible task, the reason why it is not proven to be there.
        absent: orders without a possible task, cancelled ones aside, on a whole list that was read twice.
        trouble: the reason why the list could not be read to its end; "" if it could.
    """

    tasks: "Mapping[int, Sequence[Task]]" = field(default_factory=dict)
    unclear: Mapping[int, str] = field(default_factory=dict)
    absent: frozenset[int] = frozenset()
    trouble: str = ""

    def of(self, orders: Collection[int]) -> "Findings":
        """The findings of some of the orders."""
        return structs.replace(
            self,
            tasks={order: tasks for order, tasks in self.tasks.items() if order in orders},
            unclear={order: why for order, why in self.unclear.items() if order in orders},
            absent=self.absent.intersection(orders),
        )


def match_tasks(
    rows: Sequence[OrderRow],
    tasks: "Iterable[Task]",
    owners: Mapping[str, int],
    path: str,
    *,
    tags: Collection[str] = (),
) -> Findings:
    """Decide which order each task belongs to, as `search_task_list` does; each task was read by its id.

    Args:
        rows: every order that the tasks may be of: see `candidates`.
        owners: tasks that the ledger has already, each with the id of its order; see `Ledger.owners`.
        tags: group tags that only one order has: a task with no other name and the same pickup window is that order's.
    """
    return _Orders(rows, path, tags).match(tasks, owners, complete=False)


async def search_task_list(
    gs: "GotSurge", ledger: Ledger, run: RunInfo, rows: Sequence[OrderRow], *, rescan_after: float
) -> Findings:
    """Read the Task List of a platform partner, whole, and match orders by tracking id, else by invoice number.

    A list proves presence, not absence: pages shift while they are read, and the newest orders may not be on it yet.
    So unless every order has a match that is not cancelled, the list is read once more after ``rescan_after`` seconds,
    from its other end. It is always read to its end: only then an order that was created twice is noticed.

    A tracking id that belongs to one order proves that the task is this order's, unless invoice number or pickup window
    are others: an older order may have had the same tracking id. An invoice number proves it only where the task has
    no tracking id, no other order has the number, and the pickup window is the same. Other orders are all that the
    ledger has in doubt or in flight, in any run: see `candidates`. A task that the ledger has under another order,
    or as an unused draft, proves nothing. If only capitals or spaces of a name differ, the order is not absent either.
    A task that the list shows without what is compared is read by its id.
    """
    orders = _Orders(rows, ledger.path)
    seen: dict[str, Task] = {}
    findings = Findings()
    directions: tuple[Literal["asc", "desc"], ...] = ("asc", "desc")
    gap = ""
    for number, direction in enumerate(directions):
        if number:
            await gs.session.clock.sleep(rescan_after)
        trouble, new_gap = await _scan(gs, orders, seen, direction)
        gap = gap or new_gap
        unread = await _read_short(gs, orders, seen)
        others = await candidates(ledger, run.environment, seen.values())
        owners = await ledger.owners(run.environment, list(seen))
        complete = bool(number) and not trouble and not gap
        known = _Orders([*others, *rows], ledger.path)
        findings = known.match(seen.values(), owners, complete=complete, unread=unread).of({row.id for row in rows})
        if trouble:
            return structs.replace(findings, trouble=trouble)
        if not any(_none_or_cancelled(findings.tasks.get(row.id, ())) for row in rows):
            break
    return structs.replace(findings, trouble=f"the Task List is incomplete: {gap}" if gap else "")


async def _scan(
    gs: "GotSurge", orders: "_Orders", seen: "dict[str, Task]", direction: Literal["asc", "desc"]
) -> tuple[str, str]:
    """Read the list to its end, and store in ``seen`` the tasks that may be an order's, in their present state.

    Returns why its end was not reached, and the sign that it was not the whole list; each "" if there is none.
    """
    tasks = gs.platform.tasks.list(order=direction)
    try:
        async for task in tasks:
            if orders.may_have(task):
                seen[task.id] = task
    except (Forbidden, NotFound) as error:
        trouble = (
            f"{NO_TASK_LIST}: to settle orders in doubt, let webhooks reach `gotsurge receive`, or look the orders up "
            f"and use `gotsurge resolve` ({error})"
        )
        return trouble, ""
    except CallError as error:
        if stops_all(error):
            raise
        return f"the Task List could not be read completely: {error}", ""
    return "", tasks.gap


async def _read_short(gs: "GotSurge", orders: "_Orders", seen: "dict[str, Task]") -> set[str]:
    """Read by their ids the tasks in ``seen`` that lack what is compared; returns those of which no read shows it."""
    short = [task.id for task in seen.values() if orders.is_short(task)]
    unread: set[str] = set()
    for task_id, task in (await read_tasks(gs, Mode.TWO_PHASE, short, unless=CallError)).items():
        shown = seen[task_id]
        if isinstance(task, CallError) or other_name(named_by(shown), named_by(task)):
            unread.add(task_id)
            continue
        seen[task_id] = attrs.evolve(
            task,
            tracking_id=task.tracking_id or shown.tracking_id,
            invoice_number=task.invoice_number or shown.invoice_number,
            current_status=task.current_status or shown.current_status,
        )
    return unread


class _Orders:
    """Some orders, by all names that their tasks may have."""

    def __init__(self, rows: Sequence[OrderRow], path: str, tags: Collection[str] = ()) -> None:
        self._names = {row.id: names_of(row, path) for row in rows}
        self._recorded = {row.task_id for row in rows}
        self._by_tracking = _grouped((names.tracking_id, order) for order, names in self._names.items())
        self._by_invoice = _grouped((names.invoice_number, order) for order, names in self._names.items())
        self._by_tag = _grouped((names.group_tag, order) for order, names in self._names.items())
        self._like_tracking = _grouped((folded(names.tracking_id), order) for order, names in self._names.items())
        self._like_invoice = _grouped((folded(names.invoice_number), order) for order, names in self._names.items())
        self._tags = tags

    def may_have(self, task: "Task") -> bool:
        """Whether a task may be of one of these orders."""
        return not (task.tracking_id or task.invoice_number) or task.id in self._recorded or bool(self._like(task))

    def is_short(self, task: "Task") -> bool:
        """Whether a task may be of one of these orders, and lacks what is compared with the order."""
        orders, status = self._like(task), task.current_status
        is_undated = task.updated_at is None and not task.statuses
        return bool(orders) and (
            status is None
            or task.from_time_window is None
            or (is_undated and status.is_terminal)
            or (task.invoice_number is None and any(self._names[order].invoice_number for order in orders))
        )

    def match(
        self, seen: "Iterable[Task]", owners: Mapping[str, int], *, complete: bool, unread: Collection[str] = ()
    ) -> Findings:
        """Decide which order each task belongs to; ``complete``: the whole list was read, twice.

        ``owners`` are the tasks that the ledger has already, each with the id of its order. Tasks that are ``unread``
        lack what is compared, and prove nothing.
        """
        tasks: dict[int, list[Task]] = {}
        unclear: dict[int, list[Task]] = {}
        nameless: set[_Span | None] = set()
        for task in filter(self.may_have, seen):
            if task.id in owners:
                owner = owners[task.id]
                if owner in self._names:
                    whose = unclear if not_its_own(self._names[owner], task) else tasks
                    whose.setdefault(owner, []).append(task)
                elif task.current_status not in ENDED_EARLY:
                    # The task is recorded for another order, and has the name of one of these: the record may be wrong.
                    for order in {*self._orders_of(task)[0], *self._like(task)}:
                        unclear.setdefault(order, []).append(task)
            elif not task.tracking_id and not task.invoice_number and task.group_tag not in self._tags:
                nameless.add(_span(task.from_time_window))
            else:
                orders, proven = self._orders_of(task)
                for order in orders:
                    (tasks if proven and task.id not in unread else unclear).setdefault(order, []).append(task)
                for order in set(self._like(task)).difference(orders):
                    unclear.setdefault(order, []).append(task)
        return Findings(
            tasks=tasks,
            unclear={
                order: f"{listed(seen)} may be this order's, or another order's"
                for order, seen in unclear.items()
                if order not in tasks
            },
            absent=frozenset(
                order
                for order, names in self._names.items()
                if complete and _none_or_cancelled(tasks.get(order, ()))
                if order not in unclear and _is_distinguishable(names, nameless)
            ),
        )

    def _like(self, task: "Task") -> Sequence[int]:
        """The orders that have the name of a task, or one that differs only in capitals and outer spaces."""
        if task.tracking_id:
            return self._like_tracking.get(folded(task.tracking_id), ())
        return self._like_invoice.get(folded(task.invoice_number), ())

    def _orders_of(self, task: "Task") -> tuple[Sequence[int], bool]:
        """The orders that a task may be of, and whether it is certainly of the first and only one."""
        if task.tracking_id:
            named = self._by_tracking.get(task.tracking_id, ())
            return named, len(named) == 1 and _names_agree(self._names[named[0]], task)
        named = (
            self._by_invoice.get(task.invoice_number, ())
            if task.invoice_number
            else self._by_tag.get(task.group_tag or "", ())
        )
        return named, len(named) == 1 and _same_pickup(self._names[named[0]], task)


def _grouped(pairs: Iterable[tuple[str | None, int]]) -> dict[str | None, list[int]]:
    groups: dict[str | None, list[int]] = {}
    for name, order in pairs:
        if name:
            groups.setdefault(name, []).append(order)
    return groups


def _none_or_cancelled(tasks: "Sequence[Task]") -> bool:
    return all(task.current_status == TaskStatus.CANCELLED for task in tasks)


def _names_agree(names: Names, task: "Task") -> bool:
    """Whether no name of the task differs from the order's: an older order may have had its tracking id."""
    is_over = task.current_status is not None and task.current_status.is_terminal
    agrees = not is_over if task.from_time_window is None else _same_pickup(names, task)
    return agrees and not not_its_own(names, task, recorded=False)


def _same_pickup(names: Names, task: "Task") -> bool:
    mine = _span(names.from_time_window)
    return mine is not None and mine == _span(task.from_time_window)


def _is_distinguishable(names: Names, nameless: Collection[_Span | None]) -> bool:
    """Whether an order has a name, and no nameless task may be its own; an unknown pickup may be any."""
    if not (names.tracking_id or names.invoice_number):
        return False
    mine = _span(names.from_time_window)
    return not nameless or not (mine is None or mine in nameless or None in nameless)


def _span(window: TimeWindow | None) -> _Span | None:
    """The start and end of a window in whole seconds: the service may drop fractions."""
    if window is None:
        return None
    return (window.start_time_utc.replace(microsecond=0), window.end_time_utc.replace(microsecond=0))


# --- unused drafts ---------------------------------------------------------------------------------------------------


async def find_own_drafts(gs: "GotSurge", run: Run, keys: Collection[str]) -> dict[str, str]:
    """Search for an unused draft of each of some orders, by key, that a read shows to have the order's content.

    An order with another key may have the same tracking id, and a draft with another price or another address.
    """
    drafts: dict[str, str] = {}
    for task, rows in await _drafts_named(gs, run, keys):
        whole = await gs.platform.tasks.get(task.id)
        own = [row.key for row in rows if row.key not in drafts and has_content_of(whole, row.payload)]
        drafts |= dict.fromkeys(own[:1], task.id)
    return drafts


async def _drafts_named(gs: "GotSurge", run: Run, keys: Collection[str]) -> "list[tuple[Task, list[OrderRow]]]":
    """The drafts that the run has not recorded, each with those of some orders that have its tracking id.

    A draft that it has recorded for an order that was withdrawn may become that of another one with its key.
    """
    wanted = frozenset(keys)
    owners: dict[str, list[OrderRow]] = {}
    recorded: set[str] = set()
    if wanted:
        async for row in run.rows():
            if row.task_id and row.state is not OrderState.WITHDRAWN:
                recorded.add(row.task_id)
            if row.key in wanted and (tracking_id := names_of(row, run.path).tracking_id):
                owners.setdefault(tracking_id, []).append(row)
    drafts: list[tuple[Task, list[OrderRow]]] = []
    if owners:
        async for task in gs.platform.tasks.list():
            is_draft = task.current_status is not None and task.current_status.is_draft
            if is_draft and task.id not in recorded and (task.tracking_id or "") in owners:
                drafts.append((task, owners[task.tracking_id or ""]))
    return drafts


async def note_unused_drafts(
    gs: "GotSurge", ledger: Ledger, run: Run, keys: Collection[str]
) -> list[tuple[UnusedDraft, str]]:
    """Note the unused drafts of some orders of a held run in the ledger, so that ``undo --drafts`` can cancel them.

    Such drafts, as those of `Sent.lost_drafts`, have the tracking id of an order, and are recorded for none. Whether
    drafts are listed is not promised: finding none does not prove that there are none. Returns those not noted because
    an order with their tracking id is being drafted, each with the run of that order.
    """
    drafts = await _drafts_named(gs, run, keys)
    # Before it is read which are recorded: an order is being drafted until its draft is.
    drafting = await _being_drafted(ledger, run) if drafts else {}
    recorded = await run.recorded([task.id for task, _ in drafts])
    unused: list[tuple[str, str]] = []
    left: list[tuple[UnusedDraft, str]] = []
    for task, rows in drafts:
        if task.id not in recorded and task.tracking_id in drafting:
            left.append((UnusedDraft(rows[-1].key, task.id, cancelled=False), drafting[task.tracking_id]))
        elif task.id not in recorded:
            unused.append((rows[-1].key, task.id))
    await uninterrupted(run.note_unused(unused))
    return left


async def _being_drafted(ledger: Ledger, run: Run) -> dict[str | None, str]:
    """The tracking ids of the orders of all runs whose draft may exist without being recorded, each with its run."""
    return {
        names_of(row, ledger.path).tracking_id: info.id
        for info in await ledger.runs()
        if info.environment == run.info.environment and info.mode is Mode.TWO_PHASE
        if info.state is not RunState.LOADING and info.archived_in is None
        async for row in ledger.rows(info.id, (OrderState.DRAFTING,))
    }
