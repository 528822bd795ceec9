"""Files as people get them: whole or not at all, and cells that no spreadsheet takes for anything else."""

import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO


class WholeFile:
    """A file that is written beside its place, and put there when it is whole; for its owner alone."""

    def __init__(self, path: Path, at_end: ExitStack) -> None:
        self.path = path
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
        self.temporary = Path(temporary)
        at_end.callback(self.temporary.unlink, missing_ok=True)
        self.stream: IO[bytes] = os.fdopen(descriptor, "wb")
        at_end.callback(self.stream.close)

    def put_in_place(self) -> None:
        """Close the file, and give it its name."""
        self.stream.close()
        self.temporary.replace(self.path)


_QUOTE, _TWO_QUOTES = '"', '""'


def csv_line(cells: Sequence[str], delimiter: str) -> bytes:
    """A row of at least two cells as `csv.writer` writes it, which looks at each character and takes twice as long."""
    line = delimiter.join(cells)
    if line.count(delimiter) >= len(cells) or '"' in line or "\n" in line or "\r" in line:
        line = delimiter.join(
            [
                f'"{cell.replace(_QUOTE, _TWO_QUOTES)}"'
                if delimiter in cell or '"' in cell or "\n" in cell or "\r" in cell
                else cell
                for cell in cells
            ]
        )
    return f"{line}\r\n".encode()


def defused(text: str | None) -> str:
    """Text of the service, in a cell that a spreadsheet does not take for a formula."""
    if not text:
        return ""
    return f" {text}" if text[0] in "=+-@\t\r" else text
