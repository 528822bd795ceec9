"""docs/tables.md: its sheet is made, its map is written, and its commands are run as they stand there."""

import re
import shlex
from pathlib import Path

import openpyxl
import pytest

from gotsurge_async.tables import ColumnMap, FileMap
from gotsurge_async.tables.options import read_map
from tests.support.commands import Runner

PAGE = (Path(__file__).parents[3] / "docs" / "tables.md").read_text(encoding="utf-8")


def the_sheet(path: Path) -> None:
    """The workbook that the page shows, below a title."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "March"
    sheet.append(["Orders of March"])
    sheet.append([])
    table = PAGE.partition("## The sheet")[2].partition("## 1.")[0]
    for line in re.findall(r"^\| (.*) \|$", table, re.MULTILINE):
        sheet.append([cell.strip() or None for cell in line.split("|")])
    book.save(path)


def blocks(kind: str) -> list[str]:
    """The fenced blocks of a kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_from_a_sheet_to_its_push(run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command of the page ends well, and says what stands below it."""
    monkeypatch.chdir(tmp_path)
    the_sheet(tmp_path / "agent.xlsx")
    (whole,) = blocks("toml")
    commands = 0
    for block in blocks("console"):
        for command, said in re.findall(r"^\$ gotsurge (.*)\n((?:[^$].*\n)*)", block, re.MULTILINE):
            done = run(*shlex.split(command))
            assert done.exit_code == 0, done.stderr
            for line in said.splitlines():
                assert line in f"{done.stdout}\n{done.stderr}"
            if "map draft" in command:
                FileMap.load(tmp_path / "agent.toml")
                (tmp_path / "agent.toml").write_text(whole, encoding="utf-8")
            commands += 1
    assert commands == 4


def test_the_fault_that_the_page_shows(run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is described in these words."""
    monkeypatch.chdir(tmp_path)
    the_sheet(tmp_path / "agent.xlsx")
    book = openpyxl.load_workbook("agent.xlsx")
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
