"""Pushes that stand still for a while, and wake when others have gone on without them."""

import shutil
from pathlib import Path

import pytest

from gotsurge_async.bulk import Mode
from tests.promise.follow_ups import push_again, resume
from tests.promise.judge import CREATED, HELD
from tests.promise.sampling import part
from tests.promise.station import Experiment, Station
from tests.promise.tally import Tally

HOLDS_THE_FILE = "before a write"
"""Frozen there, a push keeps the database locked, and others wait for a minute and then give up."""


def boundaries(service: Station, folder: Path, mode: Mode) -> list[int]:
    """The boundaries of a push at which it keeps no lock of the database."""
    whole = Experiment(service, folder / "whole", mode, f"{mode}-{folder.name}-whole-").push()
    assert whole.code == CREATED
    return [at for at, name in enumerate(whole.boundaries, 1) if name != HOLDS_THE_FILE]


def lose_the_lock(experiment: Experiment) -> None:
    """Take the locks of the runs away, as a careless clean-up or a network file system does."""
    for lock in experiment.folder.glob("*.lock"):
        lock.unlink()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("mode", list(Mode))
def test_what_wakes_does_no_harm(service: Station, tally: Tally, folder: Path, mode: Mode, late: bool) -> None:
    """A push that was frozen, and whose run another one took over, sends nothing twice and says nothing untrue."""
    for number, at in enumerate(part(boundaries(service, folder, mode), f"frozen {mode} {late}")):
        prefix = f"{mode}-woken-{late}-{at}-"
        experiment = Experiment(service, folder / prefix, mode, prefix)
        frozen = experiment.freeze(at, late=late)
        assert frozen is not None
        lose_the_lock(experiment)
        follow_up = (resume, push_again)[(number + late) % 2]
        follow_up(experiment)
        experiment.wake(frozen)
        experiment.end()
        tally.take(experiment, f"{mode}, frozen at {at}, {follow_up.__name__}, late: {late}", freezes=1)
        shutil.rmtree(experiment.folder)
    assert not tally.verdict, tally.verdict


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_person_may_decide_while_it_stands(service: Station, tally: Tally, folder: Path) -> None:
    """What was claimed, and not sent for an hour, is not sent: somebody may have said meanwhile that it never was."""
    names = Experiment(service, folder / "whole", Mode.DIRECT, "decided-whole-").push().boundaries
    claimed = [at for at, name in enumerate(names) if name == "before a request"]  # each right after its claim
    for at in claimed:
        prefix = f"decided-{at}-"
        experiment = Experiment(service, folder / prefix, Mode.DIRECT, prefix, settle=0)
        frozen = experiment.freeze(at, late=True)
        assert frozen is not None
        lose_the_lock(experiment)
        experiment.resume()
        experiment.resolve_as_absent(experiment.runs()[0])
        experiment.push()
        assert all(task.live for task in experiment.tasks())
        experiment.wake(frozen)
        experiment.end()
        tally.take(experiment, f"frozen at {at}", freezes=1)
    assert not tally.verdict, tally.verdict


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(Mode))
def test_a_frozen_push_keeps_its_run(service: Station, folder: Path, mode: Mode) -> None:
    """While a push stands still nobody gets its run, by no name of the ledger; it wakes and ends as if nothing was."""
    prefix = f"{mode}-kept-"
    experiment = Experiment(service, folder / prefix, mode, prefix)
    names = Experiment(service, folder / "whole", mode, f"{mode}-whole-").push().boundaries
    last = max(at for at, name in enumerate(names, 1) if name == "after a request")
    frozen = experiment.freeze(last, late=False)
    assert frozen is not None
    held = (
        experiment.resume(),
        experiment.push(),
        experiment.push(ledger=experiment.other_name()),
    )
    assert [done.code for done in held] == [HELD] * 3
    assert experiment.wake(frozen).code == CREATED
    experiment.end()
    assert not experiment.faults, "\n".join(experiment.log)
