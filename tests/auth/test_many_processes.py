"""One refresh, however many processes find the token expired: on files, SQLite and PostgreSQL, whatever befalls one."""

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest

from gotsurge_async import Credentials, Environment, GotSurge, Tokens
from gotsurge_async.auth.sealing import KEYS_VARIABLE, Sealer, new_key
from gotsurge_async.auth.sql import SqlStore
from gotsurge_async.simulator import Simulator, SimulatorOptions
from tests.auth.worker import ACCOUNT, store_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PROCESSES, COROUTINES = 8, 50
PAIRS = pytest.mark.parametrize(
    ("where", "simulator"), [("file", True), ("sqlite", False), ("postgresql", True)], indirect=True
)
"""Each store with one way to renew: the first test tries each pair, and the lock does not know the way."""
ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["file", "sqlite", "postgresql"])
async def where(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """Where the tokens are kept."""
    if request.param == "file":
        yield str(tmp_path / "tokens.json")
    elif request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'tokens.db'}"
    else:
        url = request.getfixturevalue("server")
        yield url
        store = SqlStore(url, None)
        await store.delete(ACCOUNT)
        await store.close()


@pytest.fixture(params=[False, True], ids=["kept", "rotating"])
async def simulator(request: pytest.FixtureRequest) -> AsyncIterator[Simulator]:
    async with Simulator(options=SimulatorOptions(refresh_rotation=request.param)) as simulator:
        yield simulator


@attrs.frozen
class Fleet:
    """Processes that share tokens which have ended."""

    where: str
    simulator: Simulator
    variables: dict[str, str]

    async def run(self, processes: int = PROCESSES) -> set[str]:
        """Let many go at once; the tokens that they saw."""
        async with AsyncExitStack() as stack:
            starting = [asyncio.create_task(self._start()) for _ in range(processes)]
            for task in starting:
                stack.push_async_callback(gone, await task)
            workers = [task.result() for task in starting]
            for process in workers:
                tell(process)
            return {seen for process in workers for seen in (await line(process)).split()}

    @asynccontextmanager
    async def worker(self, mode: str = "ask") -> AsyncIterator[asyncio.subprocess.Process]:
        """A process that is ready to go; it is gone at the end."""
        process = await self._start(mode)
        try:
            yield process
        finally:
            await gone(process)

    async def _start(self, mode: str = "ask") -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.auth.worker", self.where, self.simulator.api_base, mode, str(COROUTINES)),
            cwd=ROOT,
            env={**os.environ, **self.variables},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert await line(process) == "ready"
        return process

    @property
    def refreshes(self) -> int:
        """What the simulator counted."""
        refreshes: int = self.simulator.audit()["calls"].get("auth.refresh", 0)
        return refreshes


async def gone(process: asyncio.subprocess.Process) -> None:
    """Have a worker end, if it has not."""
    if process.returncode is None:
        process.kill()
    await process.wait()


async def freeze(process: asyncio.subprocess.Process, where: str) -> None:
    """Freeze a worker between two of its writes; frozen in one, it would keep SQLite locked, which nobody can mend."""
    while True:
        process.send_signal(signal.SIGSTOP)
        await asyncio.to_thread(os.waitid, os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        if not where.startswith("sqlite") or await asyncio.to_thread(can_write, where.partition("///")[2]):
            return
        process.send_signal(signal.SIGCONT)


def can_write(path: str) -> bool:
    """Whether nobody keeps a SQLite file locked."""
    connection = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()
    return True


def tell(process: asyncio.subprocess.Process) -> None:
    """Let a worker go on."""
    assert process.stdin is not None
    process.stdin.write(b"go\n")


async def line(process: asyncio.subprocess.Process) -> str:
    """What a worker says next."""
    assert process.stdout is not None
    async with asyncio.timeout(120):
        return (await process.stdout.readline()).decode().strip()


@pytest.fixture
async def fleet(where: str, simulator: Simulator) -> Fleet:
    key = new_key()
    keys = simulator.accounts["plain"]
    environment = Environment.named("local", api_base=simulator.api_base)
    credentials = Credentials(client_key=keys.client_key, secret_key=keys.secret_key)
    async with GotSurge(environment, credentials=credentials) as gs:
        tokens = await gs.oauth.exchange(simulator.new_code("plain"))
    variables = {KEYS_VARIABLE: key, "PYTHONWARNINGS": "error"}
    store = SqlStore(where, Sealer([key])) if "://" in where else store_of(where)
    await store.save(ACCOUNT, ended(tokens))
    if isinstance(store, SqlStore):
        await store.close()
    return Fleet(where, simulator, variables)


def ended(tokens: Tokens) -> Tokens:
    """The tokens, thirty days later."""
    now = datetime.now(UTC)
    return attrs.evolve(tokens, issued_at=now - timedelta(days=30), expires_at=now - timedelta(seconds=1))


async def test_a_fleet_refreshes_once(fleet: Fleet) -> None:
    """Eight processes of fifty coroutines that find the token expired at once refresh once, and all get the same."""
    assert len(await fleet.run()) == 1
    assert fleet.refreshes == 1


@PAIRS
async def test_a_killed_holder_frees_the_rest(fleet: Fleet) -> None:
    """When the process that has the lock is killed, another one refreshes within seconds."""
    async with fleet.worker("hold") as holder:
        tell(holder)
        assert await line(holder) == "held"
        holder.kill()
        async with asyncio.timeout(60):
            assert len(await fleet.run(4)) == 1
    assert fleet.refreshes == 1


@PAIRS
async def test_a_frozen_holder_frees_the_rest(fleet: Fleet) -> None:
    """When the process that has the lock is frozen, another one refreshes; woken, it takes what that one stored."""
    async with fleet.worker("hold") as holder:
        tell(holder)
        assert await line(holder) == "held"
        await freeze(holder, fleet.where)
        async with asyncio.timeout(60):
            seen = await fleet.run(4)
        assert fleet.refreshes == 1
        holder.send_signal(signal.SIGCONT)
        tell(holder)
        assert {await line(holder)} == seen
    assert fleet.refreshes == 1


@PAIRS
async def test_a_holder_that_lives_keeps_the_lock(fleet: Fleet) -> None:
    """A holder that shows that it lives is waited for, longer than a dead one would be."""
    async with fleet.worker("hold") as holder, fleet.worker() as other:
        tell(holder)
        assert await line(holder) == "held"
        tell(other)
        waiting = asyncio.ensure_future(line(other))
        done, _ = await asyncio.wait([waiting], timeout=8)
        assert not done
        assert fleet.refreshes == 0
        tell(holder)
        assert await line(holder) == await waiting
    assert fleet.refreshes == 1
