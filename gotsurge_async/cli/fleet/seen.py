"""How a push, or a worker, is seen from outside: metrics for Prometheus, traces for OpenTelemetry."""

import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import click

from gotsurge_async.cli.shared.options import Decorator, gathered, in_group
from gotsurge_async.cli.shared.output import say
from gotsurge_async.client import GotSurge
from gotsurge_async.errors import ConfigError

if TYPE_CHECKING:
    from gotsurge_async.metrics import Metrics
    from gotsurge_async.telemetry import Tracing

TRACE = "traceparent"
"""The option of a run that says where its trace stands: it goes along with the run, whoever sends it."""

_group = in_group("Seen from outside")


class Seen:
    """Metrics, if a port for them was given, and traces, if OpenTelemetry is set up for this process.

    Whoever wants traces starts the command by ``opentelemetry-instrument``, or sets a variable of OpenTelemetry's.
    """

    def __init__(self, metrics_port: int | None = None, metrics_host: str = "127.0.0.1") -> None:
        self._port = metrics_port
        self._host = metrics_host
        self._metrics: Metrics | None = None
        self._tracing: Tracing | None = _tracing()

    @asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        """Serve the metrics inside the block, if they are wanted.

        Raises:
            ConfigError: the extra is not there, or the port cannot be had.
        """
        if self._port is None:
            yield
            return
        try:
            from gotsurge_async.metrics import Metrics, serving
        except ModuleNotFoundError as error:
            raise ConfigError(f'metrics need {error.name}: pip install "gotsurge-async[metrics]"') from None
        self._metrics = Metrics()
        async with serving(self._metrics, self._port, self._host) as url:
            say(f"metrics at {url}/metrics")
            yield

    def watch(self, gs: GotSurge) -> None:
        """See what a client does."""
        if self._metrics is not None:
            gs.hooks.add(self._metrics)
        if self._tracing is not None:
            gs.hooks.add(type(self._tracing)())  # one for each client: calls are told apart by their numbers

    def show(self, name: str, meaning: str, ask: Callable[[], float]) -> None:
        """Have the metrics show what a function gives."""
        if self._metrics is not None:
            self._metrics.show(name, meaning, ask)

    @contextmanager
    def put_up(self, *, wanted: bool) -> Iterator[dict[str, Any]]:
        """A span around the loading of orders; gives what is to be kept with the run, for who goes on with it.

        Args:
            wanted: whether anybody else will.
        """
        if self._tracing is None or not wanted:
            yield {}
            return
        from opentelemetry.trace import SpanKind

        from gotsurge_async.telemetry import traceparent

        with self._tracing.working("gotsurge put up", kind=SpanKind.PRODUCER):
            where = traceparent()
            yield {} if where is None else {TRACE: where}

    @contextmanager
    def segment(self, run_id: str, number: int, parent: str | None) -> Iterator[None]:
        """A span around the sending of a segment, under the one in which it was put up."""
        if self._tracing is None:
            yield
            return
        about: dict[str, str | int] = {"gotsurge.run": run_id, "gotsurge.segment": number}
        with self._tracing.working("gotsurge segment", parent=parent, attributes=about):
            yield


def _tracing() -> "Tracing | None":
    if "opentelemetry.sdk" not in sys.modules and not any(name.startswith("OTEL_") for name in os.environ):
        return None
    try:
        from gotsurge_async.telemetry import Tracing
    except ModuleNotFoundError:
        return None
    return Tracing()


takes_seen: Decorator[Any] = gathered(
    "seen",
    Seen,
    _group(
        "--metrics-port",
        type=click.IntRange(0, 65535),
        metavar="N",
        help="Serve /metrics for Prometheus, and /healthz, at this port; 0 takes any free one.",
    ),
    _group(
        "--metrics-host",
        default="127.0.0.1",
        show_default=True,
        metavar="HOST",
        help="The address to serve them at; 0.0.0.0 lets other machines read them.",
    ),
)
"""The options of a command that may be seen from outside; it gets them as its argument ``seen``."""
