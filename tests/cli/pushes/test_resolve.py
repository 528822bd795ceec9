"""`gotsurge resolve`: people's words about orders in doubt, one or a file of them."""

import asyncio
import csv
import getpass
import json
from pathlib import Path

import attrs
import pytest

from gotsurge_async.bulk import Ledger
from gotsurge_async.simulator import Fault
from tests.cli.service.test_tasks import order
from tests.support.commands import Shell
from tests.support.running import running_simulator


def tasks_of(shell: Shell) -> dict[str, str]:
    """The task of each tracking id that the simulator has."""
    return {each["tracking_id"]: each["id"] for each in shell.simulator.tasks() if not each["draft"]}


def fill(shell: Shell, run_id: str, **cells: tuple[str, str]) -> Path:
    """Fill in the in-doubt file of a run: of each key the task and the status."""
    path = shell.folder / "out" / f"{run_id}-in-doubt.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if row["tracking_id"] in cells:
            row["gs_task_id"], row["gs_status"] = cells[row["tracking_id"]]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


def states(shell: Shell, run_id: str) -> dict[str, int]:
    """The states of the orders of a run."""
    found: dict[str, int] = shell.document(shell.on_ledger("status", run_id, "--json"))["states"]
    return found


@pytest.mark.parametrize("by", ["Mei\nNg", "Mei\u202e", " ", ""])
def test_a_name_that_is_not_one_line_is_refused(shell: Shell, by: str) -> None:
    """It would look like another decision in what is printed, and nothing is recorded."""
    run_id = shell.push_lost("A", when="before")
    words = ("--key", "A", "--not-created", "--no-check")
    done = shell.on_ledger("resolve", run_id, *words, "--by", by)
    assert (done.exit_code, "is not a name" in done.stderr, states(shell, run_id)["in_doubt"]) == (2, True, 1)
    done = shell.on_ledger("resolve", run_id, *words, "--by", " Mei\xa0Ng\u3000 ")
    assert done.stdout.endswith("says Mei\xa0Ng\n")


def test_a_persons_word_settles_an_order(shell: Shell) -> None:
    """The word is recorded with name and time, is shown by status, and a key that was not created can be pushed."""
    run_id = shell.push_lost("A", "B", when="before")
    created = shell.on_ledger(
        "resolve", run_id, "--key", "A", "--created", "task\n\u202ea", "--by", "Mei", "--no-check"
    )
    assert created.stdout == f"A of run {run_id}: created as task a, says Mei\n"
    done = shell.on_ledger("resolve", run_id, "--key", "B", "--not-created", "--json")
    said = {"key": "B", "created": False, "cancelled": False, "task_id": None, "by": getpass.getuser()}
    assert shell.document(done) == {"run": run_id, **said, "left_in_doubt": 0, "next": [], "exit": 0}
    text = shell.on_ledger("status", run_id).stdout
    assert "A: created as task a, said Mei at " in text
    decisions = shell.document(shell.on_ledger("status", run_id, "--json"))["decisions"]
    assert [(each["key"], each["by"]) for each in decisions] == [("A", "Mei"), ("B", getpass.getuser())]
    _, summary = shell.push("A", "B")
    assert (summary["created"], summary["already_pushed"]) == (1, 1)
    assert shell.simulator.audit()["by_tracking_id"] == {"B": 1}


@pytest.mark.parametrize(
    "words",
    [
        ("--key", "A"),
        ("--not-created",),
        ("--key", "A", "--created", "x", "--not-created"),
        ("--key", "A", "--created", " "),
        ("--key", "A", "--key", "B", "--created", "x"),
        ("--key", "A", "--not-created", "--file", "x.csv"),
    ],
)
def test_a_word_must_be_one(shell: Shell, words: tuple[str, ...]) -> None:
    """Neither word, both, a task without a name, or fewer tasks than orders is wrong usage."""
    assert shell.on_ledger("resolve", "R", *words).exit_code == 2


