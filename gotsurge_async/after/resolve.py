"""The decisions of people about orders in doubt: about one order, or in a file. All are recorded, or none.

Each decision is checked before it is recorded: against the ledger, and by reading the task where that can be done.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, structs

from gotsurge_async.after.lookup import candidates, names_of, not_its_own, read_tasks
from gotsurge_async.after.reading import STATUS, TASK_ID, read_result_file
from gotsurge_async.clock import uninterrupted
from gotsurge_async.errors import Coded, NotFound, code_of
from gotsurge_async.ledger import (
    CLAIMED,
    DOUBTFUL,
    OWNED_ELSEWHERE,
    Ledger,
    OrderRow,
    OrderState,
    Run,
    RunHeld,
    RunInfo,
)
from gotsurge_async.ledger.errors import open_words
from gotsurge_async.ledger.sql.recorded import recorded as recorded_tasks
from gotsurge_async.ledger.sql.runs import refuse_other_server
from gotsurge_async.ledger.states import in_words
from gotsurge_async.models.answers import Task
from gotsurge_async.models.tasks import ENDED_EARLY, TaskStatus
from gotsurge_async.push.load import UnusableSource
from gotsurge_async.system import shell
from gotsurge_async.tables import Fault
from gotsurge_async.tables.checks.words import number_of, verb

if TYPE_CHECKING:
    from gotsurge_async.client import GotSurge

_IN_DOUBT, _CREATED, _NOT_CREATED = ("", "in_doubt"), "created", "not_created"


class Resolution(Struct, frozen=True, kw_only=True):
    """A person's decision about one order, on a line of a file: its task, None if it was not created."""

    key: str
    task_id: str | None = None
    line: int | None = None


class Resolved(Struct, frozen=True, kw_only=True):
    """The recorded decisions: new ones, and those ``before``. The number of orders ``left`` are still in doubt.

    The tasks of ``cancelled`` orders are cancelled, now or before: their keys may be pushed again.
    """

    created: tuple[Resolution, ...] = ()
    cancelled: tuple[Resolution, ...] = ()
    not_created: tuple[Resolution, ...] = ()
    before: tuple[Resolution, ...] = ()
    left: int = 0


async def resolve(
    ledger: Ledger,
    run_id: str,
    resolutions: Sequence[Resolution],
    *,
    by: str,
    connect: "Callable[[], Awaitable[GotSurge]] | None" = None,
    file: str = "resolve",
) -> Resolved:
    """Record decisions about orders in doubt, all or none. Orders of a process that ended count as in doubt.

    ``connect`` makes the client that reads the tasks, and is called only where there is one to read; without it the
    decisions are checked against the ledger alone.

    Raises:
        UnusableSource: some decisions cannot be true; the error has each with its line.
        OtherServer: the run belongs to another server than the client's.
        NoSuchRun, LedgerError: there is no such run, or the ledger fails.
        GotSurgeError: a task could not be read, or what ``connect`` raises.
    """
    info = await ledger.run(run_id)
    async with _held(ledger, run_id) as run:
        in_doubt = DOUBTFUL if run is not None else DOUBTFUL - CLAIMED  # what is claimed is in flight
        rows = await _rows(ledger, run_id, {one.key for one in resolutions}, in_doubt)
        new = [one for one in resolutions if one.key in rows and rows[one.key].state in in_doubt]
        faults = [
            *_repeated(resolutions),
            *await _contradictions(ledger, info, resolutions, rows, in_doubt),
        ]
        cancelled: frozenset[str] = frozenset()
        if not faults and connect is not None:
            faults, cancelled = await _check_tasks(connect, ledger, info, new, rows)
        if faults:
            faults = [structs.replace(fault, file=file) for fault in sorted(faults, key=lambda fault: fault.line or 0)]
            raise UnusableSource(f"{file} has faults", faults, len(faults))
        tasks = {one.key: one.task_id for one in new}
        if run is not None:
            await run.resolve(tasks, by=by, cancelled=cancelled)
            await uninterrupted(run.finish())
        else:
            await ledger.resolve(run_id, tasks, by=by, cancelled=cancelled)
    counts = await ledger.counts(run_id)
    cancelled |= {key for key, row in rows.items() if row.state is OrderState.CANCELLED}
    return Resolved(
        created=tuple(one for one in new if one.task_id is not None and one.key not in cancelled),
        cancelled=tuple(one for one in resolutions if one.key in cancelled),
        not_created=tuple(one for one in new if one.task_id is None),
        before=tuple(one for one in resolutions if one not in new and one.key not in cancelled),
        left=counts.of(DOUBTFUL),
    )


