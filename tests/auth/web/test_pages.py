import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from gotsurge_async import NotFound
from gotsurge_async.auth.web.pages import COOKIE, LARGEST_BODY, MOST_TABS, SignInPages, by_lower_name
from gotsurge_async.errors import ConfigError
from gotsurge_async.models.auth import User
from gotsurge_async.simulator import Fault, Simulator
from tests.auth.web.kit import HOME, Partner, partner
from tests.support.browser import Pages, consent


@pytest.fixture(params=["aiohttp", "starlette", "asgi"])
async def service(request: pytest.FixtureRequest, simulator: Simulator) -> AsyncIterator[Partner]:
    async with partner(request.param, simulator) as service:
        yield service


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A browser with its cookies."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield session


@pytest.fixture
def browser(session: aiohttp.ClientSession) -> Pages:
    return Pages(session)


async def test_start_consent_callback_token(service: Partner, browser: Pages) -> None:
    """From the start page over GotSurge's consent back to the service: then the client calls with the new token."""
    back = await consent(browser, service.url("start"))
    assert await browser.go(back) == HOME
    with pytest.raises(NotFound):
        await service.gs.tasks.get("00000000-0000-4000-8000-000000000000")
    assert await service.store.accounts() == ["default"]


async def test_a_refusal_is_shown(service: Partner, browser: Pages) -> None:
    """Who refuses at the consent page sees so, and nothing is kept."""
    page = await browser.go(await consent(browser, service.url("start"), "refuse"))
    assert (browser.status, "did not grant access" in page) == (403, True)
    assert await service.store.accounts() == []


@pytest.mark.parametrize("query", ["", "?code=x", "?state=x&code=y", "?error=a&state=x", "?error=%3Cscript%3E"])
async def test_a_callback_that_nobody_began(service: Partner, browser: Pages, query: str) -> None:
    """A callback without a state of this service exchanges nothing, and echoes nothing that a browser could run."""
    page = await browser.go(service.url(f"callback{query}"))
    assert browser.status in (400, 403)
    assert "<script" not in page
    assert await service.store.accounts() == []


async def test_a_state_is_good_once(service: Partner, browser: Pages, simulator: Simulator) -> None:
    """The same callback a second time is refused, and its code is not sent again."""
    back = await consent(browser, service.url("start"))
    await browser.go(back)
    await browser.go(back)
    assert browser.status == 400
    assert simulator.audit()["calls"]["auth.exchange"] == 1


async def test_a_state_belongs_to_its_browser(service: Partner, browser: Pages) -> None:
    """A callback that was begun in another browser is refused: nobody signs a visitor in to an account of their own."""
    back = await consent(browser, service.url("start"))
    async with aiohttp.ClientSession() as another:
        page = Pages(another)
        await page.go(back)
        assert page.status == 400
    assert await service.store.accounts() == []


async def test_two_tabs_do_not_disturb_each_other(service: Partner, browser: Pages) -> None:
    """Two sign-ins that begin in the same browser both come home, whichever is finished first."""
    first = await consent(browser, service.url("start"))
    second = await consent_again(browser, service)
    assert await browser.go(second) == HOME
    assert await browser.go(first) == HOME


async def test_two_tabs_may_begin_at_once(service: Partner, browser: Pages, session: aiohttp.ClientSession) -> None:
    """A second tab whose start was asked for before the first one's cookie came does not take that one's place."""
    first = await consent(browser, service.url("start"))
    async with aiohttp.ClientSession() as early, early.get(service.url("start"), allow_redirects=False) as answer:
        session.cookie_jar.update_cookies(answer.cookies, answer.url)
    assert await browser.go(first) == HOME


