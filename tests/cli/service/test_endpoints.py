"""`gotsurge endpoints`: the table, the document, and the profile made of one."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result

from gotsurge_async.api.endpoints import ENDPOINTS
from gotsurge_async.api.openapi import document, document_text
from gotsurge_async.api.profile import Profile
from tests.support.commands import Runner


def run(*words: str | Path, stdin: str | None = None, **variables: str) -> Result:
    """Run ``gotsurge WORDS``."""
    return Runner(Path("nowhere"))(*words, stdin=stdin, **variables)


def elsewhere(prefix: str = "/v2") -> dict[str, Any]:
    """A document of the API on other paths, and one server."""
    tree = document(servers=[("https://app.gotsurge.co/partners", "")])
    return {**tree, "paths": {prefix + path: item for path, item in tree["paths"].items()}}


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


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """Exit 2, and the reason."""
    done = run("endpoints", "openapi", "-o", tmp_path / "no" / "o.json")
    assert done.exit_code == 2
    assert "No such file" in done.stderr


@pytest.mark.parametrize("write", [json.dumps, yaml.safe_dump], ids=["json", "yaml"])
def test_a_document_becomes_a_profile(tmp_path: Path, write: Any) -> None:
    """All 21 are found, the file is a profile with the server as its API base, the report is on stdout."""
    source, target = tmp_path / "openapi", tmp_path / "profile.toml"
    source.write_text(write(elsewhere()))
    done = run("endpoints", "import", source, "-o", target)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"21 of 21 operations found: {target}"
    profile = Profile.load(target)
    assert profile.api_base == "https://app.gotsurge.co/partners"
    assert {each.name: each.path for each in profile} == {name: "/v2" + each.path for name, each in ENDPOINTS.items()}
    assert not any(each.assumed for each in profile)


def test_without_a_file_the_profile_is_the_data(tmp_path: Path) -> None:
    """Standard input to standard output, the report on stderr."""
    done = run("endpoints", "import", "-", stdin=json.dumps(elsewhere()))
    assert done.exit_code == 0
    (tmp_path / "p.toml").write_text(done.stdout)
    assert len(Profile.load(tmp_path / "p.toml").endpoints) == 21
    assert "21 of 21 operations found" in done.stderr


def test_the_report_is_json_if_asked(tmp_path: Path) -> None:
    """What was found, what is missing and what is left over, and exit 1 because not all is there."""
    tree = elsewhere()
    del tree["paths"]["/v2/tasks/{task_id}/cancel"]
    tree["paths"]["/pets"] = {"get": {"summary": "All pets"}}
    (tmp_path / "o.json").write_text(json.dumps(tree))
    done = run("endpoints", "import", tmp_path / "o.json", "--json")
    report = json.loads(done.stdout)
    assert (done.exit_code, done.stderr) == (1, "")
    assert (report["missing"], report["left_over"], len(report["found"])) == (["tasks.cancel"], ["GET /pets"], 20)
    assert report["found"][0] == {
        "operation": "partner.detail",
        "verb": "GET",
        "path": "/v2/partners/{signature}",
        "score": pytest.approx(0.95, abs=0.05),
        "sure": True,
        "doubt": "",
    }


def test_what_is_missing_or_unsure_is_told(tmp_path: Path) -> None:
    """Exit 1; the report names the operation that was not found, and what is none of ours."""
    tree = elsewhere()
    del tree["paths"]["/v2/tasks/{task_id}/cancel"]
    tree["paths"]["/pets"] = {"get": {"summary": "All pets"}}
    (tmp_path / "o.json").write_text(json.dumps(tree))
    done = run("endpoints", "import", tmp_path / "o.json", "-o", tmp_path / "p.toml")
    assert done.exit_code == 1
    assert "tasks.cancel\t\t\tnot found" in done.stdout.splitlines()
    assert "none of ours: GET /pets" in done.stdout.splitlines()
    assert len(Profile.load(tmp_path / "p.toml").endpoints) == 20


def test_a_foreign_document_writes_nothing(tmp_path: Path) -> None:
    """Exit 2, and no file."""
    pets = {"openapi": "3.0.0", "info": {"title": "Pets"}, "paths": {"/pets": {"get": {"summary": "All pets"}}}}
    (tmp_path / "o.json").write_text(json.dumps(pets))
    done = run("endpoints", "import", tmp_path / "o.json", "-o", tmp_path / "p.toml")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "none of the operations of Pets is one of ours" in done.stderr
    assert not (tmp_path / "p.toml").exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a: [1", "neither JSON nor YAML (line 1)"),
        (b"\xff\xfe\x00", "neither JSON nor YAML"),
        (b"title: x", "no OpenAPI document"),
    ],
)
def test_a_file_that_is_no_document_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    """Exit 2, with the reason."""
    (tmp_path / "o.yaml").write_bytes(content)
    done = run("endpoints", "import", tmp_path / "o.yaml")
    assert (done.exit_code, done.stdout) == (2, "")
    assert told in done.stderr


def test_a_profile_is_not_overwritten_unasked(tmp_path: Path) -> None:
    """A file that is there stays; --force replaces it."""
    (tmp_path / "o.json").write_text(json.dumps(elsewhere()))
    (tmp_path / "p.toml").write_text("mine")
    words: list[str | Path] = ["endpoints", "import", tmp_path / "o.json", "-o", tmp_path / "p.toml"]
    done = run(*words)
    assert done.exit_code == 2
    assert "--force" in done.stderr
    assert (tmp_path / "p.toml").read_text() == "mine"
    assert run(*words, "--force").exit_code == 0
    assert len(Profile.load(tmp_path / "p.toml").endpoints) == 21


@pytest.mark.parametrize(
    ("servers", "option", "base"),
    [
        ([], None, None),
        ([{"url": "/v1"}], None, None),
        ([{"url": "http://app.gotsurge.co/v1"}], None, None),
        ([{"url": "https://a.co/v1"}, {"url": "https://b.co/v1"}], None, None),
        ([{"url": "https://a.co/v1"}, {"url": "https://b.co/v1"}], "https://b.co/v1/", "https://b.co/v1"),
    ],
)
def test_the_api_base_is_taken_only_if_it_is_clear(
    tmp_path: Path, servers: list[Any], option: str | None, base: str | None
) -> None:
    """Exactly one server with https is it; else it is left out and said so, unless --server names it."""
    (tmp_path / "o.json").write_text(json.dumps({**elsewhere(), "servers": servers}))
    more = ["--server", option] if option else []
    done = run("endpoints", "import", tmp_path / "o.json", "-o", tmp_path / "p.toml", *more)
    assert done.exit_code == 0
    assert Profile.load(tmp_path / "p.toml").api_base == base
    assert ("API base: not written" in done.stdout) == (base is None)


def test_a_server_that_cannot_be_is_wrong_usage(tmp_path: Path) -> None:
    """--server is held to the rules of every API base."""
    (tmp_path / "o.json").write_text(json.dumps(elsewhere()))
    done = run("endpoints", "import", tmp_path / "o.json", "--server", "http://app.gotsurge.co")
    assert done.exit_code == 2
    assert "https" in done.stderr
