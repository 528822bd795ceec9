"""A ledger that is opened again in place of one that failed."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gotsurge_async.bulk import Ledger
from gotsurge_async.ledger import LedgerClosed, LedgerUnusable
from gotsurge_async.push.desk.opening import SharedLedger
from gotsurge_async.testing import ManualClock


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
