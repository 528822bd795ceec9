"""The notes of cancels of tasks that no order has."""

from datetime import timedelta
from pathlib import Path

import pytest

from gotsurge_async.after.cancels import NotedCancels
from gotsurge_async.after.reconcile import Reconciler
from tests.support.orders import order
from tests.support.pushes import place

SETTLE = 600.0


@pytest.mark.parametrize("is_first_over", [True, False])
async def test_a_command_forgets_no_cancel_of_another_one(tmp_path: Path, is_first_over: bool) -> None:
    """Whichever of two is refused: the other one may act, so the order of the task stays in doubt."""
    async with place(tmp_path, settle=SETTLE) as at:
        run_id = await at.lose([order()])
        (task,) = at.simulator.tasks()
        reconciler = Reconciler(at.gs, at.ledger, rescan_after=0)
        commands = [NotedCancels(at.ledger, "local", SETTLE) for _ in range(2)]
        for command in (*commands, commands[0]):
            assert await command.begin([task["id"]]) == {}
        await commands[0 if is_first_over else 1].forget(task["id"])
        assert len((await reconciler.reconcile(run_id)).in_doubt) == 1
        at.clock.ahead += timedelta(seconds=2 * SETTLE + 1)
        assert len((await reconciler.reconcile(run_id)).created) == 1


async def test_a_command_forgets_its_own_cancels(tmp_path: Path) -> None:
    """Those that it names, or all that did not leave."""
    async with place(tmp_path, settle=SETTLE) as at:
        run_id = await at.lose([order(), order("T-2")])
        reconciler = Reconciler(at.gs, at.ledger, rescan_after=0)
        tasks = {task["tracking_id"]: task["id"] for task in at.simulator.tasks()}
        notes = NotedCancels(at.ledger, "local", SETTLE)
        await notes.begin([*tasks.values()])
        notes.leaves(tasks["T-2"])
        await notes.forget()
        assert [each.key for each in (await reconciler.reconcile(run_id)).created] == ["T-1"]
        await notes.forget(tasks["T-2"])
        assert [each.key for each in (await reconciler.reconcile(run_id)).created] == ["T-2"]
