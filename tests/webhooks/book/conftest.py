"""Fixtures of the order book's tests: a book in a real file or on a real server, and a clock."""

from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest

from gotsurge_async.testing import ManualClock
from gotsurge_async.webhooks.book import Book
from tests.support.postgres import Server, server
from tests.webhooks.book.kit import START

_numbers = count(1)


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands until it is turned."""
    return ManualClock(START)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL for all tests of this process."""
    with server() as running:
        yield running


@pytest.fixture
def url(postgres: Server) -> Iterator[str]:
    """A new database of it."""
    name = f"book_{next(_numbers)}"
    yield postgres.create(name)
    postgres.ask(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a book's file is, or will be."""
    return tmp_path / "book.db"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def where(request: pytest.FixtureRequest) -> str:
    """Where a book is, or will be: in a file, and on a server."""
    return str(request.getfixturevalue("path" if request.param == "sqlite" else "url"))


@pytest.fixture
async def book(where: str, clock: ManualClock) -> AsyncIterator[Book]:
    """A new book, open."""
    async with Book.open(where, clock=clock) as opened:
        yield opened
