"""``gotsurge status --watch``: a run that others send, and all workers, live."""

import asyncio
import time
from collections.abc import Sequence

from gotsurge_async.cli.fleet.workers import COLUMNS, row_of, state_of
from gotsurge_async.cli.shared.ledger import open_ledger
from gotsurge_async.cli.shared.output import Column, counted, fitted
from gotsurge_async.cli.shared.progress import Progress
from gotsurge_async.database import Kind, Place
from gotsurge_async.ledger import Counts, Ledger, LedgerUnusable, RunState
from gotsurge_async.ledger.workers import Worker
from gotsurge_async.tables.checks.words import number_of, verb

EVERY = 1.0
"""Seconds between two reads."""
PATIENCE_SECONDS = 300.0
"""How long a database that is away is waited for."""
_SHOWN = [place for place, column in enumerate(COLUMNS) if not (isinstance(column, Column) and column.rank)]
"""The columns of a worker that no table leaves out."""


async def watch_run(place: Place, run_id: str) -> None:
    """Show a run on stderr until no process sends it any more. A database that goes away meanwhile is waited for.

    Raises:
        LedgerError: there is no such run, or the ledger cannot be used.
    """
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
    """Show a moment: the progress of the run, and its workers."""
    states = [state_of(worker) for worker in workers]
    segments = sum(worker.segments for worker in workers)
    in_hand = verb(segments, "segment in hand", "segments in hand")
    more = counted({"silent": states.count("silent"), in_hand: segments})
    words = ", ".join(filter(None, (number_of(len(workers) - states.count("silent"), "worker"), more)))
    rows = [[row_of(worker)[place] for place in _SHOWN] for worker in workers]
    table, _ = fitted([COLUMNS[place] for place in _SHOWN], rows, progress.console.width)
    progress.show(counts, more=words, below=["", *table], now=now)
