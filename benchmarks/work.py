"""One way of doing a benchmark's work: ours, or a peer's."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, ClassVar, TypeVar

import attrs

T = TypeVar("T")

CHUNK = 20


@attrs.frozen(kw_only=True)
class Setting:
    """What a work is given.

    Attributes:
        origin: the server, as ``http://127.0.0.1:1234``; "" for work without one.
        count: units (orders, calls, pages) in a round.
        concurrency: calls in flight.
    """

    origin: str = ""
    count: int
    concurrency: int = 16

    @property
    def api_base(self) -> str:
        """What the API's paths stand on."""
        return f"{self.origin}/api/partnership/v1"


class Work(ABC):
    """Done by a process of its own: `open` once, then `run` for each round, `close` in the end.

    Attributes:
        loop: the module whose event loop it runs on.
        reads: to which depth it reads the answers, for the table.
        latencies: seconds of each call of the last round, where a work measures them.
    """

    loop: ClassVar[str] = "asyncio"
    reads: ClassVar[str] = ""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.latencies: list[float] = []
        self.facts: dict[str, Any] = {}

    async def open(self) -> None:  # noqa: B027 - not every work has something to open
        """Make ready what is not measured: orders, connections, classes."""

    async def prepare(self) -> None:  # noqa: B027
        """Make ready what a round needs for itself; not measured, either."""

    @abstractmethod
    async def run(self) -> int:
        """Do one round; gives the number of units done, each of them checked."""

    async def close(self) -> None:  # noqa: B027
        """Give back what `open` took."""


def chunks(items: Sequence[T], size: int = CHUNK) -> list[Sequence[T]]:
    """Cut a sequence into parts."""
    return [items[start : start + size] for start in range(0, len(items), size)]


async def in_parallel(items: Iterable[T], do: Callable[[T], Awaitable[int]], concurrency: int) -> int:
    """Do all, ``concurrency`` at a time, as one writes it by hand; the sum of what was done."""
    left = iter(items)

    async def some() -> int:
        done = 0
        for item in left:
            done += await do(item)
        return done

    return sum(await asyncio.gather(*(some() for _ in range(concurrency))))


def headers() -> dict[str, str]:
    """The headers of a call, for a peer's session."""
    from benchmarks.server import BEARER

    return {"Authorization": f"Bearer {BEARER}", "Content-Type": "application/json", "Accept": "application/json"}
