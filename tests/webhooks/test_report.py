"""Tests of the report of a day: its sums, and files in which text of others does nothing."""

import csv
import errno
import io
import sys
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import openpyxl
import pytest
import xlsxwriter
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from gotsurge_async import codec
from gotsurge_async.errors import ConfigError
from gotsurge_async.models import times
from gotsurge_async.money import Money, as_given
from gotsurge_async.tables.writing import LONGEST_CELL
from gotsurge_async.webhooks.book import BookOrder
from gotsurge_async.webhooks.book.records import due_of
from gotsurge_async.webhooks.report import Day, Outcome, day_of, write_csv, write_html, write_xlsx
from gotsurge_async.webhooks.report.day import bounds, line_of
from tests.webhooks.book.kit import task, written

DAY = date(2026, 1, 2)
SINGAPORE = ZoneInfo("Asia/Singapore")
NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
EVIL = '=HYPERLINK("http://x","y")<script>alert(1)</script>'


def at(hour: float) -> datetime:
    """A time of the day, in UTC."""
    return datetime(2026, 1, 2, tzinfo=UTC) + timedelta(hours=hour)


def ordered(
    status: str | None,
    *,
    number: int = 1,
    ends: float | None = 8,
    done: float | None = None,
    planned: Money | None = None,
    **more: Any,
) -> BookOrder:
    """An order in the book: its delivery window ends, and it ended, at some hours."""
    window = None
    if ends is not None:
        window = {"start_time_utc": written(at(ends - 1)), "end_time_utc": written(at(ends))}
    entries = [] if done is None else [{"status": status, "updated_at": written(at(done))}]
    read = task(f"T-{number}", entries, status, to_time_window=window, **more)
    return BookOrder(
        number=number,
        account="local/plain",
        task_id=read.id,
        run="RUN",
        key=f"K-{number}",
        status=read.current_status,
        seen_at=NOW,
        changed_at=None if done is None else at(done),
        due_at=due_of(read),
        planned=planned,
        body=codec.encode(read),
    )


def to(name: str | None, imo: int | None = None, berth: str | None = None) -> dict[str, Any]:
    """The contact of a vessel."""
    return {"to_contact": {"vessel_name": name, "vessel_imo": imo, "berth_no": berth}}


MORNING = {"start_time_utc": written(at(1)), "end_time_utc": written(at(2))}


async def day(*orders: BookOrder) -> Day:
    """Their day, in Singapore."""

    async def each() -> AsyncIterator[BookOrder]:
        for order in orders:
            yield order

    return await day_of(each(), DAY, SINGAPORE, NOW)


@pytest.mark.parametrize(
    ("order", "outcome", "late"),
    [
        (ordered("complete", done=8), Outcome.DELIVERED, False),
        (ordered("complete", done=8.1), Outcome.DELIVERED, True),
        (ordered("complete", ends=None, done=9), Outcome.DELIVERED, False),
        (evolve(ordered("complete"), changed_at=at(9)), Outcome.DELIVERED, False),
        (ordered("broadcasting", ends=11.9), Outcome.OPEN, True),
        (ordered("moored", ends=12.1), Outcome.OPEN, False),
        (ordered("pending_broadcast", ends=20, from_time_window=MORNING), Outcome.OPEN, True),
        (ordered("pending_delivery", ends=20, from_time_window=MORNING), Outcome.OPEN, False),
        (ordered(None, ends=None), Outcome.OPEN, False),
        (ordered("expired", done=9), Outcome.FAILED, False),
        (ordered("unsuccessful_delivery", done=9), Outcome.FAILED, False),
        (ordered("cancelled", done=9), Outcome.CANCELLED, False),
    ],
)
def test_what_became_of_an_order(order: BookOrder, outcome: Outcome, late: bool) -> None:
    """Late is what was delivered after its window, and what is open and late for its pickup or its delivery."""
    line = line_of(order, NOW)
    assert (line.outcome, line.late) == (outcome, late)


