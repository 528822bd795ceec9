from collections.abc import Iterator
from pathlib import Path

import pytest

from gotsurge_async.simulator import Simulator
from tests.support.commands import Runner, Shell
from tests.support.running import running_simulator


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """Runs commands with folders of their own."""
    monkeypatch.chdir(tmp_path)
    return Runner(tmp_path)


@pytest.fixture(scope="module")
def served() -> Iterator[Simulator]:
    """A simulator for a whole module."""
    with running_simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(served: Simulator) -> Simulator:
    """The module's simulator as if it had just started."""
    served.reset()
    return served


@pytest.fixture
def shell(run: Runner, simulator: Simulator, tmp_path: Path) -> Shell:
    """A shell of the plain partner."""
    return Shell(run, simulator, tmp_path)


@pytest.fixture
def platform_shell(run: Runner, simulator: Simulator, tmp_path: Path) -> Shell:
    """A shell of the platform partner."""
    return Shell(run, simulator, tmp_path, account="platform")


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let retries wait for no time at all."""
    monkeypatch.setattr("random.Random.random", lambda _: 0.0)
    monkeypatch.setattr("gotsurge_async.push.two_phase.backoff", lambda *_: 0.0)
