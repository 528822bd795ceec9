"""One user walks the tutorials, how-tos and guides in the order of docs/index.md: one folder, one shell, one ledger.

After the page of the daily job, every form in which that page starts the job runs in the same folder.
"""

import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.examples.test_daily_job import WAYS, Machine, at_the_keyboard
from tests.support.consoles import Reader, reader

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
ELSEWHERE = {DOCS / "sign-in.md"}
"""Its command signs in to GotSurge itself."""


def pages(caption: str) -> Iterator[Path]:
    """The pages of a table of contents in docs/index.md, in its order."""
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    (tree,) = re.findall(rf"^```{{toctree}}\n:caption: {caption}\n(.*?)^```$", index, re.MULTILINE | re.DOTALL)
    seen = set()
    for line in re.findall(r"^[^:\n].*$", tree, re.MULTILINE):
        for page in sorted(DOCS.glob(f"{line}.md")):
            if page not in seen:
                seen.add(page)
                yield page


WALKED = [
    page
    for page in (*pages("Tutorials"), *pages("How-to guides"), *pages("Guides"))
    if "```console" in page.read_text(encoding="utf-8") and page not in ELSEWHERE
]


def doubled(someone: Reader) -> dict[str, int]:
    """The tracking ids of which more than one task is with drivers, with the number of these tasks."""
    with urlopen(f"http://127.0.0.1:{someone.ports['8765']}/_simulator/tasks?prefix=") as answer:
        tasks = json.load(answer)["tasks"]
    live = Counter(each["tracking_id"] for each in tasks if each["history"] and each["history"][-1][0] != "cancelled")
    return {name: count for name, count in live.items() if count > 1}


def start_daily(someone: Reader) -> None:
    """Start the daily job as cron, systemd, a container, Kubernetes and a hand do; the orders are there already."""
    folder = someone.folder
    orders = (folder / "orders.csv").read_text(encoding="utf-8")
    (folder / "orders.csv").write_text(
        orders.partition("BAD-1")[0], encoding="utf-8"
    )  # as it was before it was spoiled
    (folder / ".venv").mkdir()
    programs = folder / ".venv" / "bin"
    programs.symlink_to(Path(sys.executable).parent)
    machine = Machine(folder, {"XDG_DATA_HOME": str(folder.parent / "home" / "data")})
    said = folder / "results" / "last.txt"
    for way in WAYS:
        said.unlink(missing_ok=True)
        asyncio.run(way(machine))
        assert way is at_the_keyboard or said.read_text().endswith("0 created, 40 already pushed\n"), way.__name__
    programs.unlink()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_pages_can_be_walked_in_one_folder(tmp_path: Path) -> None:
    """After all pages before it each prints what it says, no order is doubled, and there is one ledger."""
    with reader(tmp_path) as someone:
        for page in WALKED:
            someone.read(page)
            if page.name == "daily-job.md":
                start_daily(someone)
            assert doubled(someone) == {}, page
        ledgers = {path for path in tmp_path.rglob("*.db") if ".book" not in path.name and path.name != "register.db"}
        assert ledgers == {someone.folder / "ledger.db", someone.folder / "monday.db"}


def test_no_page_that_leads_a_reader_is_left_out() -> None:
    """Each tutorial, how-to and explanation with commands is walked."""
    led = [path for part in ("tutorial", "how-to", "explanation") for path in (DOCS / part).glob("*.md")]
    assert {path for path in led if "```console" in path.read_text(encoding="utf-8")} <= set(WALKED)
