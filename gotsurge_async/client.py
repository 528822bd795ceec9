"""`GotSurge`: puts the parts together, and closes them."""

import asyncio
import copy
import logging
import re
import sys
import warnings
from collections.abc import AsyncIterable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, Unpack

import attrs

from gotsurge_async.api.endpoints import CHUNK, TASKS_CREATE
from gotsurge_async.api.profile import Profile
from gotsurge_async.auth.keeping import Keeper
from gotsurge_async.auth.oauth import OAuth, tokens_from
from gotsurge_async.auth.stores import MemoryStore, Tokens, TokenStore
from gotsurge_async.auth.tokens import TokenManager
from gotsurge_async.calls.create import PushStream
from gotsurge_async.calls.limiter import Limiter
from gotsurge_async.calls.session import Session
from gotsurge_async.clock import Clock, SystemClock
from gotsurge_async.codec.given import OrderLike
from gotsurge_async.config import (
    Credentials,
    Environment,
    EnvironmentName,
    Limits,
    RetryPolicy,
    Timeouts,
    check_account,
    check_parts,
    environment_of,
    from_env,
    is_count,
    is_number,
    limits_for,
    profile_of,
    secret_setting,
    settings_of,
)
from gotsurge_async.errors import ClientClosed, ConfigError, UsageError
from gotsurge_async.hooks import Hook, Hooks, listeners_of
from gotsurge_async.money import Money
from gotsurge_async.options import AllOptions
from gotsurge_async.resources.partner import Partner, Sso
from gotsurge_async.resources.platform import Platform
from gotsurge_async.resources.prices import Prices
from gotsurge_async.resources.raw import RawCalls
from gotsurge_async.resources.tasks import Tasks
from gotsurge_async.secrets import Known, Secret
from gotsurge_async.transports.base import Response, Transport

logger: logging.Logger = logging.getLogger("gotsurge_async")


_APPLICATION = re.compile(r"([!#-'*+.^_`|~\w-]+(/[!#-'*+.^_`|~\w-]+)?( |$))*", re.ASCII)
CLOSE = 10.0
"""Seconds that `GotSurge.close` waits for calls under way; containers are usually given 10 to 30 seconds to stop."""
_STORING = 1.0
"""Seconds that a renewal of tokens has at least, and the storing of its tokens: lost ones cost a sign-in."""
_GIVE_BACK = 1.0
"""Seconds that a transport has to close."""


