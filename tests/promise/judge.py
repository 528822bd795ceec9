"""The judge of the promise: what the service has against what the commands said, and nothing in between.

It knows no ledger and no code of the push. It compares two things that a person could look at: the tasks of the
service, each with its history, and the words of a command: exit code, JSON summary, result files and ``status``.

A fault is one of three kinds. A *double*: a second driver was called. A *loss*: an order is neither there nor named as
missing. A *dishonest word*: something that was said is not so, or would make an operator send an order twice.
"""

import csv
import json
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

NOT_YET = ("pending_broadcast", "draft")
"""Statuses in which no driver knows of a draft."""

FILE_OF = {
    "created": "created",
    "already_pushed": "created",
    "refused": "refused",
    "unprocessed": "unprocessed",
    "in_doubt": "in_doubt",
    "cancelled": "cancelled",
    "changed": "changed",
}
"""The word of a row, its ``gs_status``, and the file in which it must stand; the summary counts the same words."""

CREATED, REFUSED, USAGE, IN_DOUBT, SIGN_IN, STOPPED, HELD, CHANGED, UNREACHABLE, UNWRITTEN = range(10)
"""The exit codes, in their order."""

INTERRUPTED = (130, 143)


@attrs.frozen
class Task:
    """A task as the service has it."""

    id: str
    tracking_id: str
    begins: float | None
    """When drivers began to see it, in seconds since the epoch; None for a draft that was never broadcast."""
    ends: float
    """When it was cancelled; infinity if it never was."""

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> "Task":
        """From what the simulator tells of it."""
        history = told["history"]
        begins = None
        if not told["draft"]:
            begins = next((at for status, at in history if status not in NOT_YET), history[0][1])
        ends = next((at for status, at in history if status == "cancelled"), float("inf"))
        return cls(told["id"], told["tracking_id"], begins, ends)

    @property
    def live(self) -> bool:
        """Whether drivers see it, or have it, now."""
        return self.begins is not None and self.ends == float("inf")

    def meets(self, other: "Task") -> bool:
        """Whether there was a time at which both were live."""
        if self.begins is None or other.begins is None:
            return False
        return self.begins < other.ends and other.begins < self.ends


def tasks_at(api_base: str, prefix: str = "") -> list[Task]:
    """The tasks of a simulator that runs somewhere, those whose tracking ids begin with ``prefix``."""
    origin = api_base.split("/api/")[0]
    with urllib.request.urlopen(f"{origin}/_simulator/tasks?prefix={prefix}") as answer:  # noqa: S310 - our own
        return [Task.read(told) for told in json.load(answer)["tasks"]]


@attrs.frozen
class Words:
    """What a command said.

    Attributes:
        code: its exit code; None of one that only looks, whose code says nothing of orders.
        document: what it printed with ``--json``; None if it printed none.
        status: what ``gotsurge status RUN --json`` said right after it; None if that was not asked.
        rows: the keys of the orders that its run has; None where nobody knows.
    """

    code: int | None
    document: Mapping[str, Any] | None = None
    status: Mapping[str, Any] | None = None
    rows: frozenset[str] | None = None

    @classmethod
    def said(
        cls, code: int | None, out: str, *, status: Mapping[str, Any] | None = None, rows: Iterable[str] | None = None
    ) -> "Words":
        """From an exit code and the standard output of a command with ``--json``."""
        try:
            document = json.loads(out) if out.strip() else None
        except ValueError:
            document = None
        return cls(code, document, status, None if rows is None else frozenset(rows))


@attrs.frozen
class Row:
    """A row of a result file."""

    file: str
    key: str
    status: str
    task_id: str


