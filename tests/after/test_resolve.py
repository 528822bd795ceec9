"""What people say of orders in doubt, as programs give it; the command's own tests are in tests/cli."""

from datetime import timedelta
from pathlib import Path

import attrs
import pytest

from gotsurge_async import GotSurge, Limits, codec
from gotsurge_async.after.resolve import Resolution, read_resolutions, resolve
from gotsurge_async.bulk import (
    Mode,
    OrderState,
    Push,
    Reconciler,
    SourceOptions,
    UnusableSource,
    open_source,
    write_results,
)
from gotsurge_async.errors import ConfigError
from gotsurge_async.ledger import NewOrder, RunState, TaskCancelling
from gotsurge_async.simulator import Fault
from gotsurge_async.tables.fields import FEEDBACK
from tests.support.commands import HEADER, ROW
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


async def test_a_task_id_that_a_shell_would_not_read_as_one_word_is_quoted(tmp_path: Path) -> None:
    """The printed command names exactly this task, also one with a line break."""
    async with place(tmp_path, "plain") as here:
        run_id = await here.lose(orders(1))
        (task,) = here.simulator.tasks()
        here.simulator.move(task["id"], "cancelled")
        read = [attrs.evolve(await here.gs.tasks.get(task["id"]), id="task 1\nrm -r")]
        result = await Reconciler(here.gs, here.ledger).settle_by(run_id, read, read_at=here.ledger.now())
        assert result.in_doubt[0].reason.endswith(r"--key T-0 --created $'task 1\x0arm -r'")


async def test_an_order_whose_named_task_was_cancelled_is_cancelled(tmp_path: Path) -> None:
    """A person names its task, which the service cancelled: once the create cannot act any more, its key is free."""
    async with place(tmp_path, "plain") as here:
        run_id = await here.lose(orders(1))
        (task,) = here.simulator.tasks()
        here.simulator.move(task["id"], "cancelled")
        read = [await here.gs.tasks.get(task["id"])]
        result = await Reconciler(here.gs, here.ledger).settle_by(run_id, read, read_at=here.ledger.now())
        step = f"gotsurge resolve {run_id} --key T-0 --created {task['id']}"
        assert [doubt.reason.endswith(f"if the task is this order's, run: {step}") for doubt in result.in_doubt] == [
            True
        ]

        async def connect() -> GotSurge:
            return here.gs

        said = [Resolution(key="T-0", task_id=task["id"])]
        with pytest.raises(UnusableSource) as caught:
            await resolve(here.ledger, run_id, said, by="Mei", connect=connect)
        assert "was cancelled; the request that was sent for this order was not answered" in caught.value.faults[0].rule
        here.clock.ahead += timedelta(seconds=Limits().settle)
        for _ in range(2):
            resolved = await resolve(here.ledger, run_id, said, by="Mei", connect=connect)
            assert (resolved.cancelled, resolved.created, resolved.before) == (tuple(said), (), ())
        (row,) = [row async for row in here.ledger.rows(run_id)]
        assert (row.state, row.task_id, row.status) == (OrderState.CANCELLED, task["id"], "cancelled")
        assert await here.states(await here.push(orders(1))) == {"T-0": OrderState.CREATED}


async def test_a_person_does_not_settle_an_order_while_a_cancel_of_its_task_may_act(tmp_path: Path) -> None:
    """The cancel of a task that the ledger did not know: the order is created only when that has ended."""
    async with place(tmp_path, "plain", settle=600.0) as here:
        run_id = await here.lose(orders(1))
        (task,) = here.simulator.tasks()
        until = here.ledger.now() + timedelta(seconds=600)
        await here.ledger.begin_cancel("local", [task["id"]], until=until)
        said = [Resolution(key="T-0", task_id=task["id"])]
        with pytest.raises(TaskCancelling, match="may still take effect until"):
            await resolve(here.ledger, run_id, said, by="Mei")
        assert await here.states(run_id) == {"T-0": OrderState.IN_DOUBT}
        here.clock.ahead += timedelta(seconds=601)
        assert (await resolve(here.ledger, run_id, said, by="Mei")).created == tuple(said)


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
            f"is already created in run {created}, so not in doubt",
            f"is in doubt in run {lost}, not in {again}: run gotsurge resolve {lost}",
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


async def test_only_a_column_that_has_the_key_of_every_order_says_which_order_a_row_is(tmp_path: Path) -> None:
    """A column that differs from the keys only in a late row does not lead a decision to another order."""
    names, many = HEADER.split(","), 101
    keys = [(f"S{number:03}", f"S{number:03}") for number in range(many)] + [("S000", "S000-B")]
    lines = [",".join([invoice, *ROW.format(key=key).split(",")]) for invoice, key in keys]
    source = tmp_path / "orders.csv"
    source.write_text("\n".join([",".join(["invoice_number", *names]), *lines]) + "\n")
    async with place(tmp_path, "plain") as here:
        here.simulator.order_fault(Fault(operation="tasks.create", when="after", kind="reset"))
        push = Push(here.gs, here.ledger)
        with open_source(str(source), options=SourceOptions(now=NOW)) as opened:
            run, _ = await push.load_source(opened)
        async with run:
            await push.send(run)
        summary = await write_results(here.ledger, await here.ledger.run(run.id), tmp_path / "out")
        assert (summary.in_doubt, summary.origin["key_column"]) == (many + 1, "tracking_id")
        assert summary.origin["key_field"] == "tracking_id"
        file = Path(summary.files["in_doubt"])
        marked = [
            line.replace(",in_doubt,", ",not_created,") if ",S000-B," in line else line
            for line in file.read_text().splitlines()
        ]
        file.write_text("\n".join(marked) + "\n")
        read, left = await read_resolutions(here.ledger, run.id, file)
        assert ([one.key for one in read], left) == (["S000-B"], many)
        # With no such column, a decision is refused.
        async with await here.ledger.begin(
            environment="local", mode=Mode.DIRECT, source="x.csv", columns=("No.",)
        ) as other:
            await other.add([NewOrder(n, f"K{n}", b"{}", b'["K1"]') for n in (1, 2)])
            await other.admit()
        with pytest.raises(ConfigError, match="no column identifies the orders"):
            await read_resolutions(here.ledger, other.id, _with_columns(tmp_path / "other.csv", "No."))


async def test_a_map_may_have_changed_the_case_of_some_keys(tmp_path: Path) -> None:
    """The column whose text differs from the keys only in that identifies the orders."""
    async with place(tmp_path, "plain") as here:
        async with await here.ledger.begin(
            environment="local", mode=Mode.DIRECT, source="x.csv", columns=("Area", "No.")
        ) as run:
            await run.add(
                [NewOrder(n, f"S-{n}", b"{}", f'["S-1"," {case}-{n}"]'.encode()) for n, case in ((1, "S"), (2, "s"))]
            )
            await run.admit()
        file = tmp_path / "in-doubt.csv"
        file.write_text(",".join(["Area", "No.", *FEEDBACK]) + "\nS-1,S-1,,,\nS-1,s-2,,not_created,\n")
        read, left = await read_resolutions(here.ledger, run.id, file)
        assert ([one.key for one in read], left) == (["S-2"], 1)


def _with_columns(path: Path, *names: str) -> Path:
    path.write_text(",".join([*names, *FEEDBACK]) + "\n")
    return path
