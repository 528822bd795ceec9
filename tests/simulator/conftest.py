from collections.abc import AsyncIterator

import pytest

from .kit import Client, FakeTime, signed_in


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
async def platform(time: FakeTime) -> AsyncIterator[Client]:
    async with signed_in("platform", time=time) as client:
        yield client


@pytest.fixture
async def plain(time: FakeTime) -> AsyncIterator[Client]:
    async with signed_in("plain", time=time) as client:
        yield client
