"""`gs.partner`: the partner's own record; `gs.sso`: single sign-on of a platform partner's users."""

import base64
from typing import Literal

from msgspec import Struct

from gotsurge_async.api.endpoints import PARTNER_DETAIL
from gotsurge_async.auth.oauth import OAuth
from gotsurge_async.auth.sign_on import SignedIn
from gotsurge_async.calls.session import Session
from gotsurge_async.config import Credentials
from gotsurge_async.errors import ConfigError, UsageError
from gotsurge_async.models.auth import PartnerDetail
from gotsurge_async.secrets import Secret

__all__ = ["Partner", "SignatureForm", "Sso"]

SignatureForm = Literal["base64", "base64url", "hex"]
"""The form of a signature: the document says "base64" and "lowercase hex (base 64) encoding"."""


class Partner(Struct, frozen=True):
    """Read the partner's own record."""

    _session: Session
    _credentials: Credentials | None

    async def detail(self, *, signature: SignatureForm = "base64", timeout: float | None = None) -> PartnerDetail:
        """Read the owner of the client key, and the target of its webhooks (section "Partner Detail"). Safe to repeat.

        The call is signed with the client key and the secret key, not with a bearer token: no sign-in is needed.

        Args:
            signature: ``base64`` of ``client_key:secret_key`` (percent-encoded in the path), ``base64url``, or ``hex``:
                the base64 text in lower-case hexadecimal. Try another one when the service refuses the first.
            timeout: seconds for the whole of it, see `GotSurge.with_options`.

        Returns:
            The record. Its ``secret_key`` is the partner's secret: its repr does not show it.

        Raises:
            ConfigError: the client has no credentials, or no secret key.
            Rejected: the service does not know this signature.
        """
        return await self._session.within(timeout).call(
            PARTNER_DETAIL, path={"signature": signature_of(self._credentials, signature).reveal()}
        )


def signature_of(credentials: Credentials | None, form: SignatureForm = "base64") -> Secret:
    """The signature of Partner Detail, a secret as well, as it carries the secret key; ConfigError without that key."""
    if credentials is None or credentials.secret_key is None:
        raise ConfigError(
            "a request for Partner Detail must be signed: set GOTSURGE_CLIENT_KEY and GOTSURGE_SECRET_KEY", "E303"
        )
    plain = f"{credentials.client_key}:{credentials.secret_key.reveal()}".encode()
    match form:
        case "base64":
            signature = base64.b64encode(plain)
        case "base64url":
            signature = base64.urlsafe_b64encode(plain)
        case "hex":
            signature = base64.b64encode(plain).hex().encode()
        case _:
            raise UsageError(f"a signature must be base64, base64url or hex, not {form!r}", "E903")
    return Secret(signature.decode())


class Sso(Struct, frozen=True):
    """Exchange the session id that GotSurge's sign-in page gave to the browser (section "SSO Platform Partners")."""

    _oauth: OAuth

    async def exchange(self, session_id: str) -> SignedIn:
        """Exchange a session id for tokens (section "SSO Exchange Token"); it works once, and not for long.

        Nothing is stored: give the tokens to ``gs.adopt(account, signed_in.tokens)``.

        Raises:
            Rejected: the session id is wrong, used or too old.
            NotSent, OutcomeUnknown: no answer; have the user sign in again.
        """
        return await self._oauth.exchange_session(session_id)
