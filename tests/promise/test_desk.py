"""Desks that die, or stand still, at every step; and what others do then with the same keys.

A program asks a desk for five orders, each twice at the same moment. It is struck before and after each request, and
each durable write. Then the same is asked again, with another content, by two programs at once, or the orders are
pushed as a file. What the program printed before it died must be true as well.
"""

import json
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

import attrs
import pytest

from gotsurge_async.bulk import Mode
from gotsurge_async.ledger.submitted import LEASE
from tests.promise import sampling
from tests.promise.follow_ups import push_again
from tests.promise.judge import CREATED, Faults
from tests.promise.station import BROKEN, KILLED, Experiment, Finished, Frozen, Station
from tests.promise.tally import Tally
from tests.promise.test_frozen import HOLDS_THE_FILE, lose_the_lock
from tests.promise.test_postgres import OnServer
from tests.support.postgres import Server

PROGRAM = "tests.promise.as_desk"
MOST = 400
STEP = sampling.STEP * sampling.PART
"""Every how many boundaries a program is struck; 1 tries them all."""
NOT_OPENED = 1
OTHER_PRICE = "5200000"
IN_TIME = "the desk did not answer in time"


@attrs.define(slots=False)
class AtDesk(Experiment):
    """An experiment whose orders a program asks a desk for.

    Attributes:
        submitted: the keys of those that a program submitted, and heard that they are durable.
    """

    submitted: set[str] = attrs.field(factory=set)

    def ask(self, *words: str, **traps: Any) -> Finished:
        """Ask for all orders, and judge the outcomes."""
        done = self._type(*self._asking, *words, program=PROGRAM, **traps)
        self._judge_desk(done)
        return done

    def freeze_asking(self, boundary: int, *, late: bool) -> Frozen | None:
        """Ask, and stand still at a boundary; None if it came to its end before."""
        order, typed, number = self._order(*self._asking, program=PROGRAM, freeze=boundary, late=late)
        report = self.station.ask(order)
        self.log.append(f"a desk frozen at boundary {boundary}, late: {late}")
        return Frozen(report["pid"], typed, number) if report.get("stopped") else None

    def wake_asking(self, frozen: Frozen) -> Finished:
        """Wake it, and judge the outcomes."""
        done = self._finished(frozen.words, self.station.ask({"wake": frozen.pid})["code"], frozen.number)
        self.log.append(str(done))
        self._judge_desk(done)
        return done

    def reconcile(self) -> None:
        """Find out what can be found out of all runs: a desk that ended left each of them."""
        for run in self.runs():
            self._type("reconcile", run, *self._place, "--rescan-after", "0")

    @property
    def _asking(self) -> tuple[str, ...]:
        account = "platform" if self.mode is Mode.TWO_PHASE else "plain"
        words = ("--api-base", self.station.api_base, "--account", account, "--mode", str(self.mode))
        return (str(self.file), *words)

    def _judge_desk(self, done: Finished) -> None:
        if done.code not in (CREATED, NOT_OPENED, KILLED):
            self.find(Faults(dishonest=(f"the program broke, or hung ({done.code})\n{done.err[-3000:]}",)))
        self._judge(done if done.code != BROKEN else attrs.evolve(done, code=0, err=""), None)
        live = {task.tracking_id: task.id for task in self.tasks() if task.live}
        outcomes: dict[str, set[tuple[str, str | None]]] = {}
        for line in done.out.splitlines():
            outcome = json.loads(line)
            key, word, task = outcome["key"], outcome["word"], outcome["task"]
            if word == "submitted":
                self.submitted.add(key)
                continue
            if IN_TIME not in outcome["why"]:  # a caller that stopped waiting heard what was certain just then
                outcomes.setdefault(key, set()).add((word, task))
            if word == "created" and live.get(key) != task:
                self.find(Faults(losses=(f"{key} is said to be task {task}, and is {live.get(key)}",)))
            if word in ("refused", "unprocessed") and key in live:
                self.find(Faults(dishonest=(f"{key} is said to be {word}, and is {live[key]}",)))
        for key, different in outcomes.items():
            if len(different) > 1:
                self.find(Faults(dishonest=(f"two callers at the same moment heard of {key}: {different}",)))


def ask_again(experiment: AtDesk) -> None:
    """Ask for the same orders."""
    experiment.ask()


def ask_for_others(experiment: AtDesk) -> None:
    """Ask for orders with the same keys and another price, then for the same ones."""
    experiment.ask("--price", OTHER_PRICE)
    experiment.ask()


def push_the_file(experiment: AtDesk) -> None:
    """Push the orders as a file, then ask for them."""
    push_again(experiment)
    experiment.ask()


def submit_instead(experiment: AtDesk) -> None:
    """Submit them, and wait for their outcomes."""
    experiment.ask("--submit")


