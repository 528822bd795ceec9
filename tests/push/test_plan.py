"""Plans of files: what is counted, what is too narrow, and that a push is held to the file of its plan."""

import io
import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import xlsxwriter

from gotsurge_async import Address, Money, Order, TimeWindow, codec
from gotsurge_async.bulk import Ledger, Mode, Push, Source, SourceOptions, UnusableSource
from gotsurge_async.errors import ConfigError
from gotsurge_async.push.load import Loader
from gotsurge_async.push.plan import Plan, check_plan, make_plan
from gotsurge_async.tables import open_source
from gotsurge_async.tables.options import FileMap
from tests.support.commands import HEADER, ROW
from tests.support.order_forms import NOW, good_order, window
from tests.support.pushes import place

LOYANG = Address(latitude=1.3697, longitude=103.9707)
TUAS = Address(latitude=1.2966, longitude=103.6361)


def numbered(count: int, **changes: Any) -> list[Order]:
    """Orders that look like no other one."""
    return [good_order(tracking_id=f"T-{n}", invoice_number=f"INV-{n}", **changes) for n in range(count)]


def lines(orders: list[Order]) -> bytes:
    """Orders as JSON Lines."""
    return b"".join(codec.encode(order) + b"\n" for order in orders)


def source(content: bytes, name: str = "orders.jsonl") -> Source:
    """A source of JSON Lines."""
    return open_source(io.BytesIO(content), options=SourceOptions(now=NOW, format="jsonl"), name=name)


async def plan(orders: list[Order], **options: Any) -> Plan:
    """The plan of orders."""
    return await make_plan(source(lines(orders)), now=NOW, **options)


async def test_orders_and_money_are_counted() -> None:
    """A plan says how many orders there are, what they cost in each currency, and how many have no price."""
    made = await plan(
        [
            *numbered(3),
            good_order(tracking_id="U", price=Money.of("10.005", "USD"), invoice_number="U"),
            good_order(tracking_id="N", price=None, invoice_number="N"),
        ]
    )
    assert (made.orders, made.without_price) == (5, 1)
    assert made.spend == {"SGD": "145.50", "USD": "10.005"}
    assert (made.tight, made.similar, made.warnings) == ((), (), ())


async def test_what_people_read_of_prices_is_true() -> None:
    """Orders without a price are not called free: GotSurge sets their price."""
    without = [good_order(tracking_id=f"N-{n}", price=None, invoice_number=f"N-{n}") for n in range(2)]
    assert (await plan(without)).facts() == {
        "orders": "2",
        "spend": "no prices",
        "without a price": "2: GotSurge sets it",
    }
    both = (await plan([*numbered(1), *without])).facts()
    assert (both["spend"], both["without a price"]) == ("SGD 48.50", "2: GotSurge sets it")


async def test_a_faulty_file_has_no_plan() -> None:
    """Every check of a push is made: faults, and keys that stand twice, are reported as by a push."""
    bad = good_order(tracking_id="B", price=Money.of("1.00", "SGD"))
    with pytest.raises(UnusableSource) as caught:
        await plan([good_order(), bad])
    assert caught.value.faults[0].line == 2
    with pytest.raises(UnusableSource, match="this key is also in line 1"):
        await plan([good_order(), good_order()])


async def test_what_looks_alike_is_listed() -> None:
    """An order is named once with the first that it is like; of an invoice only where there is one."""
    made = await plan([good_order(tracking_id=key) for key in "ABC"])
    assert made.similar == (
        "order B (line 2) has the same pickup, delivery, time windows and invoice as order A (line 1)",
        "order C (line 3) has the same pickup, delivery, time windows and invoice as order A (line 1), and as 1 more",
    )
    made = await plan([good_order(tracking_id=key, invoice_number=None) for key in "AB"])
    assert made.similar == ("order B (line 2) has the same pickup, delivery and time windows as order A (line 1)",)


async def test_a_standing_order_of_another_day_looks_like_none() -> None:
    """The same delivery on the next day, without an invoice, is another one."""
    days = [
        good_order(tracking_id=f"D-{n}", invoice_number=None, from_time_window=window(day, 1, 3), to_time_window=None)
        for n, day in enumerate(datetime(2030, 3, 5 + n, tzinfo=UTC) for n in range(3))
    ]
    assert (await plan(days)).similar == ()


