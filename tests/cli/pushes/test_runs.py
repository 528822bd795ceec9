"""`gotsurge runs`, `status` and `results`: the ledger, looked at."""

import asyncio
import csv
import json
import os
from pathlib import Path

import pytest
from click.testing import Result

from gotsurge_async.bulk import Ledger, OrderState
from gotsurge_async.ledger import OrderOutcome
from gotsurge_async.simulator import Fault
from tests.cli.service.test_tasks import order as good_order
from tests.support.commands import Runner, Shell


def test_runs_are_listed_newest_first(shell: Shell) -> None:
    """Each run is a line with its counts; --limit and --env choose, and --json is a list."""
    _, first = shell.push("A", "B")
    second = shell.push_lost("C")
    done = shell.on_ledger("runs")
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert lines[0][:3] == ["RUN", "STATE", "ENVIRONMENT"]
    assert [line[0] for line in lines[1:]] == [second, first["run"]]
    assert lines[2][1:9] == ["done", "local", "direct", "2", "2", "0", "0", "0"]
    documents = shell.document(shell.on_ledger("runs", "--json"))
    assert [(each["run"], each["created"], each["in_doubt"]) for each in documents] == [
        (second, 0, 1),
        (first["run"], 2, 0),
    ]
    assert len(shell.document(shell.on_ledger("runs", "--json", "--limit", "1"))) == 1
    assert shell.document(shell.on_ledger("runs", "--json", "--env", "sandbox")) == []


def test_without_a_ledger_nothing_is_made(run: Runner, tmp_path: Path) -> None:
    """A ledger that does not exist is reported with what to type instead, and is not made."""
    done = run("runs", "--ledger", tmp_path / "none.db")
    assert done.exit_code == 2
    assert "--ledger" in done.stderr
    assert not (tmp_path / "none.db").exists()


