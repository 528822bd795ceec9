from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gotsurge_async.simulator import Simulator
from tests.support.commands import Runner

from .kit import Office, open_office


@pytest.fixture
async def office(
    run: Runner, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Office]:
    """An office whose agents may do everything."""
    async with open_office(run, simulator, tmp_path, monkeypatch) as office:
        yield office


@pytest.fixture
async def platform_office(
    run: Runner, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Office]:
    """The same of a platform partner."""
    async with open_office(run, simulator, tmp_path, monkeypatch, account="platform", platform=True) as office:
        yield office
