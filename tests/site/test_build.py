"""The site builds without a warning, has every page, and fetches nothing."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from docs._ext.glossary import linked_words, use_of
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


class Sentences(HTMLParser):
    """The texts of a page without its code and headings, each with whether it is in a link."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[tuple[str, bool]] = []
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("article", "code", "pre", "h1", "h2", "h3", "h4", "h5", "dt", "a"):
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if self._inside in (["article"], ["article", "a"]):
            self.texts.append((data, "a" in self._inside))


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in ("index", "glossary")], ids=str)
def test_the_first_use_of_a_word_is_a_link(site: Path, page: Path) -> None:
    """A word of the glossary that is not an everyday one leads to its entry there, or where the page says."""
    entries = (site / "glossary.html").read_text(encoding="utf-8")
    reader = Sentences()
    reader.feed((site / f"{page}.html").read_text(encoding="utf-8"))
    words = linked_words((ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"))
    assert len(words) > 12
    for word in words:
        assert f'id="{word.lower().replace(" ", "-")}"' in entries
        first = next(((text, is_link) for text, is_link in reader.texts if use_of(word).search(text)), None)
        assert first is None or first[1], f"{word}: {first}"
