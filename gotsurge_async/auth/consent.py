"""A consent from its beginning to its tokens, and the state that ties the two (section "Basic Oauth2 steps").

The state is random, lasts ten minutes, and is accepted once in each process. It carries account and end itself, signed,
and no memory is used for a consent that only began: a stranger who begins many fills no memory, and displaces no
other's. In a web service it is tied to the browser as well: else a stranger could have another person's browser finish
a sign-in that is not theirs.
"""

import base64
import hashlib
import hmac
import secrets
import struct
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import attrs
from msgspec import Struct

from gotsurge_async.auth.oauth import OAuth
from gotsurge_async.auth.stores import Tokens
from gotsurge_async.errors import ConfigError, SignInFailed
from gotsurge_async.secrets import Secret, as_secret

__all__ = ["Begun", "Consent", "Finished"]

STATE_LIFE = timedelta(minutes=10)
"""The longest time of a consent, from the start to the redirect."""
MOST_USED = 10_000
"""The number of used states that are remembered: the oldest are forgotten, so the memory is bounded."""
_SHORTEST_KEY = 32


@attrs.frozen(kw_only=True)
class Begun:
    """A consent that has begun: the URL for the browser, and the state that must come back."""

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
        state_key: signs the states, at least 32 characters that nobody can guess. The processes of one service share
            it; unless given, a consent is finished by the object that began it.

    Raises:
        ConfigError: ``state_key`` is too short.
    """

    def __init__(self, oauth: OAuth, redirect_url: str, *, state_key: Secret | str | None = None) -> None:
        key = as_secret(secrets.token_urlsafe(32) if state_key is None else state_key)
        if key is None or len(key.reveal()) < _SHORTEST_KEY:
            raise ConfigError(f"state_key must be hard to guess, and have at least {_SHORTEST_KEY} characters", "E903")
        self.redirect_url = redirect_url
        self._oauth = oauth
        self._key = key
        self._used: dict[bytes, None] = {}

    async def begin(self, account: str = "default", *, browser: str = "") -> Begun:
        """Begin a consent.

        Args:
            account: the name under which the tokens will be kept.
            browser: a secret that the browser holds in a cookie, and must bring back.

        Raises:
            ConfigError: no client key is known.
        """
        ends = self._oauth.clock.now() + STATE_LIFE
        content = secrets.token_bytes(16) + struct.pack(">d", ends.timestamp()) + account.encode()
        state = base64.urlsafe_b64encode(self._signature(content, browser) + content).decode().rstrip("=")
        return Begun(url=self._oauth.authorization_url(self.redirect_url, state=state), state=state)

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
            raise SignInFailed("access was denied: start the sign-in again", reason="refused")
        consent = self._take(state, browser)
        if consent is None:
            raise SignInFailed(
                "this sign-in was not started here, or has already ended: start it again", reason="state"
            )
        if query.get("error"):
            reason = query.get("error_description") or query["error"]
            raise SignInFailed(f"GotSurge did not grant access: {_plain(reason)}", reason="refused")
        account, ends = consent
        if self._oauth.clock.now() >= ends:
            raise SignInFailed("this sign-in took too long: start it again", reason="timeout")
        if not query.get("code"):
            raise SignInFailed("GotSurge sent no code: start the sign-in again", reason="code")
        return Finished(account=account, tokens=await self._oauth.exchange(query["code"]))

    def _take(self, state: str, browser: str) -> tuple[str, datetime] | None:
        """Use up a state; returns its account and end, or None if it is not ours, was used, or another browser's."""
        try:
            decoded = base64.urlsafe_b64decode(state + "=" * (-len(state) % 4))
        except ValueError:
            return None
        signature, content = decoded[:32], decoded[32:]
        if not hmac.compare_digest(signature, self._signature(content, browser)):
            return None
        # By its signature, not its text: base64 can write the same bytes in several ways.
        if signature in self._used:
            return None
        # What is forgotten here can come a second time, but its code is good only once at GotSurge too.
        while len(self._used) >= MOST_USED:
            del self._used[next(iter(self._used))]
        self._used[signature] = None
        (ends,) = struct.unpack(">d", content[16:24])
        return content[24:].decode(), datetime.fromtimestamp(ends, UTC)

    def _signature(self, content: bytes, browser: str) -> bytes:
        browser_hash = hashlib.sha256(browser.encode("utf-8", "surrogatepass")).digest()
        return hmac.digest(self._key.reveal().encode(), browser_hash + content, "sha256")


def _plain(text: str) -> str:
    return "".join(c for c in text if c.isprintable())[:200]
