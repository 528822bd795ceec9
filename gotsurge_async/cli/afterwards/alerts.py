"""``gotsurge alerts``: the orders that need a person before the ship sails."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from functools import partial
from urllib.parse import urlsplit

import click
import msgspec
from msgspec import Struct, structs

from gotsurge_async import codec
from gotsurge_async.cli.afterwards.books import (
    STALE,
    Books,
    DueReads,
    book_option,
    books_beside,
    limits_of,
    open_book,
    refuse_unknown_run,
    run_option,
    takes_reads,
    vessel_option,
    zone_option,
)
from gotsurge_async.cli.shared.connect import Target, connected, may_take_place
from gotsurge_async.cli.shared.exits import Exit, Unreachable, WrongUse, asynchronous
from gotsurge_async.cli.shared.ledger import find_ledger, ledger_option
from gotsurge_async.cli.shared.options import GroupedCommand, in_group, json_option, option
from gotsurge_async.cli.shared.output import (
    as_json,
    event_line,
    print_json,
    print_table,
    prose,
    say,
    spare,
    started_document,
)
from gotsurge_async.client import GotSurge
from gotsurge_async.clock import SystemClock
from gotsurge_async.config import Timeouts, is_web_url
from gotsurge_async.database import Place
from gotsurge_async.ledger import DOUBTFUL, Ledger, LedgerError, OrderState, RunState
from gotsurge_async.models.times import written_clock
from gotsurge_async.models.words import one_line
from gotsurge_async.tables.checks.words import number_of
from gotsurge_async.transports.aiohttp import AiohttpTransport
from gotsurge_async.transports.base import Request, TransportError
from gotsurge_async.webhooks.alerts import Alert, Lasting, Limits, alerts_in, doubt
from gotsurge_async.webhooks.book import Only
from gotsurge_async.webhooks.book.records import account_named, account_of
from gotsurge_async.webhooks.store import StoreError

_minutes = partial(in_group("When"), type=click.FloatRange(min=0))
_LONGEST = 1e9
"""The longest time in minutes or seconds: longer ones, of centuries, count as this one."""
_POSTED = 40
"""The most alerts whose lines are in one message, which has the number of the others."""
_TRIES = 3


class _Check(Struct, frozen=True, kw_only=True):
    """What to check, and how to show it. ``gs``, if given, first reads at most ``read_limit`` old tasks."""

    books: Books
    only: Only
    limits: Limits
    gs: GotSurge | None = None
    account: str = ""
    read_age: timedelta = timedelta(0)
    read_limit: int = 0

    async def alerts(self) -> list[Alert]:
        """All alerts at this moment."""
        async with open_book(self.books) as (book, ledger):
            await refuse_unknown_run(book, ledger, self.only.run)
            if self.gs is not None:
                reads = DueReads(self.gs, book, self.account, SystemClock(), age=self.read_age)
                await reads.once(self.read_limit)
                if reads.trouble is not None:
                    say(f"not all tasks could be read: {reads.trouble}")
            now = SystemClock().now()
            alerts = [alert async for alert in alerts_in(book, now, self.limits, only=self.only)]
            if ledger is not None and self.only.vessel is None:
                alerts += [alert async for alert in self._in_doubt(ledger, now)]
        return alerts

    async def _in_doubt(self, ledger: Ledger, now: datetime) -> AsyncIterator[Alert]:
        """The alerts for the ledger's orders in doubt; those in flight are not, while a process holds their run."""
        for info in reversed(await ledger.runs()):
            skipped = info.state is RunState.LOADING or info.archived_at is not None
            others = self.only.run not in (None, info.id) or self.only.environment not in (None, info.environment)
            if skipped or others:
                continue
            states = {OrderState.IN_DOUBT} if await ledger.is_held(info.id) else DOUBTFUL
            async for row in ledger.rows(info.id, states):
                for alert in doubt(row, info.id, now, self.limits, account=account_of(info)):
                    yield alert

    def lines(self, alerts: Sequence[Alert]) -> list[str]:
        """The alerts for people, a line each."""
        now = SystemClock().now()
        return [one_line(f"{alert.kind.in_words}: {alert.text(now)}") for alert in alerts]

    def print_all(self, alerts: Sequence[Alert]) -> None:
        """Print the alerts of one check."""
        now = SystemClock().now()
        if as_json():
            print_json([alert.document(now) for alert in alerts])
        elif alerts:
            rows = [(alert.kind.in_words, alert.text(now), alert.name) for alert in alerts]
            print_table(("ALERT", prose("ORDER"), spare("TASK")), rows)
        old = {alert.name for alert in alerts if alert.seen_at is not None and now - alert.seen_at > STALE}
        if old:
            were = number_of(len(old), "of these orders was", "of these orders were")
            say(f"{were} last read over an hour ago: run gotsurge receive, or pass --read-rate")

    def print_new(self, alerts: Sequence[Alert]) -> None:
        """Print the alerts that are new since the last check."""
        now = SystemClock().now()
        for alert, line in zip(alerts, self.lines(alerts), strict=True):
            if as_json():
                click.echo(codec.encode(alert.document(now)).decode())
            else:
                whole = (now, alert.kind.in_words, alert.text(now), alert.name)
                click.echo(event_line(whole, (written_clock(now), line)))


