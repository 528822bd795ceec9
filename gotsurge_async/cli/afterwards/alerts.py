"""``gotsurge alerts``: what should be looked after before the ship sails."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import attrs
import click
import msgspec

from gotsurge_async import codec
from gotsurge_async.bulk.checks.words import number_of
from gotsurge_async.bulk.ledger import DOUBTFUL, Ledger, LedgerError, RunState
from gotsurge_async.cli.afterwards.books import (
    Books,
    book_option,
    books_beside,
    open_book,
    refuse_unknown_run,
    run_option,
    vessel_option,
)
from gotsurge_async.cli.afterwards.reading import READING, STALE, DueReads, limits_of
from gotsurge_async.cli.afterwards.zones import zone_option
from gotsurge_async.cli.shared.connect import Target, connected, may_take_place
from gotsurge_async.cli.shared.exits import Exit, Unreachable, asynchronous
from gotsurge_async.cli.shared.ledger import find_ledger, ledger_option
from gotsurge_async.cli.shared.options import GroupedCommand, in_group, json_option
from gotsurge_async.cli.shared.output import is_terminal, print_json, print_table, prose, say, spare, started_document
from gotsurge_async.client import GotSurge
from gotsurge_async.clock import SystemClock
from gotsurge_async.config import Timeouts
from gotsurge_async.database import Place
from gotsurge_async.transports.aiohttp import AiohttpTransport
from gotsurge_async.transports.base import Request, TransportError
from gotsurge_async.webhooks.alerts import Alert, Lasting, Limits, alerts_in, doubt
from gotsurge_async.webhooks.book import Only
from gotsurge_async.webhooks.book.records import account_named, account_of
from gotsurge_async.webhooks.store import StoreError

_WHEN = "When"
_minutes = {"type": click.FloatRange(min=0), "metavar": "MINUTES", "show_default": True}
_FOR_EVER = 1e9
"""No time is longer: centuries."""
_POSTED = 40
"""Alerts whose lines stand in one message; of more, the number."""
_TRIES = 3


@attrs.frozen(kw_only=True)
class AlertOptions:
    """What the user said about alerts."""

    only: Only
    limits: Limits
    zone: ZoneInfo
    post: str | None
    as_json: bool


@click.command(cls=GroupedCommand)
@in_group(_WHEN)(
    "--expiring", default=30.0, **_minutes, help="Tell of a broadcast that ends by itself within so many minutes."
)
@in_group(_WHEN)(
    "--not-accepted",
    default=60.0,
    **_minutes,
    help="Tell of an order that no driver has so many minutes before its pickup window begins.",
)
@in_group(_WHEN)(
    "--late",
    default=0.0,
    **_minutes,
    help="Tell of an order so many minutes after a window of it has ended, if it is not done.",
)
@in_group(_WHEN)(
    "--in-doubt", default=10.0, **_minutes, help="Tell of an order that has been in doubt for so many minutes."
)
@in_group(_WHEN)(
    "--failed-for", default=1440.0, **_minutes, help="Tell of an order that failed within the last so many minutes."
)
@run_option
@vessel_option
@click.option("--follow", is_flag=True, help="Go on until Ctrl-C, and tell each alert once while it lasts.")
@click.option(
    "--every",
    type=click.FloatRange(min=0.1),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="With --follow: look again after so many seconds.",
)
@click.option(
    "--post",
    metavar="URL",
    envvar="GOTSURGE_ALERT_URL",
    help="Post the alerts to this address, too (or GOTSURGE_ALERT_URL), as JSON with a text: Slack and Teams take it.",
)
@in_group(READING)(
    "--read-rate",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    metavar="PER_SECOND",
    help="Read tasks before each look, so many a second; 0 reads none.",
)
@in_group(READING)(
    "--read-after",
    type=click.FloatRange(min=0),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="Read only tasks that were not heard of for so many seconds.",
)
@zone_option
@may_take_place
@ledger_option
@book_option
@json_option
@asynchronous
async def alerts(
    run_id: str | None,
    vessel: str | None,
    follow: bool,
    every: float,
    post: str | None,
    read_rate: float,
    read_after: float,
    zone: ZoneInfo,
    target: Target,
    ledger: Place | None,
    book: Place | None,
    as_json: bool,
    **minutes: float,
) -> Exit:
    """Tell which orders somebody should look after, by GotSurge's own rules.

    A broadcast that ends soon (for the squad 30 minutes before the pickup window does), no driver shortly before the
    pickup, late at the pickup or the delivery, failed or expired, in doubt for too long, two living tasks of one
    name. With --follow each alert is shown once while it lasts; with --json each is one line.

    \b
    Exit codes:
      0 none
      1 there are some (for cron)
      2 no such RUN, or no order book
      8 they could not be posted
    """
    books = books_beside(find_ledger(ledger, target), book, target.env)
    options = AlertOptions(
        only=Only(run=run_id, vessel=vessel, environment=books.environment),
        limits=Limits(**{name: timedelta(minutes=min(number, _FOR_EVER)) for name, number in minutes.items()}),
        zone=zone,
        post=None if post is None else _checked(post),
        as_json=as_json,
    )
    if read_rate and not (target.env or os.environ.get("GOTSURGE_ENV")):
        raise click.UsageError("--read-rate asks GotSurge: say which one, by --env")
    async with AsyncExitStack() as stack:
        gs = None if not read_rate else await stack.enter_async_context(connected(target, limits_of(read_rate)))
        reads = None
        if gs is not None:
            account = account_named(target.environment, target.account)
            reads = Reading(gs, account, timedelta(seconds=min(read_after, _FOR_EVER)), int(read_rate * every) + 1)
        if not follow:
            return await _once(await _look(books, options, reads), options)
        started_document()  # of lines, which end when it does
        lasting, unposted = Lasting(), list[Alert]()
        while True:
            try:
                news = lasting.news(await _look(books, options, reads))
            except (StoreError, LedgerError) as error:
                say(f"{error}; it is looked at again")  # whoever follows for months outlives a full disk
            else:
                _tell_news(news, options)
                unposted = await _post_or_keep([*unposted, *news], options)
            await asyncio.sleep(every)


@attrs.frozen
class Reading:
    """What is read before a look.

    Attributes:
        age: what was not heard of for so long.
        limit: so many tasks, at most.
    """

    gs: GotSurge
    account: str
    age: timedelta
    limit: int


async def _look(books: Books, options: AlertOptions, reading: Reading | None) -> list[Alert]:
    """All alerts as things stand."""
    async with open_book(books) as (book, ledger):
        await refuse_unknown_run(book, ledger, options.only.run)
        if reading is not None:
            reads = DueReads(reading.gs, book, reading.account, SystemClock(), age=reading.age)
            await reads.once(reading.limit)
            if reads.trouble is not None:
                say(f"not all was read: {reads.trouble}")
        now = SystemClock().now()
        present = [alert async for alert in alerts_in(book, now, options.limits, only=options.only)]
        if ledger is not None and options.only.vessel is None:
            present += [alert async for alert in _in_doubt(ledger, options)]
    return present


async def _once(present: Sequence[Alert], options: AlertOptions) -> Exit:
    now = SystemClock().now()
    if options.as_json:
        print_json([alert.document(now, options.zone) for alert in present])
    elif present:
        rows = [(alert.kind.in_words, alert.text(now, options.zone), alert.name) for alert in present]
        print_table(("ALERT", prose("ORDER"), spare("TASK")), rows)
    old = {alert.name for alert in present if alert.seen_at is not None and now - alert.seen_at > STALE}
    if old:
        told = number_of(len(old), "of these orders was", "of these orders were")
        say(f"{told} not read for an hour: let a receiver run, or say --read-rate")
    if present and options.post is not None:
        await _post(options.post, _text(present, options))
    return Exit.REFUSED if present else Exit.CREATED


def _tell_news(news: Sequence[Alert], options: AlertOptions) -> None:
    now = SystemClock().now()
    for alert in news:
        if options.as_json:
            click.echo(codec.encode(alert.document(now, options.zone)).decode())
        elif is_terminal():
            click.echo(f"{now.astimezone(options.zone):%H:%M}  {alert.kind.in_words}: {alert.text(now, options.zone)}")
        else:
            print_table((), [(now, alert.kind.in_words, alert.text(now, options.zone), alert.name)], headed=False)


async def _in_doubt(ledger: Ledger, options: AlertOptions) -> AsyncIterator[Alert]:
    """The alerts of orders of the ledger that are in doubt, and in nobody's hands."""
    now = SystemClock().now()
    for info in reversed(await ledger.runs()):
        skipped = info.state is RunState.LOADING or info.archived_at is not None
        others = options.only.run not in (None, info.id) or options.only.environment not in (None, info.environment)
        if skipped or others or await ledger.is_held(info.id):
            continue
        async for row in ledger.rows(info.id, DOUBTFUL):
            for alert in doubt(row, info.id, now, options.limits, account=account_of(info)):
                yield alert


