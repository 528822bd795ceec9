"""aiohttp and orjson by hand, on plain dicts: what somebody writes who needs no more than the speed."""

import time
from collections.abc import Sequence
from typing import Any

import aiohttp
import orjson

from benchmarks import orders, server
from benchmarks.work import Setting, Work, chunks, headers, in_parallel


class ByHand(Work):
    """A session as the aiohttp documentation shows it, headers on the session, bytes in and out."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.session: aiohttp.ClientSession

    async def open(self) -> None:
        connector = aiohttp.TCPConnector(limit=0)
        self.session = aiohttp.ClientSession(headers=headers(), connector=connector)

    async def close(self) -> None:
        await self.session.close()

    async def post(self, body: bytes) -> bytes:
        """One create; gives the answer's body."""
        async with self.session.post(f"{self.setting.api_base}/tasks", data=body) as answer:
            assert answer.status == 200
            return await answer.read()


class ReadyBytes(ByHand):
    """The floor: bodies that are bytes already go out, and the answers are not looked at."""

    reads = "bytes, not looked at"

    async def open(self) -> None:
        await super().open()
        texts = chunks(orders.texts(self.setting.count))
        self._bodies = [(len(chunk), b'{"tasks":[%b]}' % b",".join(chunk)) for chunk in texts]

    async def run(self) -> int:
        return await in_parallel(self._bodies, self._send, self.setting.concurrency)

    async def _send(self, body: tuple[int, bytes]) -> int:
        assert await self.post(body[1])
        return body[0]


class Dicts(ByHand):
    """Plain dicts both ways, each task matched to its order by tracking id."""

    reads = "whole tasks as dicts; id and status matched to each order"
    from_rows = False

    async def open(self) -> None:
        await super().open()
        self._chunks = chunks(orders.dicts(self.setting.count, from_rows=self.from_rows))

    async def run(self) -> int:
        return await in_parallel(self._chunks, self._send, self.setting.concurrency)

    async def _send(self, chunk: Sequence[dict[str, Any]]) -> int:
        answer = orjson.loads(await self.post(orjson.dumps({"tasks": chunk})))
        tasks = {task["tracking_id"]: task for task in answer["tasks"]}
        created = []
        for order in chunk:
            task = tasks[order["tracking_id"]]
            created.append((order, task["id"], task["current_status"]))
        return len(created)


class UvloopDicts(Dicts):
    """The same on the event loop of uvloop."""

    loop = "uvloop"


class RowDicts(Dicts):
    """The same with the orders of the CSV of 30 columns."""

    from_rows = True


class Get(ByHand):
    """One small task after another, read as a dict."""

    reads = "the task as a dict"

    async def run(self) -> int:
        self.latencies = []
        for _ in range(self.setting.count):
            started = time.perf_counter()
            async with self.session.get(f"{self.setting.api_base}/tasks/one") as answer:
                assert answer.status == 200
                assert orjson.loads(await answer.read())["id"]
            self.latencies.append(time.perf_counter() - started)
        return self.setting.count


class LuckyGet(Get):
    """The same where malloc keeps the blocks that asyncio reads into, as it does by luck in some processes."""

    async def open(self) -> None:
        await super().open()
        bytes(2048 * 1024)


class Pages(ByHand):
    """Pages of 200 tasks as dicts."""

    reads = "whole tasks as dicts"

    async def run(self) -> int:
        read = 0
        for _ in range(self.setting.count // (server.PAGE * server.PAGES)):
            for number in range(1, server.PAGES + 1):
                url = f"{self.setting.api_base}/platform/tasks?page={number}&per_page={server.PAGE}"
                async with self.session.get(url) as answer:
                    assert answer.status == 200
                    read += len(orjson.loads(await answer.read())["tasks"])
        return read
