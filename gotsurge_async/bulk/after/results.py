"""Result files: each row of the source in exactly one of them, with what became of it."""

import asyncio
import errno
import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from enum import StrEnum
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import IO, Any

import attrs
import msgspec

from gotsurge_async.bulk.ledger import Ledger, OrderState, ResultRow, RunInfo, Word, word_of
from gotsurge_async.bulk.ledger.errors import reading_payload
from gotsurge_async.bulk.sources.fields import FEEDBACK
from gotsurge_async.errors import ConfigError


class Verdict(StrEnum):
    """What became of an order, in the words of the summary."""

    CREATED = Word.CREATED.value
    ALREADY_PUSHED = Word.ALREADY_PUSHED.value
    REFUSED = Word.REFUSED.value
    CANCELLED = Word.CANCELLED.value
    CHANGED = Word.CHANGED.value
    UNPROCESSED = Word.UNPROCESSED.value
    IN_DOUBT = Word.IN_DOUBT.value


_DONE = (Verdict.CREATED, Verdict.ALREADY_PUSHED)

FILES = {
    Verdict.CREATED: "success",
    Verdict.ALREADY_PUSHED: "success",
    Verdict.REFUSED: "failed",
    Verdict.UNPROCESSED: "unprocessed",
    Verdict.IN_DOUBT: "in-doubt",
    Verdict.CANCELLED: "cancelled",
    Verdict.CHANGED: "changed",
}
"""The file in which an order stands."""

_SOMETIMES = frozenset({FILES[Verdict.CANCELLED], FILES[Verdict.CHANGED]})
"""Files that are there only when they have rows."""

_VERDICTS: Mapping[str, Verdict] = {state: Verdict(word_of(state)) for state in OrderState}


def verdict_of(row: ResultRow) -> Verdict:
    """What became of an order; one whose key is in doubt in another run is in doubt here too."""
    return _VERDICTS[row.state]


@attrs.frozen(kw_only=True)
class Reason:
    """Why some orders of a run were not created."""

    verdict: str
    """The value of a `Verdict`."""
    reason: str
    """What was said of each of them, without what differs from one to the next; "" where nothing was said."""
    count: int


@attrs.frozen(kw_only=True)
class Summary:
    """How a run ended: counts of orders, and ``seconds``, which are those of the sending."""

    run: str
    orders: int
    created: int
    refused: int
    in_doubt: int
    unprocessed: int
    already_pushed: int
    cancelled: int
    changed: int
    seconds: float
    orders_per_second: float
    files: Mapping[str, str]
    """success, failed, unprocessed, in_doubt and summary, and where there are such orders cancelled and changed: where
    the result files are; empty if none were written."""
    reasons: Sequence[Reason] = ()
    """Why orders were not created: for each verdict the most frequent reasons first, at most ten."""
    unused_drafts: Sequence[str] = ()
    """Task ids of drafts that no order will be broadcast by (two-phase): no driver knows of them, and nobody will."""
    ledger_id: str = ""
    """Which ledger has the run."""
    ledger_counter: int = 0
    """How many admissions and claims it counted: one that counts less is an older copy."""


async def write_results(
    ledger: Ledger,
    run: RunInfo,
    folder: Path,
    *,
    seconds: float = 0.0,
    unused_drafts: Sequence[str] = (),
    stopped: str = "",
) -> Summary:
    """Write the result files of a run, and count.

    ``RUN-success``, ``RUN-failed``, ``RUN-unprocessed`` and ``RUN-in-doubt`` hold the rows as they were read, with
    gs_task_id, gs_status and gs_error: as CSV for a CSV source and as JSON Lines otherwise; ``RUN-cancelled`` and
    ``RUN-changed`` are there when they have rows. All but the in-doubt file can be pushed again. ``RUN-summary.json``
    holds the `Summary`. Files have mode 0600, and appear whole or not at all.

    Args:
        stopped: why the sending ended early, for orders of which nothing else is known.

    Raises:
        ConfigError: the folder cannot be written.
        LedgerError: the ledger cannot be read.
    """
    tally = _Tally(stopped)
    identity = await ledger.identity()
    try:
        async with _undoing() as undo:
            writers = await asyncio.to_thread(_open_writers, run, folder, undo)
            async for rows in ledger.results(run.id):
                await asyncio.to_thread(_write, ledger.path, writers, rows, tally)
            absent = _SOMETIMES - {FILES[verdict] for verdict in tally.verdicts}
            written = {name: writer for name, writer in writers.items() if name not in absent}
            files = {name.replace("-", "_"): str(writer.path) for name, writer in written.items()}
            files["summary"] = str(folder / f"{run.id}-summary.json")
            summary = tally.summary(run, seconds, files, unused_drafts)
            if identity is not None:
                summary = attrs.evolve(summary, ledger_id=identity.name, ledger_counter=identity.counter)
            await asyncio.to_thread(_finish, written, summary, undo)
            await asyncio.to_thread(_remove, [writers[name].path for name in absent])
    except OSError as error:
        raise _unwritable(folder, error) from None
    return summary


