"""Faults as an operator meets them: in groups, and in a file with their rows."""

import csv
import json
import shlex
import stat
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import openpyxl
import pytest
from click.testing import Result

from gotsurge_async.bulk import SourceOptions, open_source
from gotsurge_async.simulator import Simulator
from gotsurge_async.tables.writing import WholeFile
from tests.support.commands import HEADER, ROW, Runner, Shell, local, write_orders


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ledgers and result files of simulated pushes stand in the folder where the command is typed."""
    monkeypatch.chdir(tmp_path)


OTHERS = "with --leave-faulty the others are sent"
WITH_PHONE = f"{HEADER},to_contact.phone"


def orders(path: Path, count: int, phone: str = "+65 9175 50{n:02}", **changes: str) -> Path:
    """A table whose phones are written with spaces."""
    rows = []
    for n in range(count):
        row = ROW.format(key=f"T-{n}")
        for old, new in changes.items():
            row = row.replace(old, new)
        rows.append(f"{row},{phone.format(n=n)}")
    path.write_text("\n".join([WITH_PHONE, *rows]) + "\n")
    return path


def test_many_faults_are_reported_in_groups(run: Runner, tmp_path: Path) -> None:
    """One line for one thing that is wrong, with its count, and what can be done about it."""
    done = run("push", orders(tmp_path / "orders.csv", 60, car="Car"), "--simulate")
    assert done.exit_code == 2
    car, phone, total, *hints = done.stderr.splitlines()
    assert "orders.csv: to_contact.phone (60 faults): is not in E.164 format: " in phone
    assert 'Line 2: "+65 9175 5000"; did you mean "+6591755000"? Also lines 3, 4, 5, 6, …' in phone
    assert "orders.csv: vehicle_preference (60 faults): is unknown: use one of ltl, motorcycle, car, " in car
    assert total == "120 faults: nothing was sent"
    assert hints == [
        f"--faults FILE.csv writes the rows that have faults, and describes the faults; {OTHERS}",
        "see: gotsurge explain E224 E222",
    ]


def test_groups_are_for_programs_too(run: Runner, tmp_path: Path) -> None:
    """--json has a thousand faults, all groups, and how many there are."""
    done = run("plan", orders(tmp_path / "orders.csv", 1_200, phone="1"), "--json")
    assert done.exit_code == 2
    document = json.loads(done.stdout)
    (group,) = document["groups"]
    assert (document["count"], len(document["faults"]), group["count"]) == (1_200, 1_000, 1_200)
    assert (group["field"], group["lines"], group["proposals"]) == ("to_contact.phone", [2, 3, 4, 5, 6], 0)


def test_faulty_rows_are_mended_in_their_file_and_pushed(run: Runner, simulator: Simulator, tmp_path: Path) -> None:
    """--faults writes them whole, in no file that is there already; what is mended there is pushed as any file."""
    file, faulty = orders(tmp_path / "orders.csv", 12, phone="9175 5010"), tmp_path / "faulty.csv"
    done = run("push", file, *local(simulator), "--faults", faulty)
    assert done.exit_code == 2
    assert f"12 rows with faults are in {faulty}, which also describes the faults" in done.stderr
    assert f"correct the rows in {file}, then push all rows again: no order is sent twice" in done.stderr
    assert f"{faulty} contains only the faulty rows: if you push it, no other row is sent" in done.stderr
    again = run("push", file, *local(simulator), "--faults", faulty)
    assert again.exit_code == 2
    assert "already exists: remove it" in again.stderr
    faulty.write_text(faulty.read_text().replace("9175 5010", "+6591755010"))
    assert run("push", faulty, *local(simulator), "--out", tmp_path / "out").exit_code == 0
    assert simulator.audit()["tasks"] == 12


def test_a_header_that_is_wrong_has_no_rows(run: Runner, tmp_path: Path) -> None:
    """Where no row is at fault, it is said that nothing was written."""
    (tmp_path / "orders.csv").write_text("a,b\n1,2\n")
    done = run("push", tmp_path / "orders.csv", "--simulate", "--faults", tmp_path / "faulty.csv")
    assert done.exit_code == 2
    assert "faulty.csv was not written: these faults are not in single rows" in done.stderr
    assert not (tmp_path / "faulty.csv").exists()


def test_faulty_rows_of_standard_input_are_mended_where_they_come_from(run: Runner, tmp_path: Path) -> None:
    """No file is named that there is not."""
    rows = orders(tmp_path / "orders.csv", 1).read_text()
    done = run("plan", "-", "--format", "csv", "--faults", tmp_path / "faulty.csv", stdin=rows)
    assert "correct the row where the rows come from, then push all rows again" in done.stderr, done.stderr


@pytest.mark.parametrize(("old", "where"), [("", "in items.csv"), ("48.50", "in orders.csv and in items.csv")])
def test_the_file_that_has_the_faults_is_named(
    run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, where: str
) -> None:
    """Faults of items are corrected in the items file; if orders have their own too, in both files."""
    monkeypatch.chdir(tmp_path)
    table = write_orders(tmp_path / "orders.csv", ["A"])
    table.write_text(table.read_text().replace(old, "zero") if old else table.read_text())
    (tmp_path / "items.csv").write_text("tracking_id,name,quantity\nA,Jacket,zz\n")
    done = run("plan", "orders.csv", "--items", "items.csv", "--faults", "faulty.csv", "--leave-faulty")
    assert f"correct the row {where}, then push all rows again" in done.stderr, done.stderr


# --- the others are sent ---------------------------------------------------------------------------------------------


def some_faulty(path: Path, *bad: int, count: int = 5, phone: str = "12") -> Path:
    """A table in which some phones are wrong."""
    numbers = [phone if n in bad else f"+6591755{n:03}" for n in range(count)]
    rows = [f"{ROW.format(key=f'T-{n}')},{number}" for n, number in enumerate(numbers)]
    path.write_text("\n".join([WITH_PHONE, *rows]) + "\n")
    return path


def once(simulator: Simulator, tasks: int) -> bool:
    """Whether so many orders are there, each once."""
    audit = simulator.audit()
    return (audit["tasks"], audit["doubled"]) == (tasks, {})


def pushed_by(run: Runner, command: str, *more: str | Path) -> Result:
    """What a command does that was printed as the next one."""
    program, *words = shlex.split(command)
    assert program == "gotsurge"
    return run(*words, *more)


@pytest.mark.parametrize("account", ["plain", "platform"])
def test_the_others_are_sent_and_the_faulty_rows_are_not_forgotten(
    run: Runner, simulator: Simulator, tmp_path: Path, account: str
) -> None:
    """Each order is there once, after any of: the same file again, the file of faults mended, the whole file mended."""
    file, faulty = some_faulty(tmp_path / "orders.csv", 1, 3), tmp_path / "faulty.csv"
    words = [*local(simulator), "--account", account, "--leave-faulty"]
    done = run("push", file, *words, "--faults", faulty)
    assert done.exit_code == 5, done.stderr
    assert f"2 faults: 2 rows are left out, and are in {faulty}\n3 orders to send" in done.stderr
    assert done.stdout.endswith(f"3 created\n2 rows with faults NOT sent: {faulty}\n")
    assert once(simulator, 3)
    assert (stat.S_IMODE(faulty.stat().st_mode), len(faulty.read_text().splitlines())) == (0o600, 3)

    again = run("push", file, *words, "--faults", tmp_path / "again.csv", "--json", "--quiet")
    assert again.exit_code == 5
    document = json.loads(again.stdout)
    counts = {
        name: document[name] for name in ("orders", "created", "already_pushed", "left_out", "left_out_file", "exit")
    }
    assert counts == {
        "orders": 3,
        "created": 0,
        "already_pushed": 3,
        "left_out": 2,
        "left_out_file": str(tmp_path / "again.csv"),
        "exit": 5,
    }
    assert once(simulator, 3)

    faulty.write_text(faulty.read_text().replace(",12,", ",+6591755111,"))
    (command,) = [line.split(", run: ")[1] for line in done.stderr.splitlines() if "left out. When" in line]
    mended = pushed_by(run, command)
    assert (mended.exit_code, mended.stdout.splitlines()[-1]) == (0, "2 created")
    assert once(simulator, 5)
    whole = run("push", some_faulty(file, 1, 3, phone="+6591755111"), *words[:-1])
    assert (whole.exit_code, whole.stdout.splitlines()[-1]) == (0, "0 created, 5 already pushed")
    assert once(simulator, 5)


def test_a_kill_in_the_middle_forgets_no_row(shell: Shell) -> None:
    """What goes on with the run, and what shows it, still says which rows were not sent."""
    file, faulty = some_faulty(shell.folder / "orders.csv", 1), shell.folder / "faulty.csv"
    words = (*shell.place, *shell.ledger, "--out", shell.folder / "out", "--leave-faulty", "--faults", faulty)
    stopped = shell.run("push", file, *words, "--max-spend", "100", "--batch-size", "1", "--concurrency", "1", "--json")
    run_id = shell.document(stopped)["run"]
    assert (stopped.exit_code, shell.document(stopped)["unprocessed"]) == (5, 2)
    assert f"rows left out\t1, in {faulty}" in shell.on_ledger("status", run_id).stdout
    done = shell.call("resume", run_id, "--out", shell.folder / "out")
    assert done.exit_code == 5
    assert f"4 created\n1 row with faults NOT sent: {faulty}" in done.stdout
    assert f"1 row left out. When you have corrected {faulty}, run: gotsurge push {faulty} --env local" in done.stderr


def test_a_job_leaves_its_rows_out_each_night(run: Runner, simulator: Simulator, tmp_path: Path) -> None:
    """In a folder each push writes a file of its own, so that the same command works as often as it is given."""
    folder = tmp_path / "left"
    folder.mkdir()
    words = [*local(simulator), "--leave-faulty", "--faults", folder, "--out", tmp_path / "out"]
    for night in (1, 2, 3):
        done = run("push", some_faulty(tmp_path / "orders.csv", 1), *words)
        assert done.exit_code == 5, done.stderr
        written = sorted(folder.iterdir())
        assert len(written) == night
        assert f"1 row with faults NOT sent: {folder / 'faults-'}" in done.stdout
    assert {path.suffix for path in written} == {".csv"}
    assert once(simulator, 4)


def test_the_rows_are_on_the_disk_before_anything_is_sent(
    run: Runner, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where they cannot be, nothing is sent, and nothing is in the ledger."""

    class Full:
        """The disk is full when the file of faults is to be on it."""

        def sync(self, descriptor: int) -> None:
            raise OSError(28, "No space left on device")

    file = some_faulty(tmp_path / "orders.csv", 1)
    monkeypatch.setattr("gotsurge_async.tables.checks.fault_file.files", Full())
    done = run("push", file, *local(simulator), "--leave-faulty", "--faults", tmp_path / "faulty.csv", "--json")
    assert done.exit_code == 2
    assert "faulty.csv: No space left on device" in json.loads(done.stdout)["error"]
    assert once(simulator, 0)
    assert not (tmp_path / "faulty.csv").exists()
    assert json.loads(run("runs", "--env", "local", "--json").stdout) == []


