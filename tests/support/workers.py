"""Real workers, one process each, over a real PostgreSQL and a simulator in the test."""

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import psycopg

from gotsurge_async.simulator import Simulator
from tests.support.commands import Finished, finish, gotsurge, local, start, write_orders


@attrs.frozen
class Fleet:
    """A ledger in PostgreSQL, a simulator, and commands that know both.

    Attributes:
        url: of the ledger.
        variables: more that is set for each command.
    """

    simulator: Simulator
    url: str
    folder: Path
    variables: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def env(self) -> dict[str, str]:
        """The variables of a command."""
        home = {f"XDG_{name}_HOME": str(self.folder / name.lower()) for name in ("CONFIG", "DATA", "STATE", "CACHE")}
        return {"GOTSURGE_LEDGER": self.url, **home, **self.variables}

    async def run(self, *words: str | Path) -> Finished:
        """Run a command to its end."""
        return await gotsurge(*words, cwd=self.folder, env=self.env)

    async def upgrade(self) -> None:
        """Make the tables."""
        done = await self.run("db", "upgrade")
        assert done.code == 0, done.err

    async def put_up(self, orders: range, *words: str) -> str:
        """Put orders up for workers; the run."""
        file = write_orders(self.folder / f"orders-{orders.start}.csv", orders)
        done = await self.run("push", file, *local(self.simulator), "--distributed", "--no-wait", "--quiet", *words)
        assert done.code == 0, done.err
        listed = await self.run("runs", "--json")
        return str(listed.document[0]["run"])

    @asynccontextmanager
    async def workers(
        self, number: int, *words: str, program: Path | None = None, env: Mapping[str, str] | None = None
    ) -> AsyncIterator[list[asyncio.subprocess.Process]]:
        """So many workers, which drain at the end, if they still live.

        Args:
            program: runs the command in another way.
            env: instead of the fleet's own variables.
        """
        given = self.env if env is None else env
        async with asyncio.TaskGroup() as group:
            starting = [
                group.create_task(
                    start("worker", *local(self.simulator), *words, cwd=self.folder, env=given, program=program)
                )
                for _ in range(number)
            ]
        processes = [task.result() for task in starting]
        try:
            yield processes
        finally:
            for process in processes:
                if process.returncode is None:
                    process.send_signal(signal.SIGCONT)
                    process.terminate()
            ended = await asyncio.gather(*(finish(process) for process in processes))
        killed = -signal.SIGKILL
        assert [each.code for each in ended if each.code not in (0, killed)] == [], "\n".join(
            each.err for each in ended
        )

    async def until_over(self, run_id: str, seconds: float = 120.0) -> dict[str, Any]:
        """Wait until a run is over; where it stands then."""
        async with asyncio.timeout(seconds):
            async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as connection:
                while True:
                    asked = await connection.execute("SELECT state FROM runs WHERE id = %s", (run_id,))
                    if (await asked.fetchone() or ("",))[0] in ("done", "stopped"):
                        break
                    await asyncio.sleep(0.1)
        status: dict[str, Any] = (await self.run("status", run_id, "--json")).document
        return status

    async def until_created(self, number: int, seconds: float = 120.0) -> None:
        """Wait until drivers were shown so many orders."""
        async with asyncio.timeout(seconds):
            while self.simulator.audit()["tasks"] < number:  # noqa: ASYNC110 - the simulator is in another thread
                await asyncio.sleep(0.05)
