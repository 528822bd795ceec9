"""``gotsurge receive`` and ``gotsurge listen``: events as they arrive, followed, printed or sent on."""

import asyncio
import hashlib
import math
import os
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import attrs
import click
import msgspec
from aiohttp import web

from gotsurge_async.cli.afterwards.books import Books, book_option, books_beside, takes_books
from gotsurge_async.cli.afterwards.inbox import document_of as document_of_event
from gotsurge_async.cli.afterwards.serving import (
    FORWARD_URL,
    PREFIX,
    SECRET,
    Lines,
    forwarding,
    listening,
    tokens,
    until_a_signal,
)
from gotsurge_async.cli.shared.connect import Target, connected, takes_place
from gotsurge_async.cli.shared.exits import Exit, WrongUse, asynchronous
from gotsurge_async.cli.shared.ledger import find_ledger, ledger_option
from gotsurge_async.cli.shared.options import in_group, json_option_with, option, port_option
from gotsurge_async.cli.shared.output import as_json, event_line, say, started_document
from gotsurge_async.clock import Clock, SystemClock, from_microseconds, sleep_or
from gotsurge_async.database import Place
from gotsurge_async.errors import UsageError
from gotsurge_async.ledger import Ledger, LedgerError
from gotsurge_async.models.times import written_clock
from gotsurge_async.secrets import Secret, as_secret, url_for_log
from gotsurge_async.webhooks.book import Book, Change
from gotsurge_async.webhooks.book.records import account_named
from gotsurge_async.webhooks.event import MalformedEvent, read_event
from gotsurge_async.webhooks.follow import KEEP, Follower
from gotsurge_async.webhooks.forward import Forwarder, document_of, new_secret
from gotsurge_async.webhooks.inbox import Inbox, Stored
from gotsurge_async.webhooks.reads import READ_RATE
from gotsurge_async.webhooks.receive import Receiver
from gotsurge_async.webhooks.web.aiohttp import webhook_routes

_option = in_group("Receiving")


