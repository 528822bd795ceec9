"""The process that reads a workbook: its limits, its end, and what its user sees of it."""

import asyncio
import os
import select
import signal
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pytest

from gotsurge_async.tables import SourceOptions, open_grid, open_source
from gotsurge_async.tables.formats import workbook
from gotsurge_async.tables.formats.grid import Record
from gotsurge_async.tables.formats.lines import BadFile
from tests.support.commands import environment
from tests.support.order_forms import CELLS, NOW
from tests.support.sheets import ods_bytes, xlsx_bytes
from tests.tables.kit import read

MIB = 1 << 20
LONG_WAIT = 60
"""Seconds within which a process ends that is not to run on."""
_ROW = (
    '<table:table-cell table:number-columns-repeated="16000" office:value-type="string"><text:p>x</text:p>'
    "</table:table-cell>"
)
REPEATED = f'{_ROW}</table:table-row><table:table-row table:number-rows-repeated="6000">{_ROW}'
"""Cells of a last row that take no room in a file, and gigabytes of memory."""


def write_bomb(path: Path, mebibytes: int) -> Path:
    """A workbook with a cell of so many MiB, which is packed to a thousandth of that."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = packer.compress(b"<worksheet><sheetData><row><c><v>") + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(b"1" * MIB) + packer.flush(zlib.Z_FULL_FLUSH)
    with ZipFile(path, "w") as book:
        with book.open("xl/worksheets/sheet1.xml", "w") as part:
            part.write(start)
            for _ in range(mebibytes):
                part.write(block)
            part.write(packer.flush(zlib.Z_FINISH))
        info = book.getinfo("xl/worksheets/sheet1.xml")
        info.compress_type, info.file_size = ZIP_DEFLATED, mebibytes * MIB + 33  # as the directory states them
    return path


def write_long(path: Path) -> Path:
    """A workbook with more rows than the pipe to its reader holds."""
    cells = list(CELLS.values())
    path.write_bytes(xlsx_bytes([list(CELLS), *([f"T-{number}", *cells[1:]] for number in range(2_000))]))
    return path


@contextmanager
def rows_of(path: Path) -> Iterator[Iterator[Record]]:
    """The rows of a workbook."""
    with open_grid(path, options=SourceOptions(now=NOW)) as grid, closing(grid.records(lambda *_: None)) as rows:  # type: ignore[type-var]
        yield rows


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list["subprocess.Popen[bytes]"]:
    """The processes that read workbooks."""
    processes = []

    def start(*words: Any, **options: Any) -> "subprocess.Popen[bytes]":
        processes.append(popen(*words, **options))
        return processes[-1]

    popen = subprocess.Popen
    monkeypatch.setattr(workbook.subprocess, "Popen", start)
    return processes


# --- limits ----------------------------------------------------------------------------------------------------------


def test_a_cell_that_unpacks_to_gigabytes_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The directory of the file states it: to read 3 GB takes more CPU time than is allowed here."""
    monkeypatch.setattr(workbook, "MOST_SECONDS", 1)
    bomb = write_bomb(tmp_path / "orders.xlsx", 3_000)
    assert 2_900_000 < bomb.stat().st_size < 3_200_000
    (fault,) = read(bomb.read_bytes(), name=str(bomb)).faults
    assert "expands to 3,145,728,033 bytes, but the limit is 7" in fault
    assert "save the sheet as CSV UTF-8" in fault
    assert capfd.readouterr() == ("", "")


