"""An agent that loses answers, repeats, reorders, and works in two sessions at once: one driver comes for each order.

Beside it the same agent over a server as people write them: it asks for three drivers.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp import Client
from mcp.server.lowlevel import Server

from gotsurge_async import GotSurge
from gotsurge_async.errors import UsageError
from gotsurge_async.simulator import Fault
from gotsurge_async.testing import simulated
from tests.support.commands import write_orders

from .kit import Agent, Office, order

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
REPEATS = 3
Call = Callable[[Agent], Awaitable[Any]]


def shuffled(order: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """The same order, its fields in another sequence."""
    return dict(chance.sample([*order.items()], len(order)))


async def drive(agents: list[Agent], calls: list[Call], chance: random.Random) -> None:
    """Make each call three times, in any sequence, from all sessions at once; most answers are lost."""
    work = calls * REPEATS
    chance.shuffle(work)

    async def one(call: Call, agent: Agent, patience: float) -> None:
        with anyio.move_on_after(patience):  # the client gives up, and says so
            await call(agent)

    for start in range(0, len(work), 4):
        some = work[start : start + 4]
        losses = [chance.choice((0.001, 0.02, 0.1, 60)) for _ in some]
        await asyncio.gather(*(one(call, chance.choice(agents), loss) for call, loss in zip(some, losses, strict=True)))


def calls_of(office: Office, chance: random.Random) -> list[Call]:
    """Orders one by one and together, and tables: no order in two of them."""
    write_orders(office.folder / "one.csv", ["C-1", "C-2", "C-3"])
    write_orders(office.folder / "two.csv", ["D-1"])
    lists = [["A-1"], ["A-2"], ["A-3"], ["B-1", "B-2", "B-3"]]

    def create(keys: list[str]) -> Call:
        return lambda agent: agent.call("create_orders", orders=[shuffled(order(key), chance) for key in keys])

    def push(file: str) -> Call:
        return lambda agent: agent.call("push_table", file=file)

    return [*map(create, lists), *map(push, ["one.csv", "two.csv"])]


async def approve_all(office: Office) -> None:
    """Two people approve whatever waits, at the same moment."""
    waiting = [each for each in await office.ledger.proposals.newest(50) if each.state == "proposed"]
    ended = await asyncio.gather(
        *(office.approve(each.id, by) for each in waiting for by in ("amy", "bob")), return_exceptions=True
    )
    assert all(not isinstance(each, BaseException) or isinstance(each, UsageError) for each in ended), ended


@pytest.mark.parametrize("seed", [1, 2])
async def test_one_driver_comes_for_each_order(office: Office, seed: int) -> None:
    """However often it is called, before, while and after people approve; a lost answer of GotSurge is in doubt."""
    chance = random.Random(seed)
    calls = calls_of(office, chance)
    office.simulator.order_fault(Fault(operation="tasks.create", when="after", kind="reset", times=1))
    async with office.agent() as first, office.agent(name="other", mode="legacy") as second:
        agents = [first, second]
        await drive(agents, calls, chance)
        await asyncio.gather(drive(agents, calls, chance), approve_all(office))
        for call in calls:
            await call(first)
        await approve_all(office)
        await drive(agents, calls, chance)
        proposals = await first.ask("get_proposal")
    counts = Counter(each["tracking_id"] for each in office.simulator.tasks())
    assert counts == dict.fromkeys(["A-1", "A-2", "A-3", "B-1", "B-2", "B-3", "C-1", "C-2", "C-3", "D-1"], 1)
    assert office.simulator.audit()["doubled"] == {}
    failed = [each for each in proposals if each["state"] == "failed"]
    assert failed
    assert all(each["outcome"]["in_doubt"] >= 1 for each in failed)  # it had the answer that was lost
    again = {each["digest"] for each in failed}
    assert {each["state"] for each in proposals if each["digest"] not in again} == {"done"}
    assert len({each["digest"] for each in proposals}) == len(calls)


async def test_a_naive_server_asks_for_three(office: Office) -> None:
    """The same agent, over thirty lines that call the API: every repeat is another driver."""
    async with simulated("plain", simulator=office.simulator) as gs, Client(naive(gs)) as client:
        agent = Agent(client)
        for _ in range(REPEATS):
            for key in ("A-1", "A-2"):
                await agent.call("create_orders", orders=[order(key)])
    assert office.simulator.audit()["doubled"] == {"A-1": 3, "A-2": 3}


def naive(gs: GotSurge) -> "Server[dict[str, Any]]":
    """A server as people write them: a tool is a call."""

    async def list_tools(_: Any, __: Any) -> types.ListToolsResult:
        schema = {"type": "object", "properties": {"orders": {"type": "array"}}, "required": ["orders"]}
        tool = types.Tool(name="create_orders", description="Create delivery orders.", input_schema=schema)
        return types.ListToolsResult(tools=[tool])

    async def call_tool(_: Any, call: types.CallToolRequestParams) -> types.CallToolResult:
        created = await gs.tasks.create((call.arguments or {})["orders"])
        text = json.dumps([task.id for task in created.tasks])
        return types.CallToolResult(content=[types.TextContent(type="text", text=text)])

    return Server("naive", on_list_tools=list_tools, on_call_tool=call_tool)
