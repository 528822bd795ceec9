"""Rule 8, enumerated: every write acts late, its sender dies at every point, and everything is done that a person may.

The service resets each connection of one operation, and acts five minutes after it ended. A command that sends such
calls is killed at each of its boundaries. What a person may do then is done before the calls act, after they have
acted, and again when the time has passed in which they could: the same judge looks at each command.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs
import pytest

from gotsurge_async.bulk import Mode
from gotsurge_async.config import SETTLE
from tests.promise.follow_ups import push_again, push_unprocessed, resume, undo
from tests.promise.sampling import first
from tests.promise.station import KILLED, Experiment, Station
from tests.promise.tally import Tally

LATE = 300.0
"""Seconds after which a call acts; under the time in which the push believes that it may."""
MOST = 400
STEP = int(os.environ.get("GOTSURGE_LATE_STEP", "160"))
"""Every how many boundaries a command dies; the first one is drawn by the seed of the crashes. 1 tries them all."""


def reconcile(experiment: Experiment) -> None:
    """Read what became of the orders in doubt of every run, and have the result files written."""
    for run in experiment.runs():
        experiment.reconcile(run)
    experiment.look_back()


FOLLOW_UPS: Mapping[str, Callable[[Experiment], None]] = {
    "reconcile": reconcile,
    "resume": resume,
    "push again": push_again,
    "push the unprocessed": push_unprocessed,
    "undo": undo,
}


@attrs.frozen
class Write:
    """A write that acts late.

    Attributes:
        command: sends it: ``push``, or ``undo`` after a push.
        words: more words of that command.
        before: an operation that is refused while the push is made, so that drafts are left.
    """

    mode: Mode
    operation: str
    command: str = "push"
    words: tuple[str, ...] = ()
    before: str = ""

    def __str__(self) -> str:
        return " ".join((self.mode, self.operation, self.command, *self.words))


WRITES = (
    Write(Mode.DIRECT, "tasks.create"),
    Write(Mode.DIRECT, "tasks.cancel", "undo"),
    Write(Mode.TWO_PHASE, "platform.drafts.create"),
    Write(Mode.TWO_PHASE, "platform.drafts.broadcast"),
    Write(Mode.TWO_PHASE, "tasks.cancel", "undo"),
    Write(Mode.TWO_PHASE, "tasks.cancel", "undo", ("--drafts",), "platform.drafts.broadcast"),
)


def died(service: Station, folder: Path, write: Write, name: str, at: int, **more: float) -> Experiment | None:
    """An experiment whose command died at a boundary while its calls were late; None if it ended before."""
    prefix = f"{write}-{name}-{at}-".replace(" ", "-").replace(".", "-")
    experiment = Experiment(service, folder / prefix, write.mode, prefix, **more)
    if write.command == "undo":
        if write.before:
            service.refuse(write.before, 1000)
        experiment.push()
        service.be_well()
    service.be_late(write.operation, LATE)
    done = (
        experiment.push(die=at, late=False)
        if write.command == "push"
        else experiment.undo(experiment.runs()[0], *write.words, die=at)
    )
    service.be_well()
    return experiment if done.code == KILLED else None


def brought_to_its_end(service: Station, experiment: Experiment, follow_up: Callable[[Experiment], None]) -> None:
    """Do one thing before what is late acts, after it has acted, and after the time; and push the file twice more.

    Nobody knows when a process has died. So the time of its last cancel counts from when another one takes the run
    over, which is the first of the two pushes where what was done holds no run.
    """
    follow_up(experiment)
    service.let_act(LATE)
    follow_up(experiment)
    experiment.ahead = SETTLE + 60
    follow_up(experiment)
    push_again(experiment)
    experiment.ahead += SETTLE + 60
    experiment.end()
    experiment.look_back()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("follow_up", FOLLOW_UPS)
@pytest.mark.parametrize("write", WRITES, ids=str)
def test_every_late_write(service: Station, tally: Tally, folder: Path, write: Write, follow_up: str) -> None:
    """Wherever its sender dies, and whatever is done before and after it acts, each order is live at most once."""
    at = 1 + first(f"{write} {follow_up}", STEP)
    while (experiment := died(service, folder, write, follow_up, at)) is not None:
        brought_to_its_end(service, experiment, FOLLOW_UPS[follow_up])
        tally.take(experiment, f"{write}, crash at {at}, {follow_up}", crashes=1, late=1)
        shutil.rmtree(experiment.folder)
        at += STEP
        assert at < MOST
    assert not tally.verdict, tally.verdict


def take_the_first_back(experiment: Experiment) -> None:
    """Undo the first run; others may have sent its orders anew since."""
    done = experiment._type("undo", experiment.runs()[-1], *experiment._place, "--json")
    experiment._judge(done, None)


UPDATED: Mapping[str, Callable[[Experiment], None]] = {
    "change again": lambda experiment: None,
    "reconcile": reconcile,
    "undo": take_the_first_back,
}
"""What is done besides the same change, before and after it acts."""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("follow_up", UPDATED)
def test_every_late_update(service: Station, tally: Tally, folder: Path, follow_up: str) -> None:
    """A change of tasks that acts late is never forgotten: in the end every task is as the newest file has it."""
    at = 1 + first(f"update {follow_up}", STEP)
    while True:
        prefix = f"late-update-{follow_up}-{at}-".replace(" ", "-")
        experiment = Experiment(service, folder / prefix, Mode.TWO_PHASE, prefix)
        experiment.push()
        changed = experiment.folder / "changed.csv"
        changed.write_text(experiment.file.read_text().replace(",48.50,", ",52.00,"))

        def change(experiment: Experiment, changed: Path = changed, **traps: int) -> int:
            return experiment.push("--replace-changed", file=changed, **traps).code

        service.be_late("platform.tasks.update", LATE)
        code = change(experiment, die=at)
        service.be_well()
        if code != KILLED:
            break
        for seconds in (0, LATE):
            service.let_act(seconds)
            UPDATED[follow_up](experiment)
            change(experiment)
        experiment.ahead = SETTLE + 60
        assert change(experiment) == 0, "\n".join(experiment.log)
        for task in experiment.tasks():
            if task.live:
                assert '"price":5200000' in service.text_of(task.id), "\n".join(experiment.log)
        tally.take(experiment, f"update, crash at {at}, {follow_up}", crashes=1, late=1)
        shutil.rmtree(experiment.folder)
        at += STEP
        assert at < MOST
    assert not tally.verdict, tally.verdict


@pytest.mark.parametrize(("mode", "follow_up"), [(Mode.DIRECT, "push again"), (Mode.TWO_PHASE, "reconcile")])
def test_an_undo_whose_cancels_act_late(
    service: Station, tally: Tally, folder: Path, mode: Mode, follow_up: str
) -> None:
    """The quick part: an undo that dies nowhere, or in the middle, and loses every answer."""
    write = Write(mode, "tasks.cancel", "undo")
    names = Experiment(service, folder / "whole", mode, f"{mode}-{follow_up}-late-whole-".replace(" ", "-"))
    names.push()
    requests = [at for at, name in enumerate(names.undo(names.runs()[0]).boundaries, 1) if name == "after a request"]
    experiment = died(service, folder, write, f"few {follow_up}", requests[len(requests) // 2])
    assert experiment is not None
    brought_to_its_end(service, experiment, FOLLOW_UPS[follow_up])
    tally.take(experiment, f"{write}, {follow_up}", crashes=1, late=1)
    assert not tally.verdict, tally.verdict


@pytest.mark.parametrize("mode", list(Mode))
def test_a_push_that_settles_by_one_read_is_caught(service: Station, folder: Path, mode: Mode) -> None:
    """The control: where a cancel is believed to act at once or never, the same judge finds orders that are lost."""
    write = Write(mode, "tasks.cancel", "undo")
    prefix = f"{mode}-late-control-"
    experiment = Experiment(service, folder / "control", mode, prefix, settle=0)
    experiment.push()
    service.be_late(write.operation, LATE)
    experiment.undo(experiment.runs()[0])
    service.be_well()
    reconcile(experiment)
    assert not experiment.faults, "\n".join(experiment.log)
    assert service.let_act(LATE)
    push_again(experiment)
    experiment.end()
    assert experiment.faults.losses
