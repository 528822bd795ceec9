"""Results as tables in Markdown, which read as well on a terminal."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.targets import verdicts


def render(results: Mapping[str, Mapping[str, Any]]) -> str:
    """All tables."""
    return "\n".join(line for name, result in results.items() for line in (*table(name, result), ""))


def table(name: str, result: Mapping[str, Any]) -> Iterator[str]:
    """The table of one benchmark, under its heading."""
    yield f"### {name}"
    yield ""
    if "outcomes" in result:
        yield from _outcomes(result)
    else:
        yield from _runs(result["runs"])


def target_table(results: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The targets beside what was measured."""
    marks = {True: "yes", False: "**no**", None: ""}
    rows = [(each.what, each.target, each.measured or "not run", marks[each.met]) for each in verdicts(results)]
    yield from _grid(("what", "target", "measured", "met"), rows)


def _outcomes(result: Mapping[str, Any]) -> Iterator[str]:
    unit, outcomes = result["unit"], result["outcomes"]
    with_latency = any(each["latency"] for each in outcomes)
    header = ["", f"CPU, µs a{'n' if unit[0] in 'aeiou' else ''} {unit}", "spread", "ratio", "quartiles"]
    header += ["latency, µs", "99 %"] if with_latency else [f"{unit}s/s"]
    header += ["server busy", "reads"]
    rows = []
    for each in outcomes:
        row = [
            each["name"],
            f"{each['cpu'] * 1e6:,.1f}",
            f"± {each['spread'] * 100:.0f} %",
            f"{each['ratio']:.2f}",
            f"{each['ratio_low']:.2f}–{each['ratio_high']:.2f}",
        ]
        if with_latency:
            row += [f"{each['latency'] * 1e6:,.0f}", f"{each['latency_99'] * 1e6:,.0f}"]
        else:
            row.append(f"{each['rate']:,.0f}")
        row.append("" if each["busy"] is None else f"{each['busy'] * 100:.0f} %")
        row.append(each["reads"])
        rows.append(row)
    keep = [place for place in range(len(header)) if place == 0 or any(row[place] for row in rows)]
    yield from _grid([header[place] for place in keep], [[row[place] for place in keep] for row in rows])


_COLUMNS = {
    "instructions": ("instructions", "{:,.0f}"),
    "by_hand": ("of that by hand", "{:.2f}"),
    "orders": ("orders", "{:,}"),
    "latency_ms": ("latency, ms", "{}"),
    "concurrency": ("in flight", "{}"),
    "calls": ("calls", "{:,}"),
    "now_mb": ("MB", "{:.1f}"),
    "tasks": ("tasks", "{}"),
    "descriptors": ("descriptors", "{}"),
    "start_mb": ("MB at start", "{:.0f}"),
    "peak_mb": ("MB at most", "{:.0f}"),
    "cpu": ("CPU, µs an order", "{:.1f}"),
    "events": ("events", "{:,}"),
    "event_cpu_us": ("CPU, µs an event", "{:.0f}"),
    "events_rate": ("events/s", "{:,.0f}"),
    "share": ("of the bare one", "{:.2f}"),
    "rate": ("orders/s", "{:,.0f}"),
    "gain": ("over the first", "{:.2f}"),
    "ratio": ("over one", "{:.2f}"),
    "database_us": ("PostgreSQL's CPU, µs an order", "{:.1f}"),
    "wal": ("WAL, bytes an order", "{:,.0f}"),
    "stored": ("stored, bytes an order", "{:,.0f}"),
    "posts": ("POSTs", "{:,}"),
    "answered": ("answered", "{:,}"),
    "in_doubt": ("in doubt", "{:,}"),
    "read": ("read by the server", "{:,}"),
    "busy": ("server busy", "{:.0%}"),
    "beats": ("beats", "{:,}"),
    "within_50_ms": ("within 50 ms", "{:.3%}"),
    "median_ms": ("median, ms", "{:.1f}"),
    "p99_ms": ("99 %", "{:.1f}"),
    "p999_ms": ("99.9 %", "{:.1f}"),
    "worst_ms": ("worst", "{:.1f}"),
}


def _runs(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    names = [name for name in _COLUMNS if any(name in run for run in runs)]
    rows = []
    for run in runs:
        values = {**run, "cpu": run["cpu"] * 1e6} if "cpu" in run else run
        rows.append(
            [run["name"], *(_COLUMNS[name][1].format(values[name]) if name in values else "" for name in names)]
        )
    yield from _grid(["", *(_COLUMNS[name][0] for name in names)], rows)


def _grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[place]) for row in (header, *rows)) for place in range(len(header))]

    def line(row: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"

    yield line(header)
    yield "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    yield from map(line, rows)
