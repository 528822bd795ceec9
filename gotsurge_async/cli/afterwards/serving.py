"""Helpers of the commands that serve HTTP.

Tokens, listening, sending on, waiting for a signal, and output that is not lost.
"""

import asyncio
import os
import select
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web

from gotsurge_async.calls.tries import backoff
from gotsurge_async.cli.shared.output import say
from gotsurge_async.clock import Clock, sleep_or
from gotsurge_async.config import RetryPolicy
from gotsurge_async.errors import ConfigError, UsageError
from gotsurge_async.secrets import Secret, url_for_log
from gotsurge_async.system.loops import ending_signals, heeded
from gotsurge_async.webhooks.forward import MOST_OF_AN_ANSWER, TRY_SECONDS, Forwarder
from gotsurge_async.webhooks.web.connections import Connections

TOKEN, NEXT = "GOTSURGE_WEBHOOK_TOKEN", "GOTSURGE_WEBHOOK_TOKEN_NEXT"
SECRET = "GOTSURGE_FORWARD_SECRET"  # noqa: S105 - the name of a variable
FORWARD_URL = "GOTSURGE_FORWARD_URL"
PREFIX = "/webhooks"
DRAIN_SECONDS = 10.0
"""Seconds that a receiver waits at its end for requests that are being received."""
_AGAIN = RetryPolicy(base=1.0, cap=30.0)
"""The pauses until standard output is tried again, after it was full."""


def tokens() -> list[str]:
    """The tokens in the environment variables; raises UsageError if there is none."""
    tokens = [token for name in (TOKEN, NEXT) if (token := os.environ.get(name))]
    if not tokens:
        raise UsageError(
            f"there is no token: set {TOKEN}; make one with "
            "python -c 'import secrets; print(secrets.token_urlsafe(32))'",
            "E801",
        )
    return tokens


@asynccontextmanager
async def forwarding(url: str, secret: Secret, clock: Clock) -> AsyncIterator[Forwarder]:
    """Open a `Forwarder` to a URL inside the block; raises ConfigError for an invalid URL or secret."""
    from gotsurge_async.transports.aiohttp import AiohttpTransport

    transport = AiohttpTransport(TRY_SECONDS, cut_at=MOST_OF_AN_ANSWER)
    try:
        forwarder = Forwarder(url, secret, transport, clock)
        if url.lower().startswith("http:") and not _is_near(url):
            say(f"warning: {url_for_log(url)} is not https: others can read what is sent there")
        yield forwarder
    finally:
        await transport.close()


def _is_near(url: str) -> bool:
    """Whether a URL leads to this machine or a private network, as far as its host shows it."""
    host = urlsplit(url).hostname or ""
    try:
        return not ip_address(host.partition("%")[0]).is_global
    except ValueError:
        return "." not in host


@asynccontextmanager
async def listening(
    host: str, port: int, routes: Iterable[web.RouteDef], *, drain: float = DRAIN_SECONDS
) -> AsyncIterator[str]:
    """Serve routes inside the block, which gets their URL; raises ConfigError if the address cannot be used.

    The end waits ``drain`` seconds for requests that are being received.
    """
    connections = Connections()
    app = web.Application(middlewares=[connections.middleware])
    app.add_routes(routes)
    runner = web.AppRunner(
        app,
        access_log=None,
        handle_signals=False,
        shutdown_timeout=drain,
        auto_decompress=False,  # else a broken body is a traceback before the token of its sender is checked
    )
    async with AsyncExitStack() as stack:
        try:
            port = await stack.enter_async_context(connections.serving(runner, host, port))
        except OSError as error:
            raise ConfigError(f"cannot listen at {host}:{port}: {error.strerror or error}", "E111") from None
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}"


async def until_a_signal(stop: asyncio.Event | None = None) -> None:
    """Wait for Ctrl-C or SIGTERM, or until an event is set; a second signal ends the process immediately."""
    stop = stop or asyncio.Event()
    with heeded(dict.fromkeys((signal.SIGINT, *ending_signals()), stop.set)):
        await stop.wait()


class Lines:
    """Standard output, which reports whether a line was written, and is ``unread`` when the reader has left.

    When ``stop`` is set, as `put` does when the reader has left, no line waits for room any more.
    """

    def __init__(self, clock: Clock) -> None:
        self.stop: asyncio.Event = asyncio.Event()
        self.unread: bool = False
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._tries = 0
        if sys.stdout is None:
            why = "standard output is closed: redirect it to a file, or to /dev/null"
            raise UsageError(why, "E806")
        self._out = sys.stdout.fileno()
        self._encoding = sys.stdout.encoding

    async def put(self, line: str) -> None:
        """Write a line, however long that takes; raises CancelledError if the reader has left, or at the end."""
        rest = f"{line}\n".encode(self._encoding, "backslashreplace")
        async with self._one_at_a_time:
            while rest:
                if self.unread or (self._tries and self.stop.is_set()):
                    raise asyncio.CancelledError
                try:
                    rest = rest[await self._write(rest) :]
                except BrokenPipeError:
                    self.unread = True
                    say("who read standard output has gone: what was not printed is kept, and printed by the next one")
                    self.stop.set()
                except OSError as error:
                    await self._wait(error)
            if self._tries:
                self._tries = 0
                say("changes can be printed again")

    async def _write(self, rest: bytes) -> int:
        if not hasattr(select, "PIPE_BUF"):  # Windows: a loop cannot wait for room there, so a thread does
            return await asyncio.to_thread(os.write, self._out, rest)
        await self._room()
        # Of so much a pipe never takes a part, and it does not make the receiver wait.
        return os.write(self._out, rest[: select.PIPE_BUF])

    async def _wait(self, error: OSError) -> None:
        if not self._tries:
            say(f"changes cannot be printed, and wait: {error.strerror}; events are received all the same")
        self._tries += 1
        await sleep_or(self.stop, self._clock, backoff(_AGAIN, self._tries, 1.0))

    async def _room(self) -> None:
        """Wait until a pipe or a terminal has room: a slow reader must not block the loop."""
        loop, room = asyncio.get_running_loop(), asyncio.Event()
        try:
            loop.add_writer(self._out, room.set)
        except (OSError, NotImplementedError):  # a file takes what it is given
            return
        try:
            await room.wait()
        finally:
            loop.remove_writer(self._out)
