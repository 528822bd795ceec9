"""`gotsurge_async.api.profile`: what it overrides, and what it refuses."""

from pathlib import Path
from typing import Any

import attrs
import pytest

from gotsurge_async.api.endpoints import ENDPOINTS, TASKS_CREATE, TASKS_GET
from gotsurge_async.api.profile import Profile
from gotsurge_async.errors import ConfigError


def test_a_profile_overrides_verb_and_path() -> None:
    """What a profile names is no longer assumed; all the rest of the operation stays."""
    profile = Profile.from_mapping(
        {
            "api_base": "https://app.gotsurge.co/v2",
            "endpoints": {"tasks.get": {"path": "/orders/{task_id}"}, "tasks.create": {"verb": "PUT"}},
        }
    )
    assert profile.api_base == "https://app.gotsurge.co/v2"
    assert profile.resolve(TASKS_GET) == attrs.evolve(TASKS_GET, path="/orders/{task_id}", assumed=False)
    assert profile.resolve(TASKS_CREATE) == attrs.evolve(TASKS_CREATE, verb="PUT", assumed=False)
    others = [endpoint for endpoint in profile if endpoint.assumed]
    assert others == [e for e in ENDPOINTS.values() if e.name not in ("tasks.get", "tasks.create")]


def test_no_profile_changes_nothing() -> None:
    """An empty profile resolves each operation to itself."""
    assert list(Profile()) == list(Profile.from_mapping({})) == list(ENDPOINTS.values())


def test_a_profile_is_read_from_toml(tmp_path: Path) -> None:
    """The TOML of the docstring makes the profile that it shows."""
    text = (Profile.__doc__ or "").partition("As TOML::")[2].partition("Raises:")[0]
    path = tmp_path / "profile.toml"
    path.write_text(text)
    profile = Profile.load(path)
    assert profile.api_base == "https://app.gotsurge.co/api/v2"
    assert profile.resolve(TASKS_CREATE).path == "/orders"


def override(**changes: Any) -> dict[str, Any]:
    """A profile that overrides one operation."""
    return {"endpoints": {"tasks.get": changes}}


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"base": 1}, "unknown key 'base'; the keys are api_base and endpoints"),
        ({"api_base": 5}, "api_base must be a URL, not 5"),
        ({"endpoints": ["tasks.get"]}, "endpoints must be a table"),
        (
            {"endpoints": {"tasks.put": {}}},
            "endpoints.tasks.put: no such operation; the operations are partner.detail,",
        ),
        ({"endpoints": {"tasks.get": "/x"}}, "endpoints.tasks.get: give verb, path or both"),
        (override(replay="safe"), "give verb, path or both; no other key is allowed"),
        (override(verb="FETCH"), "verb must be one of DELETE, GET, PATCH, POST, PUT, not 'FETCH'"),
        (override(verb="get"), "verb must be one of"),
        (override(verb=["GET"]), "verb must be one of"),
        (override(path="orders/{task_id}"), "path must be like "),
        (override(path=5), "path must be like "),
        (override(path="/orders"), "path must contain {task_id}, for example /tasks/{task_id}"),
        (override(path="/orders/{id}"), "path must contain"),
        (override(path="/{task_id}/{task_id}"), "path must contain"),
        (override(path="/orders/{task_id"), "path must be like "),
        (override(path="/orders/{task_id!r}"), "path must be like "),
        (override(path="/orders/{{task_id}}"), "path must be like "),
        (override(path="/orders?id={task_id}"), "path must be like "),
        (override(path="/orders/{task_id}#x"), "path must be like "),
        (override(path="/orders /{task_id}"), "path must be like "),
        ({"endpoints": {"tasks.create": {"path": "/x/{task_id}"}}}, "path must contain nothing in braces"),
    ],
)
def test_a_faulty_profile_says_what_is_wrong(mapping: dict[str, Any], message: str) -> None:
    """Each fault of a profile is a ConfigError that names the key and what would be right."""
    with pytest.raises(ConfigError) as caught:
        Profile.from_mapping(mapping)
    assert message in str(caught.value)
    assert str(caught.value).startswith("profile: ")


@pytest.mark.parametrize(
    ("content", "message"), [(b"= x", "is not TOML"), (b"\xff", "is not TOML"), (None, "cannot read")]
)
def test_a_profile_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    """A missing file and one that is no TOML are ConfigErrors that name the file."""
    path = tmp_path / "profile.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        Profile.load(path)
    assert str(path) in str(caught.value)