def test_a_disk_that_is_full_long_before_the_end_is_reported(run: Runner, tmp_path: Path) -> None:
    """Also where the file is only closed: exit 2, nothing sent, and no traceback."""
    full = tmp_path / "full"
    full.mkdir()
    file = some_faulty(tmp_path / "orders.csv", *range(199), count=200)

    def fill(path: Path, at_end: ExitStack) -> WholeFile:
        whole = WholeFile(path, at_end)
        whole.stream = Path("/dev/full").open("wb")  # noqa: SIM115 - closed at the end
        at_end.callback(whole.stream.close)
        return whole

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("gotsurge_async.tables.checks.fault_file.WholeFile", fill)
        done = run("push", file, "--simulate", "--leave-faulty", "--faults", full / "faulty.csv")
    assert (done.exit_code, type(done.exception)) == (2, SystemExit)
    assert "faulty.csv: No space left on device" in done.stderr
    assert list(full.iterdir()) == []


@pytest.mark.parametrize(("ending", "option"), [("tsv", ""), ("csv", "--format tsv")])
def test_a_table_with_tabs_is_read_again_as_it_is_written(
    run: Runner, simulator: Simulator, tmp_path: Path, ending: str, option: str
) -> None:
    """The printed command says the format where the name of the file does not."""
    table, faulty = some_faulty(tmp_path / "orders.tsv", 1), tmp_path / f"faulty.{ending}"
    table.write_text(table.read_text().replace(",", "\t"))
    done = run("push", table, *local(simulator), "--leave-faulty", "--faults", faulty, "--out", tmp_path)
    assert done.exit_code == 5, done.stderr
    faulty.write_text(faulty.read_text().replace("\t12\t", "\t+6591755111\t"))
    (command,) = [line.split(", run: ")[1] for line in done.stderr.splitlines() if "left out. When" in line]
    assert ("--format" in command, option in command) == (bool(option), True)
    assert pushed_by(run, command).exit_code == 0
    assert once(simulator, 5)