@attrs.frozen
class Faults:
    """What the judge found; nothing of it is falsy."""

    doubles: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    dishonest: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.doubles or self.losses or self.dishonest)

    def __add__(self, other: "Faults") -> "Faults":
        return Faults(self.doubles + other.doubles, self.losses + other.losses, self.dishonest + other.dishonest)

    def __str__(self) -> str:
        kinds = (("doubled", self.doubles), ("lost", self.losses), ("dishonest", self.dishonest))
        return "\n".join(f"{kind}: {fault}" for kind, faults in kinds for fault in faults) or "no fault"


class _Finder:
    """Gathers faults, each once."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, None]] = defaultdict(dict)

    def double(self, text: str) -> None:
        self._found["doubles"][text] = None

    def loss(self, text: str) -> None:
        self._found["losses"][text] = None

    def lie(self, text: str) -> None:
        self._found["dishonest"][text] = None

    def faults(self) -> Faults:
        return Faults(**{kind: tuple(texts) for kind, texts in self._found.items()})


def judge(keys: Collection[str], tasks: Iterable[Task], words: Words | None = None) -> Faults:
    """Judge what stands now, and what a command that has just ended said of it.

    Args:
        keys: every key that was ever to be pushed.
        tasks: all tasks of the service with such tracking ids.
        words: of the command; None after one that was killed.
    """
    finder = _Finder()
    by_key = _by_key(keys, tasks, finder)
    if words is not None:
        _judge_words(words, by_key, finder)
    return finder.faults()


def judge_end(keys: Collection[str], tasks: Iterable[Task], words: Words, *, exactly_once: bool) -> Faults:
    """Judge the end: the service is well, and the same file was pushed once more.

    Args:
        exactly_once: two-phase mode: everything is created, and nothing in doubt. Otherwise what is not in doubt is.
    """
    tasks = list(tasks)
    finder = _Finder()
    live = {task.tracking_id for task in tasks if task.live}
    doubtful = {row.key for row in rows_of(words.document, finder) if row.status == "in_doubt"}
    if exactly_once and doubtful:
        finder.lie(f"in doubt though it can be settled by reading: {sorted(doubtful)}")
    lost = set(keys) - live - (set() if exactly_once else doubtful)
    if lost:
        finder.loss(f"never created: {sorted(lost)}")
    if words.code != (IN_DOUBT if doubtful else CREATED):
        finder.lie(f"exit code {words.code} at the end, with {len(doubtful)} in doubt")
    return judge(keys, tasks, words) + finder.faults()


def _by_key(keys: Collection[str], tasks: Iterable[Task], finder: _Finder) -> dict[str, list[Task]]:
    by_key: dict[str, list[Task]] = {key: [] for key in keys}
    for task in tasks:
        if task.tracking_id not in by_key:
            finder.double(f"task {task.id} with the tracking id {task.tracking_id}, which nobody ordered")
            continue
        earlier = by_key[task.tracking_id]
        at_once = [other.id for other in earlier if other.meets(task)]
        if at_once:
            finder.double(f"{task.tracking_id}: tasks {', '.join([*at_once, task.id])} at once")
        earlier.append(task)
    return by_key


def _judge_words(words: Words, by_key: Mapping[str, Sequence[Task]], finder: _Finder) -> None:
    document = words.document
    if document is None or "files" not in document:
        if words.code == CREATED:
            finder.lie("exit code 0 without a summary")
        return
    rows = rows_of(document, finder)
    _judge_files(words, rows, finder)
    for row in rows:
        if row.key in by_key:
            _judge_row(row, [task for task in by_key[row.key] if task.live], finder)
        else:
            finder.lie(f"{row.key} is in a result file, and nobody ordered it")
    _judge_code(words.code, Counter(row.status for row in rows), finder)
    if words.status is not None:
        _judge_status(words.status, document, finder)


def _judge_files(words: Words, rows: Sequence[Row], finder: _Finder) -> None:
    """Each row once, in the file of its word; the counts are those of the files."""
    assert words.document is not None
    for key, times in Counter(row.key for row in rows).items():
        if times > 1:
            finder.lie(f"{key} is {times} times in the result files")
    if words.rows is not None:
        missing = words.rows - {row.key for row in rows}
        if missing:
            finder.loss(f"in no result file: {sorted(missing)}")
        strange = {row.key for row in rows} - words.rows
        if strange:
            finder.lie(f"in a result file, and not in the run: {sorted(strange)}")
    for row in rows:
        if FILE_OF.get(row.status) != row.file:
            finder.lie(f"{row.key} is {row.status!r} in the {row.file} file")
    counts = Counter(row.status for row in rows)
    for word in FILE_OF:
        said = words.document.get(word, 0)
        if said != counts[word]:
            finder.lie(f"the summary says {said} {word}, the files have {counts[word]}")
    if words.document.get("orders") != len(rows):
        finder.lie(f"the summary says {words.document.get('orders')} orders, the files have {len(rows)}")


def _judge_row(row: Row, live: Sequence[Task], finder: _Finder) -> None:
    """What is said of one order against its live tasks, of which there is one at most if all is well."""
    ids = [task.id for task in live]
    if row.file == "created":
        if not live:
            finder.loss(f"{row.key} is said to be {row.status}, and is not there")
        elif row.task_id not in ids:
            finder.lie(f"{row.key} is said to be task {row.task_id or '(none)'}, and is {', '.join(ids)}")
    elif row.file in ("refused", "unprocessed"):
        if live:
            finder.lie(f"{row.key} is in the {row.file} file, which may be pushed again, and is {', '.join(ids)}")
    elif row.file == "cancelled" and live:
        finder.lie(f"{row.key} is said to be cancelled, and is {', '.join(ids)}")


def _judge_code(code: int | None, counts: Mapping[str, int], finder: _Finder) -> None:
    """The exit code against the rows: 3 before all else, 0 for nothing but created rows."""
    if code is None or code in INTERRUPTED:
        return
    told = ", ".join(f"{number} {word}" for word, number in counts.items())
    if (code == IN_DOUBT) != bool(counts.get("in_doubt")):
        finder.lie(f"exit code {code} with {told or 'no rows'}")
    elif code == CREATED and any(number and FILE_OF.get(word) != "created" for word, number in counts.items()):
        finder.lie(f"exit code 0 with {told}")
    elif code == USAGE:
        finder.lie(f"exit code 2, nothing was sent, with {told}")


def _judge_status(status: Mapping[str, Any], document: Mapping[str, Any], finder: _Finder) -> None:
    """``status`` must say what the summary says."""
    for word in ("orders", *FILE_OF):
        if status.get(word, 0) != document.get(word, 0):
            finder.lie(f"status says {status.get(word, 0)} {word}, the summary {document.get(word, 0)}")


def rows_of(document: Mapping[str, Any] | None, finder: "_Finder | None" = None) -> list[Row]:
    """All rows of the result files that a summary names; a file that is named and not there is a loss."""
    rows: list[Row] = []
    for name, path in (document or {}).get("files", {}).items():
        if name == "summary":
            if finder is not None:
                _judge_summary_file(Path(path), document or {}, finder)
            continue
        try:
            rows += _read(name, Path(path))
        except FileNotFoundError:
            if finder is not None:
                finder.loss(f"there is no file {Path(path).name}")
    return rows


def _judge_summary_file(path: Path, document: Mapping[str, Any], finder: _Finder) -> None:
    try:
        written = json.loads(path.read_bytes())
    except (OSError, ValueError):
        finder.lie(f"{path.name} cannot be read")
        return
    for word in ("run", "orders", *FILE_OF):
        if written.get(word) != document.get(word):
            finder.lie(f"{path.name} says {written.get(word)} {word}, the command {document.get(word)}")


def _read(name: str, path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as stream:
        found = csv.DictReader(stream) if path.suffix == ".csv" else map(json.loads, stream)
        return [Row(name, each["tracking_id"], each["gs_status"], each["gs_task_id"]) for each in found]
