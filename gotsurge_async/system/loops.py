"""The event loop of the command, and its handling of signals, on every system.

Windows has two loops. Its usual one works with everything but psycopg's connections, the other one with all that we
use; but that one sleeps through a Ctrl-C until something else wakes it up. Neither has handlers of signals.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from gotsurge_async.starting import Terminated

T = TypeVar("T")

Handlers = Mapping[signal.Signals, Callable[[], object]]

WAKE_SECONDS = 0.2
"""Seconds after which a loop that sleeps through signals checks for them."""


def ending_signals() -> tuple[signal.Signals, ...]:
    """The signals by which other processes end this one: SIGTERM, and on Windows also Ctrl-Break."""
    ctrl_break = getattr(signal, "SIGBREAK", None)
    return (signal.SIGTERM, *([] if ctrl_break is None else [ctrl_break]))


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end as `asyncio.run` does, on a loop that all of our libraries work with.

    What `asyncio.run` does at Ctrl-C is done at SIGTERM too: the work is cancelled. When it has ended, Terminated is
    raised.
    """
    if not hasattr(asyncio, "ProactorEventLoop"):  # Windows' usual one
        return asyncio.run(_terminable(work))
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(_awake(_terminable(work)))


async def _terminable(work: Coroutine[Any, Any, T]) -> T:
    task, came = asyncio.current_task(), 0

    def end() -> None:
        nonlocal came
        came += 1
        if came > 1 or task is None:  # a second one waits for nothing
            raise Terminated
        task.cancel()

    heard = [each for each in ending_signals() if signal.getsignal(each) is not signal.SIG_IGN]
    try:
        with heeded(dict.fromkeys(heard, end)):
            return await work
    except asyncio.CancelledError:
        if came == 1:
            raise Terminated from None
        raise


async def _awake(work: Coroutine[Any, Any, T]) -> T:
    waking = asyncio.create_task(_wake())
    try:
        return await work
    finally:
        waking.cancel()


async def _wake() -> None:
    while True:  # noqa: ASYNC110 - to be awake is all that is wanted
        await asyncio.sleep(WAKE_SECONDS)


_heeded: ContextVar[Handlers] = ContextVar("heeded")


@contextmanager
def heeded(handlers: Handlers) -> Iterator[None]:
    """Let the running loop call handlers at some signals, inside the block.

    A block inside another one has its signals for itself; afterwards they are the outer one's again. Only the main
    thread ever hears of signals: in other threads the block has no effect.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop, outer = asyncio.get_running_loop(), _heeded.get({})
    with ExitStack() as at_end:
        at_end.callback(_heeded.reset, _heeded.set({**outer, **handlers}))
        for number, handler in handlers.items():
            before = signal.getsignal(number)
            try:
                loop.add_signal_handler(number, handler)
            except NotImplementedError:  # Windows
                signal.signal(number, _passed_on(loop, handler))
                at_end.callback(signal.signal, number, signal.SIG_DFL if before is None else before)
            else:
                at_end.callback(_give_back, loop, number, outer.get(number), before)
        yield


def _give_back(
    loop: asyncio.AbstractEventLoop, number: signal.Signals, outer: Callable[[], object] | None, before: Any
) -> None:
    if outer is not None:
        loop.add_signal_handler(number, outer)
        return
    loop.remove_signal_handler(number)
    signal.signal(number, signal.SIG_DFL if before is None else before)


def _passed_on(loop: asyncio.AbstractEventLoop, handler: Callable[[], object]) -> Callable[..., object]:
    return lambda *_: loop.call_soon_threadsafe(handler)
