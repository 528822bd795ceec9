"""A process of a fleet: waits for a word on standard input, then asks for the token many times at once.

    python -m tests.auth.worker STORE API_BASE hold|ask|refresh COROUTINES

``hold`` says "held" when it first has the lock, and goes on only at the next word: a holder that a test kills or
freezes. One that woke without its lease asks for the lock again, and is not held a second time.
"""

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from gotsurge_async import Credentials, Environment, GotSurge, NotFound
from gotsurge_async.auth.sealing import Sealer
from gotsurge_async.auth.sql import SqlStore
from gotsurge_async.auth.stores import FileStore, TokenStore

ACCOUNT = "fleet"


def store_of(where: str) -> FileStore | SqlStore:
    """The store behind a path or a URL."""
    sealer = Sealer.from_env()
    return SqlStore(where, sealer) if "://" in where else FileStore(where, sealer=sealer)


def say(word: str) -> None:
    """One line to the test."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def heard() -> None:
    """A line from the test."""
    await asyncio.to_thread(sys.stdin.readline)


class Holding:
    """A store whose lock is held until the next word, the first time that it is had."""

    def __init__(self, store: TokenStore) -> None:
        self._store = store
        self._was_held = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def lock(self, account: str) -> AbstractAsyncContextManager[None]:
        return self._lock(account)

    @asynccontextmanager
    async def _lock(self, account: str) -> AsyncIterator[None]:
        async with self._store.lock(account):
            if not self._was_held:
                self._was_held = True
                say("held")
                await heard()
            yield


async def main(where: str, api_base: str, mode: str, count: int) -> None:
    """Do as the module says."""
    store = store_of(where)
    environment = Environment.named("local", api_base=api_base)
    gs = GotSurge(
        environment,
        credentials=Credentials(client_key="plain-client-key"),
        token_store=Holding(store) if mode == "hold" else store,
        account=ACCOUNT,
    )
    say("ready")
    await heard()

    async def ask() -> str:
        bearer = await gs.tokens.bearer()
        try:
            await gs.tasks.get("00000000-0000-4000-8000-000000000000")
        except NotFound:
            return hashlib.sha256(bearer.reveal().encode()).hexdigest()
        raise AssertionError("there is no such task")

    async with gs:
        seen = set(await asyncio.gather(*(ask() for _ in range(count))))
    if isinstance(store, SqlStore):
        await store.close()
    say(" ".join(sorted(seen)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
