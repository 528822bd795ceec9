"""What a person does after a push that ended without a word."""

from collections.abc import Callable, Mapping
from typing import Any

from tests.promise.station import Experiment


def resume(experiment: Experiment, **traps: Any) -> None:
    """Go on with it."""
    experiment.resume(**traps)


def push_again(experiment: Experiment, **traps: Any) -> None:
    """Push the same file again."""
    experiment.push(**traps)


def push_unprocessed(experiment: Experiment, **traps: Any) -> None:
    """Have the result files written, and push the one of what was not sent."""
    for run in experiment.runs()[:1]:
        found = experiment.unprocessed(run)
        if found is not None:
            file, rows = found
            experiment.push(file=file, rows=rows, **traps)


def retry(experiment: Experiment, **traps: Any) -> None:
    """Try again what was refused."""
    for run in experiment.runs()[:1]:
        experiment.retry(run, **traps)


def push_by_another_name(experiment: Experiment, **traps: Any) -> None:
    """Push the same file again, with a symbolic link to the ledger."""
    experiment.push(ledger=experiment.other_name(), **traps)


def undo(experiment: Experiment) -> None:
    """Take back what was created, and have the result files written."""
    for run in experiment.runs()[:1]:
        experiment.undo(run)
        experiment.results(run)


FOLLOW_UPS: Mapping[str, Callable[[Experiment], None]] = {
    "resume": resume,
    "push again": push_again,
    "push the unprocessed": push_unprocessed,
    "retry": retry,
    "push by another name": push_by_another_name,
}
"""Those that come after every crash point."""
