"""Starting the pusher that dies, and judging what it left by what the simulator has."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import attrs

from gotsurge_async.bulk import Ledger, Mode, OrderState
from gotsurge_async.clock import SystemClock
from gotsurge_async.simulator import Simulator
from gotsurge_async.testing import simulated

KILLED = -signal.SIGKILL


@attrs.frozen
class Experiment:
    """One push that is brought to its end over any number of processes."""

    simulator: Simulator
    token: str
    ledger: Path
    prefix: str
    count: int
    mode: Mode

    @property
    def keys(self) -> set[str]:
        """The keys of all orders."""
        return {f"{self.prefix}{number}" for number in range(self.count)}

    async def start(self, **traps: str) -> asyncio.subprocess.Process:
        """Start a pusher with traps, given without their PUSHER_."""
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.crash.pusher",
            self.simulator.api_base,
            str(self.ledger),
            self.prefix,
            str(self.count),
            self.mode.value,
            env=os.environ | {"PUSHER_TOKEN": self.token} | {f"PUSHER_{name}": value for name, value in traps.items()},
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, **traps: str) -> int:
        """Run a pusher to its end; its exit code, negative for a signal."""
        process = await self.start(**traps)
        _, err = await process.communicate()
        assert b"Traceback" not in err, err.decode()
        assert process.returncode is not None
        return process.returncode

    def tasks(self) -> dict[str, int]:
        """How often the simulator has each of these orders as a task that drivers see."""
        by_key = self.simulator.audit()["by_tracking_id"]
        return {key: by_key[key] for key in self.keys if key in by_key}

    async def states(self) -> dict[str, OrderState]:
        """What the ledger says of each order."""
        async with await Ledger.open(self.ledger, clock=SystemClock().now) as ledger:
            run = (await ledger.runs())[0]
            return {row.key: row.state async for row in ledger.rows(run.id)}

    async def judge(self) -> None:
        """None lost, none doubled, and what is not known is named."""
        tasks, states = self.tasks(), await self.states()
        doubled = {key: count for key, count in tasks.items() if count > 1}
        assert not doubled, f"doubled: {doubled}"
        created = {key for key, state in states.items() if state is OrderState.CREATED}
        in_doubt = {key for key, state in states.items() if state is OrderState.IN_DOUBT}
        assert created | in_doubt == self.keys, f"lost: {self.keys - created - in_doubt}"
        assert created <= set(tasks) <= created | in_doubt
        if self.mode is Mode.TWO_PHASE:
            assert not in_doubt, f"in doubt: {in_doubt}"


async def bearer_token(simulator: Simulator) -> str:
    """A token of the platform account, which may do everything."""
    async with simulated("platform", simulator=simulator) as gs:
        return (await gs.tokens.bearer()).reveal()
