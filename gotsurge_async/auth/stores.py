"""Tokens, their written form, and their stores: memory, or a file that several processes share.

`gotsurge_async.auth.sql` keeps them in a database, `gotsurge_async.auth.keychain` in the system's keyring.
"""

import asyncio
import os
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeVar

import attrs
import msgspec

from gotsurge_async.auth.sealing import KEY_FILE_VARIABLE, KEYS_VARIABLE, Sealer, read_private_bytes, write_private
from gotsurge_async.clock import Clock, SystemClock, uninterrupted
from gotsurge_async.database.leases import leased
from gotsurge_async.errors import ConfigError, code_of
from gotsurge_async.models.base import optional_utc, utc
from gotsurge_async.secrets import Secret, as_secret

T = TypeVar("T")

LONGEST_TOKEN = 16_384
"""The most characters of a token; servers accept headers of 8 to 16 KiB."""
LONGEST_SHOWN = 128
"""The most hex characters of a name in a file's name, which may have 255; a longer name is shown as its SHA-256."""


@attrs.frozen(kw_only=True)
class Tokens:
    """The tokens with which an account signs its calls. Times are aware, in UTC.

    Attributes:
        refused_at: when the service refused the refresh token; None while it is good. The bearer token lasts to its
            own end, then a person must sign in.
    """

    bearer: Secret
    refresh: Secret | None = attrs.field(default=None, converter=as_secret)
    issued_at: datetime
    expires_at: datetime
    refused_at: datetime | None = None


def is_token(text: str) -> bool:
    """Whether a text can be a token: visible ASCII without a space, of a length that servers take in a header."""
    return 0 < len(text) <= LONGEST_TOKEN and text.isascii() and text.isprintable() and " " not in text


def same_pair(one: Tokens | None, other: Tokens | None) -> bool:
    """Whether both hold the same bearer and the same refresh token."""
    if one is None or other is None:
        return one is other
    return one.bearer == other.bearer and one.refresh == other.refresh


class _Record(msgspec.Struct):
    bearer_token: str
    refresh_token: str | None
    issued_at: datetime
    expires_at: datetime
    refused_at: datetime | None = None
    account: str | None = None
    """The account of the tokens. Only a sealed record contains it."""


class _Sealed(msgspec.Struct):
    sealed: str


def to_record(tokens: Tokens, sealer: Sealer | None, account: str) -> str:
    """Write tokens as a JSON object; a sealer encrypts them and the account's name, into the one field ``sealed``."""
    record = {
        "bearer_token": tokens.bearer.reveal(),
        "refresh_token": tokens.refresh.reveal() if tokens.refresh else None,
        "issued_at": tokens.issued_at.isoformat(),
        "expires_at": tokens.expires_at.isoformat(),
    }
    if tokens.refused_at is not None:
        record["refused_at"] = tokens.refused_at.isoformat()
    if sealer is not None:
        record = {"sealed": sealer.seal(msgspec.json.encode({**record, "account": account}))}
    return msgspec.json.encode(record).decode()


def from_record(record: str, sealer: Sealer | None, account: str, where: str) -> Tokens:
    """Read tokens that `to_record` wrote. An unsealed record is read as well, so that encryption can begin at any time.

    A sealed record names its account: a person who may write where tokens are kept, and has no key, could else put one
    account's record in the place of another's. Raises ConfigError, with the place ``where``, if the record is damaged,
    another account's, or sealed and no key fits.
    """
    whose = f"account {account} in {where}"
    content: str | bytes = record
    if (sealed := _sealed(record)) is not None:
        if sealer is None:
            why = f"{whose}: the stored tokens are encrypted: set {KEYS_VARIABLE} or {KEY_FILE_VARIABLE} to read them"
            raise ConfigError(why, "E305")
        try:
            content = sealer.open(sealed)
        except ConfigError as error:
            raise ConfigError(f"{whose}: {error}", code_of(error) or "E306") from None
    try:
        kept = msgspec.json.decode(content, type=_Record)
        tokens = Tokens(
            bearer=Secret(kept.bearer_token),
            refresh=kept.refresh_token,
            issued_at=utc(kept.issued_at),
            expires_at=utc(kept.expires_at),
            refused_at=optional_utc(kept.refused_at),
        )
    except (msgspec.DecodeError, ValueError):
        raise ConfigError(f"{whose}: the stored tokens are damaged: remove them, then sign in again", "E306") from None
    if kept.account not in (None, account):
        why = f"{whose}: the stored tokens were issued to another account: remove them, then sign in again"
        raise ConfigError(why, "E306")
    return tokens


