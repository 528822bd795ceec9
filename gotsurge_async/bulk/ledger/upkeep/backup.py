"""A copy of a ledger, also while it is used: `gotsurge ledger backup`."""

import os
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path

from gotsurge_async.bulk.ledger.errors import LedgerError, LedgerUnusable
from gotsurge_async.bulk.ledger.sql.sqlite import ledger_path, ledger_url, read_only, translated
from gotsurge_async.bulk.ledger.upkeep.check import Health, check


def backup(where: str | Path, to: Path, *, force: bool = False) -> Health:
    """Copy a ledger as it is at one moment, also while a push goes on, into one file for its owner alone (mode 0600).

    The copy is looked through, and only then put in its place.

    Args:
        force: replace a file that is there.

    Raises:
        LedgerError: ``to`` is there already, is the ledger itself, or is a ledger in use.
        LedgerUnusable: the ledger is damaged, so ``to`` was left as it was; or one of both cannot be read or written.
    """
    path = ledger_path(ledger_url(where))
    to = to.absolute()
    if not path.exists():
        raise LedgerError("does not exist", path=str(path))
    with translated(to):
        if to.exists() and to.samefile(path):
            raise LedgerError("cannot be its own backup", path=str(path))
        if to.exists() and not force:
            raise LedgerError(f"{to} exists already: give another name, or --force", path=str(path))
        log = to.with_name(f"{to.name}-wal")
        if log.exists() and log.stat().st_size:
            raise LedgerError(f"{to} is in use as a ledger: give another name", path=str(path))
        descriptor, name = tempfile.mkstemp(dir=to.parent, prefix=f".{to.name}.")  # mode 0600
        os.close(descriptor)
        copy = Path(name)
        try:
            _copy(path, copy)
            health = check(copy)
            if health.flaws:
                told = "; ".join(map(str, health.flaws[:3]))
                raise LedgerUnusable(
                    f"is damaged, and was not copied ({told}). See `gotsurge ledger check`", path=str(path)
                )
            _put_in_place(copy, to, force)
        finally:
            copy.unlink(missing_ok=True)
    return health


def _copy(path: Path, copy: Path) -> None:
    with translated(path), closing(read_only(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)  # in one step: one moment's state, and nobody who writes has to wait
        target.execute("PRAGMA journal_mode = DELETE")  # one file, which can be looked at where nothing can be written


def _put_in_place(copy: Path, to: Path, force: bool) -> None:
    with copy.open("rb") as file:
        os.fsync(file.fileno())
    if force:
        copy.replace(to)
    else:
        try:
            to.hardlink_to(copy)  # and not a rename, which would replace what came meanwhile
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            copy.rename(to)
    with suppress(OSError):
        folder = os.open(to.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