def test_the_ledger_of_real_pushes_is_found_by_the_environment(
    run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--env sandbox means the user's own ledger, --env simulator the one beside the results."""
    monkeypatch.chdir(tmp_path)  # the checkout may hold the results of somebody's first push
    assert str(tmp_path / "data") in run("runs", "--env", "sandbox").stderr
    assert "gotsurge-results" in run("runs", "--env", "simulator").stderr
    assert "elsewhere.db" in run("runs", GOTSURGE_LEDGER=str(tmp_path / "elsewhere.db")).stderr


def test_status_tells_counts_and_what_to_do(shell: Shell) -> None:
    """Orders in doubt, refused and unprocessed are counted, each with the command that goes on."""
    run_id = shell.push_lost("A", "B")
    done = shell.on_ledger("status", run_id)
    assert done.exit_code == 0
    assert "in doubt\t2" in done.stdout
    where = f"--env local --api-base {shell.simulator.api_base} --ledger {shell.folder / 'ledger.db'}"
    list_ = f"2 in doubt. If the account is a platform partner's, run: gotsurge reconcile {run_id} {where}\n"
    assert list_ in done.stdout
    receiver = f"2 in doubt. Or, to settle them as events arrive, run: gotsurge receive {where}\n"
    assert receiver in done.stdout
    shell.simulator.order_fault(Fault(operation="tasks.create", when="before", kind="status", status=422, times=1))
    _, refused = shell.push("C", "D", words=("--max-errors", "0", "--batch-size", "1", "--concurrency", "1"))
    text = shell.on_ledger("status", refused["run"]).stdout
    assert f"1 refused. To send it again, run: gotsurge retry {refused['run']} {where}\n" in text
    assert f"1 unprocessed. To send it, run: gotsurge resume {refused['run']} {where} --out " in text
    document = shell.document(shell.on_ledger("status", refused["run"], "--json"))
    out = f" --out {shell.folder / 'out'}"
    assert document["next"] == [
        f"gotsurge resume {refused['run']} {where}{out}",
        f"gotsurge retry {refused['run']} {where}",
    ]
    assert document["states"] == {"pending": 1, "refused": 1}
    assert (document["held"], document["holder"], document["state"]) == (False, None, "stopped")


def test_a_file_that_changed_is_distinguished_from_the_runs_own(shell: Shell) -> None:
    """--file compares by hash: exit 0 for the same bytes, 1 for others, 2 where there is nothing to compare."""
    _, summary = shell.push("A")
    file = shell.folder / "orders.csv"
    same = shell.on_ledger("status", summary["run"], "--file", file)
    assert (same.exit_code, "is the one" in same.stdout) == (0, True)
    file.write_text(file.read_text() + "\n")
    other = shell.on_ledger("status", summary["run"], "--file", file, "--json")
    assert (other.exit_code, shell.document(other)["same_file"]) == (1, False)
    changed = f"is NOT the one that run {summary['run']} was made from, or has changed since\n"
    assert shell.on_ledger("status", summary["run"], "--file", file).stdout.endswith(changed)
    assert shell.on_ledger("status", summary["run"], "--file", shell.folder / "none.csv").exit_code == 2


def test_a_run_that_is_held_is_reported_as_being_sent(shell: Shell) -> None:
    """Who holds a run is named; a run whose process ended in the middle is broken off."""
    _, summary = shell.push("A")

    async def hold() -> Result:
        async with await Ledger.open(shell.folder / "ledger.db") as ledger, await ledger.hold(summary["run"]) as run:
            await run.start()
            return await asyncio.to_thread(shell.on_ledger, "status", summary["run"])

    done = asyncio.run(hold())
    assert "state\tbeing sent" in done.stdout
    assert f"held by\tprocess {os.getpid()}" in done.stdout
    assert "broken off" in shell.on_ledger("runs").stdout


def test_results_are_written_again(shell: Shell) -> None:
    """The files are those of the push, as things stand now, and the summary is printed."""
    run_id = shell.push_lost("A", "B")
    assert (
        shell.on_ledger("resolve", run_id, "--key", "A", "--created", "task-a", "--by", "Mei", "--no-check").exit_code
        == 0
    )
    done = shell.on_ledger("results", run_id, "--out", shell.folder / "again", "--json")
    summary = shell.document(done)
    assert (done.exit_code, summary["created"], summary["in_doubt"]) == (0, 1, 1)
    with (shell.folder / "again" / f"{run_id}-created.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["tracking_id"], row["gs_task_id"]) == ("A", "task-a")
    text = shell.on_ledger("results", run_id, "--out", shell.folder / "again").stdout
    assert text.splitlines()[-1] == "1 created, 1 in doubt"
    assert " in 0.0 s" not in text


def test_one_server_under_two_names_is_warned_of(shell: Shell) -> None:
    """A key is unique within an environment: the same server as another one would get the order a second time."""
    first, _ = shell.push("A")
    assert "warning" not in first.stderr
    again, _ = shell.push("A")
    assert "warning" not in again.stderr
    file, base = shell.folder / "orders.csv", shell.simulator.api_base.replace("127.0.0.1", "localhost")
    place = ["--env", "sandbox", "--api-base", base, *shell.ledger, "--out", shell.folder / "out"]
    other = shell.run("push", file, *place, GOTSURGE_BEARER_TOKEN="token")
    assert "under the environment" in other.stderr
    assert "unless you use --env local" in other.stderr


@pytest.mark.parametrize("held", [True, False])
def test_in_flight_in_doubt_and_cancelled_are_three_words(platform_shell: Shell, held: bool) -> None:
    """What a living process is sending is in flight; of one that is gone it is in doubt, or was never sent."""
    shell = platform_shell
    shell.push("A", "B", words=("--max-spend", "1"))
    _, summary = shell.push("C", "D", "E", "F", words=("--max-spend", "100", "--batch-size", "1", "--concurrency", "1"))
    assert (summary["created"], summary["unprocessed"]) == (2, 2)
    run_id = summary["run"]

    async def look() -> dict[str, int]:
        async with await Ledger.open(shell.folder / "ledger.db") as ledger:
            async with await ledger.hold(run_id) as run:
                (created, *_) = [row.id async for row in run.rows((OrderState.CREATED,))]
                await run.record([OrderOutcome(created, OrderState.CANCELLED)])
                one, two = [row.id async for row in run.rows((OrderState.PENDING,))]
                await run.claim([one, two])
                await run.record([OrderOutcome(one, OrderState.DRAFTED, task_id="draft-1")])
                await run.claim_broadcast([one])
                if held:
                    return await asyncio.to_thread(words)
            return await asyncio.to_thread(words)

    def words() -> dict[str, int]:
        document = shell.document(shell.on_ledger("status", run_id, "--json"))
        return {word: document[word] for word in ("created", "cancelled", "in_flight", "in_doubt", "unprocessed")}

    flight = {"in_flight": 2, "in_doubt": 0, "unprocessed": 0}
    doubt = {"in_flight": 0, "in_doubt": 1, "unprocessed": 1}
    assert asyncio.run(look()) == {"created": 1, "cancelled": 1, **(flight if held else doubt)}


def test_cancelled_orders_have_a_file_of_their_own(shell: Shell) -> None:
    """It is there when it has rows, can be pushed again, and is gone when it has none any more."""
    _, summary = shell.push("A", "B")
    assert "cancelled" not in summary["files"]
    assert shell.call("undo", summary["run"]).exit_code == 0
    done = shell.on_ledger("results", summary["run"], "--out", shell.folder / "out", "--json")
    again = shell.document(done)
    assert (again["cancelled"], again["created"], again["next"]) == (2, 0, [])
    assert {each["verdict"]: each["count"] for each in again["reasons"]} == {"cancelled": 2}
    path = Path(again["files"]["cancelled"])
    with path.open(newline="") as file:
        assert {row["gs_status"] for row in csv.DictReader(file)} == {"cancelled"}
    text = shell.on_ledger("status", summary["run"]).stdout
    assert "cancelled\t2" in text
    pushed = shell.run("push", path, *shell.place, *shell.ledger, "--out", shell.folder / "out", "--json", "--quiet")
    assert (pushed.exit_code, shell.document(pushed)["created"]) == (0, 2)


def test_doubts_of_an_earlier_run_are_settled_there(shell: Shell) -> None:
    """The same file pushed again names the run that has them: what settles them stands in its status."""
    run_id = shell.push_lost("A")
    done, summary = shell.push("A")
    assert (done.exit_code, summary["in_doubt"]) == (3, 1)
    assert summary["next"] == [f"gotsurge status {run_id} --env local --ledger {shell.folder / 'ledger.db'}"]


def test_status_tells_how_large_the_ledger_is(shell: Shell) -> None:
    """In bytes, and in bytes for each order of all its runs."""
    shell.push("A", "B")
    _, summary = shell.push("C")
    status = shell.document(shell.on_ledger("status", summary["run"], "--json"))
    size = (shell.folder / "ledger.db").stat().st_size
    assert (status["ledger_bytes"], status["ledger_orders"], status["bytes_per_order"]) == (size, 3, size / 3)
    text = shell.on_ledger("status", summary["run"]).stdout
    assert f"ledger\t{size / 1e6:.1f} MB, {size / 3:,.0f} bytes for each of 3 orders\n" in text


def test_what_waits_for_a_desk_is_reported(shell: Shell) -> None:
    """On stderr: that nobody sends it would otherwise be seen by nobody."""
    shell.push("A")

    async def submit() -> None:
        async with await Ledger.open(shell.folder / "ledger.db") as ledger:
            for key in ("B", "C"):
                await ledger.submitted("local").add("", key, b"{}")

    assert "for a desk" not in shell.on_ledger("runs").stderr
    asyncio.run(submit())
    assert shell.on_ledger("runs").stderr == "local: 2 submitted orders have not been sent, and wait for a desk\n"
    assert "for a desk" not in shell.on_ledger("runs", "--env", "sandbox").stderr


def test_an_order_of_a_desk_is_shown_and_settled_like_a_file_s(shell: Shell) -> None:
    """Its answer was lost: runs, status and results report the doubt, resolve ends it, and orders shows its task."""
    shell.simulator.order_fault(Fault(operation="tasks.create", when="after", kind="reset"))
    create = ["tasks", "create", "-", *shell.place, *shell.ledger, "--json"]
    order = json.dumps(good_order("A"))
    assert shell.run(*create, stdin=order, GOTSURGE_SETTLE="0").exit_code == 3
    shell.simulator.clear_faults()
    (info,) = shell.document(shell.on_ledger("runs", "--json"))
    assert (info["source"], info["in_doubt"]) == ("desk", 1)
    status = shell.document(shell.on_ledger("status", info["run"], "--json"))
    assert (status["states"], status["held"]) == ({"in_doubt": 1}, False)
    files = shell.document(shell.on_ledger("results", info["run"], "--out", shell.folder / "out", "--json"))["files"]
    (line,) = Path(files["in_doubt"]).read_text().splitlines()
    assert json.loads(line)["tracking_id"] == "A"
    (task,) = shell.simulator.tasks()
    said = ("--key", "A", "--created", task["id"], "--by", "Mei", "--no-check")
    assert shell.on_ledger("resolve", info["run"], *said).exit_code == 0
    shell.call("report", "--read-rate", "50")  # reads its task
    (shown,) = shell.document(shell.on_ledger("orders", "--run", info["run"], "--json"))
    assert (shown["tracking_id"], shown["task_id"]) == ("A", task["id"])
    again = shell.run(*create, stdin=order)
    assert (again.exit_code, shell.document(again)["orders"][0]["id"]) == (0, task["id"])
    assert shell.simulator.audit()["by_tracking_id"] == {"A": 1}
