"""The models of the push's protocol: with its rules nothing goes wrong, and each rule is needed."""

import importlib
import re
from functools import reduce
from pathlib import Path

import pytest

from tests.protocol.spin import MODELS, Found, defined, read, report_of, search

PAGE = (MODELS / "README.md").read_text(encoding="utf-8")
NOT_STEPS = {"again", "brought", "end", "end_copied", "left", "over"}
"""Labels of the models at which only the way forks, or ends."""

slow = pytest.mark.slow


@slow
@pytest.mark.parametrize(
    ("model", "defines"),
    [
        ("two_phase", ()),
        ("two_phase", ("WORKERS=2", "TROUBLES=8")),
        ("two_phase", ("INTENT=2", "TROUBLES=1")),
        ("two_phase", ("RUNS=1", "TROUBLES=1")),
        ("two_phase", ("NUMBERS=1", "WORKERS=2", "TROUBLES=3")),
        ("two_phase", ("COPY=1", "WORKERS=2", "TROUBLES=3")),
        ("two_phase", ("COPY=1", "TROUBLES=1")),
        ("two_phase", ("COPY=1", "WORKERS=4", "TROUBLES=1", "PLAN=1")),
        ("direct", ()),
        ("direct", ("PERSON=0", "TROUBLES=6")),
        ("direct", ("RUNS=1", "TROUBLES=2")),
        ("direct", ("NUMBERS=1", "WORKERS=2")),
        ("direct", ("COPY=1", "TROUBLES=1")),
    ],
    ids=defined,
)
def test_with_its_rules_no_order_is_doubled_and_the_ledger_says_what_is_so(
    tmp_path: Path, model: str, defines: tuple[str, ...]
) -> None:
    """In every state that can be reached at most one driver is called, and no row or free key denies it."""
    found = search(tmp_path, model, *defines)
    assert found.failed == ""
    assert found.states > 10_000


@slow
@pytest.mark.parametrize(
    ("model", "defines"),
    [
        ("two_phase", ("TROUBLES=3",)),
        ("two_phase", ("COPY=1", "TROUBLES=1")),
        ("direct", ("TROUBLES=4",)),
        ("direct", ("COPY=1", "TROUBLES=2")),
    ],
    ids=defined,
)
def test_after_any_troubles_one_more_push_or_resume_brings_the_order_to_its_end(
    tmp_path: Path, model: str, defines: tuple[str, ...]
) -> None:
    """Two-phase ends created unless its task was cancelled; in doubt may end direct mode, or what a copy left so."""
    assert search(tmp_path, model, "SETTLE=1", "WORKERS=2", *defines).failed == ""


@slow
@pytest.mark.parametrize(
    ("model", "defines"),
    [
        *(
            ("two_phase", (f"{rule}=0", "TROUBLES=1"))
            for rule in ("FENCE", "COMPARE", "INTENT", "STAY", "OWN", "TAKEN", "CERTAIN", "PROVEN", "HEIR", "OTHERS")
        ),
        # Freezes alone double if neither holds; one of the two is enough against them.
        ("two_phase", ("FENCE=0", "ONCE=0", "TROUBLES=0")),
        ("two_phase", ("COPY=1", "COUNTER=0", "WORKERS=2", "TROUBLES=1")),
        ("two_phase", ("COPY=1", "FORGET=0", "TROUBLES=1")),
        ("two_phase", ("COPY=1", "ABOVE=0", "WORKERS=4", "TROUBLES=1", "PLAN=1")),
        ("two_phase", ("COPY=1", "ALL=0", "WORKERS=4", "TROUBLES=0", "PLAN=1")),
        *(("direct", (f"{rule}=0", "TROUBLES=1")) for rule in ("COMPARE", "AGE", "DOUBT", "PROVEN")),
        ("direct", ("PERSON=1", "TROUBLES=1")),
        ("direct", ("COPY=1", "COUNTER=0", "WORKERS=2", "TROUBLES=1")),
        ("direct", ("COPY=1", "ALL=0", "WORKERS=4", "TROUBLES=0")),
    ],
    ids=defined,
)
def test_without_one_of_its_rules_an_order_is_doubled(tmp_path: Path, model: str, defines: tuple[str, ...]) -> None:
    """Each rule is needed: take it away, and one trouble is enough for a second driver."""
    assert search(tmp_path, model, *defines, "DOUBLES=1").failed == "assertion violated (live<=1)"


