"""Orders that were changed after their keys had been pushed."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import astuple

from gotsurge_async import Address, Money, Order
from gotsurge_async.bulk import Ledger, Mode, OrderState, Push
from gotsurge_async.ledger import Run
from gotsurge_async.push.changes import Known, compare, differing
from gotsurge_async.push.load import Loader
from gotsurge_async.simulator import Fault
from tests.support.orders import NOW, order, orders
from tests.support.pushes import Place, place

ELSEWHERE = Address(street_address="Tuas South Boulevard 9", country="SG")
NAMES, LEAVES = st.sampled_from(["", "a", "b"]), st.sampled_from([None, False, True, 0, 1, "", "a", [], ["a"], {}])
"""Few, so that two orders have much in common."""
json_values = LEAVES | st.dictionaries(NAMES, LEAVES | st.dictionaries(NAMES, LEAVES))


async def again(here: Place, *changed: Order, mode: Mode = Mode.TWO_PHASE) -> tuple[Run, Push]:
    """The run of a second push of changed orders, held and not sent."""
    push = Push(here.gs, here.ledger, mode=mode)
    run, admission = await push.load_orders(changed)
    assert admission.pending == 0
    return run, push


async def told(run: Run) -> dict[str, tuple[OrderState, str]]:
    """The state of each key, and what is said of it."""
    return {row.key: (row.state, row.error or "") async for row in run.rows()}


@given(st.dictionaries(NAMES, json_values), st.dictionaries(NAMES, json_values))
def test_only_what_differs_is_named(mine: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Two orders differ in nothing just when they are equal, but for absent fields and the time of their making."""

    def settled(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: settled(each) for name, each in value.items() if settled(each) not in (None, {})}

    fields = differing(msgspec.json.encode(mine), msgspec.json.encode(theirs))
    assert bool(fields) == (settled(mine) != settled(theirs))


async def test_a_changed_order_is_not_taken_for_sent(tmp_path: Path) -> None:
    """What differs from what was sent is counted and told by field, nothing is sent, and what is the same is pushed."""
    async with place(tmp_path) as here:
        first = await here.push(orders(3), mode=Mode.TWO_PHASE)
        push = Push(here.gs, here.ledger, mode=Mode.TWO_PHASE)
        run, admission = await push.load_orders(
            [order("T-0"), order("T-1", to_address=ELSEWHERE, price=Money.of("7", "SGD")), order("T-2")]
        )
        assert (admission.pending, admission.already_pushed, admission.changed) == (0, 3, 1)
        async with run:
            await push.send(run)
            rows = await told(run)
            fields = "price, to_address.latitude, to_address.longitude, to_address.street_address"
            assert rows["T-1"] == (
                OrderState.CHANGED,
                f"pushed by run {first}, and differs from what was sent: {fields}",
            )
            assert {rows["T-0"][0], rows["T-2"][0]} == {OrderState.ALREADY_PUSHED}
            assert (await here.ledger.counts(run.id)).changed == 1
        assert here.simulator.audit()["calls"]["platform.drafts.create"] == 1


async def test_when_a_table_was_made_changes_nothing(tmp_path: Path) -> None:
    """Two orders that differ only in the time of their making are the same."""
    async with place(tmp_path) as here:
        await here.push(orders(1), mode=Mode.TWO_PHASE)
        run, _ = await again(here, order("T-0", client_time_utc=NOW + timedelta(hours=1)))
        async with run:
            assert (await told(run))["T-0"][0] is OrderState.ALREADY_PUSHED


async def test_a_changed_order_in_doubt_is_in_doubt_first(tmp_path: Path) -> None:
    """While nobody knows of the old order, the changed one is in doubt; once the old one is known, it is changed."""
    async with place(tmp_path, "plain") as here:
        first = await here.lose(orders(1))
        run, _ = await again(here, order("T-0", to_address=ELSEWHERE), mode=Mode.DIRECT)
        await run.close()
        assert (await here.ledger.counts(run.id)).in_doubt == 1
        await here.ledger.resolve(first, {"T-0": "task-1"}, by="me")
        assert (await here.ledger.counts(run.id)).changed == 1


async def test_a_file_is_compared_before_it_is_pushed(tmp_path: Path) -> None:
    """What a ledger knows of the orders of a file is told without writing into it."""
    async with place(tmp_path) as here, await Ledger.open(tmp_path / "scratch.db", clock=here.clock.now) as scratch:
        await here.push(orders(2), mode=Mode.TWO_PHASE)
        wanted = [order("T-0"), order("T-1", group_tag="x"), order("T-2")]
        run, _ = await Loader(scratch, "plan", Mode.DIRECT).orders(wanted, lambda each: each.tracking_id, "orders")
        async with run:
            known = await compare(run, here.ledger, "local")
        assert (known.already_pushed, known.in_doubt, known.changed_count) == (2, 0, 1)
        (changed,) = known.changed
        assert (changed.line, changed.key) == (2, "T-1")
        assert changed.reason.endswith("differs from what was sent: group_tag")


async def test_a_run_that_was_taken_over_does_not_claim_what_the_mended_file_created(tmp_path: Path) -> None:
    """Rows that waited, and were mended and pushed by another run, are changed in the old run's words, not its own."""
    async with place(tmp_path) as here:
        here.simulator.order_fault(Fault(operation="tasks.create", kind="status", status=401))
        first = await here.push(orders(2))
        here.simulator.clear_faults()
        assert (await here.ledger.counts(first)).pending == 2
        await here.push([order("T-0"), order("T-1", to_address=ELSEWHERE)])
        counts = await here.ledger.counts(first)
        assert (counts.already_pushed, counts.changed, counts.superseded) == (1, 1, 0)
        (rows,) = [page async for page in here.ledger.results(first)]
        assert [row.state for row in rows] == [OrderState.ALREADY_PUSHED, OrderState.CHANGED]


def test_nothing_is_known_where_nobody_asked() -> None:
    """A plan without a ledger tells of no order that was pushed, in doubt or changed."""
    assert astuple(Known()) == (0, 0, (), 0, ())
