"""Traces for OpenTelemetry: a span for every call of a client. Needs the extra ``otel``.

::

    from gotsurge_async import GotSurge
    from gotsurge_async.telemetry import Tracing

    async with GotSurge(..., hooks=[Tracing()]) as gs: ...

A span covers a whole call with its tries and waits, and follows the semantic conventions of HTTP clients. It shows
neither URLs nor headers nor bodies: a path may carry a signature or a task's id, so only its template is shown.

Work that one process begins and others continue is one trace: `traceparent` is its present place as text, which travels
with the work, and `Tracing.working` continues from it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

import attrs
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, TracerProvider, get_tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gotsurge_async.hooks import CallDone, CallStarted, Event, RequestDone, RetryPlanned
from gotsurge_async.version import __version__

__all__ = ["Tracing", "traceparent"]

_HEADER = "traceparent"


def traceparent() -> str | None:
    """The present place in the trace in the W3C's form; None outside of any trace."""
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get(_HEADER)


@attrs.define
class _Call:
    """The span of a call under way, and the data that its end needs."""

    span: Span
    status: int | None = None
    tries: int = 0


class Tracing:
    """A hook that makes a span of every call; the span that is current where the call is made is its parent.

    Name and attributes (HTTP client spans)::

        POST /tasks/{task_id}/cancel
        http.request.method, http.response.status_code, http.request.resend_count, server.address, server.port,
        url.scheme, url.template, error.type, gotsurge.operation, gotsurge.account, gotsurge.request_id

    A call that raises ends with the status ERROR; every wait before another try is the event ``gotsurge.retry``.

    Args:
        tracer_provider: by default the program's own.

    One object serves one client: it distinguishes calls by their numbers, which each client counts itself.
    """

    def __init__(self, tracer_provider: TracerProvider | None = None) -> None:
        self._tracer: Tracer = get_tracer("gotsurge_async", __version__, tracer_provider)
        self._calls: dict[int, _Call] = {}

    @contextmanager
    def working(
        self,
        name: str,
        *,
        parent: str | None = None,
        kind: SpanKind = SpanKind.CONSUMER,
        attributes: Mapping[str, str | int] | None = None,
    ) -> Iterator[None]:
        """Open a span around a block, as the parent of the spans of its calls.

        Args:
            parent: the `traceparent` of the process that began the work; by default the present span. Unreadable text
                begins a trace of its own.
        """
        context = None if parent is None else TraceContextTextMapPropagator().extract({_HEADER: parent})
        with self._tracer.start_as_current_span(name, context=context, kind=kind, attributes=dict(attributes or {})):
            yield

    def __call__(self, event: Event) -> None:
        """Handle an event of the client's hooks."""
        match event:
            case CallStarted():
                self._start(event)
            case RequestDone():
                self._tried(event)
            case RetryPlanned():
                self._waits(event)
            case CallDone():
                self._end(event)
            case _:
                pass

    def _start(self, event: CallStarted) -> None:
        server = urlsplit(event.server)
        attributes: dict[str, str | int] = {
            "http.request.method": event.method,
            "server.address": server.hostname or "",
            "server.port": server.port or (443 if server.scheme == "https" else 80),
            "url.scheme": server.scheme,
            "url.template": event.path,
            "gotsurge.operation": event.operation,
            **({"gotsurge.account": event.account} if event.account else {}),
        }
        span = self._tracer.start_span(f"{event.method} {event.path}", kind=SpanKind.CLIENT, attributes=attributes)
        self._calls[event.call] = _Call(span)

    def _tried(self, event: RequestDone) -> None:
        call = self._calls.get(event.call)
        if call is not None:
            call.status = event.status
            call.tries += 1
            if event.request_id:
                call.span.set_attribute("gotsurge.request_id", event.request_id)

    def _waits(self, event: RetryPlanned) -> None:
        call = self._calls.get(event.call)
        if call is not None:
            about: dict[str, str | int | float] = {
                "attempt": event.attempt,
                "wait_seconds": event.wait,
                "reason": event.reason,
            }
            call.span.add_event("gotsurge.retry", about)

    def _end(self, event: CallDone) -> None:
        call = self._calls.pop(event.call, None)
        if call is None:
            return
        span = call.span
        if call.status is not None:
            span.set_attribute("http.response.status_code", call.status)
        if call.tries > 1:
            span.set_attribute("http.request.resend_count", call.tries - 1)
        if event.error:
            failed = call.status is not None and call.status >= 400
            span.set_attribute("error.type", str(call.status) if failed else event.error)
            span.set_status(Status(StatusCode.ERROR, event.error))
        span.end()
