"""Recognizes an older copy of a ledger.

A ledger counts its admissions and claims in the transactions that make them. The count is also kept in the file
``<ledger>.counter`` (for PostgreSQL with the user's own data), next to the register by the ledger's id, and in the
summaries of its runs. A ledger that counts less than these is an older copy, at whatever path: it does not know what
was sent since, and would send it again.

The files are written after the commit, never before, so they may lag behind a crash; a lower number is harmless.
"""

import os
import secrets
import time
import zlib
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from gotsurge_async.database import Database, Kind, Place
from gotsurge_async.ledger.errors import RESCUE, LedgerOlder, LedgerUnusable
from gotsurge_async.ledger.sql.databases import translated
from gotsurge_async.ledger.upkeep.register import count_file, mode_in
from gotsurge_async.starting import pattern
from gotsurge_async.system import files

LEDGER_ID = "ledger_id"

SYNC_SECONDS = 1.0
"""The least seconds between two times that a count file is forced to the disk."""

_BINARY = getattr(os, "O_BINARY", 0)  # where files are else text

_LINE = pattern(
    rb"(gotsurge-ledger ([0-9a-f]{16}) counter ([0-9]{19})(?: of ([0-9a-f]{8}) ([0-9]{19}))?) ([0-9a-f]{8})\n"
)


class Identity(Struct, frozen=True):
    """The id of a ledger, and its count."""

    id: int
    """A random number of 63 bits, which copies share."""
    counter: int
    """The number of transactions that admitted or claimed orders."""
    latest: tuple[int, int] | None = None
    """The opening that counted last, as a number, and its own count, where they are known."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and (self.id, self.counter) == (other.id, other.counter)

    def __hash__(self) -> int:
        return hash((self.id, self.counter))

    @property
    def name(self) -> str:
        """The id as text."""
        return f"{self.id:016x}"


def identity_of(db: Database) -> Identity | None:
    """The ledger's own id and count; None if it has no valid id."""
    meta: dict[str, object] = dict(db.rows("meta"))
    ledger_id = meta.get(LEDGER_ID)
    ((counter,),) = db.rows("counted")
    return Identity(ledger_id, counter) if isinstance(ledger_id, int) and isinstance(counter, int) else None


def identified(db: Database, ledger_id: int | None) -> Identity:
    """The ledger's identity. A ledger without an id gets ``ledger_id``, or a new one, in the caller's transaction."""
    if LEDGER_ID not in dict(db.rows("meta")):
        db.change("remember", name=LEDGER_ID, value=secrets.randbits(63) if ledger_id is None else ledger_id)
    identity = identity_of(db)
    if identity is None:
        raise LedgerUnusable(f"is damaged (table ledger_meta: its id is not a number). {RESCUE}")
    return identity


