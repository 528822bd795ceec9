"""What the tests of the simulator share: an order that it takes, and a plain HTTP client that signs in."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import aiohttp
import msgspec

from gotsurge_async.simulator import Simulator, SimulatorOptions

START = 1_767_225_600.0
"""2026-01-01T00:00:00Z, when the clock of these tests starts."""


DRAFTS = "/platform/tasks/drafts"


class FakeTime:
    """A base clock that moves only when the test sets it."""

    def __init__(self) -> None:
        self.seconds = START

    def now(self) -> datetime:
        """The present."""
        return datetime.fromtimestamp(self.seconds, UTC)


def order(tracking_id: Any = "T-1", **changes: Any) -> dict[str, Any]:
    """An order that the simulator takes, with some fields changed; a value of ``...`` leaves the field out."""
    content = {
        "tracking_id": tracking_id,
        "invoice_number": "INV-1",
        "from_address": {"street_address": "1 Pioneer Rd", "latitude": 1.30, "longitude": 103.70},
        "from_time_window": {"start_time_utc": "2026-01-02T02:00:00Z", "end_time_utc": "2026-01-02T04:00:00Z"},
        "from_contact": {"name": "Ng", "phone": "+6581234567"},
        "to_address": {"street_address": "Marina South Pier", "latitude": 1.27, "longitude": 103.86},
        "to_time_window": {"start_time_utc": "2026-01-02T05:00:00Z", "end_time_utc": "2026-01-02T07:00:00Z"},
        "to_contact": {"name": "Master", "vessel_name": "MV EXAMPLE", "vessel_imo": 9074729},
        "broadcast_preference": "all",
        "client_time_utc": "2026-01-01T00:00:00Z",
        "client_timezone": "Asia/Singapore",
        "vehicle_preference": "van_1.7m",
        "service_type": "ftl",
        "price": 500_000,
        "currency": "SGD",
        "cargo_net_quantity": 4,
        "items": [{"name": "Rope", "quantity": 2, "weight": 12.5, "weight_unit": "kg"}],
        **changes,
    }
    return {name: value for name, value in content.items() if value is not ...}


class Answer:
    """Status, headers and body of an answer."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return msgspec.json.decode(self.body)


class Client:
    """A partner's program: plain HTTP, one bearer token."""

    def __init__(self, session: aiohttp.ClientSession, simulator: Simulator) -> None:
        self.session = session
        self.simulator = simulator
        self.token = ""
        self.refresh_token = ""

    async def call(self, verb: str, path: str, content: Any = None, **options: Any) -> Answer:
        """Call a path of the API (or of the simulator itself, when it starts with ``/_``)."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        base = self.simulator.origin if path.startswith("/_") else self.simulator.api_base
        body = content if isinstance(content, bytes) or content is None else msgspec.json.encode(content)
        async with self.session.request(verb, base + path, data=body, headers=headers, **options) as response:
            return Answer(response.status, response.headers, await response.read())

    async def sign_in(self, account: str = "plain", email: str | None = None) -> "Client":
        """Get tokens for an account, as its OrgAdmin unless an email says who."""
        keys = self.simulator.accounts[account]
        body = {
            "client_key": keys.client_key,
            "secret_key": keys.secret_key,
            "code": self.simulator.new_code(account, email),
        }
        answer = await self.call("POST", "/oauth2/token", body)
        assert answer.status == 200, answer.body
        self.token, self.refresh_token = answer.json["bearer_token"], answer.json["refresh_token"]
        return self

    async def get(self, path: str) -> Any:
        """Read what must be there."""
        answer = await self.call("GET", path)
        assert answer.status == 200, answer.body
        return answer.json

    async def draft(self, *orders: Any) -> list[str]:
        """Create drafts, as the default options answer them; their ids."""
        answer = await self.create(*orders, path="/platform/tasks/drafts")
        return [task["id"] for task in answer.json["tasks"]]

    async def status(self, task_id: str) -> Any:
        """The current status of a task."""
        return (await self.get(f"/tasks/{task_id}"))["current_status"]

    async def create(self, *orders: Any, path: str = "/tasks") -> Answer:
        """Send a create."""
        return await self.call("POST", path, {"tasks": list(orders)})


@asynccontextmanager
async def signed_in(
    account: str = "plain", options: SimulatorOptions | None = None, time: FakeTime | None = None
) -> AsyncIterator[Client]:
    """A simulator of its own with a client of an account."""
    async with (
        Simulator(options=options or SimulatorOptions(), clock=time or FakeTime()) as simulator,
        aiohttp.ClientSession() as session,
    ):
        yield await Client(session, simulator).sign_in(account)


@asynccontextmanager
async def reading(**switches: Any) -> AsyncIterator[Client]:
    """A platform partner's client of a simulator that reads the document in that way."""
    async with signed_in("platform", SimulatorOptions(**switches)) as client:
        yield client
