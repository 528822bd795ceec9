"""The pages of a sign-in inside a web service: start, callback, and receive-session. They use no web framework.

`gotsurge_async.auth.web.aiohttp` and `gotsurge_async.auth.web.asgi` serve them.
"""

import hashlib
import html
import inspect
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import msgspec

from gotsurge_async.auth.consent import STATE_LIFE, Consent
from gotsurge_async.auth.oauth import OAuth
from gotsurge_async.auth.stores import Tokens
from gotsurge_async.errors import ConfigError, GotSurgeError, Rejected, SignInFailed
from gotsurge_async.models.auth import User
from gotsurge_async.secrets import Secret

__all__ = ["SignInPages", "WebAnswer", "WebRequest"]

COOKIE = "gotsurge_sign_in"
"""The beginning of a cookie's name; each sign-in has its own cookie, so that two tabs do not disturb each other."""
MOST_TABS = 10
"""Sign-ins under way in one browser: the oldest are removed, so that there are never too many cookies."""
LARGEST_BODY = 16 * 1024
"""The most bytes of a body; a session id has some dozens."""

Keep = Callable[[str, Tokens], Awaitable[None]]
Account = str | Callable[[Any, User | None], "str | Awaitable[str | None] | None"]

_NAME = re.compile(rf"{COOKIE}_[0-9a-f]{{16}}", re.ASCII)
_NONCE = re.compile(r"[\w-]{20,100}", re.ASCII)
_SESSION_ID = re.compile(r"[\w.~+/=-]{8,4096}", re.ASCII)


@attrs.frozen(kw_only=True)
class WebRequest:
    """A request for the pages. ``headers`` has lower-case names; ``native`` is the framework's own request:
    an `aiohttp.web.Request`, or the scope under ASGI.
    """

    method: str
    query: Mapping[str, str] = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(default=b"", repr=False)
    native: Any = attrs.field(default=None, repr=False)


def by_lower_name(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The headers of a `WebRequest`; over HTTP/2 a browser may send several ``Cookie`` headers, which are joined."""
    values: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        values[key] = f"{values[key]}; {value}" if key == "cookie" and key in values else value
    return values


@attrs.frozen(kw_only=True)
class WebAnswer:
    """An answer, for an adapter to send."""

    status: int
    headers: tuple[tuple[str, str], ...] = attrs.field(repr=False)
    body: bytes = attrs.field(default=b"", repr=False)


class SignInPages:
    """The pages of a web service that signs accounts in.

    Args:
        oauth: the client's, ``gs.oauth``.
        keep: stores the tokens under the name of an account, ``gs.adopt``.
        redirect_url: the public URL of the callback page, as GotSurge knows it; with https, cookies are marked secure.
        account: the name to keep the tokens under, or a function (plain or async) that returns it, or None for a
            visitor who may not sign in. The function is called with the framework's request (an `aiohttp.web.Request`,
            or the scope under ASGI) and the user, who is known only after an SSO and is None before a consent. Never
            take the name from the request unchecked: a visitor could put their own tokens in another's place.
        after: where the browser goes when all is done, a path of the service.
        state_key: signs the states, see `Consent`; the processes of one service share it.
        sso_origin: the origin of the GotSurge pages that post session ids, such as ``https://app.gotsurge.co``; by
            default the host of the consent page.

    Raises:
        ConfigError: ``redirect_url`` is no such URL, ``account`` does not take a request and a user, ``state_key`` is
            too short.
    """

    def __init__(
        self,
        oauth: OAuth,
        keep: Keep,
        *,
        redirect_url: str,
        account: Account = "default",
        after: str = "/",
        state_key: Secret | str | None = None,
        sso_origin: str | None = None,
    ) -> None:
        parts = urlsplit(redirect_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment:
            why = "redirect_url must be the public URL of the callback page, such as https://example.com/callback"
            raise ConfigError(why, "E903")
        if callable(account) and not _takes_two(account):
            raise ConfigError("account must be a function of a request and a user: def account(request, user)", "E903")
        self._oauth = oauth
        self._keep = keep
        self._account = account
        self._after = after
        self._consent = Consent(oauth, redirect_url, state_key=state_key)
        self._origin = f"{parts.scheme}://{parts.netloc}".lower()
        self._cookie_path = (parts.path or "/").rsplit("/", 1)[0] or "/"  # start and callback are in the same folder
        self._secure = parts.scheme == "https"
        self._sso_origin = sso_origin or oauth.environment.consent_base

    async def handle(self, page: str, request: WebRequest) -> WebAnswer:
        """Answer a request for ``start``, ``callback`` or ``receive-session``."""
        pages = {
            ("GET", "start"): self.start,
            ("GET", "callback"): self.callback,
            ("GET", "receive-session"): self.receive_page,
            ("POST", "receive-session"): self.receive,
        }
        handler = pages.get((request.method, page))
        if handler is None:
            methods = ", ".join(method for method, name in pages if name == page)
            answer = _page(405 if methods else 404, "Nothing here", "There is no such page.")
            return attrs.evolve(answer, headers=(*answer.headers, ("Allow", methods))) if methods else answer
        return await handler(request)

    async def start(self, request: WebRequest) -> WebAnswer:
        """Send the browser to the consent page."""
        account = await self._account_of(request, None)
        if account is None:
            return _page(403, "Not for you", "You may not sign in to GotSurge here.")
        browser = secrets.token_urlsafe(32)
        begun = await self._consent.begin(account, browser=browser)
        # A browser sends the older ones first.
        oldest = [self._set_cookie(name, "", 0) for name in list(_cookies(request))[: 1 - MOST_TABS]]
        cookie = self._set_cookie(_cookie_name(begun.state), browser, int(STATE_LIFE.total_seconds()))
        return _redirect(302, begun.url, cookie, *oldest)

    async def callback(self, request: WebRequest) -> WebAnswer:
        """Take the code that the browser brings back, exchange it, and keep the tokens."""
        name = _cookie_name(request.query.get("state", ""))
        try:
            done = await self._consent.finish(request.query, browser=_cookies(request).get(name, ""))
            await self._keep(done.account, done.tokens)
        except SignInFailed as error:
            return _page(403 if error.reason == "refused" else 400, "Not signed in", f"{error}.")
        except Rejected:
            return _page(400, "Not signed in", "GotSurge does not take this code: start the sign-in again.")
        except GotSurgeError:
            return _page(502, "Not signed in", "GotSurge could not complete the sign-in: start it again.")
        return _redirect(303, self._after, self._set_cookie(name, "", 0))

    async def receive_page(self, _: WebRequest) -> WebAnswer:
        """The page that waits for GotSurge's ``postMessage`` with a session id (section "SSO Steps", 3)."""
        nonce = secrets.token_urlsafe(16)
        script = _SCRIPT.replace("SENDER", _in_script(self._sso_origin))
        body = (
            f'<h1>GotSurge</h1><p id="said" role="status">Signing you in …</p><script nonce="{nonce}">{script}</script>'
        )
        policy = (
            f"default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; connect-src 'self'; "
            f"base-uri 'none'; form-action 'none'; frame-ancestors {self._sso_origin}"
        )
        return _html(200, "Signing in", body, policy)

    async def receive(self, request: WebRequest) -> WebAnswer:
        """Exchange the session id that our own page posts, and keep the tokens (section "SSO Steps", 4)."""
        # Exactly our own origin: else any page could sign a visitor in to an account of its choice.
        if request.headers.get("origin", "").lower() != self._origin:
            return _json(403, {"message": "This comes from another site."})
        session_id = _session_id(request)
        if session_id is None:
            return _json(400, {"message": "There is no session_id."})
        try:
            signed_in = await self._oauth.exchange_session(session_id)
            account = await self._account_of(request, signed_in.user)
            if account is None:
                return _json(403, {"message": "You may not sign in to GotSurge here."})
            await self._keep(account, signed_in.tokens)
        except Rejected:
            return _json(400, {"message": "GotSurge does not take this session: sign in again."})
        except GotSurgeError:
            return _json(502, {"message": "GotSurge could not be asked: try again."})
        return _json(200, {"next": self._after})

    async def _account_of(self, request: WebRequest, user: User | None) -> str | None:
        if isinstance(self._account, str):
            return self._account
        name = self._account(request.native, user)
        return await name if inspect.isawaitable(name) else name

    def _set_cookie(self, name: str, value: str, seconds: int) -> str:
        # Lax: the browser comes back from another site, by a link.
        secure = "; Secure" if self._secure else ""
        return f"{name}={value}; Path={self._cookie_path}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"


