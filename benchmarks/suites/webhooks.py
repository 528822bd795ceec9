"""Benchmarks of receiving events: ours against a handler that keeps nothing, and one that inserts a row for each."""

import asyncio
import statistics
import time
from collections.abc import Mapping
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from benchmarks import pinning
from benchmarks.processes import Process, Server
from benchmarks.receivers import TOKEN
from benchmarks.rounds import quartiles
from benchmarks.suites import Size
from benchmarks.suites.calls import OURS

NAMES = {"bare": "aiohttp.web, keeps nothing", "row_each": "aiohttp.web, a row for each", "ours": OURS}
CONNECTIONS = 256
LONG_SECONDS = 60.0


class _Receiver(Process):
    """A receiver in its process."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__("benchmarks.receivers", name, str(folder))
        self.port = int(self.line())

    def counts(self) -> dict[str, float]:
        """What it used so far."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", "/_counts", b"")
            found: dict[str, float] = msgspec.json.decode(connection.getresponse().read())
            return found
        finally:
            connection.close()


def webhooks(_: Server, size: Size) -> Mapping[str, Any]:
    """Events a second into a durable inbox, beside handlers that keep nothing, or a row for each."""
    pinning.pin_client()
    units, rounds = size.units(20_000, CONNECTIONS), size.times(7)
    found: dict[str, list[tuple[float, float, list[float]]]] = {name: [] for name in NAMES}
    with TemporaryDirectory(prefix="gotsurge-bench-") as temporary, ExitStack() as stack:
        receivers = {}
        for name in NAMES:
            folder = Path(temporary) / name
            folder.mkdir()
            receivers[name] = stack.enter_context(_Receiver(name, folder))
        number = 0
        for turn in range(-1, rounds):
            for name, receiver in receivers.items():
                count = units if name != "row_each" else max(CONNECTIONS, units // 10)
                before = receiver.counts()["cpu"]
                wall, latencies = asyncio.run(_post(receiver.port, number, count))
                number += count
                cpu = receiver.counts()["cpu"] - before
                if turn >= 0:
                    found[name].append((count / wall, cpu / count, latencies))
        long = _long(receivers["ours"], min(1.0, size.scale) * LONG_SECONDS, number)
    base = [rate for rate, _, _ in found["bare"]]
    runs = [_run(NAMES[name], rounds_of, base) for name, rounds_of in found.items()]
    return {"runs": [*runs, long]}


def _run(name: str, rounds: list[tuple[float, float, list[float]]], base: list[float]) -> dict[str, Any]:
    rates = [rate for rate, _, _ in rounds]
    latencies = sorted(each for _, _, some in rounds for each in some)
    low, high = quartiles([mine / other for mine, other in zip(rates, base, strict=True)])
    return {
        "name": name,
        "events": len(latencies),
        "events_rate": statistics.median(rates),
        "share": statistics.median(mine / other for mine, other in zip(rates, base, strict=True)),
        "share_low": low,
        "share_high": high,
        "event_cpu_us": 1e6 * statistics.median(cpu for _, cpu, _ in rounds),
        "median_ms": 1e3 * statistics.median(latencies),
        "p99_ms": 1e3 * latencies[int(len(latencies) * 0.99)],
    }


def _long(receiver: _Receiver, seconds: float, number: int) -> dict[str, Any]:
    """Post for a while; how much memory there is after a quarter of it, and in the end."""
    sizes: list[float] = []
    started, first = time.monotonic(), number
    while True:
        passed = time.monotonic() - started
        if len(sizes) < int(passed / seconds * 4):
            sizes.append(receiver.counts()["mb"])
        if passed >= seconds:
            break
        asyncio.run(_post(receiver.port, number, 20 * CONNECTIONS))
        number += 20 * CONNECTIONS
    sizes.append(receiver.counts()["mb"])
    count = number - first
    return {
        "name": f"{OURS}, {seconds:.0f} s",
        "events": count,
        "events_rate": count / (time.monotonic() - started),
        "start_mb": sizes[0],
        "peak_mb": max(sizes),
    }


# --- who posts: less than an HTTP library, which would cost more than what is measured -------------------------------


class _Poster(asyncio.Protocol):
    """One connection: an event, its answer, the next event."""

    def __init__(self, numbers: "_Numbers") -> None:
        self._numbers = numbers
        self._sent = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        # An answer is small, and comes in one piece.
        assert data.startswith(b"HTTP/1.1 200 "), data[:200]
        self._numbers.latencies.append(time.perf_counter() - self._sent)
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        self._numbers.ended(error)

    def _next(self) -> None:
        assert self._transport is not None
        request = self._numbers.request()
        if request is None:
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(request)


class _Numbers:
    """What is still to be posted, by all connections."""

    def __init__(self, first: int, count: int) -> None:
        self.latencies: list[float] = []
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._next = first
        self._end = first + count
        self._open = CONNECTIONS

    def request(self) -> bytes | None:
        """The next one; None at the end."""
        if self._next == self._end:
            return None
        self._next += 1
        body = _BODY.replace(b"NUMBER", b"%012d" % self._next)
        return b"POST /webhooks/%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (
            TOKEN.encode(),
            len(body),
            body,
        )

    def ended(self, error: Exception | None) -> None:
        """A connection is closed."""
        self._open -= 1
        if error is not None and not self.over.done():
            self.over.set_exception(error)
        elif not self._open and not self.over.done():
            self.over.set_result(None)


_BODY = msgspec.json.encode(
    {
        "type": "update",
        "model_name": "Task",
        "data": {
            "id": "00000000-0000-4000-8000-NUMBER",
            "tracking_id": "SHS07-NUMBER",
            "invoice_number": "INV-NUMBER",
            "current_status": "accepted",
        },
        "updates": {"current_status": "accepted"},
        "timestamp": "2030-03-04T01:00:00Z",
    }
)


async def _post(port: int, first: int, count: int) -> tuple[float, list[float]]:
    """Post events over many connections; the seconds, and the latency of each."""
    numbers = _Numbers(first, count)
    started = time.perf_counter()
    loop = asyncio.get_running_loop()
    for _ in range(CONNECTIONS):
        await loop.create_connection(lambda: _Poster(numbers), "127.0.0.1", port)
    await numbers.over
    return time.perf_counter() - started, numbers.latencies
