"""Workers that die, or stand still, at every step of what they do with a segment; and what others do then.

A worker is struck before and after each request, and each commit of the ledger, while it sends the two segments of a
run. Then another worker goes on, or the run is taken whole: resumed, undone, reconciled, pushed again.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import attrs
import psycopg
import pytest

from gotsurge_async.bulk import Mode
from tests.promise.follow_ups import push_again, resume, undo
from tests.promise.judge import HELD
from tests.promise.sampling import part
from tests.promise.station import KILLED, Finished, Frozen, Station
from tests.promise.tally import Tally
from tests.promise.test_postgres import OnServer
from tests.support.postgres import Server, server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

_numbers = count(1)
PROGRAM = "tests.promise.as_worker"


@attrs.define
class WithWorkers(OnServer):
    """An experiment whose push is put up for workers, in two segments."""

    def put_up(self) -> None:
        """Put all orders up."""
        done = self._type("push", self.file, *self._small, *self._place, *self._told, "--distributed", "--no-wait")
        assert done.code == 0, done
        with psycopg.connect(self.url) as database:
            database.execute("UPDATE segments SET last_chunk = first_chunk")
            database.execute(
                "INSERT INTO segments (run, number, first_chunk, last_chunk) "
                "SELECT run, 1, first_chunk + 1, (SELECT max(id) FROM chunks) FROM segments"
            )

    def work(self, **traps: Any) -> Finished:
        """Have a worker send what waits."""
        done = self._type(*self._worker, program=PROGRAM, **traps)
        self._judge(done, None)
        return done

    def freeze_worker(self, boundary: int, *, late: bool) -> Frozen | None:
        """Have a worker stand still at a boundary; None if it came to its end before."""
        order, typed, number = self._order(*self._worker, program=PROGRAM, freeze=boundary, late=late)
        report = self.station.ask(order)
        self.log.append(f"a worker frozen at boundary {boundary}, late: {late}")
        return Frozen(report["pid"], typed, number) if report.get("stopped") else None

    def wake_worker(self, frozen: Frozen) -> None:
        """Wake it; it may say what it likes, but must not send what is another's."""
        done = self._finished(frozen.words, self.station.ask({"wake": frozen.pid})["code"], frozen.number)
        self.log.append(str(done))
        self._judge(done, None)

    def reconcile(self) -> None:
        """Find out what can be found out of the run."""
        for run in self.runs()[:1]:
            self._type("reconcile", run, *self._place, "--rescan-after", "0")
            self.results(run)

    def time_passes(self) -> None:
        """Nobody who is dead, or stands still, has a run, a segment or a transaction any more."""
        super().time_passes()
        with psycopg.connect(self.url, autocommit=True) as database:
            database.execute("UPDATE segments SET lease_until = 0")

    @property
    def _worker(self) -> tuple[str, ...]:
        account = "platform" if self.mode is Mode.TWO_PHASE else "plain"
        return (self.url, self.station.api_base, account, str(self.concurrency))

    def _order(self, *words: str | Path, **traps: Any) -> tuple[dict[str, Any], tuple[str, ...], int]:
        order, typed, number = super()._order(*words, **traps)
        if "program" in traps:  # it takes the ledger as its first word
            order["words"] = words
        return order, typed, number


def work_on(experiment: WithWorkers) -> None:
    """Another worker goes on, and the result files are written."""
    experiment.work()
    for run in experiment.runs()[:1]:
        experiment.results(run)


FOLLOW_UPS: Mapping[str, Callable[[WithWorkers], None]] = {
    "another worker": work_on,
    "resume": resume,
    "push again": push_again,
    "undo": undo,
    "reconcile": WithWorkers.reconcile,
}


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    """A server for the module."""
    with server() as running:
        yield running


