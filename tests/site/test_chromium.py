"""The site in a real browser: at every width no page scrolls sideways, and nothing is fetched."""

from pathlib import Path

import pytest

from tests.support.chromium import chromium

ROOT = Path(__file__).parents[2]
PAGES = [page.relative_to(ROOT / "docs").with_suffix(".html") for page in sorted((ROOT / "docs").rglob("*.md"))]
WIDTHS = (390, 1100, 1280)
pytestmark = pytest.mark.slow


async def test_no_page_scrolls_sideways(site: Path) -> None:
    """What is wide scrolls inside itself, at the widths of a phone, of a small window and of a desktop."""
    async with chromium() as browser:
        page = await browser.new_page()
        elsewhere: list[str] = []
        page.on(
            "request", lambda request: elsewhere.append(request.url) if not request.url.startswith("file:") else None
        )
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
