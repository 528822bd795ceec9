"""What the reference tells of each public name: the section of GotSurge's document, units, errors."""

import ast
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from sphinx.pycode import ModuleAnalyzer

from gotsurge_async.api.endpoints import ENDPOINTS
from gotsurge_async.errors import GotSurgeError
from gotsurge_async.models.tasks import TaskChanges
from gotsurge_async.resources.listing import Listing
from tests.support.public import Call, public_calls, public_classes
from tests.support.public import hints_of as resolved_hints

CALLS = list(public_calls())
CLASSES = list(public_classes())
OPERATIONS = [
    call
    for call in CALLS
    if call.owner is not None
    and call.owner is not Listing
    and "." in call.name
    and ".resources." in call.code.__module__
]
"""The methods of the resources; a `Listing` is the answer of several of them."""
OTHER_SECTIONS = {"Order Statuses", "Platform Partners"}
"""Sections of the document that describe no operation of their own."""

DIMENSIONLESS = {"status", "port", "number", "call", "imo", "vessel_imo", "version_seq", "seed", "event_id", "line"}
"""Names of numbers that measure and count nothing: what HTTP, the service and databases tell things apart by."""
UNIT = re.compile(
    r"\b((micro)?seconds?|minutes|hours|metres|meters|degrees|cents?|millicents|bytes|percent|share|units?|rows?|pages?|digits"
    r"|times|tries|how many|numbers?|counts?|counted|orders|calls|chunks|events?|changes|attempts|items|tasks"
    r"|refusals|doubts|faults|stops|pieces|deliver(y|ies)|vessels|runs|accounts|files|sequence)\b",
    re.IGNORECASE,
)
"""What a number is of. Weights, volumes and lengths of cargo have fields beside them that say it: "units"."""


# --- the section of the document -------------------------------------------------------------------------------------


def sections_of(doc: str) -> set[str]:
    """The sections that a docstring names."""
    found = re.findall(r'\(?section ("[^"]+"(?:, "[^"]+")*)', " ".join(doc.split()))
    return {name for each in found for name in re.findall(r'"([^"]+)"', each)}


def test_every_operation_names_its_section() -> None:
    """Each method of a resource says which section of GotSurge's document it stands for, and there is such a one."""
    known = {part for each in ENDPOINTS.values() for part in each.section.split(": ")} | OTHER_SECTIONS
    assert len(OPERATIONS) > 25
    for call in OPERATIONS:
        named = sections_of(call.doc)
        assert named, f"{call.name} names no section"
        assert named <= known, f"{call.name}: {named - known}"


def test_every_operation_of_the_document_is_told() -> None:
    """Each section with an operation is named by something public."""
    told = {section for call in CALLS for section in sections_of(call.doc)}
    assert {each.section.rpartition(": ")[2] for each in ENDPOINTS.values()} <= told


# --- units -----------------------------------------------------------------------------------------------------------


