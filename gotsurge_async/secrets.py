"""What may be shown. Everything is hidden unless it is listed here."""

from collections.abc import Iterable, Mapping
from typing import NoReturn
from urllib.parse import quote, urlsplit

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

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself, at the one place that sends or stores it."""
        return self._value

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
        raise TypeError("a secret is not pickled")


def as_secret(value: str | Secret | None) -> Secret | None:
    """Wrap a text; pass a secret and None through."""
    return Secret(value) if isinstance(value, str) else value


def headers_for_log(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers with every value hidden that is not known to be harmless."""
    return {name: value if name.lower() in _SHOWN_HEADERS else HIDDEN for name, value in headers.items()}


def url_for_log(url: str) -> str:
    """Scheme, host and port of a URL: its path may carry a signature, its query a code. No URL at all is hidden."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return HIDDEN
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}"


def without(text: str, secrets: Iterable[str]) -> str:
    """The text with every secret hidden, also where it stands percent-encoded: services quote what they refuse."""
    for secret in secrets:
        for form in {secret, quote(secret, safe=""), quote(secret)} if secret else ():
            text = text.replace(form, HIDDEN)
    return text
