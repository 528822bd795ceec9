"""``gotsurge watch``: the statuses of a run's orders, live, until all of them have ended."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import attrs
import click

from gotsurge_async.cli.afterwards.books import (
    DueReads,
    book_option,
    books_beside,
    limits_of,
    open_book,
    takes_reads,
    zone_option,
)
from gotsurge_async.cli.shared.connect import Target, connected, takes_place
from gotsurge_async.cli.shared.exits import Exit, asynchronous
from gotsurge_async.cli.shared.ledger import find_ledger, ledger_option, target_of
from gotsurge_async.cli.shared.options import STOPPING, GroupedCommand, in_group, json_option
from gotsurge_async.cli.shared.output import as_json, counted, finish, is_terminal, print_table, say, shown, tabbed
from gotsurge_async.clock import SystemClock
from gotsurge_async.database import Place
from gotsurge_async.errors import ConfigError
from gotsurge_async.ledger import DOUBTFUL, Ledger, Mode, OrderState, RunInfo, Word, word_of
from gotsurge_async.models.tasks import TaskStatus
from gotsurge_async.models.times import written_clock
from gotsurge_async.models.words import in_words
from gotsurge_async.tables.checks.words import number_of
from gotsurge_async.webhooks.book import Book, BookOrder, Step
from gotsurge_async.webhooks.book.records import account_of

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

EVERY = 1.0
"""Seconds between two reads of the book."""
LEDGER_EVERY = 5.0
"""Seconds between two reads of the ledger, which gets more orders while the run is being sent."""
OVERLAP = timedelta(seconds=5)
"""Changes that are older than the newest by less than this are read again: another process may write them late."""
PAGE = 1000
RECENT = 10
"""The number of changes that a terminal shows."""
BAR = 30
"""The longest bar, in characters."""
_WITH_TASK = (Word.CREATED, Word.CANCELLED, Word.ALREADY_PUSHED, Word.CHANGED, Word.UNPROCESSED)
"""What the orders with a task of this run may be by now: a cancelled one may have been pushed again elsewhere."""
_ELSEWHERE = (Word.ALREADY_PUSHED, Word.CHANGED)
"""What another run has the task of, if there is one."""
_PLACES = {status: place for place, status in enumerate(TaskStatus)}


@attrs.define
class Shown:
    """The state of a run that is shown.

    Attributes:
        others: the number of orders without a task of this run, by outcome: refused, unprocessed, already pushed.
        trouble: the reason why the last read failed; None if it did not.
    """

    statuses: Mapping[str, int] = attrs.field(factory=dict)
    in_doubt: int = 0
    others: Mapping[str, int] = attrs.field(factory=dict)
    sending: bool = True
    reader: str = ""
    trouble: str | None = None

    @property
    def open(self) -> int:
        """The number of orders that have not ended."""
        return sum(number for status, number in self.statuses.items() if not TaskStatus(status).is_terminal)

    @property
    def orders(self) -> int:
        """The number of orders with a task."""
        return sum(self.statuses.values())

    @property
    def ending(self) -> Exit:
        """The exit code when all orders have ended."""
        if self.in_doubt:
            return Exit.IN_DOUBT
        delivered = self.statuses.get(TaskStatus.COMPLETE, 0)
        return Exit.CREATED if delivered == self.orders and not any(self.others.values()) else Exit.REFUSED

    def rows(self) -> list[tuple[str, int]]:
        """The statuses in the order of a task's way, each with its number of tasks."""
        places = {status: _PLACES.get(TaskStatus(status), len(_PLACES)) for status in self.statuses}
        ordered = sorted(self.statuses.items(), key=lambda row: (places[row[0]], row[0]))
        return [(status or "not read yet", number) for status, number in ordered]

    def __str__(self) -> str:
        counts: Counter[str] = Counter()
        for name, number in (*self.rows(), ("in doubt", self.in_doubt), *self.others.items()):
            counts[name.replace("_", " ")] += number
        return counted(counts) or "no orders"


