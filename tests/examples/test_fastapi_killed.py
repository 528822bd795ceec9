"""The service of docs/tutorial/fastapi-service.md, killed again and again while its callers repeat themselves."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from gotsurge_async.simulator import Simulator
from tests.examples.test_fastapi_service import GOOD, PAGE, sign_in, simulator
from tests.support.consoles import FILE
from tests.support.serving import Program

__all__ = ["simulator"]

ORDERS, REPEATS, CALLERS, RATE = 600, 3, 100, 200
"""Orders, how often each is posted, callers at once, and posts a second."""
LIVES = 5
"""How often the service is started; it is killed with SIGKILL in the middle of each life but the last."""
LIFE = 3.0


@asynccontextmanager
async def service(folder: Path) -> AsyncIterator[tuple[Program, aiohttp.ClientSession]]:
    """The service in its first life, and a session."""
    made = Program(
        "service:app", folder, os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, sys.path)])}
    )
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CALLERS)) as session:
        await made.start()
        yield made, session
        await made.strike(signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_every_order_is_there_once(simulator: Simulator, tmp_path: Path) -> None:
    """Whatever a caller heard, in the end each order is live exactly once, and all answers for it name one task."""
    assert "service.py" in {name for _, name in FILE.findall(PAGE.read_text(encoding="utf-8"))}
    await sign_in(simulator)
    tasks: dict[str, set[str]] = {}
    statuses: Counter[int] = Counter()
    async with service(tmp_path) as (running, session):

        async def post(key: str) -> None:
            try:
                order = {**GOOD, "tracking_id": key}
                async with session.post(f"{running.url}/orders", json=order) as answer:
                    statuses[answer.status] += 1
                    if answer.status in (200, 201):
                        tasks.setdefault(key, set()).add((await answer.json())["task_id"])
            except aiohttp.ClientError:
                statuses[0] += 1

        async def callers() -> None:
            posting: set[asyncio.Task[None]] = set()
            for number in range(ORDERS * REPEATS):
                posting.add(asyncio.create_task(post(f"K-{number // REPEATS}")))
                await asyncio.sleep(1 / RATE)
            await asyncio.wait(posting)

        async def kills() -> None:
            for _ in range(LIVES - 1):
                await asyncio.sleep(LIFE)
                await running.strike(signal.SIGKILL)
                await running.start()

        await asyncio.gather(callers(), kills())
        for number in range(ORDERS):
            await post(f"K-{number}")
        assert statuses[0] > 0, "no call was cut: the kills came too late"
        assert set(statuses) <= {0, 200, 201, 202}, statuses
    live = Counter(task["tracking_id"] for task in simulator.tasks() if not task["draft"])
    assert live == Counter({f"K-{number}": 1 for number in range(ORDERS)})
    assert {len(names) for names in tasks.values()} == {1}
    assert len(tasks) == ORDERS
