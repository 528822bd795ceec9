"""Direct mode: one call creates and broadcasts. At most once, and what is unknown is named."""

from collections.abc import Sequence
from typing import Any, ClassVar

from gotsurge_async.api.endpoints import TASKS_CREATE, TASKS_GET, Endpoint
from gotsurge_async.bulk.ledger import OrderOutcome, OrderState, PendingOrder
from gotsurge_async.bulk.send.chunks import ChunkSender, Results
from gotsurge_async.calls.create import InDoubt


class DirectSender(ChunkSender):
    """Creates and broadcasts orders; one whose answer was lost is in doubt, and never sent again."""

    endpoint = TASKS_CREATE
    reads = TASKS_GET
    needs: ClassVar[tuple[Endpoint[Any], ...]] = (TASKS_CREATE, TASKS_GET)
    created_as = OrderState.CREATED

    async def _let_go(self, results: Results) -> None:
        """A created order is done."""

    async def _record_lost(self, lost: Sequence[InDoubt[PendingOrder]]) -> None:
        await self._run.record(
            [OrderOutcome(each.order.id, OrderState.IN_DOUBT, error=str(each.error)) for each in lost]
        )
