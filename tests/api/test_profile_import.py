"""`gotsurge_async.api.profile_import`: whose operation is which, and what it does not dare to say."""

import itertools
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotsurge_async.api.endpoints import ENDPOINTS
from gotsurge_async.api.openapi import document
from gotsurge_async.api.profile import Profile
from gotsurge_async.api.profile_import import Imported, import_document, profile_text
from gotsurge_async.errors import ConfigError

Tree = dict[str, Any]


def own() -> Tree:
    """Our own document, to be changed."""
    copy: Tree = json.loads(json.dumps(document()))
    return copy


def moved(tree: Tree, *without: str) -> tuple[Tree, dict[str, tuple[str, str]]]:
    """A document with every verb and path changed to meaningless ones; and what each operation has become.

    ``without`` are keys that every operation loses. The order of the operations is turned around.
    """
    verbs = itertools.cycle(["put", "patch", "delete", "get", "post"])
    paths: Tree = {}
    became = {}
    operations = [(path, each) for path, item in tree["paths"].items() for each in item.values()]
    for number, (path, each) in enumerate(reversed(operations)):
        verb, name = next(verbs), f"/v9/x{number}" + "/{key}" * path.count("{")
        became[each["operationId"]] = (verb.upper(), name)
        paths[name] = {verb: {key: value for key, value in each.items() if key not in without}}
    return {**tree, "paths": paths}, became


def found(imported: Imported) -> dict[str, tuple[str, str]]:
    """The sure matches: our name, their verb and path."""
    return {match.endpoint.name: (match.found.verb, match.found.path) for match in imported.sure}


@pytest.mark.parametrize("without", [(), ("operationId",), ("summary",)], ids=str)
def test_all_21_are_found_again_when_every_path_and_verb_has_changed(without: tuple[str, ...]) -> None:
    """Titles, tags and bodies are enough, and the profile says what each operation has become."""
    tree, became = moved(own(), *without)
    imported = import_document(tree)
    assert found(imported) == became
    assert (imported.unsure, imported.missing, imported.left_over) == ((), (), ())
    profile = imported.profile()
    for name, (verb, path) in became.items():
        resolved = profile.resolve(ENDPOINTS[name])
        assert (resolved.verb, resolved.assumed) == (verb, False)
        assert resolved.path.partition("{")[0] == path.partition("{")[0]


@pytest.mark.parametrize(
    "without", [("tags",), ("summary", "operationId"), ("summary", "operationId", "tags"), ("tags", "operationId")]
)
def test_with_little_to_go_by_nothing_wrong_is_taken_for_sure(without: tuple[str, ...]) -> None:
    """Where titles or tags are missing too, what is sure is right, most is found, and twins are told as unsure."""
    tree, became = moved(own(), *without)
    imported = import_document(tree)
    assert found(imported).items() <= became.items()
    assert 13 <= len(imported.sure) < 21
    assert all("fits about as well" in match.doubt for match in imported.unsure)


def field(*names: str) -> Tree:
    """The schema of an object with some fields."""
    return {"type": "object", "properties": {name: {"type": "string"} for name in names}}


def many(name: str, inner: Tree, *more: str) -> Tree:
    """The schema of an object with a list of others."""
    return {"type": "object", "properties": {name: {"type": "array", "items": inner}, **field(*more)["properties"]}}


