"""An older copy of the ledger, or none: whatever was sent since, every order is live exactly once in the end."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import attrs
import pytest

from gotsurge_async import codec
from gotsurge_async.after import lost_runs
from gotsurge_async.after.lookup import Names, names_of
from gotsurge_async.bulk import Ledger, OrderState
from gotsurge_async.models.answers import Task
from gotsurge_async.models.tasks import TaskStatus
from gotsurge_async.simulator import Fault
from tests.support.commands import HEADER, ROW, Shell, write_orders
from tests.support.orders import orders


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is on its way: the list may be read twice in a row."""

    async def no_wait(*_: object) -> float:
        return 0.0

    monkeypatch.setattr("gotsurge_async.after.lost_runs._left_to_wait", no_wait)


def put_back(shell: Shell, *, gone: bool = False) -> None:
    """Replace the ledger by the copy, or remove it."""
    ledger = shell.folder / "ledger.db"
    if gone:
        ledger.unlink()
    else:
        shutil.copy(shell.folder / "copy.db", ledger)
    for name in ("-wal", "-shm"):
        ledger.with_name(ledger.name + name).unlink(missing_ok=True)


def back_up(shell: Shell) -> None:
    """Make the copy."""
    assert shell.run("ledger", "backup", shell.folder / "copy.db", *shell.ledger).exit_code == 0


def accept(shell: Shell, *words: str | Path) -> dict[str, Any]:
    """Accept what is there."""
    out = [] if "--out" in words else ["--out", shell.folder / "out"]
    done = shell.run("ledger", "accept-older", *shell.ledger, *out, *words, "--yes", "--json")
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def went_back(
    shell: Shell, *since: str, words: tuple[str, ...] = (), gone: bool = False, files: bool = True
) -> tuple[str, dict[str, Any]]:
    """Push A, back up, push more, put the copy back and accept it: the run that it lost, and what was accepted."""
    shell.push("A", words=words)
    back_up(shell)
    _, lost = shell.push(*since, words=words)
    if not files:
        shutil.rmtree(shell.folder / "out")
    put_back(shell, gone=gone)
    return lost["run"], accept(shell)


def live(shell: Shell) -> list[str]:
    """The tracking ids of the tasks that drivers may take, each as often as there are such tasks."""
    return sorted(task["tracking_id"] for task in shell.simulator.tasks() if task["history"][-1][0] == "broadcasting")


def pushed(shell: Shell, given: str | Path, *words: str | Path) -> tuple[int, dict[str, Any], str]:
    """Push a file, or orders by the letters of their keys: the exit code, the summary, and what was said."""
    file = given if isinstance(given, Path) else write_orders(shell.folder / "orders.csv", list(given))
    out = ["--out", shell.folder / "out"]
    done = shell.run("push", file, *shell.place, *shell.ledger, *out, "--json", "--quiet", *words)
    return done.exit_code, json.loads(done.stdout), done.stderr


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("desk_name", ["shell", "platform_shell"])
def test_what_was_pushed_since_is_known_from_its_result_files(
    request: pytest.FixtureRequest, desk_name: str, gone: bool
) -> None:
    """Push A, back up, push B, put the copy back: B is read in, is not sent again, and can be undone."""
    shell: Shell = request.getfixturevalue(desk_name)
    lost, accepted = went_back(shell, "B", "C", gone=gone)
    assert accepted["runs"][lost] == 2
    code, summary, _ = pushed(shell, "ABC")
    assert (code, summary["already_pushed"], summary["created"]) == (0, 3, 0)
    assert live(shell) == ["A", "B", "C"]
    checked = shell.run("ledger", "check", *shell.ledger)
    assert checked.exit_code == 0, checked.output
    undone = shell.call("undo", lost)
    assert undone.exit_code == 0, undone.output
    assert live(shell) == ["A"]


