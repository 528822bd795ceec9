"""Tokens that renew themselves: one refresh at a time, before they end, shared by all callers that wait."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from random import Random
from typing import Any

import attrs
from msgspec import Struct

from gotsurge_async.api.endpoints import AUTH_REFRESH
from gotsurge_async.auth.keeping import Keeper
from gotsurge_async.auth.stores import Tokens, TokenStore, is_token, same_pair
from gotsurge_async.clock import Clock, Deadline
from gotsurge_async.errors import ConfigError, NotSent, OutcomeUnknown, Rejected, SignInNeeded
from gotsurge_async.hooks import Hooks, SignInRequired, TokenRefreshed
from gotsurge_async.models.times import written
from gotsurge_async.secrets import Known, Secret

__all__ = ["TokenManager"]

logger: logging.Logger = logging.getLogger("gotsurge_async.auth")

REFRESH_AT = 0.8
"""The share of a token's life after which it is renewed: 24 of 30 days, so an outage of days does no harm."""
JITTER = 0.05
"""Renewals are spread over this share of the life before `REFRESH_AT`, so that a fleet does not come at once."""
HARD_LIMIT = timedelta(minutes=1)
"""With less than this left, callers wait for the new token."""
LONGEST_SLEEP = 3600.0
"""The most seconds between two reads of the clock in the background: clocks jump and laptops sleep."""
LONGEST_WAIT = 60.0
"""Seconds that a call waits for a new token; the renewal continues without it."""
LONGEST_CALL = 120.0
"""Seconds that the call of a renewal may take, with all its tries: a service may send its answer byte by byte."""
LONGEST_CLOSE = 10.0
"""Seconds that `close` waits for a renewal, and as many for storing tokens that could not be stored before."""
ASK_AGAIN = timedelta(hours=1)
"""The time for which a refusal of the refresh token counts: its cause may be repaired at the service."""
REFUSED = frozenset(("invalid_grant", "invalid_refresh_token", "invalid_token", "expired_token"))
"""Codes that refuse the refresh token itself; after another refusal, such as a firewall's 403, it is tried again."""


class _Unstored(Struct, frozen=True):
    """New tokens that could not be stored, the stored tokens that they replace, and the reason."""

    stored: Tokens
    new: Tokens
    error: Exception


