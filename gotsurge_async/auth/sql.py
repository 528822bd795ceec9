"""Tokens in a database, SQLite or PostgreSQL, for a service that runs on several machines (SQLAlchemy, asyncio)."""

import asyncio
import math
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    MetaData,
    Table,
    Text,
    and_,
    delete,
    event,
    make_url,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from gotsurge_async.auth.consent import STATE_LIFE, Pending
from gotsurge_async.auth.leases import leased, whole
from gotsurge_async.auth.sealing import Sealer
from gotsurge_async.auth.stores import Tokens, from_record, is_current, same_pair, to_record
from gotsurge_async.clock import Clock, SystemClock
from gotsurge_async.errors import ConfigError

T = TypeVar("T")

metadata: MetaData = MetaData()

tokens_table: Table = Table(
    "gotsurge_tokens",
    metadata,
    Column("account", Text, primary_key=True),
    Column("record", Text, nullable=False),
)
leases_table: Table = Table(
    "gotsurge_leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("beat", BigInteger, nullable=False),
)
sign_ins_table: Table = Table(
    "gotsurge_sign_ins",
    metadata,
    Column("state", Text, primary_key=True),
    Column("record", Text, nullable=False),
    Column("ends", BigInteger, nullable=False),
)

_PATIENCE = 30.0
"""Seconds that a statement waits for another process's, which take milliseconds."""
_CREATING = 7_237_103_001
"""The advisory lock under which the tables are made: CREATE TABLE IF NOT EXISTS fails when two do it at once."""


class SqlStore:
    """Keeps tokens in a database.

    Nothing is locked while a token is renewed: the lock is a lease in a row of its own, kept alive by its holder. Every
    transaction is one or two statements, and PostgreSQL ends one whose process was frozen in it. SQLite cannot: a
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
        record = await self.run(lambda db: _record(db, account))
        return None if record is None else self._parse(record)

    async def save(self, account: str, tokens: Tokens) -> None:
        """Keep tokens; committed on return."""
        record = self._write(tokens)
        await self.run(lambda db: _put(db, account, record))

    async def replace(self, account: str, old: Tokens, new: Tokens) -> bool:
        """Keep ``new`` if ``old`` is still what is kept; whether it was."""
        record = self._write(new)

        def swap(db: Connection) -> bool:
            kept = _record(db, account)
            if kept is None or not same_pair(self._parse(kept), old):
                return False
            changed = db.execute(
                update(tokens_table)
                .where(tokens_table.c.account == account, tokens_table.c.record == kept)
                .values(record=record)
            )
            return changed.rowcount == 1

        return await self.run(swap)

    async def delete(self, account: str) -> None:
        """Forget an account."""
        await self.run(lambda db: db.execute(delete(tokens_table).where(tokens_table.c.account == account)).close())

    async def accounts(self) -> list[str]:
        """The names of all accounts, sorted."""
        return sorted(await self.run(lambda db: list(db.scalars(select(tokens_table.c.account)))))

    async def reseal(self) -> int:
        """Encrypt anew what is not sealed with the newest key; how many accounts that were.

        Raises:
            ConfigError: the store has no sealer, or none of its keys fits.
        """
        if self._sealer is None:
            raise ConfigError("sealing anew needs token keys")
        done = 0
        for account in await self.accounts():
            record = await self.run(lambda db, account=account: _record(db, account))  # type: ignore[misc]
            if record is None or is_current(msgspec.json.decode(record), self._sealer):
                continue
            tokens = self._parse(record)
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

    async def run(self, job: Callable[[Connection], T]) -> T:
        """Run a few statements in a transaction of their own; whole, also when the caller is cancelled."""
        return await whole(self._run(job))

    async def _run(self, job: Callable[[Connection], T]) -> T:
        try:
            await self._prepare()
            async with self._begun() as connection:
                return await connection.run_sync(job)
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise ConfigError(f"the token database cannot be used: {_why(error)}") from None

    async def _prepare(self) -> None:
        async with self._preparing:
            if self._ready:
                return
            async with self._begun() as connection:
                await connection.run_sync(_make_tables)
            self._ready = True

    @asynccontextmanager
    async def _begun(self) -> AsyncIterator[AsyncConnection]:
        async with self._engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                # The driver begins late and never IMMEDIATE: then a reader that comes to write may fail at once.
                await connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(_PATIENCE * 1000)}")
                await connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                # Frozen inside these few statements, a process loses its transaction instead of blocking the others.
                await connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = '5s'")
            try:
                yield connection
            except BaseException:
                await connection.rollback()
                raise
            await connection.commit()

    def _write(self, tokens: Tokens) -> str:
        return msgspec.json.encode(to_record(tokens, self._sealer)).decode()

    def _parse(self, record: str) -> Tokens:
        try:
            content: Any = msgspec.json.decode(record)
        except msgspec.DecodeError:
            content = None
        return from_record(content, self._sealer, "the token database")


class SqlBoard:
    """Leases as rows; the sign of life is a count."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    async def sign(self, name: str) -> str | None:
        """The holder and its count."""
        return await self._store.run(lambda db: _sign(db, name))

    async def take(self, name: str, me: str, over: str | None) -> bool:
        """Put our row there, or in place of the one whose sign is ``over``."""

        def take(db: Connection) -> bool:
            if over is not None:
                holder, _, beat = over.partition("/")
                db.execute(
                    delete(leases_table).where(_is(name, holder), leases_table.c.beat == int(beat)),
                )
            row = {"name": name, "holder": me, "beat": 0}
            db.execute(_dialect_insert(db, leases_table).values(row).on_conflict_do_nothing())
            # The count of inserted rows is not told by every driver.
            return db.scalar(select(leases_table.c.holder).where(leases_table.c.name == name)) == me

        return await self._store.run(take)

    async def beat(self, name: str, me: str) -> bool:
        """Count on."""
        counted = update(leases_table).where(_is(name, me)).values(beat=leases_table.c.beat + 1)
        return await self._store.run(lambda db: db.execute(counted).rowcount == 1)

    async def give_back(self, name: str, me: str) -> None:
        """Remove our row."""
        await self._store.run(lambda db: db.execute(delete(leases_table).where(_is(name, me))).close())


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


