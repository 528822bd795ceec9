"""The register of this machine: the ledgers that pushed to each account of each service.

A ledger knows only its own orders, so two ledgers of one account would send an order twice. The register is a small
SQLite file into which each ledger enters its runs before it admits them. A ledger that is new to an account stops
there if another one has pushed to it. The register holds no secrets and no orders: it keeps a digest of each run's
keys. The newest count of each registered ledger is in the folder ``register.db.counts``, see `counter`.
"""

import errno
import getpass
import hashlib
import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from msgspec import Struct, structs

from gotsurge_async.ledger.errors import RegisterUnusable, SameFile, SecondLedger
from gotsurge_async.models.times import written
from gotsurge_async.system import files, shell
from gotsurge_async.system.files import user_folder
from gotsurge_async.tables.checks.words import number_of

VARIABLE = "GOTSURGE_REGISTER"
SHARED = Path("/var/lib/gotsurge")
"""The register's folder for several users of the machine, if an administrator has made it."""
VERSION = 1
KEPT_RUNS = 1000
"""The register keeps the digests of a ledger's newest runs, at most this many."""
KEPT_WORLDS = timedelta(days=30)
"""The register forgets a simulator this long after the last push to it."""
BUSY_SECONDS = 30.0

_NOT_OURS = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")
"""The beginnings of the names of errors that mean that this user may not write the file or its folder."""
_TABLES = f"""
CREATE TABLE ledgers (
    number INTEGER PRIMARY KEY, service TEXT NOT NULL, world TEXT NOT NULL, client TEXT NOT NULL, name TEXT NOT NULL,
    ledger TEXT NOT NULL, path TEXT NOT NULL, user TEXT NOT NULL, first TEXT NOT NULL, last TEXT NOT NULL,
    runs INTEGER NOT NULL, UNIQUE (service, world, client, name, ledger)
);
CREATE TABLE runs (
    number INTEGER PRIMARY KEY, ledger INTEGER NOT NULL, run TEXT NOT NULL, keys TEXT, UNIQUE (ledger, run)
);
CREATE INDEX runs_by_keys ON runs (keys);
PRAGMA user_version = {VERSION};
"""
_OF_ACCOUNT = (
    "SELECT number, ledger, path, user, last, runs FROM ledgers WHERE service = :service "
    "AND (world = :world OR '' IN (world, :world)) AND (client = :client OR '' IN (client, :client)) "
    "AND (name = :name OR '' IN (name, :name)) ORDER BY last DESC"
)
"""The ledgers of an account. An unknown client key, name or simulator matches any."""


class Account(Struct, frozen=True):
    """An account of a service, as far as it is known."""

    service: str
    """Host, port and path of the API base, see `runs.service_of`."""
    client: str = ""
    """The client key; "" if only a token is known."""
    name: str = ""
    """The name under which a user keeps its tokens; "" for the only one."""
    world: str = ""
    """The simulator's own id; "" for a real service, and for a simulator that has no id."""


class Entry(Struct, frozen=True):
    """A ledger that pushed to an account; the times are ISO 8601 in UTC."""

    number: int
    ledger: str
    path: str
    user: str
    last: str
    runs: int

    def __str__(self) -> str:
        return f"{self.path} ({number_of(self.runs, 'run')}, the last at {_shown(self.last)} by {self.user})"


class Keys:
    """The digest of a set of keys, whatever their order; the keys are not kept in memory.

    ``are_tracking_ids``: each key is its order's tracking id.
    """

    def __init__(self, *, are_tracking_ids: bool = False) -> None:
        self.are_tracking_ids: bool = are_tracking_ids
        self.count: int = 0
        self._sum = 0

    def add(self, keys: Iterable[str]) -> None:
        """Add keys, each of which must be new."""
        sha256, number = hashlib.sha256, int.from_bytes
        numbers = [number(sha256(key.encode()).digest()) for key in keys]
        self._sum += sum(numbers)
        self.count += len(numbers)

    def digest(self) -> str:
        """The digest as text."""
        return hashlib.sha256(f"{self.count} {self._sum % 2**256:x}".encode()).hexdigest()


def register_path() -> Path:
    """The register's path: GOTSURGE_REGISTER, else in the shared folder if this user may use it, else in the user's."""
    if where := os.environ.get(VARIABLE):
        return Path(where)
    shared = SHARED / "register.db"
    if os.access(SHARED, os.R_OK | os.X_OK) and (shared.exists() or os.access(SHARED, os.W_OK)):
        return shared
    return user_folder("data") / "register.db"


def count_file(ledger: str) -> Path:
    """The count file of a registered ledger, by its id."""
    path = register_path()
    return path.with_name(f"{path.name}.counts") / f"{ledger}.counter"


def mode_in(folder: Path) -> int:
    """The mode of a new file: other users may read and write it if they may do so in its folder."""
    return 0o600 | (folder.stat().st_mode & 0o066)


