"""Secrets, and the values that logs may show: everything is hidden unless it is listed here."""

import base64
import json
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn
from urllib.parse import quote, unquote, urlsplit

import attrs

from gotsurge_async.starting import pattern

HIDDEN = "***"

_SHOWN_HEADERS = frozenset(
    (
        "accept",
        "cache-control",
        "content-encoding",
        "content-length",
        "content-type",
        "date",
        "etag",
        "retry-after",
        "server",
        "user-agent",
        "x-request-id",
        "request-id",
        "x-correlation-id",
    )
)


class Secret:
    """A text that never shows itself: masked in repr and str, refuses to be pickled, compares in constant time."""

    __slots__ = ("_forms", "_value")

    def __init__(self, value: str) -> None:
        self._value = value
        self._forms: tuple[str, ...] | None = None

    def reveal(self) -> str:
        """Return the text itself, where it is sent or stored."""
        return self._value

    def forms(self) -> tuple[str, ...]:
        """The text in all the forms in which a service may quote it; the longest first."""
        if self._forms is None:
            self._forms = tuple(sorted(set(_forms(self._value)) - {""}, key=len, reverse=True))
        return self._forms

    def __repr__(self) -> str:
        return f"Secret({HIDDEN})"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        import hmac  # here: it loads OpenSSL's digests, and few programs compare secrets

        mine, theirs = (each._value.encode("utf-8", "surrogatepass") for each in (self, other))
        return hmac.compare_digest(mine, theirs)

    def __hash__(self) -> int:
        return hash(self._value)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled")


class Known:
    """The secrets of one account that are hidden in the service's texts: its keys, and its newest tokens."""

    def __init__(self, *given: Secret) -> None:
        self._given = given
        self._tokens: deque[Secret] = deque(maxlen=8)

    def add(self, *tokens: Secret | None) -> None:
        """Hide these tokens, too; only the newest eight are remembered."""
        self._tokens.extend(token for token in tokens if token and token not in self._tokens)

    def __iter__(self) -> Iterator[Secret]:
        return iter((*self._given, *self._tokens))


def as_secret(value: str | Secret | None) -> Secret | None:
    """Wrap a text; pass a secret and None through."""
    return Secret(value) if isinstance(value, str) else value


def headers_for_log(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers with every value hidden that is not known to be harmless."""
    return {name: value if name.lower() in _SHOWN_HEADERS else HIDDEN for name, value in headers.items()}


def url_for_log(url: str) -> str:
    """Scheme, host and port of a URL: its path may carry a signature, its query a code. Other text is hidden."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return HIDDEN
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}"


def without(text: str, secrets: Iterable[Secret]) -> str:
    """The text with every secret hidden, even in an encoded form: services quote the requests that they refuse.

    A word in which a secret is written in a mixture of encodings is hidden whole.
    """
    for secret in secrets:
        for form in secret.forms():
            text = text.replace(form, HIDDEN)
    if not _ENCODED.search(text):
        return text
    import html  # here: it loads a table of all entities

    forms = [form for secret in secrets for form in secret.forms()]

    def shows(quote: str) -> bool:
        plain = html.unescape(unquote(_ESCAPED.sub(lambda match: chr(int(match[1], 16)), quote)))
        return any(form in plain for form in forms)

    if shows(text):
        text = re.sub(r"\S+", lambda word: HIDDEN if shows(word[0]) else word[0], text)
    return HIDDEN if shows(text) else text


def _forms(text: str) -> Iterator[str]:
    yield text
    data = text.encode("utf-8", "surrogatepass")
    yield from (quote(data, safe=""), quote(data))
    for in_json in (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]):
        yield from (in_json, in_json.replace("/", "\\/"))
    for before in range(3):  # in base64 the same text stands in three ways, as ``client_key:secret_key`` has it
        whole = base64.b64encode(bytes(before) + data).decode().rstrip("=")
        cut = whole[(0, 2, 3)[before] : -1 if (before + len(data)) % 3 else None]  # what its neighbours do not change
        if len(cut) >= _SURELY:
            yield from (cut, cut.translate(_URLSAFE))


def longest_form(secrets: Iterable[Secret]) -> int:
    """The bytes of the longest form of any secret: a text that was cut may end with a part of that length."""
    return max((len(form.encode("utf-8", "surrogatepass")) for each in secrets for form in each.forms()), default=0)


_ENCODED = pattern(r"%[0-9A-Fa-f]{2}|&#?\w+;|\\u[0-9A-Fa-f]{4}")
_ESCAPED = pattern(r"\\u([0-9A-Fa-f]{4})")
_URLSAFE = str.maketrans("+/", "-_")
_SURELY = 8
"""The least length of a piece of base64 that surely belongs to a secret: a shorter one may stand in any text."""


def hidden_values(model: object) -> list[str]:
    """The texts of a model that its repr leaves out: its secrets."""
    cls: Any = type(model)
    if not attrs.has(cls):
        return []
    values = (getattr(model, field.name) for field in attrs.fields(cls) if field.repr is False)
    return [value for value in values if isinstance(value, str)]
