"""Settings: the place of the service, time-outs, retries, and limits."""

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, TypeVar
from urllib.parse import urlsplit

import attrs

from gotsurge_async.api.profile import Profile
from gotsurge_async.errors import ConfigError, UsageError
from gotsurge_async.secrets import Secret, as_secret
from gotsurge_async.starting import pattern

S = TypeVar("S", "Timeouts", "RetryPolicy", "Limits")

API_PATH = "/api/partnership/v1"
"""The path of the API on its host: assumed, the document does not show it."""

EnvironmentName: TypeAlias = Literal["sandbox", "production", "local"]

SETTLE = 600.0
"""Seconds for which a request that was not answered may act after its call, unless `Limits.settle` says otherwise."""

MOST_SETTLE = 30 * 86_400.0
"""The longest `Limits.settle`, in seconds."""

_APPLICATION = pattern(r"([!#-'*+.^_`|~\w-]+(/[!#-'*+.^_`|~\w-]+)?( |$))*", re.ASCII)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PRODUCTION_HOST = "app.gotsurge.co"
_HOSTS = {"sandbox": "staging.gotsurge.co", "production": _PRODUCTION_HOST}
# No user, query or fragment, and no character that would have to be encoded.
_PLAIN_URL = pattern(r"https?://[^\s/?#@\\]+(/[^\s?#\\]*)?", re.ASCII | re.IGNORECASE)

_WEB_URL = pattern(
    r"https?://([^\s/?#@\\]+@)?(\[[\da-f:.]+(%\w+)?\]|[\w-]+(\.[\w-]+)*\.?)(:\d+)?([/?#]\S*)?", re.IGNORECASE
)


def is_web_url(url: str) -> bool:
    """Whether a text is a whole URL of http or https, to which something can be sent."""
    return _WEB_URL.fullmatch(url) is not None and _scheme_and_host(url)[1] is not None


def checked_base(url: str) -> str:
    """The API base without a slash at its end.

    Raises ConfigError if it is not a URL, has a query or a user, or is plain http to another machine.
    """
    scheme, host = _scheme_and_host(url) if isinstance(url, str) else ("", None)
    if not host or not url.isascii() or not _PLAIN_URL.fullmatch(url):
        raise ConfigError(f"the API base must be a URL such as https://app.gotsurge.co{API_PATH}", "E105")
    if scheme == "http" and host not in _LOOPBACK:
        why = f"the API base must use https, because {host} is another machine, and tokens are secret"
        raise ConfigError(why, "E105")
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
        api_base: the URL before the paths of the endpoint table; assumed for GotSurge's own.
        temporary: whether it is a simulator whose address may belong to another one tomorrow: no ledger records it.
    """

    name: str
    consent_base: str
    api_base: str = attrs.field(converter=checked_base)
    temporary: bool = False

    @property
    def is_production(self) -> bool:
        """Whether it is production, where real drivers are asked, by its name or its host."""
        return self.name == "production" or (urlsplit(self.api_base).hostname or "").rstrip(".") == _PRODUCTION_HOST

    @classmethod
    def named(cls, name: str, *, api_base: str | None = None, temporary: bool = False) -> Self:
        """One of the known environments, on another API base if that is given.

        Raises:
            ConfigError: no such environment, ``local`` without a base, or a base that is not https (plain http is for
                this machine only).
        """
        if name == "local":
            if api_base is None:
                why = f"the local environment needs the API base, such as http://127.0.0.1:8765{API_PATH}"
                raise ConfigError(why, "E104")
            parts = urlsplit(checked_base(api_base))
            consent_base = f"{parts.scheme}://{parts.netloc}"
            return cls(name=name, consent_base=consent_base, api_base=api_base, temporary=temporary)
        host = _HOSTS.get(name) if isinstance(name, str) else None
        if host is None:
            raise ConfigError(f"there is no environment {name!r}: use sandbox, production or local", "E104")
        return cls(name=name, consent_base=f"https://{host}", api_base=api_base or f"https://{host}{API_PATH}")


def profile_of(profile: Profile | Mapping[str, Any] | str | Path | None) -> Profile:
    """Make a `Profile` from a client's setting; ConfigError if it is not a profile, or cannot be read."""
    if profile is None:
        return Profile()
    if isinstance(profile, Profile):
        return profile
    if isinstance(profile, str | Path):
        return Profile.load(profile)
    if isinstance(profile, Mapping):
        return Profile.from_mapping(profile)
    why = f"profile: give a Profile, a mapping, or the path of a TOML file, not {type(profile).__name__}"
    raise ConfigError(why, "E903")


