"""The refused orders of a run, once more."""

from pathlib import Path
from typing import Any

import pytest

from gotsurge_async.bulk import OrderState, Push, Run, load_refused
from gotsurge_async.errors import UsageError
from gotsurge_async.ledger import LedgerUnusable, RunState
from gotsurge_async.simulator import Fault
from tests.support.orders import order, orders
from tests.support.pushes import place


async def test_refused_orders_are_sent_again_from_the_ledger(tmp_path: Path) -> None:
    """The orders that the service refused are in a new run, with the same content, and are created."""
    async with place(tmp_path, "plain") as here:
        here.simulator.order_fault(Fault(operation="tasks.create", when="before", kind="status", status=422, times=1))
        first = await here.push([*orders(30), order("T-30", invoice_number="INV-9")], concurrency=1)
        run, admission = await load_refused(here.ledger, first)
        async with run:
            assert admission.pending == 20
            assert run.info.options["retry_of"] == first
            old = {row.key: row.payload async for row in here.ledger.rows(first, (OrderState.REFUSED,))}
            assert {row.key: row.payload async for row in run.rows()} == old
            await Push(here.gs, here.ledger).send(run)
        assert set((await here.states(run.id)).values()) == {OrderState.CREATED}
        assert here.simulator.audit()["tasks"] == 31
        assert here.simulator.audit()["doubled"] == {}
        with pytest.raises(UsageError, match="no refused orders"):  # all of them exist by now
            await load_refused(here.ledger, first)


async def test_a_run_without_refused_orders_is_reported(tmp_path: Path) -> None:
    """There is nothing to try again."""
    async with place(tmp_path, "plain") as here:
        run_id = await here.push(orders(1))
        with pytest.raises(UsageError, match="no refused orders"):
            await load_refused(here.ledger, run_id)
        assert len(await here.ledger.runs()) == 1


async def test_orders_that_look_alike_are_still_distinguished(tmp_path: Path) -> None:
    """The new run knows what each order looks like: one under two keys is told as it was the first time."""
    async with place(tmp_path, "plain") as here:
        here.simulator.order_fault(Fault(operation="tasks.create", when="before", kind="status", status=422))
        first = await here.push([order("A"), order("B")])
        run, _ = await load_refused(here.ledger, first)
        async with run:
            assert [(pair.key, pair.other_key) for pair in await run.similar()] == [("B", "A")]


async def test_what_fails_after_the_admission_leaves_the_new_run_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error itself is raised, and the run, which is admitted by then, can be taken up."""

    async def fail(*_: Any) -> None:
        raise LedgerUnusable("the disk fails")

    async with place(tmp_path, "plain") as here:
        wrong = [order(f"B-{number}", vehicle_preference="hovercraft") for number in range(2)]
        first = await here.push(wrong)
        await here.push([order("B-0")])
        monkeypatch.setattr(Run, "rivals", fail)
        push = Push(here.gs, here.ledger)
        for load in (lambda: load_refused(here.ledger, first), lambda: push.load_orders(orders(1, "B-"))):
            with pytest.raises(LedgerUnusable, match="the disk fails"):
                await load()
            newest, *_ = await here.ledger.runs()
            async with await here.ledger.hold(newest.id) as run:
                assert run.info.state is RunState.READY
