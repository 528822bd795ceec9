"""Two servers under one environment name: no order of one counts as an order of the other."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gotsurge_async import Created, GotSurge, UsageError
from gotsurge_async.after.audit import Audit
from gotsurge_async.after.reconcile import Reconciler
from gotsurge_async.after.resolve import Resolution, resolve
from gotsurge_async.after.undo import Undo
from gotsurge_async.bulk import Desk, Ledger, Mode, OrderState, Push
from gotsurge_async.ledger import OrderOutcome, OtherServer
from gotsurge_async.simulator import Fault, Simulator
from gotsurge_async.testing import simulated
from tests.push.desk.test_left import left
from tests.support.orders import order


@pytest.fixture
async def servers() -> AsyncIterator[tuple[Simulator, Simulator]]:
    """Two simulators."""
    async with Simulator() as one, Simulator() as two:
        yield one, two


async def run_of(gs: GotSurge, path: Path, key: str) -> str:
    """Create an order with a desk; the id of its run."""
    async with await Ledger.open(path) as ledger:
        async with Desk(gs, ledger) as desk:
            assert isinstance(await desk.create(order(key)), Created)
        (info,) = await ledger.runs()
        return info.id


@pytest.mark.parametrize("account", ["plain", "platform"])
async def test_an_order_of_another_server_is_not_reported_as_created(
    tmp_path: Path, servers: tuple[Simulator, Simulator], account: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its key is refused with both servers' names, other keys are sent to the present one, and the desk warns."""
    one, two = servers
    path = tmp_path / "ledger.db"
    async with simulated(account, simulator=one, ledger=path) as gs:
        first = await gs.orders.create(order("T-1"))
        assert isinstance(first, Created)
    with caplog.at_level(logging.WARNING):
        async with simulated(account, simulator=two, ledger=path) as gs:
            why = f"belongs to the server {one.api_base}, not to {two.api_base}"
            with pytest.raises(OtherServer, match=why) as refused:
                await gs.orders.create(order("T-1"))
            assert (refused.value.sent, refused.value.explain_code) == ("nothing", "E527")
            for about in (gs.orders.outcome("T-1"), gs.orders.submit(order("T-1"))):
                with pytest.raises(OtherServer):
                    await about
            results = [result async for result in gs.push([order("T-2"), order("T-3")])]
            assert [type(result) for result in results] == [Created, Created]
            with pytest.raises(OtherServer):
                async for _ in gs.push([order("T-1")]):
                    pass
    assert one.api_base in caplog.text
    assert [task["tracking_id"] for task in one.tasks()] == ["T-1"]
    assert sorted(task["tracking_id"] for task in two.tasks()) == ["T-2", "T-3"]
    async with simulated(account, simulator=one, ledger=path) as gs:
        again = await gs.orders.create(order("T-1"))
        assert isinstance(again, Created)
        assert (again.replayed, again.receipt.id) == (True, first.receipt.id)


async def test_another_path_of_the_same_server_is_the_same(
    tmp_path: Path, servers: tuple[Simulator, Simulator]
) -> None:
    """Only host and port tell servers apart, and a run without a server is of any."""
    one, two = servers
    path = tmp_path / "ledger.db"
    async with simulated(simulator=one) as gs:
        run_id = await run_of(gs, path, "T-1")
        async with await Ledger.open(path) as ledger:
            assert (await ledger.run(run_id)).options["api_base"] == one.api_base
    async with simulated(ledger=path) as gs:  # temporary: its address may be another one's tomorrow
        assert isinstance(await gs.orders.create(order("T-2")), Created)
    async with simulated(simulator=two, ledger=path) as gs:
        again = await gs.orders.create(order("T-2"))
        assert isinstance(again, Created)
        assert again.replayed


async def test_what_another_servers_desk_left_is_not_continued(
    tmp_path: Path, servers: tuple[Simulator, Simulator]
) -> None:
    """Its draft is not broadcast here; an order that waits in it is sent here, once, if it is created here."""
    one, two = servers
    async with (
        simulated("platform", simulator=two) as gs,
        await Ledger.open(tmp_path / "ledger.db") as ledger,
    ):
        run_id = await left(ledger, options={"api_base": one.api_base}, as_state=OrderState.PENDING)
        async with Desk(gs, ledger) as desk:
            assert isinstance(await desk.outcome("T-1"), Created)  # it was submitted, and never sent
        assert [row.state async for row in ledger.rows(run_id)] == [OrderState.SUPERSEDED]
        assert [task["tracking_id"] for task in two.tasks()] == ["T-1"]


