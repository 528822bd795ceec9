"""Processes that are killed or frozen in the middle of a push, judged by what the simulator has."""

import asyncio
import os
import signal
from pathlib import Path
from random import Random

import pytest

from gotsurge_async.bulk import Mode
from gotsurge_async.simulator import Simulator
from tests.conftest import CRASH_SEED
from tests.crash.kit import KILLED, Experiment, bearer_token
from tests.crash.pusher import HELD, POINTS, REFUSED

KILLS = 110
"""Kills in each mode."""
CHAIN = 6
"""The most kills that one push meets."""


ONCE = ("add", "admit", "recover", "finish")
"""Boundaries that a process comes to once, or hardly more."""


def death(random: Random, mode: Mode) -> dict[str, str]:
    """Where the next process dies: at a boundary three times out of four, else at any time."""
    if random.random() < 0.25:
        return {"DIE_AFTER": f"{random.uniform(0.0, 0.25):.3f}"}
    names = [name for name in POINTS if mode is Mode.TWO_PHASE or name != "claim_broadcast"]
    name = random.choice(names)
    times = 1 if name in ONCE else random.randint(1, 6)
    return {"DIE": f"{random.choice(('before', 'after'))}-{name}:{times}"}


async def chain(experiment: Experiment, random: Random) -> int:
    """Push with one death after another, then to the end; the number of deaths."""
    kills = 0
    for _ in range(CHAIN):
        code = await experiment.run(**death(random, experiment.mode))
        assert code in (0, KILLED)
        kills += code == KILLED
    assert await experiment.run() == 0
    await experiment.judge()
    return kills


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("mode", list(Mode))
async def test_a_push_survives_every_death(tmp_path: Path, mode: Mode) -> None:
    """However often the process is killed with -9, no order is lost, none doubled, and what is unknown is named."""
    kills = started = 0
    async with Simulator() as simulator:
        token = await bearer_token(simulator)

        async def work() -> None:
            nonlocal kills, started
            while kills < KILLS:
                started += 1
                prefix = f"{mode}-{started}-"
                experiment = Experiment(simulator, token, tmp_path / f"{prefix}.db", prefix, 60, mode)
                kills += await chain(experiment, Random(f"{CRASH_SEED} {prefix}"))

        async with asyncio.TaskGroup() as group:
            for _ in range(os.cpu_count() or 1):
                group.create_task(work())
    assert kills >= KILLS


@pytest.mark.parametrize(
    "point", ["after-claim:2", "before-send:3", "after-send:2", "before-record:1", "after-record:1"]
)
@pytest.mark.parametrize("mode", list(Mode))
async def test_a_push_is_taken_up_after_a_death(tmp_path: Path, mode: Mode, point: str) -> None:
    """A process that dies at a boundary is followed by one that brings the push to its end."""
    async with Simulator() as simulator:
        experiment = Experiment(simulator, await bearer_token(simulator), tmp_path / "ledger.db", "D-", 30, mode)
        assert await experiment.run(DIE=point) == KILLED
        assert await experiment.run() == 0
        await experiment.judge()


async def test_a_blind_resend_doubles(tmp_path: Path) -> None:
    """The control: a program that sends again what was being sent when it died is caught by the same judge."""
    async with Simulator() as simulator:
        token = await bearer_token(simulator)
        experiment = Experiment(simulator, token, tmp_path / "ledger.db", "B-", 30, Mode.DIRECT)
        assert await experiment.run(DIE="before-record:2") == KILLED
        assert await experiment.run(BLIND="1") == 0
        with pytest.raises(AssertionError, match="doubled"):
            await experiment.judge()


ALONE = {"CONCURRENCY": "1"}
"""One call in flight: no other chunk is just being written, so the frozen process holds no lock of the database."""


async def stopped(process: asyncio.subprocess.Process) -> None:
    """Wait until a process is frozen."""
    await asyncio.to_thread(os.waitid, os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)


async def test_a_frozen_process_keeps_its_run(tmp_path: Path) -> None:
    """While the holder of a run is frozen, nobody else gets the run; when it wakes it goes on."""
    async with Simulator() as simulator:
        token = await bearer_token(simulator)
        experiment = Experiment(simulator, token, tmp_path / "ledger.db", "F-", 30, Mode.DIRECT)
        frozen = await experiment.start(FREEZE="after-claim:2", **ALONE)
        await stopped(frozen)
        assert await experiment.run() == HELD
        frozen.send_signal(signal.SIGCONT)
        await frozen.communicate()
        assert frozen.returncode == 0
        await experiment.judge()


async def test_a_process_that_wakes_too_late_does_not_send(tmp_path: Path) -> None:
    """A process frozen between its intent and the send, whose run another one took over, sends nothing more."""
    async with Simulator() as simulator:
        token = await bearer_token(simulator)
        experiment = Experiment(simulator, token, tmp_path / "ledger.db", "G-", 30, Mode.DIRECT)
        frozen = await experiment.start(FREEZE="after-claim:2", CLAIM_LIFE="0.3", **ALONE)
        await stopped(frozen)
        for lock in await asyncio.to_thread(lambda: list(tmp_path.glob("*.lock"))):
            lock.unlink()  # a lock can be lost: a network file system, a careless clean-up
        assert await experiment.run() == 0
        calls = simulator.audit()["calls"]["tasks.create"]
        frozen.send_signal(signal.SIGCONT)
        await frozen.communicate()
        assert frozen.returncode == REFUSED
        assert simulator.audit()["calls"]["tasks.create"] == calls
        await experiment.judge()
