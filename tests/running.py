"""A simulator in a thread of its own, for tests that are not asynchronous themselves."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gotsurge_async.simulator import Simulator, SimulatorOptions


@contextmanager
def running_simulator(options: SimulatorOptions | None = None) -> Iterator[Simulator]:
    """A simulator that serves inside the block; its audit and its clock may be used from here."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="simulator")
    simulator = Simulator(options=options or SimulatorOptions())
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(simulator.__aenter__(), loop).result(30)
        try:
            yield simulator
        finally:
            asyncio.run_coroutine_threadsafe(simulator.__aexit__(None, None, None), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