def test_a_delivery_whose_time_is_not_told_has_none() -> None:
    """When it was first seen is another time; it is late only where it was still on its way after its window."""
    untimed = {"status": "complete"}
    for hour, late in ((7.0, False), (8.1, True)):
        entries = [{"status": "delivery_arriving", "updated_at": written(at(hour))}, untimed]
        read = task("T-1", entries, "complete", to_time_window={
            "start_time_utc": written(at(7)), "end_time_utc": written(at(8)),
        })  # fmt: skip
        order = evolve(ordered("complete"), changed_at=at(10), body=codec.encode(read))
        line = line_of(order, NOW)
        assert (line.delivered_at, line.late) == (None, late)


async def test_a_day_tells_how_old_it_is() -> None:
    """The page says since when every open order was read; of those at their end nothing more is to be heard."""
    read = {"complete": at(1), "moored": at(5), "accepted": at(4)}
    found = await day(
        *(evolve(ordered(status, number=n), seen_at=seen) for n, (status, seen) in enumerate(read.items()))
    )
    assert found.oldest_read == at(4)
    assert f"Every open order was read on {times.written(at(4), found.zone)}" in html(found)
    assert "open order was read" not in html(await day(ordered("complete")))


async def test_a_task_that_two_accounts_have_read_counts_once() -> None:
    """As it was last read, by whichever account, with the price of the one that pushed it; not across environments."""
    pushed = evolve(ordered("broadcasting", planned=Money.of("5.00", "SGD")), seen_at=NOW - timedelta(hours=1))
    read = evolve(ordered("complete", done=7), account="local/other", run=None, key=None, number=2)
    for orders in ((pushed, read), (read, pushed)):
        found = await day(*orders)
        assert (found.sums.ordered, found.sums.delivered, found.sums.open) == (1, 1, 0)
        assert found.sums.planned == {"SGD": Money.of("5.00", "SGD")}
        assert [(line.run, line.account, line.status) for line in found.lines] == [("RUN", "local/plain", "complete")]
    assert (await day(pushed, evolve(read, account="sandbox"))).sums.ordered == 2


async def test_an_account_that_is_not_shown_a_task_any_more_says_nothing_of_it() -> None:
    """Its later read undoes neither the end of the task nor a later status that another account has read."""
    hidden = evolve(ordered("broadcasting"), changed_at=at(1), seen_at=NOW + timedelta(hours=9))
    for read in (ordered("complete", done=7), ordered("pending_delivery", done=7)):
        other = evolve(read, account="local/other", number=2)
        for orders in ((hidden, other), (other, hidden)):
            assert [line.status for line in (await day(*orders)).lines] == [read.status]


async def test_prices_in_two_currencies_have_no_difference() -> None:
    """Such an order is counted as not comparable, as is one that lacks a price; no other difference changes for it."""
    sgd, usd = (lambda amount, code=code: Money.of(amount, code) for code in ("SGD", "USD"))
    found = await day(
        ordered("complete", number=1, done=7, planned=sgd("10"), price=1_100_000, currency="SGD"),
        ordered("complete", number=2, done=7, planned=sgd("10"), price=7_000_000, currency="USD"),
        ordered("complete", number=3, done=7, planned=None, price=500_000, currency="SGD"),
        ordered("accepted", number=4, planned=sgd("10"), price=900_000, currency="USD"),
    )
    assert (found.sums.difference("SGD"), found.sums.difference("USD")) == (sgd("1"), usd("0"))
    assert found.sums.incomparable == 2
    assert found.sums.final == {"SGD": sgd("16"), "USD": usd("70")}
    assert [row["not comparable"] for row in table(found, orders=False)] == ["2", "2"]


