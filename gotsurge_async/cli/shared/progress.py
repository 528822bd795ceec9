"""Progress of a run on stderr: a bar at a terminal, or a line now and then."""

import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec import Struct, field

from gotsurge_async.cli.shared.output import counted, lasting
from gotsurge_async.hooks import ChunkDone, Event
from gotsurge_async.ledger import CLAIMED, UNFINISHED, Counts
from gotsurge_async.tables.checks.words import number_of

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

LINE_EVERY = 5.0
"""Seconds between two lines without a terminal."""
DRAWN_EVERY = 0.1
BAR_WIDTH = 20
RATE_OVER = 15.0
"""Seconds over which the orders per second are averaged."""


class Progress(Struct):
    """Shows the progress of a run, as a hook of the client that sends it, or from counts of the ledger.

    ``total`` is the number of orders to send; 0 for all that the ledger counts. A ``transient`` bar disappears at the
    end.
    """

    console: "Console"
    title: str
    total: int = 0
    transient: bool = False
    _done: int = 0
    _trouble: Counter[str] = field(default_factory=Counter)
    _past: deque[tuple[float, int]] = field(default_factory=deque)
    _next: float = 0.0
    _live: "Live | None" = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the progress inside the block."""
        if self.total:  # then it begins now, and there is nothing to show yet
            now = time.monotonic()
            self._past.append((now, 0))
            self._next = now + self._every
        if not self.console.is_terminal:
            yield
            return
        from rich.live import Live  # loaded where there is a terminal to draw on

        with Live(console=self.console, auto_refresh=False, transient=self.transient) as self._live:
            try:
                if self.total:  # drawn at once: the first chunk may take minutes
                    self._next = 0.0
                    self._show(time.monotonic())
                yield
            finally:
                self._next = 0.0
                self._show(time.monotonic())
        self._live = None

    @property
    def _every(self) -> float:
        return DRAWN_EVERY if self.console.is_terminal else LINE_EVERY

    def __call__(self, event: Event) -> None:
        """Count an event of the client."""
        if isinstance(event, ChunkDone):
            self._trouble.update({"refused": event.refused, "in doubt": event.in_doubt})
            self._done += event.created + event.refused + event.in_doubt
            self._show(time.monotonic())

    def show(
        self, counts: Counts, *, more: str = "", below: "Sequence[RenderableType]" = (), now: float | None = None
    ) -> None:
        """Show a run that other processes send; ``more`` ends a line, and ``below`` is below the bar."""
        self.total = self.total or counts.total
        self._done = self.total - counts.of(UNFINISHED | CLAIMED)
        self._trouble = Counter({"refused": counts.refused, "in doubt": counts.in_doubt})
        self._show(time.monotonic() if now is None else now, more, below)

    def _show(self, now: float, more: str = "", below: "Sequence[RenderableType]" = ()) -> None:
        if now < self._next:
            return
        self._next = now + self._every
        words = self._words(now)
        if self._live is None:
            self.console.print(f"{words}; {more}" if more else words, soft_wrap=True)
            return
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        line = Table.grid(padding=(0, 2, 0, 0))
        bar = ProgressBar(total=max(self.total, 1), completed=self._done, width=BAR_WIDTH)
        line.add_row(Text(self.title, "bold"), bar, Text(words))
        self._live.update(Group(line, *below), refresh=True)

    def _words(self, now: float) -> str:
        self._past.append((now, self._done))
        while now - self._past[0][0] > RATE_OVER:
            self._past.popleft()
        (since, before), words = self._past[0], [f"{self._done:,} of {number_of(self.total, 'order')}"]
        if trouble := counted(self._trouble):
            words.append(trouble)
        if self._done > before:  # before the first, the time that is left is unknown
            rate = (self._done - before) / max(now - since, 1e-9)
            words += [f"{rate:,.1f} orders/s", f"{lasting((self.total - self._done) / rate)} left"]
        return ", ".join(words)
