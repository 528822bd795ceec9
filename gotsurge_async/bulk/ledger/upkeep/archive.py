"""Finished runs into a file of their own: `gotsurge ledger archive`. Their keys stay, so nothing of them is sent again.

A run is copied, and the copy is durable, before anything of it is taken out of the ledger. That is done by one
transaction, which holds the copy against the run once more: wherever it ends, the ledger or the archive has all of it,
or both have.

What stays of a run in the ledger are its row, its states, its keys and its tasks: a task that is recorded for one of
its orders is not recorded for another. What its orders say is in the archive alone: that an order differs from the one
that was pushed under its key, or looks like it, cannot be told any more.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path

import msgspec
from attrs import evolve, field, frozen

from gotsurge_async.bulk.ledger.errors import LedgerError, RunHeld
from gotsurge_async.bulk.ledger.ledger import Ledger
from gotsurge_async.bulk.ledger.run import Run, fenced
from gotsurge_async.bulk.ledger.sql import pages, runs, sqlite
from gotsurge_async.bulk.ledger.sql.chunks import Chunk, chunks_of
from gotsurge_async.bulk.ledger.sql.marks import PAGE
from gotsurge_async.bulk.ledger.sql.schema import ARCHIVE_OF, prepare
from gotsurge_async.bulk.ledger.sql.store import Backend, Store
from gotsurge_async.bulk.ledger.states import (
    DOUBTFUL,
    LETTERS,
    OWNED_ELSEWHERE,
    UNFINISHED,
    Clock,
    OrderState,
    RunInfo,
    utc_now,
)
from gotsurge_async.bulk.ledger.upkeep.counter import identity_of
from gotsurge_async.clock import to_microseconds
from gotsurge_async.database import Database, Kind, Place, Row

TRIES = 3
"""How often a run is copied that is changed meanwhile: its keys may be pushed again, or taken back, by other runs."""

_FINAL = frozenset(
    LETTERS[state] for state in OWNED_ELSEWHERE | {OrderState.CREATED, OrderState.REFUSED, OrderState.CANCELLED}
)
_OWNED_ELSEWHERE = frozenset(LETTERS[state] for state in OWNED_ELSEWHERE)


@frozen(kw_only=True)
class Archived:
    """What was moved.

    Attributes:
        file: where it is now.
        runs: the runs, each with the number of its orders.
        left: finished runs that were left where they are, each with the reason.
        held: of these, the ones that another process has.
    """

    file: str
    runs: dict[str, int] = field(factory=dict)
    left: dict[str, str] = field(factory=dict)
    held: tuple[str, ...] = ()


class _NotFinished(LedgerError):
    """A run of which something is in doubt."""


async def archive(where: str | Path | Place, to: Path, *, before: datetime, clock: Clock = utc_now) -> Archived:
    """Move runs that are done, and were before a moment, into an archive, which is made if it is absent (mode 0600).

    Left are runs of which anything is in doubt, which another process has, or of which a draft may exist that nobody
    knows: what that draft says must be known, should it be found.

    Args:
        to: the archive; one has runs of one ledger.
        before: aware.

    Raises:
        LedgerError: ``to`` is not an archive, or that of another ledger.
        LedgerUnusable: one of both cannot be read or written.
    """
    moment = to_microseconds(before)
    place = Place(Kind.SQLITE, await asyncio.to_thread(to.absolute))
    done = Archived(file=str(place))
    copy: Database | None = None
    store = await Store.open(where, clock)
    try:
        ledger = Ledger(store)
        for run_id in await store.read(_older, moment):
            try:
                async with await ledger.hold(run_id) as run:
                    if number := (await ledger.counts(run_id)).of(DOUBTFUL | UNFINISHED):
                        done.left[run_id] = f"{number:,} of its orders are in doubt, or were not sent"
                        continue
                    if lost := await run.lost_drafts():
                        done.left[run_id] = f"of {len(lost):,} of its orders a draft may exist that nobody knows"
                        continue
                    if copy is None:
                        copy = await asyncio.to_thread(_opened, place, store.place, await store.read(_id_of))
                    done.runs[run_id] = await _move(store, Archive(place, copy), run)
            except RunHeld as error:
                done.left[run_id] = str(error)
                done = evolve(done, held=(*done.held, run_id))
            except _NotFinished as error:
                done.left[run_id] = error.words
        return done
    finally:
        await store.close()
        if copy is not None:
            await asyncio.to_thread(copy.close)


@frozen
class Archive:
    """The file, open."""

    place: Place
    db: Database


def _older(db: Database, before: int) -> list[str]:
    return [run_id for (run_id,) in db.rows("archivable", before=before)]


def _id_of(db: Database) -> int:
    identity = identity_of(db)
    return 0 if identity is None else identity.id


def _opened(place: Place, ledger: Place, ledger_id: int) -> Database:
    """A connection that writes an archive.

    Raises:
        LedgerError: it is the ledger, another one, or the archive of another one.
    """
    if place.path.exists() and ledger.kind is Kind.SQLITE and place.path.samefile(ledger.path):
        raise LedgerError("cannot be its own archive", path=str(ledger))
    backend = Backend(place)
    with sqlite.translated(place.path):
        sqlite.make_file(place.path)
        db = backend.writing()
        try:
            db.begin()
            if not prepare(db, str(place)):
                db.change("remember", name=ARCHIVE_OF, value=ledger_id)
            if (ARCHIVE_OF, ledger_id) not in db.rows("meta"):
                raise LedgerError("is not an archive of this ledger: name another file", path=str(place))
            db.commit()
        except BaseException:
            db.close()
            raise
    return db


async def _move(store: Store, archive: Archive, run: Run) -> int:
    """Move one run, which is held; how many orders it has.

    Raises:
        _NotFinished: something of it is in doubt.
        LedgerError: it is changed all the time.
    """
    info, number, _ = await store.read(runs.one, run.id)
    for _ in range(TRIES):
        into = await _copy(store, archive, info, number, now=store.now())
        take_out = partial(_take_out, archive=archive, info=info, number=number, into=into, now=store.now())
        if await fenced(run, take_out):
            return (await run.counts()).total
    raise LedgerError(f"run {run.id} is changed by other runs all the time: try again later", path=store.path)


# --- the copy ---------------------------------------------------------------------------------------------------------


async def _copy(store: Store, archive: Archive, info: RunInfo, number: int, *, now: int) -> int:
    """Copy a run into the archive, durably, in place of an earlier copy; its number there."""
    with sqlite.translated(archive.place.path):
        into = await asyncio.to_thread(_begin, archive.db, info, now)
        try:
            after = -1
            while True:
                last, page = await store.read(_page, number, after, info.environment)
                if last == after:
                    break
                await asyncio.to_thread(_put, archive.db, into, page)
                after = last
            unused, decisions = await store.read(_beside, number)
            archive.db.insert("add_unused", [(task, into, *rest) for task, *rest in unused])
            archive.db.insert("add_decisions", [(into, *rest) for rest in decisions])
            await asyncio.to_thread(archive.db.commit)
        except BaseException:
            with suppress(Exception):
                archive.db.rollback()
            raise
    return into


def _begin(db: Database, info: RunInfo, now: int) -> int:
    db.begin()
    try:
        _forget(db, info.id)
        runs.begin(db, evolve(info, holder=None))
        number = runs.one(db, info.id)[1]
        finished_at = None if info.finished_at is None else to_microseconds(info.finished_at)
        db.change("set_run_state", number=number, state=info.state.value, finished_at=finished_at)
        db.change("mark_archived", number=number, at=now, where=None)
    except BaseException:
        db.rollback()
        raise
    return number


def _forget(db: Database, run_id: str) -> None:
    """Remove a copy that was made when the last try ended before its time."""
    for number, *_ in db.rows("run", id=run_id):
        while found := db.rows("chunks_of_run", run=number, after=-1, most=PAGE):
            ids = db.listed([row[0] for row in found])
            for statement in ("delete_bodies", "delete_results", "delete_notes", "delete_chunks"):
                db.change(statement, chunks=ids)
        for statement in ("forget_unused", "forget_decisions", "delete_run"):
            db.change(statement, number=number)


@frozen
class Page:
    """Chunks with all that is of them, as an archive has them."""

    chunks: list[Row] = field(factory=list)
    bodies: list[Row] = field(factory=list)
    results: list[Row] = field(factory=list)
    notes: list[Row] = field(factory=list)


def _put(db: Database, into: int, page: Page) -> None:
    db.insert("archive_chunks", [(row[0], into, *row[1:]) for row in page.chunks])
    db.insert("add_bodies", page.bodies)
    db.insert("archive_results", page.results)
    db.insert("archive_notes", page.notes)


def _page(db: Database, run: int, after: int, environment: str | None) -> tuple[int, Page]:
    """The next chunks of a run, and the number of the last of them, which is ``after`` when there are no more.

    Args:
        environment: of the run; None for one in an archive, which is as it is.

    Raises:
        _NotFinished: one of its orders is not decided.
        LedgerUnusable: one of them is damaged.
    """
    found = db.rows("chunks_of_run", run=run, after=after, most=PAGE)
    if not found:
        return after, Page()
    chunks = chunks_of(db, found, bodies=True)
    ids = db.listed(chunks)
    results = db.rows("results", ids=ids)
    notes = {(row[0], row[1]): row for row in db.rows("notes", ids=ids)}
    if environment is not None:
        owners = pages.owners_of(db, environment, chunks.values())
        for chunk in chunks.values():
            if not _OWNED_ELSEWHERE.isdisjoint(chunk.states):
                results = _settled(chunk, owners, results, notes)
    if not _FINAL.issuperset(letter for chunk in chunks.values() for letter in chunk.states):
        raise _NotFinished("something of it is in doubt, or was not sent")
    return found[-1][0], Page(
        # The claims of it are over, so epochs mean nothing there.
        [(chunk.id, 0, chunk.claimed_at, chunk.updated_at, "".join(chunk.states)) for chunk in chunks.values()],
        sorted(db.rows("bodies", ids=ids)),
        sorted(results),
        [notes[each] for each in sorted(notes)],
    )


def _settled(
    chunk: Chunk, owners: dict[str, pages.Owner], results: Iterable[Row], notes: dict[tuple[int, int], Row]
) -> list[Row]:
    """Write down what became of orders whose keys other runs have: in an archive nobody can look there."""
    tasks: dict[int, str] = {}
    places = set(chunk.places(OWNED_ELSEWHERE))
    for place, meta, payload, row in chunk.orders():
        if place in places:
            became = pages.result_row(chunk, place, meta, payload, row, owners.get(meta.key))
            chunk.states[place] = LETTERS[OrderState(became.state)]
            lost = chunk.lost_drafts(place)
            notes[chunk.id, place] = (chunk.id, place, became.status, became.error, lost)
            if became.task_id is not None:
                tasks[place] = became.task_id
    others = [row if row[0] != chunk.id else (*row[:3], _without(row[3], places)) for row in results]
    ids = [tasks.get(place) for place in range(len(chunk.states))]
    parts = sum(row[0] == chunk.id for row in others)
    return [*others, *([(chunk.id, parts, None, msgspec.json.encode(ids).decode())] if tasks else [])]


def _without(ids: str, places: set[int]) -> str:
    named = msgspec.json.decode(ids, type=list[str | None])
    return msgspec.json.encode([None if place in places else each for place, each in enumerate(named)]).decode()


def _beside(db: Database, run: int) -> tuple[list[Row], list[Row]]:
    """The unused drafts of a run, and the words about it."""
    return db.rows("unused_of_run", number=run), db.rows("decisions_of_run", number=run)


# --- out of the ledger ------------------------------------------------------------------------------------------------


def _take_out(db: Database, archive: Archive, info: RunInfo, number: int, into: int, now: int) -> bool:
    """Take what is archived out of the ledger, if the copy has all of it, as it is; whether it has.

    The copy is in no transaction: it is durable, and nobody else writes to it whose run is held here.
    """
    db.change("raise_epochs_of_run", run=number)  # it locks them: nobody else changes any from here on
    after = -1
    settled: list[tuple[int, str]] = []
    while True:
        last, mine = _page(db, number, after, info.environment)
        with sqlite.translated(archive.place.path):
            if (last, mine) != _page(archive.db, into, after, None):
                return False
        if last == after:
            break
        settled += [(row[0], row[4]) for row in mine.chunks if not _OWNED_ELSEWHERE.isdisjoint(row[4])]
        after = last
    if _beside(db, number) != _beside(archive.db, into):
        return False
    for chunk, states in settled:
        db.change("settle_states", id=chunk, states=states)
    db.change("empty_bodies", run=number, nothing=b"")
    db.change("forget_notes_of_run", run=number)
    db.change("mark_archived", number=number, at=now, where=str(archive.place))
    return True
