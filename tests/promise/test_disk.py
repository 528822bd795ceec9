"""A disk that fails, or a power cut, at each write of the ledger in turn; then it is well, and the operator goes on.

``strace`` breaks the system calls of a real push. All goes through the command line; the judge is `judge`.
"""

import shutil
from collections.abc import Iterator
from itertools import chain, count, cycle
from pathlib import Path

import attrs
import pytest

from gotsurge_async.bulk import Mode
from tests.promise.at_hand import AtHand, at_hand
from tests.promise.follow_ups import FOLLOW_UPS
from tests.promise.judge import USAGE, Faults
from tests.promise.sampling import PART, first
from tests.promise.station import KILLED, Experiment, Finished
from tests.promise.tally import Tally

KILL, EIO, ENOSPC = "signal=KILL", "error=EIO", "error=ENOSPC"


@attrs.frozen
class Break:
    """What happens to the system calls of a kind on a file of the ledger."""

    how: str
    """KILL, EIO or ENOSPC."""
    call: str = "fdatasync"
    file: str = "ledger.db-wal"
    for_good: bool = False
    """Whether all later calls fail too, until the command has ended."""

    def below(self, folder: Path, number: int) -> list[str]:
        """The words that a command is started below, to break its call of this number, from 1.

        Calls are counted for each thread alone; the threads that write the same file do so one after another.
        """
        when = f"{number}{'+' if self.for_good else ''}"
        which = [
            "-P",
            str(folder / self.file),
            "-e",
            f"trace={self.call}",
            "-e",
            f"inject={self.call}:{self.how}:when={when}",
        ]
        # Where a signal is to be sent, every call must be stopped at.
        quick = [] if self.how == KILL else ["--seccomp-bpf"]
        return ["strace", "-f", *quick, "-o", str(folder / "strace.log"), *which]

    def __str__(self) -> str:
        return f"{self.how.partition('=')[2]} {self.call} {self.file}{' for good' if self.for_good else ''}"


EVERY = [
    Break(KILL),
    Break(EIO),
    Break(ENOSPC, for_good=True),
    *(Break(how, file=file) for how in (KILL, EIO) for file in ("ledger.db", "ledger.db-journal")),
    Break(EIO, "pwrite64", "ledger.db", for_good=True),
]
"""Broken at each call."""

MANY = [Break(EIO, "pwrite64"), Break(ENOSPC, "pwrite64", for_good=True)]
"""Broken at every third call: there are four to each commit."""


def was_hit(broken: Break, done: Finished, log: Path) -> bool:
    """Whether the call was reached, and broken."""
    return done.code == KILLED if broken.how == KILL else "(INJECTED)" in log.read_text()


def judge_words(experiment: Experiment, done: Finished) -> Faults:
    """What the judge of orders does not look at: what is said without a summary."""
    lies = []
    if done.code not in (0, KILLED) and not done.err.strip() and '"files"' not in done.out:
        lies.append(f"exit {done.code} without a word")
    if done.code == USAGE and experiment.tasks():
        lies.append("exit 2 says that nothing was sent, and something was")
    advice = any(word in done.err for word in ("resume", "push the same file again", "try again"))
    if done.code not in (0, KILLED) and '"files"' not in done.out and not advice:
        lies.append(f"exit {done.code} does not say what to do")
    return Faults(dishonest=tuple(lies))


@pytest.fixture(scope="module")
def place() -> Iterator[AtHand]:
    """A service for the module."""
    with at_hand() as made:
        yield made


def play(place: AtHand, folder: Path, mode: Mode, broken: Break, number: int, follow_up: str, tally: Tally) -> bool:
    """Push with one broken call, then do something, then push again; whether the call was reached."""
    prefix = f"{mode}-{broken}-{number}-".replace(" ", "-")
    experiment = Experiment(place, folder / prefix, mode, prefix, count=4)
    done = experiment.push(below=broken.below(experiment.folder, number))
    hit = was_hit(broken, done, experiment.folder / "strace.log")
    if hit:
        experiment.find(judge_words(experiment, done))
        FOLLOW_UPS[follow_up](experiment)
        experiment.end()
        tally.take(experiment, f"{mode}, {broken}, call {number}, {follow_up}", **{"broken calls": 1})
    shutil.rmtree(experiment.folder)
    return hit


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("broken", "step"), [*((each, 1) for each in EVERY), *((each, 3) for each in MANY)], ids=str)
@pytest.mark.parametrize("mode", list(Mode))
def test_every_write(place: AtHand, tally: Tally, folder: Path, mode: Mode, broken: Break, step: int) -> None:
    """Whichever write of the ledger fails, or is the last: no double, no loss, no untrue word, and it can go on."""
    then = cycle(FOLLOW_UPS)
    step *= PART
    for number in chain([1], count(2 + first(f"{broken} {mode}", step), step)):
        if not play(place, folder, mode, broken, number, next(then), tally):
            break
    assert number > 1, "nothing was broken"
    assert not tally.verdict, tally.verdict
