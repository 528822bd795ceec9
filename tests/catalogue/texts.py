"""Every text that the package may tell as an error or a warning, read from its source: ``…`` stands for what is put in.

What is looked at:

- the text of each error of ours, of click, and of Python's `ValueError` and the like, wherever one is made;
- what the ``__str__`` of an error says by itself;
- the texts in calls that say what is wrong with a cell, an order or a row of the ledger (`TELLERS`);
- what the command says on standard error as a warning.

A text that is passed on, and holds no words of its own, is found where it is made. Each text has the code that its
place gives it: an argument of the error, that of a `Coded`, or that of the class.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path

import gotsurge_async
from gotsurge_async.errors import Coded, code_of

PACKAGE = Path(gotsurge_async.__file__).parent
NOT_TOLD = ("simulator/", "testing/")
"""Folders whose errors no user of the command or of the client meets as our own: the simulator's answers are told as
those of the service, and what tests are helped with is told to developers. Of the simulator only `TOLD` is told."""
TOLD = ("simulator/options.py",)

ROOTS = {"GotSurgeError", "ClickException", "UsageError", "BadParameter"}
OF_PYTHON = {
    "ValueError",
    "TypeError",
    "LookupError",
    "TimeoutError",
    "RuntimeError",
    "Misread",
    "BadFile",
    "BadSheet",
    "MaybeSent",
    "NothingSent",
    "DatabaseFailed",
    "Unfit",
}
TELLERS = {
    "Problem": (1, "message"),
    "Finding": (1, "message"),
    "Fault": (6, "rule"),
    "fault": (1, "rule"),
    "_fault": (1, "rule"),
    "wrong": (1, "rule"),
    "_wrong": (1, "rule"),
    "wrong_cell": (1, "rule"),
    "add_fault": (0, "rule"),
    "unreadable": (1, "rule"),
    "_unreadable": (1, "rule"),
    "damaged": (2, "what"),
    "Flaw": (2, "what"),
    "Meaning": (1, "text"),
    "failure": (1, "text"),
    "_no": (0, "expected"),
    "_remark": (0, "rule"),
    "_given_up": (1, "why"),
    "partial": (9, "interrupted"),
    "interruptible": (0, "interrupted"),
}
"""Calls that tell what is wrong: which argument has the text, by place and by name."""
WITH_A_CODE = {"Misread": 1, "BadFile": 1, "BadSheet": 1, "NothingSent": 1, "MaybeSent": 1, "_fault": 2}
"""The place of the code in the arguments of calls that are no errors of ours; of those it is the second."""
OF_HELPERS = {
    "NothingSent": "E401",
    "MaybeSent": "E402",
    "_given_up": "E402",
    "partial": "E112",
    "interruptible": "E112",
    "_remark": "E238",
    "_no": "E237",
    "Flaw": "E504",
    "damaged": "E504",
    "BadParameter": "E102",
    "UnusableSource": "E236",
    "_fault": "E611",
}
"""The codes that functions and classes give their texts inside."""
EXCUSED = OF_PYTHON - {"Misread", "BadFile", "BadSheet", "MaybeSent", "NothingSent"} | {"failure", "Meaning"}
"""What has no code of its own: Python's errors, and what becomes another error, which has one."""
WITHOUT = {"InvalidData", "RepeatedKey", "UnreadableAnswer", "UnusableSource", "Failure", "BadParameter"}
"""Errors whose second argument is something else."""
CODE = re.compile(r"E\d{3}")
GLUE = ("… (… is …)", "ledger …: …", "…; it is …")
"""How other texts are put together."""
_LONGEST = 100
"""Longer texts that stand in others are advice: the same in many of them, and told in another way of PostgreSQL."""
_WORD = re.compile(r"[A-Za-z]{2,}")


_BARE = (ast.Name, ast.Constant, ast.expr_context, ast.operator, ast.cmpop, ast.boolop, ast.unaryop)
"""Most nodes of a file, in which there is no other one that matters."""