class GotSurge:
    """A client of the GotSurge Partnership API. One object for the whole life of a service::

        async with GotSurge("sandbox", credentials=credentials, token_store=store) as gs:
            created = await gs.tasks.create(orders)

    It belongs to the event loop in which it was opened. Nothing is sent before the first call.

    Args:
        environment: sandbox, production, local (then with ``api_base``), or an `Environment`.
        api_base: the URL before the paths, instead of the profile's or the environment's. A profile's takes precedence
            over that of an environment given by name, but not over an `Environment`.
        credentials: the partner's keys; needed to sign in and to renew tokens.
        bearer_token, refresh_token: tokens from elsewhere, for a client without a sign-in of its own. At every opening
            they replace what ``token_store`` keeps for the account: give no store that holds renewed ones.
        token_store: where tokens are kept; by default in memory.
        account: the name under which the store keeps the tokens.
        transport: another way to send; the client closes it.
        proxy: carries the encrypted connections: its URL, None for no proxy, or ``environment`` for the one that
            HTTPS_PROXY names, unless NO_PROXY names the host. Not with a ``transport``.
        timeouts: how many seconds a try may take: `Timeouts`, or the seconds of a try as a whole. Of these, only
            ``total`` applies to your own ``transport``.
        retry: when a call is tried again: `RetryPolicy`, or the number of tries in all.
        limits: how many calls at once, and how many a second: `Limits`, or the number of calls at once.
        profile: confirmed verbs and paths: a `Profile`, a mapping, or the path of a TOML file.
        hooks: functions that are called with an event for every request, retry, refresh and chunk.
        clock: time, for tests.
        assumed_endpoints: "accept" or "refuse" operations that change something (create, broadcast, cancel, update,
            tracking ids, invitations) on paths that no profile confirms. The default refuses them in production.
        application: your program in the header User-Agent, such as ``acme-orders/2.1``: GotSurge can then tell whose
            calls these are.

    Raises:
        ConfigError: a setting that cannot be right; the message says what to write.
    """

    def __init__(
        self,
        environment: EnvironmentName | Environment = "sandbox",
        *,
        api_base: str | None = None,
        credentials: Credentials | None = None,
        bearer_token: str | Secret | None = None,
        refresh_token: str | Secret | None = None,
        token_store: TokenStore | None = None,
        account: str = "default",
        transport: Transport | None = None,
        proxy: str | None = "environment",
        timeouts: Timeouts | float | None = None,
        retry: RetryPolicy | int | None = None,
        limits: Limits | int | None = None,
        profile: Profile | Mapping[str, Any] | str | Path | None = None,
        hooks: Iterable[Hook] = (),
        clock: Clock | None = None,
        assumed_endpoints: Literal["accept", "refuse"] | None = None,
        application: str = "",
    ) -> None:
        self._state: Literal["new", "open", "closed", "shared"] = "new"
        timeouts = settings_of(Timeouts, timeouts, "timeouts", "total")
        policy = settings_of(RetryPolicy, retry, "retry", "attempts")
        self.limits: Limits = limits_for(timeouts, settings_of(Limits, limits, "limits", "concurrency"))
        if not (credentials is None or isinstance(credentials, Credentials)):
            why = f"credentials: give Credentials(client_key=…, secret_key=…), not {type(credentials).__name__}"
            raise ConfigError(why, "E903")
        check_account(account, setting=True)
        if assumed_endpoints not in (None, "accept", "refuse"):
            raise ConfigError(f'assumed_endpoints is "accept" or "refuse", not {assumed_endpoints!r:.60}', "E903")
        if not isinstance(application, str) or not _APPLICATION.fullmatch(application):
            why = f"application is a name as in User-Agent, such as acme-orders/2.1, not {application!r:.60}"
            raise ConfigError(why, "E903")
        check_parts(transport=transport, token_store=token_store, clock=clock)
        if transport is None:
            # Imported here, so that importing the package does not pay for aiohttp.
            from gotsurge_async.transports.aiohttp import AiohttpTransport

            transport = AiohttpTransport(timeouts, proxy=proxy)
        clock = clock or SystemClock()
        self.profile: Profile = profile_of(profile)
        self.environment: Environment = environment_of(environment, api_base, self.profile)
        self.hooks: Hooks = Hooks(*listeners_of(hooks))
        self._clock = clock
        self._transport = transport
        self._limiter = Limiter(self.limits, clock)
        self._new_session = partial(
            Session,
            transport=transport,
            api_base=self.environment.api_base,
            profile=self.profile,
            policy=policy,
            hooks=self.hooks,
            clock=clock,
            accept_assumed=assumed_endpoints == "accept"
            or (assumed_endpoints is None and not self.environment.is_production),
            try_timeout=timeouts.total,
            application=application.strip(),
        )
        self._new_known = partial(Known, *filter(None, [credentials.secret_key if credentials else None]))
        known = self._new_known()
        # Without a limit: calls wait for a sign-in, which must wait for no call.
        self._sign_ins = self._new_session(
            tokens=None, limiter=Limiter(Limits(concurrency=sys.maxsize), clock, start=sys.maxsize), known=known
        )
        self.oauth: OAuth = OAuth(
            environment=self.environment, credentials=credentials, clock=clock, call=self._sign_ins.call
        )
        self.sso: Sso = Sso(self.oauth)
        self._new_tokens = partial(
            TokenManager, token_store or MemoryStore(), self.oauth.refresh, clock=clock, hooks=self.hooks
        )
        self._given = _given_tokens(
            secret_setting("bearer_token", bearer_token), secret_setting("refresh_token", refresh_token), clock
        )
        self._keeper = Keeper(clock)
        self._closing: asyncio.Task[None] | None = None
        self._main: Self | None = None
        self._others: dict[str, Self] = {}
        self._join(account, known)

    def _join(self, account: str, known: Known) -> None:
        """Make the parts that belong to one account; all others are shared."""
        self.tokens: TokenManager = self._new_tokens(account=account, known=known)
        self._use(self._new_session(tokens=self.tokens, limiter=self._limiter, known=known, account=account))

    def _use(self, session: Session) -> None:
        """Make the resources over a session."""
        self._session = session
        self.tasks: Tasks = Tasks(session)
        self.prices: Prices = Prices(session)
        self.partner: Partner = Partner(session, self.oauth.credentials)
        self.platform: Platform = Platform.of(session)
        self.request: RawCalls = RawCalls(session)

    @classmethod
    def from_env(cls, variables: Mapping[str, str] | None = None, **options: Unpack[AllOptions]) -> Self:
        """A client with the settings of the ``GOTSURGE_…`` environment variables; ``options`` take precedence."""
        settings = from_env(variables)
        arguments: dict[str, Any] = {
            "environment": settings.environment.name,
            "api_base": settings.api_base,
            "credentials": settings.credentials,
            "bearer_token": settings.bearer_token,
            "refresh_token": settings.refresh_token,
            "profile": settings.profile,
        }
        arguments.update(options)
        return cls(**arguments)

    def as_account(self, account: str) -> Self:
        """The same client for another account: it shares connections, limits and hooks, and has tokens of its own.

        It is opened and closed with this client, which renews its token in the background from now on. The same name
        returns the same object::

            async with GotSurge(..., token_store=store) as gs:
                await gs.as_account("acme").tasks.create(orders)

        Args:
            account: the name under which the token store keeps the account's tokens.

        Raises:
            UsageError: a name that is empty or long, or not text that can be printed.
        """
        check_account(account)
        main = self._main or self
        if account == main.tokens.account:
            return main
        if account not in main._others:
            other = copy.copy(main)
            other._state = "new"
            other._main = main
            other._join(account, main._new_known())
            if main._state == "open":
                other._begin()
            main._others[account] = other
        return main._others[account]

    async def release(self, account: str) -> None:
        """Stop renewing an account's tokens: the stored ones stay, and `as_account` begins again.

        For services with thousands of accounts of which few are used. The account's calls under way have as long as
        those of `close`. The account that the client was made with stays until the client is closed.
        """
        main = self._main or self
        other = main._others.get(account)
        if other is None or other._state == "closed":  # the one who releases it takes it out
            return
        other._state = "closed"
        try:
            await other._session.close(CLOSE)
        finally:
            await other.tokens.close(_STORING)
            del main._others[account]

    def with_options(
        self, *, timeout: float | None = None, retries: int | None = None, account: str | None = None
    ) -> Self:
        """The same client with other options for its calls; it is opened and closed with this one::

            created = await gs.with_options(timeout=10, retries=0).tasks.create(orders)

        What is not given stays as it is here.

        Args:
            timeout: seconds for the whole of an operation: waiting for a token and a place, all tries, and the reads
                after them. When they are over it ends with `OutcomeUnknown` if a request may have been processed, and
                with `NotSent` if certainly none was. In a stream each call has as many.
            retries: tries after the first.
            account: see `as_account`.

        Raises:
            UsageError: a time that is not a number of seconds above 0, or retries that are not 0 or more.
        """
        if not (retries is None or is_count(retries, 0)):
            raise UsageError(f"retries: 0 or more, not {retries!r:.60}", "E903")
        base = self if account is None else self.as_account(account)
        policy = None if retries is None else attrs.evolve(self._session.policy, attempts=retries + 1)
        other = copy.copy(base)
        other._main = self._main or self
        other._state = "shared"
        if base is not self:  # the options of this client hold for the other account
            policy, timeout = policy or self._session.policy, self._session.timeout if timeout is None else timeout
        other._use(base._session.with_options(timeout=timeout, policy=policy))
        return other

    async def adopt(self, account: str, tokens: Tokens) -> None:
        """Store the tokens of a sign-in under an account's name, and use them from now on."""
        await self.as_account(account).tokens.adopt(tokens)

    async def sign_in(self, code: str) -> None:
        """Exchange the code of a consent for tokens, store them and use them (section "Exchange Token").

        Raises:
            Rejected: the code is wrong, used or too old.
            NotSent, OutcomeUnknown: no answer; start the consent again.
            ClientClosed: the client is not open; the code was not used.
        """
        if (self._main or self)._state != "open":
            raise ClientClosed("sign in inside `async with GotSurge(...) as gs:`")
        await self.tokens.adopt(await self.oauth.exchange(code))

    def push(
        self,
        orders: Iterable[OrderLike] | AsyncIterable[OrderLike],
        *,
        concurrency: int | None = None,
        chunk: int = CHUNK,
        validate: bool = False,
        max_price: Money | None = None,
    ) -> PushStream:
        """Send any number of orders, and remember nothing once the stream has ended. Results arrive as they are known::

            async for result in gs.push(orders):
                match result:
                    case Created(order=order, receipt=receipt): ...
                    case Refused(order=order, error=error): ...
                    case InDoubt(order=order, error=error): ...
                    case Unprocessed(order=order, error=error): ...

        There is no ledger: the caller must look up orders that are `InDoubt`, a crash forgets the orders in flight, and
        the same orders pushed again are sent again. `gotsurge_async.bulk.Desk.push` is the same with a ledger.

        Chunks have at most 20 orders, and a bounded number of them is in flight. Within the stream a tracking id is
        sent once: a second order with it is `Unprocessed` with `RepeatedKey`. For this the stream keeps 8 bytes of each
        tracking id: some 20 MB for a million orders, 100 MB for ten million; all else is flat, whatever the number.
        Orders without a tracking id cannot be compared, and are all sent.

        Args:
            orders: a plain or an async iterable of orders, or of dicts of their fields as the API writes them. One that
                is neither, or cannot be sent, is `Unprocessed` with `InvalidData`; the others go out.
            concurrency: the most chunks in flight, by default the client's own limit.
            chunk: orders in a call, 1 to 20.
            validate: orders that the rules of `gotsurge push` refuse, see `check_order`, are `Unprocessed`, too.
            max_price: with ``validate`` the greatest amount that an order may have, see `check_order`; without it 1000
                units of the order's currency.

        Raises:
            UsageError: ``max_price`` is not `Money`, or given without ``validate``; a chunk that is not of 1 to 20
                orders, or none in flight.
        """
        return PushStream(
            self._session,
            TASKS_CREATE,
            orders,
            size=chunk,
            concurrency=concurrency,
            validate=validate,
            max_price=max_price,
        )

    @contextmanager
    def raw(self) -> Iterator[list[Response]]:
        """Note every answer inside the block, with status, headers and body, the newest last.

        ::

            with gs.raw() as answers:
                task = await gs.tasks.get(task_id)
            answers[-1].headers["etag"]
        """
        with self._session.recording() as answers:
            yield answers

    @property
    def session(self) -> Session:
        """The request loop, for packages that build on the client."""
        return self._session

    @property
    def transport(self) -> Transport:
        """The transport, for requests that are not calls of the API."""
        return self._transport

    async def open(self) -> Self:
        """Belong to the running event loop, use the given tokens, and renew them in the background.

        Raises:
            UsageError: it was opened before.
        """
        if self._main is not None:
            raise UsageError("an account's client is opened and closed with the client that it was made of", "E901")
        if self._state != "new":
            raise UsageError("a client is opened once: make a new one", "E901")
        self._state = "open"
        try:
            if self._given is not None:
                await self.tokens.adopt(self._given)
            if self._closing is not None:
                raise ClientClosed("the client was closed while it was opened")
            for member in (self, *self._others.values()):
                member._begin()
        except BaseException:
            await self.close()
            raise
        return self

    def _begin(self) -> None:
        self._state = "open"
        self._session.open()
        self.tokens.start(self._keeper)

    async def close(self, timeout: float = CLOSE) -> None:
        """Wait for calls under way, end the background work, close the connections. Idempotent.

        No call is tried again from now on: one that waits for its next try ends with the outcome of its last. If this
        is cancelled, the closing continues.

        Args:
            timeout: seconds that calls under way may still take. Then they are cut, and end with `OutcomeUnknown` if
                their request may have been processed, else with `NotSent`: "the client was closed". To cut them, to
                store renewed tokens and to close the connections takes a few seconds more at most.

        Raises:
            UsageError: a time that is not a number of seconds, 0 or more.
        """
        if not is_number(timeout):
            raise UsageError(f"timeout is a number of seconds, 0 or more, not {timeout!r:.60}", "E903")
        if self._main is not None:
            return
        if self._closing is None:
            members: list[GotSurge] = [self, *self._others.values()]
            for member in members:
                member._state = "closed"
                member._session.refuse_calls()
            self._sign_ins.end_retries()
            self._closing = asyncio.create_task(self._close(members, timeout), name="gotsurge closing")
        await asyncio.shield(self._closing)

    async def _close(self, members: "Sequence[GotSurge]", timeout: float) -> None:
        ends = self._clock.monotonic() + timeout
        try:
            await asyncio.gather(*(member._session.close(timeout) for member in members))
            left = max(ends - self._clock.monotonic(), 0.0)
            await self._sign_ins.close(max(left, _STORING))
            await asyncio.gather(*(member.tokens.close(max(left, _STORING)) for member in members))
        finally:
            closing = asyncio.ensure_future(self._transport.close())
            await asyncio.wait([closing], timeout=_GIVE_BACK)
            if closing.cancel():
                logger.warning("the transport did not close within %g s", _GIVE_BACK)
                await asyncio.wait([closing], timeout=_GIVE_BACK)
            else:
                closing.result()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        if getattr(self, "_state", "new") == "open":
            warnings.warn(f"{self!r} was never closed", ResourceWarning, source=self, stacklevel=2)

    def __repr__(self) -> str:
        return f"<GotSurge {self.environment.name}, {self._state}>"


def _given_tokens(bearer: Secret | None, refresh: Secret | None, clock: Clock) -> Tokens | None:
    now = clock.now()
    if bearer:
        return tokens_from(bearer.reveal(), refresh=refresh, issued_at=now)
    if refresh:  # no bearer token yet: one that has ended is renewed at the first call
        return Tokens(bearer=Secret(""), refresh=refresh, issued_at=now, expires_at=now)
    return None
