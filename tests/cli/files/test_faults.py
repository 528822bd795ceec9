"""Faults as an operator meets them: in groups, in a file with their rows, and mended."""

import json
from pathlib import Path

import pytest

from gotsurge_async.simulator import Simulator
from tests.support.commands import HEADER, ROW, Runner, local
from tests.support.terminal import at_a_terminal


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ledgers and result files of simulated pushes stand in the folder where the command is typed."""
    monkeypatch.chdir(tmp_path)


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


def test_many_faults_are_told_in_groups(run: Runner, tmp_path: Path) -> None:
    """One line for one thing that is wrong, with its count, and what can be done about it."""
    done = run("push", orders(tmp_path / "orders.csv", 60, car="Car"), "--simulate")
    assert done.exit_code == 2
    car, phone, total, *hints = done.stderr.splitlines()
    assert "orders.csv: to_contact.phone: 60 × is not E.164: " in phone
    assert 'first in line 2: "+65 9175 5000", did you mean "+6591755000"? (then 3, 4, 5, 6, …)' in phone
    assert "orders.csv: vehicle_preference: 60 × is not known: one of ltl, motorcycle, car, " in car
    assert total == "120 faults: nothing was sent"
    assert hints == [
        "--faults FILE.csv writes the rows that have faults, with what is wrong in each",
        "--fix puts 120 values in that are proposed, when you have seen them",
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
    assert f"the 12 rows with faults: {faulty}; mend them there, and push that file" in done.stderr
    again = run("push", file, *local(simulator), "--faults", faulty)
    assert again.exit_code == 2
    assert "is there already: name another file" in again.stderr
    faulty.write_text(faulty.read_text().replace("9175 5010", "+6591755010"))
    assert run("push", faulty, *local(simulator), "--out", tmp_path / "out").exit_code == 0
    assert simulator.audit()["tasks"] == 12


def test_a_header_that_is_wrong_has_no_rows(run: Runner, tmp_path: Path) -> None:
    """Where no row is at fault, it is said that nothing was written."""
    (tmp_path / "orders.csv").write_text("a,b\n1,2\n")
    done = run("push", tmp_path / "orders.csv", "--simulate", "--faults", tmp_path / "faulty.csv")
    assert done.exit_code == 2
    assert "faulty.csv was not written: no fault is one of a row" in done.stderr
    assert not (tmp_path / "faulty.csv").exists()


@pytest.mark.slow
def test_a_person_sees_the_values_and_is_asked(tmp_path: Path, simulator: Simulator) -> None:
    """At a terminal --fix shows what it would put in; yes mends the file and pushes it, and no changes nothing."""
    file = orders(tmp_path / "orders.csv", 12)
    before = file.read_text()
    words = ["push", "orders.csv", *local(simulator), "--fix", "--out", "out"]
    seen = at_a_terminal(words, cwd=tmp_path, answers={"[y/N]": "n\n"})
    assert seen.code == 2
    assert "orders.csv: to_contact.phone: 12 values" in seen.text
    assert 'line 2: \x1b[31m"+65 9175 5000"\x1b[0m → \x1b[32m"+6591755000"\x1b[0m' in seen.text
    assert "Put 12 values into orders.csv? As it is it will be kept beside it. [y/N]" in seen.text
    assert "nothing was changed, and nothing was sent" in seen.text
    assert file.read_text() == before
    seen = at_a_terminal(words, cwd=tmp_path, answers={"[y/N]": "y\n"})
    assert seen.code == 0, seen.text
    assert file.read_text() == before.replace("+65 9175 ", "+659175")
    assert (tmp_path / "orders.csv.before-fix").read_text() == before
    assert simulator.audit()["tasks"] == 12


def test_a_script_says_yes(run: Runner, simulator: Simulator, tmp_path: Path) -> None:
    """Without a terminal --fix needs --yes; what it cannot mend is told afterwards."""
    file = orders(tmp_path / "orders.csv", 3, **{"48.50": "0.50"})
    words = ("push", file, *local(simulator), "--fix", "--out", tmp_path / "out")
    asked = run(*words)
    assert asked.exit_code == 2
    assert "nothing was changed: nobody can be asked here, say --yes" in asked.stderr
    done = run(*words, "--yes")
    assert done.exit_code == 2
    assert "is mended; as it was it is kept in" in done.stderr
    assert "3 faults: nothing was sent" in done.stderr
    assert "+6591755002" in file.read_text()


def test_a_dry_run_mends_nothing(run: Runner, tmp_path: Path) -> None:
    """What would be put in is shown, and the file stays."""
    file = orders(tmp_path / "orders.csv", 3)
    before = file.read_text()
    done = run("push", file, "--dry-run", "--fix", "--yes")
    assert done.exit_code == 2
    assert '"+65 9175 5000" → "+6591755000"' in done.stderr
    assert file.read_text() == before


@pytest.mark.parametrize("words", [("push", "-", "--simulate", "--fix"), ("plan", "-", "--fix")])
def test_standard_input_is_no_file_to_mend(run: Runner, words: tuple[str, ...]) -> None:
    """Nobody could see what became of it."""
    done = run(*words, stdin=f"{HEADER}\n")
    assert done.exit_code == 2
    assert "--fix mends a file, not standard input" in done.stderr
