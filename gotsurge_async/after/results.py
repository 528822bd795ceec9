"""Result files, of which exactly one has each row of the source, with its outcome; and the summary of a run."""

import asyncio
import errno
import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field, structs

from gotsurge_async import codec
from gotsurge_async.after.reading import KeyColumns, form_of
from gotsurge_async.errors import ConfigError
from gotsurge_async.ledger import Ledger, OrderRow, OrderState, RunInfo, Word, word_of
from gotsurge_async.ledger.errors import reading_payload
from gotsurge_async.push.load import LEFT_OUT
from gotsurge_async.starting import pattern
from gotsurge_async.system import files
from gotsurge_async.tables import Form
from gotsurge_async.tables.cells import decode_row
from gotsurge_async.tables.fields import FEEDBACK
from gotsurge_async.tables.writing import Rows, WholeFile, defused, ending_of, rows_of

FILES = {
    Word.CREATED: "created",
    Word.ALREADY_PUSHED: "created",
    Word.REFUSED: "refused",
    Word.UNPROCESSED: "unprocessed",
    Word.IN_DOUBT: "in-doubt",
    Word.CANCELLED: "cancelled",
    Word.CHANGED: "changed",
}
"""The file that contains an order, by the order's outcome."""

_SOMETIMES = frozenset({FILES[Word.CANCELLED], FILES[Word.CHANGED]})
"""Files that exist only when they have rows."""

_DONE = (Word.CREATED, Word.ALREADY_PUSHED)
_WORDS: Mapping[str, Word] = {state: word_of(state) for state in OrderState}


class Reason(Struct, frozen=True, kw_only=True):
    """The reason why some orders of a run were not created."""

    verdict: str
    """The outcome of the orders, such as ``refused``."""
    reason: str
    """The orders' error, without the parts that differ from order to order; "" if there is none."""
    count: int


class Summary(Struct, frozen=True, kw_only=True):
    """The result of a run: counts of orders, and the seconds that the sending took."""

    run: str
    """The id of the run."""
    orders: int
    """The number of all orders: the sum of the counts below."""
    created: int
    """Orders that GotSurge has."""
    refused: int
    """Orders that GotSurge refused."""
    in_doubt: int
    """Orders that were sent, and whose outcome is unknown."""
    unprocessed: int
    """Orders that are certainly not there, and may be pushed again."""
    already_pushed: int
    """Orders whose keys were pushed by another run: nothing of them was sent."""
    cancelled: int
    """Orders that were created, and then cancelled."""
    changed: int
    """Orders that were pushed by another run, and differ now: their new content was not sent."""
    seconds: float
    """The seconds that the sending took."""
    orders_per_second: float
    """Orders created in a second of the sending; 0 where nothing was sent."""
    left_out: int = 0
    """Rows of the source that have faults: they are not orders of the run, and were not sent."""
    left_out_file: str | None = None
    """The file with these rows."""
    files: Mapping[str, str]
    """The paths of the result files: created, refused, unprocessed, in_doubt and summary, and cancelled and changed if
    there are such orders; empty if none were written."""
    reasons: Sequence[Reason] = ()
    """The most frequent reasons why orders were not created, at most ten for each verdict."""
    unused_drafts: Sequence[str] = ()
    """Task ids of drafts that will never be broadcast (two-phase): no driver sees them."""
    ledger_id: str = ""
    """The id of the ledger that has the run."""
    ledger_counter: int = 0
    """The number of admissions and claims of this ledger: a ledger with a smaller number is an older copy."""
    origin: Mapping[str, Any] = field(default_factory=dict)
    """Values with which a ledger that lost the run can import its result files: ``environment``, ``mode``, ``source``,
    ``encoding``, ``key_column`` (null where no column has the keys), ``key_case`` (upper or lower if a map has changed
    its text to that) and ``key_field`` (tracking_id, invoice_number or null)."""