def resume_the_runs(experiment: AtDesk) -> None:
    """Go on with the run as an operator does, then ask for the orders."""
    if experiment.runs():
        experiment.resume()
    experiment.ask()


FOLLOW_UPS: Mapping[str, Callable[[AtDesk], None]] = {
    "ask again": ask_again,
    "ask for others": ask_for_others,
    "push the file": push_the_file,
    "resume the runs": resume_the_runs,
    "submit instead": submit_instead,
}


def come_to_an_end(experiment: AtDesk, owed: Collection[str] | None = None) -> None:
    """Read what can be read: of the orders that are owed, unless said all, each is there, or known to be in doubt."""
    experiment.reconcile()
    live = {task.tracking_id for task in experiment.tasks() if task.live}
    doubtful = set() if experiment.exactly_once else _doubtful(experiment)
    lost = {*(experiment.keys if owed is None else owed)} - live - doubtful
    if lost:
        experiment.find(Faults(losses=(f"never created: {sorted(lost)}",)))
    experiment.look_back()


def _doubtful(experiment: AtDesk) -> set[str]:
    asked = experiment.ask()
    return {line["key"] for line in map(json.loads, asked.out.splitlines()) if line["word"] == "in_doubt"}


def boundaries(service: Station, folder: Path, mode: Mode, *words: str) -> tuple[str, ...]:
    """The boundaries of a program that comes to its end."""
    whole = AtDesk(service, folder / "whole", mode, f"{mode}-{folder.name}-desk-whole-")
    done = whole.ask(*words)
    assert not whole.faults, "\n".join(whole.log)
    return done.boundaries


def crashes(
    service: Station, folder: Path, mode: Mode, name: str, step: int, *words: str
) -> Iterator[tuple[int, AtDesk]]:
    """A program for each boundary that is tried, dead there."""
    for at in range(1 + sampling.first(f"desk {mode} {name}", step), MOST, step):
        prefix = f"{mode}-desk-{name}-{at}-".replace(" ", "-")
        experiment = AtDesk(service, folder / prefix, mode, prefix)
        if experiment.ask(*words, die=at).code != KILLED:
            assert not experiment.faults, "\n".join(experiment.log)
            return
        yield at, experiment
        shutil.rmtree(experiment.folder)
    raise AssertionError("the program never came to its end")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("follow_up", FOLLOW_UPS)
@pytest.mark.parametrize("mode", list(Mode))
def test_every_crash_point_of_a_desk(service: Station, tally: Tally, folder: Path, mode: Mode, follow_up: str) -> None:
    """Wherever its process dies, each order is live at most once, none is lost, and every outcome is true."""
    for at, experiment in crashes(service, folder, mode, follow_up, STEP):
        FOLLOW_UPS[follow_up](experiment)
        come_to_an_end(experiment)
        tally.take(experiment, f"desk, {mode}, crash at {at}, {follow_up}", crashes=1)
    assert not tally.verdict, tally.verdict


def be_a_desk(experiment: AtDesk) -> None:
    """Only wait for outcomes: what is durable is sent by whichever desk is there."""
    experiment.ask("--outcomes")


