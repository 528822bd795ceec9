"""The async client of the openai package as a poster of anything: a large generated SDK on httpx and pydantic."""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import openai
from openai import BaseModel

from benchmarks import orders, server
from benchmarks.work import Setting, Work, chunks, in_parallel


class Address(BaseModel):
    street_address: str | None = None
    city: str | None = None
    country: str | None = None
    zip_code: str | None = None
    latitude: float | None = None
    longitude: float | None = None


class Contact(BaseModel):
    name: str | None = None
    phone: str | None = None
    company_name: str | None = None
    vessel_name: str | None = None
    vessel_imo: int | None = None


class Window(BaseModel):
    start_time_utc: datetime | None = None
    end_time_utc: datetime | None = None


class Item(BaseModel):
    name: str | None = None
    description: str | None = None
    quantity: float | None = None
    weight: float | None = None
    weight_unit: str | None = None
    volume: float | None = None
    volume_unit: str | None = None


class Task(BaseModel):
    id: str
    tracking_id: str | None = None
    invoice_number: str | None = None
    from_address: Address | None = None
    from_time_window: Window | None = None
    from_contact: Contact | None = None
    to_address: Address | None = None
    to_time_window: Window | None = None
    to_contact: Contact | None = None
    price: int | None = None
    currency: str | None = None
    items: list[Item] | None = None
    client_time_utc: datetime | None = None
    current_status: str | None = None
    server_time: datetime | None = None
    updated_at: datetime | None = None


class Created(BaseModel):
    tasks: list[Task]


class Push(Work):
    """Its own generic post, without retries; dicts both ways."""

    reads = "whole tasks as dicts; id and status matched to each order"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.client: openai.AsyncOpenAI

    async def open(self) -> None:
        self.client = openai.AsyncOpenAI(api_key=server.BEARER, base_url=self.setting.api_base, max_retries=0)
        self._chunks = chunks(orders.dicts(self.setting.count))

    async def run(self) -> int:
        return await in_parallel(self._chunks, self._send, self.setting.concurrency)

    async def _send(self, chunk: Sequence[dict[str, Any]]) -> int:
        answer: Any = await self.client.post("/tasks", cast_to=object, body={"tasks": chunk})
        tasks = {task["tracking_id"]: task for task in answer["tasks"]}
        return sum(1 for order in chunk if tasks[order["tracking_id"]]["id"])

    async def close(self) -> None:
        await self.client.close()


class Create(Push):
    """The same, read into models on the package's own base class, as its own answers are."""

    reads = "whole tasks as models that are not checked, unknown fields kept"

    async def _send(self, chunk: Sequence[dict[str, Any]]) -> int:
        created = await self.client.post("/tasks", cast_to=Created, body={"tasks": chunk})
        tasks = {task.tracking_id: task for task in created.tasks}
        return sum(1 for order in chunk if tasks[order["tracking_id"]].id)


class Get(Push):
    """One small task after another."""

    reads = "the task as a dict"

    async def run(self) -> int:
        self.latencies = []
        for _ in range(self.setting.count):
            started = time.perf_counter()
            task: Any = await self.client.get("/tasks/one", cast_to=object)
            assert task["id"]
            self.latencies.append(time.perf_counter() - started)
        return self.setting.count
