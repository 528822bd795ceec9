"""`gs.sso`: single sign-on of a platform partner's users (section "SSO Platform Partners")."""

import attrs

from gotsurge_async.auth.oauth import OAuth, SignedIn

__all__ = ["Sso"]


@attrs.frozen
class Sso:
    """Exchange what GotSurge's sign-in page gave to the browser."""

    _oauth: OAuth

    async def exchange(self, session_id: str) -> SignedIn:
        """Exchange a session id for tokens (section "SSO Exchange Token"); it is good once, and not for long.

        Nothing is stored: give the tokens to ``gs.adopt(account, signed_in.tokens)``.

        Raises:
            Rejected: the session id is wrong, used or too old.
            NotSent, OutcomeUnknown: no answer; have the user sign in again.
        """
        return await self._oauth.exchange_session(session_id)
