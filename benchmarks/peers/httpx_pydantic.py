"""httpx and pydantic: the usual choice of a new async client."""

import time
from collections.abc import Sequence

import httpx

from benchmarks import orders, server
from benchmarks.peers import pydantic_tasks as models
from benchmarks.work import Setting, Work, chunks, headers, in_parallel


class Httpx(Work):
    """One AsyncClient."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.client: httpx.AsyncClient

    async def open(self) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        self.client = httpx.AsyncClient(headers=headers(), limits=limits, timeout=None)  # noqa: S113 - a local server

    async def close(self) -> None:
        await self.client.aclose()


class Create(Httpx):
    """pydantic models both ways."""

    reads = "whole tasks as models, unknown fields kept"
    answer: type[models.Created | models.Receipts] = models.Created

    async def open(self) -> None:
        await super().open()
        self._chunks = chunks([models.Order.model_validate(each) for each in orders.dicts(self.setting.count)])

    async def run(self) -> int:
        return await in_parallel(self._chunks, self._send, self.setting.concurrency)

    async def _send(self, chunk: Sequence[models.Order]) -> int:
        body = models.Batch.model_construct(tasks=list(chunk)).model_dump_json(exclude_none=True)
        answer = await self.client.post(f"{self.setting.api_base}/tasks", content=body)
        assert answer.status_code == 200
        created = self.answer.model_validate_json(answer.content)
        tasks = {task.tracking_id: task for task in created.tasks}
        return sum(1 for order in chunk if tasks[order.tracking_id].id)


class Push(Create):
    """The same, reading only what a receipt holds."""

    reads = "receipts (id, tracking id, status); matched to each order"
    answer = models.Receipts


class Pages(Httpx):
    """Pages of 200 tasks."""

    reads = "whole tasks as models, unknown fields kept"

    async def run(self) -> int:
        read = 0
        for _ in range(self.setting.count // (server.PAGE * server.PAGES)):
            for number in range(1, server.PAGES + 1):
                asked = {"page": number, "per_page": server.PAGE}
                answer = await self.client.get(f"{self.setting.api_base}/platform/tasks", params=asked)
                assert answer.status_code == 200
                read += len(models.Page.model_validate_json(answer.content).tasks)
        return read


class Get(Httpx):
    """One small task after another."""

    reads = "the task as a model, unknown fields kept"

    async def run(self) -> int:
        self.latencies = []
        for _ in range(self.setting.count):
            started = time.perf_counter()
            answer = await self.client.get(f"{self.setting.api_base}/tasks/one")
            assert answer.status_code == 200
            assert models.Small.model_validate_json(answer.content).id
            self.latencies.append(time.perf_counter() - started)
        return self.setting.count
