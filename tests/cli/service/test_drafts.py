"""`gotsurge drafts` and `gotsurge tracking` against a simulator over real HTTP."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from gotsurge_async.bulk import Ledger
from gotsurge_async.ledger import LedgerOlder
from gotsurge_async.simulator import Fault, Simulator, SimulatorOptions
from tests.cli.service.test_tasks import lines, order
from tests.support.commands import Runner, Shell, local


def drafted(run: Runner, simulator: Simulator, count: int) -> list[str]:
    """The ids of new drafts."""
    orders = [order(f"T-{n}") for n in range(count)]
    done = run("drafts", "create", "-", *local(simulator), "--json", stdin=json.dumps(orders))
    assert done.exit_code == 0, done.output
    return [row["id"] for row in json.loads(done.stdout)["orders"]]


def rows(done: Result) -> list[list[str]]:
    """The rows under the heading."""
    heading, *found = lines(done)
    assert heading == ["id", "tracking_id", "done", "status", "error"]
    return found


def test_drafts_are_created_and_no_driver_is_asked(run: Runner, simulator: Simulator) -> None:
    """A row each with the id, status pending_broadcast, exit 0."""
    done = run("drafts", "create", "-", *local(simulator), stdin=json.dumps([order("A"), order("B")]))
    assert (done.exit_code, done.stderr) == (0, "")
    assert [(row[0], row[1], row[3]) for row in lines(done)[1:]] == [
        ("A", "created", "pending_broadcast"),
        ("B", "created", "pending_broadcast"),
    ]
    assert (simulator.audit()["tasks"], simulator.audit()["drafts"]) == (0, 2)


def test_drafts_are_broadcast_once(run: Runner, simulator: Simulator) -> None:
    """Exit 0; a second time changes nothing and is no error."""
    ids = drafted(run, simulator, 2)
    for _ in range(2):
        done = run("drafts", "broadcast", *ids, *local(simulator))
        assert (done.exit_code, done.stderr) == (0, "")
        assert [(row[0], row[2], row[3]) for row in rows(done)] == [(name, "yes", "broadcasting") for name in ids]
    assert (simulator.audit()["tasks"], simulator.audit()["drafts"]) == (2, 0)


def test_more_than_20_are_broadcast_in_several_calls(run: Runner, simulator: Simulator) -> None:
    """25 ids on standard input, a line each, are two calls."""
    ids = [*drafted(run, simulator, 20), *drafted(run, simulator, 5)]
    done = run("drafts", "broadcast", "-", *local(simulator), "--json", stdin="\n".join(ids) + "\n\n")
    assert done.exit_code == 0
    assert (json.loads(done.stdout)["done"], json.loads(done.stdout)["not_done"]) == (25, 0)
    assert simulator.audit()["calls"]["platform.drafts.broadcast"] == 2


def test_drafts_get_tracking_ids_as_they_are_broadcast(run: Runner, simulator: Simulator) -> None:
    """TASK_ID=TRACKING_ID broadcasts with tracking."""
    one, two = drafted(run, simulator, 2)
    done = run("drafts", "broadcast", f"{one}=NEW-1", f"{two}=NEW=2", *local(simulator))
    assert done.exit_code == 0
    assert [row[:3] for row in rows(done)] == [[one, "NEW-1", "yes"], [two, "NEW=2", "yes"]]
    assert simulator.audit()["by_tracking_id"] == {"NEW-1": 1, "NEW=2": 1}


def test_an_id_that_names_nothing_is_not_done(run: Runner, simulator: Simulator) -> None:
    """Exit 1, with the service's words in the row."""
    done = run("drafts", "broadcast", "none", *local(simulator))
    assert done.exit_code == 1
    ((task_id, _, did, _, error),) = rows(done)
    assert (task_id, did) == ("none", "no")
    assert "platform.drafts.broadcast" in error


def test_a_token_that_is_refused_ends_it(run: Runner, simulator: Simulator) -> None:
    """Exit 4; the rows say what was not done."""
    done = run("drafts", "broadcast", "x", *local(simulator), GOTSURGE_BEARER_TOKEN="wrong")
    assert done.exit_code == 4
    assert [row[:3] for row in rows(done)] == [["x", "", "no"]]
    assert "Error: " in done.stderr


def test_a_plain_partner_has_no_drafts(run: Runner, simulator: Simulator) -> None:
    """The account that is named is the account that is used: 403, exit 4."""
    done = run("drafts", "create", "-", *local(simulator), "--account", "plain", stdin=json.dumps(order("A")))
    assert done.exit_code == 4
    assert "403" in done.output


