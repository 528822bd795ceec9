"""The sign-in in a real browser: consent, refusal, a tampered state, and the single sign-on with postMessage."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Page, expect

from gotsurge_async import NotFound
from gotsurge_async.auth.web.pages import COOKIE
from gotsurge_async.models.auth import User
from gotsurge_async.simulator import Simulator
from tests.auth.web.kit import HOME, Partner, partner
from tests.support.chromium import chromium

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(params=["aiohttp", "starlette"])
async def framework(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
async def service(framework: str, simulator: Simulator) -> AsyncIterator[Partner]:
    async with partner(framework, simulator) as service:
        yield service


def by_user(_: Any, user: User | None) -> str | None:
    """Whose tokens these are: the user's own."""
    return user.email if user else None


@pytest.fixture
async def platform(framework: str, simulator: Simulator) -> AsyncIterator[Partner]:
    async with partner(framework, simulator, key="platform", account=by_user) as service:
        yield service


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """A page of a new browser, without anything that it remembers."""
    async with chromium() as browser:
        page = await (await browser.new_context()).new_page()
        page.set_default_timeout(30_000)
        yield page


async def sign_in(page: Page, name: str = "plain") -> None:
    """Fill in GotSurge's login form."""
    await page.get_by_label("Email").fill(f"{name}@example.com")
    await page.get_by_label("Password").fill(f"{name}-password")
    await page.get_by_role("button", name="Sign in", exact=True).click()


async def test_consent(service: Partner, page: Page) -> None:
    """A person who signs in and allows comes back to the service, which can then call."""
    await page.goto(service.url("start"))
    await sign_in(page)
    await page.get_by_role("button", name="Allow").click()
    await expect(page.get_by_text(HOME)).to_be_visible()
    assert page.url == f"{service.base}/"
    with pytest.raises(NotFound):
        await service.gs.tasks.get("00000000-0000-4000-8000-000000000000")
    assert COOKIE not in str(await page.context.cookies(service.url("start")))


async def test_two_tabs_at_once_beside_other_cookies(service: Partner, page: Page) -> None:
    """Two tabs that begin at the same moment, beside cookies of every kind, both come back home."""
    await page.goto(service.base)
    await page.evaluate("""() => { document.cookie = 'a b'; document.cookie = 'json={"a": [1, 2], "b": "c d"}' }""")
    other = await page.context.new_page()
    await asyncio.gather(page.goto(service.url("start")), other.goto(service.url("start")))
    for tab in (page, other):
        await tab.reload()  # the simulator's own cookie may have been replaced by the other tab's
        if tab is page:
            await sign_in(tab)
        await tab.get_by_role("button", name="Allow").click()
        await expect(tab.get_by_text(HOME)).to_be_visible()
    assert COOKIE not in str(await page.context.cookies(service.url("start")))


async def test_refusal(service: Partner, page: Page) -> None:
    """A person who refuses sees that, and nothing is kept."""
    await page.goto(service.url("start"))
    await sign_in(page)
    await page.get_by_role("button", name="Refuse").click()
    await expect(page.get_by_text("did not grant access")).to_be_visible()
    assert await service.store.accounts() == []


async def test_a_tampered_state(service: Partner, page: Page, simulator: Simulator) -> None:
    """A state that was changed on the way is refused, and the code is not exchanged."""
    await page.goto(service.url("start"))
    await page.goto(page.url.replace("state=", "state=x"))
    await sign_in(page)
    await page.get_by_role("button", name="Allow").click()
    await expect(page.get_by_text("was not started here")).to_be_visible()
    assert simulator.audit()["calls"].get("auth.exchange", 0) == 0


def sso_url(simulator: Simulator, receive_url: str) -> str:
    """GotSurge's page for the users of a platform partner."""
    return f"{simulator.origin}/sso/login?client_key=platform-client-key&receive_url={receive_url}"


async def test_sso_in_a_frame(platform: Partner, page: Page, simulator: Simulator) -> None:
    """GotSurge's page shows the partner's in a frame and posts the session id to it: the user's tokens are kept."""
    await page.goto(sso_url(simulator, platform.url("receive-session")))
    await sign_in(page, "platform")
    await expect(page.frame_locator("iframe").get_by_text(HOME)).to_be_visible()
    assert await platform.store.accounts() == ["platform@example.com"]
    client = platform.gs.as_account("platform@example.com")
    assert (await client.platform.organizations.list().page(1)).organizations is not None


async def test_sso_in_a_window(platform: Partner, page: Page, simulator: Simulator) -> None:
    """The partner's page opens GotSurge's in a window, which posts the session id back to it."""
    await page.goto(platform.url("receive-session"))
    async with page.expect_popup() as opening:
        await page.evaluate("url => { window.open(url) }", sso_url(simulator, platform.url("receive-session")))
    await sign_in(await opening.value, "platform")
    await expect(page.get_by_text(HOME)).to_be_visible()
    assert await platform.store.accounts() == ["platform@example.com"]


async def test_sso_from_a_wrong_origin(framework: str, page: Page, simulator: Simulator) -> None:
    """A session id that another origin posts is not taken, not even sent to the service; the right one's still is."""
    async with (
        Simulator() as stranger,
        partner(framework, simulator, key="platform", account=by_user) as platform,
    ):
        await page.goto(platform.url("receive-session"))
        await page.evaluate(
            "() => { window.posted = new Promise(on => addEventListener('message', e => on(e.origin))) }"
        )
        async with page.expect_popup() as opening:
            await page.evaluate("url => { window.open(url) }", sso_url(stranger, platform.url("receive-session")))
        popup = await opening.value
        await sign_in(popup, "platform")
        assert await page.evaluate("() => window.posted") == stranger.origin
        await expect(page.get_by_text("Signing you in")).to_be_visible()
        assert await platform.store.accounts() == []
        for simulated in (stranger, simulator):
            assert simulated.audit()["calls"].get("platform.sso.exchange", 0) == 0
        await popup.goto(sso_url(simulator, platform.url("receive-session")))
        await sign_in(popup, "platform")
        await expect(page.get_by_text(HOME)).to_be_visible()
        assert await platform.store.accounts() == ["platform@example.com"]


async def test_a_stranger_cannot_frame_the_page(framework: str, page: Page, simulator: Simulator) -> None:
    """Another site than GotSurge cannot show the receive-session page in a frame, so it cannot post to it there."""
    async with (
        Simulator() as stranger,
        partner(framework, simulator, key="platform", account=by_user) as platform,
    ):
        await page.goto(sso_url(stranger, platform.url("receive-session")))
        async with page.expect_console_message(lambda message: "frame-ancestors" in message.text):
            await sign_in(page, "platform")
        assert await platform.store.accounts() == []
