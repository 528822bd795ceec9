"""Links the first use of each word of the glossary on a page, unless the page leads somewhere from there itself."""

import re
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

PAGE = "glossary"
EVERYDAY = {"broadcast", "cancelled", "changed", "claim", "created", "direct", "double", "event", "key", "map", "order"}
EVERYDAY |= {"partner", "push", "refused", "register", "run", "task"}
"""Words that every page uses, or that often mean something else, as in: run a command. They are not linked."""
_HEAD = re.compile(r"^- \*\*(.+?)\*\*:", re.MULTILINE)
_APART = (nodes.literal, nodes.literal_block, nodes.title, nodes.caption, addnodes.desc_signature, addnodes.toctree)


def linked_words(glossary: str) -> list[str]:
    """The words of the glossary's text whose first use is linked."""
    words = (word.strip() for head in _HEAD.findall(glossary) for word in head.split(","))
    return [word for word in words if word not in EVERYDAY]


def use_of(word: str) -> re.Pattern[str]:
    """What counts as a use of a word: also its plural, its past, and the word at the beginning of a sentence."""
    return re.compile(rf"\b{re.escape(word)}(?:s|d)?\b", re.IGNORECASE)


def texts(document: nodes.document) -> Iterator[tuple[nodes.Text, bool]]:
    """The texts that people read as sentences, with whether each is a link already."""
    for text in document.findall(nodes.Text):
        above = [text.parent]
        while above[-1].parent is not None:
            above.append(above[-1].parent)
        if not any(isinstance(each, _APART) for each in above):
            yield text, any(isinstance(each, nodes.reference) for each in above)


def name_words(_: Sphinx, document: nodes.document) -> None:
    """Give each word of the glossary an anchor."""
    if document.settings.env.docname == PAGE:
        for item in document.findall(nodes.list_item):
            for head in list(item.findall(nodes.strong))[:1]:
                item["ids"] += [nodes.make_id(word) for word in head.astext().split(",")]


def link_words(app: Sphinx, document: nodes.document, page: str) -> None:
    """Link the first use of each word."""
    if page in (PAGE, "index"):
        return
    address = app.builder.get_relative_uri(page, PAGE)
    for word in linked_words((Path(app.srcdir) / f"{PAGE}.md").read_text(encoding="utf-8")):
        for text, is_link in texts(document):
            if (use := use_of(word).search(text.astext())) is not None:
                if not is_link:
                    link = nodes.reference(
                        "", use[0], internal=True, refuri=f"{address}#{nodes.make_id(word)}", classes=["term"]
                    )
                    before, after = text.astext()[: use.start()], text.astext()[use.end() :]
                    text.parent.replace(text, [nodes.Text(before), link, nodes.Text(after)])
                break


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("doctree-read", name_words)
    app.connect("doctree-resolved", link_words)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
