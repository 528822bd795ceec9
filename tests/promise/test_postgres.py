"""Pushes with a ledger in PostgreSQL: they die, they stand still, and the server dies under them.

The points are those of `test_crash_points`, around every request and every commit. What takes time otherwise is made to
have passed: the lease of a run, and that of a transaction that stands still.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import attrs
import psycopg
import pytest

from gotsurge_async.bulk import Mode
from tests.promise.follow_ups import push_again, resume
from tests.promise.judge import CREATED, IN_DOUBT, USAGE
from tests.promise.sampling import part
from tests.promise.station import KILLED, Experiment, Station
from tests.promise.tally import Tally
from tests.support.postgres import Server, server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

_numbers = count(1)


@attrs.define
class OnServer(Experiment):
    """An experiment whose ledger is a database of its own.

    Attributes:
        url: of that database.
    """

    url: str = ""

    @property
    def ledger(self) -> Any:
        """The ledger."""
        return self.url

    def runs(self) -> list[str]:
        """The runs of the ledger, the newest first; none where a push died before it made a ledger."""
        done = self._type("runs", "--json")
        return [run["run"] for run in json.loads(done.out)] if done.code == 0 else []

    def go_on_with_older(self) -> None:
        """Accept it, and look up what is in doubt since."""
        for words in (
            ("ledger", "accept-older", "--yes", "--out", self.folder / "out"),
            ("reconcile", self.runs()[0], *self._place),
        ):
            done = self._type(*words)
            assert done.code in (CREATED, IN_DOUBT), done

    def time_passes(self) -> None:
        """Nobody who is dead, or stands still, has a run or a transaction any more."""
        with psycopg.connect(self.url, autocommit=True) as database:
            database.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
            )
            if database.execute("SELECT to_regclass('runs') IS NOT NULL").fetchall() == [(True,)]:
                database.execute("UPDATE runs SET lease_until = 0")


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    """A server for the module."""
    with server() as running:
        yield running


@pytest.fixture
def make(postgres: Server, service: Station, folder: Path) -> Iterator[Any]:
    """Makes experiments."""
    made: list[OnServer] = []

    def one(mode: Mode, name: str) -> OnServer:
        number = next(_numbers)
        prefix = f"{mode}-pg-{name}-{number}-"
        made.append(OnServer(service, folder / str(number), mode, prefix, url=postgres.create(f"push_{number}")))
        return made[-1]

    yield one
    if postgres.is_running:
        for each in made:
            postgres.ask(f"DROP DATABASE IF EXISTS {each.url.rpartition('/')[2]} WITH (FORCE)")


def points(make: Any, mode: Mode, *, step: int) -> Sequence[tuple[int, str]]:
    """Some of the boundaries of a push that comes to its end, each with its name."""
    whole = make(mode, "whole").push()
    assert whole.code == CREATED
    return part(list(enumerate(whole.boundaries, 1)), f"postgresql {mode}", step)


@pytest.mark.parametrize("mode", list(Mode))
def test_every_second_crash_point(make: Any, tally: Tally, mode: Mode) -> None:
    """Wherever a push dies, and whether it is resumed or pushed again: no order is lost or doubled, all words true."""
    for number, (at, name) in enumerate(points(make, mode, step=2)):
        experiment = make(mode, f"crash-{at}")
        assert experiment.push(die=at).code == KILLED
        experiment.time_passes()
        follow_up = (resume, push_again)[number % 2]
        follow_up(experiment)
        experiment.end()
        tally.take(experiment, f"{mode}, crash at {at} ({name}), {follow_up.__name__}", crashes=1)
        shutil.rmtree(experiment.folder)
    assert not tally.verdict, tally.verdict


@pytest.mark.parametrize("mode", list(Mode))
def test_what_wakes_does_no_harm(make: Any, tally: Tally, mode: Mode) -> None:
    """A push that was frozen, maybe inside a transaction, and lost its run, sends nothing twice and tells no lie."""
    for number, (at, name) in enumerate(points(make, mode, step=4)):
        experiment = make(mode, f"woken-{at}")
        frozen = experiment.freeze(at, late=bool(number % 2))
        assert frozen is not None
        experiment.time_passes()
        follow_up = (resume, push_again)[number // 2 % 2]
        follow_up(experiment)
        experiment.wake(frozen)
        experiment.time_passes()
        experiment.end()
        tally.take(experiment, f"{mode}, frozen at {at} ({name}), {follow_up.__name__}", freezes=1)
        shutil.rmtree(experiment.folder)
    assert not tally.verdict, tally.verdict


@pytest.mark.parametrize("mode", list(Mode))
def test_a_server_that_crashes_under_a_push(make: Any, postgres: Server, tally: Tally, mode: Mode) -> None:
    """A push whose server crashed and came back says that it may be resumed, and is; what was confirmed is there."""
    for number, (at, name) in enumerate(points(make, mode, step=7)):
        experiment = make(mode, f"server-{at}")
        frozen = experiment.freeze(at, late=False)
        assert frozen is not None
        postgres.stop("immediate")
        postgres.start()
        done = experiment.wake(frozen)
        assert done.code == CREATED or "resume" in done.err or "try again" in done.err, done
        experiment.time_passes()
        (resume, push_again)[number % 2](experiment)
        experiment.end()
        tally.take(experiment, f"{mode}, the server crashed at {at} ({name})", **{"server crashes": 1})
        shutil.rmtree(experiment.folder)
    assert not tally.verdict, tally.verdict


@pytest.mark.parametrize("mode", list(Mode))
def test_a_promoted_older_replica(service: Station, tally: Tally, folder: Path, mode: Mode) -> None:
    """What it has not received was sent: it is refused, and once it is accepted nothing is lost or doubled."""
    with server() as first:
        prefix = f"{mode}-replica-"
        experiment = OnServer(service, folder / "replica", mode, prefix, url=first.url)
        whole = OnServer(service, folder / "whole", mode, f"{mode}-entire-", url=first.create("whole"))
        names = whole.push().boundaries
        admitted = names.index("before a write")
        requests = [at for at, name in enumerate(names, 1) if name == "before a request" and at > admitted]
        assert experiment.push(die=requests[1]).code == KILLED
        assert experiment.tasks()
        experiment.time_passes()
        replica = first.standby(same_address=True)
        resume(experiment)
        assert all(task.live for task in experiment.tasks())
        first.stop()
        replica.start()
        try:
            replica.promote()
            before = experiment.tasks()
            refused = experiment.push()
            assert refused.code == USAGE, experiment.log
            assert "is an older copy" in refused.err
            assert experiment.tasks() == before
            experiment.go_on_with_older()
            experiment.end()
            tally.take(experiment, f"{mode}, a promoted replica", **{"older copies": 1})
        finally:
            replica.stop()
    assert not tally.verdict, tally.verdict
