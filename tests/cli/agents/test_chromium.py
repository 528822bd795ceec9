"""The page of proposals in a real browser: by keyboard, for screen readers, and closed to other sites."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from gotsurge_async.cli.afterwards.serving import listening
from gotsurge_async.cli.agents.page import ProposalsPage
from tests.support.chromium import chromium

from .kit import Office, order
from .test_page import HOSTILE, form_of, knowing, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
async def proposals(office: Office) -> AsyncIterator[ProposalsPage]:
    async with office.agent() as agent:
        await agent.propose("create_orders", orders=[order("T-1", pickup_note_to_driver=HOSTILE)])
        await agent.propose("cancel_order", task="t-2", reason="The ship sailed")
    async with serving(office) as page:
        yield page


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


async def opened(browser: Browser, proposals: ProposalsPage, width: int = 1280) -> Page:
    """The page, of a person who has typed the code."""
    credentials = {"username": "amy", "password": proposals.code}
    context = await browser.new_context(http_credentials=credentials, viewport={"width": width, "height": 900})  # type: ignore[arg-type]
    page = await context.new_page()
    page.set_default_timeout(20_000)
    await page.goto(proposals.origin)
    return page


async def check(page: Page) -> None:
    """Nothing is wrong for who cannot see well, or uses no mouse; and nothing is wider than the window."""
    results = (await Axe().run(page)).response
    assert [(each["id"], [node["target"] for node in each["nodes"]]) for each in results["violations"]] == []
    assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


async def test_the_keyboard_approves(office: Office, proposals: ProposalsPage, browser: Browser) -> None:
    """Tab, space and enter are enough; without the tick nothing is sent; the status is announced."""
    page = await opened(browser, proposals)
    await check(page)
    assert await page.title() == "2 proposals wait - GotSurge"
    article = page.get_by_role("article", name="Create and broadcast 1 order")
    await article.get_by_role("button", name="Approve and send").focus()
    await page.keyboard.press("Enter")  # the browser asks for the tick
    await expect(article.get_by_role("checkbox", name="I have read what would be sent")).to_be_focused()
    assert office.calls == {}
    await page.keyboard.press("Space")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status")).to_contain_text("is done")
    assert [each["tracking_id"] for each in office.simulator.tasks()] == ["T-1"]
    await page.get_by_role("textbox", name="Reason").fill("Not now")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status")).to_contain_text("is rejected")
    await check(page)
    await page.reload()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the proposals")).to_be_focused()


async def test_a_screen_reader_finds_its_way(proposals: ProposalsPage, browser: Browser) -> None:
    """Headings, landmarks, names of regions and buttons say which proposal it is; on a phone, too."""
    page = await opened(browser, proposals, width=390)
    await check(page)
    await expect(page.get_by_role("heading", level=1)).to_have_text("Proposals")
    await expect(page.get_by_role("heading", level=2)).to_have_count(2)
    article = page.get_by_role("article", name="Create and broadcast 1 order in local")
    await expect(article.get_by_role("button")).to_have_count(2)
    await expect(article).to_contain_text("onerror='document.title=1'")
    assert await page.title() == "2 proposals wait - GotSurge"


async def test_another_site_approves_nothing(office: Office, proposals: ProposalsPage, browser: Browser) -> None:
    """A page elsewhere that knows all fields of the form posts it through the person's browser; nor is it framed."""
    page = await opened(browser, proposals)
    async with knowing(proposals) as session:
        form = await form_of(session)
    fields = "".join(f"<input name='{name}' value='{value}'>" for name, value in form.items())
    form_there = f"<form method=post action={proposals.origin}/decide>{fields}<button>Win</button></form>"
    evil = f"{form_there}<iframe src={proposals.origin}></iframe>"

    async def show(_: web.Request) -> web.Response:
        return web.Response(text=evil, content_type="text/html")

    async with listening("127.0.0.1", 0, [web.get("/", show)]) as elsewhere:
        for origin in (elsewhere, elsewhere.replace("127.0.0.1", "localhost")):
            await page.goto(origin)
            frame = page.frames[1]
            assert "Proposals" not in await frame.content()
            async with page.expect_navigation():
                await page.get_by_role("button", name="Win").click()
            assert "refused" in await page.content()
    answer = await page.goto(proposals.origin.replace("127.0.0.1", "localhost"))
    assert answer is not None
    assert answer.status == 403
    assert urlsplit(proposals.origin).hostname == "127.0.0.1"
    assert {each.state for each in await office.ledger.proposals.newest(5)} == {"proposed"}
    assert office.calls == {}