def _sealed(record: str) -> str | None:
    try:
        return msgspec.json.decode(record, type=_Sealed).sealed
    except (msgspec.DecodeError, ValueError):
        return None


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
        """Store ``new`` if ``old`` (see `same_pair`) is still stored, in one step; returns whether it was."""
        ...

    async def delete(self, account: str) -> None:
        """Delete the tokens of an account."""
        ...

    async def accounts(self) -> list[str]:
        """The names of all accounts, sorted."""
        ...

    def lock(self, account: str) -> AbstractAsyncContextManager[None]:
        """Exclude all others from renewing this account."""
        ...


class MemoryStore(TokenStore):
    """Keeps tokens as long as the process lives."""

    def __init__(self) -> None:
        self._tokens: dict[str, Tokens] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def load(self, account: str) -> Tokens | None:
        return self._tokens.get(account)

    async def save(self, account: str, tokens: Tokens) -> None:
        self._tokens[account] = tokens

    async def replace(self, account: str, old: Tokens, new: Tokens) -> bool:
        if not same_pair(self._tokens.get(account), old):
            return False
        self._tokens[account] = new
        return True

    async def delete(self, account: str) -> None:
        self._tokens.pop(account, None)

    async def accounts(self) -> list[str]:
        return sorted(self._tokens)

    @asynccontextmanager
    async def lock(self, account: str) -> AsyncIterator[None]:
        async with self._locks.setdefault(account, asyncio.Lock()):
            yield


class RecordStore(TokenStore):
    """Keeps a record for each account, and replaces a record only if it is still the one that was read.

    Args:
        where: names the place, for errors.
        sealer: encrypts the records; None keeps them in clear.
        clock: only for waiting while another process holds the lock.
    """

    def __init__(self, where: str, sealer: Sealer | None, clock: Clock | None) -> None:
        self._where = where
        self._sealer = sealer
        self._clock = clock or SystemClock()

    @abstractmethod
    async def _read(self, account: str) -> str | None:
        """The record of an account, None without one."""

    @abstractmethod
    async def _write(self, account: str, record: str | None, over: str | None = None) -> bool:
        """Store a record (None removes it), with ``over`` only in place of that one; returns whether it was stored.

        The write is durable on return, and whole also when the caller is cancelled.
        """

    async def load(self, account: str) -> Tokens | None:
        record = await self._read(account)
        return None if record is None else self._tokens(account, record)

    async def save(self, account: str, tokens: Tokens) -> None:
        await self._write(account, to_record(tokens, self._sealer, account))

    async def replace(self, account: str, old: Tokens, new: Tokens) -> bool:
        # Again where the record has changed meanwhile: it may hold the same pair, sealed with another key.
        while (kept := await self._read(account)) is not None and same_pair(self._tokens(account, kept), old):
            if await self._write(account, to_record(new, self._sealer, account), over=kept):
                return True
        return False

    async def delete(self, account: str) -> None:
        await self._write(account, None)

    async def reseal(self) -> int:
        """Encrypt again the records that are not sealed with the newest key.

        Returns:
            The number of accounts whose records were encrypted again.

        Raises:
            ConfigError: the store has no sealer; or a record cannot be read, and then none was changed.
        """
        if self._sealer is None:
            raise ConfigError("to re-encrypt the tokens, set token keys", "E305")
        accounts = await self.accounts()
        for account in accounts:
            await self.load(account)
        done = 0
        for account in accounts:
            # Again when another process has written meanwhile, perhaps with an old key.
            while (kept := await self._read(account)) is not None and not self._sealer.is_newest(_sealed(kept) or ""):
                record = to_record(self._tokens(account, kept), self._sealer, account)
                done += await self._write(account, record, over=kept)
        return done

    def _tokens(self, account: str, record: str) -> Tokens:
        return from_record(record, self._sealer, account, self._where)


