"""Sends events to a partner's webhook (section "Webhook") until one request is answered by exactly 200.

Events of one task are sent in their order, each after the first try of the one before was answered. Later tries do
not delay other events.
"""

import asyncio
import time
from binascii import crc32
from collections.abc import Iterable, Sequence
from functools import partial

import aiohttp
import msgspec

from gotsurge_async.simulator.operations.views import task_view
from gotsurge_async.simulator.state.accounts import ACCOUNTS
from gotsurge_async.simulator.state.log import Event, Try
from gotsurge_async.simulator.state.service import Service
from gotsurge_async.simulator.state.tasks import PENDING_BROADCAST, TaskRecord

LANES = 16
"""The most requests that are on their way at once."""
BACK_OFF = (5.0, 30.0, 120.0, 600.0, 3600.0)
"""Seconds of the simulator's clock between two tries; after the last one the event is not sent again."""
ANSWER_LIMIT = 2048
"""The most bytes of an answer that are read and stored."""


def event_of(service: Service, record: TaskRecord) -> Event | None:
    """The event of a task's newest status; None for new drafts."""
    status, at = record.history[-1]
    if status == PENDING_BROADCAST and len(record.history) == 1:
        return None
    holds = service.options.webhook_data
    if holds == "task":
        data: object = task_view(service, record, ACCOUNTS[record.owner], service.instant(at))
    elif holds == "id":
        data = {"id": record.id}
    else:
        written = record.written()
        names = {
            "id": record.id,
            "tracking_id": record.tracking_id,
            "invoice_number": written.invoice_number,
            "group_tag": written.group_tag,
            "current_status": status,
        }
        data = {name: value for name, value in names.items() if value}
    content = {
        "type": "update",
        "model_name": "Task",
        "data": data,
        "updates": {"current_status": status},
        "timestamp": service.instant(at),
    }
    return Event(
        number=0,
        account=record.owner,
        task_id=record.id,
        tracking_id=record.tracking_id,
        status=status,
        at=at,
        body=msgspec.json.encode(content),
        faults=service.faults.event(),
    )


