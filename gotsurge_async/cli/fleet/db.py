"""``gotsurge db``: the tables in PostgreSQL."""

import asyncio
import os

import click

from gotsurge_async.auth.sql import SqlStore
from gotsurge_async.calls.shared_rate import make_tables
from gotsurge_async.cli.afterwards.books import books_beside
from gotsurge_async.cli.shared.credentials import in_database
from gotsurge_async.cli.shared.distributed import fleet_package
from gotsurge_async.cli.shared.exits import Exit, asynchronous
from gotsurge_async.cli.shared.ledger import ledger_option, shared_ledger
from gotsurge_async.cli.shared.output import say
from gotsurge_async.clock import SystemClock
from gotsurge_async.database import Place
from gotsurge_async.ledger import Ledger
from gotsurge_async.webhooks.book import Book
from gotsurge_async.webhooks.inbox import Inbox


@click.group()
def db() -> None:
    """Look after the tables that many machines share, in PostgreSQL."""


@db.command(short_help="Make the tables, or bring them up to date.")
@ledger_option
@asynchronous
async def upgrade(ledger: Place | None) -> Exit:
    """Make the tables of the ledger, the queue and the order book, or bring them up to date.

    It makes those of the tokens, too, where GOTSURGE_TOKEN_STORE names a database. Other commands then need no right to
    make tables. Run it once before the first push --distributed, and after an update of gotsurge-async. It may be run
    again, and by two machines at once. Nothing that is recorded is lost.

    \b
    Exit codes:
      0 the tables are there, and as new as this program
      2 the database cannot be used, or is of a newer version
    """
    place = shared_ledger(ledger)
    fleet = fleet_package()
    async with await Ledger.open(place, clock=SystemClock().now):
        await asyncio.to_thread(fleet.upgrade, place)
        await make_tables(place)
    book = books_beside(place, None).book
    async with Book.open(book), Inbox.open(book):
        pass  # to open them makes their tables
    if in_database():
        tokens = SqlStore(os.environ["GOTSURGE_TOKEN_STORE"], None)
        try:
            await tokens.accounts()
        finally:
            await tokens.close()
    say(f"{place}: the tables are up to date")
    return Exit.CREATED
