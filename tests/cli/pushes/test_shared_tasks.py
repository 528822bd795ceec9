"""Two orders of the ledger with one task of the service, as people see them."""

import json

from tests.ledger.test_shared_tasks import give
from tests.support.commands import Shell


def test_commands_name_it(platform_shell: Shell) -> None:
    """`ledger check` ends with 3 and says which; every command works; `status` says in doubt, why, and what to type."""
    shell = platform_shell
    _, first = shell.push("A")
    _, second = shell.push("B")
    tasks = [json.loads(shell.on_ledger("status", each["run"], "--json").stdout) for each in (first, second)]
    assert [each["created"] for each in tasks] == [1, 1]
    kept, lost = (
        (shell.folder / "out" / f"{each['run']}-created.csv").read_text().splitlines()[1].split(",")[-3]
        for each in (first, second)
    )
    give(shell.folder / "ledger.db", kept, lost)
    checked = shell.run("ledger", "check", *shell.ledger)
    assert checked.exit_code == 3
    assert (
        f"task {kept} is recorded for order A of run {first['run']} and order B of run {second['run']}"
        in checked.stdout
    )
    assert "damaged" not in checked.output
    again, _ = shell.push("C")
    assert again.exit_code == 0
    for run in (first["run"], second["run"]):  # in two-phase mode no time shows which one recorded it first
        status = json.loads(shell.on_ledger("status", run, "--json").stdout)
        assert status["in_doubt"] == 1
        assert any(f"gotsurge reconcile {run}" in step for step in status["next"])
        reconciled = shell.call("reconcile", run)
        assert reconciled.exit_code == 0
    again, _ = shell.push("A", "B")
    assert again.exit_code == 0
    assert shell.run("ledger", "check", *shell.ledger).exit_code == 0
    assert shell.simulator.audit()["doubled"] == {}