async def test_sums_are_by_vessel_and_currency() -> None:
    """A vessel is its IMO number, or its name in any case; amounts of two currencies are never added."""
    sgd, usd = (lambda amount, code=code: Money.of(amount, code) for code in ("SGD", "USD"))
    found = await day(
        ordered(
            "complete",
            number=1,
            done=7,
            planned=sgd("10"),
            price=1_200_000,
            currency="SGD",
            **to("MV A", 9074729, "B2"),
        ),
        ordered(
            "complete", number=2, done=9, planned=usd("5"), price=500_000, currency="USD", **to("mv a ", None, "B1")
        ),
        ordered("expired", number=3, planned=sgd("7"), price=700_000, currency="SGD", **to(None, 9074729)),
        ordered("cancelled", number=4, planned=sgd("1"), **to("MV Zulu")),
        ordered("complete", number=5, done=7, planned=None, price=1, currency=None),
    )
    assert [(vessel.name, vessel.imo, vessel.sums.ordered) for vessel in found.vessels] == [
        ("MV A", 9074729, 3),
        ("MV Zulu", None, 1),
        ("(no vessel)", None, 1),
    ]
    first = found.vessels[0]
    assert first.berths == ["B1", "B2"]
    sums = first.sums
    assert (sums.delivered, sums.late, sums.failed, sums.cancelled, sums.open) == (2, 1, 1, 0, 0)
    assert sums.planned == {"SGD": sgd("17"), "USD": usd("5")}
    assert sums.planned_delivered == {"SGD": sgd("10"), "USD": usd("5")}
    assert sums.final == {"SGD": sgd("12"), "USD": usd("5")}
    assert sums.difference("SGD") == sgd("2")
    assert found.sums.final == {"SGD": sgd("12"), "USD": usd("5"), "": as_given(1, "")}
    assert found.sums.ordered == 5


amounts = st.none() | st.tuples(st.integers(-(10**20), 10**20), st.sampled_from(["SGD", "USD", ""]))


@given(
    orders=st.lists(
        st.tuples(
            st.sampled_from(["complete", "cancelled", "expired", "accepted", "moored"]),
            amounts,
            st.sampled_from(["A", "b", "B", None]),
        ),
        max_size=12,
    )
)
async def test_nothing_is_lost_between_orders_and_sums(orders: list[tuple[str, Any, str | None]]) -> None:
    """Every order is in one vessel and has one outcome, and every amount is in one sum, to the last thousandth."""
    given_ = [
        ordered(status, number=number, planned=None if amount is None else as_given(*amount), **to(vessel))
        for number, (status, amount, vessel) in enumerate(orders)
    ]
    found = await day(*given_)
    assert sorted(line.number for line in found.lines) == list(range(len(orders)))
    sums = found.sums
    assert sums.delivered + sums.failed + sums.cancelled + sums.open == sums.ordered == len(orders)
    for currency in ("SGD", "USD", ""):
        expected = sum(amount[0] for _, amount, _ in orders if amount is not None and amount[1] == currency)
        assert (
            sum(vessel.sums.planned[currency].millicents for vessel in found.vessels if currency in vessel.sums.planned)
            == expected
        )
    assert len(found.vessels) == len({(vessel or "").casefold() for _, _, vessel in orders})


def html(found: Day) -> str:
    """The page of a day."""
    file = io.BytesIO()
    write_html(found, file)
    return file.getvalue().decode()


def table(found: Day, *, orders: bool, done: bool = True) -> list[dict[str, str]]:
    """The table of a day, as a spreadsheet reads it."""
    file = io.BytesIO()
    write_csv(found, file, orders=orders, done=done)
    return list(csv.DictReader(io.StringIO(file.getvalue().decode("utf-8-sig"), newline="")))


async def test_the_page_escapes_what_others_wrote() -> None:
    """It has no script, names day and zone, and links only what is a URL of the web."""
    proof = {
        "photo": "https://x/?a=1&b='\"<p>",
        "note": EVIL,
        "more": ["javascript:alert(1)", {"sign": "http://y/z"}, None],
    }
    order = ordered("complete", done=8, tracking_id=EVIL, invoice_number=EVIL, epod=proof, **to(EVIL, None, EVIL))
    page = html(await day(order))
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert "Deliveries of Friday, 02 January 2026" in page
    assert "those of Asia/Singapore" in page
    assert page.count("<a href=") == 2
    assert 'href="https://x/?a=1&amp;b=&#39;&#34;&lt;p&gt;"' in page
    assert 'href="http://y/z"' in page
    assert "javascript:alert(1)" in page  # as text, in the proof as it came
    assert "02 Jan 16:00" in page  # in Singapore
    assert '<span class="delivered" title="complete">Complete</span>' in page