async def count_results(
    ledger: Ledger, run: RunInfo, *, seconds: float = 0.0, unused_drafts: Sequence[str] = (), stopped: str = ""
) -> Summary:
    """The summary that `write_results` gives, and no files.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    tally = _Tally(stopped)
    async for rows in ledger.results(run.id):
        await asyncio.to_thread(tally.take, rows)
    return tally.summary(run, seconds, {}, unused_drafts)


def try_folder(folder: Path, size: int) -> None:
    """See that result files can be written in a folder, which is made if it is absent; nothing is left in it.

    Args:
        size: bytes for which there should be room.

    Raises:
        ConfigError: they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=".gotsurge-")
        try:
            os.write(descriptor, b"\0" * _PROBE)
            if size > _PROBE and hasattr(os, "posix_fallocate"):
                _reserve(descriptor, size)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
            Path(name).unlink()
    except OSError as error:
        raise _unwritable(folder, error) from None


_PROBE = 4096
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _reserve(descriptor: int, size: int) -> None:
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno in _FULL:  # any other says that this file system cannot reserve
            raise


def _unwritable(folder: Path, error: OSError) -> ConfigError:
    return ConfigError(f"cannot write the result files in {folder}: {error.strerror or error}")


# --- counting --------------------------------------------------------------------------------------------------------

_SHOWN_REASONS = 10
_MOST_REASONS = 1_000
"""Different reasons that are counted apart: a service may say something else of every order."""
_OTHERS = "other reasons"
_OWN_WORDS = re.compile(r" \(request id [^)]*\)| ?\(\d+ attempts\)|\[\d+\]", re.IGNORECASE)
_OWN_ID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE)
"""What an error says of one order, or of one call, alone."""


@lru_cache(maxsize=1024)
def _common(error: str) -> str:
    """An error without what differs from one order to the next."""
    return _OWN_ID.sub("…", _OWN_WORDS.sub("", error)).strip()


class _Tally:
    """Counts what became of orders, and why."""

    def __init__(self, stopped: str) -> None:
        self._stopped = stopped
        self._counts: Counter[Verdict] = Counter()
        self._reasons: Counter[tuple[Verdict, str]] = Counter()

    @property
    def verdicts(self) -> frozenset[Verdict]:
        """Those that there were."""
        return frozenset(self._counts)

    def take(self, rows: Sequence[ResultRow]) -> list[Verdict]:
        """Count some orders; what became of each is returned."""
        verdicts = [verdict_of(row) for row in rows]
        self._counts.update(verdicts)
        for row, verdict in zip(rows, verdicts, strict=True):
            if verdict not in _DONE:
                said = row.error or (self._stopped if verdict is Verdict.UNPROCESSED else "")
                reason = verdict, _common(said)
                if reason not in self._reasons and len(self._reasons) >= _MOST_REASONS:
                    reason = verdict, _OTHERS
                self._reasons[reason] += 1
        return verdicts

    def summary(self, run: RunInfo, seconds: float, files: Mapping[str, str], unused_drafts: Sequence[str]) -> Summary:
        """All that was counted."""
        counts = self._counts
        return Summary(
            run=run.id,
            orders=counts.total(),
            created=counts[Verdict.CREATED],
            refused=counts[Verdict.REFUSED],
            in_doubt=counts[Verdict.IN_DOUBT],
            unprocessed=counts[Verdict.UNPROCESSED],
            already_pushed=counts[Verdict.ALREADY_PUSHED],
            cancelled=counts[Verdict.CANCELLED],
            changed=counts[Verdict.CHANGED],
            seconds=round(seconds, 3),
            orders_per_second=round(counts[Verdict.CREATED] / seconds, 1) if seconds else 0.0,
            files=files,
            reasons=tuple(self._top_reasons()),
            unused_drafts=tuple(unused_drafts),
        )

    def _top_reasons(self) -> Iterator[Reason]:
        for verdict in Verdict:
            mine = ((why, n) for (of, why), n in self._reasons.most_common() if of is verdict)
            yield from (Reason(verdict=verdict.value, reason=why, count=n) for why, n in islice(mine, _SHOWN_REASONS))


@asynccontextmanager
async def _undoing() -> AsyncIterator[ExitStack]:
    """What is to be closed and removed in the end, in a thread: a slow disk must not hold the event loop."""
    undo = ExitStack()
    try:
        yield undo
    finally:
        await asyncio.to_thread(undo.close)