@click.command(cls=GroupedCommand)
@click.argument("run_id", metavar="RUN")
@takes_place
@takes_reads(
    rate=2.0,
    rate_help="Read so many tasks a second, if no receiver reads them; 0 reads none.",
    after=20.0,
    after_help="Read a task again after so many seconds.",
)
@in_group(STOPPING)("--timeout SECONDS", "Stop watching after so long.", type=click.FloatRange(min=0))
@zone_option
@ledger_option
@book_option
@json_option
@asynchronous
async def watch(
    run_id: str,
    target: Target,
    read_rate: float,
    read_after: float,
    timeout: float | None,
    ledger: Place | None,
    book: Place | None,
) -> Exit:
    """Watch what becomes of the orders of RUN, until each is at its end.

    An order that another run pushed is not followed: watch that run, which its result file names. In a pipe, each step
    of an order is a line. If no receiver reads, this command reads the tasks, the oldest first, within --read-rate.
    With --json only the end is printed.

    \b
    Exit codes:
      0 all orders of the run were delivered
      1 some ended otherwise: failed, cancelled, refused, never sent, or pushed by another run
      2 no such RUN, or it was archived and the order book does not know it
      3 some of the run are in doubt
      5 --timeout was over
    """
    books = books_beside(find_ledger(ledger, target), book)
    async with AsyncExitStack() as stack:
        opened, known = await stack.enter_async_context(open_book(books))
        if known is None:
            why = (
                f"the run's ledger is needed, but {books.ledger} is not a readable ledger: "
                "name the right one with --ledger"
            )
            raise ConfigError(why, "E801")
        info = await known.run(run_id)
        await _refuse_unknown(info, known, opened)
        target = target_of(info, target)
        reads = None
        if read_rate:
            gs = await stack.enter_async_context(connected(target, limits_of(read_rate)))
            platform = True if info.mode is Mode.TWO_PHASE else None
            age = timedelta(seconds=read_after)
            reads = DueReads(gs, opened, account_of(info), SystemClock(), platform=platform, age=age)
        screen = Screen(info)
        stack.enter_context(screen.shown())
        watching = Watching(opened, known, info, reads, screen)
        reading = asyncio.create_task(watching.read_on(max(1, int(read_rate * 2))))
        try:
            async with asyncio.timeout(timeout):
                await watching.to_the_end(reading)
        except TimeoutError:
            await watching.look()  # the present state is shown all the same
            code = Exit.STOPPED
        else:
            code = watching.shown.ending
        finally:
            reading.cancel()
            await asyncio.wait([reading])
    state = watching.shown
    document = {
        "run": info.id,
        "orders": state.orders,
        "statuses": dict(state.rows()),
        "in_doubt": state.in_doubt,
        "without_task": sum(number for word, number in state.others.items() if word not in _ELSEWHERE),
        "others": state.others,
    }
    return finish(document, code, lambda: say(f"run {info.id}: {state}"))


async def _refuse_unknown(info: RunInfo, ledger: Ledger, book: Book) -> None:
    """Refuse an archived run whose orders the book does not know: the ledger does not have them any more."""
    if info.archived_at is None:
        return
    counts = await ledger.counts(info.id)
    followed = sum((await book.counts(info.id)).values())
    if followed < counts.created:
        raise ConfigError(
            f"run {info.id} was archived, and the order book does not know all the run's orders: the archive "
            f"{info.archived_in} has them all, and `gotsurge results {info.id} --ledger {info.archived_in}` writes "
            "them",
            "E524",
        )


