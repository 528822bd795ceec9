"""`gotsurge_async.calls.session`: calls that are cancelled, or whose time is over."""

import asyncio
from itertools import product

import pytest

from gotsurge_async.api.endpoints import DRAFTS_BROADCAST, TASKS_CREATE, TASKS_GET, Endpoint
from gotsurge_async.auth.stores import Tokens
from gotsurge_async.config import Limits
from gotsurge_async.errors import (
    CallError,
    NotSent,
    OutcomeUnknown,
    PartlyDone,
    RateLimited,
    SignInNeeded,
    UsageError,
    what_is_known,
)
from gotsurge_async.secrets import Secret
from gotsurge_async.transports.base import MaybeSent, NothingSent, Request, Response
from tests.calls.rig import Rig, arguments
from tests.support.orders import answer

TRIES = ("refused", "lost", "busy", "unauthorized", "silent")
"""What becomes of a try: never there, answer lost, 429, 401, or nothing for ever."""
SCRIPTS = [*product(TRIES), *(script for script in product(TRIES, TRIES) if script[0] != "silent")]
"""After a try of which nothing is heard there is no other."""


class Service:
    """Does with each try what a script says, and with all that follow nothing for ever."""

    def __init__(self, *script: str) -> None:
        self.script = list(script)
        self.maybe_processed = False

    async def __call__(self, request: Request) -> Response:
        now = self.script.pop(0) if self.script else "silent"
        if now == "refused":
            raise NothingSent("refused")
        if now == "busy":
            return answer({}, 429)
        if now == "unauthorized":
            return answer({}, 401)
        self.maybe_processed = True
        if now == "lost":
            raise MaybeSent("lost")
        await asyncio.Event().wait()
        raise AssertionError("nothing comes for ever")


async def over(rig: Rig, calling: "asyncio.Task[object]") -> None:
    """Let time pass until a call has ended."""
    await rig.clock.settle()
    while not calling.done():
        assert rig.clock.sleepers, "it waits for something else than time"
        await rig.clock.advance(rig.clock.sleepers[0])


@pytest.mark.parametrize("script", SCRIPTS, ids="-".join)
async def test_a_call_that_takes_too_long_says_what_is_known(script: tuple[str]) -> None:
    """Whatever its tries met, it ends in time, unsent only if certainly nothing was processed."""
    for endpoint in (TASKS_CREATE, DRAFTS_BROADCAST, TASKS_GET):
        await take_too_long(endpoint, script)


async def take_too_long(endpoint: Endpoint[object], script: tuple[str]) -> None:
    """Call an operation until its time is over."""
    service = Service(*script)
    async with Rig(service) as rig:
        started = rig.clock.monotonic()
        calling = asyncio.create_task(rig.session.within(2.0).call(endpoint, **arguments(endpoint)))
        await over(rig, calling)
        assert rig.clock.monotonic() - started <= 2.0
    error = calling.exception()
    assert isinstance(error, CallError)
    if endpoint.verb != "GET":
        assert isinstance(error, OutcomeUnknown) == service.maybe_processed, error
    assert not isinstance(error, NotSent) or not service.maybe_processed or endpoint.verb == "GET"
    assert isinstance(error, NotSent | OutcomeUnknown) or script[-1] in ("busy", "unauthorized")


@pytest.mark.parametrize("script", SCRIPTS, ids="-".join)
async def test_a_call_that_is_cancelled_says_what_is_known(script: tuple[str]) -> None:
    """Wherever it is then, what is known of it is the cause of the cancellation."""
    for endpoint, waits in product((TASKS_CREATE, DRAFTS_BROADCAST), (0.0, 0.3, 0.7)):
        await cancelled(endpoint, script, waits)


async def cancelled(endpoint: Endpoint[object], script: tuple[str], waits: float) -> None:
    """Call an operation, and cancel the call after some seconds."""
    service = Service(*script)
    async with Rig(service) as rig:
        calling = asyncio.create_task(rig.session.call(endpoint, **arguments(endpoint)))
        await rig.clock.settle()
        await rig.clock.advance(waits)
        calling.cancel()
        with pytest.raises((CallError, asyncio.CancelledError)) as ended:
            await calling
    known = what_is_known(ended.value)
    assert isinstance(known, OutcomeUnknown) == service.maybe_processed
    if isinstance(ended.value, asyncio.CancelledError):
        assert isinstance(known, NotSent | OutcomeUnknown)
        assert known.operation == endpoint.name


async def test_a_block_whose_time_is_over_knows_of_its_call() -> None:
    """The TimeoutError of asyncio shows that the order may be there, with the body that was sent."""
    async with Rig(Service("silent")) as rig:
        with pytest.raises(TimeoutError) as ended:
            async with asyncio.timeout(0.2):
                await rig.session.call(TASKS_CREATE, body=b'{"tasks":[]}')
        known = what_is_known(ended.value)
        assert isinstance(known, OutcomeUnknown)
        assert known.body == b'{"tasks":[]}'
        with pytest.raises(TimeoutError) as ended:
            await asyncio.wait_for(rig.session.call(TASKS_CREATE, body=b"{}"), 0.2)
        assert isinstance(what_is_known(ended.value), OutcomeUnknown)
    assert what_is_known(TimeoutError()) is None


