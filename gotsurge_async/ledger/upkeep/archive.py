"""Takes orders out of a ledger: `gotsurge ledger archive` moves finished runs, ``export`` writes all as JSON Lines.

Nothing of an archived run is sent again, because its keys stay. The run is copied, and the copy is durable, before the
transaction ends that removes it from the ledger, and in which no other process changes it: wherever that ends, the
ledger or the archive has all of it, or both have. A ledger in a file is locked meanwhile: half a minute for a run of a
million orders, while others wait.

A run's row, states, keys and tasks stay in the ledger: a task that is recorded for one of its orders is not recorded
for another. The texts of its orders are in the archive alone: whether a later order differs from one of them, or is
similar to it, is not known any more.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO

import msgspec
from msgspec import Struct, field, structs

from gotsurge_async.calls.stream import chunks_of
from gotsurge_async.clock import to_microseconds
from gotsurge_async.database import Database, Kind, Place, Row, closed_on_error
from gotsurge_async.ledger.errors import LedgerError, LedgerUnusable, RunHeld, reading_payload
from gotsurge_async.ledger.ledger import Ledger
from gotsurge_async.ledger.sql import databases, pages, runs
from gotsurge_async.ledger.sql.chunks import Chunk, each_page
from gotsurge_async.ledger.sql.databases import ARCHIVE_OF, prepare
from gotsurge_async.ledger.sql.store import Backend
from gotsurge_async.ledger.states import (
    DOUBTFUL,
    LETTERS,
    OWNED_ELSEWHERE,
    UNFINISHED,
    Clock,
    OrderRow,
    OrderState,
    RunInfo,
    RunState,
    utc_now,
)
from gotsurge_async.ledger.upkeep.counter import Identity
from gotsurge_async.tables.checks.words import number_of

_FINAL = frozenset(
    LETTERS[state] for state in OWNED_ELSEWHERE | {OrderState.CREATED, OrderState.REFUSED, OrderState.CANCELLED}
)
_OWNED_ELSEWHERE = frozenset(LETTERS[state] for state in OWNED_ELSEWHERE)


class Archived(Struct, frozen=True, kw_only=True):
    """The result of `archive`."""

    file: str
    """The path of the archive."""
    runs: dict[str, int] = field(default_factory=dict)
    """The runs that were moved, each with the number of its orders."""
    left: dict[str, str] = field(default_factory=dict)
    """Finished runs that were not moved, each with the reason."""
    held: tuple[str, ...] = ()
    """The runs among these that another process has."""


class _NotFinished(LedgerError, code="E512"):
    """A run with an order that is not decided."""


async def archive(where: str | Path | Place, to: Path, *, before: datetime, clock: Clock = utc_now) -> Archived:
    """Move runs that were done before a moment into an archive, which is made if it is absent (mode 0600).

    Not moved are runs with orders in doubt, runs that another process has, and runs with a draft whose id is not known:
    if it turns up, the text of its order is needed.

    Args:
        to: the archive; one has runs of one ledger.
        before: aware.

    Raises:
        LedgerError: ``to`` is not an archive, or that of another ledger, or cannot be written.
        LedgerUnusable: the ledger cannot be read or written.
    """
    moment = to_microseconds(before)
    place = Place(Kind.SQLITE, to)
    done = Archived(file=str(place))
    copy: Database | None = None
    ledger = await Ledger.open(where, clock=clock)
    try:
        for (run_id,) in await ledger.read(lambda db: db.rows("archivable", before=moment)):
            try:
                async with await ledger.hold(run_id) as run:
                    if number := (await ledger.counts(run_id)).of(DOUBTFUL | UNFINISHED):
                        done.left[run_id] = f"{number_of(number, 'order is', 'orders are')} in doubt or not sent"
                        continue
                    if lost := await run.lost_drafts():
                        done.left[run_id] = f"{number_of(len(lost), 'order')} may have an unrecorded draft"
                        continue
                    if copy is None:
                        copy = await asyncio.to_thread(_opened, place, ledger.place, await ledger.identity())
                    into = Archive(place, copy, Backend(ledger.place))
                    info = await ledger.run(run_id)
                    done.runs[run_id] = await run._write(partial(_move, archive=into, info=info, now=ledger.stamp()))
            except RunHeld as error:
                done.left[run_id] = str(error)
                done = structs.replace(done, held=(*done.held, run_id))
            except _NotFinished as error:
                done.left[run_id] = error.words
        return done
    finally:
        await ledger.close()
        if copy is not None:
            await asyncio.to_thread(copy.close)


class Archive(Struct, frozen=True):
    """The open file of an archive, and the ledger whose runs it has."""

    place: Place
    db: Database
    ledger: Backend


def _opened(place: Place, ledger: Place, identity: Identity | None) -> Database:
    """Open an archive for writing; LedgerError if the file is a ledger, or the archive of another ledger."""
    if place.path.exists() and ledger.kind is Kind.SQLITE and place.path.samefile(ledger.path):
        raise LedgerError("cannot be its own archive", "E512", path=str(ledger))
    backend, ledger_id = Backend(place), 0 if identity is None else identity.id
    with backend.translated():
        db = backend.writing()
        with closed_on_error(db):
            db.begin()
            if not prepare(db, str(place)):
                db.change("remember", name=ARCHIVE_OF, value=ledger_id)
            if (ARCHIVE_OF, ledger_id) not in db.rows("meta"):
                raise LedgerError("is not an archive of this ledger: name another file", "E512", path=str(place))
            db.commit()
    return db


# --- one run, in one transaction of the ledger ------------------------------------------------------------------------


def _move(db: Database, archive: Archive, info: RunInfo, now: int) -> int:
    """Copy a run into the archive, durably, and remove it from the ledger; returns the number of its orders.

    Raises _NotFinished if an order is not decided; LedgerError if the archive cannot be written, the ledger being
    sound.
    """
    db.take_time()
    db.change("raise_epochs_of_run", run=info.number)  # it locks them: nobody else changes any from here on
    try:
        settled = _copy(db, archive, info, now)
    except BaseException as error:
        with suppress(Exception):
            archive.db.rollback()
        if isinstance(error, LedgerUnusable) and error.path == str(archive.place):
            raise LedgerError(error.args[0], path=error.path) from error
        raise
    for number, states in settled.items():
        db.change("settle_states", id=number, states=states)
    db.change("empty_bodies", run=info.number, nothing=b"")
    db.change("forget_notes_of_run", run=info.number)
    db.change("mark_archived", number=info.number, at=now, where=str(archive.place))
    return runs.counts(db, info.number).total


def _copy(db: Database, archive: Archive, info: RunInfo, now: int) -> dict[int, str]:
    """Copy a run, replacing an earlier copy; returns the states of the chunks that were settled for the archive."""
    into, written = archive.db, partial(databases.translated, archive.place.path)
    with written():
        into.begin()
        for number, *_ in into.rows("run", id=info.id):  # of a try that ended before its time
            for page in each_page(into, number, tasks=False):
                ids = into.listed(page)
                for statement in ("delete_bodies", "delete_results", "delete_notes", "delete_chunks"):
                    into.change(statement, chunks=ids)
            for statement in ("forget_unused", "forget_decisions", "delete_run"):
                into.change(statement, number=number)
        runs.begin(into, structs.replace(info, holder=None))
        number = runs.one(into, info.id).number
        finished_at = None if info.finished_at is None else to_microseconds(info.finished_at)
        into.change("set_run_state", number=number, state=info.state.value, finished_at=finished_at)
        into.change("mark_archived", number=number, at=now, where=None)
    settled: dict[int, str] = {}
    for rows, decided in _pages(db, archive.ledger, info, number):
        with written():
            for statement, some in rows.items():
                into.insert(statement, some)
        settled |= decided
    with written():
        into.commit()
    return settled


def _pages(
    db: Database, ledger: Backend, info: RunInfo, number: int
) -> Iterator[tuple[dict[str, list[Row]], dict[int, str]]]:
    """The rows of a run for an archive, by the statements that insert them, and the states of settled chunks.

    Raises _NotFinished if an order is not decided; LedgerError if the ledger cannot be read, or is damaged.
    """
    with ledger.translated():
        for chunks in each_page(db, info.number, bodies=True):
            ids = db.listed(chunks)
            results, notes = db.rows("results", ids=ids), db.rows("notes", ids=ids)
            changed = [chunk for chunk in chunks.values() if not _OWNED_ELSEWHERE.isdisjoint(chunk.states)]
            owners = pages.owners_of(db, info.environment, changed)
            for chunk in changed:
                _settle(chunk, owners)
                tasks = msgspec.json.encode([chunk.task(place) for place in range(len(chunk.states))]).decode()
                results = [row for row in results if row[0] != chunk.id]
                results += [(chunk.id, 0, None, tasks)] if chunk.tasks else []
                notes = [row for row in notes if row[0] != chunk.id]
                notes += [(chunk.id, place, *note) for place, note in chunk.notes.items()]
            if not all(_FINAL.issuperset(chunk.states) for chunk in chunks.values()):
                raise _NotFinished("some of its orders are in doubt, or were not sent")
            # The claims of it are over, so epochs mean nothing there.
            states = {chunk.id: "".join(chunk.states) for chunk in chunks.values()}
            mine = [(c.id, number, 0, c.claimed_at, c.updated_at, states[c.id], c.open_until) for c in chunks.values()]
            bodies = db.rows("bodies", ids=ids)
            rows = {"archive_chunks": mine, "add_bodies": bodies, "add_results": results, "note": notes}
            yield rows, {chunk.id: states[chunk.id] for chunk in changed}
        unused = [(task, number, *rest) for task, *rest in db.rows("unused_drafts", run=info.number)]
        decisions = [(number, *decision) for decision in db.rows("decisions", run=info.number)]
        yield {"add_unused": unused, "add_decisions": decisions}, {}


def _settle(chunk: Chunk, owners: Mapping[str, pages.Owner]) -> None:
    """Store the outcome of orders whose keys other runs have, since an archive does not have those runs."""
    for place, row in enumerate(pages.rows_of(chunk, owners, standing=True)):
        if chunk.state(place) in OWNED_ELSEWHERE:
            chunk.states[place] = LETTERS[row.state]
            chunk.tasks.pop(place, None)
            if row.task_id is not None:
                chunk.tasks[place] = (row.task_id, None)
            chunk.note(place, status=row.status, error=row.error)
        else:
            chunk.note(place, status=chunk.status(place))  # of each: it may have been that of a whole answer


# --- export -----------------------------------------------------------------------------------------------------------

_BLOCK = 500
_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Exported(Struct, frozen=True, kw_only=True):
    """The result of an export: the number of orders, one a line, and of their runs.

    ``archived`` are the runs that were not written, each with the file that has its orders.
    """

    orders: int = 0
    runs: int = 0
    archived: dict[str, str] = field(default_factory=dict)


async def export(ledger: Ledger, to: IO[bytes]) -> Exported:
    """Write all admitted orders, the oldest run first, one object a line; memory stays flat.

    Each order is as it is when it is read; a push may continue meanwhile. An object has ``run``, ``environment``,
    ``line``, ``key``, ``state`` (a word of `OrderState`), ``task_id``, ``status`` and ``error`` or null, ``claimed_at``
    or null and ``updated_at`` as UTC times, and ``payload``, the order as it is sent. LedgerUnusable names a damaged
    one.
    """
    orders = runs = 0
    archived: dict[str, str] = {}
    for info in reversed(await ledger.runs()):
        if info.archived_in is not None:
            archived[info.id] = info.archived_in
        elif info.state is not RunState.LOADING:
            runs += 1
            async for lines in _lines(ledger, info):
                orders += len(lines)
                to.write(b"".join(lines))
    return Exported(orders=orders, runs=runs, archived=archived)


async def _lines(ledger: Ledger, info: RunInfo) -> AsyncIterator[list[bytes]]:
    async for rows in chunks_of(ledger.rows(info.id), _BLOCK):
        yield [_line(ledger.path, info, row) for row in rows]


def _line(path: str, info: RunInfo, row: OrderRow) -> bytes:
    with reading_payload(path, row):
        payload = _object(row.payload)
        row.payload.decode()
    order = {
        "run": info.id,
        "environment": info.environment,
        "line": row.line,
        "key": row.key,
        "state": row.state.value,
        "task_id": row.task_id,
        "status": row.status,
        "error": row.error,
        "claimed_at": row.claimed_at,
        "updated_at": row.updated_at,
        "payload": payload,
    }
    return msgspec.json.encode(order) + b"\n"
