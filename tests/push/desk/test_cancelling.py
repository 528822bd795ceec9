"""Desks whose answers wait to be recorded while a cancel of their task begins."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async import Created
from gotsurge_async.bulk import OrderState
from gotsurge_async.ledger import LedgerBusy
from gotsurge_async.ledger.sql import marks
from gotsurge_async.push.desk.answers import Answers
from tests.support.desks import Service, desk_of
from tests.support.orders import order


async def test_an_order_keeps_its_task_whose_cancel_has_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order is being cancelled, so that a read of its task settles it."""

    def be_busy(*_: Any) -> None:
        raise LedgerBusy("is locked")

    async def wait(*_: Any) -> None:
        return None

    async with desk_of(tmp_path, Service()) as desk:
        with monkeypatch.context() as busy:
            busy.setattr(Answers, "record", wait)
            busy.setattr(marks, "record", be_busy)
            assert isinstance(await desk.create(order("T-1")), Created)
        until = desk.ledger.now() + timedelta(seconds=1200)
        await desk.ledger.begin_cancel("sandbox", ["id-T-1"], until=until)
        await desk._runs._keep_up()
        (info,) = await desk.ledger.runs()
        (row,) = [row async for row in desk.ledger.rows(info.id)]
        assert (row.state, row.task_id) == (OrderState.CANCELLING, "id-T-1")
        assert (row.error or "").startswith("the answer names a task that may be cancelled")
