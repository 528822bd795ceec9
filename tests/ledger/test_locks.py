"""The locks of runs."""

import fcntl
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from gotsurge_async.ledger import Ledger, LedgerBusy, LedgerUnusable, NewOrder, RunHeld, RunLost, locks
from gotsurge_async.ledger.locks import FileRunLocks, Lease, Leases
from tests.ledger.kit import NO_DATABASE, TidyLedger, loaded

if TYPE_CHECKING:
    from gotsurge_async.database.writer import Writer


def test_one_holder_at_a_time(path: Path) -> None:
    """A run that is taken cannot be taken again, here or elsewhere, until it is released; another run can."""
    here, others = FileRunLocks(path), FileRunLocks(path)
    lock = here.take(NO_DATABASE, "r-1")
    assert lock is not None
    assert lock.held
    assert here.take(NO_DATABASE, "r-1") is None
    assert others.take(NO_DATABASE, "r-1") is None
    other = others.take(NO_DATABASE, "r-2")
    assert other is not None
    other.release()
    lock.release()
    lock.release()
    assert not lock.held
    again = others.take(NO_DATABASE, "r-1")
    assert again is not None
    assert here.take(NO_DATABASE, "r-1") is None
    again.release()


def test_a_fork_does_not_keep_what_its_parent_held(path: Path) -> None:
    """Such as a worker of a process pool, which lives on when its service is killed."""
    code = (
        "import os, pathlib, sys; from gotsurge_async.ledger.locks import FileRunLocks\n"
        "lock = FileRunLocks(pathlib.Path(sys.argv[1])).take(None, 'r-1')\n"
        "if os.fork(): os.wait()\n"
        "else: print('forked', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"forked\n"
        assert FileRunLocks(path).is_held(NO_DATABASE, "r-1")
        holder.kill()
        holder.wait()
        assert not FileRunLocks(path).is_held(NO_DATABASE, "r-1")


async def test_those_who_only_look_do_not_meet(ledger: Ledger, path: Path) -> None:
    """Who asks whether a run is held does not see another one who asks, and leaves what a crash left."""
    file = path.with_name("ledger.db.r-1.lock")
    assert not await ledger.is_held("r-1")
    assert not file.exists()
    with file.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert not await ledger.is_held("r-1")
    assert file.exists()


def test_who_looks_keeps_nobody_from_a_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that somebody looks at is taken when the look is over, by whoever waits that long."""
    other = path.with_name("ledger.db.r-1.lock").open("w")
    fcntl.flock(other, fcntl.LOCK_SH)
    assert FileRunLocks(path).take(NO_DATABASE, "r-1") is None
    monkeypatch.setattr(time, "sleep", lambda _: other.close())
    lock = FileRunLocks(path).take(NO_DATABASE, "r-1", wait=5)
    assert lock is not None
    lock.release()


def test_a_look_leaves_a_run_that_a_crash_left_free(path: Path) -> None:
    """Who has looked at a run of a dead process holds nothing of it: anybody may take it up."""
    path.with_name("ledger.db.r-1.lock").touch()
    assert not FileRunLocks(path).is_held(NO_DATABASE, "r-1")
    lock = FileRunLocks(path).take(NO_DATABASE, "r-1")
    assert lock is not None
    assert FileRunLocks(path).is_held(NO_DATABASE, "r-1")
    lock.release()


async def test_a_lease_that_cannot_be_renewed_ends_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy ledger is asked again; one that refuses is not, and whoever writes is told, not the one who renews."""
    monkeypatch.setattr(locks, "LEASE_SECONDS", 0.0)
    asked = [LedgerUnusable("gone"), LedgerBusy("later")]

    class Refusing:
        async def run(self, _job: object) -> int:
            raise asked.pop()

    leases = Leases()
    leases.writer = cast("Writer", Refusing())
    Lease("r-1", leases).keep()
    (renewing,) = leases.renewing
    await renewing
    assert asked == []


def test_the_lock_file_is_private_and_goes_away(path: Path) -> None:
    """The file of a lock is the owner's alone, and is removed with the lock."""
    lock = FileRunLocks(path).take(NO_DATABASE, "r-1")
    assert lock is not None
    file = path.with_name("ledger.db.r-1.lock")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    lock.release()
    assert not file.exists()


def test_a_lock_that_cannot_be_made_is_an_error_of_ours(path: Path) -> None:
    """A folder that is gone is told as a LedgerError with the path, not as an OSError."""
    path.write_text("in the way")
    with pytest.raises(LedgerUnusable, match=r"below\.r-1\.lock"):
        FileRunLocks(path / "below").take(NO_DATABASE, "r-1")


@pytest.mark.parametrize("module", ["bulk", "webhooks"])
def test_a_missing_library_names_the_extra_to_install(module: str) -> None:
    """Without filelock the import fails as before, and says what to type."""
    code = f"import sys; sys.modules['filelock'] = None; from gotsurge_async.{module} import *"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert ran.stderr.endswith('ModuleNotFoundError: a ledger needs filelock: pip install "gotsurge-async[cli]"\n')


@pytest.mark.slow
async def test_a_process_takes_its_own_lease_again(database: str) -> None:
    """Over a new connection, by the run's epoch; what it still writes over the old one is refused."""
    async with await TidyLedger.open(database) as lost, await TidyLedger.open(database) as ledger:
        before = await loaded(lost, [NewOrder(1, "T-1", b"{}")])
        with pytest.raises(RunHeld):
            await ledger.hold(before.id)
        await ledger.hold(before.id, epoch=before.epoch)
        with pytest.raises(RunLost):
            await before.start()
        with pytest.raises(RunHeld):  # whoever slept since: another holder has it by now
            await lost.hold(before.id, epoch=before.epoch)
