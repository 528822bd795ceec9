"""The site in a real browser: at every width no page scrolls sideways, and nothing is fetched."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, async_playwright

ROOT = Path(__file__).parents[2]
PAGES = [page.relative_to(ROOT / "docs").with_suffix(".html") for page in sorted((ROOT / "docs").rglob("*.md"))]
WIDTHS = (390, 1100, 1280)
pytestmark = pytest.mark.slow


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        try:
            yield browser
        finally:
            await browser.close()


async def test_no_page_scrolls_sideways(site: Path, browser: Browser) -> None:
    """What is wide scrolls inside itself, at the widths of a phone, of a small window and of a desktop."""
    page = await browser.new_page()
    elsewhere: list[str] = []
    page.on("request", lambda request: elsewhere.append(request.url) if not request.url.startswith("file:") else None)
    wide: list[tuple[str, int, int]] = []
    for path in PAGES:
        await page.goto((site / path).as_uri())
        for width in WIDTHS:
            await page.set_viewport_size({"width": width, "height": 900})
            reached = await page.evaluate("document.documentElement.scrollWidth")
            if reached > width:
                wide.append((str(path), width, reached))
    assert wide == []
    assert [url for url in elsewhere if not url.startswith("data:")] == []