@pytest.fixture
def make(postgres: Server, service: Station, folder: Path) -> Iterator[Callable[..., WithWorkers]]:
    """Makes experiments, each with a database that is ready for workers."""
    made: list[WithWorkers] = []
    template = f"ready_{next(_numbers)}"
    first = WithWorkers(service, folder / "ready", Mode.DIRECT, "none-", url=postgres.create(template))
    assert first._type("db", "upgrade").code == 0, first.log
    # What counts the ledgers of this user knows the template, and none of its copies.
    with psycopg.connect(first.url) as database:
        database.execute("DELETE FROM ledger_meta WHERE name = 'ledger_id'")

    def one(mode: Mode, name: str, concurrency: int = 1) -> WithWorkers:
        number = next(_numbers)
        prefix = f"{mode}-workers-{name}-{number}-"
        url = postgres.create(f"workers_{number}", f"TEMPLATE {template}")
        made.append(WithWorkers(service, folder / str(number), mode, prefix, concurrency, url=url))
        return made[-1]

    yield one
    for each in made:
        postgres.ask(f"DROP DATABASE IF EXISTS {each.url.rpartition('/')[2]} WITH (FORCE)")


def points(make: Callable[..., WithWorkers], mode: Mode) -> list[tuple[int, str]]:
    """The boundaries of a worker that sends everything, each with its name."""
    whole = make(mode, "whole")
    whole.put_up()
    done = whole.work()
    assert done.code == 0, done
    assert all(task.live for task in whole.tasks())
    assert len(whole.tasks()) == whole.count
    return list(enumerate(done.boundaries, 1))


@pytest.mark.parametrize("mode", list(Mode))
def test_a_worker_that_dies_at_any_step(make: Callable[..., WithWorkers], tally: Tally, mode: Mode) -> None:
    """Wherever it dies, and whoever goes on: no order is lost or doubled, and all words are true."""
    for at, name in part(points(make, mode), f"dead workers {mode}"):
        told, follow_up = list(FOLLOW_UPS.items())[at % len(FOLLOW_UPS)]
        experiment = make(mode, f"crash-{at}")
        experiment.put_up()
        assert experiment.work(die=at).code == KILLED
        experiment.time_passes()
        follow_up(experiment)
        experiment.time_passes()
        experiment.end()
        tally.take(experiment, f"{mode}, worker dead at {at} ({name}), {told}", crashes=1)
        shutil.rmtree(experiment.folder)
    assert not tally.verdict, tally.verdict


@pytest.mark.parametrize("mode", list(Mode))
def test_a_worker_that_wakes_after_it_was_taken_over(
    make: Callable[..., WithWorkers], tally: Tally, mode: Mode
) -> None:
    """One that stood still at any step, at once or an hour, sends nothing twice, whoever has its segment by then."""
    for number, (at, name) in enumerate(part(points(make, mode), f"frozen workers {mode}", 3)):
        told, follow_up = list(FOLLOW_UPS.items())[number % 3]
        experiment = make(mode, f"woken-{at}")
        experiment.put_up()
        frozen = experiment.freeze_worker(at, late=bool(number % 2))
        assert frozen is not None
        experiment.time_passes()
        follow_up(experiment)
        experiment.wake_worker(frozen)
        experiment.time_passes()
        experiment.end()
        tally.take(experiment, f"{mode}, worker frozen at {at} ({name}), {told}", freezes=1)
        shutil.rmtree(experiment.folder)
    assert not tally.verdict, tally.verdict


@pytest.mark.parametrize("mode", list(Mode))
def test_nobody_takes_what_a_living_worker_has(make: Callable[..., WithWorkers], tally: Tally, mode: Mode) -> None:
    """While its lease lasts a run is neither resumed nor undone nor pushed again, and it goes on to the end itself."""
    at = next(at for at, name in points(make, mode) if name == "after a request")
    experiment = make(mode, "living")
    experiment.put_up()
    frozen = experiment.freeze_worker(at, late=False)
    assert frozen is not None
    (run,) = experiment.runs()
    before = experiment.tasks()
    for words in (("resume", "--last"), ("undo", run), ("push", experiment.file)):
        more = experiment._told if words[0] != "undo" else ()
        done = experiment._type(*words, *experiment._place, *more)
        assert (done.code, "held by the worker worker" in done.err) == (HELD, True), done
    assert experiment.tasks() == before
    experiment.wake_worker(frozen)
    assert all(task.live for task in experiment.tasks())
    experiment.end()
    tally.take(experiment, f"{mode}, a living worker")
    assert not tally.verdict, tally.verdict
