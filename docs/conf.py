"""The site of these documents: python -m sphinx -W --keep-going -b html docs site

Nothing is fetched, neither by the build nor by its pages: no fonts, scripts or inventories of others.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]

from gotsurge_async.version import __version__  # noqa: E402 - found by the line above

project = "gotsurge-async"
author = "The gotsurge-async authors"
project_copyright = author
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "sphinx_copybutton",
    "github_markdown",
    "glossary",
    "reference",
    "signatures",
    "synonyms",
    "readable",
    "llms",
]
exclude_patterns = ["_*"]
needs_sphinx = "8.1"

# `GotSurge` in a docstring becomes a link where it is a name, and stays code elsewhere.
default_role = "py:obj"
smartquotes = False  # an option is --json, not a dash
add_module_names = False
toc_object_entries_show_parents = "hide"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_inherit_docstrings = False  # what only fulfils a protocol is described there
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False  # the signature of a class has the types of its attributes

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 6  # as GitHub does it: links to headings are true there and here
myst_links_external_new_tab = False

# A button copies the commands of a block, without their prompt and without what they print.
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True
copybutton_line_continuation_character = "\\"
copybutton_copy_empty_lines = False
copybutton_selector = "div.highlight:not(.highlight-text *):not(.highlight-floors *) pre"

html_theme = "furo"
html_title = f"gotsurge-async {__version__}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "../gotsurge_async/simulator/board/static/icon.svg"
html_show_sphinx = False
html_copy_source = False
html_extra_path = ["openapi.json"]
html_theme_options = {
    "footer_icons": [],
    "light_css_variables": {"font-stack": "system-ui, sans-serif", "font-stack--monospace": "ui-monospace, monospace"},
}