def test_a_sheet_that_needs_too_much_memory(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """The fault has the limit, and Rust says nothing."""
    monkeypatch.setattr(workbook, "MOST_MEMORY", 256 * MIB)
    (fault,) = read(ods_bytes([["tracking_id"]], more=REPEATED), name="orders.ods").faults
    assert "needs more than 256 MiB of memory to read: save the sheet as CSV UTF-8, or split it" in fault
    assert capfd.readouterr() == ("", "")


def test_a_workbook_that_takes_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault has the limit."""
    monkeypatch.setattr(workbook, "MOST_SECONDS", 1)
    monkeypatch.setattr(workbook, "MOST_RATIO", 2_000)
    bomb = write_bomb(tmp_path / "orders.xlsx", 4_000)
    (fault,) = read(bomb.read_bytes(), name="orders.xlsx").faults
    assert fault.startswith("orders.xlsx: takes more than 1 second of CPU time to read: save the sheet as CSV UTF-8")


@pytest.mark.parametrize(
    ("number", "words"),
    [(signal.SIGKILL, "was killed, perhaps because memory was short"), (signal.SIGSEGV, "with the exit code -11")],
    ids=["killed", "crashed"],
)
def test_a_reader_that_ends_too_early(
    tmp_path: Path, started: list["subprocess.Popen[bytes]"], number: signal.Signals, words: str
) -> None:
    """What was read is not taken for all of the sheet."""
    with rows_of(write_long(tmp_path / "orders.xlsx")) as rows:
        next(rows)
        started[0].send_signal(number)
        with pytest.raises(BadFile, match=words):
            list(rows)


@pytest.mark.parametrize("python", ["", "/nowhere/python"])
def test_without_a_python_to_start(python: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault says what to do."""
    monkeypatch.setattr(sys, "executable", python)
    (fault,) = read(xlsx_bytes([list(CELLS)]), name="orders.xlsx").faults
    assert "save the sheet as CSV UTF-8" in fault


async def test_the_command_reports_what_its_reader_needs(tmp_path: Path) -> None:
    """Under a limit of the shell it ends with exit code 2 and one fault, whatever becomes of the reader."""
    (tmp_path / "orders.ods").write_bytes(ods_bytes([["tracking_id"]], more=REPEATED))
    command = f"ulimit -v {512 * 1024}; exec {sys.executable} -m gotsurge_async push orders.ods --dry-run --env local"
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", command),
        cwd=tmp_path,
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 2, err.decode()
    assert "needs more than 512 MiB of memory to read" in err.decode()
    assert not [word for word in ("panic", "abort", "memory allocation", "Traceback") if word in (out + err).decode()]


# --- its end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [None, KeyboardInterrupt], ids=["closed", "interrupted"])
def test_a_reader_ends_with_what_reads_its_rows(
    kind: type[BaseException] | None, tmp_path: Path, started: list["subprocess.Popen[bytes]"]
) -> None:
    """Also where that stops early."""
    with suppress(KeyboardInterrupt), rows_of(write_long(tmp_path / "orders.xlsx")) as rows:
        next(rows)
        if kind is not None:
            raise kind
    assert started[0].returncode == -signal.SIGKILL


def test_closing_a_source_ends_its_reader(
    tmp_path: Path, started: list["subprocess.Popen[bytes]"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while another thread waits for its first row, as where a push is interrupted."""
    monkeypatch.setattr(workbook, "MOST_RATIO", 2_000)
    monkeypatch.setattr(workbook, "MOST_UNPACKED", 1 << 40)
    waits, messages = threading.Event(), workbook._messages

    def wait(pipe: Any) -> Any:
        waits.set()
        return messages(pipe)

    monkeypatch.setattr(workbook, "_messages", wait)
    source = open_source(write_bomb(tmp_path / "orders.xlsx", 100_000), options=SourceOptions(now=NOW))
    thread = threading.Thread(target=lambda: list(source.rows()), daemon=True)
    thread.start()
    assert waits.wait(LONG_WAIT)
    source.close()
    thread.join(LONG_WAIT)
    assert started[0].returncode == -signal.SIGKILL


READS = """
import datetime, subprocess, sys
from gotsurge_async.tables import SourceOptions, open_grid
from gotsurge_async.tables.formats import workbook
workbook.MOST_RATIO = 2_000
workbook.MOST_UNPACKED = 1 << 40
popen = subprocess.Popen
def start(*words, **options):
    process = popen(*words, **options)
    print(process.pid, flush=True)
    return process
subprocess.Popen = start
with open_grid(sys.argv[1], options=SourceOptions(now=datetime.datetime.now(datetime.UTC))) as grid:
    for _ in grid.records(print):
        print("row", flush=True)
        sys.stdin.read()
"""


@pytest.mark.parametrize("moment", ["while it loads", "while it writes"])
def test_a_reader_ends_with_a_process_that_is_killed(moment: str, tmp_path: Path) -> None:
    """It waits for nobody, and does not finish what takes a minute."""
    path = tmp_path / "orders.xlsx"
    path = write_long(path) if moment == "while it writes" else write_bomb(path, 100_000)
    words = [sys.executable, "-c", READS, str(path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        reader = os.pidfd_open(int(parent.stdout.readline()))
        try:
            if moment == "while it writes":
                assert parent.stdout.readline() == "row\n"
            parent.kill()
            parent.wait()
            assert select.select([reader], [], [], LONG_WAIT)[0]
        finally:
            os.close(reader)


# --- where it works --------------------------------------------------------------------------------------------------

UNGUARDED = """
import asyncio, datetime, sys
from gotsurge_async.tables import SourceOptions, open_grid

def count(path):
    with open_grid(path, options=SourceOptions(now=datetime.datetime.now(datetime.UTC))) as grid:
        return sum(1 for _ in grid.records(print))

async def main():
    return await asyncio.gather(*(asyncio.to_thread(count, sys.argv[1]) for _ in range(3)))

print("began")
print(asyncio.run(main()))
"""


def run_script(folder: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a script without a terminal, and without a standard input."""
    return subprocess.run(
        [sys.executable, *words, "orders.xlsx"],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("way", ["a file", "-c"])
def test_a_script_without_a_guard_runs_once(way: str, tmp_path: Path) -> None:
    """In an event loop with threads, next to a file with the name of the reader."""
    write_long(tmp_path / "orders.xlsx")
    (tmp_path / "script.py").write_text(UNGUARDED)
    (tmp_path / "sheet_reader.py").write_text("raise SystemExit('this is another one')")
    done = run_script(tmp_path, ["script.py"] if way == "a file" else ["-c", UNGUARDED])
    assert (done.stdout, done.stderr) == ("began\n[2001, 2001, 2001]\n", "")
