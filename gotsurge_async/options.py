"""The options of `GotSurge` as typed dictionaries, for functions that pass them on."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from gotsurge_async.api.profile import Profile
from gotsurge_async.auth.stores import TokenStore
from gotsurge_async.clock import Clock
from gotsurge_async.config import Credentials, Environment, EnvironmentName, Limits, RetryPolicy, Timeouts
from gotsurge_async.hooks import Hook
from gotsurge_async.secrets import Secret
from gotsurge_async.transports.base import Transport

if TYPE_CHECKING:
    from gotsurge_async.database import Place
    from gotsurge_async.ledger import Ledger


class ClientOptions(TypedDict, total=False):
    """The options of `GotSurge`, except environment, credentials, tokens, account and clock."""

    token_store: TokenStore | None
    transport: Transport | None
    proxy: str | None
    timeouts: Timeouts | float | None
    retry: RetryPolicy | int | None
    limits: Limits | int | None
    profile: Profile | Mapping[str, Any] | str | Path | None
    hooks: Iterable[Hook]
    assumed_endpoints: Literal["accept", "refuse"] | None
    ledger: "str | Path | Place | Ledger | None"
    application: str


class AllOptions(ClientOptions, total=False):
    """All options of `GotSurge`."""

    environment: EnvironmentName | Environment
    api_base: str | None
    credentials: Credentials | None
    bearer_token: str | Secret | None
    refresh_token: str | Secret | None
    account: str
    clock: Clock | None
