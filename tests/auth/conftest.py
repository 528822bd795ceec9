from collections.abc import Iterator

import pytest

from tests.support.postgres import postgresql


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a database in PostgreSQL."""
    with postgresql() as url:
        yield url