@pytest.mark.parametrize(
    ("millicents", "printed"),
    [
        (123_456_700_000, "1,234,567.00"),
        (-50_000, "-0.50"),
        (-123_456_700_000, "-1,234,567.00"),
        (1, "0.00001"),
        (150_000, "1.50"),
        (10**30, f"{10**25:,}.00"),
    ],
)
async def test_amounts_are_printed_to_the_last_digit(millicents: int, printed: str) -> None:
    """With their thousands apart, and no less than two decimals."""
    order = ordered("complete", done=8, planned=as_given(millicents, "SGD"))
    page = html(await day(order))
    assert f'<td class="n">SGD {printed}</td>' in page
    assert page.count(f'<td class="n">{printed}</td>') == 4  # planned, and of delivered; of the vessel, and of all


async def test_cells_of_a_table_are_no_formulas() -> None:
    """Whoever wrote them; numbers stay numbers, and a row for each vessel ends with the total."""
    names = ("=1+1", "+65 1", "-1+1", "@SUM(A1)", "\t=1", "plain")
    orders = [
        ordered(
            "complete",
            number=number,
            done=8,
            planned=Money.of("-3.005", "SGD"),
            price=480_000,
            currency="SGD",
            tracking_id=name,
            **to(name),
        )
        for number, name in enumerate(names)
    ]
    found = await day(*orders)
    for row in (*table(found, orders=True), *table(found, orders=False)):
        assert not any(cell.startswith(("=", "+", "@", "\t", "\r")) for cell in row.values())
        assert not row["vessel"].startswith("-")
    assert [row["vessel"].strip() for row in table(found, orders=False)][-2:] == ["plain", "Total"]
    total = table(found, orders=False)[-1]
    assert (total["ordered"], total["planned SGD"], total["final of delivered SGD"]) == ("6", "-18.03", "28.80")
    assert total["difference SGD"] == "46.83"
    first = next(row for row in table(found, orders=True) if row["tracking_id"] == "plain")
    assert (first["planned"], first["final"], first["due_at"]) == ("-3.005", "4.80", "2026-01-02 16:00+08:00")


async def test_a_table_of_orders_has_those_to_act_on() -> None:
    """Orders that are open or failed; those that were delivered or cancelled only where they are asked for."""
    found = await day(
        *(ordered(status, number=n, done=9) for n, status in enumerate(("complete", "cancelled", "expired", "moored")))
    )
    rows = table(found, orders=True, done=False)
    assert [(row["status"], row["outcome"]) for row in rows] == [("Expired", "failed"), ("Moored", "open")]
    assert [row["outcome"] for row in table(found, orders=True)] == ["delivered", "cancelled", "failed", "open"]
    assert [row["ordered"] for row in table(found, orders=False, done=False)] == ["4", "4"]


async def test_no_text_of_others_moves_or_reorders_what_is_written() -> None:
    """Whatever an order says, no file has a control character or a mark of direction."""
    odd = "\x1b[2Jx\u202ey\u2067z"
    order = ordered(
        "complete", done=8, planned=as_given(1, odd), price=1, currency=odd, tracking_id=f"\u202e={odd}",
        invoice_number=odd, group_tag=odd, epod={odd: odd}, **to(odd, None, odd),
    )  # fmt: skip
    found = await day(order)
    book = io.BytesIO()
    write_xlsx(found, book)
    texts = [str(cell) for sheet in openpyxl.load_workbook(book) for row in sheet.values for cell in row]
    rows = [*table(found, orders=True), *table(found, orders=False)]
    texts += [text for row in rows for pair in row.items() for text in pair]
    texts += html(found).split("\n")
    assert [text for text in texts if not text.isprintable()] == []
    assert table(found, orders=True)[0]["tracking_id"] == " = [2Jx y z"