def the_partners_file() -> Tree:
    """A file such as a partner may have: other paths, taskID in the braces, titles and tags as on the page."""
    address = {"type": "object", "properties": {"from_address": field("city"), "to_address": field("city")}}
    task = {"allOf": [address, field("id", "tracking_id", "price", "current_status", "server_time")]}
    new = {"allOf": [address, field("tracking_id", "invoice_number", "price", "currency", "service_type")]}
    tracked = many("tasks", field("id", "tracking_id"))
    updated = many("updated_tasks", field("id"), "server_time")
    organization = {"type": "object", "properties": {"organization": field("id", "business_name")}}
    message = field("message")
    partner = field("id", "client_key", "secret_key", "webhook_url", "name", "created_at", "updated_by", "updated_at")
    tokens = field("bearer_token", "refresh_token", "server_time")
    rows: list[tuple[str, str, str, str, Tree | None, Tree]] = [
        ("Authentication", "Partner Detail", "get", "/oauth2/partner/{signature}", None, partner),
        (
            "Authentication",
            "Exchange Token",
            "post",
            "/oauth2/exchange",
            field("client_key", "secret_key", "code"),
            tokens,
        ),
        (
            "Authentication",
            "Refresh Token",
            "post",
            "/oauth2/renew",
            field("client_key", "refresh_token"),
            field("bearer_token"),
        ),
        ("Order", "Create & Broadcast Tasks", "post", "/order", many("tasks", new), many("tasks", task, "server_time")),
        ("Order", "Task Detail", "get", "/order/{taskID}", None, task),
        ("Order", "Cancel Task", "put", "/order/cancel/{taskID}", field("reason"), message),
        (
            "Price",
            "Get price recommendation",
            "post",
            "/price",
            many("stops", field("address"), "service_type"),
            field("average_fee", "code", "distance", "total_fee", "total_fee_currency", "total_waypoint"),
        ),
        ("Webhook", "Task Status Updated", "post", "/your-url", field("type", "model_name", "timestamp"), {}),
        (
            "Platform Partners",
            "SSO Exchange Token",
            "post",
            "/sso",
            field("session_id"),
            field("bearer_token", "refresh_token", "user"),
        ),
        (
            "Platform Partners",
            "Create Associated Organization",
            "post",
            "/org",
            field("business_name"),
            organization,
        ),
        (
            "Platform Partners",
            "Associated Organization List",
            "get",
            "/org",
            None,
            many("organizations", field("id", "business_name"), "meta"),
        ),
        ("Platform Partners", "Associated Organization Detail", "get", "/org/{org_id}", None, organization),
        ("Platform Partners", "List Roles", "get", "/org/{orgID}/role", None, many("roles", field("id", "name"))),
        ("Platform Partners", "Invite User", "post", "/user/invitation", many("user", field("emails")), message),
        (
            "Platform Partners",
            "Create Tasks",
            "post",
            "/task",
            many("tasks", new),
            many("tasks", task, "server_time", "total_tasks"),
        ),
        ("Platform Partners", "Task List", "get", "/task", None, many("tasks", task, "meta")),
        ("Platform Partners", "Task Detail", "get", "/task/{taskID}", None, task),
        (
            "Platform Partners",
            "Update Task",
            "put",
            "/task/{taskID}",
            {"allOf": [new, field("version_rev", "group_tag", "org_id", "min_price", "max_price")]},
            task,
        ),
        (
            "Platform Partners",
            "Create Draft Tasks",
            "post",
            "/draft",
            many("tasks", new),
            {"type": "object", "properties": {"tasks": task, **field("total_tasks", "server_time")["properties"]}},
        ),
        ("Platform Partners", "Broadcast Draft Tasks", "post", "/draft/broadcast", field("task_ids"), updated),
        ("Platform Partners", "Broadcast with Tracking", "post", "/draft/broadcast-tracking", tracked, updated),
        ("Platform Partners", "Patch Tracking IDs", "patch", "/task/tracking", tracked, updated),
    ]
    paths: Tree = {}
    for tag, title, verb, path, body, answer in rows:
        paths.setdefault(path, {})[verb] = {
            "tags": [tag],
            "summary": title,
            **({"requestBody": {"content": {"application/json": {"schema": body}}}} if body else {}),
            "responses": {"200": {"description": "", "content": {"application/json": {"schema": answer}}}},
        }
    return {
        "openapi": "3.0.3",
        "info": {"title": "GotSurge Partnership API", "version": "0.1.0"},
        "servers": [{"url": "https://app.gotsurge.co/partnership"}],
        "paths": paths,
    }


def test_a_file_as_a_partner_may_have_it_is_matched_whole() -> None:
    """All 21 are found by the page's titles, the names in the braces become ours, the webhook is none of them."""
    imported = import_document(the_partners_file())
    assert [(match.endpoint.name, match.doubt) for match in imported.unsure] == []
    assert len(imported.sure) == 21
    assert list(map(str, imported.left_over)) == ["POST /your-url"]
    for match in imported.sure:
        assert match.endpoint.section.endswith(match.found.titles[0])
    profile = imported.profile(imported.servers[0])
    assert profile.api_base == "https://app.gotsurge.co/partnership"
    cancel = profile.resolve(ENDPOINTS["tasks.cancel"])
    assert (cancel.verb, cancel.path) == ("PUT", "/order/cancel/{task_id}")


def test_a_foreign_document_matches_nothing() -> None:
    """Pets, users and orders of a shop are none of our operations."""
    pet = field("id", "name", "tag")
    operations: dict[str, dict[str, tuple[str, Tree | None, Tree]]] = {
        "/pets": {"get": ("listPets", None, pet), "post": ("createPets", pet, pet)},
        "/pets/{petId}": {"get": ("showPetById", None, pet), "delete": ("deletePet", None, field("message"))},
        "/store/order": {"post": ("placeOrder", field("petId", "quantity"), field("id", "status"))},
        "/user/login": {"get": ("loginUser", None, field("token"))},
        "/user": {"post": ("createUser", field("username", "email"), field("id"))},
        "/tasks": {"post": ("createTask", field("title", "done"), field("id", "title", "done"))},
    }
    tree: Tree = {"openapi": "3.0.0", "info": {"title": "Pets", "version": "1"}, "paths": {}}
    for path, item in operations.items():
        tree["paths"][path] = {
            verb: {
                "operationId": name,
                "tags": ["pets"],
                **({"requestBody": {"content": {"application/json": {"schema": body}}}} if body else {}),
                "responses": {"200": {"content": {"application/json": {"schema": answer}}}},
            }
            for verb, (name, body, answer) in item.items()
        }
    imported = import_document(tree)
    assert imported.sure == ()
    assert len(imported.missing) + len(imported.unsure) == 21
    assert imported.profile() == Profile()


