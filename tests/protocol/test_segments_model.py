"""The model of a run on many machines: its fences hold what is said of segments and runs, and each is needed."""

import re
from pathlib import Path

import pytest

from tests.protocol.spin import MODELS, defined, report_of, search

pytestmark = pytest.mark.slow

DOUBLED = "live[0]<=1"
SENT_OF_WHAT_IS_UNDONE = "(undone)"
CALLED_IN_DOUBT = "epoch[o]!=segment_epoch[g]"
NOT_OVER = "over[("
WAITS_FOR_EVER = "assertion violated ( !((((state[0]"
"""What tells the assertions apart by which something is wrong."""

ONE = ("TWO_PHASE=1", "ORDERS=1")


@pytest.mark.parametrize(
    "defines",
    [
        (),
        ("WORKERS=4", "TROUBLES=0"),
        ("SEGMENTS=2", "TROUBLES=3"),
        ("TWO_PHASE=1", "TROUBLES=1"),
        ("TWO_PHASE=1", "SEGMENTS=2", "TROUBLES=1"),
        ("TWO_PHASE=1", "WORKERS=2", "TROUBLES=4"),
        (*ONE, "TROUBLES=3"),
    ],
    ids=defined,
)
def test_with_its_fences_nothing_is_doubled_and_what_is_over_is_over(tmp_path: Path, defines: tuple[str, ...]) -> None:
    """Whoever takes segments and runs, and when, without any lease: nothing is doubled, and what is said is so."""
    found = search(tmp_path, "segments", *defines)
    assert found.failed == ""
    assert found.states > 10_000


@pytest.mark.parametrize(
    "defines",
    [("TROUBLES=3",), ("SEGMENTS=2", "TROUBLES=3"), ("TWO_PHASE=1",), ("TWO_PHASE=1", "SEGMENTS=2")],
    ids=defined,
)
def test_after_any_troubles_the_sweeper_brings_every_order_to_its_end(tmp_path: Path, defines: tuple[str, ...]) -> None:
    """No order waits for ever in a segment that is over, nor in a run that is done."""
    assert search(tmp_path, "segments", "SETTLE=1", "WORKERS=2", *defines).failed == ""


@pytest.mark.parametrize(
    ("defines", "wrong"),
    [
        (("RUN=0",), SENT_OF_WHAT_IS_UNDONE),
        (("RUN=0", *ONE), SENT_OF_WHAT_IS_UNDONE),
        (("OPEN=0",), SENT_OF_WHAT_IS_UNDONE),
        (("SEGMENT=0",), CALLED_IN_DOUBT),
        (("SEGMENT=0", *ONE), CALLED_IN_DOUBT),
        (("DOUBT=0",), DOUBLED),
        (("ENDED=0",), NOT_OVER),
        (("ENDED=0", *ONE), NOT_OVER),
        (("AGAIN=0", *ONE), NOT_OVER),
        (("AGAIN=0", *ONE, "SETTLE=1", "WORKERS=2", "TROUBLES=2"), WAITS_FOR_EVER),
    ],
    ids=defined,
)
def test_without_one_of_its_rules_something_is_wrong(tmp_path: Path, defines: tuple[str, ...], wrong: str) -> None:
    """Each rule is needed: without it an order is doubled, or lost, or what is said of a segment or a run is not so."""
    assert wrong in search(tmp_path, "segments", "TROUBLES=1", *defines).failed


@pytest.mark.parametrize(
    "defines",
    [
        *(("SWAP=0", f"{fence}=0") for fence in ("SEGMENT", "RUN", "OPEN")),
        *((*ONE, "CHUNK=0", f"{fence}=0") for fence in ("SEGMENT", "RUN")),
        ("RUN=0", "SEGMENT=0", "CHUNK=0", "SWAP=0"),
        (*ONE, "RUN=0", "SEGMENT=0", "CHUNK=0", "SWAP=0"),
    ],
    ids=defined,
)
def test_without_two_of_its_fences_an_order_is_doubled(tmp_path: Path, defines: tuple[str, ...]) -> None:
    """Where a claim does not look at what it claims, only the fences of segment and run keep orders from doubling."""
    assert DOUBLED in search(tmp_path, "segments", "TROUBLES=1", "DOUBLES=1", *defines).failed


@pytest.mark.parametrize("rule", ["SEGMENT", "RUN", "CHUNK", "SWAP", "OPEN"])
@pytest.mark.parametrize("mode", [("TWO_PHASE=0",), ONE], ids=defined)
def test_without_one_fence_nothing_is_doubled_yet(tmp_path: Path, rule: str, mode: tuple[str, ...]) -> None:
    """Against doubles there are two fences behind each other, whichever is taken away."""
    assert search(tmp_path, "segments", f"{rule}=0", "DOUBLES=1", "TROUBLES=1", *mode).failed == ""


@pytest.mark.parametrize(
    ("mode", "never"), [("TWO_PHASE=0", {"DRAFTING", "DRAFTED", "BROADCASTING"}), ("TWO_PHASE=1", {"SENDING"})]
)
def test_every_state_of_an_order_is_reached(tmp_path: Path, mode: str, never: set[str]) -> None:
    """What a model never does it proves nothing of."""
    source = (MODELS / "segments.pml").read_text(encoding="utf-8")
    (names,) = re.findall(r"^mtype = \{ (PENDING.*) \};$", source, re.MULTILINE)
    report = report_of(tmp_path, "segments", ("REACH=1", mode, "TROUBLES=1", "WORKERS=2"), "-DPRINTF")
    reached = {int(number) for number in re.findall(r"reached (\d+)$", report, re.MULTILINE)}
    told = dict(enumerate(reversed(names.split(", ")), start=1))
    assert {told[number] for number in reached} == set(told.values()) - never
