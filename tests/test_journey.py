"""One user walks the tutorials, how-tos and guides in the order of docs/index.md: one folder, one shell, one ledger."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

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


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_all_pages_can_be_walked_in_one_folder(tmp_path: Path) -> None:
    """After all pages before it each prints what it says, no order is doubled, and there is one ledger."""
    with reader(tmp_path) as someone:
        for page in WALKED:
            someone.read(page)
            assert doubled(someone) == {}, page
        ledgers = {path for path in tmp_path.rglob("*.db") if ".book" not in path.name and path.name != "register.db"}
        assert ledgers == {someone.folder / "ledger.db", someone.folder / "monday.db"}


def test_no_page_that_leads_a_reader_is_left_out() -> None:
    """Each tutorial, how-to and explanation with commands is walked."""
    led = [path for part in ("tutorial", "how-to", "explanation") for path in (DOCS / part).glob("*.md")]
    assert {path for path in led if "```console" in path.read_text(encoding="utf-8")} <= set(WALKED)
