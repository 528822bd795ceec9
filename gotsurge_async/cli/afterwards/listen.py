"""``gotsurge listen``: events as they arrive, for people who build a service that receives them."""

import asyncio
import hashlib
import re
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any

import attrs
import click
import msgspec

from gotsurge_async.cli.afterwards.books import Books, takes_books
from gotsurge_async.cli.afterwards.inbox import document_of
from gotsurge_async.cli.afterwards.serving import (
    FORWARD_URL,
    PREFIX,
    SECRET,
    forward_secret,
    forwarding,
    listening,
    tokens,
    until_a_signal,
)
from gotsurge_async.cli.shared.exits import Exit, asynchronous
from gotsurge_async.cli.shared.options import ParamType, json_option_with
from gotsurge_async.cli.shared.output import as_json, event_line, say, started_document
from gotsurge_async.clock import Clock, SystemClock, from_microseconds, sleep_or
from gotsurge_async.models.times import written_clock
from gotsurge_async.secrets import Secret, url_for_log
from gotsurge_async.webhooks.event import MalformedEvent, read_event
from gotsurge_async.webhooks.forward import Forwarder, new_secret
from gotsurge_async.webhooks.inbox import Inbox, Stored
from gotsurge_async.webhooks.receive import Receiver
from gotsurge_async.webhooks.web.aiohttp import webhook_routes

POLL = 0.5
"""Seconds between two readings of the inbox, in which another process may have kept events."""
PAGE = 100
_SPAN = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class _Span(ParamType[timedelta]):
    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Read a span such as ``2h``."""
        if isinstance(value, timedelta):
            return value
        span = _SPAN.fullmatch(str(value).strip())
        if span is None:
            self.fail(f"{value!r} is no span such as 90s, 30m, 2h or 7d", param, ctx)
        return timedelta(**{_UNITS[span[2]]: int(span[1])})


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Receive events at this port, too; 0 takes any that is free.",
)
@click.option(
    "--forward-to",
    metavar="URL",
    envvar=FORWARD_URL,
    help=f"Send the events on to this URL (or {FORWARD_URL}), in order. An event is sent until it is answered 2xx.",
)
@click.option("--since", type=_Span(), metavar="SPAN", help="Begin with the events of the last 90s, 30m, 2h or 7d.")
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
            forwarder = await stack.enter_async_context(forwarding(forward_to, _secret(), clock))
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
        printing = asyncio.create_task(_print(inbox, begin, after, name, forwarder, clock))
        printing.add_done_callback(lambda _: stop.set())
        try:
            await until_a_signal(stop)
        finally:
            printing.cancel()
            await asyncio.wait([printing])
        if not printing.cancelled():
            printing.result()
    return Exit.CREATED


def _secret() -> Secret:
    if secret := forward_secret():
        return secret
    secret = new_secret()
    say(f"events are signed with the secret {secret.reveal()}: set {SECRET} to keep one")
    return secret


async def _print(
    inbox: Inbox, begin: datetime, after: int, name: str, forwarder: Forwarder | None, clock: Clock
) -> None:
    """Print the events since a moment, in the order in which they arrived, and send them on, until cancelled."""
    while True:
        page = await inbox.oldest(since=begin, after=after, limit=PAGE)
        for stored in page:
            after = stored.id
            click.echo(_line(stored))
            if forwarder is not None and stored.is_without_body:
                say(f"event {stored.id} is not sent on: its body is gone")
            elif forwarder is not None:
                tries = await forwarder.send(stored)
                await inbox.move_cursor(name, stored.id)
                say(f"event {stored.id} was taken" + (f", at try {tries}" if tries > 1 else ""))
        if not page:
            await sleep_or(inbox.arrived, clock, POLL)
            inbox.arrived.clear()


def _line(stored: Stored) -> str:
    body = stored.body or b""
    if stored.is_without_body:
        stored = attrs.evolve(stored, why="; ".join(filter(None, ("its body is gone", stored.why))))
    if as_json():
        try:
            is_null = stored.is_without_body or msgspec.json.decode(body) is None
            content: Any = None if is_null else msgspec.Raw(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            content = body.decode("utf-8", "backslashreplace")
        return msgspec.json.encode({**document_of(stored), "event": content}).decode()
    try:
        event = read_event(body)
        status, name = event.status or stored.why, event.tracking_id
    except MalformedEvent:
        status, name = stored.why, None
    return event_line(
        (stored.received_at, stored.id, stored.task_id, name, status),
        (written_clock(stored.received_at), stored.id, name or stored.task_id, status),
    )
