"""The documents for programs that read: a list of the pages (llms.txt), each page as Markdown, and all in one file.

They are written beside the pages of the site, by the same build. A page that a person wrote is given as it was written;
one of the reference is made of what the site shows.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

LIST, WHOLE = "llms.txt", "llms-full.md"
_PAGE = re.compile(r"\.html(?=#|$)")
_MADE = re.compile(r"^```{(?!toctree)", re.MULTILINE)


class Part(NamedTuple):
    """A part of the site: its name, and its pages in their order."""

    name: str
    pages: list[str]


def parts_of(app: Sphinx) -> list[Part]:
    """The parts, as the first page lists them."""
    lists = app.env.get_doctree("index").findall(addnodes.toctree)
    return [Part(each["caption"], [page for _, page in each["entries"]]) for each in lists]


def write(app: Sphinx, error: Exception | None) -> None:
    """Write all of it, after the site."""
    if error is not None or app.builder.name != "html":
        return
    out, parts = Path(app.outdir), parts_of(app)
    texts = {page: markdown_of(app, page) for page in ("index", *(page for part in parts for page in part.pages))}
    for page, text in texts.items():
        (out / f"{page}.md").write_text(text, encoding="utf-8")
    (out / WHOLE).write_text("\n\n---\n\n".join(text.strip() for text in texts.values()) + "\n", encoding="utf-8")
    (out / LIST).write_text(list_of(app, parts), encoding="utf-8")


def list_of(app: Sphinx, parts: list[Part]) -> str:
    """The pages with what each begins with, in the form that llmstxt.org describes."""
    lines = [
        f"# {app.config.project}",
        "",
        f"> {opening(app, 'index')}",
        "",
        f"All pages in one file: [{WHOLE}]({WHOLE})",
    ]
    for part in parts:
        lines += ["", f"## {part.name}", ""]
        lines += [f"- [{app.env.titles[page].astext()}]({page}.md): {opening(app, page)}" for page in part.pages]
    return "\n".join(lines) + "\n"


def opening(app: Sphinx, page: str) -> str:
    """The first sentence of a page."""
    doctree = app.env.get_doctree(page)
    text = next((" ".join(each.astext().split()) for each in doctree.findall(nodes.paragraph)), "")
    return re.split(r"(?<=[.]) ", text)[0].rstrip(":")


def markdown_of(app: Sphinx, page: str) -> str:
    """A page as Markdown."""
    source = Path(app.env.doc2path(page)).read_text(encoding="utf-8")
    if _MADE.search(source):
        return blocks(app.env.get_and_resolve_doctree(page, app.builder, tags=app.tags))
    return re.sub(r"^```{toctree}\n.*?^```\n|^</?div.*?>\n\n?", "", source, flags=re.MULTILINE | re.DOTALL)


# --- what the site shows, as Markdown --------------------------------------------------------------------------------


def blocks(node: nodes.Element, level: int = 0) -> str:
    """The blocks in a node."""
    return "\n\n".join(text for child in node.children if (text := block(child, level).rstrip()))


def block(node: nodes.Node, level: int) -> str:
    """One block."""
    for kind, made in _BLOCKS.items():
        if isinstance(node, kind):
            return made(node, level)
    if isinstance(node, nodes.Text | nodes.Inline | nodes.TextElement):
        return line(node)
    return blocks(node, level) if isinstance(node, nodes.Element) else ""


def line(node: nodes.Node) -> str:
    """What stands in a line."""
    if isinstance(node, nodes.Text):
        text = re.sub(r"\s+", " ", node.astext())
        return ": " if text == " – " else text  # between a parameter and its meaning
    inner = "".join(map(line, node.children)).replace("****", "")  # the end of one and the beginning of the next
    if isinstance(node, nodes.literal):
        return f"`{node.astext()}`"
    if isinstance(node, nodes.strong | nodes.emphasis) and inner:
        return f"**{inner}**" if isinstance(node, nodes.strong) else f"*{inner}*"
    if isinstance(node, nodes.reference) and "refuri" in node and not _has_code(node):
        return f"[{inner}]({re.sub(_PAGE, '.md', node['refuri'])})"
    return inner


def _has_code(node: nodes.Element) -> bool:
    return any(isinstance(each, nodes.literal | nodes.strong) for each in node.findall())


def _section(node: nodes.Element, level: int) -> str:
    return blocks(node, level + 1)


def _title(node: nodes.Element, level: int) -> str:
    return f"{'#' * max(level, 1)} {line(node)}"


def _code(node: nodes.Element, _: int) -> str:
    return f"```\n{node.astext()}\n```"


def _list(node: nodes.Element, level: int) -> str:
    return "\n".join("- " + indented(blocks(item, level)) for item in _elements(node))


def _terms(node: nodes.Element, level: int) -> str:
    """Definitions and fields: what each is called, and what is said of it."""
    told = []
    for item in _elements(node):
        *terms, about = _elements(item)
        text = blocks(about, level)
        apart = "\n\n  " if text.startswith("- ") else " "
        told.append(f"- {' '.join(map(line, terms))}:{apart}{indented(text)}")
    return "\n".join(told)


def _lines(node: nodes.Element, level: int) -> str:
    return "  \n".join(block(child, level) for child in node.children)


def _object(node: nodes.Element, level: int) -> str:
    """A name of Python, an option or a variable, with what is said of it."""
    heads = [
        f"`{' '.join(each.astext().split())}`" for each in node.children if isinstance(each, addnodes.desc_signature)
    ]
    rest = [blocks(each, level) for each in node.children if isinstance(each, addnodes.desc_content)]
    return "- " + ", ".join(heads) + "".join(f"\n\n  {indented(text)}" for text in rest if text)


def _table(node: nodes.Element, level: int) -> str:
    rows = [[_cell(entry, level) for entry in row.findall(nodes.entry)] for row in node.findall(nodes.row)]
    rows[1:1] = [["---"] * len(rows[0])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _cell(node: nodes.Element, level: int) -> str:
    return " ".join(blocks(node, level).split()).replace("|", "\\|")


def _nothing(_: nodes.Element, __: int) -> str:
    return ""


def _elements(node: nodes.Element) -> Iterator[nodes.Element]:
    return (child for child in node.children if isinstance(child, nodes.Element))


def indented(text: str) -> str:
    """A text that goes on below the beginning of its first line."""
    return text.replace("\n", "\n  ").replace("\n  \n", "\n\n")


_BLOCKS: dict[type[nodes.Element], Callable[[nodes.Element, int], str]] = {
    nodes.section: _section,
    nodes.title: _title,
    nodes.literal_block: _code,
    nodes.bullet_list: _list,
    nodes.enumerated_list: _list,
    nodes.definition_list: _terms,
    nodes.field_list: _terms,
    nodes.line_block: _lines,
    nodes.table: _table,
    addnodes.desc: _object,
    addnodes.index: _nothing,
    nodes.target: _nothing,
    nodes.comment: _nothing,
    addnodes.compact_paragraph: _nothing,
}


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
