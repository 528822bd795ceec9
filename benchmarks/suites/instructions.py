"""Instructions instead of seconds: they hardly change from run to run, however busy the machine is.

valgrind's cachegrind counts what a process executes in user mode. It counts whole processes: so each work runs twice,
with few rounds and with more of them, and the difference is what the orders between them cost.
"""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from benchmarks.processes import ROOT, Server
from benchmarks.suites import Size
from benchmarks.suites.calls import BY_HAND, LEDGER_POSTGRESQL, OURS, POSTGRESQL
from benchmarks.suites.whole import compiled, push_arguments, push_variables, write_csv
from benchmarks.work import Setting

WORKS = (
    (BY_HAND, "by_hand:Dicts", 1.0),
    (OURS, "ours:Push", 1.0),
    ("gotsurge_async, durable ledger", "ours:LedgerPush", 1.0),
    ("gotsurge_async, `tasks.create` (returns whole tasks)", "ours:Create", 0.25),
    ("openai client, generic post", "openai_client:Push", 0.25),
    ("httpx + pydantic, whole tasks", "httpx_pydantic:Create", 0.25),
)
READS = (("aiohttp + orjson by hand, a GET", "by_hand:Get"), ("gotsurge_async, `tasks.get`", "ours:Get"))
"""Single reads, by hand first."""
FEW = 1_000
"""Orders of a count that takes less than a minute; the page has these counts, too."""
CHEAP = WORKS[1:3]
PAGE = ROOT / "docs" / "performance.md"
TOLERANCE = 0.03
"""The share by which a count may differ from that in the page."""
COMMAND = "gotsurge push of a CSV, a further row"
START = "gotsurge push of one order, the whole process"
COMMAND_KEPT = """
from gotsurge_async import config
config.Timeouts.__init__.__kwdefaults__["keepalive"] = 15.0
import gotsurge_async.__main__
"""
"""The command, which keeps idle connections as long as the peers: under valgrind a quarter of a second is nothing."""
_COUNTED = re.compile(r"I +refs: +([\d,]+)")
_ROW = re.compile(r"^\| (\S[^|]*?) +\| ([\d,]+) +\| [\d.]+ +\|$", re.MULTILINE)


def instructions(server: Server, size: Size) -> Mapping[str, Any]:
    """Instructions for an order (by hand, ours, with the ledger, whole tasks, two peers, the command), and for a read.

    PostgreSQL's ledger is counted where the environment names a database for it (`POSTGRESQL`).
    """
    if which("valgrind") is None:
        raise SystemExit("instructions are counted by valgrind, which is not installed")
    units = size.units(4000, 40)
    runs: list[dict[str, Any]] = []
    with TemporaryDirectory(prefix="gotsurge-bench-") as name:
        folder = Path(name)
        for title, work, share in WORKS:
            counted = count(server, folder, work, max(40, round(units * share) // 40 * 40))
            runs.append({"name": title, "instructions": counted})
        if os.environ.get(POSTGRESQL):
            counted = count(server, folder, "ours:NewPostgresLedgerPush", units)
            runs.append({"name": LEDGER_POSTGRESQL.name, "instructions": counted})
        runs += [{"name": name, "instructions": counted} for name, counted in cheap(server, folder, size).items()]
        _command(server, folder, 1, counted=False)
        one, few, more = (_command(server, folder, rows) for rows in (1, 20, 20 + units))
        runs.append({"name": COMMAND, "instructions": (more - few) / units})
        reads = [
            {"name": title, "instructions": count(server, folder, work, size.units(1_000, 40))} for title, work in READS
        ]
    for kind in (runs, reads):
        for run in kind:
            run["by_hand"] = run["instructions"] / kind[0]["instructions"]
    return {"runs": [*runs, *reads, {"name": START, "instructions": one}]}


def cheap(server: Server, folder: Path, size: Size) -> dict[str, float]:
    """Instructions for an order of our pushes of `FEW` orders, by name."""
    return {f"{title}, {FEW:,} orders": count(server, folder, work, size.units(FEW, 40)) for title, work, _ in CHEAP}


def count(server: Server, folder: Path, work: str, orders: int) -> float:
    """Instructions for one of so many orders."""
    setting = Setting(origin=server.origin, count=orders // 2)
    _rounds(server, folder, work, setting, 0, counted=False)  # all is compiled from now on
    few, more = (_rounds(server, folder, work, setting, rounds) for rounds in (1, 3))
    return (more - few) / orders


def differences(counted: Mapping[str, float]) -> list[str]:
    """The counts that differ from those in the page by more than `TOLERANCE`, for people.

    Another Python executes other instructions: nothing is compared then.
    """
    page = PAGE.read_text(encoding="utf-8")
    if f"Python {platform.python_version()}):" not in page:
        return []
    known = {name: int(number.replace(",", "")) for name, number in _ROW.findall(page)}
    return [
        f"{name}: {number:,.0f} instructions an order, and {PAGE.name} has {known[name]:,}"
        for name, number in counted.items()
        if name in known and abs(number / known[name] - 1) > TOLERANCE
    ]


def _rounds(server: Server, folder: Path, work: str, setting: Setting, rounds: int, *, counted: bool = True) -> int:
    """The instructions of a worker that does so many rounds after a first one."""
    words = ["-m", "benchmarks.worker", f"benchmarks.peers.{work}", msgspec.json.encode(setting).decode()]
    process = subprocess.Popen(
        _python(folder, words, counted=counted),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=compiled(folder / "pyc") | {"PYTHONHASHSEED": "0"},
    )
    assert process.stdin is not None and process.stdout is not None  # noqa: PT018
    with process:
        process.stdout.readline()
        for _ in range(rounds + 1):
            server.reset()
            process.stdin.write("\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            if not answer or msgspec.json.decode(answer)["done"] != setting.count:
                raise SystemExit(f"{work} did not do its round: {answer!r}")
        process.stdin.close()
    return _read(folder) if counted else 0


def _command(server: Server, folder: Path, rows: int, *, counted: bool = True) -> int:
    """The instructions of a push of so many rows."""
    server.reset()
    out = folder / f"out-{rows}-{counted}"
    write_csv(folder / "orders.csv", rows)
    done = subprocess.run(
        _python(folder, ["-c", COMMAND_KEPT, *push_arguments(server, folder / "orders.csv", out)], counted=counted),
        check=False,
        capture_output=True,
        cwd=ROOT,
        env=push_variables(out) | {"PYTHONHASHSEED": "0"},
    )
    if done.returncode or msgspec.json.decode(done.stdout)["created"] != rows:
        raise SystemExit(f"gotsurge push ended with {done.returncode}: {done.stdout!r} {done.stderr.decode()}")
    return _read(folder) if counted else 0


def _python(folder: Path, words: Sequence[str], *, counted: bool) -> list[str]:
    if not counted:
        return [sys.executable, *words]
    options = ["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    return ["valgrind", *options, f"--log-file={folder / 'log'}", sys.executable, *words]


def _read(folder: Path) -> int:
    found = _COUNTED.search((folder / "log").read_text())
    if found is None:
        raise SystemExit(f"valgrind counted nothing: {(folder / 'log').read_text()}")
    return int(found[1].replace(",", ""))
