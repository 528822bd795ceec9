"""Tokens that renew themselves: one refresh at a time, before the end, for everybody who waits."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from random import Random
from typing import Any

import attrs

from gotsurge_async.api.endpoints import AUTH_REFRESH
from gotsurge_async.auth.keeping import Keeper
from gotsurge_async.auth.stores import Tokens, TokenStore, is_token, same_pair
from gotsurge_async.clock import Clock
from gotsurge_async.errors import ConfigError, NotSent, OutcomeUnknown, Rejected, SignInNeeded
from gotsurge_async.hooks import Hooks, SignInRequired, TokenRefreshed
from gotsurge_async.secrets import Known, Secret

__all__ = ["TokenManager"]

logger: logging.Logger = logging.getLogger("gotsurge_async.auth")

REFRESH_AT = 0.8
"""The share of a token's life after which it is renewed: 24 of 30 days, so an outage of days does no harm."""
JITTER = 0.05
"""Renewals are spread over this share of the life before `REFRESH_AT`, so that a fleet does not come at once."""
HARD_LIMIT = timedelta(minutes=1)
"""With less than this left callers wait for the new token."""
LONGEST_SLEEP = 3600.0
"""The background coroutine looks at the clock at least this often (seconds): clocks jump and laptops sleep."""
LONGEST_WAIT = 60.0
"""Seconds that a call waits for a new token; the renewal goes on without it."""
LONGEST_CALL = 120.0
"""Seconds that the call of a renewal may take, with all its tries: a service may send a byte now and then for ever."""
LONGEST_CLOSE = 10.0
"""Seconds that `close` waits for a renewal, and as many for storing what could not be stored before."""
ASK_AGAIN = timedelta(hours=1)
"""How long a refusal of the refresh token is believed: somebody may mend it at the service."""
REFUSED = frozenset(("invalid_grant", "invalid_refresh_token", "invalid_token", "expired_token"))
"""Codes of a refusal that is about the refresh token; another refusal, a firewall's 403 say, is tried again later."""


@attrs.frozen
class _Unstored:
    """New tokens that the store did not take, what it holds in their place, and why."""

    stored: Tokens
    new: Tokens
    error: Exception


