"""``gotsurge receive``: a receiver for users without a service of their own."""

import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import click
import msgspec
from aiohttp import web

from gotsurge_async.bulk import Ledger, LedgerError
from gotsurge_async.cli.afterwards.books import book_option, books_beside
from gotsurge_async.cli.afterwards.serving import PREFIX, Lines, listening, tokens, until_a_signal
from gotsurge_async.cli.shared.connect import Target, connected, takes_place
from gotsurge_async.cli.shared.exits import Exit, asynchronous
from gotsurge_async.cli.shared.ledger import find_ledger, ledger_option
from gotsurge_async.cli.shared.options import OUTPUT, in_group
from gotsurge_async.cli.shared.output import event_line, say, started_document
from gotsurge_async.clock import SystemClock
from gotsurge_async.database import Place
from gotsurge_async.models.times import written_clock
from gotsurge_async.webhooks.book import Book, Change
from gotsurge_async.webhooks.book.records import account_named
from gotsurge_async.webhooks.follow import KEEP, Follower
from gotsurge_async.webhooks.inbox import Inbox
from gotsurge_async.webhooks.reads import READ_RATE
from gotsurge_async.webhooks.receive import Receiver
from gotsurge_async.webhooks.web.aiohttp import webhook_routes

_option = in_group("Receiving")


@click.command()
@_option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8766,
    show_default=True,
    metavar="PORT",
    help="The port to listen at; 0 takes any that is free.",
)
@_option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="The address to listen at; 0.0.0.0 listens at all of this machine.",
)
@_option(
    "--allow",
    multiple=True,
    metavar="ADDRESS|NETWORK",
    help="Take events only from here; may be given several times.  [default: from everywhere]",
)
@_option(
    "--trusted-proxy",
    "trusted_proxies",
    multiple=True,
    metavar="ADDRESS|NETWORK",
    help="A proxy in front, whose X-Forwarded-For is believed; may be given several times.",
)
@_option(
    "--sweep-after",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Read a task again when no event of it came for so long.  [default: by its status, 5 minutes to 6 hours]",
)
@_option(
    "--read-rate",
    type=click.FloatRange(min=0, min_open=True),
    default=READ_RATE,
    show_default=True,
    metavar="PER_SECOND",
    help="Read at most so many tasks a second.",
)
@_option(
    "--trust",
    type=click.Choice(("read", "body")),
    default="read",
    show_default=True,
    help="Read the task of each event (read), or believe the event itself (body): only where nobody else can post.",
)
@_option(
    "--keep",
    type=click.IntRange(1, 36_500),
    default=KEEP.days,
    show_default=True,
    metavar="DAYS",
    help="How long the order book keeps orders that are at their end.",
)
@takes_place
@ledger_option
@book_option
@in_group(OUTPUT)("--json", "as_json", is_flag=True, help="Print each change as one line of JSON.")
@asynchronous
async def receive(
    target: Target,
    ledger: Place | None,
    book: Place | None,
    port: int,
    host: str,
    sweep_after: float | None,
    read_rate: float,
    allow: tuple[str, ...],
    trusted_proxies: tuple[str, ...],
    trust: Any,
    keep: int,
    as_json: bool,
) -> Exit:
    """Receive GotSurge's events, and follow all orders, until Ctrl-C or SIGTERM.

    GotSurge posts the events to /webhooks/TOKEN. GOTSURGE_WEBHOOK_TOKEN is the token; GOTSURGE_WEBHOOK_TOKEN_NEXT is
    accepted as well, so that you can change to a new one. Each event is on the disk before it is answered 200. Then
    its task is read. A task of which no event comes is read after a while. Every change is printed: time, task,
    tracking id, status. Those of one task come in order. If the process was killed, the next one prints up to 20
    changes again, with the same number in --json. gotsurge orders shows what is known. An order of the ledger that is
    in doubt is settled when its own task is found by a read. Two living tasks of one name are reported as a double.

    /healthz answers 200 while the process lives, /readyz while events can be kept. Put a proxy with TLS in front.

    \b
    Exit codes:
      0 ended by Ctrl-C or SIGTERM     2 wrong usage, no token, or the port is taken
      4 not signed in                  141 who read standard output has gone
    """
    books = books_beside(find_ledger(ledger, target), book)
    secrets = tokens()
    account = account_named(target.environment, target.account)
    clock = SystemClock()
    lines = Lines(clock)
    async with AsyncExitStack() as stack:
        gs = await stack.enter_async_context(connected(target))
        opened = await stack.enter_async_context(_ledger(books.ledger))
        inbox = await stack.enter_async_context(Inbox.open(books.book, clock=clock))
        order_book = await stack.enter_async_context(Book.open(books.book, clock=clock))
        follower = Follower(
            inbox,
            order_book,
            {account: gs},
            on_status=lambda change: lines.put(_line(change, as_json)),  # an exception leaves it unacknowledged
            handler_seconds=math.inf,  # a disk may be full for longer than any handler may take
            ledger=opened,
            read_rate=read_rate,
            sweep_after=sweep_after,
            trust=trust,
            keep=timedelta(days=keep),
            clock=clock,
        )
        receiver = Receiver(
            inbox,
            tokens=secrets,
            account=account,
            allow=allow or None,
            trusted_proxies=trusted_proxies,
            clock=clock,
        )
        await stack.enter_async_context(follower)
        routes = [*webhook_routes(receiver, PREFIX), *_pages(receiver, follower)]
        url = await stack.enter_async_context(listening(host, port, routes))
        if as_json:
            started_document()
        say(f"receiving at {url}{PREFIX}/TOKEN for {account}; the order book is {books.book}")
        await until_a_signal(lines.stop)
        say("stopping: what is being received is kept first")
    return Exit.UNREAD if lines.unread else Exit.CREATED


@asynccontextmanager
async def _ledger(where: Place) -> AsyncIterator[Ledger | None]:
    """The ledger whose orders are followed; events are received also without one that can be used."""
    try:
        ledger = await Ledger.open(where, clock=SystemClock().now)
    except LedgerError as error:
        say(f"{error}\nuntil that is mended, its orders are not followed and its doubts not settled")
        yield None
        return
    async with ledger:
        yield ledger


def _pages(receiver: Receiver, follower: Follower) -> list[web.RouteDef]:
    """The pages for monitors: whether the process lives, and whether events can be kept."""

    async def health(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(_: web.Request) -> web.Response:
        keeps = await receiver.is_ready()
        state = {
            "ready": keeps,
            "unknown": keeps and await receiver.is_ready(known=False),
            "following": follower.ready.is_set(),
            "reading": not follower.troubles,
        }
        return web.json_response(state, status=200 if keeps else 503)

    return [web.get("/healthz", health), web.get("/readyz", ready)]


def _line(change: Change, as_json: bool) -> str:
    at, tracking_id = change.at or change.seen_at, change.task.tracking_id
    if as_json:
        document = {
            "number": change.number,
            "at": at,
            "account": change.account,
            "task_id": change.task_id,
            "tracking_id": tracking_id,
            "status": change.status,
            "previous": change.previous,
            "late": change.late,
        }
        return msgspec.json.encode(document).decode()
    whole = (at, change.task_id, tracking_id, change.status)
    return event_line(whole, (written_clock(at), tracking_id or change.task_id, change.status))
