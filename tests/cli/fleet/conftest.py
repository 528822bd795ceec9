from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.running import running_simulator
from tests.support.workers import Fleet


@pytest.fixture
async def fleet(database: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    """A ledger and a simulator of its own."""
    with running_simulator() as simulator:
        fleet = Fleet(simulator, database, tmp_path)
        await fleet.upgrade()
        yield fleet
