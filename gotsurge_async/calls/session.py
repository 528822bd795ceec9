"""The only request loop: token, limiter, send, classify, tell, and again or not."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from random import Random
from typing import Any, TypeVar, cast
from urllib.parse import urlencode

import attrs

from gotsurge_async import codec
from gotsurge_async.api.endpoints import Endpoint, Replay
from gotsurge_async.api.profile import Profile
from gotsurge_async.auth.tokens import TokenManager
from gotsurge_async.calls.attempt import Attempt, attempt, build_request, error_of, hidden_values
from gotsurge_async.calls.limiter import Limiter
from gotsurge_async.calls.retry import Outcome, decide
from gotsurge_async.clock import Clock
from gotsurge_async.config import RetryPolicy
from gotsurge_async.errors import CallError, ClientClosed, EndpointsAssumed, NotSent, UnreadableAnswer, WrongLoop
from gotsurge_async.hooks import Hooks, RequestDone, RetryPlanned
from gotsurge_async.models.tasks import Message
from gotsurge_async.secrets import Secret, url_for_log
from gotsurge_async.transports.base import Request, Response, Transport

logger: logging.Logger = logging.getLogger("gotsurge_async")

T = TypeVar("T")


class Session:
    """Makes calls. `GotSurge` puts it together; resources name an endpoint and its arguments.

    Args:
        api_base: what the paths of the endpoints stand on.
        create_on_assumed: whether an operation that must not repeat may go to a path that nobody has confirmed.
    """

    def __init__(
        self,
        *,
        transport: Transport,
        tokens: TokenManager,
        limiter: Limiter,
        api_base: str,
        profile: Profile,
        policy: RetryPolicy,
        hooks: Hooks,
        clock: Clock,
        create_on_assumed: bool = True,
        random: Random | None = None,
    ) -> None:
        self.hooks = hooks
        self.clock = clock
        self.tokens = tokens
        self._transport = transport
        self.limiter = limiter
        self._api_base = api_base
        self._server = url_for_log(api_base)
        self._profile = profile
        self.policy = policy
        self._create_on_assumed = create_on_assumed
        self._random = random or Random()  # noqa: S311 - spreads retries in time, guards nothing
        self._loop: asyncio.AbstractEventLoop | None = None
        self._recorders: ContextVar[tuple[list[Response], ...]] = ContextVar("recorders", default=())
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def open(self) -> None:
        """Belong to the running event loop from now on."""
        self._loop = asyncio.get_running_loop()

    async def close(self) -> None:
        """Take no more calls, and wait for those under way."""
        self._loop = None
        await self._idle.wait()

    @contextmanager
    def recording(self) -> Iterator[list[Response]]:
        """Note every answer that this task, and those it starts, get inside the block; the last one stands last."""
        answers: list[Response] = []
        token = self._recorders.set((*self._recorders.get(), answers))
        try:
            yield answers
        finally:
            self._recorders.reset(token)

    def resolve(self, endpoint: Endpoint[T]) -> Endpoint[T]:
        """The endpoint as the profile has it.

        Raises:
            EndpointsAssumed: it creates, its path is a guess, and this client does not create on a guess.
        """
        resolved = self._profile.resolve(endpoint)
        creates = resolved.bearer and resolved.replay in (Replay.NEVER, Replay.HARMLESS)
        if creates and resolved.assumed and not self._create_on_assumed:
            raise EndpointsAssumed(
                f"{resolved.name}: {resolved.verb} {resolved.path} is a guess until a profile confirms it: "
                "give GotSurge a profile, or assumed_endpoints='accept'"
            )
        return resolved

    async def call(
        self,
        endpoint: Endpoint[T],
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, str | int] | None = None,
        body: Any = None,
        decode: Callable[[bytes], Any] | None = None,
        read: Callable[[Response], Any] | None = None,
        before_send: Callable[[], Awaitable[None]] | None = None,
        after_send: Callable[[Outcome, int | None], None] | None = None,
    ) -> T:
        """Make one call, as often as its endpoint allows, and read its answer.

        Args:
            path: values for the names in the endpoint's path.
            query: what stands behind the question mark.
            body: a model, plain values, or bytes that are JSON already. It is encoded once; each try sends the same.
            decode: reads the answer's body instead of the endpoint's response class.
            read: the same for the whole answer, with its headers.
            before_send: called right before each try leaves; what it raises ends the call, and that try is not sent.
            after_send: called with the outcome, and the status if there was an answer, when a try has ended; not for
                one that was cancelled on its way, so that who cancelled the call can tell whether anything may have
                been processed.

        Raises:
            Rejected: the service said no.
            NotSent: no connection could be made, as often as it was tried; or there was no token to sign the call with,
                because the service could not be reached for a new one.
            OutcomeUnknown: the request left, and nobody can say whether it was processed; also when an answer came
                that cannot be read.
            SignInNeeded: there is no token that works.
            UsageError: the call cannot be right as written.
        """
        self._check_usable()
        resolved = self.resolve(endpoint)
        encoded = body if body is None or isinstance(body, bytes) else codec.encode(body)
        self._enter()
        try:
            with self.hooks.call(
                operation=resolved.name,
                method=resolved.verb,
                path=resolved.path,
                server=self._server,
                monotonic=self.clock.monotonic,
            ) as number:
                call = _Call(
                    endpoint=resolved,
                    path=path or {},
                    query=urlencode(query) if query else "",
                    body=encoded,
                    decode=decode,
                    read=read,
                    before_send=before_send,
                    after_send=after_send,
                    # Calls without a bearer token carry secrets of their own, in their path or their body.
                    secrets=() if resolved.bearer else (*(path or {}).values(), *hidden_values(body)),
                    number=number,
                )
                return cast("T", await self._run(call))
        finally:
            self._leave()

    async def _run(self, call: "_Call") -> Any:
        started, tries, replayed_401 = self.clock.monotonic(), 0, False
        done = bearer = None
        while True:
            if call.endpoint.bearer:
                try:
                    bearer = await self.tokens.bearer()
                except CallError as error:
                    raise self._without_token(call, error, done, tries, bearer) from None
            tries += 1
            done = await self._try(call, bearer, tries)
            if done.outcome is Outcome.ANSWERED and done.response is not None:
                try:
                    return call.value_of(done.response)
                except UnreadableAnswer as error:
                    whole = codec.is_json(done.response.body)
                    # The answers to calls without a bearer token hold secrets: those are not quoted, nor one that
                    # holds ours.
                    quotable = bearer is not None and bearer.reveal().encode() not in done.response.body
                    reason = str(error) if quotable else "the answer cannot be read"
                    done = attrs.evolve(done, outcome=Outcome.UNKNOWN, reason=reason)
                    if whole:  # but not what was promised: another try would not mend that
                        raise self._error(call, done, tries, bearer) from None
            if done.status == 401 and bearer is not None and not replayed_401:
                self.tokens.invalidate(bearer)
                replayed_401 = True
                continue
            wait = decide(
                self.policy,
                call.endpoint.replay,
                done.outcome,
                attempt=tries,
                elapsed=self.clock.monotonic() - started,
                random=self._random.random(),
                retry_after=done.retry_after(self.clock.now()),
            )
            if wait is None:
                raise self._error(call, done, tries, bearer)
            self._tell_retry(call, done, tries, wait)
            await self.clock.sleep(wait)

    async def _try(self, call: "_Call", bearer: Secret | None, tries: int) -> Attempt:
        request = call.request(self._api_base, bearer)
        async with self.limiter:
            if call.before_send is not None:
                await call.before_send()
            started = self.clock.monotonic()
            done = await attempt(self._transport, request)
            if call.after_send is not None:
                call.after_send(done.outcome, done.status)
        self._tell(call, request, done, tries, self.clock.monotonic() - started)
        return done

    def _without_token(
        self, call: "_Call", error: CallError, done: Attempt | None, tries: int, bearer: Secret | None
    ) -> CallError:
        """The error of a call for whose next try there is no token: what failed is the renewal, the call was not sent.

        Unless an earlier try of it may have been processed: then that is what there is to say.
        """
        if done is not None and done.outcome is Outcome.UNKNOWN:
            return self._error(call, done, tries, bearer)
        return NotSent(f"no token to sign it with: {error}", operation=call.endpoint.name, attempts=max(tries, 1))

    def _error(self, call: "_Call", done: Attempt, tries: int, bearer: Secret | None) -> CallError:
        return error_of(
            call.endpoint,
            done,
            attempts=tries,
            sent=None if call.secrets else call.body,
            now=self.clock.now(),
            secrets=(*call.secrets, *([bearer.reveal()] if bearer else [])),
        )

    # --- telling ----------------------------------------------------------------------------------------------------

    def _tell(self, call: "_Call", request: Request, done: Attempt, tries: int, seconds: float) -> None:
        for answers in self._recorders.get():
            if done.response is not None:
                answers.append(done.response)
        if not self.hooks.watched:
            return
        event = RequestDone(
            call=call.number,
            operation=call.endpoint.name,
            method=request.method,
            status=done.status,
            seconds=seconds,
            attempt=tries,
            request_id=done.request_id,
            reason=done.reason,
        )
        self.hooks.request_done(event)

    def _tell_retry(self, call: "_Call", done: Attempt, tries: int, wait: float) -> None:
        reason = done.reason or f"HTTP {done.status}"
        logger.info("%s: %s, again in %.1f s", call.endpoint.name, reason, wait)
        event = RetryPlanned(call=call.number, operation=call.endpoint.name, attempt=tries, wait=wait, reason=reason)
        self.hooks.emit(event)

    # --- who may call, and who is calling -----------------------------------------------------------------------------

    def _check_usable(self) -> None:
        if self._loop is None:
            raise ClientClosed("the client is not open: use it inside `async with GotSurge(...) as gs:`")
        if self._loop is not asyncio.get_running_loop():
            raise WrongLoop("this client was opened in another event loop: one client belongs to one loop")

    def _enter(self) -> None:
        self._in_flight += 1
        self._idle.clear()

    def _leave(self) -> None:
        self._in_flight -= 1
        if not self._in_flight:
            self._idle.set()


@attrs.define(kw_only=True)
class _Call:
    """What stays the same over all tries of a call."""

    endpoint: Endpoint[Any]
    path: Mapping[str, str]
    query: str
    body: bytes | None
    decode: Callable[[bytes], Any] | None
    read: Callable[[Response], Any] | None
    before_send: Callable[[], Awaitable[None]] | None
    after_send: Callable[[Outcome, int | None], None] | None
    secrets: tuple[str, ...] = attrs.field(default=(), repr=False)
    number: int

    def request(self, api_base: str, bearer: Secret | None) -> Request:
        return build_request(self.endpoint, api_base, path=self.path, query=self.query, body=self.body, bearer=bearer)

    def value_of(self, answer: Response) -> Any:
        """What the call gives; raises UnreadableAnswer."""
        if self.read is not None:
            return self.read(answer)
        if self.decode is not None:
            return self.decode(answer.body)
        cls = self.endpoint.response
        if cls is Message and not answer.body.strip():  # 204, or an empty 200: done, and nothing to say
            return Message()
        return codec.decode(answer.body, cls)
