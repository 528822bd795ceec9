"""The server as clients start it: the SDK's own client over stdio and over HTTP, with processes of its own."""

import asyncio
import contextlib
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

import gotsurge_async
from gotsurge_async.cli.agents.server import ALL, result_schema
from gotsurge_async.ledger import Ledger
from tests.support.commands import Runner, environment, gotsurge, start, write_orders

from .kit import Agent, Caller, order

TOKEN = "a-token-of-more-than-twenty-characters"
SIMULATED = ("mcp", "--simulate", "--platform", "--account", "platform")


@asynccontextmanager
async def over_stdio(folder: Path) -> AsyncIterator[Agent]:
    """An agent whose client has started the server."""
    words = ["-m", "gotsurge_async", *SIMULATED]
    parameters = StdioServerParameters(
        command=sys.executable, args=words, env=environment(HOME=str(folder)), cwd=folder
    )
    with (folder / "stderr").open("w") as stderr:
        async with Client(stdio_client(parameters, errlog=stderr)) as client:
            yield Agent(client)


@asynccontextmanager
async def serving(folder: Path, *words: str) -> AsyncIterator[str]:
    """A server over HTTP; its URL."""
    process = await start(
        *words, "--http", "--port", "0", cwd=folder, env={"GOTSURGE_MCP_TOKEN": TOKEN, "HOME": str(folder)}
    )
    assert process.stderr is not None
    try:
        async for line in process.stderr:
            if url := re.search(r"agents connect to (\S+)", line.decode()):
                break
        else:
            raise AssertionError("the server has ended")
        reading = asyncio.create_task(process.stderr.read())
        yield url[1]
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
    await reading


@asynccontextmanager
async def over_http(folder: Path) -> AsyncIterator[Agent]:
    """An agent that connects with the token."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        serving(folder, *SIMULATED) as url,
        create_mcp_http_client(headers=headers) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        yield Agent(client)


async def drive(agent: Caller, folder: Path) -> None:
    """Call every tool of a new server, whose user has this folder; a person approves in another process."""
    write_orders(folder / "orders.csv", ["T-A", "T-B"])
    assert await agent.names() == set(ALL)
    made = await agent.propose("create_orders", orders=[order("T-1"), order("T-2")])
    words = made["next"][0].split()[1:]
    sent = await gotsurge(*words, "--yes", made["digest"], "--json", cwd=folder, env={"HOME": str(folder)})
    assert (sent.code, sent.document["state"]) == (0, "done"), sent
    tasks = [each["id"] for each in sent.document["outcome"]["orders"]]
    (run,) = await agent.ask("list_runs")
    used = {"create_orders", "list_runs", "get_proposal"}
    calls: dict[str, dict[str, Any]] = {
        "list_orders": {},
        "order_history": {"order": "T-1"},
        "run_status": {"run": run["run"]},
        "list_alerts": {},
        "day_report": {},
        "quote_price": {"pickup": "1.2966,103.7764", "deliveries": ["1.2700,103.8600"]},
        "check_table": {"file": "orders.csv"},
        "explain_error": {"words": "E613"},
        "push_table": {"file": "orders.csv"},
        "cancel_order": {"task": tasks[0], "reason": "The ship sailed"},
        "undo_run": {"run": run["run"], "keys": ["T-2"]},
        "resolve_order": {"run": run["run"], "key": "T-1"},
        "change_task": {"task": tasks[1], "set": {"group_tag": "MV Example"}},
    }
    assert used | set(calls) == set(ALL)
    answers = await asyncio.gather(*(agent.call(name, **arguments) for name, arguments in calls.items()))
    for name, answer in zip(calls, answers, strict=True):
        assert not answer.is_error, (name, answer)
        jsonschema.validate(answer.structured_content, result_schema(ALL[name]))
    states = [each["state"] for each in await agent.ask("get_proposal")]
    assert sorted(states) == ["done", *["proposed"] * 5]


@pytest.mark.slow
@pytest.mark.parametrize("connected", [over_stdio, over_http])
async def test_the_sdks_client_drives_every_tool(connected: Any, tmp_path: Path) -> None:
    """Each tool answers as its schema says; a person approves in another process."""
    async with connected(tmp_path) as agent:
        await drive(agent, tmp_path)


@pytest.mark.slow
async def test_http_is_for_this_machine_and_the_token(tmp_path: Path) -> None:
    """Without the token, with another one, or under another host's or site's name nothing is answered."""
    hello = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    good = {"Authorization": f"Bearer {TOKEN}", "Accept": "application/json, text/event-stream"}
    async with serving(tmp_path, "mcp", "--simulate") as url, httpx.AsyncClient() as client:
        assert url.startswith("http://127.0.0.1:")
        for change, status in (
            ({"Authorization": ""}, 401),
            ({"Authorization": f"Bearer {TOKEN}x"}, 401),
            ({"Authorization": TOKEN}, 401),
            ({"Host": "evil.example"}, 421),
            ({"Origin": "http://evil.example"}, 403),
        ):
            answer = await client.post(url, json=hello, headers={**good, **change})
            assert answer.status_code == status, change
            assert "tools" not in answer.text


@pytest.mark.slow
async def test_a_signal_ends_a_server_whose_client_stays(tmp_path: Path) -> None:
    """Standard input may be open, and silent: the process ends all the same."""
    process = await start("mcp", "--simulate", cwd=tmp_path)
    assert process.stderr is not None
    while b"to decide about proposals" not in await process.stderr.readline():
        pass
    process.terminate()
    async with asyncio.timeout(20):
        assert await process.wait() == 143


@pytest.mark.slow
async def test_the_page_is_served_until_a_signal(tmp_path: Path) -> None:
    """The terminal has its address and its password; an open browser does not keep it."""
    async with await Ledger.open(tmp_path / "ledger.db"):
        pass
    process = await start("approve", "--serve", "--port", "0", "--ledger", "ledger.db", cwd=tmp_path)
    assert process.stderr is not None
    line = (await process.stderr.readline()).decode()
    where = re.fullmatch(r"proposals are at (http://127\.0\.0\.1:\d+/) with any .* password (\S+)\n", line)
    assert where is not None, line
    async with httpx.AsyncClient(auth=("amy", where[2])) as browser:
        answer = await browser.get(where[1])
        assert (answer.status_code, "Waiting for a person: 0" in answer.text) == (200, True)
        process.terminate()
        async with asyncio.timeout(20):
            assert await process.wait() == 0


@pytest.mark.parametrize(
    ("words", "why", "variables"),
    [
        (["--env", "production"], "--allow-production", {}),
        ([], "--allow-production", {"GOTSURGE_ENV": "production"}),
        (["--simulate", "--http"], "at least 20 characters", {"GOTSURGE_MCP_TOKEN": "short"}),
        (["--simulate", "--env", "local"], "--simulate starts its own", {}),
        (["--simulate", "--tools", "list_runs,approve"], 'there is no tool "approve"', {}),
        (["--simulate"], 'there is no tool "nothing"', {"GOTSURGE_MCP_TOOLS": "nothing"}),
        (["--simulate", "--max-spend", "much"], "is not an amount", {}),
    ],
)
def test_what_cannot_be_served_is_refused(run: Runner, words: list[str], why: str, variables: dict[str, str]) -> None:
    """Production without the explicit setting, HTTP without a token, no place, and tools that do not exist."""
    done = run("mcp", *words, **variables)
    assert (done.exit_code, why in done.stderr) == (2, True), done.stderr


def test_it_is_for_the_sandbox_unless_its_options_say_otherwise(run: Runner, tmp_path: Path) -> None:
    """A server without a place proposes for the sandbox, and for production only where both options say so."""
    for words, environment_ in (([], "sandbox"), (["--env", "production", "--allow-production"], "production")):
        seen: list[str] = []

        async def look(server: Any, seen: list[str] = seen) -> None:
            agents = server.get_request_handler("tools/call").handler.__self__
            seen.append(agents.bounds.target.environment)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("gotsurge_async.cli.agents.server.serve_stdio", look)
            assert run("mcp", *words, "--ledger", tmp_path / "ledger.db").exit_code == 0
        assert seen == [environment_]


def test_a_simulator_of_its_own_goes_before_the_variables(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that name another GotSurge stop no --simulate, and lead none of its orders there."""
    seen: list[Any] = []

    async def look(server: Any) -> None:
        seen.append(server.get_request_handler("tools/call").handler.__self__.bounds.target)

    monkeypatch.setattr("gotsurge_async.cli.agents.server.serve_stdio", look)
    elsewhere = {"GOTSURGE_API_BASE": "http://127.0.0.1:1/api", "GOTSURGE_ENV": "sandbox"}
    done = run("mcp", "--simulate", **elsewhere)
    assert done.exit_code == 0, done.stderr
    assert (seen[0].env, seen[0].api_base == elsewhere["GOTSURGE_API_BASE"]) == ("local", False)


