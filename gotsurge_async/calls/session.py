"""The only request loop: token, limiter, send, classify, hook, and perhaps another try."""

import asyncio
import copy
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from random import Random
from typing import Any, TypeVar, cast
from urllib.parse import urlencode

from msgspec import Struct, field, structs

from gotsurge_async import codec
from gotsurge_async.api.endpoints import Endpoint
from gotsurge_async.api.profile import Profile
from gotsurge_async.auth.tokens import TokenManager
from gotsurge_async.calls.limiter import Limiter
from gotsurge_async.calls.outcome import Attempt, Outcome, attempt, error_of, service_message, unreadable
from gotsurge_async.calls.tries import USER_AGENT, Call, build_request, decide
from gotsurge_async.clock import Clock, cancellations, sleep_or, uninterrupted
from gotsurge_async.config import RetryPolicy, check_timeout
from gotsurge_async.errors import (
    CallError,
    ClientClosed,
    Coded,
    GotSurgeError,
    NotSent,
    UnreadableAnswer,
    WrongLoop,
)
from gotsurge_async.hooks import CallDone, CallStarted, Hooks, RequestDone, RetryPlanned, named
from gotsurge_async.models.words import one_line
from gotsurge_async.secrets import Secret, hidden_values, url_for_log
from gotsurge_async.transports.base import Response, Transport

logger: logging.Logger = logging.getLogger("gotsurge_async")

T = TypeVar("T")

_CUT = 1.0
"""Seconds that a cut call has to end."""


