"""Fixtures of the ledger's tests: a clock and a ledger in a real file."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gotsurge_async.bulk.ledger import Ledger
from tests.bulk.ledger.kit import TurnedClock


@pytest.fixture
def clock() -> TurnedClock:
    """A clock that stands until it is turned."""
    return TurnedClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ledger's file is, or will be."""
    return tmp_path / "ledger.db"


@pytest.fixture
async def ledger(path: Path, clock: TurnedClock) -> AsyncIterator[Ledger]:
    """A new ledger, open."""
    async with await Ledger.open(path, clock=clock) as opened:
        yield opened
