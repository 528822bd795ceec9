"""A consent from its beginning to its tokens, and the state that ties the two (section "Basic Oauth2 steps").

The state is random, good once and for ten minutes. By default it carries account and end itself, signed, and no memory
is used for a consent that only began: a stranger who begins many fills no memory, and displaces no other's. In a store
that several processes share it is kept as a hash, and read by that hash, so neither a look into the store nor the time
that reading takes reveals a good state. In a web service it is tied to the browser as well: else a stranger could have
another person's browser finish a sign-in that is not theirs.
"""

import base64
import hashlib
import hmac
import secrets
import struct
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Protocol

import attrs
from msgspec import Struct

from gotsurge_async.auth.oauth import OAuth
from gotsurge_async.auth.stores import Tokens
from gotsurge_async.errors import SignInFailed

__all__ = ["Begun", "Consent", "Finished", "MemoryStates", "Pending", "StateStore"]

STATE_LIFE = timedelta(minutes=10)
"""How long a consent may take, from the start to the redirect."""
MOST_PENDING = 10_000
"""Consents that a `MemoryStates` remembers: the oldest are forgotten, so its memory is bounded."""


class Pending(Struct, frozen=True, kw_only=True):
    """A consent under way.

    Attributes:
        account: the name under which the tokens will be kept.
        browser: a hash of the secret in the browser's cookie, "" at a terminal.
        ends: when it is too late, aware.
    """

    account: str
    browser: str = ""
    ends: datetime


class StateStore(Protocol):
    """Remembers consents under way. ``key`` is a hash of the state; `take` returns each one once."""

    async def put(self, key: str, pending: Pending) -> None:
        """Remember a consent."""
        ...

    async def take(self, key: str) -> Pending | None:
        """Forget a consent and return it, in one step; None when it is not known."""
        ...


class MemoryStates(StateStore):
    """Remembers the newest consents in this process; `gotsurge_async.auth.sql.SqlStates` does for several processes."""

    def __init__(self) -> None:
        self._pending: dict[str, Pending] = {}

    async def put(self, key: str, pending: Pending) -> None:
        while len(self._pending) >= MOST_PENDING:
            del self._pending[next(iter(self._pending))]
        self._pending[key] = pending

    async def take(self, key: str) -> Pending | None:
        return self._pending.pop(key, None)


class _SignedStates:
    """OAuth states that need no storage: each has a signature, 16 random bytes, its expiry time and the account."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        # What is forgotten here can come a second time, but its code is good only once at GotSurge too.
        self._used = MemoryStates()

    def sign(self, pending: Pending) -> str:
        content = secrets.token_bytes(16) + struct.pack(">d", pending.ends.timestamp()) + pending.account.encode()
        return base64.urlsafe_b64encode(self._signature(content, pending.browser) + content).decode().rstrip("=")

    async def take(self, state: str, browser: str) -> Pending | None:
        """The consent of a state, once; None for a state that is not ours, was used, or is another browser's."""
        try:
            decoded = base64.urlsafe_b64decode(state + "=" * (-len(state) % 4))
        except ValueError:
            return None
        signature, content = decoded[:32], decoded[32:]
        if not hmac.compare_digest(signature, self._signature(content, browser)):
            return None
        (ends,) = struct.unpack(">d", content[16:24])
        pending = Pending(account=content[24:].decode(), browser=browser, ends=datetime.fromtimestamp(ends, UTC))
        # By its signature, not its text: base64 can write the same bytes in several ways.
        used = await self._used.take(signature.hex())
        await self._used.put(signature.hex(), pending)
        return None if used else pending

    def _signature(self, content: bytes, browser: str) -> bytes:
        return hmac.digest(self._key, browser.encode() + content, "sha256")


@attrs.frozen(kw_only=True)
class Begun:
    """A consent that has begun: where to send the browser, and the state that must come back."""

    url: str = attrs.field(repr=False)
    state: str = attrs.field(repr=False)


class Finished(Struct, frozen=True, kw_only=True):
    """A consent that ended in tokens, which are not stored yet."""

    account: str
    tokens: Tokens


class Consent:
    """Begins and finishes consents.

    Args:
        redirect_url: where GotSurge sends the browser back to.
        states: where consents under way are remembered, for a service of several processes. Without it the state itself
            carries the account's name, readable in the URL, signed with a key of this object.
    """

    def __init__(self, oauth: OAuth, redirect_url: str, *, states: StateStore | None = None) -> None:
        self.redirect_url = redirect_url
        self._oauth = oauth
        self._states = states
        self._signed = _SignedStates()

    async def begin(self, account: str = "default", *, browser: str = "") -> Begun:
        """Begin a consent.

        Args:
            account: the name under which the tokens will be kept.
            browser: a secret that the browser holds in a cookie, and must bring back.

        Raises:
            ConfigError: no client key is known.
        """
        pending = Pending(account=account, browser=_hash(browser), ends=self._oauth.clock.now() + STATE_LIFE)
        state = self._signed.sign(pending) if self._states is None else secrets.token_urlsafe(32)
        url = self._oauth.authorization_url(self.redirect_url, state=state)
        if self._states is not None:
            await self._states.put(_hash(state), pending)
        return Begun(url=url, state=state)

    async def finish(self, query: Mapping[str, str], *, browser: str = "") -> Finished:
        """Finish a consent with the query of the redirect.

        Raises:
            SignInFailed: refused, or a state or code that is missing, unknown, used, too old, or another browser's.
            Rejected: the service does not take the code.
            NotSent, OutcomeUnknown: no answer to the exchange; begin again.
        """
        state = query.get("state", "")
        if query.get("error") and not state:
            # Only a refusal may come without a state: it grants nothing. But its writer is not known.
            raise SignInFailed("access was not granted: begin the sign-in anew", reason="refused")
        pending = await self._take(state, _hash(browser)) if state else None
        if pending is None:
            raise SignInFailed(
                "this sign-in was not begun here, or was finished already: begin it anew", reason="state"
            )
        if query.get("error"):
            reason = query.get("error_description") or query["error"]
            raise SignInFailed(f"GotSurge did not grant access: {_plain(reason)}", reason="refused")
        if self._oauth.clock.now() >= pending.ends:
            raise SignInFailed("this sign-in took too long: begin it anew", reason="timeout")
        if not query.get("code"):
            raise SignInFailed("GotSurge sent no code: begin the sign-in anew", reason="code")
        return Finished(account=pending.account, tokens=await self._oauth.exchange(query["code"]))

    async def _take(self, state: str, browser: str) -> Pending | None:
        if self._states is None:
            return await self._signed.take(state, browser)
        pending = await self._states.take(_hash(state))
        return pending if pending is not None and hmac.compare_digest(pending.browser, browser) else None


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _plain(text: str) -> str:
    return "".join(c for c in text if c.isprintable())[:200]
