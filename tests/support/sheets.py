"""Tables as files of every format, written as other programs write them."""

import csv
import datetime as dt
import gzip
import io
import zipfile
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import duckdb
import openpyxl
import xlwt
from openpyxl.utils.datetime import CALENDAR_MAC_1904

Rows = Sequence[Sequence[Any]]
"""The header, and the rows below it."""


def csv_bytes(
    rows: Rows,
    *,
    delimiter: str = ",",
    encoding: str = "utf-8",
    end: str = "\r\n",
    quoting: Any = csv.QUOTE_MINIMAL,
    above: str = "",
    packed: bool = False,
) -> bytes:
    """A CSV, with lines above its header."""
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting).writerows(rows)
    data = (above + text.getvalue()).encode(encoding)
    return gzip.compress(data) if packed else data


def xlsx_bytes(
    rows: Rows,
    *,
    sheet: str = "Orders",
    first: tuple[int, int] = (1, 1),
    formats: Mapping[int, str] | None = None,
    merged: Sequence[str] = (),
    from_1904: bool = False,
) -> bytes:
    """A workbook of Excel; ``first`` is where the header starts, ``formats`` those of columns, from 0.

    Args:
        merged: ranges of merged cells, such as A1:C1.
        from_1904: whether its days are counted from 1904, as an old Excel of a Macintosh does.
    """
    book = openpyxl.Workbook()
    if from_1904:
        book.epoch = CALENDAR_MAC_1904
    page: Any = book.active
    page.title = sheet
    for down, row in enumerate(rows):
        for right, value in enumerate(row):
            if value is None:
                continue
            cell = page.cell(first[0] + down, first[1] + right, value)
            if down and formats and right in formats:
                cell.number_format = formats[right]
    for cells in merged:
        page.merge_cells(cells)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def xls_bytes(rows: Rows, *, sheet: str = "Orders") -> bytes:
    """A workbook of an old Excel."""
    book = xlwt.Workbook()
    page = book.add_sheet(sheet)
    day, moment = xlwt.easyxf(num_format_str="yyyy-mm-dd"), xlwt.easyxf(num_format_str="yyyy-mm-dd hh:mm:ss")
    for down, row in enumerate(rows):
        for right, value in enumerate(row):
            if value is None:
                continue
            if isinstance(value, dt.datetime):
                page.write(down, right, value, moment)
            elif isinstance(value, dt.date):
                page.write(down, right, value, day)
            else:
                page.write(down, right, value)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


_ODS_SPACES = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "table", "text")
)
_ODS_TYPE = "application/vnd.oasis.opendocument.spreadsheet"


def ods_bytes(rows: Rows, *, sheet: str = "Orders", more: str = "") -> bytes:
    """A workbook of LibreOffice, with the empty rows and columns that it writes; ``more`` are cells of a last row."""
    body = "".join(f"<table:table-row>{''.join(map(_ods_cell, row))}{_ods_rest(row)}</table:table-row>" for row in rows)
    if more:
        body += f"<table:table-row>{more}</table:table-row>"
    content = (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document-content {_ODS_SPACES} xmlns:calcext="urn:calcext" '
        f'office:version="1.3"><office:body><office:spreadsheet><table:table table:name="{escape(sheet)}">'
        f'<table:table-column table:number-columns-repeated="16384"/>{body}'
        f'<table:table-row table:number-rows-repeated="1048000">{_ods_rest(())}</table:table-row>'
        "</table:table></office:spreadsheet></office:body></office:document-content>"
    )
    manifest = (
        '<?xml version="1.0"?><manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0">'
        f'<manifest:file-entry manifest:full-path="/" manifest:media-type="{_ODS_TYPE}"/></manifest:manifest>'
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as parts:
        parts.writestr("mimetype", _ODS_TYPE, zipfile.ZIP_STORED)
        parts.writestr("META-INF/manifest.xml", manifest)
        parts.writestr("content.xml", content)
    return file.getvalue()


def _ods_rest(row: Sequence[Any]) -> str:
    return f'<table:table-cell table:number-columns-repeated="{16384 - len(row)}"/>'


def _ods_cell(value: Any) -> str:
    if value is None or value == "":
        return "<table:table-cell/>"
    if isinstance(value, bool):
        told = f'office:value-type="boolean" office:boolean-value="{str(value).lower()}"'
    elif isinstance(value, int | float | Decimal):
        told = f'office:value-type="float" office:value="{value}"'
    elif isinstance(value, dt.date):
        told = f'office:value-type="date" office:date-value="{value.isoformat()}"'
    elif isinstance(value, dt.time):
        told = f'office:value-type="time" office:time-value="PT{value:%HH%MM%SS}"'
    else:
        told = 'office:value-type="string"'
    lines = "".join(f"<text:p>{_ods_text(line)}</text:p>" for line in str(value).split("\n"))
    return f"<table:table-cell {told}>{lines}</table:table-cell>"


def _ods_text(line: str) -> str:
    """Text in which the second and further spaces, and tabs, are elements of their own."""
    return escape(line).replace("  ", ' <text:s text:c="1"/>').replace("\t", "<text:tab/>")


_TYPES: dict[type, str] = {
    bool: "BOOLEAN",
    int: "BIGINT",
    float: "DOUBLE",
    Decimal: "DECIMAL(18,5)",
    dt.datetime: "TIMESTAMP",
    dt.date: "DATE",
    dt.time: "TIME",
}


def write_parquet(path: Path, rows: Rows, types: Mapping[str, str] | None = None) -> Path:
    """A Parquet file, each column of the type of its first value that is one; text where there is none.

    Args:
        types: the types of columns by their names, in the words of DuckDB.
    """
    header, *body = rows
    kinds = []
    for place in range(len(header)):
        value = next((row[place] for row in body if row[place] is not None), "")
        zoned = isinstance(value, dt.datetime) and value.tzinfo is not None
        kind = "TIMESTAMPTZ" if zoned else _TYPES.get(type(value), "VARCHAR")
        kinds.append((types or {}).get(str(header[place]), kind))
    with duckdb.connect(":memory:") as database:
        columns = ", ".join(f'"{name}" {kind}' for name, kind in zip(header, kinds, strict=True))
        database.execute(f"CREATE TABLE t ({columns})")
        if body:
            marks = ", ".join("?" * len(header))
            database.executemany(f"INSERT INTO t VALUES ({marks})", [list(row) for row in body])  # noqa: S608
        database.execute(f"COPY t TO '{path}' (FORMAT parquet)")
    return path
