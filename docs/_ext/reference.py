"""Directives of the reference: tables (`facts`), names of Python (`public`), commands (`commands`)."""

import ast
import enum
import importlib
import inspect
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
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
from gotsurge_async.cli.app import COMMANDS, module_of

TOP = "gotsurge_async"
GAP = "\n    "
MESSAGES = re.compile(r"\n```text\n.*?^```\n", re.MULTILINE | re.DOTALL)
MANY, FEW = 4, 5
"""Commands that share an option of many, and those that are named where it has another meaning."""

LISTED = {
    "Summary": "files",
    **dict.fromkeys(["AlertKind", "EventState", "Mode", "OrderState", "RunState", "TaskStatus"], "states"),
}
"""Classes whose fields or values another page lists."""

OWN = {
    "Run": "add admit join start replace knows_task withdraw doubtful_rivals discard finish pending claim "
    "claim_broadcast claim_to_read renew_claim release_claim record resolve recover keep_undo remark rivals "
    "note_changed note_unchanged note_text adoptable lose_drafts lost_drafts note_unused unused_cancelled "
    "write_off put_back similar settle_after settle_claimed epoch path",
    "Ledger": "segments workers submitted waiting keep_count keep_count_by_id begin identity accepted_at first_pushed "
    "all_known refuse_older order_with now place proposals is_writable refuse_replaced recorded known last size "
    "unused_drafts decisions is_held stamp write request read_tasks read",
    "Book": "not_found known strangers say_reading is_read waiting acknowledge failed put_back let_go park "
    "place steps moved newest",
    "Inbox": "put sender has_room waiting named claims not_ours drop_bodies alone cursor move_cursor ids clean done "
    "arrived learn is_ours place dead oldest",
    "Brakes": "for_workers of_worker",
    "Push": "enter sender",
    "Fault": "hint ends_the_call is_about",
    "Source": "close_at_end",
    "SourceOptions": "zone dialect items_dialect",
    "SourceReport": "add without_faults",
    "Event": "tree status tracking_id invoice_number group_tag names shortened",
    "Only": "statement values",
    "Connections": "add remove",
    "Sums": "add",
    "Hooks": "emit watched next_call request_done",
    "Secret": "forms",
    "Profile": "resolve",
    "Sealer": "is_newest seal open",
    "SqlStore": "rows change",
    "TokenManager": "start close keep invalidate",
    "SignInPages": "start callback receive_page receive",
}
"""Members of public classes that only the package itself uses: the pages say that they are not described."""

PROTOCOLS = {
    "now monotonic sleep": {"SystemClock", "ManualClock"},
    "send close": {"AiohttpTransport", "MemoryTransport", "Recorded", "Recorder"},
}
"""Methods that a protocol describes, and the classes that only fulfil it."""


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


def is_public(cls: type) -> bool:
    """Whether a class of the package is one for users."""
    return cls.__module__.startswith(TOP) and cls.__name__ in getattr(import_module(cls.__module__), "__all__", ())


def is_inner(cls: type) -> bool:
    """Whether a class of the package has methods and is not public: they are shown with the public classes below it."""
    if not cls.__module__.startswith(TOP):
        return False
    has_methods = any(inspect.isfunction(value) and not name.startswith("_") for name, value in vars(cls).items())
    return has_methods and not is_public(cls)


def left_out(name: str) -> list[str]:
    """The members of a class that its entry does not describe."""
    fulfilled = (methods for methods, classes in PROTOCOLS.items() if name in classes)
    return " ".join([OWN.get(name, ""), *fulfilled]).split()


def told(module: str, name: str) -> list[str]:
    """The lines of reStructuredText that tell of a name."""
    thing = getattr(importlib.import_module(module), name)
    options = ["members"]
    is_error = inspect.isclass(thing) and issubclass(thing, BaseException)
    if inspect.isclass(thing) and not is_error and any(map(is_inner, thing.__mro__[1:])):
        options += ["inherited-members: object"]
    if inspect.isclass(thing) and any(map(is_public, thing.__bases__)):
        options += ["show-inheritance"]
    if inspect.isclass(thing):
        kind = "autoexception" if is_error else "autoclass"
        if name in LISTED:
            options.remove("members")
        elif issubclass(thing, enum.Enum) or any(base.__name__ == "OpenEnum" for base in thing.__mro__):
            options += ["undoc-members"]
        if kind == "autoexception":
            options += ["inherited-members: Exception"]
        left = left_out(name)
        if is_error:
            left += ["add_note", "with_traceback", *(["explain_code"] if name != "GotSurgeError" else [])]
        options += [f"exclude-members: {', '.join(left)}"] if left else []
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
            where = f"{module_of(name)}:{name}"
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


def every_command() -> Iterator[click.Context]:
    """All commands and their groups, each in the context that names it in full."""
    waiting = [
        click.Context(import_module(module_of(name)).__dict__[name], info_name=f"gotsurge {name}")
        for names in COMMANDS.values()
        for name in names
    ]
    while waiting:
        context = waiting.pop(0)
        yield context
        if isinstance(context.command, click.Group):
            inner = (
                (name, context.command.get_command(context, name)) for name in context.command.list_commands(context)
            )
            waiting += [click.Context(command, parent=context, info_name=name) for name, command in inner if command]


def options_of(context: click.Context) -> list[click.Option]:
    """The options of a command that its help shows."""
    return [each for each in context.command.params if isinstance(each, click.Option) and not each.hidden]


