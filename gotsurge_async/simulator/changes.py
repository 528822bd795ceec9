"""Recent changes, and a stream of server-sent events for them, in bounded memory for any number of slow pages."""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable

import msgspec
from aiohttp import web
from attrs import frozen

MOST_CHANGES = 1_000
MOST_STREAMS = 64
PAUSE = 0.1
"""Seconds between two messages of a stream: changes meanwhile are reported in one."""
HEARTBEAT = 15.0
"""Seconds without a change after which a stream sends a comment; so one whose page is gone is noticed."""
MOST_TASKS = 100
"""A message names at most this many tasks: where more have changed, all may have."""


@frozen
class Change:
    """A part that is another, and the task if it is about one."""

    number: int
    part: str
    task_id: str


class Changes:
    """The latest changes, numbered. A watcher names the last number it knew; if that is too old, all may be another."""

    def __init__(self) -> None:
        self._kept: deque[Change] = deque(maxlen=MOST_CHANGES)
        self._waiting: list[asyncio.Future[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waking = False
        self.number: int = 0

    def note(self, part: str, task_id: str = "") -> None:
        """Note a change. It costs next to nothing while nobody watches."""
        self.number += 1
        self._kept.append(Change(self.number, part, task_id))
        if self._waiting and not self._waking and self._loop is not None:
            self._waking = True
            self._loop.call_soon_threadsafe(self._wake)

    def since(self, number: int) -> list[Change] | None:
        """The changes after a number; None where they are not known any more, or never were."""
        if not self.number - len(self._kept) <= number <= self.number:
            return None
        return [change for change in self._kept if change.number > number]

    async def after(self, number: int) -> None:
        """Wait until there is something newer."""
        self._loop = asyncio.get_running_loop()
        waiting = self._loop.create_future()
        self._waiting.append(waiting)
        try:
            if self.number <= number:
                await waiting
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)

    def _wake(self) -> None:
        self._waking = False
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)


class Live:
    """The stream of changes.

    A message has no content, only what is another: ``{"parts": ["orders"], "tasks": ["id"]}``. Nothing is kept for a
    page that reads slowly: it gets later messages with more in each; one that has missed too much gets "all".

    Args:
        wake: called when a page begins to listen.
    """

    def __init__(self, changes: Changes, wake: Callable[[], None]) -> None:
        self._changes = changes
        self._wake = wake
        # Another simulator at the same port counts its own changes: its numbers mean something else.
        self._name = secrets.token_hex(4)
        self._streams = 0

    @property
    def position(self) -> str:
        """Where the stream is now, from where a page may continue."""
        return f"{self._name}-{self._changes.number}"

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Send what has changed since ``Last-Event-ID``, or since the query's ``since``, until the page closes."""
        if self._streams >= MOST_STREAMS:
            return web.json_response({"message": "too many pages listen already"}, status=503)
        self._wake()
        known = self._number(request.headers.get("Last-Event-ID") or request.query.get("since", ""))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        self._streams += 1
        try:
            await response.prepare(request)
            await response.write(b"retry: 1000\n\n")
            while True:
                known = await self._send(response, known)
        except ConnectionError:
            return response
        finally:
            self._streams -= 1

    async def _send(self, response: web.StreamResponse, known: int) -> int:
        """Send what is new, or wait for it; returns the number up to which the page knows all."""
        changes = self._changes.since(known)
        number = self._changes.number
        if changes == []:
            try:
                async with asyncio.timeout(HEARTBEAT):
                    await self._changes.after(known)
            except TimeoutError:
                await response.write(b": still here\n\n")
            return known
        parts = sorted({change.part for change in changes or ()})
        tasks = list(dict.fromkeys(change.task_id for change in changes or () if change.task_id))
        if changes is None or len(tasks) > MOST_TASKS:
            parts, tasks = ["all"], []
        data = msgspec.json.encode({"parts": parts, "tasks": tasks}).decode()
        await response.write(f"id: {self._name}-{number}\nevent: change\ndata: {data}\n\n".encode())
        await asyncio.sleep(PAUSE)
        return number

    def _number(self, position: str) -> int:
        """The number of a position; an unknown one leads to "all"."""
        if not position:
            return self._changes.number
        name, _, number = position.rpartition("-")
        return int(number) if name == self._name and number.isascii() and number.isdigit() and len(number) < 16 else -1
