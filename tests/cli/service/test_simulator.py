"""`gotsurge simulator`: running it, and moving a task of one that runs."""

import asyncio
import json
import re
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gotsurge_async.simulator import Simulator
from tests.simulator.kit import Client
from tests.simulator.kit import order as order_of
from tests.support.commands import Runner, finish, start
from tests.support.running import running_simulator


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with running_simulator() as simulator:
        yield simulator


async def created(simulator: Simulator, *names: str) -> list[str]:
    """Orders of the simulator by their tracking ids; their ids."""
    async with aiohttp.ClientSession() as session:
        client = await Client(session, simulator).sign_in()
        answer = await client.create(*map(order_of, names))
        return [task["id"] for task in answer.json["tasks"]]


def statuses(simulator: Simulator) -> list[list[str]]:
    return [[status for status, _ in task["history"]] for task in simulator.tasks()]


def test_a_task_is_triggered_by_its_id_or_its_tracking_id(simulator: Simulator, run: Runner) -> None:
    """A task of a running simulator goes to the status, or through all those between; both names are taken."""
    port = simulator.origin.rpartition(":")[2]
    (task_id,) = asyncio.run(created(simulator, "A b/ä"))
    done = run("simulator", "trigger", task_id, "accepted", "--port", port)
    assert (done.exit_code, done.stdout) == (0, f"{task_id}\taccepted\n")
    done = run("simulator", "trigger", "A b/ä", "pending_delivery", "--port", port, "--through", "--json")
    assert json.loads(done.stdout) == {
        "id": task_id,
        "entered": ["pending_pickup", "pickup_arriving", "pending_delivery"],
    }
    assert run("simulator", "trigger", "A b/ä", "accepted", "--port", port, "--force").exit_code == 0
    assert statuses(simulator)[0][-2:] == ["pending_delivery", "accepted"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("A", "complete"), "from broadcasting to complete; possible statuses: accepted, cancelled, expired"),
        (
            ("A", "pending_broadcast", "--through"),
            "a task with the status broadcasting can never get the status pending_broadcast",
        ),
        (("A", "delivered"), "there is no status 'delivered'"),
        (("TWICE", "accepted"), "2 tasks have the tracking id 'TWICE'"),
        (("none", "accepted"), "there is no task 'none'"),
    ],
)
def test_what_cannot_be_triggered_is_reported(
    simulator: Simulator, run: Runner, words: tuple[str, ...], said: str
) -> None:
    """A status that does not follow, and a task that is not there or not one alone, end with the reason and code 1."""
    asyncio.run(created(simulator, "A", "TWICE", "TWICE"))
    done = run("simulator", "trigger", *words, "--port", simulator.origin.rpartition(":")[2])
    assert done.exit_code == 1
    assert said in done.stderr
    assert statuses(simulator) == [["broadcasting"]] * 3


def test_a_simulator_that_does_not_run_is_reported(run: Runner) -> None:
    """Without a simulator at the port nothing is triggered, and the message says how to start one."""
    done = run("simulator", "trigger", "A", "accepted", "--port", "9")
    assert done.exit_code == 8
    assert "no simulator at http://127.0.0.1:9" in done.stderr
    assert "start one with `gotsurge simulator --port 9`" in done.stderr


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<p>hello</p>"),
        (404, b"not here"),
        (200, b"[]"),
        (200, b"{}"),
        (500, b"[]"),
        (200, b'{"x":' + b"[" * 9999),
    ],
    ids=range(6),
)
def test_another_program_at_the_port_is_no_simulator(run: Runner, status: int, body: bytes) -> None:
    """Whatever it answers, a trigger and a sign-in say what to start, with code 8."""

    class Page(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        port = str(server.server_port)
        origin = f"http://127.0.0.1:{port}"
        for done in (
            run("simulator", "trigger", "A", "accepted", "--port", port),
            run("tasks", "list", "--env", "local", "--api-base", f"{origin}/api/partnership/v1"),
        ):
            assert done.exit_code == 8, done.output
            assert f"no simulator at {origin} (another program answers)" in done.stderr
            assert f"start one with `gotsurge simulator --port {port}`" in done.stderr
        server.shutdown()


def test_a_webhook_of_another_machine_is_refused(run: Runner) -> None:
    """The command does not start with a webhook that leads away from this machine, unless that is allowed."""
    done = run("simulator", "--port", "0", "--webhook-url", "https://example.com/hook")
    assert done.exit_code == 2
    assert "https://example.com is not on this machine" in done.stderr


async def test_the_simulator_runs_until_it_is_interrupted(tmp_path: Path) -> None:
    """With life, speed and a webhook it starts, says where it and its board are, and ends at Ctrl-C without a word."""
    words = ("simulator", "--port", "0", "--life", "--speed", "60", "--seed", "7")
    process = await start(*words, "--webhook-url", "http://127.0.0.1:9/hook", cwd=tmp_path)
    assert process.stdout is not None
    lines = [(await process.stdout.readline()).decode() for _ in range(4)]
    assert re.match(r"GotSurge simulator, API base http://127\.0\.0\.1:\d+/api/partnership/v1\n", lines[0])
    assert re.match(r"board http://127\.0\.0\.1:\d+/\n", lines[3])
    process.send_signal(signal.SIGINT)
    done = await finish(process)
    assert (done.code, done.err) == (0, "")