def _leave_transactions_to_us(connection: Any, _record: object) -> None:
    connection.isolation_level = None


def _make_tables(db: Connection) -> None:
    if db.dialect.name == "postgresql":
        db.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_CREATING})")
    metadata.create_all(db)


def _record(db: Connection, account: str) -> str | None:
    return db.scalar(select(tokens_table.c.record).where(tokens_table.c.account == account))


def _put(db: Connection, account: str, record: str) -> None:
    statement = _dialect_insert(db, tokens_table).values(account=account, record=record)
    db.execute(statement.on_conflict_do_update(index_elements=["account"], set_={"record": record}))


def _sign(db: Connection, name: str) -> str | None:
    row = db.execute(select(leases_table.c.holder, leases_table.c.beat).where(leases_table.c.name == name)).first()
    return None if row is None else f"{row.holder}/{row.beat}"


def _is(name: str, holder: str) -> Any:
    return and_(leases_table.c.name == name, leases_table.c.holder == holder)


def _dialect_insert(db: Connection, table: Table) -> Any:
    return (postgresql if db.dialect.name == "postgresql" else sqlite).insert(table)


def _why(error: BaseException) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    why = (str(cause).strip().splitlines() or [type(cause).__name__])[0][:200]
    if why == "database is locked":
        why += ": another process is writing, or was frozen while it wrote; wake or end it"
    return why


class SqlStates:
    """Remembers consents under way in the store's database, for a service of several processes or machines.

    A `gotsurge_async.auth.consent.StateStore`. What nobody came back for is forgotten after its time.
    """

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    async def put(self, key: str, pending: Pending) -> None:
        """Remember a consent."""
        record = msgspec.json.encode({"account": pending.account, "browser": pending.browser}).decode()
        ends = math.ceil(pending.ends.timestamp())
        forgotten = ends - int(2 * STATE_LIFE.total_seconds())

        def put(db: Connection) -> None:
            db.execute(delete(sign_ins_table).where(sign_ins_table.c.ends < forgotten))
            db.execute(sign_ins_table.insert().values(state=key, record=record, ends=ends))

        await self._store.run(put)

    async def take(self, key: str) -> Pending | None:
        """Forget a consent and return it, in one step."""
        taking = (
            delete(sign_ins_table)
            .where(sign_ins_table.c.state == key)
            .returning(sign_ins_table.c.record, sign_ins_table.c.ends)
        )
        row = await self._store.run(lambda db: db.execute(taking).first())
        if row is None:
            return None
        ends = datetime.fromtimestamp(row.ends, UTC)
        return Pending(**msgspec.json.decode(row.record, type=dict[str, str]), ends=ends)
