"""The site builds without a warning, has every page, and fetches nothing."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.site.only_docs import brought_by

ROOT = Path(__file__).parents[2]
PAGES = [page.relative_to(ROOT / "docs").with_suffix("") for page in sorted((ROOT / "docs").rglob("*.md"))]
pytestmark = pytest.mark.slow


class Fetched(HTMLParser):
    """What a browser fetches by itself when it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "link" and given.get("rel") in ("stylesheet", "preload", "icon", "preconnect", "dns-prefetch"):
            self.urls.append(given.get("href") or "")
        elif tag in ("script", "img", "iframe", "source", "video", "audio", "embed"):
            self.urls.append(given.get("src") or "")


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_page_is_on_the_site(site: Path, page: Path) -> None:
    """Each file of docs/ has become a page, which the sidebar of the first page leads to."""
    built = site / f"{page}.html"
    assert built.exists()
    assert page.name == "index" or f'href="{page}.html"' in (site / "index.html").read_text(encoding="utf-8")


def test_a_page_fetches_nothing_from_elsewhere(site: Path) -> None:
    """No page, style or script names another host for what a browser would fetch."""
    for page in site.rglob("*.html"):
        reader = Fetched()
        reader.feed(page.read_text(encoding="utf-8"))
        assert not [url for url in reader.urls if re.match(r"(?:https?:)?//", url)], page
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        assert not re.search(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//", text), style
    for script in site.rglob("*.js"):
        text = script.read_text(encoding="utf-8")
        assert not re.search(r"(?:fetch|import|importScripts)\(\s*['\"](?:https?:)?//", text), script


def test_the_extra_docs_is_enough(site: Path) -> None:
    """The site was built while nothing could be imported that the extra does not bring, such as what tests need."""
    assert (site / "index.html").exists()
    assert brought_by("gotsurge-async", "docs").isdisjoint({"fastapi", "hypothesis", "mcp", "playwright"})
