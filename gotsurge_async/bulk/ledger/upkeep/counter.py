"""How an older copy of a ledger is known for what it is.

The ledger counts its admissions and claims, in the transactions that make them. The count is kept beside it as well, in
``<ledger>.counter`` (of one in PostgreSQL with the user's own data), and in the summaries of its runs. A ledger that
counts less than these is an older copy: it knows nothing of what was sent since, and would send it again.

The file beside is written after the commit, never before, so it may lag behind a crash; a lower number is harmless.
"""

import os
import secrets
import time
import zlib
from contextlib import suppress
from pathlib import Path  # noqa: TC003 - a public attribute

from attrs import field, frozen

from gotsurge_async.bulk.ledger.errors import RESCUE, LedgerOlder, LedgerUnusable
from gotsurge_async.bulk.ledger.sql.postgres import counter_file
from gotsurge_async.bulk.ledger.sql.sqlite import translated
from gotsurge_async.database import Database, Kind, Place

LEDGER_ID = "ledger_id"

SYNC_SECONDS = 1.0
"""How often the file beside is forced to the disk, at most."""

_BINARY = getattr(os, "O_BINARY", 0)  # where files are else text

_FORMAT = "gotsurge-ledger {id:016x} counter {counter:019d}"
_WITH_OWN = _FORMAT + " of {slot:08x} {own:019d}"


@frozen
class Identity:
    """Which ledger it is, and how far it has come."""

    id: int
    """A random number of 63 bits, which copies share."""
    counter: int
    """How many transactions admitted or claimed orders."""
    latest: tuple[int, int] | None = field(default=None, eq=False)
    """The opening that counted last, as a number, and how often it did, where that is known."""

    @property
    def name(self) -> str:
        """The id as text."""
        return f"{self.id:016x}"


def identity_of(db: Database) -> Identity | None:
    """What the ledger says of itself; None if it is from before it had an id, or that is no number."""
    meta: dict[str, object] = dict(db.rows("meta"))
    ledger_id = meta.get(LEDGER_ID)
    ((counter,),) = db.rows("counted")
    return Identity(ledger_id, counter) if isinstance(ledger_id, int) and isinstance(counter, int) else None


def identified(db: Database, ledger_id: int | None = None) -> Identity:
    """Give the ledger an id where it has none (a new one, unless it is known); in a transaction."""
    if LEDGER_ID not in dict(db.rows("meta")):
        db.change("remember", name=LEDGER_ID, value=secrets.randbits(63) if ledger_id is None else ledger_id)
    found = identity_of(db)
    if found is None:
        raise LedgerUnusable(f"is damaged (table ledger_meta: its id is no number). {RESCUE}")
    return found


