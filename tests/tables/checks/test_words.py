"""Numbers with their nouns, everywhere."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import gotsurge_async
from gotsurge_async.tables.checks.words import number_of, verb

PACKAGE = Path(gotsurge_async.__file__).parent
COUNTED = "account|call|cell|chunk|column|draft|fault|file|kind|order|route|row|run|task|value|vessel|warning|worker"
PLURAL = re.compile(rf" (?:(?:more|unused|living|recorded|refused|of its) )?(?:{COUNTED})s\b(?!/)")
SEVERAL = re.compile(
    r"living tasks with the same name|\{len\(self.workers\)\} workers|cells are read|one call takes 1 to"
    r"|give 1 to|a chunk must have 1 to"
)
"""Texts whose number is never 1."""


@pytest.mark.parametrize(("number", "said"), [(0, "0 orders"), (1, "1 order"), (2, "2 orders"), (1200, "1,200 orders")])
def test_one_is_one(number: int, said: str) -> None:
    """A noun has an s unless there is one; thousands are set apart."""
    assert number_of(number, "order") == said


def test_what_has_no_s_is_given() -> None:
    """A noun with its verb, or one of its own form."""
    assert [number_of(n, "order is", "orders are") for n in (1, 2)] == ["1 order is", "2 orders are"]
    assert [verb(n, "is", "are") for n in (1, 0)] == ["is", "are"]


def by_hand(source: str) -> Iterator[str]:
    """The texts of a program in which a number is followed by a noun that is always in the plural."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.JoinedStr):
            continue
        for number, text in zip(node.values, node.values[1:], strict=False):
            counted = isinstance(number, ast.FormattedValue) and isinstance(text, ast.Constant)
            if (
                counted
                and PLURAL.match(str(ast.literal_eval(text)))
                and not SEVERAL.search(messages := ast.unparse(node))
            ):
                yield messages


@pytest.mark.parametrize("folder", ["bulk", "cli", "fleet", "webhooks"])
def test_no_text_has_a_plural_by_hand(folder: str) -> None:
    """A number with its noun comes from `number_of`, since it may be 1."""
    result = {
        f"{path.relative_to(PACKAGE)}: {text}"
        for path in (PACKAGE / folder).rglob("*.py")
        for text in by_hand(path.read_text(encoding="utf-8"))
    }
    assert not result
