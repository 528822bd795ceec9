"""Reads the workbook on standard input, as the only argument, a `Request`, requires.

On standard output it writes messages: a `Sheet`, any number of `Rows`, then the `End`; or a `Refusal`. The process ends
when no process reads them any more. The rows are read by python-calamine.
"""

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from .messages import ADVICE_TO_SPLIT, OUT_OF_MEMORY, SIZE, BadSheet, End, Message, Refusal, Request, Row, Rows, Sheet
from .parts import Cell, Parts, Range
from .texts import TEXTS

if TYPE_CHECKING:
    from python_calamine import CalamineSheet

_ERROR_OF_ODS = (
    "a cell shows an error such as #N/A or #REF!, and would be read as empty: correct its formula, or clear the cell"
)
_MERGED = "is merged with the cell above, and has no value of its own: take the cells apart, and fill in each"
_LOCKED = "is protected by a password: save it without a password"
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
"""The name in an old kind of container, also used by .xls, that marks an .xlsx with a password."""
_DIRECTORY = 64 << 20  # that name is searched for up to here
_BLOCK_ROWS, _BLOCK_LENGTH = 500, 1 << 18
_ONLY_TEXT = {str}


def _confine(request: Request) -> None:
    """Limit this process, as far as its system can, and end it with the process that reads its messages."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to both, and that process decides
    if sys.platform == "win32":
        return
    import resource

    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    limits = {resource.RLIMIT_DATA: request.memory, resource.RLIMIT_CPU: request.seconds, resource.RLIMIT_CORE: 0}
    for kind, most in limits.items():
        with contextlib.suppress(OSError, ValueError):  # a system may have no such limit
            resource.setrlimit(kind, (most, resource.getrlimit(kind)[1]))
    with contextlib.suppress(OSError):  # where memory is short, Linux ends this process first
        Path("/proc/self/oom_score_adj").write_text("1000")
    threading.Thread(target=_end_with_reader, daemon=True).start()


def _end_with_reader() -> None:
    """Wait until no process reads standard output any more, then end this process; calamine does not stop threads."""
    poll = select.poll()
    poll.register(1, 0)
    poll.poll()
    os._exit(0)


def _send(message: Message) -> None:
    content = msgspec.msgpack.encode(message)
    rest = memoryview(len(content).to_bytes(SIZE, "big") + content)
    while rest:  # a process that was stopped for a while may have written a part
        rest = rest[os.write(1, rest) :]


def main() -> None:
    """Read the workbook on standard input."""
    request = msgspec.json.decode(sys.argv[1], type=Request)
    _confine(request)
    try:
        for message in messages(sys.stdin.buffer, request):
            _send(message)
        _send(End())
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except Exception as error:
        if not isinstance(error, BadSheet):  # nobody sees a traceback
            error = BadSheet(f"cannot be read ({type(error).__name__}: {error}): {ADVICE_TO_SPLIT}")
        _send(Refusal(str(error), error.explain_code))


# --- the rows of a sheet ---------------------------------------------------------------------------------------------


def messages(file: IO[bytes], request: Request) -> Iterator[Sheet | Rows]:
    """The sheet of a workbook, then its rows; BadSheet if nothing more can be read."""
    import python_calamine

    file.seek(0)
    parts = Parts(file, request) if file.read(2) == b"PK" else None
    file.seek(0)
    if parts is None and _ENCRYPTED in file.read(_DIRECTORY):
        raise BadSheet(_LOCKED)
    file.seek(0)
    with _bad_sheet(python_calamine.CalamineError):
        book = python_calamine.load_workbook(file)
        work, visible = python_calamine.SheetTypeEnum.WorkSheet, python_calamine.SheetVisibleEnum.Visible
        about = Sheet(None, {each.name: each.visible == visible for each in book.sheets_metadata if each.typ == work})
        about.name = _choose(about.visible, request.sheet)
        if about.name is None:
            yield about
            return
        sheet = book.get_sheet_by_name(about.name)
    odd: dict[int, list[Cell]] = {}
    if parts is not None:
        if parts.has_errors:
            raise BadSheet(_ERROR_OF_ODS)
        odd, hidden = parts.search(about.name)
        about.hidden = (len(hidden), hidden[0]) if hidden else (0, 0)
    merged = sheet.merged_cell_ranges or (parts.merged_in(about.name) if parts else ())
    yield about
    yield from _blocks(_rows(sheet, odd, merged, request.row))


def _choose(visible: Mapping[str, bool], name: str | None) -> str | None:
    """The name of the sheet that is read; None if there is none."""
    if name is None:
        return next((name for name in visible if visible[name]), None)
    return name if name in visible else None


def _blocks(rows: Iterable[tuple[Row, int]]) -> Iterator[Rows]:
    """Rows, each with its length, in blocks that are small in memory."""
    block: list[Row] = []
    length = 0
    for row, size in rows:
        block.append(row)
        length += size
        if len(block) == _BLOCK_ROWS or length > _BLOCK_LENGTH:
            yield Rows(block)
            block, length = [], 0
    yield Rows(block)


def _rows(
    sheet: "CalamineSheet", odd: dict[int, list[Cell]], ranges: Iterable[Range], most: int
) -> Iterator[tuple[Row, int]]:
    """The rows with a text, or with a cell whose missing value is a fault, each with its length."""
    left = sheet.start[1] if sheet.start else 0
    with _bad_sheet():
        rows = enumerate(sheet.iter_rows(), start=1)
    merged = _below_others(ranges)
    last_rows: dict[int, int] = {}  # the column of a cell that is merged with those below -> the last of their rows
    width = 0
    for line, values in rows:
        cells, typed = _texts(values)
        if last_rows:
            last_rows = {column: last for column, last in last_rows.items() if last >= line}
        wrong = [*(Cell(column, None, _MERGED) for column in last_rows), *odd.pop(line, ())]
        whole, width = "".join(cells), len(cells)
        if len(whole) > most:
            yield (line, None, [], {}, False, {}), 0
        elif whole.strip() or any(cell.rule for cell in wrong):
            broken, shown = _apply(wrong, cells, left)
            yield (line, cells, typed, broken, "\0" in whole, shown), len(whole)
        for column, last in merged.get(line, ()):
            place = column - left
            if 0 <= place < len(values) and values[place] != "":
                last_rows[column] = last
    for line, wrong in sorted(odd.items()):  # rows of errors alone, below all that have a value
        if any(cell.rule for cell in wrong):
            cells = [""] * width
            yield (line, cells, [], _apply(wrong, cells, left)[0], False, {}), 0


def _texts(values: list[Any]) -> tuple[list[str], list[int]]:
    """The values of a row as text, and the places of those that had another type."""
    if {*map(type, values)} == _ONLY_TEXT:
        return values, []
    cells = [value if type(value) is str else TEXTS[type(value)](value) for value in values]
    return cells, [place for place, value in enumerate(values) if type(value) is not str]


def _apply(odd: Sequence[Cell], cells: list[str], left: int) -> tuple[dict[int, str], dict[int, str]]:
    """Correct the odd cells of a row that begins at column ``left``.

    Returns the rules that some break, and the texts that the sheet shows of others, by place.
    """
    broken, shown = {}, {}
    for cell in odd:
        place = cell.column - left
        if not 0 <= place < len(cells):
            continue
        if cell.rule:
            broken[place] = cell.rule
        elif cell.format and cells[place]:
            text = cell.format.shown(cells[place])
            if cell.format.is_of_codes:
                cells[place] = text or cells[place]
            else:
                shown[place] = text
    return broken, shown


@contextlib.contextmanager
def _bad_sheet(*errors: type[Exception]) -> Iterator[None]:
    """Turn the errors and panics of calamine into a `BadSheet`."""
    try:
        yield
    except errors as error:
        if type(error).__name__ == "PasswordError":
            raise BadSheet(_LOCKED) from None
        raise BadSheet(f"is damaged, or not a workbook: {error}") from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of Rust; it is not an Exception
            raise
        raise BadSheet("is damaged: it cannot be read") from None


def _below_others(ranges: Iterable[Range]) -> dict[int, list[tuple[int, int]]]:
    """Cells that are merged with those below: the first row -> their column, from 0, and their last row."""
    merged: dict[int, list[tuple[int, int]]] = {}
    for (first, column), (last, _) in ranges:
        if last > first:
            merged.setdefault(first + 1, []).append((column, last + 1))
    return merged


if __name__ == "__main__":
    main()