class TokenManager:
    """Holds the tokens of one account, and keeps them fresh.

    ``bearer()`` gives the token to sign a call with. Whoever finds it stale starts one task that the manager owns;
    the others wait for the same task, and a waiter that is cancelled does not cancel it. Across processes the store's
    lock decides who renews, and the others take over what that one stored. New tokens that cannot be stored are used
    all the same, because the service may not know the old ones any more; this is logged, and they are stored later.

    Args:
        store: where the tokens are; new ones are stored before they are used.
        refresh: makes new tokens of a refresh token, as `OAuth.refresh`; it is for it to try again.
        known: where to note tokens that are not to be shown.
    """

    def __init__(
        self,
        store: TokenStore,
        refresh: Callable[[Secret], Awaitable[Tokens]],
        *,
        account: str = "default",
        clock: Clock,
        hooks: Hooks | None = None,
        known: Known | None = None,
        random: Random | None = None,
    ) -> None:
        self.account = account
        self._store = store
        self._call = refresh
        self._clock = clock
        self._hooks = hooks or Hooks()
        self._known = known or Known()
        self._random = random or Random()  # noqa: S311 - spreads renewals in time, guards nothing
        self._tokens: Tokens | None = None
        self._refresh_at: datetime | None = None
        self._renewed_at: float | None = None
        self._rejected: Secret | None = None
        self._sign_in_told = False  # whether somebody knows that a person must sign in
        self._in_flight = False  # whether a refresh call is on its way, or its result is not stored yet
        self._unstored: _Unstored | None = None
        self._task: asyncio.Task[Tokens] | None = None
        self._looking = asyncio.Lock()  # for the first time at what is stored
        self._failure: Exception | None = None  # of the last renewal, None if it succeeded
        self._failures = 0
        self._failed_at = 0.0
        self._spread = 1.0
        self._keeper: Keeper | None = None

    async def bearer(self) -> Secret:
        """The token to sign a call with.

        Raises:
            SignInNeeded: there is none that works and none to be had.
            CallError: the token has ended, and the service could not be reached for a new one, or not within a minute.
        """
        tokens = self._tokens or await self._load()
        now = self._clock.now()
        if self._must_refresh(tokens, now):
            if self._failure is not None and self._backoff_left(0.5, 60.0):
                raise self._failure.with_traceback(None)
            tokens = await self._outcome(self._start_refresh())
        elif self._should_refresh(tokens, now) or self._should_store():
            self._start_refresh()  # nobody waits for this one
        return tokens.bearer

    async def renew(self) -> Tokens:
        """Renew now, whatever the age, also when the refresh token was refused before.

        Raises:
            SignInNeeded: there is no refresh token, or the service does not take it.
            CallError: the service could not be reached.
        """
        return await asyncio.shield(self._start_refresh(force=True))

    def invalidate(self, bearer: Secret) -> None:
        """Say that the service refused this token. Does nothing if another one has come since."""
        if self._tokens is not None and self._tokens.bearer == bearer:
            self._rejected = bearer

    async def adopt(self, tokens: Tokens) -> None:
        """Store tokens that a sign-in gave, and use them from now on.

        Raises:
            ConfigError: they cannot be stored, or cannot be tokens.
        """
        for secret in (tokens.bearer, tokens.refresh):
            if secret and not is_token(secret.reveal()):
                raise ConfigError("a token is visible ASCII without spaces, and this one is not")
        async with self._store.lock(self.account):
            await self._store.save(self.account, tokens)
        self._unstored = None
        self._use(tokens)

    async def current(self) -> Tokens | None:
        """The tokens as they are, None before a sign-in; never renews."""
        return self._tokens or await self._store.load(self.account)

    def start(self, keeper: Keeper | None = None) -> None:
        """Begin to renew in the background, until `close`; by a keeper of several accounts, if it is given."""
        if self._keeper is None:
            self._keeper = keeper or Keeper(self._clock)
            self._keeper.add(self)

    async def close(self) -> None:
        """End the background work, within half a minute.

        A renewal whose call is under way is finished first if that takes no longer than ten seconds, so that no token
        is lost; tokens that could not be stored are tried once more.
        """
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            await keeper.remove(self)
        if (task := self._task) is not None:
            if self._in_flight:  # else it waits for another process
                await self._ends_within(task, LONGEST_CLOSE)
            await _end(task)
        if self._unstored is not None:
            storing = asyncio.create_task(self._store_kept(), name=f"gotsurge tokens of {self.account}")
            await self._ends_within(storing, LONGEST_CLOSE)
            await _end(storing)
            if self._unstored is not None:
                logger.error("the new tokens of %s could not be stored, and are lost: sign in again", self.account)

    # --- what is stale, and who renews ------------------------------------------------------------------------------

    async def _load(self) -> Tokens:
        async with self._looking:
            stored = self._tokens or await self._stored()
            if self._tokens is None:  # else a renewal was faster, and what we have read may be old by now
                self._use(stored)
            return self._tokens or stored

    def _use(self, tokens: Tokens) -> None:
        life = tokens.expires_at - tokens.issued_at
        if not same_pair(tokens, self._tokens):
            self._failure, self._failures = None, 0
        self._tokens = tokens
        self._known.add(tokens.bearer, tokens.refresh)
        self._refresh_at = tokens.issued_at + life * (REFRESH_AT - JITTER * self._random.random())
        if tokens.bearer != self._rejected:
            self._rejected = None
        if tokens.refused_at is None:
            self._sign_in_told = False
        if self._keeper is not None:
            self._keeper.soon(self)

    def _must_refresh(self, tokens: Tokens, now: datetime) -> bool:
        if self._rejected is not None and tokens.bearer == self._rejected:
            return True
        ends = tokens.expires_at - now <= HARD_LIMIT
        return ends and not (self._just_renewed() and same_pair(tokens, self._tokens))

    def _just_renewed(self) -> bool:
        """Whether we have new tokens, too new to have ended: if they seem so, it is a clock that is wrong."""
        past = None if self._renewed_at is None else self._clock.monotonic() - self._renewed_at
        return past is not None and past < HARD_LIMIT.total_seconds()

    def _should_refresh(self, tokens: Tokens, now: datetime) -> bool:
        if self._refresh_at is None or now < self._refresh_at or self._just_renewed():
            return False
        return (
            tokens.refresh is not None and not self._is_refused(tokens) and not self._backoff_left(15.0, LONGEST_SLEEP)
        )

    def _backoff_left(self, base: float, most: float) -> float:
        """Seconds until the next try of a renewal that failed: ``base`` doubles with each failure, up to ``most``."""
        if self._failure is None:
            return 0.0
        wait = self._spread * min(most, base * 2.0 ** min(self._failures, 20))
        return max(0.0, self._failed_at + wait - self._clock.monotonic())

    def _is_refused(self, tokens: Tokens) -> bool:
        """Whether the refresh token was refused, not long ago by either clock."""
        return tokens.refused_at is not None and abs(self._clock.now() - tokens.refused_at) < ASK_AGAIN

    def _should_store(self) -> bool:
        return self._unstored is not None and not self._backoff_left(15.0, LONGEST_SLEEP)

    def _start_refresh(self, *, force: bool = False) -> asyncio.Task[Tokens]:
        if self._task is None:
            self._task = asyncio.create_task(self._refresh(force), name=f"gotsurge refresh of {self.account}")
            self._task.add_done_callback(self._refresh_ended)
        return self._task

    def _refresh_ended(self, task: asyncio.Task[Tokens]) -> None:
        self._task = None
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, SignInNeeded):
            self._tell_sign_in(str(error))
        elif isinstance(error, Exception):
            self._failed(error)
        elif self._unstored is not None:
            self._failed(self._unstored.error)

    async def _outcome(self, renewal: asyncio.Task[Tokens]) -> Tokens:
        """What a renewal gives to a caller, who waits a minute at most, and whose cancellation it outlives."""
        if not await self._ends_within(renewal, LONGEST_WAIT):
            raise NotSent(
                f"the token has ended, and no new one came in {LONGEST_WAIT:.0f} s", operation=AUTH_REFRESH.name
            )
        if renewal.cancelled():
            raise NotSent("the client was closed while the token was renewed", operation=AUTH_REFRESH.name)
        return renewal.result()

    async def _ends_within(self, work: asyncio.Future[Any], seconds: float) -> bool:
        sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait((work, sleeping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _end(sleeping)
        return work.done()

    async def _refresh(self, force: bool) -> Tokens:
        """Lock, read again, renew only if what is stored is stale too, store, and only then use."""
        try:
            async with self._store.lock(self.account):
                stored = await self._store_unstored()
                if not same_pair(stored, self._tokens) or stored.refused_at is not None:
                    self._use(stored)
                if not force:
                    must = self._must_refresh(stored, self._clock.now())
                    if not must and not self._should_refresh(stored, self._clock.now()):
                        return stored  # another process was first
                    if must and self._is_refused(stored):
                        raise self._refused()
                renewed = await self._renew(stored)
                if renewed is None or not await self._put(stored, renewed):
                    return await self._overtaken(stored)
        finally:
            self._in_flight = False
        self._renewed_at, self._failure = self._clock.monotonic(), None
        self._use(renewed)
        self._hooks.emit(TokenRefreshed(account=self.account, expires_at=renewed.expires_at))
        return renewed

    async def _stored(self) -> Tokens:
        """What is stored; in its place what should be, while the store does not take it."""
        stored = await self._store.load(self.account)
        if self._unstored is not None:
            if same_pair(stored, self._unstored.stored):
                return self._unstored.new
            self._unstored = None  # meanwhile somebody has signed in or out, or it was stored after all
        if stored is None:
            self._tokens = None
            raise SignInNeeded(account=self.account)
        return stored

    async def _put(self, used: Tokens, new: Tokens) -> bool:
        """Store new tokens in place of those they were made from, or keep them for later; False if others are there."""
        unstored = self._unstored
        over = used if unstored is None else unstored.stored
        try:
            done = await self._store.replace(self.account, over, new)
        except BaseException as error:  # a store may raise anything, and what it did not take exists only here
            known = error if isinstance(error, Exception) else ConfigError("storing them was interrupted")
            self._unstored = _Unstored(over, new, known)
            if known is not error:
                raise
            return True
        self._unstored = None
        if unstored is not None and done:
            self._failure, self._failures = None, 0
            logger.warning("the new tokens of %s are stored now", self.account)
        return done

    async def _store_unstored(self) -> Tokens:
        """What is stored, after another try at what is not yet."""
        tokens = await self._stored()
        if self._unstored is None or await self._put(tokens, tokens):
            return tokens
        return await self._stored()

    async def _store_kept(self) -> None:
        async with self._store.lock(self.account):
            await self._store_unstored()

    async def _overtaken(self, used: Tokens) -> Tokens:
        """What holds when the refresh token was refused, or somebody else has stored tokens during our call."""
        stored = await self._stored()
        if same_pair(stored, used):
            refused = attrs.evolve(stored, refused_at=self._clock.now())
            await self._put(stored, refused)
            self._use(refused)
            raise self._refused()
        self._use(stored)
        if self._must_refresh(stored, self._clock.now()):
            raise NotSent("the tokens were replaced meanwhile by others that have ended", operation=AUTH_REFRESH.name)
        return stored

    def _refused(self) -> SignInNeeded:
        return SignInNeeded("the service does not take the refresh token: sign in again", account=self.account)

    async def _renew(self, tokens: Tokens) -> Tokens | None:
        """New tokens; None when the service does not take the refresh token."""
        if tokens.refresh is None:
            raise SignInNeeded("the token has ended and there is no refresh token: sign in again", account=self.account)
        self._in_flight = True
        call = asyncio.ensure_future(self._call(tokens.refresh))
        try:
            if not await self._ends_within(call, LONGEST_CALL):
                raise OutcomeUnknown(f"no whole answer in {LONGEST_CALL:.0f} s", operation=AUTH_REFRESH.name)
            return call.result()
        except Rejected as error:
            if error.code in REFUSED:
                return None
            raise
        finally:
            await _end(call)

    # --- in the background ------------------------------------------------------------------------------------------

    async def keep(self) -> float:
        """Renew at about 80 % of the life; a failure is tried again later, there are days left. See `Keeper`.

        Returns:
            Seconds until the next look.
        """
        try:
            await self._look()
        except SignInNeeded:
            return LONGEST_SLEEP  # or until somebody signs in here; a call looks at the store by itself
        except Exception as error:  # a store may raise anything, and the keeper must outlive it
            if error is not self._failure:  # that of a renewal was told where it ended
                self._failed(error)
        return self._seconds_left()

    async def _look(self) -> None:
        tokens = self._tokens
        if tokens is None or tokens.refused_at is not None:
            tokens = await self._stored()  # somebody may have signed in, in another process
            if not same_pair(tokens, self._tokens):
                self._use(tokens)
        if tokens.refused_at is not None and not self._sign_in_told:
            self._tell_sign_in(str(self._refused()))
        if self._should_refresh(tokens, self._clock.now()) or self._should_store():
            await asyncio.shield(self._start_refresh())

    def _seconds_left(self) -> float:
        if self._unstored is not None:
            return self._backoff_left(15.0, LONGEST_SLEEP)
        pause = HARD_LIMIT.total_seconds() if self._just_renewed() else self._backoff_left(15.0, LONGEST_SLEEP)
        if self._refresh_at is None or self._tokens is None or self._tokens.refresh is None or self._sign_in_told:
            return pause or LONGEST_SLEEP
        return min(LONGEST_SLEEP, max(pause, (self._refresh_at - self._clock.now()).total_seconds()))

    # --- telling ----------------------------------------------------------------------------------------------------

    def _tell_sign_in(self, reason: str) -> None:
        """Say once that a person must sign in; again only after somebody did."""
        if self._sign_in_told:
            return
        self._sign_in_told = True
        works = self._tokens is not None and self._tokens.bearer != self._rejected
        ends = self._tokens.expires_at if self._tokens and works else None
        until = f"; calls work until {ends:%Y-%m-%d %H:%M} UTC" if ends and ends > self._clock.now() else ""
        logger.error("account %s: %s%s", self.account, reason, until)
        self._hooks.emit(SignInRequired(account=self.account, reason=reason, works_until=ends if until else None))

    def _failed(self, error: Exception) -> None:
        """Note a failed renewal, and log it: there are days to mend it, so it gets louder only as the end nears."""
        self._failure, self._failed_at = error, self._clock.monotonic()
        self._failures += 1
        self._spread = 0.5 + self._random.random() / 2
        if self._unstored is not None:
            lost = "are kept in memory, and lost if this process ends before they can be stored"
            logger.error("the new tokens of %s %s: %s", self.account, lost, error)
            return
        tokens, level, until = self._tokens, logging.WARNING, ""
        if tokens is not None and self._refresh_at is not None:
            left = tokens.expires_at - self._clock.now()
            room = tokens.expires_at - self._refresh_at
            level = logging.INFO if left > room / 2 else logging.WARNING if left > room / 6 else logging.ERROR
            until = f" (it ends at {tokens.expires_at:%Y-%m-%d %H:%M} UTC)"
        logger.log(level, "the token of %s was not renewed%s: %s", self.account, until, error)


async def _end(work: asyncio.Future[Any]) -> None:
    """Cancel what has not ended, and wait for its end; its failure is nobody's any more."""
    if not work.done():
        work.cancel()
        await asyncio.wait([work])
    if not work.cancelled():
        work.exception()