async def test_a_draft_of_another_server_is_not_inherited(tmp_path: Path, servers: tuple[Simulator, Simulator]) -> None:
    """The same order gets a draft of its own here, and the other one stays an unused draft of its run."""
    one, two = servers
    async with (
        simulated("platform", simulator=one) as there,
        simulated("platform", simulator=two) as gs,
        await Ledger.open(tmp_path / "ledger.db") as ledger,
    ):
        async with (await Push(there, ledger, mode=Mode.TWO_PHASE).load_orders([order()]))[0] as run:
            pending = [each async for page in run.pending() for each in page]
            claimed = await run.claim([pending[0].id])
            (draft,) = (await there.platform.drafts.create([order()])).tasks
            await run.record([OrderOutcome(claimed[0], OrderState.DRAFTED, draft.id)])
            await run.finish()
        push = Push(gs, ledger, mode=Mode.TWO_PHASE)
        async with (await push.load_orders([order()]))[0] as own:
            sent = await push.send(own)
        assert sent.stopped_by is None
        assert [row.state async for row in ledger.rows(own.id)] == [OrderState.CREATED]
        assert [(each.task_id, each.cancelled) for each in await ledger.unused_drafts(run.id)] == [(draft.id, False)]


async def test_a_run_of_another_server_is_neither_sent_nor_read_nor_cancelled(
    tmp_path: Path, servers: tuple[Simulator, Simulator]
) -> None:
    """Push, undo, reconcile and audit refuse it, and change nothing of the ledger."""
    one, two = servers
    path = tmp_path / "ledger.db"
    async with simulated(simulator=one) as gs:
        run_id = await run_of(gs, path, "T-1")
    async with simulated(simulator=two) as gs, await Ledger.open(path) as ledger:
        info = await ledger.run(run_id)
        with pytest.raises(OtherServer):
            await Undo(gs, ledger).undo(run_id)
        with pytest.raises(OtherServer):
            await Undo(gs, ledger).record_draft(run_id, "task-1")
        with pytest.raises(OtherServer):
            await Reconciler(gs, ledger).reconcile(run_id)
        with pytest.raises(OtherServer):
            await Reconciler(gs, ledger).settle_by(run_id, [], read_at=ledger.now())
        async with Audit(ledger, tmp_path / "audit.db", rescan_after=0) as audit:
            with pytest.raises(OtherServer):
                [finding async for finding in audit.at_service(gs, [info])]
            with pytest.raises(OtherServer):
                await audit.repair(gs, info, [], by="Ng")
        async with await ledger.hold(run_id) as run:
            with pytest.raises(UsageError, match="belongs to the server"):
                await Push(gs, ledger).send(run)
        assert [row.state async for row in ledger.rows(run_id)] == [OrderState.CREATED]


async def test_a_decision_is_not_checked_at_another_server(
    tmp_path: Path, servers: tuple[Simulator, Simulator]
) -> None:
    """A task that is missing there proves nothing, and the order stays in doubt."""
    one, two = servers
    async with (
        simulated(simulator=one) as there,
        simulated(simulator=two) as gs,
        await Ledger.open(tmp_path / "ledger.db") as ledger,
    ):
        one.order_fault(Fault(operation="tasks.create", when="after", kind="reset"))
        async with (await Push(there, ledger).load_orders([order()]))[0] as run:
            await Push(there, ledger).send(run)

        async def connect() -> GotSurge:
            return gs

        task_id = one.tasks()[0]["id"]
        with pytest.raises(OtherServer):
            await resolve(ledger, run.id, [Resolution(key="T-1", task_id=task_id)], by="Ng", connect=connect)
        assert [row.state async for row in ledger.rows(run.id)] == [OrderState.IN_DOUBT]


async def test_a_program_is_warned_of_orders_at_another_server(
    tmp_path: Path, servers: tuple[Simulator, Simulator], caplog: pytest.LogCaptureFixture
) -> None:
    """A push counts their keys as already pushed."""
    one, two = servers
    path = tmp_path / "ledger.db"
    async with simulated("plain", simulator=one) as gs:
        await run_of(gs, path, "T-1")
    async with simulated("plain", simulator=two) as gs, await Ledger.open(path) as ledger:
        run, admission = await Push(gs, ledger).load_orders([order("T-1")])
        await run.close()
        assert admission.already_pushed == 1
    (text,) = [text for text in caplog.messages if one.api_base in text]
    assert text.startswith(f"the ledger has runs of the server {one.api_base} under the environment local: ")
    assert text.endswith(f"that those runs have sent count as already pushed at {two.api_base}")
