"""What a test of the promise did and found: it is summed up at the end of the test run, over all its processes."""

from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from tests.promise.station import Experiment

TALLY = "tally of the promise"
"""The name of the property of a test's report."""

SHOWN = 3


@attrs.define
class Tally:
    """Counts crashes, what came after them, and the faults that the judge found."""

    counts: Counter[str] = attrs.field(factory=Counter)
    failures: list[str] = attrs.field(factory=list)

    def take(self, experiment: "Experiment", what: str, **counts: int) -> None:
        """Count an experiment that has come to its end."""
        faults = experiment.faults
        self.counts["experiments"] += 1
        self.counts["doubles"] += len(faults.doubles)
        self.counts["losses"] += len(faults.losses)
        self.counts["dishonest words"] += len(faults.dishonest)
        self.counts.update(counts)
        if faults:
            self.failures.append("\n".join([f"--- {what}: {faults}", *experiment.log]))

    @property
    def verdict(self) -> str:
        """Nothing if no fault was found, else the first faults, with all that led to them."""
        if not self.failures:
            return ""
        first = [failure.split("\n", 1)[0] for failure in self.failures]
        return "\n".join([f"{len(self.failures)} experiments with faults", *first, *self.failures[:SHOWN]])


def told(properties: list[list[tuple[str, Any]]]) -> str:
    """One line on all tallies of a test run; nothing if there are none."""
    counts: Counter[str] = Counter()
    for each in properties:
        for name, value in each:
            if name == TALLY:
                counts.update(value)
    return ", ".join(f"{number:,} {name}" for name, number in counts.items())
