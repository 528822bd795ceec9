"""Orders in doubt, settled by tasks that were read: only by one that names the order and no other."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import attrs
import pytest

from gotsurge_async import Created, InDoubt, Limits, Order, Task, codec
from gotsurge_async.bulk import Desk, Ledger, Mode, OrderState, Push, Reconciler, Run
from gotsurge_async.ledger import LedgerUnusable, NewOrder, OrderOutcome, RunState
from gotsurge_async.ledger.upkeep.archive import archive
from gotsurge_async.simulator import Fault
from tests.support.orders import order, orders, window
from tests.support.pushes import Place, place


async def read_all(here: Place) -> list[Task]:
    """Every task of the account, each read by its id."""
    return [await here.gs.tasks.get(each["id"]) for each in here.simulator.tasks()]


async def settled(here: Place, run_id: str, tasks: list[Task]) -> dict[str, OrderState]:
    await Reconciler(here.gs, here.ledger).settle_by(run_id, tasks, read_at=here.clock.now())
    return await here.states(run_id)


async def test_a_plain_partners_orders_are_settled_by_reads(tmp_path: Path) -> None:
    """What was created and read is created, each by its own task; what nobody read stays in doubt."""
    async with place(tmp_path, "plain") as here:
        run_id = await here.lose(orders(3))
        tasks = await read_all(here)
        assert await settled(here, run_id, tasks[:2]) == {
            "T-0": OrderState.CREATED,
            "T-1": OrderState.CREATED,
            "T-2": OrderState.IN_DOUBT,
        }
        for key, task_id in (await here.tasks(run_id)).items():
            assert not task_id or (await here.gs.tasks.get(task_id)).tracking_id == key
        assert (await settled(here, run_id, tasks))["T-2"] is OrderState.CREATED
        assert here.simulator.audit()["doubled"] == {}


async def test_an_order_of_a_desk_is_settled_by_a_read(tmp_path: Path) -> None:
    """After its answer was lost, an event has its task read, and the next call with the key returns this task."""
    (lost,) = orders(1)
    async with place(tmp_path, "plain") as here:
        here.simulator.order_fault(Fault(operation="tasks.create", when="after", kind="reset"))
        async with Desk(here.gs, here.ledger, mode=Mode.DIRECT) as desk:
            assert isinstance(await desk.create(lost), InDoubt)
        here.simulator.clear_faults()
        (run,) = await here.ledger.runs()
        (task,) = await read_all(here)
        assert await settled(here, run.id, [task]) == {"T-0": OrderState.CREATED}
        async with Desk(here.gs, here.ledger, mode=Mode.DIRECT) as desk:
            again = await desk.create(lost)
        assert isinstance(again, Created)
        assert (again.receipt.id, again.replayed) == (task.id, True)
        assert here.simulator.audit()["by_tracking_id"] == {"T-0": 1}


@attrs.frozen
class Case:
    """Orders whose answers were lost, where they then stand and why, and what else the service has.

    Attributes:
        before: tasks of another program from before the push; ``made``: from after it; ``drafts``: drafts.
        moved: the status that the one task is moved to.
    """

    lost: Sequence[Order]
    states: Mapping[str, OrderState]
    reason: str = ""
    when: str = "after"
    before: Sequence[Order] = ()
    made: Sequence[Order] = ()
    drafts: Sequence[Order] = ()
    moved: str = ""
    echo: str = "always"


def named(field: str, *names: str | None) -> list[Order]:
    """Orders A, B, … with an invoice number, or with a group tag and without an invoice number."""
    return [order(key, **{"invoice_number": None, field: name}) for key, name in zip("ABCD", names, strict=False)]


CREATED, IN_DOUBT = OrderState.CREATED, OrderState.IN_DOUBT
ONE, STAYS = orders(1), {"T-0": IN_DOUBT}
LATER = order("T-0", from_time_window=window(timedelta(hours=2)))
BILLED = order("T-0", invoice_number="OTHER")
LATER_BILLED = attrs.evolve(LATER, invoice_number="INV")
OTHERS = "or another order's"
CASES = {
    "cancelled": Case(ONE, STAYS, "does not prove that this order was", moved="cancelled"),
    "expired": Case(ONE, {"T-0": CREATED}, moved="expired"),
    "cancelled beside a draft": Case(ONE, STAYS, "may also have a live task", moved="cancelled", drafts=ONE),
    "twice": Case(ONE, STAYS, "created more than once", made=ONE),
    "a draft alone": Case(ONE, STAYS, "does not prove that the order was broadcast", when="before", drafts=ONE),
    "another invoice": Case([order("T-0", invoice_number="MINE")], STAYS, OTHERS, when="before", before=[BILLED]),
    "another pickup": Case(ONE, STAYS, OTHERS, when="before", before=[LATER]),
    "another pickup by invoice": Case(
        named("invoice_number", "INV"), {"A": IN_DOUBT}, OTHERS, when="before", before=[LATER_BILLED], echo="never"
    ),
    "invoices": Case(
        named("invoice_number", "INV-A", "INV-B", "INV-C", "INV-C"),
        {"A": CREATED, "B": CREATED, "C": IN_DOUBT, "D": IN_DOUBT},
        OTHERS,
        echo="never",
    ),
    "no name": Case(named("group_tag", None, None), {"A": IN_DOUBT, "B": IN_DOUBT}, echo="never"),
    "one tag": Case(named("group_tag", "G", "G"), {"A": IN_DOUBT, "B": IN_DOUBT}, echo="never"),
    "own tags": Case(named("group_tag", "G", "H"), {"A": CREATED, "B": CREATED}, echo="never"),
}


@pytest.mark.parametrize("by_list", [True, False])
@pytest.mark.parametrize("name", CASES)
async def test_what_tasks_prove(tmp_path: Path, name: str, by_list: bool) -> None:
    """Found on the Task List, or read by their ids, tasks settle those orders alone that they are certainly of."""
    case = CASES[name]
    if by_list and name == "own tags":
        case = attrs.evolve(case, states={"A": IN_DOUBT, "B": IN_DOUBT})  # a list may show other orders of the tags
    async with place(tmp_path, tracking_id_echo=case.echo) as here:
        if case.before:
            await here.gs.tasks.create(case.before)
            await here.push([order("T-9")])  # the ledger is not new: nothing is looked up before it sends
        run_id = await here.lose(case.lost, when=case.when)
        if case.moved:
            here.simulator.move(here.simulator.tasks()[0]["id"], case.moved)
        if case.made:
            await here.gs.tasks.create(case.made)
        if case.drafts:
            await here.gs.platform.drafts.create(case.drafts)
        reconciler = Reconciler(here.gs, here.ledger)
        if by_list:
            result = await reconciler.reconcile(run_id)
        else:
            tasks = [await here.gs.platform.tasks.get(each["id"]) for each in here.simulator.tasks()]
            result = await reconciler.settle_by(run_id, tasks, read_at=here.clock.now())
        assert await here.states(run_id) == case.states
        assert {each.key for each in result.created} == {key for key, each in case.states.items() if each is CREATED}
        assert result.cancelled == ()
        assert [len(each.task_ids) for each in result.doubled] == [2 for _ in case.made]
        errors = {row.key: row.error or "" async for row in here.ledger.rows(run_id)}
        assert all(case.reason in each.reason and case.reason in errors[each.key] for each in result.in_doubt)
        assert result.in_doubt or not case.reason
        # All its tasks are cancelled: a push after an accepted older copy may send it.
        assert await here.absent(run_id) == ({"T-0"} if name == "cancelled" else set())


async def test_a_run_that_is_being_sent(tmp_path: Path) -> None:
    """While a living process has the run, what is in doubt there is settled as a person would."""
    async with place(tmp_path, "plain") as here:
        run_id = await here.lose(orders(2))
        async with await here.ledger.hold(run_id):
            assert set((await settled(here, run_id, await read_all(here))).values()) == {OrderState.CREATED}
        assert {each.by for each in await here.ledger.decisions(run_id)} == {"a read of the task"}


async def test_a_recorded_draft_is_settled_by_its_own_task(tmp_path: Path) -> None:
    """Two-phase: what was broadcast by its recorded draft is created; what is a draft still is not."""
    async with place(tmp_path) as here:
        here.simulator.order_fault(Fault(operation="platform.drafts.broadcast", when="after", kind="reset"))
        here.simulator.order_fault(Fault(operation="platform.tasks.get", when="before", kind="status", status=503))
        run_id = await here.push(orders(2), mode=Mode.TWO_PHASE)
        here.simulator.clear_faults()
        assert set((await here.states(run_id)).values()) == {OrderState.BROADCASTING}
        assert set((await settled(here, run_id, await read_all(here))).values()) == {OrderState.CREATED}


# --- what is in flight ------------------------------------------------------------------------------------------------


@asynccontextmanager
async def in_flight(here: Place, run: Run, key: str, **changes: object) -> AsyncIterator[int]:
    """An order of a run is claimed, and it is at the service; its answer is on its way."""
    ids = {waiting.key: waiting.id async for page in run.pending() for waiting in page}
    assert await run.claim([ids[key]]) == [ids[key]]
    await here.gs.tasks.create([order(key, **changes)])
    yield ids[key]


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_the_task_of_an_order_in_flight(tmp_path: Path, elsewhere: bool) -> None:
    """Of two orders of one invoice and pickup, one lost and one in flight in any run, neither is the other's."""
    async with place(tmp_path, "plain", tracking_id_echo="never") as here:
        mine, theirs = order("A", invoice_number="INV"), order("B", invoice_number="INV")
        push = Push(here.gs, here.ledger)
        first = await here.lose([mine], when="before") if elsewhere else ""
        async with (await push.load_orders([theirs] if elsewhere else [mine, theirs]))[0] as run:
            await run.start()
            if not elsewhere:
                (lost,) = [each.id async for page in run.pending() for each in page if each.key == "A"]
                await run.claim([lost])
                await run.record([OrderOutcome(lost, OrderState.IN_DOUBT, error="reset before it arrived")])
            async with in_flight(here, run, "B", invoice_number="INV") as order_id:
                (task,) = await read_all(here)
                assert (await settled(here, first or run.id, [task]))["A"] is OrderState.IN_DOUBT
                await run.record([OrderOutcome(order_id, OrderState.CREATED, task.id)])
            assert (await settled(here, first or run.id, [task]))["A"] is OrderState.IN_DOUBT
            assert (await here.tasks(run.id))["B"] == task.id


