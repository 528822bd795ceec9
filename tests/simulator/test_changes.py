"""The stream of changes."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from gotsurge_async.simulator import changes
from gotsurge_async.simulator.changes import MOST_CHANGES

from .kit import Client, order


class Stream:
    """A page that listens."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.id = ""

    async def message(self) -> Any:
        """The data of the next message."""
        data = None
        async with asyncio.timeout(60):
            while True:
                line = (await self._response.content.readline()).decode().rstrip("\n")
                if line.startswith("id: "):
                    self.id = line[4:]
                elif line.startswith("data: "):
                    data = json.loads(line[6:])
                elif not line and data is not None:
                    return data

    async def until(self, part: str) -> Any:
        """The next message about a part."""
        while part not in (found := await self.message())["parts"]:
            pass
        return found


class Listen:
    """Opens streams, and closes all of them."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.opened: list[aiohttp.ClientResponse] = []

    async def open(self, since: str = "", **headers: str) -> aiohttp.ClientResponse:
        url, query = f"{self._client.simulator.origin}/_simulator/events", {"since": since} if since else {}
        response = await self._client.session.get(url, params=query, headers=headers)
        self.opened.append(response)
        return response

    async def __call__(self, since: str = "", **headers: str) -> Stream:
        response = await self.open(since, **headers)
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        await response.content.readline()  # the retry, after which it listens
        return Stream(response)


@pytest.fixture
async def listen(plain: Client) -> AsyncIterator[Listen]:
    listen = Listen(plain)
    yield listen
    for response in listen.opened:
        response.close()


async def test_each_change_is_sent(plain: Client, listen: Listen) -> None:
    """Orders, requests, webhooks, faults and the clock: a page gets the parts that are another, and their tasks."""
    stream = await listen()
    (task,) = (await plain.create(order())).json["tasks"]
    found = await stream.until("orders")
    assert found["tasks"] == [task["id"]]
    for action, part in (
        (lambda: plain.call("POST", "/_simulator/faults", {"kind": "delay"}), "faults"),
        (lambda: plain.call("POST", "/tasks", {}), "faults"),  # it is struck, and the page shows how often
        (lambda: plain.call("POST", "/_simulator/clock", {"speed": 2}), "clock"),
        (lambda: plain.call("POST", "/_simulator/webhooks", {"url": ""}), "webhooks"),
        (lambda: plain.call("GET", "/tasks/x"), "requests"),
        (lambda: plain.call("POST", "/_simulator/reset"), "all"),
    ):
        await action()
        assert (await stream.until(part))["tasks"] == []


@pytest.mark.parametrize("how", ["header", "query"])
async def test_a_stream_goes_on_where_it_broke_off(plain: Client, listen: Listen, how: str) -> None:
    """A page that names the last change it knew, by header or by query, gets what happened since."""
    stream = await listen()
    await plain.create(order("A"))
    await stream.until("requests")
    (later,) = (await plain.create(order("B"))).json["tasks"]
    again = await (listen(**{"Last-Event-ID": stream.id}) if how == "header" else listen(since=stream.id))
    assert (await again.until("orders"))["tasks"] == [later["id"]]


@pytest.mark.parametrize("known", ["00000000-1", "x", "-1", "-", f"{'9' * 40}-{'9' * 40}"])
async def test_who_knows_something_else_has_to_look_at_everything(plain: Client, listen: Listen, known: str) -> None:
    """An id of another simulator, or none at all, is answered by: all is another."""
    stream = await listen(**{"Last-Event-ID": known})
    assert await stream.message() == {"parts": ["all"], "tasks": []}


async def test_who_missed_too_much_has_to_look_at_everything(plain: Client, listen: Listen) -> None:
    """Nothing is kept for a page that sleeps: after more changes than are remembered all is another."""
    stream = await listen()
    await plain.create(order())
    await stream.until("orders")
    for _ in range(MOST_CHANGES + 1):
        plain.simulator._service.changes.note("orders", "x")
    again = await listen(since=stream.id)
    assert await again.message() == {"parts": ["all"], "tasks": []}


async def test_many_changes_are_one_message(plain: Client, listen: Listen) -> None:
    """Where more tasks have changed than a message names, all may have."""
    stream = await listen()
    for number in range(changes.MOST_TASKS + 1):
        plain.simulator._service.changes.note("orders", f"task {number}")
    assert await stream.message() == {"parts": ["all"], "tasks": []}


async def test_a_page_that_does_not_read_costs_nothing(plain: Client, listen: Listen) -> None:
    """While a page does not read, others get their messages, the simulator answers, and nothing is kept for it."""
    await listen.open()
    stream = await listen()
    for number in range(5 * MOST_CHANGES):
        plain.simulator._service.changes.note("orders", f"task {number}")
    assert (await stream.until("all"))["parts"] == ["all"]
    assert (await plain.create(order())).status == 200
    assert len(plain.simulator._service.changes.since(0) or ()) <= MOST_CHANGES


async def test_there_is_an_end_to_pages_that_listen(
    plain: Client, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One page more than there may be is refused; when one has gone, there is room again."""
    monkeypatch.setattr(changes, "MOST_STREAMS", 1)
    monkeypatch.setattr(changes, "PAUSE", 0)
    first = await listen()
    refused = await listen.open()
    assert refused.status == 503
    first._response.close()
    async with asyncio.timeout(60):
        while True:
            plain.simulator._service.changes.note("orders")
            response = await listen.open()
            if response.status == 200:
                break


async def test_a_stream_that_is_idle_says_that_it_lives(
    plain: Client, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing happens a comment is sent now and then, so that a page that is gone is noticed."""
    monkeypatch.setattr(changes, "HEARTBEAT", 0.01)
    stream = await listen()
    async with asyncio.timeout(60):
        while await stream._response.content.readline() != b": still here\n":
            pass