def is_number(hint: Any) -> bool:
    """Whether a type is a number, or a number or something else."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return hint in (int, float) or (union and any(map(is_number, typing.get_args(hint))))


def hints_of(thing: Any) -> dict[str, Any]:
    """The types of a class's fields, or of a function's arguments."""
    try:
        return resolved_hints(thing)
    except NameError:  # a type that only checkers import is no number
        return {
            name: {"int": int, "float": float}.get(str(hint).partition(" |")[0])
            for name, hint in inspect.get_annotations(thing).items()
        }


def about(name: str, doc: str) -> str:
    """What a docstring says of a name: its entry under Args or Attributes, else the sentences that name it."""
    lines = doc.splitlines()
    for number, line in enumerate(lines):
        entry = re.match(rf"( +)(?:\w+, )*{name}(?:, \w+)*: (.*)", line)
        if entry is not None:
            more = lines[number + 1 :]
            length = next(
                (at for at, each in enumerate(more) if len(each) - len(each.lstrip()) <= len(entry[1])), len(more)
            )
            return " ".join([entry[2], *map(str.strip, more[:length])])
    sentences = re.split(r"(?<=[.:;])\s+", " ".join(doc.partition("Args:")[0].split()))
    word = re.compile(rf"\b{name.replace('_', '[ _]')}\b", re.IGNORECASE)
    return " ".join(each for each in sentences if word.search(each))


def fields_without_a_unit() -> Iterator[str]:
    """Of public classes."""
    for cls in set(CLASSES) - {TaskChanges}:  # it has the fields, and says so, of an order
        below = ModuleAnalyzer.for_module(cls.__module__).find_attr_docs()
        mine = vars(cls).get("__annotations__", {})
        for name, hint in hints_of(cls).items():
            if name in mine and is_number(hint) and not name.startswith("_"):
                told = " ".join(below.get((cls.__qualname__, name), [])) + about(name, inspect.getdoc(cls) or "")
                if not says_unit(name, told):
                    yield f"{cls.__name__}.{name}: {told}"


def arguments_without_a_unit() -> Iterator[str]:
    """Of public functions and methods, and what they return."""
    for call in CALLS:
        if call.code.__name__ == "__init__" and attrs.has(call.owner or object):
            continue  # its arguments are the fields
        for name, hint in hints_of(call.code).items():
            told = call.doc if name == "return" else about(name, call.doc)
            if is_number(hint) and not says_unit(name, told):
                yield f"{call.name}({name}): {told}"


def says_unit(name: str, told: str) -> bool:
    """Whether it is said what a number is of."""
    words = name.replace("_", " ")
    return name in DIMENSIONLESS or UNIT.search(words) is not None or UNIT.search(told) is not None


def test_every_number_says_its_unit() -> None:
    """Seconds, metres, degrees, cents, bytes, how many of what: in the docstring, or in the name itself."""
    assert not [*fields_without_a_unit(), *arguments_without_a_unit()]


@pytest.mark.parametrize(
    ("name", "doc", "told"),
    [
        (
            "timeout",
            "Read.\n\nArgs:\n    timeout: seconds,\n        all of them.\n    other: x",
            "seconds, all of them.",
        ),
        ("altitude", "A place. Latitude in degrees, altitude in metres.", "Latitude in degrees, altitude in metres."),
        ("b", "Do.\n\nArgs:\n    a, b: bytes", "bytes"),
        ("missing", "Do it.", ""),
    ],
)
def test_what_is_told_of_a_name_is_found(name: str, doc: str, told: str) -> None:
    """The search that the tests above rely on."""
    assert about(name, doc) == told


# --- errors ----------------------------------------------------------------------------------------------------------


def errors() -> dict[str, type[GotSurgeError]]:
    """Every class of errors by its name."""
    found: dict[str, type[GotSurgeError]] = {}
    left: list[type[GotSurgeError]] = [GotSurgeError]
    while left:
        cls = left.pop()
        found[cls.__name__] = cls
        left += cls.__subclasses__()
    return found


ERRORS = errors()


def raised_in(call: Call) -> set[str]:
    """The errors of ours that stand in a ``raise`` of a function."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(call.code)))
    given = (node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc is not None)
    names = (ast.unparse(each.func if isinstance(each, ast.Call) else each).rpartition(".")[2] for each in given)
    return {name for name in names if name in ERRORS}


def test_what_raises_our_errors_says_so() -> None:
    """A function with a ``raise`` of an error of ours names it, or a class above it, under Raises."""
    silent = [
        f"{call.name}: {name}"
        for call in CALLS
        if has_source(call)
        for name in raised_in(call)
        if not any(re.search(rf"\b{each.__name__}\b", call.doc.partition("Raises")[2]) for each in ERRORS[name].__mro__)
    ]
    assert not silent


def has_source(call: Call) -> bool:
    """Whether it was written, and not made by attrs."""
    return not (call.code.__name__ == "__init__" and attrs.has(call.owner or object))