def test_without_the_extra_the_command_says_what_to_install(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """The schemas and the approvals need nothing of it."""
    monkeypatch.delitem(sys.modules, "gotsurge_async.cli.agents.server")
    monkeypatch.setitem(sys.modules, "mcp.server.context", None)
    done = run("mcp", "--simulate")
    assert (done.exit_code, 'pip install "gotsurge-async[mcp]"' in done.stderr) == (2, True)
    assert run("schema", "runs").exit_code == 0


async def test_nothing_of_it_is_loaded_unless_it_is_used(tmp_path: Path) -> None:
    """A push loads neither the SDK, nor what stands on it, nor the proposals."""
    names = "mcp", "pydantic", "starlette", "uvicorn", "gotsurge_async.cli.agents", "gotsurge_async.ledger.proposals"
    script = (
        "import sys, runpy; import gotsurge_async.bulk\n"
        "try: runpy.run_module('gotsurge_async', run_name='__main__')\n"
        f"finally: print([n for n in sys.modules if n.startswith({names})], file=sys.stderr)"
    )
    write_orders(tmp_path / "orders.csv", range(2))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script, "push", "orders.csv", "--simulate", "--quiet"),
        cwd=tmp_path,
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await process.communicate()
    assert (process.returncode, err.decode().splitlines()[-1]) == (0, "[]")


def test_it_is_small() -> None:
    """With schemas, approvals and the page at most 1,400 lines; with its part of the ledger at most 1,400 not empty."""
    package = Path(gotsurge_async.__file__).parent
    code = [*(package / "cli" / "agents").glob("*.py"), package / "ledger" / "proposals.py"]
    files = [*code, *(package / "cli" / "agents").glob("page.[ch]*")]
    lines = {file: file.read_text(encoding="utf-8").splitlines() for file in files}
    assert sum(len(lines[file]) for file in files if file.parent.name == "agents") <= 1400
    assert sum(bool(line.strip()) for file in code for line in lines[file]) <= 1400
