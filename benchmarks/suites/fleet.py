"""Many workers on one PostgreSQL: what each more brings, and what an order costs the database."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import psycopg

from benchmarks.processes import ROOT, Server
from benchmarks.server import BEARER
from benchmarks.suites import Size
from benchmarks.suites.whole import write_csv
from tests.support import postgres

LATENCY = 0.05
WORKERS = (1, 2, 3)
LOAD_NAME = "put up by gotsurge push"


def fleet(server: Server, size: Size) -> Mapping[str, Any]:
    """Orders a second, CPU, WAL and room in PostgreSQL, with one, two and three workers at 50 ms."""
    units = size.units(30_000, 20)
    found: dict[int, list[dict[str, float]]] = {number: [] for number in WORKERS}
    with TemporaryDirectory(prefix="gotsurge-bench-") as name, postgres.server() as database:
        folder = Path(name)
        write_csv(folder / "orders.csv", units)
        for turn in range(size.times(3)):
            for number in WORKERS:
                server.reset(LATENCY)
                found[number].append(_round(server, database, folder, units, number, f"fleet_{turn}_{number}"))
    base = [each["rate"] for each in found[1]]
    runs = [
        {
            "name": f"gotsurge worker, {number} of them",
            "orders": units,
            "rate": statistics.median(each["rate"] for each in rounds),
            "ratio": statistics.median(each["rate"] / one for each, one in zip(rounds, base, strict=True)),
            **{what: statistics.median(each[what] for each in rounds) for what in ("cpu", "database_us", "wal")},
        }
        for number, rounds in found.items()
    ]
    every = [each for rounds in found.values() for each in rounds]
    loaded = {what: statistics.median(each[f"load_{what}"] for each in every) for what in ("wal", "stored")}
    return {"runs": [*runs, {"name": LOAD_NAME, "orders": units, **loaded}]}


def _round(
    server: Server, database: postgres.Server, folder: Path, units: int, number: int, name: str
) -> dict[str, float]:
    url = database.create(name)
    (folder / "register.db").unlink(missing_ok=True)  # the same orders, from another ledger
    place = ["--env", "local", "--api-base", f"{server.origin}/api/partnership/v1", "--ledger", url]
    _command(folder, "db", "upgrade", "--ledger", url)
    with _workers(folder, place, number) as workers, psycopg.connect(url, autocommit=True) as asking:
        _until(lambda: _ask(asking, "SELECT count(*) FROM workers") == number, "the workers to come")
        _each(workers, SIGSTOP)  # so that what is put up can be told from what is sent
        before = _ask(asking, "SELECT pg_current_wal_lsn()")
        empty = _ask(asking, "SELECT pg_database_size(current_database())")
        push = ["push", str(folder / "orders.csv"), *place, "--mode", "direct", "--distributed", "--no-wait"]
        _command(folder, *push, "--out", str(folder / name))
        loaded = _ask(asking, "SELECT pg_current_wal_lsn()")
        stored = _ask(asking, "SELECT pg_database_size(current_database())") - empty
        client, its = _cpu(workers), _cpu(_servers(database))
        started = time.monotonic()
        _each(workers, SIGCONT)
        _until(lambda: _ask(asking, "SELECT state FROM runs") in ("done", "stopped"), "the run to end")
        seconds = time.monotonic() - started
        sent = _ask(asking, "SELECT pg_current_wal_lsn()")
        counts = server.counts()
        if counts["distinct"] != units or counts["orders"] != units:
            raise SystemExit(f"the server got something else than was to be sent: {counts}, expected {units} orders")

        def wal(last: str, first: str) -> float:
            return float(_ask(asking, f"SELECT pg_wal_lsn_diff('{last}', '{first}')")) / units

        return {
            "rate": units / seconds,
            "cpu": (_cpu(workers) - client) / units,
            "database_us": (_cpu(_servers(database)) - its) / units * 1e6,
            "wal": wal(sent, loaded),
            "load_wal": wal(loaded, before),
            "load_stored": stored / units,
        }


@contextmanager
def _workers(folder: Path, place: Sequence[str], number: int) -> Iterator[list[psutil.Process]]:
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "gotsurge_async", "worker", *place],
            cwd=ROOT,
            env=_environment(folder),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(number)
    ]
    try:
        yield [psutil.Process(each.pid) for each in started]
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(60)


def _environment(folder: Path) -> dict[str, str]:
    homes = {f"XDG_{name}_HOME": str(folder / name.lower()) for name in ("CONFIG", "DATA", "STATE", "CACHE")}
    return {**os.environ, **homes, "GOTSURGE_BEARER_TOKEN": BEARER, "GOTSURGE_REGISTER": str(folder / "register.db")}


def _command(folder: Path, *words: str) -> None:
    command = [sys.executable, "-m", "gotsurge_async", *words]
    done = subprocess.run(command, cwd=ROOT, env=_environment(folder), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"gotsurge {words[0]} ended with {done.returncode}: {done.stderr}")


def _servers(database: postgres.Server) -> list[psutil.Process]:
    """The processes of our PostgreSQL: there may be others on this machine."""
    first = psutil.Process(int((database.data / "postmaster.pid").read_text().split()[0]))
    return [first, *first.children(recursive=True)]


def _cpu(processes: Sequence[psutil.Process]) -> float:
    """Seconds that they have used; what processes of PostgreSQL used that ended meanwhile is left out."""
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


def _each(processes: Sequence[psutil.Process], number: int) -> None:
    for process in processes:
        process.send_signal(number)


def _ask(connection: "psycopg.Connection[Any]", statement: str) -> Any:
    found = connection.execute(statement.encode()).fetchone()
    return None if found is None else found[0]


def _until(is_so: Any, what: str, seconds: float = 600.0) -> None:
    late = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > late:
            raise SystemExit(f"waited in vain for {what}")
        time.sleep(0.02)
