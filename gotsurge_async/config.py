"""Settings: where the service is, how long to wait, how often to try, how much at once."""

import os
import re
from collections.abc import Mapping
from typing import Literal, Self, TypeAlias
from urllib.parse import urlsplit

import attrs

from gotsurge_async.api.profile import Profile
from gotsurge_async.errors import ConfigError
from gotsurge_async.secrets import Secret, as_secret

API_PATH = "/api/partnership/v1"
"""Where the API stands on its host: assumed, the document does not show it."""

EnvironmentName: TypeAlias = Literal["sandbox", "production", "local"]

SETTLE = 600.0
"""Seconds for which a request that was sent and not answered may act, unless `Limits.settle` says otherwise."""

MOST_SETTLE = 30 * 86_400.0
"""The longest `Limits.settle`, in seconds."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PRODUCTION_HOST = "app.gotsurge.co"
_HOSTS = {"sandbox": "staging.gotsurge.co", "production": _PRODUCTION_HOST}
# No user, query or fragment, and no character that would have to be encoded.
_PLAIN_URL = re.compile(r"https?://[^\s/?#@\\]+(/[^\s?#\\]*)?", re.ASCII | re.IGNORECASE)


def checked_base(url: str) -> str:
    """The API base without a slash at its end.

    Raises:
        ConfigError: for what is no URL, carries a query or a user, or is plain http to another machine.
    """
    scheme, host = _scheme_and_host(url)
    if not host or not url.isascii() or not _PLAIN_URL.fullmatch(url):
        raise ConfigError(f"the API base is a plain URL such as https://app.gotsurge.co{API_PATH}")
    if scheme == "http" and host not in _LOOPBACK:
        raise ConfigError(f"the API base is https: {host} is not this machine, and tokens are secrets")
    return url.rstrip("/")


def _scheme_and_host(url: str) -> tuple[str, str | None]:
    try:
        parts = urlsplit(url)
        port = parts.port  # parsed when it is asked for
    except ValueError:
        return "", None
    return parts.scheme, parts.hostname if port != 0 else None


@attrs.frozen(kw_only=True)
class Environment:
    """One GotSurge (section "Environment Url").

    Attributes:
        name: sandbox, production, or local for the simulator.
        consent_base: scheme and host of the page where users consent.
        api_base: the URL that the paths of the endpoint table stand on; assumed for GotSurge's own.
    """

    name: str
    consent_base: str
    api_base: str = attrs.field(converter=checked_base)

    @property
    def is_production(self) -> bool:
        """Whether real drivers are asked: by its name, or by the host that it talks to."""
        return self.name == "production" or (urlsplit(self.api_base).hostname or "").rstrip(".") == _PRODUCTION_HOST

    @classmethod
    def named(cls, name: str, *, api_base: str | None = None) -> Self:
        """One of the known environments, on another API base if that is given.

        Raises:
            ConfigError: no such environment, ``local`` without a base, or a base that is not https (plain http is for
                this machine only).
        """
        if name == "local":
            if api_base is None:
                raise ConfigError(f"the environment local needs the API base, such as http://127.0.0.1:8765{API_PATH}")
            parts = urlsplit(checked_base(api_base))
            return cls(name=name, consent_base=f"{parts.scheme}://{parts.netloc}", api_base=api_base)
        host = _HOSTS.get(name)
        if host is None:
            raise ConfigError(f"no environment {name!r}: there are sandbox, production and local")
        return cls(name=name, consent_base=f"https://{host}", api_base=api_base or f"https://{host}{API_PATH}")


@attrs.frozen(kw_only=True)
class Timeouts:
    """Seconds to wait.

    When one of them strikes after a connection was made, nobody can tell whether the request was processed. They are
    about one try of a call; ``gs.with_options(timeout=…)`` limits the whole of it.

    Attributes:
        pool: seconds for a free connection, and for making one.
        connect: seconds for the TCP and TLS handshakes alone.
        read: seconds between two reads of an answer.
        total: seconds for a try from its beginning to the end of the answer, which may come a byte at a time; longer
            than ``pool``.
        keepalive: for how many seconds an idle connection is kept; well under the server's own, see
            `transports.aiohttp`.
    """

    pool: float = 30.0
    connect: float = 10.0
    read: float = 60.0
    total: float = 300.0
    keepalive: float = 15.0


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """How a call is tried again; `retry.decide` applies it.

    Attributes:
        attempts: tries in all, 1 for no retry.
        base, cap: the first wait and the longest, in seconds; each wait doubles, and is drawn between 0 and itself.
        deadline: seconds since the first try after which no other is begun.
        longest_retry_after: when the service asks for more seconds than this, the call gives up instead.
    """

    attempts: int = 6
    base: float = 0.5
    cap: float = 30.0
    deadline: float = 300.0
    longest_retry_after: float = 120.0


@attrs.frozen(kw_only=True)
class Limits:
    """How much at once.

    Attributes:
        concurrency: the most calls in flight. It begins with 16 where this is not less, and rises while answers come
            as quickly as usual; it falls when the service answers 429 or takes longer. See `calls.limiter`.
        rate: calls begun a second, None for no limit.
        settle: seconds after which a request that was sent, and not answered, can no longer act. Until then a push with
            a ledger keeps such an order in doubt, unless it sees the result. The default is twice `Timeouts.total`, the
            longest that a client waits for an answer: proxies give a request up sooner.
    """

    concurrency: int = attrs.field(default=64, validator=attrs.validators.ge(1))
    rate: float | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.gt(0)))
    settle: float = attrs.field(default=SETTLE, validator=[attrs.validators.ge(0), attrs.validators.le(MOST_SETTLE)])


@attrs.frozen(kw_only=True)
class Credentials:
    """What GotSurge gave the partner (section "Basic Oauth2 steps", 1). Only the client key is ever shown."""

    client_key: str
    secret_key: Secret | None = attrs.field(default=None, converter=as_secret)


@attrs.frozen(kw_only=True)
class Settings:
    """What the environment variables say; see `from_env`. ``api_base`` is GOTSURGE_API_BASE as it is set."""

    environment: Environment
    api_base: str | None = None
    credentials: Credentials | None = None
    bearer_token: Secret | None = None
    refresh_token: Secret | None = None
    profile: Profile = attrs.field(factory=Profile)


def from_env(variables: Mapping[str, str] | None = None) -> Settings:
    """Read GOTSURGE_ENV (default sandbox), GOTSURGE_API_BASE, GOTSURGE_PROFILE (a TOML file), GOTSURGE_CLIENT_KEY,
    GOTSURGE_SECRET_KEY, GOTSURGE_BEARER_TOKEN and GOTSURGE_REFRESH_TOKEN. An empty variable counts as absent.

    Raises:
        ConfigError: an unknown environment, a base that cannot be, a profile that cannot be read.
    """
    # Stripped: what is read from a file often ends with a line break, which no header could carry.
    given = os.environ if variables is None else variables
    env = {name: value.strip() for name, value in given.items() if value.strip()}

    def secret(name: str) -> Secret | None:
        return Secret(env[name]) if name in env else None

    profile = Profile.load(env["GOTSURGE_PROFILE"]) if "GOTSURGE_PROFILE" in env else Profile()
    client_key = env.get("GOTSURGE_CLIENT_KEY")
    return Settings(
        environment=Environment.named(
            env.get("GOTSURGE_ENV", "sandbox"), api_base=env.get("GOTSURGE_API_BASE") or profile.api_base
        ),
        api_base=env.get("GOTSURGE_API_BASE"),
        credentials=Credentials(client_key=client_key, secret_key=secret("GOTSURGE_SECRET_KEY"))
        if client_key
        else None,
        bearer_token=secret("GOTSURGE_BEARER_TOKEN"),
        refresh_token=secret("GOTSURGE_REFRESH_TOKEN"),
        profile=profile,
    )
