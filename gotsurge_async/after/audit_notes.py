"""The notes of an audit about tasks, in a file of its own: memory stays flat, and a killed audit can continue.

The comparison of an order in the ledger with its task is here, too.
"""

import asyncio
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

import msgspec

from gotsurge_async import codec
from gotsurge_async.clock import uninterrupted
from gotsurge_async.errors import ConfigError
from gotsurge_async.ledger import Mode, OrderRow, OrderState, RunInfo
from gotsurge_async.ledger.errors import open_words, reading_payload
from gotsurge_async.models.answers import Task
from gotsurge_async.models.tasks import ENDED_EARLY, TaskFields, TaskStatus
from gotsurge_async.models.times import written
from gotsurge_async.models.words import folded
from gotsurge_async.money import Money
from gotsurge_async.push.changes import uncertain_fields

P = ParamSpec("P")
T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tasks (
  id TEXT PRIMARY KEY, at REAL NOT NULL, tracking_id TEXT, live INTEGER NOT NULL, seen BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_tracking_id ON tasks (tracking_id) WHERE live;
CREATE TABLE IF NOT EXISTS lists (account TEXT PRIMARY KEY, begun REAL NOT NULL, page INTEGER NOT NULL, whole INTEGER);
CREATE TEMP TABLE orders (task_id TEXT NOT NULL, id INTEGER NOT NULL, run TEXT, key TEXT, live INTEGER NOT NULL);
CREATE INDEX temp.orders_by_task ON orders (task_id);
"""
_LIVE_NAMED = (
    "SELECT tracking_id, tasks.id, orders.id, coalesce(run, ''), coalesce(key, '') FROM tasks "
    "LEFT JOIN orders ON task_id = tasks.id AND orders.live WHERE tasks.live AND tracking_id"
)
_ASKED = 500
WINDOWS = ("from_time_window", "to_time_window")
_ADDRESSES = ("from_address", "to_address")


MISSING = "missing"
"""GotSurge answered that there is no such task."""


class Seen(msgspec.Struct, omit_defaults=True):
    """A task as GotSurge returned it.

    Attributes:
        problem: `MISSING`, or why it could not be read; "" if it was read.
        facts: the values to compare, by name.
        live: whether drivers see it, or have it.
        reads: the number of reads by its id; 0 if only the Task List showed it.
    """

    problem: str = ""
    status: str | None = None
    facts: dict[str, str] = msgspec.field(default_factory=dict)
    live: bool = False
    reads: int = 1


def seen_of(task: Task, *, listed: bool = False) -> Seen:
    """The note of a task; ``listed`` if the Task List showed it."""
    status = task.current_status
    live = status is not None and not status.is_draft and status not in ENDED_EARLY
    return Seen(status=status and str(status), facts=facts_of(task), live=live, reads=0 if listed else 1)


def facts_of(named: TaskFields) -> dict[str, str]:
    """The values to compare: names, price, windows to the second, street and zip code in normal form.

    GotSurge may normalize the rest of an order, which then differs although no one has changed it. The price of an
    order with an increment rises until a driver takes it.
    """
    facts: dict[str, str | None] = {"tracking_id": named.tracking_id, "invoice_number": named.invoice_number}
    if named.price is not None and named.increment is None:
        facts |= {"price": str(named.price.millicents), "currency": named.price.currency}
    for name in WINDOWS:
        if (window := getattr(named, name)) is not None:
            times = (window.start_time_utc, window.end_time_utc)
            facts[name] = " to ".join(f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in times)
    for name in _ADDRESSES:
        if (address := getattr(named, name)) is not None:
            facts |= {f"{name}.{part}": _plain(getattr(address, part)) for part in ("street_address", "zip_code")}
    return {name: value for name, value in facts.items() if value}


def _plain(text: Any) -> str:
    return " ".join(str(text or "").casefold().split())


def other_pickup(one: Seen, other: Seen) -> bool:
    """Whether two tasks are picked up at different times: a tracking id may have been used before."""
    windows = {seen.facts[WINDOWS[0]] for seen in (one, other) if WINDOWS[0] in seen.facts}
    return len(windows) > 1


class LiveTask(NamedTuple):
    """A live task, with the live order that it is recorded for; ``order`` is None if there is none.

    The order may be another one than that whose name the task has.
    """

    task_id: str
    order: int | None
    run: str
    key: str


_decode = msgspec.json.Decoder(Seen).decode


class Notes:
    """The notes of an audit, in a file for its owner alone. Its methods block: call them by `ask`, one at a time.

    A note is forgotten after ``fresh`` seconds.
    """

    def __init__(self, path: Path, fresh: float) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = self._opened()
            try:
                self._prepare(fresh)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                self._db.close()  # damaged, by a power cut for instance: everything is read again
                path.unlink()
                self._db = self._opened()
                self._prepare(fresh)
        except (OSError, sqlite3.Error) as error:
            raise self._unwritable(error) from None

    def _opened(self) -> sqlite3.Connection:
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        return sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=0)

    def _prepare(self, fresh: float) -> None:
        # One audit at a time: the end of another would remove the file.
        self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
        # A kill loses nothing, and a power cut only notes that are made again.
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.executescript(_SCHEMA)
        now = time.time()
        for table, at in (("tasks", "at"), ("lists", "begun")):
            self._db.execute(f"DELETE FROM {table} WHERE {at} NOT BETWEEN ? AND ?", (now - fresh, now))  # noqa: S608

    def close(self, *, ended: bool) -> None:
        """Close the file; remove it if the audit ``ended``: the next one reads everything again."""
        self._db.close()
        if ended:
            self._path.unlink(missing_ok=True)

    async def ask(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a method of the notes in a thread."""
        try:
            return await uninterrupted(asyncio.to_thread(method, *args, **kwargs))
        except sqlite3.Error as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: Exception) -> ConfigError:
        if "locked" in str(error):
            return ConfigError(f"{self._path}: another audit of this ledger is running: wait until it ends", "E508")
        return ConfigError(f"{self._path}: the notes of the audit cannot be written: {error}", "E109")

    # --- tasks --------------------------------------------------------------------------------------------------------

    def seen(self, task_ids: Sequence[str]) -> dict[str, Seen]:
        """The notes of some tasks."""
        return {
            task_id: _decode(seen) for task_id, seen in self._select("SELECT id, seen FROM tasks WHERE id", task_ids)
        }

    def keep(self, seen: Mapping[str, Seen]) -> dict[str, Seen]:
        """Note tasks that were read by their ids, and return them with the number of these reads."""
        before = self.seen(list(seen))
        for task_id, answer in seen.items():
            answer.reads += before[task_id].reads if task_id in before else 0
        self._put(seen)
        return dict(seen)

    def keep_page(self, account: str, number: int, seen: Mapping[str, Seen], *, whole: bool) -> None:
        """Note a page of an account's Task List, and whether it is ``whole``; notes of tasks read by id stay."""
        known = self.seen(list(seen))
        self._put({name: seen[name] for name in seen if name not in known or not known[name].reads})
        self._db.execute(
            "INSERT INTO lists VALUES (?, ?, ?, ?) ON CONFLICT (account) DO UPDATE SET page = excluded.page, whole = "
            "excluded.whole",
            (account, time.time(), number, whole),
        )

    def page_reached(self, account: str) -> tuple[int, bool]:
        """The page of an account's Task List to begin with, and whether the list was read to its end.

        It is the last page that was read: if tasks vanished meanwhile, the next page may lack some.
        """
        rows = self._db.execute("SELECT page, whole FROM lists WHERE account = ?", (account,)).fetchall()
        return (rows[0][0], bool(rows[0][1])) if rows else (1, False)

    def _put(self, seen: Mapping[str, Seen]) -> None:
        now = time.time()
        self._db.execute("BEGIN")
        self._db.executemany(
            "INSERT OR REPLACE INTO tasks VALUES (?, ?, ?, ?, ?)",
            [
                (task_id, now, folded(task.facts.get("tracking_id")) or None, task.live, msgspec.json.encode(task))
                for task_id, task in seen.items()
            ],
        )
        self._db.execute("COMMIT")

    # --- the ledger's orders, each with its task ----------------------------------------------------------------------

    def index(self, orders: Iterable[tuple[str, int, str, str, bool]]) -> None:
        """Store orders for this audit: task, id, run, key, and whether the order is live."""
        self._db.execute("BEGIN")
        self._db.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?)", orders)
        self._db.execute("COMMIT")

    def shared(self) -> dict[str, list[tuple[int, str, str]]]:
        """The tasks that are recorded for several live orders, each with the ids, runs and keys of these."""
        tasks: dict[str, list[tuple[int, str, str]]] = {}
        for task_id, *order in self._db.execute(
            "SELECT task_id, id, run, key FROM orders WHERE live AND task_id IN (SELECT task_id FROM orders WHERE live "
            "GROUP BY task_id HAVING count(*) > 1) ORDER BY id"
        ):
            tasks.setdefault(task_id, []).append((order[0], order[1], order[2]))
        return tasks

    def not_indexed(self, rows: Sequence[tuple[int, str, str]]) -> list[tuple[int, str, str]]:
        """The rows (line, key, task) whose task is recorded for no order with this key."""
        tasks = [task_id for _, _, task_id in rows]
        known = set(self._select("SELECT key, task_id FROM orders WHERE task_id", tasks))
        return [(line, key, task_id) for line, key, task_id in rows if (key, task_id) not in known]

    def live_tasks(self, task_ids: Sequence[str]) -> set[str]:
        """The tasks that are recorded for a live order."""
        return {task_id for (task_id,) in self._select("SELECT task_id FROM orders WHERE live AND task_id", task_ids)}

    def live_named(self, tracking_ids: Sequence[str]) -> dict[str, list[LiveTask]]:
        """The live tasks that have some `folded` tracking ids, by folded tracking id."""
        return _grouped(self._select(_LIVE_NAMED, tracking_ids))

    def live_twice(self) -> dict[str, list[LiveTask]]:
        """The live tasks that share a tracking id, by `folded` tracking id."""
        return _grouped(
            self._db.execute(
                f"{_LIVE_NAMED} IN (SELECT tracking_id FROM tasks WHERE live GROUP BY tracking_id "  # noqa: S608
                "HAVING count(*) > 1) ORDER BY tracking_id, tasks.id"
            )
        )

    def _select(self, statement: str, values: Sequence[str]) -> list[tuple[Any, ...]]:
        """The rows of a statement for some values of the column that it compares last."""
        rows: list[tuple[Any, ...]] = []
        for start in range(0, len(values), _ASKED):
            some = values[start : start + _ASKED]
            rows += self._db.execute(f"{statement} IN ({','.join('?' * len(some))})", some)
        return rows


