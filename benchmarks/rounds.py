"""Rounds in turns, and what they come to.

Other things run on a machine, and its speed changes from second to second. So each round runs every work once, one
right after another, a work is compared with the baseline of its own round, and the median over the rounds counts.

A process has its own luck for as long as it lives: how its names hash, where malloc put its blocks. Where that matters,
the rounds are shared among several processes for each work.
"""

import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import attrs

from benchmarks.processes import Server, Worker
from benchmarks.work import Setting


@attrs.frozen
class Entrant:
    """A work in a benchmark.

    Attributes:
        name: for the table.
        work: ``module:class`` of the work, below benchmarks.peers.
        share: the part of the benchmark's units that a slow one does in a round.
    """

    name: str
    work: str
    share: float = 1.0


@attrs.frozen(kw_only=True)
class Outcome:
    """What the rounds of one entrant came to. Times are seconds of CPU or wall for one unit.

    Attributes:
        spread: half the distance of the quartiles, as a part of the median.
        ratio: to the baseline of the same round; the median of the rounds.
        ratio_low, ratio_high: its quartiles.
        rate: units a second by the clock on the wall.
        busy: the most of a core that the server needed in a round; None without a server.
        latency, latency_99: the median and the 99th percentile of a call in seconds, where measured.
        facts: what else the work told of its last round.
    """

    name: str
    reads: str
    units: int
    cpu: float
    spread: float
    ratio: float
    ratio_low: float
    ratio_high: float
    rate: float
    busy: float | None = None
    latency: float | None = None
    latency_99: float | None = None
    facts: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.define
class _Rounds:
    """The raw rounds of one entrant."""

    reads: str
    units: int
    cpu: list[float] = attrs.field(factory=list)
    wall: list[float] = attrs.field(factory=list)
    busy: list[float] = attrs.field(factory=list)
    latencies: list[float] = attrs.field(factory=list)
    facts: dict[str, Any] = attrs.field(factory=dict)


def compete(
    entrants: Sequence[Entrant],
    *,
    units: int,
    rounds: int,
    server: Server | None,
    concurrency: int = 16,
    latency: float = 0.0,
    multiple: int = 1,
    warm: int = 1,
    processes: int = 1,
) -> list[Outcome]:
    """Run ``rounds`` rounds of all entrants, of which the first is the baseline.

    Args:
        units: orders, calls or tasks in a round; a multiple of ``multiple``.
        warm: rounds before those that count, in each process.
        processes: for each work, one after another; each does its part of the rounds.
    """
    origin = server.origin if server else ""
    counts = {each.name: max(multiple, round(units * each.share) // multiple * multiple) for each in entrants}
    found: dict[str, _Rounds] = {}
    for process in range(min(processes, rounds)):
        with ExitStack() as stack:
            workers: list[tuple[Worker, int, _Rounds]] = []
            for each in entrants:
                setting = Setting(origin=origin, count=counts[each.name], concurrency=concurrency)
                worker = stack.enter_context(Worker(f"benchmarks.peers.{each.work}", setting))
                its = found.setdefault(each.name, _Rounds(worker.reads, setting.count))
                workers.append((worker, setting.count, its))
            for number in range(-warm, len(range(process, rounds, processes))):
                for worker, count, its in workers:
                    _one(worker, count, server, latency, its if number >= 0 else None)
    base = found[entrants[0].name]
    return [_outcome(name, its, base) for name, its in found.items()]


def _one(worker: Worker, count: int, server: Server | None, latency: float, into: _Rounds | None) -> None:
    if server is not None:
        server.reset(latency)
    told = worker.round()
    busy = None
    if server is not None:
        counts = server.counts()
        if counts["refused"] or counts["orders"] not in (0, count) or counts["distinct"] != counts["orders"]:
            raise SystemExit(f"the server got something else than was to be sent: {counts}, expected {count} orders")
        busy = counts["cpu"] / told["wall"]
    if told["done"] != count:
        raise SystemExit(f"a work did {told['done']} units instead of {count}")
    if into is not None:
        into.cpu.append(told["cpu"] / count)
        into.wall.append(told["wall"] / count)
        into.latencies += told["latencies"]
        into.facts = told["facts"]
        if busy is not None:
            into.busy.append(busy)


def _outcome(name: str, its: _Rounds, base: _Rounds) -> Outcome:
    cpu = statistics.median(its.cpu)
    low, high = quartiles(its.cpu)
    ratios = [mine / other for mine, other in zip(its.cpu, base.cpu, strict=True)]
    ratio_low, ratio_high = quartiles(ratios)
    latencies = sorted(its.latencies)
    return Outcome(
        name=name,
        reads=its.reads,
        units=its.units,
        cpu=cpu,
        spread=(high - low) / 2 / cpu if cpu else 0.0,
        ratio=statistics.median(ratios),
        ratio_low=ratio_low,
        ratio_high=ratio_high,
        rate=1 / statistics.median(its.wall),
        busy=max(its.busy) if its.busy else None,
        latency=statistics.median(latencies) if latencies else None,
        latency_99=latencies[int(len(latencies) * 0.99)] if latencies else None,
        facts=its.facts,
    )


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """The first and the third quartile."""
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high
