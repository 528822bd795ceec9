"""Formulas that no spreadsheet program has computed, whose saved 0 is not their value."""

import io
import re
from typing import Any

import pytest
import xlsxwriter

from gotsurge_async.tables.formats.lines import Digested
from gotsurge_async.tables.formats.workbook import WorkbookGrid
from gotsurge_async.tables.maps.column_map import Dialect
from gotsurge_async.tables.maps.draft import draft_map
from gotsurge_async.tables.options import read_map
from tests.support.order_forms import CELLS, good_order
from tests.support.sheets import xlsx_bytes

from .test_workbook import HEADER, read_book, rewritten, row_of

NOT_COMPUTED = "is a formula whose value may not be computed"
PROFIT = [*HEADER, "Profit"]
IGNORING = {"file_map": read_map(b'ignore = ["Profit"]', "m.toml")}


def formulas_of_xlsxwriter(formula: str, name: str = "cargo_net_quantity", *, value: Any = 0, rows: int = 1) -> bytes:
    """A workbook of a program that cannot compute: it saves 0 as the value of a formula, if it has no other."""
    file = io.BytesIO()
    with xlsxwriter.Workbook(file) as book:
        page = book.add_worksheet("Orders")
        for place, title in enumerate(PROFIT):
            page.write_string(0, place, title)
            for row in range(1, 1 + rows):
                page.write(row, place, f"T-{row}" if title == "tracking_id" else CELLS.get(title))
        place = PROFIT.index(name)
        if formula.startswith("{"):
            page.write_array_formula(1, place, rows, place, formula, None, value)
        else:
            page.write_formula(1, place, formula, None, value)
    return file.getvalue()


@pytest.mark.parametrize("value", [0, "0", ""])
def test_a_formula_that_no_program_has_computed_is_a_fault(value: Any) -> None:
    """Such a program saves these values, and marks the workbook; a spreadsheet program removes the mark."""
    data = formulas_of_xlsxwriter("=2+3", value=value)
    outcome = read_book(data, **IGNORING)
    assert outcome.places == [(2, "cargo_net_quantity")]
    assert (NOT_COMPUTED if value != "" else "is a formula whose value was not saved") in outcome.faults[0]
    if value == 0:
        saved = rewritten(data, "xl/", lambda text: text.replace(' fullCalcOnLoad="1"', ""))
        assert read_book(saved, **IGNORING).order.cargo_net_quantity == 0


def test_a_formula_with_another_value_is_read() -> None:
    """Its program has computed it."""
    assert read_book(formulas_of_xlsxwriter("=2+3", value=5), **IGNORING).order.cargo_net_quantity == 5


@pytest.mark.parametrize("value", [0, 4.35, ""])
def test_a_formula_in_a_column_that_is_not_read_is_no_fault(value: Any) -> None:
    """It cannot make a wrong order, and a draft of a map does not leave its row out."""
    data = formulas_of_xlsxwriter("=2+3", "Profit", value=value)
    assert read_book(data, **IGNORING).order == good_order(tracking_id="T-1")
    draft = draft_map(WorkbookGrid(Digested(io.BytesIO(data)), "xlsx", None), Dialect())
    assert draft.unknown["Profit"] == ("empty in the first rows" if value == "" else f"such as {value}")


def test_a_reader_of_all_columns_sees_the_rule_of_a_formula() -> None:
    """As that of result files does, so that no 0 is a value for it."""
    stream = Digested(io.BytesIO(formulas_of_xlsxwriter("=2+3")))
    _, record = WorkbookGrid(stream, "xlsx", None).records(lambda *_: None)
    place = HEADER.index("cargo_net_quantity")
    assert record.cells[place] == "0"
    assert record.with_rules[place].startswith(NOT_COMPUTED)
    assert record.with_rules[:place] == record.cells[:place]


def test_a_formula_without_a_value_below_the_rows_of_a_column_that_is_not_read_is_no_row() -> None:
    """Sheets often have formulas down to some row. In a column that is read, it is a fault."""
    data = xlsx_bytes([PROFIT, row_of(), [*[None] * len(HEADER), "=A1+1"]])
    assert read_book(data, **IGNORING).order == good_order()
    assert read_book(data, file_map=read_map(b'[columns]\nProfit = "total_item_weight"', "m.toml")).places[0][0] == 3


def test_a_header_without_a_value_is_a_fault() -> None:
    """Nobody knows which column it is."""
    data = xlsx_bytes([[*HEADER, '="Pro"&"fit"'], [*row_of(), "x"]])
    (fault,) = read_book(data, file_map=read_map(b'ignore = ["*"]', "m.toml")).faults
    assert "the header is a formula whose value was not saved" in fault


@pytest.mark.parametrize(("name", "lines"), [("cargo_net_quantity", [2, 3]), ("Profit", [])])
def test_a_formula_that_fills_several_cells_is_a_fault_of_each(name: str, lines: list[int]) -> None:
    """Only the first one contains it."""
    outcome = read_book(formulas_of_xlsxwriter("{=A1:A2}", name, rows=2), **IGNORING)
    assert outcome.places == [(line, name) for line in lines]
    assert all(NOT_COMPUTED in fault for fault in outcome.faults)
    assert len(outcome.rows) == 2 - len(lines)


def test_a_formula_that_fills_a_whole_sheet_refuses_the_workbook() -> None:
    """Its cells are too many to note."""

    def write(text: str) -> str:
        return re.sub(r'ref="[A-Z]+2"', 'ref="A2:XFD1048576"', text)

    data = rewritten(formulas_of_xlsxwriter("{=A1}", "Profit"), "xl/worksheets/", write)
    assert "at unknown positions" in read_book(data, **IGNORING).faults[0]