class TokenManager:
    """Holds the tokens of one account, and keeps them fresh.

    ``bearer()`` returns the token to sign a call with. A stale one starts one task that the manager owns; all callers
    wait for the same task, and a waiter that is cancelled does not cancel it. Across processes the store's lock decides
    which one renews, and the others use what that one stored. New tokens that cannot be stored are used all the same,
    because the service may not know the old ones any more; this is logged, and they are stored later.

    Args:
        store: where the tokens are; new ones are stored before they are used.
        refresh: makes new tokens of a refresh token, as `OAuth.refresh`, which repeats its call automatically.
        known: where to note tokens that must not be shown.
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
        self._sign_in_reported = False  # whether it was reported that a person must sign in
        self._in_flight = False  # a refresh call is on its way, or its result is not stored yet
        self._unstored: _Unstored | None = None
        self._task: asyncio.Task[Tokens] | None = None
        self._loading = asyncio.Lock()
        self._failure: Exception | None = None  # of the last renewal; None if it succeeded
        self._failures = 0
        self._failed_at = 0.0
        self._spread = 1.0
        self._keeper: Keeper | None = None

    async def bearer(self) -> Secret:
        """The token to sign a call with.

        Raises:
            SignInNeeded: no token works, and a person must sign in to get a new one.
            CallError: the token has ended, and the service could not be reached for a new one, or not within a minute.
        """
        tokens = self._tokens or await self._load()
        now = self._clock.now()
        if self._must_refresh(tokens, now):
            if self._failure is not None and self._backoff_left(0.5, 60.0):
                raise self._failure.with_traceback(None)
            tokens = await self._outcome(self._start_refresh())
        elif self._should_refresh(tokens, now) or self._should_store():
            self._start_refresh()  # in the background: this token still works
        return tokens.bearer

    async def renew(self) -> Tokens:
        """Renew now, whatever the age, also when the refresh token was refused before.

        Raises:
            SignInNeeded: there is no refresh token, or the service does not accept it.
            CallError: the service could not be reached.
        """
        renewal = self._start_refresh(force=True)
        await asyncio.wait([renewal])  # the renewal outlives its caller's cancellation
        return _outcome_of(renewal)

    def invalidate(self, bearer: Secret) -> None:
        """Note that the service refused this token; does nothing if another token is in use by now."""
        if self._tokens is not None and self._tokens.bearer == bearer:
            self._rejected = bearer

    async def adopt(self, tokens: Tokens) -> None:
        """Store the tokens of a sign-in, and use them from now on.

        Raises:
            ConfigError: they cannot be stored, or are not tokens.
        """
        for secret in (tokens.bearer, tokens.refresh):
            if secret and not is_token(secret.reveal()):
                raise ConfigError("a token must be visible ASCII without spaces, but this one is not", "E304")
        async with self._store.lock(self.account):
            await self._store.save(self.account, tokens)
        self._unstored = None
        self._use(tokens)

    async def current(self) -> Tokens | None:
        """The present tokens, None before a sign-in; never renews."""
        return self._tokens or await self._store.load(self.account)

    def start(self, keeper: Keeper | None = None) -> None:
        """Renew tokens in the background until `close`; a ``keeper`` does it for several accounts."""
        if self._keeper is None:
            self._keeper = keeper or Keeper(self._clock)
            self._keeper.add(self)

    async def close(self, timeout: float = LONGEST_CLOSE) -> None:
        """End the background work.

        A renewal whose call is under way is waited for, so that no token is lost; tokens that could not be stored are
        tried once more.

        Args:
            timeout: seconds for both; storing has at least one second.
        """
        deadline = Deadline(self._clock, timeout)
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            await keeper.remove(self)
        if (task := self._task) is not None:
            if self._in_flight:  # else it waits for another process
                await deadline.awaits(task)
            await _end(task)
        if self._unstored is not None:
            storing = asyncio.create_task(self._store_again(), name=f"gotsurge tokens of {self.account}")
            await Deadline(self._clock, max(deadline.left, 1.0)).awaits(storing)
            await _end(storing)
            if self._unstored is not None:
                logger.error("the new tokens of %s could not be stored, and are lost: sign in again", self.account)

    # --- which tokens are stale, and their renewal ------------------------------------------------------------------

    async def _load(self) -> Tokens:
        async with self._loading:
            stored = self._tokens or await self._stored()
            if self._tokens is None:  # else a renewal was faster, and what was read here may be old
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
            self._sign_in_reported = False
        if self._keeper is not None:
            self._keeper.soon(self)

    def _must_refresh(self, tokens: Tokens, now: datetime) -> bool:
        if self._rejected is not None and tokens.bearer == self._rejected:
            return True
        ends = tokens.expires_at - now <= HARD_LIMIT
        return ends and not (self._just_renewed() and same_pair(tokens, self._tokens))

    def _just_renewed(self) -> bool:
        """Whether the tokens are so new that they cannot have ended: if they seem to have, a clock is wrong."""
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
        """Whether the refresh token was refused a short time ago."""
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
            self._report_sign_in(str(error))
        elif isinstance(error, Exception):
            self._failed(error)
        elif self._unstored is not None:
            self._failed(self._unstored.error)

    async def _outcome(self, renewal: asyncio.Task[Tokens]) -> Tokens:
        """The tokens of a renewal, for a caller that waits at most a minute; cancelling it does not end the renewal."""
        if not await Deadline(self._clock, LONGEST_WAIT).awaits(renewal):
            why = f"the token has expired, and no new one arrived within {LONGEST_WAIT:.0f} s"
            raise NotSent(why, "E310", operation=AUTH_REFRESH.name)
        return _outcome_of(renewal)

    async def _refresh(self, force: bool) -> Tokens:
        """Lock, read again, renew only if the stored tokens are stale too, store, and only then use."""
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
        """The stored tokens; or newer ones that could not be stored."""
        stored = await self._store.load(self.account)
        if self._unstored is not None:
            if same_pair(stored, self._unstored.stored):
                return self._unstored.new
            self._unstored = None  # meanwhile a person has signed in or out, or it was stored after all
        if stored is None:
            self._tokens = None
            raise SignInNeeded(account=self.account)
        return stored

    async def _put(self, used: Tokens, new: Tokens) -> bool:
        """Store new tokens in place of those that they renew, or keep them for later; False if others are stored."""
        unstored = self._unstored
        over = used if unstored is None else unstored.stored
        try:
            done = await self._store.replace(self.account, over, new)
        except BaseException as error:  # a store may raise anything, and these tokens exist only here
            known = error if isinstance(error, Exception) else ConfigError("storing the tokens was interrupted", "E310")
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
        """The stored tokens, after another try to store newer ones."""
        tokens = await self._stored()
        if self._unstored is None or await self._put(tokens, tokens):
            return tokens
        return await self._stored()

    async def _store_again(self) -> None:
        async with self._store.lock(self.account):
            await self._store_unstored()

    async def _overtaken(self, used: Tokens) -> Tokens:
        """The tokens to use after the refresh token was refused, or another process stored tokens during the call."""
        stored = await self._stored()
        if same_pair(stored, used):
            refused = attrs.evolve(stored, refused_at=self._clock.now())
            await self._put(stored, refused)
            self._use(refused)
            raise self._refused()
        self._use(stored)
        if self._must_refresh(stored, self._clock.now()):
            why = "another process has replaced the tokens, and the new ones have expired"
            raise NotSent(why, "E310", operation=AUTH_REFRESH.name)
        return stored

    def _refused(self) -> SignInNeeded:
        return SignInNeeded("GotSurge does not accept the refresh token: sign in again", account=self.account)

    async def _renew(self, tokens: Tokens) -> Tokens | None:
        """Get new tokens; None if the service refuses the refresh token."""
        if tokens.refresh is None:
            raise SignInNeeded(
                "the token has expired, and there is no refresh token: sign in again", account=self.account
            )
        self._in_flight = True
        call = asyncio.ensure_future(self._call(tokens.refresh))
        try:
            if not await Deadline(self._clock, LONGEST_CALL).awaits(call):
                raise OutcomeUnknown(
                    f"no complete answer within {LONGEST_CALL:.0f} s", "E310", operation=AUTH_REFRESH.name
                )
            return call.result()
        except Rejected as error:
            if error.code in REFUSED:
                return None
            raise
        finally:
            await _end(call)

    # --- in the background ------------------------------------------------------------------------------------------

    async def keep(self) -> float:
        """Renew the tokens at about 80 % of their life, and after a failure again, because days are left. See `Keeper`.

        Returns:
            Seconds until the next call is due.
        """
        try:
            await self._renew_if_due()
        except SignInNeeded:
            return LONGEST_SLEEP  # or until a person signs in here; a call reads the store again
        except Exception as error:  # a store may raise anything, and the keeper must outlive it
            if error is not self._failure:  # a renewal has logged its own
                self._failed(error)
        return self._seconds_left()

    async def _renew_if_due(self) -> None:
        tokens = self._tokens
        if tokens is None or tokens.refused_at is not None:
            tokens = await self._stored()  # a person may have signed in, in another process
            if not same_pair(tokens, self._tokens):
                self._use(tokens)
        if tokens.refused_at is not None and not self._sign_in_reported:
            self._report_sign_in(str(self._refused()))
        if self._should_refresh(tokens, self._clock.now()) or self._should_store():
            await asyncio.shield(self._start_refresh())

    def _seconds_left(self) -> float:
        if self._unstored is not None:
            return self._backoff_left(15.0, LONGEST_SLEEP)
        pause = HARD_LIMIT.total_seconds() if self._just_renewed() else self._backoff_left(15.0, LONGEST_SLEEP)
        if self._refresh_at is None or self._tokens is None or self._tokens.refresh is None or self._sign_in_reported:
            return pause or LONGEST_SLEEP
        return min(LONGEST_SLEEP, max(pause, (self._refresh_at - self._clock.now()).total_seconds()))

    # --- reports ----------------------------------------------------------------------------------------------------

    def _report_sign_in(self, reason: str) -> None:
        """Report that a person must sign in, once until the next sign-in."""
        if self._sign_in_reported:
            return
        self._sign_in_reported = True
        works = self._tokens is not None and self._tokens.bearer != self._rejected
        ends = self._tokens.expires_at if self._tokens and works else None
        until = f"; calls work until {written(ends)}" if ends and ends > self._clock.now() else ""
        logger.error("account %s: %s%s", self.account, reason, until)
        self._hooks.emit(SignInRequired(account=self.account, reason=reason, works_until=ends if until else None))

    def _failed(self, error: Exception) -> None:
        """Note and log a failed renewal; the level rises as the token's end nears, because days are left at first."""
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
            until = f" (it ends at {written(tokens.expires_at)})"
        logger.log(level, "the token of %s was not renewed%s: %s", self.account, until, error)


def _outcome_of(renewal: asyncio.Task[Tokens]) -> Tokens:
    if renewal.cancelled():
        raise NotSent("the client was closed while the token was being renewed", "E310", operation=AUTH_REFRESH.name)
    return renewal.result()


async def _end(work: asyncio.Future[Any]) -> None:
    """Cancel work that has not ended, wait for its end, and ignore its failure."""
    if not work.done():
        work.cancel()
        await asyncio.wait([work])
    if not work.cancelled():
        work.exception()