def _grouped(rows: Iterable[tuple[Any, ...]]) -> dict[str, list[LiveTask]]:
    groups: dict[str, list[LiveTask]] = {}
    for name, *task in rows:
        groups.setdefault(name, []).append(LiveTask(*task))
    return groups


# --- what differs -----------------------------------------------------------------------------------------------------


_TIME = re.compile(r"\b[1-9]\d{3}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


class Kind(StrEnum):
    """The kind of a difference."""

    VANISHED = "vanished"
    """The ledger has the order created, and GotSurge answered twice that there is no such task."""
    CANCELLED = "cancelled"
    """The ledger has the order created, and its task was cancelled."""
    CHANGED = "changed"
    """The task differs from the order that was sent."""
    DRAFT = "draft"
    """The ledger has the order created, and its task is a draft, which no driver sees."""
    ALIVE = "alive"
    """The ledger has the order cancelled, and its task is live."""
    TWICE = "twice"
    """Two tasks may be live for one order, although only one should be."""
    SHARED = "shared"
    """One task is recorded for two orders."""
    IN_DOUBT = "in_doubt"
    """No answer proves whether the order was created, or an effect of it is still open."""
    CHANGING = "changing"
    """It is unknown which fields an update of its task has changed."""
    UNREADABLE = "unreadable"
    """The task cannot be read by this account: that proves nothing."""
    FILE = "file"
    """A result file contradicts the ledger."""


WRITTEN_OFF = frozenset((Kind.VANISHED, Kind.CANCELLED))
"""The kinds by which `Audit.repair` writes an order off: it becomes cancelled, and its key is free."""
REPAIRABLE = WRITTEN_OFF | {Kind.ALIVE}
"""The kinds that `Audit.repair` settles. An order of a live task becomes created, if no other order has its key."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One difference; ``order`` is the number of the order in the ledger, None if there is none."""

    kind: Kind
    run: str
    key: str
    details: str
    task_ids: tuple[str, ...] = ()
    order: int | None = None


def finding_of(kind: Kind, run: RunInfo, row: OrderRow, details: str) -> Finding:
    """A difference of an order and its task."""
    tasks = (row.task_id,) if row.task_id else ()
    return Finding(kind=kind, run=run.id, key=row.key, details=details, task_ids=tasks, order=row.id)


def why_in_doubt(row: OrderRow, now: datetime) -> str:
    """The reason why an order is in doubt, and until when a request for it may still act."""
    if row.is_open(now):
        words = open_words(row.open_until, cancelling=row.state is OrderState.CANCELLING)
        return f"{row.error}; {words}" if row.error else words
    return row.error or "the answer was lost"


def verdict_of(row: OrderRow, run: RunInfo, seen: Seen, path: str) -> tuple[Kind, str] | None:
    """The difference between a task and its order in the ledger; None if there is none."""
    if row.state is OrderState.CANCELLED:
        names = _differing(row, seen, path).get("tracking_id", ("", ""))
        if seen.problem or not seen.live or folded(names[0]) != folded(names[1]):
            return None
        return Kind.ALIVE, f"the order's task is {seen.status}, but the ledger shows the order as cancelled"
    if seen.problem == MISSING:
        return Kind.VANISHED, "GotSurge no longer has the order's task"
    if seen.problem:
        return Kind.UNREADABLE, f"this account cannot read the order's task: {seen.problem}"
    status = TaskStatus(seen.status or "")
    if status == TaskStatus.CANCELLED:
        return Kind.CANCELLED, "the order's task was cancelled at GotSurge"
    if run.mode is Mode.TWO_PHASE and status.is_draft:
        return Kind.DRAFT, f"the order's task is a draft ({status}), which no driver sees"
    words = [f"{name} was sent as {mine}, but is now {theirs}" for name, mine, theirs in differences(row, seen, path)]
    if fields := uncertain_fields(row.payload):
        return Kind.CHANGING, "; ".join([f"an update may have changed {', '.join(fields)}", *words])
    return (Kind.CHANGED, "; ".join(words)) if words else None


def is_short(row: OrderRow, seen: Seen, path: str) -> bool:
    """Whether only the Task List showed the task of an order, without a value to compare."""
    if seen.reads or seen.problem:
        return False
    is_compared = row.state is not OrderState.CANCELLED
    return not seen.status or (is_compared and not _sent(row, path).keys() <= seen.facts.keys())


def differences(row: OrderRow, seen: Seen, path: str = "") -> list[tuple[str, str, str]]:
    """The fields in which a task differs from the order, each with the order's value and the task's, for people."""
    return [
        (name, _shown(name, mine), _shown(name, theirs)) for name, (mine, theirs) in _differing(row, seen, path).items()
    ]


def _shown(name: str, fact: str) -> str:
    """A fact for people: a price as an amount, the times of a window in their zone."""
    if name == "price":
        return f"{Money(millicents=int(fact), currency='').amount:f}"
    if name not in WINDOWS:
        return fact
    return _TIME.sub(lambda time: written(datetime.fromisoformat(time[0]), seconds=True), fact)


def _differing(row: OrderRow, seen: Seen, path: str) -> dict[str, tuple[str, str]]:
    """The fields of a task that differ from the order that was sent, each with both values."""
    return {
        name: (value, seen.facts[name])
        for name, value in _sent(row, path).items()
        if name in seen.facts and seen.facts[name] != value
    }


def _sent(row: OrderRow, path: str) -> dict[str, str]:
    """The values of an order that was sent."""
    with reading_payload(path, row):
        return facts_of(codec.parse(row.payload, TaskFields))
