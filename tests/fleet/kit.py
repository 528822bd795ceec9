"""Real workers, each a process, on a real PostgreSQL, and a simulator whose audit judges them."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import attrs
import psycopg

from gotsurge_async.bulk import Mode
from gotsurge_async.simulator import Fault, Simulator
from tests.support.commands import Finished, environment, finish, gotsurge, start, write_orders
from tests.support.postgres import Server
from tests.support.threads import eventually

ROOT = Path(__file__).parents[2]


@attrs.define(eq=False)
class WorkerProcess:
    """``gotsurge worker`` in a process of its own; what it says is in a file."""

    process: asyncio.subprocess.Process
    log: Path

    @property
    def said(self) -> str:
        """What it said so far."""
        return self.log.read_text(errors="replace")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    async def ended(self, seconds: float = 60.0) -> int:
        """Its exit code, when it has ended."""
        async with asyncio.timeout(seconds):
            return await self.process.wait()


@attrs.define
class Fleet:
    """Workers that share a ledger, and pushes that are put up for them."""

    server: Server
    url: str
    simulator: Simulator
    folder: Path
    mode: Mode
    workers: list[WorkerProcess] = attrs.field(factory=list)

    @property
    def place(self) -> list[str]:
        """The options that name simulator and ledger."""
        account = "platform" if self.mode is Mode.TWO_PHASE else "plain"
        return ["--env", "local", "--api-base", self.simulator.api_base, "--account", account, "--ledger", self.url]

    @property
    def creates(self) -> str:
        """The operation that creates orders in this mode."""
        return "tasks.create" if self.mode is Mode.DIRECT else "platform.drafts.create"

    def slow(self, seconds: float) -> None:
        """Have each call that creates orders take a while, so that there is a middle to strike at."""
        self.simulator.order_fault(Fault(operation=self.creates, kind="delay", seconds=seconds))

    async def command(self, *words: str | Path) -> Finished:
        """Run a command to its end."""
        return await gotsurge(*words, cwd=self.folder, env=self._env)

    async def worker(self, *words: str) -> WorkerProcess:
        """Start a worker, and wait until it works."""
        log = self.folder / f"worker-{len(self.workers)}.log"
        with log.open("wb") as stream:
            process = await asyncio.create_subprocess_exec(
                *self._python("worker", *self.place, *words),
                cwd=self.folder,
                env=environment(**self._env),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )
        started = WorkerProcess(process, log)
        self.workers.append(started)

        async def works() -> bool:
            assert process.returncode is None, started.said
            return bool(await self.rows("SELECT 1 FROM workers WHERE pid = %s", process.pid))

        await eventually(works)
        return started

    async def push(self, count: int, *words: str) -> asyncio.subprocess.Process:
        """Begin to push so many orders by workers."""
        file = write_orders(self.folder / "orders.csv", range(count))
        mode = ("--mode", str(self.mode), "--distributed", "--json", "--out", str(self.folder / "out"))
        return await start("push", file, *self.place, *mode, *words, cwd=self.folder, env=self._env)

    async def pushed(self, process: asyncio.subprocess.Process, seconds: float = 240.0) -> Finished:
        """How a push ended."""
        async with asyncio.timeout(seconds):
            return await finish(process)

    async def created(self, number: int) -> None:
        """Wait until so many orders are created."""

        async def holds() -> bool:
            return len(self.shown) >= number

        await eventually(holds)

    @property
    def shown(self) -> dict[str, int]:
        """How often drivers were shown each order."""
        found: dict[str, int] = self.simulator.audit()["by_tracking_id"]
        return found

    async def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """What the database says."""
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as connection:
            cursor = await connection.execute(query.encode(), values)
            return await cursor.fetchall() if cursor.description else []

    async def end(self) -> None:
        """Leave no process."""
        for worker in self.workers:
            if worker.process.returncode is None:
                worker.send(signal.SIGKILL)
                worker.send(signal.SIGCONT)
                await worker.process.wait()

    @property
    def _env(self) -> dict[str, str]:
        return {"XDG_DATA_HOME": str(self.folder / "data"), "PYTHONPATH": os.pathsep.join([str(ROOT)])}

    def _python(self, *words: str) -> list[str]:
        import sys

        return [sys.executable, "-m", "gotsurge_async", *words]
