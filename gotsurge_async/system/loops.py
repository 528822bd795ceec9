"""The event loop of the command, and the signals that it heeds, on every system.

Windows has two loops. Its usual one works with everything but psycopg's connections, the other one with all that we
use; but that one sleeps through a Ctrl-C until something else wakes it up. Neither has handlers of signals.
"""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

WAKE_SECONDS = 0.2
"""After which a loop that sleeps through signals looks for them."""


def ending_signals() -> tuple[signal.Signals, ...]:
    """By which others end a process: SIGTERM, and on Windows what Ctrl-Break and service managers send."""
    ctrl_break = getattr(signal, "SIGBREAK", None)
    return (signal.SIGTERM, *([] if ctrl_break is None else [ctrl_break]))


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run something to its end as `asyncio.run` does, on a loop that all of our libraries work with."""
    if not hasattr(asyncio, "ProactorEventLoop"):  # Windows' usual one
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(_awake(work))


async def _awake(work: Coroutine[Any, Any, T]) -> T:
    waking = asyncio.create_task(_wake())
    try:
        return await work
    finally:
        waking.cancel()


async def _wake() -> None:
    while True:  # noqa: ASYNC110 - to be awake is all that is wanted
        await asyncio.sleep(WAKE_SECONDS)


@contextmanager
def heeded(handlers: Mapping[signal.Signals, Callable[[], object]]) -> Iterator[None]:
    """Have the running loop call something at each of some signals, inside the block; in the main thread only."""
    loop = asyncio.get_running_loop()
    with ExitStack() as at_end:
        for number, handler in handlers.items():
            try:
                loop.add_signal_handler(number, handler)
            except NotImplementedError:  # Windows
                before = signal.signal(number, _passed_on(loop, handler))
                at_end.callback(signal.signal, number, signal.SIG_DFL if before is None else before)
            else:
                at_end.callback(loop.remove_signal_handler, number)
        yield


def _passed_on(loop: asyncio.AbstractEventLoop, handler: Callable[[], object]) -> Callable[..., object]:
    return lambda *_: loop.call_soon_threadsafe(handler)
