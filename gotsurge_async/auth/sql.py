"""Tokens in a database, SQLite or PostgreSQL, for a service that runs on several machines (SQLAlchemy, asyncio)."""

import asyncio
import math
import os
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Dialect, Executable, Row, Text, TypeDecorator, bindparam, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from gotsurge_async.auth.consent import STATE_LIFE, Pending
from gotsurge_async.auth.leases import leased
from gotsurge_async.auth.sealing import Sealer
from gotsurge_async.auth.stores import Tokens, from_record, is_current, same_pair, to_record
from gotsurge_async.cancellation import uninterrupted
from gotsurge_async.clock import Clock, SystemClock
from gotsurge_async.errors import ConfigError
from gotsurge_async.secrets import HIDDEN

_TABLES = (
    "gotsurge_tokens (account TEXT NOT NULL PRIMARY KEY, record TEXT NOT NULL)",
    "gotsurge_leases (name TEXT NOT NULL PRIMARY KEY, holder TEXT NOT NULL, beat BIGINT NOT NULL)",
    "gotsurge_sign_ins (state TEXT NOT NULL PRIMARY KEY, record TEXT NOT NULL, ends BIGINT NOT NULL)",
)
_PATIENCE = 30.0
"""Seconds that a statement waits for another process's, which take milliseconds."""
_CREATING = 7_237_103_001
"""The advisory lock under which the tables are made: CREATE TABLE IF NOT EXISTS fails when two do it at once."""


class _Hidden(str):
    """A text that logs do not show: drivers write parameters, and SQLAlchemy rows, into the log as their repr."""

    __slots__ = ()

    def __repr__(self) -> str:
        return HIDDEN


