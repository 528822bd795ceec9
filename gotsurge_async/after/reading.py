"""Reads result files: rows that people filled in, the counts of a ledger, and runs that a ledger lost."""

import asyncio
import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice, product
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import Struct, field, structs

from gotsurge_async import codec
from gotsurge_async.after.lookup import Names
from gotsurge_async.errors import ConfigError, InvalidData, code_of
from gotsurge_async.ledger import Identity, Ledger, Mode, NewOrder, OrderRow, RunInfo, RunState
from gotsurge_async.ledger.errors import reading_payload
from gotsurge_async.ledger.sql.pages import READ_IN
from gotsurge_async.ledger.upkeep.older_copy import LostOrder, import_run, import_tasks
from gotsurge_async.push.load import FORM
from gotsurge_async.tables import Form
from gotsurge_async.tables.cells import decode_row, encode_row
from gotsurge_async.tables.fields import FEEDBACK
from gotsurge_async.tables.formats.lines import BadFile, Digested, Text

TASK_ID, STATUS, _ERROR = FEEDBACK
_DELIMITERS = (",", ";", "\t", "|")
_WORKBOOK = b"PK\x03\x04"
CASES: Mapping[str, Callable[[str], str]] = {"": str, "upper": str.upper, "lower": str.lower}
"""How the text of a column becomes the key: a map may have changed its case."""
_NEWEST = 50
"""The number of the newest summaries, by name, that are read for the ledger's counter."""


# --- rows ------------------------------------------------------------------------------------------------------------


class FilledRow(NamedTuple):
    """A row of a result file that a person may have filled in."""

    line: int
    key: str
    task_id: str
    status: str


class _Row(NamedTuple):
    """A row of a result file: its line, its values by column or field, and the row of the source that it repeats."""

    line: int
    values: Mapping[str, Any]
    source: bytes

    def text(self, name: str) -> str:
        """The value of a column, without spaces around it; "" if there is none."""
        return str(self.values.get(name) or "").strip()


def _read_rows(path: Path, encoding: str, delimiter: str | None) -> tuple[list[str] | None, Iterator[_Row]]:
    """The columns of a result file, None for JSON Lines, and its rows.

    A byte order mark takes precedence over ``encoding``, and a spreadsheet's delimiter over ``delimiter``, which is
    None for JSON Lines.
    """
    with path.open("rb") as stream:
        read = Digested(stream)
        if read.start().startswith(_WORKBOOK):
            from gotsurge_async.tables.formats.workbook import WorkbookGrid

            records = WorkbookGrid(read, "xlsx", None).records(lambda *_: None)
            return _table(iter([(record.line, record.with_rules) for record in records]))
        text = b"".join(line or b"" for line in Text(read, encoding).lines()).decode()
    return (None, _objects(path, text)) if delimiter is None else _table(_csv_records(text, delimiter))


def _csv_records(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The records of a CSV, each with its line; the header comes first, [] if there is none."""

    def records(of: str) -> Iterator[tuple[int, list[str]]]:
        reader, line = csv.reader(io.StringIO(text, newline=""), delimiter=of), 1
        for cells in reader:
            yield line, cells
            line = reader.line_num + 1

    for other in (delimiter, *_DELIMITERS):  # a spreadsheet may have chosen another one than the file had
        _, header = next(records(other), (1, []))
        if TASK_ID in map(str.strip, header):
            return records(other)
    return records(delimiter)


def _table(records: Iterator[tuple[int, list[str]]]) -> tuple[list[str], Iterator[_Row]]:
    """The columns of a table, and its rows that are not empty; the header is the first of the records."""
    _, header = next(records, (1, []))
    return header, _table_rows(header, records)


def _table_rows(header: list[str], records: Iterator[tuple[int, list[str]]]) -> Iterator[_Row]:
    names = [name.strip() for name in header]
    width = len([name for name in names if name not in FEEDBACK])
    for line, cells in records:
        if any(cells):
            whole = [*cells, *[""] * (len(names) - len(cells))]
            yield _Row(line, dict(zip(names, whole, strict=False)), encode_row(whole[:width]))


def _objects(path: Path, text: str) -> Iterator[_Row]:
    # Only line breaks end a line here: a text may hold other separators, such as U+2028.
    for line, record in enumerate(io.StringIO(text, newline=None), start=1):
        if not record.strip():
            continue
        try:
            values = msgspec.json.decode(record, type=dict[str, Any])
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise ConfigError(f"{path}:{line}: is not a JSON object: {error}", "E216") from None
        source = {name: value for name, value in values.items() if name not in FEEDBACK}
        yield _Row(line, values, msgspec.json.encode(source))


async def read_result_file(ledger: Ledger, run_id: str, path: Path) -> list[FilledRow]:
    """Read the rows of a run's result file; ConfigError if it cannot be read, or is not of this run."""
    info = await ledger.run(run_id)
    keys = KeyColumns(info.columns)
    async for row in ledger.rows(run_id):
        if not keys.see([row]):
            break
    try:
        return await asyncio.to_thread(_filled_rows, path, info, keys)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}", "E201") from None
    except BadFile as error:
        raise ConfigError(f"{path}: {error}", code_of(error)) from None


