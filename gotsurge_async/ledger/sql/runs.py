"""The rows of runs: their data, holder, epoch and state."""

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import GenericAlias
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct, field

from gotsurge_async.clock import from_microseconds, to_microseconds
from gotsurge_async.config import SETTLE
from gotsurge_async.database import Database, Kind, Row
from gotsurge_async.ledger.errors import LedgerError, NoSuchRun, OtherServer, RunHeld, RunLost, damaged
from gotsurge_async.ledger.sql.chunks import LAST, PLACES, Chunk, load
from gotsurge_async.ledger.sql.recorded import RecordedTasks
from gotsurge_async.ledger.states import (
    CLAIMED,
    LETTERS,
    READABLE,
    STATE_OF,
    UNDO,
    UNFINISHED,
    Counts,
    Holder,
    Mode,
    RunInfo,
    RunState,
)

SEEN = 1000
"""The number of chunks that are remembered, approximately."""

MANY = 1_000_000_000
"""A number that is greater than that of all runs."""

API_BASE = "api_base"
"""The option of a run that holds its API base. Runs of older versions and of temporary simulators have none."""


class Held(Struct, frozen=True, eq=False):
    """A run that a process holds, with what the ledger's writes need.

    Attributes:
        epoch: the epoch under which it is held.
        segment: the number and the epoch of the segment that is held; None: the whole run.
        first, last: the range of the chunks that are held.
        claims: the epoch of the claim of each chunk that it has claimed.
        seen: chunks as they were read or written last. A claim or a record of one need not read it, and is refused when
            its epoch or its states have changed meanwhile; then it is read. A note changes neither, so it makes the
            chunk forgotten.
        tasks: the recorded tasks of the ledger, as far as this process knows them.
        sums: Python's hash of each chunk's body that this process has added, until the chunk is read to be sent.
        spare: numbers that were allotted for further chunks, ascending; one that is never used is a gap.
        settle: microseconds for which a request that is not answered may act: see `config.Limits.settle`.
        account: see `account_of`.
        server: see `server_of_run`.
    """

    number: int
    id: str
    environment: str
    mode: Mode
    epoch: int
    segment: tuple[int, int] | None = None
    first: int = 0
    last: int = LAST
    claims: dict[int, int] = field(default_factory=dict)
    seen: dict[int, Chunk] = field(default_factory=dict)
    tasks: RecordedTasks = field(default_factory=RecordedTasks)
    sums: dict[int, int] = field(default_factory=dict)
    spare: list[int] = field(default_factory=list)
    settle: int = int(SETTLE * 1_000_000)
    account: str = ""
    server: str = ""

    def has(self, chunk: Chunk) -> bool:
        """Whether a chunk is in the range that is held."""
        return chunk.run == self.number and self.first <= chunk.id <= self.last

    def see(self, chunks: Iterable[Chunk]) -> None:
        """Remember chunks as they are now; others may be forgotten for them."""
        if len(self.seen) > SEEN:
            self.seen.clear()
        self.seen.update((chunk.id, chunk) for chunk in chunks)


def held_as(info: RunInfo, tasks: RecordedTasks | None = None) -> Held:
    """A run under the epoch that it had when it was read; ``tasks`` are read when needed, unless passed."""
    known, place = tasks or RecordedTasks(), (info.number, info.id, info.environment)
    account, server = account_of(info), server_of_run(info)
    return Held(*place, info.mode, info.epoch, tasks=known, account=account, server=server)


def account_of(info: RunInfo) -> str:
    """The account that sends a run, "" for the only one. No other account may broadcast its drafts."""
    return info.options.get("account") or ""


def service_of(api_base: str) -> str:
    """The host, port and path of an API base, the same for every way to write it."""
    return f"{server_of(api_base)}{urlsplit(api_base).path.rstrip('/')}"


@lru_cache(64)  # a desk asks for each order that it knows
def server_of(api_base: str) -> str:
    """The host and port of an API base, whose path GotSurge may change."""
    parts = urlsplit(api_base)
    host = (parts.hostname or "").rstrip(".")
    host = "127.0.0.1" if host in ("localhost", "::1") else host
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    return f"{host}:{port}"