def test_what_a_crash_left_can_be_resolved(shell: Shell) -> None:
    """An order that was being sent when its process ended is in doubt to whoever looks."""
    _, summary = shell.push("A", words=("--max-spend", "1"))

    async def crash() -> None:
        async with await Ledger.open(shell.folder / "ledger.db") as ledger, await ledger.hold(summary["run"]) as run:
            run.settle_after(0)
            await run.claim([row.id async for row in run.rows()])

    asyncio.run(crash())
    assert shell.on_ledger("resolve", summary["run"], "--key", "A", "--not-created").exit_code == 0


def test_it_is_too_early_to_say_that_an_order_was_not_created(shell: Shell) -> None:
    """While the create may act the decision is refused, with exit 2 and the time from when on it is taken."""
    run_id = shell.push_lost("A", when="before", settle=600)
    done = shell.on_ledger("resolve", run_id, "--key", "A", "--not-created")
    assert done.exit_code == 2
    assert "was not answered, and may still take effect until 20" in done.stderr
    assert states(shell, run_id) == {"in_doubt": 1}


def test_several_keys_are_resolved_at_once(shell: Shell) -> None:
    """Each --key with its --created, or all of them not created."""
    run_id = shell.push_lost("A", "B", "C", "D")
    tasks = tasks_of(shell)
    words = ("--key", "A", "--created", tasks["A"], "--key", "B", "--created", tasks["B"])
    done = shell.on_ledger("resolve", run_id, *words)
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "2 created, 2 still in doubt")
    assert "2 in doubt. Or, to settle them as events arrive, run: gotsurge receive" in done.stderr
    done = shell.on_ledger("resolve", run_id, "--key", "C", "--key", "D", "--not-created", "--json")
    document = shell.document(done)
    assert (document["not_created"], document["left_in_doubt"]) == ([{"key": "C"}, {"key": "D"}], 0)
    assert states(shell, run_id) == {"created": 2, "refused": 2}


def test_a_named_task_that_was_cancelled_frees_its_key(shell: Shell) -> None:
    """The words and the document say so, and the order can be pushed again."""
    run_id = shell.push_lost("A", "B")
    tasks = tasks_of(shell)
    for key in tasks:
        shell.simulator.move(tasks[key], "cancelled")
    done = shell.on_ledger("resolve", run_id, "--key", "A", "--created", tasks["A"], "--by", "Mei")
    said = f"A of run {run_id}: created as {tasks['A']}, and cancelled at GotSurge, says Mei\n"
    assert (done.exit_code, done.stdout) == (0, said)
    document = shell.document(shell.on_ledger("resolve", run_id, "--key", "B", "--created", tasks["B"], "--json"))
    assert (document["created"], document["cancelled"], document["task_id"]) == (False, True, tasks["B"])
    assert states(shell, run_id) == {"cancelled": 2}
    _, summary = shell.push("A", "B")
    assert summary["created"] == 2


def test_a_filled_in_file_is_resolved(shell: Shell) -> None:
    """A task in gs_task_id, not_created in gs_status; what was left alone stays in doubt, and is counted."""
    run_id = shell.push_lost("A", "B", "C")
    task = tasks_of(shell)["A"]
    path = fill(shell, run_id, A=(task, "in_doubt"), B=("", "Not created"))
    done = shell.on_ledger("resolve", run_id, "--file", path, "--by", "Mei", "--json")
    document = shell.document(done)
    assert done.exit_code == 0
    assert document | {"next": []} == {
        "run": run_id,
        "by": "Mei",
        "created": [{"key": "A", "task_id": task}],
        "cancelled": [],
        "not_created": [{"key": "B"}],
        "said_before": 0,
        "untouched": 1,
        "left_in_doubt": 1,
        "next": [],
        "exit": 0,
    }
    # The same file with one more row filled in: what was said before is no contradiction.
    path = fill(shell, run_id, C=("", "not_created"))
    document = shell.document(shell.on_ledger("resolve", run_id, "--file", path, "--json"))
    assert (document["said_before"], document["not_created"], document["left_in_doubt"]) == (2, [{"key": "C"}], 0)
    assert states(shell, run_id) == {"created": 1, "refused": 2}


