"""Directives of the reference: tables (`facts`), names of Python (`public`), commands (`commands`)."""

import ast
import enum
import importlib
import inspect
import re
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import click
from docutils import nodes
from docutils.parsers.rst import directives
from facts import FACTS, plain
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

import gotsurge_async
from gotsurge_async.cli.app import COMMANDS

TOP = "gotsurge_async"
GAP = "\n    "

OWN = {
    "Run": "add admit join start replace knows_task withdraw doubtful_rivals discard finish pending claim "
    "claim_broadcast claim_to_read renew_claim release_claim record resolve recover keep_undo remark rivals "
    "note_changed note_unchanged note_text adoptable lose_drafts lost_drafts note_unused unused_cancelled "
    "write_off put_back similar settle_after",
    "Ledger": "segments workers submitted waiting keep_count keep_count_by_id begin identity accepted_at first_pushed "
    "all_known refuse_older order_with",
    "Book": "not_found is_known known strangers say_reading is_read waiting acknowledge failed put_back let_go park",
    "Inbox": "put sender has_room waiting named claims not_ours drop_bodies alone cursor move_cursor ids clean done",
}
"""Methods of public classes that only the package itself calls: the pages say that they are not described."""


@cache
def homes() -> dict[str, str]:
    """The module in which each name of the front door is defined."""
    tree = ast.parse(Path(gotsurge_async.__file__).read_text(encoding="utf-8"))
    found = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))  # those for type checkers
    return {alias.name: str(node.module) for node in found for alias in node.names}


def names_of(module: str, homes_wanted: tuple[str, ...] = ()) -> list[str]:
    """The public names of a module that are to be told there; what a package above offers is told there."""
    public = list(importlib.import_module(module).__all__)
    if module == TOP:
        return [name for home in homes_wanted for name in public if homes()[name].startswith(home)]
    fronts = [importlib.import_module(front) for front in fronts_of(module)]
    elsewhere = {id(getattr(front, name)) for front in fronts for name in getattr(front, "__all__", ())}
    there = importlib.import_module(module)
    return [name for name in public if id(getattr(there, name)) not in elsewhere]


def fronts_of(module: str) -> list[str]:
    """The packages above a module."""
    parts = module.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]


def is_inner(cls: type) -> bool:
    """Whether a class of the package has methods and is not public: they are shown with the public classes below it."""
    if not cls.__module__.startswith(TOP):
        return False
    public = getattr(importlib.import_module(cls.__module__), "__all__", ())
    has_methods = any(inspect.isfunction(value) and not name.startswith("_") for name, value in vars(cls).items())
    return has_methods and cls.__name__ not in public


def told(module: str, name: str) -> list[str]:
    """The lines of reStructuredText that tell of a name."""
    thing = getattr(importlib.import_module(module), name)
    options = ["members"]
    is_error = inspect.isclass(thing) and issubclass(thing, BaseException)
    if inspect.isclass(thing) and not is_error and any(map(is_inner, thing.__mro__[1:])):
        options += ["inherited-members: object"]
    if inspect.isclass(thing) and any(base.__module__.startswith(TOP) for base in thing.__bases__):
        options += ["show-inheritance"]
    if inspect.isclass(thing):
        kind = "autoexception" if is_error else "autoclass"
        if issubclass(thing, enum.Enum) or any(base.__name__ == "OpenEnum" for base in thing.__mro__):
            options += ["undoc-members"]
        if kind == "autoexception":
            repeated = "" if name == "GotSurgeError" else ", explain_code"
            options += ["inherited-members: Exception", f"exclude-members: add_note, with_traceback{repeated}"]
        if name == "Summary":
            options.remove("members")
        if name in OWN:
            options += [f"exclude-members: {', '.join(OWN[name].split())}"]
    elif inspect.isroutine(thing):
        kind, options = "autofunction", []
    else:
        kind, options = "autodata", ["no-value"]
    return [f".. {kind}:: {module}.{name}", *(f"   :{option}{'' if ':' in option else ':'}" for option in options), ""]