class _File:
    """A file that is written beside its place, and put there when it is whole."""

    def __init__(self, path: Path, undo: ExitStack) -> None:
        self.path = path
        descriptor, self._temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
        undo.callback(Path(self._temporary).unlink, missing_ok=True)
        self.stream: IO[bytes] = os.fdopen(descriptor, "wb")
        undo.callback(self.stream.close)

    def put_in_place(self) -> None:
        """Close the file, and give it its name."""
        self.stream.close()
        Path(self._temporary).replace(self.path)


class _Writer(_File):
    """Writes rows of one kind of source."""

    def begin(self) -> None:
        """Write what stands above the rows."""

    def encode(self, row: ResultRow, verdict: Verdict) -> bytes:
        """One row, with what became of it."""
        raise NotImplementedError


class _CsvWriter(_Writer):
    def __init__(self, path: Path, undo: ExitStack, columns: Sequence[str], delimiter: str) -> None:
        super().__init__(path, undo)
        self._columns = columns
        self._delimiter = delimiter

    def begin(self) -> None:
        self.stream.write(csv_line([*self._columns, *FEEDBACK], self._delimiter))

    def encode(self, row: ResultRow, verdict: Verdict) -> bytes:
        cells = _decode_cells(row.source)
        if len(cells) < len(self._columns):
            cells += [""] * (len(self._columns) - len(cells))
        cells += (_defused(row.task_id), verdict, _defused(row.error))
        return csv_line(cells, self._delimiter)


class _JsonWriter(_Writer):
    def encode(self, row: ResultRow, verdict: Verdict) -> bytes:
        tree = _decode_fields(row.source)
        told = zip(FEEDBACK, (row.task_id or "", verdict, row.error or ""), strict=True)
        return msgspec.json.encode(tree | dict(told)) + b"\n"


_QUOTE, _TWO_QUOTES = '"', '""'
_decode_cells = msgspec.json.Decoder(list[str]).decode
_decode_fields: Callable[[bytes], dict[str, Any]] = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def csv_line(cells: Sequence[str], delimiter: str) -> bytes:
    """A row of at least two cells as `csv.writer` writes it, which looks at each character and takes twice as long."""
    line = delimiter.join(cells)
    if '"' in line or "\n" in line or "\r" in line:
        line = delimiter.join(
            [
                f'"{cell.replace(_QUOTE, _TWO_QUOTES)}"'
                if delimiter in cell or '"' in cell or "\n" in cell or "\r" in cell
                else cell
                for cell in cells
            ]
        )
    elif line.count(delimiter) >= len(cells):
        line = delimiter.join([f'"{cell}"' if delimiter in cell else cell for cell in cells])
    return f"{line}\r\n".encode()


def _defused(text: str | None) -> str:
    """Text of the service, in a cell that a spreadsheet does not take for a formula."""
    if not text:
        return ""
    return f" {text}" if text[0] in "=+-@" else text


def _open_writers(run: RunInfo, folder: Path, undo: ExitStack) -> dict[str, _Writer]:
    folder.mkdir(parents=True, exist_ok=True)
    writers: dict[str, _Writer] = {}
    for name in dict.fromkeys(FILES.values()):
        if run.columns is not None:
            path = folder / f"{run.id}-{name}.csv"
            writers[name] = _CsvWriter(path, undo, run.columns, run.options.get("delimiter") or ",")
        else:
            writers[name] = _JsonWriter(folder / f"{run.id}-{name}.jsonl", undo)
        writers[name].begin()
    return writers


def _write(path: str, writers: Mapping[str, _Writer], rows: Sequence[ResultRow], tally: _Tally) -> None:
    lines: dict[str, list[bytes]] = {name: [] for name in writers}
    for row, verdict in zip(rows, tally.take(rows), strict=True):
        name = FILES[verdict]
        try:
            lines[name].append(writers[name].encode(row, verdict))
        except (ValueError, TypeError):
            with reading_payload(path, row):
                raise
    for name, writer in writers.items():
        writer.stream.write(b"".join(lines[name]))


def _finish(writers: Mapping[str, _Writer], summary: Summary, undo: ExitStack) -> None:
    told = _File(Path(summary.files["summary"]), undo)
    told.stream.write(json.dumps(attrs.asdict(summary), indent=2).encode() + b"\n")
    for file in (*writers.values(), told):
        file.put_in_place()


def _remove(paths: Sequence[Path]) -> None:
    """Remove files of an earlier time, when they had rows."""
    for path in paths:
        path.unlink(missing_ok=True)
