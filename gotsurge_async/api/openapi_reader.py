"""Reading anybody's OpenAPI document (3.x, or Swagger 2.0) for what tells its operations apart.

Such files are written by many hands: what is malformed is passed over, and only a file that is no OpenAPI document at
all is refused.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from gotsurge_async.api.profile import VERBS
from gotsurge_async.errors import ConfigError

_DEPTH = 2
"""How deep the names of a body are read: ``tasks`` and ``tasks.price``."""
_REFS = 32
"""How many references are followed one after the other."""
_NAMES = re.compile(r"\{([^{}]*)\}")
_SUCCESS = ("200", "201", "202", "2XX", "2xx", "default")


@attrs.frozen(kw_only=True)
class Operation:
    """One operation of a document.

    Attributes:
        verb, path: as they stand there.
        titles: its summary and its operationId, as far as it has them.
        tags: the groups that it stands in.
        request, response: the dotted names of the fields of its JSON bodies, two deep.
        assumed: whether the document itself says that it is a guess (``x-gotsurge-assumed``).
    """

    verb: str
    path: str
    titles: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    request: frozenset[str] = frozenset()
    response: frozenset[str] = frozenset()
    assumed: bool = False

    @property
    def path_names(self) -> tuple[str, ...]:
        """The names in braces in its path."""
        return tuple(_NAMES.findall(self.path))

    def path_with(self, names: tuple[str, ...]) -> str:
        """Its path with other names in the braces, one for one."""
        rest = iter(names)
        return _NAMES.sub(lambda _: f"{{{next(rest)}}}", self.path)

    def __str__(self) -> str:
        return f"{self.verb} {self.path}"


@attrs.frozen(kw_only=True)
class Described:
    """What a document says: its title, the URLs that its paths stand on if they name their host, its operations."""

    title: str
    servers: tuple[str, ...]
    operations: tuple[Operation, ...]


def read_document(content: Any) -> Described:
    """Read a document from plain values.

    Raises:
        ConfigError: it is no OpenAPI 3 and no Swagger 2 document, or holds no operation.
    """
    tree = _table(content)
    version = str(tree.get("openapi") or tree.get("swagger") or "")
    if not version.startswith(("2.", "3.")) or not isinstance(tree.get("paths"), Mapping):
        raise ConfigError("this is no OpenAPI document: it has no `openapi` (or `swagger`) version, or no `paths`")
    reader = _Reader(tree)
    operations = tuple(reader.operations())
    if not operations:
        raise ConfigError("this OpenAPI document describes no operation")
    info = _table(tree.get("info"))
    title = " ".join(str(info[name]) for name in ("title", "version") if info.get(name))
    # A server that is only a path is relative to where the document was fetched: nobody knows where that was.
    servers = tuple(url for url in reader.servers() if url.startswith(("http://", "https://")))
    return Described(title=title or "a document without a title", servers=servers, operations=operations)


class _Reader:
    def __init__(self, tree: Mapping[str, Any]) -> None:
        self._tree = tree

    def operations(self) -> Iterator[Operation]:
        for path, raw in _table(self._tree["paths"]).items():
            item = self._resolved(raw)
            for verb, content in item.items():
                if verb.upper() in VERBS and isinstance(content, Mapping) and isinstance(path, str):
                    yield self._operation(verb.upper(), path, item, content)

    def servers(self) -> Iterator[str]:
        for each in _list(self._tree.get("servers")):
            server = _table(each)
            defaults = {name: _table(value).get("default") for name, value in _table(server.get("variables")).items()}
            url = server.get("url")
            if isinstance(url, str):
                yield _NAMES.sub(lambda name: str(defaults.get(name[1], name[0])), url)  # noqa: B023 - used at once
        host, base = self._tree.get("host"), self._tree.get("basePath") or ""  # Swagger 2
        if host:
            yield from (f"{scheme}://{host}{base}" for scheme in _list(self._tree.get("schemes")) or ["https"])

    def _operation(self, verb: str, path: str, item: Mapping[str, Any], content: Mapping[str, Any]) -> Operation:
        titles = (content.get("summary"), content.get("operationId"))
        given = (*_list(item.get("parameters")), *_list(content.get("parameters")))
        parameters = [self._resolved(each) for each in given]
        return Operation(
            verb=verb,
            path=path,
            titles=tuple(title for title in titles if isinstance(title, str) and title),
            tags=tuple(tag for tag in _list(content.get("tags")) if isinstance(tag, str)),
            request=frozenset(self._request(content, parameters)),
            response=frozenset(self._response(content)),
            assumed=content.get("x-gotsurge-assumed") is True,
        )

    def _request(self, content: Mapping[str, Any], parameters: list[Mapping[str, Any]]) -> Iterator[str]:
        yield from self._fields(self._json_schema(self._resolved(content.get("requestBody"))))
        for parameter in parameters:  # Swagger 2
            if parameter.get("in") == "body":
                yield from self._fields(parameter.get("schema"))
            elif parameter.get("in") == "formData" and isinstance(parameter.get("name"), str):
                yield parameter["name"]

    def _response(self, content: Mapping[str, Any]) -> Iterator[str]:
        # YAML reads an unquoted 200 as a number.
        answers = {str(status): answer for status, answer in _table(content.get("responses")).items()}
        chosen = next((answers[status] for status in _SUCCESS if status in answers), None)
        answer = self._resolved(chosen)
        yield from self._fields(answer.get("schema") or self._json_schema(answer))

    def _json_schema(self, body: Mapping[str, Any]) -> Any:
        media = _table(body.get("content"))
        chosen = next((name for name in media if "json" in str(name)), next(iter(media), None))
        return _table(media.get(chosen)).get("schema") if chosen is not None else None

    def _fields(self, schema: Any) -> set[str]:
        """The names of an object's fields, through references, lists and combinations."""
        names: set[str] = set()
        seen: set[tuple[int, str]] = set()  # schemas may hold themselves, or each other many times over
        waiting = [(schema, "", _DEPTH)]
        while waiting:
            each, prefix, depth = waiting.pop()
            resolved = self._resolved(each)
            if (id(resolved), prefix) in seen:
                continue
            seen.add((id(resolved), prefix))
            for name, inner in _table(resolved.get("properties")).items():
                names.add(f"{prefix}{name}")
                if depth > 1:
                    waiting.append((inner, f"{prefix}{name}.", depth - 1))
            branches = [branch for word in ("allOf", "oneOf", "anyOf") for branch in _list(resolved.get(word))]
            waiting += [(branch, prefix, depth) for branch in (resolved.get("items"), *branches) if branch]
        return names

    def _resolved(self, value: Any) -> Mapping[str, Any]:
        """A table, with a reference into this document followed; one to another file leads nowhere."""
        for _ in range(_REFS):
            reference = _table(value).get("$ref")
            if not isinstance(reference, str):
                return _table(value)
            if not reference.startswith("#/"):
                return {}
            value = self._tree
            for part in reference[2:].split("/"):
                value = _table(value).get(part.replace("~1", "/").replace("~0", "~"))
        return {}


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