async def test_of_several_errors_the_worst_is_known() -> None:
    """In a group one call that may have been processed counts more than another that was not sent."""
    lost = OutcomeUnknown("lost")
    assert what_is_known(ExceptionGroup("two", [NotSent("down"), ExceptionGroup("one", [lost])])) is lost
    unsent = NotSent("down")
    assert what_is_known(ExceptionGroup("two", [ValueError(), unsent])) is unsent


async def never(_: Secret) -> Tokens:
    """A renewal that does not end."""
    await asyncio.Event().wait()
    raise AssertionError("it ends never")


@pytest.mark.parametrize("what", ["a place", "a token"])
async def test_time_goes_on_while_a_call_waits_for(what: str) -> None:
    """A call that gets no place, or no token, in time was not sent."""
    async with Rig(Service(), limits=Limits(concurrency=1), renew=never) as rig:
        if what == "a token":
            rig.tokens.invalidate(Secret("planted-bearer-0"))
            first = None
        else:
            first = asyncio.create_task(rig.session.call(TASKS_GET, path={"task_id": "t-1"}))
        calling = asyncio.create_task(rig.session.within(3.0).call(TASKS_CREATE, body=b"{}"))
        await over(rig, calling)
        assert isinstance(calling.exception(), NotSent), calling
        if first is not None:
            first.cancel()
            await asyncio.wait([first])


async def test_all_calls_of_an_operation_share_its_time() -> None:
    """Once it is over, the next call of it is not sent at all."""
    async with Rig([answer({}), answer({})]) as rig:
        session = rig.session.within(2.0)
        assert session.within(None) is session
        await session.call(TASKS_CREATE, body=b"{}", read=lambda _, found: found)
        await rig.clock.advance(2.0)
        with pytest.raises(NotSent, match="the call ran out of time"):
            await session.call(TASKS_CREATE, body=b"{}")
        assert len(rig.transport.sent) == 1


async def test_a_wait_that_would_take_too_long_is_not_begun() -> None:
    """A service that asks for a minute is heard at once by a call that has ten seconds."""
    async with Rig([answer({}, 429, retry_after="60")]) as rig:
        with pytest.raises(RateLimited):
            await rig.session.within(10.0).call(TASKS_CREATE, body=b"{}")
        assert rig.clock.monotonic() == 0


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
async def test_a_time_of_nothing_is_refused(seconds: float) -> None:
    """A time that is none is a mistake of the program."""
    async with Rig([]) as rig:
        for use in (rig.session.within, lambda timeout: rig.session.with_options(timeout=timeout)):
            with pytest.raises(UsageError, match="timeout"):
                use(seconds)


@pytest.mark.parametrize("fault", [ValueError("bug"), RuntimeError("planted-bearer-0"), OSError(5, "odd")])
async def test_what_a_transport_raises_otherwise_counts_as_maybe_sent(fault: Exception) -> None:
    """An exception that the protocol does not know ends as OutcomeUnknown, and none of its text is shown."""
    async with Rig([fault]) as rig:
        with pytest.raises(OutcomeUnknown, match=type(fault).__name__) as ended:
            await rig.create()
    assert ended.value.__cause__ is None
    assert "planted" not in str(ended.value)


@pytest.mark.parametrize(
    ("script", "ends"),
    [("busy", True), ("refused", True), ("lost busy", False), ("busy lost busy", True), ("lost refused", False)],
)
async def test_a_stop_ends_what_was_put_off_and_not_processed(script: str, ends: bool) -> None:
    """At once, with what is known of it; a call of which a try may have been processed goes on."""
    stop = asyncio.Event()
    async with Rig(Service(*script.split())) as rig:
        session = rig.session.with_options(stop=stop)
        calling = asyncio.create_task(session.call(DRAFTS_BROADCAST, **arguments(DRAFTS_BROADCAST)))
        tries = len(script.split()) if not ends else 1
        await rig.clock.settle()
        while len(rig.transport.sent) < tries:
            await rig.clock.advance(rig.clock.sleepers[0])
        stop.set()
        await rig.clock.settle()
        assert calling.done() == ends
        if ends:
            with pytest.raises((RateLimited, NotSent)):
                await calling
        calling.cancel()
        await asyncio.wait([calling])


async def test_a_cancellation_that_a_transport_turns_into_a_failure_ends_the_call() -> None:
    """Nothing is sent again for a caller that has given up, whatever its transport makes of that."""
    arrived = asyncio.Event()

    async def stubborn(_: Request) -> Response:
        arrived.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise NothingSent("cut") from None
        raise AssertionError("never")

    async with Rig(stubborn) as rig:
        calling = asyncio.create_task(rig.session.call(TASKS_CREATE, body=b"{}"))
        await arrived.wait()
        calling.cancel()
        await asyncio.wait([calling])
        assert calling.cancelled()
        assert len(rig.transport.sent) == 1


async def test_an_error_of_another_kind_counts_by_what_it_says_was_sent() -> None:
    """Of no sign-in nothing was sent, of a batch that was cut some may have been; a refusal is neither."""
    unsent = what_is_known(SignInNeeded())
    assert isinstance(unsent, NotSent)
    assert unsent.explain_code == "E301"
    assert isinstance(what_is_known(ExceptionGroup("two", [SignInNeeded(), PartlyDone("cut")])), OutcomeUnknown)
    assert what_is_known(RateLimited()) is None
