"""Two processes on one book, killed again and again: each step is there once, and handed on till it is acknowledged."""

import asyncio
import random
import sys
from pathlib import Path

import pytest

from gotsurge_async.webhooks.book import Book
from tests.webhooks.book.kit import ACCOUNT, WAY, after
from tests.webhooks.book.worker import TASKS

ROUNDS = 3


async def begun(log: Path) -> None:
    """Wait until a worker has opened the book."""
    while "begun" not in (log.read_text() if log.exists() else ""):  # noqa: ASYNC110 - another process says so
        await asyncio.sleep(0.02)


@pytest.mark.slow
async def test_killed_processes_lose_and_double_nothing(where: str, tmp_path: Path) -> None:
    """After every kill the book is whole; in the end each task's history is the truth, each step a change once."""
    draw = random.Random(7)
    logs: list[Path] = []
    for number in range(ROUNDS):
        pair = []
        for _ in range(2):
            logs.append(tmp_path / f"log-{len(logs)}")
            words = ("-m", "tests.webhooks.book.worker", where, str(len(logs)), str(logs[-1]))
            pair.append(await asyncio.create_subprocess_exec(sys.executable, *words))
        await asyncio.gather(*(begun(log) for log in logs[-2:]))
        await asyncio.sleep(draw.uniform(0.05, 0.6))
        for process in pair if number % 2 else reversed(pair):
            process.kill()
            await process.wait()
            await asyncio.sleep(draw.uniform(0, 0.1))
    handed: dict[str, list[tuple[int, str]]] = {}
    async with Book.open(where) as book:
        for number in range(TASKS):
            await book.observe(ACCOUNT, after(len(WAY), f"T-{number}"))
        await asyncio.sleep(0.4)  # the leases of the killed end
        while changes := await book.waiting():
            for change in changes:
                handed.setdefault(change.task_id, []).append((change.number, change.status))
                await book.acknowledge(change)
        orders = [order async for order in book.orders()]
        assert sorted(order.task_id for order in orders) == sorted(f"T-{number}" for number in range(TASKS))
        for order in orders:
            assert order.status == "complete"
            assert [step.status for step in await book.history(order)] == list(WAY)
    # A change that was handed on and not acknowledged when its process was killed is handed on again, under its number.
    told = [line.split() for log in logs for line in log.read_text().splitlines() if line != "begun"]
    assert told
    for task_id, change_number, status in told:
        handed.setdefault(task_id, []).append((int(change_number), status))
    for task_id, changes_ in handed.items():
        assert [status for _, status in sorted(set(changes_))] == list(WAY), task_id
