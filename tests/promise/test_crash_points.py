"""Every point at which a push can die, each followed by everything that a person may do then.

The points are not chosen: each request, each durable write and each file that is put in its place is one before and
one after. With ``GOTSURGE_CRASH_STEP=1`` the push is killed at the first, the second, and so on, until it comes to its
end; else at every eighth one, from one that the seed draws. After each follow-up the same file is pushed once more. All
goes through the command line; the judge is `judge`.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from gotsurge_async.bulk import Mode
from tests.conftest import CRASH_SEED
from tests.promise.follow_ups import FOLLOW_UPS, push_again, resume, undo
from tests.promise.sampling import STEP, first
from tests.promise.station import KILLED, REFUSED_CALLS, Experiment, Station
from tests.promise.tally import Tally

MOST = 400
"""More boundaries than any push of five orders has."""


def crash(
    service: Station, folder: Path, mode: Mode, name: str, at: int, *, refusing: bool = False
) -> Experiment | None:
    """A push that died at a boundary; None if it came to its end before."""
    experiment = Experiment(service, folder / f"{name}{at}", mode, f"{mode}-{name}-{at}-".replace(" ", "-"))
    if refusing:
        service.refuse(*REFUSED_CALLS[mode])
    done = experiment.push(die=at)
    service.be_well()
    if done.code == KILLED:
        return experiment
    # It is the one that died nowhere, and was judged like the others.
    assert not experiment.faults, "\n".join(experiment.log)
    return None


def crashes(
    service: Station, folder: Path, mode: Mode, name: str, *, step: int = 1, refusing: bool = False
) -> Iterator[tuple[int, Experiment]]:
    """A push for each boundary that is tried, dead there."""
    step *= STEP
    for at in range(1 + first(f"{mode} {name}", step), MOST, step):
        experiment = crash(service, folder, mode, name, at, refusing=refusing)
        if experiment is None:
            return
        yield at, experiment
        shutil.rmtree(experiment.folder)
    raise AssertionError("the push never came to its end")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("follow_up", FOLLOW_UPS)
@pytest.mark.parametrize("mode", list(Mode))
def test_every_crash_point(service: Station, tally: Tally, folder: Path, mode: Mode, follow_up: str) -> None:
    """Wherever a push dies and whatever is done then, no order is doubled or lost, and every word is true."""
    for at, experiment in crashes(service, folder, mode, follow_up, refusing=follow_up == "retry"):
        FOLLOW_UPS[follow_up](experiment)
        experiment.end()
        if follow_up == "push again":
            experiment.look_back()
        tally.take(experiment, f"{mode}, crash at {at}, {follow_up}", crashes=1)
    assert not tally.verdict, tally.verdict


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mode", list(Mode))
def test_undo_after_a_crash(service: Station, tally: Tally, folder: Path, mode: Mode) -> None:
    """What was created before a crash can be taken back, is told so, and is pushed again with the same file."""
    for at, experiment in crashes(service, folder, mode, "undo", step=3):
        undo(experiment)
        experiment.end()
        tally.take(experiment, f"{mode}, crash at {at}, undo", crashes=1)
    assert not tally.verdict, tally.verdict


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("mode", list(Mode))
def test_two_crashes_in_a_row(service: Station, tally: Tally, folder: Path, mode: Mode, first: int) -> None:
    """What is done after a crash may die too."""
    follow_up = (resume, push_again)[first]
    for at, experiment in crashes(service, folder, mode, f"twice {follow_up.__name__}", step=2):
        # Spread over all boundaries of the follow-up, which has fewer left the later the first crash was.
        second = 1 + at * 7 % 30
        follow_up(experiment, die=second)
        experiment.end()
        tally.take(experiment, f"{mode}, crash at {at}, {follow_up.__name__} with a crash at {second}", crashes=2)
    assert not tally.verdict, tally.verdict


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mode", list(Mode))
def test_crashes_at_any_time(service: Station, tally: Tally, folder: Path, mode: Mode) -> None:
    """A larger push with several calls in flight that dies at any time, over and over, comes to a good end."""
    random = Random(f"{CRASH_SEED} {mode}")
    for number in range(12):
        prefix = f"{mode}-any-{number}-"
        experiment = Experiment(service, folder / prefix, mode, prefix, concurrency=4, count=30)
        for _ in range(4):
            follow_up = random.choice((resume, push_again))
            follow_up(experiment, die_after=random.uniform(0.02, 0.25))
        experiment.end()
        tally.take(experiment, f"{mode}, {number}", crashes=4)
    assert not tally.verdict, tally.verdict


@pytest.mark.parametrize(
    ("mode", "call", "name", "follow_up"),
    [
        (Mode.DIRECT, 1, "after a request", "resume"),
        (Mode.DIRECT, 2, "before a request", "push by another name"),
        (Mode.TWO_PHASE, 1, "after a request", "push the unprocessed"),
        (Mode.TWO_PHASE, 2, "after a request", "push again"),
    ],
)
def test_a_few_crash_points(
    service: Station, tally: Tally, folder: Path, mode: Mode, call: int, name: str, follow_up: str
) -> None:
    """The quick part of the enumeration: around the calls that create, or draft, and broadcast."""
    names = Experiment(service, folder / "whole", mode, f"{mode}-{name}-whole-".replace(" ", "-")).push().boundaries
    at = [place for place, each in enumerate(names, 1) if each == name][call - 1]
    experiment = crash(service, folder, mode, follow_up, at)
    assert experiment is not None
    FOLLOW_UPS[follow_up](experiment)
    experiment.end()
    experiment.look_back()
    tally.take(experiment, f"{mode}, crash at {at}, {follow_up}", crashes=1)
    assert not tally.verdict, tally.verdict


@pytest.mark.parametrize("mode", list(Mode))
def test_the_writes_of_the_ledger_are_boundaries(service: Station, folder: Path, mode: Mode) -> None:
    """Between a call that creates and the next one the ledger writes, and a push can be killed before and after it."""
    names = Experiment(service, folder / "whole", mode, f"{mode}-writes-").push().boundaries
    calls = [at for at, name in enumerate(names) if name == "before a request"]
    assert len(calls) >= 3
    for before, after in zip([0, *calls], calls, strict=False):
        assert {"before a write", "after a write"} <= set(names[before:after])


@pytest.mark.parametrize("mode", list(Mode))
def test_a_push_without_a_memory_is_caught(service: Station, folder: Path, mode: Mode) -> None:
    """The control: a push that forgot what it sent before it died doubles, and the same judge says so.

    It has to forget its ledger and the register, and must not see the Task List.
    """
    experiment = Experiment(service, folder / "control", mode, f"{mode}-control-")
    names = Experiment(service, folder / "whole", mode, f"{mode}-whole-").push().boundaries
    last = max(at for at, name in enumerate(names, 1) if name == "after a request")
    assert experiment.push(die=last).code == KILLED
    for file in experiment.folder.glob("ledger.db*"):
        file.unlink()
    shutil.rmtree(experiment.register)
    service.refuse("platform.tasks.list", 1)
    push_again(experiment)
    assert experiment.faults.doubles
