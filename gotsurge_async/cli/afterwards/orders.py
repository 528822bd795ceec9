"""``gotsurge orders``: the status of orders."""

from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime
from typing import Any

import click
import msgspec
from msgspec import structs

from gotsurge_async import codec
from gotsurge_async.cli.afterwards.books import (
    STALE,
    Books,
    open_book,
    refuse_unknown_run,
    run_option,
    takes_books,
    vessel_option,
)
from gotsurge_async.cli.shared.exits import Exit, WrongUse, asynchronous
from gotsurge_async.cli.shared.options import gathered, json_option, option
from gotsurge_async.cli.shared.output import (
    as_json,
    is_terminal,
    print_json,
    print_record,
    print_table,
    prose,
    say,
    shown,
    spare,
    started_document,
    tabbed,
)
from gotsurge_async.clock import SystemClock
from gotsurge_async.errors import UsageError
from gotsurge_async.models.tasks import TaskStatus
from gotsurge_async.tables.writing import csv_lines, defused
from gotsurge_async.webhooks.book import Book, BookOrder, Double, Only, Step
from gotsurge_async.webhooks.book.records import berth_of, late_windows_of, vessel_of

COLUMNS = (
    "task_id", "tracking_id", "status", "changed_at", "vessel", "imo", "berth", "due_at", "late", "group_tag",
    "invoice_number", "planned", "price", "currency", "driver", "run", "account", "seen_at",
)  # fmt: skip
"""The columns of ``--csv``."""
_LISTED = (
    spare("TASK", 4), "TRACKING ID", "STATUS", spare("SINCE", 2), prose("VESSEL", 12), spare("IMO", 6),
    spare("BERTH", 1), "DUE", spare("LATE", 1), spare("GROUP TAG", 5),
)  # fmt: skip
"""The columns of the list: 80 columns of a terminal show the order's name, status, vessel, and due time."""


@click.command()
@click.argument("order_id", metavar="[ORDER]", required=False)
@run_option
@gathered(
    "only",
    Only,
    option(
        "--status STATUS",
        f"List only orders in this status; may be given several times. One of {', '.join(TaskStatus)}.",
        name="statuses",
        multiple=True,
        callback=lambda _context, _option, given: [str(TaskStatus(status)) for status in given] or None,
    ),
    option("--open", "List only orders that are not at their end."),
    vessel_option,
    option("--berth BERTH", "List only orders for this berth."),
    option("--group-tag TAG", "List only orders with this group tag."),
)
@option("--limit N", "List at most N orders.  [default: 100 on a terminal, else all]", type=click.IntRange(1))
@takes_books
@option("--csv", "Print a CSV, for spreadsheets.", name="as_csv")
@json_option
@asynchronous
async def orders(
    order_id: str | None, run_id: str | None, only: Only, limit: int | None, books: Books, as_csv: bool
) -> Exit:
    """List orders, where each stands, and since when; or the history of one ORDER.

    ORDER is a task id, a tracking id or a key. The list shows what a receiver or a watch has read last. With ORDER or
    --run, living tasks of one name are reported as doubles.

    \b
    Exit codes:
      0 listed, also where there are none
      2 no such ORDER, RUN or STATUS, or no order book
    """
    only = structs.replace(only, run=run_id, name=order_id, environment=books.environment)
    if as_csv and as_json():
        raise WrongUse("--csv or --json, not both")
    async with open_book(books) as (book, ledger):
        await refuse_unknown_run(book, ledger, run_id)
        await _refuse_unknown_statuses(book, only.statuses or ())
        if order_id is not None:
            await _print_one(book, only, order_id, as_csv=as_csv)
        elif as_json():
            await _print_documents(_first(book.orders(only), limit))
        elif as_csv:
            await _print_csv(_first(book.orders(only), limit))
        else:
            await _print_rows(book.orders(only), limit)
        if run_id is not None and order_id is None:
            doubles = await book.doubles()
            _say_doubles(double for double in doubles if any(order.run == run_id for order in double.orders))
    return Exit.CREATED


def _say_doubles(doubles: Iterable[Double]) -> None:
    for double in doubles:
        say(shown(f"{double.name or 'an order'} is a double: {double.text()}"))


async def _refuse_unknown_statuses(book: Book, statuses: Iterable[str]) -> None:
    """Refuse a status that neither the document nor any order has, with the list of those of the document."""
    unknown = [status for status in statuses if not TaskStatus(status).known]
    present = await book.counts() if unknown else {}
    for status in unknown:
        if status not in present:
            why = f"no order has the status {status}: GotSurge's statuses are {', '.join(TaskStatus)}"
            raise UsageError(why, "E102")


async def _first(orders: AsyncIterator[BookOrder], limit: int | None) -> AsyncIterator[BookOrder]:
    number = 0
    async for order in orders:
        yield order
        number += 1
        if number == limit:
            return


