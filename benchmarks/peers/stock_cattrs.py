"""attrs and cattrs as they come, on aiohttp: our own classes through the stock orjson converter."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import attrs
from cattrs.preconf.orjson import OrjsonConverter, make_converter

from benchmarks import orders, server
from benchmarks.peers.by_hand import ByHand
from benchmarks.work import chunks, in_parallel
from gotsurge_async import Money, Order
from gotsurge_async.models.answers import CreatedTasks
from gotsurge_async.models.platform import TaskPage


@attrs.frozen
class Receipt:
    """What a push keeps of a task."""

    id: str
    tracking_id: str | None = None
    current_status: str | None = None


@attrs.frozen
class Receipts:
    """The answer of a create."""

    tasks: list[Receipt]


def converter() -> OrjsonConverter:
    """The stock converter, with the two hooks that our classes cannot do without."""
    made = make_converter()
    made.register_structure_hook(datetime, lambda text, _: datetime.fromisoformat(text))
    made.register_structure_hook(Money, lambda number, _: Money(millicents=number, currency=""))
    made.register_unstructure_hook(Money, lambda money: money.millicents)
    return made


class Create(ByHand):
    """Whole objects both ways. Unknown fields are lost: the stock converter has no place for them."""

    reads = "whole tasks as objects, unknown fields lost"
    answer: Any = CreatedTasks

    async def open(self) -> None:
        await super().open()
        self._converter = converter()
        self._chunks = chunks(orders.models(self.setting.count))

    async def run(self) -> int:
        return await in_parallel(self._chunks, self._send, self.setting.concurrency)

    async def _send(self, chunk: Sequence[Order]) -> int:
        plain = [{k: v for k, v in self._converter.unstructure(order).items() if v is not None} for order in chunk]
        created = self._converter.loads(await self.post(self._converter.dumps({"tasks": plain})), self.answer)
        tasks = {task.tracking_id: task for task in created.tasks}
        return sum(1 for order in chunk if tasks[order.tracking_id].id)


class Push(Create):
    """The same, reading only what a receipt holds."""

    reads = "receipts (id, tracking id, status); matched to each order"
    answer = Receipts


class Pages(ByHand):
    """Pages of 200 tasks."""

    reads = "whole tasks as objects, unknown fields lost"

    async def open(self) -> None:
        await super().open()
        self._converter = converter()

    async def run(self) -> int:
        read = 0
        for _ in range(self.setting.count // (server.PAGE * server.PAGES)):
            for number in range(1, server.PAGES + 1):
                url = f"{self.setting.api_base}/platform/tasks?page={number}&per_page={server.PAGE}"
                async with self.session.get(url) as answer:
                    assert answer.status == 200
                    read += len(self._converter.loads(await answer.read(), TaskPage).tasks)
        return read
