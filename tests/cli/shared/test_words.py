"""What commands say to people and programs: whole documents, words that people know, and a way on."""

import re
import shlex
from pathlib import Path

import pytest

from gotsurge_async.after.results import _common
from gotsurge_async.simulator import Fault
from tests.support.commands import Shell, write_orders

ID = "3f0c9a52-0000-4000-8000-000000000001"


def test_every_document_has_its_exit_code(shell: Shell) -> None:
    """With --json the document says the code that the process ends with, also where all is well."""
    run_id = shell.push_lost("A", "B")
    file = shell.folder / "orders.csv"
    ended = [
        shell.call("push", file, "--dry-run", "--json"),
        shell.call("plan", file, "--json"),
        shell.call("push", file, "--json", "--quiet", "--out", shell.folder / "out"),
        shell.call("undo", run_id, "--json"),
        shell.on_ledger("status", run_id, "--json"),
        shell.run("ledger", "check", *shell.ledger, "--json"),
        shell.on_ledger("resolve", run_id, "--key", "A", "--not-created", "--json"),
        shell.on_ledger("resolve", run_id, "--key", "B", "--not-created", "--json"),
        shell.call("reconcile", "--json"),
    ]
    assert [done.exit_code for done in ended] == [3, 3, 3, 3, 0, 0, 0, 0, 0]
    assert [shell.document(done)["exit"] for done in ended] == [done.exit_code for done in ended]
    assert shell.document(ended[-1]) == {"runs": [], "held": [], "in_doubt_elsewhere": 0, "next": [], "exit": 0}


def test_an_undo_with_doubts_says_how_to_go_on(shell: Shell) -> None:
    """Exit 3 names the file to fill in, and the command that takes it."""
    run_id = shell.push_lost("A")
    done = shell.call("undo", run_id)
    assert done.exit_code == 3
    assert f"gotsurge resolve {run_id} --env local" in done.stderr
    assert f"--file {shell.folder / 'out' / f'{run_id}-in-doubt.csv'}" in done.stderr


@pytest.mark.parametrize("file", [False, True], ids=["by key", "by file"])
def test_a_state_is_reported_in_words(shell: Shell, file: bool) -> None:
    """A word about an order that was refused says so, and not the name of a state."""
    shell.simulator.order_fault(Fault(operation="tasks.create", when="before", kind="status", status=422))
    run_id = shell.push("A")[1]["run"]
    shell.simulator.clear_faults()
    words: list[str | Path] = ["--key", "A", "--created", ID]
    if file:
        path = shell.folder / "out" / f"{run_id}-refused.csv"
        path.write_text(path.read_text().replace(",,refused,", f",{ID},in_doubt,"))
        words = ["--file", path]
    done = shell.on_ledger("resolve", run_id, *words, "--no-check")
    assert (done.exit_code, "is refused, not in doubt" in done.stderr) == (2, True), done.output


def test_an_order_that_looks_like_one_in_doubt_is_reported_in_words(shell: Shell) -> None:
    """The warning says `in doubt`."""
    shell.push_lost("A")
    file = write_orders(shell.folder / "orders.csv", ["B"])
    file.write_text(file.read_text().replace("B Loyang", "A Loyang"))
    done = shell.call("push", file, "--out", shell.folder / "out")
    assert "(in doubt, line " in done.stderr, done.output


def test_a_reason_has_no_hole() -> None:
    """Where an id was cut out something stands for it, and what was said of one call is gone."""
    assert _common(f"Task {ID} is broadcasting (request id r-1)") == "Task … is broadcasting"
    assert _common("tasks.create: HTTP 503 (4 attempts): tasks[3]: no") == "tasks.create: HTTP 503: tasks: no"


@pytest.mark.usefixtures("at_once")
def test_unused_drafts_are_reported_again_with_the_results(platform_shell: Shell) -> None:
    """`results` says how many there are and what cancels one, and that works."""
    shell = platform_shell
    shell.simulator.order_fault(Fault(operation="platform.drafts.create", when="after", kind="reset", times=1))
    _, summary = shell.push("A", "B")
    shell.simulator.clear_faults()
    done = shell.on_ledger("results", summary["run"], "--out", shell.folder / "again")
    assert "2 unused drafts were left" in done.stderr
    command = done.stderr.partition("to cancel one, run: ")[2].splitlines()[0]
    for draft in summary["unused_drafts"]:
        cancelled = shell.run(*shlex.split(command.replace("ID", draft, 1))[1:])
        assert cancelled.exit_code == 0, cancelled.output


