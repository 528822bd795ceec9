"""The report of a day as a page to print, a table, or a workbook. Foreign text has no effect in any of them."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, TypeAlias

from gotsurge_async.clock import in_zone
from gotsurge_async.models.times import written
from gotsurge_async.models.words import in_words, one_line
from gotsurge_async.money import Money
from gotsurge_async.tables import Form
from gotsurge_async.tables.writing import FIRST_YEAR, LONGEST_CELL, MOST_DIGITS, defused, rows_of, workbook
from gotsurge_async.webhooks.report.day import Day, Sums

Cell: TypeAlias = str | int | Decimal | datetime | None

_COUNTS = ("ordered", "delivered", "late", "failed", "cancelled", "open")
_NOTHING = Money(millicents=0, currency="")
_LONGEST_PROOF = 4000
"""The most characters of a proof that are printed."""


# --- rows -------------------------------------------------------------------------------------------------------------


def vessel_columns(day: Day) -> list[str]:
    """The headings of `vessel_rows`; amounts have columns of their currency.

    ``not comparable`` counts delivered orders without a difference: a price is missing, or in another currency.
    """
    amounts = [
        f"{what} {one_line(currency) or 'without currency'}"
        for currency in day.sums.currencies
        for what in ("planned", "planned of delivered", "final of delivered", "difference")
    ]
    return ["vessel", "imo", "berths", *_COUNTS, *amounts, "not comparable"]


def vessel_rows(day: Day) -> Iterator[list[Cell]]:
    """A row for each vessel, and one for all vessels."""
    for vessel in day.vessels:
        yield _vessel_row(vessel.name, vessel.imo, ", ".join(vessel.berths), vessel.sums, day.sums.currencies)
    yield _vessel_row("Total", None, "", day.sums, day.sums.currencies)


def _vessel_row(name: str, imo: int | None, berths: str, sums: Sums, currencies: Iterable[str]) -> list[Cell]:
    amounts: list[Cell] = []
    for currency in currencies:
        has = currency in sums.currencies
        columns = (sums.planned, sums.planned_delivered, sums.final)
        amounts += [_amount(column.get(currency)) for column in columns]
        amounts.append(_amount(sums.difference(currency)) if has else None)
    counts: list[Cell] = [getattr(sums, count) for count in _COUNTS]
    return [name, imo, berths, *counts, *amounts, sums.incomparable]


ORDER_COLUMNS = (
    "vessel", "imo", "berth", "tracking_id", "invoice_number", "group_tag", "status", "outcome", "late", "due_at",
    "delivered_at", "planned", "final", "currency", "proof_links", "proof", "task_id", "run", "account",
)  # fmt: skip
"""The headings of `order_rows`."""


def order_rows(day: Day, *, done: bool = True) -> Iterator[list[Cell]]:
    """A row for each order, vessel by vessel; times are those of the day's zone. ``done`` as in `write_csv`."""
    for vessel in day.vessels:
        for line in vessel.lines:
            if line.outcome.is_done and not done:
                continue
            yield [
                vessel.name,
                vessel.imo,
                line.berth,
                line.name,
                line.invoice_number,
                line.group_tag,
                in_words(line.status),
                str(line.outcome),
                "yes" if line.late else "no",
                _local(line.due_at, day),
                _local(line.delivered_at, day),
                _amount(line.planned),
                _amount(line.final),
                (line.final or line.planned or _NOTHING).currency,
                " ".join(line.links),
                line.proof,
                line.task_id,
                line.run,
                line.account,
            ]


def _amount(money: Money | None) -> Decimal | None:
    return None if money is None else money.amount


def _local(moment: datetime | None, day: Day) -> datetime | None:
    return None if moment is None else in_zone(moment, day.zone)


def _text(cell: Cell, *, grouped: bool = False) -> str:
    """A cell as text, with fractions of a cent. ``grouped`` separates the thousands of an amount."""
    if cell is None:
        return ""
    if isinstance(cell, Decimal):
        comma, places = "," if grouped else "", max(2, -int(cell.as_tuple().exponent))
        return f"{cell:{comma}.{places}f}"
    if isinstance(cell, datetime):
        return cell.isoformat(sep=" ", timespec="minutes")
    return one_line(str(cell))


# --- a table ----------------------------------------------------------------------------------------------------------


