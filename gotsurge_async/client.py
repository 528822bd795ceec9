"""`GotSurge`: puts the parts together, and closes them."""

import asyncio
import copy
import warnings
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack

import attrs

from gotsurge_async.api.endpoints import CHUNK, TASKS_CREATE
from gotsurge_async.api.profile import Profile
from gotsurge_async.auth.stores import Tokens, TokenStore
from gotsurge_async.calls.create import PushStream
from gotsurge_async.calls.parts import Parts
from gotsurge_async.calls.session import Session
from gotsurge_async.clock import Clock, Deadline
from gotsurge_async.codec.given import OrderLike
from gotsurge_async.config import (
    Credentials,
    Environment,
    EnvironmentName,
    Limits,
    RetryPolicy,
    Timeouts,
    check_account,
    check_same,
    from_env,
    is_count,
    is_number,
    name_in_ledgers,
)
from gotsurge_async.errors import ClientClosed, UsageError
from gotsurge_async.hooks import Hook, Hooks
from gotsurge_async.money import Money
from gotsurge_async.options import AllOptions
from gotsurge_async.resources import Resources
from gotsurge_async.secrets import Secret
from gotsurge_async.transports.base import Response, Transport

if TYPE_CHECKING:
    from gotsurge_async.auth.oauth import OAuth
    from gotsurge_async.auth.tokens import TokenManager
    from gotsurge_async.database import Place
    from gotsurge_async.ledger import Ledger
    from gotsurge_async.push.desk.desk import Desk
    from gotsurge_async.push.desk.desks import Desks
    from gotsurge_async.push.desk.stream import DeskStream

CLOSE = 10.0
"""Seconds that `GotSurge.close` waits for orders and calls under way; containers usually have 10 to 30 s to stop."""
_STORING = 1.0
"""The least seconds for renewing tokens and for storing them when a client closes: lost tokens cost a sign-in."""


