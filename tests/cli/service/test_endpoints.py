"""`gotsurge endpoints`: the table, the document, and the skeleton of a profile."""

import json
from pathlib import Path

from click.testing import Result

from gotsurge_async.api.endpoints import ENDPOINTS
from gotsurge_async.api.openapi import document_text
from gotsurge_async.api.profile import Profile
from tests.support.commands import Runner


def run(*words: str | Path, stdin: str | None = None, **variables: str) -> Result:
    """Run ``gotsurge WORDS``."""
    return Runner(Path("nowhere"))(*words, stdin=stdin, **variables)


def test_the_list_is_a_line_for_each_operation() -> None:
    """Piped, the table is tab-separated, a heading and 21 operations, all of them assumed."""
    done = run("endpoints", "list")
    assert (done.exit_code, done.stderr) == (0, "")
    heading, *rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert heading == ["operation", "verb", "path", "bearer", "replay", "assumed"]
    assert [row[0] for row in rows] == list(ENDPOINTS)
    assert rows[3] == ["tasks.create", "POST", "/tasks", "yes", "never", "yes"]
    assert {row[5] for row in rows} == {"yes"}


def test_the_list_shows_what_a_profile_confirms(tmp_path: Path) -> None:
    """With GOTSURGE_PROFILE, or --profile, the confirmed operation is not assumed any more."""
    profile = tmp_path / "p.toml"
    profile.write_text('[endpoints."tasks.get"]\npath = "/orders/{task_id}"\n')
    for done in (
        run("endpoints", "list", "--json", GOTSURGE_PROFILE=str(profile)),
        run("endpoints", "list", "--json", "--profile", profile),
    ):
        rows = {row["operation"]: row for row in json.loads(done.stdout)}
        assert rows["tasks.get"] == {
            "operation": "tasks.get",
            "verb": "GET",
            "path": "/orders/{task_id}",
            "bearer": True,
            "replay": "safe",
            "assumed": False,
        }
        assert sum(row["assumed"] for row in rows.values()) == 20


def test_a_profile_that_cannot_be_read_is_wrong_usage(tmp_path: Path) -> None:
    """Exit 2, nothing on stdout, the file's name on stderr."""
    done = run("endpoints", "list", "--profile", tmp_path / "none.toml")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "none.toml" in done.stderr


def test_the_document_goes_to_stdout_or_to_a_file(tmp_path: Path) -> None:
    """Both are the same text."""
    assert run("endpoints", "openapi").stdout == document_text()
    done = run("endpoints", "openapi", "-o", tmp_path / "o.json")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "o.json").read_text(encoding="utf-8") == document_text()


def test_a_file_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    """Exit 2, and the reason."""
    done = run("endpoints", "openapi", "-o", tmp_path / "no" / "o.json")
    assert done.exit_code == 2
    assert "No such file" in done.stderr


def test_the_skeleton_of_a_profile_confirms_nothing_until_it_is_filled_in(tmp_path: Path) -> None:
    """Every operation stands in it as a comment; without the # signs it is a profile of all of them."""
    path = tmp_path / "profile.toml"
    assert run("endpoints", "profile", "-o", path).exit_code == 0
    text = path.read_text(encoding="utf-8")
    assert text == run("endpoints", "profile").stdout
    assert not Profile.load(path).endpoints
    path.write_text("\n".join(line.removeprefix("# ") for line in text.splitlines() if "[" in line or " = " in line))
    profile = Profile.load(path)
    assert [(each.name, each.verb, each.path) for each in profile] == [
        (each.name, each.verb, each.path) for each in ENDPOINTS.values()
    ]
    assert not any(each.assumed for each in profile)


def test_a_profile_is_not_overwritten_unasked(tmp_path: Path) -> None:
    """A file that is there stays; --force replaces it."""
    path = tmp_path / "p.toml"
    path.write_text("mine")
    done = run("endpoints", "profile", "-o", path)
    assert done.exit_code == 2
    assert "--force" in done.stderr
    assert path.read_text() == "mine"
    assert run("endpoints", "profile", "-o", path, "--force").exit_code == 0
    assert "tasks.create" in path.read_text()
