"""What people found out about orders in doubt: said of one order, or in a whole file; all is taken, or nothing.

What they say is checked before it is believed: against the ledger, and by reading the task where that can be done.
"""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import msgspec

from gotsurge_async.bulk.after.lookup import names_of, not_its_own, read_tasks
from gotsurge_async.bulk.after.writing import form_of, key_column_of
from gotsurge_async.bulk.checks.words import number_of
from gotsurge_async.bulk.ledger import (
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
from gotsurge_async.bulk.ledger.errors import open_words
from gotsurge_async.bulk.ledger.states import in_words
from gotsurge_async.bulk.send.load import UnusableSource
from gotsurge_async.bulk.sources import Fault
from gotsurge_async.bulk.sources.fields import FEEDBACK
from gotsurge_async.bulk.sources.lines import BadFile, Digested, Text
from gotsurge_async.cancellation import uninterrupted
from gotsurge_async.client import GotSurge
from gotsurge_async.errors import ConfigError, NotFound
from gotsurge_async.models.tasks import Task

TASK_ID, STATUS = FEEDBACK[:2]
_SAMPLE = 100
_DELIMITERS = (",", ";", "\t", "|")
_WORKBOOK = b"PK\x03\x04"
_IN_DOUBT, _CREATED, _NOT_CREATED = ("", "in_doubt"), "created", "not_created"


@attrs.frozen(kw_only=True)
class Resolution:
    """What somebody says of one order.

    Attributes:
        task_id: the task that it is; None if it was not created.
        line: where that stands in a file.
    """

    key: str
    task_id: str | None = None
    line: int | None = None


@attrs.frozen(kw_only=True)
class Resolved:
    """What was recorded.

    Attributes:
        created, not_created: what was new.
        before: what the ledger had already.
        left: how many orders of the run are still in doubt.
    """

    created: tuple[Resolution, ...] = ()
    not_created: tuple[Resolution, ...] = ()
    before: tuple[Resolution, ...] = ()
    left: int = 0


@attrs.frozen
class Resolver:
    """Takes what people say about orders of a run that are in doubt::

        resolved = await Resolver(ledger, connect).resolve(run_id, resolutions, by="Mei")

    Args:
        connect: gives the client that reads the tasks, and is asked where there is one to read; without it what is
            said is checked against the ledger alone.
        file: how faults name the place of what is said.
    """

    ledger: Ledger
    connect: Callable[[], Awaitable[GotSurge]] | None = None
    file: str = attrs.field(default="resolve", kw_only=True)

    async def resolve(self, run_id: str, said: Sequence[Resolution], *, by: str) -> Resolved:
        """Record what is said, all or nothing. What a process left that is gone counts as in doubt.

        Args:
            by: who says so.

        Raises:
            UnusableSource: some of it cannot be true; it says each, with its line.
            NoSuchRun, LedgerError: there is no such run, or the ledger fails.
            GotSurgeError: a task could not be read, or what ``connect`` raises.
        """
        info = await self.ledger.run(run_id)
        async with _held(self.ledger, run_id) as run:
            in_doubt = DOUBTFUL if run is not None else DOUBTFUL - CLAIMED  # what is claimed is in flight
            rows = await self._rows(run_id, {each.key for each in said}, in_doubt)
            new = [each for each in said if each.key in rows and rows[each.key].state in in_doubt]
            faults = [*self._said_twice(said), *await self._contradictions(info, said, rows, in_doubt)]
            faults = faults or await self._disproved(info, new, rows)
            if faults:
                faults.sort(key=lambda fault: fault.line or 0)
                raise UnusableSource(f"{self.file} has faults", faults, len(faults))
            tasks = {each.key: each.task_id for each in new}
            if run is not None:
                await run.resolve(tasks, by=by)
                await uninterrupted(run.finish())
            else:
                await self.ledger.resolve(run_id, tasks, by=by)
        counts = await self.ledger.counts(run_id)
        return Resolved(
            created=tuple(each for each in new if each.task_id is not None),
            not_created=tuple(each for each in new if each.task_id is None),
            before=tuple(each for each in said if each not in new),
            left=counts.of(DOUBTFUL),
        )

    async def _rows(self, run_id: str, keys: set[str], in_doubt: frozenset[OrderState]) -> dict[str, OrderRow]:
        """The orders that are spoken of; those in doubt are read first, as nearly always there are no others."""
        found: dict[str, OrderRow] = {}
        for states in (in_doubt, None):
            if keys - found.keys():
                async for row in self.ledger.rows(run_id, states):
                    if row.key in keys:
                        found.setdefault(row.key, row)
        return found

    def _said_twice(self, said: Sequence[Resolution]) -> Iterator[Fault]:
        keys: dict[str, Resolution] = {}
        tasks: dict[str, Resolution] = {}
        for each in said:
            if keys.setdefault(each.key, each) is not each:
                yield self._fault(each, "is spoken of twice: one order, one word")
            elif each.task_id is not None and tasks.setdefault(each.task_id, each) is not each:
                yield self._fault(each, f"task {each.task_id} is said to be {tasks[each.task_id].key} too")

    async def _contradictions(
        self, info: RunInfo, said: Sequence[Resolution], rows: Mapping[str, OrderRow], in_doubt: frozenset[OrderState]
    ) -> list[Fault]:
        """What the ledger knows better."""
        named = [each.task_id for each in said if each.task_id is not None]
        recorded = await self.ledger.recorded(info.environment, named) if named else {}
        elsewhere = [each.key for each in said if each.key not in rows or rows[each.key].state in OWNED_ELSEWHERE]
        owners = await self.ledger.pushed(info.environment, elsewhere) if elsewhere else {}
        faults, now = [], self.ledger.now()
        others: dict[tuple[str, OrderState], list[Resolution]] = {}
        for each in said:
            row = rows.get(each.key)
            if each.key in owners:
                run_id, state, _ = owners[each.key]
                others.setdefault((run_id, state), []).append(each)
            elif row is None:
                faults.append(self._fault(each, f"run {info.id} has no such order"))
            elif row.state not in in_doubt:
                if not _is_recorded(each, row):
                    as_ = f" as {row.task_id}" if row.state is OrderState.CREATED and row.task_id else ""
                    faults.append(self._fault(each, f"is {in_words(row.state, held=True)}{as_}, not in doubt"))
            elif _may_become_untrue(each, row, now):
                why = open_words(row.open_until, cancelling=row.state is OrderState.CANCELLING)
                faults.append(self._fault(each, f"{why}: decide after that"))
            elif each.task_id is not None and row.task_id and each.task_id != row.task_id:
                faults.append(self._fault(each, f"task {row.task_id} is recorded for it, and no other can be its own"))
            elif each.task_id is not None and recorded.get(each.task_id, row.id) != row.id:
                faults.append(self._fault(each, f"task {each.task_id} is recorded for another order"))
        return [*(self._of_another_run(info, *owner, orders) for owner, orders in others.items()), *faults]

    def _of_another_run(self, info: RunInfo, run_id: str, state: OrderState, orders: Sequence[Resolution]) -> Fault:
        """One fault for all orders that another run has: a file of a whole run has one cause."""
        how = f": gotsurge resolve {run_id}" if state in DOUBTFUL else ", not in doubt"
        if len(orders) == 1:
            return self._fault(orders[0], f"is {in_words(state)} in run {run_id}{how}")
        many = number_of(len(orders), "order is", "orders are")
        instead = f", not in {info.id}" if state in DOUBTFUL else ""
        return Fault(file=self.file, rule=f"{many} {in_words(state)} in run {run_id}{instead}{how}")

    async def _disproved(self, info: RunInfo, said: Sequence[Resolution], rows: Mapping[str, OrderRow]) -> list[Fault]:
        """What the service knows better: each task that is named, or recorded, is read."""
        asked = {each: task_id for each in said if (task_id := each.task_id or rows[each.key].task_id)}
        if not asked or self.connect is None:
            return []
        found = await read_tasks(await self.connect(), info.mode, asked.values(), unless=NotFound)
        faults: list[Fault] = []
        for each, task_id in asked.items():
            task = found[task_id]
            if isinstance(task, Task):
                wrong = _wrong(each, rows[each.key], task)
            else:
                wrong = f"GotSurge has no task {task_id}" if each.task_id is not None else ""
            if wrong:
                faults.append(self._fault(each, wrong))
        return faults

    def _fault(self, said: Resolution, rule: str) -> Fault:
        return Fault(file=self.file, line=said.line, column=said.key, rule=rule)


def _may_become_untrue(said: Resolution, row: OrderRow, now: datetime) -> bool:
    """Whether a request that was not answered may act after the decision, and against it."""
    return (said.task_id is None or row.state is OrderState.CANCELLING) and row.is_open(now)


def _is_recorded(said: Resolution, row: OrderRow) -> bool:
    """Whether the ledger says the same already."""
    if said.task_id is None:
        return row.state is OrderState.REFUSED
    return row.state is OrderState.CREATED and row.task_id == said.task_id


def _wrong(said: Resolution, row: OrderRow, task: Task) -> str:
    """Why a task does not bear out what is said; "" if it does."""
    is_draft = task.current_status is not None and task.current_status.is_draft
    if said.task_id is None:
        return "" if is_draft else f"its task {task.id} exists, and is {task.current_status}"
    if is_draft:
        return f"task {task.id} is a draft, which no driver sees: that is not created"
    return not_its_own(names_of(row), task)


@asynccontextmanager
async def _held(ledger: Ledger, run_id: str) -> AsyncIterator[Run | None]:
    """Hold the run, unless a process that lives has it, which knows of its own claims itself."""
    try:
        run = await ledger.hold(run_id)
    except RunHeld:
        yield None
        return
    async with run:
        await run.recover()
        yield run


# --- the file --------------------------------------------------------------------------------------------------------


class _Row(NamedTuple):
    line: int
    key: str
    task_id: str
    status: str


async def read_resolutions(ledger: Ledger, run_id: str, path: Path) -> tuple[tuple[Resolution, ...], int]:
    """Read an in-doubt result file that somebody has filled in: what it says, and how many rows say nothing.

    ``gs_task_id`` with a task says that the order is this one. ``gs_status`` not_created says that there is none. A row
    that still is in_doubt and names no task says nothing.

    Raises:
        UnusableSource: it says what nobody can understand; every fault has its line.
        ConfigError: it cannot be read, or is not the file of this run.
        NoSuchRun, LedgerError: there is no such run, or the ledger fails.
    """
    info = await ledger.run(run_id)
    sample: list[OrderRow] = []
    recorded: dict[str, str] = {}
    async for row in ledger.rows(run_id):
        if len(sample) < _SAMPLE:
            sample.append(row)
        if row.task_id and row.state in DOUBTFUL:
            recorded[row.key] = row.task_id
    key_column = key_column_of(info.columns, sample)
    try:
        rows = await asyncio.to_thread(_rows, path, info, key_column)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except BadFile as error:
        raise ConfigError(f"{path}: {error}") from None
    said: list[Resolution] = []
    faults: list[Fault] = []
    untouched = 0
    for each in rows:
        status = each.status.lower().replace(" ", "_").replace("-", "_")
        named = each.task_id not in ("", recorded.get(each.key, ""))
        rule = _unclear(each, status, named)
        if rule:
            faults.append(Fault(file=str(path), line=each.line, column=STATUS, value=each.status or None, rule=rule))
        elif status in _IN_DOUBT and not named:
            untouched += 1
        else:
            task_id = None if status == _NOT_CREATED else each.task_id
            said.append(Resolution(key=each.key, task_id=task_id, line=each.line))
    if faults:
        raise UnusableSource(f"{path} has faults", faults, len(faults))
    return tuple(said), untouched


async def read_created(ledger: Ledger, run_id: str, path: Path) -> list[tuple[int, str, str]]:
    """The rows of a created result file of a run: of each its line, its key and its task.

    Raises:
        ConfigError: it cannot be read, or is not a result file of this run.
        NoSuchRun, LedgerError: there is no such run, or the ledger fails.
    """
    info = await ledger.run(run_id)
    sample: list[OrderRow] = []
    async for row in ledger.rows(run_id, batch=_SAMPLE):
        sample.append(row)
        if len(sample) == _SAMPLE:
            break
    try:
        rows = await asyncio.to_thread(_rows, path, info, key_column_of(info.columns, sample))
        return [(row.line, row.key, row.task_id) for row in rows]
    except (OSError, UnicodeDecodeError, BadFile) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _unclear(row: _Row, status: str, named: bool) -> str:
    if status == _NOT_CREATED:
        return f"says that it was not created, and {TASK_ID} names a task: leave one of them out" if named else ""
    if status == _CREATED:
        return "" if row.task_id else f"says that it was created: name its task in {TASK_ID}"
    if status in _IN_DOUBT:
        return ""
    return f"say {_CREATED} (with its task in {TASK_ID}) or {_NOT_CREATED}, or leave it in_doubt"


def _rows(path: Path, info: RunInfo, key_column: str | None) -> list[_Row]:
    """What the rows of an in-doubt file say, whether it is a text or a workbook."""
    form = form_of(info)
    read = read_result_file(path, form.encoding, None if info.columns is None else form.delimiter)
    if isinstance(read, str):
        return list(_json_rows(path, read, key_column))
    return list(_table_rows(path, read, info, key_column))


def read_result_file(path: Path, encoding: str, delimiter: str | None) -> str | list[tuple[int, list[str]]]:
    """The text of a result file in JSON Lines; of a table its records, each with its line, the header first.

    Args:
        encoding: of a text without a byte order mark.
        delimiter: what stands between two cells, unless a spreadsheet has chosen another one; None for JSON Lines.

    Raises:
        OSError, UnicodeDecodeError, BadFile: it cannot be read.
    """
    with path.open("rb") as stream:
        read = Digested(stream)
        if read.start().startswith(_WORKBOOK):
            from gotsurge_async.bulk.sources.tables.workbook import WorkbookGrid

            records = WorkbookGrid(read, "xlsx", None).records(lambda *_: None)
            return [(each.line, each.cells) for each in records]
        text = b"".join(line or b"" for line in Text(read, encoding).lines()).decode()
    if delimiter is None:
        return text
    reader = _csv(text, _delimiter(text, delimiter))
    header: list[str] = next(reader, [])
    cells, line = [(1, header)], reader.line_num + 1
    for row in reader:
        cells.append((line, row))
        line = reader.line_num + 1
    return cells


def _csv(text: str, delimiter: str) -> Any:
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)


