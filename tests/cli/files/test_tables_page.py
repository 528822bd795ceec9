"""docs/tables.md: its sheet is the one in examples/, and its faults and maps are as it says.

`tests.test_journey` runs its commands.
"""

import re
from pathlib import Path

import openpyxl
import pytest

from gotsurge_async.tables import ColumnMap, FileMap
from gotsurge_async.tables.options import read_map
from tests.support.commands import EXAMPLES, Runner

PAGE = (EXAMPLES.parent / "docs" / "tables.md").read_text(encoding="utf-8")
SHEET = EXAMPLES / "agent.xlsx"


def blocks(kind: str) -> list[str]:
    """The fenced blocks of a kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_shows_the_sheet_that_is_there() -> None:
    """examples/agent.xlsx has a title, an empty row, and the table of the page."""
    table = PAGE.partition("## The sheet")[2].partition("## 1.")[0]
    lines = [line.split("|") for line in re.findall(r"^\| (.*) \|$", table, re.MULTILINE)]
    shown = [tuple(cell.strip() or None for cell in line) for line in lines]
    title, empty, *rows = openpyxl.load_workbook(SHEET)["March"].iter_rows(values_only=True)
    assert title[0] == "Orders of March"
    assert set(empty) == {None}
    assert rows == shown


def test_the_fault_that_the_page_shows(run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is described in these words."""
    monkeypatch.chdir(tmp_path)
    book = openpyxl.load_workbook(SHEET)
    book["March"]["G5"] = "US$9"
    book.save("agent.xlsx")
    (whole,) = blocks("toml")
    (tmp_path / "agent.toml").write_text(whole, encoding="utf-8")
    shown = re.findall(r"`(agent\.xlsx:5: .*)`", PAGE)
    assert shown[0] in run("push", "agent.xlsx", "--map", "agent.toml", "--dry-run", "--simulate").stderr


@pytest.mark.parametrize("row", re.findall(r"^\| `?\[?([a-z_]*)[^|]*\| [^|]* \| `(.*)` \|$", PAGE, re.MULTILINE))
def test_the_examples_of_what_may_stand_in_a_map(row: tuple[str, str]) -> None:
    """Each can be read in its section."""
    section, example = row
    example = re.sub(r"^x = ", "client_time_utc = ", example)
    if section == "join":
        example = example.replace("client_time_utc", "invoice_number")
    section = {"": "dates", "values": "values.broadcast_preference"}.get(section, section)
    text = example if example.startswith(("ignore", "only", "items")) else f"[{section}]\n{example}"
    assert read_map(text.encode(), "m") != FileMap()


def test_every_section_is_explained() -> None:
    """The table of the page has all that a map can have."""
    names = {name for name in ColumnMap.__annotations__ if name not in ("dialect", "where")}
    assert {name for name in names if f"`[{name}" not in PAGE and f"`{name}`" not in PAGE} == set()
