"""The workflow that publishes a release, which nobody has run: it is linted, and says what the project says."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RELEASE = ROOT / ".github" / "workflows" / "release.yml"
TEXT = RELEASE.read_text(encoding="utf-8")


def workflow() -> dict[str, Any]:
    """The workflow; YAML takes its key ``on`` for true."""
    read: dict[str, Any] = yaml.safe_load(TEXT)
    return read


@pytest.mark.slow  # the extra `test` has no zizmor
def test_the_linter_of_workflows_finds_nothing() -> None:
    """zizmor, at its strictest, knows no fault of any workflow."""
    words = [Path(sys.executable).parent / "zizmor", "--offline", "--persona=pedantic", "--no-progress", RELEASE.parent]
    linted = subprocess.run(words, capture_output=True, text=True)
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_only_the_job_that_publishes_may_sign() -> None:
    """What builds can only read; what publishes waits for a person, and runs no code of ours."""
    build, publish = workflow()["jobs"]["build"], workflow()["jobs"]["publish"]
    assert workflow()["permissions"] == {}
    assert build["permissions"] == {"contents": "read"}
    assert publish["permissions"] == {"id-token": "write", "attestations": "write"}
    assert publish["environment"] == "pypi"
    assert not [step for step in publish["steps"] if "run" in step]
    assert "secrets." not in TEXT


def test_every_action_is_named_by_its_commit() -> None:
    """A tag of another repository may move; a commit cannot."""
    uses = re.findall(r"uses: (.+)", TEXT)
    assert len(uses) == 6
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each) for each in uses)


def test_what_was_never_run_says_so() -> None:
    """In the workflow, in SECURITY.md and in CONTRIBUTING.md."""
    assert "Never run here" in TEXT
    for page in ("SECURITY.md", "CONTRIBUTING.md"):
        assert re.search(r"never\s+run", (ROOT / page).read_text(encoding="utf-8")), page
