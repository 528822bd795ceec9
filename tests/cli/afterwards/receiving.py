"""``gotsurge receive`` as a process of its own."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs

from gotsurge_async.simulator import Simulator
from tests.support.commands import local, start

TOKEN = "token-of-the-command-1"
NEXT = "token-of-the-command-2"


@attrs.frozen
class Moment:
    """A moment of this process and of a receiver.

    Attributes:
        at: seconds by a clock that both have.
        waited: seconds for which the main thread of each has waited for a processor: other programs had them.
    """

    at: float
    waited: Sequence[float]

    def waited_until(self, end: "Moment") -> float:
        """Seconds that other programs took: the longer wait of the two, for both may have waited at the same time."""
        return max(then - now for now, then in zip(self.waited, end.waited, strict=True))

    def seconds_until(self, end: "Moment") -> float:
        """Seconds until another moment without those that other programs took."""
        return max(0.0, end.at - self.at - self.waited_until(end))


@attrs.define
class Receiving:
    """A receiver that runs.

    Attributes:
        url: without path.
        printed: what it has printed: a document for each change.
    """

    process: asyncio.subprocess.Process
    url: str
    said: list[str] = attrs.field(factory=list)
    printed: list[dict[str, Any]] = attrs.field(factory=list)
    spoke: asyncio.Event = attrs.field(factory=asyncio.Event)

    @property
    def hook(self) -> str:
        """Where events are posted."""
        return f"{self.url}/webhooks/{TOKEN}"

    def moment(self) -> Moment:
        """The present."""
        mains = [Path(f"/proc/{pid}/schedstat").read_text() for pid in ("self", self.process.pid)]
        return Moment(time.monotonic(), [int(each.split()[1]) / 1e9 for each in mains])

    async def read(self) -> None:
        """Take in what it prints, to its end."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.printed.append(json.loads(line))
            self.spoke.set()

    async def listen(self) -> None:
        """Take in what it says, to its end."""
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.said.append(line.decode())

    async def end(self, number: int = signal.SIGTERM) -> int:
        """End it; its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 30)


@asynccontextmanager
async def receiving(
    simulator: Simulator,
    folder: Path,
    *words: str,
    env: Mapping[str, str] | None = None,
    port: int = 0,
    stdout: int = asyncio.subprocess.PIPE,
) -> AsyncIterator[Receiving]:
    """A receiver of the simulator's events, with ledger and book in a folder; it is killed in the end, if it lives.

    Args:
        stdout: where it prints to; unless given, to `Receiving.printed`.
    """
    options = ["--port", str(port), "--ledger", str(folder / "ledger.db"), *local(simulator), *words]
    options += [] if "--forward-to" in words else ["--json"]
    variables = {"GOTSURGE_WEBHOOK_TOKEN": TOKEN, "GOTSURGE_WEBHOOK_TOKEN_NEXT": NEXT}
    variables |= {f"XDG_{name}_HOME": str(folder / name.lower()) for name in ("CONFIG", "DATA", "STATE", "CACHE")}
    process = await start("receive", *options, cwd=folder, env={**variables, **(env or {})}, stdout=stdout)
    assert process.stderr is not None
    said: list[str] = []
    url = ""
    while not url:
        line = (await asyncio.wait_for(process.stderr.readline(), 60)).decode()
        assert line, f"it ended: {''.join(said)}"
        said.append(line)
        if line.startswith("receiving at "):
            url = line.split()[2].partition("/webhooks/")[0]
    receiver = Receiving(process, url, said)
    reading = [asyncio.create_task(receiver.listen())]
    reading += [asyncio.create_task(receiver.read())] if process.stdout is not None else []
    try:
        yield receiver
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await asyncio.gather(*reading)
        process.stdin.close()  # type: ignore[union-attr]
