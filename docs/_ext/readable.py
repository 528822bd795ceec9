"""What the theme leaves out for those who read by ear or by keyboard: the levels of headings, names, what scrolls."""

import re
from pathlib import Path

from sphinx.application import Sphinx

MENDED = {
    'role="heading">': 'role="heading" aria-level="2">',
    '<aside class="sidebar-drawer">': '<aside class="sidebar-drawer" aria-label="All pages">',
    '<aside class="toc-drawer': '<aside aria-label="On this page" class="toc-drawer',
    '<div class="highlight"><pre>': '<div class="highlight"><pre tabindex="0">',
    '<table class="docutils': '<table tabindex="0" class="docutils',
}
"""What the theme writes, and what it becomes."""
ARGUMENTS = re.compile(r'<dl>\n((?:<dd><em class="sig-param">.*</dd>\n)+)</dl>')
"""The arguments of a long signature, one on each line: Sphinx writes definitions of nothing."""


def as_lines(arguments: re.Match[str]) -> str:
    """Arguments as plain lines."""
    lines = arguments[1].replace("<dd>", "<span>").replace("</dd>", "</span>")
    return f'<span class="arguments">\n{lines}</span>'


def mend(app: Sphinx, error: Exception | None) -> None:
    """Complete all pages, after the site."""
    if error is None and app.builder.name == "html":
        for page in Path(app.outdir).rglob("*.html"):
            text = page.read_text(encoding="utf-8")
            for before, after in MENDED.items():
                text = text.replace(before, after)
            text = ARGUMENTS.sub(as_lines, text)
            page.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("build-finished", mend)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
