"""Fixtures for pytest and pytest-asyncio, for the tests of a program that uses this package.

In the ``conftest.py`` at the top of the tests::

    pytest_plugins = ["gotsurge_async.testing.plugin"]

It is loaded only by name: a program that does not ask for it gets no fixtures.
"""

import inspect
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
import pytest_asyncio

from gotsurge_async.client import GotSurge
from gotsurge_async.models.base import several
from gotsurge_async.simulator import Simulator
from gotsurge_async.testing import ManualClock, simulated

if TYPE_CHECKING:
    from aioresponses import aioresponses


@pytest.fixture
def gotsurge_clock() -> ManualClock:
    """A clock that stands still until the test advances it."""
    return ManualClock()


@pytest_asyncio.fixture
async def gotsurge_simulator() -> AsyncIterator[Simulator]:
    """A GotSurge of this test's own, over real HTTP on a free port of this machine."""
    async with Simulator() as simulator:
        yield simulator


@pytest_asyncio.fixture
async def gotsurge(gotsurge_simulator: Simulator, request: pytest.FixtureRequest) -> AsyncIterator[GotSurge]:
    """An open client, signed in to ``gotsurge_simulator`` as the platform partner, who may call every operation.

    An indirect parameter names accounts that are signed in as well, for ``gotsurge.as_account``.
    """
    async with simulated("platform", accounts=getattr(request, "param", ()), simulator=gotsurge_simulator) as gs:
        yield gs


@pytest.fixture
def gotsurge_http(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> "Iterator[aioresponses]":
    """aioresponses, which answers for the requests of every aiohttp session; needs the package ``aioresponses``.

    An indirect parameter lists URL prefixes that it passes through, such as ``http://127.0.0.1``.
    """
    import aiohttp
    from aioresponses import aioresponses

    class Answer(aiohttp.ClientResponse):
        """aioresponses 0.7.9 makes answers without the stream writer that aiohttp 3.14 asks for."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{"stream_writer": Mock(output_size=0), **options})

    if "stream_writer" in inspect.signature(aiohttp.ClientResponse).parameters:
        monkeypatch.setattr("aioresponses.core.ClientResponse", Answer)
    with aioresponses(passthrough=[*several(getattr(request, "param", ()), "gotsurge_http")]) as faked:
        yield faked
