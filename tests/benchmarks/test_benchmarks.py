"""Every benchmark runs, on a few orders; no time is asserted."""

import json
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import plots, tables
from benchmarks.processes import Server
from benchmarks.registry import SUITES
from benchmarks.suites import Size, instructions
from benchmarks.targets import verdicts

TINY = Size(scale=0.0004, rounds=1)


COUNTED = ("instructions",)
"""A whole run under valgrind takes minutes."""
QUICK = ("encode",)
"""It runs with every test; the others start processes by the dozen."""


@pytest.mark.parametrize(
    "name",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in SUITES
        if name != "instructions"
    ],
)
def test_a_benchmark_runs(name: str, tmp_path: Path) -> None:
    """The benchmark ends with results that make a table, a plot where there is one, and JSON."""
    with Server() as server:
        results = {name: SUITES[name](server, TINY)}
    rendered = tables.render(results)
    assert f"### {name}" in rendered
    assert "gotsurge" in rendered
    assert json.loads(json.dumps(results)) == results
    for path in plots.draw(results, tmp_path):
        assert path.read_bytes().startswith(b"\x89PNG")


def test_a_count_that_differs_from_the_page_is_named() -> None:
    """The check compares with the page's own table, and names the count that is too far away."""
    ours = dict.fromkeys(("gotsurge_async, 1,000 orders", "not in the page"), 1.0)
    assert [line.partition(":")[0] for line in instructions.differences(ours)] in ([], ["gotsurge_async, 1,000 orders"])


def test_the_command_lists_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    """`--list` names every benchmark and says what it is."""
    command.main(["--list"])
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == list(SUITES)
    assert all(len(line.split()) > 3 for line in said)


@pytest.mark.slow
def test_the_command_writes_tables_json_and_plots(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run prints tables and targets, and writes its results and PNGs where it was told to."""
    arguments = [
        "get",
        "--scale",
        "0.004",
        "--rounds",
        "2",
        "--json",
        str(tmp_path / "r.json"),
        "--plot",
        str(tmp_path),
    ]
    command.main(arguments)
    said = capsys.readouterr().out
    assert "### get" in said
    assert "| one small GET, over the same in raw aiohttp " in said
    written = json.loads((tmp_path / "r.json").read_text())
    assert [each["name"] for each in written["results"]["get"]["outcomes"]][1] == "gotsurge_async"
    assert written["machine"]["versions"]["aiohttp"]
    assert (tmp_path / "latency.png").exists()


def test_an_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is none is told, with those that there are."""
    with pytest.raises(SystemExit):
        command.main(["pusch"])
    assert "there is no benchmark pusch" in capsys.readouterr().err


def test_targets_say_what_was_not_run() -> None:
    """Without results every target stands there, unmeasured."""
    assert {(each.measured, each.met) for each in verdicts({})} == {(None, None)}