class _HiddenText(TypeDecorator[str]):
    """A column that holds secrets."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """What the driver gets."""
        return None if value is None else _Hidden(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """What a row shows."""
        return None if value is None else _Hidden(value)


_SECRET = {"record", "kept", "state"}
"""Names of parameters and columns that hold secrets."""


class SqlStore:
    """Keeps tokens in a database.

    Nothing is locked while a token is renewed: the lock is a lease in a row of its own, kept alive by its holder. Every
    transaction is one statement, and PostgreSQL ends one whose process was frozen in it. SQLite cannot: a
    process frozen in the milliseconds of a write keeps everybody else out until it wakes or is killed.

    Args:
        database: a URL with an asynchronous driver (``sqlite+aiosqlite:///…``, ``postgresql+psycopg://…``), or an
            engine, which stays the caller's to dispose of. SQLite gets a file of its own, mode 0600: a ledger in the
            same file would be in its way.
        sealer: encrypts the tokens; None keeps them in clear, for who encrypts the database by other means.
        clock: only for waiting while another process holds the lock.

    Raises:
        ConfigError: the database cannot be used, or the tokens cannot be decrypted.
    """

    def __init__(self, database: str | AsyncEngine, sealer: Sealer | None, *, clock: Clock | None = None) -> None:
        self._owned = isinstance(database, str)
        self._engine = engine_of(database) if isinstance(database, str) else database
        self._sealer = sealer
        self._clock = clock or SystemClock()
        self._ready = False
        self._preparing = asyncio.Lock()

    async def load(self, account: str) -> Tokens | None:
        """The tokens of an account, or None."""
        record = await self._record(account)
        return None if record is None else self._parse(account, record)

    async def save(self, account: str, tokens: Tokens) -> None:
        """Keep tokens; committed on return."""
        await self.run(
            "INSERT INTO gotsurge_tokens (account, record) VALUES (:account, :record) "
            "ON CONFLICT (account) DO UPDATE SET record = excluded.record",
            account=account,
            record=self._write(tokens),
        )

    async def replace(self, account: str, old: Tokens, new: Tokens) -> bool:
        """Keep ``new`` if ``old`` is still what is kept; whether it was."""
        kept = await self._record(account)
        if kept is None or not same_pair(self._parse(account, kept), old):
            return False
        changed = await self.run(
            "UPDATE gotsurge_tokens SET record = :record WHERE account = :account AND record = :kept RETURNING account",
            account=account,
            record=self._write(new),
            kept=kept,
        )
        return bool(changed)

    async def delete(self, account: str) -> None:
        """Forget an account."""
        await self.run("DELETE FROM gotsurge_tokens WHERE account = :account", account=account)

    async def accounts(self) -> list[str]:
        """The names of all accounts, sorted."""
        return sorted(row.account for row in await self.run("SELECT account FROM gotsurge_tokens"))

    async def reseal(self) -> int:
        """Encrypt anew what is not sealed with the newest key; how many accounts that were.

        Raises:
            ConfigError: the store has no sealer, or none of its keys fits.
        """
        if self._sealer is None:
            raise ConfigError("sealing anew needs token keys")
        done = 0
        for account in await self.accounts():
            # Again when somebody else has written meanwhile, perhaps with an old key.
            while (record := await self._record(account)) is not None and not is_current(
                _decoded(record), self._sealer
            ):
                tokens = self._parse(account, record)
                done += await self.replace(account, tokens, tokens)
        return done

    def lock(self, account: str) -> AbstractAsyncContextManager[None]:
        """Exclude other tasks, processes and machines from renewing this account."""
        return leased(SqlBoard(self), account, self._clock)

    async def close(self) -> None:
        """Give back the connections, unless the engine is the caller's."""
        if self._owned:
            await self._engine.dispose()

    # --- the database -----------------------------------------------------------------------------------------------

    async def run(self, sql: str, **values: str | int) -> Sequence[Row[Any]]:
        """Run one statement, and commit; its rows. Whole, also when the caller is cancelled.

        What has the name of a secret is shown in no log, whatever its level.
        """
        return await uninterrupted(self._run(sql, values))

    async def _run(self, sql: str, values: dict[str, str | int]) -> Sequence[Row[Any]]:
        try:
            await self._prepare()
            async with self._begun() as connection:
                done = await connection.execute(_statement(sql, values), values)
                return done.all() if done.returns_rows else ()
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise ConfigError(f"the token database cannot be used: {_why(error)}") from None

    async def _prepare(self) -> None:
        async with self._preparing:
            if self._ready:
                return
            async with self._begun() as connection:
                if connection.dialect.name == "postgresql":
                    await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_CREATING})")
                for table in _TABLES:
                    await connection.exec_driver_sql(f"CREATE TABLE IF NOT EXISTS {table}")
            self._ready = True

    @asynccontextmanager
    async def _begun(self) -> AsyncIterator[AsyncConnection]:
        async with self._engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                # The driver begins late and never IMMEDIATE: then a reader that comes to write may fail at once.
                await connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(_PATIENCE * 1000)}")
                await connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                # Frozen inside a statement, a process loses its transaction instead of blocking the others.
                await connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = '5s'")
            try:
                yield connection
            except BaseException:
                await connection.rollback()
                raise
            await connection.commit()

    async def _record(self, account: str) -> str | None:
        rows = await self.run("SELECT record FROM gotsurge_tokens WHERE account = :account", account=account)
        return str(rows[0].record) if rows else None

    def _write(self, tokens: Tokens) -> str:
        return msgspec.json.encode(to_record(tokens, self._sealer)).decode()

    def _parse(self, account: str, record: str) -> Tokens:
        return from_record(_decoded(record), self._sealer, f"account {account} in the token database")


