"""A ledger behind permissions that bind, also where the tests run as root."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def powerless() -> Iterator[None]:
    """Be a user whom permissions bind; root becomes nobody meanwhile, and everybody else stays who they are."""
    if os.geteuid() != 0:
        yield
        return
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@contextmanager
def locked_away(*files: Path) -> Iterator[Path]:
    """Copies of some files in a folder in which nothing may be written; the path of the first."""
    # Not below the folder of the tests, which nobody else may enter.
    folder = Path(tempfile.mkdtemp(prefix="gotsurge-test-"))
    try:
        for file in files:
            shutil.copy(file, folder)
        lock_up(folder)
        yield folder / files[0].name
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)


def lock_up(folder: Path) -> None:
    """Let nobody write in a folder any more."""
    for file in folder.iterdir():
        file.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
    folder.chmod(0o555)
