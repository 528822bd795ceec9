"""An OpenAPI document of the API, made from the endpoint table and the models.

GotSurge's own page shows neither paths nor verbs: those of this document are as assumed as the table's, and each
operation says so (``x-gotsurge-assumed``). An object may hold more than its named fields.
"""

import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs
import msgspec

from gotsurge_async.api.endpoints import CHUNK, Endpoint, Replay
from gotsurge_async.api.profile import Profile
from gotsurge_async.config import Environment
from gotsurge_async.models.answers import CreatedTasks, Task
from gotsurge_async.models.base import Model, OpenEnum
from gotsurge_async.models.places import Address, Contact
from gotsurge_async.models.platform import (
    BroadcastRequest,
    Invitation,
    OrganizationRequest,
    TaskEvent,
    TrackingRequest,
    UpdatedTasks,
)
from gotsurge_async.models.prices import PriceRequest, Quote
from gotsurge_async.models.tasks import TaskBatch, TaskFields
from gotsurge_async.money import Money

Schema = dict[str, Any]

_TAGS = (
    ("Authentication", ("partner.", "auth."), "Who the partner is, and tokens."),
    ("Order", ("tasks.",), "Orders, which the API calls tasks: create and broadcast, read, cancel."),
    ("Price", ("prices.",), "What an order should cost."),
    ("Platform Partners", ("platform.",), "Organizations, users and tasks of platform partners."),
)
_REPLAY = {
    Replay.SAFE: "A repeat is safe.",
    Replay.NEVER: "Never repeat it blindly when the answer was lost: a repeat may act twice.",
    Replay.CONVERGE: "When the answer was lost, read the state first, and repeat only what is still needed.",
    Replay.HARMLESS: "A repeat leaves an unused draft behind, and nothing worse.",
}
_MONEY: Schema = {"type": "integer", "description": "Thousandths of a cent: 100000 is one unit of the currency."}
_CLIENT_ONLY = {(Quote, "partial")}
"""Fields that the client fills in: the service does not send them."""
_BATCH: Schema = {"minItems": 1, "maxItems": CHUNK}
_AT_LEAST_0: Schema = {"minimum": 0}
_MORE: Mapping[tuple[type, str], Schema] = {
    (Address, "latitude"): {"minimum": -90, "maximum": 90},
    (Address, "longitude"): {"minimum": -180, "maximum": 180},
    (Contact, "vessel_imo"): {"minimum": 1_000_000, "maximum": 9_999_999},
    (TaskFields, "cargo_net_quantity"): _AT_LEAST_0,
    (TaskFields, "currency"): {"pattern": "^([A-Z]{3})?$", "description": 'ISO 4217; "" makes the price 0.'},
    (TaskFields, "client_timezone"): {"description": "An IANA name such as Asia/Singapore."},
    **{(TaskFields, name): _AT_LEAST_0 for name in TaskFields.MONEY},
    (TaskBatch, "tasks"): _BATCH,
    (BroadcastRequest, "task_ids"): _BATCH,
    (TrackingRequest, "tasks"): _BATCH,
    (PriceRequest, "stops"): {"minItems": 2, "description": "The pickup, then 1 to 10 deliveries."},
    (OrganizationRequest, "business_name"): {"pattern": "^[A-Za-z0-9 _-]+$"},
    (Invitation, "emails"): {"minItems": 1},
}
"""Limits and descriptions of fields, which their types do not contain."""
_ALSO: Mapping[tuple[type, str], Schema] = {
    (CreatedTasks, "tasks"): {"type": "object", "description": "One task, or tasks by their ids."},
    (UpdatedTasks, "updated_tasks"): {"type": "array", "items": {"type": "string"}, "description": "Ids alone."},
    (Task, "driver"): {"type": "null"},
}
"""Other forms that a field may have where GotSurge's document leaves it open."""


def document(profile: Profile | None = None, *, servers: Sequence[tuple[str, str]] = ()) -> Schema:
    """The document as plain values (OpenAPI 3.1).

    ``servers`` are URLs that the paths stand on, each with a description: by default the profile's, or GotSurge's two.
    """
    profile = profile or Profile()
    schemas = _Schemas()
    paths: dict[str, dict[str, Schema]] = {}
    for endpoint in profile:
        paths.setdefault(endpoint.path, {})[endpoint.verb.lower()] = _operation(endpoint, schemas)
    event: Schema = {
        "summary": "Task Status Updated",
        "description": "GotSurge calls the partner's own URL, without any authorization; answer exactly 200.",
        "requestBody": _json_body(schemas.of(TaskEvent)),
        "responses": {"200": {"description": "Received."}},
    }
    refusal = {
        "type": "object",
        "description": "Why the service said no. The document shows no such body: this shape is assumed.",
        "properties": {"message": {"type": "string"}},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "GotSurge Partnership API",
            "version": "0.1.0",  # of GotSurge's document that the table follows
            "summary": "Delivery orders for ship supplies, as gotsurge-async understands the API.",
            "description": (
                "Made by gotsurge-async from its endpoint table and its models; this is not GotSurge's own document. "
                "Paths, verbs and what else is marked as assumed are guesses where the published page is silent."
            ),
        },
        "servers": [{"url": url, "description": text} for url, text in servers or _servers(profile)],
        "tags": [{"name": name, "description": text} for name, _, text in _TAGS],
        "paths": paths,
        "webhooks": {"taskStatusUpdated": {"post": event}},
        "components": {
            "schemas": {**dict(sorted(schemas.named.items())), "Refusal": refusal},
            "securitySchemes": {"bearerAuth": {"type": "http", "scheme": "bearer"}},
        },
    }


