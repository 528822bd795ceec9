"""What people say of orders in doubt, as programs give it; the command's own tests are in tests/cli."""

from pathlib import Path

import attrs
import pytest

from gotsurge_async import codec
from gotsurge_async.after.resolve import Resolution, read_resolutions, resolve
from gotsurge_async.bulk import Mode, OrderState, Push, SourceOptions, UnusableSource, open_source, write_results
from gotsurge_async.ledger import RunState
from gotsurge_async.simulator import Fault
from tests.support.order_forms import NOW
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
        await resolve(here.ledger, run_id, said[:1], by="Mei")
        assert (await here.ledger.run(run_id)).state is RunState.STOPPED
        resolved = await resolve(here.ledger, run_id, said, by="Mei")
        assert (len(resolved.created), len(resolved.before), resolved.left) == (1, 1, 0)
        assert (await here.ledger.run(run_id)).state is RunState.DONE


async def test_an_order_of_another_run_is_reported_as_it_is_there(tmp_path: Path) -> None:
    """Of a key that another run has, it is said whether it is created there or in doubt, and where to say what."""
    async with place(tmp_path, "plain") as here:
        created = await here.push(orders(1, "CREATED-"))
        lost = await here.lose(orders(1, "LOST-"))
        again = await here.push([*orders(1, "CREATED-"), *orders(1, "LOST-")])
        assert set((await here.states(again)).values()) == {OrderState.ALREADY_PUSHED}
        said = [Resolution(key=key) for key in ("CREATED-0", "LOST-0")]
        with pytest.raises(UnusableSource) as caught:
            await resolve(here.ledger, again, said, by="Mei")
        assert [fault.rule for fault in caught.value.faults] == [
            f"is already created in run {created}, not in doubt",
            f"is in doubt in run {lost}: gotsurge resolve {lost}",
        ]


async def test_a_line_of_json_ends_at_its_line_break_only(tmp_path: Path) -> None:
    """A text that holds a separator of Unicode, such as U+2028, is one row of the in-doubt file like any other."""
    async with place(tmp_path, "plain") as here:
        source = tmp_path / "orders.jsonl"
        changed = [attrs.evolve(order, pickup_note_to_driver="gate 1\u2028gate 2") for order in orders(2)]
        source.write_bytes(b"".join(codec.encode(order) + b"\n" for order in changed))
        here.simulator.order_fault(Fault(operation="tasks.create", when="after", kind="reset"))
        push = Push(here.gs, here.ledger)
        with open_source(str(source), options=SourceOptions(now=NOW)) as opened:
            run, _ = await push.load_source(opened)
        async with run:
            await push.send(run)
        summary = await write_results(here.ledger, await here.ledger.run(run.id), tmp_path / "out")
        assert await read_resolutions(here.ledger, run.id, Path(summary.files["in_doubt"])) == ((), 2)
