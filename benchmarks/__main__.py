"""``python -m benchmarks [NAME…]``: run benchmarks, print their tables, write JSON, draw plots."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine, tables
from benchmarks.processes import Server
from benchmarks.registry import GROUPS, SUITES
from benchmarks.suites import Size, instructions


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What the user said."""
    parser = argparse.ArgumentParser("python -m benchmarks", description="Measure the client against its peers.")
    names = ", ".join([*SUITES, *GROUPS])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {names}; all of them if none")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    parser.add_argument("--plot", type=Path, metavar="DIR", help="draw PNGs there")
    parser.add_argument("--scale", type=float, default=1.0, help="of the orders in a round (1.0)")
    parser.add_argument("--rounds", type=int, help="instead of each benchmark's own number")
    parser.add_argument("--million", action="store_true", help="measure memory at 1 M orders too (minutes)")
    parser.add_argument("--check", action="store_true", help="fail where instructions differ from docs/performance.md")
    parser.add_argument("--list", action="store_true", help="say what there is, and end")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - SUITES.keys() - GROUPS.keys()
    if unknown:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {names}")
    options.names = list(dict.fromkeys(each for name in options.names for each in GROUPS.get(name, (name,))))
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    options = parsed(arguments)
    if options.list:
        for name, suite in SUITES.items():
            print(f"{name:10} {(suite.__doc__ or '').splitlines()[0]}")
        return
    facts = machine.described()
    print(machine.line(facts), "\n", flush=True)
    size = Size(scale=options.scale, rounds=options.rounds, million=options.million)
    results: dict[str, Any] = {}
    for name in options.names or SUITES:
        started = time.monotonic()
        with Server() as server:  # a new one for each: what it remembers of one must not slow the next
            results[name] = SUITES[name](server, size)
        print("\n".join(tables.table(name, results[name])), flush=True)
        print(file=sys.stdout)
        print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    print("### targets\n")
    print("\n".join(tables.target_table(results)))
    if options.check and (counted := results.get("instructions")):
        wrong = instructions.differences({run["name"]: run["instructions"] for run in counted["runs"]})
        if wrong:
            raise SystemExit("\n".join(wrong))
    if options.json:
        options.json.write_text(json.dumps({"machine": facts, "results": results}, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        from benchmarks import plots

        for path in plots.draw(results, options.plot):
            print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
