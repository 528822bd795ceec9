"""A push leaves the event loop to the service around it: nothing of it waits for a disk or a lock there."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from blockbuster import BlockBuster, BlockingError, blockbuster_ctx

from gotsurge_async import Created
from gotsurge_async.bulk import Ledger, Mode, Push, SourceOptions, open_source, write_results
from gotsurge_async.testing import simulated
from tests.support.order_forms import CELLS, NOW
from tests.support.orders import orders


@pytest.fixture
def guard() -> AbstractContextManager[BlockBuster]:
    """Inside it, a call of our package that blocks the loop raises.

    Allowed are the lock file of a run, made and removed once in a run, and the joining of the ledger's threads when
    they have nothing left to do.
    """

    @contextmanager
    def guarding() -> Iterator[BlockBuster]:
        # The simulator is in this process only because the test is.
        with blockbuster_ctx("gotsurge_async", excluded_modules=["gotsurge_async.simulator"]) as active:
            for function in active.functions.values():
                function.can_block_in("ledger/locks.py", {"_take", "release"})
                function.can_block_in("ledger/writer.py", "close")
                function.can_block_in("ledger/sql/store.py", "_close")
            yield active

    return guarding()


def file_of(folder: Path, count: int) -> Path:
    """A CSV of orders that pass every check."""
    path = folder / "orders.csv"
    rows = [",".join({**CELLS, "tracking_id": f"SHS-{number}"}.values()) for number in range(count)]
    path.write_text("\n".join([",".join(CELLS), *rows]) + "\n", encoding="utf-8")
    return path


async def test_a_call_that_blocks_is_found() -> None:
    """The guard of the tests below does its work: a sleep on the loop raises."""
    with blockbuster_ctx(), pytest.raises(BlockingError):
        time.sleep(0.01)  # noqa: ASYNC251 - what must be found


@pytest.mark.parametrize("mode", Mode)
async def test_a_push_with_a_ledger_never_blocks(
    mode: Mode, tmp_path: Path, guard: AbstractContextManager[BlockBuster]
) -> None:
    """Reading a file, loading, sending and writing results make no blocking call on the loop, in both modes."""
    file = file_of(tmp_path, 100)
    async with simulated("platform") as gs:
        with guard:
            async with await Ledger.open(tmp_path / "ledger.db") as ledger:
                source = await asyncio.to_thread(open_source, str(file), options=SourceOptions(now=NOW))
                push = Push(gs, ledger, mode=mode)
                run, _ = await push.load_source(source)
                async with run:
                    await push.send(run)
                    summary = await write_results(ledger, run.info, tmp_path / "out")
                source.close()
    assert summary.created == 100


async def test_a_push_without_a_ledger_never_blocks(guard: AbstractContextManager[BlockBuster]) -> None:
    """Sending a stream of orders makes no blocking call on the loop."""
    async with simulated() as gs:
        with guard:
            results = [result async for result in gs.push(orders(100))]
    assert {type(result) for result in results} == {Created}