def test_a_file_with_faults_changes_nothing(shell: Shell) -> None:
    """Every fault has its line, none of the words is recorded, and JSON lists them."""
    run_id = shell.push_lost("A", "B", "C", "D", "E", "F")
    tasks = tasks_of(shell)
    path = fill(
        shell, run_id, A=("", "created"), B=(tasks["B"], "not_created"), C=("", "perhaps"), D=(tasks["D"], "created")
    )
    done = shell.on_ledger("resolve", run_id, "--file", path, "--json")
    document = shell.document(done)
    assert (done.exit_code, document["exit"], document["count"], document["run"]) == (2, 2, 3, run_id)
    assert [fault["line"] for fault in document["faults"]] == [2, 3, 4]
    assert "3 faults: nothing was recorded" in done.stderr
    assert states(shell, run_id) == {"in_doubt": 6}
    path = fill(
        shell,
        run_id,
        A=("no-such-task", "created"),
        B=(tasks["C"], "created"),
        C=(tasks["D"], "created"),
        D=(tasks["D"], "created"),
        E=("", "not_created"),
    )
    document = shell.document(shell.on_ledger("resolve", run_id, "--file", path, "--json"))
    (twice,) = document["faults"]
    assert (twice["line"], twice["rule"]) == (5, f"task {tasks['D']} is also given for the order C")
    path = fill(shell, run_id, C=("", "in_doubt"))
    text = shell.on_ledger("resolve", run_id, "--file", path).stderr
    assert "in-doubt.csv:2: A: GotSurge has no task no-such-task" in text
    assert f"in-doubt.csv:3: B: task {tasks['C']} belongs to another order: its tracking_id is C" in text
    assert states(shell, run_id) == {"in_doubt": 6}


def test_a_task_of_another_order_is_refused(shell: Shell) -> None:
    """The ledger knows it, also where nothing is read."""
    shell.push("X")
    run_id = shell.push_lost("A")
    done = shell.on_ledger("resolve", run_id, "--key", "A", "--created", tasks_of(shell)["X"], "--no-check")
    assert (done.exit_code, "is recorded for another order" in done.stderr) == (2, True)
    again = shell.push("A")[1]
    assert again["in_doubt"] == 1
    other = shell.on_ledger("resolve", again["run"], "--key", "A", "--not-created")
    assert f"is in doubt in run {run_id}, not in {again['run']}: run gotsurge resolve {run_id}" in other.stderr


def test_a_file_whose_doubts_belong_to_another_run_has_one_cause(shell: Shell) -> None:
    """It names the run that has them, once, and the same file is taken by that run."""
    keys = [f"K{number:02}" for number in range(26)]
    lost = shell.push_lost(*keys)
    _, again = shell.push(*keys)
    _, other = shell.push("X")
    cells = dict.fromkeys(keys, ("", "not_created"))
    for run_id, path in (
        (again["run"], fill(shell, again["run"], **cells)),
        (other["run"], fill(shell, lost, **cells)),  # orders that this run does not have at all
    ):
        refused = shell.on_ledger("resolve", run_id, "--file", path)
        cause = f"{path}: 26 orders are in doubt in run {lost}, not in {run_id}: run gotsurge resolve {lost}"
        assert (refused.exit_code, refused.stderr.splitlines()[0]) == (2, cause)
        assert refused.stderr.splitlines()[1].startswith("1 fault: nothing was recorded")
    assert shell.on_ledger("resolve", lost, "--file", path).exit_code == 0
    assert states(shell, lost) == {"refused": 26}


def test_a_file_with_doubts_of_another_run_says_what_to_do_with_their_rows(shell: Shell) -> None:
    """The hint and the refusal say so; without decisions in those rows the run takes its own."""
    lost = shell.push_lost("A", "B")
    run_id = shell.push_lost("A", "B", "C")
    assert "in-doubt.csv, in its row only, run: gotsurge" in shell.on_ledger("status", run_id).stdout
    path = fill(shell, run_id, **dict.fromkeys("ABC", ("", "not_created")))
    refused = shell.on_ledger("resolve", run_id, "--file", path)
    assert refused.stderr.splitlines()[0] == (
        f"{path}: 2 orders are in doubt in run {lost}, not in {run_id}: run gotsurge resolve {lost}, "
        "and leave their rows in this file unchanged"
    )
    path = fill(shell, run_id, A=("", "in_doubt"), B=("", "in_doubt"))
    done = shell.on_ledger("resolve", run_id, "--file", path)
    assert (
        done.exit_code,
        f"2 in doubt in another run. For the next steps, run: gotsurge status {lost}" in done.stderr,
    ) == (0, True)


