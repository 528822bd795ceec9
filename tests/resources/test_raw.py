"""`gs.request`: a call that no method makes, in the same way as all others."""

import json
from typing import Any

import pytest

from gotsurge_async import Money, NotFound, NotSent, OutcomeUnknown, UsageError
from gotsurge_async.hooks import CallStarted, Event
from gotsurge_async.testing import simulated
from gotsurge_async.transports.base import MaybeSent, NothingSent
from tests.support.clients import BASE, client
from tests.support.orders import answer, order


async def test_it_is_signed_and_answered() -> None:
    """The path goes out as it is given, signed; the answer comes back whole."""
    async with client([answer({"a": 1}, 202, x_page="2")]) as (gs, transport):
        given = await gs.request("POST", "/reports/a%2Fb", query={"page": 2}, json={"of": "MV EXAMPLE"})
    (sent,) = transport.sent
    assert (sent.method, sent.url) == ("POST", f"{BASE}/reports/a%2Fb?page=2")
    assert json.loads(sent.body or b"") == {"of": "MV EXAMPLE"}
    assert sent.headers["Authorization"].startswith("Bearer ")
    assert (given.status, given.headers["x-page"], json.loads(given.body)) == (202, "2", {"a": 1})


async def test_a_model_is_written_as_the_api_has_it() -> None:
    """A model of this package is a body, too."""
    async with client([answer({})]) as (gs, transport):
        await gs.request("PUT", "/orders/1", json=order())
    assert json.loads(transport.sent[0].body or b"")["tracking_id"] == "T-1"


async def test_headers_replace_those_of_every_call_whatever_their_case() -> None:
    """A header is added, or takes the place of the usual one."""
    async with client([answer({})]) as (gs, transport):
        await gs.request("GET", "/reports", headers={"accept": "text/csv", "X-Merchant": "acme"})
    headers = transport.sent[0].headers
    assert (headers["Accept"], headers["X-Merchant"], "accept" in headers) == ("text/csv", "acme", False)


async def test_events_show_its_name_and_not_its_path() -> None:
    """A path may carry a name or a signature: hooks, logs and spans see the operation."""
    events: list[Event] = []
    async with client([answer({})]) as (gs, _):
        gs.hooks.add(events.append)
        await gs.request("GET", "/people/planted-name", operation="people.get")
    started = next(event for event in events if isinstance(event, CallStarted))
    assert (started.operation, started.path) == ("people.get", "/{path}")
    assert "planted-name" not in repr(events)


@pytest.mark.parametrize(
    ("method", "options", "tries"),
    [("GET", {}, 2), ("GET", {"repeat": False}, 1), ("POST", {}, 1), ("PUT", {"repeat": True}, 2)],
)
async def test_what_was_lost_is_repeated_only_where_it_may_be(method: str, options: Any, tries: int) -> None:
    """When an answer is lost, a GET is sent again, and anything else only if the caller says so."""
    async with client([MaybeSent("reset"), answer({})]) as (gs, transport):
        if tries == 2:
            await gs.request(method, "/reports", **options)
        else:
            with pytest.raises(OutcomeUnknown, match="request: reset"):
                await gs.request(method, "/reports", **options)
    assert len(transport.sent) == tries


async def test_its_failures_are_those_of_every_call() -> None:
    """What the service refuses, and what was not sent, are the same errors as elsewhere."""
    async with client([answer({}, 404), NothingSent("refused"), answer({})]) as (gs, _):
        with pytest.raises(NotFound, match=r"reports\.get: HTTP 404"):
            await gs.request("GET", "/reports", operation="reports.get")
        with pytest.raises(NotSent):
            await gs.with_options(retries=0).request("POST", "/reports")


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("get", "/reports", {}),
        ("TRACE", "/reports", {}),
        ("GET", "reports", {}),
        ("GET", "https://elsewhere.example/", {}),
        ("GET", "/a/../b", {}),
        ("GET", "/a?page=2", {}),
        ("GET", "/a b", {}),
        ("GET", "/a%2", {}),
        ("GET", None, {}),
        ("GET", "/a", {"authorization": "Bearer other"}),
        ("GET", "/a", {"Host": "elsewhere.example"}),
        ("POST", "/a", {"content-length": "0"}),
        ("POST", "/a", {"Transfer-Encoding": "chunked"}),
        ("POST", "/a", {"content-encoding": "gzip"}),
        ("GET", "/a", {"X A": "1"}),
        ("GET", "/a", {"X-A": "1\r\nX-B: 2"}),
        ("GET", "/a", {"X-A": 1}),
    ],
)
async def test_what_cannot_be_sent_is_refused(method: str, path: Any, headers: Any) -> None:
    """A method, path or header that cannot be is an error of the caller, and nothing is sent."""
    async with client([]) as (gs, transport):
        with pytest.raises(UsageError):
            await gs.request(method, path, headers=headers)
    assert not transport.sent


@pytest.mark.parametrize(
    "json",
    [float("nan"), {"a": [float("inf")]}, {"a": "\ud800"}, Money.of("1.00", "SGD"), object()],
    ids=["NaN", "infinity", "surrogate", "money", "object"],
)
async def test_what_json_has_no_form_for_is_refused(json: Any) -> None:
    """It is not written as something else, and nothing is sent."""
    async with client([]) as (gs, transport):
        with pytest.raises(UsageError, match="json: "):
            await gs.request("POST", "/reports", json=json)
    assert not transport.sent


@pytest.mark.parametrize("operation", ["", "a b", "é", "a" * 61, None])
async def test_an_operation_is_a_short_name(operation: Any) -> None:
    """It stands in logs and in the labels of metrics."""
    async with client([]) as (gs, transport):
        with pytest.raises(UsageError, match="operation must be a name"):
            await gs.request("GET", "/reports", operation=operation)
    assert not transport.sent


@pytest.mark.parametrize("query", [{"a": None}, {"a": 1.5}, {"a": "\ud800"}, {"\ud800": 1}])
async def test_a_query_is_of_texts_and_whole_numbers(query: Any) -> None:
    """Anything else is refused, and nothing is sent."""
    async with client([]) as (gs, transport):
        with pytest.raises(UsageError, match="query: "):
            await gs.request("GET", "/reports", query=query)
    assert not transport.sent


async def test_a_list_of_models_is_a_body() -> None:
    """Models may stand anywhere in it."""
    async with client([answer({})]) as (gs, transport):
        await gs.request("POST", "/batches", json={"tasks": [order(), order(tracking_id="T-2")]})
    assert [each["tracking_id"] for each in json.loads(transport.sent[0].body or b"")["tasks"]] == ["T-1", "T-2"]


async def test_a_profile_changes_nothing_of_it() -> None:
    """A profile names the paths of the package's own calls, also where one has the operation's name."""
    profile = {"endpoints": {"tasks.create": {"verb": "POST", "path": "/orders"}}}
    async with client([answer({})], profile=profile) as (gs, transport):
        await gs.request("GET", "/reports", operation="tasks.create")
    assert (transport.sent[0].method, transport.sent[0].url) == ("GET", f"{BASE}/reports")


async def test_it_goes_to_a_real_server() -> None:
    """Over HTTP, for the account and with the limits of its client."""
    async with simulated("platform") as gs:
        created = await gs.tasks.create([order()])
        task = created.tasks[0].id
        answered = await gs.with_options(timeout=10).request("GET", f"/tasks/{task}")
        assert json.loads(answered.body)["id"] == task
