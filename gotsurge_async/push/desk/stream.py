"""Any number of orders through a desk: each is remembered, and outcomes are yielded as they arrive."""

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Sequence
from typing import Any, cast

from gotsurge_async.api.endpoints import CHUNK
from gotsurge_async.calls.create import Unprocessed, stops_all
from gotsurge_async.calls.stream import ResultStream
from gotsurge_async.clock import Clock
from gotsurge_async.codec.given import OrderLike
from gotsurge_async.errors import GotSurgeError, InvalidData, NotSent
from gotsurge_async.push.desk.outcomes import Outcome


class DeskStream(ResultStream[OrderLike, Outcome]):
    """The outcomes of `Desk.push`, one for each order, as they arrive.

    ``async for outcome in stream``; in an ``async with`` block it also ends cleanly when the loop is left early. Then,
    or when it is cancelled, ``in_flight`` holds the orders that the desk may still send: push them again.

    A faulty order is `Unprocessed`, and the others are sent. After an error of the ledger or of the sign-in no more
    orders are read: those that met it are `Unprocessed`, and the error is raised after the last outcome.
    """

    def __init__(
        self,
        orders: Iterable[OrderLike] | AsyncIterable[OrderLike],
        create: Callable[[OrderLike], Awaitable[Outcome]],
        concurrency: Callable[[], int],
        clock: Clock,
    ) -> None:
        super().__init__(orders, size=CHUNK, concurrency=concurrency, clock=clock)
        self._create = create

    async def _send(self, items: Sequence[OrderLike]) -> Sequence[Outcome]:
        return await asyncio.gather(*map(self._one, items))  # what a desk gets at once it sends in one call

    async def _one(self, item: OrderLike) -> Outcome:
        try:
            outcome = await self._create(item)
        except GotSurgeError as error:
            if not isinstance(error, InvalidData | NotSent):  # these say nothing about the next orders
                self.stop(error)
            return Unprocessed(order=cast("Any", item), error=error)
        if isinstance(outcome, Unprocessed) and stops_all(outcome.error):
            self.stop(outcome.error)
        return outcome