def _orders_file(folder: Path, kind: str) -> Path:
    path = folder / f"orders.{kind}"
    rows = [ROW.format(key=key) for key in ("B", "Ä")]
    if kind == "csv":
        path.write_bytes("\n".join([HEADER, *rows]).replace(",", ";").encode("cp1252"))
    elif kind == "tsv":
        path.write_text("\n".join([HEADER, *rows]).replace(",", "\t"))
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(_nested(row)) + "\n" for row in rows))
    else:
        import xlsxwriter

        with xlsxwriter.Workbook(path) as book:
            sheet = book.add_worksheet()
            for line, row in enumerate([HEADER, *rows]):
                for place, cell in enumerate(row.split(",")):
                    sheet.write_string(line, place, cell)
    return path


def _nested(row: str) -> dict[str, Any]:
    order: dict[str, Any] = {}
    for name, cell in zip(HEADER.split(","), row.split(","), strict=True):
        if name == "price":
            order[name] = 4_850_000
        elif "." in name:
            first, second = name.split(".")
            order.setdefault(first, {})[second] = cell
        else:
            order[name] = cell
    return order


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "xlsx"])
def test_every_form_of_result_files_is_read(shell: Shell, kind: str) -> None:
    """Also in another encoding, with another delimiter, as JSON Lines, and as a workbook."""
    shell.push("A")
    back_up(shell)
    file = _orders_file(shell.folder, kind)
    words = ["--delimiter", ";", "--encoding", "cp1252"] if kind == "csv" else []
    assert pushed(shell, file, *words)[0] == 0
    put_back(shell)
    assert list(accept(shell)["runs"].values()) == [2]
    code, summary, _ = pushed(shell, file, *words)
    assert (code, summary["already_pushed"]) == (0, 2)
    assert live(shell) == ["A", "B", "Ä"]


@pytest.mark.parametrize("case", ["", '\n[clean]\n"tracking_id" = ["upper"]'])
def test_another_key_column_and_a_map_are_read(shell: Shell, case: str) -> None:
    """The summary says which column has the keys, whatever it is called, and whether the map has changed their case."""
    shell.push("A")
    back_up(shell)
    table = shell.folder / "theirs.csv"
    table.write_text("\n".join([HEADER.replace("tracking_id", "No."), ROW.format(key="b" if case else "B")]) + "\n")
    column_map = shell.folder / "map.toml"
    column_map.write_text(f'[columns]\n"No." = "tracking_id"\n{case}\n')
    assert pushed(shell, table, "--map", column_map)[0] == 0
    put_back(shell)
    accept(shell)
    code, summary, _ = pushed(shell, table, "--map", column_map)
    assert (code, summary["already_pushed"]) == (0, 1)
    assert live(shell) == ["A", "B"]


def test_times_without_a_zone_cost_no_other_name(shell: Shell) -> None:
    """The lost order has all names that its file contains, and the run can be undone."""
    shell.push("A")
    back_up(shell)
    table = shell.folder / "local.csv"
    table.write_text(f"{HEADER},invoice_number\n{ROW.format(key='B').replace('Z', '')},INV-B\n")
    code, summary, said = pushed(shell, table, "--timezone", "Asia/Singapore")
    assert code == 0, said
    put_back(shell)
    accept(shell)

    async def names() -> list[Names]:
        async with await Ledger.look(shell.folder / "ledger.db") as ledger:
            return [names_of(row) async for row in ledger.rows(summary["run"])]

    (mine,) = asyncio.run(names())
    assert (mine.identity, mine.from_time_window is None) == (("B", "INV-B"), False)
    assert shell.call("undo", summary["run"]).exit_code == 0