class Generated(SphinxDirective):
    """Shows Markdown that is made anew at every build."""

    has_content = False
    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {}

    def markdown(self) -> str:
        """What is shown."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()  # the program may have changed, and no file of docs/
        return self.parse_text_to_nodes(self.markdown(), allow_section_headings=True)


class Facts(Generated):
    """A table of `facts.FACTS`."""

    def markdown(self) -> str:
        return FACTS[self.arguments[0]]()


class Public(Generated):
    """The public names of a module, with signatures and docstrings; ``of`` takes those that come from some modules."""

    option_spec: ClassVar[dict[str, Any]] = {"of": directives.unchanged_required, "silent": directives.flag}

    def markdown(self) -> str:
        module = self.arguments[0]
        of = tuple(f"{TOP}.{part}" for part in self.options.get("of", "").split())
        silent = of or "silent" in self.options
        lines = [] if silent else [f".. automodule:: {module}", "   :no-members:", ""]
        for name in names_of(module, of):
            lines += told(module, name)
        return "\n".join(["```{eval-rst}", *lines, "```"])


class Fixtures(Generated):
    """The fixtures of a plugin of pytest: functions that pytest has wrapped."""

    def markdown(self) -> str:
        tree = ast.parse(inspect.getsource(importlib.import_module(self.arguments[0])))
        found = [
            node
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and "fixture" in ast.dump(node.decorator_list[0])
        ]
        lines = [f"`{node.name}`\n: {plain(ast.get_docstring(node) or '')}\n" for node in found]
        return "\n".join(lines)


class Commands(Generated):
    """The commands of a folder of `gotsurge_async.cli`, with every option."""

    def markdown(self) -> str:
        folder = self.arguments[0]
        parts = []
        for name in COMMANDS[folder]:
            where = f"{TOP}.cli.{folder}.{name}:{name}"
            parts += [f"```{{eval-rst}}\n.. click:: {where}\n   :prog: gotsurge {name}\n   :nested: full\n```\n"]
        return "\n".join(parts)


def by_its_last_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.Node | None:
    """A name in a docstring, without its module, leads to the one thing in the reference that is called so."""
    if node.get("refdomain") != "py":
        return None
    python = env.domains.python_domain
    tail = "." + node["reftarget"].lstrip(".").removeprefix(TOP + ".")
    found = {entry.node_id: (entry.docname, name) for name, entry in python.objects.items() if name.endswith(tail)}
    if len(found) != 1:
        return None
    (anchor, (page, name)) = found.popitem()
    made = nodes.reference("", "", internal=True, reftitle=name)
    made["refuri"] = f"{app.builder.get_relative_uri(node.get('refdoc', page), page)}#{anchor}"
    made += content
    return made


class Options:
    """Describes an option that several commands of a page share once; the others name all such options in one line."""

    def __init__(self) -> None:
        self._commands: dict[str, str] = {}

    def begin(self, _: Sphinx, page: str, source: list[str]) -> None:
        """A page begins."""
        self._commands.clear()

    def shorten(self, _: Sphinx, context: click.Context, lines: list[str]) -> None:
        """The options of a command, as reStructuredText."""
        start, *blocks = "\n".join(lines).split(".. option:: ")
        own, shared = [start], dict[str, list[str]]()
        for block in blocks:
            first = self._commands.setdefault(block, context.command_path)
            if first == context.command_path:
                own.append(block)
            else:
                shared.setdefault(first, []).append(block.splitlines()[0])
        own += [f"{GAP.join(names)}\n\n    As for ``{first}``.\n\n" for first, names in shared.items()]
        lines[:] = ".. option:: ".join(own).split("\n")


def of_a_table(_: Sphinx, what: str, name: str, __: object, ___: object, lines: list[str]) -> None:
    """The fields of a push's summary stand in a table of their own."""
    if what == "class" and name.endswith(".bulk.Summary"):
        lines += ["The page of files has its fields.", ""]


