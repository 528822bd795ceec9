"""Print pip's constraints for the lowest versions that pyproject.toml allows: ``python scripts/lowest.py cli parquet``.

Without names it takes all extras of users: those that the extra ``test`` asks of this package. ``--extras`` prints
their names, ``--newest-python`` the newest Python that the classifiers name. Nothing is listed here.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(\[(?P<extras>[^]]*)\])?")
_FLOOR = re.compile(r">=\s*([0-9][0-9A-Za-z.]*)")


def lowest(project: dict[str, Any], extras: Iterable[str] = ()) -> dict[str, str]:
    """The lowest version of each dependency, by its name.

    Raises:
        ValueError: an extra that does not exist, or a requirement without a lowest version.
    """
    found: dict[str, str] = {}
    for name, text in _requirements(project, extras or users_extras(project)):
        floor = _FLOOR.search(text.partition(";")[0])
        if floor is None:
            raise ValueError(f"pyproject.toml: {text!r} names no lowest version: write {name}>=…")
        found[name] = floor[1]
    return found


def users_extras(project: dict[str, Any]) -> list[str]:
    """The extras that users install: the tests need all of them, and nobody else's."""
    own = next(each for each in project["optional-dependencies"]["test"] if _names(each)[0] == project["name"])
    return _names(own)[1]


def _requirements(project: dict[str, Any], extras: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Names and whole texts of what the package and some of its extras need, also through each other."""
    known, wanted, seen = project["optional-dependencies"], list(extras), set[str]()
    requirements = list(project["dependencies"])
    while wanted:
        extra = wanted.pop()
        if extra not in known:
            raise ValueError(f"pyproject.toml has no extra {extra}: it has {', '.join(known)}")
        if extra not in seen:
            seen.add(extra)
            requirements += known[extra]
            wanted += [each for text in known[extra] if _names(text)[0] == project["name"] for each in _names(text)[1]]
    for text in requirements:
        if _names(text)[0] != project["name"]:
            yield _names(text)[0], text


def _names(requirement: str) -> tuple[str, list[str]]:
    found = _REQUIREMENT.match(requirement)
    if found is None:
        raise ValueError(f"pyproject.toml: {requirement!r} is no requirement")
    return found["name"], [each.strip() for each in (found["extras"] or "").split(",") if each.strip()]


def newest_python(project: dict[str, Any]) -> int:
    """The second part of the newest version of Python that the package says it runs on."""
    return max(int(each.rpartition(".")[2]) for each in project["classifiers"] if " :: 3." in each)


def read() -> dict[str, Any]:
    """The project's own table."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--extras"]:
            print(",".join(users_extras(read())))
        case ["--newest-python"]:
            print(newest_python(read()))
        case names:
            for name, version in lowest(read(), names).items():
                print(f"{name}=={version}")
