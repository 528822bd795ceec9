"""Runs that an older copy of the ledger does not know, read in from their result files."""

import asyncio
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import msgspec

from gotsurge_async import codec
from gotsurge_async.bulk.after.lookup import Names
from gotsurge_async.bulk.after.resolve import read_result_file
from gotsurge_async.bulk.ledger import Ledger, Mode, NewOrder, RunInfo, RunState
from gotsurge_async.bulk.ledger.upkeep.older_copy import LostOrder, import_run, import_tasks
from gotsurge_async.bulk.send.load import FORM
from gotsurge_async.bulk.sources.cells import encode_row
from gotsurge_async.bulk.sources.fields import FEEDBACK
from gotsurge_async.bulk.sources.lines import BadFile
from gotsurge_async.errors import InvalidData

_WINDOW = "from_time_window"
_NAMES = ("tracking_id", "invoice_number", "group_tag", _WINDOW)
_EDGES = ("start_time_utc", "end_time_utc")


@attrs.frozen(kw_only=True)
class Imported:
    """What was read in.

    Attributes:
        runs: the runs, each with the number of its orders that are in doubt now, and mostly have a task to read.
        unreadable: files of runs that the ledger does not know and that could not be read in, each with the reason.
    """

    runs: Mapping[str, int] = attrs.field(factory=dict)
    unreadable: Mapping[str, str] = attrs.field(factory=dict)


class _Origin(msgspec.Struct):
    environment: str
    mode: Mode
    source: str
    encoding: str
    key_column: str | None
    key_field: str | None


class _Summary(msgspec.Struct):
    run: str
    files: dict[str, str]
    ledger_id: str = ""
    origin: _Origin | None = None


async def import_lost_runs(ledger: Ledger, folder: Path) -> Imported:
    """Read in the runs of a ledger whose result files are in a folder, and which the ledger does not know.

    All their orders are in doubt. Those that ``RUN-created`` says were created have their tasks, and are settled by a
    read. Orders of a known run that are in doubt since an older copy was accepted are given their tasks as well.

    Raises:
        LedgerError: the ledger fails.
    """
    identity = await ledger.identity()
    known = {info.id: info for info in await ledger.runs()}
    done: dict[str, int] = {}
    unreadable: dict[str, str] = {}
    # The newest first: of the runs that created an order, the last one has it.
    for path in await asyncio.to_thread(lambda: sorted(folder.glob("*-summary.json"), reverse=True)):
        summary = await asyncio.to_thread(_read_summary, path)
        if summary is None or identity is None or summary.ledger_id != identity.name:
            continue
        mine = known.get(summary.run)
        if mine is not None and (mine.archived_in or not (await ledger.counts(mine.id)).in_doubt):
            continue
        try:
            info, orders = await asyncio.to_thread(_read_run, path, summary)
            number = await (import_run(ledger, info, orders) if mine is None else import_tasks(ledger, mine, orders))
        except (OSError, ValueError, BadFile, InvalidData) as error:
            unreadable[str(path)] = getattr(error, "strerror", None) or str(error)
        else:
            if number:
                done[summary.run] = number
    return Imported(runs=done, unreadable=unreadable)


def _read_summary(path: Path) -> _Summary | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Summary)
    except (OSError, ValueError):  # not ours, or not whole
        return None


def _read_run(path: Path, summary: _Summary) -> tuple[RunInfo, list[LostOrder]]:
    """A run and its orders.

    Raises:
        OSError, ValueError, BadFile, InvalidData: they cannot be read.
    """
    origin = summary.origin
    if origin is None or origin.key_column is None:
        raise ValueError("the summary does not say where the run went, and which column has the keys")
    orders: list[LostOrder] = []
    columns: tuple[str, ...] | None = None
    form: dict[str, Any] = {}
    for name in ("created", "in_doubt"):
        if name not in summary.files:
            continue
        file = path.parent / Path(summary.files[name]).name
        ending = file.suffix.removeprefix(".")
        delimiter = {"jsonl": None, "tsv": "\t"}.get(ending, ",")
        form = {"format": "csv" if ending == "tsv" else ending, "delimiter": delimiter or ","}
        read = read_result_file(file, origin.encoding, delimiter)
        rows = _json_rows(read) if isinstance(read, str) else _table_rows(read)
        if not isinstance(read, str):
            columns = tuple(cell for cell in read[0][1] if cell not in FEEDBACK)
        for record, source in rows:
            if (lost := _order(record, source, origin, len(orders) + 1)) is not None:
                orders.append(lost)
    info = RunInfo(
        id=summary.run,
        created_at=_begun(summary.run),
        state=RunState.DONE,
        environment=origin.environment,
        mode=origin.mode,
        source=origin.source,
        source_sha256=None,
        columns=columns,
        options={"read_in_from": str(path), FORM: {**form, "encoding": origin.encoding}},
        holder=None,
        finished_at=None,
    )
    return info, orders


def _begun(run_id: str) -> datetime:
    """When a run was begun, which is the beginning of its id."""
    return datetime.strptime(run_id.partition("-")[0], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)


def _table_rows(records: list[tuple[int, list[str]]]) -> Iterator[tuple[Mapping[str, Any], bytes]]:
    """The rows of a table by their columns, each with the row of the source."""
    header = [name.strip() for name in records[0][1]] if records else []
    width = len([name for name in header if name not in FEEDBACK])
    for _, cells in records[1:]:
        if any(cells):
            whole = [*cells, *[""] * (len(header) - len(cells))]
            record: dict[str, Any] = {name: cell for name, cell in zip(header, whole, strict=False) if cell}
            edges = [record.get(f"{_WINDOW}.{edge}") for edge in _EDGES]
            if all(edges):
                record[_WINDOW] = dict(zip(_EDGES, edges, strict=True))
            yield record, encode_row(whole[:width])


def _json_rows(text: str) -> Iterator[tuple[Mapping[str, Any], bytes]]:
    for line in text.splitlines():
        if line.strip():
            record = msgspec.json.decode(line, type=dict[str, Any])
            yield record, msgspec.json.encode({name: value for name, value in record.items() if name not in FEEDBACK})


def _order(record: Mapping[str, Any], source: bytes, origin: _Origin, line: int) -> LostOrder | None:
    """An order that the run created, or left in doubt; None if another run has its key."""
    task_id, status, error = (str(record.get(name) or "").strip() for name in FEEDBACK)
    if status not in ("created", "in_doubt"):
        return None
    key = str(record.get(origin.key_column or "") or "").strip()
    names = {name: record[name] for name in _NAMES if record.get(name)}
    if origin.key_field:
        names[origin.key_field] = key
    payload = msgspec.json.encode(names)
    try:
        codec.parse(payload, Names)
    except InvalidData:  # the names are in other columns, or a time is written in another way
        payload = msgspec.json.encode({origin.key_field: key} if origin.key_field else {})
    created = status == "created" and bool(task_id)
    return LostOrder(NewOrder(line, key, payload, source), task_id if created else None, "" if created else error)
