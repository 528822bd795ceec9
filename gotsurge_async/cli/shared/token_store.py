"""Where the commands keep tokens, and the keys that encrypt them.

GOTSURGE_TOKEN_STORE is the URL of a database, or ``keyring``; else tokens are in a file, GOTSURGE_TOKEN_FILE or
tokens.json in the user's configuration folder. The keys are in GOTSURGE_TOKEN_KEYS, else in the file that
GOTSURGE_TOKEN_KEY_FILE names, else in token-keys in the user's data folder, if there is one.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import platformdirs

from gotsurge_async.auth.keychain import KeyringStore
from gotsurge_async.auth.sealing import KEY_FILE_VARIABLE, KEYS_VARIABLE, Sealer, new_key, read_keys, write_keys
from gotsurge_async.auth.stores import FileStore
from gotsurge_async.config import Environment
from gotsurge_async.errors import ConfigError
from gotsurge_async.secrets import Secret

if TYPE_CHECKING:
    from gotsurge_async.auth.sql import SqlStore

Store: TypeAlias = "FileStore | SqlStore | KeyringStore"

KEPT_KEYS = 2
"""Keys that a rotation leaves in the key file: the new one, and the one that running programs may still write with."""


def token_file() -> Path:
    """Where tokens are kept: GOTSURGE_TOKEN_FILE, or the user's configuration folder."""
    return Path(os.environ.get("GOTSURGE_TOKEN_FILE") or platformdirs.user_config_path("gotsurge") / "tokens.json")


def key_file() -> Path:
    """Where the token keys are: GOTSURGE_TOKEN_KEY_FILE, or the user's data folder."""
    return Path(os.environ.get(KEY_FILE_VARIABLE) or platformdirs.user_data_path("gotsurge") / "token-keys")


def account_name(environment: Environment, account: str | None) -> str:
    """The name under which the tokens of an account are kept: accounts of two environments never meet."""
    place = environment.name
    if place == "local":  # each simulator is another one
        place = f"local {environment.consent_base.partition('//')[2]}"
    return f"{place}/{account}" if account else place


@asynccontextmanager
async def open_token_store() -> AsyncIterator[Store]:
    """The store of the commands.

    Raises:
        ConfigError: it cannot be used, or is a database and there are no keys.
    """
    where = os.environ.get("GOTSURGE_TOKEN_STORE", "")
    if where == "keyring":
        yield KeyringStore(token_file())
        return
    sealer = _sealer()
    if not where:
        yield FileStore(token_file(), sealer=sealer)
        return
    if "://" not in where:
        raise ConfigError("GOTSURGE_TOKEN_STORE is keyring or the URL of a database; a file is GOTSURGE_TOKEN_FILE")
    if sealer is None:
        raise ConfigError("tokens in a database are encrypted: make a key with `gotsurge auth rotate-key`")
    # Imported here: it brings the whole of SQLAlchemy's object mapper, a tenth of a second for every command.
    from gotsurge_async.auth.sql import SqlStore

    store = SqlStore(where, sealer)
    try:
        yield store
    finally:
        await store.close()


async def rotate_key() -> tuple[int, Path | None]:
    """Encrypt all tokens with a new key of the key file, or with the newest of GOTSURGE_TOKEN_KEYS.

    Returns:
        How many accounts were encrypted anew, and the key file; None when the keys are the environment's.
    """
    path = None
    if not os.environ.get(KEYS_VARIABLE):
        path = key_file()
        old = read_keys(path) if path.exists() else []
        write_keys(path, [Secret(new_key()), *old])
    async with open_token_store() as store:
        if isinstance(store, KeyringStore):
            raise ConfigError("the keyring encrypts by itself: there is no key to rotate")
        count = await store.reseal()
    if path is not None:
        write_keys(path, read_keys(path)[:KEPT_KEYS])
    return count, path


def _sealer() -> Sealer | None:
    given = Sealer.from_env()
    return given or (Sealer.from_file(key_file()) if key_file().exists() else None)
