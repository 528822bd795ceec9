"""Fixtures of the ledger's tests: a clock, and a ledger in a real file or on a real server."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gotsurge_async.ledger import Ledger
from tests.ledger.kit import TidyLedger, TurnedClock


@pytest.fixture
def clock() -> TurnedClock:
    """A clock that stands until it is turned."""
    return TurnedClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a ledger's file is, or will be; for what is of files alone."""
    return tmp_path / "ledger.db"


@pytest.fixture
def url(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new database on a server; the counters beside ledgers on it are in the test's own folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return database


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def where(request: pytest.FixtureRequest) -> str:
    """Where a ledger is, or will be: in a file, and on a server."""
    return str(request.getfixturevalue("path" if request.param == "sqlite" else "url"))


@pytest.fixture
async def ledger(where: str, clock: TurnedClock) -> AsyncIterator[Ledger]:
    """A new ledger, open; it is closed with the runs that were begun or held in it."""
    async with await TidyLedger.open(where, clock=clock) as opened:
        yield opened
