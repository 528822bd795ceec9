"""What people found out about orders in doubt: one word, or a whole file of them; all are taken, or none.

A word is checked before it is believed: against the ledger, and where the service can be reached by reading the task.
"""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import msgspec

from gotsurge_async.bulk.after.evidence import Doubt
from gotsurge_async.bulk.ledger import (
    DOUBTFUL,
    OWNED_ELSEWHERE,
    Ledger,
    Mode,
    OrderRow,
    OrderState,
    Run,
    RunHeld,
    RunInfo,
)
from gotsurge_async.bulk.ledger.payloads import reading_payload
from gotsurge_async.bulk.ledger.states import in_words
from gotsurge_async.bulk.send.load import UnusableSource
from gotsurge_async.bulk.sources import Fault
from gotsurge_async.bulk.sources.fields import FEEDBACK
from gotsurge_async.calls.batcher import Batcher
from gotsurge_async.client import GotSurge
from gotsurge_async.errors import ConfigError, NotFound
from gotsurge_async.models.tasks import Task

TASK_ID, STATUS = FEEDBACK[:2]
_SAMPLE = 100
_DELIMITERS = (",", ";", "\t", "|")
_IN_DOUBT, _CREATED, _NOT_CREATED = ("", "in_doubt"), "created", "not_created"


@attrs.frozen(kw_only=True)
class PersonsWord:
    """What somebody says of one order.

    Attributes:
        task_id: the task that it is; None if it was not created.
        line: where that stands in a file.
    """

    key: str
    task_id: str | None = None
    line: int | None = None


@attrs.frozen(kw_only=True)
class WordsOfFile:
    """What an edited in-doubt file says; ``untouched`` rows say nothing."""

    words: tuple[PersonsWord, ...]
    untouched: int


@attrs.frozen(kw_only=True)
class Resolved:
    """What was recorded.

    Attributes:
        created, not_created: the words.
        before: words that the ledger had already.
        left: how many orders of the run are still in doubt.
    """

    created: tuple[PersonsWord, ...] = ()
    not_created: tuple[PersonsWord, ...] = ()
    before: tuple[PersonsWord, ...] = ()
    left: int = 0


