"""The models of the push's protocol: with its rules nothing goes wrong, and each rule is needed."""

import importlib
import re
import shutil
import subprocess
from functools import reduce
from pathlib import Path

import attrs
import pytest

MODELS = Path(__file__).parents[2] / "models"
PAGE = (MODELS / "README.md").read_text(encoding="utf-8")
DEPTH = 100_000
SECONDS = 110
NOT_STEPS = {"again", "end", "over"}
"""Labels of the models at which only the way forks, or ends."""

slow = pytest.mark.slow


@attrs.frozen
class Found:
    """What a whole search of a model has found: "" if no assertion fails, else the one that does."""

    failed: str
    states: int


def search(folder: Path, model: str, *defines: str) -> Found:
    """Search all states of a model that can be reached, up to the first one in which an assertion fails."""
    for tool, package in (("spin", "spin"), ("cc", "gcc")):
        if shutil.which(tool) is None:
            pytest.fail(f"there is no {tool}, which checks the models: apt install {package}")
    run(folder, "spin", *(f"-D{define}" for define in defines), "-a", str(MODELS / f"{model}.pml"))
    # Its warnings are about the code that spin writes; to optimize that takes longer than it spares.
    run(folder, "cc", "-w", "-O0", "-DSAFETY", "-DCOLLAPSE", "-o", "pan", "pan.c")
    return read(run(folder, "./pan", "-n", f"-m{DEPTH}", may_fail=True))


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


@slow
@pytest.mark.parametrize(
    ("model", "defines"),
    [
        ("two_phase", ()),
        ("two_phase", ("WORKERS=2", "TROUBLES=20")),
        ("direct", ()),
        ("direct", ("PERSON=0", "TROUBLES=6")),
    ],
)
def test_with_its_rules_no_order_is_doubled_and_the_ledger_says_what_is_so(
    tmp_path: Path, model: str, defines: tuple[str, ...]
) -> None:
    """In every state that can be reached at most one driver is called, and no row or free key denies it."""
    found = search(tmp_path, model, *defines)
    assert found.failed == ""
    assert found.states > 50_000


@slow
@pytest.mark.parametrize(("model", "troubles"), [("two_phase", 4), ("direct", 4)])
def test_after_any_troubles_one_more_push_or_resume_brings_the_order_to_its_end(
    tmp_path: Path, model: str, troubles: int
) -> None:
    """Nothing waits for ever: two-phase ends created unless its task was cancelled, direct created or in doubt."""
    assert search(tmp_path, model, "SETTLE=1", "WORKERS=2", f"TROUBLES={troubles}").failed == ""


@slow
@pytest.mark.parametrize(
    ("model", "rule"),
    [
        ("two_phase", "FENCE=0"),
        ("two_phase", "STAY=0"),
        ("two_phase", "OWN=0"),
        ("two_phase", "TAKEN=0"),
        ("two_phase", "CERTAIN=0"),
        ("two_phase", "PROVEN=0"),
        ("two_phase", "HEIR=0"),
        ("direct", "AGE=0"),
        ("direct", "DOUBT=0"),
        ("direct", "PROVEN=0"),
        ("direct", "PERSON=1"),
    ],
)
def test_without_one_of_its_rules_an_order_is_doubled(tmp_path: Path, model: str, rule: str) -> None:
    """Each rule is needed: take it away, and one trouble is enough for a second driver."""
    assert search(tmp_path, model, rule, "DOUBLES=1", "TROUBLES=1").failed == "assertion violated (live<=1)"


@slow
def test_a_recorded_task_id_that_may_be_replaced_doubles_where_no_epoch_is_kept(tmp_path: Path) -> None:
    """Freezes alone double then; that an id is written once, or the epoch, is enough against them."""
    only_freezes = ("DOUBLES=1", "TROUBLES=0")
    assert search(tmp_path, "two_phase", "FENCE=0", "ONCE=0", *only_freezes).failed == "assertion violated (live<=1)"
    assert search(tmp_path, "two_phase", "FENCE=0", *only_freezes).failed == ""
    assert search(tmp_path, "two_phase", "ONCE=0", *only_freezes).failed == ""


@slow
def test_direct_mode_does_not_rest_on_the_epoch(tmp_path: Path) -> None:
    """No state leads from a claim that was taken over back to a claim: the states alone keep it from doubling."""
    assert search(tmp_path, "direct", "FENCE=0").failed == ""


@slow
def test_an_adopted_draft_with_another_content_is_told_as_what_was_not_sent(tmp_path: Path) -> None:
    """Nothing is doubled, but the ledger pairs the corrected order with a task of the old one."""
    failed = search(tmp_path, "two_phase", "SAME=0", "TROUBLES=2").failed
    assert "content[recorded[owner]]==payload[owner]" in failed


@slow
def test_a_superseded_row_is_no_word_that_the_order_is_not_there(tmp_path: Path) -> None:
    """The row that took over goes on to call a driver; who asks for the old row must be told of the new one."""
    assert search(tmp_path, "two_phase", "TOLD=1", "TROUBLES=0").failed == (
        "assertion violated ((state[n]!=1)||(live==0))"
    )


@slow
@pytest.mark.parametrize("model", ["two_phase", "direct"])
def test_every_state_of_an_order_is_reached(tmp_path: Path, model: str) -> None:
    """What a model never does it proves nothing of."""
    source = (MODELS / f"{model}.pml").read_text(encoding="utf-8")
    (names,) = re.findall(r"^mtype = \{ (PENDING.*) \};$", source, re.MULTILINE)
    for state in names.split(", "):
        folder = tmp_path / state
        folder.mkdir()
        assert search(folder, model, f"REACH={state}", "TROUBLES=1").failed.startswith("assertion violated"), state


def test_a_report_of_a_search_that_was_cut_short_is_refused() -> None:
    """A depth that was too small, or a search that stopped without an error, is no proof."""
    report = (
        "\tassertion violations\t+\n\tinvalid end states\t+\n"
        "State-vector 96 byte, depth reached 112, errors: 0\n    42 states, stored\n"
    )
    assert read(report) == Found("", 42)
    for spoilt in ("error: max search depth too small\n", "Warning: Search not completed\n", "pan: out of memory\n"):
        with pytest.raises(AssertionError):
            read(spoilt + report)
    with pytest.raises(AssertionError):
        read(report.replace("invalid end states\t+", "invalid end states\t- (disabled by never claim)"))


@pytest.mark.parametrize("model", ["two_phase", "direct"])
def test_the_page_names_the_code_of_every_step(model: str) -> None:
    """Each step of a model has its row in the page, and each name of code in it exists."""
    source = (MODELS / f"{model}.pml").read_text(encoding="utf-8")
    steps = set(re.findall(r"^([a-z_]+):", source, re.MULTILINE)) - NOT_STEPS
    (table,) = re.findall(rf"^### `{model}\.pml`\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    rows = dict(re.findall(r"^\| `(\w+)`[^|]*\|(.*)\|$", table, re.MULTILINE))
    assert steps <= rows.keys()
    for step in rows:
        assert re.search(rf"^(inline |(active )?proctype )?{step}\b", source, re.MULTILINE), f"no step {step}"
    for step, cells in rows.items():
        names = re.findall(r"`([\w.]+):([\w.]+)`", cells)
        assert names, f"step {step} names no code"
        for module, name in names:
            reduce(getattr, name.split("."), importlib.import_module(f"gotsurge_async.{module}"))
