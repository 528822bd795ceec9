"""Runs spin: a model is searched whole, and what its report says is read."""

import re
import shutil
import subprocess
from pathlib import Path

import attrs
import pytest

MODELS = Path(__file__).parents[2] / "models"
DEPTH = 100_000
SECONDS = 110


def defined(value: object) -> str | None:
    """How a case is called that is told by its defines."""
    return " ".join(value) if isinstance(value, tuple) else None


@attrs.frozen
class Found:
    """What a whole search of a model has found: "" if no assertion fails, else the one that does."""

    failed: str
    states: int


def search(folder: Path, model: str, *defines: str) -> Found:
    """Search all states of a model that can be reached, up to the first one in which an assertion fails."""
    return read(report_of(folder, model, defines))


def report_of(folder: Path, model: str, defines: tuple[str, ...], *options: str) -> str:
    """What pan says of such a search; the options are for its compiler."""
    for tool, package in (("spin", "spin"), ("cc", "gcc")):
        if shutil.which(tool) is None:
            pytest.fail(f"there is no {tool}, which checks the models: apt install {package}")
    run(folder, "spin", *(f"-D{define}" for define in defines), "-a", str(MODELS / f"{model}.pml"))
    # Its warnings are about the code that spin writes; to optimize that takes longer than it spares.
    run(folder, "cc", "-w", "-O0", "-DSAFETY", "-DCOLLAPSE", *options, "-o", "pan", "pan.c")
    return run(folder, "./pan", "-n", f"-m{DEPTH}", may_fail=True)


def run(folder: Path, *command: str, may_fail: bool = False) -> str:
    """The output of a command."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
    assert may_fail or done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def read(report: str) -> Found:
    """The result in a report of pan; whatever does not show that all was searched fails the test."""
    assert "max search depth too small" not in report, report
    assert "out of memory" not in report, report
    # That it did look for both, and not for one of them with the other switched off.
    assert re.search(r"^\s*assertion violations\s+\+$", report, re.MULTILINE), report
    assert re.search(r"^\s*invalid end states\s+\+$", report, re.MULTILINE), report
    (errors,) = re.findall(r"errors: (\d+)$", report, re.MULTILINE)
    (states,) = re.findall(r"^\s*(\d+) states, stored$", report, re.MULTILINE)
    failed = re.findall(r"^pan:\d+: (.*) \(at depth \d+\)$", report, re.MULTILINE)
    if errors == "0":
        assert failed == [], report
        assert "Search not completed" not in report, report
        return Found("", int(states))
    assert errors == "1", report
    assert len(failed) == 1, report
    return Found(failed[0], int(states))
