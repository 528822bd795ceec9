"""The rows of a file with faults, in a file that can be mended and pushed."""

import csv
import io
import json
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openpyxl
import pytest
import xlsxwriter

from gotsurge_async.bulk import Ledger, Mode, SourceOptions, SourceReport, UnusableSource, open_source
from gotsurge_async.errors import ConfigError
from gotsurge_async.push.load import Loader
from gotsurge_async.tables.checks.fault_file import FaultFile
from tests.support.order_forms import CELLS, NOW
from tests.tables.kit import good_json, table

if TYPE_CHECKING:
    from gotsurge_async.tables.checks.faults import Fault, Original


def faulty_rows(content: str, tmp_path: Path, *, name: str = "orders.csv", **options: Any) -> list[dict[str, str]]:
    """The rows of the fault file of a file."""
    source_path, path = tmp_path / name, tmp_path / "faults.csv"
    source_path.write_bytes(content.encode())
    written = FaultFile(path)
    with open_source(
        str(source_path), options=SourceOptions(now=NOW, **options), report=SourceReport(kept=0, on_fault=written)
    ) as source:
        written.source = source
        list(source.rows())
        written.finish()
    written.close()
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    if name.endswith("jsonl"):
        return [json.loads(line) for line in text.splitlines()]
    return list(csv.DictReader(io.StringIO(text), delimiter=options.get("delimiter", ",")))


def test_each_faulty_row_stands_once_as_it_was_with_all_its_faults(tmp_path: Path) -> None:
    """Good rows are left out; several faults of one row stand in its gs_error, with line, column, rule and proposal."""
    bad = {"tracking_id": " SHS-2 ", "from_contact.phone": "+65 6941 1942", "price": "0.50"}
    rows = faulty_rows(table({}, bad, {"tracking_id": "SHS-3"}), tmp_path)
    (row,) = rows
    assert {name: row[name] for name in bad} == bad
    assert row["gs_status"] == "faulty"
    assert row["gs_error"].startswith("line 3: from_contact.phone: is not in E.164 format: ")
    assert 'did you mean "+6569411942"?; price: SGD 0.50 is below the lowest price' in row["gs_error"]
    assert stat.S_IMODE((tmp_path / "faults.csv").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["orders.csv", "orders.jsonl"])
def test_what_an_earlier_push_left_in_doubt_stays_so_in_the_file_of_faults(tmp_path: Path, name: str) -> None:
    """Pushed as it is, that is refused, also where no ledger knows that the order may exist."""
    feedback = {"gs_task_id": "", "gs_status": "in_doubt", "gs_error": "no answer"}
    line = json.dumps({**good_json(), **feedback}) + "\n"
    (row,) = faulty_rows(line if name.endswith("jsonl") else table(feedback), tmp_path, name=name)
    assert (row["gs_status"], "this order may already exist" in row["gs_error"]) == ("in_doubt", True)


def test_a_file_of_another_push_is_not_replaced(tmp_path: Path) -> None:
    """It may have come since the name was tried, and its rows are nowhere else."""
    path = tmp_path / "faults.csv"
    written = FaultFile(path)
    with open_source(
        io.BytesIO(table({"price": "0.5"}).encode()),
        options=SourceOptions(now=NOW),
        report=SourceReport(on_fault=written),
    ) as source:
        written.source = source
        list(source.rows())
        path.write_text("of another push")
        with pytest.raises(ConfigError, match=r"cannot write .*faults.csv: File exists"):
            written.finish()
    written.close()
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"faults.csv": "of another push"}


