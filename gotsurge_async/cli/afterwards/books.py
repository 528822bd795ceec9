"""The order book of a command, the options that commands on it share, and the reads that a command makes."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import click
from msgspec import Struct

from gotsurge_async.after.lookup import call_each, task_reader
from gotsurge_async.cli.shared.exits import WrongUse
from gotsurge_async.cli.shared.ledger import env_option, find_ledger_of, ledger_option, place_named
from gotsurge_async.cli.shared.options import OUTPUT, Decorator, gathered, in_group, option, together
from gotsurge_async.cli.shared.output import say
from gotsurge_async.client import GotSurge
from gotsurge_async.clock import Clock, SystemClock
from gotsurge_async.config import Limits
from gotsurge_async.database import Kind, Place
from gotsurge_async.errors import (
    CallError,
    ConfigError,
    NotFound,
    SignInNeeded,
    Unauthorized,
    UnreadableAnswer,
    UsageError,
)
from gotsurge_async.ledger import Ledger, LedgerError, Mode, RunInfo
from gotsurge_async.ledger.sql.store import Backend
from gotsurge_async.models.times import show_times_in
from gotsurge_async.webhooks.book import Book
from gotsurge_async.webhooks.book.book import OTHER
from gotsurge_async.webhooks.reads import is_platform
from gotsurge_async.webhooks.store import beside

VARIABLE = "GOTSURGE_BOOK"

book_option: Decorator[Any] = in_group(OUTPUT)(
    "--book PATH|URL",
    "The order book with the inbox (or GOTSURGE_BOOK): a file, or postgresql://USER@HOST/NAME.  "
    "[default: beside the ledger]",
    callback=lambda _, __, value: None if value is None else place_named(value, "--book"),
)


def zone_of(_: click.Context, __: click.Parameter, name: str | None) -> ZoneInfo | None:
    """The zone in an option, in which times are shown from now on."""
    from gotsurge_async.tables.maps.column_map import zone_named

    try:
        zone = zone_named(name)
    except ConfigError as error:
        raise WrongUse(f"--timezone: {error}", "E102") from None
    show_times_in(zone)
    return zone


zone_option: Decorator[Any] = in_group(OUTPUT)(
    "--timezone TZ",
    "The time zone in which times are shown.  [default: the system's]",
    callback=zone_of,
    expose_value=False,
)
run_option: Decorator[Any] = option("--run RUN", "Look only at orders of this run.", name="run_id")
vessel_option: Decorator[Any] = option(
    "--vessel NAME|IMO", "Look only at orders for this vessel: a part of its name, or its IMO number."
)


class Books(Struct, frozen=True, kw_only=True):
    """The places of the ledger and of the order book; ``environment`` is that of the orders, None for all."""

    ledger: Place
    book: Place
    environment: str | None = None


def books_beside(ledger: Place, book: Place | None, env: str | None = None) -> Books:
    """A ledger and its order book: that of --book, else of GOTSURGE_BOOK, else the one next to the ledger."""
    if book is None and (where := os.environ.get(VARIABLE)):
        book = place_named(where, VARIABLE)
    environment = env or os.environ.get("GOTSURGE_ENV") or None
    return Books(ledger=ledger, book=beside(ledger) if book is None else book, environment=environment)


takes_books: Decorator[Any] = gathered(
    "books",
    lambda ledger, env, book: books_beside(find_ledger_of(ledger, env), book, env),
    *(ledger_option, env_option, book_option),
)
"""The options of a command that reads the order book; the command gets their places as its argument ``books``."""


async def refuse_unknown_run(book: Book, ledger: Ledger | None, run_id: str | None) -> None:
    """Refuse a run that neither the ledger nor the book has."""
    if run_id is None or await book.counts(run_id):
        return
    if ledger is None or run_id not in {info.id for info in await ledger.runs()}:
        why = f"there is no run {run_id} in the order book or in the ledger: see `gotsurge runs`"
        raise UsageError(why, "E522")


@asynccontextmanager
async def open_book(books: Books) -> AsyncIterator[tuple[Book, Ledger | None]]:
    """The order book, with all orders of the ledger next to it; and that ledger for reading, if it can be used."""
    clock = SystemClock()
    has_ledger = await asyncio.to_thread(Backend(books.ledger).is_there)
    if books.book.kind is Kind.SQLITE and not books.book.path.exists():
        if not has_ledger:
            raise ConfigError(
                f"there is no order book at {books.book}, and no ledger at {books.ledger} from which to build one: "
                "pass the right paths with --book and --ledger; for real orders, pass --env sandbox or production",
                "E801",
            )
        with suppress(LedgerError):  # reported below
            async with await Ledger.look(books.ledger, clock=clock.now) as ledger:
                _refuse_archive(await ledger.runs(), books)
    async with Book.open(books.book, clock=clock) as book, AsyncExitStack() as stack:
        if not has_ledger:
            yield book, None
            return
        try:
            ledger = await stack.enter_async_context(await Ledger.look(books.ledger, clock=clock.now))
            await book.take_in(ledger)
        except LedgerError as error:
            say(f"{error}\nwhat follows is what the order book has; orders that were pushed since may be missing")
            yield book, None
            return
        yield book, ledger


def _refuse_archive(runs: Sequence[RunInfo], books: Books) -> None:
    """Refuse to begin an order book next to an archive: the orders of other runs would be missing."""
    if runs and all(info.archived_at is not None and info.archived_in is None for info in runs):
        raise ConfigError(
            f"{books.ledger} is an archive, which has no order book: pass --ledger with the ledger from which it was "
            "made, or --book with an order book",
            "E512",
        )


# --- reads, where no receiver makes them ------------------------------------------------------------------------------

STALE = timedelta(hours=1)
"""An order that was not read for longer is reported as old."""
AT_ONCE = 8
"""The most reads in flight."""

_reading = partial(in_group("Reading"), type=click.FloatRange(min=0))


def takes_reads(*, rate: float, rate_help: str, after: float, after_help: str) -> Decorator[Any]:
    """The options --read-rate and --read-after, with their defaults and help."""
    return together(
        _reading("--read-rate PER_SECOND", rate_help, default=rate),
        _reading("--read-after SECONDS", after_help, default=after),
    )


def limits_of(rate: float) -> Limits:
    """The limits of a client that only reads."""
    return Limits(concurrency=AT_ONCE, rate=rate)


@attrs.define(eq=False)
class DueReads:
    """Reads the tasks of an account without news for an ``age``, the oldest news first, at the client's rate.

    ``platform`` is None to ask the service; ``trouble``, the reason why the last read failed, if it did not.
    """

    gs: GotSurge
    book: Book
    account: str
    clock: Clock
    platform: bool | None = None
    age: timedelta = timedelta(seconds=20)
    trouble: str | None = None

    async def once(self, limit: int = 50, *, run: str | None = None) -> int:
        """Read at most ``limit`` due tasks; returns their number. A read that fails becomes ``trouble``."""
        due = await self.book.due(self.clock.now(), {OTHER: self.age}, limit=limit, accounts=[self.account], run=run)
        if self.platform is None:
            self.platform = await is_platform(self.gs)
        async with call_each(self.gs, (task_id for _, task_id in due), self._read, AT_ONCE) as reads:
            async for _ in reads:
                pass
        return len(due)

    async def _read(self, task_id: str) -> None:
        get = task_reader(self.gs, Mode.TWO_PHASE if self.platform else Mode.DIRECT)
        begun = self.clock.now()
        try:
            task = await get(task_id)
        except NotFound:
            await self.book.not_found(self.account, task_id, begun)
        except (SignInNeeded, Unauthorized):
            raise
        except (CallError, UnreadableAnswer) as error:
            self.trouble = str(error)
        else:
            self.trouble = None
            await self.book.observe(self.account, task, at=begun, source="sweep")
