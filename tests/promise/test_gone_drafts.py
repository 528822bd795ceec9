"""Drafts that were cancelled at the service, or that vanished there, before their broadcast or after it."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gotsurge_async.bulk import Mode
from gotsurge_async.simulator import Simulator
from tests.promise.at_hand import AtHand, Worded, at_hand
from tests.promise.follow_ups import FOLLOW_UPS
from tests.promise.station import Experiment
from tests.promise.tally import Tally

Meddle = Callable[[Simulator, str], None]


def cancel(simulator: Simulator, task_id: str) -> None:
    """Cancel a task at the service."""
    simulator.move(task_id, "cancelled")


def vanish(simulator: Simulator, task_id: str) -> None:
    """Have a task vanish."""
    simulator.remove(task_id)


class MeddlersTime:
    """A simulator's clock at whose reading, once, somebody meddles: between a call's arrival and its effect."""

    def __init__(self) -> None:
        self.meddle: Callable[[], bool] | None = None

    def now(self) -> datetime:
        """The present."""
        meddle, self.meddle = self.meddle, None
        if meddle is not None and not meddle():
            self.meddle = meddle
        return datetime.now(UTC)


def experiment_of(place: AtHand, folder: Path) -> Experiment:
    """Four orders, in two chunks."""
    return Worded(place, folder / "G", Mode.TWO_PHASE, "G-", count=4, may_doubt=True)


def finish(experiment: Experiment) -> None:
    """Push the same file twice: the first push may find the order cancelled, whose key is free for the second one.

    What is not live then must be in doubt, and told.
    """
    experiment.push()
    experiment.end()


@pytest.mark.slow
@pytest.mark.parametrize("meddle", [cancel, vanish])
@pytest.mark.parametrize("when", ["before the broadcast", "the broadcast is lost", "after the broadcast"])
def test_a_draft_is_gone_when_the_push_goes_on(folder: Path, tally: Tally, when: str, meddle: Meddle) -> None:
    """A recorded draft that was cancelled or is gone is never said to be created, whatever is done next."""
    for follow_up in FOLLOW_UPS:
        with at_hand() as place:
            experiment = experiment_of(place, folder / follow_up)
            if when != "before the broadcast":  # nobody knows whether it left, and nobody may ask
                acted = "after" if when == "after the broadcast" else "before"
                place.order(operation="platform.drafts.broadcast", when=acted, kind="reset", times=1)
            place.order(kind="status", status=401, after_calls=2 if when == "before the broadcast" else 3)
            experiment.push()
            place.be_well()
            first, *_ = (task.id for task in experiment.tasks())
            meddle(place.simulator, first)
            FOLLOW_UPS[follow_up](experiment)
            finish(experiment)
            tally.take(experiment, f"{when}: {meddle.__name__}, {follow_up}", **{"drafts gone": 1})
    assert not tally.verdict, tally.verdict


@pytest.mark.parametrize("meddle", [cancel, vanish])
def test_a_draft_goes_between_its_creation_and_its_broadcast(folder: Path, tally: Tally, meddle: Meddle) -> None:
    """A draft that is cancelled or vanishes while its broadcast is on its way is not said to be created."""
    time = MeddlersTime()
    with at_hand(clock=time) as place:

        def once_it_is_drafted() -> bool:
            if not place.simulator.audit()["calls"].get("platform.drafts.broadcast"):
                return False
            draft, *_ = place.simulator.tasks("G-")
            meddle(place.simulator, draft["id"])
            return True

        time.meddle = once_it_is_drafted
        experiment = experiment_of(place, folder)
        experiment.push()
        assert time.meddle is None, "nobody meddled"
        finish(experiment)
        tally.take(experiment, f"in between: {meddle.__name__}", **{"drafts gone": 1})
    assert not tally.verdict, tally.verdict