async def test_an_order_in_flight_that_is_recorded_while_its_task_settles(tmp_path: Path) -> None:
    """Whoever looks who has a task looks after having seen what is in flight: it is in the one or in the other."""
    async with place(tmp_path, "plain", tracking_id_echo="never") as here:
        first = await here.lose([order("A", invoice_number="INV")], when="before")
        async with (await Push(here.gs, here.ledger).load_orders([order("B", invoice_number="INV")]))[0] as run:
            await run.start()
            async with in_flight(here, run, "B", invoice_number="INV") as order_id:
                (task,) = await read_all(here)
                recorded = Ledger.owners

                async def recorded_meanwhile(ledger: Ledger, environment: str, ids: list[str]) -> dict[str, int]:
                    found = await recorded(ledger, environment, ids)
                    await run.record([OrderOutcome(order_id, OrderState.CREATED, task.id)])
                    return found

                with pytest.MonkeyPatch.context() as patched:
                    patched.setattr(Ledger, "owners", recorded_meanwhile)
                    result = await Reconciler(here.gs, here.ledger).settle_by(first, [task], read_at=here.clock.now())
        # It was not even tried: the ledger would have refused it.
        assert [(each.key, "or another order's" in each.reason) for each in result.in_doubt] == [("A", True)]
        assert (await here.states(first), await here.tasks(run.id)) == ({"A": OrderState.IN_DOUBT}, {"B": task.id})


