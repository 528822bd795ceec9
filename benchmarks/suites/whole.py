"""Benchmarks of whole things: the command, the import, memory, the heartbeat, scaling."""

import csv
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs

from benchmarks import orders, pinning
from benchmarks.processes import ROOT, Server, Worker
from benchmarks.rounds import Entrant, Outcome, compete, quartiles
from benchmarks.server import BEARER
from benchmarks.suites import Size
from benchmarks.suites.calls import BY_HAND, OURS, told
from benchmarks.work import Setting

# --- the command -----------------------------------------------------------------------------------------------------


def command(server: Server, size: Size) -> Mapping[str, Any]:
    """``gotsurge push`` of a CSV with 30 columns, the whole process from its start to its end."""
    units, rounds = size.units(20_000, 20), size.times(5)
    ours: list[tuple[float, float]] = []
    base: list[float] = []
    busy: list[float] = []
    with TemporaryDirectory(prefix="gotsurge-bench-") as name:
        folder = Path(name)
        write_csv(folder / "orders.csv", units)
        setting = Setting(origin=server.origin, count=min(units, 4000))
        with Worker("benchmarks.peers.by_hand:RowDicts", setting) as by_hand:
            by_hand.round()
            push_file(server, folder / "orders.csv", folder / "warm", units)
            for number in range(rounds):
                server.reset()
                base.append(by_hand.round()["cpu"] / setting.count)
                server.reset()
                cpu, wall = push_file(server, folder / "orders.csv", folder / f"out-{number}", units)
                busy.append(server.counts()["cpu"] / wall)
                ours.append((cpu / units, wall / units))
    outcomes = [
        _outcome(BY_HAND, "whole tasks as dicts; no file read, nothing written", setting.count, base, base, []),
        _outcome("gotsurge push", COMMAND_READS, units, [cpu for cpu, _ in ours], base, busy, [w for _, w in ours]),
    ]
    return told("order", outcomes)


COMMAND_READS = "CSV parsed and checked; durable ledger; receipts; result files written; start of Python included"


def write_csv(path: Path, count: int) -> None:
    """A file of orders with 30 columns."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, orders.columns(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(orders.rows(count))


def push_file(server: Server, file: Path, out: Path, count: int) -> tuple[float, float]:
    """Run ``gotsurge push`` on a file; gives the seconds of CPU and of the wall that it took."""
    before, started = _children(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "gotsurge_async", *push_arguments(server, file, out)],
        check=False,
        capture_output=True,
        cwd=ROOT,
        env=push_variables(out),
        preexec_fn=pinning.pin_client,
    )
    wall = time.perf_counter() - started
    cpu = _children() - before
    if done.returncode or json.loads(done.stdout)["created"] != count:
        raise SystemExit(f"gotsurge push ended with {done.returncode}: {done.stdout!r} {done.stderr.decode()}")
    return cpu, wall


def push_arguments(server: Server, file: Path, out: Path) -> list[str]:
    """The words of the command that pushes a file through a new ledger."""
    words = ["push", str(file), "--env", "local", "--api-base", f"{server.origin}/api/partnership/v1"]
    return [*words, "--mode", "direct", "--ledger", str(out / "ledger.db"), "--out", str(out), "--json", "--quiet"]


def push_variables(out: Path) -> dict[str, str]:
    """Its environment."""
    return {
        **compiled(out.parent / "pyc"),
        "GOTSURGE_BEARER_TOKEN": BEARER,
        "GOTSURGE_REGISTER": str(out / "register.db"),  # each push has a ledger of its own, for the same orders
    }


def compiled(folder: Path) -> dict[str, str]:
    """The environment in which Python keeps its byte code in ``folder``: compiled once, as where it is installed."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**variables, "PYTHONPYCACHEPREFIX": str(folder)}


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _outcome(
    name: str,
    reads: str,
    units: int,
    cpu: Sequence[float],
    base: Sequence[float],
    busy: Sequence[float],
    wall: Sequence[float] = (),
) -> Outcome:
    ratios = [mine / other for mine, other in zip(cpu, base, strict=True)]
    low, high = quartiles(cpu)
    ratio_low, ratio_high = quartiles(ratios)
    middle = statistics.median(cpu)
    return Outcome(
        name=name,
        reads=reads,
        units=units,
        cpu=middle,
        spread=(high - low) / 2 / middle,
        ratio=statistics.median(ratios),
        ratio_low=ratio_low,
        ratio_high=ratio_high,
        rate=1 / statistics.median(wall or cpu),
        busy=max(busy) if busy else None,
    )


# --- the import ------------------------------------------------------------------------------------------------------

_IMPORT = """
import resource, sys
def used():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return u.ru_utime + u.ru_stime
start = used()
import {module}
print(used() - start, "aiohttp" in sys.modules, len(sys.modules))
"""


def imports(_: Server, size: Size) -> Mapping[str, Any]:
    """The time of an import in a new Python, byte code compiled before."""
    modules = ("httpx", "gotsurge_async", "aiohttp", "pydantic", "requests", "openai")
    found: dict[str, list[float]] = {module: [] for module in modules}
    facts: dict[str, Any] = {}
    with TemporaryDirectory(prefix="gotsurge-bench-") as folder:
        for number in range(-1, size.times(11)):
            for module in modules:
                done = subprocess.run(
                    [sys.executable, "-c", _IMPORT.format(module=module)],
                    check=True,
                    capture_output=True,
                    text=True,
                    cwd=ROOT,
                    env=compiled(Path(folder)),
                    preexec_fn=pinning.pin_client,
                )
                seconds, has_aiohttp, loaded = done.stdout.split()
                if number >= 0:
                    found[module].append(float(seconds))
                facts[module] = {"imports_aiohttp": has_aiohttp == "True", "modules": int(loaded)}
    base = found["httpx"]
    outcomes = [_outcome(f"import {module}", "", 1, found[module], base, []) for module in modules]
    outcomes = [attrs.evolve(each, facts=facts[module]) for each, module in zip(outcomes, modules, strict=True)]
    return told("import", outcomes)


