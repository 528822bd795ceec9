"""Markdown as GitHub shows it: what its links and fences mean, the site understands too."""

import re
import tomllib
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
FILES = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["urls"]["Repository"] + "/blob/main/"
_OUT_OF_DOCS = re.compile(r"\]\((?P<up>(?:\.\./)+)(?P<rest>[^)\s]*)\)")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_lexer("floors", TextLexer)  # the drawing in architecture.md
    app.connect("source-read", _lead_out_of_docs)
    app.connect("source-read", _leave_out_idle_patterns)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _lead_out_of_docs(app: Sphinx, page: str, source: list[str]) -> None:
    """A link to a file beside docs/ goes to where that file can be read: the site has no copy of it."""
    folder = (Path(app.srcdir) / page).parent

    def there(link: re.Match[str]) -> str:
        target = (folder / link["up"] / link["rest"]).resolve()
        root = Path(app.srcdir).resolve().parent
        if target.is_relative_to(root / "docs") or not target.is_relative_to(root):
            return link[0]
        return f"]({FILES}{target.relative_to(root).as_posix()})"

    source[0] = _OUT_OF_DOCS.sub(there, source[0])


def _leave_out_idle_patterns(app: Sphinx, page: str, source: list[str]) -> None:
    """A pattern with no page left for it is no mistake: all are listed above it, or there are none."""
    folder = (Path(app.srcdir) / page).parent
    lines = source[0].split("\n")

    def is_idle(line: str) -> bool:
        found = (path.relative_to(folder).with_suffix("").as_posix() for path in folder.glob(f"{line}.md"))
        return re.fullmatch(r"[\w/-]*\*", line) is not None and all(name in lines for name in found)

    source[0] = "\n".join(line for line in lines if not is_idle(line))
