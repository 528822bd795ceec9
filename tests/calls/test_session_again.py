"""`gotsurge_async.calls.session`: what is tried again, and what must not be."""

import asyncio
from typing import Any

import pytest

from gotsurge_async.api.endpoints import DRAFTS_BROADCAST, TASKS_GET, Endpoint
from gotsurge_async.auth.stores import Tokens
from gotsurge_async.config import Limits, RetryPolicy
from gotsurge_async.errors import (
    BadRequest,
    CallError,
    NotFound,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    SignInNeeded,
    Unauthorized,
)
from gotsurge_async.secrets import Secret
from gotsurge_async.transports.base import MaybeSent, NothingSent, Request, Response
from gotsurge_async.transports.memory import Scripted
from tests.calls.rig import EVERY, TASK, Rig, arguments, tokens
from tests.support.orders import answer

# --- again, or not ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", EVERY, ids=lambda endpoint: endpoint.name)
async def test_what_was_not_sent_is_sent_again(endpoint: Endpoint[Any]) -> None:
    """Every operation is tried again while no connection can be made, and after the last try it is NotSent."""
    async with Rig([NothingSent("refused"), answer({})]) as rig:
        await rig.call(endpoint, **arguments(endpoint))
        assert rig.waits == [0.5]
    async with Rig([NothingSent("refused")] * 4) as rig:
        with pytest.raises(NotSent, match=rf"{endpoint.name}: refused \(4 attempts\)") as caught:
            await rig.call(endpoint, **arguments(endpoint))
        assert rig.waits == [0.5, 1.0, 2.0]
    assert caught.value.attempts == 4
    assert caught.value.status is None


@pytest.mark.parametrize(
    "then", [[NothingSent("refused")] * 3, [answer({}, 429)] * 3, [answer({}, 401)] * 2], ids=["down", "429", "401"]
)
async def test_a_lost_try_is_reported_though_the_next_ones_show_nothing(then: list[Scripted]) -> None:
    """A broadcast that may have acted is called neither unsent nor refused because of what the next tries met."""
    async with Rig([MaybeSent("lost"), *then]) as rig:
        with pytest.raises(OutcomeUnknown, match="lost"):
            await rig.call(DRAFTS_BROADCAST, **arguments(DRAFTS_BROADCAST))


@pytest.mark.parametrize("lost", [MaybeSent("the connection broke"), answer({"error": "oops"}, 500), answer({}, 408)])
@pytest.mark.parametrize("endpoint", EVERY, ids=lambda endpoint: endpoint.name)
async def test_what_may_have_been_processed_is_sent_again_only_if_that_is_safe(
    endpoint: Endpoint[Any], lost: Scripted
) -> None:
    """After a lost answer a safe operation is tried again; any other is at once OutcomeUnknown with its body."""
    safe = endpoint.replay == "safe"
    async with Rig([lost, answer({})]) as rig:
        if safe:
            await rig.call(endpoint, **arguments(endpoint))
            assert len(rig.transport.sent) == 2
            return
        with pytest.raises(OutcomeUnknown) as caught:
            await rig.call(endpoint, **arguments(endpoint))
        assert len(rig.transport.sent) == 1
    assert caught.value.body == rig.transport.sent[0].body
    assert caught.value.operation == endpoint.name
    assert caught.value.attempts == 1


@pytest.mark.parametrize(("status", "cls"), [(400, BadRequest), (404, NotFound), (422, BadRequest)])
async def test_a_refusal_is_final(status: int, cls: type[Rejected]) -> None:
    """The service's no is not asked for twice, and comes with its own words and the request's id."""
    async with Rig([answer({"message": "price is too low"}, status, x_request_id="r-7")]) as rig:
        with pytest.raises(cls) as caught:
            await rig.create()
    assert len(rig.transport.sent) == 1
    assert str(caught.value) == f"tasks.create: HTTP {status}: price is too low (request id r-7)"


async def test_seconds_of_retry_after_are_waited_in_full() -> None:
    """A 429 with seconds is waited for that long, and a little more; a create is repeated too."""
    async with Rig([answer({}, 429, Retry_After="30"), answer({"tasks": [TASK]})]) as rig:
        created = await rig.create()
        assert created.tasks[0].id == "t-1"
        assert rig.waits == [30.5]
        assert rig.clock.monotonic() == 30.5


async def test_a_limit_without_an_end_is_rate_limited() -> None:
    """After the last try, or when too long a wait is asked for, the call is RateLimited and says what was asked."""
    async with Rig([answer({}, 429)] * 4) as rig:
        with pytest.raises(RateLimited, match="too many requests") as caught:
            await rig.create()
        assert caught.value.retry_after is None
        assert caught.value.attempts == 4
    async with Rig([answer({}, 429, retry_after="61")]) as rig:
        with pytest.raises(RateLimited) as caught:
            await rig.create()
        assert caught.value.retry_after == 61.0
        assert rig.clock.monotonic() == 0