def server_of_run(run: RunInfo) -> str:
    """The server of a run, as `server_of` returns it; "" if the ledger does not have it."""
    api_base = run.options.get(API_BASE)
    return server_of(api_base) if api_base else ""


def is_at(run: RunInfo, api_base: str) -> bool:
    """Whether a run belongs to the server of an API base, or may, because the ledger does not have its server."""
    return server_of_run(run) in ("", server_of(api_base))


def refuse_other_server(run: RunInfo, api_base: str, how: str = "use the API base") -> None:
    """Raise OtherServer if a run belongs to another server than that of an API base; ``how`` sets that base."""
    if not is_at(run, api_base):
        own = run.options[API_BASE]
        raise OtherServer(f"run {run.id} belongs to the server {own}, not to {api_base}: {how} {own}")


def is_ours(run: Held, other: RunInfo) -> bool:
    """Whether another run has the account of a held run, and not certainly another server."""
    theirs = server_of_run(other)
    is_there = run.server == theirs or "" in (run.server, theirs)
    return is_there and run.account == account_of(other)


# --- reading ----------------------------------------------------------------------------------------------------------


def one(db: Database, run_id: str) -> RunInfo:
    """One run; raises NoSuchRun."""
    rows = db.rows("run", id=run_id)
    if not rows:
        raise NoSuchRun(f"has no run with the id {run_id}")
    return info_of(rows[0])


def by_number(db: Database, numbers: Iterable[int]) -> dict[int, RunInfo]:
    """Some runs, by their numbers."""
    return {row[0]: info_of(row) for row in db.rows("runs_numbered", numbers=db.listed(set(numbers)))}


def describe_order(db: Database, order: int) -> str:
    """An order with its key and its run, for people."""
    number, place = divmod(order, PLACES)
    chunk = load(db, [number], tasks=False, bodies=True)[number]
    (run,) = by_number(db, [chunk.run]).values()
    return f"order {chunk.metas[place].key} of run {run.id}" if chunk.metas else f"an archived order of run {run.id}"


def newest(db: Database, limit: int | None) -> list[RunInfo]:
    """The runs, newest first: in the order in which they were begun, whatever the clock was."""
    return [info_of(row) for row in db.rows("newest_runs", most=MANY if limit is None else limit)]


def in_state(db: Database, *states: RunState) -> list[str]:
    """The ids of the runs in some states."""
    return [run_id for (run_id,) in db.rows("runs_in", states=db.listed(state.value for state in states))]


def held(db: Database, run_id: str) -> RunHeld:
    """The error that names the holder of a run."""
    leased = db.kind is Kind.POSTGRESQL
    info, workers = one(db, run_id), [each for (each,) in db.rows("workers_of_run", id=run_id)] if leased else []
    stopped = bool(workers) and not db.rows("is_put_up", run=info.number)
    return RunHeld(run_id, info.holder, leased=leased, workers=workers, stopped=stopped)


def counts(db: Database, number: int, *, loading: bool = False, first: int = 0, last: int = LAST) -> Counts:
    """The number of orders in each state, of a run or of its chunks from ``first`` to ``last``."""
    letters: Counter[str] = Counter()
    for states, times in db.rows("states_of_run", run=number, first=first, last=last):
        for letter in states:
            letters[letter] += times
    return counts_of(letters, loading=loading)


def counts_of(letters: Counter[str], *, loading: bool = False) -> Counts:
    """Counts, from the number of orders with each letter."""
    unknown = set(letters) - set(STATE_OF)
    if unknown:
        raise damaged("chunks", "", f"its states are invalid: {''.join(sorted(unknown))!r:.40}")
    numbers = {STATE_OF[letter].value: number for letter, number in letters.items()}
    if loading and "pending" in numbers:
        numbers["loading"] = numbers.pop("pending")
    return Counts(**numbers)


_INT, _STR = int | None, str | None
_KINDS = (int, str, int, RunState, str, Mode, str, _STR, _STR, _STR, _INT, _STR, _INT, _INT, int, int, _INT, _STR)
_ROW: Any = GenericAlias(tuple, _KINDS)
"""The types that the columns of a run's row must have."""