def _filled_rows(path: Path, info: RunInfo, keys: "KeyColumns") -> list[FilledRow]:
    form, key_column, key_of = form_of(info), keys.first, CASES[keys.case]
    columns, rows = _read_rows(path, form.encoding, None if info.columns is None else form.delimiter)
    if columns is not None:
        names = {name.strip() for name in columns}
        if not {TASK_ID, STATUS} <= names:
            why = f"{path}: give the in-doubt file of run {info.id}, with its columns {TASK_ID} and {STATUS}"
            raise ConfigError(why, "E611")
        if key_column is not None and key_column not in names:
            raise ConfigError(f"{path}: the column that identifies the orders of run {info.id} is missing", "E611")
    if key_column is None:
        raise ConfigError(f"{path}: no column identifies the orders of this run", "E611")
    return [FilledRow(row.line, key_of(row.text(key_column)), row.text(TASK_ID), row.text(STATUS)) for row in rows]


# --- summaries -------------------------------------------------------------------------------------------------------


class _Summary(msgspec.Struct):
    run: str = ""
    files: dict[str, str] = {}
    ledger_id: str = ""
    ledger_counter: int = 0
    created: int = 0
    origin: dict[str, Any] = {}


class _Origin(msgspec.Struct):
    environment: str
    mode: Mode
    source: str
    encoding: str
    key_column: str
    key_field: str | None
    key_case: Literal["", "upper", "lower"] = ""


def _summaries(folder: Path, ledger_id: str, newest: int | None = None) -> list[tuple[Path, _Summary]]:
    """The summaries of a ledger's runs in a folder, the ``newest`` first, without foreign or incomplete files."""
    summaries: list[tuple[Path, _Summary]] = []
    try:
        paths = sorted(folder.glob("*-summary.json"), reverse=True)
    except OSError:
        return summaries
    for path in islice(paths, newest):
        try:
            summary = msgspec.json.decode(path.read_bytes(), type=_Summary)
        except (OSError, ValueError):
            continue
        if summary.ledger_id == ledger_id:
            summaries.append((path, summary))
    return summaries


async def refuse_older(ledger: Ledger, folder: Path) -> None:
    """Raise LedgerOlder if the summaries in a folder have a higher count than the ledger."""
    identity = await ledger.identity()
    if identity is not None:
        newest, where = await asyncio.to_thread(newest_in, folder, identity.name)
        await ledger.refuse_older(Identity(identity.id, newest), where)


def newest_in(folder: Path, ledger_id: str) -> tuple[int, str]:
    """The highest counter in the summaries of a ledger, and the file that contains it; 0 and "" if there is none."""
    counters = [(summary.ledger_counter, str(path)) for path, summary in _summaries(folder, ledger_id, _NEWEST)]
    return max(counters, key=lambda counter: counter[0], default=(0, ""))


def runs_in(folder: Path, ledger_id: str) -> list[tuple[str, Path]]:
    """The runs of a ledger for which a folder has a summary with created orders, oldest first, each with its file."""
    return [
        (path.name.removesuffix("-summary.json"), path)
        for path, summary in reversed(_summaries(folder, ledger_id))
        if summary.created
    ]


# --- runs that an older copy of the ledger does not know -------------------------------------------------------------

_WINDOW = "from_time_window"
_NAMES = ("tracking_id", "invoice_number", "group_tag", _WINDOW)
_EDGES = ("start_time_utc", "end_time_utc")


class Imported(Struct, frozen=True, kw_only=True):
    """The result of an import.

    Attributes:
        runs: the runs, each with the number of its orders that are in doubt now, and mostly have a task to read.
        unreadable: files of runs that the ledger does not know and that could not be imported, each with the reason.
    """

    runs: Mapping[str, int] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)


async def import_lost_runs(ledger: Ledger, folder: Path) -> Imported:
    """Import the runs of a ledger that it does not know, from their result files in a folder.

    All their orders are in doubt. Those that ``RUN-created`` lists as created have their tasks, and are settled by a
    read. Orders of a known run that are in doubt since an older copy was accepted get their tasks as well.
    """
    identity = await ledger.identity()
    if identity is None:
        return Imported()
    known = {info.id: info for info in await ledger.runs()}
    runs: dict[str, int] = {}
    unreadable: dict[str, str] = {}
    # The newest first: of the runs that created an order, the last one has it.
    for path, summary in await asyncio.to_thread(_summaries, folder, identity.name):
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
                runs[summary.run] = number
    return Imported(runs=runs, unreadable=unreadable)


