"""The locks of runs."""

import os
import stat
from pathlib import Path

import pytest

from gotsurge_async.bulk.ledger import LedgerUnusable
from gotsurge_async.bulk.ledger.locks import RunLocks, this_process
from tests.bulk.ledger.kit import START


def test_one_holder_at_a_time(path: Path) -> None:
    """A run that is taken cannot be taken again, here or elsewhere, until it is released; another run can."""
    locks, others = RunLocks(path), RunLocks(path)
    lock = locks.take("r-1")
    assert lock is not None
    assert lock.held
    assert locks.take("r-1") is None
    assert others.take("r-1") is None
    other = others.take("r-2")
    assert other is not None
    other.release()
    lock.release()
    lock.release()
    assert not lock.held
    again = others.take("r-1")
    assert again is not None
    again.release()


def test_the_lock_file_is_private_and_goes_away(path: Path) -> None:
    """The file of a lock is the owner's alone, and is removed with the lock."""
    lock = RunLocks(path).take("r-1")
    assert lock is not None
    file = path.with_name("ledger.db.r-1.lock")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    lock.release()
    assert not file.exists()


def test_a_lock_that_cannot_be_made_is_an_error_of_ours(path: Path) -> None:
    """A folder that is gone is told as a LedgerError with the path, not as an OSError."""
    path.write_text("in the way")
    with pytest.raises(LedgerUnusable, match=r"below\.r-1\.lock"):
        RunLocks(path / "below").take("r-1")


def test_the_holder_is_this_process() -> None:
    """What is written down is the process id, the host and the time."""
    holder = this_process(START)
    assert (holder.pid, holder.since) == (os.getpid(), START)
    assert holder.host