def test_what_was_in_doubt_is_in_doubt_and_can_be_resolved(shell: Shell) -> None:
    """An order that the lost run left in doubt is not sent; a person's word ends it."""
    shell.push("A")
    back_up(shell)
    run_id = shell.push_lost("B")
    put_back(shell)
    accept(shell)
    code, summary, _ = pushed(shell, "B")
    assert (code, summary["in_doubt"]) == (3, 1)
    assert live(shell) == ["A", "B"]
    (task,) = [task["id"] for task in shell.simulator.tasks() if task["tracking_id"] == "B"]
    resolved = shell.call("resolve", run_id, "--key", "B", "--created", task)
    assert resolved.exit_code == 0, resolved.output
    code, summary, _ = pushed(shell, "B")
    assert (code, summary["already_pushed"]) == (0, 1)
    assert live(shell) == ["A", "B"]


@pytest.mark.parametrize("desk_name", ["shell", "platform_shell"])
def test_what_was_taken_back_since_is_not_called_created(request: pytest.FixtureRequest, desk_name: str) -> None:
    """A result file says what was true when it was written: its tasks are read before anything is said of them."""
    shell: Shell = request.getfixturevalue(desk_name)
    shell.push("A")
    back_up(shell)
    _, lost = shell.push("B", "C")
    assert shell.call("undo", lost["run"], "--key", "B").exit_code == 0
    put_back(shell)
    accept(shell)
    code, summary, said = pushed(shell, "BC")
    if desk_name == "shell":  # nobody knows whether it was pushed again since
        assert (code, summary["in_doubt"], summary["already_pushed"]) == (3, 1, 1), said
        code, summary, said = pushed(shell, "BC", "--not-sent-before")
    assert (code, summary["created"], summary["already_pushed"]) == (0, 1, 1), said
    assert live(shell) == ["A", "B", "C"]


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("desk_name", ["shell", "platform_shell"])
def test_an_undo_since_the_copy_is_noticed(request: pytest.FixtureRequest, desk_name: str) -> None:
    """Nothing was pushed since, and yet the copy is an older one; in the end each order is live once."""
    shell: Shell = request.getfixturevalue(desk_name)
    done, summary = shell.push("A", "B", GOTSURGE_SETTLE="0")
    assert done.exit_code == 0
    back_up(shell)
    assert shell.call("undo", str(summary["run"]), "--yes").exit_code == 0
    assert live(shell) == []
    put_back(shell)
    code, _, said = pushed(shell, shell.folder / "orders.csv")
    assert (code, "gotsurge ledger accept-older" in said) == (2, True)
    done = shell.run("ledger", "accept-older", *shell.ledger, "--out", shell.folder / "out", "--yes")
    assert "may have been cancelled later: run `gotsurge audit --repair" in done.stderr
    words = ("audit", "--repair", "--yes", "--rescan-after", "0", *shell.ledger, *shell.place)
    done = shell.run(*words, GOTSURGE_SETTLE="0")
    assert done.exit_code == 0, done.output
    code, _, said = pushed(shell, shell.folder / "orders.csv")
    if shell.account != "platform":  # a lost run may have sent them again, and there is no list to look at
        assert (code, "with --not-sent-before" in said) == (3, True)
        code, *_ = pushed(shell, shell.folder / "orders.csv", "--not-sent-before")
    assert (code, live(shell)) == (0, ["A", "B"])


@pytest.mark.usefixtures("at_once")
def test_tasks_that_cannot_be_read_leave_the_orders_in_doubt(shell: Shell) -> None:
    """Nothing is sent; when they can be read, `reconcile` settles the run."""
    lost, _ = went_back(shell, "B")
    shell.simulator.order_fault(Fault(operation="tasks.get", kind="status", status=500))
    code, summary, _ = pushed(shell, "B", "--mode", "direct")
    assert (code, summary["in_doubt"]) == (3, 1)
    shell.simulator.clear_faults()
    assert shell.call("reconcile", lost).exit_code == 0
    assert pushed(shell, "B", "--mode", "direct")[0] == 0
    assert live(shell) == ["A", "B"]