# --- many -------------------------------------------------------------------------------------------------------------


def _record(order: BookOrder, now: datetime) -> dict[str, Any]:
    """An order as plain values, at a time, with money as ``48.50``."""
    task = order.task
    contact = vessel_of(task)
    return {
        "task_id": order.task_id,
        "tracking_id": task.tracking_id or order.key,
        "status": order.status,
        "changed_at": order.changed_at,
        "vessel": contact and contact.vessel_name,
        "imo": contact and contact.vessel_imo,
        "berth": berth_of(task),
        "due_at": order.due_at,
        "late": any(late_windows_of(task, order.status, now)),
        "group_tag": task.group_tag,
        "invoice_number": task.invoice_number,
        "planned": None if order.planned is None else shown(order.planned).split(" ")[-1],
        "price": None if task.price is None else shown(task.price).split(" ")[-1],
        "currency": task.currency,
        "driver": task.driver and task.driver.name,
        "run": order.run,
        "account": order.account,
        "seen_at": order.seen_at,
    }


async def _print_rows(orders: AsyncIterator[BookOrder], limit: int | None) -> None:
    terminal, old, number, now = is_terminal(), 0, 0, SystemClock().now()
    rows: list[tuple[Any, ...]] = []
    if not terminal:
        print_table(_LISTED, ())
    async for order in _first(orders, limit or (100 if terminal else None)):
        number += 1
        old += order.status is not None and not order.status.is_terminal and now - order.seen_at > STALE
        row = _row(_record(order, now))
        if terminal:
            rows.append(row)
        else:  # there may be millions
            click.echo(tabbed(row))
    if terminal:
        print_table(_LISTED, rows)
    if terminal and limit is None and number == 100:
        say("… perhaps more: --limit says how many, --json and --csv list all")
    if old:
        say(f"{old:,} of them were last read over an hour ago: `gotsurge watch RUN` or a receiver reads them")


def _row(record: Mapping[str, Any]) -> tuple[Any, ...]:
    begin = (record[column] for column in ("task_id", "tracking_id", "status", "changed_at"))
    vessel, imo = record["vessel"], record["imo"]
    late = "late" if record["late"] else ""
    return (*begin, vessel or (imo and f"IMO {imo}"), imo, record["berth"], record["due_at"], late, record["group_tag"])


async def _print_csv(orders: AsyncIterator[BookOrder]) -> None:
    _print_csv_line(COLUMNS)
    now = SystemClock().now()
    async for order in orders:
        _print_csv_line(_record(order, now).values())


def _print_csv_line(values: Iterable[Any]) -> None:
    """Print a line for a spreadsheet; times are in UTC."""
    texts = (
        value.isoformat(" ", "seconds").replace("+00:00", "Z") if isinstance(value, datetime) else shown(value)
        for value in values
    )
    click.echo(next(csv_lines([[*map(defused, texts)]], ",")))


async def _print_documents(orders: AsyncIterator[BookOrder]) -> None:
    """Print one JSON list while the orders are read: there may be millions."""
    started_document()
    begun, now = False, SystemClock().now()
    async for order in orders:
        click.echo(",\n" if begun else "[\n", nl=False)
        click.echo(codec.encode(_record(order, now)).decode(), nl=False)
        begun = True
    click.echo("\n]" if begun else "[]")


# --- one --------------------------------------------------------------------------------------------------------------


async def _print_one(book: Book, only: Only, name: str, as_csv: bool) -> None:
    orders = [order async for order in _first(book.orders(only), 20)]
    if not orders:
        why = f"no order in the order book has the task id, tracking id or key {name}"
        raise UsageError(why, "E802")
    histories = [(order, await book.history(order)) for order in orders]
    now = SystemClock().now()
    _say_doubles(await book.doubles([order.task for order in orders]))
    if as_json():
        print_json([_document(order, steps, now) for order, steps in histories])
        return
    for order, steps in histories:
        if as_csv:
            _print_csv_line(("task_id", "status", "at", "note"))
            for step in steps:
                _print_csv_line((order.task_id, step.status, step.at, step.entry and step.entry.note))
            continue
        print_record([(name.replace("_", " "), value) for name, value in _record(order, now).items()])
        print_table(
            ("AT", "STATUS", prose("NOTE")),
            [(step.at or "(no time)", _marked(step), step.entry and step.entry.note) for step in steps],
        )


def _marked(step: Step) -> str:
    return step.status if isinstance(step.status, TaskStatus) and step.status.known else f"{step.status} (unknown)"


def _document(order: BookOrder, steps: Iterable[Step], now: datetime) -> Mapping[str, Any]:
    entries = [{"status": step.status, "at": step.at, "note": step.entry and step.entry.note} for step in steps]
    return {**_record(order, now), "history": entries, "task": msgspec.Raw(order.body)}