def environment_of(environment: str | Environment, api_base: str | None, profile: Profile) -> Environment:
    """Make an `Environment` from a client's settings, with its API base."""
    if not isinstance(environment, Environment):
        return Environment.named(environment, api_base=api_base or profile.api_base)
    if api_base is None:
        return environment
    if environment.name == "local":  # its consent page stands on the same host
        return Environment.named("local", api_base=api_base)
    return attrs.evolve(environment, api_base=api_base)


def is_number(value: object) -> bool:
    """Whether a value is a plain number of 0 or more: not true or false, NaN, infinity, or a span of time."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def is_count(value: object, least: int = 1) -> bool:
    """Whether a value is a whole number of at least ``least``: not true or false, and not 2.0."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _name(settings: object, field: "attrs.Attribute[Any]") -> str:
    return f"{type(settings).__name__}.{field.name}"


def _seconds(settings: object, field: "attrs.Attribute[Any]", value: Any) -> None:
    if not (is_number(value) and value):
        raise ConfigError(f"{_name(settings, field)} must be a number of seconds above 0, not {value!r:.60}", "E903")


def _seconds_or_none(settings: object, field: "attrs.Attribute[Any]", value: Any) -> None:
    if not is_number(value):
        raise ConfigError(f"{_name(settings, field)} must be a number of seconds, 0 or more, not {value!r:.60}", "E903")


def _count(settings: object, field: "attrs.Attribute[Any]", value: Any) -> None:
    if not is_count(value):
        raise ConfigError(f"{_name(settings, field)} must be a whole number of 1 or more, not {value!r:.60}", "E903")


def _rate(settings: object, field: "attrs.Attribute[Any]", value: Any) -> None:
    if value is not None and not (is_number(value) and value):
        why = f"{_name(settings, field)} must be a number above 0, or None for no limit, not {value!r:.60}"
        raise ConfigError(why, "E903")


def _settle(settings: object, field: "attrs.Attribute[Any]", value: Any) -> None:
    if not (is_number(value) and value <= MOST_SETTLE):
        why = f"{_name(settings, field)} must be a number of seconds from 0 to {MOST_SETTLE:.0f}, not {value!r:.60}"
        raise ConfigError(why, "E903")


def _shorter(usual: float, total: float) -> float:
    """The usual seconds, or half of ``total`` if that is shorter. `Timeouts` checks ``total`` later."""
    return min(usual, total / 2) if is_number(total) else usual


def settings_of(cls: type[S], value: "S | float | None", argument: str, field: str) -> S:
    """The settings as an object: unchanged, the defaults for None, or with a number as the value of ``field``.

    Raises ConfigError for anything else, and for a number that cannot be that field.
    """
    if isinstance(value, cls):
        return value
    if value is None:
        return cls()
    if isinstance(value, int | float) and not isinstance(value, bool):
        fields: dict[str, Any] = {field: value}
        return cls(**fields)
    raise ConfigError(
        f"{argument}: give a {cls.__name__}, or a number as the value of {cls.__name__}.{field}, not {value!r:.60}",
        "E903",
    )


_PARTS = {
    "transport": (("send", "close"), "AiohttpTransport()"),
    "token_store": (("load", "save", "replace", "lock"), 'FileStore("tokens.json")'),
    "clock": (("now", "monotonic", "sleep"), "SystemClock()"),
}
"""Arguments that are objects of any class: the methods that a client calls, and an example."""


def check_parts(**parts: object) -> None:
    """Check that each part of a client, unless None, has the methods that the client calls.

    The message of the ConfigError names an example of what to give.
    """
    for argument, part in parts.items():
        methods, example = _PARTS[argument]
        is_usable = not isinstance(part, type) and all(callable(getattr(part, name, None)) for name in methods)
        if part is not None and not is_usable:
            raise ConfigError(f"{argument}: give an object such as {example}, not {type(part).__name__}", "E903")


