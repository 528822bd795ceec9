"""A worker that the queue wakes up, and that outlives its database's restarts."""

import asyncio
import logging
from functools import partial

from gotsurge_async.bulk.ledger import Ledger, LedgerAway, LedgerUnusable
from gotsurge_async.bulk.worker import Worker
from gotsurge_async.clock import sleep_or
from gotsurge_async.database import Place
from gotsurge_async.fleet import queue

log: logging.Logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 300.0
"""How long a worker waits for a database that is away, before it leaves that to its supervisor."""
LONGEST_PAUSE = 10.0


async def work(place: Place, worker: Worker, *, patience: float = PATIENCE_SECONDS) -> None:
    """Have a worker send what jobs name, until it is stopped.

    Args:
        place: the ledger, in PostgreSQL.
        patience: seconds to wait for its database.

    Raises:
        LedgerAway: the database was away for longer.
        LedgerError: the ledger cannot be used: it is damaged, or an older copy.
        GotSurgeError: there is no client to be had: no token that works, or settings that cannot be right.
    """
    clock = worker.clock
    away_since, tries = clock.monotonic(), 0
    await asyncio.to_thread(queue.must_be_there, place)
    while not worker.stopping.is_set():
        try:
            async with (
                await Ledger.open(place, clock=clock.now) as ledger,
                queue.opened(place, ledger, worker) as app,
            ):
                began = clock.monotonic()
                try:
                    await worker.work(ledger, partial(queue.serve, app, worker))
                finally:
                    away_since = clock.monotonic()
                    tries = tries if away_since - began < LONGEST_PAUSE else 0
        except (LedgerUnusable, *queue.AWAY) as error:
            if isinstance(error, LedgerUnusable) and error.lasts:
                raise
            away = clock.monotonic() - away_since
            why = queue.told(error)
            if away > patience:
                told = f"could not be reached for {away:.0f} s: start the worker again ({why})"
                raise LedgerAway(told, path=str(place)) from error
            log.warning("%s: waiting for the ledger's database: %s", worker.name, why)
            tries += 1
            await sleep_or(worker.stopping, clock, min(0.25 * 2**tries, LONGEST_PAUSE))