class SqlBoard:
    """Leases as rows; the sign of life is a count."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    async def sign(self, name: str) -> str | None:
        """The holder and its count."""
        rows = await self._store.run("SELECT holder, beat FROM gotsurge_leases WHERE name = :name", name=name)
        return f"{rows[0].holder}/{rows[0].beat}" if rows else None

    async def take(self, name: str, me: str, over: str | None) -> bool:
        """Put our row there, or in place of the one whose sign is ``over``."""
        holder, _, beat = (over or "/-1").partition("/")
        taken = await self._store.run(
            "INSERT INTO gotsurge_leases AS held (name, holder, beat) VALUES (:name, :me, 0) "
            "ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, beat = 0 "
            "WHERE held.holder = :holder AND held.beat = :beat RETURNING name",
            name=name,
            me=me,
            holder=holder,
            beat=int(beat),
        )
        return bool(taken)

    async def beat(self, name: str, me: str) -> bool:
        """Count on."""
        counted = await self._store.run(
            "UPDATE gotsurge_leases SET beat = beat + 1 WHERE name = :name AND holder = :me RETURNING name",
            name=name,
            me=me,
        )
        return bool(counted)

    async def give_back(self, name: str, me: str) -> None:
        """Remove our row."""
        await self._store.run("DELETE FROM gotsurge_leases WHERE name = :name AND holder = :me", name=name, me=me)


class SqlStates:
    """Remembers consents under way in the store's database, for a service of several processes or machines.

    A `gotsurge_async.auth.consent.StateStore`. What nobody came back for is forgotten after its time.
    """

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    async def put(self, key: str, pending: Pending) -> None:
        """Remember a consent."""
        ends = math.ceil(pending.ends.timestamp())
        forgotten = ends - int(2 * STATE_LIFE.total_seconds())
        await self._store.run("DELETE FROM gotsurge_sign_ins WHERE ends < :forgotten", forgotten=forgotten)
        record = msgspec.json.encode({"account": pending.account, "browser": pending.browser}).decode()
        await self._store.run(
            "INSERT INTO gotsurge_sign_ins (state, record, ends) VALUES (:state, :record, :ends)",
            state=key,
            record=record,
            ends=ends,
        )

    async def take(self, key: str) -> Pending | None:
        """Forget a consent and return it, in one step."""
        rows = await self._store.run(
            "DELETE FROM gotsurge_sign_ins WHERE state = :state RETURNING record, ends", state=key
        )
        if not rows:
            return None
        kept = msgspec.json.decode(str(rows[0].record), type=dict[str, str])
        return Pending(**kept, ends=datetime.fromtimestamp(rows[0].ends, UTC))


def engine_of(url: str) -> AsyncEngine:
    """An engine for a URL; a SQLite file is made for its owner alone.

    Raises:
        ConfigError: no such database, its driver is missing, or the file cannot be made.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigError("the URL of the token database cannot be read") from None
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise ConfigError(f"tokens are kept in SQLite or PostgreSQL, not in {parsed.get_backend_name()}")
    options: dict[str, Any] = {}
    if parsed.get_backend_name() == "sqlite":
        path = Path(parsed.database or "")
        if not parsed.database or parsed.database == ":memory:":
            raise ConfigError("tokens in SQLite need a file: give sqlite+aiosqlite:///PATH, or use a MemoryStore")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise ConfigError(f"cannot make the token database {path}: {error.strerror or error}") from None
    else:
        options["pool_pre_ping"] = True  # a service that runs for months outlives its database server's restarts
    try:
        # hide_parameters: an error of the database must not print a token.
        engine = create_async_engine(parsed, hide_parameters=True, **options)
    except (ModuleNotFoundError, SQLAlchemyError) as error:
        raise ConfigError(f"the token database needs another driver: {error}") from None
    if parsed.get_backend_name() == "sqlite":
        event.listen(engine.sync_engine, "connect", _leave_transactions_to_us)
    return engine


def _statement(sql: str, values: Mapping[str, object]) -> Executable:
    """A statement whose secrets are marked as such, among its parameters and among what it returns."""
    statement = text(sql).bindparams(*(bindparam(name, type_=_HiddenText()) for name in values.keys() & _SECRET))
    returned = sql.partition(" FROM ")[0] if sql.startswith("SELECT") else sql.partition(" RETURNING ")[2]
    secret = _SECRET & set(returned.replace(",", " ").split())
    return statement.columns(**dict.fromkeys(secret, _HiddenText())) if secret else statement


def _decoded(record: str) -> Any:
    try:
        return msgspec.json.decode(record)
    except msgspec.DecodeError:
        return None


def _leave_transactions_to_us(connection: Any, _record: object) -> None:
    connection.isolation_level = None


def _why(error: BaseException) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    why = (str(cause).strip().splitlines() or [type(cause).__name__])[0][:200]
    if why == "database is locked":
        why += ": another process is writing, or was frozen while it wrote; wake or end it"
    return why
