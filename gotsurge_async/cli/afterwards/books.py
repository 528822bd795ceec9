"""The order book that a command is about, and the options that commands on it share."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any
from zoneinfo import ZoneInfo

import click
from msgspec import Struct

from gotsurge_async.cli.shared.exits import WrongUse
from gotsurge_async.cli.shared.ledger import env_option, find_ledger_of, ledger_option, place_named
from gotsurge_async.cli.shared.options import OUTPUT, Decorator, gathered, in_group
from gotsurge_async.cli.shared.output import say
from gotsurge_async.clock import SystemClock
from gotsurge_async.database import Kind, Place
from gotsurge_async.errors import ConfigError, UsageError
from gotsurge_async.ledger import Ledger, LedgerError, RunInfo
from gotsurge_async.ledger.sql.store import Backend
from gotsurge_async.models.times import show_times_in
from gotsurge_async.webhooks.book import Book
from gotsurge_async.webhooks.store import beside

VARIABLE = "GOTSURGE_BOOK"

book_option: Decorator[Any] = in_group(OUTPUT)(
    "--book",
    metavar="PATH|URL",
    callback=lambda _, __, value: None if value is None else place_named(value, "--book"),
    help="The order book with the inbox (or GOTSURGE_BOOK): a file, or postgresql://USER@HOST/NAME.  "
    "[default: beside the ledger]",
)


def zone_of(_: click.Context, __: click.Parameter, name: str | None) -> ZoneInfo | None:
    """The zone that an option names, in which times are shown from now on."""
    from gotsurge_async.tables.maps.column_map import zone_named

    try:
        zone = zone_named(name)
    except ConfigError as error:
        raise WrongUse(f"--timezone: {error}", "E102") from None
    show_times_in(zone)
    return zone


zone_option: Decorator[Any] = in_group(OUTPUT)(
    "--timezone",
    metavar="TZ",
    callback=zone_of,
    expose_value=False,
    help="The time zone in which times are shown.  [default: the system's]",
)
run_option: Decorator[Any] = click.option("--run", "run_id", metavar="RUN", help="Look only at orders of this run.")
vessel_option: Decorator[Any] = click.option(
    "--vessel", metavar="NAME|IMO", help="Look only at orders for this vessel: a part of its name, or its IMO number."
)


class Books(Struct, frozen=True, kw_only=True):
    """The places of the ledger, of what was sent, and of the order book, of what became of it.

    Attributes:
        environment: only orders of this environment; None for all.
    """

    ledger: Place
    book: Place
    environment: str | None = None


def books_beside(ledger: Place, book: Place | None, env: str | None = None) -> Books:
    """A ledger and its order book: that of --book, else of GOTSURGE_BOOK, else the one next to the ledger."""
    if book is None and (where := os.environ.get(VARIABLE)):
        book = place_named(where, VARIABLE)
    environment = env or os.environ.get("GOTSURGE_ENV") or None
    return Books(ledger=ledger, book=beside(ledger) if book is None else book, environment=environment)


def _find_books(ledger: Place | None, env: str | None, book: Place | None) -> Books:
    return books_beside(find_ledger_of(ledger, env), book, env)


takes_books: Decorator[Any] = gathered("books", _find_books, ledger_option, env_option, book_option)
"""The options of a command that reads the order book; the command gets their places as its argument ``books``."""


async def refuse_unknown_run(book: Book, ledger: Ledger | None, run_id: str | None) -> None:
    """Refuse a run that neither the ledger nor the book has."""
    if run_id is None or await book.counts(run_id):
        return
    if ledger is None or run_id not in {info.id for info in await ledger.runs()}:
        why = f"there is no run {run_id}, neither in the order book nor in the ledger: see `gotsurge runs`"
        raise UsageError(why, "E522")


@asynccontextmanager
async def open_book(books: Books) -> AsyncIterator[tuple[Book, Ledger | None]]:
    """The order book, with all orders of the ledger next to it; and that ledger, to read, if it can be used.

    Raises:
        ConfigError: there is neither, or the ledger is an archive, from which no order book is begun.
    """
    clock = SystemClock()
    has_ledger = await asyncio.to_thread(Backend(books.ledger).is_there)
    if books.book.kind is Kind.SQLITE and not books.book.path.exists():
        if not has_ledger:
            raise ConfigError(
                f"there is no order book at {books.book}, and no ledger at {books.ledger} to begin it from: "
                "--book and --ledger name them, and --env sandbox or production those of real pushes",
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
            f"{books.ledger} is an archive, which has no order book: name the ledger of its runs by --ledger, or an "
            "order book by --book",
            "E512",
        )