class Screen:
    """The display of a run: drawn again and again at a terminal, a line for each change in a pipe, none as JSON."""

    def __init__(self, info: RunInfo) -> None:
        self._info = info
        self._recent: deque[tuple[str, str, str]] = deque(maxlen=RECENT)
        self._began = time.monotonic()
        self._trouble: str | None = None
        self._live: Live | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the run inside the block."""
        if as_json() or not is_terminal():
            if not as_json():
                print_table(("AT", "TASK", "TRACKING ID", "STATUS", "BEFORE"), ())
            yield
            return
        from rich.live import Live

        with Live(auto_refresh=False) as self._live:
            yield

    def change(self, order: BookOrder, step: Step, previous: TaskStatus | None) -> None:
        """Show a step of an order."""
        if self._live is not None:
            at = "" if step.at is None else written_clock(step.at)
            before = f"{in_words(previous)} → " if previous is not None else ""
            name = shown(order.task.tracking_id or order.key or order.task_id)
            self._recent.append((at, name, shown(f"{before}{in_words(step.status)}")))
        elif not as_json():
            row = (step.at, order.task_id, order.task.tracking_id or order.key, step.status, previous)
            click.echo(tabbed(row))

    def update(self, state: Shown) -> None:
        """Show the present state of the run."""
        if self._live is not None:
            self._live.update(self._picture(state), refresh=True)
        elif state.trouble != self._trouble and not as_json():
            self._trouble = state.trouble
            say(f"cannot read now: {state.trouble}" if state.trouble else "can read again")

    def _picture(self, state: Shown) -> "RenderableType":
        from rich.console import Group
        from rich.table import Column, Table
        from rich.text import Text

        took = timedelta(seconds=int(time.monotonic() - self._began))
        orders = f"{number_of(state.orders, 'order')}, {state.open:,} open"
        title = f"run {self._info.id}   {orders}   {took}   {state.reader}"
        table = Table(box=None, show_header=False, pad_edge=False)
        for status, number in state.rows():
            bar = "█" * max(1, round(BAR * number / max(1, state.orders)))
            style = _STYLES.get(status, "")
            table.add_row(Text(shown(in_words(status)), style), Text(f"{number:,}", "bold"), Text(bar, style))
        if state.in_doubt:
            in_doubt = Text(f"{state.in_doubt:,}", "bold")
            table.add_row(Text("In doubt", "red"), in_doubt, Text("gotsurge reconcile", "dim"))
        for word, count in state.others.items():
            why = "in another run" if word in _ELSEWHERE else "without a task"
            table.add_row(Text(in_words(word), "dim"), Text(f"{count:,}"), Text(why, "dim"))
        recent = Table(*(Column(no_wrap=True) for _ in range(3)), box=None, show_header=False, pad_edge=False)
        for at, name, change in self._recent:
            recent.add_row(Text(at, "dim"), Text(name), Text(change))
        trouble = [Text(f"cannot read now: {state.trouble}", "red")] if state.trouble else []
        return Group(Text(title, "bold", overflow="ellipsis", no_wrap=True), table, *trouble, Text(""), recent)


_STYLES: Mapping[str, str] = {
    TaskStatus.COMPLETE: "green",
    TaskStatus.CANCELLED: "yellow",
    TaskStatus.EXPIRED: "red",
    TaskStatus.UNSUCCESSFUL_PICKUP: "red",
    TaskStatus.UNSUCCESSFUL_DELIVERY: "red",
}


class Watching:
    """Watches a run; ``shown`` is its state as it was last read."""

    def __init__(self, book: Book, ledger: Ledger, info: RunInfo, reads: DueReads | None, screen: Screen) -> None:
        self.shown: Shown = Shown()
        self._book = book
        self._ledger = ledger
        self._info = info
        self._reads = reads
        self._screen = screen
        self._clock = SystemClock()
        self._began = self._since = self._clock.now()
        self._steps_shown: dict[int, int] = {}
        """By the number of an order."""
        self._is_read = False
        self._ledger_at = -LEDGER_EVERY
        self._without: Counter[str] = Counter()
        self._doubtful = 0  # orders in doubt that have a task

    async def read_on(self, at_once: int) -> None:
        """Keep reading due tasks while no receiver does, until cancelled."""
        while True:
            self._is_read = await self._book.is_read(account_of(self._info))
            number = 0
            if self._reads is not None and not self._is_read:
                number = await self._reads.once(at_once, run=self._info.id)
            if not number:
                await self._clock.sleep(EVERY)

    async def to_the_end(self, reading: asyncio.Task[None]) -> None:
        """Show the run until all its orders have ended and no process sends it any more, or the reading fails."""
        while True:
            if reading.done():
                reading.result()
            await self.look()
            if not self.shown.open and not self.shown.sending:
                return
            await self._clock.sleep(EVERY)

    async def look(self) -> None:
        """Read the state of the run, and show it."""
        if time.monotonic() > self._ledger_at + LEDGER_EVERY:
            await self._read_ledger()
        state = self.shown
        await self._count()
        if not state.open:  # the last state that is shown is true now
            await self._read_ledger()
            await self._count()
        await self._show_changes()  # last: what is counted was shown, also where a read came in between
        state.trouble = None if self._reads is None else self._reads.trouble
        if self._is_read:
            state.reader = "a receiver reads"
        else:
            state.reader = "nobody reads" if self._reads is None else "reading"
        self._screen.update(state)

    async def _read_ledger(self) -> None:
        held = await self._ledger.is_held(self._info.id)
        await self._book.take_in(self._ledger, run=self._info.id)
        counts = await self._ledger.counts(self._info.id)
        self.shown.sending = held
        self.shown.in_doubt = 0 if held else counts.of(DOUBTFUL)
        self._without = Counter()
        for state in OrderState:
            self._without[word_of(state, held=held)] += counts[state]
        del self._without[Word.IN_DOUBT]
        in_doubt = self._ledger.rows(self._info.id, DOUBTFUL)
        self._doubtful = len([row async for row in in_doubt if row.task_id]) if self.shown.in_doubt else 0
        self._ledger_at = time.monotonic()  # not before: a reading that --timeout cuts short is made again

    async def _count(self) -> None:
        """Count the orders by the statuses of their tasks, and those without a task by outcome."""
        self.shown.statuses = await self._book.counts(self._info.id)
        without, tasks = self._without.copy(), max(0, self.shown.orders - self._doubtful)
        for word in _WITH_TASK:
            taken = min(without[word], tasks)
            without[word] -= taken
            tasks -= taken
        self.shown.others = {str(word): number for word, number in without.items() if number > 0}

    async def _show_changes(self) -> None:
        after = self._since - OVERLAP
        while True:
            moved = await self._book.moved(after, self._info.id, limit=PAGE)
            steps = await self._book.steps([order for order, _ in moved])
            for order, _ in moved:
                self._show_steps(order, steps[order.number])
            if moved:
                self._since = max(self._since, moved[-1][1])
            if len(moved) < PAGE or moved[-1][1] == after:
                return
            after = moved[-1][1]

    def _show_steps(self, order: BookOrder, steps: Sequence[tuple[Step, datetime]]) -> None:
        before = self._steps_shown.get(order.number)
        if before is None:
            before = sum(seen_at < self._began for _, seen_at in steps)
        for place, (step, _) in enumerate(steps[before:], before):
            self._screen.change(order, step, steps[place - 1][0].status if place else None)
        self._steps_shown[order.number] = len(steps)
