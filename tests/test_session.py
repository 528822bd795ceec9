"""`gotsurge_async.session`: the only request loop."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from email.utils import format_datetime
from random import Random
from typing import Any

import pytest

from gotsurge_async.auth.stores import MemoryStore, Tokens
from gotsurge_async.auth.tokens import TokenManager
from gotsurge_async.config import Limits, RetryPolicy
from gotsurge_async.endpoints import (
    ENDPOINTS,
    PARTNER_DETAIL,
    TASKS_CANCEL,
    TASKS_CREATE,
    TASKS_GET,
    Endpoint,
    Profile,
)
from gotsurge_async.errors import (
    BadRequest,
    CallError,
    ClientClosed,
    EndpointsAssumed,
    InvalidData,
    NotFound,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    SignInNeeded,
    Unauthorized,
    WrongLoop,
)
from gotsurge_async.hooks import CallDone, CallStarted, Event, Hooks, RequestDone, RetryPlanned
from gotsurge_async.limiter import Limiter
from gotsurge_async.models.tasks import Cancellation, Message, TaskBatch
from gotsurge_async.redact import Secret
from gotsurge_async.session import Session
from gotsurge_async.testing import ManualClock
from gotsurge_async.transports.base import MaybeSent, NothingSent, Request, Response
from gotsurge_async.transports.memory import Handler, MemoryTransport, Scripted
from tests.kit import NOW, answer, order

BASE = "https://api.example/v1"
TASK = {"id": "t-1", "tracking_id": "T-1"}
POLICY = RetryPolicy(attempts=4, base=1.0, cap=8.0, deadline=100.0, longest_retry_after=60.0)
Renew = Callable[[Secret], Awaitable[Tokens]]


def tokens(bearer: str, refresh: str | None = "planted-refresh") -> Tokens:
    """Tokens good for thirty days from `NOW`."""
    return Tokens(bearer=Secret(bearer), refresh=refresh, issued_at=NOW, expires_at=NOW + timedelta(days=30))


class NoJitter(Random):
    """Draws a half, always: each wait is half of the longest."""

    def random(self) -> float:
        return 0.5


class Rig:
    """A session on a scripted transport, with its clock and what it told."""

    def __init__(
        self,
        answers: Handler | Iterable[Scripted],
        *,
        renew: Renew | None = None,
        policy: RetryPolicy = POLICY,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        profile: Profile = Profile(),  # noqa: B008 - frozen
        create_on_assumed: bool = True,
        signed_in: bool = True,
    ) -> None:
        self.clock = ManualClock()
        self.transport = MemoryTransport(answers)
        self.events: list[Event] = []
        self.store = MemoryStore()
        self.renewals = 0
        self.signed_in = signed_in
        hooks = Hooks(self.events.append)
        self.tokens = TokenManager(self.store, renew or self.renew, clock=self.clock, hooks=hooks, policy=policy)
        self.session = Session(
            transport=self.transport,
            tokens=self.tokens,
            limiter=Limiter(limits, self.clock),
            api_base=BASE,
            profile=profile,
            policy=policy,
            hooks=hooks,
            clock=self.clock,
            create_on_assumed=create_on_assumed,
            random=NoJitter(),
        )

    async def renew(self, _: Secret) -> Tokens:
        self.renewals += 1
        return tokens(f"planted-bearer-{self.renewals}")

    async def __aenter__(self) -> "Rig":
        if self.signed_in:
            await self.tokens.adopt(tokens("planted-bearer-0"))
        self.session.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    async def call(self, endpoint: Endpoint[Any] = TASKS_GET, **options: Any) -> Any:
        """Make a call, letting time pass as it waits; a task is read unless told otherwise."""
        if endpoint is TASKS_GET:
            options.setdefault("path", {"task_id": "t-1"})
        calling = asyncio.create_task(self.session.call(endpoint, **options))
        await self.clock.settle()
        while not calling.done():
            assert self.clock.sleepers, "it waits for something else than time"
            await self.clock.advance(self.clock.sleepers[0])
        return await calling

    async def create(self, **options: Any) -> Any:
        """Create an order."""
        return await self.call(TASKS_CREATE, body=TaskBatch(tasks=(order(),)), **options)

    @property
    def waits(self) -> list[float]:
        """How long it waited before each next try."""
        return [event.wait for event in self.events if isinstance(event, RetryPlanned)]

    @property
    def bearers(self) -> list[str]:
        """The token of each request."""
        return [request.headers["Authorization"].removeprefix("Bearer ") for request in self.transport.sent]


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


# --- again, or not ----------------------------------------------------------------------------------------------------

EVERY = [endpoint for endpoint in ENDPOINTS.values() if endpoint.bearer]


def arguments(endpoint: Endpoint[Any]) -> dict[str, Any]:
    """What a call of an endpoint needs at the least."""
    names = {name: "x" for name in ("task_id", "org_id") if f"{{{name}}}" in endpoint.path}
    return {"path": names, "body": None if endpoint.request is None else b"{}", "decode": bytes}


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
    assert caught.value.sent == rig.transport.sent[0].body
    assert caught.value.operation == endpoint.name
    assert caught.value.attempts == 1


@pytest.mark.parametrize(("status", "cls"), [(400, BadRequest), (404, NotFound), (422, BadRequest), (307, BadRequest)])
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


async def test_a_date_of_retry_after_is_waited_for() -> None:
    """A 429 with an HTTP date is waited for until then, by the client's clock."""
    async with Rig([]) as rig:
        await rig.clock.advance(1000)
        date = format_datetime(rig.clock.now() + timedelta(seconds=45), usegmt=True)
        rig.transport = MemoryTransport([answer({}, 429, Retry_After=date), answer({"tasks": [TASK]})])
        rig.session._transport = rig.transport
        await rig.create()
        assert rig.waits == [45.5]


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


