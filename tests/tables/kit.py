"""What the tests of the sources share: files made of cells, and a whole file read at once."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gotsurge_async.models.tasks import Order
from gotsurge_async.money import Money
from gotsurge_async.tables import Form, SourceOptions, SourceReport, open_source
from gotsurge_async.tables.fields import columns_of
from gotsurge_async.tables.source import SourceRow
from tests.support.order_forms import CELLS, NOW


class Read(NamedTuple):
    """A file that was read to its end."""

    rows: list[SourceRow]
    report: SourceReport
    columns: tuple[str, ...] | None
    form: Form

    @property
    def faults(self) -> list[str]:
        """The faults as a person sees them."""
        return list(self.report.lines())

    @property
    def places(self) -> list[tuple[int | None, str | None]]:
        """Line and column of every fault."""
        return [(fault.line, fault.column) for fault in self.report.faults]

    @property
    def order(self) -> Order:
        """The only order of a file without faults."""
        assert self.faults == []
        (row,) = self.rows
        return row.order


def read(data: bytes | str, *, name: str = "orders.csv", **options: Any) -> Read:
    """Read a whole file that is given as its bytes."""
    stream = io.BytesIO(data.encode() if isinstance(data, str) else data)
    with open_source(stream, options=SourceOptions(**{"now": NOW, **options}), name=name) as source:
        return Read(list(source.rows()), source.report, source.columns, source.form)


def table(*rows: Mapping[str, str], columns: Iterable[str] | None = None, delimiter: str = ",", end: str = "\n") -> str:
    """A CSV of rows, each the good order with the changes that are given; a header of all their columns."""
    whole = [{**CELLS, **row} for row in rows]
    header = list(columns) if columns is not None else list(dict.fromkeys(name for row in whole for name in row))
    text = io.StringIO()
    # Only with its own line end the writer knows that a CR needs quotes.
    quoting: Any = csv.QUOTE_MINIMAL
    if any("\r" in cell for row in whole for cell in row.values()):
        quoting = csv.QUOTE_ALL
    writer = csv.DictWriter(
        text, header, delimiter=delimiter, lineterminator=end, quoting=quoting, extrasaction="ignore"
    )
    writer.writeheader()
    writer.writerows(whole)
    return text.getvalue()


def two_lines(cells: Mapping[str, str] | None = None) -> tuple[str, str]:
    """The header and the row of a table of one order, each with its line end."""
    head, row = table(cells or {}).split("\n", 1)
    return f"{head}\n", row


def plain_table(*rows: Iterable[str]) -> str:
    """A CSV of cells, the header first."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
    return text.getvalue()


def cells_of(order: Order) -> dict[str, str]:
    """An order as the cells of a table: the opposite of reading it."""
    cells: dict[str, str] = {}
    for name, column in columns_of(Order).items():
        holder = getattr(order, column.parent) if column.parent else order
        value = None if holder is None else getattr(holder, column.field)
        if value is None:
            cells[name] = ""
        elif isinstance(value, Money):
            cells[name] = f"{value.amount:f}"
        elif hasattr(value, "isoformat"):
            cells[name] = value.isoformat()
        else:
            cells[name] = str(value)
    return cells


def good_json(**changes: Any) -> dict[str, Any]:
    """The good order as the API's JSON, as plain values, with some fields changed; ``...`` leaves a field out."""
    tree: dict[str, Any] = {
        "tracking_id": "SHS-1",
        "broadcast_preference": "marine",
        "vehicle_preference": "van_1.7m",
        "service_type": "ftl",
        "currency": "SGD",
        "price": 4_850_000,
        "from_address": {"street_address": "7 Loyang Way 4"},
        "from_time_window": {"start_time_utc": "2030-03-05T01:00:00Z", "end_time_utc": "2030-03-05T03:00:00Z"},
        "to_address": {"zip_code": "619110"},
        "client_time_utc": "2030-03-04T01:00:00Z",
        **changes,
    }
    return {name: value for name, value in tree.items() if value is not ...}


def write(path: Path, text: str | bytes) -> Path:
    """Write a file, and give its path."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path
