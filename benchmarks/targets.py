"""What we promise ourselves, beside what was measured."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.suites.calls import BY_HAND, OURS

Results = Mapping[str, Mapping[str, Any]]


class Verdict(NamedTuple):
    """A target and what was measured. ``measured`` is None when its benchmark did not run."""

    what: str
    target: str
    measured: str | None
    met: bool | None


class _Target(NamedTuple):
    what: str
    limit: float
    at_most: bool
    measure: Callable[[Results], float]
    unit: str = "×"


def _ratio(benchmark: str, name: str) -> Callable[[Results], float]:
    return lambda results: float(_outcome(results, benchmark, name)["ratio"])


def _times_less(name: str) -> Callable[[Results], float]:
    """How many times the CPU of our push a peer's takes."""
    return lambda results: _outcome(results, "push", name)["cpu"] / _outcome(results, "push", OURS)["cpu"]


def _outcome(results: Results, benchmark: str, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(each for each in results[benchmark]["outcomes"] if each["name"] == name)
    return found


def _growth(name: str) -> Callable[[Results], float]:
    """The most memory of the largest push over that of the next smaller one."""

    def growth(results: Results) -> float:
        runs = [run for run in results["memory"]["runs"] if run["name"] == name]
        return float(runs[-1]["peak_mb"] / runs[-2]["peak_mb"])

    return growth


def _file_growth(name: str) -> Callable[[Results], float]:
    """The same of reading a file."""

    def growth(results: Results) -> float:
        runs = [run for run in results["file-memory"]["runs"] if run["name"] == name]
        return float(runs[-1]["peak_mb"] / runs[-2]["peak_mb"])

    return growth


def _soaked(results: Results) -> float:
    """Memory at the end of the soak over that at a tenth of the way."""
    runs = results["soak"]["runs"]
    return float(runs[-1]["now_mb"] / runs[1]["now_mb"])


def _heartbeats(results: Results) -> float:
    return min(100 * float(run["within_50_ms"]) for run in results["heartbeat"]["runs"])


def _event_rate(results: Results) -> float:
    return float(next(run for run in results["webhooks"]["runs"] if run["name"] == OURS)["share"])


def _event_memory(results: Results) -> float:
    run = results["webhooks"]["runs"][-1]
    return float(run["peak_mb"] / run["start_mb"])


_LEDGER = "gotsurge_async, durable ledger"

_TARGETS: Sequence[_Target] = (
    _Target("push, no ledger, receipts with each task's bytes, over (b)", 1.2, True, _ratio("push", OURS)),
    _Target("push, durable ledger (SQLite, FULL), over (b)", 2.0, True, _ratio("ledger", _LEDGER)),
    _Target("whole `gotsurge push` of a CSV of 30 columns, over (b)", 3.3, True, _ratio("command", "gotsurge push")),
    _Target("create, 20 tasks, whole objects, unknown fields kept, over (b)", 1.5, True, _ratio("create", OURS)),
    _Target("one small GET, over the same in raw aiohttp", 1.25, True, _ratio("get", OURS)),
    _Target("push: httpx + pydantic, whole tasks, over ours", 5, False, _times_less("httpx + pydantic, whole tasks")),
    _Target("push: the openai client over ours", 15, False, _times_less("openai client, generic post")),
    _Target("push: one task a call (requests) over ours", 40, False, _times_less("requests, 1 task a call")),
    _Target("a checked row of CSV over csv.reader's", 3.0, True, _ratio("files", "gotsurge_async, CSV")),
    _Target("memory: a CSV of ten times the rows", 1.10, True, _file_growth("gotsurge_async, CSV")),
    _Target("import gotsurge_async over import httpx", 1.25, True, _ratio("import", "import gotsurge_async")),
    _Target("memory: the largest push over the next smaller, no ledger", 1.10, True, _growth(OURS)),
    _Target("memory: the largest push over the next smaller, ledger", 1.10, True, _growth(_LEDGER)),
    _Target("webhook events/s with the durable inbox, over a bare handler's", 0.5, False, _event_rate),
    _Target("memory of a receiver at its end over a quarter of the way", 1.10, True, _event_memory),
    _Target("memory of a client at the end of its calls over a tenth of the way", 1.10, True, _soaked),
    _Target("heartbeats within 50 ms in a push of 100 k", 99.9, False, _heartbeats, " %"),
)


def verdicts(results: Results) -> list[Verdict]:
    """Every target, with what was measured of it."""
    found = []
    for target in _TARGETS:
        bound = f"{'at most' if target.at_most else 'at least'} {target.limit:g}{target.unit}"
        try:
            value = target.measure(results)
        except (KeyError, StopIteration, IndexError):
            found.append(Verdict(target.what, bound, None, None))
            continue
        met = value <= target.limit if target.at_most else value >= target.limit
        found.append(Verdict(target.what, bound, f"{value:.2f}{target.unit}", met))
    return found


__all__ = ["BY_HAND", "Verdict", "verdicts"]
