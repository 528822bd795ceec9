import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async import GotSurge
from gotsurge_async.transports.memory import MemoryTransport

SAMPLE = Path(__file__).with_name("sample.py")
MISTAKES = Path(__file__).with_name("mistakes.py")


def run(*command: str) -> "subprocess.CompletedProcess[str]":
    """A type checker, as a person runs it in this environment."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=110, env={**os.environ, "PATH": path}
    )


def methods(resource: object, name: str) -> Iterator[str]:
    """The dotted names of all public methods of a resource, and of those that it holds."""
    for each, value in inspect.getmembers(type(resource)):
        if inspect.isfunction(value) and not each.startswith("_"):
            yield f"{name}.{each}"
    cls: Any = type(resource)
    for held in getattr(cls, "__struct_fields__", ()):
        if not held.startswith("_"):
            yield from methods(getattr(resource, held), f"{name}.{held}")


def test_the_sample_uses_every_method() -> None:
    """No method of any resource is missing from the sample program."""
    gs = GotSurge("sandbox", transport=MemoryTransport([]))
    text = SAMPLE.read_text(encoding="utf-8")
    resources = ("tasks", "prices", "partner", "platform", "sso")
    named = [each for name in resources for each in methods(getattr(gs, name), f"gs.{name}")]
    assert len(named) >= 20
    assert [each for each in named if f"{each}(" not in text] == []


def test_mypy_finds_nothing_in_it() -> None:
    """The sample program is right for mypy at its strictest, and every type in it is the one it says."""
    done = run(sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(SAMPLE))
    assert (done.stdout, done.returncode) == ("", 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "checker",
    [
        ("-m", "mypy", "--strict"),
        ("-m", "pyright", "--pythonpath", sys.executable),
        ("-m", "ty", "check", "--output-format", "concise", "--python", sys.executable),
        ("-m", "pyrefly", "check", "--output-format", "min-text"),
    ],
    ids=lambda words: words[1],
)
def test_every_checker_finds_every_mistake(checker: tuple[str, ...]) -> None:
    """Each mistake that a type can show is found, by each of the common type checkers."""
    done = run(sys.executable, *checker, str(MISTAKES))
    lines = MISTAKES.read_text(encoding="utf-8").splitlines()
    name = checker[1]
    marked = [(number, line) for number, line in enumerate(lines, 1) if "# wrong" in line]
    wrong = [number for number, line in marked if f"# wrong ({name} does not" not in line]
    assert len(wrong) > 20
    said = done.stdout + done.stderr
    assert sorted({int(number) for number in re.findall(r"mistakes\.py:(\d+)", said)}) == wrong, said


@pytest.mark.slow
def test_every_public_name_has_a_type(tmp_path: Path) -> None:
    """For pyright, no type of the public API is unknown, partly unknown or ambiguous: 100 % complete."""
    command = ["pyright", "--verifytypes", "gotsurge_async", "--ignoreexternal", "--outputjson"]
    report = json.loads(run(*command, "--project", str(tmp_path)).stdout)["typeCompleteness"]
    counts = report["exportedSymbolCounts"]
    assert (counts["withUnknownType"], counts["withAmbiguousType"]) == (0, 0)
    assert counts["withKnownType"] > 1000
    assert report["completenessScore"] == 1
