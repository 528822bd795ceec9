"""The settings of a client, checked, and the parts that are made of them, which all of its accounts share."""

import asyncio
import logging
import sys
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from gotsurge_async.api.profile import Profile
from gotsurge_async.auth.keeping import Keeper
from gotsurge_async.auth.oauth import OAuth, tokens_from
from gotsurge_async.auth.stores import MemoryStore, Tokens, TokenStore
from gotsurge_async.auth.tokens import TokenManager
from gotsurge_async.calls.limiter import Limiter
from gotsurge_async.calls.session import Session
from gotsurge_async.clock import Clock, SystemClock
from gotsurge_async.config import (
    Credentials,
    Environment,
    Limits,
    RetryPolicy,
    Timeouts,
    check_parts,
    check_settings,
    environment_of,
    limits_for,
    profile_of,
    secret_setting,
    settings_of,
)
from gotsurge_async.hooks import Hook, Hooks, listeners_of
from gotsurge_async.secrets import Known, Secret
from gotsurge_async.transports.base import Transport

logger: logging.Logger = logging.getLogger("gotsurge_async")

_GIVE_BACK = 1.0
"""Seconds that a transport has to close."""


class Parts:
    """The parts that the accounts of a client share. The arguments are those of `GotSurge`.

    Raises:
        ConfigError: a setting that cannot be right; the message says what to write.
    """

    def __init__(
        self,
        environment: str | Environment,
        *,
        api_base: str | None,
        credentials: Credentials | None,
        bearer_token: str | Secret | None,
        refresh_token: str | Secret | None,
        token_store: TokenStore | None,
        transport: Transport | None,
        proxy: str | None,
        timeouts: Timeouts | float | None,
        retry: RetryPolicy | int | None,
        limits: Limits | int | None,
        profile: Profile | Mapping[str, Any] | str | Path | None,
        hooks: Iterable[Hook],
        clock: Clock | None,
        assumed_endpoints: Literal["accept", "refuse"] | None,
        application: str,
    ) -> None:
        timeouts = settings_of(Timeouts, timeouts, "timeouts", "total")
        policy = settings_of(RetryPolicy, retry, "retry", "attempts")
        self.limits: Limits = limits_for(timeouts, settings_of(Limits, limits, "limits", "concurrency"))
        check_settings(credentials, assumed_endpoints, application)
        check_parts(transport=transport, token_store=token_store, clock=clock)
        if transport is None:
            # Imported here, so that importing the package does not pay for aiohttp.
            from gotsurge_async.transports.aiohttp import AiohttpTransport

            transport = AiohttpTransport(timeouts, proxy=proxy)
        self.transport: Transport = transport
        self.clock: Clock = clock or SystemClock()
        self.profile: Profile = profile_of(profile)
        self.environment: Environment = environment_of(environment, api_base, self.profile)
        self.hooks: Hooks = Hooks(*listeners_of(hooks))
        self._limiter = Limiter(self.limits, self.clock)
        self._new_session = partial(
            Session,
            transport=transport,
            api_base=self.environment.api_base,
            profile=self.profile,
            policy=policy,
            hooks=self.hooks,
            clock=self.clock,
            accept_assumed=assumed_endpoints == "accept"
            or (assumed_endpoints is None and not self.environment.is_production),
            try_timeout=timeouts.total,
            application=application.strip(),
        )
        self._new_known = partial(Known, *filter(None, [credentials.secret_key if credentials else None]))
        self._first = self._new_known()
        # Without a limit: calls wait for a sign-in, which must wait for no call.
        unlimited = Limiter(Limits(concurrency=sys.maxsize), self.clock, start=sys.maxsize)
        self.sign_ins: Session = self._new_session(tokens=None, limiter=unlimited, known=self._first)
        self.oauth: OAuth = OAuth(
            environment=self.environment, credentials=credentials, clock=self.clock, call=self.sign_ins.call
        )
        self._store = token_store or MemoryStore()
        self.keeper: Keeper = Keeper(self.clock)
        bearer, refresh = secret_setting("bearer_token", bearer_token), secret_setting("refresh_token", refresh_token)
        self.given_tokens: Tokens | None = _given_tokens(bearer, refresh, self.clock)

    def of_account(self, account: str, *, is_first: bool = False) -> tuple[TokenManager, Session]:
        """The tokens of an account, and a session whose calls they sign; the first account signs in for all."""
        known = self._first if is_first else self._new_known()
        tokens = TokenManager(
            self._store, self.oauth.refresh, account=account, clock=self.clock, hooks=self.hooks, known=known
        )
        return tokens, self._new_session(tokens=tokens, limiter=self._limiter, known=known, account=account)

    async def close_transport(self) -> None:
        """Close the transport, and leave it if that takes longer than a second."""
        closing = asyncio.ensure_future(self.transport.close())
        await asyncio.wait([closing], timeout=_GIVE_BACK)
        if closing.cancel():
            logger.warning("the transport did not close within %g s", _GIVE_BACK)
            await asyncio.wait([closing], timeout=_GIVE_BACK)
        else:
            closing.result()


def _given_tokens(bearer: Secret | None, refresh: Secret | None, clock: Clock) -> Tokens | None:
    now = clock.now()
    if bearer:
        return tokens_from(bearer.reveal(), refresh=refresh, issued_at=now)
    if refresh:  # no bearer token yet: one that has ended is renewed at the first call
        return Tokens(bearer=Secret(""), refresh=refresh, issued_at=now, expires_at=now)
    return None
