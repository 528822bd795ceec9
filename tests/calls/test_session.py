"""`gotsurge_async.calls.session`: the only request loop: what is sent, and who may call."""

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from gotsurge_async.api.endpoints import (
    DRAFTS_BROADCAST,
    PARTNER_DETAIL,
    TASKS_CANCEL,
    TASKS_CREATE,
    TASKS_GET,
    Endpoint,
)
from gotsurge_async.api.profile import Profile
from gotsurge_async.calls.outcome import Outcome
from gotsurge_async.config import Limits
from gotsurge_async.errors import (
    ClientClosed,
    EndpointsAssumed,
    InvalidData,
    NotSent,
    RateLimited,
    SignInNeeded,
    WrongLoop,
)
from gotsurge_async.transports.base import NothingSent, Request, Response
from tests.calls.rig import BASE, EVERY, TASK, Rig, arguments
from tests.support.orders import answer

if TYPE_CHECKING:
    from gotsurge_async.transports.memory import Scripted

# --- what is sent -----------------------------------------------------------------------------------------------------


async def test_a_call_is_one_request() -> None:
    """The verb, the base and the path of the endpoint, the query, the headers and the body make one request."""
    async with Rig([answer(TASK)]) as rig:
        task = await rig.call(TASKS_GET, path={"task_id": "a/b"}, query={"page": 2, "q": "x y&z"})
    assert task.id == "t-1"
    (request,) = rig.transport.sent
    assert request == Request(
        method="GET",
        url=f"{BASE}/tasks/a%2Fb?page=2&q=x+y%26z",
        headers={
            "Accept": "application/json",
            "User-Agent": request.headers["User-Agent"],
            "Authorization": "Bearer planted-bearer-0",
        },
    )
    assert request.headers["User-Agent"].startswith("gotsurge-async/")


async def test_a_body_is_encoded_once() -> None:
    """Every try of a call sends the very same bytes."""
    script: list[Scripted] = [
        NothingSent("refused"),
        answer({}, 429),
        NothingSent("refused"),
        answer({"tasks": [TASK]}),
    ]
    async with Rig(script) as rig:
        await rig.create()
    bodies = {id(request.body) for request in rig.transport.sent}
    assert len(rig.transport.sent) == 4
    assert len(bodies) == 1
    assert {request.headers["Content-Type"] for request in rig.transport.sent} == {"application/json"}


async def test_bytes_are_taken_as_they_are() -> None:
    """A body that is JSON already is sent as it came."""
    async with Rig([answer({"tasks": []})]) as rig:
        await rig.call(TASKS_CREATE, body=b'{"tasks":[]}')
    assert rig.transport.sent[0].body == b'{"tasks":[]}'


async def test_a_body_that_is_no_json_is_refused_before_anything_is_sent() -> None:
    """What cannot be encoded is InvalidData, and no request."""
    async with Rig([]) as rig:
        with pytest.raises(InvalidData, match="cannot be written as JSON"):
            await rig.call(TASKS_CREATE, body={"x": object()})
    assert rig.transport.sent == []


async def test_a_call_without_a_bearer_needs_no_sign_in() -> None:
    """An operation that carries no token is called without one."""
    async with Rig([answer({"id": "p"})], signed_in=False) as rig:
        await rig.call(PARTNER_DETAIL, path={"signature": "c2lnbmF0dXJl"})
        with pytest.raises(SignInNeeded):
            await rig.call()
    (request,) = rig.transport.sent
    assert "Authorization" not in request.headers


# --- before and after -------------------------------------------------------------------------------------------------


async def test_before_send_is_asked_before_each_try() -> None:
    """It is called once a try, right before; what it raises ends the call with that try not sent."""
    asked: list[int] = []

    async def ask() -> None:
        asked.append(len(rig.transport.sent))
        if len(asked) == 3:
            raise PermissionError("the claim is gone")

    async with Rig([answer({}, 429), answer({}, 429), answer({"tasks": []})]) as rig:
        with pytest.raises(PermissionError, match="the claim is gone"):
            await rig.create(before_send=ask)
        assert asked == [0, 1, 2]
        assert len(rig.transport.sent) == 2
        await rig.create()  # the place in flight was given back


async def test_after_send_tells_of_every_try_that_ended() -> None:
    """It is called once a try has an outcome, and not for one that was cancelled on its way."""
    ended: list[tuple[Outcome, int | None]] = []
    hang = asyncio.Event()

    async def handle(_: Request) -> Response:
        if len(rig.transport.sent) == 2:
            await hang.wait()
        return answer({}, 429)

    async with Rig(handle) as rig:
        calling = asyncio.create_task(
            rig.session.call(TASKS_GET, path={"task_id": "x"}, after_send=lambda *outcome: ended.append(outcome))
        )
        await rig.clock.advance(10)
        assert len(rig.transport.sent) == 2
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
    assert ended == [(Outcome.RATE_LIMITED, 429)]


# --- who may call -----------------------------------------------------------------------------------------------------


async def test_a_session_is_used_between_open_and_close() -> None:
    """Before it is opened and after it is closed a call is ClientClosed, and sends nothing."""
    rig = Rig([])
    for _ in range(2):
        with pytest.raises(ClientClosed, match="use it inside `async with GotSurge"):
            await rig.session.call(TASKS_GET, path={"task_id": "x"})
        await rig.session.close()
    assert rig.transport.sent == []


