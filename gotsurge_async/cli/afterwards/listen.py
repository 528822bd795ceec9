"""``gotsurge listen``: events as they come, for who builds what receives them."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any

import attrs
import click
import msgspec

from gotsurge_async.cli.afterwards.books import Books, takes_books
from gotsurge_async.cli.afterwards.serving import PREFIX, listening, tokens, until_a_signal
from gotsurge_async.cli.shared.exits import Exit, asynchronous
from gotsurge_async.cli.shared.options import OUTPUT, ParamType, in_group
from gotsurge_async.cli.shared.output import event_line, say, started_document
from gotsurge_async.clock import Clock, SystemClock, sleep_or
from gotsurge_async.secrets import Secret, url_for_log
from gotsurge_async.transports.aiohttp import AiohttpTransport
from gotsurge_async.webhooks.event import MalformedEvent, read_event
from gotsurge_async.webhooks.forward import Forwarder, new_secret
from gotsurge_async.webhooks.inbox import Inbox, Stored
from gotsurge_async.webhooks.receive import Receiver
from gotsurge_async.webhooks.web.aiohttp import webhook_routes

SECRET = "GOTSURGE_FORWARD_SECRET"  # noqa: S105 - the name of a variable
POLL = 0.5
"""Seconds after which it is looked for events that another process took in."""
PAGE = 100
_SPAN = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class _Span(ParamType[timedelta]):
    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Read one such as ``2h``."""
        if isinstance(value, timedelta):
            return value
        found = _SPAN.fullmatch(str(value).strip())
        if found is None or len(found[1]) > 6:
            self.fail(f"{value!r} is no span such as 90s, 30m, 2h or 7d", param, ctx)
        return timedelta(**{_UNITS[found[2]]: int(found[1])})


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Receive events at this port, too; 0 takes any that is free.",
)
@click.option(
    "--forward-to", metavar="URL", help="Send the events on, in order. An event is sent until it is answered 2xx."
)
@click.option("--since", type=_Span(), metavar="SPAN", help="Begin with the events of the last 90s, 30m, 2h or 7d.")
@takes_books
@in_group(OUTPUT)("--json", "as_json", is_flag=True, help="Print each event as one line of JSON.")
@asynchronous
async def listen(
    port: int | None, forward_to: str | None, since: timedelta | None, books: Books, as_json: bool
) -> Exit:
    """Print events as they come into the inbox, until Ctrl-C. For people who build a service that receives them.

    Beside a running gotsurge receive it shows the events that come in there. With --port it receives events itself, at
    /webhooks/TOKEN of this machine. It does nothing else with them: no task is read.

    --forward-to sends events on to a service that you are building. They go in order, and are signed by the scheme of
    Standard Webhooks. An event that your service does not take is sent again, and the next ones wait. The secret is
    GOTSURGE_FORWARD_SECRET, which begins with whsec. Without it the command makes a new one, and prints it once.

    \b
    Exit codes:
      0 ended by Ctrl-C or SIGTERM     2 wrong usage, no token, or the port is taken
    """
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        forwarder = None
        if forward_to is not None:
            transport = AiohttpTransport()
            stack.push_async_callback(transport.close)
            forwarder = Forwarder(forward_to, _secret(), transport, clock)
        inbox = await stack.enter_async_context(Inbox.open(books.book, clock=clock, keep=None))
        if port is not None:
            routes = webhook_routes(Receiver(inbox, tokens=tokens(), account="listen", clock=clock), PREFIX)
            say(f"receiving at {await stack.enter_async_context(listening('127.0.0.1', port, routes))}{PREFIX}/TOKEN")
        if as_json:
            started_document()
        say(
            f"listening to the inbox {books.book}"
            + (f", sending on to {url_for_log(forward_to)}" if forward_to else "")
        )
        begin = clock.now() - (since or timedelta(0))
        await _until_the_end(_tell(inbox, begin, forwarder, clock, as_json=as_json))
    return Exit.CREATED


async def _until_the_end(telling: Coroutine[Any, Any, None]) -> None:
    """Tell until a signal comes; what goes wrong with that is raised."""
    both = [asyncio.create_task(telling), asyncio.create_task(until_a_signal())]
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in both:
            each.cancel()
        await asyncio.wait(both)
    if not both[0].cancelled():
        both[0].result()


def _secret() -> Secret:
    given = os.environ.get(SECRET)
    if given:
        return Secret(given)
    made = new_secret()
    say(f"events are signed with the secret {made.reveal()}: set {SECRET} to keep one")
    return made


async def _tell(inbox: Inbox, begin: datetime, forwarder: Forwarder | None, clock: Clock, *, as_json: bool) -> None:
    async for stored in _events(inbox, begin, clock):
        click.echo(_line(stored, as_json=as_json))
        if forwarder is not None:
            tries = await forwarder.send(stored)
            say(f"event {stored.id} was taken" + (f", at try {tries}" if tries > 1 else ""))


async def _events(inbox: Inbox, begin: datetime, clock: Clock) -> AsyncIterator[Stored]:
    """Events since a moment, as they came, for ever."""
    after = 0
    while True:
        page = await inbox.oldest(since=begin, after=after, limit=PAGE)
        for stored in page:
            after = stored.id
            yield stored
        if not page:
            await sleep_or(inbox.arrived, clock, POLL)
            inbox.arrived.clear()


def _line(stored: Stored, *, as_json: bool) -> str:
    body = stored.body or b""
    told = {**attrs.asdict(stored, filter=lambda attribute, _: attribute.name != "body")}
    try:
        event = read_event(body)
        status, name = event.status, event.tracking_id
    except MalformedEvent:
        status = name = None
    if as_json:
        try:
            content: Any = msgspec.Raw(body) if msgspec.json.decode(body) is not None else None
        except (msgspec.DecodeError, UnicodeDecodeError):
            content = body.decode("utf-8", "backslashreplace")
        return msgspec.json.encode({**told, "event": content}).decode()
    what = status or stored.why
    return event_line(
        (stored.received_at, stored.id, stored.task_id, name, what),
        (f"{stored.received_at:%H:%M:%S}Z", stored.id, name or stored.task_id, what),
    )
