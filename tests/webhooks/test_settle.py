"""How often the ledger is looked through for a task that was read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async import Order, Task
from gotsurge_async.bulk import OrderState, Reconciled, Reconciler
from gotsurge_async.webhooks.settle import Settler
from tests.support.orders import order
from tests.webhooks.follow_kit import followed


@pytest.mark.parametrize(
    ("echo", "lost", "wanted"),
    [
        # Its tracking id decides, whatever number of others has its group tag.
        ("always", [order(f"T-{number}", group_tag="MV EXAMPLE") for number in range(3)], OrderState.CREATED),
        # It may be any of them: they are looked at together.
        ("never", [order(f"T-{number}", invoice_number="INV") for number in range(3)], OrderState.IN_DOUBT),
    ],
)
async def test_a_task_that_was_read_is_looked_up_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, echo: str, lost: Sequence[Order], wanted: OrderState
) -> None:
    """Whatever number of orders in doubt of a run has a name of a task, the ledger is looked through once for it."""
    asked: list[list[str]] = []
    settle_by = Reconciler.settle_by

    async def counted(reconciler: Reconciler, run_id: str, tasks: Sequence[Task], **options: Any) -> Reconciled:
        asked.append([task.id for task in tasks])
        return await settle_by(reconciler, run_id, tasks, **options)

    monkeypatch.setattr(Reconciler, "settle_by", counted)
    async with followed(tmp_path, following=False, switches={"tracking_id_echo": echo}) as kit:
        run_id = await kit.here.lose(lost)
        task = await kit.here.gs.tasks.get(kit.here.simulator.tasks()[0]["id"])
        settler = Settler(
            kit.here.ledger,
            kit.book,
            {"default": kit.here.gs},
            account_of=lambda _: "default",
            want=lambda *_: None,
            clock=kit.here.clock,
        )
        await settler.look_once()
        await settler.task_read("default", task)
        assert asked == [[task.id]]
        assert sorted((await kit.here.states(run_id)).values()) == sorted([wanted, *[OrderState.IN_DOUBT] * 2])
