"""The site as a reader meets it: its first page, its search, its buttons; and by ear."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page

from tests.support.chromium import chromium

ROOT = Path(__file__).parents[2]
PAGES = [page.relative_to(ROOT / "docs").with_suffix("") for page in sorted((ROOT / "docs").rglob("*.md"))]
pytestmark = pytest.mark.slow
SIZES = ((390, 844), (1100, 800), (1440, 900))
WANTED = {"refund": "how-to/undo-a-push", "idempotency": "explanation/no-order-twice", "k8s": "production/kubernetes"}
"""A word that no page has, and the page that it leads to."""


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """A page of a new browser."""
    async with chromium() as browser:
        yield await browser.new_page()


async def test_the_first_page_sells_above_the_fold(site: Path, page: Page) -> None:
    """At three widths the pictures and the doors are seen without scrolling, and the lists below are not."""
    await page.goto((site / "index.html").as_uri())
    for width, height in SIZES:
        await page.set_viewport_size({"width": width, "height": height})
        ends = "(query) => [...document.querySelectorAll(query)].map((each) => each.getBoundingClientRect().bottom)"
        pictures, doors = [await page.evaluate(ends, query) for query in (".pictures img", ".doors a")]
        assert (len(pictures), len(doors)) == (2, 3)
        assert max(*pictures, *doors) <= height, (width, pictures, doors)
        below = await page.evaluate("document.querySelector('h2').getBoundingClientRect().top")
        assert width < 700 or below >= height - 60, (width, below)


async def test_a_search_finds_synonyms(site: Path, page: Page) -> None:
    """A word that a reader brings leads to the page that has another one for it."""
    for word, target in WANTED.items():
        await page.goto(f"{(site / 'search.html').as_uri()}?q={word}")
        link = page.locator(f"#search-results a[href^='{target}.html']")
        await link.first.wait_for(timeout=20_000)


async def test_a_button_copies_the_commands_alone(site: Path, page: Page) -> None:
    """Neither the prompt nor what a command prints is copied; a block without a prompt is copied whole."""
    await page.goto((site / "tutorial/first-orders.html").as_uri())
    await page.evaluate(
        "document.addEventListener('copy', () => { window.copied = document.getSelection().toString() || "
        "document.activeElement.value })"
    )
    copied = []
    for block in await page.locator("div.highlight-console").all():
        await block.hover()
        await block.locator("button.copybtn").click()
        copied.append(await page.evaluate("window.copied"))
    assert ". ./settings.sh\ngotsurge simulator --port 8765 --life --speed 0" in copied
    assert not [text for text in copied if "$ " in text or "GotSurge simulator, API base" in text]
    assert await page.locator("div.highlight-text button.copybtn").count() == 0


async def test_axe_finds_nothing(site: Path, page: Page) -> None:
    """On no page: every other one in the light on a desktop, the others in the dark on a phone."""
    for number, name in enumerate(PAGES):
        scheme, width = (("light", 1280), ("dark", 390))[number % 2]
        await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        await page.set_viewport_size({"width": width, "height": 900})
        await page.goto((site / f"{name}.html").as_uri())
        found = (await Axe().run(page)).response["violations"]
        assert [(each["id"], each["nodes"][0]["html"][:200]) for each in found] == [], (name, scheme)


def test_the_site_has_the_icon_of_the_board(site: Path) -> None:
    """Each page names it, and it is there."""
    assert (site / "_static" / "icon.svg").exists()
    assert re.search(r'<link [^>]*rel="icon"|<link rel="shortcut icon"', (site / "index.html").read_text("utf-8"))
