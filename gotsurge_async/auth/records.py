"""Tokens, and how they are written where they are kept."""

from datetime import datetime
from typing import Any

import attrs
import msgspec

from gotsurge_async.auth.sealing import KEY_FILE_VARIABLE, KEYS_VARIABLE, Sealer
from gotsurge_async.errors import ConfigError
from gotsurge_async.models.base import optional_utc, utc
from gotsurge_async.secrets import Secret, as_secret


@attrs.frozen(kw_only=True)
class Tokens:
    """What an account signs its calls with. Times are aware, in UTC.

    Attributes:
        refused_at: when the service refused the refresh token; None while it is good. The bearer token lasts to its
            own end, then somebody must sign in.
    """

    bearer: Secret
    refresh: Secret | None = attrs.field(default=None, converter=as_secret)
    issued_at: datetime
    expires_at: datetime
    refused_at: datetime | None = None


class _Record(msgspec.Struct):
    """Tokens as they are written."""

    bearer_token: str
    refresh_token: str | None
    issued_at: datetime
    expires_at: datetime
    refused_at: datetime | None = None


def same_pair(one: Tokens | None, other: Tokens | None) -> bool:
    """Whether both hold the same bearer and the same refresh token."""
    if one is None or other is None:
        return one is other
    return one.bearer == other.bearer and one.refresh == other.refresh


def to_record(tokens: Tokens, sealer: Sealer | None) -> dict[str, Any]:
    """Tokens as a JSON object; with a sealer all of it is encrypted, in the one field ``sealed``."""
    record = {
        "bearer_token": tokens.bearer.reveal(),
        "refresh_token": tokens.refresh.reveal() if tokens.refresh else None,
        "issued_at": tokens.issued_at.isoformat(),
        "expires_at": tokens.expires_at.isoformat(),
    }
    if tokens.refused_at is not None:
        record["refused_at"] = tokens.refused_at.isoformat()
    return record if sealer is None else {"sealed": sealer.seal(msgspec.json.encode(record))}


def from_record(record: Any, sealer: Sealer | None, where: str) -> Tokens:
    """Tokens of what `to_record` made; what is not sealed is read as well, so that encryption can begin any day.

    Raises:
        ConfigError: it is something else, or sealed and no key fits.
    """
    if isinstance(record, dict) and isinstance(record.get("sealed"), str):
        if sealer is None:
            raise ConfigError(
                f"the tokens in {where} are encrypted: set {KEYS_VARIABLE} or {KEY_FILE_VARIABLE} to read them"
            )
        record = msgspec.json.decode(sealer.open(record["sealed"]))
    try:
        kept = msgspec.convert(record, _Record)
        return Tokens(
            bearer=Secret(kept.bearer_token),
            refresh=kept.refresh_token,
            issued_at=utc(kept.issued_at),
            expires_at=utc(kept.expires_at),
            refused_at=optional_utc(kept.refused_at),
        )
    except (msgspec.ValidationError, ValueError):
        raise ConfigError(f"the tokens in {where} are damaged: sign in again after removing them") from None


def is_current(record: Any, sealer: Sealer) -> bool:
    """Whether a record is sealed with the newest key."""
    return isinstance(record, dict) and isinstance(record.get("sealed"), str) and sealer.is_newest(record["sealed"])