async def test_no_more_are_in_flight_than_the_limit() -> None:
    """However many calls are made, no more are on their way at once than the limiter allows."""
    now = most = 0

    async def handle(_: Request) -> Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        return answer(TASK)

    async with Rig(handle, limits=Limits(concurrency=3)) as rig:
        await asyncio.gather(*(rig.session.call(TASKS_GET, path={"task_id": "x"}) for _ in range(20)))
    assert most == 3


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
        with pytest.raises(NotSent, match=r"tasks\.create: no token to sign it with: auth\.refresh: ") as caught:
            await rig.create()
    assert type(caught.value) is NotSent
    assert rig.transport.sent == []
    assert caught.value.operation == "tasks.create"


async def test_a_token_that_cannot_be_had_later_hides_no_doubt() -> None:
    """A safe call whose answer was lost, and for whose next try there is no token, is OutcomeUnknown."""

    async def renew(_: Secret) -> Tokens:
        raise NotSent("refused", operation="auth.refresh")

    async with Rig([MaybeSent("the connection broke")], renew=renew) as rig:
        await rig.clock.advance(30 * 86_400 - 60.25)
        with pytest.raises(OutcomeUnknown, match="the connection broke"):
            await rig.call()


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [b"", b"<html>it works</html>", b'{"tasks":[{"id":"a"', b"[]", b'{"tasks":5}', b'{"tasks":[{"price":1}]}']
)
async def test_a_create_whose_answer_cannot_be_read_is_in_doubt(body: bytes) -> None:
    """A success that is no JSON, or not the JSON promised, says that something was done, not what."""
    async with Rig([answer(body)]) as rig:
        with pytest.raises(OutcomeUnknown) as caught:
            await rig.create()
    assert caught.value.status == 200
    assert caught.value.sent == rig.transport.sent[0].body
    assert len(rig.transport.sent) == 1


async def test_a_safe_answer_that_was_cut_is_asked_for_again() -> None:
    """Half a JSON answer to a safe call is asked for again; a whole one that is not what was promised is not."""
    async with Rig([answer(b'{"id":"t-'), answer(TASK)]) as rig:
        assert (await rig.call()).id == "t-1"
    async with Rig([answer({"name": "no task"})]) as rig:
        with pytest.raises(OutcomeUnknown, match="id: is required and missing"):
            await rig.call()


async def test_an_empty_answer_is_a_message() -> None:
    """Where a sentence is promised, an empty 204 or 200 will do."""
    for status in (200, 204):
        async with Rig([answer(None, status)]) as rig:
            done = await rig.call(TASKS_CANCEL, path={"task_id": "x"}, body=Cancellation(reason="r"))
        assert done == Message()