class Session:
    """Makes calls. `GotSurge` puts it together; resources and sign-ins name an endpoint and its arguments.

    Args:
        tokens: sign the calls; None for a session of sign-ins, which have no token, and the first of which opens it.
        api_base: the URL before the paths of the endpoints.
        known: the secrets that are hidden wherever the service quotes one, besides those of the call itself.
        accept_assumed: whether an operation that changes something may go to a path that no profile confirms.
        account: the account that makes the calls, for the events, the errors and the log.
        try_timeout: seconds for one try, whatever the transport; None for no limit.
        application: goes before this package's name in the header User-Agent.
    """

    def __init__(
        self,
        *,
        transport: Transport,
        tokens: TokenManager | None,
        limiter: Limiter,
        api_base: str,
        profile: Profile,
        policy: RetryPolicy,
        hooks: Hooks,
        clock: Clock,
        known: Iterable[Secret] = (),
        accept_assumed: bool = True,
        account: str = "",
        try_timeout: float | None = None,
        application: str = "",
        random: Random | None = None,
    ) -> None:
        self.codec: codec.Codec = codec.Codec()
        self.limiter = limiter
        self.policy = policy
        self.hooks = hooks
        self.clock = clock
        self._transport = transport
        self._tokens = tokens
        self._api_base = api_base
        self._server = url_for_log(api_base)
        self._profile = profile
        self._known = known
        self._accept_assumed = accept_assumed
        self.account = account
        self._try_timeout = try_timeout
        self._user_agent = f"{application} {USER_AGENT}".lstrip()
        self._random = random or Random()  # noqa: S311 - spreads retries in time, guards nothing
        self.timeout: float | None = None
        """Seconds for the whole of a call."""
        self._ends: float | None = None
        self._stop: asyncio.Event | None = None
        self._recorders: ContextVar[tuple[list[Response], ...]] = ContextVar("recorders", default=())
        self._life = _Life()

    def with_options(
        self, *, timeout: float | None = None, policy: RetryPolicy | None = None, stop: asyncio.Event | None = None
    ) -> "Session":
        """The same session with other options for its calls; it opens and closes with this one.

        ``timeout`` seconds are for the whole of a call; UsageError unless above 0. Once ``stop`` is set, a call of
        which nothing can have been processed is not tried again: one that waits for its next try ends immediately.
        """
        if timeout is not None:
            check_timeout(timeout)
        other = copy.copy(self)
        other.timeout = self.timeout if timeout is None else timeout
        other.policy = policy or self.policy
        other._stop = stop or self._stop
        return other

    def within(self, timeout: float | None) -> "Session":
        """This session for one operation of several calls, which must all end within ``timeout`` seconds from now.

        By default that of `with_options`; without either there is no limit. Raises UsageError unless it is above 0.
        """
        seconds = self.timeout if timeout is None else timeout
        if seconds is None or (timeout is None and self._ends is not None):
            return self
        other = self.with_options(timeout=timeout)
        other._ends = self.clock.monotonic() + seconds
        return other

    def open(self) -> None:
        """Bind the session to the running event loop."""
        self._life.loop = asyncio.get_running_loop()

    def end_retries(self) -> None:
        """Try no call again from now on; one that waits for its next try ends with the outcome of its last."""
        self._life.no_more_tries.set()

    def refuse_calls(self) -> None:
        """Accept no calls from now on, and try none again."""
        self._life.loop = None
        self.end_retries()

    async def close(self, timeout: float | None = None) -> None:
        """Accept no more calls, and wait for those under way; after ``timeout`` seconds, if not None, they are cut."""
        life = self._life
        self.refuse_calls()
        if timeout is None:
            await life.idle.wait()
        elif not life.idle.is_set() and not await sleep_or(life.idle, self.clock, timeout):
            for call in life.calls:
                if not call.expired():  # cut before, when its account was released
                    call.reschedule(0)
            await sleep_or(life.idle, self.clock, _CUT)

    @contextmanager
    def recording(self) -> Iterator[list[Response]]:
        """Note every answer to this task, and to those it starts, inside the block; the newest is the last."""
        answers: list[Response] = []
        token = self._recorders.set((*self._recorders.get(), answers))
        try:
            yield answers
        finally:
            self._recorders.reset(token)

    def resolve(self, endpoint: Endpoint[T]) -> Endpoint[T]:
        """The endpoint as the profile has it; raises EndpointsAssumed as `require` does."""
        resolved = self._profile.resolve(endpoint) if endpoint.assumed else endpoint  # a path of `gs.request` stays
        if not self._accept_assumed and resolved.assumed and resolved.writes and resolved.bearer:
            self.require(endpoint)
        return resolved

    def require(self, *endpoints: Endpoint[Any]) -> None:
        """Check that this client may call all of these endpoints, before it calls the first.

        Raises EndpointsAssumed: this client changes nothing on a guess; see `Profile.require`.
        """
        if not self._accept_assumed:
            self._profile.require(endpoints)

    async def call(
        self,
        endpoint: Endpoint[T],
        *,
        path: Mapping[str, str] = {},
        query: Mapping[str, str | int] | None = None,
        body: Any = None,
        headers: Mapping[str, str] = {},
        read: Callable[[codec.Codec, Response], Any] | None = None,
        before_send: Callable[[], Awaitable[None]] | None = None,
        after_send: Callable[[Outcome, int | None], None] | None = None,
    ) -> T:
        """Make one call, as often as its endpoint allows, and read its answer.

        Args:
            path: values for the names in the endpoint's path.
            query: values for after the question mark.
            body: a model, plain values, or bytes that are JSON already. It is encoded once; each try sends the same.
            headers: extra headers, under the names that this package writes, such as ``Accept``.
            read: reads the answer with this session's codec, instead of the endpoint's response class.
            before_send: called right before each try leaves; an error ends the call, and that try is not sent.
            after_send: called with the outcome, and the status if there was an answer, when a try has ended. It is not
                called for a try that was cancelled on its way: so the canceller knows whether anything may have been
                processed.

        A session `with_options` or `within` a time ends the call when that is over, with `OutcomeUnknown` if a try was
        on its way then, or an earlier one was lost, else with `NotSent`. A call that is cancelled raises CancelledError
        with the same as its cause, see `errors.what_is_known`.

        Raises:
            Rejected: the service said no.
            NotSent: no connection could be made, as often as it was tried; or there was no token to sign the call with,
                because the service could not be reached for a new one; or time was over before it was sent.
            OutcomeUnknown: the request left, and it is not known whether it was processed; also when an answer came
                that cannot be read, or none came in time.
            SignInNeeded: there is no token that works.
            UsageError: the call cannot be right as written.
        """
        if self._life.loop is not asyncio.get_running_loop():
            self._open_or_refuse()
        resolved = self.resolve(endpoint)
        call = Call(
            endpoint=resolved,
            url=self._api_base + resolved.url_path(path) + (f"?{urlencode(query)}" if query else ""),
            body=body if body is None or isinstance(body, bytes) else codec.encode(body),
            headers=headers,
            read=read,
            before_send=before_send,
            after_send=after_send,
            # Calls without a bearer token carry secrets of their own, in their path or their body.
            secrets=() if resolved.bearer else tuple(map(Secret, (*path.values(), *hidden_values(body)))),
            number=self.hooks.next_call(),
        )
        watched, error, started = self.hooks.watched, "", self.clock.monotonic()
        cut = asyncio.timeout(None)  # cuts the call when the client is closed
        self._life.begin(cut)
        try:
            if watched:
                self.hooks.emit(
                    CallStarted(
                        call=call.number,
                        operation=resolved.name,
                        method=resolved.verb,
                        path=resolved.path,
                        server=self._server,
                        account=self.account,
                    )
                )
            async with cut:
                ends = self._ends
                if ends is None and self.timeout is None:
                    return cast("T", await self._run(call, started))
                left = self.timeout if ends is None else ends - started
                return cast("T", await self._in_time(call, started, left or 0.0))
        except asyncio.CancelledError as cancelled:
            error = type(cancelled).__name__
            raise cancelled from self._given_up(call, "the call was cancelled")
        except TimeoutError as raised:
            closed = self._given_up(call, "the client was closed") if cut.expired() else None
            error = type(closed or raised).__name__
            if closed is None:
                raise
            raise closed from None
        except BaseException as raised:
            error = type(raised).__name__
            raise
        finally:
            self._life.end(cut)
            if watched:
                self.hooks.emit(
                    CallDone(
                        call=call.number,
                        operation=resolved.name,
                        seconds=self.clock.monotonic() - started,
                        error=error,
                        account=self.account,
                    )
                )

    def _open_or_refuse(self) -> None:
        """Let the first sign-in open its session; refuse any other call to a closed session, or from another loop."""
        if self._life.loop is not None:
            raise WrongLoop("this client was opened in another event loop: one client belongs to one loop")
        if self._tokens is not None or self._life.no_more_tries.is_set():
            raise ClientClosed("the client is not open: use it inside `async with GotSurge(...) as gs:`")
        self.open()

    async def _in_time(self, call: Call, started: float, seconds: float) -> Any:
        """Run a call that must end within some seconds, whatever it waits for."""
        if seconds <= 0:
            raise self._given_up(call, "the call ran out of time")
        running = asyncio.ensure_future(self._run(call, started, seconds))
        over = asyncio.ensure_future(self.clock.sleep(seconds))
        try:
            await asyncio.wait((running, over), return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                return running.result()
        finally:
            running.cancel()
            over.cancel()
            await uninterrupted(asyncio.wait((running, over)))
            if not running.cancelled():
                running.exception()  # retrieved, also where another error is raised
        if not running.cancelled():  # it ended just then, after all
            return running.result()
        raise self._given_up(call, f"the call did not end within {seconds:.3g} s")

    def _given_up(self, call: Call, why: str) -> CallError:
        """The error of a call that was given up, by the stage that the call had reached."""
        outcome, stage, code = Outcome.NOT_SENT, "; nothing was processed", "E401"
        if call.maybe_sent:
            outcome, stage, code = Outcome.UNKNOWN, "; the call may have been processed", "E402"
        return self._error(call, Attempt(outcome=outcome, reason=Coded(f"{why}{stage}", code)))

    async def _run(self, call: Call, started: float, seconds: float | None = None) -> Any:
        replayed_401 = False
        lost: Attempt | None = None
        while True:
            if self._tokens is not None and call.endpoint.bearer:
                call.bearer = await self._bearer(call, self._tokens, lost)
            call.tries += 1
            done = await self._try(call)
            if done.outcome is Outcome.ANSWERED and done.response is not None:
                try:
                    return call.value_of(self.codec, done.response)
                except CallError as error:  # a refusal that came as a success
                    secrets = self._secrets(call)
                    error.service_message = service_message(done.response.body, secrets)
                    error.request_id = done.request_id(secrets)
                    raise
                except UnreadableAnswer as error:
                    whole = codec.is_json(done.response.body)
                    reason = unreadable(call.endpoint, error, done.response, self._secrets(call))
                    done = structs.replace(done, outcome=Outcome.UNKNOWN, reason=reason)
                    if whole:  # but not as promised: another try would not mend that
                        raise self._error(call, done) from None
            if self._tokens is not None and done.status == 401 and call.bearer is not None and not replayed_401:
                self._tokens.invalidate(call.bearer)
                replayed_401 = True
                continue
            lost = lost or (done if done.outcome is Outcome.UNKNOWN else None)
            wait = decide(
                self.policy,
                call.endpoint.replay,
                done.outcome,
                attempt=call.tries,
                elapsed=self.clock.monotonic() - started,
                random=self._random.random(),
                retry_after=done.retry_after(self.clock.now()),
            )
            too_late = seconds is not None and self.clock.monotonic() - started + (wait or 0.0) >= seconds
            ends = [self._life.no_more_tries, *([self._stop] if self._stop is not None and lost is None else [])]
            if wait is None or too_late or any(event.is_set() for event in ends):
                raise self._error(call, self._what_is_known(call, lost, done))
            self._report_retry(call, done, wait)
            if await sleep_or(ends, self.clock, wait):
                raise self._error(call, self._what_is_known(call, lost, done))

    async def _bearer(self, call: Call, tokens: TokenManager, lost: Attempt | None) -> Secret:
        """The token for the next try; without one, raises the error of an earlier try that may have been processed."""
        try:
            return await tokens.bearer()
        except Exception as error:  # a store may raise anything
            is_of_call = isinstance(error, CallError)
            if lost is not None and (is_of_call or call.endpoint.verb != "GET"):
                raise self._error(call, lost) from None
            if isinstance(error, GotSurgeError) and not is_of_call:  # a person must do something
                raise
            why = f"no token could be fetched for the request: {error if is_of_call else one_line(repr(error))}"
            name, tries = call.endpoint.name, max(call.tries, 1)
            cause = None if is_of_call else error
            raise NotSent(why, "E310", operation=name, attempts=tries, account=self.account) from cause

    def _what_is_known(self, call: Call, lost: Attempt | None, last: Attempt) -> Attempt:
        """The last try; or the lost one that may have been processed, unless the last one shows its outcome."""
        shows_nothing = last.outcome in (Outcome.NOT_SENT, Outcome.RATE_LIMITED) or last.status == 401
        return lost if lost is not None and shows_nothing and call.endpoint.verb != "GET" else last

    async def _try(self, call: Call) -> Attempt:
        request = build_request(
            call.endpoint.verb, call.url, self._user_agent, body=call.body, bearer=call.bearer, headers=call.headers
        )
        async with self.limiter:
            if call.before_send is not None:
                await call.before_send()
            started = self.clock.monotonic()
            call.maybe_sent, lost_before = True, call.maybe_sent
            before = cancellations()
            done = await attempt(self._transport, request, self._try_timeout)
            call.maybe_sent = done.outcome in (Outcome.ANSWERED, Outcome.UNKNOWN) or lost_before
            if done.response is None and cancellations() > before:
                raise asyncio.CancelledError  # the transport has turned it into a failure
            seconds = self.clock.monotonic() - started
            retry_after = None if done.outcome is Outcome.ANSWERED else done.retry_after(self.clock.now())
            if done.outcome is not Outcome.NOT_SENT:
                self.limiter.landed(call.endpoint.name, done.status, seconds, retry_after)
            if call.after_send is not None:
                call.after_send(done.outcome, done.status)
        if done.response is not None:
            for answers in self._recorders.get():
                answers.append(done.response)
        if self.hooks.watched:
            self.hooks.request_done(
                RequestDone(
                    call=call.number,
                    operation=call.endpoint.name,
                    method=request.method,
                    status=done.status,
                    seconds=seconds,
                    attempt=call.tries,
                    request_id=done.request_id(self._secrets(call)),
                    reason=done.reason,
                    retry_after=retry_after,
                    account=self.account,
                )
            )
        return done

    def _report_retry(self, call: Call, done: Attempt, wait: float) -> None:
        reason = done.reason or f"HTTP {done.status}"
        name = call.endpoint.name
        logger.info("%s%s: %s, again in %.1f s", name, named(self.account), reason, wait)
        self.hooks.emit(
            RetryPlanned(
                call=call.number, operation=name, attempt=call.tries, wait=wait, reason=reason, account=self.account
            )
        )

    def _error(self, call: Call, done: Attempt) -> CallError:
        return error_of(
            call.endpoint,
            done,
            attempts=max(call.tries, 1),
            sent=None if call.secrets else call.body,
            now=self.clock.now(),
            secrets=self._secrets(call),
            account=self.account,
        )

    def _secrets(self, call: Call) -> tuple[Secret, ...]:
        """The secrets to hide in the service's words: those that this call sends, and all others that are known."""
        return (*call.secrets, *([call.bearer] if call.bearer else []), *self._known)


class _Life(Struct, eq=False):
    """The state that a session shares with the sessions made from it."""

    loop: asyncio.AbstractEventLoop | None = None
    calls: set[asyncio.Timeout] = field(default_factory=set)
    """The timeout of each call under way; to reschedule it cuts the call."""
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    no_more_tries: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.idle.set()

    def begin(self, call: asyncio.Timeout) -> None:
        """Note that a call began."""
        self.calls.add(call)
        self.idle.clear()

    def end(self, call: asyncio.Timeout) -> None:
        """Note that a call ended."""
        self.calls.discard(call)
        if not self.calls:
            self.idle.set()