# --- memory, and the cost against the number -------------------------------------------------------------------------


def memory(server: Server, size: Size) -> Mapping[str, Any]:
    """The most memory of a push of 10 k, 100 k and, if asked for, 1 M orders that are made one by one."""
    counts = [size.units(count, 20) for count in (1_000, 10_000, 100_000, *([1_000_000] if size.million else ()))]
    runs = []
    for name, work in (
        (OURS, "ours:Stream"),
        ("gotsurge_async, durable ledger", "ours:LedgerStream"),
        ("gotsurge_async, desk.push", "desks:DeskStream"),
    ):
        for count in counts:
            server.reset()
            with Worker(f"benchmarks.peers.{work}", Setting(origin=server.origin, count=count)) as worker:
                told_of = worker.round()
                if told_of["done"] != count:
                    raise SystemExit(f"{name}: {told_of['done']} of {count} orders were created")
            samples = told_of["facts"]["memory"]
            runs.append(
                {
                    "name": name,
                    "orders": count,
                    "start_mb": samples[0][1] / 1e6,
                    "peak_mb": max(used for _, used in samples) / 1e6,
                    "cpu": told_of["cpu"] / count,
                    "rate": count / told_of["wall"],
                    "memory": [[seconds, used / 1e6] for seconds, used in samples],
                }
            )
    return {"runs": runs}


def soak(server: Server, size: Size) -> Mapping[str, Any]:
    """Memory, tasks and descriptors of a client in 100 k calls, or 1 M if asked for, beside a server that drips."""
    count = size.units(1_000_000 if size.million else 100_000, 10)
    with Worker("benchmarks.peers.ours:Soak", Setting(origin=server.origin, count=count)) as worker:
        result = worker.round()
    if result["done"] != count:
        raise SystemExit(f"{result['done']} of {count} calls were answered")
    samples = result["facts"]["samples"]
    return {
        "runs": [
            {"name": OURS, "calls": calls, "now_mb": used / 1e6, "tasks": tasks, "descriptors": descriptors}
            for calls, used, tasks, descriptors in samples
        ]
    }


# --- the heartbeat ---------------------------------------------------------------------------------------------------


def heartbeat(server: Server, size: Size) -> Mapping[str, Any]:
    """How late a task is woken that sleeps for 5 ms, while orders are pushed."""
    runs = []
    for name, work in ((OURS, "Heartbeat"), ("gotsurge_async, durable ledger", "LedgerHeartbeat")):
        count = size.units(100_000, 20)
        server.reset()
        with Worker(f"benchmarks.peers.ours:{work}", Setting(origin=server.origin, count=count)) as worker:
            told_of = worker.round()
        runs.append({"name": name, "orders": told_of["done"], **told_of["facts"]})
    return {"runs": runs}


# --- scaling ---------------------------------------------------------------------------------------------------------

RISING = (
    Entrant("gotsurge_async, 16 in flight", "ours:SixteenPush"),
    Entrant("gotsurge_async, from 16 up to 64", "ours:Push"),
)


def rising(server: Server, size: Size) -> Mapping[str, Any]:
    """Pushes of 16 in flight and of a number that rises, where each answer takes 200 ms."""
    units, latency = size.units(16_000, 20 * 64), 0.2
    outcomes = compete(
        RISING, units=units, rounds=size.times(3), server=server, concurrency=64, latency=latency, multiple=20, warm=0
    )
    return {
        "runs": [
            {
                "name": outcome.name,
                "latency_ms": round(latency * 1000),
                "rate": outcome.rate,
                "gain": outcome.rate / outcomes[0].rate,
                "cpu": outcome.cpu,
                "busy": outcome.busy,
            }
            for outcome in outcomes
        ]
    }


SCALING = (Entrant(BY_HAND, "by_hand:Dicts"), Entrant(OURS, "ours:Push"))


def scaling(server: Server, size: Size) -> Mapping[str, Any]:
    """Orders a second against calls in flight, at three latencies of the service."""
    steps: Sequence[int] = (1, 4, 16, 64, 256) if size.scale >= 1 else (1, 4)
    runs = []
    for latency in (0.0, 0.020, 0.200):
        for concurrency in steps:
            # About a second for each round, and at least one call in each place in flight.
            calls = 64 if not latency else round(0.6 / latency) * concurrency
            units = min(max(calls, concurrency), 256) * 20
            outcomes = compete(
                SCALING,
                units=size.units(units, 20),
                rounds=size.times(2),
                server=server,
                concurrency=concurrency,
                latency=latency,
                multiple=20,
                warm=0,
            )
            runs += [
                {
                    "name": outcome.name,
                    "latency_ms": round(latency * 1000),
                    "concurrency": concurrency,
                    "rate": outcome.rate,
                    "cpu": outcome.cpu,
                    "busy": outcome.busy,
                }
                for outcome in outcomes
            ]
    return {"runs": runs}