@pytest.mark.usefixtures("at_once")
def test_what_waited_in_the_copy_and_was_created_since_is_created(shell: Shell) -> None:
    """A lost run that took over what waited in the copy, and created it, has it."""
    shell.push("A")
    shell.simulator.order_fault(Fault(operation="tasks.create", kind="status", status=429))
    assert shell.push("B")[1]["unprocessed"] == 1
    shell.simulator.clear_faults()
    back_up(shell)
    shell.push("A", "B")
    put_back(shell)
    assert accept(shell)["in_doubt"] == 1
    code, summary, _ = pushed(shell, "AB")
    assert (code, summary["already_pushed"], summary["in_doubt"]) == (0, 2, 0)
    assert live(shell) == ["A", "B"]


@pytest.mark.usefixtures("at_once")
def test_what_a_known_run_created_since_is_created(shell: Shell) -> None:
    """A run that waited in the copy, and was resumed since, is what its result files say."""
    shell.simulator.order_fault(Fault(operation="tasks.create", kind="status", status=429))
    _, waiting = shell.push("A", "B")
    shell.simulator.clear_faults()
    back_up(shell)
    assert shell.call("resume", waiting["run"], "--out", shell.folder / "out", "--quiet").exit_code == 0
    put_back(shell)
    accepted = accept(shell)
    assert (accepted["in_doubt"], accepted["runs"], accepted["unreadable"]) == (2, {waiting["run"]: 2}, {})
    code, summary, _ = pushed(shell, "AB")
    assert (code, summary["already_pushed"], summary["in_doubt"]) == (0, 2, 0)
    assert live(shell) == ["A", "B"]


@pytest.mark.parametrize("gone", [False, True])
def test_without_result_files_a_plain_partners_orders_are_in_doubt(shell: Shell, gone: bool) -> None:
    """Nothing is sent, exit 3, and the words name the ways on: resolve what is there, send what is not."""
    _, accepted = went_back(shell, "B", gone=gone, files=False)
    assert accepted["runs"] == {}
    code, summary, said = pushed(shell, "BC")
    assert (code, summary["in_doubt"], summary["created"]) == (3, 2, 0)
    assert "--not-sent-before" in said
    assert "gotsurge ledger accept-older --nothing-was-lost" in said
    assert live(shell) == ["A", "B"]
    assert "--not-sent-before" in summary["reasons"][0]["reason"]
    assert any(f"gotsurge resolve {summary['run']}" in step for step in summary["next"])
    (task,) = [task["id"] for task in shell.simulator.tasks() if task["tracking_id"] == "B"]
    assert shell.call("resolve", summary["run"], "--key", "B", "--created", task).exit_code == 0
    assert shell.call("resolve", summary["run"], "--key", "C", "--not-created").exit_code == 0
    code, again, said = pushed(shell, "BC")
    assert (code, again["created"], again["already_pushed"]) == (0, 1, 1), said
    assert live(shell) == ["A", "B", "C"]


def test_a_person_says_that_orders_are_new(shell: Shell) -> None:
    """With --not-sent-before they are sent, also those that were held back before; what is known is not."""
    went_back(shell, "B")
    code, summary, _ = pushed(shell, "ABCD")
    assert (code, summary["in_doubt"], summary["already_pushed"]) == (3, 2, 2)
    assert pushed(shell, "ABCD")[0] == 3
    code, summary, _ = pushed(shell, "ABCD", "--not-sent-before")
    assert (code, summary["created"], summary["already_pushed"]) == (0, 2, 2)
    assert pushed(shell, "ABCD")[0] == 0
    assert live(shell) == ["A", "B", "C", "D"]
    assert shell.run("ledger", "check", *shell.ledger).exit_code == 0