@asynccontextmanager
async def _held(ledger: Ledger, run_id: str) -> AsyncIterator[Run | None]:
    """Hold a run, unless a living process has it, which knows its own claims."""
    try:
        run = await ledger.hold(run_id)
    except RunHeld:
        yield None
        return
    async with run:
        await run.recover()
        yield run


async def _rows(ledger: Ledger, run_id: str, keys: set[str], in_doubt: frozenset[OrderState]) -> dict[str, OrderRow]:
    """The orders with some keys; those in doubt are read first, since there are hardly ever others."""
    rows: dict[str, OrderRow] = {}
    for states in (in_doubt, None):
        if keys - rows.keys():
            async for row in ledger.rows(run_id, states):
                if row.key in keys:
                    rows.setdefault(row.key, row)
    return rows


def _fault(one: Resolution, rule: str, explain_code: str | None = None) -> Fault:
    return Fault(file="", line=one.line, column=one.key, rule=Coded(rule, explain_code or code_of(rule) or "E611"))


def _repeated(resolutions: Sequence[Resolution]) -> Iterator[Fault]:
    keys: dict[str, Resolution] = {}
    tasks: dict[str, Resolution] = {}
    for one in resolutions:
        if keys.setdefault(one.key, one) is not one:
            yield _fault(one, "appears twice: give one decision for each order")
        elif one.task_id is not None and tasks.setdefault(one.task_id, one) is not one:
            yield _fault(one, f"task {one.task_id} is also given for the order {tasks[one.task_id].key}")


async def _contradictions(
    ledger: Ledger,
    info: RunInfo,
    resolutions: Sequence[Resolution],
    rows: Mapping[str, OrderRow],
    in_doubt: frozenset[OrderState],
) -> list[Fault]:
    """The decisions that the ledger's own knowledge contradicts."""
    named = [one.task_id for one in resolutions if one.task_id is not None]
    recorded = await ledger.recorded(info.environment, named) if named else {}
    elsewhere = [one.key for one in resolutions if one.key not in rows or rows[one.key].state in OWNED_ELSEWHERE]
    owners = await ledger.known(info.environment, elsewhere) if elsewhere else {}
    faults, now = [], ledger.now()
    others: dict[tuple[str, OrderState], list[Resolution]] = {}
    for one in resolutions:
        row = rows.get(one.key)
        if one.key in owners:
            owner = owners[one.key]
            others.setdefault((owner.run.id, owner.row.state), []).append(one)
        elif row is None:
            faults.append(_fault(one, f"run {info.id} has no such order", "E522"))
        elif row.state not in in_doubt:
            if not _is_recorded(one, row):
                as_ = f" as {row.task_id}" if row.state is OrderState.CREATED and row.task_id else ""
                faults.append(_fault(one, f"is {in_words(row.state, held=True)}{as_}, not in doubt"))
        elif _may_become_untrue(one, row, now):
            why = open_words(row.open_until, cancelling=row.state is OrderState.CANCELLING)
            faults.append(_fault(one, f"{why}: decide after that", "E526"))
        elif one.task_id is not None and row.task_id and one.task_id != row.task_id:
            faults.append(_fault(one, _other_task(one.task_id, row.task_id)))
        elif one.task_id is not None and recorded.get(one.task_id, row.id) != row.id:
            faults.append(_fault(one, f"task {one.task_id} is recorded for another order"))
    return [*(_of_another_run(info, *owner, orders, len(resolutions)) for owner, orders in others.items()), *faults]


