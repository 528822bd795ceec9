"""A platform partner's first push with a ledger, of which no register of this machine knows anything."""

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gotsurge_async import Created, codec
from gotsurge_async.bulk import Desk, Mode
from gotsurge_async.simulator import Fault
from tests.after.test_odd_lists import list_tells
from tests.cli.pushes.test_register import created, push
from tests.support.commands import Shell, local
from tests.support.orders import orders
from tests.support.pushes import place


def as_an_older_version_left(ledger: Path) -> None:
    """Remove what a ledger notes of its checks, and make its runs a month old."""
    month = timedelta(days=30) // timedelta(microseconds=1)
    with closing(sqlite3.connect(ledger)) as db, db:
        db.execute("DELETE FROM ledger_meta WHERE name LIKE '%check%'")
        db.execute("UPDATE runs SET created_at = created_at - ?", (month,))


@pytest.mark.parametrize(
    "first", ["another account", "an older version", "a single order", "a list that cannot be read"]
)
def test_the_first_push_of_an_account_is_checked_whatever_its_ledger_did_before(
    shell: Shell, register: Path, first: str
) -> None:
    """A ledger is new to an account until a push of its own was checked; the ledger's own orders do not stop one."""
    words = ("--account", "platform")
    assert push(shell, range(3), "a.db", *words)[0] == 0
    register.unlink()
    if first == "a single order":
        where: list[str | Path] = [*local(shell.simulator), "--ledger", shell.folder / "b.db"]
        order = codec.encode(orders(1, "S-")[0]).decode()
        assert shell.run("tasks", "create", "-", "--platform", *words, *where, stdin=f"[{order}]").exit_code == 0
    else:
        mine, more = (("--account", "plain"), "A") if first[:2] == "an" else (words, "B")
        if mine == words:
            failed = Fault(operation="platform.tasks.list", when="before", kind="status", status=503)
            shell.simulator.order_fault(failed)
        assert push(shell, [more], "b.db", *mine, "--mode", "direct")[0] == 0
        shell.simulator.clear_faults()
    if first == "an older version":
        as_an_older_version_left(shell.folder / "b.db")
    code, text = push(shell, range(3), "b.db", *words)
    assert (code, "include 3 orders of this run" in text) == (2, True)
    own, expected = {"another account": ("A", 0), "an older version": ("A", 0), "a single order": ("S-0", 7)}.get(
        first, ("B", 0)
    )
    assert push(shell, [own, "C"], "b.db", *words)[0] == expected  # as a single order it has another content
    assert push(shell, ["C", "D"], "b.db", *words)[0] == 0
    assert created(shell) == 6


@pytest.mark.parametrize("first", ["a push", "a desk"])
async def test_a_ledger_with_which_an_older_version_sent_orders_is_not_new(tmp_path: Path, first: str) -> None:
    """Nobody reads the Task List for a push, or a desk, of an account whose orders the ledger has."""
    pages = []

    def count(page: dict[str, Any]) -> dict[str, Any]:
        pages.append(page)
        return page

    async with place(tmp_path) as at:
        if first == "a push":
            await at.push(orders(2), mode=Mode.TWO_PHASE)
        else:
            async with Desk(at.gs, at.ledger, mode="two-phase") as desk:
                await desk.create(orders(1)[0])
        as_an_older_version_left(tmp_path / "ledger.db")
        with list_tells(at.gs, count):
            for name in ("A-", "B-"):
                async with Desk(at.gs, at.ledger, mode="two-phase") as desk:
                    assert isinstance(await desk.create(orders(1, name)[0]), Created)
                await at.push(orders(1, f"{name}P-"), mode=Mode.TWO_PHASE)
    assert pages == []


async def test_a_list_that_is_never_whole_is_read_three_times(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each of the three pushes warns, and the later ones cost no more than those of a ledger that is known."""
    async with place(tmp_path) as at:
        with list_tells(at.gs, lambda page: page | {"meta": {"total": 50}}):
            for number in range(5):
                await at.push(orders(1, f"T-{number}-"), mode=Mode.TWO_PHASE)
        assert len(at.simulator.tasks()) == 5
    assert caplog.text.count("the Task List is incomplete") == 3
