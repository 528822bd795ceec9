"""Reading files of orders: ours, which checks each of them, and libraries that only give the cells."""

import asyncio
import csv
import resource
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from benchmarks import orders
from benchmarks.work import Work

CELLS = "rows of cells; nothing is checked"


class FileWork(Work):
    """Reads a file that it has written before."""

    ending: ClassVar[str] = "csv"

    async def open(self) -> None:
        """Write the file."""
        self.folder = TemporaryDirectory(prefix="gotsurge-bench-")
        self.path = Path(self.folder.name) / f"orders.{self.ending}"
        # In a process of its own: what writing takes is not what reading takes.
        writer = [sys.executable, "-m", __name__, self.ending, str(self.path), str(self.setting.count)]
        await (await asyncio.create_subprocess_exec(*writer)).wait()

    async def run(self) -> int:
        """Read all of it."""
        start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        written = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        done = self.read()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        reader = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        if reader > written:  # a workbook is read by another process
            peak += reader
        self.facts = {"start_mb": start / 1e3, "peak_mb": peak / 1e3}
        return done

    def read(self) -> int:
        """How many rows there were."""
        raise NotImplementedError

    async def close(self) -> None:
        """Remove the file."""
        self.folder.cleanup()


def write_csv(path: Path, count: int) -> None:
    """A CSV of 30 columns."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, orders.columns(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(orders.rows(count))


def write_xlsx(path: Path, count: int) -> None:
    """A workbook of the same, all cells text."""
    import xlsxwriter

    with xlsxwriter.Workbook(path, {"constant_memory": True, "strings_to_numbers": False}) as book:
        sheet = book.add_worksheet("Orders")
        sheet.write_row(0, 0, orders.columns())
        for number, row in enumerate(orders.rows(count), start=1):
            for place, text in enumerate(row.values()):
                sheet.write_string(number, place, text)


def write_parquet(path: Path, count: int) -> None:
    """A Parquet file of the same."""
    import duckdb

    made = path.with_suffix(".csv")
    write_csv(made, count)
    with duckdb.connect(":memory:") as database:
        database.execute(f"COPY (FROM read_csv('{made}', all_varchar=true)) TO '{path}' (FORMAT parquet)")
    made.unlink()


WRITERS = {"csv": write_csv, "xlsx": write_xlsx, "parquet": write_parquet}


class CsvReader(FileWork):
    """Python's own."""

    reads = CELLS

    def read(self) -> int:
        """Lists of text."""
        with self.path.open(encoding="utf-8", newline="") as file:
            return sum(1 for _ in csv.reader(file)) - 1


class DictReader(FileWork):
    """Python's own, and JSON of each row, as a loader by hand makes it."""

    reads = "rows as flat JSON text; nothing is checked"

    def read(self) -> int:
        """Dicts, and their JSON."""
        import orjson

        with self.path.open(encoding="utf-8", newline="") as file:
            return sum(1 for row in csv.DictReader(file) if orjson.dumps(row))


class Polars(FileWork):
    """polars: a frame, and its rows."""

    reads = CELLS

    def read(self) -> int:
        """Tuples of text."""
        import polars

        if self.ending == "csv":
            frame = polars.read_csv(self.path, infer_schema=False)
        else:
            frame = polars.read_parquet(self.path)
        return sum(1 for _ in frame.iter_rows())


class Duckdb(FileWork):
    """duckdb: a query, and its rows."""

    reads = CELLS

    def read(self) -> int:
        """Tuples of text."""
        import duckdb

        source = f"read_csv('{self.path}', all_varchar=true)" if self.ending == "csv" else f"'{self.path}'"
        with duckdb.connect(":memory:") as database:
            found = database.execute(f"FROM {source}")
            done = 0
            while rows := found.fetchmany(1000):
                done += len(rows)
        return done


class Calamine(FileWork):
    """python-calamine alone."""

    reads = CELLS
    ending = "xlsx"

    def read(self) -> int:
        """Lists of values."""
        import python_calamine

        sheet = python_calamine.load_workbook(self.path).get_sheet_by_index(0)
        return sum(1 for _ in sheet.iter_rows()) - 1


class Ours(FileWork):
    """A source: every row an order, checked, and written as it will be sent."""

    reads = "orders, each checked, and its JSON text"

    def read(self) -> int:
        """The rows that are good, which are all."""
        from gotsurge_async.bulk import SourceOptions, open_source

        with open_source(self.path, options=SourceOptions(now=datetime(2030, 1, 1, tzinfo=UTC))) as source:
            done = sum(1 for _ in source.rows())
            if not source.report.ok:
                raise SystemExit("\n".join(source.report.lines()))
        return done


class OursXlsx(Ours):
    """The same of a workbook."""

    ending = "xlsx"


class OursParquet(Ours):
    """The same of Parquet."""

    ending = "parquet"


class PolarsParquet(Polars):
    """polars, and Parquet."""

    ending = "parquet"


class DuckdbParquet(Duckdb):
    """duckdb, and Parquet."""

    ending = "parquet"


if __name__ == "__main__":
    WRITERS[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