@lru_cache(64)
def info_of(row: Row) -> RunInfo:
    """A run from its row; LedgerUnusable if that is damaged."""
    try:
        number, run_id, created_at, state, environment, mode, source, sha256, *rest = msgspec.convert(row, type=_ROW)
        columns, options, pid, host, since, finished_at, epoch, _, archived_at, archived_in = rest
        return RunInfo(
            id=run_id,
            created_at=from_microseconds(created_at),
            state=state,
            environment=environment,
            mode=mode,
            source=source,
            source_sha256=sha256,
            columns=None if columns is None else tuple(msgspec.json.decode(columns, type=list[str])),
            options={} if options is None else msgspec.json.decode(options, type=dict[str, Any]),
            holder=None if pid is None else Holder(pid, host, from_microseconds(since)),
            finished_at=None if finished_at is None else from_microseconds(finished_at),
            archived_in=archived_in,
            archived_at=None if archived_at is None else from_microseconds(archived_at),
            number=number,
            epoch=epoch,
        )
    except (ValueError, TypeError, OverflowError) as error:
        raise damaged("runs", f"row {row[1]!r:.60}", str(error)) from error


# --- writing ----------------------------------------------------------------------------------------------------------


EPOCHS_OF_A_COPY = 2**32
"""The number that `accept-older` adds to the epochs of a copy of the ledger: no process counts that far."""


def first_epoch(db: Database) -> int:
    """The number at which epochs begin: above all those of any other copy of this ledger."""
    meta: dict[str, int] = dict(db.rows("meta"))
    return meta.get("first_epoch", 0)


def begin(db: Database, run: RunInfo) -> bool:
    """Insert a run; returns False if a run has its id already."""
    inserted = db.change(
        "begin_run",
        id=run.id,
        created_at=to_microseconds(run.created_at),
        state=run.state.value,
        environment=run.environment,
        mode=run.mode.value,
        source=run.source,
        source_sha256=run.source_sha256,
        columns=None if run.columns is None else msgspec.json.encode(list(run.columns)).decode(),
        options=_as_json(run.options),
        epoch=first_epoch(db) + 1,
        **_holding(run.holder),
    )
    return inserted == 1


def _as_json(options: Mapping[str, Any]) -> str | None:
    return msgspec.json.encode(dict(options)).decode() if options else None


def hold(db: Database, run_id: str, holder: Holder) -> RunInfo:
    """Record the process that resumes a run, under a new epoch; returns the run as it is then.

    Raises NoSuchRun, or LedgerError if it was never admitted, or is archived.
    """
    info = one(db, run_id)
    if info.state is RunState.LOADING:
        raise LedgerError(
            f"the push of run {run_id} ended before all its rows were recorded; push its orders again", "E523"
        )
    refuse_archived(info)
    db.change("hold_run", id=run_id, **_holding(holder))
    raise_epoch(db, run_id)
    return one(db, run_id)


def refuse_archived(info: RunInfo) -> None:
    """Raise LedgerError for a run that is archived: its orders are not in this ledger any more."""
    if info.archived_in is not None:
        raise LedgerError(f"run {info.id} was archived, and is finished: its orders are in {info.archived_in}", "E524")


def _holding(holder: Holder | None) -> dict[str, object]:
    if holder is None:
        return {"pid": None, "host": None, "since": None}
    return {"pid": holder.pid, "host": holder.host, "since": to_microseconds(holder.since)}


def fence(db: Database, run: Held) -> None:
    """Raise RunLost unless the holder still has a run or segment, which stays so until the transaction ends.

    The holder of a segment locks only the segment's row: workers that all locked the run's row with every write would
    wait for each other. The run's epoch is compared too; a process that takes the whole run raises those of its
    segments as well, and so waits for every write, or is noticed by it.
    """
    if run.segment is None:
        if db.rows("epoch", number=run.number) != [(run.epoch,)]:
            raise _lost(run)
        return
    number, epoch = run.segment
    if db.rows("segment_epochs", run=run.number, segment=number) != [(run.epoch, epoch)]:
        raise RunLost(
            f"segment {number} of run {run.id} now belongs to another worker: this worker sends no more of the "
            "segment's orders"
        )


