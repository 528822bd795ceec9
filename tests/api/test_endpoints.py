"""`gotsurge_async.api.endpoints`: the whole table, and the profile that overrides it."""

from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotsurge_async.api.endpoints import ENDPOINTS, TASKS_CREATE, TASKS_GET, Endpoint, Profile, Replay
from gotsurge_async.errors import ConfigError, UsageError
from gotsurge_async.models.base import Model
from gotsurge_async.models.tasks import TaskChanges

TABLE = """
    partner.detail                          GET    /partners/{signature}                           -      safe
    auth.exchange                           POST   /oauth2/token                                   -      never
    auth.refresh                            POST   /oauth2/refresh                                 -      safe
    tasks.create                            POST   /tasks                                          bearer never
    tasks.get                               GET    /tasks/{task_id}                                bearer safe
    tasks.cancel                            POST   /tasks/{task_id}/cancel                         bearer converge
    prices.recommend                        POST   /prices/recommendation                          bearer safe
    platform.sso.exchange                   POST   /platform/sso/token                             -      never
    platform.organizations.create           POST   /platform/organizations                         bearer never
    platform.organizations.list             GET    /platform/organizations                         bearer safe
    platform.organizations.get              GET    /platform/organizations/{org_id}                bearer safe
    platform.organizations.roles            GET    /platform/organizations/{org_id}/roles          bearer safe
    platform.users.invite                   POST   /platform/users/invite                          bearer never
    platform.tasks.create                   POST   /platform/tasks                                 bearer never
    platform.tasks.list                     GET    /platform/tasks                                 bearer safe
    platform.tasks.get                      GET    /platform/tasks/{task_id}                       bearer safe
    platform.tasks.update                   PATCH  /platform/tasks/{task_id}                       bearer converge
    platform.drafts.create                  POST   /platform/tasks/drafts                          bearer harmless
    platform.drafts.broadcast               POST   /platform/tasks/drafts/broadcast                bearer safe
    platform.drafts.broadcast_with_tracking POST   /platform/tasks/drafts/broadcast-with-tracking  bearer safe
    platform.tasks.patch_tracking_ids       PATCH  /platform/tasks/tracking-ids                    bearer safe
"""
"""Every operation of the API document that a client calls: verb and path (assumed), bearer, replay."""


def row(endpoint: Endpoint[Any]) -> list[str]:
    """An endpoint as a row of the table."""
    return [
        endpoint.name,
        endpoint.verb,
        endpoint.path,
        "bearer" if endpoint.bearer else "-",
        str(endpoint.replay),
    ]


def test_every_operation_of_the_document_is_there() -> None:
    """The table holds exactly the 21 operations, in the order of the document, each under its own name."""
    assert [row(endpoint) for endpoint in ENDPOINTS.values()] == [line.split() for line in TABLE.strip().splitlines()]
    assert len(ENDPOINTS) == 21
    assert all(name == endpoint.name for name, endpoint in ENDPOINTS.items())


@pytest.mark.parametrize("endpoint", ENDPOINTS.values(), ids=ENDPOINTS)
def test_each_operation_is_whole(endpoint: Endpoint[Any]) -> None:
    """Bodies and answers are models, a GET has no body, every path is a guess, and the section is named."""
    assert issubclass(endpoint.response, Model)
    assert endpoint.request is None or endpoint.request is TaskChanges or issubclass(endpoint.request, Model)
    assert (endpoint.request is None) == (endpoint.verb == "GET")
    assert endpoint.assumed
    assert endpoint.section


def test_what_aiohttp_repeats_by_itself_may_be_repeated() -> None:
    """No operation that must not be repeated uses a verb that HTTP libraries repeat by themselves."""
    for endpoint in ENDPOINTS.values():
        assert endpoint.replay is Replay.SAFE or endpoint.verb in ("POST", "PATCH")


def test_a_value_cannot_leave_its_place_in_the_path() -> None:
    """Slashes, questions and dots inside a value are encoded, and never separate."""
    assert TASKS_GET.url_path({"task_id": "a/../b?c#d é%"}) == "/tasks/a%2F..%2Fb%3Fc%23d%20%C3%A9%25"
    assert TASKS_CREATE.url_path() == "/tasks"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: text not in (".", "..")))
def test_any_text_is_one_segment(value: str) -> None:
    """Whatever text a value is, the path has the same segments and only characters that a path may hold."""
    path = TASKS_GET.url_path({"task_id": value})
    assert path.startswith("/tasks/")
    assert path.count("/") == 2
    assert path.isascii()
    assert not set(path) & set("?# \n{}")


@pytest.mark.parametrize("value", ["", ".", "..", None, 5])
def test_a_value_that_leads_elsewhere_is_refused(value: Any) -> None:
    """Nothing, a dot or two would name another path: refused, with the operation and the name."""
    with pytest.raises(UsageError, match=r"tasks\.get: task_id is text"):
        TASKS_GET.url_path({"task_id": value})


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
        ({"base": 1}, "unknown key 'base'; it knows api_base and endpoints"),
        ({"api_base": 5}, "api_base is a URL, not 5"),
        ({"endpoints": ["tasks.get"]}, "endpoints is a table"),
        (
            {"endpoints": {"tasks.put": {}}},
            "endpoints.tasks.put: no such operation; the operations are partner.detail,",
        ),
        ({"endpoints": {"tasks.get": "/x"}}, "endpoints.tasks.get: give verb, path or both"),
        (override(replay="safe"), "give verb, path or both, and nothing else"),
        (override(verb="FETCH"), "verb is one of DELETE, GET, PATCH, POST, PUT, not 'FETCH'"),
        (override(verb="get"), "verb is one of"),
        (override(verb=["GET"]), "verb is one of"),
        (override(path="orders/{task_id}"), "path starts with a slash"),
        (override(path=5), "path starts with a slash"),
        (override(path="/orders"), "path must name ['task_id'] in braces, as /tasks/{task_id} does"),
        (override(path="/orders/{id}"), "path must name"),
        (override(path="/{task_id}/{task_id}"), "path must name"),
        (override(path="/orders/{task_id"), "path starts with a slash"),
        (override(path="/orders/{task_id!r}"), "path starts with a slash"),
        (override(path="/orders/{{task_id}}"), "path starts with a slash"),
        (override(path="/orders?id={task_id}"), "path starts with a slash"),
        (override(path="/orders/{task_id}#x"), "path starts with a slash"),
        (override(path="/orders /{task_id}"), "path starts with a slash"),
        ({"endpoints": {"tasks.create": {"path": "/x/{task_id}"}}}, "path must name nothing in braces"),
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