class Resolver:
    """Takes people's words about orders of a run that are in doubt::

        resolved = await Resolver(ledger, connect).resolve(run_id, words, by="Mei")

    Args:
        connect: gives the client that reads the tasks, and is asked where there is one to read; without it the words
            are checked against the ledger alone.
        file: how faults name the place of the words.
    """

    def __init__(
        self, ledger: Ledger, connect: Callable[[], Awaitable[GotSurge]] | None = None, *, file: str = "resolve"
    ) -> None:
        self._ledger = ledger
        self._connect = connect
        self._file = file

    async def resolve(self, run_id: str, words: Sequence[PersonsWord], *, by: str) -> Resolved:
        """Record words, all or none. What a process left that is gone counts as in doubt.

        Args:
            by: who says so.

        Raises:
            UnusableSource: some cannot be true; it says each, with its line.
            NoSuchRun, LedgerError: there is no such run, or the ledger fails.
            GotSurgeError: a task could not be read, or what ``connect`` raises.
        """
        info = await self._ledger.run(run_id)
        async with _held(self._ledger, run_id) as run:
            states = DOUBTFUL if run is not None else frozenset({OrderState.IN_DOUBT})
            rows = await self._rows(run_id, words, states)
            faults = [*self._doubled(words), *await self._contradictions(info, words, rows, states)]
            if not faults:
                unsettled = [word for word in words if rows[word.key].state in states]
                faults = await self._read(info, unsettled, rows)
            if faults:
                faults.sort(key=lambda fault: fault.line or 0)
                raise UnusableSource(f"{self._file} has faults", faults, len(faults))
            new = [word for word in words if rows[word.key].state in states]
            said = {word.key: word.task_id for word in new}
            if run is not None:
                await run.resolve_all(said, by=by)
            else:
                await self._ledger.resolve_all(run_id, said, by=by)
        counts = await self._ledger.counts(run_id)
        return Resolved(
            created=tuple(word for word in new if word.task_id is not None),
            not_created=tuple(word for word in new if word.task_id is None),
            before=tuple(word for word in words if word not in new),
            left=counts.of(DOUBTFUL),
        )

    async def _rows(
        self, run_id: str, words: Sequence[PersonsWord], states: frozenset[OrderState]
    ) -> dict[str, OrderRow]:
        """The orders that are spoken of; those in doubt are read first, as nearly always there are no others."""
        wanted = {word.key for word in words}
        found: dict[str, OrderRow] = {}
        for some in (states, None):
            if wanted - found.keys():
                async for row in self._ledger.rows(run_id, some):
                    if row.key in wanted:
                        found.setdefault(row.key, row)
        return found

    def _doubled(self, words: Sequence[PersonsWord]) -> Iterator[Fault]:
        keys: dict[str, PersonsWord] = {}
        tasks: dict[str, PersonsWord] = {}
        for word in words:
            if keys.setdefault(word.key, word) is not word:
                yield self._fault(word, "is spoken of twice: one order, one word")
            elif word.task_id is not None and tasks.setdefault(word.task_id, word) is not word:
                yield self._fault(word, f"task {word.task_id} is said to be {tasks[word.task_id].key} too")

    async def _contradictions(
        self, info: RunInfo, words: Sequence[PersonsWord], rows: Mapping[str, OrderRow], states: frozenset[OrderState]
    ) -> list[Fault]:
        """What the ledger knows better."""
        named = [word.task_id for word in words if word.task_id is not None]
        recorded = await self._ledger.recorded(info.environment, named) if named else {}
        elsewhere = [word.key for word in words if word.key in rows and rows[word.key].state in OWNED_ELSEWHERE]
        owners = await self._ledger.pushed(info.environment, elsewhere) if elsewhere else {}
        faults = []
        for word in words:
            row = rows.get(word.key)
            if row is None:
                faults.append(self._fault(word, f"run {info.id} has no such order"))
            elif row.state in OWNED_ELSEWHERE and word.key in owners:
                run_id = owners[word.key][0]
                faults.append(self._fault(word, f"is in doubt in run {run_id}: gotsurge resolve {run_id}"))
            elif row.state not in states:
                if not _says_the_same(word, row):
                    as_ = f" as {row.task_id}" if row.state is OrderState.CREATED and row.task_id else ""
                    faults.append(self._fault(word, f"is {in_words(row.state, held=True)}{as_}, not in doubt"))
            elif word.task_id is not None and row.task_id and word.task_id != row.task_id:
                faults.append(self._fault(word, f"task {row.task_id} is recorded for it, and no other can be its own"))
            elif word.task_id is not None and recorded.get(word.task_id, row.id) != row.id:
                faults.append(self._fault(word, f"task {word.task_id} is recorded for another order"))
        return faults

    async def _read(self, info: RunInfo, words: Sequence[PersonsWord], rows: Mapping[str, OrderRow]) -> list[Fault]:
        """What the service knows better: each task that is named, or recorded, is read."""
        asked = [word for word in words if word.task_id or rows[word.key].task_id]
        if not asked or self._connect is None:
            return []
        gs = await self._connect()
        read = gs.platform.tasks.get if info.mode is Mode.TWO_PHASE else gs.tasks.get
        faults: list[Fault] = []

        async def look_up(chunk: Sequence[PersonsWord]) -> None:
            for word in chunk:
                task_id = word.task_id or rows[word.key].task_id or ""
                try:
                    task = await read(task_id)
                except NotFound:
                    if word.task_id is not None:
                        faults.append(self._fault(word, f"GotSurge has no task {task_id}"))
                    continue
                wrong = _wrong(word, rows[word.key], task)
                if wrong:
                    faults.append(self._fault(word, wrong))

        async with Batcher(asked, look_up, size=1, concurrency=gs.limits.concurrency) as looks:
            async for _ in looks:
                pass
        return faults

    def _fault(self, word: PersonsWord, rule: str) -> Fault:
        return Fault(file=self._file, line=word.line, column=word.key, rule=rule)


def _says_the_same(word: PersonsWord, row: OrderRow) -> bool:
    if word.task_id is None:
        return row.state is OrderState.REJECTED
    return row.state is OrderState.CREATED and row.task_id == word.task_id