def write_csv(day: Day, file: IO[bytes], *, orders: bool = False, done: bool = False) -> None:
    """Write a row for each vessel, or for each order. No text can be read as a formula.

    Args:
        orders: write the orders that are open or failed, on which a person acts, instead of vessels.
        done: with ``orders``, write the delivered and the cancelled ones, too.
    """
    columns = ORDER_COLUMNS if orders else vessel_columns(day)
    rows = [
        [defused(_text(each)) if isinstance(each, str) else _text(each) for each in row]
        for row in (order_rows(day, done=done) if orders else vessel_rows(day))
    ]
    rows_of(Form(bom=True), file).put([columns, *rows])  # without the mark Excel takes it for another encoding


# --- a workbook -------------------------------------------------------------------------------------------------------


def write_xlsx(day: Day, file: IO[bytes]) -> None:
    """Write a workbook: a sheet of vessels, and one of orders.

    Raises:
        ConfigError: the library for it is not installed.
    """
    with workbook(file, constant_memory=True) as book:
        book.set_properties({"title": _title(day), "comments": " ".join([_zone_words(day), *day.environments])})
        heading = book.add_format({"bold": True, "bottom": 1})
        amount = book.add_format({"num_format": "#,##0.00###"})
        moment = book.add_format({"num_format": "yyyy-mm-dd hh:mm"})
        zoned = [f"{name} ({day.zone})" if name.endswith("_at") else name for name in ORDER_COLUMNS]
        sheets: tuple[tuple[str, Sequence[str], Iterable[list[Cell]]], ...] = (
            ("Vessels", vessel_columns(day), vessel_rows(day)),
            ("Orders", zoned, order_rows(day)),
        )
        for name, columns, rows in sheets:
            sheet = book.add_worksheet(name)
            sheet.freeze_panes(1, 0)
            sheet.set_landscape()
            sheet.repeat_rows(0)
            sheet.set_column(0, len(columns) - 1, 18)
            for place, column in enumerate(columns):
                sheet.write_string(0, place, column, heading)
            for number, row in enumerate(rows, 1):
                for place, cell in enumerate(row):
                    _write_cell(sheet, number, place, cell, amount, moment)


def _write_cell(sheet: Any, number: int, place: int, cell: Cell, amount: Any, moment: Any) -> None:
    if isinstance(cell, Decimal) and len(cell.as_tuple().digits) <= MOST_DIGITS:
        sheet.write_number(number, place, cell, amount)
    elif isinstance(cell, int) and abs(cell) < 10**MOST_DIGITS:
        sheet.write_number(number, place, cell)
    elif isinstance(cell, datetime) and cell.year >= FIRST_YEAR:
        sheet.write_datetime(number, place, cell.replace(tzinfo=None), moment)
    elif cell not in (None, ""):
        sheet.write_string(number, place, _text(cell)[:LONGEST_CELL])  # never as a formula or a link


# --- a page -----------------------------------------------------------------------------------------------------------


def write_html(day: Day, file: IO[bytes]) -> None:
    """Write one page that needs no other file, and prints well."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # in the extra `cli`, as an order book needs it

    def printed(value: Any) -> str:
        """A value as the page prints it; a time without its zone, which the page names."""
        if isinstance(value, Money):
            return one_line(f"{value.currency} {_text(value.amount, grouped=True)}")
        return f"{in_zone(value, day.zone):%d %b %H:%M}" if isinstance(value, datetime) else _text(value, grouped=True)

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=printed,
    )
    environment.filters["in_words"] = in_words
    page = environment.get_template("day.html").generate(
        day=day,
        title=_title(day),
        times=_zone_words(day),
        columns=vessel_columns(day),
        rows=vessel_rows(day),
        longest=_LONGEST_PROOF,
    )
    for part in page:
        file.write(part.encode("utf-8", "replace"))


def _title(day: Day) -> str:
    return f"Deliveries of {day.date:%A, %d %B} {day.date.year:04}"


def _zone_words(day: Day) -> str:
    at, since = (None if each is None else written(each, day.zone) for each in (day.at, day.oldest_read))
    fresh = "" if since is None else f" Every open order was read on {since} or later."
    return f"The day and all times are those of {day.zone}. State of the order book: {at}.{fresh}"