class FolderBoard:
    """Leases as files: ``<base>.<name in hex>.<holder>.lease``, empty, mode 0600; the sign of life is the file's time.

    The holder is the process that has made its file and then sees no other: if two do so at once, at least one
    sees both, and removes its own. This needs only a folder, so it works wherever files do.
    """

    def __init__(self, base: Path) -> None:
        self._base = base

    async def sign(self, name: str) -> str | None:
        return await asyncio.to_thread(self._sign, name, None)

    async def take(self, name: str, me: str, over: str | None) -> bool:
        return await asyncio.to_thread(self._take, name, me, over)

    async def beat(self, name: str, me: str) -> bool:
        try:
            await asyncio.to_thread(os.utime, self._path(name, me))
        except FileNotFoundError:
            return False
        return True

    async def give_back(self, name: str, me: str) -> None:
        await asyncio.to_thread(self._path(name, me).unlink, missing_ok=True)

    def _take(self, name: str, me: str, over: str | None) -> bool:
        if over is not None:
            if self._sign(name, None) != over:
                return False
            self._base.with_name(over.partition("/")[0]).unlink(missing_ok=True)
        mine = self._path(name, me)
        os.close(os.open(mine, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        if self._sign(name, me) is None:
            return True
        mine.unlink(missing_ok=True)
        return False

    def _sign(self, name: str, me: str | None) -> str | None:
        """The name and the time of the first lease file of ``name`` that is not ours, as NAME/NUMBER; None if none."""
        mine = self._path(name, me).name if me else None
        prefix = self._prefix(name)
        for path in sorted(self._base.parent.iterdir()):
            if path.name.startswith(prefix) and path.name.endswith(".lease") and path.name != mine:
                with suppress(FileNotFoundError):
                    return f"{path.name}/{path.stat().st_mtime_ns}"
        return None

    def _path(self, name: str, me: str) -> Path:
        return self._base.with_name(f"{self._prefix(name)}{me}.lease")

    def _prefix(self, name: str) -> str:
        shown = name.encode().hex()
        if len(shown) > LONGEST_SHOWN:
            import hashlib  # here: it loads OpenSSL's digests, and few names are so long

            shown = hashlib.sha256(name.encode()).hexdigest()
        return f"{self._base.name}.{shown}."


@asynccontextmanager
async def folder_lease(base: Path, name: str, clock: Clock, what: str) -> AsyncIterator[None]:
    """Hold a lease next to the file ``base``, whose folder is made (mode 0700) when it is missing.

    A symbolic link is followed first: a process that uses the link meets those that use the file's own name. Raises
    ConfigError, in which ``what`` names the file, if the folder cannot be used.
    """
    async with AsyncExitStack() as stack:
        try:
            base = Path(await asyncio.to_thread(os.path.realpath, base))
            await asyncio.to_thread(base.parent.mkdir, mode=0o700, parents=True, exist_ok=True)
            await stack.enter_async_context(leased(FolderBoard(base), name, clock))
        except OSError as error:
            raise ConfigError(f"cannot lock {what} {base}: {error.strerror or error}; check the path", "E307") from None
        yield


class LocalStore(RecordStore):
    """Keeps records that the processes of one machine share, each change under a lease next to the file ``base``.

    ``_get``, ``_put`` (None removes a record) and ``_names`` are called in a thread.

    Args:
        what: names the file ``base``, for the error of a lease.
    """

    def __init__(
        self, base: Path, what: str, where: str, *, sealer: Sealer | None = None, clock: Clock | None = None
    ) -> None:
        super().__init__(where, sealer, clock)
        self._base = base
        self._what = what

    @abstractmethod
    def _get(self, account: str) -> str | None: ...

    @abstractmethod
    def _put(self, account: str, record: str | None) -> None: ...

    @abstractmethod
    def _names(self) -> set[str]: ...

    async def accounts(self) -> list[str]:
        return sorted(await self._in_thread(self._names))

    def lock(self, account: str) -> AbstractAsyncContextManager[None]:
        return folder_lease(self._base, f"account {account}", self._clock, self._what)

    async def _read(self, account: str) -> str | None:
        return await self._in_thread(lambda: self._get(account))

    async def _write(self, account: str, record: str | None, over: str | None = None) -> bool:
        def swap() -> bool:
            if over is not None and self._get(account) != over:
                return False
            self._put(account, record)
            return True

        async with folder_lease(self._base, "content", self._clock, self._what):
            return await self._in_thread(swap)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await uninterrupted(asyncio.to_thread(work))


class FileStore(LocalStore):
    """Keeps tokens in one JSON file (mode 0600), which is replaced as a whole; several processes may share it.

    A symbolic link to the file stays one.

    Args:
        path: the file; its folder is made (mode 0700) when it is missing.
        sealer: encrypts what is written; without one the tokens are in the file in clear.
        clock: only for waiting while another process holds the lock.

    Raises:
        ConfigError: the file cannot be read or written, is not what this class wrote, or others may read it.
    """

    def __init__(self, path: str | Path, *, sealer: Sealer | None = None, clock: Clock | None = None) -> None:
        self.path: Path = Path(path)
        super().__init__(self.path, "the token file", f"the token file {self.path}", sealer=sealer, clock=clock)

    def _get(self, account: str) -> str | None:
        record = self._content().get(account)
        return None if record is None else bytes(record).decode()

    def _put(self, account: str, record: str | None) -> None:
        content = self._content()
        before = content.pop(account, None)
        if record is not None:
            content[account] = msgspec.Raw(record)
        if record is not None or before is not None:
            write_private(self.path, msgspec.json.encode(content), "the token file")

    def _names(self) -> set[str]:
        return set(self._content())

    def _content(self) -> dict[str, msgspec.Raw]:
        content = read_private_bytes(self.path, "the token file")
        if content is None:
            return {}
        try:
            return msgspec.json.decode(content.decode(), type=dict[str, msgspec.Raw])
        except (msgspec.DecodeError, UnicodeDecodeError):
            why = f"the token file {self.path} is damaged: remove it, then sign in again"
            raise ConfigError(why, "E306") from None
