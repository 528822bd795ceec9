"""A process that reads tasks on their way, in any order, and hands changes on, until it is killed."""

import asyncio
import random
import sys
from datetime import timedelta
from pathlib import Path

from gotsurge_async.webhooks.book import Book
from tests.webhooks.book.kit import ACCOUNT, WAY, after

TASKS = 40


async def main(where: str, seed: int, log: str) -> None:
    """Observe, and write a line for each change before it is acknowledged."""
    draw = random.Random(seed)
    with Path(log).open("a", buffering=1) as told:  # noqa: ASYNC230 - a line is there when the process is killed
        async with Book.open(where) as book:
            told.write("begun\n")
            while True:
                seen = [after(draw.randint(1, len(WAY)), f"T-{draw.randrange(TASKS)}") for _ in range(5)]
                await asyncio.gather(*(book.observe(ACCOUNT, each) for each in seen))
                for change in await book.waiting(20, lease=timedelta(seconds=0.3)):
                    told.write(f"{change.task_id} {change.number} {change.status}\n")
                    await book.acknowledge(change)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