async def test_no_try_is_begun_after_the_deadline() -> None:
    """A call ends with the deadline although tries are left."""
    slow = RetryPolicy(attempts=50, base=30.0, cap=30.0, deadline=100.0)
    async with Rig([NothingSent("refused")] * 50, policy=slow) as rig:
        with pytest.raises(NotSent):
            await rig.call()
        assert rig.waits == [15.0] * 6
        assert rig.clock.monotonic() == 90.0


async def test_the_place_is_given_back_before_a_wait() -> None:
    """While a call waits for its next try, another may go."""
    async with Rig(
        [answer({}, 429, retry_after="30"), answer(TASK), answer(TASK)], limits=Limits(concurrency=1)
    ) as rig:
        waiting = asyncio.create_task(rig.session.call(TASKS_GET, path={"task_id": "slow"}))
        await rig.clock.settle()
        assert (await rig.session.call(TASKS_GET, path={"task_id": "quick"})).id == "t-1"
        await rig.clock.advance(31)
        assert (await waiting).id == "t-1"


# --- tokens -----------------------------------------------------------------------------------------------------------


async def test_a_401_is_replayed_once_with_a_new_token() -> None:
    """A token that the service refuses is renewed, and the call made again, a create too."""
    async with Rig([answer({}, 401), answer({"tasks": [TASK]})]) as rig:
        await rig.create()
    assert rig.bearers == ["planted-bearer-0", "planted-bearer-1"]
    assert rig.renewals == 1
    assert rig.transport.sent[0].body is rig.transport.sent[1].body


async def test_a_second_401_is_final() -> None:
    """When the new token is refused as well the call is Unauthorized, and no third token is fetched."""
    async with Rig([answer({"message": "who?"}, 401), answer({"message": "who?"}, 401)]) as rig:
        with pytest.raises(Unauthorized, match=r"tasks\.get: HTTP 401: who\? \(2 attempts\)"):
            await rig.call()
    assert rig.renewals == 1


async def test_a_401_without_a_refresh_token_needs_a_sign_in() -> None:
    """With a bearer token alone a 401 cannot be mended."""
    async with Rig([answer({}, 401)], signed_in=False) as rig:
        await rig.tokens.adopt(tokens("planted-bearer-0", refresh=None))
        with pytest.raises(SignInNeeded):
            await rig.call()


async def test_many_401s_are_one_renewal() -> None:
    """Calls that were refused with the same token share its renewal, and a late 401 spares the new token."""
    late = asyncio.Event()

    async def handle(request: Request) -> Response:
        if request.url.endswith("late"):
            await late.wait()
        return answer({}, 401) if request.headers["Authorization"] == "Bearer planted-bearer-0" else answer(TASK)

    async with Rig(handle) as rig:
        slow = asyncio.create_task(rig.session.call(TASKS_GET, path={"task_id": "late"}))
        await asyncio.gather(*(rig.session.call(TASKS_GET, path={"task_id": "x"}) for _ in range(10)))
        late.set()
        await slow
    assert rig.renewals == 1
    assert set(rig.bearers) == {"planted-bearer-0", "planted-bearer-1"}


@pytest.mark.parametrize(
    "refusal",
    [
        OutcomeUnknown("the service failed", operation="auth.refresh", status=500),
        NotSent("refused", operation="auth.refresh"),
        BadRequest("", operation="auth.refresh", status=404),
        RateLimited("", operation="auth.refresh", status=429),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_call_without_a_token_was_not_sent(refusal: CallError) -> None:
    """When no token can be had for it a call is NotSent, whatever became of the renewal: nothing is in doubt."""

    async def renew(_: Secret) -> Tokens:
        raise refusal

    async with Rig([], renew=renew) as rig:
        await rig.clock.advance(30 * 86_400)
        with pytest.raises(
            NotSent, match=r"tasks\.create: no token could be fetched for the request: auth\.refresh: "
        ) as caught:
            await rig.create()
    assert type(caught.value) is NotSent
    assert rig.transport.sent == []
    assert caught.value.operation == "tasks.create"


async def test_an_error_of_a_users_own_store_says_that_nothing_was_sent() -> None:
    """Whatever a store raises, a call that got no token is NotSent, with the store's error as the cause."""

    async def renew(_: Secret) -> Tokens:
        raise ConnectionError("redis is\naway")

    async with Rig([answer({}, 401)], renew=renew) as rig:
        with pytest.raises(NotSent, match=r"no token could be fetched for the request: ConnectionError\(") as caught:
            await rig.create()
    assert (caught.value.sent, type(caught.value.__cause__)) == ("nothing", ConnectionError)
    assert "\n" not in str(caught.value)


async def test_a_token_that_cannot_be_had_later_hides_no_doubt() -> None:
    """A safe call whose answer was lost, and for whose next try there is no token, is OutcomeUnknown."""

    async def renew(_: Secret) -> Tokens:
        raise NotSent("refused", operation="auth.refresh")

    async with Rig([MaybeSent("the connection broke")], renew=renew) as rig:
        await rig.clock.advance(30 * 86_400 - 60.25)
        with pytest.raises(OutcomeUnknown, match="the connection broke"):
            await rig.call()
