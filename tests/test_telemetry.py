import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from gotsurge_async import GotSurge, NotFound, NotSent, OutcomeUnknown
from gotsurge_async.hooks import ChunkDone, RequestDone
from gotsurge_async.telemetry import Tracing, traceparent
from gotsurge_async.transports.base import NothingSent
from tests.support.clients import client
from tests.support.orders import answer, order


class Traces:
    """A tracer provider of its own, and its spans."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def watch(self, gs: GotSurge) -> None:
        """Trace a client."""
        gs.hooks.add(Tracing(self.provider))

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    @property
    def span(self) -> ReadableSpan:
        """The only one there is."""
        (span,) = self.spans
        return span


@pytest.fixture
def traces() -> Traces:
    return Traces()


async def test_a_call_is_a_client_span(traces: Traces) -> None:
    """A call becomes one span with the attributes of an HTTP client, under the span that was current."""
    async with client([answer({"id": "11111111-2222"}, x_request_id="r-1")]) as (gs, _):
        traces.watch(gs)
        with traces.provider.get_tracer("test").start_as_current_span("work") as work:
            await gs.tasks.get("11111111-2222")
    span = next(each for each in traces.spans if each.kind is SpanKind.CLIENT)
    assert span.name == "GET /tasks/{task_id}"
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "server.address": "127.0.0.1",
        "server.port": 1,
        "url.scheme": "http",
        "url.template": "/tasks/{task_id}",
        "gotsurge.operation": "tasks.get",
        "gotsurge.account": "default",
        "gotsurge.request_id": "r-1",
    }
    assert span.status.status_code is StatusCode.UNSET
    assert span.parent is not None
    assert span.parent.span_id == work.get_span_context().span_id


async def test_tries_are_counted_in_one_span(traces: Traces) -> None:
    """A call of three tries is one span with two waits, its last status and its resends."""
    busy = answer({"message": "slow down"}, 429, retry_after="0")
    async with client([busy, busy, answer({"id": "t"})]) as (gs, _):
        traces.watch(gs)
        await gs.tasks.get("t")
    assert [event.name for event in traces.span.events] == ["gotsurge.retry"] * 2
    assert dict(traces.span.events[0].attributes or {})["reason"] == "HTTP 429"
    assert (traces.span.attributes or {})["http.request.resend_count"] == 2
    assert (traces.span.attributes or {})["http.response.status_code"] == 200


async def test_a_refusal(traces: Traces) -> None:
    """A call that is refused ends in error, and its type is the status."""
    async with client([answer({"message": "none"}, 404)]) as (gs, _):
        traces.watch(gs)
        with pytest.raises(NotFound):
            await gs.tasks.get("t")
    assert traces.span.status.status_code is StatusCode.ERROR
    assert (traces.span.attributes or {})["error.type"] == "404"


async def test_no_answer(traces: Traces) -> None:
    """A call without an answer, and one whose answer cannot be read, are shown by the class of the error."""
    async with client([NothingSent("refused")] * 3) as (gs, _):
        traces.watch(gs)
        with pytest.raises(NotSent):
            await gs.tasks.get("t")
    assert (traces.span.attributes or {})["error.type"] == "NotSent"
    assert "http.response.status_code" not in (traces.span.attributes or {})
    traces.exporter.clear()
    async with client([answer({"tasks": 7})]) as (gs, _):
        traces.watch(gs)
        with pytest.raises(OutcomeUnknown):
            await gs.tasks.create([order()])
    assert (traces.span.attributes or {})["error.type"] == "OutcomeUnknown"
    assert (traces.span.attributes or {})["http.response.status_code"] == 200


async def test_nothing_secret_is_shown(traces: Traces) -> None:
    """Neither the signature nor a token, nor what a service quotes of them, stands anywhere in a span."""
    detail = answer({"id": "p", "secret_key": "a~~secret??key"})
    async with client([detail, answer({"message": "planted-bearer is bad"}, 400)]) as (gs, transport):
        traces.watch(gs)
        await gs.partner.detail()
        with pytest.raises(Exception, match=r"\*\*\* is bad"):
            await gs.tasks.get("t")
        signature = transport.sent[0].url.rpartition("/")[2]
    shown = "".join(span.to_json() for span in traces.spans)
    for secret in (signature, signature.partition("%")[0], "a~~secret??key", "planted-bearer"):
        assert secret not in shown


def test_events_of_calls_that_it_does_not_know(traces: Traces) -> None:
    """What began before the hook was added, and events that are no calls, are passed over."""
    tracing = Tracing(traces.provider)
    tracing(RequestDone(call=9, operation="tasks.get", method="GET", status=200, seconds=0.1, attempt=1))
    tracing(ChunkDone(created=1, refused=0, in_doubt=0, unprocessed=0, seconds=0.1))
    assert traces.spans == ()


async def test_work_that_another_process_goes_on_with_is_one_trace(traces: Traces) -> None:
    """A text leads from the span that put the work up to the one that does it, and to the calls below that."""
    loader, worker = Tracing(traces.provider), Tracing(traces.provider)
    assert traceparent() is None
    with loader.working("put up", kind=SpanKind.PRODUCER, attributes={"gotsurge.run": "R"}):
        text = traceparent()
    assert text is not None
    async with client([answer({"id": "t"})]) as (gs, _):
        gs.hooks.add(worker)
        with worker.working("segment", parent=text, attributes={"gotsurge.segment": 3}):
            await gs.tasks.get("t")
    put_up, call, segment = traces.spans
    assert (put_up.kind, segment.kind, call.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER, SpanKind.CLIENT)
    assert dict(segment.attributes or {}) == {"gotsurge.segment": 3}
    assert segment.parent is not None
    assert call.parent is not None
    assert segment.parent.span_id == put_up.get_span_context().span_id
    assert call.parent.span_id == segment.get_span_context().span_id
    assert len({each.get_span_context().trace_id for each in traces.spans}) == 1


def test_what_cannot_be_read_begins_a_trace_of_its_own(traces: Traces) -> None:
    """A text that somebody has broken costs the connection, and nothing else."""
    with Tracing(traces.provider).working("segment", parent="00-nonsense"):
        assert traceparent() is not None
    assert traces.span.parent is None
