"""`gotsurge explain`, and the line below each error that names it."""

import json
import re
import traceback
from pathlib import Path

import pytest

from gotsurge_async.catalogue import entries
from gotsurge_async.cli.help.explain import entries_for
from gotsurge_async.errors import InvalidData, Problem
from tests.cli.test_page import commands, found
from tests.support.commands import Runner, write_orders


@pytest.mark.parametrize("word", ["exit-3", "3", "EXIT-3"])
def test_an_exit_code_is_explained(run: Runner, word: str) -> None:
    """By its number, or as an error names it."""
    done = run("explain", word)
    assert done.exit_code == 0
    assert done.stdout.startswith("exit-3: In doubt")
    assert "gotsurge reconcile RUN" in done.stdout


def test_an_error_is_explained_by_its_code_and_by_what_it_said(run: Runner) -> None:
    """The code in any case, and the message as it was printed, lead to the same text."""
    text = run("explain", "E521").stdout
    assert text.startswith("E521: Another process is working on the run")
    assert "*" not in text
    assert run("explain", "e521").stdout == text
    said = "ledger /tmp/a.db: run 20300304-7 is held by process 7 on pc; wait until that process ends, or stop it first"
    assert run("explain", said).stdout == text


@pytest.mark.parametrize("pasted", [("see: gotsurge explain E201",), ("see:", "gotsurge", "explain", "E201")])
def test_the_line_below_an_error_is_understood_as_it_was_copied(run: Runner, pasted: tuple[str, ...]) -> None:
    """Whole, with and without quotes; also when it names several codes."""
    assert run("explain", *pasted).stdout == run("explain", "E201").stdout
    assert run("explain", *pasted, "exit-3").stdout == run("explain", "E201", "exit-3").stdout


def test_all_are_listed(run: Runner) -> None:
    """Without arguments each code stands on a line, below what it belongs to; as JSON there is all of it."""
    listed = run("explain").stdout
    assert all(f"  {code} " in listed for code in entries())
    document = json.loads(run("explain", "--json").stdout)
    assert [each["code"] for each in document] == list(entries())


@pytest.mark.parametrize("words", [("E529",), ("E201", "E529"), ("rubber duck pond",)])
def test_what_is_unknown_is_refused(run: Runner, words: tuple[str, ...]) -> None:
    """A code or a message that does not exist, also next to one that does."""
    done = run("explain", *words)
    assert done.exit_code == 2
    assert "is not a known code or message" in done.stderr


def test_an_error_names_its_code_below(run: Runner, tmp_path: Path) -> None:
    """The last line on standard error says where it is explained; the document has it as a field."""
    done = run("push", tmp_path / "none.csv", "--simulate", "--json")
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1] == "see: gotsurge explain E201"
    assert json.loads(done.stdout)["explain"] == ["E201"]


def test_the_faults_of_a_file_name_their_codes(run: Runner, tmp_path: Path) -> None:
    """Each kind of fault has its own, up to three."""
    file = write_orders(tmp_path / "orders.csv", range(3))
    file.write_text(file.read_text().replace("car,ftl", "cra,ftl").replace("48.50,", "1.50,"))
    done = run("push", file, "--simulate")
    assert done.stderr.splitlines()[-1] in ("see: gotsurge explain E224 E228", "see: gotsurge explain E228 E224")


def test_a_wrong_option_and_a_missing_word_are_explained(run: Runner) -> None:
    """What the command line itself refuses has a code, too; a bare group shows its help, and nothing more."""
    assert run("push", "--frob").stderr.splitlines()[-1] == "see: gotsurge explain E101"
    assert "see:" not in run("ledger").stderr


def test_an_exit_code_without_a_message_of_its_own_names_itself(run: Runner, tmp_path: Path) -> None:
    """Whoever sees only a number finds out what it says."""
    (tmp_path / "p.toml").write_text("endpoints = 1")
    done = run("endpoints", "list", "--profile", tmp_path / "p.toml")
    assert done.exit_code == 2
    assert "see: gotsurge explain E106" in done.stderr


def test_every_message_is_understood_as_a_traceback_ends_with_it() -> None:
    """The class before a message changes nothing of what explains it."""
    for entry in entries().values():
        for message in entry.messages:
            if sum(map(len, message.split("…"))) >= 16:
                error = InvalidData("", [Problem("orders[0].price", message.replace("…", "run-7"))])
                (line,) = traceback.format_exception_only(error)
                assert [one.code for one in entries_for([line])] == [entry.code], message


def test_a_command_that_is_advised_can_be_typed(run: Runner) -> None:
    """Each command in an entry exists, with the options that are written there."""
    advised: dict[str, set[str]] = {}
    for entry in entries().values():
        for line in re.findall(r"`(gotsurge [^`]+)`", entry.text):
            for words in commands(line.partition(" >")[0]):
                if words != ["--help"]:
                    _, name, rest = found(words)
                    advised.setdefault(name, set()).update(filter(re.compile("--?[a-z][a-z-]*").fullmatch, rest))
    assert len(advised) > 10
    for name, options in advised.items():
        help_ = run(*name.split(), "--help").stdout
        for option in options:
            assert re.search(rf"(^|\s|,){option}\b", help_), f"{name} has no {option}"