class Register:
    """The register; each method opens the file anew, and locks it while it reads and writes.

    Raises RegisterUnusable if the file cannot be read, is damaged, or its disk is full. Nothing may be sent then.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path: Path = path or register_path()

    def enter(
        self,
        account: Account,
        ledger: str,
        path: str,
        run: str,
        *,
        keys: Keys | None = None,
        now: datetime,
        new_ledger: bool = False,
    ) -> str | None:
        """Enter a run of a ledger, with the ledger's id and path, before the run is admitted.

        Args:
            keys: the keys of the run, if it is new.
            new_ledger: whether the user decided to begin another ledger for the account.

        Returns:
            A warning, if the register knows the ledger, but cannot be written.

        Raises:
            SameFile: another ledger has a run of the very same keys.
            SecondLedger: the ledger is new to the account, and another one has pushed to it.
        """
        try:
            with self._writing() as db:
                self._sweep(db, account, now)
                self._refuse(db, account, ledger, path, keys, new_ledger=new_ledger)
                number = _note(db, account, ledger, path, now)
                _note_run(db, number, run, _digest(keys))
        except PermissionError as error:
            if not self.knows(account, ledger, path, keys, new_ledger=new_ledger):
                raise self._unusable(f"cannot be written ({error}), and does not know this ledger", _WRITABLE) from None
            return f"the register {self.path} cannot be written ({error}); it knows this ledger, so the push continues"
        return None

    def knows(self, account: Account, ledger: str, path: str, keys: Keys | None, *, new_ledger: bool = False) -> bool:
        """Whether the ledger has pushed to the account before; nothing is written. SecondLedger as for `enter`."""
        with self._reading() as db:
            if db is None:
                return False
            self._refuse(db, account, ledger, path, keys, new_ledger=new_ledger)
            return any(entry.ledger == ledger for entry in _entries(db, account))

    def forget(self, account: Account, ledger: str, run: str) -> None:
        """Remove a run that was entered and then not admitted."""
        with self._writing() as db:
            for number in [entry.number for entry in _entries(db, account) if entry.ledger == ledger]:
                gone = db.execute("DELETE FROM runs WHERE ledger = ? AND run = ?", (number, run)).rowcount
                db.execute("UPDATE ledgers SET runs = runs - ? WHERE number = ?", (gone, number))
            db.execute("DELETE FROM ledgers WHERE runs <= 0")

    # --- inside ------------------------------------------------------------------------------------------------------

    def _refuse(
        self, db: sqlite3.Connection, account: Account, ledger: str, path: str, keys: Keys | None, *, new_ledger: bool
    ) -> None:
        digest = _digest(keys)
        entries = _entries(db, account)
        others = [entry for entry in entries if entry.ledger != ledger]
        for entry in others if digest else ():
            same = db.execute("SELECT run FROM runs WHERE ledger = ? AND keys = ?", (entry.number, digest)).fetchone()
            if same is not None:
                raise SameFile(
                    f"ledger {path}: these orders are also in run {same[0]} of ledger {entry}, and would be sent "
                    f"twice; nothing was sent. {_use(entry, path)}. If the other ledger is lost, look the orders up at "
                    "GotSurge, and push only the missing ones in a separate file"
                )
        if others and len(others) == len(entries) and not new_ledger:
            further = len({entry.ledger for entry in others}) - 1  # one has an entry for each way the account is known
            more = f", and {number_of(further, 'more ledger')}" if further else ""
            raise SecondLedger(
                f"ledger {path} has never pushed to this account of {account.service}, but another ledger has: "
                f"{others[0]}{more}. This ledger does not contain those orders, and would send them again; "
                f"nothing was sent. {_use(others[0], path)}. To use this second ledger all the same, pass --new-ledger"
            )

    def _sweep(self, db: sqlite3.Connection, account: Account, now: datetime) -> None:
        """Remove the ledgers of simulators that no longer exist, or were reset."""
        gone = db.execute(
            "DELETE FROM ledgers WHERE world != '' "
            "AND (last < :old OR (service = :service AND :world NOT IN ('', world))) RETURNING ledger",
            {"old": _text(now - KEPT_WORLDS), "service": account.service, "world": account.world},
        ).fetchall()
        if gone:
            db.execute("DELETE FROM runs WHERE ledger NOT IN (SELECT number FROM ledgers)")
        for (ledger,) in gone:
            if not db.execute("SELECT 1 FROM ledgers WHERE ledger = ?", (ledger,)).fetchone():
                with suppress(OSError):
                    count_file(ledger).unlink()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction; PermissionError if this user may only read."""
        with self._translated():
            if not self.path.exists():
                self._make()
            with closing(self._connected()) as db:
                db.execute("PRAGMA synchronous = FULL")
                db.execute("BEGIN IMMEDIATE")
                self._check(db)
                yield db
                db.execute("COMMIT")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        """A connection that reads; None if there is no register yet."""
        try:
            if not self.path.exists():
                yield None
                return
            with self._translated(), closing(self._connected()) as db:
                self._check(db)
                yield db
        except PermissionError as error:
            raise self._unusable(f"cannot be read ({error})", _WRITABLE) from None

    def _connected(self) -> sqlite3.Connection:
        # "rw" for reading too: the first who comes after a crash in a transaction rolls it back. A file that may only
        # be read is opened for reading all the same.
        where = f"file:{quote(str(self.path))}?mode=rw"
        return sqlite3.connect(where, uri=True, timeout=BUSY_SECONDS, isolation_level=None)

    def _make(self) -> None:
        """Make the file whole under another name, then rename it: an empty file counts as damaged."""
        folder = self.path.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = folder / f"{self.path.name}.{secrets.token_hex(4)}.new"
        try:
            os.close(os.open(made, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            with closing(sqlite3.connect(made, isolation_level=None)) as db:
                db.executescript(f"BEGIN; {_TABLES} COMMIT")
            made.chmod(mode_in(folder))
            with suppress(FileExistsError):
                files.put_new(made, self.path)
            files.sync_folder(folder)
        finally:
            made.unlink(missing_ok=True)

    def _check(self, db: sqlite3.Connection) -> None:
        ((version,),) = db.execute("PRAGMA user_version")
        if version > VERSION:
            raise self._unusable(
                "was made by a newer version", f"Update gotsurge-async, or name another file in {VARIABLE}"
            )
        ((verdict,),) = db.execute("PRAGMA quick_check(1)")
        if version != VERSION or verdict != "ok":
            raise self._unusable("is damaged", _DAMAGED)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "")
            if name.startswith(_NOT_OURS):
                raise PermissionError(str(error)) from None
            if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
                raise self._unusable("is locked by another process", "Try again when that process has ended") from None
            if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
                raise self._unusable(f"cannot be written: {error}", "Free some space, or check the disk") from None
            raise self._unusable(f"is damaged ({error})", _DAMAGED) from None
        except PermissionError:
            raise
        except OSError as error:
            if error.errno in (errno.EROFS, errno.ENOENT, errno.ENOTDIR):  # no place for a file
                raise PermissionError(str(error)) from None
            raise self._unusable(f"cannot be written: {error}", "Free some space, or check the disk") from None

    def _unusable(self, what: str, advice: str) -> RegisterUnusable:
        return RegisterUnusable(
            f"the register of ledgers at {self.path} {what}; nothing was sent, because only the register shows "
            f"whether another ledger has sent these orders. {advice}"
        )


_WRITABLE = f"Make the register readable and writable for this user, or name another file in {VARIABLE}"
_DAMAGED = (
    "First make sure that all pushes to the account use one ledger, because a new register does not know the others. "
    "Then move the damaged register away: the next push makes a new one"
)


def _digest(keys: Keys | None) -> str | None:
    return keys.digest() if keys is not None and keys.count else None


def _use(other: Entry, path: str) -> str:
    if other.path == path:
        return "Another ledger was at this path before: put that ledger, or its newest backup, back"
    return f"Use the other ledger: --ledger {shell.word(other.path)}"


def _entries(db: sqlite3.Connection, account: Account) -> list[Entry]:
    return [Entry(*row) for row in db.execute(_OF_ACCOUNT, structs.asdict(account))]


def _note(db: sqlite3.Connection, account: Account, ledger: str, path: str, now: datetime) -> int:
    """Note that a ledger pushes to an account; returns its number."""
    ((number,),) = db.execute(
        "INSERT INTO ledgers (service, world, client, name, ledger, path, user, first, last, runs) "
        "VALUES (:service, :world, :client, :name, :ledger, :path, :user, :now, :now, 0) ON CONFLICT DO UPDATE "
        "SET path = excluded.path, user = excluded.user, last = excluded.last RETURNING number",
        structs.asdict(account) | {"ledger": ledger, "path": path, "user": _user(), "now": _text(now)},
    ).fetchall()
    return int(number)


def _note_run(db: sqlite3.Connection, number: int, run: str, digest: str | None) -> None:
    insert = "INSERT OR IGNORE INTO runs (ledger, run, keys) VALUES (?, ?, ?)"
    if db.execute(insert, (number, run, digest)).rowcount == 1:
        db.execute("UPDATE ledgers SET runs = runs + 1 WHERE number = ?", (number,))
        db.execute(
            "DELETE FROM runs WHERE ledger = ? AND number <= "
            "(SELECT number FROM runs WHERE ledger = ? ORDER BY number DESC LIMIT 1 OFFSET ?)",
            (number, number, KEPT_RUNS),
        )


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "seconds")


def _shown(text: str) -> str:
    try:
        return written(datetime.fromisoformat(text).replace(tzinfo=UTC))
    except ValueError:  # another program may have written it
        return text


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as containers have
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"