def _of_another_run(
    info: RunInfo, run_id: str, state: OrderState, orders: Sequence[Resolution], decisions: int
) -> Fault:
    """One fault for all orders that another run has, since a file of a whole run has one cause."""
    leave = ""
    if orders[0].line is not None and len(orders) < decisions:  # the file has other orders, too
        leave = f", and leave {verb(len(orders), 'its row', 'their rows')} in this file unchanged"
    how = f": run gotsurge resolve {run_id}{leave}" if state in DOUBTFUL else ", so not in doubt"
    shown = f"already {in_words(state)}" if state in (OrderState.CREATED, OrderState.CANCELLED) else in_words(state)
    instead = f", not in {info.id}" if state in DOUBTFUL else ""
    if len(orders) == 1:
        return _fault(orders[0], f"is {shown} in run {run_id}{instead}{how}")
    many = number_of(len(orders), "order is", "orders are")
    return Fault(file="", rule=Coded(f"{many} {shown} in run {run_id}{instead}{how}", "E611"))


async def _check_tasks(
    connect: "Callable[[], Awaitable[GotSurge]]",
    ledger: Ledger,
    info: RunInfo,
    resolutions: Sequence[Resolution],
    rows: Mapping[str, OrderRow],
) -> tuple[list[Fault], frozenset[str]]:
    """Read each named or recorded task: the decisions that GotSurge contradicts, and the keys of cancelled orders."""
    ids = {one: task_id for one in resolutions if (task_id := one.task_id or rows[one.key].task_id)}
    if not ids:
        return [], frozenset()
    gs = await connect()
    refuse_other_server(info, gs.environment.api_base)
    tasks = await read_tasks(gs, info.mode, ids.values(), unless=NotFound)
    read = [(rows[one.key], task) for one, task_id in ids.items() if isinstance(task := tasks[task_id], Task)]
    others, now = await _of_others(ledger, info, read), ledger.now()
    faults: list[Fault] = []
    cancelled: set[str] = set()
    for one, task_id in ids.items():
        task, row = tasks[task_id], rows[one.key]
        if isinstance(task, Task):
            wrong = _wrong(one, row, task, is_others=task_id in others)
            if not wrong and one.task_id is not None and task.current_status == TaskStatus.CANCELLED:
                cancelled.add(one.key)
        else:
            wrong = f"GotSurge has no task {task_id}" if one.task_id is not None else ""
        if wrong:
            faults.append(_fault(one, wrong))
        elif one.key in cancelled and row.is_open(now):
            why = open_words(row.open_until, cancelling=False)
            faults.append(_fault(one, f"task {task_id} was cancelled; {why}: decide after that", "E526"))
    return faults, frozenset(cancelled)


def _may_become_untrue(one: Resolution, row: OrderRow, now: datetime) -> bool:
    """Whether a request that was not answered may still act, and make the decision wrong."""
    return (one.task_id is None or row.state is OrderState.CANCELLING) and row.is_open(now)


def _other_task(named: str, recorded: str) -> str:
    """The message for a task that is not the recorded one, which is never replaced."""
    return (
        f"task {recorded} is recorded for this order, and is never replaced: if task {named} is this order's and must "
        f"be delivered, leave the order in doubt, so that no push sends it again; else cancel task {named}, then pass "
        "--not-created"
    )


def _is_recorded(one: Resolution, row: OrderRow) -> bool:
    """Whether the ledger contains the same decision already."""
    if one.task_id is None:
        return row.state is OrderState.REFUSED
    return row.state in (OrderState.CREATED, OrderState.CANCELLED) and row.task_id == one.task_id


