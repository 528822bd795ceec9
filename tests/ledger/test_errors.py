"""The errors of the ledger."""

import pickle
from datetime import UTC, datetime

import pytest

from gotsurge_async import codec
from gotsurge_async.errors import GotSurgeError
from gotsurge_async.ledger import (
    IllegalTransition,
    LedgerBusy,
    LedgerClosed,
    LedgerError,
    LedgerOlder,
    LedgerUnusable,
    NoSuchRun,
    RunHeld,
)
from gotsurge_async.ledger.errors import RESCUE, commands_for, names_in
from gotsurge_async.ledger.states import Holder, PendingOrder


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
        "ledger /l.db: run r-1 is held by process 7 on box since 2026-01-02 03:04:05Z; "
        "wait until that process ends, or stop it first"
    )
    assert "held by another process;" in str(RunHeld("r-1"))


def test_a_damaged_ledger_in_postgresql_is_restored_from_a_dump() -> None:
    """The advice for a ledger on a server names a dump, and no files; that for a file names its backup."""
    assert "Restore the newest dump; then run" in commands_for(RESCUE, "postgresql://me@db/ledger")
    assert "-wal" not in commands_for(RESCUE, "postgresql://me@db/ledger")
    assert "Replace this ledger with the newest copy" in commands_for(RESCUE, "l.db")


def _waiting(*payloads: bytes) -> list[PendingOrder]:
    return [PendingOrder(number, number, f"K{number}", payload) for number, payload in enumerate(payloads, start=1)]


def _names(orders: list[PendingOrder]) -> list[tuple[str | None, str | None]]:
    return names_in("l.db", orders, codec.encode_batch([order.payload for order in orders]))


def test_the_names_of_a_chunk_are_read() -> None:
    """Each order's tracking id and invoice number, in the order of the chunk, None where it has none."""
    found = _names(
        _waiting(b'{"tracking_id":"A","invoice_number":"I"}', b'{"price":1}', b'{"invoice_number":"\xc3\xa9"}')
    )
    assert found == [("A", "I"), (None, None), (None, "\u00e9")]


@pytest.mark.parametrize(
    ("payloads", "named"),
    [
        ((b'{"tracking_id":"A"}', b"{damaged"), "order 2, line 2, key K2"),
        ((b'{"tracking_id":1}', b"{}"), "order 1, line 1, key K1"),
        ((b"[]", b"{}"), "order 1, line 1, key K1"),
        ((b'{"tracking_id":"A"},{"tracking_id":"', b'C"}'), "order 1, line 1, key K1"),
        ((b"{}", b'{"\xff":1}'), "order 2, line 2, key K2"),
    ],
)
def test_an_order_that_is_no_json_is_named(payloads: tuple[bytes, ...], named: str) -> None:
    """An order whose JSON is none by itself is named, whatever it makes together with those beside it."""
    with pytest.raises(LedgerUnusable, match=named):
        _names(_waiting(*payloads))