def test_a_file_of_orders_that_another_run_created_has_one_cause(shell: Shell) -> None:
    """They are not in doubt any more; orders that no run has are reported one by one."""
    lost = shell.push_lost("A", "B", "C")
    _, again = shell.push("A", "B", "C")
    words = [word for key, task in tasks_of(shell).items() for word in ("--key", key, "--created", task)]
    assert shell.on_ledger("resolve", lost, *words).exit_code == 0
    path = fill(shell, lost, A=("", "not_created"), B=("", "not_created"), C=("", "not_created"))
    path.write_text(path.read_text(encoding="utf-8").replace("C,", "D,", 1), encoding="utf-8")
    text = shell.on_ledger("resolve", again["run"], "--file", path).stderr.splitlines()
    assert text[0] == f"{path}: 2 orders are already created in run {lost}, so not in doubt"
    assert text[1].endswith(f": D: run {again['run']} has no such order")


def test_a_draft_is_not_created(platform_shell: Shell) -> None:
    """A draft calls no driver."""
    shell = platform_shell
    run_id = shell.push_lost("A", when="before")
    made = shell.run("drafts", "create", "-", *shell.place, "--json", stdin=json.dumps(order("A")))
    draft = shell.document(made)["orders"][0]["id"]
    done = shell.on_ledger("resolve", run_id, "--key", "A", "--created", draft)
    assert (done.exit_code, "is a draft" in done.stderr) == (2, True), done.output


def test_a_task_that_cannot_be_read_needs_no_check(shell: Shell) -> None:
    """Nobody answers: exit 8, nothing is recorded, and the sentence says how to do without."""
    with running_simulator() as gone:
        shell = attrs.evolve(shell, simulator=gone)
        run_id = shell.push_lost("A")
        task = tasks_of(shell)["A"]
    words = (run_id, "--key", "A", "--created", task)
    done = shell.on_ledger("resolve", *words, "--json")
    document = shell.document(done)
    assert (done.exit_code, "--no-check" in document["error"], document["run"]) == (8, True, run_id)
    assert states(shell, run_id) == {"in_doubt": 1}
    assert shell.on_ledger("resolve", *words, "--no-check").exit_code == 0


def test_a_file_from_a_spreadsheet_and_one_that_is_none(shell: Shell) -> None:
    """A byte order mark and another delimiter are read; a file without the columns of a push is refused."""
    run_id = shell.push_lost("A", "B")
    path = fill(shell, run_id, A=("", "not_created"))
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=";").writerows(rows)
    assert shell.on_ledger("resolve", run_id, "--file", path).exit_code == 0
    assert states(shell, run_id) == {"in_doubt": 1, "refused": 1}
    done = shell.on_ledger("resolve", run_id, "--file", shell.folder / "orders.csv")
    assert (done.exit_code, "gs_task_id" in done.stderr) == (2, True)
    assert shell.on_ledger("resolve", run_id, "--file", shell.folder / "none.csv").exit_code == 2


def test_json_lines_can_be_filled_in_too(shell: Shell) -> None:
    """A push of JSON Lines has JSON Lines as its in-doubt file."""
    (shell.folder / "orders.jsonl").write_text(json.dumps(order("A")) + "\n")
    shell.simulator.order_fault(Fault(operation="tasks.create", when="after", kind="reset"))
    pushed = shell.call("push", shell.folder / "orders.jsonl", "--out", shell.folder / "out", "--json", "--quiet")
    shell.simulator.clear_faults()
    summary = shell.document(pushed)
    path = Path(summary["files"]["in_doubt"])
    row = json.loads(path.read_text())
    path.write_text(json.dumps({**row, "gs_task_id": tasks_of(shell)["A"]}) + "\n")
    done = shell.on_ledger("resolve", summary["run"], "--file", path)
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "1 created"), done.output
