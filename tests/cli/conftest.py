from collections.abc import Iterator
from pathlib import Path

import pytest

from gotsurge_async.simulator import Simulator
from tests.cli.runner import Runner
from tests.running import running_simulator


@pytest.fixture
def run(tmp_path: Path) -> Runner:
    """Runs commands with folders of their own."""
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
