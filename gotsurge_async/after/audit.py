"""Comparing a ledger, and the result files of its runs, with GotSurge: differences are listed, nothing is sent.

GotSurge may be put back from a backup, people cancel and change tasks on its pages, another program may push the same
orders. A push trusts its ledger, and does not notice. An audit reads every recorded task.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import attrs
from msgspec import structs

from gotsurge_async.after.audit_notes import (
    MISSING,
    REPAIRABLE,
    WRITTEN_OFF,
    Finding,
    Kind,
    LiveTask,
    Notes,
    Seen,
    finding_of,
    is_short,
    other_pickup,
    seen_of,
    verdict_of,
    why_in_doubt,
)
from gotsurge_async.after.lookup import NO_TASK_LIST, RESCAN_AFTER, call_each, names_of, task_reader
from gotsurge_async.after.reading import read_result_file, runs_in
from gotsurge_async.calls.create import stops_all
from gotsurge_async.calls.stream import chunks_of
from gotsurge_async.clock import uninterrupted
from gotsurge_async.errors import BadRequest, CallError, ConfigError, Forbidden, NotFound, NotSent, SignInNeeded
from gotsurge_async.ledger import (
    CLAIMED,
    DOUBTFUL,
    LIVE,
    Ledger,
    Mode,
    OrderRow,
    OrderState,
    Recorded,
    RunInfo,
    RunState,
)
from gotsurge_async.ledger.sql.runs import account_of, refuse_other_server, server_of_run
from gotsurge_async.models.times import written
from gotsurge_async.models.words import folded

if TYPE_CHECKING:
    from gotsurge_async.client import GotSurge

FRESH = 3600.0
"""Seconds for which a restarted audit relies on its earlier reads."""
MOST_READS = 10_000
_BLOCK = 500
_SAVED = 20
"""The reads between two writes of the notes: a killed audit loses no more than these."""
_FAILURES = 5
"""Failed reads in a row that end the audit; fewer concern single tasks."""
_COMPARED = (OrderState.CREATED, OrderState.CANCELLED)
_INDEXED = LIVE | {OrderState.CANCELLED}


class _EnoughReads(Exception):
    """The limit of reads is reached."""


@attrs.define
class Audit:
    """Compares the orders of a ledger with GotSurge; only `repair` changes the ledger, and nothing changes a task::

        async with Audit(ledger, folder / "audit.db") as audit:
            async for finding in audit.in_ledger(runs): ...
            async for finding in audit.at_service(gs, runs): ...

    A recorded task is read on the Task List, and by its id unless the list shows it whole, as the ledger has it. A task
    that differs is read by its id twice, ``rescan_after`` seconds apart: one answer may be older than the task.

    The tasks that were read are noted in a file, mode 0600, so that an audit that was killed, or stopped, continues. An
    audit that ends removes the file.

    Args:
        notes: the path of that file.
        rescan_after: seconds between the two reads.
        fresh: seconds after which a note is too old.
        most_reads: the most reads of GotSurge; None for no limit.
        progress: called after each block of orders, and before a wait, with the number of compared orders, the number
            of reads, and the seconds of the wait.
    """

    ledger: Ledger
    notes: Path
    rescan_after: float = attrs.field(default=RESCAN_AFTER, kw_only=True)
    fresh: float = attrs.field(default=FRESH, kw_only=True)
    most_reads: int | None = attrs.field(default=MOST_READS, kw_only=True)
    progress: Callable[[int, int, float], None] = attrs.field(default=lambda *_: None, kw_only=True)

    orders: int = attrs.field(default=0, init=False)
    """The number of orders that were compared."""
    reads: int = attrs.field(default=0, init=False)
    """The number of calls that read a task, or a page of new tasks on the Task List."""
    present: Counter[str] = attrs.field(factory=Counter, init=False)
    """The number of recorded tasks that GotSurge has, by run. If it is 0, this may be the wrong account."""
    incomplete: str = attrs.field(default="", init=False)
    """The reason why not everything was compared; "" if it was."""
    error: CallError | SignInNeeded | None = attrs.field(default=None, init=False)
    """The error that ended the reading."""
    remarks: list[str] = attrs.field(factory=list, init=False)
    """Descriptions of data that could not be compared at all."""
    _failures: int = attrs.field(default=0, init=False)
    _notes: Notes = attrs.field(default=None, init=False)

    async def __aenter__(self) -> Self:
        self._notes = await asyncio.to_thread(Notes, self.notes, self.fresh)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._notes.close, ended=kind is None and not self.incomplete)

    # --- without a call -----------------------------------------------------------------------------------------------

    async def in_ledger(self, runs: Sequence[RunInfo]) -> AsyncIterator[Finding]:
        """Findings in the ledger itself, for some runs of one environment: orders in doubt, and tasks of two orders.

        Call it first: `at_service` and `in_files` need its index of the ledger's tasks.
        """
        wanted = {run.id: run for run in runs}
        for info in await self.ledger.runs():
            if not runs or info.environment != runs[0].environment or info.state is RunState.LOADING:
                continue
            if info.archived_in is not None:
                self.remarks.append(f"run {info.id} is archived in {info.archived_in}, and was not compared")
                continue
            in_flight = CLAIMED if await self.ledger.is_held(info.id) else frozenset[OrderState]()
            async for block in chunks_of(self.ledger.rows(info.id, _INDEXED), _BLOCK):
                index = [(row.task_id, row.id, info.id, row.key, row.state in LIVE) for row in block if row.task_id]
                await self._notes.ask(self._notes.index, index)
                for row in block if info.id in wanted else ():
                    if row.state in DOUBTFUL and row.state not in in_flight:
                        yield finding_of(Kind.IN_DOUBT, info, row, why_in_doubt(row, self.ledger.now()))
        for task_id, orders in (await self._notes.ask(self._notes.shared)).items():
            for order, run, key in orders:
                if run in wanted:
                    others = ", ".join(
                        f"order {other_key} of run {other}" for n, other, other_key in orders if n != order
                    )
                    details = f"task {task_id} is also recorded for {others}"
                    yield Finding(kind=Kind.SHARED, run=run, key=key, details=details, task_ids=(task_id,), order=order)

    async def in_files(self, folder: Path, runs: Sequence[RunInfo]) -> AsyncIterator[Finding]:
        """The tasks in the created files of a folder that the ledger does not have."""
        for run in (run for run in runs if run.archived_in is None):
            for path in await asyncio.to_thread(_created_files, folder, run.id):
                try:
                    rows = await read_result_file(self.ledger, run.id, path)
                except ConfigError as error:
                    yield Finding(kind=Kind.FILE, run=run.id, key="", details=str(error))
                    continue
                named = ((row.line, row.key, row.task_id) for row in rows)
                async for block in chunks_of(named, _BLOCK):
                    missing = await self._notes.ask(self._notes.not_indexed, block)
                    if not missing:
                        continue
                    # Only this knows the tasks of an archived run.
                    known = await self.ledger.recorded(run.environment, [task_id for _, _, task_id in missing])
                    for line, key, task_id in missing:
                        if task_id not in known:
                            details = (
                                f"{path}:{line} shows the order as created, with task {task_id}, which the ledger lacks"
                            )
                            yield Finding(kind=Kind.FILE, run=run.id, key=key, details=details, task_ids=(task_id,))
        identity = await self.ledger.identity()
        if identity is not None:
            known_runs = {run.id for run in await self.ledger.runs()}
            for run_id, path in await asyncio.to_thread(runs_in, folder, identity.name):
                if run_id not in known_runs:
                    details = f"{path} is of run {run_id}, which this ledger lacks: the ledger may be an older copy"
                    yield Finding(kind=Kind.FILE, run=run_id, key="", details=details)

    # --- at GotSurge --------------------------------------------------------------------------------------------------

    async def at_service(self, gs: "GotSurge", runs: Sequence[RunInfo], *, account: str = "") -> AsyncIterator[Finding]:
        """Compare the recorded tasks of some runs, all made by one account, with GotSurge.

        A failure ends the reading, and is in `error`; the limit of reads ends it, too. `incomplete` has the reason.

        Raises:
            OtherServer: a run belongs to another server than the client's.
        """
        runs = [run for run in runs if run.archived_in is None]
        for run in runs:
            refuse_other_server(run, gs.environment.api_base)
        suspects: list[RunInfo] = []
        try:
            listed = await self._read_list(gs, account)
            for run in runs:
                async for _ in self._compare(gs, run, 1):
                    if run not in suspects:
                        suspects.append(run)
            if suspects:
                self.progress(self.orders, self.reads, self.rescan_after)
                await gs.session.clock.sleep(self.rescan_after)
            for run in suspects:
                async for finding in self._compare(gs, run, 2):
                    yield finding
            if listed and runs:
                async for finding in self._live_twice(gs, runs):
                    yield finding
        except _EnoughReads:
            self.incomplete = f"the limit of {self.most_reads:,} reads was reached"
        except (CallError, SignInNeeded) as error:
            self.incomplete, self.error = f"the tasks at GotSurge could not all be read: {error}", error

    async def repair(self, gs: "GotSurge", run: RunInfo, findings: Sequence[Finding], *, by: str) -> list[str]:
        """Record the present state of orders of a run at GotSurge; returns the keys of those that were repaired.

        An order whose task vanished or was cancelled is written off: its key is free, and may be pushed. An order that
        the ledger has as cancelled, and whose task is live, is created, unless another order with a task has its key.

        Each task is read once more before. One that is so new that a read may not show it yet is left alone. The
        decisions of the run record each order that was repaired, its task, the person and the time.

        Args:
            findings: findings of this run, each of a kind in `REPAIRABLE`.

        Raises:
            OtherServer: the run belongs to another server than the client's.
            RunHeld: another process has the run.
            CallError: a task could not be read; nothing was changed.
        """
        refuse_other_server(run, gs.environment.api_base)
        wanted = {finding.order for finding in findings if finding.kind in REPAIRABLE}
        async with await self.ledger.hold(run.id) as held:
            await held.recover()
            rows = {row.id: row async for row in held.rows(_COMPARED) if row.id in wanted}
            seen = await self._read(gs, run.mode, [row.task_id or "" for row in rows.values()], limited=False)
            verdicts = {order: verdict_of(row, run, seen[row.task_id or ""], "") for order, row in rows.items()}
            reasons = {
                order: verdict[1]
                for order, verdict in verdicts.items()
                if verdict and verdict[0] in WRITTEN_OFF
                if verdict[0] is not Kind.VANISHED or not self._may_be_hidden(gs, rows[order])
            }
            tasks = {order: row.task_id or "" for order, row in rows.items()}
            alive = {
                order: tasks[order]
                for order, verdict in verdicts.items()
                if verdict and verdict[0] is Kind.ALIVE and not self._may_be_hidden(gs, rows[order])
            }
            owners = await self.ledger.known(run.environment, [rows[order].key for order in alive])
            vanished = {
                order: owner.row.task_id or ""
                for order in alive
                if (owner := owners.get(rows[order].key)) is not None
                and await self._is_gone(gs, run, owner, limited=False)
            }
            done = await uninterrupted(held.write_off({order: tasks[order] for order in reasons}, reasons, by=by))
            done += await uninterrupted(held.put_back(alive, vanished, by=by))
            await uninterrupted(held.finish())
        return [rows[order].key for order in done]

    async def _compare(self, gs: "GotSurge", run: RunInfo, reads: int) -> AsyncIterator[Finding]:
        """The differences of a run whose tasks have each been read by id at least ``reads`` times."""
        path = self.ledger.path
        async for block in chunks_of(self.ledger.rows(run.id, _COMPARED), _BLOCK):
            rows = [row for row in block if row.task_id]
            ids = [row.task_id or "" for row in rows]
            seen = await self._notes.ask(self._notes.seen, ids)
            due = [
                task_id
                for row, task_id in zip(rows, ids, strict=True)
                if task_id not in seen
                or is_short(row, seen[task_id], path)
                or (seen[task_id].reads < reads and verdict_of(row, run, seen[task_id], path))
            ]
            seen |= await self._read(gs, run.mode, due)
            live = await self._notes.ask(self._notes.live_tasks, ids)
            verdicts = {
                row.id: verdict_of(row, run, seen[task_id], path) if seen[task_id].reads >= reads else None
                for row, task_id in zip(rows, ids, strict=True)
            }
            names = {
                row.id: folded(names_of(row, path).tracking_id)
                for row in rows
                if (verdict := verdicts[row.id]) is not None and verdict[0] in WRITTEN_OFF
            }
            named = await self._notes.ask(self._notes.live_named, list(filter(None, names.values())))
            strangers = {name: (await self._split(run.environment, some))[1] for name, some in named.items()}
            for row, task_id in zip(rows, ids, strict=True):
                verdict = verdicts[row.id]
                if verdict is not None and (others := strangers.get(names.get(row.id, ""))):
                    why = f"{verdict[1]}; but live task {others[0]} has the order's tracking id: the key is not free"
                    yield structs.replace(finding_of(Kind.CHANGED, run, row, why), task_ids=(others[0],))
                elif verdict is not None and verdict[0] is Kind.ALIVE:
                    if task_id not in live:
                        yield await self._alive(gs, run, row, verdict[1])
                elif verdict is not None:
                    hidden = verdict[0] is Kind.VANISHED and self._may_be_hidden(gs, row)
                    yield finding_of(verdict[0], run, row, f"{verdict[1]}{f'; {hidden}' if hidden else ''}")
            if reads == 1:
                self.orders += len(rows)
                self.present[run.id] += sum(not seen[task_id].problem for task_id in ids)
            self.progress(self.orders, self.reads, 0.0)

    async def _alive(self, gs: "GotSurge", run: RunInfo, row: OrderRow, why: str) -> Finding:
        """The finding about a live task of a cancelled order. Another order may have its key, and a live task, too."""
        owner = (await self.ledger.known(run.environment, [row.key])).get(row.key)
        if owner is None or await self._is_gone(gs, run, owner, limited=True):
            hidden = self._may_be_hidden(gs, row)
            return finding_of(Kind.ALIVE, run, row, f"{why}{f'; {hidden}' if hidden else ''}")
        other = f"in run {owner.run.id} (state: {owner.row.state.value.replace('_', ' ')})"
        tasks = tuple(filter(None, (owner.row.task_id, row.task_id)))
        return structs.replace(
            finding_of(Kind.TWICE, run, row, f"{why}; another order with the same key is {other}"), task_ids=tasks
        )

    async def _is_gone(self, gs: "GotSurge", run: RunInfo, owner: Recorded, *, limited: bool) -> bool:
        """Whether the task of a created order, of the same account, vanished."""
        place = [(each.mode, account_of(each), server_of_run(each)) for each in (owner.run, run)]
        is_ours = place[0] == place[1]
        if not (is_ours and owner.row.state is OrderState.CREATED and owner.row.task_id):
            return False
        if self._may_be_hidden(gs, owner.row):
            return False
        seen = await self._read(gs, owner.run.mode, [owner.row.task_id], limited=limited)
        return seen[owner.row.task_id].problem == MISSING

    def _may_be_hidden(self, gs: "GotSurge", row: OrderRow) -> str:
        """A note on how long reads may not show a new task or its cancel; "" if they must show it now."""
        began = row.updated_at if row.state is OrderState.CANCELLED else row.claimed_at or row.updated_at
        ours = began + timedelta(seconds=gs.limits.settle)
        until = max(ours, row.open_until or ours)  # the time of the push counts, too
        return (
            f"GotSurge may show an old state until {written(until, seconds=True)}" if until > self.ledger.now() else ""
        )

    async def _read(
        self, gs: "GotSurge", mode: Mode, task_ids: Sequence[str], *, limited: bool = True
    ) -> dict[str, Seen]:
        """Read tasks by their ids, several at a time, and note them."""
        left = len(task_ids) if self.most_reads is None or not limited else max(0, self.most_reads - self.reads)
        get = task_reader(gs, mode)

        async def read(task_id: str) -> tuple[str, Seen]:
            self.reads += 1
            try:
                seen = seen_of(await get(task_id))
            except NotFound:
                seen = Seen(problem=MISSING)
            except Forbidden as error:
                seen = Seen(problem=str(error))
            except CallError as error:
                self._failures += 1
                if stops_all(error) or isinstance(error, NotSent) or self._failures >= _FAILURES:
                    raise
                return task_id, Seen(problem=str(error))
            self._failures = 0
            return task_id, seen

        done: dict[str, Seen] = {}
        fresh: dict[str, Seen] = {}
        try:
            async with call_each(gs, task_ids[:left], read) as answers:
                async for task_id, seen in answers:
                    fresh[task_id] = seen
                    if len(fresh) == _SAVED:
                        done |= await self._notes.ask(self._notes.keep, fresh)
                        fresh = {}
        finally:
            done |= await uninterrupted(self._notes.ask(self._notes.keep, fresh))
        if left < len(task_ids):
            raise _EnoughReads
        return done

    async def _read_list(self, gs: "GotSurge", account: str) -> bool:
        """Note the tasks of the Task List, from the page that an earlier audit reached; returns whether one exists."""
        account = f"{account} at {gs.environment.api_base}"
        first, whole = await self._notes.ask(self._notes.page_reached, account)
        if whole:
            return True
        number = first
        task_list = gs.platform.tasks.list()
        pages = task_list.pages(first=first)
        try:
            while True:
                if self.most_reads is not None and self.reads >= self.most_reads:
                    raise _EnoughReads
                page, was_read = None, number == first > 1  # by an earlier audit
                try:
                    page = await anext(pages, None)
                except (BadRequest, NotFound):
                    if not was_read:
                        raise
                if page is None and was_read:
                    await pages.aclose()
                    self.remarks.append(
                        f"the Task List no longer has page {number}: the audit reads the list again from page 1"
                    )
                    first, number, pages = 1, 1, task_list.pages()
                    continue
                self.reads += page is not None
                tasks = {task.id: seen_of(task, listed=True) for task in page.tasks} if page is not None else {}
                gap = task_list.gap if page is None else ""
                reached = 1 if gap else number  # so that the next audit reports it, too
                await self._notes.ask(self._notes.keep_page, account, reached, tasks, whole=page is None and not gap)
                if gap:
                    self.remarks.append(
                        f"the Task List is incomplete ({gap}): the audit may miss orders with two live tasks"
                    )
                if page is None:
                    return True
                number += 1
                self.progress(self.orders, self.reads, 0.0)
        except (Forbidden, NotFound):
            self.remarks.append(f"{NO_TASK_LIST}: the audit cannot see orders with two live tasks")
            return False
        finally:
            await pages.aclose()

    async def _split(self, environment: str, tasks: Sequence[LiveTask]) -> tuple[list[LiveTask], list[str]]:
        """Divide live tasks with one tracking id: those that are recorded for their own orders, and the others' ids.

        After a wrong answer, a task may be recorded for another order than the one that it names.
        """
        owners = await self.ledger.known(environment, [task.key for task in tasks if task.order is not None])
        seen = await self._notes.ask(self._notes.seen, [task.task_id for task in tasks])
        own: list[LiveTask] = []
        others: list[str] = []
        for task in tasks:
            owner, facts = owners.get(task.key), seen[task.task_id].facts
            name = "" if owner is None else folded(names_of(owner.row, self.ledger.path).tracking_id)
            if owner is not None and name in ("", folded(facts.get("tracking_id"))):
                own.append(task)
            else:
                others.append(task.task_id)
        return own, others

    async def _live_twice(self, gs: "GotSurge", runs: Sequence[RunInfo]) -> AsyncIterator[Finding]:
        """Tracking ids with two live tasks, one that is recorded for its order, and one that is not."""
        wanted = {run.id for run in runs}
        for group in (await self._notes.ask(self._notes.live_twice)).values():
            own, others = await self._split(runs[0].environment, group)
            mine = [task for task in own if task.run in wanted]
            if not mine or not others:
                continue
            ids = [mine[0].task_id, *others]
            seen = await self._read(gs, Mode.TWO_PHASE, ids)  # the list may show an older state
            first = seen[ids[0]]
            live = [task_id for task_id in ids if seen[task_id].live and not other_pickup(first, seen[task_id])]
            if ids[0] in live and len(live) > 1:
                details = (
                    f"several live tasks have the order's tracking id: {', '.join(live)}; the ledger records the first"
                )
                yield Finding(
                    kind=Kind.TWICE,
                    run=mine[0].run,
                    key=mine[0].key,
                    details=details,
                    task_ids=tuple(live),
                    order=mine[0].order,
                )


def _created_files(folder: Path, run_id: str) -> list[Path]:
    return sorted(folder.glob(f"{run_id}-created.*"))
