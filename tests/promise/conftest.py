import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.promise.station import Station, station
from tests.promise.tally import TALLY, Tally


@pytest.fixture(scope="session")
def service() -> Iterator[Station]:
    """A simulator and a fork server for all tests of this process."""
    with station() as made:
        yield made


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory, where there is one: what a killed process wrote is there, whether or not a disk has it."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None, prefix="promise-") as name:
        yield Path(name)


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """What the test counts, for the end of the test run."""
    made = Tally()
    yield made
    request.node.user_properties.append((TALLY, dict(made.counts)))
