"""The workers of a ledger: who they are, and when each was last heard of, by the database's clock."""

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
"""How often a worker reports that it lives, and checks whether what it sends was stopped."""
SILENT_SECONDS = 5 * BEAT_SECONDS
"""A worker that was not heard of for longer is reported as silent."""
FORGOTTEN_SECONDS = 3600.0
"""How long one that is not heard of any more is listed."""


class Beat(Struct, frozen=True, kw_only=True):
    """What a worker reports of itself: ``working`` or ``draining``, and why it rests, for people."""

    state: str = "working"
    segments: int = 0
    """In its hands."""
    orders: int = 0
    """That it has finished."""
    orders_per_minute: int = 0
    trouble: str | None = None


class Worker(Beat, frozen=True, kw_only=True):
    """A worker, with its last beat."""

    id: str
    """Its name, such as ``host-4711-k3f9``."""
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
        """List a worker, and forget those that have not been heard of for long."""
        values = {"host": socket.gethostname(), "pid": os.getpid(), "version": __version__, "environment": environment}

        def job(db: Database) -> None:
            db.change("forget_workers", silent=int(FORGOTTEN_SECONDS * 1e6))
            db.change("register_worker", id=name, **values)

        await self._store.write(job)

    async def beat(self, name: str, beat: Beat) -> bool:
        """Record that a worker lives; False if it is not listed, or not any more."""
        return await self._store.write(lambda db: db.change("beat", id=name, **structs.asdict(beat))) == 1

    async def leave(self, name: str) -> None:
        """Remove a worker from the list."""
        await self._store.write(lambda db: db.change("leave_work", id=name))

    async def all(self) -> list[Worker]:
        """All that are listed; one that ended without leaving for an hour."""
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
