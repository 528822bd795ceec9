"""Workbooks: cells as they are, at their place, in every kind of file."""

import datetime as dt
import io
import re
import sys
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
import xlsxwriter

from gotsurge_async.errors import ConfigError
from gotsurge_async.tables import ColumnMap, FileMap
from gotsurge_async.tables.formats import workbook
from gotsurge_async.tables.options import read_map
from gotsurge_async.tables.source import SHORTENED
from tests.support.order_forms import CELLS, good_order
from tests.support.sheets import ods_bytes, xls_bytes, xlsx_bytes
from tests.tables.kit import Read, read

MAKE: dict[str, Callable[..., bytes]] = {"xlsx": xlsx_bytes, "xls": xls_bytes, "ods": ods_bytes}
HEADER = list(CELLS)
TYPED: dict[str, Any] = {
    "price": 48.5,
    "from_address.latitude": 1.3697,
    "from_address.longitude": 103.9707,
    "from_time_window.start_time_utc": dt.datetime(2030, 3, 5, 9),  # noqa: DTZ001 - cells have no zone
    "from_time_window.end_time_utc": dt.datetime(2030, 3, 5, 11),  # noqa: DTZ001
    "to_contact.vessel_imo": 9074729,
    "cargo_net_quantity": 4,
}


def row_of(**changes: Any) -> list[Any]:
    """The good order as cells that have types, with some changed; dots are written as two underscores."""
    cells = {**CELLS, **TYPED, **{name.replace("__", "."): value for name, value in changes.items()}}
    return [cells.get(name) for name in HEADER]


def read_book(data: bytes, format_: str = "xlsx", **options: Any) -> Read:
    """Read a workbook whose times are those of Singapore."""
    return read(data, name=f"orders.{format_}", **{"timezone": "Asia/Singapore", **options})


@pytest.mark.parametrize("format_", MAKE)
def test_cells_are_read_as_they_are(format_: str) -> None:
    """Numbers, dates and texts of each kind of workbook give the same order as a CSV, and the source has its form."""
    outcome = read_book(MAKE[format_]([HEADER, row_of()]), format_)
    assert outcome.order == good_order()
    assert outcome.rows[0].line == 2
    assert (outcome.form.format, outcome.form.sheet) == (format_, "Orders")


@pytest.mark.parametrize("sample", ["1.234,56", "1,234.56", "1 234,56"])
@pytest.mark.parametrize("missing", ["nothing", "the library", "room"])
def test_a_number_is_never_read_again_as_another(sample: str, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A map that reads the text 1.234 as 1234 refuses a table with types whose result files could only be text."""
    if missing == "the library":
        monkeypatch.setattr("gotsurge_async.tables.formats.lines.find_spec", lambda name: None)
    if missing == "room":
        for module in ("formats.lines", "table_source"):
            monkeypatch.setattr(f"gotsurge_async.tables.{module}.MOST_ROWS", 1)
    numbers = FileMap(orders=ColumnMap(numbers={"*": sample}))
    outcome = read_book(xlsx_bytes([HEADER, row_of()]), file_map=numbers)
    if missing == "nothing" or sample != "1.234,56":
        assert outcome.order == good_order()
    else:
        (fault,) = outcome.report.faults
        assert fault.rule.startswith(
            "the result files would" if missing == "the library" else "the result files are too large"
        )
        assert outcome.report.whole


@pytest.mark.parametrize("format_", MAKE)
def test_faults_stand_in_the_row_of_the_sheet(format_: str) -> None:
    """Empty rows count, as people count them."""
    rows = [HEADER, row_of(), [None] * len(HEADER), row_of(tracking_id="B", price="x")]
    outcome = read_book(MAKE[format_](rows), format_)
    assert outcome.places == [(4, "price")]
    (fault,) = outcome.report.faults
    assert (fault.field, fault.value) == ("price", "x")


def test_a_table_that_starts_somewhere_else() -> None:
    """Rows above, and columns to the left, change no place."""
    outcome = read_book(xlsx_bytes([HEADER, row_of(price="x")], first=(5, 3)))
    assert outcome.places == [(6, "price")]


def test_numbers_are_what_a_spreadsheet_shows() -> None:
    """The rounding of a computer is not an amount that is too fine."""
    outcome = read_book(xlsx_bytes([HEADER, row_of(price=0.1 + 48.2 + 0.2)]))
    assert outcome.order.price is not None
    assert str(outcome.order.price) == "SGD 48.50"


@pytest.mark.parametrize("number", [10**15, 1234567890123456, 12345678901234567])
@pytest.mark.parametrize("format_", MAKE)
def test_a_number_that_lost_digits_is_no_key(format_: str, number: int) -> None:
    """A spreadsheet keeps fifteen digits. An invoice number finds an order's task, so its digits matter, too."""
    outcome = read_book(MAKE[format_]([HEADER, row_of(tracking_id=number)]), format_)
    assert outcome.places == [(2, "tracking_id")]
    assert outcome.report.faults[0].rule == SHORTENED
    outcome = read_book(MAKE[format_]([HEADER, row_of(invoice_number=number)]), format_)
    assert outcome.places == [(2, "invoice_number")]
    last = read_book(MAKE[format_]([HEADER, row_of(tracking_id=10**15 - 1)]), format_)
    assert last.order.tracking_id == "999999999999999"


def test_a_date_alone_is_no_time() -> None:
    """It is a fault, unless a map says which time of day it means."""
    day = dt.date(2030, 3, 5)
    data = xlsx_bytes([HEADER, row_of(from_time_window__start_time_utc=day)])
    assert read_book(data).places == [(2, "from_time_window.start_time_utc")]
    file_map = read_map(b'[dates]\n"*" = { like = "31/12/2030", time = "09:00" }\n', "m")
    assert read_book(data, file_map=file_map).order == good_order()


def test_an_error_of_the_spreadsheet_is_a_fault() -> None:
    """In each format that tells of it, and never an empty cell."""
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file)
    page = book.add_worksheet("Orders")
    for number, row in enumerate([HEADER, row_of(), row_of(tracking_id="B")]):
        for place, value in enumerate(row):
            if value is not None and not isinstance(value, dt.date):
                page.write(number, place, value)
    page.write_formula(2, HEADER.index("price"), "=1/0", None, "#DIV/0!")
    book.close()
    outcome = read_book(file.getvalue(), file_map=FileMap(orders=ColumnMap(ignore=frozenset())))
    assert (3, "price") in outcome.places
    assert any("is an error of the spreadsheet" in fault for fault in outcome.faults)
    error = '<table:table-cell office:value-type="string" office:string-value="" calcext:value-type="error"/>'
    assert "shows an error" in read_book(ods_bytes([HEADER, row_of()], more=error), "ods").faults[0]


