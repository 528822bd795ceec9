"""Submitted orders: they are stored durably, and sent later by the first desk that takes them."""

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from gotsurge_async.api.endpoints import CHUNK
from gotsurge_async.database import Database, Kind, statements
from gotsurge_async.database.writer import Job
from gotsurge_async.errors import UsageError
from gotsurge_async.ledger.errors import LedgerBusy, LedgerError, LedgerUnsure, nothing_sent
from gotsurge_async.ledger.sql import joining
from gotsurge_async.ledger.sql.databases import TEXT
from gotsurge_async.ledger.sql.joining import Recorded
from gotsurge_async.ledger.sql.marks import count
from gotsurge_async.ledger.sql.store import Store
from gotsurge_async.ledger.states import FREE, LIVE, WAITING, OrderState, Submitted
from gotsurge_async.ledger.upkeep.counter import LEDGER_ID, identity_of
from gotsurge_async.starting import pattern

T = TypeVar("T")

_NAMED = pattern(r"%\((\w+)\)s")
_KNOWN = frozenset({OrderState.CREATED, OrderState.IN_DOUBT})

LEASE = 60_000_000
"""Microseconds that a desk has for an order that it took. Then another desk may take it, which does no harm."""
PATIENCE = 2.0
"""Seconds that a submission waits for the open transaction of another one with its key."""
_FIRST_PAUSE, _LAST_PAUSE = 0.05, 0.4
_IN_USE: WeakKeyDictionary[Any, asyncio.Lock] = WeakKeyDictionary()
"""Callers' connections: two submissions over one would mistake each other's time limit for the caller's."""


