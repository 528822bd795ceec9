"""Files with faults: their rows in a file that can be mended and pushed, and proposed values put in."""

import codecs
import csv
import io
import json
import stat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import openpyxl
import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st

from gotsurge_async.bulk import Ledger, Mode, SourceOptions, SourceReport, UnusableSource, open_source
from gotsurge_async.bulk.checks.faults import Fault, Original
from gotsurge_async.bulk.mend import FaultFile, Fixes, mend_table
from gotsurge_async.bulk.send.load import Loader
from gotsurge_async.bulk.sources import Form
from gotsurge_async.errors import ConfigError
from tests.bulk.sources.kit import good_json, table
from tests.support.order_forms import CELLS, NOW


def faulty_rows(content: str, tmp_path: Path, *, name: str = "orders.csv", **options: Any) -> list[dict[str, str]]:
    """The rows of the fault file of a file."""
    source_path, path = tmp_path / name, tmp_path / "faults.csv"
    source_path.write_bytes(content.encode())
    written = FaultFile(path)
    with open_source(
        str(source_path), options=SourceOptions(now=NOW, **options), report=SourceReport(kept=0, told=written)
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
    assert row["gs_error"].startswith("line 3: from_contact.phone: is not E.164: ")
    assert 'did you mean "+6569411942"?; price: SGD 0.50 is under the least price' in row["gs_error"]
    assert stat.S_IMODE((tmp_path / "faults.csv").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["orders.csv", "orders.jsonl"])
def test_what_an_earlier_push_left_in_doubt_stays_so_in_the_file_of_faults(tmp_path: Path, name: str) -> None:
    """Pushed as it is, that is refused, also where no ledger knows that the order may exist."""
    told = {"gs_task_id": "", "gs_status": "in_doubt", "gs_error": "no answer"}
    line = json.dumps({**good_json(), **told}) + "\n"
    (row,) = faulty_rows(line if name.endswith("jsonl") else table(told), tmp_path, name=name)
    assert (row["gs_status"], "this order may exist already" in row["gs_error"]) == ("in_doubt", True)


def test_a_file_of_another_push_is_not_replaced(tmp_path: Path) -> None:
    """It may have come since the name was tried, and its rows are nowhere else."""
    path = tmp_path / "faults.csv"
    written = FaultFile(path)
    with open_source(
        io.BytesIO(table({"price": "0.5"}).encode()), options=SourceOptions(now=NOW), report=SourceReport(told=written)
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
    """A row that is short is filled up, and what stands beyond the last column is told."""
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
    assert still["gs_error"].startswith("line 2: gs_status: what is wrong with this row is not seen")
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
    report = SourceReport(told=written)
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
    report = SourceReport(told=written)
    with open_source(file, options=SourceOptions(now=NOW, format="xlsx"), report=report, name="orders.xlsx") as source:
        file.seek(0)
        written.source = source
        assert list(source.rows()) == []
        assert written.finish() == 1
    written.close()
    head, row = openpyxl.load_workbook(tmp_path / "faults.xlsx").active.iter_rows(values_only=True)
    found = dict(zip(head, row, strict=True))
    assert (found["tracking_id"], found["price"], found["gs_status"]) == ("007", 48.5, "faulty")
    assert found["gs_error"].startswith("line 2: from_contact.phone: is not E.164")


def test_a_workbook_that_cannot_be_written_is_told_as_any_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    report = SourceReport(told=written)
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
    """What is found only when all rows are in is told with its row, too."""
    path = tmp_path / "orders.csv"
    path.write_text(table({}, {"tracking_id": "B", "invoice_number": "X"}, {"invoice_number": "TWICE"}))
    told: list[tuple[Fault, Original | None]] = []
    report = SourceReport(told=lambda fault, original: told.append((fault, original)))
    async with await Ledger.open(tmp_path / "ledger.db") as ledger:
        with open_source(str(path), options=SourceOptions(now=NOW), report=report) as source:
            with pytest.raises(UnusableSource) as caught:
                await Loader(ledger, "sandbox", Mode.DIRECT).source(source)
            assert source.columns is not None
    ((fault, original),) = told
    assert (fault.line, caught.value.count) == (4, 1)
    assert original is not None
    assert dict(zip(original.names, original.row, strict=True))["invoice_number"] == "TWICE"  # type: ignore[arg-type]


# --- values that are put in ------------------------------------------------------------------------------------------


def mended(path: Path, content: bytes, **options: Any) -> tuple[bytes, Path, Fixes]:
    """A file with what its faults propose, where it is kept as it was, and the values."""
    path.write_bytes(content)
    with Fixes(str(path)) as fixes:
        report = SourceReport(kept=0, told=fixes)
        with open_source(str(path), options=SourceOptions(now=NOW, **options), report=report) as source:
            list(source.rows())
        kept = mend_table(path, fixes, source.form)
        return path.read_bytes(), kept, fixes


WRAPPED = '="+65 6941 1942"'
PHONE = {"from_contact.phone": "+65 6941 1942"}


def test_only_what_is_proposed_changes(tmp_path: Path) -> None:
    """Byte order mark, line ends, quotes and blank lines stay; the file as it was is kept, and no file is replaced."""
    good = '"SHS-9","7 Loyang\nWay"'
    head, first, second = table(PHONE, {**PHONE, "tracking_id": "SHS-2", "price": '"48.50"'}).split("\n", 2)
    content = f"\ufeff{head}\r\n{first}\r\n\r\n{good}\r\n{second.strip()}".encode()
    path = tmp_path / "orders.csv"
    (tmp_path / "orders.csv.before-fix").write_text("older")
    text, kept, fixes = mended(path, content)
    assert text == content.replace(b"+65 6941 1942", b"+6569411942")
    assert kept == tmp_path / "orders.csv.before-fix1"
    assert kept.read_bytes() == content
    assert (fixes.count, [(fix.line, fix.new) for fix in fixes.first["from_contact.phone"][1]]) == (
        2,
        [(2, "+6569411942"), (6, "+6569411942")],
    )


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("cp1252", b""),
        ("big5", b""),
        ("utf-16-le", b""),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("utf-32-be", codecs.BOM_UTF32_BE),
    ],
)
def test_a_file_keeps_its_encoding(tmp_path: Path, encoding: str, mark: bytes) -> None:
    """And the order of its bytes, with a mark or without."""
    note = "船上交貨" if encoding == "big5" else "ä" if encoding == "cp1252" else "ä船"
    content = table(
        {**PHONE, "delivery_note_to_driver": note}, {**PHONE, "tracking_id": "SHS-2"}, delimiter=";", end="\r\n"
    )
    said = {} if mark else {"encoding": encoding}
    text, kept, _ = mended(tmp_path / "orders.csv", mark + content.encode(encoding), delimiter=";", **said)
    assert text == mark + content.replace("+65 6941 1942", "+6569411942").encode(encoding)
    assert kept.read_bytes() == mark + content.encode(encoding)