def test_a_sign_in_that_is_refused_at_the_start_has_a_way_on(shell: Shell) -> None:
    """Exit 4 says what to do: for a simulator, and for GotSurge."""
    shell.simulator.order_fault(Fault(operation="auth.exchange", when="before", kind="status", status=401))
    file = write_orders(shell.folder / "orders.csv", ["A"])
    done = shell.call("push", file, "--out", shell.folder / "out")
    start = f"restart the simulator with `gotsurge simulator --port {shell.simulator.origin.rpartition(':')[2]}`"
    assert (done.exit_code, start in done.stderr) == (4, True), done.output
    assert "auth login" not in done.stderr
    shell.simulator.clear_faults()
    place = ["--env", "sandbox", "--api-base", shell.simulator.api_base, *shell.ledger, "--out", shell.folder / "out"]
    done = shell.run("push", file, *place, GOTSURGE_BEARER_TOKEN="no-token")
    login = f"run `gotsurge auth login --env sandbox --api-base {shell.simulator.api_base}`"
    assert (done.exit_code, login in done.stderr) == (4, True), done.output


@pytest.mark.parametrize("kind", ["half", "reset"])
def test_a_simulator_that_does_not_answer_its_sign_in_is_not_reached(shell: Shell, kind: str) -> None:
    """It ends as any service that cannot be reached, and nothing was refused."""
    shell.simulator.order_fault(Fault(operation="auth.exchange", when="after", kind=kind))
    file = write_orders(shell.folder / "orders.csv", ["A"])
    done = shell.call("push", file, "--out", shell.folder / "out")
    assert (done.exit_code, "does not answer the sign-in" in done.stderr) == (8, True), done.output


@pytest.mark.parametrize("planned", [False, True], ids=["planned without", "planned with"])
def test_a_plan_says_which_file_is_not_its_own(shell: Shell, planned: bool) -> None:
    """An items file that is missing, or one too many, is reported as such, and not as another file of orders."""
    examples = Path(__file__).parents[3] / "examples"
    items = ["--items", examples / "items.csv"]
    plan = shell.folder / "plan.json"
    orders = examples / "orders.csv"
    assert shell.run("plan", orders, *(items if planned else []), "-o", plan, *shell.ledger).exit_code == 0
    done = shell.run("push", orders, "--dry-run", "--plan", plan, *([] if planned else items), *shell.ledger)
    said = "includes an items file: pass it with --items" if planned else "has no items file: leave out --items"
    assert (done.exit_code, said in done.stderr, "the items file of" in done.stderr) == (2, True, False)


def test_one_of_each_is_in_the_singular(shell: Shell, tmp_path: Path) -> None:
    """Nothing that commands print of one order, run, row or fault is in the plural."""
    file, out = write_orders(tmp_path / "orders.csv", ["A", "B"]), tmp_path / "out"
    file.write_text(file.read_text().replace("48.50", "0.50", 1))
    leave = ("--leave-faulty", "--out", out, "--faults")
    ended = [shell.call("push", file), shell.call("push", file, "--dry-run", "--leave-faulty")]
    ended += [shell.call("plan", file, "--leave-faulty"), shell.call("push", file, *leave, tmp_path / "faulty.csv")]
    file.write_text(file.read_text().replace("Marina", "Mariner"))
    ended += [shell.call("push", file, *leave, tmp_path / "more.csv"), shell.call("plan", file, "--leave-faulty")]
    run_id = shell.document(shell.on_ledger("runs", "--json"))[-1]["run"]
    ended += [
        shell.on_ledger("runs"),
        shell.on_ledger("status", run_id),
        shell.on_ledger("results", run_id, "--out", out),
    ]
    ended += [shell.on_ledger("ledger", "export", tmp_path / "all.jsonl"), shell.call("undo", run_id, "--key", "B")]
    ended += [shell.on_ledger("ledger", "backup", tmp_path / "copy.db"), shell.on_ledger("ledger", "check")]
    text = "\n".join(done.output for done in ended)
    assert "1 row with faults NOT sent" in text
    assert not re.findall(r"^.*\b1 (?:more |other )?[a-z]+s\b(?<!\b1 is)(?<!\b1 was).*$", text, re.MULTILINE)