async def test_a_group_tag_that_an_order_in_flight_has_too(tmp_path: Path) -> None:
    """A group tag is not one order's alone while an order of another run that has it is in flight."""
    async with place(tmp_path, "plain", tracking_id_echo="never") as here:
        names = {"group_tag": "G", "invoice_number": None}
        first = await here.lose([order("A", **names)], when="before")
        async with (await Push(here.gs, here.ledger).load_orders([order("B", **names)]))[0] as run:
            await run.start()
            async with in_flight(here, run, "B", **names):
                assert await settled(here, first, await read_all(here)) == {"A": OrderState.IN_DOUBT}


async def test_a_group_tag_that_a_waiting_order_of_the_run_has_too(tmp_path: Path) -> None:
    """A group tag of two orders of a run proves nothing, also where the other one waits still."""
    async with place(tmp_path, "plain", tracking_id_echo="never") as here:
        names = {"group_tag": "G", "invoice_number": None}
        run, _ = await Push(here.gs, here.ledger).load_orders([order("A", **names), order("B", **names)])
        async with run:
            await run.start()
            (lost,) = [each.id async for page in run.pending() for each in page if each.key == "A"]
            await run.claim([lost])
            await run.record([OrderOutcome(lost, OrderState.IN_DOUBT, error="the answer was lost")])
            await here.gs.tasks.create([order("somebody else's", **names)])
            states = await settled(here, run.id, await read_all(here))
        assert states == {"A": OrderState.IN_DOUBT, "B": OrderState.PENDING}


