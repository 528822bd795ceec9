"""Observation of a push or a worker: metrics for Prometheus, traces for OpenTelemetry."""

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
"""The option of a run that holds its trace, for all that send it."""

_group = in_group("Seen from outside")


class Seen:
    """Metrics, if there is a port for them, and traces, if OpenTelemetry is set up for this process: the command was
    started by ``opentelemetry-instrument``, or a variable of OpenTelemetry is set."""

    def __init__(self, metrics_port: int | None = None, metrics_host: str = "127.0.0.1") -> None:
        self._port = metrics_port
        self._host = metrics_host
        self._metrics: Metrics | None = None
        self._tracing: Tracing | None = _tracing()

    @asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        """Serve the metrics inside the block, if there is a port."""
        if self._port is None:
            yield
            return
        try:
            from gotsurge_async.metrics import Metrics, serving
        except ModuleNotFoundError as error:
            raise ConfigError(f'metrics need {error.name}: pip install "gotsurge-async[metrics]"', "E108") from None
        self._metrics = Metrics()
        async with serving(self._metrics, self._port, self._host) as url:
            say(f"metrics at {url}/metrics")
            yield

    def watch(self, gs: GotSurge) -> None:
        """Observe a client."""
        if self._metrics is not None:
            gs.hooks.add(self._metrics)
        if self._tracing is not None:
            gs.hooks.add(type(self._tracing)())  # one for each client: calls have numbers within one

    def show(self, name: str, meaning: str, ask: Callable[[], float]) -> None:
        """Add a metric whose value a function returns."""
        if self._metrics is not None:
            self._metrics.show(name, meaning, ask)

    @contextmanager
    def published(self, distributed: bool) -> Iterator[dict[str, Any]]:
        """A span around the loading of orders that workers send; yields an option of the run for the workers."""
        if self._tracing is None or not distributed:
            yield {}
            return
        from opentelemetry.trace import SpanKind

        from gotsurge_async.telemetry import traceparent

        with self._tracing.working("gotsurge put up", kind=SpanKind.PRODUCER):
            where = traceparent()
            yield {} if where is None else {TRACE: where}

    @contextmanager
    def segment(self, run_id: str, number: int, parent: str | None) -> Iterator[None]:
        """A span around the sending of a segment, below the one in which the run was published."""
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
        "--metrics-port N",
        "Serve /metrics for Prometheus, and /healthz, at this port; 0 takes any free one.",
        type=click.IntRange(0, 65535),
    ),
    _group(
        "--metrics-host HOST",
        "The address to serve them at; 0.0.0.0 lets other machines read them.",
        default="127.0.0.1",
    ),
)
"""The options of metrics; the command gets them as its argument ``seen``."""
