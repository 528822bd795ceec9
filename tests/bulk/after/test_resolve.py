"""What people say of orders in doubt, as programs give it; the command's own tests are in tests/cli."""

from pathlib import Path

import pytest

from gotsurge_async.bulk import Mode, OrderState, UnusableSource
from gotsurge_async.bulk.after.resolve import Resolution, Resolver
from gotsurge_async.bulk.ledger import RunState
from gotsurge_async.simulator import Fault
from tests.support.orders import orders
from tests.support.pushes import place


async def test_a_run_whose_last_doubt_is_resolved_is_done(tmp_path: Path) -> None:
    """It was stopped because a broadcast was not seen; nothing is left to be sent when a person has seen it."""
    async with place(tmp_path) as here:
        here.simulator.order_fault(Fault(operation="platform.drafts.broadcast", when="after", kind="reset"))
        here.simulator.order_fault(Fault(operation="platform.tasks.get", kind="status", status=503))
        run_id = await here.push(orders(2), mode=Mode.TWO_PHASE)
        assert (await here.ledger.run(run_id)).state is RunState.STOPPED
        said = [Resolution(key=key, task_id=task_id) for key, task_id in (await here.tasks(run_id)).items()]
        await Resolver(here.ledger).resolve(run_id, said[:1], by="Mei")
        assert (await here.ledger.run(run_id)).state is RunState.STOPPED
        resolved = await Resolver(here.ledger).resolve(run_id, said, by="Mei")
        assert (len(resolved.created), len(resolved.before), resolved.left) == (1, 1, 0)
        assert (await here.ledger.run(run_id)).state is RunState.DONE


async def test_an_order_of_another_run_is_told_as_it_stands_there(tmp_path: Path) -> None:
    """Of a key that another run has, it is said whether it is created there or in doubt, and where to say what."""
    async with place(tmp_path, "plain") as here:
        created = await here.push(orders(1, "CREATED-"))
        lost = await here.lose(orders(1, "LOST-"))
        again = await here.push([*orders(1, "CREATED-"), *orders(1, "LOST-")])
        assert set((await here.states(again)).values()) == {OrderState.ALREADY_PUSHED}
        said = [Resolution(key=key) for key in ("CREATED-0", "LOST-0")]
        with pytest.raises(UnusableSource) as caught:
            await Resolver(here.ledger).resolve(again, said, by="Mei")
        assert [fault.rule for fault in caught.value.faults] == [
            f"is created in run {created}, not in doubt",
            f"is in doubt in run {lost}: gotsurge resolve {lost}",
        ]
