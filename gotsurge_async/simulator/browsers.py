"""What the simulator remembers of the browsers that visit its pages: who signed in, and which forms it gave out.

A form carries nothing but a token, good once, in the browser that got it, for ten minutes. What the form is
about stays here: neither another site nor the user can change it.
"""

import secrets
from typing import Literal

from attrs import define, field, frozen

from gotsurge_async.simulator.accounts import Account, User

FORM_LIFE = 10 * 60.0


@frozen(kw_only=True)
class Visit:
    """Why somebody is at a page: which partner sent them, and where they are to go afterwards."""

    kind: Literal["consent", "sso"]
    account: Account
    target: str
    state: str | None = None


Purpose = Literal["sign-in", "decision"]


@frozen
class _Form:
    purpose: Purpose
    visit: Visit
    ends: float


@define
class Browser:
    """One browser, known by its cookie."""

    user: User | None = None
    forms: dict[str, _Form] = field(factory=dict, repr=False)

    def new_form(self, purpose: Purpose, visit: Visit, now: float) -> str:
        """The token of a new form for a visit."""
        self.forms = {token: form for token, form in self.forms.items() if now < form.ends}
        token = secrets.token_urlsafe(24)
        self.forms[token] = _Form(purpose, visit, now + FORM_LIFE)
        return token

    def take_form(self, purpose: Purpose, token: str, now: float) -> Visit | None:
        """What a form that comes back is about.

        None for one that was not given to this browser for this purpose, or that is used or old.
        """
        form = self.forms.pop(token, None)
        if form is None or form.purpose != purpose or now >= form.ends:
            return None
        return form.visit


class BrowserBook:
    """All browsers by their cookies."""

    def __init__(self) -> None:
        self._browsers: dict[str, Browser] = {}

    def find(self, cookie: str | None) -> Browser | None:
        """The browser that has the cookie."""
        return self._browsers.get(cookie or "")

    def new(self, user: User | None = None) -> tuple[str, Browser]:
        """A browser with a cookie of its own; signing in takes a new one, so that nobody can have planted it."""
        cookie = secrets.token_urlsafe(24)
        browser = self._browsers[cookie] = Browser(user)
        return cookie, browser

    def forget(self, cookie: str | None) -> None:
        """Know a browser no more."""
        self._browsers.pop(cookie or "", None)
