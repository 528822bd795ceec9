"""Which places a test tries, of all those at which a process may be struck; the seed is printed by each run."""

import os
from collections.abc import Sequence
from random import Random
from typing import TypeVar

from tests.conftest import CRASH_SEED

Place = TypeVar("Place")

STEP = int(os.environ.get("GOTSURGE_CRASH_STEP", "28"))
"""Every how many boundaries a push dies, where each follow-up has crashes of its own; 1 tries them all."""
PART = 1 if STEP == 1 else 2
"""Every how many places are tried, where the follow-ups take turns; with ``GOTSURGE_CRASH_STEP=1`` all of them."""


def first(name: str, step: int) -> int:
    """The first place to try, less than the step, as the seed chooses."""
    return Random(f"{CRASH_SEED} {name}").randrange(step)


def part(places: Sequence[Place], name: str, step: int = 1) -> Sequence[Place]:
    """Each place whose number is a multiple of the step, counted from the first; of these the part that is tried."""
    step *= PART
    return places[first(name, step) :: step]
