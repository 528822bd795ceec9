"""Agents, and a person who approves, over one simulator and one ledger. Commands run inside the test: that is quick."""

import abc
import asyncio
import json
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest
from mcp import Client
from mcp_types import CallToolResult, Implementation
from msgspec import structs

from gotsurge_async.cli.agents import sending, tools
from gotsurge_async.cli.agents.sending import Ran, send_approved
from gotsurge_async.cli.agents.server import ALL, Agents
from gotsurge_async.cli.agents.tools import READ, Bounds
from gotsurge_async.cli.shared.connect import Target
from gotsurge_async.database import place_of
from gotsurge_async.ledger import Ledger
from gotsurge_async.ledger.proposals import Proposal, ProposalLimits
from gotsurge_async.simulator import Simulator
from tests.support.commands import Runner, Shell, write_orders

_ONE_AT_A_TIME = threading.Lock()
START = datetime(2029, 3, 1, tzinfo=UTC)


def order(key: str = "T-1", **changes: Any) -> dict[str, Any]:
    """A good order, as the API writes it."""
    return {
        "tracking_id": key,
        "from_address": {"street_address": f"{key} Loyang Way"},
        "to_address": {"street_address": "Marina South Pier"},
        "from_time_window": {"start_time_utc": "2030-03-04T01:00:00Z", "end_time_utc": "2030-03-04T02:00:00Z"},
        "broadcast_preference": "squad",
        "vehicle_preference": "car",
        "service_type": "ftl",
        "client_time_utc": "2030-03-04T00:00:00Z",
        "price": 4_850_000,
        "currency": "SGD",
        **changes,
    }


class Turned:
    """A clock that only a test turns."""

    def __init__(self) -> None:
        self.moment = START

    def __call__(self) -> datetime:
        return self.moment


@attrs.frozen(kw_only=True)
class Office:
    """A ledger, a simulator, and what agents and people do with them.

    Attributes:
        ran: the words of each command that was run.
    """

    bounds: Bounds
    simulator: Simulator
    clock: Turned
    ran: list[list[str]] = attrs.field(factory=list)

    @property
    def ledger(self) -> Ledger:
        """The ledger."""
        return self.bounds.ledger

    @property
    def folder(self) -> Path:
        """The folder of the tables."""
        return self.bounds.folder

    @property
    def calls(self) -> dict[str, int]:
        """The calls that the simulator got, by operation."""
        return dict(self.simulator.audit()["calls"])

    @asynccontextmanager
    async def agent(
        self, *, only: Sequence[str] = (*ALL,), name: str = "robot", **options: Any
    ) -> AsyncIterator["Agent"]:
        """A client of a server with these tools."""
        server = Agents(structs.replace(self.bounds, tools=only)).server()
        async with Client(server, client_info=Implementation(name=name, version="1.0"), **options) as client:
            yield Agent(client)

    async def approve(self, name: str, by: str = "amy") -> Proposal:
        """A person approves."""
        return await send_approved(self.ledger, await self.ledger.proposals.get(name), by)


class Caller(abc.ABC):
    """What calls tools."""

    @abc.abstractmethod
    async def names(self) -> set[str]:
        """The tools that there are."""

    @abc.abstractmethod
    async def call(self, name: str, **arguments: Any) -> CallToolResult:
        """The whole answer to a call."""

    async def ask(self, name: str, **arguments: Any) -> Any:
        """The result of a call that succeeds."""
        answer = await self.call(name, **arguments)
        assert not answer.is_error, answer.content[0].text  # type: ignore[union-attr]
        return answer.structured_content["result"]

    async def propose(self, name: str, **arguments: Any) -> dict[str, Any]:
        """The proposal that a call makes."""
        (proposal,) = await self.ask(name, **arguments)
        return dict(proposal)

    async def writes(self) -> set[str]:
        """The tools that do not only read, as the server lists them: so none can be left out of a test."""
        return await self.names() - {*READ, "get_proposal"}

    async def refused(self, name: str, **arguments: Any) -> str:
        """Why a call fails."""
        answer = await self.call(name, **arguments)
        assert answer.is_error
        return str(json.loads(answer.content[0].text)["result"]["error"])  # type: ignore[union-attr]


@attrs.frozen
class Agent(Caller):
    """What calls tools by the SDK's own client."""

    client: Client

    async def names(self) -> set[str]:
        """See `Caller.names`."""
        return {tool.name for tool in (await self.client.list_tools()).tools}

    async def call(self, name: str, **arguments: Any) -> CallToolResult:
        """See `Caller.call`."""
        answer = await self.client.call_tool(name, arguments)
        assert isinstance(answer, CallToolResult)
        return answer


@asynccontextmanager
async def open_office(
    run: Runner,
    simulator: Simulator,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    account: str | None = None,
    database: str | None = None,
    **changes: Any,
) -> AsyncIterator[Office]:
    """An office; ``changes`` are those of what its agents may do."""
    ran: list[list[str]] = []
    for name in ("CONFIG", "DATA", "STATE", "CACHE"):  # the server and its commands are one user's
        monkeypatch.setenv(f"XDG_{name}_HOME", str(run.home / name.lower()))

    async def run_command(words: Sequence[str], stdin: str = "", variables: Mapping[str, str] | None = None) -> Ran:
        ran.append([*words])

        def work() -> Ran:
            with _ONE_AT_A_TIME:
                done = run(*words, stdin=stdin, **(variables or {}))
            try:
                return Ran(exit_code=done.exit_code, document=msgspec.json.decode(done.stdout))
            except msgspec.DecodeError:
                raise AssertionError(f"{words}: {done.output} {done.exception!r}") from None

        return await asyncio.to_thread(work)

    monkeypatch.setattr(tools, "run_command", run_command)
    monkeypatch.setattr(sending, "run_command", run_command)
    clock = Turned()
    place = database or str(folder / "ledger.db")
    async with await Ledger.open(place_of(place), clock=clock) as ledger:
        bounds = Bounds(
            **{
                "ledger": ledger,
                "target": Target(env="local", api_base=simulator.api_base, account=account),
                "variables": {"GOTSURGE_LEDGER": place},
                "tools": (*ALL,),
                "folder": folder,
                "limits": ProposalLimits(orders=100),
                "user": "kim",
                **changes,
            }
        )
        yield Office(bounds=bounds, simulator=simulator, clock=clock, ran=ran)


async def every_write(office: Office, shell: Shell) -> dict[str, dict[str, Any]]:
    """Arguments for each tool that proposes, over orders that a push has made; the shell is a platform partner's."""
    doubtful = await asyncio.to_thread(shell.push_lost, "T-LOST")
    _, pushed = await asyncio.to_thread(shell.push, "T-UNDO", "T-CANCEL")
    tasks = {each["tracking_id"]: each["id"] for each in office.simulator.tasks()}
    write_orders(office.folder / "more.csv", ["T-A", "T-B"])
    return {
        "create_orders": {"orders": [order("T-ONE"), order("T-TWO")]},
        "push_table": {"file": "more.csv"},
        "cancel_order": {"task": tasks["T-CANCEL"], "reason": "The ship sailed"},
        "undo_run": {"run": pushed["run"], "keys": ["T-UNDO"], "reason": "The ship sailed"},
        "resolve_order": {"run": doubtful, "key": "T-LOST", "task": tasks["T-LOST"]},
        "change_task": {"task": tasks["T-LOST"], "set": {"group_tag": "MV Example", "price": "SGD 50"}},
    }
