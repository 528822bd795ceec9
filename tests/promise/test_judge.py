"""The judge of the promise: it must see every kind of fault, or its silence proves nothing."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from .judge import FILE_OF, Faults, Task, Words, judge, judge_end

KEYS = ("A", "B", "C")

Told = Mapping[str, tuple[str, str]]
"""What is said of each key: the word, and the task id."""


def task(key: str, number: int = 1, begins: float | None = 1.0, ends: float = float("inf")) -> Task:
    """A task of a key, live unless said."""
    return Task(f"{key}{number}", key, begins, ends)


def words(folder: Path, told: Told, code: int = 0, **changes: Any) -> Words:
    """A command that says this of its orders, in files and summary, with some of the summary changed."""
    names = ("created", "refused", "unprocessed", "in_doubt", "cancelled", "changed")
    files = {name: str(folder / f"R-{name}.csv") for name in names}
    for name, path in files.items():
        with Path(path).open("w", newline="") as stream:
            table = csv.writer(stream)
            table.writerow(("tracking_id", "gs_task_id", "gs_status", "gs_error"))
            table.writerows((key, id_, word, "") for key, (word, id_) in told.items() if FILE_OF[word] == name)
    files["summary"] = str(folder / "R-summary.json")
    counts = {word: sum(each == word for each, _ in told.values()) for word in FILE_OF}
    document = {"run": "R", "orders": len(told), **counts, "files": files, **changes}
    Path(files["summary"]).write_text(json.dumps(document))
    return Words.said(code, json.dumps(document), rows=KEYS)


GOOD: Told = {key: ("created", f"{key}1") for key in KEYS}


def kinds(faults: Faults) -> tuple[int, int, int]:
    """How many of each kind: doubles, losses, dishonest words."""
    return len(faults.doubles), len(faults.losses), len(faults.dishonest)


def test_a_true_word_has_no_fault(tmp_path: Path) -> None:
    """Three orders created once and told so are no fault, and neither is a draft or a cancelled task beside them."""
    tasks = [*map(task, KEYS), task("A", 2, begins=None), task("B", 0, begins=0.0, ends=0.5)]
    assert str(judge_end(KEYS, tasks, words(tmp_path, GOOD), exactly_once=True)) == "no fault"


def test_a_double_is_seen(tmp_path: Path) -> None:
    """Two tasks that are live at once are a double, also when one of them was cancelled later, whatever is said."""
    for ends in (float("inf"), 3.0):
        tasks = [*map(task, KEYS), task("A", 2, begins=2.0, ends=ends)]
        assert judge(KEYS, tasks).doubles
        assert kinds(judge(KEYS, tasks, words(tmp_path, GOOD))) == (1, 0, 0)


def test_a_task_that_nobody_ordered_is_seen() -> None:
    """A task with another tracking id calls a driver for nothing."""
    assert kinds(judge(KEYS, [task("X")])) == (1, 0, 0)


def test_a_loss_is_seen(tmp_path: Path) -> None:
    """An order that is said to be created and is not there, or that is in no file, is lost."""
    two = [task("A"), task("B")]
    assert kinds(judge(KEYS, two, words(tmp_path, GOOD))) == (0, 1, 0)
    told = {key: GOOD[key] for key in ("A", "B")}
    assert kinds(judge(KEYS, two, words(tmp_path, told))) == (0, 1, 0)
    assert judge_end(KEYS, two, words(tmp_path, told), exactly_once=False).losses
    said = words(tmp_path, GOOD)
    (tmp_path / "R-created.csv").unlink()
    assert judge(KEYS, [*map(task, KEYS)], said).losses


@pytest.mark.parametrize("word", ["refused", "unprocessed", "cancelled"])
def test_a_live_order_must_not_be_said_to_be_absent(tmp_path: Path, word: str) -> None:
    """A live order in a file that may be pushed again, or that is said to be cancelled, is a dishonest word."""
    told = {**GOOD, "C": (word, "")}
    code = {"refused": 1, "unprocessed": 5, "cancelled": 1}[word]
    assert kinds(judge(KEYS, [*map(task, KEYS)], words(tmp_path, told, code))) == (0, 0, 1)
    assert not judge(KEYS, [task("A"), task("B")], words(tmp_path, told, code))


def test_another_task_id_is_seen(tmp_path: Path) -> None:
    """A created row that names another task than the live one is a dishonest word."""
    told = {**GOOD, "C": ("already_pushed", "C7")}
    assert kinds(judge(KEYS, [*map(task, KEYS)], words(tmp_path, told))) == (0, 0, 1)


@pytest.mark.parametrize(
    ("word", "right", "wrong"),
    [
        ("in_doubt", 3, (0, 1, 2, 5, 7)),
        ("unprocessed", 5, (0, 2, 3)),
        ("refused", 1, (0, 2, 3)),
        ("cancelled", 1, (0, 2, 3)),
        ("created", 0, (2, 3)),
    ],
)
def test_a_wrong_exit_code_is_seen(tmp_path: Path, word: str, right: int, wrong: tuple[int, ...]) -> None:
    """In doubt is exit 3 and nothing else is, 0 is for created orders alone, and 2 for a push that sent nothing."""
    tasks = [task("A"), task("B")] + ([task("C")] if word == "created" else [])
    told = {**GOOD, "C": (word, "C1" if word == "created" else "")}
    assert not judge(KEYS, tasks, words(tmp_path, told, right))
    for code in wrong:
        assert kinds(judge(KEYS, tasks, words(tmp_path, told, code))) == (0, 0, 1), code


def test_success_without_a_summary_is_seen() -> None:
    """Exit 0 of a command that printed no summary is a dishonest word; any other code may come without."""
    assert judge(KEYS, [], Words.said(0, "")).dishonest
    assert not judge(KEYS, [], Words.said(8, ""))


@pytest.mark.parametrize("changes", [{"created": 2}, {"in_doubt": 1}, {"orders": 4}])
def test_counts_that_are_not_those_of_the_files_are_seen(tmp_path: Path, changes: dict[str, int]) -> None:
    """The summary counts what the files have."""
    assert judge(KEYS, [*map(task, KEYS)], words(tmp_path, GOOD, **changes)).dishonest


def test_a_summary_file_that_says_something_else_is_seen(tmp_path: Path) -> None:
    """The summary that was printed and the one in the folder are the same."""
    said = words(tmp_path, GOOD)
    (tmp_path / "R-summary.json").write_text(json.dumps({**(said.document or {}), "created": 1}))
    assert kinds(judge(KEYS, [*map(task, KEYS)], said)) == (0, 0, 1)


def test_a_row_that_is_in_two_files_or_in_the_wrong_one_is_seen(tmp_path: Path) -> None:
    """Each row is in one file, that of its word."""
    said = words(tmp_path, GOOD)
    row = (tmp_path / "R-created.csv").read_text().splitlines()[1]
    with (tmp_path / "R-refused.csv").open("a") as stream:
        stream.write(f"{row}\n")
    found = judge(KEYS, [*map(task, KEYS)], said).dishonest
    assert any("2 times" in text for text in found)
    assert any("refused file" in text for text in found)


def test_a_status_that_says_something_else_is_seen(tmp_path: Path) -> None:
    """``gotsurge status`` and the summary count the same."""
    said = words(tmp_path, GOOD)
    assert said.document is not None
    counts = {word: said.document[word] for word in ("orders", *FILE_OF)}
    tasks = [*map(task, KEYS)]
    assert not judge(KEYS, tasks, Words(0, said.document, counts))
    assert kinds(judge(KEYS, tasks, Words(0, said.document, {**counts, "created": 2, "in_doubt": 1}))) == (0, 0, 2)


def test_doubt_is_no_end_where_it_can_be_settled(tmp_path: Path) -> None:
    """In the end two-phase mode has nothing in doubt; direct mode may have, and never loses the rest."""
    told = {**GOOD, "C": ("in_doubt", "")}
    said = words(tmp_path, told, 3)
    assert not judge_end(KEYS, [task("A"), task("B")], said, exactly_once=False)
    assert not judge_end(KEYS, [*map(task, KEYS)], said, exactly_once=False)
    assert judge_end(KEYS, [*map(task, KEYS)], said, exactly_once=True).dishonest
    assert judge_end(KEYS, [task("A"), task("B")], said, exactly_once=True).losses
    assert judge_end(KEYS, [task("A")], said, exactly_once=False).losses


def test_what_the_simulator_tells_is_read() -> None:
    """A draft is not live, a broadcast one is from its broadcast until it is cancelled."""
    draft: dict[str, Any] = {"id": "1", "tracking_id": "A", "draft": True, "history": [["pending_broadcast", 1.0]]}
    assert Task.read(draft) == Task("1", "A", None, float("inf"))
    history = [["pending_broadcast", 1.0], ["broadcasting", 2.0], ["cancelled", 3.0]]
    gone = Task.read({**draft, "draft": False, "history": history})
    assert (gone.begins, gone.ends, gone.live) == (2.0, 3.0, False)
    straight = Task.read({**draft, "draft": False, "history": [["broadcasting", 1.0], ["accepted", 5.0]]})
    assert (straight.begins, straight.live) == (1.0, True)
