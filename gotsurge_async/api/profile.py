"""A profile: verbs and paths that a user has confirmed, in place of those that the endpoint table assumes."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar, cast

import attrs

from gotsurge_async.api.endpoints import ENDPOINTS, Endpoint
from gotsurge_async.errors import ConfigError, EndpointsAssumed
from gotsurge_async.starting import pattern

T = TypeVar("T")

VERBS = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE"))
# Names in braces, and otherwise only what a URL's path holds as it is.
_PATH = pattern(r"/([\w\-.~%!$&'()*+,;=:@/]|\{\w+\})*", re.ASCII)


@attrs.frozen(kw_only=True)
class Profile:
    """Confirmed verbs and paths, by the name of the operation, and the API base.

    As TOML::

        api_base = "https://app.gotsurge.co/api/v2"

        [endpoints."tasks.create"]
        verb = "POST"
        path = "/orders"

    Raises:
        ConfigError: for an operation, a key, a verb or a path that cannot be right; it says which.
    """

    api_base: str | None = None
    endpoints: Mapping[str, Endpoint[Any]] = attrs.field(factory=dict)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a profile from a TOML file.

        Raises:
            ConfigError: the file cannot be read, is not TOML, or is not a profile.
        """
        import tomllib  # here: few have a profile in a file

        try:
            mapping = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"cannot read the profile {path}: {error.strerror}", "E106") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not TOML: {error}", "E107") from None
        return cls.from_mapping(mapping)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Read a profile from a mapping of the same shape as the TOML file.

        Raises:
            ConfigError: an unknown name, or a value of another kind.
        """
        unknown = sorted(set(mapping) - {"api_base", "endpoints"})
        if unknown:
            raise ConfigError(f"profile: unknown key {unknown[0]!r}; the keys are api_base and endpoints", "E106")
        api_base = mapping.get("api_base")
        if api_base is not None and not isinstance(api_base, str):
            raise ConfigError(f"profile: api_base must be a URL, not {api_base!r}", "E105")
        overrides = mapping.get("endpoints", {})
        if not isinstance(overrides, Mapping):
            raise ConfigError("profile: endpoints must be a table of operations", "E106")
        return cls(api_base=api_base, endpoints={name: _override(name, value) for name, value in overrides.items()})

    def resolve(self, endpoint: Endpoint[T]) -> Endpoint[T]:
        """The endpoint with the verb and the path of this profile."""
        return cast("Endpoint[T]", self.endpoints.get(endpoint.name, endpoint))

    def require(self, endpoints: Iterable[Endpoint[Any]]) -> None:
        """Check that no endpoint changes something on a path that is a guess. Sign-ins and reads may use one.

        Raises:
            EndpointsAssumed: it names every such endpoint.
        """
        resolved = map(self.resolve, endpoints)
        guesses = [endpoint for endpoint in resolved if endpoint.assumed and endpoint.writes and endpoint.bearer]
        if guesses:
            names = "; ".join(f"{guess.name}: {guess.verb} {guess.path}" for guess in guesses)
            if len(guesses) == 1:
                error = EndpointsAssumed(f"until a profile confirms it, this endpoint is a guess: {names}")
            else:
                error = EndpointsAssumed(f"until a profile confirms them, these endpoints are guesses: {names}")
            error.add_note(
                "in a program, pass GotSurge() a profile=, or assumed_endpoints='accept'"
            )  # the command has words of its own
            raise error

    def __iter__(self) -> Iterator[Endpoint[Any]]:
        return (self.resolve(endpoint) for endpoint in ENDPOINTS.values())


def skeleton() -> str:
    """Operations"""
    lines = [
        "# A profile of GotSurge's API. Correct what is wrong, and take the # signs away from what GotSurge confirms.",
        "# An operation without them counts as confirmed, also for production.",
        "",
        '# api_base = "https://…"',
    ]
    for endpoint in ENDPOINTS.values():
        lines += [
            "",
            f"# {endpoint.section}",
            f'# [endpoints."{endpoint.name}"]',
            f'# verb = "{endpoint.verb}"',
            f'# path = "{endpoint.path}"',
        ]
    return "\n".join(lines) + "\n"


def _override(name: str, value: Any) -> Endpoint[Any]:
    where = f"profile: endpoints.{name}"
    known = ENDPOINTS.get(name)
    if known is None:
        raise ConfigError(f"{where}: no such operation; the operations are {', '.join(ENDPOINTS)}", "E106")
    if not isinstance(value, Mapping) or not set(value) <= {"verb", "path"}:
        raise ConfigError(f"{where}: give verb, path or both; no other key is allowed", "E106")
    verb = value.get("verb", known.verb)
    path = value.get("path", known.path)
    if not isinstance(verb, str) or verb not in VERBS:
        raise ConfigError(f"{where}: verb must be one of {', '.join(sorted(VERBS))}, not {verb!r}", "E106")
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        raise ConfigError(
            f"{where}: path must be like /orders/{{task_id}}, relative to the API base, without ? or #, not {path!r}",
            "E106",
        )
    if _names(path) != _names(known.path):
        names = " and ".join(f"{{{name}}}" for name in _names(known.path))
        raise ConfigError(
            f"{where}: path must contain {names or 'nothing in braces'}, for example {known.path}", "E106"
        )
    return attrs.evolve(known, verb=verb, path=path, assumed=False)


def _names(path: str) -> list[str]:
    return sorted(re.findall(r"\{(\w+)\}", path))