async def test_a_plan_survives_its_file(tmp_path: Path) -> None:
    """What is saved is read back the same, is JSON for programs, and nobody else may read it."""
    made = await plan(
        [
            *numbered(2),
            good_order(
                tracking_id="X",
                from_time_window=TimeWindow(start_time_utc=NOW, end_time_utc=NOW + timedelta(minutes=5)),
            ),
        ]
    )
    path = tmp_path / "plan.json"
    made.save(path)
    assert Plan.load(path) == made
    assert json.loads(path.read_text())["orders"] == 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["plan.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read the plan"),
        (b"not JSON", "not a plan"),
        (b'{"orders": 3}', "not a plan"),
        (
            b'{"version":9,"made_at":"2030-01-01T00:00:00Z","file":"","sha256":"","orders":0,"spend":{},"without_price":0}',
            "another version: make a new plan",
        ),
        (
            b'{"version":1,"made_at":"2030-01-01T00:00:00Z","file":"","sha256":"","orders":0,"spend":{},"without_price":0}',
            "another version: make a new plan",  # it has no digest of its map
        ),
    ],
)
def test_what_is_no_plan_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    """A file that is missing, no plan, or one of another version is an error that names it."""
    path = tmp_path / "plan.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        Plan.load(path)
    assert "plan.json" in str(caught.value)


def test_a_plan_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    """A folder that is not there is a configuration error."""
    made = Plan(made_at=NOW, file="", sha256="", orders=0, spend={}, without_price=0)
    with pytest.raises(ConfigError, match="cannot write the plan"):
        made.save(tmp_path / "nothing" / "plan.json")


async def test_a_push_takes_the_file_of_its_plan_and_no_other(tmp_path: Path) -> None:
    """With a plan the same bytes are loaded under any name, and other bytes are a fault before anything is sent."""
    content = lines(numbered(3))
    path = tmp_path / "plan.json"
    (await make_plan(source(content), now=NOW)).save(path)
    async with place(tmp_path) as here:
        push = Push(here.gs, here.ledger)
        with pytest.raises(UnusableSource, match="differs from the file of the plan") as caught:
            await push.load_source(check_plan(path, source(content + lines(numbered(4)[3:]))))
        assert "orders.jsonl" in str(caught.value.faults[0])
        assert await here.ledger.runs() == []
        run, admission = await push.load_source(check_plan(path, source(content, "copy.jsonl")))
        assert (admission.pending, run.info.source) == (3, "copy.jsonl")
        await run.close()


async def test_the_items_are_part_of_the_plan(tmp_path: Path) -> None:
    """Another items file is refused too, and the columns of a CSV come through."""
    order = next(iter(numbered(1)))
    plain = {
        "tracking_id": "T-0",
        "broadcast_preference": "all",
        "vehicle_preference": "car",
        "service_type": "ftl",
        "from_address.street_address": "A",
        "to_address.street_address": "B",
        "from_time_window.start_time_utc": order.from_time_window.start_time_utc.isoformat(),
        "from_time_window.end_time_utc": order.from_time_window.end_time_utc.isoformat(),
        "client_time_utc": NOW.isoformat(),
    }
    orders, items, path = tmp_path / "o.csv", tmp_path / "i.csv", tmp_path / "plan.json"
    orders.write_text(f"{','.join(plain)}\n{','.join(plain.values())}\n")
    items.write_text("tracking_id,name\nT-0,Rope\n")
    options = SourceOptions(now=NOW, items=items)
    with open_source(orders, options=options) as opened:
        (await make_plan(opened, now=NOW)).save(path)
    async with await Ledger.open(tmp_path / "ledger.db") as ledger:
        loader = Loader(ledger, "local", Mode.DIRECT)
        with check_plan(path, open_source(orders, options=options)) as opened:
            run, _ = await loader.source(opened)
        await run.close()
        assert (await ledger.run(run.id)).columns == tuple(plain)
        items.write_text("tracking_id,name\nT-0,Chain\n")
        with (
            check_plan(path, open_source(orders, options=options)) as opened,
            pytest.raises(UnusableSource, match="has a different items file than --items"),
        ):
            await loader.source(opened)