class _File:
    """One file of the package, with what its names stand for."""

    def __init__(self, path: Path) -> None:
        source = path.read_text(encoding="utf-8")
        self.tree = ast.parse(source)
        self.indents = [len(line) - len(line.lstrip()) for line in ("", *source.splitlines())]
        self.constants: dict[str, ast.expr] = {}
        self.functions: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = {}
        self.scoped: list[tuple[ast.Call | ast.ClassDef, ast.AST]] = []
        waiting: list[tuple[ast.AST, ast.AST]] = [(self.tree, self.tree)]
        while waiting:
            node, scope = waiting.pop()
            self._note(node, scope)
            inner = node if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else scope
            waiting.extend([(child, inner) for child in ast.iter_child_nodes(node) if not isinstance(child, _BARE)])

    def _note(self, node: ast.AST, scope: ast.AST) -> None:
        """Keep what is looked at of a node, calls and classes with the function that they are in."""
        if isinstance(node, ast.Call | ast.ClassDef):
            self.scoped.append((node, scope))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            self.functions[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name) and target.id.isupper():
                    self.constants[target.id] = node.value


@cache
def _file(path: Path) -> _File:
    """Each is read once."""
    return _File(path)


def _readings(node: ast.AST | None, file: _File, scope: ast.AST, depth: int = 0) -> list[str]:
    """What an expression may say."""
    if isinstance(node, ast.Constant):
        return [node.value if isinstance(node.value, str) else "…"]
    if depth > 4:
        return ["…"]
    deeper = depth + 1
    if isinstance(node, ast.JoinedStr):
        parts = [
            [str(part.value)] if isinstance(part, ast.Constant) else _inside(part, file, scope, deeper)
            for part in node.values
        ]
        return ["".join(parts_) for parts_ in product(*parts)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        sides = (_readings(node.left, file, scope, deeper), _readings(node.right, file, scope, deeper))
        return ["".join(both) for both in product(*sides)]
    if isinstance(node, ast.IfExp):
        return _readings(node.body, file, scope, deeper) + _readings(node.orelse, file, scope, deeper)
    if isinstance(node, ast.BoolOp):
        return [text for each in node.values for text in _readings(each, file, scope, deeper)]
    if isinstance(node, ast.Name):
        constant = file.constants.get(node.id) or _constants().get(node.id)
        if constant is not None:
            return _readings(constant, file, scope, deeper)
        given = [
            each
            for each in ast.walk(scope)
            if isinstance(each, ast.Assign) and any(isinstance(t, ast.Name) and t.id == node.id for t in each.targets)
        ]
        above = (node.lineno - 1, file.indents[node.lineno])
        meant = [each for each in given if (each.end_lineno, each.col_offset) == above] or given
        return [
            text if each in meant else Coded(text, "…")
            for each in given
            for text in _readings(each.value, file, scope, deeper)
        ] or ["…"]
    if isinstance(node, ast.Call):
        name = _name(node)
        if name == "Coded":
            code = next(map(_code_in, node.args[1:]), None)
            texts = _readings(node.args[0], file, scope, depth)
            return [Coded(text, None if code_of(text) == "…" else code) for text in texts]
        own = isinstance(node.func, ast.Name) or ast.unparse(node.func).startswith("self.")
        made = file.functions.get(name) or _helpers().get(name)
        if own and made is not None and name != getattr(scope, "name", ""):
            returned = [each.value for each in ast.walk(made) if isinstance(each, ast.Return) and each.value]
            return [text for each in returned for text in _readings(each, file, made, deeper)] or ["…"]
    return ["…"]


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _code_in(node: ast.AST) -> str:
    """The code that an expression has, also as its last resort; ``…`` if it is that of another error."""
    codes = (each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str))
    return next(filter(CODE.fullmatch, codes), "…")


def _inside(part: ast.AST, file: _File, scope: ast.AST, depth: int) -> list[str]:
    """What stands in a text in place of braces: the words of a constant of ours, else anything."""
    value = part.value if isinstance(part, ast.FormattedValue) else part
    if isinstance(value, ast.Name) and value.id in file.constants:
        return [text if len(text) < _LONGEST else "…" for text in _readings(value, file, scope, depth)]
    return ["…"]


@cache
def _constants() -> dict[str, ast.AST]:
    """The texts of the package that have a name of their own, for files that import them."""
    return {
        name: value
        for path in PACKAGE.rglob("*.py")
        for name, value in _file(path).constants.items()
        if not name.startswith("_")
        and (isinstance(value, ast.Constant | ast.JoinedStr | ast.BinOp) or ast.unparse(value).startswith("Coded("))
    }


@cache
def _helpers() -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    """Functions that make a text for other files."""
    places = {
        "not_in": "tables/formats/lines.py",
        "problem_of": "models/phones.py",
        "_why_impossible": "models/phones.py",
    }
    return {name: _file(PACKAGE / place).functions[name] for name, place in places.items()}