async def test_a_workbook_has_vessels_and_orders() -> None:
    """Numbers are numbers, texts are texts, whatever they look like; a cell that is too long is cut."""
    order = ordered(
        "complete", done=8, planned=Money.of("4.80", "SGD"), price=490_000, currency="SGD", tracking_id=EVIL,
        epod={"x": "y" * 40_000, "url": "https://x/y"}, **to("=A1", 9074729),
    )  # fmt: skip
    file = io.BytesIO()
    write_xlsx(await day(order), file)
    book = openpyxl.load_workbook(io.BytesIO(file.getvalue()))
    assert book.sheetnames == ["Vessels", "Orders"]
    vessels, orders = ([list(row) for row in book[name].iter_rows()] for name in book.sheetnames)
    assert [cell.value for cell in vessels[1][:5]] == ["=A1", 9074729, None, 1, 1]
    assert [cell.data_type for cell in vessels[1][:1]] == ["s"]
    assert [cell.value for cell in vessels[1][9:]] == [4.8, 4.8, 4.9, 0.1, 0]
    assert orders[1][3].value == EVIL
    assert {cell.data_type for row in orders for cell in row} == {"s", "n", "d"}
    assert not any(cell.hyperlink for row in orders for cell in row)
    assert max(len(str(cell.value)) for row in orders for cell in row) == LONGEST_CELL


async def test_a_workbook_can_be_computed_with() -> None:
    """IMO numbers, counts, money and times are numbers and dates; times are those of the zone in their heading."""
    usual = ordered(
        "complete", done=8, planned=Money.of("1234.50", "SGD"), price=490_000, currency="SGD",
        tracking_id="007", invoice_number="1E5", **to("MV A", 9074729),
    )  # fmt: skip
    odd = evolve(ordered("complete", number=2, **to("MV B", 10**17)), due_at=datetime(1899, 1, 2, tzinfo=UTC))
    file = io.BytesIO()
    write_xlsx(await day(usual, odd), file)
    book = openpyxl.load_workbook(file)
    names, row, strange = book["Orders"].iter_rows()
    cells = {name.value: cell for name, cell in zip(names, row, strict=True)}
    for name, value, form in (
        ("imo", 9074729, "General"),
        ("due_at (Asia/Singapore)", at(16).replace(tzinfo=None), "yyyy-mm-dd hh:mm"),
        ("delivered_at (Asia/Singapore)", at(16).replace(tzinfo=None), "yyyy-mm-dd hh:mm"),
        ("planned", 1234.5, "#,##0.00###"),
        ("final", 4.9, "#,##0.00###"),
        ("tracking_id", "007", "General"),
        ("status", "Complete", "General"),
        ("invoice_number", "1E5", "General"),
    ):
        assert (cells[name].value, cells[name].number_format) == (value, form), name
    # No spreadsheet knows that year, nor keeps all those digits.
    assert [strange[cells[name].column - 1].data_type for name in ("imo", "due_at (Asia/Singapore)")] == ["s", "s"]
    vessels = list(book["Vessels"].iter_rows())
    assert {cell.data_type for row in vessels[1:] for cell in row[3:]} == {"n"}


async def test_a_workbook_needs_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install is told."""
    monkeypatch.setitem(sys.modules, "xlsxwriter", None)
    with pytest.raises(ConfigError, match=r'pip install "gotsurge-async\[excel\]"'):
        write_xlsx(await day(), io.BytesIO())


async def test_a_workbook_on_a_full_disk_fails_as_any_other_file_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the error of the disk, which the command reports."""

    store = xlsxwriter.Workbook._store_workbook

    def full(book: xlsxwriter.Workbook) -> None:
        store(book)
        for sheet in book.worksheets():
            sheet._opt_close()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(xlsxwriter.Workbook, "_store_workbook", full)
    with pytest.raises(OSError, match="No space left") as raised:
        write_xlsx(await day(), io.BytesIO())
    assert raised.value.errno == errno.ENOSPC


async def test_a_day_without_orders_is_a_report_too() -> None:
    """With nothing but the total."""
    found = await day()
    assert [row["ordered"] for row in table(found, orders=False)] == ["0"]
    assert table(found, orders=True) == []
    assert "<h2>" not in html(found)


@pytest.mark.parametrize(
    ("zone", "day_", "hours"),
    [("Asia/Singapore", "2026-01-02", 24), ("Europe/Berlin", "2026-03-29", 23), ("Europe/Berlin", "2026-10-25", 25)],
)
def test_a_day_is_as_long_as_it_is_there(zone: str, day_: str, hours: int) -> None:
    """From midnight to midnight, also where clocks are changed."""
    since, until = bounds(date.fromisoformat(day_), ZoneInfo(zone))
    assert until.astimezone(UTC) - since.astimezone(UTC) == timedelta(hours=hours)
