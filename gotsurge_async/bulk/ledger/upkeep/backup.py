"""A copy of a ledger, also while it is used, and a ledger made small: `gotsurge ledger backup` and `vacuum`."""

import os
import tempfile
from contextlib import closing
from pathlib import Path

from gotsurge_async.bulk.ledger.errors import LedgerError, LedgerUnusable
from gotsurge_async.bulk.ledger.sql import runs, sqlite
from gotsurge_async.bulk.ledger.sql.sqlite import translated
from gotsurge_async.bulk.ledger.sql.store import Backend, place
from gotsurge_async.bulk.ledger.upkeep.check import Health, check, refuse_unfit, size
from gotsurge_async.database import Kind, Place
from gotsurge_async.system import files


def backup(where: str | Path | Place, to: Path, *, force: bool = False) -> Health:
    """Copy a ledger as it is at one moment, also while a push goes on, into one file for its owner alone (mode 0600).

    The copy is looked through, and only then put in its place.

    Args:
        force: replace a file that is there.

    Raises:
        LedgerError: ``to`` is there already, is the ledger itself, or is a ledger in use; or it is one in PostgreSQL.
        LedgerUnusable: the ledger is damaged, so ``to`` was left as it was; or one of both cannot be read or written.
    """
    where = place(where)
    shown, to = str(where), to.absolute()
    if where.kind is not Kind.SQLITE:
        raise LedgerError(
            "is in PostgreSQL: copy it with pg_dump. After pg_restore it is an older copy: `gotsurge ledger "
            "accept-older`, then `gotsurge reconcile` for each environment",
            path=shown,
        )
    with translated(to):
        if to.exists() and to.samefile(where.path):
            raise LedgerError("cannot be its own backup", path=shown)
        if to.exists() and not force:
            raise LedgerError(f"{to} exists already: give another name, or --force", path=shown)
        log = to.with_name(f"{to.name}-wal")
        if log.exists() and log.stat().st_size:
            raise LedgerError(f"{to} is in use as a ledger: give another name", path=shown)
        descriptor, name = tempfile.mkstemp(dir=to.parent, prefix=f".{to.name}.")  # mode 0600
        os.close(descriptor)
        copy = Path(name)
        try:
            with translated(shown), closing(Backend(where).reading()) as source:
                sqlite.copy_to(copy, source.driver)
            health = check(copy, is_copy=True)
            if health.flaws:
                told = "; ".join(map(str, health.flaws[:3]))
                raise LedgerUnusable(
                    f"is damaged, and was not copied ({told}). See `gotsurge ledger check`", path=shown
                )
            if force:
                files.replace(copy, to)
            else:
                files.put_new(copy, to)
            files.sync_folder(to.parent)
        finally:
            copy.unlink(missing_ok=True)
    return health


def vacuum(where: str | Path | Place) -> tuple[int, int]:
    """Give back the room that nothing needs any more; how many bytes the ledger took before, and takes now.

    Raises:
        LedgerError: there is none.
        RunHeld: a living process has a run: whoever sends would have to wait.
        LedgerUnusable: it is damaged or older than it was, and was left as it is; or there is no room to do it.
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