def _read_run(path: Path, summary: _Summary) -> tuple[RunInfo, list[LostOrder]]:
    """Read a run and its orders from its result files."""
    if summary.origin.get("key_column") is None:
        raise ValueError("the summary does not say where the run was sent, or which column has the keys")
    origin = msgspec.convert(summary.origin, _Origin)
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
        header, rows = _read_rows(file, origin.encoding, delimiter)
        if header is not None:
            columns = tuple(column for column in header if column not in FEEDBACK)
        for row in rows:
            if (lost := _lost_order(row, origin, len(orders) + 1)) is not None:
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
        options={READ_IN: str(path), FORM: {**form, "encoding": origin.encoding}},
        holder=None,
        finished_at=None,
    )
    return info, orders


def _begun(run_id: str) -> datetime:
    """The time when a run was begun, with which its id starts."""
    return datetime.strptime(run_id.partition("-")[0], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)


def _lost_order(row: _Row, origin: _Origin, line: int) -> LostOrder | None:
    """An order that the run created, or left in doubt; None if another run has its key."""
    task_id, status, error = row.text(TASK_ID), row.text(STATUS), row.text(_ERROR)
    if status not in ("created", "in_doubt"):
        return None
    key = CASES[origin.key_case](row.text(origin.key_column))
    names = {name: row.values[name] for name in _NAMES if row.values.get(name)}
    edges = [row.values.get(f"{_WINDOW}.{edge}") for edge in _EDGES]
    if all(edges):
        names[_WINDOW] = dict(zip(_EDGES, edges, strict=True))
    if origin.key_field:
        names[origin.key_field] = key
    payload = msgspec.json.encode(names)
    try:
        codec.parse(payload, Names)
    except InvalidData:  # the names are in other columns, or a time is written in another way
        payload = msgspec.json.encode({origin.key_field: key} if origin.key_field else {})
    created = status == "created" and bool(task_id)
    return LostOrder(NewOrder(line, key, payload, row.source), task_id if created else None, "" if created else error)


# --- the form of result files -----------------------------------------------------------------------------------------


class KeyColumns:
    """The columns, or fields, that contain the key of every order seen so far, or a text that differs only in its case.

    Each order of a run must be seen: a column that has the keys of many orders may have that of another order, too.
    """

    def __init__(self, columns: Sequence[str] | None) -> None:
        self._columns = columns
        self._left: list[tuple[str, Any]] | None = None if columns is None else _each_case(range(len(columns)))
        """The places of the columns, or the names of the fields, each with the case that gives the key; None before
        the first order shows which fields there are."""

    def see(self, rows: Sequence[OrderRow]) -> bool:
        """Leave out columns that do not contain the keys of some orders; returns whether any is left."""
        for row in rows:
            try:
                self._left = self._with_key_of(row)
            except (ValueError, TypeError):
                with reading_payload("", row):
                    raise
        return bool(self._left)

    def _with_key_of(self, row: OrderRow) -> list[tuple[str, Any]]:
        key, left = row.key, self._left
        if left is not None and not left:
            return []
        if self._columns is None:
            record = msgspec.json.decode(row.source_row or row.payload, type=dict[str, Any])
            left = _each_case(record) if left is None else left
            return [(case, name) for case, name in left if CASES[case](str(record.get(name)).strip()) == key]
        cells = decode_row(row.source_row or b"[]")
        return [
            (case, place)
            for case, place in left or ()
            if place < len(cells) and CASES[case](cells[place].strip()) == key
        ]

    @property
    def first(self) -> str | None:
        """The first of these columns, one whose text is the key if there is any; None if there is none, or no order."""
        if not self._left:
            return None
        place = self._left[0][1]
        return str(place) if self._columns is None else self._columns[int(place)]

    @property
    def case(self) -> str:
        """The case of `CASES` in which the text of the first column is the key."""
        return self._left[0][0] if self._left else ""


def _each_case(places: Iterable[Any]) -> list[tuple[str, Any]]:
    return [*product(CASES, places)]


def form_of(run: RunInfo, orders: int = 0) -> Form:
    """The form of the result files of a run with so many orders: that of its source, if it can be written.

    Rows from cells that have types (a workbook, Parquet or a database) become a workbook again, so that a number stays
    one; without the library, or with too many rows, a CSV in UTF-8.
    """
    if run.columns is None:
        return Form(format="jsonl")
    options = run.options.get(FORM)
    if options is None:
        return Form(delimiter=run.options.get("delimiter") or ",")
    form = msgspec.convert(options, Form)
    return structs.replace(form, packed=False) if form.is_text else Form.of_types(orders, form.sheet)
