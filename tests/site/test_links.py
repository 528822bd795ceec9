"""No link of README, CONTRIBUTING, CHANGELOG or a page of docs/ is dead: files are there, and so are headings."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
OUR_FILES = re.compile(r"https://github\.com/gotsurge-async/gotsurge-async/(?:blob|tree|raw)/main/")
OUR_PICTURES = re.compile(r"https://raw\.githubusercontent\.com/gotsurge-async/gotsurge-async/main/")

_FENCE = re.compile(r"^(?P<fence> *(?:```+|~~~+|:::+))[^\n]*\n.*?^(?P=fence) *$", re.MULTILINE | re.DOTALL)
_INCLUDE = re.compile(r"```\{include\} (\S+)\n```\n\Z")
_CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)")
_HEADING = re.compile(r"^#{1,6} +(.+?)#* *$", re.MULTILINE)
_ANCHOR = re.compile(r"""<a (?:id|name)=["']([^"']+)["']""")
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)")
_LABEL = re.compile(r"^\[[^\]^]+\]: +<?(\S+?)>?(?: .*)?$", re.MULTILINE)
_HTML = re.compile(r"""<(?:a|img)\b[^>]*?(?:href|src)=["']([^"']+)["']""")


@cache
def prose(page: Path) -> str:
    """A page without its blocks of code, and with the file that it includes."""
    text = page.read_text(encoding="utf-8")
    included = _INCLUDE.match(text)
    return prose(page.parent / included[1]) if included else _FENCE.sub("", text)


@cache
def anchors(page: Path) -> frozenset[str]:
    """What a link to a heading may say, as GitHub makes it, and the names that a page gives itself."""
    text = prose(page)
    found = set(_ANCHOR.findall(text))
    for heading in _HEADING.findall(text):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        slug = name = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        number = 0
        while name in found:
            number += 1
            name = f"{slug}-{number}"
        found.add(name)
    return frozenset(found)


def links(page: Path) -> Iterator[str]:
    """The targets of a page's links and pictures."""
    text = _CODE.sub("", prose(page))
    for pattern in (_LINK, _LABEL, _HTML):
        yield from pattern.findall(text)


def why_dead(page: Path, target: str) -> str | None:
    """What is wrong with a link; None of one that leads somewhere, or to somebody else."""
    base = page.parent
    ours = OUR_FILES.match(target) or OUR_PICTURES.match(target)
    if ours:
        base, target = ROOT, target[ours.end() :]
    elif re.match(r"[a-z][a-z+.-]*:", target):
        return None
    path, _, anchor = target.partition("#")
    there = (base / path).resolve() if path else page
    if not there.exists():
        return "there is no such file"
    if not there.is_relative_to(ROOT):
        return "it leads out of the project"
    if anchor and there.suffix == ".md" and anchor not in anchors(there):
        return "there is no such heading"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_link_of_the_page_is_dead(page: Path) -> None:
    """Every link to a file of the project finds it, and every link to a heading finds the heading."""
    assert not [f"{target}: {why}" for target in links(page) if (why := why_dead(page, target))]


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    """A missing file, a missing heading and a way out of the project are told; a link in code is none."""
    page = ROOT / "docs" / "api.md"
    assert why_dead(page, "nowhere.md")
    assert why_dead(page, "tables.md#no-such-heading")
    assert why_dead(page, "https://github.com/gotsurge-async/gotsurge-async/blob/main/docs/nowhere.md")
    assert why_dead(page, "../../..")
    assert why_dead(page, "#open-a-client") is None
    assert why_dead(page, "https://example.com/nowhere") is None
    text = tmp_path / "page.md"
    text.write_text("# A b, `c`!\n\n## A b c\n\n[x](y.md) `[x](z.md)`\n\n```\n[x](v.md)\n```\n")
    assert list(links(text)) == ["y.md"]
    assert anchors(text) == {"a-b-c", "a-b-c-1"}
