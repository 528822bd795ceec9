"""The command where all is gone that Windows lacks, and refused what it refuses; see `tests.system.windows`."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ORDERS, ITEMS = ROOT / "examples" / "orders.csv", ROOT / "examples" / "items.csv"


class Done:
    """A command that has ended.

    Attributes:
        refused: how often it met each thing that Windows refuses.
    """

    def __init__(self, folder: Path, *words: object) -> None:
        ended = subprocess.run(
            [sys.executable, "-X", "warn_default_encoding", "-m", "tests.system.windows", *map(str, words)],
            capture_output=True,
            cwd=ROOT,
            env=os.environ
            | {"PYTHONIOENCODING": "cp1252", "PYTHONPATH": str(ROOT), "GOTSURGE_LEDGER": str(folder / "ledger.db")},
            timeout=60,
        )
        self.code: int = ended.returncode
        self.out: str = ended.stdout.decode("cp1252")
        *told, last = ended.stderr.decode("cp1252").splitlines() or [""]
        self.told: str = "\n".join(told)
        self.refused: dict[str, Any] = json.loads(last) if last.startswith("{") else {}
        of_ours = [line for line in told if "EncodingWarning" in line and "gotsurge_async" in line]
        assert not of_ours, "a file is opened in the encoding of the system"


@pytest.mark.slow
def test_every_module_is_imported(tmp_path: Path) -> None:
    """No name that Windows lacks is needed for that."""
    done = Done(tmp_path, "import")
    assert (done.code, done.told) == (0, "")


@pytest.mark.slow
def test_a_push_comes_to_its_end(tmp_path: Path) -> None:
    """Signals without handlers, folders that cannot be opened, and a scanner that holds each new file once."""
    done = Done(tmp_path, "push", ORDERS, "--items", ITEMS, "--simulate", "--out", tmp_path)
    assert done.code == 0, done.told
    assert done.out.endswith("500 created\n")
    assert done.refused["signal handler"] == 3  # SIGTERM for any command, and both for a push
    assert done.refused["file scanned"] >= 5
    assert len(list(tmp_path.glob("*-created.csv"))) == 1


@pytest.mark.slow
def test_what_comes_after_a_push_works_too(tmp_path: Path) -> None:
    """Backup over an older one, look, workbook, faults with signs that cp1252 lacks, a map: each as it should end."""
    assert Done(tmp_path, "push", ORDERS, "--items", ITEMS, "--simulate", "--out", tmp_path).code == 0
    copy = tmp_path / "copy.db"
    for words in (
        ("ledger", "backup", copy),
        ("ledger", "backup", copy, "--force"),
        ("ledger", "check"),
        ("ledger", "vacuum"),
        ("runs",),
        ("template", tmp_path / "orders.xlsx"),
        ("map", "draft", ORDERS, "--output", tmp_path / "map.toml"),
    ):
        done = Done(tmp_path, *words)
        assert done.code == 0, (words, done.told)
        assert "Traceback" not in done.told
    bad = tmp_path / "bad.csv"
    with ORDERS.open(encoding="utf-8", newline="") as source, bad.open("w", encoding="utf-8", newline="") as target:
        rows = list(csv.DictReader(source))[:3]
        rows[0]["currency"] = "S→D"
        rows[1]["service_type"] = "FTL"
        writer = csv.DictWriter(target, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    done = Done(tmp_path, "push", bad, "--simulate", "--out", tmp_path, "--faults", tmp_path / "faults.csv")
    assert done.code == 2
    assert "Traceback" not in done.told
    assert r"\u2192" in done.told
    assert (tmp_path / "faults.csv").exists()