class SubmittedOrders:
    """The submitted orders of a ledger; see `Ledger.submitted`."""

    def __init__(self, store: Store, environment: str) -> None:
        self._store = store
        self._environment = environment

    async def add(
        self,
        account: str,
        key: str,
        payload: bytes,
        connection: Any = None,
        *,
        is_over: Callable[[Recorded], bool] = lambda owner: owner.row.state not in LIVE,
        on_replace: Callable[[Submitted, Recorded | None], None] = lambda *_: None,
    ) -> tuple[Submitted | None, Recorded | None]:
        """Add an order, durably; or, with a connection, as part of its transaction.

        Before it replaces an order that ``is_over``, as the last owner of its key shows, it calls ``on_replace`` with
        that order and that owner.

        Returns:
            The order that waits under the key now, this one or an earlier one; and the order that has the key, if it is
            created or in doubt: then no order was added.

        Raises:
            LedgerBusy: another transaction that submitted the key is still open, after two seconds. The transaction of
                ``connection`` has failed then.
            UsageError: the connection is to another database than the ledger's.
        """
        new = {"account": account, "key": key, "payload": payload, "now": self._store.stamp()}
        over: int | None = None
        announced: int | None = None

        def job(db: Database) -> tuple[Submitted | None, Recorded | None]:
            nonlocal over
            over = None
            row, owner = self._standing(db, key)
            if owner is not None and owner.row.state in _KNOWN:
                return row, owner
            has_ended = row is not None and row.claimed and (owner is None or is_over(owner))
            over = row.number if row is not None and (row.stopped or has_ended) else None
            if over != announced and over is not None:
                return row, owner
            count(db, self._store.slot)  # a copy of the ledger from before is an older one
            if connection is not None:
                return (row if over is None else None), None
            # The writer has other orders to write. One that is in this transaction, and must wait, is tried alone.
            if over is not None:
                db.change("replace_submitted", number=over, limit="1ms")
            db.change("submit", environment=self._environment, limit="1ms", **new)
            return self._standing(db, key)[0], None

        if connection is not None:
            await self._check(connection)
        try:
            row, owner = await self._in_time(job)
            while row is not None and over is not None and over != announced:
                on_replace(row, owner)
                announced = over
                row, owner = await self._in_time(job)
        except LedgerError as error:
            error.sent = "perhaps" if isinstance(error, LedgerUnsure) else "nothing"
            raise
        if connection is not None and owner is None and row is None:
            row = await self._insert(connection, over, new)
        return row, owner

    async def _in_time(self, job: Job[T]) -> T:
        """Run a job again for two seconds while another process's open transaction blocks it."""
        time, pause = asyncio.get_running_loop().time, _FIRST_PAUSE
        ends = time() + PATIENCE
        while True:
            try:
                return await self._store.write(job)
            except LedgerBusy:
                if time() >= ends:
                    raise
            await asyncio.sleep(min(pause, ends - time()))
            pause = min(_LAST_PAUSE, pause * 2)

    async def _insert(self, connection: Any, over: int | None, new: Mapping[str, Any]) -> Submitted | None:
        """Insert an order in the caller's transaction, in place of an ended one; the connection's settings stay."""
        texts = statements(TEXT, Kind.POSTGRESQL)
        which = {"environment": self._environment, "key": new["key"]}
        async with _IN_USE.setdefault(connection, asyncio.Lock()):
            limit = {"limit": f"{PATIENCE:g}s"}
            ((usual, _),) = await _ask(connection, texts["wait_at_most"], limit)
            try:
                if over is not None:
                    await _ask(connection, texts["replace_submitted"], {"number": over, **limit})
                await _ask(connection, texts["submit"], {**which, **new, **limit})
            except Exception as error:
                if getattr(getattr(error, "orig", error), "sqlstate", "") != "55P03":  # SQLAlchemy wraps the driver's
                    raise
                why = (
                    f"another transaction submitted the key {new['key']}, and is still open: roll yours back, and retry"
                )
                busy = LedgerBusy(why, path=self._store.path)
                busy.sent = "nothing"
                raise busy from error
            rows = await _ask(connection, texts["submitted"], which)
            await _ask(connection, texts["wait_at_most"], {"limit": usual})
        return _one(rows)

    async def standing(self, key: str) -> tuple[Submitted | None, Recorded | None]:
        """The order that waits under a key, and the one that has the key, or had it last, at one moment.

        If the order that waits was claimed, and refused or cancelled, the second one is its own, unless an order with
        the key was created since, or is in doubt.
        """
        with nothing_sent():
            return await self._store.read(self._standing, key)

    async def take(self, account: str, most: int = CHUNK) -> list[Submitted]:
        """Take orders that are due, the longest waiting first; no other desk takes them for a minute."""
        now = self._store.stamp()  # nothing is put off for longer than a lease, unless the clock was wrong then
        which = {"environment": self._environment, "account": account, "now": now, "latest": now + 2 * LEASE}
        if not await self._store.read(lambda db: db.rows("is_submitted", **which)):
            return []
        rows = await self._store.write(lambda db: db.rows("take_submitted", until=now + LEASE, most=most, **which))
        return sorted(map(_made, rows), key=lambda order: (order.at, order.number))

    async def put_off(self, orders: Sequence[Submitted], seconds: float = 0, *, failed: bool = False) -> None:
        """Make orders due again in ``seconds``; ``failed`` counts one more attempt."""
        numbers = [order.number for order in orders]
        due = {"due_at": self._store.stamp() + int(seconds * 1_000_000), "more": int(failed)}
        await self._store.write(lambda db: db.change("put_off", numbers=db.listed(numbers), **due))

    async def stop(self, order: Submitted, why: int) -> None:
        """Keep an order that will not be sent, until another one is submitted under its key."""
        await self._store.write(lambda db: db.change("stop_submitted", number=order.number, stopped=why))

    async def unclaim(self, order: Submitted) -> bool:
        """Make an order due again if the order of a run that has its key for it still waits: it was not sent.

        Returns whether it is due. That order may have superseded the one that claimed it, see ``hand_over_submitted``.
        """
        now = self._store.stamp()

        def job(db: Database) -> bool:
            row, owner = self._standing(db, order.key)
            if row != order or owner is None or owner.row.state not in WAITING:
                return False
            which = {"keys": db.listed([order.key]), "orders": db.listed([owner.row.id])}
            return db.change("unclaim_submitted", environment=self._environment, now=now, **which) > 0

        return await self._store.write(job)

    async def forget(self, order: Submitted) -> None:
        """Remove an order whose outcome is in the ledger."""
        await self._store.write(lambda db: db.change("forget_submitted", number=order.number))

    def _standing(self, db: Database, key: str) -> tuple[Submitted | None, Recorded | None]:
        row = _one(db.rows("submitted", environment=self._environment, key=key))
        held = partial(self._store.locks.is_held, db)
        owner = joining.last(db, self._environment, key, held)
        known = row is not None and owner is not None and (owner.row.id == row.claimed or owner.row.state in _KNOWN)
        if row is not None and row.claimed and not known:
            own = joining.at_number(db, self._environment, key, row.claimed, held)
            if own is not None and own.row.state in FREE:  # another order may have had the key since
                return row, own
        return row, owner

    async def _check(self, connection: Any) -> None:
        if self._store.place.kind is not Kind.POSTGRESQL:
            raise UsageError("connection: only a ledger in PostgreSQL can share a transaction", "E908")
        identity = await self._store.read(identity_of)
        texts = statements(TEXT, Kind.POSTGRESQL)
        this = {"name": LEDGER_ID, "value": -1 if identity is None else identity.id}
        if not (await _ask(connection, texts["has_ledger"], {}) and await _ask(connection, texts["has_meta"], this)):
            raise UsageError(f"connection must be to the database of the ledger {self._store.path}", "E908")


async def _ask(connection: Any, text: str, values: Mapping[str, Any]) -> Sequence[Any]:
    """Execute a statement over a caller's connection, and return its rows, if it has any."""
    psycopg, sqlalchemy = sys.modules.get("psycopg"), sys.modules.get("sqlalchemy.ext.asyncio")
    if psycopg is not None and isinstance(connection, psycopg.AsyncConnection):
        # Of a class of its own: the connection's may read no named values.
        cursor = psycopg.AsyncCursor(connection, row_factory=psycopg.rows.tuple_row)
        async with connection.pipeline() if connection.pgconn.pipeline_status else nullcontext():  # waits for the rows
            await cursor.execute(text, values)
        return [] if cursor.description is None else await cursor.fetchall()
    if sqlalchemy is not None and isinstance(connection, (sqlalchemy.AsyncConnection, sqlalchemy.AsyncSession)):
        statement = sys.modules["sqlalchemy"].text(_NAMED.sub(r":\1", text))
        result = await connection.execute(statement, values)
        return result.fetchall() if result.returns_rows else []
    raise UsageError(
        "connection: give psycopg's AsyncConnection, or SQLAlchemy's AsyncConnection or AsyncSession, not "
        f"{type(connection).__name__}",
        "E908",
    )


def _one(rows: Sequence[Any]) -> Submitted | None:
    return _made(rows[0]) if rows else None


def _made(row: Sequence[Any]) -> Submitted:
    number, account, key, payload, *rest = row
    return Submitted(number, account, key, bytes(payload), *rest)
