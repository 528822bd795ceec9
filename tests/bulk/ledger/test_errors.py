"""The errors of the ledger."""

import pickle
from datetime import UTC, datetime

import pytest

from gotsurge_async.bulk.ledger import (
    IllegalTransition,
    LedgerBusy,
    LedgerClosed,
    LedgerError,
    LedgerOlder,
    LedgerUnusable,
    NoSuchRun,
    RunHeld,
)
from gotsurge_async.bulk.ledger.states import Holder
from gotsurge_async.errors import GotSurgeError


@pytest.mark.parametrize(
    "error",
    [
        *(kind("went wrong", path="/x") for kind in (LedgerError, LedgerUnusable, LedgerBusy, LedgerClosed, NoSuchRun)),
        LedgerOlder("is an older copy", path="/x"),
        IllegalTransition("no"),
        RunHeld("r-1", Holder(7, "box", datetime(2026, 1, 1, tzinfo=UTC)), path="/x"),
        RunHeld("r-1"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_pickle(error: LedgerError) -> None:
    """Every error of the ledger is one of the package's, and comes whole through a pickle."""
    twin = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert isinstance(twin, GotSurgeError)
    assert type(twin) is type(error)
    assert str(twin) == str(error)
    assert vars(twin) == vars(error)


def test_a_held_run_names_its_holder() -> None:
    """The message says which run, which process, where and since when, and what to do."""
    error = RunHeld("r-1", Holder(7, "box", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)), path="/l.db")
    assert str(error) == (
        "ledger /l.db: run r-1 is held by process 7 on box since 2026-01-02 03:04:05 UTC; "
        "wait until it ends, or stop it first"
    )
    assert "held by another process;" in str(RunHeld("r-1"))