def _wrong(one: Resolution, row: OrderRow, task: Task, *, is_others: bool) -> str:
    """The reason why a task does not support a decision; "" if it does.

    A recorded task with another tracking id is another order's only if the ledger knows that order: ``is_others``.
    Else a person may have changed it on GotSurge's web page.
    """
    names, status = names_of(row), task.current_status
    is_draft = status is not None and status.is_draft
    if one.task_id is None:
        other = not_its_own(names, task)
        if is_draft or (other and (is_others or status in ENDED_EARLY)):
            return ""
        if not other:
            return f"the order's task {task.id} exists, and is {status}"
        return (
            f"the order's task {task.id} is {status}, with another tracking_id: if a person changed that, pass "
            f"--created {shell.word(task.id)}; else leave the order in doubt, so that no push sends it again"
        )
    if is_draft:
        return f"task {task.id} is a draft, which no driver sees, so the order does not count as created"
    if one.task_id == row.task_id:
        return not_its_own(names, task) if is_others else ""
    is_named = names.tracking_id is not None and names.tracking_id == task.tracking_id  # a stronger name than the other
    return not_its_own(names, task, recorded=is_named)


async def _of_others(ledger: Ledger, info: RunInfo, read: Sequence[tuple[OrderRow, Task]]) -> set[str]:
    """The recorded tasks with another tracking id that the ledger knows, by it or by their id, as another order's."""
    strange = [(row, task) for row, task in read if row.task_id == task.id and not_its_own(names_of(row), task)]
    if not strange:
        return set()
    tasks = [task for _, task in strange]
    orders = await ledger.read(recorded_tasks, info.environment, [task.id for task in tasks])
    owners = await ledger.known(info.environment, [task.tracking_id or "" for task in tasks])
    rows = [owner.row for owner in owners.values() if owner.run.archived_in is None]
    named = {key for key, owner in owners.items() if owner.run.archived_in is not None}
    named |= {names_of(row).tracking_id or "" for row in [*rows, *await candidates(ledger, info.environment, tasks)]}
    return {
        task.id for row, task in strange if task.tracking_id in named or {*orders.get(task.id, ())}.difference([row.id])
    }


async def read_resolutions(ledger: Ledger, run_id: str, path: Path) -> tuple[tuple[Resolution, ...], int]:
    """Read an in-doubt result file that a person has filled in: its decisions, and the number of rows without one.

    ``gs_task_id`` with a task says that the order is this one. ``gs_status`` not_created says that there is none. A row
    that is still in_doubt and names no task has no decision.

    Raises:
        UnusableSource: a row cannot be understood; every fault has its line.
        ConfigError: the file cannot be read, or is not of this run.
        NoSuchRun, LedgerError: there is no such run, or the ledger fails.
    """
    rows = await read_result_file(ledger, run_id, path)
    recorded = {row.key: row.task_id async for row in ledger.rows(run_id, DOUBTFUL) if row.task_id}
    resolutions: list[Resolution] = []
    faults: list[Fault] = []
    untouched = 0
    for row in rows:
        status = row.status.lower().replace(" ", "_").replace("-", "_")
        named = row.task_id not in ("", recorded.get(row.key, ""))
        rule = _unclear(row.task_id, status, named)
        if rule:
            where, value = str(path), row.status or None
            faults.append(Fault(file=where, line=row.line, column=STATUS, value=value, rule=Coded(rule, "E611")))
        elif status in _IN_DOUBT and not named:
            untouched += 1
        else:
            resolutions.append(
                Resolution(key=row.key, task_id=None if status == _NOT_CREATED else row.task_id, line=row.line)
            )
    if faults:
        raise UnusableSource(f"{path} has faults", faults, len(faults))
    return tuple(resolutions), untouched


def _unclear(task_id: str, status: str, named: bool) -> str:
    if status == _NOT_CREATED:
        why = f"is marked as not created, but {TASK_ID} names a task: clear one of the two"
        return why if named else ""
    if status == _CREATED:
        return "" if task_id else f"is marked as created: write the id of its task into {TASK_ID}"
    if status in _IN_DOUBT:
        return ""
    return f"write {_CREATED} (with the task's id in {TASK_ID}), {_NOT_CREATED} or in_doubt"
