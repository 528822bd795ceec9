"""Tokens in the system's keyring (macOS Keychain, Secret Service, Windows Credential Locker); needs ``keyring``.

It is for a person at a desktop: a machine without a session has no keyring.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import msgspec

from gotsurge_async.auth.leases import folder_lease
from gotsurge_async.auth.stores import Tokens, from_record, same_pair, to_record
from gotsurge_async.cancellation import uninterrupted
from gotsurge_async.clock import Clock, SystemClock
from gotsurge_async.errors import ConfigError

__all__ = ["KeyringStore"]

T = TypeVar("T")

_INDEX = "accounts"
_SHORT = 1000
"""Characters that every keyring keeps."""
_ADVICE = "keep them in a file, or in a database (GOTSURGE_TOKEN_STORE)"


class Backend(Protocol):
    """What is asked of a keyring."""

    def get_password(self, service: str, username: str, /) -> str | None:
        """The kept text, None without one."""
        ...

    def set_password(self, service: str, username: str, password: str, /) -> None:
        """Keep a text."""
        ...

    def delete_password(self, service: str, username: str, /) -> None:
        """Forget a text."""
        ...


class KeyringStore:
    """Keeps tokens in a keyring; a keyring has no lock, so a lease in a folder stands in for it.

    Args:
        locks: a path in a folder of the user's own, such as that of the configuration; lease files stand beside it.
        service: the name under which the keyring shows the entries.
        backend: another keyring than the system's.

    Raises:
        ConfigError: there is no keyring, it is locked, or the package ``keyring`` is missing.
    """

    def __init__(
        self,
        locks: str | Path,
        *,
        service: str = "gotsurge",
        backend: Backend | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._locks = Path(locks)
        self._service = service
        self._backend = _system_keyring() if backend is None else backend
        self._clock = clock or SystemClock()

    async def load(self, account: str) -> Tokens | None:
        """The tokens of an account, or None."""
        return await self._do(lambda: self._get(account))

    async def save(self, account: str, tokens: Tokens) -> None:
        """Keep tokens."""
        async with self._leased("content"):
            await self._do(lambda: self._set(account, tokens))

    async def replace(self, account: str, old: Tokens, new: Tokens) -> bool:
        """Keep ``new`` if ``old`` is still what is kept; whether it was."""

        def swap() -> bool:
            if not same_pair(self._get(account), old):
                return False
            self._set(account, new)
            return True

        async with self._leased("content"):
            return await self._do(swap)

    async def delete(self, account: str) -> None:
        """Forget an account."""

        def drop() -> None:
            names = self._names()
            if account in names:
                self._backend.delete_password(self._service, f"account {account}")
                self._write_names(names - {account})

        async with self._leased("content"):
            await self._do(drop)

    async def accounts(self) -> list[str]:
        """The names of all accounts, sorted."""
        return sorted(await self._do(self._names))

    def lock(self, account: str) -> AbstractAsyncContextManager[None]:
        """Exclude other tasks and processes from renewing this account."""
        return self._leased(f"account {account}")

    def _leased(self, name: str) -> AbstractAsyncContextManager[None]:
        return folder_lease(self._locks, name, self._clock, "the keyring at")

    async def _do(self, job: Callable[[], T]) -> T:
        try:
            return await uninterrupted(asyncio.to_thread(job))
        except ConfigError:
            raise
        except Exception as error:  # each keyring has errors of its own
            raise ConfigError(f"the keyring cannot be used ({type(error).__name__}): keep tokens in a file") from None

    def _get(self, account: str) -> Tokens | None:
        kept = self._backend.get_password(self._service, f"account {account}")
        return None if kept is None else from_record(_decoded(kept), None, account, "the keyring")

    def _set(self, account: str, tokens: Tokens) -> None:
        record = msgspec.json.encode(to_record(tokens, None, account)).decode()
        entry = f"account {account}"
        try:
            self._backend.set_password(self._service, entry, record)
            kept = self._backend.get_password(self._service, entry)
        except Exception:
            # Windows' refuses more than 1,280 characters, others have limits of their own, and none says so plainly.
            if len(record) < _SHORT:
                raise
            kept = None
        if kept != record:
            raise ConfigError(
                f"the keyring does not keep tokens as long as these ({len(record):,} characters): {_ADVICE}"
            )
        names = self._names()
        if account not in names:
            self._write_names(names | {account})

    def _names(self) -> set[str]:
        # A keyring cannot list its entries.
        kept = _decoded(self._backend.get_password(self._service, _INDEX) or "[]")
        return {name for name in kept if isinstance(name, str)} if isinstance(kept, list) else set()

    def _write_names(self, names: set[str]) -> None:
        self._backend.set_password(self._service, _INDEX, msgspec.json.encode(sorted(names)).decode())


def _system_keyring() -> Backend:
    try:
        import keyring

        backend: Any = keyring.get_keyring()  # its decorators hide the types of its methods
    except ModuleNotFoundError:
        raise ConfigError('the keyring needs the extra: pip install "gotsurge-async[keyring]"') from None
    return cast("Backend", backend)


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None
