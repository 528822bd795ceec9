"""Fixtures of the order book's tests: a book in a real file or on a real server, and a clock."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gotsurge_async.testing import ManualClock
from gotsurge_async.webhooks.book import Book
from tests.webhooks.book.kit import START


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands until it is turned."""
    return ManualClock(START)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a book's file is, or will be."""
    return tmp_path / "book.db"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def where(request: pytest.FixtureRequest) -> str:
    """Where a book is, or will be: in a file, and on a server."""
    return str(request.getfixturevalue("path" if request.param == "sqlite" else "database"))


@pytest.fixture
async def book(where: str, clock: ManualClock) -> AsyncIterator[Book]:
    """A new book, open."""
    async with Book.open(where, clock=clock) as opened:
        yield opened
