"""Exports of other programs, each with a map, pushed to a simulator: what it has then is what the table says.

All of them tell the same two orders, as each of these programs writes them. The files of shops and of Google Sheets
lie beside this one; those of spreadsheets and databases are made here, by other libraries than those that read them.
"""

import datetime as dt
import sqlite3
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from gotsurge_async.bulk import FileMap, SourceOptions
from gotsurge_async.money import Money
from gotsurge_async.tables import Query
from tests.support.order_forms import NOW
from tests.support.sheets import csv_bytes, ods_bytes, write_parquet, xls_bytes, xlsx_bytes

from .kit import pushed

HERE = Path(__file__).parent
MOST_LINES = 25

TRUTH: dict[str, dict[str, str]] = {
    "#1001": {
        "from_address.street_address": "7 Loyang Way 4",
        "to_address.street_address": "Berth J07, Pier 2",
        "to_address.zip_code": "018956",
        "to_contact.name": "José Marañón",
        "to_contact.phone": "+6591755010",
        "broadcast_preference": "marine",
        "vehicle_preference": "van_1.7m",
        "service_type": "ftl",
        "currency": "SGD",
        "price": "48.50",
        "from_time_window.start_time_utc": "2030-03-13T01:00:00+00:00",
        "from_time_window.end_time_utc": "2030-03-13T03:00:00+00:00",
        "to_time_window.start_time_utc": "2030-03-13T04:00:00+00:00",
        "to_time_window.end_time_utc": "2030-03-13T06:00:00+00:00",
        "client_time_utc": "2030-02-28T23:02:03+00:00",
        "delivery_note_to_driver": 'Call the ship first, "Coral"',
    },
    "#1002": {
        "from_address.street_address": "7 Loyang Way 4",
        "to_address.street_address": "Marina South Pier",
        "to_address.zip_code": "117606",
        "to_contact.name": "Siti Aminah",
        "to_contact.phone": "+6580047975",
        "broadcast_preference": "squad",
        "vehicle_preference": "van_1.7m",
        "service_type": "ftl",
        "currency": "SGD",
        "price": "1200.00",
        "from_time_window.start_time_utc": "2030-03-14T01:00:00+00:00",
        "from_time_window.end_time_utc": "2030-03-14T03:00:00+00:00",
        "to_time_window.start_time_utc": "2030-03-14T04:00:00+00:00",
        "to_time_window.end_time_utc": "2030-03-14T06:00:00+00:00",
        "client_time_utc": "2030-03-02T01:11:00+00:00",
        "delivery_note_to_driver": "",
    },
}
"""What the two orders are, by their tracking ids."""

SINGAPORE = dt.timezone(dt.timedelta(hours=8))
HEADER = (
    *("Order", "Pickup", "Ship to", "Postal", "Contact", "Mobile", "Fleet", "Vehicle", "Fare"),
    *("Pickup from", "Pickup until", "Deliver from", "Deliver until", "Ordered", "Remark", "Checked"),
)


def sheet_rows(
    moment: Callable[[dt.datetime], Any], amount: Callable[[Decimal], Any], phone: Any = str
) -> list[list[Any]]:
    """The orders under the names of the sheet: times of Singapore, amounts and phone numbers as a program has them."""
    rows: list[list[Any]] = [list(HEADER)]
    for key, order in TRUTH.items():
        times = [
            moment(dt.datetime.fromisoformat(order[name]).astimezone(SINGAPORE).replace(tzinfo=None))
            for name in order
            if name.endswith("_time_utc")
        ]
        texts = [order[f"{name}"] for name in list(order)[:3]]
        mobile = phone(order["to_contact.phone"].removeprefix("+"))
        fleet = order["broadcast_preference"].capitalize()
        rows.append(
            [
                *(key, *texts, order["to_contact.name"], mobile, fleet, "Van 1.7m", amount(Decimal(order["price"]))),
                *(*times, order["delivery_note_to_driver"], True),
            ]
        )
    return rows


def same(value: Any) -> Any:
    """As it is."""
    return value


def german(amount: Decimal) -> str:
    """1.200,00"""
    return f"{amount:,.2f}".translate(str.maketrans(",.", ".,"))


@attrs.frozen
class Export:
    """A file, its map, and how else it is to be read.

    Attributes:
        without: fields that this program tells otherwise than the truth, or not at all.
    """

    file: str
    content: bytes | None
    map: str
    options: dict[str, Any] = attrs.field(factory=dict)
    without: tuple[str, ...] = ()


def sheet_map(**changes: str) -> str:
    """The map of the sheet, with some of its lines changed, by their first words; "" takes one out."""
    lines = (HERE / "sheet.toml").read_text(encoding="utf-8").splitlines()
    for start, line in changes.items():
        lines = [line if each.startswith(start) else each for each in lines]
    return "\n".join(filter(None, lines))


TYPED = sheet_map(dates="", numbers="")
WINDOWS = ("to_time_window.start_time_utc", "to_time_window.end_time_utc")
PICKUPS = ("from_time_window.start_time_utc", "from_time_window.end_time_utc")


