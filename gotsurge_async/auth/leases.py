"""Leases next to a file of tokens: which process may renew an account's tokens now."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from gotsurge_async.clock import Clock
from gotsurge_async.database.leases import leased
from gotsurge_async.errors import ConfigError

LONGEST_SHOWN = 128
"""Characters of a name in hex in a file's name, which has 255 at most; of a longer name the file shows the SHA-256."""


class FolderBoard:
    """Leases as files: ``<base>.<name in hex>.<holder>.lease``, empty, mode 0600; the sign of life is the file's time.

    The holder is the process that has put its file there and then sees no other: of two that do so at once at least one
    sees both, and removes its own. This needs nothing but a folder, so it works wherever files do.
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
        """The first lease file of ``name`` that is not ours, with its time; a name and a number, "/" between them."""
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

    A symbolic link is followed first: a process that uses the link meets those that use the file's own name.

    Raises:
        ConfigError: the folder cannot be used; ``what`` names the file.
    """
    async with AsyncExitStack() as stack:
        try:
            base = Path(await asyncio.to_thread(os.path.realpath, base))
            await asyncio.to_thread(base.parent.mkdir, mode=0o700, parents=True, exist_ok=True)
            await stack.enter_async_context(leased(FolderBoard(base), name, clock))
        except OSError as error:
            raise ConfigError(f"cannot lock {what} {base}: {error.strerror or error}", "E307") from None
        yield
