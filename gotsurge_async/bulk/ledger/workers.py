"""The workers of a ledger: who they are, and when each was last heard of, by the database's clock."""

import os
import secrets
import socket
from datetime import datetime
from typing import Any

from attrs import field, frozen

from gotsurge_async.bulk.ledger.sql.store import Store
from gotsurge_async.clock import from_microseconds
from gotsurge_async.database import Database
from gotsurge_async.version import __version__

BEAT_SECONDS = 2.0
"""How often a worker says that it lives, and looks whether what it sends was stopped."""
SILENT_SECONDS = 5 * BEAT_SECONDS
"""How long a worker may not be heard of before that is what there is to say of it."""
FORGOTTEN_SECONDS = 3600.0
"""How long one that is not heard of any more is listed."""


@frozen(kw_only=True)
class Worker:
    """A worker.

    Attributes:
        id: its name, such as ``host-4711-k3f9``.
        state: ``working`` or ``draining``.
        segments: in its hands at the last beat.
        orders: that came to their end by it.
        orders_per_minute: at the last beat.
        trouble: why it rests, for people.
        silent: seconds since its last beat.
    """

    id: str
    host: str
    pid: int
    version: str
    environment: str
    started_at: datetime
    beat_at: datetime
    state: str
    segments: int
    orders: int
    orders_per_minute: int
    trouble: str | None
    silent: float


@frozen(kw_only=True)
class Beat:
    """What a worker says of itself."""

    state: str = "working"
    segments: int = 0
    orders: int = 0
    orders_per_minute: int = 0
    trouble: str | None = field(default=None)


def worker_name() -> str:
    """A name for this process as a worker."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"


class Workers:
    """The workers of a ledger; see `Ledger.workers`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def register(self, name: str, environment: str) -> None:
        """Write a worker down, and forget those that have not been heard of for long."""

        def job(db: Database) -> None:
            db.change("forget_workers", silent=int(FORGOTTEN_SECONDS * 1e6))
            db.change(
                "register_worker",
                id=name,
                host=socket.gethostname(),
                pid=os.getpid(),
                version=__version__,
                environment=environment,
            )

        await self._store.write(job)

    async def beat(self, name: str, beat: Beat) -> bool:
        """Say that a worker lives; False if it is not written down, or not any more."""
        values = {
            "state": beat.state,
            "segments": beat.segments,
            "orders": beat.orders,
            "orders_per_minute": beat.orders_per_minute,
            "trouble": beat.trouble,
        }
        return await self._store.write(lambda db: db.change("beat", id=name, **values)) == 1

    async def leave(self, name: str) -> None:
        """Strike a worker out."""
        await self._store.write(lambda db: db.change("leave_work", id=name))

    async def all(self) -> list[Worker]:
        """All that are written down, those that ended without a word for an hour."""
        return await self._store.read(_workers)


def _workers(db: Database) -> list[Worker]:
    return [_worker(*row) for row in db.rows("workers")]


def _worker(*row: Any) -> Worker:
    name, host, pid, version, environment, started_at, beat_at, state, segments, orders, per_minute, trouble, now = row
    return Worker(
        id=name,
        host=host,
        pid=pid,
        version=version,
        environment=environment,
        started_at=from_microseconds(started_at),
        beat_at=from_microseconds(beat_at),
        state=state,
        segments=segments,
        orders=orders,
        orders_per_minute=per_minute,
        trouble=trouble,
        silent=(now - beat_at) / 1e6,
    )