def document_text(profile: Profile | None = None) -> str:
    """`document` as indented JSON text with a line feed at its end."""
    return msgspec.json.format(msgspec.json.encode(document(profile)), indent=2).decode() + "\n"


def _servers(profile: Profile) -> list[tuple[str, str]]:
    if profile.api_base is not None:
        return [(profile.api_base, "As the profile says.")]
    return [(Environment.named(name).api_base, f"{name}, assumed") for name in ("sandbox", "production")]


def _operation(endpoint: Endpoint[Any], schemas: "_Schemas") -> Schema:
    operation: Schema = {
        "operationId": endpoint.name,
        "summary": endpoint.section.removeprefix("Platform Partners: "),
        "description": _REPLAY[endpoint.replay],
        "tags": [next(name for name, prefixes, _ in _TAGS if endpoint.name.startswith(prefixes))],
        "parameters": list(_parameters(endpoint)),
    }
    if endpoint.request is not None:
        operation["requestBody"] = _json_body(schemas.of(endpoint.request))
    operation["responses"] = {
        "200": {"description": "Done.", **_content(schemas.of(endpoint.response))},
        "4XX": {"description": "Refused.", **_content({"$ref": "#/components/schemas/Refusal"})},
    }
    operation["security"] = [{"bearerAuth": []}] if endpoint.bearer else []
    operation["x-gotsurge-replay"] = endpoint.replay.value
    operation["x-gotsurge-assumed"] = endpoint.assumed
    return operation


def _parameters(endpoint: Endpoint[Any]) -> Iterator[Schema]:
    for name in re.findall(r"\{(\w+)\}", endpoint.path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    if endpoint.name.endswith(".list"):
        yield {"name": "page", "in": "query", "schema": {"type": "integer", "minimum": 1, "default": 1}}
        yield {"name": "per_page", "in": "query", "schema": {"type": "integer", "minimum": 1, "default": 200}}
    if endpoint.name == "platform.tasks.list":
        schema = {"type": "string", "enum": ["asc", "desc"], "default": "asc"}
        yield {"name": "order", "in": "query", "schema": schema}


def _json_body(schema: Schema) -> Schema:
    return {"required": True, **_content(schema)}


def _content(schema: Schema) -> Schema:
    return {"content": {"application/json": {"schema": schema}}}


class _Schemas:
    """Makes schemas of types. Each class becomes a named schema, which the others refer to."""

    def __init__(self) -> None:
        self.named: dict[str, Schema] = {}

    def of(self, hint: Any, *, null: bool = True) -> Schema:
        """The schema of a type. Without ``null``, that of ``X | None`` is that of X."""
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if origin in (typing.Union, types.UnionType):
            return self._union(args, null=null)
        if origin in (tuple, Sequence):
            return {"type": "array", "items": self.of(args[0])}
        if origin is dict:
            return {"type": "object"}
        if hint is Any:
            return {}
        return dict(_PLAIN[hint]) if hint in _PLAIN else self._named(hint)

    def _named(self, cls: Any) -> Schema:
        name = cls.__name__
        if name not in self.named:
            self.named[name] = {}  # there while it is being made, because a class may hold itself
            if issubclass(cls, OpenEnum):
                body: Schema = {"type": "string", "enum": [member.value for member in cls]}
            else:
                body = self._object(cls) if issubclass(cls, Model) else self._changes(cls)
            text = " ".join((cls.__doc__ or "").partition("\n\n")[0].split())
            self.named[name] = {**body, "description": text.replace("``", "`")}
        return {"$ref": f"#/components/schemas/{name}"}

    def _object(self, cls: Any) -> Schema:
        hints = typing.get_type_hints(cls)
        defaults = {field.name: field.default for field in attrs.fields(cls)}
        names = [name for name in defaults if name != "extra" and (cls, name) not in _CLIENT_ONLY]
        properties = {name: {**self.of(hints[name], null=False), **_more(cls, name)} for name in names}
        for name in names:
            if (cls, name) in _ALSO:
                properties[name] = {"anyOf": [properties[name], _ALSO[cls, name]]}
        required = [name for name in names if defaults[name] is attrs.NOTHING]
        return {"type": "object", "properties": properties, **({"required": required} if required else {})}

    def _changes(self, cls: Any) -> Schema:
        """The schema of an update: null clears a field, and the revision guards the update."""
        properties = {
            name: {**self.of(hint), **_more(TaskFields, name)} for name, hint in typing.get_type_hints(cls).items()
        }
        properties["currency"] = {"type": ["string", "null"], **_more(TaskFields, "currency")}
        properties["version_rev"] = {"type": "string"}
        return {"type": "object", "properties": properties, "required": ["version_rev"]}

    def _union(self, args: tuple[Any, ...], *, null: bool) -> Schema:
        rest = [arg for arg in args if arg is not type(None)]
        # An open enumeration may be given as plain text; which texts there are is the enumeration's to say.
        enums = [arg for arg in rest if isinstance(arg, type) and issubclass(arg, OpenEnum)]
        schema = self.of((enums or rest)[0])
        if not null or len(rest) == len(args):
            return schema
        if "type" in schema:
            return {**schema, "type": [schema["type"], "null"]}
        return {"anyOf": [schema, {"type": "null"}]}


_PLAIN: Mapping[Any, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    datetime: {"type": "string", "format": "date-time"},
    Money: _MONEY,
}


def _more(cls: type, name: str) -> Schema:
    return next((_MORE[base, name] for base in cls.__mro__ if (base, name) in _MORE), {})
