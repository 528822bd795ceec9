"""Outages as sequences: one call of a push acts and its answer is lost, the calls after it meet an outage, then the
service is well again, and the operator does one thing or another.

Every call of a push is the lost one in turn. All goes through the command line; the judge is `judge`.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import cycle, product
from pathlib import Path
from typing import Any, TypeVar

import attrs
import pytest

from gotsurge_async.bulk import Mode
from gotsurge_async.simulator import SimulatorOptions
from tests.promise import follow_ups
from tests.promise.at_hand import READ, AtHand, Worded, at_hand, hurried
from tests.promise.judge import Faults
from tests.promise.sampling import first
from tests.promise.station import Experiment
from tests.promise.tally import Tally

OUTAGE_STEP = int(os.environ.get("GOTSURGE_OUTAGE_STEP", "24"))
"""Every how many pairs of a lost call and an outage are played; 1 plays them all."""

Place = TypeVar("Place")

LOST: dict[str, Any] = {"when": "after", "kind": "reset"}
"""How an answer is lost, as a rule: the call acts, and then the connection is reset."""

LOSSES: Mapping[str, dict[str, Any]] = {
    "reset before it acts": {"when": "before", "kind": "reset"},
    "garbage": {"when": "after", "kind": "garbage"},
    "half an answer": {"when": "after", "kind": "half"},
    "503 though it acts": {"when": "after", "kind": "status", "status": 503},
    "time-out": {"when": "after", "kind": "delay", "seconds": 60.0},
    "acts too late": {"when": "before", "kind": "delay", "seconds": READ * 1.5},
}
"""Other ways."""

OUTAGES: Mapping[str, dict[str, Any] | None] = {
    "no outage": None,
    "401": {"kind": "status", "status": 401},
    "401, renewed": {"kind": "status", "status": 401, "spares": ("auth.refresh",)},
    "401 once": {"kind": "status", "status": 401, "times": 1},
    "429": {"kind": "status", "status": 429},
    "503 once": {"kind": "status", "status": 503, "times": 1},
    "503": {"kind": "status", "status": 503},
    "reset once": {"kind": "reset", "times": 1},
    "reset": {"kind": "reset"},
    "time-out once": {"kind": "delay", "seconds": 60.0, "times": 1},
    "time-out": {"kind": "delay", "seconds": 60.0},
}
"""What the calls after the lost one meet, one of them or all, until the service is well again."""


@attrs.frozen
class Way:
    """A push of a mode, with some words, to a service that reads the document in some way."""

    mode: Mode
    words: tuple[str, ...] = ()
    switches: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def options(self) -> SimulatorOptions:
        """The switches as the simulator takes them."""
        return SimulatorOptions(**self.switches)

    def __str__(self) -> str:
        return " ".join([self.mode, *self.words, *(f"{name}={value}" for name, value in self.switches.items())])


WAYS = (Way(Mode.DIRECT), Way(Mode.TWO_PHASE), Way(Mode.TWO_PHASE, switches={"updated_tasks": "ids"}))
"""The last one makes two-phase mode read each task."""

ODD_WAYS = (
    Way(Mode.DIRECT, switches={"tracking_id_echo": "never"}),
    Way(Mode.DIRECT, switches={"tracking_id_unique": "tasks", "answer_order": "shuffled"}),
    Way(Mode.DIRECT, ("--mode", "auto", "--canary", "1")),
    Way(Mode.TWO_PHASE, switches={"tracking_id_echo": "never"}),
    Way(Mode.TWO_PHASE, switches={"rebroadcast": "skipped", "updated_tasks": "ids"}),
    Way(Mode.TWO_PHASE, switches={"rebroadcast": "passes", "draft_tasks": "map"}),
    Way(Mode.TWO_PHASE, switches={"draft_status": "draft", "drafts_listed": False}),
    Way(Mode.TWO_PHASE, switches={"tracking_id_unique": "drafts-too"}),
    Way(Mode.TWO_PHASE, ("--mode", "auto", "--canary", "1")),
)
"""Lawful odd answers, and pushes with more calls."""

FollowUp = Callable[[Experiment], None]

FOLLOW_UPS: Mapping[str, FollowUp] = {**follow_ups.FOLLOW_UPS, "undo": follow_ups.undo}


class Stage:
    """Plays outages on one service, and counts."""

    def __init__(self, station: AtHand, way: Way, folder: Path, tally: Tally) -> None:
        self._station = station
        self.way = way
        self._folder = folder
        self._tally = tally
        self._number = 0

    def experiment(self) -> Worded:
        """A file of four orders, in two chunks."""
        self._number += 1
        prefix = f"{self._number}-"
        return Worded(self._station, self._folder / prefix, self.way.mode, prefix, count=4, words=self.way.words)

    def calls(self) -> range:
        """The calls of a push that meets no fault."""
        before = self._station.calls
        experiment = self.experiment()
        experiment.push()
        assert not experiment.faults, "\n".join(experiment.log)
        return range(self._station.calls - before)

    def play(
        self, call: int, loss: Mapping[str, Any], outage: str, follow_up: str, *, second: int | None = None
    ) -> None:
        """Play one sequence to its end.

        Args:
            call: which call of the push is lost, from 0.
            second: which call of the follow-up is lost, before the service is down; None if it is well then.
        """
        experiment = self.experiment()
        before = self._station.calls
        with self.trouble(call, loss, outage):
            done = experiment.push()
        assert self._station.calls - before > call, "no call was lost"
        if experiment.tasks() and '"files"' not in done.out:
            experiment.find(Faults(dishonest=(f"something was sent, and exit {done.code} comes without a summary",)))
        with nullcontext() if second is None else self.trouble(second, LOST, "503"):
            FOLLOW_UPS[follow_up](experiment)
        experiment.end()
        what = f"{self.way}: call {call} lost ({loss}), {outage}, {follow_up}"
        self._tally.take(experiment, what if second is None else f"{what} with call {second} lost, 503", outages=1)
        shutil.rmtree(experiment.folder)

    @contextmanager
    def trouble(self, call: int, loss: Mapping[str, Any], outage: str) -> Iterator[None]:
        """Have a call of the block lost, and the others after it meet an outage."""
        self._station.order(**loss, after_calls=call, times=1)
        following = OUTAGES[outage]
        if following is not None:
            self._station.order(**following, after_calls=call + 1)
        impatient = loss["kind"] == "delay" or "time-out" in outage
        with hurried(read=READ, attempts=2) if impatient else nullcontext():
            yield
        self._station.be_well()


@pytest.fixture
def stage(request: pytest.FixtureRequest, tally: Tally, folder: Path) -> Iterator[Stage]:
    """A stage for the way that is the test's parameter."""
    way: Way = request.param
    with at_hand(way.options) as station:
        yield Stage(station, way, folder, tally)