def fence_whole(db: Database, run: Held, keys: Iterable[str]) -> tuple[int | None, int, list[Row]]:
    """Fence a run as `fence` does, by one statement that reads more.

    Returns what `admission.accepted_at` and `first_epoch` return, and the rows of those of some keys that there are.
    """
    if run.segment is not None:
        fence(db, run)
    rows = db.rows("fence_and_keys", number=run.number, environment=run.environment, keys=db.listed(keys))
    if not rows or rows[0][0] != run.epoch:
        raise _lost(run)
    return rows[0][1] or None, rows[0][2] or 0, [row[3:] for row in rows[1:]]


def _lost(run: Held) -> RunLost:
    return RunLost(f"run {run.id} was taken over by another process: this process sends no more of the run's orders")


def raise_epoch(db: Database, run_id: str) -> int:
    """Raise a run's epoch, which is returned, and those of its segments: earlier holders are refused."""
    ((number, epoch),) = db.rows("raise_epoch", id=run_id)
    db.change("raise_segment_epochs", run=number)
    return int(epoch)


def keep_undo(db: Database, run: Held, undo: Mapping[str, Any] | None) -> dict[str, Any]:
    """Store the progress of a held run's undo (None: it is not undone, or continues anyway); returns its options."""
    options = dict(by_number(db, [run.number])[run.number].options)
    changed = options.pop(UNDO, None) != undo
    options |= {} if undo is None else {UNDO: undo}
    if changed:
        db.change("set_options", number=run.number, options=_as_json(options))
    return options


def withdraw(db: Database, run: Held) -> None:
    """Let no worker take a segment of a run any more."""
    for statement in ("forget_segments", "forget_distribution"):
        db.change(statement, run=run.number)


def finish(db: Database, run: Held, now: int, *, withdrawn: bool = False) -> RunState:
    """End the sending; returns whether the run is done, or stopped with orders left.

    A run that was released to workers is left to them, unless it is ``withdrawn`` from them now.
    """
    if withdrawn:
        withdraw(db, run)
    left = counts(db, run.number).of(UNFINISHED)
    if left and db.rows("is_put_up", run=run.number):
        return RunState.SENDING
    return _end(db, run.number, left, now)


def _end(db: Database, number: int, left: int, now: int) -> RunState:
    state = RunState.STOPPED if left else RunState.DONE
    db.change("set_run_state", number=number, state=state.value, finished_at=now)
    db.change("forget_segments", run=number)
    return state


def settled(db: Database, run: Held, now: int) -> RunState:
    """End a run if its workers have nothing left to do; returns its state.

    If two workers return the last two segments at the same moment, neither may notice; then the sweeper ends the run.
    So the run's row need not be locked with each segment.
    """
    if _in_work(db, run.number):
        return RunState.SENDING
    db.rows("lock_run", number=run.number)
    info = by_number(db, [run.number])[run.number]
    if info.state is not RunState.SENDING or _in_work(db, run.number):
        return info.state
    return _end(db, run.number, counts(db, run.number).of(UNFINISHED), now)


def _in_work(db: Database, run: int) -> bool:
    """Whether a worker may take a segment of a run or, if workers were stopped, has not returned one yet."""
    ((left, leased),) = db.rows("open_segments", run=run)
    return bool(leased or (left and db.rows("is_put_up", run=run)))


def settle_emptied(db: Database, run_id: str, now: int) -> None:
    """Close the segments of a run that lost their last orders to another run, and end the run if all have.

    Otherwise a process that watches the run would wait for a worker that has nothing to do.
    """
    info = one(db, run_id)
    if not db.rows("is_put_up", run=info.number):
        return
    work = UNFINISHED | CLAIMED | (READABLE if info.mode is Mode.TWO_PHASE else frozenset())
    db.change("close_emptied", run=info.number, letters=db.having([LETTERS[state] for state in work]))
    settled(db, held_as(info), now)
