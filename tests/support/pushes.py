"""Pushes to a simulator, and what is left of them in the ledger."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import attrs

from gotsurge_async import GotSurge, Limits, Order, RetryPolicy, Timeouts
from gotsurge_async.after.lookup import search_task_list
from gotsurge_async.bulk import Ledger, Mode, OrderState, Push
from gotsurge_async.clock import SystemClock
from gotsurge_async.config import SETTLE
from gotsurge_async.ledger import DOUBTFUL
from gotsurge_async.simulator import Fault, Simulator, SimulatorOptions
from gotsurge_async.testing import simulated

QUICK = RetryPolicy(attempts=3, base=0.001, cap=0.01)


class HastyClock(SystemClock):
    """The machine's time, in which nobody waits between tries; ``slept`` notes how long they would have.

    A wait of a minute or more is no pause but the longest that something may take: it is waited out.
    """

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.ahead: timedelta = timedelta(0)

    def now(self) -> datetime:
        """The machine's time, and as far ahead of it as the clock was turned."""
        return super().now() + self.ahead

    async def sleep(self, seconds: float) -> None:
        """Note it, and go on."""
        self.slept.append(seconds)
        if seconds >= 60:
            await super().sleep(seconds)


@attrs.frozen
class Place:
    """A client that is signed in to a simulator, and a ledger."""

    simulator: Simulator
    gs: GotSurge
    ledger: Ledger
    clock: HastyClock

    async def push(self, orders: Sequence[Order], *, mode: Mode = Mode.DIRECT, **options: Any) -> str:
        """Push orders; the id of the run, which is closed."""
        push = Push(self.gs, self.ledger, mode=mode, **options)
        async with (await push.load_orders(orders))[0] as run:
            await push.send(run)
        return run.id

    async def lose(self, orders: Sequence[Order], *, when: Any = "after", **options: Any) -> str:
        """Push orders in direct mode, and lose every answer; ``when`` says whether before or after the effect."""
        self.simulator.order_fault(Fault(operation="tasks.create", when=when, kind="reset"))
        run_id = await self.push(orders, **options)
        self.simulator.clear_faults()
        return run_id

    async def states(self, run_id: str) -> dict[str, OrderState]:
        """The state of each key."""
        return {row.key: row.state async for row in self.ledger.rows(run_id)}

    async def tasks(self, run_id: str) -> dict[str, str]:
        """The recorded task of each key."""
        return {row.key: row.task_id or "" async for row in self.ledger.rows(run_id)}

    async def absent(self, run_id: str) -> set[str]:
        """The keys in doubt that two readings of the Task List prove absent."""
        rows = [row async for row in self.ledger.rows(run_id, DOUBTFUL)]
        info = await self.ledger.run(run_id)
        findings = await search_task_list(self.gs, self.ledger, info, rows, rescan_after=0)
        return {row.key for row in rows if row.id in findings.absent}


@asynccontextmanager
async def place(
    tmp_path: Path, account: str = "platform", *, settle: float = SETTLE, **switches: Any
) -> AsyncIterator[Place]:
    """A simulator, a client of an account, and a ledger on disk."""
    clock = HastyClock()
    async with (
        Simulator(options=SimulatorOptions.from_mapping(switches)) as simulator,
        simulated(
            account,
            simulator=simulator,
            retry=QUICK,
            timeouts=Timeouts(read=2.0),
            limits=Limits(concurrency=4, settle=settle),
            clock=clock,
        ) as gs,
        await Ledger.open(tmp_path / "ledger.db", clock=clock.now) as ledger,
    ):
        yield Place(simulator, gs, ledger, clock)