def test_a_file_without_faulty_rows_leaves_nothing(tmp_path: Path) -> None:
    """Nothing is written for a good file, nor for one with a wrong header alone."""
    assert faulty_rows(table({}), tmp_path) == []
    assert faulty_rows("tracking_id,tracking_id\nA,B\n", tmp_path) == []
    assert faulty_rows("", tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["orders.csv"]


def test_rows_of_another_width_are_kept_whole(tmp_path: Path) -> None:
    """A row that is short is filled up, and what stands beyond the last column is reported."""
    head, row = table({}).split("\n", 1)
    short, long = faulty_rows(f"{head}\nSHS-1,INV\n{row.strip()},Berth 12,Gate 3\n", tmp_path)
    assert (short["tracking_id"], short["invoice_number"], short["price"]) == ("SHS-1", "INV", "")
    assert long["tracking_id"] == "SHS-1"
    assert long["gs_error"].endswith("beyond the last column: Berth 12,Gate 3")


def test_a_row_whose_cells_do_not_show_its_fault_is_refused_until_somebody_mends_it(tmp_path: Path) -> None:
    """Cut to the width of its header it would look good, and be sent without what it lacks; again in the next file."""
    head, row = table({}).split("\n", 1)
    (cut,) = faulty_rows(f"{head}\n{row.strip()},Gate 3\n", tmp_path)
    assert cut["gs_status"] == "incomplete"
    again = (tmp_path / "faults.csv").read_text(encoding="utf-8")
    (tmp_path / "faults.csv").unlink()
    (still,) = faulty_rows(again, tmp_path)
    assert still["gs_status"] == "incomplete"
    assert still["gs_error"].startswith("line 2: gs_status: gs_error describes this row's fault")
    (tmp_path / "faults.csv").unlink()
    assert faulty_rows(again.replace(",incomplete,", ",,"), tmp_path) == []


def test_a_cell_of_a_workbook_that_has_no_value_is_not_sent_as_an_empty_one(tmp_path: Path) -> None:
    """An error such as #N/A is a fault that an empty cell in its place does not show."""
    book, file = openpyxl.Workbook(), io.BytesIO()
    for row in ([*CELLS, "delivery_note_to_driver"], list(CELLS.values())):
        book.active.append(row)
    cell = book.active.cell(2, len(CELLS) + 1)
    cell.value, cell.data_type = "#N/A", "e"
    book.save(file)
    written = FaultFile(tmp_path / "faults.csv")
    report = SourceReport(on_fault=written)
    file.seek(0)
    with open_source(file, options=SourceOptions(now=NOW, format="xlsx"), report=report, name="orders.xlsx") as source:
        written.source = source
        assert list(source.rows()) == []
        written.finish()
    written.close()
    (row,) = csv.DictReader(io.StringIO((tmp_path / "faults.csv").read_text(encoding="utf-8")))
    assert (row["delivery_note_to_driver"], row["gs_status"]) == ("", "incomplete")


def test_the_columns_of_an_earlier_push_are_not_doubled(tmp_path: Path) -> None:
    """A fault file that has faults still is written as its own source was."""
    content = table({"gs_task_id": "", "gs_status": "faulty", "gs_error": "line 9", "price": "0.5"}, {})
    (row,) = faulty_rows(content, tmp_path, delimiter=",")
    assert list(row)[-3:] == ["gs_task_id", "gs_status", "gs_error"]
    assert row["gs_error"].startswith("line 2: price: ")


def test_its_delimiter_is_that_of_the_source(tmp_path: Path) -> None:
    """A push with the same options reads it."""
    (row,) = faulty_rows(table({"price": "0,5"}, delimiter=";"), tmp_path, delimiter=";")
    assert row["price"] == "0,5"


def test_a_workbook_of_faults_is_written_where_its_name_says_so(tmp_path: Path) -> None:
    """Numbers stay numbers and text stays text, and it is read like the workbook that it is of."""
    book, file = openpyxl.Workbook(), io.BytesIO()
    for row in (list(CELLS), [48.5 if name == "price" else cell for name, cell in CELLS.items()]):
        book.active.append(row)
    book.active.cell(2, 1).value = "007"
    book.active.cell(2, list(CELLS).index("from_contact.phone") + 1).value = "6941 1942"
    book.save(file)
    written = FaultFile(tmp_path / "faults.xlsx")
    report = SourceReport(on_fault=written)
    with open_source(file, options=SourceOptions(now=NOW, format="xlsx"), report=report, name="orders.xlsx") as source:
        file.seek(0)
        written.source = source
        assert list(source.rows()) == []
        assert written.finish() == 1
    written.close()
    head, row = openpyxl.load_workbook(tmp_path / "faults.xlsx").active.iter_rows(values_only=True)
    found = dict(zip(head, row, strict=True))
    assert (found["tracking_id"], found["price"], found["gs_status"]) == ("007", 48.5, "faulty")
    assert found["gs_error"].startswith("line 2: from_contact.phone: has no country code")


def test_a_workbook_that_cannot_be_written_is_reported_as_any_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its library has an error of its own for a full disk."""

    close = xlsxwriter.Workbook.close

    def full(book: xlsxwriter.Workbook) -> None:
        close(book)
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            raise xlsxwriter.exceptions.FileCreateError(error) from None

    monkeypatch.setattr(xlsxwriter.Workbook, "close", full)
    written = FaultFile(tmp_path / "faults.xlsx")
    report = SourceReport(on_fault=written)
    file = io.BytesIO(table({"price": "0.5"}).encode())
    with open_source(file, options=SourceOptions(now=NOW), report=report) as source:
        written.source = source
        assert list(source.rows()) == []
        with pytest.raises(ConfigError, match=r"faults.xlsx: No space left on device"):
            written.finish()
    written.close()
    assert list(tmp_path.iterdir()) == []


def test_lines_of_json_stay_json(tmp_path: Path) -> None:
    """An order keeps its shape and gets gs_error; what is no JSON is kept as text."""
    content = "\n".join([json.dumps(good_json(price=5)), "{broken", json.dumps(good_json(tracking_id="B"))])
    low, broken = faulty_rows(content, tmp_path, name="orders.jsonl")
    assert low["price"] == 5
    assert low["gs_error"].startswith("line 1: price: ")
    assert broken["gs_row"] == "{broken"
    assert broken["gs_error"].startswith("line 2: is not one JSON object")


async def test_keys_that_stand_twice_come_with_their_rows(tmp_path: Path) -> None:
    """What is found only when all rows are in is reported with its row, too."""
    path = tmp_path / "orders.csv"
    path.write_text(table({}, {"tracking_id": "B", "invoice_number": "X"}, {"invoice_number": "TWICE"}))
    faults: list[tuple[Fault, Original | None]] = []
    report = SourceReport(on_fault=lambda fault, original: faults.append((fault, original)))
    async with await Ledger.open(tmp_path / "ledger.db") as ledger:
        with open_source(str(path), options=SourceOptions(now=NOW), report=report) as source:
            with pytest.raises(UnusableSource) as caught:
                await Loader(ledger, "sandbox", Mode.DIRECT).source(source)
            assert source.columns is not None
    ((fault, original),) = faults
    assert (fault.line, caught.value.count) == (4, 1)
    assert original is not None
    assert dict(zip(original.names, original.row, strict=True))["invoice_number"] == "TWICE"  # type: ignore[arg-type]