async def write_results(
    ledger: Ledger,
    run: RunInfo,
    folder: Path,
    *,
    seconds: float = 0.0,
    unused_drafts: Sequence[str] = (),
    stopped: str = "",
) -> Summary:
    """Write the result files of a run, and count its orders.

    ``RUN-created``, ``RUN-refused``, ``RUN-unprocessed`` and ``RUN-in-doubt`` hold the rows as they were read, with
    gs_task_id, gs_status and gs_error, in the form of their source (`form_of`); ``RUN-cancelled`` and
    ``RUN-changed`` exist when they have rows. All but the in-doubt file can be pushed again. ``RUN-summary.json``
    holds the `Summary`. Files have mode 0600, and appear whole or not at all.

    Args:
        stopped: the reason why the sending ended early, for orders that have no other reason.

    Raises:
        ConfigError: the folder cannot be written.
        LedgerError: the ledger cannot be read.
    """
    tally = _Tally(stopped)
    identity = await ledger.identity()
    at_end = ExitStack()
    try:
        try:
            form = form_of(run, (await ledger.counts(run.id)).total)
            opened = await asyncio.to_thread(_open_files, run, form, folder, at_end)
            keys = _Keys(run.columns)
            async for rows in ledger.results(run.id):
                await asyncio.to_thread(_write, ledger.path, opened, rows, tally, keys)
            empty = _SOMETIMES - {FILES[word] for word in tally.counts}
            written = {name: file for name, file in opened.items() if name not in empty}
            files = {name.replace("-", "_"): str(file.path) for name, file in written.items()}
            files["summary"] = str(folder / f"{run.id}-summary.json")
            summary = tally.summary(run, seconds, files, unused_drafts)
            summary = structs.replace(summary, origin=_origin(run, form, keys))
            if identity is not None:
                summary = structs.replace(summary, ledger_id=identity.name, ledger_counter=identity.counter)
            await asyncio.to_thread(_finish, written.values(), summary, [opened[name].path for name in empty], at_end)
        finally:
            await asyncio.to_thread(at_end.close)  # in a thread: a slow disk must not hold the event loop
    except OSError as error:
        raise _unwritable(folder, error) from None
    return summary


async def count_results(
    ledger: Ledger, run: RunInfo, *, seconds: float = 0.0, unused_drafts: Sequence[str] = (), stopped: str = ""
) -> Summary:
    """Count a run's orders as `write_results` does, without writing files."""
    tally = _Tally(stopped)
    async for rows in ledger.results(run.id):
        await asyncio.to_thread(tally.take, rows)
    return tally.summary(run, seconds, {}, unused_drafts)


def try_folder(folder: Path, size: int) -> None:
    """Check that ``size`` bytes of result files can be written in a folder, which is made if absent; leaves no file."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=".gotsurge-")
        try:
            os.write(descriptor, b"\0" * _PROBE)
            if size > _PROBE and hasattr(os, "posix_fallocate"):
                _reserve(descriptor, size)
            files.sync(descriptor)
        finally:
            os.close(descriptor)
            Path(name).unlink()
    except OSError as error:
        raise _unwritable(folder, error) from None


class _Keys(KeyColumns):
    """The columns, and of the order's own names the fields, that contain the key of every order seen so far."""

    def __init__(self, columns: Sequence[str] | None) -> None:
        super().__init__(columns)
        self._names: Sequence[int] = range(len(_NAMES))

    def see(self, rows: Sequence[OrderRow]) -> bool:
        """Leave out columns and fields that do not contain the keys of some orders."""
        for row in rows:
            try:
                names = codec.decode_names(row.payload) if self._names else ()
            except ValueError:  # no name of a damaged order is known
                names = (None, None)
            self._names = [place for place in self._names if names[place] == row.key]
        return super().see(rows)

    @property
    def field(self) -> str | None:
        """The first of these fields; None if there is none."""
        return _NAMES[self._names[0]] if self._names else None


_NAMES = ("tracking_id", "invoice_number")


def _origin(run: RunInfo, form: Form, keys: _Keys) -> dict[str, str | None]:
    """The value of `Summary.origin`."""
    return {
        "environment": run.environment,
        "mode": run.mode.value,
        "source": run.source,
        "encoding": form.encoding,
        "key_column": keys.first,
        "key_case": keys.case,
        "key_field": keys.field,
    }


_PROBE = 4096
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _reserve(descriptor: int, size: int) -> None:
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno in _FULL:  # any other means that this file system cannot reserve
            raise


def _unwritable(folder: Path, error: OSError) -> ConfigError:
    return ConfigError(f"cannot write the result files in the folder {folder} ({error.strerror or error})", "E109")


# --- counting --------------------------------------------------------------------------------------------------------

_SHOWN_REASONS = 10
_MOST_REASONS = 1_000
"""The most reasons that are counted separately: a service may have another text for every order."""
_OTHERS = "other reasons"
_OWN_WORDS = pattern(r" \(request id [^)]*\)| ?\(\d+ attempts\)|\[\d+\]", re.IGNORECASE)
_OWN_ID = pattern(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE)
"""The parts of an error that name one order, or one call."""


@lru_cache(maxsize=1024)
def _common(error: str) -> str:
    """An error without the parts that differ from order to order."""
    return _OWN_ID.sub("…", _OWN_WORDS.sub("", error)).strip()