@click.command()
@port_option(8766, group="Receiving")
@_option("--host ADDRESS", "The address to listen at; 0.0.0.0 listens at all of this machine.", default="127.0.0.1")
@_option(
    "--allow ADDRESS|NETWORK",
    "Take events only from here; may be given several times.  [default: from everywhere]",
    multiple=True,
)
@_option(
    "--trusted-proxy ADDRESS|NETWORK",
    "A proxy in front, whose X-Forwarded-For is believed; may be given several times.",
    name="trusted_proxies",
    multiple=True,
)
@_option(
    "--sweep-after SECONDS",
    "Read a task again when no event of it came for so long.  [default: by its status, 5 minutes to 6 hours]",
    type=click.FloatRange(min=0, min_open=True),
)
@_option(
    "--read-rate PER_SECOND",
    "Read at most so many tasks a second.",
    type=click.FloatRange(min=0, min_open=True),
    default=READ_RATE,
)
@_option(
    "--keep DAYS",
    "How long the order book keeps orders that are at their end.",
    type=click.IntRange(1, 36_500),
    default=KEEP.days,
)
@_option(
    "--forward-to URL",
    f"Send each change to this URL (or {FORWARD_URL}) by POST, signed, instead of printing it.",
    envvar=FORWARD_URL,
)
@takes_place
@ledger_option
@book_option
@json_option_with("Print each change as one line of JSON.")
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
    keep: int,
    forward_to: str | None,
) -> Exit:
    """Receive GotSurge's events, and follow all orders, until Ctrl-C or SIGTERM.

    GotSurge posts the events to /webhooks/TOKEN. GOTSURGE_WEBHOOK_TOKEN is the token; GOTSURGE_WEBHOOK_TOKEN_NEXT is
    accepted as well, so that you can change to a new one. Each event is on the disk before it is answered 200. Then
    its task is read. A task of which no event comes is read after a while. Every change is printed: time, task,
    tracking id, status. Those of one task come in order. If the process was killed, the next one prints up to 20
    changes again, with the same number in --json. gotsurge orders shows what is known. An order of the ledger that is
    in doubt is settled when its own task is found by a read. Two living tasks of one name are reported as a double.

    --forward-to sends each change to your service instead, as the JSON that --json prints. GOTSURGE_FORWARD_SECRET
    signs it by the scheme of Standard Webhooks. A change is sent until it is answered 2xx: at least once, and in order
    for each task. One that fails for three days is parked: gotsurge inbox parked lists it, resend sends it again,
    and skip gives it up.

    /healthz answers 200 while the process lives, /readyz while events can be kept. Put a proxy with TLS in front.

    \b
    Exit codes:
      0 ended by Ctrl-C or SIGTERM     2 wrong usage, no token, or the port is taken
      4 not signed in                  141 who read standard output has gone
    """
    books = books_beside(find_ledger(ledger, target), book)
    if forward_to is not None and as_json():
        raise WrongUse(
            f"--json prints changes, but --forward-to (or {FORWARD_URL}) sends them to a service: choose one"
        )
    secrets = tokens()
    account = account_named(target.environment, target.account)
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        if forward_to is not None:
            forwarder = await stack.enter_async_context(forwarding(forward_to, _secret(make=False), clock))
            lines, on_status = None, forwarder.send_change
        else:
            lines = Lines(clock)
            on_status = partial(_print_change, lines)
        gs = await stack.enter_async_context(connected(target))
        opened = await stack.enter_async_context(_ledger(books.ledger))
        inbox = await stack.enter_async_context(Inbox.open(books.book, clock=clock))
        order_book = await stack.enter_async_context(Book.open(books.book, clock=clock))
        follower = Follower(
            inbox,
            order_book,
            {account: gs},
            on_status=on_status,  # an exception leaves it unacknowledged
            handler_seconds=math.inf,  # a disk may be full for longer than any handler may take
            ledger=opened,
            read_rate=read_rate,
            sweep_after=sweep_after,
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
        if as_json():
            started_document()
        say(
            f"receiving at {url}{PREFIX}/TOKEN for {account}; the order book is {books.book}"
            + (f"; changes are sent to {url_for_log(forward_to)}" if forward_to else "")
        )
        await until_a_signal(None if lines is None else lines.stop)
        say("stopping: what is being received is kept first")
    return Exit.UNREAD if lines is not None and lines.unread else Exit.CREATED


def _secret(*, make: bool) -> Secret:
    """The secret that signs what is sent on, from its environment variable; ``make`` a new one if there is none."""
    if secret := as_secret(os.environ.get(SECRET) or None):
        return secret
    if not make:  # each start of a receiver would make another one
        raise UsageError(
            f"to sign changes, set {SECRET} to a secret; make one with: echo whsec_$(openssl rand -base64 32)", "E805"
        )
    secret = new_secret()
    say(f"events are signed with a new secret, {secret.reveal()}: to use it the next time, too, set {SECRET}")
    return secret


@asynccontextmanager
async def _ledger(where: Place) -> AsyncIterator[Ledger | None]:
    """The ledger whose orders are followed; without a usable one events are received all the same."""
    try:
        ledger = await Ledger.open(where, clock=SystemClock().now)
    except LedgerError as error:
        say(f"{error}\nuntil this is corrected, no order of the ledger is followed, and none in doubt is settled")
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


async def _print_change(lines: Lines, change: Change) -> None:
    if as_json():
        line = document_of(change).decode()
    else:
        at, tracking_id = change.at or change.seen_at, change.task.tracking_id
        whole = (at, change.task_id, tracking_id, change.status)
        line = event_line(whole, (written_clock(at), tracking_id or change.task_id, change.status))
    await lines.put(line)


# --- listening: for people who build a service that receives events ---------------------------------------------------

POLL = 0.5
"""Seconds between two reads of the inbox, in which another process may have stored events."""
PAGE = 100
_SPAN = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _span(text: str) -> timedelta:
    """A span in a text such as ``2h``."""
    span = _SPAN.fullmatch(text.strip())
    if span is None:
        raise click.BadParameter(f"{text!r} is not a time span such as 90s, 30m, 2h or 7d")
    return timedelta(**{_UNITS[span[2]]: int(span[1])})


@click.command()
@option("--port PORT", "Receive events at this port, too; 0 takes any that is free.", type=click.IntRange(0, 65535))
@option(
    "--forward-to URL",
    f"Send the events on to this URL (or {FORWARD_URL}), in order. An event is sent until it is answered 2xx.",
    envvar=FORWARD_URL,
)
@option("--since SPAN", "Begin with the events of the last 90s, 30m, 2h or 7d.", type=_span)
@takes_books
@json_option_with("Print each event as one line of JSON.")
@asynchronous
async def listen(port: int | None, forward_to: str | None, since: timedelta | None, books: Books) -> Exit:
    """Print events as they come into the inbox, until Ctrl-C. For people who build a service that receives them.

    Beside a running gotsurge receive it shows the events that come in there. With --port it receives events itself, at
    /webhooks/TOKEN of this machine. It does nothing else with them: no task is read.

    --forward-to sends events on to a service that you are building. They go in order, and are signed by the scheme of
    Standard Webhooks. An event that your service does not take is sent again, and the next ones wait. The secret is
    GOTSURGE_FORWARD_SECRET, which begins with whsec. Without it the command makes a new one, and prints it once. The
    next listen with the same URL continues behind the last event that was taken; --since 0s begins with the present.

    \b
    Exit codes:
      0 ended by Ctrl-C or SIGTERM     2 wrong usage, no token, or the port is taken
    """
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        forwarder = None
        if forward_to is not None:
            forwarder = await stack.enter_async_context(forwarding(forward_to, _secret(make=True), clock))
        inbox = await stack.enter_async_context(Inbox.open(books.book, clock=clock, keep=None))
        if port is not None:
            routes = webhook_routes(Receiver(inbox, tokens=tokens(), account="listen", clock=clock), PREFIX)
            say(f"receiving at {await stack.enter_async_context(listening('127.0.0.1', port, routes))}{PREFIX}/TOKEN")
        if as_json():
            started_document()
        say(
            f"listening to the inbox {books.book}"
            + (f", sending on to {url_for_log(forward_to)}" if forward_to else "")
        )
        stop = asyncio.Event()
        begin, after = clock.now() - (since or timedelta(0)), 0
        name = hashlib.sha256((forward_to or "").encode()).hexdigest()  # a URL may hold a secret
        cursor = await inbox.cursor(name) if forwarder is not None and since is None else None
        if cursor is not None:
            begin, after = from_microseconds(0), cursor
            say(f"continuing behind event {cursor}, the last one that was taken")
        printing = asyncio.create_task(_print_events(inbox, begin, after, name, forwarder, clock))
        printing.add_done_callback(lambda _: stop.set())
        try:
            await until_a_signal(stop)
        finally:
            printing.cancel()
            await asyncio.wait([printing])
        if not printing.cancelled():
            printing.result()
    return Exit.CREATED


async def _print_events(
    inbox: Inbox, begin: datetime, after: int, name: str, forwarder: Forwarder | None, clock: Clock
) -> None:
    """Print the events since a moment in order of arrival, and send them on, until cancelled."""
    while True:
        page = await inbox.oldest(since=begin, after=after, limit=PAGE)
        for stored in page:
            after = stored.id
            click.echo(_event_line(stored))
            if forwarder is not None and stored.is_without_body:
                say(f"event {stored.id} is not sent on: its body is gone")
            elif forwarder is not None:
                tries = await forwarder.send(stored)
                await inbox.move_cursor(name, stored.id)
                say(f"event {stored.id} was taken" + (f", at try {tries}" if tries > 1 else ""))
        if not page:
            await sleep_or(inbox.arrived, clock, POLL)
            inbox.arrived.clear()


def _event_line(stored: Stored) -> str:
    body = stored.body or b""
    if stored.is_without_body:
        stored = attrs.evolve(stored, why="; ".join(filter(None, ("its body is gone", stored.why))))
    if as_json():
        try:
            is_null = stored.is_without_body or msgspec.json.decode(body) is None
            content: Any = None if is_null else msgspec.Raw(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            content = body.decode("utf-8", "backslashreplace")
        return msgspec.json.encode({**document_of_event(stored), "event": content}).decode()
    try:
        event = read_event(body)
        status, name = event.status or stored.why, event.tracking_id
    except MalformedEvent:
        status, name = stored.why, None
    return event_line(
        (stored.received_at, stored.id, stored.task_id, name, status),
        (written_clock(stored.received_at), stored.id, name or stored.task_id, status),
    )