def check_settings(credentials: object, assumed_endpoints: object, application: object) -> None:
    """Check the settings that have one type, or are one of a few words; the ConfigError says what to write."""
    if not (credentials is None or isinstance(credentials, Credentials)):
        why = f"credentials: give Credentials(client_key=…, secret_key=…), not {type(credentials).__name__}"
        raise ConfigError(why, "E903")
    if assumed_endpoints not in (None, "accept", "refuse"):
        raise ConfigError(f'assumed_endpoints must be "accept" or "refuse", not {assumed_endpoints!r:.60}', "E903")
    if not isinstance(application, str) or not _APPLICATION.fullmatch(application):
        why = f"application must be a name for the header User-Agent, such as acme-orders/2.1, not {application!r:.60}"
        raise ConfigError(why, "E903")


def check_account(account: str, *, setting: bool = False) -> None:
    """Check the name of an account, which stands in events, logs and metrics.

    Raises UsageError, or ConfigError for a ``setting``, if it is not text of 1 to 200 characters that can be printed.
    """
    if not (isinstance(account, str) and 0 < len(account) <= 200 and account.isprintable()):
        why = f"account must be a name of 1 to 200 printable characters; it is {account!r:.60}"
        raise ConfigError(why, "E903") if setting else UsageError(why, "E903")


def name_in_ledgers(environment: Environment, account: str) -> str:
    """The name that ledgers have for an account; "" for the usual one.

    The command keeps tokens under names with their environment, such as "sandbox" or "sandbox/acme", for the accounts
    that programs call "default" and "acme".
    """
    place, slash, name = account.partition("/")
    is_here = place == environment.name or (environment.name == "local" and place.startswith("local "))
    if slash:
        return name if is_here else account
    return "" if is_here or account == "default" else account


def check_same(account: str, other: str) -> None:
    """Raise ConfigError for two accounts for which ledgers have the same name, see `name_in_ledgers`."""
    if other != account:
        why = f'account "{account}" and account "{other}" are the same one in a ledger: give one of them another name'
        raise ConfigError(why, "E903")


def check_timeout(timeout: float) -> None:
    """Check the time that a call may take; UsageError if it is not a number of seconds above 0."""
    if not (is_number(timeout) and timeout):
        raise UsageError(f"timeout must be a number of seconds above 0, not {timeout!r:.60}", "E903")


def check_concurrency(concurrency: int) -> None:
    """Check the number of chunks in flight; UsageError if it is not a whole number of 1 or more."""
    if not is_count(concurrency):
        raise UsageError(f"the number of chunks in flight must be 1 or more, not {concurrency!r:.60}", "E903")


@attrs.frozen(kw_only=True)
class Timeouts:
    """Seconds to wait.

    When one of them ends a request after a connection was made, it is not known whether the request was processed. They
    are about one try of a call; ``gs.with_options(timeout=…)`` limits the whole of it.

    Attributes:
        pool: seconds for a free connection, and for making one. Less than ``total``: if that ended first, an order that
            never left would be in doubt. By default 30, or half of a short ``total``.
        connect: seconds for the TCP and TLS handshakes alone.
        read: seconds between two reads of an answer.
        total: seconds for a try from its beginning to the end of the answer, which may come a byte at a time; longer
            than ``pool``. ``GotSurge(timeouts=10)`` is ``Timeouts(total=10)``.
        keepalive: for how many seconds an idle connection is kept, a quarter of one by default. An order that meets a
            connection which the server is closing is in doubt, so this must be well under the server's own time.
    """

    total: float = attrs.field(default=300.0, validator=_seconds)
    pool: float = attrs.field(
        default=attrs.Factory(lambda self: _shorter(30.0, self.total), takes_self=True), validator=_seconds
    )
    connect: float = attrs.field(default=10.0, validator=_seconds)
    read: float = attrs.field(default=60.0, validator=_seconds)
    keepalive: float = attrs.field(default=0.25, validator=_seconds)

    def __attrs_post_init__(self) -> None:
        if self.pool >= self.total:
            raise ConfigError(
                f"Timeouts.pool ({self.pool:g} s) must be less than Timeouts.total ({self.total:g} s): give a longer "
                "total, or leave pool out",
                "E903",
            )


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """The rules for trying a call again; `tries.decide` applies them.

    Attributes:
        attempts: tries in all, 1 for no retry.
        base, cap: the first wait and the longest, in seconds; each wait doubles, and is drawn between 0 and itself.
        deadline: seconds since the first try after which no other is begun.
        longest_retry_after: when the service asks for more seconds than this, the call gives up instead.
    """

    attempts: int = attrs.field(default=6, validator=_count)
    base: float = attrs.field(default=0.5, validator=_seconds_or_none)
    cap: float = attrs.field(default=30.0, validator=_seconds_or_none)
    deadline: float = attrs.field(default=300.0, validator=_seconds_or_none)
    longest_retry_after: float = attrs.field(default=120.0, validator=_seconds_or_none)