class GotSurge(Resources):
    """A client of the GotSurge Partnership API. One object for the whole life of a service::

        async with GotSurge("sandbox", credentials=credentials, token_store=store, ledger="orders.db") as gs:
            outcome = await gs.orders.create(order)

    It belongs to the event loop that opened it. Without a call it sends only the orders that wait in its ledger.

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
        ledger: remembers the orders of `orders` and `push`: the path of a file, a ``postgresql://`` URL, or an open
            `Ledger`, which stays open. `open` opens it, so a service whose ledger cannot be used does not start.
        application: your program in the header User-Agent, such as ``acme-orders/2.1``: GotSurge can then identify
            your calls.

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
        ledger: "str | Path | Place | Ledger | None" = None,
        application: str = "",
    ) -> None:
        self._state: Literal["new", "open", "closed", "shared"] = "new"
        check_account(account, setting=True)
        self._parts = Parts(
            environment,
            api_base=api_base,
            credentials=credentials,
            bearer_token=bearer_token,
            refresh_token=refresh_token,
            token_store=token_store,
            transport=transport,
            proxy=proxy,
            timeouts=timeouts,
            retry=retry,
            limits=limits,
            profile=profile,
            hooks=hooks,
            clock=clock,
            assumed_endpoints=assumed_endpoints,
            application=application,
        )
        self.limits: Limits = self._parts.limits
        self.profile: Profile = self._parts.profile
        self.environment: Environment = self._parts.environment
        self.hooks: Hooks = self._parts.hooks
        self.oauth: OAuth = self._parts.oauth
        self._ledger: Place | Ledger | None = None
        if ledger is not None:
            from gotsurge_async.push.desk.desks import ledger_setting

            self._ledger = ledger_setting(ledger)
        self._desks: Desks | None = None
        self._closing: asyncio.Task[None] | None = None
        self._main: Self | None = None
        self._others: dict[str, Self] = {}  # by their names in ledgers
        self._join(account)

    def _join(self, account: str) -> None:
        tokens, session = self._parts.of_account(account, is_first=self._main is None)
        self.tokens: TokenManager = tokens
        self._use(session)

    def _use(self, session: Session) -> None:
        self._session = session
        self._forget_resources()

    @classmethod
    def from_env(cls, variables: Mapping[str, str] | None = None, **options: Unpack[AllOptions]) -> Self:
        """Return a client with the settings of the ``GOTSURGE_…`` environment variables; ``options`` take precedence.

        GOTSURGE_LEDGER is not one of them: a client with a ledger sends what waits in it, so its program names it.
        """
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

        Its `orders` are in the same ledger, in which a key belongs to one order of all accounts. From their first use
        on, what an earlier process left of them is sent, too.

        Args:
            account: the name under which the token store keeps the account's tokens.

        Raises:
            UsageError: a name that is empty or long, or not text that can be printed.
            ConfigError: a ledger could not distinguish it from another account of this client, such as "sandbox" from
                "default" in the sandbox.
        """
        check_account(account)
        main = self._main or self
        name, own = (name_in_ledgers(self.environment, each) for each in (account, main.tokens.account))
        other = main if name == own else main._others.get(name)
        if other is None:
            other = copy.copy(main)
            other._state = "new"
            other._main = main
            other._join(account)
            if main._state == "open":
                other._begin()
            main._others[name] = other
        check_same(account, other.tokens.account)
        return other

    async def release(self, account: str) -> None:
        """Stop renewing an account's tokens: the stored ones stay, and `as_account` begins again.

        For services with thousands of accounts of which few are used. The account's orders, and then its calls under
        way, have as long as those of `close`. The account that the client was made with stays until that is closed.
        """
        main = self._main or self
        name = name_in_ledgers(self.environment, account)
        if (other := main._others.get(name)) is None or other.tokens.account != account or other._state == "closed":
            return  # the one who releases it takes it out
        other._state = "closed"
        async with AsyncExitStack() as ending:
            ending.callback(main._others.pop, name)
            ending.push_async_callback(other.tokens.close, _STORING)
            ending.push_async_callback(other._session.close, CLOSE)
            if main._desks is not None:
                await main._desks.release(account, CLOSE)

    def with_options(
        self, *, timeout: float | None = None, retries: int | None = None, account: str | None = None
    ) -> Self:
        """The same client with other options for its calls; it is opened and closed with this one::

            created = await gs.with_options(timeout=10, retries=0).tasks.create(orders)

        What is not given stays as it is here. `orders`, and a push with a ledger, have the client's own options.

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
            raise UsageError(f"retries must be 0 or more, not {retries!r:.60}", "E903")
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
        """Exchange the code of a consent for tokens, store them, and use them (section "Exchange Token").

        Raises:
            Rejected: the code is wrong, used or too old.
            NotSent, OutcomeUnknown: no answer; start the consent again.
            ClientClosed: the client is not open; the code was not used.
        """
        if (self._main or self)._state != "open":
            raise ClientClosed("the client is not open: call sign_in() inside `async with GotSurge(...) as gs:`")
        await self.tokens.adopt(await self.oauth.exchange(code))

    @property
    def orders(self) -> "Desk":
        """Single orders, each created once and remembered in the client's ledger: a desk with its usual options.

        Raises:
            UsageError: the client has no ledger.
            ClientClosed: it is not open.
        """
        main = self._main or self
        if main._ledger is None:
            raise UsageError('gs.orders needs a ledger to remember orders: GotSurge(..., ledger="orders.db")', "E912")
        client = main.as_account(self.tokens.account) if self._state == "shared" else self
        if main._desks is None or client._state != "open":
            raise ClientClosed("the client is not open: use it inside `async with GotSurge(...) as gs:`")
        return main._desks.of(client)

    def push(
        self,
        orders: Iterable[OrderLike] | AsyncIterable[OrderLike],
        *,
        concurrency: int | None = None,
        key: Callable[[OrderLike], str | None] | None = None,
        chunk: int = CHUNK,
        validate: bool = False,
        max_price: Money | None = None,
    ) -> "PushStream | DeskStream":
        """Send any number of orders. Without a ledger it remembers nothing. Results arrive as they are known::

            async for result in gs.push(orders):
                match result:
                    case Created(order=order, receipt=receipt): ...
                    case Refused(order=order, error=error): ...
                    case InDoubt(order=order, error=error): ...
                    case Unprocessed(order=order, error=error): ...
                    case Changed(order=order, fields=fields): ...  # only with a ledger

        With a ledger it is `Desk.push` of `orders`: pushed again, also after a crash, each order has its recorded
        outcome, and only orders that were not sent are sent. Without one the caller must look up orders that are
        `InDoubt`, a crash forgets the orders in flight, and the same orders pushed again are sent again.

        Chunks have at most 20 orders, and a bounded number of them is in flight. Without a ledger a tracking id is sent
        once in the stream: a second order with it is `Unprocessed` with `RepeatedKey`. For this the stream keeps 8
        bytes of each: some 20 MB for a million orders; all else is flat. Orders without one are all sent.

        Args:
            orders: a plain or an async iterable of orders, or of dicts of their fields as the API writes them. One that
                is neither, or cannot be sent, is `Unprocessed` with `InvalidData`; the others go out. An order
                of a slow async iterable waits for others for 0.2 seconds if a call is free.
            concurrency: the most chunks in flight, by default the client's own limit.
            key: only with a ledger: returns the key of an order, or None for its tracking id.
            chunk: only without one: orders in a call, 1 to 20.
            validate: orders that the rules of `gotsurge push` refuse, see `check_order`, are `Unprocessed`, too. With a
                ledger they always are.
            max_price: only without one, and with ``validate``: the greatest amount that an order may have, see
                `check_order`; without it 1000 units of the order's currency.

        Raises:
            UsageError: an argument that cannot be right, also with a ledger, or without one.
            ClientClosed: a client with a ledger is not open.
        """
        if self._ledger is not None:
            if chunk != CHUNK or max_price is not None:
                why = "chunk and max_price cannot be used here with a ledger: pass max_price to Desk.open instead"
                raise UsageError(why, "E903")
            return self.orders.push(orders, key=key or (lambda _: None), concurrency=concurrency)
        if key is not None:
            raise UsageError('the argument key works only with a ledger: GotSurge(..., ledger="orders.db")', "E903")
        return PushStream(
            self._session,
            TASKS_CREATE,
            orders,
            size=chunk,
            concurrency=concurrency,
            validate=validate,
            max_price=max_price,
        )

    def raw(self) -> AbstractContextManager[list[Response]]:
        """Note every answer inside the block, with status, headers and body, the newest last.

        ::

            with gs.raw() as answers:
                task = await gs.tasks.get(task_id)
            answers[-1].headers["etag"]
        """
        return self._session.recording()

    @property
    def session(self) -> Session:
        """The request loop, for packages that build on the client."""
        return self._session

    @property
    def transport(self) -> Transport:
        """The transport, for requests that are not calls of the API."""
        return self._parts.transport

    async def open(self) -> Self:
        """Bind the client to the running event loop, open the ledger, and begin to renew tokens in the background.

        Raises:
            UsageError: it was opened before.
            LedgerError: the ledger cannot be used, see `Ledger.open`. The client is closed.
        """
        if self._main is not None:
            raise UsageError("do not open this client: the client that made it opens and closes it", "E901")
        if self._state != "new":
            raise UsageError("a client can be opened only once: make a new one", "E901")
        self._state = "open"
        try:
            if self._ledger is not None:
                from gotsurge_async.push.desk.desks import Desks

                self._desks = await Desks.open(self, self._ledger)
            if self._parts.given_tokens is not None:
                await self.tokens.adopt(self._parts.given_tokens)
            if self._closing is not None:
                raise ClientClosed("the client was closed while it was being opened")
            for member in (self, *self._others.values()):
                member._begin()
            if self._desks is not None:
                self._desks.of(self)
        except BaseException:
            await self.close()
            if self._desks is not None:  # perhaps it was opened after the closing
                await self._desks.close(0)
            raise
        return self

    def _begin(self) -> None:
        self._state = "open"
        self._session.open()
        self.tokens.start(self._parts.keeper)

    async def close(self, timeout: float = CLOSE) -> None:
        """Wait for orders and calls under way, then close the ledger and the connections. Idempotent.

        First `orders` accepts no more, and those that wait or are under way end. Then no call is tried again: one
        that waits for its next try ends with the outcome of its last. If this is cancelled, the closing continues.

        Args:
            timeout: seconds that all of these may still take. Then orders that were not begun are `Unprocessed`. Calls
                under way are cut, and end with `OutcomeUnknown` if their request may have been processed, else with
                `NotSent`: "the client was closed". All that remains takes a few seconds more; see `Desk.close`.

        Raises:
            UsageError: a time that is not a number of seconds, 0 or more.
            WrongLoop: the client has a ledger, and was opened in another event loop.
        """
        if not is_number(timeout):
            raise UsageError(f"timeout must be a number of seconds, 0 or more, not {timeout!r:.60}", "E903")
        if self._main is not None:
            return
        if self._closing is None:
            if self._desks is not None:
                self._desks.refuse_other_loop()
            members: list[GotSurge] = [self, *self._others.values()]
            for member in members:
                member._state = "closed"
            if self._desks is None:
                self._refuse_calls(members)
            self._closing = asyncio.create_task(self._close(members, timeout), name="gotsurge closing")
        await asyncio.shield(self._closing)

    async def _close(self, members: "Sequence[GotSurge]", timeout: float) -> None:
        deadline = Deadline(self._parts.clock, timeout)
        async with AsyncExitStack() as ending:  # each step is done, whatever the one before it raised
            ending.push_async_callback(self._parts.close_transport)
            if self._desks is not None:  # they record what came, and a ledger that hangs delays no other step
                desks = asyncio.create_task(self._desks.close(timeout))
                ending.push_async_callback(asyncio.shield, desks)
            ending.push_async_callback(self._end_calls, members, deadline)
            if self._desks is not None:
                await self._desks.stopped()

    async def _end_calls(self, members: "Sequence[GotSurge]", deadline: Deadline) -> None:
        self._refuse_calls(members)
        await asyncio.gather(*(member._session.close(deadline.left) for member in members))
        left = max(deadline.left, _STORING)
        await self._parts.sign_ins.close(left)
        await asyncio.gather(*(member.tokens.close(left) for member in members))

    def _refuse_calls(self, members: "Sequence[GotSurge]") -> None:
        for member in members:
            member._session.refuse_calls()
        self._parts.sign_ins.end_retries()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __del__(self) -> None:
        if getattr(self, "_state", "new") == "open":
            warnings.warn(f"{self!r} was never closed", ResourceWarning, source=self, stacklevel=2)

    def __repr__(self) -> str:
        return f"<GotSurge {self.environment.name}, {self._state}>"
