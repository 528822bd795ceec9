"""Workers that come and go, die, freeze, and lose their database, while they push; judged by the simulator's audit."""

import asyncio
import json
import signal

import pytest

from gotsurge_async.bulk import Mode
from gotsurge_async.simulator import Fault
from tests.fleet.kit import Fleet
from tests.support.commands import Finished
from tests.support.threads import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ORDERS = 3000
LEASE = 3


def judge(fleet: Fleet, done: Finished, count: int = ORDERS) -> dict[str, int]:
    """No order is lost or doubled, and what is said of them is so; the summary."""
    assert done.out, done
    summary: dict[str, int] = done.document
    shown = fleet.shown
    assert not [key for key, times in shown.items() if times > 1]
    assert summary["orders"] == count
    doubtful = summary["in_doubt"]
    assert summary["created"] + doubtful == count, summary
    assert summary["created"] <= len(shown) <= count
    if fleet.mode is Mode.TWO_PHASE:
        assert (doubtful, done.code) == (0, 0), done
    assert done.code == (3 if doubtful else 0), done
    return summary


async def test_workers_share_a_push(fleet: Fleet) -> None:
    """Each sends a part of it, and ends cleanly when it is told to; the queue is empty afterwards."""
    fleet.slow(0.02)
    workers = [await fleet.worker() for _ in range(3)]
    done = await fleet.pushed(await fleet.push(ORDERS))
    assert judge(fleet, done)["created"] == ORDERS

    async def told() -> bool:
        shares = await fleet.rows("SELECT orders FROM workers")
        return sum(orders for (orders,) in shares) == ORDERS and all(orders for (orders,) in shares)

    await eventually(told)
    for worker in workers:
        worker.send(signal.SIGTERM)
    assert [await worker.ended() for worker in workers] == [0, 0, 0], [worker.said for worker in workers]
    assert await fleet.rows("SELECT count(*) FROM workers") == [(0,)]
    assert await fleet.rows("SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'gotsurge.segment'") == [(0,)]
    assert all("gave everything back" in worker.said and "Traceback" not in worker.said for worker in workers)


async def test_a_database_that_restarts_is_waited_for(fleet: Fleet) -> None:
    """A crash of the server ends neither the workers nor the push; what was confirmed is there."""
    fleet.slow(0.1)
    workers = [await fleet.worker("--lease", str(LEASE)) for _ in range(2)]
    push = await fleet.push(ORDERS)
    await fleet.created(200)
    await asyncio.to_thread(fleet.server.stop, "immediate")
    await asyncio.to_thread(fleet.server.start)
    judge(fleet, await fleet.pushed(push))
    assert [worker.process.returncode for worker in workers] == [None, None]
    for worker in workers:
        worker.send(signal.SIGTERM)
    assert [await worker.ended() for worker in workers] == [0, 0], [worker.said for worker in workers]


@pytest.mark.parametrize("mode", [Mode.DIRECT])
async def test_a_database_that_stays_away_is_left_to_the_supervisor(fleet: Fleet) -> None:
    """After its patience a worker ends with a code of its own, and a worker that is started then goes on."""
    worker = await fleet.worker("--patience", "1")
    await asyncio.to_thread(fleet.server.stop, "immediate")
    try:
        assert await worker.ended() == 10, worker.said
        assert "could not be reached for" in worker.said
    finally:
        await asyncio.to_thread(fleet.server.start)
    await fleet.worker()
    assert judge(fleet, await fleet.pushed(await fleet.push(100)), 100)["created"] == 100


async def test_what_stops_one_stops_all_and_is_resumed(fleet: Fleet) -> None:
    """A limit that one worker meets ends the push for every worker, with its reason; a resume by workers goes on."""
    fleet.slow(0.05)
    for _ in range(2):
        await fleet.worker()
    operation = fleet.creates
    fleet.simulator.order_fault(Fault(operation=operation, kind="status", status=422, after_calls=10, times=40))
    done = await fleet.pushed(await fleet.push(ORDERS, "--max-errors", "0", "--on-refused-chunk", "hold"))
    assert (done.code, "orders are refused, more than the limit of 0" in done.err) == (5, True), done
    summary = done.document
    assert 0 < summary["refused"] < ORDERS
    assert summary["created"] + summary["refused"] + summary["unprocessed"] == ORDERS
    assert any("--distributed" in command for command in summary["next"])
    fleet.simulator.clear_faults()
    words = ("resume", str(summary["run"]), *fleet.place, "--distributed", "--json", "--out", "out")
    again = await fleet.command(*words)
    assert again.code == 1, again
    assert json.loads(again.out)["created"] == ORDERS - summary["refused"]
    assert not [key for key, times in fleet.shown.items() if times > 1]
