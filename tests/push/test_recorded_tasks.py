"""Two-phase pushes whose answers name a task of another order, while the ledger is busy."""

from pathlib import Path
from typing import Any

import pytest

from gotsurge_async import Created
from gotsurge_async.bulk import Desk, Ledger, Mode, OrderState, Push
from gotsurge_async.ledger import LedgerBusy
from gotsurge_async.ledger import run as runs
from tests.push.desk.test_two_phase import Platform, fail_from
from tests.support.desks import client
from tests.support.orders import order


async def _resume(push: Push, ledger: Ledger, run_id: str) -> None:
    async with await ledger.hold(run_id) as run:
        await push.send(run)


async def _load_again(push: Push, _: Ledger, __: str) -> None:
    run, admission = await push.load_orders([order("T-2")])
    async with run:
        await push.send(run)
    assert (admission.pending, admission.already_pushed) == (0, 1)


async def _create_alone(push: Push, ledger: Ledger, _: str) -> None:
    async with Desk(push._gs, ledger, mode=Mode.TWO_PHASE) as desk:
        assert not isinstance(await desk.create(order("T-2")), Created)


@pytest.mark.parametrize("later", [_resume, _load_again, _create_alone])
@pytest.mark.parametrize("lasts", [False, True], ids=["during the answer", "until the run is closed"])
@pytest.mark.parametrize("writes", [1, 2, 3], ids=["at the answer", "at the answer alone", "at the doubt"])
async def test_an_order_whose_answer_a_busy_ledger_did_not_record_is_not_drafted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int, lasts: bool, later: Any
) -> None:
    """Its answer named another order's task: the order is in doubt, whichever run has it afterwards."""
    service = Platform()

    def be_busy(*_: Any) -> None:
        raise LedgerBusy("is locked")

    async with client(service) as gs, await Ledger.open(tmp_path / "ledger.db") as ledger:
        push = Push(gs, ledger, mode=Mode.TWO_PHASE)
        async with (await push.load_orders([order("T-1")]))[0] as run:
            await push.send(run)
        service.repeats = "task-1"
        async with (await push.load_orders([order("T-2")]))[0] as run:
            with monkeypatch.context() as busy:
                fail_from(busy, writes, LedgerBusy)
                if lasts:
                    busy.setattr(runs, "record_doubts", be_busy)
                with pytest.raises(LedgerBusy):
                    await push.send(run)
                if lasts:
                    await run.close()
        states = [row.state async for row in ledger.rows(run.id)]
        assert states == [OrderState.DRAFTING if lasts else OrderState.IN_DOUBT]
        service.repeats = ""
        await later(push, ledger, run.id)
        assert [row.state async for row in ledger.rows(run.id)] == [OrderState.IN_DOUBT]
    assert service.live == ["T-1"]
    assert [task["tracking_id"] for task in service.tasks.values()] == ["T-1"]
