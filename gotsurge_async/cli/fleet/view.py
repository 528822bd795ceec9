"""A run that others send, live: its orders, and all workers."""

import asyncio
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from gotsurge_async.bulk import Ledger
from gotsurge_async.bulk.checks.words import number_of, verb
from gotsurge_async.bulk.ledger import CLAIMED, UNFINISHED, Counts, LedgerUnusable, RunState
from gotsurge_async.bulk.ledger.workers import Worker
from gotsurge_async.cli.fleet.workers import COLUMNS, rows, state_of
from gotsurge_async.cli.shared.ledger import open_ledger
from gotsurge_async.cli.shared.output import Column, counted, table_lines
from gotsurge_async.database import Kind, Place

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.live import Live

EVERY = 1.0
"""Seconds between two looks."""
LINE_EVERY = 5.0
"""Seconds between two lines where there is no terminal."""
OVER = 15.0
"""Seconds over which the orders a second are an average."""
PATIENCE_SECONDS = 300.0
"""How long a database that is away is waited for."""
_SHOWN = [place for place, column in enumerate(COLUMNS) if not (isinstance(column, Column) and column.rank)]
"""What a worker is and does now: the columns that no table leaves out."""


@frozen
class Look:
    """A run at one moment.

    Attributes:
        over: nobody sends it any more.
    """

    counts: Counts
    workers: Sequence[Worker]
    over: bool


@define
class RunView:
    """Shows a run on stderr: on a terminal a bar and a table of the workers, elsewhere a line now and then."""

    run_id: str
    console: "Console"
    _past: deque[tuple[float, int]] = field(factory=deque, init=False)
    _next_line: float = field(default=0.0, init=False)
    _live: "Live | None" = field(default=None, init=False)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Be there, inside the block."""
        if not self.console.is_terminal:
            yield
            return
        from rich.live import Live  # loaded where there is a terminal to draw on

        with Live(console=self.console, auto_refresh=False, transient=True) as live:
            self._live = live
            yield
        self._live = None

    def show(self, look: Look, now: float) -> None:
        """Show a moment; ``now`` is seconds of a clock that never runs backwards."""
        words = self._words(look, now)
        if self._live is not None:
            self._live.update(self._drawn(look, words), refresh=True)
        elif now >= self._next_line:
            self._next_line = now + LINE_EVERY
            self.console.print(f"{words}; {_of_workers(look.workers)}", soft_wrap=True)

    def _words(self, look: Look, now: float) -> str:
        """On one line."""
        counts, done = look.counts, _done(look.counts)
        self._past.append((now, done))
        while now - self._past[0][0] > OVER:
            self._past.popleft()
        seconds, lately = now - self._past[0][0], done - self._past[0][1]
        words = [f"{done:,} of {number_of(counts.total, 'order')}"]
        if trouble := counted({"refused": counts.refused, "in doubt": counts.in_doubt}):
            words.append(trouble)
        if lately > 0:
            rate = lately / seconds
            words += [f"{rate:,.1f} orders/s", f"{(counts.total - done) / rate:,.0f} s left"]
        return ", ".join(words)

    def _drawn(self, look: Look, words: str) -> "Group":
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        columns = [COLUMNS[place] for place in _SHOWN]
        workers = [[row[place] for place in _SHOWN] for row in rows(look.workers)]
        table, _ = table_lines(columns, workers, self.console.width)
        bar = ProgressBar(total=max(look.counts.total, 1), completed=_done(look.counts))
        return Group(Text(f"run {self.run_id}", style="bold"), bar, Text(words), Text(""), *table)


def _done(counts: Counts) -> int:
    return counts.total - counts.of(UNFINISHED | CLAIMED)


def _of_workers(workers: Sequence[Worker]) -> str:
    states = [state_of(each) for each in workers]
    number = len(workers) - states.count("silent")
    told = number_of(number, "worker")
    segments = sum(each.segments for each in workers)
    in_hand = verb(segments, "segment in hand", "segments in hand")
    more = counted({"silent": states.count("silent"), in_hand: segments})
    return f"{told}, {more}" if more else told


async def watch(place: Place, view: RunView) -> None:
    """Show a run until nobody sends it any more. A database that goes away meanwhile is waited for.

    Raises:
        LedgerError: there is no such run, or the ledger cannot be used.
    """
    seen: float | None = None
    with view.opened():
        while True:
            try:
                async with open_ledger(place, look=True) as ledger:
                    while not (look := await _look(ledger, view.run_id)).over:
                        seen = time.monotonic()
                        view.show(look, seen)
                        await asyncio.sleep(EVERY)
                    return
            except LedgerUnusable as error:
                away = seen is not None and time.monotonic() - seen < PATIENCE_SECONDS
                if not away or error.lasts:
                    raise
                await asyncio.sleep(EVERY)


async def _look(ledger: Ledger, run_id: str) -> Look:
    # The run first: what is read after its end is all there is.
    info = await ledger.run(run_id)
    put_up = await ledger.segments.distribution(run_id)
    goes_on = put_up is not None and put_up.goes_on
    sent = info.state is RunState.SENDING and (goes_on or await ledger.is_held(run_id))
    everybody = await ledger.workers.all() if ledger.place.kind is Kind.POSTGRESQL else []
    workers = [each for each in everybody if each.environment == info.environment]
    return Look(await ledger.segments.counts(run_id), workers, over=not sent)