FREE_AND_LIVE = "assertion violated ( !("
"""How the assertion begins that fails where a key is free, and a driver is called."""

CREATED_BY_NOTHING = "||(state[key]!=7))||"
"""What stands in the assertion that fails where an order is called created that is not, or not as the row says."""


@slow
@pytest.mark.parametrize(
    ("model", "defines", "failed"),
    [
        # Nothing is doubled, but the ledger pairs the corrected order with a task of the old one.
        ("two_phase", ("SAME=0", "TROUBLES=2"), CREATED_BY_NOTHING),
        ("two_phase", ("COPY=1", "FRESH=0", "WORKERS=4", "TROUBLES=1", "PLAN=1"), CREATED_BY_NOTHING),
        # What an older copy says was created is cancelled, and its key let go, while the order was pushed anew.
        ("two_phase", ("COPY=1", "OLD_UNDO=1", "WORKERS=4", "TROUBLES=0", "PLAN=2"), FREE_AND_LIVE),
        ("direct", ("COPY=1", "OLD_UNDO=1", "WORKERS=4", "TROUBLES=0"), FREE_AND_LIVE),
        ("direct", ("COPY=1", "FENCE=0", "TROUBLES=1"), FREE_AND_LIVE),
        ("direct", ("COPY=1", "FRESH=0", "TROUBLES=1"), FREE_AND_LIVE),
        # One read calls an order created whose cancel is still on its way, and acts later: the order is lost.
        ("two_phase", ("WAIT=0", "TROUBLES=1"), "ending"),
        ("direct", ("WAIT=0", "TROUBLES=1"), "ending"),
    ],
    ids=defined,
)
def test_without_one_of_its_rules_the_ledger_says_what_is_not_so(
    tmp_path: Path, model: str, defines: tuple[str, ...], failed: str
) -> None:
    """Nobody is doubled yet, but what is said is untrue, which is a defect like a double."""
    found = search(tmp_path, model, *defines)
    assert found.failed.startswith("assertion violated"), found
    assert failed in found.failed


@slow
@pytest.mark.parametrize("rule", ["FENCE=0", "ONCE=0"])
def test_that_an_id_is_written_once_or_the_epoch_is_enough_against_freezes(tmp_path: Path, rule: str) -> None:
    """Only without both do freezes alone double."""
    assert search(tmp_path, "two_phase", rule, "DOUBLES=1", "TROUBLES=0").failed == ""


@slow
@pytest.mark.parametrize("defines", [("FENCE=0",), ("FENCE=2", "COPY=1", "TROUBLES=1")], ids=defined)
def test_direct_mode_rests_on_no_epoch_but_that_of_the_run_where_a_copy_was_put_back(
    tmp_path: Path, defines: tuple[str, ...]
) -> None:
    """No state leads from a claim that was taken over back to a claim: the states alone keep it from doubling."""
    assert search(tmp_path, "direct", *defines).failed == ""


@slow
def test_a_superseded_row_is_no_word_that_the_order_is_not_there(tmp_path: Path) -> None:
    """The row that took over goes on to call a driver; who asks for the old row must be told of the new one."""
    assert search(tmp_path, "two_phase", "TOLD=1", "TROUBLES=0").failed == (
        "assertion violated ((state[n]!=2)||(live==0))"
    )


@slow
@pytest.mark.parametrize("model", ["two_phase", "direct"])
def test_every_state_of_an_order_is_reached(tmp_path: Path, model: str) -> None:
    """What a model never does it proves nothing of."""
    source = (MODELS / f"{model}.pml").read_text(encoding="utf-8")
    (names,) = re.findall(r"^mtype = \{ (PENDING.*) \};$", source, re.MULTILINE)
    report = report_of(tmp_path, model, ("REACH=1", "TROUBLES=1"), "-DPRINTF")
    # spin numbers the names of an mtype from the last one on.
    reached = {int(number) for number in re.findall(r"reached (\d+)$", report, re.MULTILINE)}
    assert dict(enumerate(reversed(names.split(", ")), start=1)).keys() == reached


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


@pytest.mark.parametrize("model", ["two_phase", "direct", "segments", "desk"])
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
