from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async.simulator import Simulator
from tests.support.commands import Runner, Shell

from .kit import Office, open_office


@pytest.fixture
def ledger_place() -> str | None:
    """The URL of the database that has the ledger; None for a file."""
    return None


@pytest.fixture
async def office(
    run: Runner, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ledger_place: str | None
) -> AsyncIterator[Office]:
    """An office whose agents may do everything."""
    async with open_office(run, simulator, tmp_path, monkeypatch, database=ledger_place) as office:
        yield office


@pytest.fixture
async def platform_office(
    run: Runner, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ledger_place: str | None
) -> AsyncIterator[Office]:
    """The same of a platform partner."""
    options: dict[str, Any] = {"account": "platform", "platform": True, "database": ledger_place}
    async with open_office(run, simulator, tmp_path, monkeypatch, **options) as office:
        yield office


@pytest.fixture
def platform_shell(run: Runner, simulator: Simulator, tmp_path: Path, ledger_place: str | None) -> Shell:
    """A shell of the platform partner over the same ledger."""
    return Shell(run, simulator, tmp_path, account="platform", database=ledger_place)