def exports() -> dict[str, Export]:
    """Each export by the program that writes it so."""
    typed = sheet_rows(same, float, int)
    titled = [["Orders of March 2030"], [], *typed]
    texts = sheet_rows(lambda moment: moment.strftime("%d.%m.%Y %H:%M:%S"), german)
    libre = sheet_rows(lambda moment: moment.strftime("%d/%m/%y %H:%M:%S"), lambda amount: f"S${amount:,.2f}")
    postal, fare = HEADER.index("Postal"), HEADER.index("Fare")
    numbers = [[int(cell) if place == postal and down else cell for place, cell in enumerate(row)]
               for down, row in enumerate(typed)]  # fmt: skip
    as_german = sheet_map(dates='dates."*" = "31.12.2030 23:59:58"', numbers='numbers.price = "1.234,56"')
    as_libre = sheet_map(dates='dates."*" = "31/12/30 23:59:58"', numbers='numbers.price = "S$1,234.56"')
    titles = sheet_map(
        dates="", numbers="", file='file = { timezone = "Asia/Singapore", sheet = "März", header_row = 3 }'
    )
    return {
        "shopify": Export("shopify.csv", None, "shopify.toml", {"items": HERE / "shopify.csv"}),
        "woocommerce": Export("woocommerce.csv", None, "woocommerce.toml", {}, (*WINDOWS, *PICKUPS)),
        "google sheets": Export("google-sheets.csv", None, "sheet.toml"),
        "excel": Export("orders.xlsx", xlsx_bytes(titled, sheet="März", formats={fare: '"S$"#,##0.00'}), titles),
        "excel, postal codes as numbers": Export("orders.xlsx", xlsx_bytes(numbers, formats={postal: "000000"}), TYPED),
        "an old excel": Export("orders.xls", xls_bytes(typed), TYPED),
        "excel's csv in germany": Export(
            "orders.csv", csv_bytes(texts, delimiter=";", encoding="cp1252", above="sep=;\r\n"), as_german,
            {"encoding": "cp1252"},
        ),
        "excel's unicode text": Export(
            "orders.txt", csv_bytes(texts, delimiter="\t", encoding="utf-16"), as_german, {"delimiter": "tab"}
        ),
        "libreoffice": Export("orders.ods", ods_bytes(typed), TYPED),
        "libreoffice's csv": Export("orders.tsv", csv_bytes(libre, delimiter="\t", end="\n", quoting=1), as_libre),
        "a packed csv": Export("orders.csv.gz", csv_bytes(libre, packed=True, encoding="utf-8-sig"), as_libre),
    }  # fmt: skip


EXPORTS = exports()


def told(cells: dict[str, str], without: tuple[str, ...] = ()) -> dict[str, str]:
    """The cells of the truth's fields, amounts in one way."""
    fields = [name for name in TRUTH["#1001"] if name not in without]
    return {name: f"{Decimal(cells[name]):.2f}" if name == "price" else cells[name] for name in fields}


@pytest.mark.parametrize("program", EXPORTS)
async def test_an_export_is_pushed_by_a_small_map(program: str, tmp_path: Path) -> None:
    """The audit of the simulator, and each of its tasks, are what the table says."""
    export = EXPORTS[program]
    text = (HERE / export.map).read_text(encoding="utf-8") if export.map.endswith(".toml") else export.map
    assert len(text.splitlines()) <= MOST_LINES
    (tmp_path / "map.toml").write_text(text, encoding="utf-8")
    file = HERE / export.file
    if export.content is not None:
        file = tmp_path / export.file
        file.write_bytes(export.content)
    options = SourceOptions(
        now=NOW, max_price=Money.of(2000, "SGD"), file_map=FileMap.load(tmp_path / "map.toml"), **export.options
    )
    found = await pushed(str(file), options, tmp_path)
    assert found.audit["by_tracking_id"] == dict.fromkeys(TRUTH, 1)
    assert found.audit["doubled"] == {}
    for key, order in TRUTH.items():
        assert told(found.tasks[key], export.without) == told(order, export.without)
    if "items" in export.options:
        assert found.items["#1001"] == [("Mooring rope 64 mm", 2), ("Shackle 25 mm", 3)]


async def test_a_warehouse_is_pushed_by_the_same_map(tmp_path: Path) -> None:
    """Parquet, and what a database answers, are tables like the others."""
    file_map = tmp_path / "map.toml"
    file_map.write_text(TYPED, encoding="utf-8")
    zoned = sheet_rows(lambda moment: moment.replace(tzinfo=SINGAPORE), same, int)
    write_parquet(tmp_path / "orders.parquet", zoned)
    rows = sheet_rows(dt.datetime.isoformat, float, int)
    with sqlite3.connect(tmp_path / "shop.db") as made:
        columns = ", ".join(f'"{name}"' for name in HEADER)
        made.execute(f"CREATE TABLE orders ({columns})")
        made.executemany(f"INSERT INTO orders VALUES ({', '.join('?' * len(HEADER))})", rows[1:])  # noqa: S608
    made.close()
    query = Query(sql="SELECT * FROM orders ORDER BY 1", url=f"sqlite:///{tmp_path}/shop.db")
    for number, asked in enumerate((None, query)):
        folder = tmp_path / str(number)
        folder.mkdir()
        options = SourceOptions(now=NOW, max_price=Money.of(2000, "SGD"), file_map=FileMap.load(file_map), query=asked)
        found = await pushed(str(tmp_path / "orders.parquet"), options, folder)
        assert found.audit["by_tracking_id"] == dict.fromkeys(TRUTH, 1)
        assert {key: told(cells) for key, cells in found.tasks.items()} == {
            key: told(order) for key, order in TRUTH.items()
        }
