"""Every point at which a push can die, each followed by everything that a person may do then.

The points are not chosen: each request, each durable write and each file that is put in its place is one before and
one after, and the push is killed at the first, the second, and so on, until it comes to its end. After each follow-up
the same file is pushed once more. All goes through the command line; the judge is `judge`.
"""

from pathlib import Path

import pytest

from gotsurge_async.bulk import Mode
from tests.promise.follow_ups import FOLLOW_UPS, push_again
from tests.promise.station import KILLED, REFUSED_CALLS, Experiment, Station
from tests.promise.tally import Tally


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
def test_a_push_without_a_memory_is_caught(service: Station, folder: Path, mode: Mode) -> None:
    """The control: a push that forgot what it sent before it died doubles, and the same judge says so."""
    experiment = Experiment(service, folder / "control", mode, f"{mode}-control-")
    names = Experiment(service, folder / "whole", mode, f"{mode}-whole-").push().boundaries
    last = max(at for at, name in enumerate(names, 1) if name == "after a request")
    assert experiment.push(die=last).code == KILLED
    for file in experiment.folder.glob("ledger.db*"):
        file.unlink()
    push_again(experiment)
    assert experiment.faults.doubles
