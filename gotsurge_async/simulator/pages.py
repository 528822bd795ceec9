"""The pages for people: sign-in, consent (section "Basic Oauth2 steps") and the SSO login page."""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from aiohttp import web

from gotsurge_async.simulator.loopback import PAGE_HEADERS, is_here, origin
from gotsurge_async.simulator.state.accounts import Browser, Caller, Purpose, Visit, account_with
from gotsurge_async.simulator.state.service import Service

CONSENT = "/oauth2/auth"
LOGIN = "/oauth2/login"
SSO = "/sso/login"
COOKIE = "gotsurge_simulator"
HTML = Path(__file__).parent / "sign_in"

Handler = Callable[[web.Request], Awaitable[web.Response]]


def add_pages(app: web.Application, service: Service) -> None:
    """Serve the pages."""
    pages = _Pages(service)
    app.router.add_get(CONSENT, _handler(pages.show_consent))
    app.router.add_post(CONSENT, _handler(pages.decide))
    app.router.add_get(SSO, _handler(pages.show_sso))
    app.router.add_post(LOGIN, _handler(pages.sign_in))


class _WrongError(Exception):
    """A request that is answered by a page, because its redirect target may not be trusted."""

    def __init__(self, status: int, title: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.title = title


def _handler(show: Handler) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        try:
            return await show(request)
        except _WrongError as wrong:
            return _page("wrong", wrong.title, status=wrong.status, text=str(wrong))

    return handle


class _Pages:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def show_consent(self, request: web.Request) -> web.Response:
        """Ask for consent, or for a sign-in first."""
        visit = self._visit("consent", request.query)
        browser = self._browser(request)
        if browser.user is None or browser.user.account != visit.account.name:
            return self._login_form(browser, visit)
        partner = visit.account.business_name
        return _page(
            "consent",
            f"Allow {partner}?",
            browser,
            action=CONSENT,
            form=browser.new_form("decision", visit, self._service.clock.now()),
            email=browser.user.email,
            partner=partner,
            target=origin(visit.target),
        )

    async def show_sso(self, request: web.Request) -> web.Response:
        """Ask a platform partner's user to sign in."""
        visit = self._visit("sso", request.query)
        if not visit.account.platform:
            raise _WrongError(403, "No single sign-on", "Only platform partners have a single sign-on.")
        return self._login_form(self._browser(request), visit)

    async def sign_in(self, request: web.Request) -> web.Response:
        """Check email and password; continue with the consent page, or return the session id."""
        fields, browser, visit = await self._take_form("sign-in", request)
        user = self._service.users.get(fields.get("email", ""))
        password = fields.get("password", "")
        if user is None or not secrets.compare_digest(user.password.encode(), password.encode()):
            return self._login_form(browser, visit, "The email or the password is wrong.", 401)
        if user.account != visit.account.name:
            text = f"{user.email} may not sign in for {visit.account.business_name}."
            return self._login_form(browser, visit, text, 403)
        del self._service.browsers[browser.cookie]
        browser = self._service.new_browser(user)
        if visit.kind == "sso":
            caller = Caller(visit.account, user)
            session_id = self._service.sign_in.new_session(caller, self._service.clock.now())
            partner = origin(visit.target)
            return _page(
                "hand_over",
                "Signed in",
                browser,
                frame=partner,
                target=partner,
                address=visit.target,
                session_id=session_id,
            )
        query = {"client_key": visit.account.client_key, "redirect_url": visit.target, "state": visit.state}
        again = urlencode({name: value for name, value in query.items() if value is not None})
        return _redirect(f"{CONSENT}?{again}", browser)

    async def decide(self, request: web.Request) -> web.Response:
        """Send the user back to the partner, with a code or with an error."""
        fields, browser, visit = await self._take_form("decision", request)
        decision = fields.get("decision")
        if decision == "other":
            del self._service.browsers[browser.cookie]
            return self._login_form(self._service.new_browser(), visit)
        if decision == "allow" and browser.user is not None:
            caller = Caller(visit.account, browser.user)
            answer = {"code": self._service.sign_in.new_code(caller, self._service.clock.now())}
        else:
            answer = {"error": "access_denied", "error_description": "The user refused"}
        if visit.state is not None:
            answer["state"] = visit.state
        return _redirect(_with_query(visit.target, answer))

    def _visit(self, kind: Literal["consent", "sso"], query: Mapping[str, str]) -> Visit:
        """The visit that a request begins; raises an error if its client or target is wrong."""
        account = account_with(query.get("client_key", ""))
        if account is None:
            raise _WrongError(400, "Unknown application", "The client_key is not that of a partner.")
        target_name = "redirect_url" if kind == "consent" else "receive_url"
        target = query.get(target_name, "")
        if not self._is_known(target):
            text = f"The {target_name} is not one that {account.business_name} has registered."
            raise _WrongError(400, "Unknown address", text)
        return Visit(kind=kind, account=account, target=target, state=query.get("state"))

    def _is_known(self, target: str) -> bool:
        """Whether a partner has registered an address: every one on this machine, and those of the options."""
        if target in self._service.options.redirect_urls:
            return True
        return is_here(target) and not urlsplit(target).fragment and "\\" not in target

    def _browser(self, request: web.Request) -> Browser:
        return self._service.browsers.get(request.cookies.get(COOKIE, "")) or self._service.new_browser()

    async def _take_form(self, purpose: Purpose, request: web.Request) -> tuple[dict[str, str], Browser, Visit]:
        """The fields of a submitted form, its browser, and its visit."""
        fields = dict(parse_qsl((await request.read()).decode(errors="replace")))
        browser = self._service.browsers.get(request.cookies.get(COOKIE, ""))
        if browser is not None:
            visit = browser.take_form(purpose, fields.get("form", ""), self._service.clock.now())
            if visit is not None:
                return fields, browser, visit
        text = "Go back to where you came from and start again."
        raise _WrongError(403, "This form is not valid any more", text)

    def _login_form(self, browser: Browser, visit: Visit, wrong: str = "", status: int = 200) -> web.Response:
        return _page(
            "login",
            "Sign in to GotSurge",
            browser,
            status,
            action=LOGIN,
            form=browser.new_form("sign-in", visit, self._service.clock.now()),
            reason=f"to go on to {visit.account.business_name}",
            wrong=wrong,
        )


def _with_query(target: str, answer: dict[str, str]) -> str:
    """A partner's address with the answer added to its query."""
    parts = urlsplit(target)
    query = "&".join(part for part in (parts.query, urlencode(answer)) if part)
    return urlunsplit(parts._replace(query=query))


def _page(
    template: str, title: str, browser: Browser | None = None, status: int = 200, *, frame: str = "", **values: str
) -> web.Response:
    """A page that no other site can frame, with only its own scripts and styles, and frames of the origin ``frame``."""
    nonce = secrets.token_urlsafe(16)
    texts = {name: escape(value) for name, value in {**values, "title": title, "nonce": nonce}.items()}
    content = Template((HTML / f"{template}.html").read_text(encoding="utf-8")).substitute(texts)
    html = Template((HTML / "frame.html").read_text(encoding="utf-8")).substitute(texts, content=content)
    own = f"'nonce-{nonce}'"
    # No form-action: browsers apply it to the redirect after a form, and that goes to the partner.
    policy = f"default-src 'none'; style-src {own}; script-src {own}; base-uri 'none'"
    policy += "; frame-ancestors 'none'" + (f"; frame-src {frame}" if frame else "")
    response = web.Response(status=status, text=html, content_type="text/html")
    response.headers["Content-Security-Policy"] = policy
    return _protected(response, browser)


def _redirect(location: str, browser: Browser | None = None) -> web.Response:
    return _protected(web.Response(status=303, headers={"Location": location}), browser)


def _protected(response: web.Response, browser: Browser | None) -> web.Response:
    response.headers.update(PAGE_HEADERS)
    if browser is not None:
        # Lax: the partner's page sends the browser here by a link, and that visit is to know who is signed in.
        response.set_cookie(COOKIE, browser.cookie, httponly=True, samesite="Lax", path="/")
    return response