class CountFile:
    """A file with a ledger's count."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known = Identity(0, 0)
        self._file: int | None = None
        self._synced = -SYNC_SECONDS
        self._behind = False

    def read(self) -> Identity | None:
        """The content of the file; None if there is none, or it is not whole."""
        with translated(self.path), suppress(FileNotFoundError):
            return _parse(self.path.read_bytes())
        return None

    def keep_for(self, identity: Identity) -> None:
        """Begin to store the counter of this ledger."""
        kept = self.read()
        self._known = kept if kept is not None and kept.id == identity.id else Identity(identity.id, 0)
        with translated(self.path):
            if self.path.exists():
                self._file = os.open(self.path, os.O_RDWR | _BINARY)
                if kept is None:
                    os.ftruncate(self._file, 0)
        self.keep(identity.counter, identity.latest)

    def keep(self, counter: int, latest: tuple[int, int] | None = None) -> None:
        """Write the counter to the file if it was raised; ``latest`` is the opening that counts, with its own count.

        It was committed before, so a failure is ignored: a later count makes up for it.
        """
        if counter <= self._known.counter:
            return
        known = Identity(self._known.id, counter, latest or self._known.latest)
        with suppress(OSError):
            if self._file is None:
                self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | _BINARY, 0o600)
            os.lseek(self._file, 0, os.SEEK_SET)
            os.write(self._file, _format(known))
            self._known = known
            self._behind = True
            if time.monotonic() - self._synced >= SYNC_SECONDS:
                self._sync()

    def _sync(self) -> None:
        if self._file is not None and self._behind:
            files.sync(self._file)
            self._synced = time.monotonic()
            self._behind = False

    def close(self) -> None:
        """Force the file to the disk, and close it."""
        with suppress(OSError):
            self._sync()
        if self._file is not None:
            os.close(self._file)
            self._file = None


class Keeper:
    """The files with a ledger's count: one next to it, and one by its id if the register knows the ledger.

    The first is next to the real file, whatever name the ledger was opened by.
    """

    def __init__(self, ledger: Place) -> None:
        self._ledger = ledger
        if ledger.kind is Kind.SQLITE:
            real = ledger.path.resolve()
            self.path: Path = real.with_name(f"{real.name}.counter")
        else:  # in the user's own data, by the database's address
            address = str(ledger).partition("//")[2]
            name = "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in address)
            self.path = files.user_folder("data") / "ledgers" / f"{name}.counter"
        self._files = [CountFile(self.path)]

    def kept(self) -> Identity | None:
        """The content of the file next to the ledger; None if there is none, or it is not whole."""
        return self._files[0].read()

    def kept_by_id(self, identity: Identity | None, *, looking: bool = False) -> Identity | None:
        """The content of the register's file; None if the register does not know the ledger.

        With ``looking`` also None if this user may not read the file: nothing will be sent.
        """
        with suppress(*((LedgerUnusable,) if looking else ())):
            return None if identity is None else CountFile(count_file(identity.name)).read()
        return None

    def refuse_loss(self, *, is_there: bool) -> None:
        """Raise LedgerOlder if there is no ledger, although the file next to its place shows that there was one."""
        if is_there:
            return
        kept = self.kept()
        if kept is not None and kept.counter:
            raise LedgerOlder(
                f"is gone: {self.path} shows that there was a ledger, with the counter {kept.counter:,}. A new "
                "ledger would send everything again. Restore the ledger or its newest backup; if you have neither, "
                "`gotsurge ledger accept-older` allows a new ledger",
                path=str(self._ledger),
            )

    def refuse_older(
        self, kept: Identity | None, identity: Identity | None, db: Database, *, looking: bool = False
    ) -> None:
        """Raise LedgerOlder if the ledger counts less than its files, or lacks the last counted transactions.

        ``kept`` is what `kept` returned *before* the ledger was read: other processes may count in between.
        ``identity`` is None if the ledger is from before ledgers had an id.
        """
        by_id = self.kept_by_id(identity, looking=looking)
        if by_id is not None:
            identity = identity_of(db)  # as it is after that file was read, for the same reason
        if kept is not None and identity is None:
            identity = Identity(kept.id, 0)
        for known, path in ((kept, self.path), (by_id, None if by_id is None else count_file(by_id.name))):
            if known is not None and identity is not None:
                refuse_older(identity, known, str(path), str(self._ledger), lacking=is_lacking(db, known))

    def keep_for(self, identity: Identity) -> None:
        """Begin to store the counter of this ledger."""
        if self._ledger.kind is not Kind.SQLITE:
            with translated(self.path):
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._files[0].keep_for(identity)
        if count_file(identity.name).exists():
            self.keep_by_id(identity)

    def keep_by_id(self, identity: Identity) -> None:
        """Store the counter by the ledger's id, too: the register knows the ledger from now on."""
        if len(self._files) > 1:
            return
        by_id = CountFile(count_file(identity.name))
        with suppress(OSError, LedgerUnusable):  # the register cannot be written, which the push reports
            folder = by_id.path.parent
            mode = mode_in(folder.parent)
            with suppress(FileExistsError):
                folder.mkdir(0o700)
                folder.chmod(mode | 0o100 | (mode & 0o044) >> 2)
            with suppress(FileExistsError):
                os.close(os.open(by_id.path, os.O_CREAT | os.O_EXCL, 0o600))
                by_id.path.chmod(mode)
            by_id.keep_for(identity)
            self._files.append(by_id)

    def keep(self, counter: int, latest: tuple[int, int] | None = None) -> None:
        """Write the counter to the files if it was raised; see `CountFile.keep`."""
        for file in self._files:
            file.keep(counter, latest)

    def close(self) -> None:
        """Force the files to the disk, and close them."""
        for file in self._files:
            file.close()


def is_lacking(db: Database, kept: Identity) -> bool:
    """Whether a ledger lacks the last counted transactions: a push has continued from an older copy, unnoticed."""
    if kept.latest is None:
        return False
    slot, own = kept.latest
    return all(known < own for (known,) in db.rows("counted_by", slot=slot))


def refuse_older(identity: Identity, newest: Identity, where: str, path: str, *, lacking: bool = False) -> None:
    """Raise LedgerOlder if a ledger counts less than ``where``, or is ``lacking`` transactions counted there."""
    count = f"its counter is {identity.counter:,}"
    if newest.id != identity.id:
        return
    if newest.counter > identity.counter:
        problem = f"is an older copy: {count}, but {where} records {newest.counter:,}"
    elif lacking:
        problem = f"is an older copy that was used again: {count}, but it lacks changes that {where} recorded"
    else:
        return
    raise LedgerOlder(
        f"{problem}. Orders sent since the copy was made would be sent again. Replace this copy with the newest "
        "one, and remove the -wal and -shm files; if you have no newer copy, `gotsurge ledger accept-older` marks as "
        "in doubt every order that may have been sent",
        path=path,
    )


def _format(identity: Identity) -> bytes:
    text = f"gotsurge-ledger {identity.id:016x} counter {identity.counter:019d}"
    if identity.latest is not None:
        slot, own = identity.latest
        text += f" of {slot:08x} {own:019d}"
    return f"{text} {zlib.crc32(text.encode()):08x}\n".encode()


def _parse(data: bytes) -> Identity | None:
    # A file that a crash or a disk left half written is as good as none: the ledger itself is whole then.
    match = _LINE.fullmatch(data)
    if match is None or zlib.crc32(match[1]) != int(match[6], 16):
        return None
    latest = None if match[4] is None else (int(match[4], 16), int(match[5]))
    return Identity(int(match[2], 16), int(match[3]), latest)
