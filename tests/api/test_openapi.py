"""`gotsurge_async.api.openapi`: the document says what the table and the models say, and docs/openapi.json is it."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from gotsurge_async import codec
from gotsurge_async.api.endpoints import ENDPOINTS, Endpoint
from gotsurge_async.api.openapi import document, document_text
from gotsurge_async.api.profile import Profile
from gotsurge_async.models.base import Model
from gotsurge_async.models.prices import Quote
from gotsurge_async.models.tasks import Order, TaskStatus, VehiclePreference
from tests.support.orders import order

WRITTEN = Path(__file__).parents[2] / "docs" / "openapi.json"
DOCUMENT = document()
TAGS = {
    "partner": "Authentication",
    "auth": "Authentication",
    "tasks": "Order",
    "prices": "Price",
    "platform": "Platform Partners",
}
SCHEMAS = DOCUMENT["components"]["schemas"]


def operation(endpoint: Endpoint[Any]) -> Any:
    """What the document says of an operation."""
    return DOCUMENT["paths"][endpoint.path][endpoint.verb.lower()]


def references(value: Any) -> Iterator[str]:
    """Every reference inside a value."""
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def test_the_document_is_valid() -> None:
    """openapi-spec-validator finds no fault in it, and the JSON of an order is valid by its schema."""
    from openapi_schema_validator import OAS31Validator  # takes seconds to load, which is spared whoever does not check
    from openapi_spec_validator import OpenAPIV31SpecValidator, validate

    validate(DOCUMENT, cls=OpenAPIV31SpecValidator)
    validator = OAS31Validator({"$ref": "#/components/schemas/Order", "components": DOCUMENT["components"]})
    validator.validate(json.loads(codec.encode(order())))
    wrong = json.loads(codec.encode(order())) | {"price": "5.00"}
    assert not validator.is_valid(wrong)


def test_the_written_document_is_current() -> None:
    """docs/openapi.json is what `gotsurge endpoints openapi -o docs/openapi.json` writes today."""
    assert WRITTEN.read_text(encoding="utf-8") == document_text()


@pytest.mark.parametrize("endpoint", ENDPOINTS.values(), ids=ENDPOINTS)
def test_every_operation_is_described(endpoint: Endpoint[Any]) -> None:
    """Verb, path, title, tag, bodies, bearer, replay and assumption of each operation are those of the table."""
    said = operation(endpoint)
    title = endpoint.section.removeprefix("Platform Partners: ")
    tag = TAGS[endpoint.name.partition(".")[0]]
    assert (said["operationId"], said["summary"], said["tags"]) == (endpoint.name, title, [tag])
    assert said["security"] == ([{"bearerAuth": []}] if endpoint.bearer else [])
    assert (said["x-gotsurge-replay"], said["x-gotsurge-assumed"]) == (endpoint.replay, True)
    body = said.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    assert body == (None if endpoint.request is None else {"$ref": f"#/components/schemas/{endpoint.request.__name__}"})
    answer = said["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer == {"$ref": f"#/components/schemas/{endpoint.response.__name__}"}


def test_it_holds_the_operations_of_the_table_and_no_other() -> None:
    """There are 21 operations, and the webhook stands apart from them."""
    said = [each["operationId"] for item in DOCUMENT["paths"].values() for each in item.values()]
    assert sorted(said) == sorted(ENDPOINTS)
    assert [each["post"]["summary"] for each in DOCUMENT["webhooks"].values()] == ["Task Status Updated"]


def test_every_reference_leads_somewhere() -> None:
    """Whatever is referred to is in the document, and every schema is referred to."""
    said = set(references(DOCUMENT))
    assert said == {f"#/components/schemas/{name}" for name in SCHEMAS}


def test_every_field_of_every_model_is_described() -> None:
    """No field of a model is missing; what only the client knows does not stand there."""
    for cls in [
        each
        for each in Model.__subclasses__() + list(models(Model))
        if each.__module__.startswith("gotsurge_async.models.") and each.__name__ in SCHEMAS
        # The class from which attrs made one with slots lives until it is collected.
        if getattr(sys.modules[each.__module__], each.__name__) is each
    ]:
        fields = {field.name for field in attrs.fields(cls)} - {"extra"}
        if cls is Quote:
            fields -= {"partial"}
        assert set(SCHEMAS[cls.__name__]["properties"]) == fields, cls


def models(cls: type[Any]) -> Iterator[type[Any]]:
    """The subclasses of a class, to any depth."""
    for each in cls.__subclasses__():
        yield each
        yield from models(each)


def test_an_order_is_described_as_the_document_has_it() -> None:
    """What an order needs is required, money is whole thousandths of a cent, enumerations list their values."""
    schema = SCHEMAS["Order"]
    assert schema["required"] == [field.name for field in attrs.fields(Order) if field.default is attrs.NOTHING]
    assert (schema["properties"]["price"]["type"], schema["properties"]["price"]["minimum"]) == ("integer", 0)
    assert "Thousandths of a cent" in schema["properties"]["price"]["description"]
    assert SCHEMAS["VehiclePreference"]["enum"] == [each.value for each in VehiclePreference]
    assert SCHEMAS["TaskStatus"]["enum"] == [each.value for each in TaskStatus]
    assert SCHEMAS["TaskBatch"]["properties"]["tasks"]["maxItems"] == 20


def test_an_update_needs_a_revision_and_null_clears() -> None:
    """Of Update Task only version_rev is required, and each other field may be null; items cannot be changed."""
    schema = SCHEMAS["TaskChanges"]
    assert schema["required"] == ["version_rev"]
    assert schema["properties"]["group_tag"]["type"] == ["string", "null"]
    assert {"type": "null"} in schema["properties"]["from_address"]["anyOf"]
    assert not {"items", "attachments", "driver"} & set(schema["properties"])


def test_a_profile_changes_verb_path_and_server() -> None:
    """What a profile confirms stands in the document, and is no longer called assumed."""
    said = document(
        Profile.from_mapping(
            {
                "api_base": "https://app.gotsurge.co/v2",
                "endpoints": {"tasks.get": {"verb": "POST", "path": "/orders/{task_id}"}},
            }
        )
    )
    assert said["servers"] == [{"url": "https://app.gotsurge.co/v2", "description": "As the profile says."}]
    assert said["paths"]["/orders/{task_id}"]["post"]["x-gotsurge-assumed"] is False
    assert "/tasks/{task_id}" not in said["paths"]


def test_servers_can_be_given() -> None:
    """Who serves the document says where it stands."""
    assert document(servers=[("http://127.0.0.1:1/x", "here")])["servers"] == [
        {"url": "http://127.0.0.1:1/x", "description": "here"}
    ]
