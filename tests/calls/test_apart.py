"""Orders that no name distinguishes."""

from collections.abc import Sequence

import pytest

from gotsurge_async.calls.apart import apart, are_alike
from gotsurge_async.calls.create import Identity


@pytest.mark.parametrize(
    ("wanted", "groups"),
    [
        ([("A", "1"), ("B", "1"), ("A", "2")], [[0, 1, 2]]),
        ([("A", "1"), ("A", "1"), ("B", None), ("A", None)], [[0, 2], [1], [3]]),
        ([(None, "1"), ("B", "1"), (None, None), (None, None)], [[0, 2, 3], [1]]),
        ([], [[]]),
    ],
)
def test_orders_that_no_name_distinguishes_are_kept_apart(
    wanted: Sequence[Identity], groups: Sequence[Sequence[int]]
) -> None:
    """Orders are in one group if their names differ, or if they have none."""
    assert apart(wanted, are_alike) == groups
