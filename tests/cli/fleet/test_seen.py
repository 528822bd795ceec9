"""`gotsurge_async.cli.fleet.seen`: metrics and traces of the commands."""

import asyncio
import json
import socket
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.commands import Runner, environment, local, write_orders
from tests.support.workers import Fleet

TRACED = """
import json, os, sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

class Lines(SpanExporter):
    def export(self, spans):
        with open(os.environ["SPANS"], "a") as out:
            for span in spans:
                parent = span.parent.span_id if span.parent else None
                context = span.get_span_context()
                details = [context.trace_id, context.span_id, parent, span.name, dict(span.attributes), os.getpid()]
                out.write(json.dumps(details) + "\\n")
        return SpanExportResult.SUCCESS

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(Lines()))
trace.set_tracer_provider(provider)
from gotsurge_async.cli import main
main()
"""
"""The command with OpenTelemetry set up, as ``opentelemetry-instrument`` does it; each span becomes a line."""


def test_a_push_serves_its_metrics_on_this_machine(run: Runner, tmp_path: Path) -> None:
    """It says where, and nothing but that goes to stderr beside what always does."""
    file = write_orders(tmp_path / "orders.csv", range(2))
    done = run("push", file, "--simulate", "--metrics-port", "0", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "metrics at http://127.0.0.1:" in done.stderr


def test_a_port_that_is_taken_is_reported_before_anything_is_sent(run: Runner, tmp_path: Path) -> None:
    """The exit code is 2, and the message says where metrics cannot be served."""
    file = write_orders(tmp_path / "orders.csv", range(2))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("push", file, "--simulate", "--metrics-port", port, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert f"metrics cannot be served at 127.0.0.1:{port}" in done.stderr


# --- workers ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_worker_serves_its_metrics(fleet: Fleet) -> None:
    """They count what it has sent, and what it has in hand; /healthz answers while it waits, too."""
    run = await fleet.put_up(range(60), "--mode", "direct")
    async with fleet.workers(1, "--metrics-port", "0") as (worker,):
        assert worker.stderr is not None
        async with asyncio.timeout(30):
            line = (await worker.stderr.readline()).decode()
        url = line.partition("metrics at ")[2].strip()
        await fleet.until_over(run)
        async with aiohttp.ClientSession() as session:
            async with session.get(url) as answered:
                text = await answered.text()
            async with session.get(url.replace("/metrics", "/healthz")) as answered:
                assert answered.status == 200
    assert 'gotsurge_orders_total{account="default",outcome="created"} 60.0\n' in text
    assert 'gotsurge_requests_total{operation="tasks.create",status="200"} 3.0\n' in text
    assert "gotsurge_worker_segments 0.0\n" in text
    assert "gotsurge_places 16.0\n" in text


@pytest.mark.slow
async def test_a_run_is_one_trace_over_all_processes(fleet: Fleet, tmp_path: Path) -> None:
    """From the push that puts it up, over each segment, to each call of whichever worker sends it."""
    spans = tmp_path / "spans"
    program = tmp_path / "traced.py"
    program.write_text(TRACED)
    env = environment(**fleet.env, SPANS=str(spans))
    file = write_orders(tmp_path / "orders.csv", range(1200))
    words = ["push", str(file), *local(fleet.simulator), "--mode", "direct", "--distributed", "--no-wait", "--quiet"]
    async with fleet.workers(2, program=program, env=env):
        pushing = await asyncio.create_subprocess_exec(sys.executable, str(program), *words, cwd=tmp_path, env=env)
        assert await pushing.wait() == 0
        (listed,) = (await fleet.run("runs", "--json")).document
        await fleet.until_over(listed["run"])
    exported: list[Any] = [json.loads(line) for line in spans.read_text().splitlines()]
    (put_up,) = [span for span in exported if span[3] == "gotsurge put up"]
    segments = [span for span in exported if span[3] == "gotsurge segment"]
    creates = [span for span in exported if span[4].get("gotsurge.operation") == "tasks.create"]
    assert {span[4]["gotsurge.segment"] for span in segments} == {0, 1, 2}
    assert {span[4]["gotsurge.run"] for span in segments} == {listed["run"]}
    assert {(span[0], span[2]) for span in segments} == {(put_up[0], put_up[1])}
    assert len(creates) == 60
    assert {span[2] for span in creates} <= {span[1] for span in segments}
    assert {span[0] for span in creates} == {put_up[0]}
    assert put_up[5] not in {span[5] for span in segments}
