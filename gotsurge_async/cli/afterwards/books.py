"""The order book that a command means."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import attrs
import click

from gotsurge_async.bulk.ledger import Ledger, LedgerError
from gotsurge_async.bulk.ledger.sql.store import Backend
from gotsurge_async.cli.shared.ledger import env_option, find_ledger_of, ledger_option, place_named
from gotsurge_async.cli.shared.options import OUTPUT, Decorator, gathered, in_group
from gotsurge_async.cli.shared.output import say
from gotsurge_async.clock import SystemClock
from gotsurge_async.database import Kind, Place
from gotsurge_async.errors import ConfigError, UsageError
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

run_option: Decorator[Any] = click.option("--run", "run_id", metavar="RUN", help="Look only at orders of this run.")
vessel_option: Decorator[Any] = click.option(
    "--vessel", metavar="NAME|IMO", help="Look only at orders for this vessel: a part of its name, or its IMO number."
)


@attrs.frozen(kw_only=True)
class Books:
    """Where the two books are: the ledger of what was sent, and the order book of what became of it.

    Attributes:
        environment: the one that is asked about; None for all.
    """

    ledger: Place
    book: Place
    environment: str | None = None


def find_books(ledger: Place | None, env: str | None, book: Place | None) -> Books:
    """The books that options and variables name: --book, else GOTSURGE_BOOK, else beside the ledger.

    Raises:
        click.UsageError: one of them can be none.
    """
    return books_beside(find_ledger_of(ledger, env), book, env)


def books_beside(ledger: Place, book: Place | None, env: str | None = None) -> Books:
    """The same where the ledger is known. The environment is that of --env, else of GOTSURGE_ENV, else all are."""
    if book is None and (where := os.environ.get(VARIABLE)):
        book = place_named(where, VARIABLE)
    environment = env or os.environ.get("GOTSURGE_ENV") or None
    return Books(ledger=ledger, book=beside(ledger) if book is None else book, environment=environment)


takes_books: Decorator[Any] = gathered("books", find_books, ledger_option, env_option, book_option)
"""The options of a command that looks into the order book; it gets the places of both, as ``books``."""


async def refuse_unknown_run(book: Book, ledger: Ledger | None, run_id: str | None) -> None:
    """Refuse the name of a run that neither the ledger nor the book has.

    Raises:
        UsageError: it has.
    """
    if run_id is None or await book.counts(run_id):
        return
    if ledger is None or run_id not in {info.id for info in await ledger.runs()}:
        raise UsageError(f"there is no run {run_id}, neither in the order book nor in the ledger: see `gotsurge runs`")


async def _refuse_archive(ledger: Ledger, books: Books) -> None:
    """Refuse to begin an order book beside an archive: its orders would be missing.

    Raises:
        ConfigError: it is one.
    """
    runs = await ledger.runs()
    if runs and all(info.archived_at is not None and info.archived_in is None for info in runs):
        raise ConfigError(
            f"{books.ledger} is an archive, and no order book is begun from one: name the ledger that its runs are of "
            "by --ledger, or the order book by --book"
        )


@asynccontextmanager
async def open_book(books: Books) -> AsyncIterator[tuple[Book, Ledger | None]]:
    """The order book, with all orders that the ledger beside it has; and that ledger, to look at, if it can be used.

    Raises:
        ConfigError: there is neither.
    """
    has_ledger = await asyncio.to_thread(Backend(books.ledger).is_there)
    if not has_ledger and books.book.kind is Kind.SQLITE and not books.book.path.exists():
        raise ConfigError(
            f"there is no order book at {books.book}, and no ledger at {books.ledger} to begin it from: "
            "--book and --ledger name them, and --env sandbox or production those of real pushes"
        )
    clock = SystemClock()
    if has_ledger and books.book.kind is Kind.SQLITE and not books.book.path.exists():
        with suppress(LedgerError):  # told below
            async with await Ledger.look(books.ledger, clock=clock.now) as looked_at:
                await _refuse_archive(looked_at, books)
    async with Book.open(books.book, clock=clock) as book:
        if not has_ledger:
            yield book, None
            return
        async with AsyncExitStack() as stack:
            try:
                ledger = await stack.enter_async_context(await Ledger.look(books.ledger, clock=clock.now))
                await book.take_in(ledger)
            except LedgerError as error:
                say(f"{error}\nwhat follows is what the order book has; orders that were pushed since may be missing")
                yield book, None
                return
            yield book, ledger