def test_a_mode_that_was_said_is_said_again(run: Runner, simulator: Simulator) -> None:
    """Who pushes directly, although drafts were possible, goes on so."""
    words = (*local(simulator), "--account", "platform", "--mode", "direct", "--leave-faulty", "--faults", "f.csv")
    done = run("push", some_faulty(Path("orders.csv"), 1), *words)
    assert "gotsurge push f.csv --env local" in done.stderr
    assert "--mode direct" in done.stderr


def test_numbers_of_a_workbook_do_not_become_text_that_a_map_reads_otherwise(run: Runner, simulator: Simulator) -> None:
    """1.234 is a number there, and 1234 in a CSV whose map writes 1.234,56: a workbook is asked for."""
    book = openpyxl.Workbook()
    for row in csv.reader(some_faulty(Path("table.csv"), 1).read_text().splitlines()):
        book.active.append(row)
    book.save("orders.xlsx")
    Path("map.toml").write_text('[numbers]\ntotal_item_weight = "1.234,56"\n')
    words = ("push", "orders.xlsx", *local(simulator), "--map", "map.toml", "--leave-faulty", "--faults")
    done = run(*words, "f.csv")
    assert (done.exit_code, once(simulator, 0), Path("f.csv").exists()) == (2, True, False)
    assert "f.csv: the map could misread numbers" in done.stderr
    assert run(*words, "f.xlsx").exit_code == 5
    assert once(simulator, 4)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "xlsx"])
