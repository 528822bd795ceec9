"""A program that pushes, and dies or freezes where it is told to: for the crash tests only.

    python -m tests.crash.pusher API_BASE LEDGER PREFIX COUNT MODE

It takes up the last run of the ledger if that was not done, and begins one otherwise, so that starting it again and
again brings the push to its end. Environment variables:

    PUSHER_TOKEN      the bearer token
    PUSHER_DIE        POINT:N: kill this process with SIGKILL when it comes to a point for the N-th time
    PUSHER_DIE_AFTER  seconds after which it is killed, wherever it is
    PUSHER_FREEZE     POINT:N: stop this process with SIGSTOP there
    PUSHER_CONCURRENCY, PUSHER_CLAIM_LIFE  calls in flight, seconds
    PUSHER_BLIND      send again what was being sent, as a careless program would: the control of the experiment
"""

import asyncio
import os
import signal
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gotsurge_async import GotSurge, Limits, RetryPolicy
from gotsurge_async.bulk import Ledger, LedgerError, Push, Run
from gotsurge_async.bulk.ledger import RunHeld, RunState
from gotsurge_async.clock import SystemClock
from gotsurge_async.transports.aiohttp import AiohttpTransport
from tests.kit import orders

POINTS: dict[str, tuple[type, str]] = {
    "add": (Run, "add"),
    "admit": (Run, "admit"),
    "claim": (Run, "claim"),
    "claim_broadcast": (Run, "claim_broadcast"),
    "record": (Run, "record"),
    "release": (Run, "release_claim"),
    "recover": (Run, "recover"),
    "finish": (Run, "finish"),
    "send": (AiohttpTransport, "send"),
}
"""Each is a boundary: a process may end right before it, and right after it."""

HELD = 6
REFUSED = 7
"""The exit code when the ledger did not let the process go on."""


class Trap:
    """Does something to this process when it comes to a point for the N-th time."""

    def __init__(self, text: str, number: signal.Signals) -> None:
        self._point, _, count = text.partition(":")
        self._count = int(count or 0)
        self._signal = number
        self._seen: Counter[str] = Counter()

    def passing(self, point: str) -> None:
        self._seen[point] += 1
        if point == self._point and self._seen[point] == self._count:
            os.kill(os.getpid(), self._signal)


def set_traps() -> None:
    """Wrap every boundary."""
    traps = [
        Trap(os.environ.get("PUSHER_DIE", ""), signal.SIGKILL),
        Trap(os.environ.get("PUSHER_FREEZE", ""), signal.SIGSTOP),
    ]
    for name, (cls, method) in POINTS.items():
        setattr(cls, method, _trapped(getattr(cls, method), name, traps))
    if "PUSHER_DIE_AFTER" in os.environ:
        timer = threading.Timer(float(os.environ["PUSHER_DIE_AFTER"]), os.kill, (os.getpid(), signal.SIGKILL))
        timer.daemon = True
        timer.start()
    if "PUSHER_BLIND" in os.environ:
        setattr(Run, "recover", _recover_blindly)  # noqa: B010 - mypy forbids the plain assignment


def _trapped(original: Callable[..., Any], name: str, traps: list[Trap]) -> Callable[..., Any]:
    async def trapped(*words: Any, **options: Any) -> Any:
        for trap in traps:
            trap.passing(f"before-{name}")
        result = await original(*words, **options)
        for trap in traps:
            trap.passing(f"after-{name}")
        return result

    return trapped


async def _recover_blindly(run: Run) -> None:
    # Past the ledger, which refuses it.
    with sqlite3.connect(sys.argv[2]) as books:
        books.execute("UPDATE orders SET state = 'pending' WHERE run_id = ? AND state = 'sending'", (run.id,))


async def main(api_base: str, ledger_path: str, prefix: str, count: str, mode: str) -> int:
    """Push until the end, or until death."""
    set_traps()
    async with (
        GotSurge(
            "local",
            api_base=api_base,
            bearer_token=os.environ["PUSHER_TOKEN"],
            retry=RetryPolicy(attempts=8, base=0.01, cap=0.05),
            limits=Limits(concurrency=int(os.environ.get("PUSHER_CONCURRENCY", "3"))),
        ) as gs,
        await Ledger.open(Path(ledger_path), clock=SystemClock().now) as ledger,
    ):
        push = Push(gs, ledger, mode=mode, chunk=5, claim_life=float(os.environ.get("PUSHER_CLAIM_LIFE", "60")))
        known = [info for info in await ledger.runs() if info.state is not RunState.LOADING]
        try:
            if known:
                run = await ledger.hold(known[0].id)
            else:
                run, _ = await push.load_orders(orders(int(count), prefix))
            async with run:
                sent = await push.send(run)
        except RunHeld as error:
            print(error, file=sys.stderr)
            return HELD
        except LedgerError as error:
            print(error, file=sys.stderr)
            return REFUSED
        return 0 if sent.stopped_by is None else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
