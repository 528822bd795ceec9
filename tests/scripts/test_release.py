"""The release, up to what cannot be taken back."""

import os
import re
import runpy
import shlex
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
release: dict[str, Any] = runpy.run_path(str(ROOT / "scripts" / "release"))

CHANGELOG = """# Changelog

What a user notices.

## [Unreleased]

### Added

- A second thing.

## [0.1.0] - 2030-01-01

### Added

- All.
"""


def test_what_was_unreleased_is_the_version() -> None:
    """The section gets the version and the day; all else stays as it was."""
    expected = CHANGELOG.replace("[Unreleased]", "[0.2.0] - 2030-03-05")
    assert release["released"](CHANGELOG, "0.2.0", date(2030, 3, 5)) == expected


@pytest.mark.parametrize("missing", ["## [Unreleased]\n", "### Added\n\n- A second thing.\n"])
def test_without_news_there_is_no_release(missing: str) -> None:
    """A changelog without the section, or with an empty one, stops the release."""
    with pytest.raises(release["Stop"], match="no news"):
        release["released"](CHANGELOG.replace(missing, "", 1), "0.2.0", date(2030, 3, 5))


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


@pytest.mark.slow
@pytest.mark.timeout(600)  # it builds, and makes an environment
def test_a_release_is_ready_and_not_published(tree: Path, tmp_path: Path) -> None:
    """A commit and checked files; then what it says to type is typed, but for the upload. A second one is refused."""
    git(tmp_path, "clone", "--quiet", "--bare", str(tree), "remote.git")
    git(tree, "remote", "set-url", "origin", str(tmp_path / "remote.git"))
    for key, value in (("user.name", "Mei"), ("user.email", "mei@example.com")):
        git(tree, "config", key, value)
    changelog = tree / "CHANGELOG.md"
    text = changelog.read_text(encoding="utf-8")
    changelog.write_text(text.replace("### Added\n", "### Added\n\n- Proxies of a new kind.", 1), encoding="utf-8")
    (tree / "scripts" / "versions").write_text("#!/bin/sh\n", encoding="utf-8")  # the dry run tries the other versions
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "-m", "Tell of proxies")
    before, published = git(tree, "rev-parse", "HEAD"), git(tmp_path / "remote.git", "show-ref")
    ended = subprocess.run([sys.executable, "scripts/release"], cwd=tree, text=True, capture_output=True)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    version = re.search(r"^== (\S+) is ready in (\S+), and nothing is published", ended.stdout, re.MULTILINE)
    assert version
    assert git(tmp_path / "remote.git", "show-ref") == published
    assert (git(tree, "status", "--porcelain"), git(tree, "tag")) == ("", "")
    assert (git(tree, "rev-parse", "HEAD~1"), git(tree, "log", "-1", "--format=%s")) == (
        before,
        f"Release {version[1]}\n",
    )
    news = changelog.read_text(encoding="utf-8").partition(f"## [{version[1]}]")[2]
    assert "- Proxies of a new kind." in news.partition("\n## [")[0]
    name = f"gotsurge_async-{version[1]}"
    assert sorted(str(path.relative_to(tree / version[2])) for path in (tree / version[2]).rglob("*.*")) == [
        f"dist/{name}-py3-none-any.whl",
        f"dist/{name}.tar.gz",
        f"{name}.cdx.json",
    ]
    tag, push = ended.stdout.splitlines()[-2:]
    for line in (tag, push):
        git(tree, *shlex.split(line)[1:])
    assert f"refs/tags/v{version[1]}" in git(tmp_path / "remote.git", "show-ref")
    again = subprocess.run([sys.executable, "scripts/release"], cwd=tree, text=True, capture_output=True)
    assert (again.returncode, "is there already" in again.stderr) == (1, True)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_release_leaves_no_trace(tree: Path, tmp_path: Path, how: signal.Signals) -> None:
    """Neither in the tree, nor in the folder for temporary files; it says that it may be given again."""
    for_a_while = tmp_path / "tmp"
    for_a_while.mkdir()
    before = git(tree, "rev-parse", "HEAD")
    process = subprocess.Popen(
        [sys.executable, "scripts/release"],
        cwd=tree,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(for_a_while)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None,
    )
    assert process.stdout
    for line in process.stdout:
        if "build, and what is in it" in line:
            process.send_signal(how)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, "give the same command again" in said) == (1, True)
    assert (git(tree, "rev-parse", "HEAD"), git(tree, "status", "--porcelain", "--ignored")) == (before, "")
    assert list(for_a_while.iterdir()) == []


@pytest.mark.slow
def test_a_branch_that_went_on_keeps_nothing_of_a_release(tree: Path, tmp_path: Path) -> None:
    """No files without their commit; what was committed meanwhile is not lost."""
    clone, made = tmp_path / "clone", tmp_path / "made"
    git(tmp_path, "clone", "--quiet", str(tree), "clone")
    made.mkdir()
    for each in (tree, clone):
        git(each, "commit", "--quiet", "--allow-empty", "-m", f"In {each.name}")
    keep = runpy.run_path(str(tree / "scripts" / "release"))
    with pytest.raises(keep["Stop"], match="begin again"):
        keep["keep"](clone, made, tree / "build" / "release-9.9.9")
    assert git(tree, "log", "-1", "--format=%s") == "In tree\n"
    assert not (tree / "build" / "release-9.9.9").exists()