def identity(option: click.Option) -> tuple[str, str]:
    """The names and the help of an option: those that have both in common are one option of several commands."""
    return ", ".join([*option.opts, *option.secondary_opts]), option.help or ""


@cache
def common() -> dict[tuple[str, str], list[str]]:
    """The options that many commands share, each with the commands."""
    commands: dict[tuple[str, str], list[str]] = {}
    for context in every_command():
        for option in options_of(context):
            commands.setdefault(identity(option), []).append(context.command_path)
    return {key: names for key, names in commands.items() if len(names) >= MANY}


class CommonOptions(Generated):
    """The options that many commands share: of a name with several meanings the most frequent comes first."""

    def markdown(self) -> str:
        options = {identity(each): each for context in every_command() for each in options_of(context)}
        meanings: dict[str, list[str]] = {}
        for (names, text), commands in sorted(common().items(), key=lambda item: -len(item[1])):
            option = options[names, text]
            if names in meanings:
                shown = ", ".join(f"``{command}``" for command in commands)
                meanings[names].append(f"For {shown}: {text}" if len(commands) < FEW else f"For other commands: {text}")
                continue
            values = option.type.choices if isinstance(option.type, click.Choice) else ()
            meanings[names] = [text, f"One of {', '.join(f'``{value}``' for value in values)}."] if values else [text]
            if option.show_default is True:
                meanings[names].append(f"Default: ``{option.default}``.")
        lines = ["```{eval-rst}", ".. program:: gotsurge", ""]
        for names, texts in sorted(meanings.items()):
            lines += [f".. option:: {names}", "", *(f"   {' '.join(text.split())}\n" for text in texts)]
        return "\n".join([*lines, "```"])


class Options:
    """Describes an option that commands of a page share once; the others name it. All name those of many commands."""

    def __init__(self) -> None:
        self._commands: dict[str, str] = {}

    def begin(self, _: Sphinx, page: str, source: list[str]) -> None:
        """A page begins."""
        self._commands.clear()

    def shorten(self, _: Sphinx, context: click.Context, lines: list[str]) -> None:
        """The options of a command, as reStructuredText."""
        start, *blocks = "\n".join(lines).split(".. option:: ")
        own, shared, many = [start], dict[str, list[str]](), list[str]()
        for option, block in zip(options_of(context), blocks, strict=True):
            names, _text = identity(option)
            if identity(option) in common():
                many.append(f"``{names}``")
                continue
            first = self._commands.setdefault(block, context.command_path)
            if first == context.command_path:
                own.append(block)
            else:
                shared.setdefault(first, []).append(names)
        own += [f"{GAP.join(names)}\n\n    As for ``{first}``.\n\n" for first, names in shared.items()]
        lines[:] = ".. option:: ".join(own).split("\n") if blocks else []
        if many:
            lines += ["", f":doc:`Common options </reference/command-options>`: {', '.join(many)}.", ""]


def of_a_table(_: Sphinx, what: str, name: str, __: object, ___: object, lines: list[str]) -> None:
    """What another page lists is only linked."""
    if what == "class" and (page := LISTED.get(name.rpartition(".")[2])):
        lines += [f":doc:`{page.title()} </reference/{page}>` lists them.", ""]
    elif what == "data" and name.endswith("__version__"):
        lines[:] = ["The version of the package.", ""]


class Repeated:
    """Describes a method that several classes of a page have from one below them, and an argument, once."""

    def __init__(self) -> None:
        self._names: dict[object, str] = {}
        self._arguments: set[str] = set()

    def begin(self, _: Sphinx, page: str, source: list[str]) -> None:
        """A page begins."""
        self._names.clear()
        self._arguments.clear()

    def shorten(self, _: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
        """The docstring of a name."""
        if what not in ("method", "property") or not any(lines):
            return
        first = self._names.setdefault(thing, name)
        if first != name:
            lines[:] = [f"As `{'.'.join(first.split('.')[-2:])}`.", ""]
            return
        fields = re.split(r"\n(?=:|\n)", "\n".join(lines))
        left = [each for each in fields if not (each.startswith(":param ") and each in self._arguments)]
        self._arguments.update(each for each in fields if each.startswith(":param "))
        lines[:] = "\n".join(left).split("\n")


def without_messages(_: Sphinx, path: Path, page: str, content: list[str]) -> None:
    """The catalogue as a page: `gotsurge explain` finds a message, and the page would be thrice as long with them."""
    content[0] = MESSAGES.sub("", content[0])


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
        if "Raises:" in lines:
            at = lines.index("Raises:")
            lines[at:] = [re.sub(r"^    (?=\w+: )", ":raises ", line) for line in lines[at + 1 :]]
        lines[:] = [_SEVERAL.sub(lambda names: names[0].replace(", ", ",\u200b"), line) for line in lines]


_SEVERAL = re.compile(r"^:ivar \w+(?:, \w+)+:")
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
    app.add_directive("common-options", CommonOptions)
    app.add_directive("fixtures", Fixtures)
    options = Options()
    app.connect("source-read", options.begin)
    app.connect("sphinx-click-process-options", options.shorten)
    app.add_event("sphinx-click-process-envars")  # as sphinx-click emits it; it adds one of another spelling
    app.connect("sphinx-click-process-envars", leave_out)
    app.connect("sphinx-click-process-arguments", leave_out)
    app.connect("sphinx-click-process-usage", of_arguments)
    app.connect("include-read", without_messages)
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
