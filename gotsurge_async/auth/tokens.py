"""Tokens that renew themselves: one refresh at a time, before the end, for everybody who waits."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from random import Random

from gotsurge_async.auth.stores import Tokens, TokenStore
from gotsurge_async.clock import Clock
from gotsurge_async.config import RetryPolicy
from gotsurge_async.endpoints import Replay
from gotsurge_async.errors import CallError, NotSent, OutcomeUnknown, RateLimited, Rejected, SignInNeeded
from gotsurge_async.hooks import Hooks, TokenRefreshed
from gotsurge_async.redact import Secret
from gotsurge_async.retry import Outcome, decide

logger = logging.getLogger("gotsurge_async.auth")

REFRESH_AT = 0.8
"""The share of a token's life after which it is renewed: 24 of 30 days, so an outage of days does no harm."""
JITTER = 0.05
"""Renewals are spread over this share of the life before `REFRESH_AT`, so that a fleet does not come at once."""
HARD_LIMIT = timedelta(minutes=1)
"""With less than this left callers wait for the new token."""
LONGEST_SLEEP = 3600.0
"""The background coroutine looks at the clock at least this often (seconds): clocks jump and laptops sleep."""


class TokenManager:
    """Holds the tokens of one account, and keeps them fresh.

    ``bearer()`` gives the token to sign a call with. Whoever finds it stale starts one task that the manager owns;
    the others wait for the same task, and a waiter that is cancelled does not cancel it. Across processes the store's
    lock decides who renews, and the others take over what that one stored.

    Args:
        store: where the tokens are; new ones are stored before they are used.
        refresh: makes new tokens of a refresh token, as `OAuth.refresh`.
    """

    def __init__(
        self,
        store: TokenStore,
        refresh: Callable[[Secret], Awaitable[Tokens]],
        *,
        account: str = "default",
        clock: Clock,
        hooks: Hooks | None = None,
        policy: RetryPolicy | None = None,
        random: Random | None = None,
    ) -> None:
        self.account = account
        self._store = store
        self._call = refresh
        self._clock = clock
        self._hooks = hooks or Hooks()
        self._policy = policy or RetryPolicy()
        self._random = random or Random()  # noqa: S311 - spreads renewals in time, guards nothing
        self._tokens: Tokens | None = None
        self._refresh_at: datetime | None = None
        self._rejected: Secret | None = None
        self._task: asyncio.Task[Tokens] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    async def bearer(self) -> Secret:
        """The token to sign a call with.

        Raises:
            SignInNeeded: there is none that works and none to be had.
            CallError: the token has ended, and the service could not be reached for a new one.
        """
        tokens = self._tokens or await self._load()
        if self._must_refresh(tokens):
            tokens = await self._refreshed()
        elif self._should_refresh() and tokens.refresh is not None:
            self._start_refresh()  # nobody waits for this one
        return tokens.bearer

    def invalidate(self, bearer: Secret) -> None:
        """Say that the service refused this token. Does nothing if another one has come since."""
        if self._tokens is not None and self._tokens.bearer == bearer:
            self._rejected = bearer

    async def adopt(self, tokens: Tokens) -> None:
        """Store tokens that a sign-in gave, and use them from now on."""
        async with self._store.lock(self.account):
            await self._store.save(self.account, tokens)
        self._use(tokens)

    async def current(self) -> Tokens | None:
        """The tokens as they are, None before a sign-in; never renews."""
        return self._tokens or await self._store.load(self.account)

    def start(self) -> None:
        """Begin to renew in the background, until `close`."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name=f"gotsurge tokens of {self.account}")

    async def close(self) -> None:
        """End the background work; a renewal under way is finished first, so that no token is lost."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait([keeper])
        if self._task is not None:
            await asyncio.wait([self._task])

    # --- what is stale, and who renews ------------------------------------------------------------------------------

    async def _load(self) -> Tokens:
        tokens = await self._store.load(self.account)
        if tokens is None:
            raise SignInNeeded(account=self.account)
        self._use(tokens)
        return tokens

    def _use(self, tokens: Tokens) -> None:
        life = tokens.expires_at - tokens.issued_at
        self._tokens = tokens
        self._refresh_at = tokens.issued_at + life * (REFRESH_AT - JITTER * self._random.random())
        self._rejected = None
        self._changed.set()

    def _must_refresh(self, tokens: Tokens) -> bool:
        return tokens.bearer == self._rejected or tokens.expires_at - self._clock.now() <= HARD_LIMIT

    def _should_refresh(self) -> bool:
        return self._refresh_at is not None and self._clock.now() >= self._refresh_at

    async def _refreshed(self) -> Tokens:
        return await asyncio.shield(self._start_refresh())

    def _start_refresh(self) -> asyncio.Task[Tokens]:
        if self._task is None:
            self._task = asyncio.create_task(self._refresh(), name=f"gotsurge refresh of {self.account}")
            self._task.add_done_callback(self._refresh_ended)
        return self._task

    def _refresh_ended(self, task: asyncio.Task[Tokens]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("the token of %s was not renewed: %s", self.account, error)

    async def _refresh(self) -> Tokens:
        """Lock, read again, renew only if what is stored is stale too, store, and only then use."""
        stale = self._tokens
        async with self._store.lock(self.account):
            stored = await self._store.load(self.account)
            if stored is None:
                self._tokens = None
                raise SignInNeeded(account=self.account)
            if stale is not None and stored.bearer != stale.bearer and not self._must_refresh(stored):
                self._use(stored)  # another process was first
                return stored
            renewed = await self._renew(stored)
            await self._store.save(self.account, renewed)
        self._use(renewed)
        self._hooks.emit(TokenRefreshed(account=self.account, expires_at=renewed.expires_at))
        return renewed

    async def _renew(self, tokens: Tokens) -> Tokens:
        if tokens.refresh is None:
            raise SignInNeeded("the token has ended and there is no refresh token: sign in again", account=self.account)
        started, attempt = self._clock.monotonic(), 0
        while True:
            attempt += 1
            try:
                return await self._call(tokens.refresh)
            except (NotSent, OutcomeUnknown, RateLimited) as error:
                wait = decide(
                    self._policy,
                    Replay.SAFE,
                    _outcome(error),
                    attempt=attempt,
                    elapsed=self._clock.monotonic() - started,
                    random=self._random.random(),
                    retry_after=error.retry_after if isinstance(error, RateLimited) else None,
                )
                if wait is None:
                    raise
            except Rejected as error:
                raise SignInNeeded(
                    f"the service does not take the refresh token (HTTP {error.status}): sign in again",
                    account=self.account,
                ) from None
            await self._clock.sleep(wait)

    # --- the background coroutine -----------------------------------------------------------------------------------

    async def _keep(self) -> None:
        """Renew at about 80 % of the life, again and again; a failure is tried again later, there are days left."""
        failures = 0
        while True:
            self._changed.clear()
            try:
                tokens = self._tokens or await self._load()
                if tokens.refresh is not None and self._should_refresh():
                    await self._refreshed()
                failures = 0
                wait = self._seconds_left()
            except (CallError, SignInNeeded):
                failures += 1
                wait = min(LONGEST_SLEEP, 30.0 * 2.0 ** min(failures, 20)) * (0.5 + self._random.random() / 2)
            await self._sleep(wait)

    def _seconds_left(self) -> float:
        if self._refresh_at is None or self._tokens is None or self._tokens.refresh is None:
            return LONGEST_SLEEP
        return min(LONGEST_SLEEP, max(0.0, (self._refresh_at - self._clock.now()).total_seconds()))

    async def _sleep(self, seconds: float) -> None:
        """Sleep, or until the tokens change (a sign-in)."""
        sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait((sleeping, changed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            changed.cancel()
            await asyncio.wait((sleeping, changed))


def _outcome(error: CallError) -> Outcome:
    if isinstance(error, NotSent):
        return Outcome.NOT_SENT
    return Outcome.RATE_LIMITED if isinstance(error, RateLimited) else Outcome.UNKNOWN
