"""What a push makes of the answer of a create that does not say whose each task is, over real HTTP."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest

from gotsurge_async import Money, Order
from gotsurge_async.bulk import Mode, OrderState, Push, Run
from gotsurge_async.hooks import CallStarted
from gotsurge_async.models.answers import Task
from gotsurge_async.simulator import Fault
from tests.support import pushes
from tests.support.orders import order, orders
from tests.support.pushes import Place, place

MODES = [("plain", Mode.DIRECT), ("platform", Mode.TWO_PHASE)]


@pytest.mark.parametrize(("account", "mode"), MODES)
async def test_the_tasks_are_read(tmp_path: Path, account: str, mode: Mode) -> None:
    """However the answer is ordered, each order is recorded with the task that a read says is its own."""
    async with place(tmp_path, account, answer_order="shuffled", tracking_id_echo="reads") as here:
        run_id = await here.push(orders(10), mode=mode)
        assert set((await here.states(run_id)).values()) == {OrderState.CREATED}
        for key, task_id in (await here.tasks(run_id)).items():
            assert (await here.gs.tasks.get(task_id)).tracking_id == key
        assert here.simulator.audit()["doubled"] == {}


@pytest.mark.parametrize(("account", "mode"), MODES)
async def test_where_no_read_tells_positions_do(tmp_path: Path, account: str, mode: Mode) -> None:
    """A service that names nobody, and a read that fails, leave the order in which the tasks were answered."""
    async with place(tmp_path, account, tracking_id_echo="never") as here:
        run_id = await here.push(orders(3), mode=mode)
        assert set((await here.states(run_id)).values()) == {OrderState.CREATED}


async def test_where_reads_fail_positions_do(tmp_path: Path) -> None:
    """Tasks that cannot be read are matched by their place in the answer."""
    async with place(tmp_path, "plain", tracking_id_echo="reads") as here:
        here.simulator.order_fault(Fault(operation="tasks.get", kind="status", status=404))
        run_id = await here.push(orders(3))
        here.simulator.clear_faults()
        for key, task_id in (await here.tasks(run_id)).items():
            assert (await here.gs.tasks.get(task_id)).tracking_id == key


@pytest.mark.parametrize(("account", "mode"), MODES)
async def test_orders_of_one_invoice_have_the_tasks_that_reads_name(tmp_path: Path, account: str, mode: Mode) -> None:
    """An invoice number that several orders have names none of them: each task is read."""
    async with place(tmp_path, account, answer_order="shuffled", tracking_id_echo="reads") as here:
        run_id = await here.push([order(f"T-{number}", invoice_number="INV") for number in range(4)], mode=mode)
        assert set((await here.states(run_id)).values()) == {OrderState.CREATED}
        for key, task_id in (await here.tasks(run_id)).items():
            assert (await here.gs.tasks.get(task_id)).tracking_id == key
        assert here.simulator.audit()["doubled"] == {}


@pytest.mark.parametrize("echo", ["reads", "never"])
@pytest.mark.parametrize(("account", "mode"), MODES)
async def test_one_task_for_two_orders_of_one_invoice(tmp_path: Path, account: str, mode: Mode, echo: str) -> None:
    """A task that only one of two orders got is that one's where a read says so; else both are in doubt, or drafted
    anew, each in its own call."""
    async with place(tmp_path, account, tracking_id_echo=echo, create_rule="partial") as here:
        rows = [costing(100, "T-0", invoice_number="INV"), costing(300, "T-1", invoice_number="INV")]
        run_id = await here.push(rows, mode=mode)
        states, created = await here.states(run_id), [OrderState.CREATED]
        tasks = {task["id"]: task for task in here.simulator.tasks()}
        sent = [task for task in tasks.values() if not task["draft"]]
        if mode is Mode.TWO_PHASE:
            assert states == {"T-0": OrderState.REFUSED, "T-1": OrderState.CREATED}
        else:
            assert states["T-0"] is OrderState.IN_DOUBT
            assert [states["T-1"]] == (created if echo == "reads" else [OrderState.IN_DOUBT])
        assert len(sent) == 1
        assert {key: task for key, task in (await here.tasks(run_id)).items() if task} == (
            {"T-1": sent[0]["id"]} if states["T-1"] is OrderState.CREATED else {}
        )


@pytest.mark.parametrize("unread", [False, True])
@pytest.mark.parametrize(("account", "mode"), MODES)
async def test_no_position_decides_between_orders_of_one_invoice(
    tmp_path: Path, account: str, mode: Mode, unread: bool
) -> None:
    """Where no read tells orders of one invoice apart they are in doubt, or each is drafted in a call of its own."""
    async with place(tmp_path, account, answer_order="shuffled", tracking_id_echo="reads" if unread else "never") as (
        here
    ):
        if unread:
            for operation in ("tasks.get", "platform.tasks.get"):
                here.simulator.order_fault(Fault(operation=operation, kind="status", status=404, times=2))
        prices = {"T-0": 300, "T-1": 400}
        run_id = await here.push(
            [costing(price, key, invoice_number="INV") for key, price in prices.items()], mode=mode
        )
        states = set((await here.states(run_id)).values())
        assert states == {OrderState.CREATED if mode is Mode.TWO_PHASE else OrderState.IN_DOUBT}
        assert sorted(task["draft"] for task in here.simulator.tasks()) == [False] * 2 + [True] * (
            2 if mode is Mode.TWO_PHASE else 0
        )
        here.simulator.clear_faults()
        for key, task_id in (await here.tasks(run_id)).items():
            assert not task_id or await price_of(here, task_id) == prices[key]


@pytest.mark.parametrize("echo", ["always", "reads", "never"])
@pytest.mark.parametrize(("account", "mode"), MODES)
async def test_orders_of_one_tracking_id_are_sent_in_different_calls(
    tmp_path: Path, account: str, mode: Mode, echo: str
) -> None:
    """Two keys with one tracking id: neither an answer nor a read could distinguish the orders in one call."""
    switches: dict[str, Any] = {"answer_order": "shuffled", "tracking_id_echo": echo, "create_rule": "partial"}
    async with place(tmp_path, account, **switches) as here:
        states, tasks = await push_by_price(here, [costing(price) for price in (100, 300, 400)], mode)
        assert list(states.values()) == [OrderState.REFUSED, OrderState.CREATED, OrderState.CREATED]
        for key, task_id in tasks.items():
            assert not task_id or await price_of(here, task_id) == int(key)
        assert len(here.simulator.tasks()) == 2


@pytest.mark.parametrize(("account", "mode"), MODES)
async def test_a_stop_ends_a_chunk_of_many_calls(tmp_path: Path, account: str, mode: Mode) -> None:
    """Of orders that each need a call, none leaves after the stop, and a later push sends them all."""
    async with place(tmp_path, account) as here:
        push = Push(here.gs, here.ledger, mode=mode)
        run = await load_alike(push, 20)
        async with run:
            here.gs.hooks.add(lambda event: push.stop() if isinstance(event, CallStarted) else None)
            sent = await push.send(run)
        assert sent.interrupted
        assert sent.stopped_by is None
        assert Counter((await here.states(run.id)).values()) == {OrderState.CREATED: 1, OrderState.PENDING: 19}
        async with await here.ledger.hold(run.id) as run:
            await Push(here.gs, here.ledger, mode=mode).send(run)
        assert set((await here.states(run.id)).values()) == {OrderState.CREATED}
        assert len(here.simulator.tasks()) == 20


@pytest.mark.parametrize(("status", "when"), [(403, "before"), (429, "before"), (503, "after")])
@pytest.mark.parametrize(("account", "mode"), MODES)
async def test_an_outage_ends_a_chunk_of_many_calls(
    tmp_path: Path, account: str, mode: Mode, status: int, when: Literal["before", "after"]
) -> None:
    """After a call that the next ones would end like, the rest of its chunk stays pending."""
    async with place(tmp_path, account) as here:
        operation = "tasks.create" if mode is Mode.DIRECT else "platform.drafts.create"
        here.simulator.order_fault(
            Fault(operation=operation, when=when, kind="status", status=status, headers={"Retry-After": "0"})
        )
        push = Push(here.gs, here.ledger, mode=mode, concurrency=1)
        async with await load_alike(push, 25) as run:
            sent = await push.send(run)
        assert sent.stopped_by is not None
        tries = 3 if status == 429 or (status == 503 and mode is Mode.TWO_PHASE) else 1
        assert here.simulator.audit()["calls"][operation] == tries
        doubts = {OrderState.IN_DOUBT: 1} if status == 503 and mode is Mode.DIRECT else {}
        expected = {OrderState.PENDING: 25 - len(doubts)} | doubts
        assert Counter((await here.states(run.id)).values()) == expected


async def test_a_lost_answer_of_one_of_many_calls_ends_no_push_of_drafts(tmp_path: Path) -> None:
    """The order and the rest of its chunk are sent in the next try."""
    async with place(tmp_path, "platform") as here:
        here.simulator.order_fault(Fault(operation="platform.drafts.create", when="after", kind="reset", times=1))
        push = Push(here.gs, here.ledger, mode=Mode.TWO_PHASE)
        async with await load_alike(push, 5) as run:
            assert (await push.send(run)).stopped_by is None
        assert set((await here.states(run.id)).values()) == {OrderState.CREATED}
        assert sum(task["draft"] for task in here.simulator.tasks()) == 1


async def test_a_lost_answer_does_not_end_the_search_for_bad_orders(tmp_path: Path) -> None:
    """Of a refused chunk one half is in doubt; the other one is divided further."""
    async with place(tmp_path, refusal_names_rows=False) as here:
        here.simulator.order_fault(Fault(operation="tasks.create", when="after", kind="reset", after_calls=1, times=1))
        rows = [*orders(3), costing(100, "BAD")]
        run_id = await here.push(rows, on_refused_chunk="split")
        assert [*(await here.states(run_id)).values()] == [
            *[OrderState.IN_DOUBT] * 2,
            OrderState.CREATED,
            OrderState.REFUSED,
        ]


@pytest.mark.parametrize("attempts", [1, 2, 3])
async def test_no_answer_needs_a_name_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attempts: int
) -> None:
    """Drafts that no name tells apart are made in smaller calls at last, however seldom a failed call is tried."""
    monkeypatch.setattr(pushes, "QUICK", attrs.evolve(pushes.QUICK, attempts=attempts))
    shared = [order(f"S-{number}", invoice_number="INV") for number in range(3)]
    async with place(tmp_path / "shared", "platform", tracking_id_echo="never") as here:
        run_id = await here.push(shared, mode=Mode.TWO_PHASE)
        assert set((await here.states(run_id)).values()) == {OrderState.CREATED}
        assert sum(task["draft"] for task in here.simulator.tasks()) == len(shared)
    async with place(tmp_path / "partial", "platform", tracking_id_echo="never", create_rule="partial") as here:
        run_id = await here.push([costing(100, "BAD"), *orders(3)], mode=Mode.TWO_PHASE)
        assert Counter((await here.states(run_id)).values()) == {OrderState.REFUSED: 1, OrderState.CREATED: 3}


async def load_alike(push: Push, number: int) -> Run:
    """Load orders whose keys differ, but not their names."""
    rows = [order("SAME", group_tag=f"K-{row}") for row in range(number)]
    return (await push.load_orders(rows, key=lambda row: row.group_tag))[0]


def costing(cents: int, key: str = "T", **values: object) -> Order:
    """An order with a price; the service refuses less than 200 cents."""
    return order(key, price=Money.of(cents // 100, "SGD"), **values)


async def push_by_price(here: Place, rows: Sequence[Order], mode: Mode) -> tuple[dict[str, OrderState], dict[str, str]]:
    """Push orders whose keys are their prices; their states and tasks."""
    push = Push(here.gs, here.ledger, mode=mode)
    run, _ = await push.load_orders(rows, key=lambda row: str(cents_of(row)))
    async with run:
        await push.send(run)
    return await here.states(run.id), await here.tasks(run.id)


def cents_of(row: Order | Task) -> int:
    """The price of an order, or of a task."""
    return row.price.millicents // 1000 if row.price else 0


async def price_of(here: Place, task_id: str) -> int:
    """The price that the service has for a task."""
    return cents_of(await here.gs.tasks.get(task_id))