TABLES = ("_SIGNATURES", "_WORKBOOK", "ADVICE")
"""Constants that hold texts beside other things."""


def _plain(text: str) -> Coded:
    """A text on one line, with one sign for each thing that is put in."""
    return Coded(re.sub(r"…(\W?…)+", "…", " ".join(text.split())), code_of(text))


@cache
def _errors() -> set[str]:
    """The names of our errors, and of all that are made of them."""
    bases: dict[str, list[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        for node, _ in _file(path).scoped:
            if isinstance(node, ast.ClassDef):
                bases[node.name] = [ast.unparse(base).rpartition(".")[2] for base in node.bases]
    ours = set(ROOTS)
    while more := {name for name, above in bases.items() if name not in ours and ours & set(above)}:
        ours |= more
    return ours


def _texts_of(call: ast.Call, name: str) -> ast.AST | None:
    """The argument of a call that is told to people."""
    place, keyword = TELLERS.get(name, (0, "message"))
    place = 4 if name == "wrong" and len(call.args) == 5 else place  # of two times, in tables/checks/rules.py
    for each in call.keywords:
        if each.arg == keyword:
            return each.value
    return call.args[place] if len(call.args) > place else None


@cache
def _usual_codes() -> dict[str, str]:
    """The code that a class or a function gives what it tells, where a call has none of its own."""
    codes = dict(OF_HELPERS)
    bases: dict[str, list[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        for node, _ in _file(path).scoped:
            if isinstance(node, ast.ClassDef):
                bases[node.name] = [ast.unparse(base).rpartition(".")[2] for base in node.bases]
                makers = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
                given = [each.value for each in node.keywords if each.arg == "code"]
                if known := [
                    code for each in (*given, *(maker.args for maker in makers)) if CODE.match(code := _code_in(each))
                ]:
                    codes[node.name] = known[0]
    while more := {
        name: codes[base] for name, above in bases.items() for base in above if name not in codes and base in codes
    }:
        codes |= more
    return codes


def _code_at(call: ast.Call, name: str) -> str | None:
    """The code that a call gives what it tells, whatever that is."""
    own = [each.value for each in call.keywords if each.arg == "explain_code"]
    if name == "Failure":
        own += [each.value for each in call.keywords if each.arg == "more"]
    if name == "wrong" and len(call.args) == 5:
        return "E226"
    if name in WITH_A_CODE or (name in _errors() and name not in WITHOUT):
        place = WITH_A_CODE.get(name, 1)
        own += call.args[place : place + 1]
    return next(map(_code_in, own), _usual_codes().get(name))


def _in_file(path: Path) -> Iterator[str]:
    file = _file(path)
    for node in (part for name in TABLES if name in file.constants for part in ast.walk(file.constants[name])):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield Coded(node.value, "…")
    for node, scope in file.scoped:
        if isinstance(node, ast.Call):
            name = _name(node)
            if name in _errors() or name in OF_PYTHON or name in TELLERS:
                texts = _readings(_texts_of(node, name), file, scope)
                code = _code_at(node, name) or ("…" if name in EXCUSED else None)
                yield from (Coded(text, code_of(text) or code) for text in texts)
            elif name == "say" and node.args:
                texts = _readings(node.args[0], file, scope)
                yield from (Coded(text, code_of(text) or "…") for text in texts if text.startswith("warning: "))
        elif node.name in _errors():
            for made in node.body:
                if isinstance(made, ast.FunctionDef) and made.name == "__str__":
                    returned = (each.value for each in ast.walk(made) if isinstance(each, ast.Return))
                    texts = (text for each in returned for text in _readings(each, file, made))
                    yield from (Coded(text, _usual_codes().get(node.name)) for text in texts)


@cache
def _told() -> list[Coded]:
    return [
        text
        for path in sorted(PACKAGE.rglob("*.py"))
        if not (name := path.relative_to(PACKAGE).as_posix()).startswith(NOT_TOLD) or name in TOLD
        for text in map(_plain, _in_file(path))
        if text not in GLUE and _WORD.search(text.replace("warning: ", ""))
    ]


@cache
def told_codes() -> dict[str, set[str | None]]:
    """Every text that is told, with its codes: None where it has none, ``…`` where it has that of another error."""
    found: dict[str, set[str | None]] = {}
    for text in _told():
        found.setdefault(text, set()).add(text.explain_code)
    return found
