"""Tokens in the system's keyring (macOS Keychain, Secret Service, Windows Credential Locker); needs ``keyring``.

It is for a person at a desktop: a machine without a session has no keyring.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import msgspec

from gotsurge_async.auth.stores import LocalStore
from gotsurge_async.clock import Clock
from gotsurge_async.errors import ConfigError

__all__ = ["KeyringStore"]

T = TypeVar("T")

_INDEX = "accounts"
_SHORT = 1000
"""The number of characters that every keyring can store."""
_ADVICE = "keep them in a file, or in a database (GOTSURGE_TOKEN_STORE)"


class Backend(Protocol):
    """The methods of a keyring that the store needs: texts under names."""

    def get_password(self, service: str, username: str, /) -> str | None: ...

    def set_password(self, service: str, username: str, password: str, /) -> None: ...

    def delete_password(self, service: str, username: str, /) -> None: ...


class KeyringStore(LocalStore):
    """Keeps tokens in a keyring; a keyring has no lock, so a lease in a folder stands in for it.

    Args:
        locks: a path in the user's own folder, such as that of the configuration; lease files are next to it.
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
        super().__init__(Path(locks), "the keyring at", "the keyring", clock=clock)
        self._service = service
        self._backend = _system_keyring() if backend is None else backend

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return await super()._in_thread(work)
        except ConfigError:
            raise
        except Exception as error:  # each keyring has errors of its own
            why = f"the keyring cannot be used ({type(error).__name__}): keep tokens in a file"
            raise ConfigError(why, "E308") from None

    def _get(self, account: str) -> str | None:
        return self._backend.get_password(self._service, f"account {account}")

    def _put(self, account: str, record: str | None) -> None:
        entry, names = f"account {account}", self._names()
        if record is None:
            if account in names:
                self._backend.delete_password(self._service, entry)
                self._write_names(names - {account})
            return
        try:
            self._backend.set_password(self._service, entry, record)
            kept = self._backend.get_password(self._service, entry)
        except Exception:
            # Windows' refuses more than 1,280 characters, others have limits of their own, and none says so plainly.
            if len(record) < _SHORT:
                raise
            kept = None
        if kept != record:
            why = f"these tokens ({len(record):,} characters) are too long for the keyring: {_ADVICE}"
            raise ConfigError(why, "E308")
        if account not in names:
            self._write_names(names | {account})

    def _names(self) -> set[str]:
        # A keyring cannot list its entries.
        try:
            kept = msgspec.json.decode(self._backend.get_password(self._service, _INDEX) or "[]")
        except msgspec.DecodeError:
            return set()
        return {name for name in kept if isinstance(name, str)} if isinstance(kept, list) else set()

    def _write_names(self, names: set[str]) -> None:
        self._backend.set_password(self._service, _INDEX, msgspec.json.encode(sorted(names)).decode())


def _system_keyring() -> Backend:
    try:
        import keyring

        backend: Any = keyring.get_keyring()  # its decorators hide the types of its methods
    except ModuleNotFoundError:
        raise ConfigError('the keyring needs an extra: pip install "gotsurge-async[keyring]"', "E108") from None
    return cast("Backend", backend)
