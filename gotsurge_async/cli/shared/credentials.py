"""The partner's credentials and tokens, and the places where they are stored.

Credentials come from environment variables, the configuration file, or a question, never from arguments, which every
user of the machine can read. The file is TOML, readable only by its owner when it holds a secret key::

    [sandbox]
    client_key = "…"
    secret_key = "…"

    [sandbox.accounts.acme]   # only where an account has credentials of its own
    client_key = "…"

GOTSURGE_TOKEN_STORE is the URL of a database, or ``keyring``; else tokens are in a file, GOTSURGE_TOKEN_FILE or
tokens.json in the user's configuration folder. The keys that encrypt them are in GOTSURGE_TOKEN_KEYS, else in the file
that GOTSURGE_TOKEN_KEY_FILE names, else in token-keys in the user's data folder, if there is one.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from gotsurge_async.auth.keychain import KeyringStore
from gotsurge_async.auth.sealing import KEY_FILE_VARIABLE, Sealer, read_private
from gotsurge_async.auth.stores import FileStore
from gotsurge_async.config import Credentials, Environment, Settings
from gotsurge_async.errors import ConfigError
from gotsurge_async.system.files import user_folder

if TYPE_CHECKING:
    from gotsurge_async.auth.sql import SqlStore

Store: TypeAlias = "FileStore | SqlStore | KeyringStore"


def config_file() -> Path:
    """GOTSURGE_CONFIG_FILE, or config.toml in the user's configuration folder."""
    return Path(os.environ.get("GOTSURGE_CONFIG_FILE") or user_folder("config") / "config.toml")


def find_credentials(settings: Settings, account: str | None) -> Credentials | None:
    """The credentials from the environment variables, else from the configuration file; None without any."""
    if settings.credentials is not None:
        return settings.credentials
    section = _section(read_config(), settings.environment.name, account)
    client_key, secret_key = section.get("client_key"), section.get("secret_key")
    if client_key is None:
        return None
    if not isinstance(client_key, str) or not isinstance(secret_key, str | None):
        raise ConfigError(f"{config_file()}: client_key and secret_key must be text in quotes", "E107")
    return Credentials(client_key=client_key, secret_key=secret_key)


def read_config() -> dict[str, Any]:
    """The content of the configuration file; empty if there is no file."""
    path = config_file()
    if not path.exists():
        return {}
    import tomllib

    try:
        return tomllib.loads(read_private(path, "the configuration file"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}", "E107") from None


def _section(config: dict[str, Any], environment: str, account: str | None) -> dict[str, Any]:
    section = config.get(environment, {})
    own = section.get("accounts", {}).get(account, {}) if isinstance(section, dict) and account else {}
    if not isinstance(section, dict) or not isinstance(own, dict):
        raise ConfigError(f"{config_file()}: [{environment}] must be a table with client_key and secret_key", "E107")
    return own if "client_key" in own else section


# --- tokens ----------------------------------------------------------------------------------------------------------


def token_file() -> Path:
    """GOTSURGE_TOKEN_FILE, or tokens.json in the user's configuration folder."""
    return Path(os.environ.get("GOTSURGE_TOKEN_FILE") or user_folder("config") / "tokens.json")


def key_file() -> Path:
    """GOTSURGE_TOKEN_KEY_FILE, or token-keys in the user's data folder."""
    return Path(os.environ.get(KEY_FILE_VARIABLE) or user_folder("data") / "token-keys")


def account_name(environment: Environment, account: str | None) -> str:
    """The name under which the tokens of an account are stored, with its environment."""
    place = environment.name
    if place == "local":  # each simulator is another one
        place = f"local {environment.consent_base.partition('//')[2]}"
    return f"{place}/{account}" if account else place


def in_database() -> bool:
    """Whether GOTSURGE_TOKEN_STORE names a database."""
    return "://" in os.environ.get("GOTSURGE_TOKEN_STORE", "")


@asynccontextmanager
async def open_token_store() -> AsyncIterator[Store]:
    """Open the token store of the commands."""
    where = os.environ.get("GOTSURGE_TOKEN_STORE", "")
    if where == "keyring":
        yield KeyringStore(token_file())
        return
    sealer = _sealer()
    if not where:
        yield FileStore(token_file(), sealer=sealer)
        return
    if not in_database():
        why = "GOTSURGE_TOKEN_STORE must be keyring or the URL of a database; for a file, set GOTSURGE_TOKEN_FILE"
        raise ConfigError(why, "E309")
    if sealer is None:
        raise ConfigError("tokens in a database must be encrypted: make a key with `gotsurge auth rotate-key`", "E305")
    from gotsurge_async.auth.sql import SqlStore  # few keep tokens in a database, and it loads SQLite

    store = SqlStore(where, sealer)
    try:
        yield store
    finally:
        await store.close()


def _sealer() -> Sealer | None:
    return Sealer.from_env() or (Sealer.from_file(key_file()) if key_file().exists() else None)