async def test_an_answer_may_be_read_otherwise() -> None:
    """A reader given with the call reads the answer instead of the endpoint's class."""
    async with Rig([answer(b"\x00\x01")]) as rig:
        assert await rig.call(decode=lambda body: body[::-1]) == b"\x01\x00"


async def test_an_answer_with_secrets_is_not_quoted() -> None:
    """The error for an unreadable answer to a call without a bearer token shows none of it, nor of the path."""
    async with Rig([answer({"secret_key": "planted-secret", "id": 5})]) as rig:
        with pytest.raises(OutcomeUnknown) as caught:
            await rig.call(PARTNER_DETAIL, path={"signature": "planted-signature"})
    assert "planted" not in str(caught.value)
    assert b"planted" not in caught.value.sent


async def test_an_answer_that_cannot_be_read_is_no_message() -> None:
    """A success that cannot be read is not the service's word on a fault: its content stays out of the error."""
    for content in ({"tasks": [{"name": "planted Mr Ng"}]}, b'{"tasks":[{"name":"planted'):
        async with Rig([answer(content)]) as rig:
            with pytest.raises(OutcomeUnknown) as caught:
                await rig.create()
        assert caught.value.service_message == ""
        assert "planted" not in str(caught.value)


@pytest.mark.parametrize("status", [400, 500])
async def test_a_secret_that_the_service_quotes_is_hidden(status: int) -> None:
    """A service that repeats the token or the path in its refusal does not bring it into the error."""
    text = "bad token planted-bearer-0 for /partners/planted%2Fsignature planted/signature"
    async with Rig([answer({"message": text}, status)] * 8) as rig:
        with pytest.raises(CallError) as caught:
            await rig.create()
        assert "planted-bearer" not in str(caught.value)
        with pytest.raises(CallError) as caught:
            await rig.call(PARTNER_DETAIL, path={"signature": "planted/signature"})
    assert "planted/sig" not in str(caught.value)
    assert "planted%2Fsig" not in str(caught.value)


# --- before and after -------------------------------------------------------------------------------------------------


async def test_before_send_is_asked_before_each_try() -> None:
    """It is called once a try, right before; what it raises ends the call with that try not sent."""
    asked: list[int] = []

    def ask() -> None:
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
    ended: list[int] = []
    hang = asyncio.Event()

    async def handle(_: Request) -> Response:
        if len(rig.transport.sent) == 2:
            await hang.wait()
        return answer({}, 429)

    async with Rig(handle) as rig:
        calling = asyncio.create_task(
            rig.session.call(TASKS_GET, path={"task_id": "x"}, after_send=lambda: ended.append(1))
        )
        await rig.clock.advance(10)
        assert len(rig.transport.sent) == 2
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
    assert ended == [1]


# --- recording --------------------------------------------------------------------------------------------------------


async def test_recording_notes_every_answer() -> None:
    """All answers of a call are noted, those of refused tries too, the last one last."""
    async with Rig([answer({}, 429, x_a="1"), MaybeSent("lost"), answer(TASK, x_a="2")]) as rig:
        with rig.session.recording() as answers:
            await rig.call()
        assert [(each.status, each.headers["x-a"]) for each in answers] == [(429, "1"), (200, "2")]


async def test_two_recordings_do_not_mix() -> None:
    """Tasks that record at the same time each note their own answers, and an outer block those of the inner one."""

    async def handle(request: Request) -> Response:
        await asyncio.sleep(0)
        return answer(TASK | {"id": request.url.rpartition("/")[2]})

    async def record(name: str) -> list[str]:
        with rig.session.recording() as answers:
            for number in range(3):
                await rig.session.call(TASKS_GET, path={"task_id": f"{name}{number}"})
            return [each.body.decode() for each in answers]

    async with Rig(handle) as rig:
        with rig.session.recording() as all_answers:
            a, b = await asyncio.gather(record("a"), record("b"))
            await rig.session.call(TASKS_GET, path={"task_id": "c"})
        await rig.session.call(TASKS_GET, path={"task_id": "d"})
    assert len(a) == len(b) == 3
    assert all('"id":"a' in each for each in a)
    assert all('"id":"b' in each for each in b)
    assert len(all_answers) == 7


# --- telling ----------------------------------------------------------------------------------------------------------


