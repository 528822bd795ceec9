"""`gotsurge reconcile`, over real HTTP."""

from gotsurge_async.simulator import Fault
from tests.support.commands import Shell, write_orders

AT_ONCE = ("--rescan-after", "0")


def test_what_was_created_is_found(platform_shell: Shell) -> None:
    """Without a run named, the doubts of all runs of the environment are settled: exit 0, and the results say so."""
    shell = platform_shell
    first, second = shell.push_lost("A", "B"), shell.push_lost("C")
    done = shell.call("reconcile", *AT_ONCE, "--json")
    assert done.exit_code == 0
    runs = {each["run"]: each for each in shell.document(done)["runs"]}
    assert {run: len(each["created"]) for run, each in runs.items()} == {first: 2, second: 1}
    assert runs[first]["created"][0].keys() == {"key", "task_id", "status"}
    summary = shell.document(shell.on_ledger("results", first, "--out", shell.folder / "out", "--json"))
    assert (summary["created"], summary["in_doubt"]) == (2, 0)
    again = shell.call("reconcile", *AT_ONCE)
    assert (again.exit_code, again.stdout) == (0, "nothing is in doubt\n")


def test_what_an_earlier_run_has_in_doubt_is_said(platform_shell: Shell) -> None:
    """A run whose file has them, too, ends with 3 and names the other run's command, which settles them."""
    shell = platform_shell
    first = shell.push_lost("A", "B")
    second = shell.push_lost("A", "B", "C")
    done = shell.call("reconcile", second, *AT_ONCE)
    assert (done.exit_code, done.stdout) == (3, f"run {second}: 1 created, 2 in doubt in other runs\n")
    assert f"2 in doubt in another run. If the account is a platform partner's, run: gotsurge reconcile {first}" in (
        done.stderr
    )
    document = shell.document(shell.call("reconcile", second, *AT_ONCE, "--json"))
    assert (document["exit"], document["in_doubt_elsewhere"]) == (3, 2)
    assert shell.call("reconcile", first, *AT_ONCE).exit_code == 0
    done = shell.call("reconcile", second, *AT_ONCE)
    assert (done.exit_code, done.stdout) == (0, "nothing is in doubt\n")


def test_all_runs_of_an_environment_are_settled_in_any_order(platform_shell: Shell) -> None:
    """What another run has in doubt is settled with that run, so nothing is left."""
    shell = platform_shell
    shell.push_lost("A", "B")
    shell.push_lost("A", "B", "C")
    done = shell.call("reconcile", *AT_ONCE)
    assert (done.exit_code, "other runs" in done.output) == (0, False)


def test_what_is_not_found_stays_in_doubt(platform_shell: Shell) -> None:
    """Exit 3 with key and reason, and the command for the person who looks it up."""
    shell = platform_shell
    run_id = shell.push_lost("A", when="before")
    done = shell.call("reconcile", run_id, *AT_ONCE)
    assert done.exit_code == 3
    assert f"run {run_id}: 1 in doubt" in done.stdout
    assert "KEY\tWHY" in done.stdout
    assert f"gotsurge resolve {run_id} --env local --ledger {shell.folder / 'ledger.db'} --file " in done.stderr
    assert "gotsurge reconcile" not in done.stderr


def test_a_plain_partner_gets_other_ways_on(shell: Shell) -> None:
    """Without a Task List the doubts stay, and the sentence names what can settle them."""
    run_id = shell.push_lost("A")
    done = shell.call("reconcile", run_id, *AT_ONCE)
    assert (done.exit_code, "gotsurge resolve" in done.stderr) == (3, True)


def test_a_double_is_never_hidden(platform_shell: Shell) -> None:
    """Two tasks of one order are named, first of all, and in the JSON by their key."""
    shell = platform_shell
    run_id = shell.push_lost("A", "B", when="before")
    for name in ("one", "two"):  # by two machines, whose ledgers are not new: they look nothing up
        words = ("--ledger", shell.folder / f"{name}.db", "--mode", "direct")
        elsewhere = str(shell.folder / f"{name}.register")
        for file in (write_orders(shell.folder / "other.csv", [name]), shell.folder / "orders.csv"):
            shell.run("push", file, *shell.place, *words, GOTSURGE_REGISTER=elsewhere)
    done = shell.call("reconcile", run_id, *AT_ONCE, "--json")
    (result,) = shell.document(done)["runs"]
    assert (done.exit_code, result["doubled"]) == (3, ["A", "B"])
    assert all(len(order["task_ids"]) == 2 for order in result["in_doubt"])
    assert "created more than once" in shell.call("reconcile", run_id, *AT_ONCE).stdout


def test_a_task_of_another_order_is_a_reason_in_json(platform_shell: Shell) -> None:
    """The document has each order in doubt with its reason, also where the recorded task names another order."""
    shell = platform_shell
    elsewhere = ("--ledger", shell.folder / "other.db")
    assert shell.run("push", write_orders(shell.folder / "other.csv", ["A"]), *shell.place, *elsewhere).exit_code == 0
    shell.simulator.order_fault(Fault(operation="platform.drafts.create", kind="reused", times=1))
    _, summary = shell.push("B", words=("--new-ledger",))
    assert summary["in_doubt"] == 1
    done = shell.call("reconcile", summary["run"], *AT_ONCE, "--json")
    (result,) = shell.document(done)["runs"]
    assert (done.exit_code, [order["key"] for order in result["in_doubt"]]) == (3, ["B"])
    assert "belongs to another order" in result["in_doubt"][0]["reason"]


def test_a_throw_away_simulator_is_no_place_to_look(shell: Shell) -> None:
    """reconcile and undo want to know where the orders are, and know nothing of --simulate."""
    for command in ("reconcile", "undo"):
        assert shell.run(command, "RUN", *shell.ledger, "--simulate").exit_code == 2
        assert shell.run(command, "RUN", *shell.ledger).exit_code == 2