def test_tracking_ids_are_changed(run: Runner, simulator: Simulator) -> None:
    """A row each, from arguments or standard input; exit 0."""
    one, two = drafted(run, simulator, 2)
    done = run("tracking", "patch", f"{one}=A", f"{two}=B", *local(simulator))
    assert (done.exit_code, done.stderr) == (0, "")
    assert [row[:3] for row in rows(done)] == [[one, "A", "yes"], [two, "B", "yes"]]
    done = run("tracking", "patch", "-", *local(simulator), "--json", stdin=f"{one}=C\n")
    assert json.loads(done.stdout)["tasks"][0]["tracking_id"] == "C"
    assert simulator.audit()["drafts_by_tracking_id"] == {"B": 1, "C": 1}


def test_a_tracking_id_that_is_refused_is_not_done(run: Runner, simulator: Simulator) -> None:
    """Exit 1."""
    simulator.order_fault(
        Fault(operation="platform.tasks.patch_tracking_ids", when="before", kind="status", status=422)
    )
    done = run("tracking", "patch", "x=A", *local(simulator))
    assert done.exit_code == 1
    assert rows(done)[0][:3] == ["x", "A", "no"]


@pytest.mark.parametrize(
    "words",
    [
        ["tracking", "patch", "x"],
        ["tracking", "patch", "=A"],
        ["tracking", "patch", "x="],
        ["tracking", "patch", "x=A", "x=B"],
        ["drafts", "broadcast", "x=A", "y"],
        ["tracking", "patch"],
        ["drafts", "broadcast"],
    ],
)
def test_pairs_that_cannot_be_are_wrong_usage(run: Runner, simulator: Simulator, words: list[str]) -> None:
    """Exit 2, and nothing is sent."""
    done = run(*words, *local(simulator))
    assert (done.exit_code, done.stdout) == (2, "")
    assert simulator.audit()["calls"] == {}


def test_no_ids_at_all_is_nothing_done(run: Runner, simulator: Simulator) -> None:
    """An empty standard input is no error, and no call."""
    done = run("drafts", "broadcast", "-", *local(simulator), "--json", stdin="")
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"done": 0, "not_done": 0, "tasks": []})


@pytest.mark.usefixtures("at_once")
def test_no_order_goes_on_with_a_draft_of_a_lost_answer_that_is_being_cancelled(run: Runner, tmp_path: Path) -> None:
    """The ledger does not know the draft. A cancel that GotSurge refused is forgotten: the draft may be used again."""

    async def work() -> None:
        async with Simulator(options=SimulatorOptions(tracking_id_unique="drafts-too")) as simulator:
            where = [*local(simulator), "--ledger", str(tmp_path / "ledger.db")]

            async def cli(*words: str, **more: Any) -> Result:
                return await asyncio.to_thread(run, *words, *where, **more)

            async def create(name: str) -> str:
                done = await cli("tasks", "create", "-", "--platform", stdin=json.dumps(order(name)))
                return lines(done)[1][1]

            for name, fault, code, then in (
                ("A", Fault(operation="tasks.cancel", when="late", kind="reset", seconds=60), 3, "refused"),
                ("B", Fault(operation="tasks.cancel", kind="status", status=403), 4, "created"),
            ):
                simulator.order_fault(Fault(operation="platform.drafts.create", when="after", kind="reset", times=1))
                simulator.order_fault(
                    Fault(operation="platform.drafts.create", kind="status", status=503, after_calls=1)
                )
                assert await create(name) == "unprocessed"
                simulator.clear_faults()
                (draft,) = [task["id"] for task in simulator.tasks() if task["tracking_id"] == name]
                simulator.order_fault(fault)
                done = await cli("tasks", "cancel", draft, "--reason", "x", "--account", "platform")
                assert done.exit_code == code, done.output
                simulator.clear_faults()
                assert await create(name) == then
            assert (await asyncio.to_thread(run, "ledger", "check", *where[-2:])).exit_code == 0
            assert {task["tracking_id"]: task["draft"] for task in simulator.tasks()} == {"A": True, "B": False}

    asyncio.run(work())


def test_a_task_is_cancelled_though_the_ledger_cannot_note_it(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """No order has it, and a driver may be on the way: the command says that nothing was noted."""
    shell.push("A")
    orders = json.dumps([order("B")])
    made = shell.run("drafts", "create", "-", *local(shell.simulator), "--json", stdin=orders)
    (task,) = [row["id"] for row in json.loads(made.stdout)["orders"]]

    async def refuse(*_: object, **__: object) -> Ledger:
        raise LedgerOlder("is an older copy")

    place = local(shell.simulator)
    monkeypatch.setattr(Ledger, "open", refuse)
    done = shell.run("tasks", "cancel", task, "--reason", "x", "--account", "platform", *place, *shell.ledger)
    assert (done.exit_code, "cannot note this cancel: is an older copy" in done.stderr) == (0, True), done.output
    assert shell.simulator.audit()["calls"]["tasks.cancel"] == 1
