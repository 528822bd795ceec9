"""The report of a day as a page to print, a table, or a workbook. Foreign text has no effect in any of them."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from html import escape
from typing import IO, Any, TypeAlias

from gotsurge_async.clock import in_zone
from gotsurge_async.errors import ConfigError
from gotsurge_async.models.times import written
from gotsurge_async.models.words import in_words, one_line
from gotsurge_async.money import Money
from gotsurge_async.tables.writing import csv_text, defused
from gotsurge_async.webhooks.report.day import Day, Line, Sums

Cell: TypeAlias = str | int | Decimal | datetime | None

_COUNTS = ("ordered", "delivered", "late", "failed", "cancelled", "open")
_NOTHING = Money(millicents=0, currency="")
_LONGEST_CELL = 32_000
"""The most characters of a cell in a workbook."""
_MOST_DIGITS = 15
"""The digits of a number that a spreadsheet keeps."""
_FIRST_YEAR = 1901
"""The first year that is written as a date: a spreadsheet counts days from 1900, with one too many in that year."""
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
    # Without the mark Excel takes it for another encoding.
    file.write("\ufeff".encode() + csv_text([[*columns], *rows], ",").encode())


# --- a workbook -------------------------------------------------------------------------------------------------------


def write_xlsx(day: Day, file: IO[bytes]) -> None:
    """Write a workbook: a sheet of vessels, and one of orders.

    Raises:
        ConfigError: the library for it is not installed.
    """
    try:
        import xlsxwriter
    except ImportError:
        raise ConfigError('a workbook needs an extra: pip install "gotsurge-async[excel]"', "E108") from None
    with xlsxwriter.Workbook(file, {"constant_memory": True, "in_memory": False}) as book:
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
    if isinstance(cell, Decimal) and len(cell.as_tuple().digits) <= _MOST_DIGITS:
        sheet.write_number(number, place, cell, amount)
    elif isinstance(cell, int) and abs(cell) < 10**_MOST_DIGITS:
        sheet.write_number(number, place, cell)
    elif isinstance(cell, datetime) and cell.year >= _FIRST_YEAR:
        sheet.write_datetime(number, place, cell.replace(tzinfo=None), moment)
    elif cell not in (None, ""):
        sheet.write_string(number, place, _text(cell)[:_LONGEST_CELL])  # never as a formula or a link


# --- a page -----------------------------------------------------------------------------------------------------------

_STYLE = """
:root { color-scheme: light; font: 14px/1.4 system-ui, sans-serif; color: #1a1a1a; }
body { margin: 2rem auto; max-width: 90rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .3rem; }
p { margin: .2rem 0; color: #444; }
table { border-collapse: collapse; width: 100%; margin-top: .6rem; }
th, td { text-align: left; padding: .25rem .5rem; border-bottom: 1px solid #ccc; vertical-align: top; }
th { border-bottom: 2px solid #444; } .n { text-align: right; font-variant-numeric: tabular-nums; }
td.n, td.t { white-space: nowrap; } th.proof { width: 34%; }
tr.total td { font-weight: 600; border-top: 2px solid #444; }
.failed, .late { color: #a30000; font-weight: 600; } .cancelled { color: #666; } .delivered { color: #135e13; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: .2rem 0; font-size: .8rem; }
.scroll { overflow-x: auto; }
@page { size: A4 landscape; margin: 12mm; }
@media print { body { margin: 0; max-width: none; padding: 0; font-size: 10px; } thead { display: table-header-group; }
  tr { break-inside: avoid; } h2 { break-after: avoid; } .scroll { overflow: visible; } a { color: inherit; } }
"""


def write_html(day: Day, file: IO[bytes]) -> None:
    """Write one page that needs no other file, and prints well."""
    for part in _page(day):
        file.write(part.encode("utf-8", "replace"))


def _escaped(text: str | None) -> str:
    return escape(one_line(text or ""))


def _page(day: Day) -> Iterator[str]:
    title = _escaped(_title(day))
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    yield (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><meta name="referrer" content="no-referrer">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body>\n<h1>{title}</h1>\n<p>{_escaped(_zone_words(day))}</p>\n"
    )
    if day.environments:
        yield f"<p>Orders of {_escaped(' and '.join(day.environments))}.</p>\n"
    heads = [(name, "n" if place >= 3 else "") for place, name in enumerate(vessel_columns(day))]
    rows = [("", [_escaped(_text(cell, grouped=True)) for cell in row]) for row in vessel_rows(day)]
    yield from _table(heads, [*rows[:-1], ("total", rows[-1][1])])
    for vessel in day.vessels:
        imo = "" if vessel.imo is None else f" (IMO {vessel.imo})"
        yield f"<h2>{_escaped(f'{vessel.name}{imo}')}</h2>\n"
        yield from _table(_HEADS, (("", _cells(line, day)) for line in vessel.lines))
    yield "</body></html>\n"


def _table(heads: Sequence[tuple[str, str]], rows: Iterable[tuple[str, Sequence[str]]]) -> Iterator[str]:
    """An HTML table: each column with its style, and each row with its style and its cells as HTML."""
    titles = "".join(f'<th scope="col" class="{style}">{_escaped(name)}</th>' for name, style in heads)
    yield f'<div class="scroll"><table><thead><tr>{titles}</tr></thead><tbody>\n'
    for row_style, row in rows:
        cells = "".join(f'<td class="{style}">{cell}</td>' for cell, (_, style) in zip(row, heads, strict=True))
        yield f'<tr class="{row_style}">{cells}</tr>\n'
    yield "</tbody></table></div>\n"


_HEADS = (
    ("order", ""), ("invoice", ""), ("berth", ""), ("due", "t"), ("status", ""), ("delivered", "t"), ("planned", "n"),
    ("final", "n"), ("proof of delivery", "proof"),
)  # fmt: skip


def _cells(line: Line, day: Day) -> list[str]:
    late = ' <span class="late">late</span>' if line.late else ""
    status = _escaped(in_words(line.status or "not read yet"))
    return [
        *(_escaped(name) for name in (line.name, line.invoice_number, line.berth)),
        _printed(line.due_at, day),
        f'<span class="{line.outcome}" title="{_escaped(line.status)}">{status}</span>{late}',
        _printed(line.delivered_at, day),
        _printed_money(line.planned),
        _printed_money(line.final),
        _proof(line),
    ]


def _printed(moment: datetime | None, day: Day) -> str:
    """A time as it is printed, without its zone, which the page names."""
    local = _local(moment, day)
    return "" if local is None else f"{local:%d %b %H:%M}"


def _printed_money(money: Money | None) -> str:
    return "" if money is None else _escaped(f"{money.currency} {_text(money.amount, grouped=True)}".strip())


def _proof(line: Line) -> str:
    links = "<br>".join(
        f'<a href="{_escaped(link)}" rel="noopener noreferrer">{_escaped(link[:80])}</a>' for link in line.links
    )
    more = "…" if len(line.proof) > _LONGEST_PROOF else ""
    return links + (f"<pre>{_escaped(line.proof[:_LONGEST_PROOF])}{more}</pre>" if line.proof else "")


def _title(day: Day) -> str:
    return f"Deliveries of {day.date:%A, %d %B} {day.date.year:04}"


def _zone_words(day: Day) -> str:
    at, since = (None if each is None else written(each, day.zone) for each in (day.at, day.oldest_read))
    fresh = "" if since is None else f" Every open order was read on {since} or later."
    return f"The day and all times are those of {day.zone}. As the order book knew it on {at}.{fresh}"
