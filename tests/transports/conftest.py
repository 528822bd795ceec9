"""A faked aiohttp for the tests of the transport's mapping; what lies below it is tested on real sockets."""

import pytest
from aioresponses import aioresponses

from gotsurge_async.testing.plugin import gotsurge_http

__all__ = ["gotsurge_http"]


@pytest.fixture
def http(gotsurge_http: aioresponses) -> aioresponses:
    """Answers for the requests of any aiohttp session."""
    return gotsurge_http
