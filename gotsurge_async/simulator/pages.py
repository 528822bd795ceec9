"""The pages that people see: sign-in, consent (section "Basic Oauth2 steps") and the SSO login page."""

import secrets
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from aiohttp import web

from gotsurge_async.simulator import page_text
from gotsurge_async.simulator.accounts import Account
from gotsurge_async.simulator.browsers import Browser, Purpose, Visit
from gotsurge_async.simulator.replies import Caller
from gotsurge_async.simulator.service import Service

CONSENT = "/oauth2/auth"
LOGIN = "/oauth2/login"
SSO = "/sso/login"
COOKIE = "gotsurge_simulator"
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def add_pages(app: web.Application, service: Service) -> None:
    """Serve the pages."""
    pages = _Pages(service)
    app.router.add_get(CONSENT, pages.show_consent)
    app.router.add_post(CONSENT, pages.decide)
    app.router.add_get(SSO, pages.show_sso)
    app.router.add_post(LOGIN, pages.sign_in)


class _WrongError(Exception):
    """What cannot be answered by a redirect, because nobody knows that its target may be trusted."""

    def __init__(self, status: int, title: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.title = title


_STALE_FORM = _WrongError(403, "This form is not valid any more", "Go back to where you came from and start again.")


class _Pages:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def show_consent(self, request: web.Request) -> web.Response:
        """Ask for consent, or for a sign-in first."""
        try:
            visit = self._visit("consent", request.query, "redirect_url")
        except _WrongError as wrong:
            return _wrong(wrong)
        return self._ask(request, visit)

    async def show_sso(self, request: web.Request) -> web.Response:
        """Ask a platform partner's user to sign in."""
        try:
            visit = self._visit("sso", request.query, "receive_url")
            if not visit.account.platform:
                raise _WrongError(403, "No single sign-on", "Only platform partners have a single sign-on.")
        except _WrongError as wrong:
            return _wrong(wrong)
        cookie, browser = self._browser(request)
        return self._login_form(cookie, browser, visit)

    async def sign_in(self, request: web.Request) -> web.Response:
        """Check email and password; go on to the consent page, or hand the session id over."""
        fields = await _fields(request)
        cookie, browser, visit = self._take_form("sign-in", request, fields)
        if browser is None or visit is None:
            return _wrong(_STALE_FORM)
        user = self._service.users.get(fields.get("email", ""))
        password = fields.get("password", "")
        if user is None or not secrets.compare_digest(user.password.encode(), password.encode()):
            return self._login_form(cookie, browser, visit, "The email or the password is wrong.", 401)
        if user.account != visit.account.name:
            text = f"{user.email} may not sign in for {visit.account.business_name}."
            return self._login_form(cookie, browser, visit, text, 403)
        self._service.browsers.forget(cookie)
        cookie, browser = self._service.browsers.new(user)
        if visit.kind == "sso":
            now = self._service.clock.now()
            session_id = self._service.sign_in.new_session(Caller(visit.account, user), now)
            nonce = secrets.token_urlsafe(16)
            page = page_text.hand_over_page(nonce=nonce, target=visit.target, session_id=session_id)
            return _page(page, nonce, cookie=cookie, frame=page_text.origin_of(visit.target))
        query = {"client_key": visit.account.client_key, "redirect_url": visit.target, "state": visit.state}
        again = urlencode({name: value for name, value in query.items() if value is not None})
        return _redirect(f"{CONSENT}?{again}", cookie)

    async def decide(self, request: web.Request) -> web.Response:
        """Send the user back to the partner, with a code or with an error."""
        fields = await _fields(request)
        cookie, browser, visit = self._take_form("decision", request, fields)
        if browser is None or visit is None or browser.user is None:
            return _wrong(_STALE_FORM)
        decision = fields.get("decision")
        if decision == "other":
            self._service.browsers.forget(cookie)
            return self._login_form(*self._service.browsers.new(), visit)
        if decision == "allow":
            caller = Caller(visit.account, browser.user)
            answer = {"code": self._service.sign_in.new_code(caller, self._service.clock.now())}
        else:
            answer = {"error": "access_denied", "error_description": "The user refused"}
        if visit.state is not None:
            answer["state"] = visit.state
        return _redirect(_with_query(visit.target, answer))

    def _visit(self, kind: str, query: Mapping[str, str], target_name: str) -> Visit:
        """What a request for a page is about; raises when its client or target is wrong."""
        account = self._client(query.get("client_key", ""))
        target = query.get(target_name, "")
        if not self._is_known(target):
            text = f"The {target_name} is not one that {account.business_name} has registered."
            raise _WrongError(400, "Unknown address", text)
        if kind == "sso":
            return Visit(kind="sso", account=account, target=target)
        return Visit(kind="consent", account=account, target=target, state=query.get("state"))

    def _client(self, client_key: str) -> Account:
        for account in self._service.accounts.values():
            if account.client_key == client_key:
                return account
        raise _WrongError(400, "Unknown application", "The client_key is not that of a partner.")

    def _is_known(self, target: str) -> bool:
        """Whether a partner has registered an address: every one on this machine, and those of the options."""
        if target in self._service.options.redirect_urls:
            return True
        try:
            parts = urlsplit(target)
            _ = parts.port
        except ValueError:
            return False
        plain = parts.username is None and not parts.fragment and "\\" not in target
        return parts.scheme in ("http", "https") and parts.hostname in _LOOPBACK and plain

    def _browser(self, request: web.Request) -> tuple[str, Browser]:
        cookie = request.cookies.get(COOKIE)
        browser = self._service.browsers.find(cookie)
        if cookie is None or browser is None:
            return self._service.browsers.new()
        return cookie, browser

    def _take_form(
        self, purpose: Purpose, request: web.Request, fields: Mapping[str, str]
    ) -> tuple[str, Browser | None, Visit | None]:
        cookie = request.cookies.get(COOKIE, "")
        browser = self._service.browsers.find(cookie)
        if browser is None:
            return cookie, None, None
        return cookie, browser, browser.take_form(purpose, fields.get("form", ""), self._service.clock.now())

    def _ask(self, request: web.Request, visit: Visit) -> web.Response:
        cookie, browser = self._browser(request)
        if browser.user is None or browser.user.account != visit.account.name:
            return self._login_form(cookie, browser, visit)
        nonce = secrets.token_urlsafe(16)
        page = page_text.consent_page(
            nonce=nonce,
            action=CONSENT,
            form=browser.new_form("decision", visit, self._service.clock.now()),
            email=browser.user.email,
            partner=visit.account.business_name,
            target=visit.target,
        )
        return _page(page, nonce, cookie=cookie)

    def _login_form(
        self, cookie: str, browser: Browser, visit: Visit, wrong: str = "", status: int = 200
    ) -> web.Response:
        nonce = secrets.token_urlsafe(16)
        page = page_text.login_page(
            nonce=nonce,
            action=LOGIN,
            form=browser.new_form("sign-in", visit, self._service.clock.now()),
            reason=f"to go on to {visit.account.business_name}",
            wrong=wrong,
        )
        return _page(page, nonce, cookie=cookie, status=status)


async def _fields(request: web.Request) -> dict[str, str]:
    return dict(parse_qsl((await request.read()).decode(errors="replace")))


def _with_query(target: str, answer: dict[str, str]) -> str:
    """A partner's address with the answer in its query, after what may stand there already."""
    parts = urlsplit(target)
    query = "&".join(part for part in (parts.query, urlencode(answer)) if part)
    return urlunsplit(parts._replace(query=query))


def _wrong(wrong: _WrongError) -> web.Response:
    nonce = secrets.token_urlsafe(16)
    return _page(page_text.wrong_page(nonce=nonce, title=wrong.title, text=str(wrong)), nonce, status=wrong.status)


def _page(text: str, nonce: str, *, cookie: str | None = None, frame: str = "", status: int = 200) -> web.Response:
    """A page that no other site can frame, whose only scripts and styles are its own."""
    # No form-action: browsers apply it to the redirect after a form, and that goes to the partner.
    policy = f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; base-uri 'none'"
    policy += "; frame-ancestors 'none'" + (f"; frame-src {frame}" if frame else "")
    response = web.Response(status=status, text=text, content_type="text/html")
    response.headers["Content-Security-Policy"] = policy
    return _protected(response, cookie)


def _redirect(location: str, cookie: str | None = None) -> web.Response:
    return _protected(web.Response(status=303, headers={"Location": location}), cookie)


def _protected(response: web.Response, cookie: str | None) -> web.Response:
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Content-Type-Options"] = "nosniff"
    if cookie is not None:
        # Lax: the partner's page sends the browser here by a link, and that visit is to know who is signed in.
        response.set_cookie(COOKIE, cookie, httponly=True, samesite="Lax", path="/")
    return response