class Repeated:
    """Describes a method that several classes of a page have from one below them once, and refers to that."""

    def __init__(self) -> None:
        self._names: dict[object, str] = {}

    def begin(self, _: Sphinx, page: str, source: list[str]) -> None:
        """A page begins."""
        self._names.clear()

    def shorten(self, _: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
        """The docstring of a name."""
        if what in ("method", "property") and any(lines):
            first = self._names.setdefault(thing, name)
            if first != name:
                lines[:] = [f"As `{'.'.join(first.split('.')[-2:])}`.", ""]


def leave_out(_: Sphinx, __: click.Context, lines: list[str]) -> None:
    """What is said elsewhere: the usage has the arguments, the text of an option its variable."""
    lines.clear()


def of_arguments(_: Sphinx, __: click.Context, lines: list[str]) -> None:
    """The usage of a command: only where it says more than the heading."""
    if any(line.endswith(("[OPTIONS]", "COMMAND [ARGS]...")) for line in lines):
        lines.clear()


class Sentences:
    """Keeps what is said of a property as it is: a colon in its first sentence does not set off a type."""

    def __init__(self) -> None:
        self._before: list[str] = []

    def keep(self, _: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
        """Before docstrings of Google's style are read."""
        self._before = lines[:] if what in ("attribute", "data", "property") else []

    def restore(self, _: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
        """After it."""
        if self._before and any(line.startswith(":type:") for line in lines):
            lines[:] = self._before


_CODE = re.compile(r"(\d+(?:, \d+)*) (\S.*)")


def one_by_one(_: Sphinx, __: object, lines: list[str]) -> None:
    """The exit codes of a command stand in columns in its help; on the page each has a line of its own."""
    if "| Exit codes:" not in lines:
        return
    start = lines.index("| Exit codes:")
    end = next((at for at in range(start, len(lines)) if not lines[at].startswith("|")), len(lines))
    rows = [line.removeprefix("|") for line in lines[start + 1 : end]]
    columns = sorted({0, *(found.end() for row in rows for found in re.finditer(r"\S {2,}(?=\d+ )", row))})
    codes: list[tuple[str, str]] = []
    for row in rows:
        cuts = [at for at in columns if at == 0 or (row[at - 1 : at] == " " and _CODE.match(row, at))]
        for at, until in zip(cuts, [*cuts[1:], len(row)], strict=True):
            if found := _CODE.fullmatch(row[at:until].strip()):
                codes.append((found[1], found[2]))
            elif codes:  # the text of the last one goes on
                codes[-1] = (codes[-1][0], f"{codes[-1][1]} {row[at:until].strip()}")
    codes.sort(key=lambda code: int(code[0].partition(",")[0]))
    lines[start:end] = ["Exit codes:", "", *(f"- ``{code}`` {text}" for code, text in codes)]


def with_dashes(_: Sphinx, doctree: nodes.document, __: str) -> None:
    """What Sphinx writes between a parameter and its meaning becomes a dash; options keep their two hyphens."""
    for text in list(doctree.findall(nodes.Text)):
        if text.astext() == " -- ":
            text.parent.replace(text, nodes.Text(" – "))


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("facts", Facts)
    app.add_directive("public", Public)
    app.add_directive("commands", Commands)
    app.add_directive("fixtures", Fixtures)
    options = Options()
    app.connect("source-read", options.begin)
    app.connect("sphinx-click-process-options", options.shorten)
    app.add_event("sphinx-click-process-envars")  # as sphinx-click emits it; it adds one of another spelling
    app.connect("sphinx-click-process-envars", leave_out)
    app.connect("sphinx-click-process-arguments", leave_out)
    app.connect("sphinx-click-process-usage", of_arguments)
    sentences = Sentences()
    app.connect("autodoc-process-docstring", sentences.keep, priority=400)
    app.connect("autodoc-process-docstring", sentences.restore, priority=600)
    app.connect("autodoc-process-docstring", of_a_table, priority=300)
    repeated = Repeated()
    app.connect("source-read", repeated.begin)
    app.connect("autodoc-process-docstring", repeated.shorten, priority=900)
    app.connect("sphinx-click-process-description", one_by_one)
    app.connect("doctree-resolved", with_dashes)
    app.connect("missing-reference", by_its_last_name)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
