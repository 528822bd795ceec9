"""Mutation testing by hand: draws a number of random mutants of a file, and prints those that no test kills.

    python -m tests.mutants SEED NUMBER FILE TESTS...

It changes the file while it runs, so run it in a clone, with the file's own tests first::

    git clone . /tmp/mutants && cd /tmp/mutants
    make setup && .venv/bin/pip install cosmic-ray
    nice .venv/bin/python -m tests.mutants 12 55 gotsurge_async/ledger/sql/marks.py \\
        tests/ledger/sql/test_marks.py tests/ledger/test_run.py tests/push tests/promise

Mutants are cosmic-ray's, and two more: a statement is left out, and ``in`` becomes ``not in``.
"""

import ast
import difflib
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import parso
from cosmic_ray.ast import Visitor, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

SECONDS = 600
"""What takes longer has never ended, which counts as found."""

FAMILIES = {
    "compare": "Eq_NotEq NotEq_Eq Lt_LtE Lt_GtE LtE_Lt LtE_Gt Gt_GtE Gt_LtE GtE_Gt GtE_Lt Is_IsNot IsNot_Is",
    "binary": "Add_Sub Sub_Add Mul_FloorDiv FloorDiv_Mul Div_Mul Mod_Mul BitOr_BitAnd BitOr_Sub BitAnd_BitOr",
    "unary": "AddNot ReplaceUnaryOperator_Delete_Not ReplaceUnaryOperator_USub_UAdd ReplaceUnaryOperator_Delete_USub",
    "boolean": "ReplaceTrueWithFalse ReplaceFalseWithTrue ReplaceAndWithOr ReplaceOrWithAnd",
    "number": "NumberReplacer",
    "loop": "ReplaceBreakWithContinue ReplaceContinueWithBreak ZeroIterationForLoop",
    "except": "ExceptionReplacer",
}
"""Those of cosmic-ray's that may live: others fail at once, or differ in nothing, as ``is`` and ``==`` do here."""

PREFIXES = {"compare": "ReplaceComparisonOperator_", "binary": "ReplaceBinaryOperator_"}


class RemoveStatement:
    """Leaves out a call, a raise, a continue, or what is put into an attribute, an item or a sum."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        """Where that can be done."""
        if node.type != "simple_stmt":
            return
        first = node.children[0]
        is_put = first.type == "expr_stmt" and (
            first.children[0].type != "name" or getattr(first.children[1], "value", "=") != "="
        )
        if is_put and first.children[1].type == "annassign":
            return
        calls = first.type in ("raise_stmt", "atom_expr", "power", "await")
        if is_put or calls or getattr(first, "value", "") in ("continue", "raise"):
            yield first.start_pos, first.end_pos

    def mutate(self, node: Any, _index: int) -> Any:
        """Do it."""
        nothing = parso.parse("pass").children[0]
        nothing.get_first_leaf().prefix = node.get_first_leaf().prefix
        node.children[0], nothing.parent = nothing, node
        return node


class NotIn:
    """``not in`` for ``in``, and the other way round."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        """Where that can be done."""
        for at in self._places(node):
            yield node.children[at].start_pos, node.children[at].end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Do it."""
        at = self._places(node)[index]
        sign = node.children[at]
        if sign.type == "comp_op":
            node.children[at], sign.children[1].parent = sign.children[1], node
        else:
            sign.value = "not in"
        return node

    @staticmethod
    def _places(node: Any) -> list[int]:
        if node.type != "comparison":
            return []
        signs = range(1, len(node.children), 2)
        return [at for at in signs if node.children[at].get_code().split() in (["in"], ["not", "in"])]


class Finder(Visitor):  # type: ignore[misc]
    """Finds the places at which an operator can be used."""

    def __init__(self, operator: Any) -> None:
        self.found: list[tuple[Any, Any]] = []
        self._operator = operator

    def visit(self, node: Any) -> Any:
        """Look at one node."""
        self.found += self._operator.mutation_positions(node)
        return node


def of_types(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where annotations, decorators, imports and aliases of types stand: a mutant there dies at once, or cannot."""
    spans: list[ast.expr | ast.stmt] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            spans += [node.returns] if node.returns else []
            spans += node.decorator_list
            spans += [each.annotation for each in ast.walk(node.args) if isinstance(each, ast.arg) and each.annotation]
        elif isinstance(node, ast.AnnAssign):
            spans.append(node.annotation)
        elif isinstance(node, ast.ClassDef):
            spans += node.decorator_list + node.bases
        elif isinstance(node, ast.Import | ast.ImportFrom) or (
            isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        ):
            spans.append(node)
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript):
            spans.append(node.value)
    return [((span.lineno, span.col_offset), (span.end_lineno or 0, span.end_col_offset or 0)) for span in spans]


def drawn(path: str, source: str, seed: str, number: int) -> Iterator[str]:
    """Mutants of a file: one at each of some of its places, drawn by a seed."""
    names = {
        f"core/{PREFIXES.get(family, '')}{name}": family for family, some in FAMILIES.items() for name in some.split()
    }
    operators = {name: get_operator(name)() for name in names}
    names |= {"own/NotIn": "compare", "own/RemoveStatement": "remove"}
    operators |= {"own/NotIn": NotIn(), "own/RemoveStatement": RemoveStatement()}
    barred = of_types(source)
    places: dict[tuple[Any, Any, str], list[tuple[str, int]]] = {}
    for name, operator in operators.items():
        finder = Finder(operator)
        finder.walk(get_ast(source))
        for index, (start, end) in enumerate(finder.found):
            if not any(first <= tuple(start) < last for first, last in barred):
                places.setdefault((tuple(start), tuple(end), names[name]), []).append((name, index))
    dice = random.Random(f"{seed} {path}")
    order = sorted(places)
    dice.shuffle(order)
    for place in order:
        name, index = dice.choice(places[place])
        try:
            mutant = mutate_code(source, operators[name], index)
            compile(mutant, path, "exec")
        except (SyntaxError, AttributeError):  # a star of arguments, a dotted exception
            continue
        yield mutant
        number -= 1
        if not number:
            return


def lives(tests: list[str]) -> bool:
    """Whether all tests pass; one folder or file after the other, until one fails."""
    for path in tests:
        command = [sys.executable, "-B", "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", path]
        try:
            ended = subprocess.run(command, check=False, capture_output=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return False
        if ended.returncode:
            return False
    return True


def main(seed: str, number: str, path: str, *tests: str) -> None:
    """Try some mutants of a file."""
    source = Path(path).read_text(encoding="utf-8")
    if not lives(list(tests)):
        sys.exit("the tests fail as it is")
    tried = living = 0
    try:
        for mutant in drawn(path, source, seed, int(number)):
            tried += 1
            Path(path).write_text(mutant, encoding="utf-8")
            if lives(list(tests)):
                living += 1
                print(*difflib.unified_diff(source.splitlines(), mutant.splitlines(), path, n=1, lineterm=""), sep="\n")
    finally:
        Path(path).write_text(source, encoding="utf-8")
    print(f"{path}: {tried - living} of {tried} died")


if __name__ == "__main__":
    main(*sys.argv[1:])
