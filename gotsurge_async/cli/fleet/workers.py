"""``gotsurge workers`` and ``gotsurge stop``; and a run with its workers, live (``gotsurge status --watch``)."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import click

from gotsurge_async.cli.shared.distributed import INTERRUPTED, PATIENCE_SECONDS
from gotsurge_async.cli.shared.exits import Exit, asynchronous
from gotsurge_async.cli.shared.ledger import env_option, ledger_option, open_ledger, shared_ledger, takes_ledger
from gotsurge_async.cli.shared.options import json_option
from gotsurge_async.cli.shared.output import Column, counted, finish, fitted, print_list, prose, say, spare
from gotsurge_async.cli.shared.progress import Progress
from gotsurge_async.database import Kind, Place
from gotsurge_async.errors import UsageError
from gotsurge_async.ledger import Counts, Ledger, LedgerUnusable, RunState
from gotsurge_async.ledger.segments import SILENT_SECONDS, Worker
from gotsurge_async.tables.checks.words import number_of, verb

COLUMNS: tuple[str | Column, ...] = (
    *("WORKER", "STATE", "SEGMENTS", "ORDERS", "A MINUTE", "HEARD"),
    *(spare("VERSION", 3), spare("ENVIRONMENT", 1), spare("SINCE", 2), prose("TROUBLE")),
)
_LIVE = [place for place, column in enumerate(COLUMNS) if not (isinstance(column, Column) and column.rank)]
"""The columns of a worker that are shown in a table of any width."""
EVERY = 1.0
"""Seconds between two reads of a watched run."""


@click.command()
@ledger_option
@env_option
@json_option
@asynchronous
async def workers(ledger: Place | None, env: str | None) -> None:
    """List the workers of a ledger: what each one is sending, how fast, and when it was last heard of.

    A worker is silent when it was not heard of for 10 seconds: it is dead, frozen or cut off. When its lease ends,
    another worker goes on with its orders. A silent worker is listed for an hour. A worker that was stopped is not
    listed.
    """
    place = shared_ledger(ledger)
    async with open_ledger(place, look=True) as opened:
        listed = [worker for worker in await opened.workers.all() if env in (None, worker.environment)]
    print_list([_document(worker) for worker in listed], COLUMNS, map(row_of, listed))
    if not listed:
        say(f"nobody sends: gotsurge worker --env {env or 'ENVIRONMENT'} --ledger {place}")


def state_of(worker: Worker) -> str:
    """The state of a worker: working, draining or silent."""
    return "silent" if worker.silent > SILENT_SECONDS else worker.state


def row_of(worker: Worker) -> tuple[Any, ...]:
    """The cells of a worker under `COLUMNS`."""
    return (
        *(worker.id, state_of(worker), worker.segments, f"{worker.orders:,}", f"{worker.orders_per_minute:,}"),
        *(f"{max(worker.silent, 0.0):,.0f} s ago", worker.version, worker.environment, worker.started_at),
        worker.trouble,
    )


def _document(worker: Worker) -> dict[str, Any]:
    return {
        "worker": worker.id,
        "state": state_of(worker),
        "host": worker.host,
        "pid": worker.pid,
        "version": worker.version,
        "environment": worker.environment,
        "segments": worker.segments,
        "orders": worker.orders,
        "orders_per_minute": worker.orders_per_minute,
        "started_at": worker.started_at,
        "heard_at": worker.beat_at,
        "silent_seconds": round(max(worker.silent, 0.0), 1),
        "trouble": worker.trouble,
    }


@click.command()
@click.argument("run_id", metavar="RUN")
@takes_ledger
@json_option
@asynchronous
async def stop(run_id: str, ledger: Place) -> Exit:
    """Have all workers stop sending RUN, a run that was pushed with --distributed.

    Each worker waits for what it has in flight, which takes a few seconds. The rest stays in the ledger. gotsurge
    resume RUN --distributed gives it to the workers again.

    \b
    Exit codes:
      0 it is stopped
      2 no such run or ledger, or the run is not distributed
    """
    async with open_ledger(ledger) as opened:
        stopped = await opened.segments.stop(run_id, INTERRUPTED, INTERRUPTED)
        if not stopped and await opened.segments.distribution(run_id) is None:
            raise UsageError(f"run {run_id} is not distributed to workers", "E702")
        is_done = (await opened.run(run_id)).state is RunState.DONE
    text = f"run {run_id}: {'is stopped' if stopped else 'has ended' if is_done else 'was stopped already'}"
    return finish({"run": run_id, "stopped": stopped}, Exit.CREATED, text)


# --- a run, live -----------------------------------------------------------------------------------------------------


async def watch_run(place: Place, run_id: str) -> None:
    """Show a run on stderr until no process sends it any more, waiting for a database that is away meanwhile."""
    from rich.console import Console  # loaded when there is something to watch

    progress = Progress(Console(stderr=True, highlight=False, markup=False), f"run {run_id}", transient=True)
    seen: float | None = None
    with progress.shown():
        while True:
            try:
                async with open_ledger(place, look=True) as ledger:
                    while (look := await _look(ledger, run_id)) is not None:
                        seen = time.monotonic()
                        show(progress, *look, now=seen)
                        await asyncio.sleep(EVERY)
                    return
            except LedgerUnusable as error:
                away = seen is not None and time.monotonic() - seen < PATIENCE_SECONDS
                if not away or error.lasts:
                    raise
                await asyncio.sleep(EVERY)


async def _look(ledger: Ledger, run_id: str) -> tuple[Counts, Sequence[Worker]] | None:
    """The counts of a run and the workers of its environment; None once no process sends it."""
    # The run first: what is read after its end is final.
    info = await ledger.run(run_id)
    distribution = await ledger.segments.distribution(run_id)
    goes_on = distribution is not None and distribution.goes_on
    if info.state is not RunState.SENDING or not (goes_on or await ledger.is_held(run_id)):
        return None
    workers = await ledger.workers.all() if ledger.place.kind is Kind.POSTGRESQL else []
    return await ledger.segments.counts(run_id), [one for one in workers if one.environment == info.environment]


def show(progress: Progress, counts: Counts, workers: Sequence[Worker], *, now: float) -> None:
    """Show the progress of the run, and its workers, at this moment."""
    states = [state_of(worker) for worker in workers]
    segments = sum(worker.segments for worker in workers)
    in_hand = verb(segments, "segment in hand", "segments in hand")
    more = counted({"silent": states.count("silent"), in_hand: segments})
    words = ", ".join(filter(None, (number_of(len(workers) - states.count("silent"), "worker"), more)))
    rows = [[row_of(worker)[place] for place in _LIVE] for worker in workers]
    table, _ = fitted([COLUMNS[place] for place in _LIVE], rows, progress.console.width)
    progress.show(counts, more=words, below=["", *table], now=now)
