"""Fixtures of the tests of many machines."""

from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest

from gotsurge_async.bulk import Mode
from gotsurge_async.simulator import Simulator
from tests.fleet.kit import Fleet
from tests.support.postgres import Server, server

_numbers = count(1)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    """A server for the module."""
    with server() as running:
        yield running


@pytest.fixture(params=list(Mode))
def mode(request: pytest.FixtureRequest) -> Mode:
    """Each mode."""
    found: Mode = request.param
    return found


@pytest.fixture
async def fleet(postgres: Server, mode: Mode, tmp_path: Path) -> AsyncIterator[Fleet]:
    """Workers to be, with a database that is ready for them."""
    if not postgres.is_running:
        postgres.start()
    url = postgres.create(f"fleet_{next(_numbers)}")
    async with Simulator() as simulator:
        made = Fleet(postgres, url, simulator, tmp_path, mode)
        done = await made.command("db", "upgrade", "--ledger", url)
        assert done.code == 0, done
        try:
            yield made
        finally:
            await made.end()