@pytest.mark.parametrize("way", ["push", "a single order"])
def test_a_look_up_of_another_account_proves_nothing(shell: Shell, way: str) -> None:
    """What one account's Task List does not show may be another account's: it is not sent without a person's word."""
    shell.push("A")
    back_up(shell)
    shell.push("H")
    shutil.rmtree(shell.folder / "out")
    put_back(shell)
    accept(shell)
    platform = attrs.evolve(shell, account="platform")
    code, summary, said = pushed(platform, "H", "--max-spend", "SGD 1")
    assert (code, summary["unprocessed"]) == (5, 1), said
    if way == "push":
        code, summary, _ = pushed(shell, "H")
        assert (code, summary["in_doubt"]) == (3, 1)
    else:
        order = f"[{codec.encode(orders(1, 'H')[0]).decode().replace('H0', 'H')}]"
        done = shell.run("tasks", "create", "-", *shell.place, *shell.ledger, "--json", stdin=order)
        assert done.exit_code == 3, done.output
    assert live(shell) == ["A", "H"]


def test_the_question_ends(shell: Shell) -> None:
    """After --nothing-was-lost new orders are sent; said twice, or where nothing was accepted, it is refused."""
    shell.push("A")
    assert shell.run("ledger", "accept-older", "--nothing-was-lost", *shell.ledger).exit_code == 2
    went_back(shell, "B")
    assert pushed(shell, "C")[0] == 3
    assert shell.run("ledger", "accept-older", "--nothing-was-lost", *shell.ledger).exit_code == 0
    assert pushed(shell, "D")[0] == 0
    assert shell.run("ledger", "accept-older", "--nothing-was-lost", *shell.ledger).exit_code == 2
    assert live(shell) == ["A", "B", "D"]


def test_a_second_folder_is_read_in(shell: Shell) -> None:
    """Accepted again, with another --out, more runs are known; and nothing else changes."""
    shell.push("A")
    back_up(shell)
    shell.push("B")
    shutil.move(shell.folder / "out", shell.folder / "elsewhere")
    put_back(shell)
    first = accept(shell)
    second = accept(shell, "--out", shell.folder / "elsewhere")
    assert (first["runs"], len(second["runs"]), second["counter"] - first["counter"]) == ({}, 1, 0)
    assert pushed(shell, "B")[0] == 0
    assert live(shell) == ["A", "B"]


@pytest.mark.parametrize("mode", ["two-phase", "direct"])
def test_a_platform_partners_orders_are_looked_up(platform_shell: Shell, mode: str) -> None:
    """Without result files what the Task List shows is created, what it does not show is sent."""
    shell = platform_shell
    went_back(shell, "B", words=("--mode", mode), files=False)
    code, summary, said = pushed(shell, "ABC", "--mode", mode)
    assert (code, summary["created"], summary["already_pushed"]) == (0, 2, 1), said
    assert live(shell) == ["A", "B", "C"]
    assert shell.run("ledger", "check", *shell.ledger).exit_code == 0


@pytest.mark.parametrize("desk_name", ["shell", "platform_shell"])
def test_an_order_that_differs_from_a_lost_run_s_row_is_changed(request: pytest.FixtureRequest, desk_name: str) -> None:
    """The result file shows what the lost run sent: the same row is already pushed, another one has changed."""
    shell: Shell = request.getfixturevalue(desk_name)
    went_back(shell, "B", "C")
    file = write_orders(shell.folder / "corrected.csv", ["B", "C"])
    header, first, second = file.read_text().splitlines()
    file.write_text("\n".join([header, first.replace("48.50", "99.00"), second]) + "\n")
    for _ in range(2):
        code, summary, said = pushed(shell, file)
        assert (code, summary["changed"], summary["already_pushed"]) == (7, 1, 1), said
        assert "differs from the row in that run's result file: price; " in said
    if shell.account:
        code, summary, said = pushed(shell, file, "--replace-changed")
        assert (code, summary["changed"]) == (7, 1), said
        assert "take the order back (gotsurge undo)" in said
    assert pushed(shell, "BC")[0] == 0
    assert live(shell) == ["A", "B", "C"]