def _wrong(word: PersonsWord, row: OrderRow, task: Task) -> str:
    """Why a task does not bear a word out; "" if it does."""
    is_draft = task.current_status is not None and task.current_status.is_draft
    if word.task_id is None:
        return "" if is_draft else f"its task {task.id} exists, and is {task.current_status}"
    if is_draft:
        return f"task {task.id} is a draft, which no driver sees: that is not created"
    mine = Doubt.of(row)
    for name, ours, theirs in (
        ("tracking_id", mine.tracking_id, task.tracking_id),
        ("invoice_number", mine.invoice_number, task.invoice_number),
    ):
        if ours and theirs and ours != theirs:
            return f"task {task.id} is another order's: its {name} is {theirs}"
    return ""


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


async def words_of_file(ledger: Ledger, run_id: str, path: Path) -> WordsOfFile:
    """Read an in-doubt result file that somebody has filled in.

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
    try:
        text = await asyncio.to_thread(path.read_text, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    rows = _csv_rows(path, text, info, sample) if info.columns is not None else _json_rows(path, text, sample)
    words: list[PersonsWord] = []
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
            words.append(PersonsWord(key=each.key, task_id=task_id, line=each.line))
    if faults:
        raise UnusableSource(f"{path} has faults", faults, len(faults))
    return WordsOfFile(words=tuple(words), untouched=untouched)


def _unclear(row: _Row, status: str, named: bool) -> str:
    if status == _NOT_CREATED:
        return f"says that it was not created, and {TASK_ID} names a task: leave one of them out" if named else ""
    if status == _CREATED:
        return "" if row.task_id else f"says that it was created: name its task in {TASK_ID}"
    if status in _IN_DOUBT:
        return ""
    return f"say {_CREATED} (with its task in {TASK_ID}) or {_NOT_CREATED}, or leave it in_doubt"


def _csv_rows(path: Path, text: str, info: RunInfo, sample: Sequence[OrderRow]) -> Iterator[_Row]:
    columns = info.columns or ()
    place = _key_place(len(columns), [(row.key, _cells(row)) for row in sample])
    first = info.options.get("delimiter") or ","
    for delimiter in dict.fromkeys((first, *_DELIMITERS)):  # a spreadsheet may have chosen another one
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        header = [name.strip() for name in next(reader, [])]
        if TASK_ID in header and STATUS in header:
            break
    else:
        raise ConfigError(f"{path}: give the in-doubt file of run {info.id}, with its columns {TASK_ID} and {STATUS}")
    if place is None or columns[place] not in header:
        raise ConfigError(f"{path}: the column that tells the orders of run {info.id} apart is not in it")
    key_at, task_at, status_at = (header.index(name) for name in (columns[place], TASK_ID, STATUS))
    line = reader.line_num + 1
    for cells in reader:
        if any(cells):
            cells += [""] * (len(header) - len(cells))
            yield _Row(line, *(cells[at].strip() for at in (key_at, task_at, status_at)))
        line = reader.line_num + 1


def _cells(row: OrderRow) -> list[str]:
    with reading_payload("", row):
        return msgspec.json.decode(row.source_row or b"[]", type=list[str])


def _tree(row: OrderRow) -> dict[str, Any]:
    with reading_payload("", row):
        return msgspec.json.decode(row.source_row or row.payload, type=dict[str, Any])


def _key_place(width: int, sample: Sequence[tuple[str, Sequence[str]]]) -> int | None:
    """The column of which every cell is the key of its order."""
    for place in range(width):
        if all(place < len(cells) and cells[place].strip() == key for key, cells in sample):
            return place
    return None


def _json_rows(path: Path, text: str, sample: Sequence[OrderRow]) -> Iterator[_Row]:
    trees = [(row.key, _tree(row)) for row in sample]
    names = [name for name in (trees[0][1] if trees else ()) if all(str(tree.get(name)) == key for key, tree in trees)]
    if not names:
        raise ConfigError(f"{path}: nothing tells the orders of this run apart in it")
    for line, record in enumerate(text.splitlines(), start=1):
        if not record.strip():
            continue
        try:
            tree = msgspec.json.decode(record, type=dict[str, Any])
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise ConfigError(f"{path}:{line}: is no JSON object: {error}") from None
        yield _Row(line, *(str(tree.get(name) or "").strip() for name in (names[0], TASK_ID, STATUS)))
