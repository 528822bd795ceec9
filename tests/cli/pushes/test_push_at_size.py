"""`gotsurge push` with many orders, to a simulator in a process of its own."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.commands import EXAMPLES, REGISTER, environment, finish, start

MIB = 1 << 20


@asynccontextmanager
async def simulator_process(cwd: Path) -> AsyncIterator[str]:
    """A simulator in a process of its own; its API base."""
    process = await start("simulator", "--port", "0", cwd=cwd, env={"PYTHONUNBUFFERED": "1"})
    try:
        assert process.stdout is not None
        yield (await process.stdout.readline()).decode().split()[-1]
    finally:
        process.kill()
        await process.wait()


async def peak_of_push(count: int, cwd: Path, api_base: str) -> int:
    """The most memory (bytes, resident) that a push of so many orders took; every order must end created."""
    making = await asyncio.create_subprocess_exec(
        sys.executable,
        EXAMPLES / "generate_orders.py",
        "--count",
        str(count),
        "--seed",
        str(count),
        "--out",
        cwd,
        env=environment(),
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert await making.wait() == 0
    process = await start(
        "push",
        "orders.csv",
        "--items",
        "items.csv",
        "--env",
        "local",
        "--api-base",
        api_base,
        "--concurrency",
        "16",  # more would be in flight, and in memory, where the service happens to be quick
        "--json",
        "--quiet",
        cwd=cwd,
        env={REGISTER: str(cwd / "register.db")},  # each has a ledger of its own, for the same simulator
    )
    finishing = asyncio.create_task(finish(process))
    peak = 0
    watched = psutil.Process(process.pid)
    while not finishing.done():
        try:
            peak = max(peak, watched.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        await asyncio.wait([finishing], timeout=0.05)
    done = await finishing
    assert (done.code, done.document["created"]) == (0, count), done.err
    return peak


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_memory_does_not_grow_with_the_number_of_orders(tmp_path: Path) -> None:
    """100,000 orders take under 150 MB, and hardly more than 20,000, with which the caches are full."""
    peaks = {}
    async with simulator_process(tmp_path) as api_base:
        for count in (20_000, 100_000):
            folder = tmp_path / str(count)
            folder.mkdir()
            peaks[count] = await peak_of_push(count, folder, api_base)
    assert peaks[100_000] < 150 * MIB
    assert peaks[100_000] < peaks[20_000] * 1.15
