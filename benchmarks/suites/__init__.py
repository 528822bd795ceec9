"""The benchmarks, by name."""

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from benchmarks.processes import Server


@attrs.frozen(kw_only=True)
class Size:
    """How much is done: 1.0 is the whole, the tests' smoke takes much less.

    Attributes:
        scale: of the units in a round.
        rounds: how many rounds; each benchmark's own number unless given.
        million: whether memory is measured at a million orders too.
    """

    scale: float = 1.0
    rounds: int | None = None
    million: bool = False

    def units(self, whole: int, multiple: int = 1) -> int:
        """So many units, scaled, and a multiple of ``multiple``."""
        return max(multiple, round(whole * self.scale) // multiple * multiple)

    def times(self, usual: int) -> int:
        """So many rounds, unless the user said otherwise."""
        return self.rounds or usual


Suite = Callable[[Server, Size], Mapping[str, Any]]
"""Runs a benchmark; gives what its table and its plot are made of, as JSON: see `benchmarks.tables`."""