def test_a_formula_without_a_value_is_a_fault() -> None:
    """A program that only wrote the formula does not know what it gives."""
    outcome = read_book(xlsx_bytes([HEADER, row_of(price="=48+0.5")]))
    assert outcome.places == [(2, "price")]
    assert "whose value was not saved" in outcome.faults[0]


def rewritten(data: bytes, name: str, change: Callable[[str], str]) -> bytes:
    """A workbook with one part written in another way."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w") as new:
        for part in old.namelist():
            new.writestr(part, change(old.read(part).decode()) if part.startswith(name) else old.read(part))
    return file.getvalue()


@pytest.mark.parametrize(
    "cell", ["<c{r} t='e'><v>#N/A</v></c>", "<c{r}><f>A1</f></c>", '<c{r}><f t="shared" si="0"/></c>']
)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<c r", "<c r"),
        (r"<(/?)(?=[a-z])", r"<\1x:"),
        (r"<c( r=\S+?)([ />])", r'<c s="0"\1\2'),
        (r'="([^"]*)"', r"='\1'"),
        (" r=", "\n r = "),
    ],
)
def test_broken_cells_are_seen_in_the_words_of_any_program(cell: str, old: str, new: str) -> None:
    """An error, or a formula without a value, is never an empty cell, however the workbook is written."""
    place = HEADER.index("to_address.zip_code")

    def write(text: str) -> str:
        column = xlsxwriter.utility.xl_col_to_name(place)
        text = re.sub(rf'<c( r="{column}2")[^>]*>.*?</c>', lambda match: cell.format(r=match[1]), text)
        return re.sub(old, new, text).replace("xmlns=", "xmlns:x=" if "x:" in new else "xmlns=")

    outcome = read_book(rewritten(xlsx_bytes([HEADER, row_of(to_address__zip_code="018956")]), "xl/worksheets/", write))
    assert outcome.places == [(2, "to_address.zip_code")]


@pytest.mark.parametrize("cell", ["<c{r} t='e'><v>#N/A</v></c>", "<c{r}><f>A1</f></c>"], ids=["error", "formula"])
@pytest.mark.parametrize("line", [3, 4], ids=["between others", "the last one"])
def test_a_row_of_nothing_but_broken_cells_is_a_fault(cell: str, line: int) -> None:
    """It is an order that a person wrote, and not an empty row."""

    def write(text: str) -> str:
        return re.sub(rf'<c( r="[A-Z]+{line}")[^>]*>.*?</c>', lambda match: cell.format(r=match[1]), text)

    rows = [HEADER, *(row_of(tracking_id=key) for key in "ABC")]
    outcome = read_book(rewritten(xlsx_bytes(rows), "xl/worksheets/", write))
    assert [row.key for row in outcome.rows] == [key for key in "ABC" if ord(key) - ord("A") + 2 != line]
    assert {at for at, _ in outcome.places} == {line}


def test_a_style_that_is_no_number_is_ignored() -> None:
    """The cell keeps its value, or the workbook is damaged; nothing else happens."""

    def write(text: str) -> str:
        column = xlsxwriter.utility.xl_col_to_name(HEADER.index("to_address.zip_code"))
        return re.sub(rf'<c( r="{column}2")[^>]*>.*?</c>', r'<c\1 s="x"><f>A1</f><v>5</v></c>', text)

    result = read_book(rewritten(xlsx_bytes([HEADER, row_of(to_address__zip_code="018956")]), "xl/worksheets/", write))
    assert result.rows or result.faults


def test_broken_cells_without_a_place_refuse_the_workbook() -> None:
    """Nobody could say which they are."""

    def write(text: str) -> str:
        return re.sub(r'<c r="[A-Z]+[0-9]+"', "<c", text.replace("</row>", '<c t="e"><v>#N/A</v></c></row>'))

    data = rewritten(xlsx_bytes([HEADER, row_of()]), "xl/worksheets/", write)
    assert "at unknown positions" in read_book(data).faults[0]


def test_a_strict_workbook_has_marks_too() -> None:
    """Its parts are named in other namespaces."""

    def strict(text: str) -> str:
        text = text.replace(
            "http://schemas.openxmlformats.org/spreadsheetml/2006", "http://purl.oclc.org/ooxml/spreadsheetml"
        )
        return text.replace(
            "http://schemas.openxmlformats.org/officeDocument/2006/relationships",
            "http://purl.oclc.org/ooxml/officeDocument/relationships",
        )

    place = HEADER.index("to_address.zip_code")
    data = xlsx_bytes([HEADER, row_of(to_address__zip_code=18956)], formats={place: "000000"})
    assert read_book(rewritten(data, "xl/", strict)).rows[0].order.to_address.zip_code == "018956"


def test_merged_cells_are_faults() -> None:
    """A cell shows the value of the one above it, and would be sent without one; merged empty cells say nothing."""
    import openpyxl

    place = HEADER.index("to_address.zip_code") + 1
    rows = [HEADER, row_of(), row_of(tracking_id="B"), row_of(tracking_id="C")]
    book = openpyxl.load_workbook(io.BytesIO(xlsx_bytes(rows)))
    page = book["Orders"]
    page.cell(2, place).value = "018956"
    page.merge_cells(start_row=2, end_row=3, start_column=place, end_column=place)
    page.merge_cells(start_row=2, end_row=4, start_column=len(HEADER) + 1, end_column=len(HEADER) + 1)
    file = io.BytesIO()
    book.save(file)
    outcome = read_book(file.getvalue())
    assert outcome.places == [(3, "to_address.zip_code")]
    assert "is merged with the cell above" in outcome.faults[0]


@pytest.mark.parametrize(
    "hidden", ["", 'office:value-type="string"><text:p>619110</text:p></table:covered-table-cell>']
)
def test_merged_cells_of_libreoffice_are_faults(hidden: str) -> None:
    """In their own sheet, and with the repeated rows and cells before them counted; also if they hide a value."""

    def write(text: str) -> str:
        cell = '<table:table-cell office:value-type="string"><text:p>{}</text:p></table:table-cell>'
        covered = f"<table:covered-table-cell {hidden or '/>'}"
        text = text.replace(cell.format("below"), covered)
        text = text.replace(
            cell.format("018956"), cell.format("018956").replace(" ", ' table:number-rows-spanned="2" ', 1)
        )
        text = text.replace("</table:table-row>", f"</table:table-row>{empty}", 1)
        other = '<table:table table:name="Other"><table:table-row><table:table-cell table:number-rows-spanned="3"/>'
        return text.replace("<office:spreadsheet>", f"<office:spreadsheet>{other}</table:table-row></table:table>")

    empty = '<table:table-row table:number-rows-repeated="2"><table:table-cell/></table:table-row>'
    rows = [row_of(to_address__zip_code="018956"), row_of(tracking_id="B", to_address__zip_code="below")]
    data = rewritten(ods_bytes([HEADER, *rows, row_of(tracking_id="C")]), "content.xml", write)
    outcome = read_book(data, "ods", sheet="Orders")
    assert outcome.places == [(5, "to_address.zip_code")]
    assert "is merged with the cell above" in outcome.faults[0]
    assert [row.key for row in outcome.rows] == ["SHS-1", "C"]


def test_a_cell_far_from_the_table_is_reported_before_all_between_is_held() -> None:
    """One stray cell in the last corner would need half a terabyte."""
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file)
    page = book.add_worksheet("Orders")
    page.write(0, 0, "tracking_id")
    page.write(1_048_575, 16_383, "x")
    book.close()
    (fault,) = read_book(file.getvalue()).faults
    assert "1,048,576 rows and 16,384 columns" in fault


class TestSheets:
    """Which sheet is read."""

    def two(self, first_state: str = "visible") -> bytes:
        import openpyxl

        book = openpyxl.load_workbook(io.BytesIO(xlsx_bytes([["Read me first"]], sheet="Notes")))
        book["Notes"].sheet_state = first_state
        page = book.create_sheet("Orders")
        for row in ([*HEADER], row_of()):
            page.append(row)
        file = io.BytesIO()
        book.save(file)
        return file.getvalue()

    def test_the_first_one_that_is_visible(self) -> None:
        """And where that is no table, the others are named."""
        assert read_book(self.two("hidden")).order == good_order()
        assert (
            'the sheet "Notes" was read; the workbook has Notes, Orders: --sheet chooses another'
            in read_book(self.two()).faults[-1]
        )

    def test_hidden_ones_are_named(self) -> None:
        """Those before the one that is read, and one that is read because it was named; else nothing is said."""
        assert self.warnings(read_book(self.two("hidden"))) == [
            'the sheet "Orders" is read because it is the first visible one; these are hidden, and not read: Notes'
        ]
        hidden = read_book(self.two("veryHidden"), sheet="Notes")
        assert self.warnings(hidden) == []  # it is no table, and has a fault
        assert self.warnings(read_book(self.two(), sheet="Orders")) == []

    def warnings(self, outcome: Read) -> list[str]:
        return [warning.rule for warning in outcome.report.warnings]

    @pytest.mark.parametrize("filtered", [False, True])
    def test_rows_that_nobody_sees_are_read_and_counted(self, filtered: bool) -> None:
        """Hidden by hand or by a filter; those that are empty do not count."""
        import openpyxl

        rows = [HEADER, *(row_of(tracking_id=key) for key in "ABCD")]
        book, file = openpyxl.load_workbook(io.BytesIO(xlsx_bytes(rows))), io.BytesIO()
        if filtered:
            book["Orders"].auto_filter.ref = "A1:C5"
        for line in (3, 5, 9):
            book["Orders"].row_dimensions[line].hidden = True
        book.save(file)
        outcome = read_book(file.getvalue())
        assert len(outcome.rows) == 4
        assert any(rule.startswith("the sheet hides 2 rows (the first: row 3)") for rule in self.warnings(outcome))

    def test_the_one_that_is_named(self) -> None:
        """Or a fault that says which there are."""
        assert read_book(self.two(), sheet="Orders").order == good_order()
        (fault,) = read_book(self.two(), sheet="Order").faults
        assert fault == 'orders.xlsx: has no sheet "Order"; did you mean "Orders"?; it has Notes, Orders'


def test_a_title_above_the_header() -> None:
    """It is recognized, and skipped with --header-row."""
    rows = [["Orders of March"], [], HEADER, row_of()]
    data = xlsx_bytes(rows)
    assert read_book(data).faults == [
        "orders.xlsx:1: this is not the header; line 3 looks like the header: pass --header-row 3"
    ]
    assert read_book(data, header_row=3).order == good_order()
    assert "--header-row makes this line the header" in read_book(data, header_row=2).faults[0]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a workbook"),
        (b"PK\x03\x04" + b"x" * 100, "damaged"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "damaged, or not a workbook"),
        (b"tracking_id,price\n", "not a workbook"),
        (xlsx_bytes([HEADER, row_of()])[:-400], "damaged"),
    ],
)
def test_what_is_no_workbook_is_one_fault(data: bytes, words: str) -> None:
    """No other error comes out."""
    (fault,) = read_book(data).faults
    assert words in fault


def test_one_that_a_password_locks() -> None:
    """What spreadsheets write of it is a container of another kind, with the name of what is in it."""
    name = "EncryptedPackage".encode("utf-16-le")
    data = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 3000 + name + b"\0" * 600
    assert read_book(data).faults == ["orders.xlsx: is protected by a password: save it without a password"]


def test_a_workbook_that_expands_too_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused before it is held."""
    monkeypatch.setattr(workbook, "MOST_UNPACKED", 10_000)
    (fault,) = read_book(xlsx_bytes([HEADER, row_of()])).faults
    assert "but the limit is 10,000: " in fault


def test_a_part_that_lies_about_its_size() -> None:
    """What zipfile does not read, nobody reads."""
    data = xlsx_bytes([HEADER, row_of()])
    with zipfile.ZipFile(io.BytesIO(data)) as parts:
        info = parts.getinfo("xl/worksheets/sheet1.xml")
    size = info.file_size.to_bytes(4, "little")
    (fault,) = read_book(data.replace(size, (10).to_bytes(4, "little"))).faults
    assert "damaged" in fault


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that brings it."""
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with pytest.raises(ConfigError, match=r'pip install "gotsurge-async\[excel\]"'):
        read_book(b"")