async def test_the_map_is_part_of_the_plan(tmp_path: Path) -> None:
    """A map that says something else is refused, as one where there was none, and none where there was one."""
    orders, own, path = tmp_path / "o.csv", tmp_path / "own.toml", tmp_path / "plan.json"
    row = {
        "No.": "T-0",
        "broadcast_preference": "all",
        "vehicle_preference": "car",
        "service_type": "ftl",
        "from_address.street_address": "A",
        "to_address.street_address": "B",
        "from_time_window.start_time_utc": "2030-01-02T00:00:00Z",
        "from_time_window.end_time_utc": "2030-01-02T03:00:00Z",
        "client_time_utc": NOW.isoformat(),
    }
    orders.write_text(f"{','.join(row)}\n{','.join(row.values())}\n")

    def opened(text: str) -> Source:
        own.write_text(text)
        return open_source(orders, options=SourceOptions(now=NOW, file_map=FileMap.load(own)))

    same, other = '[columns]\n"No." = "tracking_id"\n', '[columns]\n"No." = "tracking_id" # changed\n'
    with opened(same) as source_:
        (await make_plan(source_, now=NOW)).save(path)
    async with await Ledger.open(tmp_path / "ledger.db") as ledger:
        loader = Loader(ledger, "local", Mode.DIRECT)
        with (
            check_plan(path, opened(other)) as source_,
            pytest.raises(UnusableSource, match="has a different map than --map"),
        ):
            await loader.source(source_)
        orders.write_text(orders.read_text().replace("No.", "tracking_id"))
        with open_source(orders, options=SourceOptions(now=NOW)) as source_:
            (await make_plan(source_, now=NOW)).save(path)
        with check_plan(path, opened(other)) as source_, pytest.raises(UnusableSource, match="has no map"):
            await loader.source(source_)


async def test_the_sheet_is_part_of_the_plan(tmp_path: Path) -> None:
    """Another sheet of the planned workbook is refused."""
    book, path = tmp_path / "o.xlsx", tmp_path / "plan.json"
    with xlsxwriter.Workbook(book) as written:
        for sheet in ("March", "April"):
            page = written.add_worksheet(sheet)
            for line, row in enumerate([HEADER, ROW.format(key=sheet)]):
                for place, cell in enumerate(row.split(",")):
                    page.write_string(line, place, cell)

    def opened(sheet: str | None) -> Source:
        return open_source(book, options=SourceOptions(now=NOW, sheet=sheet))

    with opened(None) as source_:
        made = await make_plan(source_, now=NOW)
    made.save(path)
    assert made.sheet == "March"
    async with await Ledger.open(tmp_path / "ledger.db") as ledger:
        loader = Loader(ledger, "local", Mode.DIRECT)
        with check_plan(path, opened("April")) as source_, pytest.raises(UnusableSource, match="has a different sheet"):
            await loader.source(source_)
        with check_plan(path, opened("March")) as source_:
            run, admission = await loader.source(source_)
        async with run:
            assert admission.pending == 1


async def test_tight_windows_stand_in_the_plan() -> None:
    """Each is listed with its line and key, and what ends soon stands among the warnings."""
    five_minutes = TimeWindow(start_time_utc=NOW, end_time_utc=NOW + timedelta(minutes=5))
    made = await plan([*numbered(2), good_order(tracking_id="X", from_time_window=five_minutes)])
    assert [(each.line, each.key) for each in made.tight] == [(3, "X")]
    assert made.tight_count == made.warning_count == 1


def test_the_layout_of_a_plan_is_plain_json() -> None:
    """A program finds the times as RFC 3339 and the amounts as decimals."""
    made = Plan(
        made_at=datetime(2030, 1, 1, tzinfo=UTC),
        file="f",
        sha256="ab",
        orders=1,
        spend={"SGD": "2.00"},
        without_price=0,
    )
    tree = msgspec.json.decode(made.to_json())
    assert (tree["made_at"], tree["spend"]) == ("2030-01-01T00:00:00Z", {"SGD": "2.00"})
