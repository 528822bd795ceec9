"""``gotsurge report``: a day, by vessel."""

import asyncio
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click

from gotsurge_async.cli.afterwards.books import STALE, Books, open_book, takes_books, vessel_option, zone_of
from gotsurge_async.cli.shared.exits import Exit, WrongUse, asynchronous
from gotsurge_async.cli.shared.options import OUTPUT, PATH, force_option, in_group, json_option, option
from gotsurge_async.cli.shared.output import counted, output_to, print_one, say, shown
from gotsurge_async.clock import SystemClock
from gotsurge_async.models.times import written
from gotsurge_async.tables.checks.words import number_of
from gotsurge_async.webhooks.book import Only
from gotsurge_async.webhooks.report import Day, Sums, day_of, write_csv, write_html, write_xlsx
from gotsurge_async.webhooks.report.day import bounds

PRODUCTION = "production"
_ENDINGS = (".html", ".csv", ".xlsx")


@click.command()
@option("--day DAY", "The day of the report: YYYY-MM-DD, today or yesterday.", name="day_text", default="today")
@option("--out FILE", "The file to write; its ending is .html, .csv or .xlsx.", type=PATH, required=True)
@option("--orders", "Write one row for each open or failed order into a CSV, not for each vessel.", name="by_order")
@option("--done", "With --orders: write the delivered and the cancelled orders, too.")
@vessel_option
@option("--all-environments", "Put orders of production and of other environments into one report.")
@force_option
@in_group(OUTPUT)(
    "--timezone TZ",
    "The time zone in which times are shown, and in which days begin.",
    name="zone",
    default="Asia/Singapore",
    callback=zone_of,
)
@takes_books
@json_option
@asynchronous
async def report(
    day_text: str,
    out: Path,
    by_order: bool,
    done: bool,
    vessel: str | None,
    all_environments: bool,
    force: bool,
    zone: ZoneInfo,
    books: Books,
) -> Exit:
    """Write what became of the orders of DAY: for each vessel ordered, delivered, late, failed, cancelled.

    The report also has the planned and the final price, and the proof of delivery. An order belongs to the day on
    which its delivery window ends. If it has no delivery window, its pickup window counts. Days are those of
    --timezone. The report shows what a receiver or a watch has last read.

    \b
    Exit codes:
      0 written, also where there are no orders
      2 it cannot be written, no order book, or orders of production and of others, unless --env says of which
    """
    day = _day_of(day_text, zone)
    if out.suffix not in _ENDINGS:
        raise WrongUse(f"--out: name a file that ends in {', '.join(_ENDINGS)}", "E102")
    if by_order and out.suffix != ".csv":
        raise WrongUse("--orders is only for a CSV: files in other formats contain both vessels and orders")
    if done and not by_order:
        raise WrongUse("--done works only with --orders: pass --orders too, or leave out --done")
    since, until = bounds(day, zone)
    async with open_book(books) as (book, _):
        orders = book.orders(Only(vessel=vessel, environment=books.environment, since=since, until=until))
        result = await day_of(orders, day, zone, SystemClock().now())
    environments = result.environments
    if PRODUCTION in environments and len(environments) > 1 and not all_environments:
        raise WrongUse(
            f"orders of several environments ({', '.join(environments)}) are due on this day: choose one with --env, "
            "or report on all with --all-environments"
        )
    await asyncio.to_thread(_write, result, out, by_order, done, force)
    numbers = {name: getattr(result.sums, name) for name in ("delivered", "late", "failed", "cancelled", "open")}
    where = "".join(f", {environment}" for environment in environments)
    words = "no orders"
    if result.vessels:
        ordered, vessels = number_of(result.sums.ordered, "order"), number_of(len(result.vessels), "vessel")
        words = f"{ordered} for {vessels}: {counted(numbers)}"
    text = f"{day.isoformat()} ({zone}{where}): {words}; written to {out}"
    print_one(_document(result, out), lambda: say(text))
    left_out = sum(line.outcome.is_done for line in result.lines) if by_order and not done else 0
    if left_out:
        say(f"{number_of(left_out, 'delivered or cancelled order')} left out: --done writes them, too")
    if result.oldest_read is not None and result.at - result.oldest_read > STALE:
        old = written(result.oldest_read)
        say(f"some open orders were last read on {old}. For a newer report, first run `gotsurge watch` or a receiver")
    return Exit.CREATED


def _day_of(text: str, zone: ZoneInfo) -> date:
    today = datetime.now(zone).date()
    days = {"today": today, "yesterday": today - timedelta(days=1)}
    try:
        return days.get(text) or date.fromisoformat(text)
    except ValueError:
        raise WrongUse(f"--day: {text!r} is not a day: give YYYY-MM-DD, today or yesterday", "E102") from None


def _write(day: Day, out: Path, by_order: bool, done: bool, force: bool) -> None:
    with output_to(out, force=force) as stream:
        if out.suffix == ".html":
            write_html(day, stream)
        elif out.suffix == ".xlsx":
            write_xlsx(day, stream)
        else:
            write_csv(day, stream, orders=by_order, done=done)


def _document(day: Day, out: Path) -> dict[str, Any]:
    vessels = [{"vessel": vessel.name, "imo": vessel.imo, **_sums(vessel.sums)} for vessel in day.vessels]
    return {
        "day": day.date,
        "timezone": str(day.zone),
        "environments": day.environments,
        "file": str(out),
        "oldest_read": day.oldest_read,
        **_sums(day.sums),
        "vessels": vessels,
    }


def _sums(sums: Sums) -> dict[str, Any]:
    counts = {name: getattr(sums, name) for name in ("ordered", "delivered", "late", "failed", "cancelled", "open")}
    amounts = {
        name: [shown(money) for _, money in sorted(getattr(sums, name).items())]
        for name in ("planned", "planned_delivered", "final")
    }
    return {**counts, **amounts, "not_comparable": sums.incomparable}
