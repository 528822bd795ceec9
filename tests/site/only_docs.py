"""Sphinx where only the extra ``docs`` is installed: what other distributions bring cannot be imported.

`python -m tests.site.only_docs` takes the arguments of `python -m sphinx`.
"""

import runpy
import sys
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def brought_by(name: str, extra: str) -> set[str]:
    """The distributions that pip installs for an extra of a distribution, itself included."""
    waiting, seen = [(name, extra)], set[tuple[str, str]]()
    while waiting:
        name, extra = pair = waiting.pop()
        if pair in seen:
            continue
        seen.add(pair)
        try:
            needed = [Requirement(text) for text in distribution(name).requires or ()]
        except PackageNotFoundError:  # another Python's, or another system's
            continue
        for each in needed:
            if each.marker is None or each.marker.evaluate({"extra": extra}):
                waiting += [(canonicalize_name(each.name), own) for own in ("", *each.extras)]
    return {name for name, _ in seen}


def hide_others(name: str, extra: str) -> None:
    """Make every module of other distributions impossible to import."""
    brought = brought_by(name, extra)
    for module, owners in packages_distributions().items():
        if brought.isdisjoint(map(canonicalize_name, owners)):
            sys.modules.setdefault(module, None)  # type: ignore[arg-type]


if __name__ == "__main__":
    hide_others("gotsurge-async", "docs")
    runpy.run_module("sphinx", run_name="__main__", alter_sys=True)
