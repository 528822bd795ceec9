"""examples/fleet, as it runs: the commands of each file in processes of this machine, without containers."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import attrs
import pytest

from gotsurge_async.auth.sealing import new_key
from tests.examples.fleet_files import (
    FLEET,
    ROOT,
    Command,
    compose,
    compose_commands,
    kubernetes_commands,
    manifest,
    unit_command,
)
from tests.support.commands import finish, start
from tests.support.postgres import Server, free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ORDERS = 500
"""In examples/orders.csv."""


@attrs.frozen
class Machine:
    """What stands for a machine here: a home, and what is where a file says that it is.

    Attributes:
        instead: what each text of a file is here.
    """

    home: Path
    instead: dict[str, str]

    def here(self, text: str) -> str:
        """A word, or a variable's value."""
        for there, here in self.instead.items():
            text = text.replace(there, here)
        return text

    async def start(self, command: Command, **more: str) -> asyncio.subprocess.Process:
        """Start what a file starts, as it says."""
        variables = {name: self.here(value) for name, value in command.variables.items()} | more
        homes = {f"XDG_{name}_HOME": str(self.home / name.lower()) for name in ("CONFIG", "DATA", "STATE", "CACHE")}
        words = [self.here(word) for word in command.words]
        return await start(*words, cwd=self.home, env={**homes, "HOME": str(self.home), **variables})

    @asynccontextmanager
    async def running(self, command: Command, **more: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Start it, and stop it at the end as its supervisor does."""
        process = await self.start(command, **more)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGINT if command.name == "simulator" else signal.SIGTERM)
            done = await finish(process)
            assert done.code == 0, f"{command.name}: {done.err}"


async def audit(origin: str) -> Any:
    """What a simulator counted, as soon as it answers."""
    async with asyncio.timeout(60), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"{origin}/_simulator/audit") as answered:
                    return await answered.json()
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)


async def test_the_compose_file_pushes_the_examples(postgres: Server, tmp_path: Path) -> None:
    """Its services, started in their order, put all orders of the examples before drivers, each once, and stop."""
    commands = {command.name: command for command in compose_commands()}
    port = str(free_port())
    machine = Machine(
        tmp_path,
        {
            "postgres/gotsurge": urlsplit(postgres.create("compose")).netloc.partition("@")[2] + "/compose",
            "8765": port,
            "/orders/": f"{ROOT}/examples/",
        },
    )
    assert (FLEET / compose()["services"]["push"]["volumes"][1].partition(":")[0]).resolve() == ROOT / "examples"
    async with machine.running(commands["simulator"]):
        origin = f"http://127.0.0.1:{port}"
        assert (await audit(origin))["tasks"] == 0
        upgraded = await finish(await machine.start(commands["upgrade"]))
        assert upgraded.code == 0, upgraded.err
        workers = compose()["services"]["worker"]["deploy"]["replicas"]
        async with (
            machine.running(commands["worker"]),
            machine.running(commands["worker"]),
            machine.running(commands["worker"]),
        ):
            assert workers == 3
            pushed = await finish(await machine.start(commands["push"]))
            assert pushed.code == 0, pushed.err
        counted = await audit(origin)
    assert (counted["tasks"], counted["doubled"]) == (ORDERS, {})
    assert counted["drafts"] == 0


async def test_the_manifests_and_the_unit_push_the_examples(postgres: Server, tmp_path: Path) -> None:
    """The Job loads and ends, the Deployment's worker and systemd's send, and the probe is answered meanwhile."""
    by_name = {command.name: command for command in kubernetes_commands()}
    url = postgres.create("kubernetes")
    simulator_port, metrics_port, other_port = (str(free_port()) for _ in range(3))
    settings = {
        "GOTSURGE_ENV": "local",
        "GOTSURGE_API_BASE": f"http://127.0.0.1:{simulator_port}/api/partnership/v1",
        "GOTSURGE_LEDGER": url,
        "GOTSURGE_TOKEN_STORE": "",  # a simulator signs in by itself
    }
    secrets = tmp_path / "run"
    secrets.mkdir()
    for name, text in (("pgpass", ""), ("config.toml", ""), ("token-keys", new_key())):
        (secrets / name).write_text(text)
        (secrets / name).chmod(0o400)
    pod = Machine(tmp_path, {"/orders/": f"{ROOT}/examples/", "/run/gotsurge": str(secrets), "9464": metrics_port})
    machine = Machine(tmp_path, {"9464": other_port})
    simulator = Command("simulator", ["simulator", "--port", simulator_port], {})
    async with machine.running(simulator):
        origin = f"http://127.0.0.1:{simulator_port}"
        await audit(origin)
        for name in ("upgrade", "load"):
            done = await finish(await pod.start(by_name[name], **settings))
            assert done.code == 0, f"{name}: {done.err}"
        async with (
            pod.running(by_name["worker"], **settings),
            machine.running(attrs.evolve(unit_command(), variables={}), **settings),
            aiohttp.ClientSession() as session,
        ):
            (container,) = manifest("Deployment")["spec"]["template"]["spec"]["containers"]
            path = container["livenessProbe"]["httpGet"]["path"]
            async with asyncio.timeout(120):
                while (await audit(origin))["tasks"] < ORDERS:  # noqa: ASYNC110 - in another process
                    await asyncio.sleep(0.1)
            for port in (metrics_port, other_port):
                async with session.get(f"http://127.0.0.1:{port}{path}") as answered:
                    assert answered.status == 200
        counted = await audit(origin)
    assert (counted["tasks"], counted["doubled"]) == (ORDERS, {})