def played(stage: Stage, places: Iterable[Place], name: str, step: int) -> Sequence[Place]:
    """Every so many of the places, from one that the seed draws; all of them with ``GOTSURGE_OUTAGE_STEP=1``."""
    step = min(step, OUTAGE_STEP)
    return [*places][first(f"{stage.way} {name}", step) :: step]


def on(ways: Iterable[Way]) -> pytest.MarkDecorator:
    """Once for each way."""
    return pytest.mark.parametrize("stage", ways, ids=str, indirect=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("follow_up", FOLLOW_UPS)
@on(WAYS)
def test_every_outage(stage: Stage, tally: Tally, follow_up: str) -> None:
    """Whichever answer is lost, whatever comes next and whatever is done then: no double, no loss, no untrue word."""
    for call, outage in played(stage, product(stage.calls(), OUTAGES), follow_up, OUTAGE_STEP):
        stage.play(call, LOST, outage, follow_up)
    assert not tally.verdict, tally.verdict


@pytest.mark.slow
@pytest.mark.timeout(900)
@on(WAYS)
def test_every_way_to_lose_an_answer(stage: Stage, tally: Tally) -> None:
    """It does not matter how an answer is lost, nor whether its call acted before, acts later, or never did."""
    then = cycle(FOLLOW_UPS)
    places = product(stage.calls(), LOSSES.values(), ("no outage", "401", "503"))
    for call, loss, outage in played(stage, places, "losses", 5):
        stage.play(call, loss, outage, next(then))
    assert not tally.verdict, tally.verdict


@pytest.mark.slow
@pytest.mark.timeout(900)
@on(ODD_WAYS)
def test_outages_of_services_that_answer_otherwise(stage: Stage, tally: Tally) -> None:
    """The same holds of a service that reads the open points of its document in another way."""
    # A service that lets no tracking id be used twice refuses an order that was taken back.
    then = cycle(follow_ups.FOLLOW_UPS if stage.way.options.tracking_id_unique != "no" else FOLLOW_UPS)
    for call, outage in played(stage, product(stage.calls(), ("no outage", "401", "503", "reset once")), "odd", 5):
        stage.play(call, LOST, outage, next(then))
        stage.play(call, LOST, outage, "push again")
    assert not tally.verdict, tally.verdict


@pytest.mark.slow
@pytest.mark.timeout(900)
@on(WAYS)
def test_two_outages_in_a_row(stage: Stage, tally: Tally) -> None:
    """The same holds when what is done afterwards meets an outage of its own."""
    then = cycle(("resume", "push again", "push by another name"))
    for call, outage, second in played(stage, product(stage.calls(), ("401", "503"), range(3)), "twice", 5):
        stage.play(call, LOST, outage, next(then), second=second)
    assert not tally.verdict, tally.verdict


FEW = (
    (Way(Mode.DIRECT), 1, "503", "push the unprocessed"),
    (Way(Mode.DIRECT), 0, "401", "resume"),
    (Way(Mode.TWO_PHASE), 0, "reset once", "push again"),
    (Way(Mode.TWO_PHASE), 1, "401", "push the unprocessed"),
    (Way(Mode.TWO_PHASE), 1, "503", "push by another name"),
    (Way(Mode.TWO_PHASE), 3, "reset", "undo"),
    (Way(Mode.TWO_PHASE, switches={"updated_tasks": "ids"}), 1, "401, renewed", "resume"),
    (Way(Mode.TWO_PHASE, switches={"updated_tasks": "ids"}), 3, "401", "push again"),
)


@pytest.mark.parametrize(
    ("stage", "call", "outage", "follow_up"), FEW, ids=lambda value: str(value), indirect=["stage"]
)
def test_a_few_outages(stage: Stage, tally: Tally, call: int, outage: str, follow_up: str) -> None:
    """The quick part of the enumeration."""
    stage.play(call, LOST, outage, follow_up)
    assert not tally.verdict, tally.verdict


@on([Way(Mode.DIRECT), Way(Mode.TWO_PHASE)])
def test_a_push_without_a_memory_is_caught(stage: Stage) -> None:
    """The control: a push that forgot what it sent when its answer was lost doubles, and the same judge says so.

    It has to forget its ledger and the register, and must not see the Task List.
    """
    experiment = stage.experiment()
    with stage.trouble(max(stage.calls()), LOST, "503"):
        experiment.push()
    for file in experiment.folder.glob("ledger.db*"):
        file.unlink()
    shutil.rmtree(experiment.register)
    experiment.station.refuse("platform.tasks.list", 1)
    experiment.push()
    assert experiment.faults.doubles