def swagger(tree: Tree) -> Tree:
    """An OpenAPI 3 document as Swagger 2 has it."""
    text = json.dumps(tree["components"]["schemas"]).replace("#/components/schemas/", "#/definitions/")
    paths: Tree = {}
    for path, item in tree["paths"].items():
        for verb, each in item.items():
            body = each.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
            answer = each["responses"]["200"]["content"]["application/json"]["schema"]
            operation = {
                "summary": each["summary"],
                "tags": each["tags"],
                "parameters": [{"in": "body", "name": "body", "schema": body}] if body else [],
                "responses": {"200": {"description": "", "schema": answer}},
            }
            paths.setdefault(path, {})[verb] = operation
    changed = json.loads(json.dumps(paths).replace("#/components/schemas/", "#/definitions/"))
    return {
        "swagger": "2.0",
        "info": {"title": "x", "version": "1"},
        "host": "app.gotsurge.co",
        "basePath": "/v3",
        "schemes": ["https"],
        "paths": changed,
        "definitions": json.loads(text),
    }


def test_swagger_2_is_read_as_well() -> None:
    """Bodies among the parameters, definitions, and host with base path give the same 21 and the API base."""
    tree, became = moved(own())
    imported = import_document(swagger(tree))
    assert found(imported) == became
    assert imported.servers == ("https://app.gotsurge.co/v3",)


def test_our_own_document_confirms_nothing() -> None:
    """What a document itself calls assumed, and we assume the same, is left out of the profile."""
    imported = import_document(own())
    assert imported.sure == ()
    assert {match.doubt for match in imported.unsure} == {"the document itself calls it assumed"}


def test_a_path_that_names_something_else_is_unsure() -> None:
    """An operation whose path needs more than we know is told, not written."""
    tree, _ = moved(own())
    path, item = next((path, item) for path, item in tree["paths"].items() if "Cancel" in str(item))
    del tree["paths"][path]
    tree["paths"]["/orgs/{org}/tasks/{key}/cancel"] = item
    unsure = import_document(tree).unsure
    assert [(match.endpoint.name, match.doubt) for match in unsure] == [
        ("tasks.cancel", "its path names org, key, where we have task_id")
    ]


def test_a_path_that_no_url_may_hold_is_unsure() -> None:
    """What a profile would refuse is told with the profile's own words."""
    tree, _ = moved(own())
    path, item = next((path, item) for path, item in tree["paths"].items() if "Cancel" in str(item))
    del tree["paths"][path]
    tree["paths"]["/cancel this/{key}"] = item
    (match,) = import_document(tree).unsure
    assert match.doubt.startswith("profile: endpoints.tasks.cancel: path starts with a slash")


def test_the_profile_that_is_written_is_the_profile_that_is_read(tmp_path: Path) -> None:
    """`Profile.load` of the text gives the profile of the match; what is unsure or missing is a comment in it."""
    tree = the_partners_file()
    tree["info"]["title"] = 'Odd "title"\n[endpoints]\x07'
    del tree["paths"]["/order/cancel/{taskID}"]
    tree["paths"]["/draft/broadcast"]["post"]["requestBody"] = {}
    imported = import_document(tree)
    assert [match.endpoint.name for match in imported.unsure] == ["platform.drafts.broadcast"]
    assert [endpoint.name for endpoint in imported.missing] == ["tasks.cancel"]
    text = profile_text(imported, api_base=imported.servers[0])
    (tmp_path / "profile.toml").write_text(text, encoding="utf-8")
    assert Profile.load(tmp_path / "profile.toml") == imported.profile(imported.servers[0])
    assert '# [endpoints."platform.drafts.broadcast"]' in text
    assert "# tasks.cancel (Cancel Task)" in text


def test_what_is_unsure_can_be_taken_up_by_removing_the_signs() -> None:
    """A commented entry without its # signs is a good entry of a profile."""
    text = profile_text(import_document(own()))
    entries = [line for line in text.splitlines() if line.startswith(("# [", "# verb", "# path"))]
    read = Profile.from_mapping(tomllib.loads("\n".join(line[2:] for line in entries)))
    assert len(read.endpoints) == 21


@pytest.mark.parametrize(
    "content",
    [None, [], "text", {}, {"openapi": "3.0.0"}, {"openapi": "1.2", "paths": {}}, {"swagger": "2.0", "paths": []}],
)
def test_what_is_no_openapi_document_is_refused(content: Any) -> None:
    """The refusal says what is missing."""
    with pytest.raises(ConfigError, match="no OpenAPI document"):
        import_document(content)


KEYS = st.sampled_from(
    ["$ref", "get", "post", "parameters", "requestBody", "content", "schema", "properties", "items", "allOf", "tags"]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | KEYS, inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.slow
@given(paths=st.dictionaries(st.text(), json_values), rest=st.dictionaries(st.text(), json_values))
def test_no_document_makes_it_stumble(paths: Mapping[str, Any], rest: Mapping[str, Any]) -> None:
    """Whatever stands in a document, it is matched or refused, and the text that is written can be read."""
    try:
        imported = import_document({**rest, "openapi": "3.1.0", "paths": paths})
    except ConfigError:
        return
    tomllib.loads(profile_text(imported))
