"""Tokens, how they are written, and where they are kept: in memory, or in a file that several processes share.

`gotsurge_async.auth.sql` keeps them in a database, `gotsurge_async.auth.keychain` in the system's keyring.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

import attrs
import msgspec

from gotsurge_async.auth.leases import folder_lease
from gotsurge_async.auth.sealing import KEY_FILE_VARIABLE, KEYS_VARIABLE, Sealer, read_private_bytes, write_private
from gotsurge_async.cancellation import uninterrupted
from gotsurge_async.clock import Clock, SystemClock
from gotsurge_async.errors import ConfigError
from gotsurge_async.models.base import optional_utc, utc
from gotsurge_async.secrets import Secret, as_secret

T = TypeVar("T")

LONGEST_TOKEN = 16_384
"""Characters; servers take headers of 8 to 16 KiB."""


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


def is_token(text: str) -> bool:
    """Whether a text can be a token: visible ASCII without a space, of a length that servers take in a header."""
    return 0 < len(text) <= LONGEST_TOKEN and text.isascii() and text.isprintable() and " " not in text


class _Record(msgspec.Struct):
    """Tokens as they are written."""

    bearer_token: str
    refresh_token: str | None
    issued_at: datetime
    expires_at: datetime
    refused_at: datetime | None = None
    account: str | None = None
    """Whose tokens they are. Only a sealed record contains it."""


def same_pair(one: Tokens | None, other: Tokens | None) -> bool:
    """Whether both hold the same bearer and the same refresh token."""
    if one is None or other is None:
        return one is other
    return one.bearer == other.bearer and one.refresh == other.refresh


def to_record(tokens: Tokens, sealer: Sealer | None, account: str) -> dict[str, Any]:
    """Tokens as a JSON object; with a sealer all of it and whose it is are encrypted, in the one field ``sealed``."""
    record = {
        "bearer_token": tokens.bearer.reveal(),
        "refresh_token": tokens.refresh.reveal() if tokens.refresh else None,
        "issued_at": tokens.issued_at.isoformat(),
        "expires_at": tokens.expires_at.isoformat(),
    }
    if tokens.refused_at is not None:
        record["refused_at"] = tokens.refused_at.isoformat()
    return record if sealer is None else {"sealed": sealer.seal(msgspec.json.encode({**record, "account": account}))}


def from_record(record: Any, sealer: Sealer | None, account: str, where: str) -> Tokens:
    """Tokens of what `to_record` made; what is not sealed is read as well, so that encryption can begin any day.

    Who may write where tokens are kept, and has no key, could else put one account's sealed record in the place of
    another's.

    Args:
        where: where it is kept, for the error.

    Raises:
        ConfigError: it is something else; or it is sealed, and no key fits, or it says that it is another account's.
    """
    whose = f"account {account} in {where}"
    if isinstance(record, dict) and isinstance(record.get("sealed"), str):
        if sealer is None:
            raise ConfigError(
                f"the tokens of {whose} are encrypted: set {KEYS_VARIABLE} or {KEY_FILE_VARIABLE} to read them"
            )
        try:
            record = sealer.open(record["sealed"])
        except ConfigError as error:
            raise ConfigError(f"the tokens of {whose}: {error}") from None
    try:
        kept = (
            msgspec.json.decode(record, type=_Record) if isinstance(record, bytes) else msgspec.convert(record, _Record)
        )
        tokens = Tokens(
            bearer=Secret(kept.bearer_token),
            refresh=kept.refresh_token,
            issued_at=utc(kept.issued_at),
            expires_at=utc(kept.expires_at),
            refused_at=optional_utc(kept.refused_at),
        )
    except (msgspec.DecodeError, ValueError):
        raise ConfigError(f"the tokens of {whose} are damaged: sign in again after removing them") from None
    if kept.account not in (None, account):
        raise ConfigError(f"the tokens of {whose} are those of another account: sign in again after removing them")
    return tokens


def is_current(record: Any, sealer: Sealer) -> bool:
    """Whether a record is sealed with the newest key."""
    return isinstance(record, dict) and isinstance(record.get("sealed"), str) and sealer.is_newest(record["sealed"])


class TokenStore(Protocol):
    """Keeps the tokens of accounts, each under its name.

    ``lock`` is held from the reading of stale tokens to the writing of new ones; it excludes other tasks, and for a
    store that processes share also other processes, and it is free again within seconds when its holder dies or is
    frozen. So a holder that wakes late may not hold it any more: new tokens are written with ``replace``.
    """

    async def load(self, account: str) -> Tokens | None:
        """The tokens of an account, or None."""
        ...

    async def save(self, account: str, tokens: Tokens) -> None:
        """Keep tokens; durable on return."""
        ...

    async def replace(self, account: str, old: Tokens, new: Tokens) -> bool:
        """Keep ``new`` if ``old`` (see `same_pair`) is still what is kept, in one step; whether it was."""
        ...

    async def delete(self, account: str) -> None:
        """Forget an account."""
        ...

    async def accounts(self) -> list[str]:
        """The names of all accounts, sorted."""
        ...

    def lock(self, account: str) -> AbstractAsyncContextManager[None]:
        """Exclude everybody else from renewing this account."""
        ...


class MemoryStore:
    """Keeps tokens as long as the process lives."""

    def __init__(self) -> None:
        self._tokens: dict[str, Tokens] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def load(self, account: str) -> Tokens | None:
        """The tokens of an account, or None."""
        return self._tokens.get(account)

    async def save(self, account: str, tokens: Tokens) -> None:
        """Keep tokens."""
        self._tokens[account] = tokens

    async def replace(self, account: str, old: Tokens, new: Tokens) -> bool:
        """Keep ``new`` if ``old`` is still what is kept; whether it was."""
        if not same_pair(self._tokens.get(account), old):
            return False
        self._tokens[account] = new
        return True

    async def delete(self, account: str) -> None:
        """Forget an account."""
        self._tokens.pop(account, None)

    async def accounts(self) -> list[str]:
        """The names of all accounts, sorted."""
        return sorted(self._tokens)

    @asynccontextmanager
    async def lock(self, account: str) -> AsyncIterator[None]:
        """Exclude other tasks from renewing this account."""
        async with self._locks.setdefault(account, asyncio.Lock()):
            yield


class FileStore:
    """Keeps tokens in one JSON file (mode 0600), which is replaced as a whole; several processes may share it.

    A symbolic link to it stays one.

    Args:
        path: the file; its folder is made (mode 0700) when it is missing.
        sealer: encrypts what is written; without one the tokens stand in the file in clear.
        clock: only for waiting while another process holds the lock.

    Raises:
        ConfigError: the file cannot be read or written, is not what this class wrote, or others may read it.
    """

    def __init__(self, path: str | Path, *, sealer: Sealer | None = None, clock: Clock | None = None) -> None:
        self.path: Path = Path(path)
        self._sealer = sealer
        self._clock = clock or SystemClock()

    async def load(self, account: str) -> Tokens | None:
        """The tokens of an account, or None."""
        return self._parse(account, await asyncio.to_thread(self._read))

    async def save(self, account: str, tokens: Tokens) -> None:
        """Keep tokens; on disk on return. Other accounts in the file stay as they are."""

        def put(content: dict[str, Any]) -> None:
            content[account] = to_record(tokens, self._sealer, account)

        await self._change(put)

    async def replace(self, account: str, old: Tokens, new: Tokens) -> bool:
        """Keep ``new`` if ``old`` is still what is kept; whether it was."""

        def put(content: dict[str, Any]) -> bool:
            if not same_pair(self._parse(account, content), old):
                return False
            content[account] = to_record(new, self._sealer, account)
            return True

        return await self._change(put)

    async def delete(self, account: str) -> None:
        """Forget an account."""

        def drop(content: dict[str, Any]) -> None:
            content.pop(account, None)

        await self._change(drop)

    async def accounts(self) -> list[str]:
        """The names of all accounts, sorted."""
        return sorted(await asyncio.to_thread(self._read))

    async def reseal(self) -> int:
        """Encrypt anew what is not sealed with the newest key; how many accounts that were.

        Raises:
            ConfigError: the store has no sealer, or none of its keys fits.
        """
        sealer = self._sealer
        if sealer is None:
            raise ConfigError("sealing anew needs token keys")

        def seal(content: dict[str, Any]) -> int:
            old = {name: record for name, record in content.items() if not is_current(record, sealer)}
            content.update({name: to_record(self._known(name, record), sealer, name) for name, record in old.items()})
            return len(old)

        return await self._change(seal)

    def lock(self, account: str) -> AbstractAsyncContextManager[None]:
        """Exclude other tasks and processes from renewing this account."""
        return folder_lease(self.path, f"account {account}", self._clock, "the token file")

    # --- the file ---------------------------------------------------------------------------------------------------

    async def _change(self, change: Callable[[dict[str, Any]], T]) -> T:
        async with folder_lease(self.path, "content", self._clock, "the token file"):
            return await uninterrupted(asyncio.to_thread(self._rewrite, change))

    def _rewrite(self, change: Callable[[dict[str, Any]], T]) -> T:
        content = self._read()
        before = msgspec.json.encode(content)
        result = change(content)
        after = msgspec.json.encode(content)
        if after != before:
            write_private(self.path, after, "the token file")
        return result

    def _read(self) -> dict[str, Any]:
        content = read_private_bytes(self.path, "the token file")
        if content is None:
            return {}
        try:
            return msgspec.json.decode(content, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise ConfigError(f"the token file {self.path} is damaged: sign in again after removing it") from None

    def _parse(self, account: str, content: dict[str, Any]) -> Tokens | None:
        record = content.get(account)
        return None if record is None else self._known(account, record)

    def _known(self, account: str, record: Any) -> Tokens:
        return from_record(record, self._sealer, account, f"the token file {self.path}")
