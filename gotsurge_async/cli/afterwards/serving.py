"""What commands share that serve HTTP: listening, tokens, and waiting for the end."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from aiohttp import web

from gotsurge_async.errors import ConfigError, UsageError

TOKEN, NEXT = "GOTSURGE_WEBHOOK_TOKEN", "GOTSURGE_WEBHOOK_TOKEN_NEXT"
PREFIX = "/webhooks"
DRAIN_SECONDS = 10.0
"""How long events that are being received are waited for at the end."""


def tokens() -> list[str]:
    """The tokens of the environment.

    Raises:
        UsageError: there is none.
    """
    found = [token for name in (TOKEN, NEXT) if (token := os.environ.get(name))]
    if not found:
        raise UsageError(
            f"there is no token: {TOKEN} is one; python -c 'import secrets; print(secrets.token_urlsafe(32))' makes it"
        )
    return found


@asynccontextmanager
async def listening(host: str, port: int, routes: Iterable[web.RouteDef]) -> AsyncIterator[str]:
    """Serve routes; gives the URL they stand on.

    Raises:
        ConfigError: the address cannot be had.
    """
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=DRAIN_SECONDS)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise ConfigError(f"cannot listen at {host}:{port}: {error.strerror or error}") from None
        yield f"http://{f'[{host}]' if ':' in host else host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def until_a_signal() -> None:
    """Wait for Ctrl-C or SIGTERM; a second one ends the process at once."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stop.set)
    try:
        await stop.wait()
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