def test_what_a_lost_run_sent_with_another_content_is_in_doubt(platform_shell: Shell) -> None:
    """The Task List shows the order with another price: neither a push nor a reconcile says that it was created."""
    shell = platform_shell
    went_back(shell, "B", files=False)
    file = write_orders(shell.folder / "corrected.csv", ["B", "C"])
    file.write_text(file.read_text().replace("48.50", "99.00"))
    code, summary, _ = pushed(shell, file)
    assert (code, summary["in_doubt"], summary["created"]) == (3, 1, 1)
    assert "price is 48.5, not 99; if the task is this order's, run: " in summary["reasons"][0]["reason"]
    assert shell.call("reconcile", summary["run"], "--rescan-after", "0").exit_code == 3
    assert pushed(shell, file)[0] == 3
    (task,) = [task["id"] for task in shell.simulator.tasks() if task["tracking_id"] == "B"]
    assert shell.call("resolve", summary["run"], "--key", "B", "--created", task).exit_code == 0
    assert live(shell) == ["A", "B", "C"]


@pytest.mark.usefixtures("at_once")
def test_a_list_that_cannot_be_read_proves_nothing(platform_shell: Shell) -> None:
    """Then all are in doubt; reconcile finds what is there."""
    shell = platform_shell
    went_back(shell, "B", files=False)
    shell.simulator.order_fault(Fault(operation="platform.tasks.list", kind="status", status=500))
    code, summary, _ = pushed(shell, "B", "--mode", "two-phase")
    assert (code, summary["in_doubt"]) == (3, 1)
    shell.simulator.clear_faults()
    reconciled = shell.call("reconcile", summary["run"])
    assert reconciled.exit_code == 0, reconciled.output
    assert pushed(shell, "B")[0] == 0
    assert live(shell) == ["A", "B"]


def test_a_summary_that_does_not_say_enough_is_named(shell: Shell) -> None:
    """A run of an older version, or a file that was changed, is not read in, and said so; its orders are held back."""
    shell.push("A")
    back_up(shell)
    _, lost = shell.push("B")
    path = shell.folder / "out" / f"{lost['run']}-summary.json"
    document = json.loads(path.read_text())
    del document["origin"]
    path.write_text(json.dumps(document))
    put_back(shell)
    accepted = accept(shell)
    assert accepted["unreadable"] == {
        str(path): "the summary does not say where the run was sent, or which column has the keys"
    }
    assert pushed(shell, "B")[0] == 3
    assert live(shell) == ["A", "B"]


def test_a_ledger_that_is_gone_and_that_no_register_knows(platform_shell: Shell, register: Path) -> None:
    """What was pushed before there was a register: the first push of the new ledger looks each order up, and sends."""
    shell = platform_shell
    shell.push("A")
    put_back(shell, gone=True)
    shutil.rmtree(shell.folder / "out")
    shutil.rmtree(register.parent)
    accept(shell)
    code, summary, _ = pushed(shell, "AB")
    assert (code, summary["created"]) == (0, 2)
    assert live(shell) == ["A", "B"]


@pytest.mark.parametrize(
    ("statuses", "state"),
    [
        (["broadcasting"], OrderState.CREATED),
        (["broadcasting", "cancelled"], OrderState.CREATED),
        (["broadcasting", "accepted"], OrderState.IN_DOUBT),
        (["draft"], OrderState.IN_DOUBT),
        (["cancelled"], OrderState.IN_DOUBT),
    ],
)
def test_what_the_list_shows_of_an_order(statuses: list[str], state: OrderState) -> None:
    """Two live tasks of one order are for a person to look at, and so is a cancelled one."""
    tasks = [Task(id=f"t{at}", current_status=TaskStatus(status)) for at, status in enumerate(statuses)]
    assert lost_runs._first_outcome(1, tasks).state is state
