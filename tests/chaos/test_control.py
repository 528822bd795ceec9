"""The control: workers without the ledger's fences are caught by the judge that finds nothing wrong with ours."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.crew import Service, until
from tests.chaos.judge import Verdict, judged
from tests.chaos.storm import Storm, freeze_until_overtaken, storm, verdict_of, weather
from tests.support.postgres import Server, server

ORDERS = 8000
SLOWLY = ("--concurrency", "6")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    """A server for the module."""
    with server() as running:
        yield running


def pushed(
    folder: Path, postgres: Server, mode: str, seed: int, module: str, after: Callable[[Storm], None]
) -> Verdict:
    """Push by two workers of a module, of which one stands still until the other has overtaken it; judge it."""
    with Service(folder / "service") as service:
        service.order(operation="*", kind="delay", seconds=0.1)
        with storm(
            folder, service, postgres, mode, orders=ORDERS, seed=seed, number=2, words=SLOWLY, module=module
        ) as (push, keys):
            # Without fences a run may not come to its end: what one has broadcast the other writes over.
            ends = ("done",) if module == "gotsurge_async" else ("done", "stopped")
            weather(push, [(0.05 * seed, freeze_until_overtaken)], every=None, seconds=480, ends=ends)
            after(push)
            push.crew.close()
            return verdict_of(push, keys)


@pytest.mark.parametrize(("mode", "seed"), [("direct", 1), ("two-phase", 2)])
def test_without_fences_the_judge_finds_doubles(mode: str, seed: int, tmp_path: Path, postgres: Server) -> None:
    """A worker that was overtaken while it stood still goes on with what it remembers, and drivers are called twice."""

    def doubled(push: Storm) -> None:
        until(lambda: push.service.audit()["doubled"], 30, "the one that woke to do harm")

    verdict = pushed(tmp_path, postgres, mode, seed, "tests.chaos.unfenced", doubled)
    assert verdict.doubled
    assert "doubled" in verdict.faults


@pytest.mark.parametrize("mode", ["direct", "two-phase"])
def test_with_fences_it_finds_nothing(mode: str, tmp_path: Path, postgres: Server) -> None:
    """The same worker, with its fences, sends nothing more of what was taken from it."""
    verdict = pushed(tmp_path, postgres, mode, 1, "gotsurge_async", lambda push: None)
    assert not verdict.faults, verdict.faults
    assert verdict.states["created"] + len(verdict.in_doubt) == ORDERS
    assert mode == "direct" or not verdict.in_doubt


def test_the_judge_tells_each_fault_by_its_name() -> None:
    """Of made-up ledgers and services it says what is doubled, lost, untrue and in doubt."""
    rows = [("A", "created", "1"), ("B", "created", "2"), ("C", "pending", None), ("D", "created", "4")]
    rows += [("E", "in_doubt", None), ("F", "refused", None), ("G", "created", "7")]
    tasks = [("1", "A"), ("9", "A"), ("2", "B"), ("5", "E"), ("6", "F"), ("7", "B2")]
    told = [{"id": name, "tracking_id": key, "draft": name == "8"} for name, key in tasks]
    verdict = judged("ABCDEFGH", rows, told)
    assert verdict.doubled == {"A"}
    assert verdict.lost == {"C", "H"}
    assert verdict.untrue == {"D", "F", "G", "B2"}
    assert verdict.in_doubt == {"E"}
    assert [word for word in ("doubled", "lost", "untrue") if word in verdict.faults] == ["doubled", "lost", "untrue"]
