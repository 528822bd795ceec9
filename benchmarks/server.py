"""The other side of every measurement: a process that checks what it gets, and answers as GotSurge would, at once.

Not the simulator: that one keeps books, and is slower than the clients measured here. This one reads the bytes itself
(an HTTP library would cost more than the clients), checks each order's tracking id, places, windows, price and time,
counts, and answers with each order as it came and what a service adds. What it got is asked for at ``/_counts``.
"""

import asyncio
import sys
import time
from datetime import datetime
from typing import Any

import msgspec

from benchmarks import orders, pinning

BASE = "/api/partnership/v1"
BEARER = "benchmark-token"
PAGE = 200
SMALL_TASK = msgspec.json.encode(
    {
        "id": "one",  # what is asked for
        "tracking_id": "SHS07-000001",
        "current_status": "broadcasting",
        "price": 4_350_000,
        "currency": "SGD",
        "server_time": "2030-03-04T01:00:00Z",
    }
)

_ADDED: dict[str, Any] = {
    "epod": {},
    "org_id": "org-1",
    "attachments": [],
    "org_transporter": {},
    "driver": None,
    "vehicle_emissions_type": "",
    "vehicle_emissions": {},
    "client": {},
    "server_time": "2030-03-04T01:00:00Z",
    "distance_in_meters": 18_250,
    "is_urgent": False,
    "task_creation_group": "group-1",
    "current_status": "broadcasting",
    "statuses": [
        {"status": "pending_broadcast", "updated_at": "2030-03-04T01:00:00Z"},
        {"status": "broadcasting", "updated_at": "2030-03-04T01:00:01Z"},
    ],
    "platform_id": "",
    "updated_at": "2030-03-04T01:00:01Z",
    # Two that no document names: a client must not lose them.
    "dispatch_zone": "SG-W",
    "score": {"urgency": 3, "fill": 0.75},
}
_TAIL = b"," + msgspec.json.encode(_ADDED)[1:-1] + b',"id":"00000000-0000-4000-8000-'


class _Place(msgspec.Struct):
    street_address: str


class _Window(msgspec.Struct):
    start_time_utc: datetime
    end_time_utc: datetime


class _Order(msgspec.Struct):
    """What must be right in each order."""

    tracking_id: str
    from_address: _Place
    from_time_window: _Window
    to_address: _Place
    broadcast_preference: str
    vehicle_preference: str
    service_type: str
    client_time_utc: datetime
    price: int
    currency: str


class _Batch(msgspec.Struct):
    tasks: list[msgspec.Raw]


_batch = msgspec.json.Decoder(_Batch)
_order = msgspec.json.Decoder(_Order)


class Books:
    """What was received since the last reset."""

    def __init__(self) -> None:
        self.latency = 0.0
        self.reset()

    def reset(self) -> None:
        self.calls = self.orders = self.refused = 0
        self.seen: set[str] = set()
        self.cpu, self.wall = time.process_time(), time.monotonic()

    def counts(self) -> bytes:
        """As JSON; ``busy`` is the share of a core that the server used since the reset."""
        wall = time.monotonic() - self.wall
        return msgspec.json.encode(
            {
                "calls": self.calls,
                "orders": self.orders,
                "distinct": len(self.seen),
                "refused": self.refused,
                "cpu": time.process_time() - self.cpu,
                "busy": (time.process_time() - self.cpu) / wall if wall else 0.0,
            }
        )

    def create(self, body: bytes) -> bytes:
        """The answer of a create, in the order of the question."""
        number, created = self.orders, []
        for raw in _batch.decode(body).tasks:
            number += 1
            self.seen.add(_order.decode(raw).tracking_id)
            created.append(b'%b%b%012d"}' % (bytes(raw)[:-1], _TAIL, number))
        self.orders = number
        return b'{"tasks":[%b],"server_time":"2030-03-04T01:00:00Z"}' % b",".join(created)


def page_of(number: int, pages: int) -> bytes:
    """A page of whole tasks, of other orders than those that are pushed; ``pages`` of them are full."""
    texts = [text.replace(b"SHS", b"OLD", 1) for text in orders.texts(PAGE)] if number <= pages else []
    tasks = [b'%b%b%04d%08d"}' % (text[:-1], _TAIL, number, place) for place, text in enumerate(texts)]
    meta = msgspec.json.encode({"page": number, "per_page": PAGE, "total": pages * PAGE})
    return b'{"meta":%b,"tasks":[%b]}' % (meta, b",".join(tasks))


class Connection(asyncio.Protocol):
    """One client's connection: requests with a Content-Length, answered one after another."""

    def __init__(self, books: Books, pages: dict[int, bytes]) -> None:
        self._books = books
        self._pages = pages
        self._waiting = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._waiting += data
        while (end := self._waiting.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._waiting[:end]).decode("latin-1").split("\r\n")
            fields = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in head[1:])}
            whole = end + 4 + int(fields.get("content-length", 0))
            if len(self._waiting) < whole:
                return
            body = bytes(self._waiting[end + 4 : whole])
            del self._waiting[:whole]
            method, target, _ = head[0].split(" ", 2)
            self._answer(*self._handle(method, target, fields, body))

    def _handle(self, method: str, target: str, fields: dict[str, str], body: bytes) -> tuple[int, bytes, bool]:
        """Status, body, and whether it is one of the service's own calls, which take the set time."""
        books = self._books
        if target.startswith("/_"):
            return (200, self._control(target, body), False)
        books.calls += 1
        if fields.get("authorization") != f"Bearer {BEARER}":
            books.refused += 1
            return (401, b'{"message":"no token"}', True)
        path, _, query = target.removeprefix(BASE).partition("?")
        try:
            if (method, path) == ("POST", "/tasks"):
                return (200, books.create(body), True)
        except msgspec.DecodeError as error:
            books.refused += 1
            return (400, msgspec.json.encode({"message": str(error)}), True)
        if (method, path) == ("GET", "/platform/tasks"):
            asked = dict(pair.split("=", 1) for pair in query.split("&") if pair)
            return (200, self._page(int(asked.get("page", 1))), True)
        if method == "GET" and path.startswith("/tasks/"):
            return (200, SMALL_TASK, True)
        books.refused += 1
        return (404, b'{"message":"no such path"}', True)

    def _page(self, number: int) -> bytes:
        most = max(self._pages)
        return self._pages[min(number, most)]

    def _control(self, target: str, body: bytes) -> bytes:
        if target == "/_counts":
            return self._books.counts()
        if target == "/_reset":
            self._books.latency = msgspec.json.decode(body or b"{}", type=dict[str, float]).get("latency", 0.0)
            self._books.reset()
            return b"{}"
        return b"{}"  # the command asks a simulator for what this server has not

    def _answer(self, status: int, body: bytes, timed: bool) -> None:
        assert self._transport is not None
        head = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
        if timed and self._books.latency:
            asyncio.get_running_loop().call_later(self._books.latency, self._transport.write, head + body)
        else:
            self._transport.write(head + body)


PAGES = 5


async def serve() -> None:
    """Serve on a free port until standard input ends, and print the port first."""
    books = Books()
    pages = {number: page_of(number, PAGES) for number in range(1, PAGES + 2)}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(books, pages), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)  # ends with the process that started this one
    server.close()  # and not waited for: clients may still hold their idle connections


if __name__ == "__main__":
    pinning.pin_server()
    asyncio.run(serve())
