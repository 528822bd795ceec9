"""Columns in which a spreadsheet may have exchanged days and months."""

from datetime import datetime
from typing import Any

import pytest

from gotsurge_async.tables.options import read_map
from tests.support.order_forms import CELLS
from tests.support.sheets import xlsx_bytes
from tests.tables.kit import Read, read

START = "from_time_window.start_time_utc"
TYPED = datetime(2030, 3, 5, 9)  # noqa: DTZ001 - cells have no zone


def read_starts(*starts: Any, sample: str = "31/12/2030 23:59", **options: Any) -> Read:
    """Read a workbook of orders with these starts, none of which the windows' ends refuse."""
    cells = {name: text for name, text in CELLS.items() if "to_time_window" not in name}
    rows = [
        [
            *{
                **cells,
                "tracking_id": f"T-{number}",
                START: start,
                START.replace("start", "end"): "2030-12-01T00:00Z",
            }.values()
        ]
        for number, start in enumerate(starts)
    ]
    file_map = read_map(f'[file]\ntimezone = "Asia/Singapore"\n[dates]\n"*" = "{sample}"\n'.encode(), "m.toml")
    return read(xlsx_bytes([[*cells], *rows]), name="orders.xlsx", file_map=file_map, **options)


@pytest.mark.parametrize("starts", [(TYPED, None, "13/03/2030 09:00"), ("13/03/2030 09:00", TYPED)])
def test_dates_and_texts_in_one_column_are_a_fault(starts: tuple[Any, ...]) -> None:
    """The spreadsheet that could not read 13/03/2030 may have read 05/03/2030 as 3 May. No row can be left out."""
    result = read_starts(*starts)
    line = 2 + [type(start) for start in starts].index(str)
    (fault,) = [fault for fault in result.report.faults if "exchanged days and months" in fault.rule]
    assert (fault.line, fault.column) == (line, START)
    assert result.report.whole


@pytest.mark.parametrize(
    ("other", "sample"),
    [
        ("2030-03-13T09:00:00+08:00", "31/12/2030 23:59"),
        ("2030/03/13 09:00", "2030/12/31 23:59"),
        ("13 Mar 2030 09:00", "31 Dec 2030 23:59"),
        (datetime(2030, 3, 13, 9), "31/12/2030 23:59"),  # noqa: DTZ001
    ],
)
def test_dates_that_no_spreadsheet_exchanges_may_be_mixed(other: Any, sample: str) -> None:
    """Their year is first, or their month is a name; or all are dates."""
    result = read_starts(TYPED, other, sample=sample)
    assert result.faults == []
    assert len(result.rows) == 2
    assert read_starts("05/03/2030 09:00", "13/03/2030 09:00").faults == []


@pytest.mark.parametrize("day", [13, 31])
def test_a_day_above_12_was_not_exchanged(day: int) -> None:
    """A spreadsheet makes no month of it."""
    result = read_starts(TYPED.replace(day=day), "14/03/2030 09:00")
    assert result.faults == []
    assert len(result.rows) == 2
    assert len(read_starts(TYPED.replace(day=day), TYPED.replace(day=12), "14/03/2030 09:00").faults) == 1
