"""The command as a person runs it: in a process of its own or inside the test; with files, ledger and simulator."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from click.testing import CliRunner, Result

from gotsurge_async.cli.app import gotsurge as command
from gotsurge_async.simulator import Fault, Simulator

REGISTER = "GOTSURGE_REGISTER"
"""The one setting that commands inherit from the test: see `tests.conftest.register`."""
EXAMPLES = Path(__file__).parents[2] / "examples"

HEADER = (
    "tracking_id,from_address.street_address,to_address.street_address,from_time_window.start_time_utc,"
    "from_time_window.end_time_utc,to_time_window.start_time_utc,to_time_window.end_time_utc,broadcast_preference,"
    "vehicle_preference,service_type,client_time_utc,price,currency"
)
ROW = (
    "{key},{key} Loyang Way,Marina South Pier,2030-03-04T01:00:00Z,2030-03-04T02:00:00Z,2030-03-04T03:00:00Z,"
    "2030-03-04T04:00:00Z,squad,car,ftl,2030-03-04T00:00:00Z,48.50,SGD"
)


@attrs.frozen
class Finished:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


def write_orders(path: Path, keys: range | list[str]) -> Path:
    """A CSV of good orders."""
    rows = [ROW.format(key=f"T-{key}" if isinstance(key, int) else key) for key in keys]
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return path


def environment(**variables: str) -> dict[str, str]:
    """The environment of a command: this one's, without any setting of GotSurge but those given."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GOTSURGE_") or name == REGISTER}
    return plain | variables


async def start(
    *words: str | Path,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    stdout: int = asyncio.subprocess.PIPE,
    program: Path | None = None,
) -> asyncio.subprocess.Process:
    """Start ``gotsurge WORDS``, or a program that runs it; its output goes to ``stdout``, if it is given."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *(("-m", "gotsurge_async") if program is None else (str(program),)),
        *map(str, words),
        cwd=cwd,
        env=environment(**(env or {})),
        stdin=asyncio.subprocess.PIPE,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=heed_interrupts,
    )


def heed_interrupts() -> None:
    """Let Ctrl-C be heard, also where the tests run in the background of a shell, which ignores it for them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


async def finish(process: asyncio.subprocess.Process, stdin: bytes = b"") -> Finished:
    """Wait for a command."""
    out, err = await process.communicate(stdin)
    assert process.returncode is not None
    return Finished(process.returncode, (out or b"").decode(), err.decode())


async def gotsurge(
    *words: str | Path,
    cwd: Path,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    stdout: int = asyncio.subprocess.PIPE,
) -> Finished:
    """Run ``gotsurge WORDS`` to its end."""
    return await finish(await start(*words, cwd=cwd, env=env, stdout=stdout), stdin)


@attrs.frozen
class Runner:
    """Runs ``gotsurge WORDS``; the user's folders are below ``home``."""

    home: Path

    def __call__(self, *words: str | Path, stdin: str | bytes | None = None, **variables: str) -> Result:
        """Run the command to its end."""
        env: dict[str, str | None] = {
            name: None for name in os.environ if name.startswith("GOTSURGE_") and name != REGISTER
        }
        env |= {f"XDG_{name}_HOME": str(self.home / name.lower()) for name in ("CONFIG", "DATA", "STATE", "CACHE")}
        env |= variables
        options: dict[str, Any] = {"input": stdin}
        return CliRunner(env=env).invoke(command, list(map(str, words)), **options)


def local(simulator: Simulator, path: str = "") -> list[str]:
    """The options that name a running simulator."""
    return ["--env", "local", "--api-base", simulator.api_base + path]


def inside(*words: str | Path, cwd: Path, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Finished:
    """What `gotsurge` does in a process of its own, in this one, which takes a tenth of the time."""
    with contextlib.chdir(cwd):
        done = Runner(cwd)(*words, stdin=stdin, **(env or {}))
    return Finished(done.exit_code, done.stdout, done.stderr)


@attrs.frozen
class Shell:
    """Runs commands against one simulator, with one ledger, as one account."""

    run: Runner
    simulator: Simulator
    folder: Path
    account: str | None = None
    database: str | None = None

    @property
    def ledger(self) -> list[str | Path]:
        """The option that names the ledger."""
        return ["--ledger", self.database or self.folder / "ledger.db"]

    @property
    def place(self) -> list[str]:
        """The options that name simulator and account."""
        return [*local(self.simulator), *(["--account", self.account] if self.account else [])]

    def push(self, *keys: str, words: tuple[str, ...] = (), **variables: str) -> tuple[Result, dict[str, Any]]:
        """Push orders; the result, and the summary."""
        file = write_orders(self.folder / "orders.csv", list(keys))
        options = [*self.ledger, "--out", self.folder / "out", *words]
        done = self.run("push", file, *self.place, *options, "--json", "--quiet", **variables)
        return done, json.loads(done.stdout)

    def push_lost(self, *keys: str, when: Any = "after", words: tuple[str, ...] = (), settle: float = 0) -> str:
        """Push orders, and lose every answer; the run. What was sent can act for ``settle`` seconds more."""
        self.simulator.order_fault(Fault(operation="tasks.create", when=when, kind="reset"))
        done, summary = self.push(*keys, words=("--mode", "direct", *words), GOTSURGE_SETTLE=str(settle))
        self.simulator.clear_faults()
        assert (done.exit_code, summary["in_doubt"]) == (3, len(keys))
        return str(summary["run"])

    def on_ledger(self, command: str, *words: str | Path) -> Result:
        """Run a command that only needs the ledger."""
        return self.run(command, *words, *self.ledger)

    def call(self, command: str, *words: str | Path) -> Result:
        """Run a command that talks to the simulator."""
        return self.run(command, *words, *self.ledger, *self.place)

    def document(self, done: Result) -> Any:
        """Standard output as JSON."""
        return json.loads(done.stdout)
