"""Result files are written as their source was, and read again the same."""

import csv
import gc
import io
from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gotsurge_async.after.reading import form_of
from gotsurge_async.after.resolve import read_resolutions
from gotsurge_async.after.results import FILES
from gotsurge_async.bulk import Ledger, Mode, SourceOptions, open_source, write_results
from gotsurge_async.errors import ConfigError
from gotsurge_async.ledger import OrderState, RunInfo, word_of
from gotsurge_async.push.load import Loader
from gotsurge_async.tables import ColumnMap, FileMap, Form
from gotsurge_async.tables.formats import lines
from gotsurge_async.tables.writing import _BookRows, csv_text, defused, ending_of
from tests.support.order_forms import CELLS, NOW
from tests.tables.kit import read, table


async def results(folder: Path, content: bytes, name: str, **options: Any) -> tuple[Path, RunInfo]:
    """The unprocessed file of a run that was never sent."""
    (folder / name).write_bytes(content)
    async with await Ledger.open(folder / "ledger.db") as ledger:
        with open_source(str(folder / name), options=SourceOptions(now=NOW, **options)) as source:
            run, _ = await Loader(ledger, "sandbox", Mode.DIRECT).source(source)
        await run.close()
        info = await ledger.run(run.id)
        summary = await write_results(ledger, info, folder / "out")
    return Path(summary.files["unprocessed"]), info


@pytest.mark.parametrize(
    ("encoding", "bom", "options"),
    [
        ("utf-8", b"", {}),
        ("utf-8", b"\xef\xbb\xbf", {}),
        ("cp1252", b"", {"encoding": "cp1252"}),
        ("utf-16-le", b"\xff\xfe", {}),
    ],
)
async def test_a_text_keeps_delimiter_mark_and_encoding(
    tmp_path: Path, encoding: str, bom: bytes, options: dict[str, Any]
) -> None:
    """What a spreadsheet has exported it opens again, and a push reads it with the same options."""
    row = {"from_contact.name": "José; Marañón", "to_address.street_address": "=1+1"}
    content = bom + ("sep=;\r\n" + table(row, delimiter=";", end="\r\n")).encode(encoding)
    path, info = await results(tmp_path, content, "orders.csv", **options)
    text = path.read_bytes()
    assert path.suffix == ".csv"
    assert text.startswith(bom)
    assert form_of(info).delimiter == ";"
    found = read(text, **{**options, "delimiter": ";"})
    assert found.faults == []
    assert found.order.from_contact is not None
    assert found.order.from_contact.name == "José; Marañón"
    assert found.order.to_address.street_address == "=1+1"  # the row is as it was read


async def test_a_tsv_stays_one(tmp_path: Path) -> None:
    """Its ending says how it is read."""
    path, _ = await results(tmp_path, table({}, delimiter="\t").encode(), "orders.tsv")
    assert path.suffix == ".tsv"
    assert read(path.read_bytes(), name=path.name).faults == []


def workbook(*rows: list[Any], sheet: str = "Monday") -> bytes:
    """A workbook of rows."""
    book, file = openpyxl.Workbook(), io.BytesIO()
    book.active.title = sheet
    for row in rows:
        book.active.append(row)
    book.save(file)
    return file.getvalue()


MAP = FileMap(orders=ColumnMap(numbers={"*": "1.234,56"}))


async def test_a_workbook_stays_one_with_its_numbers_and_dates(tmp_path: Path) -> None:
    """A number is a number again, whatever a map says of those that people write; text stays text, with its zeros."""
    cells: dict[str, Any] = {
        **CELLS,
        "tracking_id": "007",
        "price": 48.5,
        "from_time_window.start_time_utc": datetime(2030, 3, 5, 9),  # noqa: DTZ001 - a cell has no zone
        "from_time_window.end_time_utc": datetime(2030, 3, 5, 11, 30),  # noqa: DTZ001
        "to_contact.vessel_imo": 9074729,
        "from_address.latitude": 1.3697,
        "from_address.longitude": 103.9707,
    }
    content = workbook(list(cells), list(cells.values()))
    options = {"timezone": "Asia/Singapore", "file_map": MAP}
    path, _ = await results(tmp_path, content, "orders.xlsx", **options)
    assert path.suffix == ".xlsx"
    sheet = openpyxl.load_workbook(path)["Monday"]
    found = dict(zip([cell.value for cell in sheet[1]], [cell.value for cell in sheet[2]], strict=True))
    assert {name: found[name] for name in cells} == cells
    assert (found["gs_task_id"], found["gs_status"]) == (None, "unprocessed")
    again, first = read(path.read_bytes(), name="r.xlsx", **options), read(content, name="o.xlsx", **options)
    assert again.faults == []
    assert again.order == first.order


