"""A platform partner's first push with a ledger, of which no register of this machine knows anything."""

from pathlib import Path

import pytest

from gotsurge_async import codec
from gotsurge_async.simulator import Fault
from tests.cli.pushes.test_register import created, push
from tests.support.commands import Shell, local
from tests.support.orders import orders


@pytest.mark.parametrize("first", ["another account", "a single order", "a list that cannot be read"])
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
        mine, more = (("--account", "plain"), "A") if first == "another account" else (words, "B")
        if mine == words:
            failed = Fault(operation="platform.tasks.list", when="before", kind="status", status=503)
            shell.simulator.order_fault(failed)
        assert push(shell, [more], "b.db", *mine, "--mode", "direct")[0] == 0
        shell.simulator.clear_faults()
    code, text = push(shell, range(3), "b.db", *words)
    assert (code, "include 3 orders of this run" in text) == (2, True)
    own, expected = {"another account": ("A", 0), "a single order": ("S-0", 7)}.get(first, ("B", 0))
    assert push(shell, [own, "C"], "b.db", *words)[0] == expected  # as a single order it has another content
    assert push(shell, ["C", "D"], "b.db", *words)[0] == 0
    assert created(shell) == 6
