"""The constraints of the lowest versions."""

import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
lowest: dict[str, Any] = runpy.run_path(str(ROOT / "scripts" / "lowest.py"))

PROJECT = {
    "name": "thing",
    "dependencies": ["wire>=1.2", "zones>=2024.1; sys_platform == 'win32'"],
    "classifiers": ["Programming Language :: Python :: 3.9", "Programming Language :: Python :: 3.12"],
    "optional-dependencies": {
        "database": ["driver[binary]>=3.2.1,<4"],
        "many": ["thing[database]", "queue >= 5"],
        "loose": ["whatever"],
        "test": ["thing[many,database]", "pytest>=8"],
    },
}


def test_an_extra_brings_what_the_extras_in_it_need() -> None:
    """Markers, upper ends and extras of others are not part of a version."""
    assert lowest["lowest"](PROJECT, ["many"]) == {"wire": "1.2", "zones": "2024.1", "queue": "5", "driver": "3.2.1"}


def test_without_names_it_is_what_users_install() -> None:
    """Not what tests and documents need."""
    assert lowest["users_extras"](PROJECT) == ["many", "database"]
    assert "pytest" not in lowest["lowest"](PROJECT)


@pytest.mark.parametrize(("extra", "said"), [("loose", "names no lowest version"), ("los", "has no extra los")])
def test_what_cannot_be_tried_is_refused(extra: str, said: str) -> None:
    """A requirement without a floor, or an extra that there is not."""
    with pytest.raises(ValueError, match=said):
        lowest["lowest"](PROJECT, [extra])


def test_the_newest_python_is_the_one_that_is_named() -> None:
    """As a number: 12 is more than 9."""
    assert lowest["newest_python"](PROJECT) == 12


def test_every_dependency_of_ours_has_a_lowest_version() -> None:
    """All that users can install."""
    assert {"aiohttp", "click", "psycopg", "procrastinate"} <= lowest["lowest"](lowest["read"]()).keys()