SUBMITTED_FOLLOW_UPS: Mapping[str, Callable[[AtDesk], None]] = {
    "be a desk": be_a_desk,
    "submit again": submit_instead,
    "ask": ask_again,
    "push the file": push_the_file,
}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("follow_up", SUBMITTED_FOLLOW_UPS)
@pytest.mark.parametrize("mode", list(Mode))
def test_every_crash_point_of_a_submission(
    service: Station, tally: Tally, folder: Path, mode: Mode, follow_up: str
) -> None:
    """What a program heard to be durable is sent by whoever opens a desk next, and no order is sent twice."""
    for at, experiment in crashes(service, folder, mode, follow_up, STEP, "--submit"):
        experiment.ahead = LEASE / 1_000_000 + 1  # what the dead desk had in hand is taken by others then
        SUBMITTED_FOLLOW_UPS[follow_up](experiment)
        come_to_an_end(experiment, owed=experiment.submitted if follow_up == "be a desk" else experiment.keys)
        tally.take(experiment, f"submitted, {mode}, crash at {at}, {follow_up}", crashes=1)
    assert not tally.verdict, tally.verdict


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("mode", list(Mode))
def test_a_desk_that_wakes_does_no_harm(service: Station, tally: Tally, folder: Path, mode: Mode, late: bool) -> None:
    """It stood still, and another desk took its orders over, or waited for them in vain: nothing is sent twice."""
    names = boundaries(service, folder, mode)
    places = [at for at, name in enumerate(names, 1) if name != HOLDS_THE_FILE]
    step = max(1, STEP // 2)
    for number, at in enumerate(places[sampling.first(f"{mode} {late}", step) :: step]):
        prefix = f"{mode}-desk-woken-{late}-{at}-"
        experiment = AtDesk(service, folder / prefix, mode, prefix)
        frozen = experiment.freeze_asking(at, late=late)
        assert frozen is not None
        if number % 2:
            lose_the_lock(experiment)
        experiment.ask("--timeout", "0.3")
        experiment.wake_asking(frozen)
        experiment.ask()
        come_to_an_end(experiment)
        tally.take(experiment, f"desk, {mode}, frozen at {at}, late: {late}", freezes=1)
        shutil.rmtree(experiment.folder)
    assert not tally.verdict, tally.verdict


@attrs.define(slots=False)
class AtDeskOnServer(AtDesk, OnServer):
    """The same over a ledger in PostgreSQL."""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("strike", ["dies", "dies with submitted orders", "stands still"])
@pytest.mark.parametrize("mode", list(Mode))
def test_a_desk_over_postgresql(
    service: Station, tally: Tally, folder: Path, postgres: Server, mode: Mode, strike: str
) -> None:
    """One of two replicas dies, or stands still while its lease ends, and the other one is asked: each order once."""
    names = boundaries(service, folder, mode)
    for at in range(1 + sampling.first(f"{mode} {strike}", STEP), len(names) + 1, STEP):
        prefix = f"{mode}-desk-pg-{strike}-{at}-".replace(" ", "-")
        url = postgres.create(f"desk_{mode.name}_{len(strike)}_{at}".lower())
        experiment = AtDeskOnServer(service, folder / prefix, mode, prefix, url=url)
        frozen = None
        if strike == "dies":
            experiment.ask(die=at)
        elif strike == "dies with submitted orders":
            experiment.ask("--submit", die=at)
        else:
            frozen = experiment.freeze_asking(at, late=True)
        experiment.time_passes()
        experiment.ask()
        if frozen is not None:
            experiment.wake_asking(frozen)
            experiment.time_passes()
        come_to_an_end(experiment)
        tally.take(experiment, f"desk on a server, {mode}, {strike} at {at}", crashes=1)
        shutil.rmtree(experiment.folder)
        postgres.ask(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")
    assert not tally.verdict, tally.verdict


@pytest.mark.parametrize(("follow_up", "mode"), [*zip(FOLLOW_UPS, cycle(Mode), strict=False)])
def test_a_few_crash_points_of_a_desk(service: Station, tally: Tally, folder: Path, mode: Mode, follow_up: str) -> None:
    """The quick part of the enumeration: after a call that creates, or broadcasts."""
    names = boundaries(service, folder, mode)
    requests = [at for at, name in enumerate(names, 1) if name == "after a request"]
    prefix = f"{mode}-desk-few-{follow_up}-".replace(" ", "-")
    experiment = AtDesk(service, folder / "few", mode, prefix)
    assert experiment.ask(die=requests[len(requests) // 2]).code == KILLED
    FOLLOW_UPS[follow_up](experiment)
    come_to_an_end(experiment)
    tally.take(experiment, f"desk, {mode}, {follow_up}", crashes=1)
    assert not tally.verdict, tally.verdict


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(Mode))
def test_a_client_with_a_ledger_remembers_what_a_dead_one_did(
    service: Station, tally: Tally, folder: Path, mode: Mode
) -> None:
    """Killed after a call, and started again: its orders, and then a push of them, find each order once."""
    names = boundaries(service, folder, mode, "--client")
    requests = [at for at, name in enumerate(names, 1) if name == "after a request"]
    experiment = AtDesk(service, folder / "killed", mode, f"{mode}-client-killed-")
    assert experiment.ask("--client", die=requests[len(requests) // 2]).code == KILLED
    experiment.ask("--client")
    come_to_an_end(experiment)
    tally.take(experiment, f"client, {mode}", crashes=1)
    assert not tally.verdict, tally.verdict


@pytest.mark.parametrize("mode", list(Mode))
def test_a_desk_without_a_memory_is_caught(service: Station, folder: Path, mode: Mode) -> None:
    """The control: a desk that forgot what it sent before it died doubles, and the same judge says so.

    It has to forget its ledger and the register, and must not see the Task List.
    """
    last = max(at for at, name in enumerate(boundaries(service, folder, mode), 1) if name == "after a request")
    experiment = AtDesk(service, folder / "control", mode, f"{mode}-desk-control-")
    assert experiment.ask(die=last).code == KILLED
    for file in experiment.folder.glob("ledger.db*"):
        file.unlink()
    shutil.rmtree(experiment.register)
    service.refuse("platform.tasks.list", 1)
    experiment.ask()
    assert experiment.faults.doubles
