"""Benchmarks of reading files of orders, without a service."""

from collections.abc import Mapping
from typing import Any

from benchmarks.processes import Server, Worker
from benchmarks.rounds import Entrant, compete
from benchmarks.suites import Size
from benchmarks.suites.calls import told
from benchmarks.work import Setting

OURS_CSV = "gotsurge_async, CSV"
FILES = (
    Entrant("csv.reader", "files:CsvReader"),
    Entrant(OURS_CSV, "files:Ours"),
    Entrant("csv.DictReader + orjson", "files:DictReader"),
    Entrant("polars, CSV", "files:Polars"),
    Entrant("duckdb, CSV", "files:Duckdb"),
    Entrant("gotsurge_async, xlsx", "files:OursXlsx", share=0.5),
    Entrant("python-calamine, xlsx", "files:Calamine", share=0.5),
    Entrant("gotsurge_async, Parquet", "files:OursParquet"),
    Entrant("polars, Parquet", "files:PolarsParquet"),
    Entrant("duckdb, Parquet", "files:DuckdbParquet"),
)


def files(_: Server, size: Size) -> Mapping[str, Any]:
    """Files of 30 columns, from the first byte to the last order; the ratio is to csv.reader's CPU for a row."""
    return told("row", compete(FILES, units=size.units(20_000, 20), rounds=size.times(7), server=None, multiple=20))


def file_memory(_: Server, size: Size) -> Mapping[str, Any]:
    """The most memory while a file is read, at one size and at ten times that."""
    runs = []
    for name, work, most in (
        (OURS_CSV, "Ours", 1_000_000),
        ("gotsurge_async, xlsx", "OursXlsx", 200_000),
        ("gotsurge_async, Parquet", "OursParquet", 200_000),
    ):
        whole = most if size.million else most // 10
        for count in (size.units(whole // 10, 20), size.units(whole, 20)):
            with Worker(f"benchmarks.peers.files:{work}", Setting(count=count)) as worker:
                told_of = worker.round()
            if told_of["done"] != count:
                raise SystemExit(f"{name}: {told_of['done']} of {count} rows were read")
            runs.append(
                {
                    "name": name,
                    "orders": count,
                    **told_of["facts"],
                    "cpu": told_of["cpu"] / count,
                    "rate": count / told_of["wall"],
                }
            )
    return {"runs": runs}
