"""What reconcile makes of a Task List that is not whole, or tells statuses that nobody knows."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import attrs
import msgspec
import pytest

from gotsurge_async import GotSurge
from gotsurge_async.bulk import Mode, OrderState, Reconciler
from gotsurge_async.simulator import Fault
from gotsurge_async.transports.base import Request, Response
from tests.support.orders import order, orders
from tests.support.pushes import place

STRANGERS = [{"id": f"x-{number}", "tracking_id": f"X-{number}"} for number in range(200)]
NOT_WHOLE: dict[str, dict[str, Any]] = {
    "null": {"tasks": None},
    "an object": {"tasks": {}},
    "left out": {"meta": {"total": 5}},
    "empty": {"tasks": [], "meta": {"total": 5}},
    "fewer": {"tasks": STRANGERS[:3], "meta": {"total": 5}},
    "the same page": {"tasks": STRANGERS},
    "the same page, with a total": {"tasks": STRANGERS, "meta": {"total": 201}},
}


@contextmanager
def list_tells(gs: GotSurge, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Iterator[None]:
    """Have every page of the Task List come otherwise."""
    transport = gs.session._transport
    send = transport.send

    async def changed(request: Request) -> Response:
        answer = await send(request)
        if request.method != "GET" or "page=" not in request.url:
            return answer
        return attrs.evolve(answer, body=msgspec.json.encode(change(msgspec.json.decode(answer.body))))

    with patch.object(transport, "send", changed):
        yield


@pytest.mark.parametrize("told", NOT_WHOLE.values(), ids=NOT_WHOLE.keys())
async def test_on_a_list_that_is_not_whole_nothing_is_absent(tmp_path: Path, told: dict[str, Any]) -> None:
    """Orders stay in doubt, none counts as absent, and what is wrong with the list is said."""
    async with place(tmp_path) as here:
        run_id = await here.lose(orders(2))
        with list_tells(here.gs, lambda _: told):
            result = await Reconciler(here.gs, here.ledger).reconcile(run_id)
            assert await here.absent(run_id) == set()
        assert len(result.in_doubt) == 2
        assert "the Task List is incomplete" in result.troubles[0]


@pytest.mark.parametrize("switches", [{"meta": "absent"}, {"meta": "empty"}, {"meta_total": False}])
async def test_a_list_of_short_pages_is_read_to_its_end(tmp_path: Path, switches: dict[str, Any]) -> None:
    """A service may have fewer tasks on a page than it was asked for, and not say so."""
    async with place(tmp_path, per_page_limit=3, **switches) as here:
        run_id = await here.lose(orders(8))
        result = await Reconciler(here.gs, here.ledger).reconcile(run_id)
    assert (len(result.created), result.troubles) == (8, ())


@pytest.mark.parametrize("change", [str.lower, lambda name: f" {name} "])
@pytest.mark.parametrize("name", ["tracking_id", "invoice_number"])
async def test_an_order_whose_name_is_written_otherwise_is_not_absent(
    tmp_path: Path, name: str, change: Callable[[str], str]
) -> None:
    """A task whose name differs in capitals or spaces may be the order's, and does not prove that it is."""

    def rename(page: dict[str, Any]) -> dict[str, Any]:
        return page | {"tasks": [task | {"tracking_id": None, name: change(task[name])} for task in page["tasks"]]}

    async with place(tmp_path) as here:
        run_id = await here.lose([order("T-0", invoice_number="INV-0"), order("T-1", invoice_number="INV-1")])
        here.simulator.remove(here.simulator.tasks()[0]["id"])
        with list_tells(here.gs, rename):
            assert await here.absent(run_id) == {"T-0"}
            result = await Reconciler(here.gs, here.ledger).reconcile(run_id)
    assert [(each.key, len(each.task_ids)) for each in result.in_doubt] == [("T-0", 0), ("T-1", 0)]
    assert "may be this order's" in result.in_doubt[1].reason


async def test_what_a_list_that_is_not_whole_shows_is_there(tmp_path: Path) -> None:
    """A task that names its order proves it, whatever is missing beside it."""
    async with place(tmp_path) as here:
        run_id = await here.lose(orders(2))
        with list_tells(here.gs, lambda page: page | {"meta": {"total": 5}}):
            result = await Reconciler(here.gs, here.ledger).reconcile(run_id)
        assert (len(result.created), len(result.troubles)) == (2, 1)


async def test_a_task_in_an_unknown_status_is_not_called_a_draft(tmp_path: Path) -> None:
    """An order whose recorded task may be live stays in doubt until a known status is read."""
    async with place(tmp_path, unknown_statuses=True) as here:
        here.simulator.order_fault(Fault(operation="platform.drafts.broadcast", when="after", kind="reset"))
        here.simulator.order_fault(Fault(operation="platform.tasks.get", kind="reset"))
        run_id = await here.push(orders(1), mode=Mode.TWO_PHASE)
        here.simulator.clear_faults()
        reconciler = Reconciler(here.gs, here.ledger, rescan_after=0)
        result = await reconciler.reconcile(run_id)
        assert (result.still_draft, [each.key for each in result.in_doubt]) == ((), ["T-0"])
        assert "does not prove that the order was broadcast" in result.in_doubt[0].reason
        here.simulator.move((await here.tasks(run_id))["T-0"], "accepted")
        assert [each.key for each in (await reconciler.reconcile(run_id)).created] == ["T-0"]


@pytest.mark.parametrize("status", ["", "hovering"])
async def test_a_status_that_nobody_knows_proves_nothing(tmp_path: Path, status: str) -> None:
    """An order whose task is in such a status stays in doubt, in direct mode too."""
    async with place(tmp_path) as here:
        run_id = await here.lose(orders(1))
        with list_tells(
            here.gs, lambda page: page | {"tasks": [task | {"current_status": status} for task in page["tasks"]]}
        ):
            result = await Reconciler(here.gs, here.ledger).reconcile(run_id)
        assert (result.created, len(result.in_doubt)) == ((), 1)
        assert await here.states(run_id) == {"T-0": OrderState.IN_DOUBT}