class Sender:
    """Sends the events of one simulator, from its start until it is closed."""

    def __init__(self, service: Service, *, timeout: float = 10.0) -> None:
        self._service = service
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session: aiohttp.ClientSession | None = None
        self._lanes: list[asyncio.Queue[Event]] = [asyncio.Queue() for _ in range(LANES)]
        self._workers: list[asyncio.Task[None]] = []
        self._held: dict[str, list[Event]] = {}
        self._lined_up = 0

    def start(self) -> None:
        """Send events from now on, in the running loop."""
        self._loop = asyncio.get_running_loop()
        waiting = self._take_waiting()
        self._lanes = [asyncio.Queue() for _ in range(LANES)]  # the old ones may belong to another loop
        for event in waiting:
            self._enqueue(event)
        self._restart_workers()

    async def close(self) -> None:
        """Cancel requests on their way, and send nothing more."""
        self._loop = None
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.cancel()
        if workers:
            await asyncio.wait(workers)
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def reset(self) -> None:
        """Remove the events that wait, and cancel requests on their way."""
        self._held = {}
        self._take_waiting()
        for worker in self._workers:
            worker.cancel()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._restart_workers)

    def catch_up(self, ahead: float = 0.0) -> None:
        """Perform everything that is due by now, or ``ahead`` seconds later, and send its events."""
        self._service.catch_up(self._service.clock.now() + ahead)
        self.send_new()

    def send_new(self) -> None:
        """Send the events that are new since the last call."""
        self.send(self._service.take_fresh())

    def send(self, events: Iterable[Event]) -> None:
        """Send new events, subject to the faults that struck them."""
        now = self._service.clock.now()
        for event in filter(self._service.events.holds, events):  # a reset may have forgotten them meanwhile
            if event.has("lost"):
                event.state = "lost"
            elif (delayed := event.has("delay")) is not None:
                event.next_at = now + delayed.seconds
                self._service.plan(event.next_at, partial(self._line_up, event))
            elif (held := event.has("reordered")) is not None:
                self._held.setdefault(event.task_id, []).append(event)
                event.next_at = now + held.seconds
                self._service.plan(event.next_at, partial(self._release, event))
            else:
                self._line_up(event)

    async def send_early(self, events: Sequence[Event]) -> list[Event]:
        """Send the events that must come before their call's answer, and wait for their answers; returns the others."""
        early = [event for event in events if event.has("early") and not event.has("lost")]
        for event in early:
            await self._try(event)
        return [event for event in events if event not in early]

    def resend(self, number: int) -> None:
        """Send an event once more now, whatever its state; raises LookupError for an unknown one."""
        event = self._service.events.find(number)
        if event.state in ("lost", "given up"):
            event.state = "waiting"
        self._enqueue(event)

    async def settled(self) -> None:
        """Wait until no request is on its way; events for a later moment of the clock do not count."""
        lined_up = None
        while lined_up != self._lined_up:  # a receiver may cause events in lanes that were empty before
            lined_up = self._lined_up
            for lane in self._lanes:
                await lane.join()

    def _line_up(self, event: Event, _: float = 0) -> None:
        self._enqueue(event)
        if event.has("doubled"):
            self._enqueue(event)

    def _release(self, event: Event, _: float = 0) -> None:
        """Send an event that was kept back, if it still is."""
        held = self._held.get(event.task_id, [])
        if event in held:
            held.remove(event)
            if not held:
                del self._held[event.task_id]
            self._line_up(event)

    def _enqueue(self, event: Event) -> None:
        event.next_at = None
        self._lined_up += 1
        lane = self._lanes[crc32(event.task_id.encode()) % LANES]
        try:
            is_elsewhere = self._loop not in (None, asyncio.get_running_loop())
        except RuntimeError:
            is_elsewhere = self._loop is not None
        if is_elsewhere and self._loop is not None:
            self._loop.call_soon_threadsafe(lane.put_nowait, event)
        else:
            lane.put_nowait(event)

    def _take_waiting(self) -> list[Event]:
        """Empty the lanes; returns the events that no worker has taken yet."""
        waiting = []
        for lane in self._lanes:
            while not lane.empty():
                waiting.append(lane.get_nowait())
                lane.task_done()
        return waiting

    def _restart_workers(self) -> None:
        for worker in self._workers:
            worker.cancel()
        if self._loop is not None:  # it may have been closed since a reset asked for this
            self._workers = [asyncio.create_task(self._work(lane), name="webhooks") for lane in self._lanes]

    async def _work(self, lane: asyncio.Queue[Event]) -> None:
        """Send the events of a lane one after another."""
        while True:
            event = await lane.get()
            try:
                await self._try(event)
                for held in tuple(self._held.get(event.task_id, ())):
                    self._release(held)
            finally:
                lane.task_done()

    async def _try(self, event: Event) -> None:
        url = self._service.webhook_urls.get(event.account, "")
        if not url:
            event.state = "given up"
            return
        at, began = self._service.clock.now(), time.perf_counter()
        try:
            status, answer = await self._post(url, event.body)
        except TimeoutError:
            status, answer = 0, f"no answer in {self._timeout.total:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Its text may hold the URL, and with it the receiver's secret.
            status, answer = 0, type(error).__name__
        event.tries.append(Try(at, status, round(time.perf_counter() - began, 4), answer))
        if status == 200:
            event.state = "delivered"
            event.next_at = None
        elif event.state == "waiting" and event.next_at is None:
            self._plan_again(event)
        self._service.note("webhooks")

    def _plan_again(self, event: Event) -> None:
        if len(event.tries) > len(BACK_OFF):
            event.state = "given up"
            return
        event.next_at = self._service.clock.now() + BACK_OFF[len(event.tries) - 1]
        self._service.plan(event.next_at, partial(self._try_again, event))

    def _try_again(self, event: Event, _: float) -> None:
        if event.state == "waiting" and event.next_at is not None:
            self._enqueue(event)

    async def _post(self, url: str, body: bytes) -> tuple[int, str]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=self._timeout,
                headers={"Content-Type": "application/json", "User-Agent": "gotsurge-simulator"},
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        async with self._session.post(url, data=body, allow_redirects=False) as response:
            answer = await response.content.read(ANSWER_LIMIT)
            if not response.content.at_eof():
                response.close()  # the rest is nobody's business, however long it is
            return response.status, answer.decode("utf-8", "replace")