def test_every_format_leaves_rows(run: Runner, simulator: Simulator, tmp_path: Path, ending: str) -> None:
    """Also from standard input; the printed command reads the file of faults as it is written."""
    table = some_faulty(tmp_path / "table.csv", 1)
    data, faulty = table.read_bytes(), tmp_path / "faulty.txt"
    if ending == "jsonl":
        with open_source(table, options=SourceOptions(now=datetime.now(UTC))) as source:
            lines = [row.payload for row in source.rows()]
        data = b"\n".join([*lines, lines[0].replace(b"T-0", b"T-9").replace(b"2030-03-04T01:00:00Z", b"never")])
    elif ending == "xlsx":
        faulty, book = tmp_path / "faulty.xlsx", openpyxl.Workbook()
        for row in csv.reader(table.read_text().splitlines()):
            book.active.append(row)
        book.save(tmp_path / "table.xlsx")
        data = (tmp_path / "table.xlsx").read_bytes()
    words = ("-", *local(simulator), "--format", ending, "--leave-faulty", "--faults", faulty, "--out", tmp_path)
    done = run("push", *words, stdin=data)
    assert done.exit_code == 5, done.stderr
    assert once(simulator, 4)
    (command,) = [line.split(", run: ")[1] for line in done.stderr.splitlines() if "left out. When" in line]
    if ending == "xlsx":
        book = openpyxl.load_workbook(faulty)
        book.active.cell(2, len(WITH_PHONE.split(","))).value = "+6591755111"
        book.save(faulty)
    else:
        faulty.write_text(faulty.read_text().replace(",12,", ",+6591755111,").replace("never", "2030-03-04T01:00:00Z"))
    assert ("--format" in command) == (ending == "jsonl")
    assert pushed_by(run, command).exit_code == 0
    assert once(simulator, 5)


def test_where_no_row_may_be_left_out_the_file_is_refused_as_ever(run: Runner, simulator: Simulator) -> None:
    """All rows have faults, or one is of the whole file: exit 2, and it is said that the option does not help."""
    words = (*local(simulator), "--leave-faulty", "--faults")
    file = some_faulty(Path("orders.csv"), 0, 1, count=2)
    done = run("push", file, *words, "a.csv")
    assert done.exit_code == 2
    assert "2 faults: nothing was sent" in done.stderr
    assert "--leave-faulty does not help here: every row has a fault" in done.stderr
    assert "--leave-faulty, with another name" not in done.stderr
    file.write_text(some_faulty(file, 1).read_text().replace("Marina", 'Mari"na', 1).replace("T-0 L", '"T-0 L'))
    done = run("push", file, *words, "b.csv")
    assert done.exit_code == 2
    assert "--leave-faulty does not help here: the whole file has a fault" in done.stderr
    assert once(simulator, 0)


def test_a_look_leaves_the_same_rows(run: Runner) -> None:
    """plan and --dry-run need no file for them, end as the push would, and a push takes the plan."""
    file = some_faulty(Path("orders.csv"), 1)
    done = run("push", file, "--dry-run", "--leave-faulty")
    said = "4 orders, 1 row with faults left out; nothing was sent"
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (5, said)
    document = json.loads(run("push", file, "--dry-run", "--leave-faulty", "--json").stdout)
    assert (document["orders"], document["left_out"], document["faults"][0]["line"]) == (4, 1, 3)
    planned = run("plan", file, "--leave-faulty", "-o", "plan.json", "--json")
    assert (planned.exit_code, json.loads(planned.stdout)["left_out"]) == (5, 1)
    words = ("--simulate", "--plan", "plan.json", "--leave-faulty", "--faults", "f.csv", "--json")
    assert json.loads(run("push", file, *words).stdout)["created"] == 4
    some_faulty(file, 1, count=4)
    other = run("push", file, *words[:-2], "g.csv")
    assert (other.exit_code, "differs from the file of the plan" in other.stderr) == (2, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--leave-faulty",), "--leave-faulty needs --faults FILE.csv"),
        (("--leave-faulty", "--faults", "-"), "--faults needs a file that you can correct"),
    ],
)
def test_what_cannot_be_together_is_refused(run: Runner, words: tuple[str, ...], message: str) -> None:
    """Rows that are not sent must be kept in a file."""
    done = run("push", some_faulty(Path("orders.csv"), 1), "--simulate", *words)
    assert (done.exit_code, message in done.stderr) == (2, True)
