"""The workers of a ledger, and the last sign of life of each, by the database's clock."""

import os
import secrets
import socket
from datetime import datetime

from msgspec import Struct, structs

from gotsurge_async.clock import from_microseconds
from gotsurge_async.database import Database
from gotsurge_async.ledger.sql.store import Store
from gotsurge_async.version import __version__

BEAT_SECONDS = 2.0
"""Seconds between two reports of a worker that it lives, when it also checks whether its run was stopped."""
SILENT_SECONDS = 5 * BEAT_SECONDS
"""A worker that has not reported for longer is shown as silent."""
FORGOTTEN_SECONDS = 3600.0
"""Seconds that a worker is listed after its last report."""


class Beat(Struct, frozen=True, kw_only=True):
    """A worker's report of itself: ``working`` or ``draining``, and the reason for a rest, for people."""

    state: str = "working"
    segments: int = 0
    """The number of segments that it holds."""
    orders: int = 0
    """The number of orders that it has finished."""
    orders_per_minute: int = 0
    trouble: str | None = None


class Worker(Beat, frozen=True, kw_only=True):
    """A worker, with its last beat."""

    id: str
    """The worker's name, such as ``host-4711-k3f9``."""
    host: str
    pid: int
    version: str
    environment: str
    started_at: datetime
    beat_at: datetime
    silent: float
    """Seconds since its last beat."""


def worker_name() -> str:
    """A name for this process as a worker."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"


class Workers:
    """The workers of a ledger; see `Ledger.workers`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def register(self, name: str, environment: str) -> None:
        """List a worker, and remove those that have not reported for long."""
        values = {"host": socket.gethostname(), "pid": os.getpid(), "version": __version__, "environment": environment}

        def job(db: Database) -> None:
            db.change("forget_workers", silent=int(FORGOTTEN_SECONDS * 1e6))
            db.change("register_worker", id=name, **values)

        await self._store.write(job)

    async def beat(self, name: str, beat: Beat) -> bool:
        """Record that a worker lives; returns False if it is not listed any more."""
        return await self._store.write(lambda db: db.change("beat", id=name, **structs.asdict(beat))) == 1

    async def leave(self, name: str) -> None:
        """Remove a worker from the list."""
        await self._store.write(lambda db: db.change("leave_work", id=name))

    async def all(self) -> list[Worker]:
        """All listed workers; one that ended without `leave` is listed for an hour."""
        return await self._store.read(_workers)


def _workers(db: Database) -> list[Worker]:
    workers = []
    for name, host, pid, version, environment, started_at, beat_at, *beat, now in db.rows("workers"):
        state, segments, orders, per_minute, trouble = beat
        workers.append(
            Worker(
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
        )
    return workers
