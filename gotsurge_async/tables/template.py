"""An empty table to fill in: a CSV, or a workbook with drop-downs and a sheet that explains every column."""

from collections.abc import Sequence
from typing import IO, Any

from gotsurge_async.tables import Form
from gotsurge_async.tables.columns import ColumnInfo
from gotsurge_async.tables.writing import rows_of, workbook

ORDERS_SHEET = "Orders"
"""The sheet to fill in; an items table calls it Items."""
EXPLAINS = "Columns"
"""The sheet that explains."""

_ROWS = 5_000
"""The number of rows below the header that have drop-downs and formats."""
_RANGES = {
    "vessel_imo": ("integer", 1_000_000, 9_999_999),
    "latitude": ("decimal", -90, 90),
    "longitude": ("decimal", -180, 180),
}
"""The range of numbers in a column, by the end of its name."""
_HEADINGS = ("column", "section", "required", "how it is written", "example", "meaning")
_NOTES = (
    "Fill in the first sheet, an order a row. Columns that you do not need may stay empty, or go.",
    "Dark headings are required in every row.",
    "A time may be a date and time of the spreadsheet: push the file with --timezone Asia/Singapore.",
    "Of an address give a street, a building, a postal code, or latitude and longitude.",
)


def write_csv(file: IO[bytes], columns: Sequence[ColumnInfo], *, example: bool) -> None:
    """Write a header, and a row of examples if ``example``; with the mark by which Excel recognizes UTF-8."""
    rows = [[column.name for column in columns], [column.example for column in columns]]
    rows_of(Form(bom=True), file).put(rows if example else rows[:1])


def write_workbook(file: IO[bytes], columns: Sequence[ColumnInfo], *, example: bool, sheet: str = ORDERS_SHEET) -> None:
    """Write a workbook; raises ConfigError if its library is missing."""
    with workbook(file, in_memory=True) as book:
        _to_fill_in(book, book.add_worksheet(sheet), columns, example)
        _explanation(book, book.add_worksheet(EXPLAINS), columns)


def _to_fill_in(book: Any, sheet: Any, columns: Sequence[ColumnInfo], example: bool) -> None:
    required = book.add_format({"bold": True, "bg_color": "#1F3A5F", "font_color": "#FFFFFF", "text_wrap": True})
    other = book.add_format({"bold": True, "bg_color": "#D9E2EC", "text_wrap": True})
    text = book.add_format({"num_format": "@"})
    formats = {"time": book.add_format({"num_format": "yyyy-mm-dd hh:mm"}), "decimal": book.add_format()}
    formats["decimal"].set_num_format("0.00###")
    sheet.freeze_panes(1, 0)
    for place, column in enumerate(columns):
        # Text stays as it is typed: a spreadsheet drops the + of a phone number, and the zeros in front of a code.
        form = text if column.type in ("text", "one of") else formats.get(column.type)
        sheet.set_column(place, place, max(14, min(30, len(column.name) + 2)), form)
        sheet.write_string(0, place, column.name, required if column.required == "yes" else other)
        sheet.write_comment(0, place, "\n".join(filter(None, (column.meaning, how_written(column)))), {"x_scale": 2})
        if (rule := _validation(column)) is not None:
            sheet.data_validation(1, place, _ROWS, place, rule)
        if example and column.example:
            sheet.write_string(1, place, column.example, text)
    sheet.set_row(0, 32)


def _validation(column: ColumnInfo) -> dict[str, Any] | None:
    """The rule for the cells of a column, if a spreadsheet can have one."""
    wrong = {"error_title": column.name, "error_message": f"{column.meaning} {how_written(column)}"[:255]}
    if column.allowed:
        return {**wrong, "validate": "list", "source": list(column.allowed)}
    for ending, (kind, least, most) in _RANGES.items():
        if column.name.endswith(ending):
            return {**wrong, "validate": kind, "criteria": "between", "minimum": least, "maximum": most}
    if column.type == "decimal" or column.name == "cargo_net_quantity":
        return {**wrong, "validate": "decimal", "criteria": ">=", "value": 0}
    return None


def how_written(column: ColumnInfo) -> str:
    """The form of a cell of a column, in a few words."""
    if column.allowed:
        return f"one of {', '.join(column.allowed)}"
    return f"{column.type}: {column.unit}" if column.unit else column.type


def _explanation(book: Any, sheet: Any, columns: Sequence[ColumnInfo]) -> None:
    bold, wrap = book.add_format({"bold": True}), book.add_format({"text_wrap": True, "valign": "top"})
    for row, note in enumerate(_NOTES):
        sheet.write_string(row, 0, note)
    head = len(_NOTES) + 1
    for place, heading in enumerate(_HEADINGS):
        sheet.write_string(head, place, heading, bold)
    for row, column in enumerate(columns, start=head + 1):
        cells = (column.name, column.section, column.required, how_written(column), column.example, column.meaning)
        for place, cell in enumerate(cells):
            sheet.write_string(row, place, cell, wrap)
    for place, width in enumerate((36, 10, 14, 44, 28, 60)):
        sheet.set_column(place, place, width)
