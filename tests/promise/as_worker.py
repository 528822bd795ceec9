"""A worker for crash tests, without a queue: it takes each segment that waits, in order, until there is none.

What wakes a worker decides nothing. Without it the same steps come in the same order each time, and a test can strike
at every one of them.
"""

import asyncio
import sys

from gotsurge_async.cli.shared.connect import Target, connected
from gotsurge_async.cli.shared.exits import Exit
from gotsurge_async.cli.shared.ledger import target_of
from gotsurge_async.config import Limits
from gotsurge_async.ledger import Ledger, LedgerUnusable
from gotsurge_async.push.worker import Worker


def main() -> None:
    """Be a worker; the words are the ledger, the API base, the account, and how many calls are in flight."""
    ledger, api_base, account, concurrency = sys.argv[1:]
    try:
        asyncio.run(_work(ledger, Target(env="local", api_base=api_base, account=account), int(concurrency)))
    except LedgerUnusable:  # frozen for so long that the server has ended its connection: it would open the ledger anew
        sys.exit(int(Exit.UNREACHABLE))


async def _work(where: str, target: Target, concurrency: int) -> None:
    worker = Worker(
        lambda info: connected(target_of(info, target), Limits(concurrency=concurrency)),
        environment="local",
        concurrency=concurrency,
        name="worker",
    )
    async with worker, await Ledger.open(where) as ledger:
        seen: set[int] = set()
        while waiting := [each for each in await ledger.segments.waiting("local", 10) if each.number not in seen]:
            seen.add(waiting[0].number)
            await worker.send(ledger, waiting[0].run_id, waiting[0].number)
        if worker.error is not None:
            raise worker.error
