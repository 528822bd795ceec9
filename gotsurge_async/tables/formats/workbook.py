"""A sheet of a workbook, .xlsx, .xlsb, .xls or .ods, read by python-calamine in a process of its own.

Calamine holds the sheet whole, and its process is aborted if memory is short. So that process has limits, and its exit
code is translated to a message. The rows come over a pipe, and here only some hundred of them are in memory.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import msgspec

from gotsurge_async.errors import Coded, ConfigError
from gotsurge_async.tables.cells import Broken, Exact
from gotsurge_async.tables.checks.words import number_of
from gotsurge_async.tables.fields import did_you_mean
from gotsurge_async.tables.formats import sheet_reader
from gotsurge_async.tables.formats.grid import Grid, Record, Unreadable
from gotsurge_async.tables.formats.lines import MAX_LINE, MOST_RATIO, TOO_LONG_ROW, BadFile, Digested, Form
from gotsurge_async.tables.formats.sheet_reader.messages import (
    ADVICE_TO_SPLIT,
    OUT_OF_MEMORY,
    SIZE,
    End,
    Message,
    Refusal,
    Request,
    Row,
    Sheet,
)
from gotsurge_async.tables.formats.typed import on_disk

MOST_UNPACKED = 4 << 30
"""The most bytes that the parts of a workbook may expand to."""
MOST_CELLS = 64_000_000
"""The most cells of a sheet, which is held whole, with all empty ones between its first cell and its last."""
MOST_MEMORY = 4 << 30
"""The most bytes of memory of the process that reads a workbook; a million rows of 30 cells take 3.3 GB."""
MOST_SECONDS = 300
"""The most seconds of CPU time of that process; a million rows of 30 cells take 60."""

_ADVICE = "save the sheet as CSV UTF-8"

_decode = msgspec.msgpack.Decoder(Message).decode


class WorkbookGrid(Grid):
    """A sheet, the first visible one unless another is named. Another process holds it in memory while it is read.

    The line of a record is the row of the sheet. Raises ConfigError if python-calamine is not installed.
    """

    def __init__(self, stream: Digested, format_: str, sheet: str | None) -> None:
        if sheet is not None:  # an argument of the command may hold bytes that are not text, and no sheet's name does
            sheet = sheet.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        super().__init__(Form(format=format_, sheet=sheet), stream.digest)
        if find_spec("python_calamine") is None:
            why = f'a workbook (.{format_}) needs python-calamine: pip install "gotsurge-async[excel]"'
            raise ConfigError(why, "E108")
        self._stream = stream
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False

    def close(self) -> None:
        """Close the grid, see `Grid.close`."""
        self._is_closed = True
        if self._process is not None:
            self._process.kill()

    def records(self, unreadable: Unreadable) -> Iterator[Record]:
        """Yield the records, see `Grid.records`."""
        request = Request(
            sheet=self.form.sheet,
            memory=_most_memory(),
            seconds=MOST_SECONDS,
            unpacked=MOST_UNPACKED,
            ratio=MOST_RATIO,
            cells=MOST_CELLS,
            row=MAX_LINE,
        )
        with on_disk(self._stream) as file, _reader(file, request) as process:
            self._process = process
            if self._is_closed:
                process.kill()
            for message in _messages(process.stdout):
                if isinstance(message, End):
                    return
                if isinstance(message, Refusal):
                    raise BadFile(message.message, message.explain_code)
                if isinstance(message, Sheet):
                    self._begin(message)
                else:
                    yield from _records(message.rows, unreadable)
            if process.stdout is not None:
                process.stdout.close()  # it may wait until more is read
            raise BadFile(_reason(process.wait(), request))

    def _begin(self, sheet: Sheet) -> None:
        """Check that the sheet exists, and add remarks about its hidden parts."""
        visible, name = sheet.visible, self.form.sheet
        self.sheets: Sequence[str] = list(visible)
        if name is None:
            if sheet.name is None:
                raise BadFile("has no visible sheet with cells: name a sheet (--sheet)", "E206")
            self.form: Form = Form(format=self.form.format, sheet=sheet.name)
            if before := self.sheets[: self.sheets.index(sheet.name)]:
                self._remark(
                    f'the sheet "{sheet.name}" is read because it is the first visible one; '
                    f"these are hidden, and not read: {', '.join(before)}"
                )
        elif sheet.name is None:
            hint = did_you_mean(name, self.sheets)
            raise BadFile(f'has no sheet "{name}"{hint}; it has {", ".join(self.sheets)}', "E206")
        elif not visible[name]:
            self._remark(f'the sheet "{name}" is hidden, but is read because you named it')
        count, first = sheet.hidden
        if count:
            self._remark(
                f"the sheet hides {number_of(count, 'row')} (the first: row {first}): "
                "hidden and filtered rows are sent like all other rows"
            )

    def _remark(self, rule: str) -> None:
        self.remarks.append(Coded(rule, "E238"))


def _records(rows: Sequence[Row], unreadable: Unreadable) -> Iterator[Record]:
    for line, cells, typed, broken, damaged, shown in rows:
        if cells is None:
            unreadable(line, TOO_LONG_ROW)
            continue
        for place in typed:
            cells[place] = Exact(cells[place])
        yield Record(line, cells, damaged, line, {**shown, **{place: Broken(rule) for place, rule in broken.items()}})


# --- the process -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _reader(file: IO[bytes], request: Request) -> "Iterator[subprocess.Popen[bytes]]":
    """A process that reads a workbook. It ends with the block, and also if this process is killed.

    It is another Python, not a fork, because this process may have threads. It imports what this one would import, and
    nothing of the program that this one runs. Raises BadFile if it cannot be started.
    """
    if not sys.executable or getattr(sys, "frozen", False):
        raise BadFile(
            "cannot be read: this needs a separate process, but no Python (sys.executable) was found to start it: "
            f"{_ADVICE}"
        )
    program = Path(sheet_reader.__file__).parent
    paths = [str(program.parent), *(path or os.curdir for path in sys.path)]
    try:
        started = subprocess.Popen(  # noqa: S603 - it has no words of a user
            [sys.executable, "-P", "-m", program.name, msgspec.json.encode(request).decode()],
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # Rust writes there how it ended
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except OSError as error:
        raise BadFile(f"the process that reads it cannot be started: {error.strerror}: {_ADVICE}") from None
    with started as process:
        try:
            yield process
        finally:
            process.kill()


def _messages(pipe: IO[bytes] | None) -> Iterator[Message]:
    """The messages that a process has written whole."""
    while pipe is not None and (size := pipe.read(SIZE)):
        try:
            message = _decode(pipe.read(int.from_bytes(size, "big")))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        yield message


def _most_memory() -> int:
    """The memory limit of the process, or that of this process, if it is lower."""
    if sys.platform == "win32":
        return MOST_MEMORY
    import resource

    own = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
    return min([MOST_MEMORY, *(most for most in own if most != resource.RLIM_INFINITY)])


def _reason(code: int, request: Request) -> str:
    """The reason why a process ended too early, by its exit code."""
    if sys.platform != "win32":
        if code == -signal.SIGXCPU:
            return f"takes more than {number_of(request.seconds, 'second')} of CPU time to read: {ADVICE_TO_SPLIT}"
        if code == -signal.SIGKILL:
            return (
                f"the process that was reading the file was killed, perhaps because memory was short: {ADVICE_TO_SPLIT}"
            )
    if code in (OUT_OF_MEMORY, -signal.SIGABRT):
        return f"needs more than {request.memory >> 20:,} MiB of memory to read: {ADVICE_TO_SPLIT}"
    return f"the process that was reading the file ended with the exit code {code}: {ADVICE_TO_SPLIT}"