def test_a_file_that_could_not_be_written_as_it_was_is_left_alone(tmp_path: Path) -> None:
    """In some encodings one text can be written in several ways."""
    content = table(PHONE).encode("utf-7").replace(b"SHS-1", b"+AFM-HS-1", 1)
    with pytest.raises(ConfigError, match="could not be written as it was, in utf-7: nothing was changed"):
        mended(tmp_path / "orders.csv", content, encoding="utf-7")
    assert (tmp_path / "orders.csv").read_bytes() == content


def test_text_that_a_formula_keeps_is_mended(tmp_path: Path) -> None:
    """The formula goes, the text that it kept is mended."""
    head, row = table({"from_contact.phone": "PHONE"}).split("\n", 1)
    text, _, _ = mended(tmp_path / "orders.csv", f"{head}\n{row.replace('PHONE', WRAPPED)}".encode())
    assert text.decode() == f"{head}\n{row.replace('PHONE', '+6569411942')}"


def test_mended_files_keep_their_mode_and_their_links(tmp_path: Path) -> None:
    """Who might read the file still may, and a symbolic link stays one."""
    real, link = tmp_path / "real.csv", tmp_path / "orders.csv"
    real.write_text("")
    real.chmod(0o640)
    link.symlink_to(real)
    mended(link, table(PHONE).encode())
    assert link.is_symlink()
    assert b"+6569411942" in real.read_bytes()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


@pytest.mark.parametrize("change", ["SHS-1,", "\n\n", ""])
def test_a_file_that_has_changed_is_left_alone(tmp_path: Path, change: str) -> None:
    """What was found in other rows is put nowhere."""
    path = tmp_path / "orders.csv"
    path.write_text(table(PHONE))
    with Fixes(str(path)) as fixes:
        fixes(
            Fault(file=str(path), line=2, column="p", rule="r", proposal="x", place=99 if change == "SHS-1," else 0),
            Original([change or "SHS-7"] * 100, ["p"] * 100),
        )
        with pytest.raises(ConfigError, match=r"orders.csv:2: the file has changed"):
            mend_table(path, fixes, Form())
    assert path.read_text() == table(PHONE)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_with_rows_that_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    """A quote that is never closed must be mended by hand first."""
    path = tmp_path / "orders.csv"
    with pytest.raises(ConfigError, match=r"orders.csv:3: this row cannot be read"):
        mended(path, (table(PHONE) + '"SHS-2').encode())
    assert list(tmp_path.iterdir()) == [path]


TEXTS = st.text(st.sampled_from(' ,;"\r\n\u00e9a+1'), max_size=6)


@given(st.lists(st.lists(TEXTS, min_size=2, max_size=3), min_size=1, max_size=6), st.data())
@settings(deadline=None, max_examples=60)
def test_any_table_keeps_all_its_other_cells(rows: list[list[str]], data: st.DataObject) -> None:
    """Whatever the cells hold, putting values in changes these alone."""
    rows = [["K", *row] for row in rows]
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
    wanted: dict[int, int] = data.draw(
        st.dictionaries(st.integers(0, len(rows) - 1), st.integers(0, 2), max_size=3), label="row -> place"
    )
    with TemporaryDirectory() as folder, Fixes("f") as fixes:
        path = Path(folder) / "f.csv"
        path.write_bytes(text.getvalue().encode())
        lines = [1]
        for row in rows:
            one = io.StringIO()
            csv.writer(one, quoting=csv.QUOTE_ALL).writerow(row)
            lines.append(lines[-1] + len(one.getvalue().encode().splitlines()))
        for number in sorted(wanted):
            place = wanted[number]
            fault = Fault(file="f", line=lines[number], column="c", rule="r", proposal="NEW", place=place)
            fixes(fault, Original(rows[number], ["c"] * 9))
        mend_table(path, fixes, Form())
        found = list(csv.reader(io.StringIO(path.read_bytes().decode(), newline="")))
    for number, place in wanted.items():
        rows[number][place] = "NEW"
    assert found == rows
