"""Metrics for Prometheus: what a client does, as counters and gauges. Needs the extra ``metrics``.

::

    from gotsurge_async import GotSurge
    from gotsurge_async.metrics import Metrics, serving

    metrics = Metrics()
    async with GotSurge(..., hooks=[metrics]) as gs, serving(metrics, 9464): ...

Nothing in it names an order, a token or an address: labels are the names of operations, statuses and errors.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from gotsurge_async.errors import ConfigError
from gotsurge_async.hooks import (
    CallDone,
    ChunkDone,
    Event,
    RequestDone,
    RetryPlanned,
    SignInRequired,
    TokenRefreshed,
)
from gotsurge_async.version import __version__

__all__ = ["Metrics", "serving"]

MOST_ACCOUNTS = 100
"""The most accounts that are counted by their names: each label costs memory, here and in Prometheus."""
_OUTCOMES = ("created", "refused", "in_doubt", "unprocessed")
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """A hook that counts the events of a client. It may serve several clients: their numbers are added up.

    ::

        gotsurge_calls_total{operation,outcome,account}  with all their tries; outcome is ok, or an error's class
        gotsurge_requests_total{operation,status}     single tries; status is none where no answer came
        gotsurge_request_seconds{operation}           histogram, from the sending to the end of the answer
        gotsurge_retries_total{operation,account}     waits before another try
        gotsurge_orders_total{outcome,account}        orders sent: created, refused, in_doubt, unprocessed
        gotsurge_chunk_seconds                        histogram, a chunk from its claim to its record
        gotsurge_token_refreshes_total{account}       new tokens that this process has made
        gotsurge_sign_ins_required_total{account}     sign-ins that a person had to make
        gotsurge_build_info{version}                  1

    and the gauges that `show` adds. The first 100 accounts are counted by their names, all others together as
    ``other``; what belongs to none, as a sign-in, has "".

    Args:
        registry: where to register them; a new one unless given, with the process's memory, CPU and files.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        if registry is None:
            registry = CollectorRegistry()
            ProcessCollector(registry=registry)
        self.registry: CollectorRegistry = registry
        self._calls = Counter("gotsurge_calls", "Calls.", ["operation", "outcome", "account"], registry=registry)
        self._requests = Counter("gotsurge_requests", "Tries of calls.", ["operation", "status"], registry=registry)
        self._seconds = Histogram(
            "gotsurge_request_seconds", "Seconds of a try.", ["operation"], buckets=_SECONDS, registry=registry
        )
        self._retries = Counter(
            "gotsurge_retries", "Waits before another try.", ["operation", "account"], registry=registry
        )
        self._orders = Counter("gotsurge_orders", "Orders sent.", ["outcome", "account"], registry=registry)
        self._chunks = Histogram("gotsurge_chunk_seconds", "Seconds of a chunk.", buckets=_SECONDS, registry=registry)
        self._refreshes = Counter("gotsurge_token_refreshes", "New tokens.", ["account"], registry=registry)
        self._sign_ins = Counter(
            "gotsurge_sign_ins_required", "Sign-ins that a person had to make.", ["account"], registry=registry
        )
        Info("gotsurge_build", "The program.", registry=registry).info({"version": __version__})
        self._accounts: set[str] = set()
        self._account("default")

    def _account(self, name: str) -> str:
        """The label of an account: a bounded number of them have their own."""
        if name and name not in self._accounts:
            if len(self._accounts) >= MOST_ACCOUNTS:
                return "other"
            self._accounts.add(name)
            for outcome in _OUTCOMES:
                self._orders.labels(outcome, name)  # so that 0 is shown
        return name

    def __call__(self, event: Event) -> None:
        """Count an event."""
        match event:
            case RequestDone():
                self._requests.labels(event.operation, str(event.status or "none")).inc()
                self._seconds.labels(event.operation).observe(event.seconds)
            case CallDone():
                self._calls.labels(event.operation, event.error or "ok", self._account(event.account)).inc()
            case RetryPlanned():
                self._retries.labels(event.operation, self._account(event.account)).inc()
            case ChunkDone():
                self._chunks.observe(event.seconds)
                account = self._account(event.account)
                for outcome in _OUTCOMES:
                    self._orders.labels(outcome, account).inc(getattr(event, outcome))
            case TokenRefreshed():
                self._refreshes.labels(self._account(event.account)).inc()
            case SignInRequired():
                self._sign_ins.labels(self._account(event.account)).inc()
            case _:
                pass

    def show(self, name: str, meaning: str, ask: Callable[[], float]) -> None:
        """Add a gauge whose value is what a function returns at each scrape."""
        Gauge(name, meaning, registry=self.registry).set_function(ask)

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self.registry)


@asynccontextmanager
async def serving(metrics: Metrics, port: int, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """Serve ``/metrics`` inside the block, and ``/healthz``, which answers while the event loop runs; yields the URL.

    Args:
        port: 0 takes any free one.
        host: only this machine can read them unless another address is given.

    Raises:
        ConfigError: the address cannot be used.
    """

    async def show(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def health(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    app = web.Application(client_max_size=1)
    app.add_routes([web.get("/metrics", show), web.get("/healthz", health)])
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            why = f"metrics cannot be served at {host}:{port}: {error.strerror or error}"
            raise ConfigError(why, "E111") from None
        yield f"http://{f'[{host}]' if ':' in host else host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
