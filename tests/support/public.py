"""What is public: the modules that say so, and the classes, functions and methods in them."""

import importlib
import inspect
import re
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import gotsurge_async
from gotsurge_async import bulk
from gotsurge_async.database import Place

PACKAGE = Path(gotsurge_async.__file__).parent
OWN_FRONTS = {"gotsurge_async.codec", "gotsurge_async.tables"}
"""Folders whose front serves the package itself: what users need of them is named further up."""


def public_modules() -> Iterator[str]:
    """Every module that says what is public in it."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if re.search(r"^__all__ = ", path.read_text(encoding="utf-8"), re.MULTILINE):
            parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = [module for module in public_modules() if module not in OWN_FRONTS]


class Call(NamedTuple):
    """A public function, method or class as one calls it.

    Attributes:
        name: ``GotSurge.push``; of a class, what makes one: ``GotSurge``.
        owner: the class of a method.
        code: what runs.
        doc: its docstring; of a class, that of the class.
    """

    name: str
    owner: type | None
    code: Callable[..., Any]
    doc: str


def public_classes() -> Iterator[type]:
    """Every public class of the package, once."""
    yield from (thing for thing in _public() if inspect.isclass(thing))


def public_calls() -> Iterator[Call]:
    """Everything public that can be called, once: functions, and what classes of the package define themselves."""
    for thing in _public():
        if inspect.isclass(thing):
            for name, value in _members(thing).items():
                code = getattr(value, "__func__", value)
                if name == "__init__" and inspect.isfunction(code):
                    yield Call(thing.__name__, thing, code, inspect.getdoc(thing) or "")
                elif not name.startswith("_") and inspect.isfunction(code):
                    yield Call(f"{thing.__name__}.{name}", thing, code, inspect.getdoc(code) or "")
        elif inspect.isroutine(thing):
            yield Call(thing.__name__, None, inspect.unwrap(thing), inspect.getdoc(thing) or "")


def _members(cls: type) -> dict[str, Any]:
    """What a public class defines, and what it has from classes of the package that are not public."""
    own = set(vars(cls))
    public = set(_public())
    inner = [base for base in cls.__mro__[1:] if base.__module__.startswith("gotsurge_async") and base not in public]
    members: dict[str, Any] = {}
    for base in reversed(inner):
        members |= {name: value for name, value in vars(base).items() if name != "__init__" and name not in own}
    return members | vars(cls)


def _public() -> Iterator[Any]:
    seen = set[int]()
    for module in MODULES:
        there = importlib.import_module(module)
        for thing in (getattr(there, name) for name in there.__all__):
            if id(thing) not in seen and str(getattr(thing, "__module__", "")).startswith("gotsurge_async"):
                seen.add(id(thing))
                yield thing


def hints_of(thing: Any) -> dict[str, Any]:
    """The types of a function's arguments and result, or of a class's fields; also those that only checkers import."""
    names = {name: getattr(bulk, name) for name in bulk.__all__}  # some are imported when they are asked for
    return typing.get_type_hints(thing, localns={**names, "GotSurge": gotsurge_async.GotSurge, "Place": Place})