# --- posting ----------------------------------------------------------------------------------------------------------


def _checked(url: str) -> str:
    """A URL that can be posted to; it may hold a secret, and is never shown.

    Raises:
        click.UsageError: it is none.
    """
    try:
        parts = urlsplit(url)
        fit = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fit = False
    if not fit:
        raise click.UsageError("--post: give the whole URL, as https://hooks.slack.com/services/…")
    return url


def _text(news: Sequence[Alert], options: AlertOptions) -> str:
    """The alerts as the text of one message. Text of others is no markup in it."""
    now = SystemClock().now()
    lines = [f"{alert.kind.in_words}: {alert.text(now, options.zone)}" for alert in news[:_POSTED]]
    lines += [f"… and {len(news) - _POSTED:,} more"] if len(news) > _POSTED else []
    text = "\n".join(" ".join(line.split()) for line in lines)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


async def _post_or_keep(news: list[Alert], options: AlertOptions) -> list[Alert]:
    """Post what is new; what could not be posted is posted with what comes next."""
    if not news or options.post is None:
        return []
    try:
        await _post(options.post, _text(news, options))
    except Unreachable as error:
        say(f"{error}; they are posted with the next look")
        return news
    return []


async def _post(url: str, text: str) -> None:
    transport = AiohttpTransport(Timeouts(pool=10, connect=10, read=10))
    request = Request(
        method="POST",
        url=url,
        headers={"Content-Type": "application/json"},
        body=msgspec.json.encode({"text": text}),
    )
    why = ""
    try:
        for tries in range(_TRIES):
            if tries:
                await asyncio.sleep(tries)
            try:
                answer = await transport.send(request)
            except TransportError as error:
                why = error.reason
                continue
            if 200 <= answer.status < 300:
                return
            why = f"it answered {answer.status}"
            if answer.status < 500 and answer.status != 429:
                break
    finally:
        await transport.close()
    raise Unreachable(f"the alerts could not be posted to {urlsplit(url).hostname}: {why}")
