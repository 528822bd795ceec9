"""Tokens in a database, SQLite or PostgreSQL, for a service that runs on several machines."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from gotsurge_async.auth.sealing import Sealer
from gotsurge_async.auth.stores import RecordStore
from gotsurge_async.clock import Clock
from gotsurge_async.database import Database, Kind, Place, Row, place_of
from gotsurge_async.database.leases import SqlBoard, leased
from gotsurge_async.database.thread import DatabaseFailed, InThread
from gotsurge_async.errors import ConfigError

__all__ = ["SqlStore"]

T = TypeVar("T")

_TEXTS = Path(__file__).with_name("tokens.sql")


class SqlStore(RecordStore):
    """Keeps tokens in a database.

    Nothing is locked while a token is renewed: the lock is a lease in a row of its own, kept alive by its holder. Every
    transaction is one statement, which the database ends without its client: PostgreSQL has all of it before it begins,
    and a process that is frozen keeps no other out. In SQLite the client is the database: a process frozen in the
    milliseconds of a write keeps all others out until it wakes or is killed.

    Statements run one after another in a thread of the store, over one connection, which is replaced when it is dead.

    Args:
        database: its URL, ``sqlite:///PATH`` or ``postgresql://USER@HOST/NAME`` (a driver's name in it, as in
            ``postgresql+psycopg:``, is ignored). SQLite gets a file of its own, mode 0600: a ledger in the same file
            would be in its way.
        sealer: encrypts the tokens; None keeps them in clear, for a database that is encrypted by other means.
        clock: only for waiting while another process holds the lock.

    Raises:
        ConfigError: the database cannot be used, or the tokens cannot be decrypted.
    """

    def __init__(self, database: str, sealer: Sealer | None, *, clock: Clock | None = None) -> None:
        super().__init__("the token database", sealer, clock)
        self._connection = InThread(_place(database), _TEXTS, name="gotsurge-tokens")

    async def accounts(self) -> list[str]:
        return sorted(account for (account,) in await self.rows("accounts"))

    @asynccontextmanager
    async def lock(self, account: str) -> AsyncIterator[None]:
        async with leased(SqlBoard(self), account, self._clock):
            yield

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    async def rows(self, name: str, /, **values: str | int) -> list[Row]:
        """Run and commit a statement of ``tokens.sql``, to its end even if the caller is cancelled; returns its rows.

        Args:
            values: the values of its parameters; times are whole seconds since 1970.
        """
        return await self._in_thread(lambda database: database.rows(name, **values))

    async def change(self, name: str, /, **values: str | int) -> int:
        """Run a statement of ``tokens.sql`` as `rows` does; returns the number of rows that it changed.

        Args:
            values: as of `rows`; times are whole seconds since 1970.
        """
        return await self._in_thread(lambda database: database.change(name, **values))

    async def _read(self, account: str) -> str | None:
        rows = await self.rows("record", account=account)
        return str(rows[0][0]) if rows else None

    async def _write(self, account: str, record: str | None, over: str | None = None) -> bool:
        if record is None:
            return bool(await self.change("delete", account=account))
        if over is None:
            return bool(await self.change("save", account=account, record=record))
        return bool(await self.change("replace", account=account, record=record, kept=over))

    async def _in_thread(self, work: Callable[[Database], T]) -> T:
        try:
            return await self._connection.do(work)
        except DatabaseFailed as error:
            raise ConfigError(f"the token database cannot be used: {error}", "E309") from None


def _place(url: str) -> Place:
    """The place that a URL names; a SQLite file is made for its owner alone."""
    if "://" not in url:
        why = "the URL of the token database cannot be read: give sqlite:///PATH or postgresql://USER@HOST/NAME"
        raise ConfigError(why, "E309")
    try:
        place = place_of(url)
    except ConfigError as error:
        raise ConfigError(f"the token database: {error}", error.explain_code or "E309") from None
    if place.kind is Kind.SQLITE:
        try:
            place.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(place.path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            why = f"cannot make the token database {place.path}: {error.strerror or error}"
            raise ConfigError(why, "E309") from None
    return place
