"""`gotsurge_async.api.openapi_reader`: what is read of other people's documents."""

from typing import Any

import pytest

from gotsurge_async.api.openapi_reader import Operation, read_document
from gotsurge_async.errors import ConfigError


def document(operation: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A document with one operation."""
    return {"openapi": "3.0.0", "paths": {"/x": {"post": operation}}, **more}


def only(tree: dict[str, Any]) -> Operation:
    """The one operation of a document."""
    (operation,) = read_document(tree).operations
    return operation


def test_bodies_are_read_two_deep_through_references_lists_and_combinations() -> None:
    """The names come out dotted, wherever the document keeps the schemas."""
    operation = only(
        document(
            {
                "requestBody": {"$ref": "#/components/requestBodies/New"},
                "responses": {201: {"content": {"application/problem+json": {"schema": {"$ref": "#/x~1y/0"}}}}},
            },
            components={
                "requestBodies": {
                    "New": {"content": {"text/csv": {}, "application/json": {"schema": {"$ref": "#/components/s"}}}}
                },
                "s": {"allOf": [{"properties": {"tasks": {"items": {"properties": {"a": {}, "b": {}}}}}}]},
            },
            **{"x/y": {"0": {"oneOf": [{"properties": {"c": {"properties": {"d": {"properties": {"e": {}}}}}}}]}}},
        )
    )
    assert operation.request == {"tasks", "tasks.a", "tasks.b"}
    assert operation.response == {"c", "c.d"}


def test_a_schema_that_holds_itself_ends() -> None:
    """References in a circle, straight or through fields, are followed once."""
    node = {"$ref": "#/components/schemas/Node"}
    loop = {"$ref": "#/components/schemas/Loop"}
    tree = document(
        {"requestBody": {"content": {"application/json": {"schema": node}}}, "responses": {"200": loop}},
        components={"schemas": {"Node": {"properties": {"next": node, "all": {"allOf": [node]}}}, "Loop": loop}},
    )
    assert only(tree).request == {"next", "all", "next.next", "next.all", "all.next", "all.all"}
    assert only(tree).response == frozenset()


def test_many_branches_upon_branches_are_read_at_once() -> None:
    """Forty levels of a schema that branches in two each time are not two to the fortieth schemas."""
    schemas: dict[str, Any] = {"S0": {"properties": {"end": {}}}}
    for level in range(1, 41):
        below = {"$ref": f"#/components/schemas/S{level - 1}"}
        schemas[f"S{level}"] = {"anyOf": [below, {"allOf": [below, below]}]}
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/S40"}}}}
    assert only(document({"requestBody": body}, components={"schemas": schemas})).request == {"end"}


def test_references_to_other_files_lead_nowhere() -> None:
    """Nothing is fetched, and the operation is there all the same."""
    operation = only(document({"requestBody": {"$ref": "https://example.com/body.json"}, "summary": "S", "tags": [1]}))
    assert (operation.request, operation.titles, operation.tags) == (frozenset(), ("S",), ())


def test_parameters_of_swagger_2_are_a_body() -> None:
    """The body parameter's schema, and the fields of a form, also those that the whole path shares."""
    tree = {
        "swagger": "2.0",
        "paths": {
            "/x": {
                "parameters": [{"$ref": "#/parameters/Form"}],
                "put": {"parameters": [{"in": "body", "schema": {"properties": {"a": {}}}}, {"in": "query"}]},
            }
        },
        "parameters": {"Form": {"in": "formData", "name": "f"}},
    }
    assert only(tree).request == {"a", "f"}


@pytest.mark.parametrize(
    ("rest", "servers"),
    [
        ({}, ()),
        (
            {"servers": [{"url": "https://{env}.x.co/{v}", "variables": {"env": {"default": "app"}}}, {}, 3]},
            ("https://app.x.co/{v}",),
        ),
        ({"servers": [{"url": "/v1"}, {"url": "http://["}, {"url": ""}]}, ("http://[",)),
    ],
)
def test_servers_are_read_with_their_variables(rest: dict[str, Any], servers: tuple[str, ...]) -> None:
    """Defaults stand in for variables; a variable without one stays as it is; a path alone says nothing."""
    assert read_document(document({}, **rest)).servers == servers


@pytest.mark.parametrize(
    ("rest", "servers"),
    [
        ({"host": "x.co", "basePath": "/v1", "schemes": ["https", "wss"]}, ("https://x.co/v1",)),
        ({"host": "x.co"}, ("https://x.co",)),
        ({"basePath": "/v1"}, ()),
    ],
)
def test_servers_of_swagger_2_are_put_together(rest: dict[str, Any], servers: tuple[str, ...]) -> None:
    """Scheme, host and base path; https where no scheme is named."""
    assert read_document({"swagger": "2.0", "paths": {"/x": {"get": {}}}, **rest}).servers == servers


def test_names_in_a_path_can_be_changed_one_for_one() -> None:
    """The braces get other names in their order."""
    operation = Operation(verb="GET", path="/a/{x-y}/b/{z}")
    assert operation.path_names == ("x-y", "z")
    assert operation.path_with(("p", "q")) == "/a/{p}/b/{q}"


def test_a_document_without_operations_is_refused() -> None:
    """Nothing to match is told as such; OPTIONS and notes are no operations."""
    with pytest.raises(ConfigError, match="describes no operation"):
        read_document({"openapi": "3.0.0", "paths": {"/x": {"options": {}, "summary": "x"}, "/y": None}})
