"""PNGs of the results, small enough to stand beside the text."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

Result = Mapping[str, Any]


def draw(results: Mapping[str, Result], folder: Path) -> Iterator[Path]:
    """Draw what there are results for; gives the files."""
    import matplotlib as mpl  # takes its time to load, and most runs of the tests draw nothing

    mpl.use("Agg")  # no screen needed
    from matplotlib import pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    for benchmark, name, paint in _PLOTS:
        if benchmark not in results:
            continue
        figure, axes = plt.subplots(figsize=(7, 3.6), dpi=90, layout="constrained")
        paint(axes, results[benchmark])
        path = folder / f"{name}.png"
        figure.savefig(path)
        plt.close(figure)
        yield path


def _cost(axes: Any, result: Result) -> None:
    """CPU of the client, of every peer."""
    outcomes = [each for each in result["outcomes"] if each["ratio"] < 20]
    left_out = [each for each in result["outcomes"] if each["ratio"] >= 20]
    names = [each["name"] for each in reversed(outcomes)]
    values = [each["cpu"] * 1e6 for each in reversed(outcomes)]
    bars = axes.barh(names, values, color=["#c0504d" if "gotsurge" in name else "#7f9db9" for name in names])
    axes.bar_label(bars, [f"{each['ratio']:.2f}×" for each in reversed(outcomes)], padding=3)
    axes.margins(x=0.12)
    beyond = "".join(f"\n(off the scale: {each['name']}, {each['ratio']:.0f}×)" for each in left_out)
    axes.set_xlabel(f"CPU of the client, µs a {result['unit']}{beyond}")


def _latency(axes: Any, result: Result) -> None:
    """Median and 99th percentile of one call."""
    outcomes = list(reversed(result["outcomes"]))
    names = [each["name"] for each in outcomes]
    axes.barh(names, [each["latency_99"] * 1e6 for each in outcomes], color="#d9d9d9", label="99 %")
    axes.barh(names, [each["latency"] * 1e6 for each in outcomes], color="#7f9db9", label="median")
    axes.set_xlabel("latency of one small GET, µs")
    axes.legend()


def _memory(axes: Any, result: Result) -> None:
    """Memory over time, of the largest push of each kind."""
    largest = max(run["orders"] for run in result["runs"])
    for run in result["runs"]:
        if run["orders"] == largest:
            axes.plot(*zip(*run["memory"], strict=True), label=f"{run['name']}, {largest:,} orders")
    axes.set_xlabel("seconds")
    axes.set_ylabel("memory of the process, MB")
    axes.set_ylim(bottom=0)
    axes.legend()


def _against_number(axes: Any, result: Result) -> None:
    """CPU of an order against how many there are."""
    for name in dict.fromkeys(run["name"] for run in result["runs"]):
        runs = [run for run in result["runs"] if run["name"] == name]
        axes.plot([run["orders"] for run in runs], [run["cpu"] * 1e6 for run in runs], marker="o", label=name)
    axes.set_xscale("log")
    axes.set_xlabel("orders in the push")
    axes.set_ylabel("CPU, µs an order")
    axes.set_ylim(bottom=0)
    axes.legend()


def _scaling(axes: Any, result: Result) -> None:
    """Orders a second against calls in flight."""
    styles = {0: "-", 20: "--", 200: ":"}
    for name in dict.fromkeys(run["name"] for run in result["runs"]):
        for latency, style in styles.items():
            runs = [run for run in result["runs"] if (run["name"], run["latency_ms"]) == (name, latency)]
            color = "#c0504d" if "gotsurge" in name else "#7f9db9"
            places, rates = [run["concurrency"] for run in runs], [run["rate"] for run in runs]
            axes.plot(places, rates, style, color=color, marker="o", markersize=3, label=f"{name}, {latency} ms")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("calls in flight, 20 orders each")
    axes.set_ylabel("orders a second")
    axes.legend(fontsize="small")


_PLOTS: tuple[tuple[str, str, Callable[[Any, Result], None]], ...] = (
    ("push", "push-cpu", _cost),
    ("scaling", "throughput", _scaling),
    ("get", "latency", _latency),
    ("memory", "memory", _memory),
    ("memory", "cost-against-number", _against_number),
)