class Keeper:
    """The file beside a ledger that says how far it came.

    Args:
        ledger: where it is; the file stands beside what a path leads to, whatever name it was opened by.
    """

    def __init__(self, ledger: Place) -> None:
        self._ledger = ledger
        real = ledger.path.resolve()
        is_file = ledger.kind is Kind.SQLITE
        self.path: Path = real.with_name(f"{real.name}.counter") if is_file else counter_file(ledger)
        self._id = 0
        self._kept = 0
        self._latest: tuple[int, int] | None = None
        self._file: int | None = None
        self._synced = -SYNC_SECONDS
        self._behind = False

    def kept(self) -> Identity | None:
        """What the file says; None if there is none, or none that is whole."""
        with translated(self.path), suppress(FileNotFoundError):
            return _parse(self.path.read_bytes())
        return None

    def refuse_loss(self, *, is_there: bool) -> None:
        """Refuse to begin a ledger where one was.

        Raises:
            LedgerOlder: the file beside knows of one, and there is none.
        """
        if is_there:
            return
        kept = self.kept()
        if kept is not None and kept.counter:
            raise LedgerOlder(
                f"is gone: there was one here that counted {kept.counter:,} admissions and claims, says {self.path}. "
                "A new one would know of nothing that was sent, and send it all again. Put the ledger back, or its "
                "newest backup; if there is none, `gotsurge ledger accept-older` lets a new one begin",
                newest=kept.counter,
                where=str(self.path),
                path=str(self._ledger),
            )

    def refuse_older(self, identity: Identity | None, db: Database | None = None) -> None:
        """Refuse a ledger that counts less than the file beside it, or knows nothing of what was counted last.

        Args:
            identity: what the ledger says of itself; None if it is from before ledgers had an id.
            db: the ledger.

        Raises:
            LedgerOlder: it is an older copy.
        """
        kept = self.kept()
        if kept is None:
            return
        if identity is None:
            identity = Identity(kept.id, 0)
        refuse_older(identity, kept, str(self.path), str(self._ledger))
        if db is not None and kept.id == identity.id and self.is_lacking(db):
            raise _other_copy(kept, identity, str(self.path), str(self._ledger))

    def is_lacking(self, db: Database) -> bool:
        """Whether a ledger lacks what was counted last: a copy, pushed on by somebody who did not know."""
        kept = self.kept()
        if kept is None or kept.latest is None:
            return False
        slot, own = kept.latest
        return all(known < own for (known,) in db.rows("counted_by", slot=slot))

    def keep_for(self, identity: Identity) -> None:
        """Keep the counter of this ledger from now on."""
        if self._ledger.kind is not Kind.SQLITE:
            with translated(self.path):
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._id, self._kept, self._latest = identity.id, 0, None
        kept = self.kept()
        if kept is not None and kept.id == identity.id:
            self._kept, self._latest = kept.counter, kept.latest
        with translated(self.path):
            if self.path.exists():
                self._file = os.open(self.path, os.O_RDWR | _BINARY)
                if kept is None:
                    os.ftruncate(self._file, 0)
        self.keep(identity.counter)

    def keep(self, counter: int, latest: tuple[int, int] | None = None) -> None:
        """Write the counter down, if it was raised. It was committed before: what fails here is made good later.

        Args:
            latest: which opening counts, and how often it did.
        """
        if counter <= self._kept:
            return
        self._latest = latest or self._latest
        with suppress(OSError):
            if self._file is None:
                self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | _BINARY, 0o600)
            os.lseek(self._file, 0, os.SEEK_SET)
            os.write(self._file, _format(Identity(self._id, counter, self._latest)))
            self._kept = counter
            self._behind = True
            if time.monotonic() - self._synced >= SYNC_SECONDS:
                self._sync()

    def _sync(self) -> None:
        if self._file is not None and self._behind:
            os.fsync(self._file)
            self._synced = time.monotonic()
            self._behind = False

    def close(self) -> None:
        """Force what was written to the disk, and close the file."""
        with suppress(OSError):
            self._sync()
        if self._file is not None:
            os.close(self._file)
            self._file = None


def refuse_older(identity: Identity, newest: Identity, where: str, path: str) -> None:
    """Refuse a ledger that counts less than was seen of it elsewhere.

    Raises:
        LedgerOlder: it is an older copy.
    """
    if newest.id != identity.id or newest.counter <= identity.counter:
        return
    raise LedgerOlder(
        f"is an older copy: it counts {identity.counter:,} admissions and claims, {where} counts {newest.counter:,}. "
        "What was sent since would be sent again. Put the newest copy in its place, without -wal and -shm files; if "
        "there is none, `gotsurge ledger accept-older` puts what may have been sent since in doubt",
        counter=identity.counter,
        newest=newest.counter,
        where=where,
        path=path,
    )


def _other_copy(kept: Identity, identity: Identity, where: str, path: str) -> LedgerOlder:
    return LedgerOlder(
        f"is an older copy that was gone on with: it counts {identity.counter:,} admissions and claims, and lacks some "
        f"that {where} knows of. What was sent by them would be sent again. Put the newest copy in its place, "
        "without -wal and -shm files; if there is none, `gotsurge ledger accept-older` puts what may have been sent "
        "since in doubt",
        counter=identity.counter,
        newest=max(kept.counter, identity.counter + 1),
        where=where,
        path=path,
    )


def _format(identity: Identity) -> bytes:
    if identity.latest is None:
        text = _FORMAT.format(id=identity.id, counter=identity.counter)
    else:
        slot, own = identity.latest
        text = _WITH_OWN.format(id=identity.id, counter=identity.counter, slot=slot, own=own)
    return f"{text} {zlib.crc32(text.encode()):08x}\n".encode()


def _parse(data: bytes) -> Identity | None:
    # A file that a crash or a disk left half written is as good as none: the ledger itself is whole then.
    words = data.decode("ascii", "replace").split()
    if len(words) not in (5, 8):
        return None
    try:
        latest = (int(words[5], 16), int(words[6])) if len(words) == 8 else None
        identity = Identity(int(words[1], 16), int(words[3]), latest)
    except ValueError:
        return None
    return identity if _format(identity) == data else None
