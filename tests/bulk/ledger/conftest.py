"""Fixtures of the ledger's tests: a clock, and a ledger in a real file or on a real server."""

from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest

from gotsurge_async.bulk.ledger import Ledger
from tests.bulk.ledger.kit import TurnedClock
from tests.support.postgres import Server, server

_numbers = count(1)


@pytest.fixture
def clock() -> TurnedClock:
    """A clock that stands until it is turned."""
    return TurnedClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a ledger's file is, or will be; for what is of files alone."""
    return tmp_path / "ledger.db"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL for all tests of this process."""
    with server() as running:
        yield running


@pytest.fixture
def url(postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A new database of it; the counters beside ledgers on it are in the test's own folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    name = f"ledger_{next(_numbers)}"
    yield postgres.create(name)
    postgres.ask(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def where(request: pytest.FixtureRequest) -> str:
    """Where a ledger is, or will be: in a file, and on a server."""
    return str(request.getfixturevalue("path" if request.param == "sqlite" else "url"))


@pytest.fixture
async def ledger(where: str, clock: TurnedClock) -> AsyncIterator[Ledger]:
    """A new ledger, open."""
    async with await Ledger.open(where, clock=clock) as opened:
        yield opened