async def test_orders_of_another_environment_are_no_rivals(tmp_path: Path) -> None:
    """What is in doubt in another environment is at another service: its names are its own."""
    async with (
        place(tmp_path, "plain", tracking_id_echo="never") as here,
        await here.ledger.begin(environment="elsewhere", mode=Mode.DIRECT, source="a test") as run,
    ):
        await run.add([NewOrder(line=1, key="B", payload=codec.encode(order("B", invoice_number="INV")))])
        await run.admit()
        await run.claim([each.id async for page in run.pending() for each in page])
        run_id = await here.lose([order("A", invoice_number="INV")])
        assert await settled(here, run_id, await read_all(here)) == {"A": OrderState.CREATED}


# --- what may come in between -----------------------------------------------------------------------------------------


async def test_beside_an_archived_run(tmp_path: Path) -> None:
    """A run whose orders were archived keeps no other from being settled."""
    async with place(tmp_path, "plain") as here:
        await here.push([order("OLD")])
        moment = here.clock.now() + timedelta(hours=1)
        assert (await archive(tmp_path / "ledger.db", tmp_path / "archive.db", before=moment)).runs
        run_id = await here.lose(orders(1))
        assert await settled(here, run_id, await read_all(here)) == {"T-0": OrderState.CREATED}


async def test_a_run_that_fails_to_be_settled_is_not_left_being_sent(tmp_path: Path) -> None:
    """Where a run stands is written down also when its settling fails."""
    async with place(tmp_path, "plain") as here:
        run_id = await here.lose(orders(1))
        async with await here.ledger.hold(run_id) as run:
            await run.start()  # and its process ends

        async def fails(*_: object) -> dict[str, int]:
            raise LedgerUnusable("the disk is gone")

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Ledger, "owners", fails)
            with pytest.raises(LedgerUnusable, match="disk is gone"):
                await settled(here, run_id, await read_all(here))
        assert (await here.ledger.run(run_id)).state is RunState.DONE


@pytest.mark.parametrize("held", [False, True])
async def test_an_order_that_is_decided_meanwhile_does_not_keep_back_others(tmp_path: Path, held: bool) -> None:
    """What somebody else decides between the look and the write stays as it is, and the others are settled."""
    async with place(tmp_path, "plain") as here:
        run_id = await here.lose(orders(3))
        tasks = await read_all(here)
        recorded = Ledger.owners

        async def decided_meanwhile(ledger: Ledger, environment: str, ids: list[str]) -> dict[str, int]:
            found = await recorded(ledger, environment, ids)
            here.clock.ahead += timedelta(seconds=Limits().settle)
            await here.ledger.resolve(run_id, {"T-1": None}, by="Mei")
            return found

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Ledger, "owners", decided_meanwhile)
            if held:
                async with await here.ledger.hold(run_id):
                    result = await Reconciler(here.gs, here.ledger).settle_by(run_id, tasks, read_at=here.clock.now())
            else:
                result = await Reconciler(here.gs, here.ledger).settle_by(run_id, tasks, read_at=here.clock.now())
        created, refused = OrderState.CREATED, OrderState.REFUSED
        assert await here.states(run_id) == {"T-0": created, "T-1": refused, "T-2": created}
        assert ({each.key for each in result.created}, result.in_doubt) == ({"T-0", "T-2"}, ())


async def test_a_task_that_is_taken_meanwhile_does_not_keep_back_others(tmp_path: Path) -> None:
    """In a run that is held, too, a task that another order has by now leaves only its own order in doubt."""

    async def nothing(*_: object) -> Mapping[str, int]:
        return {}

    async with place(tmp_path, "plain") as here:
        await here.push([order("A")])
        here.simulator.order_fault(Fault(operation="tasks.create", when="before", kind="reset"))
        push = Push(here.gs, here.ledger)
        run, _ = await push.load_orders([order("A"), order("B")], key=lambda order: f"again {order.tracking_id}")
        async with run:
            await push.send(run)
            here.simulator.clear_faults()
            await here.gs.tasks.create([order("B")])
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(Ledger, "owners", nothing)
                states = await settled(here, run.id, await read_all(here))
        assert states == {"again A": OrderState.IN_DOUBT, "again B": OrderState.CREATED}


async def test_a_task_of_no_order_in_doubt_costs_little(tmp_path: Path) -> None:
    """Where the tasks name no order in doubt, the run is not taken up, and the ledger is not asked who has them."""
    async with place(tmp_path, "plain") as here:
        run_id = await here.lose(orders(1))
        await here.push([order("B")])
        before = await here.ledger.run(run_id)
        theirs = [task for task in await read_all(here) if task.tracking_id == "B"]
        with pytest.MonkeyPatch.context() as patched:
            patched.delattr(Ledger, "owners")
            assert await settled(here, run_id, theirs) == {"T-0": OrderState.IN_DOUBT}
        assert (await here.ledger.run(run_id)).epoch == before.epoch