async def test_without_the_library_a_workbook_becomes_a_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost for a library that is not there, nor for rows that no sheet holds."""
    monkeypatch.setattr(lines, "find_spec", lambda _: None)
    path, info = await results(tmp_path, workbook(list(CELLS), list(CELLS.values())), "orders.xlsx")
    assert path.suffix == ".csv"
    assert read(path.read_bytes()).order.tracking_id == "SHS-1"
    monkeypatch.undo()
    assert form_of(info, 1_000_000).format == "xlsx"
    assert form_of(info, 1_000_001) == Form()
    assert ending_of(Form(delimiter="\t")) == "tsv"


async def test_an_in_doubt_workbook_is_filled_in(tmp_path: Path) -> None:
    """What a person writes into it is read as from a text."""
    rows = [{**CELLS, "tracking_id": key, "invoice_number": key} for key in ("A", "B")]
    path, info = await results(tmp_path, workbook(list(CELLS), *(list(row.values()) for row in rows)), "orders.xlsx")
    book = openpyxl.load_workbook(path)
    columns = [cell.value for cell in book.active[1]]
    for row, (status, task) in enumerate([("not_created", None), ("created", "task-7")], start=2):
        book.active.cell(row, columns.index("gs_status") + 1).value = status
        book.active.cell(row, columns.index("gs_task_id") + 1).value = task
    book.save(path)
    async with await Ledger.open(tmp_path / "ledger.db") as ledger:
        said, untouched = await read_resolutions(ledger, info.id, path)
        assert [(each.key, each.task_id, each.line) for each in said] == [("A", None, 2), ("B", "task-7", 3)]
        assert untouched == 0
        path.write_bytes(b"PK\x03\x04 no workbook")
        with pytest.raises(ConfigError, match="is damaged"):
            await read_resolutions(ledger, info.id, path)


async def test_a_workbook_whose_header_fails_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It writes nothing later, when it is collected and its file is closed."""
    later: list[object] = []
    monkeypatch.setattr("sys.unraisablehook", lambda ignored: later.append(ignored.exc_value))

    def full(*_: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(_BookRows, "put", full)
        with pytest.raises(ConfigError, match="the disk is full"):
            await results(tmp_path, workbook(list(CELLS), list(CELLS.values())), "orders.xlsx")
    gc.collect()
    assert later == []
    assert [*(tmp_path / "out").iterdir()] == []


@pytest.mark.parametrize("text", ["=1+1", "+65", "-1", "@SUM(A1)", "\tx", "\r=1"])
def test_what_the_service_says_is_no_formula(text: str) -> None:
    """A space before it keeps a spreadsheet from computing it."""
    assert defused(text) == f" {text}"
    assert defused("plain = text") == "plain = text"


_cells = st.text(st.sampled_from('a ,;\t|"\r\n\u2028é'), max_size=5) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=8
)


_rows = st.integers(2, 6).flatmap(lambda width: st.lists(st.lists(_cells, min_size=width, max_size=width), min_size=1))


@given(_rows, st.sampled_from(",;\t|"))
@example([["a,b", "c"], ["a", "\n"]], ",")
@example([["", ""]], ",")
@settings(max_examples=100, deadline=None)
def test_lines_are_what_the_csv_module_writes(rows: list[list[str]], delimiter: str) -> None:
    """Quotes stand where they are needed, and nowhere else."""
    written = io.StringIO(newline="")
    csv.writer(written, delimiter=delimiter).writerows(rows)
    assert csv_text(rows, delimiter) == written.getvalue()


def test_every_state_has_its_file() -> None:
    """A state that is new cannot be forgotten."""
    assert {word_of(state) for state in OrderState} == FILES.keys()
