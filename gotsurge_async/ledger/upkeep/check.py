"""Checks a ledger, copies it, and makes its file smaller: `gotsurge ledger check`, ``backup`` and ``vacuum``."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from msgspec import Struct, structs

from gotsurge_async.clock import to_microseconds
from gotsurge_async.database import Database, Kind, Place
from gotsurge_async.ledger.errors import Flaw, LedgerError, LedgerOlder, LedgerUnusable
from gotsurge_async.ledger.sql import databases, runs
from gotsurge_async.ledger.sql.databases import is_older
from gotsurge_async.ledger.sql.store import Backend, place
from gotsurge_async.ledger.states import Clock, utc_now
from gotsurge_async.ledger.upkeep.counter import Keeper, identity_of
from gotsurge_async.ledger.upkeep.integrity import describe_shared, look_over, look_through
from gotsurge_async.system import files

MOST = 100
"""The most flaws that are listed for a table."""


class Health(Struct, frozen=True, kw_only=True):
    """The result of `check`."""

    path: str
    """The file, or the URL without a password."""
    flaws: tuple[Flaw, ...] = ()
    """The flaws, at most a hundred for each table; empty for a sound ledger."""
    runs: int = 0
    """The number of runs; 0 if it cannot be read, as for the numbers below."""
    orders: int = 0
    ledger_id: str = ""
    """The ledger's id; "" if it is from before ledgers had one."""
    counter: int = 0
    """The number of admissions and claims that the ledger counts."""
    to_look_at: tuple[str, ...] = ()
    """Orders that are not damaged, but that a person or a read must settle: two of them have one task."""
    older: bool = False
    """Whether the ledger is an older copy of the one that was here, which is one of the flaws."""

    @property
    def damaged(self) -> bool:
        """Whether the ledger has any flaw besides being an older copy."""
        return len(self.flaws) > self.older


def check(where: str | Path | Place, *, is_copy: bool = False) -> Health:
    """Read every page of a ledger once, and list its flaws; nothing is written, and a push may continue meanwhile.

    A copy just made (``is_copy``) may be older: the ledger itself continues to count. Raises LedgerError if there is
    none, or it is of another version; LedgerUnusable if a server cannot be reached.
    """
    where = place(where)
    health, keeper = Health(path=str(where)), Keeper(where)
    try:
        kept = keeper.kept()
        with looking(where, damaged_too=True) as db:
            health = structs.replace(health, flaws=tuple(look_through(db, MOST, whole=True)))
            health = structs.replace(health, runs=len(db.rows("newest_runs", most=runs.MANY)), orders=size(db).orders)
            if not health.flaws:
                health = structs.replace(health, to_look_at=tuple(describe_shared(db)))
            identity = identity_of(db)
            if identity is not None:
                health = structs.replace(health, ledger_id=identity.name, counter=identity.counter)
            if not is_copy:
                keeper.refuse_older(kept, identity, db, looking=True)
    except LedgerOlder as error:
        return structs.replace(health, flaws=(*health.flaws, Flaw("", "", error.words)), older=True)
    except LedgerUnusable as error:
        if where.kind is not Kind.SQLITE:
            raise
        return structs.replace(health, flaws=health.flaws or (Flaw("", "", str(error)),))
    return health


def refuse_unfit(where: str | Path | Place, clock: Clock = utc_now) -> None:
    """Raise LedgerUnusable or LedgerOlder if opening a ledger for writing would; nothing is written."""
    where = place(where)
    keeper = Keeper(where)
    kept = keeper.kept()
    with looking(where) as db:
        look_over(db, str(where), to_microseconds(clock()))
        keeper.refuse_older(kept, identity_of(db), db, looking=True)


class Size(Struct, frozen=True, kw_only=True):
    """The size of a ledger."""

    bytes: int
    """The bytes of the database with its indexes and its free space; without the write-ahead log."""
    orders: int
    """The number of orders in all its runs."""

    @property
    def per_order(self) -> float | None:
        """The bytes of the ledger for each of its orders; None if it has none."""
        return self.bytes / self.orders if self.orders else None


