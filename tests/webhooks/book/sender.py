"""A process that sends the changes of a book to a target, quickly and with little patience, until it is killed."""

import asyncio
import sys
from datetime import timedelta

from gotsurge_async import Secret
from gotsurge_async.clock import SystemClock
from gotsurge_async.config import RetryPolicy
from gotsurge_async.transports.aiohttp import AiohttpTransport
from gotsurge_async.webhooks import follow
from gotsurge_async.webhooks.book import Book
from gotsurge_async.webhooks.forward import Forwarder
from tests.webhooks.book.kit import ACCOUNT

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
QUICK = {"LEASE": timedelta(seconds=0.3), "POLL": 0.02, "_AGAIN": RetryPolicy(base=0.02, cap=0.3)}


async def main(where: str, url: str) -> None:
    """Send, for ever."""
    for name, value in QUICK.items():
        setattr(follow, name, value)
    clock = SystemClock()
    async with Book.open(where) as book:
        forwarder = Forwarder(url, Secret(SECRET), AiohttpTransport(0.5, cut_at=1000), clock)
        worker = follow.Worker(book, forwarder.send_change, accounts=[ACCOUNT], clock=clock)
        sys.stdout.write("begun\n")
        sys.stdout.flush()
        await worker.work()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
