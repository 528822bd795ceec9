"""The documents for programs that read: a list of the pages, each page as Markdown, all in one file."""

import importlib
import re
from pathlib import Path

import pytest

from gotsurge_async.cli.app import COMMANDS
from gotsurge_async.cli.variables import VARIABLES
from tests.site.test_reference import MODULES

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")} - {"index.md"}
pytestmark = pytest.mark.slow


def test_the_list_names_every_page_once(site: Path) -> None:
    """Each page is listed by its title with a sentence about it, and is there as Markdown."""
    text = (site / "llms.txt").read_text(encoding="utf-8")
    assert text.startswith("# gotsurge-async\n\n> ")
    listed = re.findall(r"^- \[.+\]\((.+)\): \S.+$", text, re.MULTILINE)
    assert sorted(listed) == sorted(PAGES)
    for page in PAGES:
        assert (site / page).read_text(encoding="utf-8").startswith("# ")


def test_one_file_holds_all_of_them(site: Path) -> None:
    """The one file has each page as it stands alone, and every public name, command and variable, in 75,000 words."""
    whole = (site / "llms-full.md").read_text(encoding="utf-8")
    assert len(whole.split()) <= 75_000
    for page in PAGES:
        assert (site / page).read_text(encoding="utf-8").strip() in whole
    names = {name for module in MODULES for name in importlib.import_module(module).__all__}
    commands = {f"gotsurge {name}" for folder in COMMANDS.values() for name in folder}
    assert not [word for word in names | commands | set(VARIABLES) if not re.search(rf"\b{re.escape(word)}\b", whole)]


def test_nothing_is_left_that_only_the_site_understands(site: Path) -> None:
    """No directive and no other mark of the program that makes the site stands in the Markdown."""
    assert not re.search(r"^ *```\{|^</?div", (site / "llms-full.md").read_text(encoding="utf-8"), re.MULTILINE)