def _delimiter(text: str, first: str) -> str:
    """What stands between two cells: a spreadsheet may have chosen another one than the file had."""
    for delimiter in (first, *_DELIMITERS):
        header: list[str] = next(_csv(text, delimiter), [])
        if TASK_ID in map(str.strip, header):
            return delimiter
    return first


def _table_rows(
    path: Path, records: Sequence[tuple[int, list[str]]], info: RunInfo, key_column: str | None
) -> Iterator[_Row]:
    """The rows of a table, each with its line; the header is the first of them."""
    header = [name.strip() for name in records[0][1]] if records else []
    if TASK_ID not in header or STATUS not in header:
        raise ConfigError(f"{path}: give the in-doubt file of run {info.id}, with its columns {TASK_ID} and {STATUS}")
    if key_column is None or key_column not in header:
        raise ConfigError(f"{path}: the column that tells the orders of run {info.id} apart is not in it")
    places = [header.index(name) for name in (key_column, TASK_ID, STATUS)]
    for line, cells in records[1:]:
        if any(cells):
            whole = [*cells, *[""] * (len(header) - len(cells))]
            yield _Row(line, *(whole[place].strip() for place in places))


def _json_rows(path: Path, text: str, key_field: str | None) -> Iterator[_Row]:
    if key_field is None:
        raise ConfigError(f"{path}: nothing tells the orders of this run apart in it")
    for line, record in enumerate(text.splitlines(), start=1):
        if not record.strip():
            continue
        try:
            tree = msgspec.json.decode(record, type=dict[str, Any])
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise ConfigError(f"{path}:{line}: is no JSON object: {error}") from None
        yield _Row(line, *(str(tree.get(name) or "").strip() for name in (key_field, TASK_ID, STATUS)))
