"""How often each operation was called, and waiting until it was."""

import asyncio
from collections import Counter


class Calls(Counter[str]):
    """Counts calls by operation; `reached` waits for a count."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[tuple[str, int, asyncio.Event]] = []

    def note(self, operation: str) -> None:
        """Count one call."""
        self[operation] += 1
        for awaited, times, event in self._waiting:
            if awaited == operation and self[operation] >= times:
                event.set()

    async def reached(self, operation: str, times: int) -> None:
        """Wait until the operation was called that often."""
        if self[operation] >= times:
            return
        waiting = (operation, times, asyncio.Event())
        self._waiting.append(waiting)
        try:
            await waiting[2].wait()
        finally:
            self._waiting.remove(waiting)