@pytest.mark.parametrize(
    "other", ["a b", "bare", 'json={"a": [1, 2], "b": "c d"}', "=; ;;", 'q="open', "\xe4=\xf6", "x=[]@"]
)
async def test_other_cookies_do_not_matter(service: Partner, browser: Pages, other: str) -> None:
    """Cookies that a strict reader would not take, before and behind ours, do not hide ours."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as bare:
        async with bare.get(service.url("start"), allow_redirects=False) as answer:
            ours = answer.headers["Set-Cookie"].partition(";")[0]
            back = await consent(browser, answer.headers["Location"])
        async with bare.get(back, headers={"Cookie": f"{other}; {ours}; {other}"}) as answer:
            assert await answer.text() == HOME


async def test_a_browser_keeps_few_sign_ins(service: Partner, browser: Pages, session: aiohttp.ClientSession) -> None:
    """However often one browser begins, it holds the cookies of few sign-ins, and the newest is good."""
    newest = await consent(browser, service.url("start"))
    for _ in range(MOST_TABS + 2):
        newest = await consent_again(browser, service)
    held = [cookie.key for cookie in session.cookie_jar if cookie.key.startswith(COOKIE)]
    assert len(held) == MOST_TABS
    assert await browser.go(newest) == HOME


async def test_the_oldest_sign_in_is_given_up(service: Partner) -> None:
    """Of the cookies, which a browser sends by age, the first are removed when there are too many."""
    names = [f"{COOKIE}_{number:016x}" for number in range(MOST_TABS + 1)]
    async with (
        aiohttp.ClientSession(headers={"Cookie": "; ".join(f"{name}={'n' * 43}" for name in names)}) as session,
        session.get(service.url("start"), allow_redirects=False) as answer,
    ):
        removed = [cookie for cookie in answer.headers.getall("Set-Cookie") if "Max-Age=0" in cookie]
    assert [cookie.partition("=")[0] for cookie in removed] == names[:2]


def test_cookies_in_several_headers_count_together() -> None:
    """What a browser sends over HTTP/2 in several cookie headers is one list of cookies."""
    headers = [("Cookie", "a=1"), ("Origin", "x"), ("cookie", "b=2")]
    assert by_lower_name(headers) == {"cookie": "a=1; b=2", "origin": "x"}


async def test_a_code_that_is_refused_is_reported(service: Partner, browser: Pages, simulator: Simulator) -> None:
    """When GotSurge does not take the code, or cannot be asked, a page says so and nothing is kept."""
    back = await consent(browser, service.url("start"))
    simulator.order_fault(Fault(operation="auth.exchange", kind="status", status=503))
    page = await browser.go(back)
    assert (browser.status, "could not complete" in page) == (502, True)
    simulator.clear_faults()
    back = await consent_again(browser, service)
    assert "does not take this code" in await browser.go(re.sub("code=[^&]*", "code=wrong", back))
    assert await service.store.accounts() == []


async def consent_again(browser: Pages, service: Partner) -> str:
    """Consent when the browser is signed in at GotSurge already."""
    await browser.go(service.url("start"))
    await browser.submit(decision="allow", follow=False)
    return browser.location


async def test_pages_are_guarded(service: Partner, session: aiohttp.ClientSession) -> None:
    """No page is cached, tells its address on, or runs foreign scripts; the cookie is out of the scripts' reach."""
    async with session.get(service.url("start"), allow_redirects=False) as answer:
        cookie = answer.headers["Set-Cookie"]
        assert all(part in cookie for part in ("HttpOnly", "SameSite=Lax", "Path=/gotsurge"))
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
    async with session.get(service.url("receive-session")) as answer:
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("method", "page", "status", "allowed"),
    [
        ("POST", "start", 405, "GET"),
        ("PUT", "receive-session", 405, "GET, POST"),
        ("GET", "nothing", 404, None),
    ],
)
async def test_other_pages_are_not_there(
    service: Partner, session: aiohttp.ClientSession, method: str, page: str, status: int, allowed: str | None
) -> None:
    """Another page, or another method, is refused; the answer names the methods of a page."""
    async with session.request(method, service.url(page)) as answer:
        assert (answer.status, answer.headers.get("Allow")) == (status, allowed)


def test_the_redirect_url_is_a_url(simulator: Simulator) -> None:
    """A redirect URL that no browser could come back to is refused when the pages are made."""
    with pytest.raises(ConfigError, match="public URL"):
        SignInPages(None, None, redirect_url="/callback")  # type: ignore[arg-type]


def test_a_function_of_the_wrong_shape_is_refused() -> None:
    """A function that takes only the request is refused when the pages are made, and not at a visitor's first click."""
    redirect = "https://example.com/gotsurge/callback"
    with pytest.raises(ConfigError, match=r"def account\(request, user\)"):
        SignInPages(None, None, redirect_url=redirect, account=lambda request: None)  # type: ignore[arg-type, misc]


# --- SSO ------------------------------------------------------------------------------------------------------------


def by_user(_: Any, user: User | None) -> str | None:
    """Whose tokens these are: the user's own."""
    return user.email if user else None


@pytest.fixture(params=["aiohttp", "starlette", "asgi"])
async def platform(request: pytest.FixtureRequest, simulator: Simulator) -> AsyncIterator[Partner]:
    async with partner(request.param, simulator, key="platform", account=by_user) as service:
        yield service


async def post_session(session: aiohttp.ClientSession, service: Partner, body: Any, origin: str | None = None) -> int:
    """What the receive-session page does."""
    headers = {"Origin": service.base if origin is None else origin} if origin != "" else {}
    data = {"data": body} if isinstance(body, bytes) else {"json": body}
    async with session.post(service.url("receive-session"), headers=headers, **data) as answer:
        await answer.read()
        return answer.status


async def test_a_session_becomes_tokens(
    platform: Partner, session: aiohttp.ClientSession, simulator: Simulator
) -> None:
    """A session id that our own page posts is exchanged once, and the tokens are kept under the user's account."""
    body = {"session_id": simulator.new_session("platform")}
    assert await post_session(session, platform, body) == 200
    assert await platform.store.accounts() == ["platform@example.com"]
    page = await platform.gs.as_account("platform@example.com").platform.organizations.list().page(1)
    assert page.organizations is not None
    assert await post_session(session, platform, body) == 400


@pytest.mark.parametrize("origin", ["", "null", "http://evil.example", "{base}.evil.example", "{base}/"])
async def test_a_session_from_another_origin_is_refused(
    platform: Partner, session: aiohttp.ClientSession, simulator: Simulator, origin: str
) -> None:
    """Only exactly our own origin may post a session id: the id is not even exchanged else."""
    body = {"session_id": simulator.new_session("platform")}
    assert await post_session(session, platform, body, origin.format(base=platform.base)) == 403
    assert simulator.audit()["calls"].get("platform.sso.exchange", 0) == 0


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"session_id": 5}', b'{"session_id": "a b"}', b'"x"', b" " * (LARGEST_BODY + 9)]
)
async def test_what_is_no_session_is_refused(platform: Partner, session: aiohttp.ClientSession, body: bytes) -> None:
    """A body without a session id is refused, and nothing is sent to GotSurge."""
    assert await post_session(session, platform, body) == 400


async def test_a_visitor_without_an_account_is_refused(simulator: Simulator, browser: Pages) -> None:
    """Where the service names no account for a visitor, nobody is sent to the consent page."""
    async with partner("aiohttp", simulator, account=lambda request, user: None) as service:
        await browser.go(service.url("start"))
        assert browser.status == 403
