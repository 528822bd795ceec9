"""Signatures that are short enough to read: types by the name of their union, defaults that are long as `...`.

An argument whose default is None has no `| None` in its type. Arguments that begin with an underscore, and the `extra`
of all models, are left out. A class of models that adds fields to a public one has only its own, and `**` the other.
"""

import ast
import enum
import inspect
import re
from typing import Any

import attrs
from sphinx.application import Sphinx

from gotsurge_async.errors import GotSurgeError
from gotsurge_async.models.base import Model
from gotsurge_async.simulator import SWITCHES, SimulatorOptions

NAMED = {"BroadcastPreference", "PriceVehicle", "ServiceType", "TaskStatus", "VehiclePreference"}
"""Types that list their values where they are described."""
LONGEST = 24
"""Characters of a default that is shown."""
SINGLE = {"Created", "Refused", "InDoubt", "Unprocessed"}
NOT_PYTHON = re.compile(r"<(?:[^<>]|<[^<>]*>)*>")
"""As the default of a field that a factory makes."""
GOT = {"PushStream", "UpdateStream", "DeskStream", "Run", "Ledger", "Book", "Inbox", "Listing", "OAuth", "Summary"}
"""Classes that a program gets and does not make: nothing shows how they are made."""
OF_ERRORS = {"message", "explain_code", "reason"}
"""Arguments that errors have in common."""


class _Shorter(ast.NodeTransformer):
    """Shortens the types in a signature."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        parts = [self.visit(part) for part in union(node)]
        names = {name_of(part) for part in parts}
        if names >= SINGLE:
            whole = "bulk.Outcome" if "Changed" in names else "OrderResult"
            generic = bare(next(part for part in parts if name_of(part) == "Created"))
            parts = [part for part in parts if name_of(part) not in SINGLE | {"Changed"}]
            named: ast.expr = ast.parse(f"~gotsurge_async.{whole}", mode="eval").body
            if isinstance(generic, ast.Subscript) and whole == "OrderResult":
                named = ast.Subscript(named, generic.slice, ast.Load())
            parts.append(named)
        elif "Literal" in names and names & NAMED:
            parts = [ast.Name("str") if name_of(part) == "Literal" else part for part in parts]
        return joined(parts)


def union(node: ast.expr) -> list[ast.expr]:
    """The parts of a type, in their order."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return union(node.left) + union(node.right)
    return [node]


def joined(parts: list[ast.expr]) -> ast.expr:
    """The type that has these parts."""
    made = parts[0]
    for part in parts[1:]:
        made = ast.BinOp(made, ast.BitOr(), part)
    return made


def name_of(node: ast.expr) -> str:
    """The last name of a type, without what it is subscripted with."""
    node = bare(node)
    return ast.unparse(node.value if isinstance(node, ast.Subscript) else node).rpartition(".")[2]


def bare(node: ast.expr) -> ast.expr:
    """A type without the `~` by which Sphinx shows only its last name."""
    return node.operand if isinstance(node, ast.UnaryOp) else node


def without_none(annotation: ast.expr | None, default: ast.expr | None) -> ast.expr | None:
    """A type without None, if None is the default."""
    if annotation is None or not (isinstance(default, ast.Constant) and default.value is None):
        return annotation
    parts = [part for part in union(annotation) if not (isinstance(part, ast.Constant) and part.value is None)]
    return joined(parts) if parts else annotation


def brief(default: ast.expr) -> ast.expr:
    """A default, or `...` if it is long."""
    text = ast.unparse(default)
    return ast.Constant(...) if len(text) > LONGEST or text == "NOTHING" else default


def of_base(thing: Any) -> tuple[set[str], str | None]:
    """The fields that a model has from the public model below it, and the name of that."""
    if not (inspect.isclass(thing) and issubclass(thing, Model)):
        return set(), None
    for base in thing.__mro__[1:]:
        if base is not Model and issubclass(base, Model) and not base.__name__.startswith("_"):
            types = {field.name: field.type for field in attrs.fields(base)}
            mine = {field.name: field.type for field in attrs.fields(thing)}
            return {name for name, kind in types.items() if mine.get(name) == kind} - {"extra"}, base.__name__
    return set(), None


def of_table(thing: Any) -> tuple[set[str], str | None]:
    """The fields that another place lists, and what they are called."""
    return (set(SWITCHES), "switches") if thing is SimulatorOptions else of_base(thing)


def is_got(thing: Any) -> bool:
    """Whether no program makes an object of the class by its arguments."""
    if not inspect.isclass(thing):
        return False
    names = [name for name in inspect.signature(thing).parameters if not name.startswith("_")]
    return thing.__name__ in GOT or issubclass(thing, enum.Enum) or names in ([], ["args", "kwargs"])


def shorten(
    _: Sphinx, __: str, ___: str, thing: object, ____: object, arguments: str | None, returned: str | None
) -> Any:
    """A signature, and what it returns; None if nothing is to be done."""
    if not arguments:
        return None
    if is_got(thing):
        return "", returned
    try:
        tree = ast.parse(f"def f{NOT_PYTHON.sub('...', arguments)} -> {returned or 'None'}: ...")
    except SyntaxError:
        return None
    (function,) = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    _Shorter().visit(function)
    given = function.args
    inherited, base = of_table(thing)
    left = inherited | {"extra"} if inspect.isclass(thing) and issubclass(thing, Model) else inherited
    if inspect.isclass(thing) and issubclass(thing, GotSurgeError) and thing is not GotSurgeError:
        shown = [each for each in given.args if each.arg not in OF_ERRORS]
        given.defaults = given.defaults[len(given.args) - len(shown) :]
        given.args, given.kwarg = shown, None
    pairs = list(zip(given.kwonlyargs, given.kw_defaults, strict=True))
    pairs = [(each, default) for each, default in pairs if each.arg not in left and not each.arg.startswith("_")]
    for each, default in pairs:
        each.annotation = without_none(each.annotation, default)
    given.kwonlyargs = [each for each, _ in pairs]
    given.kw_defaults = [default and brief(default) for _, default in pairs]
    plain = [*given.posonlyargs, *given.args]
    for each, default in zip(plain[len(plain) - len(given.defaults) :], given.defaults, strict=True):
        each.annotation = without_none(each.annotation, default)
    given.defaults = [brief(default) for default in given.defaults]
    if inherited and base:
        given.kwarg = ast.arg(base)
    shown = ast.unparse(ast.fix_missing_locations(given))
    return f"({shown})", ast.unparse(function.returns) if returned and function.returns else returned


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("autodoc-process-signature", shorten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