class _Tally:
    """Counts the outcomes of orders, and their reasons."""

    def __init__(self, stopped: str) -> None:
        self.counts: Counter[Word] = Counter()
        self._stopped = stopped
        self._reasons: Counter[tuple[Word, str]] = Counter()

    def take(self, rows: Sequence[OrderRow]) -> list[Word]:
        """Count some orders; returns the outcome of each."""
        words = [_WORDS[row.state] for row in rows]
        self.counts.update(words)
        if {*words} <= {*_DONE}:  # as nearly always
            return words
        for row, word in zip(rows, words, strict=True):
            if word not in _DONE:
                error = row.error or (self._stopped if word is Word.UNPROCESSED else "")
                reason = word, _common(error)
                if reason not in self._reasons and len(self._reasons) >= _MOST_REASONS:
                    reason = word, _OTHERS
                self._reasons[reason] += 1
        return words

    def summary(self, run: RunInfo, seconds: float, files: Mapping[str, str], unused_drafts: Sequence[str]) -> Summary:
        """The summary of all counted orders."""
        counted: dict[str, Any] = {word.value: self.counts[word] for word in FILES}
        left = run.options.get(LEFT_OUT) or {}
        return Summary(
            run=run.id,
            orders=self.counts.total(),
            **counted,
            left_out=left.get("rows", 0),
            left_out_file=left.get("file"),
            seconds=round(seconds, 3),
            orders_per_second=round(self.counts[Word.CREATED] / seconds, 1) if seconds else 0.0,
            files=files,
            reasons=tuple(self._top_reasons()),
            unused_drafts=tuple(unused_drafts),
        )

    def _top_reasons(self) -> Iterator[Reason]:
        for word in FILES:
            mine = ((why, n) for (of, why), n in self._reasons.most_common() if of is word)
            yield from (Reason(verdict=word.value, reason=why, count=n) for why, n in islice(mine, _SHOWN_REASONS))


# --- writing ---------------------------------------------------------------------------------------------------------


class _ResultFile:
    """A result file, in the form of its source."""

    def __init__(self, run: RunInfo, form: Form, path: Path, at_end: ExitStack) -> None:
        self.path = path
        self._file = WholeFile(path, at_end)
        self._width = len(run.columns or ())
        self._rows: Rows | None = None
        if run.columns is not None:
            self._rows = rows_of(form, self._file.stream)
            at_end.callback(self._rows.end)  # if the file is not put in place
            self._rows.put([[*run.columns, *FEEDBACK]])

    def put(self, rows: Iterable[tuple[OrderRow, Word]], ledger: str) -> None:
        """Write rows with their outcomes; ``ledger`` is named in the error for a damaged one."""
        lines: list[Any] = []
        for row, word in rows:
            try:
                lines.append(_json_line(row, word) if self._rows is None else self._cells(row, word))
            except (ValueError, TypeError):
                with reading_payload(ledger, row):
                    raise
        if self._rows is None:
            self._file.stream.write(b"".join(lines))
        else:
            self._rows.put(lines)

    def _cells(self, row: OrderRow, word: Word) -> list[str]:
        cells = decode_row(row.source)
        if len(cells) < self._width:
            cells += [""] * (self._width - len(cells))
        cells += (defused(row.task_id), word, defused(row.error) if row.error else "")
        return cells

    def put_in_place(self) -> None:
        """Finish the file, and rename it to its final name."""
        if self._rows is not None:
            self._rows.end()
        self._file.put_in_place()


def _open_files(run: RunInfo, form: Form, folder: Path, at_end: ExitStack) -> dict[str, _ResultFile]:
    folder.mkdir(parents=True, exist_ok=True)
    names, ending = dict.fromkeys(FILES.values()), ending_of(form)
    return {name: _ResultFile(run, form, folder / f"{run.id}-{name}.{ending}", at_end) for name in names}


def _json_line(row: OrderRow, word: Word) -> bytes:
    feedback = zip(FEEDBACK, (row.task_id or "", word, row.error or ""), strict=True)
    return msgspec.json.encode(_decode_fields(row.source) | dict(feedback)) + b"\n"


_decode_fields: Callable[[bytes], dict[str, Any]] = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _write(
    path: str, files: Mapping[str, _ResultFile], rows: Sequence[OrderRow], tally: _Tally, keys: KeyColumns
) -> None:
    lines: dict[str, list[tuple[OrderRow, Word]]] = {name: [] for name in files}
    for row, word in zip(rows, tally.take(rows), strict=True):
        lines[FILES[word]].append((row, word))
    for name, file in files.items():
        file.put(lines[name], path)
    keys.see(rows)


def _finish(files: Iterable[_ResultFile], summary: Summary, empty: Iterable[Path], at_end: ExitStack) -> None:
    """Put the files in place; remove those that are empty now, and had rows before."""
    whole = WholeFile(Path(summary.files["summary"]), at_end)
    whole.stream.write(json.dumps(msgspec.to_builtins(summary), indent=2).encode() + b"\n")
    for file in files:
        file.put_in_place()
    whole.put_in_place()
    for path in empty:
        path.unlink(missing_ok=True)
