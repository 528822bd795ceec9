"""Clients whose service is a function or a list of answers: nothing leaves the process."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from gotsurge_async import Credentials, GotSurge, RetryPolicy
from gotsurge_async.testing import ManualClock
from gotsurge_async.transports.base import Request, Response
from gotsurge_async.transports.memory import Handler, MemoryTransport, Scripted
from tests.support.orders import answer

BASE = "http://127.0.0.1:1/api/partnership/v1"
KEYS = Credentials(client_key="key", secret_key="planted-secret-key")
CREDENTIALS = Credentials(client_key="a-client-key", secret_key="a~~secret??key")
"""Their signature looks different in each of its forms."""
GIVEN = {"bearer_token": "planted-new", "refresh_token": "planted-refresh"}


def serve(request: Request) -> Response:
    """A service that takes everything."""
    if request.url.endswith(("/oauth2/token", "/oauth2/refresh")):
        return answer(GIVEN)
    if request.method == "POST":
        return answer(created(request))
    return answer({"id": request.url.rpartition("/")[2]})


def created(request: Request) -> dict[str, Any]:
    """The answer to a create: a task for each order."""
    names = [each["tracking_id"] for each in sent(request)]
    return {"tasks": [{"id": f"id-{name}", "tracking_id": name} for name in names]}


def sent(request: Request) -> list[dict[str, Any]]:
    """The orders in a create."""
    tasks: list[dict[str, Any]] = json.loads(request.body or b"{}").get("tasks", [])
    return tasks


def make(transport: MemoryTransport | None = None, **options: Any) -> GotSurge:
    """A client with a token, whose service is a function."""
    given: dict[str, Any] = {
        "api_base": BASE,
        "bearer_token": "planted-bearer",
        "transport": transport or MemoryTransport(serve),
        "clock": ManualClock(),
        "retry": RetryPolicy(attempts=2, base=0.0, cap=0.0),
    }
    return GotSurge("local", **(given | options))


@asynccontextmanager
async def client(
    answers: Handler | Iterable[Scripted],
    credentials: Credentials | None = CREDENTIALS,
    refresh_token: str | None = None,
    **options: Any,
) -> AsyncIterator[tuple[GotSurge, MemoryTransport]]:
    """A client with a bearer token, and its transport, which knows what was sent."""
    transport = MemoryTransport(answers)
    options.setdefault("retry", RetryPolicy(attempts=3, base=0.0, cap=0.0))
    async with make(transport, credentials=credentials, refresh_token=refresh_token, **options) as gs:
        yield gs, transport


def others() -> set["asyncio.Task[Any]"]:
    """All tasks but the test's own."""
    return asyncio.all_tasks() - {asyncio.current_task()}