async def test_hooks_are_told_of_every_try() -> None:
    """A call tells of its start, each try, each planned wait and its end, under one number."""
    script: list[Scripted] = [
        MaybeSent("the connection broke"),
        answer({}, 429, retry_after="3"),
        answer(TASK, x_request_id="r-9"),
    ]
    async with Rig(script) as rig:
        await rig.call()
    started, *between, done = rig.events
    assert isinstance(started, CallStarted)
    assert (started.operation, started.method, started.path, started.server) == (
        "tasks.get",
        "GET",
        "/tasks/{task_id}",
        "https://api.example",
    )
    assert done == CallDone(call=started.call, operation="tasks.get", seconds=4.5, error="")
    assert [type(event) for event in between] == [RequestDone, RetryPlanned, RequestDone, RetryPlanned, RequestDone]
    tries = [event for event in between if isinstance(event, RequestDone)]
    assert [(each.attempt, each.status, each.reason, each.request_id) for each in tries] == [
        (1, None, "the connection broke", None),
        (2, 429, "", None),
        (3, 200, "", "r-9"),
    ]
    retries = [event for event in between if isinstance(event, RetryPlanned)]
    assert [(each.attempt, each.wait, each.reason) for each in retries] == [
        (1, 0.5, "the connection broke"),
        (2, 4.0, "HTTP 429"),
    ]
    assert {each.call for each in tries} == {each.call for each in retries} == {started.call}


async def test_a_failed_call_tells_its_error() -> None:
    """The end of a call names the class of its error."""
    async with Rig([answer({}, 404)]) as rig:
        with pytest.raises(NotFound):
            await rig.call()
    assert isinstance(rig.events[-1], CallDone)
    assert rig.events[-1].error == "NotFound"


async def test_logs_hold_no_secret_and_no_body(caplog: pytest.LogCaptureFixture) -> None:
    """At the finest level a request is one line without token, path, body or answer, whatever becomes of it."""
    caplog.set_level(logging.DEBUG)
    script: list[Scripted] = [
        NothingSent("refused"),
        answer({"note": "planted-answer"}, 429),
        answer({"note": "planted-answer"}, 401),
        answer({"tasks": [{"id": "planted-id"}]}),
        answer(b'{"planted-half'),
        answer({"id": "planted-id", "secret_key": "planted-secret"}),
        answer({"message": "planted-answer"}, 400),
    ]
    async with Rig(script) as rig:
        await rig.call(TASKS_CREATE, body=TaskBatch(tasks=(order("planted-order"),)))
        await rig.call(PARTNER_DETAIL, path={"signature": "planted-signature"})
        with pytest.raises(BadRequest):
            await rig.call(TASKS_GET, path={"task_id": "planted-id"})
    tries = [record for record in caplog.records if record.levelno == logging.DEBUG and "attempt" in record.message]
    assert len(tries) == len(rig.transport.sent) == 7
    assert tries[0].message == "tasks.create refused in 0 ms, attempt 1, request id None"
    assert "planted" not in caplog.text
    assert "planted" not in repr(rig.events)


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
async def test_production_does_not_create_on_a_guess(endpoint: Endpoint[Any]) -> None:
    """Where assumed paths are refused, exactly the operations that make something are refused until a profile says."""
    makes = endpoint.replay in ("never", "harmless")
    async with Rig([answer({})] * 2, create_on_assumed=False) as rig:
        if makes:
            with pytest.raises(
                EndpointsAssumed, match=rf"{endpoint.name}: POST .* is a guess until a profile confirms"
            ):
                await rig.call(endpoint, **arguments(endpoint))
            assert rig.transport.sent == []
        else:
            await rig.call(endpoint, **arguments(endpoint))
    confirmed = Profile.from_mapping({"endpoints": {endpoint.name: {"path": endpoint.path}}})
    async with Rig([answer({})], create_on_assumed=False, profile=confirmed) as rig:
        await rig.call(endpoint, **arguments(endpoint))


async def test_the_profile_says_where_to() -> None:
    """A call goes to the verb and the path that the profile names."""
    profile = Profile.from_mapping({"endpoints": {"tasks.get": {"verb": "POST", "path": "/orders/{task_id}/read"}}})
    async with Rig([answer(TASK)], profile=profile) as rig:
        await rig.call()
    assert (rig.transport.sent[0].method, rig.transport.sent[0].url) == ("POST", f"{BASE}/orders/t-1/read")
