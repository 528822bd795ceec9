"""Tokens, as the service returns them, and the requests for them (sections "Authentication" and "SSO Exchange Token").

Fields that hold secrets are left out of every repr.
"""

from datetime import datetime
from typing import Any

import attrs

from gotsurge_async.models.base import NOT_GIVEN, Model, optional_utc

__all__ = ["PartnerDetail", "SsoAnswer", "User"]


@attrs.frozen(kw_only=True, eq=False, repr=False)
class ExchangeRequest(Model):
    """Body of Exchange Token."""

    client_key: str
    secret_key: str = attrs.field(repr=False)
    code: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True, eq=False, repr=False)
class RefreshRequest(Model):
    """Body of Refresh Token."""

    client_key: str
    refresh_token: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True, eq=False, repr=False)
class TokenAnswer(Model):
    """Answer of Exchange Token and of Refresh Token (which names only bearer_token)."""

    bearer_token: str = attrs.field(repr=False)
    refresh_token: str | None = attrs.field(default=None, repr=False)
    server_time: datetime | None = attrs.field(default=None, converter=optional_utc)


@attrs.frozen(kw_only=True, eq=False, repr=False)
class SsoRequest(Model):
    """Body of SSO Exchange Token."""

    session_id: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True, eq=False, repr=False)
class User(Model):
    """A person who may sign in (object ``user``)."""

    id: str | None = None
    email: str | None = None
    name: str | None = None
    roles: tuple[Any, ...] = NOT_GIVEN
    org_id: str | None = None


@attrs.frozen(kw_only=True, eq=False, repr=False)
class SsoAnswer(Model):
    """Answer of SSO Exchange Token."""

    bearer_token: str = attrs.field(repr=False)
    refresh_token: str | None = attrs.field(default=None, repr=False)
    user: User | None = None


@attrs.frozen(kw_only=True, eq=False, repr=False)
class PartnerDetail(Model):
    """Answer of Partner Detail; secret_key is the partner's secret and is never shown."""

    id: str
    client_key: str | None = None
    secret_key: str | None = attrs.field(default=None, repr=False)
    webhook_url: str | None = None
    name: str | None = None
    created_at: datetime | None = attrs.field(default=None, converter=optional_utc)
    updated_by: str | None = None
    updated_at: datetime | None = attrs.field(default=None, converter=optional_utc)
