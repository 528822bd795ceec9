"""A ledger that failed, or is not where it was, and the one that is opened again in its place."""

import asyncio
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gotsurge_async import Created
from gotsurge_async.bulk import Ledger, OrderState
from gotsurge_async.ledger import LedgerClosed, LedgerError, LedgerUnusable
from gotsurge_async.push.desk.opening import SharedLedger
from gotsurge_async.testing import ManualClock
from tests.support.desks import Gate, Service, desk_of, fail_once, states
from tests.support.orders import order


async def test_a_ledger_that_fails_while_it_is_opened_again_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again each second, and none of them stays open."""
    opened: list[Ledger] = []
    whole = Ledger.open

    async def noted(*arguments: Any, **options: Any) -> Ledger:
        opened.append(await whole(*arguments, **options))
        return opened[-1]

    async def fail(_: Ledger) -> Any:
        raise LedgerUnusable("its disk failed")

    monkeypatch.setattr(Ledger, "open", noted)
    gs: Any = SimpleNamespace(session=SimpleNamespace(clock=ManualClock()))
    shared = await SharedLedger.open(gs, tmp_path / "ledger.db")
    with monkeypatch.context() as failing:
        failing.setattr(Ledger, "identity", fail)
        with pytest.raises(LedgerUnusable, match="its disk failed"):
            await shared.open_again(shared.ledger, None)
    with pytest.raises(LedgerClosed):
        await opened[1].runs()
    assert await shared.open_again(shared.ledger, await shared.ledger.identity()) is opened[2]
    for each in (opened[0], shared):
        await each.close()


async def test_a_read_that_fails_closes_no_ledger_that_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its caller gets the error; the call that is under way is recorded in the same ledger."""
    service = Gate()
    async with desk_of(tmp_path, service) as desk:
        ledger = desk.ledger
        asking = asyncio.create_task(desk.create(order("T-1")))
        await service.came.wait()
        fail_once(monkeypatch, name="last")
        with pytest.raises(LedgerUnusable, match="its disk failed"):
            await desk.outcome("T-2")
        desk._runs.failed(LedgerUnusable("its disk failed"))
        other = asyncio.create_task(desk.create(order("T-2")))
        await service.came_again.wait()
        service.open.set()
        assert all(isinstance(each, Created) for each in (await asking, await other))
        assert desk.ledger is ledger
        assert await states(desk) == {"T-1": [OrderState.CREATED], "T-2": [OrderState.CREATED]}


@pytest.mark.parametrize("instead", ["nothing", "a copy"])
async def test_a_ledger_that_is_moved_away_claims_nothing(tmp_path: Path, instead: str) -> None:
    """What is under way is recorded in it, and nothing is sent until it is back: another process could send it too."""
    path, away, service = tmp_path / "ledger.db", tmp_path / "away.db", Gate()
    async with desk_of(tmp_path, service) as desk:
        asking = asyncio.create_task(desk.create(order("T-1")))
        await service.came.wait()
        before = tmp_path / "before.db"
        shutil.copy(path, before)
        path.rename(away)
        if instead == "a copy":
            shutil.copy(before, path)
        for _ in range(2):
            with pytest.raises(LedgerError) as refused:
                await desk.create(order("T-2"))
            assert refused.value.explain_code == "E505"
            assert refused.value.sent == "nothing"
        service.open.set()
        assert isinstance(await asking, Created)
        away.replace(path)
        assert isinstance(await desk.create(order("T-2")), Created)
        assert await states(desk) == {"T-1": [OrderState.CREATED], "T-2": [OrderState.CREATED]}
    assert service.sent == ["T-1", "T-2"]


async def test_a_relative_path_names_the_same_ledger_in_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program may change its folder, as daemons do, before a disk error makes the desk open its ledger again."""
    monkeypatch.chdir(tmp_path)
    async with desk_of(Path(), Service()) as desk:
        await desk.create(order("T-1"))
        monkeypatch.chdir("/")
        fail_once(monkeypatch)
        assert isinstance(await desk.create(order("T-2")), Created)
        assert await states(desk) == {"T-1": [OrderState.CREATED], "T-2": [OrderState.CREATED]}
