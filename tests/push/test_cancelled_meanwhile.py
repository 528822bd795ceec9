"""A person cancels a task that no order has yet, and an answer then names it for an order."""

from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async.after.reconcile import Reconciler
from gotsurge_async.bulk import Mode, OrderState
from gotsurge_async.calls.create import Created
from gotsurge_async.ledger import LedgerUnusable
from gotsurge_async.push.chunks import ChunkSender
from tests.support.orders import order
from tests.support.pushes import Place, place

SETTLE = 600.0


def cancelled_first(at: Place, monkeypatch: pytest.MonkeyPatch, times: int = 1) -> list[str]:
    """Note that a cancel of the task in each of some answers begins before the answer is recorded; those tasks."""
    tasks: list[str] = []
    record = ChunkSender._recorded

    async def late(self: ChunkSender, results: Any, status: int | None) -> Any:
        named = [result.receipt.id for result in results if isinstance(result, Created)]
        if len(tasks) < times:
            tasks.extend(named)
            until = at.ledger.now() + timedelta(seconds=2 * SETTLE)
            assert await at.ledger.begin_cancel("local", named, until=until) == {}
        return await record(self, results, status)

    monkeypatch.setattr(ChunkSender, "_recorded", late)
    return tasks


@pytest.mark.parametrize("acts", [True, False])
async def test_a_task_that_is_being_cancelled_makes_no_order_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, acts: bool
) -> None:
    """The order is in doubt, with its task, until a read shows it as cancelled or no cancel can act any more."""
    async with place(tmp_path, "plain", settle=SETTLE) as at:
        tasks = cancelled_first(at, monkeypatch)
        run_id = await at.push([order()])
        (task_id,) = tasks
        assert await at.tasks(run_id) == {"T-1": task_id}
        assert await at.states(run_id) == {"T-1": OrderState.CANCELLING}
        reconciler = Reconciler(at.gs, at.ledger, rescan_after=0)
        still = await reconciler.reconcile(run_id)
        assert [(doubt.key, "cancel" in doubt.reason) for doubt in still.in_doubt] == [("T-1", True)]
        if acts:
            await at.gs.tasks.cancel(task_id, reason="wrong")
        else:
            at.clock.ahead += timedelta(seconds=SETTLE + 1)
        done = await reconciler.reconcile(run_id)
        assert ([each.key for each in done.cancelled], [each.key for each in done.created]) == (
            (["T-1"], []) if acts else ([], ["T-1"])
        )


async def test_a_task_is_recorded_with_its_cancel_in_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ends between two writes would leave an order that a read settles as created."""
    async with place(tmp_path, "plain", settle=SETTLE) as at:
        cancelled_first(at, monkeypatch)
        keep, written = ChunkSender._keep, list[Any]()

        async def once(self: ChunkSender, outcomes: Any, **options: Any) -> None:
            if written:
                raise LedgerUnusable("its disk failed")
            await keep(self, outcomes, **options)  # the answer is refused: it names the task
            written.extend(outcomes)

        monkeypatch.setattr(ChunkSender, "_keep", once)
        with suppress(LedgerUnusable):
            await at.push([order()])
        (info,) = await at.ledger.runs()
        assert await at.states(info.id) == {"T-1": OrderState.CANCELLING}


async def test_a_draft_that_is_being_cancelled_is_not_broadcast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order gets another draft."""
    async with place(tmp_path) as at:
        tasks = cancelled_first(at, monkeypatch)
        run_id = await at.push([order()], mode=Mode.TWO_PHASE)
        assert await at.states(run_id) == {"T-1": OrderState.CREATED}
        assert (await at.tasks(run_id))["T-1"] not in tasks
        assert {task["id"] for task in at.simulator.tasks() if task["draft"]} == set(tasks)


async def test_a_read_does_not_settle_an_order_while_a_cancel_of_the_task_may_act(tmp_path: Path) -> None:
    """The cancel of a task that the ledger did not know: the order of a lost answer is settled when it has ended."""
    async with place(tmp_path, settle=SETTLE) as at:
        run_id = await at.lose([order()])
        (task,) = at.simulator.tasks()
        until = at.ledger.now() + timedelta(seconds=SETTLE)
        await at.ledger.begin_cancel("local", [task["id"]], until=until, by=1)
        reconciler = Reconciler(at.gs, at.ledger, rescan_after=0)
        (still,) = (await reconciler.reconcile(run_id)).in_doubt
        assert (still.task_ids, " until " in still.reason) == ((task["id"],), True)
        await at.ledger.forget_cancels([task["id"]], 1)
        assert [each.key for each in (await reconciler.reconcile(run_id)).created] == ["T-1"]


async def test_a_task_of_an_order_is_in_use(tmp_path: Path) -> None:
    """A cancel of it does not begin: the run of its order is named."""
    async with place(tmp_path, "plain") as at:
        run_id = await at.push([order()])
        task_id = (await at.tasks(run_id))["T-1"]
        assert await at.ledger.begin_cancel("local", [task_id], until=at.ledger.now()) == {task_id: run_id}
