"""requests, one call after another: the script that most people write first, and what pyonfleet does."""

import time
from typing import Any

import requests

from benchmarks import orders
from benchmarks.work import Work, chunks, headers


class Twenty(Work):
    """20 tasks a call."""

    reads = "whole tasks as dicts; id and status matched to each order"
    size = 20

    async def open(self) -> None:
        self._session = requests.Session()
        self._session.headers.update(headers())
        self._chunks = chunks(orders.dicts(self.setting.count), self.size)

    async def run(self) -> int:
        # It blocks the loop, and there is nothing else on it.
        return sum(self._send(list(chunk)) for chunk in self._chunks)

    def _send(self, chunk: list[dict[str, Any]]) -> int:
        answer = self._session.post(f"{self.setting.api_base}/tasks", json={"tasks": chunk}, timeout=60)
        assert answer.status_code == 200
        tasks = {task["tracking_id"]: task for task in answer.json()["tasks"]}
        return sum(1 for order in chunk if tasks[order["tracking_id"]]["id"])

    async def close(self) -> None:
        self._session.close()


class One(Twenty):
    """One task a call."""

    size = 1


class Get(Twenty):
    """One small task after another."""

    reads = "the task as a dict"

    async def run(self) -> int:
        self.latencies = []
        for _ in range(self.setting.count):
            started = time.perf_counter()
            answer = self._session.get(f"{self.setting.api_base}/tasks/one", timeout=60)
            assert answer.status_code == 200
            assert answer.json()["id"]
            self.latencies.append(time.perf_counter() - started)
        return self.setting.count