@attrs.frozen(kw_only=True)
class Limits:
    """Limits for the calls at once, for their rate, and for the time that an unanswered request may act.

    Attributes:
        concurrency: the most calls in flight. It begins with 16 where this is not less, and rises while answers come
            as quickly as usual; it falls when the service answers 429 or takes longer. See `calls.limiter`.
        rate: calls begun a second, None for no limit.
        settle: seconds after the end of a call, within which a request that was not answered may still act. Until they
            have passed, a push with a ledger keeps such an order in doubt, unless it sees the result. The default is
            600, or twice `Timeouts.total` where that is more: a client waits no longer than ``total`` for an answer,
            and proxies give a request up sooner.
    """

    concurrency: int = attrs.field(default=64, validator=_count)
    rate: float | None = attrs.field(default=None, validator=_rate)
    settle: float = attrs.field(default=SETTLE, validator=_settle)


def limits_for(timeouts: Timeouts, limits: Limits) -> Limits:
    """The limits of a client with some timeouts: the usual ``settle`` is too short for a longer ``total``."""
    if limits.settle != SETTLE or 2 * timeouts.total <= SETTLE:
        return limits
    return attrs.evolve(limits, settle=min(2 * timeouts.total, MOST_SETTLE))


LEAST_SECRET = 3
"""The least length of a secret. A secret is hidden wherever it appears, and 34 of 100 pairs of letters and digits
appear in the page of our messages alone; of three it is 3 of 100. Tests use three: ``bearer_token="any"``."""


def secret_setting(name: str, value: str | Secret | None) -> Secret | None:
    """A setting as a `Secret`, never shown; None if it is empty, ConfigError unless text of 3 characters or more."""
    if not (value is None or isinstance(value, str | Secret)):
        raise ConfigError(f"{name} must be text, not {type(value).__name__}", "E903")
    secret = as_secret(value)
    if secret and len(secret.reveal().strip()) < LEAST_SECRET:
        why = (
            f"{name} is too short for a secret: give it as GotSurge issued it, with at least {LEAST_SECRET} characters"
        )
        raise ConfigError(why, "E903")
    return secret


def _client_key(_: object, field: object, value: str) -> None:
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"Credentials.client_key must be non-empty text, not {value!r:.60}", "E903")


def _secret_key(value: str | Secret | None) -> Secret | None:
    return secret_setting("secret_key", value)


@attrs.frozen(kw_only=True)
class Credentials:
    """The partner's keys from GotSurge (section "Basic Oauth2 steps", 1). Only the client key is ever shown."""

    client_key: str = attrs.field(validator=_client_key)
    secret_key: Secret | None = attrs.field(default=None, converter=_secret_key)


@attrs.frozen(kw_only=True)
class Settings:
    """The settings of the environment variables; see `from_env`. ``api_base`` is GOTSURGE_API_BASE as it is set."""

    environment: Environment
    api_base: str | None = None
    credentials: Credentials | None = None
    bearer_token: Secret | None = None
    refresh_token: Secret | None = None
    profile: Profile = attrs.field(factory=Profile)


def from_env(variables: Mapping[str, str] | None = None) -> Settings:
    """Read GOTSURGE_ENV (default sandbox), GOTSURGE_API_BASE, GOTSURGE_PROFILE (a TOML file), GOTSURGE_CLIENT_KEY,
    GOTSURGE_SECRET_KEY, GOTSURGE_BEARER_TOKEN and GOTSURGE_REFRESH_TOKEN. An empty variable counts as absent.

    Raises ConfigError for an unknown environment, a bad base or profile, a secret of one or two characters.
    """
    # Stripped: a value from a file often ends with a line break, which no header could carry.
    given = os.environ if variables is None else variables
    env = {name: value.strip() for name, value in given.items() if value.strip()}

    def secret(name: str) -> Secret | None:
        return secret_setting(name, env.get(name))

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
