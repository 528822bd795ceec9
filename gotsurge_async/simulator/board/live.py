"""What changes, as server-sent events: bounded, however many pages listen and however slowly they read."""

import asyncio
import secrets

import msgspec
from aiohttp import web

from gotsurge_async.simulator.state.service import Service

MOST_STREAMS = 64
PAUSE = 0.1
"""Seconds between two messages of a stream: what happens meanwhile is told in one."""
HEARTBEAT = 15.0
"""Seconds after which a stream says that it still lives; so one whose page is gone is noticed."""
MOST_TASKS = 100
"""A message names no more tasks: where more have changed, all may have."""


class Live:
    """The stream of changes.

    A message has no content, only what is another: ``{"parts": ["orders"], "tasks": ["id"]}``. Nothing is kept for a
    page that reads slowly: it is told later, and more at once; one that has missed too much is told that all is new.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        # Another simulator at the same port counts its own changes: its numbers mean something else.
        self._name = secrets.token_hex(4)
        self._streams = 0

    @property
    def position(self) -> str:
        """Where the stream is now, as a page may go on from it."""
        return f"{self._name}-{self._service.changes.number}"

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Tell a page what has changed since ``Last-Event-ID``, or since the query's ``since``, until it is closed."""
        if self._streams >= MOST_STREAMS:
            return web.json_response({"message": "too many pages listen already"}, status=503)
        self._service.wake()
        known = self._number(request.headers.get("Last-Event-ID") or request.query.get("since", ""))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        self._streams += 1
        try:
            await response.prepare(request)
            await response.write(b"retry: 1000\n\n")
            while True:
                known = await self._tell(response, known)
        except ConnectionError:
            return response
        finally:
            self._streams -= 1

    async def _tell(self, response: web.StreamResponse, known: int) -> int:
        """Tell what is new, or wait for it; returns the number up to which the page knows all."""
        changes = self._service.changes
        found = changes.since(known)
        number = changes.number
        if found == []:
            try:
                async with asyncio.timeout(HEARTBEAT):
                    await changes.after(known)
            except TimeoutError:
                await response.write(b": still here\n\n")
            return known
        if found is None:
            parts, tasks = ["all"], []
        else:
            parts = sorted({change.part for change in found})
            tasks = list(dict.fromkeys(change.task_id for change in found if change.task_id))
            if len(tasks) > MOST_TASKS:
                parts, tasks = ["all"], []
        data = msgspec.json.encode({"parts": parts, "tasks": tasks}).decode()
        await response.write(f"id: {self._name}-{number}\nevent: change\ndata: {data}\n\n".encode())
        await asyncio.sleep(PAUSE)
        return number

    def _number(self, position: str) -> int:
        """The number of a position; one that is not ours leads to everything being told."""
        if not position:
            return self._service.changes.number
        name, _, number = position.rpartition("-")
        return int(number) if name == self._name and number.isascii() and number.isdigit() and len(number) < 16 else -1
