"""Orders whose tasks are gone: written off, with who said so, on both databases."""

import pytest

from gotsurge_async.ledger import Ledger, OrderState, RunLost
from tests.ledger.kit import bring, loaded, lose_locks, order, orders, states


async def test_a_key_is_free_and_the_task_stays_recorded(ledger: Ledger) -> None:
    """Only orders that are created with the named task are written off; each has a decision with its task."""
    run = await loaded(ledger, orders(25))
    await bring(run, OrderState.CREATED)
    rows = {row.key: row async for row in run.rows()}
    tasks = {rows[key].id: task for key, task in (("TRK-2", "task-2"), ("TRK-3", "task-4"), ("TRK-24", "task-24"))}
    reasons = dict.fromkeys(tasks, "it vanished")
    done = await run.write_off(tasks, reasons, by="Mei")
    assert sorted(done) == sorted((rows["TRK-2"].id, rows["TRK-24"].id))
    assert await run.write_off(tasks, reasons, by="Mei") == []
    now = {row.key: row async for row in run.rows((OrderState.CANCELLED,))}
    assert {key: (row.task_id, row.error) for key, row in now.items()} == {
        "TRK-2": ("task-2", "it vanished, says Mei"),
        "TRK-24": ("task-24", "it vanished, says Mei"),
    }
    decisions = await ledger.decisions(run.id)
    assert [(each.key, each.created, each.task_id, each.by) for each in decisions] == [
        ("TRK-2", False, "task-2", "Mei"),
        ("TRK-24", False, "task-24", "Mei"),
    ]
    await run.close()
    again = await loaded(ledger, orders(25))
    standing = await states(ledger, again)
    assert {key for key, state in standing.items() if state == "pending"} == {"TRK-2", "TRK-24"}


async def test_who_lost_the_run_writes_nothing_off(ledger: Ledger, where: str) -> None:
    """A process that was frozen meanwhile is refused."""
    run = await loaded(ledger, orders(1))
    await bring(run, OrderState.CREATED)
    (row,) = [row async for row in run.rows()]
    lose_locks(where)
    async with await Ledger.open(where) as other, await other.hold(run.id):
        with pytest.raises(RunLost):
            await run.write_off({row.id: "task-1"}, {row.id: "gone"}, by="Mei")
        assert await states(other, run) == {"TRK-1": "created"}
        assert await other.decisions(run.id) == []


async def test_a_cancelled_order_whose_task_is_live_is_created(ledger: Ledger) -> None:
    """Its key leads to it again, unless another order has it whose task did not vanish."""
    run = await loaded(ledger, orders(3))
    await bring(run, OrderState.CREATED)
    rows = {row.key: row async for row in run.rows()}
    tasks = {row.id: row.task_id or "" for row in rows.values()}
    await run.write_off(tasks, dict.fromkeys(tasks, "taken back"), by="Mei")
    other = await loaded(ledger, [order(5, "TRK-2"), order(6, "TRK-3")])
    await bring(other, OrderState.CREATED)
    theirs = {row.key: row.task_id or "" async for row in other.rows()}
    vanished = {rows["TRK-2"].id: theirs["TRK-2"], rows["TRK-3"].id: "another"}
    done = await run.put_back(tasks, vanished, by="Mei")
    assert sorted(done) == [rows["TRK-1"].id, rows["TRK-2"].id]
    assert await states(ledger, run) == {"TRK-1": "created", "TRK-2": "created", "TRK-3": "cancelled"}
    assert await states(ledger, other) == {"TRK-2": "cancelled", "TRK-3": "created"}
    known = await ledger.known("simulator", ["TRK-1", "TRK-2", "TRK-3"])
    assert {key: owner.run.id for key, owner in known.items()} == {"TRK-1": run.id, "TRK-2": run.id, "TRK-3": other.id}
    assert [(each.key, each.created) for each in await ledger.decisions(run.id)][-2:] == [
        ("TRK-1", True),
        ("TRK-2", True),
    ]
    assert await run.put_back(tasks, {}, by="Mei") == []
