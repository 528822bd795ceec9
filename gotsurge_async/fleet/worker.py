"""A worker that the queue wakes up, and that outlives its database's restarts."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import procrastinate

from gotsurge_async.bulk.ledger import Ledger, LedgerAway, LedgerOlder, LedgerUnusable
from gotsurge_async.bulk.worker import Worker
from gotsurge_async.cancellation import uninterrupted
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
                    await _serve(ledger, app, worker)
                finally:
                    away_since = clock.monotonic()
                    tries = tries if away_since - began < LONGEST_PAUSE else 0
        except (LedgerUnusable, *queue.AWAY) as error:
            if isinstance(error, LedgerOlder) or (isinstance(error, LedgerUnusable) and error.flaws):
                raise
            away = clock.monotonic() - away_since
            why = queue.told(error)
            if away > patience:
                told = f"could not be reached for {away:.0f} s: start the worker again ({why})"
                raise LedgerAway(told, path=str(place)) from error
            log.warning("%s: waiting for the ledger's database: %s", worker.name, why)
            tries += 1
            await sleep_or(worker.stopping, clock, min(0.25 * 2**tries, LONGEST_PAUSE))


async def _serve(ledger: Ledger, app: procrastinate.App, worker: Worker) -> None:
    """Do jobs, until the worker is stopped, or something is wrong with the database; nothing is in flight then."""
    worker.broken.clear()
    await ledger.workers.register(worker.name, worker.environment)
    tasks = [
        asyncio.create_task(coroutine)
        for coroutine in (
            queue.serve(app, worker),
            worker.beat(ledger),
            worker.stopping.wait(),
            worker.broken.wait(),
        )
    ]
    serving, beating = tasks[:2]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        worker.drain()
        serving.cancel()  # it waits for the jobs that were begun
        await asyncio.wait([serving])
    finally:
        await uninterrupted(_end(worker, tasks))
    if worker.error is not None or worker.stopping.is_set():
        await worker.leave(ledger)
    if worker.error is not None:
        raise worker.error
    if worker.stopping.is_set():
        return
    for task in (beating, serving):
        if not task.cancelled():
            task.result()


async def _end(worker: Worker, tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Let nothing go on that needs the ledger, which is closed next."""
    await worker.abort()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