_SCRIPT = Path(__file__).with_name("receive_session.js").read_text(encoding="utf-8")
"""Runs in the page that waits for a session id; SENDER stands for the origin that may send it."""

_STYLE = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:4rem auto;padding:0 1rem;color:#1c2733}"
    "h1{font-size:1.4rem}@media(prefers-color-scheme:dark){body{background:#12181f;color:#e6edf3}}"
)
_NO_SCRIPT = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_COMMON = (("Cache-Control", "no-store"), ("Referrer-Policy", "no-referrer"), ("X-Content-Type-Options", "nosniff"))


def _html(status: int, title: str, body: str, policy: str = _NO_SCRIPT) -> WebAnswer:
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>{body}</body></html>\n'
    )
    headers = (("Content-Type", "text/html; charset=utf-8"), ("Content-Security-Policy", policy), *_COMMON)
    return WebAnswer(status=status, headers=headers, body=page.encode())


def _page(status: int, title: str, text: str) -> WebAnswer:
    return _html(status, title, f"<h1>{html.escape(title)}</h1><p>{html.escape(text)}</p>")


def _redirect(status: int, where: str, *cookies: str) -> WebAnswer:
    set_cookies = [("Set-Cookie", cookie) for cookie in cookies]
    return WebAnswer(status=status, headers=(("Location", where), *set_cookies, *_COMMON))


def _json(status: int, content: dict[str, str]) -> WebAnswer:
    headers = (("Content-Type", "application/json"), *_COMMON)
    return WebAnswer(status=status, headers=headers, body=msgspec.json.encode(content))


def _in_script(text: str) -> str:
    """A text as a JavaScript literal that cannot end its script element."""
    return msgspec.json.encode(text).decode().replace("<", "\\u003c")


def _cookie_name(state: str) -> str:
    return f"{COOKIE}_{hashlib.sha256(state.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def _cookies(request: WebRequest) -> dict[str, str]:
    """The cookies of sign-ins. Others may be malformed, for which a strict reader would return none of ours."""
    pairs = (part.strip().partition("=") for part in request.headers.get("cookie", "").split(";"))
    return {name: value for name, _, value in pairs if _NAME.fullmatch(name) and _NONCE.fullmatch(value)}


def _takes_two(function: Callable[..., object]) -> bool:
    """Whether a function can be called with two arguments, if its signature is known."""
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        return False
    except ValueError:  # it is written in C
        pass
    return True


def _session_id(request: WebRequest) -> str | None:
    if len(request.body) > LARGEST_BODY:
        return None
    try:
        content = msgspec.json.decode(request.body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    session_id = content.get("session_id")
    return session_id if isinstance(session_id, str) and _SESSION_ID.fullmatch(session_id) else None
