"""How a push goes on, on stderr: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gotsurge_async.bulk.checks.words import number_of
from gotsurge_async.bulk.ledger import CLAIMED, UNFINISHED, Counts
from gotsurge_async.cli.shared.output import lasting
from gotsurge_async.hooks import ChunkDone, Event

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

LINE_EVERY = 5.0
"""Seconds between two lines where there is no terminal."""


class PushProgress:
    """Listens to the chunks of a push, and shows rate, done, refused, in doubt and time left.

    Args:
        console: where to show it; on a terminal it is a bar.
    """

    def __init__(self, console: "Console") -> None:
        self._console = console
        self._total = 0
        self._done = 0
        self._refused = 0
        self._in_doubt = 0
        self._started = time.monotonic()
        self._next_line = self._started + LINE_EVERY
        self._bar: tuple[Progress, TaskID] | None = None

    @contextmanager
    def of(self, total: int) -> Iterator[None]:
        """Show the progress of ``total`` orders inside the block."""
        self._total, self._started = total, time.monotonic()
        self._next_line = self._started + LINE_EVERY
        if not self._console.is_terminal:
            yield
            return
        with _bar(self._console) as bar:
            self._bar = (bar, bar.add_task("push", total=total, rate=0.0, trouble=""))
            try:
                yield
            finally:
                self._bar = None

    def __call__(self, event: Event) -> None:
        """Take an event of the client in."""
        if not isinstance(event, ChunkDone):
            return
        self._refused += event.refused
        self._in_doubt += event.in_doubt
        self._done += event.created + event.refused + event.in_doubt
        self._tell()

    def show(self, counts: Counts) -> None:
        """Show where a run stands that others send."""
        self._refused, self._in_doubt = counts.refused, counts.in_doubt
        self._done = self._total - counts.of(UNFINISHED | CLAIMED)
        self._tell()

    def _tell(self) -> None:
        now = time.monotonic()
        rate = self._done / max(now - self._started, 1e-9)
        if self._bar is not None:
            bar, task = self._bar
            bar.update(task, completed=self._done, rate=rate, trouble=", ".join(self._trouble()))
        elif not self._console.is_terminal and now >= self._next_line:
            self._next_line = now + LINE_EVERY
            words = [f"{self._done:,} of {number_of(self._total, 'order')}", *self._trouble()]
            if self._done:  # before the first, nobody knows how long it takes
                words += [f"{rate:,.1f} orders/s", f"{lasting((self._total - self._done) / rate)} left"]
            self._console.print(", ".join(words))

    def _trouble(self) -> list[str]:
        """How many were not created, in the words of the summary."""
        told = {"refused": self._refused, "in doubt": self._in_doubt}
        return [f"{number:,} {word}" for word, number in told.items() if number]


def _bar(console: "Console") -> "Progress":
    # Loaded where there is a terminal to draw on.
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        SpinnerColumn(),
        TextColumn("[bold]pushing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:,.0f} orders/s"),
        TextColumn("[red]{task.fields[trouble]}", justify="right"),
        TimeRemainingColumn(),
        console=console,
    )
