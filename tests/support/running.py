"""A simulator in a thread of its own, for tests that are not asynchronous themselves."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gotsurge_async.simulator import Simulator, SimulatorOptions
from gotsurge_async.simulator.state.clock import TellsTime


@contextmanager
def running_simulator(options: SimulatorOptions | None = None, clock: TellsTime | None = None) -> Iterator[Simulator]:
    """A simulator that serves inside the block; its audit and its clock may be used from here."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="simulator")
    simulator = Simulator(options=options or SimulatorOptions(), clock=clock)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(simulator.__aenter__(), loop).result(30)
        try:
            yield simulator
        finally:
            asyncio.run_coroutine_threadsafe(simulator.__aexit__(None, None, None), loop).result(30)
            asyncio.run_coroutine_threadsafe(_end_delayed(), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


async def _end_delayed() -> None:
    """End the calls that a fault still delays though their caller has long gone."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
