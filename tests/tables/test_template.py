"""Empty tables to fill in."""

import io
import sys

import openpyxl
import pytest

from gotsurge_async.errors import ConfigError
from gotsurge_async.tables.columns import item_columns, order_columns
from gotsurge_async.tables.template import EXPLAINS, ORDERS_SHEET, write_csv, write_workbook
from tests.tables.kit import read


def test_a_csv_is_a_header_that_excel_reads() -> None:
    """It has the mark of UTF-8 and no row, or one of examples that can be pushed."""
    file = io.BytesIO()
    write_csv(file, order_columns(), example=False)
    assert file.getvalue().startswith(b"\xef\xbb\xbftracking_id,")
    assert file.getvalue().count(b"\r\n") == 1
    file = io.BytesIO()
    write_csv(file, order_columns(), example=True)
    assert len(read(file.getvalue()).rows) == 1


def test_a_workbook_offers_what_is_allowed_and_explains() -> None:
    """Enumerations have drop-downs, text stays text, required headings stand out, and every column is explained."""
    file = io.BytesIO()
    columns = order_columns()
    write_workbook(file, columns, example=False)
    book = openpyxl.load_workbook(file)
    assert book.sheetnames == [ORDERS_SHEET, EXPLAINS]
    sheet, explained = book[ORDERS_SHEET], book[EXPLAINS]
    heads = {cell.value: cell for cell in sheet[1]}
    assert list(heads) == [column.name for column in columns]
    assert sheet.max_row == 1
    offered = {str(rule.sqref): rule.formula1 for rule in sheet.data_validations.dataValidation if rule.type == "list"}
    for name, values in (("broadcast_preference", "marine,squad,all"), ("service_type", "ftl,ltl")):
        letter = heads[name].column_letter
        assert offered[f"{letter}2:{letter}5001"] == f'"{values}"'
    assert len(offered) == 3
    assert sheet.column_dimensions[heads["from_contact.phone"].column_letter].number_format == "@"
    assert sheet.column_dimensions[heads["price"].column_letter].number_format == "0.00###"
    fills = {heads[name].fill.fgColor.rgb for name in ("tracking_id", "service_type")}
    assert len(fills) == 1
    assert heads["invoice_number"].fill.fgColor.rgb not in fills
    assert "E.164" in heads["to_contact.phone"].comment.text
    rows = {row[0]: row for row in explained.iter_rows(values_only=True)}
    assert all(rows[column.name][5] == column.meaning for column in columns)


def test_a_filled_in_workbook_is_read() -> None:
    """What the examples of a workbook say can be pushed."""
    file = io.BytesIO()
    write_workbook(file, order_columns(), example=True)
    found = read(file.getvalue(), name="orders.xlsx")
    assert found.faults == []
    assert found.order.tracking_id == "CALL-7-ROPE"
    file = io.BytesIO()
    write_workbook(file, item_columns(), example=True, sheet="Items")
    assert openpyxl.load_workbook(file).sheetnames == ["Items", EXPLAINS]


def test_without_the_library_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is reported with the command that brings it."""
    monkeypatch.setitem(sys.modules, "xlsxwriter", None)
    with pytest.raises(ConfigError, match=r'pip install "gotsurge-async\[excel\]"'):
        write_workbook(io.BytesIO(), order_columns(), example=False)