@click.command(cls=GroupedCommand)
@_minutes("--expiring MINUTES", "Tell of a broadcast that ends by itself within so many minutes.", default=30.0)
@_minutes(
    "--not-accepted MINUTES",
    "Tell of an order that no driver has so many minutes before its pickup window begins.",
    default=60.0,
)
@_minutes(
    "--late MINUTES", "Tell of an order so many minutes after a window of it has ended, if it is not done.", default=0.0
)
@_minutes("--in-doubt MINUTES", "Tell of an order that has been in doubt for so many minutes.", default=10.0)
@_minutes("--failed-for MINUTES", "Tell of an order whose failure became known within so many minutes.", default=1440.0)
@run_option
@vessel_option
@option("--follow", "Go on until Ctrl-C, and tell each alert once while it lasts.")
@option(
    "--every SECONDS", "With --follow: look again after so many seconds.", type=click.FloatRange(min=0.1), default=60.0
)
@option(
    "--post URL",
    "Post the alerts to this address, too (or GOTSURGE_ALERT_URL), as JSON with a text: Slack and Teams take it.",
    envvar="GOTSURGE_ALERT_URL",
)
@takes_reads(
    rate=0.0,
    rate_help="Read tasks before each look, so many a second; 0 reads none.",
    after=600.0,
    after_help="Read only tasks that were not heard of for so many seconds.",
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
    target: Target,
    ledger: Place | None,
    book: Place | None,
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
    check = _Check(
        books=books,
        only=Only(run=run_id, vessel=vessel, environment=books.environment),
        limits=Limits(**{name: timedelta(minutes=min(number, _LONGEST)) for name, number in minutes.items()}),
    )
    if post is not None and not is_web_url(post):  # it may hold a secret, and is never shown
        raise WrongUse("--post: give the whole URL, such as https://hooks.slack.com/services/…", "E102")
    if read_rate and not (target.env or os.environ.get("GOTSURGE_ENV")):
        raise WrongUse("--read-rate limits reads from GotSurge, so it needs --env ENVIRONMENT")
    async with AsyncExitStack() as stack:
        if read_rate:
            check = structs.replace(
                check,
                gs=await stack.enter_async_context(connected(target, limits_of(read_rate))),
                account=account_named(target.environment, target.account),
                read_age=timedelta(seconds=min(read_after, _LONGEST)),
                read_limit=int(read_rate * every) + 1,
            )
        if follow:
            await _follow(check, every, post)
        present = await check.alerts()
    check.print_all(present)
    if present and post is not None:
        await _post(post, check.lines(present))
    return Exit.REFUSED if present else Exit.CREATED


async def _follow(check: _Check, every: float, post: str | None) -> None:
    """Report each alert once while it lasts, until cancelled. Alerts that cannot be posted are posted later."""
    started_document()  # of lines, which end when it does
    lasting, unposted = Lasting(), list[Alert]()
    while True:
        try:
            news = lasting.news(await check.alerts())
        except (StoreError, LedgerError) as error:
            say(f"{error}; it is looked at again")  # whoever follows for months outlives a full disk
        else:
            check.print_new(news)
            unposted += news if post is not None else ()
            if unposted and post is not None:
                try:
                    await _post(post, check.lines(unposted))
                    unposted = []
                except Unreachable as error:
                    say(f"{error}; they are posted with the next look")
        await asyncio.sleep(every)


async def _post(url: str, lines: Sequence[str]) -> None:
    """Post alerts as the text of one message, in which foreign text is not markup."""
    more = [f"… and {len(lines) - _POSTED:,} more"] if len(lines) > _POSTED else []
    text = "\n".join([*lines[:_POSTED], *more])
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    body = msgspec.json.encode({"text": text})
    request = Request(method="POST", url=url, headers={"Content-Type": "application/json"}, body=body)
    transport = AiohttpTransport(Timeouts(pool=10, connect=10, read=10))
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
    raise Unreachable(f"the alerts could not be posted to {urlsplit(url).hostname}: {why}", "E401")