def size(db: Database) -> Size:
    """The size of the ledger, with all its runs."""
    ((bytes_, orders),) = db.rows("size")
    return Size(bytes=bytes_, orders=orders)


@contextmanager
def looking(where: Place, *, damaged_too: bool = False) -> Iterator[Database]:
    """Open a connection that reads a ledger of this program's version; with ``damaged_too`` also of a damaged version.

    Raises LedgerError if there is none, or of another version; LedgerUnusable if it is damaged, or cannot be read.
    """
    backend = Backend(where)
    with backend.translated(), closing(backend.reading()) as db:
        try:
            older = is_older(db, backend.shown)
        except (LedgerUnusable, *databases.BROKEN):
            if not damaged_too:
                raise
            older = False
        if older:
            why = "was made by an older version: `gotsurge runs` upgrades it"
            raise LedgerError(why, "E506", path=backend.shown)
        yield db


def backup(where: str | Path | Place, to: Path, *, force: bool = False) -> Health:
    """Copy a ledger as it is at one moment, even during a push, into one file for its owner alone (mode 0600).

    The copy is checked before it is put in its place.

    Args:
        force: replace a file that is there.

    Raises:
        LedgerError: ``to`` is there already, is the ledger itself, or is a ledger in use; or it is one in PostgreSQL.
        LedgerUnusable: the ledger is damaged, so ``to`` was left as it was; or a file cannot be read or written.
    """
    where = place(where)
    shown, to = str(where), to.absolute()
    if where.kind is not Kind.SQLITE:
        raise LedgerError(
            "is in PostgreSQL: copy it with pg_dump. A restored ledger counts as an older copy: run `gotsurge ledger "
            "accept-older`, then `gotsurge reconcile` for each environment",
            "E512",
            path=shown,
        )
    with databases.translated(to):
        if to.exists() and to.samefile(where.path):
            raise LedgerError("cannot be its own backup", "E512", path=shown)
        if to.exists() and not force:
            raise LedgerError(f"{to} already exists: give another name, or pass --force", "E110", path=shown)
        log = to.with_name(f"{to.name}-wal")
        if log.exists() and log.stat().st_size:
            raise LedgerError(f"{to} is in use as a ledger: give another name", "E512", path=shown)
        descriptor, name = tempfile.mkstemp(dir=to.parent, prefix=f".{to.name}.")  # mode 0600
        os.close(descriptor)
        copy = Path(name)
        try:
            with databases.translated(shown), closing(Backend(where).reading()) as source:
                databases.copy_to(copy, source.driver)
            health = check(copy, is_copy=True)
            if health.flaws:
                flaws = "; ".join(map(str, health.flaws[:3]))
                why = f"is damaged, and was not copied ({flaws}). See `gotsurge ledger check`"
                raise LedgerUnusable(why, path=shown)
            if force:
                files.replace(copy, to)
            else:
                files.put_new(copy, to)
            files.sync_folder(to.parent)
        finally:
            copy.unlink(missing_ok=True)
    return health


def vacuum(where: str | Path | Place) -> tuple[int, int]:
    """Free unused space; returns the bytes that the ledger took before, and takes now.

    Raises LedgerError if there is none; RunHeld if a living process has a run, and would have to wait; LedgerUnusable
    if it is damaged or an older copy, and was left as it is, or the disk has no room for this.
    """
    where = place(where)
    refuse_unfit(where)
    backend = Backend(where)
    locks = backend.locks()
    with backend.translated(), closing(backend.writing()) as db:
        for run in runs.newest(db, None):
            if run.holder is not None and locks.is_held(db, run.id):
                raise runs.held(db, run.id)
        before = size(db).bytes
        if where.kind is not Kind.SQLITE:
            db.driver.execute(b"RESET ALL")  # it may take longer than what a push asks for
        db.script("vacuum")
        return before, size(db).bytes
