"""Two orders of the ledger with one task of the service, as people see them."""

import json

from tests.ledger.test_shared_tasks import give
from tests.support.commands import Desk


def test_commands_name_it(platform_desk: Desk) -> None:
    """`ledger check` ends with 3 and says which; every command works; `status` says in doubt, why, and what to type."""
    desk = platform_desk
    _, first = desk.push("A")
    _, second = desk.push("B")
    tasks = [json.loads(desk.on_ledger("status", each["run"], "--json").stdout) for each in (first, second)]
    assert [each["created"] for each in tasks] == [1, 1]
    kept, lost = (
        (desk.folder / "out" / f"{each['run']}-created.csv").read_text().splitlines()[1].split(",")[-3]
        for each in (first, second)
    )
    give(desk.folder / "ledger.db", kept, lost)
    checked = desk.run("ledger", "check", *desk.ledger)
    assert checked.exit_code == 3
    assert (
        f"task {kept} is recorded for order A of run {first['run']} and order B of run {second['run']}"
        in checked.stdout
    )
    assert "damaged" not in checked.output
    again, _ = desk.push("A", "C")
    assert again.exit_code == 0
    status = json.loads(desk.on_ledger("status", second["run"], "--json").stdout)
    assert status["in_doubt"] == 1
    assert any(f"gotsurge reconcile {second['run']}" in step for step in status["next"])
    reconciled = desk.call("reconcile", second["run"])
    assert reconciled.exit_code == 0
    assert desk.run("ledger", "check", *desk.ledger).exit_code == 0
    assert desk.simulator.audit()["doubled"] == {}
