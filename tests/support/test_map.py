"""The map of the helpers, in the docstring of `tests.support`."""

import re
from pathlib import Path

from tests import support


def test_every_helper_is_on_the_map_and_nothing_else() -> None:
    """Each file of the folder has a line that says what it is for."""
    files = {path.stem for path in Path(__file__).parent.glob("*.py")} - {"__init__", "test_map"}
    assert set(re.findall(r"^- `(\w+)`: ", support.__doc__ or "", re.MULTILINE)) == files


def test_what_stands_elsewhere_is_where_the_map_says() -> None:
    """The folders that are named have helpers of their own."""
    rest = (support.__doc__ or "").partition("What only one folder")[2]
    folders = re.findall(r"tests/[\w/]+\w", rest)
    assert len(folders) >= 8
    for folder in folders:
        assert [path for path in (Path(__file__).parents[2] / folder).glob("*.py") if not path.name.startswith("test_")]
