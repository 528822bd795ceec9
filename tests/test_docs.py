"""The examples of README.md and of every page in docs/ and its folders run.

What a reader may take for granted, and so may an example:

- Each block that begins with three backticks and ``python`` is run, in the order of its page; those of a page share
  their names, as the cells of a notebook do. A page starts with fresh names and a fresh simulator.
- A block may use ``await``, ``async with`` and ``async for`` at its top level, or ``asyncio.run(main())``.
- The ``GOTSURGE_…`` variables lead to the simulator: ``GotSurge.from_env()`` is a client of its account ``platform``,
  with a bearer token.
- These names are there: ``gs``, such a client, open; ``order`` and ``orders``, one order and 45 of them; ``code``,
  what a consent has given; ``simulator``. Whatever is written goes to an empty folder.
- No block is left out. What is not to be run is not marked as ``python``; and a block whose first line is ``# NAME.py``
  is a file, which the commands of the page run: see `tests.support.consoles`.
"""

import ast
import asyncio
import inspect
import re
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async import GotSurge
from gotsurge_async.simulator import Simulator
from tests.cli.test_page import found as called
from tests.support.consoles import FILE
from tests.support.orders import order, orders
from tests.support.running import running_simulator
from tests.test_journey import pages as listed

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"^```python\n(?!# \w+\.py\n)(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [
    path for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if _BLOCK.search(path.read_text())
]


def blocks(page: Path, instead: Mapping[str, str] = {}) -> Iterator[types.CodeType]:
    """The blocks of a page, compiled so that a traceback names the page and its line; ``instead`` replaces texts."""
    text = page.read_text(encoding="utf-8")
    for old, new in instead.items():
        text = text.replace(old, new)
    for found in _BLOCK.finditer(text):
        above = "\n" * text[: found.start(1)].count("\n")
        yield compile(above + found[1], str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def run(page: Path, names: dict[str, Any], runner: asyncio.Runner) -> int:
    """Run the blocks of a page; says how many there were."""
    count = 0
    for code in blocks(page):
        count += 1
        if code.co_flags & inspect.CO_COROUTINE:
            runner.run(types.FunctionType(code, names)())
        else:
            exec(code, names)  # noqa: S102 - our own pages
    return count


def variables(simulator: Simulator) -> dict[str, str]:
    """What leads to the simulator."""
    keys = simulator.accounts["platform"]
    return {
        "GOTSURGE_ENV": "local",
        "GOTSURGE_API_BASE": simulator.api_base,
        "GOTSURGE_CLIENT_KEY": keys.client_key,
        "GOTSURGE_SECRET_KEY": keys.secret_key,
    }


async def a_bearer_token(simulator: Simulator) -> str:
    """One that the simulator takes."""
    async with GotSurge.from_env() as gs:
        return (await gs.oauth.exchange(simulator.new_code("platform"))).bearer.reveal()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_examples_run(page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every example of the page runs to its end against a simulator."""
    monkeypatch.chdir(tmp_path)
    with running_simulator() as simulator, asyncio.Runner() as runner:
        for name, value in variables(simulator).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("GOTSURGE_BEARER_TOKEN", runner.run(a_bearer_token(simulator)))
        gs = GotSurge.from_env()
        runner.run(gs.open())
        names = {
            "__name__": "__main__",
            "gs": gs,
            "order": order(),
            "orders": orders(45, "DOC-"),
            "code": simulator.new_code("platform"),
            "simulator": simulator,
        }
        try:
            assert run(page, names, runner) >= 1
        finally:
            runner.run(gs.close())


def test_the_program_of_the_readme_keeps_the_promise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run twice in one folder, README's program sends its order once, and names the same task both times."""
    monkeypatch.chdir(tmp_path)
    (program,) = blocks(ROOT / "README.md")
    for _ in range(2):
        exec(program, {"__name__": "__main__"})  # noqa: S102 - our own page
    first, second = capsys.readouterr().out.splitlines()
    key, task = first.split(" created ")
    assert second == f"{key} created before {task}"


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "production").glob("*.md")), ids=lambda page: page.stem)
def test_every_command_in_a_sentence_exists(page: Path) -> None:
    """Each command that a page for production names is one of the program, with these options."""
    text = page.read_text(encoding="utf-8")
    lines = re.findall(r"`(?:gotsurge )([^`…]+)`", text) + re.findall(r"^ *gotsurge (.+)$", text, re.MULTILINE)
    for line in lines:
        command, _, rest = called(line.split())
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in rest if word.startswith("--")} <= options, line


def test_no_example_is_overlooked() -> None:
    """Every fence that says python opens a block that is found, also an indented or a badly closed one."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        files = [name for _, name in FILE.findall(text) if name.endswith(".py")]
        assert len(re.findall(r"```\s*py", text)) == len(_BLOCK.findall(text)) + len(files)


def by_hand(page: Path) -> str:
    """What people wrote of a page: `python -m tests.catalogue` writes the messages of the catalogue."""
    text = page.read_text(encoding="utf-8")
    if (included := re.match(r"```\{include\} (\S+)\n", text)) is None:
        return text
    catalogue = (page.parent / included[1]).read_text(encoding="utf-8")
    return re.sub(r"^```text\n.*?^```$", "", catalogue, flags=re.MULTILINE | re.DOTALL)


def test_the_pages_are_short() -> None:
    """README, CONTRIBUTING and docs/, except the reference, have at most 32,000 words, all code and marks included."""
    pages = [page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "reference"]
    words = {page: len(by_hand(page).split()) for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *pages)}
    assert sum(words.values()) <= 32_000, sorted(words.items(), key=lambda each: -each[1])[:5]


@pytest.mark.parametrize("part", ["Tutorials", "How-to guides", "Guides"])
def test_a_page_begins_with_what_it_needs_and_leaves(part: str) -> None:
    """Before its first heading and its first code. The catalogue of errors is read entry by entry."""
    for page in {*listed(part)} - {ROOT / "docs" / "troubleshooting.md"}:
        first = re.split(r"^(?:##|```)", page.read_text(encoding="utf-8"), maxsplit=1, flags=re.MULTILINE)[0]
        assert re.findall(r"^- \*\*(\w+)\*\*:", first, re.MULTILINE) == ["Needs", "Result"], page
