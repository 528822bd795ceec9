"""The release, up to what cannot be taken back."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
release: dict[str, Any] = runpy.run_path(str(ROOT / "scripts" / "release"))

BEFORE = """# Changelog

What a user notices.

<!-- the newest version comes next -->

## [0.2.0] - 2030-03-05

### Added

- From a fragment.

### Security

- A hole less.

## [Unreleased]

### Added

- By hand,
  on two lines.

### Fixed

- A fault.

## [0.1.0] - 2030-01-01

### Added

- All.
"""
AFTER = """# Changelog

What a user notices.

<!-- the newest version comes next -->

## [0.2.0] - 2030-03-05

### Added

- From a fragment.
- By hand,
  on two lines.

### Security

- A hole less.

### Fixed

- A fault.

## [0.1.0] - 2030-01-01

### Added

- All.
"""


def test_what_was_unreleased_is_part_of_the_version() -> None:
    """Kind by kind, behind what the fragments say; older versions stay as they are."""
    assert release["one_section"](BEFORE, "0.2.0") == AFTER


def test_without_fragments_it_is_what_was_unreleased() -> None:
    """The words that there was nothing are not among them."""
    text = re.sub(r"### Added\n\n- From.*?(?=## \[Unr)", "No significant changes.\n\n", BEFORE, flags=re.DOTALL)
    made = release["one_section"](text, "0.2.0")
    assert "No significant" not in made
    assert "By hand" in made


def test_without_news_there_is_no_release() -> None:
    """Nobody would know what for."""
    with pytest.raises(release["Stop"], match="no news"):
        release["one_section"]("# Changelog\n\n## [0.2.0] - 2030-03-05\n\nNo significant changes.\n", "0.2.0")


def git(tree: Path, *words: str) -> str:
    """Run git; what it says is given."""
    who = ["-c", "user.name=Mei", "-c", "user.email=mei@example.com"]
    return subprocess.run(["git", *who, *words], cwd=tree, check=True, text=True, capture_output=True).stdout


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A clone of this project, as it is committed."""
    git(tmp_path, "clone", "--quiet", str(ROOT), "tree")
    return tmp_path / "tree"


@pytest.mark.slow
def test_fragments_come_to_the_head_of_the_changelog(tree: Path) -> None:
    """As one commit, by which they are gone; a kind that there is not stops it."""
    git(tree, "config", "user.name", "Mei")
    git(tree, "config", "user.email", "mei@example.com")
    (tree / "changes" / "proxies.added.md").write_text("Proxies of a new kind.\n", encoding="utf-8")
    release["news"](tree, "9.9.9")
    text = (tree / "CHANGELOG.md").read_text(encoding="utf-8")
    first = text[text.index("\n## [") :]
    assert first.startswith("\n## [9.9.9] - ")
    assert "- Proxies of a new kind." in first.partition("### Changed")[0]
    assert "[Unreleased]" not in text
    assert [path.name for path in (tree / "changes").iterdir()] == ["README.md"]
    assert git(tree, "status", "--porcelain") == ""


@pytest.mark.slow
def test_a_tag_is_given_once(tree: Path) -> None:
    """Who forgot to set the version is told where."""
    version = release["version_of"](tree)
    git(tree, "tag", f"v{version}")
    with pytest.raises(release["Stop"], match=r"version\.py"):
        release["version_of"](tree)


@pytest.mark.slow
@pytest.mark.timeout(1200)  # it builds, and makes three environments
def test_a_dry_run_tries_all_and_keeps_nothing(tree: Path) -> None:
    """Built, checked, installed, and run with the lowest and the newest versions; the tree is as it was."""
    before = git(tree, "rev-parse", "HEAD")
    ended = subprocess.run(
        [sys.executable, "scripts/release", "--dry-run"],
        cwd=tree,
        text=True,
        capture_output=True,
        env=os.environ | {"GIT_AUTHOR_NAME": "Mei", "GIT_COMMITTER_NAME": "Mei"},
    )
    assert ended.returncode == 0, ended.stderr + ended.stdout
    assert ended.stdout.count("500 created") == 2
    assert "could be released: nothing was kept" in ended.stdout
    assert (git(tree, "rev-parse", "HEAD"), git(tree, "status", "--porcelain", "--ignored")) == (before, "")