async def test_a_session_belongs_to_its_loop() -> None:
    """A call from another event loop is WrongLoop."""
    async with Rig([]) as rig:
        caught: list[BaseException] = []

        def elsewhere() -> None:
            try:
                asyncio.run(rig.session.call(TASKS_GET, path={"task_id": "x"}))
            except WrongLoop as error:
                caught.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert "one client belongs to one loop" in str(caught[0])


async def test_closing_waits_for_calls_under_way() -> None:
    """Closing takes no new call, and returns when those under way have ended."""
    go_on = asyncio.Event()

    async def handle(_: Request) -> Response:
        await go_on.wait()
        return answer(TASK)

    async with Rig(handle) as rig:
        calling = asyncio.create_task(rig.session.call(TASKS_GET, path={"task_id": "x"}))
        await rig.clock.settle()
        closing = asyncio.create_task(rig.session.close())
        await rig.clock.settle()
        assert not closing.done()
        with pytest.raises(ClientClosed):
            await rig.session.call(TASKS_GET, path={"task_id": "y"})
        go_on.set()
        await closing
        assert calling.done()
        assert (await calling).id == "t-1"


async def test_closing_ends_the_wait_for_the_next_try() -> None:
    """A call that waits for its next try when the session is closed ends at once, with what became of its last."""
    async with Rig([NothingSent("refused"), answer(TASK)]) as rig:
        calling = asyncio.create_task(rig.session.call(TASKS_GET, path={"task_id": "x"}))
        await rig.clock.settle()
        assert rig.clock.sleepers
        await rig.session.close()
        with pytest.raises(NotSent, match="refused"):
            await calling
        assert not rig.clock.sleepers
        assert rig.clock.monotonic() == 0
    assert len(rig.transport.sent) == 1


async def test_a_closing_session_tries_no_call_again() -> None:
    """A call that is on its way when the session is closed has this one try."""
    go_on = asyncio.Event()

    async def handle(_: Request) -> Response:
        await go_on.wait()
        return answer({}, 429)

    async with Rig(handle) as rig:
        calling = asyncio.create_task(rig.session.call(TASKS_GET, path={"task_id": "x"}))
        await rig.clock.settle()
        closing = asyncio.create_task(rig.session.close())
        await rig.clock.settle()
        go_on.set()
        await closing
        with pytest.raises(RateLimited):
            await calling
    assert len(rig.transport.sent) == 1


async def test_a_cancelled_call_leaves_nothing_behind() -> None:
    """A call that is cancelled in flight gives back its place, and closing does not wait for it."""
    hang = asyncio.Event()

    async def handle(request: Request) -> Response:
        if request.url.endswith("slow"):
            await hang.wait()
        return answer(TASK)

    async with Rig(handle, limits=Limits(concurrency=1)) as rig:
        calling = asyncio.create_task(rig.session.call(TASKS_GET, path={"task_id": "slow"}))
        await rig.clock.settle()
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await rig.session.call(TASKS_GET, path={"task_id": "x"})


@pytest.mark.parametrize("endpoint", EVERY, ids=lambda endpoint: endpoint.name)
async def test_production_changes_nothing_on_a_guess(endpoint: Endpoint[Any]) -> None:
    """Where assumed paths are refused, exactly the operations that change something are refused until a profile
    confirms them."""
    makes = endpoint.verb != "GET" and endpoint.name != "prices.recommend"
    async with Rig([answer({})] * 2, accept_assumed=False) as rig:
        if makes:
            with pytest.raises(EndpointsAssumed, match=rf"this endpoint is a guess: {endpoint.name}: {endpoint.verb} "):
                await rig.call(endpoint, **arguments(endpoint))
            assert rig.transport.sent == []
        else:
            await rig.call(endpoint, **arguments(endpoint))
    confirmed = Profile.from_mapping({"endpoints": {endpoint.name: {"path": endpoint.path}}})
    async with Rig([answer({})], accept_assumed=False, profile=confirmed) as rig:
        await rig.call(endpoint, **arguments(endpoint))


async def test_all_that_an_operation_needs_is_checked_before_its_first_call() -> None:
    """One error names every guess; reads, and what a profile confirms, are none."""
    confirmed = Profile.from_mapping({"endpoints": {"tasks.create": {"verb": "POST"}}})
    async with Rig([], profile=confirmed, accept_assumed=False) as rig:
        rig.session.require(TASKS_CREATE, TASKS_GET)
        with pytest.raises(EndpointsAssumed) as caught:
            rig.session.require(TASKS_CREATE, DRAFTS_BROADCAST, TASKS_CANCEL, TASKS_GET)
    assert str(caught.value) == (
        "until a profile confirms them, these endpoints are guesses: "
        "platform.drafts.broadcast: POST /platform/tasks/drafts/broadcast; tasks.cancel: POST /tasks/{task_id}/cancel"
    )
    async with Rig([]) as rig:
        rig.session.require(TASKS_CREATE, DRAFTS_BROADCAST)


async def test_the_profile_says_where_to() -> None:
    """A call goes to the verb and the path that the profile names."""
    profile = Profile.from_mapping({"endpoints": {"tasks.get": {"verb": "POST", "path": "/orders/{task_id}/read"}}})
    async with Rig([answer(TASK)], profile=profile) as rig:
        await rig.call()
    assert (rig.transport.sent[0].method, rig.transport.sent[0].url) == ("POST", f"{BASE}/orders/t-1/read")
