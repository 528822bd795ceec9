"""Ctrl-C and SIGTERM: the first one drains, the second one aborts."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gotsurge_async.cli.shared.exits import Exit


class Interrupts:
    """Turns signals into a request to stop, and the second one into a cancellation of the running task.

    Attributes:
        code: the exit code of the first signal, None while there was none.
        on_stop: called at the first signal; without one the task is cancelled at once.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.code: Exit | None = None
        self.on_stop: Callable[[], None] | None = None
        self._say = say
        self._task = asyncio.current_task()

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Catch the signals inside the block."""
        loop = asyncio.get_running_loop()
        codes = {signal.SIGINT: Exit.INTERRUPTED, signal.SIGTERM: Exit.TERMINATED}
        for number, code in codes.items():
            loop.add_signal_handler(number, self._received, code)
        try:
            yield
        finally:
            for number in codes:
                loop.remove_signal_handler(number)

    def _received(self, code: Exit) -> None:
        first = self.code is None
        self.code = self.code or code
        if first and self.on_stop is not None:
            self._say("stopping: what is in flight is waited for; once more to abort and mark it as in doubt")
            self.on_stop()
        elif self._task is not None:
            self._task.cancel()
