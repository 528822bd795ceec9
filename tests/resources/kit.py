"""A client whose service is a function or a list of answers."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from gotsurge_async import Credentials, GotSurge, RetryPolicy
from gotsurge_async.testing import ManualClock
from gotsurge_async.transports.memory import Handler, MemoryTransport, Scripted

CREDENTIALS = Credentials(client_key="a-client-key", secret_key="a~~secret??key")
AT_ONCE = RetryPolicy(attempts=3, base=0.0, cap=0.0)


@asynccontextmanager
async def client(
    answers: Handler | Iterable[Scripted],
    credentials: Credentials | None = CREDENTIALS,
    refresh_token: str | None = None,
) -> AsyncIterator[tuple[GotSurge, MemoryTransport]]:
    """A client with a bearer token, and its transport, which knows what was sent."""
    transport = MemoryTransport(answers)
    async with GotSurge(
        "local",
        api_base="http://127.0.0.1:1/api/partnership/v1",
        credentials=credentials,
        bearer_token="a-bearer-token",
        refresh_token=refresh_token,
        transport=transport,
        clock=ManualClock(),
        retry=AT_ONCE,
    ) as gs:
        yield gs, transport
