"""Where tokens are kept: in memory, or in a file that several processes share."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import attrs
import msgspec

from gotsurge_async.clock import Clock, SystemClock
from gotsurge_async.errors import ConfigError
from gotsurge_async.redact import Secret, as_secret


@attrs.frozen(kw_only=True)
class Tokens:
    """What an account signs its calls with. Times are aware, in UTC."""

    bearer: Secret
    refresh: Secret | None = attrs.field(default=None, converter=as_secret)
    issued_at: datetime
    expires_at: datetime


class TokenStore(Protocol):
    """Keeps the tokens of accounts, each under its name.

    ``lock`` is held from the reading of stale tokens to the writing of new ones; it excludes other tasks, and for a
    store that processes share also other processes, and it is free again when its holder dies.
    """

    async def load(self, account: str) -> Tokens | None:
        """The tokens of an account, or None."""
        ...

    async def save(self, account: str, tokens: Tokens) -> None:
        """Keep tokens; durable on return."""
        ...

    async def delete(self, account: str) -> None:
        """Forget an account."""
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

    async def delete(self, account: str) -> None:
        """Forget an account."""
        self._tokens.pop(account, None)

    @asynccontextmanager
    async def lock(self, account: str) -> AsyncIterator[None]:
        """Exclude other tasks from renewing this account."""
        async with self._locks.setdefault(account, asyncio.Lock()):
            yield


class FileStore:
    """Keeps tokens in one JSON file (mode 0600), which is replaced as a whole and locked across processes.

    Args:
        path: the file; its folder is made (mode 0700) when it is missing.
        clock: only for waiting while another process holds the lock.

    Raises:
        ConfigError: the file cannot be read or written, or is not what this class wrote.
    """

    _POLL = 0.05

    def __init__(self, path: str | Path, *, clock: Clock | None = None) -> None:
        self.path = Path(path)
        self._clock = clock or SystemClock()

    async def load(self, account: str) -> Tokens | None:
        """The tokens of an account, or None."""
        kept = (await asyncio.to_thread(self._read)).get(account)
        return None if kept is None else self._parse(kept)

    async def save(self, account: str, tokens: Tokens) -> None:
        """Keep tokens; on disk on return. Other accounts in the file stay as they are."""
        kept = {
            "bearer_token": tokens.bearer.reveal(),
            "refresh_token": tokens.refresh.reveal() if tokens.refresh else None,
            "issued_at": tokens.issued_at.isoformat(),
            "expires_at": tokens.expires_at.isoformat(),
        }
        await self._change(account, kept)

    async def delete(self, account: str) -> None:
        """Forget an account."""
        await self._change(account, None)

    @asynccontextmanager
    async def lock(self, account: str) -> AsyncIterator[None]:
        """Exclude other tasks and processes from renewing this account."""
        # Accounts renew independently, so each has a lock file of its own beside the lock of the file's content.
        async with self._locked(f"{account.encode().hex()}.lock"):
            yield

    async def _change(self, account: str, kept: dict[str, Any] | None) -> None:
        async with self._locked("lock"):
            await asyncio.to_thread(self._write, account, kept)

    @asynccontextmanager
    async def _locked(self, suffix: str) -> AsyncIterator[None]:
        import filelock  # only who keeps tokens in a file needs it

        await asyncio.to_thread(self._make_folder)
        lock = filelock.FileLock(f"{self.path}.{suffix}", thread_local=False, mode=0o600)
        while True:
            try:
                lock.acquire(blocking=False)
                break
            except filelock.Timeout:  # there is no event that another process could set
                await self._clock.sleep(self._POLL)
            except OSError as error:
                raise self._trouble("lock", error) from None
        try:
            yield
        finally:
            lock.release()

    def _make_folder(self) -> None:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise self._trouble("make the folder of", error) from None

    def _read(self) -> dict[str, Any]:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._trouble("read", error) from None
        try:
            return msgspec.json.decode(content, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise ConfigError(f"the token file {self.path} is damaged: sign in again after removing it") from None

    def _write(self, account: str, kept: dict[str, Any] | None) -> None:
        content = self._read()
        if kept is None:
            content.pop(account, None)
        else:
            content[account] = kept
        temporary = None
        try:
            # mkstemp makes the file with mode 0600, in the same folder so that the replacement is atomic.
            descriptor, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(content))
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self.path)
        except OSError as error:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)
            raise self._trouble("write", error) from None

    def _parse(self, kept: Any) -> Tokens:
        try:
            return Tokens(
                bearer=Secret(kept["bearer_token"]),
                refresh=kept["refresh_token"],
                issued_at=datetime.fromisoformat(kept["issued_at"]),
                expires_at=datetime.fromisoformat(kept["expires_at"]),
            )
        except (KeyError, TypeError, ValueError):
            raise ConfigError(f"the token file {self.path} is damaged: sign in again after removing it") from None

    def _trouble(self, verb: str, error: OSError) -> ConfigError:
        return ConfigError(f"cannot {verb} the token file {self.path}: {error.strerror or error}")
