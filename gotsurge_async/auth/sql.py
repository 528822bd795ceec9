"""Tokens in a database, SQLite or PostgreSQL, for a service that runs on several machines."""

import math
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from gotsurge_async.auth.consent import STATE_LIFE, Pending
from gotsurge_async.auth.leases import leased
from gotsurge_async.auth.sealing import Sealer
from gotsurge_async.auth.stores import Tokens, from_record, is_current, same_pair, to_record
from gotsurge_async.clock import Clock, SystemClock
from gotsurge_async.database import Database, Kind, Place, Row, place_of
from gotsurge_async.database.thread import DatabaseFailed, InThread
from gotsurge_async.errors import ConfigError

__all__ = ["SqlStates", "SqlStore"]

T = TypeVar("T")

_TEXTS = Path(__file__).with_name("tokens.sql")


class SqlStore:
    """Keeps tokens in a database.

    Nothing is locked while a token is renewed: the lock is a lease in a row of its own, kept alive by its holder. Every
    transaction is one statement, which the database ends without its client: PostgreSQL has all of it before it begins,
    and a process that is frozen keeps nobody out. In SQLite the client is the database: a process frozen in the
    milliseconds of a write keeps everybody else out until it wakes or is killed.

    Statements run one after another in a thread of the store, over one connection, which is replaced when it is dead.

    Args:
        database: its URL, ``sqlite:///PATH`` or ``postgresql://USER@HOST/NAME`` (a driver's name in it, as in
            ``postgresql+psycopg:``, is passed over). SQLite gets a file of its own, mode 0600: a ledger in the same
            file would be in its way.
        sealer: encrypts the tokens; None keeps them in clear, for who encrypts the database by other means.
        clock: only for waiting while another process holds the lock.

    Raises:
        ConfigError: the database cannot be used, or the tokens cannot be decrypted.
    """

    def __init__(self, database: str, sealer: Sealer | None, *, clock: Clock | None = None) -> None:
        self._connection = InThread(
            _place(database), _TEXTS, name="gotsurge-tokens", prepare=lambda db: db.script("tables")
        )
        self._sealer = sealer
        self._clock = clock or SystemClock()

    async def load(self, account: str) -> Tokens | None:
        """The tokens of an account, or None."""
        record = await self._record(account)
        return None if record is None else self._parse(account, record)

    async def save(self, account: str, tokens: Tokens) -> None:
        """Keep tokens; committed on return."""
        await self.change("save", account=account, record=self._write(account, tokens))

    async def replace(self, account: str, old: Tokens, new: Tokens) -> bool:
        """Keep ``new`` if ``old`` is still what is kept; whether it was."""
        kept = await self._record(account)
        if kept is None or not same_pair(self._parse(account, kept), old):
            return False
        return bool(await self.change("replace", account=account, record=self._write(account, new), kept=kept))

    async def delete(self, account: str) -> None:
        """Forget an account."""
        await self.change("delete", account=account)

    async def accounts(self) -> list[str]:
        """The names of all accounts, sorted."""
        return sorted(account for (account,) in await self.rows("accounts"))

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
        """Give back the connection."""
        await self._connection.close()

    # --- the database -----------------------------------------------------------------------------------------------

    async def rows(self, name: str, /, **values: str | int) -> list[Row]:
        """The rows of a statement of ``tokens.sql``, which is committed. Whole, also when the caller is cancelled.

        Args:
            values: what stands for the names in it; times are whole seconds since 1970.
        """
        return await self._in_thread(lambda database: database.rows(name, **values))

    async def change(self, name: str, /, **values: str | int) -> int:
        """How many rows a statement of ``tokens.sql`` changed; otherwise as `rows`.

        Args:
            values: as of `rows`; times are whole seconds since 1970.
        """
        return await self._in_thread(lambda database: database.change(name, **values))

    async def _in_thread(self, work: Callable[[Database], T]) -> T:
        try:
            return await self._connection.do(work)
        except DatabaseFailed as error:
            raise ConfigError(f"the token database cannot be used: {error}") from None

    async def _record(self, account: str) -> str | None:
        rows = await self.rows("record", account=account)
        return str(rows[0][0]) if rows else None

    def _write(self, account: str, tokens: Tokens) -> str:
        return msgspec.json.encode(to_record(tokens, self._sealer, account)).decode()

    def _parse(self, account: str, record: str) -> Tokens:
        return from_record(_decoded(record), self._sealer, account, "the token database")


class SqlBoard:
    """Leases as rows; the sign of life is a count."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    async def sign(self, name: str) -> str | None:
        """The holder and its count."""
        rows = await self._store.rows("sign", name=name)
        return f"{rows[0][0]}/{rows[0][1]}" if rows else None

    async def take(self, name: str, me: str, over: str | None) -> bool:
        """Put our row there, or in place of the one whose sign is ``over``."""
        holder, _, beat = (over or "/-1").partition("/")
        return bool(await self._store.change("take", name=name, me=me, holder=holder, beat=int(beat)))

    async def beat(self, name: str, me: str) -> bool:
        """Count on."""
        return bool(await self._store.change("beat", name=name, me=me))

    async def give_back(self, name: str, me: str) -> None:
        """Remove our row."""
        await self._store.change("give_back", name=name, me=me)


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
        await self._store.change("forget_sign_ins", forgotten=forgotten)
        record = msgspec.json.encode({"account": pending.account, "browser": pending.browser}).decode()
        await self._store.change("begin_sign_in", state=key, record=record, ends=ends)

    async def take(self, key: str) -> Pending | None:
        """Forget a consent and return it, in one step."""
        rows = await self._store.rows("end_sign_in", state=key)
        if not rows:
            return None
        record, ends = rows[0]
        kept = msgspec.json.decode(record, type=dict[str, str])
        return Pending(**kept, ends=datetime.fromtimestamp(ends, UTC))


def _place(url: str) -> Place:
    """Where a URL leads; a SQLite file is made for its owner alone."""
    if "://" not in url:
        raise ConfigError("the URL of the token database cannot be read: sqlite:///PATH or postgresql://USER@HOST/NAME")
    try:
        place = place_of(url)
    except ConfigError as error:
        raise ConfigError(f"the token database: {error}") from None
    if place.kind is Kind.SQLITE:
        try:
            place.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(place.path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise ConfigError(f"cannot make the token database {place.path}: {error.strerror or error}") from None
    return place


def _decoded(record: str) -> Any:
    try:
        return msgspec.json.decode(record)
    except msgspec.DecodeError:
        return None
