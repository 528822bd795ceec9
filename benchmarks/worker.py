"""A process that does one work, round by round as it is told: ``python -m benchmarks.worker MODULE:CLASS SETTING``.

A process for each work, so that none pays for what another has imported or left to the garbage collector. Each line
of standard input is a round; the answer is a line of JSON. Only what happens between the clocks counts.
"""

import asyncio
import gc
import importlib
import resource
import sys
import time
from typing import Any

import msgspec

from benchmarks import pinning
from benchmarks.work import Setting, Work


def cpu_seconds() -> float:
    """What this process has used so far, user and system, all threads, and the processes that it has ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def load(name: str) -> type[Work]:
    """The class that ``module:class`` names."""
    module, _, cls = name.partition(":")
    found: type[Work] = getattr(importlib.import_module(module), cls)
    return found


async def one_round(work: Work) -> dict[str, Any]:
    """Do a round, and measure it."""
    await work.prepare()
    gc.collect()
    cpu, wall = cpu_seconds(), time.perf_counter()
    done = await work.run()
    cpu, wall = cpu_seconds() - cpu, time.perf_counter() - wall
    return {"done": done, "cpu": cpu, "wall": wall, "latencies": work.latencies, "facts": work.facts}


async def main() -> None:
    """Open, then do rounds until standard input ends."""
    work = load(sys.argv[1])(msgspec.json.decode(sys.argv[2], type=Setting))
    await work.open()
    # The orders lie ready, as dicts, objects or text. A collector that looked through them while a peer works would
    # count what the benchmark holds, not what the peer does: with 20,000 orders a pass or two was a tenth.
    gc.collect()
    gc.freeze()
    print(msgspec.json.encode({"reads": work.reads}).decode(), flush=True)
    try:
        while await asyncio.to_thread(sys.stdin.readline):
            print(msgspec.json.encode(await one_round(work)).decode(), flush=True)
    finally:
        await work.close()


if __name__ == "__main__":
    pinning.pin_client()
    with asyncio.Runner(loop_factory=importlib.import_module(load(sys.argv[1]).loop).new_event_loop) as runner:
        runner.run(main())
